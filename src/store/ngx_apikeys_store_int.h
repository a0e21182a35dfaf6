
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Internal header of the store: the layout of the zone, and the functions
 * that the files of the store call in each other.  Only src/store and the
 * unit tests include it.
 *
 * The zone contains, in this order: the head, the reader slots, the area of
 * the caller (metrics and the nonce table), the hash buckets of public keys,
 * those of ids, two bitmaps, and cells of 64 bytes.  Cells are named by index:
 * the zone contains no pointer and nothing that belongs to one process.
 *
 * A record is one cell: a key, an organization or a project.  It is in the
 * chain of its id, and, if it is a key that is not deleted or detached, in
 * the chain of its public key.  A key has a second cell, its detail, with the
 * hash that basic and header are verified with and the root of the tree of its
 * access list and grants, and a third one with the HA1s.  The chains of ids
 * decide what exists: a repair corrects the other chains by them.
 *
 * After a record is linked, the fields that a lookup result points to do not
 * change.  state, version, flags, detail and the links of the chains change
 * in place, each by a single store; readers load them with
 * ngx_apikeys_atomic_load().  Only writers read load_number, next_retired and
 * reclaim.  A new version is a new record that replaces the old one in the
 * chain by a single store.
 *
 * Memory that is unlinked is freed by epoch-based reclamation, see
 * ngx_apikeys_store_retire.c.
 */


#ifndef _NGX_APIKEYS_STORE_INT_H_INCLUDED_
#define _NGX_APIKEYS_STORE_INT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_arena.h>
#include <ngx_apikeys_failure.h>
#include <ngx_apikeys_store.h>
#include <ngx_apikeys_uuid.h>


#define NGX_APIKEYS_STORE_MAGIC        0x41504b53

/*
 * to be increased with any change of the structures in this file, of
 * ngx_http_apikeys_metrics_t, or of the nonce table, which are in the zone, too
 */
#define NGX_APIKEYS_STORE_LAYOUT       10


/* the longest database id and pg_snapshot that a zone can hold */
#define NGX_APIKEYS_STORE_DATABASE_ID_LEN  256
#define NGX_APIKEYS_STORE_PG_SNAPSHOT_LEN  16384

/* "parent" of an access list entry that no other entry contains */
#define NGX_APIKEYS_STORE_NONE         0xffff

/* items in one leaf cell: IPv4 entries, IPv6 entries, grants, ends */
#define NGX_APIKEYS_STORE_V4_LEAF      8
#define NGX_APIKEYS_STORE_V6_LEAF      3
#define NGX_APIKEYS_STORE_GRANT_LEAF   4
#define NGX_APIKEYS_STORE_END_LEAF     16

#define ngx_apikeys_store_nleaves(n, per)  (((n) + (per) - 1) / (per))


/* record.state; read by readers */
typedef enum {
    NGX_APIKEYS_STORE_FREE = 0,
    NGX_APIKEYS_STORE_LIVE,
    NGX_APIKEYS_STORE_DELETED,         /* a tombstone; in no key chain */
    NGX_APIKEYS_STORE_INVALID          /* the current version could not be
                                          stored or decrypted: lookups return
                                          NGX_BUSY */
} ngx_apikeys_store_state_e;

/* record.flags */
#define NGX_APIKEYS_STORE_LIST_REQUIRED  0x01     /* of an organization: its
                                                     keys need an access
                                                     list */
#define NGX_APIKEYS_STORE_DETACHED       0x02     /* another key has a newer
                                                     claim to the public key:
                                                     not in its chain */
#define NGX_APIKEYS_STORE_STUB           0x04     /* a key whose detail did
                                                     not fit: invalid */
#define NGX_APIKEYS_STORE_LINE_SHIFT     4        /* of a live key: index in
                                                     head.lines of the line
                                                     that its secret was
                                                     decrypted with */

/* record.reclaim: what is to be freed once all current readers have left */
typedef enum {
    NGX_APIKEYS_STORE_RECLAIM_NONE = 0,
    NGX_APIKEYS_STORE_RECLAIM_DETAIL,  /* the record stays, as a tombstone or
                                          a stub */
    NGX_APIKEYS_STORE_RECLAIM_RECORD,  /* unlinked: the record and its
                                          detail */
    NGX_APIKEYS_STORE_RECLAIM_DETAIL_THEN_RECORD
                                       /* unlinked after it was queued as
                                          DETAIL: queued again as RECORD when
                                          its detail has been freed */
} ngx_apikeys_store_reclaim_e;


typedef struct {
    uint32_t                  next_key;   /* in the chain of the public key */
    uint32_t                  next_id;    /* in the chain of the id */
    u_char                    public_key[NGX_APIKEYS_PUBLIC_KEY_LEN];
    ngx_apikeys_objectid_t    id;
    ngx_apikeys_objectid_t    org;        /* of keys and projects */
    uint64_t                  version;
    uint32_t                  load_number;  /* number of the last load that
                                             had begun when the record was
                                             published or found unchanged */
    uint32_t                  next_retired;
    uint32_t                  detail;     /* cell, or 0: none */
    u_char                    state;
    u_char                    kind;
    u_char                    flags;
    u_char                    reclaim;
} ngx_apikeys_store_record_t;

/* detail.flags */
#define NGX_APIKEYS_STORE_DISABLED       0x01
#define NGX_APIKEYS_STORE_HAS_OLDER      0x02     /* an older secret */
#define NGX_APIKEYS_STORE_HAS_SECRET_ID  0x04     /* the secret was not made
                                                     with the key, whose id it
                                                     would have */
#define NGX_APIKEYS_STORE_HAS_ENDS       0x08     /* an entry of the access
                                                     list has an end */

/*
 * leaves of the tree, in this order: IPv4 entries, IPv6 entries, grants, the
 * older secret and its HA1s, ends of all entries
 */
typedef struct {
    u_char                    plain[NGX_APIKEYS_DIGEST_SHA256_LEN];
    uint32_t                  roles;
    uint32_t                  tree;       /* root cell, or 0: no leaves */
    uint16_t                  nv4;
    uint16_t                  nv6;
    uint16_t                  ngrants;
    u_char                    tree_bits;  /* arena_tree_bits() of the tree */
    u_char                    flags;
    uint32_t                  ha1s;       /* cell, never 0 */
    uint32_t                  expires;    /* seconds since 1970, or 0: never */
    uint32_t                  secret_expires;
    u_char                    free[4];
} ngx_apikeys_store_detail_t;

/* the part of a detail that digest alone reads */
typedef struct {
    ngx_apikeys_ha1s_t        ha1s;
    ngx_apikeys_objectid_t    secret_id;
    u_char                    free[4];
} ngx_apikeys_store_ha1s_t;

typedef struct {
    u_char                    plain[NGX_APIKEYS_DIGEST_SHA256_LEN];
    ngx_apikeys_objectid_t    id;
    uint32_t                  expires;
    u_char                    free[16];
} ngx_apikeys_store_older_t;

/* parent: index of the smallest entry that contains this one, or NONE */
typedef struct {
    u_char                    addr[4];
    uint16_t                  parent;
    uint16_t                  prefix;
} ngx_apikeys_store_v4_t;

typedef struct {
    u_char                    addr[16];
    uint16_t                  parent;
    uint16_t                  prefix;
} ngx_apikeys_store_v6_t;

/*
 * A record fills its cell.  A new member of a key takes a part of "free" in
 * one of the other two, or another leaf of the tree.
 */

_Static_assert(sizeof(ngx_apikeys_store_record_t) == NGX_APIKEYS_ARENA_CELL
               && sizeof(ngx_apikeys_store_detail_t) == NGX_APIKEYS_ARENA_CELL
               && sizeof(ngx_apikeys_store_ha1s_t) == NGX_APIKEYS_ARENA_CELL
               && sizeof(ngx_apikeys_store_older_t) == NGX_APIKEYS_ARENA_CELL
               && sizeof(ngx_apikeys_store_grant_t)
                  * NGX_APIKEYS_STORE_GRANT_LEAF == NGX_APIKEYS_ARENA_CELL,
               "records are cells");


/* one process that reads; a cache line each, as it is written often */
typedef struct {
    uint64_t                  reclaim_epoch;  /* in which the read section
                                             began; 0: not in one */
    uint64_t                  start;      /* start time of the process, clock
                                             ticks since boot: a process that
                                             reuses the pid has another one */
    ngx_pid_t                 pid;        /* 0: the slot is free */
    uint32_t                  exiting;
    u_char                    pad[64 - 2 * sizeof(uint64_t)
                                  - sizeof(ngx_pid_t) - sizeof(uint32_t)];
} ngx_apikeys_store_slot_t;


typedef struct {
    size_t                    database_id_len;
    size_t                    pg_snapshot_len;
    u_char                    database_id[NGX_APIKEYS_STORE_DATABASE_ID_LEN];
    u_char                    pg_snapshot[NGX_APIKEYS_STORE_PG_SNAPSHOT_LEN];
} ngx_apikeys_store_cursor_t;


/* records in the chains of ids; changed by write_count() only */
typedef struct {
    uint64_t                  keys;       /* that are not deleted */
    uint64_t                  orgs;
    uint64_t                  projects;
    uint64_t                  tombstones;
    uint64_t                  invalid;
    uint64_t                  stubs;      /* a part of "invalid" */
} ngx_apikeys_store_counts_t;


/* see ngx_apikeys_store_lines.c */
typedef struct {
    uint64_t                  keys;       /* live keys decrypted with it */
    u_char                    line[NGX_APIKEYS_SEAL_LINE_LEN];
} ngx_apikeys_store_line_t;

#define NGX_APIKEYS_STORE_LINES        NGX_APIKEYS_SEAL_MAX_KEYS

/* record.flags has an index of a line, head.missing_lines a bit for each */
_Static_assert(NGX_APIKEYS_STORE_LINES
               <= 1 << (8 - NGX_APIKEYS_STORE_LINE_SHIFT)
               && NGX_APIKEYS_STORE_LINES <= 32,
               "the index of a line fits");


/* see ngx_apikeys_store_room.c */
typedef struct {
    uint32_t                  largest;    /* cells of the largest record */
    uint32_t                  load_largest;   /* the same, of those stored
                                             since the last load began */
    uint32_t                  smallest_refused;   /* lower limit of the cells
                                             that the smallest stub needs; 0:
                                             not known */
    uint32_t                  next_smallest_refused;  /* the same, since the
                                             last pass over all stubs ended */
    uint32_t                  low;        /* 1: additions may soon find no
                                             room */
    uint32_t                  nstub_ids;
    ngx_apikeys_objectid_t    stub_ids[NGX_APIKEYS_STORE_STUB_IDS];
} ngx_apikeys_store_room_t;


#define NGX_APIKEYS_STORE_OWN_LINE  __attribute__((aligned(64)))


typedef struct {
    uint32_t                  magic;
    uint32_t                  layout;
    size_t                    area_size;  /* of the caller's area, bytes */
    uint32_t                  nkeys;      /* buckets of public keys */
    uint32_t                  nids;       /* buckets of ids */
    uint64_t                  seed[5];    /* multipliers of the hash */
    u_char                    fingerprint[32];
    u_char                    instance[NGX_APIKEYS_UUID_TEXT_LEN];

    /* the zone that a reload has filled from this one */
    u_char                    successor[NGX_APIKEYS_UUID_TEXT_LEN];
    uint64_t                  successor_at;  /* when, boot-time ms; 0: there
                                             is none */

    /*
     * What each look-up reads has a line of its own, which a load changes when
     * it begins and ends: each writing costs all processes a miss.
     */
    uint32_t                  complete    /* 1: an object that is not in the
                                             zone does not exist */
                              NGX_APIKEYS_STORE_OWN_LINE;
    uint32_t                  missing_lines;  /* bit n: apikeys_master_key_file
                                             lacks lines[n], its keys get
                                             503 */
    uint32_t                  sealing_line;  /* name of the line that encrypts
                                             new secrets; 0: the first one */
    uint64_t                  fresh_at;   /* the last proof of freshness,
                                             boot-time ms; 0: none */

    /* read by look-ups, too, but grows when records were replaced */
    uint64_t                  reclaim_epoch  /* the current one; begins at 1 */
                              NGX_APIKEYS_STORE_OWN_LINE;

    uint64_t                  applied_at  /* when the last poll was sent whose
                                             changes are all in the zone,
                                             boot-time ms; 0: none */
                              NGX_APIKEYS_STORE_OWN_LINE;
    uint32_t                  behind;     /* 1: the database has changes that
                                             the zone lacks */
    uint32_t                  nslots;     /* highest slot ever used, plus 1 */
    uint32_t                  reloads;    /* that kept the zone */

    ngx_apikeys_failure_t     failures[NGX_APIKEYS_FAILURES];

    /* the fields below are changed under the mutex only */

    uint32_t                  dirty;      /* 1 while the mutex is held; still 1
                                             when the mutex is taken: the last
                                             writer died, repair */
    ngx_pid_t                 writer;     /* holder of the mutex; 0: none */
    uint64_t                  writer_start;  /* its start, as slot.start */

    ngx_apikeys_arena_sh_t    arena;
    ngx_apikeys_store_counts_t  counts;
    ngx_apikeys_store_room_t  room;
    ngx_apikeys_store_line_t  lines[NGX_APIKEYS_STORE_LINES];

    /* the lines that the last complete load tried on unreadable keys */
    uint32_t                  ntried;
    u_char                    tried[NGX_APIKEYS_STORE_LINES]
                                   [NGX_APIKEYS_SEAL_LINE_LEN];

    /* epoch-based reclamation, see ngx_apikeys_store_retire.c */
    uint32_t                  retired;    /* list of records unlinked since
                                             "closing" was started */
    uint32_t                  closing;    /* list of records to free when all
                                             readers of closing_epoch have
                                             left */
    uint64_t                  closing_epoch;
    uint64_t                  unreachable_epoch;  /* after it the unreachable
                                             cells are freed; 0: there are
                                             none */
    uint32_t                  unreachable;  /* cells that the last repair did
                                             not reach */
    uint32_t                  nretired;   /* cells of both lists */

    /* loads, see ngx_apikeys_store_load.c */
    uint32_t                  load_number;  /* of the last load that began */
    uint32_t                  generation_first_load;  /* number of the first
                                             load of the current database */
    uint32_t                  loading;
    uint32_t                  load_failed;  /* something did not fit */
    uint32_t                  sweep_bucket;   /* the next one to sweep */
    uint32_t                  forget_bucket;  /* the next one to search for
                                             tombstones */
    uint64_t                  load_cells;  /* of the objects of this load */
    uint64_t                  failed_version;  /* newest version that was
                                             refused for lack of space and
                                             whose object is not here: nothing
                                             older may be stored for an object
                                             that is not here; 0: none */
    uint64_t                  generation;  /* grows when the zone begins to
                                             follow another database */
    uint64_t                  load_failures;
    uint64_t                  repairs;

    /* the lease of the leader, see ngx_apikeys_store_lease.c */
    ngx_pid_t                 leader_pid;  /* 0: nobody */
    uint64_t                  lease_deadline;  /* boot-time ms; 0: released */
    uint64_t                  lease_number;  /* grows with each leader */
    uint64_t                  lease_overload;  /* boot-time ms; far ahead: the
                                             machine is overloaded */

    uint64_t                  cursor;     /* sequence number << 1 | valid; bit
                                             1 selects one of "cursors" */
    ngx_apikeys_store_cursor_t  cursors[2];
} ngx_apikeys_store_head_t;


/* one process's view of the zone */
struct ngx_apikeys_store_s {
    ngx_apikeys_store_head_t *head;
    ngx_apikeys_store_slot_t *slots;
    u_char                   *area;       /* metrics and the nonce table */
    uint32_t                 *keys;       /* buckets of public keys */
    uint32_t                 *ids;        /* buckets of ids */
    ngx_apikeys_arena_t       arena;

    ngx_apikeys_store_slot_t *slot;       /* of this process, or NULL */
    ngx_uint_t                nested;     /* read sections entered */
    uint64_t                  section;    /* number of the last one that was
                                             not nested */
    ngx_uint_t                locked;     /* 1: this process has the mutex */
    uint32_t                  reloads;    /* head.reloads when this
                                             configuration was made */
    uint64_t                  start;      /* of this process, as slot.start */
    uint64_t                  lease_number;  /* of the lease that this process
                                             took last; 0: none */

    /*
     * What this process has seen of the holder of the mutex: a pid that looks
     * reused, a stopped one, one that could not be killed; times in boot-time
     * ms, pid 0: none.
     */
    ngx_pid_t                 reused_pid;
    uint64_t                  reused_pid_since;
    ngx_pid_t                 stopped_pid;
    uint64_t                  stopped_since;
    ngx_pid_t                 unkillable_pid;

    /* to be logged once the mutex is released */
    ngx_pid_t                 log_freed_pid;
    ngx_uint_t                log_repaired;
    ngx_uint_t                log_full;
    ngx_uint_t                log_low;
    uint32_t                  log_refused;     /* cells of a key that did not
                                             fit; 0: none */
    ngx_apikeys_objectid_t    log_refused_id;  /* and its id */

    /*
     * since when readers delay reclamation, boot-time ms, and in which epoch
     */
    uint64_t                  reclaim_stalled_since;
    uint64_t                  reclaim_stalled_epoch;

    ngx_slab_pool_t          *shpool;
    ngx_shm_zone_t           *shm_zone;
    ngx_cycle_t              *cycle;
    ngx_log_t                *log;
    size_t                    area_size;  /* bytes */
    u_char                    fingerprint[32];
    ngx_apikeys_seal_t       *seal;       /* the lines of the master key file;
                                             NULL: no line counts as missing */

    ngx_apikeys_store_ready_pt  ready;    /* or NULL */
    void                     *ready_data;
};


#define ngx_apikeys_store_record(st, i)                                      \
    ((ngx_apikeys_store_record_t *) &(st)->arena.cells[i])

#define ngx_apikeys_store_detail(st, rec)                                    \
    ((ngx_apikeys_store_detail_t *) &(st)->arena.cells[(rec)->detail])

#define ngx_apikeys_store_ha1s(st, d)                                        \
    ((ngx_apikeys_store_ha1s_t *) &(st)->arena.cells[(d)->ha1s])

/*
 * first leaf of the IPv6 entries, of the grants, of the older secret, of the
 * ends; number of all leaves
 */

#define ngx_apikeys_store_v6_leaf(d)                                         \
    ngx_apikeys_store_nleaves((uint32_t) (d)->nv4, NGX_APIKEYS_STORE_V4_LEAF)

#define ngx_apikeys_store_grant_leaf(d)                                      \
    (ngx_apikeys_store_v6_leaf(d)                                            \
     + ngx_apikeys_store_nleaves((uint32_t) (d)->nv6,                        \
                                 NGX_APIKEYS_STORE_V6_LEAF))

#define ngx_apikeys_store_older_leaf(d)                                      \
    (ngx_apikeys_store_grant_leaf(d)                                         \
     + ngx_apikeys_store_nleaves((uint32_t) (d)->ngrants,                    \
                                 NGX_APIKEYS_STORE_GRANT_LEAF))

#define ngx_apikeys_store_end_leaf(d)                                        \
    (ngx_apikeys_store_older_leaf(d)                                         \
     + (((d)->flags & NGX_APIKEYS_STORE_HAS_OLDER) ? 2 : 0))

#define ngx_apikeys_store_detail_leaves(d)                                   \
    (ngx_apikeys_store_end_leaf(d)                                           \
     + (((d)->flags & NGX_APIKEYS_STORE_HAS_ENDS)                            \
        ? ngx_apikeys_store_nleaves((uint32_t) (d)->nv4 + (d)->nv6,          \
                                    NGX_APIKEYS_STORE_END_LEAF)              \
        : 0))

/* the end of entry number i of a key that has ends, IPv4 first */

static ngx_inline uint32_t *
ngx_apikeys_store_end(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_detail_t *d, uint32_t i)
{
    uint32_t  *leaf;

    leaf = ngx_apikeys_arena_tree_leaf(&st->arena, d->tree, d->tree_bits,
                                       ngx_apikeys_store_end_leaf(d)
                                       + i / NGX_APIKEYS_STORE_END_LEAF);

    return &leaf[i % NGX_APIKEYS_STORE_END_LEAF];
}


/* the two leaves of a key that has an older secret */

static ngx_inline void
ngx_apikeys_store_older_leaves(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_detail_t *d, ngx_apikeys_store_older_t **older,
    ngx_apikeys_store_ha1s_t **ha1s)
{
    uint32_t  leaf;

    leaf = ngx_apikeys_store_older_leaf(d);

    *older = ngx_apikeys_arena_tree_leaf(&st->arena, d->tree, d->tree_bits,
                                         leaf);
    *ha1s = ngx_apikeys_arena_tree_leaf(&st->arena, d->tree, d->tree_bits,
                                        leaf + 1);
}


#define ngx_apikeys_atomic_load(p)       __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define ngx_apikeys_atomic_store(p, value)                                   \
    __atomic_store_n(p, value, __ATOMIC_RELEASE)

/*
 * Vector multiply-shift hashing (Dietzfelbinger): as the multipliers are
 * random and secret, nobody can choose ids that share a bucket.
 */
#define ngx_apikeys_store_bucket(hash, n)                                    \
    ((uint32_t) (((hash) >> 32) * (n) >> 32))


static ngx_inline uint32_t *
ngx_apikeys_store_key_bucket(const ngx_apikeys_store_t *st,
    const u_char *public_key)
{
    uint32_t                   word[2];
    uint64_t                   hash;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    ngx_memcpy(word, public_key, NGX_APIKEYS_PUBLIC_KEY_LEN);

    hash = sh->seed[0] * word[0] + sh->seed[1] * word[1] + sh->seed[4];

    return &st->keys[ngx_apikeys_store_bucket(hash, sh->nkeys)];
}


static ngx_inline uint32_t *
ngx_apikeys_store_id_bucket(const ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id)
{
    uint32_t                   word[3];
    uint64_t                   hash;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    ngx_memcpy(word, id->data, NGX_APIKEYS_OBJECTID_LEN);

    hash = sh->seed[0] * word[0] + sh->seed[1] * word[1]
           + sh->seed[2] * word[2] + sh->seed[3];

    return &st->ids[ngx_apikeys_store_bucket(hash, sh->nids)];
}


/* 1: the master key file lacks the line of this live key: NGX_BUSY */

static ngx_inline ngx_uint_t
ngx_apikeys_store_read_line_missing(const ngx_apikeys_store_t *st,
    const ngx_apikeys_store_record_t *rec)
{
    uint32_t  missing;

    missing = ngx_apikeys_atomic_load(&st->head->missing_lines);

    return missing >> (ngx_apikeys_atomic_load(&rec->flags)
                       >> NGX_APIKEYS_STORE_LINE_SHIFT) & 1;
}


/* ngx_apikeys_store_lock.c */

/* start time of a process, clock ticks since boot; 0: unknown */
uint64_t ngx_apikeys_store_lock_process_start(ngx_pid_t pid);
/* 0: it is dead, a zombie, or another process with its pid; start 0: any */
ngx_uint_t ngx_apikeys_store_lock_process_alive(ngx_pid_t pid,
    uint64_t start);

/* ngx_apikeys_store_retire.c */

/* queue an unlinked record; the detail of a record that stays linked */
void ngx_apikeys_store_retire_record(ngx_apikeys_store_t *st, uint32_t i);
void ngx_apikeys_store_retire_detail(ngx_apikeys_store_t *st, uint32_t i);
/* reclaims until so many cells are free; NGX_ERROR: there are less */
ngx_int_t ngx_apikeys_store_retire_reserve(ngx_apikeys_store_t *st,
    uint32_t cells);
/* calls visit for the cells of a tree, of the HA1s, then of the detail */
void ngx_apikeys_store_retire_visit_detail(ngx_apikeys_store_t *st,
    uint32_t detail, ngx_apikeys_arena_visit_pt visit);
/* number of cells of a record's detail, its HA1s and its tree, 0: none */
uint32_t ngx_apikeys_store_retire_detail_cells(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec);

/* ngx_apikeys_store_room.c */

/*
 * Whether a key of so many cells may replace "old" (NULL: may be added).
 * NGX_OK: the cells are free; NGX_AGAIN: they will be once the current readers
 * have left, try again (returned for 50 ms at most); NGX_DECLINED: no.
 */
ngx_int_t ngx_apikeys_store_room(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *old, uint32_t cells);
/* a record of so many cells was stored; was refused */
void ngx_apikeys_store_room_stored(ngx_apikeys_store_t *st, uint32_t cells);
void ngx_apikeys_store_room_refused(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id, uint32_t cells);
/* adds a stub to those whose ids /status prints */
void ngx_apikeys_store_room_add_stub_id(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id);
/* sets room.low, and log_low when little memory is left */
void ngx_apikeys_store_room_watch(ngx_apikeys_store_t *st);
/* size of a zone that would suffice, bytes */
uint64_t ngx_apikeys_store_room_size_needed(ngx_apikeys_store_t *st);
/* number of cells reserved for changes of objects in the zone */
uint32_t ngx_apikeys_store_room_reserve(ngx_apikeys_store_t *st);

/* ngx_apikeys_store_lines.c */

/* index of a line in head.lines, added if need be; NGX_DECLINED: no room */
ngx_int_t ngx_apikeys_store_lines_place(ngx_apikeys_store_t *st,
    const u_char *line);
/* copies what a new zone takes over of the old one's lines */
void ngx_apikeys_store_lines_copy_settings(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_t *old);
/* replaces the old zone's index of a line in a copied record by this one's */
void ngx_apikeys_store_lines_copy_record(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_t *old, ngx_apikeys_store_record_t *copy);
/* sets head.missing_lines by the lines of this configuration */
void ngx_apikeys_store_lines_check(ngx_apikeys_store_t *st);

/* ngx_apikeys_store_repair.c: repairs the zone after a writer was killed */
void ngx_apikeys_store_repair(ngx_apikeys_store_t *st);

/* ngx_apikeys_store_write.c */

/* the link that points to the object's record, or the end of its chain */
uint32_t *ngx_apikeys_store_write_find(ngx_apikeys_store_t *st,
    ngx_uint_t kind, const ngx_apikeys_objectid_t *id);
/*
 * Links a copy of *new, replacing *link, which write_find() returned.  A free
 * cell must exist; new->detail is set.
 */
void ngx_apikeys_store_write_insert(ngx_apikeys_store_t *st, uint32_t *link,
    ngx_apikeys_store_record_t *new, uint32_t load);
/*
 * There is no cell for this version of an object (old: its record, or NULL):
 * makes the local copy incomplete.  Returns NGX_ERROR.
 */
ngx_int_t ngx_apikeys_store_write_full(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *old, uint64_t version);
/* takes a record out of the chain of its public key, if it is there */
void ngx_apikeys_store_write_unlink_key(ngx_apikeys_store_t *st, uint32_t i);
/* turns a record into a tombstone */
void ngx_apikeys_store_write_delete(ngx_apikeys_store_t *st, uint32_t i);
/* adds a record to head.counts and head.lines (n = 1), or removes it (-1) */
void ngx_apikeys_store_write_count(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_record_t *rec, int64_t n);

/*
 * ngx_apikeys_store_copy.c: fills a new zone from the one of the old cycle.
 * Keys that do not fit become stubs.  If not even these fit, or if the old
 * zone is incomplete, the new one is incomplete.  NGX_DECLINED: nothing was
 * copied.
 */
ngx_int_t ngx_apikeys_store_copy(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old);

/* ngx_apikeys_store.c: size of a zone with so many cells, bytes */
uint64_t ngx_apikeys_store_zone_size(size_t area_size, uint64_t cells);


#endif /* _NGX_APIKEYS_STORE_INT_H_INCLUDED_ */
