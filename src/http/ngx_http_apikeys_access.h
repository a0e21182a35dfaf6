
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Enforcement: one synchronous decision for each protected location.
 */


#ifndef _NGX_HTTP_APIKEYS_ACCESS_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_ACCESS_H_INCLUDED_


#include <ngx_http_apikeys.h>


/*
 * Decides on the request in its location, which must be protected.  The caller
 * is identified once for a request; apikeys_require is evaluated for each
 * location, as its parameters may have variables.
 */
ngx_http_apikeys_decision_e ngx_http_apikeys_access_decide(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf);

/* whether a location is protected, by apikeys_auth or as an API */
#define ngx_http_apikeys_access_protected(alcf)                              \
    ((alcf)->auth & NGX_HTTP_APIKEYS_AUTH_ANY)

/*
 * Adds the handlers of the phases.  They run for every request, so call this
 * only if some location has apikeys_auth or apikeys_api.
 */
ngx_int_t ngx_http_apikeys_access_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_APIKEYS_ACCESS_H_INCLUDED_ */
