
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Keys of an organisation: {B}/orgs/{ORG-ID}/apiKeys.
 */


#ifndef _NGX_HTTP_APIKEYS_KEYS_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_KEYS_H_INCLUDED_


#include <ngx_http_apikeys.h>


ngx_int_t ngx_http_apikeys_keys_list(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_keys_get(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_keys_create(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_keys_update(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_keys_delete(ngx_http_apikeys_ctx_t *ctx);


#endif /* _NGX_HTTP_APIKEYS_KEYS_H_INCLUDED_ */
