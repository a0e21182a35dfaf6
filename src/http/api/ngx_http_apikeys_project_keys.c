
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * API keys of a project: BASE/groups/{GROUP-ID}/apiKeys, where BASE is the
 * location of apikeys_api.
 */


#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_resources.h>
#include <ngx_http_apikeys_run.h>


static ngx_int_t ngx_http_apikeys_project_keys_new_roles(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_t *roles,
    uint32_t masks[NGX_APIKEYS_SCOPES]);
static ngx_int_t ngx_http_apikeys_project_keys_put_done(
    ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_project_keys_grants(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_t *roles,
    ngx_str_t *param);
static ngx_str_t *ngx_http_apikeys_project_keys_params(
    ngx_http_apikeys_call_t *call, const ngx_apikeys_pg_stmt_t *stmt);


/* parameters of the statements below */

enum {
    NGX_HTTP_APIKEYS_PROJECT_KEYS_LIST_PROJECT = 0,
    NGX_HTTP_APIKEYS_PROJECT_KEYS_LIST_PAGE,
    NGX_HTTP_APIKEYS_PROJECT_KEYS_LIST_NPARAMS =
        NGX_HTTP_APIKEYS_PROJECT_KEYS_LIST_PAGE + NGX_HTTP_APIKEYS_PAGE_NPARAMS
};

/* of all mutations of an existing key */
enum {
    NGX_HTTP_APIKEYS_PROJECT_KEYS_PROJECT = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_PROJECT_KEYS_ID,
    NGX_HTTP_APIKEYS_PROJECT_KEYS_OWN
};

enum {
    NGX_HTTP_APIKEYS_PROJECT_KEYS_UPDATE_ATTRIBUTES =
        NGX_HTTP_APIKEYS_PROJECT_KEYS_OWN,
    NGX_HTTP_APIKEYS_PROJECT_KEYS_UPDATE_GRANTS,
    NGX_HTTP_APIKEYS_PROJECT_KEYS_UPDATE_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_PROJECT_KEYS_ASSIGN_GRANTS =
        NGX_HTTP_APIKEYS_PROJECT_KEYS_OWN,
    NGX_HTTP_APIKEYS_PROJECT_KEYS_ASSIGN_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_PROJECT_KEYS_UNASSIGN_REPEATABLE =
        NGX_HTTP_APIKEYS_PROJECT_KEYS_OWN,
    NGX_HTTP_APIKEYS_PROJECT_KEYS_UNASSIGN_NPARAMS
};


/* selects the ids of the page first, so that only their lists are built */

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_project_keys_list_stmt =
{
    "apikeys_project_keys_list",
    "SELECT " NGX_APIKEYS_STATE_PRINTED ", total"
    "  FROM (SELECT count(*) AS total FROM apikeys.key_projects"
    "         WHERE project_id = $1) t"
    "  LEFT JOIN (SELECT s.*"
    "               FROM (SELECT k.id"
    "                       FROM apikeys.key_projects p"
    "                       JOIN apikeys.keys k ON k.id = p.key_id"
    "                      WHERE p.project_id = $1"
    "                      ORDER BY k.public_key LIMIT $2 OFFSET $3) page"
    "               JOIN LATERAL (SELECT * FROM apikeys.key_states k"
    "                              WHERE k.id = page.id) s ON true) s"
    "    ON true"
    " ORDER BY public_key",
    NGX_HTTP_APIKEYS_PROJECT_KEYS_LIST_NPARAMS, 0
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_project_keys_create_stmt =
{
    "apikeys_project_keys_create",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "create_key($1, $2, $3, $4, $5, NULL, $6, $7, $8, $9, $10, $11, $12) s",
    ngx_http_apikeys_key_nparams(1) + 1, 1
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_project_keys_update_stmt =
{
    "apikeys_project_keys_update",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "set_key_grants($1, $2, $3, $4, $5, $6, $7, $8, $9) s",
    NGX_HTTP_APIKEYS_PROJECT_KEYS_UPDATE_NPARAMS, 1
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_project_keys_assign_stmt =
{
    "apikeys_project_keys_assign",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "assign_key($1, $2, $3, $4, $5, $6, $7, $8) s",
    NGX_HTTP_APIKEYS_PROJECT_KEYS_ASSIGN_NPARAMS, 1
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_project_keys_unassign_stmt =
{
    "apikeys_project_keys_unassign",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "unassign_key($1, $2, $3, $4, $5, $6, $7, $8) s",
    NGX_HTTP_APIKEYS_PROJECT_KEYS_UNASSIGN_NPARAMS, 1
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_project_keys_assigns[] =
{
    { "roles", NGX_HTTP_APIKEYS_ATTR_STRINGS,
      offsetof(ngx_http_apikeys_key_body_t, roles) },
    { "apiUserId", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { "userId", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_project_keys_puts[] = {

    { "roles", NGX_HTTP_APIKEYS_ATTR_STRINGS,
      offsetof(ngx_http_apikeys_key_body_t, roles) },
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_key_creation_t
    ngx_http_apikeys_project_keys_creation =
{
    .stmt = &ngx_http_apikeys_project_keys_create_stmt,
    .owner = 1,
    .grants = 1,
    .roles = ngx_http_apikeys_project_keys_new_roles,
    .done = ngx_http_apikeys_key_answer_created
};


ngx_int_t
ngx_http_apikeys_project_keys_list(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    if (ngx_http_apikeys_native(call)) {
        return ngx_http_apikeys_key_list(call);
    }

    params = ngx_http_apikeys_page_params(call,
                                     &ngx_http_apikeys_project_keys_list_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_PROJECT_KEYS_LIST_PROJECT] = call->project;

    return ngx_http_apikeys_page_run(call,
                                     &ngx_http_apikeys_project_keys_list_stmt,
                                     params, &ngx_http_apikeys_key_page);
}


ngx_int_t
ngx_http_apikeys_project_keys_create(ngx_http_apikeys_call_t *call)
{
    return ngx_http_apikeys_key_create(call,
                                       &ngx_http_apikeys_project_keys_creation,
                                       call->body, &call->project);
}


/*
 * A new key takes roles of both scopes.  Roles of the organization in the body
 * replace the default ORG_MEMBER; any others than that require ORG_OWNER of
 * the caller (docs/compatibility.md D51, D52).  The native API takes roles of
 * the project alone.
 */

static ngx_int_t
ngx_http_apikeys_project_keys_new_roles(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *roles, uint32_t masks[NGX_APIKEYS_SCOPES])
{
    ngx_int_t                rc;
    ngx_uint_t               owner;
    ngx_http_apikeys_code_e  code;

    rc = ngx_http_apikeys_native(call)
         ? ngx_http_apikeys_key_project_roles(call, roles, masks)
         : ngx_http_apikeys_body_roles(call, roles, masks);

    if (rc != NGX_OK) {
        return rc;
    }

    if (masks[NGX_APIKEYS_SCOPE_ORG] == 0) {
        masks[NGX_APIKEYS_SCOPE_ORG] = NGX_APIKEYS_ORG_MEMBER;
    }

    owner = (masks[NGX_APIKEYS_SCOPE_ORG] != NGX_APIKEYS_ORG_MEMBER);

    if (masks[NGX_APIKEYS_SCOPE_GLOBAL]) {
        code = NGX_HTTP_APIKEYS_CODE_CANNOT_ADD_GLOBAL_ROLE;

    } else if (masks[NGX_APIKEYS_SCOPE_PROJECT] == 0) {
        code = NGX_HTTP_APIKEYS_CODE_MISSING_ROLES;

    } else if (owner && !call->operator
               && !(call->identity.roles & NGX_APIKEYS_ORG_OWNER))
    {
        code = NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED;

    } else {

        if (owner) {
            call->org_roles = NGX_APIKEYS_ORG_OWNER;
            call->project_roles = 0;
        }

        return NGX_OK;
    }

    return ngx_http_apikeys_output_set_error(call, code, NULL, NULL);
}


/* assigns the key, or changes its assignment: roles in this project only */

ngx_int_t
ngx_http_apikeys_project_keys_update(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                     rc;
    ngx_str_t                    *params;
    ngx_http_apikeys_key_body_t   body;

    rc = ngx_http_apikeys_key_body_change(call, &body);
    if (rc != NGX_OK) {
        return rc;
    }

    params = ngx_http_apikeys_project_keys_params(call,
                                  &ngx_http_apikeys_project_keys_update_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_apikeys_key_change_params(call, &body,
                      ngx_http_apikeys_key_project_roles,
                      &params[NGX_HTTP_APIKEYS_PROJECT_KEYS_UPDATE_ATTRIBUTES],
                      &params[NGX_HTTP_APIKEYS_PROJECT_KEYS_UPDATE_GRANTS]);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_apikeys_key_change(call,
                                    &ngx_http_apikeys_project_keys_update_stmt,
                                    params);
}


/* assigns the key, or replaces its roles in the project: the native API */

ngx_int_t
ngx_http_apikeys_project_keys_put(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                     rc;
    ngx_str_t                    *params;
    ngx_http_apikeys_key_body_t   body;

    ngx_memzero(&body, sizeof(ngx_http_apikeys_key_body_t));

    rc = ngx_http_apikeys_body_attributes(call, call->body,
                                          ngx_http_apikeys_project_keys_puts,
                                          &body);
    if (rc != NGX_OK) {
        return rc;
    }

    params = ngx_http_apikeys_project_keys_params(call,
                                  &ngx_http_apikeys_project_keys_update_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_apikeys_project_keys_grants(call, body.roles,
                        &params[NGX_HTTP_APIKEYS_PROJECT_KEYS_UPDATE_GRANTS]);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_str_set(&params[NGX_HTTP_APIKEYS_PROJECT_KEYS_UPDATE_ATTRIBUTES],
                "{}");

    call->reread = &ngx_http_apikeys_key_stmt;

    return ngx_http_apikeys_run(call,
                                &ngx_http_apikeys_project_keys_update_stmt,
                                params, ngx_http_apikeys_project_keys_put_done);
}


static ngx_int_t
ngx_http_apikeys_project_keys_put_done(ngx_http_apikeys_call_t *call)
{
    return call->assigned ? ngx_http_apikeys_key_answer_located(call, NULL)
                          : ngx_http_apikeys_key_answer(call);
}


/* the roles of a body, at least one, as a parameter */

static ngx_int_t
ngx_http_apikeys_project_keys_grants(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *roles, ngx_str_t *param)
{
    ngx_int_t  rc;
    uint32_t   masks[NGX_APIKEYS_SCOPES];

    rc = ngx_http_apikeys_key_project_roles(call, roles, masks);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_apikeys_run_roles(call->request->pool, param,
                                      NGX_APIKEYS_SCOPE_PROJECT,
                                      masks[NGX_APIKEYS_SCOPE_PROJECT]);
}


/* the body is an object, or an array with one object */

ngx_int_t
ngx_http_apikeys_project_keys_assign(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                     rc;
    ngx_str_t                    *params;
    ngx_apikeys_json_t           *object;
    ngx_http_apikeys_key_body_t   body;

    object = call->body;

    if (ngx_apikeys_json_type(object) == NGX_APIKEYS_JSON_ARRAY) {

        if (ngx_apikeys_json_size(object) != 1) {
            return ngx_http_apikeys_output_set_error(call,
                                            NGX_HTTP_APIKEYS_CODE_INVALID_JSON,
                                            NULL, NULL);
        }

        object = ngx_apikeys_json_item(object, 0);
    }

    ngx_memzero(&body, sizeof(ngx_http_apikeys_key_body_t));

    rc = ngx_http_apikeys_body_attributes(call, object,
                                         ngx_http_apikeys_project_keys_assigns,
                                         &body);
    if (rc != NGX_OK) {
        return rc;
    }

    params = ngx_http_apikeys_project_keys_params(call,
                                  &ngx_http_apikeys_project_keys_assign_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_apikeys_project_keys_grants(call, body.roles,
                        &params[NGX_HTTP_APIKEYS_PROJECT_KEYS_ASSIGN_GRANTS]);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_apikeys_run(call,
                                &ngx_http_apikeys_project_keys_assign_stmt,
                                params, ngx_http_apikeys_output_no_content);
}


/* clients of the older APIs repeat the call, once for each role */

ngx_int_t
ngx_http_apikeys_project_keys_unassign(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params, *repeatable;

    params = ngx_http_apikeys_project_keys_params(call,
                                  &ngx_http_apikeys_project_keys_unassign_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    repeatable = &params[NGX_HTTP_APIKEYS_PROJECT_KEYS_UNASSIGN_REPEATABLE];

    if (call->conf->api & (NGX_HTTP_APIKEYS_API_ATLAS_V2
                           |NGX_HTTP_APIKEYS_API_NATIVE))
    {
        ngx_str_set(repeatable, "false");

    } else {
        ngx_str_set(repeatable, "true");
    }

    return ngx_http_apikeys_run(call,
                                &ngx_http_apikeys_project_keys_unassign_stmt,
                                params, ngx_http_apikeys_output_no_content);
}


static ngx_str_t *
ngx_http_apikeys_project_keys_params(ngx_http_apikeys_call_t *call,
    const ngx_apikeys_pg_stmt_t *stmt)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_run_params(call, stmt);
    if (params == NULL) {
        return NULL;
    }

    params[NGX_HTTP_APIKEYS_PROJECT_KEYS_PROJECT] = call->project;
    params[NGX_HTTP_APIKEYS_PROJECT_KEYS_ID] = call->path_key;

    return params;
}
