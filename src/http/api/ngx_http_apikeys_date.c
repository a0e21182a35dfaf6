
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_date.h>


#define NGX_HTTP_APIKEYS_DATE_MAX_FRACTION  9


static ngx_int_t ngx_http_apikeys_date_number(u_char **p, u_char *last,
    size_t digits, ngx_int_t min, ngx_int_t max, int *n);
static ngx_int_t ngx_http_apikeys_date_clock(u_char **p, u_char *last,
    struct tm *tm);
static ngx_int_t ngx_http_apikeys_date_offset(u_char **p, u_char *last,
    time_t *offset);


ngx_int_t
ngx_http_apikeys_date_parse(const ngx_str_t *text, time_t *t)
{
    int         year, month, day;
    u_char     *p, *last;
    time_t      offset;
    struct tm   tm;

    p = text->data;
    last = p + text->len;

    ngx_memzero(&tm, sizeof(struct tm));
    offset = 0;

    if (ngx_http_apikeys_date_number(&p, last, 4, 0, 9999, &year) != NGX_OK
        || p == last || *p++ != '-'
        || ngx_http_apikeys_date_number(&p, last, 2, 1, 12, &month) != NGX_OK
        || p == last || *p++ != '-'
        || ngx_http_apikeys_date_number(&p, last, 2, 1, 31, &day) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (p < last
        && (ngx_http_apikeys_date_clock(&p, last, &tm) != NGX_OK
            || ngx_http_apikeys_date_offset(&p, last, &offset) != NGX_OK
            || p < last))
    {
        return NGX_DECLINED;
    }

    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    tm.tm_mday = day;

    *t = timegm(&tm);

    /* the 31st of a month with 30 days is normalized to another day */

    if (tm.tm_mday != day) {
        return NGX_DECLINED;
    }

    *t -= offset;

    return NGX_OK;
}


ngx_int_t
ngx_http_apikeys_date_parse_utc(const ngx_str_t *text, time_t *t)
{
    return (text->len == NGX_HTTP_APIKEYS_DATE_LEN
            && text->data[16] == ':' && text->data[19] == 'Z'
            && ngx_http_apikeys_date_parse(text, t) == NGX_OK && *t > 0)
           ? NGX_OK : NGX_DECLINED;
}


u_char *
ngx_http_apikeys_date_write(u_char *p, time_t t)
{
    ngx_tm_t  tm;

    ngx_gmtime(t, &tm);

    return ngx_sprintf(p, "%4d-%02d-%02dT%02d:%02d:%02dZ", tm.ngx_tm_year,
                       tm.ngx_tm_mon, tm.ngx_tm_mday, tm.ngx_tm_hour,
                       tm.ngx_tm_min, tm.ngx_tm_sec);
}


static ngx_int_t
ngx_http_apikeys_date_number(u_char **p, u_char *last, size_t digits,
    ngx_int_t min, ngx_int_t max, int *n)
{
    ngx_int_t  value;

    if ((size_t) (last - *p) < digits) {
        return NGX_DECLINED;
    }

    value = ngx_atoi(*p, digits);

    if (value < min || value > max) {
        return NGX_DECLINED;
    }

    *p += digits;
    *n = value;

    return NGX_OK;
}


/* "T", hours and minutes, perhaps seconds, perhaps a fraction */

static ngx_int_t
ngx_http_apikeys_date_clock(u_char **p, u_char *last, struct tm *tm)
{
    u_char  *start;

    if (*(*p)++ != 'T'
        || ngx_http_apikeys_date_number(p, last, 2, 0, 23, &tm->tm_hour)
           != NGX_OK
        || *p == last || *(*p)++ != ':'
        || ngx_http_apikeys_date_number(p, last, 2, 0, 59, &tm->tm_min)
           != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (*p == last || **p != ':') {
        return NGX_OK;
    }

    (*p)++;

    if (ngx_http_apikeys_date_number(p, last, 2, 0, 59, &tm->tm_sec)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (*p == last || **p != '.') {
        return NGX_OK;
    }

    start = ++(*p);

    while (*p < last && **p >= '0' && **p <= '9') {
        (*p)++;
    }

    return (*p > start && *p - start <= NGX_HTTP_APIKEYS_DATE_MAX_FRACTION)
           ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_apikeys_date_offset(u_char **p, u_char *last, time_t *offset)
{
    int     hours, minutes;
    u_char  sign;

    if (*p == last) {
        return NGX_OK;
    }

    sign = *(*p)++;

    if (sign == 'Z') {
        return NGX_OK;
    }

    if ((sign != '+' && sign != '-' && sign != ' ')
        || ngx_http_apikeys_date_number(p, last, 2, 0, 23, &hours) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (*p < last && **p == ':') {
        (*p)++;
    }

    if (ngx_http_apikeys_date_number(p, last, 2, 0, 59, &minutes) != NGX_OK) {
        return NGX_DECLINED;
    }

    *offset = (hours * 60 + minutes) * 60;

    if (sign == '-') {
        *offset = -*offset;
    }

    return NGX_OK;
}
