
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The pool itself, for its own files only.
 */


#ifndef _NGX_APIKEYS_PG_POOL_INT_H_INCLUDED_
#define _NGX_APIKEYS_PG_POOL_INT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_pg_pool.h>


#define NGX_APIKEYS_PG_POOL_ADDRS  16    /* of one name */


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
    ngx_queue_t                     work[NGX_APIKEYS_PG_WORK_STATES];
    ngx_uint_t                      works[NGX_APIKEYS_PG_WORK_STATES];

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

    unsigned                        down:1;        /* as was logged */
    unsigned                        notified:1;    /* to be told */
    unsigned                        closed:1;      /* to be told */

    char                            error[256];    /* of the last attempt */
};


/* the only place that changes the state of a connection */
void ngx_apikeys_pg_pool_move(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_state_e state);

/* the only place that changes the state of a work */
void ngx_apikeys_pg_pool_work_move(ngx_apikeys_pg_work_t *work,
    ngx_apikeys_pg_work_state_e state);

/* NULL: there is none */
ngx_apikeys_pg_conn_t *ngx_apikeys_pg_pool_first(ngx_apikeys_pg_pool_t *pp,
    ngx_apikeys_pg_state_e state);

/* something has changed: works may find connections, soon */
void ngx_apikeys_pg_pool_post(ngx_apikeys_pg_pool_t *pp);

void ngx_apikeys_pg_pool_close(ngx_apikeys_pg_conn_t *pc, ngx_uint_t level,
    const char *reason);

/* its work is done with, its answer is not */
void ngx_apikeys_pg_pool_drain(ngx_apikeys_pg_conn_t *pc);

void ngx_apikeys_pg_pool_login(ngx_apikeys_pg_pool_t *pp);
void ngx_apikeys_pg_pool_login_attempt(ngx_apikeys_pg_pool_t *pp,
    const char *label, const char *reason);
void ngx_apikeys_pg_pool_login_handler(ngx_event_t *ev);
void ngx_apikeys_pg_pool_login_pause_handler(ngx_event_t *ev);

void ngx_apikeys_pg_pool_work_forget(ngx_apikeys_pg_pool_t *pp);

/* connections that one tenant may have: it leaves one for the others */
#define ngx_apikeys_pg_pool_share(pp)  (ngx_max((pp)->nconns, 2) - 1)

/* works of the same tenant in a state; 0 where there is no tenant */
ngx_uint_t ngx_apikeys_pg_pool_work_same(ngx_apikeys_pg_work_t *work,
    ngx_apikeys_pg_work_state_e state);

/* connections that are at its works, or at answers that nobody wants */
ngx_uint_t ngx_apikeys_pg_pool_work_holds(ngx_apikeys_pg_work_t *work);

/*
 * NGX_OK: the work waits once more, at the head; fresh: for a connection
 * that is made from now on, and once only.  NGX_DECLINED: it must end.
 */
ngx_int_t ngx_apikeys_pg_pool_work_again(ngx_apikeys_pg_work_t *work,
    ngx_uint_t fresh);


#endif /* _NGX_APIKEYS_PG_POOL_INT_H_INCLUDED_ */
