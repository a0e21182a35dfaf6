
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What the syncer asks of a database before it follows it: whether the
 * schema is the one that this module was written for, and whether its
 * secrets were sealed with our master keys.  Asked again after every error
 * and every lost connection, for it may be another server then; the local copy
 * stays as it is meanwhile.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_sync_round.h>


/* of the schema that this module was written for: the last folder in sql/ */
#define NGX_APIKEYS_SYNC_SESSION_VERSION    1

#define NGX_APIKEYS_SYNC_SESSION_CHECK_LEN  32


static ngx_int_t ngx_apikeys_sync_session_renew(ngx_apikeys_sync_t *sync);
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
 * Run by a timer only: the queries of the last round, and what their
 * handlers looked at, lie in the pool that is destroyed here.
 */

void
ngx_apikeys_sync_session_begin(ngx_apikeys_sync_t *sync)
{
    sync->waiting = 0;

    /* the connection is another one each time, and not looked at */

    if (ngx_exiting) {
        sync->checked = 0;
    }

    sync->again = 0;

    if (ngx_apikeys_sync_session_renew(sync) != NGX_OK) {
        ngx_apikeys_sync_no_memory(sync);
        return;
    }

    if (!sync->checked) {
        ngx_apikeys_sync_session_version(sync);
        return;
    }

    ngx_apikeys_sync_round_start(sync);
}


/* a new pool for the new round; of the old one only the cursor is kept */

static ngx_int_t
ngx_apikeys_sync_session_renew(ngx_apikeys_sync_t *sync)
{
    ngx_str_t    identity, snapshot, applied;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, sync->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    identity = sync->identity;
    snapshot = sync->snapshot;
    applied = sync->applied;

    if (ngx_apikeys_sync_session_copy(pool, &identity) != NGX_OK
        || ngx_apikeys_sync_session_copy(pool, &snapshot) != NGX_OK
        || ngx_apikeys_sync_session_copy(pool, &applied) != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    ngx_destroy_pool(sync->pool);

    sync->pool = pool;
    sync->identity = identity;
    sync->snapshot = snapshot;
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

    sync = ngx_apikeys_sync_answered(q);

    if (sync == NULL) {
        return;
    }

    /* without a row, NULL: a schema without a version */

    ngx_apikeys_pg_query_value(q, 0, 0, &value);
    version = value.len ? ngx_atoi(value.data, value.len) : 0;

    ngx_apikeys_pg_query_value(q, 0, 1, &value);
    compatible = value.len ? ngx_atoi(value.data, value.len) : 0;

    if (!ngx_apikeys_sync_session_fits(version, compatible)) {
        ngx_apikeys_sync_session_refuse(sync, version);
        return;
    }

    ngx_apikeys_sync_session_check(sync);
}


/*
 * An older schema lacks columns.  A newer one says itself from which version
 * on modules may follow it: one that can make a decision stricter names its
 * own.
 */

ngx_uint_t
ngx_apikeys_sync_session_fits(ngx_int_t version, ngx_int_t compatible)
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
                              "its schema is %s, version %i instead of %d, %s",
                              old ? "too old" : "too new", version,
                              NGX_APIKEYS_SYNC_SESSION_VERSION,
                              old ? "apply sql/apply.sh to it"
                                  : "upgrade the module")
                 - buf;

    ngx_apikeys_sync_failed(sync, NGX_APIKEYS_SYNC_SCHEMA, &reason);
}


/*
 * With the wrong master keys no secret opens: told apart from damaged rows
 * by values that are derived from the keys (and the realm, which is sealed
 * in with each secret) and kept in the database.
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
                  "its secrets were sealed with other keys, "
                  "apikeys_master_key_file and apikeys_realm must be the same "
                  "on every node of a database");

    sync = ngx_apikeys_sync_answered(q);

    if (sync == NULL) {
        return;
    }

    if (ngx_apikeys_pg_query_nrows(q) != 1
        || ngx_apikeys_pg_query_value(q, 0, 0, &value) != NGX_OK)
    {
        ngx_apikeys_sync_failed(sync, NGX_APIKEYS_SYNC_MASTER_KEY, &reason);
        return;
    }

    if (value.len) {
        ngx_log_error(NGX_LOG_ERR, sync->log, 0,
                      "apikeys: apikeys_master_key_file lacks lines that API "
                      "keys in the database need, requests with them get "
                      "503: put back %V", &value);
    }

    sync->checked = 1;

    ngx_apikeys_sync_round_start(sync);
}
