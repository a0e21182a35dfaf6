
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Internal header of the sync layer: struct ngx_apikeys_sync_s, and the
 * functions that its files call in each other.
 *
 * A worker follows the database in rounds.  Each round is run by the worker
 * that has the lease of the zone (the leader):
 *
 *   session   checks schema version and master key, if the connection may be
 *             another one than in the last round
 *   round     reads the feed, or loads everything; moves the cursor
 *   rows      decodes and publishes the rows of the feed or the load
 *   seal      encrypts some secrets anew after a rotation of master keys
 *
 * ngx_apikeys_sync.c owns the lease, the connection, the timer, and the
 * handling of errors; ngx_apikeys_sync_leave.c the end of a worker.
 */


#ifndef _NGX_APIKEYS_SYNC_INT_H_INCLUDED_
#define _NGX_APIKEYS_SYNC_INT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_refusal.h>
#include <ngx_apikeys_sync.h>
#include <ngx_apikeys_sync_object.h>


/*
 * Result of the last round.  A failure is logged as [error] when it begins,
 * when its status changes, and once a minute, else as [info].
 */
typedef enum {
    NGX_APIKEYS_SYNC_FOLLOWS = 0,       /* no failure */
    NGX_APIKEYS_SYNC_UNREACHABLE,
    NGX_APIKEYS_SYNC_REFUSED,           /* the server returned an error */
    NGX_APIKEYS_SYNC_SCHEMA,            /* wrong version, or no right to it */
    NGX_APIKEYS_SYNC_MASTER_KEY
} ngx_apikeys_sync_status_e;


/* stubs that one round reads again, at most */
#define NGX_APIKEYS_SYNC_MAX_STUBS  100


typedef void (*ngx_apikeys_sync_step_pt)(ngx_apikeys_sync_t *sync);


/* times "_at" and "_since" are boot-time ms */

struct ngx_apikeys_sync_s {
    ngx_apikeys_sync_conf_t      *conf;
    ngx_cycle_t                  *cycle;
    ngx_log_t                    *log;
    ngx_socket_t                  fd;        /* -1; ngx_event_ident() reads
                                                ((ngx_connection_t *) data)->fd
                                                in debug logs: keep the
                                                offset */

    ngx_event_t                   lease_event;  /* in every worker */
    uint64_t                      alive_at;  /* when lease_event last ran */
    ngx_apikeys_snapshot_t       *snapshot;  /* writer of the file, or NULL */

    /* of ngx_apikeys_sync_leave.c */

    ngx_connection_t             *quit_conn; /* closed by nginx on a graceful
                                                shutdown */
    ngx_event_t                   leave_event;
    uint64_t                      exiting_since; /* 0: not exiting */
    uint64_t                      idle_since; /* since when this exiting worker
                                                has had no timers left; 0: it
                                                still has work */
    uint64_t                      sign_off_declined_at;

    /*
     * The fields below are used only while this process holds the lease;
     * ngx_apikeys_sync_become_leader() sets them.
     */

    ngx_event_t                   event;     /* calls "step" */
    ngx_apikeys_sync_step_pt      step;
    ngx_apikeys_pg_pool_t        *pp;        /* one connection */
    ngx_apikeys_pg_query_t       *query;     /* in progress, or NULL */
    ngx_pool_t                   *pool;      /* of this round */

    /* these four strings are in "pool" */
    ngx_str_t                     database_id;
    ngx_str_t                     cursor;    /* a pg_snapshot as text, from
                                                which this connection goes on;
                                                empty: the zone cannot go on
                                                from one */
    ngx_str_t                     durable;   /* the cursor of the zone: the
                                                last one before a committed
                                                heartbeat */
    ngx_str_t                     applied;   /* the last pg_snapshot whose
                                                changes are all in the zone */

    /* of the rows of a feed or a load */
    ngx_str_t                     new_database_id;
    ngx_str_t                     new_cursor;
    ngx_str_t                     feed_kind; /* "feed", "load", "epoch" or
                                                empty */
    ngx_apikeys_sync_step_pt      rows_done; /* called when all rows are in
                                                the zone */
    ngx_pool_t                   *batch_pool;
    ngx_array_t                   objects;   /* of ngx_apikeys_sync_object_t,
                                                in "batch_pool" */
    ngx_uint_t                    next_object;  /* the first one that is not
                                                published */
    ngx_uint_t                    batch_weight;
    ngx_uint_t                    rows;
    ngx_uint_t                    keys;
    ngx_uint_t                    unreadable;
    ngx_uint_t                    oversize;  /* keys with too long lists */
    ngx_int_t                     schema;    /* version of a schema that is not
                                                compatible, or 0 */
    uint64_t                      max_version;  /* newest version read */
    uint32_t                      load_number;  /* 0: the rows are of a feed */
    const char                   *load_reason;  /* NULL: no load is due */
    uint64_t                      sent_at;   /* of the feed or load query */
    uint64_t                      last_row_at;
    ngx_msec_t                    slice_msec; /* ngx_current_msec of the event
                                                that slice_usec belongs to */
    uint64_t                      slice_usec; /* us spent on rows in it */

    /* stubs are read again, bucket by bucket */
    uint32_t                      stub_bucket;  /* where this round begins */
    uint32_t                      next_stub_bucket;  /* where the next one
                                                does */
    ngx_uint_t                    nstubs;    /* in this round */
    ngx_apikeys_objectid_t        stubs[NGX_APIKEYS_SYNC_MAX_STUBS];

    /* of ngx_apikeys_sync_seal.c */
    u_char                        sealed_id[NGX_APIKEYS_OBJECTID_TEXT_LEN];
                                             /* the last key of this pass; NUL:
                                                none yet */
    uint64_t                      sealed_at; /* when the last batch began */
    uint64_t                      nsealed;   /* secrets in this pass */
    uint64_t                      seal_pass_ended_at;  /* 0: in progress */
    uint64_t                      missing_logged_at;

    /*
     * Tombstones with versions up to "forget" may be removed once the query
     * timeout and NGX_APIKEYS_SYNC_ROUND_IN_FLIGHT have passed since
     * forget_since; forget 0: none are due.
     */
    uint64_t                      forget;
    uint64_t                      forget_since;

    uint64_t                      heartbeat_at;  /* the last one stored */
    uint64_t                      tell_paid; /* until then the telling of
                                                "applied" is used up */
    uint64_t                      notified_at;   /* the last notification */
    ngx_msec_t                    notify_interval;  /* between two, averaged */
    ngx_msec_t                    feed_msec; /* of the last feed query */
    uint64_t                      pruned_at;
    uint64_t                      loaded_at; /* end of the last load */
    uint64_t                      load_msec; /* its duration */

    ngx_uint_t                    errors;    /* rounds failed in a row */
    ngx_apikeys_sync_status_e     status;

    ngx_apikeys_sync_stat_t      *stat;

    unsigned                      leader:1;
    unsigned                      session_checked:1;
    unsigned                      idle:1;    /* waits for the next round */
    unsigned                      notified:1;  /* while a round was running:
                                                begin another one */
    unsigned                      heartbeat_due:1;  /* after this round */
    unsigned                      untold:1;  /* "applied" has changes that the
                                                database does not know of */
    unsigned                      asked:1;   /* somebody waits for them */
    unsigned                      reconnected:1;  /* during the query that
                                                reads rows */
    unsigned                      header_read:1;
    unsigned                      new_database:1;  /* the next load is of
                                                another database: forget all
                                                versions */
    unsigned                      retry_stubs:1;  /* in this round */
    unsigned                      stubs_done:1;  /* this round reads the last
                                                ones */
    unsigned                      reload_for_lines:1;  /* a load may make more
                                                keys readable */
    unsigned                      reseals:1; /* this node encrypts secrets
                                                anew */
    unsigned                      lease_lost:1;  /* another process took it;
                                                lease_event will stop this
                                                leader */
    unsigned                      signing_off:1;  /* "query" is sign_off() */
    unsigned                      signed_off:1;
};


/* ngx_apikeys_sync.c */

/* stops following; not from a handler of sync->pp, which it destroys */
void ngx_apikeys_sync_release_lease(ngx_apikeys_sync_t *sync);

/*
 * Starts a query of the leader; params are copied.  timeout 0: the default.
 * If it cannot be started, the round has failed and no handler is called.
 */
void ngx_apikeys_sync_query(ngx_apikeys_sync_t *sync,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params, ngx_msec_t timeout,
    ngx_apikeys_pg_handler_pt handler, ngx_apikeys_pg_row_pt row);

/*
 * To be called first by the handler of such a query.  NULL: the query has
 * failed, and the round has been ended.
 */
ngx_apikeys_sync_t *ngx_apikeys_sync_query_result(ngx_apikeys_pg_query_t *q);

/*
 * Writes n consecutive items of "size" bytes as a PostgreSQL array of hex
 * strings, allocated from "pool".  NGX_ERROR: no memory.
 */
ngx_int_t ngx_apikeys_sync_array(ngx_pool_t *pool, ngx_str_t *array,
    const void *items, ngx_uint_t n, size_t size);

/* each of these ends the round; the next one is started by a timer */
void ngx_apikeys_sync_round_succeeded(ngx_apikeys_sync_t *sync);
void ngx_apikeys_sync_round_failed(ngx_apikeys_sync_t *sync,
    ngx_apikeys_sync_status_e status, const ngx_str_t *reason);
void ngx_apikeys_sync_query_failed(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q);
void ngx_apikeys_sync_no_memory(ngx_apikeys_sync_t *sync);
void ngx_apikeys_sync_lost_lease(ngx_apikeys_sync_t *sync);

/* calls "step" after "delay" ms, from the event loop; or no step any more */
void ngx_apikeys_sync_schedule(ngx_apikeys_sync_t *sync,
    ngx_apikeys_sync_step_pt step, ngx_msec_t delay);
void ngx_apikeys_sync_unschedule(ngx_apikeys_sync_t *sync);

/* ngx_apikeys_sync_leave.c */

ngx_int_t ngx_apikeys_sync_leave_init(ngx_apikeys_sync_t *sync);
void ngx_apikeys_sync_leave_destroy(ngx_apikeys_sync_t *sync);

/* in an exiting worker: if it is the leader, starts leave_event */
void ngx_apikeys_sync_leave_watch(ngx_apikeys_sync_t *sync);
/* in a leader that is terminated: signs off; blocks for up to 600 ms */
void ngx_apikeys_sync_leave_final(ngx_apikeys_sync_t *sync);


/* ngx_apikeys_sync_session.c */

/* begins a round: checks the database if need be, then round_start() */
void ngx_apikeys_sync_session_begin(ngx_apikeys_sync_t *sync);

/*
 * compatible(): 1 if a schema of this version may be followed; the schema says
 * that it is compatible with modules written for version "compatible" or
 * later.  refuse() ends the round because of a schema that may not.
 */
ngx_uint_t ngx_apikeys_sync_session_compatible(ngx_int_t version,
    ngx_int_t compatible);
void ngx_apikeys_sync_session_refuse(ngx_apikeys_sync_t *sync,
    ngx_int_t version);


/* ngx_apikeys_sync_round.c */

/* feed or load, publish, heartbeat; session_checked must be set */
void ngx_apikeys_sync_round_start(ngx_apikeys_sync_t *sync);

/* ms until the next heartbeat */
ngx_msec_t ngx_apikeys_sync_round_heartbeat_delay(ngx_apikeys_sync_t *sync);
/* ms until "applied" is to be told */
ngx_msec_t ngx_apikeys_sync_round_tell_delay(ngx_apikeys_sync_t *sync);
/* duration of a node's lease, ms; not used with stale_forever */
ngx_msec_t ngx_apikeys_sync_round_lease(ngx_apikeys_sync_t *sync);


/* ngx_apikeys_sync_seal.c */

/* the lines of the master key file as a PostgreSQL array */
ngx_int_t ngx_apikeys_sync_seal_lines(ngx_apikeys_sync_t *sync,
    ngx_str_t *lines);
/* evaluates the columns about lines in the result of a heartbeat */
void ngx_apikeys_sync_seal_heartbeat_result(ngx_apikeys_sync_t *sync,
    ngx_apikeys_pg_query_t *q);
/* begins a new pass over all keys */
void ngx_apikeys_sync_seal_begin(ngx_apikeys_sync_t *sync);
/* encrypts a batch of secrets anew if that is due, then ends the round */
void ngx_apikeys_sync_seal_anew(ngx_apikeys_sync_t *sync);
/* ms until the next batch */
ngx_msec_t ngx_apikeys_sync_seal_next_delay(ngx_apikeys_sync_t *sync);


/* ngx_apikeys_sync_rows.c */

/*
 * Beginning of a statement for rows_read(): a view or a function follows.
 * asked: whether somebody waits for the changes.
 */
#define NGX_APIKEYS_SYNC_ROWS_SELECT(asked)                                  \
    "SELECT identity, snapshot, schema_version, compatible_from, "           \
    asked ", " NGX_APIKEYS_STATE " FROM "

/* calls "arrived" when all rows of the result are in the zone */
void ngx_apikeys_sync_rows_read(ngx_apikeys_sync_t *sync,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params, ngx_msec_t timeout,
    ngx_apikeys_sync_step_pt arrived);

/* drops decoded rows that were not published, and wipes them */
void ngx_apikeys_sync_rows_abandon(ngx_apikeys_sync_t *sync);


#endif /* _NGX_APIKEYS_SYNC_INT_H_INCLUDED_ */
