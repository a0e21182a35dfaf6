
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The names are written out again here, by product, as the documentation
 * of the interface has them.  A role without a product has no bit.
 */


#include "tap.h"

#include <ngx_apikeys_roles.h>


#define V1  NGX_APIKEYS_ROLE_ATLAS_V1
#define V2  NGX_APIKEYS_ROLE_ATLAS_V2
#define OM  NGX_APIKEYS_ROLE_OPS_MANAGER


typedef struct {
    const char  *name;
    ngx_uint_t   products;
} expected_t;


static expected_t  org[] = {
    { "ORG_BILLING_ADMIN", V1|V2|OM },
    { "ORG_BILLING_READ_ONLY", V2 },
    { "ORG_GROUP_CREATOR", V1|V2|OM },
    { "ORG_MEMBER", V1|V2|OM },
    { "ORG_OWNER", V1|V2|OM },
    { "ORG_READ_ONLY", V1|V2|OM },
    { "ORG_STREAM_PROCESSING_ADMIN", V2 },
    { "ORG_TEAM_MEMBERS_ADMIN", 0 },
    { NULL, 0 }
};


static expected_t  project[] = {
    { "GROUP_ACCESS_MANAGER", V1|V2 },
    { "GROUP_ATLAS_ADMIN", 0 },
    { "GROUP_AUTOMATION_ADMIN", OM },
    { "GROUP_BACKUP_ADMIN", OM },
    { "GROUP_BACKUP_MANAGER", V1|V2 },
    { "GROUP_BILLING_ADMIN", OM },
    { "GROUP_CHARTS_ADMIN", V1|V2|OM },
    { "GROUP_CLUSTER_MANAGER", V1|V2 },
    { "GROUP_DATABASE_ACCESS_ADMIN", V1|V2 },
    { "GROUP_DATA_ACCESS_ADMIN", V1|V2|OM },
    { "GROUP_DATA_ACCESS_READ_ONLY", V1|V2|OM },
    { "GROUP_DATA_ACCESS_READ_WRITE", V1|V2|OM },
    { "GROUP_MONITORING_ADMIN", OM },
    { "GROUP_OBSERVABILITY_VIEWER", V1|V2 },
    { "GROUP_OWNER", V1|V2|OM },
    { "GROUP_READ_ONLY", V1|V2|OM },
    { "GROUP_SEARCH_INDEX_EDITOR", V1|V2 },
    { "GROUP_STREAM_PROCESSING_OWNER", V1|V2 },
    { "GROUP_USER_ADMIN", OM },
    { NULL, 0 }
};


static expected_t  global[] = {
    { "GLOBAL_AUTOMATION_ADMIN", OM },
    { "GLOBAL_BACKUP_ADMIN", OM },
    { "GLOBAL_BILLING_ADMIN", OM },
    { "GLOBAL_MONITORING_ADMIN", OM },
    { "GLOBAL_OWNER", OM },
    { "GLOBAL_READ_ONLY", OM },
    { "GLOBAL_USER_ADMIN", OM },
    { NULL, 0 }
};


/* returns the bits of the scope */

static uint32_t
check(expected_t *table, ngx_apikeys_scope_e scope, const char *what)
{
    u_char                     buf[NGX_APIKEYS_ROLES_TEXT_LEN + 1], *p;
    uint32_t                   mask;
    ngx_str_t                  name, all;
    ngx_uint_t                 i;
    expected_t                *e;
    const ngx_apikeys_role_t  *role;

    mask = 0;
    all.data = buf;
    all.len = 0;

    for (e = table; e->name; e++) {
        name = tap_str(e->name);
        role = ngx_apikeys_role_find(&name);

        ok(role && role->scope == scope && role->products == e->products
           && (role->mask != 0) == (e->products != 0)
           && (role->mask & (role->mask - 1)) == 0
           && (role->mask & mask) == 0
           && role->name.len <= NGX_APIKEYS_ROLE_TEXT_LEN,
           "%s: scope, products and a bit of its own", e->name);

        if (role) {
            mask |= role->mask;
        }

        ok(e[1].name == NULL || strcmp(e->name, e[1].name) < 0,
           "%s: in byte order", e->name);

        if (e->products) {
            if (all.len) {
                buf[all.len++] = ',';
            }

            memcpy(&buf[all.len], e->name, name.len);
            all.len += name.len;
        }

        ngx_free(name.data);
    }

    ok(ngx_apikeys_roles_parse(scope, &all) == mask, "all %s roles parse",
       what);

    for (i = 0; i < NGX_APIKEYS_SCOPES; i++) {
        ok(i == (ngx_uint_t) scope || ngx_apikeys_roles_parse(i, &all) == 0,
           "and are nothing in scope %d", (int) i);
    }

    p = ngx_alloc(NGX_APIKEYS_ROLES_TEXT_LEN, &tap_log);
    name.data = p;
    name.len = ngx_apikeys_roles_write(p, scope, NGX_APIKEYS_ROLES_ANY) - p;
    buf[all.len] = '\0';
    is_str(&name, (char *) buf, "any mask of %s is written as all", what);
    ngx_free(p);

    return mask;
}


static uint32_t
parse(const char *text)
{
    uint32_t   mask;
    ngx_str_t  s;

    s = tap_str(text);
    mask = ngx_apikeys_roles_parse(NGX_APIKEYS_SCOPE_ORG, &s);
    ngx_free(s.data);

    return mask;
}


static const ngx_apikeys_role_t *
find(const char *text, size_t len)
{
    ngx_str_t                  s;
    const ngx_apikeys_role_t  *role;

    s = tap_exact(text, len);
    role = ngx_apikeys_role_find(&s);
    ngx_free(s.data);

    return role;
}


int
main(void)
{
    u_char     buf[NGX_APIKEYS_ROLES_TEXT_LEN];
    uint32_t   mask;
    ngx_str_t  s;

    tap_start();

    mask = check(org, NGX_APIKEYS_SCOPE_ORG, "organization");
    (void) check(project, NGX_APIKEYS_SCOPE_PROJECT, "project");

    ok((check(global, NGX_APIKEYS_SCOPE_GLOBAL, "global") & mask) == 0,
       "global roles and those of an organization share no bit");

    ok(find("ORG_OWNER", 9)->mask == NGX_APIKEYS_ORG_OWNER
       && find("ORG_MEMBER", 10)->mask == NGX_APIKEYS_ORG_MEMBER
       && find("ORG_GROUP_CREATOR", 17)->mask == NGX_APIKEYS_ORG_GROUP_CREATOR
       && find("ORG_READ_ONLY", 13)->mask == NGX_APIKEYS_ORG_READ_ONLY
       && find("GROUP_OWNER", 11)->mask == NGX_APIKEYS_GROUP_OWNER
       && find("GROUP_READ_ONLY", 15)->mask == NGX_APIKEYS_GROUP_READ_ONLY
       && find("GROUP_ACCESS_MANAGER", 20)->mask
          == NGX_APIKEYS_GROUP_ACCESS_MANAGER
       && find("GLOBAL_OWNER", 12)->mask == NGX_APIKEYS_GLOBAL_OWNER
       && find("GLOBAL_READ_ONLY", 16)->mask == NGX_APIKEYS_GLOBAL_READ_ONLY,
       "the roles that decisions name have their bits");

    ok(find("", 0) == NULL, "an empty name is no role");
    ok(find("org_owner", 9) == NULL, "nor is one in lower case");
    ok(find("ORG_OWNER\0", 10) == NULL, "nor one with a NUL");
    ok(find("ORG_OWNE", 8) == NULL, "nor one cut short");

    ok(parse("") == 0, "an empty list grants nothing");

    ok(parse("ORG_OWNER,GROUP_OWNER,GLOBAL_OWNER,NEW_ROLE")
       == NGX_APIKEYS_ORG_OWNER,
       "names of the other scopes and unknown ones are skipped");

    ok(parse("ORG_TEAM_MEMBERS_ADMIN") == 0,
       "a role without a bit grants nothing");

    ok(parse(",,ORG_MEMBER,") == NGX_APIKEYS_ORG_MEMBER, "so are empty ones");
    ok(parse("ORG_OWNER ORG_MEMBER") == 0, "only commas separate");
    ok(parse("ORG_MEMBER,ORG_MEMBER") == NGX_APIKEYS_ORG_MEMBER,
       "a name twice is that role");

    s.data = buf;
    s.len = ngx_apikeys_roles_write(buf, NGX_APIKEYS_SCOPE_ORG,
                                    NGX_APIKEYS_ORG_OWNER
                                    |NGX_APIKEYS_ORG_GROUP_CREATOR)
            - buf;
    is_str(&s, "ORG_GROUP_CREATOR,ORG_OWNER", "a mask is written ascending");

    ok(ngx_apikeys_roles_write(buf, NGX_APIKEYS_SCOPE_ORG, 0) == buf,
       "an empty mask writes nothing");

    return tap_end();
}
