
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Header and body filter of locations with apikeys_api or apikeys_auth: adds
 * WWW-Authenticate to a 401, and replaces error pages of nginx with the JSON
 * error document.
 */


#ifndef _NGX_HTTP_APIKEYS_FILTER_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_FILTER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


ngx_int_t ngx_http_apikeys_filter_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_APIKEYS_FILTER_H_INCLUDED_ */
