
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The zone as a whole: how it is made, kept and attached to, the reader
 * slots of processes, and the figures.
 *
 * All memory is taken from the slab at once, when the zone is made, for the
 * slab does not survive a writer that is killed inside it.  On reload the
 * zone is kept if it has the same size and fingerprint, and then nothing in
 * it is touched, for the old workers go on using it.  With another
 * realm the same zone must not be used by old and new workers at once:
 * so the new cycle is given new memory ("noreuse"), which is decided while
 * the configuration is read.  A zone of another size is filled from the old
 * one before the new workers start.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <ngx_apikeys_store_int.h>


#define NGX_APIKEYS_STORE_MIN_CELLS    4096

#define ngx_apikeys_store_align(n)     ngx_align(n, NGX_APIKEYS_ARENA_CELL)


/* offsets from the head */
typedef struct {
    size_t    slots;
    size_t    nonces;
    size_t    keys;
    size_t    ids;
    size_t    used;
    size_t    marked;
    size_t    cells;
    size_t    end;
} ngx_apikeys_store_layout_t;


static void ngx_apikeys_store_layout(ngx_apikeys_store_layout_t *l,
    size_t nonces, uint64_t ncells);
static uint64_t ngx_apikeys_store_max_cells(size_t nonces, size_t size);
static void ngx_apikeys_store_attach(ngx_apikeys_store_t *st,
    ngx_apikeys_store_head_t *sh);
static ngx_int_t ngx_apikeys_store_init_head(ngx_apikeys_store_t *st,
    ngx_apikeys_store_head_t *sh, uint32_t ncells);
static void ngx_apikeys_store_make_uuid(u_char *uuid, const u_char *random);
static ngx_shm_zone_t *ngx_apikeys_store_old(ngx_apikeys_store_t *st);
static ngx_uint_t ngx_apikeys_store_same_head(ngx_apikeys_store_t *st,
    ngx_apikeys_store_head_t *sh);
static ngx_int_t ngx_apikeys_store_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_int_t ngx_apikeys_store_make(ngx_apikeys_store_t *st);


ngx_int_t
ngx_apikeys_store_init_process(ngx_apikeys_store_t *st, ngx_log_t *log)
{
    uint32_t                   n, nslots;
    ngx_apikeys_store_head_t  *sh;
    ngx_apikeys_store_slot_t  *slot;

    sh = st->head;

    n = (ngx_process == NGX_PROCESS_MASTER) ? 0 : ngx_process_slot + 1;

    slot = &st->slots[n];

    if (slot->pid != 0 && slot->pid != ngx_pid
        && ngx_apikeys_store_lock_process_alive(slot->pid, slot->start))
    {
        ngx_log_error(NGX_LOG_ALERT, log, 0,
                      "apikeys zone slot %uD is held by process %P",
                      n, slot->pid);
        return NGX_ERROR;
    }

    st->log = log;
    st->start = ngx_apikeys_store_lock_process_start(ngx_pid);

    /* what fork() copied from a parent that was inside */

    st->nested = 0;
    st->locked = 0;
    st->fence = 0;

    ngx_apikeys_store_set(&slot->epoch, 0);
    ngx_apikeys_store_set(&slot->leaving, 0);
    ngx_apikeys_store_set(&slot->start, st->start);
    ngx_apikeys_store_set(&slot->pid, ngx_pid);

    nslots = ngx_apikeys_store_load(&sh->nslots);

    while (nslots < n + 1
           && !__atomic_compare_exchange_n(&sh->nslots, &nslots, n + 1, 0,
                                           __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST))
    {
        /* void */
    }

    st->slot = slot;

    if (st->reloads == ngx_apikeys_store_load(&sh->reloads)) {
        ngx_apikeys_store_lines_check(st);
    }

    return NGX_OK;
}


void
ngx_apikeys_store_exit_process(ngx_apikeys_store_t *st)
{
    if (st->slot == NULL) {
        return;
    }

    ngx_apikeys_store_set(&st->slot->epoch, 0);
    ngx_apikeys_store_set(&st->slot->pid, 0);

    st->slot = NULL;
    st->nested = 0;
}


ngx_uint_t
ngx_apikeys_store_slot(ngx_apikeys_store_t *st)
{
    return st->slot - st->slots;
}


ngx_uint_t
ngx_apikeys_store_slots(ngx_apikeys_store_t *st)
{
    return ngx_apikeys_store_load(&st->head->nslots);
}


ngx_pid_t
ngx_apikeys_store_process(ngx_apikeys_store_t *st, ngx_uint_t n)
{
    uint64_t                   start;
    ngx_pid_t                  pid;
    ngx_apikeys_store_slot_t  *slot;

    slot = &st->slots[n];

    pid = ngx_apikeys_store_load(&slot->pid);
    start = ngx_apikeys_store_load(&slot->start);

    return (pid && ngx_apikeys_store_lock_process_alive(pid, start)) ? pid : 0;
}


void
ngx_apikeys_store_leaving(ngx_apikeys_store_t *st)
{
    if (st->slot) {
        ngx_apikeys_store_set(&st->slot->leaving, 1);
    }
}


void
ngx_apikeys_store_others(ngx_apikeys_store_t *st, ngx_uint_t *all,
    ngx_uint_t *staying)
{
    ngx_uint_t                 i, n;
    ngx_apikeys_store_slot_t  *slot;

    *all = 0;
    *staying = 0;

    n = ngx_apikeys_store_slots(st);

    for (i = 0; i < n; i++) {
        slot = &st->slots[i];

        if (slot == st->slot || ngx_apikeys_store_process(st, i) == 0) {
            continue;
        }

        (*all)++;
        *staying += !ngx_apikeys_store_load(&slot->leaving);
    }

    /*
     * The workers of a configuration that took the zone over may need longer
     * to start than the old ones to leave, and decide as soon as they do.
     */

    if (ngx_apikeys_store_load(&st->head->reloads) != st->reloads) {
        (*all)++;
        (*staying)++;
    }
}


ngx_uint_t
ngx_apikeys_store_complete(ngx_apikeys_store_t *st)
{
    return ngx_apikeys_store_load(&st->head->complete);
}


void *
ngx_apikeys_store_nonces(ngx_apikeys_store_t *st)
{
    return st->nonces;
}


const u_char *
ngx_apikeys_store_fingerprint(ngx_apikeys_store_t *st)
{
    return st->fingerprint;
}


void
ngx_apikeys_store_instance(ngx_apikeys_store_t *st, ngx_str_t *uuid)
{
    uuid->len = NGX_APIKEYS_STORE_UUID_LEN;
    uuid->data = st->head->instance;
}


void
ngx_apikeys_store_heir(ngx_apikeys_store_t *st, ngx_str_t *uuid)
{
    ngx_str_null(uuid);

    if (ngx_apikeys_store_load(&st->head->inherited)) {
        uuid->len = NGX_APIKEYS_STORE_UUID_LEN;
        uuid->data = st->head->heir;
    }
}


void
ngx_apikeys_store_stat(ngx_apikeys_store_t *st,
    ngx_apikeys_store_stat_t *stat)
{
    u_char                     line[NGX_APIKEYS_SEAL_LINE_LEN];
    ngx_apikeys_store_head_t  *sh;

    /* without the mutex: each figure is right, their sum may not be */

    sh = st->head;

    stat->keys = sh->counts.keys;
    stat->orgs = sh->counts.orgs;
    stat->projects = sh->counts.projects;
    stat->tombstones = sh->counts.tombstones;
    stat->invalid = sh->counts.invalid;
    stat->stubs = sh->counts.stubs;
    stat->lineless = ngx_apikeys_store_lines_missing(st, line);
    stat->size = (uint64_t) sh->arena.ncells * NGX_APIKEYS_ARENA_CELL;
    stat->free_bytes = (uint64_t) sh->arena.nfree * NGX_APIKEYS_ARENA_CELL;
    stat->reserved_bytes = (uint64_t) ngx_apikeys_store_room_reserve(st)
                           * NGX_APIKEYS_ARENA_CELL;
    stat->low = sh->room.low;
    stat->retired_bytes = ((uint64_t) sh->nretired + sh->lost)
                          * NGX_APIKEYS_ARENA_CELL;
    stat->epoch = sh->db_epoch;
    stat->load_failures = sh->load_failures;
    stat->repairs = sh->repairs;
    stat->complete = ngx_apikeys_store_complete(st);
    stat->age = ngx_apikeys_store_age(st);
    stat->lag = ngx_apikeys_store_lag(st);
    stat->behind = ngx_apikeys_store_load(&sh->behind);
}


/*
 * Buckets: two records each when every cell is one, which is when all are
 * projects; and two keys each when all are keys without lists.
 */

static void
ngx_apikeys_store_layout(ngx_apikeys_store_layout_t *l, size_t nonces,
    uint64_t ncells)
{
    size_t  bitmap;

    bitmap = ngx_apikeys_store_align(ngx_apikeys_arena_words(ncells)
                                     * sizeof(uint64_t));

    l->slots = ngx_apikeys_store_align(sizeof(ngx_apikeys_store_head_t));
    l->nonces = l->slots + NGX_APIKEYS_STORE_SLOTS
                           * sizeof(ngx_apikeys_store_slot_t);
    l->keys = l->nonces + ngx_apikeys_store_align(nonces);
    l->ids = l->keys + ngx_apikeys_store_align(ncells / 4 * sizeof(uint32_t));
    l->used = l->ids + ngx_apikeys_store_align(ncells / 2 * sizeof(uint32_t));
    l->marked = l->used + bitmap;
    l->cells = l->marked + bitmap;
    l->end = l->cells + ncells * NGX_APIKEYS_ARENA_CELL;
}


/* cells for which a block of memory has room */

static uint64_t
ngx_apikeys_store_max_cells(size_t nonces, size_t size)
{
    uint64_t                    ncells;
    ngx_apikeys_store_layout_t  l;

    ngx_apikeys_store_layout(&l, nonces, 0);

    if (size <= l.end) {
        return 0;
    }

    /* 64 bytes, two bits, three quarters of a bucket: 67.25 bytes */

    ncells = (uint64_t) (size - l.end) * 4 / 269;

    do {
        ngx_apikeys_store_layout(&l, nonces, ncells);
    } while (l.end > size && ncells--);

    return ncells;
}


uint64_t
ngx_apikeys_store_zone_size(size_t nonces, uint64_t cells)
{
    uint64_t                    size;
    ngx_apikeys_store_layout_t  l;

    ngx_apikeys_store_layout(&l, nonces, cells);

    /* a page of the slab also costs its descriptor, and its head some */

    size = l.end + l.end / ngx_pagesize * sizeof(ngx_slab_page_t)
           + 4 * ngx_pagesize;

    return ngx_align(size, (uint64_t) ngx_pagesize);
}


static void
ngx_apikeys_store_attach(ngx_apikeys_store_t *st,
    ngx_apikeys_store_head_t *sh)
{
    u_char                      *p;
    ngx_apikeys_store_layout_t   l;

    ngx_apikeys_store_layout(&l, st->nonces_size, sh->arena.ncells);

    p = (u_char *) sh;

    st->head = sh;
    st->slots = (ngx_apikeys_store_slot_t *) (p + l.slots);
    st->nonces = p + l.nonces;
    st->keys = (uint32_t *) (p + l.keys);
    st->ids = (uint32_t *) (p + l.ids);

    st->arena.sh = &sh->arena;
    st->arena.used = (uint64_t *) (p + l.used);
    st->arena.marked = (uint64_t *) (p + l.marked);
    st->arena.cells = (ngx_apikeys_arena_cell_t *) (p + l.cells);
}


static ngx_int_t
ngx_apikeys_store_init_head(ngx_apikeys_store_t *st,
    ngx_apikeys_store_head_t *sh, uint32_t ncells)
{
    u_char                      random[16];
    ngx_apikeys_store_layout_t  l;

    /* cells are zeroed when they are handed out */

    ngx_apikeys_store_layout(&l, st->nonces_size, ncells);
    ngx_memzero(sh, l.cells);

    if (RAND_bytes((u_char *) sh->seed, sizeof(sh->seed)) != 1
        || RAND_bytes(random, sizeof(random)) != 1)
    {
        ngx_log_error(NGX_LOG_EMERG, st->log, 0, "RAND_bytes() failed");
        return NGX_ERROR;
    }

    sh->magic = NGX_APIKEYS_STORE_MAGIC;
    sh->layout = NGX_APIKEYS_STORE_LAYOUT;
    sh->nonces = st->nonces_size;
    sh->nkeys = ncells / 4;
    sh->nids = ncells / 2;
    sh->epoch = 1;
    sh->arena.ncells = ncells;

    ngx_memcpy(sh->fingerprint, st->fingerprint, sizeof(sh->fingerprint));
    ngx_apikeys_store_make_uuid(sh->instance, random);

    ngx_apikeys_store_attach(st, sh);
    ngx_apikeys_arena_init(&st->arena, ncells);

    return NGX_OK;
}


static void
ngx_apikeys_store_make_uuid(u_char *uuid, const u_char *random)
{
    u_char      *p, byte;
    ngx_uint_t   i;

    p = uuid;

    for (i = 0; i < 16; i++) {
        byte = random[i];

        if (i == 6) {
            byte = (u_char) ((byte & 0x0f) | 0x40);     /* version 4 */

        } else if (i == 8) {
            byte = (u_char) ((byte & 0x3f) | 0x80);
        }

        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *p++ = '-';
        }

        p = ngx_hex_dump(p, &byte, 1);
    }
}


ngx_apikeys_store_t *
ngx_apikeys_store_create(ngx_conf_t *cf, ngx_str_t *name, size_t size,
    void *tag, size_t nonces)
{
    uint64_t              min;
    ngx_shm_zone_t       *shm_zone;
    ngx_apikeys_store_t  *st;

    min = ngx_apikeys_store_zone_size(nonces, NGX_APIKEYS_STORE_MIN_CELLS);

    if (size < min) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "apikeys zone \"%V\" of %uz bytes is too small, "
                           "it must have at least %uL bytes",
                           name, size, min);
        return NULL;
    }

    if (ngx_apikeys_store_max_cells(nonces, size)
        > NGX_APIKEYS_ARENA_MAX_CELLS)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "apikeys zone \"%V\" of %uz bytes is too large, "
                           "it may have at most 128 gigabytes", name, size);
        return NULL;
    }

    shm_zone = ngx_shared_memory_add(cf, name, size, tag);
    if (shm_zone == NULL) {
        return NULL;
    }

    if (shm_zone->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "apikeys zone \"%V\" is duplicate", name);
        return NULL;
    }

    st = ngx_pcalloc(cf->pool, sizeof(ngx_apikeys_store_t));
    if (st == NULL) {
        return NULL;
    }

    st->shm_zone = shm_zone;
    st->cycle = cf->cycle;
    st->log = &cf->cycle->new_log;
    st->nonces_size = nonces;

    shm_zone->init = ngx_apikeys_store_init_zone;
    shm_zone->data = st;

    return st;
}


void
ngx_apikeys_store_set_fingerprint(ngx_apikeys_store_t *st,
    const u_char fingerprint[32])
{
    ngx_shm_zone_t       *zone;
    ngx_apikeys_store_t  *old;

    ngx_memcpy(st->fingerprint, fingerprint, sizeof(st->fingerprint));

    zone = ngx_apikeys_store_old(st);

    if (zone == NULL) {
        return;
    }

    old = zone->data;

    if (old && old->head && !ngx_apikeys_store_same_head(st, old->head)) {
        st->shm_zone->noreuse = 1;
    }

    /*
     * nginx asks the new zone whether the memory is used again, and the old
     * one whether it is freed: with another answer, that of an earlier
     * reload, it would free what is in use.
     */

    zone->noreuse = st->shm_zone->noreuse;
}


void
ngx_apikeys_store_on_ready(ngx_apikeys_store_t *st,
    ngx_apikeys_store_ready_pt handler, void *data)
{
    st->ready = handler;
    st->ready_data = data;
}


/* the same zone in the cycle that is being replaced, or NULL */

static ngx_shm_zone_t *
ngx_apikeys_store_old(ngx_apikeys_store_t *st)
{
    ngx_uint_t        i;
    ngx_shm_zone_t   *zone;
    ngx_list_part_t  *part;

    if (st->cycle->old_cycle == NULL) {
        return NULL;
    }

    part = &st->cycle->old_cycle->shared_memory.part;
    zone = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            zone = part->elts;
            i = 0;
        }

        if (zone[i].tag == st->shm_zone->tag
            && zone[i].shm.name.len == st->shm_zone->shm.name.len
            && ngx_strncmp(zone[i].shm.name.data,
                           st->shm_zone->shm.name.data,
                           zone[i].shm.name.len)
               == 0)
        {
            return &zone[i];
        }
    }
}


static ngx_uint_t
ngx_apikeys_store_same_head(ngx_apikeys_store_t *st,
    ngx_apikeys_store_head_t *sh)
{
    return sh->magic == NGX_APIKEYS_STORE_MAGIC
           && sh->layout == NGX_APIKEYS_STORE_LAYOUT
           && sh->nonces == st->nonces_size
           && CRYPTO_memcmp(sh->fingerprint, st->fingerprint,
                            sizeof(sh->fingerprint))
              == 0;
}


static ngx_int_t
ngx_apikeys_store_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_int_t             rc;
    ngx_uint_t            empty;
    ngx_shm_zone_t       *zone;
    ngx_apikeys_store_t  *st, *old;

    st = shm_zone->data;
    old = data;

    st->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    /*
     * Since nginx 1.27.3 "data" is the old zone's where the new one has
     * memory of its own, too.
     */

    if (old && old->shpool == st->shpool) {

        /*
         * On a reload this runs in the master while the old workers use the
         * zone: nothing is written but that there was one, which stands also
         * where the rest of the configuration fails.
         */

        if (!ngx_apikeys_store_same_head(st, old->head)) {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "apikeys zone \"%V\" was made under another "
                          "realm", &shm_zone->shm.name);
            return NGX_ERROR;
        }

        ngx_apikeys_store_attach(st, old->head);

        st->reloads = __atomic_add_fetch(&st->head->reloads, 1,
                                         __ATOMIC_SEQ_CST);

        return st->ready ? st->ready(st->ready_data, st->log, 0) : NGX_OK;
    }

    if (ngx_apikeys_store_make(st) != NGX_OK) {
        return NGX_ERROR;
    }

    zone = ngx_apikeys_store_old(st);
    old = zone ? zone->data : NULL;

    empty = !(old && old->head && ngx_apikeys_store_copy(st, old) == NGX_OK);

    if (st->ready == NULL) {
        return NGX_OK;
    }

    rc = st->ready(st->ready_data, st->log, empty);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    /* half a snapshot is nothing to add to; nobody has seen the zone yet */

    return ngx_apikeys_store_init_head(st, st->head, st->head->arena.ncells);
}


/* a new zone: its memory and its head */

static ngx_int_t
ngx_apikeys_store_make(ngx_apikeys_store_t *st)
{
    void            *block;
    size_t           size;
    uint64_t         ncells;
    ngx_shm_zone_t  *shm_zone;

    shm_zone = st->shm_zone;

    /* it holds what digest credentials are verified with */

#ifdef MADV_DONTDUMP

    if (madvise(shm_zone->shm.addr, shm_zone->shm.size, MADV_DONTDUMP) == -1)
    {
        ngx_log_error(NGX_LOG_ALERT, shm_zone->shm.log, ngx_errno,
                      "madvise(MADV_DONTDUMP) failed");
    }

#endif

    size = st->shpool->pfree * ngx_pagesize;
    ncells = ngx_apikeys_store_max_cells(st->nonces_size, size);

    block = ngx_slab_alloc(st->shpool, size);

    if (block == NULL || ncells < 2) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "apikeys zone \"%V\" could not be laid out",
                      &shm_zone->shm.name);
        return NGX_ERROR;
    }

    if (ngx_apikeys_store_init_head(st, block, (uint32_t) ncells) != NGX_OK) {
        return NGX_ERROR;
    }

    st->shpool->data = block;

    return NGX_OK;
}
