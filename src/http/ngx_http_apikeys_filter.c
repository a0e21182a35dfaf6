
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Which responses are replaced: all errors in the locations of an API;
 * elsewhere only the refusal made by the handler of the access phase.  A
 * configured error_page is another location: its body is kept, only
 * WWW-Authenticate and Retry-After are added.
 */


#include <ngx_http_apikeys_auth.h>
#include <ngx_http_apikeys_error.h>
#include <ngx_http_apikeys_filter.h>
#include <ngx_http_apikeys_header.h>
#include <ngx_http_apikeys_ctx.h>


static ngx_int_t ngx_http_apikeys_filter_header(ngx_http_request_t *r);
static NGX_HTTP_APIKEYS_NOINLINE ngx_int_t ngx_http_apikeys_filter_error(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_apikeys_filter_replace(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_ctx_t *ctx);
static ngx_chain_t *ngx_http_apikeys_filter_document(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, off_t *size);
static ngx_int_t ngx_http_apikeys_filter_challenge(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_uint_t stale);
static ngx_int_t ngx_http_apikeys_filter_remove_challenges(
    ngx_http_request_t *r, ngx_array_t *others);
static ngx_int_t ngx_http_apikeys_filter_body(ngx_http_request_t *r,
    ngx_chain_t *in);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


static ngx_int_t
ngx_http_apikeys_filter_header(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    rc = (r->headers_out.status < NGX_HTTP_BAD_REQUEST)
         ? NGX_OK : ngx_http_apikeys_filter_error(r);

    return (rc == NGX_OK) ? ngx_http_next_header_filter(r) : rc;
}


static ngx_int_t
ngx_http_apikeys_filter_error(ngx_http_request_t *r)
{
    ngx_http_apikeys_ctx_t       *ctx;
    ngx_http_apikeys_loc_conf_t  *alcf, *denied_in;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_apikeys_module);

    ctx = alcf->api ? ngx_http_apikeys_ctx_get(r)
                       : ngx_http_apikeys_ctx_find(r);

    if (ctx == NULL) {
        return alcf->api ? NGX_ERROR : NGX_OK;
    }

    denied_in = alcf->api ? alcf : ctx->denied_in;

    if (denied_in == NULL) {
        return NGX_OK;
    }

    ctx->denied_in = NULL;

    if (!ctx->answered) {

        /* a 407 under "satisfy any" is of auth_basic */

        if (denied_in == alcf
            && r->headers_out.status != 407
            && ngx_http_apikeys_filter_replace(r, alcf, ctx) != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (r->headers_out.status == NGX_HTTP_SERVICE_UNAVAILABLE
            && ngx_http_apikeys_error_add_retry_after(r) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (r->headers_out.status != NGX_HTTP_UNAUTHORIZED) {
        return NGX_OK;
    }

    return ngx_http_apikeys_filter_challenge(r, denied_in,
                                   ctx->identity_decision
                                   == NGX_HTTP_APIKEYS_DECISION_STALE_NONCE);
}


/* the body filter sends the document instead of nginx's page */

static ngx_int_t
ngx_http_apikeys_filter_replace(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_ctx_t *ctx)
{
    off_t  size;

    ctx->document = ngx_http_apikeys_filter_document(r, alcf, &size);
    if (ctx->document == NULL) {
        return NGX_ERROR;
    }

    ctx->r = r;
    ctx->replaced = 0;

    ngx_http_clear_content_length(r);
    ngx_http_clear_last_modified(r);

    r->headers_out.content_length_n = size;

    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
    ngx_str_null(&r->headers_out.charset);

    return NGX_OK;
}


static ngx_chain_t *
ngx_http_apikeys_filter_document(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, off_t *size)
{
    ngx_str_t                       params[2];
    ngx_apikeys_json_out_t          out;
    ngx_http_apikeys_form_t         form;
    ngx_http_apikeys_code_e         code;
    ngx_http_apikeys_main_conf_t   *amcf;
    const ngx_http_apikeys_code_t  *row;

    ngx_memzero(&form, sizeof(ngx_http_apikeys_form_t));

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    if (alcf->api && amcf->form(r, &form) != NGX_OK) {
        return NULL;
    }

    if (r->headers_out.status == NGX_HTTP_UNAUTHORIZED) {
        return ngx_http_apikeys_error_unauthorized(r->pool, size);
    }

    code = ngx_http_apikeys_code_status(r->headers_out.status);
    row = ngx_http_apikeys_code(code);

    params[0] = (code == NGX_HTTP_APIKEYS_CODE_METHOD_NOT_ALLOWED)
                ? r->method_name : r->uri;
    ngx_str_null(&params[1]);

    ngx_apikeys_json_out_init(&out, r->pool, form.pretty);
    ngx_http_apikeys_error_document(&out, r->headers_out.status, code,
                                    form.envelope, params);

    if (out.failed
        || ngx_http_apikeys_error_add_code(r, &row->name) != NGX_OK)
    {
        return NULL;
    }

    *size = out.size;

    return out.out;
}


/*
 * Our challenges go first, as many clients read only the first one.  Another
 * module (auth_basic under "satisfy any") or the upstream of an error page may
 * have set its own before.
 */

static ngx_int_t
ngx_http_apikeys_filter_challenge(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_uint_t stale)
{
    ngx_str_t    *value;
    ngx_uint_t    i;
    ngx_array_t   others;

    if (ngx_array_init(&others, r->pool, 1, sizeof(ngx_str_t)) != NGX_OK
        || ngx_http_apikeys_filter_remove_challenges(r, &others) != NGX_OK
        || ngx_http_apikeys_auth_challenge(r, alcf, stale) != NGX_OK)
    {
        return NGX_ERROR;
    }

    value = others.elts;

    for (i = 0; i < others.nelts; i++) {
        if (ngx_http_apikeys_auth_push(r, &value[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* removes the existing challenges from the response */

static ngx_int_t
ngx_http_apikeys_filter_remove_challenges(ngx_http_request_t *r,
    ngx_array_t *others)
{
    ngx_str_t               *value;
    ngx_uint_t               i;
    ngx_list_part_t         *part;
    ngx_table_elt_t         *h;
    static const ngx_str_t   name = ngx_string("www-authenticate");

    r->headers_out.www_authenticate = NULL;

    part = &r->headers_out.headers.part;
    i = 0;

    while ((h = ngx_http_apikeys_header_next(&part, &i, &name)) != NULL) {

        if (h->hash == 0) {
            continue;
        }

        value = ngx_array_push(others);
        if (value == NULL) {
            return NGX_ERROR;
        }

        *value = h->value;
        h->hash = 0;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_filter_body(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t             *cl;
    ngx_http_apikeys_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r->main, ngx_http_apikeys_module);

    if (ctx == NULL || ctx->document == NULL || ctx->r != r
        || in == NULL)
    {
        return ngx_http_next_body_filter(r, in);
    }

    /* nginx's page is in memory and is dropped; the document is sent once */

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
    }

    if (ctx->replaced) {
        return NGX_OK;
    }

    ctx->replaced = 1;

    for (cl = ctx->document; cl->next; cl = cl->next) { /* void */ }

    cl->buf->last_buf = (r == r->main) ? 1 : 0;
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
