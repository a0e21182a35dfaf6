
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The one table of role names.  Rows of a scope stand in byte order of
 * their names, which is the order in which a mask is written and in which
 * the database keeps them; unit tests hold it to that.  Masks are in shared
 * memory, and a zone is reused on reload: the bit of a role is not given to
 * another role without a new layout version.  Roles with an empty mask exist
 * there, and no key has them here.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_list.h>
#include <ngx_apikeys_roles.h>


#define NGX_APIKEYS_ROLE_ALL                                                 \
    (NGX_APIKEYS_ROLE_ATLAS|NGX_APIKEYS_ROLE_OPS_MANAGER)

#define ngx_apikeys_role_org(name, mask, products)                           \
    { ngx_string(name), NGX_APIKEYS_SCOPE_ORG, mask, products }
#define ngx_apikeys_role_project(name, mask, products)                       \
    { ngx_string(name), NGX_APIKEYS_SCOPE_PROJECT, mask, products }
#define ngx_apikeys_role_global(name, mask)                                  \
    { ngx_string(name), NGX_APIKEYS_SCOPE_GLOBAL, mask,                      \
      NGX_APIKEYS_ROLE_OPS_MANAGER }
#define ngx_apikeys_role_null                                                \
    { ngx_null_string, NGX_APIKEYS_SCOPE_ORG, 0, 0 }


static const ngx_apikeys_role_t  ngx_apikeys_roles[] = {

    ngx_apikeys_role_org("ORG_BILLING_ADMIN", 0x10, NGX_APIKEYS_ROLE_ALL),

    ngx_apikeys_role_org("ORG_BILLING_READ_ONLY", 0x20,
                         NGX_APIKEYS_ROLE_ATLAS_V2),

    ngx_apikeys_role_org("ORG_GROUP_CREATOR", NGX_APIKEYS_ORG_GROUP_CREATOR,
                         NGX_APIKEYS_ROLE_ALL),

    ngx_apikeys_role_org("ORG_MEMBER", NGX_APIKEYS_ORG_MEMBER,
                         NGX_APIKEYS_ROLE_ALL),

    ngx_apikeys_role_org("ORG_OWNER", NGX_APIKEYS_ORG_OWNER,
                         NGX_APIKEYS_ROLE_ALL),

    ngx_apikeys_role_org("ORG_READ_ONLY", NGX_APIKEYS_ORG_READ_ONLY,
                         NGX_APIKEYS_ROLE_ALL),

    ngx_apikeys_role_org("ORG_STREAM_PROCESSING_ADMIN", 0x40,
                         NGX_APIKEYS_ROLE_ATLAS_V2),

    ngx_apikeys_role_org("ORG_TEAM_MEMBERS_ADMIN", 0, 0),

    ngx_apikeys_role_project("GROUP_ACCESS_MANAGER",
                             NGX_APIKEYS_GROUP_ACCESS_MANAGER,
                             NGX_APIKEYS_ROLE_ATLAS),

    ngx_apikeys_role_project("GROUP_ATLAS_ADMIN", 0, 0),

    ngx_apikeys_role_project("GROUP_AUTOMATION_ADMIN", 0x0008,
                             NGX_APIKEYS_ROLE_OPS_MANAGER),

    ngx_apikeys_role_project("GROUP_BACKUP_ADMIN", 0x0010,
                             NGX_APIKEYS_ROLE_OPS_MANAGER),

    ngx_apikeys_role_project("GROUP_BACKUP_MANAGER", 0x0020,
                             NGX_APIKEYS_ROLE_ATLAS),

    ngx_apikeys_role_project("GROUP_BILLING_ADMIN", 0x0040,
                             NGX_APIKEYS_ROLE_OPS_MANAGER),

    ngx_apikeys_role_project("GROUP_CHARTS_ADMIN", 0x0080,
                             NGX_APIKEYS_ROLE_ALL),

    ngx_apikeys_role_project("GROUP_CLUSTER_MANAGER", 0x0100,
                             NGX_APIKEYS_ROLE_ATLAS),

    ngx_apikeys_role_project("GROUP_DATABASE_ACCESS_ADMIN", 0x0200,
                             NGX_APIKEYS_ROLE_ATLAS),

    ngx_apikeys_role_project("GROUP_DATA_ACCESS_ADMIN", 0x0400,
                             NGX_APIKEYS_ROLE_ALL),

    ngx_apikeys_role_project("GROUP_DATA_ACCESS_READ_ONLY", 0x0800,
                             NGX_APIKEYS_ROLE_ALL),

    ngx_apikeys_role_project("GROUP_DATA_ACCESS_READ_WRITE", 0x1000,
                             NGX_APIKEYS_ROLE_ALL),

    ngx_apikeys_role_project("GROUP_MONITORING_ADMIN", 0x2000,
                             NGX_APIKEYS_ROLE_OPS_MANAGER),

    ngx_apikeys_role_project("GROUP_OBSERVABILITY_VIEWER", 0x4000,
                             NGX_APIKEYS_ROLE_ATLAS),

    ngx_apikeys_role_project("GROUP_OWNER", NGX_APIKEYS_GROUP_OWNER,
                             NGX_APIKEYS_ROLE_ALL),

    ngx_apikeys_role_project("GROUP_READ_ONLY", NGX_APIKEYS_GROUP_READ_ONLY,
                             NGX_APIKEYS_ROLE_ALL),

    ngx_apikeys_role_project("GROUP_SEARCH_INDEX_EDITOR", 0x8000,
                             NGX_APIKEYS_ROLE_ATLAS),

    ngx_apikeys_role_project("GROUP_STREAM_PROCESSING_OWNER", 0x10000,
                             NGX_APIKEYS_ROLE_ATLAS),

    ngx_apikeys_role_project("GROUP_USER_ADMIN", 0x20000,
                             NGX_APIKEYS_ROLE_OPS_MANAGER),

    ngx_apikeys_role_global("GLOBAL_AUTOMATION_ADMIN", 0x040000),

    ngx_apikeys_role_global("GLOBAL_BACKUP_ADMIN", 0x080000),

    ngx_apikeys_role_global("GLOBAL_BILLING_ADMIN", 0x100000),

    ngx_apikeys_role_global("GLOBAL_MONITORING_ADMIN", 0x200000),

    ngx_apikeys_role_global("GLOBAL_OWNER", NGX_APIKEYS_GLOBAL_OWNER),

    ngx_apikeys_role_global("GLOBAL_READ_ONLY", NGX_APIKEYS_GLOBAL_READ_ONLY),

    ngx_apikeys_role_global("GLOBAL_USER_ADMIN", 0x400000),

    ngx_apikeys_role_null
};


const ngx_apikeys_role_t *
ngx_apikeys_role_find(const ngx_str_t *name)
{
    const ngx_apikeys_role_t  *role;

    for (role = ngx_apikeys_roles; role->name.len; role++) {

        if (role->name.len == name->len
            && ngx_memcmp(role->name.data, name->data, name->len) == 0)
        {
            return role;
        }
    }

    return NULL;
}


uint32_t
ngx_apikeys_roles_parse(ngx_apikeys_scope_e scope, const ngx_str_t *list)
{
    uint32_t                   mask;
    ngx_str_t                  rest, name;
    const ngx_apikeys_role_t  *role;

    mask = 0;
    rest = *list;

    while (ngx_apikeys_list_next(&rest, ',', &name)) {
        role = ngx_apikeys_role_find(&name);

        if (role && role->scope == scope) {
            mask |= role->mask;
        }
    }

    return mask;
}


u_char *
ngx_apikeys_roles_write(u_char *p, ngx_apikeys_scope_e scope, uint32_t mask)
{
    u_char                    *start;
    const ngx_apikeys_role_t  *role;

    start = p;

    for (role = ngx_apikeys_roles; role->name.len; role++) {

        if (role->scope != scope || (role->mask & mask) == 0) {
            continue;
        }

        if (p != start) {
            *p++ = ',';
        }

        p = ngx_cpymem(p, role->name.data, role->name.len);
    }

    return p;
}
