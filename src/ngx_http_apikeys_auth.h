
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * From a request's credential to an identity: digest, basic, a header of
 * ours, the operator's token.  Synchronous; decides from the replica alone.
 */


#ifndef _NGX_HTTP_APIKEYS_AUTH_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_AUTH_H_INCLUDED_


#include <ngx_http_apikeys.h>


/*
 * Credential, record, secret, address list: everything but roles.  Schemes
 * are those of the location; the operator's token is taken on an API alone.
 * The caller remembers the answer: a second call would see the count twice.
 */
ngx_http_apikeys_decision_e ngx_http_apikeys_auth_identify(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_identity_t *identity);

/*
 * ALLOW when decisions in the location may rest on the replica as it is,
 * else EXPIRED or NOT_LOADED.
 */
ngx_http_apikeys_decision_e ngx_http_apikeys_auth_fresh(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf);

/*
 * Adds the challenges of the location's schemes to a 401, digest MD5 first;
 * "stale" for NGX_HTTP_APIKEYS_STALE_NONCE.
 */
ngx_int_t ngx_http_apikeys_auth_challenge(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_uint_t stale);

/* adds one such header */
ngx_int_t ngx_http_apikeys_auth_push(ngx_http_request_t *r,
    ngx_str_t *value);


#endif /* _NGX_HTTP_APIKEYS_AUTH_H_INCLUDED_ */
