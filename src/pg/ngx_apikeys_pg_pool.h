
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The connections of one worker to one database, and the queries that wait
 * for them.  Pools are made in init_process and belong to the cycle.
 *
 * Queries of one tenant use at most all connections but one, and half of the
 * queue.  Queries of tenants that have no running query come first.
 */


#ifndef _NGX_APIKEYS_PG_POOL_H_INCLUDED_
#define _NGX_APIKEYS_PG_POOL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_failure.h>
#include <ngx_apikeys_pg_conn.h>


typedef struct ngx_apikeys_pg_pool_s  ngx_apikeys_pg_pool_t;


/* three gauges, then counters; this memory may outlive the pool */
typedef struct {
    uint64_t                       open;       /* logged in */
    uint64_t                       busy;
    uint64_t                       waiting;
    uint64_t                       connects;
    uint64_t                       failures;   /* of connects */
    uint64_t                       queries;
    uint64_t                       errors;
    uint64_t                       timeouts;
    uint64_t                       refused;    /* queue full */
} ngx_apikeys_pg_pool_stat_t;


/* overrides of the configuration; 0: the value of the configuration */
typedef struct {
    ngx_apikeys_pg_pool_stat_t    *stat;       /* where to count, or NULL */
    ngx_apikeys_failure_t         *failure;    /* state of "no host is
                                                  available", shared by all
                                                  pools of a node; or NULL */
    ngx_uint_t                     connections;
    ngx_uint_t                     queue;
    const char                    *name;       /* application_name suffix */
    const char                    *listen;     /* channel of LISTEN, on
                                                  connections that stay
                                                  open */
    void                         (*notify)(void *data); /* called after a
                                                  notification, and when a new
                                                  connection listens */
    void                         (*closed)(void *data); /* called when a
                                                  listening connection was
                                                  lost */
    void                          *data;
} ngx_apikeys_pg_pool_options_t;


ngx_apikeys_pg_pool_t *ngx_apikeys_pg_pool_create(ngx_cycle_t *cycle,
    ngx_apikeys_pg_conf_t *conf, ngx_apikeys_pg_pool_options_t *options);

/*
 * Closes all connections and forgets all queries without their handlers; not
 * to be called from a handler of the pool or of a query.
 */
void ngx_apikeys_pg_pool_destroy(ngx_apikeys_pg_pool_t *pp);

/*
 * Runs a statement on an open connection and blocks, in a process that ends,
 * before the pool is destroyed: see ngx_apikeys_pg_conn_final().
 * NGX_DECLINED: no connection is open.
 */
ngx_int_t ngx_apikeys_pg_pool_final(ngx_apikeys_pg_pool_t *pp,
    const ngx_apikeys_pg_stmt_t *stmt, const ngx_str_t *params,
    ngx_msec_t timeout, ngx_uint_t *nrows);

/* host and port, for the log, of the connection of a pool with one */
const char *ngx_apikeys_pg_pool_label(ngx_apikeys_pg_pool_t *pp);


/* for ngx_apikeys_pg_query.c only */

void ngx_apikeys_pg_pool_query_start(ngx_apikeys_pg_query_t *query);
/* ends a query in any state but NONE; its handler runs later */
void ngx_apikeys_pg_pool_query_finish(ngx_apikeys_pg_query_t *query,
    ngx_apikeys_pg_rc_e rc, const char *error);
/* ends a query in any state; its handler does not run */
void ngx_apikeys_pg_pool_query_cancel(ngx_apikeys_pg_query_t *query);
void ngx_apikeys_pg_pool_query_resume(ngx_apikeys_pg_query_t *query);


#endif /* _NGX_APIKEYS_PG_POOL_H_INCLUDED_ */
