
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys.h>
#include <ngx_http_apikeys_access.h>
#include <ngx_http_apikeys_api_conf.h>
#include <ngx_http_apikeys_conf.h>
#include <ngx_http_apikeys_filter.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_require.h>
#include <ngx_http_apikeys_routes.h>
#include <ngx_http_apikeys_status.h>
#include <ngx_http_apikeys_variables.h>
#include <ngx_http_apikeys_receipt.h>


static ngx_int_t ngx_http_apikeys_init_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_apikeys_init_zone(
    ngx_http_apikeys_main_conf_t *amcf, ngx_log_t *log);
static void ngx_http_apikeys_exit_process(ngx_cycle_t *cycle);
static void *ngx_http_apikeys_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_apikeys_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_apikeys_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_apikeys_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_http_apikeys_fingerprint(
    ngx_http_apikeys_main_conf_t *amcf);
static ngx_int_t ngx_http_apikeys_init(ngx_conf_t *cf);


static ngx_command_t  ngx_http_apikeys_commands[] = {

    { ngx_string("apikeys_database"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_apikeys_conf_database,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_apikeys_conf_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_master_key_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_apikeys_conf_master_key_file,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_operator_token_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_apikeys_conf_operator_token_file,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_realm"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_apikeys_conf_realm,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_sync"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_apikeys_conf_sync,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_stale"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_CONF_TAKE12,
      ngx_http_apikeys_conf_stale,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_snapshot"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_apikeys_conf_snapshot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_apikeys_api_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_public_url"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_CONF_TAKE1,
      ngx_http_apikeys_api_conf_public_url,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("apikeys_auth"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_HTTP_LMT_CONF|NGX_CONF_1MORE,
      ngx_http_apikeys_conf_auth,
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


/* only in workers: the cache manager and loader serve no requests */

static ngx_int_t
ngx_http_apikeys_init_process(ngx_cycle_t *cycle)
{
    ngx_http_apikeys_metrics_t     *metrics;
    ngx_http_apikeys_main_conf_t   *amcf;
    ngx_apikeys_pg_pool_options_t   options;

    if (ngx_process != NGX_PROCESS_WORKER
        && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    amcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_apikeys_module);

    if (amcf == NULL || amcf->store == NULL) {
        return NGX_OK;
    }

    if (ngx_http_apikeys_init_zone(amcf, cycle->log) != NGX_OK) {
        return NGX_ERROR;
    }

    metrics = amcf->worker.metrics;

    ngx_memzero(&options, sizeof(ngx_apikeys_pg_pool_options_t));

    options.stat = &metrics->pool;
    options.failure = ngx_apikeys_store_failure(amcf->store,
                                                NGX_APIKEYS_FAILURE_DATABASE);

    amcf->worker.pool = ngx_apikeys_pg_pool_create(cycle, amcf->database,
                                                   &options);
    if (amcf->worker.pool == NULL) {
        return NGX_ERROR;
    }

    amcf->worker.usage = ngx_apikeys_usage_create(cycle, amcf->worker.pool,
                              &metrics->usage,
                              ngx_apikeys_store_failure(amcf->store,
                                                  NGX_APIKEYS_FAILURE_USAGE));
    if (amcf->worker.usage == NULL) {
        return NGX_ERROR;
    }

    amcf->worker.receipts = ngx_http_apikeys_receipts_create(cycle,
                                                             amcf->worker.pool,
                                                             amcf->store);
    if (amcf->worker.receipts == NULL) {
        return NGX_ERROR;
    }

    amcf->worker.sync = ngx_apikeys_sync_create(cycle, &amcf->sync,
                                                &metrics->sync);

    return amcf->worker.sync ? NGX_OK : NGX_ERROR;
}


/* besides the local copy, the zone holds the metrics and the nonce table */

static ngx_int_t
ngx_http_apikeys_init_zone(ngx_http_apikeys_main_conf_t *amcf, ngx_log_t *log)
{
    u_char  *shared;

    if (ngx_apikeys_store_init_process(amcf->store, log) != NGX_OK) {
        return NGX_ERROR;
    }

    shared = ngx_apikeys_store_metrics_and_nonces(amcf->store);

    amcf->metrics = (ngx_http_apikeys_metrics_t *) shared;

    amcf->worker.metrics =
                       &amcf->metrics[ngx_apikeys_store_slot(amcf->store)];

    shared += NGX_HTTP_APIKEYS_METRICS_SIZE;

    return ngx_apikeys_nonce_init_process(amcf->nonce, shared,
                                          amcf->nonce_size, log);
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

    if (amcf->worker.receipts) {
        ngx_http_apikeys_receipts_destroy(amcf->worker.receipts);
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
     *     amcf->demanded = 0;
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
     *     alcf->require_evaluates = 0;
     *     alcf->opened = 0;
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

    char                          *rv;
    ngx_http_apikeys_main_conf_t  *amcf;

    ngx_conf_merge_str_value(conf->public_url, prev->public_url, "");
    ngx_conf_merge_msec_value(conf->stale, prev->stale, 600000);
    ngx_conf_merge_value(conf->stale_allow, prev->stale_allow, 0);
    ngx_conf_merge_value(conf->dry_run, prev->dry_run, 0);
    ngx_conf_merge_msec_value(conf->wait, prev->wait, 500);

    ngx_http_apikeys_api_conf_inherit(cf, prev, conf);

    rv = ngx_http_apikeys_require_merge(cf, prev, conf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_apikeys_module);

    if (conf->api || ngx_http_apikeys_access_protected(conf)) {
        amcf->used = 1;
        amcf->demanded = 1;
        amcf->sync.stale_max = ngx_max(amcf->sync.stale_max, conf->stale);
        amcf->sync.stale_forever |= conf->stale_allow;

        if (!conf->stale_allow && !conf->dry_run
            && (amcf->sync.stale_deny_min == 0
                || conf->stale < amcf->sync.stale_deny_min))
        {
            amcf->sync.stale_deny_min = conf->stale;
        }
    }

    return ngx_http_apikeys_api_conf_merge(cf, conf);
}


/*
 * On reload a zone that was filled under another realm is not inherited: the
 * realm is part of each HA1.
 */

static ngx_int_t
ngx_http_apikeys_fingerprint(ngx_http_apikeys_main_conf_t *amcf)
{
    u_char  hash[NGX_APIKEYS_DIGEST_SHA256_LEN];

    if (ngx_apikeys_digest_sha256(hash, &amcf->realm) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_apikeys_store_set_fingerprint(amcf->store, hash);
    ngx_apikeys_store_set_seal(amcf->store, amcf->seal);

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_init(ngx_conf_t *cf)
{
    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_apikeys_loc_conf_t   *alcf;
    ngx_http_apikeys_main_conf_t  *amcf;

    alcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_apikeys_module);

    if (ngx_http_apikeys_require_check(cf, alcf) != NGX_CONF_OK) {
        return NGX_ERROR;
    }

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

    if (ngx_http_apikeys_fingerprint(amcf) != NGX_OK
        || ngx_http_apikeys_routes_init(cf, amcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    amcf->form = ngx_http_apikeys_output_form;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    amcf->database->resolver = clcf->resolver;

    amcf->sync.store = amcf->store;
    amcf->sync.seal = amcf->seal;
    amcf->sync.database = amcf->database;
    amcf->sync.realm = amcf->realm;

    if (amcf->sync.stale_max == 0) {
        amcf->sync.stale_max = 600000;
    }

    if (amcf->sync.stale_min == 0) {
        amcf->sync.stale_min = 600000;
    }

    if (amcf->sync.snapshot.path.len) {
        amcf->sync.snapshot.cycle = cf->cycle;
        amcf->sync.snapshot.store = amcf->store;
        amcf->sync.snapshot.seal = amcf->seal;
        amcf->sync.snapshot.stale_max = amcf->sync.stale_max;
        amcf->sync.snapshot.stale_forever = amcf->sync.stale_forever;

        ngx_apikeys_snapshot_configure(&amcf->sync.snapshot);
    }

    if (!amcf->demanded) {
        return NGX_OK;
    }

    if (ngx_http_apikeys_access_init(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_apikeys_filter_init(cf);
}
