
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Rows of the type apikeys.state, decoded: what the load, the feed and the
 * mutations return, in the form in which the store takes it.
 */


#ifndef _NGX_APIKEYS_SYNC_STATE_H_INCLUDED_
#define _NGX_APIKEYS_SYNC_STATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_state.h>
#include <ngx_apikeys_sync.h>


/* one row of a result */
typedef struct {
    ngx_apikeys_pg_query_t          *query;
    ngx_uint_t                       number;
    ngx_uint_t                       column;   /* where the state begins */
} ngx_apikeys_sync_row_t;


typedef struct {
    ngx_apikeys_store_kind_e         kind;
    ngx_uint_t                       deleted;  /* then "u" is not set */
    ngx_apikeys_objectid_t           id;
    uint64_t                         version;
    union {
        ngx_apikeys_store_key_t      key;
        ngx_apikeys_store_org_t      org;
        ngx_apikeys_store_project_t  project;
    } u;
} ngx_apikeys_sync_state_t;


/*
 * Decodes a row into "state"; lists are allocated from "pool".  A key that
 * cannot be understood in full, or whose secret does not open, comes out as
 * unreadable: readers get 503 for it, never a list or a role too many.
 * NGX_ERROR: no memory, or the row does not even name an object.
 */
ngx_int_t ngx_apikeys_sync_state_decode(ngx_apikeys_sync_conf_t *conf,
    ngx_pool_t *pool, ngx_apikeys_sync_row_t *row,
    ngx_apikeys_sync_state_t *state);

/*
 * The secret of a key's row.  "sealed" (NGX_APIKEYS_SEALED_LEN bytes) and
 * "context" get what it is opened with.  NGX_DECLINED: it does not open.
 */
ngx_int_t ngx_apikeys_sync_state_secret(ngx_apikeys_sync_conf_t *conf,
    ngx_pool_t *pool, ngx_apikeys_sync_row_t *row, u_char *sealed,
    ngx_str_t *context, ngx_apikeys_secret_t *secret);

/* what must still hold, under the lock, for states to be published */
typedef struct {
    uint32_t                         load;     /* their load, or 0 */
    uint64_t                         epoch;    /* unfenced: of the store, when
                                                  they were asked for */
    ngx_uint_t                       fenced;   /* this process has the lease */
} ngx_apikeys_sync_terms_t;


/*
 * Publishes states[*next..] under the zone's lock, for about a millisecond,
 * and moves *next.  NGX_OK: all are there; NGX_AGAIN: some are left, or the
 * lock was busy: try again from a timer; NGX_ABORT: the terms do not hold
 * any more, nothing was written.
 */
ngx_int_t ngx_apikeys_sync_state_publish(ngx_apikeys_store_t *store,
    ngx_array_t *states, ngx_uint_t *next,
    const ngx_apikeys_sync_terms_t *terms);

/* to be called before the memory of decoded states is given back */
void ngx_apikeys_sync_state_wipe(ngx_array_t *states);

/* a monotonic clock in microseconds, to bound slices of work */
uint64_t ngx_apikeys_sync_state_clock(void);


#endif /* _NGX_APIKEYS_SYNC_STATE_H_INCLUDED_ */
