
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The query string of an administration call (docs/compatibility.md D13,
 * D14): the first of repeated parameters wins, unknown ones are kept for
 * the links and otherwise ignored.
 */


#ifndef _NGX_HTTP_APIKEYS_ARGS_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_ARGS_H_INCLUDED_


#include <ngx_http_apikeys_call.h>


#define NGX_HTTP_APIKEYS_MAX_ITEMS     500


/*
 * Fills "args" from r->args.  Invalid arguments are only noted, in bad and
 * bad_page: they are answered later, in the order of checks, and that answer
 * honors "pretty" and "envelope".  NGX_ERROR if memory runs out.
 */
ngx_int_t ngx_http_apikeys_args_parse(ngx_http_request_t *r,
    ngx_http_apikeys_args_t *args);

/*
 * Decodes the next argument of r->args from *p on and advances *p.  NGX_OK;
 * NGX_DONE, there is none; NGX_ERROR, no memory.
 */
ngx_int_t ngx_http_apikeys_args_next(ngx_http_request_t *r, u_char **p,
    ngx_str_t *name, ngx_str_t *value);

/* an argument of one resource */
typedef struct {
    ngx_str_t                     name;         /* empty: ends a table */
    size_t                        offset;       /* of the ngx_str_t that is set
                                                   to its value */
    ngx_uint_t                  (*check)(const ngx_str_t *value);
                                                /* whether it is valid; NULL:
                                                   the caller checks it */
} ngx_http_apikeys_arg_text_t;

/*
 * Stores the arguments of a table in the zeroed structure "to": the first of
 * repeated ones.  NGX_OK; NGX_DECLINED, refused; NGX_ERROR.
 */
ngx_int_t ngx_http_apikeys_args_texts(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_arg_text_t *texts, void *to);

/* whether a text has the form of the name of a role */
ngx_uint_t ngx_http_apikeys_args_is_role(const ngx_str_t *name);

/* a boolean: 0, 1, or NGX_ERROR */
ngx_int_t ngx_http_apikeys_args_bool(const ngx_str_t *value);


#endif /* _NGX_HTTP_APIKEYS_ARGS_H_INCLUDED_ */
