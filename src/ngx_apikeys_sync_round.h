
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What the files of the sync layer share: the state of one process's syncer
 * and the borders between the lease and errors (ngx_apikeys_sync.c), the
 * session, the rounds and their rows.  Nobody else includes this.
 */


#ifndef _NGX_APIKEYS_SYNC_ROUND_H_INCLUDED_
#define _NGX_APIKEYS_SYNC_ROUND_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_sync.h>
#include <ngx_apikeys_sync_state.h>


/* why the database is not followed; a change of it is logged, once */
typedef enum {
    NGX_APIKEYS_SYNC_FOLLOWS = 0,
    NGX_APIKEYS_SYNC_UNREACHABLE,
    NGX_APIKEYS_SYNC_REFUSED,           /* an answer of the server */
    NGX_APIKEYS_SYNC_SCHEMA,
    NGX_APIKEYS_SYNC_MASTER_KEY
} ngx_apikeys_sync_trouble_e;


/* that one round reads again */
#define NGX_APIKEYS_SYNC_STUBS  100


typedef void (*ngx_apikeys_sync_step_pt)(ngx_apikeys_sync_t *sync);


struct ngx_apikeys_sync_s {
    ngx_apikeys_sync_conf_t      *conf;
    ngx_cycle_t                  *cycle;
    ngx_log_t                    *log;
    ngx_socket_t                  fd;        /* -1: debug logging takes the
                                                data of an event for a
                                                connection */

    ngx_event_t                   lease_event;  /* in every worker */
    uint64_t                      alive;     /* its last run, boot-time ms */
    ngx_apikeys_snapshot_t       *copy;      /* its writer, or NULL */

    /* of ngx_apikeys_sync_leave.c */

    ngx_connection_t             *quit;      /* is told of a graceful end */
    ngx_event_t                   leave;
    uint64_t                      leaving;   /* boot-time ms, 0: it stays */
    uint64_t                      idle;      /* since when it only waits */
    uint64_t                      declined;  /* the last sign-off that was */

    /* below: of the process that has the lease, 0 in the others */

    ngx_event_t                   event;     /* runs "step" */
    ngx_apikeys_sync_step_pt      step;
    ngx_apikeys_pg_pool_t        *pp;        /* one connection */
    ngx_apikeys_pg_query_t       *query;     /* that is not finished */
    ngx_pool_t                   *pool;      /* of this round */

    /* the cursor: what the zone holds; in "pool", as the next two */
    ngx_str_t                     identity;
    ngx_str_t                     snapshot;
    ngx_str_t                     applied;   /* the last snapshot that was
                                                applied in full */

    /* of the rows of a feed or a load */
    ngx_str_t                     new_identity;
    ngx_str_t                     new_snapshot;
    ngx_str_t                     answer;    /* feed, load, epoch or empty */
    ngx_apikeys_sync_step_pt      arrived;
    ngx_pool_t                   *batch;
    ngx_array_t                   states;    /* in "batch" */
    ngx_uint_t                    next;      /* the first not published */
    ngx_uint_t                    weight;    /* of "states" */
    ngx_uint_t                    rows;
    ngx_uint_t                    keys;
    ngx_uint_t                    unreadable;
    ngx_uint_t                    oversize;  /* keys with too long lists */
    ngx_int_t                     schema;    /* a version that may not be
                                                followed, or 0 */
    uint64_t                      version;   /* the greatest seen */
    uint32_t                      load;      /* its number, 0: a feed */
    uint64_t                      sent;      /* boot-time ms */
    uint64_t                      progress;  /* boot-time ms, last row */
    ngx_msec_t                    slice;     /* the loop's time, and what */
    uint64_t                      spent;     /* rows cost in it, us */

    /* stubs of the zone are read again, up to these buckets */
    uint32_t                      heal;
    uint32_t                      heal_next; /* when this round is over */
    ngx_uint_t                    nstubs;    /* in this round */
    ngx_apikeys_objectid_t        stubs[NGX_APIKEYS_SYNC_STUBS];

    /* of ngx_apikeys_sync_seal.c */
    u_char                        sealed_id[NGX_APIKEYS_OBJECTID_TEXT_LEN];
                                             /* the last key of this pass */
    uint64_t                      sealed_at; /* boot-time ms, the last ones */
    uint64_t                      sealed;    /* secrets, in this pass */
    uint64_t                      pass_over; /* boot-time ms, 0: it goes on */
    uint64_t                      missing_logged;

    /* tombstones below "forget" were seen at "forget_since" */
    uint64_t                      forget;
    uint64_t                      forget_since;

    uint64_t                      heartbeat; /* boot-time ms, the last */
    uint64_t                      prune;
    uint64_t                      loaded;    /* the end of the last load */
    uint64_t                      took;      /* and its time, ms */

    ngx_uint_t                    errors;    /* in a row */
    ngx_apikeys_sync_trouble_e    trouble;

    ngx_apikeys_sync_stat_t      *stat;

    unsigned                      leader:1;
    unsigned                      checked:1; /* schema and master key */
    unsigned                      waiting:1; /* "event" is the next poll */
    unsigned                      again:1;   /* notified while busy */
    unsigned                      moved:1;   /* no heartbeat told it yet */
    unsigned                      header:1;  /* the header row has come */
    unsigned                      epoch:1;   /* the load begins one */
    unsigned                      heals:1;   /* stubs are read again */
    unsigned                      healed:1;  /* and none is left */
    unsigned                      reopen:1;  /* a load may open more keys */
    unsigned                      seals:1;   /* this node seals anew */
    unsigned                      fenced:1;  /* another has the lease */
    unsigned                      signing:1; /* "query" signs off */
    unsigned                      signed_off:1;
};


/* ngx_apikeys_sync.c */

/* not from inside a handler of the pool, which it destroys */
void ngx_apikeys_sync_resign(ngx_apikeys_sync_t *sync);

/*
 * Starts a query of the syncer; params are copied.  When it cannot be
 * started, the round has failed and nothing more is called.
 */
void ngx_apikeys_sync_query(ngx_apikeys_sync_t *sync,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params, ngx_msec_t timeout,
    ngx_apikeys_pg_handler_pt handler, ngx_apikeys_pg_row_pt row);

/*
 * What a handler of such a query begins with: the syncer, or NULL when the
 * query has failed, and the round with it.
 */
ngx_apikeys_sync_t *ngx_apikeys_sync_answered(ngx_apikeys_pg_query_t *q);

/*
 * "n" items of "size" bytes, one behind the other, as an array of the database
 * with an item's bytes in hex.
 */
ngx_int_t ngx_apikeys_sync_array(ngx_pool_t *pool, ngx_str_t *array,
    const void *items, ngx_uint_t n, size_t size);

/* each ends the round; the next is started by a timer, never from inside */
void ngx_apikeys_sync_done(ngx_apikeys_sync_t *sync);
void ngx_apikeys_sync_failed(ngx_apikeys_sync_t *sync,
    ngx_apikeys_sync_trouble_e trouble, const ngx_str_t *reason);
void ngx_apikeys_sync_query_failed(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q);
void ngx_apikeys_sync_no_memory(ngx_apikeys_sync_t *sync);
void ngx_apikeys_sync_fenced(ngx_apikeys_sync_t *sync);

/* runs "step" after "delay" */
void ngx_apikeys_sync_later(ngx_apikeys_sync_t *sync,
    ngx_apikeys_sync_step_pt step, ngx_msec_t delay);

/* ngx_apikeys_sync_leave.c */

ngx_int_t ngx_apikeys_sync_leave_init(ngx_apikeys_sync_t *sync);
void ngx_apikeys_sync_leave_destroy(ngx_apikeys_sync_t *sync);

/* of a process that has the lease and is exiting */
void ngx_apikeys_sync_leave_watch(ngx_apikeys_sync_t *sync);
/* of one that has it and ends at once; blocks for half a second or so */
void ngx_apikeys_sync_leave_final(ngx_apikeys_sync_t *sync);


/* ngx_apikeys_sync_session.c */

/* checks the database, then starts a round */
void ngx_apikeys_sync_session_begin(ngx_apikeys_sync_t *sync);

/*
 * Whether a schema of this version may be followed, which says that it is
 * compatible with modules from the version "compatible" on; and the end of
 * a round that met one which may not.
 */
ngx_uint_t ngx_apikeys_sync_session_fits(ngx_int_t version,
    ngx_int_t compatible);
void ngx_apikeys_sync_session_refuse(ngx_apikeys_sync_t *sync,
    ngx_int_t version);


/* ngx_apikeys_sync_round.c */

/* one feed or load, published, with its heartbeat; the session is checked */
void ngx_apikeys_sync_round_start(ngx_apikeys_sync_t *sync);

/* how often a heartbeat is due without changes */
ngx_msec_t ngx_apikeys_sync_round_heartbeat_interval(
    ngx_apikeys_sync_t *sync);
/* for how long a heartbeat makes receipts wait, unless stale_forever */
ngx_msec_t ngx_apikeys_sync_round_lease(ngx_apikeys_sync_t *sync);


/* ngx_apikeys_sync_seal.c */

/* the lines of the master key file, as an array of the database */
ngx_int_t ngx_apikeys_sync_seal_lines(ngx_apikeys_sync_t *sync,
    ngx_str_t *lines);
/* what the answer to a heartbeat says about lines */
void ngx_apikeys_sync_seal_told(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q);
/* a new pass over all keys */
void ngx_apikeys_sync_seal_begin(ngx_apikeys_sync_t *sync);
/* seals some secrets anew if that is due, and ends the round */
void ngx_apikeys_sync_seal_anew(ngx_apikeys_sync_t *sync);
/* until the next ones */
ngx_msec_t ngx_apikeys_sync_seal_delay(ngx_apikeys_sync_t *sync);


/* ngx_apikeys_sync_rows.c */

/* how a statement for rows_read() begins; a view or a function follows */
#define NGX_APIKEYS_SYNC_ROWS_SELECT                                         \
    "SELECT identity, snapshot, schema_version, compatible_from, "           \
    NGX_APIKEYS_STATE " FROM "

/* "arrived" is called when all rows of the answer are in the zone */
void ngx_apikeys_sync_rows_read(ngx_apikeys_sync_t *sync,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params, ngx_msec_t timeout,
    ngx_apikeys_sync_step_pt arrived);

/* drops the rows of a round that ended before they were published */
void ngx_apikeys_sync_rows_abandon(ngx_apikeys_sync_t *sync);


#endif /* _NGX_APIKEYS_SYNC_ROUND_H_INCLUDED_ */
