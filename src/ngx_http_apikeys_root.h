
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#ifndef _NGX_HTTP_APIKEYS_ROOT_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_ROOT_H_INCLUDED_


#include <ngx_http_apikeys.h>


ngx_int_t ngx_http_apikeys_root(ngx_http_apikeys_ctx_t *ctx);


#endif /* _NGX_HTTP_APIKEYS_ROOT_H_INCLUDED_ */
