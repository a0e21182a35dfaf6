
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The end of a worker.  "Signing off" is deleting the node's row in
 * apikeys.instances (apikeys.sign_off()), so that receipts no longer wait for
 * this node.
 *
 * Graceful shutdown.  If other workers keep using the zone, one of them takes
 * the lease.  If all workers of the zone are exiting (a quit, or a zone that a
 * reload has replaced), they continue to follow the database while they have
 * requests to decide.  The last one signs off when it has no timers left; this
 * delays its exit by one second at most.
 *
 * Fast shutdown.  The worker leaves the event loop at once, and the master
 * kills it about a second later.  So the leader signs off in exit_process, and
 * blocks: it waits until the other workers have exited, then for the result.
 * The row of a worker that is killed remains until its lease has expired.
 *
 * Invariant.  The node's lease in the database must cover every copy that
 * decides requests.  So a node whose zone was copied by a reload signs off
 * only when the database knows the new zone, and a node that writes a snapshot
 * file, which may be loaded at any time, never does.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_clock.h>
#include <ngx_apikeys_sync_int.h>


/* ms */
#define NGX_APIKEYS_SYNC_LEAVE_TICK    10      /* between checks */
#define NGX_APIKEYS_SYNC_LEAVE_BUSY    100     /* the same, with requests left;
                                                  and after a sign-off that was
                                                  declined */
#define NGX_APIKEYS_SYNC_LEAVE_LIMIT   1000    /* of the delay of the exit */

/*
 * ms for which an exiting leader waits for the other workers to receive the
 * quit signal before it assumes that they stay
 */
#define NGX_APIKEYS_SYNC_LEAVE_GRACE   300


/* ms of each of the two waits of a fast shutdown */
#define NGX_APIKEYS_SYNC_LEAVE_FINAL   300


static void ngx_apikeys_sync_leave_quit(ngx_event_t *rev);
static void ngx_apikeys_sync_leave_handler(ngx_event_t *ev);
static ngx_uint_t ngx_apikeys_sync_leave_done(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_leave_sign_off(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_leave_signed_off(ngx_apikeys_pg_query_t *q);
static const char *ngx_apikeys_sync_leave_sign_off_now(
    ngx_apikeys_sync_t *sync);
static ngx_uint_t ngx_apikeys_sync_leave_wait_for_others(
    ngx_apikeys_sync_t *sync);


/*
 * $2: uuid of the successor, or NULL.  The xid is larger than any other, so
 * waiting_for() returns every instance with a lease: signs off only if the
 * successor is among them.
 */
static const ngx_apikeys_pg_stmt_t  ngx_apikeys_sync_leave_stmt = {
    "apikeys_sync_sign_off",
    "SELECT apikeys.sign_off($1) WHERE $2::text IS NULL OR EXISTS ("
        "SELECT FROM apikeys.waiting_for('{9223372036854775807}') w"
        " WHERE w.uuid = $2)",
    2, 1
};


/*
 * nginx announces a graceful shutdown only by closing idle connections.  This
 * creates one, on an unconnected socket, whose read handler is then called.
 */

ngx_int_t
ngx_apikeys_sync_leave_init(ngx_apikeys_sync_t *sync)
{
    ngx_socket_t       s;
    ngx_connection_t  *c;

    s = ngx_socket(AF_UNIX, SOCK_DGRAM, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, sync->log, ngx_socket_errno,
                      "apikeys: " ngx_socket_n " failed");
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

    sync->quit_conn = c;

    sync->leave_event.handler = ngx_apikeys_sync_leave_handler;
    sync->leave_event.data = sync;
    sync->leave_event.log = sync->log;

    return NGX_OK;
}


void
ngx_apikeys_sync_leave_destroy(ngx_apikeys_sync_t *sync)
{
    if (sync->leave_event.timer_set) {
        ngx_del_timer(&sync->leave_event);
    }

    ngx_close_connection(sync->quit_conn);
    sync->quit_conn = NULL;
}


static void
ngx_apikeys_sync_leave_quit(ngx_event_t *rev)
{
    ngx_connection_t    *c;
    ngx_apikeys_sync_t  *sync;

    c = rev->data;
    sync = c->data;

    /* worker_shutdown_timeout calls this handler again */

    if (sync->exiting_since) {
        return;
    }

    sync->exiting_since = ngx_apikeys_clock_boot_ms();

    ngx_apikeys_store_set_exiting(sync->conf->store);

    ngx_apikeys_sync_leave_watch(sync);
}


void
ngx_apikeys_sync_leave_watch(ngx_apikeys_sync_t *sync)
{
    /* not cancelable: the worker waits for it */

    if (sync->leader && !sync->leave_event.timer_set) {
        sync->idle_since = 0;
        sync->signing_off = 0;
        sync->signed_off = 0;

        ngx_add_timer(&sync->leave_event, NGX_APIKEYS_SYNC_LEAVE_TICK);
    }
}


static void
ngx_apikeys_sync_leave_handler(ngx_event_t *ev)
{
    uint64_t             now;
    ngx_uint_t           all, not_exiting;
    ngx_apikeys_sync_t  *sync;

    sync = ev->data;

    if (!sync->leader) {
        return;
    }

    now = ngx_apikeys_clock_boot_ms();

    ngx_apikeys_store_count_processes(sync->conf->store, &all, &not_exiting);

    if (not_exiting) {
        if (now - sync->exiting_since >= NGX_APIKEYS_SYNC_LEAVE_GRACE) {
            ngx_apikeys_sync_release_lease(sync);
            return;
        }

        ngx_add_timer(ev, NGX_APIKEYS_SYNC_LEAVE_TICK);
        return;
    }

    /* timers are left, so there may be requests: go on following */

    if (!sync->signing_off && ngx_event_no_timers_left() != NGX_OK) {
        sync->idle_since = 0;
        ngx_add_timer(ev, NGX_APIKEYS_SYNC_LEAVE_BUSY);
        return;
    }

    if (sync->idle_since == 0) {
        sync->idle_since = now;
    }

    if (ngx_apikeys_sync_leave_done(sync)
        || now - sync->idle_since >= NGX_APIKEYS_SYNC_LEAVE_LIMIT)
    {
        ngx_apikeys_sync_release_lease(sync);
        return;
    }

    ngx_add_timer(ev, NGX_APIKEYS_SYNC_LEAVE_TICK);

    if (all == 0 && !sync->signing_off
        && now - sync->sign_off_declined_at >= NGX_APIKEYS_SYNC_LEAVE_BUSY)
    {
        ngx_apikeys_sync_leave_sign_off(sync);
    }
}


static ngx_uint_t
ngx_apikeys_sync_leave_done(ngx_apikeys_sync_t *sync)
{
    return sync->signed_off || sync->snapshot != NULL;
}


static void
ngx_apikeys_sync_leave_sign_off(ngx_apikeys_sync_t *sync)
{
    ngx_str_t             params[2];
    ngx_apikeys_store_t  *store;

    store = sync->conf->store;

    sync->signing_off = 1;
    sync->idle = 0;

    /* stop the round in progress */

    ngx_apikeys_sync_unschedule(sync);

    if (sync->query) {
        ngx_apikeys_pg_query_cancel(sync->query);
        sync->query = NULL;
    }

    ngx_apikeys_store_instance(store, &params[0]);
    (void) ngx_apikeys_store_successor(store, &params[1]);

    ngx_apikeys_sync_query(sync, &ngx_apikeys_sync_leave_stmt, params,
                           NGX_APIKEYS_SYNC_LEAVE_LIMIT,
                           ngx_apikeys_sync_leave_signed_off, NULL);
}


/* leave_event does the rest: the pool must not be destroyed here */

static void
ngx_apikeys_sync_leave_signed_off(ngx_apikeys_pg_query_t *q)
{
    ngx_apikeys_sync_t  *sync;

    sync = q->data;

    sync->query = NULL;

    if (q->rc == NGX_APIKEYS_PG_OK && ngx_apikeys_pg_query_nrows(q) == 0) {

        /* the database does not know the successor yet */

        sync->signing_off = 0;
        sync->sign_off_declined_at = ngx_apikeys_clock_boot_ms();
        return;
    }

    sync->signed_off = 1;

    if (q->rc == NGX_APIKEYS_PG_OK) {
        ngx_log_error(NGX_LOG_INFO, sync->log, 0,
                      "apikeys: node removed from apikeys.instances");
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

    reason = ngx_apikeys_sync_leave_sign_off_now(sync);

    if (reason == NULL) {
        ngx_log_error(NGX_LOG_INFO, sync->log, 0,
                      "apikeys: node removed from apikeys.instances");
        return;
    }

    ngx_apikeys_store_instance(sync->conf->store, &instance);

    if (sync->conf->stale_forever) {
        ngx_log_error(NGX_LOG_WARN, sync->log, 0,
                      "apikeys: node %V not removed from apikeys.instances: "
                      "%s, \"Prefer: wait\" waits for this node until "
                      "apikeys.sign_off('%V') is called",
                      &instance, reason, &instance);
        return;
    }

    now = ngx_apikeys_clock_boot_ms();
    end = sync->heartbeat_at + ngx_apikeys_sync_round_lease(sync);

    ngx_log_error(NGX_LOG_WARN, sync->log, 0,
                  "apikeys: node %V not removed from apikeys.instances: %s, "
                  "\"Prefer: wait\" waits for this node until the lease "
                  "ends in %uL s", &instance, reason,
                  (end > now) ? (end - now) / 1000 + 1 : 0);
}


/* returns NULL, or why the node was not signed off */

static const char *
ngx_apikeys_sync_leave_sign_off_now(ngx_apikeys_sync_t *sync)
{
    ngx_int_t             rc;
    ngx_str_t             params[2];
    ngx_uint_t            n;
    ngx_apikeys_store_t  *store;

    if (sync->snapshot) {
        return "the snapshot may be loaded again";
    }

    if (!ngx_apikeys_sync_leave_wait_for_others(sync)) {
        return "another worker still runs";
    }

    store = sync->conf->store;

    ngx_apikeys_store_instance(store, &params[0]);
    (void) ngx_apikeys_store_successor(store, &params[1]);

    rc = ngx_apikeys_pg_pool_final(sync->pp, &ngx_apikeys_sync_leave_stmt,
                                   params, NGX_APIKEYS_SYNC_LEAVE_FINAL, &n);

    if (rc == NGX_DECLINED) {
        return "no connection to the database";
    }

    if (rc != NGX_OK) {
        return "the database did not answer";
    }

    return n ? NULL : "the database does not know the new zone yet";
}


static ngx_uint_t
ngx_apikeys_sync_leave_wait_for_others(ngx_apikeys_sync_t *sync)
{
    uint64_t    since;
    ngx_uint_t  all, not_exiting;

    since = ngx_apikeys_clock_boot_ms();

    for ( ;; ) {
        ngx_apikeys_store_count_processes(sync->conf->store, &all,
                                          &not_exiting);

        if (all == 0) {
            return 1;
        }

        if (ngx_apikeys_clock_boot_ms() - since
            >= NGX_APIKEYS_SYNC_LEAVE_FINAL)
        {
            return 0;
        }

        ngx_msleep(NGX_APIKEYS_SYNC_LEAVE_TICK);
    }
}
