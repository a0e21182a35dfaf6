
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Addresses and blocks of access lists.  The parsers accept RFC 4291 and dotted
 * quads, the text that is written is that of RFC 5952.  An IPv4-mapped address
 * is converted to the IPv4 address.
 */


#ifndef _NGX_APIKEYS_CIDR_H_INCLUDED_
#define _NGX_APIKEYS_CIDR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_APIKEYS_CIDR_TEXT_LEN                                            \
    (sizeof("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128") - 1)


typedef struct {
    u_char  addr[16];   /* network order; IPv4 in the first four, rest 0 */
    u_char  family;     /* 4 or 6; 0: none (a unix-socket client) */
    u_char  prefix;     /* 0..32 or 0..128; host bits of addr are 0 */
} ngx_apikeys_cidr_t;


/*
 * One address, without a prefix; the prefix becomes 32 or 128.
 * NGX_ERROR on anything else: leading zeros, zone ids, "10", spaces.
 */
ngx_int_t ngx_apikeys_cidr_parse_address(ngx_apikeys_cidr_t *cidr,
    const ngx_str_t *text);

/*
 * A block "address/prefix"; host bits are masked away, a mapped block with
 * a prefix of 96 or more becomes IPv4.  NGX_ERROR without a valid "/n".
 */
ngx_int_t ngx_apikeys_cidr_parse_block(ngx_apikeys_cidr_t *cidr,
    const ngx_str_t *text);

/* the client's address; family 0 for a unix socket */
void ngx_apikeys_cidr_sockaddr(ngx_apikeys_cidr_t *cidr,
    struct sockaddr *sockaddr);

/* canonical text without, and with, the prefix; no NUL; returns the end */
u_char *ngx_apikeys_cidr_write_address(u_char *p,
    const ngx_apikeys_cidr_t *cidr);
u_char *ngx_apikeys_cidr_write_block(u_char *p,
    const ngx_apikeys_cidr_t *cidr);

/* 1: the block has a single address */
ngx_uint_t ngx_apikeys_cidr_single(const ngx_apikeys_cidr_t *cidr);

/* inner <<= outer of PostgreSQL; 0 if the address families differ */
ngx_uint_t ngx_apikeys_cidr_contains(const ngx_apikeys_cidr_t *outer,
    const ngx_apikeys_cidr_t *inner);

/* PostgreSQL's order: IPv4 first, then the address, then shorter prefixes */
ngx_int_t ngx_apikeys_cidr_compare(const ngx_apikeys_cidr_t *one,
    const ngx_apikeys_cidr_t *two);

/*
 * 1: an access list must not have this block (docs/compatibility.md D35):
 * 0.0.0.0/0, ::/0, ::ffff:0:0/96 (which is 0.0.0.0/0), 0.0.0.0/32, ::/128.
 */
ngx_uint_t ngx_apikeys_cidr_refused(const ngx_apikeys_cidr_t *cidr);


#endif /* _NGX_APIKEYS_CIDR_H_INCLUDED_ */
