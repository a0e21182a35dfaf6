
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The ring of master keys.
 *
 * The master reads the file, since only root may, and workers inherit the
 * ring by fork().  The ring lies in pages of its own, which are kept out of
 * core files and wiped when the configuration goes; nothing that is made of
 * a master key stays elsewhere: ciphers are keyed for one call and wiped
 * after it, which costs a microsecond where a credential is opened once for
 * each time it is loaded.
 *
 * One master key gives independent keys by HKDF, one for each purpose, so
 * that data made for one purpose is invalid for another.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_seal.h>
#include <ngx_apikeys_secret_file.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>


#define NGX_APIKEYS_SEAL_IV_LEN        12
#define NGX_APIKEYS_SEAL_TAG_LEN       16

/* 32 bytes in base64: 43 digits and one "=" */
#define NGX_APIKEYS_SEAL_TEXT_LEN      44

/* a file of sixteen lines with comments is far below it */
#define NGX_APIKEYS_SEAL_FILE_SIZE     16384

/* with a new key nothing that was sealed before can be opened */
#define NGX_APIKEYS_SEAL_ADVICE                                              \
    "from another node or the backup; only for a new installation make "     \
    "one with \"openssl rand -base64 32\""


typedef struct {
    u_char                     master[NGX_APIKEYS_SEAL_KEY_LEN];
    u_char                     seal[NGX_APIKEYS_SEAL_KEY_LEN];
    u_char                     line[NGX_APIKEYS_SEAL_LINE_LEN];
} ngx_apikeys_seal_key_t;


/* the secret pages */
typedef struct {
    ngx_apikeys_seal_key_t     keys[NGX_APIKEYS_SEAL_MAX_KEYS];

    /* only while the file is read; what base64 decodes may be too long */
    u_char                     decoded[NGX_APIKEYS_SEAL_TEXT_LEN];
    u_char                     file[NGX_APIKEYS_SEAL_FILE_SIZE];
} ngx_apikeys_seal_ring_t;


struct ngx_apikeys_seal_s {
    ngx_apikeys_seal_ring_t   *ring;
    ngx_uint_t                 nkeys;
    EVP_KDF                   *kdf;
    EVP_CIPHER                *cipher;
};


typedef struct {
    void                      *pages;
    size_t                     size;
} ngx_apikeys_seal_pages_t;


/* sealed: these, in this order */
typedef struct {
    u_char                     line[NGX_APIKEYS_SEAL_LINE_LEN];
    u_char                     iv[NGX_APIKEYS_SEAL_IV_LEN];
    u_char                     text[sizeof(ngx_apikeys_secret_t)];
    u_char                     tag[NGX_APIKEYS_SEAL_TAG_LEN];
} ngx_apikeys_seal_box_t;


static ngx_int_t ngx_apikeys_seal_encrypt(EVP_CIPHER_CTX *ctx,
    ngx_apikeys_seal_box_t *box, const ngx_apikeys_secret_t *secret,
    const ngx_str_t *context);
static ngx_int_t ngx_apikeys_seal_decrypt(ngx_apikeys_seal_t *seal,
    ngx_apikeys_seal_key_t *key, ngx_apikeys_secret_t *secret,
    const ngx_apikeys_seal_box_t *box, const ngx_str_t *context);
static ngx_int_t ngx_apikeys_seal_init(ngx_conf_t *cf,
    ngx_apikeys_seal_t *seal);
static ngx_int_t ngx_apikeys_seal_read_file(ngx_conf_t *cf,
    ngx_apikeys_seal_t *seal, ngx_str_t *file);
static ngx_int_t ngx_apikeys_seal_parse(ngx_conf_t *cf,
    ngx_apikeys_seal_t *seal, ngx_str_t *file, size_t size);
static ngx_int_t ngx_apikeys_seal_parse_line(ngx_conf_t *cf,
    ngx_apikeys_seal_t *seal, ngx_str_t *file, ngx_uint_t n,
    ngx_str_t *line);
static ngx_int_t ngx_apikeys_seal_derive_keys(ngx_conf_t *cf,
    ngx_apikeys_seal_t *seal);
static void ngx_apikeys_seal_cleanup(void *data);
static void ngx_apikeys_seal_pages_cleanup(void *data);


ngx_int_t
ngx_apikeys_seal_hash(ngx_apikeys_secret_t *secret,
    const ngx_str_t *public_key, const ngx_str_t *realm,
    const ngx_str_t *private_key)
{
    ngx_apikeys_digest_ha1_md5(secret->ha1s.md5, public_key, realm,
                               private_key);

    if (ngx_apikeys_digest_ha1_sha256(secret->ha1s.sha256, public_key, realm,
                                      private_key)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_apikeys_digest_plain(secret->plain, public_key, private_key);
}


ngx_int_t
ngx_apikeys_seal_context(ngx_pool_t *pool, ngx_str_t *context,
    const ngx_str_t *org, const ngx_str_t *id, const ngx_str_t *public_key,
    const ngx_str_t *secret_id, const ngx_str_t *realm)
{
    u_char  *p;

    context->len = sizeof("::::") - 1 + org->len + id->len + public_key->len
                   + secret_id->len + realm->len;

    p = ngx_pnalloc(pool, context->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    context->data = p;

    /* only the last part varies in length */

    (void) ngx_sprintf(p, "%V:%V:%V:%V:%V", org, id, public_key, secret_id,
                       realm);

    return NGX_OK;
}


ngx_int_t
ngx_apikeys_seal_secret(ngx_apikeys_seal_t *seal, ngx_uint_t n,
    u_char sealed[NGX_APIKEYS_SEALED_LEN], const ngx_apikeys_secret_t *secret,
    const ngx_str_t *context)
{
    ngx_int_t                rc;
    EVP_CIPHER_CTX          *ctx;
    ngx_apikeys_seal_box_t   box;
    ngx_apikeys_seal_key_t  *key;

    key = &seal->ring->keys[n];

    ngx_memcpy(box.line, key->line, NGX_APIKEYS_SEAL_LINE_LEN);

    ctx = EVP_CIPHER_CTX_new();

    if (ctx == NULL
        || RAND_bytes(box.iv, NGX_APIKEYS_SEAL_IV_LEN) != 1
        || EVP_EncryptInit_ex2(ctx, seal->cipher, key->seal, box.iv, NULL)
           != 1)
    {
        rc = NGX_ERROR;

    } else {
        rc = ngx_apikeys_seal_encrypt(ctx, &box, secret, context);
    }

    EVP_CIPHER_CTX_free(ctx);

    if (rc != NGX_OK) {
        ERR_clear_error();
        return NGX_ERROR;
    }

    ngx_memcpy(sealed, &box, NGX_APIKEYS_SEALED_LEN);

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_seal_encrypt(EVP_CIPHER_CTX *ctx, ngx_apikeys_seal_box_t *box,
    const ngx_apikeys_secret_t *secret, const ngx_str_t *context)
{
    int  len;

    if (EVP_EncryptUpdate(ctx, NULL, &len, context->data,
                          (int) context->len)
        != 1)
    {
        return NGX_ERROR;
    }

    if (EVP_EncryptUpdate(ctx, box->text, &len, (u_char *) secret,
                          sizeof(ngx_apikeys_secret_t))
        != 1
        || len != sizeof(ngx_apikeys_secret_t))
    {
        return NGX_ERROR;
    }

    if (EVP_EncryptFinal_ex(ctx, box->tag, &len) != 1) {
        return NGX_ERROR;
    }

    if (EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG,
                            NGX_APIKEYS_SEAL_TAG_LEN, box->tag)
        != 1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_apikeys_seal_open(ngx_apikeys_seal_t *seal, ngx_apikeys_secret_t *secret,
    const ngx_str_t *sealed, const ngx_str_t *context)
{
    ngx_int_t                rc;
    ngx_uint_t               i;
    ngx_apikeys_seal_box_t   box;
    ngx_apikeys_seal_key_t  *key;

    if (sealed->len != NGX_APIKEYS_SEALED_LEN) {
        return NGX_DECLINED;
    }

    ngx_memcpy(&box, sealed->data, NGX_APIKEYS_SEALED_LEN);

    for (i = 0; i < seal->nkeys; i++) {
        key = &seal->ring->keys[i];

        if (ngx_memcmp(box.line, key->line, NGX_APIKEYS_SEAL_LINE_LEN) != 0) {
            continue;
        }

        rc = ngx_apikeys_seal_decrypt(seal, key, secret, &box, context);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_apikeys_seal_decrypt(ngx_apikeys_seal_t *seal,
    ngx_apikeys_seal_key_t *key, ngx_apikeys_secret_t *secret,
    const ngx_apikeys_seal_box_t *box, const ngx_str_t *context)
{
    int                    len;
    u_char                 rest[NGX_APIKEYS_SEAL_TAG_LEN];
    ngx_int_t              rc;
    EVP_CIPHER_CTX        *ctx;
    ngx_apikeys_secret_t   text;

    rc = NGX_ERROR;

    ctx = EVP_CIPHER_CTX_new();
    if (ctx == NULL) {
        goto done;
    }

    if (EVP_DecryptInit_ex2(ctx, seal->cipher, key->seal, box->iv, NULL)
        != 1)
    {
        goto done;
    }

    if (EVP_DecryptUpdate(ctx, NULL, &len, context->data,
                          (int) context->len)
        != 1)
    {
        goto done;
    }

    if (EVP_DecryptUpdate(ctx, (u_char *) &text, &len, box->text,
                          sizeof(ngx_apikeys_secret_t))
        != 1
        || len != sizeof(ngx_apikeys_secret_t))
    {
        goto done;
    }

    if (EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG,
                            NGX_APIKEYS_SEAL_TAG_LEN, (void *) box->tag)
        != 1)
    {
        goto done;
    }

    rc = NGX_DECLINED;

    if (EVP_DecryptFinal_ex(ctx, rest, &len) == 1) {
        *secret = text;
        rc = NGX_OK;
    }

done:

    /* what was decrypted is not to be used, nor kept, before the tag fits */

    OPENSSL_cleanse(&text, sizeof(ngx_apikeys_secret_t));
    EVP_CIPHER_CTX_free(ctx);

    if (rc != NGX_OK) {
        ERR_clear_error();
    }

    return rc;
}


ngx_int_t
ngx_apikeys_seal_derive(ngx_apikeys_seal_t *seal, ngx_uint_t n,
    const char *purpose, u_char *out, size_t len)
{
    int           rc;
    EVP_KDF_CTX  *ctx;
    OSSL_PARAM    params[5];

    if (n >= seal->nkeys) {
        return NGX_ERROR;
    }

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST,
                                                 "SHA256", 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY,
                                                  seal->ring->keys[n].master,
                                                  NGX_APIKEYS_SEAL_KEY_LEN);
    params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT,
                                                  "ngx_http_apikeys_module",
                                                  23);
    params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO,
                                                  (char *) purpose,
                                                  ngx_strlen(purpose));
    params[4] = OSSL_PARAM_construct_end();

    ctx = EVP_KDF_CTX_new(seal->kdf);
    if (ctx == NULL) {
        ERR_clear_error();
        return NGX_ERROR;
    }

    rc = EVP_KDF_derive(ctx, out, len, params);

    EVP_KDF_CTX_free(ctx);

    if (rc != 1) {
        ERR_clear_error();
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_apikeys_seal_nkeys(ngx_apikeys_seal_t *seal)
{
    return seal->nkeys;
}


const u_char *
ngx_apikeys_seal_line(ngx_apikeys_seal_t *seal, ngx_uint_t n)
{
    return seal->ring->keys[n].line;
}


ngx_int_t
ngx_apikeys_seal_find(ngx_apikeys_seal_t *seal, const u_char *line)
{
    ngx_uint_t  i;

    for (i = 0; i < seal->nkeys; i++) {

        if (ngx_memcmp(seal->ring->keys[i].line, line,
                       NGX_APIKEYS_SEAL_LINE_LEN)
            == 0)
        {
            return i;
        }
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_apikeys_seal_unhex(u_char *dst, size_t len, const ngx_str_t *text)
{
    size_t     i;
    ngx_int_t  n;

    if (text->len != 2 * len) {
        return NGX_DECLINED;
    }

    for (i = 0; i < len; i++) {
        n = ngx_hextoi(&text->data[2 * i], 2);

        if (n == NGX_ERROR) {
            return NGX_DECLINED;
        }

        dst[i] = (u_char) n;
    }

    return NGX_OK;
}


ngx_apikeys_seal_t *
ngx_apikeys_seal_create(ngx_conf_t *cf, ngx_str_t *file)
{
    ngx_apikeys_seal_t  *seal;

    seal = ngx_pcalloc(cf->pool, sizeof(ngx_apikeys_seal_t));
    if (seal == NULL) {
        return NULL;
    }

    if (ngx_apikeys_seal_init(cf, seal) != NGX_OK) {
        return NULL;
    }

    if (ngx_apikeys_seal_read_file(cf, seal, file) != NGX_OK) {
        return NULL;
    }

    if (ngx_apikeys_seal_derive_keys(cf, seal) != NGX_OK) {
        return NULL;
    }

    return seal;
}


static ngx_int_t
ngx_apikeys_seal_init(ngx_conf_t *cf, ngx_apikeys_seal_t *seal)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_apikeys_seal_cleanup;
    cln->data = seal;

    seal->ring = ngx_apikeys_seal_pages(cf, sizeof(ngx_apikeys_seal_ring_t));
    if (seal->ring == NULL) {
        return NGX_ERROR;
    }

    seal->kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    seal->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);

    if (seal->kdf == NULL || seal->cipher == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "OpenSSL provides no HKDF or no AES-256-GCM, "
                           "enable its default provider");
        ERR_clear_error();
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_seal_read_file(ngx_conf_t *cf, ngx_apikeys_seal_t *seal,
    ngx_str_t *file)
{
    ssize_t    n;
    ngx_int_t  rc;

    n = ngx_apikeys_secret_file_read(cf, "master key file",
                                     "copy it " NGX_APIKEYS_SEAL_ADVICE, file,
                                     seal->ring->file,
                                     NGX_APIKEYS_SEAL_FILE_SIZE);

    rc = (n == NGX_ERROR) ? NGX_ERROR
                          : ngx_apikeys_seal_parse(cf, seal, file, n);

    OPENSSL_cleanse(seal->ring->file, NGX_APIKEYS_SEAL_FILE_SIZE);
    OPENSSL_cleanse(seal->ring->decoded, NGX_APIKEYS_SEAL_TEXT_LEN);

    return rc;
}


static ngx_int_t
ngx_apikeys_seal_parse(ngx_conf_t *cf, ngx_apikeys_seal_t *seal,
    ngx_str_t *file, size_t size)
{
    u_char      *p, *last, *eol;
    ngx_str_t    line;
    ngx_uint_t   n;

    p = seal->ring->file;
    last = p + size;

    for (n = 1; p < last; n++) {

        eol = ngx_strlchr(p, last, LF);
        if (eol == NULL) {
            eol = last;
        }

        line.data = p;
        line.len = eol - p;

        while (line.len && (line.data[line.len - 1] == ' '
                            || line.data[line.len - 1] == '\t'
                            || line.data[line.len - 1] == CR))
        {
            line.len--;
        }

        if (line.len && line.data[0] != '#'
            && ngx_apikeys_seal_parse_line(cf, seal, file, n, &line)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        p = eol + 1;
    }

    if (seal->nkeys == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "master key file \"%V\" contains no key: restore "
                           "it " NGX_APIKEYS_SEAL_ADVICE, file);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* messages name the line and never show it */

static ngx_int_t
ngx_apikeys_seal_parse_line(ngx_conf_t *cf, ngx_apikeys_seal_t *seal,
    ngx_str_t *file, ngx_uint_t n, ngx_str_t *line)
{
    u_char                  *master;
    ngx_str_t                decoded;
    ngx_uint_t               i;
    ngx_apikeys_seal_key_t  *keys;

    keys = seal->ring->keys;

    if (seal->nkeys == NGX_APIKEYS_SEAL_MAX_KEYS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "master key file \"%V\" has more than %d keys: "
                           "remove lines that no API key uses any more, see "
                           "\"Master key\" in docs/operations.md", file,
                           NGX_APIKEYS_SEAL_MAX_KEYS);
        return NGX_ERROR;
    }

    decoded.data = seal->ring->decoded;

    if (line->len != NGX_APIKEYS_SEAL_TEXT_LEN
        || ngx_decode_base64(&decoded, line) != NGX_OK
        || decoded.len != NGX_APIKEYS_SEAL_KEY_LEN)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "line %ui of master key file \"%V\" is not 32 "
                           "bytes in base64: restore it "
                           NGX_APIKEYS_SEAL_ADVICE, n, file);
        return NGX_ERROR;
    }

    master = keys[seal->nkeys].master;
    ngx_memcpy(master, decoded.data, NGX_APIKEYS_SEAL_KEY_LEN);

    for (i = 0; i < seal->nkeys; i++) {

        if (CRYPTO_memcmp(keys[i].master, master, NGX_APIKEYS_SEAL_KEY_LEN)
            == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "line %ui of master key file \"%V\" repeats "
                               "the key of an earlier line: remove line %ui",
                               n, file, n);
            return NGX_ERROR;
        }
    }

    seal->nkeys++;

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_seal_derive_keys(ngx_conf_t *cf, ngx_apikeys_seal_t *seal)
{
    ngx_uint_t               i;
    ngx_apikeys_seal_key_t  *key;

    for (i = 0; i < seal->nkeys; i++) {
        key = &seal->ring->keys[i];

        if (ngx_apikeys_seal_derive(seal, i, "seal", key->seal,
                                    NGX_APIKEYS_SEAL_KEY_LEN)
            != NGX_OK
            || ngx_apikeys_seal_derive(seal, i, "id", key->line,
                                       NGX_APIKEYS_SEAL_LINE_LEN)
               != NGX_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "key derivation (HKDF) from a master key "
                               "failed in OpenSSL, check its configuration");
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_apikeys_seal_cleanup(void *data)
{
    ngx_apikeys_seal_t *seal = data;

    EVP_CIPHER_free(seal->cipher);
    EVP_KDF_free(seal->kdf);
}


void *
ngx_apikeys_seal_pages(ngx_conf_t *cf, size_t size)
{
    void                      *pages;
    ngx_pool_cleanup_t        *cln;
    ngx_apikeys_seal_pages_t  *sp;

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(ngx_apikeys_seal_pages_t));
    if (cln == NULL) {
        return NULL;
    }

    size = ngx_align(size, ngx_pagesize);

    pages = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANON, -1, 0);

    if (pages == MAP_FAILED) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "no memory for secrets: mmap(%uz) failed", size);
        return NULL;
    }

    sp = cln->data;
    sp->pages = pages;
    sp->size = size;

    cln->handler = ngx_apikeys_seal_pages_cleanup;

#ifdef MADV_DONTDUMP

    if (madvise(pages, size, MADV_DONTDUMP) == -1) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           "secrets cannot be excluded from core dumps, "
                           "disable them: madvise(MADV_DONTDUMP) failed");
    }

#endif

    return pages;
}


static void
ngx_apikeys_seal_pages_cleanup(void *data)
{
    ngx_apikeys_seal_pages_t *sp = data;

    OPENSSL_cleanse(sp->pages, sp->size);

    if (munmap(sp->pages, sp->size) == -1) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      "apikeys: munmap(%p, %uz) of secrets failed",
                      sp->pages, sp->size);
    }
}
