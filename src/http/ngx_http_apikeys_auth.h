
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Authentication: the credential of a request, by digest, basic, a header or
 * the operator's token, becomes an identity.  Synchronous: only the local copy
 * is read.
 */


#ifndef _NGX_HTTP_APIKEYS_AUTH_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_AUTH_H_INCLUDED_


#include <ngx_apikeys_uuid.h>
#include <ngx_http_apikeys.h>


/* public key, "_", private key */
#define NGX_HTTP_APIKEYS_AUTH_TOKEN_LEN                                      \
    (NGX_APIKEYS_PUBLIC_KEY_LEN + 1 + NGX_APIKEYS_UUID_TEXT_LEN)


/*
 * The bit of the scheme that an argument of apikeys_auth names, or 0.
 * "param" is what follows the "=" of a name that has one, else its data is
 * NULL.
 */
ngx_uint_t ngx_http_apikeys_auth_scheme(const ngx_str_t *arg,
    ngx_str_t *param);

/*
 * Whether a text has the form of the token of a key, lower case only.  Such a
 * text is never taken for the token of the operator.
 */
ngx_uint_t ngx_http_apikeys_auth_is_token(const ngx_str_t *text);

/*
 * Verifies credential, secret, nonce and access list, but no roles, by the
 * schemes of the location; only an API accepts the operator's token.
 * "identity" must be zeroed for the first location of a request, and is passed
 * again for further ones: a verified credential is not verified again, as its
 * nonce count can be used only once; everything else is checked again.
 */
ngx_http_apikeys_decision_e ngx_http_apikeys_auth_identify(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_identity_t *identity);

/*
 * The decision on a key without a credential, by its id and an address, which
 * "identity" has; the rest of "identity" is zeroed.  Call it in a read
 * section.
 */
ngx_http_apikeys_decision_e ngx_http_apikeys_auth_judge(
    ngx_apikeys_store_t *st, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_identity_t *identity);

/*
 * Adds the challenges of the location's schemes to a 401, in the order of the
 * table.  "stale": the decision was STALE_NONCE.
 */
ngx_int_t ngx_http_apikeys_auth_challenge(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_uint_t stale);

/* adds a WWW-Authenticate header */
ngx_int_t ngx_http_apikeys_auth_push(ngx_http_request_t *r,
    ngx_str_t *value);


#endif /* _NGX_HTTP_APIKEYS_AUTH_H_INCLUDED_ */
