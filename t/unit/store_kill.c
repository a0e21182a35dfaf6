
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A writer killed at any instruction.  A child does a piece of work one
 * instruction at a time; whenever the zone has changed, a copy of it is what
 * a kill would have left at that moment.  In each copy readers must find
 * what was there before or what was meant, whole; the next writer must free
 * the lock, repair, and lose nothing; and the same work done again must end
 * as if nobody had been killed.
 */


#include "unit.h"

#include <sys/mman.h>
#include <sys/ptrace.h>


#define NKEYS  24


typedef struct {
    const char           *name;
    void                (*before)(ngx_apikeys_store_t *st);
    void                (*work)(ngx_apikeys_store_t *st);
} work_t;


typedef struct {
    int64_t               by_name[NKEYS];
    int64_t               by_id[NKEYS];
} view_t;


static u_char               *copy, *last;
static size_t                size;
static ngx_pid_t             dead;
static ngx_slab_pool_t       copy_pool;
static ngx_apikeys_store_t   copy_store;


/* work, and what precedes it */

static void
base(ngx_apikeys_store_t *st)
{
    uint32_t    load;
    ngx_uint_t  n;

    load = unit_load_begin(st, 1);

    for (n = 0; n < 12; n++) {
        (void) unit_publish(st, n, 10 + n, n * 9, n * 3, load);
    }

    (void) unit_load_sweep(st, load);
    (void) unit_delete(st, 11, 30);
}


static void
work_replace(ngx_apikeys_store_t *st)
{
    (void) unit_publish(st, 5, 100, 60, 5, 0);
    (void) unit_publish(st, 0, 101, 0, 0, 0);
}


static void
work_add(ngx_apikeys_store_t *st)
{
    (void) unit_publish(st, 20, 100, 20, 5, 0);
    (void) unit_publish(st, 11, 101, 20, 0, 0);
}


static void
work_delete(ngx_apikeys_store_t *st)
{
    (void) unit_delete(st, 5, 100);
    (void) unit_delete(st, 21, 100);
    (void) unit_delete(st, 4, 100);
}


static void
work_rename(ngx_apikeys_store_t *st)
{
    ngx_apikeys_store_key_t  key;

    (void) ngx_apikeys_store_lock(st);

    /* 6 takes the name of 7, then 7 gets another */

    key = unit_key(6, 100, 5, 5);
    unit_public_key(key.public_key, 7);
    (void) ngx_apikeys_store_publish_key_locked(st, &key, 0);

    key = unit_key(7, 101, 5, 5);
    unit_public_key(key.public_key, 22);
    (void) ngx_apikeys_store_publish_key_locked(st, &key, 0);

    ngx_apikeys_store_unlock(st);
}


static void
before_reclaim(ngx_apikeys_store_t *st)
{
    ngx_uint_t  i;

    base(st);

    for (i = 0; i < 6; i++) {
        (void) unit_publish(st, 8, 200 + i, 40, 20, 0);
        (void) unit_publish(st, 9, 210 + i, 3, 0, 0);
        (void) unit_delete(st, i, 220 + i);
    }
}


static void
work_reclaim(ngx_apikeys_store_t *st)
{
    ngx_uint_t  i;

    for (i = 0; i < 3; i++) {
        if (ngx_apikeys_store_lock(st) == NGX_OK) {
            ngx_apikeys_store_unlock(st);
        }
    }
}


static void
work_forget(ngx_apikeys_store_t *st)
{
    if (ngx_apikeys_store_lock(st) == NGX_OK) {
        while (ngx_apikeys_store_forget_locked(st, 1000, 3) == NGX_AGAIN) {
            /* void */
        }

        ngx_apikeys_store_unlock(st);
    }
}


static void
work_load(ngx_apikeys_store_t *st)
{
    uint32_t  load;

    load = unit_load_begin(st, 0);

    (void) unit_publish(st, 1, 11, 9, 3, load);
    (void) unit_publish(st, 2, 100, 9, 3, load);
    (void) unit_publish(st, 23, 101, 9, 3, load);

    (void) unit_load_sweep(st, load);
}


/* the state that a killed writer left, and the repair killed in turn */

static void
before_repair(ngx_apikeys_store_t *st)
{
    uint32_t                     i;
    ngx_apikeys_store_key_t      key;
    ngx_apikeys_store_record_t  *rec;

    before_reclaim(st);

    /* lost cells, a name that is missing, one of a replaced record */

    (void) ngx_apikeys_arena_alloc(&st->arena);
    (void) ngx_apikeys_arena_alloc(&st->arena);

    key = unit_key(6, 1, 0, 0);
    ngx_apikeys_store_write_unlink_key(st,
          *ngx_apikeys_store_write_find(st, NGX_APIKEYS_STORE_KEY, &key.id));

    key = unit_key(7, 1, 0, 0);
    i = ngx_apikeys_arena_alloc(&st->arena);
    rec = ngx_apikeys_store_record(st, i);
    *rec = *ngx_apikeys_store_record(st,
          *ngx_apikeys_store_write_find(st, NGX_APIKEYS_STORE_KEY, &key.id));
    *ngx_apikeys_store_key_bucket(st, key.public_key) = i;

    st->head->dirty = 1;
}


/* a zone that has no room for more keys, nor for a longer list */

static void
before_refuse(ngx_apikeys_store_t *st)
{
    ngx_uint_t  n;

    base(st);

    for (n = 1000; st->head->counts.stubs == 0; n++) {
        (void) unit_publish(st, n, 100, 200, 0, 0);
    }
}


static void
work_refuse(ngx_apikeys_store_t *st)
{
    (void) unit_publish(st, 20, 200, 300, 0, 0);
    (void) unit_publish(st, 5, 201, 300, 5, 0);
}


static void
before_heal(ngx_apikeys_store_t *st)
{
    before_refuse(st);
    work_refuse(st);
    (void) unit_delete(st, 5, 202);
    (void) unit_publish(st, 6, 203, 300, 0, 0);
}


static void
work_heal(ngx_apikeys_store_t *st)
{
    (void) unit_publish(st, 20, 200, 20, 0, 0);
    (void) unit_publish(st, 6, 203, 20, 0, 0);
}


static work_t  works[] = {
    { "replacing", base, work_replace },
    { "adding", base, work_add },
    { "deleting", base, work_delete },
    { "renaming", base, work_rename },
    { "reclaiming", before_reclaim, work_reclaim },
    { "forgetting", before_reclaim, work_forget },
    { "loading", base, work_load },
    { "repairing", before_repair, work_reclaim },
    { "refusing memory", before_refuse, work_refuse },
    { "healing", before_heal, work_heal }
};


static void
look(ngx_apikeys_store_t *st, view_t *view)
{
    uint64_t                 n;
    ngx_uint_t               i;
    ngx_apikeys_objectid_t   id;
    ngx_apikeys_store_ref_t  ref;

    ngx_apikeys_store_read_begin(st);

    for (i = 0; i < NKEYS; i++) {

        view->by_name[i] = unit_find(st, i, &ref);

        if (view->by_name[i] == NGX_OK) {
            ngx_memcpy(&n, ref.id->data, sizeof(n));
            view->by_name[i] = unit_key_wrong(st, &ref, n)
                               ? -100 : (int64_t) ref.version;
        }

        id = unit_id(i);
        view->by_id[i] = ngx_apikeys_store_key_by_id(st, &id, &ref);

        if (view->by_id[i] == NGX_OK) {
            view->by_id[i] = unit_key_wrong(st, &ref, i)
                             ? -100 : (int64_t) ref.version;
        }
    }

    ngx_apikeys_store_read_end(st);
}


/* each object as before or as after, or not to be told */

static ngx_uint_t
astray(const char *when, view_t *view, view_t *before, view_t *after)
{
    int64_t     *v, *b, *a;
    ngx_uint_t   i, n;

    v = (int64_t *) view;
    b = (int64_t *) before;
    a = (int64_t *) after;
    n = 0;

    for (i = 0; i < sizeof(view_t) / sizeof(int64_t); i++) {

        if (v[i] != a[i] && (b == NULL || (v[i] != b[i] && v[i] != NGX_BUSY)))
        {
            printf("# %s: object %d is %d, was %d, will be %d\n", when,
                   (int) i, (int) v[i], b ? (int) b[i] : 0, (int) a[i]);
            n++;
        }
    }

    return n;
}


/* the store over a copy of the zone, whose writer is no more */

static ngx_apikeys_store_t *
attach(ngx_apikeys_store_t *st, ngx_pid_t writer)
{
    off_t                 delta;
    ngx_apikeys_store_t  *c;

    c = &copy_store;
    *c = *st;

    delta = copy - st->shm_zone->shm.addr;

#define move(p)  c->p = (void *) ((u_char *) c->p + delta)

    move(head);
    move(slots);
    move(slot);
    move(area);
    move(keys);
    move(ids);
    move(arena.sh);
    move(arena.used);
    move(arena.marked);
    move(arena.cells);

#undef move

    copy_pool = *st->shpool;
    copy_pool.mutex.semaphore = 0;
    copy_pool.mutex.lock = (ngx_atomic_t *)
                             ((u_char *) st->shpool->mutex.lock + delta);
    c->shpool = &copy_pool;

    if (*copy_pool.mutex.lock == (ngx_atomic_uint_t) writer) {
        *copy_pool.mutex.lock = dead;
        c->head->writer = c->head->writer ? dead : 0;
    }

    return c;
}


static ngx_uint_t
autopsy(work_t *w, ngx_apikeys_store_t *st, ngx_pid_t writer, view_t *before,
    view_t *after)
{
    view_t                view;
    ngx_uint_t            faults;
    ngx_apikeys_store_t  *c;

    c = attach(st, writer);

    look(c, &view);
    faults = astray("left", &view, before, after);

    faults += unit_check(c);

    look(c, &view);
    faults += astray("repaired", &view, before, after);

    w->work(c);

    look(c, &view);
    faults += astray("done again", &view, NULL, after);

    return faults + unit_check(c);
}


static void
run(work_t *w)
{
    int                   status;
    view_t                before, after;
    u_char               *zone;
    ngx_pid_t             pid;
    ngx_uint_t            steps, states, faults;
    ngx_apikeys_store_t  *st;

    st = unit_store(size);
    zone = st->shm_zone->shm.addr;

    w->before(st);
    look(st, &before);

    /* how it ends when nobody is killed, tried on a copy */

    ngx_memcpy(copy, zone, size);
    w->work(attach(st, 0));
    look(&copy_store, &after);

    fflush(stdout);
    pid = fork();

    if (pid == 0) {
        ngx_pid = ngx_getpid();
        st->start = 0;

        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1) {
            _exit(77);
        }

        raise(SIGSTOP);
        w->work(st);
        _exit(0);
    }

    status = unit_wait(pid);

    if (WIFEXITED(status)) {
        ok(1, "%s # SKIP ptrace is not permitted", w->name);
        unit_store_free(st);
        return;
    }

    ngx_memcpy(last, zone, size);

    steps = 0;
    states = 0;
    faults = 0;

    while (faults == 0) {

        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == -1) {
            break;
        }

        status = unit_wait(pid);

        if (!WIFSTOPPED(status)) {
            break;
        }

        steps++;

        if (memcmp(last, zone, size) == 0) {
            continue;
        }

        states++;
        ngx_memcpy(last, zone, size);
        ngx_memcpy(copy, zone, size);

        faults += autopsy(w, st, pid, &before, &after);
    }

    if (WIFSTOPPED(status)) {
        kill(pid, SIGKILL);
        (void) unit_wait(pid);
    }

    ok(faults == 0 && states > 20 && WIFEXITED(status),
       "%s: %d states in %d instructions", w->name, (int) states,
       (int) steps);

    unit_store_free(st);
}


int
main(void)
{
    ngx_uint_t  i;

    unit_start();

    dead = fork();

    if (dead == 0) {
        _exit(0);
    }

    (void) unit_wait(dead);

    size = ngx_apikeys_store_zone_size(4096, 4096);

    copy = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS,
                -1, 0);
    last = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS,
                -1, 0);

    for (i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
        run(&works[i]);
    }

    (void) munmap(copy, size);
    (void) munmap(last, size);

    return tap_end();
}
