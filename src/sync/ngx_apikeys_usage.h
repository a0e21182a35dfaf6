
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Counts the requests that each access list entry has admitted: per worker,
 * flushed to the database every few seconds by one statement.
 */


#ifndef _NGX_APIKEYS_USAGE_H_INCLUDED_
#define _NGX_APIKEYS_USAGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_cidr.h>
#include <ngx_apikeys_failure.h>
#include <ngx_apikeys_objectid.h>
#include <ngx_apikeys_pg_query.h>


/* ms between two flushes */
#define NGX_APIKEYS_USAGE_INTERVAL     5000


typedef struct ngx_apikeys_usage_s  ngx_apikeys_usage_t;


/* of this worker; pending is a gauge, the others are counters */
typedef struct {
    uint64_t     pending;      /* entries with counts that are not stored */
    uint64_t     flushes;
    uint64_t     failures;
    uint64_t     dropped;      /* requests not counted */
} ngx_apikeys_usage_stat_t;


/*
 * To be called in init_process; pp: the worker's PostgreSQL pool.  *stat and
 * *failure (shared by all workers) must outlive it.  NULL: failed.
 */
ngx_apikeys_usage_t *ngx_apikeys_usage_create(ngx_cycle_t *cycle,
    ngx_apikeys_pg_pool_t *pp, ngx_apikeys_usage_stat_t *stat,
    ngx_apikeys_failure_t *failure);
void ngx_apikeys_usage_destroy(ngx_apikeys_usage_t *usage);

/* counts a request of "key" from "address" that "entry" has admitted */
void ngx_apikeys_usage_count(ngx_apikeys_usage_t *usage,
    const ngx_apikeys_objectid_t *key, const ngx_apikeys_cidr_t *entry,
    const ngx_apikeys_cidr_t *address);


#endif /* _NGX_APIKEYS_USAGE_H_INCLUDED_ */
