
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * How many bytes of a zone a key takes: 100,000 keys with ten entries and
 * one project each, everything included; and that finding one among them
 * costs what it costs among few.
 */


#include "unit.h"


#define MANY  100000


/* the longest chain a look-up of a present key walks, and the mean */

static double
chain(ngx_apikeys_store_t *st, ngx_uint_t *longest)
{
    uint32_t    i, n;
    uint64_t    walked, keys;
    ngx_uint_t  length;

    walked = 0;
    keys = 0;
    *longest = 0;

    for (n = 0; n < st->head->nkeys; n++) {
        length = 0;

        for (i = st->keys[n]; i; i = ngx_apikeys_store_record(st, i)->next_key)
        {
            walked += ++length;
            keys++;
        }

        *longest = ngx_max(*longest, length);
    }

    return (double) walked / keys;
}


int
main(void)
{
    size_t                     zone;
    double                     mean, bytes;
    uint64_t                   before;
    ngx_int_t                  rc;
    ngx_uint_t                 n, longest;
    ngx_apikeys_store_t       *st;
    ngx_apikeys_store_ref_t    ref;
    ngx_apikeys_store_stat_t   stat;

    unit_start();

    /* the smallest zone that holds them, and half of the reserve */

    zone = ngx_apikeys_store_zone_size(4096, (uint64_t) MANY * 7 * 32 / 31
                                             + 64);
    st = unit_store(zone);

    ngx_apikeys_store_stat(st, &stat);
    before = stat.free_bytes;

    for (n = 1; n <= MANY; n++) {
        rc = unit_publish(st, n, n, 10, 1, 0);

        if (rc != NGX_OK) {
            break;
        }
    }

    ok(rc == NGX_OK, "%d keys of ten entries and one project", MANY);

    ngx_apikeys_store_stat(st, &stat);
    bytes = (double) zone / MANY;

    printf("# cells: %.1f bytes a key; the whole zone: %.1f bytes a key\n",
           (double) (before - stat.free_bytes) / MANY, bytes);

    ok(bytes <= 500, "%.1f bytes of the zone a key", bytes);

    mean = chain(st, &longest);

    ok(mean < 3 && longest < 20, "%.2f records a look-up, at most %d", mean,
       (int) longest);

    ok(unit_delete(st, 1, MANY + 1) == NGX_OK, "a full zone takes a removal");

    ngx_apikeys_store_read_begin(st);
    ok(unit_find(st, 1, &ref) == NGX_BUSY, "one is removed");
    ok(unit_find(st, MANY, &ref) == NGX_OK
       && unit_key_wrong(st, &ref, MANY) == NULL, "the last is whole");
    ngx_apikeys_store_read_end(st);

    ok(unit_check(st) == 0, "the zone is consistent");
    unit_store_free(st);

    return tap_end();
}
