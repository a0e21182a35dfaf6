
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The snapshot file: an encrypted copy of the zone, for a start while the
 * database is down.  The leader writes it; the master reads it into a new
 * zone, before workers are started.
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
    ngx_str_t               path;       /* absolute, NUL-terminated; empty: no
                                           snapshot */
    ngx_apikeys_store_t    *store;
    ngx_apikeys_seal_t     *seal;
    ngx_msec_t              stale_max;    /* the largest apikeys_stale, ms */
    ngx_flag_t              stale_forever;  /* 1: a location has
                                           expired=allow */
} ngx_apikeys_snapshot_conf_t;


/*
 * Configuration, when all of "conf" is set; "conf" must stay valid.  Once the
 * zone exists, the directory is created or checked, and a new zone is filled
 * from the file.
 */
void ngx_apikeys_snapshot_configure(ngx_apikeys_snapshot_conf_t *conf);


/* in each worker; NULL: no memory.  Freed with the cycle. */
ngx_apikeys_snapshot_t *ngx_apikeys_snapshot_create(ngx_cycle_t *cycle,
    ngx_apikeys_snapshot_conf_t *conf);

/*
 * To be called by the leader after each proof of freshness; "changes" is a
 * number that grows with every change of the zone.  Begins to write the file
 * if that is due.
 */
void ngx_apikeys_snapshot_due(ngx_apikeys_snapshot_t *snapshot,
    uint64_t changes);

/* aborts writing; the previous file stays */
void ngx_apikeys_snapshot_stop(ngx_apikeys_snapshot_t *snapshot);


/*
 * Fills an empty zone from the file.  NGX_OK; NGX_DECLINED: there is no file,
 * or it was ignored, which is logged; the zone must be emptied again.
 */
ngx_int_t ngx_apikeys_snapshot_load(ngx_apikeys_snapshot_conf_t *conf,
    ngx_log_t *log);

/*
 * Copies the id of this boot of the machine, NGX_APIKEYS_SNAPSHOT_BOOT_LEN
 * bytes; zeroes if it is unknown.
 */
void ngx_apikeys_snapshot_boot_id(u_char *boot);


#endif /* _NGX_APIKEYS_SNAPSHOT_H_INCLUDED_ */
