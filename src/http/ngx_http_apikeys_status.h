
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * apikeys_status: state and metrics, as JSON or as Prometheus text.
 */


#ifndef _NGX_HTTP_APIKEYS_STATUS_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_STATUS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* the directive's setter */
char *ngx_http_apikeys_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_APIKEYS_STATUS_H_INCLUDED_ */
