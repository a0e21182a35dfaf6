
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The local copy of the database in a shared memory zone: every key,
 * organization and project, with what a decision needs of them.  No HTTP, no
 * libpq.
 *
 * Readers take no lock: read_begin(), lookups, read_end(), without returning
 * to the event loop in between.  Unlinked memory is freed by epoch-based
 * reclamation.  Functions named ..._locked() are for writers, which hold the
 * zone's mutex (ngx_apikeys_store_lock()) for about a millisecond at most.
 *
 * Times are boot-time ms (ngx_apikeys_clock_boot_ms()) unless said otherwise.
 */


#ifndef _NGX_APIKEYS_STORE_H_INCLUDED_
#define _NGX_APIKEYS_STORE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_cidr.h>
#include <ngx_apikeys_failure.h>
#include <ngx_apikeys_objectid.h>
#include <ngx_apikeys_roles.h>
#include <ngx_apikeys_seal.h>


#define NGX_APIKEYS_PUBLIC_KEY_LEN     8

/* of one key; lookups of a key with longer lists return NGX_BUSY */
#define NGX_APIKEYS_STORE_MAX_ENTRIES  0xfffe
#define NGX_APIKEYS_STORE_MAX_GRANTS   0xffff

/* stubs whose ids /status prints, at most */
#define NGX_APIKEYS_STORE_STUB_IDS     10

/* reader slots: the master has slot 0, workers ngx_process_slot + 1 */
#define NGX_APIKEYS_STORE_SLOTS        (NGX_MAX_PROCESSES + 1)


typedef struct ngx_apikeys_store_s  ngx_apikeys_store_t;

typedef enum {
    NGX_APIKEYS_STORE_KEY = 0,
    NGX_APIKEYS_STORE_ORG,
    NGX_APIKEYS_STORE_PROJECT
} ngx_apikeys_store_kind_e;

typedef struct {
    ngx_apikeys_objectid_t           id;        /* of the project */
    uint32_t                         roles;     /* mask, in this project */
} ngx_apikeys_store_grant_t;


/*
 * Objects as they are published.  An object with a newer version replaces an
 * older one.
 */

typedef struct {
    ngx_apikeys_objectid_t           id;
    ngx_apikeys_objectid_t           org;
    u_char                           public_key[NGX_APIKEYS_PUBLIC_KEY_LEN];
    uint64_t                         version;
    ngx_apikeys_secret_t             secret;
    u_char                           line[NGX_APIKEYS_SEAL_LINE_LEN];
                                                /* line of the master key file
                                                   that decrypted the secret */
    uint32_t                         roles;     /* mask, in the organization */
    uint32_t                         expires;   /* seconds since 1970; 0: the
                                                   key has no end */
    uint32_t                         disabled;  /* 1: the key is refused */
    uint32_t                         secret_expires;  /* as "expires" */
    uint32_t                         older_expires;
    ngx_apikeys_objectid_t           secret_id;
    ngx_apikeys_objectid_t           older_id;  /* zero: there is no older
                                                   secret */
    ngx_apikeys_secret_t             older;     /* the older of two secrets */
    ngx_uint_t                       unreadable; /* 1: could not be decoded or
                                                    decrypted; lookups return
                                                    NGX_BUSY */
    ngx_uint_t                       stub;      /* 1: did not fit, has neither
                                                   secret nor lists; lookups
                                                   return NGX_BUSY */
    ngx_uint_t                       ngrants;
    ngx_apikeys_store_grant_t       *grants;    /* ascending by id, no
                                                   duplicates */
    ngx_uint_t                       nentries;
    ngx_apikeys_cidr_t              *entries;   /* ascending in the order of
                                                   ngx_apikeys_cidr_compare(),
                                                   no duplicates */
    uint32_t                        *ends;      /* of the entries, as "expires";
                                                   NULL: none has an end */
} ngx_apikeys_store_key_t;

/*
 * A member that is forgotten somewhere is zero there, which may admit too much.
 * So a new member increases the number, adds its size below, and fails the
 * assertion ngx_apikeys_store_key_members() in each file that must copy it:
 * ngx_apikeys_sync_object.c, ngx_apikeys_store_write.c,
 * ngx_apikeys_store_read.c, ngx_apikeys_store_walk.c,
 * ngx_apikeys_snapshot_format.c, t/unit/unit.h and t/fuzz/snapshot.c.
 * The structure must have no padding, in which a member could hide.
 */
#define NGX_APIKEYS_STORE_KEY_MEMBERS  21

_Static_assert(sizeof(ngx_apikeys_store_key_t)
               == 4 * sizeof(ngx_apikeys_objectid_t)
                  + NGX_APIKEYS_PUBLIC_KEY_LEN + sizeof(uint64_t)
                  + 2 * sizeof(ngx_apikeys_secret_t)
                  + NGX_APIKEYS_SEAL_LINE_LEN + 5 * sizeof(uint32_t)
                  + 4 * sizeof(ngx_uint_t)
                  + 3 * sizeof(void *),
               "a member of a key was added or removed: see "
               "NGX_APIKEYS_STORE_KEY_MEMBERS");

#define ngx_apikeys_store_key_members(n)                                     \
    _Static_assert(NGX_APIKEYS_STORE_KEY_MEMBERS == (n),                     \
                   "a member of a key must be copied here, too")

typedef struct {
    ngx_apikeys_objectid_t           id;
    uint64_t                         version;
    ngx_uint_t                       access_list_required;
} ngx_apikeys_store_org_t;

typedef struct {
    ngx_apikeys_objectid_t           id;
    ngx_apikeys_objectid_t           org;
    uint64_t                         version;
} ngx_apikeys_store_project_t;


/* result of a lookup; points into the zone, valid until read_end() */

typedef struct {
    const ngx_apikeys_objectid_t    *id;
    const ngx_apikeys_objectid_t    *org;
    const u_char                    *public_key;
    const ngx_apikeys_objectid_t    *secret_id;
    const u_char                    *plain;     /* as of a secret */
    const ngx_apikeys_ha1s_t        *ha1s;
    uint64_t                         version;
    uint32_t                         roles;
    uint32_t                         expires;   /* as of a key */
    uint32_t                         disabled;
    uint32_t                         secret_expires;
    uint32_t                         has_older; /* 1: there is an older secret,
                                                   see store_older() */
    uint32_t                         ngrants;
    ngx_uint_t                       nentries;
    const void                      *detail;    /* private to the store */
} ngx_apikeys_store_ref_t;


/* minimum size of a zone with a caller's area of area_size bytes */
uint64_t ngx_apikeys_store_min_size(size_t area_size);

/*
 * Configuration: adds the shared memory zone "name" of "size" bytes.  tag: the
 * module.  area_size: bytes reserved in the zone for the caller (metrics and
 * the nonce table), see ngx_apikeys_store_metrics_and_nonces().  Returns NULL
 * after logging the error.
 *
 * set_fingerprint(), a hash of the realm: a zone that was filled under another
 * fingerprint is not used again.  set_seal(): keys decrypted with a line that
 * "seal" lacks get NGX_BUSY.
 */
ngx_apikeys_store_t *ngx_apikeys_store_create(ngx_conf_t *cf, ngx_str_t *name,
    size_t size, void *tag, size_t area_size);
void ngx_apikeys_store_set_fingerprint(ngx_apikeys_store_t *st,
    const u_char fingerprint[32]);
void ngx_apikeys_store_set_seal(ngx_apikeys_store_t *st,
    ngx_apikeys_seal_t *seal);

const u_char *ngx_apikeys_store_fingerprint(ngx_apikeys_store_t *st);

/*
 * Configuration: "handler" is called in the master when the zone exists.
 * empty = 1: the zone is new and nothing was copied from an old one, so the
 * handler may fill it.  It returns NGX_OK, NGX_DECLINED (the zone is emptied
 * again), or NGX_ERROR (the configuration fails).
 */
typedef ngx_int_t (*ngx_apikeys_store_ready_pt)(void *data, ngx_log_t *log,
    ngx_uint_t empty);

void ngx_apikeys_store_on_ready(ngx_apikeys_store_t *st,
    ngx_apikeys_store_ready_pt handler, void *data);

/* the caller's area: zeroed when the zone is made; valid once it exists */
void *ngx_apikeys_store_metrics_and_nonces(ngx_apikeys_store_t *st);

/* takes the reader slot of this process, before it reads; exit frees it */
ngx_int_t ngx_apikeys_store_init_process(ngx_apikeys_store_t *st,
    ngx_log_t *log);
void ngx_apikeys_store_exit_process(ngx_apikeys_store_t *st);

/* the state of a failure, shared by all processes of the zone */
ngx_apikeys_failure_t *ngx_apikeys_store_failure(ngx_apikeys_store_t *st,
    ngx_apikeys_failure_e kind);

/*
 * slot(): number of this process's slot.  slots(): highest slot ever used,
 * plus 1.  process(): pid of the process in slot n, 0 if it is not alive.
 */
ngx_uint_t ngx_apikeys_store_slot(ngx_apikeys_store_t *st);
ngx_uint_t ngx_apikeys_store_slots(ngx_apikeys_store_t *st);
ngx_pid_t ngx_apikeys_store_process(ngx_apikeys_store_t *st, ngx_uint_t n);

/*
 * set_exiting() marks this process as exiting.  count_processes(): number of
 * other processes attached to the zone, and of those that are not exiting.
 */
void ngx_apikeys_store_set_exiting(ngx_apikeys_store_t *st);
void ngx_apikeys_store_count_processes(ngx_apikeys_store_t *st, ngx_uint_t *all,
    ngx_uint_t *not_exiting);


/* readers */

void ngx_apikeys_store_read_begin(ngx_apikeys_store_t *st);
void ngx_apikeys_store_read_end(ngx_apikeys_store_t *st);
/*
 * Number of the current read section, never 0; nested ones are a part of it.
 * A lookup result is valid while the number is what it was at the lookup.  0:
 * not in a section.
 */
uint64_t ngx_apikeys_store_read_section(ngx_apikeys_store_t *st);

/*
 * Lookups, inside a read section.  NGX_OK; NGX_DECLINED: the object does not
 * exist, for certain; NGX_BUSY: unknown, because the local copy is incomplete
 * or the record could not be stored or decrypted: answer 503, never 401.  With
 * NGX_BUSY store_key() sets ref->public_key if the zone has such a record, and
 * else to NULL.
 */
ngx_int_t ngx_apikeys_store_key(ngx_apikeys_store_t *st,
    const ngx_str_t *public_key, ngx_apikeys_store_ref_t *ref);
ngx_int_t ngx_apikeys_store_key_by_id(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id, ngx_apikeys_store_ref_t *ref);
ngx_int_t ngx_apikeys_store_org(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id, ngx_apikeys_store_org_t *org);
ngx_int_t ngx_apikeys_store_project(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id, ngx_apikeys_store_project_t *project);

/*
 * The same key with its older secret in the place of the newest.
 * NGX_DECLINED: it has one secret.
 */
ngx_int_t ngx_apikeys_store_older(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_ref_t *ref, ngx_apikeys_store_ref_t *older);

/* mask of the key's roles in a project, 0: none */
uint32_t ngx_apikeys_store_grant(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_ref_t *ref,
    const ngx_apikeys_objectid_t *project);
/* copies grant number i; i < ref->ngrants */
void ngx_apikeys_store_grant_at(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_ref_t *ref, ngx_uint_t i,
    ngx_apikeys_store_grant_t *grant);

/*
 * The smallest access list entry that contains the address and has not expired,
 * copied to *entry.  NGX_DECLINED: there is none.
 */
ngx_int_t ngx_apikeys_store_match(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_ref_t *ref, const ngx_apikeys_cidr_t *addr,
    ngx_apikeys_cidr_t *entry);

/* ms since the last proof of freshness; (uint64_t) -1: there was none */
uint64_t ngx_apikeys_store_age(ngx_apikeys_store_t *st);
/* 1: an object that is not in the zone does not exist */
ngx_uint_t ngx_apikeys_store_complete(ngx_apikeys_store_t *st);


/*
 * Writers.  lock() does not wait: NGX_OK, or NGX_BUSY (try again from a
 * timer).  It releases the lock of a dead holder, and repairs the zone after
 * one: only this may take longer than a millisecond, 0.1 s for a million
 * cells.
 */

ngx_int_t ngx_apikeys_store_lock(ngx_apikeys_store_t *st);
void ngx_apikeys_store_unlock(ngx_apikeys_store_t *st);

/*
 * Checks the lock holder without taking the lock: releases the lock of a dead
 * holder, kills a holder found stopped for 200 ms.  NGX_AGAIN: a stopped
 * holder was seen, check again soon.
 */
ngx_int_t ngx_apikeys_store_watch(ngx_apikeys_store_t *st);

/*
 * Publishing: writes an object into the zone.  The object is copied.
 *
 * load = 0: the object replaces an older version of it.  load = the number
 * returned by load_begin_locked(): the object replaces any version, and is
 * marked as brought by that load; a newer version that was published without
 * a load since the load began stays.
 *
 * NGX_OK; NGX_DECLINED: the zone has this or a newer version (or a tombstone
 * of one), or the load was abandoned.  NGX_AGAIN: the object would fit in
 * memory that current readers may still use; try again from a timer (returned
 * for 50 ms at most).
 *
 * A key that does not fit then, or would take cells that are reserved for
 * changes of other objects, is stored as a stub: lookups of it return
 * NGX_BUSY, and the local copy stays complete.  NGX_ERROR: not even a stub
 * fits; lookups of the object return NGX_BUSY and the local copy is incomplete
 * until a load succeeds.
 */
ngx_int_t ngx_apikeys_store_publish_key_locked(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_key_t *key, uint32_t load);
ngx_int_t ngx_apikeys_store_publish_org_locked(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_org_t *org, uint32_t load);
ngx_int_t ngx_apikeys_store_publish_project_locked(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_project_t *project, uint32_t load);

/*
 * Stubs are to be read from the database and published again once
 * stubs_have_room() returns 1 (it does not lock).  stubs_find() appends their
 * ids to ids[*n..max), for about a millisecond, beginning with *bucket (at
 * first 0), and moves *bucket.  NGX_OK: ids is full; NGX_AGAIN: call again for
 * more; NGX_DONE: there are no more stubs.  stubs_retried_locked() is called
 * once all of them have been published again.
 */
ngx_uint_t ngx_apikeys_store_stubs_have_room(ngx_apikeys_store_t *st);
ngx_int_t ngx_apikeys_store_stubs_find(ngx_apikeys_store_t *st,
    uint32_t *bucket,
    ngx_apikeys_objectid_t *ids, ngx_uint_t *n, ngx_uint_t max);
void ngx_apikeys_store_stubs_retried_locked(ngx_apikeys_store_t *st);

/*
 * Deletes an object as of a version: lookups no longer find it.  Needs no
 * memory if the object is in the zone.  The tombstone refuses older
 * publications until ngx_apikeys_store_forget_locked() removes it.
 * NGX_DECLINED: the zone has a newer version; NGX_ERROR: the tombstone did not
 * fit, the local copy is incomplete until a load succeeds.
 */
ngx_int_t ngx_apikeys_store_delete_locked(ngx_apikeys_store_t *st,
    ngx_apikeys_store_kind_e kind, const ngx_apikeys_objectid_t *id,
    uint64_t version);

/*
 * Removes at most n tombstones with versions below "version", of which no
 * older version may be published any more.  NGX_AGAIN: call again for more.
 */
ngx_int_t ngx_apikeys_store_forget_locked(ngx_apikeys_store_t *st,
    uint64_t version, ngx_uint_t n);

/*
 * The lines of the master key file.  Lookups of a key whose line the file
 * lacks return NGX_BUSY until the line is back.
 *
 * lines_needed_locked(): the lines that the database needs, in hex, separated
 * by commas.  A single line means that all secrets are encrypted with it.
 * lines_tried_locked(): a load has tried the lines of this configuration on
 * all keys.  lines_untried(): 1 if a load may make keys readable, because this
 * configuration has a new line, or because keys are marked as needing a
 * missing one.  lines_missing(): number of keys that need a missing line; one
 * such line is copied to "line".
 */
void ngx_apikeys_store_lines_needed_locked(ngx_apikeys_store_t *st,
    const ngx_str_t *lines);
void ngx_apikeys_store_lines_tried_locked(ngx_apikeys_store_t *st);
ngx_uint_t ngx_apikeys_store_lines_untried(ngx_apikeys_store_t *st);
uint64_t ngx_apikeys_store_lines_missing(ngx_apikeys_store_t *st,
    u_char line[NGX_APIKEYS_SEAL_LINE_LEN]);

/*
 * sealing_line(): number of the line that encrypts new secrets: the one named
 * by set_sealing_line() (in hex), if this configuration has it, else 0.
 */
ngx_uint_t ngx_apikeys_store_sealing_line(ngx_apikeys_store_t *st);
void ngx_apikeys_store_set_sealing_line(ngx_apikeys_store_t *st,
    const ngx_str_t *line);


/*
 * A full load.  load_begin_locked() returns its number (not 0) and abandons an
 * unfinished load.  After the last object, load_sweep_locked() is called,
 * about a millisecond of work a call, until it no longer returns NGX_AGAIN.
 * It deletes the objects that were not published since the load began.
 * NGX_OK: the local copy is complete; NGX_ERROR: something did not fit;
 * NGX_DECLINED: the load was abandoned.
 *
 * new_database: the objects are those of another database, or of a restored
 * one.  All versions, tombstones and the cursor are forgotten, and the
 * generation grows.  The old objects are served until the sweep; meanwhile the
 * local copy is incomplete.
 */
uint32_t ngx_apikeys_store_load_begin_locked(ngx_apikeys_store_t *st,
    ngx_uint_t new_database);
ngx_int_t ngx_apikeys_store_load_sweep_locked(ngx_apikeys_store_t *st,
    uint32_t load);

/*
 * Grows with each load of another database.  Objects that were read in an
 * earlier generation must not be published: no tombstone refuses them.
 */
uint64_t ngx_apikeys_store_generation(ngx_apikeys_store_t *st);

/*
 * Frees the memory of at most n unlinked records whose readers have left.
 * ngx_apikeys_store_lock() frees up to 64, too.
 */
void ngx_apikeys_store_reclaim_locked(ngx_apikeys_store_t *st, ngx_uint_t n);


/*
 * The lease of the leader, the one process of a zone that follows the
 * database.  available(): 1 if the holder is dead or the deadline has passed;
 * does not lock.  acquire(): takes or renews the lease for ttl ms; NGX_BUSY:
 * another process has it, or the zone is locked.  held(): 1 if this process
 * has it; a leader checks this under the lock before it writes.  The lease
 * number (a fencing token) grows with each new leader.  release() gives it up.
 */
ngx_uint_t ngx_apikeys_store_lease_available(ngx_apikeys_store_t *st);
ngx_int_t ngx_apikeys_store_lease_acquire(ngx_apikeys_store_t *st,
    ngx_msec_t ttl);
void ngx_apikeys_store_lease_release(ngx_apikeys_store_t *st);
ngx_uint_t ngx_apikeys_store_lease_held(ngx_apikeys_store_t *st);
/* pid of the leader, 0: the lease is available */
ngx_pid_t ngx_apikeys_store_lease_holder(ngx_apikeys_store_t *st);

/*
 * The cursor: the database that the zone is a copy of, and the pg_snapshot (as
 * text) whose changes are all in the zone; the next leader continues there.
 * An empty pg_snapshot means that a load was not finished.  set: NGX_ERROR if
 * it is too long for the zone, which then has no cursor.  get copies both to
 * "pool"; NGX_DECLINED: there is no cursor, begin with a full load.
 */
ngx_int_t ngx_apikeys_store_cursor_get(ngx_apikeys_store_t *st,
    ngx_pool_t *pool, ngx_str_t *database_id, ngx_str_t *pg_snapshot);
ngx_int_t ngx_apikeys_store_cursor_set_locked(ngx_apikeys_store_t *st,
    const ngx_str_t *database_id, const ngx_str_t *pg_snapshot);

/*
 * Sets the proof of freshness: when the poll was sent.  For data of a snapshot
 * file written before the last boot the value may be negative (as int64_t):
 * only "now - value" is used.
 */
void ngx_apikeys_store_set_fresh(ngx_apikeys_store_t *st, uint64_t boottime);

/*
 * For monitoring only.  set_behind(): the database has changes that the zone
 * lacks.  set_applied(): all changes visible to the poll sent at "boottime"
 * are in the zone.  Unlike freshness these need no committed heartbeat.
 */
void ngx_apikeys_store_set_behind(ngx_apikeys_store_t *st);
void ngx_apikeys_store_set_applied(ngx_apikeys_store_t *st,
    uint64_t boottime);
/* ms since that poll; (uint64_t) -1: there was none */
uint64_t ngx_apikeys_store_lag(ngx_apikeys_store_t *st);


/* uuid of the zone, 36 characters, made with the zone; points into it */
void ngx_apikeys_store_instance(ngx_apikeys_store_t *st, ngx_str_t *uuid);
/*
 * Sets *uuid to that of the zone that a reload has filled from this one, and
 * returns when that was.  A null string and 0: there is none; a zone that is
 * filled later begins at the cursor that was set before this call, or at a
 * later one.
 */
uint64_t ngx_apikeys_store_successor(ngx_apikeys_store_t *st,
    ngx_str_t *uuid);


/*
 * A walk over all objects that are not deleted, for the snapshot file.  The
 * caller sets handler, data and pool; the lists of the objects are allocated
 * from the pool, which the caller may reset between calls.
 *
 * walk_begin(): NGX_DECLINED: the local copy is incomplete, or a load is in
 * progress.  walk_next() calls the handler for the objects of one bucket:
 * NGX_OK, NGX_DONE (no bucket is left), NGX_ERROR, or what the handler
 * returned.  walk_valid(): 0 if a load has begun since; everything that the
 * walk returned must then be discarded.
 */
typedef struct {
    ngx_apikeys_store_kind_e         kind;
    union {
        ngx_apikeys_store_key_t      key;
        ngx_apikeys_store_org_t      org;
        ngx_apikeys_store_project_t  project;
    } u;
} ngx_apikeys_store_object_t;

typedef ngx_int_t (*ngx_apikeys_store_walk_pt)(void *data,
    const ngx_apikeys_store_object_t *object);

typedef struct {
    ngx_apikeys_store_walk_pt        handler;
    void                            *data;
    ngx_pool_t                      *pool;
    uint32_t                         bucket;
    uint32_t                         load;
} ngx_apikeys_store_walk_t;

ngx_int_t ngx_apikeys_store_walk_begin(ngx_apikeys_store_t *st,
    ngx_apikeys_store_walk_t *walk);
ngx_int_t ngx_apikeys_store_walk_next(ngx_apikeys_store_t *st,
    ngx_apikeys_store_walk_t *walk);
ngx_uint_t ngx_apikeys_store_walk_valid(ngx_apikeys_store_t *st,
    ngx_apikeys_store_walk_t *walk);


/* metrics, for apikeys_status */

typedef struct {
    uint64_t                         keys;
    uint64_t                         orgs;
    uint64_t                         projects;
    uint64_t                         tombstones;
    uint64_t                         invalid;
    uint64_t                         stubs;
    uint64_t                         lineless;        /* keys whose line the
                                                         master key file
                                                         lacks */
    uint64_t                         size;            /* of the arena, bytes */
    uint64_t                         free_bytes;
    uint64_t                         reserved_bytes;  /* for changes of objects
                                                         in the zone; a part of
                                                         free_bytes */
    uint64_t                         low;             /* 1: little is free */
    uint64_t                         retired_bytes;   /* unlinked, not free
                                                         yet */
    uint64_t                         epoch;           /* database generation */
    uint64_t                         load_failures;   /* objects for which the
                                                         zone was full */
    uint64_t                         repairs;
    uint64_t                         complete;
    uint64_t                         age;             /* ms; -1: never fresh */
    uint64_t                         lag;             /* ms; -1: none yet */
    uint64_t                         behind;
} ngx_apikeys_store_stat_t;

void ngx_apikeys_store_stat(ngx_apikeys_store_t *st,
    ngx_apikeys_store_stat_t *stat);

/* line number i of those in use here; NGX_DECLINED after the last one */

typedef struct {
    u_char                           line[NGX_APIKEYS_SEAL_LINE_LEN];
    uint64_t                         keys;
    ngx_uint_t                       missing;   /* 1: not in the file */
} ngx_apikeys_store_line_stat_t;

ngx_int_t ngx_apikeys_store_line_stat(ngx_apikeys_store_t *st, ngx_uint_t i,
    ngx_apikeys_store_line_stat_t *stat);

/* copies up to NGX_APIKEYS_STORE_STUB_IDS ids of stubs, returns how many */
ngx_uint_t ngx_apikeys_store_stub_ids(ngx_apikeys_store_t *st,
    ngx_apikeys_objectid_t *ids);


#endif /* _NGX_APIKEYS_STORE_H_INCLUDED_ */
