
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Repairs the zone after a writer was killed; the next writer does it, under
 * the mutex.  Readers go on meanwhile, so each step leaves chains that can be
 * walked.
 *
 * The chains of ids decide what exists.  From them are computed: the reachable
 * cells, the counts, and the records that the chains of public keys must
 * contain.  Unreachable cells may still be in use by readers; they are freed
 * when all readers that are inside a section now have left
 * (ngx_apikeys_store_retire.c).
 *
 * A repair reads every record: about 0.1 s for a million cells, longer than
 * anything else that is done under the mutex.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


static void ngx_apikeys_store_repair_ids(ngx_apikeys_store_t *st);
static void ngx_apikeys_store_repair_record(ngx_apikeys_store_t *st,
    uint32_t i);
static void ngx_apikeys_store_repair_clean_key_chains(ngx_apikeys_store_t *st);
static uint32_t ngx_apikeys_store_repair_successor(ngx_apikeys_store_t *st,
    uint32_t i);
static ngx_uint_t ngx_apikeys_store_repair_belongs_in_key_chain(
    ngx_apikeys_store_t *st, uint32_t i);
static void ngx_apikeys_store_repair_fill_key_chains(ngx_apikeys_store_t *st);
static ngx_uint_t ngx_apikeys_store_repair_is_in_key_chain(
    ngx_apikeys_store_t *st, uint32_t i);


void
ngx_apikeys_store_repair(ngx_apikeys_store_t *st)
{
    uint32_t                   i;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    /* the lists of unlinked records may be broken: drop them */

    sh->retired = 0;
    sh->closing = 0;
    sh->nretired = 0;
    sh->unreachable_epoch = 0;

    ngx_memzero(&sh->counts, sizeof(ngx_apikeys_store_counts_t));
    sh->room.nstub_ids = 0;

    for (i = 0; i < NGX_APIKEYS_STORE_LINES; i++) {
        sh->lines[i].keys = 0;
    }

    ngx_apikeys_arena_unmark(&st->arena);

    ngx_apikeys_store_repair_ids(st);
    ngx_apikeys_store_repair_clean_key_chains(st);
    ngx_apikeys_store_repair_fill_key_chains(st);

    sh->unreachable = ngx_apikeys_arena_settle(&st->arena);
    sh->unreachable_epoch = __atomic_fetch_add(&sh->reclaim_epoch, 1,
                                               __ATOMIC_SEQ_CST);

    sh->repairs++;
    st->log_repaired = 1;
}


static void
ngx_apikeys_store_repair_ids(ngx_apikeys_store_t *st)
{
    uint32_t  i, n;

    for (n = 0; n < st->head->nids; n++) {

        for (i = st->ids[n]; i; i = ngx_apikeys_store_record(st, i)->next_id)
        {
            ngx_apikeys_store_repair_record(st, i);
        }
    }
}


static void
ngx_apikeys_store_repair_record(ngx_apikeys_store_t *st, uint32_t i)
{
    ngx_apikeys_store_record_t  *rec;

    rec = ngx_apikeys_store_record(st, i);

    rec->reclaim = NGX_APIKEYS_STORE_RECLAIM_NONE;

    ngx_apikeys_arena_mark(&st->arena, i);
    ngx_apikeys_store_write_count(st, rec, 1);

    if (rec->state == NGX_APIKEYS_STORE_INVALID
        && (rec->flags & NGX_APIKEYS_STORE_STUB))
    {
        ngx_apikeys_store_room_add_stub_id(st, &rec->id);
    }

    if (rec->detail == 0) {
        return;
    }

    ngx_apikeys_store_retire_visit_detail(st, rec->detail,
                                          ngx_apikeys_arena_mark);

    if (rec->state == NGX_APIKEYS_STORE_DELETED) {
        ngx_apikeys_store_retire_detail(st, i);
    }
}


/* unlinks records that do not belong in the chains of public keys */

static void
ngx_apikeys_store_repair_clean_key_chains(ngx_apikeys_store_t *st)
{
    uint32_t                     i, n, next, *link;
    ngx_apikeys_store_record_t  *rec;

    for (n = 0; n < st->head->nkeys; n++) {

        link = &st->keys[n];

        while (*link) {
            i = *link;
            rec = ngx_apikeys_store_record(st, i);

            if (ngx_apikeys_store_repair_belongs_in_key_chain(st, i)) {
                link = &rec->next_key;
                continue;
            }

            /* its new version, if any, takes its place in the chain */

            next = ngx_apikeys_store_repair_successor(st, i);

            if (next) {
                ngx_apikeys_atomic_store(
                           &ngx_apikeys_store_record(st, next)->next_key,
                           rec->next_key);
                ngx_apikeys_atomic_store(link, next);
                continue;
            }

            ngx_apikeys_atomic_store(link, rec->next_key);
        }
    }
}


/* 1: the chain of its public key must contain the record */

static ngx_uint_t
ngx_apikeys_store_repair_belongs_in_key_chain(ngx_apikeys_store_t *st,
    uint32_t i)
{
    ngx_apikeys_store_record_t  *rec;

    rec = ngx_apikeys_store_record(st, i);

    return rec->kind == NGX_APIKEYS_STORE_KEY
           && rec->state != NGX_APIKEYS_STORE_DELETED
           && !(rec->flags & NGX_APIKEYS_STORE_DETACHED)
           && ngx_apikeys_arena_marked(&st->arena, i);
}


static uint32_t
ngx_apikeys_store_repair_successor(ngx_apikeys_store_t *st, uint32_t i)
{
    uint32_t                     next;
    ngx_apikeys_store_record_t  *rec;

    rec = ngx_apikeys_store_record(st, i);
    next = *ngx_apikeys_store_write_find(st, NGX_APIKEYS_STORE_KEY, &rec->id);

    if (next == 0
        || next == i
        || ngx_memcmp(ngx_apikeys_store_record(st, next)->public_key,
                      rec->public_key, NGX_APIKEYS_PUBLIC_KEY_LEN)
           != 0
        || !ngx_apikeys_store_repair_belongs_in_key_chain(st, next)
        || ngx_apikeys_store_repair_is_in_key_chain(st, next))
    {
        return 0;
    }

    return next;
}


/* adds the records that are missing in the chains of public keys */

static void
ngx_apikeys_store_repair_fill_key_chains(ngx_apikeys_store_t *st)
{
    uint32_t                     i, n, *bucket;
    ngx_apikeys_store_record_t  *rec;

    for (n = 0; n < st->head->nids; n++) {

        for (i = st->ids[n]; i; i = rec->next_id) {

            rec = ngx_apikeys_store_record(st, i);

            if (!ngx_apikeys_store_repair_belongs_in_key_chain(st, i)
                || ngx_apikeys_store_repair_is_in_key_chain(st, i))
            {
                continue;
            }

            bucket = ngx_apikeys_store_key_bucket(st, rec->public_key);

            ngx_apikeys_atomic_store(&rec->next_key, *bucket);
            ngx_apikeys_atomic_store(bucket, i);
        }
    }
}


static ngx_uint_t
ngx_apikeys_store_repair_is_in_key_chain(ngx_apikeys_store_t *st, uint32_t i)
{
    uint32_t                     n;
    ngx_apikeys_store_record_t  *rec;

    rec = ngx_apikeys_store_record(st, i);
    n = *ngx_apikeys_store_key_bucket(st, rec->public_key);

    while (n && n != i) {
        n = ngx_apikeys_store_record(st, n)->next_key;
    }

    return n == i;
}
