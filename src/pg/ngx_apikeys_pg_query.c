
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Queries, as the rest of the module sees them: a thin layer over the pool,
 * which queues and runs them.
 *
 * A query is allocated from its creator's pool and freed with it, which may
 * happen in its own handler.  A cleanup of that pool cancels the query, so
 * that a PGresult never outlives it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_apikeys_pg_query.h>

#include <libpq-fe.h>


static void ngx_apikeys_pg_query_cleanup(void *data);


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
    q->pool = pp;

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
    ngx_str_t   *v;
    ngx_uint_t   i;

    if (q->state != NGX_APIKEYS_PG_QUERY_NONE) {
        ngx_log_error(NGX_LOG_ALERT, q->log, 0,
                      "apikeys: internal error: statement \"%s\" is started "
                      "twice, please report", q->stmt->name);
        return NGX_ERROR;
    }

    /* started again in its own handler: the end of that leaves it alone */

    ngx_apikeys_pg_query_cancel(q);

    ngx_apikeys_pg_pool_query_start(q);

    for (i = 0; q->params && !q->binary && i < q->stmt->nparams; i++) {
        v = &q->params[i];

        /* libpq would send what comes before the NUL, silently */

        if (v->len && ngx_strlchr(v->data, v->data + v->len, '\0')) {
            ngx_memcpy(q->sqlstate, "22021", sizeof("22021"));
            ngx_apikeys_pg_pool_query_finish(q, NGX_APIKEYS_PG_FAILED,
                                             "a parameter contains a NUL");
            break;
        }
    }

    return NGX_AGAIN;
}


void
ngx_apikeys_pg_query_cancel(ngx_apikeys_pg_query_t *q)
{
    ngx_apikeys_pg_pool_query_cancel(q);
}


void
ngx_apikeys_pg_query_resume(ngx_apikeys_pg_query_t *q)
{
    ngx_apikeys_pg_pool_query_resume(q);
}


ngx_uint_t
ngx_apikeys_pg_query_nrows(ngx_apikeys_pg_query_t *q)
{
    return q->result ? PQntuples(q->result) : 0;
}


size_t
ngx_apikeys_pg_query_size(ngx_apikeys_pg_query_t *q)
{
    return q->result ? PQresultMemorySize(q->result) : 0;
}


ngx_int_t
ngx_apikeys_pg_query_value(ngx_apikeys_pg_query_t *q, ngx_uint_t row,
    ngx_uint_t column, ngx_str_t *value)
{
    PGresult  *res;

    res = q->result;

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
