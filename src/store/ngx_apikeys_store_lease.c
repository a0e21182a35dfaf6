
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What the leader keeps in the zone: its lease, the cursor from which the next
 * leader continues, the proof of freshness.
 *
 * After the deadline other processes may take the lease; pid and lease number
 * decide who has it.  A leader that is late and was not replaced goes on.  It
 * renews the lease without the mutex, so that it does not lose the lease in a
 * busy zone.  A new leader takes the lease under the mutex, and a leader
 * checks under the mutex that it still has the lease before it writes.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_clock.h>
#include <ngx_apikeys_store_int.h>


/*
 * On an overloaded machine processes are late by themselves, and each takeover
 * costs a login, which adds to the load.  Each takeover from a live holder
 * moves lease_overload by TAKEOVER ms into the future.  While it is more than
 * OVERLOAD takeovers (60 s) ahead, leases are FACTOR times longer.
 */
#define NGX_APIKEYS_STORE_LEASE_OVERLOAD    5
#define NGX_APIKEYS_STORE_LEASE_TAKEOVER  12000
#define NGX_APIKEYS_STORE_LEASE_FACTOR  8


static ngx_int_t ngx_apikeys_store_lease_acquire_locked(ngx_apikeys_store_t *st,
    ngx_msec_t ttl);
static ngx_uint_t ngx_apikeys_store_lease_gone(ngx_pid_t pid);
static uint64_t ngx_apikeys_store_lease_deadline(ngx_apikeys_store_t *st,
    uint64_t now, ngx_msec_t ttl);


ngx_uint_t
ngx_apikeys_store_lease_available(ngx_apikeys_store_t *st)
{
    return ngx_apikeys_store_lease_holder(st) == 0;
}


ngx_pid_t
ngx_apikeys_store_lease_holder(ngx_apikeys_store_t *st)
{
    ngx_pid_t                  pid;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;
    pid = ngx_apikeys_atomic_load(&sh->leader_pid);

    if (pid == 0
        || ngx_apikeys_clock_boot_ms()
           >= ngx_apikeys_atomic_load(&sh->lease_deadline)
        || ngx_apikeys_store_lease_gone(pid))
    {
        return 0;
    }

    return pid;
}


ngx_int_t
ngx_apikeys_store_lease_acquire(ngx_apikeys_store_t *st, ngx_msec_t ttl)
{
    uint64_t   now;
    ngx_int_t  rc;

    if (ngx_apikeys_store_lease_held(st)) {
        now = ngx_apikeys_clock_boot_ms();

        ngx_apikeys_atomic_store(&st->head->lease_deadline,
                               ngx_apikeys_store_lease_deadline(st, now, ttl));
        return NGX_OK;
    }

    if (!ngx_apikeys_store_lease_available(st)) {
        return NGX_BUSY;
    }

    if (st->locked) {
        return ngx_apikeys_store_lease_acquire_locked(st, ttl);
    }

    if (ngx_apikeys_store_lock(st) != NGX_OK) {
        return NGX_BUSY;
    }

    rc = ngx_apikeys_store_lease_acquire_locked(st, ttl);

    ngx_apikeys_store_unlock(st);

    return rc;
}


static ngx_int_t
ngx_apikeys_store_lease_acquire_locked(ngx_apikeys_store_t *st, ngx_msec_t ttl)
{
    uint64_t                   now, latest;
    ngx_apikeys_store_head_t  *sh;

    /* another process may have taken it since the check without the mutex */

    if (!ngx_apikeys_store_lease_available(st)) {
        return NGX_BUSY;
    }

    sh = st->head;
    now = ngx_apikeys_clock_boot_ms();

    /* a released lease has deadline 0 */

    if (sh->leader_pid && sh->lease_deadline
        && !ngx_apikeys_store_lease_gone(sh->leader_pid))
    {
        latest = now + (NGX_APIKEYS_STORE_LEASE_OVERLOAD + 1)
                       * NGX_APIKEYS_STORE_LEASE_TAKEOVER;

        sh->lease_overload = ngx_max(sh->lease_overload, now)
                          + NGX_APIKEYS_STORE_LEASE_TAKEOVER;
        sh->lease_overload = ngx_min(sh->lease_overload, latest);
    }

    /*
     * leader_pid is 0 while number and deadline are written: a process that is
     * killed here does not hold the lease.
     */

    ngx_apikeys_atomic_store(&sh->leader_pid, 0);
    ngx_apikeys_atomic_store(&sh->lease_number,
                             sh->lease_number + 1);
    ngx_apikeys_atomic_store(&sh->lease_deadline,
                             ngx_apikeys_store_lease_deadline(st, now, ttl));

    st->lease_number = sh->lease_number;

    ngx_apikeys_atomic_store(&sh->leader_pid, ngx_pid);

    return NGX_OK;
}


/*
 * kill() also succeeds for a zombie and for a process that reuses the pid;
 * then the deadline decides.
 */

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

    late = ngx_apikeys_atomic_load(&st->head->lease_overload);

    if (late > now + NGX_APIKEYS_STORE_LEASE_OVERLOAD
                     * NGX_APIKEYS_STORE_LEASE_TAKEOVER)
    {
        ttl *= NGX_APIKEYS_STORE_LEASE_FACTOR;
    }

    return now + ttl;
}


void
ngx_apikeys_store_lease_release(ngx_apikeys_store_t *st)
{
    if (!ngx_apikeys_store_lease_held(st)) {
        return;
    }

    st->lease_number = 0;

    /* no mutex: one store is enough, and an exiting process must not wait */

    ngx_apikeys_atomic_store(&st->head->lease_deadline, 0);
}


ngx_uint_t
ngx_apikeys_store_lease_held(ngx_apikeys_store_t *st)
{
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    return st->lease_number != 0
           && ngx_apikeys_atomic_load(&sh->leader_pid) == ngx_pid
           && ngx_apikeys_atomic_load(&sh->lease_number)
              == st->lease_number;
}


/*
 * Two cursors are written alternately.  head.cursor is the sequence number <<
 * 1 | valid, so its bit 1 selects one of them.  A single store of head.cursor
 * makes the new one current: a writer that is killed leaves the old one
 * intact, and a reader has a consistent cursor if head.cursor has not changed.
 */

ngx_int_t
ngx_apikeys_store_cursor_get(ngx_apikeys_store_t *st, ngx_pool_t *pool,
    ngx_str_t *database_id, ngx_str_t *pg_snapshot)
{
    uint64_t                     n;
    ngx_apikeys_store_cursor_t  *cursor;

    n = ngx_apikeys_atomic_load(&st->head->cursor);

    if (!(n & 1)) {
        return NGX_DECLINED;
    }

    cursor = &st->head->cursors[(n >> 1) & 1];

    database_id->len = ngx_min(cursor->database_id_len,
                               NGX_APIKEYS_STORE_DATABASE_ID_LEN);
    pg_snapshot->len = ngx_min(cursor->pg_snapshot_len,
                               NGX_APIKEYS_STORE_PG_SNAPSHOT_LEN);

    database_id->data = ngx_pnalloc(pool, database_id->len);
    pg_snapshot->data = ngx_pnalloc(pool, pg_snapshot->len);

    if (database_id->data == NULL || pg_snapshot->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(database_id->data, cursor->database_id, database_id->len);
    ngx_memcpy(pg_snapshot->data, cursor->pg_snapshot, pg_snapshot->len);

    __atomic_thread_fence(__ATOMIC_ACQUIRE);

    return (st->head->cursor == n) ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_apikeys_store_cursor_set_locked(ngx_apikeys_store_t *st,
    const ngx_str_t *database_id, const ngx_str_t *pg_snapshot)
{
    uint64_t                     n;
    ngx_apikeys_store_cursor_t  *cursor;

    if (database_id->len > NGX_APIKEYS_STORE_DATABASE_ID_LEN
        || pg_snapshot->len > NGX_APIKEYS_STORE_PG_SNAPSHOT_LEN)
    {
        /*
         * The new cursor does not fit.  Invalidate the old one: the next
         * leader must load everything, not continue at an outdated point.
         */

        ngx_apikeys_atomic_store(&st->head->cursor,
                                 st->head->cursor & ~(uint64_t) 1);
        return NGX_ERROR;
    }

    n = (st->head->cursor >> 1) + 1;
    cursor = &st->head->cursors[n & 1];

    cursor->database_id_len = database_id->len;
    cursor->pg_snapshot_len = pg_snapshot->len;

    ngx_memcpy(cursor->database_id, database_id->data, database_id->len);
    ngx_memcpy(cursor->pg_snapshot, pg_snapshot->data, pg_snapshot->len);

    ngx_apikeys_atomic_store(&st->head->cursor, n << 1 | 1);

    return NGX_OK;
}


void
ngx_apikeys_store_set_fresh(ngx_apikeys_store_t *st, uint64_t boottime)
{
    uint64_t  fresh;

    fresh = ngx_apikeys_atomic_load(&st->head->fresh_at);

    /*
     * A slow leader must not set it back.  The comparison is signed, as the
     * value may be negative for a snapshot file written before the last boot;
     * 0 is "never".
     */

    while ((fresh == 0 || (int64_t) (boottime - fresh) > 0)
           && !__atomic_compare_exchange_n(&st->head->fresh_at, &fresh,
                                           boottime,
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

    fresh = ngx_apikeys_atomic_load(&st->head->fresh_at);

    if (fresh == 0) {
        return (uint64_t) -1;
    }

    now = ngx_apikeys_clock_boot_ms();

    return ((int64_t) (now - fresh) > 0) ? now - fresh : 0;
}


void
ngx_apikeys_store_set_behind(ngx_apikeys_store_t *st)
{
    ngx_apikeys_atomic_store(&st->head->behind, 1);
}


void
ngx_apikeys_store_set_applied(ngx_apikeys_store_t *st, uint64_t boottime)
{
    ngx_apikeys_atomic_store(&st->head->applied_at, boottime);
    ngx_apikeys_atomic_store(&st->head->behind, 0);
}


/* a zone filled from a snapshot file or an old zone has only fresh_at */

uint64_t
ngx_apikeys_store_lag(ngx_apikeys_store_t *st)
{
    uint64_t  now, age, applied;

    age = ngx_apikeys_store_age(st);
    applied = ngx_apikeys_atomic_load(&st->head->applied_at);

    if (applied == 0) {
        return age;
    }

    now = ngx_apikeys_clock_boot_ms();

    return ngx_min(age, (applied < now) ? now - applied : 0);
}
