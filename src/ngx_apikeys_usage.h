
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * How often each access list entry let a request in: counted in the worker,
 * flushed to the database every few seconds in one statement.
 */


#ifndef _NGX_APIKEYS_USAGE_H_INCLUDED_
#define _NGX_APIKEYS_USAGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_cidr.h>
#include <ngx_apikeys_objectid.h>
#include <ngx_apikeys_pg_query.h>


/* milliseconds between two flushes: what a killed worker may lose */
#define NGX_APIKEYS_USAGE_INTERVAL     5000


typedef struct ngx_apikeys_usage_s  ngx_apikeys_usage_t;


/* counters, and a gauge */
typedef struct {
    uint64_t     pending;      /* entries with counts to flush */
    uint64_t     flushes;
    uint64_t     failures;
    uint64_t     dropped;      /* requests that are not counted */
} ngx_apikeys_usage_stat_t;


/*
 * In init_process; belongs to the cycle and uses the worker's own pool.  What
 * "stat" points to outlives it.
 */
ngx_apikeys_usage_t *ngx_apikeys_usage_create(ngx_cycle_t *cycle,
    ngx_apikeys_pg_pool_t *pp, ngx_apikeys_usage_stat_t *stat);
void ngx_apikeys_usage_destroy(ngx_apikeys_usage_t *usage);

/* one request of "key" was let in by "entry", from "address"; never fails */
void ngx_apikeys_usage_count(ngx_apikeys_usage_t *usage,
    const ngx_apikeys_objectid_t *key, const ngx_apikeys_cidr_t *entry,
    const ngx_apikeys_cidr_t *address);


#endif /* _NGX_APIKEYS_USAGE_H_INCLUDED_ */
