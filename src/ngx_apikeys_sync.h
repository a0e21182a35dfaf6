
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Follows the database: full load, feed, LISTEN, heartbeat.  One process per
 * zone does it, by the lease in the zone; all processes publish the state
 * that their own mutations returned.
 */


#ifndef _NGX_APIKEYS_SYNC_H_INCLUDED_
#define _NGX_APIKEYS_SYNC_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_snapshot.h>
#include <ngx_apikeys_store.h>
#include <ngx_apikeys_pg_query.h>


typedef struct ngx_apikeys_sync_s  ngx_apikeys_sync_t;


typedef struct {
    ngx_apikeys_store_t    *store;
    ngx_apikeys_seal_t     *seal;
    ngx_apikeys_pg_conf_t  *database;
    ngx_str_t               realm;
    ngx_msec_t              poll;
    ngx_msec_t              stale;      /* the largest apikeys_stale, ms */
    ngx_msec_t              fresh;      /* the smallest one */
    ngx_flag_t              notify;
    ngx_flag_t              stale_forever;  /* an expired=allow exists */
    ngx_apikeys_snapshot_conf_t  snapshot;
} ngx_apikeys_sync_conf_t;


/* counters, and a gauge: whether the process, as the leader, is notified */
typedef struct {
    uint64_t     listening;
    uint64_t     polls;
    uint64_t     loads;
    uint64_t     changes;
    uint64_t     errors;
} ngx_apikeys_sync_stat_t;


/* workers only; the first work is done by a timer; stat outlives it */
ngx_apikeys_sync_t *ngx_apikeys_sync_create(ngx_cycle_t *cycle,
    ngx_apikeys_sync_conf_t *conf, ngx_apikeys_sync_stat_t *stat);
void ngx_apikeys_sync_destroy(ngx_apikeys_sync_t *sync);


/*
 * Publishes the state rows of a mutation's result (type apikeys.state, all
 * columns first in the row, in order; see sql/) and calls the handler when
 * the zone has them, from the event loop.  NGX_OK: done, the handler is not
 * called; NGX_AGAIN: the zone was busy, it will be called.  The caller fills
 * sync, handler and data, and epoch before the mutation is sent; the rest is
 * zero.
 * There is no failure: the mutation is committed, and what cannot be
 * published here arrives by the feed.
 */
typedef void (*ngx_apikeys_sync_handler_pt)(void *data);

typedef struct {
    ngx_apikeys_sync_t           *sync;
    ngx_apikeys_sync_handler_pt   handler;
    void                         *data;
    uint64_t                      epoch;    /* ngx_apikeys_store_epoch() */
    ngx_pool_t                   *pool;     /* of the states */
    ngx_array_t                  *states;   /* decoded, waiting; or NULL */
    ngx_uint_t                    next;     /* the first that waits */
    uint64_t                      since;    /* boot-time clock, ms */
    ngx_event_t                   event;
} ngx_apikeys_sync_publication_t;

ngx_int_t ngx_apikeys_sync_publish(ngx_apikeys_sync_publication_t *p,
    ngx_apikeys_pg_query_t *q);
/* after it the handler will not be called; the feed brings the rest */
void ngx_apikeys_sync_publish_cancel(ngx_apikeys_sync_publication_t *p);


/* of two identities, or transactions */
ngx_uint_t ngx_apikeys_sync_same(const ngx_str_t *one, const ngx_str_t *two);


#endif /* _NGX_APIKEYS_SYNC_H_INCLUDED_ */
