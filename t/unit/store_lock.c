
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A holder of the writer lock that does not go on.  A worker beside it kills
 * one that is stopped, after a while, and frees the lock; nobody kills one
 * that runs, that a debugger has stopped, or that is no worker of the same
 * master.
 */


#include "unit.h"

#include <sys/ptrace.h>


#define ZONE  (1024 * 1024)


typedef enum {
    FENCED = 0,
    BUSY,
    TOO_EARLY,
    DENIED,
    NOT_BUSY
} outcome_e;


/* what a worker comes to that wants the lock, or only looks at it */

static outcome_e
want(ngx_apikeys_store_t *st, ngx_uint_t watch)
{
    uint64_t    begin;
    ngx_uint_t  n;

    ngx_process = NGX_PROCESS_WORKER;
    ngx_parent = getppid();

    tap_message[0] = '\0';
    begin = ngx_apikeys_clock_boot_ms();

    for (n = 0; n < 2; n++) {
        if (!watch && ngx_apikeys_store_lock(st) != NGX_BUSY) {
            return NOT_BUSY;
        }

        if (watch && ngx_apikeys_store_watch(st)
                     != (st->stopped_pid ? NGX_AGAIN : NGX_OK))
        {
            return NOT_BUSY;
        }
    }

    if (tap_message[0] && ngx_apikeys_clock_boot_ms() - begin < 200) {
        return TOO_EARLY;
    }

    /* as if that had been some time ago */

    st->stopped_since -= 1000;

    for (n = 0; n < 3000 && !st->unkillable_pid; n++) {

        if (watch) {
            (void) ngx_apikeys_store_watch(st);
        }

        if ((!watch || *st->shpool->mutex.lock == 0)
            && ngx_apikeys_store_lock(st) == NGX_OK)
        {
            ngx_apikeys_store_unlock(st);
            return FENCED;
        }

        if (n == 50 && tap_message[0] == '\0') {
            return BUSY;
        }

        ngx_msleep(1);
    }

    if (strstr(tap_message, "kill() failed") == NULL) {
        return NOT_BUSY;
    }

    /* that is said once, and changes nothing */

    tap_message[0] = '\0';

    return ngx_apikeys_store_watch(st) == NGX_OK
           && ngx_apikeys_store_lock(st) == NGX_BUSY
           && tap_message[0] == '\0' ? DENIED : NOT_BUSY;
}


static outcome_e
beside(ngx_apikeys_store_t *st, ngx_uint_t watch, uid_t user)
{
    int        status;
    ngx_pid_t  pid;

    pid = unit_fork(st, 7);

    if (pid == 0) {
        _exit(user && setuid(user) == -1 ? 99 : (int) want(st, watch));
    }

    status = unit_wait(pid);

    return WIFEXITED(status) ? WEXITSTATUS(status) : NOT_BUSY;
}


/* a child that has the lock, and has written its name or not yet */

static ngx_pid_t
holder(ngx_apikeys_store_t *st, ngx_uint_t named)
{
    int        fd[2];
    char       byte;
    ngx_pid_t  pid;

    (void) pipe(fd);
    pid = unit_fork(st, 6);

    if (pid == 0) {
        if (named) {
            (void) ngx_apikeys_store_lock(st);
        } else {
            (void) ngx_shmtx_trylock(&st->shpool->mutex);
        }

        (void) write(fd[1], "x", 1);

        for ( ;; ) {
            pause();
        }
    }

    (void) read(fd[0], &byte, 1);

    close(fd[0]);
    close(fd[1]);

    return pid;
}


static void
stop(ngx_pid_t pid)
{
    int  status;

    kill(pid, SIGSTOP);
    (void) waitpid(pid, &status, WUNTRACED);
}


static ngx_uint_t
lives(ngx_pid_t pid)
{
    int  status;

    return waitpid(pid, &status, WNOHANG) == 0;
}


static void
end(ngx_pid_t pid)
{
    kill(pid, SIGKILL);
    (void) unit_wait(pid);
}


static void
test_stopped(ngx_apikeys_store_t *st)
{
    int         status;
    ngx_pid_t   pid;
    ngx_uint_t  n;

    for (n = 0; n < 4; n++) {
        pid = holder(st, n & 1);
        stop(pid);

        ok(beside(st, n & 2, 0) == FENCED, "a stopped holder, %s, %s",
           n & 1 ? "named" : "not yet named",
           n & 2 ? "looked at" : "waited for");

        status = unit_wait(pid);
        ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
           "it was killed");
        ok(st->head->dirty == 0 && unit_check(st) == 0,
           "the zone is consistent");
    }

    ok(st->head->repairs == 2, "repaired where a writer had begun");

    if (getuid() != 0) {
        ok(1, "of another user # SKIP needs root");
        return;
    }

    pid = holder(st, 1);
    stop(pid);
    ok(beside(st, 0, 65534) == DENIED && beside(st, 1, 65534) == DENIED
       && lives(pid), "of another user: it holds, and that is logged once");
    end(pid);
}


static void
test_spared(ngx_apikeys_store_t *st)
{
    int        status;
    ngx_pid_t  pid, middle;

    pid = holder(st, 1);
    ok(beside(st, 0, 0) == BUSY && beside(st, 1, 0) == BUSY && lives(pid),
       "a holder that runs is spared");

    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) == -1) {
        ok(1, "one in a trace # SKIP ptrace is not permitted");

    } else {
        (void) ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
        (void) waitpid(pid, &status, __WALL);

        ok(beside(st, 0, 0) == BUSY && beside(st, 1, 0) == BUSY && lives(pid),
           "and one in a trace");

        (void) ptrace(PTRACE_DETACH, pid, NULL, NULL);
    }

    /* a worker of another process */

    stop(pid);
    middle = unit_fork(st, 8);

    if (middle == 0) {
        _exit(beside(st, 0, 0) == BUSY && beside(st, 1, 0) == BUSY ? 0 : 1);
    }

    status = unit_wait(middle);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0 && lives(pid),
       "and one that is not a child of the own parent");
    end(pid);

    /* a master, of one that stops it for the time of its looks */

    middle = unit_fork(st, 8);

    if (middle == 0) {
        (void) ngx_apikeys_store_lock(st);
        st->locked = 0;

        pid = unit_fork(st, 7);

        if (pid == 0) {
            kill(getppid(), SIGSTOP);
            status = want(st, 0) == BUSY ? 0 : 1;
            kill(getppid(), SIGCONT);
            _exit(status);
        }

        _exit(unit_wait(pid) == 0 ? 0 : 1);
    }

    status = unit_wait(middle);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "and the master");

    /* a process of another name */

    pid = holder(st, 1);
    stop(pid);
    st->head->writer_start++;
    (void) beside(st, 1, 0);
    ok(lives(pid), "and one with the pid of a holder that is gone");
    end(pid);

    /* who is no worker: the master, one without workers */

    pid = holder(st, 1);
    stop(pid);
    middle = unit_fork(st, 8);

    if (middle == 0) {
        ngx_parent = getppid();
        (void) ngx_apikeys_store_watch(st);
        _exit(st->stopped_pid ? 1 : 0);
    }

    ok(unit_wait(middle) == 0 && lives(pid), "none but a worker kills");
    end(pid);
}


int
main(void)
{
    ngx_apikeys_store_t  *st;

    unit_start();

    st = unit_store(ZONE);

    test_stopped(st);
    test_spared(st);

    ok(unit_publish(st, 1, 1, 0, 0, 0) == NGX_OK && unit_check(st) == 0,
       "the zone is consistent");

    unit_store_free(st);

    return tap_end();
}
