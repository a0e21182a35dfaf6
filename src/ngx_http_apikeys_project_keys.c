
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_project_keys.h>
#include <ngx_http_apikeys_run.h>


static ngx_int_t ngx_http_apikeys_project_keys_list_done(
    ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_project_keys_new_roles(
    ngx_http_apikeys_ctx_t *ctx, ngx_apikeys_json_t *roles,
    ngx_str_t params[2]);
static ngx_int_t ngx_http_apikeys_project_keys_grants(
    ngx_http_apikeys_ctx_t *ctx, ngx_apikeys_json_t *roles,
    ngx_str_t *param);
static ngx_str_t *ngx_http_apikeys_project_keys_params(
    ngx_http_apikeys_ctx_t *ctx, ngx_uint_t n);


/* the ids of the page first, so that only their lists are built */

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
    3, 0
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_project_keys_create_stmt =
{
    "apikeys_project_keys_create",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "create_key($1, $2, $3, $4, NULL, $5, $6, $7, $8,"
    " $9, $10, $11, $12) s",
    12, 1
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_project_keys_update_stmt =
{
    "apikeys_project_keys_update",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "set_key_grants($1, $2, $3, $4, $5, $6, $7, $8) s",
    8, 1
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_project_keys_assign_stmt =
{
    "apikeys_project_keys_assign",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "assign_key($1, $2, $3, $4, $5, $6, $7) s",
    7, 1
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_project_keys_unassign_stmt =
{
    "apikeys_project_keys_unassign",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "unassign_key($1, $2, $3, $4, $5, $6, $7) s",
    7, 1
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_project_keys_assigns[] =
{
    { "roles", NGX_HTTP_APIKEYS_ATTR_STRINGS,
      offsetof(ngx_http_apikeys_key_body_t, roles) },
    { "apiUserId", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { "userId", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { NULL, 0, 0 }
};


ngx_int_t
ngx_http_apikeys_project_keys_list(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  *params;

    params = ngx_palloc(ctx->request->pool, 3 * sizeof(ngx_str_t));

    if (params == NULL
        || ngx_http_apikeys_run_page(ctx, &params[1]) != NGX_OK)
    {
        return NGX_ERROR;
    }

    params[0] = ctx->project;

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_project_keys_list_stmt,
                                params,
                                ngx_http_apikeys_project_keys_list_done);
}


static ngx_int_t
ngx_http_apikeys_project_keys_list_done(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  path;
    u_char     buf[sizeof("/groups//apiKeys") + NGX_APIKEYS_OBJECTID_TEXT_LEN];

    path.data = buf;
    path.len = ngx_snprintf(buf, sizeof(buf), "/groups/%V/apiKeys",
                            &ctx->project)
               - buf;

    return ngx_http_apikeys_key_answer_list(ctx, &path);
}


ngx_int_t
ngx_http_apikeys_project_keys_create(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                     rc;
    ngx_str_t                    *params, desc, roles[2];
    ngx_http_apikeys_key_body_t   body;

    rc = ngx_http_apikeys_key_body(ctx, ctx->body, &body);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_apikeys_body_desc(ctx, body.desc, &desc);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_apikeys_project_keys_new_roles(ctx, body.roles, roles);
    if (rc != NGX_OK) {
        return rc;
    }

    params = ngx_http_apikeys_run_params(ctx, 12);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[4] = ctx->project;
    params[9] = desc;
    params[10] = roles[0];
    params[11] = roles[1];

    return ngx_http_apikeys_key_create(ctx,
                                    &ngx_http_apikeys_project_keys_create_stmt,
                                    params, 5,
                                    ngx_http_apikeys_key_answer_created);
}


/*
 * Roles of both scopes: what is named of the organisation's replaces the
 * default, and all but the default take its owner (decision 20).
 */

static ngx_int_t
ngx_http_apikeys_project_keys_new_roles(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *roles, ngx_str_t params[2])
{
    uint32_t     org_roles, project_roles, masks[NGX_APIKEYS_SCOPES];
    ngx_int_t    rc;
    ngx_pool_t  *pool;

    rc = ngx_http_apikeys_body_roles(ctx, roles, masks);
    if (rc != NGX_OK) {
        return rc;
    }

    if (masks[NGX_APIKEYS_SCOPE_GLOBAL]) {
        return ngx_http_apikeys_output_refuse(ctx,
                                       NGX_HTTP_APIKEYS_CANNOT_ADD_GLOBAL_ROLE,
                                       NULL, NULL);
    }

    org_roles = masks[NGX_APIKEYS_SCOPE_ORG];
    project_roles = masks[NGX_APIKEYS_SCOPE_PROJECT];

    if (project_roles == 0) {
        return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_MISSING_ROLES,
                                              NULL, NULL);
    }

    if (org_roles == 0) {
        org_roles = NGX_APIKEYS_ORG_MEMBER;
    }

    if (org_roles != NGX_APIKEYS_ORG_MEMBER) {

        if (!ctx->operator
            && !(ctx->identity.roles & NGX_APIKEYS_ORG_OWNER))
        {
            return ngx_http_apikeys_output_refuse(ctx,
                                            NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
                                            NULL, NULL);
        }

        ctx->org_right = NGX_APIKEYS_ORG_OWNER;
        ctx->project_right = 0;
    }

    pool = ctx->request->pool;

    if (ngx_http_apikeys_run_roles(pool, &params[0], NGX_APIKEYS_SCOPE_ORG,
                                   org_roles)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_apikeys_run_roles(pool, &params[1],
                                      NGX_APIKEYS_SCOPE_PROJECT,
                                      project_roles);
}


/* an assignment or a change of one: the key's roles in this project alone */

ngx_int_t
ngx_http_apikeys_project_keys_update(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                     rc;
    ngx_str_t                    *params;
    ngx_http_apikeys_key_body_t   body;

    rc = ngx_http_apikeys_key_body_change(ctx, &body);
    if (rc != NGX_OK) {
        return rc;
    }

    params = ngx_http_apikeys_project_keys_params(ctx, 8);
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
        rc = ngx_http_apikeys_project_keys_grants(ctx, body.roles,
                                                  &params[7]);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    ctx->reread = &ngx_http_apikeys_key_stmt;

    return ngx_http_apikeys_run(ctx,
                                &ngx_http_apikeys_project_keys_update_stmt,
                                params, ngx_http_apikeys_key_answer);
}


/* the body is an object, or an array of one */

ngx_int_t
ngx_http_apikeys_project_keys_assign(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                     rc;
    ngx_str_t                    *params;
    ngx_apikeys_json_t           *object;
    ngx_http_apikeys_key_body_t   body;

    object = ctx->body;

    if (ngx_apikeys_json_type(object) == NGX_APIKEYS_JSON_ARRAY) {

        if (ngx_apikeys_json_size(object) != 1) {
            return ngx_http_apikeys_output_refuse(ctx,
                                                 NGX_HTTP_APIKEYS_INVALID_JSON,
                                                 NULL, NULL);
        }

        object = ngx_apikeys_json_item(object, 0);
    }

    ngx_memzero(&body, sizeof(ngx_http_apikeys_key_body_t));

    rc = ngx_http_apikeys_body_attributes(ctx, object,
                                         ngx_http_apikeys_project_keys_assigns,
                                         &body);
    if (rc != NGX_OK) {
        return rc;
    }

    params = ngx_http_apikeys_project_keys_params(ctx, 7);
    if (params == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_apikeys_project_keys_grants(ctx, body.roles, &params[6]);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_apikeys_run(ctx,
                                &ngx_http_apikeys_project_keys_assign_stmt,
                                params, ngx_http_apikeys_output_no_content);
}


/* clients of the older APIs repeat it, once for each role */

ngx_int_t
ngx_http_apikeys_project_keys_unassign(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_project_keys_params(ctx, 7);
    if (params == NULL) {
        return NGX_ERROR;
    }

    if (ctx->conf->api == NGX_HTTP_APIKEYS_ATLAS_V2) {
        ngx_str_set(&params[6], "false");

    } else {
        ngx_str_set(&params[6], "true");
    }

    return ngx_http_apikeys_run(ctx,
                                &ngx_http_apikeys_project_keys_unassign_stmt,
                                params, ngx_http_apikeys_output_no_content);
}


/* project roles, at least one */

static ngx_int_t
ngx_http_apikeys_project_keys_grants(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *roles, ngx_str_t *param)
{
    uint32_t   masks[NGX_APIKEYS_SCOPES];
    ngx_int_t  rc;

    rc = ngx_http_apikeys_body_roles(ctx, roles, masks);
    if (rc != NGX_OK) {
        return rc;
    }

    if (masks[NGX_APIKEYS_SCOPE_GLOBAL]) {
        return ngx_http_apikeys_output_refuse(ctx,
                                       NGX_HTTP_APIKEYS_CANNOT_ADD_GLOBAL_ROLE,
                                       NULL, NULL);
    }

    if (masks[NGX_APIKEYS_SCOPE_ORG]) {
        return ngx_http_apikeys_output_refuse(ctx,
                                          NGX_HTTP_APIKEYS_CANNOT_ADD_ORG_ROLE,
                                          NULL, NULL);
    }

    if (masks[NGX_APIKEYS_SCOPE_PROJECT] == 0) {
        return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_MISSING_ROLES,
                                              NULL, NULL);
    }

    return ngx_http_apikeys_run_roles(ctx->request->pool, param,
                                      NGX_APIKEYS_SCOPE_PROJECT,
                                      masks[NGX_APIKEYS_SCOPE_PROJECT]);
}


static ngx_str_t *
ngx_http_apikeys_project_keys_params(ngx_http_apikeys_ctx_t *ctx,
    ngx_uint_t n)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_run_params(ctx, n);
    if (params == NULL) {
        return NULL;
    }

    params[4] = ctx->project;
    params[5] = ctx->key;

    return params;
}
