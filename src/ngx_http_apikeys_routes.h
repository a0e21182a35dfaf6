
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * THE route table: which call is what, who may make it, who handles it.
 */


#ifndef _NGX_HTTP_APIKEYS_ROUTES_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_ROUTES_H_INCLUDED_


#include <ngx_http_apikeys.h>


/* who may (atlas-api 3.3, decisions 17 to 19) */
typedef enum {
    NGX_HTTP_APIKEYS_OPERATOR = 0,
    NGX_HTTP_APIKEYS_ANY_KEY,           /* a global one, whatever its roles */
    NGX_HTTP_APIKEYS_ANYONE,            /* any key of the organization */
    NGX_HTTP_APIKEYS_MEMBER,
    NGX_HTTP_APIKEYS_CREATOR,           /* of projects */
    NGX_HTTP_APIKEYS_OWNER,
    NGX_HTTP_APIKEYS_PROJECT_READER,
    NGX_HTTP_APIKEYS_PROJECT_MANAGER,
    NGX_HTTP_APIKEYS_PROJECT_OWNER
} ngx_http_apikeys_right_e;


typedef struct {
    ngx_uint_t                    shape;
    ngx_uint_t                    method;   /* NGX_HTTP_GET ... */
    ngx_http_apikeys_right_e      v1;       /* and Ops Manager */
    ngx_http_apikeys_right_e      v2;
    ngx_uint_t                    self;     /* on these APIs the key itself
                                               may, too */
    ngx_http_apikeys_code_e       refusal;  /* of those who may not */
    ngx_http_apikeys_handler_pt   handler;
    ngx_uint_t                    body;     /* values that it may have, 0:
                                               there is none */
    ngx_uint_t                    list;     /* takes pageNum and so on */
    ngx_http_apikeys_handler_pt   query;    /* takes other arguments, or
                                               NULL */
} ngx_http_apikeys_route_t;


/* compiles the patterns, once, at configuration */
ngx_int_t ngx_http_apikeys_routes_init(ngx_conf_t *cf,
    ngx_http_apikeys_main_conf_t *amcf);

/*
 * Finds ctx->route and fills the parts of the path and the roles that it
 * demands.  NGX_OK; NGX_DECLINED: refused (404, or 405 with Allow);
 * NGX_ERROR.
 */
ngx_int_t ngx_http_apikeys_routes_find(ngx_http_apikeys_ctx_t *ctx);


#endif /* _NGX_HTTP_APIKEYS_ROUTES_H_INCLUDED_ */
