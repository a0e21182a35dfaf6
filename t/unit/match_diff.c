
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The store's matcher against another opinion.
 *
 * match_diff LISTS ADDRESSES: publishes each list (a line "list TAB
 * cidr,cidr,...", as the database sends lists) as a key's, asks it for each
 * address (a line "list TAB address", which becomes a socket address first)
 * and prints "list TAB address TAB entry", "\N" for none: input for COPY.
 * t/520-access-addresses.t lets PostgreSQL judge it.
 *
 * Without arguments: TAP, lists from a fixed seed against a loop over all
 * entries; in every second list some entries have expired.
 */


#include "unit.h"


#define SEED      20240229
#define LISTS     300
#define PROBES    300
#define LINE_LEN  (UNIT_ENTRIES * (NGX_APIKEYS_CIDR_TEXT_LEN + 1) + 64)


static uint64_t  state = SEED;


static uint64_t
draw(void)
{
    return unit_mix(state++);
}


/* lists overlap in a small part of the space, or nothing would ever match */

static void
draw_address(ngx_apikeys_cidr_t *cidr)
{
    ngx_uint_t  i;

    ngx_memzero(cidr, sizeof(ngx_apikeys_cidr_t));

    cidr->family = (draw() & 1) ? 4 : 6;
    cidr->prefix = (cidr->family == 4) ? 32 : 128;

    for (i = 0; i < cidr->prefix / 8u; i++) {
        cidr->addr[i] = (u_char) (draw() % 3 ? (draw() & 1) * 0x80 : draw());
    }
}


static int
compare(const void *one, const void *two)
{
    return (int) ngx_apikeys_cidr_compare(one, two);
}


static ngx_uint_t
draw_list(void)
{
    u_char               text[NGX_APIKEYS_CIDR_TEXT_LEN];
    ngx_str_t            block;
    ngx_uint_t           i, n, nentries;
    ngx_apikeys_cidr_t   cidr;

    n = draw() % 60;

    for (i = 0; i < n; i++) {
        draw_address(&cidr);

        /* parsed, so that host bits are masked away */

        cidr.prefix = (u_char) (draw() % (cidr.prefix + 1));
        block.data = text;
        block.len = ngx_apikeys_cidr_write_block(text, &cidr) - text;

        (void) ngx_apikeys_cidr_parse_block(&unit_entries[i], &block);
    }

    qsort(unit_entries, n, sizeof(ngx_apikeys_cidr_t), compare);

    nentries = 0;

    for (i = 0; i < n; i++) {
        if (nentries == 0
            || compare(&unit_entries[nentries - 1], &unit_entries[i]) != 0)
        {
            unit_entries[nentries++] = unit_entries[i];
        }
    }

    for (i = 0; i < nentries; i++) {
        unit_ends[i] = (draw() % 3) ? (draw() % 2) ? 1 : 0xffffffff : 0;
    }

    return nentries;
}


static void
publish(ngx_apikeys_store_t *st, uint64_t version, ngx_uint_t nentries,
    uint32_t *ends)
{
    ngx_apikeys_store_key_t  key;

    ngx_memzero(&key, sizeof(ngx_apikeys_store_key_t));

    key.id = unit_id(1);
    key.version = version;
    key.nentries = nentries;
    key.entries = unit_entries;
    key.ends = ends;
    unit_public_key(key.public_key, 1);

    if (ngx_apikeys_store_lock(st) != NGX_OK
        || ngx_apikeys_store_publish_key_locked(st, &key, 0) != NGX_OK)
    {
        fprintf(stderr, "list %llu: %s\n", (unsigned long long) version,
                tap_message);
        exit(2);
    }

    ngx_apikeys_store_reclaim_locked(st, 64);
    ngx_apikeys_store_unlock(st);
}


static ngx_int_t
match(ngx_apikeys_store_t *st, const ngx_apikeys_cidr_t *addr,
    ngx_apikeys_cidr_t *entry)
{
    ngx_int_t                rc;
    ngx_apikeys_objectid_t   id;
    ngx_apikeys_store_ref_t  ref;

    id = unit_id(1);

    ngx_apikeys_store_read_begin(st);

    rc = ngx_apikeys_store_key_by_id(st, &id, &ref);

    if (rc == NGX_OK) {
        rc = ngx_apikeys_store_match(st, &ref, addr, entry);
    }

    ngx_apikeys_store_read_end(st);

    return rc;
}


/*
 * the last of those that hold the address and have not expired has the longest
 * prefix
 */

static ngx_int_t
match_all(const ngx_apikeys_cidr_t *addr, ngx_uint_t nentries,
    const uint32_t *ends, ngx_apikeys_cidr_t *entry)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    rc = NGX_DECLINED;

    for (i = 0; i < nentries; i++) {
        if (ngx_apikeys_cidr_contains(&unit_entries[i], addr)
            && !(ends && ends[i] == 1))
        {
            *entry = unit_entries[i];
            rc = NGX_OK;
        }
    }

    return rc;
}


static void
test_against_a_loop(ngx_apikeys_store_t *st)
{
    uint32_t           *ends;
    ngx_int_t           rc;
    ngx_uint_t          i, n, list, bad, in;
    ngx_apikeys_cidr_t  addr, entry, other;

    bad = 0;
    in = 0;

    for (list = 1; list <= LISTS; list++) {
        n = draw_list();
        ends = (n && list % 2) ? unit_ends : NULL;
        publish(st, list, n, ends);

        for (i = 0; i < PROBES; i++) {
            draw_address(&addr);

            ngx_memzero(&entry, sizeof(entry));
            ngx_memzero(&other, sizeof(other));

            rc = match(st, &addr, &entry);
            in += (rc == NGX_OK);

            if (rc != match_all(&addr, n, ends, &other)
                || (rc == NGX_OK && compare(&entry, &other) != 0))
            {
                bad++;
            }
        }
    }

    ok(bad == 0, "%d addresses in %d lists, %d are decided otherwise",
       LISTS * PROBES, LISTS, (int) bad);
    ok(in > LISTS * PROBES / 10 && in < LISTS * PROBES * 9 / 10,
       "%d of them are on their lists", (int) in);
}


/* "cidr,cidr,...", in the order of the database */

static ngx_uint_t
read_list(u_char *p, u_char *last)
{
    u_char      *comma;
    ngx_str_t    text;
    ngx_uint_t   n;

    for (n = 0; p < last; n++) {
        comma = ngx_strlchr(p, last, ',');
        if (comma == NULL) {
            comma = last;
        }

        text.data = p;
        text.len = comma - p;

        if (n == UNIT_ENTRIES
            || ngx_apikeys_cidr_parse_block(&unit_entries[n], &text) != NGX_OK
            || (n && compare(&unit_entries[n - 1], &unit_entries[n]) >= 0))
        {
            fprintf(stderr, "entry %d: %.*s\n", (int) n, (int) text.len, p);
            exit(2);
        }

        p = comma + 1;
    }

    return n;
}


/* as it would come from accept() */

static void
read_address(ngx_apikeys_cidr_t *addr, const char *text)
{
    struct sockaddr_in   sin;
    struct sockaddr_in6  sin6;

    ngx_memzero(&sin, sizeof(sin));
    ngx_memzero(&sin6, sizeof(sin6));

    if (inet_pton(AF_INET, text, &sin.sin_addr) == 1) {
        sin.sin_family = AF_INET;
        ngx_apikeys_cidr_sockaddr(addr, (struct sockaddr *) &sin);
        return;
    }

    if (inet_pton(AF_INET6, text, &sin6.sin6_addr) != 1) {
        fprintf(stderr, "no address: %s\n", text);
        exit(2);
    }

    sin6.sin6_family = AF_INET6;
    ngx_apikeys_cidr_sockaddr(addr, (struct sockaddr *) &sin6);
}


static void
decide(ngx_apikeys_store_t *st, const char *line)
{
    u_char              text[NGX_APIKEYS_CIDR_TEXT_LEN], *last;
    ngx_apikeys_cidr_t  addr, entry;

    read_address(&addr, strchr(line, '\t') + 1);

    if (match(st, &addr, &entry) != NGX_OK) {
        printf("%s\t\\N\n", line);
        return;
    }

    last = ngx_apikeys_cidr_write_block(text, &entry);

    printf("%s\t%.*s\n", line, (int) (last - text), text);
}


/* both files are ordered by list */

static void
decide_all(ngx_apikeys_store_t *st, FILE *lists, FILE *addresses)
{
    char            *line, *tab, address[128];
    size_t           len;
    ngx_uint_t       n;
    unsigned long    list, wanted;

    line = ngx_alloc(LINE_LEN, &tap_log);
    list = 0;

    while (fgets(address, sizeof(address), addresses)) {
        address[strcspn(address, "\n")] = '\0';
        wanted = strtoul(address, NULL, 10);

        while (list < wanted && fgets(line, LINE_LEN, lists)) {
            len = strcspn(line, "\n");
            tab = strchr(line, '\t') + 1;
            list = strtoul(line, NULL, 10);

            n = read_list((u_char *) tab, (u_char *) line + len);
            publish(st, list, n, NULL);
        }

        if (list != wanted) {
            fprintf(stderr, "there is no list %lu\n", wanted);
            exit(2);
        }

        decide(st, address);
    }

    ngx_free(line);
}


int
main(int argc, char **argv)
{
    FILE                 *lists, *addresses;
    ngx_apikeys_store_t  *st;

    unit_start();
    st = unit_store(8 * 1024 * 1024);

    if (argc == 1) {
        test_against_a_loop(st);
        unit_store_free(st);
        return tap_end();
    }

    lists = fopen(argv[1], "r");
    addresses = (argc == 3) ? fopen(argv[2], "r") : NULL;

    if (lists == NULL || addresses == NULL) {
        fprintf(stderr, "usage: match_diff LISTS ADDRESSES\n");
        return 2;
    }

    decide_all(st, lists, addresses);

    (void) fclose(lists);
    (void) fclose(addresses);

    unit_store_free(st);
    ngx_destroy_pool(tap_cycle.pool);

    return 0;
}
