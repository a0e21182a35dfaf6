
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A zone with little memory left: what additions may take and what changes
 * may take, keys without room, the local copy that stays complete meanwhile,
 * readers that hold memory back, and how a key gets its room.
 */


#include "unit.h"


#define ZONE  (1024 * 1024)


static ngx_apikeys_store_t *
complete(size_t size)
{
    ngx_apikeys_store_t  *st;

    st = unit_store(size);
    (void) unit_load_sweep(st, unit_load_begin(st, 1));

    return st;
}


/* keys from "first" on until one becomes a stub, whose number it returns */

static ngx_uint_t
fill(ngx_apikeys_store_t *st, ngx_uint_t first, ngx_uint_t nentries)
{
    uint64_t    stubs;
    ngx_uint_t  n;

    stubs = st->head->counts.stubs;

    for (n = first; st->head->counts.stubs == stubs; n++) {
        if (unit_publish(st, n, n, nentries, 0, 0) != NGX_OK) {
            return 0;
        }
    }

    return n - 1;
}


static ngx_uint_t
unknown(ngx_apikeys_store_t *st)
{
    return unit_version(st, 900000) == NGX_DECLINED;
}


static uint32_t
nfree(ngx_apikeys_store_t *st)
{
    return st->head->arena.nfree;
}


static void
test_reserve(void)
{
    uint32_t                      reserve;
    ngx_uint_t                    i, n, bad;
    ngx_apikeys_store_t          *st;
    ngx_apikeys_store_stat_t      stat;
    ngx_apikeys_store_project_t   project;

    st = complete(ZONE);
    tap_message[0] = '\0';

    n = fill(st, 1, 1000);

    ngx_apikeys_store_stat(st, &stat);
    reserve = (uint32_t) (stat.reserved_bytes / NGX_APIKEYS_ARENA_CELL);

    ok(n > 20, "%d long lists fill the zone", (int) n);
    ok(nfree(st) + 1 >= reserve && reserve >= st->head->arena.ncells / 16,
       "they leave the reserve");
    ok(unit_version(st, n) == NGX_BUSY, "the one without room is 503");
    ok(ngx_apikeys_store_complete(st) && unknown(st),
       "the local copy is complete");
    ok(stat.stubs == 1 && stat.invalid == 1 && stat.low, "the figures tell");
    ok(strstr(tap_message, "has no room for API key") != NULL
       && strstr(tap_message, "needs at least") != NULL, "and the log");

    for (i = 1, bad = 0; i < n; i++) {
        bad += unit_publish(st, i, 10000 + i, 1000, 0, 0) != NGX_OK
               || unit_version(st, i) != (int64_t) (10000 + i);
    }

    ok(bad == 0, "each of the others can be changed");

    ok(unit_publish(st, 1, 20000, 1010, 0, 0) == NGX_OK
       && unit_version(st, 1) == 20000, "one can grow a little");

    i = fill(st, 1000, 0);
    ok(i > 1100 && nfree(st) < reserve && nfree(st) >= reserve / 2 - 2,
       "small keys take half of the reserve");
    ok(unit_version(st, i) == NGX_BUSY && unknown(st), "and no more");

    ok(unit_publish(st, 2, 20001, 1500, 0, 0) == NGX_OK
       && unit_version(st, 2) == NGX_BUSY && unknown(st),
       "a list that grows much makes its key a stub");

    ngx_memzero(&project, sizeof(project));
    bad = 0;

    for (i = 0; i < 100; i++) {
        project.id = unit_id(500000 + i);
        project.version = i + 1;

        (void) ngx_apikeys_store_lock(st);
        bad += ngx_apikeys_store_publish_project_locked(st, &project, 0)
               != NGX_OK;
        ngx_apikeys_store_unlock(st);
    }

    ok(bad == 0, "projects take the reserve");
    ok(unit_delete(st, 3, 30000) == NGX_OK
       && unit_version(st, 3) == NGX_DECLINED, "a removal needs none");
    ok(unit_publish(st, 4, 30001, 10, 0, 0) == NGX_OK
       && unit_version(st, 4) == 30001, "nor does a restriction");

    ok(unit_check(st) == 0, "the zone is consistent");
    unit_store_free(st);
}


static void
test_heal(void)
{
    uint32_t                  bucket;
    ngx_int_t                 rc;
    ngx_uint_t                i, n, nids, found;
    ngx_apikeys_store_t      *st;
    ngx_apikeys_objectid_t    id, ids[100];

    st = complete(ZONE);

    n = fill(st, 1, 1000);
    (void) unit_publish(st, n + 1, n + 1, 1000, 0, 0);

    ok(!ngx_apikeys_store_stubs_have_room(st)
       || st->head->room.smallest_refused == 0,
       "two stubs");

    (void) ngx_apikeys_store_lock(st);
    ngx_apikeys_store_stubs_retried_locked(st);
    ngx_apikeys_store_unlock(st);
    ok(!ngx_apikeys_store_stubs_have_room(st),
       "without room they are left alone");

    ok(ngx_apikeys_store_stub_ids(st, ids) == 2, "they are named");
    id = unit_id(n);
    ok(memcmp(&ids[0], &id, sizeof(id)) == 0, "the first one first");

    (void) unit_delete(st, 1, 5000);
    (void) unit_delete(st, 2, 5001);
    (void) unit_check(st);
    ok(ngx_apikeys_store_stubs_have_room(st), "with room they are not");

    bucket = 0;
    nids = 0;

    do {
        rc = ngx_apikeys_store_stubs_find(st, &bucket, ids, &nids, 100);
    } while (rc == NGX_AGAIN);

    ok(rc == NGX_DONE && nids == 2, "both are found");

    for (i = 0, found = 0; i < nids; i++) {
        id = unit_id(n);
        found += memcmp(&ids[i], &id, sizeof(id)) == 0;
        id = unit_id(n + 1);
        found += memcmp(&ids[i], &id, sizeof(id)) == 0;
    }

    ok(found == 2, "by their ids");

    ok(unit_publish(st, n, n, 1000, 0, 0) == NGX_OK
       && unit_version(st, n) == (int64_t) n,
       "the same version takes the stub's place");

    (void) ngx_apikeys_store_lock(st);
    ngx_apikeys_store_stubs_retried_locked(st);
    ngx_apikeys_store_unlock(st);

    ok(unit_publish(st, n + 1, n + 5, 1, 0, 0) == NGX_OK
       && unit_version(st, n + 1) == (int64_t) n + 5, "a newer one, too");
    ok(st->head->counts.stubs == 0 && ngx_apikeys_store_stub_ids(st, ids) == 0,
       "none is left");
    ok(!ngx_apikeys_store_stubs_have_room(st), "nothing is to be healed");

    ok(unit_check(st) == 0, "the zone is consistent");

    /* many in a few buckets, taken in pieces */

    (void) fill(st, 10000, 1000);

    for (i = 0; i < 300; i++) {
        (void) unit_publish(st, 20000 + i, i + 1, 1000, 0, 0);
    }

    bucket = 0;
    found = 0;

    do {
        nids = 0;

        do {
            rc = ngx_apikeys_store_stubs_find(st, &bucket, ids, &nids, 7);
        } while (rc == NGX_AGAIN);

        found += nids;
    } while (rc == NGX_OK);

    ok(found == st->head->counts.stubs && found >= 300,
       "%d stubs in pieces of 7", (int) found);
    ok(ngx_apikeys_store_stub_ids(st, ids) == 10, "ten of them are named");

    unit_store_free(st);
}


static void
test_large(void)
{
    uint32_t                  load;
    ngx_int_t                 rc;
    ngx_uint_t                failures;
    ngx_apikeys_store_t      *st;
    ngx_apikeys_store_key_t   key;

    st = complete(ngx_apikeys_store_zone_size(4096, 4096));
    tap_message[0] = '\0';

    ok(unit_publish(st, 1, 1, 10000, 10000, 0) == NGX_OK
       && unit_version(st, 1) == NGX_BUSY, "a key larger than the zone");
    ok(ngx_apikeys_store_complete(st) && unknown(st), "is invalid by itself");
    ok(unit_publish(st, 1, 2, 10, 0, 0) == NGX_OK
       && unit_version(st, 1) == 2, "until its list is shorter");

    failures = 0;

    for (rc = 0; rc < 2; rc++) {
        load = rc ? unit_load_begin(st, 0) : 0;
        key = unit_key(2 + rc, 3, 10, 10);
        key.nentries = rc ? 10 : NGX_APIKEYS_STORE_MAX_ENTRIES + 1;
        key.ngrants = rc ? NGX_APIKEYS_STORE_MAX_GRANTS + 1 : 10;

        (void) ngx_apikeys_store_lock(st);
        failures += ngx_apikeys_store_publish_key_locked(st, &key, load)
                    != NGX_OK;
        ngx_apikeys_store_unlock(st);

        failures += unit_version(st, 2 + rc) != NGX_BUSY;
    }

    failures += unit_load_sweep(st, load) != NGX_OK;

    ok(failures == 0 && ngx_apikeys_store_complete(st),
       "lists longer than a list can be");
    ok(st->head->counts.stubs == 0 && st->head->counts.invalid == 1,
       "no room will help those");

    ok(unit_check(st) == 0, "the zone is consistent");
    unit_store_free(st);
}


/* a reader that is inside keeps what it can look at */

static void
test_readers(void)
{
    uint64_t                  since;
    ngx_int_t                 rc;
    ngx_uint_t                i, n;
    ngx_apikeys_store_t      *st;

    st = complete(ZONE);
    n = fill(st, 1, 1000);
    rc = NGX_OK;

    ngx_apikeys_store_read_begin(st);

    for (i = 1; i < n; i++) {
        rc = unit_publish(st, i, 1000 + i, 1000, 0, 0);

        if (rc != NGX_OK) {
            break;
        }
    }

    ok(rc == NGX_AGAIN, "%d changes while a reader is inside", (int) i);
    ok(unit_version(st, i) == (int64_t) i, "the old version is served still");

    ngx_apikeys_store_read_end(st);
    ok(unit_publish(st, i, 1000 + i, 1000, 0, 0) == NGX_OK
       && unit_version(st, i) == (int64_t) (1000 + i),
       "the reader has left: the change is made");

    /* one that does not leave */

    (void) unit_check(st);
    ngx_apikeys_store_read_begin(st);

    for (i = 1; i < n; i++) {
        if (unit_publish(st, i, 2000 + i, 1000, 0, 0) != NGX_OK) {
            break;
        }
    }

    since = ngx_apikeys_clock_boot_ms();

    do {
        rc = unit_publish(st, i, 2000 + i, 1000, 0, 0);
        ngx_msleep(1);
    } while (rc == NGX_AGAIN);

    since = ngx_apikeys_clock_boot_ms() - since;

    ok(rc == NGX_OK && unit_version(st, i) == NGX_BUSY,
       "a reader stays: the old version is not served");
    ok(since >= 40 && since < 1000, "for that it was waited %d ms",
       (int) since);

    since = ngx_apikeys_clock_boot_ms();

    for (i = i + 1; i < n; i++) {
        rc = unit_publish(st, i, 2000 + i, 1000, 0, 0);

        if (rc != NGX_OK || unit_version(st, i) == (int64_t) i) {
            break;
        }
    }

    since = ngx_apikeys_clock_boot_ms() - since;

    ok(i == n && since < 40, "no other change waits again");
    ok(unknown(st), "the local copy is complete");

    ngx_apikeys_store_read_end(st);

    ok(unit_publish(st, n - 1, 2000 + n - 1, 1000, 0, 0) == NGX_OK
       && unit_version(st, n - 1) == (int64_t) (2000 + n - 1),
       "the reader has left: the stub gets its room");

    ok(unit_check(st) == 0, "the zone is consistent");
    unit_store_free(st);
}


/* stubs are copied into a larger zone, and have room there */

static void
test_copy(void)
{
    ngx_uint_t             n;
    ngx_cycle_t           *cycle;
    ngx_str_t              identity, snapshot;
    ngx_apikeys_store_t   *st, *new;
    ngx_apikeys_objectid_t  ids[10];

    cycle = unit_cycle(NULL);
    st = unit_configure(cycle, ZONE, 4096, 1);
    (void) unit_zone(st, NULL);
    (void) ngx_apikeys_store_init_process(st, &tap_log);
    (void) unit_load_sweep(st, unit_load_begin(st, 1));

    n = fill(st, 1, 1000);

    ngx_str_set(&identity, "identity");
    ngx_str_set(&snapshot, "10:20:12,15");

    (void) ngx_apikeys_store_lock(st);
    (void) ngx_apikeys_store_cursor_set_locked(st, &identity, &snapshot);
    ngx_apikeys_store_unlock(st);
    ngx_apikeys_store_exit_process(st);

    new = unit_configure(unit_cycle(cycle), 4 * ZONE, 4096, 1);
    (void) unit_zone(new, st);
    (void) ngx_apikeys_store_init_process(new, &tap_log);

    ok(ngx_apikeys_store_complete(new) && unit_version(new, n) == NGX_BUSY,
       "a stub is copied");
    ok(ngx_apikeys_store_stub_ids(new, ids) == 1, "and named");
    ok(ngx_apikeys_store_stubs_have_room(new), "there may be room for it");
    ok(unit_publish(new, n, n, 1000, 0, 0) == NGX_OK
       && unit_version(new, n) == (int64_t) n, "which there is");
    ok(unit_check(new) == 0, "the zone is consistent");

    unit_store_free(new);
    unit_store_free(st);
}


int
main(void)
{
    unit_start();

    test_reserve();
    test_heal();
    test_large();
    test_readers();
    test_copy();

    return tap_end();
}
