
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * One PGconn on one ngx_connection_t, and the configuration that says how
 * to open it.
 *
 * Only the pool calls this; what a connection has to say it tells its pool
 * through ngx_apikeys_pg_conn_handlers_t.  A connection is a slot of the
 * pool: it is opened and closed many times and freed with the pool, and it
 * is never opened again in the stack frame that closed it, so "pc->pg ==
 * NULL" after a call upwards means that it was closed meanwhile.
 */


#ifndef _NGX_APIKEYS_PG_CONN_H_INCLUDED_
#define _NGX_APIKEYS_PG_CONN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_pg_host.h>


/* bytes that tell tenants apart: an id */
#define NGX_APIKEYS_PG_TENANT_LEN      12


typedef struct ngx_apikeys_pg_conn_s  ngx_apikeys_pg_conn_t;
typedef struct ngx_apikeys_pg_work_s  ngx_apikeys_pg_work_t;


typedef struct {
    const char   *name;       /* of the prepared statement, unique */
    const char   *sql;
    ngx_uint_t    nparams;
    unsigned      write:1;    /* never sent a second time once sent */
} ngx_apikeys_pg_stmt_t;


typedef enum {
    NGX_APIKEYS_PG_OK = 0,
    NGX_APIKEYS_PG_UNAVAILABLE,   /* no connection; nothing was run */
    NGX_APIKEYS_PG_BUSY,          /* the queue is full; nothing was run */
    NGX_APIKEYS_PG_TIMEOUT,       /* q->timeout; a write may have been run */
    NGX_APIKEYS_PG_LOST,          /* sent, then the connection broke */
    NGX_APIKEYS_PG_CANCELED,      /* the row handler gave up */
    NGX_APIKEYS_PG_FAILED         /* the server's answer: see sqlstate */
} ngx_apikeys_pg_rc_e;


/* only ngx_apikeys_pg_pool_work_move() changes it */
typedef enum {
    NGX_APIKEYS_PG_WORK_NONE = 0, /* on no list; not started, or delivered */
    NGX_APIKEYS_PG_WORK_WAITING,  /* timer set */
    NGX_APIKEYS_PG_WORK_RUNNING,  /* timer set; conn has it as its work */
    NGX_APIKEYS_PG_WORK_FINISHED, /* event posted; no timer, no conn */
    NGX_APIKEYS_PG_WORK_STATES
} ngx_apikeys_pg_work_state_e;


/* what a query is to the pool and the connection; lies inside the query */
struct ngx_apikeys_pg_work_s {
    ngx_queue_t                     queue;   /* the list of its state */
    const ngx_apikeys_pg_stmt_t    *stmt;

    /* must be after 3 pointers as in ngx_connection_t: ngx_event_ident() */
    ngx_socket_t                    fd;

    ngx_apikeys_pg_work_state_e     state;
    ngx_str_t                      *params;
    ngx_str_t                    *(*make)(ngx_apikeys_pg_work_t *work,
                                          ngx_pool_t *pool);
    const u_char                   *tenant;  /* or NULL */
    ngx_msec_t                      timeout;
    struct ngx_apikeys_pg_pool_s   *pool;
    ngx_apikeys_pg_conn_t          *conn;    /* RUNNING only */

    /* a row, set means single-row mode; and the end, from a posted event */
    ngx_int_t                     (*row)(ngx_apikeys_pg_work_t *work);
    void                          (*handler)(ngx_apikeys_pg_work_t *work);

    /* RUNNING: the connection's, inside row() only; afterwards its own */
    struct pg_result               *result;

    ngx_apikeys_pg_rc_e             rc;
    char                            sqlstate[6];
    const char                     *error;   /* of others than the server */
    uint64_t                        serial;  /* the least of a connection:
                                                after a loss, a later one */

    ngx_event_t                     timer;
    ngx_event_t                     event;

    unsigned                        sent:1;  /* the statement itself was */
    unsigned                        given:1; /* a row was */
    unsigned                        unknown:1;
    unsigned                        retried:1;    /* after a loss */
    unsigned                        repeated:1;   /* after a rollback */
    unsigned                        reprepared:1; /* on this connection */
};


/* only ngx_apikeys_pg_pool_move() changes it */
typedef enum {
    NGX_APIKEYS_PG_FREE = 0,      /* no PGconn, no timer */
    NGX_APIKEYS_PG_LOGIN,         /* at most one; timer set while pg is */
    NGX_APIKEYS_PG_IDLE,          /* READ armed, c->idle, no timer */
    NGX_APIKEYS_PG_RUNNING,       /* work set; its timer is the bound */
    NGX_APIKEYS_PG_DRAIN,         /* no work; reads to the end; timer set */
    NGX_APIKEYS_PG_STATES
} ngx_apikeys_pg_state_e;


/* what is read now; the connection's own matter */
typedef enum {
    NGX_APIKEYS_PG_STEP_NONE = 0, /* nothing is */
    NGX_APIKEYS_PG_STEP_CONNECT,  /* PQconnectPoll() goes on */
    NGX_APIKEYS_PG_STEP_SETUP,    /* may it write?, LISTEN */
    NGX_APIKEYS_PG_STEP_TIMEOUT,  /* SET statement_timeout */
    NGX_APIKEYS_PG_STEP_FORGET,   /* DEALLOCATE ALL */
    NGX_APIKEYS_PG_STEP_PREPARE,
    NGX_APIKEYS_PG_STEP_EXECUTE,
    NGX_APIKEYS_PG_STEP_DISCARD   /* nobody wants the answer */
} ngx_apikeys_pg_step_e;


typedef struct {
    void         (*opened)(ngx_apikeys_pg_conn_t *pc);
    /* the work has its answer and left the connection */
    void         (*done)(ngx_apikeys_pg_conn_t *pc,
                         ngx_apikeys_pg_work_t *work);
    /* discarded to the end */
    void         (*drained)(ngx_apikeys_pg_conn_t *pc);
    /* must be closed before this returns; pc->work is still there */
    void         (*failed)(ngx_apikeys_pg_conn_t *pc, const char *reason);
    void         (*notified)(ngx_apikeys_pg_conn_t *pc);
} ngx_apikeys_pg_conn_handlers_t;


struct ngx_apikeys_pg_conn_s {
    ngx_queue_t                             queue;  /* list of its state */
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
    ngx_apikeys_pg_work_t  *work;        /* RUNNING only */
    u_char                  tenant[NGX_APIKEYS_PG_TENANT_LEN];  /* of work, or
                                            of what is drained; zero: none */
    struct pg_result       *row;         /* being given, or paused at */
    struct pg_result       *result;      /* of the step, so far */
    ngx_array_t             prepared;    /* of ngx_apikeys_pg_stmt_t * */
    ngx_msec_t              statement_timeout;  /* the session's */
    ngx_msec_t              least_timeout;      /* the configuration's */

    ngx_event_t             timer;       /* the pool's: LOGIN and DRAIN */
    ngx_event_t             event;       /* goes on with rows */

    ngx_msec_t              opened;
    uint64_t                serial;      /* counts the pool's logins */
    ngx_uint_t              requests;

    unsigned                flush:1;     /* output left */
    unsigned                write:1;     /* CONNECT: wait for writing */
    unsigned                paused:1;    /* the row handler said AGAIN */
    unsigned                resumed:1;   /* resume() inside row handler */
    unsigned                forget:1;    /* prepared is not to be trusted */
    unsigned                fatal:1;     /* the server said good-bye */
    unsigned                readonly:1;
    unsigned                large:1;     /* libpq keeps large buffers */
    unsigned                tls:1;       /* required by sslmode */

    const char             *channel;     /* LISTEN; may be NULL */
    char                    label[96];   /* host and port, for the log */
    char                    error[256];
    size_t                  told;        /* of libpq's message: it appends */
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


/* for the pool; NGX_ERROR with pc->error set means "close it" */

ngx_int_t ngx_apikeys_pg_conn_init(ngx_apikeys_pg_conn_t *pc,
    ngx_pool_t *pool, ngx_log_t *log);

/* address is numeric, or NULL for a unix socket; channel may be NULL */
ngx_int_t ngx_apikeys_pg_conn_open(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_conf_t *conf, ngx_apikeys_pg_host_t *host,
    const char *address, const char *name, const char *channel);

/* the only way out, from any state, also for a slot that is not open */
void ngx_apikeys_pg_conn_close(ngx_apikeys_pg_conn_t *pc);

/* is an idle connection alive?  Reads what has come since */
ngx_int_t ngx_apikeys_pg_conn_check(ngx_apikeys_pg_conn_t *pc);

/* may it serve another work?  NULL, or the reason why not */
const char *ngx_apikeys_pg_conn_unusable(ngx_apikeys_pg_conn_t *pc);

ngx_int_t ngx_apikeys_pg_conn_run(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_work_t *work);

/* a no-op whose answer is discarded */
ngx_int_t ngx_apikeys_pg_conn_ping(ngx_apikeys_pg_conn_t *pc);

/* detaches the work, which may be freed then, and reads its answer away */
ngx_int_t ngx_apikeys_pg_conn_discard(ngx_apikeys_pg_conn_t *pc);

void ngx_apikeys_pg_conn_resume(ngx_apikeys_pg_conn_t *pc);

/*
 * Blocking, in a process that ends: what runs is read away, then the
 * statement runs (at most 4 parameters of 63 bytes) and *nrows is set, all
 * within "timeout" ms.  NGX_ERROR: not in time, or it failed.
 */
ngx_int_t ngx_apikeys_pg_conn_final(ngx_apikeys_pg_conn_t *pc,
    const ngx_apikeys_pg_stmt_t *stmt, const ngx_str_t *params,
    ngx_msec_t timeout, ngx_uint_t *nrows);

/* frees a finished work's result */
void ngx_apikeys_pg_conn_clear(ngx_apikeys_pg_work_t *work);


/*
 * Among the connection's own files.  NGX_OK, NGX_AGAIN with rows left for
 * later, NGX_ERROR with pc->error set, or NGX_DONE: a call upwards has
 * closed the connection.
 */

ngx_int_t ngx_apikeys_pg_conn_exchange(ngx_apikeys_pg_conn_t *pc);
ngx_int_t ngx_apikeys_pg_conn_run_sent(ngx_apikeys_pg_conn_t *pc, int ok,
    ngx_apikeys_pg_step_e step);
ngx_int_t ngx_apikeys_pg_conn_run_flush(ngx_apikeys_pg_conn_t *pc);
ngx_int_t ngx_apikeys_pg_conn_run_next(ngx_apikeys_pg_conn_t *pc);
ngx_int_t ngx_apikeys_pg_conn_run_finish(ngx_apikeys_pg_conn_t *pc);

/* sets what the socket is watched for; the only place that does */
ngx_int_t ngx_apikeys_pg_conn_interest(ngx_apikeys_pg_conn_t *pc);

/* returns NGX_ERROR, so that it can be returned */
ngx_int_t ngx_apikeys_pg_conn_error(ngx_apikeys_pg_conn_t *pc,
    const char *text);


#endif /* _NGX_APIKEYS_PG_CONN_H_INCLUDED_ */
