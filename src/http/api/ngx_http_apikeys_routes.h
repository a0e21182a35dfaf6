
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The route table: the handler and the required roles for each path and
 * method.  Two handlers require more than their route: those of POST /groups
 * and POST /groups/{GROUP-ID}/apiKeys.
 */


#ifndef _NGX_HTTP_APIKEYS_ROUTES_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_ROUTES_H_INCLUDED_


#include <ngx_http_apikeys_call.h>


struct ngx_http_apikeys_route_s {
    ngx_uint_t                    path;       /* ngx_http_apikeys_path_e */
    ngx_uint_t                    method;     /* NGX_HTTP_GET ... */
    ngx_http_apikeys_right_e      v1;         /* right that a caller needs on
                                                 Atlas v1 and Ops Manager */
    ngx_http_apikeys_right_e      v2;         /* the same on Atlas v2 and on
                                                 the native API */
    ngx_uint_t                    self;       /* mask of APIs on which the key
                                                 in the path may call without
                                                 a role */
    ngx_http_apikeys_code_e       denied;     /* the error if the caller lacks
                                                 the roles */
    ngx_http_apikeys_handler_pt   handler;
    ngx_uint_t                    body;       /* largest number of JSON
                                                 values, 0: no body */
    ngx_uint_t                    paginated;  /* has pageNum and itemsPerPage */
    ngx_http_apikeys_handler_pt   query;      /* parses other arguments, or
                                                 NULL */
};


/* compiles the patterns when the configuration is read */
ngx_int_t ngx_http_apikeys_routes_init(ngx_conf_t *cf,
    ngx_http_apikeys_main_conf_t *amcf);

/*
 * Sets call->route, the parts of the path and the required roles.  NGX_OK;
 * NGX_DECLINED, refused (404, or 405 with Allow); NGX_ERROR.
 */
ngx_int_t ngx_http_apikeys_routes_find(ngx_http_apikeys_call_t *call);


#endif /* _NGX_HTTP_APIKEYS_ROUTES_H_INCLUDED_ */
