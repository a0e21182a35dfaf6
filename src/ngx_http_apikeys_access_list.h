
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#ifndef _NGX_HTTP_APIKEYS_ACCESS_LIST_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_ACCESS_LIST_H_INCLUDED_


#include <ngx_http_apikeys.h>


ngx_int_t ngx_http_apikeys_access_list_get(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_access_list_add(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_access_list_entry(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_access_list_delete(ngx_http_apikeys_ctx_t *ctx);


#endif /* _NGX_HTTP_APIKEYS_ACCESS_LIST_H_INCLUDED_ */
