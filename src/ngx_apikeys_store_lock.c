
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The writer lock: the zone's slab mutex, only ever tried.
 *
 * nginx frees the mutex of a dead worker for zones of the current cycle and
 * only while the master lives; so a writer that finds it taken looks whether
 * the holder is still there.  What is logged under the mutex is written when
 * it is free again.
 *
 * A holder that is stopped would keep each change out for as long as somebody
 * likes, so it is killed: what it was at is repaired as after any kill, and a
 * worker that does not run loses nothing else by it.  A debugger's stop
 * looks different, and stands.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


/*
 * A holder that looks like another process with a reused pid may be one that
 * has the mutex and has not yet written its name: that takes three stores.
 */
#define NGX_APIKEYS_STORE_SUSPECT_TIME  100

/*
 * A holder that is found stopped whenever somebody looks, for so long, was
 * not stopped for a moment; with the looks and a login before and after it
 * a change is followed within the second that is promised.
 */
#define NGX_APIKEYS_STORE_STOPPED_TIME  200

#define NGX_APIKEYS_STORE_LOG_INTERVAL  60000     /* of a full zone, ms */

/* records freed by one lock; a long list is more than a hundred cells */
#define NGX_APIKEYS_STORE_RECLAIM       64


static ngx_int_t ngx_apikeys_store_lock_free_dead(ngx_apikeys_store_t *st);
static ngx_uint_t ngx_apikeys_store_lock_holder_dead(ngx_apikeys_store_t *st,
    ngx_pid_t pid);
static void ngx_apikeys_store_lock_fence(ngx_apikeys_store_t *st,
    ngx_pid_t pid);
static ngx_uint_t ngx_apikeys_store_lock_process_stopped(ngx_pid_t pid);
static u_char *ngx_apikeys_store_lock_process_stat(ngx_pid_t pid, u_char *buf,
    size_t size);
static void ngx_apikeys_store_lock_log(ngx_apikeys_store_t *st);
static ngx_uint_t ngx_apikeys_store_lock_log_due(uint64_t *logged);


ngx_int_t
ngx_apikeys_store_lock(ngx_apikeys_store_t *st)
{
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    if (st->locked) {
        ngx_log_error(NGX_LOG_ALERT, st->log, 0,
                      "apikeys zone is locked twice by one process");
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
    st->suspect = 0;
    st->stopped = 0;

    sh->writer_start = st->start;
    ngx_apikeys_store_set(&sh->writer, ngx_pid);

    if (ngx_apikeys_store_load(&sh->dirty)) {
        ngx_apikeys_store_repair(st);
    }

    __atomic_store_n(&sh->dirty, 1, __ATOMIC_SEQ_CST);

    ngx_apikeys_store_reclaim_locked(st, NGX_APIKEYS_STORE_RECLAIM);

    return NGX_OK;
}


void
ngx_apikeys_store_unlock(ngx_apikeys_store_t *st)
{
    if (!st->locked) {
        ngx_log_error(NGX_LOG_ALERT, st->log, 0,
                      "apikeys zone is unlocked but was not locked");
        return;
    }

    ngx_apikeys_store_room_watch(st);

    ngx_apikeys_store_set(&st->head->dirty, 0);
    ngx_apikeys_store_set(&st->head->writer, 0);

    st->locked = 0;

    ngx_shmtx_unlock(&st->shpool->mutex);

    ngx_apikeys_store_lock_log(st);
}


ngx_int_t
ngx_apikeys_store_watch(ngx_apikeys_store_t *st)
{
    if (st->locked || *st->shpool->mutex.lock == 0) {
        st->suspect = 0;
        st->stopped = 0;
        return NGX_OK;
    }

    (void) ngx_apikeys_store_lock_free_dead(st);

    ngx_apikeys_store_lock_log(st);

    return (st->stopped && st->stopped != st->unfenced) ? NGX_AGAIN : NGX_OK;
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

        /* nobody is killed for having the pid of one who is gone */

        if (st->suspect == 0) {
            ngx_apikeys_store_lock_fence(st, pid);
        }

        return NGX_BUSY;
    }

    /* two that come here at once: the second one's exchange fails */

    if (ngx_shmtx_force_unlock(&st->shpool->mutex, pid)) {
        st->freed = pid;
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

        /* not locked by us: somebody who had this pid before */

        return 1;
    }

    if (!ngx_apikeys_store_lock_process_alive(pid, 0)) {
        return 1;
    }

    if (ngx_apikeys_store_load(&sh->writer) != pid
        || ngx_apikeys_store_lock_process_alive(pid, sh->writer_start))
    {
        st->suspect = 0;
        return 0;
    }

    /* the name in the head is of a process that is gone */

    now = ngx_apikeys_store_boottime();

    if (st->suspect != pid) {
        st->suspect = pid;
        st->suspected = now;
        return 0;
    }

    return now - st->suspected >= NGX_APIKEYS_STORE_SUSPECT_TIME;
}


/*
 * One that goes on just before it is killed dies at work, as it may at any
 * time; two that find it stopped both kill it.
 */

static void
ngx_apikeys_store_lock_fence(ngx_apikeys_store_t *st, ngx_pid_t pid)
{
    uint64_t   now;
    ngx_err_t  err;

    if (!ngx_apikeys_store_lock_process_stopped(pid)) {
        st->stopped = 0;
        return;
    }

    now = ngx_apikeys_store_boottime();

    if (st->stopped != pid) {
        st->stopped = pid;
        st->stopped_since = now;
        st->unfenced = 0;
        return;
    }

    if (now - st->stopped_since < NGX_APIKEYS_STORE_STOPPED_TIME
        || st->unfenced == pid)
    {
        return;
    }

    if (kill(pid, SIGKILL) == 0) {
        ngx_log_error(NGX_LOG_ALERT, st->log, 0,
                      "worker process %P was stopped with apikeys zone "
                      "\"%V\" locked, it is killed",
                      pid, &st->shm_zone->shm.name);
        return;
    }

    err = ngx_errno;

    if (err == NGX_ESRCH) {
        return;
    }

    st->unfenced = pid;

    ngx_log_error(NGX_LOG_ALERT, st->log, err,
                  "worker process %P is stopped with apikeys zone \"%V\" "
                  "locked, kill() failed, no change is followed until it "
                  "goes on or ends", pid, &st->shm_zone->shm.name);
}


/* a worker of the same master, stopped by a signal: 'T', in a trace 't' */

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

    /* there, or a zombie; or it may not be seen, then it is taken as alive */

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

    /* the state is field 3, the start field 22 */

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


/* the process' line in /proc from its state on, or NULL */

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

    /* the command's name, in parentheses, may hold anything but ends last */

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
    u_char    id[NGX_APIKEYS_OBJECTID_TEXT_LEN];
    uint64_t  needs;

    if (st->freed) {
        ngx_log_error(NGX_LOG_WARN, st->log, 0,
                      "apikeys zone \"%V\" was locked by %P, which is gone",
                      &st->shm_zone->shm.name, st->freed);
        st->freed = 0;
    }

    if (st->repaired) {
        ngx_log_error(NGX_LOG_NOTICE, st->log, 0,
                      "apikeys zone \"%V\" was left by a dead writer "
                      "and is repaired", &st->shm_zone->shm.name);
        st->repaired = 0;
    }

    if (!st->low && !st->refused && !st->full) {
        return;
    }

    needs = ngx_apikeys_store_room_needs(st);

    if (st->low) {
        ngx_log_error(NGX_LOG_WARN, st->log, 0,
                      "apikeys zone \"%V\" of %uz bytes is nearly full, it "
                      "should have at least %uL bytes",
                      &st->shm_zone->shm.name, st->shm_zone->shm.size, needs);
    }

    if (st->refused
        && ngx_apikeys_store_lock_log_due(&st->head->refused_logged))
    {
        (void) ngx_apikeys_objectid_write(id, &st->refused_id);

        ngx_log_error(NGX_LOG_ERR, st->log, 0,
                      "apikeys zone \"%V\" of %uz bytes has no room for key "
                      "%*s, requests with it get 503, the zone needs at "
                      "least %uL bytes", &st->shm_zone->shm.name,
                      st->shm_zone->shm.size, sizeof(id), id, needs);
    }

    if (st->full && ngx_apikeys_store_lock_log_due(&st->head->full_logged)) {
        ngx_log_error(NGX_LOG_CRIT, st->log, 0,
                      "apikeys zone \"%V\" of %uz bytes is full, the local "
                      "copy is incomplete, it needs at least %uL bytes",
                      &st->shm_zone->shm.name, st->shm_zone->shm.size, needs);
    }

    st->low = 0;
    st->refused = 0;
    st->full = 0;
}


/* one message a while, of whichever process */

static ngx_uint_t
ngx_apikeys_store_lock_log_due(uint64_t *logged)
{
    uint64_t  now;

    now = ngx_apikeys_store_boottime();

    if (*logged && now - *logged < NGX_APIKEYS_STORE_LOG_INTERVAL) {
        return 0;
    }

    *logged = now;

    return 1;
}
