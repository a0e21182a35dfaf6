
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_args.h>
#include <ngx_http_apikeys_error.h>
#include <ngx_http_apikeys_header.h>
#include <ngx_http_apikeys_output.h>


/* the largest parameter of an error document, in bytes: a request line */
#define NGX_HTTP_APIKEYS_OUTPUT_MAX_PARAM  8192


static ngx_int_t ngx_http_apikeys_output_chain(ngx_http_apikeys_call_t *call,
    ngx_chain_t *out, off_t size, ngx_uint_t status, const ngx_str_t *type);
static ngx_int_t ngx_http_apikeys_output_fixed_headers(
    ngx_http_request_t *r);
static const ngx_str_t *ngx_http_apikeys_output_type(
    ngx_http_apikeys_call_t *call);
static void ngx_http_apikeys_output_param(ngx_http_apikeys_call_t *call,
    ngx_str_t *param, const ngx_str_t *text);


static const ngx_str_t  ngx_http_apikeys_output_json_type =
    ngx_string("application/json");

static const ngx_str_t  ngx_http_apikeys_output_v2_type =
    ngx_string("application/vnd.atlas.2023-01-01+json;charset=utf-8");

static const ngx_str_t  ngx_http_apikeys_output_content_type =
    ngx_string("Content-Type");


/*
 * The headers that Atlas sends with every response, except
 * Strict-Transport-Security: it applies to the whole host, so its owner must
 * decide.
 */
static const ngx_keyval_t  ngx_http_apikeys_output_headers[] = {

    { ngx_string("X-Content-Type-Options"), ngx_string("nosniff") },
    { ngx_string("X-Frame-Options"), ngx_string("DENY") },
    { ngx_string("Referrer-Policy"),
      ngx_string("strict-origin-when-cross-origin") },
    { ngx_string("X-Permitted-Cross-Domain-Policies"), ngx_string("none") },
    { ngx_null_string, ngx_null_string }
};


void
ngx_http_apikeys_output_begin(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t status)
{
    ngx_apikeys_json_out_init(out, call->request->pool, call->args.pretty);

    if (call->args.envelope) {
        ngx_apikeys_json_out_object(out);
        ngx_apikeys_json_out_name(out, "status");
        ngx_apikeys_json_out_int(out,
                                 ngx_http_apikeys_output_status(call, status));
        ngx_apikeys_json_out_name(out, "content");
    }
}


ngx_uint_t
ngx_http_apikeys_output_status(ngx_http_apikeys_call_t *call,
    ngx_uint_t status)
{
    return (call->pending && status < NGX_HTTP_SPECIAL_RESPONSE)
           ? NGX_HTTP_ACCEPTED : status;
}


ngx_int_t
ngx_http_apikeys_output_send(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t status)
{
    if (call->args.envelope) {
        ngx_apikeys_json_out_object_end(out);
    }

    return ngx_http_apikeys_output_document(call, out, status);
}


ngx_int_t
ngx_http_apikeys_output_document(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t status)
{
    if (out->failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_apikeys_output_chain(call, out->out, out->size, status,
                                         ngx_http_apikeys_output_type(call));
}


ngx_int_t
ngx_http_apikeys_output_no_content(ngx_http_apikeys_call_t *call)
{
    ngx_int_t            rc;
    const ngx_str_t     *type;
    ngx_http_request_t  *r;

    r = call->request;
    type = ngx_http_apikeys_output_type(call);

    call->ctx->answered = 1;

    (void) ngx_http_discard_request_body(r);

    r->headers_out.status = ngx_http_apikeys_output_status(call,
                                                      NGX_HTTP_NO_CONTENT);
    r->header_only = 1;

    if (call->pending) {
        r->headers_out.content_length_n = 0;
    }

    /* nginx itself sends no Content-Type with a 204 */

    if (type != &ngx_http_apikeys_output_json_type
        && ngx_http_apikeys_header_add(r,
                                   &ngx_http_apikeys_output_content_type,
                                   type)
           == NULL)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_apikeys_output_fixed_headers(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return rc;
    }

    return ngx_http_send_special(r, NGX_HTTP_LAST);
}


ngx_int_t
ngx_http_apikeys_output_set_error(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_code_e code, const ngx_str_t *one, const ngx_str_t *two)
{
    const ngx_http_apikeys_code_t  *row;

    row = ngx_http_apikeys_code(code);

    if ((row->next == NGX_HTTP_APIKEYS_CODE_NEXT_ON_WHITELIST
         && call->whitelist)
        || (row->next == NGX_HTTP_APIKEYS_CODE_NEXT_ON_V2
            && (call->conf->api & (NGX_HTTP_APIKEYS_API_ATLAS_V2
                                   |NGX_HTTP_APIKEYS_API_NATIVE)))
        || (row->next == NGX_HTTP_APIKEYS_CODE_NEXT_ON_OPS_MANAGER
            && call->conf->api == NGX_HTTP_APIKEYS_API_OPS_MANAGER))
    {
        code++;
    }

    call->code = code;

    ngx_http_apikeys_output_param(call, &call->params[0], one);
    ngx_http_apikeys_output_param(call, &call->params[1], two);

    return NGX_DECLINED;
}


/*
 * Copies the parameter: the body or the result that it is part of is freed
 * before the response is sent.  Its length is limited, as the client may have
 * sent it.
 */

static void
ngx_http_apikeys_output_param(ngx_http_apikeys_call_t *call, ngx_str_t *param,
    const ngx_str_t *text)
{
    ngx_str_t  s;

    ngx_str_null(param);

    if (text == NULL) {
        return;
    }

    s = *text;

    if (s.len > NGX_HTTP_APIKEYS_OUTPUT_MAX_PARAM) {
        s.len = NGX_HTTP_APIKEYS_OUTPUT_MAX_PARAM;

        while (s.len && (s.data[s.len] & 0xc0) == 0x80) {
            s.len--;
        }
    }

    param->data = ngx_pstrdup(call->request->pool, &s);

    if (param->data) {
        param->len = s.len;
    }
}


ngx_int_t
ngx_http_apikeys_output_send_error(ngx_http_apikeys_call_t *call)
{
    ngx_http_request_t             *r;
    ngx_apikeys_json_out_t          out;
    const ngx_http_apikeys_code_t  *row;

    r = call->request;
    row = ngx_http_apikeys_code(call->code);

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "apikeys: API error %ui %V", row->status, &row->name);

    ngx_apikeys_json_out_init(&out, r->pool, call->args.pretty);
    ngx_http_apikeys_error_document(&out, row->status, call->code,
                                    call->args.envelope, call->params);

    if (out.failed
        || ngx_http_apikeys_error_add_code(r, &row->name) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (row->status == NGX_HTTP_SERVICE_UNAVAILABLE
        && ngx_http_apikeys_error_add_retry_after(r) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_apikeys_output_chain(call, out.out, out.size, row->status,
                                         &ngx_http_apikeys_output_json_type);
}


ngx_int_t
ngx_http_apikeys_output_unauthorized(ngx_http_apikeys_call_t *call)
{
    off_t         size;
    ngx_chain_t  *out;

    out = ngx_http_apikeys_error_unauthorized(call->request->pool,
                                                        &size);
    if (out == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_apikeys_output_chain(call, out, size,
                                         NGX_HTTP_UNAUTHORIZED,
                                         &ngx_http_apikeys_output_json_type);
}


static ngx_int_t
ngx_http_apikeys_output_chain(ngx_http_apikeys_call_t *call, ngx_chain_t *out,
    off_t size, ngx_uint_t status, const ngx_str_t *type)
{
    ngx_int_t            rc;
    ngx_chain_t         *cl;
    ngx_http_request_t  *r;

    r = call->request;

    call->ctx->answered = 1;

    /*
     * The response may be sent before the request body has been read; the rest
     * of it must not be taken for the next request.
     */

    (void) ngx_http_discard_request_body(r);

    r->headers_out.status = ngx_http_apikeys_output_status(call, status);
    r->headers_out.content_length_n = size;
    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_type_lowcase = NULL;

    if (ngx_http_apikeys_output_fixed_headers(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    for (cl = out; cl->next; cl = cl->next) { /* void */ }

    cl->buf->last_buf = 1;
    cl->buf->last_in_chain = 1;

    return ngx_http_output_filter(r, out);
}


static const ngx_str_t *
ngx_http_apikeys_output_type(ngx_http_apikeys_call_t *call)
{
    return (call->conf->api == NGX_HTTP_APIKEYS_API_ATLAS_V2)
           ? &ngx_http_apikeys_output_v2_type
           : &ngx_http_apikeys_output_json_type;
}


/* the headers of every response */

static ngx_int_t
ngx_http_apikeys_output_fixed_headers(ngx_http_request_t *r)
{
    const ngx_keyval_t  *h;

    for (h = ngx_http_apikeys_output_headers; h->key.len; h++) {
        if (ngx_http_apikeys_header_add(r, &h->key, &h->value)
            == NULL)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_apikeys_output_form(ngx_http_request_t *r,
    ngx_http_apikeys_form_t *form)
{
    ngx_http_apikeys_args_t  args;

    ngx_memzero(&args, sizeof(ngx_http_apikeys_args_t));

    if (ngx_http_apikeys_args_parse(r, &args) != NGX_OK) {
        return NGX_ERROR;
    }

    form->pretty = args.pretty;
    form->envelope = args.envelope;

    return ngx_http_apikeys_output_fixed_headers(r);
}
