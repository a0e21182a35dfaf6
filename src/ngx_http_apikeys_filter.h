
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Filters over the answers of our locations: every 401 gets the challenges,
 * and an error that nginx raised by itself becomes the JSON document.
 */


#ifndef _NGX_HTTP_APIKEYS_FILTER_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_FILTER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


ngx_int_t ngx_http_apikeys_filter_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_APIKEYS_FILTER_H_INCLUDED_ */
