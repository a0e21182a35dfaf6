
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Events of keys, organizations and projects, as Atlas lists them.
 */


#ifndef _NGX_HTTP_APIKEYS_EVENTS_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_EVENTS_H_INCLUDED_


#include <ngx_http_apikeys.h>


/* the arguments of a list, and those of one event: into ctx->data */
ngx_int_t ngx_http_apikeys_events_query(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_events_query_raw(ngx_http_apikeys_ctx_t *ctx);

/* of the organization or project in the path */
ngx_int_t ngx_http_apikeys_events_list(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_events_get(ngx_http_apikeys_ctx_t *ctx);

ngx_int_t ngx_http_apikeys_events_types(ngx_http_apikeys_ctx_t *ctx);


#endif /* _NGX_HTTP_APIKEYS_EVENTS_H_INCLUDED_ */
