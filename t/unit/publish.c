
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The terms on which states that were read from the database reach the
 * store: the process still follows it, or no other epoch has begun.
 */


#include "unit.h"

#include <ngx_apikeys_sync_object.h>


#define ZONE  (1024 * 1024)


static ngx_int_t
publish(ngx_apikeys_store_t *st, uint64_t n, uint64_t version,
    ngx_apikeys_sync_precondition_t *precondition)
{
    ngx_uint_t                  next;
    ngx_array_t                *objects;
    ngx_apikeys_sync_object_t  *object;

    objects = ngx_array_create(tap_cycle.pool, 1,
                               sizeof(ngx_apikeys_sync_object_t));
    object = ngx_array_push(objects);

    ngx_memzero(object, sizeof(ngx_apikeys_sync_object_t));

    object->kind = NGX_APIKEYS_STORE_KEY;
    object->u.key = unit_key(n, version, 0, 0);
    object->id = object->u.key.id;
    object->version = version;

    next = 0;

    return ngx_apikeys_sync_object_publish(st, objects, &next, precondition);
}


/*
 * A mutation's answer waits for the zone's lock while the key is deleted and
 * a load begins, which forgets the tombstone.
 */

static void
test_epoch(void)
{
    uint32_t                          load;
    ngx_apikeys_store_t              *st;
    ngx_apikeys_sync_precondition_t   precondition;

    st = unit_store(ZONE);

    load = unit_load_begin(st, 1);
    (void) unit_load_sweep(st, load);

    ngx_memzero(&precondition, sizeof(ngx_apikeys_sync_precondition_t));
    precondition.generation = ngx_apikeys_store_generation(st);

    ok(publish(st, 1, 5, &precondition) == NGX_OK, "in its epoch");
    ok(unit_version(st, 1) == 5, "it is published");

    (void) unit_delete(st, 1, 6);
    ok(publish(st, 1, 5, &precondition) == NGX_OK && unit_version(st, 1)
       == NGX_DECLINED, "a tombstone refuses it");

    load = unit_load_begin(st, 0);
    (void) unit_load_sweep(st, load);
    ok(publish(st, 2, 7, &precondition) == NGX_OK && unit_version(st, 2) == 7,
       "a load of the same epoch changes nothing");

    load = unit_load_begin(st, 1);
    ok(publish(st, 1, 5, &precondition) == NGX_ABORT, "not in another epoch");
    ok(publish(st, 3, 9, &precondition) == NGX_ABORT, "nor what is new");
    ok(unit_load_sweep(st, load) == NGX_OK, "the load ends");
    ok(unit_version(st, 1) == NGX_DECLINED, "what was deleted stays deleted");
    ok(unit_version(st, 3) == NGX_DECLINED, "what came too late is not here");

    precondition.generation = ngx_apikeys_store_generation(st);
    ok(publish(st, 3, 9, &precondition) == NGX_OK && unit_version(st, 3) == 9,
       "what was asked for since is");

    unit_store_free(st);
}


static void
test_fence(void)
{
    ngx_apikeys_store_t              *st;
    ngx_apikeys_sync_precondition_t   precondition;

    st = unit_store(ZONE);

    ngx_memzero(&precondition, sizeof(ngx_apikeys_sync_precondition_t));
    precondition.need_lease = 1;

    ok(publish(st, 1, 1, &precondition) == NGX_ABORT,
       "without the lease: nothing");
    ok(unit_version(st, 1) == NGX_BUSY, "is written");
    ok(ngx_apikeys_store_lease_acquire(st, 1000) == NGX_OK, "the lease");
    ok(publish(st, 1, 1, &precondition) == NGX_OK, "with it");
    ok(unit_version(st, 1) == 1, "it is");

    unit_store_free(st);
}


static void
test_attached(void)
{
    int                   ready[2], go[2];
    char                  byte;
    ngx_pid_t             pid;
    ngx_uint_t            all, staying;
    ngx_apikeys_store_t  *st;

    st = unit_store(ZONE);

    ngx_apikeys_store_count_processes(st, &all, &staying);
    ok(all == 0 && staying == 0, "a process is not one of the others");

    (void) pipe(ready);
    (void) pipe(go);

    pid = unit_fork(st, 9);

    if (pid == 0) {
        (void) write(ready[1], "r", 1);
        (void) read(go[0], &byte, 1);

        ngx_apikeys_store_set_exiting(st);

        (void) write(ready[1], "r", 1);
        (void) read(go[0], &byte, 1);
        _exit(0);
    }

    (void) read(ready[0], &byte, 1);
    ngx_apikeys_store_count_processes(st, &all, &staying);
    ok(all == 1 && staying == 1, "another one");

    (void) write(go[1], "g", 1);
    (void) read(ready[0], &byte, 1);
    ngx_apikeys_store_count_processes(st, &all, &staying);
    ok(all == 1 && staying == 0, "one that is about to leave");

    (void) write(go[1], "g", 1);
    (void) unit_wait(pid);
    ngx_apikeys_store_count_processes(st, &all, &staying);
    ok(all == 0, "one that has died with its slot");

    unit_store_free(st);
}


int
main(void)
{
    unit_start();

    test_epoch();
    test_fence();
    test_attached();

    return tap_end();
}
