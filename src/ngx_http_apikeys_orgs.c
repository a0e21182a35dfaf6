
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Organisations and their settings (atlas-api 10.4).
 */


#include <ngx_http_apikeys_attributes.h>
#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_orgs.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_run.h>


/* bytes of an address: RFC 5321, 4.5.3.1 */
#define NGX_HTTP_APIKEYS_ORGS_MAX_CONTACT  320


/* settings are a body of the same kind */
typedef struct {
    ngx_apikeys_json_t          *name;
    ngx_apikeys_json_t          *key;
    ngx_apikeys_json_t          *required;
    ngx_apikeys_json_t          *skip;
    ngx_apikeys_json_t          *ai;
    ngx_apikeys_json_t          *contact;
    ngx_apikeys_json_t          *ignored;
} ngx_http_apikeys_orgs_body_t;


static ngx_int_t ngx_http_apikeys_orgs_list_done(
    ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_orgs_get_done(ngx_http_apikeys_ctx_t *ctx);
static void ngx_http_apikeys_orgs_write(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, ngx_uint_t single);
static ngx_int_t ngx_http_apikeys_orgs_key(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *key, ngx_str_t *params);
static ngx_int_t ngx_http_apikeys_orgs_create_done(
    ngx_http_apikeys_ctx_t *ctx);
static void ngx_http_apikeys_orgs_write_created(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, const ngx_str_t *private_key);
static ngx_int_t ngx_http_apikeys_orgs_settings_done(
    ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_orgs_change(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_orgs_body_t *body, ngx_http_apikeys_handler_pt done);
static ngx_int_t ngx_http_apikeys_orgs_attributes(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_orgs_body_t *body, ngx_str_t *param);


/*
 * $1 is the one organization of a key, or NULL for the operator, $2 how the
 * name begins, or NULL.
 */

#define NGX_HTTP_APIKEYS_ORGS_WHERE                                          \
    " WHERE ($1::text IS NULL OR id = $1)"                                   \
    "   AND ($2::text IS NULL OR " NGX_HTTP_APIKEYS_RUN_PREFIX("$2") ")"

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_orgs_list_stmt = {
    "apikeys_orgs_list",
    "SELECT " NGX_APIKEYS_STATE_PRINTED ", total"
    "  FROM (SELECT count(*) AS total FROM apikeys.orgs"
             NGX_HTTP_APIKEYS_ORGS_WHERE ") t"
    "  LEFT JOIN (SELECT * FROM apikeys.org_states"
                  NGX_HTTP_APIKEYS_ORGS_WHERE
    "              ORDER BY name, id LIMIT $3 OFFSET $4) s ON true"
    " ORDER BY name, id",
    4, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_orgs_get_stmt = {
    "apikeys_orgs_get",
    "SELECT " NGX_APIKEYS_STATE_PRINTED
    "  FROM apikeys.org_states WHERE id = $1",
    1, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_orgs_create_stmt = {
    "apikeys_orgs_create",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "create_org($1, $2, $3, $4, $5, $6, $7, $8, $9,"
    " $10, $11, $12, $13) s",
    13, 1
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_orgs_update_stmt = {
    "apikeys_orgs_update",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "update_org($1, $2, $3, $4, $5, $6, $7, $8) s",
    8, 1
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_orgs_delete_stmt = {
    "apikeys_orgs_delete",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "delete_org($1, $2, $3, $4, $5) s",
    5, 1
};


static const ngx_http_apikeys_flag_t  ngx_http_apikeys_orgs_skip_flag =
    { "skipDefaultAlertsSettings", 0 };

static const ngx_http_apikeys_flag_t  ngx_http_apikeys_orgs_ai_flag =
    { "genAIFeaturesEnabled", 1 };


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_orgs_attrs[] = {

    { "name", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_orgs_body_t, name) },
    { "apiKey", NGX_HTTP_APIKEYS_ATTR_OBJECT,
      offsetof(ngx_http_apikeys_orgs_body_t, key) },
    { "skipDefaultAlertsSettings", NGX_HTTP_APIKEYS_ATTR_BOOLEAN,
      offsetof(ngx_http_apikeys_orgs_body_t, skip) },
    { "orgOwnerId", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { "federationSettingsId", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { "serviceAccount", NGX_HTTP_APIKEYS_ATTR_NULL, 0 },
    { "id", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "links", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_orgs_updates[] = {

    { "name", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_orgs_body_t, name) },
    { "skipDefaultAlertsSettings", NGX_HTTP_APIKEYS_ATTR_BOOLEAN,
      offsetof(ngx_http_apikeys_orgs_body_t, skip) },
    { "ldapGroupMappings", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { "id", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "isDeleted", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "links", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_settings_attrs[] = {

    { "apiAccessListRequired", NGX_HTTP_APIKEYS_ATTR_BOOLEAN,
      offsetof(ngx_http_apikeys_orgs_body_t, required) },
    { "genAIFeaturesEnabled", NGX_HTTP_APIKEYS_ATTR_BOOLEAN,
      offsetof(ngx_http_apikeys_orgs_body_t, ai) },
    { "securityContact", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_orgs_body_t, contact) },
    { "multiFactorAuthRequired", NGX_HTTP_APIKEYS_ATTR_BOOLEAN,
      offsetof(ngx_http_apikeys_orgs_body_t, ignored) },
    { "restrictEmployeeAccess", NGX_HTTP_APIKEYS_ATTR_BOOLEAN,
      offsetof(ngx_http_apikeys_orgs_body_t, ignored) },
    { "customSessionTimeouts", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { "maxServiceAccountSecretValidityInHours",
      NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { "operationsContact", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { "streamsCrossGroupEnabled", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { NULL, 0, 0 }
};


ngx_int_t
ngx_http_apikeys_orgs_list(ngx_http_apikeys_ctx_t *ctx)
{
    u_char     *p;
    ngx_str_t  *params;

    params = ngx_pcalloc(ctx->request->pool, 4 * sizeof(ngx_str_t));
    p = ngx_pnalloc(ctx->request->pool, NGX_APIKEYS_OBJECTID_TEXT_LEN);

    if (params == NULL || p == NULL
        || ngx_http_apikeys_run_page(ctx, &params[2]) != NGX_OK)
    {
        return NGX_ERROR;
    }

    params[1] = ctx->args.name;

    if (!ctx->operator) {
        params[0].data = p;
        params[0].len = ngx_apikeys_objectid_write(p, &ctx->identity.org) - p;
    }

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_orgs_list_stmt, params,
                                ngx_http_apikeys_orgs_list_done);
}


static ngx_int_t
ngx_http_apikeys_orgs_list_done(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t               value;
    ngx_uint_t              i, total;
    ngx_apikeys_json_out_t  out;
    static ngx_str_t        path = ngx_string("/orgs");

    (void) ngx_apikeys_pg_query_value(ctx->query, 0,
                                      NGX_APIKEYS_STATE_NEXT, &value);
    total = ngx_atoi(value.data, value.len);

    ngx_http_apikeys_links_list(ctx, &out, &path, total);

    for (i = 0; i < ngx_apikeys_pg_query_nrows(ctx->query); i++) {

        if (ngx_apikeys_pg_query_value(ctx->query, i,
                                       NGX_APIKEYS_STATE_ID, &value)
            == NGX_OK)
        {
            ngx_http_apikeys_orgs_write(ctx, &out, i, 0);
        }
    }

    ngx_http_apikeys_links_list_end(ctx, &out, total);

    return ngx_http_apikeys_output_document(ctx, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_orgs_get(ngx_http_apikeys_ctx_t *ctx)
{
    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_orgs_get_stmt,
                                &ctx->org, ngx_http_apikeys_orgs_get_done);
}


static ngx_int_t
ngx_http_apikeys_orgs_get_done(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_apikeys_json_out_t  out;

    if (ngx_apikeys_pg_query_nrows(ctx->query) == 0) {
        return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_ORG_NOT_FOUND,
                                              &ctx->org, NULL);
    }

    ngx_http_apikeys_output_begin(ctx, &out, NGX_HTTP_OK);
    ngx_http_apikeys_orgs_write(ctx, &out, 0, 1);

    return ngx_http_apikeys_output_send(ctx, &out, NGX_HTTP_OK);
}


static void
ngx_http_apikeys_orgs_write(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, ngx_uint_t single)
{
    ngx_str_t            id, name;
    ngx_apikeys_json_t  *attributes;

    attributes = ngx_http_apikeys_attributes_parse(ctx, out, row);
    if (attributes == NULL) {
        return;
    }

    (void) ngx_apikeys_pg_query_value(ctx->query, row,
                                      NGX_APIKEYS_STATE_ID, &id);
    (void) ngx_apikeys_pg_query_value(ctx->query, row,
                                      NGX_APIKEYS_STATE_NAME, &name);

    ngx_apikeys_json_out_object(out);

    ngx_apikeys_json_out_member(out, "id", &id);

    ngx_apikeys_json_out_name(out, "isDeleted");
    ngx_apikeys_json_out_bool(out, 0);

    ngx_apikeys_json_out_name(out, "links");
    ngx_apikeys_json_out_array(out);

    ngx_http_apikeys_link(ctx, out, "self", "/orgs/%V", &id);

    if (single) {
        ngx_http_apikeys_links_child(ctx, out, "orgs", &id, "groups");
        ngx_http_apikeys_links_child(ctx, out, "orgs", &id, "teams");
        ngx_http_apikeys_links_child(ctx, out, "orgs", &id, "users");
    }

    ngx_apikeys_json_out_array_end(out);

    ngx_apikeys_json_out_member(out, "name", &name);

    if (ctx->conf->api != NGX_HTTP_APIKEYS_OPS_MANAGER) {
        ngx_apikeys_json_out_name(out, "skipDefaultAlertsSettings");
        ngx_apikeys_json_out_bool(out,
                ngx_http_apikeys_attributes_flag(attributes,
                                           &ngx_http_apikeys_orgs_skip_flag));
    }

    ngx_apikeys_json_out_object_end(out);

    ngx_apikeys_json_free(attributes);
}


ngx_int_t
ngx_http_apikeys_orgs_create(ngx_http_apikeys_ctx_t *ctx)
{
    u_char                        *p;
    ngx_int_t                      rc;
    ngx_str_t                     *params;
    ngx_http_apikeys_orgs_body_t   body;

    ngx_memzero(&body, sizeof(ngx_http_apikeys_orgs_body_t));

    rc = ngx_http_apikeys_body_attributes(ctx, ctx->body,
                                          ngx_http_apikeys_orgs_attrs, &body);
    if (rc != NGX_OK) {
        return rc;
    }

    params = ngx_http_apikeys_run_params(ctx, 13);
    p = ngx_pnalloc(ctx->request->pool, NGX_APIKEYS_OBJECTID_TEXT_LEN);

    if (params == NULL || p == NULL
        || ngx_apikeys_objectid_generate(&ctx->org_id) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* made here, for the secret of the first key is sealed for it */

    params[4].data = p;
    params[4].len = ngx_apikeys_objectid_write(p, &ctx->org_id) - p;

    rc = ngx_http_apikeys_body_name(ctx, body.name,
                                    NGX_HTTP_APIKEYS_INVALID_JSON_ATTRIBUTE,
                                    &params[5]);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_apikeys_orgs_attributes(ctx, &body, &params[6]);
    if (rc != NGX_OK) {
        return rc;
    }

    if (body.key) {
        rc = ngx_http_apikeys_orgs_key(ctx, body.key, params);
        if (rc != NGX_OK) {
            return rc;
        }

        return ngx_http_apikeys_key_create(ctx,
                                           &ngx_http_apikeys_orgs_create_stmt,
                                           params, 7,
                                           ngx_http_apikeys_orgs_create_done);
    }

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_orgs_create_stmt,
                                params, ngx_http_apikeys_orgs_create_done);
}


static ngx_int_t
ngx_http_apikeys_orgs_key(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *key, ngx_str_t *params)
{
    ngx_int_t                    rc;
    ngx_http_apikeys_key_body_t  body;

    rc = ngx_http_apikeys_key_body(ctx, key, &body);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_apikeys_body_desc(ctx, body.desc, &params[11]);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_apikeys_key_org_roles(ctx, body.roles, &params[12]);
}


static ngx_int_t
ngx_http_apikeys_orgs_create_done(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_apikeys_json_out_t       out;
    ngx_http_apikeys_new_key_t  *key;

    key = ctx->data;

    ngx_http_apikeys_output_begin(ctx, &out, NGX_HTTP_CREATED);
    ngx_http_apikeys_orgs_write_created(ctx, &out,
                                        key ? &key->private_key : NULL);

    return ngx_http_apikeys_output_send(ctx, &out, NGX_HTTP_CREATED);
}


/* the organisation is the first row; its key, when asked for, the second */

static void
ngx_http_apikeys_orgs_write_created(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, const ngx_str_t *private_key)
{
    ngx_str_t  id, name;

    ngx_apikeys_json_out_object(out);

    if (private_key) {
        ngx_apikeys_json_out_name(out, "apiKey");
        ngx_http_apikeys_key_write(ctx, out, 1, private_key);
    }

    if (ctx->conf->api == NGX_HTTP_APIKEYS_OPS_MANAGER) {

        (void) ngx_apikeys_pg_query_value(ctx->query, 0,
                                          NGX_APIKEYS_STATE_ID, &id);
        (void) ngx_apikeys_pg_query_value(ctx->query, 0,
                                          NGX_APIKEYS_STATE_NAME, &name);

        ngx_apikeys_json_out_name(out, "id");
        ngx_apikeys_json_out_string(out, &id);

        ngx_http_apikeys_links_self(ctx, out, "/orgs/%V", &id);

        ngx_apikeys_json_out_name(out, "name");
        ngx_apikeys_json_out_string(out, &name);

    } else {
        ngx_apikeys_json_out_name(out, "federationSettingsId");
        ngx_apikeys_json_out_null(out);

        ngx_apikeys_json_out_name(out, "orgOwnerId");
        ngx_apikeys_json_out_null(out);

        ngx_apikeys_json_out_name(out, "organization");
        ngx_http_apikeys_orgs_write(ctx, out, 0, 1);
    }

    ngx_apikeys_json_out_object_end(out);
}


ngx_int_t
ngx_http_apikeys_orgs_settings(ngx_http_apikeys_ctx_t *ctx)
{
    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_orgs_get_stmt,
                                &ctx->org,
                                ngx_http_apikeys_orgs_settings_done);
}


static ngx_int_t
ngx_http_apikeys_orgs_settings_done(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t                value;
    ngx_apikeys_json_t      *attributes, *contact;
    ngx_apikeys_json_out_t   out;

    if (ngx_apikeys_pg_query_nrows(ctx->query) == 0) {
        return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_ORG_NOT_FOUND,
                                              &ctx->org, NULL);
    }

    (void) ngx_apikeys_pg_query_value(ctx->query, 0,
                                      NGX_APIKEYS_STATE_LIST_REQUIRED,
                                      &value);

    ngx_http_apikeys_output_begin(ctx, &out, NGX_HTTP_OK);

    attributes = ngx_http_apikeys_attributes_parse(ctx, &out, 0);
    if (attributes == NULL) {
        return NGX_ERROR;
    }

    ngx_apikeys_json_out_object(&out);
    ngx_apikeys_json_out_name(&out, "apiAccessListRequired");
    ngx_apikeys_json_out_bool(&out, value.len && value.data[0] == 't');
    ngx_apikeys_json_out_name(&out, "genAIFeaturesEnabled");
    ngx_apikeys_json_out_bool(&out,
                  ngx_http_apikeys_attributes_flag(attributes,
                                              &ngx_http_apikeys_orgs_ai_flag));
    ngx_apikeys_json_out_name(&out, "multiFactorAuthRequired");
    ngx_apikeys_json_out_bool(&out, 0);
    ngx_apikeys_json_out_name(&out, "restrictEmployeeAccess");
    ngx_apikeys_json_out_bool(&out, 0);

    /* an empty one, which clients send for none, is none */

    contact = ngx_apikeys_json_member(attributes, "securityContact");

    if (contact) {
        ngx_apikeys_json_string(contact, &value);

        if (value.len) {
            ngx_apikeys_json_out_name(&out, "securityContact");
            ngx_apikeys_json_out_value(&out, contact);
        }
    }

    ngx_apikeys_json_out_object_end(&out);

    ngx_apikeys_json_free(attributes);

    return ngx_http_apikeys_output_send(ctx, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_orgs_update_settings(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                     rc;
    ngx_http_apikeys_orgs_body_t  body;

    ngx_memzero(&body, sizeof(ngx_http_apikeys_orgs_body_t));

    rc = ngx_http_apikeys_body_attributes(ctx, ctx->body,
                                          ngx_http_apikeys_settings_attrs,
                                          &body);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_apikeys_orgs_change(ctx, &body,
                                        ngx_http_apikeys_orgs_settings_done);
}


ngx_int_t
ngx_http_apikeys_orgs_update(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                     rc;
    ngx_http_apikeys_orgs_body_t  body;
    static const ngx_str_t        name = ngx_string("name");

    ngx_memzero(&body, sizeof(ngx_http_apikeys_orgs_body_t));

    rc = ngx_http_apikeys_body_attributes(ctx, ctx->body,
                                          ngx_http_apikeys_orgs_updates,
                                          &body);
    if (rc != NGX_OK) {
        return rc;
    }

    if (body.name == NULL && ctx->conf->api == NGX_HTTP_APIKEYS_ATLAS_V2) {
        return ngx_http_apikeys_output_refuse(ctx,
                                            NGX_HTTP_APIKEYS_MISSING_ATTRIBUTE,
                                            &name, NULL);
    }

    return ngx_http_apikeys_orgs_change(ctx, &body,
                                        ngx_http_apikeys_orgs_get_done);
}


/* what the body has of it, an organization or its settings */

static ngx_int_t
ngx_http_apikeys_orgs_change(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_orgs_body_t *body, ngx_http_apikeys_handler_pt done)
{
    ngx_int_t   rc;
    ngx_str_t  *params;

    params = ngx_http_apikeys_run_params(ctx, 8);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[4] = ctx->org;

    if (body->name) {
        rc = ngx_http_apikeys_body_name(ctx, body->name,
                                        NGX_HTTP_APIKEYS_INVALID_ATTRIBUTE,
                                        &params[5]);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (body->required) {
        if (ngx_apikeys_json_true(body->required)) {
            ngx_str_set(&params[6], "true");

        } else {
            ngx_str_set(&params[6], "false");
        }
    }

    rc = ngx_http_apikeys_orgs_attributes(ctx, body, &params[7]);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_orgs_update_stmt,
                                params, done);
}


/* those that are stored, as a parameter for PostgreSQL */

static ngx_int_t
ngx_http_apikeys_orgs_attributes(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_orgs_body_t *body, ngx_str_t *param)
{
    ngx_str_t               contact;
    ngx_apikeys_json_out_t  out;
    static const ngx_str_t  name = ngx_string("securityContact");

    ngx_apikeys_json_out_init(&out, ctx->request->pool, 0);
    ngx_apikeys_json_out_object(&out);

    if (body->skip) {
        ngx_apikeys_json_out_name(&out, ngx_http_apikeys_orgs_skip_flag.name);
        ngx_apikeys_json_out_value(&out, body->skip);
    }

    if (body->ai) {
        ngx_apikeys_json_out_name(&out, ngx_http_apikeys_orgs_ai_flag.name);
        ngx_apikeys_json_out_value(&out, body->ai);
    }

    if (body->contact) {
        ngx_apikeys_json_string(body->contact, &contact);

        if (contact.len > NGX_HTTP_APIKEYS_ORGS_MAX_CONTACT) {
            return ngx_http_apikeys_output_refuse(ctx,
                                            NGX_HTTP_APIKEYS_INVALID_ATTRIBUTE,
                                            &name, NULL);
        }

        ngx_apikeys_json_out_member(&out, "securityContact", &contact);
    }

    ngx_apikeys_json_out_object_end(&out);

    return ngx_apikeys_json_out_text(&out, param);
}


ngx_int_t
ngx_http_apikeys_orgs_delete(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_run_params(ctx, 5);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[4] = ctx->org;

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_orgs_delete_stmt,
                                params, ngx_http_apikeys_output_no_content);
}
