
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include "tap.h"

#include <ngx_apikeys_objectid.h>


static ngx_int_t
parse(const char *text, size_t len)
{
    ngx_int_t               rc;
    ngx_str_t               s;
    ngx_apikeys_objectid_t  id;

    s = tap_exact(text, len);
    rc = ngx_apikeys_objectid_parse(&id, &s);
    ngx_free(s.data);

    return rc;
}


int
main(void)
{
    u_char                  buf[NGX_APIKEYS_OBJECTID_TEXT_LEN], *p, *bytes;
    size_t                  len;
    ngx_int_t               rc;
    ngx_str_t               s;
    ngx_uint_t              i, bad;
    ngx_apikeys_objectid_t  id, other;

    static const char  text[] = "6a793f752c88faeba59bba49";

    tap_start();

    ngx_str_set(&s, "6a793f752c88faeba59bba49");
    ok(ngx_apikeys_objectid_parse(&id, &s) == NGX_OK, "24 digits parse");

    bytes = (u_char *) "\x6a\x79\x3f\x75\x2c\x88\xfa\xeb\xa5\x9b\xba\x49";
    ok(memcmp(id.data, bytes, sizeof(id.data)) == 0, "to their bytes");

    p = ngx_apikeys_objectid_write(buf, &id);
    ok(p == buf + sizeof(buf) && memcmp(buf, s.data, sizeof(buf)) == 0,
       "which are written back");

    for (bad = 0, len = 0; len < 24; len++) {
        bad += parse(text, len) == NGX_OK;
    }

    ok(bad == 0, "no shorter text parses");
    ok(parse("6a793f752c88faeba59bba490", 25) == NGX_ERROR, "nor a longer");
    ok(parse("6A793F752C88FAEBA59BBA49", 24) == NGX_ERROR, "upper case");

    for (bad = 0, i = 0; i < 24 * 256; i++) {
        memcpy(buf, text, 24);
        buf[i / 256] = (u_char) i;

        rc = parse((char *) buf, 24);
        bad += (rc == NGX_OK)
               != ((i & 0xff) && strchr("0123456789abcdef", (int) (i & 0xff))
                   != NULL);
    }

    ok(bad == 0, "every other byte in every place is refused");

    ok(ngx_apikeys_objectid_generate(&id) == NGX_OK
       && ngx_apikeys_objectid_generate(&other) == NGX_OK,
       "ids are generated");

    ok(memcmp(&id, &other, sizeof(id)) != 0, "different ones");

    ok((time_t) ((uint32_t) id.data[0] << 24 | id.data[1] << 16
                 | id.data[2] << 8 | id.data[3]) == ngx_time(),
       "that begin with the second of their creation");

    return tap_end();
}
