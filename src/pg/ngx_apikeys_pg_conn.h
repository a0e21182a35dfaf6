
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A connection to a database: one PGconn on one ngx_connection_t.
 *
 * Only the pool calls these functions; a connection calls its pool through
 * ngx_apikeys_pg_conn_handlers_t.  The pool has a fixed array of connections:
 * each of them is opened and closed many times and freed with the pool.  A
 * connection is never opened again in the call that closed it, so "pc->pg ==
 * NULL" after a handler has returned means that the handler has closed it.
 */


#ifndef _NGX_APIKEYS_PG_CONN_H_INCLUDED_
#define _NGX_APIKEYS_PG_CONN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_pg_host.h>


/* the length of a tenant: the id of an organization */
#define NGX_APIKEYS_PG_TENANT_LEN      12

/* a reason of a failed login or a close; the pool compares with it */
#define NGX_APIKEYS_PG_CONN_STANDBY    "server is a standby, or read-only"


typedef struct ngx_apikeys_pg_conn_s   ngx_apikeys_pg_conn_t;
typedef struct ngx_apikeys_pg_query_s  ngx_apikeys_pg_query_t;


typedef struct {
    const char   *name;       /* of the prepared statement, unique */
    const char   *sql;
    ngx_uint_t    nparams;
    unsigned      write:1;    /* changes data: not repeated when the answer
                                 was lost */
} ngx_apikeys_pg_stmt_t;


typedef enum {
    NGX_APIKEYS_PG_OK = 0,
    NGX_APIKEYS_PG_UNAVAILABLE,   /* no connection; nothing was executed */
    NGX_APIKEYS_PG_BUSY,          /* the queue is full; nothing was executed */
    NGX_APIKEYS_PG_TIMEOUT,       /* a write may have been executed */
    NGX_APIKEYS_PG_LOST,          /* the connection broke after sending */
    NGX_APIKEYS_PG_CANCELED,      /* the row handler returned NGX_ERROR */
    NGX_APIKEYS_PG_FAILED         /* an error of the server: see sqlstate */
} ngx_apikeys_pg_rc_e;


/* only ngx_apikeys_pg_pool_move() changes it */
typedef enum {
    NGX_APIKEYS_PG_FREE = 0,      /* no PGconn, no timer */
    NGX_APIKEYS_PG_LOGIN,         /* one in a pool; timer set if pg is */
    NGX_APIKEYS_PG_IDLE,          /* reads, c->idle; timer if large */
    NGX_APIKEYS_PG_RUNNING,       /* query set; the query's timer is set */
    NGX_APIKEYS_PG_DRAIN,         /* no query: discards an answer; timer set */
    NGX_APIKEYS_PG_STATES
} ngx_apikeys_pg_state_e;


/* the command whose answer is awaited; private to pg_conn.c */
typedef enum {
    NGX_APIKEYS_PG_STEP_NONE = 0,
    NGX_APIKEYS_PG_STEP_CONNECT,  /* PQconnectPoll() */
    NGX_APIKEYS_PG_STEP_SETUP,    /* session settings, LISTEN */
    NGX_APIKEYS_PG_STEP_SESSION,  /* is it the session of SETUP? */
    NGX_APIKEYS_PG_STEP_TIMEOUT,  /* SET statement_timeout */
    NGX_APIKEYS_PG_STEP_FORGET,   /* DEALLOCATE ALL */
    NGX_APIKEYS_PG_STEP_PREPARE,
    NGX_APIKEYS_PG_STEP_EXECUTE,
    NGX_APIKEYS_PG_STEP_DISCARD   /* any; the answer is discarded */
} ngx_apikeys_pg_step_e;


typedef struct {
    void         (*opened)(ngx_apikeys_pg_conn_t *pc);
    /* gives a row to the query's handler, see ngx_apikeys_pg_row_pt */
    ngx_int_t    (*row)(ngx_apikeys_pg_conn_t *pc,
                        ngx_apikeys_pg_query_t *query);
    /* the query has its result; the connection no longer refers to it */
    void         (*done)(ngx_apikeys_pg_conn_t *pc,
                         ngx_apikeys_pg_query_t *query);
    /* a discarded answer has ended */
    void         (*drained)(ngx_apikeys_pg_conn_t *pc);
    /* closes the connection before it returns; pc->query is still set */
    void         (*failed)(ngx_apikeys_pg_conn_t *pc, const char *reason);
    void         (*notified)(ngx_apikeys_pg_conn_t *pc);
} ngx_apikeys_pg_conn_handlers_t;


struct ngx_apikeys_pg_conn_s {
    ngx_queue_t                             queue;  /* of its state */
    const ngx_apikeys_pg_conn_handlers_t   *handlers;

    /* must be after 3 pointers as in ngx_connection_t: ngx_event_ident() */
    ngx_socket_t                            fd;

    ngx_apikeys_pg_state_e                  state;
    struct ngx_apikeys_pg_pool_s           *pool;
    ngx_log_t                              *log;

    struct pg_conn         *pg;          /* the owner of the socket */
    ngx_connection_t       *connection;  /* watches it, never closes it */
    void                   *ssl;         /* pg's; NULL without TLS */

    ngx_apikeys_pg_step_e   step;
    ngx_apikeys_pg_query_t  *query;      /* RUNNING only */
    u_char                  tenant[NGX_APIKEYS_PG_TENANT_LEN];  /* of query, or
                                            of what is drained; zero: none */
    void                  (*abandoned)(void *data);  /* DRAIN: of the query
                                            whose answer is discarded */
    void                   *abandoned_data;
    struct pg_result       *row;         /* passed, or to be passed again, to
                                            the row handler */
    struct pg_result       *result;      /* the last one of the step */
    ngx_array_t             prepared;    /* of ngx_apikeys_pg_stmt_t * */
    ngx_msec_t              statement_timeout;  /* the session's */
    ngx_msec_t              least_timeout;      /* the configuration's */

    ngx_event_t             timer;       /* the pool's: LOGIN and DRAIN */
    ngx_event_t             event;       /* posted: process what was read */

    ngx_msec_t              opened;
    uint64_t                serial;      /* number of the login */
    ngx_uint_t              requests;

    unsigned                flush:1;     /* PQflush() has output left */
    unsigned                write:1;     /* CONNECT: wait for writing */
    unsigned                paused:1;    /* row handler returned NGX_AGAIN */
    unsigned                resumed:1;   /* resume() in the row handler */
    unsigned                forget:1;    /* "prepared" may be wrong:
                                            DEALLOCATE ALL comes next */
    unsigned                fatal:1;     /* FATAL or PANIC was received, see
                                            error */
    unsigned                readonly:1;
    unsigned                pooler:1;    /* between us and the server */
    unsigned                checked:1;   /* the query has the session */
    unsigned                large:1;     /* libpq has large buffers */
    unsigned                tls:1;       /* required by sslmode */

    const char             *channel;     /* LISTEN; may be NULL */
    char                    label[96];   /* host and port, for the log */
    char                    error[256];
    char                    session[64]; /* the session's name for itself */
    size_t                  told;        /* length of libpq's message of
                                            earlier statements */
};


/*
 * Checks conf->conninfo and splits it into hosts.  On an error logs [emerg]
 * with what to do and returns NGX_ERROR.  Refused: password=, passfile=,
 * service=, sslmode=allow and prefer, connect_timeout=, a conninfo without
 * user=, verify-ca or verify-full (the default beyond loopback) without
 * sslrootcert=.  Names are also resolved here, for the case that the http
 * block has no resolver.
 */
ngx_int_t ngx_apikeys_pg_conn_configure(ngx_conf_t *cf,
    ngx_apikeys_pg_conf_t *conf);


/* for the pool; after NGX_ERROR it closes the connection, see pc->error */

ngx_int_t ngx_apikeys_pg_conn_init(ngx_apikeys_pg_conn_t *pc,
    ngx_pool_t *pool, ngx_log_t *log);

/* address is numeric, or NULL for a unix socket; channel may be NULL */
ngx_int_t ngx_apikeys_pg_conn_open(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_conf_t *conf, ngx_apikeys_pg_host_t *host,
    const char *address, const char *name, const char *channel);

/* in any state, also when it is not open */
void ngx_apikeys_pg_conn_close(ngx_apikeys_pg_conn_t *pc);

/*
 * Reads the pending input of an idle connection.  NGX_ERROR: it is closed or
 * broken.
 */
ngx_int_t ngx_apikeys_pg_conn_check(ngx_apikeys_pg_conn_t *pc);

/* the reason why the connection cannot run another query, or NULL */
const char *ngx_apikeys_pg_conn_why_unusable(ngx_apikeys_pg_conn_t *pc);

ngx_int_t ngx_apikeys_pg_conn_run(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_query_t *query);

/* sends an empty statement, whose answer is discarded */
ngx_int_t ngx_apikeys_pg_conn_ping(ngx_apikeys_pg_conn_t *pc);

/* whether the statement may not have reached the server */
ngx_uint_t ngx_apikeys_pg_conn_unacknowledged(ngx_apikeys_pg_conn_t *pc);

/* detaches the query, which may be freed then, and discards its answer */
ngx_int_t ngx_apikeys_pg_conn_discard(ngx_apikeys_pg_conn_t *pc);

void ngx_apikeys_pg_conn_resume(ngx_apikeys_pg_conn_t *pc);

/*
 * Blocks, in a process that exits: discards the answer that is awaited,
 * executes the statement (at most 4 parameters of 63 bytes each) and sets
 * *nrows, all within "timeout" ms.  NGX_ERROR: timed out, or failed.
 */
ngx_int_t ngx_apikeys_pg_conn_final(ngx_apikeys_pg_conn_t *pc,
    const ngx_apikeys_pg_stmt_t *stmt, const ngx_str_t *params,
    ngx_msec_t timeout, ngx_uint_t *nrows);

/* frees the result of a query that is not on a connection */
void ngx_apikeys_pg_conn_clear(ngx_apikeys_pg_query_t *query);


#endif /* _NGX_APIKEYS_PG_CONN_H_INCLUDED_ */
