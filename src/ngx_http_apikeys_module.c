
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys.h>
#include <ngx_http_apikeys_access.h>
#include <ngx_http_apikeys_api.h>
#include <ngx_http_apikeys_filter.h>
#include <ngx_http_apikeys_require.h>
#include <ngx_http_apikeys_routes.h>
#include <ngx_http_apikeys_status.h>
#include <ngx_http_apikeys_variables.h>

#include <ngx_apikeys_secret_file.h>

#include <openssl/sha.h>


#define NGX_HTTP_APIKEYS_TOKEN_MIN_LEN   20


static ngx_int_t ngx_http_apikeys_init_process(ngx_cycle_t *cycle);
static void ngx_http_apikeys_exit_process(ngx_cycle_t *cycle);
static void *ngx_http_apikeys_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_apikeys_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_apikeys_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_apikeys_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_apikeys_database(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_apikeys_database_param(ngx_conf_t *cf,
    ngx_apikeys_pg_conf_t *database, ngx_str_t *value);
static char *ngx_http_apikeys_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_apikeys_master_key_file(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_apikeys_operator_token_file(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_apikeys_realm(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_apikeys_sync(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_apikeys_stale(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_apikeys_snapshot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_apikeys_api(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_apikeys_public_url(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_apikeys_auth(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_apikeys_auth_header_name(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_str_t *value);
static ngx_int_t ngx_http_apikeys_fingerprint(ngx_conf_t *cf,
    ngx_http_apikeys_main_conf_t *amcf);
static ngx_int_t ngx_http_apikeys_init(ngx_conf_t *cf);


static ngx_conf_bitmask_t  ngx_http_apikeys_auth_mask[] = {
    { ngx_string("digest"), NGX_HTTP_APIKEYS_AUTH_DIGEST },
    { ngx_string("digest_sha256"), NGX_HTTP_APIKEYS_AUTH_DIGEST_SHA256 },
    { ngx_string("basic"), NGX_HTTP_APIKEYS_AUTH_BASIC },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_apikeys_apis[] = {
    { ngx_string("atlas_v1"), NGX_HTTP_APIKEYS_ATLAS_V1 },
    { ngx_string("atlas_v2"), NGX_HTTP_APIKEYS_ATLAS_V2 },
    { ngx_string("ops_manager"), NGX_HTTP_APIKEYS_OPS_MANAGER },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_apikeys_commands[] = {

    { ngx_string("apikeys_database"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_apikeys_database,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_apikeys_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_master_key_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_apikeys_master_key_file,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_operator_token_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_apikeys_operator_token_file,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_realm"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_apikeys_realm,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_sync"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_apikeys_sync,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_stale"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_CONF_TAKE12,
      ngx_http_apikeys_stale,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_snapshot"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_apikeys_snapshot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_apikeys_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_public_url"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_CONF_TAKE1,
      ngx_http_apikeys_public_url,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_auth"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_HTTP_LMT_CONF|NGX_CONF_1MORE,
      ngx_http_apikeys_auth,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_require"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_HTTP_LMT_CONF|NGX_CONF_1MORE,
      ngx_http_apikeys_require,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_dry_run"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_apikeys_loc_conf_t, dry_run),
      NULL },

    { ngx_string("apikeys_wait"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_apikeys_loc_conf_t, wait),
      NULL },

    { ngx_string("apikeys_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_apikeys_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_apikeys_module_ctx = {
    ngx_http_apikeys_variables_add,        /* preconfiguration */
    ngx_http_apikeys_init,                 /* postconfiguration */

    ngx_http_apikeys_create_main_conf,     /* create main configuration */
    ngx_http_apikeys_init_main_conf,       /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_apikeys_create_loc_conf,      /* create location configuration */
    ngx_http_apikeys_merge_loc_conf        /* merge location configuration */
};


ngx_module_t  ngx_http_apikeys_module = {
    NGX_MODULE_V1,
    &ngx_http_apikeys_module_ctx,          /* module context */
    ngx_http_apikeys_commands,             /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_apikeys_init_process,         /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_apikeys_exit_process,         /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* workers alone: cache manager and loader have no requests to decide */

static ngx_int_t
ngx_http_apikeys_init_process(ngx_cycle_t *cycle)
{
    u_char                        *shared;
    ngx_http_apikeys_main_conf_t  *amcf;

    if (ngx_process != NGX_PROCESS_WORKER
        && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    amcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_apikeys_module);

    if (amcf == NULL || amcf->store == NULL) {
        return NGX_OK;
    }

    if (ngx_apikeys_store_init_process(amcf->store, cycle->log) != NGX_OK) {
        return NGX_ERROR;
    }

    /* the zone has room for the counters and the table of nonces */

    shared = ngx_apikeys_store_nonces(amcf->store);

    amcf->counters = (ngx_apikeys_counters_t *) shared;

    if (ngx_apikeys_nonce_init_process(amcf->nonce,
                                       shared + ngx_apikeys_counters_size(),
                                       amcf->nonce_size, cycle->log)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    amcf->worker.pool = ngx_apikeys_pg_pool_create(cycle, amcf->database,
                                                   NULL);
    if (amcf->worker.pool == NULL) {
        return NGX_ERROR;
    }

    amcf->worker.usage = ngx_apikeys_usage_create(cycle, amcf->worker.pool);
    if (amcf->worker.usage == NULL) {
        return NGX_ERROR;
    }

    amcf->worker.sync = ngx_apikeys_sync_create(cycle, &amcf->sync);

    return amcf->worker.sync ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_apikeys_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_apikeys_main_conf_t  *amcf;

    amcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_apikeys_module);

    if (amcf == NULL || amcf->worker.pool == NULL) {
        return;
    }

    if (amcf->worker.sync) {
        ngx_apikeys_sync_destroy(amcf->worker.sync);
    }

    if (amcf->worker.usage) {
        ngx_apikeys_usage_destroy(amcf->worker.usage);
    }

    ngx_apikeys_pg_pool_destroy(amcf->worker.pool);
    ngx_apikeys_nonce_exit_process(amcf->nonce);
    ngx_apikeys_store_exit_process(amcf->store);
}


static void *
ngx_http_apikeys_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_apikeys_main_conf_t  *amcf;

    amcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_apikeys_main_conf_t));
    if (amcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     amcf->database = NULL;
     *     amcf->store = NULL;
     *     amcf->seal = NULL;
     *     amcf->nonce = NULL;
     *     amcf->realm = { 0, NULL };
     *     amcf->token = NULL;
     *     amcf->used = 0;
     */

    amcf->sync.poll = NGX_CONF_UNSET_MSEC;
    amcf->sync.notify = NGX_CONF_UNSET;

    return amcf;
}


static char *
ngx_http_apikeys_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_apikeys_main_conf_t *amcf = conf;

    ngx_conf_init_msec_value(amcf->sync.poll, 1000);
    ngx_conf_init_value(amcf->sync.notify, 1);

    if (amcf->realm.data == NULL) {
        ngx_str_set(&amcf->realm, "MMS Public API");
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_apikeys_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_apikeys_loc_conf_t  *alcf;

    alcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_apikeys_loc_conf_t));
    if (alcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     alcf->api = 0;
     *     alcf->base = { 0, NULL };
     *     alcf->public_url = { 0, NULL };
     *     alcf->auth = 0;
     *     alcf->auth_header = { 0, NULL };
     *     alcf->require = NULL;
     */

    alcf->stale = NGX_CONF_UNSET_MSEC;
    alcf->stale_allow = NGX_CONF_UNSET;
    alcf->dry_run = NGX_CONF_UNSET;
    alcf->wait = NGX_CONF_UNSET_MSEC;

    return alcf;
}


static char *
ngx_http_apikeys_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_apikeys_loc_conf_t *prev = parent;
    ngx_http_apikeys_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_apikeys_main_conf_t  *amcf;

    ngx_conf_merge_str_value(conf->public_url, prev->public_url, "");
    ngx_conf_merge_msec_value(conf->stale, prev->stale, 600000);
    ngx_conf_merge_value(conf->stale_allow, prev->stale_allow, 0);
    ngx_conf_merge_value(conf->dry_run, prev->dry_run, 0);
    ngx_conf_merge_msec_value(conf->wait, prev->wait, 500);

    if (conf->require == NULL) {
        conf->require = prev->require;
    }

    if (conf->auth == 0) {
        conf->auth = prev->auth;
        conf->auth_header = prev->auth_header;
    }

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_apikeys_module);

    if (conf->api || ngx_http_apikeys_access_protected(conf)) {
        amcf->used = 1;
        amcf->sync.stale = ngx_max(amcf->sync.stale, conf->stale);
        amcf->sync.stale_forever |= conf->stale_allow;
    }

    if (conf->api == 0) {
        return NGX_CONF_OK;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler != ngx_http_apikeys_api_handler) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"apikeys_api\" in location \"%V\" is used with "
                           "another handler", &conf->base);
        return NGX_CONF_ERROR;
    }

    if (conf->auth == 0) {
        conf->auth = NGX_HTTP_APIKEYS_AUTH_DIGEST;
    }

    if (conf->auth == NGX_HTTP_APIKEYS_AUTH_OFF) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"apikeys_auth off\" cannot be used with "
                           "\"apikeys_api\" in location \"%V\", name a "
                           "scheme there", &conf->base);
        return NGX_CONF_ERROR;
    }

    if (conf->dry_run) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"apikeys_dry_run on\" cannot be used with "
                           "\"apikeys_api\" in location \"%V\", turn it off "
                           "there", &conf->base);
        return NGX_CONF_ERROR;
    }

    if (conf->stale_allow) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"apikeys_stale\" with \"expired=allow\" cannot "
                           "be used with \"apikeys_api\" in location \"%V\", "
                           "set \"expired=deny\" there", &conf->base);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_apikeys_database(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_main_conf_t *amcf = conf;

    char                   *rv;
    ngx_str_t              *value;
    ngx_uint_t              i;
    ngx_apikeys_pg_conf_t  *database;

    if (amcf->database) {
        return "is duplicate";
    }

    database = ngx_pcalloc(cf->pool, sizeof(ngx_apikeys_pg_conf_t));
    if (database == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    database->conninfo = value[1];
    database->connections = 4;
    database->queue = 256;
    database->connect_timeout = 5000;
    database->timeout = 10000;

    for (i = 2; i < cf->args->nelts; i++) {
        rv = ngx_http_apikeys_database_param(cf, database, &value[i]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (ngx_apikeys_pg_conn_configure(cf, database) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    amcf->database = database;

    return NGX_CONF_OK;
}


static char *
ngx_http_apikeys_database_param(ngx_conf_t *cf,
    ngx_apikeys_pg_conf_t *database, ngx_str_t *value)
{
    ngx_int_t   n;
    ngx_msec_t  ms;
    ngx_str_t   s;

    if (ngx_strncmp(value->data, "connections=", 12) == 0) {

        n = ngx_atoi(value->data + 12, value->len - 12);

        if (n != NGX_ERROR && n >= 1 && n <= 1000) {
            database->connections = n;
            return NGX_CONF_OK;
        }

    } else if (ngx_strncmp(value->data, "queue=", 6) == 0) {

        n = ngx_atoi(value->data + 6, value->len - 6);

        if (n != NGX_ERROR && n >= 1 && n <= 1000000) {
            database->queue = n;
            return NGX_CONF_OK;
        }

    } else if (ngx_strncmp(value->data, "connect_timeout=", 16) == 0) {

        s.data = value->data + 16;
        s.len = value->len - 16;

        ms = ngx_parse_time(&s, 0);

        if (ms != (ngx_msec_t) NGX_ERROR && ms != 0) {
            database->connect_timeout = ms;
            return NGX_CONF_OK;
        }

    } else if (ngx_strncmp(value->data, "timeout=", 8) == 0) {

        s.data = value->data + 8;
        s.len = value->len - 8;

        ms = ngx_parse_time(&s, 0);

        if (ms != (ngx_msec_t) NGX_ERROR && ms != 0) {
            database->timeout = ms;
            return NGX_CONF_OK;
        }

    } else if (ngx_strncmp(value->data, "password_file=", 14) == 0) {

        s.data = value->data + 14;
        s.len = value->len - 14;

        if (ngx_apikeys_secret_file_line(cf, "password_file",
                                         "it holds the password alone",
                                         &s, &database->password)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                       value);
    return NGX_CONF_ERROR;
}


static char *
ngx_http_apikeys_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_main_conf_t *amcf = conf;

    u_char     *p;
    ssize_t     size;
    ngx_str_t  *value, name, s;

    if (amcf->store) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strncmp(value[1].data, "zone=", 5) != 0) {
        goto invalid;
    }

    name.data = value[1].data + 5;

    p = (u_char *) ngx_strchr(name.data, ':');

    if (p == NULL || p == name.data) {
        goto invalid;
    }

    name.len = p - name.data;

    s.data = p + 1;
    s.len = value[1].data + value[1].len - s.data;

    size = ngx_parse_size(&s);

    if (size == NGX_ERROR) {
        goto invalid;
    }

    amcf->nonce_size = ngx_apikeys_nonce_table_size(size);

    amcf->store = ngx_apikeys_store_create(cf, &name, size,
                                           &ngx_http_apikeys_module,
                                           ngx_apikeys_counters_size()
                                           + amcf->nonce_size);

    return amcf->store ? NGX_CONF_OK : NGX_CONF_ERROR;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\", it must be "
                       "\"zone=name:size\"", &value[1]);
    return NGX_CONF_ERROR;
}


static char *
ngx_http_apikeys_master_key_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_apikeys_main_conf_t *amcf = conf;

    ngx_str_t  *value;

    if (amcf->seal) {
        return "is duplicate";
    }

    value = cf->args->elts;

    amcf->seal = ngx_apikeys_seal_create(cf, &value[1]);
    if (amcf->seal == NULL) {
        return NGX_CONF_ERROR;
    }

    amcf->nonce = ngx_apikeys_nonce_create(cf, amcf->seal);

    return amcf->nonce ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
ngx_http_apikeys_operator_token_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_apikeys_main_conf_t *amcf = conf;

    ngx_str_t  *value, token;

    if (amcf->token) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_apikeys_secret_file_line(cf, "operator token file",
                                     "make one with \"openssl rand -hex 32\"",
                                     &value[1], &token)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (token.len < NGX_HTTP_APIKEYS_TOKEN_MIN_LEN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the operator token in \"%V\" is shorter than %d "
                           "characters, make one with "
                           "\"openssl rand -hex 32\"", &value[1],
                           NGX_HTTP_APIKEYS_TOKEN_MIN_LEN);
        return NGX_CONF_ERROR;
    }

    amcf->token = ngx_palloc(cf->pool, SHA256_DIGEST_LENGTH);
    if (amcf->token == NULL) {
        return NGX_CONF_ERROR;
    }

    /* the token itself is kept nowhere */

    (void) SHA256(token.data, token.len, amcf->token);

    ngx_explicit_memzero(token.data, token.len);

    return NGX_CONF_OK;
}


static char *
ngx_http_apikeys_realm(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_main_conf_t *amcf = conf;

    u_char     *p;
    ngx_str_t  *value;

    if (amcf->realm.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    /* it stands in a quoted string, and clients do not agree on escapes */

    for (p = value[1].data; p < value[1].data + value[1].len; p++) {
        if (*p < ' ' || *p >= 0x7f || *p == '"' || *p == '\\') {
            return "must be printable ASCII without quotes and backslashes";
        }
    }

    if (value[1].len == 0) {
        return "must not be empty";
    }

    amcf->realm = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_http_apikeys_sync(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_main_conf_t *amcf = conf;

    ngx_str_t  *value, s;
    ngx_uint_t  i;

    if (amcf->sync.poll != NGX_CONF_UNSET_MSEC
        || amcf->sync.notify != NGX_CONF_UNSET)
    {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "poll=", 5) == 0) {

            s.data = value[i].data + 5;
            s.len = value[i].len - 5;

            amcf->sync.poll = ngx_parse_time(&s, 0);

            if (amcf->sync.poll != (ngx_msec_t) NGX_ERROR
                && amcf->sync.poll >= 10)
            {
                continue;
            }

        } else if (ngx_strcmp(value[i].data, "notify=on") == 0) {
            amcf->sync.notify = 1;
            continue;

        } else if (ngx_strcmp(value[i].data, "notify=off") == 0) {
            amcf->sync.notify = 0;
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                           &value[i]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_apikeys_stale(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_loc_conf_t *alcf = conf;

    ngx_str_t  *value;

    if (alcf->stale != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    alcf->stale = ngx_parse_time(&value[1], 0);

    if (alcf->stale == (ngx_msec_t) NGX_ERROR || alcf->stale == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid value \"%V\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    alcf->stale_allow = 0;

    if (cf->args->nelts == 2
        || ngx_strcmp(value[2].data, "expired=deny") == 0)
    {
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[2].data, "expired=allow") == 0) {
        alcf->stale_allow = 1;
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                       &value[2]);
    return NGX_CONF_ERROR;
}


static char *
ngx_http_apikeys_snapshot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_main_conf_t *amcf = conf;

    ngx_str_t  *value;

    if (amcf->sync.snapshot.path.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0 || value[1].data[value[1].len - 1] == '/') {
        return "must name a file";
    }

    amcf->sync.snapshot.path = value[1];

    if (ngx_conf_full_name(cf->cycle, &amcf->sync.snapshot.path, 0) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    /* with the number of a process behind it */

    if (amcf->sync.snapshot.path.len + NGX_INT64_LEN >= NGX_MAX_PATH) {
        return "is too long";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_apikeys_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_loc_conf_t *alcf = conf;

    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_conf_enum_t           *api;
    ngx_http_core_loc_conf_t  *clcf;

    if (alcf->api) {
        return "is duplicate";
    }

    value = cf->args->elts;
    api = ngx_http_apikeys_apis;

    for (i = 0; api[i].name.len; i++) {
        if (ngx_strcmp(value[1].data, api[i].name.data) == 0) {
            alcf->api = api[i].value;
            break;
        }
    }

    if (alcf->api == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\", it must be \"atlas_v1\", "
                           "\"atlas_v2\" or \"ops_manager\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->exact_match || clcf->named || clcf->noname
#if (NGX_PCRE)
        || clcf->regex
#endif
        || clcf->name.len < 2
        || clcf->name.data[clcf->name.len - 1] == '/')
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"apikeys_api\" needs a prefix location without "
                           "a slash at the end, such as "
                           "\"location /api/atlas/v1.0\"");
        return NGX_CONF_ERROR;
    }

    if (clcf->handler) {
        return "is used with another handler in the same location";
    }

    alcf->base = clcf->name;
    clcf->handler = ngx_http_apikeys_api_handler;

    return NGX_CONF_OK;
}


static char *
ngx_http_apikeys_public_url(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_loc_conf_t *alcf = conf;

    u_char     *p, *last;
    ngx_str_t  *value, url;

    if (alcf->public_url.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    url = value[1];

    if (ngx_strncmp(url.data, "http://", 7) == 0) {
        p = url.data + 7;

    } else if (ngx_strncmp(url.data, "https://", 8) == 0) {
        p = url.data + 8;

    } else {
        goto invalid;
    }

    last = url.data + url.len;

    if (p == last) {
        goto invalid;
    }

    /* a name or an address, and a port: it stands in every link */

    for ( /* void */ ; p < last; p++) {
        if (!isalnum(*p) && ngx_strchr("-._:[]", *p) == NULL) {
            goto invalid;
        }
    }

    alcf->public_url = url;

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid URL \"%V\", it must be a scheme and a host, "
                       "such as \"https://api.example.com\"", &url);
    return NGX_CONF_ERROR;
}


static char *
ngx_http_apikeys_auth(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_loc_conf_t *alcf = conf;

    char                *rv;
    ngx_str_t           *value;
    ngx_uint_t           i, m;
    ngx_conf_bitmask_t  *mask;

    if (alcf->auth) {
        return "is duplicate";
    }

    value = cf->args->elts;
    mask = ngx_http_apikeys_auth_mask;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        alcf->auth = NGX_HTTP_APIKEYS_AUTH_OFF;
        return NGX_CONF_OK;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "header=", 7) == 0
            && alcf->auth_header.len == 0)
        {
            rv = ngx_http_apikeys_auth_header_name(cf, alcf, &value[i]);

            if (rv != NGX_CONF_OK) {
                return rv;
            }

            continue;
        }

        for (m = 0; mask[m].name.len; m++) {
            if (ngx_strcmp(value[i].data, mask[m].name.data) == 0) {
                break;
            }
        }

        if (mask[m].name.len == 0 || (alcf->auth & mask[m].mask)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\", schemes are "
                               "\"digest\", \"digest_sha256\", \"basic\" and "
                               "\"header=name\", each once, or \"off\" alone",
                               &value[i]);
            return NGX_CONF_ERROR;
        }

        alcf->auth |= mask[m].mask;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_apikeys_auth_header_name(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_str_t *value)
{
    u_char     *p, *last;
    ngx_str_t   name;

    name.data = value->data + 7;
    name.len = value->len - 7;

    last = name.data + name.len;

    for (p = name.data; p < last; p++) {
        if (!isalnum(*p) && *p != '-' && *p != '_') {
            break;
        }
    }

    if (name.len == 0 || p < last) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", it must be \"header=\" "
                           "and the name of a header", value);
        return NGX_CONF_ERROR;
    }

    /* one header for two schemes could be read as either */

    if (name.len == sizeof("Authorization") - 1
        && ngx_strncasecmp(name.data, (u_char *) "Authorization", name.len)
           == 0)
    {
        return "takes a header of its own, \"Authorization\" is that of "
               "\"digest\" and \"basic\"";
    }

    alcf->auth |= NGX_HTTP_APIKEYS_AUTH_HEADER;
    alcf->auth_header = name;

    return NGX_CONF_OK;
}


/* a zone that was filled under other master keys or another realm is empty */

static ngx_int_t
ngx_http_apikeys_fingerprint(ngx_conf_t *cf,
    ngx_http_apikeys_main_conf_t *amcf)
{
    u_char       *p, *buf, hash[SHA256_DIGEST_LENGTH];
    size_t        len;
    ngx_uint_t    i, n;

    n = ngx_apikeys_seal_nkeys(amcf->seal);
    len = n * SHA256_DIGEST_LENGTH + amcf->realm.len;

    buf = ngx_pnalloc(cf->temp_pool, len);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    p = buf;

    for (i = 0; i < n; i++) {
        if (ngx_apikeys_seal_derive(amcf->seal, i, "fingerprint", p,
                                    SHA256_DIGEST_LENGTH)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        p += SHA256_DIGEST_LENGTH;
    }

    ngx_memcpy(p, amcf->realm.data, amcf->realm.len);

    (void) SHA256(buf, len, hash);

    ngx_apikeys_store_set_fingerprint(amcf->store, hash);

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_init(ngx_conf_t *cf)
{
    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_apikeys_main_conf_t  *amcf;

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_apikeys_module);

    if (amcf->database == NULL && amcf->store == NULL && amcf->seal == NULL
        && !amcf->used)
    {
        return NGX_OK;
    }

    if (amcf->database == NULL || amcf->store == NULL || amcf->seal == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" is not set: \"apikeys_database\", "
                           "\"apikeys_zone\" and \"apikeys_master_key_file\" "
                           "are needed together in the \"http\" block",
                           amcf->database == NULL ? "apikeys_database"
                           : amcf->store == NULL ? "apikeys_zone"
                           : "apikeys_master_key_file");
        return NGX_ERROR;
    }

    if (ngx_http_apikeys_fingerprint(cf, amcf) != NGX_OK
        || ngx_http_apikeys_routes_init(cf, amcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    amcf->database->resolver = clcf->resolver;

    amcf->sync.store = amcf->store;
    amcf->sync.seal = amcf->seal;
    amcf->sync.database = amcf->database;
    amcf->sync.realm = amcf->realm;

    if (amcf->sync.stale == 0) {
        amcf->sync.stale = 600000;
    }

    if (amcf->sync.snapshot.path.len) {
        amcf->sync.snapshot.cycle = cf->cycle;
        amcf->sync.snapshot.store = amcf->store;
        amcf->sync.snapshot.seal = amcf->seal;
        amcf->sync.snapshot.stale = amcf->sync.stale;
        amcf->sync.snapshot.stale_forever = amcf->sync.stale_forever;

        ngx_apikeys_snapshot_configure(&amcf->sync.snapshot);
    }

    if (ngx_http_apikeys_access_init(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_apikeys_filter_init(cf);
}
