
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Chunks and their text.  Numbers are little-endian.  The text was
 * authenticated before it is decoded; it is checked nevertheless as far as the
 * store relies on it, as another version of the module may have written it
 * wrongly.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_snapshot_format.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>


#define NGX_APIKEYS_SNAPSHOT_MAGIC      "apikeysS"
#define NGX_APIKEYS_SNAPSHOT_MAGIC_LEN  8

/* flags of a key */
#define NGX_APIKEYS_SNAPSHOT_UNREADABLE  0x01
#define NGX_APIKEYS_SNAPSHOT_STUB        0x02
#define NGX_APIKEYS_SNAPSHOT_DISABLED    0x04
#define NGX_APIKEYS_SNAPSHOT_HAS_OLDER   0x08
#define NGX_APIKEYS_SNAPSHOT_HAS_ENDS    0x10
#define NGX_APIKEYS_SNAPSHOT_IV_LEN     12
#define NGX_APIKEYS_SNAPSHOT_LAST       0x80000000
#define NGX_APIKEYS_SNAPSHOT_TEXT_SIZE  65536

#define NGX_APIKEYS_SNAPSHOT_META_LEN                                        \
    (32 + NGX_APIKEYS_SNAPSHOT_BOOT_LEN + 8 + 8 + 4 + 4)
#define NGX_APIKEYS_SNAPSHOT_KEY_LEN                                         \
    (1 + 3 * NGX_APIKEYS_OBJECTID_LEN + NGX_APIKEYS_PUBLIC_KEY_LEN + 8       \
     + 3 * 4 + 1 + NGX_APIKEYS_SEAL_LINE_LEN + sizeof(ngx_apikeys_secret_t)  \
     + 4 + 4)
#define NGX_APIKEYS_SNAPSHOT_OLDER_LEN                                       \
    (NGX_APIKEYS_OBJECTID_LEN + 4 + sizeof(ngx_apikeys_secret_t))
#define NGX_APIKEYS_SNAPSHOT_GRANT_LEN  (NGX_APIKEYS_OBJECTID_LEN + 4)
#define NGX_APIKEYS_SNAPSHOT_ENTRY_LEN  (1 + 1 + 16)
#define NGX_APIKEYS_SNAPSHOT_END_LEN    4


/* put_key() and get_key() have them all */
ngx_apikeys_store_key_members(21);


static void ngx_apikeys_snapshot_format_iv(
    ngx_apikeys_snapshot_cipher_t *cipher, u_char *iv, ngx_uint_t last);
static u_char *ngx_apikeys_snapshot_format_put_32(u_char *p, uint32_t n);
static u_char *ngx_apikeys_snapshot_format_put_64(u_char *p, uint64_t n);
static uint32_t ngx_apikeys_snapshot_format_32(const u_char *p);
static uint64_t ngx_apikeys_snapshot_format_64(const u_char *p);
static ngx_int_t ngx_apikeys_snapshot_format_put_key(
    ngx_apikeys_snapshot_text_t *text, const ngx_apikeys_store_key_t *key);
static u_char *ngx_apikeys_snapshot_format_read(ngx_str_t *text, size_t n);
static ngx_int_t ngx_apikeys_snapshot_format_get_key(ngx_str_t *text,
    ngx_pool_t *pool, ngx_apikeys_store_key_t *key);
static ngx_int_t ngx_apikeys_snapshot_format_get_older(ngx_str_t *text,
    ngx_apikeys_store_key_t *key);
static ngx_int_t ngx_apikeys_snapshot_format_get_ends(ngx_str_t *text,
    ngx_pool_t *pool, ngx_apikeys_store_key_t *key);
static ngx_int_t ngx_apikeys_snapshot_format_get_grants(ngx_str_t *text,
    ngx_pool_t *pool, ngx_apikeys_store_key_t *key);
static ngx_int_t ngx_apikeys_snapshot_format_get_entries(ngx_str_t *text,
    ngx_pool_t *pool, ngx_apikeys_store_key_t *key);


ngx_int_t
ngx_apikeys_snapshot_format_begin(ngx_apikeys_snapshot_cipher_t *cipher)
{
    u_char  *p;

    ngx_memzero(cipher, sizeof(ngx_apikeys_snapshot_cipher_t));

    p = ngx_cpymem(cipher->header, NGX_APIKEYS_SNAPSHOT_MAGIC,
                   NGX_APIKEYS_SNAPSHOT_MAGIC_LEN);
    p = ngx_apikeys_snapshot_format_put_64(p, NGX_APIKEYS_SNAPSHOT_VERSION);

    if (RAND_bytes(p, (int) (cipher->header + sizeof(cipher->header) - p))
        != 1)
    {
        ERR_clear_error();
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_apikeys_snapshot_format_header(const ngx_apikeys_snapshot_cipher_t *cipher)
{
    const u_char  *p;

    p = cipher->header;

    if (ngx_memcmp(p, NGX_APIKEYS_SNAPSHOT_MAGIC,
                   NGX_APIKEYS_SNAPSHOT_MAGIC_LEN)
        != 0)
    {
        return NGX_ERROR;
    }

    p += NGX_APIKEYS_SNAPSHOT_MAGIC_LEN;

    return (ngx_apikeys_snapshot_format_64(p) == NGX_APIKEYS_SNAPSHOT_VERSION)
           ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_apikeys_snapshot_format_key(ngx_apikeys_snapshot_cipher_t *cipher,
    ngx_apikeys_seal_t *seal, ngx_uint_t n)
{
    u_char     derived[NGX_APIKEYS_SEAL_KEY_LEN], *hash;
    ngx_int_t  rc;

    rc = ngx_apikeys_seal_derive(seal, n, "snapshot", derived,
                                 sizeof(derived));
    if (rc == NGX_OK) {
        hash = HMAC(EVP_sha256(), derived, sizeof(derived), cipher->header,
                    sizeof(cipher->header), cipher->key, NULL);
        if (hash == NULL) {
            ERR_clear_error();
            rc = NGX_ERROR;
        }
    }

    OPENSSL_cleanse(derived, sizeof(derived));

    return rc;
}


void
ngx_apikeys_snapshot_format_wipe(ngx_apikeys_snapshot_cipher_t *cipher)
{
    OPENSSL_cleanse(cipher->key, sizeof(cipher->key));
}


static void
ngx_apikeys_snapshot_format_iv(ngx_apikeys_snapshot_cipher_t *cipher,
    u_char *iv, ngx_uint_t last)
{
    u_char  *p;

    p = ngx_apikeys_snapshot_format_put_64(iv, cipher->number);
    (void) ngx_apikeys_snapshot_format_put_32(p, (uint32_t) last);
}


ngx_int_t
ngx_apikeys_snapshot_format_seal(ngx_apikeys_snapshot_cipher_t *cipher,
    u_char *chunk, size_t len, ngx_uint_t last)
{
    int              n;
    u_char           iv[NGX_APIKEYS_SNAPSHOT_IV_LEN], *text;
    ngx_int_t        rc;
    EVP_CIPHER_CTX  *ctx;

    ngx_apikeys_snapshot_format_iv(cipher, iv, last);

    text = ngx_apikeys_snapshot_format_put_32(chunk, (uint32_t) len
                                     | (last ? NGX_APIKEYS_SNAPSHOT_LAST : 0));
    rc = NGX_ERROR;
    ctx = EVP_CIPHER_CTX_new();

    if (ctx != NULL
        && EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), cipher->key, iv, NULL)
           == 1
        && EVP_EncryptUpdate(ctx, text, &n, text, (int) len) == 1
        && EVP_EncryptFinal_ex(ctx, text + len, &n) == 1
        && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG,
                               NGX_APIKEYS_SNAPSHOT_TAG_LEN, text + len)
           == 1)
    {
        cipher->number++;
        rc = NGX_OK;
    }

    EVP_CIPHER_CTX_free(ctx);

    if (rc != NGX_OK) {
        ERR_clear_error();
    }

    return rc;
}


ngx_int_t
ngx_apikeys_snapshot_format_open(ngx_apikeys_snapshot_cipher_t *cipher,
    u_char *chunk, size_t len, ngx_uint_t last)
{
    int              n;
    u_char           iv[NGX_APIKEYS_SNAPSHOT_IV_LEN], *text;
    u_char           rest[NGX_APIKEYS_SNAPSHOT_TAG_LEN];
    ngx_int_t        rc;
    EVP_CIPHER_CTX  *ctx;

    ngx_apikeys_snapshot_format_iv(cipher, iv, last);

    text = chunk + NGX_APIKEYS_SNAPSHOT_LENGTH_LEN;
    rc = NGX_DECLINED;
    ctx = EVP_CIPHER_CTX_new();

    if (ctx != NULL
        && EVP_DecryptInit_ex2(ctx, EVP_aes_256_gcm(), cipher->key, iv, NULL)
           == 1
        && EVP_DecryptUpdate(ctx, text, &n, text, (int) len) == 1
        && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG,
                               NGX_APIKEYS_SNAPSHOT_TAG_LEN, text + len)
           == 1
        && EVP_DecryptFinal_ex(ctx, rest, &n) == 1)
    {
        cipher->number++;
        rc = NGX_OK;
    }

    EVP_CIPHER_CTX_free(ctx);

    if (rc != NGX_OK) {
        ERR_clear_error();
    }

    return rc;
}


ngx_int_t
ngx_apikeys_snapshot_format_length(const u_char *chunk, size_t *len,
    ngx_uint_t *last)
{
    uint32_t  n;

    n = ngx_apikeys_snapshot_format_32(chunk);

    *last = (n & NGX_APIKEYS_SNAPSHOT_LAST) ? 1 : 0;
    *len = n & ~NGX_APIKEYS_SNAPSHOT_LAST;

    return (*len <= NGX_APIKEYS_SNAPSHOT_MAX_TEXT) ? NGX_OK : NGX_DECLINED;
}


static u_char *
ngx_apikeys_snapshot_format_put_32(u_char *p, uint32_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < 4; i++) {
        *p++ = (u_char) (n >> 8 * i);
    }

    return p;
}


static u_char *
ngx_apikeys_snapshot_format_put_64(u_char *p, uint64_t n)
{
    p = ngx_apikeys_snapshot_format_put_32(p, (uint32_t) n);

    return ngx_apikeys_snapshot_format_put_32(p, (uint32_t) (n >> 32));
}


static uint32_t
ngx_apikeys_snapshot_format_32(const u_char *p)
{
    return p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16
           | (uint32_t) p[3] << 24;
}


static uint64_t
ngx_apikeys_snapshot_format_64(const u_char *p)
{
    return ngx_apikeys_snapshot_format_32(p)
           | (uint64_t) ngx_apikeys_snapshot_format_32(p + 4) << 32;
}


u_char *
ngx_apikeys_snapshot_format_reserve(ngx_apikeys_snapshot_text_t *text,
    size_t n)
{
    u_char  *data;
    size_t   size;

    if (text->size - text->len >= n) {
        return text->data + text->len;
    }

    size = ngx_max(2 * text->size, NGX_APIKEYS_SNAPSHOT_TEXT_SIZE);
    size = ngx_max(size, text->len + n);

    data = ngx_alloc(size, text->log);
    if (data == NULL) {
        return NULL;
    }

    if (text->data) {
        ngx_memcpy(data, text->data, text->len);
        ngx_explicit_memzero(text->data, text->size);
        ngx_free(text->data);
    }

    text->data = data;
    text->size = size;

    return data + text->len;
}


void
ngx_apikeys_snapshot_format_free(ngx_apikeys_snapshot_text_t *text)
{
    if (text->data) {
        ngx_explicit_memzero(text->data, text->size);
        ngx_free(text->data);
    }

    text->data = NULL;
    text->len = 0;
    text->size = 0;
}


ngx_int_t
ngx_apikeys_snapshot_format_put_meta(ngx_apikeys_snapshot_text_t *text,
    const ngx_apikeys_snapshot_meta_t *meta)
{
    u_char  *p;
    size_t   len;

    len = NGX_APIKEYS_SNAPSHOT_META_LEN + meta->database_id.len
          + meta->pg_snapshot.len;

    p = ngx_apikeys_snapshot_format_reserve(text, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->len += len;

    p = ngx_cpymem(p, meta->fingerprint, sizeof(meta->fingerprint));
    p = ngx_cpymem(p, meta->boot, sizeof(meta->boot));
    p = ngx_apikeys_snapshot_format_put_64(p, meta->fresh);
    p = ngx_apikeys_snapshot_format_put_64(p, meta->time);
    p = ngx_apikeys_snapshot_format_put_32(p, (uint32_t) meta->database_id.len);
    p = ngx_apikeys_snapshot_format_put_32(p, (uint32_t) meta->pg_snapshot.len);
    p = ngx_cpymem(p, meta->database_id.data, meta->database_id.len);

    ngx_memcpy(p, meta->pg_snapshot.data, meta->pg_snapshot.len);

    return NGX_OK;
}


ngx_int_t
ngx_apikeys_snapshot_format_put(ngx_apikeys_snapshot_text_t *text,
    const ngx_apikeys_store_object_t *object)
{
    u_char  *p;

    if (object->kind == NGX_APIKEYS_STORE_KEY) {
        return ngx_apikeys_snapshot_format_put_key(text, &object->u.key);
    }

    p = ngx_apikeys_snapshot_format_reserve(text,
                                     1 + 2 * NGX_APIKEYS_OBJECTID_LEN + 8 + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    *p++ = (u_char) object->kind;

    if (object->kind == NGX_APIKEYS_STORE_ORG) {
        p = ngx_cpymem(p, &object->u.org.id, NGX_APIKEYS_OBJECTID_LEN);
        p = ngx_apikeys_snapshot_format_put_64(p, object->u.org.version);
        *p++ = object->u.org.access_list_required ? 1 : 0;

    } else {
        p = ngx_cpymem(p, &object->u.project.id, NGX_APIKEYS_OBJECTID_LEN);
        p = ngx_cpymem(p, &object->u.project.org, NGX_APIKEYS_OBJECTID_LEN);
        p = ngx_apikeys_snapshot_format_put_64(p, object->u.project.version);
    }

    text->len = p - text->data;

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_snapshot_format_put_key(ngx_apikeys_snapshot_text_t *text,
    const ngx_apikeys_store_key_t *key)
{
    u_char      *p;
    ngx_uint_t   i, older;

    older = !ngx_apikeys_objectid_zero(&key->older_id);

    p = ngx_apikeys_snapshot_format_reserve(text,
                            NGX_APIKEYS_SNAPSHOT_KEY_LEN
                            + older * NGX_APIKEYS_SNAPSHOT_OLDER_LEN
                            + key->ngrants * NGX_APIKEYS_SNAPSHOT_GRANT_LEN
                            + key->nentries * NGX_APIKEYS_SNAPSHOT_ENTRY_LEN
                            + (key->ends ? key->nentries
                                           * NGX_APIKEYS_SNAPSHOT_END_LEN : 0));
    if (p == NULL) {
        return NGX_ERROR;
    }

    *p++ = NGX_APIKEYS_STORE_KEY;
    p = ngx_cpymem(p, &key->id, NGX_APIKEYS_OBJECTID_LEN);
    p = ngx_cpymem(p, &key->org, NGX_APIKEYS_OBJECTID_LEN);
    p = ngx_cpymem(p, key->public_key, NGX_APIKEYS_PUBLIC_KEY_LEN);
    p = ngx_apikeys_snapshot_format_put_64(p, key->version);
    p = ngx_apikeys_snapshot_format_put_32(p, key->roles);
    p = ngx_apikeys_snapshot_format_put_32(p, key->expires);
    *p++ = (u_char) ((key->unreadable ? NGX_APIKEYS_SNAPSHOT_UNREADABLE : 0)
                     | (key->stub ? NGX_APIKEYS_SNAPSHOT_STUB : 0)
                     | (key->disabled ? NGX_APIKEYS_SNAPSHOT_DISABLED : 0)
                     | (older ? NGX_APIKEYS_SNAPSHOT_HAS_OLDER : 0)
                     | (key->ends ? NGX_APIKEYS_SNAPSHOT_HAS_ENDS : 0));
    p = ngx_cpymem(p, key->line, NGX_APIKEYS_SEAL_LINE_LEN);
    p = ngx_cpymem(p, &key->secret, sizeof(ngx_apikeys_secret_t));
    p = ngx_cpymem(p, &key->secret_id, NGX_APIKEYS_OBJECTID_LEN);
    p = ngx_apikeys_snapshot_format_put_32(p, key->secret_expires);
    p = ngx_apikeys_snapshot_format_put_32(p, (uint32_t) key->ngrants);
    p = ngx_apikeys_snapshot_format_put_32(p, (uint32_t) key->nentries);

    if (older) {
        p = ngx_cpymem(p, &key->older_id, NGX_APIKEYS_OBJECTID_LEN);
        p = ngx_apikeys_snapshot_format_put_32(p, key->older_expires);
        p = ngx_cpymem(p, &key->older, sizeof(ngx_apikeys_secret_t));
    }

    for (i = 0; i < key->ngrants; i++) {
        p = ngx_cpymem(p, &key->grants[i].id, NGX_APIKEYS_OBJECTID_LEN);
        p = ngx_apikeys_snapshot_format_put_32(p, key->grants[i].roles);
    }

    for (i = 0; i < key->nentries; i++) {
        *p++ = key->entries[i].family;
        *p++ = key->entries[i].prefix;
        p = ngx_cpymem(p, key->entries[i].addr, 16);
    }

    for (i = 0; key->ends && i < key->nentries; i++) {
        p = ngx_apikeys_snapshot_format_put_32(p, key->ends[i]);
    }

    text->len = p - text->data;

    return NGX_OK;
}


static u_char *
ngx_apikeys_snapshot_format_read(ngx_str_t *text, size_t n)
{
    u_char  *p;

    if (text->len < n) {
        return NULL;
    }

    p = text->data;

    text->data += n;
    text->len -= n;

    return p;
}


ngx_int_t
ngx_apikeys_snapshot_format_get_meta(ngx_str_t *text,
    ngx_apikeys_snapshot_meta_t *meta)
{
    u_char  *p;

    p = ngx_apikeys_snapshot_format_read(text, NGX_APIKEYS_SNAPSHOT_META_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(meta->fingerprint, p, sizeof(meta->fingerprint));
    p += sizeof(meta->fingerprint);

    ngx_memcpy(meta->boot, p, sizeof(meta->boot));
    p += sizeof(meta->boot);

    meta->fresh = ngx_apikeys_snapshot_format_64(p);
    meta->time = ngx_apikeys_snapshot_format_64(p + 8);
    meta->database_id.len = ngx_apikeys_snapshot_format_32(p + 16);
    meta->pg_snapshot.len = ngx_apikeys_snapshot_format_32(p + 20);

    meta->database_id.data = ngx_apikeys_snapshot_format_read(text,
                                                         meta->database_id.len);
    meta->pg_snapshot.data = ngx_apikeys_snapshot_format_read(text,
                                                         meta->pg_snapshot.len);

    if (meta->database_id.data == NULL || meta->pg_snapshot.data == NULL) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_apikeys_snapshot_format_get(ngx_str_t *text, ngx_pool_t *pool,
    ngx_apikeys_store_object_t *object)
{
    u_char  *p;

    if (text->len == 0) {
        return NGX_DONE;
    }

    ngx_memzero(object, sizeof(ngx_apikeys_store_object_t));

    p = ngx_apikeys_snapshot_format_read(text, 1);
    object->kind = *p;

    switch (object->kind) {

    case NGX_APIKEYS_STORE_KEY:
        return ngx_apikeys_snapshot_format_get_key(text, pool,
                                                   &object->u.key);

    case NGX_APIKEYS_STORE_ORG:
        p = ngx_apikeys_snapshot_format_read(text,
                                            NGX_APIKEYS_OBJECTID_LEN + 8 + 1);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(&object->u.org.id, p, NGX_APIKEYS_OBJECTID_LEN);
        p += NGX_APIKEYS_OBJECTID_LEN;

        object->u.org.version = ngx_apikeys_snapshot_format_64(p);
        object->u.org.access_list_required = p[8];

        return NGX_OK;

    case NGX_APIKEYS_STORE_PROJECT:
        p = ngx_apikeys_snapshot_format_read(text,
                                            2 * NGX_APIKEYS_OBJECTID_LEN + 8);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(&object->u.project.id, p, NGX_APIKEYS_OBJECTID_LEN);
        p += NGX_APIKEYS_OBJECTID_LEN;

        ngx_memcpy(&object->u.project.org, p, NGX_APIKEYS_OBJECTID_LEN);
        p += NGX_APIKEYS_OBJECTID_LEN;

        object->u.project.version = ngx_apikeys_snapshot_format_64(p);

        return NGX_OK;

    default:
        return NGX_ERROR;
    }
}


static ngx_int_t
ngx_apikeys_snapshot_format_get_key(ngx_str_t *text, ngx_pool_t *pool,
    ngx_apikeys_store_key_t *key)
{
    u_char      *p;
    ngx_uint_t   older, ends;

    p = ngx_apikeys_snapshot_format_read(text,
                                         NGX_APIKEYS_SNAPSHOT_KEY_LEN - 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(&key->id, p, NGX_APIKEYS_OBJECTID_LEN);
    p += NGX_APIKEYS_OBJECTID_LEN;

    ngx_memcpy(&key->org, p, NGX_APIKEYS_OBJECTID_LEN);
    p += NGX_APIKEYS_OBJECTID_LEN;

    ngx_memcpy(key->public_key, p, NGX_APIKEYS_PUBLIC_KEY_LEN);
    p += NGX_APIKEYS_PUBLIC_KEY_LEN;

    key->version = ngx_apikeys_snapshot_format_64(p);
    key->roles = ngx_apikeys_snapshot_format_32(p + 8);
    key->expires = ngx_apikeys_snapshot_format_32(p + 12);
    key->unreadable = p[16] & NGX_APIKEYS_SNAPSHOT_UNREADABLE;
    key->stub = p[16] & NGX_APIKEYS_SNAPSHOT_STUB;
    key->disabled = (p[16] & NGX_APIKEYS_SNAPSHOT_DISABLED) ? 1 : 0;
    older = p[16] & NGX_APIKEYS_SNAPSHOT_HAS_OLDER;
    ends = p[16] & NGX_APIKEYS_SNAPSHOT_HAS_ENDS;
    p += 17;

    ngx_memcpy(key->line, p, NGX_APIKEYS_SEAL_LINE_LEN);
    p += NGX_APIKEYS_SEAL_LINE_LEN;

    ngx_memcpy(&key->secret, p, sizeof(ngx_apikeys_secret_t));
    p += sizeof(ngx_apikeys_secret_t);

    ngx_memcpy(&key->secret_id, p, NGX_APIKEYS_OBJECTID_LEN);
    p += NGX_APIKEYS_OBJECTID_LEN;

    key->secret_expires = ngx_apikeys_snapshot_format_32(p);
    key->ngrants = ngx_apikeys_snapshot_format_32(p + 4);
    key->nentries = ngx_apikeys_snapshot_format_32(p + 8);

    if (older
        && ngx_apikeys_snapshot_format_get_older(text, key) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_apikeys_snapshot_format_get_grants(text, pool, key) != NGX_OK
        || ngx_apikeys_snapshot_format_get_entries(text, pool, key) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ends ? ngx_apikeys_snapshot_format_get_ends(text, pool, key)
                : NGX_OK;
}


static ngx_int_t
ngx_apikeys_snapshot_format_get_ends(ngx_str_t *text, ngx_pool_t *pool,
    ngx_apikeys_store_key_t *key)
{
    u_char      *p;
    ngx_uint_t   i;

    p = ngx_apikeys_snapshot_format_read(text, key->nentries
                                               * NGX_APIKEYS_SNAPSHOT_END_LEN);
    if (p == NULL || key->nentries == 0) {
        return NGX_ERROR;
    }

    key->ends = ngx_palloc(pool, key->nentries * sizeof(uint32_t));
    if (key->ends == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < key->nentries; i++) {
        key->ends[i] = ngx_apikeys_snapshot_format_32(p);
        p += NGX_APIKEYS_SNAPSHOT_END_LEN;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_snapshot_format_get_older(ngx_str_t *text,
    ngx_apikeys_store_key_t *key)
{
    u_char  *p;

    p = ngx_apikeys_snapshot_format_read(text, NGX_APIKEYS_SNAPSHOT_OLDER_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(&key->older_id, p, NGX_APIKEYS_OBJECTID_LEN);
    p += NGX_APIKEYS_OBJECTID_LEN;

    key->older_expires = ngx_apikeys_snapshot_format_32(p);
    p += 4;

    ngx_memcpy(&key->older, p, sizeof(ngx_apikeys_secret_t));

    return ngx_apikeys_objectid_zero(&key->older_id) ? NGX_ERROR : NGX_OK;
}


/* must be ascending, as the store uses binary search */

static ngx_int_t
ngx_apikeys_snapshot_format_get_grants(ngx_str_t *text, ngx_pool_t *pool,
    ngx_apikeys_store_key_t *key)
{
    u_char                     *p;
    ngx_uint_t                  i;
    ngx_apikeys_store_grant_t  *grant;

    if (key->ngrants == 0) {
        return NGX_OK;
    }

    p = ngx_apikeys_snapshot_format_read(text, key->ngrants
                                             * NGX_APIKEYS_SNAPSHOT_GRANT_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    grant = ngx_palloc(pool, key->ngrants * sizeof(ngx_apikeys_store_grant_t));
    if (grant == NULL) {
        return NGX_ERROR;
    }

    key->grants = grant;

    for (i = 0; i < key->ngrants; i++) {
        ngx_memcpy(&grant[i].id, p, NGX_APIKEYS_OBJECTID_LEN);
        p += NGX_APIKEYS_OBJECTID_LEN;

        grant[i].roles = ngx_apikeys_snapshot_format_32(p);
        p += 4;

        if (i && ngx_memcmp(&grant[i - 1].id, &grant[i].id,
                            NGX_APIKEYS_OBJECTID_LEN)
                 >= 0)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_snapshot_format_get_entries(ngx_str_t *text, ngx_pool_t *pool,
    ngx_apikeys_store_key_t *key)
{
    u_char              *p;
    ngx_uint_t           i;
    ngx_apikeys_cidr_t  *entry;

    if (key->nentries == 0) {
        return NGX_OK;
    }

    p = ngx_apikeys_snapshot_format_read(text, key->nentries
                                             * NGX_APIKEYS_SNAPSHOT_ENTRY_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    entry = ngx_palloc(pool, key->nentries * sizeof(ngx_apikeys_cidr_t));
    if (entry == NULL) {
        return NGX_ERROR;
    }

    key->entries = entry;

    for (i = 0; i < key->nentries; i++) {
        entry[i].family = p[0];
        entry[i].prefix = p[1];
        ngx_memcpy(entry[i].addr, p + 2, 16);
        p += NGX_APIKEYS_SNAPSHOT_ENTRY_LEN;

        if ((entry[i].family != 4 && entry[i].family != 6)
            || entry[i].prefix > (entry[i].family == 4 ? 32 : 128)
            || (i && ngx_apikeys_cidr_compare(&entry[i - 1], &entry[i]) >= 0))
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
