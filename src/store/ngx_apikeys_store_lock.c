
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The writer lock: the slab mutex of the zone, which is only ever tried.
 *
 * nginx releases the mutex of a dead worker for zones of the current cycle
 * only, and only while the master lives; so a writer that finds it locked
 * checks whether the holder is alive.  Log messages about work under the mutex
 * are written after it is released.
 *
 * While a holder is stopped nothing can be published.  A holder stopped by a
 * signal (state T in /proc) is killed, and the zone is repaired.  A holder
 * stopped by ptrace (state t) is left alone.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_clock.h>
#include <ngx_apikeys_store_int.h>


/*
 * ms.  The pid of the mutex does not match "writer" and "writer_start": either
 * the pid is reused, or a process has just taken the mutex and not yet stored
 * them.  After this time the former is assumed.
 */
#define NGX_APIKEYS_STORE_REUSED_PID_TIME  100

/*
 * ms for which a holder must be found stopped before it is killed.  With the
 * checks before and a login after it, changes are still followed within one
 * second.
 */
#define NGX_APIKEYS_STORE_STOPPED_TIME  200

/* records freed per lock; the tree of a key may have thousands of cells */
#define NGX_APIKEYS_STORE_LOCK_RECLAIM       64


static ngx_int_t ngx_apikeys_store_lock_free_dead(ngx_apikeys_store_t *st);
static ngx_uint_t ngx_apikeys_store_lock_holder_dead(ngx_apikeys_store_t *st,
    ngx_pid_t pid);
static void ngx_apikeys_store_lock_kill_stopped(ngx_apikeys_store_t *st,
    ngx_pid_t pid);
static ngx_uint_t ngx_apikeys_store_lock_process_stopped(ngx_pid_t pid);
static u_char *ngx_apikeys_store_lock_process_stat(ngx_pid_t pid, u_char *buf,
    size_t size);
static void ngx_apikeys_store_lock_log(ngx_apikeys_store_t *st);
static void ngx_apikeys_store_lock_log_room(ngx_apikeys_store_t *st);


ngx_int_t
ngx_apikeys_store_lock(ngx_apikeys_store_t *st)
{
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    if (st->locked) {
        ngx_log_error(NGX_LOG_ALERT, st->log, 0,
                      "apikeys: internal error: zone is locked twice by one "
                      "process, please report");
        return NGX_BUSY;
    }

    if (!ngx_shmtx_trylock(&st->shpool->mutex)) {

        if (ngx_apikeys_store_lock_free_dead(st) != NGX_OK
            || !ngx_shmtx_trylock(&st->shpool->mutex))
        {
            return NGX_BUSY;
        }
    }

    st->locked = 1;
    st->reused_pid = 0;
    st->stopped_pid = 0;

    sh->writer_start = st->start;
    ngx_apikeys_atomic_store(&sh->writer, ngx_pid);

    if (ngx_apikeys_atomic_load(&sh->dirty)) {
        ngx_apikeys_store_repair(st);
    }

    __atomic_store_n(&sh->dirty, 1, __ATOMIC_SEQ_CST);

    ngx_apikeys_store_reclaim_locked(st, NGX_APIKEYS_STORE_LOCK_RECLAIM);

    return NGX_OK;
}


void
ngx_apikeys_store_unlock(ngx_apikeys_store_t *st)
{
    if (!st->locked) {
        ngx_log_error(NGX_LOG_ALERT, st->log, 0,
                      "apikeys: internal error: zone is unlocked but was "
                      "not locked, please report");
        return;
    }

    ngx_apikeys_store_room_watch(st);

    ngx_apikeys_atomic_store(&st->head->dirty, 0);
    ngx_apikeys_atomic_store(&st->head->writer, 0);

    st->locked = 0;

    ngx_shmtx_unlock(&st->shpool->mutex);

    ngx_apikeys_store_lock_log(st);
}


ngx_int_t
ngx_apikeys_store_watch(ngx_apikeys_store_t *st)
{
    if (st->locked || *st->shpool->mutex.lock == 0) {
        st->reused_pid = 0;
        st->stopped_pid = 0;
        return NGX_OK;
    }

    (void) ngx_apikeys_store_lock_free_dead(st);

    ngx_apikeys_store_lock_log(st);

    return (st->stopped_pid && st->stopped_pid != st->unkillable_pid)
           ? NGX_AGAIN : NGX_OK;
}


static ngx_int_t
ngx_apikeys_store_lock_free_dead(ngx_apikeys_store_t *st)
{
    ngx_pid_t  pid;

    pid = (ngx_pid_t) *st->shpool->mutex.lock;

    if (pid == 0) {
        return NGX_OK;
    }

    if (!ngx_apikeys_store_lock_holder_dead(st, pid)) {

        /* do not kill a process that only has the pid of a dead holder */

        if (st->reused_pid == 0) {
            ngx_apikeys_store_lock_kill_stopped(st, pid);
        }

        return NGX_BUSY;
    }

    /* compare-and-swap: of two processes that get here only one unlocks */

    if (ngx_shmtx_force_unlock(&st->shpool->mutex, pid)) {
        st->log_freed_pid = pid;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_apikeys_store_lock_holder_dead(ngx_apikeys_store_t *st, ngx_pid_t pid)
{
    uint64_t                   now;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    if (pid == ngx_pid) {

        /* not this process: a dead one whose pid this process has */

        return 1;
    }

    if (!ngx_apikeys_store_lock_process_alive(pid, 0)) {
        return 1;
    }

    if (ngx_apikeys_atomic_load(&sh->writer) != pid
        || ngx_apikeys_store_lock_process_alive(pid, sh->writer_start))
    {
        st->reused_pid = 0;
        return 0;
    }

    /* "writer" has this pid and another start: a process with a reused pid */

    now = ngx_apikeys_clock_boot_ms();

    if (st->reused_pid != pid) {
        st->reused_pid = pid;
        st->reused_pid_since = now;
        return 0;
    }

    return now - st->reused_pid_since >= NGX_APIKEYS_STORE_REUSED_PID_TIME;
}


/*
 * A holder that continues just before the signal arrives is killed at work, as
 * may happen at any time.  Two processes may both send the signal.
 */

static void
ngx_apikeys_store_lock_kill_stopped(ngx_apikeys_store_t *st, ngx_pid_t pid)
{
    uint64_t   now;
    ngx_err_t  err;

    if (!ngx_apikeys_store_lock_process_stopped(pid)) {
        st->stopped_pid = 0;
        return;
    }

    now = ngx_apikeys_clock_boot_ms();

    if (st->stopped_pid != pid) {
        st->stopped_pid = pid;
        st->stopped_since = now;
        st->unkillable_pid = 0;
        return;
    }

    if (now - st->stopped_since < NGX_APIKEYS_STORE_STOPPED_TIME
        || st->unkillable_pid == pid)
    {
        return;
    }

    if (kill(pid, SIGKILL) == 0) {
        ngx_log_error(NGX_LOG_ALERT, st->log, 0,
                      "apikeys: worker process %P was suspended while "
                      "holding the lock of zone \"%V\" and has been killed",
                      pid, &st->shm_zone->shm.name);
        return;
    }

    err = ngx_errno;

    if (err == NGX_ESRCH) {
        return;
    }

    st->unkillable_pid = pid;

    ngx_log_error(NGX_LOG_ALERT, st->log, err,
                  "apikeys: worker process %P is suspended while holding "
                  "the lock of zone \"%V\" and kill() failed: no changes "
                  "reach this node until that process is resumed or killed",
                  pid, &st->shm_zone->shm.name);
}


/* a worker of the same master, stopped by a signal (T), not by ptrace (t) */

static ngx_uint_t
ngx_apikeys_store_lock_process_stopped(ngx_pid_t pid)
{
    u_char     *p, *last, buf[512];
    ngx_pid_t   parent;

    parent = ngx_getppid();

    if (ngx_process != NGX_PROCESS_WORKER
        || parent != ngx_parent
        || pid == ngx_parent)
    {
        return 0;
    }

    p = ngx_apikeys_store_lock_process_stat(pid, buf, sizeof(buf));

    if (p == NULL || p[0] != 'T' || p[1] != ' ') {
        return 0;
    }

    p += 2;
    last = (u_char *) ngx_strchr(p, ' ');

    return last != NULL && ngx_atoi(p, last - p) == (ngx_int_t) parent;
}


ngx_uint_t
ngx_apikeys_store_lock_process_alive(ngx_pid_t pid, uint64_t start)
{
    u_char    *state, buf[512];
    uint64_t   now;

    if (kill(pid, 0) == -1 && ngx_errno == ESRCH) {
        return 0;
    }

    /* if /proc cannot be read, the process is taken as alive */

    state = ngx_apikeys_store_lock_process_stat(pid, buf, sizeof(buf));

    if (state == NULL) {
        return 1;
    }

    if (*state == 'Z' || *state == 'X') {
        return 0;
    }

    if (start == 0) {
        return 1;
    }

    now = ngx_apikeys_store_lock_process_start(pid);

    return now == 0 || now == start;
}


uint64_t
ngx_apikeys_store_lock_process_start(ngx_pid_t pid)
{
    u_char      *p, buf[512];
    uint64_t     start;
    ngx_uint_t   field;

    p = ngx_apikeys_store_lock_process_stat(pid, buf, sizeof(buf));

    if (p == NULL) {
        return 0;
    }

    /* the state is field 3, the start time field 22 */

    for (field = 3; field < 22; field++) {
        p = (u_char *) ngx_strchr(p, ' ');

        if (p == NULL) {
            return 0;
        }

        p++;
    }

    for (start = 0; *p >= '0' && *p <= '9'; p++) {
        start = start * 10 + (*p - '0');
    }

    return start;
}


/* contents of /proc/PID/stat, beginning with the state, or NULL */

static u_char *
ngx_apikeys_store_lock_process_stat(ngx_pid_t pid, u_char *buf, size_t size)
{
    u_char    *p, name[sizeof("/proc//stat") + NGX_INT64_LEN];
    ssize_t    n;
    ngx_fd_t   fd;

    (void) ngx_sprintf(name, "/proc/%P/stat%Z", pid);

    fd = ngx_open_file(name, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        return NULL;
    }

    n = ngx_read_fd(fd, buf, size - 1);

    (void) ngx_close_file(fd);

    if (n <= 0) {
        return NULL;
    }

    buf[n] = '\0';

    /* the command name may contain parentheses: search the last one */

    for (p = buf + n; p > buf; p--) {
        if (p[-1] == ')') {
            return (p[0] == ' ') ? p + 1 : NULL;
        }
    }

    return NULL;
}


static void
ngx_apikeys_store_lock_log(ngx_apikeys_store_t *st)
{
    if (st->log_freed_pid) {
        ngx_log_error(NGX_LOG_WARN, st->log, 0,
                      "apikeys: released the lock of zone \"%V\" held by "
                      "dead process %P",
                      &st->shm_zone->shm.name, st->log_freed_pid);
        st->log_freed_pid = 0;
    }

    if (st->log_repaired) {
        ngx_log_error(NGX_LOG_NOTICE, st->log, 0,
                      "apikeys: zone \"%V\" repaired after a process died "
                      "while writing", &st->shm_zone->shm.name);
        st->log_repaired = 0;
    }

    if (st->log_low || st->log_refused || st->log_full) {
        ngx_apikeys_store_lock_log_room(st);
    }
}


static void
ngx_apikeys_store_lock_log_room(ngx_apikeys_store_t *st)
{
    u_char                  id[NGX_APIKEYS_OBJECTID_TEXT_LEN];
    size_t                  size;
    uint64_t                needs, seconds;
    ngx_str_t              *name;
    ngx_apikeys_failure_t  *failures;

    needs = ngx_apikeys_store_room_size_needed(st);
    failures = st->head->failures;

    name = &st->shm_zone->shm.name;
    size = st->shm_zone->shm.size;

    if (st->log_low) {
        ngx_log_error(NGX_LOG_WARN, st->log, 0,
                      "apikeys: zone \"%V\" of %uz bytes is nearly full, "
                      "needs at least %uL bytes", name, size, needs);
    }

    if (st->log_refused
        && ngx_apikeys_failure_due(&failures[NGX_APIKEYS_FAILURE_NO_ROOM],
                                   &seconds))
    {
        (void) ngx_apikeys_objectid_write(id, &st->log_refused_id);

        ngx_log_error(NGX_LOG_ERR, st->log, 0,
                      "apikeys: zone \"%V\" of %uz bytes has no room for API "
                      "key %*s, requests with that key get 503, needs at "
                      "least %uL bytes", name, size, sizeof(id), id, needs);
    }

    if (st->log_full
        && ngx_apikeys_failure_due(&failures[NGX_APIKEYS_FAILURE_FULL],
                                   &seconds))
    {
        ngx_log_error(NGX_LOG_CRIT, st->log, 0,
                      "apikeys: zone \"%V\" of %uz bytes is full, local copy "
                      "is incomplete, requests with API keys that are not "
                      "loaded get 503, needs at least %uL bytes, for %uL s",
                      name, size, needs, seconds);
    }

    st->log_low = 0;
    st->log_refused = 0;
    st->log_full = 0;
}
