
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The layer of PostgreSQL, alone, for tests: locations that run a statement
 * and print what it came to.
 *
 *     pgtest_database CONNINFO [connections=N] [queue=N] [timeout=T]
 *                     [connect_timeout=T] [password=P] [listen=CHANNEL];
 *     pgtest_query SQL [params=N] [write] [timeout=T] [cancel=T] [again]
 *                      [listener] [cancelable];
 *     pgtest_rows SQL ... [pause=N] [pause_time=T] [inline] [fail=N]
 *                     [stop=N] [spin=MICROSECONDS];
 *     pgtest_stat;
 *
 * Parameters are the arguments p1, p2 ...; size=N makes p1 a text of N "x",
 * nul=1 gives it a NUL.  pgtest_rows gives the rows one by one: every pause
 * rows it waits for pause_time, after fail rows it gives up, after stop rows
 * it cancels the query and answers.  The answer's first line:
 *
 *     rc=OK unknown=0 rows=2 bytes=10 sqlstate= message= detail=
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_apikeys_pg_query.h>


#define NGX_HTTP_PGTEST_SHOWN  200


typedef struct {
    ngx_apikeys_pg_conf_t          database;
    ngx_str_t                      listen;

    /* of a worker */
    ngx_apikeys_pg_pool_t         *pool;
    ngx_apikeys_pg_pool_t         *listener;
    ngx_apikeys_pg_pool_stat_t     stat[2];
    ngx_uint_t                     notified;
    ngx_uint_t                     closed;
} ngx_http_pgtest_main_conf_t;


typedef struct {
    ngx_apikeys_pg_stmt_t          stmt;
    ngx_msec_t                     timeout;
    ngx_msec_t                     cancel;
    ngx_msec_t                     pause_time;
    ngx_uint_t                     pause;
    ngx_uint_t                     fail;
    ngx_uint_t                     stop;
    ngx_uint_t                     spin;
    ngx_flag_t                     rows;
    ngx_flag_t                     inlined;
    ngx_flag_t                     again;
    ngx_flag_t                     listener;
    ngx_flag_t                     cancelable;
} ngx_http_pgtest_loc_conf_t;


typedef struct {
    ngx_http_request_t            *request;
    ngx_http_pgtest_loc_conf_t    *conf;
    ngx_apikeys_pg_query_t        *query;
    ngx_event_t                    timer;    /* cancels, or resumes */
    ngx_event_t                    tick;     /* is the loop alive? */
    ngx_uint_t                     rows;
    ngx_uint_t                     repeated; /* rows given again */
    ngx_uint_t                     ticks;
    size_t                         bytes;
    unsigned                       paused:1;
    unsigned                       again:1;
} ngx_http_pgtest_ctx_t;


static ngx_int_t ngx_http_pgtest_query_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_pgtest_params(ngx_http_request_t *r,
    ngx_apikeys_pg_query_t *q);
static void ngx_http_pgtest_done(ngx_apikeys_pg_query_t *q);
static ngx_int_t ngx_http_pgtest_row(ngx_apikeys_pg_query_t *q);
static void ngx_http_pgtest_spin(ngx_uint_t usec);
static void ngx_http_pgtest_timer_handler(ngx_event_t *ev);
static void ngx_http_pgtest_tick_handler(ngx_event_t *ev);
static void ngx_http_pgtest_cleanup(void *data);
static u_char *ngx_http_pgtest_result(ngx_apikeys_pg_query_t *q, u_char *p,
    u_char *last, size_t *bytes);
static void ngx_http_pgtest_finalize(ngx_http_request_t *r, u_char *start,
    u_char *end);
static ngx_int_t ngx_http_pgtest_send(ngx_http_request_t *r, u_char *start,
    u_char *end);
static ngx_int_t ngx_http_pgtest_stat_handler(ngx_http_request_t *r);
static void ngx_http_pgtest_notified(void *data);
static void ngx_http_pgtest_lost(void *data);

static void *ngx_http_pgtest_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_pgtest_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_pgtest_database(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_pgtest_query(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_pgtest_stat(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_pgtest_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_pgtest_init_process(ngx_cycle_t *cycle);
static void ngx_http_pgtest_exit_process(ngx_cycle_t *cycle);


static const char  *ngx_http_pgtest_rc[] = {
    "OK", "UNAVAILABLE", "BUSY", "TIMEOUT", "LOST", "CANCELED", "FAILED"
};


static ngx_command_t  ngx_http_pgtest_commands[] = {

    { ngx_string("pgtest_database"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_pgtest_database,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("pgtest_query"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_pgtest_query,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("pgtest_rows"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_pgtest_query,
      NGX_HTTP_LOC_CONF_OFFSET,
      1,
      NULL },

    { ngx_string("pgtest_stat"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_pgtest_stat,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_pgtest_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_pgtest_init,                  /* postconfiguration */

    ngx_http_pgtest_create_main_conf,      /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_pgtest_create_loc_conf,       /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_pgtest_module = {
    NGX_MODULE_V1,
    &ngx_http_pgtest_module_ctx,           /* module context */
    ngx_http_pgtest_commands,              /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_pgtest_init_process,          /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_pgtest_exit_process,          /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_pgtest_query_handler(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_http_cleanup_t           *cln;
    ngx_http_pgtest_ctx_t        *ctx;
    ngx_apikeys_pg_query_t       *q;
    ngx_http_pgtest_loc_conf_t   *plcf;
    ngx_http_pgtest_main_conf_t  *pmcf;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    plcf = ngx_http_get_module_loc_conf(r, ngx_http_pgtest_module);
    pmcf = ngx_http_get_module_main_conf(r, ngx_http_pgtest_module);

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_pgtest_ctx_t));
    cln = ngx_http_cleanup_add(r, 0);
    q = ngx_apikeys_pg_query_create(plcf->listener ? pmcf->listener
                                                   : pmcf->pool,
                                    r->pool, r->connection->log);

    if (ctx == NULL || cln == NULL || q == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->request = r;
    ctx->conf = plcf;
    ctx->query = q;

    ctx->timer.data = r->connection;
    ctx->timer.log = r->connection->log;
    ctx->timer.handler = ngx_http_pgtest_timer_handler;

    ctx->tick.data = r->connection;
    ctx->tick.log = r->connection->log;
    ctx->tick.handler = ngx_http_pgtest_tick_handler;
    ctx->tick.cancelable = 1;

    ngx_http_set_ctx(r, ctx, ngx_http_pgtest_module);

    cln->handler = ngx_http_pgtest_cleanup;
    cln->data = ctx;

    q->stmt = &plcf->stmt;
    q->handler = ngx_http_pgtest_done;
    q->row = plcf->rows ? ngx_http_pgtest_row : NULL;
    q->data = ctx;
    q->timeout = plcf->timeout;
    q->cancelable = plcf->cancelable;

    if (ngx_http_pgtest_params(r, q) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_apikeys_pg_query_start(q) != NGX_AGAIN) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (plcf->cancel) {
        ngx_add_timer(&ctx->timer, plcf->cancel);
    }

    ngx_add_timer(&ctx->tick, 1);

    r->read_event_handler = ngx_http_test_reading;
    r->main->count++;

    return NGX_DONE;
}


static ngx_int_t
ngx_http_pgtest_params(ngx_http_request_t *r, ngx_apikeys_pg_query_t *q)
{
    u_char      name[8];
    ngx_int_t   n;
    ngx_str_t   value;
    ngx_uint_t  i;

    if (q->stmt->nparams == 0) {
        return NGX_OK;
    }

    q->params = ngx_pcalloc(r->pool, q->stmt->nparams * sizeof(ngx_str_t));
    if (q->params == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < q->stmt->nparams; i++) {
        (void) ngx_http_arg(r, name, ngx_sprintf(name, "p%ui", i + 1) - name,
                            &q->params[i]);
    }

    if (ngx_http_arg(r, (u_char *) "size", 4, &value) == NGX_OK) {
        n = ngx_atoi(value.data, value.len);

        q->params[0].len = n;
        q->params[0].data = ngx_palloc(r->pool, n);
        if (q->params[0].data == NULL) {
            return NGX_ERROR;
        }

        ngx_memset(q->params[0].data, 'x', n);
    }

    if (ngx_http_arg(r, (u_char *) "nul", 3, &value) == NGX_OK) {
        ngx_str_set(&q->params[0], "a\0b");
    }

    return NGX_OK;
}


static void
ngx_http_pgtest_done(ngx_apikeys_pg_query_t *q)
{
    u_char                 *p, *start, *last;
    size_t                  bytes;
    ngx_http_pgtest_ctx_t  *ctx;

    ctx = q->data;

    if (ctx->conf->again && !ctx->again) {
        ctx->again = 1;
        (void) ngx_apikeys_pg_query_start(q);
        return;
    }

    start = ngx_palloc(ctx->request->pool, 65536);
    if (start == NULL) {
        ngx_http_pgtest_finalize(ctx->request, NULL, NULL);
        return;
    }

    last = start + 65536;
    bytes = ctx->bytes;

    p = ngx_http_pgtest_result(q, start + 512, last, &bytes);

    last = ngx_slprintf(start, start + 512,
                        "rc=%s unknown=%ui rows=%ui bytes=%uz repeated=%ui "
                        "ticks=%ui again=%d sqlstate=%s message=%V "
                        "detail=%V\n",
                        ngx_http_pgtest_rc[q->rc], q->unknown,
                        ctx->conf->rows ? ctx->rows
                                        : ngx_apikeys_pg_query_nrows(q),
                        bytes, ctx->repeated, ctx->ticks, ctx->again,
                        q->sqlstate, &q->message, &q->detail);

    last = ngx_movemem(last, start + 512, p - (start + 512));

    ngx_http_pgtest_finalize(ctx->request, start, last);
}


static u_char *
ngx_http_pgtest_result(ngx_apikeys_pg_query_t *q, u_char *p, u_char *last,
    size_t *bytes)
{
    ngx_str_t   value;
    ngx_uint_t  i, k, n;

    n = (q->rc == NGX_APIKEYS_PG_OK) ? ngx_apikeys_pg_query_nrows(q) : 0;

    for (i = 0; i < n; i++) {
        for (k = 0; k < 8; k++) {

            if (ngx_apikeys_pg_query_value(q, i, k, &value) == NGX_OK) {
                *bytes += value.len;
                value.len = ngx_min(value.len, NGX_HTTP_PGTEST_SHOWN);
                p = ngx_slprintf(p, last, "%V|", &value);

            } else {
                p = ngx_slprintf(p, last, "~|");
            }
        }

        p = ngx_slprintf(p, last, "\n");
    }

    return p;
}


static ngx_int_t
ngx_http_pgtest_row(ngx_apikeys_pg_query_t *q)
{
    u_char                       buf[32];
    ngx_str_t                    value;
    ngx_http_pgtest_ctx_t       *ctx;
    ngx_http_pgtest_loc_conf_t  *plcf;

    ctx = q->data;
    plcf = ctx->conf;

    if (plcf->pause && ctx->rows % plcf->pause == plcf->pause - 1
        && !ctx->paused)
    {
        ctx->paused = 1;

        if (plcf->inlined) {
            ngx_apikeys_pg_query_resume(q);

        } else if (plcf->pause_time) {
            ngx_add_timer(&ctx->timer, plcf->pause_time);
        }

        return NGX_AGAIN;
    }

    if (ctx->paused) {
        ctx->paused = 0;
        ctx->repeated++;
    }

    if (plcf->fail && ctx->rows == plcf->fail) {
        return NGX_ERROR;
    }

    if (plcf->stop && ctx->rows == plcf->stop) {
        ngx_apikeys_pg_query_cancel(q);
        ngx_apikeys_pg_query_cancel(q);
        ngx_http_pgtest_finalize(ctx->request, buf,
                                 ngx_sprintf(buf, "stopped\n"));
        return NGX_AGAIN;
    }

    if (plcf->spin) {
        ngx_http_pgtest_spin(plcf->spin);
    }

    /* the second column, if any, counts: no row is lost or given twice */

    if (ngx_apikeys_pg_query_value(q, 0, 1, &value) == NGX_OK
        && ngx_atoi(value.data, value.len) != (ngx_int_t) ctx->rows + 1)
    {
        ngx_log_error(NGX_LOG_ALERT, q->log, 0, "row %V is out of order",
                      &value);
    }

    (void) ngx_apikeys_pg_query_value(q, 0, 0, &value);

    ctx->rows++;
    ctx->bytes += value.len;

    return NGX_OK;
}


static void
ngx_http_pgtest_spin(ngx_uint_t usec)
{
    struct timespec  start, now;

    (void) clock_gettime(CLOCK_MONOTONIC, &start);

    do {
        (void) clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000000
             + (now.tv_nsec - start.tv_nsec) / 1000 < (long) usec);
}


static void
ngx_http_pgtest_timer_handler(ngx_event_t *ev)
{
    u_char                  buf[32];
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_pgtest_ctx_t  *ctx;

    c = ev->data;
    r = c->data;
    ctx = ngx_http_get_module_ctx(r, ngx_http_pgtest_module);

    if (ctx->paused) {
        ngx_apikeys_pg_query_resume(ctx->query);
        return;
    }

    ngx_apikeys_pg_query_cancel(ctx->query);
    ngx_apikeys_pg_query_cancel(ctx->query);

    ngx_http_pgtest_finalize(r, buf, ngx_sprintf(buf, "canceled\n"));
}


static void
ngx_http_pgtest_tick_handler(ngx_event_t *ev)
{
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_pgtest_ctx_t  *ctx;

    c = ev->data;
    r = c->data;
    ctx = ngx_http_get_module_ctx(r, ngx_http_pgtest_module);

    ctx->ticks++;
    ngx_add_timer(ev, 1);
}


static void
ngx_http_pgtest_cleanup(void *data)
{
    ngx_http_pgtest_ctx_t  *ctx = data;

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    if (ctx->tick.timer_set) {
        ngx_del_timer(&ctx->tick);
    }

    ngx_apikeys_pg_query_cancel(ctx->query);
}


/* from an event that is not the request's own */

static void
ngx_http_pgtest_finalize(ngx_http_request_t *r, u_char *start, u_char *end)
{
    ngx_connection_t  *c;

    c = r->connection;

    ngx_http_finalize_request(r, ngx_http_pgtest_send(r, start, end));
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_pgtest_send(ngx_http_request_t *r, u_char *start, u_char *end)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_chain_t  out;

    if (start == end) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b = ngx_create_temp_buf(r->pool, end - start);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_cpymem(b->last, start, end - start);
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = end - start;
    ngx_str_set(&r->headers_out.content_type, "text/plain");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_http_pgtest_stat_handler(ngx_http_request_t *r)
{
    u_char                        buf[1024], *p;
    ngx_int_t                     rc;
    ngx_uint_t                    i;
    ngx_apikeys_pg_pool_stat_t   *st;
    ngx_http_pgtest_main_conf_t  *pmcf;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    pmcf = ngx_http_get_module_main_conf(r, ngx_http_pgtest_module);

    p = buf;

    for (i = 0; i < (pmcf->listener ? 2 : 1); i++) {
        st = &pmcf->stat[i];

        p = ngx_slprintf(p, buf + sizeof(buf),
                         "open=%uL busy=%uL waiting=%uL connects=%uL "
                         "failures=%uL queries=%uL errors=%uL timeouts=%uL "
                         "refused=%uL\n",
                         st->open, st->busy, st->waiting, st->connects,
                         st->failures, st->queries, st->errors, st->timeouts,
                         st->refused);
    }

    p = ngx_slprintf(p, buf + sizeof(buf), "notified=%ui closed=%ui\n",
                     pmcf->notified, pmcf->closed);

    return ngx_http_pgtest_send(r, buf, p);
}


static void
ngx_http_pgtest_notified(void *data)
{
    ngx_http_pgtest_main_conf_t  *pmcf = data;

    pmcf->notified++;
}


static void
ngx_http_pgtest_lost(void *data)
{
    ngx_http_pgtest_main_conf_t  *pmcf = data;

    pmcf->closed++;
}


static void *
ngx_http_pgtest_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_pgtest_main_conf_t));
}


static void *
ngx_http_pgtest_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_pgtest_loc_conf_t));
}


static char *
ngx_http_pgtest_database(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pgtest_main_conf_t  *pmcf = conf;

    u_char                 *p;
    ngx_str_t              *value, s;
    ngx_uint_t              i;
    ngx_apikeys_pg_conf_t  *db;

    value = cf->args->elts;
    db = &pmcf->database;

    db->conninfo = value[1];
    db->connections = 2;
    db->queue = 256;
    db->connect_timeout = 5000;
    db->timeout = 10000;

    for (i = 2; i < cf->args->nelts; i++) {
        p = (u_char *) ngx_strchr(value[i].data, '=');
        if (p == NULL) {
            return "has a bad parameter";
        }

        s.data = p + 1;
        s.len = value[i].data + value[i].len - s.data;

        if (ngx_strncmp(value[i].data, "connections=", 12) == 0) {
            db->connections = ngx_atoi(s.data, s.len);

        } else if (ngx_strncmp(value[i].data, "queue=", 6) == 0) {
            db->queue = ngx_atoi(s.data, s.len);

        } else if (ngx_strncmp(value[i].data, "timeout=", 8) == 0) {
            db->timeout = ngx_parse_time(&s, 0);

        } else if (ngx_strncmp(value[i].data, "connect_timeout=", 16) == 0) {
            db->connect_timeout = ngx_parse_time(&s, 0);

        } else if (ngx_strncmp(value[i].data, "password=", 9) == 0) {
            db->password = s;

        } else if (ngx_strncmp(value[i].data, "listen=", 7) == 0) {
            pmcf->listen = s;

        } else {
            return "has a bad parameter";
        }
    }

    if (ngx_apikeys_pg_conn_configure(cf, db) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_pgtest_query(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_pgtest_loc_conf_t  *plcf = conf;

    u_char                    *p;
    ngx_str_t                 *value, s;
    ngx_uint_t                 i;
    ngx_http_core_loc_conf_t  *clcf;

    static ngx_uint_t          n;

    value = cf->args->elts;

    p = ngx_pnalloc(cf->pool, sizeof("pgtest_") + NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_sprintf(p, "pgtest_%ui%Z", n++);

    plcf->stmt.name = (char *) p;
    plcf->stmt.sql = (char *) value[1].data;
    plcf->rows = cmd->offset;

    for (i = 2; i < cf->args->nelts; i++) {
        p = (u_char *) ngx_strchr(value[i].data, '=');

        ngx_str_null(&s);

        if (p) {
            s.data = p + 1;
            s.len = value[i].data + value[i].len - s.data;
        }

        if (ngx_strcmp(value[i].data, "write") == 0) {
            plcf->stmt.write = 1;

        } else if (ngx_strcmp(value[i].data, "again") == 0) {
            plcf->again = 1;

        } else if (ngx_strcmp(value[i].data, "listener") == 0) {
            plcf->listener = 1;

        } else if (ngx_strcmp(value[i].data, "cancelable") == 0) {
            plcf->cancelable = 1;

        } else if (ngx_strcmp(value[i].data, "inline") == 0) {
            plcf->inlined = 1;

        } else if (ngx_strncmp(value[i].data, "params=", 7) == 0) {
            plcf->stmt.nparams = ngx_atoi(s.data, s.len);

        } else if (ngx_strncmp(value[i].data, "timeout=", 8) == 0) {
            plcf->timeout = ngx_parse_time(&s, 0);

        } else if (ngx_strncmp(value[i].data, "cancel=", 7) == 0) {
            plcf->cancel = ngx_parse_time(&s, 0);

        } else if (ngx_strncmp(value[i].data, "pause=", 6) == 0) {
            plcf->pause = ngx_atoi(s.data, s.len);

        } else if (ngx_strncmp(value[i].data, "pause_time=", 11) == 0) {
            plcf->pause_time = ngx_parse_time(&s, 0);

        } else if (ngx_strncmp(value[i].data, "fail=", 5) == 0) {
            plcf->fail = ngx_atoi(s.data, s.len);

        } else if (ngx_strncmp(value[i].data, "stop=", 5) == 0) {
            plcf->stop = ngx_atoi(s.data, s.len);

        } else if (ngx_strncmp(value[i].data, "spin=", 5) == 0) {
            plcf->spin = ngx_atoi(s.data, s.len);

        } else {
            return "has a bad parameter";
        }
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_pgtest_query_handler;

    return NGX_CONF_OK;
}


static char *
ngx_http_pgtest_stat(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_pgtest_stat_handler;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_pgtest_init(ngx_conf_t *cf)
{
    ngx_http_core_loc_conf_t     *clcf;
    ngx_http_pgtest_main_conf_t  *pmcf;

    pmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_pgtest_module);
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    pmcf->database.resolver = clcf->resolver;

    return NGX_OK;
}


static ngx_int_t
ngx_http_pgtest_init_process(ngx_cycle_t *cycle)
{
    ngx_apikeys_pg_pool_options_t  options;
    ngx_http_pgtest_main_conf_t   *pmcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    pmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_pgtest_module);

    if (pmcf == NULL || pmcf->database.hosts == NULL) {
        return NGX_OK;
    }

    ngx_memzero(&options, sizeof(ngx_apikeys_pg_pool_options_t));

    options.stat = &pmcf->stat[0];

    pmcf->pool = ngx_apikeys_pg_pool_create(cycle, &pmcf->database, &options);
    if (pmcf->pool == NULL) {
        return NGX_ERROR;
    }

    if (pmcf->listen.len == 0) {
        return NGX_OK;
    }

    options.stat = &pmcf->stat[1];
    options.connections = 1;
    options.name = "listener";
    options.listen = (char *) pmcf->listen.data;
    options.notify = ngx_http_pgtest_notified;
    options.closed = ngx_http_pgtest_lost;
    options.data = pmcf;

    pmcf->listener = ngx_apikeys_pg_pool_create(cycle, &pmcf->database,
                                                &options);

    return pmcf->listener ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_pgtest_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_pgtest_main_conf_t  *pmcf;

    pmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_pgtest_module);

    if (pmcf == NULL) {
        return;
    }

    if (pmcf->pool) {
        ngx_apikeys_pg_pool_destroy(pmcf->pool);
    }

    if (pmcf->listener) {
        ngx_apikeys_pg_pool_destroy(pmcf->listener);
    }
}
