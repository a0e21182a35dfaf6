
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The connections of one worker to one database, and the queries that wait
 * for them.  Pools are made in init_process and belong to the cycle.
 *
 * Queries of one tenant run on all connections but one, wait in half of the
 * queue, and give way to those of tenants for whom nothing runs.
 */


#ifndef _NGX_APIKEYS_PG_POOL_H_INCLUDED_
#define _NGX_APIKEYS_PG_POOL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_pg_conn.h>


typedef struct ngx_apikeys_pg_pool_s  ngx_apikeys_pg_pool_t;


/* counters, and three gauges; what has them may outlive the pool */
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


/* how a pool differs from what the configuration says; all may be 0 */
typedef struct {
    ngx_apikeys_pg_pool_stat_t    *stat;       /* where to count, or NULL */
    ngx_uint_t                     connections;
    ngx_uint_t                     queue;
    const char                    *name;       /* application_name suffix */
    const char                    *listen;     /* channel: LISTEN on each
                                                  connection, kept open */
    void                         (*notify)(void *data); /* a notification, or
                                                  a connection that listens
                                                  anew */
    void                         (*closed)(void *data); /* a listening
                                                  connection was lost */
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
 * Before it is destroyed, in a process that ends: runs a statement on a
 * connection that is open, blocking, see ngx_apikeys_pg_conn_final().
 * NGX_DECLINED: there is none.
 */
ngx_int_t ngx_apikeys_pg_pool_final(ngx_apikeys_pg_pool_t *pp,
    const ngx_apikeys_pg_stmt_t *stmt, const ngx_str_t *params,
    ngx_msec_t timeout, ngx_uint_t *nrows);


/* for ngx_apikeys_pg_query only: what it does with its work */

void ngx_apikeys_pg_pool_work_start(ngx_apikeys_pg_work_t *work);
/* the end of a work in any state but NONE: the handler runs later */
void ngx_apikeys_pg_pool_work_finish(ngx_apikeys_pg_work_t *work,
    ngx_apikeys_pg_rc_e rc, const char *error);
/* the end without the handler, in any state */
void ngx_apikeys_pg_pool_work_cancel(ngx_apikeys_pg_work_t *work);
void ngx_apikeys_pg_pool_work_resume(ngx_apikeys_pg_work_t *work);


#endif /* _NGX_APIKEYS_PG_POOL_H_INCLUDED_ */
