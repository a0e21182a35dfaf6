
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Epoch-based reclamation: unlinked memory is freed when no reader can be
 * using it any more.
 *
 * Unlinked records are added to the list "retired".  When the list "closing"
 * is empty, "retired" becomes "closing", closing_epoch is set to the current
 * epoch, and the current epoch is incremented.  Once every live reader is
 * outside a section or in one that began in a later epoch, the records of
 * "closing" are freed, some at each lock.  A process that is stopped inside a
 * section delays both lists; a dead process does not.
 *
 * When a writer is killed both lists are dropped, and the repair finds their
 * cells.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


static void ngx_apikeys_store_retire_push(ngx_apikeys_store_t *st,
    uint32_t i, ngx_uint_t reclaim);
static ngx_uint_t ngx_apikeys_store_retire_epoch_passed(ngx_apikeys_store_t *st,
    uint64_t epoch);
static void ngx_apikeys_store_retire_free_detail(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec);


void
ngx_apikeys_store_retire_record(ngx_apikeys_store_t *st, uint32_t i)
{
    ngx_apikeys_store_record_t  *rec;

    rec = ngx_apikeys_store_record(st, i);

    if (rec->reclaim == NGX_APIKEYS_STORE_RECLAIM_DETAIL) {

        /*
         * Already queued to free its detail, possibly with an epoch before
         * this unlinking: it is queued again after that.
         */

        rec->reclaim = NGX_APIKEYS_STORE_RECLAIM_DETAIL_THEN_RECORD;
        return;
    }

    st->head->nretired += 1 + ngx_apikeys_store_retire_detail_cells(st, rec);

    ngx_apikeys_store_retire_push(st, i, NGX_APIKEYS_STORE_RECLAIM_RECORD);
}


void
ngx_apikeys_store_retire_detail(ngx_apikeys_store_t *st, uint32_t i)
{
    ngx_apikeys_store_record_t  *rec;

    rec = ngx_apikeys_store_record(st, i);

    if (rec->detail == 0) {
        return;
    }

    st->head->nretired += ngx_apikeys_store_retire_detail_cells(st, rec);

    ngx_apikeys_store_retire_push(st, i, NGX_APIKEYS_STORE_RECLAIM_DETAIL);
}


static void
ngx_apikeys_store_retire_push(ngx_apikeys_store_t *st, uint32_t i,
    ngx_uint_t reclaim)
{
    ngx_apikeys_store_record_t  *rec;

    rec = ngx_apikeys_store_record(st, i);

    rec->reclaim = (u_char) reclaim;
    rec->next_retired = st->head->retired;
    st->head->retired = i;
}


uint32_t
ngx_apikeys_store_retire_detail_cells(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec)
{
    ngx_apikeys_store_detail_t  *d;

    if (rec->detail == 0) {
        return 0;
    }

    d = ngx_apikeys_store_detail(st, rec);

    return 2 + ngx_apikeys_arena_tree_cells(ngx_apikeys_store_detail_leaves(d));
}


void
ngx_apikeys_store_retire_visit_detail(ngx_apikeys_store_t *st, uint32_t detail,
    ngx_apikeys_arena_visit_pt visit)
{
    ngx_apikeys_store_detail_t  *d;

    d = (ngx_apikeys_store_detail_t *) &st->arena.cells[detail];

    if (d->tree) {
        ngx_apikeys_arena_tree_visit(&st->arena, d->tree,
                                     ngx_apikeys_store_detail_leaves(d), visit);
    }

    visit(&st->arena, d->ha1s);
    visit(&st->arena, detail);
}


ngx_int_t
ngx_apikeys_store_retire_reserve(ngx_apikeys_store_t *st, uint32_t cells)
{
    ngx_uint_t  n;

    /*
     * Three passes: the closing list, the list retired so far, and records
     * queued again by the first two (DETAIL_THEN_RECORD).
     */

    for (n = 0; n < 3 && st->arena.sh->nfree < cells; n++) {
        ngx_apikeys_store_reclaim_locked(st, NGX_MAX_UINT32_VALUE);
    }

    return (st->arena.sh->nfree < cells) ? NGX_ERROR : NGX_OK;
}


void
ngx_apikeys_store_reclaim_locked(ngx_apikeys_store_t *st, ngx_uint_t n)
{
    uint32_t                     i;
    ngx_apikeys_store_head_t    *sh;
    ngx_apikeys_store_record_t  *rec;

    sh = st->head;

    if (sh->unreachable_epoch
        && ngx_apikeys_store_retire_epoch_passed(st, sh->unreachable_epoch))
    {
        ngx_apikeys_arena_sweep(&st->arena);

        sh->unreachable_epoch = 0;
        sh->unreachable = 0;
    }

    if (sh->closing == 0) {

        if (sh->retired == 0) {
            return;
        }

        sh->closing = sh->retired;
        sh->retired = 0;
        sh->closing_epoch = __atomic_fetch_add(&sh->reclaim_epoch, 1,
                                               __ATOMIC_SEQ_CST);
    }

    if (!ngx_apikeys_store_retire_epoch_passed(st, sh->closing_epoch)) {
        return;
    }

    while (sh->closing && n--) {
        i = sh->closing;
        rec = ngx_apikeys_store_record(st, i);

        sh->closing = rec->next_retired;

        switch (rec->reclaim) {

        case NGX_APIKEYS_STORE_RECLAIM_DETAIL:
            ngx_apikeys_store_retire_free_detail(st, rec);
            rec->reclaim = NGX_APIKEYS_STORE_RECLAIM_NONE;
            break;

        case NGX_APIKEYS_STORE_RECLAIM_DETAIL_THEN_RECORD:
            ngx_apikeys_store_retire_free_detail(st, rec);
            sh->nretired++;
            ngx_apikeys_store_retire_push(st, i,
                                          NGX_APIKEYS_STORE_RECLAIM_RECORD);
            break;

        default: /* NGX_APIKEYS_STORE_RECLAIM_RECORD */
            ngx_apikeys_store_retire_free_detail(st, rec);
            ngx_apikeys_arena_free(&st->arena, i);
            sh->nretired--;
        }
    }
}


static void
ngx_apikeys_store_retire_free_detail(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec)
{
    uint32_t  detail;

    detail = rec->detail;

    if (detail == 0) {
        return;
    }

    st->head->nretired -= ngx_apikeys_store_retire_detail_cells(st, rec);

    /* first, so that a repair does not walk a tree that is partly freed */

    ngx_apikeys_atomic_store(&rec->detail, 0);

    ngx_apikeys_store_retire_visit_detail(st, detail, ngx_apikeys_arena_free);
}


/* 1: all read sections that began in this epoch, or before, have ended */

static ngx_uint_t
ngx_apikeys_store_retire_epoch_passed(ngx_apikeys_store_t *st, uint64_t epoch)
{
    uint64_t                   entered, start;
    uint32_t                   i, n;
    ngx_pid_t                  pid;
    ngx_apikeys_store_slot_t  *slot;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);

    n = __atomic_load_n(&st->head->nslots, __ATOMIC_SEQ_CST);

    for (i = 0; i < n; i++) {
        slot = &st->slots[i];

        entered = __atomic_load_n(&slot->reclaim_epoch, __ATOMIC_SEQ_CST);

        if (entered == 0 || entered > epoch) {
            continue;
        }

        pid = __atomic_load_n(&slot->pid, __ATOMIC_SEQ_CST);
        start = __atomic_load_n(&slot->start, __ATOMIC_SEQ_CST);

        if (ngx_apikeys_store_lock_process_alive(pid, start)) {
            return 0;
        }

        /*
         * The process is dead: clear its epoch.  A process that has taken the
         * slot meanwhile stores a later epoch, so the exchange fails.
         */

        (void) __atomic_compare_exchange_n(&slot->reclaim_epoch, &entered, 0, 0,
                                           __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
    }

    return 1;
}
