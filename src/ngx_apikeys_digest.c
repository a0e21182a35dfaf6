
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

/* clients write lower case, which is cheaper to compare */
#define ngx_apikeys_digest_is(name, text)                                    \
    ((name)->len == sizeof(text) - 1                                         \
     && (ngx_memcmp((name)->data, text, sizeof(text) - 1) == 0               \
         || ngx_strncasecmp((name)->data, (u_char *) text,                   \
                            sizeof(text) - 1)                                \
            == 0))


/* what is only needed while the header is parsed */
typedef struct {
    ngx_apikeys_digest_t  *d;
    ngx_str_t              qop;
    ngx_str_t              algorithm;
    ngx_str_t              userhash;
    ngx_str_t              extended;     /* username* */
    ngx_str_t              unknown;      /* the last one, forgotten */
} ngx_apikeys_digest_ctx_t;


/* what is hashed, one after the other */
typedef struct {
    ngx_str_t              parts[7];
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
static ngx_str_t *ngx_apikeys_digest_unknown(ngx_apikeys_digest_ctx_t *ctx,
    ngx_str_t *name);
static ngx_int_t ngx_apikeys_digest_judge(ngx_apikeys_digest_ctx_t *ctx);
static ngx_int_t ngx_apikeys_digest_judge_count(ngx_apikeys_digest_t *d);
static void ngx_apikeys_digest_join(ngx_apikeys_digest_input_t *in,
    const ngx_str_t *one, const ngx_str_t *two, const ngx_str_t *three);
static void ngx_apikeys_digest_add(ngx_apikeys_digest_input_t *in,
    u_char *data, size_t len);
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

        if (slot == NULL || slot->data) {
            return NGX_DECLINED;
        }

        *slot = val;
    }

    return ngx_apikeys_digest_judge(&ctx);
}


/*
 * Parses name=value up to the comma or the end, where it returns; NULL for
 * anything else.  Whether an unknown name is one at all is told by unknown(),
 * since those that are known need no look at each character.
 */

static u_char *
ngx_apikeys_digest_parse_pair(u_char *p, u_char *last, ngx_str_t *name,
    ngx_str_t *value)
{
    u_char  *end;

    name->data = p;

    p = memchr(p, '=', last - p);
    if (p == NULL) {
        return NULL;
    }

    for (end = p; end > name->data; end--) {
        if (end[-1] != ' ' && end[-1] != '\t') {
            break;
        }
    }

    name->len = end - name->data;

    for (p++; p < last && (*p == ' ' || *p == '\t'); p++) { /* void */ }

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


/* where a parameter is kept, or NULL for what is not a name */

static ngx_str_t *
ngx_apikeys_digest_slot(ngx_apikeys_digest_ctx_t *ctx, ngx_str_t *name)
{
    ngx_str_t             *slot;
    ngx_apikeys_digest_t  *d;

    d = ctx->d;

    switch (name->len) {

    case 2:
        slot = ngx_apikeys_digest_is(name, "nc") ? &d->nc : NULL;
        break;

    case 3:
        slot = ngx_apikeys_digest_is(name, "uri") ? &d->uri
               : ngx_apikeys_digest_is(name, "qop") ? &ctx->qop : NULL;
        break;

    case 5:
        slot = ngx_apikeys_digest_is(name, "nonce") ? &d->nonce
               : ngx_apikeys_digest_is(name, "realm") ? &d->realm : NULL;
        break;

    case 6:
        slot = ngx_apikeys_digest_is(name, "cnonce") ? &d->cnonce : NULL;
        break;

    case 8:
        slot = ngx_apikeys_digest_is(name, "username") ? &d->username
               : ngx_apikeys_digest_is(name, "response") ? &d->response
               : ngx_apikeys_digest_is(name, "userhash") ? &ctx->userhash
               : NULL;
        break;

    case 9:
        slot = ngx_apikeys_digest_is(name, "algorithm") ? &ctx->algorithm
               : ngx_apikeys_digest_is(name, "username*") ? &ctx->extended
               : NULL;
        break;

    default:
        slot = NULL;
        break;
    }

    return slot ? slot : ngx_apikeys_digest_unknown(ctx, name);
}


static ngx_str_t *
ngx_apikeys_digest_unknown(ngx_apikeys_digest_ctx_t *ctx, ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; i < name->len; i++) {
        if (!ngx_apikeys_digest_is_token(name->data[i])) {
            return NULL;
        }
    }

    if (name->len == 0) {
        return NULL;
    }

    /* may come any number of times */

    ctx->unknown.data = NULL;

    return &ctx->unknown;
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
    ngx_int_t  count;

    if (d->nc.len != NGX_APIKEYS_DIGEST_NC_LEN) {
        return NGX_DECLINED;
    }

    count = ngx_hextoi(d->nc.data, NGX_APIKEYS_DIGEST_NC_LEN);

    if (count == NGX_ERROR || count == 0) {
        return NGX_DECLINED;
    }

    d->count = (uint32_t) count;

    return NGX_OK;
}


void
ngx_apikeys_digest_ha1_md5(u_char *ha1, const ngx_str_t *username,
    const ngx_str_t *realm, const ngx_str_t *password)
{
    ngx_apikeys_digest_input_t  in;

    ngx_apikeys_digest_join(&in, username, realm, password);

    ngx_apikeys_digest_hash_md5(ha1, &in);
}


ngx_int_t
ngx_apikeys_digest_ha1_sha256(u_char *ha1, const ngx_str_t *username,
    const ngx_str_t *realm, const ngx_str_t *password)
{
    ngx_apikeys_digest_input_t  in;

    ngx_apikeys_digest_join(&in, username, realm, password);

    return ngx_apikeys_digest_hash_sha256(ha1, &in);
}


ngx_int_t
ngx_apikeys_digest_verify(const ngx_apikeys_digest_t *d, const u_char *ha1,
    const ngx_str_t *method)
{
    size_t                      len;
    u_char                     *p;
    u_char                      hash[NGX_APIKEYS_DIGEST_MAX_LEN];
    u_char                      text1[2 * NGX_APIKEYS_DIGEST_MAX_LEN + 1];
    u_char                      text2[2 * NGX_APIKEYS_DIGEST_MAX_LEN + 6];
    ngx_apikeys_digest_input_t  in;

    len = d->response.len / 2;

    in.n = 0;
    ngx_apikeys_digest_add(&in, method->data, method->len);
    ngx_apikeys_digest_add(&in, (u_char *) ":", 1);
    ngx_apikeys_digest_add(&in, d->uri.data, d->uri.len);

    if (ngx_apikeys_digest_hash(hash, d->alg, &in) != NGX_OK) {
        return NGX_ERROR;
    }

    in.n = 0;

    p = ngx_hex_dump(text1, (u_char *) ha1, len);
    *p++ = ':';
    ngx_apikeys_digest_add(&in, text1, p - text1);

    ngx_apikeys_digest_add(&in, d->nonce.data, d->nonce.len);
    ngx_apikeys_digest_add(&in, (u_char *) ":", 1);
    ngx_apikeys_digest_add(&in, d->nc.data, d->nc.len);
    ngx_apikeys_digest_add(&in, (u_char *) ":", 1);
    ngx_apikeys_digest_add(&in, d->cnonce.data, d->cnonce.len);

    p = ngx_cpymem(text2, ":auth:", 6);
    p = ngx_hex_dump(p, hash, len);
    ngx_apikeys_digest_add(&in, text2, p - text2);

    if (ngx_apikeys_digest_hash(hash, d->alg, &in) != NGX_OK) {
        return NGX_ERROR;
    }

    (void) ngx_hex_dump(text2, hash, len);

    return CRYPTO_memcmp(text2, d->response.data, 2 * len) == 0
           ? NGX_OK : NGX_DECLINED;
}


static void
ngx_apikeys_digest_join(ngx_apikeys_digest_input_t *in, const ngx_str_t *one,
    const ngx_str_t *two, const ngx_str_t *three)
{
    in->n = 0;
    ngx_apikeys_digest_add(in, one->data, one->len);
    ngx_apikeys_digest_add(in, (u_char *) ":", 1);
    ngx_apikeys_digest_add(in, two->data, two->len);
    ngx_apikeys_digest_add(in, (u_char *) ":", 1);
    ngx_apikeys_digest_add(in, three->data, three->len);
}


static void
ngx_apikeys_digest_add(ngx_apikeys_digest_input_t *in, u_char *data,
    size_t len)
{
    in->parts[in->n].data = data;
    in->parts[in->n].len = len;
    in->n++;
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
        ngx_md5_update(&md5, in->parts[i].data, in->parts[i].len);
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

        if (EVP_DigestUpdate(ctx, in->parts[i].data, in->parts[i].len) != 1)
        {
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
