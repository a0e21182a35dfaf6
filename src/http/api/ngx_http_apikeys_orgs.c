
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Organizations and their settings (docs/compatibility.md D60 to D63).
 */


#include <ngx_http_apikeys_attributes.h>
#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_native.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_resources.h>
#include <ngx_http_apikeys_run.h>


/* bytes of an email address: RFC 5321, 4.5.3.1 */
#define NGX_HTTP_APIKEYS_ORGS_MAX_CONTACT  320


/* a body with an organization, or with its settings */
typedef struct {
    ngx_apikeys_json_t          *name;
    ngx_apikeys_json_t          *key;
    ngx_apikeys_json_t          *required;
    ngx_apikeys_json_t          *skip;
    ngx_apikeys_json_t          *ai;
    ngx_apikeys_json_t          *contact;
    ngx_apikeys_json_t          *ignored;
} ngx_http_apikeys_orgs_body_t;


static void ngx_http_apikeys_orgs_write_listed(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row);
static ngx_int_t ngx_http_apikeys_orgs_get_done(ngx_http_apikeys_call_t *call);
static void ngx_http_apikeys_orgs_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, ngx_uint_t single);
static ngx_int_t ngx_http_apikeys_orgs_create_done(
    ngx_http_apikeys_call_t *call);
static void ngx_http_apikeys_orgs_write_created(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const ngx_http_apikeys_new_key_t *key);
static ngx_int_t ngx_http_apikeys_orgs_settings_done(
    ngx_http_apikeys_call_t *call);
static void ngx_http_apikeys_orgs_write_settings(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out);
static ngx_int_t ngx_http_apikeys_orgs_change(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_orgs_body_t *body, ngx_http_apikeys_handler_pt done);
static ngx_int_t ngx_http_apikeys_orgs_attributes(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_orgs_body_t *body, ngx_str_t *param);


/* parameters of the statements below */

enum {
    NGX_HTTP_APIKEYS_ORGS_LIST_ID = 0,      /* of a key; NULL: all */
    NGX_HTTP_APIKEYS_ORGS_LIST_NAME,        /* its beginning, or NULL */
    NGX_HTTP_APIKEYS_ORGS_LIST_PAGE,
    NGX_HTTP_APIKEYS_ORGS_LIST_NPARAMS = NGX_HTTP_APIKEYS_ORGS_LIST_PAGE
                                         + NGX_HTTP_APIKEYS_PAGE_NPARAMS
};

/* of the owner of a new key, which is the new organization */
enum {
    NGX_HTTP_APIKEYS_ORGS_CREATE_ID = 0,
    NGX_HTTP_APIKEYS_ORGS_CREATE_NAME,
    NGX_HTTP_APIKEYS_ORGS_CREATE_ATTRIBUTES,
    NGX_HTTP_APIKEYS_ORGS_CREATE_OWNER
};

enum {
    NGX_HTTP_APIKEYS_ORGS_UPDATE_ID = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_ORGS_UPDATE_NAME,
    NGX_HTTP_APIKEYS_ORGS_UPDATE_LIST_REQUIRED,
    NGX_HTTP_APIKEYS_ORGS_UPDATE_ATTRIBUTES,
    NGX_HTTP_APIKEYS_ORGS_UPDATE_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_ORGS_DELETE_ID = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_ORGS_DELETE_NPARAMS
};


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
    NGX_HTTP_APIKEYS_ORGS_LIST_NPARAMS, 0
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
    "create_org($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) s",
    ngx_http_apikeys_key_nparams(NGX_HTTP_APIKEYS_ORGS_CREATE_OWNER), 1
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_orgs_update_stmt = {
    "apikeys_orgs_update",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "update_org($1, $2, $3, $4, $5, $6, $7, $8, $9) s",
    NGX_HTTP_APIKEYS_ORGS_UPDATE_NPARAMS, 1
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_orgs_delete_stmt = {
    "apikeys_orgs_delete",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "delete_org($1, $2, $3, $4, $5, $6) s",
    NGX_HTTP_APIKEYS_ORGS_DELETE_NPARAMS, 1
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


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_orgs_native[] = {

    { "name", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_orgs_body_t, name) },
    { "apiKey", NGX_HTTP_APIKEYS_ATTR_OBJECT,
      offsetof(ngx_http_apikeys_orgs_body_t, key) },
    { "id", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "createdAt", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "links", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_orgs_native_updates[] =
{
    { "name", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_orgs_body_t, name) },
    { "id", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "createdAt", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "links", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_settings_native[] = {

    { "apiAccessListRequired", NGX_HTTP_APIKEYS_ATTR_BOOLEAN,
      offsetof(ngx_http_apikeys_orgs_body_t, required) },
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


static const ngx_http_apikeys_key_creation_t
    ngx_http_apikeys_orgs_creation =
{
    .stmt = &ngx_http_apikeys_orgs_create_stmt,
    .owner = NGX_HTTP_APIKEYS_ORGS_CREATE_OWNER,
    .roles = ngx_http_apikeys_key_org_roles,
    .done = ngx_http_apikeys_orgs_create_done
};


static const ngx_http_apikeys_page_t  ngx_http_apikeys_orgs_page = {
    .total = NGX_APIKEYS_STATE_NEXT,
    .id = NGX_APIKEYS_STATE_ID,
    .write = ngx_http_apikeys_orgs_write_listed
};


ngx_int_t
ngx_http_apikeys_orgs_list(ngx_http_apikeys_call_t *call)
{
    u_char     *p;
    ngx_str_t  *params, *id;

    params = ngx_http_apikeys_page_params(call,
                                          &ngx_http_apikeys_orgs_list_stmt);
    p = ngx_pnalloc(call->request->pool, NGX_APIKEYS_OBJECTID_TEXT_LEN);

    if (params == NULL || p == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_ORGS_LIST_NAME] = call->args.name;

    if (!call->operator) {
        id = &params[NGX_HTTP_APIKEYS_ORGS_LIST_ID];
        id->data = p;
        id->len = ngx_apikeys_objectid_write(p, &call->identity.org) - p;
    }

    return ngx_http_apikeys_page_run(call, &ngx_http_apikeys_orgs_list_stmt,
                                     params, &ngx_http_apikeys_orgs_page);
}


static void
ngx_http_apikeys_orgs_write_listed(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row)
{
    ngx_http_apikeys_orgs_write(call, out, row, 0);
}


ngx_int_t
ngx_http_apikeys_orgs_get(ngx_http_apikeys_call_t *call)
{
    return ngx_http_apikeys_run(call, &ngx_http_apikeys_orgs_get_stmt,
                                &call->org, ngx_http_apikeys_orgs_get_done);
}


static ngx_int_t
ngx_http_apikeys_orgs_get_done(ngx_http_apikeys_call_t *call)
{
    ngx_apikeys_json_out_t  out;

    if (ngx_apikeys_pg_query_nrows(call->query) == 0) {
        return ngx_http_apikeys_output_set_error(call,
                                           NGX_HTTP_APIKEYS_CODE_ORG_NOT_FOUND,
                                           &call->org, NULL);
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);
    ngx_http_apikeys_orgs_write(call, &out, 0, 1);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
}


static void
ngx_http_apikeys_orgs_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, ngx_uint_t single)
{
    ngx_str_t            id, name;
    ngx_apikeys_json_t  *attributes;

    if (ngx_http_apikeys_native(call)) {
        ngx_http_apikeys_native_org(call, out, row);
        return;
    }

    attributes = ngx_http_apikeys_attributes_parse(call, out, row);
    if (attributes == NULL) {
        return;
    }

    (void) ngx_apikeys_pg_query_value(call->query, row,
                                      NGX_APIKEYS_STATE_ID, &id);
    (void) ngx_apikeys_pg_query_value(call->query, row,
                                      NGX_APIKEYS_STATE_NAME, &name);

    ngx_apikeys_json_out_object(out);

    ngx_apikeys_json_out_member(out, "id", &id);

    ngx_apikeys_json_out_name(out, "isDeleted");
    ngx_apikeys_json_out_bool(out, 0);

    ngx_apikeys_json_out_name(out, "links");
    ngx_apikeys_json_out_array(out);

    ngx_http_apikeys_link(call, out, "self", "/orgs/%V", &id);

    if (single) {
        ngx_http_apikeys_links_child(call, out, "orgs", &id, "groups");
        ngx_http_apikeys_links_child(call, out, "orgs", &id, "teams");
        ngx_http_apikeys_links_child(call, out, "orgs", &id, "users");
    }

    ngx_apikeys_json_out_array_end(out);

    ngx_apikeys_json_out_member(out, "name", &name);

    if (call->conf->api != NGX_HTTP_APIKEYS_API_OPS_MANAGER) {
        ngx_apikeys_json_out_name(out, "skipDefaultAlertsSettings");
        ngx_apikeys_json_out_bool(out,
                ngx_http_apikeys_attributes_flag(attributes,
                                           &ngx_http_apikeys_orgs_skip_flag));
    }

    ngx_apikeys_json_out_object_end(out);

    ngx_apikeys_json_free(attributes);
}


ngx_int_t
ngx_http_apikeys_orgs_create(ngx_http_apikeys_call_t *call)
{
    u_char                        *p;
    ngx_int_t                      rc;
    ngx_str_t                     *params, *id;
    ngx_http_apikeys_orgs_body_t   body;
    ngx_str_t                      org[NGX_HTTP_APIKEYS_ORGS_CREATE_OWNER];

    ngx_memzero(&body, sizeof(ngx_http_apikeys_orgs_body_t));

    rc = ngx_http_apikeys_body_attributes(call, call->body,
                                          ngx_http_apikeys_native(call)
                                          ? ngx_http_apikeys_orgs_native
                                          : ngx_http_apikeys_orgs_attrs,
                                          &body);
    if (rc != NGX_OK) {
        return rc;
    }

    p = ngx_pnalloc(call->request->pool, NGX_APIKEYS_OBJECTID_TEXT_LEN);

    if (p == NULL || ngx_apikeys_objectid_generate(&call->org_id) != NGX_OK) {
        return NGX_ERROR;
    }

    /* generated here: the secret of the first key is sealed for this id */

    id = &org[NGX_HTTP_APIKEYS_ORGS_CREATE_ID];
    id->data = p;
    id->len = ngx_apikeys_objectid_write(p, &call->org_id) - p;

    rc = ngx_http_apikeys_body_name(call, body.name,
                                  NGX_HTTP_APIKEYS_CODE_INVALID_JSON_ATTRIBUTE,
                                  &org[NGX_HTTP_APIKEYS_ORGS_CREATE_NAME]);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_apikeys_orgs_attributes(call, &body,
                                &org[NGX_HTTP_APIKEYS_ORGS_CREATE_ATTRIBUTES]);
    if (rc != NGX_OK) {
        return rc;
    }

    if (body.key) {
        return ngx_http_apikeys_key_create(call,
                                           &ngx_http_apikeys_orgs_creation,
                                           body.key, org);
    }

    params = ngx_http_apikeys_run_params(call,
                                         &ngx_http_apikeys_orgs_create_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(&params[NGX_HTTP_APIKEYS_PARAM_OWN], org, sizeof(org));

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_orgs_create_stmt,
                                params, ngx_http_apikeys_orgs_create_done);
}


static ngx_int_t
ngx_http_apikeys_orgs_create_done(ngx_http_apikeys_call_t *call)
{
    ngx_str_t                    id;
    ngx_apikeys_json_out_t       out;
    ngx_http_apikeys_new_key_t  *key;

    key = call->data;

    if (ngx_http_apikeys_native(call)) {
        (void) ngx_apikeys_pg_query_value(call->query, 0, NGX_APIKEYS_STATE_ID,
                                          &id);

        if (ngx_http_apikeys_links_location(call, "/orgs/%V", &id) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_CREATED);
    ngx_http_apikeys_orgs_write_created(call, &out, key);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_CREATED);
}


/* the first row is the organization; the second its key, if requested */

static void
ngx_http_apikeys_orgs_write_created(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const ngx_http_apikeys_new_key_t *key)
{
    ngx_str_t  id, name;

    ngx_apikeys_json_out_object(out);

    if (key) {
        ngx_apikeys_json_out_name(out, "apiKey");
        ngx_http_apikeys_key_write(call, out, 1, key);

    } else if (ngx_http_apikeys_native(call)) {
        ngx_apikeys_json_out_name(out, "apiKey");
        ngx_apikeys_json_out_null(out);
    }

    if (call->conf->api == NGX_HTTP_APIKEYS_API_OPS_MANAGER) {

        (void) ngx_apikeys_pg_query_value(call->query, 0,
                                          NGX_APIKEYS_STATE_ID, &id);
        (void) ngx_apikeys_pg_query_value(call->query, 0,
                                          NGX_APIKEYS_STATE_NAME, &name);

        ngx_apikeys_json_out_name(out, "id");
        ngx_apikeys_json_out_string(out, &id);

        ngx_http_apikeys_links_self(call, out, "/orgs/%V", &id);

        ngx_apikeys_json_out_name(out, "name");
        ngx_apikeys_json_out_string(out, &name);

    } else {
        ngx_apikeys_json_out_name(out, "federationSettingsId");
        ngx_apikeys_json_out_null(out);

        ngx_apikeys_json_out_name(out, "orgOwnerId");
        ngx_apikeys_json_out_null(out);

        ngx_apikeys_json_out_name(out, "organization");
        ngx_http_apikeys_orgs_write(call, out, 0, 1);
    }

    ngx_apikeys_json_out_object_end(out);
}


ngx_int_t
ngx_http_apikeys_orgs_settings(ngx_http_apikeys_call_t *call)
{
    return ngx_http_apikeys_run(call, &ngx_http_apikeys_orgs_get_stmt,
                                &call->org,
                                ngx_http_apikeys_orgs_settings_done);
}


static ngx_int_t
ngx_http_apikeys_orgs_settings_done(ngx_http_apikeys_call_t *call)
{
    ngx_str_t               value;
    ngx_apikeys_json_out_t  out;

    if (ngx_apikeys_pg_query_nrows(call->query) == 0) {
        return ngx_http_apikeys_output_set_error(call,
                                           NGX_HTTP_APIKEYS_CODE_ORG_NOT_FOUND,
                                           &call->org, NULL);
    }

    (void) ngx_apikeys_pg_query_value(call->query, 0,
                                      NGX_APIKEYS_STATE_LIST_REQUIRED,
                                      &value);

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);

    ngx_apikeys_json_out_object(&out);
    ngx_apikeys_json_out_name(&out, "apiAccessListRequired");
    ngx_apikeys_json_out_bool(&out, value.len && value.data[0] == 't');

    if (!ngx_http_apikeys_native(call)) {
        ngx_http_apikeys_orgs_write_settings(call, &out);
    }

    ngx_apikeys_json_out_object_end(&out);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
}


/* the settings without an effect */

static void
ngx_http_apikeys_orgs_write_settings(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out)
{
    ngx_str_t            value;
    ngx_apikeys_json_t  *attributes, *contact;

    attributes = ngx_http_apikeys_attributes_parse(call, out, 0);
    if (attributes == NULL) {
        return;
    }

    ngx_apikeys_json_out_name(out, "genAIFeaturesEnabled");
    ngx_apikeys_json_out_bool(out,
                  ngx_http_apikeys_attributes_flag(attributes,
                                              &ngx_http_apikeys_orgs_ai_flag));
    ngx_apikeys_json_out_name(out, "multiFactorAuthRequired");
    ngx_apikeys_json_out_bool(out, 0);
    ngx_apikeys_json_out_name(out, "restrictEmployeeAccess");
    ngx_apikeys_json_out_bool(out, 0);

    /* clients send an empty contact to delete it */

    contact = ngx_apikeys_json_member(attributes, "securityContact");

    if (contact) {
        ngx_apikeys_json_string(contact, &value);

        if (value.len) {
            ngx_apikeys_json_out_name(out, "securityContact");
            ngx_apikeys_json_out_value(out, contact);
        }
    }

    ngx_apikeys_json_free(attributes);
}


ngx_int_t
ngx_http_apikeys_orgs_update_settings(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                     rc;
    ngx_http_apikeys_orgs_body_t  body;
    static const ngx_str_t        name = ngx_string("apiAccessListRequired");

    ngx_memzero(&body, sizeof(ngx_http_apikeys_orgs_body_t));

    rc = ngx_http_apikeys_body_attributes(call, call->body,
                                          ngx_http_apikeys_native(call)
                                          ? ngx_http_apikeys_settings_native
                                          : ngx_http_apikeys_settings_attrs,
                                          &body);
    if (rc != NGX_OK) {
        return rc;
    }

    if (body.required == NULL && ngx_http_apikeys_native(call)) {
        return ngx_http_apikeys_output_set_error(call,
                                       NGX_HTTP_APIKEYS_CODE_MISSING_ATTRIBUTE,
                                       &name, NULL);
    }

    return ngx_http_apikeys_orgs_change(call, &body,
                                        ngx_http_apikeys_orgs_settings_done);
}


ngx_int_t
ngx_http_apikeys_orgs_update(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                     rc;
    ngx_http_apikeys_orgs_body_t  body;
    static const ngx_str_t        name = ngx_string("name");

    ngx_memzero(&body, sizeof(ngx_http_apikeys_orgs_body_t));

    rc = ngx_http_apikeys_body_attributes(call, call->body,
                                        ngx_http_apikeys_native(call)
                                        ? ngx_http_apikeys_orgs_native_updates
                                        : ngx_http_apikeys_orgs_updates,
                                        &body);
    if (rc != NGX_OK) {
        return rc;
    }

    if (body.name == NULL
        && (call->conf->api & (NGX_HTTP_APIKEYS_API_ATLAS_V2
                               |NGX_HTTP_APIKEYS_API_NATIVE)))
    {
        return ngx_http_apikeys_output_set_error(call,
                                       NGX_HTTP_APIKEYS_CODE_MISSING_ATTRIBUTE,
                                       &name, NULL);
    }

    return ngx_http_apikeys_orgs_change(call, &body,
                                        ngx_http_apikeys_orgs_get_done);
}


/* changes what the body has of an organization or of its settings */

static ngx_int_t
ngx_http_apikeys_orgs_change(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_orgs_body_t *body, ngx_http_apikeys_handler_pt done)
{
    ngx_int_t   rc;
    ngx_str_t  *params, *required;

    params = ngx_http_apikeys_run_params(call,
                                         &ngx_http_apikeys_orgs_update_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_ORGS_UPDATE_ID] = call->org;

    if (body->name) {
        rc = ngx_http_apikeys_body_name(call, body->name,
                                  NGX_HTTP_APIKEYS_CODE_INVALID_ATTRIBUTE,
                                  &params[NGX_HTTP_APIKEYS_ORGS_UPDATE_NAME]);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (body->required) {
        required = &params[NGX_HTTP_APIKEYS_ORGS_UPDATE_LIST_REQUIRED];

        if (ngx_apikeys_json_true(body->required)) {
            ngx_str_set(required, "true");

        } else {
            ngx_str_set(required, "false");
        }
    }

    rc = ngx_http_apikeys_orgs_attributes(call, body,
                            &params[NGX_HTTP_APIKEYS_ORGS_UPDATE_ATTRIBUTES]);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_orgs_update_stmt,
                                params, done);
}


/* the attributes of the body that are stored, as a JSON parameter */

static ngx_int_t
ngx_http_apikeys_orgs_attributes(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_orgs_body_t *body, ngx_str_t *param)
{
    ngx_str_t               contact;
    ngx_apikeys_json_out_t  out;
    static const ngx_str_t  name = ngx_string("securityContact");

    ngx_apikeys_json_out_init(&out, call->request->pool, 0);
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
            return ngx_http_apikeys_output_set_error(call,
                                       NGX_HTTP_APIKEYS_CODE_INVALID_ATTRIBUTE,
                                       &name, NULL);
        }

        ngx_apikeys_json_out_member(&out, "securityContact", &contact);
    }

    ngx_apikeys_json_out_object_end(&out);

    return ngx_apikeys_json_out_text(&out, param);
}


ngx_int_t
ngx_http_apikeys_orgs_delete(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_run_params(call,
                                         &ngx_http_apikeys_orgs_delete_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_ORGS_DELETE_ID] = call->org;

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_orgs_delete_stmt,
                                params, ngx_http_apikeys_output_no_content);
}
