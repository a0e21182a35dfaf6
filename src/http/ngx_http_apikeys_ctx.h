
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The module's context of a request: the identity of the caller and the
 * decision for each location.  A request with all its internal redirects and
 * subrequests has one context, so that a digest's nonce count is used only
 * once.  Each location decides again; its last decision is kept for variables
 * and metrics.
 */


#ifndef _NGX_HTTP_APIKEYS_CTX_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_CTX_H_INCLUDED_


#include <ngx_http_apikeys.h>


typedef struct ngx_http_apikeys_location_decision_s
    ngx_http_apikeys_location_decision_t;

/* the decision for one location */
struct ngx_http_apikeys_location_decision_s {
    ngx_http_apikeys_location_decision_t  *next;
    ngx_http_apikeys_loc_conf_t           *where;      /* its location; NULL:
                                                          not in use */
    ngx_http_apikeys_decision_e            decision;   /* roles included */
};


typedef struct {
    /* the decision by credential and address, without roles */
    ngx_http_apikeys_decision_e            identity_decision;
    ngx_http_apikeys_identity_t            identity;

    /* the first of the list, embedded to save an allocation */
    ngx_http_apikeys_location_decision_t   decisions;

    /* the last decision, or NULL */
    ngx_http_apikeys_location_decision_t  *last;

    /* apikeys_require is being evaluated: its variables must not decide */
    ngx_uint_t                             deciding;

    /* the location that denied access, until the header is sent */
    ngx_http_apikeys_loc_conf_t           *denied_in;

    /* this request was counted as a use of its access list entry */
    ngx_uint_t                             counted;

    /* the call of an administration API, or NULL */
    ngx_http_apikeys_call_t               *call;

    /* the API has sent its response: the filter must not replace it */
    ngx_uint_t                             answered;

    /*
     * for the body filter: the document that replaces nginx's error page of
     * request "r"
     */
    ngx_http_request_t                    *r;
    ngx_chain_t                           *document;
    ngx_uint_t                             replaced;
} ngx_http_apikeys_ctx_t;


/* the context of r->main, created if there is none; NULL: no memory */
ngx_http_apikeys_ctx_t *ngx_http_apikeys_ctx_get(ngx_http_request_t *r);

/* the same, or NULL if there is none */
ngx_http_apikeys_ctx_t *ngx_http_apikeys_ctx_find(ngx_http_request_t *r);

/* authenticates for a location; fills ctx->identity */
ngx_http_apikeys_decision_e ngx_http_apikeys_ctx_identify(
    ngx_http_apikeys_ctx_t *ctx, ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf);

/* keeps, counts and logs the final decision for a location */
void ngx_http_apikeys_ctx_decide(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_decision_e decision);

/*
 * Logs why the local copy does not allow a decision (503).  The public key may
 * be empty: not known.
 */
void ngx_http_apikeys_ctx_not_loaded(ngx_http_request_t *r,
    const ngx_str_t *public_key);

/* the last decision for a location, or NULL */
ngx_http_apikeys_location_decision_t *ngx_http_apikeys_ctx_location_decision(
    ngx_http_apikeys_ctx_t *ctx, ngx_http_apikeys_loc_conf_t *alcf);

/* whether the secret was verified: variables may show the identity */
ngx_uint_t ngx_http_apikeys_ctx_verified(ngx_http_apikeys_ctx_t *ctx);

/* the name of a decision, as $apikeys_decision shows it */
const ngx_str_t *ngx_http_apikeys_ctx_decision_name(
    ngx_http_apikeys_decision_e decision);


#endif /* _NGX_HTTP_APIKEYS_CTX_H_INCLUDED_ */
