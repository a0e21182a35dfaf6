
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * One connection: what is sent over it, and the end of a work.
 *
 * A work takes up to four commands, one after the other: the session's
 * statement_timeout if the work's own is another one, DEALLOCATE ALL if what
 * is prepared is not to be trusted, PREPARE on the first use, and the
 * statement.  Only the last of them counts as sent: what broke before it may
 * be tried again, writes included.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_apikeys_pg_conn.h>

#include <libpq-fe.h>


/* a message of that size has libpq enlarge a buffer, which it keeps */
#define NGX_APIKEYS_PG_CONN_LARGE      131072


static ngx_uint_t ngx_apikeys_pg_conn_run_prepared(ngx_apikeys_pg_conn_t *pc,
    const ngx_apikeys_pg_stmt_t *stmt);
static int ngx_apikeys_pg_conn_run_execute(ngx_apikeys_pg_conn_t *pc);
static int ngx_apikeys_pg_conn_run_send(ngx_apikeys_pg_conn_t *pc,
    ngx_str_t *params);


/*
 * On an idle connection, from the pool's dispatch.  NGX_ERROR: the work is
 * still the connection's, for the pool to take it back.
 */

ngx_int_t
ngx_apikeys_pg_conn_run(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_work_t *work)
{
    pc->work = work;
    pc->requests++;

    work->conn = pc;
    work->sent = 0;
    work->reprepared = 0;

    if (ngx_apikeys_pg_conn_run_next(pc) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_apikeys_pg_conn_interest(pc);
}


/* what the work needs next; the statement itself comes last */

ngx_int_t
ngx_apikeys_pg_conn_run_next(ngx_apikeys_pg_conn_t *pc)
{
    int                           ok;
    u_char                        sql[64];
    ngx_msec_t                    timeout;
    ngx_apikeys_pg_step_e         step;
    const ngx_apikeys_pg_stmt_t  *stmt;

    stmt = pc->work->stmt;
    timeout = ngx_max(pc->work->timeout, pc->least_timeout);

    if (timeout != pc->statement_timeout) {
        pc->statement_timeout = timeout;
        ngx_snprintf(sql, sizeof(sql), "SET statement_timeout = %M%Z",
                     timeout);
        ok = PQsendQuery(pc->pg, (char *) sql);
        step = NGX_APIKEYS_PG_STEP_TIMEOUT;

    } else if (pc->forget) {
        ok = PQsendQuery(pc->pg, "DEALLOCATE ALL");
        step = NGX_APIKEYS_PG_STEP_FORGET;

    } else if (!ngx_apikeys_pg_conn_run_prepared(pc, stmt)) {
        ok = PQsendPrepare(pc->pg, stmt->name, stmt->sql, stmt->nparams,
                           NULL);
        step = NGX_APIKEYS_PG_STEP_PREPARE;

    } else {
        ok = ngx_apikeys_pg_conn_run_execute(pc);
        step = NGX_APIKEYS_PG_STEP_EXECUTE;
    }

    return ngx_apikeys_pg_conn_run_sent(pc, ok, step);
}


/* statements are static: their addresses are enough; there are some dozens */

static ngx_uint_t
ngx_apikeys_pg_conn_run_prepared(ngx_apikeys_pg_conn_t *pc,
    const ngx_apikeys_pg_stmt_t *stmt)
{
    ngx_uint_t               i;
    ngx_apikeys_pg_stmt_t  **prepared;

    prepared = pc->prepared.elts;

    for (i = 0; i < pc->prepared.nelts; i++) {
        if (prepared[i] == stmt) {
            return 1;
        }
    }

    return 0;
}


static int
ngx_apikeys_pg_conn_run_execute(ngx_apikeys_pg_conn_t *pc)
{
    int                     ok;
    ngx_str_t              *params;
    ngx_pool_t             *pool;
    ngx_apikeys_pg_work_t  *work;

    work = pc->work;

    if (work->make == NULL) {
        return ngx_apikeys_pg_conn_run_send(pc, work->params);
    }

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, pc->log);
    if (pool == NULL) {
        return 0;
    }

    params = work->make(work, pool);

    ok = params ? ngx_apikeys_pg_conn_run_send(pc, params) : 0;

    ngx_destroy_pool(pool);

    return ok;
}


/*
 * libpq wants C strings.  The query made sure that no value holds a NUL,
 * which would have cut it.
 */

static int
ngx_apikeys_pg_conn_run_send(ngx_apikeys_pg_conn_t *pc, ngx_str_t *params)
{
    int                     ok;
    size_t                  len;
    u_char                 *p;
    ngx_uint_t              i, n;
    const char            **values;
    ngx_apikeys_pg_work_t  *work;

    work = pc->work;
    n = work->stmt->nparams;

    len = (n + 1) * sizeof(char *);

    for (i = 0; i < n; i++) {
        len += params[i].len + 1;
    }

    if (len > NGX_APIKEYS_PG_CONN_LARGE) {
        pc->large = 1;
    }

    values = ngx_alloc(len, pc->log);
    if (values == NULL) {
        return 0;
    }

    p = (u_char *) (values + n + 1);

    for (i = 0; i < n; i++) {
        if (params[i].data == NULL) {
            values[i] = NULL;
            continue;
        }

        values[i] = (char *) p;
        p = ngx_cpymem(p, params[i].data, params[i].len);
        *p++ = '\0';
    }

    /* from here on the server may have got all of it */

    work->sent = 1;

    ok = PQsendQueryPrepared(pc->pg, work->stmt->name, n, values, NULL, NULL,
                             0);
    ngx_free(values);

    if (ok && work->row) {
        ok = PQsetSingleRowMode(pc->pg);
    }

    return ok;
}


ngx_int_t
ngx_apikeys_pg_conn_run_sent(ngx_apikeys_pg_conn_t *pc, int ok,
    ngx_apikeys_pg_step_e step)
{
    if (!ok) {
        return ngx_apikeys_pg_conn_error(pc, PQerrorMessage(pc->pg));
    }

    pc->step = step;
    pc->flush = 1;
    pc->told = 0;

    return ngx_apikeys_pg_conn_run_flush(pc);
}


/*
 * The result goes over to the work.  A statement that the server does not
 * know any more (26000), or whose plan no longer fits (0A000), was not run:
 * it is prepared again, once.
 */

ngx_int_t
ngx_apikeys_pg_conn_run_finish(ngx_apikeys_pg_conn_t *pc)
{
    const char             *sqlstate;
    ngx_apikeys_pg_work_t  *work;

    work = pc->work;
    sqlstate = NULL;
    work->sqlstate[0] = '\0';

    if (pc->result) {
        sqlstate = PQresultErrorField(pc->result, PG_DIAG_SQLSTATE);
    }

    if (sqlstate) {
        (void) ngx_cpystrn((u_char *) work->sqlstate, (u_char *) sqlstate,
                           sizeof(work->sqlstate));
    }

    if ((ngx_strcmp(work->sqlstate, "26000") == 0
         || ngx_strcmp(work->sqlstate, "0A000") == 0)
        && pc->step == NGX_APIKEYS_PG_STEP_EXECUTE
        && !work->reprepared && !work->given)
    {
        work->reprepared = 1;
        work->sqlstate[0] = '\0';
        pc->forget = 1;

        PQclear(pc->result);
        pc->result = NULL;

        return ngx_apikeys_pg_conn_run_next(pc);
    }

    switch (pc->result ? PQresultStatus(pc->result) : PGRES_COMMAND_OK) {

    case PGRES_FATAL_ERROR:
    case PGRES_BAD_RESPONSE:
        work->rc = NGX_APIKEYS_PG_FAILED;
        break;

    default:
        work->rc = NGX_APIKEYS_PG_OK;
    }

    if (PQresultMemorySize(pc->result)
        > (size_t) NGX_APIKEYS_PG_CONN_LARGE * (PQntuples(pc->result) + 1) / 2)
    {
        pc->large = 1;
    }

    work->result = pc->result;
    pc->result = NULL;

    pc->work = NULL;
    pc->step = NGX_APIKEYS_PG_STEP_NONE;

    pc->handlers->done(pc, work);

    /* the work may be freed at any time now */

    return pc->pg ? NGX_OK : NGX_DONE;
}


/*
 * What PQflush() could not send goes out as the socket takes it: until then
 * the socket is watched for writing, too.
 */

ngx_int_t
ngx_apikeys_pg_conn_run_flush(ngx_apikeys_pg_conn_t *pc)
{
    int  n;

    if (!pc->flush) {
        return NGX_OK;
    }

    n = PQflush(pc->pg);

    if (n < 0) {
        return ngx_apikeys_pg_conn_error(pc, PQerrorMessage(pc->pg));
    }

    pc->flush = (n == 1);

    return NGX_OK;
}


/* an empty query: it reaches the server's parser and nothing beyond */

ngx_int_t
ngx_apikeys_pg_conn_ping(ngx_apikeys_pg_conn_t *pc)
{
    if (ngx_apikeys_pg_conn_run_sent(pc, PQsendQuery(pc->pg, ""),
                                 NGX_APIKEYS_PG_STEP_DISCARD)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_apikeys_pg_conn_interest(pc);
}


/*
 * A step that is cut short here may or may not have done its work: the next
 * work on this connection starts from scratch.
 */

ngx_int_t
ngx_apikeys_pg_conn_discard(ngx_apikeys_pg_conn_t *pc)
{
    if (pc->step == NGX_APIKEYS_PG_STEP_PREPARE) {
        pc->forget = 1;

    } else if (pc->step == NGX_APIKEYS_PG_STEP_TIMEOUT) {
        pc->statement_timeout = 0;
    }

    pc->work->conn = NULL;
    pc->work->result = NULL;
    pc->work = NULL;

    PQclear(pc->row);
    PQclear(pc->result);
    pc->row = NULL;
    pc->result = NULL;

    pc->paused = 0;
    pc->step = NGX_APIKEYS_PG_STEP_DISCARD;

    /* what was read before a pause is parsed by an event of our own */

    ngx_post_event(&pc->event, &ngx_posted_next_events);

    return ngx_apikeys_pg_conn_interest(pc);
}


/* never goes on in the caller's frame, which may be the row handler's */

void
ngx_apikeys_pg_conn_resume(ngx_apikeys_pg_conn_t *pc)
{
    pc->resumed = 1;

    if (pc->paused) {
        pc->paused = 0;
        ngx_post_event(&pc->event, &ngx_posted_next_events);
    }
}
