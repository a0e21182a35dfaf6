
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Master keys and what is derived from them (HKDF-SHA-256, RFC 5869), and
 * the sealing of stored credentials (AES-256-GCM, NIST SP 800-38D).
 *
 * A ring is made by the master while it reads the configuration and is only
 * read afterwards.  Its pages are locked out of core files.
 */


#ifndef _NGX_APIKEYS_SEAL_H_INCLUDED_
#define _NGX_APIKEYS_SEAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_digest.h>


#define NGX_APIKEYS_SEAL_KEY_LEN       32
#define NGX_APIKEYS_SEAL_MAX_KEYS      16

/* names a line of the file: what a sealed secret begins with */
#define NGX_APIKEYS_SEAL_LINE_LEN      4
#define NGX_APIKEYS_SEAL_LINE_TEXT     8     /* in hex */

/* for digest, RFC 7616, section 3.4.2 */
typedef struct {
    u_char  md5[NGX_APIKEYS_DIGEST_MD5_LEN];
    u_char  sha256[NGX_APIKEYS_DIGEST_SHA256_LEN];
} ngx_apikeys_ha1s_t;

/*
 * Hashes of one credential, what is sealed.  The private key is random, so no
 * slow hash is needed.  The one for schemes that send the private key takes
 * one block of SHA-256.
 */
typedef struct {
    u_char              plain[NGX_APIKEYS_DIGEST_SHA256_LEN];
                                     /* SHA-256 of "public key:private key" */
    ngx_apikeys_ha1s_t  ha1s;
} ngx_apikeys_secret_t;

/* sealed: line 4, iv 12, ciphertext 80, tag 16 */
#define NGX_APIKEYS_SEALED_LEN         112


typedef struct ngx_apikeys_seal_s  ngx_apikeys_seal_t;


/*
 * Reads a master key file: one key (32 random bytes in base64) a line, empty
 * lines and lines that start with "#" aside; the first seals, all open.
 * Errors are logged as [emerg] with what to do; then NULL.
 */
ngx_apikeys_seal_t *ngx_apikeys_seal_create(ngx_conf_t *cf, ngx_str_t *file);

/* all hashes of a credential; NGX_ERROR of the library */
ngx_int_t ngx_apikeys_seal_hash(ngx_apikeys_secret_t *secret,
    const ngx_str_t *public_key, const ngx_str_t *realm,
    const ngx_str_t *private_key);

/*
 * The associated data of a secret: what it is sealed for.  A sealed secret
 * that is moved to another key, another secret of the key, another
 * organization or another realm opens nothing.
 */
ngx_int_t ngx_apikeys_seal_context(ngx_pool_t *pool, ngx_str_t *context,
    const ngx_str_t *org, const ngx_str_t *id, const ngx_str_t *public_key,
    const ngx_str_t *secret_id, const ngx_str_t *realm);

/*
 * Seals with the key number n of the ring, and opens.  open: NGX_OK,
 * NGX_DECLINED when no key of the ring opens it.
 */
ngx_int_t ngx_apikeys_seal_secret(ngx_apikeys_seal_t *seal, ngx_uint_t n,
    u_char sealed[NGX_APIKEYS_SEALED_LEN], const ngx_apikeys_secret_t *secret,
    const ngx_str_t *context);
ngx_int_t ngx_apikeys_seal_open(ngx_apikeys_seal_t *seal,
    ngx_apikeys_secret_t *secret, const ngx_str_t *sealed,
    const ngx_str_t *context);

/*
 * Derives "len" bytes for a purpose ("nonce", "snapshot", "check") from the
 * key number n of the ring, 0 being the first line.
 */
ngx_int_t ngx_apikeys_seal_derive(ngx_apikeys_seal_t *seal, ngx_uint_t n,
    const char *purpose, u_char *out, size_t len);

ngx_uint_t ngx_apikeys_seal_nkeys(ngx_apikeys_seal_t *seal);

/*
 * The line of the key number n, NGX_APIKEYS_SEAL_LINE_LEN bytes, and the
 * number of the key with a line, or NGX_DECLINED.
 */
const u_char *ngx_apikeys_seal_line(ngx_apikeys_seal_t *seal, ngx_uint_t n);
ngx_int_t ngx_apikeys_seal_find(ngx_apikeys_seal_t *seal, const u_char *line);

/*
 * Decodes the hex of a sealed secret or a line, "len" bytes.  NGX_DECLINED:
 * it is not that.
 */
ngx_int_t ngx_apikeys_seal_unhex(u_char *dst, size_t len,
    const ngx_str_t *text);

/*
 * Zeroed memory for what is as good as a secret: it lives as long as the
 * configuration, stays out of core files, and is wiped.  NULL: logged.
 */
void *ngx_apikeys_seal_pages(ngx_conf_t *cf, size_t size);


#endif /* _NGX_APIKEYS_SEAL_H_INCLUDED_ */
