
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Nonces: 8 bytes of id (milliseconds and a counter of the zone) and 16 of
 * tag, which is the id encrypted as one AES block under a key that only
 * nodes with the same master keys have.  A block cipher is all that input of
 * one fixed length needs to be authenticated, at a tenth of an HMAC's cost.
 *
 * Ciphers are keyed once per process and stay keyed: what such a key could
 * be abused for, if it got into a core file, is to make nonces.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_nonce.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>


#define NGX_APIKEYS_NONCE_ID_LEN       8
#define NGX_APIKEYS_NONCE_TAG_LEN      16
#define NGX_APIKEYS_NONCE_KEY_LEN      16

#define NGX_APIKEYS_NONCE_KNOWN_BITS   8

/* a byte in each byte of a word */
#define ngx_apikeys_nonce_each(byte)   ((uint64_t) 0x0101010101010101 * (byte))


/* a nonce in binary */
typedef struct {
    u_char                       id[NGX_APIKEYS_NONCE_ID_LEN];
    u_char                       tag[NGX_APIKEYS_NONCE_TAG_LEN];
} ngx_apikeys_nonce_bytes_t;


/*
 * A nonce that this process has verified before.  kept.prefix contains the
 * HA1 of its last user, in hex, so it is kept out of core files.
 */
typedef struct {
    uint64_t                     id;        /* 0: none */
    u_char                       text[NGX_APIKEYS_NONCE_LEN];
    ngx_apikeys_digest_kept_t    kept;
} ngx_apikeys_nonce_known_t;


struct ngx_apikeys_nonce_s {
    ngx_apikeys_seal_t          *seal;
    ngx_apikeys_nonce_table_t    table;
    ngx_uint_t                   nciphers;
    EVP_CIPHER_CTX              *ciphers[NGX_APIKEYS_SEAL_MAX_KEYS];
    ngx_apikeys_nonce_known_t   *known;
};


static void ngx_apikeys_nonce_write(u_char *text,
    const ngx_apikeys_nonce_bytes_t *bytes);
static ngx_int_t ngx_apikeys_nonce_read(ngx_apikeys_nonce_bytes_t *bytes,
    const u_char *text);
static uint64_t ngx_apikeys_nonce_now(void);
static ngx_int_t ngx_apikeys_nonce_tag(EVP_CIPHER_CTX *cipher, u_char *tag,
    const u_char *id);
static uint64_t ngx_apikeys_nonce_id(const u_char *p);
static ngx_int_t ngx_apikeys_nonce_decode(ngx_apikeys_nonce_t *n,
    const ngx_str_t *text, uint64_t *id);
static ngx_int_t ngx_apikeys_nonce_alive(ngx_apikeys_nonce_table_t *t,
    uint64_t id);
static ngx_int_t ngx_apikeys_nonce_init_cipher(ngx_apikeys_nonce_t *n,
    ngx_uint_t i, EVP_CIPHER *aes);


ngx_int_t
ngx_apikeys_nonce_make(ngx_apikeys_nonce_t *n, u_char *text)
{
    uint32_t                   high, low;
    uint64_t                   id;
    ngx_apikeys_nonce_bytes_t  bytes;

    id = ngx_apikeys_nonce_table_next(&n->table, ngx_apikeys_nonce_now());

    high = htonl((uint32_t) (id >> 32));
    low = htonl((uint32_t) id);

    ngx_memcpy(bytes.id, &high, sizeof(uint32_t));
    ngx_memcpy(bytes.id + sizeof(uint32_t), &low, sizeof(uint32_t));

    if (ngx_apikeys_nonce_tag(n->ciphers[0], bytes.tag, bytes.id) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_apikeys_nonce_write(text, &bytes);

    return NGX_OK;
}


/*
 * The digits of base64, but of the bytes n, n + 8 and n + 16 together: all
 * eight at once.  The loop has no table, so compilers make vectors of it.
 * Together they take a fifth of the instructions of ngx_encode_base64().
 */

static void
ngx_apikeys_nonce_write(u_char *text, const ngx_apikeys_nonce_bytes_t *bytes)
{
    u_char      digits[NGX_APIKEYS_NONCE_LEN];
    uint64_t    part[3], four[4];
    ngx_uint_t  i;

    ngx_memcpy(part, bytes, sizeof(part));

    four[0] = (part[0] >> 2) & ngx_apikeys_nonce_each(0x3f);
    four[1] = ((part[0] << 4) & ngx_apikeys_nonce_each(0x30))
              | ((part[1] >> 4) & ngx_apikeys_nonce_each(0x0f));
    four[2] = ((part[1] << 2) & ngx_apikeys_nonce_each(0x3c))
              | ((part[2] >> 6) & ngx_apikeys_nonce_each(0x03));
    four[3] = part[2] & ngx_apikeys_nonce_each(0x3f);

    ngx_memcpy(digits, four, sizeof(digits));

    for (i = 0; i < NGX_APIKEYS_NONCE_LEN; i++) {
        text[i] = (u_char) (digits[i] + 'A'
                            + (-(digits[i] > 25) & ('a' - 'Z' - 1))
                            - (-(digits[i] > 51) & ('z' + 1 - '0'))
                            - (-(digits[i] > 61) & ('9' + 1 - '+'))
                            + (-(digits[i] > 62) & ('/' - '+' - 1)));
    }
}


/* NGX_DECLINED: a character that is not of base64, such as "=" */

static ngx_int_t
ngx_apikeys_nonce_read(ngx_apikeys_nonce_bytes_t *bytes, const u_char *text)
{
    u_char      c, known, unknown, digits[NGX_APIKEYS_NONCE_LEN];
    u_char      upper, lower, number, plus, slash;
    uint64_t    part[3], four[4];
    ngx_uint_t  i;

    unknown = 0;

    for (i = 0; i < NGX_APIKEYS_NONCE_LEN; i++) {
        c = text[i];

        upper = (u_char) (c - 'A') < 26;
        lower = (u_char) (c - 'a') < 26;
        number = (u_char) (c - '0') < 10;
        plus = (c == '+');
        slash = (c == '/');

        known = upper | lower | number | plus | slash;
        unknown |= !known;

        digits[i] = (-upper & (c - 'A'))
                    | (-lower & (c - 'a' + 26))
                    | (-number & (c - '0' + 52))
                    | (-plus & 62)
                    | (-slash & 63);
    }

    ngx_memcpy(four, digits, sizeof(four));

    part[0] = (four[0] << 2) | ((four[1] >> 4) & ngx_apikeys_nonce_each(0x03));
    part[1] = ((four[1] << 4) & ngx_apikeys_nonce_each(0xf0))
              | ((four[2] >> 2) & ngx_apikeys_nonce_each(0x0f));
    part[2] = ((four[2] << 6) & ngx_apikeys_nonce_each(0xc0)) | four[3];

    ngx_memcpy(bytes, part, sizeof(part));

    return unknown ? NGX_DECLINED : NGX_OK;
}


static uint64_t
ngx_apikeys_nonce_now(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (uint64_t) tp->sec * 1000 + tp->msec;
}


static ngx_int_t
ngx_apikeys_nonce_tag(EVP_CIPHER_CTX *cipher, u_char *tag, const u_char *id)
{
    int     len;
    u_char  block[NGX_APIKEYS_NONCE_TAG_LEN];

    ngx_memcpy(block, id, NGX_APIKEYS_NONCE_ID_LEN);
    ngx_memzero(&block[NGX_APIKEYS_NONCE_ID_LEN],
                NGX_APIKEYS_NONCE_TAG_LEN - NGX_APIKEYS_NONCE_ID_LEN);

    if (EVP_EncryptUpdate(cipher, tag, &len, block,
                          NGX_APIKEYS_NONCE_TAG_LEN)
        != 1)
    {
        ERR_clear_error();
        return NGX_ERROR;
    }

    return NGX_OK;
}


static uint64_t
ngx_apikeys_nonce_id(const u_char *p)
{
    uint32_t  high, low;

    ngx_memcpy(&high, p, sizeof(uint32_t));
    ngx_memcpy(&low, p + sizeof(uint32_t), sizeof(uint32_t));

    return (uint64_t) ntohl(high) << 32 | ntohl(low);
}


/* most requests use a nonce that was verified before */

ngx_int_t
ngx_apikeys_nonce_check(ngx_apikeys_nonce_t *n, const ngx_str_t *text,
    uint64_t *id, ngx_apikeys_digest_kept_t **kept)
{
    uint64_t                    hash;
    ngx_apikeys_nonce_known_t  *known;

    if (text->len != NGX_APIKEYS_NONCE_LEN) {
        return NGX_ERROR;
    }

    /* from the tag, which clients cannot choose */

    ngx_memcpy(&hash, text->data + NGX_APIKEYS_NONCE_LEN - sizeof(hash),
               sizeof(hash));

    known = &n->known[hash * 0x9e3779b97f4a7c15
                      >> (64 - NGX_APIKEYS_NONCE_KNOWN_BITS)];

    if (known->id == 0
        || !ngx_apikeys_digest_equal(known->text, text->data,
                                     NGX_APIKEYS_NONCE_LEN))
    {
        if (ngx_apikeys_nonce_decode(n, text, id) != NGX_OK) {
            return NGX_ERROR;
        }

        known->id = *id;
        ngx_memcpy(known->text, text->data, NGX_APIKEYS_NONCE_LEN);
    }

    *id = known->id;
    *kept = &known->kept;

    return ngx_apikeys_nonce_alive(&n->table, *id);
}


/* the id of a nonce that was made with a key of the ring */

static ngx_int_t
ngx_apikeys_nonce_decode(ngx_apikeys_nonce_t *n, const ngx_str_t *text,
    uint64_t *id)
{
    u_char                     tag[NGX_APIKEYS_NONCE_TAG_LEN];
    ngx_uint_t                 i;
    ngx_apikeys_nonce_bytes_t  bytes;

    if (ngx_apikeys_nonce_read(&bytes, text->data) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < n->nciphers; i++) {

        if (ngx_apikeys_nonce_tag(n->ciphers[i], tag, bytes.id) != NGX_OK) {
            return NGX_ERROR;
        }

        if (ngx_apikeys_digest_equal(tag, bytes.tag,
                                     NGX_APIKEYS_NONCE_TAG_LEN))
        {
            *id = ngx_apikeys_nonce_id(bytes.id);
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_apikeys_nonce_alive(ngx_apikeys_nonce_table_t *t, uint64_t id)
{
    uint64_t  made, now;

    made = ngx_apikeys_nonce_time(id);
    now = ngx_apikeys_nonce_now();

    if (made > now + t->skew || made + t->life < now) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_apikeys_nonce_use(ngx_apikeys_nonce_t *n, uint64_t id, uint32_t count,
    const u_char *key)
{
    uint64_t  owner;

    /* a hash: two public keys with the same one share a quota */

    ngx_memcpy(&owner, key, sizeof(owner));
    owner *= 0x9e3779b97f4a7c15;

    return ngx_apikeys_nonce_table_accept(&n->table, id, count,
                                          (uint32_t) (owner >> 32),
                                          ngx_apikeys_nonce_now());
}


ngx_apikeys_nonce_t *
ngx_apikeys_nonce_create(ngx_conf_t *cf, ngx_apikeys_seal_t *seal)
{
    ngx_apikeys_nonce_t  *n;

    n = ngx_pcalloc(cf->pool, sizeof(ngx_apikeys_nonce_t));
    if (n == NULL) {
        return NULL;
    }

    n->seal = seal;

    n->known = ngx_apikeys_seal_pages(cf, sizeof(ngx_apikeys_nonce_known_t)
                                          << NGX_APIKEYS_NONCE_KNOWN_BITS);
    if (n->known == NULL) {
        return NULL;
    }

    return n;
}


ngx_int_t
ngx_apikeys_nonce_init_process(ngx_apikeys_nonce_t *n, void *table,
    size_t size, ngx_log_t *log)
{
    ngx_int_t    rc;
    ngx_uint_t   i;
    EVP_CIPHER  *aes;

    n->table.life = (NGX_APIKEYS_NONCE_LIFE + NGX_APIKEYS_NONCE_SKEW) * 1000;
    n->table.skew = NGX_APIKEYS_NONCE_SKEW * 1000;

    rc = ngx_apikeys_nonce_table_init(&n->table, table, size);

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "apikeys: zone is too small for the digest nonce table, "
                      "which has %uz bytes: increase apikeys_zone", size);
        return NGX_ERROR;
    }

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "apikeys: no random numbers from OpenSSL for the digest "
                      "nonce table: RAND_bytes() failed");
        ERR_clear_error();
        return NGX_ERROR;
    }

    ngx_apikeys_nonce_table_begin(&n->table, ngx_apikeys_nonce_now());

    aes = EVP_CIPHER_fetch(NULL, "AES-128-ECB", NULL);

    if (aes == NULL) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "apikeys: OpenSSL does not provide AES-128-ECB for "
                      "digest nonces, enable the default provider");
        ERR_clear_error();
        return NGX_ERROR;
    }

    for (i = 0; rc == NGX_OK && i < ngx_apikeys_seal_nkeys(n->seal); i++) {
        rc = ngx_apikeys_nonce_init_cipher(n, i, aes);
    }

    EVP_CIPHER_free(aes);

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "apikeys: cannot initialize AES-128-ECB for digest "
                      "nonces, check the configuration of OpenSSL");
        ERR_clear_error();
        ngx_apikeys_nonce_exit_process(n);
    }

    return rc;
}


static ngx_int_t
ngx_apikeys_nonce_init_cipher(ngx_apikeys_nonce_t *n, ngx_uint_t i,
    EVP_CIPHER *aes)
{
    u_char           key[NGX_APIKEYS_NONCE_KEY_LEN];
    ngx_int_t        rc;
    EVP_CIPHER_CTX  *cipher;

    cipher = EVP_CIPHER_CTX_new();
    if (cipher == NULL) {
        return NGX_ERROR;
    }

    n->ciphers[i] = cipher;
    n->nciphers = i + 1;

    rc = ngx_apikeys_seal_derive(n->seal, i, "nonce", key,
                                 NGX_APIKEYS_NONCE_KEY_LEN);

    if (rc == NGX_OK
        && (EVP_EncryptInit_ex2(cipher, aes, key, NULL, NULL) != 1
            || EVP_CIPHER_CTX_set_padding(cipher, 0) != 1))
    {
        rc = NGX_ERROR;
    }

    OPENSSL_cleanse(key, NGX_APIKEYS_NONCE_KEY_LEN);

    return rc;
}


void
ngx_apikeys_nonce_exit_process(ngx_apikeys_nonce_t *n)
{
    ngx_uint_t  i;

    for (i = 0; i < n->nciphers; i++) {
        EVP_CIPHER_CTX_free(n->ciphers[i]);
    }

    n->nciphers = 0;
}
