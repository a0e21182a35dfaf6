
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * API keys of an organization: BASE/orgs/{ORG-ID}/apiKeys, where BASE is the
 * location of apikeys_api.
 */


#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_resources.h>
#include <ngx_http_apikeys_run.h>


/* parameters of the statements below */

enum {
    NGX_HTTP_APIKEYS_ORG_KEYS_LIST_ORG = 0,
    NGX_HTTP_APIKEYS_ORG_KEYS_LIST_PAGE,
    NGX_HTTP_APIKEYS_ORG_KEYS_LIST_NPARAMS = NGX_HTTP_APIKEYS_ORG_KEYS_LIST_PAGE
                                         + NGX_HTTP_APIKEYS_PAGE_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_ORG_KEYS_GET_ID = 0,
    NGX_HTTP_APIKEYS_ORG_KEYS_GET_ORG,
    NGX_HTTP_APIKEYS_ORG_KEYS_GET_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_ORG_KEYS_UPDATE_ORG = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_ORG_KEYS_UPDATE_ID,
    NGX_HTTP_APIKEYS_ORG_KEYS_UPDATE_ATTRIBUTES,
    NGX_HTTP_APIKEYS_ORG_KEYS_UPDATE_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_ORG_KEYS_DELETE_ORG = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_ORG_KEYS_DELETE_ID,
    NGX_HTTP_APIKEYS_ORG_KEYS_DELETE_NPARAMS
};


/* selects the ids of the page first, so that only their lists are built */

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_org_keys_list_stmt = {
    "apikeys_org_keys_list",
    "SELECT " NGX_APIKEYS_STATE_PRINTED ", total"
    "  FROM (SELECT count(*) AS total FROM apikeys.keys WHERE org_id = $1) t"
    "  LEFT JOIN (SELECT s.*"
    "               FROM (SELECT id FROM apikeys.keys WHERE org_id = $1"
    "                      ORDER BY public_key LIMIT $2 OFFSET $3) page"
    "               JOIN LATERAL (SELECT * FROM apikeys.key_states k"
    "                              WHERE k.id = page.id) s ON true) s"
    "    ON true"
    " ORDER BY public_key",
    NGX_HTTP_APIKEYS_ORG_KEYS_LIST_NPARAMS, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_org_keys_get_stmt = {
    "apikeys_org_keys_get",
    "SELECT " NGX_APIKEYS_STATE_PRINTED
    "  FROM apikeys.key_states WHERE id = $1 AND org_id = $2",
    NGX_HTTP_APIKEYS_ORG_KEYS_GET_NPARAMS, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_org_keys_create_stmt = {
    "apikeys_org_keys_create",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "create_key($1, $2, $3, $4, $5, $6, NULL, $7, $8, $9, $10, $11, NULL) s",
    ngx_http_apikeys_key_nparams(1), 1
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_org_keys_update_stmt = {
    "apikeys_org_keys_update",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "update_key($1, $2, $3, $4, $5, $6, $7, $8) s",
    NGX_HTTP_APIKEYS_ORG_KEYS_UPDATE_NPARAMS, 1
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_org_keys_delete_stmt = {
    "apikeys_org_keys_delete",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "delete_key($1, $2, $3, $4, $5, $6, $7) s",
    NGX_HTTP_APIKEYS_ORG_KEYS_DELETE_NPARAMS, 1
};


static const ngx_http_apikeys_key_creation_t
    ngx_http_apikeys_org_keys_creation =
{
    .stmt = &ngx_http_apikeys_org_keys_create_stmt,
    .owner = 1,
    .roles = ngx_http_apikeys_key_org_roles,
    .done = ngx_http_apikeys_key_answer_created
};


ngx_int_t
ngx_http_apikeys_org_keys_list(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    if (ngx_http_apikeys_native(call)) {
        return ngx_http_apikeys_key_list(call);
    }

    params = ngx_http_apikeys_page_params(call,
                                          &ngx_http_apikeys_org_keys_list_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_ORG_KEYS_LIST_ORG] = call->org;

    return ngx_http_apikeys_page_run(call, &ngx_http_apikeys_org_keys_list_stmt,
                                     params, &ngx_http_apikeys_key_page);
}


ngx_int_t
ngx_http_apikeys_org_keys_get(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    params = ngx_palloc(call->request->pool,
                    NGX_HTTP_APIKEYS_ORG_KEYS_GET_NPARAMS * sizeof(ngx_str_t));
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_ORG_KEYS_GET_ID] = call->path_key;
    params[NGX_HTTP_APIKEYS_ORG_KEYS_GET_ORG] = call->org;

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_org_keys_get_stmt,
                                params, ngx_http_apikeys_key_answer);
}


ngx_int_t
ngx_http_apikeys_org_keys_create(ngx_http_apikeys_call_t *call)
{
    return ngx_http_apikeys_key_create(call,
                                       &ngx_http_apikeys_org_keys_creation,
                                       call->body, &call->org);
}


ngx_int_t
ngx_http_apikeys_org_keys_update(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                     rc;
    ngx_str_t                    *params;
    ngx_http_apikeys_key_body_t   body;

    rc = ngx_http_apikeys_key_body_change(call, &body);
    if (rc != NGX_OK) {
        return rc;
    }

    /* a key may change its own description, but not its own roles */

    if (body.roles && !call->by_role) {
        return ngx_http_apikeys_output_set_error(call,
                                       NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED,
                                       NULL, NULL);
    }

    params = ngx_http_apikeys_run_params(call,
                                       &ngx_http_apikeys_org_keys_update_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_apikeys_key_change_params(call, &body,
                              ngx_http_apikeys_key_org_roles,
                          &params[NGX_HTTP_APIKEYS_ORG_KEYS_UPDATE_ATTRIBUTES],
                              NULL);
    if (rc != NGX_OK) {
        return rc;
    }

    params[NGX_HTTP_APIKEYS_ORG_KEYS_UPDATE_ORG] = call->org;
    params[NGX_HTTP_APIKEYS_ORG_KEYS_UPDATE_ID] = call->path_key;

    return ngx_http_apikeys_key_change(call,
                                       &ngx_http_apikeys_org_keys_update_stmt,
                                       params);
}


ngx_int_t
ngx_http_apikeys_org_keys_delete(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_run_params(call,
                                       &ngx_http_apikeys_org_keys_delete_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_ORG_KEYS_DELETE_ORG] = call->org;
    params[NGX_HTTP_APIKEYS_ORG_KEYS_DELETE_ID] = call->path_key;

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_org_keys_delete_stmt,
                                params, ngx_http_apikeys_output_no_content);
}
