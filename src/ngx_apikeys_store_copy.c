
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
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/crypto.h>

#include <ngx_apikeys_store_int.h>


static ngx_int_t ngx_apikeys_store_copy_cursor(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old);
static ngx_int_t ngx_apikeys_store_copy_records(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old);
static ngx_int_t ngx_apikeys_store_copy_record(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old, ngx_apikeys_store_record_t *rec);
static uint32_t ngx_apikeys_store_copy_body(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old, ngx_apikeys_store_record_t *rec);


void
ngx_apikeys_store_copy(ngx_apikeys_store_t *st, ngx_apikeys_store_t *old)
{
    ngx_int_t                  rc;
    ngx_uint_t                 own;
    ngx_apikeys_store_head_t  *sh;

    sh = old->head;

    if (sh->layout != NGX_APIKEYS_STORE_LAYOUT
        || CRYPTO_memcmp(sh->fingerprint, st->fingerprint,
                         sizeof(sh->fingerprint))
           != 0
        || !ngx_apikeys_store_complete(old))
    {
        return;
    }

    /* the master does not read otherwise; without workers the process does */

    own = (old->slot == NULL);

    if (own && ngx_apikeys_store_init_process(old, st->log) != NGX_OK) {
        return;
    }

    if (ngx_apikeys_store_lock(st) == NGX_OK) {
        ngx_apikeys_store_enter(old);

        rc = ngx_apikeys_store_copy_cursor(st, old);

        if (rc == NGX_OK) {
            rc = ngx_apikeys_store_copy_records(st, old);
        }

        /* it may have lost something for want of space while we copied */

        if (rc == NGX_OK && ngx_apikeys_store_complete(old)) {
            ngx_memcpy(sh->heir, st->head->instance,
                       NGX_APIKEYS_STORE_UUID_LEN);
            ngx_apikeys_store_set(&sh->inherited, 1);

            ngx_apikeys_store_set(&st->head->complete, 1);
        }

        ngx_apikeys_store_leave(old);
        ngx_apikeys_store_unlock(st);
    }

    if (own) {
        ngx_apikeys_store_exit_process(old);
    }
}


static ngx_int_t
ngx_apikeys_store_copy_cursor(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old)
{
    uint64_t                   n;
    ngx_apikeys_store_head_t  *sh, *osh;

    sh = st->head;
    osh = old->head;

    sh->load = 1;
    sh->epoch_load = 1;
    sh->db_epoch = osh->db_epoch;

    ngx_apikeys_store_lines_copy(st, old);

    sh->fresh = ngx_apikeys_store_load(&osh->fresh);

    n = ngx_apikeys_store_load(&osh->cursor);

    if (!(n & 1)) {
        return NGX_DECLINED;
    }

    sh->cursors[(n >> 1) & 1] = osh->cursors[(n >> 1) & 1];

    __atomic_thread_fence(__ATOMIC_ACQUIRE);

    if (ngx_apikeys_store_load(&osh->cursor) != n) {

        /* may be torn; the new syncer will begin with a full load */

        return NGX_DECLINED;
    }

    ngx_apikeys_store_set(&sh->cursor, n);

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_store_copy_records(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old)
{
    uint32_t                     i, n;
    ngx_apikeys_store_record_t  *rec;

    for (n = 0; n < old->head->nids; n++) {

        i = ngx_apikeys_store_load(&old->ids[n]);

        while (i) {
            rec = ngx_apikeys_store_record(old, i);

            if (ngx_apikeys_store_copy_record(st, old, rec) != NGX_OK) {
                return NGX_ERROR;
            }

            i = ngx_apikeys_store_load(&rec->next_id);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_store_copy_record(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old, ngx_apikeys_store_record_t *rec)
{
    uint32_t                     cells, *link;
    ngx_apikeys_store_record_t   draft;

    ngx_memzero(&draft, sizeof(ngx_apikeys_store_record_t));

    draft.state = (u_char) ngx_apikeys_store_load(&rec->state);
    draft.kind = rec->kind;
    draft.flags = rec->flags;
    draft.id = rec->id;
    draft.org = rec->org;
    draft.version = ngx_apikeys_store_load(&rec->version);
    draft.load = st->head->load;

    ngx_memcpy(draft.public_key, rec->public_key,
               NGX_APIKEYS_PUBLIC_KEY_LEN);

    link = ngx_apikeys_store_write_find(st, rec->kind, &rec->id);

    if (*link) {
        return NGX_OK;
    }

    /* a tombstone's body may be on its way out */

    cells = 1;

    if (draft.state != NGX_APIKEYS_STORE_DELETED) {
        cells += ngx_apikeys_store_retire_body_cells(old, rec);
    }

    if (cells > 1 && ngx_apikeys_store_room(st, NULL, cells) != NGX_OK) {

        /* nobody reads here yet: it is not NGX_AGAIN */

        draft.state = NGX_APIKEYS_STORE_INVALID;
        draft.flags |= NGX_APIKEYS_STORE_STUB;

        ngx_apikeys_store_room_refused(st, &draft.id, cells);
        cells = 1;
    }

    if (st->arena.sh->nfree < cells) {
        st->full = 1;
        return NGX_ERROR;
    }

    if (cells > 1) {
        draft.body = ngx_apikeys_store_copy_body(st, old, rec);
    }

    ngx_apikeys_store_room_kept(st, cells);

    ngx_apikeys_store_write_insert(st, link, &draft, 0);

    return NGX_OK;
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
