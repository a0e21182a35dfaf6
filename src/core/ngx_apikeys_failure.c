
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A process that changes "logged" writes the log line; a process that sets
 * "since" to zero ends the failure.  Each is one atomic exchange, so only one
 * of several processes does it.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_failure.h>


static uint64_t ngx_apikeys_failure_seconds(uint64_t since, uint64_t until);
static ngx_uint_t ngx_apikeys_failure_end(ngx_apikeys_failure_t *f,
    uint64_t until, uint64_t *seconds);


ngx_uint_t
ngx_apikeys_failure_due(ngx_apikeys_failure_t *f, uint64_t *seconds)
{
    uint64_t  now, since, logged;

    now = ngx_max(ngx_current_msec, 1);
    since = 0;

    if (__atomic_compare_exchange_n(&f->since, &since, now, 0,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    {
        since = now;
    }

    __atomic_store_n(&f->last, now, __ATOMIC_RELAXED);

    *seconds = ngx_apikeys_failure_seconds(since, now);

    logged = __atomic_load_n(&f->logged, __ATOMIC_ACQUIRE);

    /* signed, as the cached time of another process may be later */

    if (logged && (int64_t) (now - logged) < NGX_APIKEYS_FAILURE_INTERVAL) {
        return 0;
    }

    return __atomic_compare_exchange_n(&f->logged, &logged, now, 0,
                                       __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}


ngx_uint_t
ngx_apikeys_failure_over(ngx_apikeys_failure_t *f, uint64_t *seconds)
{
    if (!ngx_apikeys_failure_lasts(f)) {
        return 0;
    }

    return ngx_apikeys_failure_end(f, ngx_current_msec, seconds);
}


ngx_uint_t
ngx_apikeys_failure_quiet(ngx_apikeys_failure_t *f, uint64_t *seconds)
{
    uint64_t  last;

    if (!ngx_apikeys_failure_lasts(f)) {
        return 0;
    }

    last = __atomic_load_n(&f->last, __ATOMIC_RELAXED);

    if ((int64_t) (ngx_current_msec - last) < NGX_APIKEYS_FAILURE_INTERVAL) {
        return 0;
    }

    return ngx_apikeys_failure_end(f, last, seconds);
}


static ngx_uint_t
ngx_apikeys_failure_end(ngx_apikeys_failure_t *f, uint64_t until,
    uint64_t *seconds)
{
    uint64_t  since;

    since = __atomic_exchange_n(&f->since, 0, __ATOMIC_ACQ_REL);

    if (since == 0) {
        return 0;
    }

    /* the next failure is logged at once */

    __atomic_store_n(&f->logged, 0, __ATOMIC_RELEASE);

    *seconds = ngx_apikeys_failure_seconds(since, until);

    return 1;
}


static uint64_t
ngx_apikeys_failure_seconds(uint64_t since, uint64_t until)
{
    return ((int64_t) (until - since) > 0) ? (until - since) / 1000 : 0;
}
