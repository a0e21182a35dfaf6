
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What is logged of a failure that lasts, and of refusals: when it begins,
 * once a minute, when it is over; of several processes, one does it.
 */


#include "unit.h"

#include <ngx_apikeys_refusal.h>

#include <sys/mman.h>


#define MINUTE  NGX_APIKEYS_FAILURE_INTERVAL


static void
limiter(void)
{
    uint64_t               s;
    ngx_uint_t             n;
    ngx_apikeys_failure_t  f;

    ngx_memzero(&f, sizeof(f));
    ngx_current_msec = 5000;

    ok(!ngx_apikeys_failure_over(&f, &s), "nothing fails: nothing is over");
    ok(!ngx_apikeys_failure_lasts(&f), "nor lasts");

    ok(ngx_apikeys_failure_due(&f, &s) && s == 0, "the first is logged");
    ok(ngx_apikeys_failure_lasts(&f), "it lasts");
    ok(!ngx_apikeys_failure_due(&f, &s), "the second is not");

    for (n = 0; ngx_current_msec < 5000 + MINUTE - 1; ngx_current_msec++) {
        n += ngx_apikeys_failure_due(&f, &s);
    }

    ok(n == 0, "nor any in the first minute");

    ngx_current_msec = 5000 + MINUTE;
    ok(ngx_apikeys_failure_due(&f, &s) && s == 60, "one after a minute");
    ok(!ngx_apikeys_failure_due(&f, &s) && s == 60, "and no other");

    ngx_current_msec += MINUTE + 7000;
    ok(ngx_apikeys_failure_due(&f, &s) && s == 127, "and the next");

    ngx_current_msec += 3000;
    ok(ngx_apikeys_failure_over(&f, &s) && s == 130, "it is over, said once");
    ok(!ngx_apikeys_failure_over(&f, &s), "and not twice");

    ok(ngx_apikeys_failure_due(&f, &s) && s == 0,
       "another one is logged at once");
}


static void
quiet(void)
{
    uint64_t               s;
    ngx_apikeys_failure_t  f;

    ngx_memzero(&f, sizeof(f));
    ngx_current_msec = 5000;

    ok(!ngx_apikeys_failure_quiet(&f, &s), "nothing fails");

    (void) ngx_apikeys_failure_due(&f, &s);
    ngx_current_msec += 20000;
    (void) ngx_apikeys_failure_due(&f, &s);

    ngx_current_msec += MINUTE - 1;
    ok(!ngx_apikeys_failure_quiet(&f, &s), "not yet quiet for a minute");
    ngx_current_msec++;
    ok(ngx_apikeys_failure_quiet(&f, &s) && s == 20,
       "over: it lasted until it happened last");
    ok(!ngx_apikeys_failure_quiet(&f, &s), "which is said once");
}


/* the clock of another process may be ahead by a tick */

static void
clocks(void)
{
    uint64_t               s;
    ngx_apikeys_failure_t  f;

    ngx_memzero(&f, sizeof(f));

    ngx_current_msec = 0;
    ok(ngx_apikeys_failure_due(&f, &s) && ngx_apikeys_failure_lasts(&f),
       "a clock that begins with 0");
    (void) ngx_apikeys_failure_over(&f, &s);

    ngx_current_msec = 5000;
    (void) ngx_apikeys_failure_due(&f, &s);
    ngx_current_msec = 4996;
    ok(!ngx_apikeys_failure_due(&f, &s) && s == 0, "not due for that");
    ok(!ngx_apikeys_failure_quiet(&f, &s), "nor over");
    ok(ngx_apikeys_failure_over(&f, &s) && s == 0, "nor long");
}


#define PROCESSES  4
#define TURNS      500

typedef struct {
    ngx_apikeys_failure_t  failure;
    uint64_t               arrived;
    uint64_t               due[TURNS];
    uint64_t               over[TURNS];
} shared_t;


static void
arrive(shared_t *sh, uint64_t n)
{
    __atomic_add_fetch(&sh->arrived, 1, __ATOMIC_SEQ_CST);

    while (__atomic_load_n(&sh->arrived, __ATOMIC_SEQ_CST) < n * PROCESSES) {
        sched_yield();
    }
}


static void
processes(void)
{
    pid_t        pid[PROCESSES];
    uint64_t     s;
    shared_t    *sh;
    ngx_uint_t   i, n, due, over;

    sh = mmap(NULL, sizeof(shared_t), PROT_READ|PROT_WRITE,
              MAP_SHARED|MAP_ANONYMOUS, -1, 0);

    for (i = 0; i < PROCESSES; i++) {
        pid[i] = fork();

        if (pid[i] == 0) {
            for (n = 0; n < TURNS; n++) {
                ngx_current_msec = 5000 + n;

                arrive(sh, 2 * n + 1);

                if (ngx_apikeys_failure_due(&sh->failure, &s)) {
                    __atomic_add_fetch(&sh->due[n], 1, __ATOMIC_SEQ_CST);
                }

                arrive(sh, 2 * n + 2);

                if (ngx_apikeys_failure_over(&sh->failure, &s)) {
                    __atomic_add_fetch(&sh->over[n], 1, __ATOMIC_SEQ_CST);
                }
            }

            _exit(0);
        }
    }

    for (i = 0; i < PROCESSES; i++) {
        (void) waitpid(pid[i], NULL, 0);
    }

    due = 0;
    over = 0;

    for (n = 0; n < TURNS; n++) {
        due += (sh->due[n] == 1);
        over += (sh->over[n] == 1);
    }

    ok(due == TURNS, "of %d processes one logs that it begins, each time: %d",
       PROCESSES, (int) due);
    ok(over == TURNS, "and one that it is over: %d", (int) over);

    (void) munmap(sh, sizeof(shared_t));
}


static ngx_uint_t
logged(const char *level, const char *text)
{
    ngx_uint_t  rc;

    rc = strstr(tap_message, level) != NULL && strstr(tap_message, text);

    if (!rc) {
        printf("# %s\n", tap_message);
    }

    tap_message[0] = '\0';

    return rc;
}


static ngx_uint_t
silent(void)
{
    return tap_message[0] == '\0';
}


static void
refusals(void)
{
    ngx_str_t             reason;
    ngx_apikeys_store_t  *st;

    st = unit_store(1024 * 1024);

    ngx_current_msec = 5000;
    tap_message[0] = '\0';

    ngx_apikeys_refusal_watch(st, 1000, &tap_log);
    ok(silent(), "a zone that is not loaded is not too old");

    ngx_str_set(&reason, "local copy is not loaded completely");
    ngx_apikeys_refusal(st, NGX_APIKEYS_FAILURE_NOT_LOADED, &reason, &tap_log);
    ok(logged("[error]", "apikeys: requests get 503: local copy is not loaded "
              "completely, for 0 s"), "a request that is refused for that is");
    ngx_apikeys_refusal(st, NGX_APIKEYS_FAILURE_NOT_LOADED, &reason, &tap_log);
    ngx_apikeys_refusal_watch(st, 1000, &tap_log);
    ok(silent(), "the next is not");

    ngx_current_msec += MINUTE;
    ngx_apikeys_refusal(st, NGX_APIKEYS_FAILURE_NOT_LOADED, &reason, &tap_log);
    ok(logged("[error]", "for 60 s"), "one a minute is");

    ngx_current_msec += MINUTE;
    ngx_apikeys_refusal_watch(st, 1000, &tap_log);
    ok(silent(), "it is not over for a minute without requests");

    st->head->complete = 1;
    ngx_apikeys_store_set_fresh(st, ngx_apikeys_clock_boot_ms());
    ngx_apikeys_refusal_watch(st, 1000, &tap_log);
    ok(logged("[notice]", "apikeys: requests no longer get 503: local copy is "
              "complete, after 120 s"), "but when it is loaded");

    st->head->fresh_at = ngx_apikeys_clock_boot_ms() - 7500;
    ngx_apikeys_refusal_watch(st, 0, &tap_log);
    ok(silent(), "no location refuses what an old copy decides");
    ngx_apikeys_refusal_watch(st, 1000, &tap_log);
    ok(logged("[error]", "apikeys: requests get 503: local copy is 7 s old, "
              "older than apikeys_stale, for 0 s"), "a copy that is too old");
    ngx_apikeys_refusal_watch(st, 1000, &tap_log);
    ok(silent(), "is not logged with each look");
    ngx_current_msec += MINUTE;
    ngx_apikeys_refusal_watch(st, 1000, &tap_log);
    ok(logged("[error]", "for 60 s"), "but once a minute");

    ngx_apikeys_store_set_fresh(st, ngx_apikeys_clock_boot_ms());
    ngx_apikeys_refusal_watch(st, 1000, &tap_log);
    ok(logged("[notice]", "apikeys: requests no longer get 503: local copy is "
              "not older than apikeys_stale, after 60 s"), "it is over");

    ngx_str_set(&reason, "statement \"s\" failed: statement queue is full");
    ngx_apikeys_refusal(st, NGX_APIKEYS_FAILURE_QUEUE, &reason, &tap_log);
    ok(logged("[error]", "apikeys: API calls get 503: statement \"s\" failed: "
              "statement queue is full, for 0 s"), "a full queue");
    ngx_str_set(&reason, "statement \"s\" failed: timed out");
    ngx_apikeys_refusal(st, NGX_APIKEYS_FAILURE_TIMEOUT, &reason, &tap_log);
    ok(logged("[error]", "apikeys: API calls get 503: statement \"s\" failed: "
              "timed out"), "does not hide a timeout");

    ngx_current_msec += MINUTE - 1;
    ngx_apikeys_refusal(st, NGX_APIKEYS_FAILURE_QUEUE, &reason, &tap_log);
    ngx_apikeys_refusal_watch(st, 1000, &tap_log);
    ok(silent(), "not yet over");
    ngx_current_msec++;
    ngx_apikeys_refusal_watch(st, 1000, &tap_log);
    ok(logged("[notice]", "apikeys: API calls no longer get 503: no statement "
              "timed out for a minute, after 0 s"), "a minute without one");
    ngx_current_msec += MINUTE;
    ngx_apikeys_refusal_watch(st, 1000, &tap_log);
    ok(logged("[notice]", "apikeys: API calls no longer get 503: statement "
              "queue was not full for a minute, after 59 s"), "and the other");

    unit_store_free(st);
}


int
main(void)
{
    unit_start();

    limiter();
    quiet();
    clocks();
    processes();
    refusals();

    return tap_end();
}
