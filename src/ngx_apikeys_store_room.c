
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Who gets memory when there is little of it.
 *
 * A changed record is there twice until the readers of the old one have left.
 * So some cells are reserved: additions leave them alone, and a record that
 * does not grow may take them all, for it gives back as many.  A key that is
 * refused memory becomes a stub, a record without a body: requests with it
 * get 503, and nobody else is affected.  Records without a body (those of
 * organizations and projects, tombstones, stubs) may take the reserve, and a
 * few cells are always left to them.
 *
 * What is retired counts as free where it matters what is left, for it will
 * be, and does not where cells are needed now.  A reader that is stopped
 * holds memory back for as long as it is stopped: it is waited for once, for
 * a moment, and then no more until the epoch has moved on.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


/* the reserve: a share of the zone, at least the largest record */
#define NGX_APIKEYS_STORE_ROOM_SHARE    16
#define NGX_APIKEYS_STORE_ROOM_LARGEST  4     /* at most a quarter of it */

/* growth by so many cells may take half of the reserve */
#define NGX_APIKEYS_STORE_ROOM_SMALL    64

/* the share that is left to records without a body at any moment */
#define NGX_APIKEYS_STORE_ROOM_SINGLE   256

/* low: less than this share is free besides the reserve */
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

    /* a body that is retired is counted there */

    if (old && old->pending == NGX_APIKEYS_STORE_KEPT) {
        has += ngx_apikeys_store_retire_body_cells(st, old);
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


/* cells that are free, or will be when the readers of now have left */

static uint32_t
ngx_apikeys_store_room_free(ngx_apikeys_store_t *st)
{
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    return sh->arena.nfree + sh->nretired + sh->lost;
}


/*
 * Whether growth leaves enough.  A large record that is added must itself
 * leave room for its next version.
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

    now = ngx_apikeys_store_boottime();

    if (st->held_epoch != st->head->epoch) {
        st->held_epoch = st->head->epoch;
        st->held = now;
    }

    return now - st->held < NGX_APIKEYS_STORE_ROOM_PATIENCE;
}


void
ngx_apikeys_store_room_kept(ngx_apikeys_store_t *st, uint32_t cells)
{
    ngx_apikeys_store_room_t  *room;

    room = &st->head->room;

    room->largest = ngx_max(room->largest, cells);
    room->loaded = ngx_max(room->loaded, cells);
}


void
ngx_apikeys_store_room_refused(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id, uint32_t cells)
{
    ngx_apikeys_store_room_t  *room;

    room = &st->head->room;

    room->smallest = ngx_min(room->smallest, cells);
    room->failed = room->failed ? ngx_min(room->failed, cells) : cells;

    st->refused = cells;
    st->refused_id = *id;
}


/* those that are no stubs any more make room for others */

void
ngx_apikeys_store_room_name(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id)
{
    uint32_t                   i, n;
    ngx_apikeys_store_room_t  *room;

    room = &st->head->room;
    n = 0;

    for (i = 0; i < room->nids; i++) {

        if (ngx_memcmp(&room->ids[i], id, sizeof(ngx_apikeys_objectid_t))
            != 0
            && ngx_apikeys_store_room_is_stub(st, &room->ids[i]))
        {
            room->ids[n++] = room->ids[i];
        }
    }

    if (n < NGX_APIKEYS_STORE_STUB_IDS) {
        room->ids[n++] = *id;
    }

    room->nids = n;
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

    /* without the mutex: an id may be torn, and is then nobody's */

    ngx_apikeys_store_enter(st);

    for (i = 0; i < ngx_min(room->nids, NGX_APIKEYS_STORE_STUB_IDS); i++) {
        ids[n] = room->ids[i];
        n += ngx_apikeys_store_room_is_stub(st, &ids[n]);
    }

    ngx_apikeys_store_leave(st);

    return n;
}


ngx_uint_t
ngx_apikeys_store_heals(ngx_apikeys_store_t *st)
{
    uint32_t  cells;

    if (st->head->counts.stubs == 0) {
        return 0;
    }

    cells = st->head->room.smallest;

    return ngx_apikeys_store_room_admits(st, cells, cells);
}


ngx_int_t
ngx_apikeys_store_stubs(ngx_apikeys_store_t *st, uint32_t *bucket,
    ngx_apikeys_objectid_t *ids, ngx_uint_t *n, ngx_uint_t max)
{
    uint32_t                     i, end, nids;
    ngx_uint_t                   first;
    ngx_apikeys_store_record_t  *rec;

    nids = st->head->nids;
    end = ngx_min(nids, *bucket + NGX_APIKEYS_STORE_ROOM_SLICE);

    ngx_apikeys_store_enter(st);

    while (*bucket < end && *n < max) {

        first = *n;
        i = ngx_apikeys_store_load(&st->ids[*bucket]);

        while (i && *n < max) {
            rec = ngx_apikeys_store_record(st, i);

            if (ngx_apikeys_store_load(&rec->state)
                == NGX_APIKEYS_STORE_INVALID
                && (rec->flags & NGX_APIKEYS_STORE_STUB))
            {
                ids[(*n)++] = rec->id;
            }

            i = ngx_apikeys_store_load(&rec->next_id);
        }

        if (i && first) {
            *n = first;
            break;
        }

        (*bucket)++;
    }

    ngx_apikeys_store_leave(st);

    if (*bucket == nids) {
        return NGX_DONE;
    }

    return (*bucket == end) ? NGX_AGAIN : NGX_OK;
}


void
ngx_apikeys_store_healed_locked(ngx_apikeys_store_t *st)
{
    ngx_apikeys_store_room_t  *room;

    room = &st->head->room;

    room->smallest = room->failed;
    room->failed = 0;
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
        st->low = 1;
    }
}


/* a quarter more, for changed records are there twice for a while */

uint64_t
ngx_apikeys_store_room_needs(ngx_apikeys_store_t *st)
{
    uint64_t                   used;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    used = (uint64_t) sh->arena.ncells - sh->arena.nfree + st->refused;
    used = ngx_max(used, sh->load_cells);

    return ngx_apikeys_store_zone_size(st->nonces_size, used + used / 4);
}
