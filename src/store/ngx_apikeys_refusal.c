
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Two kinds are states that end: the local copy is too old, or incomplete.
 * All other kinds are single requests: such a failure counts as over after a
 * minute without a refused request, so that a queue that is full again and
 * again does not fill the log.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_refusal.h>


#define NGX_APIKEYS_REFUSAL_FIRST  NGX_APIKEYS_FAILURE_STALE


typedef struct {
    const char  *who;
    const char  *over;
} ngx_apikeys_refusal_text_t;


static ngx_uint_t ngx_apikeys_refusal_is_stale(ngx_apikeys_store_t *st,
    ngx_msec_t stale);
static ngx_uint_t ngx_apikeys_refusal_over(ngx_apikeys_store_t *st,
    ngx_uint_t kind, ngx_uint_t stale, uint64_t *seconds);


/* indexed by ngx_apikeys_failure_e, beginning with STALE */

static const ngx_apikeys_refusal_text_t  ngx_apikeys_refusal_texts[] = {
    { "requests", "local copy is not older than apikeys_stale" },
    { "requests", "local copy is complete" },
    { "requests", "no such API key was used for a minute" },
    { "API calls", "statement queue was not full for a minute" },
    { "API calls", "no statement timed out for a minute" },
    { "API calls", "no statement lacked a connection for a minute" },
    { "API calls", "no statement failed for a minute" }
};

_Static_assert(sizeof(ngx_apikeys_refusal_texts)
               / sizeof(ngx_apikeys_refusal_text_t)
               == NGX_APIKEYS_FAILURES - NGX_APIKEYS_REFUSAL_FIRST,
               "each refusal has a text");


void
ngx_apikeys_refusal(ngx_apikeys_store_t *st, ngx_apikeys_failure_e kind,
    const ngx_str_t *reason, ngx_log_t *log)
{
    uint64_t  seconds;

    if (ngx_apikeys_failure_due(ngx_apikeys_store_failure(st, kind),
                                &seconds))
    {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "apikeys: %s get 503: %V, for %uL s",
                      ngx_apikeys_refusal_texts
                          [kind - NGX_APIKEYS_REFUSAL_FIRST].who,
                      reason, seconds);
    }
}


void
ngx_apikeys_refusal_watch(ngx_apikeys_store_t *st, ngx_msec_t stale,
    ngx_log_t *log)
{
    u_char                             buf[128];
    uint64_t                           seconds;
    ngx_str_t                          reason;
    ngx_uint_t                         kind, old;
    const ngx_apikeys_refusal_text_t  *text;

    old = ngx_apikeys_refusal_is_stale(st, stale);

    if (old) {
        reason.data = buf;
        reason.len = ngx_snprintf(buf, sizeof(buf),
                                  "local copy is %uL s old, older than "
                                  "apikeys_stale",
                                  ngx_apikeys_store_age(st) / 1000)
                     - buf;

        ngx_apikeys_refusal(st, NGX_APIKEYS_FAILURE_STALE, &reason, log);
    }

    for (kind = NGX_APIKEYS_REFUSAL_FIRST;
         kind < NGX_APIKEYS_FAILURES;
         kind++)
    {
        if (ngx_apikeys_refusal_over(st, kind, old, &seconds)) {
            text = &ngx_apikeys_refusal_texts[kind
                                              - NGX_APIKEYS_REFUSAL_FIRST];

            ngx_log_error(NGX_LOG_NOTICE, log, 0,
                          "apikeys: %s no longer get 503: %s, after %uL s",
                          text->who, text->over, seconds);
        }
    }
}


/*
 * A copy that is incomplete is reported as NOT_LOADED instead.  A copy without
 * an age was loaded just now, and waits for the first answer to a heartbeat.
 */

static ngx_uint_t
ngx_apikeys_refusal_is_stale(ngx_apikeys_store_t *st, ngx_msec_t stale)
{
    uint64_t  age;

    age = ngx_apikeys_store_age(st);

    return stale
           && age != (uint64_t) -1
           && age > stale
           && ngx_apikeys_store_complete(st);
}


static ngx_uint_t
ngx_apikeys_refusal_over(ngx_apikeys_store_t *st, ngx_uint_t kind,
    ngx_uint_t stale, uint64_t *seconds)
{
    ngx_apikeys_failure_t  *f;

    f = ngx_apikeys_store_failure(st, kind);

    switch (kind) {

    case NGX_APIKEYS_FAILURE_STALE:
        return !stale && ngx_apikeys_failure_over(f, seconds);

    case NGX_APIKEYS_FAILURE_NOT_LOADED:
        return ngx_apikeys_store_complete(st)
               && ngx_apikeys_failure_over(f, seconds);

    default:
        return ngx_apikeys_failure_quiet(f, seconds);
    }
}
