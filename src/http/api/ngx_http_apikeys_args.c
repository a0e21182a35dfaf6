
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_args.h>
#include <ngx_http_apikeys_output.h>


#define NGX_HTTP_APIKEYS_ARGS_ROLE_LEN  64


typedef struct {
    ngx_str_t    name;
    ngx_uint_t   apis;
    ngx_int_t  (*set)(ngx_http_apikeys_args_t *args, const ngx_str_t *value);
    unsigned     page:1;         /* an argument of pages: not copied into
                                    links */
    unsigned     list:1;         /* an argument of lists: an error there
                                    alone */
} ngx_http_apikeys_arg_t;


static ngx_int_t ngx_http_apikeys_args_decode(ngx_pool_t *pool,
    const ngx_str_t *text, ngx_str_t *decoded);
static ngx_int_t ngx_http_apikeys_args_pretty(ngx_http_apikeys_args_t *args,
    const ngx_str_t *value);
static ngx_int_t ngx_http_apikeys_args_envelope(
    ngx_http_apikeys_args_t *args, const ngx_str_t *value);
static ngx_int_t ngx_http_apikeys_args_count(ngx_http_apikeys_args_t *args,
    const ngx_str_t *value);
static ngx_int_t ngx_http_apikeys_args_page(ngx_http_apikeys_args_t *args,
    const ngx_str_t *value);
static ngx_int_t ngx_http_apikeys_args_items(ngx_http_apikeys_args_t *args,
    const ngx_str_t *value);
static ngx_int_t ngx_http_apikeys_args_name(ngx_http_apikeys_args_t *args,
    const ngx_str_t *value);
static ngx_int_t ngx_http_apikeys_args_int(const ngx_str_t *value);


static const ngx_http_apikeys_arg_t  ngx_http_apikeys_args[] = {

    { .name = ngx_string("pretty"), .apis = NGX_HTTP_APIKEYS_API_ANY,
      .set = ngx_http_apikeys_args_pretty },

    { .name = ngx_string("envelope"), .apis = NGX_HTTP_APIKEYS_API_COMPATIBLE,
      .set = ngx_http_apikeys_args_envelope },

    { .name = ngx_string("includeCount"), .apis = NGX_HTTP_APIKEYS_API_ANY,
      .set = ngx_http_apikeys_args_count, .list = 1 },

    { .name = ngx_string("pageNum"), .apis = NGX_HTTP_APIKEYS_API_ANY,
      .set = ngx_http_apikeys_args_page, .page = 1, .list = 1 },

    { .name = ngx_string("itemsPerPage"), .apis = NGX_HTTP_APIKEYS_API_ANY,
      .set = ngx_http_apikeys_args_items, .page = 1, .list = 1 },

    { .name = ngx_string("name"), .apis = NGX_HTTP_APIKEYS_API_ANY,
      .set = ngx_http_apikeys_args_name, .list = 1 },

    { .name = ngx_null_string }
};

/* the arguments that a request has are a mask, uint32_t */
_Static_assert(sizeof(ngx_http_apikeys_args) / sizeof(ngx_http_apikeys_arg_t)
               - 1 <= 32,
               "a mask has a bit for each argument");


ngx_int_t
ngx_http_apikeys_args_parse(ngx_http_request_t *r,
    ngx_http_apikeys_args_t *args)
{
    u_char                        *p, *start, *kept;
    uint32_t                       seen;
    ngx_int_t                      rc;
    ngx_str_t                      name, value;
    ngx_uint_t                     i;
    const ngx_http_apikeys_arg_t  *arg;
    ngx_http_apikeys_loc_conf_t   *alcf;

    ngx_memzero(args, sizeof(ngx_http_apikeys_args_t));

    args->page = 1;
    args->items = 100;
    args->count = 1;

    if (r->args.len == 0) {
        return NGX_OK;
    }

    kept = ngx_pnalloc(r->pool, r->args.len + 1);
    if (kept == NULL) {
        return NGX_ERROR;
    }

    args->kept.data = kept;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_apikeys_module);

    seen = 0;
    p = r->args.data;

    for ( ;; ) {
        start = p;

        rc = ngx_http_apikeys_args_next(r, &p, &name, &value);

        if (rc == NGX_DONE) {
            break;
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }

        arg = ngx_http_apikeys_args;

        for (i = 0; arg[i].name.len; i++) {
            if ((arg[i].apis & alcf->api)
                && arg[i].name.len == name.len
                && ngx_strncmp(arg[i].name.data, name.data, name.len) == 0)
            {
                break;
            }
        }

        if (!arg[i].page && p - start > 1) {
            kept = ngx_cpymem(kept, start, p - 1 - start);
            *kept++ = '&';
        }

        if (arg[i].name.len == 0 || (seen & ((uint32_t) 1 << i))) {
            continue;
        }

        seen |= (uint32_t) 1 << i;

        if (arg[i].set(args, &value) == NGX_OK) {
            continue;
        }

        if (arg[i].list) {
            if (args->bad_page.len == 0) {
                args->bad_page = arg[i].name;
            }

        } else if (args->bad.len == 0) {
            args->bad = arg[i].name;
        }
    }

    args->kept.len = kept - args->kept.data;

    return NGX_OK;
}


ngx_int_t
ngx_http_apikeys_args_next(ngx_http_request_t *r, u_char **p,
    ngx_str_t *name, ngx_str_t *value)
{
    u_char  *end, *last, *eq;

    end = r->args.data + r->args.len;

    if (*p >= end) {
        return NGX_DONE;
    }

    last = ngx_strlchr(*p, end, '&');
    if (last == NULL) {
        last = end;
    }

    eq = ngx_strlchr(*p, last, '=');

    value->data = eq ? eq + 1 : last;
    value->len = last - value->data;

    name->data = *p;
    name->len = (eq ? eq : last) - *p;

    *p = last + 1;

    if (ngx_http_apikeys_args_decode(r->pool, name, name) != NGX_OK
        || ngx_http_apikeys_args_decode(r->pool, value, value) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_apikeys_args_texts(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_arg_text_t *texts, void *to)
{
    u_char                             *p;
    ngx_int_t                           rc;
    ngx_str_t                           name, value, *text;
    ngx_http_request_t                 *r;
    const ngx_http_apikeys_arg_text_t  *arg;

    r = call->request;
    p = r->args.data;

    while ((rc = ngx_http_apikeys_args_next(r, &p, &name, &value)) == NGX_OK) {

        for (arg = texts; arg->name.len; arg++) {
            text = (ngx_str_t *) ((u_char *) to + arg->offset);

            if (text->data == NULL
                && arg->name.len == name.len
                && ngx_strncmp(arg->name.data, name.data, name.len) == 0)
            {
                *text = value;
            }
        }
    }

    if (rc != NGX_DONE) {
        return NGX_ERROR;
    }

    for (arg = texts; arg->name.len; arg++) {
        text = (ngx_str_t *) ((u_char *) to + arg->offset);

        if (text->data && arg->check && !arg->check(text)) {
            return ngx_http_apikeys_output_set_error(call,
                                 NGX_HTTP_APIKEYS_CODE_INVALID_QUERY_PARAMETER,
                                 &arg->name, NULL);
        }
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_apikeys_args_is_role(const ngx_str_t *name)
{
    u_char  *p, *last;

    last = name->data + name->len;

    for (p = name->data; p < last; p++) {
        if (!(*p >= 'A' && *p <= 'Z')
            && (p == name->data || (!(*p >= '0' && *p <= '9') && *p != '_')))
        {
            return 0;
        }
    }

    return name->len >= 2 && name->len <= NGX_HTTP_APIKEYS_ARGS_ROLE_LEN;
}


/* decodes "+" as a space, as in forms: clients send it */

static ngx_int_t
ngx_http_apikeys_args_decode(ngx_pool_t *pool, const ngx_str_t *text,
    ngx_str_t *decoded)
{
    u_char  *dst, *src, *last, *p;

    last = text->data + text->len;

    if (ngx_strlchr(text->data, last, '%') == NULL
        && ngx_strlchr(text->data, last, '+') == NULL)
    {
        *decoded = *text;
        return NGX_OK;
    }

    dst = ngx_pnalloc(pool, text->len);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(dst, text->data, text->len);

    for (p = dst; p < dst + text->len; p++) {
        if (*p == '+') {
            *p = ' ';
        }
    }

    /* the decoded text is never longer */

    decoded->data = dst;
    src = dst;

    ngx_unescape_uri(&dst, &src, text->len, 0);

    decoded->len = dst - decoded->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_args_pretty(ngx_http_apikeys_args_t *args,
    const ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_http_apikeys_args_bool(value);
    args->pretty = (n == 1);

    return (n == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_args_envelope(ngx_http_apikeys_args_t *args,
    const ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_http_apikeys_args_bool(value);
    args->envelope = (n == 1);

    return (n == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_args_count(ngx_http_apikeys_args_t *args,
    const ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_http_apikeys_args_bool(value);
    args->count = (n != 0);

    return (n == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_args_page(ngx_http_apikeys_args_t *args,
    const ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_http_apikeys_args_int(value);
    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (n) {
        args->page = n;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_args_items(ngx_http_apikeys_args_t *args,
    const ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_http_apikeys_args_int(value);
    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (n) {
        args->items = ngx_min(n, NGX_HTTP_APIKEYS_MAX_ITEMS);
    }

    return NGX_OK;
}


/* PostgreSQL would refuse invalid UTF-8, with which no name begins */

static ngx_int_t
ngx_http_apikeys_args_name(ngx_http_apikeys_args_t *args,
    const ngx_str_t *value)
{
    if (ngx_apikeys_json_check_utf8(value->data, value->len) != NGX_OK
        || ngx_strlchr(value->data, value->data + value->len, '\0'))
    {
        return NGX_ERROR;
    }

    if (value->len) {
        args->name = *value;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_apikeys_args_bool(const ngx_str_t *value)
{
    if (value->len == 4
        && ngx_strncasecmp(value->data, (u_char *) "true", 4) == 0)
    {
        return 1;
    }

    if (value->len == 5
        && ngx_strncasecmp(value->data, (u_char *) "false", 5) == 0)
    {
        return 0;
    }

    return NGX_ERROR;
}


/* clients send 0 for an unset value: the default */

static ngx_int_t
ngx_http_apikeys_args_int(const ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n == NGX_ERROR || n > NGX_MAX_INT32_VALUE) {
        return NGX_ERROR;
    }

    return n;
}
