
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Enforcement: one synchronous decision for each protected location.
 */


#ifndef _NGX_HTTP_APIKEYS_ACCESS_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_ACCESS_H_INCLUDED_


#include <ngx_http_apikeys.h>


/*
 * The decision for the request's location, which is protected.  Who it is,
 * is found out once; whether it may, each time, as rules can hold variables.
 */
ngx_http_apikeys_decision_e ngx_http_apikeys_access_decide(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf);

/* whether the location demands a key, itself or as an API */
#define ngx_http_apikeys_access_protected(alcf)                              \
    ((alcf)->auth & NGX_HTTP_APIKEYS_AUTH_ANY)

/*
 * Puts the handlers into their phases, after allow and deny: of all requests,
 * so only where some location demands a key.
 */
ngx_int_t ngx_http_apikeys_access_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_APIKEYS_ACCESS_H_INCLUDED_ */
