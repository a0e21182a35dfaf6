
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Content negotiation: the Accept header on Atlas v2, and the Content-Type of
 * a request body on all APIs (docs/compatibility.md D5, D6).
 */


#ifndef _NGX_HTTP_APIKEYS_ACCEPT_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_ACCEPT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* whether Accept has a media type of a version of Atlas v2 */
ngx_uint_t ngx_http_apikeys_accept_version(ngx_http_request_t *r);

/*
 * Whether Content-Type is JSON, or absent.  "vendor": the types of Atlas'
 * versions are JSON, too.
 */
ngx_uint_t ngx_http_apikeys_accept_body(ngx_http_request_t *r,
    ngx_uint_t vendor);


#endif /* _NGX_HTTP_APIKEYS_ACCEPT_H_INCLUDED_ */
