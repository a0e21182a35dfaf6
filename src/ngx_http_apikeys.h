
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What the files of the HTTP side share: configuration, the identity that a
 * request has shown, and the request's context.  Below all of them.
 */


#ifndef _NGX_HTTP_APIKEYS_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_apikeys_cidr.h>
#include <ngx_apikeys_ha1_cache.h>
#include <ngx_apikeys_json.h>
#include <ngx_apikeys_nonce.h>
#include <ngx_apikeys_pg_query.h>
#include <ngx_apikeys_seal.h>
#include <ngx_apikeys_store.h>
#include <ngx_apikeys_sync.h>
#include <ngx_apikeys_usage.h>
#include <ngx_http_apikeys_codes.h>


/*
 * For what begins where a request turns out to be ours: inlined, it would
 * have all others save registers for it.
 */
#if (__GNUC__)
#define NGX_HTTP_APIKEYS_NOINLINE           __attribute__((noinline))
#else
#define NGX_HTTP_APIKEYS_NOINLINE
#endif

/* which administration API a location is; 0 in all others */
#define NGX_HTTP_APIKEYS_ATLAS_V1           0x1
#define NGX_HTTP_APIKEYS_ATLAS_V2           0x2
#define NGX_HTTP_APIKEYS_OPS_MANAGER        0x4
#define NGX_HTTP_APIKEYS_ANY_API            0x7

/* schemes of apikeys_auth */
#define NGX_HTTP_APIKEYS_AUTH_DIGEST        0x01
#define NGX_HTTP_APIKEYS_AUTH_DIGEST_SHA256 0x02
#define NGX_HTTP_APIKEYS_AUTH_BASIC         0x04
#define NGX_HTTP_APIKEYS_AUTH_HEADER        0x08
#define NGX_HTTP_APIKEYS_AUTH_ANY           0x0f
#define NGX_HTTP_APIKEYS_AUTH_OFF           0x10


/* what was decided, and why; the names are $apikeys_decision's */
typedef enum {
    NGX_HTTP_APIKEYS_ALLOW = 0,
    NGX_HTTP_APIKEYS_NO_CREDENTIAL,
    NGX_HTTP_APIKEYS_BAD_CREDENTIAL,    /* malformed, foreign, or two */
    NGX_HTTP_APIKEYS_UNKNOWN_KEY,
    NGX_HTTP_APIKEYS_WRONG_SECRET,
    NGX_HTTP_APIKEYS_STALE_NONCE,       /* right otherwise: stale=true */
    NGX_HTTP_APIKEYS_REPLAY,
    NGX_HTTP_APIKEYS_ADDRESS,           /* not on the key's access list */
    NGX_HTTP_APIKEYS_NO_LIST,           /* the organisation demands one */
    NGX_HTTP_APIKEYS_ROLE,
    NGX_HTTP_APIKEYS_NOT_LOADED,        /* the local copy cannot tell: 503 */
    NGX_HTTP_APIKEYS_EXPIRED,           /* older than apikeys_stale: 503 */
    NGX_HTTP_APIKEYS_ERROR,             /* of memory or a library: 500 */
    NGX_HTTP_APIKEYS_ALLOW_EXPIRED      /* older, but expired=allow */
} ngx_http_apikeys_decision_e;

#define NGX_HTTP_APIKEYS_LAST_DECISION  NGX_HTTP_APIKEYS_ALLOW_EXPIRED


/* who asks; valid when the decision is ALLOW, ADDRESS, NO_LIST or ROLE */
typedef struct {
    u_char                    public_key[NGX_APIKEYS_PUBLIC_KEY_LEN];
    ngx_apikeys_objectid_t    id;
    ngx_apikeys_objectid_t    org;
    uint32_t                  roles;       /* in org, or global ones */
    ngx_apikeys_cidr_t        address;     /* the client's */
    ngx_apikeys_cidr_t        entry;       /* that let it in; family 0: the
                                              key has no list */
    ngx_uint_t                scheme;      /* NGX_HTTP_APIKEYS_AUTH_DIGEST ..,
                                              0 of the operator */
    u_char                   *credential;  /* the right one, in the request's
                                              headers; NULL: none was */
    ngx_http_apikeys_decision_e  nonce;    /* ALLOW, or STALE_NONCE, REPLAY:
                                              the credential is good no more,
                                              and nothing else is known */
    unsigned                  expired:1;   /* by a local copy older than
                                              apikeys_stale */
    unsigned                  global:1;    /* a global key: org is zero */
    unsigned                  operator:1;  /* by token; none of the above
                                              but address */
} ngx_http_apikeys_identity_t;


typedef struct ngx_http_apikeys_wait_s  ngx_http_apikeys_wait_t;
typedef struct ngx_http_apikeys_waiter_s  ngx_http_apikeys_waiter_t;

/*
 * Metrics of one process, in the zone: a row for each of the store's slots,
 * written by the process that has the slot, and by no other, so without
 * atomic operations.  Its counters stay when another process takes the slot:
 * the sum over all rows never falls.  Each row has cache lines of its own.
 */
typedef struct {
    uint64_t                  decisions[NGX_HTTP_APIKEYS_LAST_DECISION + 1];
    ngx_apikeys_pg_pool_stat_t  pool;
    ngx_apikeys_sync_stat_t   sync;
    ngx_apikeys_usage_stat_t  usage;
} __attribute__((aligned(64))) ngx_http_apikeys_metrics_t;

#define NGX_HTTP_APIKEYS_METRICS_SIZE                                        \
    (NGX_APIKEYS_STORE_SLOTS * sizeof(ngx_http_apikeys_metrics_t))


/* of one process; NULL outside of workers */
typedef struct {
    ngx_http_apikeys_metrics_t  *metrics;      /* its row */
    ngx_apikeys_pg_pool_t    *pool;
    ngx_apikeys_sync_t       *sync;
    ngx_apikeys_usage_t      *usage;
    ngx_http_apikeys_waiter_t  *waiter;
} ngx_http_apikeys_worker_t;


typedef struct {
    ngx_apikeys_pg_conf_t    *database;
    ngx_apikeys_store_t      *store;
    ngx_apikeys_seal_t       *seal;
    ngx_apikeys_nonce_t      *nonce;
    ngx_apikeys_ha1_cache_t  *ha1s;
    ngx_str_t                 realm;
    u_char                   *token;       /* SHA-256 of the operator's token,
                                              or NULL */
    ngx_apikeys_sync_conf_t   sync;
    size_t                    nonce_size;  /* of the table, in the zone */
    ngx_http_apikeys_metrics_t  *metrics;  /* all rows, in the zone */
    ngx_array_t              *routes;      /* ngx_http_apikeys_routes */
    ngx_uint_t                used;        /* some location needs all this */
    ngx_uint_t                demanded;    /* and some one demands a key */
    ngx_http_apikeys_worker_t worker;      /* set in init_process */
} ngx_http_apikeys_main_conf_t;


typedef struct {
    ngx_uint_t                api;         /* NGX_HTTP_APIKEYS_ATLAS_V1 ... */
    ngx_str_t                 base;        /* the location's name */
    ngx_str_t                 public_url;  /* no slash at the end, or empty */
    ngx_uint_t                auth;        /* a mask of schemes */
    ngx_str_t                 auth_header; /* of header=, lower case */
    ngx_msec_t                stale;
    ngx_flag_t                stale_allow;
    ngx_flag_t                dry_run;
    ngx_msec_t                wait;
    ngx_array_t              *require;     /* ngx_http_apikeys_require */
    ngx_uint_t                opened;      /* "auth off", below "require" */
} ngx_http_apikeys_loc_conf_t;


typedef struct ngx_http_apikeys_ctx_s  ngx_http_apikeys_ctx_t;

/*
 * A step of a call: NGX_AGAIN, a query was started; NGX_DECLINED, refused by
 * ngx_http_apikeys_output_refuse(); NGX_ERROR; or the sender's return code.
 */
typedef ngx_int_t (*ngx_http_apikeys_handler_pt)(ngx_http_apikeys_ctx_t *ctx);


/* the query string: what we know of it */
typedef struct {
    ngx_uint_t                    page;         /* pageNum, from 1 */
    ngx_uint_t                    items;        /* itemsPerPage, 1..500 */
    ngx_str_t                     name;         /* empty: any */
    ngx_str_t                     kept;         /* the rest, as it was sent,
                                                   each with "&" behind it */
    ngx_str_t                     bad;          /* the first that is wrong */
    ngx_str_t                     bad_page;     /* of those of lists */
    unsigned                      pretty:1;
    unsigned                      envelope:1;
    unsigned                      count:1;      /* includeCount */
} ngx_http_apikeys_args_t;


/* an administration call under way; lives in r->pool */
struct ngx_http_apikeys_ctx_s {
    ngx_http_request_t           *request;
    ngx_http_apikeys_loc_conf_t  *conf;

    ngx_http_apikeys_identity_t   identity;     /* of the record */
    ngx_http_apikeys_args_t       args;

    /* of the route; the texts are slices of r->uri */
    const void                   *route;        /* ngx_http_apikeys_route_t */
    ngx_str_t                     org;
    ngx_str_t                     project;
    ngx_str_t                     key;
    ngx_str_t                     address;
    ngx_str_t                     item;         /* the id of an event, or of
                                                   a global entry */
    ngx_str_t                     name;         /* of a project; of a team */
    ngx_apikeys_objectid_t        org_id;       /* a project's, too */
    ngx_apikeys_objectid_t        project_id;
    ngx_apikeys_objectid_t        key_id;
    ngx_apikeys_cidr_t            entry;        /* of address */

    uint32_t                      org_right;    /* the roles any of which */
    uint32_t                      project_right; /* the route demands */
    ngx_http_apikeys_code_e       refusal;      /* of who has none of them */

    ngx_apikeys_json_t           *body;         /* while its route's handler
                                                   runs */
    void                         *data;         /* the resource's own */

    /* of a refusal, see ngx_http_apikeys_output_refuse() */
    ngx_http_apikeys_code_e       code;
    ngx_str_t                     params[2];

    /* of ngx_http_apikeys_run */
    ngx_apikeys_pg_query_t       *query;
    ngx_apikeys_pg_params_pt      make;         /* of large parameters, or
                                                   NULL; its data is ctx */
    ngx_http_apikeys_handler_pt   done;
    const ngx_apikeys_pg_stmt_t  *reread;       /* by id, what "done" prints:
                                                   for a mutation whose result
                                                   is too large to be kept */
    ngx_str_t                     changed;      /* that id */
    ngx_http_apikeys_handler_pt   conflict;     /* on 23505, or NULL */
    ngx_http_cleanup_t           *cleanup;
    ngx_http_apikeys_wait_t      *wait;
    ngx_apikeys_sync_publication_t  publication;

    unsigned                      operator:1;   /* the caller acts as the
                                                   operator: all is open */
    unsigned                      self:1;       /* the key is the caller */
    unsigned                      entitled:1;   /* the caller may by its
                                                   roles, or the operator */
    unsigned                      whitelist:1;  /* the deprecated spelling */
    unsigned                      answered:1;   /* the answer is ours */
    unsigned                      committed:1;  /* a mutation is */
    unsigned                      dropped:1;    /* the result of it was */
    unsigned                      pending:1;    /* not applied everywhere, and
                                                   this was asked for: 202 */
};


extern ngx_module_t  ngx_http_apikeys_module;


#endif /* _NGX_HTTP_APIKEYS_H_INCLUDED_ */
