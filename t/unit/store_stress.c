
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Readers and writers over one zone, killed at random (SIGKILL) and replaced,
 * for some seconds: STRESS_SECONDS, or 3.  Every key follows from its number
 * and version, so a torn one is seen; versions only grow, so one that comes
 * back is seen; and at the end nothing may be lost and the lock not stuck.
 *
 * What each key must not fall behind is in "floor", shared: a writer sets it
 * after a publication or removal that was done, a reader reads it before it
 * looks.  Versions that are odd are removals.
 */


#include "unit.h"

#include <sys/mman.h>


#define READERS  3
#define WRITERS  3
#define KEYS     60


typedef struct {
    uint64_t    next;                  /* version to be given */
    uint64_t    done[KEYS];            /* version that is here at least */
    uint64_t    reads;
    uint64_t    writes;
    uint64_t    faults;
} shared_t;


static shared_t             *shared;
static ngx_apikeys_store_t  *st;


static void
fault(const char *what, ngx_uint_t n, uint64_t version, uint64_t floor)
{
    (void) __atomic_fetch_add(&shared->faults, 1, __ATOMIC_SEQ_CST);
    printf("# %s: key %d version %lu, %lu was done\n", what, (int) n,
           (unsigned long) version, (unsigned long) floor);
    fflush(stdout);
}


static void
read_for_ever(uint64_t seed)
{
    uint64_t                  floor;
    ngx_int_t                 rc;
    ngx_uint_t                n;
    const char               *wrong;
    ngx_apikeys_store_ref_t   ref;

    for ( ;; ) {
        seed = unit_mix(seed);
        n = seed % KEYS;

        floor = __atomic_load_n(&shared->done[n], __ATOMIC_SEQ_CST);

        ngx_apikeys_store_read_begin(st);
        rc = unit_find(st, n, &ref);

        if (rc == NGX_OK) {
            wrong = unit_key_wrong(st, &ref, n);

            if (wrong) {
                fault(wrong, n, ref.version, floor);

            } else if (ref.version < floor) {
                fault("came back", n, ref.version, floor);

            } else if (ref.version & 1) {
                fault("was removed", n, ref.version, floor);
            }
        }

        ngx_apikeys_store_read_end(st);

        (void) __atomic_fetch_add(&shared->reads, 1, __ATOMIC_RELAXED);
    }
}


static void
write_for_ever(uint64_t seed)
{
    uint64_t    version, floor;
    ngx_int_t   rc;
    ngx_uint_t  n;

    for ( ;; ) {
        seed = unit_mix(seed);
        n = seed % KEYS;

        /* sometimes one that is late, which must not matter */

        version = __atomic_add_fetch(&shared->next, 2, __ATOMIC_SEQ_CST);

        if ((seed >> 8) % 8 == 0) {
            version -= ngx_min(version, 40) & ~(uint64_t) 1;
        }

        if ((seed >> 16) % 4 == 0) {
            version |= 1;
            rc = unit_delete(st, n, version);

        } else {
            rc = unit_publish(st, n, version, (seed >> 24) % 300,
                              (seed >> 40) % 40, 0);
        }

        if (rc == NGX_ERROR) {
            fault("no room", n, version, 0);
        }

        if (rc != NGX_OK) {
            continue;
        }

        floor = __atomic_load_n(&shared->done[n], __ATOMIC_SEQ_CST);

        while (floor < version
               && !__atomic_compare_exchange_n(&shared->done[n], &floor,
                                               version, 0, __ATOMIC_SEQ_CST,
                                               __ATOMIC_SEQ_CST))
        {
            /* void */
        }

        (void) __atomic_fetch_add(&shared->writes, 1, __ATOMIC_RELAXED);
    }
}


static ngx_pid_t
start(ngx_uint_t i, uint64_t seed)
{
    ngx_pid_t  pid;

    pid = unit_fork(st, i);

    if (pid == 0) {
        if (i < READERS) {
            read_for_ever(seed);

        } else {
            write_for_ever(seed);
        }
    }

    return pid;
}


int
main(void)
{
    char                      *s;
    uint64_t                   seed, end, pinned;
    ngx_pid_t                  pids[READERS + WRITERS];
    ngx_uint_t                 i, kills;
    struct timespec            pause;
    ngx_apikeys_store_stat_t   stat;

    unit_start();

    /* the parent is the master, whose slot no worker has */

    ngx_process = NGX_PROCESS_MASTER;

    /* room for what a reader pins that has to wait for a processor */

    st = unit_store(128 * 1024 * 1024);
    ngx_process = NGX_PROCESS_WORKER;

    shared = mmap(NULL, sizeof(shared_t), PROT_READ|PROT_WRITE,
                  MAP_SHARED|MAP_ANONYMOUS, -1, 0);

    shared->next = 100;

    s = getenv("STRESS_SECONDS");
    end = ngx_apikeys_clock_boot_ms() + 1000 * (s ? atoi(s) : 3);
    seed = unit_mix(end);

    printf("# seed %lu\n", (unsigned long) seed);

    for (i = 0; i < READERS + WRITERS; i++) {
        pids[i] = start(i, seed + i);
    }

    kills = 0;
    pinned = 0;

    /* a busy machine takes longer to kill that many */

    while ((ngx_apikeys_clock_boot_ms() < end || kills < 30)
           && shared->faults == 0)
    {

        seed = unit_mix(seed);

        /* not to wait for anything: to hit any moment */

        pause.tv_sec = 0;
        pause.tv_nsec = seed % 3000000;
        nanosleep(&pause, NULL);

        ngx_apikeys_store_stat(st, &stat);
        pinned = ngx_max(pinned, stat.retired_bytes);

        i = (seed >> 32) % (READERS + WRITERS);

        kill(pids[i], SIGKILL);

        /* every other one is left a zombie for a while, as nginx may */

        if (seed & (1 << 20)) {
            nanosleep(&pause, NULL);
        }

        (void) unit_wait(pids[i]);
        pids[i] = start(i, seed);
        kills++;
    }

    for (i = 0; i < READERS + WRITERS; i++) {
        kill(pids[i], SIGKILL);
        (void) unit_wait(pids[i]);
    }

    ngx_apikeys_store_stat(st, &stat);

    printf("# %d killed, %lu reads, %lu writes, %lu repairs, "
           "%lu bytes retired at most\n", (int) kills,
           (unsigned long) shared->reads, (unsigned long) shared->writes,
           (unsigned long) stat.repairs, (unsigned long) pinned);

    ok(shared->faults == 0, "no reader saw a torn or a removed key");
    ok(kills > 20 && shared->reads > 1000 && shared->writes > 100,
       "there was something to see");
    ok(unit_check(st) == 0, "nothing is lost, the lock is not stuck");
    ok(unit_publish(st, 1, shared->next + 1000, 10, 10, 0) == NGX_OK,
       "writing goes on");
    ok(unit_version(st, 1) == (int64_t) shared->next + 1000, "and reading");

    ngx_apikeys_store_stat(st, &stat);
    ok(stat.repairs > 0, "%d repairs", (int) stat.repairs);

    unit_store_free(st);

    return tap_end();
}
