
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * One round of following the database: a feed from the cursor (or a full
 * load where there is no cursor that can be followed), its rows published,
 * the cursor moved, and a heartbeat that tells the database so.
 *
 * What must hold.  The cursor in the zone never says more than the zone
 * holds: a load begins by taking it away, and it is set after the last row.
 * Every write is done under the zone's lock after a look at the lease, so a
 * syncer that was stopped and replaced writes nothing.  The clock of
 * freshness starts when the statement was sent, and only a heartbeat that
 * was committed starts it: a demoted primary still answers reads.  A round
 * that fails half-way has done no harm, the next one starts from the same
 * cursor, and versions make it idempotent.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_sync_round.h>


#define NGX_APIKEYS_SYNC_ROUND_TIMEOUT   3600000   /* of a load */
#define NGX_APIKEYS_SYNC_ROUND_PATIENCE  4         /* times twice as long */
#define NGX_APIKEYS_SYNC_ROUND_PRUNE     60000
#define NGX_APIKEYS_SYNC_ROUND_RELOAD    5000      /* if incomplete */
#define NGX_APIKEYS_SYNC_ROUND_SHARE     20        /* and loads' of time */
#define NGX_APIKEYS_SYNC_ROUND_BEAT      5000
#define NGX_APIKEYS_SYNC_ROUND_ANEW      100       /* another database */
#define NGX_APIKEYS_SYNC_ROUND_MARGIN    100       /* and a thousandth */
#define NGX_APIKEYS_SYNC_ROUND_FORGET    5000      /* tombstones at a time */
#define NGX_APIKEYS_SYNC_ROUND_RECLAIM   1000      /* records at a time */

/*
 * How much longer than a query may last its result can be on its way: the
 * two limits of ngx_apikeys_sync_publish.c, 6 seconds, and a margin.
 */
#define NGX_APIKEYS_SYNC_ROUND_IN_FLIGHT  10000


static void ngx_apikeys_sync_round_stubs(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_feed(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_fed(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_announce(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_announce_done(ngx_apikeys_pg_query_t *q);
static void ngx_apikeys_sync_round_load(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_sweep(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_commit(ngx_apikeys_sync_t *sync);
static ngx_int_t ngx_apikeys_sync_round_lock(ngx_apikeys_sync_t *sync,
    ngx_apikeys_sync_step_pt step);
static void ngx_apikeys_sync_round_healed_locked(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_forget_locked(ngx_apikeys_sync_t *sync);

static void ngx_apikeys_sync_round_heartbeat(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_handler_pt handler);
static ngx_int_t ngx_apikeys_sync_round_heartbeat_params(
    ngx_apikeys_sync_t *sync, ngx_str_t *params);
static ngx_int_t ngx_apikeys_sync_round_heartbeat_result(
    ngx_apikeys_sync_t *sync, ngx_apikeys_pg_query_t *q);
static void ngx_apikeys_sync_round_heartbeat_done(ngx_apikeys_pg_query_t *q);
static void ngx_apikeys_sync_round_prune(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_round_prune_done(ngx_apikeys_pg_query_t *q);


static const ngx_apikeys_pg_stmt_t  ngx_apikeys_sync_round_feed_stmt = {
    "apikeys_sync_feed",
    NGX_APIKEYS_SYNC_ROWS_SELECT "apikeys.feed_since($1, $2, $3)",
    3, 0
};


static const ngx_apikeys_pg_stmt_t  ngx_apikeys_sync_round_load_stmt = {
    "apikeys_sync_load",
    NGX_APIKEYS_SYNC_ROWS_SELECT "apikeys.load",
    0, 0
};


static const ngx_apikeys_pg_stmt_t  ngx_apikeys_sync_round_heartbeat_stmt = {
    "apikeys_sync_heartbeat",
    "SELECT h.done, s.seals, s.lines, s.anew "
    "FROM apikeys.heartbeat($1, $2, $3, $4, $5, $6) AS h (done), "
    "apikeys.sealing($1, $6) AS s",
    6, 1
};


static const ngx_apikeys_pg_stmt_t  ngx_apikeys_sync_round_prune_stmt = {
    "apikeys_sync_prune",
    "SELECT apikeys.prune()",
    0, 1
};


/*
 * Without a snapshot (a new zone, or a load that was not finished) the feed
 * has nothing to go on from and answers "epoch", whatever the identity.
 */

void
ngx_apikeys_sync_round_start(ngx_apikeys_sync_t *sync)
{
    sync->nstubs = 0;

    if (sync->snapshot.len && ngx_apikeys_store_heals(sync->conf->store)) {
        sync->heals = 1;
        sync->heal_next = sync->heal;

        ngx_apikeys_sync_round_stubs(sync);
        return;
    }

    sync->heals = 0;
    sync->heal = 0;

    ngx_apikeys_sync_round_feed(sync);
}


/*
 * Keys for which the zone had no room, and may have now, are asked for with
 * the changes: their states are published by version as those of the feed.
 */

static void
ngx_apikeys_sync_round_stubs(ngx_apikeys_sync_t *sync)
{
    ngx_int_t  rc;

    rc = ngx_apikeys_store_stubs(sync->conf->store, &sync->heal_next,
                                 sync->stubs, &sync->nstubs,
                                 NGX_APIKEYS_SYNC_STUBS);
    if (rc == NGX_AGAIN) {
        ngx_apikeys_sync_later(sync, ngx_apikeys_sync_round_stubs, 1);
        return;
    }

    sync->healed = (rc == NGX_DONE);

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
     * A feed of very many changes may take longer than a statement should;
     * given up each time, the local copy would never get past it.
     */

    timeout = sync->conf->database->timeout
              << ngx_min(sync->errors, NGX_APIKEYS_SYNC_ROUND_PATIENCE);

    if (sync->snapshot.len) {
        params[0] = sync->identity;
        params[1] = sync->snapshot;
    }

    sync->load = 0;
    sync->stat->polls++;

    ngx_apikeys_sync_rows_read(sync, &ngx_apikeys_sync_round_feed_stmt,
                               params, timeout, ngx_apikeys_sync_round_fed);
}


/* the rows of the feed are in the zone; where it has to be loaded: none */

static void
ngx_apikeys_sync_round_fed(ngx_apikeys_sync_t *sync)
{
    uint64_t    now;
    ngx_str_t  *answer;

    answer = &sync->answer;

    if (answer->len == 4 && ngx_strncmp(answer->data, "feed", 4) == 0) {

        /* a zone that was full may have room by now, which is not known */

        now = ngx_apikeys_store_boottime();

        if (!sync->reopen
            && (ngx_apikeys_store_complete(sync->conf->store)
                || now - sync->loaded < NGX_APIKEYS_SYNC_ROUND_RELOAD
                                        + NGX_APIKEYS_SYNC_ROUND_SHARE
                                          * sync->took))
        {
            ngx_apikeys_sync_round_commit(sync);
            return;
        }

        sync->epoch = 0;

    } else if (answer->len == 4 && ngx_strncmp(answer->data, "load", 4) == 0) {
        sync->epoch = 0;

    } else {

        /*
         * "epoch".  Where a load of this very database was not finished,
         * its versions and tombstones hold on; a new zone has none to lose.
         */

        sync->epoch = sync->snapshot.len != 0
                      || !ngx_apikeys_sync_same(&sync->identity,
                                                &sync->new_identity);
    }

    ngx_apikeys_sync_round_announce(sync);
}


/*
 * Before a load this instance is made known, so that from now on nothing is
 * pruned that the load's snapshot will need as a cursor.  The cursor is
 * still that of what the zone holds, should the round end here.
 */

static void
ngx_apikeys_sync_round_announce(ngx_apikeys_sync_t *sync)
{
    if (sync->epoch) {
        ngx_str_null(&sync->applied);
    }

    ngx_apikeys_store_set_behind(sync->conf->store);

    ngx_apikeys_sync_round_heartbeat(sync,
                                     ngx_apikeys_sync_round_announce_done);
}


static void
ngx_apikeys_sync_round_announce_done(ngx_apikeys_pg_query_t *q)
{
    ngx_apikeys_sync_t  *sync;

    sync = ngx_apikeys_sync_answered(q);

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

    sync->load = ngx_apikeys_store_load_begin_locked(store, sync->epoch);

    /*
     * From here on the zone holds a mixture.  Whoever takes over finds the
     * identity that it is loaded from, and no snapshot to go on from.
     */

    sync->identity = sync->new_identity;
    ngx_str_null(&sync->snapshot);
    ngx_str_set(&none, "");

    (void) ngx_apikeys_store_cursor_set_locked(store, &sync->identity, &none);

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

    static const ngx_str_t  abandoned = ngx_string("the load was abandoned");

    if (ngx_apikeys_sync_round_lock(sync, ngx_apikeys_sync_round_sweep)
        != NGX_OK)
    {
        return;
    }

    rc = ngx_apikeys_store_load_sweep_locked(sync->conf->store, sync->load);

    if (rc == NGX_OK) {
        ngx_apikeys_store_lines_tried_locked(sync->conf->store);
    }

    ngx_apikeys_store_unlock(sync->conf->store);

    switch (rc) {

    case NGX_AGAIN:
        ngx_apikeys_sync_later(sync, ngx_apikeys_sync_round_sweep, 1);
        return;

    case NGX_DECLINED:
        ngx_apikeys_sync_failed(sync, NGX_APIKEYS_SYNC_REFUSED, &abandoned);
        return;

    case NGX_OK:
        ngx_log_error(NGX_LOG_NOTICE, sync->log, 0,
                      "replica loaded from the database, %ui keys",
                      sync->keys);
        break;

    default: /* NGX_ERROR: the zone is full, which the store has logged */
        break;
    }

    sync->reopen = 0;
    sync->loaded = ngx_apikeys_store_boottime();
    sync->took = sync->loaded - sync->sent;
    sync->moved = 1;

    ngx_apikeys_sync_round_commit(sync);
}


static void
ngx_apikeys_sync_round_commit(ngx_apikeys_sync_t *sync)
{
    uint64_t              now;
    ngx_apikeys_store_t  *store;

    if (ngx_apikeys_sync_round_lock(sync, ngx_apikeys_sync_round_commit)
        != NGX_OK)
    {
        return;
    }

    store = sync->conf->store;

    sync->identity = sync->new_identity;
    sync->snapshot = sync->new_snapshot;

    /*
     * A snapshot that is too long for the zone is kept here, and costs the
     * successor a full load.
     */
    (void) ngx_apikeys_store_cursor_set_locked(store, &sync->identity,
                                               &sync->snapshot);

    if (sync->heals) {
        ngx_apikeys_sync_round_healed_locked(sync);
    }

    ngx_apikeys_sync_round_forget_locked(sync);

    /* what was forgotten, or deleted by thousands, where nothing else comes */

    ngx_apikeys_store_reclaim_locked(store, NGX_APIKEYS_SYNC_ROUND_RECLAIM);

    ngx_apikeys_store_unlock(store);

    /* an incomplete local copy has not applied all, and must not say so */

    if (ngx_apikeys_store_complete(store)) {
        sync->applied = sync->snapshot;
        ngx_apikeys_store_set_applied(store, sync->sent);

    } else {
        ngx_apikeys_store_set_behind(store);
    }

    now = ngx_apikeys_store_boottime();

    if (sync->moved
        || now - sync->heartbeat
           >= ngx_apikeys_sync_round_heartbeat_interval(sync))
    {
        ngx_apikeys_sync_round_heartbeat(sync,
                                       ngx_apikeys_sync_round_heartbeat_done);
        return;
    }

    ngx_apikeys_sync_seal_anew(sync);
}


/*
 * NGX_OK: the zone is locked and the lease is ours.  Otherwise "step" is
 * called again when the lock may be free, or the syncer has been replaced.
 */

static ngx_int_t
ngx_apikeys_sync_round_lock(ngx_apikeys_sync_t *sync,
    ngx_apikeys_sync_step_pt step)
{
    ngx_apikeys_store_t  *store;

    store = sync->conf->store;

    if (ngx_apikeys_store_lock(store) != NGX_OK) {
        ngx_apikeys_sync_later(sync, step, 1);
        return NGX_AGAIN;
    }

    if (!ngx_apikeys_store_lease_held(store)) {
        ngx_apikeys_store_unlock(store);
        ngx_apikeys_sync_fenced(sync);
        return NGX_ABORT;
    }

    return NGX_OK;
}


/* the next round goes on with the stubs, at once */

static void
ngx_apikeys_sync_round_healed_locked(ngx_apikeys_sync_t *sync)
{
    if (!sync->healed) {
        sync->heal = sync->heal_next;
        sync->again = 1;
        return;
    }

    ngx_apikeys_store_healed_locked(sync->conf->store);

    sync->heal = 0;
}


/*
 * A tombstone keeps a publication from bringing back what was read before
 * the object was deleted.  Versions are drawn under the lock of the object's
 * row, so every such read was done before the tombstone's version was drawn,
 * hence before any version above it was seen here; and after a query's time
 * and then some its result is either published or will never be.  No load is
 * in flight here either.
 */

static void
ngx_apikeys_sync_round_forget_locked(ngx_apikeys_sync_t *sync)
{
    uint64_t  now;

    now = ngx_apikeys_store_boottime();

    if (sync->forget == 0) {
        sync->forget = sync->version;
        sync->forget_since = now;
        return;
    }

    if (now - sync->forget_since
        < sync->conf->database->timeout + NGX_APIKEYS_SYNC_ROUND_IN_FLIGHT)
    {
        return;
    }

    if (ngx_apikeys_store_forget_locked(sync->conf->store, sync->forget + 1,
                                        NGX_APIKEYS_SYNC_ROUND_FORGET)
        != NGX_AGAIN)
    {
        sync->forget = 0;
    }
}


static void
ngx_apikeys_sync_round_heartbeat(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_handler_pt handler)
{
    ngx_str_t  params[6];

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

    params[2] = sync->new_identity;
    params[3] = sync->applied;

    if (params[3].len == 0) {
        params[3].data = NULL;
    }

    if (ngx_apikeys_sync_seal_lines(sync, &params[5]) != NGX_OK) {
        return NGX_ERROR;
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


/* two clocks measure it, and ours may be a tick late */

ngx_msec_t
ngx_apikeys_sync_round_lease(ngx_apikeys_sync_t *sync)
{
    return sync->conf->stale + sync->conf->stale / 1000
           + NGX_APIKEYS_SYNC_ROUND_MARGIN;
}


/* otherwise than NGX_OK the round has ended */

static ngx_int_t
ngx_apikeys_sync_round_heartbeat_result(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q)
{
    ngx_str_t  value;

    if (ngx_apikeys_pg_query_nrows(q) == 1) {
        ngx_apikeys_pg_query_value(q, 0, 0, &value);

        if (value.len == 1 && value.data[0] == 't') {
            ngx_apikeys_sync_seal_told(sync, q);
            return NGX_OK;
        }
    }

    /* restored, or failed over, since the rows were read: the feed tells */

    ngx_log_error(NGX_LOG_NOTICE, sync->log, 0,
                  "the database is not the one that was read");

    sync->checked = 0;

    ngx_apikeys_sync_later(sync, ngx_apikeys_sync_session_begin,
                           NGX_APIKEYS_SYNC_ROUND_ANEW);
    return NGX_DECLINED;
}


static void
ngx_apikeys_sync_round_heartbeat_done(ngx_apikeys_pg_query_t *q)
{
    uint64_t             now;
    ngx_apikeys_sync_t  *sync;

    sync = ngx_apikeys_sync_answered(q);

    if (sync == NULL
        || ngx_apikeys_sync_round_heartbeat_result(sync, q) != NGX_OK)
    {
        return;
    }

    if (!ngx_apikeys_store_lease_held(sync->conf->store)) {
        ngx_apikeys_sync_fenced(sync);
        return;
    }

    ngx_apikeys_store_set_fresh(sync->conf->store, sync->sent);

    now = ngx_apikeys_store_boottime();

    sync->heartbeat = now;
    sync->moved = 0;

    if (sync->copy) {
        ngx_apikeys_snapshot_due(sync->copy,
                                 sync->stat->changes + sync->stat->loads);
    }

    if (now - sync->prune >= NGX_APIKEYS_SYNC_ROUND_PRUNE) {
        sync->prune = now;
        ngx_apikeys_sync_round_prune(sync);
        return;
    }

    ngx_apikeys_sync_seal_anew(sync);
}


ngx_msec_t
ngx_apikeys_sync_round_heartbeat_interval(ngx_apikeys_sync_t *sync)
{
    ngx_msec_t  third;

    /*
     * several in the shortest life that a location gives the local copy, so
     * that one that fails does not end it
     */

    third = ngx_max(sync->conf->fresh / 3, 1);

    return ngx_min(third, NGX_APIKEYS_SYNC_ROUND_BEAT);
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

    sync = ngx_apikeys_sync_answered(q);

    if (sync == NULL) {
        return;
    }

    ngx_apikeys_sync_seal_anew(sync);
}
