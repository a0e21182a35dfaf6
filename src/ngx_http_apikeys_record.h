
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What is remembered of a request: who it is, and what was decided where.
 * One for a request with all its internal redirects and subrequests, so that
 * a digest's count is taken once; all else is judged anew at each location,
 * and what is remembered of a decision serves variables and figures alone.
 */


#ifndef _NGX_HTTP_APIKEYS_RECORD_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_RECORD_H_INCLUDED_


#include <ngx_http_apikeys.h>


typedef struct ngx_http_apikeys_judgment_s  ngx_http_apikeys_judgment_t;

struct ngx_http_apikeys_judgment_s {
    ngx_http_apikeys_judgment_t   *next;
    ngx_http_apikeys_loc_conf_t   *where;       /* NULL: not in use */
    ngx_http_apikeys_decision_e    decision;    /* roles included */
};


typedef struct {
    ngx_http_apikeys_decision_e    identified;  /* by credential and address */
    ngx_http_apikeys_identity_t    identity;

    ngx_http_apikeys_judgment_t    judgments;   /* the list and its first */
    ngx_http_apikeys_judgment_t   *last;        /* or NULL */
    ngx_uint_t                     judging;     /* roles are being judged */

    ngx_http_apikeys_loc_conf_t   *refused;     /* where, until it is said */
    ngx_uint_t                     counted;     /* as a use of its entry */

    ngx_http_apikeys_ctx_t        *call;        /* to the API, or NULL */

    /* of the filter: what goes out in the place of nginx's own page, which
       is the page of "r" */
    ngx_http_request_t            *r;
    ngx_chain_t                   *document;
    ngx_uint_t                     replaced;
} ngx_http_apikeys_record_t;


/* the record of r->main, made when there is none; NULL without memory */
ngx_http_apikeys_record_t *ngx_http_apikeys_record(ngx_http_request_t *r);

/* the same, or NULL when nothing was recorded yet */
ngx_http_apikeys_record_t *ngx_http_apikeys_record_find(
    ngx_http_request_t *r);

/* authenticates for a location; fills record->identity */
ngx_http_apikeys_decision_e ngx_http_apikeys_record_identify(
    ngx_http_apikeys_record_t *record, ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf);

/* the final decision for a location: remembered, counted, logged */
void ngx_http_apikeys_record_decision(ngx_http_apikeys_record_t *record,
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_decision_e decision);

/* the last decision for a location, or NULL */
ngx_http_apikeys_judgment_t *ngx_http_apikeys_record_judgment(
    ngx_http_apikeys_record_t *record, ngx_http_apikeys_loc_conf_t *alcf);

/* whether the secret was verified: who it is can be told */
ngx_uint_t ngx_http_apikeys_record_verified(
    ngx_http_apikeys_record_t *record);

/* the name of a decision, as $apikeys_decision shows it */
const ngx_str_t *ngx_http_apikeys_record_name(
    ngx_http_apikeys_decision_e decision);


#endif /* _NGX_HTTP_APIKEYS_RECORD_H_INCLUDED_ */
