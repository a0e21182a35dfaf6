
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The connections of one worker to one database, and the queries that wait for
 * them, are run by them, or have ended and wait for their handler.
 *
 * Each connection and each query is on the list of its state.  Only
 * ngx_apikeys_pg_pool_move() and ngx_apikeys_pg_pool_query_move() change the
 * states.  Queries are assigned to connections, and logins begin and continue,
 * in posted events only: so no function that a handler calls calls the handler
 * again, and a connection that failed is not opened again before the function
 * that saw the failure has returned.
 *
 * All timers but those of queries are cancelable: a worker that exits waits
 * for its requests only.
 *
 * A worker does one login at a time: SCRAM takes milliseconds of CPU, and all
 * workers log in when a database comes back.  A login tries all addresses of
 * all hosts (a round), beginning with the host of the last success.  One
 * connection is in the state LOGIN during the whole round.  A round that fails
 * ends the queries that wait, unless other connections can serve them, and is
 * followed by a pause.
 *
 * The memory of a query belongs to its creator, who may free the query as soon
 * as it was canceled or its handler was called.  Neither the pool nor a
 * connection refers to the query after that.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_apikeys_pg_query.h>


#define NGX_APIKEYS_PG_POOL_ADDRS      16    /* of one name */

/* ms within which the answer to a canceled query must end */
#define NGX_APIKEYS_PG_POOL_DRAIN      1000

/* a connection is closed after that time, as caches of a backend grow */
#define NGX_APIKEYS_PG_POOL_LIFETIME   3600000

#define NGX_APIKEYS_PG_POOL_KEEPALIVE  15000

/* an idle connection with large buffers is kept for so long, in ms */
#define NGX_APIKEYS_PG_POOL_LARGE      1000

/* ms between two failed rounds: doubled each time, half of it random */
#define NGX_APIKEYS_PG_POOL_PAUSE      100
#define NGX_APIKEYS_PG_POOL_PAUSE_MAX  2000

/* connections that one tenant may use: one is left for the others */
#define ngx_apikeys_pg_pool_share(pp)  (ngx_max((pp)->nconns, 2) - 1)


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
    ngx_queue_t                     queries[NGX_APIKEYS_PG_QUERY_STATES];
    ngx_uint_t                      nqueries[NGX_APIKEYS_PG_QUERY_STATES];

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

    ngx_apikeys_pg_pool_stat_t     *stat;
    ngx_apikeys_failure_t          *failure;

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
static ngx_uint_t ngx_apikeys_pg_pool_assign_below(ngx_apikeys_pg_pool_t *pp,
    ngx_uint_t n);
static ngx_apikeys_pg_conn_t *ngx_apikeys_pg_pool_get_idle(
    ngx_apikeys_pg_pool_t *pp, ngx_apikeys_pg_query_t *query);
static ngx_uint_t ngx_apikeys_pg_pool_wanted(ngx_apikeys_pg_pool_t *pp);
static void ngx_apikeys_pg_pool_opened(ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_pool_row(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_query_t *query);
static void ngx_apikeys_pg_pool_done(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_query_t *query);
static void ngx_apikeys_pg_pool_drained(ngx_apikeys_pg_conn_t *pc);
static void ngx_apikeys_pg_pool_failed(ngx_apikeys_pg_conn_t *pc,
    const char *reason);
static void ngx_apikeys_pg_pool_notified(ngx_apikeys_pg_conn_t *pc);
static void ngx_apikeys_pg_pool_release(ngx_apikeys_pg_conn_t *pc);
static void ngx_apikeys_pg_pool_close(ngx_apikeys_pg_conn_t *pc,
    ngx_uint_t level, const char *reason);
static void ngx_apikeys_pg_pool_drain(ngx_apikeys_pg_conn_t *pc);
static void ngx_apikeys_pg_pool_answered(ngx_apikeys_pg_conn_t *pc);
static void ngx_apikeys_pg_pool_conn_timer_handler(ngx_event_t *ev);
static void ngx_apikeys_pg_pool_keepalive_handler(ngx_event_t *ev);
static void ngx_apikeys_pg_pool_login(ngx_apikeys_pg_pool_t *pp);
static void ngx_apikeys_pg_pool_login_handler(ngx_event_t *ev);
static ngx_int_t ngx_apikeys_pg_pool_login_host(ngx_apikeys_pg_pool_t *pp);
static ngx_int_t ngx_apikeys_pg_pool_login_resolve(ngx_apikeys_pg_pool_t *pp,
    ngx_apikeys_pg_host_t *h);
static void ngx_apikeys_pg_pool_login_resolve_handler(ngx_resolver_ctx_t *ctx);
static void ngx_apikeys_pg_pool_login_log_failure(ngx_apikeys_pg_pool_t *pp,
    const char *label, const char *reason);
static void ngx_apikeys_pg_pool_login_failed(ngx_apikeys_pg_pool_t *pp);
static void ngx_apikeys_pg_pool_login_pause_handler(ngx_event_t *ev);
static ngx_uint_t ngx_apikeys_pg_pool_query_exceeds(
    ngx_apikeys_pg_query_t *query, ngx_uint_t ready);
static ngx_uint_t ngx_apikeys_pg_pool_query_holds(
    ngx_apikeys_pg_query_t *query);
static ngx_uint_t ngx_apikeys_pg_pool_query_same(ngx_apikeys_pg_query_t *query,
    ngx_apikeys_pg_query_state_e state);
static ngx_int_t ngx_apikeys_pg_pool_query_again(ngx_apikeys_pg_query_t *query,
    ngx_uint_t fresh);
static void ngx_apikeys_pg_pool_query_leave(ngx_apikeys_pg_query_t *query,
    ngx_apikeys_pg_rc_e rc);
static void ngx_apikeys_pg_pool_query_abandon(ngx_apikeys_pg_query_t *query);
static void ngx_apikeys_pg_pool_query_timeout_handler(ngx_event_t *ev);
static void ngx_apikeys_pg_pool_query_finish_handler(ngx_event_t *ev);
static void ngx_apikeys_pg_pool_query_move(ngx_apikeys_pg_query_t *query,
    ngx_apikeys_pg_query_state_e state);
static void ngx_apikeys_pg_pool_query_forget(ngx_apikeys_pg_pool_t *pp);


/* the query whose handler is running, or NULL: handlers are not nested */
static ngx_apikeys_pg_query_t  *ngx_apikeys_pg_pool_current;


static const ngx_apikeys_pg_conn_handlers_t  ngx_apikeys_pg_pool_handlers = {
    ngx_apikeys_pg_pool_opened,
    ngx_apikeys_pg_pool_row,
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

    /*
     * memory of its own, because a leader creates a pool with its lease and
     * destroys the pool when the lease ends
     */

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

    pp->failure = options->failure;

    if (pp->failure == NULL) {
        pp->failure = ngx_pcalloc(pool, sizeof(ngx_apikeys_failure_t));
        if (pp->failure == NULL) {
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

    for (i = 0; i < NGX_APIKEYS_PG_QUERY_STATES; i++) {
        ngx_queue_init(&pp->queries[i]);
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
 * Ends the queries first, as their creators may free them soon after, then
 * closes the connections.
 */

void
ngx_apikeys_pg_pool_destroy(ngx_apikeys_pg_pool_t *pp)
{
    ngx_uint_t    i;
    ngx_event_t  *ev;

    ngx_apikeys_pg_pool_query_forget(pp);

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


const char *
ngx_apikeys_pg_pool_label(ngx_apikeys_pg_pool_t *pp)
{
    return pp->conns[0].label;
}


/*
 * The only place that changes the state of a connection.
 *
 * Idle connections are taken from the head of the list, so the connection used
 * last is used first: its backend has warm caches, and surplus connections stay
 * idle.  The timer of a connection belongs to its state: it is deleted here,
 * and the function that moves to LOGIN or DRAIN sets a new one after the move.
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

    /* nginx closes idle connections when a worker begins to exit */

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


/* posts the dispatch: a query may find a connection now */

static void
ngx_apikeys_pg_pool_post(ngx_apikeys_pg_pool_t *pp)
{
    ngx_post_event(&pp->dispatch, &ngx_posted_events);
}


/*
 * Assigns queries to connections, once for all events that may allow this.
 * The handlers of the owner of the pool are called last, that of a lost
 * connection before that of the connection which replaces it.
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
 * Gives queries to idle connections: first those of tenants for whom nothing
 * runs, then the others, each in the order of the queue.  Returns whether a
 * login is wanted, for queries that found no connection.
 */

static ngx_uint_t
ngx_apikeys_pg_pool_assign(ngx_apikeys_pg_pool_t *pp)
{
    ngx_uint_t  wanted;

    wanted = ngx_apikeys_pg_pool_assign_below(pp, 1);

    return ngx_apikeys_pg_pool_assign_below(pp, ngx_apikeys_pg_pool_share(pp))
           || wanted;
}


/* to queries of tenants that hold fewer than "n" connections */

static ngx_uint_t
ngx_apikeys_pg_pool_assign_below(ngx_apikeys_pg_pool_t *pp, ngx_uint_t n)
{
    ngx_uint_t               wanted;
    ngx_queue_t             *q, *next, *waiting;
    ngx_apikeys_pg_conn_t   *pc;
    ngx_apikeys_pg_query_t  *query;

    wanted = 0;
    waiting = &pp->queries[NGX_APIKEYS_PG_QUERY_WAITING];

    for (q = ngx_queue_head(waiting);
         q != ngx_queue_sentinel(waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        query = ngx_queue_data(q, ngx_apikeys_pg_query_t, queue);

        if (ngx_apikeys_pg_pool_query_holds(query) >= n) {
            continue;
        }

        pc = ngx_apikeys_pg_pool_get_idle(pp, query);

        if (pc == NULL) {
            wanted = 1;

            if (pp->number[NGX_APIKEYS_PG_IDLE] == 0) {
                break;
            }

            /* only this query needs a connection made after a loss */
            continue;
        }

        if (query->tenant) {
            ngx_memcpy(pc->tenant, query->tenant, NGX_APIKEYS_PG_TENANT_LEN);
        }

        ngx_apikeys_pg_pool_move(pc, NGX_APIKEYS_PG_RUNNING);
        ngx_apikeys_pg_pool_query_move(query, NGX_APIKEYS_PG_QUERY_RUNNING);

        /* on a failure it waits again or ends: "next" is still the next */

        if (ngx_apikeys_pg_conn_run(pc, query) != NGX_OK) {
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
ngx_apikeys_pg_pool_get_idle(ngx_apikeys_pg_pool_t *pp,
    ngx_apikeys_pg_query_t *query)
{
    ngx_queue_t            *q, *next, *idle;
    ngx_apikeys_pg_conn_t  *pc;

    idle = &pp->list[NGX_APIKEYS_PG_IDLE];

    for (q = ngx_queue_head(idle); q != ngx_queue_sentinel(idle); q = next) {

        next = ngx_queue_next(q);
        pc = ngx_queue_data(q, ngx_apikeys_pg_conn_t, queue);

        if (pc->serial < query->serial) {
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
    uint64_t                seconds;
    ngx_apikeys_pg_pool_t  *pp;

    pp = pc->pool;

    pc->serial = ++pp->stat->connects;
    pp->failures = 0;
    pc->opened = ngx_current_msec;

    if (ngx_apikeys_failure_over(pp->failure, &seconds)) {
        ngx_log_error(NGX_LOG_NOTICE, pp->log, 0,
                      "apikeys: connected to database %s again, after %uL s",
                      pc->label, seconds);
    }

    /* notifications sent before LISTEN did not arrive */

    if (pp->options.listen) {
        pp->notified = 1;
    }

    ngx_apikeys_pg_pool_move(pc, NGX_APIKEYS_PG_IDLE);
    ngx_apikeys_pg_pool_post(pp);
}


/*
 * The handler may cancel and free the query.  Therefore the query is used
 * afterwards only if ngx_apikeys_pg_pool_current still points to it.
 */

static ngx_int_t
ngx_apikeys_pg_pool_row(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_query_t *query)
{
    ngx_int_t  rc;

    ngx_apikeys_pg_pool_current = query;

    rc = query->row(query);

    if (ngx_apikeys_pg_pool_current != query) {
        return NGX_OK;
    }

    ngx_apikeys_pg_pool_current = NULL;

    if (rc == NGX_ERROR) {
        ngx_apikeys_pg_pool_query_finish(query, NGX_APIKEYS_PG_CANCELED,
                                         "canceled while rows were read");
        return NGX_OK;
    }

    return rc;
}


/*
 * The query has its result and no connection any more.  The connection is
 * released before the handler is called, so the handler may start the next
 * query on it.
 */

static void
ngx_apikeys_pg_pool_done(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_query_t *query)
{
    ngx_uint_t  readonly;

    query->conn = NULL;
    readonly = 0;

    if (query->rc == NGX_APIKEYS_PG_FAILED) {

        /* no longer a primary; as with a rollback nothing was changed */

        readonly = ngx_strcmp(query->sqlstate, "25006") == 0;

        if (readonly) {
            ngx_apikeys_pg_pool_close(pc, NGX_LOG_WARN,
                                      NGX_APIKEYS_PG_CONN_STANDBY);
        }
    }

    if (pc->state == NGX_APIKEYS_PG_RUNNING) {
        ngx_apikeys_pg_pool_release(pc);
    }

    if (readonly && ngx_apikeys_pg_pool_query_again(query, 1) == NGX_OK) {
        return;
    }

    /* the server rolled back: another attempt is safe for writes, too */

    if (query->rc == NGX_APIKEYS_PG_FAILED && !query->repeated
        && (ngx_strcmp(query->sqlstate, "40001") == 0
            || ngx_strcmp(query->sqlstate, "40P01") == 0)
        && ngx_apikeys_pg_pool_query_again(query, 0) == NGX_OK)
    {
        query->repeated = 1;
        return;
    }

    ngx_apikeys_pg_pool_query_finish(query, query->rc, NULL);
}


static void
ngx_apikeys_pg_pool_drained(ngx_apikeys_pg_conn_t *pc)
{
    ngx_apikeys_pg_pool_answered(pc);
    ngx_apikeys_pg_pool_release(pc);
}


/*
 * Closes a connection that failed, in any state.  The connection is closed in
 * the function that saw the failure: libpq may have closed the socket already,
 * and another socket may have its number at the next event.
 */

static void
ngx_apikeys_pg_pool_failed(ngx_apikeys_pg_conn_t *pc, const char *reason)
{
    ngx_uint_t               exiting;
    ngx_apikeys_pg_pool_t   *pp;
    ngx_apikeys_pg_query_t  *query;

    pp = pc->pool;
    query = pc->query;

    if (pc->state == NGX_APIKEYS_PG_LOGIN) {

        ngx_apikeys_pg_conn_close(pc);

        if (pc->timer.timer_set) {
            ngx_del_timer(&pc->timer);
        }

        ngx_apikeys_pg_pool_login_log_failure(pp, pc->label, reason);
        ngx_post_event(&pp->login, &ngx_posted_events);

        return;
    }

    /*
     * worker_shutdown_timeout: there is no time for a second attempt.  This is
     * checked before the close, which frees the ngx_connection_t.
     */

    exiting = pc->connection && pc->connection->error;

    ngx_apikeys_pg_pool_close(pc, ngx_exiting ? NGX_LOG_INFO : NGX_LOG_WARN,
                              reason);

    if (query == NULL) {
        return;
    }

    /* the row of the query belonged to the connection */

    query->conn = NULL;
    query->result = NULL;

    if (!exiting && (!query->sent || !query->stmt->write)
        && ngx_apikeys_pg_pool_query_again(query, 1) == NGX_OK)
    {
        return;
    }

    ngx_apikeys_pg_pool_query_finish(query,
                                     query->sent ? NGX_APIKEYS_PG_LOST
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
 * Makes the connection idle if it may run another query, else closes it.  The
 * dispatch assigns the next query, in the order of the queue.
 */

static void
ngx_apikeys_pg_pool_release(ngx_apikeys_pg_conn_t *pc)
{
    const char             *reason;
    ngx_uint_t              level;
    ngx_apikeys_pg_pool_t  *pp;

    pp = pc->pool;
    level = NGX_LOG_WARN;

    reason = ngx_apikeys_pg_conn_why_unusable(pc);

    if (reason == NULL) {
        level = NGX_LOG_INFO;

        if (ngx_exiting && pp->nqueries[NGX_APIKEYS_PG_QUERY_WAITING] == 0) {
            reason = "worker process is shutting down";

        } else if (pp->options.listen == NULL
                   && ngx_current_msec - pc->opened
                      > NGX_APIKEYS_PG_POOL_LIFETIME)
        {
            reason = "maximum age reached";
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


static void
ngx_apikeys_pg_pool_close(ngx_apikeys_pg_conn_t *pc, ngx_uint_t level,
    const char *reason)
{
    ngx_apikeys_pg_pool_t  *pp;

    pp = pc->pool;

    ngx_log_error(level, pp->log, 0,
                  "apikeys: database connection to %s closed after %M ms "
                  "and %ui statements: %s", pc->label,
                  ngx_current_msec - pc->opened, pc->requests, reason);

    ngx_apikeys_pg_conn_close(pc);
    ngx_apikeys_pg_pool_move(pc, NGX_APIKEYS_PG_FREE);
    ngx_apikeys_pg_pool_answered(pc);

    if (pp->options.listen && !ngx_exiting) {
        pp->closed = 1;
    }

    ngx_apikeys_pg_pool_post(pp);
}


/*
 * Reads and drops the answer to a canceled query, because a login costs more
 * than a short wait.  No cancel request is sent: libpq's blocks.  If the answer
 * does not end soon, the connection is closed.  This ends the statement if the
 * server checks its clients (see ngx_apikeys_pg_conn_setup()), else
 * statement_timeout ends it.
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


/* there will be no other answer to the query that was canceled */

static void
ngx_apikeys_pg_pool_answered(ngx_apikeys_pg_conn_t *pc)
{
    ngx_apikeys_pg_abandoned_pt  abandoned;

    abandoned = pc->abandoned;

    if (abandoned) {
        pc->abandoned = NULL;
        abandoned(pc->abandoned_data);
    }
}


static void
ngx_apikeys_pg_pool_conn_timer_handler(ngx_event_t *ev)
{
    ngx_apikeys_pg_conn_t  *pc;

    pc = ev->data;

    if (pc->state == NGX_APIKEYS_PG_IDLE) {
        ngx_apikeys_pg_pool_close(pc, NGX_LOG_INFO, "idle with large buffers");
        return;
    }

    ngx_apikeys_pg_pool_failed(pc, "timed out");
}


/*
 * Without a ping, the loss of a listening connection might never be noticed, as
 * the worker sends nothing on it.  A ping is a drain without a query.
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

        /* the queries that wait cannot use the idle connections */

        q = ngx_queue_last(&pp->list[NGX_APIKEYS_PG_IDLE]);
        pc = ngx_queue_data(q, ngx_apikeys_pg_conn_t, queue);
        ngx_apikeys_pg_pool_close(pc, NGX_LOG_INFO,
                                  "replaced after the loss of another one");
    }

    ngx_apikeys_pg_pool_move(pc, NGX_APIKEYS_PG_LOGIN);

    pp->tried = 0;
    pp->naddrs = 0;
    pp->addr = 0;

    ngx_post_event(&pp->login, &ngx_posted_events);
}


/*
 * Tries the next address, or the next host.  The event is posted when a round
 * begins, when an attempt has failed, and when the resolver has answered.  An
 * attempt that fails at once is followed by the next one in the loop.
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

            ngx_apikeys_pg_pool_login_log_failure(pp, pc->label, pc->error);
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
 * Gets the addresses of the next host.  NGX_OK: there may be addresses;
 * NGX_AGAIN: the resolver was asked; NGX_DONE: there is no other host.
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
        ngx_apikeys_pg_pool_login_log_failure(pp, h->host,
                                              "host name cannot be resolved");
    }

    return NGX_OK;
}


/* NGX_DECLINED: the http block has no resolver */

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
        ngx_apikeys_pg_pool_login_log_failure(pp, h->host, "no memory");
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
        ngx_apikeys_pg_pool_login_log_failure(pp, h->host,
                                              "resolver not available");
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
        ngx_apikeys_pg_pool_login_log_failure(pp,
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


/* goes to the next address or name; pp->error has the reason */

static void
ngx_apikeys_pg_pool_login_log_failure(ngx_apikeys_pg_pool_t *pp,
    const char *label, const char *reason)
{
    ngx_uint_t  level;

    pp->stat->failures++;

    *ngx_snprintf((u_char *) pp->error, sizeof(pp->error) - 1, "%s: %s",
                  label, reason) = '\0';

    /* a failure that lasts, and an expected standby, is logged once */

    level = NGX_LOG_WARN;

    if (ngx_apikeys_failure_lasts(pp->failure)
        || (pp->hosts->n > 1
            && ngx_strcmp(reason, NGX_APIKEYS_PG_CONN_STANDBY) == 0))
    {
        level = NGX_LOG_INFO;
    }

    ngx_log_error(level, pp->log, 0, "apikeys: cannot connect to database %s",
                  pp->error);
}


static void
ngx_apikeys_pg_pool_login_failed(ngx_apikeys_pg_pool_t *pp)
{
    uint64_t                 seconds;
    ngx_msec_t               pause;
    ngx_uint_t               open;
    ngx_queue_t             *q, *next, *waiting;
    ngx_apikeys_pg_conn_t   *pc;
    ngx_apikeys_pg_query_t  *query;

    pc = ngx_apikeys_pg_pool_first(pp, NGX_APIKEYS_PG_LOGIN);
    ngx_apikeys_pg_pool_move(pc, NGX_APIKEYS_PG_FREE);

    if (ngx_apikeys_failure_due(pp->failure, &seconds)) {
        ngx_log_error(NGX_LOG_ERR, pp->log, 0,
                      "apikeys: no database host is available, last error: "
                      "%s, for %uL s", pp->error, seconds);
    }

    /* random: all workers lose the database at the same time */

    pause = NGX_APIKEYS_PG_POOL_PAUSE << ngx_min(pp->failures, 5);
    pause = ngx_min(pause, NGX_APIKEYS_PG_POOL_PAUSE_MAX);
    pp->failures++;

    ngx_add_timer(&pp->pause, pause / 2 + ngx_random() % pause);

    /* queries that need no new connection can run on other connections */

    open = pp->number[NGX_APIKEYS_PG_FREE] < pp->nconns;
    waiting = &pp->queries[NGX_APIKEYS_PG_QUERY_WAITING];

    for (q = ngx_queue_head(waiting);
         q != ngx_queue_sentinel(waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        query = ngx_queue_data(q, ngx_apikeys_pg_query_t, queue);

        if (!open || query->serial) {
            ngx_apikeys_pg_pool_query_finish(query, NGX_APIKEYS_PG_UNAVAILABLE,
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
ngx_apikeys_pg_pool_query_start(ngx_apikeys_pg_query_t *query)
{
    ngx_uint_t              ready;
    ngx_apikeys_pg_pool_t  *pp;

    pp = query->pool;

    query->fd = (ngx_socket_t) -1;
    query->conn = NULL;
    query->rc = NGX_APIKEYS_PG_OK;
    query->unknown = 0;
    query->sqlstate[0] = '\0';
    ngx_str_null(&query->message);
    ngx_str_null(&query->detail);
    query->error = NULL;
    query->sent = 0;
    query->given = 0;
    query->serial = 0;
    query->retried = 0;
    query->repeated = 0;

    query->event.data = query;
    query->event.log = pp->log;
    query->event.handler = ngx_apikeys_pg_pool_query_finish_handler;

    query->timer.data = query;
    query->timer.log = pp->log;
    query->timer.handler = ngx_apikeys_pg_pool_query_timeout_handler;
    query->timer.cancelable = query->cancelable;

    if (query->timeout == 0) {
        query->timeout = pp->conf->timeout;
    }

    ngx_apikeys_pg_pool_query_move(query, NGX_APIKEYS_PG_QUERY_WAITING);

    pp->stat->queries++;

    /* queries for which there is a free connection do not wait */

    ready = pp->number[NGX_APIKEYS_PG_FREE] + pp->number[NGX_APIKEYS_PG_LOGIN]
            + pp->number[NGX_APIKEYS_PG_IDLE];

    if (pp->nqueries[NGX_APIKEYS_PG_QUERY_WAITING] > pp->queue + ready) {
        pp->stat->refused++;
        ngx_apikeys_pg_pool_query_finish(query, NGX_APIKEYS_PG_BUSY,
                                         "statement queue is full");
        return;
    }

    if (ngx_apikeys_pg_pool_query_exceeds(query, ready)) {
        pp->stat->refused++;
        ngx_apikeys_pg_pool_query_finish(query, NGX_APIKEYS_PG_BUSY,
                                         "statement queue is full of those of "
                                         "one organization");
        return;
    }

    ngx_add_timer(&query->timer, query->timeout);
    ngx_apikeys_pg_pool_post(pp);
}


/*
 * A tenant can use half of the queue, and all connections but one, which is
 * for the other tenants.
 */

static ngx_uint_t
ngx_apikeys_pg_pool_query_exceeds(ngx_apikeys_pg_query_t *query,
    ngx_uint_t ready)
{
    ngx_uint_t              share, held;
    ngx_apikeys_pg_pool_t  *pp;

    pp = query->pool;

    if (pp->nqueries[NGX_APIKEYS_PG_QUERY_WAITING] <= pp->queue / 2) {
        return 0;
    }

    share = ngx_apikeys_pg_pool_share(pp);
    held = ngx_apikeys_pg_pool_query_holds(query);
    ready = ngx_min(ready, share - ngx_min(share, held));

    return ngx_apikeys_pg_pool_query_same(query, NGX_APIKEYS_PG_QUERY_WAITING)
           > pp->queue / 2 + ready;
}


/*
 * Number of connections that run queries of the tenant, or drop answers to its
 * canceled queries.
 *
 * A statement that timed out, or whose client disconnected, counts until its
 * answer has ended: else a tenant that cancels would get all connections.
 */

static ngx_uint_t
ngx_apikeys_pg_pool_query_holds(ngx_apikeys_pg_query_t *query)
{
    ngx_uint_t              n;
    ngx_queue_t            *q, *list;
    ngx_apikeys_pg_conn_t  *pc;

    if (query->tenant == NULL) {
        return 0;
    }

    n = ngx_apikeys_pg_pool_query_same(query, NGX_APIKEYS_PG_QUERY_RUNNING);
    list = &query->pool->list[NGX_APIKEYS_PG_DRAIN];

    for (q = ngx_queue_head(list);
         q != ngx_queue_sentinel(list);
         q = ngx_queue_next(q))
    {
        pc = ngx_queue_data(q, ngx_apikeys_pg_conn_t, queue);

        if (ngx_memcmp(pc->tenant, query->tenant, NGX_APIKEYS_PG_TENANT_LEN)
            == 0)
        {
            n++;
        }
    }

    return n;
}


/* number of queries of the same tenant in a state; 0 without a tenant */

static ngx_uint_t
ngx_apikeys_pg_pool_query_same(ngx_apikeys_pg_query_t *query,
    ngx_apikeys_pg_query_state_e state)
{
    ngx_uint_t               n;
    ngx_queue_t             *q, *list;
    ngx_apikeys_pg_query_t  *other;

    if (query->tenant == NULL) {
        return 0;
    }

    n = 0;
    list = &query->pool->queries[state];

    for (q = ngx_queue_head(list);
         q != ngx_queue_sentinel(list);
         q = ngx_queue_next(q))
    {
        other = ngx_queue_data(q, ngx_apikeys_pg_query_t, queue);

        if (other->tenant
            && ngx_memcmp(other->tenant, query->tenant,
                          NGX_APIKEYS_PG_TENANT_LEN)
               == 0)
        {
            n++;
        }
    }

    return n;
}


/*
 * NGX_OK: the query waits again; NGX_DECLINED: the query must end.  "fresh":
 * the query waits, at most once, for a connection that does not exist yet, as
 * the other connections may be lost, too.  Such a connection has a higher
 * serial number than all others.
 *
 * The query is put at the head of the queue, because it has waited before.  Its
 * timer continues, so both attempts together take no longer than one.
 */

static ngx_int_t
ngx_apikeys_pg_pool_query_again(ngx_apikeys_pg_query_t *query, ngx_uint_t fresh)
{
    ngx_apikeys_pg_pool_t  *pp;

    /* the handler has received rows, so the query cannot be repeated */

    if (query->given || (fresh && query->retried)) {
        return NGX_DECLINED;
    }

    pp = query->pool;

    if (fresh) {
        query->serial = pp->stat->connects + 1;
        query->retried = 1;
    }

    /* the callers learn nothing of the first attempt */

    query->sent = 0;
    query->sqlstate[0] = '\0';
    ngx_str_null(&query->message);
    ngx_str_null(&query->detail);
    ngx_apikeys_pg_conn_clear(query);

    ngx_apikeys_pg_pool_query_move(query, NGX_APIKEYS_PG_QUERY_WAITING);
    ngx_queue_remove(&query->queue);
    ngx_queue_insert_head(&pp->queries[NGX_APIKEYS_PG_QUERY_WAITING],
                          &query->queue);

    ngx_apikeys_pg_pool_post(pp);

    return NGX_OK;
}


/* a result, if the caller has one, is in the query already */

void
ngx_apikeys_pg_pool_query_finish(ngx_apikeys_pg_query_t *query,
    ngx_apikeys_pg_rc_e rc, const char *error)
{
    if (query->conn) {
        ngx_apikeys_pg_pool_query_leave(query, rc);
    }

    if (rc != NGX_APIKEYS_PG_OK) {
        query->pool->stat->errors++;
    }

    if (rc != NGX_APIKEYS_PG_FAILED) {
        query->sqlstate[0] = '\0';
    }

    query->rc = rc;
    query->error = error;
    query->unknown = query->sent && query->stmt->write
                    && (rc == NGX_APIKEYS_PG_TIMEOUT
                        || rc == NGX_APIKEYS_PG_LOST);

    ngx_apikeys_pg_pool_query_move(query, NGX_APIKEYS_PG_QUERY_FINISHED);
}


/*
 * A write that timed out and was not acknowledged is not drained: the network
 * would bring it to the server, while the caller, who was told that its
 * outcome is unknown, makes another change over another connection.
 */

static void
ngx_apikeys_pg_pool_query_leave(ngx_apikeys_pg_query_t *query,
    ngx_apikeys_pg_rc_e rc)
{
    ngx_apikeys_pg_conn_t  *pc;

    pc = query->conn;

    ngx_apikeys_pg_pool_query_abandon(query);

    if (rc == NGX_APIKEYS_PG_TIMEOUT && query->sent && query->stmt->write
        && ngx_apikeys_pg_conn_unacknowledged(pc))
    {
        query->conn = NULL;
        query->result = NULL;

        ngx_apikeys_pg_pool_close(pc, NGX_LOG_WARN,
                                  "timed out");
        return;
    }

    ngx_apikeys_pg_pool_drain(pc);
}


void
ngx_apikeys_pg_pool_query_cancel(ngx_apikeys_pg_query_t *query)
{
    if (ngx_apikeys_pg_pool_current == query) {
        ngx_apikeys_pg_pool_current = NULL;
    }

    if (query->state != NGX_APIKEYS_PG_QUERY_NONE) {

        ngx_apikeys_pg_pool_query_abandon(query);

        if (query->conn) {
            ngx_apikeys_pg_pool_drain(query->conn);
        }

        ngx_apikeys_pg_pool_query_move(query, NGX_APIKEYS_PG_QUERY_NONE);
    }

    ngx_apikeys_pg_conn_clear(query);
}


void
ngx_apikeys_pg_pool_query_resume(ngx_apikeys_pg_query_t *query)
{
    if (query->conn) {
        ngx_apikeys_pg_conn_resume(query->conn);
    }
}


/* the query is about to be canceled, or has timed out */

static void
ngx_apikeys_pg_pool_query_abandon(ngx_apikeys_pg_query_t *query)
{
    if (query->abandoned == NULL || !query->sent) {
        return;
    }

    if (query->conn) {
        query->conn->abandoned = query->abandoned;
        query->conn->abandoned_data = query->abandoned_data;
        return;
    }

    /* FINISHED: its handler will not run */

    if (query->rc == NGX_APIKEYS_PG_OK || query->unknown) {
        query->abandoned(query->abandoned_data);
    }
}


static void
ngx_apikeys_pg_pool_query_timeout_handler(ngx_event_t *ev)
{
    ngx_apikeys_pg_query_t  *query;

    query = ev->data;
    query->pool->stat->timeouts++;

    ngx_apikeys_pg_pool_query_finish(query, NGX_APIKEYS_PG_TIMEOUT,
                                     "timed out");
}


/*
 * The connection has been released.  The handler may free the query or start
 * it again.
 */

static void
ngx_apikeys_pg_pool_query_finish_handler(ngx_event_t *ev)
{
    ngx_apikeys_pg_query_t  *query;

    query = ev->data;

    ngx_apikeys_pg_pool_query_move(query, NGX_APIKEYS_PG_QUERY_NONE);

    if (query->error) {
        query->message.data = (u_char *) query->error;
        query->message.len = ngx_strlen(query->error);
    }

    ngx_apikeys_pg_pool_current = query;

    query->handler(query);

    if (ngx_apikeys_pg_pool_current != query) {
        return;
    }

    ngx_apikeys_pg_pool_current = NULL;

    /* a result may be large, and the pool of the query may live long */

    if (!query->keep) {
        ngx_apikeys_pg_pool_query_cancel(query);
    }
}


/*
 * Only this function changes the state of a query.
 *
 * The timer and the event depend on the state: a query that waits or runs has
 * the timer that was set at its start; a query that has ended has a posted
 * event; a query in no list has neither and may be freed.
 */

static void
ngx_apikeys_pg_pool_query_move(ngx_apikeys_pg_query_t *query,
    ngx_apikeys_pg_query_state_e state)
{
    ngx_apikeys_pg_pool_t  *pp;

    pp = query->pool;

    if (query->state != NGX_APIKEYS_PG_QUERY_NONE) {
        ngx_queue_remove(&query->queue);
        pp->nqueries[query->state]--;
    }

    if (query->state == NGX_APIKEYS_PG_QUERY_FINISHED && query->event.posted) {
        ngx_delete_posted_event(&query->event);
    }

    query->state = state;

    switch (state) {

    case NGX_APIKEYS_PG_QUERY_WAITING:
    case NGX_APIKEYS_PG_QUERY_RUNNING:
        break;

    case NGX_APIKEYS_PG_QUERY_FINISHED:
        ngx_post_event(&query->event, &ngx_posted_events);

        /* fall through */

    default:

        if (query->timer.timer_set) {
            ngx_del_timer(&query->timer);
        }
    }

    if (state != NGX_APIKEYS_PG_QUERY_NONE) {
        ngx_queue_insert_tail(&pp->queries[state], &query->queue);
        pp->nqueries[state]++;
    }

    pp->stat->waiting = pp->nqueries[NGX_APIKEYS_PG_QUERY_WAITING];
}


/* for a pool that is destroyed: calls no handler */

static void
ngx_apikeys_pg_pool_query_forget(ngx_apikeys_pg_pool_t *pp)
{
    ngx_uint_t               i;
    ngx_queue_t             *q;
    ngx_apikeys_pg_query_t  *query;

    for (i = NGX_APIKEYS_PG_QUERY_NONE + 1;
         i < NGX_APIKEYS_PG_QUERY_STATES;
         i++)
    {
        while (!ngx_queue_empty(&pp->queries[i])) {
            q = ngx_queue_head(&pp->queries[i]);
            query = ngx_queue_data(q, ngx_apikeys_pg_query_t, queue);

            if (query->conn) {

                /* the row belongs to the connection, which frees it */

                query->conn->query = NULL;
                query->conn = NULL;
                query->result = NULL;
            }

            ngx_apikeys_pg_pool_query_move(query, NGX_APIKEYS_PG_QUERY_NONE);
            ngx_apikeys_pg_conn_clear(query);
        }
    }
}
