
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The database knows what each zone instance has applied (apikeys.instances)
 * and is asked for those that have not, at growing intervals.  The own zone
 * has the change, as a rule: it was published there.  A receipt rests on no
 * rule, so for one the own zone is asked for too.
 *
 * A transaction's id means something in one history of one database only.
 * After a failover the change may be lost and its id another's, so that all
 * instances seem to have applied it: the identity must still be that of the
 * commit.
 *
 * The change is committed when all this begins, so nothing here makes it
 * fail: without an answer of the database a receipt is refused, no more.
 */


#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_wait.h>


/* seconds; more than the longest time between two heartbeats */
#define NGX_HTTP_APIKEYS_WAIT_HEARD    "6"

#define NGX_HTTP_APIKEYS_WAIT_STEP     5
#define NGX_HTTP_APIKEYS_WAIT_MAX_STEP 200
#define NGX_HTTP_APIKEYS_WAIT_MAX      300      /* seconds of "Prefer" */

/* for the answer to the last question, which a frozen database never gives */
#define NGX_HTTP_APIKEYS_WAIT_GRACE    200


typedef struct {
    /* what debug logs of a timer read, as a connection's descriptor */
    void                              *dummy[3];
    ngx_socket_t                       fd;

    ngx_http_apikeys_ctx_t            *ctx;
    ngx_http_apikeys_wait_handler_pt   handler;
    ngx_apikeys_pg_query_t            *query;
    ngx_str_t                          params[4];
    ngx_event_t                        event;
    ngx_msec_t                         start;
    ngx_msec_t                         limit;
    ngx_msec_t                         step;
    ngx_int_t                          seconds;   /* preferred, or -1 */
} ngx_http_apikeys_wait_t;


static ngx_int_t ngx_http_apikeys_wait_prefer(ngx_http_request_t *r);
static ngx_int_t ngx_http_apikeys_wait_seconds(ngx_str_t *value);
static ngx_int_t ngx_http_apikeys_wait_ask(ngx_http_apikeys_wait_t *w);
static void ngx_http_apikeys_wait_done(ngx_apikeys_pg_query_t *q);
static ngx_uint_t ngx_http_apikeys_wait_over(ngx_http_apikeys_wait_t *w);
static ngx_int_t ngx_http_apikeys_wait_missing(ngx_http_apikeys_wait_t *w,
    ngx_apikeys_pg_query_t *q);
static void ngx_http_apikeys_wait_handler(ngx_event_t *ev);
static void ngx_http_apikeys_wait_finish(ngx_http_apikeys_wait_t *w);


static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_wait_stmt = {
    "apikeys_wait",
    "SELECT name, NULL FROM apikeys.waiting_for($1, $2)"
    " WHERE $3::text IS NULL OR uuid <> $3"
    " UNION ALL SELECT 'database', 't' WHERE apikeys.identity() <> $4",
    4, 0
};


ngx_int_t
ngx_http_apikeys_wait(ngx_http_apikeys_ctx_t *ctx, ngx_str_t *xid,
    ngx_str_t *identity, ngx_http_apikeys_wait_handler_pt handler)
{
    ngx_int_t                      seconds;
    ngx_http_request_t            *r;
    ngx_http_apikeys_wait_t       *w;
    ngx_http_apikeys_main_conf_t  *amcf;

    r = ctx->request;

    seconds = ngx_http_apikeys_wait_prefer(r);

    if (seconds == NGX_ERROR && ctx->conf->wait == 0) {
        return NGX_OK;
    }

    /* without memory for more: no receipt, which is no failure */

    ctx->pending = (seconds != NGX_ERROR);

    w = ngx_pcalloc(r->pool, sizeof(ngx_http_apikeys_wait_t));
    if (w == NULL) {
        return NGX_OK;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    w->fd = (ngx_socket_t) -1;
    w->ctx = ctx;
    w->handler = handler;
    w->seconds = seconds;
    w->start = ngx_current_msec;
    w->step = NGX_HTTP_APIKEYS_WAIT_STEP;
    w->limit = (seconds == NGX_ERROR) ? ctx->conf->wait
                                      : (ngx_msec_t) seconds * 1000;

    w->params[0] = *xid;
    w->params[3] = *identity;

    if (seconds == NGX_ERROR) {
        ngx_str_set(&w->params[1], NGX_HTTP_APIKEYS_WAIT_HEARD);
        ngx_apikeys_store_instance(amcf->store, &w->params[2]);
    }

    w->event.handler = ngx_http_apikeys_wait_handler;
    w->event.data = w;
    w->event.log = r->connection->log;

    ctx->wait = w;

    if (ngx_http_apikeys_wait_ask(w) == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    w->query = NULL;
    ctx->wait = NULL;

    return NGX_OK;
}


/* the seconds of "Prefer: wait=N", or NGX_ERROR */

static ngx_int_t
ngx_http_apikeys_wait_prefer(ngx_http_request_t *r)
{
    ngx_int_t         seconds;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NGX_ERROR;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len != sizeof("Prefer") - 1
            || ngx_strncasecmp(h[i].key.data, (u_char *) "Prefer",
                               sizeof("Prefer") - 1)
               != 0)
        {
            continue;
        }

        seconds = ngx_http_apikeys_wait_seconds(&h[i].value);

        if (seconds != NGX_ERROR) {
            return seconds;
        }
    }
}


static ngx_int_t
ngx_http_apikeys_wait_seconds(ngx_str_t *value)
{
    u_char     *p, *last, *end, *digits;
    ngx_int_t   seconds;

    end = value->data + value->len;

    for (p = value->data; p < end; p = last + 1) {

        last = ngx_strlchr(p, end, ',');
        if (last == NULL) {
            last = end;
        }

        while (p < last && (*p == ' ' || *p == '\t')) {
            p++;
        }

        if (last - p < 6
            || ngx_strncasecmp(p, (u_char *) "wait=", 5) != 0)
        {
            continue;
        }

        /* a preference may have parameters, after ";" */

        digits = p + 5;

        for (p = digits; p < last && *p >= '0' && *p <= '9'; p++) {
            /* void */
        }

        seconds = ngx_atoi(digits, p - digits);

        while (p < last && (*p == ' ' || *p == '\t')) {
            p++;
        }

        if (p < last && *p != ';') {
            continue;
        }

        if (seconds != NGX_ERROR) {
            return ngx_min(seconds, NGX_HTTP_APIKEYS_WAIT_MAX);
        }
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_apikeys_wait_ask(ngx_http_apikeys_wait_t *w)
{
    ngx_msec_t                     passed, timeout;
    ngx_http_request_t            *r;
    ngx_apikeys_pg_query_t        *q;
    ngx_http_apikeys_main_conf_t  *amcf;

    r = w->ctx->request;
    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    q = ngx_apikeys_pg_query_create(amcf->worker.pool, r->pool,
                                    r->connection->log);
    if (q == NULL) {
        return NGX_ERROR;
    }

    q->stmt = &ngx_http_apikeys_wait_stmt;
    q->params = w->params;
    q->handler = ngx_http_apikeys_wait_done;
    q->data = w;

    passed = ngx_current_msec - w->start;
    timeout = NGX_HTTP_APIKEYS_WAIT_GRACE;

    if (passed < w->limit) {
        timeout += w->limit - passed;
    }

    q->timeout = ngx_min(timeout, amcf->database->timeout);

    w->query = q;

    return ngx_apikeys_pg_query_start(q);
}


static void
ngx_http_apikeys_wait_done(ngx_apikeys_pg_query_t *q)
{
    ngx_str_t                 never;
    ngx_uint_t                n;
    ngx_msec_t                passed;
    ngx_http_apikeys_wait_t  *w;

    w = q->data;
    w->query = NULL;

    n = ngx_apikeys_pg_query_nrows(q);

    if (q->rc == NGX_APIKEYS_PG_OK && n == 0
        && ngx_http_apikeys_wait_over(w))
    {
        w->ctx->pending = 0;
        ngx_http_apikeys_wait_finish(w);
        return;
    }

    passed = ngx_current_msec - w->start;

    if (q->rc == NGX_APIKEYS_PG_OK
        && (n == 0
            || ngx_apikeys_pg_query_value(q, n - 1, 1, &never)
               == NGX_DECLINED)
        && passed < w->limit)
    {

        ngx_add_timer(&w->event, ngx_min(w->step, w->limit - passed));

        w->step = ngx_min(w->step * 2, NGX_HTTP_APIKEYS_WAIT_MAX_STEP);

        return;
    }

    if (w->ctx->pending && q->rc == NGX_APIKEYS_PG_OK) {
        (void) ngx_http_apikeys_wait_missing(w, q);
    }

    ngx_http_apikeys_wait_finish(w);
}


/*
 * A database that was just restored knows of no instance.  The own one was
 * announced to it before the zone took that database's identity.
 */

static ngx_uint_t
ngx_http_apikeys_wait_over(ngx_http_apikeys_wait_t *w)
{
    ngx_str_t                      identity, snapshot;
    ngx_http_request_t            *r;
    ngx_http_apikeys_main_conf_t  *amcf;

    if (w->seconds == NGX_ERROR) {
        return 1;
    }

    r = w->ctx->request;
    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    return ngx_apikeys_store_cursor_get(amcf->store, r->pool, &identity,
                                        &snapshot)
           == NGX_OK
           && identity.len == w->params[3].len
           && ngx_memcmp(identity.data, w->params[3].data, identity.len) == 0;
}


/* names the instances that are behind */

static ngx_int_t
ngx_http_apikeys_wait_missing(ngx_http_apikeys_wait_t *w,
    ngx_apikeys_pg_query_t *q)
{
    u_char                  *p;
    size_t                   len;
    ngx_str_t                name, value;
    ngx_uint_t               i, n;
    static const ngx_str_t   header = ngx_string("X-Apikeys-Pending");

    n = ngx_apikeys_pg_query_nrows(q);
    len = 0;

    for (i = 0; i < n; i++) {
        (void) ngx_apikeys_pg_query_value(q, i, 0, &name);
        len += name.len + 2;
    }

    if (len == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(w->ctx->request->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;

    for (i = 0; i < n; i++) {
        (void) ngx_apikeys_pg_query_value(q, i, 0, &name);

        if (i) {
            *p++ = ',';
            *p++ = ' ';
        }

        p = ngx_cpymem(p, name.data, name.len);
    }

    value.len = p - value.data;

    return ngx_http_apikeys_output_header(w->ctx->request, &header, &value);
}


static void
ngx_http_apikeys_wait_handler(ngx_event_t *ev)
{
    ngx_connection_t         *c;
    ngx_http_apikeys_wait_t  *w;

    w = ev->data;
    c = w->ctx->request->connection;

    ngx_http_set_log_request(c->log, w->ctx->request);

    if (ngx_http_apikeys_wait_ask(w) == NGX_AGAIN) {
        return;
    }

    w->query = NULL;

    ngx_http_apikeys_wait_finish(w);
}


static void
ngx_http_apikeys_wait_finish(ngx_http_apikeys_wait_t *w)
{
    u_char                  *p;
    ngx_str_t                value;
    ngx_connection_t        *c;
    static const ngx_str_t   header = ngx_string("Preference-Applied");

    c = w->ctx->request->connection;

    ngx_http_set_log_request(c->log, w->ctx->request);

    w->ctx->wait = NULL;

    /* to a client that looks for nothing else this is the receipt */

    if (w->seconds != NGX_ERROR && !w->ctx->pending) {

        p = ngx_pnalloc(w->ctx->request->pool,
                        sizeof("wait=") + NGX_INT_T_LEN);

        if (p) {
            value.data = p;
            value.len = ngx_sprintf(p, "wait=%i", w->seconds) - p;

            (void) ngx_http_apikeys_output_header(w->ctx->request, &header,
                                                  &value);
        }
    }

    w->handler(w->ctx);

    ngx_http_run_posted_requests(c);
}


void
ngx_http_apikeys_wait_cancel(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_http_apikeys_wait_t  *w;

    w = ctx->wait;

    if (w == NULL) {
        return;
    }

    if (w->event.timer_set) {
        ngx_del_timer(&w->event);
    }

    if (w->query) {
        ngx_apikeys_pg_query_cancel(w->query);
        w->query = NULL;
    }

    ctx->wait = NULL;
}
