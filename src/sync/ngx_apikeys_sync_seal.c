
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Rotation of the master key.  Each heartbeat reports the lines of the node's
 * master key file, and returns which line encrypts new secrets and which lines
 * the database needs.  One node encrypts secrets of other lines anew with the
 * first line.
 *
 * This begins when all nodes have the same first line, and is done in batches:
 * read the secrets of some keys, decrypt and encrypt them here, write those
 * that have not changed meanwhile.  All progress is in the database: when a
 * process is killed, another one continues.  A secret that cannot be decrypted
 * is skipped, as is a key that another transaction has locked; the next pass
 * tries them again.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_clock.h>
#include <ngx_apikeys_sync_int.h>


/* secrets per batch, and ms between batches: 200 per second, 20 us each */
#define NGX_APIKEYS_SYNC_SEAL_BATCH     "50"
#define NGX_APIKEYS_SYNC_SEAL_INTERVAL  250

/* ms after a pass that has encrypted none or all */
#define NGX_APIKEYS_SYNC_SEAL_PAUSE     60000

/* ms between log messages about missing lines */
#define NGX_APIKEYS_SYNC_SEAL_LOG       60000


/* columns of the result of a heartbeat */
enum {
    NGX_APIKEYS_SYNC_SEAL_DONE = 0,
    NGX_APIKEYS_SYNC_SEAL_SEALS,
    NGX_APIKEYS_SYNC_SEAL_LINES,
    NGX_APIKEYS_SYNC_SEAL_ANEW
};


/* encrypted secrets: as they are, and with the first line */
typedef struct {
    ngx_uint_t                    n;
    ngx_apikeys_objectid_t       *ids;
    u_char                      (*old)[NGX_APIKEYS_SEALED_LEN];
    u_char                      (*new)[NGX_APIKEYS_SEALED_LEN];
} ngx_apikeys_sync_seal_batch_t;


static void ngx_apikeys_sync_seal_missing(ngx_apikeys_sync_t *sync);
static ngx_int_t ngx_apikeys_sync_seal_line(ngx_apikeys_sync_t *sync,
    ngx_str_t *line);
static void ngx_apikeys_sync_seal_read_done(ngx_apikeys_pg_query_t *q);
static ngx_int_t ngx_apikeys_sync_seal_rows(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q, ngx_str_t *params);
static ngx_int_t ngx_apikeys_sync_seal_row(ngx_apikeys_sync_t *sync,
    ngx_apikeys_sync_row_t *row, ngx_apikeys_sync_seal_batch_t *batch);
static ngx_int_t ngx_apikeys_sync_seal_secret(ngx_apikeys_sync_t *sync,
    ngx_apikeys_sync_row_t *row, ngx_uint_t id_column,
    ngx_uint_t secret_column, const ngx_apikeys_objectid_t *id,
    ngx_apikeys_sync_seal_batch_t *batch);
static void ngx_apikeys_sync_seal_write_done(ngx_apikeys_pg_query_t *q);
static void ngx_apikeys_sync_seal_end(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_seal_end_done(ngx_apikeys_pg_query_t *q);


static const ngx_apikeys_pg_stmt_t  ngx_apikeys_sync_seal_read_stmt = {
    "apikeys_sync_sealed_otherwise",
    "SELECT " NGX_APIKEYS_STATE
    " FROM apikeys.sealed_otherwise($1, $2, $3)",
    3, 0
};


static const ngx_apikeys_pg_stmt_t  ngx_apikeys_sync_seal_write_stmt = {
    "apikeys_sync_seal_anew",
    "SELECT apikeys.seal_anew($1, $2, $3)",
    3, 1
};


static const ngx_apikeys_pg_stmt_t  ngx_apikeys_sync_seal_end_stmt = {
    "apikeys_sync_end_pass",
    "SELECT apikeys.end_pass($1)",
    1, 1
};


ngx_int_t
ngx_apikeys_sync_seal_lines(ngx_apikeys_sync_t *sync, ngx_str_t *array)
{
    u_char      lines[NGX_APIKEYS_SEAL_MAX_KEYS][NGX_APIKEYS_SEAL_LINE_LEN];
    ngx_uint_t  i, n;

    n = ngx_apikeys_seal_nkeys(sync->conf->seal);

    for (i = 0; i < n; i++) {
        ngx_memcpy(lines[i], ngx_apikeys_seal_line(sync->conf->seal, i),
                   NGX_APIKEYS_SEAL_LINE_LEN);
    }

    return ngx_apikeys_sync_array(sync->pool, array, lines, n,
                                  NGX_APIKEYS_SEAL_LINE_LEN);
}


void
ngx_apikeys_sync_seal_heartbeat_result(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q)
{
    ngx_str_t             value;
    ngx_apikeys_store_t  *store;

    store = sync->conf->store;

    ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_SYNC_SEAL_SEALS, &value);
    ngx_apikeys_store_set_sealing_line(store, &value);

    ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_SYNC_SEAL_LINES, &value);

    /* if the zone is locked, the next heartbeat does it */

    if (ngx_apikeys_store_lock(store) == NGX_OK) {

        if (ngx_apikeys_store_lease_held(store)) {
            ngx_apikeys_store_lines_needed_locked(store, &value);
        }

        ngx_apikeys_store_unlock(store);
    }

    ngx_apikeys_sync_seal_missing(sync);

    sync->reseals = 0;

    if (ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_SYNC_SEAL_ANEW, &value)
        != NGX_OK)
    {
        return;
    }

    if (value.len == 0) {
        sync->reseals = 1;
        return;
    }

    ngx_log_error(NGX_LOG_INFO, sync->log, 0,
                  "apikeys: secrets are not encrypted anew while node %V has "
                  "another first line in apikeys_master_key_file", &value);
}


static void
ngx_apikeys_sync_seal_missing(ngx_apikeys_sync_t *sync)
{
    u_char    line[NGX_APIKEYS_SEAL_LINE_LEN];
    u_char    text[NGX_APIKEYS_SEAL_LINE_TEXT];
    uint64_t  keys, now;

    keys = ngx_apikeys_store_lines_missing(sync->conf->store, line);
    now = ngx_apikeys_clock_boot_ms();

    if (keys == 0
        || (sync->missing_logged_at
            && now - sync->missing_logged_at < NGX_APIKEYS_SYNC_SEAL_LOG))
    {
        return;
    }

    sync->missing_logged_at = now;

    (void) ngx_hex_dump(text, line, sizeof(line));

    ngx_log_error(NGX_LOG_ERR, sync->log, 0,
                  "apikeys: requests with %uL API keys get 503, "
                  "apikeys_master_key_file lacks the line %*s: put that line "
                  "back and reload",
                  keys, sizeof(text), text);
}


void
ngx_apikeys_sync_seal_begin(ngx_apikeys_sync_t *sync)
{
    sync->nsealed = 0;
    sync->sealed_at = 0;
    sync->seal_pass_ended_at = 0;

    ngx_memzero(sync->sealed_id, sizeof(sync->sealed_id));
}


ngx_msec_t
ngx_apikeys_sync_seal_next_delay(ngx_apikeys_sync_t *sync)
{
    return (sync->reseals && sync->seal_pass_ended_at == 0)
           ? NGX_APIKEYS_SYNC_SEAL_INTERVAL : NGX_MAX_INT_T_VALUE;
}


void
ngx_apikeys_sync_seal_anew(ngx_apikeys_sync_t *sync)
{
    uint64_t   now;
    ngx_str_t  params[3];

    now = ngx_apikeys_clock_boot_ms();

    if (!sync->reseals
        || now - sync->sealed_at < NGX_APIKEYS_SYNC_SEAL_INTERVAL
        || (sync->seal_pass_ended_at
            && now - sync->seal_pass_ended_at < NGX_APIKEYS_SYNC_SEAL_PAUSE))
    {
        ngx_apikeys_sync_round_succeeded(sync);
        return;
    }

    sync->seal_pass_ended_at = 0;
    sync->sealed_at = now;

    if (ngx_apikeys_sync_seal_line(sync, &params[0]) != NGX_OK) {
        ngx_apikeys_sync_no_memory(sync);
        return;
    }

    params[1].data = sync->sealed_id;
    params[1].len = sync->sealed_id[0] ? NGX_APIKEYS_OBJECTID_TEXT_LEN : 0;

    ngx_str_set(&params[2], NGX_APIKEYS_SYNC_SEAL_BATCH);

    ngx_apikeys_sync_query(sync, &ngx_apikeys_sync_seal_read_stmt, params, 0,
                           ngx_apikeys_sync_seal_read_done, NULL);
}


/* the first line, in hex */

static ngx_int_t
ngx_apikeys_sync_seal_line(ngx_apikeys_sync_t *sync, ngx_str_t *line)
{
    line->data = ngx_pnalloc(sync->pool, NGX_APIKEYS_SEAL_LINE_TEXT);
    if (line->data == NULL) {
        return NGX_ERROR;
    }

    line->len = ngx_hex_dump(line->data, (u_char *)
                                   ngx_apikeys_seal_line(sync->conf->seal, 0),
                             NGX_APIKEYS_SEAL_LINE_LEN)
                - line->data;

    return NGX_OK;
}


static void
ngx_apikeys_sync_seal_read_done(ngx_apikeys_pg_query_t *q)
{
    ngx_str_t            params[3];
    ngx_apikeys_sync_t  *sync;

    sync = ngx_apikeys_sync_query_result(q);

    if (sync == NULL) {
        return;
    }

    if (ngx_apikeys_pg_query_nrows(q) == 0) {
        ngx_apikeys_sync_seal_end(sync);
        return;
    }

    if (ngx_apikeys_sync_seal_rows(sync, q, params) != NGX_OK) {
        ngx_apikeys_sync_no_memory(sync);
        return;
    }

    ngx_apikeys_sync_query(sync, &ngx_apikeys_sync_seal_write_stmt, params, 0,
                           ngx_apikeys_sync_seal_write_done, NULL);
}


static ngx_int_t
ngx_apikeys_sync_seal_rows(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q, ngx_str_t *params)
{
    ngx_uint_t                      n;
    ngx_apikeys_sync_row_t          row;
    ngx_apikeys_sync_seal_batch_t   batch;

    n = ngx_apikeys_pg_query_nrows(q);

    batch.n = 0;

    /* a key has two secrets at most */

    batch.ids = ngx_palloc(sync->pool, 2 * n * sizeof(ngx_apikeys_objectid_t));
    batch.old = ngx_palloc(sync->pool, 2 * n * NGX_APIKEYS_SEALED_LEN);
    batch.new = ngx_palloc(sync->pool, 2 * n * NGX_APIKEYS_SEALED_LEN);

    if (batch.ids == NULL || batch.old == NULL || batch.new == NULL) {
        return NGX_ERROR;
    }

    row.query = q;
    row.column = 0;

    for (row.number = 0; row.number < n; row.number++) {

        if (ngx_apikeys_sync_seal_row(sync, &row, &batch) == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    if (ngx_apikeys_sync_array(sync->pool, &params[0], batch.ids, batch.n,
                               sizeof(ngx_apikeys_objectid_t))
        != NGX_OK
        || ngx_apikeys_sync_array(sync->pool, &params[1], batch.old, batch.n,
                                  NGX_APIKEYS_SEALED_LEN)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_apikeys_sync_array(sync->pool, &params[2], batch.new, batch.n,
                                  NGX_APIKEYS_SEALED_LEN);
}


static ngx_int_t
ngx_apikeys_sync_seal_row(ngx_apikeys_sync_t *sync,
    ngx_apikeys_sync_row_t *row, ngx_apikeys_sync_seal_batch_t *batch)
{
    ngx_str_t               text;
    ngx_apikeys_objectid_t  id;

    ngx_apikeys_pg_query_value(row->query, row->number, NGX_APIKEYS_STATE_ID,
                               &text);

    if (ngx_apikeys_objectid_parse(&id, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memcpy(sync->sealed_id, text.data, NGX_APIKEYS_OBJECTID_TEXT_LEN);

    if (ngx_apikeys_sync_seal_secret(sync, row, NGX_APIKEYS_STATE_SECRET_ID,
                                     NGX_APIKEYS_STATE_SECRET, &id, batch)
        == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    if (ngx_apikeys_pg_query_value(row->query, row->number,
                                   NGX_APIKEYS_STATE_OLDER_ID, &text)
        != NGX_OK)
    {
        return NGX_OK;
    }

    return ngx_apikeys_sync_seal_secret(sync, row, NGX_APIKEYS_STATE_OLDER_ID,
                                        NGX_APIKEYS_STATE_OLDER_SECRET, &id,
                                        batch);
}


/*
 * NGX_DECLINED: the secret was encrypted with the first line, or cannot be
 * decrypted, and is skipped
 */

static ngx_int_t
ngx_apikeys_sync_seal_secret(ngx_apikeys_sync_t *sync,
    ngx_apikeys_sync_row_t *row, ngx_uint_t id_column,
    ngx_uint_t secret_column, const ngx_apikeys_objectid_t *id,
    ngx_apikeys_sync_seal_batch_t *batch)
{
    ngx_int_t             rc;
    ngx_str_t             context;
    ngx_apikeys_secret_t  secret;

    rc = ngx_apikeys_sync_object_secret(sync->conf, sync->pool, row, id_column,
                                        secret_column, batch->old[batch->n],
                                        &context, &secret);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_memcmp(batch->old[batch->n],
                   ngx_apikeys_seal_line(sync->conf->seal, 0),
                   NGX_APIKEYS_SEAL_LINE_LEN)
        == 0)
    {
        ngx_explicit_memzero(&secret, sizeof(ngx_apikeys_secret_t));
        return NGX_DECLINED;
    }

    rc = ngx_apikeys_seal_secret(sync->conf->seal, 0, batch->new[batch->n],
                                 &secret, &context);

    ngx_explicit_memzero(&secret, sizeof(ngx_apikeys_secret_t));

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    batch->ids[batch->n] = *id;
    batch->n++;

    return NGX_OK;
}


static void
ngx_apikeys_sync_seal_write_done(ngx_apikeys_pg_query_t *q)
{
    ngx_int_t            n;
    ngx_str_t            value;
    ngx_apikeys_sync_t  *sync;

    sync = ngx_apikeys_sync_query_result(q);

    if (sync == NULL) {
        return;
    }

    ngx_apikeys_pg_query_value(q, 0, 0, &value);

    n = ngx_atoi(value.data, value.len);
    sync->nsealed += (n == NGX_ERROR) ? 0 : n;

    ngx_apikeys_sync_round_succeeded(sync);
}


static void
ngx_apikeys_sync_seal_end(ngx_apikeys_sync_t *sync)
{
    ngx_str_t  line;

    if (ngx_apikeys_sync_seal_line(sync, &line) != NGX_OK) {
        ngx_apikeys_sync_no_memory(sync);
        return;
    }

    ngx_apikeys_sync_query(sync, &ngx_apikeys_sync_seal_end_stmt, &line, 0,
                           ngx_apikeys_sync_seal_end_done, NULL);
}


static void
ngx_apikeys_sync_seal_end_done(ngx_apikeys_pg_query_t *q)
{
    ngx_str_t            left;
    ngx_uint_t           again;
    ngx_apikeys_sync_t  *sync;

    sync = ngx_apikeys_sync_query_result(q);

    if (sync == NULL) {
        return;
    }

    ngx_apikeys_pg_query_value(q, 0, 0, &left);

    ngx_log_error(NGX_LOG_NOTICE, sync->log, 0,
                  "apikeys: %uL secrets were encrypted anew with the first "
                  "line of apikeys_master_key_file, %V still need another "
                  "line",
                  sync->nsealed, &left);

    /*
     * A pass skips keys that other transactions have locked, and under load
     * the flush of usage locks many.  While passes encrypt some, the next one
     * needs no pause.
     */

    again = (sync->nsealed && !(left.len == 1 && left.data[0] == '0'));

    ngx_apikeys_sync_seal_begin(sync);

    if (!again) {
        sync->seal_pass_ended_at = ngx_apikeys_clock_boot_ms();
    }

    ngx_apikeys_sync_round_succeeded(sync);
}
