
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * One connection: what its socket brings.
 *
 * Only PQgetResult() could block here, and it is called only when PQisBusy()
 * says that it will not.  Nothing is read before what was read is used up,
 * so that libpq's buffer stays small however slow the reader of rows is, and
 * rows are given for a limited time in one event.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_apikeys_pg_conn.h>

#include <libpq-fe.h>
#include <openssl/ssl.h>


/* of work with rows in one event, in microseconds */
#define NGX_APIKEYS_PG_CONN_EXCHANGE_SLICE  2000


static ngx_int_t ngx_apikeys_pg_conn_exchange_lost(ngx_apikeys_pg_conn_t *pc);
static void ngx_apikeys_pg_conn_exchange_notifications(
    ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_exchange_results(
    ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_exchange_result(
    ngx_apikeys_pg_conn_t *pc, PGresult *res);
static ngx_int_t ngx_apikeys_pg_conn_exchange_row(ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_exchange_answered(
    ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_exchange_opened(
    ngx_apikeys_pg_conn_t *pc);
static uint64_t ngx_apikeys_pg_conn_exchange_clock(void);


/*
 * NGX_OK, NGX_AGAIN with rows left for later, NGX_ERROR, or NGX_DONE when
 * the connection was closed in a call upwards.
 */

ngx_int_t
ngx_apikeys_pg_conn_exchange(ngx_apikeys_pg_conn_t *pc)
{
    ngx_int_t  rc;

    if (ngx_apikeys_pg_conn_run_flush(pc) != NGX_OK) {
        return NGX_ERROR;
    }

    /* nothing more is read before what was read is used up */

    rc = ngx_apikeys_pg_conn_exchange_results(pc);
    if (rc != NGX_OK) {
        return rc;
    }

    for ( ;; ) {

        if (PQconsumeInput(pc->pg) == 0) {
            /* a farewell came first and says why */
            return pc->fatal ? NGX_ERROR
                             : ngx_apikeys_pg_conn_exchange_lost(pc);
        }

        rc = ngx_apikeys_pg_conn_exchange_results(pc);
        if (rc != NGX_OK) {
            return rc;
        }

        /* what OpenSSL has decrypted no event will ever tell of */

        if (pc->ssl == NULL || SSL_pending(pc->ssl) == 0) {
            break;
        }
    }

    if (pc->step == NGX_APIKEYS_PG_STEP_NONE && pc->fatal) {
        return NGX_ERROR;
    }

    return ngx_apikeys_pg_conn_run_flush(pc);
}


/* libpq appends to what it said of an earlier statement, since 14 */

static ngx_int_t
ngx_apikeys_pg_conn_exchange_lost(ngx_apikeys_pg_conn_t *pc)
{
    const char  *message;

    message = PQerrorMessage(pc->pg);

    return ngx_apikeys_pg_conn_error(pc, ngx_strlen(message) > pc->told
                                         ? message + pc->told : message);
}


/* how many there are, and what they say, does not matter: they are hints */

static void
ngx_apikeys_pg_conn_exchange_notifications(ngx_apikeys_pg_conn_t *pc)
{
    PGnotify    *notify;
    ngx_uint_t   n;

    n = 0;

    while ((notify = PQnotifies(pc->pg)) != NULL) {
        PQfreemem(notify);
        n++;
    }

    if (n) {
        pc->handlers->notified(pc);
    }
}


/*
 * Uses up what was read.  NGX_AGAIN keeps the caller from reading on: rows
 * are left, for resume() or for the next time round the event loop.  Each
 * call upwards may close the connection or give it another step, so nothing
 * of pc is kept in a local variable over it.
 */

static ngx_int_t
ngx_apikeys_pg_conn_exchange_results(ngx_apikeys_pg_conn_t *pc)
{
    uint64_t    start;
    PGresult   *res;
    ngx_int_t   rc;
    ngx_uint_t  idle;

    if (pc->paused) {
        return NGX_AGAIN;
    }

    start = ngx_apikeys_pg_conn_exchange_clock();

    for ( ;; ) {

        if (pc->row) {
            rc = ngx_apikeys_pg_conn_exchange_row(pc);

        } else {
            idle = (pc->step == NGX_APIKEYS_PG_STEP_NONE);

            /* this parses what was read, notices and notifications too */

            if (PQisBusy(pc->pg) || idle) {
                ngx_apikeys_pg_conn_exchange_notifications(pc);
                return NGX_OK;
            }

            res = PQgetResult(pc->pg);
            rc = res ? ngx_apikeys_pg_conn_exchange_result(pc, res)
                     : ngx_apikeys_pg_conn_exchange_answered(pc);
        }

        if (rc != NGX_OK) {
            return rc;
        }

        if (pc->step != NGX_APIKEYS_PG_STEP_NONE
            && ngx_apikeys_pg_conn_exchange_clock() - start
               > NGX_APIKEYS_PG_CONN_EXCHANGE_SLICE)
        {
            /* next time round the loop, after all others had their turn */
            ngx_post_event(&pc->event, &ngx_posted_next_events);
            return NGX_AGAIN;
        }
    }
}


/* owns res from here on: it is cleared, or kept as pc->row or pc->result */

static ngx_int_t
ngx_apikeys_pg_conn_exchange_result(ngx_apikeys_pg_conn_t *pc, PGresult *res)
{
    const char  *value;

    switch (PQresultStatus(res)) {

    case PGRES_SINGLE_TUPLE:

        if (pc->step == NGX_APIKEYS_PG_STEP_EXECUTE) {
            pc->row = res;
            return NGX_OK;
        }

        break;

    case PGRES_TUPLES_OK:

        if (pc->step == NGX_APIKEYS_PG_STEP_SETUP) {
            value = (PQntuples(res) == 1) ? PQgetvalue(res, 0, 0) : "";
            pc->readonly = ngx_strcmp(value, "off") != 0;
            break;
        }

        /* fall through */

    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
    case PGRES_FATAL_ERROR:
    case PGRES_BAD_RESPONSE:

        /* of two the last counts: a commit can fail after its statement */

        if (pc->step == NGX_APIKEYS_PG_STEP_DISCARD) {
            break;
        }

        PQclear(pc->result);
        pc->result = res;
        return NGX_OK;

    default:

        /* COPY: PQgetResult() would give this one again and again */

        PQclear(res);
        return ngx_apikeys_pg_conn_error(pc, "it is in the wrong mode");
    }

    PQclear(res);

    return NGX_OK;
}


/*
 * The handler may cancel the query, which then may be freed: work is not
 * touched before the connection says that it still has it.
 */

static ngx_int_t
ngx_apikeys_pg_conn_exchange_row(ngx_apikeys_pg_conn_t *pc)
{
    ngx_int_t               rc;
    ngx_apikeys_pg_work_t  *work;

    /* lent for the call: the row stays the connection's */

    work = pc->work;
    work->result = pc->row;
    work->given = 1;

    pc->resumed = 0;

    rc = work->row(work);

    if (pc->pg == NULL) {
        return NGX_DONE;
    }

    if (pc->work != work) {
        /* discarded, the row as well */
        return NGX_OK;
    }

    work->result = NULL;

    if (rc == NGX_AGAIN) {

        if (pc->resumed) {
            ngx_post_event(&pc->event, &ngx_posted_next_events);

        } else {
            pc->paused = 1;
        }

        return NGX_AGAIN;
    }

    /* rc == NGX_OK */

    PQclear(pc->row);
    pc->row = NULL;

    return NGX_OK;
}


/*
 * PQgetResult() had no more: the server is ready for the next command.  Only
 * now is a statement's fate known; the commit comes after its result.
 */

static ngx_int_t
ngx_apikeys_pg_conn_exchange_answered(ngx_apikeys_pg_conn_t *pc)
{
    ngx_uint_t               failed;
    ngx_apikeys_pg_step_e    step;
    ngx_apikeys_pg_stmt_t  **stmt;

    if (PQstatus(pc->pg) != CONNECTION_OK) {
        return pc->fatal ? NGX_ERROR
                         : ngx_apikeys_pg_conn_error(pc,
                                                     PQerrorMessage(pc->pg));
    }

    pc->told = ngx_strlen(PQerrorMessage(pc->pg));

    failed = pc->result
             && (PQresultStatus(pc->result) == PGRES_FATAL_ERROR
                 || PQresultStatus(pc->result) == PGRES_BAD_RESPONSE);
    step = pc->step;

    switch (step) {

    case NGX_APIKEYS_PG_STEP_SETUP:
        return ngx_apikeys_pg_conn_exchange_opened(pc);

    case NGX_APIKEYS_PG_STEP_DISCARD:
        pc->step = NGX_APIKEYS_PG_STEP_NONE;
        pc->handlers->drained(pc);
        return pc->pg ? NGX_OK : NGX_DONE;

    case NGX_APIKEYS_PG_STEP_EXECUTE:
        return ngx_apikeys_pg_conn_run_finish(pc);

    default:
        break;
    }

    if (failed) {
        return ngx_apikeys_pg_conn_run_finish(pc);
    }

    if (step == NGX_APIKEYS_PG_STEP_FORGET) {
        pc->prepared.nelts = 0;
        pc->forget = 0;

    } else if (step == NGX_APIKEYS_PG_STEP_PREPARE) {
        stmt = ngx_array_push(&pc->prepared);
        if (stmt == NULL) {
            return ngx_apikeys_pg_conn_error(pc, "no memory");
        }

        *stmt = (ngx_apikeys_pg_stmt_t *) pc->work->stmt;
    }

    PQclear(pc->result);
    pc->result = NULL;

    return ngx_apikeys_pg_conn_run_next(pc);
}


static ngx_int_t
ngx_apikeys_pg_conn_exchange_opened(ngx_apikeys_pg_conn_t *pc)
{
    /* LISTEN fails on a standby: that it is one comes first */

    if (pc->readonly) {
        return ngx_apikeys_pg_conn_error(pc, "the server is read-only");
    }

    if (pc->result && PQresultStatus(pc->result) == PGRES_FATAL_ERROR) {
        return ngx_apikeys_pg_conn_error(pc,
                                         PQresultErrorMessage(pc->result));
    }

    PQclear(pc->result);
    pc->result = NULL;

    pc->step = NGX_APIKEYS_PG_STEP_NONE;
    pc->handlers->opened(pc);

    return pc->pg ? NGX_OK : NGX_DONE;
}


/* ngx_current_msec stands still inside an event */

static uint64_t
ngx_apikeys_pg_conn_exchange_clock(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}
