
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Kills a process at a place of its code, with a signal that it cannot
 * catch: what runs is the server as it is, without a hook in it.
 *
 *     kill_at PID ADDRESS INSTRUCTIONS MILLISECONDS [SIGNAL]
 *
 * Waits until the process comes to the address, lets it do as many
 * instructions more, and kills it, or stops it by another signal: exit code
 * 0.  The signal 0: holds it there, as a debugger does, and stops itself;
 * when this program is continued the process is.  Where it does not come
 * there in time, or before SIGTERM, it goes on as if nothing had been: 1.  It
 * has ended by itself: 2; cannot be traced: 3.
 */


#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>


#define BREAKPOINT  0xcc


static pid_t                   pid;
static long                    word;
static void                   *address;
static volatile sig_atomic_t   given_up;


static void
fail(int code, const char *what)
{
    if (code == 3) {
        perror(what);
    }

    exit(code);
}


static void
give_up(int signo)
{
    given_up = signo;
}


static long
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static void
set(long value)
{
    if (ptrace(PTRACE_POKETEXT, pid, address, (void *) value) == -1) {
        fail(3, "PTRACE_POKETEXT");
    }
}


/* the signal that it stopped by; 0: none until then */

static int
stopped(long end)
{
    int              status;
    pid_t            rc;
    struct timespec  pause = { 0, 200000 };

    for ( ;; ) {
        rc = waitpid(pid, &status, WNOHANG | __WALL);

        if (rc == pid && WIFSTOPPED(status)) {
            return WSTOPSIG(status);
        }

        if (rc == -1 || rc == pid) {
            fail(2, "it is gone");
        }

        if (now() >= end) {
            return 0;
        }

        nanosleep(&pause, NULL);
    }
}


/* takes the breakpoint away; whether the process stands at it */

static int
clear(void)
{
    struct user_regs_struct  regs;

    if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) == -1) {
        fail(2, "PTRACE_GETREGS");
    }

    set(word);

    if (regs.rip != (unsigned long) address + 1) {
        return 0;
    }

    regs.rip = (unsigned long) address;

    if (ptrace(PTRACE_SETREGS, pid, NULL, &regs) == -1) {
        fail(2, "PTRACE_SETREGS");
    }

    return 1;
}


static void
leave(void)
{
    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);

    (void) stopped(now() + 5000);
    (void) clear();

    ptrace(PTRACE_DETACH, pid, NULL, NULL);
    fail(1, "it does not come there");
}


/* until it stands at the breakpoint, which is then taken away */

static void
arrive(long end)
{
    int  signo;

    for ( ;; ) {
        set((word & ~0xffL) | BREAKPOINT);
        ptrace(PTRACE_CONT, pid, NULL, NULL);

        do {
            signo = stopped(now() + 10);
        } while (signo == 0 && now() < end && !given_up);

        if (signo == 0) {
            leave();
        }

        if (clear()) {
            return;
        }

        /* a signal of its own: nobody sends one that must not be lost */
    }
}


int
main(int argc, char **argv)
{
    int   signo;
    long  end, steps;

    if (argc != 5 && argc != 6) {
        return 3;
    }

    signal(SIGTERM, give_up);

    pid = atoi(argv[1]);
    address = (void *) strtoul(argv[2], NULL, 16);
    steps = atol(argv[3]);
    end = now() + atol(argv[4]);

    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) == -1
        || ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) == -1)
    {
        fail(errno == ESRCH ? 2 : 3, "PTRACE_SEIZE");
    }

    if (stopped(now() + 5000) == 0) {
        fail(2, "it does not stop");
    }

    errno = 0;
    word = ptrace(PTRACE_PEEKTEXT, pid, address, NULL);

    if (errno) {
        fail(3, "PTRACE_PEEKTEXT");
    }

    arrive(end);

    while (steps-- > 0) {
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == -1
            || stopped(now() + 5000) != SIGTRAP)
        {
            break;
        }
    }

    /* one that is not the last waits for the end of the trace */

    signo = (argc == 6) ? atoi(argv[5]) : SIGKILL;

    if (signo) {
        kill(pid, signo);

    } else {
        raise(SIGSTOP);
    }

    /* or it would take one step more, and die of it when it is continued */

    ptrace(PTRACE_DETACH, pid, NULL, NULL);

    return 0;
}
