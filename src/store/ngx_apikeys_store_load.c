
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Full loads, the sweep after them, and the removal of tombstones, under the
 * mutex and in slices.
 *
 * record.load_number is the number of the load during or after which the
 * record was last published.  After the last row of a load, records with an
 * older number no longer exist in the database and are swept.  A number below
 * generation_first_load means another database: such a record is served until
 * the sweep, but its version is not compared.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


/* buckets per call; with two records each about half a millisecond */
#define NGX_APIKEYS_STORE_LOAD_SLICE  2048


static void ngx_apikeys_store_load_sweep_bucket(ngx_apikeys_store_t *st,
    uint32_t *link);
static void ngx_apikeys_store_load_unlink(ngx_apikeys_store_t *st,
    uint32_t *link);


uint32_t
ngx_apikeys_store_load_begin_locked(ngx_apikeys_store_t *st,
    ngx_uint_t new_database)
{
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    /* first, so that objects published from now on are not swept */

    if (++sh->load_number == 0) {
        sh->load_number = 1;
    }

    sh->loading = 1;
    sh->load_failed = 0;
    sh->load_cells = 0;
    sh->room.load_largest = 0;
    sh->sweep_bucket = 0;

    if (new_database) {

        /* a key of the new database may be unknown here */

        ngx_apikeys_atomic_store(&sh->complete, 0);

        sh->generation_first_load = sh->load_number;
        sh->failed_version = 0;
        sh->cursor &= ~(uint64_t) 1;
        ngx_apikeys_atomic_store(&sh->generation, sh->generation + 1);
    }

    return sh->load_number;
}


uint64_t
ngx_apikeys_store_generation(ngx_apikeys_store_t *st)
{
    return ngx_apikeys_atomic_load(&st->head->generation);
}


ngx_int_t
ngx_apikeys_store_load_sweep_locked(ngx_apikeys_store_t *st, uint32_t load)
{
    uint32_t                   n;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    if (load != sh->load_number || !sh->loading) {
        return NGX_DECLINED;
    }

    for (n = 0; n < NGX_APIKEYS_STORE_LOAD_SLICE; n++) {

        if (sh->sweep_bucket == sh->nids) {
            break;
        }

        ngx_apikeys_store_load_sweep_bucket(st, &st->ids[sh->sweep_bucket]);
        sh->sweep_bucket++;
    }

    if (sh->sweep_bucket < sh->nids) {
        return NGX_AGAIN;
    }

    sh->loading = 0;

    if (sh->load_failed) {
        return NGX_ERROR;
    }

    sh->failed_version = 0;
    sh->room.largest = sh->room.load_largest;
    ngx_apikeys_atomic_store(&sh->complete, 1);

    return NGX_OK;
}


static void
ngx_apikeys_store_load_sweep_bucket(ngx_apikeys_store_t *st, uint32_t *link)
{
    uint32_t                     i;
    ngx_apikeys_store_head_t    *sh;
    ngx_apikeys_store_record_t  *rec;

    sh = st->head;

    while (*link) {
        i = *link;
        rec = ngx_apikeys_store_record(st, i);

        if (rec->load_number == sh->load_number) {
            link = &rec->next_id;
            continue;
        }

        if (rec->state != NGX_APIKEYS_STORE_DELETED) {
            ngx_apikeys_store_write_delete(st, i);
        }

        if (rec->load_number < sh->generation_first_load) {
            ngx_apikeys_store_load_unlink(st, link);
            continue;
        }

        /*
         * Results of older mutations may still be published: keep the record
         * as a tombstone.
         */

        link = &rec->next_id;
    }
}


ngx_int_t
ngx_apikeys_store_forget_locked(ngx_apikeys_store_t *st, uint64_t version,
    ngx_uint_t n)
{
    uint32_t                    *link, slice;
    ngx_apikeys_store_head_t    *sh;
    ngx_apikeys_store_record_t  *rec;

    sh = st->head;

    if (sh->counts.tombstones == 0) {
        sh->forget_bucket = 0;
        return NGX_OK;
    }

    for (slice = 0; slice < NGX_APIKEYS_STORE_LOAD_SLICE; slice++) {

        link = &st->ids[sh->forget_bucket];

        while (*link) {
            rec = ngx_apikeys_store_record(st, *link);

            if (rec->state != NGX_APIKEYS_STORE_DELETED
                || (rec->version >= version
                    && rec->load_number >= sh->generation_first_load))
            {
                link = &rec->next_id;
                continue;
            }

            if (n-- == 0) {
                return NGX_AGAIN;
            }

            ngx_apikeys_store_load_unlink(st, link);
        }

        if (++sh->forget_bucket == sh->nids) {
            sh->forget_bucket = 0;
            return NGX_OK;
        }
    }

    return NGX_AGAIN;
}


/* unlinks a tombstone and queues it to be freed */

static void
ngx_apikeys_store_load_unlink(ngx_apikeys_store_t *st, uint32_t *link)
{
    uint32_t                     i;
    ngx_apikeys_store_record_t  *rec;

    i = *link;
    rec = ngx_apikeys_store_record(st, i);

    ngx_apikeys_store_write_count(st, rec, -1);
    ngx_apikeys_atomic_store(link, rec->next_id);
    ngx_apikeys_store_retire_record(st, i);
}
