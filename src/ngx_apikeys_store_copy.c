
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A new zone is filled from the zone of the old cycle: on a reload that
 * changes its size, in the master, before the new workers are there.
 *
 * The old workers go on publishing meanwhile.  So the cursor is read first:
 * what the copy misses lies behind it in the feed, and the new syncer goes
 * on from there.  Records are copied with their versions and tombstones, as
 * what arrives then is compared with them.
 *
 * An incomplete zone is copied, too: the new syncer finds in the copy what
 * the next one of the old zone would find there.  The keys that it has are
 * decided, all others get 503 until a load, which begins with the first
 * round.  A record of another database is copied as one, and only if it is
 * served.
 *
 * Writers of the old zone change records in place, the state first and then
 * version and load.  These are read in the opposite order: a record that is
 * copied as live never has the version of the change that it lacks.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/crypto.h>

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
    ngx_apikeys_store_record_t *draft);
static uint32_t ngx_apikeys_store_copy_body(ngx_apikeys_store_t *st,
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

    /* without the mutex: what is first published now may be left behind */

    if (!ngx_apikeys_store_complete(old)
        && sh->counts.keys == 0 && sh->counts.orgs == 0
        && sh->counts.projects == 0)
    {
        return NGX_DECLINED;
    }

    /* the master does not read otherwise; without workers the process does */

    own = (old->slot == NULL);

    if (own && ngx_apikeys_store_init_process(old, st->log) != NGX_OK) {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;

    if (ngx_apikeys_store_lock(st) == NGX_OK) {
        ngx_apikeys_store_enter(old);
        ngx_apikeys_store_copy_zone(st, old);
        ngx_apikeys_store_leave(old);
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
    uint64_t                   epoch;
    ngx_uint_t                 complete;
    ngx_apikeys_store_head_t  *sh, *osh;

    sh = st->head;
    osh = old->head;

    epoch = ngx_apikeys_store_epoch(old);

    sh->db_epoch = epoch;
    sh->fresh = ngx_apikeys_store_load(&osh->fresh);

    /* records of another database have the load before */

    sh->load = 2;
    sh->epoch_load = 2;

    ngx_apikeys_store_lines_inherit(st, old);
    ngx_apikeys_store_copy_cursor(st, old);

    /* what was lost later is behind the cursor */

    sh->failed = ngx_apikeys_store_load(&osh->failed);
    complete = ngx_apikeys_store_complete(old);

    ngx_apikeys_store_copy_records(st, old);

    if (ngx_apikeys_store_epoch(old) != epoch) {

        /* of which database each record is cannot be told: as if of another */

        (void) ngx_apikeys_store_load_begin_locked(st, 1);

    } else if (complete && ngx_apikeys_store_complete(old)
               && !sh->load_failed)
    {
        ngx_apikeys_store_set(&sh->complete, 1);
    }

    ngx_memcpy(osh->heir, sh->instance, NGX_APIKEYS_STORE_UUID_LEN);
    ngx_apikeys_store_set(&osh->inherited, 1);
}


/* without one, and where it has no snapshot, the new syncer begins to load */

static void
ngx_apikeys_store_copy_cursor(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old)
{
    uint64_t                   n;
    ngx_apikeys_store_head_t  *sh, *osh;

    sh = st->head;
    osh = old->head;

    do {
        n = ngx_apikeys_store_load(&osh->cursor);

        if (!(n & 1)) {
            return;
        }

        sh->cursors[(n >> 1) & 1] = osh->cursors[(n >> 1) & 1];

        __atomic_thread_fence(__ATOMIC_ACQUIRE);

        /* another one may have been written over it */

    } while (ngx_apikeys_store_load(&osh->cursor) != n);

    ngx_apikeys_store_set(&sh->cursor, n);
}


static void
ngx_apikeys_store_copy_records(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old)
{
    uint32_t                     i, n;
    ngx_apikeys_store_record_t  *rec;

    for (n = 0; n < old->head->nids; n++) {

        i = ngx_apikeys_store_load(&old->ids[n]);

        while (i) {
            rec = ngx_apikeys_store_record(old, i);

            ngx_apikeys_store_copy_record(st, old, rec);

            i = ngx_apikeys_store_load(&rec->next_id);
        }
    }
}


static void
ngx_apikeys_store_copy_record(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old, ngx_apikeys_store_record_t *rec)
{
    ngx_apikeys_store_record_t  draft;

    ngx_memzero(&draft, sizeof(ngx_apikeys_store_record_t));

    draft.load = st->head->load;

    if (ngx_apikeys_store_load(&rec->load)
        < ngx_apikeys_store_load(&old->head->epoch_load))
    {
        draft.load--;
    }

    draft.version = ngx_apikeys_store_load(&rec->version);
    draft.flags = ngx_apikeys_store_load(&rec->flags);
    draft.state = ngx_apikeys_store_load(&rec->state);
    draft.kind = rec->kind;
    draft.id = rec->id;
    draft.org = rec->org;

    ngx_memcpy(draft.public_key, rec->public_key,
               NGX_APIKEYS_PUBLIC_KEY_LEN);

    ngx_apikeys_store_lines_copy(st, old, &draft);

    /* what another database had is compared with nothing */

    if (draft.state == NGX_APIKEYS_STORE_LIVE
        || draft.load == st->head->load)
    {
        ngx_apikeys_store_copy_insert(st, old, rec, &draft);
    }
}


static void
ngx_apikeys_store_copy_insert(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old, ngx_apikeys_store_record_t *rec,
    ngx_apikeys_store_record_t *draft)
{
    uint32_t                   cells, *link;
    uint64_t                   version;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;
    link = ngx_apikeys_store_write_find(st, draft->kind, &draft->id);

    if (*link) {
        return;
    }

    /* the body of another one is not read, and may be on its way out */

    cells = 1;

    if (draft->state == NGX_APIKEYS_STORE_LIVE) {
        cells += ngx_apikeys_store_retire_body_cells(old, rec);
    }

    sh->load_cells += cells;

    if (cells > 1 && ngx_apikeys_store_room(st, NULL, cells) != NGX_OK) {

        /* nobody reads here yet: it is not NGX_AGAIN */

        draft->state = NGX_APIKEYS_STORE_INVALID;
        draft->flags |= NGX_APIKEYS_STORE_STUB;

        ngx_apikeys_store_room_refused(st, &draft->id, cells);
        cells = 1;
    }

    if (st->arena.sh->nfree < cells) {
        version = draft->version + (draft->state == NGX_APIKEYS_STORE_DELETED);

        (void) ngx_apikeys_store_write_full(st, NULL,
                                 (draft->load == sh->load) ? version : 0);
        return;
    }

    if (cells > 1) {
        draft->body = ngx_apikeys_store_copy_body(st, old, rec);
    }

    ngx_apikeys_store_room_kept(st, cells);

    ngx_apikeys_store_write_insert(st, link, draft, 0);
}


static uint32_t
ngx_apikeys_store_copy_body(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old, ngx_apikeys_store_record_t *rec)
{
    uint32_t                   i, body, leaves;
    ngx_apikeys_store_body_t  *b, *from;

    body = ngx_apikeys_arena_alloc(&st->arena);

    b = (ngx_apikeys_store_body_t *) &st->arena.cells[body];
    from = ngx_apikeys_store_body(old, rec);

    *b = *from;

    leaves = ngx_apikeys_store_body_leaves(from);

    if (leaves == 0) {
        return body;
    }

    /* leaves hold no indices of cells */

    b->list = ngx_apikeys_arena_list_create(&st->arena, leaves);

    for (i = 0; i < leaves; i++) {
        ngx_memcpy(ngx_apikeys_arena_list_leaf(&st->arena, b->list, b->bits,
                                               i),
                   ngx_apikeys_arena_list_leaf(&old->arena, from->list,
                                               from->bits, i),
                   NGX_APIKEYS_ARENA_CELL);
    }

    return body;
}
