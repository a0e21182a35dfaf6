
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#ifndef _NGX_HTTP_APIKEYS_PROJECTS_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_PROJECTS_H_INCLUDED_


#include <ngx_http_apikeys.h>


/* one by its id, with its attributes, and a change of these */
extern const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_stmt;
extern const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_update_stmt;


ngx_int_t ngx_http_apikeys_projects_list(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_projects_create(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_projects_get(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_projects_by_name(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_projects_update(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_projects_delete(ngx_http_apikeys_ctx_t *ctx);


#endif /* _NGX_HTTP_APIKEYS_PROJECTS_H_INCLUDED_ */
