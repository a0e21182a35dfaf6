
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A sealed copy of the local copy in a file, for a start while the database is
 * down.  The process that follows the database writes it; the master reads
 * it into a new zone, before there are workers.
 */


#ifndef _NGX_APIKEYS_SNAPSHOT_H_INCLUDED_
#define _NGX_APIKEYS_SNAPSHOT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <ngx_apikeys_seal.h>
#include <ngx_apikeys_store.h>


typedef struct ngx_apikeys_snapshot_s  ngx_apikeys_snapshot_t;


typedef struct {
    ngx_cycle_t            *cycle;
    ngx_str_t               path;       /* whole, and ends with NUL; empty:
                                           there is none */
    ngx_apikeys_store_t    *store;
    ngx_apikeys_seal_t     *seal;
    ngx_msec_t              stale;      /* the largest apikeys_stale, ms */
    ngx_flag_t              stale_forever;
} ngx_apikeys_snapshot_conf_t;


/*
 * Configuration, when all of "conf" is set; it is kept.  Once the zone is
 * there, the directory is made and checked, and a new zone is filled.
 */
void ngx_apikeys_snapshot_configure(ngx_apikeys_snapshot_conf_t *conf);


/* in the process that follows the database */
ngx_apikeys_snapshot_t *ngx_apikeys_snapshot_create(ngx_cycle_t *cycle,
    ngx_apikeys_snapshot_conf_t *conf);

/*
 * The local copy was proved fresh; "changes" grows with what was changed in it.
 * Begins to write when it is time to.
 */
void ngx_apikeys_snapshot_due(ngx_apikeys_snapshot_t *snapshot,
    uint64_t changes);

/* gives up what is being written; the file of before stays */
void ngx_apikeys_snapshot_stop(ngx_apikeys_snapshot_t *snapshot);


/*
 * Fills a zone that has no objects, as the handler of
 * ngx_apikeys_store_on_ready() is to.
 */
ngx_int_t ngx_apikeys_snapshot_load(ngx_apikeys_snapshot_conf_t *conf,
    ngx_log_t *log);

/* this start of the machine: zeroes where it cannot be told */
void ngx_apikeys_snapshot_boot(u_char *boot);
/* the calendar, ms */
uint64_t ngx_apikeys_snapshot_time(void);


#endif /* _NGX_APIKEYS_SNAPSHOT_H_INCLUDED_ */
