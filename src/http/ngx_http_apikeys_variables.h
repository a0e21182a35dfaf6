
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * $apikeys_public_key and the other variables.
 */


#ifndef _NGX_HTTP_APIKEYS_VARIABLES_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_VARIABLES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


ngx_int_t ngx_http_apikeys_variables_add(ngx_conf_t *cf);


#endif /* _NGX_HTTP_APIKEYS_VARIABLES_H_INCLUDED_ */
