
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
 * Timers are cancelable but for those of works: a worker that exits waits
 * for its requests and for nothing else.
 *
 * This file has the connections, ngx_apikeys_pg_pool_login.c how they are
 * made, ngx_apikeys_pg_pool_work.c the works.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_apikeys_pg_pool_int.h>


/* an answer that nobody wants: as long it may take, in ms */
#define NGX_APIKEYS_PG_POOL_DRAIN      1000

/* plans and caches of a backend grow: it is left after that time */
#define NGX_APIKEYS_PG_POOL_LIFETIME   3600000

#define NGX_APIKEYS_PG_POOL_KEEPALIVE  15000

/* an idle connection with large buffers is kept for so long, in ms */
#define NGX_APIKEYS_PG_POOL_LARGE      1000


static ngx_int_t ngx_apikeys_pg_pool_init(ngx_apikeys_pg_pool_t *pp);
static void ngx_apikeys_pg_pool_event(ngx_apikeys_pg_pool_t *pp,
    ngx_event_t *ev, ngx_event_handler_pt handler);
static void ngx_apikeys_pg_pool_dispatch_handler(ngx_event_t *ev);
static ngx_uint_t ngx_apikeys_pg_pool_assign(ngx_apikeys_pg_pool_t *pp);
static ngx_uint_t ngx_apikeys_pg_pool_assign_below(ngx_apikeys_pg_pool_t *pp,
    ngx_uint_t n);
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
static void ngx_apikeys_pg_pool_conn_timer_handler(ngx_event_t *ev);
static void ngx_apikeys_pg_pool_keepalive_handler(ngx_event_t *ev);


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

    pp->options = *options;
    pp->stat = options->stat;

    if (pp->stat == NULL) {
        pp->stat = ngx_pcalloc(pool, sizeof(ngx_apikeys_pg_pool_stat_t));
        if (pp->stat == NULL) {
            ngx_destroy_pool(pool);
            return NULL;
        }
    }

    /* the gauges of the process that counted here before */

    pp->stat->open = 0;
    pp->stat->busy = 0;
    pp->stat->waiting = 0;

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


ngx_int_t
ngx_apikeys_pg_pool_final(ngx_apikeys_pg_pool_t *pp,
    const ngx_apikeys_pg_stmt_t *stmt, const ngx_str_t *params,
    ngx_msec_t timeout, ngx_uint_t *nrows)
{
    ngx_uint_t              i;
    ngx_apikeys_pg_conn_t  *pc;

    static const ngx_apikeys_pg_state_e  states[] = {
        NGX_APIKEYS_PG_IDLE, NGX_APIKEYS_PG_DRAIN, NGX_APIKEYS_PG_RUNNING
    };

    for (i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        pc = ngx_apikeys_pg_pool_first(pp, states[i]);

        if (pc) {
            return ngx_apikeys_pg_conn_final(pc, stmt, params, timeout,
                                             nrows);
        }
    }

    return NGX_DECLINED;
}


/*
 * Idle connections are taken from the head, so the one used last is used
 * first: its backend is warm, and what is too many falls idle for good.  A
 * timer belongs to a state: it ends here, and whoever moves to LOGIN or
 * DRAIN sets the next one after the move.
 */

void
ngx_apikeys_pg_pool_move(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_state_e state)
{
    ngx_apikeys_pg_pool_t  *pp;

    pp = pc->pool;

    ngx_queue_remove(&pc->queue);
    pp->number[pc->state]--;

    pc->state = state;

    if (state == NGX_APIKEYS_PG_IDLE) {
        ngx_memzero(pc->tenant, NGX_APIKEYS_PG_TENANT_LEN);
    }

    ngx_queue_insert_head(&pp->list[state], &pc->queue);
    pp->number[state]++;

    pp->stat->busy = pp->number[NGX_APIKEYS_PG_RUNNING]
                     + pp->number[NGX_APIKEYS_PG_DRAIN];
    pp->stat->open = pp->stat->busy + pp->number[NGX_APIKEYS_PG_IDLE];

    if (pc->timer.timer_set) {
        ngx_del_timer(&pc->timer);
    }

    /* a worker that exits asks those to go that have nothing to do */

    if (pc->connection) {
        pc->connection->idle = (state == NGX_APIKEYS_PG_IDLE);
    }
}


ngx_apikeys_pg_conn_t *
ngx_apikeys_pg_pool_first(ngx_apikeys_pg_pool_t *pp,
    ngx_apikeys_pg_state_e state)
{
    if (ngx_queue_empty(&pp->list[state])) {
        return NULL;
    }

    return ngx_queue_data(ngx_queue_head(&pp->list[state]),
                          ngx_apikeys_pg_conn_t, queue);
}


void
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
 * Gives works to idle connections: first those of tenants for whom nothing
 * runs, then the others, each in the order of the queue.  Returns whether a
 * login is wanted, for works that found no connection.
 */

static ngx_uint_t
ngx_apikeys_pg_pool_assign(ngx_apikeys_pg_pool_t *pp)
{
    ngx_uint_t  wanted;

    wanted = ngx_apikeys_pg_pool_assign_below(pp, 1);

    return ngx_apikeys_pg_pool_assign_below(pp, ngx_apikeys_pg_pool_share(pp))
           || wanted;
}


/* to works of tenants that hold fewer than "n" connections */

static ngx_uint_t
ngx_apikeys_pg_pool_assign_below(ngx_apikeys_pg_pool_t *pp, ngx_uint_t n)
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

        if (ngx_apikeys_pg_pool_work_holds(work) >= n) {
            continue;
        }

        pc = ngx_apikeys_pg_pool_take(pp, work);

        if (pc == NULL) {
            wanted = 1;

            if (pp->number[NGX_APIKEYS_PG_IDLE] == 0) {
                break;
            }

            /* only this one needs a connection made after a loss */
            continue;
        }

        if (work->tenant) {
            ngx_memcpy(pc->tenant, work->tenant, NGX_APIKEYS_PG_TENANT_LEN);
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

    pc->serial = ++pp->stat->connects;
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

    if (pc->large && pp->options.listen == NULL) {
        ngx_add_timer(&pc->timer, NGX_APIKEYS_PG_POOL_LARGE);
    }

    ngx_apikeys_pg_pool_post(pp);
}


void
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
 * does not end soon is closed, which ends the statement where the server looks
 * after its clients (see ngx_apikeys_pg_conn_setup()), else statement_timeout.
 */

void
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
    ngx_apikeys_pg_conn_t  *pc;

    pc = ev->data;

    if (pc->state == NGX_APIKEYS_PG_IDLE) {
        ngx_apikeys_pg_pool_close(pc, NGX_LOG_INFO, "its buffers have grown");
        return;
    }

    ngx_apikeys_pg_pool_failed(pc, "it does not answer in time");
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
