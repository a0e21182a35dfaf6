
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_objectid.h>

#include <openssl/rand.h>


ngx_int_t
ngx_apikeys_objectid_parse(ngx_apikeys_objectid_t *id, const ngx_str_t *text)
{
    u_char      c, digit;
    ngx_uint_t  i;

    if (text->len != NGX_APIKEYS_OBJECTID_TEXT_LEN) {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_APIKEYS_OBJECTID_TEXT_LEN; i++) {
        c = text->data[i];

        if (c >= '0' && c <= '9') {
            digit = c - '0';

        } else if (c >= 'a' && c <= 'f') {
            digit = c - 'a' + 10;

        } else {
            return NGX_ERROR;
        }

        if (i & 1) {
            id->data[i / 2] |= digit;

        } else {
            id->data[i / 2] = (u_char) (digit << 4);
        }
    }

    return NGX_OK;
}


/*
 * Whole vectors, of which compilers need a third of the instructions of
 * ngx_hex_dump(): each row of usage has an id.
 */

u_char *
ngx_apikeys_objectid_write(u_char *p, const ngx_apikeys_objectid_t *id)
{
    u_char      c, bytes[16], digits[32];
    ngx_uint_t  i;

    ngx_memzero(bytes, sizeof(bytes));
    ngx_memcpy(bytes, id->data, NGX_APIKEYS_OBJECTID_LEN);

    for (i = 0; i < sizeof(bytes); i++) {
        digits[2 * i] = bytes[i] >> 4;
        digits[2 * i + 1] = bytes[i] & 0x0f;
    }

    for (i = 0; i < sizeof(digits); i++) {
        c = digits[i];
        digits[i] = c + '0' + (c > 9) * ('a' - '0' - 10);
    }

    return ngx_cpymem(p, digits, NGX_APIKEYS_OBJECTID_TEXT_LEN);
}


ngx_uint_t
ngx_apikeys_objectid_zero(const ngx_apikeys_objectid_t *id)
{
    static const ngx_apikeys_objectid_t  zero;

    return ngx_memcmp(id, &zero, sizeof(ngx_apikeys_objectid_t)) == 0;
}


ngx_int_t
ngx_apikeys_objectid_generate(ngx_apikeys_objectid_t *id)
{
    time_t  now;

    now = ngx_time();

    id->data[0] = (u_char) (now >> 24);
    id->data[1] = (u_char) (now >> 16);
    id->data[2] = (u_char) (now >> 8);
    id->data[3] = (u_char) now;

    if (RAND_bytes(&id->data[4], NGX_APIKEYS_OBJECTID_LEN - 4) != 1) {
        return NGX_ERROR;
    }

    return NGX_OK;
}
