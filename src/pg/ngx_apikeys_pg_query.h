
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Asynchronous queries, in the shape of ngx_resolver_ctx_t: create, fill,
 * start, the handler runs once from the event loop, cancel at any time.
 *
 *     q = ngx_apikeys_pg_query_create(pp, r->pool, c->log);
 *     q->stmt = &stmt;  q->params = params;
 *     q->handler = done;  q->data = ctx;
 *     rc = ngx_apikeys_pg_query_start(q);    NGX_AGAIN: the handler runs
 *                                            later, never inline;
 *                                            NGX_ERROR: it never runs
 *
 * Statements are prepared on each connection on first use, and again after
 * 26000 or 0A000.  Results are text, and so are parameters unless the query
 * says that they are binary.  Nothing here blocks.
 */


#ifndef _NGX_APIKEYS_PG_QUERY_H_INCLUDED_
#define _NGX_APIKEYS_PG_QUERY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_pg_pool.h>


typedef void (*ngx_apikeys_pg_handler_pt)(ngx_apikeys_pg_query_t *q);

/*
 * One row, in single-row mode (query_value with row 0).  NGX_OK: go on;
 * NGX_AGAIN: no more rows until ngx_apikeys_pg_query_resume(), which passes
 * this row again; NGX_ERROR: the query ends, its handler gets CANCELED.
 */
typedef ngx_int_t (*ngx_apikeys_pg_row_pt)(ngx_apikeys_pg_query_t *q);

/*
 * Makes all parameters each time the statement is sent, for parameters that are
 * too large to be kept while the query waits.  Their memory is "pool", which is
 * destroyed when the statement was sent.  A parameter that is text contains no
 * NUL.  NULL: the query fails.
 */
typedef ngx_str_t *(*ngx_apikeys_pg_params_pt)(ngx_apikeys_pg_query_t *q,
    ngx_pool_t *pool);


/*
 * The statement was sent, and the query was canceled or timed out before its
 * answer: now the answer has come, or the connection is closed.
 */
typedef void (*ngx_apikeys_pg_abandoned_pt)(void *data);


/* only ngx_apikeys_pg_pool_query_move() changes it */
typedef enum {
    NGX_APIKEYS_PG_QUERY_NONE = 0,  /* on no list: not started, or ended */
    NGX_APIKEYS_PG_QUERY_WAITING,   /* timer set */
    NGX_APIKEYS_PG_QUERY_RUNNING,   /* timer set; on conn */
    NGX_APIKEYS_PG_QUERY_FINISHED,  /* event posted; no timer, no conn */
    NGX_APIKEYS_PG_QUERY_STATES
} ngx_apikeys_pg_query_state_e;


struct ngx_apikeys_pg_query_s {
    /* in */
    const ngx_apikeys_pg_stmt_t  *stmt;
    ngx_str_t                    *params;    /* stmt->nparams; data == NULL
                                                is SQL NULL; kept until the
                                                handler has run */
    void                         *data;

    /* event ident must be after 3 pointers as in ngx_connection_t */
    ngx_socket_t                  fd;

    ngx_apikeys_pg_params_pt      make;      /* or NULL; then no params */
    ngx_apikeys_pg_handler_pt     handler;
    ngx_apikeys_pg_row_pt         row;       /* NULL: the whole result */
    ngx_apikeys_pg_abandoned_pt   abandoned; /* or NULL */
    void                         *abandoned_data;    /* may outlive the query */
    const u_char                 *tenant;    /* NGX_APIKEYS_PG_TENANT_LEN
                                                bytes, or NULL: see the pool */
    ngx_msec_t                    timeout;   /* 0: the pool's; counts from
                                                start, waiting included */
    /* in: a worker that exits does not wait for the query */
    unsigned                      cancelable:1;
    /* in: the result is kept until cancel, or until q's pool is destroyed */
    unsigned                      keep:1;
    /* in: all parameters are in binary format, else in text */
    unsigned                      binary:1;

    /* out, valid inside the handlers only */
    ngx_apikeys_pg_rc_e           rc;
    ngx_uint_t                    unknown;   /* a write was sent and its
                                                outcome is not known (with
                                                TIMEOUT or LOST) */
    char                          sqlstate[6];
    ngx_str_t                     message;   /* the server's, for the log */
    ngx_str_t                     detail;    /* DETAIL of the server's error */

    ngx_log_t                    *log;       /* set by create */

    /* private, of the pool and the connection */
    ngx_apikeys_pg_query_state_e  state;
    ngx_queue_t                   queue;     /* the list of its state */
    ngx_apikeys_pg_pool_t        *pool;
    ngx_apikeys_pg_conn_t        *conn;      /* RUNNING only */
    struct pg_result             *result;    /* RUNNING: the connection's, set
                                                inside row() only; afterwards
                                                its own */
    const char                   *error;     /* reason that is not the
                                                server's */
    uint64_t                      serial;    /* lowest serial of a connection
                                                that may run the query; raised
                                                after a lost connection */
    ngx_event_t                   timer;
    ngx_event_t                   event;

    unsigned                      sent:1;    /* the statement was sent */
    unsigned                      given:1;   /* the row handler had a row */
    unsigned                      retried:1;    /* sent again after a loss */
    unsigned                      repeated:1;   /* sent after a rollback */
    unsigned                      reprepared:1; /* prepared again on conn */
};


ngx_apikeys_pg_query_t *ngx_apikeys_pg_query_create(ngx_apikeys_pg_pool_t *pp,
    ngx_pool_t *pool, ngx_log_t *log);
ngx_int_t ngx_apikeys_pg_query_start(ngx_apikeys_pg_query_t *q);

/*
 * Idempotent; allowed in any state and inside handlers; afterwards neither
 * handler runs and q may be freed with its pool.
 */
void ngx_apikeys_pg_query_cancel(ngx_apikeys_pg_query_t *q);

void ngx_apikeys_pg_query_resume(ngx_apikeys_pg_query_t *q);

/* whole results: rows; then values, NUL-terminated too, owned by q */
ngx_uint_t ngx_apikeys_pg_query_nrows(ngx_apikeys_pg_query_t *q);

/* bytes that the result takes */
size_t ngx_apikeys_pg_query_size(ngx_apikeys_pg_query_t *q);

/* NGX_OK, or NGX_DECLINED for SQL NULL (value is then empty, data NULL) */
ngx_int_t ngx_apikeys_pg_query_value(ngx_apikeys_pg_query_t *q,
    ngx_uint_t row, ngx_uint_t column, ngx_str_t *value);


#endif /* _NGX_APIKEYS_PG_QUERY_H_INCLUDED_ */
