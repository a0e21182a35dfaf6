
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_error.h>
#include <ngx_http_apikeys_header.h>


static void ngx_http_apikeys_error_detail(ngx_apikeys_json_out_t *out,
    const ngx_str_t *text, const ngx_str_t params[2]);
static void ngx_http_apikeys_error_parameters(ngx_apikeys_json_out_t *out,
    const ngx_str_t *text, const ngx_str_t params[2]);


static const ngx_str_t  ngx_http_apikeys_error_unauthorized_text = ngx_string(
    "{\n"
    "  \"error\" : 401,\n"
    "  \"reason\" : \"Unauthorized\",\n"
    "  \"detail\" : \"You are not authorized for this resource.\",\n"
    "  \"errorCode\" : \"UNEXPECTED_ERROR\"\n"
    "}"
);


void
ngx_http_apikeys_error_document(ngx_apikeys_json_out_t *out,
    ngx_uint_t status, ngx_http_apikeys_code_e code, ngx_uint_t envelope,
    const ngx_str_t params[2])
{
    const ngx_http_apikeys_code_t  *row;

    row = ngx_http_apikeys_code(code);

    if (envelope) {
        ngx_apikeys_json_out_object(out);
        ngx_apikeys_json_out_name(out, "status");
        ngx_apikeys_json_out_int(out, status);
        ngx_apikeys_json_out_name(out, "content");
    }

    ngx_apikeys_json_out_object(out);

    ngx_apikeys_json_out_name(out, "detail");
    ngx_http_apikeys_error_detail(out, &row->text, params);

    ngx_apikeys_json_out_name(out, "error");
    ngx_apikeys_json_out_int(out, status);

    ngx_apikeys_json_out_name(out, "errorCode");
    ngx_apikeys_json_out_string(out, &row->name);

    ngx_apikeys_json_out_name(out, "parameters");
    ngx_http_apikeys_error_parameters(out, &row->text, params);

    ngx_apikeys_json_out_name(out, "reason");
    ngx_apikeys_json_out_string(out, ngx_http_apikeys_code_reason(status));

    ngx_apikeys_json_out_object_end(out);

    if (envelope) {
        ngx_apikeys_json_out_object_end(out);
    }
}


static void
ngx_http_apikeys_error_detail(ngx_apikeys_json_out_t *out,
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

        /* a parameter: "%s", "%d", or "%-", which the text does not show */

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
ngx_http_apikeys_error_parameters(ngx_apikeys_json_out_t *out,
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


ngx_chain_t *
ngx_http_apikeys_error_unauthorized(ngx_pool_t *pool, off_t *size)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = ngx_calloc_buf(pool);
    cl = ngx_alloc_chain_link(pool);

    if (b == NULL || cl == NULL) {
        return NULL;
    }

    b->pos = ngx_http_apikeys_error_unauthorized_text.data;
    b->last = b->pos + ngx_http_apikeys_error_unauthorized_text.len;
    b->memory = 1;

    cl->buf = b;
    cl->next = NULL;

    *size = b->last - b->pos;

    return cl;
}


ngx_int_t
ngx_http_apikeys_error_add_code(ngx_http_request_t *r, const ngx_str_t *code)
{
    static const ngx_str_t  name = ngx_string("X-Error-Code");

    return ngx_http_apikeys_header_add(r, &name, code) ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_apikeys_error_add_retry_after(ngx_http_request_t *r)
{
    static const ngx_str_t  name = ngx_string("Retry-After"),
                            value = ngx_string("1");

    return ngx_http_apikeys_header_add(r, &name, &value) ? NGX_OK : NGX_ERROR;
}
