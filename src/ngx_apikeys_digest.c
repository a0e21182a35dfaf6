
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Digest credentials, and the hashes that they must carry.
 *
 * What is parsed comes from anyone, before anything is known about them:
 * slices of the header and no allocation, one pass, and whatever is not
 * exactly understood does not authenticate.  An escape in a quoted string
 * is refused rather than undone, since none of our values needs one.
 *
 * MD5 is nginx's, which costs a third of what libcrypto's does for input
 * of this size.  libcrypto's SHA-256 is fetched, and its context made, on
 * first use in a process; both live as long as the cycle then current.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_md5.h>

#include <ngx_apikeys_digest.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>


#define NGX_APIKEYS_DIGEST_NC_LEN      8
#define NGX_APIKEYS_DIGEST_MAX_LEN     NGX_APIKEYS_DIGEST_SHA256_LEN

/* a token character of RFC 9110 */
#define ngx_apikeys_digest_is_token(c)                                       \
    (ngx_apikeys_digest_tokens[(c) >> 5] & (1U << ((c) & 0x1f)))

#define ngx_apikeys_digest_is(name, text)                                    \
    ((name)->len == sizeof(text) - 1                                         \
     && ngx_strncasecmp((name)->data, (u_char *) text, sizeof(text) - 1)     \
        == 0)


/* what is only needed while the header is parsed */
typedef struct {
    ngx_apikeys_digest_t  *d;
    ngx_str_t              qop;
    ngx_str_t              algorithm;
    ngx_str_t              userhash;
    ngx_str_t              extended;     /* username* */
} ngx_apikeys_digest_ctx_t;


/* what is hashed, ":" between the parts */
typedef struct {
    ngx_str_t              data[7];
    ngx_uint_t             n;
} ngx_apikeys_digest_input_t;


typedef struct {
    EVP_MD                *md;
    EVP_MD_CTX            *ctx;
} ngx_apikeys_digest_sha256_t;


static u_char *ngx_apikeys_digest_parse_pair(u_char *p, u_char *last,
    ngx_str_t *name, ngx_str_t *value);
static ngx_str_t *ngx_apikeys_digest_slot(ngx_apikeys_digest_ctx_t *ctx,
    ngx_str_t *name);
static ngx_int_t ngx_apikeys_digest_judge(ngx_apikeys_digest_ctx_t *ctx);
static ngx_int_t ngx_apikeys_digest_judge_count(ngx_apikeys_digest_t *d);
static ngx_int_t ngx_apikeys_digest_unhex(u_char *dst, const ngx_str_t *hex);
static void ngx_apikeys_digest_add(ngx_apikeys_digest_input_t *in,
    const ngx_str_t *s);
static ngx_int_t ngx_apikeys_digest_hash(u_char *out,
    ngx_apikeys_digest_alg_e alg, const ngx_apikeys_digest_input_t *in);
static void ngx_apikeys_digest_hash_md5(u_char *out,
    const ngx_apikeys_digest_input_t *in);
static ngx_int_t ngx_apikeys_digest_hash_sha256(u_char *out,
    const ngx_apikeys_digest_input_t *in);
static ngx_int_t ngx_apikeys_digest_sha256_init(void);
static void ngx_apikeys_digest_sha256_cleanup(void *data);


/* of this process; a child gets a copy and uses it alone */
static ngx_apikeys_digest_sha256_t  ngx_apikeys_digest_sha256;


static const uint32_t  ngx_apikeys_digest_tokens[8] = {
    0x00000000,    /* control characters */
    0x03ff6cfa,    /* !#$%&'*+-. and digits */
    0xc7fffffe,    /* upper case, ^ and _ */
    0x57ffffff,    /* `, lower case, | and ~ */
    0, 0, 0, 0
};


ngx_int_t
ngx_apikeys_digest_parse(ngx_apikeys_digest_t *d, const ngx_str_t *value)
{
    u_char                    *p, *last;
    ngx_str_t                 *slot, name, val;
    ngx_apikeys_digest_ctx_t   ctx;

    p = value->data;
    last = p + value->len;

    if (value->len == 0
        || memchr(p, '\0', value->len)
        || memchr(p, '\\', value->len))
    {
        return NGX_DECLINED;
    }

    ngx_memzero(d, sizeof(ngx_apikeys_digest_t));
    ngx_memzero(&ctx, sizeof(ngx_apikeys_digest_ctx_t));
    ctx.d = d;

    for ( ;; ) {

        /* RFC 9110, 5.6.1: empty elements of a list are to be ignored */

        while (p < last && (*p == ' ' || *p == ',' || *p == '\t')) {
            p++;
        }

        if (p == last) {
            break;
        }

        p = ngx_apikeys_digest_parse_pair(p, last, &name, &val);
        if (p == NULL) {
            return NGX_DECLINED;
        }

        slot = ngx_apikeys_digest_slot(&ctx, &name);

        if (slot) {
            if (slot->data) {
                return NGX_DECLINED;
            }

            *slot = val;
        }
    }

    return ngx_apikeys_digest_judge(&ctx);
}


/*
 * Parses name=value up to the comma or the end, where it returns; NULL for
 * anything else.
 */

static u_char *
ngx_apikeys_digest_parse_pair(u_char *p, u_char *last, ngx_str_t *name,
    ngx_str_t *value)
{
    name->data = p;

    while (p < last && ngx_apikeys_digest_is_token(*p)) {
        p++;
    }

    name->len = p - name->data;

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    if (name->len == 0 || p == last || *p++ != '=') {
        return NULL;
    }

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    if (p < last && *p == '"') {
        value->data = ++p;

        p = memchr(p, '"', last - p);
        if (p == NULL) {
            return NULL;
        }

        value->len = p++ - value->data;

    } else {
        value->data = p;

        while (p < last && ngx_apikeys_digest_is_token(*p)) {
            p++;
        }

        value->len = p - value->data;

        if (value->len == 0) {
            return NULL;
        }
    }

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    if (p < last && *p != ',') {
        return NULL;
    }

    return p;
}


/* where a parameter is to be kept, or NULL for an unknown one */

static ngx_str_t *
ngx_apikeys_digest_slot(ngx_apikeys_digest_ctx_t *ctx, ngx_str_t *name)
{
    ngx_apikeys_digest_t  *d;

    d = ctx->d;

    switch (name->data[0] | 0x20) {

    case 'a':
        return ngx_apikeys_digest_is(name, "algorithm") ? &ctx->algorithm
                                                        : NULL;

    case 'c':
        return ngx_apikeys_digest_is(name, "cnonce") ? &d->cnonce : NULL;

    case 'n':
        if (name->len == 2) {
            return ngx_apikeys_digest_is(name, "nc") ? &d->nc : NULL;
        }

        return ngx_apikeys_digest_is(name, "nonce") ? &d->nonce : NULL;

    case 'q':
        return ngx_apikeys_digest_is(name, "qop") ? &ctx->qop : NULL;

    case 'r':
        if (name->len == 5) {
            return ngx_apikeys_digest_is(name, "realm") ? &d->realm : NULL;
        }

        return ngx_apikeys_digest_is(name, "response") ? &d->response : NULL;

    case 'u':
        if (name->len == 3) {
            return ngx_apikeys_digest_is(name, "uri") ? &d->uri : NULL;
        }

        if (ngx_apikeys_digest_is(name, "username")) {
            return &d->username;
        }

        if (ngx_apikeys_digest_is(name, "username*")) {
            return &ctx->extended;
        }

        return ngx_apikeys_digest_is(name, "userhash") ? &ctx->userhash : NULL;

    default:
        return NULL;
    }
}


/* all parameters are in: whether they can authenticate at all */

static ngx_int_t
ngx_apikeys_digest_judge(ngx_apikeys_digest_ctx_t *ctx)
{
    ngx_str_t             *alg;
    ngx_apikeys_digest_t  *d;

    d = ctx->d;

    if (d->username.data == NULL || d->realm.data == NULL
        || d->nonce.data == NULL || d->uri.data == NULL
        || d->cnonce.data == NULL || d->response.data == NULL
        || ctx->extended.data)
    {
        return NGX_DECLINED;
    }

    if (ctx->qop.len != 4 || ngx_memcmp(ctx->qop.data, "auth", 4) != 0) {
        return NGX_DECLINED;
    }

    if (ctx->userhash.data
        && (ctx->userhash.len != 5
            || ngx_strncasecmp(ctx->userhash.data, (u_char *) "false", 5)
               != 0))
    {
        return NGX_DECLINED;
    }

    alg = &ctx->algorithm;

    if (alg->data == NULL
        || (alg->len == 3
            && ngx_strncasecmp(alg->data, (u_char *) "MD5", 3) == 0))
    {
        d->alg = NGX_APIKEYS_DIGEST_MD5;

        if (d->response.len != 2 * NGX_APIKEYS_DIGEST_MD5_LEN) {
            return NGX_DECLINED;
        }

    } else if (alg->len == 7
               && ngx_strncasecmp(alg->data, (u_char *) "SHA-256", 7) == 0)
    {
        d->alg = NGX_APIKEYS_DIGEST_SHA256;

        if (d->response.len != 2 * NGX_APIKEYS_DIGEST_SHA256_LEN) {
            return NGX_DECLINED;
        }

    } else {
        return NGX_DECLINED;
    }

    return ngx_apikeys_digest_judge_count(d);
}


static ngx_int_t
ngx_apikeys_digest_judge_count(ngx_apikeys_digest_t *d)
{
    u_char  nc[NGX_APIKEYS_DIGEST_NC_LEN / 2];

    if (d->nc.len != NGX_APIKEYS_DIGEST_NC_LEN
        || ngx_apikeys_digest_unhex(nc, &d->nc) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    d->count = (uint32_t) nc[0] << 24 | nc[1] << 16 | nc[2] << 8 | nc[3];

    return d->count ? NGX_OK : NGX_DECLINED;
}


/* the length is even and fits; either case of the digits is taken */

static ngx_int_t
ngx_apikeys_digest_unhex(u_char *dst, const ngx_str_t *hex)
{
    u_char      c, digit;
    ngx_uint_t  i;

    for (i = 0; i < hex->len; i++) {
        c = hex->data[i];

        if (c >= '0' && c <= '9') {
            digit = c - '0';

        } else {
            c |= 0x20;

            if (c < 'a' || c > 'f') {
                return NGX_DECLINED;
            }

            digit = c - 'a' + 10;
        }

        if (i & 1) {
            *dst++ |= digit;

        } else {
            *dst = (u_char) (digit << 4);
        }
    }

    return NGX_OK;
}


void
ngx_apikeys_digest_ha1_md5(u_char *ha1, const ngx_str_t *username,
    const ngx_str_t *realm, const ngx_str_t *password)
{
    ngx_apikeys_digest_input_t  in;

    in.n = 0;
    ngx_apikeys_digest_add(&in, username);
    ngx_apikeys_digest_add(&in, realm);
    ngx_apikeys_digest_add(&in, password);

    ngx_apikeys_digest_hash_md5(ha1, &in);
}


ngx_int_t
ngx_apikeys_digest_ha1_sha256(u_char *ha1, const ngx_str_t *username,
    const ngx_str_t *realm, const ngx_str_t *password)
{
    ngx_apikeys_digest_input_t  in;

    in.n = 0;
    ngx_apikeys_digest_add(&in, username);
    ngx_apikeys_digest_add(&in, realm);
    ngx_apikeys_digest_add(&in, password);

    return ngx_apikeys_digest_hash_sha256(ha1, &in);
}


ngx_int_t
ngx_apikeys_digest_verify(const ngx_apikeys_digest_t *d, const u_char *ha1,
    const ngx_str_t *method)
{
    size_t                      len;
    u_char                      hash[NGX_APIKEYS_DIGEST_MAX_LEN];
    u_char                      response[NGX_APIKEYS_DIGEST_MAX_LEN];
    u_char                      text1[2 * NGX_APIKEYS_DIGEST_MAX_LEN];
    u_char                      text2[2 * NGX_APIKEYS_DIGEST_MAX_LEN];
    ngx_str_t                   ha1_hex, ha2_hex;
    ngx_apikeys_digest_input_t  in;

    static const ngx_str_t  qop = ngx_string("auth");

    len = d->response.len / 2;

    if (ngx_apikeys_digest_unhex(response, &d->response) != NGX_OK) {
        return NGX_DECLINED;
    }

    in.n = 0;
    ngx_apikeys_digest_add(&in, method);
    ngx_apikeys_digest_add(&in, &d->uri);

    if (ngx_apikeys_digest_hash(hash, d->alg, &in) != NGX_OK) {
        return NGX_ERROR;
    }

    ha1_hex.data = text1;
    ha1_hex.len = ngx_hex_dump(text1, (u_char *) ha1, len) - text1;

    ha2_hex.data = text2;
    ha2_hex.len = ngx_hex_dump(text2, hash, len) - text2;

    in.n = 0;
    ngx_apikeys_digest_add(&in, &ha1_hex);
    ngx_apikeys_digest_add(&in, &d->nonce);
    ngx_apikeys_digest_add(&in, &d->nc);
    ngx_apikeys_digest_add(&in, &d->cnonce);
    ngx_apikeys_digest_add(&in, &qop);
    ngx_apikeys_digest_add(&in, &ha2_hex);

    if (ngx_apikeys_digest_hash(hash, d->alg, &in) != NGX_OK) {
        return NGX_ERROR;
    }

    return CRYPTO_memcmp(hash, response, len) == 0 ? NGX_OK : NGX_DECLINED;
}


static void
ngx_apikeys_digest_add(ngx_apikeys_digest_input_t *in, const ngx_str_t *s)
{
    in->data[in->n++] = *s;
}


static ngx_int_t
ngx_apikeys_digest_hash(u_char *out, ngx_apikeys_digest_alg_e alg,
    const ngx_apikeys_digest_input_t *in)
{
    if (alg == NGX_APIKEYS_DIGEST_SHA256) {
        return ngx_apikeys_digest_hash_sha256(out, in);
    }

    ngx_apikeys_digest_hash_md5(out, in);

    return NGX_OK;
}


static void
ngx_apikeys_digest_hash_md5(u_char *out,
    const ngx_apikeys_digest_input_t *in)
{
    ngx_md5_t   md5;
    ngx_uint_t  i;

    ngx_md5_init(&md5);

    for (i = 0; i < in->n; i++) {

        if (i) {
            ngx_md5_update(&md5, ":", 1);
        }

        ngx_md5_update(&md5, in->data[i].data, in->data[i].len);
    }

    ngx_md5_final(out, &md5);
}


static ngx_int_t
ngx_apikeys_digest_hash_sha256(u_char *out,
    const ngx_apikeys_digest_input_t *in)
{
    ngx_uint_t   i;
    EVP_MD_CTX  *ctx;

    if (ngx_apikeys_digest_sha256.ctx == NULL
        && ngx_apikeys_digest_sha256_init() != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx = ngx_apikeys_digest_sha256.ctx;

    if (EVP_DigestInit_ex2(ctx, ngx_apikeys_digest_sha256.md, NULL) != 1) {
        goto failed;
    }

    for (i = 0; i < in->n; i++) {

        if (i && EVP_DigestUpdate(ctx, ":", 1) != 1) {
            goto failed;
        }

        if (EVP_DigestUpdate(ctx, in->data[i].data, in->data[i].len) != 1) {
            goto failed;
        }
    }

    if (EVP_DigestFinal_ex(ctx, out, NULL) != 1) {
        goto failed;
    }

    return NGX_OK;

failed:

    ERR_clear_error();

    return NGX_ERROR;
}


static ngx_int_t
ngx_apikeys_digest_sha256_init(void)
{
    ngx_pool_cleanup_t           *cln;
    ngx_apikeys_digest_sha256_t  *sha;

    sha = &ngx_apikeys_digest_sha256;

    cln = ngx_pool_cleanup_add(ngx_cycle->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_apikeys_digest_sha256_cleanup;
    cln->data = sha;

    sha->md = EVP_MD_fetch(NULL, "SHA256", NULL);
    sha->ctx = EVP_MD_CTX_new();

    if (sha->md == NULL || sha->ctx == NULL) {
        ngx_apikeys_digest_sha256_cleanup(sha);
        ERR_clear_error();
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_apikeys_digest_sha256_cleanup(void *data)
{
    ngx_apikeys_digest_sha256_t  *sha = data;

    EVP_MD_CTX_free(sha->ctx);
    EVP_MD_free(sha->md);

    sha->ctx = NULL;
    sha->md = NULL;
}
