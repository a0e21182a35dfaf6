
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * One round: read the feed since the cursor (or load everything, if the feed
 * cannot continue at the cursor), publish the rows, and move the cursor.  Then
 * the database is told what was applied, at once if somebody waits for it.
 * This is part of the heartbeat, which follows every few seconds, when no
 * notification is pending.
 *
 * Invariants.  The cursor is never ahead of the contents of the zone: a load
 * first clears it, and it is set after the last row was published.  Nothing is
 * told before it is in the zone.  A cursor is valid as long as the connection
 * lasts, but after a failure of the server only if the heartbeat that followed
 * it was committed: the zone and the next connection get such a one.  The zone
 * is written under the lock, after a check of the lease, so a leader that was
 * stopped and replaced writes nothing.  Freshness counts from the time the
 * feed query was sent, and only once a heartbeat has been committed: a demoted
 * primary still answers reads but cannot commit.  A round that fails has done
 * no harm: the next one begins at the same cursor, and versions make
 * publishing idempotent.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_clock.h>
#include <ngx_apikeys_sync_int.h>


/* ms: timeout of the load query */
#define NGX_APIKEYS_SYNC_ROUND_TIMEOUT        3600000

/*
 * the timeout of the feed query is doubled after each error, at most 4 times
 */
#define NGX_APIKEYS_SYNC_ROUND_MAX_SHIFT      4

/* ms between two calls of apikeys.prune() */
#define NGX_APIKEYS_SYNC_ROUND_PRUNE          60000

/*
 * An incomplete local copy is loaded again, at the earliest, RELOAD ms +
 * BACKOFF * the duration of the last load after the end of that load: so loads
 * take at most 1/20 of the time.
 */
#define NGX_APIKEYS_SYNC_ROUND_RELOAD         5000
#define NGX_APIKEYS_SYNC_ROUND_BACKOFF        20

/* maximum ms between two heartbeats */
#define NGX_APIKEYS_SYNC_ROUND_HEARTBEAT      5000

/*
 * ms between two times that "applied" is told, if nobody waits for it.  After
 * a pause BURST of them need not wait.
 */
#define NGX_APIKEYS_SYNC_ROUND_TELL           1250
#define NGX_APIKEYS_SYNC_ROUND_TELL_BURST     16

/* ms until the next round after the database has changed during a round */
#define NGX_APIKEYS_SYNC_ROUND_RETRY          100

/* ms added to a node's lease, besides 0.1 %, see round_lease() */
#define NGX_APIKEYS_SYNC_ROUND_LEASE_MARGIN   100

/* ms after which a successor is ignored in a worker that is not exiting */
#define NGX_APIKEYS_SYNC_ROUND_SUCCESSOR      60000

/* tombstones removed, and unlinked records freed, per round */
#define NGX_APIKEYS_SYNC_ROUND_FORGET_BATCH   5000
#define NGX_APIKEYS_SYNC_ROUND_RECLAIM_BATCH  1000

/*
 * ms for which the result of a mutation may exist in a worker, beyond the
 * query timeout, before it is published: STOPPED + PATIENCE of
 * ngx_apikeys_sync_publish.c (6 s), and a margin of 4 s.
 */
#define NGX_APIKEYS_SYNC_ROUND_IN_FLIGHT  10000


static void ngx_apikeys_sync_round_stubs(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_feed(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_received(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_set_reason(ngx_apikeys_sync_t *sync,
    const char *reason);
static void ngx_apikeys_sync_round_new_database(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_register(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_registered(ngx_apikeys_pg_query_t *q);
static void ngx_apikeys_sync_round_load(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_sweep(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_loaded(ngx_apikeys_sync_t *sync,
    ngx_uint_t complete);
static void ngx_apikeys_sync_round_commit(ngx_apikeys_sync_t *sync);
static ngx_uint_t ngx_apikeys_sync_round_heartbeat_due(
    ngx_apikeys_sync_t *sync);
static ngx_msec_t ngx_apikeys_sync_round_heartbeat_interval(
    ngx_apikeys_sync_t *sync);
static ngx_int_t ngx_apikeys_sync_round_lock(ngx_apikeys_sync_t *sync,
    ngx_apikeys_sync_step_pt step);
static void ngx_apikeys_sync_round_stubs_retried_locked(
    ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_forget_locked(ngx_apikeys_sync_t *sync);

static void ngx_apikeys_sync_round_tell(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_told(ngx_apikeys_pg_query_t *q);
static void ngx_apikeys_sync_round_set_told(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_heartbeat(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_handler_pt handler);
static ngx_int_t ngx_apikeys_sync_round_heartbeat_params(
    ngx_apikeys_sync_t *sync, ngx_str_t *params);
static void ngx_apikeys_sync_round_successor(ngx_apikeys_sync_t *sync,
    ngx_str_t *uuid);
static ngx_int_t ngx_apikeys_sync_round_heartbeat_result(
    ngx_apikeys_sync_t *sync, ngx_apikeys_pg_query_t *q);
static void ngx_apikeys_sync_round_heartbeat_done(ngx_apikeys_pg_query_t *q);
static void ngx_apikeys_sync_round_keep_cursor(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_rest(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_prune(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_prune_done(ngx_apikeys_pg_query_t *q);


static const ngx_apikeys_pg_stmt_t  ngx_apikeys_sync_round_feed_stmt = {
    "apikeys_sync_feed",
    NGX_APIKEYS_SYNC_ROWS_SELECT("asked") "apikeys.feed_since($1, $2, $3)",
    3, 0
};


static const ngx_apikeys_pg_stmt_t  ngx_apikeys_sync_round_load_stmt = {
    "apikeys_sync_load",
    NGX_APIKEYS_SYNC_ROWS_SELECT("false") "apikeys.load",
    0, 0
};


static const ngx_apikeys_pg_stmt_t  ngx_apikeys_sync_round_tell_stmt = {
    "apikeys_sync_tell",
    "SELECT apikeys.tell($1, $2)",
    2, 1
};


static const ngx_apikeys_pg_stmt_t  ngx_apikeys_sync_round_heartbeat_stmt = {
    "apikeys_sync_heartbeat",
    "SELECT h.done, s.seals, s.lines, s.anew "
    "FROM apikeys.heartbeat($1, $2, $3, $4, $5, $6, $7, $8) AS h (done), "
    "apikeys.sealing($1, $6) AS s",
    8, 1
};


static const ngx_apikeys_pg_stmt_t  ngx_apikeys_sync_round_prune_stmt = {
    "apikeys_sync_prune",
    "SELECT apikeys.prune()",
    0, 1
};


/*
 * Without a pg_snapshot in the cursor (a new zone, or a load that was not
 * finished) the feed answers "epoch", which causes a load.
 */

void
ngx_apikeys_sync_round_start(ngx_apikeys_sync_t *sync)
{
    sync->nstubs = 0;

    if (sync->cursor.len
        && ngx_apikeys_store_stubs_have_room(sync->conf->store))
    {
        sync->retry_stubs = 1;
        sync->next_stub_bucket = sync->stub_bucket;

        ngx_apikeys_sync_round_stubs(sync);
        return;
    }

    sync->retry_stubs = 0;
    sync->stub_bucket = 0;

    ngx_apikeys_sync_round_feed(sync);
}


/*
 * Stubs for which there may be room now are read together with the feed, and
 * published like its rows.
 */

static void
ngx_apikeys_sync_round_stubs(ngx_apikeys_sync_t *sync)
{
    ngx_int_t  rc;

    rc = ngx_apikeys_store_stubs_find(sync->conf->store,
                                      &sync->next_stub_bucket,
                                      sync->stubs, &sync->nstubs,
                                      NGX_APIKEYS_SYNC_MAX_STUBS);
    if (rc == NGX_AGAIN) {
        ngx_apikeys_sync_schedule(sync, ngx_apikeys_sync_round_stubs, 1);
        return;
    }

    sync->stubs_done = (rc == NGX_DONE);

    ngx_apikeys_sync_round_feed(sync);
}


static void
ngx_apikeys_sync_round_feed(ngx_apikeys_sync_t *sync)
{
    ngx_str_t   params[3];
    ngx_msec_t  timeout;

    ngx_memzero(params, sizeof(params));

    if (ngx_apikeys_sync_array(sync->pool, &params[2], sync->stubs,
                               sync->nstubs, sizeof(ngx_apikeys_objectid_t))
        != NGX_OK)
    {
        ngx_apikeys_sync_no_memory(sync);
        return;
    }

    /*
     * A feed of very many changes may take longer than the timeout of
     * statements, and would fail each time.
     */

    timeout = sync->conf->database->timeout
              << ngx_min(sync->errors, NGX_APIKEYS_SYNC_ROUND_MAX_SHIFT);

    if (sync->cursor.len) {
        params[0] = sync->database_id;
        params[1] = sync->cursor;
    }

    sync->load_number = 0;
    sync->stat->polls++;

    ngx_apikeys_sync_rows_read(sync, &ngx_apikeys_sync_round_feed_stmt,
                             params, timeout, ngx_apikeys_sync_round_received);
}


/*
 * The feed query has been processed: its rows are in the zone.  If the answer
 * is "load" or "epoch" there were none.
 */

static void
ngx_apikeys_sync_round_received(ngx_apikeys_sync_t *sync)
{
    uint64_t    now;
    ngx_str_t  *answer;

    answer = &sync->feed_kind;

    if (answer->len == 4 && ngx_strncmp(answer->data, "feed", 4) == 0) {

        /*
         * if the zone was full, only another load can show whether it still is
         */

        now = ngx_apikeys_clock_boot_ms();

        if (!sync->reload_for_lines
            && (ngx_apikeys_store_complete(sync->conf->store)
                || now - sync->loaded_at < NGX_APIKEYS_SYNC_ROUND_RELOAD
                                        + NGX_APIKEYS_SYNC_ROUND_BACKOFF
                                          * sync->load_msec))
        {
            sync->load_reason = NULL;
            ngx_apikeys_sync_round_commit(sync);
            return;
        }

        sync->new_database = 0;

        ngx_apikeys_sync_round_set_reason(sync, sync->reload_for_lines
                              ? "lines of apikeys_master_key_file have changed"
                              : "the zone was full");

    } else if (answer->len == 4 && ngx_strncmp(answer->data, "load", 4) == 0) {
        sync->new_database = 0;

        ngx_apikeys_sync_round_set_reason(sync,
                                   "a table of the database was truncated");

    } else {
        ngx_apikeys_sync_round_new_database(sync);
    }

    ngx_apikeys_sync_round_register(sync);
}


/* a load that was not finished keeps its reason when it is repeated */

static void
ngx_apikeys_sync_round_set_reason(ngx_apikeys_sync_t *sync, const char *reason)
{
    if (sync->load_reason == NULL) {
        sync->load_reason = reason;
    }
}


/*
 * The feed has answered "epoch": it cannot continue at the cursor.  If only a
 * load of the same database was interrupted, versions and tombstones of the
 * zone stay valid.
 */

static void
ngx_apikeys_sync_round_new_database(ngx_apikeys_sync_t *sync)
{
    ngx_uint_t  same;

    same = ngx_apikeys_sync_str_equal(&sync->database_id,
                                      &sync->new_database_id);

    sync->new_database = sync->cursor.len != 0 || !same;

    if (!same && sync->database_id.len) {

        /* also if a load for another reason was in progress */

        sync->load_reason = "failover, restore or upgrade of the database";

    } else if (sync->cursor.len) {
        ngx_apikeys_sync_round_set_reason(sync,
                      "changes that this node has not read were deleted");

    } else if (same) {
        ngx_apikeys_sync_round_set_reason(sync,
                                          "the last load was interrupted");

    } else if (ngx_apikeys_store_complete(sync->conf->store)) {

        /* the cursor was too long for the zone */

        ngx_apikeys_sync_round_set_reason(sync,
                                "the position in the changes was not kept");

    } else {
        ngx_apikeys_sync_round_set_reason(sync, "start");
    }
}


/*
 * A heartbeat before a load registers the node, so that the database keeps all
 * changes that follow the pg_snapshot of the load.  It reports what the zone
 * still contains, should the round end here.
 */

static void
ngx_apikeys_sync_round_register(ngx_apikeys_sync_t *sync)
{
    if (sync->new_database) {
        ngx_str_null(&sync->applied);
    }

    ngx_apikeys_store_set_behind(sync->conf->store);

    ngx_apikeys_sync_round_heartbeat(sync,
                                     ngx_apikeys_sync_round_registered);
}


static void
ngx_apikeys_sync_round_registered(ngx_apikeys_pg_query_t *q)
{
    ngx_apikeys_sync_t  *sync;

    sync = ngx_apikeys_sync_query_result(q);

    if (sync == NULL
        || ngx_apikeys_sync_round_heartbeat_result(sync, q) != NGX_OK)
    {
        return;
    }

    ngx_apikeys_sync_round_load(sync);
}


static void
ngx_apikeys_sync_round_load(ngx_apikeys_sync_t *sync)
{
    ngx_str_t             none;
    ngx_apikeys_store_t  *store;

    if (ngx_apikeys_sync_round_lock(sync, ngx_apikeys_sync_round_load)
        != NGX_OK)
    {
        return;
    }

    store = sync->conf->store;

    sync->load_number = ngx_apikeys_store_load_begin_locked(store,
                                                          sync->new_database);

    /*
     * From here on the zone contains old and new objects: the cursor has the
     * database that is loaded, and no pg_snapshot to continue from.
     */

    sync->database_id = sync->new_database_id;
    ngx_str_null(&sync->cursor);
    ngx_str_null(&sync->durable);
    ngx_str_set(&none, "");

    (void) ngx_apikeys_store_cursor_set_locked(store, &sync->database_id,
                                               &none);

    ngx_apikeys_store_unlock(store);

    sync->stat->loads++;

    ngx_apikeys_sync_rows_read(sync, &ngx_apikeys_sync_round_load_stmt, NULL,
                               NGX_APIKEYS_SYNC_ROUND_TIMEOUT,
                               ngx_apikeys_sync_round_sweep);
}


static void
ngx_apikeys_sync_round_sweep(ngx_apikeys_sync_t *sync)
{
    ngx_int_t  rc;

    static const ngx_str_t  abandoned = ngx_string(
                                   "load was interrupted, will be repeated");

    if (ngx_apikeys_sync_round_lock(sync, ngx_apikeys_sync_round_sweep)
        != NGX_OK)
    {
        return;
    }

    rc = ngx_apikeys_store_load_sweep_locked(sync->conf->store,
                                             sync->load_number);

    if (rc == NGX_OK) {
        ngx_apikeys_store_lines_tried_locked(sync->conf->store);
    }

    ngx_apikeys_store_unlock(sync->conf->store);

    switch (rc) {

    case NGX_AGAIN:
        ngx_apikeys_sync_schedule(sync, ngx_apikeys_sync_round_sweep, 1);
        return;

    case NGX_DECLINED:
        ngx_apikeys_sync_round_failed(sync, NGX_APIKEYS_SYNC_REFUSED,
                                      &abandoned);
        return;

    default: /* NGX_OK; NGX_ERROR: the zone is full, as the store has logged */
        break;
    }

    sync->reload_for_lines = 0;
    sync->loaded_at = ngx_apikeys_clock_boot_ms();
    sync->load_msec = sync->loaded_at - sync->sent_at;
    sync->heartbeat_due = 1;

    ngx_apikeys_sync_round_loaded(sync, rc == NGX_OK);

    ngx_apikeys_sync_round_commit(sync);
}


/* [info] if incomplete: while a zone is full, loads are repeated */

static void
ngx_apikeys_sync_round_loaded(ngx_apikeys_sync_t *sync, ngx_uint_t complete)
{
    uint64_t                seconds;
    ngx_uint_t              level;
    ngx_apikeys_failure_t  *full;

    level = complete ? NGX_LOG_NOTICE : NGX_LOG_INFO;

    ngx_log_error(level, sync->log, 0,
              "apikeys: loaded %ui keys from database %s in %uL ms%s: %s",
              sync->keys, ngx_apikeys_pg_pool_label(sync->pp), sync->load_msec,
              complete ? "" : ", incomplete", sync->load_reason);

    sync->load_reason = NULL;

    if (!complete) {
        return;
    }

    full = ngx_apikeys_store_failure(sync->conf->store,
                                     NGX_APIKEYS_FAILURE_FULL);

    if (ngx_apikeys_failure_over(full, &seconds)) {
        ngx_log_error(NGX_LOG_NOTICE, sync->log, 0,
                      "apikeys: zone is no longer full, after %uL s", seconds);
    }
}


static void
ngx_apikeys_sync_round_commit(ngx_apikeys_sync_t *sync)
{
    ngx_apikeys_store_t  *store;

    if (ngx_apikeys_sync_round_lock(sync, ngx_apikeys_sync_round_commit)
        != NGX_OK)
    {
        return;
    }

    store = sync->conf->store;

    sync->database_id = sync->new_database_id;
    sync->cursor = sync->new_cursor;

    if (sync->retry_stubs) {
        ngx_apikeys_sync_round_stubs_retried_locked(sync);
    }

    ngx_apikeys_sync_round_forget_locked(sync);

    /*
     * Free the memory of removed tombstones and of mass deletions: on an idle
     * node no other writer does.
     */

    ngx_apikeys_store_reclaim_locked(store,
                                     NGX_APIKEYS_SYNC_ROUND_RECLAIM_BATCH);

    ngx_apikeys_store_unlock(store);

    /* an incomplete copy must not be reported as up to date */

    if (ngx_apikeys_store_complete(store)) {
        sync->applied = sync->cursor;
        ngx_apikeys_store_set_applied(store, sync->sent_at);

    } else {
        ngx_apikeys_store_set_behind(store);
    }

    if (ngx_apikeys_sync_round_heartbeat_due(sync)) {
        ngx_apikeys_sync_round_heartbeat(sync,
                                       ngx_apikeys_sync_round_heartbeat_done);
        return;
    }

    if (ngx_apikeys_sync_round_tell_delay(sync) == 0) {
        ngx_apikeys_sync_round_tell(sync);
        return;
    }

    ngx_apikeys_sync_round_rest(sync);
}


static ngx_uint_t
ngx_apikeys_sync_round_heartbeat_due(ngx_apikeys_sync_t *sync)
{
    uint64_t    age;
    ngx_msec_t  interval;

    /* an exiting worker cannot tell otherwise what it has applied */

    if (sync->heartbeat_due || (ngx_exiting && sync->untold)) {
        return 1;
    }

    if (ngx_apikeys_sync_round_heartbeat_delay(sync)) {
        return 0;
    }

    /* changes do not wait for its commit, for a while */

    age = ngx_apikeys_clock_boot_ms() - sync->heartbeat_at;
    interval = ngx_apikeys_sync_round_heartbeat_interval(sync);

    return !sync->notified || age >= interval + interval / 10;
}


ngx_msec_t
ngx_apikeys_sync_round_heartbeat_delay(ngx_apikeys_sync_t *sync)
{
    uint64_t    age;
    ngx_msec_t  interval;

    age = ngx_apikeys_clock_boot_ms() - sync->heartbeat_at;
    interval = ngx_apikeys_sync_round_heartbeat_interval(sync);

    return (age < interval) ? interval - age : 0;
}


ngx_msec_t
ngx_apikeys_sync_round_tell_delay(ngx_apikeys_sync_t *sync)
{
    uint64_t  now, end;

    /* in an exiting worker each query has a connection of its own */

    if (!sync->untold || sync->applied.len == 0 || ngx_exiting) {
        return NGX_MAX_INT_T_VALUE;
    }

    now = ngx_apikeys_clock_boot_ms();
    end = now + NGX_APIKEYS_SYNC_ROUND_TELL_BURST
                * NGX_APIKEYS_SYNC_ROUND_TELL;

    return (sync->asked || sync->tell_paid <= end) ? 0 : sync->tell_paid - end;
}


static void
ngx_apikeys_sync_round_tell(ngx_apikeys_sync_t *sync)
{
    ngx_str_t  params[2];

    ngx_apikeys_store_instance(sync->conf->store, &params[0]);
    params[1] = sync->applied;

    ngx_apikeys_sync_query(sync, &ngx_apikeys_sync_round_tell_stmt, params, 0,
                           ngx_apikeys_sync_round_told, NULL);
}


static void
ngx_apikeys_sync_round_told(ngx_apikeys_pg_query_t *q)
{
    ngx_str_t            value;
    ngx_apikeys_sync_t  *sync;

    sync = ngx_apikeys_sync_query_result(q);

    if (sync == NULL) {
        return;
    }

    ngx_apikeys_pg_query_value(q, 0, 0, &value);

    if (value.len && value.data[0] == 'f') {

        /* the row of this node was deleted */

        ngx_apikeys_sync_round_heartbeat(sync,
                                       ngx_apikeys_sync_round_heartbeat_done);
        return;
    }

    ngx_apikeys_sync_round_set_told(sync);

    ngx_apikeys_sync_round_rest(sync);
}


static void
ngx_apikeys_sync_round_set_told(ngx_apikeys_sync_t *sync)
{
    uint64_t  now;

    now = ngx_apikeys_clock_boot_ms();

    sync->tell_paid = ngx_max(sync->tell_paid, now);
    sync->tell_paid = ngx_min(sync->tell_paid,
                              now + NGX_APIKEYS_SYNC_ROUND_TELL_BURST
                                    * NGX_APIKEYS_SYNC_ROUND_TELL)
                      + NGX_APIKEYS_SYNC_ROUND_TELL;
    sync->untold = 0;
    sync->asked = 0;
}


/*
 * NGX_OK: the zone is locked, and this process has the lease.  NGX_AGAIN:
 * "step" will be called again; NGX_ABORT: the lease is lost.
 */

static ngx_int_t
ngx_apikeys_sync_round_lock(ngx_apikeys_sync_t *sync,
    ngx_apikeys_sync_step_pt step)
{
    ngx_apikeys_store_t  *store;

    store = sync->conf->store;

    if (ngx_apikeys_store_lock(store) != NGX_OK) {
        ngx_apikeys_sync_schedule(sync, step, 1);
        return NGX_AGAIN;
    }

    if (!ngx_apikeys_store_lease_held(store)) {
        ngx_apikeys_store_unlock(store);
        ngx_apikeys_sync_lost_lease(sync);
        return NGX_ABORT;
    }

    return NGX_OK;
}


/* if stubs are left, another round continues with them at once */

static void
ngx_apikeys_sync_round_stubs_retried_locked(ngx_apikeys_sync_t *sync)
{
    if (!sync->stubs_done) {
        sync->stub_bucket = sync->next_stub_bucket;
        sync->notified = 1;
        return;
    }

    ngx_apikeys_store_stubs_retried_locked(sync->conf->store);

    sync->stub_bucket = 0;
}


/*
 * Removes tombstones.  A tombstone refuses results of mutations that were read
 * before the object was deleted.  Why it can be removed: versions are drawn
 * under the lock of the object's row, so such a result was read before the
 * tombstone's version was seen here.  After the query timeout + IN_FLIGHT it
 * has been published or was dropped.  No load is in progress at this point.
 */

static void
ngx_apikeys_sync_round_forget_locked(ngx_apikeys_sync_t *sync)
{
    uint64_t  now;

    now = ngx_apikeys_clock_boot_ms();

    if (sync->forget == 0) {
        sync->forget = sync->max_version;
        sync->forget_since = now;
        return;
    }

    if (now - sync->forget_since
        < sync->conf->database->timeout + NGX_APIKEYS_SYNC_ROUND_IN_FLIGHT)
    {
        return;
    }

    if (ngx_apikeys_store_forget_locked(sync->conf->store, sync->forget + 1,
                                        NGX_APIKEYS_SYNC_ROUND_FORGET_BATCH)
        != NGX_AGAIN)
    {
        sync->forget = 0;
    }
}


static void
ngx_apikeys_sync_round_heartbeat(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_handler_pt handler)
{
    ngx_str_t  params[8];

    if (ngx_apikeys_sync_round_heartbeat_params(sync, params) != NGX_OK) {
        ngx_apikeys_sync_no_memory(sync);
        return;
    }

    ngx_apikeys_sync_query(sync, &ngx_apikeys_sync_round_heartbeat_stmt,
                           params, 0, handler, NULL);
}


static ngx_int_t
ngx_apikeys_sync_round_heartbeat_params(ngx_apikeys_sync_t *sync,
    ngx_str_t *params)
{
    u_char      *p;
    ngx_str_t   *hostname;
    ngx_msec_t   lease;

    ngx_apikeys_store_instance(sync->conf->store, &params[0]);

    hostname = &sync->cycle->hostname;

    p = ngx_pnalloc(sync->pool, hostname->len + 1 + NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    params[1].data = p;
    params[1].len = ngx_sprintf(p, "%V:%P", hostname, ngx_pid) - p;

    params[2] = sync->new_database_id;
    params[3] = sync->applied;

    if (params[3].len == 0) {
        params[3].data = NULL;
    }

    if (ngx_apikeys_sync_seal_lines(sync, &params[5]) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_apikeys_sync_round_successor(sync, &params[6]);

    params[7] = sync->durable;

    if (params[7].len == 0) {
        params[7].data = NULL;
    }

    if (sync->conf->stale_forever) {
        ngx_str_set(&params[4], "infinity");
        return NGX_OK;
    }

    lease = ngx_apikeys_sync_round_lease(sync);

    p = ngx_pnalloc(sync->pool, NGX_INT64_LEN + sizeof(".000") - 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    params[4].data = p;
    params[4].len = ngx_sprintf(p, "%M.%03M", lease / 1000, lease % 1000)
                    - p;
    return NGX_OK;
}


/*
 * The uuid of the successor, to be reported with the heartbeat.  It belongs to
 * a reload that is in progress, or that has succeeded, in which case this
 * worker exits.  After a reload that failed the successor never appears:
 * ignore it.
 */

static void
ngx_apikeys_sync_round_successor(ngx_apikeys_sync_t *sync, ngx_str_t *uuid)
{
    uint64_t  succeeded;

    succeeded = ngx_apikeys_store_successor(sync->conf->store, uuid);

    if (!ngx_exiting
        && ngx_apikeys_clock_boot_ms() - succeeded
           >= NGX_APIKEYS_SYNC_ROUND_SUCCESSOR)
    {
        ngx_str_null(uuid);
    }
}


/*
 * The database measures the lease by its own clock, and the coarse clock of
 * this process may be one tick late: add a margin.
 */

ngx_msec_t
ngx_apikeys_sync_round_lease(ngx_apikeys_sync_t *sync)
{
    return sync->conf->stale_max + sync->conf->stale_max / 1000
           + NGX_APIKEYS_SYNC_ROUND_LEASE_MARGIN;
}


/* NGX_OK: the heartbeat was stored; NGX_DECLINED: the round was ended here */

static ngx_int_t
ngx_apikeys_sync_round_heartbeat_result(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q)
{
    ngx_str_t  value;

    if (ngx_apikeys_pg_query_nrows(q) == 1) {
        ngx_apikeys_pg_query_value(q, 0, 0, &value);

        if (value.len == 1 && value.data[0] == 't') {
            ngx_apikeys_sync_seal_heartbeat_result(sync, q);
            return NGX_OK;
        }
    }

    /* restored or failed over since the rows were read: begin a new round */

    ngx_log_error(NGX_LOG_NOTICE, sync->log, 0,
                  "apikeys: identity of the database has changed: failover, "
                  "restore or upgrade");

    sync->session_checked = 0;

    ngx_apikeys_sync_schedule(sync, ngx_apikeys_sync_session_begin,
                              NGX_APIKEYS_SYNC_ROUND_RETRY);
    return NGX_DECLINED;
}


static void
ngx_apikeys_sync_round_heartbeat_done(ngx_apikeys_pg_query_t *q)
{
    ngx_apikeys_sync_t  *sync;

    sync = ngx_apikeys_sync_query_result(q);

    if (sync == NULL
        || ngx_apikeys_sync_round_heartbeat_result(sync, q) != NGX_OK)
    {
        return;
    }

    if (!ngx_apikeys_store_lease_held(sync->conf->store)) {
        ngx_apikeys_sync_lost_lease(sync);
        return;
    }

    ngx_apikeys_store_set_fresh(sync->conf->store, sync->sent_at);

    sync->heartbeat_at = ngx_apikeys_clock_boot_ms();
    sync->heartbeat_due = 0;

    ngx_apikeys_sync_round_set_told(sync);

    ngx_apikeys_sync_round_keep_cursor(sync);
}


/*
 * The commit of the heartbeat has made all transactions durable that had ended
 * at the cursor, unless the server has failed between the two: then this
 * connection is another one.  In an exiting worker it always is: there the
 * cursor is only kept if the zone has none, so that a load is not repeated.
 */

static void
ngx_apikeys_sync_round_keep_cursor(ngx_apikeys_sync_t *sync)
{
    if (!sync->session_checked || (ngx_exiting && sync->durable.len)) {
        ngx_apikeys_sync_round_rest(sync);
        return;
    }

    if (ngx_apikeys_sync_round_lock(sync, ngx_apikeys_sync_round_keep_cursor)
        != NGX_OK)
    {
        return;
    }

    sync->durable = sync->cursor;

    /*
     * If the cursor is too long for the zone, this process still has it, and
     * only the next leader must load everything.
     */
    (void) ngx_apikeys_store_cursor_set_locked(sync->conf->store,
                                               &sync->database_id,
                                               &sync->durable);

    ngx_apikeys_store_unlock(sync->conf->store);

    /* a snapshot file needs the cursor */

    if (sync->snapshot) {
        ngx_apikeys_snapshot_due(sync->snapshot,
                                 sync->stat->changes + sync->stat->loads);
    }

    ngx_apikeys_sync_round_rest(sync);
}


/* what can wait: pruning, sealing */

static void
ngx_apikeys_sync_round_rest(ngx_apikeys_sync_t *sync)
{
    uint64_t  now, age;

    now = ngx_apikeys_clock_boot_ms();
    age = now - sync->pruned_at;

    if (age >= NGX_APIKEYS_SYNC_ROUND_PRUNE
        && (!sync->notified || age >= 2 * NGX_APIKEYS_SYNC_ROUND_PRUNE))
    {
        sync->pruned_at = now;
        ngx_apikeys_sync_round_prune(sync);
        return;
    }

    ngx_apikeys_sync_seal_anew(sync);
}


/* ms between two heartbeats; apikeys_wait relies on less than 6 s */

static ngx_msec_t
ngx_apikeys_sync_round_heartbeat_interval(ngx_apikeys_sync_t *sync)
{
    ngx_msec_t  third;

    /*
     * At least three per smallest apikeys_stale, so that one heartbeat that
     * fails does not make that location answer 503.
     */

    third = ngx_max(sync->conf->stale_min / 3, 1);

    return ngx_min(third, NGX_APIKEYS_SYNC_ROUND_HEARTBEAT);
}


static void
ngx_apikeys_sync_round_prune(ngx_apikeys_sync_t *sync)
{
    ngx_apikeys_sync_query(sync, &ngx_apikeys_sync_round_prune_stmt, NULL, 0,
                           ngx_apikeys_sync_round_prune_done, NULL);
}


static void
ngx_apikeys_sync_round_prune_done(ngx_apikeys_pg_query_t *q)
{
    ngx_apikeys_sync_t  *sync;

    sync = ngx_apikeys_sync_query_result(q);

    if (sync == NULL) {
        return;
    }

    ngx_apikeys_sync_seal_anew(sync);
}
