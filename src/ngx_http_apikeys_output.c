
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_output.h>


/* bytes of a parameter in an error document: as a request line may have */
#define NGX_HTTP_APIKEYS_OUTPUT_MAX_PARAM  8192


static ngx_int_t ngx_http_apikeys_output_chain(ngx_http_apikeys_ctx_t *ctx,
    ngx_chain_t *out, off_t size, ngx_uint_t status, const ngx_str_t *type);
static const ngx_str_t *ngx_http_apikeys_output_type(
    ngx_http_apikeys_ctx_t *ctx);
static void ngx_http_apikeys_output_param(ngx_http_apikeys_ctx_t *ctx,
    ngx_str_t *param, const ngx_str_t *text);
static void ngx_http_apikeys_output_detail(ngx_apikeys_json_out_t *out,
    const ngx_str_t *text, const ngx_str_t params[2]);
static void ngx_http_apikeys_output_parameters(ngx_apikeys_json_out_t *out,
    const ngx_str_t *text, const ngx_str_t params[2]);


static const ngx_str_t  ngx_http_apikeys_output_json_type =
    ngx_string("application/json");

static const ngx_str_t  ngx_http_apikeys_output_v2_type =
    ngx_string("application/vnd.atlas.2023-01-01+json;charset=utf-8");

static const ngx_str_t  ngx_http_apikeys_output_content_type =
    ngx_string("Content-Type");

static const ngx_str_t  ngx_http_apikeys_output_error_code =
    ngx_string("X-Error-Code");

static const ngx_str_t  ngx_http_apikeys_output_retry_after =
    ngx_string("Retry-After");

static const ngx_str_t  ngx_http_apikeys_output_retry_value =
    ngx_string("1");


/*
 * What the service that clients know sends with every answer, but for
 * Strict-Transport-Security: that one binds a whole host, which is for its
 * owner to say.
 */
static const ngx_keyval_t  ngx_http_apikeys_output_headers[] = {

    { ngx_string("X-Content-Type-Options"), ngx_string("nosniff") },
    { ngx_string("X-Frame-Options"), ngx_string("DENY") },
    { ngx_string("Referrer-Policy"),
      ngx_string("strict-origin-when-cross-origin") },
    { ngx_string("X-Permitted-Cross-Domain-Policies"), ngx_string("none") },
    { ngx_null_string, ngx_null_string }
};


static const ngx_str_t  ngx_http_apikeys_output_unauthorized_text = ngx_string(
    "{\n"
    "  \"error\" : 401,\n"
    "  \"reason\" : \"Unauthorized\",\n"
    "  \"detail\" : \"You are not authorized for this resource.\",\n"
    "  \"errorCode\" : \"UNEXPECTED_ERROR\"\n"
    "}"
);


void
ngx_http_apikeys_output_begin(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t status)
{
    ngx_apikeys_json_out_init(out, ctx->request->pool, ctx->args.pretty);

    if (ctx->args.envelope) {
        ngx_apikeys_json_out_object(out);
        ngx_apikeys_json_out_name(out, "status");
        ngx_apikeys_json_out_int(out,
                                 ngx_http_apikeys_output_status(ctx, status));
        ngx_apikeys_json_out_name(out, "content");
    }
}


ngx_uint_t
ngx_http_apikeys_output_status(ngx_http_apikeys_ctx_t *ctx,
    ngx_uint_t status)
{
    return (ctx->pending && status < NGX_HTTP_SPECIAL_RESPONSE)
           ? NGX_HTTP_ACCEPTED : status;
}


ngx_int_t
ngx_http_apikeys_output_send(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t status)
{
    if (ctx->args.envelope) {
        ngx_apikeys_json_out_object_end(out);
    }

    return ngx_http_apikeys_output_document(ctx, out, status);
}


ngx_int_t
ngx_http_apikeys_output_document(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t status)
{
    if (out->failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_apikeys_output_chain(ctx, out->out, out->size, status,
                                         ngx_http_apikeys_output_type(ctx));
}


ngx_int_t
ngx_http_apikeys_output_no_content(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t            rc;
    const ngx_str_t     *type;
    ngx_http_request_t  *r;

    r = ctx->request;
    type = ngx_http_apikeys_output_type(ctx);

    ctx->answered = 1;

    (void) ngx_http_discard_request_body(r);

    r->headers_out.status = ngx_http_apikeys_output_status(ctx,
                                                      NGX_HTTP_NO_CONTENT);
    r->header_only = 1;

    if (ctx->pending) {
        r->headers_out.content_length_n = 0;
    }

    /* nginx itself sends no Content-Type with a 204 */

    if (type != &ngx_http_apikeys_output_json_type
        && ngx_http_apikeys_output_header(r,
                                     &ngx_http_apikeys_output_content_type,
                                     type)
           != NGX_OK)
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
ngx_http_apikeys_output_refuse(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_code_e code, const ngx_str_t *one, const ngx_str_t *two)
{
    const ngx_http_apikeys_code_t  *row;

    row = ngx_http_apikeys_code(code);

    if ((row->next == NGX_HTTP_APIKEYS_NEXT_ON_WHITELIST && ctx->whitelist)
        || (row->next == NGX_HTTP_APIKEYS_NEXT_ON_V2
            && ctx->conf->api == NGX_HTTP_APIKEYS_ATLAS_V2)
        || (row->next == NGX_HTTP_APIKEYS_NEXT_ON_OPS_MANAGER
            && ctx->conf->api == NGX_HTTP_APIKEYS_OPS_MANAGER))
    {
        code++;
    }

    ctx->code = code;

    ngx_http_apikeys_output_param(ctx, &ctx->params[0], one);
    ngx_http_apikeys_output_param(ctx, &ctx->params[1], two);

    return NGX_DECLINED;
}


/*
 * A copy: the text may be of the body, or of a result, which are freed before
 * the answer is sent.  What a client sent is repeated to it within bounds.
 */

static void
ngx_http_apikeys_output_param(ngx_http_apikeys_ctx_t *ctx, ngx_str_t *param,
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

    param->data = ngx_pstrdup(ctx->request->pool, &s);

    if (param->data) {
        param->len = s.len;
    }
}


ngx_int_t
ngx_http_apikeys_output_refusal(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_http_request_t             *r;
    ngx_apikeys_json_out_t          out;
    const ngx_http_apikeys_code_t  *row;

    r = ctx->request;
    row = ngx_http_apikeys_code(ctx->code);

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "apikeys: answering %ui %V", row->status, &row->name);

    ngx_apikeys_json_out_init(&out, r->pool, ctx->args.pretty);
    ngx_http_apikeys_output_error_document(&out, ctx->code,
                                           ctx->args.envelope, ctx->params);

    if (out.failed
        || ngx_http_apikeys_output_header(r,
                                          &ngx_http_apikeys_output_error_code,
                                          &row->name)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (row->status == NGX_HTTP_SERVICE_UNAVAILABLE
        && ngx_http_apikeys_output_header(r,
                                      &ngx_http_apikeys_output_retry_after,
                                      &ngx_http_apikeys_output_retry_value)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_apikeys_output_chain(ctx, out.out, out.size, row->status,
                                         &ngx_http_apikeys_output_json_type);
}


ngx_int_t
ngx_http_apikeys_output_unauthorized(ngx_http_apikeys_ctx_t *ctx)
{
    off_t         size;
    ngx_chain_t  *out;

    out = ngx_http_apikeys_output_unauthorized_document(ctx->request->pool,
                                                        &size);
    if (out == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_apikeys_output_chain(ctx, out, size,
                                         NGX_HTTP_UNAUTHORIZED,
                                         &ngx_http_apikeys_output_json_type);
}


ngx_chain_t *
ngx_http_apikeys_output_unauthorized_document(ngx_pool_t *pool, off_t *size)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = ngx_calloc_buf(pool);
    cl = ngx_alloc_chain_link(pool);

    if (b == NULL || cl == NULL) {
        return NULL;
    }

    b->pos = ngx_http_apikeys_output_unauthorized_text.data;
    b->last = b->pos + ngx_http_apikeys_output_unauthorized_text.len;
    b->memory = 1;

    cl->buf = b;
    cl->next = NULL;

    *size = b->last - b->pos;

    return cl;
}


ngx_int_t
ngx_http_apikeys_output_header(ngx_http_request_t *r, const ngx_str_t *name,
    const ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key = *name;
    h->value = *value;
    h->lowcase_key = NULL;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_output_chain(ngx_http_apikeys_ctx_t *ctx, ngx_chain_t *out,
    off_t size, ngx_uint_t status, const ngx_str_t *type)
{
    ngx_int_t            rc;
    ngx_chain_t         *cl;
    ngx_http_request_t  *r;

    r = ctx->request;

    ctx->answered = 1;

    /*
     * An answer may go before the body has been read; what is left of it
     * must not be taken for the next request.
     */

    (void) ngx_http_discard_request_body(r);

    r->headers_out.status = ngx_http_apikeys_output_status(ctx, status);
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
ngx_http_apikeys_output_type(ngx_http_apikeys_ctx_t *ctx)
{
    return (ctx->conf->api == NGX_HTTP_APIKEYS_ATLAS_V2)
           ? &ngx_http_apikeys_output_v2_type
           : &ngx_http_apikeys_output_json_type;
}


ngx_int_t
ngx_http_apikeys_output_fixed_headers(ngx_http_request_t *r)
{
    const ngx_keyval_t  *h;

    for (h = ngx_http_apikeys_output_headers; h->key.len; h++) {
        if (ngx_http_apikeys_output_header(r, &h->key, &h->value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_http_apikeys_output_error_document(ngx_apikeys_json_out_t *out,
    ngx_http_apikeys_code_e code, ngx_uint_t envelope,
    const ngx_str_t params[2])
{
    const ngx_http_apikeys_code_t  *row;

    row = ngx_http_apikeys_code(code);

    if (envelope) {
        ngx_apikeys_json_out_object(out);
        ngx_apikeys_json_out_name(out, "status");
        ngx_apikeys_json_out_int(out, row->status);
        ngx_apikeys_json_out_name(out, "content");
    }

    ngx_apikeys_json_out_object(out);

    ngx_apikeys_json_out_name(out, "detail");
    ngx_http_apikeys_output_detail(out, &row->text, params);

    ngx_apikeys_json_out_name(out, "error");
    ngx_apikeys_json_out_int(out, row->status);

    ngx_apikeys_json_out_name(out, "errorCode");
    ngx_apikeys_json_out_string(out, &row->name);

    ngx_apikeys_json_out_name(out, "parameters");
    ngx_http_apikeys_output_parameters(out, &row->text, params);

    ngx_apikeys_json_out_name(out, "reason");
    ngx_apikeys_json_out_string(out,
                                ngx_http_apikeys_code_reason(row->status));

    ngx_apikeys_json_out_object_end(out);

    if (envelope) {
        ngx_apikeys_json_out_object_end(out);
    }
}


static void
ngx_http_apikeys_output_detail(ngx_apikeys_json_out_t *out,
    const ngx_str_t *text, const ngx_str_t params[2])
{
    u_char      *p, *last;
    size_t       len;
    ngx_str_t    detail;
    ngx_uint_t   i;

    len = text->len;

    for (i = 0; i < 2; i++) {
        len += params[i].len;
    }

    detail.data = ngx_pnalloc(out->pool, len);
    if (detail.data == NULL) {
        out->failed = 1;
        return;
    }

    last = detail.data;
    i = 0;

    for (p = text->data; p < text->data + text->len; p++) {

        if (*p != '%') {
            *last++ = *p;
            continue;
        }

        /* "%s", "%d", or "%-", which the text does not show */

        p++;

        if (*p != '-') {
            last = ngx_cpymem(last, params[i].data, params[i].len);
        }

        i++;
    }

    detail.len = last - detail.data;

    ngx_apikeys_json_out_string(out, &detail);
}


static void
ngx_http_apikeys_output_parameters(ngx_apikeys_json_out_t *out,
    const ngx_str_t *text, const ngx_str_t params[2])
{
    u_char      *p;
    ngx_uint_t   i;

    ngx_apikeys_json_out_array(out);

    i = 0;

    for (p = text->data; p < text->data + text->len; p++) {

        if (*p != '%') {
            continue;
        }

        p++;

        if (*p == 'd') {
            ngx_apikeys_json_out_int(out, ngx_atoi(params[i].data,
                                                   params[i].len));
        } else {
            ngx_apikeys_json_out_string(out, &params[i]);
        }

        i++;
    }

    ngx_apikeys_json_out_array_end(out);
}
