
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_access_list.h>
#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_companions.h>
#include <ngx_http_apikeys_events.h>
#include <ngx_http_apikeys_global_keys.h>
#include <ngx_http_apikeys_global_list.h>
#include <ngx_http_apikeys_keys.h>
#include <ngx_http_apikeys_orgs.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_project_keys.h>
#include <ngx_http_apikeys_projects.h>
#include <ngx_http_apikeys_root.h>
#include <ngx_http_apikeys_routes.h>


#if !(NGX_PCRE)
#error ngx_http_apikeys_module needs nginx with PCRE
#endif


#define NGX_HTTP_APIKEYS_ROUTES_CAPTURES  ((1 + 3) * 3)

/* longer paths are none of ours: ids have 24 digits, blocks at most 49 */
#define NGX_HTTP_APIKEYS_ROUTES_MAX_PATH  512


typedef enum {
    NGX_HTTP_APIKEYS_ROOT = 0,
    NGX_HTTP_APIKEYS_ORGS,
    NGX_HTTP_APIKEYS_ORG,
    NGX_HTTP_APIKEYS_ORG_PROJECTS,
    NGX_HTTP_APIKEYS_ORG_USERS,
    NGX_HTTP_APIKEYS_ORG_INVITES,
    NGX_HTTP_APIKEYS_SETTINGS,
    NGX_HTTP_APIKEYS_KEYS,
    NGX_HTTP_APIKEYS_KEY,
    NGX_HTTP_APIKEYS_LIST,
    NGX_HTTP_APIKEYS_ENTRY,
    NGX_HTTP_APIKEYS_PROJECTS,
    NGX_HTTP_APIKEYS_PROJECT,
    NGX_HTTP_APIKEYS_PROJECT_BY_NAME,
    NGX_HTTP_APIKEYS_PROJECT_KEYS,
    NGX_HTTP_APIKEYS_PROJECT_KEY,
    NGX_HTTP_APIKEYS_PROJECT_SETTINGS,
    NGX_HTTP_APIKEYS_PROJECT_LIST,
    NGX_HTTP_APIKEYS_PROJECT_TEAMS,
    NGX_HTTP_APIKEYS_PROJECT_TEAM,
    NGX_HTTP_APIKEYS_PROJECT_INVITES,
    NGX_HTTP_APIKEYS_PROJECT_LIMITS,
    NGX_HTTP_APIKEYS_PROJECT_ADDRESSES,
    NGX_HTTP_APIKEYS_SLOW_MS,
    NGX_HTTP_APIKEYS_SLOW_MS_ENABLE,
    NGX_HTTP_APIKEYS_SLOW_MS_DISABLE,
    NGX_HTTP_APIKEYS_ORG_EVENTS,
    NGX_HTTP_APIKEYS_ORG_EVENT,
    NGX_HTTP_APIKEYS_PROJECT_EVENTS,
    NGX_HTTP_APIKEYS_PROJECT_EVENT,
    NGX_HTTP_APIKEYS_EVENT_TYPES,
    NGX_HTTP_APIKEYS_GLOBAL_KEYS,
    NGX_HTTP_APIKEYS_GLOBAL_KEY,
    NGX_HTTP_APIKEYS_GLOBAL_ROLES,
    NGX_HTTP_APIKEYS_GLOBAL_LIST,
    NGX_HTTP_APIKEYS_GLOBAL_ENTRY
} ngx_http_apikeys_shape_e;


/* what the first, second and third group of a pattern is, by offset in ctx */
typedef struct {
    ngx_http_apikeys_shape_e  shape;
    ngx_uint_t                apis;
    ngx_str_t                 pattern;
    size_t                    groups[3];
    ngx_uint_t                whitelist;
} ngx_http_apikeys_path_t;


static ngx_int_t ngx_http_apikeys_routes_match(ngx_http_apikeys_ctx_t *ctx,
    const ngx_http_apikeys_path_t **path);
static ngx_int_t ngx_http_apikeys_routes_not_allowed(
    ngx_http_apikeys_ctx_t *ctx, ngx_http_apikeys_shape_e shape);
static void ngx_http_apikeys_routes_take(ngx_http_apikeys_ctx_t *ctx,
    const ngx_http_apikeys_route_t *route);


#define NGX_HTTP_APIKEYS_ORG_GROUP                                           \
    offsetof(ngx_http_apikeys_ctx_t, org)
#define NGX_HTTP_APIKEYS_PROJECT_GROUP                                       \
    offsetof(ngx_http_apikeys_ctx_t, project)
#define NGX_HTTP_APIKEYS_KEY_GROUP                                           \
    offsetof(ngx_http_apikeys_ctx_t, key)
#define NGX_HTTP_APIKEYS_ADDRESS_GROUP                                       \
    offsetof(ngx_http_apikeys_ctx_t, address)
#define NGX_HTTP_APIKEYS_ITEM_GROUP                                          \
    offsetof(ngx_http_apikeys_ctx_t, item)
#define NGX_HTTP_APIKEYS_NAME_GROUP                                          \
    offsetof(ngx_http_apikeys_ctx_t, name)

#define NGX_HTTP_APIKEYS_OLD_API                                             \
    (NGX_HTTP_APIKEYS_ATLAS_V1|NGX_HTTP_APIKEYS_OPS_MANAGER)
#define NGX_HTTP_APIKEYS_ATLAS                                               \
    (NGX_HTTP_APIKEYS_ATLAS_V1|NGX_HTTP_APIKEYS_ATLAS_V2)


/*
 * No path matches two: first come those that are asked for most.  What must
 * not be a slash is never given back, for it would not match then either.
 */
static const ngx_http_apikeys_path_t  ngx_http_apikeys_paths[] = {

    { NGX_HTTP_APIKEYS_KEY, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/orgs/([^/]++)/apiKeys/([^/]++)/?\\z"),
      { NGX_HTTP_APIKEYS_ORG_GROUP, NGX_HTTP_APIKEYS_KEY_GROUP, 0 }, 0 },

    { NGX_HTTP_APIKEYS_KEYS, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/orgs/([^/]++)/apiKeys/?\\z"),
      { NGX_HTTP_APIKEYS_ORG_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_ROOT, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/?\\z"), { 0, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_ORGS, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/orgs/?\\z"), { 0, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_ORG, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/orgs/([^/]++)/?\\z"),
      { NGX_HTTP_APIKEYS_ORG_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_ORG_PROJECTS, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/orgs/([^/]++)/groups/?\\z"),
      { NGX_HTTP_APIKEYS_ORG_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_SETTINGS, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/orgs/([^/]++)/settings/?\\z"),
      { NGX_HTTP_APIKEYS_ORG_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_LIST, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/orgs/([^/]++)/apiKeys/([^/]++)/(?i:accessList)/?\\z"),
      { NGX_HTTP_APIKEYS_ORG_GROUP, NGX_HTTP_APIKEYS_KEY_GROUP, 0 }, 0 },

    { NGX_HTTP_APIKEYS_LIST, NGX_HTTP_APIKEYS_OLD_API,
      ngx_string("^/orgs/([^/]++)/apiKeys/([^/]++)/(?i:whitelist)/?\\z"),
      { NGX_HTTP_APIKEYS_ORG_GROUP, NGX_HTTP_APIKEYS_KEY_GROUP, 0 }, 1 },

    /* the address may hold a slash, as it was sent or as "%2F" */

    { NGX_HTTP_APIKEYS_ENTRY, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/orgs/([^/]++)/apiKeys/([^/]++)/(?i:accessList)/"
                 "([^/]+(?:/[^/]*)?)\\z"),
      { NGX_HTTP_APIKEYS_ORG_GROUP, NGX_HTTP_APIKEYS_KEY_GROUP,
        NGX_HTTP_APIKEYS_ADDRESS_GROUP }, 0 },

    { NGX_HTTP_APIKEYS_ENTRY, NGX_HTTP_APIKEYS_OLD_API,
      ngx_string("^/orgs/([^/]++)/apiKeys/([^/]++)/(?i:whitelist)/"
                 "([^/]+(?:/[^/]*)?)\\z"),
      { NGX_HTTP_APIKEYS_ORG_GROUP, NGX_HTTP_APIKEYS_KEY_GROUP,
        NGX_HTTP_APIKEYS_ADDRESS_GROUP }, 1 },

    { NGX_HTTP_APIKEYS_PROJECTS, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/groups/?\\z"), { 0, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_PROJECT, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/groups/([^/]++)/?\\z"),
      { NGX_HTTP_APIKEYS_PROJECT_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_PROJECT_KEYS, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/groups/([^/]++)/apiKeys/?\\z"),
      { NGX_HTTP_APIKEYS_PROJECT_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_PROJECT_KEY, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/groups/([^/]++)/apiKeys/([^/]++)/?\\z"),
      { NGX_HTTP_APIKEYS_PROJECT_GROUP, NGX_HTTP_APIKEYS_KEY_GROUP, 0 }, 0 },

    { NGX_HTTP_APIKEYS_ORG_USERS, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/orgs/([^/]++)/(?:users|teams)/?\\z"),
      { NGX_HTTP_APIKEYS_ORG_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_ORG_INVITES, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/orgs/([^/]++)/invites/?\\z"),
      { NGX_HTTP_APIKEYS_ORG_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_PROJECT_BY_NAME, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/groups/byName/([^/]++)/?\\z"),
      { NGX_HTTP_APIKEYS_NAME_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_PROJECT_SETTINGS, NGX_HTTP_APIKEYS_ATLAS,
      ngx_string("^/groups/([^/]++)/settings/?\\z"),
      { NGX_HTTP_APIKEYS_PROJECT_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_PROJECT_LIST, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/groups/([^/]++)/users/?\\z"),
      { NGX_HTTP_APIKEYS_PROJECT_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_PROJECT_LIST, NGX_HTTP_APIKEYS_ATLAS,
      ngx_string("^/groups/([^/]++)/clusters/?\\z"),
      { NGX_HTTP_APIKEYS_PROJECT_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_PROJECT_TEAMS, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/groups/([^/]++)/teams/?\\z"),
      { NGX_HTTP_APIKEYS_PROJECT_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_PROJECT_TEAM, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/groups/([^/]++)/teams/([^/]++)/?\\z"),
      { NGX_HTTP_APIKEYS_PROJECT_GROUP, NGX_HTTP_APIKEYS_NAME_GROUP, 0 }, 0 },

    { NGX_HTTP_APIKEYS_PROJECT_INVITES, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/groups/([^/]++)/invites/?\\z"),
      { NGX_HTTP_APIKEYS_PROJECT_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_PROJECT_LIMITS, NGX_HTTP_APIKEYS_ATLAS,
      ngx_string("^/groups/([^/]++)/limits/?\\z"),
      { NGX_HTTP_APIKEYS_PROJECT_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_PROJECT_ADDRESSES, NGX_HTTP_APIKEYS_ATLAS,
      ngx_string("^/groups/([^/]++)/ipAddresses/?\\z"),
      { NGX_HTTP_APIKEYS_PROJECT_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_SLOW_MS, NGX_HTTP_APIKEYS_ATLAS,
      ngx_string("^/groups/([^/]++)/managedSlowMs/?\\z"),
      { NGX_HTTP_APIKEYS_PROJECT_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_SLOW_MS_ENABLE, NGX_HTTP_APIKEYS_ATLAS,
      ngx_string("^/groups/([^/]++)/managedSlowMs/enable/?\\z"),
      { NGX_HTTP_APIKEYS_PROJECT_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_SLOW_MS_DISABLE, NGX_HTTP_APIKEYS_ATLAS,
      ngx_string("^/groups/([^/]++)/managedSlowMs/disable/?\\z"),
      { NGX_HTTP_APIKEYS_PROJECT_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_ORG_EVENTS, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/orgs/([^/]++)/events/?\\z"),
      { NGX_HTTP_APIKEYS_ORG_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_ORG_EVENT, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/orgs/([^/]++)/events/([^/]++)/?\\z"),
      { NGX_HTTP_APIKEYS_ORG_GROUP, NGX_HTTP_APIKEYS_ITEM_GROUP, 0 }, 0 },

    { NGX_HTTP_APIKEYS_PROJECT_EVENTS, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/groups/([^/]++)/events/?\\z"),
      { NGX_HTTP_APIKEYS_PROJECT_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_PROJECT_EVENT, NGX_HTTP_APIKEYS_ANY_API,
      ngx_string("^/groups/([^/]++)/events/([^/]++)/?\\z"),
      { NGX_HTTP_APIKEYS_PROJECT_GROUP, NGX_HTTP_APIKEYS_ITEM_GROUP, 0 }, 0 },

    { NGX_HTTP_APIKEYS_EVENT_TYPES, NGX_HTTP_APIKEYS_ATLAS_V2,
      ngx_string("^/eventTypes/?\\z"), { 0, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_GLOBAL_KEYS, NGX_HTTP_APIKEYS_OPS_MANAGER,
      ngx_string("^/admin/apiKeys/?\\z"), { 0, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_GLOBAL_ROLES, NGX_HTTP_APIKEYS_OPS_MANAGER,
      ngx_string("^/admin/apiKeys/roles/?\\z"), { 0, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_GLOBAL_KEY, NGX_HTTP_APIKEYS_OPS_MANAGER,
      ngx_string("^/admin/apiKeys/(?!roles/?\\z)([^/]++)/?\\z"),
      { NGX_HTTP_APIKEYS_KEY_GROUP, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_GLOBAL_LIST, NGX_HTTP_APIKEYS_OPS_MANAGER,
      ngx_string("^/admin/(?i:accessList|whitelist)/?\\z"), { 0, 0, 0 }, 0 },

    { NGX_HTTP_APIKEYS_GLOBAL_ENTRY, NGX_HTTP_APIKEYS_OPS_MANAGER,
      ngx_string("^/admin/(?i:accessList|whitelist)/([^/]++)/?\\z"),
      { NGX_HTTP_APIKEYS_ITEM_GROUP, 0, 0 }, 0 }
};

#define NGX_HTTP_APIKEYS_NPATHS                                              \
    (sizeof(ngx_http_apikeys_paths) / sizeof(ngx_http_apikeys_path_t))


static const ngx_http_apikeys_route_t  ngx_http_apikeys_routes[] = {

    { NGX_HTTP_APIKEYS_ROOT, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_ANY_KEY, NGX_HTTP_APIKEYS_ANY_KEY, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_root, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_ORGS, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_ANYONE, NGX_HTTP_APIKEYS_ANYONE, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_orgs_list, 0, 1, NULL },
    { NGX_HTTP_APIKEYS_ORGS, NGX_HTTP_POST,
      NGX_HTTP_APIKEYS_OPERATOR, NGX_HTTP_APIKEYS_OPERATOR, 0,
      NGX_HTTP_APIKEYS_CANNOT_CREATE_ORG,
      ngx_http_apikeys_orgs_create, NGX_HTTP_APIKEYS_BODY_OBJECT, 0, NULL },

    { NGX_HTTP_APIKEYS_ORG, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_ANYONE, NGX_HTTP_APIKEYS_ANYONE, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_orgs_get, 0, 0, NULL },
    { NGX_HTTP_APIKEYS_ORG, NGX_HTTP_PATCH,
      NGX_HTTP_APIKEYS_OWNER, NGX_HTTP_APIKEYS_OWNER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_orgs_update, NGX_HTTP_APIKEYS_BODY_OBJECT, 0, NULL },
    { NGX_HTTP_APIKEYS_ORG, NGX_HTTP_DELETE,
      NGX_HTTP_APIKEYS_OWNER, NGX_HTTP_APIKEYS_OWNER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_orgs_delete, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_ORG_PROJECTS, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_ANYONE, NGX_HTTP_APIKEYS_ANYONE, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_projects_list, 0, 1, NULL },

    { NGX_HTTP_APIKEYS_SETTINGS, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_MEMBER, NGX_HTTP_APIKEYS_MEMBER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_orgs_settings, 0, 0, NULL },
    { NGX_HTTP_APIKEYS_SETTINGS, NGX_HTTP_PATCH,
      NGX_HTTP_APIKEYS_OWNER, NGX_HTTP_APIKEYS_OWNER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_orgs_update_settings,
      NGX_HTTP_APIKEYS_BODY_OBJECT, 0, NULL },

    { NGX_HTTP_APIKEYS_KEYS, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_OWNER, NGX_HTTP_APIKEYS_MEMBER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_keys_list, 0, 1, NULL },
    { NGX_HTTP_APIKEYS_KEYS, NGX_HTTP_POST,
      NGX_HTTP_APIKEYS_OWNER, NGX_HTTP_APIKEYS_OWNER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_keys_create, NGX_HTTP_APIKEYS_BODY_OBJECT, 0, NULL },

    { NGX_HTTP_APIKEYS_KEY, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_OWNER, NGX_HTTP_APIKEYS_MEMBER,
      NGX_HTTP_APIKEYS_ANY_API,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_keys_get, 0, 0, NULL },
    { NGX_HTTP_APIKEYS_KEY, NGX_HTTP_PATCH,
      NGX_HTTP_APIKEYS_OWNER, NGX_HTTP_APIKEYS_OWNER,
      NGX_HTTP_APIKEYS_OPS_MANAGER,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_keys_update, NGX_HTTP_APIKEYS_BODY_OBJECT, 0, NULL },
    { NGX_HTTP_APIKEYS_KEY, NGX_HTTP_DELETE,
      NGX_HTTP_APIKEYS_OWNER, NGX_HTTP_APIKEYS_OWNER,
      NGX_HTTP_APIKEYS_OPS_MANAGER,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_keys_delete, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_LIST, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_OWNER, NGX_HTTP_APIKEYS_OWNER,
      NGX_HTTP_APIKEYS_ANY_API,
      NGX_HTTP_APIKEYS_LIST_DENIED,
      ngx_http_apikeys_access_list_get, 0, 1, NULL },
    { NGX_HTTP_APIKEYS_LIST, NGX_HTTP_POST,
      NGX_HTTP_APIKEYS_OWNER, NGX_HTTP_APIKEYS_OWNER,
      NGX_HTTP_APIKEYS_ANY_API,
      NGX_HTTP_APIKEYS_LIST_DENIED,
      ngx_http_apikeys_access_list_add, NGX_HTTP_APIKEYS_BODY_LIST, 1, NULL },

    { NGX_HTTP_APIKEYS_ENTRY, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_OWNER, NGX_HTTP_APIKEYS_OWNER,
      NGX_HTTP_APIKEYS_ANY_API,
      NGX_HTTP_APIKEYS_LIST_DENIED,
      ngx_http_apikeys_access_list_entry, 0, 0, NULL },
    { NGX_HTTP_APIKEYS_ENTRY, NGX_HTTP_DELETE,
      NGX_HTTP_APIKEYS_OWNER, NGX_HTTP_APIKEYS_OWNER,
      NGX_HTTP_APIKEYS_ANY_API,
      NGX_HTTP_APIKEYS_LIST_DENIED,
      ngx_http_apikeys_access_list_delete, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_PROJECTS, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_ANYONE, NGX_HTTP_APIKEYS_ANYONE, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_projects_list, 0, 1, NULL },
    { NGX_HTTP_APIKEYS_PROJECTS, NGX_HTTP_POST,
      NGX_HTTP_APIKEYS_CREATOR, NGX_HTTP_APIKEYS_CREATOR, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_projects_create,
      NGX_HTTP_APIKEYS_BODY_OBJECT, 0, NULL },

    { NGX_HTTP_APIKEYS_PROJECT, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_PROJECT_READER, NGX_HTTP_APIKEYS_PROJECT_READER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_projects_get, 0, 0, NULL },
    { NGX_HTTP_APIKEYS_PROJECT, NGX_HTTP_PATCH,
      NGX_HTTP_APIKEYS_PROJECT_OWNER, NGX_HTTP_APIKEYS_PROJECT_OWNER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_projects_update,
      NGX_HTTP_APIKEYS_BODY_OBJECT, 0, NULL },
    { NGX_HTTP_APIKEYS_PROJECT, NGX_HTTP_DELETE,
      NGX_HTTP_APIKEYS_PROJECT_OWNER, NGX_HTTP_APIKEYS_PROJECT_OWNER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_projects_delete, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_PROJECT_BY_NAME, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_ANYONE, NGX_HTTP_APIKEYS_ANYONE, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_projects_by_name, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_PROJECT_KEYS, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_PROJECT_OWNER, NGX_HTTP_APIKEYS_PROJECT_READER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_project_keys_list, 0, 1, NULL },
    { NGX_HTTP_APIKEYS_PROJECT_KEYS, NGX_HTTP_POST,
      NGX_HTTP_APIKEYS_PROJECT_OWNER, NGX_HTTP_APIKEYS_PROJECT_MANAGER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_project_keys_create,
      NGX_HTTP_APIKEYS_BODY_OBJECT, 0, NULL },

    { NGX_HTTP_APIKEYS_PROJECT_KEY, NGX_HTTP_PATCH,
      NGX_HTTP_APIKEYS_PROJECT_OWNER, NGX_HTTP_APIKEYS_PROJECT_MANAGER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_project_keys_update,
      NGX_HTTP_APIKEYS_BODY_OBJECT, 1, NULL },
    { NGX_HTTP_APIKEYS_PROJECT_KEY, NGX_HTTP_POST,
      NGX_HTTP_APIKEYS_PROJECT_OWNER, NGX_HTTP_APIKEYS_PROJECT_OWNER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_project_keys_assign,
      NGX_HTTP_APIKEYS_BODY_OBJECT, 0, NULL },
    { NGX_HTTP_APIKEYS_PROJECT_KEY, NGX_HTTP_DELETE,
      NGX_HTTP_APIKEYS_PROJECT_OWNER, NGX_HTTP_APIKEYS_PROJECT_MANAGER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_project_keys_unassign, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_ORG_USERS, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_MEMBER, NGX_HTTP_APIKEYS_MEMBER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_companions_list, 0, 1, NULL },

    { NGX_HTTP_APIKEYS_ORG_INVITES, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_OWNER, NGX_HTTP_APIKEYS_OWNER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_companions_array, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_PROJECT_SETTINGS, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_PROJECT_READER, NGX_HTTP_APIKEYS_PROJECT_READER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_companions_settings, 0, 0, NULL },
    { NGX_HTTP_APIKEYS_PROJECT_SETTINGS, NGX_HTTP_PATCH,
      NGX_HTTP_APIKEYS_PROJECT_OWNER, NGX_HTTP_APIKEYS_PROJECT_OWNER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_companions_update_settings,
      NGX_HTTP_APIKEYS_BODY_OBJECT, 0, NULL },

    { NGX_HTTP_APIKEYS_PROJECT_LIST, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_PROJECT_READER, NGX_HTTP_APIKEYS_PROJECT_READER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_companions_list, 0, 1, NULL },

    { NGX_HTTP_APIKEYS_PROJECT_TEAMS, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_PROJECT_READER, NGX_HTTP_APIKEYS_PROJECT_READER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_companions_list, 0, 1, NULL },
    { NGX_HTTP_APIKEYS_PROJECT_TEAMS, NGX_HTTP_POST,
      NGX_HTTP_APIKEYS_PROJECT_OWNER, NGX_HTTP_APIKEYS_PROJECT_OWNER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_companions_add_teams,
      NGX_HTTP_APIKEYS_BODY_OBJECT, 1, NULL },

    { NGX_HTTP_APIKEYS_PROJECT_TEAM, NGX_HTTP_PATCH,
      NGX_HTTP_APIKEYS_PROJECT_OWNER, NGX_HTTP_APIKEYS_PROJECT_OWNER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_companions_no_team,
      NGX_HTTP_APIKEYS_BODY_OBJECT, 0, NULL },
    { NGX_HTTP_APIKEYS_PROJECT_TEAM, NGX_HTTP_DELETE,
      NGX_HTTP_APIKEYS_PROJECT_OWNER, NGX_HTTP_APIKEYS_PROJECT_OWNER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_companions_no_team, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_PROJECT_INVITES, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_PROJECT_OWNER, NGX_HTTP_APIKEYS_PROJECT_OWNER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_companions_array, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_PROJECT_LIMITS, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_PROJECT_READER, NGX_HTTP_APIKEYS_PROJECT_READER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_companions_array, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_PROJECT_ADDRESSES, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_PROJECT_READER, NGX_HTTP_APIKEYS_PROJECT_READER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_companions_addresses, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_SLOW_MS, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_PROJECT_READER, NGX_HTTP_APIKEYS_PROJECT_READER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_companions_slow_ms, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_SLOW_MS_ENABLE, NGX_HTTP_POST,
      NGX_HTTP_APIKEYS_PROJECT_OWNER, NGX_HTTP_APIKEYS_PROJECT_OWNER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_companions_enable_slow_ms, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_SLOW_MS_DISABLE, NGX_HTTP_DELETE,
      NGX_HTTP_APIKEYS_PROJECT_OWNER, NGX_HTTP_APIKEYS_PROJECT_OWNER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_companions_disable_slow_ms, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_ORG_EVENTS, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_MEMBER, NGX_HTTP_APIKEYS_MEMBER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_events_list, 0, 1, ngx_http_apikeys_events_query },

    { NGX_HTTP_APIKEYS_ORG_EVENT, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_MEMBER, NGX_HTTP_APIKEYS_MEMBER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_events_get, 0, 0, ngx_http_apikeys_events_query_raw },

    { NGX_HTTP_APIKEYS_PROJECT_EVENTS, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_PROJECT_READER, NGX_HTTP_APIKEYS_PROJECT_READER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_events_list, 0, 1, ngx_http_apikeys_events_query },

    { NGX_HTTP_APIKEYS_PROJECT_EVENT, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_PROJECT_READER, NGX_HTTP_APIKEYS_PROJECT_READER, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_events_get, 0, 0, ngx_http_apikeys_events_query_raw },

    { NGX_HTTP_APIKEYS_EVENT_TYPES, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_ANY_KEY, NGX_HTTP_APIKEYS_ANY_KEY, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_events_types, 0, 1, NULL },

    /* what takes the operator takes a global role: see api_global() */

    { NGX_HTTP_APIKEYS_GLOBAL_KEYS, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_OPERATOR, NGX_HTTP_APIKEYS_OPERATOR, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_global_keys_list, 0, 1, NULL },
    { NGX_HTTP_APIKEYS_GLOBAL_KEYS, NGX_HTTP_POST,
      NGX_HTTP_APIKEYS_OPERATOR, NGX_HTTP_APIKEYS_OPERATOR, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_global_keys_create,
      NGX_HTTP_APIKEYS_BODY_OBJECT, 0, NULL },

    { NGX_HTTP_APIKEYS_GLOBAL_ROLES, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_OPERATOR, NGX_HTTP_APIKEYS_OPERATOR, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_global_keys_roles, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_GLOBAL_KEY, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_OPERATOR, NGX_HTTP_APIKEYS_OPERATOR, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_global_keys_get, 0, 0, NULL },
    { NGX_HTTP_APIKEYS_GLOBAL_KEY, NGX_HTTP_PATCH,
      NGX_HTTP_APIKEYS_OPERATOR, NGX_HTTP_APIKEYS_OPERATOR, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_global_keys_update,
      NGX_HTTP_APIKEYS_BODY_OBJECT, 0, NULL },
    { NGX_HTTP_APIKEYS_GLOBAL_KEY, NGX_HTTP_DELETE,
      NGX_HTTP_APIKEYS_OPERATOR, NGX_HTTP_APIKEYS_OPERATOR, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_global_keys_delete, 0, 0, NULL },

    { NGX_HTTP_APIKEYS_GLOBAL_LIST, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_OPERATOR, NGX_HTTP_APIKEYS_OPERATOR, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_global_list_get, 0, 1, NULL },
    { NGX_HTTP_APIKEYS_GLOBAL_LIST, NGX_HTTP_POST,
      NGX_HTTP_APIKEYS_OPERATOR, NGX_HTTP_APIKEYS_OPERATOR, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_global_list_add, NGX_HTTP_APIKEYS_BODY_OBJECT, 0, NULL },

    { NGX_HTTP_APIKEYS_GLOBAL_ENTRY, NGX_HTTP_GET,
      NGX_HTTP_APIKEYS_OPERATOR, NGX_HTTP_APIKEYS_OPERATOR, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_global_list_entry, 0, 0, NULL },
    { NGX_HTTP_APIKEYS_GLOBAL_ENTRY, NGX_HTTP_PATCH,
      NGX_HTTP_APIKEYS_OPERATOR, NGX_HTTP_APIKEYS_OPERATOR, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_global_list_update,
      NGX_HTTP_APIKEYS_BODY_OBJECT, 0, NULL },
    { NGX_HTTP_APIKEYS_GLOBAL_ENTRY, NGX_HTTP_DELETE,
      NGX_HTTP_APIKEYS_OPERATOR, NGX_HTTP_APIKEYS_OPERATOR, 0,
      NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
      ngx_http_apikeys_global_list_delete, 0, 0, NULL }
};

#define NGX_HTTP_APIKEYS_NROUTES                                             \
    (sizeof(ngx_http_apikeys_routes) / sizeof(ngx_http_apikeys_route_t))


/* by ngx_http_apikeys_right_e: masks in the organisation, in the project */
static const uint32_t  ngx_http_apikeys_rights[][2] = {
    { 0, 0 },
    { 0, 0 },
    { 0, 0 },
    { NGX_APIKEYS_ROLES_ANY, 0 },
    { NGX_APIKEYS_ORG_OWNER|NGX_APIKEYS_ORG_GROUP_CREATOR, 0 },
    { NGX_APIKEYS_ORG_OWNER, 0 },
    { NGX_APIKEYS_ORG_OWNER|NGX_APIKEYS_ORG_READ_ONLY, NGX_APIKEYS_ROLES_ANY },
    { NGX_APIKEYS_ORG_OWNER,
      NGX_APIKEYS_GROUP_OWNER|NGX_APIKEYS_GROUP_ACCESS_MANAGER },
    { NGX_APIKEYS_ORG_OWNER, NGX_APIKEYS_GROUP_OWNER }
};


/* in the order of Allow; HEAD is GET without its body */
static const struct {
    ngx_uint_t   method;
    ngx_str_t    name;
} ngx_http_apikeys_methods[] = {
    { NGX_HTTP_GET, ngx_string("GET, HEAD") },
    { NGX_HTTP_POST, ngx_string("POST") },
    { NGX_HTTP_PATCH, ngx_string("PATCH") },
    { NGX_HTTP_DELETE, ngx_string("DELETE") }
};


ngx_int_t
ngx_http_apikeys_routes_find(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                       rc;
    ngx_uint_t                      i, method;
    ngx_http_request_t             *r;
    const ngx_http_apikeys_path_t  *path;

    r = ctx->request;

    rc = ngx_http_apikeys_routes_match(ctx, &path);

    if (path == NULL) {
        return rc;
    }

    ctx->whitelist = path->whitelist;

    method = (r->method == NGX_HTTP_HEAD) ? NGX_HTTP_GET : r->method;

    for (i = 0; i < NGX_HTTP_APIKEYS_NROUTES; i++) {
        if (ngx_http_apikeys_routes[i].shape == path->shape
            && ngx_http_apikeys_routes[i].method == method)
        {
            ngx_http_apikeys_routes_take(ctx, &ngx_http_apikeys_routes[i]);
            return NGX_OK;
        }
    }

    return ngx_http_apikeys_routes_not_allowed(ctx, path->shape);
}


static ngx_int_t
ngx_http_apikeys_routes_match(ngx_http_apikeys_ctx_t *ctx,
    const ngx_http_apikeys_path_t **found)
{
    int                             captures[NGX_HTTP_APIKEYS_ROUTES_CAPTURES];
    ngx_int_t                       n;
    ngx_str_t                       rest, *group;
    ngx_uint_t                      i, g;
    ngx_regex_t                   **regex;
    ngx_http_request_t             *r;
    ngx_http_apikeys_main_conf_t   *amcf;
    const ngx_http_apikeys_path_t  *path;

    r = ctx->request;
    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);
    regex = amcf->routes->elts;

    *found = NULL;

    rest.data = r->uri.data + ctx->conf->base.len;
    rest.len = r->uri.len - ctx->conf->base.len;

    if (rest.len > NGX_HTTP_APIKEYS_ROUTES_MAX_PATH) {
        goto not_found;
    }

    for (i = 0; i < NGX_HTTP_APIKEYS_NPATHS; i++) {
        path = &ngx_http_apikeys_paths[i];

        if (!(path->apis & ctx->conf->api)) {
            continue;
        }

        n = ngx_regex_exec(regex[i], &rest, captures,
                           NGX_HTTP_APIKEYS_ROUTES_CAPTURES);

        if (n == NGX_REGEX_NO_MATCHED) {
            continue;
        }

        if (n < 0) {
            ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                          ngx_regex_exec_n " failed: %i on \"%V\" using "
                          "\"%V\"", n, &rest, &path->pattern);
            return NGX_ERROR;
        }

        for (g = 0; g < 3 && path->groups[g]; g++) {
            group = (ngx_str_t *) ((u_char *) ctx + path->groups[g]);
            group->data = rest.data + captures[2 * g + 2];
            group->len = captures[2 * g + 3] - captures[2 * g + 2];
        }

        *found = path;
        return NGX_OK;
    }

not_found:

    return ngx_http_apikeys_output_refuse(ctx,
                                          NGX_HTTP_APIKEYS_RESOURCE_NOT_FOUND,
                                          &r->uri, NULL);
}


static ngx_int_t
ngx_http_apikeys_routes_not_allowed(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_shape_e shape)
{
    u_char                    *p;
    ngx_str_t                  allow;
    ngx_uint_t                 i, m;
    ngx_http_request_t        *r;
    static const ngx_str_t     name = ngx_string("Allow");

    r = ctx->request;

    p = ngx_pnalloc(r->pool, sizeof("GET, HEAD, POST, PATCH, DELETE") - 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    allow.data = p;

    for (m = 0; m < 4; m++) {
        for (i = 0; i < NGX_HTTP_APIKEYS_NROUTES; i++) {
            if (ngx_http_apikeys_routes[i].shape != shape
                || ngx_http_apikeys_routes[i].method
                   != ngx_http_apikeys_methods[m].method)
            {
                continue;
            }

            if (p > allow.data) {
                *p++ = ',';
                *p++ = ' ';
            }

            p = ngx_cpymem(p, ngx_http_apikeys_methods[m].name.data,
                           ngx_http_apikeys_methods[m].name.len);
        }
    }

    allow.len = p - allow.data;

    if (ngx_http_apikeys_output_header(r, &name, &allow) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_apikeys_output_refuse(ctx,
                                          NGX_HTTP_APIKEYS_METHOD_NOT_ALLOWED,
                                          &r->method_name, NULL);
}


static void
ngx_http_apikeys_routes_take(ngx_http_apikeys_ctx_t *ctx,
    const ngx_http_apikeys_route_t *route)
{
    ngx_http_apikeys_right_e  right;

    right = (ctx->conf->api == NGX_HTTP_APIKEYS_ATLAS_V2) ? route->v2
                                                          : route->v1;
    ctx->route = route;
    ctx->refusal = route->refusal;
    ctx->org_right = ngx_http_apikeys_rights[right][0];
    ctx->project_right = ngx_http_apikeys_rights[right][1];
}


ngx_int_t
ngx_http_apikeys_routes_init(ngx_conf_t *cf,
    ngx_http_apikeys_main_conf_t *amcf)
{
    ngx_uint_t            i;
    ngx_regex_t         **regex;
    ngx_regex_compile_t   rgc;
    u_char                errstr[NGX_MAX_CONF_ERRSTR];

    amcf->routes = ngx_array_create(cf->pool, NGX_HTTP_APIKEYS_NPATHS,
                                    sizeof(ngx_regex_t *));
    if (amcf->routes == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_HTTP_APIKEYS_NPATHS; i++) {

        ngx_memzero(&rgc, sizeof(ngx_regex_compile_t));

        rgc.pattern = ngx_http_apikeys_paths[i].pattern;
        rgc.pool = cf->pool;
        rgc.err.len = NGX_MAX_CONF_ERRSTR;
        rgc.err.data = errstr;

        if (ngx_regex_compile(&rgc) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V", &rgc.err);
            return NGX_ERROR;
        }

        regex = ngx_array_push(amcf->routes);
        *regex = rgc.regex;
    }

    return NGX_OK;
}
