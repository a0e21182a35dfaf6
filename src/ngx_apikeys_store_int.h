
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What the files of the store share: the zone's layout and the steps that
 * more than one of them takes.  Nobody else includes it.
 *
 * The zone: head, reader slots, the nonce table's memory, buckets of keys,
 * buckets of ids, two bitmaps, cells.  Nothing in it is a pointer or
 * belongs to one process.  A record is a cell in the chain of its id and,
 * while it is a key that is not deleted, in the chain of its public key; a
 * key's secret and lists hang below it.  The chain of ids is the truth about
 * what exists: a repair makes the other one agree.
 *
 * A record does not change once linked, but for its state, the links of its
 * chains, and what only writers read.  Replacing one swaps one link.
 */


#ifndef _NGX_APIKEYS_STORE_INT_H_INCLUDED_
#define _NGX_APIKEYS_STORE_INT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_arena.h>
#include <ngx_apikeys_store.h>


#define NGX_APIKEYS_STORE_MAGIC        0x41504b53
#define NGX_APIKEYS_STORE_LAYOUT       6

#define NGX_APIKEYS_STORE_UUID_LEN     36
#define NGX_APIKEYS_STORE_IDENTITY_LEN 256
#define NGX_APIKEYS_STORE_SNAPSHOT_LEN 16384

#define NGX_APIKEYS_STORE_NONE         0xffff     /* no enclosing entry */

#define NGX_APIKEYS_STORE_V4_LEAF      8          /* entries in a cell */
#define NGX_APIKEYS_STORE_V6_LEAF      3
#define NGX_APIKEYS_STORE_GRANT_LEAF   4

#define ngx_apikeys_store_leaves(n, per)  (((n) + (per) - 1) / (per))


/* record.state, read by readers */
typedef enum {
    NGX_APIKEYS_STORE_FREE = 0,
    NGX_APIKEYS_STORE_LIVE,
    NGX_APIKEYS_STORE_DELETED,         /* a tombstone; not in a key chain */
    NGX_APIKEYS_STORE_INVALID          /* a newer version is not here */
} ngx_apikeys_store_state_e;

/* record.flags */
#define NGX_APIKEYS_STORE_LIST_REQUIRED  0x01     /* of an organisation */
#define NGX_APIKEYS_STORE_DETACHED       0x02     /* another key has taken the
                                                     public key: not in its
                                                     chain */
#define NGX_APIKEYS_STORE_STUB           0x04     /* of a key whose body has
                                                     no room: invalid */
#define NGX_APIKEYS_STORE_LINE_SHIFT     4        /* of a key: the place in
                                                     head.lines of the line
                                                     that opened its secret */

/* record.pending, what waits for the readers of now to leave */
typedef enum {
    NGX_APIKEYS_STORE_KEPT = 0,
    NGX_APIKEYS_STORE_BODY,            /* secret and lists; a tombstone */
    NGX_APIKEYS_STORE_WHOLE,           /* unlinked */
    NGX_APIKEYS_STORE_BODY_FIRST       /* queued as BODY, unlinked since */
} ngx_apikeys_store_pending_e;


typedef struct {
    uint32_t                  next_key;   /* chains */
    uint32_t                  next_id;
    u_char                    public_key[NGX_APIKEYS_PUBLIC_KEY_LEN];
    ngx_apikeys_objectid_t    id;
    ngx_apikeys_objectid_t    org;        /* of keys and projects */
    uint64_t                  version;
    uint32_t                  load;       /* number of the load in progress,
                                             or last, when it was published
                                             or found equal */
    uint32_t                  next_retired;
    uint32_t                  body;       /* of a key, or 0 */
    u_char                    state;
    u_char                    kind;
    u_char                    flags;
    u_char                    pending;
} ngx_apikeys_store_record_t;

/* list: leaves of IPv4 entries, of IPv6 entries, of grants */
typedef struct {
    ngx_apikeys_secret_t      secret;
    uint32_t                  roles;
    uint32_t                  list;       /* root, or 0 */
    uint16_t                  nv4;
    uint16_t                  nv6;
    uint16_t                  ngrants;
    uint16_t                  bits;       /* that the list's nodes decode */
} ngx_apikeys_store_body_t;

/* parent: the number of the smallest entry around this one */
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

_Static_assert(sizeof(ngx_apikeys_store_record_t) == NGX_APIKEYS_ARENA_CELL
               && sizeof(ngx_apikeys_store_body_t) == NGX_APIKEYS_ARENA_CELL
               && sizeof(ngx_apikeys_store_grant_t)
                  * NGX_APIKEYS_STORE_GRANT_LEAF == NGX_APIKEYS_ARENA_CELL,
               "records are cells");


/* of a process that reads; a line of its own, for it is written often */
typedef struct {
    uint64_t                  epoch;      /* 0: outside */
    uint64_t                  start;      /* of the process, tells apart two
                                             with the same pid */
    ngx_pid_t                 pid;
    uint32_t                  leaving;
    u_char                    pad[64 - 2 * sizeof(uint64_t)
                                  - sizeof(ngx_pid_t) - sizeof(uint32_t)];
} ngx_apikeys_store_slot_t;


typedef struct {
    size_t                    identity_len;
    size_t                    snapshot_len;
    u_char                    identity[NGX_APIKEYS_STORE_IDENTITY_LEN];
    u_char                    snapshot[NGX_APIKEYS_STORE_SNAPSHOT_LEN];
} ngx_apikeys_store_cursor_t;


typedef struct {
    uint64_t                  keys;
    uint64_t                  orgs;
    uint64_t                  projects;
    uint64_t                  tombstones;
    uint64_t                  invalid;
    uint64_t                  stubs;      /* of them */
} ngx_apikeys_store_counts_t;


/* ngx_apikeys_store_lines.c */
typedef struct {
    uint64_t                  keys;       /* that it opened and are here */
    u_char                    line[NGX_APIKEYS_SEAL_LINE_LEN];
} ngx_apikeys_store_line_t;

#define NGX_APIKEYS_STORE_LINES        NGX_APIKEYS_SEAL_MAX_KEYS


/* ngx_apikeys_store_room.c */
typedef struct {
    uint32_t                  largest;    /* cells of the largest record */
    uint32_t                  loaded;     /* the same, since the last load
                                             began */
    uint32_t                  smallest;   /* cells that a stub needs, at
                                             least; 0: not known */
    uint32_t                  failed;     /* the same, since the last pass
                                             over all stubs ended */
    uint32_t                  low;        /* an addition may find no room
                                             soon */
    uint32_t                  nids;
    ngx_apikeys_objectid_t    ids[NGX_APIKEYS_STORE_STUB_IDS];
} ngx_apikeys_store_room_t;


typedef struct {
    uint32_t                  magic;
    uint32_t                  layout;
    size_t                    nonces;
    uint32_t                  nkeys;      /* buckets */
    uint32_t                  nids;
    uint64_t                  seed[5];
    u_char                    fingerprint[32];
    u_char                    instance[NGX_APIKEYS_STORE_UUID_LEN];
    u_char                    heir[NGX_APIKEYS_STORE_UUID_LEN];
    uint32_t                  inherited;  /* the heir is set */
    uint32_t                  complete;
    uint32_t                  missing;    /* bits of "lines": their keys are
                                             not decided */
    uint32_t                  behind;     /* the database has more */
    uint32_t                  seals;      /* the line for new secrets, or 0 */

    uint64_t                  epoch;      /* of reclamation, from 1 on */
    uint64_t                  fresh;      /* boot time, ms */
    uint64_t                  applied;    /* the same, 0: nothing yet */
    uint32_t                  nslots;     /* slots used so far */
    uint32_t                  reloads;    /* which took the zone over */

    /* what follows is changed under the mutex only */

    uint32_t                  dirty;      /* a writer is, or died, at work */
    ngx_pid_t                 writer;     /* and who; 0 when done */
    uint64_t                  writer_start;

    ngx_apikeys_arena_sh_t    arena;
    ngx_apikeys_store_counts_t  counts;
    ngx_apikeys_store_room_t  room;
    ngx_apikeys_store_line_t  lines[NGX_APIKEYS_STORE_LINES];

    /* the lines that all unreadable keys were tried with */
    uint32_t                  ntried;
    u_char                    tried[NGX_APIKEYS_STORE_LINES]
                                   [NGX_APIKEYS_SEAL_LINE_LEN];

    uint32_t                  retired;    /* list: unlinked since waiting
                                             was closed */
    uint32_t                  waiting;    /* list: freed when all readers
                                             have left waiting_epoch */
    uint64_t                  waiting_epoch;
    uint64_t                  lost_epoch; /* of lost cells, 0: none */
    uint32_t                  lost;
    uint32_t                  nretired;   /* cells in both lists */

    uint32_t                  load;       /* number of the last load */
    uint32_t                  epoch_load; /* the first of this database */
    uint32_t                  loading;
    uint32_t                  load_failed;
    uint32_t                  sweep;      /* next bucket */
    uint32_t                  forget;     /* next bucket */
    uint64_t                  load_cells; /* brought so far */
    uint64_t                  failed;     /* newest version that was lost and
                                             whose object is not here */
    uint64_t                  db_epoch;
    uint64_t                  load_failures;
    uint64_t                  repairs;
    uint64_t                  full_logged;  /* boot time, ms */
    uint64_t                  refused_logged;

    ngx_pid_t                 syncer;
    uint64_t                  syncer_deadline;
    uint64_t                  syncer_fence;
    uint64_t                  syncer_late;  /* boot time, ms: when all that
                                               came late are forgotten */

    uint64_t                  cursor;     /* bit 0: there is one; bit 1:
                                             which of the two */
    ngx_apikeys_store_cursor_t  cursors[2];
} ngx_apikeys_store_head_t;


struct ngx_apikeys_store_s {
    ngx_apikeys_store_head_t *head;
    ngx_apikeys_store_slot_t *slots;
    u_char                   *nonces;
    uint32_t                 *keys;
    uint32_t                 *ids;
    ngx_apikeys_arena_t       arena;

    ngx_apikeys_store_slot_t *slot;       /* of this process, or NULL */
    ngx_uint_t                nested;     /* sections entered */
    ngx_uint_t                locked;
    uint32_t                  reloads;    /* up to this configuration */
    uint64_t                  start;      /* of this process */
    uint64_t                  fence;      /* of the lease it took last */
    ngx_pid_t                 suspect;    /* holder of the mutex that looked
                                             like another, and since when */
    uint64_t                  suspected;
    ngx_pid_t                 stopped;    /* holder of the mutex that was seen
                                             stopped, and since when */
    uint64_t                  stopped_since;
    ngx_pid_t                 unfenced;   /* which may not be killed */

    /* for the log, once the mutex is free */
    ngx_pid_t                 freed;
    ngx_uint_t                repaired;
    ngx_uint_t                full;
    ngx_uint_t                low;
    uint32_t                  refused;    /* cells, and whom */
    ngx_apikeys_objectid_t    refused_id;

    /* since when no reader gives memory back, and the epoch of then */
    uint64_t                  held;
    uint64_t                  held_epoch;

    ngx_slab_pool_t          *shpool;
    ngx_shm_zone_t           *shm_zone;
    ngx_cycle_t              *cycle;
    ngx_log_t                *log;
    size_t                    nonces_size;
    u_char                    fingerprint[32];
    ngx_apikeys_seal_t       *seal;       /* or NULL: no line is missing */

    ngx_apikeys_store_ready_pt  ready;    /* or NULL */
    void                     *ready_data;
};


#define ngx_apikeys_store_record(st, i)                                      \
    ((ngx_apikeys_store_record_t *) &(st)->arena.cells[i])

#define ngx_apikeys_store_body(st, rec)                                      \
    ((ngx_apikeys_store_body_t *) &(st)->arena.cells[(rec)->body])

/* where the parts of a list begin, and where it ends */

#define ngx_apikeys_store_v6_leaf(b)                                         \
    ngx_apikeys_store_leaves((uint32_t) (b)->nv4, NGX_APIKEYS_STORE_V4_LEAF)

#define ngx_apikeys_store_grant_leaf(b)                                      \
    (ngx_apikeys_store_v6_leaf(b)                                            \
     + ngx_apikeys_store_leaves((uint32_t) (b)->nv6,                         \
                                NGX_APIKEYS_STORE_V6_LEAF))

#define ngx_apikeys_store_body_leaves(b)                                     \
    (ngx_apikeys_store_grant_leaf(b)                                         \
     + ngx_apikeys_store_leaves((uint32_t) (b)->ngrants,                     \
                                NGX_APIKEYS_STORE_GRANT_LEAF))

#define ngx_apikeys_store_load(p)       __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define ngx_apikeys_store_set(p, value)                                      \
    __atomic_store_n(p, value, __ATOMIC_RELEASE)

/*
 * A vector multiply-shift hash (Dietzfelbinger): with secret random
 * multipliers no choice of ids makes long chains but by chance.
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


/* a live key whose line the master key file lacks: not to be decided */

static ngx_inline ngx_uint_t
ngx_apikeys_store_read_missing(const ngx_apikeys_store_t *st,
    const ngx_apikeys_store_record_t *rec)
{
    uint32_t  missing;

    missing = ngx_apikeys_store_load(&st->head->missing);

    return missing >> (ngx_apikeys_store_load(&rec->flags)
                       >> NGX_APIKEYS_STORE_LINE_SHIFT) & 1;
}


/* ngx_apikeys_store_lock.c */

/* start of a process in clock ticks since boot, 0 when it cannot be told */
uint64_t ngx_apikeys_store_lock_process_start(ngx_pid_t pid);
/* whether the process, told by pid and start, is there and not a zombie */
ngx_uint_t ngx_apikeys_store_lock_process_alive(ngx_pid_t pid,
    uint64_t start);

/* ngx_apikeys_store_retire.c: an unlinked record; a deleted one's body */
void ngx_apikeys_store_retire_record(ngx_apikeys_store_t *st, uint32_t i);
void ngx_apikeys_store_retire_body(ngx_apikeys_store_t *st, uint32_t i);
/* tries to have so many free cells */
ngx_int_t ngx_apikeys_store_retire_reserve(ngx_apikeys_store_t *st,
    uint32_t cells);
/* a body and the cells below it */
void ngx_apikeys_store_retire_visit_body(ngx_apikeys_store_t *st,
    uint32_t body, ngx_apikeys_arena_visit_pt visit);
uint32_t ngx_apikeys_store_retire_body_cells(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec);

/* ngx_apikeys_store_room.c */

/*
 * Whether a record of so many cells may take the place of "old" (or NULL).
 * NGX_OK: they are free; NGX_AGAIN: they will be when the readers of now have
 * left, which is waited for a moment; NGX_DECLINED: no.
 */
ngx_int_t ngx_apikeys_store_room(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *old, uint32_t cells);
/* a record of so many cells is kept; or was refused them */
void ngx_apikeys_store_room_kept(ngx_apikeys_store_t *st, uint32_t cells);
void ngx_apikeys_store_room_refused(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id, uint32_t cells);
/* adds a stub to those that /status names */
void ngx_apikeys_store_room_name(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id);
/* tells when little is left */
void ngx_apikeys_store_room_watch(ngx_apikeys_store_t *st);
/* bytes of a zone that would do */
uint64_t ngx_apikeys_store_room_needs(ngx_apikeys_store_t *st);
uint32_t ngx_apikeys_store_room_reserve(ngx_apikeys_store_t *st);

/* ngx_apikeys_store_lines.c */

/* the place of a line, or NGX_DECLINED: all have another one */
ngx_int_t ngx_apikeys_store_lines_place(ngx_apikeys_store_t *st,
    const u_char *line);
/* what a new zone has from the old one, but for its keys */
void ngx_apikeys_store_lines_inherit(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_t *old);
/* a record of the old zone gets the place that its line has in the new one */
void ngx_apikeys_store_lines_copy(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_t *old, ngx_apikeys_store_record_t *draft);
/* which lines this configuration lacks */
void ngx_apikeys_store_lines_check(ngx_apikeys_store_t *st);

/* ngx_apikeys_store_repair.c */
void ngx_apikeys_store_repair(ngx_apikeys_store_t *st);

/* ngx_apikeys_store_write.c */

/* the link that names the object's record, or the end of its chain */
uint32_t *ngx_apikeys_store_write_find(ngx_apikeys_store_t *st,
    ngx_uint_t kind, const ngx_apikeys_objectid_t *id);
/* links a copy of the draft; link is what write_find() found */
void ngx_apikeys_store_write_insert(ngx_apikeys_store_t *st, uint32_t *link,
    ngx_apikeys_store_record_t *draft, uint32_t load);
/*
 * There is no cell for this version of an object, whose record is "old" or
 * NULL: the local copy is incomplete.  Returns NGX_ERROR.
 */
ngx_int_t ngx_apikeys_store_write_full(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *old, uint64_t version);
/* takes a record out of the chain of its public key, if it is there */
void ngx_apikeys_store_write_unlink_key(ngx_apikeys_store_t *st, uint32_t i);
/* makes a tombstone of a record that is not one */
void ngx_apikeys_store_write_delete(ngx_apikeys_store_t *st, uint32_t i);
/* a record joins (n = 1) or leaves (n = -1) the figures */
void ngx_apikeys_store_write_count(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_record_t *rec, int64_t n);

/*
 * ngx_apikeys_store_copy.c: fills a new zone from that of the old cycle.
 * What does not fit are stubs; where not even these fit, or the old one is
 * incomplete, the new one is.  NGX_DECLINED: nothing could be carried over.
 */
ngx_int_t ngx_apikeys_store_copy(ngx_apikeys_store_t *st,
    ngx_apikeys_store_t *old);

/* ngx_apikeys_store.c: bytes of a zone with so many cells */
uint64_t ngx_apikeys_store_zone_size(size_t nonces, uint64_t cells);


#endif /* _NGX_APIKEYS_STORE_INT_H_INCLUDED_ */
