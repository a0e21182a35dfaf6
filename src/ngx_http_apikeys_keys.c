
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_keys.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_run.h>


static ngx_int_t ngx_http_apikeys_keys_list_done(
    ngx_http_apikeys_ctx_t *ctx);


/* the ids of the page first, so that only their lists are built */

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_keys_list_stmt = {
    "apikeys_keys_list",
    "SELECT " NGX_APIKEYS_STATE_PRINTED ", total"
    "  FROM (SELECT count(*) AS total FROM apikeys.keys WHERE org_id = $1) t"
    "  LEFT JOIN (SELECT s.*"
    "               FROM (SELECT id FROM apikeys.keys WHERE org_id = $1"
    "                      ORDER BY public_key LIMIT $2 OFFSET $3) page"
    "               JOIN LATERAL (SELECT * FROM apikeys.key_states k"
    "                              WHERE k.id = page.id) s ON true) s"
    "    ON true"
    " ORDER BY public_key",
    3, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_keys_get_stmt = {
    "apikeys_keys_get",
    "SELECT " NGX_APIKEYS_STATE_PRINTED
    "  FROM apikeys.key_states WHERE id = $1 AND org_id = $2",
    2, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_keys_create_stmt = {
    "apikeys_keys_create",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "create_key($1, $2, $3, $4, $5, NULL, $6, $7, $8,"
    " $9, $10, $11, NULL) s",
    11, 1
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_keys_update_stmt = {
    "apikeys_keys_update",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "update_key($1, $2, $3, $4, $5, $6, $7, $8) s",
    8, 1
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_keys_delete_stmt = {
    "apikeys_keys_delete",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "delete_key($1, $2, $3, $4, $5, $6) s",
    6, 1
};


ngx_int_t
ngx_http_apikeys_keys_list(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  *params;

    params = ngx_palloc(ctx->request->pool, 3 * sizeof(ngx_str_t));

    if (params == NULL
        || ngx_http_apikeys_run_page(ctx, &params[1]) != NGX_OK)
    {
        return NGX_ERROR;
    }

    params[0] = ctx->org;

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_keys_list_stmt, params,
                                ngx_http_apikeys_keys_list_done);
}


static ngx_int_t
ngx_http_apikeys_keys_list_done(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  path;
    u_char     buf[sizeof("/orgs//apiKeys") + NGX_APIKEYS_OBJECTID_TEXT_LEN];

    path.data = buf;
    path.len = ngx_snprintf(buf, sizeof(buf), "/orgs/%V/apiKeys", &ctx->org)
               - buf;

    return ngx_http_apikeys_key_answer_list(ctx, &path);
}


ngx_int_t
ngx_http_apikeys_keys_get(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  *params;

    params = ngx_palloc(ctx->request->pool, 2 * sizeof(ngx_str_t));
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[0] = ctx->key;
    params[1] = ctx->org;

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_keys_get_stmt, params,
                                ngx_http_apikeys_key_answer);
}


ngx_int_t
ngx_http_apikeys_keys_create(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                     rc;
    ngx_str_t                    *params, desc, roles;
    ngx_http_apikeys_key_body_t   body;

    rc = ngx_http_apikeys_key_body(ctx, ctx->body, &body);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_apikeys_body_desc(ctx, body.desc, &desc);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_apikeys_key_org_roles(ctx, body.roles, &roles);
    if (rc != NGX_OK) {
        return rc;
    }

    params = ngx_http_apikeys_run_params(ctx, 11);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[4] = ctx->org;
    params[9] = desc;
    params[10] = roles;

    return ngx_http_apikeys_key_create(ctx, &ngx_http_apikeys_keys_create_stmt,
                                       params, 5,
                                       ngx_http_apikeys_key_answer_created);
}


ngx_int_t
ngx_http_apikeys_keys_update(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                     rc;
    ngx_str_t                    *params;
    ngx_http_apikeys_key_body_t   body;

    rc = ngx_http_apikeys_key_body_change(ctx, &body);
    if (rc != NGX_OK) {
        return rc;
    }

    /* a key that may change itself may not change what it may */

    if (body.roles && !ctx->entitled) {
        return ngx_http_apikeys_output_refuse(ctx,
                                            NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
                                            NULL, NULL);
    }

    params = ngx_http_apikeys_run_params(ctx, 8);
    if (params == NULL) {
        return NGX_ERROR;
    }

    if (body.desc) {
        rc = ngx_http_apikeys_body_desc(ctx, body.desc, &params[6]);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (body.roles) {
        rc = ngx_http_apikeys_key_org_roles(ctx, body.roles, &params[7]);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    params[4] = ctx->org;
    params[5] = ctx->key;

    ctx->reread = &ngx_http_apikeys_key_stmt;

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_keys_update_stmt,
                                params, ngx_http_apikeys_key_answer);
}


ngx_int_t
ngx_http_apikeys_keys_delete(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_run_params(ctx, 6);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[4] = ctx->org;
    params[5] = ctx->key;

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_keys_delete_stmt,
                                params, ngx_http_apikeys_output_no_content);
}
