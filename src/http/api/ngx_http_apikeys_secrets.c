
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The secrets of an API key, on the native API: a key has one, or two while it
 * is rotated.
 */


#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_native.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_resources.h>


/* seconds, a year */
#define NGX_HTTP_APIKEYS_SECRETS_MAX_EXPIRE_IN  31536000


/* columns of the statements that read */
enum {
    NGX_HTTP_APIKEYS_SECRETS_ID = 0,
    NGX_HTTP_APIKEYS_SECRETS_CREATED,
    NGX_HTTP_APIKEYS_SECRETS_EXPIRES,
    NGX_HTTP_APIKEYS_SECRETS_REDACTED,
    NGX_HTTP_APIKEYS_SECRETS_TOTAL
};


/* parameters */

enum {
    NGX_HTTP_APIKEYS_SECRETS_LIST_KEY = 0,
    NGX_HTTP_APIKEYS_SECRETS_LIST_PAGE,
    NGX_HTTP_APIKEYS_SECRETS_LIST_NPARAMS = NGX_HTTP_APIKEYS_SECRETS_LIST_PAGE
                                            + NGX_HTTP_APIKEYS_PAGE_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_SECRETS_GET_KEY = 0,
    NGX_HTTP_APIKEYS_SECRETS_GET_ID,
    NGX_HTTP_APIKEYS_SECRETS_GET_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_SECRETS_ADD_ORG = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_SECRETS_ADD_KEY,
    NGX_HTTP_APIKEYS_SECRETS_ADD_ID,
    NGX_HTTP_APIKEYS_SECRETS_ADD_SECRET,
    NGX_HTTP_APIKEYS_SECRETS_ADD_REDACTED,
    NGX_HTTP_APIKEYS_SECRETS_ADD_ATTRIBUTES,
    NGX_HTTP_APIKEYS_SECRETS_ADD_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_SECRETS_UPDATE_ORG = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_SECRETS_UPDATE_KEY,
    NGX_HTTP_APIKEYS_SECRETS_UPDATE_ID,
    NGX_HTTP_APIKEYS_SECRETS_UPDATE_ATTRIBUTES,
    NGX_HTTP_APIKEYS_SECRETS_UPDATE_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_SECRETS_DELETE_ORG = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_SECRETS_DELETE_KEY,
    NGX_HTTP_APIKEYS_SECRETS_DELETE_ID,
    NGX_HTTP_APIKEYS_SECRETS_DELETE_NPARAMS
};


typedef struct {
    ngx_apikeys_json_t  *expires;
    ngx_apikeys_json_t  *others;
} ngx_http_apikeys_secrets_body_t;


static void ngx_http_apikeys_secrets_write_listed(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_out_t *out,
    ngx_uint_t row);
static void ngx_http_apikeys_secrets_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row,
    const ngx_http_apikeys_new_key_t *created);
static ngx_int_t ngx_http_apikeys_secrets_read(ngx_http_apikeys_call_t *call,
    const ngx_str_t *id, ngx_http_apikeys_handler_pt done);
static ngx_int_t ngx_http_apikeys_secrets_get_done(
    ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_secrets_attributes(
    ngx_http_apikeys_call_t *call, const ngx_http_apikeys_secrets_body_t *body,
    ngx_str_t *param);
static ngx_int_t ngx_http_apikeys_secrets_seal(ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_secrets_added(ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_secrets_added_done(
    ngx_http_apikeys_call_t *call);


#define NGX_HTTP_APIKEYS_SECRETS_COLUMNS                                     \
    "id, apikeys.utc(created), apikeys.utc(expires), redacted"

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_secrets_list_stmt = {
    "apikeys_secrets",
    "SELECT s.*, total"
    "  FROM (SELECT count(*) AS total FROM apikeys.secrets"
    "         WHERE key_id = $1) t"
    "  LEFT JOIN (SELECT " NGX_HTTP_APIKEYS_SECRETS_COLUMNS
    "               FROM apikeys.secrets WHERE key_id = $1"
    "              ORDER BY created DESC, id LIMIT $2 OFFSET $3) s ON true",
    NGX_HTTP_APIKEYS_SECRETS_LIST_NPARAMS, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_secrets_get_stmt = {
    "apikeys_secrets_get",
    "SELECT " NGX_HTTP_APIKEYS_SECRETS_COLUMNS
    "  FROM apikeys.secrets WHERE key_id = $1 AND id = $2",
    NGX_HTTP_APIKEYS_SECRETS_GET_NPARAMS, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_secrets_add_stmt = {
    "apikeys_secrets_add",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "add_secret($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) s",
    NGX_HTTP_APIKEYS_SECRETS_ADD_NPARAMS, 1
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_secrets_update_stmt = {
    "apikeys_secrets_update",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "update_secret($1, $2, $3, $4, $5, $6, $7, $8, $9) s",
    NGX_HTTP_APIKEYS_SECRETS_UPDATE_NPARAMS, 1
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_secrets_delete_stmt = {
    "apikeys_secrets_delete",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "delete_secret($1, $2, $3, $4, $5, $6, $7, $8) s",
    NGX_HTTP_APIKEYS_SECRETS_DELETE_NPARAMS, 1
};


#define NGX_HTTP_APIKEYS_SECRETS_ATTRS                                       \
    { "expiresAt", NGX_HTTP_APIKEYS_ATTR_TEXT,                               \
      offsetof(ngx_http_apikeys_secrets_body_t, expires) },                  \
    { "id", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },                            \
    { "createdAt", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },                     \
    { "masked", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },                        \
    { "privateKey", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },                    \
    { "token", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 }

static const ngx_http_apikeys_attr_t  ngx_http_apikeys_secrets_new_attrs[] = {

    NGX_HTTP_APIKEYS_SECRETS_ATTRS,
    { "othersExpireIn", NGX_HTTP_APIKEYS_ATTR_INTEGER,
      offsetof(ngx_http_apikeys_secrets_body_t, others) },
    { NULL, 0, 0 }
};

static const ngx_http_apikeys_attr_t  ngx_http_apikeys_secrets_attrs[] = {

    NGX_HTTP_APIKEYS_SECRETS_ATTRS,
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_page_t  ngx_http_apikeys_secrets_page = {
    .total = NGX_HTTP_APIKEYS_SECRETS_TOTAL,
    .id = NGX_HTTP_APIKEYS_SECRETS_ID,
    .write = ngx_http_apikeys_secrets_write_listed
};


ngx_int_t
ngx_http_apikeys_secrets_list(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_page_params(call,
                                          &ngx_http_apikeys_secrets_list_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_SECRETS_LIST_KEY] = call->path_key;

    return ngx_http_apikeys_page_run(call, &ngx_http_apikeys_secrets_list_stmt,
                                     params, &ngx_http_apikeys_secrets_page);
}


static void
ngx_http_apikeys_secrets_write_listed(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row)
{
    ngx_http_apikeys_secrets_write(call, out, row, NULL);
}


/* "created": the secret with its private key; or NULL */

static void
ngx_http_apikeys_secrets_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row,
    const ngx_http_apikeys_new_key_t *created)
{
    ngx_str_t  redacted;

    (void) ngx_apikeys_pg_query_value(call->query, row,
                                      NGX_HTTP_APIKEYS_SECRETS_REDACTED,
                                      &redacted);

    ngx_apikeys_json_out_object(out);
    ngx_http_apikeys_native_member(call, out, row, "id",
                                   NGX_HTTP_APIKEYS_SECRETS_ID);
    ngx_http_apikeys_native_member(call, out, row, "createdAt",
                                   NGX_HTTP_APIKEYS_SECRETS_CREATED);
    ngx_http_apikeys_native_member(call, out, row, "expiresAt",
                                   NGX_HTTP_APIKEYS_SECRETS_EXPIRES);
    ngx_http_apikeys_key_write_redaction(out, "masked", &redacted);

    if (created) {
        ngx_http_apikeys_native_secret(out, created);
    }

    ngx_apikeys_json_out_object_end(out);
}


ngx_int_t
ngx_http_apikeys_secrets_get(ngx_http_apikeys_call_t *call)
{
    return ngx_http_apikeys_secrets_read(call, &call->item,
                                         ngx_http_apikeys_secrets_get_done);
}


static ngx_int_t
ngx_http_apikeys_secrets_read(ngx_http_apikeys_call_t *call,
    const ngx_str_t *id, ngx_http_apikeys_handler_pt done)
{
    ngx_str_t  *params;

    params = ngx_palloc(call->request->pool,
                        NGX_HTTP_APIKEYS_SECRETS_GET_NPARAMS
                        * sizeof(ngx_str_t));
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_SECRETS_GET_KEY] = call->path_key;
    params[NGX_HTTP_APIKEYS_SECRETS_GET_ID] = *id;

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_secrets_get_stmt,
                                params, done);
}


static ngx_int_t
ngx_http_apikeys_secrets_get_done(ngx_http_apikeys_call_t *call)
{
    ngx_apikeys_json_out_t  out;

    if (ngx_apikeys_pg_query_nrows(call->query) == 0) {
        return ngx_http_apikeys_output_set_error(call,
                                        NGX_HTTP_APIKEYS_CODE_SECRET_NOT_FOUND,
                                        &call->item, &call->path_key);
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);
    ngx_http_apikeys_secrets_write(call, &out, 0, NULL);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
}


/*
 * The secret is a hash over the public key, which is read first.  It never
 * changes, so that nothing else can come between.
 */

ngx_int_t
ngx_http_apikeys_secrets_add(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                         rc;
    ngx_http_apikeys_new_key_t       *key;
    ngx_http_apikeys_secrets_body_t   body;

    ngx_memzero(&body, sizeof(ngx_http_apikeys_secrets_body_t));

    rc = ngx_http_apikeys_body_attributes(call, call->body,
                                          ngx_http_apikeys_secrets_new_attrs,
                                          &body);
    if (rc != NGX_OK) {
        return rc;
    }

    key = ngx_pcalloc(call->request->pool, sizeof(ngx_http_apikeys_new_key_t));
    if (key == NULL) {
        return NGX_ERROR;
    }

    key->params = ngx_http_apikeys_run_params(call,
                                           &ngx_http_apikeys_secrets_add_stmt);
    if (key->params == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_apikeys_secrets_attributes(call, &body,
                        &key->params[NGX_HTTP_APIKEYS_SECRETS_ADD_ATTRIBUTES]);
    if (rc != NGX_OK) {
        return rc;
    }

    call->data = key;

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_key_stmt,
                                &call->path_key,
                                ngx_http_apikeys_secrets_seal);
}


/* the parameter p_secret_attributes of the functions in 08-secrets.sql */

static ngx_int_t
ngx_http_apikeys_secrets_attributes(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_secrets_body_t *body, ngx_str_t *param)
{
    int64_t                 n;
    ngx_int_t               rc;
    ngx_apikeys_json_out_t  out;
    static const ngx_str_t  others = ngx_string("othersExpireIn");

    ngx_apikeys_json_out_init(&out, call->request->pool, 0);
    ngx_apikeys_json_out_object(&out);

    if (body->expires) {
        rc = ngx_http_apikeys_body_end(call, body->expires);
        if (rc != NGX_OK) {
            return rc;
        }

        ngx_apikeys_json_out_name(&out, "expiresAt");
        ngx_apikeys_json_out_value(&out, body->expires);
    }

    if (body->others) {
        n = ngx_apikeys_json_integer(body->others);

        if (n < 0 || n > NGX_HTTP_APIKEYS_SECRETS_MAX_EXPIRE_IN) {
            return ngx_http_apikeys_output_set_error(call,
                                       NGX_HTTP_APIKEYS_CODE_INVALID_ATTRIBUTE,
                                       &others, NULL);
        }

        ngx_apikeys_json_out_name(&out, "othersExpireIn");
        ngx_apikeys_json_out_int(&out, n);
    }

    ngx_apikeys_json_out_object_end(&out);

    return ngx_apikeys_json_out_text(&out, param);
}


static ngx_int_t
ngx_http_apikeys_secrets_seal(ngx_http_apikeys_call_t *call)
{
    ngx_str_t                    text, *params;
    ngx_http_apikeys_new_key_t  *key;

    if (ngx_apikeys_pg_query_nrows(call->query) == 0) {
        return ngx_http_apikeys_output_set_error(call,
                                           NGX_HTTP_APIKEYS_CODE_KEY_NOT_FOUND,
                                           &call->path_key, NULL);
    }

    key = call->data;

    (void) ngx_apikeys_pg_query_value(call->query, 0,
                                      NGX_APIKEYS_STATE_PUBLIC_KEY, &text);

    key->public_key.len = text.len;
    key->public_key.data = ngx_pstrdup(call->request->pool, &text);

    if (key->public_key.data == NULL
        || ngx_http_apikeys_key_new_secret(call, key) != NGX_OK)
    {
        return NGX_ERROR;
    }

    params = key->params;

    params[NGX_HTTP_APIKEYS_SECRETS_ADD_ORG] = call->org;
    params[NGX_HTTP_APIKEYS_SECRETS_ADD_KEY] = call->path_key;
    params[NGX_HTTP_APIKEYS_SECRETS_ADD_ID] = key->id;
    params[NGX_HTTP_APIKEYS_SECRETS_ADD_SECRET] = key->secret;
    params[NGX_HTTP_APIKEYS_SECRETS_ADD_REDACTED] = key->redacted;

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_secrets_add_stmt,
                                params, ngx_http_apikeys_secrets_added);
}


static ngx_int_t
ngx_http_apikeys_secrets_added(ngx_http_apikeys_call_t *call)
{
    ngx_http_apikeys_new_key_t  *key;

    key = call->data;

    return ngx_http_apikeys_secrets_read(call, &key->id,
                                         ngx_http_apikeys_secrets_added_done);
}


static ngx_int_t
ngx_http_apikeys_secrets_added_done(ngx_http_apikeys_call_t *call)
{
    ngx_apikeys_json_out_t       out;
    ngx_http_apikeys_new_key_t  *key;

    key = call->data;

    /* the secret, or its key, was deleted meanwhile */

    if (ngx_apikeys_pg_query_nrows(call->query) == 0) {
        return ngx_http_apikeys_output_set_error(call,
                                        NGX_HTTP_APIKEYS_CODE_SECRET_NOT_FOUND,
                                        &key->id, &call->path_key);
    }

    if (ngx_http_apikeys_links_location(call, "/orgs/%V/apiKeys/%V/secrets/%V",
                                        &call->org, &call->path_key, &key->id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_CREATED);
    ngx_http_apikeys_secrets_write(call, &out, 0, key);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_CREATED);
}


ngx_int_t
ngx_http_apikeys_secrets_update(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                         rc;
    ngx_str_t                        *params;
    ngx_http_apikeys_secrets_body_t   body;
    static const ngx_str_t            expires = ngx_string("expiresAt");

    ngx_memzero(&body, sizeof(ngx_http_apikeys_secrets_body_t));

    rc = ngx_http_apikeys_body_attributes(call, call->body,
                                          ngx_http_apikeys_secrets_attrs,
                                          &body);
    if (rc != NGX_OK) {
        return rc;
    }

    if (body.expires == NULL) {
        return ngx_http_apikeys_output_set_error(call,
                                       NGX_HTTP_APIKEYS_CODE_MISSING_ATTRIBUTE,
                                       &expires, NULL);
    }

    params = ngx_http_apikeys_run_params(call,
                                        &ngx_http_apikeys_secrets_update_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_apikeys_secrets_attributes(call, &body,
                          &params[NGX_HTTP_APIKEYS_SECRETS_UPDATE_ATTRIBUTES]);
    if (rc != NGX_OK) {
        return rc;
    }

    params[NGX_HTTP_APIKEYS_SECRETS_UPDATE_ORG] = call->org;
    params[NGX_HTTP_APIKEYS_SECRETS_UPDATE_KEY] = call->path_key;
    params[NGX_HTTP_APIKEYS_SECRETS_UPDATE_ID] = call->item;

    /* then reads the secret and answers with it */

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_secrets_update_stmt,
                                params, ngx_http_apikeys_secrets_get);
}


ngx_int_t
ngx_http_apikeys_secrets_delete(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_run_params(call,
                                        &ngx_http_apikeys_secrets_delete_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_SECRETS_DELETE_ORG] = call->org;
    params[NGX_HTTP_APIKEYS_SECRETS_DELETE_KEY] = call->path_key;
    params[NGX_HTTP_APIKEYS_SECRETS_DELETE_ID] = call->item;

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_secrets_delete_stmt,
                                params, ngx_http_apikeys_output_no_content);
}
