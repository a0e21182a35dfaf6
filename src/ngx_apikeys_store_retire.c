
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Memory that was unlinked, until no reader can be looking at it.
 *
 * What is unlinked goes to the list "retired".  When the list "waiting" is
 * empty, "retired" becomes it, with the epoch of that moment, and the epoch
 * moves on; when every live reader is outside or in a later epoch, the
 * members of "waiting" are freed, some at each lock.  A process that is
 * stopped inside a section holds both lists back; a dead one does not.
 *
 * Both lists die with a killed writer: the repair finds their members.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


static void ngx_apikeys_store_retire_push(ngx_apikeys_store_t *st,
    uint32_t i, ngx_uint_t pending);
static ngx_uint_t ngx_apikeys_store_retire_passed(ngx_apikeys_store_t *st,
    uint64_t epoch);
static void ngx_apikeys_store_retire_free_body(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec);


void
ngx_apikeys_store_retire_record(ngx_apikeys_store_t *st, uint32_t i)
{
    ngx_apikeys_store_record_t  *rec;

    rec = ngx_apikeys_store_record(st, i);

    if (rec->pending == NGX_APIKEYS_STORE_BODY) {

        /* it is in a list already, perhaps with an epoch that is too old */

        rec->pending = NGX_APIKEYS_STORE_BODY_FIRST;
        return;
    }

    st->head->nretired += 1 + ngx_apikeys_store_retire_body_cells(st, rec);

    ngx_apikeys_store_retire_push(st, i, NGX_APIKEYS_STORE_WHOLE);
}


void
ngx_apikeys_store_retire_body(ngx_apikeys_store_t *st, uint32_t i)
{
    ngx_apikeys_store_record_t  *rec;

    rec = ngx_apikeys_store_record(st, i);

    if (rec->body == 0) {
        return;
    }

    st->head->nretired += ngx_apikeys_store_retire_body_cells(st, rec);

    ngx_apikeys_store_retire_push(st, i, NGX_APIKEYS_STORE_BODY);
}


static void
ngx_apikeys_store_retire_push(ngx_apikeys_store_t *st, uint32_t i,
    ngx_uint_t pending)
{
    ngx_apikeys_store_record_t  *rec;

    rec = ngx_apikeys_store_record(st, i);

    rec->pending = (u_char) pending;
    rec->next_retired = st->head->retired;
    st->head->retired = i;
}


uint32_t
ngx_apikeys_store_retire_body_cells(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec)
{
    ngx_apikeys_store_body_t  *b;

    if (rec->body == 0) {
        return 0;
    }

    b = ngx_apikeys_store_body(st, rec);

    return 1 + ngx_apikeys_arena_list_cells(ngx_apikeys_store_body_leaves(b));
}


void
ngx_apikeys_store_retire_visit_body(ngx_apikeys_store_t *st, uint32_t body,
    ngx_apikeys_arena_visit_pt visit)
{
    ngx_apikeys_store_body_t  *b;

    b = (ngx_apikeys_store_body_t *) &st->arena.cells[body];

    if (b->list) {
        ngx_apikeys_arena_list_visit(&st->arena, b->list,
                                     ngx_apikeys_store_body_leaves(b), visit);
    }

    visit(&st->arena, body);
}


ngx_int_t
ngx_apikeys_store_retire_reserve(ngx_apikeys_store_t *st, uint32_t cells)
{
    ngx_uint_t  n;

    /* what waits, what is retired now, and tombstones replaced meanwhile */

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

    if (sh->lost_epoch && ngx_apikeys_store_retire_passed(st, sh->lost_epoch))
    {
        ngx_apikeys_arena_sweep(&st->arena);

        sh->lost_epoch = 0;
        sh->lost = 0;
    }

    if (sh->waiting == 0) {

        if (sh->retired == 0) {
            return;
        }

        sh->waiting = sh->retired;
        sh->retired = 0;
        sh->waiting_epoch = __atomic_fetch_add(&sh->epoch, 1,
                                               __ATOMIC_SEQ_CST);
    }

    if (!ngx_apikeys_store_retire_passed(st, sh->waiting_epoch)) {
        return;
    }

    while (sh->waiting && n--) {
        i = sh->waiting;
        rec = ngx_apikeys_store_record(st, i);

        sh->waiting = rec->next_retired;

        switch (rec->pending) {

        case NGX_APIKEYS_STORE_BODY:
            ngx_apikeys_store_retire_free_body(st, rec);
            rec->pending = NGX_APIKEYS_STORE_KEPT;
            break;

        case NGX_APIKEYS_STORE_BODY_FIRST:
            ngx_apikeys_store_retire_free_body(st, rec);
            sh->nretired++;
            ngx_apikeys_store_retire_push(st, i, NGX_APIKEYS_STORE_WHOLE);
            break;

        default: /* NGX_APIKEYS_STORE_WHOLE */
            ngx_apikeys_store_retire_free_body(st, rec);
            ngx_apikeys_arena_free(&st->arena, i);
            sh->nretired--;
        }
    }
}


static void
ngx_apikeys_store_retire_free_body(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec)
{
    uint32_t  body;

    body = rec->body;

    if (body == 0) {
        return;
    }

    st->head->nretired -= ngx_apikeys_store_retire_body_cells(st, rec);

    /* first, so that a repair does not walk what is freed in part */

    ngx_apikeys_store_set(&rec->body, 0);

    ngx_apikeys_store_retire_visit_body(st, body, ngx_apikeys_arena_free);
}


/* whether all readers who could have entered in the epoch have left it */

static ngx_uint_t
ngx_apikeys_store_retire_passed(ngx_apikeys_store_t *st, uint64_t epoch)
{
    uint64_t                   entered, start;
    uint32_t                   i, n;
    ngx_pid_t                  pid;
    ngx_apikeys_store_slot_t  *slot;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);

    n = __atomic_load_n(&st->head->nslots, __ATOMIC_SEQ_CST);

    for (i = 0; i < n; i++) {
        slot = &st->slots[i];

        entered = __atomic_load_n(&slot->epoch, __ATOMIC_SEQ_CST);

        if (entered == 0 || entered > epoch) {
            continue;
        }

        pid = __atomic_load_n(&slot->pid, __ATOMIC_SEQ_CST);
        start = __atomic_load_n(&slot->start, __ATOMIC_SEQ_CST);

        if (ngx_apikeys_store_lock_process_alive(pid, start)) {
            return 0;
        }

        /*
         * A process that took the slot after this epoch was closed writes
         * another value, one that took it before is the one we looked at:
         * so nothing but the dead one's value is cleared.
         */

        (void) __atomic_compare_exchange_n(&slot->epoch, &entered, 0, 0,
                                           __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
    }

    return 1;
}
