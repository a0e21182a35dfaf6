
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Rows of a feed or a load on their way from the database into the zone.
 *
 * They are read one at a time, for the feed too: one UPDATE typed into psql
 * may change every key.  They are decoded into a batch, and a full batch is
 * published before the next row is taken.  No event works for longer than
 * about two milliseconds: then the result waits in the socket.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_sync_round.h>


/* columns of a row: those of the header, then a state */
enum {
    NGX_APIKEYS_SYNC_ROWS_IDENTITY = 0,
    NGX_APIKEYS_SYNC_ROWS_SNAPSHOT,
    NGX_APIKEYS_SYNC_ROWS_VERSION,
    NGX_APIKEYS_SYNC_ROWS_COMPATIBLE,
    NGX_APIKEYS_SYNC_ROWS_STATE
};

#define NGX_APIKEYS_SYNC_ROWS_BATCH     128
#define NGX_APIKEYS_SYNC_ROWS_BUDGET    2000      /* us of one event */


static ngx_int_t ngx_apikeys_sync_rows_handler(ngx_apikeys_pg_query_t *q);
static ngx_int_t ngx_apikeys_sync_rows_header(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q);
static ngx_int_t ngx_apikeys_sync_rows_schema(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q);
static ngx_int_t ngx_apikeys_sync_rows_state(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q);
static ngx_uint_t ngx_apikeys_sync_rows_spent(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_rows_resume(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_rows_done(ngx_apikeys_pg_query_t *q);
static void ngx_apikeys_sync_rows_rest(ngx_apikeys_sync_t *sync);
static ngx_int_t ngx_apikeys_sync_rows_flush(ngx_apikeys_sync_t *sync);


void
ngx_apikeys_sync_rows_read(ngx_apikeys_sync_t *sync,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params, ngx_msec_t timeout,
    ngx_apikeys_sync_step_pt arrived)
{
    if (sync->batch == NULL) {
        sync->batch = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, sync->log);
        if (sync->batch == NULL) {
            ngx_apikeys_sync_no_memory(sync);
            return;
        }
    }

    ngx_apikeys_sync_rows_abandon(sync);

    sync->rows = 0;
    sync->keys = 0;
    sync->unreadable = 0;
    sync->oversize = 0;
    sync->spent = 0;
    sync->schema = 0;
    sync->header = 0;
    sync->arrived = arrived;

    /*
     * Freshness is counted from here: before the statement is sent, thus
     * before its snapshot is taken, however long the rows take to come.
     */

    sync->sent = ngx_apikeys_store_boottime();
    sync->progress = sync->sent;

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
     * Pauses come before the row is looked at, for it will be given again:
     * the event has done its share, or the zone is busy.
     */

    rc = ngx_apikeys_sync_rows_spent(sync) ? NGX_AGAIN : NGX_OK;

    start = ngx_apikeys_sync_state_clock();

    if (rc == NGX_OK && sync->weight >= NGX_APIKEYS_SYNC_ROWS_BATCH) {
        rc = ngx_apikeys_sync_rows_flush(sync);
    }

    if (rc == NGX_AGAIN) {
        ngx_apikeys_sync_later(sync, ngx_apikeys_sync_rows_resume, 1);
        return NGX_AGAIN;
    }

    if (rc == NGX_ABORT) {
        ngx_apikeys_sync_fenced(sync);
        return NGX_ERROR;
    }

    sync->progress = ngx_apikeys_store_boottime();

    rc = sync->header ? ngx_apikeys_sync_rows_state(sync, q)
                      : ngx_apikeys_sync_rows_header(sync, q);

    sync->spent += ngx_apikeys_sync_state_clock() - start;

    return rc;
}


/*
 * The header comes first, so no row of another database is published over
 * the local copy of the one that the cursor names: a feed of another one has
 * no further rows.
 */

static ngx_int_t
ngx_apikeys_sync_rows_header(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q)
{
    ngx_str_t  identity, snapshot, kind;

    if (ngx_apikeys_sync_rows_schema(sync, q) != NGX_OK
        || ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_SYNC_ROWS_IDENTITY,
                                      &identity)
           != NGX_OK
        || ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_SYNC_ROWS_SNAPSHOT,
                                      &snapshot)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    sync->new_identity.len = identity.len;
    sync->new_identity.data = ngx_pstrdup(sync->pool, &identity);

    sync->new_snapshot.len = snapshot.len;
    sync->new_snapshot.data = ngx_pstrdup(sync->pool, &snapshot);

    ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_SYNC_ROWS_STATE, &kind);

    sync->answer.len = kind.len;
    sync->answer.data = ngx_pstrdup(sync->pool, &kind);

    if (sync->new_identity.data == NULL || sync->new_snapshot.data == NULL
        || sync->answer.data == NULL)
    {
        return NGX_ERROR;
    }

    sync->header = 1;

    /* a load of another database than the one that was announced */

    if (sync->load
        && !ngx_apikeys_sync_same(&sync->identity, &sync->new_identity))
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * A schema that is upgraded while it is followed: what it has now may mean
 * something else than this module knows, so nothing of it is published.
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

    if (ngx_apikeys_sync_session_fits(version, compatible)) {
        return NGX_OK;
    }

    sync->schema = version;

    return NGX_DECLINED;
}


static ngx_int_t
ngx_apikeys_sync_rows_state(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q)
{
    ngx_apikeys_sync_row_t     row;
    ngx_apikeys_sync_state_t  *state;

    ngx_apikeys_store_set_behind(sync->conf->store);

    if (sync->states.elts == NULL
        && ngx_array_init(&sync->states, sync->batch,
                          NGX_APIKEYS_SYNC_ROWS_BATCH,
                          sizeof(ngx_apikeys_sync_state_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    state = ngx_array_push(&sync->states);
    if (state == NULL) {
        return NGX_ERROR;
    }

    row.query = q;
    row.number = 0;
    row.column = NGX_APIKEYS_SYNC_ROWS_STATE;

    if (ngx_apikeys_sync_state_decode(sync->conf, sync->batch, &row, state)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    sync->rows++;
    sync->stat->changes++;
    sync->weight++;

    if (state->version > sync->version) {
        sync->version = state->version;
    }

    if (state->kind == NGX_APIKEYS_STORE_KEY && !state->deleted) {
        sync->keys++;
        sync->unreadable += state->u.key.unreadable;
        sync->oversize += (state->u.key.nentries
                           > NGX_APIKEYS_STORE_MAX_ENTRIES
                           || state->u.key.ngrants
                              > NGX_APIKEYS_STORE_MAX_GRANTS);
        sync->weight += (state->u.key.nentries + state->u.key.ngrants) / 32;
    }

    return NGX_OK;
}


/*
 * Whether rows have cost this event its share.  Only an iteration of the
 * event loop moves ngx_current_msec, so a new value is a new event.
 */

static ngx_uint_t
ngx_apikeys_sync_rows_spent(ngx_apikeys_sync_t *sync)
{
    if (sync->slice != ngx_current_msec) {
        sync->slice = ngx_current_msec;
        sync->spent = 0;
    }

    return sync->spent >= NGX_APIKEYS_SYNC_ROWS_BUDGET;
}


static void
ngx_apikeys_sync_rows_resume(ngx_apikeys_sync_t *sync)
{
    sync->spent = 0;

    ngx_apikeys_pg_query_resume(sync->query);
}


static void
ngx_apikeys_sync_rows_done(ngx_apikeys_pg_query_t *q)
{
    ngx_apikeys_sync_t  *sync;

    static const ngx_str_t  no_header = ngx_string(
                                      "its answer begins with no header row");

    sync = q->data;
    sync->query = NULL;

    if (q->rc == NGX_APIKEYS_PG_FAILED
        && ngx_strcmp(q->sqlstate, "22P02") == 0)
    {
        /* the cursor is not readable: what the zone holds is not known */
        ngx_str_null(&sync->identity);
        ngx_str_null(&sync->snapshot);
    }

    if (sync->schema) {
        ngx_apikeys_sync_session_refuse(sync, sync->schema);
        return;
    }

    if (q->rc != NGX_APIKEYS_PG_OK) {
        ngx_apikeys_sync_query_failed(sync, q);
        return;
    }

    if (!sync->header) {
        ngx_apikeys_sync_failed(sync, NGX_APIKEYS_SYNC_REFUSED, &no_header);
        return;
    }

    ngx_apikeys_sync_rows_rest(sync);
}


/* all rows have come; NGX_OK below: and are in the zone */

static void
ngx_apikeys_sync_rows_rest(ngx_apikeys_sync_t *sync)
{
    switch (ngx_apikeys_sync_rows_flush(sync)) {

    case NGX_OK:
        break;

    case NGX_ABORT:
        ngx_apikeys_sync_fenced(sync);
        return;

    default: /* NGX_AGAIN */
        ngx_apikeys_sync_later(sync, ngx_apikeys_sync_rows_rest, 1);
        return;
    }

    if (sync->unreadable) {
        ngx_log_error(NGX_LOG_ERR, sync->log, 0,
                      "%ui of %ui keys from the database do not open with "
                      "apikeys_master_key_file and apikeys_realm, requests "
                      "with them get 503", sync->unreadable, sync->keys);
    }

    if (sync->oversize) {
        ngx_log_error(NGX_LOG_ERR, sync->log, 0,
                      "%ui of %ui keys from the database have more than %d "
                      "access list entries or %d projects, requests with "
                      "them get 503", sync->oversize, sync->keys,
                      NGX_APIKEYS_STORE_MAX_ENTRIES,
                      NGX_APIKEYS_STORE_MAX_GRANTS);
    }

    if (sync->rows) {
        sync->moved = 1;
    }

    sync->arrived(sync);
}


/* NGX_OK, NGX_AGAIN or NGX_ABORT, as ngx_apikeys_sync_state_publish() */

static ngx_int_t
ngx_apikeys_sync_rows_flush(ngx_apikeys_sync_t *sync)
{
    ngx_int_t                  rc;
    ngx_apikeys_sync_terms_t   terms;

    if (sync->states.nelts) {
        terms.load = sync->load;
        terms.epoch = 0;
        terms.fenced = 1;

        rc = ngx_apikeys_sync_state_publish(sync->conf->store, &sync->states,
                                            &sync->next, &terms);
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
    if (sync->batch == NULL) {
        return;
    }

    if (sync->states.nelts) {
        ngx_apikeys_sync_state_wipe(&sync->states);
    }

    ngx_reset_pool(sync->batch);

    sync->states.elts = NULL;
    sync->states.nelts = 0;
    sync->next = 0;
    sync->weight = 0;
}
