
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Error documents of the administration API.
 */


#ifndef _NGX_HTTP_APIKEYS_ERROR_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_ERROR_H_INCLUDED_


#include <ngx_apikeys_json.h>
#include <ngx_http_apikeys.h>


/*
 * Writes the error document of a code to "out", in the pool of "out".  The
 * status is that of the response: an error that nginx raised may have another
 * one than its code.  Sets out->failed if memory runs out.
 */
void ngx_http_apikeys_error_document(ngx_apikeys_json_out_t *out,
    ngx_uint_t status, ngx_http_apikeys_code_e code, ngx_uint_t envelope,
    const ngx_str_t params[2]);

/* the fixed document of a 401; NULL: no memory */
ngx_chain_t *ngx_http_apikeys_error_unauthorized(ngx_pool_t *pool,
    off_t *size);

/* add the headers X-Error-Code and "Retry-After: 1"; NGX_ERROR: no memory */
ngx_int_t ngx_http_apikeys_error_add_code(ngx_http_request_t *r,
    const ngx_str_t *code);
ngx_int_t ngx_http_apikeys_error_add_retry_after(ngx_http_request_t *r);


#endif /* _NGX_HTTP_APIKEYS_ERROR_H_INCLUDED_ */
