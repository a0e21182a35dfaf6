
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The local copy in shared memory: every key, organisation and project that a
 * decision needs.  No HTTP, no libpq.
 *
 * Readers take no lock and wait for nothing: enter, look up, decide, leave,
 * without returning to the event loop in between.  Writers hold the zone's
 * mutex through ngx_apikeys_store_lock(), for about a millisecond at most.
 */


#ifndef _NGX_APIKEYS_STORE_H_INCLUDED_
#define _NGX_APIKEYS_STORE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_objectid.h>
#include <ngx_apikeys_roles.h>
#include <ngx_apikeys_cidr.h>
#include <ngx_apikeys_seal.h>


#define NGX_APIKEYS_PUBLIC_KEY_LEN     8

/* of one key; with longer lists it answers NGX_BUSY to readers */
#define NGX_APIKEYS_STORE_MAX_ENTRIES  0xfffe
#define NGX_APIKEYS_STORE_MAX_GRANTS   0xffff

#define NGX_APIKEYS_STORE_STUB_IDS     10

/* the master has a slot of its own, for it shares ngx_process_slot 0 */
#define NGX_APIKEYS_STORE_SLOTS        (NGX_MAX_PROCESSES + 1)


typedef struct ngx_apikeys_store_s  ngx_apikeys_store_t;

typedef enum {
    NGX_APIKEYS_STORE_KEY = 0,
    NGX_APIKEYS_STORE_ORG,
    NGX_APIKEYS_STORE_PROJECT
} ngx_apikeys_store_kind_e;

typedef struct {
    ngx_apikeys_objectid_t           id;
    uint32_t                         roles;
} ngx_apikeys_store_grant_t;           /* roles in one project */


/* what is published */

typedef struct {
    ngx_apikeys_objectid_t           id;
    ngx_apikeys_objectid_t           org;
    u_char                           public_key[NGX_APIKEYS_PUBLIC_KEY_LEN];
    uint64_t                         version;
    ngx_apikeys_secret_t             secret;
    u_char                           line[NGX_APIKEYS_SEAL_LINE_LEN];
                                                /* that sealed it */
    uint32_t                         roles;     /* in the organisation */
    ngx_uint_t                       unreadable; /* the secret did not open:
                                                    NGX_BUSY to readers */
    ngx_uint_t                       stub;      /* the same, for want of room:
                                                   no secret, no lists */
    ngx_uint_t                       ngrants;
    ngx_apikeys_store_grant_t       *grants;    /* ascending by id */
    ngx_uint_t                       nentries;
    ngx_apikeys_cidr_t              *entries;   /* cidr_compare()'s order,
                                                   no duplicates */
} ngx_apikeys_store_key_t;

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


/* what a reader gets; pointers into the zone, valid until leave */

typedef struct {
    const ngx_apikeys_objectid_t    *id;
    const ngx_apikeys_objectid_t    *org;
    const u_char                    *public_key;
    const ngx_apikeys_secret_t      *secret;
    uint64_t                         version;
    uint32_t                         roles;
    ngx_uint_t                       ngrants;
    ngx_uint_t                       nentries;
    const void                      *record;    /* the store's own */
} ngx_apikeys_store_ref_t;


/*
 * Configuration: adds the shared memory zone "name" of "size" bytes.  The
 * fingerprint (32 bytes over the realm) makes a zone that was filled under
 * another realm start empty.  The lines of "seal" are those whose keys are
 * decided.  tag: the module.
 * nonces: bytes set aside for a neighbour (the nonce table), see below.
 */
ngx_apikeys_store_t *ngx_apikeys_store_create(ngx_conf_t *cf, ngx_str_t *name,
    size_t size, void *tag, size_t nonces);
void ngx_apikeys_store_set_fingerprint(ngx_apikeys_store_t *st,
    const u_char fingerprint[32]);
void ngx_apikeys_store_set_seal(ngx_apikeys_store_t *st,
    ngx_apikeys_seal_t *seal);

const u_char *ngx_apikeys_store_fingerprint(ngx_apikeys_store_t *st);

/*
 * Configuration: "handler" is called in the master when the zone is there;
 * "empty" when it is new and nothing was carried over from an old one: then
 * it may fill it.  NGX_DECLINED: what it has filled in is to be forgotten;
 * NGX_ERROR fails the configuration.
 */
typedef ngx_int_t (*ngx_apikeys_store_ready_pt)(void *data, ngx_log_t *log,
    ngx_uint_t empty);

void ngx_apikeys_store_on_ready(ngx_apikeys_store_t *st,
    ngx_apikeys_store_ready_pt handler, void *data);

/* the neighbour's memory, zeroed when the zone is made; after init_zone */
void *ngx_apikeys_store_nonces(ngx_apikeys_store_t *st);

/* each process, before it reads: takes its reader slot; exit gives it back */
ngx_int_t ngx_apikeys_store_init_process(ngx_apikeys_store_t *st,
    ngx_log_t *log);
void ngx_apikeys_store_exit_process(ngx_apikeys_store_t *st);

/*
 * The slot of this process; how many slots have been used so far; the process
 * that has slot "n", or 0 when it is gone.
 */
ngx_uint_t ngx_apikeys_store_slot(ngx_apikeys_store_t *st);
ngx_uint_t ngx_apikeys_store_slots(ngx_apikeys_store_t *st);
ngx_pid_t ngx_apikeys_store_process(ngx_apikeys_store_t *st, ngx_uint_t n);

/*
 * This process is about to leave; how many other processes are attached to
 * the zone, and how many of them are not about to leave.
 */
void ngx_apikeys_store_leaving(ngx_apikeys_store_t *st);
void ngx_apikeys_store_others(ngx_apikeys_store_t *st, ngx_uint_t *all,
    ngx_uint_t *staying);


/* readers */

void ngx_apikeys_store_enter(ngx_apikeys_store_t *st);
void ngx_apikeys_store_leave(ngx_apikeys_store_t *st);

/*
 * NGX_OK; NGX_DECLINED: there is none, with authority; NGX_BUSY: cannot be
 * told (the local copy is incomplete, or the record could not be kept or
 * opened), which is 503 and never 401.
 */
ngx_int_t ngx_apikeys_store_key(ngx_apikeys_store_t *st,
    const ngx_str_t *public_key, ngx_apikeys_store_ref_t *ref);
ngx_int_t ngx_apikeys_store_key_by_id(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id, ngx_apikeys_store_ref_t *ref);
ngx_int_t ngx_apikeys_store_org(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id, ngx_apikeys_store_org_t *org);
ngx_int_t ngx_apikeys_store_project(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id, ngx_apikeys_store_project_t *project);

/* the key's roles in a project, 0 for none */
uint32_t ngx_apikeys_store_grant(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_ref_t *ref,
    const ngx_apikeys_objectid_t *project);
/* the i-th grant; i < ref->ngrants */
void ngx_apikeys_store_grant_at(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_ref_t *ref, ngx_uint_t i,
    ngx_apikeys_store_grant_t *grant);

/* the most specific entry that holds the address: NGX_OK or NGX_DECLINED */
ngx_int_t ngx_apikeys_store_match(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_ref_t *ref, const ngx_apikeys_cidr_t *addr,
    ngx_apikeys_cidr_t *entry);

/*
 * Age in milliseconds of the last proof of freshness, or (uint64_t) -1
 * when there was none.
 */
uint64_t ngx_apikeys_store_age(ngx_apikeys_store_t *st);
ngx_uint_t ngx_apikeys_store_complete(ngx_apikeys_store_t *st);


/*
 * Writers.  lock never waits: NGX_OK, or NGX_BUSY (try again from a timer).
 * It frees the lock of a dead holder, and repairs what a dead writer left:
 * that alone may take longer than a millisecond, 0.1 s for a million cells.
 */

ngx_int_t ngx_apikeys_store_lock(ngx_apikeys_store_t *st);
void ngx_apikeys_store_unlock(ngx_apikeys_store_t *st);

/*
 * A look at the lock by a process that does not need it now: a holder that
 * is dead is replaced, one that is stopped is killed at a later look.
 * NGX_AGAIN: there is such a one, the next look should be soon.
 */
ngx_int_t ngx_apikeys_store_watch(ngx_apikeys_store_t *st);

/*
 * Publishing.  Without a load: newer versions replace, older ones and those
 * below a tombstone are NGX_DECLINED.  "load" is 0, or the number that
 * load_begin() gave: then it replaces without comparing and is marked as
 * brought by that load; a record that was published without a load since
 * load_begin() and is newer stays.  NGX_DECLINED: a newer one is here, or
 * the load was abandoned.  NGX_AGAIN: memory that readers of now may still
 * look at would do, try again from a timer; that is said for 50 ms at most.
 *
 * A key for which there is no room then, or that would take what is reserved
 * for changes of other objects, becomes a stub: it is NGX_BUSY to readers,
 * and the local copy stays complete.  NGX_ERROR: not even a stub fits; the old
 * record, if any, is now invalid (NGX_BUSY to readers) and the local copy is
 * incomplete until a load succeeds.
 */
ngx_int_t ngx_apikeys_store_publish_key_locked(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_key_t *key, uint32_t load);
ngx_int_t ngx_apikeys_store_publish_org_locked(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_org_t *org, uint32_t load);
ngx_int_t ngx_apikeys_store_publish_project_locked(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_project_t *project, uint32_t load);

/*
 * Stubs are published again when there may be room for some, which heals
 * tells without the mutex.  stubs appends their ids to ids[*n..max), for
 * about a millisecond, from *bucket on (0 at first), which it moves: NGX_OK,
 * NGX_AGAIN: there is room for more of them, NGX_DONE: there are no more.
 * healed is called when all stubs were published again.
 */
ngx_uint_t ngx_apikeys_store_heals(ngx_apikeys_store_t *st);
ngx_int_t ngx_apikeys_store_stubs(ngx_apikeys_store_t *st, uint32_t *bucket,
    ngx_apikeys_objectid_t *ids, ngx_uint_t *n, ngx_uint_t max);
void ngx_apikeys_store_healed_locked(ngx_apikeys_store_t *st);

/*
 * The object is gone as of a version: readers miss it from now on, nothing
 * is allocated for one that is there.  Its tombstone refuses older
 * publications until ngx_apikeys_store_forget_locked() was told that no
 * older read can be in flight.
 */
ngx_int_t ngx_apikeys_store_delete_locked(ngx_apikeys_store_t *st,
    ngx_apikeys_store_kind_e kind, const ngx_apikeys_objectid_t *id,
    uint64_t version);

/* frees at most "n" tombstones with a version below; NGX_AGAIN: more left */
ngx_int_t ngx_apikeys_store_forget_locked(ngx_apikeys_store_t *st,
    uint64_t version, ngx_uint_t n);

/*
 * The lines of the master key file.  A key whose line the file lacks is
 * NGX_BUSY to readers, and decided again when the line is back.
 *
 * needed tells which lines the database needs, in hex and separated by
 * commas: where that is one line only, all secrets were sealed anew with it.
 * tried says that a full load has tried all keys with the lines of this
 * configuration.  untried: some keys may be readable with a line that is new
 * in this configuration, or are said to need one that is missing: a load
 * tells.  missing is how many keys, and one of the lines.
 */
void ngx_apikeys_store_lines_needed_locked(ngx_apikeys_store_t *st,
    const ngx_str_t *lines);
void ngx_apikeys_store_lines_tried_locked(ngx_apikeys_store_t *st);
ngx_uint_t ngx_apikeys_store_lines_untried(ngx_apikeys_store_t *st);
uint64_t ngx_apikeys_store_lines_missing(ngx_apikeys_store_t *st,
    u_char line[NGX_APIKEYS_SEAL_LINE_LEN]);

/*
 * The number of the line that seals new secrets: that which set_seals() names
 * in hex, if this configuration has it, or the first one.
 */
ngx_uint_t ngx_apikeys_store_seals(ngx_apikeys_store_t *st);
void ngx_apikeys_store_set_seals(ngx_apikeys_store_t *st,
    const ngx_str_t *line);


/*
 * A full load: begin gives its number (not 0); after the last row, sweep is
 * called, about a millisecond of work a call, until it no longer returns
 * NGX_AGAIN; it removes what the load did not bring and what was not
 * published since begin, and when nothing failed for want of space the
 * local copy is complete: NGX_OK; else NGX_ERROR.  A later begin abandons an
 * unfinished load, whose sweep is then NGX_DECLINED.
 * A new epoch (another database, or the old one restored) forgets every
 * version, tombstone and the cursor, but serves what is there until the
 * sweep; meanwhile the local copy is incomplete.
 */
uint32_t ngx_apikeys_store_load_begin_locked(ngx_apikeys_store_t *st,
    ngx_uint_t new_epoch);
ngx_int_t ngx_apikeys_store_load_sweep_locked(ngx_apikeys_store_t *st,
    uint32_t load);

/*
 * The number of new epochs that have begun.  What was read from the database
 * in an earlier one must not be published: no tombstone refuses it.
 */
uint64_t ngx_apikeys_store_epoch(ngx_apikeys_store_t *st);

/*
 * Retired memory whose readers are gone becomes free, of so many records at
 * most; any writer, any time.  Some are freed by each lock, too.
 */
void ngx_apikeys_store_reclaim_locked(ngx_apikeys_store_t *st, ngx_uint_t n);


/*
 * The syncer's lease: one process per zone follows the database.  Others may
 * take it when its holder is dead or its deadline has passed, which free
 * tells without the mutex.  take: NGX_OK for holder and taker (renews the
 * deadline), NGX_BUSY otherwise.  The fencing number grows with each change
 * of holder; a holder checks it, locked, before it writes.
 */
ngx_uint_t ngx_apikeys_store_lease_free(ngx_apikeys_store_t *st);
ngx_int_t ngx_apikeys_store_lease_take(ngx_apikeys_store_t *st,
    ngx_msec_t ttl);
void ngx_apikeys_store_lease_drop(ngx_apikeys_store_t *st);
ngx_uint_t ngx_apikeys_store_lease_held(ngx_apikeys_store_t *st);
/* who has it, 0: nobody */
ngx_pid_t ngx_apikeys_store_lease_holder(ngx_apikeys_store_t *st);

/*
 * What the syncer must hand to its successor, kept in the zone: the
 * database's identity and the whole last snapshot, as text.  set is NGX_ERROR
 * when it does not fit: then, and without any, get is NGX_DECLINED, and the
 * successor begins with a full load.
 */
ngx_int_t ngx_apikeys_store_cursor_get(ngx_apikeys_store_t *st,
    ngx_pool_t *pool, ngx_str_t *identity, ngx_str_t *snapshot);
ngx_int_t ngx_apikeys_store_cursor_set_locked(ngx_apikeys_store_t *st,
    const ngx_str_t *identity, const ngx_str_t *snapshot);

/*
 * Proof of freshness: the boot-time clock, ms, when the poll was sent.  For
 * what another boot left it may lie before 0; only its age counts.
 */
void ngx_apikeys_store_set_fresh(ngx_apikeys_store_t *st, uint64_t boottime);

/*
 * The feed, for who watches it: the database is known to have more than the
 * zone; the zone has all that a poll told which was sent at "boottime".  Less
 * than a proof of freshness, and known with each poll.
 */
void ngx_apikeys_store_set_behind(ngx_apikeys_store_t *st);
void ngx_apikeys_store_set_applied(ngx_apikeys_store_t *st,
    uint64_t boottime);
/* ms since that poll, or (uint64_t) -1 */
uint64_t ngx_apikeys_store_lag(ngx_apikeys_store_t *st);

uint64_t ngx_apikeys_store_boottime(void);

/* the zone instance's uuid, 36 characters, made with the zone */
void ngx_apikeys_store_instance(ngx_apikeys_store_t *st, ngx_str_t *uuid);
/* that of the zone which was filled from this one, or a null string */
void ngx_apikeys_store_heir(ngx_apikeys_store_t *st, ngx_str_t *uuid);


/*
 * A walk over all objects but deleted ones, for a copy that begins where the
 * cursor was when the walk began.  The caller sets handler, data and pool,
 * which the lists of the objects are allocated from and which it may reset
 * between calls.  begin: NGX_DECLINED while the local copy is incomplete or
 * loaded.  next gives the objects of one bucket: NGX_OK, NGX_DONE when there
 * is none left, NGX_ERROR, or what the handler returned.  What was copied
 * must be thrown away when the walk is no longer valid.
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


/* for apikeys_status */

typedef struct {
    uint64_t                         keys;
    uint64_t                         orgs;
    uint64_t                         projects;
    uint64_t                         tombstones;
    uint64_t                         invalid;
    uint64_t                         stubs;
    uint64_t                         lineless;        /* keys whose line is
                                                         missing */
    uint64_t                         size;            /* of the arena, bytes */
    uint64_t                         free_bytes;
    uint64_t                         reserved_bytes;  /* of them, for changes
                                                         of what is there */
    uint64_t                         low;
    uint64_t                         retired_bytes;
    uint64_t                         epoch;           /* of the database */
    uint64_t                         load_failures;   /* zone full */
    uint64_t                         repairs;
    uint64_t                         complete;
    uint64_t                         age;             /* ms; -1: never fresh */
    uint64_t                         lag;             /* of the feed */
    uint64_t                         behind;
} ngx_apikeys_store_stat_t;

void ngx_apikeys_store_stat(ngx_apikeys_store_t *st,
    ngx_apikeys_store_stat_t *stat);

/* the i-th line that opened a key here; NGX_DECLINED after the last one */

typedef struct {
    u_char                           line[NGX_APIKEYS_SEAL_LINE_LEN];
    uint64_t                         keys;
    ngx_uint_t                       missing;   /* in the master key file */
} ngx_apikeys_store_line_stat_t;

ngx_int_t ngx_apikeys_store_line_stat(ngx_apikeys_store_t *st, ngx_uint_t i,
    ngx_apikeys_store_line_stat_t *stat);

/* ids of NGX_APIKEYS_STORE_STUB_IDS stubs at most; returns how many */
ngx_uint_t ngx_apikeys_store_stub_ids(ngx_apikeys_store_t *st,
    ngx_apikeys_objectid_t *ids);


#endif /* _NGX_APIKEYS_STORE_H_INCLUDED_ */
