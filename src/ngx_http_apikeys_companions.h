
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What clients call around keys and find empty here: users, teams,
 * invitations, limits, addresses, clusters; and the settings of a project,
 * which are stored and have no effect.
 */


#ifndef _NGX_HTTP_APIKEYS_COMPANIONS_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_COMPANIONS_H_INCLUDED_


#include <ngx_http_apikeys.h>


/* a list without results; "[]" */
ngx_int_t ngx_http_apikeys_companions_list(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_companions_array(ngx_http_apikeys_ctx_t *ctx);


ngx_int_t ngx_http_apikeys_companions_addresses(ngx_http_apikeys_ctx_t *ctx);

/* there is no team: assigning none succeeds */
ngx_int_t ngx_http_apikeys_companions_add_teams(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_companions_no_team(ngx_http_apikeys_ctx_t *ctx);

ngx_int_t ngx_http_apikeys_companions_settings(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_companions_update_settings(
    ngx_http_apikeys_ctx_t *ctx);

/* managedSlowMs: whether the threshold of slow operations is managed */
ngx_int_t ngx_http_apikeys_companions_slow_ms(ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_companions_enable_slow_ms(
    ngx_http_apikeys_ctx_t *ctx);
ngx_int_t ngx_http_apikeys_companions_disable_slow_ms(
    ngx_http_apikeys_ctx_t *ctx);


#endif /* _NGX_HTTP_APIKEYS_COMPANIONS_H_INCLUDED_ */
