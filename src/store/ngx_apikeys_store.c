
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The zone as a whole: how it is made, kept and attached to; the reader slots
 * of processes; the metrics.
 *
 * All memory of the slab is allocated at once, when the zone is made, as the
 * slab does not survive a process that is killed inside it.  On a reload the
 * zone is kept if it has the same size and fingerprint; nothing in it is
 * changed but "reloads", as the old workers go on using it.  Old and new
 * workers with different realms must not share a zone: then the new cycle gets
 * new memory ("noreuse"), which is decided while the configuration is read.  A
 * zone of another size is filled from the old one before the new workers
 * start.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <ngx_apikeys_store_int.h>


#define NGX_APIKEYS_STORE_MIN_CELLS    4096

#define ngx_apikeys_store_align(n)     ngx_align(n, NGX_APIKEYS_ARENA_CELL)


/* offsets from the head, bytes */
typedef struct {
    size_t    slots;
    size_t    area;
    size_t    keys;
    size_t    ids;
    size_t    used;
    size_t    marked;
    size_t    cells;
    size_t    end;
} ngx_apikeys_store_layout_t;


static void ngx_apikeys_store_layout(ngx_apikeys_store_layout_t *l,
    size_t area_size, uint64_t ncells);
static uint64_t ngx_apikeys_store_max_cells(size_t area_size, size_t size);
static void ngx_apikeys_store_attach(ngx_apikeys_store_t *st,
    ngx_apikeys_store_head_t *sh);
static ngx_int_t ngx_apikeys_store_init_head(ngx_apikeys_store_t *st,
    ngx_apikeys_store_head_t *sh, uint32_t ncells);
static ngx_shm_zone_t *ngx_apikeys_store_old_zone(ngx_apikeys_store_t *st);
static ngx_uint_t ngx_apikeys_store_same_head(ngx_apikeys_store_t *st,
    ngx_apikeys_store_head_t *sh);
static ngx_int_t ngx_apikeys_store_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_int_t ngx_apikeys_store_make_zone(ngx_apikeys_store_t *st);


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
                      "apikeys: internal error: slot %uD of zone \"%V\" is "
                      "still used by process %P, restart nginx and report this",
                      n, &st->shm_zone->shm.name, slot->pid);
        return NGX_ERROR;
    }

    st->log = log;
    st->start = ngx_apikeys_store_lock_process_start(ngx_pid);

    /* fork() may have copied the state of a parent inside a section */

    st->nested = 0;
    st->locked = 0;
    st->lease_number = 0;

    ngx_apikeys_atomic_store(&slot->reclaim_epoch, 0);
    ngx_apikeys_atomic_store(&slot->exiting, 0);
    ngx_apikeys_atomic_store(&slot->start, st->start);
    ngx_apikeys_atomic_store(&slot->pid, ngx_pid);

    nslots = ngx_apikeys_atomic_load(&sh->nslots);

    while (nslots < n + 1
           && !__atomic_compare_exchange_n(&sh->nslots, &nslots, n + 1, 0,
                                           __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST))
    {
        /* void */
    }

    st->slot = slot;

    /*
     * Only workers of the current cycle are started.  So if a reload has
     * filled a successor from this zone, that reload has failed.
     */

    if (ngx_process != NGX_PROCESS_MASTER) {
        ngx_apikeys_atomic_store(&sh->successor_at, 0);
    }

    if (st->reloads == ngx_apikeys_atomic_load(&sh->reloads)) {
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

    ngx_apikeys_atomic_store(&st->slot->reclaim_epoch, 0);
    ngx_apikeys_atomic_store(&st->slot->pid, 0);

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
    return ngx_apikeys_atomic_load(&st->head->nslots);
}


ngx_pid_t
ngx_apikeys_store_process(ngx_apikeys_store_t *st, ngx_uint_t n)
{
    uint64_t                   start;
    ngx_pid_t                  pid;
    ngx_apikeys_store_slot_t  *slot;

    slot = &st->slots[n];

    pid = ngx_apikeys_atomic_load(&slot->pid);
    start = ngx_apikeys_atomic_load(&slot->start);

    return (pid && ngx_apikeys_store_lock_process_alive(pid, start)) ? pid : 0;
}


void
ngx_apikeys_store_set_exiting(ngx_apikeys_store_t *st)
{
    if (st->slot) {
        ngx_apikeys_atomic_store(&st->slot->exiting, 1);
    }
}


void
ngx_apikeys_store_count_processes(ngx_apikeys_store_t *st, ngx_uint_t *all,
    ngx_uint_t *not_exiting)
{
    ngx_uint_t                 i, n;
    ngx_apikeys_store_slot_t  *slot;

    *all = 0;
    *not_exiting = 0;

    n = ngx_apikeys_store_slots(st);

    for (i = 0; i < n; i++) {
        slot = &st->slots[i];

        if (slot == st->slot || ngx_apikeys_store_process(st, i) == 0) {
            continue;
        }

        (*all)++;
        *not_exiting += !ngx_apikeys_atomic_load(&slot->exiting);
    }

    /*
     * After a reload that kept the zone one more process is counted: the new
     * workers may attach only after the old ones have exited, and the zone
     * must not be signed off between.
     */

    if (ngx_apikeys_atomic_load(&st->head->reloads) != st->reloads) {
        (*all)++;
        (*not_exiting)++;
    }
}


ngx_uint_t
ngx_apikeys_store_complete(ngx_apikeys_store_t *st)
{
    return ngx_apikeys_atomic_load(&st->head->complete);
}


void *
ngx_apikeys_store_metrics_and_nonces(ngx_apikeys_store_t *st)
{
    return st->area;
}


ngx_apikeys_failure_t *
ngx_apikeys_store_failure(ngx_apikeys_store_t *st, ngx_apikeys_failure_e kind)
{
    return &st->head->failures[kind];
}


const u_char *
ngx_apikeys_store_fingerprint(ngx_apikeys_store_t *st)
{
    return st->fingerprint;
}


void
ngx_apikeys_store_instance(ngx_apikeys_store_t *st, ngx_str_t *uuid)
{
    uuid->len = NGX_APIKEYS_UUID_TEXT_LEN;
    uuid->data = st->head->instance;
}


uint64_t
ngx_apikeys_store_successor(ngx_apikeys_store_t *st, ngx_str_t *uuid)
{
    uint64_t  successor_at;

    ngx_str_null(uuid);

    /* pairs with the fence in ngx_apikeys_store_copy_zone() */

    __atomic_thread_fence(__ATOMIC_SEQ_CST);

    successor_at = ngx_apikeys_atomic_load(&st->head->successor_at);

    if (successor_at) {
        uuid->len = NGX_APIKEYS_UUID_TEXT_LEN;
        uuid->data = st->head->successor;
    }

    return successor_at;
}


void
ngx_apikeys_store_stat(ngx_apikeys_store_t *st,
    ngx_apikeys_store_stat_t *stat)
{
    u_char                     line[NGX_APIKEYS_SEAL_LINE_LEN];
    ngx_apikeys_store_head_t  *sh;

    /* without the mutex: each value is right, sums of them may not be */

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
    stat->retired_bytes = ((uint64_t) sh->nretired + sh->unreachable)
                          * NGX_APIKEYS_ARENA_CELL;
    stat->epoch = sh->generation;
    stat->load_failures = sh->load_failures;
    stat->repairs = sh->repairs;
    stat->complete = ngx_apikeys_store_complete(st);
    stat->age = ngx_apikeys_store_age(st);
    stat->lag = ngx_apikeys_store_lag(st);
    stat->behind = ngx_apikeys_atomic_load(&sh->behind);
}


/*
 * Hash buckets: cells / 2 for ids (two records each if all objects are
 * projects), cells / 4 for public keys (1.3 keys each if no key has a list).
 */

static void
ngx_apikeys_store_layout(ngx_apikeys_store_layout_t *l, size_t area_size,
    uint64_t ncells)
{
    size_t  bitmap;

    bitmap = ngx_apikeys_store_align(ngx_apikeys_arena_words(ncells)
                                     * sizeof(uint64_t));

    l->slots = ngx_apikeys_store_align(sizeof(ngx_apikeys_store_head_t));
    l->area = l->slots + NGX_APIKEYS_STORE_SLOTS
                           * sizeof(ngx_apikeys_store_slot_t);
    l->keys = l->area + ngx_apikeys_store_align(area_size);
    l->ids = l->keys + ngx_apikeys_store_align(ncells / 4 * sizeof(uint32_t));
    l->used = l->ids + ngx_apikeys_store_align(ncells / 2 * sizeof(uint32_t));
    l->marked = l->used + bitmap;
    l->cells = l->marked + bitmap;
    l->end = l->cells + ncells * NGX_APIKEYS_ARENA_CELL;
}


/* number of cells for which a block of memory has room */

static uint64_t
ngx_apikeys_store_max_cells(size_t area_size, size_t size)
{
    uint64_t                    ncells;
    ngx_apikeys_store_layout_t  l;

    ngx_apikeys_store_layout(&l, area_size, 0);

    if (size <= l.end) {
        return 0;
    }

    /* a cell, two bits, 3/4 of a bucket: 64 + 1/4 + 3 = 67.25 bytes */

    ncells = (uint64_t) (size - l.end) * 4 / 269;

    do {
        ngx_apikeys_store_layout(&l, area_size, ncells);
    } while (l.end > size && ncells--);

    return ncells;
}


uint64_t
ngx_apikeys_store_zone_size(size_t area_size, uint64_t cells)
{
    uint64_t                    size;
    ngx_apikeys_store_layout_t  l;

    ngx_apikeys_store_layout(&l, area_size, cells);

    /* and a descriptor for each page of the slab, and the slab's head */

    size = l.end + l.end / ngx_pagesize * sizeof(ngx_slab_page_t)
           + 4 * ngx_pagesize;

    return ngx_align(size, (uint64_t) ngx_pagesize);
}


uint64_t
ngx_apikeys_store_min_size(size_t area_size)
{
    return ngx_apikeys_store_zone_size(area_size, NGX_APIKEYS_STORE_MIN_CELLS);
}


static void
ngx_apikeys_store_attach(ngx_apikeys_store_t *st,
    ngx_apikeys_store_head_t *sh)
{
    u_char                      *p;
    ngx_apikeys_store_layout_t   l;

    ngx_apikeys_store_layout(&l, st->area_size, sh->arena.ncells);

    p = (u_char *) sh;

    st->head = sh;
    st->slots = (ngx_apikeys_store_slot_t *) (p + l.slots);
    st->area = p + l.area;
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
    u_char                      random[NGX_APIKEYS_UUID_LEN];
    ngx_apikeys_store_layout_t  l;

    /* cells are zeroed when they are allocated */

    ngx_apikeys_store_layout(&l, st->area_size, ncells);
    ngx_memzero(sh, l.cells);

    if (RAND_bytes((u_char *) sh->seed, sizeof(sh->seed)) != 1
        || RAND_bytes(random, sizeof(random)) != 1)
    {
        ngx_log_error(NGX_LOG_EMERG, st->log, 0,
                      "apikeys: no random numbers from OpenSSL for zone "
                      "\"%V\": RAND_bytes() failed",
                      &st->shm_zone->shm.name);
        return NGX_ERROR;
    }

    sh->magic = NGX_APIKEYS_STORE_MAGIC;
    sh->layout = NGX_APIKEYS_STORE_LAYOUT;
    sh->area_size = st->area_size;
    sh->nkeys = ncells / 4;
    sh->nids = ncells / 2;
    sh->reclaim_epoch = 1;
    sh->arena.ncells = ncells;

    ngx_memcpy(sh->fingerprint, st->fingerprint, sizeof(sh->fingerprint));
    ngx_apikeys_uuid_write(sh->instance, random);

    ngx_apikeys_store_attach(st, sh);
    ngx_apikeys_arena_init(&st->arena, ncells);

    return NGX_OK;
}


ngx_apikeys_store_t *
ngx_apikeys_store_create(ngx_conf_t *cf, ngx_str_t *name, size_t size,
    void *tag, size_t area_size)
{
    uint64_t              min;
    ngx_shm_zone_t       *shm_zone;
    ngx_apikeys_store_t  *st;

    min = ngx_apikeys_store_min_size(area_size);

    if (size < min) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" in \"apikeys_zone\" is too small: "
                           "has %uz bytes, needs at least %uL",
                           name, size, min);
        return NULL;
    }

    if (ngx_apikeys_store_max_cells(area_size, size)
        > NGX_APIKEYS_ARENA_MAX_CELLS)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" in \"apikeys_zone\" is too large: "
                           "has %uz bytes, at most 128 gigabytes are possible",
                           name, size);
        return NULL;
    }

    shm_zone = ngx_shared_memory_add(cf, name, size, tag);
    if (shm_zone == NULL) {
        return NULL;
    }

    if (shm_zone->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" in \"apikeys_zone\" is duplicate",
                           name);
        return NULL;
    }

    st = ngx_pcalloc(cf->pool, sizeof(ngx_apikeys_store_t));
    if (st == NULL) {
        return NULL;
    }

    st->shm_zone = shm_zone;
    st->cycle = cf->cycle;
    st->log = &cf->cycle->new_log;
    st->area_size = area_size;

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

    zone = ngx_apikeys_store_old_zone(st);

    if (zone == NULL) {
        return;
    }

    old = zone->data;

    if (old && old->head && !ngx_apikeys_store_same_head(st, old->head)) {
        st->shm_zone->noreuse = 1;
    }

    /*
     * nginx checks "noreuse" of the new zone to decide whether the memory is
     * reused, and of the old zone to decide whether it is freed.  Both must
     * agree: a flag that an earlier reload left would free memory in use.
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
ngx_apikeys_store_old_zone(ngx_apikeys_store_t *st)
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
           && sh->area_size == st->area_size
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
     * Since nginx 1.27.3 "data" is that of the old zone even if the new zone
     * has other memory.
     */

    if (old && old->shpool == st->shpool) {

        /*
         * On a reload this runs in the master while the old workers use the
         * zone.  Only "reloads" is incremented, even if the rest of the
         * configuration fails later.
         */

        if (!ngx_apikeys_store_same_head(st, old->head)) {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "apikeys: zone \"%V\" was made with another "
                          "apikeys_realm or by another version of the module: "
                          "restart nginx", &shm_zone->shm.name);
            return NGX_ERROR;
        }

        ngx_apikeys_store_attach(st, old->head);

        st->reloads = __atomic_add_fetch(&st->head->reloads, 1,
                                         __ATOMIC_SEQ_CST);

        return st->ready ? st->ready(st->ready_data, st->log, 0) : NGX_OK;
    }

    if (ngx_apikeys_store_make_zone(st) != NGX_OK) {
        return NGX_ERROR;
    }

    zone = ngx_apikeys_store_old_zone(st);
    old = zone ? zone->data : NULL;

    empty = !(old && old->head && ngx_apikeys_store_copy(st, old) == NGX_OK);

    if (st->ready == NULL) {
        return NGX_OK;
    }

    rc = st->ready(st->ready_data, st->log, empty);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    /* discard a partly loaded snapshot; no worker uses the zone yet */

    return ngx_apikeys_store_init_head(st, st->head, st->head->arena.ncells);
}


/* allocates the memory of a new zone and initializes it */

static ngx_int_t
ngx_apikeys_store_make_zone(ngx_apikeys_store_t *st)
{
    void            *block;
    size_t           size;
    uint64_t         ncells;
    ngx_shm_zone_t  *shm_zone;

    shm_zone = st->shm_zone;

    /* the zone contains secrets: keep it out of core dumps */

#ifdef MADV_DONTDUMP

    if (madvise(shm_zone->shm.addr, shm_zone->shm.size, MADV_DONTDUMP) == -1)
    {
        ngx_log_error(NGX_LOG_ALERT, shm_zone->shm.log, ngx_errno,
                      "apikeys: zone \"%V\" cannot be excluded from core "
                      "dumps, disable them: madvise(MADV_DONTDUMP) failed",
                      &shm_zone->shm.name);
    }

#endif

    size = st->shpool->pfree * ngx_pagesize;
    ncells = ngx_apikeys_store_max_cells(st->area_size, size);

    block = ngx_slab_alloc(st->shpool, size);

    if (block == NULL || ncells < 2) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "apikeys: internal error: cannot initialize zone "
                      "\"%V\" of %uz bytes, please report",
                      &shm_zone->shm.name, shm_zone->shm.size);
        return NGX_ERROR;
    }

    if (ngx_apikeys_store_init_head(st, block, (uint32_t) ncells) != NGX_OK) {
        return NGX_ERROR;
    }

    st->shpool->data = block;

    return NGX_OK;
}
