
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Read-your-writes: the worker that served a mutation publishes the objects
 * that the mutation returned, before it answers the request.  The feed brings
 * the same changes.  Both carry the version, so the order in which they arrive
 * does not matter; an outdated publication is ignored.
 *
 * This needs tombstones, which are kept for as long as a result read before a
 * deletion may still be published (see forget_locked() in
 * ngx_apikeys_sync_round.c).  Therefore a result is not published if it may be
 * older: if this process was stopped, if it has waited too long for the zone's
 * lock, or if a load of another database, which forgets tombstones, has begun
 * since the mutation was sent.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_clock.h>
#include <ngx_apikeys_sync_int.h>


/* ms without a run of the lease timer: the process was stopped */
#define NGX_APIKEYS_SYNC_PUBLISH_STOPPED   5000

/* ms to wait for the zone's lock */
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

    now = ngx_apikeys_clock_boot_ms();

    p->since = now;
    p->next = 0;

    ngx_memzero(&p->event, sizeof(ngx_event_t));

    if (now - p->sync->alive_at > NGX_APIKEYS_SYNC_PUBLISH_STOPPED) {
        ngx_log_error(NGX_LOG_WARN, p->sync->log, 0,
                      "apikeys: worker was suspended for more than 5 s, a "
                      "committed change will be applied with the next poll");
        return NGX_OK;
    }

    if (ngx_apikeys_sync_publish_decode(p, q) != NGX_OK) {
        ngx_apikeys_sync_publish_cancel(p);
        ngx_log_error(NGX_LOG_ERR, p->sync->log, 0,
                      "apikeys: a committed change cannot be applied at once, "
                      "will be applied with the next poll");
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


/* a pool of their own, as objects with long lists are large */

static ngx_int_t
ngx_apikeys_sync_publish_decode(ngx_apikeys_sync_publication_t *p,
    ngx_apikeys_pg_query_t *q)
{
    ngx_uint_t                  n;
    ngx_apikeys_sync_row_t      row;
    ngx_apikeys_sync_object_t  *object;

    n = ngx_apikeys_pg_query_nrows(q);

    p->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, p->sync->log);
    if (p->pool == NULL) {
        return NGX_ERROR;
    }

    p->objects = ngx_array_create(p->pool, n + 1,
                                  sizeof(ngx_apikeys_sync_object_t));
    if (p->objects == NULL) {
        return NGX_ERROR;
    }

    row.query = q;
    row.column = 0;

    for (row.number = 0; row.number < n; row.number++) {

        object = ngx_array_push(p->objects);

        if (object == NULL
            || ngx_apikeys_sync_object_decode(p->sync->conf, p->pool, &row,
                                              object)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * NGX_OK: published, or given up and left to the feed; NGX_AGAIN: try again.
 * The age is checked first, as the process may have been stopped before this
 * attempt.
 */

static ngx_int_t
ngx_apikeys_sync_publish_try(ngx_apikeys_sync_publication_t *p)
{
    ngx_apikeys_sync_precondition_t  precondition;

    precondition.load = 0;
    precondition.generation = p->generation;
    precondition.need_lease = 0;

    if (ngx_apikeys_clock_boot_ms() - p->since
        >= NGX_APIKEYS_SYNC_PUBLISH_PATIENCE)
    {
        ngx_log_error(NGX_LOG_WARN, p->sync->log, 0,
                      "apikeys: zone lock not available for 1 s, a committed "
                      "change will be applied with the next poll");

    } else if (ngx_apikeys_sync_object_publish(p->sync->conf->store, p->objects,
                                               &p->next, &precondition)
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

    if (p->objects) {
        ngx_apikeys_sync_object_wipe(p->objects);
        p->objects = NULL;
    }

    if (p->pool) {
        ngx_destroy_pool(p->pool);
        p->pool = NULL;
    }
}
