
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * One PGconn on one ngx_connection_t, and the configuration that says how
 * to open it.
 */


#ifndef _NGX_APIKEYS_PG_CONN_H_INCLUDED_
#define _NGX_APIKEYS_PG_CONN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


/* made at configuration, read-only afterwards */
typedef struct {
    ngx_str_t       conninfo;          /* without a password */
    ngx_str_t       password;          /* of password_file, or empty */
    ngx_uint_t      connections;       /* per worker */
    ngx_uint_t      queue;
    ngx_msec_t      connect_timeout;
    ngx_msec_t      timeout;
    ngx_resolver_t *resolver;          /* of the http block; may be unset */
    void           *hosts;             /* ngx_apikeys_pg_conn's own */
} ngx_apikeys_pg_conf_t;


/*
 * Checks conf->conninfo and splits it into hosts.  On an error logs [emerg]
 * with what to do and returns NGX_ERROR.  Refused: password=, passfile=,
 * service=, sslmode=allow or prefer with a host beyond loopback.
 */
ngx_int_t ngx_apikeys_pg_conn_configure(ngx_conf_t *cf,
    ngx_apikeys_pg_conf_t *conf);


#endif /* _NGX_APIKEYS_PG_CONN_H_INCLUDED_ */
