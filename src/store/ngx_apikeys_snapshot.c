
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Writing the snapshot.
 *
 * The leader writes it in slices, to a temporary file that is then renamed: a
 * reader finds the old file or the new one.  There is no fsync(), which could
 * block; a file that a power failure has damaged is refused by its
 * authentication tags.
 *
 * Invariants.  The proof of freshness is read first, then the cursor, then the
 * objects: each may be newer than what was read before, and never older.  The
 * file is discarded if the local copy is incomplete, if a load has begun, or
 * if this process has lost the lease.  Between slices neither secrets nor
 * cipher keys are kept in memory in clear.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_clock.h>
#include <ngx_apikeys_snapshot.h>
#include <ngx_apikeys_snapshot_format.h>


/*
 * ms.  The file is written at most every 10 s after changes, and every 60 s
 * without one, but at least 4 times per apikeys_stale: a file older than
 * apikeys_stale is useless.
 */
#define NGX_APIKEYS_SNAPSHOT_CHANGED  10000
#define NGX_APIKEYS_SNAPSHOT_RENEWED  60000

#define NGX_APIKEYS_SNAPSHOT_BUDGET   1500       /* us per slice */
#define NGX_APIKEYS_SNAPSHOT_PAUSE    5          /* ms between slices */
#define NGX_APIKEYS_SNAPSHOT_CHUNK    65536      /* bytes, about */


struct ngx_apikeys_snapshot_s {
    ngx_apikeys_snapshot_conf_t    *conf;
    ngx_log_t                      *log;
    ngx_event_t                     event;     /* the next slice */
    ngx_socket_t                    dummy;     /* -1: fd in debug logs, which
                                                  take the data of an event for
                                                  a connection */
    uint64_t                        attempted_at;  /* boot-time ms of the last
                                                  attempt to write */
    uint64_t                        changes;   /* "changes" of the file */
    ngx_uint_t                      last_failed;  /* the last attempt did */

    /* of the file being written */
    ngx_fd_t                        fd;
    u_char                         *name;
    u_char                         *stray_name;  /* buffer for the name of
                                                  a file of a killed
                                                  writer */
    uint64_t                        begun_at;  /* boot-time ms */
    uint64_t                        begun_changes;
    ngx_pool_t                     *pool;      /* of one slice */
    ngx_apikeys_snapshot_text_t     text;
    ngx_apikeys_snapshot_cipher_t   cipher;
    ngx_apikeys_store_walk_t        walk;
};


static ngx_int_t ngx_apikeys_snapshot_begin(ngx_apikeys_snapshot_t *s);
static ngx_int_t ngx_apikeys_snapshot_open(ngx_apikeys_snapshot_t *s);
static void ngx_apikeys_snapshot_clean(ngx_apikeys_snapshot_t *s);
static ngx_pid_t ngx_apikeys_snapshot_file_pid(ngx_str_t *file, ngx_dir_t *dir);
static ngx_int_t ngx_apikeys_snapshot_meta(ngx_apikeys_snapshot_t *s);
static void ngx_apikeys_snapshot_handler(ngx_event_t *ev);
static ngx_int_t ngx_apikeys_snapshot_slice(ngx_apikeys_snapshot_t *s);
static ngx_int_t ngx_apikeys_snapshot_object(void *data,
    const ngx_apikeys_store_object_t *object);
static void ngx_apikeys_snapshot_clear_text(ngx_apikeys_snapshot_t *s);
static ngx_int_t ngx_apikeys_snapshot_flush(ngx_apikeys_snapshot_t *s,
    ngx_uint_t last);
static ngx_int_t ngx_apikeys_snapshot_write(ngx_apikeys_snapshot_t *s,
    u_char *data, size_t size);
static ngx_int_t ngx_apikeys_snapshot_finish(ngx_apikeys_snapshot_t *s);
static void ngx_apikeys_snapshot_error(ngx_apikeys_snapshot_t *s,
    ngx_err_t err, const char *what);


#define ngx_apikeys_snapshot_failure(s)                                      \
    ngx_apikeys_store_failure((s)->conf->store, NGX_APIKEYS_FAILURE_SNAPSHOT)


ngx_apikeys_snapshot_t *
ngx_apikeys_snapshot_create(ngx_cycle_t *cycle,
    ngx_apikeys_snapshot_conf_t *conf)
{
    size_t                   size;
    ngx_apikeys_snapshot_t  *s;

    s = ngx_pcalloc(cycle->pool, sizeof(ngx_apikeys_snapshot_t));
    if (s == NULL) {
        return NULL;
    }

    /* a name per process: the leaders of two zones may write at once */

    size = conf->path.len + 1 + NGX_INT64_LEN + 1;

    s->name = ngx_pnalloc(cycle->pool, size);
    s->stray_name = ngx_pnalloc(cycle->pool, size);

    if (s->name == NULL || s->stray_name == NULL) {
        return NULL;
    }

    (void) ngx_sprintf(s->name, "%V.%P%Z", &conf->path, ngx_pid);

    s->conf = conf;
    s->log = cycle->log;
    s->fd = NGX_INVALID_FILE;
    s->dummy = (ngx_socket_t) -1;

    s->event.handler = ngx_apikeys_snapshot_handler;
    s->event.data = &s->dummy;
    s->event.log = s->log;
    s->event.cancelable = 1;

    return s;
}


void
ngx_apikeys_snapshot_due(ngx_apikeys_snapshot_t *s, uint64_t changes)
{
    uint64_t    now;
    ngx_msec_t  interval;

    /* a write is in progress, or the next leader will write */

    if (s->fd != NGX_INVALID_FILE || ngx_exiting) {
        return;
    }

    interval = (changes == s->changes && !s->last_failed)
               ? NGX_APIKEYS_SNAPSHOT_RENEWED : NGX_APIKEYS_SNAPSHOT_CHANGED;
    interval = ngx_min(interval, s->conf->stale_max / 4);

    now = ngx_apikeys_clock_boot_ms();

    if (s->attempted_at && now - s->attempted_at < interval) {
        return;
    }

    s->attempted_at = now;
    s->begun_at = now;
    s->begun_changes = changes;

    switch (ngx_apikeys_snapshot_begin(s)) {

    case NGX_OK:
        ngx_add_timer(&s->event, 1);
        return;

    case NGX_DECLINED:

        /* the local copy is incomplete, or has no cursor */

        ngx_apikeys_snapshot_stop(s);
        return;

    default: /* NGX_ERROR */
        s->last_failed = 1;
        ngx_apikeys_snapshot_stop(s);
    }
}


void
ngx_apikeys_snapshot_stop(ngx_apikeys_snapshot_t *s)
{
    if (s->event.timer_set) {
        ngx_del_timer(&s->event);
    }

    if (s->pool) {
        ngx_destroy_pool(s->pool);
        s->pool = NULL;
    }

    ngx_apikeys_snapshot_format_free(&s->text);
    ngx_apikeys_snapshot_format_wipe(&s->cipher);

    if (s->fd == NGX_INVALID_FILE) {
        return;
    }

    if (ngx_close_file(s->fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, s->log, ngx_errno,
                      "apikeys: " ngx_close_file_n " \"%s\" failed",
                      s->name);
    }

    s->fd = NGX_INVALID_FILE;

    (void) ngx_delete_file(s->name);
}


static ngx_int_t
ngx_apikeys_snapshot_begin(ngx_apikeys_snapshot_t *s)
{
    s->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, s->log);
    if (s->pool == NULL) {
        return NGX_ERROR;
    }

    s->text.log = s->log;

    s->walk.handler = ngx_apikeys_snapshot_object;
    s->walk.data = s;
    s->walk.pool = s->pool;

    if (ngx_apikeys_store_walk_begin(s->conf->store, &s->walk) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (ngx_apikeys_snapshot_format_begin(&s->cipher) != NGX_OK) {
        return NGX_ERROR;
    }

    /* room for the length of the first chunk */

    if (ngx_apikeys_snapshot_format_reserve(&s->text,
                                            NGX_APIKEYS_SNAPSHOT_LENGTH_LEN)
        == NULL)
    {
        return NGX_ERROR;
    }

    ngx_apikeys_snapshot_clear_text(s);

    switch (ngx_apikeys_snapshot_meta(s)) {

    case NGX_OK:
        return ngx_apikeys_snapshot_open(s);

    case NGX_DECLINED:
        return NGX_DECLINED;

    default: /* NGX_ERROR */
        return NGX_ERROR;
    }
}


static ngx_int_t
ngx_apikeys_snapshot_open(ngx_apikeys_snapshot_t *s)
{
    ngx_apikeys_snapshot_clean(s);

    s->fd = ngx_open_file(s->name, NGX_FILE_WRONLY, NGX_FILE_TRUNCATE,
                          NGX_FILE_OWNER_ACCESS);

    if (s->fd == NGX_INVALID_FILE) {
        ngx_apikeys_snapshot_error(s, ngx_errno, ngx_open_file_n);
        return NGX_ERROR;
    }

    return ngx_apikeys_snapshot_write(s, s->cipher.header,
                                      sizeof(s->cipher.header));
}


/* deletes the temporary files of killed writers */

static void
ngx_apikeys_snapshot_clean(ngx_apikeys_snapshot_t *s)
{
    u_char     *slash;
    ngx_dir_t   dir;
    ngx_pid_t   pid;
    ngx_str_t   file, path;

    path = s->conf->path;

    for (slash = path.data + path.len; slash[-1] != '/'; slash--) {
        /* void: the path is absolute */
    }

    file.data = slash;
    file.len = path.data + path.len - slash;

    path.len -= file.len;
    path.data = s->stray_name;

    *ngx_cpymem(path.data, s->conf->path.data, path.len) = '\0';

    if (ngx_open_dir(&path, &dir) == NGX_ERROR) {
        return;
    }

    while (ngx_read_dir(&dir) == NGX_OK) {
        pid = ngx_apikeys_snapshot_file_pid(&file, &dir);

        if (pid <= 0 || kill(pid, 0) != -1 || ngx_errno != ESRCH) {
            continue;
        }

        (void) ngx_sprintf(s->stray_name, "%V.%P%Z", &s->conf->path, pid);

        if (ngx_delete_file(s->stray_name) != NGX_FILE_ERROR) {
            ngx_log_error(NGX_LOG_NOTICE, s->log, 0,
                          "apikeys: removed temporary snapshot file \"%s\" "
                          "of a dead process", s->stray_name);
        }
    }

    (void) ngx_close_dir(&dir);
}


static ngx_pid_t
ngx_apikeys_snapshot_file_pid(ngx_str_t *file, ngx_dir_t *dir)
{
    size_t   len;
    u_char  *name;

    name = ngx_de_name(dir);
    len = ngx_de_namelen(dir);

    if (len <= file->len + 1
        || ngx_memcmp(name, file->data, file->len) != 0
        || name[file->len] != '.')
    {
        return NGX_ERROR;
    }

    return ngx_atoi(&name[file->len + 1], len - file->len - 1);
}


/* freshness first, then the cursor: see the invariants above */

static ngx_int_t
ngx_apikeys_snapshot_meta(ngx_apikeys_snapshot_t *s)
{
    uint64_t                      age;
    ngx_int_t                     rc;
    ngx_apikeys_store_t          *store;
    ngx_apikeys_snapshot_meta_t   meta;

    store = s->conf->store;
    age = ngx_apikeys_store_age(store);

    if (age == (uint64_t) -1) {
        return NGX_DECLINED;
    }

    meta.fresh = ngx_apikeys_clock_boot_ms() - age;
    meta.time = ngx_apikeys_clock_wall_ms() - age;

    ngx_apikeys_snapshot_boot_id(meta.boot);

    ngx_memcpy(meta.fingerprint, ngx_apikeys_store_fingerprint(store),
               sizeof(meta.fingerprint));

    rc = ngx_apikeys_store_cursor_get(store, s->pool, &meta.database_id,
                                      &meta.pg_snapshot);
    if (rc != NGX_OK) {
        return rc;
    }

    if (meta.pg_snapshot.len == 0) {
        return NGX_DECLINED;
    }

    return ngx_apikeys_snapshot_format_put_meta(&s->text, &meta);
}


static void
ngx_apikeys_snapshot_handler(ngx_event_t *ev)
{
    ngx_int_t                rc;
    ngx_apikeys_snapshot_t  *s;

    s = (ngx_apikeys_snapshot_t *) ((u_char *) ev
                                    - offsetof(ngx_apikeys_snapshot_t, event));

    if (ngx_exiting
        || !ngx_apikeys_store_lease_held(s->conf->store)
        || !ngx_apikeys_store_walk_valid(s->conf->store, &s->walk))
    {
        ngx_apikeys_snapshot_stop(s);
        return;
    }

    rc = ngx_apikeys_snapshot_format_key(&s->cipher, s->conf->seal, 0);

    if (rc == NGX_OK) {
        rc = ngx_apikeys_snapshot_slice(s);
    }

    ngx_apikeys_snapshot_format_wipe(&s->cipher);

    if (rc == NGX_AGAIN) {
        ngx_add_timer(ev, NGX_APIKEYS_SNAPSHOT_PAUSE);
        return;
    }

    if (rc == NGX_ERROR) {
        s->last_failed = 1;
    }

    ngx_apikeys_snapshot_stop(s);
}


/* NGX_AGAIN: more is left; NGX_OK: the file is written, or discarded */

static ngx_int_t
ngx_apikeys_snapshot_slice(ngx_apikeys_snapshot_t *s)
{
    uint64_t   start;
    ngx_int_t  rc;

    start = ngx_apikeys_clock_usec();

    do {
        rc = ngx_apikeys_store_walk_next(s->conf->store, &s->walk);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

    } while (rc != NGX_DONE
             && ngx_apikeys_clock_usec() - start
                < NGX_APIKEYS_SNAPSHOT_BUDGET);

    if (ngx_apikeys_snapshot_flush(s, rc == NGX_DONE) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_reset_pool(s->pool);

    return (rc == NGX_DONE) ? ngx_apikeys_snapshot_finish(s) : NGX_AGAIN;
}


static ngx_int_t
ngx_apikeys_snapshot_object(void *data,
    const ngx_apikeys_store_object_t *object)
{
    ngx_apikeys_snapshot_t  *s = data;

    /* objects of one bucket may be too large for one chunk */

    if (s->text.len >= NGX_APIKEYS_SNAPSHOT_CHUNK
        && ngx_apikeys_snapshot_flush(s, 0) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_apikeys_snapshot_format_put(&s->text, object);
}


static void
ngx_apikeys_snapshot_clear_text(ngx_apikeys_snapshot_t *s)
{
    s->text.len = NGX_APIKEYS_SNAPSHOT_LENGTH_LEN;
}


static ngx_int_t
ngx_apikeys_snapshot_flush(ngx_apikeys_snapshot_t *s, ngx_uint_t last)
{
    size_t     len, size;
    ngx_int_t  rc;

    len = s->text.len - NGX_APIKEYS_SNAPSHOT_LENGTH_LEN;
    size = s->text.len + NGX_APIKEYS_SNAPSHOT_TAG_LEN;

    if (ngx_apikeys_snapshot_format_reserve(&s->text,
                                            NGX_APIKEYS_SNAPSHOT_TAG_LEN)
        == NULL)
    {
        return NGX_ERROR;
    }

    rc = ngx_apikeys_snapshot_format_seal(&s->cipher, s->text.data, len,
                                          last);
    if (rc != NGX_OK) {
        ngx_apikeys_snapshot_error(s, 0, "encryption");
        return NGX_ERROR;
    }

    ngx_apikeys_snapshot_clear_text(s);

    return ngx_apikeys_snapshot_write(s, s->text.data, size);
}


static ngx_int_t
ngx_apikeys_snapshot_write(ngx_apikeys_snapshot_t *s, u_char *data,
    size_t size)
{
    ssize_t  n;

    while (size) {
        n = ngx_write_fd(s->fd, data, size);

        if (n == -1) {
            ngx_apikeys_snapshot_error(s, ngx_errno, ngx_write_fd_n);
            return NGX_ERROR;
        }

        data += n;
        size -= n;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_snapshot_finish(ngx_apikeys_snapshot_t *s)
{
    uint64_t  seconds;

    /* a load has begun, or another process has the lease: discard the file */

    if (!ngx_apikeys_store_walk_valid(s->conf->store, &s->walk)
        || !ngx_apikeys_store_lease_held(s->conf->store))
    {
        return NGX_OK;
    }

    if (ngx_rename_file(s->name, s->conf->path.data) == NGX_FILE_ERROR) {
        ngx_apikeys_snapshot_error(s, ngx_errno, ngx_rename_file_n);
        return NGX_ERROR;
    }

    if (ngx_apikeys_failure_over(ngx_apikeys_snapshot_failure(s), &seconds)) {
        ngx_log_error(NGX_LOG_NOTICE, s->log, 0,
                      "apikeys: writing snapshot \"%V\" again, after %uL s",
                      &s->conf->path, seconds);
    }

    s->last_failed = 0;
    s->changes = s->begun_changes;

    ngx_log_debug2(NGX_LOG_DEBUG_CORE, s->log, 0,
                   "apikeys snapshot \"%V\" written in %uL ms",
                   &s->conf->path, ngx_apikeys_clock_boot_ms() - s->begun_at);

    return NGX_OK;
}


static void
ngx_apikeys_snapshot_error(ngx_apikeys_snapshot_t *s, ngx_err_t err,
    const char *what)
{
    uint64_t    seconds;
    ngx_uint_t  level;

    level = ngx_apikeys_failure_due(ngx_apikeys_snapshot_failure(s), &seconds)
            ? NGX_LOG_ERR : NGX_LOG_INFO;

    ngx_log_error(level, s->log, err,
                  "apikeys: cannot write snapshot \"%V\", the old file becomes "
                  "outdated, for %uL s: %s \"%s\" failed",
                  &s->conf->path, seconds, what, s->name);
}


void
ngx_apikeys_snapshot_boot_id(u_char *boot)
{
    ssize_t   n;
    ngx_fd_t  fd;

    static u_char  name[] = "/proc/sys/kernel/random/boot_id";

    ngx_memzero(boot, NGX_APIKEYS_SNAPSHOT_BOOT_LEN);

    fd = ngx_open_file(name, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        return;
    }

    n = ngx_read_fd(fd, boot, NGX_APIKEYS_SNAPSHOT_BOOT_LEN);

    if (n != NGX_APIKEYS_SNAPSHOT_BOOT_LEN) {
        ngx_memzero(boot, NGX_APIKEYS_SNAPSHOT_BOOT_LEN);
    }

    (void) ngx_close_file(fd);
}
