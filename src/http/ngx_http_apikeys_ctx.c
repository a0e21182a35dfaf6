
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The context is the module context of r->main.  An internal redirect clears
 * module contexts, but not pool cleanups: so the context is the data of a
 * cleanup, and is found again by the handler of that cleanup, as in
 * ngx_http_realip_module.
 */


#include <ngx_apikeys_refusal.h>
#include <ngx_http_apikeys_auth.h>
#include <ngx_http_apikeys_ctx.h>


static void ngx_http_apikeys_ctx_cleanup(void *data);
static void ngx_http_apikeys_ctx_log(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_decision_e decision);
static ngx_http_apikeys_location_decision_t *ngx_http_apikeys_ctx_add(
    ngx_http_apikeys_ctx_t *ctx, ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf);


static const ngx_str_t  ngx_http_apikeys_ctx_decision_names[] = {
    [NGX_HTTP_APIKEYS_DECISION_ALLOW] = ngx_string("allow"),
    [NGX_HTTP_APIKEYS_DECISION_NO_CREDENTIAL] = ngx_string("no_credential"),
    [NGX_HTTP_APIKEYS_DECISION_BAD_CREDENTIAL] = ngx_string("bad_credential"),
    [NGX_HTTP_APIKEYS_DECISION_UNKNOWN_KEY] = ngx_string("unknown_key"),
    [NGX_HTTP_APIKEYS_DECISION_WRONG_SECRET] = ngx_string("wrong_secret"),
    [NGX_HTTP_APIKEYS_DECISION_STALE_NONCE] = ngx_string("stale_nonce"),
    [NGX_HTTP_APIKEYS_DECISION_REPLAY] = ngx_string("replay"),
    [NGX_HTTP_APIKEYS_DECISION_SECRET_EXPIRED] = ngx_string("secret_expired"),
    [NGX_HTTP_APIKEYS_DECISION_KEY_DISABLED] = ngx_string("key_disabled"),
    [NGX_HTTP_APIKEYS_DECISION_KEY_EXPIRED] = ngx_string("key_expired"),
    [NGX_HTTP_APIKEYS_DECISION_ADDRESS] = ngx_string("address"),
    [NGX_HTTP_APIKEYS_DECISION_NO_ACCESS_LIST] = ngx_string("no_access_list"),
    [NGX_HTTP_APIKEYS_DECISION_ROLE] = ngx_string("role"),
    [NGX_HTTP_APIKEYS_DECISION_NOT_LOADED] = ngx_string("not_loaded"),
    [NGX_HTTP_APIKEYS_DECISION_STALE_COPY] = ngx_string("expired"),
    [NGX_HTTP_APIKEYS_DECISION_ERROR] = ngx_string("error"),
    [NGX_HTTP_APIKEYS_DECISION_ALLOW_STALE] = ngx_string("allow_expired")
};

_Static_assert(sizeof(ngx_http_apikeys_ctx_decision_names) / sizeof(ngx_str_t)
               == NGX_HTTP_APIKEYS_DECISIONS,
               "each decision has a name");


ngx_http_apikeys_ctx_t *
ngx_http_apikeys_ctx_get(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t      *cln;
    ngx_http_apikeys_ctx_t  *ctx;

    ctx = ngx_http_apikeys_ctx_find(r);

    if (ctx) {
        return ctx;
    }

    cln = ngx_pool_cleanup_add(r->main->pool,
                               sizeof(ngx_http_apikeys_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_apikeys_ctx_t));

    ctx->identity_decision = NGX_HTTP_APIKEYS_DECISION_NO_CREDENTIAL;

    cln->handler = ngx_http_apikeys_ctx_cleanup;

    ngx_http_set_ctx(r->main, ctx, ngx_http_apikeys_module);

    return ctx;
}


/*
 * does nothing: by this handler the context is found among the pool's cleanups
 */

static void
ngx_http_apikeys_ctx_cleanup(void *data)
{
    return;
}


ngx_http_apikeys_ctx_t *
ngx_http_apikeys_ctx_find(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t      *cln;
    ngx_http_apikeys_ctx_t  *ctx;

    r = r->main;

    ctx = ngx_http_get_module_ctx(r, ngx_http_apikeys_module);

    if (ctx || (!r->internal && !r->filter_finalize)) {
        return ctx;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler == ngx_http_apikeys_ctx_cleanup) {
            ngx_http_set_ctx(r, cln->data, ngx_http_apikeys_module);
            return cln->data;
        }
    }

    return NULL;
}


ngx_http_apikeys_decision_e
ngx_http_apikeys_ctx_identify(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf)
{
    ctx->identity_decision = ngx_http_apikeys_auth_identify(r->main, alcf,
                                                            &ctx->identity);

    return ctx->identity_decision;
}


/* a decision that did not change is not counted or logged again */

void
ngx_http_apikeys_ctx_decide(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_decision_e decision)
{
    ngx_http_apikeys_main_conf_t          *amcf;
    ngx_http_apikeys_location_decision_t  *decided;

    decided = ngx_http_apikeys_ctx_location_decision(ctx, alcf);

    if (decided && decided->decision == decision) {
        ctx->last = decided;
        return;
    }

    if (decided == NULL) {
        decided = ngx_http_apikeys_ctx_add(ctx, r, alcf);
    }

    if (decided) {
        decided->decision = decision;
        ctx->last = decided;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    amcf->worker.metrics->decisions[decision]++;

    if (decision != NGX_HTTP_APIKEYS_DECISION_ALLOW) {
        ngx_http_apikeys_ctx_log(ctx, r, alcf, decision);
    }

    if ((decision == NGX_HTTP_APIKEYS_DECISION_ALLOW
         || decision == NGX_HTTP_APIKEYS_DECISION_ALLOW_STALE)
        && ctx->identity.entry.family && !ctx->identity.global
        && !ctx->counted)
    {
        ctx->counted = 1;
        ngx_apikeys_usage_count(amcf->worker.usage, &ctx->identity.id,
                                &ctx->identity.entry,
                                &ctx->identity.address);
    }
}


static void
ngx_http_apikeys_ctx_log(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_decision_e decision)
{
    ngx_str_t         key;
    ngx_uint_t        allowed;
    const ngx_str_t  *name;

    name = ngx_http_apikeys_ctx_decision_name(decision);
    allowed = (decision == NGX_HTTP_APIKEYS_DECISION_ALLOW_STALE);

    key.data = ctx->identity.public_key;
    key.len = key.data[0] ? NGX_APIKEYS_PUBLIC_KEY_LEN : 0;

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "apikeys: access %s: %V%s%V%s",
                  allowed ? "allowed" : alcf->dry_run ? "would be denied"
                                                      : "denied",
                  name, key.len ? ", key \"" : "", &key, key.len ? "\"" : "");

    if (decision == NGX_HTTP_APIKEYS_DECISION_NOT_LOADED && !alcf->dry_run) {
        ngx_http_apikeys_ctx_not_loaded(r, &key);
    }
}


void
ngx_http_apikeys_ctx_not_loaded(ngx_http_request_t *r,
    const ngx_str_t *public_key)
{
    u_char                         buf[NGX_MAX_ERROR_STR / 8];
    ngx_str_t                      reason;
    ngx_apikeys_store_t           *st;
    ngx_http_apikeys_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);
    st = amcf->store;

    if (!ngx_apikeys_store_complete(st)) {
        ngx_str_set(&reason, "local copy is not loaded completely");
        ngx_apikeys_refusal(st, NGX_APIKEYS_FAILURE_NOT_LOADED, &reason,
                            r->connection->log);
        return;
    }

    reason.data = buf;
    reason.len = ngx_snprintf(buf, sizeof(buf),
                              "API key%s%V%s has no room in the zone or cannot "
                              "be decrypted with apikeys_master_key_file",
                              public_key->len ? " \"" : "", public_key,
                              public_key->len ? "\"" : "")
                 - buf;

    ngx_apikeys_refusal(st, NGX_APIKEYS_FAILURE_KEY, &reason,
                        r->connection->log);
}


static ngx_http_apikeys_location_decision_t *
ngx_http_apikeys_ctx_add(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf)
{
    ngx_http_apikeys_location_decision_t  *decided;

    decided = &ctx->decisions;

    if (decided->where) {
        decided = ngx_palloc(r->main->pool,
                             sizeof(ngx_http_apikeys_location_decision_t));
        if (decided == NULL) {
            return NULL;
        }

        decided->next = ctx->decisions.next;
        ctx->decisions.next = decided;
    }

    decided->where = alcf;

    return decided;
}


ngx_http_apikeys_location_decision_t *
ngx_http_apikeys_ctx_location_decision(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_loc_conf_t *alcf)
{
    ngx_http_apikeys_location_decision_t  *decided;

    for (decided = &ctx->decisions; decided; decided = decided->next) {
        if (decided->where == alcf) {
            return decided;
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_apikeys_ctx_verified(ngx_http_apikeys_ctx_t *ctx)
{
    return ctx->identity.credential != NULL
           && ctx->identity.nonce_decision == NGX_HTTP_APIKEYS_DECISION_ALLOW;
}


const ngx_str_t *
ngx_http_apikeys_ctx_decision_name(ngx_http_apikeys_decision_e decision)
{
    return &ngx_http_apikeys_ctx_decision_names[decision];
}
