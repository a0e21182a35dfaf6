
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_apikeys_list.h>
#include <ngx_apikeys_uuid.h>
#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_native.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_resources.h>
#include <ngx_http_apikeys_run.h>

#include <openssl/rand.h>


#define NGX_HTTP_APIKEYS_REDACTED_LEN  12


/* whether a text can be that key of a pair */
typedef ngx_uint_t (*ngx_http_apikeys_key_check_pt)(const ngx_str_t *text);


/* the attributes that a new key gets, or that a change sets */
typedef struct {
    ngx_str_t            desc;                          /* empty: stays */
    uint32_t             masks[NGX_APIKEYS_SCOPES];     /* 0: stay */
    ngx_apikeys_json_t  *disabled;                      /* NULL: stays */
    ngx_apikeys_json_t  *expires;                       /* NULL: stays */
    ngx_str_t            entries;                       /* of the access list
                                                           of a new key, as an
                                                           array for
                                                           PostgreSQL */
    ngx_str_t            entry_attributes;              /* of these entries, as
                                                           JSON */
} ngx_http_apikeys_key_values_t;


static ngx_int_t ngx_http_apikeys_key_body(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *object, ngx_http_apikeys_key_body_t *body);
static ngx_int_t ngx_http_apikeys_key_params(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_key_values_t *values, ngx_str_t *attributes,
    ngx_str_t *grants);
static ngx_int_t ngx_http_apikeys_key_values(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_key_creation_t *creation,
    const ngx_http_apikeys_key_body_t *body,
    ngx_http_apikeys_key_values_t *values);
static ngx_int_t ngx_http_apikeys_key_end(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_key_body_t *body,
    ngx_http_apikeys_key_values_t *values);
static ngx_int_t ngx_http_apikeys_key_given(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_key_body_t *body, ngx_http_apikeys_new_key_t *key);
static ngx_int_t ngx_http_apikeys_key_given_text(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *value, ngx_http_apikeys_key_check_pt check,
    const ngx_str_t *name, ngx_str_t *text);
static ngx_uint_t ngx_http_apikeys_key_is_private(const ngx_str_t *text);
static ngx_int_t ngx_http_apikeys_key_taken(ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_key_insert(ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_key_generate(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_new_key_t *key);
static ngx_int_t ngx_http_apikeys_key_public(ngx_http_apikeys_call_t *call,
    ngx_str_t *text);
static ngx_int_t ngx_http_apikeys_key_private(ngx_http_apikeys_call_t *call,
    ngx_str_t *text);
static ngx_int_t ngx_http_apikeys_key_no_random(ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_key_id(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_new_key_t *key);
static ngx_int_t ngx_http_apikeys_key_seal(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_new_key_t *key, const ngx_str_t *id);
static ngx_int_t ngx_http_apikeys_key_forget(ngx_pool_t *pool, u_char *data,
    size_t len);
static void ngx_http_apikeys_key_forget_cleanup(void *data);
static ngx_int_t ngx_http_apikeys_key_scope_roles(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_t *roles,
    ngx_apikeys_scope_e scope, uint32_t masks[NGX_APIKEYS_SCOPES]);
static void ngx_http_apikeys_key_write_redacted(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row);


const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_key_stmt = {
    "apikeys_key",
    "SELECT " NGX_APIKEYS_STATE_PRINTED
    "  FROM apikeys.key_states WHERE id = $1",
    1, 0
};

const ngx_http_apikeys_page_t  ngx_http_apikeys_key_page = {
    .total = NGX_APIKEYS_STATE_NEXT,
    .id = NGX_APIKEYS_STATE_ID,
    .write = ngx_http_apikeys_key_write_redacted
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_key_attrs[] = {

    { "desc", NGX_HTTP_APIKEYS_ATTR_TEXT,
      offsetof(ngx_http_apikeys_key_body_t, desc) },
    { "roles", NGX_HTTP_APIKEYS_ATTR_STRINGS,
      offsetof(ngx_http_apikeys_key_body_t, roles) },
    { "id", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "publicKey", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "privateKey", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "links", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { NULL, 0, 0 }
};


/* the native API */

#define NGX_HTTP_APIKEYS_KEY_NATIVE                                          \
    { "desc", NGX_HTTP_APIKEYS_ATTR_STRING,                                  \
      offsetof(ngx_http_apikeys_key_body_t, desc) },                         \
    { "roles", NGX_HTTP_APIKEYS_ATTR_STRINGS,                                \
      offsetof(ngx_http_apikeys_key_body_t, roles) },                        \
    { "disabled", NGX_HTTP_APIKEYS_ATTR_BOOLEAN,                             \
      offsetof(ngx_http_apikeys_key_body_t, disabled) },                     \
    { "expiresAt", NGX_HTTP_APIKEYS_ATTR_TEXT,                               \
      offsetof(ngx_http_apikeys_key_body_t, expires) },                      \
    { "id", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },                            \
    { "orgId", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },                         \
    { "token", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },                         \
    { "createdAt", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },                     \
    { "links", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 }

static const ngx_http_apikeys_attr_t  ngx_http_apikeys_key_native_attrs[] = {

    NGX_HTTP_APIKEYS_KEY_NATIVE,
    { "accessList", NGX_HTTP_APIKEYS_ATTR_ARRAY,
      offsetof(ngx_http_apikeys_key_body_t, access_list) },
    { "publicKey", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "privateKey", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { NULL, 0, 0 }
};


/* the operator may bring a key pair from elsewhere */

static const ngx_http_apikeys_attr_t  ngx_http_apikeys_key_operator_attrs[] = {

    NGX_HTTP_APIKEYS_KEY_NATIVE,
    { "accessList", NGX_HTTP_APIKEYS_ATTR_ARRAY,
      offsetof(ngx_http_apikeys_key_body_t, access_list) },
    { "publicKey", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_key_body_t, public_key) },
    { "privateKey", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_key_body_t, private_key) },
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_key_native_updates[] = {

    NGX_HTTP_APIKEYS_KEY_NATIVE,
    { "publicKey", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "privateKey", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { NULL, 0, 0 }
};


static ngx_int_t
ngx_http_apikeys_key_body(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *object, ngx_http_apikeys_key_body_t *body)
{
    const ngx_http_apikeys_attr_t  *attrs;

    ngx_memzero(body, sizeof(ngx_http_apikeys_key_body_t));

    attrs = !ngx_http_apikeys_native(call) ? ngx_http_apikeys_key_attrs
            : call->operator ? ngx_http_apikeys_key_operator_attrs
            : ngx_http_apikeys_key_native_attrs;

    return ngx_http_apikeys_body_attributes(call, object, attrs, body);
}


ngx_int_t
ngx_http_apikeys_key_body_change(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_key_body_t *body)
{
    ngx_int_t               rc;
    static const ngx_str_t  desc = ngx_string("desc"),
                            roles = ngx_string("roles");

    ngx_memzero(body, sizeof(ngx_http_apikeys_key_body_t));

    rc = ngx_http_apikeys_body_attributes(call, call->body,
                                          ngx_http_apikeys_native(call)
                                          ? ngx_http_apikeys_key_native_updates
                                          : ngx_http_apikeys_key_attrs,
                                          body);
    if (rc != NGX_OK) {
        return rc;
    }

    if (body->desc == NULL && body->roles == NULL && body->disabled == NULL
        && body->expires == NULL)
    {
        if (ngx_http_apikeys_native(call)) {
            return ngx_http_apikeys_output_set_error(call,
                                       NGX_HTTP_APIKEYS_CODE_MISSING_ATTRIBUTE,
                                       &desc, NULL);
        }

        return ngx_http_apikeys_output_set_error(call,
                               NGX_HTTP_APIKEYS_CODE_MISSING_ONE_OF_ATTRIBUTES,
                               &desc, &roles);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_apikeys_key_change_params(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_key_body_t *body,
    ngx_http_apikeys_key_roles_pt roles, ngx_str_t *attributes,
    ngx_str_t *grants)
{
    ngx_int_t                      rc;
    ngx_http_apikeys_key_values_t  values;

    ngx_memzero(&values, sizeof(ngx_http_apikeys_key_values_t));

    if (body->desc) {
        rc = ngx_http_apikeys_body_desc(call, body->desc, &values.desc);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (body->roles) {
        rc = roles(call, body->roles, values.masks);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = ngx_http_apikeys_key_end(call, body, &values);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_apikeys_key_params(call, &values, attributes, grants);
}


/*
 * The parameter p_key_attributes of the functions in sql/v1/08-keys.sql, and
 * the roles in the project.
 */

static ngx_int_t
ngx_http_apikeys_key_params(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_key_values_t *values, ngx_str_t *attributes,
    ngx_str_t *grants)
{
    ngx_apikeys_scope_e     scope;
    ngx_apikeys_json_out_t  out;

    ngx_apikeys_json_out_init(&out, call->request->pool, 0);
    ngx_apikeys_json_out_object(&out);

    if (values->desc.len) {
        ngx_apikeys_json_out_member(&out, "desc", &values->desc);
    }

    scope = values->masks[NGX_APIKEYS_SCOPE_ORG] ? NGX_APIKEYS_SCOPE_ORG
                                                 : NGX_APIKEYS_SCOPE_GLOBAL;

    if (values->masks[scope]) {
        ngx_apikeys_json_out_name(&out, "roles");
        ngx_http_apikeys_key_write_mask(&out, scope, values->masks[scope]);
    }

    if (values->disabled) {
        ngx_apikeys_json_out_name(&out, "disabled");
        ngx_apikeys_json_out_value(&out, values->disabled);
    }

    if (values->expires) {
        ngx_apikeys_json_out_name(&out, "expiresAt");
        ngx_apikeys_json_out_value(&out, values->expires);
    }

    if (values->entries.len) {
        ngx_apikeys_json_out_member(&out, "accessList", &values->entries);
        ngx_apikeys_json_out_member(&out, "accessListAttributes",
                                    &values->entry_attributes);
    }

    ngx_apikeys_json_out_object_end(&out);

    if (grants
        && ngx_http_apikeys_run_roles(call->request->pool, grants,
                                      NGX_APIKEYS_SCOPE_PROJECT,
                                      values->masks[NGX_APIKEYS_SCOPE_PROJECT])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_apikeys_json_out_text(&out, attributes);
}


/*
 * While the answer waits for other nodes, a large result is freed; the key is
 * then read again.
 */

ngx_int_t
ngx_http_apikeys_key_change(ngx_http_apikeys_call_t *call,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params)
{
    call->reread = &ngx_http_apikeys_key_stmt;

    return ngx_http_apikeys_run(call, stmt, params,
                                ngx_http_apikeys_key_answer);
}


ngx_int_t
ngx_http_apikeys_key_create(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_key_creation_t *creation,
    ngx_apikeys_json_t *object, const ngx_str_t *owner)
{
    ngx_int_t                       rc;
    ngx_uint_t                      i;
    ngx_http_apikeys_new_key_t     *key;
    ngx_http_apikeys_key_body_t     body;
    ngx_http_apikeys_key_values_t   values;

    rc = ngx_http_apikeys_key_body(call, object, &body);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_apikeys_key_values(call, creation, &body, &values);
    if (rc != NGX_OK) {
        return rc;
    }

    key = ngx_pcalloc(call->request->pool, sizeof(ngx_http_apikeys_new_key_t));
    if (key == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_apikeys_key_given(call, &body, key);
    if (rc != NGX_OK) {
        return rc;
    }

    key->stmt = creation->stmt;
    key->done = creation->done;

    key->params = ngx_http_apikeys_run_params(call, key->stmt);
    if (key->params == NULL) {
        return NGX_ERROR;
    }

    key->own = &key->params[NGX_HTTP_APIKEYS_PARAM_OWN];

    for (i = 0; i < creation->owner; i++) {
        *key->own++ = owner[i];
    }

    if (ngx_http_apikeys_key_params(call, &values,
                              &key->own[NGX_HTTP_APIKEYS_NEW_KEY_ATTRIBUTES],
                              creation->grants
                              ? &key->own[NGX_HTTP_APIKEYS_NEW_KEY_GRANTS]
                              : NULL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    call->data = key;
    call->conflict = key->given ? ngx_http_apikeys_key_taken
                                : ngx_http_apikeys_key_insert;

    return ngx_http_apikeys_key_insert(call);
}


static ngx_int_t
ngx_http_apikeys_key_values(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_key_creation_t *creation,
    const ngx_http_apikeys_key_body_t *body,
    ngx_http_apikeys_key_values_t *values)
{
    ngx_int_t               rc;
    static const ngx_str_t  name = ngx_string("accessList");

    ngx_memzero(values, sizeof(ngx_http_apikeys_key_values_t));

    rc = ngx_http_apikeys_body_desc(call, body->desc, &values->desc);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = creation->roles(call, body->roles, values->masks);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_apikeys_key_end(call, body, values);
    if (rc != NGX_OK) {
        return rc;
    }

    if (body->access_list == NULL
        || ngx_apikeys_json_size(body->access_list) == 0)
    {
        return NGX_OK;
    }

    if (ngx_apikeys_json_size(body->access_list)
        > NGX_HTTP_APIKEYS_BODY_MAX_ENTRIES)
    {
        return ngx_http_apikeys_output_set_error(call,
                                       NGX_HTTP_APIKEYS_CODE_INVALID_ATTRIBUTE,
                                       &name, NULL);
    }

    return ngx_http_apikeys_access_list_entries(call, body->access_list,
                                                call->request->pool,
                                                &values->entries,
                                                &values->entry_attributes);
}


/* what ends the use of the key */

static ngx_int_t
ngx_http_apikeys_key_end(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_key_body_t *body,
    ngx_http_apikeys_key_values_t *values)
{
    values->disabled = body->disabled;
    values->expires = body->expires;

    return body->expires ? ngx_http_apikeys_body_end(call, body->expires)
                         : NGX_OK;
}


/* the key pair of a body, if it has one */

static ngx_int_t
ngx_http_apikeys_key_given(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_key_body_t *body, ngx_http_apikeys_new_key_t *key)
{
    ngx_int_t               rc;
    static const ngx_str_t  public_key = ngx_string("publicKey"),
                            private_key = ngx_string("privateKey");

    if (body->public_key == NULL && body->private_key == NULL) {
        return NGX_OK;
    }

    if (body->public_key == NULL || body->private_key == NULL) {
        return ngx_http_apikeys_output_set_error(call,
                                       NGX_HTTP_APIKEYS_CODE_MISSING_ATTRIBUTE,
                                       body->public_key ? &private_key
                                                        : &public_key,
                                       NULL);
    }

    rc = ngx_http_apikeys_key_given_text(call, body->public_key,
                                         ngx_http_apikeys_key_is_public,
                                         &public_key, &key->public_key);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_apikeys_key_given_text(call, body->private_key,
                                         ngx_http_apikeys_key_is_private,
                                         &private_key, &key->private_key);
    if (rc != NGX_OK) {
        return rc;
    }

    key->given = 1;

    return ngx_http_apikeys_key_forget(call->request->pool,
                                       key->private_key.data,
                                       key->private_key.len);
}


static ngx_int_t
ngx_http_apikeys_key_given_text(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *value, ngx_http_apikeys_key_check_pt check,
    const ngx_str_t *name, ngx_str_t *text)
{
    ngx_apikeys_json_string(value, text);

    if (!check(text)) {
        return ngx_http_apikeys_output_set_error(call,
                                       NGX_HTTP_APIKEYS_CODE_INVALID_ATTRIBUTE,
                                       name, NULL);
    }

    return ngx_http_apikeys_body_copy(call, text);
}


ngx_uint_t
ngx_http_apikeys_key_is_public(const ngx_str_t *text)
{
    ngx_uint_t  i;

    for (i = 0; i < text->len; i++) {
        if (text->data[i] < 'a' || text->data[i] > 'z') {
            return 0;
        }
    }

    return text->len == NGX_APIKEYS_PUBLIC_KEY_LEN;
}


/* a UUID of any version, in lower case */

static ngx_uint_t
ngx_http_apikeys_key_is_private(const ngx_str_t *text)
{
    u_char      c;
    ngx_uint_t  i;

    if (text->len != NGX_APIKEYS_UUID_TEXT_LEN) {
        return 0;
    }

    for (i = 0; i < text->len; i++) {
        c = text->data[i];

        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (c != '-') {
                return 0;
            }

        } else if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
ngx_http_apikeys_key_taken(ngx_http_apikeys_call_t *call)
{
    ngx_http_apikeys_new_key_t  *key;

    key = call->data;

    return ngx_http_apikeys_output_set_error(call,
                                             NGX_HTTP_APIKEYS_CODE_KEY_EXISTS,
                                             &key->public_key, NULL);
}


static ngx_int_t
ngx_http_apikeys_key_insert(ngx_http_apikeys_call_t *call)
{
    ngx_http_apikeys_new_key_t  *key;

    key = call->data;

    if ((!key->given && ngx_http_apikeys_key_generate(call, key) != NGX_OK)
        || ngx_http_apikeys_key_seal(call, key, NULL) != NGX_OK)
    {
        return NGX_ERROR;
    }

    key->own[NGX_HTTP_APIKEYS_NEW_KEY_ID] = key->id;
    key->own[NGX_HTTP_APIKEYS_NEW_KEY_PUBLIC_KEY] = key->public_key;
    key->own[NGX_HTTP_APIKEYS_NEW_KEY_SECRET] = key->secret;
    key->own[NGX_HTTP_APIKEYS_NEW_KEY_REDACTED] = key->redacted;

    return ngx_http_apikeys_run(call, key->stmt, key->params, key->done);
}


ngx_int_t
ngx_http_apikeys_key_answer_created(ngx_http_apikeys_call_t *call)
{
    ngx_apikeys_json_out_t       out;
    ngx_http_apikeys_new_key_t  *key;

    key = call->data;

    if (ngx_apikeys_pg_query_nrows(call->query) == 0) {
        return NGX_ERROR;
    }

    if (ngx_http_apikeys_native(call)) {
        return ngx_http_apikeys_key_answer_located(call, key);
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);
    ngx_http_apikeys_key_write(call, &out, 0, key);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_key_answer_located(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_new_key_t *created)
{
    ngx_str_t               org, id;
    ngx_apikeys_json_out_t  out;

    if (ngx_apikeys_pg_query_nrows(call->query) == 0) {
        return NGX_ERROR;
    }

    (void) ngx_apikeys_pg_query_value(call->query, 0, NGX_APIKEYS_STATE_ORG,
                                      &org);
    (void) ngx_apikeys_pg_query_value(call->query, 0, NGX_APIKEYS_STATE_ID,
                                      &id);

    if (ngx_http_apikeys_links_location(call, "/orgs/%V/apiKeys/%V", &org, &id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_CREATED);
    ngx_http_apikeys_key_write(call, &out, 0, created);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_CREATED);
}


ngx_int_t
ngx_http_apikeys_key_new_secret(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_new_key_t *key)
{
    if (ngx_http_apikeys_key_private(call, &key->private_key) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_apikeys_key_seal(call, key, &call->path_key);
}


static ngx_int_t
ngx_http_apikeys_key_generate(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_new_key_t *key)
{
    if (ngx_http_apikeys_key_public(call, &key->public_key) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_apikeys_key_private(call, &key->private_key);
}


/* eight random letters; bytes that would favor some letters are skipped */

static ngx_int_t
ngx_http_apikeys_key_public(ngx_http_apikeys_call_t *call, ngx_str_t *text)
{
    u_char      bytes[64];
    ngx_uint_t  i, n;

    text->len = NGX_APIKEYS_PUBLIC_KEY_LEN;
    text->data = ngx_pnalloc(call->request->pool, text->len);

    if (text->data == NULL) {
        return NGX_ERROR;
    }

    n = 0;

    do {
        if (RAND_bytes(bytes, sizeof(bytes)) != 1) {
            return ngx_http_apikeys_key_no_random(call);
        }

        for (i = 0; i < sizeof(bytes) && n < text->len; i++) {
            if (bytes[i] < 26 * 9) {
                text->data[n++] = 'a' + bytes[i] % 26;
            }
        }

    } while (n < text->len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_key_private(ngx_http_apikeys_call_t *call, ngx_str_t *text)
{
    u_char  bytes[NGX_APIKEYS_UUID_LEN];

    text->len = NGX_APIKEYS_UUID_TEXT_LEN;
    text->data = ngx_pnalloc(call->request->pool, text->len);

    if (text->data == NULL) {
        return NGX_ERROR;
    }

    if (RAND_priv_bytes(bytes, sizeof(bytes)) != 1) {
        return ngx_http_apikeys_key_no_random(call);
    }

    ngx_apikeys_uuid_write(text->data, bytes);

    ngx_explicit_memzero(bytes, sizeof(bytes));

    return ngx_http_apikeys_key_forget(call->request->pool, text->data,
                                       text->len);
}


static ngx_int_t
ngx_http_apikeys_key_no_random(ngx_http_apikeys_call_t *call)
{
    ngx_log_error(NGX_LOG_CRIT, call->request->connection->log, 0,
                  "apikeys: RAND_bytes() failed, no key was created");

    return NGX_ERROR;
}


/* the id of a new key or secret, and memory for the sealed secret */

static ngx_int_t
ngx_http_apikeys_key_id(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_new_key_t *key)
{
    u_char                  *p;
    ngx_apikeys_objectid_t   id;

    p = ngx_pnalloc(call->request->pool, NGX_APIKEYS_OBJECTID_TEXT_LEN
                                         + 2 * NGX_APIKEYS_SEALED_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    key->id.data = p;
    key->id.len = NGX_APIKEYS_OBJECTID_TEXT_LEN;

    key->secret.data = key->id.data + key->id.len;
    key->secret.len = 2 * NGX_APIKEYS_SEALED_LEN;

    key->redacted.data = key->private_key.data + key->private_key.len
                         - NGX_HTTP_APIKEYS_REDACTED_LEN;
    key->redacted.len = NGX_HTTP_APIKEYS_REDACTED_LEN;

    if (ngx_apikeys_objectid_generate(&id) != NGX_OK) {
        return ngx_http_apikeys_key_no_random(call);
    }

    ngx_apikeys_objectid_write(p, &id);

    return NGX_OK;
}


/* "id": of an existing key, which the secret is for; NULL: of the new key */

static ngx_int_t
ngx_http_apikeys_key_seal(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_new_key_t *key, const ngx_str_t *id)
{
    ngx_int_t                      rc;
    ngx_str_t                      org, context;
    ngx_apikeys_secret_t           secret;
    ngx_http_apikeys_main_conf_t  *amcf;
    u_char                         text[NGX_APIKEYS_OBJECTID_TEXT_LEN],
                                   sealed[NGX_APIKEYS_SEALED_LEN];

    if (ngx_http_apikeys_key_id(call, key) != NGX_OK) {
        return NGX_ERROR;
    }

    org.data = text;
    org.len = ngx_apikeys_objectid_write(text, &call->org_id) - text;

    amcf = ngx_http_get_module_main_conf(call->request,
                                         ngx_http_apikeys_module);

    if (ngx_apikeys_seal_hash(&secret, &key->public_key, &amcf->realm,
                              &key->private_key)
        != NGX_OK
        || ngx_apikeys_seal_context(call->request->pool, &context, &org,
                                    id ? id : &key->id, &key->public_key,
                                    &key->id, &amcf->realm)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_apikeys_seal_secret(amcf->seal,
                           ngx_apikeys_store_sealing_line(amcf->store), sealed,
                           &secret, &context);

    ngx_explicit_memzero(&secret, sizeof(ngx_apikeys_secret_t));

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    (void) ngx_hex_dump(key->secret.data, sealed, NGX_APIKEYS_SEALED_LEN);

    return NGX_OK;
}


/*
 * Zeroes memory when the pool is destroyed, which is after the response was
 * sent.  Otherwise the private key, which only the client may have, would stay
 * in the memory of the worker, and in its core files, until the memory is used
 * again.
 */

static ngx_int_t
ngx_http_apikeys_key_forget(ngx_pool_t *pool, u_char *data, size_t len)
{
    ngx_str_t           *text;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(pool, sizeof(ngx_str_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    text = cln->data;
    text->data = data;
    text->len = len;

    cln->handler = ngx_http_apikeys_key_forget_cleanup;

    return NGX_OK;
}


static void
ngx_http_apikeys_key_forget_cleanup(void *data)
{
    ngx_str_t *text = data;

    ngx_explicit_memzero(text->data, text->len);
}


void
ngx_http_apikeys_key_forget_document(ngx_apikeys_json_out_t *out)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    for (cl = out->out; cl; cl = cl->next) {
        b = cl->buf;

        if (ngx_http_apikeys_key_forget(out->pool, b->start, b->end - b->start)
            != NGX_OK)
        {
            out->failed = 1;
            return;
        }
    }
}


ngx_int_t
ngx_http_apikeys_key_org_roles(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *roles, uint32_t masks[NGX_APIKEYS_SCOPES])
{
    return ngx_http_apikeys_key_scope_roles(call, roles, NGX_APIKEYS_SCOPE_ORG,
                                            masks);
}


ngx_int_t
ngx_http_apikeys_key_project_roles(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *roles, uint32_t masks[NGX_APIKEYS_SCOPES])
{
    return ngx_http_apikeys_key_scope_roles(call, roles,
                                            NGX_APIKEYS_SCOPE_PROJECT, masks);
}


static ngx_int_t
ngx_http_apikeys_key_scope_roles(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *roles, ngx_apikeys_scope_e scope,
    uint32_t masks[NGX_APIKEYS_SCOPES])
{
    ngx_int_t                rc;
    ngx_http_apikeys_code_e  code;

    rc = ngx_http_apikeys_body_roles(call, roles, masks);
    if (rc != NGX_OK) {
        return rc;
    }

    if (masks[NGX_APIKEYS_SCOPE_GLOBAL]) {
        code = NGX_HTTP_APIKEYS_CODE_CANNOT_ADD_GLOBAL_ROLE;

    } else if (scope == NGX_APIKEYS_SCOPE_ORG
               && masks[NGX_APIKEYS_SCOPE_PROJECT])
    {
        code = NGX_HTTP_APIKEYS_CODE_CANNOT_ADD_GROUP_ROLE;

    } else if (scope == NGX_APIKEYS_SCOPE_PROJECT
               && masks[NGX_APIKEYS_SCOPE_ORG])
    {
        code = NGX_HTTP_APIKEYS_CODE_CANNOT_ADD_ORG_ROLE;

    } else if (masks[scope] == 0) {
        code = NGX_HTTP_APIKEYS_CODE_MISSING_ROLES;

    } else {
        return NGX_OK;
    }

    return ngx_http_apikeys_output_set_error(call, code, NULL, NULL);
}


void
ngx_http_apikeys_key_write_mask(ngx_apikeys_json_out_t *out,
    ngx_apikeys_scope_e scope, uint32_t mask)
{
    ngx_str_t  rest, name;
    u_char     buf[NGX_APIKEYS_ROLES_TEXT_LEN];

    rest.data = buf;
    rest.len = ngx_apikeys_roles_write(buf, scope, mask) - buf;

    ngx_apikeys_json_out_array(out);

    while (ngx_apikeys_list_next(&rest, ',', &name)) {
        ngx_apikeys_json_out_string(out, &name);
    }

    ngx_apikeys_json_out_array_end(out);
}


void
ngx_http_apikeys_key_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row,
    const ngx_http_apikeys_new_key_t *created)
{
    ngx_str_t                id, org, value, projects;
    ngx_apikeys_pg_query_t  *q;

    if (ngx_http_apikeys_native(call)) {
        ngx_http_apikeys_native_key(call, out, row, created);
        return;
    }

    q = call->query;

    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_ID, &id);

    /* empty: a global key */

    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_ORG, &org);

    ngx_apikeys_json_out_object(out);

    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_DESCR,
                                      &value);
    ngx_apikeys_json_out_name(out, "desc");
    ngx_apikeys_json_out_string(out, &value);

    ngx_apikeys_json_out_name(out, "id");
    ngx_apikeys_json_out_string(out, &id);

    if (org.len) {
        ngx_http_apikeys_links_self(call, out, "/orgs/%V/apiKeys/%V", &org,
                                    &id);

    } else {
        ngx_http_apikeys_links_self(call, out, "/admin/apiKeys/%V", &id);
    }

    if (created) {
        ngx_apikeys_json_out_member(out, "privateKey", &created->private_key);
        ngx_http_apikeys_key_forget_document(out);

    } else {
        (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_REDACTED,
                                          &value);
        ngx_http_apikeys_key_write_redaction(out, "privateKey", &value);
    }

    (void) ngx_apikeys_pg_query_value(q, row,
                                      NGX_APIKEYS_STATE_PUBLIC_KEY,
                                      &value);
    ngx_apikeys_json_out_name(out, "publicKey");
    ngx_apikeys_json_out_string(out, &value);

    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_ROLES,
                                      &value);
    (void) ngx_apikeys_pg_query_value(q, row,
                                      NGX_APIKEYS_STATE_PROJECTS,
                                      &projects);
    ngx_http_apikeys_key_write_roles(call, out, &org, &value, &projects);

    ngx_apikeys_json_out_object_end(out);
}


void
ngx_http_apikeys_key_write_redaction(ngx_apikeys_json_out_t *out,
    const char *name, const ngx_str_t *tail)
{
    ngx_str_t  shown;
    u_char     redacted[sizeof("********-****-****-")
                        + NGX_HTTP_APIKEYS_REDACTED_LEN];

    shown.data = redacted;
    shown.len = ngx_snprintf(redacted, sizeof(redacted),
                             "********-****-****-%V", tail)
                - redacted;

    ngx_apikeys_json_out_member(out, name, &shown);
}


ngx_int_t
ngx_http_apikeys_key_answer(ngx_http_apikeys_call_t *call)
{
    ngx_apikeys_json_out_t  out;

    if (ngx_apikeys_pg_query_nrows(call->query) == 0) {
        return ngx_http_apikeys_output_set_error(call,
                                           NGX_HTTP_APIKEYS_CODE_KEY_NOT_FOUND,
                                           &call->path_key, NULL);
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);
    ngx_http_apikeys_key_write(call, &out, 0, NULL);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
}


static void
ngx_http_apikeys_key_write_redacted(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row)
{
    ngx_http_apikeys_key_write(call, out, row, NULL);
}


void
ngx_http_apikeys_key_write_roles(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const ngx_str_t *org, const ngx_str_t *roles,
    const ngx_str_t *projects)
{
    ngx_str_t    id, rest, names;
    const char  *project;

    project = ngx_http_apikeys_native(call) ? "projectId" : "groupId";

    ngx_apikeys_json_out_name(out, "roles");
    ngx_apikeys_json_out_array(out);

    names = *roles;
    ngx_http_apikeys_key_write_names(out, "orgId", org, &names);

    /* "ID:ROLE,ROLE;ID:ROLE" */

    rest = *projects;

    while (ngx_apikeys_list_next(&rest, ';', &names)) {

        if (ngx_apikeys_list_next(&names, ':', &id)) {
            ngx_http_apikeys_key_write_names(out, project, &id, &names);
        }
    }

    ngx_apikeys_json_out_array_end(out);
}


void
ngx_http_apikeys_key_write_names(ngx_apikeys_json_out_t *out,
    const char *member, const ngx_str_t *id, const ngx_str_t *names)
{
    ngx_str_t  rest, name;

    rest = *names;

    while (ngx_apikeys_list_next(&rest, ',', &name)) {

        ngx_apikeys_json_out_object(out);

        if (id->len) {
            ngx_apikeys_json_out_member(out, member, id);
        }

        ngx_apikeys_json_out_name(out, "roleName");
        ngx_apikeys_json_out_string(out, &name);
        ngx_apikeys_json_out_object_end(out);
    }
}
