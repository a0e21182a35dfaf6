
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * nginx skips the access phase in subrequests; a subrequest into a protected
 * location is decided right after it, for the credentials and the method of
 * the main request.  (Not before it: realip may have the address to find, and
 * no handler of an earlier phase can skip a later one.)  The administration
 * API decides by itself, but for the lines of apikeys_require.
 */


#include <ngx_http_apikeys_access.h>
#include <ngx_http_apikeys_record.h>
#include <ngx_http_apikeys_require.h>


static ngx_int_t ngx_http_apikeys_access_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_apikeys_access_subrequest_handler(
    ngx_http_request_t *r);
static NGX_HTTP_APIKEYS_NOINLINE ngx_int_t ngx_http_apikeys_access_check(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf);
static NGX_HTTP_APIKEYS_NOINLINE ngx_int_t ngx_http_apikeys_access_check_api(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf);
static ngx_int_t ngx_http_apikeys_access_refuse(
    ngx_http_apikeys_record_t *record, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_decision_e decision);
static ngx_http_apikeys_decision_e ngx_http_apikeys_access_judge(
    ngx_http_apikeys_record_t *record, ngx_http_request_t *r,
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
    ngx_http_apikeys_record_t    *record;
    ngx_http_apikeys_decision_e   decision;

    decision = ngx_http_apikeys_access_decide(r, alcf);

    /* a dry run refuses nothing, and grants nothing under "satisfy any" */

    if (alcf->dry_run) {
        return NGX_DECLINED;
    }

    if (decision == NGX_HTTP_APIKEYS_ALLOW
        || decision == NGX_HTTP_APIKEYS_ALLOW_EXPIRED)
    {
        return NGX_OK;
    }

    record = ngx_http_apikeys_record(r);
    if (record == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_apikeys_access_refuse(record, alcf, decision);
}


/*
 * Demands of the configuration's come before those of the call, and can only
 * tighten; of all that else may be wrong the API itself tells more.
 */

static ngx_int_t
ngx_http_apikeys_access_check_api(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf)
{
    ngx_http_apikeys_record_t    *record;
    ngx_http_apikeys_decision_e   decision;

    if (alcf->require == NULL) {
        return NGX_DECLINED;
    }

    record = ngx_http_apikeys_record(r);
    if (record == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    decision = ngx_http_apikeys_record_identify(record, r, alcf);

    if (decision != NGX_HTTP_APIKEYS_ALLOW || record->identity.operator) {
        return NGX_DECLINED;
    }

    decision = ngx_http_apikeys_access_judge(record, r, alcf);

    if (decision == NGX_HTTP_APIKEYS_ALLOW) {
        return NGX_DECLINED;
    }

    ngx_http_apikeys_record_decision(record, r, alcf, decision);

    return ngx_http_apikeys_access_refuse(record, alcf, decision);
}


static ngx_int_t
ngx_http_apikeys_access_refuse(ngx_http_apikeys_record_t *record,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_decision_e decision)
{
    record->refused = alcf;

    switch (decision) {

    case NGX_HTTP_APIKEYS_ADDRESS:
    case NGX_HTTP_APIKEYS_NO_LIST:
    case NGX_HTTP_APIKEYS_ROLE:
        return NGX_HTTP_FORBIDDEN;

    case NGX_HTTP_APIKEYS_NOT_LOADED:
    case NGX_HTTP_APIKEYS_EXPIRED:
        return NGX_HTTP_SERVICE_UNAVAILABLE;

    case NGX_HTTP_APIKEYS_ERROR:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;

    default:
        return NGX_HTTP_UNAUTHORIZED;
    }
}


ngx_http_apikeys_decision_e
ngx_http_apikeys_access_decide(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf)
{
    ngx_http_apikeys_record_t    *record;
    ngx_http_apikeys_decision_e   decision;

    record = ngx_http_apikeys_record(r);
    if (record == NULL) {
        return NGX_HTTP_APIKEYS_ERROR;
    }

    decision = ngx_http_apikeys_record_identify(record, r, alcf);

    if (decision == NGX_HTTP_APIKEYS_ALLOW
        && (alcf->require || record->identity.global))
    {
        decision = ngx_http_apikeys_access_judge(record, r, alcf);
    }

    if (decision == NGX_HTTP_APIKEYS_ALLOW && record->identity.expired) {
        decision = NGX_HTTP_APIKEYS_ALLOW_EXPIRED;
    }

    ngx_http_apikeys_record_decision(record, r, alcf, decision);

    return decision;
}


/*
 * A value of a line may depend on who it is (a map from $apikeys_public_key),
 * which is known by now: such a variable must not decide, and so come here
 * again.
 */

static ngx_http_apikeys_decision_e
ngx_http_apikeys_access_judge(ngx_http_apikeys_record_t *record,
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf)
{
    ngx_http_apikeys_decision_e  decision;

    record->judging = 1;

    decision = ngx_http_apikeys_require_judge(r, alcf->require,
                                              &record->identity);
    record->judging = 0;

    return decision;
}


ngx_int_t
ngx_http_apikeys_access_init(ngx_conf_t *cf)
{
    ngx_array_t                *handlers;
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    /* a phase runs its handlers from the last to the first: this goes first */

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_apikeys_access_subrequest_handler;

    /* and this one last, after allow and deny */

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
