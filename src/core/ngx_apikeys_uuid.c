
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_apikeys_uuid.h>


void
ngx_apikeys_uuid_write(u_char *p, u_char bytes[NGX_APIKEYS_UUID_LEN])
{
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;

    p = ngx_hex_dump(p, bytes, 4);
    *p++ = '-';
    p = ngx_hex_dump(p, bytes + 4, 2);
    *p++ = '-';
    p = ngx_hex_dump(p, bytes + 6, 2);
    *p++ = '-';
    p = ngx_hex_dump(p, bytes + 8, 2);
    *p++ = '-';
    (void) ngx_hex_dump(p, bytes + 10, 6);
}
