
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Global keys, of Ops Manager: keys of no organization, for operators.
 */


#ifndef _NGX_HTTP_APIKEYS_GLOBAL_KEYS_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_GLOBAL_KEYS_H_INCLUDED_


#include <ngx_http_apikeys.h>


ngx_int_t ngx_http_apikeys_global_keys_list(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_global_keys_create(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_global_keys_get(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_global_keys_update(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_global_keys_delete(ngx_http_apikeys_ctx_t *ctx);

/* the names of global roles */
ngx_int_t ngx_http_apikeys_global_keys_roles(ngx_http_apikeys_ctx_t *ctx);


#endif /* _NGX_HTTP_APIKEYS_GLOBAL_KEYS_H_INCLUDED_ */
