
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * HTTP Digest (RFC 7616, RFC 2617), the pure part: the header's parameters
 * and the response they must carry.  qop is always auth.
 */


#ifndef _NGX_APIKEYS_DIGEST_H_INCLUDED_
#define _NGX_APIKEYS_DIGEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_md5.h>

#include <openssl/sha.h>


#define NGX_APIKEYS_DIGEST_MD5_LEN     16
#define NGX_APIKEYS_DIGEST_SHA256_LEN  32

#define NGX_APIKEYS_DIGEST_BLOCK       64

/* of the nonces that we make */
#define NGX_APIKEYS_DIGEST_NONCE_LEN   32


typedef enum {
    NGX_APIKEYS_DIGEST_MD5 = 0,
    NGX_APIKEYS_DIGEST_SHA256
} ngx_apikeys_digest_alg_e;


/* slices of the header value; quoted strings hold no escapes (see parse) */
typedef struct {
    ngx_str_t                 username;
    ngx_str_t                 realm;
    ngx_str_t                 nonce;
    ngx_str_t                 uri;
    ngx_str_t                 response;   /* its length fits alg */
    ngx_str_t                 cnonce;
    ngx_str_t                 nc;         /* 1 to 8 hex digits, as sent */
    uint32_t                  count;      /* nc's value, never 0 */
    ngx_apikeys_digest_alg_e  alg;        /* MD5 where the header is silent */
} ngx_apikeys_digest_t;


typedef union {
    ngx_md5_t                 md5;
    SHA256_CTX                sha256;
} ngx_apikeys_digest_state_t;


/*
 * The state after the first 64 bytes that a response is hashed from: the HA1
 * and the nonce, which are the same for all counts.  Reused for the same user
 * only: all unknown users have the same dummy secret, and a faster answer
 * would reveal that two users have the same secret.
 */
typedef struct {
    u_char                    ha1[NGX_APIKEYS_DIGEST_SHA256_LEN];
    u_char                    nonce[NGX_APIKEYS_DIGEST_NONCE_LEN];
    uint64_t                  user;       /* 0: there is none yet */
    ngx_apikeys_digest_alg_e  alg;
    ngx_apikeys_digest_state_t  state;
} ngx_apikeys_digest_prefix_t;


/* the last method and URI, and their hash; a longer text is not kept */
typedef struct {
    size_t                    len;        /* of the text; 0: there is none */
    size_t                    method_len;
    ngx_apikeys_digest_alg_e  alg;
    u_char                    text[128];
    u_char                    ha2[2 * NGX_APIKEYS_DIGEST_SHA256_LEN];
} ngx_apikeys_digest_target_t;


/* what is kept with a nonce, zeroed at first */
typedef struct {
    ngx_apikeys_digest_prefix_t  prefix;
    ngx_apikeys_digest_target_t  target;
} ngx_apikeys_digest_kept_t;


/*
 * Parses what follows "Digest ".  NGX_OK, or NGX_DECLINED for everything
 * that cannot authenticate: bad syntax, a parameter twice, one missing
 * (username, realm, nonce, uri, response, cnonce, nc, qop), a qop other
 * than auth, an unknown algorithm or "-sess", userhash=true, username*,
 * a NUL or a backslash escape, nc that is not 1 to 8 hex digits or is 0, a
 * response of the wrong length.  Values may be quoted or tokens; order,
 * spaces and unknown parameters do not matter.
 */
ngx_int_t ngx_apikeys_digest_parse(ngx_apikeys_digest_t *d,
    const ngx_str_t *value);

/*
 * SHA-256 of "username:password", NGX_APIKEYS_DIGEST_SHA256_LEN bytes: what the
 * schemes that send the password itself are verified with.
 */
ngx_int_t ngx_apikeys_digest_plain(u_char *hash, const ngx_str_t *username,
    const ngx_str_t *password);

/* H(username:realm:password); md5 has 16 bytes, sha256 32 */
void ngx_apikeys_digest_ha1_md5(u_char *ha1, const ngx_str_t *username,
    const ngx_str_t *realm, const ngx_str_t *password);
ngx_int_t ngx_apikeys_digest_ha1_sha256(u_char *ha1,
    const ngx_str_t *username, const ngx_str_t *realm,
    const ngx_str_t *password);

/* of anything, NGX_APIKEYS_DIGEST_SHA256_LEN bytes */
ngx_int_t ngx_apikeys_digest_sha256(u_char *hash, const ngx_str_t *text);

/*
 * Whether d->response is the right one for the binary HA1 of d->alg, in
 * constant time.  NGX_OK, NGX_DECLINED, or NGX_ERROR of the library.  kept is
 * what the last call for the nonce left, or NULL.
 */
ngx_int_t ngx_apikeys_digest_verify(const ngx_apikeys_digest_t *d,
    const u_char *ha1, const ngx_str_t *method,
    ngx_apikeys_digest_kept_t *kept);


/*
 * In constant time, for lengths that are multiples of eight: CRYPTO_memcmp()
 * goes by bytes, with five instructions for each.  The compiler must not know
 * what the loop computes, or it could leave the loop early.
 */

#if (__GNUC__)
#define ngx_apikeys_digest_opaque(value)  __asm__ ("" : "+r" (value))
#else
#define ngx_apikeys_digest_opaque(value)  *(volatile uint64_t *) &(value)
#endif

static ngx_inline ngx_uint_t
ngx_apikeys_digest_equal(const u_char *one, const u_char *two, size_t len)
{
    size_t    i;
    uint64_t  a, b, differ;

    differ = 0;

    for (i = 0; i < len; i += sizeof(uint64_t)) {
        ngx_memcpy(&a, &one[i], sizeof(uint64_t));
        ngx_memcpy(&b, &two[i], sizeof(uint64_t));
        differ |= a ^ b;
        ngx_apikeys_digest_opaque(differ);
    }

    return differ == 0;
}


#endif /* _NGX_APIKEYS_DIGEST_H_INCLUDED_ */
