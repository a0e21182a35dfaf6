
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Two tables of fixed size, open addressing: one is being counted into, the
 * other is empty or on its way to the database.  A table that fills up is
 * flushed at once; while the other is still under way, requests of further
 * entries are not counted, which the figures show.
 *
 * The flush timer runs only while there is something to flush, and is not
 * cancelable: a worker that quits flushes first.  One that is killed loses
 * at most an interval.  A flush whose outcome is unknown is not repeated, so
 * nothing is counted twice.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <openssl/rand.h>

#include <ngx_apikeys_usage.h>


#define NGX_APIKEYS_USAGE_BITS         12
#define NGX_APIKEYS_USAGE_SIZE         (1 << NGX_APIKEYS_USAGE_BITS)
#define NGX_APIKEYS_USAGE_FULL         (NGX_APIKEYS_USAGE_SIZE / 4 * 3)

/* of a key's id, an entry's address and its prefix */
#define NGX_APIKEYS_USAGE_WORDS        8

/* one value and its comma in each of the five arrays */
#define NGX_APIKEYS_USAGE_ROW_LEN                                            \
    (NGX_APIKEYS_OBJECTID_TEXT_LEN + 2 * NGX_APIKEYS_CIDR_TEXT_LEN           \
     + NGX_INT64_LEN + NGX_TIME_T_LEN + 5)


typedef struct {
    ngx_apikeys_objectid_t    key;
    ngx_apikeys_cidr_t        entry;
    ngx_apikeys_cidr_t        address;     /* the last */
    time_t                    last;
    uint64_t                  count;       /* 0: free */
} ngx_apikeys_usage_row_t;


typedef struct {
    ngx_uint_t                nrows;
    ngx_apikeys_usage_row_t   rows[NGX_APIKEYS_USAGE_SIZE];
} ngx_apikeys_usage_table_t;


struct ngx_apikeys_usage_s {
    /* what debug logs of a timer read, as a connection's descriptor */
    void                       *dummy[3];
    ngx_socket_t                fd;

    ngx_apikeys_usage_table_t  *counting;
    ngx_apikeys_usage_table_t  *flushing;
    ngx_apikeys_pg_pool_t      *pp;
    ngx_apikeys_pg_query_t     *query;     /* under way, or NULL */
    ngx_pool_t                 *pool;      /* of the query */
    ngx_log_t                  *log;
    ngx_event_t                 event;
    ngx_apikeys_usage_stat_t   *stat;
    ngx_uint_t                  failing;   /* said so in the log */
    uint64_t                    seed[NGX_APIKEYS_USAGE_WORDS + 1];
};


static ngx_apikeys_usage_row_t *ngx_apikeys_usage_row(
    ngx_apikeys_usage_t *usage, const ngx_apikeys_objectid_t *key,
    const ngx_apikeys_cidr_t *entry);
static ngx_uint_t ngx_apikeys_usage_place(ngx_apikeys_usage_t *usage,
    const ngx_apikeys_objectid_t *key, const ngx_apikeys_cidr_t *entry);
static void ngx_apikeys_usage_flush_handler(ngx_event_t *ev);
static ngx_int_t ngx_apikeys_usage_flush(ngx_apikeys_usage_t *usage);
static ngx_str_t *ngx_apikeys_usage_params(ngx_apikeys_usage_t *usage);
static u_char *ngx_apikeys_usage_write(u_char *p, ngx_uint_t column,
    ngx_apikeys_usage_row_t *row);
static void ngx_apikeys_usage_done(ngx_apikeys_pg_query_t *q);
static void ngx_apikeys_usage_failed(ngx_apikeys_usage_t *usage,
    const ngx_str_t *message);
static void ngx_apikeys_usage_restore(ngx_apikeys_usage_t *usage);
static void ngx_apikeys_usage_clear(ngx_apikeys_usage_t *usage);
static void ngx_apikeys_usage_rearm(ngx_apikeys_usage_t *usage);


static const ngx_apikeys_pg_stmt_t  ngx_apikeys_usage_stmt = {
    "apikeys_usage",
    "SELECT apikeys.flush_usage($1, $2, $3, $4, $5)",
    5, 1
};


void
ngx_apikeys_usage_count(ngx_apikeys_usage_t *usage,
    const ngx_apikeys_objectid_t *key, const ngx_apikeys_cidr_t *entry,
    const ngx_apikeys_cidr_t *address)
{
    ngx_apikeys_usage_row_t  *row;

    row = ngx_apikeys_usage_row(usage, key, entry);

    if (row == NULL) {
        usage->stat->dropped++;
        return;
    }

    row->count++;
    row->address = *address;
    row->last = ngx_time();

    if (usage->query) {

        /* its end will arm the timer */

        return;
    }

    if (usage->counting->nrows >= NGX_APIKEYS_USAGE_FULL) {
        ngx_post_event(&usage->event, &ngx_posted_events);
        return;
    }

    if (!usage->event.timer_set) {
        ngx_add_timer(&usage->event, NGX_APIKEYS_USAGE_INTERVAL);
    }
}


/* the row of a key and an entry, made when there is room */

static ngx_apikeys_usage_row_t *
ngx_apikeys_usage_row(ngx_apikeys_usage_t *usage,
    const ngx_apikeys_objectid_t *key, const ngx_apikeys_cidr_t *entry)
{
    ngx_uint_t                  i;
    ngx_apikeys_usage_row_t    *row;
    ngx_apikeys_usage_table_t  *table;

    table = usage->counting;

    for (i = ngx_apikeys_usage_place(usage, key, entry); /* void */ ; i++) {
        row = &table->rows[i & (NGX_APIKEYS_USAGE_SIZE - 1)];

        if (row->count == 0) {
            break;
        }

        if (ngx_memcmp(&row->key, key, sizeof(ngx_apikeys_objectid_t)) == 0
            && ngx_memcmp(&row->entry, entry, sizeof(ngx_apikeys_cidr_t))
               == 0)
        {
            return row;
        }
    }

    if (table->nrows >= NGX_APIKEYS_USAGE_FULL) {
        return NULL;
    }

    table->nrows++;
    usage->stat->pending++;

    row->key = *key;
    row->entry = *entry;

    return row;
}


/*
 * Where the search begins.  Whoever has a key chooses its entries: a vector
 * multiply-shift hash with secret multipliers, as the store's, lets nobody
 * choose a long chain.
 */

static ngx_uint_t
ngx_apikeys_usage_place(ngx_apikeys_usage_t *usage,
    const ngx_apikeys_objectid_t *key, const ngx_apikeys_cidr_t *entry)
{
    uint32_t    word[NGX_APIKEYS_USAGE_WORDS];
    uint64_t    hash;
    ngx_uint_t  i;

    ngx_memcpy(&word[0], key->data, NGX_APIKEYS_OBJECTID_LEN);
    ngx_memcpy(&word[3], entry->addr, sizeof(entry->addr));
    word[7] = entry->prefix;

    hash = usage->seed[NGX_APIKEYS_USAGE_WORDS];

    for (i = 0; i < NGX_APIKEYS_USAGE_WORDS; i++) {
        hash += usage->seed[i] * word[i];
    }

    /* rows that follow each other must not lie side by side */

    hash = (hash ^ (hash >> 32)) * 0x9e3779b97f4a7c15;

    return hash >> (64 - NGX_APIKEYS_USAGE_BITS);
}


static void
ngx_apikeys_usage_flush_handler(ngx_event_t *ev)
{
    ngx_apikeys_usage_t        *usage;
    ngx_apikeys_usage_table_t  *table;

    static const ngx_str_t  message = ngx_string("no statement can be sent");

    usage = ev->data;

    if (usage->query || usage->counting->nrows == 0) {
        return;
    }

    if (ev->timer_set) {

        /* the table was full before the time */

        ngx_del_timer(ev);
    }

    table = usage->flushing;
    usage->flushing = usage->counting;
    usage->counting = table;

    if (ngx_apikeys_usage_flush(usage) != NGX_OK) {
        ngx_apikeys_usage_failed(usage, &message);
        ngx_apikeys_usage_restore(usage);
        ngx_apikeys_usage_rearm(usage);
    }
}


static ngx_int_t
ngx_apikeys_usage_flush(ngx_apikeys_usage_t *usage)
{
    ngx_apikeys_pg_query_t  *q;

    usage->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, usage->log);
    if (usage->pool == NULL) {
        return NGX_ERROR;
    }

    q = ngx_apikeys_pg_query_create(usage->pp, usage->pool, usage->log);
    if (q == NULL) {
        goto failed;
    }

    q->stmt = &ngx_apikeys_usage_stmt;
    q->params = ngx_apikeys_usage_params(usage);
    q->handler = ngx_apikeys_usage_done;
    q->data = usage;

    if (q->params == NULL || ngx_apikeys_pg_query_start(q) != NGX_AGAIN) {
        goto failed;
    }

    usage->query = q;

    return NGX_OK;

failed:

    ngx_destroy_pool(usage->pool);
    usage->pool = NULL;

    return NGX_ERROR;
}


/* five arrays: keys, entries, counts, times, addresses */

static ngx_str_t *
ngx_apikeys_usage_params(ngx_apikeys_usage_t *usage)
{
    u_char                     *p;
    ngx_str_t                  *params;
    ngx_uint_t                  i, column;
    ngx_apikeys_usage_table_t  *table;

    table = usage->flushing;

    params = ngx_palloc(usage->pool, 5 * sizeof(ngx_str_t));
    p = ngx_pnalloc(usage->pool,
                    5 * 2 + table->nrows * NGX_APIKEYS_USAGE_ROW_LEN);

    if (params == NULL || p == NULL) {
        return NULL;
    }

    for (column = 0; column < 5; column++) {

        params[column].data = p;

        *p++ = '{';

        for (i = 0; i < NGX_APIKEYS_USAGE_SIZE; i++) {

            if (table->rows[i].count) {
                p = ngx_apikeys_usage_write(p, column, &table->rows[i]);
                *p++ = ',';
            }
        }

        /* the last comma */

        p[-1] = '}';

        params[column].len = p - params[column].data;
    }

    return params;
}


static u_char *
ngx_apikeys_usage_write(u_char *p, ngx_uint_t column,
    ngx_apikeys_usage_row_t *row)
{
    switch (column) {

    case 0:
        return ngx_apikeys_objectid_write(p, &row->key);

    case 1:
        return ngx_apikeys_cidr_write_block(p, &row->entry);

    case 2:
        return ngx_sprintf(p, "%uL", row->count);

    case 3:
        return ngx_sprintf(p, "%T", row->last);

    default:
        return ngx_apikeys_cidr_write_address(p, &row->address);
    }
}


static void
ngx_apikeys_usage_done(ngx_apikeys_pg_query_t *q)
{
    ngx_apikeys_usage_t  *usage;

    usage = q->data;

    if (q->rc == NGX_APIKEYS_PG_OK) {
        usage->stat->flushes++;
        usage->failing = 0;

    } else {
        ngx_apikeys_usage_failed(usage, &q->message);

        if (!q->unknown) {
            ngx_apikeys_usage_restore(usage);
        }
    }

    ngx_apikeys_usage_clear(usage);

    usage->query = NULL;

    /* the query lives in the pool, and is not looked at after its handler */

    ngx_destroy_pool(usage->pool);
    usage->pool = NULL;

    ngx_apikeys_usage_rearm(usage);
}


static void
ngx_apikeys_usage_failed(ngx_apikeys_usage_t *usage, const ngx_str_t *message)
{
    usage->stat->failures++;

    if (!usage->failing) {
        ngx_log_error(NGX_LOG_ERR, usage->log, 0,
                      "apikeys: the use of access list entries could not be "
                      "stored: %V", message);
    }

    usage->failing = 1;
}


/* what was not stored counts with what came since */

static void
ngx_apikeys_usage_restore(ngx_apikeys_usage_t *usage)
{
    ngx_uint_t                i;
    ngx_apikeys_usage_row_t  *row, *old;

    for (i = 0; i < NGX_APIKEYS_USAGE_SIZE; i++) {

        old = &usage->flushing->rows[i];

        if (old->count == 0) {
            continue;
        }

        row = ngx_apikeys_usage_row(usage, &old->key, &old->entry);

        if (row == NULL) {
            usage->stat->dropped += old->count;
            continue;
        }

        if (row->last <= old->last) {
            row->last = old->last;
            row->address = old->address;
        }

        row->count += old->count;
    }

    ngx_apikeys_usage_clear(usage);
}


static void
ngx_apikeys_usage_clear(ngx_apikeys_usage_t *usage)
{
    usage->stat->pending -= usage->flushing->nrows;

    ngx_memzero(usage->flushing, sizeof(ngx_apikeys_usage_table_t));
}


static void
ngx_apikeys_usage_rearm(ngx_apikeys_usage_t *usage)
{
    if (usage->counting->nrows == 0) {
        return;
    }

    if (ngx_exiting && usage->failing) {

        /* the database is away: the counts go with the worker */

        return;
    }

    ngx_add_timer(&usage->event, NGX_APIKEYS_USAGE_INTERVAL);
}


ngx_apikeys_usage_t *
ngx_apikeys_usage_create(ngx_cycle_t *cycle, ngx_apikeys_pg_pool_t *pp,
    ngx_apikeys_usage_stat_t *stat)
{
    ngx_apikeys_usage_t  *usage;

    usage = ngx_pcalloc(cycle->pool, sizeof(ngx_apikeys_usage_t));
    if (usage == NULL) {
        return NULL;
    }

    usage->counting = ngx_pcalloc(cycle->pool,
                                  sizeof(ngx_apikeys_usage_table_t));
    usage->flushing = ngx_pcalloc(cycle->pool,
                                  sizeof(ngx_apikeys_usage_table_t));

    if (usage->counting == NULL || usage->flushing == NULL) {
        return NULL;
    }

    if (RAND_bytes((u_char *) usage->seed, sizeof(usage->seed)) != 1) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0, "RAND_bytes() failed");
        return NULL;
    }

    stat->pending = 0;

    usage->stat = stat;
    usage->fd = (ngx_socket_t) -1;
    usage->pp = pp;
    usage->log = cycle->log;

    usage->event.handler = ngx_apikeys_usage_flush_handler;
    usage->event.data = usage;
    usage->event.log = cycle->log;

    return usage;
}


void
ngx_apikeys_usage_destroy(ngx_apikeys_usage_t *usage)
{
    if (usage->event.timer_set) {
        ngx_del_timer(&usage->event);
    }

    if (usage->event.posted) {
        ngx_delete_posted_event(&usage->event);
    }

    if (usage->query) {
        ngx_apikeys_pg_query_cancel(usage->query);
        usage->query = NULL;

        ngx_destroy_pool(usage->pool);
        usage->pool = NULL;
    }
}
