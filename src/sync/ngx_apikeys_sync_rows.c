
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Reads the rows of a feed or a load and publishes them.
 *
 * Rows are read in single-row mode, those of the feed, too: a single UPDATE in
 * psql may change every key.  They are decoded into a batch, and a full batch
 * is published before the next row is read.  An event works on rows for about
 * two milliseconds at most; further rows wait in the socket.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_clock.h>
#include <ngx_apikeys_sync_int.h>


/*
 * Columns of feed_since() and of the view load.  The first row, the header,
 * has the first five, and in "kind" the kind of the answer; all others have
 * the columns of apikeys.state, beginning with ROWS_STATE.
 */
enum {
    NGX_APIKEYS_SYNC_ROWS_DATABASE_ID = 0,
    NGX_APIKEYS_SYNC_ROWS_PG_SNAPSHOT,
    NGX_APIKEYS_SYNC_ROWS_VERSION,
    NGX_APIKEYS_SYNC_ROWS_COMPATIBLE,
    NGX_APIKEYS_SYNC_ROWS_ASKED,
    NGX_APIKEYS_SYNC_ROWS_STATE
};

#define NGX_APIKEYS_SYNC_ROWS_BATCH     128       /* rows; 32 list items count
                                                     as one row */
#define NGX_APIKEYS_SYNC_ROWS_BUDGET    2000      /* us per event */


static ngx_int_t ngx_apikeys_sync_rows_handler(ngx_apikeys_pg_query_t *q);
static ngx_int_t ngx_apikeys_sync_rows_header(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q);
static ngx_int_t ngx_apikeys_sync_rows_schema(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q);
static ngx_int_t ngx_apikeys_sync_rows_object(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q);
static ngx_uint_t ngx_apikeys_sync_rows_budget_spent(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_rows_resume(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_rows_done(ngx_apikeys_pg_query_t *q);
static void ngx_apikeys_sync_rows_publish_rest(ngx_apikeys_sync_t *sync);
static ngx_int_t ngx_apikeys_sync_rows_flush(ngx_apikeys_sync_t *sync);


void
ngx_apikeys_sync_rows_read(ngx_apikeys_sync_t *sync,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params, ngx_msec_t timeout,
    ngx_apikeys_sync_step_pt arrived)
{
    if (sync->batch_pool == NULL) {
        sync->batch_pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, sync->log);
        if (sync->batch_pool == NULL) {
            ngx_apikeys_sync_no_memory(sync);
            return;
        }
    }

    ngx_apikeys_sync_rows_abandon(sync);

    sync->rows = 0;
    sync->keys = 0;
    sync->unreadable = 0;
    sync->oversize = 0;
    sync->slice_usec = 0;
    sync->schema = 0;
    sync->header_read = 0;
    sync->reconnected = 0;
    sync->rows_done = arrived;

    /*
     * Freshness counts from here: before the statement is sent, and so before
     * the database takes its snapshot.
     */

    sync->sent_at = ngx_apikeys_clock_boot_ms();
    sync->last_row_at = sync->sent_at;

    ngx_apikeys_sync_query(sync, stmt, params, timeout,
                           ngx_apikeys_sync_rows_done,
                           ngx_apikeys_sync_rows_handler);
}


static ngx_int_t
ngx_apikeys_sync_rows_handler(ngx_apikeys_pg_query_t *q)
{
    uint64_t             start;
    ngx_int_t            rc;
    ngx_apikeys_sync_t  *sync;

    sync = q->data;

    /*
     * Return NGX_AGAIN before the row is consumed, as it is delivered again:
     * the time budget of this event is used up, or the zone is locked.
     */

    rc = ngx_apikeys_sync_rows_budget_spent(sync) ? NGX_AGAIN : NGX_OK;

    start = ngx_apikeys_clock_usec();

    if (rc == NGX_OK && sync->batch_weight >= NGX_APIKEYS_SYNC_ROWS_BATCH) {
        rc = ngx_apikeys_sync_rows_flush(sync);
    }

    if (rc == NGX_AGAIN) {
        ngx_apikeys_sync_schedule(sync, ngx_apikeys_sync_rows_resume, 1);
        return NGX_AGAIN;
    }

    if (rc == NGX_ABORT) {
        ngx_apikeys_sync_lost_lease(sync);
        return NGX_ERROR;
    }

    sync->last_row_at = ngx_apikeys_clock_boot_ms();

    rc = sync->header_read ? ngx_apikeys_sync_rows_object(sync, q)
                      : ngx_apikeys_sync_rows_header(sync, q);

    sync->slice_usec += ngx_apikeys_clock_usec() - start;

    return rc;
}


/*
 * The header is checked before any row is published.  If the database is not
 * the one of the cursor, feed_since() returns no more rows.
 */

static ngx_int_t
ngx_apikeys_sync_rows_header(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q)
{
    ngx_str_t  database_id, pg_snapshot, kind, asked;

    /* the cursor may not be valid there, see session_begin() */

    if (!sync->session_checked) {
        sync->reconnected = 1;
        return NGX_DECLINED;
    }

    if (ngx_apikeys_sync_rows_schema(sync, q) != NGX_OK
        || ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_SYNC_ROWS_DATABASE_ID,
                                      &database_id)
           != NGX_OK
        || ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_SYNC_ROWS_PG_SNAPSHOT,
                                      &pg_snapshot)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    sync->new_database_id.len = database_id.len;
    sync->new_database_id.data = ngx_pstrdup(sync->pool, &database_id);

    sync->new_cursor.len = pg_snapshot.len;
    sync->new_cursor.data = ngx_pstrdup(sync->pool, &pg_snapshot);

    ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_SYNC_ROWS_STATE, &kind);

    sync->feed_kind.len = kind.len;
    sync->feed_kind.data = ngx_pstrdup(sync->pool, &kind);

    if (sync->new_database_id.data == NULL || sync->new_cursor.data == NULL
        || sync->feed_kind.data == NULL)
    {
        return NGX_ERROR;
    }

    sync->header_read = 1;

    ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_SYNC_ROWS_ASKED, &asked);

    if (asked.len && asked.data[0] == 't') {
        sync->asked = 1;
    }

    if (sync->load_number == 0) {
        sync->feed_msec = ngx_apikeys_clock_boot_ms() - sync->sent_at;
    }

    /* a load of another database than the one of the heartbeat before it */

    if (sync->load_number
        && !ngx_apikeys_sync_str_equal(&sync->database_id,
                                       &sync->new_database_id))
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * The schema may be upgraded while it is followed, and its columns may change
 * their meaning: nothing is published if it is not compatible.
 */

static ngx_int_t
ngx_apikeys_sync_rows_schema(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q)
{
    ngx_int_t  version, compatible;
    ngx_str_t  value;

    ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_SYNC_ROWS_VERSION, &value);
    version = ngx_atoi(value.data, value.len);

    ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_SYNC_ROWS_COMPATIBLE,
                               &value);
    compatible = ngx_atoi(value.data, value.len);

    if (version == NGX_ERROR || compatible == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (ngx_apikeys_sync_session_compatible(version, compatible)) {
        return NGX_OK;
    }

    sync->schema = version;

    return NGX_DECLINED;
}


static ngx_int_t
ngx_apikeys_sync_rows_object(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q)
{
    ngx_apikeys_sync_row_t      row;
    ngx_apikeys_sync_object_t  *object;

    ngx_apikeys_store_set_behind(sync->conf->store);

    if (sync->objects.elts == NULL
        && ngx_array_init(&sync->objects, sync->batch_pool,
                          NGX_APIKEYS_SYNC_ROWS_BATCH,
                          sizeof(ngx_apikeys_sync_object_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    object = ngx_array_push(&sync->objects);
    if (object == NULL) {
        return NGX_ERROR;
    }

    row.query = q;
    row.number = 0;
    row.column = NGX_APIKEYS_SYNC_ROWS_STATE;

    if (ngx_apikeys_sync_object_decode(sync->conf, sync->batch_pool, &row,
                                       object)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    sync->rows++;
    sync->stat->changes++;
    sync->batch_weight++;

    if (object->version > sync->max_version) {
        sync->max_version = object->version;
    }

    if (object->kind == NGX_APIKEYS_STORE_KEY && !object->deleted) {
        sync->keys++;
        sync->unreadable += object->u.key.unreadable;
        sync->oversize += (object->u.key.nentries
                           > NGX_APIKEYS_STORE_MAX_ENTRIES
                           || object->u.key.ngrants
                              > NGX_APIKEYS_STORE_MAX_GRANTS);
        sync->batch_weight += (object->u.key.nentries + object->u.key.ngrants)
                              / 32;
    }

    return NGX_OK;
}


/*
 * 1: rows have used up the time budget of this event.  ngx_current_msec
 * changes only between iterations of the event loop, so a new value is a new
 * event.
 */

static ngx_uint_t
ngx_apikeys_sync_rows_budget_spent(ngx_apikeys_sync_t *sync)
{
    if (sync->slice_msec != ngx_current_msec) {
        sync->slice_msec = ngx_current_msec;
        sync->slice_usec = 0;
    }

    return sync->slice_usec >= NGX_APIKEYS_SYNC_ROWS_BUDGET;
}


static void
ngx_apikeys_sync_rows_resume(ngx_apikeys_sync_t *sync)
{
    sync->slice_usec = 0;

    ngx_apikeys_pg_query_resume(sync->query);
}


static void
ngx_apikeys_sync_rows_done(ngx_apikeys_pg_query_t *q)
{
    ngx_apikeys_sync_t  *sync;

    static const ngx_str_t  no_header = ngx_string(
                              "unexpected answer of the database, please "
                              "report");

    sync = q->data;
    sync->query = NULL;

    if (q->rc == NGX_APIKEYS_PG_FAILED
        && ngx_strcmp(q->sqlstate, "22P02") == 0)
    {
        /* PostgreSQL cannot parse the cursor: begin with a load */
        ngx_str_null(&sync->database_id);
        ngx_str_null(&sync->cursor);
        ngx_str_null(&sync->durable);

        sync->load_reason = "the position in the changes is not readable";
    }

    if (sync->schema) {
        ngx_apikeys_sync_session_refuse(sync, sync->schema);
        return;
    }

    if (sync->reconnected) {
        ngx_apikeys_sync_schedule(sync, ngx_apikeys_sync_session_begin, 1);
        return;
    }

    if (q->rc != NGX_APIKEYS_PG_OK) {
        ngx_apikeys_sync_query_failed(sync, q);
        return;
    }

    if (!sync->header_read) {
        ngx_apikeys_sync_round_failed(sync, NGX_APIKEYS_SYNC_REFUSED,
                                      &no_header);
        return;
    }

    ngx_apikeys_sync_rows_publish_rest(sync);
}


/*
 * All rows have been received.  Publishes the remaining ones, then calls
 * rows_done().
 */

static void
ngx_apikeys_sync_rows_publish_rest(ngx_apikeys_sync_t *sync)
{
    switch (ngx_apikeys_sync_rows_flush(sync)) {

    case NGX_OK:
        break;

    case NGX_ABORT:
        ngx_apikeys_sync_lost_lease(sync);
        return;

    default: /* NGX_AGAIN */
        ngx_apikeys_sync_schedule(sync, ngx_apikeys_sync_rows_publish_rest, 1);
        return;
    }

    if (sync->unreadable) {
        ngx_log_error(NGX_LOG_ERR, sync->log, 0,
                      "apikeys: %ui of %ui API keys cannot be decrypted with "
                      "apikeys_master_key_file and apikeys_realm, requests "
                      "with them get 503", sync->unreadable, sync->keys);
    }

    if (sync->oversize) {
        ngx_log_error(NGX_LOG_ERR, sync->log, 0,
                      "apikeys: %ui of %ui API keys have more than %d access "
                      "list entries or %d projects, requests with them get "
                      "503", sync->oversize, sync->keys,
                      NGX_APIKEYS_STORE_MAX_ENTRIES,
                      NGX_APIKEYS_STORE_MAX_GRANTS);
    }

    if (sync->rows) {
        sync->untold = 1;
    }

    sync->rows_done(sync);
}


/* publishes the batch; returns as ngx_apikeys_sync_object_publish() */

static ngx_int_t
ngx_apikeys_sync_rows_flush(ngx_apikeys_sync_t *sync)
{
    ngx_int_t                        rc;
    ngx_apikeys_sync_precondition_t  precondition;

    if (sync->objects.nelts) {
        precondition.load = sync->load_number;
        precondition.generation = 0;
        precondition.need_lease = 1;

        rc = ngx_apikeys_sync_object_publish(sync->conf->store, &sync->objects,
                                             &sync->next_object, &precondition);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    ngx_apikeys_sync_rows_abandon(sync);

    return NGX_OK;
}


void
ngx_apikeys_sync_rows_abandon(ngx_apikeys_sync_t *sync)
{
    if (sync->batch_pool == NULL) {
        return;
    }

    if (sync->objects.nelts) {
        ngx_apikeys_sync_object_wipe(&sync->objects);
    }

    ngx_reset_pool(sync->batch_pool);

    sync->objects.elts = NULL;
    sync->objects.nelts = 0;
    sync->next_object = 0;
    sync->batch_weight = 0;
}
