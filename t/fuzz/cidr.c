
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Addresses and blocks.  What parses is normal, is written in few enough
 * bytes, and parses back to the same; an address is one that libc takes too.
 */


#include "fuzz.h"

#include <ngx_apikeys_cidr.h>


static void  check(ngx_apikeys_cidr_t *cidr);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                buf[INET6_ADDRSTRLEN];
    ngx_int_t           rc;
    ngx_str_t           text;
    ngx_uint_t          libc;
    struct in6_addr     in6;
    ngx_apikeys_cidr_t  cidr;

    text.len = size;
    text.data = (u_char *) data;

    libc = 0;

    if (size < sizeof(buf) && memchr(data, '\0', size) == NULL) {
        memcpy(buf, data, size);
        buf[size] = '\0';

        libc = inet_pton(AF_INET, buf, &in6) == 1
               || inet_pton(AF_INET6, buf, &in6) == 1;
    }

    rc = ngx_apikeys_cidr_parse_address(&cidr, &text);
    must((rc == NGX_OK) == libc);

    if (rc == NGX_OK) {
        must(ngx_apikeys_cidr_single(&cidr));
        check(&cidr);
    }

    if (ngx_apikeys_cidr_parse_block(&cidr, &text) == NGX_OK) {
        must(rc == NGX_ERROR);
        check(&cidr);
    }

    return 0;
}


static void
check(ngx_apikeys_cidr_t *cidr)
{
    u_char              text[NGX_APIKEYS_CIDR_TEXT_LEN];
    ngx_str_t           s;
    ngx_uint_t          i, bits;
    ngx_apikeys_cidr_t  again, all;

    bits = cidr->family == 4 ? 32 : 128;

    must(cidr->family == 4 || cidr->family == 6);
    must(cidr->prefix <= bits);

    for (i = cidr->prefix; i < 128; i++) {
        must(((cidr->addr[i / 8] >> (7 - i % 8)) & 1) == 0);
    }

    s.data = text;
    s.len = ngx_apikeys_cidr_write_block(text, cidr) - text;
    must(s.len <= sizeof(text));
    must(ngx_apikeys_cidr_parse_block(&again, &s) == NGX_OK);
    must(memcmp(&again, cidr, sizeof(again)) == 0);
    must(ngx_apikeys_cidr_compare(&again, cidr) == 0);
    must(ngx_apikeys_cidr_contains(&again, cidr));

    memset(&all, 0, sizeof(all));
    all.family = cidr->family;
    must(ngx_apikeys_cidr_contains(&all, cidr));
    must(ngx_apikeys_cidr_compare(&all, cidr) <= 0);
    must(ngx_apikeys_cidr_refused(&all));
}
