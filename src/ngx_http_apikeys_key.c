
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_run.h>

#include <openssl/rand.h>


#define NGX_HTTP_APIKEYS_PRIVATE_KEY_LEN   36
#define NGX_HTTP_APIKEYS_REDACTED_LEN      12


static ngx_int_t ngx_http_apikeys_key_insert(ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_key_generate(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_new_key_t *key);
static ngx_int_t ngx_http_apikeys_key_public(ngx_str_t *text);
static ngx_int_t ngx_http_apikeys_key_private(ngx_str_t *text);
static ngx_int_t ngx_http_apikeys_key_seal(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_new_key_t *key);
static ngx_int_t ngx_http_apikeys_key_forget(ngx_pool_t *pool, u_char *data,
    size_t len);
static void ngx_http_apikeys_key_forget_cleanup(void *data);
static void ngx_http_apikeys_key_forget_document(ngx_apikeys_json_out_t *out);
static void ngx_http_apikeys_key_write_names(ngx_apikeys_json_out_t *out,
    const char *member, const ngx_str_t *id, ngx_str_t *names);


const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_key_stmt = {
    "apikeys_key",
    "SELECT " NGX_APIKEYS_STATE_PRINTED
    "  FROM apikeys.key_states WHERE id = $1",
    1, 0
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


ngx_int_t
ngx_http_apikeys_key_body(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *object, ngx_http_apikeys_key_body_t *body)
{
    ngx_memzero(body, sizeof(ngx_http_apikeys_key_body_t));

    return ngx_http_apikeys_body_attributes(ctx, object,
                                            ngx_http_apikeys_key_attrs, body);
}


ngx_int_t
ngx_http_apikeys_key_body_change(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_key_body_t *body)
{
    ngx_int_t               rc;
    static const ngx_str_t  desc = ngx_string("desc"),
                            roles = ngx_string("roles");

    rc = ngx_http_apikeys_key_body(ctx, ctx->body, body);
    if (rc != NGX_OK) {
        return rc;
    }

    if (body->desc == NULL && body->roles == NULL) {
        return ngx_http_apikeys_output_refuse(ctx,
                                    NGX_HTTP_APIKEYS_MISSING_ONE_OF_ATTRIBUTES,
                                    &desc, &roles);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_apikeys_key_create(ngx_http_apikeys_ctx_t *ctx,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params, ngx_uint_t at,
    ngx_http_apikeys_handler_pt done)
{
    ngx_http_apikeys_new_key_t  *key;

    key = ngx_palloc(ctx->request->pool, sizeof(ngx_http_apikeys_new_key_t));
    if (key == NULL) {
        return NGX_ERROR;
    }

    key->stmt = stmt;
    key->params = params;
    key->at = at;
    key->done = done;

    ctx->data = key;
    ctx->conflict = ngx_http_apikeys_key_insert;

    return ngx_http_apikeys_key_insert(ctx);
}


static ngx_int_t
ngx_http_apikeys_key_insert(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t                   *params;
    ngx_http_apikeys_new_key_t  *key;

    key = ctx->data;

    if (ngx_http_apikeys_key_generate(ctx, key) != NGX_OK) {
        return NGX_ERROR;
    }

    params = &key->params[key->at];

    params[0] = key->id;
    params[1] = key->public_key;
    params[2] = key->secret;
    params[3] = key->redacted;

    return ngx_http_apikeys_run(ctx, key->stmt, key->params, key->done);
}


ngx_int_t
ngx_http_apikeys_key_answer_created(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_apikeys_json_out_t       out;
    ngx_http_apikeys_new_key_t  *key;

    key = ctx->data;

    ngx_http_apikeys_output_begin(ctx, &out, NGX_HTTP_OK);
    ngx_http_apikeys_key_write(ctx, &out, 0, &key->private_key);

    return ngx_http_apikeys_output_send(ctx, &out, NGX_HTTP_OK);
}


static ngx_int_t
ngx_http_apikeys_key_generate(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_new_key_t *key)
{
    u_char                  *p;
    ngx_apikeys_objectid_t   id;

    p = ngx_pnalloc(ctx->request->pool,
                    NGX_APIKEYS_OBJECTID_TEXT_LEN + NGX_APIKEYS_PUBLIC_KEY_LEN
                    + NGX_HTTP_APIKEYS_PRIVATE_KEY_LEN
                    + 2 * NGX_APIKEYS_SEALED_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    key->id.data = p;
    key->id.len = NGX_APIKEYS_OBJECTID_TEXT_LEN;

    key->public_key.data = key->id.data + key->id.len;
    key->public_key.len = NGX_APIKEYS_PUBLIC_KEY_LEN;

    key->private_key.data = key->public_key.data + key->public_key.len;
    key->private_key.len = NGX_HTTP_APIKEYS_PRIVATE_KEY_LEN;

    key->secret.data = key->private_key.data + key->private_key.len;
    key->secret.len = 2 * NGX_APIKEYS_SEALED_LEN;

    key->redacted.data = key->secret.data - NGX_HTTP_APIKEYS_REDACTED_LEN;
    key->redacted.len = NGX_HTTP_APIKEYS_REDACTED_LEN;

    if (ngx_apikeys_objectid_generate(&id) != NGX_OK
        || ngx_http_apikeys_key_public(&key->public_key) != NGX_OK
        || ngx_http_apikeys_key_private(&key->private_key) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_CRIT, ctx->request->connection->log, 0,
                      "apikeys: no random bytes for a key");
        return NGX_ERROR;
    }

    ngx_apikeys_objectid_write(key->id.data, &id);

    if (ngx_http_apikeys_key_forget(ctx->request->pool, key->private_key.data,
                                    key->private_key.len)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_apikeys_key_seal(ctx, key);
}


/* eight letters; bytes that would favour some letters are thrown away */

static ngx_int_t
ngx_http_apikeys_key_public(ngx_str_t *text)
{
    u_char      bytes[64];
    ngx_uint_t  i, n;

    n = 0;

    do {
        if (RAND_bytes(bytes, sizeof(bytes)) != 1) {
            return NGX_ERROR;
        }

        for (i = 0; i < sizeof(bytes) && n < text->len; i++) {
            if (bytes[i] < 26 * 9) {
                text->data[n++] = 'a' + bytes[i] % 26;
            }
        }

    } while (n < text->len);

    return NGX_OK;
}


/* a UUID of version 4 (RFC 4122, 4.4) */

static ngx_int_t
ngx_http_apikeys_key_private(ngx_str_t *text)
{
    u_char  *p, bytes[16];

    if (RAND_priv_bytes(bytes, sizeof(bytes)) != 1) {
        return NGX_ERROR;
    }

    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;

    p = ngx_hex_dump(text->data, bytes, 4);
    *p++ = '-';
    p = ngx_hex_dump(p, bytes + 4, 2);
    *p++ = '-';
    p = ngx_hex_dump(p, bytes + 6, 2);
    *p++ = '-';
    p = ngx_hex_dump(p, bytes + 8, 2);
    *p++ = '-';
    (void) ngx_hex_dump(p, bytes + 10, 6);

    ngx_explicit_memzero(bytes, sizeof(bytes));

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_key_seal(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_new_key_t *key)
{
    ngx_int_t                      rc;
    ngx_str_t                      org, context;
    ngx_apikeys_secret_t           secret;
    ngx_http_apikeys_main_conf_t  *amcf;
    u_char                         text[NGX_APIKEYS_OBJECTID_TEXT_LEN],
                                   sealed[NGX_APIKEYS_SEALED_LEN];

    org.data = text;
    org.len = ngx_apikeys_objectid_write(text, &ctx->org_id) - text;

    amcf = ngx_http_get_module_main_conf(ctx->request,
                                         ngx_http_apikeys_module);

    ngx_apikeys_digest_ha1_md5(secret.md5, &key->public_key, &amcf->realm,
                               &key->private_key);

    if (ngx_apikeys_digest_ha1_sha256(secret.sha256, &key->public_key,
                                      &amcf->realm, &key->private_key)
        != NGX_OK
        || ngx_apikeys_seal_context(ctx->request->pool, &context, &org,
                                    &key->id, &key->public_key, &amcf->realm)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_apikeys_seal_secret(amcf->seal,
                                 ngx_apikeys_store_seals(amcf->store), sealed,
                                 &secret, &context);

    ngx_explicit_memzero(&secret, sizeof(ngx_apikeys_secret_t));

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    (void) ngx_hex_dump(key->secret.data, sealed, NGX_APIKEYS_SEALED_LEN);

    return NGX_OK;
}


/*
 * Zeroed before it is freed: else the key, which the client alone is to have,
 * would stay in the worker's memory, and in a core file of it, until the
 * memory is used again.  The pool outlives the answer.
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


/* each buffer so far: the filters take the chain apart when it is sent */

static void
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
ngx_http_apikeys_key_org_roles(ngx_http_apikeys_ctx_t *ctx,
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

    if (masks[NGX_APIKEYS_SCOPE_PROJECT]) {
        return ngx_http_apikeys_output_refuse(ctx,
                                        NGX_HTTP_APIKEYS_CANNOT_ADD_GROUP_ROLE,
                                        NULL, NULL);
    }

    if (masks[NGX_APIKEYS_SCOPE_ORG] == 0) {
        return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_MISSING_ROLES,
                                              NULL, NULL);
    }

    return ngx_http_apikeys_run_roles(ctx->request->pool, param,
                                      NGX_APIKEYS_SCOPE_ORG,
                                      masks[NGX_APIKEYS_SCOPE_ORG]);
}


void
ngx_http_apikeys_key_write(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t row,
    const ngx_str_t *private_key)
{
    ngx_str_t                id, org, tail, shown, value, projects;
    ngx_apikeys_pg_query_t  *q;
    u_char                   redacted[sizeof("********-****-****-")
                                      + NGX_HTTP_APIKEYS_REDACTED_LEN];

    q = ctx->query;

    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_ID, &id);

    /* empty of a global key */

    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_ORG, &org);

    ngx_apikeys_json_out_object(out);

    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_DESCR,
                                      &value);
    ngx_apikeys_json_out_name(out, "desc");
    ngx_apikeys_json_out_string(out, &value);

    ngx_apikeys_json_out_name(out, "id");
    ngx_apikeys_json_out_string(out, &id);

    if (org.len) {
        ngx_http_apikeys_links_self(ctx, out, "/orgs/%V/apiKeys/%V", &org,
                                    &id);

    } else {
        ngx_http_apikeys_links_self(ctx, out, "/admin/apiKeys/%V", &id);
    }

    if (private_key == NULL) {
        (void) ngx_apikeys_pg_query_value(q, row,
                                          NGX_APIKEYS_STATE_REDACTED,
                                          &tail);
        shown.data = redacted;
        shown.len = ngx_snprintf(redacted, sizeof(redacted),
                                 "********-****-****-%V", &tail)
                    - redacted;
        private_key = &shown;
    }

    ngx_apikeys_json_out_name(out, "privateKey");
    ngx_apikeys_json_out_string(out, private_key);

    if (private_key != &shown) {
        ngx_http_apikeys_key_forget_document(out);
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
    ngx_http_apikeys_key_write_roles(out, &org, &value, &projects);

    ngx_apikeys_json_out_object_end(out);
}


ngx_int_t
ngx_http_apikeys_key_answer(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_apikeys_json_out_t  out;

    if (ngx_apikeys_pg_query_nrows(ctx->query) == 0) {
        return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_KEY_NOT_FOUND,
                                              &ctx->key, NULL);
    }

    ngx_http_apikeys_output_begin(ctx, &out, NGX_HTTP_OK);
    ngx_http_apikeys_key_write(ctx, &out, 0, NULL);

    return ngx_http_apikeys_output_send(ctx, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_key_answer_list(ngx_http_apikeys_ctx_t *ctx,
    const ngx_str_t *path)
{
    ngx_str_t               value;
    ngx_uint_t              i, total;
    ngx_apikeys_json_out_t  out;

    (void) ngx_apikeys_pg_query_value(ctx->query, 0,
                                      NGX_APIKEYS_STATE_NEXT, &value);
    total = ngx_atoi(value.data, value.len);

    ngx_http_apikeys_links_list(ctx, &out, path, total);

    for (i = 0; i < ngx_apikeys_pg_query_nrows(ctx->query); i++) {

        if (ngx_apikeys_pg_query_value(ctx->query, i,
                                       NGX_APIKEYS_STATE_ID, &value)
            == NGX_OK)
        {
            ngx_http_apikeys_key_write(ctx, &out, i, NULL);
        }
    }

    ngx_http_apikeys_links_list_end(ctx, &out, total);

    return ngx_http_apikeys_output_document(ctx, &out, NGX_HTTP_OK);
}


void
ngx_http_apikeys_key_write_roles(ngx_apikeys_json_out_t *out,
    const ngx_str_t *org, const ngx_str_t *roles, const ngx_str_t *projects)
{
    u_char     *p, *last, *end, *colon;
    ngx_str_t   id, names;

    ngx_apikeys_json_out_name(out, "roles");
    ngx_apikeys_json_out_array(out);

    names = *roles;
    ngx_http_apikeys_key_write_names(out, "orgId", org, &names);

    /* "ID:ROLE,ROLE;ID:ROLE" */

    end = projects->data + projects->len;

    for (p = projects->data; p < end; p = last + 1) {

        last = ngx_strlchr(p, end, ';');
        if (last == NULL) {
            last = end;
        }

        colon = ngx_strlchr(p, last, ':');
        if (colon == NULL) {
            break;
        }

        id.data = p;
        id.len = colon - p;

        names.data = colon + 1;
        names.len = last - names.data;

        ngx_http_apikeys_key_write_names(out, "groupId", &id, &names);
    }

    ngx_apikeys_json_out_array_end(out);
}


static void
ngx_http_apikeys_key_write_names(ngx_apikeys_json_out_t *out,
    const char *member, const ngx_str_t *id, ngx_str_t *names)
{
    u_char     *p, *last, *end;
    ngx_str_t   name;

    end = names->data + names->len;

    for (p = names->data; p < end; p = last + 1) {

        last = ngx_strlchr(p, end, ',');
        if (last == NULL) {
            last = end;
        }

        name.data = p;
        name.len = last - p;

        ngx_apikeys_json_out_object(out);

        if (id->len) {
            ngx_apikeys_json_out_member(out, member, id);
        }

        ngx_apikeys_json_out_name(out, "roleName");
        ngx_apikeys_json_out_string(out, &name);
        ngx_apikeys_json_out_object_end(out);
    }
}
