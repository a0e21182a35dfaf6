
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Media types of a call: what v2 asks of Accept, and every API of the type
 * of a body (decisions 28 and 29).
 */


#ifndef _NGX_HTTP_APIKEYS_ACCEPT_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_ACCEPT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* whether a versioned type is among those that the client accepts */
ngx_uint_t ngx_http_apikeys_accept_version(ngx_http_request_t *r);

/* whether the body is JSON by its type, or has none */
ngx_uint_t ngx_http_apikeys_accept_body(ngx_http_request_t *r);


#endif /* _NGX_HTTP_APIKEYS_ACCEPT_H_INCLUDED_ */
