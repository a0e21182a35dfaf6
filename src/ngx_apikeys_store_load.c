
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Full loads, the sweep after them, and the end of tombstones, under the
 * mutex and in slices.
 *
 * Each record carries the number of the load in progress, or last, when it
 * was published: what has the number of this load was brought by it or
 * changed since it began, and everything else is not in the database.  A
 * number below epoch_load is of another database: such a record is served
 * until the sweep, but its version is compared with nothing.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


/* buckets a call; with two records each about half a millisecond */
#define NGX_APIKEYS_STORE_LOAD_SLICE  2048


static void ngx_apikeys_store_load_sweep_bucket(ngx_apikeys_store_t *st,
    uint32_t *link);
static void ngx_apikeys_store_load_unlink(ngx_apikeys_store_t *st,
    uint32_t *link);


uint32_t
ngx_apikeys_store_load_begin_locked(ngx_apikeys_store_t *st,
    ngx_uint_t new_epoch)
{
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    /* first, so that what is published from now on is not swept */

    if (++sh->load == 0) {
        sh->load = 1;
    }

    sh->loading = 1;
    sh->load_failed = 0;
    sh->load_cells = 0;
    sh->room.loaded = 0;
    sh->sweep = 0;

    if (new_epoch) {

        /* a key of the new database may be unknown here */

        ngx_apikeys_store_set(&sh->complete, 0);

        sh->epoch_load = sh->load;
        sh->failed = 0;
        sh->cursor &= ~(uint64_t) 1;
        ngx_apikeys_store_set(&sh->db_epoch, sh->db_epoch + 1);
    }

    return sh->load;
}


uint64_t
ngx_apikeys_store_epoch(ngx_apikeys_store_t *st)
{
    return ngx_apikeys_store_load(&st->head->db_epoch);
}


ngx_int_t
ngx_apikeys_store_load_sweep_locked(ngx_apikeys_store_t *st, uint32_t load)
{
    uint32_t                   n;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    if (load != sh->load || !sh->loading) {
        return NGX_DECLINED;
    }

    for (n = 0; n < NGX_APIKEYS_STORE_LOAD_SLICE && sh->sweep < sh->nids; n++)
    {
        ngx_apikeys_store_load_sweep_bucket(st, &st->ids[sh->sweep]);
        sh->sweep++;
    }

    if (sh->sweep < sh->nids) {
        return NGX_AGAIN;
    }

    sh->loading = 0;

    if (sh->load_failed) {
        return NGX_ERROR;
    }

    sh->failed = 0;
    sh->room.largest = sh->room.loaded;
    ngx_apikeys_store_set(&sh->complete, 1);

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

        if (rec->load == sh->load) {
            link = &rec->next_id;
            continue;
        }

        if (rec->state != NGX_APIKEYS_STORE_DELETED) {
            ngx_apikeys_store_write_delete(st, i);
        }

        if (rec->load < sh->epoch_load) {
            ngx_apikeys_store_load_unlink(st, link);
            continue;
        }

        /* its versions may still be on the way: it stays as a tombstone */

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
        sh->forget = 0;
        return NGX_OK;
    }

    for (slice = 0; slice < NGX_APIKEYS_STORE_LOAD_SLICE; slice++) {

        link = &st->ids[sh->forget];

        while (*link) {
            rec = ngx_apikeys_store_record(st, *link);

            if (rec->state != NGX_APIKEYS_STORE_DELETED
                || (rec->version >= version && rec->load >= sh->epoch_load))
            {
                link = &rec->next_id;
                continue;
            }

            if (n-- == 0) {
                return NGX_AGAIN;
            }

            ngx_apikeys_store_load_unlink(st, link);
        }

        if (++sh->forget == sh->nids) {
            sh->forget = 0;
            return NGX_OK;
        }
    }

    return NGX_AGAIN;
}


/* takes out a tombstone */

static void
ngx_apikeys_store_load_unlink(ngx_apikeys_store_t *st, uint32_t *link)
{
    uint32_t                     i;
    ngx_apikeys_store_record_t  *rec;

    i = *link;
    rec = ngx_apikeys_store_record(st, i);

    ngx_apikeys_store_write_count(st, rec, -1);
    ngx_apikeys_store_set(link, rec->next_id);
    ngx_apikeys_store_retire_record(st, i);
}
