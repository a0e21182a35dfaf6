
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What a snapshot file is made of: sealed chunks, and in them what the local
 * copy holds.  No files, no zone, no clock.
 *
 * A header, then chunks: the length of the text in four bytes, of which the
 * highest bit marks the last chunk, the text, the tag.  The file's own key
 * is made of a key of the ring and the header, which has 32 random bytes, so
 * a chunk's number, and whether it is the last, are a sufficient nonce.
 */


#ifndef _NGX_APIKEYS_SNAPSHOT_FORMAT_H_INCLUDED_
#define _NGX_APIKEYS_SNAPSHOT_FORMAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_seal.h>
#include <ngx_apikeys_store.h>


/* one more for any change of what follows, or of the numbers of roles */
#define NGX_APIKEYS_SNAPSHOT_VERSION      2

#define NGX_APIKEYS_SNAPSHOT_HEADER_LEN   48
#define NGX_APIKEYS_SNAPSHOT_LENGTH_LEN   4
#define NGX_APIKEYS_SNAPSHOT_TAG_LEN      16
#define NGX_APIKEYS_SNAPSHOT_BOOT_LEN     36

/* more than any object takes, and a chunk is sealed before the next one */
#define NGX_APIKEYS_SNAPSHOT_MAX_TEXT     (4 * 1024 * 1024)


typedef struct {
    u_char       header[NGX_APIKEYS_SNAPSHOT_HEADER_LEN];
    u_char       key[NGX_APIKEYS_SEAL_KEY_LEN];   /* to be wiped */
    uint64_t     number;       /* of the next chunk */
} ngx_apikeys_snapshot_cipher_t;


/* the first thing in the first chunk */
typedef struct {
    u_char       fingerprint[32];
    u_char       boot[NGX_APIKEYS_SNAPSHOT_BOOT_LEN];
    uint64_t     fresh;        /* boot-time clock of that boot, ms */
    uint64_t     time;         /* the same moment by the calendar, ms */
    ngx_str_t    identity;
    ngx_str_t    snapshot;
} ngx_apikeys_snapshot_meta_t;


/* text that grows; what it leaves is wiped */
typedef struct {
    u_char      *data;
    size_t       len;
    size_t       size;
    ngx_log_t   *log;
} ngx_apikeys_snapshot_text_t;


/* begins a new file: makes its header */
ngx_int_t ngx_apikeys_snapshot_format_begin(
    ngx_apikeys_snapshot_cipher_t *cipher);

/*
 * Whether the header is one of a file of this version: NGX_OK, NGX_DECLINED
 * (of another version), NGX_ERROR (no such file at all).
 */
ngx_int_t ngx_apikeys_snapshot_format_header(
    const ngx_apikeys_snapshot_cipher_t *cipher);

/* the file's key, by key number n of the ring; wipe it soon */
ngx_int_t ngx_apikeys_snapshot_format_key(
    ngx_apikeys_snapshot_cipher_t *cipher, ngx_apikeys_seal_t *seal,
    ngx_uint_t n);
void ngx_apikeys_snapshot_format_wipe(ngx_apikeys_snapshot_cipher_t *cipher);

/*
 * In place.  "chunk" has the length, then the text, then room for the tag.
 * open: NGX_DECLINED when it was not sealed so.
 */
ngx_int_t ngx_apikeys_snapshot_format_seal(
    ngx_apikeys_snapshot_cipher_t *cipher, u_char *chunk, size_t len,
    ngx_uint_t last);
ngx_int_t ngx_apikeys_snapshot_format_open(
    ngx_apikeys_snapshot_cipher_t *cipher, u_char *chunk, size_t len,
    ngx_uint_t last);

/* length of the text that follows; NGX_DECLINED: it cannot be so long */
ngx_int_t ngx_apikeys_snapshot_format_length(const u_char *chunk,
    size_t *len, ngx_uint_t *last);

/* room for n more bytes; NULL without memory */
u_char *ngx_apikeys_snapshot_format_reserve(ngx_apikeys_snapshot_text_t *text,
    size_t n);
void ngx_apikeys_snapshot_format_free(ngx_apikeys_snapshot_text_t *text);

/* to the end of the text */
ngx_int_t ngx_apikeys_snapshot_format_put_meta(
    ngx_apikeys_snapshot_text_t *text,
    const ngx_apikeys_snapshot_meta_t *meta);
ngx_int_t ngx_apikeys_snapshot_format_put(ngx_apikeys_snapshot_text_t *text,
    const ngx_apikeys_store_object_t *object);

/*
 * From the begin of the text, which is moved.  NGX_ERROR: it is not what
 * this version writes.  get: NGX_DONE at the end of the text; lists come
 * from the pool.
 */
ngx_int_t ngx_apikeys_snapshot_format_get_meta(ngx_str_t *text,
    ngx_apikeys_snapshot_meta_t *meta);
ngx_int_t ngx_apikeys_snapshot_format_get(ngx_str_t *text, ngx_pool_t *pool,
    ngx_apikeys_store_object_t *object);


#endif /* _NGX_APIKEYS_SNAPSHOT_FORMAT_H_INCLUDED_ */
