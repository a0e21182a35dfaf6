
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What the local copy promises to one process at a time: versions, loads,
 * tombstones, a zone without a free cell, who has a public key, the lock,
 * reload.
 */


#include "unit.h"

#include <ngx_apikeys_refusal.h>

#include <sys/mman.h>


#define ZONE  (1024 * 1024)


static ngx_int_t
lock_in_child(ngx_apikeys_store_t *st)
{
    int        status;
    ngx_pid_t  pid;

    pid = unit_fork(st, 9);

    if (pid == 0) {
        _exit(ngx_apikeys_store_lock(st) == NGX_OK ? 0 : 1);
    }

    status = unit_wait(pid);

    return (WIFEXITED(status) && WEXITSTATUS(status) == 0) ? NGX_OK
                                                           : NGX_BUSY;
}


static void
test_configuration(void)
{
    ngx_cycle_t          *cycle;
    ngx_apikeys_store_t  *st;

    cycle = unit_cycle(NULL);

    ok(unit_configure(cycle, 65536, 4096, 1) == NULL, "64k are refused");
    ok(strstr(tap_message, "is too small: has 65536 bytes, needs at least ")
       != NULL, "with the size that would do");
    ok(unit_configure(cycle, (size_t) 256 << 30, 4096, 1) == NULL
       && strstr(tap_message, "at most 128 gigabytes") != NULL,
       "256 gigabytes are, too");

    st = unit_configure(cycle, ZONE, 4096, 1);
    ok(st != NULL, "a megabyte is enough");
    ok(unit_configure(cycle, ZONE, 4096, 1) == NULL, "once only");
    ok(strstr(tap_message, "duplicate") != NULL, "and it is said");

    st = unit_configure(unit_cycle(NULL),
                        ngx_apikeys_store_zone_size(4096, 4096), 4096, 1);
    ok(st != NULL && unit_zone(st, NULL) == NGX_OK, "the least size will do");
    ok(st->head->arena.ncells >= 4096, "%u cells of 4096 promised",
       st->head->arena.ncells);

    st->slots[ngx_process_slot + 1].pid = getppid();
    ok(ngx_apikeys_store_init_process(st, &tap_log) == NGX_ERROR
       && strstr(tap_message, "internal error: slot") != NULL
       && strstr(tap_message, "is still used by process") != NULL,
       "the slot of a process that lives is nobody else's");

    ngx_shm_free(&st->shm_zone->shm);
}


static void
test_objects(void)
{
    u_char                      *p;
    uint32_t                     load;
    ngx_int_t                    rc;
    ngx_str_t                    uuid;
    ngx_uint_t                   i, zeroes;
    ngx_apikeys_store_t         *st;
    ngx_apikeys_objectid_t       id;
    ngx_apikeys_store_org_t      org;
    ngx_apikeys_store_ref_t      ref;
    ngx_apikeys_store_stat_t     stat;
    ngx_apikeys_store_project_t  project;

    st = unit_store(ZONE);

    ngx_apikeys_store_instance(st, &uuid);
    ok(uuid.len == 36 && uuid.data[8] == '-' && uuid.data[14] == '4',
       "the instance has a uuid: %.36s", uuid.data);

    p = ngx_apikeys_store_metrics_and_nonces(st);
    for (i = 0, zeroes = 0; i < 4096; i++) {
        zeroes += (p[i] == 0);
    }
    ok(zeroes == 4096, "the neighbor's memory is zeroed");

    ok(unit_version(st, 1) == NGX_BUSY, "before the first load nobody knows");
    ok(unit_publish(st, 1, 1, 3, 2, 0) == NGX_OK, "a key is published");
    ok(unit_version(st, 1) == 1, "and found");
    ok(unit_version(st, 2) == NGX_BUSY, "another may come yet");

    load = unit_load_begin(st, 1);
    ok(load != 0, "a load has a number");
    ok(unit_version(st, 1) == 1, "what was there is served in a load");
    ok(unit_publish(st, 2, 2, 0, 0, load) == NGX_OK, "a row");
    ok(unit_load_sweep(st, load) == NGX_OK, "the load ends");
    ok(ngx_apikeys_store_complete(st), "complete");
    ok(unit_version(st, 1) == NGX_DECLINED, "what it did not bring is gone");
    ok(unit_version(st, 2) == 2, "what it brought is there");
    ok(unit_version(st, 3) == NGX_DECLINED, "a miss has authority");

    id = unit_id(77);

    ngx_memzero(&org, sizeof(org));
    org.id = id;
    org.version = 5;
    org.access_list_required = 1;

    ngx_memzero(&project, sizeof(project));
    project.id = id;
    project.org = unit_id(78);
    project.version = 6;

    (void) ngx_apikeys_store_lock(st);
    rc = ngx_apikeys_store_publish_org_locked(st, &org, 0);
    ok(rc == NGX_OK, "an organization");
    rc = ngx_apikeys_store_publish_project_locked(st, &project, 0);
    ok(rc == NGX_OK, "a project with the same id");
    ngx_apikeys_store_unlock(st);

    ngx_memzero(&org, sizeof(org));
    ngx_memzero(&project, sizeof(project));

    ngx_apikeys_store_read_begin(st);
    ok(ngx_apikeys_store_org(st, &id, &org) == NGX_OK
       && org.access_list_required == 1 && org.version == 5, "its setting");
    ok(ngx_apikeys_store_project(st, &id, &project) == NGX_OK
       && project.version == 6, "the project");
    id = unit_id(78);
    ok(memcmp(&project.org, &id, sizeof(id)) == 0, "its organization");
    ok(ngx_apikeys_store_org(st, &id, &org) == NGX_DECLINED, "no other");
    id = unit_id(2);
    ok(ngx_apikeys_store_key_by_id(st, &id, &ref) == NGX_OK
       && ref.version == 2, "a key by its id");
    ngx_apikeys_store_read_end(st);

    ok(unit_find(st, 2, &ref) == NGX_BUSY
       && strstr(tap_message, "outside of a section"),
       "reading needs a section");

    ngx_apikeys_store_stat(st, &stat);
    ok(stat.keys == 1 && stat.orgs == 1 && stat.projects == 1
       && stat.complete && stat.size > stat.free_bytes, "the figures");

    ok(unit_check(st) == 0, "the zone is consistent");
    unit_store_free(st);
}


static void
test_versions(void)
{
    ngx_int_t             rc;
    ngx_uint_t            i;
    ngx_apikeys_store_t  *st;

    st = unit_store(ZONE);
    (void) unit_load_sweep(st, unit_load_begin(st, 1));

    ok(unit_publish(st, 1, 10, 3, 1, 0) == NGX_OK, "version 10");
    ok(unit_publish(st, 1, 9, 3, 1, 0) == NGX_DECLINED, "9 is older");
    ok(unit_publish(st, 1, 10, 3, 1, 0) == NGX_DECLINED, "10 is there");
    ok(unit_publish(st, 1, 12, 30, 9, 0) == NGX_OK, "12 is newer");
    ok(unit_version(st, 1) == 12, "12 is found, whole");

    ok(unit_delete(st, 1, 11) == NGX_DECLINED, "an old removal");
    ok(unit_version(st, 1) == 12, "does nothing");
    ok(unit_delete(st, 1, 13) == NGX_OK, "a removal");
    ok(unit_version(st, 1) == NGX_DECLINED, "removes");
    ok(unit_publish(st, 1, 12, 3, 1, 0) == NGX_DECLINED, "12 was late");
    ok(unit_publish(st, 1, 13, 3, 1, 0) == NGX_DECLINED, "so was 13");
    ok(unit_delete(st, 1, 13) == NGX_OK, "removed twice");
    ok(unit_check(st) == 0, "the tombstone gave back its lists");
    ok(unit_publish(st, 1, 14, 3, 1, 0) == NGX_OK, "14 makes it anew");
    ok(unit_version(st, 1) == 14, "and is found");

    ok(unit_delete(st, 2, 20) == NGX_OK, "one that never was here");
    ok(unit_publish(st, 2, 19, 3, 1, 0) == NGX_DECLINED, "does not come");

    for (i = 100; i < 200; i++) {
        (void) unit_delete(st, i, i);
    }

    ok(st->head->counts.tombstones == 101, "101 tombstones");

    (void) ngx_apikeys_store_lock(st);
    rc = ngx_apikeys_store_forget_locked(st, 150, 30);
    ok(rc == NGX_AGAIN && st->head->counts.tombstones >= 71,
       "30 at a time at most");

    do {
        rc = ngx_apikeys_store_forget_locked(st, 150, 30);
    } while (rc == NGX_AGAIN);

    ngx_apikeys_store_unlock(st);

    ok(st->head->counts.tombstones == 50, "those below 150 are forgotten");
    ok(unit_publish(st, 160, 159, 0, 0, 0) == NGX_DECLINED, "not the others");
    ok(unit_publish(st, 110, 100, 0, 0, 0) == NGX_OK, "110 may come again");

    ok(unit_check(st) == 0, "the zone is consistent");
    unit_store_free(st);
}


static void
test_loads(void)
{
    uint32_t              load, next;
    ngx_apikeys_store_t  *st;

    st = unit_store(ZONE);

    load = unit_load_begin(st, 1);
    (void) unit_publish(st, 1, 10, 5, 0, load);
    (void) unit_publish(st, 2, 10, 5, 0, load);
    (void) unit_publish(st, 3, 10, 5, 0, load);
    (void) unit_publish(st, 6, 10, 5, 0, load);
    (void) unit_load_sweep(st, load);

    load = unit_load_begin(st, 0);

    ok(ngx_apikeys_store_complete(st), "a load of the same database");
    ok(unit_publish(st, 1, 20, 5, 0, 0) == NGX_OK, "meanwhile 1 changes");
    ok(unit_delete(st, 2, 21) == NGX_OK, "2 goes");
    ok(unit_publish(st, 4, 22, 5, 0, 0) == NGX_OK, "and 4 comes");
    ok(unit_publish(st, 1, 10, 5, 0, load) == NGX_DECLINED,
       "the load's older 1 does not replace it");
    ok(unit_publish(st, 2, 10, 5, 0, load) == NGX_DECLINED,
       "nor does it bring back 2");
    ok(unit_publish(st, 3, 10, 5, 0, load) == NGX_OK, "3 is as it was");
    ok(unit_publish(st, 6, 9, 5, 0, load) == NGX_OK,
       "6 is what the load says, version or not");
    ok(unit_load_sweep(st, load) == NGX_OK, "the sweep");
    ok(unit_version(st, 1) == 20 && unit_version(st, 2) == NGX_DECLINED
       && unit_version(st, 3) == 10 && unit_version(st, 4) == 22
       && unit_version(st, 6) == 9, "what was changed meanwhile stays");

    load = unit_load_begin(st, 0);
    (void) unit_publish(st, 1, 20, 5, 0, load);
    next = unit_load_begin(st, 0);
    ok(unit_publish(st, 3, 10, 5, 0, load) == NGX_DECLINED,
       "an abandoned load brings nothing");
    ok(unit_load_sweep(st, load) == NGX_DECLINED, "and sweeps nothing");
    (void) unit_publish(st, 3, 10, 5, 0, next);
    ok(unit_load_sweep(st, next) == NGX_OK, "its successor does");
    ok(unit_version(st, 1) == NGX_DECLINED && unit_version(st, 3) == 10,
       "by its own rows");
    ok(unit_publish(st, 1, 20, 5, 0, 0) == NGX_DECLINED,
       "what was swept does not come back in the same version");

    load = unit_load_begin(st, 1);
    ok(!ngx_apikeys_store_complete(st), "another database: incomplete");
    ok(unit_version(st, 3) == 10, "3 is served");
    ok(unit_publish(st, 3, 2, 5, 0, load) == NGX_OK, "versions begin anew");
    ok(unit_publish(st, 2, 3, 5, 0, load) == NGX_OK, "tombstones are void");
    ok(unit_delete(st, 2, 4) == NGX_OK, "new ones are not");
    ok(unit_publish(st, 2, 3, 5, 0, load) == NGX_DECLINED, "in this load");
    ok(unit_publish(st, 4, 1, 5, 0, 0) == NGX_OK, "a change of before");
    ok(unit_load_sweep(st, load) == NGX_OK, "the sweep");
    ok(unit_version(st, 3) == 2 && unit_version(st, 4) == 1
       && unit_version(st, 2) == NGX_DECLINED, "is right");
    ok(st->head->counts.tombstones == 1, "and old tombstones are gone");

    ok(unit_check(st) == 0, "the zone is consistent");
    unit_store_free(st);
}


static ngx_int_t
walked(void *data, const ngx_apikeys_store_object_t *object)
{
    const char                     *differs;
    const ngx_apikeys_store_key_t  *key;

    key = data;
    differs = unit_key_differs(key, &object->u.key);

    if (object->kind != NGX_APIKEYS_STORE_KEY || differs) {
        printf("# a walk changes \"%s\"\n", differs ? differs : "kind");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
walk(ngx_apikeys_store_t *st, ngx_apikeys_store_key_t *key)
{
    ngx_int_t                  rc;
    ngx_apikeys_store_walk_t   w;

    w.handler = walked;
    w.data = key;
    w.pool = tap_cycle.pool;

    rc = ngx_apikeys_store_walk_begin(st, &w);

    while (rc == NGX_OK) {
        rc = ngx_apikeys_store_walk_next(st, &w);
    }

    return rc;
}


/* each member of a key is written, read and walked */

static void
test_members(void)
{
    ngx_uint_t                i;
    const char               *wrong;
    ngx_apikeys_store_t      *st;
    ngx_apikeys_store_key_t   key;
    ngx_apikeys_store_ref_t   ref;

    st = unit_store(ZONE);
    (void) unit_load_sweep(st, unit_load_begin(st, 1));

    /* lists of several leaves */

    (void) unit_publish(st, 1, 2, 70, 9, 0);
    key = unit_key(1, 2, 70, 9);

    ngx_memset(&ref, 0xa5, sizeof(ref));
    ngx_apikeys_store_read_begin(st);

    wrong = "";

    if (unit_find(st, 1, &ref) == NGX_OK) {
        wrong = unit_key_wrong(st, &ref, 1);
    }

    ok(wrong == NULL, "a look-up returns each member%s%s",
       wrong ? ": not " : "", wrong ? wrong : "");
    ok(ref.version == 2 && ref.nentries == 70 && ref.ngrants == 9
       && memcmp(ref.public_key, key.public_key, sizeof(key.public_key)) == 0,
       "a look-up returns version, public key and lengths");

    ngx_apikeys_store_read_end(st);

    for (i = 0; i < sizeof(ref) / sizeof(uint32_t); i++) {
        if (((uint32_t *) &ref)[i] == 0xa5a5a5a5) {
            break;
        }
    }

    ok(i == sizeof(ref) / sizeof(uint32_t),
       "a look-up sets all of its result");

    ok(walk(st, &key) == NGX_DONE, "a walk returns each member");

    key = unit_key(1, 3, 0, 0);
    key.unreadable = 1;
    key.stub = 1;
    (void) ngx_apikeys_store_lock(st);
    (void) ngx_apikeys_store_publish_key_locked(st, &key, 0);
    ngx_apikeys_store_unlock(st);

    ngx_memzero(&key.secret, sizeof(key.secret));
    ngx_memzero(key.line, sizeof(key.line));
    key.roles = 0;
    key.expires = 0;
    key.disabled = 0;
    key.secret_expires = 0;
    ngx_memzero(&key.secret_id, sizeof(key.secret_id));
    ok(walk(st, &key) == NGX_DONE, "a walk returns the flags of a stub");

    unit_store_free(st);
}


static ngx_int_t
publish_as(ngx_apikeys_store_t *st, uint64_t n, uint64_t version,
    uint64_t name)
{
    ngx_int_t                rc;
    ngx_apikeys_store_key_t  key;

    key = unit_key(n, version, 2, 2);
    unit_public_key(key.public_key, name);

    (void) ngx_apikeys_store_lock(st);
    rc = ngx_apikeys_store_publish_key_locked(st, &key, 0);
    ngx_apikeys_store_unlock(st);

    return rc;
}


/* whose the public key is: n, or a return code */

static int64_t
owner(ngx_apikeys_store_t *st, uint64_t name)
{
    int64_t                  rc;
    uint64_t                 n;
    ngx_apikeys_store_ref_t  ref;

    ngx_apikeys_store_read_begin(st);
    rc = unit_find(st, name, &ref);

    if (rc == NGX_OK) {
        ngx_memcpy(&n, ref.id->data, sizeof(n));
        rc = (int64_t) n;
    }

    ngx_apikeys_store_read_end(st);

    return rc;
}


static void
test_public_keys(void)
{
    uint32_t                 load;
    ngx_int_t                rc;
    ngx_apikeys_store_t     *st;
    ngx_apikeys_store_key_t  key;

    st = unit_store(ZONE);
    (void) unit_load_sweep(st, unit_load_begin(st, 1));

    (void) publish_as(st, 1, 1, 100);
    (void) publish_as(st, 2, 2, 200);
    (void) publish_as(st, 1, 3, 101);
    ok(owner(st, 101) == 1 && owner(st, 100) == NGX_DECLINED,
       "a key changes its name");

    /* 1 gives its name to 2; the changes come in the wrong order */

    ok(publish_as(st, 2, 5, 101) == NGX_OK, "a name changes hands");
    ok(owner(st, 101) == 2, "the newer version has it");
    ok(owner(st, 200) == NGX_DECLINED, "and left its old one");
    ok(publish_as(st, 1, 4, 100) == NGX_OK, "the other change comes");
    ok(owner(st, 100) == 1 && owner(st, 101) == 2, "both are right");
    ok(st->head->counts.invalid == 0, "and valid");

    ok(publish_as(st, 3, 4, 101) == NGX_OK, "an old owner's late version");
    ok(owner(st, 101) == 2, "does not take the name back");
    ok(st->head->counts.invalid == 1, "it waits for its own change");
    ok(unit_delete(st, 3, 9) == NGX_OK && st->head->counts.invalid == 0,
       "which comes");

    (void) unit_delete(st, 2, 10);
    ok(publish_as(st, 4, 11, 101) == NGX_OK && owner(st, 101) == 4,
       "a removed key's name is free");

    key = unit_key(5, 12, 0, 0);
    key.unreadable = 1;
    (void) ngx_apikeys_store_lock(st);
    rc = ngx_apikeys_store_publish_key_locked(st, &key, 0);
    ngx_apikeys_store_unlock(st);
    ok(rc == NGX_OK && unit_version(st, 5) == NGX_BUSY,
       "a secret that does not open");
    ok(unit_publish(st, 5, 12, 0, 0, 0) == NGX_OK
       && unit_version(st, 5) == 12, "may open later");

    load = unit_load_begin(st, 0);
    (void) unit_publish(st, 5, 12, 0, 0, load);
    (void) unit_load_sweep(st, load);
    ok(st->head->counts.keys == 1, "one is left");

    ok(unit_check(st) == 0, "the zone is consistent");
    unit_store_free(st);
}


static void
test_full(void)
{
    uint32_t                  load;
    ngx_int_t                 rc;
    ngx_uint_t                n, victim;
    ngx_apikeys_store_t      *st;
    ngx_apikeys_store_stat_t  stat;

    st = unit_store(ZONE);
    (void) unit_load_sweep(st, unit_load_begin(st, 1));

    for (n = 1; /* void */ ; n++) {
        rc = unit_publish(st, n, n, 100, 0, 0);

        if (rc != NGX_OK) {
            break;
        }
    }

    ok(rc == NGX_ERROR && n > 500, "%d keys fill the zone", (int) n);
    ok(strstr(tap_message, "is full") != NULL
       && strstr(tap_message, "needs at least") != NULL, "it is said");
    ok(!ngx_apikeys_store_complete(st), "the local copy is incomplete");
    ok(unit_version(st, n) == NGX_BUSY, "an unknown key may exist");
    ok(unit_version(st, 1) == 1, "a known one is served");

    /* no room for a key's new version */

    while (unit_publish(st, 900000 + n, n, 0, 0, 0) == NGX_OK) {
        n++;
    }

    victim = 7;
    ok(unit_publish(st, victim, 100000, 100, 0, 0) == NGX_OK,
       "a newer version has no room");
    ok(unit_version(st, victim) == NGX_BUSY, "the old one is not served");

    ok(unit_delete(st, 8, 100001) == NGX_OK, "a removal needs no room");
    ok(unit_version(st, 8) == NGX_BUSY, "it is gone");

    /* what removals free is less by their tombstones */

    for (n = 200; n < 400; n++) {
        (void) unit_delete(st, n, 100001);
    }

    ok(unit_publish(st, victim, 99999, 1, 0, 0) == NGX_DECLINED,
       "an older version than the lost one is not taken");
    ok(unit_publish(st, victim, 100000, 100, 0, 0) == NGX_OK,
       "the same one is, now that there is room");
    ok(unit_version(st, victim) == 100000, "and served");

    for (n = 9; n < 40; n++) {
        (void) unit_delete(st, n, 100002);
    }

    ok(unit_publish(st, 800000, 500, 0, 0, 0) == NGX_ERROR,
       "an unknown object in an old version is not taken");
    ok(unit_publish(st, 800000, 200000, 0, 0, 0) == NGX_OK,
       "in a new one it is");

    ngx_apikeys_store_stat(st, &stat);
    ok(stat.load_failures > 0 && !stat.complete, "the figures tell");

    load = unit_load_begin(st, 0);

    for (n = 100; n < 200; n++) {
        (void) unit_publish(st, n, n, 100, 0, load);
    }

    ok(unit_load_sweep(st, load) == NGX_OK, "a load with room for all");
    ok(ngx_apikeys_store_complete(st), "completes the local copy");
    ok(unit_version(st, 1) == NGX_DECLINED, "misses have authority again");

    load = unit_load_begin(st, 0);

    for (n = 100; n < 4000; n++) {
        (void) unit_publish(st, n, n, 100, 0, load);
    }

    ok(unit_load_sweep(st, load) == NGX_ERROR, "one with too many");
    ok(!ngx_apikeys_store_complete(st), "does not");

    ok(unit_check(st) == 0, "the zone is consistent");
    unit_store_free(st);
}


static void
test_lists(void)
{
    ngx_uint_t                i, n, bad, size;
    ngx_apikeys_store_t      *st;
    ngx_apikeys_store_ref_t   ref;
    ngx_uint_t                sizes[] = { 0, 1, 2, 8, 9, 63, 128, 129, 2048,
                                          2049, 10000 };

    st = unit_store(8 * ZONE);
    bad = 0;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (n = 0; n < sizeof(sizes) / sizeof(sizes[0]); n++) {

            size = i * 100 + n;

            if (unit_publish(st, 1, size + 1, sizes[i], sizes[n], 0)
                != NGX_OK)
            {
                bad++;
                continue;
            }

            ngx_apikeys_store_read_begin(st);

            if (unit_find(st, 1, &ref) != NGX_OK
                || ref.nentries != sizes[i]
                || ref.ngrants != sizes[n]
                || unit_key_wrong(st, &ref, 1))
            {
                printf("# %d entries, %d grants\n", (int) sizes[i],
                       (int) sizes[n]);
                bad++;
            }

            ngx_apikeys_store_read_end(st);
        }
    }

    ok(bad == 0, "lists of all sizes up to 10,000 entries and projects");
    ok(unit_check(st) == 0, "the zone is consistent");
    unit_store_free(st);
}


static int
compare_entries(const void *one, const void *two)
{
    return (int) ngx_apikeys_cidr_compare(one, two);
}


/* blocks that nest often: few bits that vary, any prefix */

static void
random_block(ngx_apikeys_cidr_t *c, uint64_t *seed, ngx_uint_t address)
{
    uint64_t    x, y;
    ngx_uint_t  i, bits, n;

    *seed = x = unit_mix(*seed);
    y = unit_mix(x);

    ngx_memzero(c, sizeof(ngx_apikeys_cidr_t));

    c->family = (x & 1) ? 4 : 6;
    bits = (c->family == 4) ? 32 : 128;

    for (i = 0; i < bits / 8; i++) {
        c->addr[i] = (u_char) ((y >> (i % 8 * 8)) & 0x81);
    }

    c->prefix = (u_char) (address ? bits : (x >> 8) % (bits + 1));

    for (i = c->prefix; i < bits; i++) {
        n = 7 - i % 8;
        c->addr[i / 8] &= (u_char) ~(1 << n);
    }
}


static ngx_uint_t
match_differs(ngx_apikeys_store_t *st, ngx_apikeys_store_ref_t *ref,
    ngx_apikeys_store_key_t *key, ngx_apikeys_cidr_t *addr)
{
    ngx_int_t            rc;
    ngx_uint_t           i;
    ngx_apikeys_cidr_t   entry, *best;

    best = NULL;

    for (i = 0; i < key->nentries; i++) {
        if (ngx_apikeys_cidr_contains(&key->entries[i], addr)
            && (best == NULL || key->entries[i].prefix > best->prefix))
        {
            best = &key->entries[i];
        }
    }

    rc = ngx_apikeys_store_match(st, ref, addr, &entry);

    if (best == NULL) {
        return rc != NGX_DECLINED;
    }

    return rc != NGX_OK || memcmp(&entry, best, sizeof(entry)) != 0;
}


static void
test_match(void)
{
    uint64_t                  seed;
    ngx_uint_t                i, n, round, bad, hits;
    ngx_apikeys_cidr_t        addr, entry;
    ngx_apikeys_store_t      *st;
    ngx_apikeys_store_key_t   key;
    ngx_apikeys_store_ref_t   ref;

    st = unit_store(4 * ZONE);
    seed = 1;
    bad = 0;
    hits = 0;

    for (round = 1; round <= 200; round++) {

        key = unit_key(1, round, 0, round % 5);

        for (i = 0; i < round * round / 20; i++) {
            random_block(&unit_entries[i], &seed, 0);
        }

        qsort(unit_entries, i, sizeof(ngx_apikeys_cidr_t), compare_entries);

        /* no duplicates */

        for (n = 0, key.nentries = 0; n < i; n++) {
            if (n == 0 || memcmp(&unit_entries[n], &unit_entries[n - 1],
                                 sizeof(ngx_apikeys_cidr_t)) != 0)
            {
                entry = unit_entries[n];
                unit_entries[key.nentries++] = entry;
            }
        }

        (void) ngx_apikeys_store_lock(st);
        bad += ngx_apikeys_store_publish_key_locked(st, &key, 0) != NGX_OK;
        ngx_apikeys_store_unlock(st);

        ngx_apikeys_store_read_begin(st);
        bad += unit_find(st, 1, &ref) != NGX_OK;

        for (i = 0; i < 300; i++) {
            random_block(&addr, &seed, 1);
            bad += match_differs(st, &ref, &key, &addr);
            hits += ngx_apikeys_store_match(st, &ref, &addr, &entry)
                    == NGX_OK;
        }

        ngx_memzero(&addr, sizeof(addr));
        bad += ngx_apikeys_store_match(st, &ref, &addr, &entry)
               != NGX_DECLINED;

        ngx_apikeys_store_read_end(st);
    }

    ok(bad == 0, "60,000 addresses find the entry that a search finds");
    ok(hits > 10000 && hits < 59000, "%d do, the others none", (int) hits);

    /* every prefix around one address: the walk outwards at its longest */

    key = unit_key(1, 1000, 0, 0);

    for (i = 0; i < 33; i++) {
        ngx_memzero(&unit_entries[i], sizeof(ngx_apikeys_cidr_t));
        unit_entries[i].family = 4;
        unit_entries[i].prefix = (u_char) i;
    }

    for (i = 0; i < 129; i++) {
        ngx_memzero(&unit_entries[33 + i], sizeof(ngx_apikeys_cidr_t));
        unit_entries[33 + i].family = 6;
        unit_entries[33 + i].prefix = (u_char) i;
    }

    key.nentries = 33 + 129;

    (void) ngx_apikeys_store_lock(st);
    bad += ngx_apikeys_store_publish_key_locked(st, &key, 0) != NGX_OK;
    ngx_apikeys_store_unlock(st);

    ngx_apikeys_store_read_begin(st);
    bad += unit_find(st, 1, &ref) != NGX_OK;

    for (i = 0; i < 160; i++) {
        ngx_memzero(&addr, sizeof(addr));
        addr.family = (i < 32) ? 4 : 6;
        addr.prefix = (i < 32) ? 32 : 128;
        n = (i < 32) ? i : i - 32;
        addr.addr[n / 8] = (u_char) (0x80 >> (n % 8));
        bad += match_differs(st, &ref, &key, &addr);
    }

    ngx_apikeys_store_read_end(st);

    ok(bad == 0, "nested as deep as can be");
    ok(unit_check(st) == 0, "the zone is consistent");
    unit_store_free(st);
}


static void
test_readers(void)
{
    int                       status;
    int                       fd[2];
    char                      byte;
    uint32_t                  nfree;
    ngx_pid_t                 pid;
    ngx_uint_t                i;
    ngx_apikeys_store_t      *st;
    ngx_apikeys_store_ref_t   ref;
    ngx_apikeys_store_stat_t  stat;

    st = unit_store(ZONE);
    (void) unit_load_sweep(st, unit_load_begin(st, 1));
    (void) unit_publish(st, 1, 1, 100, 10, 0);

    /* a section that stays open */

    ngx_apikeys_store_read_begin(st);
    ngx_apikeys_store_read_begin(st);
    ok(unit_find(st, 1, &ref) == NGX_OK, "a reader holds a key");
    ngx_apikeys_store_read_end(st);

    for (i = 2; i < 50; i++) {
        (void) unit_publish(st, 1, i, 100, 10, 0);
    }

    ngx_apikeys_store_stat(st, &stat);
    ok(stat.retired_bytes > 48 * 14 * 64, "what it may see is not freed");
    ok(ref.version == 1 && unit_key_wrong(st, &ref, 1) == NULL,
       "the key is whole after 48 replacements");
    ok(unit_delete(st, 1, 60) == NGX_OK, "it is removed");
    ok(ref.nentries == 100
       && unit_key_wrong(st, &ref, 1) == NULL, "and still whole");
    ngx_apikeys_store_read_end(st);

    ok(unit_check(st) == 0, "left: all of it is freed");

    /* a process that is stopped inside, then killed */

    (void) unit_publish(st, 1, 100, 100, 10, 0);
    (void) pipe(fd);

    pid = unit_fork(st, 5);

    if (pid == 0) {
        ngx_apikeys_store_read_begin(st);
        (void) unit_find(st, 1, &ref);
        (void) write(fd[1], "x", 1);
        for ( ;; ) {
            pause();
        }
    }

    (void) read(fd[0], &byte, 1);
    kill(pid, SIGSTOP);
    (void) waitpid(pid, &status, WUNTRACED);

    nfree = st->head->arena.nfree;

    for (i = 101; i < 120; i++) {
        (void) unit_publish(st, 1, i, 100, 10, 0);
    }

    ngx_apikeys_store_stat(st, &stat);
    ok(stat.retired_bytes >= 19 * 14 * 64, "a stopped process pins memory");
    ok(nfree - st->head->arena.nfree >= 19 * 14, "visibly");

    kill(pid, SIGKILL);

    /* a zombie already reads nothing */

    for (i = 0; i < 100000 && st->head->nretired > 14; i++) {
        (void) ngx_apikeys_store_lock(st);
        ngx_apikeys_store_unlock(st);
    }

    ok(st->head->nretired <= 14, "a dead one does not, not even a zombie");
    (void) unit_wait(pid);
    ok(unit_check(st) == 0, "the zone is consistent");

    close(fd[0]);
    close(fd[1]);
    unit_store_free(st);
}


static void
test_lock(void)
{
    int                   fd[2], status;
    char                  byte;
    ngx_pid_t             pid;
    ngx_apikeys_store_t  *st;

    st = unit_store(ZONE);

    ok(ngx_apikeys_store_lock(st) == NGX_OK, "locked");
    ok(ngx_apikeys_store_lock(st) == NGX_BUSY, "not twice");
    ok(lock_in_child(st) == NGX_BUSY, "and not by another process");
    ngx_apikeys_store_unlock(st);

    ok(lock_in_child(st) == NGX_OK, "a child exits with the lock held");
    ok(unit_publish(st, 1, 1, 0, 0, 0) == NGX_OK, "which stops nobody");
    ok(st->head->repairs == 1, "the zone was repaired");

    /* a live holder that stands still */

    (void) pipe(fd);
    pid = unit_fork(st, 6);

    if (pid == 0) {
        (void) ngx_apikeys_store_lock(st);
        (void) write(fd[1], "x", 1);
        for ( ;; ) {
            pause();
        }
    }

    (void) read(fd[0], &byte, 1);
    kill(pid, SIGSTOP);
    (void) waitpid(pid, &status, WUNTRACED);

    ok(unit_publish(st, 1, 2, 0, 0, 0) == NGX_BUSY, "a stopped holder holds");
    ok(unit_version(st, 1) == 1,
       "and keeps no reader from reading");

    /* somebody else has its pid now: the name in the head is another's */

    st->head->writer_start++;
    ok(unit_publish(st, 1, 2, 0, 0, 0) == NGX_BUSY, "a doubtful one, too");
    st->reused_pid_since -= 1000;
    ok(unit_publish(st, 1, 2, 0, 0, 0) == NGX_OK, "but not for long");
    ok(strstr(tap_message, "repaired") != NULL, "that is logged");

    kill(pid, SIGKILL);
    (void) unit_wait(pid);

    ok(unit_check(st) == 0, "the zone is consistent");

    close(fd[0]);
    close(fd[1]);
    unit_store_free(st);
}


/* the next term; for how long, ms */

static int64_t
next_term(ngx_apikeys_store_t *st, uint64_t deadline)
{
    st->lease_number = 0;
    st->head->lease_deadline = deadline;

    if (ngx_apikeys_store_lease_acquire(st, 1000) != NGX_OK) {
        return -1;
    }

    return st->head->lease_deadline - ngx_apikeys_clock_boot_ms();
}


static void
test_lease_late(ngx_apikeys_store_t *st)
{
    int64_t     ms, longest;
    ngx_uint_t  n;

    st->head->lease_overload = 0;
    longest = 0;

    for (n = 0; n < 20; n++) {
        longest = ngx_max(longest, next_term(st, 0));
    }

    ok(longest <= 1000, "who gives it back is not late");

    for (n = 0; n < 5; n++) {
        longest = ngx_max(longest, next_term(st, 1));
    }

    ok(longest <= 1000, "five come late: the lease is as short");

    ms = next_term(st, 1);
    ok(ms > 6000 && ms <= 8000, "the sixth: it is longer, %d ms", (int) ms);

    for (n = 0; n < 50; n++) {
        ms = next_term(st, 1);
    }

    ok(ms > 6000, "and stays so");

    st->head->lease_overload -= 12000;
    (void) ngx_apikeys_store_lease_acquire(st, 1000);
    ms = st->head->lease_deadline - ngx_apikeys_clock_boot_ms();
    ok(ms <= 1000, "one is forgotten: it is short again, %d ms", (int) ms);
}


static ngx_uint_t  nlines;


static void
count_line(ngx_log_t *log, ngx_uint_t level, u_char *buf, size_t len)
{
    nlines++;
}


static void
test_lease(void)
{
    int                   status;
    u_char               *big;
    ngx_pid_t             pid;
    ngx_log_t             log;
    ngx_str_t             identity, snapshot, a, b;
    ngx_apikeys_store_t  *st;

    st = unit_store(ZONE);

    pid = unit_fork(st, 3);

    if (pid == 0) {
        _exit(ngx_apikeys_store_lease_acquire(st, 100000) == NGX_OK
              && ngx_apikeys_store_lease_held(st) ? 0 : 1);
    }

    status = unit_wait(pid);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child takes it");
    ok(!ngx_apikeys_store_lease_held(st), "it is not ours");
    ok(ngx_apikeys_store_lease_acquire(st, 100000) == NGX_OK,
       "the child is dead: it is");
    ok(ngx_apikeys_store_lease_held(st), "ours");

    pid = unit_fork(st, 3);

    if (pid == 0) {
        _exit(ngx_apikeys_store_lease_acquire(st, 1000) == NGX_BUSY ? 0 : 1);
    }

    status = unit_wait(pid);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "nobody else's");

    (void) ngx_apikeys_store_lock(st);
    ok(ngx_apikeys_store_lease_acquire(st, 1000) == NGX_OK, "renewed, locked");
    ngx_apikeys_store_unlock(st);

    /* the deadline */

    ok(!ngx_apikeys_store_lease_available(st), "not free before it");
    st->head->lease_deadline = 1;
    ok(ngx_apikeys_store_lease_available(st), "free after it");
    ok(ngx_apikeys_store_lease_held(st), "but kept until another takes it");
    ok(ngx_apikeys_store_lease_acquire(st, 1000) == NGX_OK
       && st->head->lease_number == st->lease_number
       && !ngx_apikeys_store_lease_available(st),
       "and renewed, in the same term");

    st->head->lease_deadline = 1;
    pid = unit_fork(st, 3);

    if (pid == 0) {
        _exit(ngx_apikeys_store_lease_acquire(st, 1000) == NGX_OK ? 0 : 1);
    }

    (void) unit_wait(pid);
    ok(!ngx_apikeys_store_lease_held(st), "lost by time");
    st->head->leader_pid = ngx_pid;
    ok(!ngx_apikeys_store_lease_held(st), "the fence tells two terms apart");

    st->head->leader_pid = 0;
    (void) ngx_apikeys_store_lease_acquire(st, 100000);
    ngx_apikeys_store_lease_release(st);
    ok(!ngx_apikeys_store_lease_held(st), "dropped");
    ok(ngx_apikeys_store_lease_available(st), "and free");

    test_lease_late(st);

    /* the cursor */

    ok(ngx_apikeys_store_cursor_get(st, tap_cycle.pool, &identity, &snapshot)
       == NGX_DECLINED, "no cursor yet");

    ngx_str_set(&a, "identity");
    ngx_str_set(&b, "10:20:12,15");

    (void) ngx_apikeys_store_lock(st);
    ok(ngx_apikeys_store_cursor_set_locked(st, &a, &b) == NGX_OK, "set");
    b.len = 5;
    ok(ngx_apikeys_store_cursor_set_locked(st, &a, &b) == NGX_OK, "again");
    ngx_apikeys_store_unlock(st);

    ok(ngx_apikeys_store_cursor_get(st, tap_cycle.pool, &identity, &snapshot)
       == NGX_OK, "got");
    is_str(&identity, "identity", "the identity");
    is_str(&snapshot, "10:20", "the snapshot");

    big = calloc(1, 1024 * 1024);
    b.data = big;
    b.len = 1024 * 1024;

    (void) ngx_apikeys_store_lock(st);
    ok(ngx_apikeys_store_cursor_set_locked(st, &a, &b) == NGX_ERROR,
       "too long");
    ngx_apikeys_store_unlock(st);
    free(big);
    ok(ngx_apikeys_store_cursor_get(st, tap_cycle.pool, &identity, &snapshot)
       == NGX_DECLINED, "leaves none");

    /* freshness */

    ngx_memzero(&log, sizeof(ngx_log_t));
    log.log_level = NGX_LOG_NOTICE;
    log.writer = count_line;
    st->head->complete = 1;

    ok(ngx_apikeys_store_age(st) == (uint64_t) -1, "never fresh");
    ngx_apikeys_refusal_watch(st, 10, &log);
    ok(nlines == 0, "a copy without an age is not reported as too old");

    ngx_apikeys_store_set_fresh(st, ngx_apikeys_clock_boot_ms() - 50);
    ok(ngx_apikeys_store_age(st) >= 50 && ngx_apikeys_store_age(st) < 60000,
       "fresh some time ago");
    ngx_apikeys_refusal_watch(st, 10, &log);
    ok(nlines == 1, "a copy that is too old is reported");
    ngx_apikeys_store_set_fresh(st, 1);
    ok(ngx_apikeys_store_age(st) < 60000, "an older proof takes nothing");

    unit_store_free(st);
}


static void
test_reload(void)
{
    ngx_uint_t            all, staying;
    ngx_cycle_t          *cycle, *next;
    ngx_apikeys_store_t  *st, *new;

    cycle = unit_cycle(NULL);
    st = unit_configure(cycle, ZONE, 4096, 1);
    (void) unit_zone(st, NULL);
    (void) ngx_apikeys_store_init_process(st, &tap_log);
    (void) unit_publish(st, 1, 1, 3, 3, 0);
    ngx_apikeys_store_count_processes(st, &all, &staying);
    ok(staying == 0, "no other process before a reload");

    next = unit_cycle(cycle);
    new = unit_configure(next, ZONE, 4096, 1);
    ok(unit_zone(new, st) == NGX_OK, "the same keys: reload");
    ngx_apikeys_store_count_processes(st, &all, &staying);
    ok(staying == 1, "whose workers are to be waited for");
    (void) ngx_apikeys_store_init_process(new, &tap_log);
    ngx_apikeys_store_count_processes(new, &all, &staying);
    ok(staying == 0, "by the old ones, not by themselves");
    ok(new->head == st->head && unit_version(new, 1) == 1, "keeps the zone");
    ngx_apikeys_store_exit_process(new);

    new = unit_configure(unit_cycle(cycle), ZONE, 4096, 2);
    ok(new->shm_zone->noreuse == 1, "other keys: other memory");
    ok(unit_zone(new, st) == NGX_OK && new->head != st->head, "it is another");
    (void) ngx_apikeys_store_init_process(new, &tap_log);
    ok(unit_version(new, 1) == NGX_BUSY, "and empty");
    (void) ngx_apikeys_store_init_process(st, &tap_log);
    ok(unit_version(st, 1) == 1, "the old workers' is as it was");
    unit_store_free(new);

    new = unit_configure(unit_cycle(cycle), ZONE, 8192, 1);
    ok(new->shm_zone->noreuse == 1, "another layout: other memory");

    new->shm_zone->noreuse = 0;
    ok(unit_zone(new, st) == NGX_ERROR, "an unfit zone is never attached to");
    ok(strstr(tap_message, "another version of the module: restart nginx")
       != NULL, "and what helps is said");

    unit_store_free(st);
}


static void
test_resize(void)
{
    ngx_int_t             rc;
    ngx_str_t             a, b, identity, snapshot;
    ngx_uint_t            n, bad;
    ngx_cycle_t          *cycle;
    ngx_apikeys_store_t  *st, *new;

    cycle = unit_cycle(NULL);
    st = unit_configure(cycle, 4 * ZONE, 4096, 1);
    (void) unit_zone(st, NULL);
    (void) ngx_apikeys_store_init_process(st, &tap_log);

    new = unit_configure(unit_cycle(cycle), 8 * ZONE, 8192, 1);
    ok(unit_zone(new, st) == NGX_OK && new->head->counts.keys == 0
       && !ngx_apikeys_store_complete(new),
       "a local copy that was never loaded is not copied");
    ngx_shm_free(&new->shm_zone->shm);

    (void) unit_load_sweep(st, unit_load_begin(st, 1));

    for (n = 0; n < 1000; n++) {
        (void) unit_publish(st, n, n + 1, n % 300, n % 17, 0);
    }

    (void) unit_delete(st, 5, 2000);

    ngx_str_set(&a, "identity");
    ngx_str_set(&b, "10:20:12,15");

    (void) ngx_apikeys_store_lock(st);
    (void) ngx_apikeys_store_cursor_set_locked(st, &a, &b);
    ngx_apikeys_store_unlock(st);
    ngx_apikeys_store_set_fresh(st, ngx_apikeys_clock_boot_ms());

    /* as the master does it, which has no slot yet */

    ngx_apikeys_store_exit_process(st);

    new = unit_configure(unit_cycle(cycle), 8 * ZONE, 8192, 1);
    rc = unit_zone(new, st);
    ok(rc == NGX_OK && new->head != st->head, "another size: another zone");
    ok(st->slot == NULL, "the slot was given back");

    (void) ngx_apikeys_store_init_process(new, &tap_log);
    ok(ngx_apikeys_store_complete(new), "it is complete from the start");

    for (n = 0, bad = 0; n < 1000; n++) {
        bad += unit_version(new, n) != (int64_t) n + 1;
    }

    ok(bad == 1 && unit_version(new, 5) == NGX_DECLINED, "all keys are there");
    ok(unit_publish(new, 5, 1999, 0, 0, 0) == NGX_DECLINED
       && unit_publish(new, 6, 6, 0, 0, 0) == NGX_DECLINED,
       "with versions and tombstones");
    ok(ngx_apikeys_store_cursor_get(new, tap_cycle.pool, &identity, &snapshot)
       == NGX_OK, "and the cursor");
    is_str(&snapshot, "10:20:12,15", "as it was");
    ok(ngx_apikeys_store_age(new) < 60000, "and as fresh");
    ok(memcmp(new->head->instance, st->head->instance, 36) != 0,
       "it is another instance");
    ok(unit_check(new) == 0, "the zone is consistent");
    unit_store_free(new);

    new = unit_configure(unit_cycle(cycle), ZONE + ZONE / 2, 8192, 1);
    ok(unit_zone(new, st) == NGX_OK && ngx_apikeys_store_complete(new)
       && new->head->counts.keys == 999 && new->head->counts.stubs > 0,
       "a zone that is too small for all has stubs");
    ok(strstr(tap_message, "has no room for API key") != NULL, "it is said");
    ngx_shm_free(&new->shm_zone->shm);

    new = unit_configure(unit_cycle(cycle), 8 * ZONE, 8192, 2);
    ok(unit_zone(new, st) == NGX_OK && new->head->counts.keys == 0,
       "under other keys nothing is copied");
    ngx_shm_free(&new->shm_zone->shm);

    unit_store_free(st);
}


/*
 * All of the zone but the page of our slot is read-only: so a reader that
 * took the mutex, counted, or allocated there would die.
 */

static int
read_protected(ngx_apikeys_store_t *st, ngx_uint_t lock)
{
    u_char     *begin, *end, *slot;
    int64_t     version;
    ngx_pid_t   pid;

    pid = unit_fork(st, 40);

    if (pid == 0) {
        (void) freopen("/dev/null", "w", stderr);

        begin = st->shm_zone->shm.addr;
        end = begin + st->shm_zone->shm.size;
        slot = ngx_align_ptr((u_char *) st->slot - ngx_pagesize + 1,
                             ngx_pagesize);

        if (mprotect(begin, slot - begin, PROT_READ) == -1
            || mprotect(slot + ngx_pagesize, end - slot - ngx_pagesize,
                        PROT_READ) == -1)
        {
            _exit(3);
        }

        if (lock) {
            (void) ngx_apikeys_store_lock(st);
            _exit(4);
        }

        version = unit_version(st, 1);
        _exit(version == 7 && unit_version(st, 2) == NGX_BUSY ? 0 : 5);
    }

    return unit_wait(pid);
}


static void
test_read_only(void)
{
    ngx_apikeys_store_t  *st;

    st = unit_store(ZONE);
    (void) unit_publish(st, 1, 7, 1000, 100, 0);

    ok(read_protected(st, 0) == 0, "readers write only to their slot");
    ok(read_protected(st, 1) != 0, "(a writer would have been seen)");

    unit_store_free(st);
}


/* what look-ups read is in no cache line that a load or a change writes */

static void
test_lines(void)
{
    u_char                     before[64];
    uint32_t                   load;
    ngx_uint_t                 i;
    ngx_apikeys_store_t       *st;
    ngx_apikeys_store_head_t  *head;

    st = unit_store(4 * 1024 * 1024);
    head = st->head;

    (void) unit_load_sweep(st, unit_load_begin(st, 1));
    load = unit_load_begin(st, 0);

    ok((uintptr_t) &head->complete % 64 == 0
       && (uintptr_t) &head->reclaim_epoch % 64 == 0
       && (uintptr_t) &head->applied_at % 64 == 0
       && (u_char *) &head->fresh_at - (u_char *) &head->complete < 64,
       "the fields that look-ups read begin a line");

    ngx_memcpy(before, &head->complete, sizeof(before));

    for (i = 1; i < 500; i++) {
        (void) unit_publish(st, i, i, 3, 1, i % 3 ? load : 0);
    }

    for (i = 1; i < 500; i += 2) {
        (void) unit_delete(st, i, 1000 + i);
    }

    ngx_apikeys_store_set_applied(st, 12345);

    ok(ngx_memcmp(before, &head->complete, sizeof(before)) == 0,
       "a load and changes do not write to this line");

    (void) unit_load_sweep(st, load);

    unit_store_free(st);
}


int
main(void)
{
    unit_start();

    test_configuration();
    test_objects();
    test_versions();
    test_loads();
    test_members();
    test_public_keys();
    test_full();
    test_lists();
    test_match();
    test_readers();
    test_lock();
    test_lease();
    test_reload();
    test_resize();
    test_read_only();
    test_lines();

    return tap_end();
}
