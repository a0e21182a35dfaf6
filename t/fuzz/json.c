
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A document that parses is written in both styles, and each is parsed and
 * written again: to the same bytes.  Any bytes at all, written as a string,
 * are a document.  Names are written as they are, since ours are all plain:
 * documents with others are parsed only.
 */


#include "fuzz.h"

#include <ngx_apikeys_json.h>


static ngx_uint_t  plain(ngx_apikeys_json_t *value);
static ngx_str_t  write_value(ngx_pool_t *pool, ngx_apikeys_json_t *value,
    ngx_uint_t pretty);
static void  write_any(ngx_apikeys_json_out_t *o, ngx_apikeys_json_t *value);
static ngx_str_t  text(ngx_apikeys_json_out_t *o);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t                s, one, two;
    ngx_uint_t               pretty;
    ngx_pool_t              *pool;
    ngx_apikeys_json_t      *value, *again;
    ngx_apikeys_json_out_t   o;

    pool = ngx_create_pool(4096, &fuzz_log);
    must(pool != NULL);

    s.len = size;
    s.data = (u_char *) data;

    if (fuzz_parse(pool, &s, &value) == NGX_OK && plain(value)) {

        for (pretty = 0; pretty < 2; pretty++) {
            one = write_value(pool, value, pretty);
            must(fuzz_parse(pool, &one, &again) == NGX_OK);
            two = write_value(pool, again, pretty);
            must(one.len == two.len
                 && memcmp(one.data, two.data, one.len) == 0);
        }
    }

    ngx_apikeys_json_out_init(&o, pool, 0);
    ngx_apikeys_json_out_string(&o, &s);
    one = text(&o);

    /* jansson takes no NUL in a string, and that is as it should be */

    if (memchr(data, '\0', size) == NULL) {
        must(fuzz_parse(pool, &one, &again) == NGX_OK);
    }

    ngx_destroy_pool(pool);

    return 0;
}


/* whether no name in it needs to be escaped */

static ngx_uint_t
plain(ngx_apikeys_json_t *value)
{
    size_t                    n;
    ngx_str_t                 name;
    ngx_uint_t                i;
    ngx_apikeys_json_t       *member;
    ngx_apikeys_json_iter_t   it;

    if (ngx_apikeys_json_type(value) == NGX_APIKEYS_JSON_ARRAY) {

        for (i = 0; i < ngx_apikeys_json_size(value); i++) {
            if (!plain(ngx_apikeys_json_item(value, i))) {
                return 0;
            }
        }
    }

    if (ngx_apikeys_json_type(value) != NGX_APIKEYS_JSON_OBJECT) {
        return 1;
    }

    memset(&it, 0, sizeof(it));

    while (ngx_apikeys_json_next(value, &it, &name, &member) == NGX_OK) {

        for (n = 0; n < name.len; n++) {
            if (name.data[n] < ' ' || name.data[n] == '"'
                || name.data[n] == '\\')
            {
                return 0;
            }
        }

        if (!plain(member)) {
            return 0;
        }
    }

    return 1;
}


static ngx_str_t
write_value(ngx_pool_t *pool, ngx_apikeys_json_t *value, ngx_uint_t pretty)
{
    ngx_apikeys_json_out_t  o;

    ngx_apikeys_json_out_init(&o, pool, pretty);
    write_any(&o, value);
    must(o.depth == 0 && o.indent == 0);

    return text(&o);
}


static void
write_any(ngx_apikeys_json_out_t *o, ngx_apikeys_json_t *value)
{
    char                     *name;
    ngx_str_t                 s;
    ngx_uint_t                i;
    ngx_apikeys_json_t       *member;
    ngx_apikeys_json_iter_t   it;

    switch (ngx_apikeys_json_type(value)) {

    case NGX_APIKEYS_JSON_OBJECT:
        ngx_apikeys_json_out_object(o);
        memset(&it, 0, sizeof(it));

        while (ngx_apikeys_json_next(value, &it, &s, &member) == NGX_OK) {
            name = (char *) s.data;
            must(ngx_apikeys_json_member(value, name) == member);
            ngx_apikeys_json_out_name(o, name);
            write_any(o, member);
        }

        ngx_apikeys_json_out_object_end(o);
        break;

    case NGX_APIKEYS_JSON_ARRAY:
        ngx_apikeys_json_out_array(o);

        for (i = 0; i < ngx_apikeys_json_size(value); i++) {
            write_any(o, ngx_apikeys_json_item(value, i));
        }

        must(ngx_apikeys_json_item(value, i) == NULL);
        ngx_apikeys_json_out_array_end(o);
        break;

    case NGX_APIKEYS_JSON_STRING:
        ngx_apikeys_json_string(value, &s);
        ngx_apikeys_json_out_string(o, &s);
        break;

    case NGX_APIKEYS_JSON_NUMBER:
        ngx_apikeys_json_out_int(o, -1);
        break;

    case NGX_APIKEYS_JSON_BOOLEAN:
        ngx_apikeys_json_out_bool(o, ngx_apikeys_json_true(value));
        break;

    case NGX_APIKEYS_JSON_NULL:
        ngx_apikeys_json_out_null(o);
        break;
    }
}


static ngx_str_t
text(ngx_apikeys_json_out_t *o)
{
    size_t        n;
    ngx_str_t     s;
    ngx_chain_t  *cl;

    must(!o->failed && o->size > 0);

    s.len = 0;
    s.data = ngx_pnalloc(o->pool, o->size);
    must(s.data != NULL);

    for (cl = o->out; cl; cl = cl->next) {
        n = cl->buf->last - cl->buf->pos;
        must(n > 0 && s.len + n <= (size_t) o->size);
        memcpy(s.data + s.len, cl->buf->pos, n);
        s.len += n;
    }

    must(s.len == (size_t) o->size);

    return s;
}
