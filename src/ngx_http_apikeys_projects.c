
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Projects, which the service also calls groups (atlas-api 10.4).
 */


#include <ngx_http_apikeys_attributes.h>
#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_projects.h>
#include <ngx_http_apikeys_run.h>


#define NGX_HTTP_APIKEYS_PROJECTS_MAX_TAGS      50
#define NGX_HTTP_APIKEYS_PROJECTS_MAX_TAG       255

/* tags of Ops Manager are other ones, and strings */
#define NGX_HTTP_APIKEYS_PROJECTS_MAX_TOKENS    10
#define NGX_HTTP_APIKEYS_PROJECTS_MAX_TOKEN     32


typedef struct {
    ngx_apikeys_json_t  *name;
    ngx_apikeys_json_t  *org;
    ngx_apikeys_json_t  *id;
    ngx_apikeys_json_t  *tags;
    ngx_apikeys_json_t  *alerts;
} ngx_http_apikeys_projects_body_t;


typedef struct {
    ngx_apikeys_json_t  *key;
    ngx_apikeys_json_t  *value;
} ngx_http_apikeys_projects_tag_t;


/* how a project is shown */
typedef enum {
    NGX_HTTP_APIKEYS_PROJECTS_IN_LIST = 0,
    NGX_HTTP_APIKEYS_PROJECTS_SINGLE,
    NGX_HTTP_APIKEYS_PROJECTS_CREATED
} ngx_http_apikeys_projects_form_e;


static ngx_int_t ngx_http_apikeys_projects_list_done(
    ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_projects_get_done(
    ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_projects_by_name_done(
    ngx_http_apikeys_ctx_t *ctx);
static void ngx_http_apikeys_projects_write(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t row,
    ngx_http_apikeys_projects_form_e form);
static void ngx_http_apikeys_projects_write_links(
    ngx_http_apikeys_ctx_t *ctx, ngx_apikeys_json_out_t *out,
    const ngx_str_t *id, ngx_http_apikeys_projects_form_e form);
static void ngx_http_apikeys_projects_write_tags(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_apikeys_json_t *attributes,
    ngx_http_apikeys_projects_form_e form);
static ngx_int_t ngx_http_apikeys_projects_org(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *value);
static ngx_int_t ngx_http_apikeys_projects_create_done(
    ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_projects_attributes(
    ngx_http_apikeys_ctx_t *ctx, ngx_http_apikeys_projects_body_t *body,
    ngx_str_t *param);
static ngx_int_t ngx_http_apikeys_projects_tags(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *tags);
static ngx_int_t ngx_http_apikeys_projects_tokens(
    ngx_http_apikeys_ctx_t *ctx, ngx_apikeys_json_t *tags);
static ngx_int_t ngx_http_apikeys_projects_delete_done(
    ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_projects_visible(
    ngx_http_apikeys_ctx_t *ctx, ngx_str_t params[2]);
static ngx_int_t ngx_http_apikeys_projects_conflict(
    ngx_http_apikeys_ctx_t *ctx);


/*
 * $1 is the organization or NULL for all, $2 the key that sees only those
 * where it holds a role, or NULL.
 */

#define NGX_HTTP_APIKEYS_PROJECTS_WHERE                                      \
    " WHERE ($1::text IS NULL OR p.org_id = $1)"                             \
    "   AND ($2::text IS NULL OR EXISTS"                                     \
    "        (SELECT FROM apikeys.key_projects r"                            \
    "          WHERE r.key_id = $2 AND r.project_id = p.id))"

#define NGX_HTTP_APIKEYS_PROJECTS_PREFIX                                     \
    "   AND ($3::text IS NULL OR " NGX_HTTP_APIKEYS_RUN_PREFIX("$3") ")"

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_list_stmt = {
    "apikeys_projects_list",
    "SELECT " NGX_APIKEYS_STATE_PRINTED ", total"
    "  FROM (SELECT count(*) AS total FROM apikeys.projects p"
             NGX_HTTP_APIKEYS_PROJECTS_WHERE
             NGX_HTTP_APIKEYS_PROJECTS_PREFIX ") t"
    "  LEFT JOIN (SELECT * FROM apikeys.project_states p"
                  NGX_HTTP_APIKEYS_PROJECTS_WHERE
                  NGX_HTTP_APIKEYS_PROJECTS_PREFIX
    "              ORDER BY name, id LIMIT $4 OFFSET $5) s ON true"
    " ORDER BY name, id",
    5, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_by_name_stmt = {
    "apikeys_projects_by_name",
    "SELECT " NGX_APIKEYS_STATE_PRINTED
    "  FROM apikeys.project_states p" NGX_HTTP_APIKEYS_PROJECTS_WHERE
    "   AND p.name = $3 LIMIT 2",
    3, 0
};

const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_stmt = {
    "apikeys_project",
    "SELECT " NGX_APIKEYS_STATE_PRINTED
    "  FROM apikeys.project_states WHERE id = $1",
    1, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_create_stmt = {
    "apikeys_projects_create",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "create_project($1, $2, $3, $4, $5, $6, $7) s",
    7, 1
};

const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_update_stmt = {
    "apikeys_projects_update",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "update_project($1, $2, $3, $4, $5, $6, $7) s",
    7, 1
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_delete_stmt = {
    "apikeys_projects_delete",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "delete_project($1, $2, $3, $4, $5) s",
    5, 1
};


static const ngx_http_apikeys_flag_t  ngx_http_apikeys_projects_alerts_flag =
    { "withDefaultAlertsSettings", 1 };


/* members of the tags that the two products have, in the attributes */
#define NGX_HTTP_APIKEYS_PROJECTS_TAGS    "tags"
#define NGX_HTTP_APIKEYS_PROJECTS_TOKENS  "tokens"


/* clients that decode an object into a structure send it back as a whole */

#define NGX_HTTP_APIKEYS_PROJECTS_SENT_BACK                                  \
    { "clusterCount", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },                    \
    { "created", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },                         \
    { "activeAgentCount", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },                \
    { "agentApiKey", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },                     \
    { "hostCounts", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },                      \
    { "lastActiveAgent", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },                 \
    { "ldapGroupMappings", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },               \
    { "publicApiEnabled", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },                \
    { "replicaSetCount", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },                 \
    { "shardCount", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 }


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_projects_attrs[] = {

    { "name", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_body_t, name) },
    { "orgId", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_body_t, org) },
    { "tags", NGX_HTTP_APIKEYS_ATTR_ARRAY,
      offsetof(ngx_http_apikeys_projects_body_t, tags) },
    { "withDefaultAlertsSettings", NGX_HTTP_APIKEYS_ATTR_BOOLEAN,
      offsetof(ngx_http_apikeys_projects_body_t, alerts) },
    { "regionUsageRestrictions", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    NGX_HTTP_APIKEYS_PROJECTS_SENT_BACK,
    { "id", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "links", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_projects_updates[] = {

    { "name", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_body_t, name) },
    { "tags", NGX_HTTP_APIKEYS_ATTR_ARRAY,
      offsetof(ngx_http_apikeys_projects_body_t, tags) },
    { "withDefaultAlertsSettings", NGX_HTTP_APIKEYS_ATTR_BOOLEAN,
      offsetof(ngx_http_apikeys_projects_body_t, alerts) },
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_projects_old_updates[] =
{
    { "name", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_body_t, name) },
    { "id", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_body_t, id) },
    { "tags", NGX_HTTP_APIKEYS_ATTR_ARRAY,
      offsetof(ngx_http_apikeys_projects_body_t, tags) },
    { "withDefaultAlertsSettings", NGX_HTTP_APIKEYS_ATTR_BOOLEAN,
      offsetof(ngx_http_apikeys_projects_body_t, alerts) },
    { "orgId", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { "links", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    NGX_HTTP_APIKEYS_PROJECTS_SENT_BACK,
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_projects_tag_attrs[] = {

    { "key", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_tag_t, key) },
    { "value", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_tag_t, value) },
    { NULL, 0, 0 }
};


/* what a project of Ops Manager counts */
static const char  *ngx_http_apikeys_projects_hosts[] = {
    "arbiter", "config", "master", "mongos", "primary", "secondary", "slave",
    NULL
};


/* the links of a project, by product */
static const char  *ngx_http_apikeys_projects_atlas_links[] = {
    "containers", "clusters", "databaseUsers", "peers", "processes",
    "whitelist", NULL
};

static const char  *ngx_http_apikeys_projects_ops_manager_links[] = {
    "hosts", "users", "clusters", "alertConfigs", "alerts", "backupConfigs",
    "agents", NULL
};


ngx_int_t
ngx_http_apikeys_projects_list(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  *params;

    params = ngx_pcalloc(ctx->request->pool, 5 * sizeof(ngx_str_t));

    if (params == NULL
        || ngx_http_apikeys_projects_visible(ctx, params) != NGX_OK
        || ngx_http_apikeys_run_page(ctx, &params[3]) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* the list of all has no such argument */

    if (ctx->org.len) {
        params[2] = ctx->args.name;
    }

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_projects_list_stmt,
                                params, ngx_http_apikeys_projects_list_done);
}


/* the organization, and the key where it does not see all of its projects */

static ngx_int_t
ngx_http_apikeys_projects_visible(ngx_http_apikeys_ctx_t *ctx,
    ngx_str_t params[2])
{
    u_char                       *p;
    ngx_http_apikeys_identity_t  *identity;

    identity = &ctx->identity;
    params[0] = ctx->org;

    if (ctx->operator) {
        return NGX_OK;
    }

    p = ngx_pnalloc(ctx->request->pool, 2 * NGX_APIKEYS_OBJECTID_TEXT_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    params[0].data = p;
    p = ngx_apikeys_objectid_write(p, &identity->org);
    params[0].len = p - params[0].data;

    if (!(identity->roles & (NGX_APIKEYS_ORG_OWNER|NGX_APIKEYS_ORG_READ_ONLY)))
    {
        params[1].data = p;
        params[1].len = ngx_apikeys_objectid_write(p, &identity->id) - p;
    }

    return NGX_OK;
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
            ngx_http_apikeys_projects_write(ctx, &out, i,
                                            NGX_HTTP_APIKEYS_PROJECTS_IN_LIST);
        }
    }

    ngx_http_apikeys_links_list_end(ctx, &out, total);

    return ngx_http_apikeys_output_document(ctx, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_projects_get(ngx_http_apikeys_ctx_t *ctx)
{
    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_projects_stmt,
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
    ngx_http_apikeys_projects_write(ctx, &out, 0,
                                    NGX_HTTP_APIKEYS_PROJECTS_SINGLE);

    return ngx_http_apikeys_output_send(ctx, &out, NGX_HTTP_OK);
}


/* what cannot be seen is absent */

ngx_int_t
ngx_http_apikeys_projects_by_name(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  *params;

    if (ngx_apikeys_json_check_utf8(ctx->name.data, ctx->name.len)
        != NGX_OK)
    {
        return ngx_http_apikeys_output_refuse(ctx,
                                       NGX_HTTP_APIKEYS_PATH_PARAM_PARSE_ERROR,
                                       &ctx->request->uri, NULL);
    }

    params = ngx_pcalloc(ctx->request->pool, 3 * sizeof(ngx_str_t));

    if (params == NULL
        || ngx_http_apikeys_projects_visible(ctx, params) != NGX_OK)
    {
        return NGX_ERROR;
    }

    params[2] = ctx->name;

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_projects_by_name_stmt,
                                params,
                                ngx_http_apikeys_projects_by_name_done);
}


static ngx_int_t
ngx_http_apikeys_projects_by_name_done(ngx_http_apikeys_ctx_t *ctx)
{
    switch (ngx_apikeys_pg_query_nrows(ctx->query)) {

    case 0:
        return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_NOT_IN_GROUP,
                                              &ctx->name, NULL);

    case 1:
        return ngx_http_apikeys_projects_get_done(ctx);

    default:
        return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_MULTIPLE_GROUPS,
                                              NULL, NULL);
    }
}


static void
ngx_http_apikeys_projects_write(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t row,
    ngx_http_apikeys_projects_form_e form)
{
    ngx_str_t                id, created, name, org;
    ngx_uint_t               i, ops_manager;
    ngx_apikeys_json_t      *attributes;
    ngx_apikeys_pg_query_t  *q;

    attributes = ngx_http_apikeys_attributes_parse(ctx, out, row);
    if (attributes == NULL) {
        return;
    }

    q = ctx->query;
    ops_manager = (ctx->conf->api == NGX_HTTP_APIKEYS_OPS_MANAGER);

    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_ID, &id);
    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_CREATED,
                                      &created);
    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_NAME, &name);
    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_ORG, &org);

    ngx_apikeys_json_out_object(out);

    if (ops_manager) {
        ngx_apikeys_json_out_name(out, "activeAgentCount");
        ngx_apikeys_json_out_int(out, 0);

        ngx_apikeys_json_out_name(out, "hostCounts");
        ngx_apikeys_json_out_object(out);

        for (i = 0; ngx_http_apikeys_projects_hosts[i]; i++) {
            ngx_apikeys_json_out_name(out,
                                      ngx_http_apikeys_projects_hosts[i]);
            ngx_apikeys_json_out_int(out, 0);
        }

        ngx_apikeys_json_out_object_end(out);

    } else {
        ngx_apikeys_json_out_name(out, "clusterCount");
        ngx_apikeys_json_out_int(out, 0);

        ngx_apikeys_json_out_member(out, "created", &created);
    }

    ngx_apikeys_json_out_member(out, "id", &id);
    ngx_http_apikeys_projects_write_links(ctx, out, &id, form);
    ngx_apikeys_json_out_member(out, "name", &name);
    ngx_apikeys_json_out_member(out, "orgId", &org);

    if (ops_manager) {
        ngx_apikeys_json_out_name(out, "publicApiEnabled");
        ngx_apikeys_json_out_bool(out, 1);

        ngx_apikeys_json_out_name(out, "replicaSetCount");
        ngx_apikeys_json_out_int(out, 0);

        ngx_apikeys_json_out_name(out, "shardCount");
        ngx_apikeys_json_out_int(out, 0);
    }

    ngx_http_apikeys_projects_write_tags(ctx, out, attributes, form);

    if (!ops_manager) {
        ngx_apikeys_json_out_name(out, "withDefaultAlertsSettings");
        ngx_apikeys_json_out_bool(out,
                ngx_http_apikeys_attributes_flag(attributes,
                                      &ngx_http_apikeys_projects_alerts_flag));
    }

    ngx_apikeys_json_out_object_end(out);

    ngx_apikeys_json_free(attributes);
}


static void
ngx_http_apikeys_projects_write_links(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, const ngx_str_t *id,
    ngx_http_apikeys_projects_form_e form)
{
    const char  **link;

    if (form == NGX_HTTP_APIKEYS_PROJECTS_IN_LIST) {
        ngx_http_apikeys_links_self(ctx, out, "/groups/%V", id);
        return;
    }

    ngx_apikeys_json_out_name(out, "links");
    ngx_apikeys_json_out_array(out);

    ngx_http_apikeys_link(ctx, out, "self", "/groups/%V", id);

    link = (ctx->conf->api == NGX_HTTP_APIKEYS_OPS_MANAGER)
           ? ngx_http_apikeys_projects_ops_manager_links
           : ngx_http_apikeys_projects_atlas_links;

    for ( /* void */ ; *link; link++) {
        ngx_http_apikeys_links_child(ctx, out, "groups", id, *link);
    }

    ngx_apikeys_json_out_array_end(out);
}


/* none in the answer to a creation that named none */

static void
ngx_http_apikeys_projects_write_tags(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_apikeys_json_t *attributes,
    ngx_http_apikeys_projects_form_e form)
{
    ngx_uint_t           ops_manager;
    ngx_apikeys_json_t  *tags;

    ops_manager = (ctx->conf->api == NGX_HTTP_APIKEYS_OPS_MANAGER);

    tags = ngx_apikeys_json_member(attributes,
                                   ops_manager
                                   ? NGX_HTTP_APIKEYS_PROJECTS_TOKENS
                                   : NGX_HTTP_APIKEYS_PROJECTS_TAGS);

    if (tags == NULL && !ops_manager
        && form == NGX_HTTP_APIKEYS_PROJECTS_CREATED)
    {
        return;
    }

    ngx_apikeys_json_out_name(out, "tags");

    if (tags) {
        ngx_apikeys_json_out_value(out, tags);

    } else {
        ngx_apikeys_json_out_array(out);
        ngx_apikeys_json_out_array_end(out);
    }
}


ngx_int_t
ngx_http_apikeys_projects_create(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                          rc;
    ngx_str_t                         *params;
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

    params = ngx_http_apikeys_run_params(ctx, 7);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[4] = ctx->org;

    rc = ngx_http_apikeys_body_name(ctx, body.name,
                                    NGX_HTTP_APIKEYS_INVALID_GROUP_NAME,
                                    &params[5]);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_apikeys_projects_attributes(ctx, &body, &params[6]);
    if (rc != NGX_OK) {
        return rc;
    }

    ctx->name = params[5];
    ctx->conflict = ngx_http_apikeys_projects_conflict;

    ctx->reread = &ngx_http_apikeys_projects_stmt;

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

    if (value == NULL && ctx->conf->api == NGX_HTTP_APIKEYS_OPS_MANAGER) {
        return ngx_http_apikeys_output_refuse(ctx,
                                          NGX_HTTP_APIKEYS_GROUPS_MUST_HAVE_ORG,
                                          NULL, NULL);
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

    if (ctx->operator) {
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
    ngx_http_apikeys_projects_write(ctx, &out, 0,
                                    NGX_HTTP_APIKEYS_PROJECTS_CREATED);

    return ngx_http_apikeys_output_send(ctx, &out, NGX_HTTP_CREATED);
}


/* psql took the name at the same moment */

static ngx_int_t
ngx_http_apikeys_projects_conflict(ngx_http_apikeys_ctx_t *ctx)
{
    return ngx_http_apikeys_output_refuse(ctx, NGX_HTTP_APIKEYS_GROUP_EXISTS,
                                          &ctx->name, NULL);
}


ngx_int_t
ngx_http_apikeys_projects_update(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                          rc;
    ngx_str_t                         *params, id;
    ngx_http_apikeys_projects_body_t   body;

    ngx_memzero(&body, sizeof(ngx_http_apikeys_projects_body_t));

    rc = ngx_http_apikeys_body_attributes(ctx, ctx->body,
                                 ctx->conf->api == NGX_HTTP_APIKEYS_ATLAS_V2
                                 ? ngx_http_apikeys_projects_updates
                                 : ngx_http_apikeys_projects_old_updates,
                                 &body);
    if (rc != NGX_OK) {
        return rc;
    }

    if (body.id && ctx->conf->api == NGX_HTTP_APIKEYS_OPS_MANAGER) {
        ngx_apikeys_json_string(body.id, &id);

        if (id.len != ctx->project.len
            || ngx_strncmp(id.data, ctx->project.data, id.len) != 0)
        {
            return ngx_http_apikeys_output_refuse(ctx,
                                               NGX_HTTP_APIKEYS_GROUP_MISMATCH,
                                               &id, NULL);
        }
    }

    params = ngx_http_apikeys_run_params(ctx, 7);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[4] = ctx->project;

    if (body.name) {
        rc = ngx_http_apikeys_body_name(ctx, body.name,
                                        NGX_HTTP_APIKEYS_INVALID_GROUP_NAME,
                                        &params[5]);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = ngx_http_apikeys_projects_attributes(ctx, &body, &params[6]);
    if (rc != NGX_OK) {
        return rc;
    }

    ctx->name = params[5];
    ctx->conflict = ngx_http_apikeys_projects_conflict;
    ctx->reread = &ngx_http_apikeys_projects_stmt;

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_projects_update_stmt,
                                params, ngx_http_apikeys_projects_get_done);
}


/* those that are stored, as a parameter for PostgreSQL */

static ngx_int_t
ngx_http_apikeys_projects_attributes(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_projects_body_t *body, ngx_str_t *param)
{
    ngx_int_t               rc;
    ngx_apikeys_json_out_t  out;

    ngx_apikeys_json_out_init(&out, ctx->request->pool, 0);
    ngx_apikeys_json_out_object(&out);

    if (body->tags) {
        if (ctx->conf->api == NGX_HTTP_APIKEYS_OPS_MANAGER) {
            rc = ngx_http_apikeys_projects_tokens(ctx, body->tags);
            ngx_apikeys_json_out_name(&out, NGX_HTTP_APIKEYS_PROJECTS_TOKENS);

        } else {
            rc = ngx_http_apikeys_projects_tags(ctx, body->tags);
            ngx_apikeys_json_out_name(&out, NGX_HTTP_APIKEYS_PROJECTS_TAGS);
        }

        if (rc != NGX_OK) {
            return rc;
        }

        ngx_apikeys_json_out_value(&out, body->tags);
    }

    if (body->alerts) {
        ngx_apikeys_json_out_name(&out,
                                  ngx_http_apikeys_projects_alerts_flag.name);
        ngx_apikeys_json_out_value(&out, body->alerts);
    }

    ngx_apikeys_json_out_object_end(&out);

    return ngx_apikeys_json_out_text(&out, param);
}


static ngx_int_t
ngx_http_apikeys_projects_tags(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *tags)
{
    ngx_int_t                        rc;
    ngx_str_t                        keys[NGX_HTTP_APIKEYS_PROJECTS_MAX_TAGS],
                                     value;
    ngx_uint_t                       i, j, n;
    static const ngx_str_t           attribute = ngx_string("tags");
    ngx_http_apikeys_projects_tag_t  tag;

    n = ngx_apikeys_json_size(tags);

    if (n > NGX_HTTP_APIKEYS_PROJECTS_MAX_TAGS) {
        goto invalid;
    }

    for (i = 0; i < n; i++) {
        ngx_memzero(&tag, sizeof(ngx_http_apikeys_projects_tag_t));

        rc = ngx_http_apikeys_body_attributes(ctx,
                                           ngx_apikeys_json_item(tags, i),
                                           ngx_http_apikeys_projects_tag_attrs,
                                           &tag);
        if (rc != NGX_OK) {
            return rc;
        }

        if (tag.key == NULL || tag.value == NULL) {
            goto invalid;
        }

        ngx_apikeys_json_string(tag.key, &keys[i]);
        ngx_apikeys_json_string(tag.value, &value);

        if (keys[i].len == 0 || value.len == 0
            || ngx_utf8_length(keys[i].data, keys[i].len)
               > NGX_HTTP_APIKEYS_PROJECTS_MAX_TAG
            || ngx_utf8_length(value.data, value.len)
               > NGX_HTTP_APIKEYS_PROJECTS_MAX_TAG)
        {
            goto invalid;
        }

        for (j = 0; j < i; j++) {
            if (keys[j].len == keys[i].len
                && ngx_memcmp(keys[j].data, keys[i].data, keys[i].len) == 0)
            {
                goto invalid;
            }
        }
    }

    return NGX_OK;

invalid:

    return ngx_http_apikeys_output_refuse(ctx,
                                          NGX_HTTP_APIKEYS_INVALID_ATTRIBUTE,
                                          &attribute, NULL);
}


static ngx_int_t
ngx_http_apikeys_projects_tokens(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *tags)
{
    u_char                  c;
    ngx_str_t               token;
    ngx_uint_t              i, j;
    ngx_apikeys_json_t     *item;
    static const ngx_str_t  most = ngx_string("10"), longest = ngx_string("32");

    if (ngx_apikeys_json_size(tags) > NGX_HTTP_APIKEYS_PROJECTS_MAX_TOKENS) {
        return ngx_http_apikeys_output_refuse(ctx,
                                        NGX_HTTP_APIKEYS_TOO_MANY_GROUP_TOKENS,
                                        &most, NULL);
    }

    for (i = 0; i < ngx_apikeys_json_size(tags); i++) {
        item = ngx_apikeys_json_item(tags, i);

        if (ngx_apikeys_json_type(item) != NGX_APIKEYS_JSON_STRING) {
            goto invalid;
        }

        ngx_apikeys_json_string(item, &token);

        if (token.len == 0
            || token.len > NGX_HTTP_APIKEYS_PROJECTS_MAX_TOKEN)
        {
            goto invalid;
        }

        for (j = 0; j < token.len; j++) {
            c = token.data[j];

            if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')
                  || (c >= 'a' && c <= 'z') || c == '.' || c == '_'
                  || c == '-'))
            {
                goto invalid;
            }
        }
    }

    return NGX_OK;

invalid:

    return ngx_http_apikeys_output_refuse(ctx,
                                          NGX_HTTP_APIKEYS_INVALID_GROUP_TOKEN,
                                          &longest, NULL);
}


ngx_int_t
ngx_http_apikeys_projects_delete(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_run_params(ctx, 5);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[4] = ctx->project;

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_projects_delete_stmt,
                                params,
                                ngx_http_apikeys_projects_delete_done);
}


/* Atlas goes on to delete when it has answered; here it is done */

static ngx_int_t
ngx_http_apikeys_projects_delete_done(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_uint_t              status;
    ngx_apikeys_json_out_t  out;

    status = (ctx->conf->api == NGX_HTTP_APIKEYS_OPS_MANAGER)
             ? NGX_HTTP_OK : NGX_HTTP_ACCEPTED;

    ngx_http_apikeys_output_begin(ctx, &out, status);
    ngx_apikeys_json_out_object(&out);
    ngx_apikeys_json_out_object_end(&out);

    return ngx_http_apikeys_output_send(ctx, &out, status);
}
