
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What the leader checks before it follows a database: that this module is
 * compatible with the schema, and that the secrets were encrypted with the
 * lines of the master key file.  Checked again after every error and every
 * lost connection, as the next one may be to another server; the local copy
 * stays as it is meanwhile.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_sync_int.h>


/* the schema version that this module was written for: last folder of sql/ */
#define NGX_APIKEYS_SYNC_SESSION_VERSION    1

#define NGX_APIKEYS_SYNC_SESSION_CHECK_LEN  32


static ngx_int_t ngx_apikeys_sync_session_renew_pool(ngx_apikeys_sync_t *sync);
static ngx_int_t ngx_apikeys_sync_session_copy(ngx_pool_t *pool,
    ngx_str_t *value);
static void ngx_apikeys_sync_session_version(ngx_apikeys_sync_t *sync);
static void ngx_apikeys_sync_session_version_done(ngx_apikeys_pg_query_t *q);
static void ngx_apikeys_sync_session_check(ngx_apikeys_sync_t *sync);
static ngx_int_t ngx_apikeys_sync_session_check_values(
    ngx_apikeys_sync_t *sync, ngx_str_t *values);
static void ngx_apikeys_sync_session_check_done(ngx_apikeys_pg_query_t *q);


static const ngx_apikeys_pg_stmt_t  ngx_apikeys_sync_session_version_stmt = {
    "apikeys_sync_version",
    "SELECT max(version), max(compatible_from) FROM apikeys.schema_version",
    0, 0
};


static const ngx_apikeys_pg_stmt_t  ngx_apikeys_sync_session_check_stmt = {
    "apikeys_sync_check",
    "SELECT apikeys.check_master_keys($1, $2)",
    2, 1
};


/*
 * Called by sync->event only: this destroys the pool of the last round with its
 * queries and the data of their handlers.
 */

void
ngx_apikeys_sync_session_begin(ngx_apikeys_sync_t *sync)
{
    sync->idle = 0;

    /*
     * In an exiting worker every round uses a new connection, possibly to
     * another server: check each time.
     */

    if (ngx_exiting) {
        sync->session_checked = 0;
    }

    sync->notified = 0;

    if (ngx_apikeys_sync_session_renew_pool(sync) != NGX_OK) {
        ngx_apikeys_sync_no_memory(sync);
        return;
    }

    if (!sync->session_checked) {

        /*
         * The server may have failed since the last heartbeat.  Then it gives
         * the ids of transactions whose end it has forgotten to others, and
         * later cursors are not valid.
         */

        sync->cursor = sync->durable;

        ngx_str_null(&sync->applied);

        if (ngx_apikeys_store_complete(sync->conf->store)) {
            sync->applied = sync->durable;
        }

        sync->untold = 0;
        sync->asked = 0;

        ngx_apikeys_sync_session_version(sync);
        return;
    }

    ngx_apikeys_sync_round_start(sync);
}


/* makes a pool for the new round; copies the four strings of the cursor */

static ngx_int_t
ngx_apikeys_sync_session_renew_pool(ngx_apikeys_sync_t *sync)
{
    ngx_str_t    database_id, cursor, durable, applied;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, sync->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    database_id = sync->database_id;
    cursor = sync->cursor;
    durable = sync->durable;
    applied = sync->applied;

    if (ngx_apikeys_sync_session_copy(pool, &database_id) != NGX_OK
        || ngx_apikeys_sync_session_copy(pool, &cursor) != NGX_OK
        || ngx_apikeys_sync_session_copy(pool, &durable) != NGX_OK
        || ngx_apikeys_sync_session_copy(pool, &applied) != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    ngx_destroy_pool(sync->pool);

    sync->pool = pool;
    sync->database_id = database_id;
    sync->cursor = cursor;
    sync->durable = durable;
    sync->applied = applied;

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_sync_session_copy(ngx_pool_t *pool, ngx_str_t *value)
{
    if (value->len == 0) {
        ngx_str_null(value);
        return NGX_OK;
    }

    value->data = ngx_pstrdup(pool, value);

    return value->data ? NGX_OK : NGX_ERROR;
}


static void
ngx_apikeys_sync_session_version(ngx_apikeys_sync_t *sync)
{
    ngx_apikeys_sync_query(sync, &ngx_apikeys_sync_session_version_stmt, NULL,
                           0, ngx_apikeys_sync_session_version_done, NULL);
}


static void
ngx_apikeys_sync_session_version_done(ngx_apikeys_pg_query_t *q)
{
    ngx_int_t            version, compatible;
    ngx_str_t            value;
    ngx_apikeys_sync_t  *sync;

    sync = ngx_apikeys_sync_query_result(q);

    if (sync == NULL) {
        return;
    }

    /* NULL: there is no row, so the schema has no version */

    ngx_apikeys_pg_query_value(q, 0, 0, &value);
    version = value.len ? ngx_atoi(value.data, value.len) : 0;

    ngx_apikeys_pg_query_value(q, 0, 1, &value);
    compatible = value.len ? ngx_atoi(value.data, value.len) : 0;

    if (!ngx_apikeys_sync_session_compatible(version, compatible)) {
        ngx_apikeys_sync_session_refuse(sync, version);
        return;
    }

    ngx_apikeys_sync_session_check(sync);
}


/*
 * An older schema lacks columns.  A newer one says which modules may follow
 * it: if it can make decisions stricter, only those written for it.
 */

ngx_uint_t
ngx_apikeys_sync_session_compatible(ngx_int_t version, ngx_int_t compatible)
{
    return version >= NGX_APIKEYS_SYNC_SESSION_VERSION
           && compatible <= NGX_APIKEYS_SYNC_SESSION_VERSION;
}


void
ngx_apikeys_sync_session_refuse(ngx_apikeys_sync_t *sync, ngx_int_t version)
{
    u_char      buf[NGX_MAX_ERROR_STR / 4];
    ngx_str_t   reason;
    ngx_uint_t  old;

    old = (version < NGX_APIKEYS_SYNC_SESSION_VERSION);

    reason.data = buf;
    reason.len = ngx_snprintf(buf, sizeof(buf),
                              "database schema version is %i, this module "
                              "needs %d: %s", version,
                              NGX_APIKEYS_SYNC_SESSION_VERSION,
                              old ? "run sql/apply.sh and sql/grants.sql"
                                  : "upgrade the module and restart nginx")
                 - buf;

    ngx_apikeys_sync_round_failed(sync, NGX_APIKEYS_SYNC_SCHEMA, &reason);
}


/*
 * With wrong master keys no secret can be decrypted.  To tell this from
 * damaged rows, the database stores a check value for each line, derived from
 * the line and the realm (which is part of the associated data of each
 * secret).
 */

static void
ngx_apikeys_sync_session_check(ngx_apikeys_sync_t *sync)
{
    ngx_str_t  params[2];

    if (ngx_apikeys_sync_seal_lines(sync, &params[0]) != NGX_OK
        || ngx_apikeys_sync_session_check_values(sync, &params[1]) != NGX_OK)
    {
        ngx_apikeys_sync_no_memory(sync);
        return;
    }

    ngx_apikeys_sync_query(sync, &ngx_apikeys_sync_session_check_stmt,
                           params, 0, ngx_apikeys_sync_session_check_done,
                           NULL);
}


static ngx_int_t
ngx_apikeys_sync_session_check_values(ngx_apikeys_sync_t *sync,
    ngx_str_t *values)
{
    u_char      *purpose;
    u_char       checks[NGX_APIKEYS_SEAL_MAX_KEYS]
                       [NGX_APIKEYS_SYNC_SESSION_CHECK_LEN];
    ngx_str_t   *realm;
    ngx_uint_t   i, n;

    n = ngx_apikeys_seal_nkeys(sync->conf->seal);
    realm = &sync->conf->realm;

    purpose = ngx_pnalloc(sync->pool, sizeof("check ") + realm->len);
    if (purpose == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_sprintf(purpose, "check %V%Z", realm);

    for (i = 0; i < n; i++) {

        if (ngx_apikeys_seal_derive(sync->conf->seal, i, (char *) purpose,
                                    checks[i],
                                    NGX_APIKEYS_SYNC_SESSION_CHECK_LEN)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_apikeys_sync_array(sync->pool, values, checks, n,
                                  NGX_APIKEYS_SYNC_SESSION_CHECK_LEN);
}


static void
ngx_apikeys_sync_session_check_done(ngx_apikeys_pg_query_t *q)
{
    ngx_str_t            value;
    ngx_apikeys_sync_t  *sync;

    static const ngx_str_t  reason = ngx_string(
                  "apikeys_master_key_file or apikeys_realm differ from those "
                  "of the other nodes");

    sync = ngx_apikeys_sync_query_result(q);

    if (sync == NULL) {
        return;
    }

    if (ngx_apikeys_pg_query_nrows(q) != 1
        || ngx_apikeys_pg_query_value(q, 0, 0, &value) != NGX_OK)
    {
        ngx_apikeys_sync_round_failed(sync, NGX_APIKEYS_SYNC_MASTER_KEY,
                                      &reason);
        return;
    }

    if (value.len) {
        ngx_log_error(NGX_LOG_ERR, sync->log, 0,
                      "apikeys: apikeys_master_key_file lacks lines that API "
                      "keys in the database need, requests with them get "
                      "503: put back %V", &value);
    }

    sync->session_checked = 1;

    ngx_apikeys_sync_round_start(sync);
}
