
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The table that requests are counted in: where rows begin their search.
 */


#include "tap.h"

#include "../../src/sync/ngx_apikeys_usage.c"


static ngx_apikeys_objectid_t
id(ngx_uint_t n)
{
    ngx_apikeys_objectid_t  id;

    ngx_memset(id.data, 0x5f, sizeof(id.data));
    id.data[10] = (u_char) (n >> 8);
    id.data[11] = (u_char) n;

    return id;
}


/* steps to find each of the rows again, in the mean */

static double
steps(ngx_apikeys_usage_t *usage)
{
    uint16_t                  slot;
    ngx_uint_t                i, n, rows;
    ngx_apikeys_usage_row_t  *row;

    n = 0;
    rows = 0;

    for (i = 0; i < NGX_APIKEYS_USAGE_SIZE; i++) {
        slot = usage->counting->slots[i];

        if (slot) {
            row = &usage->counting->rows[slot - 1];
            rows++;
            n += 1 + ((i - ngx_apikeys_usage_slot(usage, &row->key,
                                                  &row->entry))
                      & (NGX_APIKEYS_USAGE_SIZE - 1));
        }
    }

    return rows ? (double) n / rows : 0;
}


static double
fill(ngx_uint_t family, ngx_uint_t byte, ngx_uint_t nkeys)
{
    ngx_uint_t                i, n;
    ngx_apikeys_usage_t      *usage;
    ngx_apikeys_cidr_t        entry;
    ngx_apikeys_objectid_t    key;
    ngx_apikeys_usage_row_t  *row;

    static ngx_apikeys_failure_t     failure;
    static ngx_apikeys_usage_stat_t  stat;

    usage = ngx_apikeys_usage_create(&tap_cycle, NULL, &stat, &failure);

    for (n = 0, i = 0; n < NGX_APIKEYS_USAGE_FULL; n++, i++) {
        ngx_memzero(&entry, sizeof(entry));
        entry.family = (u_char) family;
        entry.prefix = (family == 4) ? 32 : 128;
        entry.addr[0] = 0x20;
        entry.addr[1] = 0x01;
        entry.addr[byte] = (u_char) (i / nkeys >> 8);
        entry.addr[byte + 1] = (u_char) (i / nkeys);

        key = id(i % nkeys);

        row = ngx_apikeys_usage_row(usage, &key, &entry);
        row->count++;
    }

    return steps(usage);
}


int
main(void)
{
    double      n;
    ngx_uint_t  i;

    static const struct {
        const char  *name;
        ngx_uint_t   family, byte, nkeys;
    } lists[] = {
        { "IPv4 entries of a key", 4, 2, 1 },
        { "IPv6 entries inside one /112", 6, 14, 1 },
        { "IPv6 entries inside one /64", 6, 8, 1 },
        { "IPv6 networks", 6, 6, 1 },
        { "IPv6 networks of ten keys", 6, 2, 10 },
        { "one entry of many keys", 6, 2, 4000 }
    };

    tap_start();

    for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        n = fill(lists[i].family, lists[i].byte, lists[i].nkeys);

        ok(n < 4, "%s: %.1f steps a row", lists[i].name, n);
    }

    return tap_end();
}
