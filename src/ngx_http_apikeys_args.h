
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The query string of an administration call (atlas-api 2.0, decisions 5
 * and 6): the first of repeated parameters wins, unknown ones are kept for
 * the links and otherwise ignored.
 */


#ifndef _NGX_HTTP_APIKEYS_ARGS_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_ARGS_H_INCLUDED_


#include <ngx_http_apikeys.h>


#define NGX_HTTP_APIKEYS_MAX_ITEMS     500


/*
 * Fills "args" from r->args.  What is wrong is only noted, in bad and
 * bad_page: the order of checks says when it is answered, and the answer
 * follows "pretty" and "envelope" all the same.  NGX_ERROR without memory.
 */
ngx_int_t ngx_http_apikeys_args_parse(ngx_http_request_t *r,
    ngx_http_apikeys_args_t *args);

/*
 * The next argument of r->args from *p on, decoded; *p is then behind it.
 * NGX_OK, NGX_DONE after the last, NGX_ERROR without memory.
 */
ngx_int_t ngx_http_apikeys_args_next(ngx_http_request_t *r, u_char **p,
    ngx_str_t *name, ngx_str_t *value);

/* a boolean: 0, 1, or NGX_ERROR */
ngx_int_t ngx_http_apikeys_args_bool(const ngx_str_t *value);


#endif /* _NGX_HTTP_APIKEYS_ARGS_H_INCLUDED_ */
