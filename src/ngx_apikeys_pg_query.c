
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Queries, as the rest of the module sees them: a thin layer over the work
 * that the pool moves about.
 *
 * A query lies in its creator's pool and is freed with it, at the latest in
 * its own handler; a cleanup of that pool cancels it, so that a PGresult
 * never outlives it.  After a handler was called the query is touched only
 * if ngx_apikeys_pg_query_current still names it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_apikeys_pg_query.h>

#include <libpq-fe.h>


static void ngx_apikeys_pg_query_cleanup(void *data);
static ngx_str_t *ngx_apikeys_pg_query_make(ngx_apikeys_pg_work_t *work,
    ngx_pool_t *pool);
static ngx_int_t ngx_apikeys_pg_query_row(ngx_apikeys_pg_work_t *work);
static void ngx_apikeys_pg_query_done(ngx_apikeys_pg_work_t *work);
static void ngx_apikeys_pg_query_field(ngx_apikeys_pg_query_t *q, int field,
    ngx_str_t *value);


/* whose handler is running; handlers come from the event loop: no nesting */
static ngx_apikeys_pg_query_t  *ngx_apikeys_pg_query_current;


ngx_apikeys_pg_query_t *
ngx_apikeys_pg_query_create(ngx_apikeys_pg_pool_t *pp, ngx_pool_t *pool,
    ngx_log_t *log)
{
    ngx_pool_cleanup_t      *cln;
    ngx_apikeys_pg_query_t  *q;

    q = ngx_pcalloc(pool, sizeof(ngx_apikeys_pg_query_t));
    if (q == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_apikeys_pg_query_cleanup;
    cln->data = q;

    q->log = log;
    q->work.pool = pp;

    return q;
}


static void
ngx_apikeys_pg_query_cleanup(void *data)
{
    ngx_apikeys_pg_query_cancel(data);
}


ngx_int_t
ngx_apikeys_pg_query_start(ngx_apikeys_pg_query_t *q)
{
    ngx_str_t              *v;
    ngx_uint_t              i;
    ngx_apikeys_pg_work_t  *work;

    work = &q->work;

    if (work->state != NGX_APIKEYS_PG_WORK_NONE) {
        ngx_log_error(NGX_LOG_ALERT, q->log, 0,
                      "database query \"%s\" is started twice",
                      q->stmt->name);
        return NGX_ERROR;
    }

    /* started again in its own handler: the end of that leaves it alone */

    ngx_apikeys_pg_query_cancel(q);

    work->stmt = q->stmt;
    work->params = q->params;
    work->timeout = q->timeout;
    work->make = q->make ? ngx_apikeys_pg_query_make : NULL;
    work->tenant = q->tenant;
    work->row = q->row ? ngx_apikeys_pg_query_row : NULL;
    work->handler = ngx_apikeys_pg_query_done;
    work->timer.cancelable = q->cancelable;

    q->unknown = 0;
    q->sqlstate[0] = '\0';
    ngx_str_null(&q->message);
    ngx_str_null(&q->detail);

    ngx_apikeys_pg_pool_work_start(work);

    for (i = 0; q->params && i < q->stmt->nparams; i++) {
        v = &q->params[i];

        /* libpq would send what comes before the NUL, silently */

        if (v->len && ngx_strlchr(v->data, v->data + v->len, '\0')) {
            ngx_memcpy(work->sqlstate, "22021", sizeof("22021"));
            ngx_apikeys_pg_pool_work_finish(work, NGX_APIKEYS_PG_FAILED,
                                            "a parameter holds a NUL");
            break;
        }
    }

    return NGX_AGAIN;
}


void
ngx_apikeys_pg_query_cancel(ngx_apikeys_pg_query_t *q)
{
    if (ngx_apikeys_pg_query_current == q) {
        ngx_apikeys_pg_query_current = NULL;
    }

    ngx_apikeys_pg_pool_work_cancel(&q->work);
}


void
ngx_apikeys_pg_query_resume(ngx_apikeys_pg_query_t *q)
{
    ngx_apikeys_pg_pool_work_resume(&q->work);
}


static ngx_str_t *
ngx_apikeys_pg_query_make(ngx_apikeys_pg_work_t *work, ngx_pool_t *pool)
{
    ngx_apikeys_pg_query_t  *q;

    q = (ngx_apikeys_pg_query_t *)
            ((u_char *) work - offsetof(ngx_apikeys_pg_query_t, work));

    return q->make(q, pool);
}


static ngx_int_t
ngx_apikeys_pg_query_row(ngx_apikeys_pg_work_t *work)
{
    ngx_int_t                rc;
    ngx_apikeys_pg_query_t  *q;

    q = (ngx_apikeys_pg_query_t *)
            ((u_char *) work - offsetof(ngx_apikeys_pg_query_t, work));

    ngx_apikeys_pg_query_current = q;

    rc = q->row(q);

    if (ngx_apikeys_pg_query_current != q) {
        /* canceled, perhaps freed */
        return NGX_OK;
    }

    ngx_apikeys_pg_query_current = NULL;

    if (rc == NGX_ERROR) {
        ngx_apikeys_pg_pool_work_finish(work, NGX_APIKEYS_PG_CANCELED,
                                        "given up by its reader");
        return NGX_OK;
    }

    return rc;
}


static void
ngx_apikeys_pg_query_done(ngx_apikeys_pg_work_t *work)
{
    ngx_apikeys_pg_query_t  *q;

    q = (ngx_apikeys_pg_query_t *)
            ((u_char *) work - offsetof(ngx_apikeys_pg_query_t, work));

    q->rc = work->rc;
    q->unknown = work->unknown;

    if (work->rc == NGX_APIKEYS_PG_FAILED) {
        ngx_memcpy(q->sqlstate, work->sqlstate, sizeof(q->sqlstate));
        ngx_apikeys_pg_query_field(q, PG_DIAG_MESSAGE_PRIMARY, &q->message);
        ngx_apikeys_pg_query_field(q, PG_DIAG_MESSAGE_DETAIL, &q->detail);
    }

    if (work->error) {
        q->message.data = (u_char *) work->error;
        q->message.len = ngx_strlen(work->error);
    }

    ngx_apikeys_pg_query_current = q;

    q->handler(q);

    if (ngx_apikeys_pg_query_current != q) {
        return;
    }

    ngx_apikeys_pg_query_current = NULL;

    /* a result may be large and the creator's pool live long */

    if (!q->keep) {
        ngx_apikeys_pg_query_cancel(q);
    }
}


static void
ngx_apikeys_pg_query_field(ngx_apikeys_pg_query_t *q, int field,
    ngx_str_t *value)
{
    char  *text;

    text = q->work.result ? PQresultErrorField(q->work.result, field) : NULL;

    if (text) {
        value->data = (u_char *) text;
        value->len = ngx_strlen(text);
    }
}


ngx_uint_t
ngx_apikeys_pg_query_nrows(ngx_apikeys_pg_query_t *q)
{
    return q->work.result ? PQntuples(q->work.result) : 0;
}


size_t
ngx_apikeys_pg_query_size(ngx_apikeys_pg_query_t *q)
{
    return q->work.result ? PQresultMemorySize(q->work.result) : 0;
}


ngx_int_t
ngx_apikeys_pg_query_value(ngx_apikeys_pg_query_t *q, ngx_uint_t row,
    ngx_uint_t column, ngx_str_t *value)
{
    PGresult  *res;

    res = q->work.result;

    /* out of range is NULL, and libpq would only complain to us */

    if (res == NULL
        || row >= (ngx_uint_t) PQntuples(res)
        || column >= (ngx_uint_t) PQnfields(res)
        || PQgetisnull(res, row, column))
    {
        ngx_str_null(value);
        return NGX_DECLINED;
    }

    value->data = (u_char *) PQgetvalue(res, row, column);
    value->len = PQgetlength(res, row, column);

    return NGX_OK;
}
