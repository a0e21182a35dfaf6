
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Projects, which the service also calls groups (atlas-api 10.4).
 */


#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_projects.h>
#include <ngx_http_apikeys_run.h>


typedef struct {
    ngx_apikeys_json_t  *name;
    ngx_apikeys_json_t  *org;
} ngx_http_apikeys_projects_body_t;


static ngx_int_t ngx_http_apikeys_projects_list_done(
    ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_projects_get_done(
    ngx_http_apikeys_ctx_t *ctx);
static void ngx_http_apikeys_projects_write(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t row);
static ngx_int_t ngx_http_apikeys_projects_org(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *value);
static ngx_int_t ngx_http_apikeys_projects_create_done(
    ngx_http_apikeys_ctx_t *ctx);


/*
 * $1 is the organisation or NULL for all, $2 the key that sees only those
 * where it holds a role, or NULL.
 */

#define NGX_HTTP_APIKEYS_PROJECTS_WHERE                                      \
    " WHERE ($1::text IS NULL OR p.org_id = $1)"                             \
    "   AND ($2::text IS NULL OR EXISTS"                                     \
    "        (SELECT FROM apikeys.key_projects r"                            \
    "          WHERE r.key_id = $2 AND r.project_id = p.id))"

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_list_stmt = {
    "apikeys_projects_list",
    "SELECT " NGX_APIKEYS_STATE_PRINTED ", total"
    "  FROM (SELECT count(*) AS total FROM apikeys.projects p"
             NGX_HTTP_APIKEYS_PROJECTS_WHERE ") t"
    "  LEFT JOIN (SELECT * FROM apikeys.project_states p"
                  NGX_HTTP_APIKEYS_PROJECTS_WHERE
    "              ORDER BY name, id LIMIT $3 OFFSET $4) s ON true"
    " ORDER BY name, id",
    4, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_get_stmt = {
    "apikeys_projects_get",
    "SELECT " NGX_APIKEYS_STATE_PRINTED
    "  FROM apikeys.project_states WHERE id = $1",
    1, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_create_stmt = {
    "apikeys_projects_create",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "create_project($1, $2, $3, $4, $5, $6) s",
    6, 1
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_projects_attrs[] = {

    { "name", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_body_t, name) },
    { "orgId", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_body_t, org) },
    { "withDefaultAlertsSettings", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { "regionUsageRestrictions", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { "tags", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { "id", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "created", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "clusterCount", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "links", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { NULL, 0, 0 }
};


ngx_int_t
ngx_http_apikeys_projects_list(ngx_http_apikeys_ctx_t *ctx)
{
    u_char                       *p;
    ngx_str_t                    *params;
    ngx_http_apikeys_identity_t  *identity;

    params = ngx_pcalloc(ctx->request->pool, 4 * sizeof(ngx_str_t));
    p = ngx_pnalloc(ctx->request->pool, 2 * NGX_APIKEYS_OBJECTID_TEXT_LEN);

    if (params == NULL || p == NULL
        || ngx_http_apikeys_run_page(ctx, &params[2]) != NGX_OK)
    {
        return NGX_ERROR;
    }

    identity = &ctx->identity;
    params[0] = ctx->org;

    if (!identity->operator) {
        params[0].data = p;
        p = ngx_apikeys_objectid_write(p, &identity->org);
        params[0].len = p - params[0].data;

        if (!(identity->roles
              & (NGX_APIKEYS_ORG_OWNER|NGX_APIKEYS_ORG_READ_ONLY)))
        {
            params[1].data = p;
            params[1].len = ngx_apikeys_objectid_write(p, &identity->id) - p;
        }
    }

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_projects_list_stmt,
                                params, ngx_http_apikeys_projects_list_done);
}


static ngx_int_t
ngx_http_apikeys_projects_list_done(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t               path, value;
    ngx_uint_t              i, total;
    ngx_apikeys_json_out_t  out;
    u_char                  buf[sizeof("/orgs//groups")
                                + NGX_APIKEYS_OBJECTID_TEXT_LEN];

    path.data = buf;
    path.len = ngx_snprintf(buf, sizeof(buf), ctx->org.len ? "/orgs/%V/groups"
                                                           : "/groups",
                            &ctx->org)
               - buf;

    (void) ngx_apikeys_pg_query_value(ctx->query, 0,
                                      NGX_APIKEYS_STATE_NEXT, &value);
    total = ngx_atoi(value.data, value.len);

    ngx_http_apikeys_links_list(ctx, &out, &path, total);

    for (i = 0; i < ngx_apikeys_pg_query_nrows(ctx->query); i++) {

        if (ngx_apikeys_pg_query_value(ctx->query, i,
                                       NGX_APIKEYS_STATE_ID, &value)
            == NGX_OK)
        {
            ngx_http_apikeys_projects_write(ctx, &out, i);
        }
    }

    ngx_http_apikeys_links_list_end(ctx, &out, total);

    return ngx_http_apikeys_output_document(ctx, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_projects_get(ngx_http_apikeys_ctx_t *ctx)
{
    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_projects_get_stmt,
                                &ctx->project,
                                ngx_http_apikeys_projects_get_done);
}


static ngx_int_t
ngx_http_apikeys_projects_get_done(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_apikeys_json_out_t  out;

    if (ngx_apikeys_pg_query_nrows(ctx->query) == 0) {
        return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_GROUP_NOT_FOUND,
                                              &ctx->project, NULL);
    }

    ngx_http_apikeys_output_begin(ctx, &out, NGX_HTTP_OK);
    ngx_http_apikeys_projects_write(ctx, &out, 0);

    return ngx_http_apikeys_output_send(ctx, &out, NGX_HTTP_OK);
}


static void
ngx_http_apikeys_projects_write(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t row)
{
    ngx_str_t                id, value;
    ngx_apikeys_pg_query_t  *q;

    q = ctx->query;

    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_ID, &id);

    ngx_apikeys_json_out_object(out);

    ngx_apikeys_json_out_name(out, "clusterCount");
    ngx_apikeys_json_out_int(out, 0);

    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_CREATED,
                                      &value);
    ngx_apikeys_json_out_name(out, "created");
    ngx_apikeys_json_out_string(out, &value);

    ngx_apikeys_json_out_name(out, "id");
    ngx_apikeys_json_out_string(out, &id);

    ngx_http_apikeys_links_self(ctx, out, "/groups/%V", &id);

    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_NAME,
                                      &value);
    ngx_apikeys_json_out_name(out, "name");
    ngx_apikeys_json_out_string(out, &value);

    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_ORG,
                                      &value);
    ngx_apikeys_json_out_name(out, "orgId");
    ngx_apikeys_json_out_string(out, &value);

    ngx_apikeys_json_out_name(out, "tags");
    ngx_apikeys_json_out_array(out);
    ngx_apikeys_json_out_array_end(out);

    ngx_apikeys_json_out_name(out, "withDefaultAlertsSettings");
    ngx_apikeys_json_out_bool(out, 1);

    ngx_apikeys_json_out_object_end(out);
}


ngx_int_t
ngx_http_apikeys_projects_create(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                          rc;
    ngx_str_t                         *params, name;
    ngx_http_apikeys_projects_body_t   body;

    ngx_memzero(&body, sizeof(ngx_http_apikeys_projects_body_t));

    rc = ngx_http_apikeys_body_attributes(ctx, ctx->body,
                                          ngx_http_apikeys_projects_attrs,
                                          &body);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_apikeys_projects_org(ctx, body.org);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_apikeys_body_name(ctx, body.name, &name);
    if (rc != NGX_OK) {
        return rc;
    }

    params = ngx_http_apikeys_run_params(ctx, 6);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[4] = ctx->org;
    params[5] = name;

    ctx->reread = &ngx_http_apikeys_projects_get_stmt;

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_projects_create_stmt,
                                params,
                                ngx_http_apikeys_projects_create_done);
}


/*
 * The organization is named in the body: the route has demanded the right in
 * the caller's own, before the body was read.
 */

static ngx_int_t
ngx_http_apikeys_projects_org(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *value)
{
    ngx_str_t                     text;
    ngx_http_apikeys_identity_t  *identity;
    static ngx_str_t              name = ngx_string("orgId");

    identity = &ctx->identity;

    ngx_str_null(&text);

    if (value) {
        ngx_apikeys_json_string(value, &text);
    }

    if (ngx_apikeys_objectid_parse(&ctx->org_id, &text) != NGX_OK) {
        return ngx_http_apikeys_output_refuse(ctx,
                                       NGX_HTTP_APIKEYS_INVALID_JSON_ATTRIBUTE,
                                       &name, NULL);
    }

    ctx->org.len = text.len;
    ctx->org.data = ngx_pstrdup(ctx->request->pool, &text);
    if (ctx->org.data == NULL) {
        return NGX_ERROR;
    }

    if (identity->operator) {
        return NGX_OK;
    }

    if (ngx_memcmp(&ctx->org_id, &identity->org,
                   sizeof(ngx_apikeys_objectid_t))
        != 0)
    {
        return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_ORG_NOT_FOUND,
                                              &ctx->org, NULL);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_projects_create_done(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t               id, href;
    ngx_apikeys_json_out_t  out;
    static const ngx_str_t  location = ngx_string("Location");

    (void) ngx_apikeys_pg_query_value(ctx->query, 0,
                                      NGX_APIKEYS_STATE_ID, &id);

    if (ngx_http_apikeys_links_href(ctx, &href, "/groups/%V", &id) != NGX_OK
        || ngx_http_apikeys_output_header(ctx->request, &location, &href)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_apikeys_output_begin(ctx, &out, NGX_HTTP_CREATED);
    ngx_http_apikeys_projects_write(ctx, &out, 0);

    return ngx_http_apikeys_output_send(ctx, &out, NGX_HTTP_CREATED);
}
