
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_header.h>


static ngx_inline ngx_uint_t ngx_http_apikeys_header_is(
    const ngx_str_t *key, const ngx_str_t *name);


ngx_table_elt_t *
ngx_http_apikeys_header_next(ngx_list_part_t **part, ngx_uint_t *i,
    const ngx_str_t *name)
{
    ngx_table_elt_t  *h;

    while (*part) {
        h = (*part)->elts;

        for ( /* void */ ; *i < (*part)->nelts; (*i)++) {

            if (h[*i].key.len == name->len
                && ngx_http_apikeys_header_is(&h[*i].key, name))
            {
                return &h[(*i)++];
            }
        }

        *part = (*part)->next;
        *i = 0;
    }

    return NULL;
}


/*
 * Equal lengths.  h->lowcase_key is not read, as modules that add headers may
 * leave it unset.
 */

static ngx_inline ngx_uint_t
ngx_http_apikeys_header_is(const ngx_str_t *key, const ngx_str_t *name)
{
    size_t  i;

    for (i = 0; i < name->len; i++) {
        if (ngx_tolower(key->data[i]) != name->data[i]) {
            return 0;
        }
    }

    return 1;
}


ngx_table_elt_t *
ngx_http_apikeys_header_add(ngx_http_request_t *r, const ngx_str_t *name,
    const ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NULL;
    }

    h->hash = 1;
    h->key = *name;
    h->value = *value;
    h->lowcase_key = NULL;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    return h;
}
