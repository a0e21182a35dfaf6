
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The content handler of an administration API.
 */


#ifndef _NGX_HTTP_APIKEYS_API_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_API_H_INCLUDED_


#include <ngx_http_apikeys_call.h>


ngx_int_t ngx_http_apikeys_api_handler(ngx_http_request_t *r);


#endif /* _NGX_HTTP_APIKEYS_API_H_INCLUDED_ */
