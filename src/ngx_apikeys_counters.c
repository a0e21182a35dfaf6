
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_counters.h>


/* two processes with the same row are rare, and right all the same */

#define NGX_APIKEYS_COUNTERS_ROWS      64


size_t
ngx_apikeys_counters_size(void)
{
    return NGX_APIKEYS_COUNTERS_ROWS * sizeof(ngx_apikeys_counters_t);
}


void
ngx_apikeys_counters_add(ngx_apikeys_counters_t *rows, ngx_uint_t n)
{
    ngx_apikeys_counters_t  *row;

    row = &rows[ngx_process_slot % NGX_APIKEYS_COUNTERS_ROWS];

    (void) __atomic_fetch_add(&row->n[n], 1, __ATOMIC_RELAXED);
}


void
ngx_apikeys_counters_sum(ngx_apikeys_counters_t *rows,
    ngx_apikeys_counters_t *sum)
{
    ngx_uint_t  i, n;

    ngx_memzero(sum, sizeof(ngx_apikeys_counters_t));

    for (i = 0; i < NGX_APIKEYS_COUNTERS_ROWS; i++) {
        for (n = 0; n < NGX_APIKEYS_COUNTERS_N; n++) {
            sum->n[n] += __atomic_load_n(&rows[i].n[n], __ATOMIC_RELAXED);
        }
    }
}
