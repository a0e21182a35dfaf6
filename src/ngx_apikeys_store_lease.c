
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What the syncer keeps in the zone: its lease, the cursor that it hands to
 * its successor, the proof of freshness.
 *
 * The deadline says when others may take the lease, the fencing number who
 * has it: a holder that comes late and was not replaced goes on.  It renews
 * without the mutex, so that a busy zone does not cost it the lease; all else
 * about the lease is written under the mutex, and a holder that writes looks
 * again when it has it.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


/*
 * A holder that is stopped is replaced soon.  Where processes come late by
 * themselves, for the machine has too much to do, that would be a login each
 * time, and more to do: so after some in a minute the lease is a longer one,
 * until one of them is forgotten.
 */
#define NGX_APIKEYS_STORE_LEASE_LATE    5
#define NGX_APIKEYS_STORE_LEASE_FORGET  12000
#define NGX_APIKEYS_STORE_LEASE_LONGER  8

#ifdef CLOCK_BOOTTIME
#define NGX_APIKEYS_STORE_LEASE_CLOCK   CLOCK_BOOTTIME
#else
#define NGX_APIKEYS_STORE_LEASE_CLOCK   CLOCK_MONOTONIC
#endif


static ngx_int_t ngx_apikeys_store_lease_take_locked(ngx_apikeys_store_t *st,
    ngx_msec_t ttl);
static ngx_uint_t ngx_apikeys_store_lease_gone(ngx_pid_t pid);
static uint64_t ngx_apikeys_store_lease_deadline(ngx_apikeys_store_t *st,
    uint64_t now, ngx_msec_t ttl);


ngx_uint_t
ngx_apikeys_store_lease_free(ngx_apikeys_store_t *st)
{
    return ngx_apikeys_store_lease_holder(st) == 0;
}


ngx_pid_t
ngx_apikeys_store_lease_holder(ngx_apikeys_store_t *st)
{
    ngx_pid_t                  pid;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;
    pid = ngx_apikeys_store_load(&sh->syncer);

    if (pid == 0
        || ngx_apikeys_store_boottime()
           >= ngx_apikeys_store_load(&sh->syncer_deadline)
        || ngx_apikeys_store_lease_gone(pid))
    {
        return 0;
    }

    return pid;
}


ngx_int_t
ngx_apikeys_store_lease_take(ngx_apikeys_store_t *st, ngx_msec_t ttl)
{
    uint64_t   now;
    ngx_int_t  rc;

    if (ngx_apikeys_store_lease_held(st)) {
        now = ngx_apikeys_store_boottime();

        ngx_apikeys_store_set(&st->head->syncer_deadline,
                              ngx_apikeys_store_lease_deadline(st, now, ttl));
        return NGX_OK;
    }

    if (!ngx_apikeys_store_lease_free(st)) {
        return NGX_BUSY;
    }

    if (st->locked) {
        return ngx_apikeys_store_lease_take_locked(st, ttl);
    }

    if (ngx_apikeys_store_lock(st) != NGX_OK) {
        return NGX_BUSY;
    }

    rc = ngx_apikeys_store_lease_take_locked(st, ttl);

    ngx_apikeys_store_unlock(st);

    return rc;
}


static ngx_int_t
ngx_apikeys_store_lease_take_locked(ngx_apikeys_store_t *st, ngx_msec_t ttl)
{
    uint64_t                   now, latest;
    ngx_apikeys_store_head_t  *sh;

    /* another one may have taken it since */

    if (!ngx_apikeys_store_lease_free(st)) {
        return NGX_BUSY;
    }

    sh = st->head;
    now = ngx_apikeys_store_boottime();

    /* who gave it back has no deadline */

    if (sh->syncer && sh->syncer_deadline
        && !ngx_apikeys_store_lease_gone(sh->syncer))
    {
        latest = now + (NGX_APIKEYS_STORE_LEASE_LATE + 1)
                       * NGX_APIKEYS_STORE_LEASE_FORGET;

        sh->syncer_late = ngx_max(sh->syncer_late, now)
                          + NGX_APIKEYS_STORE_LEASE_FORGET;
        sh->syncer_late = ngx_min(sh->syncer_late, latest);
    }

    /* nobody's, from the first store to the last: a killed taker has none */

    ngx_apikeys_store_set(&sh->syncer, 0);
    ngx_apikeys_store_set(&sh->syncer_fence, sh->syncer_fence + 1);
    ngx_apikeys_store_set(&sh->syncer_deadline,
                          ngx_apikeys_store_lease_deadline(st, now, ttl));

    st->fence = sh->syncer_fence;

    ngx_apikeys_store_set(&sh->syncer, ngx_pid);

    return NGX_OK;
}


/* a zombie, or another one with its pid: the deadline tells */

static ngx_uint_t
ngx_apikeys_store_lease_gone(ngx_pid_t pid)
{
    return kill(pid, 0) == -1 && ngx_errno == ESRCH;
}


static uint64_t
ngx_apikeys_store_lease_deadline(ngx_apikeys_store_t *st, uint64_t now,
    ngx_msec_t ttl)
{
    uint64_t  late;

    late = ngx_apikeys_store_load(&st->head->syncer_late);

    if (late > now + NGX_APIKEYS_STORE_LEASE_LATE
                     * NGX_APIKEYS_STORE_LEASE_FORGET)
    {
        ttl *= NGX_APIKEYS_STORE_LEASE_LONGER;
    }

    return now + ttl;
}


void
ngx_apikeys_store_lease_drop(ngx_apikeys_store_t *st)
{
    if (!ngx_apikeys_store_lease_held(st)) {
        return;
    }

    st->fence = 0;

    /* one store is enough, and the mutex may be busy in a process' last act */

    ngx_apikeys_store_set(&st->head->syncer_deadline, 0);
}


ngx_uint_t
ngx_apikeys_store_lease_held(ngx_apikeys_store_t *st)
{
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    return st->fence != 0
           && ngx_apikeys_store_load(&sh->syncer) == ngx_pid
           && ngx_apikeys_store_load(&sh->syncer_fence) == st->fence;
}


/*
 * There are two cursors; a new one is written where the old one is not, and
 * then holds by one store: of its number, whose parity says where, and a bit
 * that says that it holds.  So a killed writer leaves the old one, and who
 * reads has a whole one if the number is the same afterwards.
 */

ngx_int_t
ngx_apikeys_store_cursor_get(ngx_apikeys_store_t *st, ngx_pool_t *pool,
    ngx_str_t *identity, ngx_str_t *snapshot)
{
    uint64_t                     n;
    ngx_apikeys_store_cursor_t  *cursor;

    n = ngx_apikeys_store_load(&st->head->cursor);

    if (!(n & 1)) {
        return NGX_DECLINED;
    }

    cursor = &st->head->cursors[(n >> 1) & 1];

    identity->len = ngx_min(cursor->identity_len,
                            NGX_APIKEYS_STORE_IDENTITY_LEN);
    snapshot->len = ngx_min(cursor->snapshot_len,
                            NGX_APIKEYS_STORE_SNAPSHOT_LEN);

    identity->data = ngx_pnalloc(pool, identity->len);
    snapshot->data = ngx_pnalloc(pool, snapshot->len);

    if (identity->data == NULL || snapshot->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(identity->data, cursor->identity, identity->len);
    ngx_memcpy(snapshot->data, cursor->snapshot, snapshot->len);

    __atomic_thread_fence(__ATOMIC_ACQUIRE);

    return (st->head->cursor == n) ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_apikeys_store_cursor_set_locked(ngx_apikeys_store_t *st,
    const ngx_str_t *identity, const ngx_str_t *snapshot)
{
    uint64_t                     n;
    ngx_apikeys_store_cursor_t  *cursor;

    if (identity->len > NGX_APIKEYS_STORE_IDENTITY_LEN
        || snapshot->len > NGX_APIKEYS_STORE_SNAPSHOT_LEN)
    {
        /* the old one would hide what the new one has seen be applied */

        ngx_apikeys_store_set(&st->head->cursor,
                              st->head->cursor & ~(uint64_t) 1);
        return NGX_ERROR;
    }

    n = (st->head->cursor >> 1) + 1;
    cursor = &st->head->cursors[n & 1];

    cursor->identity_len = identity->len;
    cursor->snapshot_len = snapshot->len;

    ngx_memcpy(cursor->identity, identity->data, identity->len);
    ngx_memcpy(cursor->snapshot, snapshot->data, snapshot->len);

    ngx_apikeys_store_set(&st->head->cursor, n << 1 | 1);

    return NGX_OK;
}


void
ngx_apikeys_store_set_fresh(ngx_apikeys_store_t *st, uint64_t boottime)
{
    uint64_t  fresh;

    fresh = ngx_apikeys_store_load(&st->head->fresh);

    /*
     * A syncer that was slow must not take back what its successor proved.
     * The clock is compared as a signed one, for a snapshot of the last boot
     * may be older than this one; 0 is "never".
     */

    while ((fresh == 0 || (int64_t) (boottime - fresh) > 0)
           && !__atomic_compare_exchange_n(&st->head->fresh, &fresh, boottime,
                                           0, __ATOMIC_ACQ_REL,
                                           __ATOMIC_ACQUIRE))
    {
        /* void */
    }
}


uint64_t
ngx_apikeys_store_age(ngx_apikeys_store_t *st)
{
    uint64_t  now, fresh;

    fresh = ngx_apikeys_store_load(&st->head->fresh);

    if (fresh == 0) {
        return (uint64_t) -1;
    }

    now = ngx_apikeys_store_boottime();

    return ((int64_t) (now - fresh) > 0) ? now - fresh : 0;
}


void
ngx_apikeys_store_set_behind(ngx_apikeys_store_t *st)
{
    ngx_apikeys_store_set(&st->head->behind, 1);
}


void
ngx_apikeys_store_set_applied(ngx_apikeys_store_t *st, uint64_t boottime)
{
    ngx_apikeys_store_set(&st->head->applied, boottime);
    ngx_apikeys_store_set(&st->head->behind, 0);
}


/* a proof of freshness may be all there is: of a snapshot, or a copied zone */

uint64_t
ngx_apikeys_store_lag(ngx_apikeys_store_t *st)
{
    uint64_t  now, age, applied;

    age = ngx_apikeys_store_age(st);
    applied = ngx_apikeys_store_load(&st->head->applied);

    if (applied == 0) {
        return age;
    }

    now = ngx_apikeys_store_boottime();

    return ngx_min(age, (applied < now) ? now - applied : 0);
}


/*
 * Counts while the machine sleeps, and is the same in all its processes.  It
 * is read once in a tick of the coarse clock, which costs a quarter: while
 * that one shows the same, the kernel has not come to its next tick, whatever
 * became of this process or of the machine meanwhile.
 */

uint64_t
ngx_apikeys_store_boottime(void)
{
    struct timespec  ts;

    static uint64_t  now;

#ifdef CLOCK_REALTIME_COARSE

    static struct timespec  tick;

    if (clock_gettime(CLOCK_REALTIME_COARSE, &ts) == 0) {

        if (ts.tv_nsec == tick.tv_nsec && ts.tv_sec == tick.tv_sec) {
            return now;
        }

        tick = ts;
    }

#endif

    (void) clock_gettime(NGX_APIKEYS_STORE_LEASE_CLOCK, &ts);

    now = (uint64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;

    return now;
}
