
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Global keys, of Ops Manager: API keys without an organization, for
 * operators.
 */


#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_resources.h>
#include <ngx_http_apikeys_run.h>


static ngx_int_t ngx_http_apikeys_global_keys_new_roles(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_t *roles,
    uint32_t masks[NGX_APIKEYS_SCOPES]);


/* parameters of the statements below */

enum {
    NGX_HTTP_APIKEYS_GLOBAL_KEYS_UPDATE_ID = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_GLOBAL_KEYS_UPDATE_ATTRIBUTES,
    NGX_HTTP_APIKEYS_GLOBAL_KEYS_UPDATE_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_GLOBAL_KEYS_DELETE_ID = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_GLOBAL_KEYS_DELETE_NPARAMS
};


static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_global_keys_list_stmt = {
    "apikeys_global_keys_list",
    "SELECT " NGX_APIKEYS_STATE_PRINTED ", total"
    "  FROM (SELECT count(*) AS total FROM apikeys.keys"
    "         WHERE org_id IS NULL) t"
    "  LEFT JOIN (SELECT * FROM apikeys.key_states"
    "              WHERE org_id IS NULL"
    "              ORDER BY public_key LIMIT $1 OFFSET $2) s ON true"
    " ORDER BY public_key",
    NGX_HTTP_APIKEYS_PAGE_NPARAMS, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_global_keys_get_stmt = {
    "apikeys_global_keys_get",
    "SELECT " NGX_APIKEYS_STATE_PRINTED
    "  FROM apikeys.key_states WHERE id = $1 AND org_id IS NULL",
    1, 0
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_global_keys_create_stmt =
{
    "apikeys_global_keys_create",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "create_global_key($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) s",
    ngx_http_apikeys_key_nparams(0), 1
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_global_keys_update_stmt =
{
    "apikeys_global_keys_update",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "update_global_key($1, $2, $3, $4, $5, $6, $7) s",
    NGX_HTTP_APIKEYS_GLOBAL_KEYS_UPDATE_NPARAMS, 1
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_global_keys_delete_stmt =
{
    "apikeys_global_keys_delete",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "delete_global_key($1, $2, $3, $4, $5, $6) s",
    NGX_HTTP_APIKEYS_GLOBAL_KEYS_DELETE_NPARAMS, 1
};


static const ngx_http_apikeys_key_creation_t
    ngx_http_apikeys_global_keys_creation =
{
    .stmt = &ngx_http_apikeys_global_keys_create_stmt,
    .owner = 0,
    .roles = ngx_http_apikeys_global_keys_new_roles,
    .done = ngx_http_apikeys_key_answer_created
};


ngx_int_t
ngx_http_apikeys_global_keys_list(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_page_params(call,
                                      &ngx_http_apikeys_global_keys_list_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_apikeys_page_run(call,
                                     &ngx_http_apikeys_global_keys_list_stmt,
                                     params, &ngx_http_apikeys_key_page);
}


ngx_int_t
ngx_http_apikeys_global_keys_get(ngx_http_apikeys_call_t *call)
{
    return ngx_http_apikeys_run(call, &ngx_http_apikeys_global_keys_get_stmt,
                                &call->path_key, ngx_http_apikeys_key_answer);
}


/* call->org_id is zero: the secret is sealed for no organization */

ngx_int_t
ngx_http_apikeys_global_keys_create(ngx_http_apikeys_call_t *call)
{
    return ngx_http_apikeys_key_create(call,
                                       &ngx_http_apikeys_global_keys_creation,
                                       call->body, NULL);
}


ngx_int_t
ngx_http_apikeys_global_keys_update(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                     rc;
    ngx_str_t                    *params;
    ngx_http_apikeys_key_body_t   body;

    rc = ngx_http_apikeys_key_body_change(call, &body);
    if (rc != NGX_OK) {
        return rc;
    }

    params = ngx_http_apikeys_run_params(call,
                                &ngx_http_apikeys_global_keys_update_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_GLOBAL_KEYS_UPDATE_ID] = call->path_key;

    rc = ngx_http_apikeys_key_change_params(call, &body,
                       ngx_http_apikeys_global_keys_new_roles,
                       &params[NGX_HTTP_APIKEYS_GLOBAL_KEYS_UPDATE_ATTRIBUTES],
                       NULL);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_apikeys_key_change(call,
                                     &ngx_http_apikeys_global_keys_update_stmt,
                                     params);
}


/* global roles, at least one */

static ngx_int_t
ngx_http_apikeys_global_keys_new_roles(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *roles, uint32_t masks[NGX_APIKEYS_SCOPES])
{
    ngx_int_t                  rc;
    ngx_str_t                  name;
    ngx_uint_t                 i;
    const ngx_apikeys_role_t  *role;

    rc = ngx_http_apikeys_body_roles(call, roles, masks);
    if (rc != NGX_OK) {
        return rc;
    }

    for (i = 0; roles && i < ngx_apikeys_json_size(roles); i++) {
        ngx_apikeys_json_string(ngx_apikeys_json_item(roles, i), &name);

        role = ngx_apikeys_role_find(&name);

        if (role->scope != NGX_APIKEYS_SCOPE_GLOBAL) {
            return ngx_http_apikeys_output_set_error(call,
                                     NGX_HTTP_APIKEYS_CODE_INVALID_GLOBAL_ROLE,
                                     &name, NULL);
        }
    }

    if (masks[NGX_APIKEYS_SCOPE_GLOBAL] == 0) {
        return ngx_http_apikeys_output_set_error(call,
                                           NGX_HTTP_APIKEYS_CODE_MISSING_ROLES,
                                           NULL, NULL);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_apikeys_global_keys_delete(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_run_params(call,
                                &ngx_http_apikeys_global_keys_delete_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_GLOBAL_KEYS_DELETE_ID] = call->path_key;

    return ngx_http_apikeys_run(call,
                                &ngx_http_apikeys_global_keys_delete_stmt,
                                params, ngx_http_apikeys_output_no_content);
}


ngx_int_t
ngx_http_apikeys_global_keys_roles(ngx_http_apikeys_call_t *call)
{
    ngx_apikeys_json_out_t  out;

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);
    ngx_http_apikeys_key_write_mask(&out, NGX_APIKEYS_SCOPE_GLOBAL,
                                    NGX_APIKEYS_GLOBAL_ANY);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
}
