
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_global_keys.h>
#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_run.h>


static ngx_int_t ngx_http_apikeys_global_keys_list_done(
    ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_global_keys_masks(
    ngx_http_apikeys_ctx_t *ctx, ngx_apikeys_json_t *roles,
    ngx_str_t *param);


static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_global_keys_list_stmt = {
    "apikeys_global_keys_list",
    "SELECT " NGX_APIKEYS_STATE_PRINTED ", total"
    "  FROM (SELECT count(*) AS total FROM apikeys.keys"
    "         WHERE org_id IS NULL) t"
    "  LEFT JOIN (SELECT * FROM apikeys.key_states"
    "              WHERE org_id IS NULL"
    "              ORDER BY public_key LIMIT $1 OFFSET $2) s ON true"
    " ORDER BY public_key",
    2, 0
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
    10, 1
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_global_keys_update_stmt =
{
    "apikeys_global_keys_update",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "update_global_key($1, $2, $3, $4, $5, $6, $7) s",
    7, 1
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_global_keys_delete_stmt =
{
    "apikeys_global_keys_delete",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "delete_global_key($1, $2, $3, $4, $5) s",
    5, 1
};


ngx_int_t
ngx_http_apikeys_global_keys_list(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  *params;

    params = ngx_palloc(ctx->request->pool, 2 * sizeof(ngx_str_t));

    if (params == NULL || ngx_http_apikeys_run_page(ctx, params) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_global_keys_list_stmt,
                                params,
                                ngx_http_apikeys_global_keys_list_done);
}


static ngx_int_t
ngx_http_apikeys_global_keys_list_done(ngx_http_apikeys_ctx_t *ctx)
{
    static const ngx_str_t  path = ngx_string("/admin/apiKeys");

    return ngx_http_apikeys_key_answer_list(ctx, &path);
}


ngx_int_t
ngx_http_apikeys_global_keys_get(ngx_http_apikeys_ctx_t *ctx)
{
    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_global_keys_get_stmt,
                                &ctx->key, ngx_http_apikeys_key_answer);
}


/* ctx->org_id is zero, and the secret sealed for no organization */

ngx_int_t
ngx_http_apikeys_global_keys_create(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                     rc;
    ngx_str_t                    *params;
    ngx_http_apikeys_key_body_t   body;

    rc = ngx_http_apikeys_key_body(ctx, ctx->body, &body);
    if (rc != NGX_OK) {
        return rc;
    }

    params = ngx_http_apikeys_run_params(ctx, 10);
    if (params == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_apikeys_body_desc(ctx, body.desc, &params[8]);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_apikeys_global_keys_masks(ctx, body.roles, &params[9]);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_apikeys_key_create(ctx,
                                     &ngx_http_apikeys_global_keys_create_stmt,
                                     params, 4,
                                     ngx_http_apikeys_key_answer_created);
}


ngx_int_t
ngx_http_apikeys_global_keys_update(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                     rc;
    ngx_str_t                    *params;
    ngx_http_apikeys_key_body_t   body;

    rc = ngx_http_apikeys_key_body_change(ctx, &body);
    if (rc != NGX_OK) {
        return rc;
    }

    params = ngx_http_apikeys_run_params(ctx, 7);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[4] = ctx->key;

    if (body.desc) {
        rc = ngx_http_apikeys_body_desc(ctx, body.desc, &params[5]);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (body.roles) {
        rc = ngx_http_apikeys_global_keys_masks(ctx, body.roles, &params[6]);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    ctx->reread = &ngx_http_apikeys_global_keys_get_stmt;

    return ngx_http_apikeys_run(ctx,
                                &ngx_http_apikeys_global_keys_update_stmt,
                                params, ngx_http_apikeys_key_answer);
}


/* global roles, at least one */

static ngx_int_t
ngx_http_apikeys_global_keys_masks(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *roles, ngx_str_t *param)
{
    uint32_t                   masks[NGX_APIKEYS_SCOPES];
    ngx_int_t                  rc;
    ngx_str_t                  name;
    ngx_uint_t                 i;
    const ngx_apikeys_role_t  *role;

    rc = ngx_http_apikeys_body_roles(ctx, roles, masks);
    if (rc != NGX_OK) {
        return rc;
    }

    for (i = 0; roles && i < ngx_apikeys_json_size(roles); i++) {
        ngx_apikeys_json_string(ngx_apikeys_json_item(roles, i), &name);

        role = ngx_apikeys_role_find(&name);

        if (role->scope != NGX_APIKEYS_SCOPE_GLOBAL) {
            return ngx_http_apikeys_output_refuse(ctx,
                                          NGX_HTTP_APIKEYS_INVALID_GLOBAL_ROLE,
                                          &name, NULL);
        }
    }

    if (masks[NGX_APIKEYS_SCOPE_GLOBAL] == 0) {
        return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_MISSING_ROLES,
                                              NULL, NULL);
    }

    return ngx_http_apikeys_run_roles(ctx->request->pool, param,
                                      NGX_APIKEYS_SCOPE_GLOBAL,
                                      masks[NGX_APIKEYS_SCOPE_GLOBAL]);
}


ngx_int_t
ngx_http_apikeys_global_keys_delete(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_run_params(ctx, 5);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[4] = ctx->key;

    return ngx_http_apikeys_run(ctx,
                                &ngx_http_apikeys_global_keys_delete_stmt,
                                params, ngx_http_apikeys_output_no_content);
}


ngx_int_t
ngx_http_apikeys_global_keys_roles(ngx_http_apikeys_ctx_t *ctx)
{
    u_char                  *p, *last, *comma;
    ngx_str_t                name;
    ngx_apikeys_json_out_t   out;
    u_char                   buf[NGX_APIKEYS_ROLES_TEXT_LEN];

    last = ngx_apikeys_roles_write(buf, NGX_APIKEYS_SCOPE_GLOBAL,
                                   NGX_APIKEYS_GLOBAL_ANY);

    ngx_http_apikeys_output_begin(ctx, &out, NGX_HTTP_OK);
    ngx_apikeys_json_out_array(&out);

    for (p = buf; p < last; p = comma + 1) {
        comma = ngx_strlchr(p, last, ',');
        if (comma == NULL) {
            comma = last;
        }

        name.data = p;
        name.len = comma - p;

        ngx_apikeys_json_out_string(&out, &name);
    }

    ngx_apikeys_json_out_array_end(&out);

    return ngx_http_apikeys_output_send(ctx, &out, NGX_HTTP_OK);
}
