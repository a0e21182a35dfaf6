
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The lease, the connection of the leader, the timer that calls the steps of a
 * round, the handling of errors.
 *
 * Invariants.  Every worker checks the lease by a timer.  One worker per zone
 * has it (the leader) and a PostgreSQL pool of its own with one connection,
 * which requests do not use.  A round is started by sync->event only, so the
 * memory of the last round is never freed inside one of its handlers.  All
 * timers are cancelable but those of publications and leave_event: they do not
 * delay the exit of a worker.  An exiting worker releases the lease.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_clock.h>
#include <ngx_apikeys_sync_int.h>


/*
 * ms.  LEASE is for a leader that is stopped; a dead one is replaced at the
 * next check, whatever its deadline.  LEASE, a check and a login take less
 * than one second together, and the leader renews the lease at least three
 * times before it expires.
 */
#define NGX_APIKEYS_SYNC_LEASE        400
#define NGX_APIKEYS_SYNC_LEASE_CHECK  100

/* ms between checks while a stopped process has locked the zone */
#define NGX_APIKEYS_SYNC_LOCK_CHECK   25

/*
 * ms to wait after a NOTIFY.  Rare notifications (SELDOM ms between two, or
 * more) do not wait.  Others wait if the database is slow, so that several
 * changes cause one round: SHARE times the last feed query, DEBOUNCE at most,
 * and 50 % more or less, so that not all nodes send their statements at once.
 */
#define NGX_APIKEYS_SYNC_SELDOM       40
#define NGX_APIKEYS_SYNC_SHARE        4
#define NGX_APIKEYS_SYNC_DEBOUNCE     25

/* ms without notifications that count when the interval is averaged */
#define NGX_APIKEYS_SYNC_SILENT       1000

/*
 * delay after errors, ms: after the first one "poll", RETRY at most, then twice
 * as long each time, BACKOFF at most
 */
#define NGX_APIKEYS_SYNC_RETRY        1000
#define NGX_APIKEYS_SYNC_BACKOFF      8000

/* ms without a row after which a load is aborted */
#define NGX_APIKEYS_SYNC_SILENCE      60000


static void ngx_apikeys_sync_lease_handler(ngx_event_t *ev);
static void ngx_apikeys_sync_become_leader(ngx_apikeys_sync_t *sync);
static ngx_int_t ngx_apikeys_sync_connect(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_notify(void *data);
static void ngx_apikeys_sync_closed(void *data);
static ngx_msec_t ngx_apikeys_sync_debounce(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_check_stalled(ngx_apikeys_sync_t *sync);

static void ngx_apikeys_sync_handler(ngx_event_t *ev);

static ngx_apikeys_sync_status_e ngx_apikeys_sync_classify(
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
    sync->alive_at = ngx_apikeys_clock_boot_ms();

    sync->lease_event.handler = ngx_apikeys_sync_lease_handler;
    sync->lease_event.data = sync;
    sync->lease_event.log = sync->log;
    sync->lease_event.cancelable = 1;

    sync->event.handler = ngx_apikeys_sync_handler;
    sync->event.data = sync;
    sync->event.log = sync->log;
    sync->event.cancelable = 1;

    if (conf->snapshot.path.len) {
        sync->snapshot = ngx_apikeys_snapshot_create(cycle, &conf->snapshot);
        if (sync->snapshot == NULL) {
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
        ngx_apikeys_sync_release_lease(sync);
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
    ngx_uint_t            all, not_exiting;
    ngx_apikeys_sync_t   *sync;
    ngx_apikeys_store_t  *store;

    sync = ev->data;
    store = sync->conf->store;

    sync->alive_at = ngx_apikeys_clock_boot_ms();

    delay = ngx_apikeys_sync_jitter(NGX_APIKEYS_SYNC_LEASE_CHECK);

    if (ngx_apikeys_store_watch(store) == NGX_AGAIN) {
        delay = NGX_APIKEYS_SYNC_LOCK_CHECK;
    }

    ngx_add_timer(ev, delay);

    /* this process was late, and another one has taken the lease */

    if (sync->leader && !ngx_apikeys_store_lease_held(store)) {
        ngx_log_error(NGX_LOG_NOTICE, sync->log, 0,
                      "apikeys: this worker was delayed, another worker now "
                      "reads the changes");
        ngx_apikeys_sync_release_lease(sync);
    }

    if (!sync->leader && !ngx_apikeys_store_lease_available(store)) {
        return;
    }

    /* an exiting worker takes the lease only if all workers are exiting */

    if (sync->exiting_since && !sync->leader) {
        ngx_apikeys_store_count_processes(store, &all, &not_exiting);

        if (not_exiting) {
            return;
        }
    }

    if (ngx_apikeys_store_lease_acquire(store, NGX_APIKEYS_SYNC_LEASE)
        != NGX_OK)
    {
        return;
    }

    if (!sync->leader) {
        ngx_apikeys_sync_become_leader(sync);

        if (sync->exiting_since) {
            ngx_apikeys_sync_leave_watch(sync);
        }

        return;
    }

    ngx_apikeys_sync_check_stalled(sync);

    ngx_apikeys_refusal_watch(store, sync->conf->stale_deny_min, sync->log);
}


/*
 * Continues at the cursor in the zone, which is all that one leader hands over
 * to the next; a load that was not finished has left an empty one.
 */

static void
ngx_apikeys_sync_become_leader(ngx_apikeys_sync_t *sync)
{
    ngx_apikeys_store_t  *store;

    store = sync->conf->store;

    sync->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, sync->log);
    if (sync->pool == NULL) {
        goto failed;
    }

    if (ngx_apikeys_store_cursor_get(store, sync->pool, &sync->database_id,
                                     &sync->durable)
        != NGX_OK)
    {
        ngx_str_null(&sync->database_id);
        ngx_str_null(&sync->durable);
    }

    ngx_str_null(&sync->cursor);
    ngx_str_null(&sync->applied);

    if (ngx_apikeys_sync_connect(sync) != NGX_OK) {
        goto failed;
    }

    sync->leader = 1;
    sync->session_checked = 0;
    sync->notified = 0;
    sync->heartbeat_due = 1;
    sync->untold = 0;
    sync->asked = 0;
    sync->max_version = 0;
    sync->forget = 0;
    sync->heartbeat_at = 0;
    sync->tell_paid = 0;
    sync->notified_at = 0;
    sync->notify_interval = NGX_APIKEYS_SYNC_SELDOM;
    sync->feed_msec = 0;
    sync->loaded_at = 0;
    sync->load_msec = 0;
    /* not at once: many nodes may be restarted together */
    sync->pruned_at = ngx_apikeys_clock_boot_ms();
    sync->errors = 0;
    sync->status = NGX_APIKEYS_SYNC_FOLLOWS;
    sync->load_reason = NULL;
    sync->reload_for_lines = ngx_apikeys_store_lines_untried(store) ? 1 : 0;
    sync->reseals = 0;

    ngx_apikeys_sync_seal_begin(sync);

    ngx_log_error(NGX_LOG_INFO, sync->log, 0,
                  "apikeys: this worker now reads changes from the database");

    ngx_apikeys_sync_schedule(sync, ngx_apikeys_sync_session_begin, 1);

    return;

failed:

    /* release the lease; this or another worker tries again soon */

    if (sync->pool) {
        ngx_destroy_pool(sync->pool);
        sync->pool = NULL;
    }

    ngx_apikeys_store_lease_release(store);
}


static ngx_int_t
ngx_apikeys_sync_connect(ngx_apikeys_sync_t *sync)
{
    ngx_apikeys_pg_pool_options_t  options;

    ngx_memzero(&options, sizeof(ngx_apikeys_pg_pool_options_t));

    options.connections = 1;
    options.name = "sync";
    options.failure = ngx_apikeys_store_failure(sync->conf->store,
                                                NGX_APIKEYS_FAILURE_DATABASE);
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
 * Aborts the round in progress.  Objects that it has published stay; the
 * cursor was not moved, so the next leader reads the same changes again.
 */

void
ngx_apikeys_sync_release_lease(ngx_apikeys_sync_t *sync)
{
    sync->leader = 0;
    sync->stat->listening = 0;
    sync->idle = 0;
    sync->lease_lost = 0;

    ngx_apikeys_sync_unschedule(sync);

    if (sync->query) {
        ngx_apikeys_pg_query_cancel(sync->query);
        sync->query = NULL;
    }

    ngx_apikeys_sync_rows_abandon(sync);

    if (sync->snapshot) {
        ngx_apikeys_snapshot_stop(sync->snapshot);
    }

    if (sync->batch_pool) {
        ngx_destroy_pool(sync->batch_pool);
        sync->batch_pool = NULL;
    }

    ngx_apikeys_pg_pool_destroy(sync->pp);
    sync->pp = NULL;

    ngx_destroy_pool(sync->pool);
    sync->pool = NULL;

    /*
     * Last, after all work has been stopped.  No effect if another process has
     * the lease.
     */

    ngx_apikeys_store_lease_release(sync->conf->store);
}


/*
 * A NOTIFY arrived, or the connection LISTENs again and may have missed some.
 * A burst of notifications causes one round.  A notification during a round
 * causes another round, as the running one may not have seen the change.
 */

static void
ngx_apikeys_sync_notify(void *data)
{
    uint64_t             now;
    ngx_apikeys_sync_t  *sync = data;

    /*
     * In an exiting worker nginx closes the idle connection after each round,
     * so every round LISTENs again and calls this handler: ignore it, or
     * rounds would never stop.
     */

    if (sync->exiting_since) {
        return;
    }

    sync->stat->listening = 1;

    now = ngx_apikeys_clock_boot_ms();

    sync->notify_interval = (7 * sync->notify_interval
                             + ngx_min(now - sync->notified_at,
                                       NGX_APIKEYS_SYNC_SILENT)
                             + 7)
                            / 8;
    sync->notify_interval = ngx_min(sync->notify_interval,
                                    NGX_APIKEYS_SYNC_SELDOM);
    sync->notified_at = now;

    if (sync->notified) {
        return;
    }

    sync->notified = 1;

    if (sync->idle && sync->errors == 0) {
        ngx_apikeys_sync_schedule(sync, ngx_apikeys_sync_session_begin,
                                  ngx_apikeys_sync_debounce(sync));
    }
}


static ngx_msec_t
ngx_apikeys_sync_debounce(ngx_apikeys_sync_t *sync)
{
    ngx_msec_t  delay;

    if (sync->notify_interval >= NGX_APIKEYS_SYNC_SELDOM) {
        return 0;
    }

    delay = ngx_min(NGX_APIKEYS_SYNC_SHARE * sync->feed_msec,
                    NGX_APIKEYS_SYNC_DEBOUNCE);

    return delay / 2 + (ngx_msec_t) ngx_random() % (delay + 1);
}


/*
 * The LISTEN connection is lost.  The next poll opens another one, possibly to
 * another server, so schema and master key must be checked again.
 */

static void
ngx_apikeys_sync_closed(void *data)
{
    ngx_apikeys_sync_t  *sync = data;

    sync->stat->listening = 0;
    sync->session_checked = 0;
}


/* aborts a load without progress; its query timeout is an hour */

static void
ngx_apikeys_sync_check_stalled(ngx_apikeys_sync_t *sync)
{
    static const ngx_str_t  reason = ngx_string(
                          "load aborted, no data from the database for 60 s");

    if (sync->query == NULL || sync->load_number == 0
        || sync->alive_at - sync->last_row_at < NGX_APIKEYS_SYNC_SILENCE)
    {
        return;
    }

    ngx_apikeys_pg_query_cancel(sync->query);
    sync->query = NULL;

    ngx_apikeys_sync_round_failed(sync, NGX_APIKEYS_SYNC_UNREACHABLE, &reason);
}


void
ngx_apikeys_sync_schedule(ngx_apikeys_sync_t *sync,
    ngx_apikeys_sync_step_pt step, ngx_msec_t delay)
{
    sync->step = step;
    sync->idle = 0;

    /* ngx_add_timer() alone keeps a timer that differs by less than 300 ms */

    ngx_apikeys_sync_unschedule(sync);

    /* nginx calls the handler of a timer of 0 ms up to 1 ms later */

    if (delay == 0) {
        ngx_post_event(&sync->event, &ngx_posted_events);
        return;
    }

    ngx_add_timer(&sync->event, delay);
}


void
ngx_apikeys_sync_unschedule(ngx_apikeys_sync_t *sync)
{
    if (sync->event.timer_set) {
        ngx_del_timer(&sync->event);
    }

    if (sync->event.posted) {
        ngx_delete_posted_event(&sync->event);
    }
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
ngx_apikeys_sync_query_result(ngx_apikeys_pg_query_t *q)
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
ngx_apikeys_sync_round_succeeded(ngx_apikeys_sync_t *sync)
{
    uint64_t                seconds;
    ngx_msec_t              delay;
    ngx_apikeys_failure_t  *failure;

    failure = ngx_apikeys_store_failure(sync->conf->store,
                                        NGX_APIKEYS_FAILURE_SYNC);

    if (ngx_apikeys_failure_over(failure, &seconds)) {
        ngx_log_error(NGX_LOG_NOTICE, sync->log, 0,
                      "apikeys: reading changes from the database again, "
                      "after %uL s", seconds);
    }

    sync->errors = 0;
    sync->status = NGX_APIKEYS_SYNC_FOLLOWS;

    delay = ngx_min(sync->conf->poll,
                    ngx_apikeys_sync_round_heartbeat_delay(sync));
    delay = ngx_min(delay, ngx_apikeys_sync_seal_next_delay(sync));
    delay = ngx_min(delay, ngx_apikeys_sync_round_tell_delay(sync));

    if (sync->notified) {
        delay = ngx_min(delay, ngx_apikeys_sync_debounce(sync));
    }

    ngx_apikeys_sync_schedule(sync, ngx_apikeys_sync_session_begin, delay);

    sync->idle = 1;
}


/*
 * The local copy stays as it is and becomes older; requests use it for
 * apikeys_stale.  A failure is logged as [error] when it begins, when its
 * status changes, and once a minute, else as [info].
 */

void
ngx_apikeys_sync_round_failed(ngx_apikeys_sync_t *sync,
    ngx_apikeys_sync_status_e status, const ngx_str_t *reason)
{
    uint64_t                seconds;
    ngx_uint_t              level;
    ngx_msec_t              delay;
    ngx_apikeys_failure_t  *failure;

    ngx_apikeys_sync_rows_abandon(sync);

    /* the next connection may be one to another server */

    sync->session_checked = 0;
    sync->stat->errors++;

    failure = ngx_apikeys_store_failure(sync->conf->store,
                                        NGX_APIKEYS_FAILURE_SYNC);

    level = NGX_LOG_INFO;

    if (ngx_apikeys_failure_due(failure, &seconds)
        || (sync->status != status
            && sync->status != NGX_APIKEYS_SYNC_FOLLOWS))
    {
        level = NGX_LOG_ERR;
    }

    sync->status = status;

    ngx_log_error(level, sync->log, 0,
                  "apikeys: cannot read changes from the database: %V, "
                  "for %uL s", reason, seconds);

    delay = ngx_min(ngx_max(sync->conf->poll, 100), NGX_APIKEYS_SYNC_RETRY)
            << ngx_min(sync->errors, 4);
    delay = ngx_min(delay, NGX_APIKEYS_SYNC_BACKOFF);
    sync->errors++;

    ngx_apikeys_sync_schedule(sync, ngx_apikeys_sync_session_begin,
                              ngx_apikeys_sync_jitter(delay));
}


void
ngx_apikeys_sync_no_memory(ngx_apikeys_sync_t *sync)
{
    static const ngx_str_t  reason = ngx_string("not enough memory");

    ngx_apikeys_sync_round_failed(sync, NGX_APIKEYS_SYNC_REFUSED, &reason);
}


void
ngx_apikeys_sync_query_failed(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q)
{
    u_char                     buf[NGX_MAX_ERROR_STR / 2], *p, *last;
    ngx_str_t                  reason;
    ngx_apikeys_sync_status_e  status;

    /* the row handler has canceled the query, as the lease is lost */

    if (sync->lease_lost) {
        return;
    }

    p = buf;
    last = buf + sizeof(buf);

    status = ngx_apikeys_sync_classify(q);

    switch (q->rc) {

    case NGX_APIKEYS_PG_FAILED:
        p = ngx_slprintf(p, last, "%s failed: %V (%s)%s", q->stmt->name,
                         &q->message, q->sqlstate,
                         (status == NGX_APIKEYS_SYNC_SCHEMA)
                         ? ", run sql/apply.sh and sql/grants.sql"
                         : "");
        break;

    case NGX_APIKEYS_PG_CANCELED:
        p = ngx_slprintf(p, last, "invalid data in the answer to %s",
                         q->stmt->name);
        break;

    case NGX_APIKEYS_PG_TIMEOUT:
        p = ngx_slprintf(p, last, "%s timed out", q->stmt->name);
        break;

    case NGX_APIKEYS_PG_LOST:
        p = ngx_slprintf(p, last, "connection lost during %s: %V",
                         q->stmt->name, &q->message);
        break;

    default:
        p = ngx_slprintf(p, last, "no connection, %V", &q->message);
    }

    reason.data = buf;
    reason.len = p - buf;

    ngx_apikeys_sync_round_failed(sync, status, &reason);
}


static ngx_apikeys_sync_status_e
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

    /* schema, column, table or function does not exist; permission denied */

    if (ngx_strcmp(q->sqlstate, "3F000") == 0
        || ngx_strcmp(q->sqlstate, "42703") == 0
        || ngx_strcmp(q->sqlstate, "42P01") == 0
        || ngx_strcmp(q->sqlstate, "42883") == 0
        || ngx_strcmp(q->sqlstate, "42501") == 0)
    {
        return NGX_APIKEYS_SYNC_SCHEMA;
    }

    /* the server is shutting down or starting; connection errors */

    if (ngx_strncmp(q->sqlstate, "57P", 3) == 0
        || ngx_strncmp(q->sqlstate, "08", 2) == 0)
    {
        return NGX_APIKEYS_SYNC_UNREACHABLE;
    }

    return NGX_APIKEYS_SYNC_REFUSED;
}


ngx_uint_t
ngx_apikeys_sync_str_equal(const ngx_str_t *one, const ngx_str_t *two)
{
    return one->len == two->len
           && ngx_memcmp(one->data, two->data, one->len) == 0;
}


/*
 * Another process has the lease.  Runs the lease timer at once, which stops
 * this leader: it must not be stopped here, inside a handler of its pool.
 */

void
ngx_apikeys_sync_lost_lease(ngx_apikeys_sync_t *sync)
{
    sync->lease_lost = 1;

    ngx_del_timer(&sync->lease_event);
    ngx_add_timer(&sync->lease_event, 1);
}


/* "delay" plus or minus 25 %, so that processes and nodes spread out */

static ngx_msec_t
ngx_apikeys_sync_jitter(ngx_msec_t delay)
{
    return delay - delay / 4 + (ngx_msec_t) ngx_random() % (delay / 2 + 1);
}
