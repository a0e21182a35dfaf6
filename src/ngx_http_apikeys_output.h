
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The only sender, and the only producer of error documents.  All functions
 * return what the request is to be finalized with.
 */


#ifndef _NGX_HTTP_APIKEYS_OUTPUT_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_OUTPUT_H_INCLUDED_


#include <ngx_http_apikeys.h>


/*
 * A successful answer with one object: begin opens "out" (and the envelope
 * where the client asked for one), the caller writes one JSON value, send
 * closes and sends.
 */
void ngx_http_apikeys_output_begin(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t status);
ngx_int_t ngx_http_apikeys_output_send(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t status);

/* the status to show: 202 where a receipt was asked for in vain */
ngx_uint_t ngx_http_apikeys_output_status(ngx_http_apikeys_ctx_t *ctx,
    ngx_uint_t status);

/* a value that is complete as it stands: lists, which have no envelope */
ngx_int_t ngx_http_apikeys_output_document(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t status);

ngx_int_t ngx_http_apikeys_output_no_content(ngx_http_apikeys_ctx_t *ctx);

/*
 * Refusals.  "refuse" notes the code and up to two parameters (or NULL) and
 * returns NGX_DECLINED; whoever drives the call then sends what was noted.
 */
ngx_int_t ngx_http_apikeys_output_refuse(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_code_e code, const ngx_str_t *one, const ngx_str_t *two);
ngx_int_t ngx_http_apikeys_output_refusal(ngx_http_apikeys_ctx_t *ctx);

/* the 401 of a request that did not authenticate (atlas-api 5.1) */
ngx_int_t ngx_http_apikeys_output_unauthorized(ngx_http_apikeys_ctx_t *ctx);

/* those that every answer has; what sends a document adds them itself */
ngx_int_t ngx_http_apikeys_output_fixed_headers(ngx_http_request_t *r);

/* a header of the answer; both strings must outlive the request */
ngx_int_t ngx_http_apikeys_output_header(ngx_http_request_t *r,
    const ngx_str_t *name, const ngx_str_t *value);

/*
 * Writes the error document of a code to "out": for the filter, which
 * replaces what nginx would have said.  envelope and pretty as asked for.
 */
void ngx_http_apikeys_output_error_document(ngx_apikeys_json_out_t *out,
    ngx_http_apikeys_code_e code, ngx_uint_t envelope,
    const ngx_str_t params[2]);


/* the 401 document, for the same; NULL without memory */
ngx_chain_t *ngx_http_apikeys_output_unauthorized_document(ngx_pool_t *pool,
    off_t *size);


#endif /* _NGX_HTTP_APIKEYS_OUTPUT_H_INCLUDED_ */
