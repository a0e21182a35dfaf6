
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#ifndef _NGX_HTTP_APIKEYS_ORGS_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_ORGS_H_INCLUDED_


#include <ngx_http_apikeys.h>


ngx_int_t ngx_http_apikeys_orgs_list(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_orgs_create(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_orgs_get(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_orgs_update(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_orgs_delete(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_orgs_settings(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_orgs_update_settings(ngx_http_apikeys_ctx_t *ctx);


#endif /* _NGX_HTTP_APIKEYS_ORGS_H_INCLUDED_ */
