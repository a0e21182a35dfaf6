
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The connections of one worker to one database, and the works that wait for
 * them, are run by them, or have ended and wait for their handler.
 *
 * Each connection and each work is on the one list of its state; only
 * ngx_apikeys_pg_pool_move() and ngx_apikeys_pg_pool_work_move() change
 * either.  Works meet connections, and logins begin and go on, in posted
 * events only: nothing that a handler calls comes back into it, and a slot
 * is not opened again under the feet of the code that saw it fail.
 *
 * One login at a time: SCRAM takes milliseconds of CPU, and a database that
 * comes back has all workers before its door.  A login is a round through
 * all hosts and all their addresses, beginning with the host that served
 * last.  A round that fails ends the works that wait, unless connections
 * remain to serve them, and is followed by a pause.
 *
 * A work lies in a query, which belongs to whoever made it and may be freed
 * as soon as it was canceled or its handler was called.
 *
 * Timers are cancelable but for those of works: a worker that exits waits
 * for its requests and for nothing else.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_apikeys_pg_pool.h>


#define NGX_APIKEYS_PG_POOL_ADDRS            16    /* of one name */

/* an answer that nobody wants: as long it may take, in ms */
#define NGX_APIKEYS_PG_POOL_DRAIN            1000

/* plans and caches of a backend grow: it is left after that time */
#define NGX_APIKEYS_PG_POOL_LIFETIME         3600000

#define NGX_APIKEYS_PG_POOL_KEEPALIVE        15000

/* between rounds that fail, in ms: doubled each time, and half of it chance */
#define NGX_APIKEYS_PG_POOL_LOGIN_PAUSE      100
#define NGX_APIKEYS_PG_POOL_LOGIN_PAUSE_MAX  2000


struct ngx_apikeys_pg_pool_s {
    ngx_pool_t                     *pool;
    ngx_log_t                      *log;
    ngx_apikeys_pg_conf_t          *conf;

    /* must be after 3 pointers as in ngx_connection_t: ngx_event_ident() */
    ngx_socket_t                    fd;

    ngx_apikeys_pg_hosts_t         *hosts;
    ngx_apikeys_pg_pool_options_t   options;

    ngx_uint_t                      nconns;
    ngx_apikeys_pg_conn_t          *conns;
    ngx_queue_t                     list[NGX_APIKEYS_PG_STATES];
    ngx_uint_t                      number[NGX_APIKEYS_PG_STATES];

    ngx_uint_t                      queue;         /* the most that wait */
    ngx_queue_t                     work[NGX_APIKEYS_PG_WORK_STATES];
    ngx_uint_t                      works[NGX_APIKEYS_PG_WORK_STATES];

    /* the login that is under way */
    ngx_uint_t                      host;          /* being tried, or good */
    ngx_uint_t                      tried;         /* hosts in this round */
    ngx_resolver_ctx_t             *resolve;       /* running */
    ngx_uint_t                      naddrs;
    ngx_uint_t                      addr;          /* next */
    char                            addrs[NGX_APIKEYS_PG_POOL_ADDRS]
                                         [NGX_SOCKADDR_STRLEN];
    ngx_uint_t                      failures;      /* rounds in a row */

    ngx_event_t                     dispatch;      /* posted */
    ngx_event_t                     login;         /* posted */
    ngx_event_t                     pause;         /* timer: no login yet */
    ngx_event_t                     keepalive;     /* timer, with listen */

    ngx_apikeys_pg_pool_stat_t      stat;

    unsigned                        down:1;        /* as was logged */
    unsigned                        notified:1;    /* to be told */
    unsigned                        closed:1;      /* to be told */

    char                            error[256];    /* of the last attempt */
};


static ngx_int_t ngx_apikeys_pg_pool_init(ngx_apikeys_pg_pool_t *pp);
static void ngx_apikeys_pg_pool_event(ngx_apikeys_pg_pool_t *pp,
    ngx_event_t *ev, ngx_event_handler_pt handler);
static void ngx_apikeys_pg_pool_move(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_state_e state);
static ngx_apikeys_pg_conn_t *ngx_apikeys_pg_pool_first(
    ngx_apikeys_pg_pool_t *pp, ngx_apikeys_pg_state_e state);
static void ngx_apikeys_pg_pool_post(ngx_apikeys_pg_pool_t *pp);
static void ngx_apikeys_pg_pool_dispatch_handler(ngx_event_t *ev);
static ngx_uint_t ngx_apikeys_pg_pool_assign(ngx_apikeys_pg_pool_t *pp);
static ngx_apikeys_pg_conn_t *ngx_apikeys_pg_pool_take(
    ngx_apikeys_pg_pool_t *pp, ngx_apikeys_pg_work_t *work);
static ngx_uint_t ngx_apikeys_pg_pool_wanted(ngx_apikeys_pg_pool_t *pp);
static void ngx_apikeys_pg_pool_opened(ngx_apikeys_pg_conn_t *pc);
static void ngx_apikeys_pg_pool_done(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_work_t *work);
static void ngx_apikeys_pg_pool_drained(ngx_apikeys_pg_conn_t *pc);
static void ngx_apikeys_pg_pool_failed(ngx_apikeys_pg_conn_t *pc,
    const char *reason);
static void ngx_apikeys_pg_pool_notified(ngx_apikeys_pg_conn_t *pc);
static void ngx_apikeys_pg_pool_release(ngx_apikeys_pg_conn_t *pc);
static void ngx_apikeys_pg_pool_close(ngx_apikeys_pg_conn_t *pc,
    ngx_uint_t level, const char *reason);
static void ngx_apikeys_pg_pool_drain(ngx_apikeys_pg_conn_t *pc);
static void ngx_apikeys_pg_pool_conn_timer_handler(ngx_event_t *ev);
static void ngx_apikeys_pg_pool_keepalive_handler(ngx_event_t *ev);
static void ngx_apikeys_pg_pool_login(ngx_apikeys_pg_pool_t *pp);
static void ngx_apikeys_pg_pool_login_handler(ngx_event_t *ev);
static ngx_int_t ngx_apikeys_pg_pool_login_host(ngx_apikeys_pg_pool_t *pp);
static ngx_int_t ngx_apikeys_pg_pool_login_resolve(ngx_apikeys_pg_pool_t *pp,
    ngx_apikeys_pg_host_t *h);
static void ngx_apikeys_pg_pool_login_resolve_handler(ngx_resolver_ctx_t *ctx);
static void ngx_apikeys_pg_pool_login_attempt(ngx_apikeys_pg_pool_t *pp,
    const char *label, const char *reason);
static void ngx_apikeys_pg_pool_login_failed(ngx_apikeys_pg_pool_t *pp);
static void ngx_apikeys_pg_pool_login_pause_handler(ngx_event_t *ev);
static ngx_int_t ngx_apikeys_pg_pool_work_again(ngx_apikeys_pg_work_t *work,
    ngx_uint_t fresh);
static void ngx_apikeys_pg_pool_work_timeout_handler(ngx_event_t *ev);
static void ngx_apikeys_pg_pool_work_finish_handler(ngx_event_t *ev);
static void ngx_apikeys_pg_pool_work_move(ngx_apikeys_pg_work_t *work,
    ngx_apikeys_pg_work_state_e state);
static void ngx_apikeys_pg_pool_work_forget(ngx_apikeys_pg_pool_t *pp);


static const ngx_apikeys_pg_conn_handlers_t  ngx_apikeys_pg_pool_handlers = {
    ngx_apikeys_pg_pool_opened,
    ngx_apikeys_pg_pool_done,
    ngx_apikeys_pg_pool_drained,
    ngx_apikeys_pg_pool_failed,
    ngx_apikeys_pg_pool_notified
};


ngx_apikeys_pg_pool_t *
ngx_apikeys_pg_pool_create(ngx_cycle_t *cycle, ngx_apikeys_pg_conf_t *conf,
    ngx_apikeys_pg_pool_options_t *options)
{
    ngx_pool_t             *pool;
    ngx_apikeys_pg_pool_t  *pp;

    /* of its own: a syncer makes and destroys pools as leases come and go */

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    pp = ngx_pcalloc(pool, sizeof(ngx_apikeys_pg_pool_t));
    if (pp == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    pp->pool = pool;
    pp->log = cycle->log;
    pp->conf = conf;
    pp->fd = (ngx_socket_t) -1;
    pp->hosts = conf->hosts;

    if (options) {
        pp->options = *options;
    }

    pp->queue = pp->options.queue ? pp->options.queue : conf->queue;
    pp->nconns = pp->options.connections ? pp->options.connections
                                         : conf->connections;

    if (ngx_apikeys_pg_pool_init(pp) != NGX_OK) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    if (pp->options.listen) {

        /* processes begin with no event: one of our own, and soon */

        ngx_add_timer(&pp->pause, 1);
        ngx_add_timer(&pp->keepalive, NGX_APIKEYS_PG_POOL_KEEPALIVE);
    }

    return pp;
}


static ngx_int_t
ngx_apikeys_pg_pool_init(ngx_apikeys_pg_pool_t *pp)
{
    ngx_uint_t              i;
    ngx_apikeys_pg_conn_t  *pc;

    for (i = 0; i < NGX_APIKEYS_PG_STATES; i++) {
        ngx_queue_init(&pp->list[i]);
    }

    for (i = 0; i < NGX_APIKEYS_PG_WORK_STATES; i++) {
        ngx_queue_init(&pp->work[i]);
    }

    ngx_apikeys_pg_pool_event(pp, &pp->dispatch,
                              ngx_apikeys_pg_pool_dispatch_handler);
    ngx_apikeys_pg_pool_event(pp, &pp->login,
                              ngx_apikeys_pg_pool_login_handler);
    ngx_apikeys_pg_pool_event(pp, &pp->pause,
                              ngx_apikeys_pg_pool_login_pause_handler);
    ngx_apikeys_pg_pool_event(pp, &pp->keepalive,
                              ngx_apikeys_pg_pool_keepalive_handler);

    pp->conns = ngx_pcalloc(pp->pool,
                            pp->nconns * sizeof(ngx_apikeys_pg_conn_t));
    if (pp->conns == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < pp->nconns; i++) {
        pc = &pp->conns[i];
        pc->pool = pp;
        pc->handlers = &ngx_apikeys_pg_pool_handlers;

        if (ngx_apikeys_pg_conn_init(pc, pp->pool, pp->log) != NGX_OK) {
            return NGX_ERROR;
        }

        pc->timer.handler = ngx_apikeys_pg_pool_conn_timer_handler;

        ngx_queue_insert_tail(&pp->list[NGX_APIKEYS_PG_FREE], &pc->queue);
        pp->number[NGX_APIKEYS_PG_FREE]++;
    }

    return NGX_OK;
}


static void
ngx_apikeys_pg_pool_event(ngx_apikeys_pg_pool_t *pp, ngx_event_t *ev,
    ngx_event_handler_pt handler)
{
    ev->data = pp;
    ev->log = pp->log;
    ev->handler = handler;
    ev->cancelable = 1;
}


/*
 * Works first: they are other people's memory, which may be gone soon after;
 * then the connections, while their slots are still there.
 */

void
ngx_apikeys_pg_pool_destroy(ngx_apikeys_pg_pool_t *pp)
{
    ngx_uint_t    i;
    ngx_event_t  *ev;

    ngx_apikeys_pg_pool_work_forget(pp);

    for (i = 0; i < pp->nconns; i++) {
        ev = &pp->conns[i].timer;

        if (ev->timer_set) {
            ngx_del_timer(ev);
        }

        ngx_apikeys_pg_conn_close(&pp->conns[i]);
    }

    if (pp->resolve) {
        ngx_resolve_name_done(pp->resolve);
    }

    if (pp->dispatch.posted) {
        ngx_delete_posted_event(&pp->dispatch);
    }

    if (pp->login.posted) {
        ngx_delete_posted_event(&pp->login);
    }

    if (pp->pause.timer_set) {
        ngx_del_timer(&pp->pause);
    }

    if (pp->keepalive.timer_set) {
        ngx_del_timer(&pp->keepalive);
    }

    ngx_destroy_pool(pp->pool);
}


void
ngx_apikeys_pg_pool_stat(ngx_apikeys_pg_pool_t *pp,
    ngx_apikeys_pg_pool_stat_t *stat)
{
    *stat = pp->stat;

    stat->busy = pp->number[NGX_APIKEYS_PG_RUNNING]
                 + pp->number[NGX_APIKEYS_PG_DRAIN];
    stat->open = stat->busy + pp->number[NGX_APIKEYS_PG_IDLE];
    stat->waiting = pp->works[NGX_APIKEYS_PG_WORK_WAITING];
}


/*
 * Idle connections are taken from the head, so the one used last is used
 * first: its backend is warm, and what is too many falls idle for good.  A
 * timer belongs to a state: it ends here, and whoever moves to LOGIN or
 * DRAIN sets the next one after the move.
 */

static void
ngx_apikeys_pg_pool_move(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_state_e state)
{
    ngx_apikeys_pg_pool_t  *pp;

    pp = pc->pool;

    ngx_queue_remove(&pc->queue);
    pp->number[pc->state]--;

    pc->state = state;

    ngx_queue_insert_head(&pp->list[state], &pc->queue);
    pp->number[state]++;

    if (pc->timer.timer_set) {
        ngx_del_timer(&pc->timer);
    }

    /* a worker that exits asks those to go that have nothing to do */

    if (pc->connection) {
        pc->connection->idle = (state == NGX_APIKEYS_PG_IDLE);
    }
}


static ngx_apikeys_pg_conn_t *
ngx_apikeys_pg_pool_first(ngx_apikeys_pg_pool_t *pp,
    ngx_apikeys_pg_state_e state)
{
    if (ngx_queue_empty(&pp->list[state])) {
        return NULL;
    }

    return ngx_queue_data(ngx_queue_head(&pp->list[state]),
                          ngx_apikeys_pg_conn_t, queue);
}


static void
ngx_apikeys_pg_pool_post(ngx_apikeys_pg_pool_t *pp)
{
    ngx_post_event(&pp->dispatch, &ngx_posted_events);
}


/*
 * Posted by whatever may let a work meet a connection, and run once for all
 * of it.  What the owner of the pool is told comes last, a loss before the
 * connection that mends it: nothing is left to do if it is told.
 */

static void
ngx_apikeys_pg_pool_dispatch_handler(ngx_event_t *ev)
{
    ngx_uint_t              wanted, closed, notified;
    ngx_apikeys_pg_pool_t  *pp;

    pp = ev->data;

    wanted = ngx_apikeys_pg_pool_assign(pp);

    if ((wanted || ngx_apikeys_pg_pool_wanted(pp))
        && pp->number[NGX_APIKEYS_PG_LOGIN] == 0
        && !pp->pause.timer_set)
    {
        ngx_apikeys_pg_pool_login(pp);
    }

    closed = pp->closed;
    notified = pp->notified;
    pp->closed = 0;
    pp->notified = 0;

    if (closed && pp->options.closed) {
        pp->options.closed(pp->options.data);
    }

    if (notified && pp->options.notify) {
        pp->options.notify(pp->options.data);
    }
}


/*
 * Gives works to idle connections, in the order of the queue; returns whether
 * a login is wanted, for works that found none.
 */

static ngx_uint_t
ngx_apikeys_pg_pool_assign(ngx_apikeys_pg_pool_t *pp)
{
    ngx_uint_t              wanted;
    ngx_queue_t            *q, *next, *waiting;
    ngx_apikeys_pg_conn_t  *pc;
    ngx_apikeys_pg_work_t  *work;

    wanted = 0;
    waiting = &pp->work[NGX_APIKEYS_PG_WORK_WAITING];

    for (q = ngx_queue_head(waiting);
         q != ngx_queue_sentinel(waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        work = ngx_queue_data(q, ngx_apikeys_pg_work_t, queue);

        pc = ngx_apikeys_pg_pool_take(pp, work);

        if (pc == NULL) {
            wanted = 1;

            if (pp->number[NGX_APIKEYS_PG_IDLE] == 0) {
                break;
            }

            /* only this one needs a connection made after a loss */
            continue;
        }

        ngx_apikeys_pg_pool_move(pc, NGX_APIKEYS_PG_RUNNING);
        ngx_apikeys_pg_pool_work_move(work, NGX_APIKEYS_PG_WORK_RUNNING);

        /* on a failure it waits again or ends: "next" is still the next */

        if (ngx_apikeys_pg_conn_run(pc, work) != NGX_OK) {
            ngx_apikeys_pg_pool_failed(pc, pc->error);
        }
    }

    return wanted;
}


/*
 * Validated: what has come over an idle connection is read first.  Its end
 * may have come in the same round of the event loop, and a write that is
 * sent to a server that is gone would be of unknown outcome, for nothing.
 */

static ngx_apikeys_pg_conn_t *
ngx_apikeys_pg_pool_take(ngx_apikeys_pg_pool_t *pp,
    ngx_apikeys_pg_work_t *work)
{
    ngx_queue_t            *q, *next, *idle;
    ngx_apikeys_pg_conn_t  *pc;

    idle = &pp->list[NGX_APIKEYS_PG_IDLE];

    for (q = ngx_queue_head(idle); q != ngx_queue_sentinel(idle); q = next) {

        next = ngx_queue_next(q);
        pc = ngx_queue_data(q, ngx_apikeys_pg_conn_t, queue);

        if (pc->serial < work->serial) {
            continue;
        }

        if (ngx_apikeys_pg_conn_check(pc) == NGX_OK) {
            return pc;
        }

        ngx_apikeys_pg_pool_failed(pc, pc->error);
    }

    return NULL;
}


static ngx_uint_t
ngx_apikeys_pg_pool_wanted(ngx_apikeys_pg_pool_t *pp)
{
    /* a pool that listens keeps one connection */

    return pp->options.listen && !ngx_exiting
           && pp->number[NGX_APIKEYS_PG_FREE] == pp->nconns;
}


static void
ngx_apikeys_pg_pool_opened(ngx_apikeys_pg_conn_t *pc)
{
    ngx_apikeys_pg_pool_t  *pp;

    pp = pc->pool;

    pc->serial = ++pp->stat.connects;
    pp->failures = 0;
    pc->opened = ngx_current_msec;

    if (pp->down) {
        pp->down = 0;
        ngx_log_error(NGX_LOG_NOTICE, pp->log, 0,
                      "the database is available again, at %s", pc->label);
    }

    /* whatever happened before it listened was not told */

    if (pp->options.listen) {
        pp->notified = 1;
    }

    ngx_apikeys_pg_pool_move(pc, NGX_APIKEYS_PG_IDLE);
    ngx_apikeys_pg_pool_post(pp);
}


/*
 * The work has left the connection and has its result.  The connection is
 * released before anybody hears of the result, so that the handler may start
 * the next query and find it.
 */

static void
ngx_apikeys_pg_pool_done(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_work_t *work)
{
    ngx_uint_t  readonly;

    work->conn = NULL;
    readonly = 0;

    if (work->rc == NGX_APIKEYS_PG_FAILED) {

        /* not a primary any more; like a rollback it left nothing behind */

        readonly = ngx_strcmp(work->sqlstate, "25006") == 0;

        if (readonly) {
            ngx_apikeys_pg_pool_close(pc, NGX_LOG_WARN,
                                      "the server has become read-only");
        }
    }

    if (pc->state == NGX_APIKEYS_PG_RUNNING) {
        ngx_apikeys_pg_pool_release(pc);
    }

    if (readonly && ngx_apikeys_pg_pool_work_again(work, 1) == NGX_OK) {
        return;
    }

    /* the server rolled back: another attempt is safe for writes, too */

    if (work->rc == NGX_APIKEYS_PG_FAILED && !work->repeated
        && (ngx_strcmp(work->sqlstate, "40001") == 0
            || ngx_strcmp(work->sqlstate, "40P01") == 0)
        && ngx_apikeys_pg_pool_work_again(work, 0) == NGX_OK)
    {
        work->repeated = 1;
        return;
    }

    ngx_apikeys_pg_pool_work_finish(work, work->rc, NULL);
}


static void
ngx_apikeys_pg_pool_drained(ngx_apikeys_pg_conn_t *pc)
{
    ngx_apikeys_pg_pool_release(pc);
}


/*
 * The end of a connection that nobody wanted, in any state.  It is closed
 * here, in the stack frame that saw it fail: libpq may have closed the socket
 * already, and its number may be another's at the next event.
 */

static void
ngx_apikeys_pg_pool_failed(ngx_apikeys_pg_conn_t *pc, const char *reason)
{
    ngx_uint_t              exiting;
    ngx_apikeys_pg_pool_t  *pp;
    ngx_apikeys_pg_work_t  *work;

    pp = pc->pool;
    work = pc->work;

    if (pc->state == NGX_APIKEYS_PG_LOGIN) {

        ngx_apikeys_pg_conn_close(pc);

        if (pc->timer.timer_set) {
            ngx_del_timer(&pc->timer);
        }

        ngx_apikeys_pg_pool_login_attempt(pp, pc->label, reason);
        ngx_post_event(&pp->login, &ngx_posted_events);

        return;
    }

    /* worker_shutdown_timeout: no time for a second attempt; to be looked at
       before the close, which gives the ngx_connection_t away */

    exiting = pc->connection && pc->connection->error;

    ngx_apikeys_pg_pool_close(pc, ngx_exiting ? NGX_LOG_INFO : NGX_LOG_WARN,
                              reason);

    if (work == NULL) {
        return;
    }

    /* a row it had was the connection's, and is gone */

    work->conn = NULL;
    work->result = NULL;

    if (!exiting && (!work->sent || !work->stmt->write)
        && ngx_apikeys_pg_pool_work_again(work, 1) == NGX_OK)
    {
        return;
    }

    ngx_apikeys_pg_pool_work_finish(work,
                                    work->sent ? NGX_APIKEYS_PG_LOST
                                               : NGX_APIKEYS_PG_UNAVAILABLE,
                                    reason);
}


static void
ngx_apikeys_pg_pool_notified(ngx_apikeys_pg_conn_t *pc)
{
    pc->pool->notified = 1;
    ngx_apikeys_pg_pool_post(pc->pool);
}


/*
 * The checklist: what must hold before a connection serves another work.
 * Nobody is served here, though; that is for the dispatch, in the order of
 * the queue.
 */

static void
ngx_apikeys_pg_pool_release(ngx_apikeys_pg_conn_t *pc)
{
    const char             *reason;
    ngx_uint_t              level;
    ngx_apikeys_pg_pool_t  *pp;

    pp = pc->pool;
    level = NGX_LOG_WARN;

    reason = ngx_apikeys_pg_conn_unusable(pc);

    if (reason == NULL) {
        level = NGX_LOG_INFO;

        if (ngx_exiting && pp->works[NGX_APIKEYS_PG_WORK_WAITING] == 0) {
            reason = "worker process is shutting down";

        } else if (pp->options.listen == NULL
                   && ngx_current_msec - pc->opened
                      > NGX_APIKEYS_PG_POOL_LIFETIME)
        {
            reason = "its time is over";
        }
    }

    if (reason) {
        ngx_apikeys_pg_pool_close(pc, level, reason);
        return;
    }

    ngx_apikeys_pg_pool_move(pc, NGX_APIKEYS_PG_IDLE);
    ngx_apikeys_pg_pool_post(pp);
}


static void
ngx_apikeys_pg_pool_close(ngx_apikeys_pg_conn_t *pc, ngx_uint_t level,
    const char *reason)
{
    ngx_apikeys_pg_pool_t  *pp;

    pp = pc->pool;

    ngx_log_error(level, pp->log, 0,
                  "database connection to %s closed after %M ms and "
                  "%ui queries: %s", pc->label,
                  ngx_current_msec - pc->opened, pc->requests, reason);

    ngx_apikeys_pg_conn_close(pc);
    ngx_apikeys_pg_pool_move(pc, NGX_APIKEYS_PG_FREE);

    if (pp->options.listen && !ngx_exiting) {
        pp->closed = 1;
    }

    ngx_apikeys_pg_pool_post(pp);
}


/*
 * Nobody wants the answer, but the connection may be good: a login costs more
 * than a short wait.  There is no cancel request: that of libpq blocks.  What
 * does not end soon is closed, and ended by the server's statement_timeout.
 */

static void
ngx_apikeys_pg_pool_drain(ngx_apikeys_pg_conn_t *pc)
{
    if (ngx_apikeys_pg_conn_discard(pc) != NGX_OK) {
        ngx_apikeys_pg_pool_close(pc, NGX_LOG_WARN, pc->error);
        return;
    }

    ngx_apikeys_pg_pool_move(pc, NGX_APIKEYS_PG_DRAIN);
    ngx_add_timer(&pc->timer, NGX_APIKEYS_PG_POOL_DRAIN);
}


static void
ngx_apikeys_pg_pool_conn_timer_handler(ngx_event_t *ev)
{
    ngx_apikeys_pg_pool_failed(ev->data, "it does not answer in time");
}


/*
 * A listening connection that died silently would be trusted for ever: it
 * never sends anything by itself.  A ping is a drain without a work.
 */

static void
ngx_apikeys_pg_pool_keepalive_handler(ngx_event_t *ev)
{
    ngx_uint_t              i;
    ngx_apikeys_pg_conn_t  *pc;
    ngx_apikeys_pg_pool_t  *pp;

    pp = ev->data;

    for (i = 0; i < pp->nconns; i++) {
        pc = &pp->conns[i];

        if (pc->state != NGX_APIKEYS_PG_IDLE) {
            continue;
        }

        if (ngx_apikeys_pg_conn_ping(pc) != NGX_OK) {
            ngx_apikeys_pg_pool_failed(pc, pc->error);
            continue;
        }

        ngx_apikeys_pg_pool_move(pc, NGX_APIKEYS_PG_DRAIN);
        ngx_add_timer(&pc->timer, pp->conf->connect_timeout);
    }

    ngx_add_timer(&pp->keepalive, NGX_APIKEYS_PG_POOL_KEEPALIVE);
}


static void
ngx_apikeys_pg_pool_login(ngx_apikeys_pg_pool_t *pp)
{
    ngx_queue_t            *q;
    ngx_apikeys_pg_conn_t  *pc;

    pc = ngx_apikeys_pg_pool_first(pp, NGX_APIKEYS_PG_FREE);

    if (pc == NULL) {

        if (pp->number[NGX_APIKEYS_PG_IDLE] == 0) {
            return;
        }

        /* the idle ones are of no use to those that wait */

        q = ngx_queue_last(&pp->list[NGX_APIKEYS_PG_IDLE]);
        pc = ngx_queue_data(q, ngx_apikeys_pg_conn_t, queue);
        ngx_apikeys_pg_pool_close(pc, NGX_LOG_INFO, "a new one is needed");
    }

    ngx_apikeys_pg_pool_move(pc, NGX_APIKEYS_PG_LOGIN);

    pp->tried = 0;
    pp->naddrs = 0;
    pp->addr = 0;

    ngx_post_event(&pp->login, &ngx_posted_events);
}


/*
 * Goes on with the next address, or the next host.  Posted at the beginning,
 * when an attempt has failed, and when the resolver has answered; an attempt
 * that can fail at once is followed by the next in the loop.
 */

static void
ngx_apikeys_pg_pool_login_handler(ngx_event_t *ev)
{
    char                   *address;
    ngx_int_t               rc;
    ngx_apikeys_pg_conn_t  *pc;
    ngx_apikeys_pg_host_t  *h;
    ngx_apikeys_pg_pool_t  *pp;

    pp = ev->data;
    pc = ngx_apikeys_pg_pool_first(pp, NGX_APIKEYS_PG_LOGIN);

    if (pc == NULL || pc->pg || pp->resolve) {
        return;
    }

    for ( ;; ) {

        while (pp->addr < pp->naddrs) {
            h = &pp->hosts->host[pp->host];
            address = h->local ? NULL : pp->addrs[pp->addr];
            pp->addr++;

            rc = ngx_apikeys_pg_conn_open(pc, pp->conf, h, address,
                                          pp->options.name,
                                          pp->options.listen);
            if (rc == NGX_OK) {
                ngx_add_timer(&pc->timer, pp->conf->connect_timeout);
                return;
            }

            ngx_apikeys_pg_pool_login_attempt(pp, pc->label, pc->error);
        }

        rc = ngx_apikeys_pg_pool_login_host(pp);

        if (rc == NGX_AGAIN) {
            return;
        }

        if (rc == NGX_DONE) {
            ngx_apikeys_pg_pool_login_failed(pp);
            return;
        }
    }
}


/*
 * The addresses of the next host.  NGX_OK: there may be some, NGX_AGAIN: the
 * resolver is asked, NGX_DONE: that was the last host.
 */

static ngx_int_t
ngx_apikeys_pg_pool_login_host(ngx_apikeys_pg_pool_t *pp)
{
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_apikeys_pg_host_t  *h;

    if (pp->tried == pp->hosts->n) {
        return NGX_DONE;
    }

    if (pp->tried++) {
        pp->host = (pp->host + 1) % pp->hosts->n;
    }

    pp->addr = 0;
    pp->naddrs = 0;

    h = &pp->hosts->host[pp->host];

    if (h->local) {
        pp->naddrs = 1;
        return NGX_OK;
    }

    if (h->name.len && pp->conf->resolver) {
        rc = ngx_apikeys_pg_pool_login_resolve(pp, h);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    for (i = 0; i < h->naddrs && i < NGX_APIKEYS_PG_POOL_ADDRS; i++) {
        (void) ngx_cpystrn((u_char *) pp->addrs[i], (u_char *) h->addrs[i],
                           NGX_SOCKADDR_STRLEN);
    }

    pp->naddrs = i;

    if (i == 0) {
        ngx_apikeys_pg_pool_login_attempt(pp, h->host,
                                          "the host was not found");
    }

    return NGX_OK;
}


/* NGX_DECLINED: there is no resolver, as an http block without one has it */

static ngx_int_t
ngx_apikeys_pg_pool_login_resolve(ngx_apikeys_pg_pool_t *pp,
    ngx_apikeys_pg_host_t *h)
{
    ngx_resolver_ctx_t  *ctx;

    ctx = ngx_resolve_start(pp->conf->resolver, NULL);

    if (ctx == NGX_NO_RESOLVER) {
        return NGX_DECLINED;
    }

    if (ctx == NULL) {
        ngx_apikeys_pg_pool_login_attempt(pp, h->host, "no memory");
        return NGX_OK;
    }

    ctx->name = h->name;
    ctx->handler = ngx_apikeys_pg_pool_login_resolve_handler;
    ctx->data = pp;
    ctx->timeout = pp->conf->connect_timeout;
    ctx->cancelable = 1;

    /* the handler may run before this returns, then it clears resolve */

    pp->resolve = ctx;

    if (ngx_resolve_name(ctx) != NGX_OK) {
        pp->resolve = NULL;
        ngx_apikeys_pg_pool_login_attempt(pp, h->host,
                                          "the resolver cannot be asked");
        return NGX_OK;
    }

    return NGX_AGAIN;
}


static void
ngx_apikeys_pg_pool_login_resolve_handler(ngx_resolver_ctx_t *ctx)
{
    size_t                  len;
    ngx_uint_t              i;
    ngx_apikeys_pg_pool_t  *pp;

    pp = ctx->data;

    if (ctx->state) {
        ngx_apikeys_pg_pool_login_attempt(pp,
                                          pp->hosts->host[pp->host].host,
                                          ngx_resolver_strerror(ctx->state));
    }

    for (i = 0; i < ctx->naddrs && i < NGX_APIKEYS_PG_POOL_ADDRS; i++) {
        len = ngx_sock_ntop(ctx->addrs[i].sockaddr, ctx->addrs[i].socklen,
                            (u_char *) pp->addrs[i],
                            NGX_SOCKADDR_STRLEN - 1, 0);
        pp->addrs[i][len] = '\0';
    }

    pp->naddrs = ctx->state ? 0 : i;
    pp->addr = 0;
    pp->resolve = NULL;

    ngx_resolve_name_done(ctx);

    ngx_post_event(&pp->login, &ngx_posted_events);
}


/* one address, or one name, less */

static void
ngx_apikeys_pg_pool_login_attempt(ngx_apikeys_pg_pool_t *pp,
    const char *label, const char *reason)
{
    ngx_uint_t  level;

    pp->stat.failures++;

    *ngx_snprintf((u_char *) pp->error, sizeof(pp->error) - 1, "%s: %s",
                  label, reason) = '\0';

    /* known to be down: once is enough */

    level = pp->down ? NGX_LOG_INFO : NGX_LOG_WARN;

    ngx_log_error(level, pp->log, 0, "database login failed, %s", pp->error);
}


static void
ngx_apikeys_pg_pool_login_failed(ngx_apikeys_pg_pool_t *pp)
{
    ngx_msec_t              pause;
    ngx_uint_t              open;
    ngx_queue_t            *q, *next, *waiting;
    ngx_apikeys_pg_conn_t  *pc;
    ngx_apikeys_pg_work_t  *work;

    pc = ngx_apikeys_pg_pool_first(pp, NGX_APIKEYS_PG_LOGIN);
    ngx_apikeys_pg_pool_move(pc, NGX_APIKEYS_PG_FREE);

    if (!pp->down) {
        pp->down = 1;
        ngx_log_error(NGX_LOG_ERR, pp->log, 0,
                      "the database is unavailable, last %s", pp->error);
    }

    /* all workers lose their database at once: they should not come back so */

    pause = NGX_APIKEYS_PG_POOL_LOGIN_PAUSE << ngx_min(pp->failures, 5);
    pause = ngx_min(pause, NGX_APIKEYS_PG_POOL_LOGIN_PAUSE_MAX);
    pp->failures++;

    ngx_add_timer(&pp->pause, pause / 2 + ngx_random() % pause);

    /* connections that remain may serve whoever is not in need of a new one */

    open = pp->number[NGX_APIKEYS_PG_FREE] < pp->nconns;
    waiting = &pp->work[NGX_APIKEYS_PG_WORK_WAITING];

    for (q = ngx_queue_head(waiting);
         q != ngx_queue_sentinel(waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        work = ngx_queue_data(q, ngx_apikeys_pg_work_t, queue);

        if (!open || work->serial) {
            ngx_apikeys_pg_pool_work_finish(work, NGX_APIKEYS_PG_UNAVAILABLE,
                                            pp->error);
        }
    }
}


static void
ngx_apikeys_pg_pool_login_pause_handler(ngx_event_t *ev)
{
    ngx_apikeys_pg_pool_post(ev->data);
}


void
ngx_apikeys_pg_pool_work_start(ngx_apikeys_pg_work_t *work)
{
    ngx_uint_t              ready;
    ngx_apikeys_pg_pool_t  *pp;

    pp = work->pool;

    work->fd = (ngx_socket_t) -1;
    work->conn = NULL;
    work->rc = NGX_APIKEYS_PG_OK;
    work->sqlstate[0] = '\0';
    work->error = NULL;
    work->sent = 0;
    work->given = 0;
    work->unknown = 0;
    work->serial = 0;
    work->retried = 0;
    work->repeated = 0;

    work->event.data = work;
    work->event.log = pp->log;
    work->event.handler = ngx_apikeys_pg_pool_work_finish_handler;

    work->timer.data = work;
    work->timer.log = pp->log;
    work->timer.handler = ngx_apikeys_pg_pool_work_timeout_handler;

    /* not cancelable, unless the query says so: a request waits for it */

    if (work->timeout == 0) {
        work->timeout = pp->conf->timeout;
    }

    ngx_apikeys_pg_pool_work_move(work, NGX_APIKEYS_PG_WORK_WAITING);

    pp->stat.queries++;

    /* those that a connection stands ready for do not wait */

    ready = pp->number[NGX_APIKEYS_PG_FREE] + pp->number[NGX_APIKEYS_PG_LOGIN]
            + pp->number[NGX_APIKEYS_PG_IDLE];

    if (pp->works[NGX_APIKEYS_PG_WORK_WAITING] > pp->queue + ready) {
        pp->stat.refused++;
        ngx_apikeys_pg_pool_work_finish(work, NGX_APIKEYS_PG_BUSY,
                                        "the queue is full");
        return;
    }

    ngx_add_timer(&work->timer, work->timeout);
    ngx_apikeys_pg_pool_post(pp);
}


/*
 * At the head of the queue: it has waited before.  Its timer goes on, so a
 * second attempt never takes longer than one.  A fresh connection is one with
 * a higher serial number than any so far: others that look alive may have
 * died with the one that was lost.
 */

static ngx_int_t
ngx_apikeys_pg_pool_work_again(ngx_apikeys_pg_work_t *work, ngx_uint_t fresh)
{
    ngx_apikeys_pg_pool_t  *pp;

    /* rows that the handler has seen cannot be taken back */

    if (work->given || (fresh && work->retried)) {
        return NGX_DECLINED;
    }

    pp = work->pool;

    if (fresh) {
        work->serial = pp->stat.connects + 1;
        work->retried = 1;
    }

    /* what was sent came to nothing, as far as the callers know */

    work->sent = 0;
    ngx_apikeys_pg_conn_clear(work);

    ngx_apikeys_pg_pool_work_move(work, NGX_APIKEYS_PG_WORK_WAITING);
    ngx_queue_remove(&work->queue);
    ngx_queue_insert_head(&pp->work[NGX_APIKEYS_PG_WORK_WAITING],
                          &work->queue);

    ngx_apikeys_pg_pool_post(pp);

    return NGX_OK;
}


/* whether a result goes with it is up to the caller: it is in the work */

void
ngx_apikeys_pg_pool_work_finish(ngx_apikeys_pg_work_t *work,
    ngx_apikeys_pg_rc_e rc, const char *error)
{
    if (work->conn) {
        ngx_apikeys_pg_pool_drain(work->conn);
    }

    if (rc != NGX_APIKEYS_PG_OK) {
        work->pool->stat.errors++;
    }

    work->rc = rc;
    work->error = error;
    work->unknown = work->sent && work->stmt->write
                    && (rc == NGX_APIKEYS_PG_TIMEOUT
                        || rc == NGX_APIKEYS_PG_LOST);

    ngx_apikeys_pg_pool_work_move(work, NGX_APIKEYS_PG_WORK_FINISHED);
}


void
ngx_apikeys_pg_pool_work_cancel(ngx_apikeys_pg_work_t *work)
{
    if (work->state != NGX_APIKEYS_PG_WORK_NONE) {

        if (work->conn) {
            ngx_apikeys_pg_pool_drain(work->conn);
        }

        ngx_apikeys_pg_pool_work_move(work, NGX_APIKEYS_PG_WORK_NONE);
    }

    ngx_apikeys_pg_conn_clear(work);
}


void
ngx_apikeys_pg_pool_work_resume(ngx_apikeys_pg_work_t *work)
{
    if (work->conn) {
        ngx_apikeys_pg_conn_resume(work->conn);
    }
}


static void
ngx_apikeys_pg_pool_work_timeout_handler(ngx_event_t *ev)
{
    ngx_apikeys_pg_work_t  *work;

    work = ev->data;
    work->pool->stat.timeouts++;

    ngx_apikeys_pg_pool_work_finish(work, NGX_APIKEYS_PG_TIMEOUT, "timed out");
}


/*
 * By now the connection has been given back; the handler may do anything,
 * also free the work, or start it again.
 */

static void
ngx_apikeys_pg_pool_work_finish_handler(ngx_event_t *ev)
{
    ngx_apikeys_pg_work_t  *work;

    work = ev->data;

    ngx_apikeys_pg_pool_work_move(work, NGX_APIKEYS_PG_WORK_NONE);

    work->handler(work);
}


/*
 * Timer and event belong to states: a work that waits or runs has the timer
 * that was set at its start, one that has ended has its event posted, and one
 * in no list has neither, so it may be freed.
 */

static void
ngx_apikeys_pg_pool_work_move(ngx_apikeys_pg_work_t *work,
    ngx_apikeys_pg_work_state_e state)
{
    ngx_apikeys_pg_pool_t  *pp;

    pp = work->pool;

    if (work->state != NGX_APIKEYS_PG_WORK_NONE) {
        ngx_queue_remove(&work->queue);
        pp->works[work->state]--;
    }

    if (work->state == NGX_APIKEYS_PG_WORK_FINISHED && work->event.posted) {
        ngx_delete_posted_event(&work->event);
    }

    work->state = state;

    switch (state) {

    case NGX_APIKEYS_PG_WORK_WAITING:
    case NGX_APIKEYS_PG_WORK_RUNNING:
        break;

    case NGX_APIKEYS_PG_WORK_FINISHED:
        ngx_post_event(&work->event, &ngx_posted_events);

        /* fall through */

    default:

        if (work->timer.timer_set) {
            ngx_del_timer(&work->timer);
        }
    }

    if (state != NGX_APIKEYS_PG_WORK_NONE) {
        ngx_queue_insert_tail(&pp->work[state], &work->queue);
        pp->works[state]++;
    }
}


/* for a pool that is destroyed: no handler runs, no work refers to it */

static void
ngx_apikeys_pg_pool_work_forget(ngx_apikeys_pg_pool_t *pp)
{
    ngx_uint_t              i;
    ngx_queue_t            *q;
    ngx_apikeys_pg_work_t  *work;

    for (i = NGX_APIKEYS_PG_WORK_NONE + 1;
         i < NGX_APIKEYS_PG_WORK_STATES;
         i++)
    {
        while (!ngx_queue_empty(&pp->work[i])) {
            q = ngx_queue_head(&pp->work[i]);
            work = ngx_queue_data(q, ngx_apikeys_pg_work_t, queue);

            if (work->conn) {

                /* a row is the connection's, which is closed with it */

                work->conn->work = NULL;
                work->conn = NULL;
                work->result = NULL;
            }

            ngx_apikeys_pg_pool_work_move(work, NGX_APIKEYS_PG_WORK_NONE);
            ngx_apikeys_pg_conn_clear(work);
        }
    }
}
