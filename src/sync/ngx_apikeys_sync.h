
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Follows the database: full load, feed, LISTEN, heartbeat.  One worker per
 * zone does this, the one that has the lease of the zone (the leader).  All
 * workers publish the objects that their own mutations returned.
 */


#ifndef _NGX_APIKEYS_SYNC_H_INCLUDED_
#define _NGX_APIKEYS_SYNC_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_pg_query.h>
#include <ngx_apikeys_snapshot.h>
#include <ngx_apikeys_store.h>


typedef struct ngx_apikeys_sync_s  ngx_apikeys_sync_t;


typedef struct {
    ngx_apikeys_store_t    *store;
    ngx_apikeys_seal_t     *seal;
    ngx_apikeys_pg_conf_t  *database;
    ngx_str_t               realm;
    ngx_msec_t              poll;       /* between two rounds, ms */
    ngx_msec_t              stale_max;  /* the largest apikeys_stale, ms */
    ngx_msec_t              stale_min;  /* the smallest one of any location */
    ngx_msec_t              stale_deny_min;  /* the smallest one of a location
                                           without expired=allow; 0: there is
                                           no such location */
    ngx_flag_t              notify;     /* LISTEN for changes */
    ngx_flag_t              stale_forever;  /* 1: a location has
                                           expired=allow */
    ngx_apikeys_snapshot_conf_t  snapshot;
} ngx_apikeys_sync_conf_t;


/* of this worker; listening: 1 if it is the leader and LISTENs */
typedef struct {
    uint64_t     listening;
    uint64_t     polls;        /* feed queries */
    uint64_t     loads;
    uint64_t     changes;      /* rows read */
    uint64_t     errors;       /* rounds that failed */
} ngx_apikeys_sync_stat_t;


/*
 * In workers only; NULL: failed, which is logged.  conf and stat must outlive
 * it.  Work begins with a timer.  destroy() blocks for up to about a second in
 * the leader.
 */
ngx_apikeys_sync_t *ngx_apikeys_sync_create(ngx_cycle_t *cycle,
    ngx_apikeys_sync_conf_t *conf, ngx_apikeys_sync_stat_t *stat);
void ngx_apikeys_sync_destroy(ngx_apikeys_sync_t *sync);


/*
 * Publishes the rows of a mutation's result (type apikeys.state, beginning
 * with the first column, see ngx_apikeys_state.h) in the zone.  NGX_OK: done,
 * the handler is not called; NGX_AGAIN: the zone was locked, the handler will
 * be called from the event loop.  There is no error: the mutation is
 * committed, and changes that cannot be published here arrive with the feed.
 *
 * The caller sets sync, handler and data, sets generation before it sends the
 * mutation (ngx_apikeys_store_generation()), and zeroes the rest.
 */
typedef void (*ngx_apikeys_sync_handler_pt)(void *data);

typedef struct {
    ngx_apikeys_sync_t           *sync;
    ngx_apikeys_sync_handler_pt   handler;
    void                         *data;
    uint64_t                      generation;  /* of the store, when the
                                               mutation was sent */
    ngx_pool_t                   *pool;     /* of the objects */
    ngx_array_t                  *objects;  /* decoded; or NULL */
    ngx_uint_t                    next;     /* first one not published */
    uint64_t                      since;    /* boot-time ms */
    ngx_event_t                   event;
} ngx_apikeys_sync_publication_t;

ngx_int_t ngx_apikeys_sync_publish(ngx_apikeys_sync_publication_t *p,
    ngx_apikeys_pg_query_t *q);
/* the handler is not called any more; the feed brings the changes */
void ngx_apikeys_sync_publish_cancel(ngx_apikeys_sync_publication_t *p);


/* 1: equal; for database ids and transaction ids */
ngx_uint_t ngx_apikeys_sync_str_equal(const ngx_str_t *one,
    const ngx_str_t *two);


#endif /* _NGX_APIKEYS_SYNC_H_INCLUDED_ */
