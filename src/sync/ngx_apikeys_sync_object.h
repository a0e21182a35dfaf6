
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Decodes rows of the type apikeys.state, which the load, the feed and the
 * mutations return, into objects, and publishes these.
 */


#ifndef _NGX_APIKEYS_SYNC_OBJECT_H_INCLUDED_
#define _NGX_APIKEYS_SYNC_OBJECT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_state.h>
#include <ngx_apikeys_sync.h>


/* a row of a result */
typedef struct {
    ngx_apikeys_pg_query_t          *query;
    ngx_uint_t                       number;
    ngx_uint_t                       column;   /* of "kind" */
} ngx_apikeys_sync_row_t;


typedef struct {
    ngx_apikeys_store_kind_e         kind;
    ngx_uint_t                       deleted;  /* 1: "u" is not set */
    ngx_apikeys_objectid_t           id;
    uint64_t                         version;
    union {
        ngx_apikeys_store_key_t      key;
        ngx_apikeys_store_org_t      org;
        ngx_apikeys_store_project_t  project;
    } u;
} ngx_apikeys_sync_object_t;


/*
 * Decodes a row; lists are allocated from "pool".  A key that cannot be
 * decoded completely or decrypted becomes unreadable: requests with it get
 * 503, never a partial access list or role set.  NGX_ERROR: no memory, or the
 * row does not identify an object.
 */
ngx_int_t ngx_apikeys_sync_object_decode(ngx_apikeys_sync_conf_t *conf,
    ngx_pool_t *pool, ngx_apikeys_sync_row_t *row,
    ngx_apikeys_sync_object_t *object);

/*
 * Decrypts a secret of a key's row, of which the columns with its id and the
 * sealed secret are given.  Sets "sealed" (NGX_APIKEYS_SEALED_LEN bytes),
 * "context" (associated data, allocated from "pool") and "secret", which the
 * caller must wipe.  NGX_DECLINED: it cannot be decrypted; NGX_ERROR: no
 * memory.
 */
ngx_int_t ngx_apikeys_sync_object_secret(ngx_apikeys_sync_conf_t *conf,
    ngx_pool_t *pool, ngx_apikeys_sync_row_t *row, ngx_uint_t id_column,
    ngx_uint_t secret_column, u_char *sealed, ngx_str_t *context,
    ngx_apikeys_secret_t *secret);

/*
 * Checked under the lock before objects are published.  need_lease = 1: this
 * process must hold the lease; 0: ngx_apikeys_store_generation() must equal
 * "generation".
 */
typedef struct {
    uint32_t                         load;     /* number of the load that
                                                  brought the objects, or 0 */
    uint64_t                         generation;
    ngx_uint_t                       need_lease;
} ngx_apikeys_sync_precondition_t;


/*
 * Publishes objects[*next..] (ngx_apikeys_sync_object_t) under the zone's
 * lock, for about a millisecond, and advances *next.  NGX_OK: all are
 * published; NGX_AGAIN: some are left, or the zone was locked: try again from
 * a timer; NGX_ABORT: the precondition does not hold, nothing was written.
 */
ngx_int_t ngx_apikeys_sync_object_publish(ngx_apikeys_store_t *store,
    ngx_array_t *objects, ngx_uint_t *next,
    const ngx_apikeys_sync_precondition_t *precondition);

/* wipes decoded secrets; to be called before the objects are freed */
void ngx_apikeys_sync_object_wipe(ngx_array_t *objects);


#endif /* _NGX_APIKEYS_SYNC_OBJECT_H_INCLUDED_ */
