
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_accept.h>


static ngx_uint_t ngx_http_apikeys_accept_list(ngx_str_t *value);
static ngx_uint_t ngx_http_apikeys_accept_range(u_char *p, u_char *last);
static ngx_uint_t ngx_http_apikeys_accept_date(u_char *p, u_char *last);
static ngx_uint_t ngx_http_apikeys_accept_excluded(u_char *p, u_char *last);
static void ngx_http_apikeys_accept_trim(u_char **p, u_char **last);


static const ngx_str_t  ngx_http_apikeys_accept_vendor =
    ngx_string("application/vnd.atlas.");
static const ngx_str_t  ngx_http_apikeys_accept_suffix =
    ngx_string("+json");
static const ngx_str_t  ngx_http_apikeys_accept_json =
    ngx_string("application/json");


ngx_uint_t
ngx_http_apikeys_accept_version(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return 0;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == sizeof("Accept") - 1
            && ngx_strncasecmp(h[i].key.data, (u_char *) "Accept",
                               sizeof("Accept") - 1)
               == 0
            && ngx_http_apikeys_accept_list(&h[i].value))
        {
            return 1;
        }
    }
}


static ngx_uint_t
ngx_http_apikeys_accept_list(ngx_str_t *value)
{
    u_char  *p, *last, *end;

    end = value->data + value->len;

    for (p = value->data; p < end; p = last + 1) {

        last = ngx_strlchr(p, end, ',');
        if (last == NULL) {
            last = end;
        }

        if (ngx_http_apikeys_accept_range(p, last)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_apikeys_accept_range(u_char *p, u_char *last)
{
    u_char           *params;
    const ngx_str_t  *vendor, *suffix;

    params = ngx_strlchr(p, last, ';');

    if (params) {
        if (ngx_http_apikeys_accept_excluded(params, last)) {
            return 0;
        }

        last = params;
    }

    ngx_http_apikeys_accept_trim(&p, &last);

    vendor = &ngx_http_apikeys_accept_vendor;
    suffix = &ngx_http_apikeys_accept_suffix;

    if ((size_t) (last - p) != vendor->len + sizeof("2023-01-01") - 1
                               + suffix->len
        || ngx_strncasecmp(p, vendor->data, vendor->len) != 0
        || ngx_strncasecmp(last - suffix->len, suffix->data, suffix->len)
           != 0)
    {
        return 0;
    }

    return ngx_http_apikeys_accept_date(p + vendor->len, last - suffix->len);
}


/* a calendar date not before the first version, 2023-01-01 */

static ngx_uint_t
ngx_http_apikeys_accept_date(u_char *p, u_char *last)
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
ngx_http_apikeys_accept_excluded(u_char *p, u_char *last)
{
    u_char  *start, *end;

    while (p < last) {
        start = p + 1;

        end = ngx_strlchr(start, last, ';');
        if (end == NULL) {
            end = last;
        }

        p = end;

        ngx_http_apikeys_accept_trim(&start, &end);

        if (end - start < 3
            || (start[0] | 0x20) != 'q' || start[1] != '='
            || start[2] != '0')
        {
            continue;
        }

        for (start += 3; start < end; start++) {
            if (*start != '.' && *start != '0') {
                break;
            }
        }

        if (start == end) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_apikeys_accept_body(ngx_http_request_t *r)
{
    u_char           *p, *last, *params;
    const ngx_str_t  *vendor, *suffix, *json;

    if (r->headers_in.content_type == NULL) {
        return 1;
    }

    p = r->headers_in.content_type->value.data;
    last = p + r->headers_in.content_type->value.len;

    params = ngx_strlchr(p, last, ';');

    if (params) {
        last = params;
    }

    ngx_http_apikeys_accept_trim(&p, &last);

    vendor = &ngx_http_apikeys_accept_vendor;
    suffix = &ngx_http_apikeys_accept_suffix;
    json = &ngx_http_apikeys_accept_json;

    if ((size_t) (last - p) == json->len
        && ngx_strncasecmp(p, json->data, json->len) == 0)
    {
        return 1;
    }

    return (size_t) (last - p) > vendor->len + suffix->len
           && ngx_strncasecmp(p, vendor->data, vendor->len) == 0
           && ngx_strncasecmp(last - suffix->len, suffix->data, suffix->len)
              == 0;
}


static void
ngx_http_apikeys_accept_trim(u_char **p, u_char **last)
{
    while (*p < *last && (**p == ' ' || **p == '\t')) {
        (*p)++;
    }

    while (*p < *last && ((*last)[-1] == ' ' || (*last)[-1] == '\t')) {
        (*last)--;
    }
}
