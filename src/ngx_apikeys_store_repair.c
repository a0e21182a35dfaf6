
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What the next writer does when one was killed at work.  Readers walk the
 * zone all the while, so each step leaves chains that can be walked.
 *
 * The chains of ids say what exists.  From them: which cells are in use,
 * the figures, and which record a chain of public keys must hold.  Cells
 * that nothing reaches may still be looked at by a reader; they are freed
 * when those of now have left (ngx_apikeys_store_retire.c).
 *
 * This touches every record: 0.1 s for a million cells is to be expected,
 * and it is the one thing done under the mutex that takes so long.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


static void ngx_apikeys_store_repair_ids(ngx_apikeys_store_t *st);
static void ngx_apikeys_store_repair_record(ngx_apikeys_store_t *st,
    uint32_t i);
static void ngx_apikeys_store_repair_keys(ngx_apikeys_store_t *st);
static uint32_t ngx_apikeys_store_repair_successor(ngx_apikeys_store_t *st,
    uint32_t i);
static ngx_uint_t ngx_apikeys_store_repair_named(ngx_apikeys_store_t *st,
    uint32_t i);
static void ngx_apikeys_store_repair_names(ngx_apikeys_store_t *st);
static ngx_uint_t ngx_apikeys_store_repair_linked(ngx_apikeys_store_t *st,
    uint32_t i);


void
ngx_apikeys_store_repair(ngx_apikeys_store_t *st)
{
    uint32_t                   i;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    /* the lists of retired records may be broken; all are lost cells now */

    sh->retired = 0;
    sh->waiting = 0;
    sh->nretired = 0;
    sh->lost_epoch = 0;

    ngx_memzero(&sh->counts, sizeof(ngx_apikeys_store_counts_t));
    sh->room.nids = 0;

    for (i = 0; i < NGX_APIKEYS_STORE_LINES; i++) {
        sh->lines[i].keys = 0;
    }

    ngx_apikeys_arena_unmark(&st->arena);

    ngx_apikeys_store_repair_ids(st);
    ngx_apikeys_store_repair_keys(st);
    ngx_apikeys_store_repair_names(st);

    sh->lost = ngx_apikeys_arena_settle(&st->arena);
    sh->lost_epoch = __atomic_fetch_add(&sh->epoch, 1, __ATOMIC_SEQ_CST);

    sh->repairs++;
    st->repaired = 1;
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

    rec->pending = NGX_APIKEYS_STORE_KEPT;

    ngx_apikeys_arena_mark(&st->arena, i);
    ngx_apikeys_store_write_count(st, rec, 1);

    if (rec->state == NGX_APIKEYS_STORE_INVALID
        && (rec->flags & NGX_APIKEYS_STORE_STUB))
    {
        ngx_apikeys_store_room_name(st, &rec->id);
    }

    if (rec->body == 0) {
        return;
    }

    ngx_apikeys_store_retire_visit_body(st, rec->body,
                                        ngx_apikeys_arena_mark);

    if (rec->state == NGX_APIKEYS_STORE_DELETED) {
        ngx_apikeys_store_retire_body(st, i);
    }
}


/* takes out of the chains of public keys what must not be there */

static void
ngx_apikeys_store_repair_keys(ngx_apikeys_store_t *st)
{
    uint32_t                     i, n, next, *link;
    ngx_apikeys_store_record_t  *rec;

    for (n = 0; n < st->head->nkeys; n++) {

        link = &st->keys[n];

        while (*link) {
            i = *link;
            rec = ngx_apikeys_store_record(st, i);

            if (ngx_apikeys_store_repair_named(st, i)) {
                link = &rec->next_key;
                continue;
            }

            /* the record that replaced it takes its place in the chain */

            next = ngx_apikeys_store_repair_successor(st, i);

            if (next) {
                ngx_apikeys_store_set(
                           &ngx_apikeys_store_record(st, next)->next_key,
                           rec->next_key);
                ngx_apikeys_store_set(link, next);
                continue;
            }

            ngx_apikeys_store_set(link, rec->next_key);
        }
    }
}


/* whether a record is one that a chain of public keys must hold */

static ngx_uint_t
ngx_apikeys_store_repair_named(ngx_apikeys_store_t *st, uint32_t i)
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
        || !ngx_apikeys_store_repair_named(st, next)
        || ngx_apikeys_store_repair_linked(st, next))
    {
        return 0;
    }

    return next;
}


/* puts into the chains of public keys what is missing there */

static void
ngx_apikeys_store_repair_names(ngx_apikeys_store_t *st)
{
    uint32_t                     i, n, *bucket;
    ngx_apikeys_store_record_t  *rec;

    for (n = 0; n < st->head->nids; n++) {

        for (i = st->ids[n]; i; i = rec->next_id) {

            rec = ngx_apikeys_store_record(st, i);

            if (!ngx_apikeys_store_repair_named(st, i)
                || ngx_apikeys_store_repair_linked(st, i))
            {
                continue;
            }

            bucket = ngx_apikeys_store_key_bucket(st, rec->public_key);

            ngx_apikeys_store_set(&rec->next_key, *bucket);
            ngx_apikeys_store_set(bucket, i);
        }
    }
}


static ngx_uint_t
ngx_apikeys_store_repair_linked(ngx_apikeys_store_t *st, uint32_t i)
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
