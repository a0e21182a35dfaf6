
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * From a request's credential to an identity: digest, basic, a header of
 * ours, the operator's token.  Synchronous; decides from the local copy alone.
 */


#ifndef _NGX_HTTP_APIKEYS_AUTH_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_AUTH_H_INCLUDED_


#include <ngx_http_apikeys.h>


/*
 * Credential, record, secret, address list: everything but roles.  Schemes
 * are those of the location; the operator's token is taken on an API alone.
 * The caller keeps the identity from one location to the next, zeroed before
 * the first: a credential that was right is not verified again, as a digest's
 * count serves once, but all else is asked anew.
 */
ngx_http_apikeys_decision_e ngx_http_apikeys_auth_identify(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_identity_t *identity);

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
