
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Reading the snapshot file, in the master, and checking its directory.
 *
 * Workers can write the file, so the master trusts nothing in it before the
 * authentication tag was checked: neither that it is a regular file, nor a
 * length.  The line of the master key file that decrypts the first chunk
 * decrypts all; chunks are numbered, and the last one is marked.  Objects are
 * published as those of a load, into a zone that no worker uses yet.  Until
 * the sweep the local copy is incomplete; after an error the zone is emptied.
 *
 * The local copy is then as fresh as it was when the file was begun, so
 * apikeys_stale limits for how long a key that was deleted since is accepted.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_clock.h>
#include <ngx_apikeys_snapshot.h>
#include <ngx_apikeys_snapshot_format.h>

#include <openssl/crypto.h>


typedef struct {
    ngx_apikeys_snapshot_conf_t    *conf;
    ngx_log_t                      *log;
    ngx_fd_t                        fd;
    ngx_pool_t                     *pool;      /* of one chunk */
    uint32_t                        load;
    uint64_t                        keys;
    uint64_t                        age;       /* ms */
    const char                     *reason;    /* why the file is ignored */
    u_char                          reason_text[96];  /* a reason with
                                                  numbers */
    u_char                         *chunk_copy;  /* the first chunk as read,
                                                  to try several keys on */
    ngx_apikeys_snapshot_text_t     chunk;
    ngx_apikeys_snapshot_cipher_t   cipher;
} ngx_apikeys_snapshot_load_t;


static ngx_int_t ngx_apikeys_snapshot_load_open(
    ngx_apikeys_snapshot_load_t *l);
static ngx_int_t ngx_apikeys_snapshot_load_file(
    ngx_apikeys_snapshot_load_t *l);
static ngx_int_t ngx_apikeys_snapshot_load_read(
    ngx_apikeys_snapshot_load_t *l, u_char *data, size_t size);
static ngx_int_t ngx_apikeys_snapshot_load_chunk(
    ngx_apikeys_snapshot_load_t *l, ngx_str_t *text, ngx_uint_t *last);
static ngx_int_t ngx_apikeys_snapshot_load_first_chunk(
    ngx_apikeys_snapshot_load_t *l, size_t len, ngx_uint_t last);
static ngx_int_t ngx_apikeys_snapshot_load_meta(
    ngx_apikeys_snapshot_load_t *l, ngx_str_t *text);
static ngx_int_t ngx_apikeys_snapshot_load_age(
    ngx_apikeys_snapshot_load_t *l, ngx_apikeys_snapshot_meta_t *meta);
static ngx_int_t ngx_apikeys_snapshot_load_objects(
    ngx_apikeys_snapshot_load_t *l, ngx_str_t *text);
static ngx_int_t ngx_apikeys_snapshot_load_publish(
    ngx_apikeys_snapshot_load_t *l, ngx_apikeys_store_object_t *object);
static ngx_int_t ngx_apikeys_snapshot_load_complete(
    ngx_apikeys_snapshot_load_t *l);
static ngx_int_t ngx_apikeys_snapshot_ready(void *data, ngx_log_t *log,
    ngx_uint_t empty);
static ngx_int_t ngx_apikeys_snapshot_directory(
    ngx_apikeys_snapshot_conf_t *conf, ngx_log_t *log);
static const char *ngx_apikeys_snapshot_worker_user(ngx_core_conf_t *ccf);
static ngx_uint_t ngx_apikeys_snapshot_writable(u_char *name,
    ngx_core_conf_t *ccf);


ngx_int_t
ngx_apikeys_snapshot_load(ngx_apikeys_snapshot_conf_t *conf, ngx_log_t *log)
{
    ngx_int_t                     rc;
    ngx_apikeys_snapshot_load_t   l;

    ngx_memzero(&l, sizeof(ngx_apikeys_snapshot_load_t));

    l.conf = conf;
    l.log = log;
    l.chunk.log = log;

    rc = ngx_apikeys_snapshot_load_open(&l);
    if (rc != NGX_OK) {
        return rc;
    }

    l.pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, log);

    if (l.pool == NULL) {
        l.reason = "not enough memory";
        rc = NGX_DECLINED;

    } else if (ngx_apikeys_store_lock(conf->store) != NGX_OK) {
        l.reason = "zone is locked";
        rc = NGX_DECLINED;

    } else {
        rc = ngx_apikeys_snapshot_load_file(&l);
        ngx_apikeys_store_unlock(conf->store);
    }

    if (rc == NGX_OK) {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "apikeys: loaded %uL keys from snapshot \"%V\", "
                      "%uL s old", l.keys, &conf->path, l.age / 1000);
    } else {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "apikeys: snapshot \"%V\" ignored: %s", &conf->path,
                      l.reason);
        rc = NGX_DECLINED;
    }

    ngx_apikeys_snapshot_format_free(&l.chunk);
    ngx_apikeys_snapshot_format_wipe(&l.cipher);

    if (l.chunk_copy) {
        ngx_free(l.chunk_copy);
    }

    if (l.pool) {
        ngx_destroy_pool(l.pool);
    }

    if (ngx_close_file(l.fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      "apikeys: " ngx_close_file_n " \"%V\" failed",
                      &conf->path);
    }

    return rc;
}


/* NGX_DECLINED: there is no file, or it cannot be read */

static ngx_int_t
ngx_apikeys_snapshot_load_open(ngx_apikeys_snapshot_load_t *l)
{
    ngx_err_t        err;
    ngx_file_info_t  fi;

    /* NONBLOCK: opening a named pipe must not block */

    l->fd = ngx_open_file(l->conf->path.data,
                          NGX_FILE_RDONLY|NGX_FILE_NONBLOCK, NGX_FILE_OPEN,
                          0);

    if (l->fd == NGX_INVALID_FILE) {
        err = ngx_errno;

        if (err != NGX_ENOENT) {
            ngx_log_error(NGX_LOG_ERR, l->log, err,
                          "apikeys: snapshot \"%V\" ignored: "
                          ngx_open_file_n " failed", &l->conf->path);
        }

        return NGX_DECLINED;
    }

    if (ngx_fd_info(l->fd, &fi) != NGX_FILE_ERROR && ngx_is_file(&fi)) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_ERR, l->log, 0,
                  "apikeys: snapshot \"%V\" ignored: not a regular file",
                  &l->conf->path);

    (void) ngx_close_file(l->fd);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_apikeys_snapshot_load_file(ngx_apikeys_snapshot_load_t *l)
{
    ngx_int_t   rc;
    ngx_str_t   text;
    ngx_uint_t  last;

    l->reason = "incomplete or not a snapshot file";

    if (ngx_apikeys_snapshot_load_read(l, l->cipher.header,
                                       sizeof(l->cipher.header))
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    rc = ngx_apikeys_snapshot_format_header(&l->cipher);

    if (rc != NGX_OK) {
        if (rc == NGX_DECLINED) {
            l->reason = "format of another module version";
        }

        return NGX_DECLINED;
    }

    l->load = ngx_apikeys_store_load_begin_locked(l->conf->store, 1);

    do {
        if (ngx_apikeys_snapshot_load_chunk(l, &text, &last) != NGX_OK) {
            return NGX_DECLINED;
        }

        if (l->cipher.number == 1
            && ngx_apikeys_snapshot_load_meta(l, &text) != NGX_OK)
        {
            return NGX_DECLINED;
        }

        if (ngx_apikeys_snapshot_load_objects(l, &text) != NGX_OK) {
            return NGX_DECLINED;
        }

        ngx_reset_pool(l->pool);

    } while (!last);

    return ngx_apikeys_snapshot_load_complete(l);
}


static ngx_int_t
ngx_apikeys_snapshot_load_read(ngx_apikeys_snapshot_load_t *l, u_char *data,
    size_t size)
{
    ssize_t  n;

    while (size) {
        n = ngx_read_fd(l->fd, data, size);

        if (n <= 0) {
            return NGX_DECLINED;
        }

        data += n;
        size -= n;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_snapshot_load_chunk(ngx_apikeys_snapshot_load_t *l,
    ngx_str_t *text, ngx_uint_t *last)
{
    u_char  *p, head[NGX_APIKEYS_SNAPSHOT_LENGTH_LEN];
    size_t   len;

    if (ngx_apikeys_snapshot_load_read(l, head, sizeof(head)) != NGX_OK
        || ngx_apikeys_snapshot_format_length(head, &len, last) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    l->chunk.len = 0;

    p = ngx_apikeys_snapshot_format_reserve(&l->chunk,
                                            NGX_APIKEYS_SNAPSHOT_LENGTH_LEN
                                            + len
                                            + NGX_APIKEYS_SNAPSHOT_TAG_LEN);
    if (p == NULL) {
        return NGX_DECLINED;
    }

    text->len = len;
    text->data = p + NGX_APIKEYS_SNAPSHOT_LENGTH_LEN;

    if (ngx_apikeys_snapshot_load_read(l, text->data,
                                       len + NGX_APIKEYS_SNAPSHOT_TAG_LEN)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (l->cipher.number == 0) {
        return ngx_apikeys_snapshot_load_first_chunk(l, len, *last);
    }

    return ngx_apikeys_snapshot_format_open(&l->cipher, p, len, *last);
}


/* decrypts the first chunk: tries the lines of the master key file */

static ngx_int_t
ngx_apikeys_snapshot_load_first_chunk(ngx_apikeys_snapshot_load_t *l,
    size_t len,
    ngx_uint_t last)
{
    size_t      size;
    ngx_uint_t  i;

    size = NGX_APIKEYS_SNAPSHOT_LENGTH_LEN + len
           + NGX_APIKEYS_SNAPSHOT_TAG_LEN;

    l->chunk_copy = ngx_alloc(size, l->log);
    if (l->chunk_copy == NULL) {
        return NGX_DECLINED;
    }

    ngx_memcpy(l->chunk_copy, l->chunk.data, size);

    for (i = 0; i < ngx_apikeys_seal_nkeys(l->conf->seal); i++) {

        if (ngx_apikeys_snapshot_format_key(&l->cipher, l->conf->seal, i)
            != NGX_OK)
        {
            continue;
        }

        if (ngx_apikeys_snapshot_format_open(&l->cipher, l->chunk.data, len,
                                             last)
            == NGX_OK)
        {
            return NGX_OK;
        }

        ngx_memcpy(l->chunk.data, l->chunk_copy, size);
    }

    l->reason = "damaged, or encrypted with a line that "
                "apikeys_master_key_file does not have";

    return NGX_DECLINED;
}


static ngx_int_t
ngx_apikeys_snapshot_load_meta(ngx_apikeys_snapshot_load_t *l,
    ngx_str_t *text)
{
    ngx_apikeys_store_t          *store;
    ngx_apikeys_snapshot_meta_t   meta;

    store = l->conf->store;

    if (ngx_apikeys_snapshot_format_get_meta(text, &meta) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (CRYPTO_memcmp(meta.fingerprint, ngx_apikeys_store_fingerprint(store),
                      sizeof(meta.fingerprint))
        != 0)
    {
        l->reason = "apikeys_realm has changed since the file was written";
        return NGX_DECLINED;
    }

    if (ngx_apikeys_snapshot_load_age(l, &meta) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_apikeys_store_set_fresh(store, ngx_apikeys_clock_boot_ms() - l->age);

    /* before the load is complete, as no worker uses the zone yet */

    return ngx_apikeys_store_cursor_set_locked(store, &meta.database_id,
                                               &meta.pg_snapshot);
}


/*
 * The boot-time clock cannot be set; the wall clock is used only if the
 * machine was rebooted since.
 */

static ngx_int_t
ngx_apikeys_snapshot_load_age(ngx_apikeys_snapshot_load_t *l,
    ngx_apikeys_snapshot_meta_t *meta)
{
    u_char    boot[NGX_APIKEYS_SNAPSHOT_BOOT_LEN];
    uint64_t  now, then;

    ngx_apikeys_snapshot_boot_id(boot);

    if (boot[0] && ngx_memcmp(boot, meta->boot, sizeof(boot)) == 0) {
        now = ngx_apikeys_clock_boot_ms();
        then = meta->fresh;

    } else {
        now = ngx_apikeys_clock_wall_ms();
        then = meta->time;
    }

    if (now < then) {
        l->reason = "written in the future (system clock set back?)";
        return NGX_DECLINED;
    }

    l->age = now - then;

    if (l->age > l->conf->stale_max && !l->conf->stale_forever) {
        (void) ngx_sprintf(l->reason_text, "%uL s old, limit is apikeys_stale "
                           "(%M s)%Z", l->age / 1000,
                           l->conf->stale_max / 1000);
        l->reason = (char *) l->reason_text;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_snapshot_load_objects(ngx_apikeys_snapshot_load_t *l,
    ngx_str_t *text)
{
    ngx_int_t                    rc;
    ngx_apikeys_store_object_t   object;

    for ( ;; ) {
        rc = ngx_apikeys_snapshot_format_get(text, l->pool, &object);

        if (rc == NGX_OK) {
            rc = ngx_apikeys_snapshot_load_publish(l, &object);
        }

        if (rc != NGX_OK) {
            break;
        }
    }

    ngx_explicit_memzero(&object, sizeof(ngx_apikeys_store_object_t));

    return (rc == NGX_DONE) ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_apikeys_snapshot_load_publish(ngx_apikeys_snapshot_load_t *l,
    ngx_apikeys_store_object_t *object)
{
    ngx_int_t             rc;
    ngx_apikeys_store_t  *store;

    store = l->conf->store;

    switch (object->kind) {

    case NGX_APIKEYS_STORE_KEY:
        rc = ngx_apikeys_store_publish_key_locked(store, &object->u.key,
                                                  l->load);
        l->keys++;
        break;

    case NGX_APIKEYS_STORE_ORG:
        rc = ngx_apikeys_store_publish_org_locked(store, &object->u.org,
                                                  l->load);
        break;

    default: /* NGX_APIKEYS_STORE_PROJECT */
        rc = ngx_apikeys_store_publish_project_locked(store,
                                                      &object->u.project,
                                                      l->load);
    }

    if (rc == NGX_ERROR) {
        l->reason = "does not fit in apikeys_zone, increase the size";
    }

    /* an object that changed during the walk may be in the file twice */

    return (rc == NGX_DECLINED) ? NGX_OK : rc;
}


static ngx_int_t
ngx_apikeys_snapshot_load_complete(ngx_apikeys_snapshot_load_t *l)
{
    u_char     byte;
    ngx_int_t  rc;

    if (ngx_read_fd(l->fd, &byte, 1) != 0) {
        return NGX_DECLINED;
    }

    do {
        rc = ngx_apikeys_store_load_sweep_locked(l->conf->store, l->load);
    } while (rc == NGX_AGAIN);

    return rc;
}


void
ngx_apikeys_snapshot_configure(ngx_apikeys_snapshot_conf_t *conf)
{
    ngx_apikeys_store_on_ready(conf->store, ngx_apikeys_snapshot_ready, conf);
}


static ngx_int_t
ngx_apikeys_snapshot_ready(void *data, ngx_log_t *log, ngx_uint_t empty)
{
    ngx_apikeys_snapshot_conf_t  *conf = data;

    if (ngx_apikeys_snapshot_directory(conf, log) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!empty || ngx_test_config) {
        return NGX_OK;
    }

    return ngx_apikeys_snapshot_load(conf, log);
}


/*
 * A missing directory is created and given to the user of the workers, as
 * nginx does with directories of temporary files; an existing one is only
 * checked.
 */

static ngx_int_t
ngx_apikeys_snapshot_directory(ngx_apikeys_snapshot_conf_t *conf,
    ngx_log_t *log)
{
    u_char           *p, name[NGX_MAX_PATH];
    ngx_core_conf_t  *ccf;
    ngx_file_info_t   fi;

    ccf = (ngx_core_conf_t *) ngx_get_conf(conf->cycle->conf_ctx,
                                           ngx_core_module);

    (void) ngx_cpystrn(name, conf->path.data, sizeof(name));

    p = (u_char *) strrchr((char *) name, '/');
    p[p == name ? 1 : 0] = '\0';

    if (ngx_create_dir(name, 0700) != NGX_FILE_ERROR) {

        if (geteuid() != 0
            || chown((const char *) name, ccf->user, -1) != -1)
        {
            return NGX_OK;
        }

        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                      "apikeys: directory \"%s\" of apikeys_snapshot cannot "
                      "be given to user \"%s\": chown() failed",
                      name, ngx_apikeys_snapshot_worker_user(ccf));
        return NGX_ERROR;
    }

    if (ngx_errno != NGX_EEXIST) {
        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno,
                      "apikeys: cannot create directory \"%s\" of "
                      "apikeys_snapshot, create that or the parent for user "
                      "\"%s\": " ngx_create_dir_n " failed",
                      name, ngx_apikeys_snapshot_worker_user(ccf));
        return NGX_ERROR;
    }

    if (ngx_file_info(name, &fi) != NGX_FILE_ERROR && !ngx_is_dir(&fi)) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "apikeys: \"%s\" is not a directory, correct the path "
                      "of apikeys_snapshot", name);
        return NGX_ERROR;
    }

    if (!ngx_apikeys_snapshot_writable(name, ccf)) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "apikeys: directory \"%s\" of apikeys_snapshot is not "
                      "writable by user \"%s\": change the owner, or choose a "
                      "directory that nginx can create",
                      name, ngx_apikeys_snapshot_worker_user(ccf));
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* name of the user of the workers */

static const char *
ngx_apikeys_snapshot_worker_user(ngx_core_conf_t *ccf)
{
    struct passwd  *pwd;

    if (geteuid() == 0 && ccf->username) {
        return ccf->username;
    }

    pwd = getpwuid(geteuid());

    return pwd ? pwd->pw_name : "that starts nginx";
}


static ngx_uint_t
ngx_apikeys_snapshot_writable(u_char *name, ngx_core_conf_t *ccf)
{
    mode_t           mode;
    ngx_file_info_t  fi;

    /* the workers have the user of an unprivileged master */

    if (geteuid() != 0) {
        return access((const char *) name, W_OK|X_OK) == 0;
    }

    if (ngx_file_info(name, &fi) == NGX_FILE_ERROR || !ngx_is_dir(&fi)) {
        return 0;
    }

    if (ccf->user == 0) {
        return 1;
    }

    mode = fi.st_mode;

    if (fi.st_uid == ccf->user) {
        mode >>= 6;

    } else if (fi.st_gid == ccf->group) {
        mode >>= 3;
    }

    return (mode & 3) == 3;
}
