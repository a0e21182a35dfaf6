
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * For the tests of the store: a cycle with a real shared memory zone, made
 * as ngx_init_cycle() makes it, objects to publish, and a checker that looks
 * at the whole zone from outside.
 */


#ifndef _UNIT_H_INCLUDED_
#define _UNIT_H_INCLUDED_


#include "tap.h"

#include <ngx_apikeys_clock.h>
#include <ngx_apikeys_store_int.h>

#include <sys/wait.h>


#define UNIT_ENTRIES  10000


static ngx_str_t                  unit_name = ngx_string("copy");
static ngx_apikeys_cidr_t         unit_entries[UNIT_ENTRIES];
static uint32_t                   unit_ends[UNIT_ENTRIES];
static ngx_apikeys_store_grant_t  unit_grants[UNIT_ENTRIES];


static void __attribute__((unused))
unit_start(void)
{
    tap_start();

    for (ngx_pagesize_shift = 0; ngx_pagesize >> (ngx_pagesize_shift + 1);
         ngx_pagesize_shift++)
    {
        /* void */
    }

    ngx_slab_sizes_init();
}


static ngx_cycle_t * __attribute__((unused))
unit_cycle(ngx_cycle_t *old)
{
    ngx_cycle_t  *cycle;

    cycle = ngx_pcalloc(tap_cycle.pool, sizeof(ngx_cycle_t));

    cycle->pool = tap_cycle.pool;
    cycle->log = &tap_log;
    cycle->new_log = tap_log;
    cycle->old_cycle = old;

    (void) ngx_list_init(&cycle->shared_memory, cycle->pool, 1,
                         sizeof(ngx_shm_zone_t));

    return cycle;
}


/* the configuration's part; NULL: refused, see tap_message */

static ngx_apikeys_store_t * __attribute__((unused))
unit_configure(ngx_cycle_t *cycle, size_t size, size_t nonces,
    u_char fingerprint)
{
    u_char                print[32];
    ngx_conf_t            cf;
    ngx_apikeys_store_t  *st;

    ngx_memzero(&cf, sizeof(ngx_conf_t));

    cf.cycle = cycle;
    cf.pool = cycle->pool;
    cf.log = &tap_log;

    st = ngx_apikeys_store_create(&cf, &unit_name, size, &unit_name, nonces);

    if (st) {
        ngx_memset(print, fingerprint, sizeof(print));
        ngx_apikeys_store_set_fingerprint(st, print);
    }

    return st;
}


/* what ngx_init_cycle() does with the zone */

static ngx_int_t __attribute__((unused))
unit_zone(ngx_apikeys_store_t *st, ngx_apikeys_store_t *old)
{
    ngx_shm_zone_t   *zone;
    ngx_slab_pool_t  *sp;

    zone = st->shm_zone;
    zone->shm.log = &tap_log;

    if (old && old->shm_zone->shm.size == zone->shm.size && !zone->noreuse) {
        zone->shm.addr = old->shm_zone->shm.addr;
        return zone->init(zone, old);
    }

    if (ngx_shm_alloc(&zone->shm) != NGX_OK) {
        return NGX_ERROR;
    }

    sp = (ngx_slab_pool_t *) zone->shm.addr;
    sp->end = zone->shm.addr + zone->shm.size;
    sp->min_shift = 3;
    sp->addr = zone->shm.addr;

    if (ngx_shmtx_create(&sp->mutex, &sp->lock, NULL) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_slab_init(sp);

    return zone->init(zone, NULL);
}


/* a zone that this process may read */

static ngx_apikeys_store_t * __attribute__((unused))
unit_store(size_t size)
{
    ngx_apikeys_store_t  *st;

    st = unit_configure(unit_cycle(NULL), size, 4096, 1);

    if (st == NULL
        || unit_zone(st, NULL) != NGX_OK
        || ngx_apikeys_store_init_process(st, &tap_log) != NGX_OK)
    {
        printf("Bail out! %s\n", tap_message);
        exit(2);
    }

    return st;
}


static void __attribute__((unused))
unit_store_free(ngx_apikeys_store_t *st)
{
    ngx_apikeys_store_exit_process(st);
    ngx_shm_free(&st->shm_zone->shm);
}


/* a child takes a pid and a reader slot of its own */

static ngx_pid_t __attribute__((unused))
unit_fork(ngx_apikeys_store_t *st, ngx_int_t slot)
{
    ngx_pid_t  pid;

    fflush(stdout);

    pid = fork();

    if (pid == 0) {
        ngx_pid = ngx_getpid();
        ngx_process_slot = slot;

        if (ngx_apikeys_store_init_process(st, &tap_log) != NGX_OK) {
            _exit(99);
        }
    }

    return pid;
}


static int __attribute__((unused))
unit_wait(ngx_pid_t pid)
{
    int  status;

    while (waitpid(pid, &status, 0) == -1) {
        if (ngx_errno != NGX_EINTR) {
            return -1;
        }
    }

    return status;
}


static uint64_t
unit_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;

    return x ^ (x >> 31);
}


static ngx_apikeys_objectid_t
unit_id(uint64_t n)
{
    uint64_t                word[2];
    ngx_apikeys_objectid_t  id;

    word[0] = n;
    word[1] = unit_mix(n);

    ngx_memcpy(id.data, word, sizeof(id.data));

    return id;
}


/* eight letters that differ for each n */

static void
unit_public_key(u_char *p, uint64_t n)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_APIKEYS_PUBLIC_KEY_LEN; i++) {
        p[i] = (u_char) ('a' + n % 26);
        n /= 26;
    }
}


/*
 * unit_key() sets each member to a value that is not zero (but the two flags of
 * a key without a detail), unit_key_wrong() and unit_key_differs() compare it.
 */
ngx_apikeys_store_key_members(21);


/* the tests count cells of the other keys */
#define unit_has_older(nentries, ngrants)  ((nentries) > 1 && (ngrants) > 1)


/*
 * Key n at a version: all members follow from the two numbers, so a key that
 * was found can be compared with what it must have.
 */

static ngx_apikeys_store_key_t
unit_key(uint64_t n, uint64_t version, ngx_uint_t nentries,
    ngx_uint_t ngrants)
{
    uint32_t                 addr;
    uint64_t                 word;
    ngx_uint_t               i;
    ngx_apikeys_store_key_t  key;

    ngx_memzero(&key, sizeof(ngx_apikeys_store_key_t));

    word = unit_mix(n * 1000003 + version);

    key.id = unit_id(n);
    key.org = unit_id(word);
    key.version = version;
    key.roles = (uint32_t) word;
    key.expires = (uint32_t) word | 1;
    key.disabled = 1;
    key.nentries = nentries;
    key.entries = unit_entries;
    key.ngrants = ngrants;
    key.grants = unit_grants;

    unit_public_key(key.public_key, n);
    ngx_memcpy(key.line, "line", NGX_APIKEYS_SEAL_LINE_LEN);

    for (i = 0; i < sizeof(ngx_apikeys_secret_t); i++) {
        ((u_char *) &key.secret)[i] = (u_char) (word >> (i % 8 * 8));
    }

    /* every second key has the secret that was made with it */

    key.secret_id = (n % 2) ? unit_id(word + 1) : key.id;
    key.secret_expires = (uint32_t) word | 2;

    if (unit_has_older(nentries, ngrants)) {
        key.older_id = unit_id(word + 2);
        key.older_expires = (uint32_t) word | 4;

        for (i = 0; i < sizeof(ngx_apikeys_secret_t); i++) {
            ((u_char *) &key.older)[i] = (u_char) (word >> (i % 8 * 8)) + 1;
        }
    }

    for (i = 0; i < nentries; i++) {
        addr = htonl((uint32_t) (((word & 0xffff) << 16) + i * 4));

        ngx_memzero(&unit_entries[i], sizeof(ngx_apikeys_cidr_t));
        ngx_memcpy(unit_entries[i].addr, &addr, 4);
        unit_entries[i].family = 4;
        unit_entries[i].prefix = 30;

        /* in the far future, or never */

        unit_ends[i] = (i % 3) ? 0xf0000000 + (uint32_t) (word + i) % 1000 : 0;
    }

    if (unit_has_older(nentries, ngrants)) {
        key.ends = unit_ends;
    }

    for (i = 0; i < ngrants; i++) {
        ngx_memzero(&unit_grants[i].id, sizeof(ngx_apikeys_objectid_t));
        unit_grants[i].id.data[0] = (u_char) (i >> 8);
        unit_grants[i].id.data[1] = (u_char) i;
        ngx_memcpy(&unit_grants[i].id.data[2], &word, 8);
        unit_grants[i].roles = (uint32_t) (word + i);
    }

    return key;
}


/* what is wrong with a found key of unit_key(), or NULL */

static const char * __attribute__((unused))
unit_key_wrong(ngx_apikeys_store_t *st, ngx_apikeys_store_ref_t *ref,
    uint64_t n)
{
    uint32_t                   net;
    uint64_t                   word;
    ngx_uint_t                 i;
    ngx_apikeys_cidr_t         addr, entry;
    ngx_apikeys_secret_t       secret;
    ngx_apikeys_objectid_t     id;
    ngx_apikeys_store_ref_t    older;
    ngx_apikeys_store_grant_t  grant;

    word = unit_mix(n * 1000003 + ref->version);
    id = unit_id(n);

    if (memcmp(ref->id, &id, sizeof(id)) != 0) {
        return "id";
    }

    id = unit_id(word);

    if (memcmp(ref->org, &id, sizeof(id)) != 0) {
        return "org";
    }

    if (ref->public_key == NULL) {
        return "public key";
    }

    if (ref->roles != (uint32_t) word) {
        return "roles";
    }

    if (ref->expires != ((uint32_t) word | 1)) {
        return "expires";
    }

    if (ref->disabled != 1) {
        return "disabled";
    }

    ngx_memcpy(secret.plain, ref->plain, sizeof(secret.plain));
    secret.ha1s = *ref->ha1s;

    for (i = 0; i < sizeof(ngx_apikeys_secret_t); i++) {
        if (((u_char *) &secret)[i] != (u_char) (word >> (i % 8 * 8))) {
            return "secret";
        }
    }

    id = (n % 2) ? unit_id(word + 1) : unit_id(n);

    if (memcmp(ref->secret_id, &id, sizeof(id)) != 0) {
        return "secret_id";
    }

    if (ref->secret_expires != ((uint32_t) word | 2)) {
        return "secret_expires";
    }

    for (i = 0; i < ref->nentries; i++) {
        ngx_memzero(&addr, sizeof(addr));
        net = htonl((uint32_t) (((word & 0xffff) << 16) + i * 4 + i % 4));
        ngx_memcpy(addr.addr, &net, 4);
        addr.family = 4;
        addr.prefix = 32;

        if (ngx_apikeys_store_match(st, ref, &addr, &entry) != NGX_OK
            || entry.prefix != 30
            || (entry.addr[3] & 3) != 0
            || !ngx_apikeys_cidr_contains(&entry, &addr))
        {
            return "entry";
        }
    }

    for (i = 0; i < ref->ngrants; i++) {
        ngx_apikeys_store_grant_at(st, ref, i, &grant);

        if (grant.roles != (uint32_t) (word + i)
            || ngx_apikeys_store_grant(st, ref, &grant.id) != grant.roles)
        {
            return "grant";
        }
    }

    if (!unit_has_older(ref->nentries, ref->ngrants)) {
        return ngx_apikeys_store_older(st, ref, &older) == NGX_DECLINED
               ? NULL : "older";
    }

    if (ngx_apikeys_store_older(st, ref, &older) != NGX_OK
        || older.has_older
        || older.detail != ref->detail)
    {
        return "older";
    }

    ngx_memcpy(secret.plain, older.plain, sizeof(secret.plain));
    secret.ha1s = *older.ha1s;

    for (i = 0; i < sizeof(ngx_apikeys_secret_t); i++) {
        if (((u_char *) &secret)[i]
            != (u_char) ((u_char) (word >> (i % 8 * 8)) + 1))
        {
            return "older";
        }
    }

    id = unit_id(word + 2);

    if (memcmp(older.secret_id, &id, sizeof(id)) != 0) {
        return "older_id";
    }

    if (older.secret_expires != ((uint32_t) word | 4)) {
        return "older_expires";
    }

    return NULL;
}


/* the first member in which two keys differ, or NULL */

static __attribute__((unused)) const char *
unit_key_differs(const ngx_apikeys_store_key_t *a,
    const ngx_apikeys_store_key_t *b)
{
    ngx_uint_t  i;

#define unit_member(member)                                                  \
    if (memcmp(&a->member, &b->member, sizeof(a->member)) != 0) {            \
        return #member;                                                      \
    }

    unit_member(id);
    unit_member(org);
    unit_member(public_key);
    unit_member(version);
    unit_member(secret);
    unit_member(line);
    unit_member(roles);
    unit_member(expires);
    unit_member(disabled);
    unit_member(secret_id);
    unit_member(secret_expires);
    unit_member(older_id);
    unit_member(older_expires);
    unit_member(older);
    unit_member(ngrants);
    unit_member(nentries);

#undef unit_member

    if (!a->unreadable != !b->unreadable) {
        return "unreadable";
    }

    if (!a->stub != !b->stub) {
        return "stub";
    }

    for (i = 0; i < a->ngrants; i++) {
        if (memcmp(&a->grants[i].id, &b->grants[i].id,
                   sizeof(ngx_apikeys_objectid_t))
            != 0
            || a->grants[i].roles != b->grants[i].roles)
        {
            return "grants";
        }
    }

    for (i = 0; i < a->nentries; i++) {
        if (memcmp(&a->entries[i], &b->entries[i], sizeof(ngx_apikeys_cidr_t))
            != 0)
        {
            return "entries";
        }
    }

    if (!a->ends != !b->ends
        || (a->ends && memcmp(a->ends, b->ends, a->nentries * sizeof(uint32_t))
                       != 0))
    {
        return "ends";
    }

    return NULL;
}


static ngx_int_t __attribute__((unused))
unit_find(ngx_apikeys_store_t *st, uint64_t n, ngx_apikeys_store_ref_t *ref)
{
    u_char     letters[NGX_APIKEYS_PUBLIC_KEY_LEN];
    ngx_str_t  name;

    unit_public_key(letters, n);

    name.len = sizeof(letters);
    name.data = letters;

    return ngx_apikeys_store_key(st, &name, ref);
}


/* the same in a section of its own; the version, or the return code */

static int64_t __attribute__((unused))
unit_version(ngx_apikeys_store_t *st, uint64_t n)
{
    int64_t                  rc;
    ngx_apikeys_store_ref_t  ref;

    ngx_apikeys_store_read_begin(st);

    rc = unit_find(st, n, &ref);

    if (rc == NGX_OK) {
        rc = unit_key_wrong(st, &ref, n) ? -100 : (int64_t) ref.version;
    }

    ngx_apikeys_store_read_end(st);

    return rc;
}


static ngx_int_t __attribute__((unused))
unit_publish(ngx_apikeys_store_t *st, uint64_t n, uint64_t version,
    ngx_uint_t nentries, ngx_uint_t ngrants, uint32_t load)
{
    ngx_int_t                rc;
    ngx_apikeys_store_key_t  key;

    key = unit_key(n, version, nentries, ngrants);

    if (ngx_apikeys_store_lock(st) != NGX_OK) {
        return NGX_BUSY;
    }

    rc = ngx_apikeys_store_publish_key_locked(st, &key, load);

    ngx_apikeys_store_unlock(st);

    return rc;
}


static ngx_int_t __attribute__((unused))
unit_delete(ngx_apikeys_store_t *st, uint64_t n, uint64_t version)
{
    ngx_int_t               rc;
    ngx_apikeys_objectid_t  id;

    id = unit_id(n);

    if (ngx_apikeys_store_lock(st) != NGX_OK) {
        return NGX_BUSY;
    }

    rc = ngx_apikeys_store_delete_locked(st, NGX_APIKEYS_STORE_KEY, &id,
                                         version);
    ngx_apikeys_store_unlock(st);

    return rc;
}


static uint32_t __attribute__((unused))
unit_load_begin(ngx_apikeys_store_t *st, ngx_uint_t new_database)
{
    uint32_t  load;

    (void) ngx_apikeys_store_lock(st);
    load = ngx_apikeys_store_load_begin_locked(st, new_database);
    ngx_apikeys_store_unlock(st);

    return load;
}


static ngx_int_t __attribute__((unused))
unit_load_sweep(ngx_apikeys_store_t *st, uint32_t load)
{
    ngx_int_t  rc;

    do {
        (void) ngx_apikeys_store_lock(st);
        rc = ngx_apikeys_store_load_sweep_locked(st, load);
        ngx_apikeys_store_unlock(st);
    } while (rc == NGX_AGAIN);

    return rc;
}


static uint64_t *unit_seen;


static void
unit_see(ngx_apikeys_arena_t *a, uint32_t cell)
{
    unit_seen[cell / 64] |= (uint64_t) 1 << (cell % 64);
}


/*
 * With no reader inside: everything retired becomes free, and then what is
 * in use is what can be reached, the two kinds of chains agree and so do the
 * figures.  Returns the number of faults, each printed.
 */

static ngx_uint_t __attribute__((unused))
unit_check(ngx_apikeys_store_t *st)
{
    uint32_t                     i, n, w, words, named, linked;
    uint64_t                     used, nfree;
    ngx_uint_t                   faults;
    ngx_apikeys_store_head_t    *sh;
    ngx_apikeys_store_counts_t   counts;
    ngx_apikeys_store_record_t  *rec;

    sh = st->head;
    faults = 0;

#define unit_fault(condition, ...)                                           \
    if (condition) {                                                         \
        faults++;                                                            \
        printf("# fault: " __VA_ARGS__);                                     \
        printf("\n");                                                        \
    }

    if (ngx_apikeys_store_lock(st) != NGX_OK) {
        printf("# fault: the lock is stuck\n");
        return 1;
    }

    /* the figures again, from the records */

    counts = sh->counts;
    ngx_memzero(&sh->counts, sizeof(sh->counts));

    for (n = 0;
         n < 100000 && (sh->retired || sh->closing || sh->unreachable);
         n++)
    {
        ngx_apikeys_store_reclaim_locked(st, 64);
    }

    unit_fault(sh->retired || sh->closing || sh->unreachable || sh->nretired,
               "retired %u waiting %u lost %u cells %u", sh->retired,
               sh->closing, sh->unreachable, sh->nretired);

    words = ngx_apikeys_arena_words(sh->arena.ncells);
    unit_seen = calloc(words, sizeof(uint64_t));
    named = 0;

    for (n = 0; n < sh->nids; n++) {
        for (i = st->ids[n]; i; i = rec->next_id) {
            rec = ngx_apikeys_store_record(st, i);

            unit_fault(unit_seen[i / 64] & ((uint64_t) 1 << (i % 64)),
                       "record %u is reached twice", i);
            unit_fault(rec->reclaim, "record %u is pending", i);

            unit_see(&st->arena, i);
            ngx_apikeys_store_write_count(st, rec, 1);

            if (rec->detail) {
                unit_fault(rec->state == NGX_APIKEYS_STORE_DELETED,
                           "a tombstone has a body");
                ngx_apikeys_store_retire_visit_detail(st, rec->detail,
                                                      unit_see);
            }

            if (rec->kind == NGX_APIKEYS_STORE_KEY
                && rec->state != NGX_APIKEYS_STORE_DELETED
                && !(rec->flags & NGX_APIKEYS_STORE_DETACHED))
            {
                named++;
            }
        }
    }

    linked = 0;

    for (n = 0; n < sh->nkeys; n++) {
        for (i = st->keys[n]; i; i = rec->next_key) {
            rec = ngx_apikeys_store_record(st, i);
            linked++;

            unit_fault(*ngx_apikeys_store_write_find(st, rec->kind, &rec->id)
                       != i, "record %u has a name but no id", i);
            unit_fault(rec->state == NGX_APIKEYS_STORE_DELETED,
                       "a tombstone has a name");

            if (linked > sh->arena.ncells) {
                break;
            }
        }
    }

    unit_fault(named != linked, "%u keys to be linked, %u are", named,
               linked);

    unit_seen[0] |= 1;

    if (sh->arena.ncells % 64) {
        unit_seen[words - 1] |= ~(uint64_t) 0 << (sh->arena.ncells % 64);
    }

    used = 0;
    nfree = 0;

    for (w = 0; w < words; w++) {
        used += __builtin_popcountll(st->arena.used[w] ^ unit_seen[w]);
        nfree += __builtin_popcountll(~st->arena.used[w]);
    }

    unit_fault(used, "%lu cells are lost or used while free",
               (unsigned long) used);
    unit_fault(nfree != sh->arena.nfree, "%lu cells free, not %u",
               (unsigned long) nfree, sh->arena.nfree);
    unit_fault(memcmp(&counts, &sh->counts, sizeof(counts)) != 0,
               "figures: keys %lu %lu invalid %lu %lu tombstones %lu %lu",
               (unsigned long) counts.keys, (unsigned long) sh->counts.keys,
               (unsigned long) counts.invalid,
               (unsigned long) sh->counts.invalid,
               (unsigned long) counts.tombstones,
               (unsigned long) sh->counts.tombstones);

#undef unit_fault

    free(unit_seen);

    ngx_apikeys_store_unlock(st);

    return faults;
}


#endif /* _UNIT_H_INCLUDED_ */
