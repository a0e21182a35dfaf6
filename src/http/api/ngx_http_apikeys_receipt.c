
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The database knows what each node has applied (apikeys.instances).  One
 * query at a time asks for the nodes that lack any of the changes that
 * requests of this worker wait for.  A new wait is queried at once, again
 * shortly before the other nodes usually have applied a change, and then
 * whenever another third of its age has passed.
 *
 * The same query sends the NOTIFY of all mutations of this worker that were
 * committed since the last one, also if no request waits.  If it fails, it is
 * repeated.  The NOTIFY of a worker that was killed in between is not sent,
 * and the other nodes apply the change with their next poll.
 *
 * Normally this node already has the change, as it was published there.  A
 * receipt must not rely on that, so a wait for a receipt also checks this
 * node.
 *
 * The id of a transaction is valid only in one history of one database.  After
 * a failover the change may be lost and its id reused, so that all nodes seem
 * to have applied it: the identity of the database must still be that of the
 * commit.
 *
 * The change is already committed, so nothing here makes the call fail: if the
 * database does not answer, only the receipt is refused.  Each wait has its
 * own timer, in case the database never answers.
 */


#include <ngx_apikeys_list.h>
#include <ngx_http_apikeys_header.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_receipt.h>


/* ms between two queries for one wait, at least */
#define NGX_HTTP_APIKEYS_RECEIPT_MIN      2
#define NGX_HTTP_APIKEYS_RECEIPT_MAX      1000

/* the usual time is at most so long, in ms */
#define NGX_HTTP_APIKEYS_RECEIPT_USUAL    100

#define NGX_HTTP_APIKEYS_RECEIPT_SECONDS  300      /* the most that "Prefer:
                                                   wait=" may request */

/* ms that the last query may take beyond the waiting time */
#define NGX_HTTP_APIKEYS_RECEIPT_GRACE    200


enum {
    NGX_HTTP_APIKEYS_RECEIPT_IDENTITY = 0,
    NGX_HTTP_APIKEYS_RECEIPT_XID,
    NGX_HTTP_APIKEYS_RECEIPT_UUID,
    NGX_HTTP_APIKEYS_RECEIPT_NAME,
    NGX_HTTP_APIKEYS_RECEIPT_AGE
};


/* the wait of one request; lives in its pool */
struct ngx_http_apikeys_receipt_s {
    /* ngx_event_ident() of debug logs reads the fd of a connection here */
    void                              *dummy[3];
    ngx_socket_t                       fd;

    ngx_queue_t                        queue;    /* always in receipts->waits */
    ngx_http_apikeys_receipts_t         *receipts;
    ngx_http_apikeys_call_t            *call;
    ngx_http_apikeys_receipt_handler_pt   handler;
    ngx_str_t                          xid;
    ngx_str_t                          identity;
    ngx_event_t                        event;    /* timer: ends the wait */
    ngx_msec_t                         start;
    ngx_msec_t                         limit;
    ngx_int_t                          seconds;  /* preferred, or -1 */
    ngx_uint_t                         asked;    /* the query in flight has
                                                    its xid */
};


/* the waits of one worker */
struct ngx_http_apikeys_receipts_s {
    void                              *dummy[3];
    ngx_socket_t                       fd;

    ngx_queue_t                        waits;
    ngx_event_t                        event;    /* timer: the next query */
    ngx_apikeys_pg_pool_t             *pp;
    ngx_apikeys_store_t               *store;
    ngx_apikeys_pg_query_t            *query;    /* in flight, or NULL */
    ngx_pool_t                        *pool;     /* of the query */
    ngx_log_t                         *log;
    ngx_msec_t                         usual;    /* a moving average of the
                                                    ages of waits that ended
                                                    well, in eighths of a ms */
    unsigned                           again:1;  /* waits were added during
                                                    the query */
    unsigned                           changed:1;  /* a NOTIFY is to be sent */
    unsigned                           notifies:1; /* the query sends it */
    unsigned                           failed:1;   /* the last NOTIFY failed */
};


static ngx_int_t ngx_http_apikeys_receipt_prefer(ngx_http_request_t *r);
static ngx_int_t ngx_http_apikeys_receipt_seconds(ngx_str_t *value);
static void ngx_http_apikeys_receipt_end(ngx_event_t *ev);
static void ngx_http_apikeys_receipt_finish(ngx_http_apikeys_receipt_t *w);
static ngx_uint_t ngx_http_apikeys_receipt_check(ngx_http_apikeys_receipt_t *w,
    ngx_apikeys_pg_query_t *q);
static void ngx_http_apikeys_receipt_learn(ngx_http_apikeys_receipt_t *w);
static ngx_uint_t ngx_http_apikeys_receipt_lacks(ngx_http_apikeys_receipt_t *w,
    ngx_apikeys_pg_query_t *q, ngx_uint_t row);
static ngx_uint_t ngx_http_apikeys_receipt_known(ngx_http_apikeys_receipt_t *w);
static ngx_uint_t ngx_http_apikeys_receipt_alone(
    ngx_http_apikeys_receipts_t *receipts, ngx_str_t *only);
static void ngx_http_apikeys_receipt_missing(ngx_http_apikeys_receipt_t *w,
    ngx_apikeys_pg_query_t *q);

static void ngx_http_apikeys_receipts_handler(ngx_event_t *ev);
static void ngx_http_apikeys_receipts_ask(
    ngx_http_apikeys_receipts_t *receipts);
static ngx_int_t ngx_http_apikeys_receipts_stmt(
    ngx_http_apikeys_receipts_t *receipts, ngx_apikeys_pg_query_t *q);
static ngx_str_t *ngx_http_apikeys_receipts_xids(
    ngx_http_apikeys_receipts_t *receipts);
static void ngx_http_apikeys_receipts_done(ngx_apikeys_pg_query_t *q);
static void ngx_http_apikeys_receipts_notified(
    ngx_http_apikeys_receipts_t *receipts, ngx_apikeys_pg_query_t *q);
static void ngx_http_apikeys_receipts_next(
    ngx_http_apikeys_receipts_t *receipts);


/* returns at least one row, for the identity */

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_receipt_stmt = {
    "apikeys_wait",
    "SELECT apikeys.identity(), xid, uuid, name, heard"
    "  FROM (SELECT) one LEFT JOIN apikeys.waiting_for($1) w ON true",
    1, 0
};

/* not a write: it can be repeated */

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_receipt_notify_stmt = {
    "apikeys_notify",
    "SELECT apikeys.announce()",
    0, 0
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_receipt_notify_and_wait_stmt =
{
    "apikeys_notify_and_wait",
    "SELECT apikeys.identity(), xid, uuid, name, heard"
    "  FROM apikeys.announce() LEFT JOIN apikeys.waiting_for($1) w ON true",
    1, 0
};


ngx_int_t
ngx_http_apikeys_receipt_wait(ngx_http_apikeys_call_t *call, ngx_str_t *xid,
    ngx_str_t *identity, ngx_str_t *only,
    ngx_http_apikeys_receipt_handler_pt handler)
{
    ngx_int_t                      seconds;
    ngx_http_request_t            *r;
    ngx_http_apikeys_receipt_t       *w;
    ngx_http_apikeys_main_conf_t  *amcf;

    r = call->request;
    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    seconds = ngx_http_apikeys_receipt_prefer(r);

    if (seconds == NGX_ERROR
        && (call->conf->wait == 0
            || ngx_http_apikeys_receipt_alone(amcf->worker.receipts, only)))
    {
        return NGX_OK;
    }

    /* out of memory: no receipt, but the call has succeeded */

    call->pending = (seconds != NGX_ERROR);

    w = ngx_pcalloc(r->pool, sizeof(ngx_http_apikeys_receipt_t));
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

    w->fd = (ngx_socket_t) -1;
    w->receipts = amcf->worker.receipts;
    w->call = call;
    w->handler = handler;
    w->seconds = seconds;
    w->start = ngx_current_msec;
    w->limit = (seconds == NGX_ERROR) ? call->conf->wait
                                      : (ngx_msec_t) seconds * 1000;

    w->event.handler = ngx_http_apikeys_receipt_end;
    w->event.data = w;
    w->event.log = r->connection->log;

    ngx_add_timer(&w->event, w->limit + NGX_HTTP_APIKEYS_RECEIPT_GRACE);

    call->receipt = w;

    ngx_queue_insert_tail(&w->receipts->waits, &w->queue);

    /* posted: one query for all waits that this iteration of the loop adds */

    ngx_post_event(&w->receipts->event, &ngx_posted_events);

    return NGX_AGAIN;
}


/* the seconds of "Prefer: wait=N", or NGX_ERROR */

static ngx_int_t
ngx_http_apikeys_receipt_prefer(ngx_http_request_t *r)
{
    ngx_int_t                seconds;
    ngx_str_t                rest, preference;
    ngx_uint_t               i;
    ngx_list_part_t         *part;
    ngx_table_elt_t         *h;
    static const ngx_str_t   name = ngx_string("prefer");

    part = &r->headers_in.headers.part;
    i = 0;

    while ((h = ngx_http_apikeys_header_next(&part, &i, &name)) != NULL) {

        rest = h->value;

        while (ngx_apikeys_list_next(&rest, ',', &preference)) {

            seconds = ngx_http_apikeys_receipt_seconds(&preference);

            if (seconds != NGX_ERROR) {
                return seconds;
            }
        }
    }

    return NGX_ERROR;
}


/* a preference may have parameters, after ";" */

static ngx_int_t
ngx_http_apikeys_receipt_seconds(ngx_str_t *preference)
{
    ngx_int_t  seconds;
    ngx_str_t  value;

    if (!ngx_apikeys_list_next(preference, ';', &value)) {
        return NGX_ERROR;
    }

    ngx_apikeys_list_trim(&value);

    if (value.len < 6
        || ngx_strncasecmp(value.data, (u_char *) "wait=", 5) != 0)
    {
        return NGX_ERROR;
    }

    seconds = ngx_atoi(value.data + 5, value.len - 5);

    return (seconds == NGX_ERROR) ? NGX_ERROR
           : ngx_min(seconds, NGX_HTTP_APIKEYS_RECEIPT_SECONDS);
}


/* the database has not answered in time */

static void
ngx_http_apikeys_receipt_end(ngx_event_t *ev)
{
    ngx_http_apikeys_receipt_finish(ev->data);
}


static void
ngx_http_apikeys_receipt_finish(ngx_http_apikeys_receipt_t *w)
{
    u_char                  *p;
    ngx_str_t                value;
    ngx_connection_t        *c;
    static const ngx_str_t   header = ngx_string("Preference-Applied");

    c = w->call->request->connection;

    ngx_http_set_log_request(c->log, w->call->request);

    ngx_http_apikeys_receipt_cancel(w->call);

    /* Preference-Applied is the receipt */

    if (w->seconds != NGX_ERROR && !w->call->pending) {

        p = ngx_pnalloc(w->call->request->pool,
                        sizeof("wait=") + NGX_INT_T_LEN);

        if (p) {
            value.data = p;
            value.len = ngx_sprintf(p, "wait=%i", w->seconds) - p;

            (void) ngx_http_apikeys_header_add(w->call->request, &header,
                                                &value);
        }
    }

    w->handler(w->call);

    ngx_http_run_posted_requests(c);
}


void
ngx_http_apikeys_receipt_cancel(ngx_http_apikeys_call_t *call)
{
    ngx_http_apikeys_receipt_t  *w;

    w = call->receipt;

    if (w == NULL) {
        return;
    }

    if (w->event.timer_set) {
        ngx_del_timer(&w->event);
    }

    ngx_queue_remove(&w->queue);

    call->receipt = NULL;
}


/* whether the wait is over, by a result of the query */

static ngx_uint_t
ngx_http_apikeys_receipt_check(ngx_http_apikeys_receipt_t *w,
    ngx_apikeys_pg_query_t *q)
{
    ngx_str_t   identity;
    ngx_uint_t  i, n, lack;

    n = ngx_apikeys_pg_query_nrows(q);

    if (q->rc != NGX_APIKEYS_PG_OK || n == 0) {
        return 1;
    }

    (void) ngx_apikeys_pg_query_value(q, 0, NGX_HTTP_APIKEYS_RECEIPT_IDENTITY,
                                      &identity);

    if (!ngx_apikeys_sync_str_equal(&identity, &w->identity)) {
        ngx_http_apikeys_receipt_missing(w, NULL);
        return 1;
    }

    lack = 0;

    for (i = 0; i < n; i++) {
        lack |= ngx_http_apikeys_receipt_lacks(w, q, i);
    }

    if (!lack && ngx_http_apikeys_receipt_known(w)) {
        w->call->pending = 0;
        ngx_http_apikeys_receipt_learn(w);
        return 1;
    }

    if (ngx_current_msec - w->start < w->limit) {
        return 0;
    }

    if (lack) {
        ngx_http_apikeys_receipt_missing(w, q);
    }

    return 1;
}


/*
 * The next wait is queried after three quarters of the average, so that the
 * average falls when the nodes become faster.
 */

static void
ngx_http_apikeys_receipt_learn(ngx_http_apikeys_receipt_t *w)
{
    ngx_msec_t  age;

    age = ngx_current_msec - w->start;
    age = ngx_min(age, NGX_HTTP_APIKEYS_RECEIPT_USUAL);

    w->receipts->usual += age - w->receipts->usual / 8;
}


/* whether a row names a node that this wait is for */

static ngx_uint_t
ngx_http_apikeys_receipt_lacks(ngx_http_apikeys_receipt_t *w,
    ngx_apikeys_pg_query_t *q, ngx_uint_t row)
{
    ngx_int_t  age;
    ngx_str_t  value, own;

    if (ngx_apikeys_pg_query_value(q, row, NGX_HTTP_APIKEYS_RECEIPT_XID, &value)
        != NGX_OK
        || !ngx_apikeys_sync_str_equal(&value, &w->xid))
    {
        return 0;
    }

    if (w->seconds != NGX_ERROR) {
        return 1;
    }

    /* other nodes that sent a heartbeat recently; "unknown" has no age */

    if (ngx_apikeys_pg_query_value(q, row, NGX_HTTP_APIKEYS_RECEIPT_AGE, &value)
        != NGX_OK)
    {
        return 0;
    }

    age = ngx_atoi(value.data, value.len);

    if (age == NGX_ERROR || age > NGX_HTTP_APIKEYS_RECEIPT_HEARD) {
        return 0;
    }

    ngx_apikeys_store_instance(w->receipts->store, &own);

    (void) ngx_apikeys_pg_query_value(q, row, NGX_HTTP_APIKEYS_RECEIPT_UUID,
                                      &value);

    return !ngx_apikeys_sync_str_equal(&value, &own);
}


/*
 * A database that was just restored has no nodes in apikeys.instances, so that
 * none seems to be missing.  A zone follows a database only after its own row
 * is there: so this zone must follow the database of the commit.
 */

static ngx_uint_t
ngx_http_apikeys_receipt_known(ngx_http_apikeys_receipt_t *w)
{
    ngx_str_t  identity, snapshot;

    if (w->seconds == NGX_ERROR) {
        return 1;
    }

    return ngx_apikeys_store_cursor_get(w->receipts->store,
                                        w->call->request->pool, &identity,
                                        &snapshot)
           == NGX_OK
           && ngx_apikeys_sync_str_equal(&identity, &w->identity);
}


/*
 * Whether this was the only node when the mutation was executed.  Another may
 * have announced itself since then: enough for apikeys_wait, not for a receipt.
 */

static ngx_uint_t
ngx_http_apikeys_receipt_alone(ngx_http_apikeys_receipts_t *receipts,
    ngx_str_t *only)
{
    ngx_str_t  own;

    ngx_apikeys_store_instance(receipts->store, &own);

    return ngx_apikeys_sync_str_equal(only, &own);
}


/*
 * sets X-Apikeys-Pending: the nodes that lack the change; q NULL: the database
 * is not that of the commit
 */

static void
ngx_http_apikeys_receipt_missing(ngx_http_apikeys_receipt_t *w,
    ngx_apikeys_pg_query_t *q)
{
    u_char                  *p;
    size_t                   len;
    ngx_str_t                name, value;
    ngx_uint_t               i, n;
    static const ngx_str_t   header = ngx_string("X-Apikeys-Pending");

    if (!w->call->pending) {
        return;
    }

    if (q == NULL) {
        ngx_str_set(&value, "database");
        (void) ngx_http_apikeys_header_add(w->call->request, &header,
                                            &value);
        return;
    }

    n = ngx_apikeys_pg_query_nrows(q);
    len = 0;

    for (i = 0; i < n; i++) {
        (void) ngx_apikeys_pg_query_value(q, i, NGX_HTTP_APIKEYS_RECEIPT_NAME,
                                          &name);
        len += name.len + 2;
    }

    p = ngx_pnalloc(w->call->request->pool, len);
    if (p == NULL) {
        return;
    }

    value.data = p;

    for (i = 0; i < n; i++) {

        if (!ngx_http_apikeys_receipt_lacks(w, q, i)) {
            continue;
        }

        (void) ngx_apikeys_pg_query_value(q, i, NGX_HTTP_APIKEYS_RECEIPT_NAME,
                                          &name);

        if (p != value.data) {
            *p++ = ',';
            *p++ = ' ';
        }

        p = ngx_cpymem(p, name.data, name.len);
    }

    value.len = p - value.data;

    (void) ngx_http_apikeys_header_add(w->call->request, &header, &value);
}


ngx_http_apikeys_receipts_t *
ngx_http_apikeys_receipts_create(ngx_cycle_t *cycle, ngx_apikeys_pg_pool_t *pp,
    ngx_apikeys_store_t *store)
{
    ngx_http_apikeys_receipts_t  *receipts;

    receipts = ngx_pcalloc(cycle->pool, sizeof(ngx_http_apikeys_receipts_t));
    if (receipts == NULL) {
        return NULL;
    }

    receipts->fd = (ngx_socket_t) -1;
    receipts->pp = pp;
    receipts->store = store;
    receipts->log = cycle->log;

    ngx_queue_init(&receipts->waits);

    receipts->event.handler = ngx_http_apikeys_receipts_handler;
    receipts->event.data = receipts;
    receipts->event.log = cycle->log;

    /* the timers of the waits keep an exiting worker running */

    receipts->event.cancelable = 1;

    return receipts;
}


void
ngx_http_apikeys_receipts_destroy(ngx_http_apikeys_receipts_t *receipts)
{
    if (receipts->event.timer_set) {
        ngx_del_timer(&receipts->event);
    }

    if (receipts->event.posted) {
        ngx_delete_posted_event(&receipts->event);
    }

    if (receipts->query) {
        ngx_apikeys_pg_query_cancel(receipts->query);
        receipts->query = NULL;

        ngx_destroy_pool(receipts->pool);
        receipts->pool = NULL;
    }
}


void
ngx_http_apikeys_receipts_notify(void *data)
{
    ngx_http_apikeys_receipts_t  *receipts = data;

    receipts->changed = 1;

    /* posted: one query for all changes of this iteration of the loop */

    ngx_post_event(&receipts->event, &ngx_posted_events);
}


static void
ngx_http_apikeys_receipts_handler(ngx_event_t *ev)
{
    ngx_http_apikeys_receipts_t  *receipts;

    receipts = ev->data;

    if (ev->timer_set) {

        /* posted by a new wait or change while the timer was set */

        ngx_del_timer(ev);
    }

    if (receipts->query) {
        receipts->again = 1;
        return;
    }

    if (receipts->changed || !ngx_queue_empty(&receipts->waits)) {
        ngx_http_apikeys_receipts_ask(receipts);
    }
}


static void
ngx_http_apikeys_receipts_ask(ngx_http_apikeys_receipts_t *receipts)
{
    ngx_apikeys_pg_query_t  *q;

    receipts->again = 0;

    receipts->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, receipts->log);
    if (receipts->pool == NULL) {
        goto failed;
    }

    q = ngx_apikeys_pg_query_create(receipts->pp, receipts->pool,
                                    receipts->log);
    if (q == NULL) {
        goto failed;
    }

    q->handler = ngx_http_apikeys_receipts_done;
    q->data = receipts;

    /* an exiting worker waits for a NOTIFY, and for the timers of the waits */

    q->cancelable = !receipts->changed;

    if (ngx_http_apikeys_receipts_stmt(receipts, q) == NGX_OK
        && ngx_apikeys_pg_query_start(q) == NGX_AGAIN)
    {
        receipts->query = q;
        receipts->notifies = receipts->changed;
        receipts->changed = 0;
        return;
    }

failed:

    /* the waits end by their timers */

    if (receipts->pool) {
        ngx_destroy_pool(receipts->pool);
        receipts->pool = NULL;
    }

    ngx_add_timer(&receipts->event, NGX_HTTP_APIKEYS_RECEIPT_MAX);
}


static ngx_int_t
ngx_http_apikeys_receipts_stmt(ngx_http_apikeys_receipts_t *receipts,
    ngx_apikeys_pg_query_t *q)
{
    if (ngx_queue_empty(&receipts->waits)) {
        q->stmt = &ngx_http_apikeys_receipt_notify_stmt;
        return NGX_OK;
    }

    q->stmt = receipts->changed
              ? &ngx_http_apikeys_receipt_notify_and_wait_stmt
              : &ngx_http_apikeys_receipt_stmt;

    q->params = ngx_http_apikeys_receipts_xids(receipts);

    return q->params ? NGX_OK : NGX_ERROR;
}


/* "{XID,XID}" */

static ngx_str_t *
ngx_http_apikeys_receipts_xids(ngx_http_apikeys_receipts_t *receipts)
{
    u_char                   *p;
    size_t                    len;
    ngx_str_t                *param;
    ngx_queue_t              *q;
    ngx_http_apikeys_receipt_t  *w;

    len = sizeof("{}");

    for (q = ngx_queue_head(&receipts->waits);
         q != ngx_queue_sentinel(&receipts->waits);
         q = ngx_queue_next(q))
    {
        w = ngx_queue_data(q, ngx_http_apikeys_receipt_t, queue);
        len += w->xid.len + 1;
    }

    param = ngx_palloc(receipts->pool, sizeof(ngx_str_t));
    p = ngx_pnalloc(receipts->pool, len);

    if (param == NULL || p == NULL) {
        return NULL;
    }

    param->data = p;

    *p++ = '{';

    for (q = ngx_queue_head(&receipts->waits);
         q != ngx_queue_sentinel(&receipts->waits);
         q = ngx_queue_next(q))
    {
        w = ngx_queue_data(q, ngx_http_apikeys_receipt_t, queue);
        w->asked = 1;

        p = ngx_cpymem(p, w->xid.data, w->xid.len);
        *p++ = ',';
    }

    /* replaces the last comma; there is at least one wait */

    p[-1] = '}';

    param->len = p - param->data;

    return param;
}


/*
 * Finishing one request may finish others of the same connection, which
 * removes their waits; so the first of the list is taken each time.
 */

static void
ngx_http_apikeys_receipts_done(ngx_apikeys_pg_query_t *q)
{
    ngx_pool_t                 *pool;
    ngx_queue_t                 asked, *head;
    ngx_http_apikeys_receipt_t    *w;
    ngx_http_apikeys_receipts_t  *receipts;

    receipts = q->data;

    if (receipts->notifies) {
        ngx_http_apikeys_receipts_notified(receipts, q);
    }

    ngx_queue_init(&asked);

    if (!ngx_queue_empty(&receipts->waits)) {
        ngx_queue_add(&asked, &receipts->waits);
        ngx_queue_init(&receipts->waits);
    }

    while (!ngx_queue_empty(&asked)) {
        head = ngx_queue_head(&asked);
        ngx_queue_remove(head);

        w = ngx_queue_data(head, ngx_http_apikeys_receipt_t, queue);

        ngx_queue_insert_tail(&receipts->waits, head);

        if (w->asked && ngx_http_apikeys_receipt_check(w, q)) {
            ngx_http_apikeys_receipt_finish(w);
            continue;
        }

        w->asked = 0;
    }

    pool = receipts->pool;

    receipts->query = NULL;
    receipts->pool = NULL;

    ngx_http_apikeys_receipts_next(receipts);

    /* the query lives in this pool and is not used after its handler */

    ngx_destroy_pool(pool);
}


static void
ngx_http_apikeys_receipts_notified(ngx_http_apikeys_receipts_t *receipts,
    ngx_apikeys_pg_query_t *q)
{
    ngx_uint_t  level;

    receipts->notifies = 0;

    if (q->rc == NGX_APIKEYS_PG_OK) {
        receipts->failed = 0;
        return;
    }

    receipts->changed = 1;

    /*
     * It is repeated each second.  The loss of the database is logged by the
     * pool.
     */

    level = (q->rc == NGX_APIKEYS_PG_FAILED && !receipts->failed)
            ? NGX_LOG_ERR : NGX_LOG_INFO;

    ngx_log_error(level, receipts->log, 0,
                  "apikeys: statement \"%s\" failed: %s%s%V, other nodes "
                  "may apply a committed change only with the next poll",
                  q->stmt->name, q->sqlstate, q->sqlstate[0] ? " " : "",
                  &q->message);

    receipts->failed = (q->rc == NGX_APIKEYS_PG_FAILED);
}


/* sets the timer to the first wait that is due, or to repeat a NOTIFY */

static void
ngx_http_apikeys_receipts_next(ngx_http_apikeys_receipts_t *receipts)
{
    ngx_msec_t                due, delay, age, soon;
    ngx_queue_t              *q;
    ngx_http_apikeys_receipt_t  *w;

    if (receipts->event.posted
        || (!receipts->changed && ngx_queue_empty(&receipts->waits)))
    {
        return;
    }

    if (receipts->again) {
        ngx_post_event(&receipts->event, &ngx_posted_events);
        return;
    }

    delay = NGX_HTTP_APIKEYS_RECEIPT_MAX;
    soon = receipts->usual / 8 * 3 / 4;

    for (q = ngx_queue_head(&receipts->waits);
         q != ngx_queue_sentinel(&receipts->waits);
         q = ngx_queue_next(q))
    {
        w = ngx_queue_data(q, ngx_http_apikeys_receipt_t, queue);

        age = ngx_current_msec - w->start;
        due = ngx_max(age / 3, NGX_HTTP_APIKEYS_RECEIPT_MIN);

        if (age < soon) {
            due = ngx_max(due, soon - age);
        }

        if (age < w->limit) {
            due = ngx_min(due, w->limit - age);
        }

        delay = ngx_min(delay, due);
    }

    ngx_add_timer(&receipts->event, delay);
}
