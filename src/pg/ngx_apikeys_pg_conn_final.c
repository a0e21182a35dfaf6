
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The last statement of a process that exits at once.  The event loop no
 * longer runs, so this blocks, up to a limit.  The answer that the connection
 * awaits is discarded first.  The connection cannot be used afterwards.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_apikeys_clock.h>
#include <ngx_apikeys_pg_conn.h>

#include <libpq-fe.h>
#include <openssl/ssl.h>
#include <poll.h>


#define NGX_APIKEYS_PG_CONN_FINAL_PARAMS  4
#define NGX_APIKEYS_PG_CONN_FINAL_LEN     64


static ngx_int_t ngx_apikeys_pg_conn_final_send(ngx_apikeys_pg_conn_t *pc,
    const ngx_apikeys_pg_stmt_t *stmt, const ngx_str_t *params);
static ngx_int_t ngx_apikeys_pg_conn_final_result(ngx_apikeys_pg_conn_t *pc,
    uint64_t limit, PGresult **result);
static ngx_int_t ngx_apikeys_pg_conn_final_wait(ngx_apikeys_pg_conn_t *pc,
    uint64_t limit);


ngx_int_t
ngx_apikeys_pg_conn_final(ngx_apikeys_pg_conn_t *pc,
    const ngx_apikeys_pg_stmt_t *stmt, const ngx_str_t *params,
    ngx_msec_t timeout, ngx_uint_t *nrows)
{
    uint64_t    limit;
    PGresult   *res;
    ngx_int_t   rc;

    limit = ngx_apikeys_clock_boot_ms() + timeout;

    if (ngx_apikeys_pg_conn_final_result(pc, limit, &res) != NGX_OK) {
        return NGX_ERROR;
    }

    PQclear(res);

    if (ngx_apikeys_pg_conn_final_send(pc, stmt, params) != NGX_OK
        || ngx_apikeys_pg_conn_final_result(pc, limit, &res) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    if (PQresultStatus(res) == PGRES_TUPLES_OK) {
        *nrows = PQntuples(res);
        rc = NGX_OK;
    }

    PQclear(res);

    return rc;
}


static ngx_int_t
ngx_apikeys_pg_conn_final_send(ngx_apikeys_pg_conn_t *pc,
    const ngx_apikeys_pg_stmt_t *stmt, const ngx_str_t *params)
{
    char        text[NGX_APIKEYS_PG_CONN_FINAL_PARAMS]
                    [NGX_APIKEYS_PG_CONN_FINAL_LEN];
    const char *values[NGX_APIKEYS_PG_CONN_FINAL_PARAMS];
    ngx_uint_t  i;

    for (i = 0; i < stmt->nparams; i++) {

        if (i == NGX_APIKEYS_PG_CONN_FINAL_PARAMS
            || params[i].len >= NGX_APIKEYS_PG_CONN_FINAL_LEN)
        {
            return NGX_ERROR;
        }

        values[i] = NULL;

        if (params[i].data) {
            (void) ngx_cpystrn((u_char *) text[i], params[i].data,
                               params[i].len + 1);
            values[i] = text[i];
        }
    }

    return PQsendQueryParams(pc->pg, stmt->sql, (int) stmt->nparams, NULL,
                             values, NULL, NULL, 0)
           ? NGX_OK : NGX_ERROR;
}


/* the last result of the running command, or NULL if none runs */

static ngx_int_t
ngx_apikeys_pg_conn_final_result(ngx_apikeys_pg_conn_t *pc, uint64_t limit,
    PGresult **result)
{
    PGresult  *res;

    *result = NULL;

    for ( ;; ) {

        while (PQflush(pc->pg) == 1 || PQisBusy(pc->pg)) {
            if (ngx_apikeys_pg_conn_final_wait(pc, limit) != NGX_OK
                || PQconsumeInput(pc->pg) == 0)
            {
                PQclear(*result);
                return NGX_ERROR;
            }
        }

        res = PQgetResult(pc->pg);

        if (res == NULL) {
            return NGX_OK;
        }

        PQclear(*result);
        *result = res;
    }
}


static ngx_int_t
ngx_apikeys_pg_conn_final_wait(ngx_apikeys_pg_conn_t *pc, uint64_t limit)
{
    uint64_t       now;
    struct pollfd  fd;

    /* poll() does not report data that OpenSSL has decrypted */

    if (pc->ssl && SSL_pending(pc->ssl)) {
        return NGX_OK;
    }

    now = ngx_apikeys_clock_boot_ms();

    if (now >= limit) {
        return NGX_ERROR;
    }

    fd.fd = PQsocket(pc->pg);
    fd.events = POLLIN;

    if (PQflush(pc->pg) == 1) {
        fd.events |= POLLOUT;
    }

    /* after EINTR the caller finds no input and calls this again */

    return (poll(&fd, 1, (int) (limit - now)) == -1 && ngx_errno != NGX_EINTR)
           ? NGX_ERROR : NGX_OK;
}
