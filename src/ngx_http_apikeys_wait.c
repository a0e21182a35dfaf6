
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The database knows what each node has applied (apikeys.instances).  One
 * statement at a time asks it for the nodes that lack any of the changes
 * that requests of this worker wait for.  A wait is asked for at once, and
 * then whenever another quarter of its age has passed.
 *
 * This node has the change, as a rule: it was published there.  A receipt
 * rests on no rule, so for one this node is asked for too.
 *
 * A transaction's id means something in one history of one database only.
 * After a failover the change may be lost and its id another's, so that all
 * nodes seem to have applied it: the identity must still be that of the
 * commit.
 *
 * The change is committed when all this begins, so nothing here makes it
 * fail: without an answer of the database a receipt is refused, no more.  A
 * wait has a timer of its own, for a database that never answers.
 */


#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_wait.h>


/* ms; more than the longest time between two heartbeats */
#define NGX_HTTP_APIKEYS_WAIT_HEARD    6000

/* ms between two questions for one wait */
#define NGX_HTTP_APIKEYS_WAIT_MIN      5
#define NGX_HTTP_APIKEYS_WAIT_MAX      1000

#define NGX_HTTP_APIKEYS_WAIT_SECONDS  300      /* of "Prefer", at most */

/* ms for the answer to the last question */
#define NGX_HTTP_APIKEYS_WAIT_GRACE    200


enum {
    NGX_HTTP_APIKEYS_WAIT_IDENTITY = 0,
    NGX_HTTP_APIKEYS_WAIT_XID,
    NGX_HTTP_APIKEYS_WAIT_UUID,
    NGX_HTTP_APIKEYS_WAIT_NAME,
    NGX_HTTP_APIKEYS_WAIT_AGE
};


/* of one request; in its pool */
struct ngx_http_apikeys_wait_s {
    /* what debug logs of a timer read, as a connection's descriptor */
    void                              *dummy[3];
    ngx_socket_t                       fd;

    ngx_queue_t                        queue;    /* of the waiter, always */
    ngx_http_apikeys_waiter_t         *waiter;
    ngx_http_apikeys_ctx_t            *ctx;
    ngx_http_apikeys_wait_handler_pt   handler;
    ngx_str_t                          xid;
    ngx_str_t                          identity;
    ngx_event_t                        event;    /* the end, at the latest */
    ngx_msec_t                         start;
    ngx_msec_t                         limit;
    ngx_int_t                          seconds;  /* preferred, or -1 */
    ngx_uint_t                         asked;    /* by the query in flight */
};


/* of one worker */
struct ngx_http_apikeys_waiter_s {
    void                              *dummy[3];
    ngx_socket_t                       fd;

    ngx_queue_t                        waits;
    ngx_event_t                        event;    /* the next question */
    ngx_apikeys_pg_pool_t             *pp;
    ngx_apikeys_store_t               *store;
    ngx_apikeys_pg_query_t            *query;    /* in flight, or NULL */
    ngx_pool_t                        *pool;     /* of the query */
    ngx_log_t                         *log;
    ngx_uint_t                         again;    /* waits came meanwhile */
};


static ngx_int_t ngx_http_apikeys_wait_prefer(ngx_http_request_t *r);
static ngx_int_t ngx_http_apikeys_wait_seconds(ngx_str_t *value);
static void ngx_http_apikeys_wait_end(ngx_event_t *ev);
static void ngx_http_apikeys_wait_finish(ngx_http_apikeys_wait_t *w);
static ngx_uint_t ngx_http_apikeys_wait_judge(ngx_http_apikeys_wait_t *w,
    ngx_apikeys_pg_query_t *q);
static ngx_uint_t ngx_http_apikeys_wait_lacks(ngx_http_apikeys_wait_t *w,
    ngx_apikeys_pg_query_t *q, ngx_uint_t row);
static ngx_uint_t ngx_http_apikeys_wait_known(ngx_http_apikeys_wait_t *w);
static void ngx_http_apikeys_wait_missing(ngx_http_apikeys_wait_t *w,
    ngx_apikeys_pg_query_t *q);

static void ngx_http_apikeys_waiter_handler(ngx_event_t *ev);
static void ngx_http_apikeys_waiter_ask(ngx_http_apikeys_waiter_t *waiter);
static ngx_str_t *ngx_http_apikeys_waiter_xids(
    ngx_http_apikeys_waiter_t *waiter);
static void ngx_http_apikeys_waiter_done(ngx_apikeys_pg_query_t *q);
static void ngx_http_apikeys_waiter_next(ngx_http_apikeys_waiter_t *waiter);


/* at least one row, for the identity */

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_wait_stmt = {
    "apikeys_wait",
    "SELECT apikeys.identity(), xid, uuid, name, heard"
    "  FROM (SELECT) one LEFT JOIN apikeys.waiting_for($1) w ON true",
    1, 0
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

    w->xid.data = ngx_pstrdup(r->pool, xid);
    w->xid.len = xid->len;

    w->identity.data = ngx_pstrdup(r->pool, identity);
    w->identity.len = identity->len;

    if (w->xid.data == NULL || w->identity.data == NULL) {
        return NGX_OK;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    w->fd = (ngx_socket_t) -1;
    w->waiter = amcf->worker.waiter;
    w->ctx = ctx;
    w->handler = handler;
    w->seconds = seconds;
    w->start = ngx_current_msec;
    w->limit = (seconds == NGX_ERROR) ? ctx->conf->wait
                                      : (ngx_msec_t) seconds * 1000;

    w->event.handler = ngx_http_apikeys_wait_end;
    w->event.data = w;
    w->event.log = r->connection->log;

    ngx_add_timer(&w->event, w->limit + NGX_HTTP_APIKEYS_WAIT_GRACE);

    ctx->wait = w;

    ngx_queue_insert_tail(&w->waiter->waits, &w->queue);

    /* at the end of this event, with all that came in it */

    ngx_post_event(&w->waiter->event, &ngx_posted_events);

    return NGX_AGAIN;
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
            return ngx_min(seconds, NGX_HTTP_APIKEYS_WAIT_SECONDS);
        }
    }

    return NGX_ERROR;
}


/* the database has not answered in time */

static void
ngx_http_apikeys_wait_end(ngx_event_t *ev)
{
    ngx_http_apikeys_wait_finish(ev->data);
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

    ngx_http_apikeys_wait_cancel(w->ctx);

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

    ngx_queue_remove(&w->queue);

    ctx->wait = NULL;
}


/* whether the wait is over, by an answer of the database */

static ngx_uint_t
ngx_http_apikeys_wait_judge(ngx_http_apikeys_wait_t *w,
    ngx_apikeys_pg_query_t *q)
{
    ngx_str_t   identity;
    ngx_uint_t  i, n, lack;

    n = ngx_apikeys_pg_query_nrows(q);

    if (q->rc != NGX_APIKEYS_PG_OK || n == 0) {
        return 1;
    }

    (void) ngx_apikeys_pg_query_value(q, 0, NGX_HTTP_APIKEYS_WAIT_IDENTITY,
                                      &identity);

    if (!ngx_apikeys_sync_same(&identity, &w->identity)) {
        ngx_http_apikeys_wait_missing(w, NULL);
        return 1;
    }

    lack = 0;

    for (i = 0; i < n; i++) {
        lack |= ngx_http_apikeys_wait_lacks(w, q, i);
    }

    if (!lack && ngx_http_apikeys_wait_known(w)) {
        w->ctx->pending = 0;
        return 1;
    }

    if (ngx_current_msec - w->start < w->limit) {
        return 0;
    }

    if (lack) {
        ngx_http_apikeys_wait_missing(w, q);
    }

    return 1;
}


/* whether a row names a node that this wait is for */

static ngx_uint_t
ngx_http_apikeys_wait_lacks(ngx_http_apikeys_wait_t *w,
    ngx_apikeys_pg_query_t *q, ngx_uint_t row)
{
    ngx_int_t  age;
    ngx_str_t  value, own;

    if (ngx_apikeys_pg_query_value(q, row, NGX_HTTP_APIKEYS_WAIT_XID, &value)
        != NGX_OK
        || !ngx_apikeys_sync_same(&value, &w->xid))
    {
        return 0;
    }

    if (w->seconds != NGX_ERROR) {
        return 1;
    }

    /* others that are there, as far as is known; "unknown" has no age */

    if (ngx_apikeys_pg_query_value(q, row, NGX_HTTP_APIKEYS_WAIT_AGE, &value)
        != NGX_OK)
    {
        return 0;
    }

    age = ngx_atoi(value.data, value.len);

    if (age == NGX_ERROR || age > NGX_HTTP_APIKEYS_WAIT_HEARD) {
        return 0;
    }

    ngx_apikeys_store_instance(w->waiter->store, &own);

    (void) ngx_apikeys_pg_query_value(q, row, NGX_HTTP_APIKEYS_WAIT_UUID,
                                      &value);

    return !ngx_apikeys_sync_same(&value, &own);
}


/*
 * A database that was just restored knows of no node.  This one was announced
 * to it before the zone took that database's identity.
 */

static ngx_uint_t
ngx_http_apikeys_wait_known(ngx_http_apikeys_wait_t *w)
{
    ngx_str_t  identity, snapshot;

    if (w->seconds == NGX_ERROR) {
        return 1;
    }

    return ngx_apikeys_store_cursor_get(w->waiter->store,
                                        w->ctx->request->pool, &identity,
                                        &snapshot)
           == NGX_OK
           && ngx_apikeys_sync_same(&identity, &w->identity);
}


/* names the nodes that lack the change; q NULL: another database answers */

static void
ngx_http_apikeys_wait_missing(ngx_http_apikeys_wait_t *w,
    ngx_apikeys_pg_query_t *q)
{
    u_char                  *p;
    size_t                   len;
    ngx_str_t                name, value;
    ngx_uint_t               i, n;
    static const ngx_str_t   header = ngx_string("X-Apikeys-Pending");

    if (!w->ctx->pending) {
        return;
    }

    if (q == NULL) {
        ngx_str_set(&value, "database");
        (void) ngx_http_apikeys_output_header(w->ctx->request, &header,
                                              &value);
        return;
    }

    n = ngx_apikeys_pg_query_nrows(q);
    len = 0;

    for (i = 0; i < n; i++) {
        (void) ngx_apikeys_pg_query_value(q, i, NGX_HTTP_APIKEYS_WAIT_NAME,
                                          &name);
        len += name.len + 2;
    }

    p = ngx_pnalloc(w->ctx->request->pool, len);
    if (p == NULL) {
        return;
    }

    value.data = p;

    for (i = 0; i < n; i++) {

        if (!ngx_http_apikeys_wait_lacks(w, q, i)) {
            continue;
        }

        (void) ngx_apikeys_pg_query_value(q, i, NGX_HTTP_APIKEYS_WAIT_NAME,
                                          &name);

        if (p != value.data) {
            *p++ = ',';
            *p++ = ' ';
        }

        p = ngx_cpymem(p, name.data, name.len);
    }

    value.len = p - value.data;

    (void) ngx_http_apikeys_output_header(w->ctx->request, &header, &value);
}


ngx_http_apikeys_waiter_t *
ngx_http_apikeys_waiter_create(ngx_cycle_t *cycle, ngx_apikeys_pg_pool_t *pp,
    ngx_apikeys_store_t *store)
{
    ngx_http_apikeys_waiter_t  *waiter;

    waiter = ngx_pcalloc(cycle->pool, sizeof(ngx_http_apikeys_waiter_t));
    if (waiter == NULL) {
        return NULL;
    }

    waiter->fd = (ngx_socket_t) -1;
    waiter->pp = pp;
    waiter->store = store;
    waiter->log = cycle->log;

    ngx_queue_init(&waiter->waits);

    waiter->event.handler = ngx_http_apikeys_waiter_handler;
    waiter->event.data = waiter;
    waiter->event.log = cycle->log;

    return waiter;
}


void
ngx_http_apikeys_waiter_destroy(ngx_http_apikeys_waiter_t *waiter)
{
    if (waiter->event.timer_set) {
        ngx_del_timer(&waiter->event);
    }

    if (waiter->event.posted) {
        ngx_delete_posted_event(&waiter->event);
    }

    if (waiter->query) {
        ngx_apikeys_pg_query_cancel(waiter->query);
        waiter->query = NULL;

        ngx_destroy_pool(waiter->pool);
        waiter->pool = NULL;
    }
}


static void
ngx_http_apikeys_waiter_handler(ngx_event_t *ev)
{
    ngx_http_apikeys_waiter_t  *waiter;

    waiter = ev->data;

    if (ev->timer_set) {

        /* posted by a new wait */

        ngx_del_timer(ev);
    }

    if (waiter->query) {
        waiter->again = 1;
        return;
    }

    if (!ngx_queue_empty(&waiter->waits)) {
        ngx_http_apikeys_waiter_ask(waiter);
    }
}


static void
ngx_http_apikeys_waiter_ask(ngx_http_apikeys_waiter_t *waiter)
{
    ngx_apikeys_pg_query_t  *q;

    waiter->again = 0;

    waiter->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, waiter->log);
    if (waiter->pool == NULL) {
        goto failed;
    }

    q = ngx_apikeys_pg_query_create(waiter->pp, waiter->pool, waiter->log);
    if (q == NULL) {
        goto failed;
    }

    q->stmt = &ngx_http_apikeys_wait_stmt;
    q->params = ngx_http_apikeys_waiter_xids(waiter);
    q->handler = ngx_http_apikeys_waiter_done;
    q->data = waiter;

    /* the waits' own timers keep a worker */

    q->cancelable = 1;

    if (q->params && ngx_apikeys_pg_query_start(q) == NGX_AGAIN) {
        waiter->query = q;
        return;
    }

failed:

    /* the waits end by their own timers */

    if (waiter->pool) {
        ngx_destroy_pool(waiter->pool);
        waiter->pool = NULL;
    }

    ngx_add_timer(&waiter->event, NGX_HTTP_APIKEYS_WAIT_MAX);
}


/* "{XID,XID}" */

static ngx_str_t *
ngx_http_apikeys_waiter_xids(ngx_http_apikeys_waiter_t *waiter)
{
    u_char                   *p;
    size_t                    len;
    ngx_str_t                *param;
    ngx_queue_t              *q;
    ngx_http_apikeys_wait_t  *w;

    len = sizeof("{}");

    for (q = ngx_queue_head(&waiter->waits);
         q != ngx_queue_sentinel(&waiter->waits);
         q = ngx_queue_next(q))
    {
        w = ngx_queue_data(q, ngx_http_apikeys_wait_t, queue);
        len += w->xid.len + 1;
    }

    param = ngx_palloc(waiter->pool, sizeof(ngx_str_t));
    p = ngx_pnalloc(waiter->pool, len);

    if (param == NULL || p == NULL) {
        return NULL;
    }

    param->data = p;

    *p++ = '{';

    for (q = ngx_queue_head(&waiter->waits);
         q != ngx_queue_sentinel(&waiter->waits);
         q = ngx_queue_next(q))
    {
        w = ngx_queue_data(q, ngx_http_apikeys_wait_t, queue);
        w->asked = 1;

        p = ngx_cpymem(p, w->xid.data, w->xid.len);
        *p++ = ',';
    }

    /* the last comma: there is a wait */

    p[-1] = '}';

    param->len = p - param->data;

    return param;
}


/*
 * The end of one request may be the end of others, on its connection; so the
 * first of those left is taken each time.
 */

static void
ngx_http_apikeys_waiter_done(ngx_apikeys_pg_query_t *q)
{
    ngx_pool_t                 *pool;
    ngx_queue_t                 asked, *head;
    ngx_http_apikeys_wait_t    *w;
    ngx_http_apikeys_waiter_t  *waiter;

    waiter = q->data;

    ngx_queue_init(&asked);

    if (!ngx_queue_empty(&waiter->waits)) {
        ngx_queue_add(&asked, &waiter->waits);
        ngx_queue_init(&waiter->waits);
    }

    while (!ngx_queue_empty(&asked)) {
        head = ngx_queue_head(&asked);
        ngx_queue_remove(head);

        w = ngx_queue_data(head, ngx_http_apikeys_wait_t, queue);

        ngx_queue_insert_tail(&waiter->waits, head);

        if (w->asked && ngx_http_apikeys_wait_judge(w, q)) {
            ngx_http_apikeys_wait_finish(w);
            continue;
        }

        w->asked = 0;
    }

    pool = waiter->pool;

    waiter->query = NULL;
    waiter->pool = NULL;

    ngx_http_apikeys_waiter_next(waiter);

    /* the query lives in it, and is not looked at after its handler */

    ngx_destroy_pool(pool);
}


/* asks when the first of the waits is due */

static void
ngx_http_apikeys_waiter_next(ngx_http_apikeys_waiter_t *waiter)
{
    ngx_msec_t                due, delay, age;
    ngx_queue_t              *q;
    ngx_http_apikeys_wait_t  *w;

    if (waiter->event.posted || ngx_queue_empty(&waiter->waits)) {
        return;
    }

    if (waiter->again) {
        ngx_post_event(&waiter->event, &ngx_posted_events);
        return;
    }

    delay = NGX_HTTP_APIKEYS_WAIT_MAX;

    for (q = ngx_queue_head(&waiter->waits);
         q != ngx_queue_sentinel(&waiter->waits);
         q = ngx_queue_next(q))
    {
        w = ngx_queue_data(q, ngx_http_apikeys_wait_t, queue);

        age = ngx_current_msec - w->start;
        due = ngx_max(age / 4, NGX_HTTP_APIKEYS_WAIT_MIN);

        if (age < w->limit) {
            due = ngx_min(due, w->limit - age);
        }

        delay = ngx_min(delay, due);
    }

    ngx_add_timer(&waiter->event, delay);
}
