
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What is ours to say: every error of an administration API, and in other
 * locations the refusal that the access phase has just decided.  An error
 * page that the configuration names is another location and is left alone,
 * but for the headers without which a client cannot go on.
 */


#include <ngx_http_apikeys_args.h>
#include <ngx_http_apikeys_auth.h>
#include <ngx_http_apikeys_filter.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_record.h>


static ngx_int_t ngx_http_apikeys_filter_header(ngx_http_request_t *r);
static NGX_HTTP_APIKEYS_NOINLINE ngx_int_t ngx_http_apikeys_filter_error(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_apikeys_filter_replace(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_record_t *record);
static ngx_chain_t *ngx_http_apikeys_filter_document(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, off_t *size);
static ngx_int_t ngx_http_apikeys_filter_challenge(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_uint_t stale);
static ngx_int_t ngx_http_apikeys_filter_take(ngx_http_request_t *r,
    ngx_array_t *others);
static ngx_int_t ngx_http_apikeys_filter_body(ngx_http_request_t *r,
    ngx_chain_t *in);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


static const ngx_str_t  ngx_http_apikeys_filter_later =
    ngx_string("Retry-After");

static const ngx_str_t  ngx_http_apikeys_filter_second = ngx_string("1");


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
    ngx_http_apikeys_record_t    *record;
    ngx_http_apikeys_loc_conf_t  *alcf, *refused;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_apikeys_module);

    record = alcf->api ? ngx_http_apikeys_record(r)
                       : ngx_http_apikeys_record_find(r);

    if (record == NULL) {
        return alcf->api ? NGX_ERROR : NGX_OK;
    }

    refused = alcf->api ? alcf : record->refused;

    if (refused == NULL) {
        return NGX_OK;
    }

    record->refused = NULL;

    if (record->call == NULL || !record->call->answered) {

        /* 407 under "satisfy any" is auth_basic's own */

        if (refused == alcf
            && r->headers_out.status != 407
            && ngx_http_apikeys_filter_replace(r, alcf, record) != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (r->headers_out.status == NGX_HTTP_SERVICE_UNAVAILABLE
            && ngx_http_apikeys_output_header(r, &ngx_http_apikeys_filter_later,
                                              &ngx_http_apikeys_filter_second)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (r->headers_out.status != NGX_HTTP_UNAUTHORIZED) {
        return NGX_OK;
    }

    return ngx_http_apikeys_filter_challenge(r, refused,
                         record->identified == NGX_HTTP_APIKEYS_STALE_NONCE);
}


/* the document goes out in the place of nginx's page, see the body filter */

static ngx_int_t
ngx_http_apikeys_filter_replace(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_record_t *record)
{
    off_t  size;

    record->document = ngx_http_apikeys_filter_document(r, alcf, &size);
    if (record->document == NULL) {
        return NGX_ERROR;
    }

    if (alcf->api && ngx_http_apikeys_output_fixed_headers(r) != NGX_OK) {
        return NGX_ERROR;
    }

    record->r = r;
    record->replaced = 0;

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
    ngx_http_apikeys_args_t         args;
    ngx_http_apikeys_code_e         code;
    const ngx_http_apikeys_code_t  *row;
    static const ngx_str_t          name = ngx_string("X-Error-Code");

    if (r->headers_out.status == NGX_HTTP_UNAUTHORIZED) {
        return ngx_http_apikeys_output_unauthorized_document(r->pool, size);
    }

    ngx_memzero(&args, sizeof(ngx_http_apikeys_args_t));

    if (alcf->api && ngx_http_apikeys_args_parse(r, &args) != NGX_OK) {
        return NULL;
    }

    code = ngx_http_apikeys_code_status(r->headers_out.status);
    row = ngx_http_apikeys_code(code);

    params[0] = (code == NGX_HTTP_APIKEYS_METHOD_NOT_ALLOWED) ? r->method_name
                                                              : r->uri;
    ngx_str_null(&params[1]);

    ngx_apikeys_json_out_init(&out, r->pool, args.pretty);
    ngx_http_apikeys_output_error_document(&out, code, args.envelope, params);

    if (out.failed
        || ngx_http_apikeys_output_header(r, &name, &row->name) != NGX_OK)
    {
        return NULL;
    }

    *size = out.size;

    return out.out;
}


/*
 * Digest goes first, which many clients take to be the only one; another
 * module (auth_basic under "satisfy any") or the upstream of an error page
 * may have set its own before.
 */

static ngx_int_t
ngx_http_apikeys_filter_challenge(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_uint_t stale)
{
    ngx_str_t    *value;
    ngx_uint_t    i;
    ngx_array_t   others;

    if (ngx_array_init(&others, r->pool, 1, sizeof(ngx_str_t)) != NGX_OK
        || ngx_http_apikeys_filter_take(r, &others) != NGX_OK
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


/* takes the challenges that are there out of the answer */

static ngx_int_t
ngx_http_apikeys_filter_take(ngx_http_request_t *r, ngx_array_t *others)
{
    ngx_str_t        *value;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    r->headers_out.www_authenticate = NULL;

    for (part = &r->headers_out.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].hash == 0
                || h[i].key.len != sizeof("WWW-Authenticate") - 1
                || ngx_strncasecmp(h[i].key.data,
                                   (u_char *) "WWW-Authenticate",
                                   sizeof("WWW-Authenticate") - 1)
                   != 0)
            {
                continue;
            }

            value = ngx_array_push(others);
            if (value == NULL) {
                return NGX_ERROR;
            }

            *value = h[i].value;
            h[i].hash = 0;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_filter_body(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t                *cl;
    ngx_http_apikeys_record_t  *record;

    record = ngx_http_get_module_ctx(r->main, ngx_http_apikeys_module);

    if (record == NULL || record->document == NULL || record->r != r
        || in == NULL)
    {
        return ngx_http_next_body_filter(r, in);
    }

    /* nginx's page is in memory and is dropped; ours goes once */

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
    }

    if (record->replaced) {
        return NGX_OK;
    }

    record->replaced = 1;

    for (cl = record->document; cl->next; cl = cl->next) { /* void */ }

    cl->buf->last_buf = (r == r->main) ? 1 : 0;
    cl->buf->last_in_chain = 1;

    return ngx_http_next_body_filter(r, record->document);
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
