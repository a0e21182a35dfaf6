
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * How a pool gets a connection.
 *
 * One login at a time: SCRAM takes milliseconds of CPU, and a database that
 * comes back has all workers before its door.  A login is a round through
 * all hosts and all their addresses, beginning with the host that served
 * last; it is the one connection in the state LOGIN, from its beginning to
 * its end.  A round that fails ends the works that wait, unless connections
 * remain to serve them, and is followed by a pause.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_apikeys_pg_pool_int.h>


/* between rounds that fail, in ms: doubled each time, and half of it chance */
#define NGX_APIKEYS_PG_POOL_LOGIN_PAUSE      100
#define NGX_APIKEYS_PG_POOL_LOGIN_PAUSE_MAX  2000


static ngx_int_t ngx_apikeys_pg_pool_login_host(ngx_apikeys_pg_pool_t *pp);
static ngx_int_t ngx_apikeys_pg_pool_login_resolve(ngx_apikeys_pg_pool_t *pp,
    ngx_apikeys_pg_host_t *h);
static void ngx_apikeys_pg_pool_login_resolve_handler(ngx_resolver_ctx_t *ctx);
static void ngx_apikeys_pg_pool_login_failed(ngx_apikeys_pg_pool_t *pp);


void
ngx_apikeys_pg_pool_login(ngx_apikeys_pg_pool_t *pp)
{
    ngx_queue_t            *q;
    ngx_apikeys_pg_conn_t  *pc;

    pc = ngx_apikeys_pg_pool_first(pp, NGX_APIKEYS_PG_FREE);

    if (pc == NULL) {

        if (pp->number[NGX_APIKEYS_PG_IDLE] == 0) {
            return;
        }

        /* the idle ones are of no use to those that wait */

        q = ngx_queue_last(&pp->list[NGX_APIKEYS_PG_IDLE]);
        pc = ngx_queue_data(q, ngx_apikeys_pg_conn_t, queue);
        ngx_apikeys_pg_pool_close(pc, NGX_LOG_INFO, "a new one is needed");
    }

    ngx_apikeys_pg_pool_move(pc, NGX_APIKEYS_PG_LOGIN);

    pp->tried = 0;
    pp->naddrs = 0;
    pp->addr = 0;

    ngx_post_event(&pp->login, &ngx_posted_events);
}


/*
 * Goes on with the next address, or the next host.  Posted at the beginning,
 * when an attempt has failed, and when the resolver has answered; an attempt
 * that can fail at once is followed by the next in the loop.
 */

void
ngx_apikeys_pg_pool_login_handler(ngx_event_t *ev)
{
    char                   *address;
    ngx_int_t               rc;
    ngx_apikeys_pg_conn_t  *pc;
    ngx_apikeys_pg_host_t  *h;
    ngx_apikeys_pg_pool_t  *pp;

    pp = ev->data;
    pc = ngx_apikeys_pg_pool_first(pp, NGX_APIKEYS_PG_LOGIN);

    if (pc == NULL || pc->pg || pp->resolve) {
        return;
    }

    for ( ;; ) {

        while (pp->addr < pp->naddrs) {
            h = &pp->hosts->host[pp->host];
            address = h->local ? NULL : pp->addrs[pp->addr];
            pp->addr++;

            rc = ngx_apikeys_pg_conn_open(pc, pp->conf, h, address,
                                          pp->options.name,
                                          pp->options.listen);
            if (rc == NGX_OK) {
                ngx_add_timer(&pc->timer, pp->conf->connect_timeout);
                return;
            }

            ngx_apikeys_pg_pool_login_attempt(pp, pc->label, pc->error);
        }

        rc = ngx_apikeys_pg_pool_login_host(pp);

        if (rc == NGX_AGAIN) {
            return;
        }

        if (rc == NGX_DONE) {
            ngx_apikeys_pg_pool_login_failed(pp);
            return;
        }
    }
}


/*
 * The addresses of the next host.  NGX_OK: there may be some, NGX_AGAIN: the
 * resolver is asked, NGX_DONE: that was the last host.
 */

static ngx_int_t
ngx_apikeys_pg_pool_login_host(ngx_apikeys_pg_pool_t *pp)
{
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_apikeys_pg_host_t  *h;

    if (pp->tried == pp->hosts->n) {
        return NGX_DONE;
    }

    if (pp->tried++) {
        pp->host = (pp->host + 1) % pp->hosts->n;
    }

    pp->addr = 0;
    pp->naddrs = 0;

    h = &pp->hosts->host[pp->host];

    if (h->local) {
        pp->naddrs = 1;
        return NGX_OK;
    }

    if (h->name.len && pp->conf->resolver) {
        rc = ngx_apikeys_pg_pool_login_resolve(pp, h);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    for (i = 0; i < h->naddrs && i < NGX_APIKEYS_PG_POOL_ADDRS; i++) {
        (void) ngx_cpystrn((u_char *) pp->addrs[i], (u_char *) h->addrs[i],
                           NGX_SOCKADDR_STRLEN);
    }

    pp->naddrs = i;

    if (i == 0) {
        ngx_apikeys_pg_pool_login_attempt(pp, h->host,
                                          "the host was not found");
    }

    return NGX_OK;
}


/* NGX_DECLINED: there is no resolver, as an http block without one has it */

static ngx_int_t
ngx_apikeys_pg_pool_login_resolve(ngx_apikeys_pg_pool_t *pp,
    ngx_apikeys_pg_host_t *h)
{
    ngx_resolver_ctx_t  *ctx;

    ctx = ngx_resolve_start(pp->conf->resolver, NULL);

    if (ctx == NGX_NO_RESOLVER) {
        return NGX_DECLINED;
    }

    if (ctx == NULL) {
        ngx_apikeys_pg_pool_login_attempt(pp, h->host, "no memory");
        return NGX_OK;
    }

    ctx->name = h->name;
    ctx->handler = ngx_apikeys_pg_pool_login_resolve_handler;
    ctx->data = pp;
    ctx->timeout = pp->conf->connect_timeout;
    ctx->cancelable = 1;

    /* the handler may run before this returns, then it clears resolve */

    pp->resolve = ctx;

    if (ngx_resolve_name(ctx) != NGX_OK) {
        pp->resolve = NULL;
        ngx_apikeys_pg_pool_login_attempt(pp, h->host,
                                          "the resolver cannot be asked");
        return NGX_OK;
    }

    return NGX_AGAIN;
}


static void
ngx_apikeys_pg_pool_login_resolve_handler(ngx_resolver_ctx_t *ctx)
{
    size_t                  len;
    ngx_uint_t              i;
    ngx_apikeys_pg_pool_t  *pp;

    pp = ctx->data;

    if (ctx->state) {
        ngx_apikeys_pg_pool_login_attempt(pp,
                                          pp->hosts->host[pp->host].host,
                                          ngx_resolver_strerror(ctx->state));
    }

    for (i = 0; i < ctx->naddrs && i < NGX_APIKEYS_PG_POOL_ADDRS; i++) {
        len = ngx_sock_ntop(ctx->addrs[i].sockaddr, ctx->addrs[i].socklen,
                            (u_char *) pp->addrs[i],
                            NGX_SOCKADDR_STRLEN - 1, 0);
        pp->addrs[i][len] = '\0';
    }

    pp->naddrs = ctx->state ? 0 : i;
    pp->addr = 0;
    pp->resolve = NULL;

    ngx_resolve_name_done(ctx);

    ngx_post_event(&pp->login, &ngx_posted_events);
}


/* one address, or one name, less */

void
ngx_apikeys_pg_pool_login_attempt(ngx_apikeys_pg_pool_t *pp,
    const char *label, const char *reason)
{
    ngx_uint_t  level;

    pp->stat->failures++;

    *ngx_snprintf((u_char *) pp->error, sizeof(pp->error) - 1, "%s: %s",
                  label, reason) = '\0';

    /* known to be down: once is enough */

    level = pp->down ? NGX_LOG_INFO : NGX_LOG_WARN;

    ngx_log_error(level, pp->log, 0, "database login failed, %s", pp->error);
}


static void
ngx_apikeys_pg_pool_login_failed(ngx_apikeys_pg_pool_t *pp)
{
    ngx_msec_t              pause;
    ngx_uint_t              open;
    ngx_queue_t            *q, *next, *waiting;
    ngx_apikeys_pg_conn_t  *pc;
    ngx_apikeys_pg_work_t  *work;

    pc = ngx_apikeys_pg_pool_first(pp, NGX_APIKEYS_PG_LOGIN);
    ngx_apikeys_pg_pool_move(pc, NGX_APIKEYS_PG_FREE);

    if (!pp->down) {
        pp->down = 1;
        ngx_log_error(NGX_LOG_ERR, pp->log, 0,
                      "the database is unavailable, last %s", pp->error);
    }

    /* all workers lose their database at once: they should not come back so */

    pause = NGX_APIKEYS_PG_POOL_LOGIN_PAUSE << ngx_min(pp->failures, 5);
    pause = ngx_min(pause, NGX_APIKEYS_PG_POOL_LOGIN_PAUSE_MAX);
    pp->failures++;

    ngx_add_timer(&pp->pause, pause / 2 + ngx_random() % pause);

    /* connections that remain may serve whoever is not in need of a new one */

    open = pp->number[NGX_APIKEYS_PG_FREE] < pp->nconns;
    waiting = &pp->work[NGX_APIKEYS_PG_WORK_WAITING];

    for (q = ngx_queue_head(waiting);
         q != ngx_queue_sentinel(waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        work = ngx_queue_data(q, ngx_apikeys_pg_work_t, queue);

        if (!open || work->serial) {
            ngx_apikeys_pg_pool_work_finish(work, NGX_APIKEYS_PG_UNAVAILABLE,
                                            pp->error);
        }
    }
}


void
ngx_apikeys_pg_pool_login_pause_handler(ngx_event_t *ev)
{
    ngx_apikeys_pg_pool_post(ev->data);
}
