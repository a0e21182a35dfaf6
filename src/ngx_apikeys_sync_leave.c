
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The end of a worker.
 *
 * One that quits gracefully: where workers stay in the zone, one of them
 * takes the lease over.  Where all of them leave (a quit, or the zone of an
 * old configuration), they follow the database for as long as they still have
 * requests to decide, and the last one signs the instance off, so that
 * receipts no longer wait for it.  It signs off when it has nothing left to
 * do and is alone, and does not hold its exit up for more than a second.
 *
 * One that is told to stop leaves the event loop at once, and about a second
 * later the master kills it.  So the one with the lease signs off in its
 * exit, and blocks meanwhile: it waits until the others have gone, then for
 * the answer.  Who is killed signs nothing: its lease runs out.
 *
 * What must hold.  A lease covers every copy of the local copy that decides: so
 * an instance whose zone was copied signs off only when the database knows
 * the copy, which may take its first moments, and one that writes snapshots,
 * which may be loaded at any time, never does.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_sync_round.h>


#define NGX_APIKEYS_SYNC_LEAVE_TICK    10
#define NGX_APIKEYS_SYNC_LEAVE_BUSY    100
#define NGX_APIKEYS_SYNC_LEAVE_LIMIT   1000

/* in which the other workers hear of the quit, too */
#define NGX_APIKEYS_SYNC_LEAVE_GRACE   300


/* of a stop, for each of its two waits */
#define NGX_APIKEYS_SYNC_LEAVE_FINAL   300


static void ngx_apikeys_sync_leave_quit(ngx_event_t *rev);
static void ngx_apikeys_sync_leave_handler(ngx_event_t *ev);
static ngx_uint_t ngx_apikeys_sync_leave_over(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_leave_sign(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_leave_signed(ngx_apikeys_pg_query_t *q);
static const char *ngx_apikeys_sync_leave_now(ngx_apikeys_sync_t *sync);
static ngx_uint_t ngx_apikeys_sync_leave_alone(ngx_apikeys_sync_t *sync);


/* an xid that no snapshot has seen: all instances wait for it */
static const ngx_apikeys_pg_stmt_t  ngx_apikeys_sync_leave_stmt = {
    "apikeys_sync_sign_off",
    "SELECT apikeys.sign_off($1) WHERE $2::text IS NULL OR EXISTS ("
        "SELECT FROM apikeys.waiting_for('{9223372036854775807}') w"
        " WHERE w.uuid = $2)",
    2, 1
};


/*
 * nginx tells of a graceful end only idle connections: so there is one, of a
 * socket that is connected to nothing.
 */

ngx_int_t
ngx_apikeys_sync_leave_init(ngx_apikeys_sync_t *sync)
{
    ngx_socket_t       s;
    ngx_connection_t  *c;

    s = ngx_socket(AF_UNIX, SOCK_DGRAM, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, sync->log, ngx_socket_errno,
                      ngx_socket_n " failed");
        return NGX_ERROR;
    }

    c = ngx_get_connection(s, sync->log);

    if (c == NULL) {
        (void) ngx_close_socket(s);
        return NGX_ERROR;
    }

    c->data = sync;
    c->log = sync->log;
    c->read->log = sync->log;
    c->write->log = sync->log;
    c->read->handler = ngx_apikeys_sync_leave_quit;
    c->idle = 1;

    sync->quit = c;

    sync->leave.handler = ngx_apikeys_sync_leave_handler;
    sync->leave.data = sync;
    sync->leave.log = sync->log;

    return NGX_OK;
}


void
ngx_apikeys_sync_leave_destroy(ngx_apikeys_sync_t *sync)
{
    if (sync->leave.timer_set) {
        ngx_del_timer(&sync->leave);
    }

    ngx_close_connection(sync->quit);
    sync->quit = NULL;
}


static void
ngx_apikeys_sync_leave_quit(ngx_event_t *rev)
{
    ngx_connection_t    *c;
    ngx_apikeys_sync_t  *sync;

    c = rev->data;
    sync = c->data;

    /* worker_shutdown_timeout comes here a second time */

    if (sync->leaving) {
        return;
    }

    sync->leaving = ngx_apikeys_store_boottime();

    ngx_apikeys_store_leaving(sync->conf->store);

    ngx_apikeys_sync_leave_watch(sync);
}


void
ngx_apikeys_sync_leave_watch(ngx_apikeys_sync_t *sync)
{
    /* not cancelable: the worker waits for it */

    if (sync->leader && !sync->leave.timer_set) {
        sync->idle = 0;
        sync->signing = 0;
        sync->signed_off = 0;

        ngx_add_timer(&sync->leave, NGX_APIKEYS_SYNC_LEAVE_TICK);
    }
}


static void
ngx_apikeys_sync_leave_handler(ngx_event_t *ev)
{
    uint64_t             now;
    ngx_uint_t           all, staying;
    ngx_apikeys_sync_t  *sync;

    sync = ev->data;

    if (!sync->leader) {
        return;
    }

    now = ngx_apikeys_store_boottime();

    ngx_apikeys_store_others(sync->conf->store, &all, &staying);

    if (staying) {
        if (now - sync->leaving >= NGX_APIKEYS_SYNC_LEAVE_GRACE) {
            ngx_apikeys_sync_resign(sync);
            return;
        }

        ngx_add_timer(ev, NGX_APIKEYS_SYNC_LEAVE_TICK);
        return;
    }

    /* while there are requests to decide, the database is followed */

    if (!sync->signing && ngx_event_no_timers_left() != NGX_OK) {
        sync->idle = 0;
        ngx_add_timer(ev, NGX_APIKEYS_SYNC_LEAVE_BUSY);
        return;
    }

    if (sync->idle == 0) {
        sync->idle = now;
    }

    if (ngx_apikeys_sync_leave_over(sync)
        || now - sync->idle >= NGX_APIKEYS_SYNC_LEAVE_LIMIT)
    {
        ngx_apikeys_sync_resign(sync);
        return;
    }

    ngx_add_timer(ev, NGX_APIKEYS_SYNC_LEAVE_TICK);

    if (all == 0 && !sync->signing
        && now - sync->declined >= NGX_APIKEYS_SYNC_LEAVE_BUSY)
    {
        ngx_apikeys_sync_leave_sign(sync);
    }
}


static ngx_uint_t
ngx_apikeys_sync_leave_over(ngx_apikeys_sync_t *sync)
{
    return sync->signed_off || sync->copy != NULL;
}


static void
ngx_apikeys_sync_leave_sign(ngx_apikeys_sync_t *sync)
{
    ngx_str_t             params[2];
    ngx_apikeys_store_t  *store;

    store = sync->conf->store;

    sync->signing = 1;
    sync->waiting = 0;

    /* whatever the syncer was at */

    if (sync->event.timer_set) {
        ngx_del_timer(&sync->event);
    }

    if (sync->query) {
        ngx_apikeys_pg_query_cancel(sync->query);
        sync->query = NULL;
    }

    ngx_apikeys_store_instance(store, &params[0]);
    ngx_apikeys_store_heir(store, &params[1]);

    ngx_apikeys_sync_query(sync, &ngx_apikeys_sync_leave_stmt, params,
                           NGX_APIKEYS_SYNC_LEAVE_LIMIT,
                           ngx_apikeys_sync_leave_signed, NULL);
}


/* the timer does the rest: the pool must not be destroyed in here */

static void
ngx_apikeys_sync_leave_signed(ngx_apikeys_pg_query_t *q)
{
    ngx_apikeys_sync_t  *sync;

    sync = q->data;

    sync->query = NULL;

    if (q->rc == NGX_APIKEYS_PG_OK && ngx_apikeys_pg_query_nrows(q) == 0) {

        /* the copy is not known yet */

        sync->signing = 0;
        sync->declined = ngx_apikeys_store_boottime();
        return;
    }

    sync->signed_off = 1;

    if (q->rc == NGX_APIKEYS_PG_OK) {
        ngx_log_error(NGX_LOG_INFO, sync->log, 0,
                      "the instance has signed off");
    }
}


void
ngx_apikeys_sync_leave_final(ngx_apikeys_sync_t *sync)
{
    uint64_t     end, now;
    ngx_str_t    instance;
    const char  *reason;

    if (sync->signed_off) {
        return;
    }

    reason = ngx_apikeys_sync_leave_now(sync);

    if (reason == NULL) {
        ngx_log_error(NGX_LOG_INFO, sync->log, 0,
                      "the instance has signed off");
        return;
    }

    ngx_apikeys_store_instance(sync->conf->store, &instance);

    if (sync->conf->stale_forever) {
        ngx_log_error(NGX_LOG_WARN, sync->log, 0,
                      "instance %V did not sign off: %s, receipts wait for "
                      "it until it runs again or apikeys.sign_off('%V') is "
                      "called", &instance, reason, &instance);
        return;
    }

    now = ngx_apikeys_store_boottime();
    end = sync->heartbeat + ngx_apikeys_sync_round_lease(sync);

    ngx_log_error(NGX_LOG_WARN, sync->log, 0,
                  "instance %V did not sign off: %s, receipts wait for it "
                  "until its lease ends in %uL s", &instance, reason,
                  (end > now) ? (end - now) / 1000 + 1 : 0);
}


/* why it did not; or NULL */

static const char *
ngx_apikeys_sync_leave_now(ngx_apikeys_sync_t *sync)
{
    ngx_int_t             rc;
    ngx_str_t             params[2];
    ngx_uint_t            n;
    ngx_apikeys_store_t  *store;

    if (sync->copy) {
        return "it writes snapshots";
    }

    if (!ngx_apikeys_sync_leave_alone(sync)) {
        return "another process decides by its zone";
    }

    store = sync->conf->store;

    ngx_apikeys_store_instance(store, &params[0]);
    ngx_apikeys_store_heir(store, &params[1]);

    rc = ngx_apikeys_pg_pool_final(sync->pp, &ngx_apikeys_sync_leave_stmt,
                                   params, NGX_APIKEYS_SYNC_LEAVE_FINAL, &n);

    if (rc == NGX_DECLINED) {
        return "it has no connection to the database";
    }

    if (rc != NGX_OK) {
        return "the database did not answer";
    }

    return n ? NULL : "the database does not know the copy of its zone";
}


static ngx_uint_t
ngx_apikeys_sync_leave_alone(ngx_apikeys_sync_t *sync)
{
    uint64_t    since;
    ngx_uint_t  all, staying;

    since = ngx_apikeys_store_boottime();

    for ( ;; ) {
        ngx_apikeys_store_others(sync->conf->store, &all, &staying);

        if (all == 0) {
            return 1;
        }

        if (ngx_apikeys_store_boottime() - since
            >= NGX_APIKEYS_SYNC_LEAVE_FINAL)
        {
            return 0;
        }

        ngx_msleep(NGX_APIKEYS_SYNC_LEAVE_TICK);
    }
}
