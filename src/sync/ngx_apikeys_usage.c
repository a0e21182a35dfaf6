
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Two hash tables of fixed size with open addressing: requests are counted in
 * one, the other is empty or is being flushed to the database.  A table that
 * fills up is flushed at once.  While the other one is still being flushed,
 * requests of further entries are not counted (metric "dropped").
 *
 * The flush timer runs only while there are counts, and is not cancelable: a
 * worker flushes before it quits.  A killed worker loses the counts of one
 * interval at most.  A flush whose outcome is unknown is not repeated, so
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

/* 32-bit words that are hashed: key id, entry address, entry prefix */
#define NGX_APIKEYS_USAGE_WORDS        8

/* of an array: its header, and a value with its length in each of the five */
#define NGX_APIKEYS_USAGE_ARRAY_LEN    20
#define NGX_APIKEYS_USAGE_ROW_LEN                                            \
    (5 * 4 + NGX_APIKEYS_OBJECTID_TEXT_LEN + 2 * (4 + 16) + 2 * 8)


/* parameters of flush_usage() */
enum {
    NGX_APIKEYS_USAGE_KEYS = 0,
    NGX_APIKEYS_USAGE_ENTRIES,
    NGX_APIKEYS_USAGE_COUNTS,
    NGX_APIKEYS_USAGE_TIMES,
    NGX_APIKEYS_USAGE_ADDRESSES,
    NGX_APIKEYS_USAGE_COLUMNS
};


typedef struct {
    ngx_apikeys_objectid_t    key;
    ngx_apikeys_cidr_t        entry;
    ngx_apikeys_cidr_t        address;     /* the last */
    time_t                    last;
    uint64_t                  count;
} ngx_apikeys_usage_row_t;


/* a flush reads the rows that are used, and clears the slots alone */
typedef struct {
    ngx_uint_t                nrows;
    uint16_t                  slots[NGX_APIKEYS_USAGE_SIZE];
                                           /* a row, plus 1; 0: free */
    ngx_apikeys_usage_row_t   rows[NGX_APIKEYS_USAGE_FULL];
} ngx_apikeys_usage_table_t;


struct ngx_apikeys_usage_s {
    /* ngx_event_ident() reads ((ngx_connection_t *) data)->fd in debug logs */
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
    ngx_apikeys_failure_t      *failure;
    ngx_uint_t                  last_failed;   /* the last flush has failed */
    uint64_t                    seed[NGX_APIKEYS_USAGE_WORDS + 1];
};


static ngx_apikeys_usage_row_t *ngx_apikeys_usage_row(
    ngx_apikeys_usage_t *usage, const ngx_apikeys_objectid_t *key,
    const ngx_apikeys_cidr_t *entry);
static ngx_uint_t ngx_apikeys_usage_slot(ngx_apikeys_usage_t *usage,
    const ngx_apikeys_objectid_t *key, const ngx_apikeys_cidr_t *entry);
static void ngx_apikeys_usage_flush_handler(ngx_event_t *ev);
static ngx_int_t ngx_apikeys_usage_flush(ngx_apikeys_usage_t *usage);
static ngx_str_t *ngx_apikeys_usage_params(ngx_apikeys_usage_t *usage);
static u_char *ngx_apikeys_usage_write(u_char *p, ngx_uint_t column,
    ngx_apikeys_usage_table_t *table);
static u_char *ngx_apikeys_usage_write_inet(u_char *p,
    const ngx_apikeys_cidr_t *address, ngx_uint_t cidr);
static u_char *ngx_apikeys_usage_write_32(u_char *p, uint32_t n);
static u_char *ngx_apikeys_usage_write_64(u_char *p, uint64_t n);
static void ngx_apikeys_usage_done(ngx_apikeys_pg_query_t *q);
static void ngx_apikeys_usage_failed(ngx_apikeys_usage_t *usage,
    const ngx_str_t *message);
static void ngx_apikeys_usage_restore(ngx_apikeys_usage_t *usage);
static void ngx_apikeys_usage_clear(ngx_apikeys_usage_t *usage);
static void ngx_apikeys_usage_rearm(ngx_apikeys_usage_t *usage);


static const ngx_apikeys_pg_stmt_t  ngx_apikeys_usage_stmt = {
    "apikeys_usage",
    "SELECT apikeys.flush_usage($1, $2, $3, $4, $5)",
    NGX_APIKEYS_USAGE_COLUMNS, 1
};


/* pg_type of the elements: text, cidr, bigint, double precision, inet */
static const uint32_t  ngx_apikeys_usage_types[NGX_APIKEYS_USAGE_COLUMNS] = {
    [NGX_APIKEYS_USAGE_KEYS] = 25,
    [NGX_APIKEYS_USAGE_ENTRIES] = 650,
    [NGX_APIKEYS_USAGE_COUNTS] = 20,
    [NGX_APIKEYS_USAGE_TIMES] = 701,
    [NGX_APIKEYS_USAGE_ADDRESSES] = 869
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

        /* usage_done() will start the timer */

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


/* finds or adds the row of a key and an entry; NULL: the table is full */

static ngx_apikeys_usage_row_t *
ngx_apikeys_usage_row(ngx_apikeys_usage_t *usage,
    const ngx_apikeys_objectid_t *key, const ngx_apikeys_cidr_t *entry)
{
    uint16_t                   *slot;
    ngx_uint_t                  i;
    ngx_apikeys_usage_row_t    *row;
    ngx_apikeys_usage_table_t  *table;

    table = usage->counting;

    for (i = ngx_apikeys_usage_slot(usage, key, entry); /* void */ ; i++) {
        slot = &table->slots[i & (NGX_APIKEYS_USAGE_SIZE - 1)];

        if (*slot == 0) {
            break;
        }

        row = &table->rows[*slot - 1];

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

    row = &table->rows[table->nrows++];
    *slot = (uint16_t) table->nrows;

    usage->stat->pending++;

    row->key = *key;
    row->entry = *entry;
    row->last = 0;
    row->count = 0;

    return row;
}


/*
 * Slot at which the search begins.  The owner of a key can choose its entries:
 * vector multiply-shift hashing with secret multipliers, as in the store,
 * keeps anyone from choosing entries with the same slot.
 */

static ngx_uint_t
ngx_apikeys_usage_slot(ngx_apikeys_usage_t *usage,
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

    /* mix again, so that consecutive ids and addresses do not cluster */

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

        /* called early, because the table is full */

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
    q->binary = 1;
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


/*
 * Arrays in binary format (array_recv() of PostgreSQL), each column in one pass
 * over the rows: most of a flush in text was the printing of addresses.
 */

static ngx_str_t *
ngx_apikeys_usage_params(ngx_apikeys_usage_t *usage)
{
    u_char                     *p;
    ngx_str_t                  *params;
    ngx_uint_t                  column;
    ngx_apikeys_usage_table_t  *table;

    table = usage->flushing;

    params = ngx_palloc(usage->pool,
                        NGX_APIKEYS_USAGE_COLUMNS * sizeof(ngx_str_t));
    p = ngx_pnalloc(usage->pool,
                    NGX_APIKEYS_USAGE_COLUMNS * NGX_APIKEYS_USAGE_ARRAY_LEN
                    + table->nrows * NGX_APIKEYS_USAGE_ROW_LEN);

    if (params == NULL || p == NULL) {
        return NULL;
    }

    for (column = 0; column < NGX_APIKEYS_USAGE_COLUMNS; column++) {
        params[column].data = p;

        p = ngx_apikeys_usage_write(p, column, table);

        params[column].len = p - params[column].data;
    }

    return params;
}


static u_char *
ngx_apikeys_usage_write(u_char *p, ngx_uint_t column,
    ngx_apikeys_usage_table_t *table)
{
    double                    last;
    uint64_t                  bits;
    ngx_uint_t                i;
    ngx_apikeys_usage_row_t  *row;

    /* dimensions, no nulls, type of the elements, their number, first index */

    p = ngx_apikeys_usage_write_32(p, 1);
    p = ngx_apikeys_usage_write_32(p, 0);
    p = ngx_apikeys_usage_write_32(p, ngx_apikeys_usage_types[column]);
    p = ngx_apikeys_usage_write_32(p, (uint32_t) table->nrows);
    p = ngx_apikeys_usage_write_32(p, 1);

    for (i = 0; i < table->nrows; i++) {
        row = &table->rows[i];

        switch (column) {

        case NGX_APIKEYS_USAGE_KEYS:
            p = ngx_apikeys_usage_write_32(p, NGX_APIKEYS_OBJECTID_TEXT_LEN);
            p = ngx_apikeys_objectid_write(p, &row->key);
            break;

        case NGX_APIKEYS_USAGE_ENTRIES:
            p = ngx_apikeys_usage_write_inet(p, &row->entry, 1);
            break;

        case NGX_APIKEYS_USAGE_COUNTS:
            p = ngx_apikeys_usage_write_64(p, row->count);
            break;

        case NGX_APIKEYS_USAGE_TIMES:
            last = (double) row->last;
            ngx_memcpy(&bits, &last, sizeof(uint64_t));
            p = ngx_apikeys_usage_write_64(p, bits);
            break;

        default: /* NGX_APIKEYS_USAGE_ADDRESSES */
            p = ngx_apikeys_usage_write_inet(p, &row->address, 0);
        }
    }

    return p;
}


/* network_recv() of PostgreSQL: family, bits, is it a cidr, bytes */

static u_char *
ngx_apikeys_usage_write_inet(u_char *p, const ngx_apikeys_cidr_t *address,
    ngx_uint_t cidr)
{
    size_t  len;

    len = (address->family == 4) ? 4 : 16;

    p = ngx_apikeys_usage_write_32(p, (uint32_t) (4 + len));

    *p++ = (address->family == 4) ? 2 : 3;
    *p++ = cidr ? address->prefix : (u_char) (8 * len);
    *p++ = (u_char) cidr;
    *p++ = (u_char) len;

    return ngx_cpymem(p, address->addr, len);
}


static u_char *
ngx_apikeys_usage_write_32(u_char *p, uint32_t n)
{
    n = htonl(n);

    return ngx_cpymem(p, &n, sizeof(uint32_t));
}


/* with its length, as all elements */

static u_char *
ngx_apikeys_usage_write_64(u_char *p, uint64_t n)
{
    p = ngx_apikeys_usage_write_32(p, sizeof(uint64_t));
    p = ngx_apikeys_usage_write_32(p, (uint32_t) (n >> 32));

    return ngx_apikeys_usage_write_32(p, (uint32_t) n);
}


static void
ngx_apikeys_usage_done(ngx_apikeys_pg_query_t *q)
{
    uint64_t              seconds;
    ngx_apikeys_usage_t  *usage;

    usage = q->data;

    if (q->rc == NGX_APIKEYS_PG_OK) {
        usage->stat->flushes++;
        usage->last_failed = 0;

        if (ngx_apikeys_failure_over(usage->failure, &seconds)) {
            ngx_log_error(NGX_LOG_NOTICE, usage->log, 0,
                          "apikeys: storing usage counters of access lists "
                          "again, after %uL s", seconds);
        }

    } else {
        ngx_apikeys_usage_failed(usage, &q->message);

        if (!q->unknown) {
            ngx_apikeys_usage_restore(usage);
        }
    }

    ngx_apikeys_usage_clear(usage);

    usage->query = NULL;

    /* the query is in this pool, and is not used after its handler */

    ngx_destroy_pool(usage->pool);
    usage->pool = NULL;

    ngx_apikeys_usage_rearm(usage);
}


static void
ngx_apikeys_usage_failed(ngx_apikeys_usage_t *usage, const ngx_str_t *message)
{
    uint64_t  seconds;

    usage->stat->failures++;
    usage->last_failed = 1;

    if (ngx_apikeys_failure_due(usage->failure, &seconds)) {
        ngx_log_error(NGX_LOG_ERR, usage->log, 0,
                      "apikeys: cannot store usage counters of access lists, "
                      "will retry: %V, for %uL s", message, seconds);
    }
}


/* adds the counts of a failed flush back to the current table */

static void
ngx_apikeys_usage_restore(ngx_apikeys_usage_t *usage)
{
    ngx_uint_t                i;
    ngx_apikeys_usage_row_t  *row, *old;

    for (i = 0; i < usage->flushing->nrows; i++) {

        old = &usage->flushing->rows[i];

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

    usage->flushing->nrows = 0;

    ngx_memzero(usage->flushing->slots, sizeof(usage->flushing->slots));
}


static void
ngx_apikeys_usage_rearm(ngx_apikeys_usage_t *usage)
{
    if (usage->counting->nrows == 0) {
        return;
    }

    if (ngx_exiting && usage->last_failed) {

        /* the database is unavailable: exit, and lose the counts */

        return;
    }

    ngx_add_timer(&usage->event, NGX_APIKEYS_USAGE_INTERVAL);
}


ngx_apikeys_usage_t *
ngx_apikeys_usage_create(ngx_cycle_t *cycle, ngx_apikeys_pg_pool_t *pp,
    ngx_apikeys_usage_stat_t *stat, ngx_apikeys_failure_t *failure)
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
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                      "apikeys: RAND_bytes() failed");
        return NULL;
    }

    stat->pending = 0;

    usage->stat = stat;
    usage->failure = failure;
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
