
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Digest nonces and the table that catches their replay.
 *
 * A nonce is 24 bytes in base64 (32 characters): an id of 8 bytes
 * (milliseconds in 42 bits; a counter, which starts at a random value of the
 * zone, in 22 bits), and a keyed tag of 16 bytes.  It is not stored, and valid
 * on every node with the same master keys.  The table of used counts
 * (ngx_apikeys_nonce_table.h) is in shared memory.
 */


#ifndef _NGX_APIKEYS_NONCE_H_INCLUDED_
#define _NGX_APIKEYS_NONCE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_digest.h>
#include <ngx_apikeys_nonce_table.h>
#include <ngx_apikeys_seal.h>


#define NGX_APIKEYS_NONCE_LEN          NGX_APIKEYS_DIGEST_NONCE_LEN
                                               /* digits of base64 */
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

/* writes NGX_APIKEYS_NONCE_LEN characters: letters, digits, "+" and "/" */
ngx_int_t ngx_apikeys_nonce_make(ngx_apikeys_nonce_t *n, u_char *text);

/*
 * NGX_OK: made with one of the master keys, and valid now; NGX_DECLINED: made
 * with one of them, but too old or from the future; NGX_ERROR: not ours.
 * Does not consume the nonce: called before the response is verified.  Sets
 * *id and *kept except on NGX_ERROR; *kept is valid until the next call.
 */
ngx_int_t ngx_apikeys_nonce_check(ngx_apikeys_nonce_t *n,
    const ngx_str_t *text, uint64_t *id,
    ngx_apikeys_digest_kept_t **kept);

/*
 * Accepts a count of a nonce, once, after the response was verified.  "key"
 * is the public key; one key uses at most an eighth of a bucket.  NGX_OK;
 * NGX_BUSY: the count was used before, or is below the window (replay);
 * NGX_DECLINED: the table cannot tell, the client must use a new nonce
 * (stale=true).
 */
ngx_int_t ngx_apikeys_nonce_use(ngx_apikeys_nonce_t *n, uint64_t id,
    uint32_t count, const u_char *key);


#endif /* _NGX_APIKEYS_NONCE_H_INCLUDED_ */
