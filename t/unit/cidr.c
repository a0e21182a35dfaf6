
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include "tap.h"

#include <ngx_apikeys_cidr.h>


typedef struct {
    const char  *in;
    const char  *out;      /* NULL: refused */
} pair_t;


static pair_t  addresses[] = {
    { "192.0.2.1", "192.0.2.1" },
    { "0.0.0.0", "0.0.0.0" },
    { "255.255.255.255", "255.255.255.255" },
    { "::", "::" },
    { "::1", "::1" },
    { "::1:2", "::1:2" },
    { "::1.2.3.4", "::102:304" },
    { "2001:DB8::A", "2001:db8::a" },
    { "2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1" },
    { "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1" },
    { "2001:db8:0:0:1:0:0:0", "2001:db8:0:0:1::" },
    { "1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0" },
    { "::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8" },
    { "fe80::1", "fe80::1" },
    { "64:ff9b::192.0.2.33", "64:ff9b::c000:221" },
    { "::ffff:192.0.2.1", "192.0.2.1" },
    { "::FFFF:c000:201", "192.0.2.1" },
    { "0000:0000:0000:0000:0000:ffff:255.255.255.255", "255.255.255.255" },
    { "::ffff:0:1.2.3.4", "::ffff:0:102:304" },

    { "", NULL }, { "10", NULL }, { "10.1", NULL }, { "10.0.0", NULL },
    { "10.0.0.0.0", NULL }, { "10.0.0.256", NULL }, { "01.2.3.4", NULL },
    { "1.2.3.04", NULL }, { "1.2.3.00", NULL }, { "0x1.2.3.4", NULL },
    { "1..2.3", NULL }, { ".1.2.3.4", NULL }, { "1.2.3.4.", NULL },
    { "...", NULL }, { " 1.2.3.4", NULL }, { "1.2.3.4 ", NULL },
    { "1.2.3.4\t", NULL }, { "+1.2.3.4", NULL }, { "-1.2.3.4", NULL },
    { "1.2.3.1000", NULL }, { "4294967296", NULL }, { "1.2.3.4/32", NULL },
    { ":", NULL }, { ":::", NULL }, { "1:2:3:4:5:6:7", NULL },
    { "1:2:3:4:5:6:7:8:9", NULL }, { "1::2::3", NULL },
    { "1:2:3:4:5:6:7:8::", NULL }, { "1::2:3:4:5:6:7:8", NULL },
    { "12345::", NULL }, { "g::", NULL }, { "fe80::1%eth0", NULL },
    { "fe80::1%1", NULL }, { "[::1]", NULL }, { "::1]", NULL },
    { "::ffff:1.2.3", NULL }, { "::ffff:1.2.3.256", NULL },
    { "::ffff:01.2.3.4", NULL }, { "::1.2.3.4:5", NULL }, { "1:", NULL },
    { ":1", NULL }, { "localhost", NULL }, { "1.2.3.4%2f8", NULL },
    { "00000000000000000000000000000000000000000000001", NULL },
    { NULL, NULL }
};


static pair_t  blocks[] = {
    { "10.1.2.3/8", "10.0.0.0/8" },
    { "10.0.0.0/8", "10.0.0.0/8" },
    { "192.0.2.255/25", "192.0.2.128/25" },
    { "1.2.3.4/32", "1.2.3.4/32" },
    { "255.255.255.255/31", "255.255.255.254/31" },
    { "255.255.255.255/0", "0.0.0.0/0" },
    { "128.0.0.0/1", "128.0.0.0/1" },
    { "2001:db8::1/32", "2001:db8::/32" },
    { "2001:db8:ffff::/33", "2001:db8:8000::/33" },
    { "::1/128", "::1/128" },
    { "ffff::/0", "::/0" },
    { "::ffff:10.1.2.3/104", "10.0.0.0/8" },
    { "::ffff:10.1.2.3/128", "10.1.2.3/32" },
    { "::ffff:10.1.2.3/96", "0.0.0.0/0" },
    { "::ffff:10.1.2.3/95", "::fffe:0:0/95" },
    { "::ffff:10.1.2.3/80", "::/80" },
    { "::ffff:0:0/97", "0.0.0.0/1" },

    { "10.0.0.0", NULL }, { "10.0.0.0/", NULL }, { "/8", NULL },
    { "/", NULL }, { "", NULL }, { "10.0.0.0/33", NULL },
    { "10.0.0.0/08", NULL }, { "10.0.0.0/00", NULL },
    { "10.0.0.0/-1", NULL }, { "10.0.0.0/+8", NULL },
    { "10.0.0.0/8 ", NULL }, { "10.0.0.0/ 8", NULL },
    { "10.0.0.0/8/8", NULL }, { "10.0.0.0/255.0.0.0", NULL },
    { "10.0.0.0/0x8", NULL }, { "10.0.0.0/1000", NULL },
    { "10/8", NULL }, { "10.0.0/8", NULL }, { "::/129", NULL },
    { "::/", NULL }, { "::ffff:10.0.0.0/129", NULL },
    { "10.0.0.0/256", NULL }, { "10.0.0.0/4294967304", NULL },
    { "10.0.0.0%2F8", NULL }, { "::1%1/64", NULL },
    { NULL, NULL }
};


static ngx_int_t
parse(ngx_apikeys_cidr_t *cidr, const char *text, size_t len,
    ngx_uint_t block)
{
    ngx_int_t  rc;
    ngx_str_t  s;

    memset(cidr, 0xa5, sizeof(ngx_apikeys_cidr_t));

    s = tap_exact(text, len);
    rc = block ? ngx_apikeys_cidr_parse_block(cidr, &s)
               : ngx_apikeys_cidr_parse_address(cidr, &s);
    ngx_free(s.data);

    return rc;
}


static ngx_apikeys_cidr_t
cidr(const char *text)
{
    ngx_apikeys_cidr_t  c;

    if (parse(&c, text, strlen(text), strchr(text, '/') != NULL) != NGX_OK) {
        printf("Bail out! %s does not parse\n", text);
        exit(2);
    }

    return c;
}


static void
check_texts(pair_t *pairs, ngx_uint_t block)
{
    u_char             *p;
    ngx_int_t           rc;
    ngx_str_t           s;
    ngx_apikeys_cidr_t  c;

    p = ngx_alloc(NGX_APIKEYS_CIDR_TEXT_LEN, &tap_log);

    for ( /* void */ ; pairs->in; pairs++) {
        rc = parse(&c, pairs->in, strlen(pairs->in), block);

        if (pairs->out == NULL) {
            ok(rc == NGX_ERROR, "\"%s\" is refused", pairs->in);
            continue;
        }

        if (!ok(rc == NGX_OK, "\"%s\" parses", pairs->in)) {
            continue;
        }

        s.data = p;
        s.len = (block ? ngx_apikeys_cidr_write_block(p, &c)
                       : ngx_apikeys_cidr_write_address(p, &c)) - p;
        is_str(&s, pairs->out, "\"%s\" is written", pairs->in);
    }

    ngx_free(p);
}


static void
check_hostile(void)
{
    char                text[65536];
    size_t              len;
    ngx_uint_t          i, taken;
    ngx_apikeys_cidr_t  c;

    static const char  longest[] =
        "0000:0000:0000:0000:0000:ffff:255.255.255.255/128";

    ok(parse(&c, "1.2.3.4\0", 8, 0) == NGX_ERROR
       && parse(&c, "1.2.3.4\0/8", 10, 1) == NGX_ERROR
       && parse(&c, "1.2.3.4/8\0", 10, 1) == NGX_ERROR
       && parse(&c, "\0", 1, 0) == NGX_ERROR,
       "a NUL is refused wherever it stands");

    memset(text, '1', sizeof(text));
    taken = parse(&c, text, sizeof(text), 0) == NGX_OK;
    text[1000] = '/';
    taken += parse(&c, text, sizeof(text), 1) == NGX_OK;
    memcpy(text, "1.2.3.4/", 8);
    taken += parse(&c, text, sizeof(text), 1) == NGX_OK;
    memset(text, ':', sizeof(text));
    taken += parse(&c, text, sizeof(text), 0) == NGX_OK;
    ok(taken == 0, "64 KB are refused");

    for (taken = 0, len = 0; len < sizeof(longest); len++) {
        taken += parse(&c, longest, len, 1) == NGX_OK;
    }

    ok(taken == 3, "the longest block, truncated at each byte");

    for (taken = 0, i = 0; i < 200000; i++) {
        len = ngx_random() % 20;
        while (len--) {
            text[len] = "0123456789abcdf:./%"[ngx_random() % 19];
        }

        taken += parse(&c, text, ngx_random() % 20, i & 1) == NGX_OK;
    }

    ok(1, "random texts do no harm (%d parsed)", (int) taken);
}


/* bit by bit, which is slow and easy to believe */

static ngx_uint_t
contains(const ngx_apikeys_cidr_t *outer, const ngx_apikeys_cidr_t *inner)
{
    ngx_uint_t  i;

    if (outer->family != inner->family || outer->family == 0
        || inner->prefix < outer->prefix)
    {
        return 0;
    }

    for (i = 0; i < outer->prefix; i++) {
        if (((outer->addr[i / 8] ^ inner->addr[i / 8]) >> (7 - i % 8)) & 1) {
            return 0;
        }
    }

    return 1;
}


/* PostgreSQL's: the bits both have, then the prefixes, then the rest */

static ngx_int_t
compare(const ngx_apikeys_cidr_t *a, const ngx_apikeys_cidr_t *b)
{
    ngx_int_t   d;
    ngx_uint_t  i;

    if (a->family != b->family) {
        return a->family < b->family ? -1 : 1;
    }

    for (i = 0; i < ngx_min(a->prefix, b->prefix); i++) {
        d = ((a->addr[i / 8] >> (7 - i % 8)) & 1)
            - ((b->addr[i / 8] >> (7 - i % 8)) & 1);
        if (d) {
            return d;
        }
    }

    return (ngx_int_t) a->prefix - b->prefix;
}


static ngx_apikeys_cidr_t
any(void)
{
    char                text[NGX_APIKEYS_CIDR_TEXT_LEN + 32];
    ngx_uint_t          i;
    struct in6_addr     addr;

    /* few distinct bits, so that blocks meet, and long runs of zeros */

    memset(&addr, 0, sizeof(addr));

    for (i = 0; i < 16; i++) {
        switch (ngx_random() % 4) {
        case 0:
            addr.s6_addr[i] = (u_char) (1 << (ngx_random() % 8));
            break;
        case 1:
            addr.s6_addr[i] = (u_char) ngx_random();
            break;
        }
    }

    if (ngx_random() % 2) {
        inet_ntop(AF_INET, &addr, text, sizeof(text));
        i = 33;

    } else {
        memset(&addr, 0, ngx_random() % 15);
        inet_ntop(AF_INET6, &addr, text, sizeof(text));
        i = 129;
    }

    sprintf(text + strlen(text), "/%d", (int) (ngx_random() % i));

    return cidr(text);
}


static void
check_random(void)
{
    char                text[NGX_APIKEYS_CIDR_TEXT_LEN + 1];
    char                want[INET6_ADDRSTRLEN];
    ngx_int_t           one, two;
    ngx_uint_t          i, wrong, hits;
    ngx_apikeys_cidr_t  a, b;

    for (wrong = 0, hits = 0, i = 0; i < 100000; i++) {
        a = any();
        b = any();

        if (ngx_random() % 2) {
            b = a;
            b.prefix -= b.prefix ? ngx_random() % b.prefix : 0;
            *ngx_apikeys_cidr_write_block((u_char *) text, &b) = '\0';
            b = cidr(text);
        }

        hits += contains(&b, &a);
        wrong += contains(&a, &b) != ngx_apikeys_cidr_contains(&a, &b);
        wrong += contains(&b, &a) != ngx_apikeys_cidr_contains(&b, &a);

        one = compare(&a, &b);
        two = ngx_apikeys_cidr_compare(&a, &b);
        wrong += (one > 0) != (two > 0) || (one < 0) != (two < 0);
        wrong += (two == 0) != (memcmp(&a, &b, sizeof(a)) == 0);
    }

    ok(wrong == 0 && hits > 1000, "contains and compare agree with the bits");

    for (wrong = 0, i = 0; i < 100000; i++) {
        a = any();
        *ngx_apikeys_cidr_write_block((u_char *) text, &a) = '\0';
        b = cidr(text);
        wrong += memcmp(&a, &b, sizeof(a)) != 0;

        *ngx_apikeys_cidr_write_address((u_char *) text, &a) = '\0';

        inet_ntop(a.family == 4 ? AF_INET : AF_INET6, a.addr, want,
                  sizeof(want));

        /* libc prints what RFC 5952 does not have within ::/96 only */
        if (a.family == 4 || strchr(want, '.') == NULL) {
            wrong += strcmp(text, want) != 0;
        }

        wrong += strchr(text, '.') != NULL && a.family == 6;
    }

    ok(wrong == 0, "what is written parses back, and is what libc writes");
}


static void
check_sockaddr(void)
{
    ngx_apikeys_cidr_t   c, want;
    struct sockaddr_in   sin;
    struct sockaddr_in6  sin6;
    struct sockaddr_un   sun;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    inet_pton(AF_INET, "192.0.2.7", &sin.sin_addr);
    ngx_apikeys_cidr_sockaddr(&c, (struct sockaddr *) &sin);
    want = cidr("192.0.2.7");
    ok(memcmp(&c, &want, sizeof(c)) == 0, "an IPv4 client");

    memset(&sin6, 0, sizeof(sin6));
    sin6.sin6_family = AF_INET6;
    inet_pton(AF_INET6, "::ffff:192.0.2.7", &sin6.sin6_addr);
    ngx_apikeys_cidr_sockaddr(&c, (struct sockaddr *) &sin6);
    ok(memcmp(&c, &want, sizeof(c)) == 0, "a mapped client is an IPv4 one");

    inet_pton(AF_INET6, "2001:db8::7", &sin6.sin6_addr);
    ngx_apikeys_cidr_sockaddr(&c, (struct sockaddr *) &sin6);
    want = cidr("2001:db8::7");
    ok(memcmp(&c, &want, sizeof(c)) == 0, "an IPv6 client");

    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;
    ngx_apikeys_cidr_sockaddr(&c, (struct sockaddr *) &sun);
    want = cidr("0.0.0.0/0");
    ok(c.family == 0 && !ngx_apikeys_cidr_contains(&want, &c),
       "a client of a unix socket is on no list");
    ok(!ngx_apikeys_cidr_contains(&c, &c), "not even on one like itself");
}


static ngx_uint_t
holds(const char *outer, const char *inner)
{
    ngx_apikeys_cidr_t  a, b;

    a = cidr(outer);
    b = cidr(inner);

    return ngx_apikeys_cidr_contains(&a, &b);
}


static ngx_uint_t
refused(const char *text)
{
    ngx_apikeys_cidr_t  c;

    c = cidr(text);

    return ngx_apikeys_cidr_refused(&c);
}


int
main(void)
{
    ngx_apikeys_cidr_t  c;

    tap_start();
    srandom(1);

    check_texts(addresses, 0);
    check_texts(blocks, 1);
    check_hostile();
    check_random();
    check_sockaddr();

    ok(!holds("::/0", "10.0.0.1") && !holds("::ffff:0:0/95", "10.0.0.1")
       && !holds("::/80", "::ffff:10.0.0.1"),
       "no IPv6 block holds an IPv4 client, mapped or not");
    ok(holds("::ffff:10.0.0.0/104", "10.9.9.9"),
       "a mapped block of 96 bits or more does");

    ok(refused("0.0.0.0/0") && refused("::/0") && refused("::ffff:0:0/96")
       && refused("0.0.0.0/32") && refused("::/128") && refused("0.0.0.0")
       && refused("::") && refused("::ffff:0.0.0.0"),
       "what no access list may hold");
    ok(!refused("0.0.0.0/1") && !refused("128.0.0.0/1") && !refused("::/1")
       && !refused("0.0.0.0/8") && !refused("::1") && !refused("::/96")
       && !refused("10.0.0.0/32"),
       "and what it may");

    c = cidr("10.0.0.0/32");
    ok(ngx_apikeys_cidr_single(&c), "a /32 is a single address");
    c = cidr("::1/128");
    ok(ngx_apikeys_cidr_single(&c), "so is a /128");
    c = cidr("::/32");
    ok(!ngx_apikeys_cidr_single(&c), "an IPv6 /32 is not");

    return tap_end();
}
