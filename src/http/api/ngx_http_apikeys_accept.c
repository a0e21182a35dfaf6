
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_apikeys_list.h>
#include <ngx_http_apikeys_accept.h>
#include <ngx_http_apikeys_header.h>


static ngx_uint_t ngx_http_apikeys_accept_range(ngx_str_t *range);
static ngx_uint_t ngx_http_apikeys_accept_date(u_char *p);
static ngx_uint_t ngx_http_apikeys_accept_excluded(ngx_str_t *params);
static ngx_uint_t ngx_http_apikeys_accept_vendor_type(const ngx_str_t *type);


static const ngx_str_t  ngx_http_apikeys_accept_vendor =
    ngx_string("application/vnd.atlas.");
static const ngx_str_t  ngx_http_apikeys_accept_suffix =
    ngx_string("+json");
static const ngx_str_t  ngx_http_apikeys_accept_json =
    ngx_string("application/json");


ngx_uint_t
ngx_http_apikeys_accept_version(ngx_http_request_t *r)
{
    ngx_str_t                rest, range;
    ngx_uint_t               i;
    ngx_list_part_t         *part;
    ngx_table_elt_t         *h;
    static const ngx_str_t   name = ngx_string("accept");

    part = &r->headers_in.headers.part;
    i = 0;

    while ((h = ngx_http_apikeys_header_next(&part, &i, &name)) != NULL) {

        rest = h->value;

        while (ngx_apikeys_list_next(&rest, ',', &range)) {
            if (ngx_http_apikeys_accept_range(&range)) {
                return 1;
            }
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_apikeys_accept_range(ngx_str_t *range)
{
    ngx_str_t         type;
    const ngx_str_t  *vendor, *suffix;

    if (!ngx_apikeys_list_next(range, ';', &type)
        || ngx_http_apikeys_accept_excluded(range))
    {
        return 0;
    }

    ngx_apikeys_list_trim(&type);

    vendor = &ngx_http_apikeys_accept_vendor;
    suffix = &ngx_http_apikeys_accept_suffix;

    return type.len == vendor->len + sizeof("2023-01-01") - 1 + suffix->len
           && ngx_http_apikeys_accept_vendor_type(&type)
           && ngx_http_apikeys_accept_date(type.data + vendor->len);
}


/* a calendar date, at the earliest that of the first version, 2023-01-01 */

static ngx_uint_t
ngx_http_apikeys_accept_date(u_char *p)
{
    ngx_int_t           year, month, day, days;
    static ngx_int_t    mdays[] = { 31, 28, 31, 30, 31, 30,
                                    31, 31, 30, 31, 30, 31 };

    if (p[4] != '-' || p[7] != '-') {
        return 0;
    }

    year = ngx_atoi(p, 4);
    month = ngx_atoi(p + 5, 2);
    day = ngx_atoi(p + 8, 2);

    if (year < 2023 || month < 1 || month > 12 || day < 1) {
        return 0;
    }

    days = mdays[month - 1];

    if (month == 2
        && year % 4 == 0
        && (year % 100 != 0 || year % 400 == 0))
    {
        days++;
    }

    return day <= days;
}


/* ";q=0", ";q=0.0" and so on */

static ngx_uint_t
ngx_http_apikeys_accept_excluded(ngx_str_t *params)
{
    size_t     i;
    ngx_str_t  param;

    while (ngx_apikeys_list_next(params, ';', &param)) {

        ngx_apikeys_list_trim(&param);

        if (param.len < 3
            || (param.data[0] | 0x20) != 'q' || param.data[1] != '='
            || param.data[2] != '0')
        {
            continue;
        }

        for (i = 3; i < param.len; i++) {
            if (param.data[i] != '.' && param.data[i] != '0') {
                break;
            }
        }

        if (i == param.len) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_apikeys_accept_body(ngx_http_request_t *r, ngx_uint_t vendor)
{
    ngx_str_t         rest, type;
    const ngx_str_t  *json;

    if (r->headers_in.content_type == NULL) {
        return 1;
    }

    rest = r->headers_in.content_type->value;

    if (!ngx_apikeys_list_next(&rest, ';', &type)) {
        return 0;
    }

    ngx_apikeys_list_trim(&type);

    json = &ngx_http_apikeys_accept_json;

    if (type.len == json->len
        && ngx_strncasecmp(type.data, json->data, json->len) == 0)
    {
        return 1;
    }

    return vendor && ngx_http_apikeys_accept_vendor_type(&type);
}


static ngx_uint_t
ngx_http_apikeys_accept_vendor_type(const ngx_str_t *type)
{
    const ngx_str_t  *vendor, *suffix;

    vendor = &ngx_http_apikeys_accept_vendor;
    suffix = &ngx_http_apikeys_accept_suffix;

    return type->len > vendor->len + suffix->len
           && ngx_strncasecmp(type->data, vendor->data, vendor->len) == 0
           && ngx_strncasecmp(type->data + type->len - suffix->len,
                              suffix->data, suffix->len)
              == 0;
}
