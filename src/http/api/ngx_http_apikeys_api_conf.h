
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The directives of an administration API.
 */


#ifndef _NGX_HTTP_APIKEYS_API_CONF_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_API_CONF_H_INCLUDED_


#include <ngx_http_apikeys.h>


char *ngx_http_apikeys_api_conf(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_apikeys_api_conf_public_url(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);

/*
 * a limit_except block in the location of an API gets the API as its handler
 */
void ngx_http_apikeys_api_conf_inherit(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *prev, ngx_http_apikeys_loc_conf_t *conf);

/* checks what the location of an API cannot have; call it after the merge */
char *ngx_http_apikeys_api_conf_merge(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *conf);


#endif /* _NGX_HTTP_APIKEYS_API_CONF_H_INCLUDED_ */
