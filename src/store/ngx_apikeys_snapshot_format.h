
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The format of the snapshot file: encoding, encryption, decoding.  No files,
 * no zone, no clock.
 *
 * A file has a header (magic, version, 32 random bytes), then chunks: the
 * length of the text (4 bytes, the highest bit marks the last chunk), the
 * text, an authentication tag (AES-256-GCM).  The cipher key of a file is
 * derived from a line of the master key file and the header.  As the header is
 * random, the number of the chunk and whether it is the last are a sufficient
 * nonce.
 */


#ifndef _NGX_APIKEYS_SNAPSHOT_FORMAT_H_INCLUDED_
#define _NGX_APIKEYS_SNAPSHOT_FORMAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_seal.h>
#include <ngx_apikeys_store.h>


/* of the format; to be increased with any change of it or of role masks */
#define NGX_APIKEYS_SNAPSHOT_VERSION      4

#define NGX_APIKEYS_SNAPSHOT_HEADER_LEN   48
#define NGX_APIKEYS_SNAPSHOT_LENGTH_LEN   4
#define NGX_APIKEYS_SNAPSHOT_TAG_LEN      16
#define NGX_APIKEYS_SNAPSHOT_BOOT_LEN     36

/* upper limit of the text of a chunk, bytes; the largest key has 2.2 MB */
#define NGX_APIKEYS_SNAPSHOT_MAX_TEXT     (4 * 1024 * 1024)


typedef struct {
    u_char       header[NGX_APIKEYS_SNAPSHOT_HEADER_LEN];
    u_char       key[NGX_APIKEYS_SEAL_KEY_LEN];   /* see format_wipe() */
    uint64_t     number;       /* of the next chunk */
} ngx_apikeys_snapshot_cipher_t;


/* the beginning of the first chunk */
typedef struct {
    u_char       fingerprint[32];
    u_char       boot[NGX_APIKEYS_SNAPSHOT_BOOT_LEN];
    uint64_t     fresh;        /* proof of freshness, boot-time ms of "boot" */
    uint64_t     time;         /* the same moment, wall clock, ms */
    ngx_str_t    database_id;
    ngx_str_t    pg_snapshot;
} ngx_apikeys_snapshot_meta_t;


/* a buffer that grows; memory that it frees is wiped */
typedef struct {
    u_char      *data;
    size_t       len;
    size_t       size;
    ngx_log_t   *log;
} ngx_apikeys_snapshot_text_t;


/* begins a new file: makes its header; NGX_ERROR: no random numbers */
ngx_int_t ngx_apikeys_snapshot_format_begin(
    ngx_apikeys_snapshot_cipher_t *cipher);

/*
 * Checks a header.  NGX_DECLINED: another version of the format; NGX_ERROR:
 * not a snapshot file.
 */
ngx_int_t ngx_apikeys_snapshot_format_header(
    const ngx_apikeys_snapshot_cipher_t *cipher);

/* derives the cipher key from line n of the master key file; wipe it soon */
ngx_int_t ngx_apikeys_snapshot_format_key(
    ngx_apikeys_snapshot_cipher_t *cipher, ngx_apikeys_seal_t *seal,
    ngx_uint_t n);
void ngx_apikeys_snapshot_format_wipe(ngx_apikeys_snapshot_cipher_t *cipher);

/*
 * Encrypts and decrypts in place.  "chunk" has the length, the text of "len"
 * bytes, and the tag (seal: room for it).  open: NGX_DECLINED: the tag is
 * wrong.
 */
ngx_int_t ngx_apikeys_snapshot_format_seal(
    ngx_apikeys_snapshot_cipher_t *cipher, u_char *chunk, size_t len,
    ngx_uint_t last);
ngx_int_t ngx_apikeys_snapshot_format_open(
    ngx_apikeys_snapshot_cipher_t *cipher, u_char *chunk, size_t len,
    ngx_uint_t last);

/* parses the length of a chunk; NGX_DECLINED: above the limit */
ngx_int_t ngx_apikeys_snapshot_format_length(const u_char *chunk,
    size_t *len, ngx_uint_t *last);

/* makes room for n more bytes and returns it; NULL: no memory */
u_char *ngx_apikeys_snapshot_format_reserve(ngx_apikeys_snapshot_text_t *text,
    size_t n);
void ngx_apikeys_snapshot_format_free(ngx_apikeys_snapshot_text_t *text);

/* append to the text; NGX_ERROR: no memory */
ngx_int_t ngx_apikeys_snapshot_format_put_meta(
    ngx_apikeys_snapshot_text_t *text,
    const ngx_apikeys_snapshot_meta_t *meta);
ngx_int_t ngx_apikeys_snapshot_format_put(ngx_apikeys_snapshot_text_t *text,
    const ngx_apikeys_store_object_t *object);

/*
 * Decode the beginning of the text and advance it.  NGX_ERROR: invalid, or no
 * memory.  get: NGX_DONE at the end of the text; the lists of a key are
 * allocated from the pool.
 */
ngx_int_t ngx_apikeys_snapshot_format_get_meta(ngx_str_t *text,
    ngx_apikeys_snapshot_meta_t *meta);
ngx_int_t ngx_apikeys_snapshot_format_get(ngx_str_t *text, ngx_pool_t *pool,
    ngx_apikeys_store_object_t *object);


#endif /* _NGX_APIKEYS_SNAPSHOT_FORMAT_H_INCLUDED_ */
