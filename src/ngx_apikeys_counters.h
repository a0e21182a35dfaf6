
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Counters in shared memory, for figures: a row of them for each of a fixed
 * number of processes, so that workers do not write to the same cache lines.
 * They only grow, whatever happens to the processes.
 */


#ifndef _NGX_APIKEYS_COUNTERS_H_INCLUDED_
#define _NGX_APIKEYS_COUNTERS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_APIKEYS_COUNTERS_N         16


typedef struct {
    uint64_t     n[NGX_APIKEYS_COUNTERS_N];
} ngx_apikeys_counters_t;


/* shared memory that is needed, zeroed */
size_t ngx_apikeys_counters_size(void);

/* adds one to the counter "n" of this process */
void ngx_apikeys_counters_add(ngx_apikeys_counters_t *rows, ngx_uint_t n);

/* the sums over all processes */
void ngx_apikeys_counters_sum(ngx_apikeys_counters_t *rows,
    ngx_apikeys_counters_t *sum);


#endif /* _NGX_APIKEYS_COUNTERS_H_INCLUDED_ */
