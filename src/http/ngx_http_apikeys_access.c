
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * nginx skips the access phase in subrequests.  A subrequest to a protected
 * location is decided in the precontent phase, by the credential and the
 * method of the main request.  (Not before the access phase: realip may still
 * change the address, and a handler of an earlier phase cannot skip a later
 * one.)  The administration API decides in its content handler; only
 * apikeys_require is checked here.
 */


#include <ngx_http_apikeys_access.h>
#include <ngx_http_apikeys_ctx.h>
#include <ngx_http_apikeys_require.h>


static ngx_int_t ngx_http_apikeys_access_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_apikeys_access_subrequest_handler(
    ngx_http_request_t *r);
static NGX_HTTP_APIKEYS_NOINLINE ngx_int_t ngx_http_apikeys_access_check(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf);
static NGX_HTTP_APIKEYS_NOINLINE ngx_int_t ngx_http_apikeys_access_check_api(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf);
static ngx_int_t ngx_http_apikeys_access_status(
    ngx_http_apikeys_ctx_t *ctx, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_decision_e decision);
static ngx_http_apikeys_decision_e ngx_http_apikeys_access_check_rules(
    ngx_http_apikeys_ctx_t *ctx, ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf);


static ngx_int_t
ngx_http_apikeys_access_handler(ngx_http_request_t *r)
{
    ngx_http_apikeys_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_apikeys_module);

    if (!ngx_http_apikeys_access_protected(alcf)) {
        return NGX_DECLINED;
    }

    return alcf->api ? ngx_http_apikeys_access_check_api(r, alcf)
                     : ngx_http_apikeys_access_check(r, alcf);
}


static ngx_int_t
ngx_http_apikeys_access_subrequest_handler(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_http_apikeys_loc_conf_t  *alcf;

    if (r == r->main) {
        return NGX_DECLINED;
    }

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_apikeys_module);

    if (alcf->api || !ngx_http_apikeys_access_protected(alcf)) {
        return NGX_DECLINED;
    }

    rc = ngx_http_apikeys_access_check(r, alcf);

    return (rc == NGX_OK) ? NGX_DECLINED : rc;
}


static ngx_int_t
ngx_http_apikeys_access_check(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf)
{
    ngx_http_apikeys_ctx_t       *ctx;
    ngx_http_apikeys_decision_e   decision;

    decision = ngx_http_apikeys_access_decide(r, alcf);

    /* a dry run denies nothing, and grants nothing under "satisfy any" */

    if (alcf->dry_run) {
        return NGX_DECLINED;
    }

    if (decision == NGX_HTTP_APIKEYS_DECISION_ALLOW
        || decision == NGX_HTTP_APIKEYS_DECISION_ALLOW_STALE)
    {
        return NGX_OK;
    }

    ctx = ngx_http_apikeys_ctx_get(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_apikeys_access_status(ctx, alcf, decision);
}


/*
 * In an administration API only apikeys_require is checked here, which can
 * only restrict.  All other failures are left to the content handler, whose
 * errors say more.
 */

static ngx_int_t
ngx_http_apikeys_access_check_api(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf)
{
    ngx_http_apikeys_ctx_t       *ctx;
    ngx_http_apikeys_decision_e   decision;

    if (alcf->require == NULL) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_apikeys_ctx_get(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    decision = ngx_http_apikeys_ctx_identify(ctx, r, alcf);

    if (decision != NGX_HTTP_APIKEYS_DECISION_ALLOW || ctx->identity.operator) {
        return NGX_DECLINED;
    }

    decision = ngx_http_apikeys_access_check_rules(ctx, r, alcf);

    if (decision == NGX_HTTP_APIKEYS_DECISION_ALLOW) {
        return NGX_DECLINED;
    }

    ngx_http_apikeys_ctx_decide(ctx, r, alcf, decision);

    return ngx_http_apikeys_access_status(ctx, alcf, decision);
}


static ngx_int_t
ngx_http_apikeys_access_status(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_decision_e decision)
{
    ctx->denied_in = alcf;

    switch (decision) {

    case NGX_HTTP_APIKEYS_DECISION_ADDRESS:
    case NGX_HTTP_APIKEYS_DECISION_NO_ACCESS_LIST:
    case NGX_HTTP_APIKEYS_DECISION_ROLE:
        return NGX_HTTP_FORBIDDEN;

    case NGX_HTTP_APIKEYS_DECISION_NOT_LOADED:
    case NGX_HTTP_APIKEYS_DECISION_STALE_COPY:
        return NGX_HTTP_SERVICE_UNAVAILABLE;

    case NGX_HTTP_APIKEYS_DECISION_ERROR:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;

    default:
        return NGX_HTTP_UNAUTHORIZED;
    }
}


ngx_http_apikeys_decision_e
ngx_http_apikeys_access_decide(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf)
{
    ngx_uint_t                     section;
    ngx_http_apikeys_ctx_t        *ctx;
    ngx_http_apikeys_decision_e    decision;
    ngx_http_apikeys_main_conf_t  *amcf;

    ctx = ngx_http_apikeys_ctx_get(r);
    if (ctx == NULL) {
        return NGX_HTTP_APIKEYS_DECISION_ERROR;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    /* rules without variables are checked in the section of the lookup */

    section = (alcf->require && !alcf->require_evaluates);

    if (section) {
        ngx_apikeys_store_read_begin(amcf->store);
    }

    decision = ngx_http_apikeys_ctx_identify(ctx, r, alcf);

    if (decision == NGX_HTTP_APIKEYS_DECISION_ALLOW
        && (alcf->require || ctx->identity.global))
    {
        decision = ngx_http_apikeys_access_check_rules(ctx, r, alcf);
    }

    if (section) {
        ngx_apikeys_store_read_end(amcf->store);
    }

    if (decision == NGX_HTTP_APIKEYS_DECISION_ALLOW
        && ctx->identity.stale_copy)
    {
        decision = NGX_HTTP_APIKEYS_DECISION_ALLOW_STALE;
    }

    ngx_http_apikeys_ctx_decide(ctx, r, alcf, decision);

    return decision;
}


/*
 * A parameter of apikeys_require may depend on the caller (a map from
 * $apikeys_public_key), who is identified by now.  The flag keeps that
 * variable from starting another decision, which would recurse.
 */

static ngx_http_apikeys_decision_e
ngx_http_apikeys_access_check_rules(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf)
{
    ngx_http_apikeys_decision_e  decision;

    ctx->deciding = 1;

    decision = ngx_http_apikeys_require_decide(r, alcf->require,
                                              &ctx->identity);
    ctx->deciding = 0;

    return decision;
}


ngx_int_t
ngx_http_apikeys_access_init(ngx_conf_t *cf)
{
    ngx_array_t                *handlers;
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    /*
     * a phase runs its handlers from the last to the first: this one,
     * appended, runs first
     */

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_apikeys_access_subrequest_handler;

    /* and this one, put in front of the others, after allow and deny */

    handlers = &cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers;

    if (ngx_array_push(handlers) == NULL) {
        return NGX_ERROR;
    }

    h = handlers->elts;

    ngx_memmove(&h[1], &h[0],
                (handlers->nelts - 1) * sizeof(ngx_http_handler_pt));

    h[0] = ngx_http_apikeys_access_handler;

    return NGX_OK;
}
