
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * When a failure is logged: when the failure begins, once a minute while it
 * lasts, and when it ends.
 *
 * The state of a failure may be in shared memory, zeroed at first, for all
 * workers of a node: then one of the workers logs.  If a process dies in one
 * of these functions, one line may be missing or logged twice.  The clock is
 * ngx_current_msec, which all processes share.
 */


#ifndef _NGX_APIKEYS_FAILURE_H_INCLUDED_
#define _NGX_APIKEYS_FAILURE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * ms between two lines about a failure that lasts; ms without a failure after
 * which it is over
 */
#define NGX_APIKEYS_FAILURE_INTERVAL  60000


/* the failures of a node, which all workers log together */
typedef enum {
    NGX_APIKEYS_FAILURE_DATABASE = 0,   /* no host is available */
    NGX_APIKEYS_FAILURE_SYNC,           /* changes cannot be read */
    NGX_APIKEYS_FAILURE_SNAPSHOT,       /* the file cannot be written */
    NGX_APIKEYS_FAILURE_USAGE,          /* counters cannot be stored */
    NGX_APIKEYS_FAILURE_FULL,           /* the zone is full */
    NGX_APIKEYS_FAILURE_NO_ROOM,        /* an API key does not fit */

    /* 503, see ngx_apikeys_refusal.h */
    NGX_APIKEYS_FAILURE_STALE,          /* the local copy is too old */
    NGX_APIKEYS_FAILURE_NOT_LOADED,     /* the local copy is incomplete */
    NGX_APIKEYS_FAILURE_KEY,            /* an API key cannot be decided */
    NGX_APIKEYS_FAILURE_QUEUE,          /* the statement queue is full */
    NGX_APIKEYS_FAILURE_TIMEOUT,        /* a statement timed out */
    NGX_APIKEYS_FAILURE_CONNECTION,     /* none free, or it was lost */
    NGX_APIKEYS_FAILURE_STATEMENT,      /* the database does not run one */

    NGX_APIKEYS_FAILURES
} ngx_apikeys_failure_e;


typedef struct {
    uint64_t  since;     /* ms, 0: nothing fails */
    uint64_t  last;      /* the last call of due() */
    uint64_t  logged;    /* time of the last line, 0: none */
} ngx_apikeys_failure_t;


/*
 * Records a failure.  Returns 1 if the caller has to log it as an error: in
 * the first call, then once a minute.  *seconds: how long the failure lasts.
 */
ngx_uint_t ngx_apikeys_failure_due(ngx_apikeys_failure_t *f,
    uint64_t *seconds);

/* ends a failure; returns 1 if there was one, which lasted *seconds */
ngx_uint_t ngx_apikeys_failure_over(ngx_apikeys_failure_t *f,
    uint64_t *seconds);

/*
 * The same for a failure that has no end of its own, such as a request that is
 * refused: such a failure ends after a minute in which it did not happen.
 */
ngx_uint_t ngx_apikeys_failure_quiet(ngx_apikeys_failure_t *f,
    uint64_t *seconds);

/* 1: the failure lasts */
#define ngx_apikeys_failure_lasts(f)                                         \
    (__atomic_load_n(&(f)->since, __ATOMIC_RELAXED) != 0)


#endif /* _NGX_APIKEYS_FAILURE_H_INCLUDED_ */
