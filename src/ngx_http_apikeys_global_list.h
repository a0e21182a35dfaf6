
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The access list of all global keys, of Ops Manager.
 */


#ifndef _NGX_HTTP_APIKEYS_GLOBAL_LIST_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_GLOBAL_LIST_H_INCLUDED_


#include <ngx_http_apikeys.h>


ngx_int_t ngx_http_apikeys_global_list_get(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_global_list_add(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_global_list_entry(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_global_list_update(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_global_list_delete(ngx_http_apikeys_ctx_t *ctx);


#endif /* _NGX_HTTP_APIKEYS_GLOBAL_LIST_H_INCLUDED_ */
