
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The works of a pool: from their start to their handler, or to the moment
 * when nobody wants them any more.
 *
 * A work lies in a query, which belongs to whoever made it and may be freed
 * as soon as it was canceled or its handler was called.  Nothing here, and
 * nothing in a connection, refers to a work after that.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_apikeys_pg_pool_int.h>


static ngx_uint_t ngx_apikeys_pg_pool_work_exceeds(
    ngx_apikeys_pg_work_t *work, ngx_uint_t ready);
static void ngx_apikeys_pg_pool_work_timeout_handler(ngx_event_t *ev);
static void ngx_apikeys_pg_pool_work_finish_handler(ngx_event_t *ev);


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

    pp->stat->queries++;

    /* those that a connection stands ready for do not wait */

    ready = pp->number[NGX_APIKEYS_PG_FREE] + pp->number[NGX_APIKEYS_PG_LOGIN]
            + pp->number[NGX_APIKEYS_PG_IDLE];

    if (pp->works[NGX_APIKEYS_PG_WORK_WAITING] > pp->queue + ready) {
        pp->stat->refused++;
        ngx_apikeys_pg_pool_work_finish(work, NGX_APIKEYS_PG_BUSY,
                                        "the queue is full");
        return;
    }

    if (ngx_apikeys_pg_pool_work_exceeds(work, ready)) {
        pp->stat->refused++;
        ngx_apikeys_pg_pool_work_finish(work, NGX_APIKEYS_PG_BUSY,
                                        "the tenant's half of the queue is "
                                        "full");
        return;
    }

    ngx_add_timer(&work->timer, work->timeout);
    ngx_apikeys_pg_pool_post(pp);
}


/* one tenant does not fill the queue, nor wait for the others' connection */

static ngx_uint_t
ngx_apikeys_pg_pool_work_exceeds(ngx_apikeys_pg_work_t *work,
    ngx_uint_t ready)
{
    ngx_uint_t              share, held;
    ngx_apikeys_pg_pool_t  *pp;

    pp = work->pool;

    if (pp->works[NGX_APIKEYS_PG_WORK_WAITING] <= pp->queue / 2) {
        return 0;
    }

    share = ngx_apikeys_pg_pool_share(pp);
    held = ngx_apikeys_pg_pool_work_holds(work);
    ready = ngx_min(ready, share - ngx_min(share, held));

    return ngx_apikeys_pg_pool_work_same(work, NGX_APIKEYS_PG_WORK_WAITING)
           > pp->queue / 2 + ready;
}


/*
 * A statement that timed out, or whose client left, keeps its connection until
 * the server has ended it: else a tenant had all of them by giving up.
 */

ngx_uint_t
ngx_apikeys_pg_pool_work_holds(ngx_apikeys_pg_work_t *work)
{
    ngx_uint_t              n;
    ngx_queue_t            *q, *list;
    ngx_apikeys_pg_conn_t  *pc;

    if (work->tenant == NULL) {
        return 0;
    }

    n = ngx_apikeys_pg_pool_work_same(work, NGX_APIKEYS_PG_WORK_RUNNING);
    list = &work->pool->list[NGX_APIKEYS_PG_DRAIN];

    for (q = ngx_queue_head(list);
         q != ngx_queue_sentinel(list);
         q = ngx_queue_next(q))
    {
        pc = ngx_queue_data(q, ngx_apikeys_pg_conn_t, queue);

        if (ngx_memcmp(pc->tenant, work->tenant, NGX_APIKEYS_PG_TENANT_LEN)
            == 0)
        {
            n++;
        }
    }

    return n;
}


ngx_uint_t
ngx_apikeys_pg_pool_work_same(ngx_apikeys_pg_work_t *work,
    ngx_apikeys_pg_work_state_e state)
{
    ngx_uint_t              n;
    ngx_queue_t            *q, *list;
    ngx_apikeys_pg_work_t  *other;

    if (work->tenant == NULL) {
        return 0;
    }

    n = 0;
    list = &work->pool->work[state];

    for (q = ngx_queue_head(list);
         q != ngx_queue_sentinel(list);
         q = ngx_queue_next(q))
    {
        other = ngx_queue_data(q, ngx_apikeys_pg_work_t, queue);

        if (other->tenant
            && ngx_memcmp(other->tenant, work->tenant,
                          NGX_APIKEYS_PG_TENANT_LEN)
               == 0)
        {
            n++;
        }
    }

    return n;
}


/*
 * At the head of the queue: it has waited before.  Its timer goes on, so a
 * second attempt never takes longer than one.  A fresh connection is one with
 * a higher serial number than any so far: others that look alive may have
 * died with the one that was lost.
 */

ngx_int_t
ngx_apikeys_pg_pool_work_again(ngx_apikeys_pg_work_t *work, ngx_uint_t fresh)
{
    ngx_apikeys_pg_pool_t  *pp;

    /* rows that the handler has seen cannot be taken back */

    if (work->given || (fresh && work->retried)) {
        return NGX_DECLINED;
    }

    pp = work->pool;

    if (fresh) {
        work->serial = pp->stat->connects + 1;
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
        work->pool->stat->errors++;
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
    work->pool->stat->timeouts++;

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

void
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

    pp->stat->waiting = pp->works[NGX_APIKEYS_PG_WORK_WAITING];
}


/* for a pool that is destroyed: no handler runs, no work refers to it */

void
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
