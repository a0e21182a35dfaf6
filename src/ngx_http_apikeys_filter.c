
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_args.h>
#include <ngx_http_apikeys_auth.h>
#include <ngx_http_apikeys_filter.h>
#include <ngx_http_apikeys_output.h>


static ngx_int_t ngx_http_apikeys_filter_header(ngx_http_request_t *r);
static ngx_int_t ngx_http_apikeys_filter_replace(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_filter_body(ngx_http_request_t *r,
    ngx_chain_t *in);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


static ngx_int_t
ngx_http_apikeys_filter_header(ngx_http_request_t *r)
{
    ngx_http_apikeys_ctx_t       *ctx;
    ngx_http_apikeys_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_apikeys_module);

    if (r != r->main
        || alcf->api == 0
        || r->headers_out.status < NGX_HTTP_BAD_REQUEST)
    {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_apikeys_module);

    if ((ctx == NULL || !ctx->answered)
        && ngx_http_apikeys_filter_replace(r, alcf, ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (r->headers_out.status == NGX_HTTP_UNAUTHORIZED
        && ngx_http_apikeys_auth_challenge(r, alcf,
                     ctx && ctx->decision == NGX_HTTP_APIKEYS_STALE_NONCE)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


/* the document goes out in the place of nginx's page, see the body filter */

static ngx_int_t
ngx_http_apikeys_filter_replace(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_ctx_t *ctx)
{
    ngx_apikeys_json_out_t          out;
    ngx_http_apikeys_code_e         code;
    const ngx_http_apikeys_code_t  *row;
    static const ngx_str_t          name = ngx_string("X-Error-Code");

    if (ctx == NULL) {
        ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_apikeys_ctx_t));
        if (ctx == NULL) {
            return NGX_ERROR;
        }

        ctx->request = r;
        ctx->conf = alcf;

        if (ngx_http_apikeys_args_parse(r, &ctx->args) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_http_set_ctx(r, ctx, ngx_http_apikeys_module);
    }

    code = ngx_http_apikeys_code_status(r->headers_out.status);
    row = ngx_http_apikeys_code(code);

    (void) ngx_http_apikeys_output_refuse(ctx, code,
                              code == NGX_HTTP_APIKEYS_METHOD_NOT_ALLOWED
                              ? &r->method_name : &r->uri, NULL);

    ngx_apikeys_json_out_init(&out, r->pool, ctx->args.pretty);
    ngx_http_apikeys_output_error_document(&out, code, ctx->args.envelope,
                                           ctx->params);

    if (out.failed
        || ngx_http_apikeys_output_header(r, &name, &row->name) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->document = out.out;
    ctx->answered = 1;

    r->headers_out.content_length_n = out.size;

    if (r->headers_out.content_length) {
        r->headers_out.content_length->hash = 0;
        r->headers_out.content_length = NULL;
    }

    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
    ngx_str_null(&r->headers_out.charset);

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_filter_body(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t             *cl;
    ngx_http_apikeys_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_apikeys_module);

    if (ctx == NULL || ctx->document == NULL || in == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    /* nginx's page is in memory and is dropped; ours goes once */

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
    }

    if (ctx->replaced) {
        return NGX_OK;
    }

    ctx->replaced = 1;

    for (cl = ctx->document; cl->next; cl = cl->next) { /* void */ }

    cl->buf->last_buf = 1;
    cl->buf->last_in_chain = 1;

    return ngx_http_next_body_filter(r, ctx->document);
}


ngx_int_t
ngx_http_apikeys_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_apikeys_filter_header;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_apikeys_filter_body;

    return NGX_OK;
}
