
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Sends the responses of an administration API.  The functions that send
 * return the code to finalize the request with.
 */


#ifndef _NGX_HTTP_APIKEYS_OUTPUT_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_OUTPUT_H_INCLUDED_


#include <ngx_http_apikeys_call.h>


/*
 * A successful response with one value: output_begin() opens "out", and the
 * envelope if the client requested it; the caller writes one JSON value;
 * output_send() closes and sends it.
 */
void ngx_http_apikeys_output_begin(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t status);
ngx_int_t ngx_http_apikeys_output_send(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t status);

/*
 * the status to send: 202 if a receipt was requested with "Prefer: wait" and
 * cannot be given
 */
ngx_uint_t ngx_http_apikeys_output_status(ngx_http_apikeys_call_t *call,
    ngx_uint_t status);

/* sends a complete value: a list, which has no further envelope */
ngx_int_t ngx_http_apikeys_output_document(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t status);

ngx_int_t ngx_http_apikeys_output_no_content(ngx_http_apikeys_call_t *call);

/*
 * Refusals. output_set_error() sets the code and up to two parameters (or
 * NULL) and returns NGX_DECLINED, without sending.  The caller of the step
 * then sends it with output_send_error().
 */
ngx_int_t ngx_http_apikeys_output_set_error(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_code_e code, const ngx_str_t *one, const ngx_str_t *two);
ngx_int_t ngx_http_apikeys_output_send_error(ngx_http_apikeys_call_t *call);

/*
 * sends the fixed 401 of a request without a valid credential
 * (docs/compatibility.md D21)
 */
ngx_int_t ngx_http_apikeys_output_unauthorized(ngx_http_apikeys_call_t *call);

/* the form of documents that the filter sends: an ngx_http_apikeys_form_pt */
ngx_int_t ngx_http_apikeys_output_form(ngx_http_request_t *r,
    ngx_http_apikeys_form_t *form);


#endif /* _NGX_HTTP_APIKEYS_OUTPUT_H_INCLUDED_ */
