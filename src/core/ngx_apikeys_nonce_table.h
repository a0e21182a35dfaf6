
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The table of nonces that have authenticated: which of their counts were
 * used.  Shared memory of fixed size, without locks.  A nonce is known here
 * by an id of 64 bits, whose upper part is the time of its making.
 */


#ifndef _NGX_APIKEYS_NONCE_TABLE_H_INCLUDED_
#define _NGX_APIKEYS_NONCE_TABLE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* milliseconds of Unix time in 42 bits, then a counter of the zone */
#define NGX_APIKEYS_NONCE_TIME_SHIFT   22

#define ngx_apikeys_nonce_time(id)     ((id) >> NGX_APIKEYS_NONCE_TIME_SHIFT)


typedef struct ngx_apikeys_nonce_head_s    ngx_apikeys_nonce_head_t;
typedef struct ngx_apikeys_nonce_bucket_s  ngx_apikeys_nonce_bucket_t;


/* numbers of a counter that one process has for itself */
typedef struct {
    uint64_t                     next;
    uint64_t                     left;
} ngx_apikeys_nonce_range_t;


/* one process' view */
typedef struct {
    ngx_apikeys_nonce_head_t    *head;
    ngx_apikeys_nonce_bucket_t  *buckets;
    uint64_t                     nbuckets;
    uint64_t                     salt;
    uint64_t                     born;      /* ms; 0: not known */
    uint64_t                     life;      /* ms that a nonce may serve */
    uint64_t                     skew;      /* ms that clocks may differ */
    uint64_t                     made_at;   /* ms; of the range */
    ngx_apikeys_nonce_range_t    made;
    ngx_apikeys_nonce_range_t    tickets;
} ngx_apikeys_nonce_table_t;


/* bytes of shared memory to set aside in a zone of the given size */
size_t ngx_apikeys_nonce_table_size(size_t zone);

/*
 * Memory that was zeroed when it was made; life and skew are the caller's.
 * NGX_DECLINED: too little of it; NGX_ERROR: no random numbers.
 */
ngx_int_t ngx_apikeys_nonce_table_init(ngx_apikeys_nonce_table_t *t,
    void *memory, size_t size);

/*
 * After that, in each process, too: nonces that are not newer than the memory
 * may have been used in another one before, and are not taken.
 */
void ngx_apikeys_nonce_table_begin(ngx_apikeys_nonce_table_t *t,
    uint64_t now);

/* the id of a new nonce, which no other one of this memory has */
uint64_t ngx_apikeys_nonce_table_next(ngx_apikeys_nonce_table_t *t,
    uint64_t now);

/* see ngx_apikeys_nonce_use() */
ngx_int_t ngx_apikeys_nonce_table_accept(ngx_apikeys_nonce_table_t *t,
    uint64_t id, uint32_t count, uint32_t owner, uint64_t now);


#endif /* _NGX_APIKEYS_NONCE_TABLE_H_INCLUDED_ */
