
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A zone of another size and what it takes over from one that is incomplete,
 * that is loaded from another database, or that holds more than the new one
 * has room for; and a copy that is made while a writer changes records in
 * place or loads another database.
 */


#include "unit.h"


#define CELLS   4096
#define NONCES  4096


static ngx_uint_t  empty;


static ngx_int_t
ready(void *data, ngx_log_t *log, ngx_uint_t is_empty)
{
    empty = is_empty;

    return NGX_OK;
}


static ngx_apikeys_store_t *
zone(ngx_cycle_t *cycle, uint64_t cells, ngx_apikeys_store_t *old)
{
    size_t                size;
    ngx_apikeys_store_t  *st;

    size = ngx_apikeys_store_zone_size(NONCES, cells);
    st = unit_configure(unit_cycle(cycle), size, NONCES, 1);

    ngx_apikeys_store_on_ready(st, ready, NULL);

    if (unit_zone(st, old) != NGX_OK) {
        printf("Bail out! %s\n", tap_message);
        exit(2);
    }

    (void) ngx_apikeys_store_init_process(st, &tap_log);

    return st;
}


static ngx_apikeys_store_t *
first(uint64_t cells, ngx_cycle_t **cycle)
{
    ngx_apikeys_store_t  *st;

    st = zone(NULL, cells, NULL);
    *cycle = st->cycle;

    return st;
}


static ngx_apikeys_store_t *
resize(ngx_apikeys_store_t *st, ngx_cycle_t *cycle, uint64_t cells)
{
    ngx_apikeys_store_exit_process(st);

    return zone(cycle, cells, st);
}


static void
set_cursor(ngx_apikeys_store_t *st, const char *identity,
    const char *snapshot)
{
    ngx_str_t  a, b;

    a = tap_str(identity);
    b = tap_str(snapshot);

    (void) ngx_apikeys_store_lock(st);
    (void) ngx_apikeys_store_cursor_set_locked(st, &a, &b);
    ngx_apikeys_store_unlock(st);

    ngx_free(a.data);
    ngx_free(b.data);
}


static ngx_int_t
get_cursor(ngx_apikeys_store_t *st, const char *identity,
    const char *snapshot)
{
    ngx_str_t  a, b;

    return ngx_apikeys_store_cursor_get(st, tap_cycle.pool, &a, &b) == NGX_OK
           && tap_equal(&a, identity) && tap_equal(&b, snapshot);
}


static ngx_uint_t
unknown(ngx_apikeys_store_t *st)
{
    return unit_version(st, 900000) == NGX_DECLINED;
}


static void
test_nothing(void)
{
    ngx_cycle_t          *cycle;
    ngx_apikeys_store_t  *st, *new;

    st = first(CELLS, &cycle);
    ok(empty == 1, "a first zone is empty");

    new = resize(st, cycle, 2 * CELLS);
    ok(empty == 1 && !st->head->successor_at,
       "nothing is carried over from a zone that has not loaded");
    unit_store_free(new);

    (void) ngx_apikeys_store_init_process(st, &tap_log);
    (void) unit_load_sweep(st, unit_load_begin(st, 1));

    new = resize(st, cycle, 2 * CELLS);
    ok(empty == 0 && ngx_apikeys_store_complete(new) && unknown(new),
       "that a database has no keys is");
    unit_store_free(new);

    /* a snapshot of the database that is too long to be kept */

    (void) ngx_apikeys_store_init_process(st, &tap_log);
    (void) unit_publish(st, 1, 1, 1, 1, 0);

    new = resize(st, cycle, 2 * CELLS);
    ok(ngx_apikeys_store_complete(new) && unit_version(new, 1) == 1
       && !(new->head->cursor & 1), "keys are without a cursor");
    unit_store_free(new);

    unit_store_free(st);
}


/* a zone in which not even a stub fits any more; the keys that are live */

static ngx_uint_t
fill(ngx_apikeys_store_t *st)
{
    ngx_uint_t  n;

    (void) unit_load_sweep(st, unit_load_begin(st, 1));

    for (n = 1; unit_publish(st, n, n, 3, 0, 0) == NGX_OK; n++) {
        /* void */
    }

    return n;
}


static void
test_full(void)
{
    uint32_t               load;
    ngx_uint_t             i, n, live, wrong;
    ngx_cycle_t           *cycle;
    ngx_apikeys_store_t   *st, *new;
    ngx_apikeys_objectid_t  ids[10];

    st = first(CELLS, &cycle);
    n = fill(st);

    (void) unit_publish(st, 1, n + 1, 1000, 0, 0);
    (void) unit_delete(st, 2, n + 2);
    set_cursor(st, "identity", "10:20:12,15");
    ngx_apikeys_store_set_fresh(st, ngx_apikeys_clock_boot_ms());

    ok(!ngx_apikeys_store_complete(st) && st->head->failed_version == n
       && unit_version(st, 1) == NGX_BUSY
       && unit_version(st, 3) == 3, "%d keys: the zone is incomplete",
       (int) n);

    new = resize(st, cycle, 8 * CELLS);

    ok(empty == 0 && st->head->successor_at
       && memcmp(st->head->successor, new->head->instance, 36) == 0,
       "it is carried over into a larger one");
    ok(!ngx_apikeys_store_complete(new)
       && unit_version(new, 900000) == NGX_BUSY
       && unit_version(new, n) == NGX_BUSY,
       "which is incomplete: unknown keys are 503");

    (void) ngx_apikeys_store_init_process(st, &tap_log);

    for (i = 1, live = 0, wrong = 0; i < n; i++) {
        live += unit_version(st, i) == (int64_t) i;
        wrong += unit_version(st, i) != unit_version(new, i);
    }

    ngx_apikeys_store_exit_process(st);

    ok(wrong == 0 && live > 1000, "%d known keys are decided", (int) live);
    ok(memcmp(&new->head->counts, &st->head->counts,
              sizeof(ngx_apikeys_store_counts_t)) == 0
       && new->head->counts.stubs > 100, "the figures are the same");
    ok(get_cursor(new, "identity", "10:20:12,15")
       && ngx_apikeys_store_age(new) < 60000, "cursor and age, too");
    ok(ngx_apikeys_store_stubs_have_room(new)
       && ngx_apikeys_store_stub_ids(new, ids) == 10,
       "there may be room for the stubs");
    ok(unit_check(new) == 0, "the zone is consistent");

    /* as the feed goes on, and a load */

    ok(unit_publish(new, n + 10, n - 1, 0, 0, 0) == NGX_ERROR
       && unit_publish(new, 3, 2, 0, 0, 0) == NGX_DECLINED
       && unit_publish(new, 2, n, 0, 0, 0) == NGX_DECLINED,
       "what may be outdated is not published");
    ok(unit_publish(new, 1, n + 1, 1000, 0, 0) == NGX_OK
       && unit_version(new, 1) == (int64_t) n + 1, "a stub gets its room");
    ok(unit_publish(new, n, n, 3, 0, 0) == NGX_OK
       && unit_version(new, n) == (int64_t) n, "so does what was lost");
    ok(!ngx_apikeys_store_complete(new), "the local copy is incomplete still");

    load = unit_load_begin(new, 0);
    (void) unit_publish(new, 1, n + 1, 1000, 0, load);

    for (i = 4, wrong = 0; i <= n; i++) {
        (void) unit_publish(new, i, i, 3, 0, load);
        wrong += unit_version(new, i) != (int64_t) i;
    }

    ok(unit_load_sweep(new, load) == NGX_OK && wrong == 0 && unknown(new)
       && unit_version(new, 3) == NGX_DECLINED,
       "a load makes it complete, and removes what is gone");
    ok(new->head->counts.stubs == 0 && unit_check(new) == 0,
       "without stubs, consistent");

    unit_store_free(new);
    unit_store_free(st);
}


/* half of another database is here, and what is left of the one before */

static void
test_epoch(void)
{
    uint32_t                  load;
    ngx_uint_t                i, wrong;
    ngx_cycle_t              *cycle;
    ngx_apikeys_store_t      *st, *new;
    ngx_apikeys_store_key_t   key;

    st = first(CELLS, &cycle);
    (void) unit_load_sweep(st, unit_load_begin(st, 1));

    for (i = 1; i <= 50; i++) {
        (void) unit_publish(st, i, 1000 + i, 2, 0, 0);
    }

    (void) unit_delete(st, 50, 2000);

    load = unit_load_begin(st, 1);
    set_cursor(st, "another", "");

    for (i = 1; i <= 20; i++) {
        (void) unit_publish(st, i, i + 5, 2, 0, load);
    }

    (void) unit_delete(st, 21, 3);

    /* it gave the public key of one to another */

    key = unit_key(60, 7, 0, 0);
    key.id = unit_id(61);
    unit_public_key(key.public_key, 22);

    (void) ngx_apikeys_store_lock(st);
    (void) ngx_apikeys_store_publish_key_locked(st, &key, load);
    ngx_apikeys_store_unlock(st);

    new = resize(st, cycle, 2 * CELLS);

    for (i = 1, wrong = 0; i < 50; i++) {
        if (i <= 20) {
            wrong += unit_version(new, i) != (int64_t) i + 5;

        } else if (i > 22) {
            wrong += unit_version(new, i) != (int64_t) (1000 + i);
        }
    }

    ok(wrong == 0 && !ngx_apikeys_store_complete(new),
       "keys of both databases are decided");
    ok(unit_version(new, 21) == NGX_BUSY
       && unit_version(new, 50) == NGX_BUSY, "but those that are gone");
    ok(new->head->counts.invalid == 0 && new->head->counts.tombstones == 1
       && new->head->counts.keys == 48, "of the other only what it serves");
    ok(get_cursor(new, "another", ""), "the cursor says which");
    ok(ngx_apikeys_store_generation(new) == ngx_apikeys_store_generation(st),
       "so does the epoch");
    ok(unit_check(new) == 0, "the zone is consistent");

    ok(unit_publish(new, 10, 14, 0, 0, 0) == NGX_DECLINED
       && unit_publish(new, 21, 2, 0, 0, 0) == NGX_DECLINED,
       "versions of the one database are compared");
    ok(unit_publish(new, 23, 1, 0, 0, 0) == NGX_OK
       && unit_version(new, 23) == 1, "those of the other are not");

    load = unit_load_begin(new, 0);

    for (i = 1; i <= 20; i++) {
        (void) unit_publish(new, i, i + 5, 2, 0, load);
    }

    ok(unit_load_sweep(new, load) == NGX_OK && new->head->counts.keys == 20
       && unit_version(new, 30) == NGX_DECLINED, "a load removes the rest");
    ok(unit_check(new) == 0, "the zone is consistent");

    unit_store_free(new);
    unit_store_free(st);
}


static void
test_smaller(void)
{
    char                 *needs;
    uint64_t              size;
    ngx_uint_t            i, live, wrong;
    ngx_cycle_t          *cycle;
    ngx_apikeys_store_t  *st, *new;

    st = first(8 * CELLS, &cycle);
    (void) unit_load_sweep(st, unit_load_begin(st, 1));

    for (i = 1; i <= 5000; i++) {
        (void) unit_publish(st, i, i, i % 20, 0, 0);
    }

    for (i = 1; i <= 500; i++) {
        (void) unit_delete(st, i, 6000 + i);
    }

    tap_message[0] = '\0';
    new = resize(st, cycle, CELLS);

    ok(empty == 0 && !ngx_apikeys_store_complete(new)
       && new->head->counts.stubs > 100,
       "a zone that has not even room for all stubs is incomplete");

    for (i = 501, live = 0, wrong = 0; i <= 5000; i++) {
        live += unit_version(new, i) == (int64_t) i;
        wrong += unit_version(new, i) != (int64_t) i
                 && unit_version(new, i) != NGX_BUSY;
    }

    ok(wrong == 0 && live > 500, "it has %d keys, others are 503",
       (int) live);

    for (i = 1, wrong = 0; i <= 500; i++) {
        wrong += unit_version(new, i) != NGX_BUSY
                 || unit_publish(new, i, 6000 + i, 0, 0, 0) == NGX_OK;
    }

    ok(wrong == 0, "what was deleted does not come back");
    ok(unit_check(new) == 0, "the zone is consistent");

    needs = strstr(tap_message, "is full, ");
    needs = needs ? strstr(needs, "needs at least ") : NULL;
    ok(needs != NULL, "the log tells what it needs");
    size = needs ? strtoull(needs + strlen("needs at least "), NULL, 10) : 0;
    unit_store_free(new);

    /* as many cells as that */

    for (i = CELLS; ngx_apikeys_store_zone_size(NONCES, i) < size; i += 64) {
        /* void */
    }

    new = resize(st, cycle, i);
    ok(ngx_apikeys_store_complete(new) && new->head->counts.stubs == 0
       && unknown(new), "with %d cells all have room", (int) i);
    unit_store_free(new);

    unit_store_free(st);
}


/*
 * While a copy is made a writer turns keys into stubs, in place, and back.
 * All that a live key has must be of its version: with another one the feed
 * would not replace it.
 */

static void
toggle(ngx_apikeys_store_t *st)
{
    ngx_uint_t               n;
    ngx_apikeys_store_key_t  key;

    (void) unit_key(0, 0, UNIT_ENTRIES, UNIT_ENTRIES);

    for (n = 1; /* void */ ; n++) {
        key = unit_key(n % 8 + 1, n, 0, 0);

        if (n & 8) {

            /* there is no room for them */

            key.nentries = UNIT_ENTRIES;
            key.ngrants = UNIT_ENTRIES;
        }

        (void) ngx_apikeys_store_lock(st);
        (void) ngx_apikeys_store_publish_key_locked(st, &key, 0);
        ngx_apikeys_store_unlock(st);
    }
}


/* loads one database after the other, of keys with its number as version */

static void
restore(ngx_apikeys_store_t *st)
{
    uint32_t    load;
    ngx_uint_t  i, n;

    for (n = 1; /* void */ ; n++) {
        load = unit_load_begin(st, 1);

        for (i = 1; i <= 8; i++) {
            while (unit_publish(st, i, n, 3, 0, load) == NGX_AGAIN) {
                /* void: the copy reads what is replaced */
            }
        }

        (void) unit_load_sweep(st, load);
    }
}


static ngx_uint_t  torn;


static ngx_int_t
walked(void *data, const ngx_apikeys_store_object_t *object)
{
    uint64_t                        word;
    const ngx_apikeys_store_key_t  *key;

    key = &object->u.key;

    if (!key->unreadable) {
        word = unit_mix(*(uint64_t *) key->id.data * 1000003 + key->version);
        torn += key->roles != (uint32_t) word;
    }

    return NGX_OK;
}


/* copies of a zone that "writer" changes; what is wrong in them */

static ngx_uint_t
race(ngx_apikeys_store_t *st, ngx_apikeys_store_t *new,
    void (*writer)(ngx_apikeys_store_t *st))
{
    size_t                     size;
    u_char                    *pristine;
    int64_t                    one, other;
    uint64_t                   end;
    ngx_pid_t                  pid;
    ngx_uint_t                 i, wrong, different;
    ngx_apikeys_store_walk_t   walk;

    size = (u_char *) new->arena.cells - (u_char *) new->head;
    pristine = malloc(size);
    ngx_memcpy(pristine, new->head, size);

    pid = unit_fork(st, 3);

    if (pid == 0) {
        writer(st);
    }

    ngx_memzero(&walk, sizeof(ngx_apikeys_store_walk_t));
    walk.handler = walked;
    walk.pool = ngx_create_pool(65536, &tap_log);

    torn = 0;
    wrong = 0;
    end = ngx_apikeys_clock_boot_ms() + 3000;

    while (ngx_apikeys_clock_boot_ms() < end) {
        (void) ngx_apikeys_store_copy(new, st);

        other = 0;
        different = 0;

        for (i = 1; i <= 8; i++) {
            one = unit_version(new, i);
            wrong += one == -100;

            if (i > 1) {
                different += one != other;
            }

            other = one;
        }

        if (writer == restore && ngx_apikeys_store_complete(new)) {
            wrong += different;
        }

        if (ngx_apikeys_store_walk_begin(st, &walk) == NGX_OK) {
            while (ngx_apikeys_store_walk_next(st, &walk) == NGX_OK) {
                ngx_reset_pool(walk.pool);
            }
        }

        ngx_memcpy(new->head, pristine, size);
    }

    (void) kill(pid, SIGKILL);
    (void) unit_wait(pid);

    ngx_destroy_pool(walk.pool);
    free(pristine);

    return wrong;
}


static void
test_race(void)
{
    ngx_uint_t            wrong;
    ngx_cycle_t          *cycle;
    ngx_apikeys_store_t  *st, *new;

    new = unit_store(ngx_apikeys_store_zone_size(NONCES, 2 * CELLS));

    st = first(CELLS, &cycle);
    (void) unit_load_sweep(st, unit_load_begin(st, 1));

    wrong = race(st, new, toggle);
    ok(wrong == 0, "%d keys of another version in copies of a busy zone",
       (int) wrong);
    ok(torn == 0, "%d in walks over it", (int) torn);
    unit_store_free(st);

    st = first(CELLS, &cycle);
    wrong = race(st, new, restore);
    ok(wrong == 0, "%d complete copies of two databases", (int) wrong);
    unit_store_free(st);

    unit_store_free(new);
}


int
main(void)
{
    unit_start();

    test_nothing();
    test_full();
    test_epoch();
    test_smaller();
    test_race();

    return tap_end();
}
