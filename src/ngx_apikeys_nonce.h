
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Digest nonces and the table that catches their replay.
 *
 * A nonce is 24 bytes in base64 (32 characters): time, instance and counter,
 * and a 16-byte keyed tag; it is stateless and good on every node that has
 * the same master keys.  The table of highest counts is shared memory of
 * fixed size, set-associative, without locks (design.md 6).
 */


#ifndef _NGX_APIKEYS_NONCE_H_INCLUDED_
#define _NGX_APIKEYS_NONCE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_digest.h>
#include <ngx_apikeys_nonce_table.h>
#include <ngx_apikeys_seal.h>


#define NGX_APIKEYS_NONCE_LEN          32      /* in base64 */
#define NGX_APIKEYS_NONCE_LIFE         60      /* seconds */
#define NGX_APIKEYS_NONCE_SKEW         30


typedef struct ngx_apikeys_nonce_s  ngx_apikeys_nonce_t;


/* at configuration; keys and table come with init_process */
ngx_apikeys_nonce_t *ngx_apikeys_nonce_create(ngx_conf_t *cf,
    ngx_apikeys_seal_t *seal);

/*
 * In each process, before use: the table (its size is what
 * ngx_apikeys_nonce_table_size() said), and this process' own ciphers.
 */
ngx_int_t ngx_apikeys_nonce_init_process(ngx_apikeys_nonce_t *n,
    void *table, size_t size, ngx_log_t *log);
void ngx_apikeys_nonce_exit_process(ngx_apikeys_nonce_t *n);

/* writes NGX_APIKEYS_NONCE_LEN characters, none of them "=" */
ngx_int_t ngx_apikeys_nonce_make(ngx_apikeys_nonce_t *n, u_char *text);

/*
 * NGX_OK: one of ours and alive; NGX_DECLINED: one of ours (any key of the
 * ring) but too old or from the future; NGX_ERROR: not ours.
 * Uses nothing up: called before the response is verified.  The id is set
 * but with NGX_ERROR, and the prefix, which is good until the next call.
 */
ngx_int_t ngx_apikeys_nonce_check(ngx_apikeys_nonce_t *n,
    const ngx_str_t *text, uint64_t *id,
    ngx_apikeys_digest_prefix_t **prefix);

/*
 * Takes the count of a nonce, by its id, that has authenticated.  "key" is
 * the public key, of which no one may hold more than an eighth of a bucket.
 * NGX_OK; NGX_BUSY: this count was used before, or fell out of the window
 * (replay); NGX_DECLINED: the table no longer knows, the client must take
 * a new nonce (stale=true).
 */
ngx_int_t ngx_apikeys_nonce_use(ngx_apikeys_nonce_t *n, uint64_t id,
    uint32_t count, const u_char *key);


#endif /* _NGX_APIKEYS_NONCE_H_INCLUDED_ */
