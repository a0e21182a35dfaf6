
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Allocation when the zone is nearly full.
 *
 * A changed record exists twice until the readers of the old one have left.
 * Therefore some cells are reserved.  Added objects must leave the reserve
 * free; a record that does not grow may use all of it, as it gives back as
 * many cells.  A key for which there is no room becomes a stub, a record
 * without detail: requests with this key get 503, no others are affected.
 * Records without detail (organizations, projects, tombstones, stubs) may use
 * the reserve, and a few cells are always left for them.
 *
 * Unlinked memory counts as free when limits are checked, as it will be, and
 * does not when cells are needed now.  A stopped reader delays reclamation for
 * as long as it is stopped: writers wait for it 50 ms, once, and then not
 * again until the epoch changes.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_clock.h>
#include <ngx_apikeys_store_int.h>


/* the reserve: 1/16 of the zone, or the largest record if that is larger */
#define NGX_APIKEYS_STORE_ROOM_SHARE    16
#define NGX_APIKEYS_STORE_ROOM_LARGEST  4     /* at most 1/4 of the zone */

/* growth by up to so many cells may use half of the reserve */
#define NGX_APIKEYS_STORE_ROOM_SMALL    64

/* 1/256 of the zone is always left for records without detail */
#define NGX_APIKEYS_STORE_ROOM_SINGLE   256

/*
 * Low: less than 1/8 of the zone is free besides the reserve; until 1/32 more
 * is free.
 */
#define NGX_APIKEYS_STORE_ROOM_LOW      8
#define NGX_APIKEYS_STORE_ROOM_MARGIN   32

#define NGX_APIKEYS_STORE_ROOM_PATIENCE  50   /* ms */

#define NGX_APIKEYS_STORE_ROOM_SLICE    4096  /* buckets a call */


static uint32_t ngx_apikeys_store_room_free(ngx_apikeys_store_t *st);
static ngx_uint_t ngx_apikeys_store_room_admits(ngx_apikeys_store_t *st,
    uint32_t cells, uint32_t growth);
static ngx_uint_t ngx_apikeys_store_room_wait(ngx_apikeys_store_t *st,
    uint32_t cells);
static ngx_uint_t ngx_apikeys_store_room_is_stub(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id);


ngx_int_t
ngx_apikeys_store_room(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *old, uint32_t cells)
{
    uint32_t  has;

    has = old ? 1 : 0;

    /* a detail that is queued already counts in nretired */

    if (old && old->reclaim == NGX_APIKEYS_STORE_RECLAIM_NONE) {
        has += ngx_apikeys_store_retire_detail_cells(st, old);
    }

    if (cells > has
        && !ngx_apikeys_store_room_admits(st, cells, cells - has))
    {
        return NGX_DECLINED;
    }

    cells += st->head->arena.ncells / NGX_APIKEYS_STORE_ROOM_SINGLE;

    if (ngx_apikeys_store_retire_reserve(st, cells) == NGX_OK) {
        return NGX_OK;
    }

    return ngx_apikeys_store_room_wait(st, cells) ? NGX_AGAIN : NGX_DECLINED;
}


uint32_t
ngx_apikeys_store_room_reserve(ngx_apikeys_store_t *st)
{
    uint32_t                   largest;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    largest = ngx_min(sh->room.largest,
                      sh->arena.ncells / NGX_APIKEYS_STORE_ROOM_LARGEST);

    return ngx_max(sh->arena.ncells / NGX_APIKEYS_STORE_ROOM_SHARE, largest);
}


/* cells that are free, or will be once the current readers have left */

static uint32_t
ngx_apikeys_store_room_free(ngx_apikeys_store_t *st)
{
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    return sh->arena.nfree + sh->nretired + sh->unreachable;
}


/*
 * 1: enough cells are left if a record of "cells" cells takes "growth" more.
 * A large record must leave room for its own next version.
 */

static ngx_uint_t
ngx_apikeys_store_room_admits(ngx_apikeys_store_t *st, uint32_t cells,
    uint32_t growth)
{
    uint32_t  floor;

    floor = ngx_apikeys_store_room_reserve(st);

    if (growth <= NGX_APIKEYS_STORE_ROOM_SMALL) {
        floor /= 2;

    } else if (cells > floor) {
        floor = cells;
    }

    return (uint64_t) growth + floor <= ngx_apikeys_store_room_free(st);
}


static ngx_uint_t
ngx_apikeys_store_room_wait(ngx_apikeys_store_t *st, uint32_t cells)
{
    uint64_t  now;

    if (ngx_apikeys_store_room_free(st) < cells) {
        return 0;
    }

    now = ngx_apikeys_clock_boot_ms();

    if (st->reclaim_stalled_epoch != st->head->reclaim_epoch) {
        st->reclaim_stalled_epoch = st->head->reclaim_epoch;
        st->reclaim_stalled_since = now;
    }

    return now - st->reclaim_stalled_since < NGX_APIKEYS_STORE_ROOM_PATIENCE;
}


void
ngx_apikeys_store_room_stored(ngx_apikeys_store_t *st, uint32_t cells)
{
    ngx_apikeys_store_room_t  *room;

    room = &st->head->room;

    room->largest = ngx_max(room->largest, cells);
    room->load_largest = ngx_max(room->load_largest, cells);
}


void
ngx_apikeys_store_room_refused(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id, uint32_t cells)
{
    ngx_apikeys_store_room_t  *room;

    room = &st->head->room;

    room->smallest_refused = ngx_min(room->smallest_refused, cells);

    if (room->next_smallest_refused == 0
        || room->next_smallest_refused > cells)
    {
        room->next_smallest_refused = cells;
    }

    st->log_refused = cells;
    st->log_refused_id = *id;
}


/* replaces ids of keys that are no longer stubs */

void
ngx_apikeys_store_room_add_stub_id(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id)
{
    uint32_t                   i, n;
    ngx_apikeys_store_room_t  *room;

    room = &st->head->room;
    n = 0;

    for (i = 0; i < room->nstub_ids; i++) {

        if (ngx_memcmp(&room->stub_ids[i], id, sizeof(ngx_apikeys_objectid_t))
            != 0
            && ngx_apikeys_store_room_is_stub(st, &room->stub_ids[i]))
        {
            room->stub_ids[n++] = room->stub_ids[i];
        }
    }

    if (n < NGX_APIKEYS_STORE_STUB_IDS) {
        room->stub_ids[n++] = *id;
    }

    room->nstub_ids = n;
}


static ngx_uint_t
ngx_apikeys_store_room_is_stub(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id)
{
    uint32_t                     i;
    ngx_apikeys_store_record_t  *rec;

    i = *ngx_apikeys_store_write_find(st, NGX_APIKEYS_STORE_KEY, id);

    if (i == 0) {
        return 0;
    }

    rec = ngx_apikeys_store_record(st, i);

    return rec->state == NGX_APIKEYS_STORE_INVALID
           && (rec->flags & NGX_APIKEYS_STORE_STUB);
}


ngx_uint_t
ngx_apikeys_store_stub_ids(ngx_apikeys_store_t *st,
    ngx_apikeys_objectid_t *ids)
{
    uint32_t                   i, n;
    ngx_apikeys_store_room_t  *room;

    room = &st->head->room;
    n = 0;

    /* without the mutex: an id may be half written, and is then not found */

    ngx_apikeys_store_read_begin(st);

    for (i = 0; i < ngx_min(room->nstub_ids, NGX_APIKEYS_STORE_STUB_IDS); i++) {
        ids[n] = room->stub_ids[i];
        n += ngx_apikeys_store_room_is_stub(st, &ids[n]);
    }

    ngx_apikeys_store_read_end(st);

    return n;
}


ngx_uint_t
ngx_apikeys_store_stubs_have_room(ngx_apikeys_store_t *st)
{
    uint32_t  cells;

    if (st->head->counts.stubs == 0) {
        return 0;
    }

    cells = st->head->room.smallest_refused;

    return ngx_apikeys_store_room_admits(st, cells, cells);
}


ngx_int_t
ngx_apikeys_store_stubs_find(ngx_apikeys_store_t *st, uint32_t *bucket,
    ngx_apikeys_objectid_t *ids, ngx_uint_t *n, ngx_uint_t max)
{
    uint32_t                     i, end, nids;
    ngx_uint_t                   first;
    ngx_apikeys_store_record_t  *rec;

    nids = st->head->nids;
    end = ngx_min(nids, *bucket + NGX_APIKEYS_STORE_ROOM_SLICE);

    ngx_apikeys_store_read_begin(st);

    while (*bucket < end && *n < max) {

        first = *n;
        i = ngx_apikeys_atomic_load(&st->ids[*bucket]);

        while (i && *n < max) {
            rec = ngx_apikeys_store_record(st, i);

            if (ngx_apikeys_atomic_load(&rec->state)
                == NGX_APIKEYS_STORE_INVALID
                && (rec->flags & NGX_APIKEYS_STORE_STUB))
            {
                ids[(*n)++] = rec->id;
            }

            i = ngx_apikeys_atomic_load(&rec->next_id);
        }

        if (i && first) {
            *n = first;
            break;
        }

        (*bucket)++;
    }

    ngx_apikeys_store_read_end(st);

    if (*bucket == nids) {
        return NGX_DONE;
    }

    return (*bucket == end) ? NGX_AGAIN : NGX_OK;
}


void
ngx_apikeys_store_stubs_retried_locked(ngx_apikeys_store_t *st)
{
    ngx_apikeys_store_room_t  *room;

    room = &st->head->room;

    room->smallest_refused = room->next_smallest_refused;
    room->next_smallest_refused = 0;
}


void
ngx_apikeys_store_room_watch(ngx_apikeys_store_t *st)
{
    uint64_t                   bound;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    bound = ngx_apikeys_store_room_reserve(st)
            + sh->arena.ncells / NGX_APIKEYS_STORE_ROOM_LOW;

    if (sh->room.low) {
        bound += sh->arena.ncells / NGX_APIKEYS_STORE_ROOM_MARGIN;
        sh->room.low = (ngx_apikeys_store_room_free(st) < bound);
        return;
    }

    if (ngx_apikeys_store_room_free(st) < bound) {
        sh->room.low = 1;
        st->log_low = 1;
    }
}


/* plus a quarter, as changed records exist twice for a while */

uint64_t
ngx_apikeys_store_room_size_needed(ngx_apikeys_store_t *st)
{
    uint64_t                   used;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    used = (uint64_t) sh->arena.ncells - sh->arena.nfree + st->log_refused;
    used = ngx_max(used, sh->load_cells);

    return ngx_apikeys_store_zone_size(st->area_size, used + used / 4);
}
