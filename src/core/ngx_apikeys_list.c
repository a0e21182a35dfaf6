
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_apikeys_list.h>


ngx_uint_t
ngx_apikeys_list_next(ngx_str_t *rest, u_char separator, ngx_str_t *item)
{
    u_char  *p, *last;

    if (rest->data == NULL || rest->len == 0) {
        return 0;
    }

    last = rest->data + rest->len;
    p = ngx_strlchr(rest->data, last, separator);

    item->data = rest->data;

    if (p == NULL) {
        item->len = rest->len;
        rest->len = 0;
        return 1;
    }

    item->len = p - rest->data;
    rest->data = p + 1;
    rest->len = last - rest->data;

    return 1;
}


void
ngx_apikeys_list_trim(ngx_str_t *item)
{
    u_char  *p, *last;

    p = item->data;
    last = p + item->len;

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    while (p < last && (last[-1] == ' ' || last[-1] == '\t')) {
        last--;
    }

    item->data = p;
    item->len = last - p;
}
