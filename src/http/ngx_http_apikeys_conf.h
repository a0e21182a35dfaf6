
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Setters of the directives that cannot use ngx_conf_set_*_slot().
 */


#ifndef _NGX_HTTP_APIKEYS_CONF_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_CONF_H_INCLUDED_


#include <ngx_http_apikeys.h>


char *ngx_http_apikeys_conf_database(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_apikeys_conf_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_apikeys_conf_master_key_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_apikeys_conf_operator_token_file(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
char *ngx_http_apikeys_conf_realm(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_apikeys_conf_sync(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_apikeys_conf_stale(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_apikeys_conf_snapshot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_apikeys_conf_auth(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_APIKEYS_CONF_H_INCLUDED_ */
