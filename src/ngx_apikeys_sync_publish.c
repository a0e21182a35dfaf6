
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Read-your-writes: the worker that served a mutation publishes the state
 * that the mutation returned, before it answers.  The feed brings the same
 * state to this zone too, sooner or later; versions make the two commute, so
 * the worst that a publication can do is to come too late to matter.
 *
 * That rests on tombstones, which are kept for as long as a result that was
 * read before the deletion may still be on its way (see
 * ngx_apikeys_sync_round.c).  Here is where such a result is too old: in a
 * process that was stopped, or after a long wait for the zone's lock; and
 * where a load has begun another epoch since the mutation was sent, which
 * forgets tombstones.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_sync_round.h>


#define NGX_APIKEYS_SYNC_PUBLISH_STOPPED   5000
#define NGX_APIKEYS_SYNC_PUBLISH_PATIENCE  1000


static ngx_int_t ngx_apikeys_sync_publish_decode(
    ngx_apikeys_sync_publication_t *p, ngx_apikeys_pg_query_t *q);
static ngx_int_t ngx_apikeys_sync_publish_try(
    ngx_apikeys_sync_publication_t *p);
static void ngx_apikeys_sync_publish_handler(ngx_event_t *ev);


ngx_int_t
ngx_apikeys_sync_publish(ngx_apikeys_sync_publication_t *p,
    ngx_apikeys_pg_query_t *q)
{
    uint64_t  now;

    now = ngx_apikeys_store_boottime();

    p->since = now;
    p->next = 0;

    ngx_memzero(&p->event, sizeof(ngx_event_t));

    if (now - p->sync->alive > NGX_APIKEYS_SYNC_PUBLISH_STOPPED) {
        ngx_log_error(NGX_LOG_WARN, p->sync->log, 0,
                      "the process was stopped, a change is left to the "
                      "feed");
        return NGX_OK;
    }

    if (ngx_apikeys_sync_publish_decode(p, q) != NGX_OK) {
        ngx_apikeys_sync_publish_cancel(p);
        ngx_log_error(NGX_LOG_ERR, p->sync->log, 0,
                      "a change cannot be published, it is left to the feed");
        return NGX_OK;
    }

    if (ngx_apikeys_sync_publish_try(p) == NGX_OK) {
        return NGX_OK;
    }

    /* not cancelable: a request waits for it */

    p->event.handler = ngx_apikeys_sync_publish_handler;
    p->event.data = p;
    p->event.log = p->sync->log;

    ngx_add_timer(&p->event, 1);

    return NGX_AGAIN;
}


/* the states of long lists are large: they have a pool of their own */

static ngx_int_t
ngx_apikeys_sync_publish_decode(ngx_apikeys_sync_publication_t *p,
    ngx_apikeys_pg_query_t *q)
{
    ngx_uint_t                 n;
    ngx_apikeys_sync_row_t     row;
    ngx_apikeys_sync_state_t  *state;

    n = ngx_apikeys_pg_query_nrows(q);

    p->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, p->sync->log);
    if (p->pool == NULL) {
        return NGX_ERROR;
    }

    p->states = ngx_array_create(p->pool, n + 1,
                                 sizeof(ngx_apikeys_sync_state_t));
    if (p->states == NULL) {
        return NGX_ERROR;
    }

    row.query = q;
    row.column = 0;

    for (row.number = 0; row.number < n; row.number++) {

        state = ngx_array_push(p->states);

        if (state == NULL
            || ngx_apikeys_sync_state_decode(p->sync->conf, p->pool, &row,
                                             state)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * NGX_OK: over, published or given up; NGX_AGAIN.  The age comes first: the
 * process may have been stopped before it came to this attempt.
 */

static ngx_int_t
ngx_apikeys_sync_publish_try(ngx_apikeys_sync_publication_t *p)
{
    ngx_apikeys_sync_terms_t  terms;

    terms.load = 0;
    terms.epoch = p->epoch;
    terms.fenced = 0;

    if (ngx_apikeys_store_boottime() - p->since
        >= NGX_APIKEYS_SYNC_PUBLISH_PATIENCE)
    {
        ngx_log_error(NGX_LOG_WARN, p->sync->log, 0,
                      "the zone was locked for too long, a change is left to "
                      "the feed");

    } else if (ngx_apikeys_sync_state_publish(p->sync->conf->store, p->states,
                                              &p->next, &terms)
               == NGX_AGAIN)
    {
        return NGX_AGAIN;
    }

    ngx_apikeys_sync_publish_cancel(p);

    return NGX_OK;
}


static void
ngx_apikeys_sync_publish_handler(ngx_event_t *ev)
{
    ngx_apikeys_sync_publication_t  *p = ev->data;

    if (ngx_apikeys_sync_publish_try(p) == NGX_AGAIN) {
        ngx_add_timer(ev, 1);
        return;
    }

    p->handler(p->data);
}


void
ngx_apikeys_sync_publish_cancel(ngx_apikeys_sync_publication_t *p)
{
    if (p->event.timer_set) {
        ngx_del_timer(&p->event);
    }

    if (p->states) {
        ngx_apikeys_sync_state_wipe(p->states);
        p->states = NULL;
    }

    if (p->pool) {
        ngx_destroy_pool(p->pool);
        p->pool = NULL;
    }
}
