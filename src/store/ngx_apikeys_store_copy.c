
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Fills a new zone from the zone of the old cycle (its successor): on a reload
 * that changes the size, in the master, before the new workers start.
 *
 * The old workers go on publishing meanwhile.  So the cursor is copied first:
 * changes that the copy misses follow it in the feed, and the leader of the
 * new zone continues there.  Versions and tombstones are copied, too, as
 * those changes are compared with them.
 *
 * The new zone decides requests before the database knows it, and a receipt
 * must not count the old zone alone meanwhile.  Therefore the old zone stores
 * the uuid of its successor before the cursor is copied, and its leader
 * reports that uuid with each later heartbeat (apikeys.heartbeat()).
 *
 * An incomplete zone is copied, too: the keys in it are decided, all others
 * get 503 until the load that the first round begins.  A record of another
 * database is marked as such, and copied only if it is live.
 *
 * Writers of the old zone change records in place: state first, then version
 * and load_number.  The copy reads them in the opposite order, so a record
 * copied as live never has the version of a change that it lacks.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/crypto.h>

#include <ngx_apikeys_clock.h>
#include <ngx_apikeys_store_int.h>


static void ngx_apikeys_store_copy_zone(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old);
static void ngx_apikeys_store_copy_cursor(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old);
static void ngx_apikeys_store_copy_records(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old);
static void ngx_apikeys_store_copy_record(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old, ngx_apikeys_store_record_t *rec);
static void ngx_apikeys_store_copy_insert(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old, ngx_apikeys_store_record_t *rec,
    ngx_apikeys_store_record_t *copy);
static uint32_t ngx_apikeys_store_copy_detail(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old, ngx_apikeys_store_record_t *rec);


ngx_int_t
ngx_apikeys_store_copy(ngx_apikeys_store_t *st, ngx_apikeys_store_t *old)
{
    ngx_int_t                  rc;
    ngx_uint_t                 own;
    ngx_apikeys_store_head_t  *sh;

    sh = old->head;

    if (sh->layout != NGX_APIKEYS_STORE_LAYOUT
        || CRYPTO_memcmp(sh->fingerprint, st->fingerprint,
                         sizeof(sh->fingerprint))
           != 0)
    {
        return NGX_DECLINED;
    }

    /* without the mutex: an object published just now may be missed */

    if (!ngx_apikeys_store_complete(old)
        && sh->counts.keys == 0 && sh->counts.orgs == 0
        && sh->counts.projects == 0)
    {
        return NGX_DECLINED;
    }

    /*
     * The master has no reader slot yet; in single-process mode this process
     * has one.
     */

    own = (old->slot == NULL);

    if (own && ngx_apikeys_store_init_process(old, st->log) != NGX_OK) {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;

    if (ngx_apikeys_store_lock(st) == NGX_OK) {
        ngx_apikeys_store_read_begin(old);
        ngx_apikeys_store_copy_zone(st, old);
        ngx_apikeys_store_read_end(old);
        ngx_apikeys_store_unlock(st);

        rc = NGX_OK;
    }

    if (own) {
        ngx_apikeys_store_exit_process(old);
    }

    return rc;
}


static void
ngx_apikeys_store_copy_zone(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old)
{
    uint64_t                   generation;
    ngx_uint_t                 complete;
    ngx_apikeys_store_head_t  *sh, *osh;

    sh = st->head;
    osh = old->head;

    generation = ngx_apikeys_store_generation(old);

    sh->generation = generation;
    sh->fresh_at = ngx_apikeys_atomic_load(&osh->fresh_at);

    /* records of another database get load_number 1 */

    sh->load_number = 2;
    sh->generation_first_load = 2;

    ngx_apikeys_store_lines_copy_settings(st, old);

    ngx_memcpy(osh->successor, sh->instance, NGX_APIKEYS_UUID_TEXT_LEN);
    ngx_apikeys_atomic_store(&osh->successor_at, ngx_apikeys_clock_boot_ms());

    /*
     * The old leader sets the cursor, then reads the successor: either it
     * finds this zone, or that cursor is the one copied below.
     */

    __atomic_thread_fence(__ATOMIC_SEQ_CST);

    ngx_apikeys_store_copy_cursor(st, old);

    /* versions refused later follow the cursor in the feed */

    sh->failed_version = ngx_apikeys_atomic_load(&osh->failed_version);
    complete = ngx_apikeys_store_complete(old);

    ngx_apikeys_store_copy_records(st, old);

    if (ngx_apikeys_store_generation(old) != generation) {

        /* a mixture of two databases: treat all records as of another one */

        (void) ngx_apikeys_store_load_begin_locked(st, 1);

    } else if (complete && ngx_apikeys_store_complete(old)
               && !sh->load_failed)
    {
        ngx_apikeys_atomic_store(&sh->complete, 1);
    }
}


/* without a cursor, or a pg_snapshot in it, the new leader loads everything */

static void
ngx_apikeys_store_copy_cursor(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old)
{
    uint64_t                   n;
    ngx_apikeys_store_head_t  *sh, *osh;

    sh = st->head;
    osh = old->head;

    do {
        n = ngx_apikeys_atomic_load(&osh->cursor);

        if (!(n & 1)) {
            return;
        }

        sh->cursors[(n >> 1) & 1] = osh->cursors[(n >> 1) & 1];

        __atomic_thread_fence(__ATOMIC_ACQUIRE);

        /* repeat if it was overwritten meanwhile */

    } while (ngx_apikeys_atomic_load(&osh->cursor) != n);

    ngx_apikeys_atomic_store(&sh->cursor, n);
}


static void
ngx_apikeys_store_copy_records(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old)
{
    uint32_t                     i, n;
    ngx_apikeys_store_record_t  *rec;

    for (n = 0; n < old->head->nids; n++) {

        i = ngx_apikeys_atomic_load(&old->ids[n]);

        while (i) {
            rec = ngx_apikeys_store_record(old, i);

            ngx_apikeys_store_copy_record(st, old, rec);

            i = ngx_apikeys_atomic_load(&rec->next_id);
        }
    }
}


static void
ngx_apikeys_store_copy_record(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old, ngx_apikeys_store_record_t *rec)
{
    ngx_apikeys_store_record_t  copy;

    ngx_memzero(&copy, sizeof(ngx_apikeys_store_record_t));

    copy.load_number = st->head->load_number;

    if (ngx_apikeys_atomic_load(&rec->load_number)
        < ngx_apikeys_atomic_load(&old->head->generation_first_load))
    {
        copy.load_number--;
    }

    copy.version = ngx_apikeys_atomic_load(&rec->version);
    copy.flags = ngx_apikeys_atomic_load(&rec->flags);
    copy.state = ngx_apikeys_atomic_load(&rec->state);
    copy.kind = rec->kind;
    copy.id = rec->id;
    copy.org = rec->org;

    ngx_memcpy(copy.public_key, rec->public_key,
               NGX_APIKEYS_PUBLIC_KEY_LEN);

    ngx_apikeys_store_lines_copy_record(st, old, &copy);

    /* versions and tombstones of another database are not needed */

    if (copy.state == NGX_APIKEYS_STORE_LIVE
        || copy.load_number == st->head->load_number)
    {
        ngx_apikeys_store_copy_insert(st, old, rec, &copy);
    }
}


static void
ngx_apikeys_store_copy_insert(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old, ngx_apikeys_store_record_t *rec,
    ngx_apikeys_store_record_t *copy)
{
    uint32_t                   cells, *link;
    uint64_t                   version;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;
    link = ngx_apikeys_store_write_find(st, copy->kind, &copy->id);

    if (*link) {
        return;
    }

    /* do not read the detail of other states: it may be freed at any time */

    cells = 1;

    if (copy->state == NGX_APIKEYS_STORE_LIVE) {
        cells += ngx_apikeys_store_retire_detail_cells(old, rec);
    }

    sh->load_cells += cells;

    if (cells > 1 && ngx_apikeys_store_room(st, NULL, cells) != NGX_OK) {

        /* not NGX_AGAIN: the new zone has no readers */

        copy->state = NGX_APIKEYS_STORE_INVALID;
        copy->flags |= NGX_APIKEYS_STORE_STUB;

        ngx_apikeys_store_room_refused(st, &copy->id, cells);
        cells = 1;
    }

    if (st->arena.sh->nfree < cells) {
        version = copy->version + (copy->state == NGX_APIKEYS_STORE_DELETED);

        (void) ngx_apikeys_store_write_full(st, NULL,
                         (copy->load_number == sh->load_number) ? version : 0);
        return;
    }

    if (cells > 1) {
        copy->detail = ngx_apikeys_store_copy_detail(st, old, rec);
    }

    ngx_apikeys_store_room_stored(st, cells);

    ngx_apikeys_store_write_insert(st, link, copy, 0);
}


static uint32_t
ngx_apikeys_store_copy_detail(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old, ngx_apikeys_store_record_t *rec)
{
    uint32_t                     i, detail, leaves;
    ngx_apikeys_store_detail_t  *d, *from;

    detail = ngx_apikeys_arena_alloc(&st->arena);

    d = (ngx_apikeys_store_detail_t *) &st->arena.cells[detail];
    from = ngx_apikeys_store_detail(old, rec);

    *d = *from;

    d->ha1s = ngx_apikeys_arena_alloc(&st->arena);

    *ngx_apikeys_store_ha1s(st, d) = *ngx_apikeys_store_ha1s(old, from);

    leaves = ngx_apikeys_store_detail_leaves(from);

    if (leaves == 0) {
        return detail;
    }

    /* leaves contain no cell indexes and are copied as they are */

    d->tree = ngx_apikeys_arena_tree_create(&st->arena, leaves);

    for (i = 0; i < leaves; i++) {
        ngx_memcpy(ngx_apikeys_arena_tree_leaf(&st->arena, d->tree,
                                               d->tree_bits,
                                               i),
                   ngx_apikeys_arena_tree_leaf(&old->arena, from->tree,
                                               from->tree_bits, i),
                   NGX_APIKEYS_ARENA_CELL);
    }

    return detail;
}
