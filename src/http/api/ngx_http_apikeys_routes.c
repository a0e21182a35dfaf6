
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_header.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_resources.h>
#include <ngx_http_apikeys_routes.h>


#if !(NGX_PCRE)
#error ngx_http_apikeys_module needs nginx with PCRE
#endif


#define NGX_HTTP_APIKEYS_ROUTES_CAPTURES  ((1 + 3) * 3)

/* longer paths match no route: ids have 24 digits, blocks at most 49 */
#define NGX_HTTP_APIKEYS_ROUTES_MAX_PATH  512


typedef enum {
    NGX_HTTP_APIKEYS_PATH_ROOT = 0,
    NGX_HTTP_APIKEYS_PATH_ORGS,
    NGX_HTTP_APIKEYS_PATH_ORG,
    NGX_HTTP_APIKEYS_PATH_ORG_PROJECTS,
    NGX_HTTP_APIKEYS_PATH_ORG_USERS,
    NGX_HTTP_APIKEYS_PATH_ORG_INVITES,
    NGX_HTTP_APIKEYS_PATH_ORG_SETTINGS,
    NGX_HTTP_APIKEYS_PATH_KEYS,
    NGX_HTTP_APIKEYS_PATH_KEY,
    NGX_HTTP_APIKEYS_PATH_LIST,
    NGX_HTTP_APIKEYS_PATH_ENTRY,
    NGX_HTTP_APIKEYS_PATH_NATIVE_ENTRY,
    NGX_HTTP_APIKEYS_PATH_SECRETS,
    NGX_HTTP_APIKEYS_PATH_SECRET,
    NGX_HTTP_APIKEYS_PATH_PROJECTS,
    NGX_HTTP_APIKEYS_PATH_PROJECT,
    NGX_HTTP_APIKEYS_PATH_PROJECT_BY_NAME,
    NGX_HTTP_APIKEYS_PATH_PROJECT_KEYS,
    NGX_HTTP_APIKEYS_PATH_PROJECT_KEY,
    NGX_HTTP_APIKEYS_PATH_PROJECT_SETTINGS,
    NGX_HTTP_APIKEYS_PATH_PROJECT_LIST,
    NGX_HTTP_APIKEYS_PATH_PROJECT_TEAMS,
    NGX_HTTP_APIKEYS_PATH_PROJECT_TEAM,
    NGX_HTTP_APIKEYS_PATH_PROJECT_INVITES,
    NGX_HTTP_APIKEYS_PATH_PROJECT_LIMITS,
    NGX_HTTP_APIKEYS_PATH_PROJECT_ADDRESSES,
    NGX_HTTP_APIKEYS_PATH_SLOW_MS,
    NGX_HTTP_APIKEYS_PATH_SLOW_MS_ENABLE,
    NGX_HTTP_APIKEYS_PATH_SLOW_MS_DISABLE,
    NGX_HTTP_APIKEYS_PATH_ORG_EVENTS,
    NGX_HTTP_APIKEYS_PATH_ORG_EVENT,
    NGX_HTTP_APIKEYS_PATH_PROJECT_EVENTS,
    NGX_HTTP_APIKEYS_PATH_PROJECT_EVENT,
    NGX_HTTP_APIKEYS_PATH_EVENT_TYPES,
    NGX_HTTP_APIKEYS_PATH_GLOBAL_KEYS,
    NGX_HTTP_APIKEYS_PATH_GLOBAL_KEY,
    NGX_HTTP_APIKEYS_PATH_GLOBAL_ROLES,
    NGX_HTTP_APIKEYS_PATH_GLOBAL_LIST,
    NGX_HTTP_APIKEYS_PATH_GLOBAL_ENTRY,

    /* of the native API alone */
    NGX_HTTP_APIKEYS_PATH_CALLER,
    NGX_HTTP_APIKEYS_PATH_DECISION,
    NGX_HTTP_APIKEYS_PATH_ASSIGNMENT
} ngx_http_apikeys_path_e;


/*
 * groups[i]: offset in the call of the ngx_str_t that receives capture i + 1;
 * 0: none
 */
typedef struct {
    ngx_http_apikeys_path_e  path;
    ngx_uint_t               apis;
    ngx_str_t                pattern;
    size_t                   groups[3];
    ngx_uint_t               whitelist;
} ngx_http_apikeys_path_t;


static ngx_int_t ngx_http_apikeys_routes_match(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_path_t **path);
static ngx_int_t ngx_http_apikeys_routes_not_allowed(
    ngx_http_apikeys_call_t *call, ngx_http_apikeys_path_e path);
static void ngx_http_apikeys_routes_apply(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_route_t *route);


#define NGX_HTTP_APIKEYS_ROUTES_ORG                                          \
    offsetof(ngx_http_apikeys_call_t, org)
#define NGX_HTTP_APIKEYS_ROUTES_PROJECT                                      \
    offsetof(ngx_http_apikeys_call_t, project)
#define NGX_HTTP_APIKEYS_ROUTES_KEY                                          \
    offsetof(ngx_http_apikeys_call_t, path_key)
#define NGX_HTTP_APIKEYS_ROUTES_ENTRY                                        \
    offsetof(ngx_http_apikeys_call_t, entry_text)
#define NGX_HTTP_APIKEYS_ROUTES_ITEM                                         \
    offsetof(ngx_http_apikeys_call_t, item)
#define NGX_HTTP_APIKEYS_ROUTES_NAME                                         \
    offsetof(ngx_http_apikeys_call_t, name)

#define NGX_HTTP_APIKEYS_API_NOT_V2                                          \
    (NGX_HTTP_APIKEYS_API_ATLAS_V1|NGX_HTTP_APIKEYS_API_OPS_MANAGER)
#define NGX_HTTP_APIKEYS_API_ATLAS                                           \
    (NGX_HTTP_APIKEYS_API_ATLAS_V1|NGX_HTTP_APIKEYS_API_ATLAS_V2)


/*
 * No path matches two patterns, except those of projects by name.  The most
 * frequent come first.  "[^/]++" is possessive: backtracking could not produce
 * a match.
 */
static const ngx_http_apikeys_path_t  ngx_http_apikeys_paths[] = {

    { .path = NGX_HTTP_APIKEYS_PATH_KEY, .apis = NGX_HTTP_APIKEYS_API_ANY,
      .pattern = ngx_string("^/orgs/([^/]++)/apiKeys/([^/]++)/"
                            "?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG, NGX_HTTP_APIKEYS_ROUTES_KEY } },

    { .path = NGX_HTTP_APIKEYS_PATH_KEYS, .apis = NGX_HTTP_APIKEYS_API_ANY,
      .pattern = ngx_string("^/orgs/([^/]++)/apiKeys/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG } },

    { .path = NGX_HTTP_APIKEYS_PATH_ROOT,
      .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .pattern = ngx_string("^/?\\z") },

    { .path = NGX_HTTP_APIKEYS_PATH_CALLER, .apis = NGX_HTTP_APIKEYS_API_NATIVE,
      .pattern = ngx_string("^/?\\z") },

    { .path = NGX_HTTP_APIKEYS_PATH_ORGS, .apis = NGX_HTTP_APIKEYS_API_ANY,
      .pattern = ngx_string("^/orgs/?\\z") },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG, .apis = NGX_HTTP_APIKEYS_API_ANY,
      .pattern = ngx_string("^/orgs/([^/]++)/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG } },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG_PROJECTS,
      .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .pattern = ngx_string("^/orgs/([^/]++)/groups/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG } },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG_PROJECTS,
      .apis = NGX_HTTP_APIKEYS_API_NATIVE,
      .pattern = ngx_string("^/orgs/([^/]++)/projects/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG } },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG_SETTINGS,
      .apis = NGX_HTTP_APIKEYS_API_ANY,
      .pattern = ngx_string("^/orgs/([^/]++)/settings/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG } },

    { .path = NGX_HTTP_APIKEYS_PATH_LIST, .apis = NGX_HTTP_APIKEYS_API_ANY,
      .pattern = ngx_string("^/orgs/([^/]++)/apiKeys/([^/]++)/"
                            "(?i:accessList)/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG, NGX_HTTP_APIKEYS_ROUTES_KEY } },

    { .path = NGX_HTTP_APIKEYS_PATH_LIST, .apis = NGX_HTTP_APIKEYS_API_NOT_V2,
      .pattern = ngx_string("^/orgs/([^/]++)/apiKeys/([^/]++)/"
                            "(?i:whitelist)/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG, NGX_HTTP_APIKEYS_ROUTES_KEY },
      .whitelist = 1 },

    { .path = NGX_HTTP_APIKEYS_PATH_ENTRY,
      .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .pattern = ngx_string("^/orgs/([^/]++)/apiKeys/([^/]++)/"
                            "(?i:accessList)/([^/]+(?:/[^/]*)?)\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG,
                  NGX_HTTP_APIKEYS_ROUTES_KEY,
                  NGX_HTTP_APIKEYS_ROUTES_ENTRY } },

    { .path = NGX_HTTP_APIKEYS_PATH_NATIVE_ENTRY,
      .apis = NGX_HTTP_APIKEYS_API_NATIVE,
      .pattern = ngx_string("^/orgs/([^/]++)/apiKeys/([^/]++)/"
                            "(?i:accessList)/([^/]+(?:/[^/]*)?)\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG,
                  NGX_HTTP_APIKEYS_ROUTES_KEY,
                  NGX_HTTP_APIKEYS_ROUTES_ENTRY } },

    { .path = NGX_HTTP_APIKEYS_PATH_ENTRY, .apis = NGX_HTTP_APIKEYS_API_NOT_V2,
      .pattern = ngx_string("^/orgs/([^/]++)/apiKeys/([^/]++)/"
                            "(?i:whitelist)/([^/]+(?:/[^/]*)?)\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG,
                  NGX_HTTP_APIKEYS_ROUTES_KEY,
                  NGX_HTTP_APIKEYS_ROUTES_ENTRY },
      .whitelist = 1 },

    { .path = NGX_HTTP_APIKEYS_PATH_DECISION,
      .apis = NGX_HTTP_APIKEYS_API_NATIVE,
      .pattern = ngx_string("^/orgs/([^/]++)/apiKeys/([^/]++)/decision/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG, NGX_HTTP_APIKEYS_ROUTES_KEY } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECTS,
      .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .pattern = ngx_string("^/groups/?\\z") },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECTS,
      .apis = NGX_HTTP_APIKEYS_API_NATIVE,
      .pattern = ngx_string("^/projects/?\\z") },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT,
      .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .pattern = ngx_string("^/groups/([^/]++)/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT,
      .apis = NGX_HTTP_APIKEYS_API_NATIVE,
      .pattern = ngx_string("^/projects/([^/]++)/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT } },

    /* before the paths in a project: a name may look like one of them */

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_BY_NAME,
      .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .pattern = ngx_string("^/groups/byName/([^/]++)/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_NAME } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_KEYS,
      .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .pattern = ngx_string("^/groups/([^/]++)/apiKeys/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_KEYS,
      .apis = NGX_HTTP_APIKEYS_API_NATIVE,
      .pattern = ngx_string("^/projects/([^/]++)/apiKeys/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_KEY,
      .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .pattern = ngx_string("^/groups/([^/]++)/apiKeys/([^/]++)/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT,
                  NGX_HTTP_APIKEYS_ROUTES_KEY } },

    { .path = NGX_HTTP_APIKEYS_PATH_ASSIGNMENT,
      .apis = NGX_HTTP_APIKEYS_API_NATIVE,
      .pattern = ngx_string("^/projects/([^/]++)/apiKeys/([^/]++)/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT,
                  NGX_HTTP_APIKEYS_ROUTES_KEY } },

    { .path = NGX_HTTP_APIKEYS_PATH_SECRETS,
      .apis = NGX_HTTP_APIKEYS_API_NATIVE,
      .pattern = ngx_string("^/orgs/([^/]++)/apiKeys/([^/]++)/secrets/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG, NGX_HTTP_APIKEYS_ROUTES_KEY } },

    { .path = NGX_HTTP_APIKEYS_PATH_SECRET,
      .apis = NGX_HTTP_APIKEYS_API_NATIVE,
      .pattern = ngx_string("^/orgs/([^/]++)/apiKeys/([^/]++)/secrets/"
                            "([^/]++)/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG,
                  NGX_HTTP_APIKEYS_ROUTES_KEY,
                  NGX_HTTP_APIKEYS_ROUTES_ITEM } },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG_USERS,
      .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .pattern = ngx_string("^/orgs/([^/]++)/(?:users|teams)/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG } },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG_INVITES,
      .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .pattern = ngx_string("^/orgs/([^/]++)/invites/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_SETTINGS,
      .apis = NGX_HTTP_APIKEYS_API_ATLAS,
      .pattern = ngx_string("^/groups/([^/]++)/settings/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_LIST,
      .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .pattern = ngx_string("^/groups/([^/]++)/users/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_LIST,
      .apis = NGX_HTTP_APIKEYS_API_ATLAS,
      .pattern = ngx_string("^/groups/([^/]++)/clusters/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_TEAMS,
      .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .pattern = ngx_string("^/groups/([^/]++)/teams/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_TEAM,
      .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .pattern = ngx_string("^/groups/([^/]++)/teams/([^/]++)/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT,
                  NGX_HTTP_APIKEYS_ROUTES_NAME } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_INVITES,
      .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .pattern = ngx_string("^/groups/([^/]++)/invites/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_LIMITS,
      .apis = NGX_HTTP_APIKEYS_API_ATLAS,
      .pattern = ngx_string("^/groups/([^/]++)/limits/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_ADDRESSES,
      .apis = NGX_HTTP_APIKEYS_API_ATLAS,
      .pattern = ngx_string("^/groups/([^/]++)/ipAddresses/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT } },

    { .path = NGX_HTTP_APIKEYS_PATH_SLOW_MS, .apis = NGX_HTTP_APIKEYS_API_ATLAS,
      .pattern = ngx_string("^/groups/([^/]++)/managedSlowMs/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT } },

    { .path = NGX_HTTP_APIKEYS_PATH_SLOW_MS_ENABLE,
      .apis = NGX_HTTP_APIKEYS_API_ATLAS,
      .pattern = ngx_string("^/groups/([^/]++)/managedSlowMs/enable/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT } },

    { .path = NGX_HTTP_APIKEYS_PATH_SLOW_MS_DISABLE,
      .apis = NGX_HTTP_APIKEYS_API_ATLAS,
      .pattern = ngx_string("^/groups/([^/]++)/managedSlowMs/disable/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT } },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG_EVENTS,
      .apis = NGX_HTTP_APIKEYS_API_ANY,
      .pattern = ngx_string("^/orgs/([^/]++)/events/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG } },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG_EVENT, .apis = NGX_HTTP_APIKEYS_API_ANY,
      .pattern = ngx_string("^/orgs/([^/]++)/events/([^/]++)/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ORG, NGX_HTTP_APIKEYS_ROUTES_ITEM } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_EVENTS,
      .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .pattern = ngx_string("^/groups/([^/]++)/events/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_EVENTS,
      .apis = NGX_HTTP_APIKEYS_API_NATIVE,
      .pattern = ngx_string("^/projects/([^/]++)/events/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_EVENT,
      .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .pattern = ngx_string("^/groups/([^/]++)/events/([^/]++)/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT,
                  NGX_HTTP_APIKEYS_ROUTES_ITEM } },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_EVENT,
      .apis = NGX_HTTP_APIKEYS_API_NATIVE,
      .pattern = ngx_string("^/projects/([^/]++)/events/([^/]++)/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_PROJECT,
                  NGX_HTTP_APIKEYS_ROUTES_ITEM } },

    { .path = NGX_HTTP_APIKEYS_PATH_EVENT_TYPES,
      .apis = NGX_HTTP_APIKEYS_API_ATLAS_V2,
      .pattern = ngx_string("^/eventTypes/?\\z") },

    { .path = NGX_HTTP_APIKEYS_PATH_GLOBAL_KEYS,
      .apis = NGX_HTTP_APIKEYS_API_OPS_MANAGER,
      .pattern = ngx_string("^/admin/apiKeys/?\\z") },

    { .path = NGX_HTTP_APIKEYS_PATH_GLOBAL_ROLES,
      .apis = NGX_HTTP_APIKEYS_API_OPS_MANAGER,
      .pattern = ngx_string("^/admin/apiKeys/roles/?\\z") },

    { .path = NGX_HTTP_APIKEYS_PATH_GLOBAL_KEY,
      .apis = NGX_HTTP_APIKEYS_API_OPS_MANAGER,
      .pattern = ngx_string("^/admin/apiKeys/(?!roles/?\\z)([^/]++)/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_KEY } },

    { .path = NGX_HTTP_APIKEYS_PATH_GLOBAL_LIST,
      .apis = NGX_HTTP_APIKEYS_API_OPS_MANAGER,
      .pattern = ngx_string("^/admin/(?i:accessList|whitelist)/?\\z") },

    { .path = NGX_HTTP_APIKEYS_PATH_GLOBAL_ENTRY,
      .apis = NGX_HTTP_APIKEYS_API_OPS_MANAGER,
      .pattern = ngx_string("^/admin/(?i:accessList|whitelist)/([^/]++)/?\\z"),
      .groups = { NGX_HTTP_APIKEYS_ROUTES_ITEM } }
};

#define NGX_HTTP_APIKEYS_NPATHS                                              \
    (sizeof(ngx_http_apikeys_paths) / sizeof(ngx_http_apikeys_path_t))


static const ngx_http_apikeys_route_t  ngx_http_apikeys_routes[] = {

    { .path = NGX_HTTP_APIKEYS_PATH_ROOT, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_ANY_KEY,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_ANY_KEY,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_root },

    { .path = NGX_HTTP_APIKEYS_PATH_ORGS, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_ANYONE, .v2 = NGX_HTTP_APIKEYS_RIGHT_ANYONE,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_orgs_list,
      .paginated = 1 },

    { .path = NGX_HTTP_APIKEYS_PATH_ORGS, .method = NGX_HTTP_POST,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .denied = NGX_HTTP_APIKEYS_CODE_CANNOT_CREATE_ORG,
      .handler = ngx_http_apikeys_orgs_create,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_ANYONE, .v2 = NGX_HTTP_APIKEYS_RIGHT_ANYONE,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_orgs_get },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG, .method = NGX_HTTP_PATCH,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_orgs_update,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG, .method = NGX_HTTP_DELETE,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_orgs_delete },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG_PROJECTS, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_ANYONE, .v2 = NGX_HTTP_APIKEYS_RIGHT_ANYONE,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_projects_list,
      .paginated = 1 },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG_SETTINGS, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_MEMBER, .v2 = NGX_HTTP_APIKEYS_RIGHT_MEMBER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_orgs_settings },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG_SETTINGS, .method = NGX_HTTP_PATCH,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_orgs_update_settings,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_KEYS, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_MEMBER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_org_keys_list,
      .paginated = 1,
      .query = ngx_http_apikeys_key_list_query },

    { .path = NGX_HTTP_APIKEYS_PATH_KEYS, .method = NGX_HTTP_POST,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_org_keys_create,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_KEY, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_MEMBER,
      .self = NGX_HTTP_APIKEYS_API_ANY,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_org_keys_get },

    { .path = NGX_HTTP_APIKEYS_PATH_KEY, .method = NGX_HTTP_PATCH,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .self = NGX_HTTP_APIKEYS_API_OPS_MANAGER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_org_keys_update,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_KEY, .method = NGX_HTTP_DELETE,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .self = NGX_HTTP_APIKEYS_API_OPS_MANAGER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_org_keys_delete },

    { .path = NGX_HTTP_APIKEYS_PATH_LIST, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .self = NGX_HTTP_APIKEYS_API_ANY,
      .denied = NGX_HTTP_APIKEYS_CODE_LIST_DENIED,
      .handler = ngx_http_apikeys_access_list_list,
      .paginated = 1 },

    { .path = NGX_HTTP_APIKEYS_PATH_LIST, .method = NGX_HTTP_POST,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .self = NGX_HTTP_APIKEYS_API_ANY,
      .denied = NGX_HTTP_APIKEYS_CODE_LIST_DENIED,
      .handler = ngx_http_apikeys_access_list_add,
      .body = NGX_HTTP_APIKEYS_BODY_LIST,
      .paginated = 1 },

    { .path = NGX_HTTP_APIKEYS_PATH_ENTRY, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .self = NGX_HTTP_APIKEYS_API_ANY,
      .denied = NGX_HTTP_APIKEYS_CODE_LIST_DENIED,
      .handler = ngx_http_apikeys_access_list_get },

    { .path = NGX_HTTP_APIKEYS_PATH_ENTRY, .method = NGX_HTTP_DELETE,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .self = NGX_HTTP_APIKEYS_API_ANY,
      .denied = NGX_HTTP_APIKEYS_CODE_LIST_DENIED,
      .handler = ngx_http_apikeys_access_list_delete },

    { .path = NGX_HTTP_APIKEYS_PATH_NATIVE_ENTRY, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .self = NGX_HTTP_APIKEYS_API_NATIVE,
      .denied = NGX_HTTP_APIKEYS_CODE_LIST_DENIED,
      .handler = ngx_http_apikeys_access_list_get },

    { .path = NGX_HTTP_APIKEYS_PATH_NATIVE_ENTRY, .method = NGX_HTTP_PATCH,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .self = NGX_HTTP_APIKEYS_API_NATIVE,
      .denied = NGX_HTTP_APIKEYS_CODE_LIST_DENIED,
      .handler = ngx_http_apikeys_access_list_update,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_NATIVE_ENTRY, .method = NGX_HTTP_DELETE,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .self = NGX_HTTP_APIKEYS_API_NATIVE,
      .denied = NGX_HTTP_APIKEYS_CODE_LIST_DENIED,
      .handler = ngx_http_apikeys_access_list_delete },

    { .path = NGX_HTTP_APIKEYS_PATH_SECRETS, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .self = NGX_HTTP_APIKEYS_API_NATIVE,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_secrets_list,
      .paginated = 1 },

    { .path = NGX_HTTP_APIKEYS_PATH_SECRETS, .method = NGX_HTTP_POST,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .self = NGX_HTTP_APIKEYS_API_NATIVE,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_secrets_add,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_SECRET, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .self = NGX_HTTP_APIKEYS_API_NATIVE,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_secrets_get },

    { .path = NGX_HTTP_APIKEYS_PATH_SECRET, .method = NGX_HTTP_PATCH,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_secrets_update,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_SECRET, .method = NGX_HTTP_DELETE,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .self = NGX_HTTP_APIKEYS_API_NATIVE,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_secrets_delete },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECTS, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_ANYONE, .v2 = NGX_HTTP_APIKEYS_RIGHT_ANYONE,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_projects_list,
      .paginated = 1 },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECTS, .method = NGX_HTTP_POST,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_CREATOR,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_CREATOR,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_projects_create,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_projects_get },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT, .method = NGX_HTTP_PATCH,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_projects_update,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT, .method = NGX_HTTP_DELETE,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_projects_delete },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_BY_NAME, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_ANYONE, .v2 = NGX_HTTP_APIKEYS_RIGHT_ANYONE,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_projects_by_name },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_KEYS, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_project_keys_list,
      .paginated = 1,
      .query = ngx_http_apikeys_key_list_query },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_KEYS, .method = NGX_HTTP_POST,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_MANAGER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_project_keys_create,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_KEY, .method = NGX_HTTP_PATCH,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_MANAGER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_project_keys_update,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT,
      .paginated = 1 },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_KEY, .method = NGX_HTTP_POST,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_project_keys_assign,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_KEY, .method = NGX_HTTP_DELETE,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_MANAGER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_project_keys_unassign },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG_USERS, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_MEMBER, .v2 = NGX_HTTP_APIKEYS_RIGHT_MEMBER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_companions_list,
      .paginated = 1 },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG_INVITES, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OWNER, .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_companions_array },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_SETTINGS, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_companions_settings },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_SETTINGS, .method = NGX_HTTP_PATCH,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_companions_update_settings,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_LIST, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_companions_list,
      .paginated = 1 },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_TEAMS, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_companions_list,
      .paginated = 1 },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_TEAMS, .method = NGX_HTTP_POST,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_companions_add_teams,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT,
      .paginated = 1 },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_TEAM, .method = NGX_HTTP_PATCH,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_companions_no_team,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_TEAM, .method = NGX_HTTP_DELETE,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_companions_no_team },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_INVITES, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_companions_array },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_LIMITS, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_companions_array },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_ADDRESSES, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_companions_addresses },

    { .path = NGX_HTTP_APIKEYS_PATH_SLOW_MS, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_companions_slow_ms },

    { .path = NGX_HTTP_APIKEYS_PATH_SLOW_MS_ENABLE, .method = NGX_HTTP_POST,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_companions_enable_slow_ms },

    { .path = NGX_HTTP_APIKEYS_PATH_SLOW_MS_DISABLE, .method = NGX_HTTP_DELETE,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_companions_disable_slow_ms },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG_EVENTS, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_MEMBER, .v2 = NGX_HTTP_APIKEYS_RIGHT_MEMBER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_events_list,
      .paginated = 1,
      .query = ngx_http_apikeys_events_query },

    { .path = NGX_HTTP_APIKEYS_PATH_ORG_EVENT, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_MEMBER, .v2 = NGX_HTTP_APIKEYS_RIGHT_MEMBER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_events_get,
      .query = ngx_http_apikeys_events_query_raw },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_EVENTS, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_events_list,
      .paginated = 1,
      .query = ngx_http_apikeys_events_query },

    { .path = NGX_HTTP_APIKEYS_PATH_PROJECT_EVENT, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_events_get,
      .query = ngx_http_apikeys_events_query_raw },

    { .path = NGX_HTTP_APIKEYS_PATH_EVENT_TYPES, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_ANY_KEY,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_ANY_KEY,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_events_types,
      .paginated = 1 },

    { .path = NGX_HTTP_APIKEYS_PATH_GLOBAL_KEYS, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_global_keys_list,
      .paginated = 1 },

    { .path = NGX_HTTP_APIKEYS_PATH_GLOBAL_KEYS, .method = NGX_HTTP_POST,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_global_keys_create,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_GLOBAL_ROLES, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_global_keys_roles },

    { .path = NGX_HTTP_APIKEYS_PATH_GLOBAL_KEY, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_global_keys_get },

    { .path = NGX_HTTP_APIKEYS_PATH_GLOBAL_KEY, .method = NGX_HTTP_PATCH,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_global_keys_update,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_GLOBAL_KEY, .method = NGX_HTTP_DELETE,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_global_keys_delete },

    { .path = NGX_HTTP_APIKEYS_PATH_GLOBAL_LIST, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_global_list_list,
      .paginated = 1 },

    { .path = NGX_HTTP_APIKEYS_PATH_GLOBAL_LIST, .method = NGX_HTTP_POST,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_global_list_add,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_GLOBAL_ENTRY, .method = NGX_HTTP_GET,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_global_list_get },

    { .path = NGX_HTTP_APIKEYS_PATH_GLOBAL_ENTRY, .method = NGX_HTTP_PATCH,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_global_list_update,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_GLOBAL_ENTRY, .method = NGX_HTTP_DELETE,
      .v1 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_OPERATOR,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_global_list_delete },

    { .path = NGX_HTTP_APIKEYS_PATH_CALLER, .method = NGX_HTTP_GET,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_ANY_KEY,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_caller },

    { .path = NGX_HTTP_APIKEYS_PATH_DECISION, .method = NGX_HTTP_GET,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_OWNER,
      .self = NGX_HTTP_APIKEYS_API_NATIVE,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_decision,
      .query = ngx_http_apikeys_decision_query },

    { .path = NGX_HTTP_APIKEYS_PATH_ASSIGNMENT, .method = NGX_HTTP_PUT,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_project_keys_put,
      .body = NGX_HTTP_APIKEYS_BODY_OBJECT },

    { .path = NGX_HTTP_APIKEYS_PATH_ASSIGNMENT, .method = NGX_HTTP_DELETE,
      .v2 = NGX_HTTP_APIKEYS_RIGHT_PROJECT_MANAGER,
      .denied = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
      .handler = ngx_http_apikeys_project_keys_unassign }
};

#define NGX_HTTP_APIKEYS_NROUTES                                             \
    (sizeof(ngx_http_apikeys_routes) / sizeof(ngx_http_apikeys_route_t))


/* the roles that a right consists of, any of which is enough */
static const struct {
    uint32_t  org;          /* in the organization */
    uint32_t  project;      /* in the project of the path */
} ngx_http_apikeys_rights[] = {

    /* no role: ngx_http_apikeys_api_check_role() decides */
    [NGX_HTTP_APIKEYS_RIGHT_OPERATOR] = { 0 },
    [NGX_HTTP_APIKEYS_RIGHT_ANY_KEY] = { 0 },
    [NGX_HTTP_APIKEYS_RIGHT_ANYONE] = { 0 },

    [NGX_HTTP_APIKEYS_RIGHT_MEMBER] = {
        .org = NGX_APIKEYS_ROLES_ANY
    },
    [NGX_HTTP_APIKEYS_RIGHT_CREATOR] = {
        .org = NGX_APIKEYS_ORG_OWNER|NGX_APIKEYS_ORG_GROUP_CREATOR
    },
    [NGX_HTTP_APIKEYS_RIGHT_OWNER] = {
        .org = NGX_APIKEYS_ORG_OWNER
    },
    [NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER] = {
        .org = NGX_APIKEYS_ORG_OWNER|NGX_APIKEYS_ORG_READ_ONLY,
        .project = NGX_APIKEYS_ROLES_ANY
    },
    [NGX_HTTP_APIKEYS_RIGHT_PROJECT_MANAGER] = {
        .org = NGX_APIKEYS_ORG_OWNER,
        .project = NGX_APIKEYS_GROUP_OWNER|NGX_APIKEYS_GROUP_ACCESS_MANAGER
    },
    [NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER] = {
        .org = NGX_APIKEYS_ORG_OWNER,
        .project = NGX_APIKEYS_GROUP_OWNER
    }
};


/* in the order of Allow; HEAD is GET without its body */
static const struct {
    ngx_uint_t   method;
    ngx_str_t    name;
} ngx_http_apikeys_methods[] = {
    { NGX_HTTP_GET, ngx_string("GET, HEAD") },
    { NGX_HTTP_POST, ngx_string("POST") },
    { NGX_HTTP_PUT, ngx_string("PUT") },
    { NGX_HTTP_PATCH, ngx_string("PATCH") },
    { NGX_HTTP_DELETE, ngx_string("DELETE") }
};

#define NGX_HTTP_APIKEYS_NMETHODS                                            \
    (sizeof(ngx_http_apikeys_methods) / sizeof(ngx_http_apikeys_methods[0]))


ngx_int_t
ngx_http_apikeys_routes_find(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                       rc;
    ngx_uint_t                      i, method;
    ngx_http_request_t             *r;
    const ngx_http_apikeys_path_t  *path;

    r = call->request;

    rc = ngx_http_apikeys_routes_match(call, &path);

    if (path == NULL) {
        return rc;
    }

    call->whitelist = path->whitelist;

    method = (r->method == NGX_HTTP_HEAD) ? NGX_HTTP_GET : r->method;

    for (i = 0; i < NGX_HTTP_APIKEYS_NROUTES; i++) {
        if (ngx_http_apikeys_routes[i].path == path->path
            && ngx_http_apikeys_routes[i].method == method)
        {
            ngx_http_apikeys_routes_apply(call, &ngx_http_apikeys_routes[i]);
            return NGX_OK;
        }
    }

    return ngx_http_apikeys_routes_not_allowed(call, path->path);
}


static ngx_int_t
ngx_http_apikeys_routes_match(ngx_http_apikeys_call_t *call,
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

    r = call->request;
    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);
    regex = amcf->routes->elts;

    *found = NULL;

    rest.data = r->uri.data + call->conf->base.len;
    rest.len = r->uri.len - call->conf->base.len;

    if (rest.len > NGX_HTTP_APIKEYS_ROUTES_MAX_PATH) {
        goto not_found;
    }

    for (i = 0; i < NGX_HTTP_APIKEYS_NPATHS; i++) {
        path = &ngx_http_apikeys_paths[i];

        if (!(path->apis & call->conf->api)) {
            continue;
        }

        n = ngx_regex_exec(regex[i], &rest, captures,
                           NGX_HTTP_APIKEYS_ROUTES_CAPTURES);

        if (n == NGX_REGEX_NO_MATCHED) {
            continue;
        }

        if (n < 0) {
            ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                          "apikeys: internal error: " ngx_regex_exec_n
                          " failed: %i on \"%V\" using \"%V\", please report",
                          n, &rest, &path->pattern);
            return NGX_ERROR;
        }

        for (g = 0; g < 3 && path->groups[g]; g++) {
            group = (ngx_str_t *) ((u_char *) call + path->groups[g]);
            group->data = rest.data + captures[2 * g + 2];
            group->len = captures[2 * g + 3] - captures[2 * g + 2];
        }

        *found = path;
        return NGX_OK;
    }

not_found:

    return ngx_http_apikeys_output_set_error(call,
                                      NGX_HTTP_APIKEYS_CODE_RESOURCE_NOT_FOUND,
                                      &r->uri, NULL);
}


static ngx_int_t
ngx_http_apikeys_routes_not_allowed(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_path_e path)
{
    u_char                    *p;
    ngx_str_t                  allow;
    ngx_uint_t                 i, m;
    ngx_http_request_t        *r;
    static const ngx_str_t     name = ngx_string("Allow");

    r = call->request;

    p = ngx_pnalloc(r->pool, sizeof("GET, HEAD, POST, PUT, PATCH, DELETE")
                             - 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    allow.data = p;

    for (m = 0; m < NGX_HTTP_APIKEYS_NMETHODS; m++) {
        for (i = 0; i < NGX_HTTP_APIKEYS_NROUTES; i++) {
            if (ngx_http_apikeys_routes[i].path != path
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

    if (ngx_http_apikeys_header_add(r, &name, &allow) == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_apikeys_output_set_error(call,
                                      NGX_HTTP_APIKEYS_CODE_METHOD_NOT_ALLOWED,
                                      &r->method_name, NULL);
}


static void
ngx_http_apikeys_routes_apply(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_route_t *route)
{
    ngx_http_apikeys_right_e  right;

    right = (call->conf->api & (NGX_HTTP_APIKEYS_API_ATLAS_V2
                                |NGX_HTTP_APIKEYS_API_NATIVE))
            ? route->v2 : route->v1;

    call->route = route;
    call->right = right;
    call->denied = route->denied;
    call->org_roles = ngx_http_apikeys_rights[right].org;
    call->project_roles = ngx_http_apikeys_rights[right].project;
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
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "internal error of \"apikeys_api\": %V, "
                               "please report", &rgc.err);
            return NGX_ERROR;
        }

        regex = ngx_array_push(amcf->routes);
        *regex = rgc.regex;
    }

    return NGX_OK;
}
