
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
 * MD5 is nginx's, and SHA-256 libcrypto's own function: through EVP either
 * costs a thousand instructions more, for input of this size.
 */


/* as nginx has it where it needs functions of this age */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_md5.h>

#include <ngx_apikeys_digest.h>

#include <openssl/sha.h>


#define NGX_APIKEYS_DIGEST_MAX_NC      8
#define NGX_APIKEYS_DIGEST_MAX_LEN     NGX_APIKEYS_DIGEST_SHA256_LEN

/* characters, by RFC 9110 */
#define NGX_APIKEYS_DIGEST_TOKEN       1
#define NGX_APIKEYS_DIGEST_BLANK       2
#define NGX_APIKEYS_DIGEST_SEPARATOR   4      /* between parameters */

/* "username*=", the longest name, with its "=" */
#define NGX_APIKEYS_DIGEST_NAME_LEN    10

/* GCC would call the function, as there are two calls */
#if (__GNUC__)
#define NGX_APIKEYS_DIGEST_INLINE  ngx_inline __attribute__((always_inline))
#else
#define NGX_APIKEYS_DIGEST_INLINE  ngx_inline
#endif

/* compared with constants, which compilers do without a call */
#define ngx_apikeys_digest_named(p, text, len)                               \
    (*(len) = sizeof(text) - 1, ngx_memcmp(p, text, sizeof(text) - 1) == 0)

/* whether the state after the first block is kept, and looked for */
#define ngx_apikeys_digest_keeps(d)                                          \
    ((d)->username.len == sizeof(uint64_t)                                   \
     && (d)->nonce.len == NGX_APIKEYS_DIGEST_NONCE_LEN)

#define ngx_apikeys_digest_is(value, text)                                   \
    ((value)->len == sizeof(text) - 1                                        \
     && (ngx_memcmp((value)->data, text, sizeof(text) - 1) == 0              \
         || ngx_strncasecmp((value)->data, (u_char *) text,                  \
                            sizeof(text) - 1)                                \
            == 0))


/* what is only needed while the header is parsed */
typedef struct {
    ngx_apikeys_digest_t  *d;
    ngx_str_t              qop;
    ngx_str_t              algorithm;
    ngx_str_t              userhash;
    ngx_str_t              extended;     /* username* */
    ngx_str_t              unknown;      /* its value is ignored */
} ngx_apikeys_digest_ctx_t;


/*
 * A hash under way.  Its input is collected, since a function that is given
 * several blocks at once has less to do for each.
 */
typedef struct {
    ngx_apikeys_digest_alg_e   alg;
    ngx_uint_t                 failed;
    ngx_uint_t                 spilled;      /* more was hashed than buf has */
    size_t                     done;         /* bytes of buf, hashed */
    size_t                     len;          /* bytes in buf */
    u_char                     buf[256];
    ngx_apikeys_digest_state_t  state;
} ngx_apikeys_digest_hash_t;


static u_char *ngx_apikeys_digest_parse_name(ngx_apikeys_digest_ctx_t *ctx,
    u_char *p, u_char *last, ngx_str_t **param);
static NGX_APIKEYS_DIGEST_INLINE ngx_str_t *ngx_apikeys_digest_param(
    ngx_apikeys_digest_ctx_t *ctx, const u_char *name, size_t *len);
static u_char *ngx_apikeys_digest_parse_value(u_char *p, u_char *last,
    ngx_str_t *value);
static ngx_int_t ngx_apikeys_digest_check(ngx_apikeys_digest_ctx_t *ctx);
static ngx_int_t ngx_apikeys_digest_check_count(ngx_apikeys_digest_t *d);
static ngx_int_t ngx_apikeys_digest_ha1(u_char *ha1,
    ngx_apikeys_digest_alg_e alg, const ngx_str_t *username,
    const ngx_str_t *realm, const ngx_str_t *password);
static ngx_int_t ngx_apikeys_digest_ha2(const ngx_apikeys_digest_t *d,
    const ngx_str_t *method, ngx_apikeys_digest_kept_t *kept, u_char *ha2);
static void ngx_apikeys_digest_hash_init(ngx_apikeys_digest_hash_t *h,
    ngx_apikeys_digest_alg_e alg);
static ngx_int_t ngx_apikeys_digest_hash_resume(ngx_apikeys_digest_hash_t *h,
    const ngx_apikeys_digest_prefix_t *prefix, const ngx_apikeys_digest_t *d,
    const u_char *ha1);
static void ngx_apikeys_digest_hash_keep(ngx_apikeys_digest_hash_t *h,
    ngx_apikeys_digest_prefix_t *prefix, const ngx_apikeys_digest_t *d,
    const u_char *ha1);
static void ngx_apikeys_digest_hash_spill(ngx_apikeys_digest_hash_t *h,
    const u_char *data, size_t len);
static void ngx_apikeys_digest_hash_update(ngx_apikeys_digest_hash_t *h,
    const u_char *data, size_t len);
static ngx_int_t ngx_apikeys_digest_hash_final(ngx_apikeys_digest_hash_t *h,
    const u_char *data, size_t len, u_char *out);
static ngx_int_t ngx_apikeys_digest_hash_pad(ngx_apikeys_digest_hash_t *h);
static void ngx_apikeys_digest_hash_write(ngx_apikeys_digest_hash_t *h,
    u_char *out);
static void ngx_apikeys_digest_hex(u_char *dst, const u_char *src,
    size_t len);


static const u_char  ngx_apikeys_digest_class[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    6, 1, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 4, 1, 1, 0,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0,
    0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0
};


/* a part, and the colon behind it */

static ngx_inline void
ngx_apikeys_digest_hash_add(ngx_apikeys_digest_hash_t *h, const u_char *data,
    size_t len)
{
    u_char  *p;

    if (len >= sizeof(h->buf) - h->len) {
        ngx_apikeys_digest_hash_spill(h, data, len);
        return;
    }

    p = ngx_cpymem(&h->buf[h->len], data, len);
    *p++ = ':';

    h->len = p - h->buf;
}


/* the first character that is of another class, or the end */

static ngx_inline u_char *
ngx_apikeys_digest_skip(u_char *p, u_char *last, ngx_uint_t class)
{
    while (p < last && (ngx_apikeys_digest_class[*p] & class)) {
        p++;
    }

    return p;
}


ngx_int_t
ngx_apikeys_digest_parse(ngx_apikeys_digest_t *d, const ngx_str_t *value)
{
    u_char                    *p, *last;
    ngx_str_t                 *param;
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

        if (last - p > 2 && p[0] == ',' && p[1] == ' ') {
            p += 2;
        }

        p = ngx_apikeys_digest_skip(p, last, NGX_APIKEYS_DIGEST_SEPARATOR);

        if (p == last) {
            break;
        }

        p = ngx_apikeys_digest_parse_name(&ctx, p, last, &param);

        if (p == NULL || param->data) {
            return NGX_DECLINED;
        }

        p = ngx_apikeys_digest_parse_value(p, last, param);
        if (p == NULL) {
            return NGX_DECLINED;
        }
    }

    return ngx_apikeys_digest_check(&ctx);
}


/*
 * Returns what follows the "=", and where the value is to be kept; NULL for
 * anything but a token and "=".
 */

static u_char *
ngx_apikeys_digest_parse_name(ngx_apikeys_digest_ctx_t *ctx, u_char *p,
    u_char *last, ngx_str_t **param)
{
    size_t   len, n;
    u_char  *end, name[NGX_APIKEYS_DIGEST_NAME_LEN];

    /* clients write names as RFC 7616 does */

    if (last - p >= NGX_APIKEYS_DIGEST_NAME_LEN) {
        *param = ngx_apikeys_digest_param(ctx, p, &len);

        if (*param) {
            return p + len;
        }
    }

    end = ngx_apikeys_digest_skip(p, last, NGX_APIKEYS_DIGEST_TOKEN);
    len = end - p;

    end = ngx_apikeys_digest_skip(end, last, NGX_APIKEYS_DIGEST_BLANK);

    if (len == 0 || end == last || *end != '=') {
        return NULL;
    }

    *param = NULL;

    if (len < NGX_APIKEYS_DIGEST_NAME_LEN) {
        ngx_memzero(name, NGX_APIKEYS_DIGEST_NAME_LEN);
        ngx_strlow(name, p, len);
        name[len] = '=';

        *param = ngx_apikeys_digest_param(ctx, name, &n);
    }

    if (*param == NULL) {

        /* an unknown one may come any number of times */

        ctx->unknown.data = NULL;
        *param = &ctx->unknown;
    }

    return end + 1;
}


/*
 * The parameter whose name, with its "=", begins the given
 * NGX_APIKEYS_DIGEST_NAME_LEN bytes, and the length of that; NULL: unknown.
 */

static NGX_APIKEYS_DIGEST_INLINE ngx_str_t *
ngx_apikeys_digest_param(ngx_apikeys_digest_ctx_t *ctx, const u_char *name,
    size_t *len)
{
    ngx_apikeys_digest_t  *d;

    d = ctx->d;

    switch (*name) {

    case 'a':
        return ngx_apikeys_digest_named(name, "algorithm=", len)
               ? &ctx->algorithm : NULL;
    case 'c':
        return ngx_apikeys_digest_named(name, "cnonce=", len)
               ? &d->cnonce : NULL;
    case 'n':
        return ngx_apikeys_digest_named(name, "nonce=", len) ? &d->nonce
               : ngx_apikeys_digest_named(name, "nc=", len) ? &d->nc : NULL;
    case 'q':
        return ngx_apikeys_digest_named(name, "qop=", len) ? &ctx->qop : NULL;

    case 'r':
        return ngx_apikeys_digest_named(name, "response=", len) ? &d->response
               : ngx_apikeys_digest_named(name, "realm=", len)
                 ? &d->realm : NULL;
    case 'u':
        return ngx_apikeys_digest_named(name, "uri=", len) ? &d->uri
               : ngx_apikeys_digest_named(name, "username=", len)
                 ? &d->username
               : ngx_apikeys_digest_named(name, "userhash=", len)
                 ? &ctx->userhash
               : ngx_apikeys_digest_named(name, "username*=", len)
                 ? &ctx->extended : NULL;
    default:
        return NULL;
    }
}


/* returns the comma after the value, or the end; NULL: neither follows */

static u_char *
ngx_apikeys_digest_parse_value(u_char *p, u_char *last, ngx_str_t *value)
{
    if (p < last && *p != '"') {
        p = ngx_apikeys_digest_skip(p, last, NGX_APIKEYS_DIGEST_BLANK);
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
        p = ngx_apikeys_digest_skip(p, last, NGX_APIKEYS_DIGEST_TOKEN);
        value->len = p - value->data;

        if (value->len == 0) {
            return NULL;
        }
    }

    if (p < last && *p != ',') {
        p = ngx_apikeys_digest_skip(p, last, NGX_APIKEYS_DIGEST_BLANK);
    }

    return (p == last || *p == ',') ? p : NULL;
}


/* all parameters are in: whether they can authenticate at all */

static ngx_int_t
ngx_apikeys_digest_check(ngx_apikeys_digest_ctx_t *ctx)
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
        && !ngx_apikeys_digest_is(&ctx->userhash, "false"))
    {
        return NGX_DECLINED;
    }

    alg = &ctx->algorithm;

    if (alg->data == NULL || ngx_apikeys_digest_is(alg, "MD5")) {
        d->alg = NGX_APIKEYS_DIGEST_MD5;

        if (d->response.len != 2 * NGX_APIKEYS_DIGEST_MD5_LEN) {
            return NGX_DECLINED;
        }

    } else if (ngx_apikeys_digest_is(alg, "SHA-256")) {
        d->alg = NGX_APIKEYS_DIGEST_SHA256;

        if (d->response.len != 2 * NGX_APIKEYS_DIGEST_SHA256_LEN) {
            return NGX_DECLINED;
        }

    } else {
        return NGX_DECLINED;
    }

    return ngx_apikeys_digest_check_count(d);
}


static ngx_int_t
ngx_apikeys_digest_check_count(ngx_apikeys_digest_t *d)
{
    u_char     *p, *last;
    ngx_int_t   count;

    /* some clients write no leading zeros; the hash is of what was sent */

    if (d->nc.len > NGX_APIKEYS_DIGEST_MAX_NC) {
        return NGX_DECLINED;
    }

    p = d->nc.data;
    last = p + d->nc.len;

    while (last - p > 1 && *p == '0') {
        p++;
    }

    count = ngx_hextoi(p, last - p);

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
    /* nginx's MD5 does not fail */

    (void) ngx_apikeys_digest_ha1(ha1, NGX_APIKEYS_DIGEST_MD5, username,
                                  realm, password);
}


ngx_int_t
ngx_apikeys_digest_ha1_sha256(u_char *ha1, const ngx_str_t *username,
    const ngx_str_t *realm, const ngx_str_t *password)
{
    return ngx_apikeys_digest_ha1(ha1, NGX_APIKEYS_DIGEST_SHA256, username,
                                  realm, password);
}


ngx_int_t
ngx_apikeys_digest_plain(u_char *hash, const ngx_str_t *username,
    const ngx_str_t *password)
{
    return ngx_apikeys_digest_ha1(hash, NGX_APIKEYS_DIGEST_SHA256, username,
                                  NULL, password);
}


ngx_int_t
ngx_apikeys_digest_sha256(u_char *hash, const ngx_str_t *text)
{
    ngx_int_t                  rc;
    ngx_apikeys_digest_hash_t  h;

    ngx_apikeys_digest_hash_init(&h, NGX_APIKEYS_DIGEST_SHA256);

    rc = ngx_apikeys_digest_hash_final(&h, text->data, text->len, hash);

    /* the text may be a credential; a long one was not copied */

    ngx_explicit_memzero(h.buf, h.len);

    return rc;
}


/* realm: NULL for the hash without it, which is not a HA1 */

static ngx_int_t
ngx_apikeys_digest_ha1(u_char *ha1, ngx_apikeys_digest_alg_e alg,
    const ngx_str_t *username, const ngx_str_t *realm,
    const ngx_str_t *password)
{
    ngx_int_t                  rc;
    ngx_apikeys_digest_hash_t  h;

    ngx_apikeys_digest_hash_init(&h, alg);

    ngx_apikeys_digest_hash_add(&h, username->data, username->len);

    if (realm) {
        ngx_apikeys_digest_hash_add(&h, realm->data, realm->len);
    }

    rc = ngx_apikeys_digest_hash_final(&h, password->data, password->len,
                                       ha1);

    /* h.buf contains the password */

    ngx_explicit_memzero(&h, sizeof(ngx_apikeys_digest_hash_t));

    return rc;
}


ngx_int_t
ngx_apikeys_digest_verify(const ngx_apikeys_digest_t *d, const u_char *ha1,
    const ngx_str_t *method, ngx_apikeys_digest_kept_t *kept)
{
    size_t                     len;
    u_char                     hash[NGX_APIKEYS_DIGEST_MAX_LEN];
    u_char                     ha2[2 * NGX_APIKEYS_DIGEST_MAX_LEN];
    u_char                     text[2 * NGX_APIKEYS_DIGEST_MAX_LEN];
    ngx_apikeys_digest_hash_t  h;

    len = d->response.len / 2;

    if (ngx_apikeys_digest_ha2(d, method, kept, ha2) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_apikeys_digest_hash_init(&h, d->alg);

    if (kept == NULL
        || ngx_apikeys_digest_hash_resume(&h, &kept->prefix, d, ha1) != NGX_OK)
    {
        ngx_apikeys_digest_hex(text, ha1, len);

        ngx_apikeys_digest_hash_add(&h, text, 2 * len);
        ngx_apikeys_digest_hash_add(&h, d->nonce.data, d->nonce.len);

        if (kept) {
            ngx_apikeys_digest_hash_keep(&h, &kept->prefix, d, ha1);
        }
    }

    ngx_apikeys_digest_hash_add(&h, d->nc.data, d->nc.len);
    ngx_apikeys_digest_hash_add(&h, d->cnonce.data, d->cnonce.len);
    ngx_apikeys_digest_hash_add(&h, (u_char *) "auth", 4);

    if (ngx_apikeys_digest_hash_final(&h, ha2, 2 * len, hash) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_apikeys_digest_hex(text, hash, len);

    return ngx_apikeys_digest_equal(text, d->response.data, 2 * len)
           ? NGX_OK : NGX_DECLINED;
}


/*
 * H(method:uri) in hex.  A client that polls repeats its method and URI: the
 * hash of the last ones is kept with the nonce.  It is no secret.
 */

static ngx_int_t
ngx_apikeys_digest_ha2(const ngx_apikeys_digest_t *d, const ngx_str_t *method,
    ngx_apikeys_digest_kept_t *kept, u_char *ha2)
{
    size_t                        len;
    u_char                        hash[NGX_APIKEYS_DIGEST_MAX_LEN];
    ngx_apikeys_digest_hash_t     h;
    ngx_apikeys_digest_target_t  *target;

    len = d->response.len;
    target = kept ? &kept->target : NULL;

    if (target
        && target->alg == d->alg
        && target->len == method->len + d->uri.len
        && target->method_len == method->len
        && ngx_memcmp(target->text, method->data, method->len) == 0
        && ngx_memcmp(target->text + method->len, d->uri.data, d->uri.len)
           == 0)
    {
        ngx_memcpy(ha2, target->ha2, len);
        return NGX_OK;
    }

    ngx_apikeys_digest_hash_init(&h, d->alg);

    ngx_apikeys_digest_hash_add(&h, method->data, method->len);

    if (ngx_apikeys_digest_hash_final(&h, d->uri.data, d->uri.len, hash)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_apikeys_digest_hex(ha2, hash, len / 2);

    if (target && method->len + d->uri.len <= sizeof(target->text)) {
        target->alg = d->alg;
        target->len = method->len + d->uri.len;
        target->method_len = method->len;
        ngx_memcpy(target->text, method->data, method->len);
        ngx_memcpy(target->text + method->len, d->uri.data, d->uri.len);
        ngx_memcpy(target->ha2, ha2, len);
    }

    return NGX_OK;
}


static void
ngx_apikeys_digest_hash_init(ngx_apikeys_digest_hash_t *h,
    ngx_apikeys_digest_alg_e alg)
{
    h->alg = alg;
    h->failed = 0;
    h->spilled = 0;
    h->done = 0;
    h->len = 0;

    if (alg == NGX_APIKEYS_DIGEST_SHA256) {
        h->failed = (SHA256_Init(&h->state.sha256) != 1);

    } else {
        ngx_md5_init(&h->state.md5);
    }
}


/*
 * Takes the state after the first block if it is known.  Of the buffer only
 * what follows that block is written.
 */

static ngx_int_t
ngx_apikeys_digest_hash_resume(ngx_apikeys_digest_hash_t *h,
    const ngx_apikeys_digest_prefix_t *prefix, const ngx_apikeys_digest_t *d,
    const u_char *ha1)
{
    size_t  len;

    len = d->response.len;

    if (!ngx_apikeys_digest_keeps(d)
        || ngx_memcmp(&prefix->user, d->username.data, sizeof(prefix->user))
           != 0
        || prefix->alg != d->alg
        || !ngx_apikeys_digest_equal(prefix->nonce, d->nonce.data,
                                     sizeof(prefix->nonce))
        || !ngx_apikeys_digest_equal(prefix->ha1, ha1, len / 2))
    {
        return NGX_DECLINED;
    }

    h->state = prefix->state;
    h->done = NGX_APIKEYS_DIGEST_BLOCK;

    h->buf[len] = ':';
    h->len = len + 1;

    ngx_apikeys_digest_hash_add(h, d->nonce.data, d->nonce.len);

    return NGX_OK;
}


/* hashes the first block, and keeps the state that it leads to */

static void
ngx_apikeys_digest_hash_keep(ngx_apikeys_digest_hash_t *h,
    ngx_apikeys_digest_prefix_t *prefix, const ngx_apikeys_digest_t *d,
    const u_char *ha1)
{
    if (!ngx_apikeys_digest_keeps(d)) {
        return;
    }

    ngx_apikeys_digest_hash_update(h, h->buf, NGX_APIKEYS_DIGEST_BLOCK);

    h->done = NGX_APIKEYS_DIGEST_BLOCK;

    ngx_memcpy(prefix->ha1, ha1, d->response.len / 2);
    ngx_memcpy(prefix->nonce, d->nonce.data, sizeof(prefix->nonce));
    ngx_memcpy(&prefix->user, d->username.data, sizeof(prefix->user));

    if (h->failed) {
        prefix->user = 0;
    }

    prefix->alg = h->alg;
    prefix->state = h->state;
}


/* hashes the buffer, and a part that does not fit into it */

static void
ngx_apikeys_digest_hash_spill(ngx_apikeys_digest_hash_t *h,
    const u_char *data, size_t len)
{
    ngx_apikeys_digest_hash_update(h, h->buf + h->done, h->len - h->done);
    ngx_apikeys_digest_hash_update(h, data, len);

    h->buf[0] = ':';
    h->spilled = 1;
    h->done = 0;
    h->len = 1;
}


static void
ngx_apikeys_digest_hash_update(ngx_apikeys_digest_hash_t *h,
    const u_char *data, size_t len)
{
    if (h->alg == NGX_APIKEYS_DIGEST_SHA256) {
        h->failed |= (SHA256_Update(&h->state.sha256, data, len) != 1);

    } else {
        ngx_md5_update(&h->state.md5, data, len);
    }
}


/* the last part, which has no colon behind it */

static ngx_int_t
ngx_apikeys_digest_hash_final(ngx_apikeys_digest_hash_t *h,
    const u_char *data, size_t len, u_char *out)
{
    ngx_apikeys_digest_hash_add(h, data, len);

    if (ngx_apikeys_digest_hash_pad(h) == NGX_OK) {
        ngx_apikeys_digest_hash_update(h, h->buf + h->done, h->len - h->done);
        ngx_apikeys_digest_hash_write(h, out);

        return h->failed ? NGX_ERROR : NGX_OK;
    }

    ngx_apikeys_digest_hash_update(h, h->buf + h->done, h->len - 1 - h->done);

    if (h->alg == NGX_APIKEYS_DIGEST_SHA256) {
        h->failed |= (SHA256_Final(out, &h->state.sha256) != 1);

    } else {
        ngx_md5_final(out, &h->state.md5);
    }

    return h->failed ? NGX_ERROR : NGX_OK;
}


/*
 * Appends the padding and the length in bits (RFC 1321, sections 3.1 and 3.2;
 * FIPS 180-4, section 5.1.1) in place of the last colon, so that the last
 * blocks need no copy.  NGX_DECLINED: there is no room.
 */

static ngx_int_t
ngx_apikeys_digest_hash_pad(ngx_apikeys_digest_hash_t *h)
{
    size_t  len, padded;

    len = h->len - 1;
    padded = ngx_align(len + 1 + 8, NGX_APIKEYS_DIGEST_BLOCK);

    if (h->spilled || padded > sizeof(h->buf)) {
        return NGX_DECLINED;
    }

    h->buf[len] = 0x80;
    ngx_memzero(&h->buf[len + 1], padded - len - 1);

    /* less than 65,536 bits */

    if (h->alg == NGX_APIKEYS_DIGEST_SHA256) {
        h->buf[padded - 2] = (u_char) (len >> 5);
        h->buf[padded - 1] = (u_char) (len << 3);

    } else {
        h->buf[padded - 8] = (u_char) (len << 3);
        h->buf[padded - 7] = (u_char) (len >> 5);
    }

    h->len = padded;

    return NGX_OK;
}


/* of whole blocks: the state is the hash */

static void
ngx_apikeys_digest_hash_write(ngx_apikeys_digest_hash_t *h, u_char *out)
{
    uint32_t    word;
    ngx_uint_t  i;

    const uint32_t  md5[4] = { h->state.md5.a, h->state.md5.b,
                               h->state.md5.c, h->state.md5.d };

    if (h->alg == NGX_APIKEYS_DIGEST_MD5) {

#if (NGX_HAVE_LITTLE_ENDIAN)

        ngx_memcpy(out, md5, sizeof(md5));

#else

        for (i = 0; i < NGX_APIKEYS_DIGEST_MD5_LEN; i++) {
            out[i] = (u_char) (md5[i / 4] >> (8 * (i % 4)));
        }

#endif

        return;
    }

    for (i = 0; i < 8; i++) {
        word = htonl(h->state.sha256.h[i]);
        out = ngx_cpymem(out, &word, sizeof(uint32_t));
    }
}


/*
 * As ngx_hex_dump(), but for lengths that are multiples of sixteen, and
 * without a table: where it is looked at would tell a stored secret to
 * whoever can watch the cache.  Compilers make vectors of the inner loops.
 */

static void
ngx_apikeys_digest_hex(u_char *dst, const u_char *src, size_t len)
{
    size_t  i, n;
    u_char  digits[32];

    for (n = 0; n < len; n += 16) {

        for (i = 0; i < 16; i++) {
            digits[2 * i] = src[n + i] >> 4;
            digits[2 * i + 1] = src[n + i] & 0x0f;
        }

        for (i = 0; i < 32; i++) {
            dst[2 * n + i] = digits[i] + '0'
                             + (digits[i] > 9) * ('a' - '0' - 10);
        }
    }
}
