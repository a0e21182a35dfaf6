
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Parses and writes addresses and blocks.  inet_pton() parses them, as it
 * refuses leading zeros, zone ids and short forms.  inet_ntop() writes them,
 * except those in ::/96: for these it would write the IPv4-compatible notation,
 * which RFC 5952 does not have.
 *
 * All values are normalized, so that equal values have equal bytes: a mapped
 * address is an IPv4 address, and the bits after the prefix and the bytes after
 * an IPv4 address are 0.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_cidr.h>


static ngx_int_t ngx_apikeys_cidr_parse_text(ngx_apikeys_cidr_t *cidr,
    u_char *text, size_t len);
static ngx_int_t ngx_apikeys_cidr_parse_prefix(u_char *text, size_t len,
    ngx_uint_t max);
static void ngx_apikeys_cidr_unmap(ngx_apikeys_cidr_t *cidr);
static void ngx_apikeys_cidr_mask(ngx_apikeys_cidr_t *cidr);


static const u_char  ngx_apikeys_cidr_mapped[12] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff
};

static const u_char  ngx_apikeys_cidr_zero[16];


ngx_int_t
ngx_apikeys_cidr_parse_address(ngx_apikeys_cidr_t *cidr,
    const ngx_str_t *text)
{
    if (ngx_apikeys_cidr_parse_text(cidr, text->data, text->len) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_apikeys_cidr_unmap(cidr);

    return NGX_OK;
}


ngx_int_t
ngx_apikeys_cidr_parse_block(ngx_apikeys_cidr_t *cidr, const ngx_str_t *text)
{
    u_char     *slash, *last;
    ngx_int_t   prefix;

    last = text->data + text->len;

    slash = ngx_strlchr(text->data, last, '/');
    if (slash == NULL) {
        return NGX_ERROR;
    }

    if (ngx_apikeys_cidr_parse_text(cidr, text->data, slash - text->data)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    slash++;

    prefix = ngx_apikeys_cidr_parse_prefix(slash, last - slash, cidr->prefix);
    if (prefix == NGX_ERROR) {
        return NGX_ERROR;
    }

    cidr->prefix = (u_char) prefix;

    ngx_apikeys_cidr_unmap(cidr);
    ngx_apikeys_cidr_mask(cidr);

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_cidr_parse_text(ngx_apikeys_cidr_t *cidr, u_char *text,
    size_t len)
{
    char  buf[INET6_ADDRSTRLEN];

    if (len >= sizeof(buf) || ngx_strlchr(text, text + len, '\0')) {
        return NGX_ERROR;
    }

    ngx_memcpy(buf, text, len);
    buf[len] = '\0';

    ngx_memzero(cidr, sizeof(ngx_apikeys_cidr_t));

    if (inet_pton(AF_INET, buf, cidr->addr) == 1) {
        cidr->family = 4;
        cidr->prefix = 32;
        return NGX_OK;
    }

    if (inet_pton(AF_INET6, buf, cidr->addr) == 1) {
        cidr->family = 6;
        cidr->prefix = 128;
        return NGX_OK;
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_apikeys_cidr_parse_prefix(u_char *text, size_t len, ngx_uint_t max)
{
    ngx_int_t  n;

    if (len == 0 || len > 3 || (len > 1 && text[0] == '0')) {
        return NGX_ERROR;
    }

    n = ngx_atoi(text, len);

    if (n == NGX_ERROR || n > (ngx_int_t) max) {
        return NGX_ERROR;
    }

    return n;
}


static void
ngx_apikeys_cidr_unmap(ngx_apikeys_cidr_t *cidr)
{
    if (cidr->family != 6
        || cidr->prefix < 96
        || ngx_memcmp(cidr->addr, ngx_apikeys_cidr_mapped, 12) != 0)
    {
        return;
    }

    cidr->family = 4;
    cidr->prefix -= 96;

    ngx_memcpy(cidr->addr, &cidr->addr[12], 4);
    ngx_memzero(&cidr->addr[4], 12);
}


static void
ngx_apikeys_cidr_mask(ngx_apikeys_cidr_t *cidr)
{
    ngx_uint_t  n;

    n = cidr->prefix / 8;

    if (n == 16) {
        return;
    }

    cidr->addr[n] &= (u_char) (0xff00 >> (cidr->prefix % 8));
    ngx_memzero(&cidr->addr[n + 1], 15 - n);
}


void
ngx_apikeys_cidr_sockaddr(ngx_apikeys_cidr_t *cidr, struct sockaddr *sockaddr)
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    ngx_memzero(cidr, sizeof(ngx_apikeys_cidr_t));

    switch (sockaddr->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) sockaddr;
        cidr->family = 4;
        cidr->prefix = 32;
        ngx_memcpy(cidr->addr, &sin->sin_addr, 4);
        break;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sockaddr;
        cidr->family = 6;
        cidr->prefix = 128;
        ngx_memcpy(cidr->addr, &sin6->sin6_addr, 16);
        ngx_apikeys_cidr_unmap(cidr);
        break;
#endif

    default: /* AF_UNIX: no address, so no entry contains it */
        break;
    }
}


u_char *
ngx_apikeys_cidr_write_address(u_char *p, const ngx_apikeys_cidr_t *cidr)
{
    char           buf[INET6_ADDRSTRLEN];
    ngx_uint_t     high, low;
    const u_char  *addr;

    addr = cidr->addr;

    if (cidr->family == 4) {
        return ngx_sprintf(p, "%ud.%ud.%ud.%ud", (ngx_uint_t) addr[0],
                           (ngx_uint_t) addr[1], (ngx_uint_t) addr[2],
                           (ngx_uint_t) addr[3]);
    }

    if (cidr->family != 6) {
        return p;
    }

    if (ngx_memcmp(addr, ngx_apikeys_cidr_zero, 12) == 0) {
        high = (addr[12] << 8) | addr[13];
        low = (addr[14] << 8) | addr[15];

        if (high) {
            return ngx_sprintf(p, "::%xd:%xd", (int) high, (int) low);
        }

        if (low) {
            return ngx_sprintf(p, "::%xd", (int) low);
        }

        return ngx_cpymem(p, "::", 2);
    }

    if (inet_ntop(AF_INET6, addr, buf, sizeof(buf)) == NULL) {
        return p;
    }

    return ngx_cpymem(p, buf, ngx_strlen(buf));
}


u_char *
ngx_apikeys_cidr_write_block(u_char *p, const ngx_apikeys_cidr_t *cidr)
{
    p = ngx_apikeys_cidr_write_address(p, cidr);

    return ngx_sprintf(p, "/%ui", (ngx_uint_t) cidr->prefix);
}


ngx_uint_t
ngx_apikeys_cidr_single(const ngx_apikeys_cidr_t *cidr)
{
    return cidr->prefix == (cidr->family == 4 ? 32 : 128);
}


ngx_uint_t
ngx_apikeys_cidr_contains(const ngx_apikeys_cidr_t *outer,
    const ngx_apikeys_cidr_t *inner)
{
    u_char      mask;
    ngx_uint_t  n;

    if (outer->family == 0
        || outer->family != inner->family
        || outer->prefix > inner->prefix)
    {
        return 0;
    }

    n = outer->prefix / 8;

    if (ngx_memcmp(outer->addr, inner->addr, n) != 0) {
        return 0;
    }

    mask = (u_char) (0xff00 >> (outer->prefix % 8));

    return mask == 0 || ((outer->addr[n] ^ inner->addr[n]) & mask) == 0;
}


ngx_int_t
ngx_apikeys_cidr_compare(const ngx_apikeys_cidr_t *one,
    const ngx_apikeys_cidr_t *two)
{
    ngx_int_t  rc;

    if (one->family != two->family) {
        return (ngx_int_t) one->family - two->family;
    }

    /*
     * This is the order of PostgreSQL, which compares the bits of the shorter
     * prefix first: the host bits are 0, so a block comes before the blocks
     * that it contains.
     */

    rc = ngx_memcmp(one->addr, two->addr, 16);

    if (rc != 0) {
        return rc;
    }

    return (ngx_int_t) one->prefix - two->prefix;
}


ngx_uint_t
ngx_apikeys_cidr_refused(const ngx_apikeys_cidr_t *cidr)
{
    if (ngx_memcmp(cidr->addr, ngx_apikeys_cidr_zero, 16) != 0) {
        return 0;
    }

    return cidr->prefix == 0 || ngx_apikeys_cidr_single(cidr);
}
