
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The syncer's life in one process: the lease, the connection, the timer
 * that runs its steps, errors and their back-off.
 *
 * What must hold.  Every worker looks at the lease on a timer of its own;
 * one has it, and that one has a pool with a single connection that no
 * request ever waits for, nor waits for requests.  A round is started by a
 * timer only, so the memory of the last one is never freed from inside one
 * of its handlers.  All timers but a publication's and that of the end (see
 * ngx_apikeys_sync_leave.c) are cancelable: they keep no worker from exiting,
 * and an exiting one gives the lease back.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_sync_round.h>


/*
 * A dead holder is replaced at the next look, whatever its deadline; the
 * deadline is for one that is stopped.  Both, a look and a login are well
 * within the second in which a change is followed, and a holder has looked
 * at least three times before it is late.
 */
#define NGX_APIKEYS_SYNC_LEASE        400
#define NGX_APIKEYS_SYNC_LEASE_CHECK  100

/* while the zone is locked by a process that is stopped */
#define NGX_APIKEYS_SYNC_LOCK_CHECK   25

/* notifications of one script come together; a reader does not notice it */
#define NGX_APIKEYS_SYNC_DEBOUNCE     2

/* the longest pause after errors, but for a longer poll */
#define NGX_APIKEYS_SYNC_BACKOFF      8000

/* a load that brings no row for so long is given up */
#define NGX_APIKEYS_SYNC_SILENCE      60000


static void ngx_apikeys_sync_lease_handler(ngx_event_t *ev);
static void ngx_apikeys_sync_lead(ngx_apikeys_sync_t *sync);
static ngx_int_t ngx_apikeys_sync_connect(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_notify(void *data);
static void ngx_apikeys_sync_closed(void *data);
static void ngx_apikeys_sync_silent(ngx_apikeys_sync_t *sync);

static void ngx_apikeys_sync_handler(ngx_event_t *ev);

static ngx_apikeys_sync_trouble_e ngx_apikeys_sync_classify(
    ngx_apikeys_pg_query_t *q);
static ngx_msec_t ngx_apikeys_sync_jitter(ngx_msec_t delay);


ngx_apikeys_sync_t *
ngx_apikeys_sync_create(ngx_cycle_t *cycle, ngx_apikeys_sync_conf_t *conf,
    ngx_apikeys_sync_stat_t *stat)
{
    ngx_apikeys_sync_t  *sync;

    sync = ngx_pcalloc(cycle->pool, sizeof(ngx_apikeys_sync_t));
    if (sync == NULL) {
        return NULL;
    }

    stat->listening = 0;

    sync->conf = conf;
    sync->stat = stat;
    sync->cycle = cycle;
    sync->log = cycle->log;
    sync->fd = (ngx_socket_t) -1;
    sync->alive = ngx_apikeys_store_boottime();

    sync->lease_event.handler = ngx_apikeys_sync_lease_handler;
    sync->lease_event.data = sync;
    sync->lease_event.log = sync->log;
    sync->lease_event.cancelable = 1;

    sync->event.handler = ngx_apikeys_sync_handler;
    sync->event.data = sync;
    sync->event.log = sync->log;
    sync->event.cancelable = 1;

    if (conf->snapshot.path.len) {
        sync->copy = ngx_apikeys_snapshot_create(cycle, &conf->snapshot);
        if (sync->copy == NULL) {
            return NULL;
        }
    }

    if (ngx_apikeys_sync_leave_init(sync) != NGX_OK) {
        return NULL;
    }

    ngx_add_timer(&sync->lease_event, 1);

    return sync;
}


void
ngx_apikeys_sync_destroy(ngx_apikeys_sync_t *sync)
{
    if (sync->leader) {
        ngx_apikeys_sync_leave_final(sync);
        ngx_apikeys_sync_resign(sync);
    }

    if (sync->lease_event.timer_set) {
        ngx_del_timer(&sync->lease_event);
    }

    ngx_apikeys_sync_leave_destroy(sync);
}


static void
ngx_apikeys_sync_lease_handler(ngx_event_t *ev)
{
    ngx_msec_t            delay;
    ngx_uint_t            all, staying;
    ngx_apikeys_sync_t   *sync;
    ngx_apikeys_store_t  *store;

    sync = ev->data;
    store = sync->conf->store;

    sync->alive = ngx_apikeys_store_boottime();

    delay = ngx_apikeys_sync_jitter(NGX_APIKEYS_SYNC_LEASE_CHECK);

    if (ngx_apikeys_store_watch(store) == NGX_AGAIN) {
        delay = NGX_APIKEYS_SYNC_LOCK_CHECK;
    }

    ngx_add_timer(ev, delay);

    /* stopped for too long, and another process has taken over */

    if (sync->leader && !ngx_apikeys_store_lease_held(store)) {
        ngx_log_error(NGX_LOG_NOTICE, sync->log, 0,
                      "replica is synchronized by another process");
        ngx_apikeys_sync_resign(sync);
    }

    if (!sync->leader && !ngx_apikeys_store_lease_free(store)) {
        return;
    }

    /* who stays goes before who leaves */

    if (sync->leaving && !sync->leader) {
        ngx_apikeys_store_others(store, &all, &staying);

        if (staying) {
            return;
        }
    }

    if (ngx_apikeys_store_lease_take(store, NGX_APIKEYS_SYNC_LEASE)
        != NGX_OK)
    {
        return;
    }

    if (!sync->leader) {
        ngx_apikeys_sync_lead(sync);

        if (sync->leaving) {
            ngx_apikeys_sync_leave_watch(sync);
        }

        return;
    }

    ngx_apikeys_sync_silent(sync);
}


/*
 * Begins where the predecessor ended: the cursor in the zone is all that is
 * handed over, and a load that the predecessor did not finish left none.
 */

static void
ngx_apikeys_sync_lead(ngx_apikeys_sync_t *sync)
{
    ngx_apikeys_store_t  *store;

    store = sync->conf->store;

    sync->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, sync->log);
    if (sync->pool == NULL) {
        goto failed;
    }

    if (ngx_apikeys_store_cursor_get(store, sync->pool, &sync->identity,
                                     &sync->snapshot)
        != NGX_OK)
    {
        ngx_str_null(&sync->identity);
        ngx_str_null(&sync->snapshot);
    }

    /* what an incomplete zone lacks is not known to a successor */

    ngx_str_null(&sync->applied);

    if (ngx_apikeys_store_complete(store)) {
        sync->applied = sync->snapshot;
    }

    if (ngx_apikeys_sync_connect(sync) != NGX_OK) {
        goto failed;
    }

    sync->leader = 1;
    sync->checked = 0;
    sync->again = 0;
    sync->moved = 1;
    sync->version = 0;
    sync->forget = 0;
    sync->heartbeat = 0;
    sync->loaded = 0;
    sync->took = 0;
    /* not at once: a restart of many nodes would be a storm */
    sync->prune = ngx_apikeys_store_boottime();
    sync->errors = 0;
    sync->trouble = NGX_APIKEYS_SYNC_FOLLOWS;
    sync->reopen = ngx_apikeys_store_lines_untried(store) ? 1 : 0;
    sync->seals = 0;

    ngx_apikeys_sync_seal_begin(sync);

    ngx_log_error(NGX_LOG_INFO, sync->log, 0,
                  "replica is synchronized by this process");

    ngx_apikeys_sync_later(sync, ngx_apikeys_sync_session_begin, 1);

    return;

failed:

    /* another process, or this one at its next look, may have more luck */

    if (sync->pool) {
        ngx_destroy_pool(sync->pool);
        sync->pool = NULL;
    }

    ngx_apikeys_store_lease_drop(store);
}


static ngx_int_t
ngx_apikeys_sync_connect(ngx_apikeys_sync_t *sync)
{
    ngx_apikeys_pg_pool_options_t  options;

    ngx_memzero(&options, sizeof(ngx_apikeys_pg_pool_options_t));

    options.connections = 1;
    options.name = "sync";
    options.data = sync;

    if (sync->conf->notify) {
        options.listen = "apikeys";
        options.notify = ngx_apikeys_sync_notify;
        options.closed = ngx_apikeys_sync_closed;
    }

    sync->pp = ngx_apikeys_pg_pool_create(sync->cycle, sync->conf->database,
                                          &options);

    return sync->pp ? NGX_OK : NGX_ERROR;
}


/*
 * Ends the work in hand, whatever it is.  What was published of it stays;
 * the cursor was not moved, so the successor sees the same changes again.
 */

void
ngx_apikeys_sync_resign(ngx_apikeys_sync_t *sync)
{
    sync->leader = 0;
    sync->stat->listening = 0;
    sync->waiting = 0;
    sync->fenced = 0;

    if (sync->event.timer_set) {
        ngx_del_timer(&sync->event);
    }

    if (sync->query) {
        ngx_apikeys_pg_query_cancel(sync->query);
        sync->query = NULL;
    }

    ngx_apikeys_sync_rows_abandon(sync);

    if (sync->copy) {
        ngx_apikeys_snapshot_stop(sync->copy);
    }

    if (sync->batch) {
        ngx_destroy_pool(sync->batch);
        sync->batch = NULL;
    }

    ngx_apikeys_pg_pool_destroy(sync->pp);
    sync->pp = NULL;

    ngx_destroy_pool(sync->pool);
    sync->pool = NULL;

    /* last, so that nobody begins before we have ended; not ours: no-op */

    ngx_apikeys_store_lease_drop(sync->conf->store);
}


/*
 * Something changed, or the connection listens anew and may have missed
 * something.  Many changes that come together are one round; what comes
 * while a round is running may be younger than its snapshot.
 */

static void
ngx_apikeys_sync_notify(void *data)
{
    ngx_apikeys_sync_t  *sync = data;

    /*
     * A worker that leaves closes what is idle, so each round listens anew;
     * that is no reason for another one.
     */

    if (sync->leaving) {
        return;
    }

    sync->stat->listening = 1;

    if (sync->waiting && sync->errors == 0) {
        ngx_apikeys_sync_later(sync, ngx_apikeys_sync_session_begin,
                               NGX_APIKEYS_SYNC_DEBOUNCE);
        return;
    }

    sync->again = 1;
}


/* the poll goes on and opens another one, perhaps to another server */

static void
ngx_apikeys_sync_closed(void *data)
{
    ngx_apikeys_sync_t  *sync = data;

    sync->stat->listening = 0;
    sync->checked = 0;
}


/* the time-out of a load is long; a server that stopped answering is not */

static void
ngx_apikeys_sync_silent(ngx_apikeys_sync_t *sync)
{
    static const ngx_str_t  reason = ngx_string("it stopped sending rows");

    if (sync->query == NULL || sync->load == 0
        || sync->alive - sync->progress < NGX_APIKEYS_SYNC_SILENCE)
    {
        return;
    }

    ngx_apikeys_pg_query_cancel(sync->query);
    sync->query = NULL;

    ngx_apikeys_sync_failed(sync, NGX_APIKEYS_SYNC_UNREACHABLE, &reason);
}


void
ngx_apikeys_sync_later(ngx_apikeys_sync_t *sync,
    ngx_apikeys_sync_step_pt step, ngx_msec_t delay)
{
    sync->step = step;
    sync->waiting = 0;

    /* ngx_add_timer() alone leaves a timer that is only a little later */

    if (sync->event.timer_set) {
        ngx_del_timer(&sync->event);
    }

    ngx_add_timer(&sync->event, delay);
}


static void
ngx_apikeys_sync_handler(ngx_event_t *ev)
{
    ngx_apikeys_sync_t  *sync = ev->data;

    sync->step(sync);
}


void
ngx_apikeys_sync_query(ngx_apikeys_sync_t *sync,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params, ngx_msec_t timeout,
    ngx_apikeys_pg_handler_pt handler, ngx_apikeys_pg_row_pt row)
{
    ngx_apikeys_pg_query_t  *q;

    q = ngx_apikeys_pg_query_create(sync->pp, sync->pool, sync->log);
    if (q == NULL) {
        ngx_apikeys_sync_no_memory(sync);
        return;
    }

    q->stmt = stmt;

    if (stmt->nparams) {
        q->params = ngx_palloc(sync->pool, stmt->nparams * sizeof(ngx_str_t));
        if (q->params == NULL) {
            ngx_apikeys_sync_no_memory(sync);
            return;
        }

        ngx_memcpy(q->params, params, stmt->nparams * sizeof(ngx_str_t));
    }

    q->handler = handler;
    q->row = row;
    q->data = sync;
    q->timeout = timeout;
    q->cancelable = 1;

    if (ngx_apikeys_pg_query_start(q) != NGX_AGAIN) {
        ngx_apikeys_sync_no_memory(sync);
        return;
    }

    sync->query = q;
}


ngx_apikeys_sync_t *
ngx_apikeys_sync_answered(ngx_apikeys_pg_query_t *q)
{
    ngx_apikeys_sync_t  *sync;

    sync = q->data;
    sync->query = NULL;

    if (q->rc != NGX_APIKEYS_PG_OK) {
        ngx_apikeys_sync_query_failed(sync, q);
        return NULL;
    }

    return sync;
}


ngx_int_t
ngx_apikeys_sync_array(ngx_pool_t *pool, ngx_str_t *array, const void *items,
    ngx_uint_t n, size_t size)
{
    u_char      *p, *item;
    ngx_uint_t   i;

    p = ngx_pnalloc(pool, sizeof("{}") - 1 + n * (2 * size + 1));
    if (p == NULL) {
        return NGX_ERROR;
    }

    array->data = p;

    *p++ = '{';

    item = (u_char *) items;

    for (i = 0; i < n; i++) {

        if (i) {
            *p++ = ',';
        }

        p = ngx_hex_dump(p, item, size);
        item += size;
    }

    *p++ = '}';

    array->len = p - array->data;

    return NGX_OK;
}


void
ngx_apikeys_sync_done(ngx_apikeys_sync_t *sync)
{
    ngx_msec_t  delay, interval;

    if (sync->trouble != NGX_APIKEYS_SYNC_FOLLOWS) {
        ngx_log_error(NGX_LOG_NOTICE, sync->log, 0,
                      "replica follows the database again");
    }

    sync->errors = 0;
    sync->trouble = NGX_APIKEYS_SYNC_FOLLOWS;

    interval = ngx_apikeys_sync_round_heartbeat_interval(sync);
    delay = ngx_min(sync->conf->poll, interval);

    delay = ngx_min(delay, ngx_apikeys_sync_seal_delay(sync));

    if (sync->again) {
        delay = NGX_APIKEYS_SYNC_DEBOUNCE;
    }

    ngx_apikeys_sync_later(sync, ngx_apikeys_sync_session_begin, delay);

    sync->waiting = 1;
}


/*
 * The local copy stays as it is and grows old: apikeys_stale says for how long
 * it is good enough.  A trouble is an error when it begins or becomes
 * another one; its repetitions are for those who look closer.
 */

void
ngx_apikeys_sync_failed(ngx_apikeys_sync_t *sync,
    ngx_apikeys_sync_trouble_e trouble, const ngx_str_t *reason)
{
    ngx_uint_t  level;
    ngx_msec_t  delay;

    ngx_apikeys_sync_rows_abandon(sync);

    /* whatever comes next may be another server */

    sync->checked = 0;
    sync->stat->errors++;

    level = (sync->trouble == trouble) ? NGX_LOG_INFO : NGX_LOG_ERR;
    sync->trouble = trouble;

    ngx_log_error(level, sync->log, 0,
                  "replica cannot follow the database: %V", reason);

    delay = ngx_max(sync->conf->poll, 100) << ngx_min(sync->errors, 4);
    delay = ngx_min(delay, ngx_max(sync->conf->poll,
                                   NGX_APIKEYS_SYNC_BACKOFF));
    sync->errors++;

    ngx_apikeys_sync_later(sync, ngx_apikeys_sync_session_begin,
                           ngx_apikeys_sync_jitter(delay));
}


void
ngx_apikeys_sync_no_memory(ngx_apikeys_sync_t *sync)
{
    static const ngx_str_t  reason = ngx_string("not enough memory");

    ngx_apikeys_sync_failed(sync, NGX_APIKEYS_SYNC_REFUSED, &reason);
}


void
ngx_apikeys_sync_query_failed(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q)
{
    u_char                      buf[NGX_MAX_ERROR_STR / 2], *p, *last;
    ngx_str_t                   reason;
    ngx_apikeys_sync_trouble_e  trouble;

    /* the row handler has seen that the lease is lost */

    if (sync->fenced) {
        return;
    }

    p = buf;
    last = buf + sizeof(buf);

    trouble = ngx_apikeys_sync_classify(q);

    switch (q->rc) {

    case NGX_APIKEYS_PG_FAILED:
        p = ngx_slprintf(p, last, "%s, %V (%s)%s", q->stmt->name, &q->message,
                         q->sqlstate,
                         (trouble == NGX_APIKEYS_SYNC_SCHEMA)
                         ? ", apply sql/apply.sh and sql/grants.sql to it"
                         : "");
        break;

    case NGX_APIKEYS_PG_CANCELED:
        p = ngx_slprintf(p, last, "%s, its answer cannot be used",
                         q->stmt->name);
        break;

    case NGX_APIKEYS_PG_TIMEOUT:
        p = ngx_slprintf(p, last, "%s, it does not answer", q->stmt->name);
        break;

    case NGX_APIKEYS_PG_LOST:
        p = ngx_slprintf(p, last, "%s, the connection was lost",
                         q->stmt->name);
        break;

    default:
        p = ngx_slprintf(p, last, "no connection");
    }

    reason.data = buf;
    reason.len = p - buf;

    ngx_apikeys_sync_failed(sync, trouble, &reason);
}


static ngx_apikeys_sync_trouble_e
ngx_apikeys_sync_classify(ngx_apikeys_pg_query_t *q)
{
    switch (q->rc) {

    case NGX_APIKEYS_PG_UNAVAILABLE:
    case NGX_APIKEYS_PG_BUSY:
    case NGX_APIKEYS_PG_TIMEOUT:
    case NGX_APIKEYS_PG_LOST:
        return NGX_APIKEYS_SYNC_UNREACHABLE;

    default:
        break;
    }

    /* a missing schema, column, table or function; no right to use it */

    if (ngx_strcmp(q->sqlstate, "3F000") == 0
        || ngx_strcmp(q->sqlstate, "42703") == 0
        || ngx_strcmp(q->sqlstate, "42P01") == 0
        || ngx_strcmp(q->sqlstate, "42883") == 0
        || ngx_strcmp(q->sqlstate, "42501") == 0)
    {
        return NGX_APIKEYS_SYNC_SCHEMA;
    }

    /* the server is shutting down, or starts */

    if (ngx_strncmp(q->sqlstate, "57P", 3) == 0
        || ngx_strncmp(q->sqlstate, "08", 2) == 0)
    {
        return NGX_APIKEYS_SYNC_UNREACHABLE;
    }

    return NGX_APIKEYS_SYNC_REFUSED;
}


ngx_uint_t
ngx_apikeys_sync_same(const ngx_str_t *one, const ngx_str_t *two)
{
    return one->len == two->len
           && ngx_memcmp(one->data, two->data, one->len) == 0;
}


/* another process has the lease: the timer of the lease gives up the rest */

void
ngx_apikeys_sync_fenced(ngx_apikeys_sync_t *sync)
{
    sync->fenced = 1;

    ngx_del_timer(&sync->lease_event);
    ngx_add_timer(&sync->lease_event, 1);
}


/* spreads what many processes or nodes would do at the same moment */

static ngx_msec_t
ngx_apikeys_sync_jitter(ngx_msec_t delay)
{
    return delay - delay / 4 + (ngx_msec_t) ngx_random() % (delay / 2 + 1);
}
