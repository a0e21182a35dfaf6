
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Addresses and credentials of the database: the connection string, parsed
 * once, at configuration.  What libpq would look up by itself (names, home
 * directories, the name of the account) is passed to libpq or refused here.
 */


#ifndef _NGX_APIKEYS_PG_HOST_H_INCLUDED_
#define _NGX_APIKEYS_PG_HOST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_APIKEYS_PG_HOST_OPTIONS      80
#define NGX_APIKEYS_PG_HOST_OPTIONS_LEN  512    /* of options= */


/* made at configuration, read-only afterwards */
typedef struct {
    ngx_str_t       conninfo;          /* without a password */
    ngx_str_t       password;          /* of password_file, or empty */
    ngx_uint_t      connections;       /* per worker */
    ngx_uint_t      queue;
    ngx_msec_t      connect_timeout;
    ngx_msec_t      timeout;
    ngx_resolver_t *resolver;          /* of the http block; may be unset */
    void           *hosts;             /* ngx_apikeys_pg_hosts_t */
} ngx_apikeys_pg_conf_t;


typedef struct {
    char           *host;              /* as in the conninfo; NULL: absent */
    char           *port;              /* NULL: libpq's own */
    char           *sslmode;
    ngx_str_t       name;              /* to be resolved, or empty */
    char          **addrs;             /* numeric */
    ngx_uint_t      naddrs;
    unsigned        local:1;           /* a unix socket: no address */
} ngx_apikeys_pg_host_t;


typedef struct {
    ngx_uint_t      n;
    ngx_apikeys_pg_host_t  *host;
    char           *application_name;
    char           *options;           /* the user's; may be NULL */

    /* of PQconnectStartParams(), without those that differ by connection */
    ngx_uint_t      noptions;
    const char     *keywords[NGX_APIKEYS_PG_HOST_OPTIONS];
    const char     *values[NGX_APIKEYS_PG_HOST_OPTIONS];
} ngx_apikeys_pg_hosts_t;


/* see ngx_apikeys_pg_conn_configure() */
ngx_int_t ngx_apikeys_pg_host_configure(ngx_conf_t *cf,
    ngx_apikeys_pg_conf_t *conf);


#endif /* _NGX_APIKEYS_PG_HOST_H_INCLUDED_ */
