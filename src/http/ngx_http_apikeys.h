
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What all files of src/http share: the configuration, the decisions, and the
 * identity of an authenticated caller.
 */


#ifndef _NGX_HTTP_APIKEYS_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_apikeys_cidr.h>
#include <ngx_apikeys_nonce.h>
#include <ngx_apikeys_pg_query.h>
#include <ngx_apikeys_seal.h>
#include <ngx_apikeys_store.h>
#include <ngx_apikeys_sync.h>
#include <ngx_apikeys_usage.h>
#include <ngx_http_apikeys_codes.h>


/* util/version prints it; debian/changelog and CHANGES.md repeat it */
#define NGX_HTTP_APIKEYS_VERSION            "0.9.0"

/*
 * For functions that only requests to protected locations call: inlined, they
 * would make all requests save registers.
 */
#if (__GNUC__)
#define NGX_HTTP_APIKEYS_NOINLINE           __attribute__((noinline))
#else
#define NGX_HTTP_APIKEYS_NOINLINE
#endif

/*
 * Logs that an argument of the directive being read is invalid; "valid" is a
 * string literal that says what is expected.
 */
#define ngx_http_apikeys_invalid(cf, arg, valid)                             \
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,                                 \
                       "invalid parameter \"%V\" in \"%V\": " valid,         \
                       arg, (cf)->args->elts)

/* logs that the location has another content handler, besides "name" */
#define ngx_http_apikeys_not_alone(cf, name, location)                       \
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,                                 \
                       "\"" name "\" cannot be combined with another "       \
                       "handler in location \"%V\", such as proxy_pass, "    \
                       "empty_gif or apikeys_status: remove one of them",    \
                       location)

/* the administration API of a location; 0: none */
#define NGX_HTTP_APIKEYS_API_ATLAS_V1           0x1
#define NGX_HTTP_APIKEYS_API_ATLAS_V2           0x2
#define NGX_HTTP_APIKEYS_API_OPS_MANAGER        0x4
#define NGX_HTTP_APIKEYS_API_NATIVE             0x8
#define NGX_HTTP_APIKEYS_API_COMPATIBLE         0x7     /* with Atlas or Ops
                                                           Manager */
#define NGX_HTTP_APIKEYS_API_ANY                0xf

/*
 * Schemes: the rows of the table in ngx_http_apikeys_auth.c.  Those of
 * apikeys_auth come first; a location has a mask of their bits, or OFF.
 */
typedef enum {
    NGX_HTTP_APIKEYS_SCHEME_DIGEST = 0,
    NGX_HTTP_APIKEYS_SCHEME_DIGEST_SHA256,
    NGX_HTTP_APIKEYS_SCHEME_BASIC,
    NGX_HTTP_APIKEYS_SCHEME_HEADER,
    NGX_HTTP_APIKEYS_SCHEME_BEARER,

    /* the operator's token, which every administration API accepts */
    NGX_HTTP_APIKEYS_SCHEME_OPERATOR,

    NGX_HTTP_APIKEYS_SCHEMES        /* number of schemes */
} ngx_http_apikeys_scheme_e;

#define ngx_http_apikeys_scheme_bit(scheme)  ((ngx_uint_t) 1 << (scheme))

#define NGX_HTTP_APIKEYS_AUTH_DIGEST                                         \
    ngx_http_apikeys_scheme_bit(NGX_HTTP_APIKEYS_SCHEME_DIGEST)
#define NGX_HTTP_APIKEYS_AUTH_DIGEST_SHA256                                  \
    ngx_http_apikeys_scheme_bit(NGX_HTTP_APIKEYS_SCHEME_DIGEST_SHA256)
#define NGX_HTTP_APIKEYS_AUTH_BASIC                                          \
    ngx_http_apikeys_scheme_bit(NGX_HTTP_APIKEYS_SCHEME_BASIC)
#define NGX_HTTP_APIKEYS_AUTH_HEADER                                         \
    ngx_http_apikeys_scheme_bit(NGX_HTTP_APIKEYS_SCHEME_HEADER)
#define NGX_HTTP_APIKEYS_AUTH_BEARER                                         \
    ngx_http_apikeys_scheme_bit(NGX_HTTP_APIKEYS_SCHEME_BEARER)
#define NGX_HTTP_APIKEYS_AUTH_ANY                                            \
    (ngx_http_apikeys_scheme_bit(NGX_HTTP_APIKEYS_SCHEME_OPERATOR) - 1)
#define NGX_HTTP_APIKEYS_AUTH_OFF                                            \
    ngx_http_apikeys_scheme_bit(NGX_HTTP_APIKEYS_SCHEMES)


/*
 * The decision on a request and its reason.  The names that users see are in
 * ngx_http_apikeys_ctx_decision_names, where a stale copy is called "expired".
 */
typedef enum {
    NGX_HTTP_APIKEYS_DECISION_ALLOW = 0,
    NGX_HTTP_APIKEYS_DECISION_NO_CREDENTIAL,

    /*
     * malformed, of a scheme, realm or URI that is not accepted here, or more
     * than one
     */
    NGX_HTTP_APIKEYS_DECISION_BAD_CREDENTIAL,

    NGX_HTTP_APIKEYS_DECISION_UNKNOWN_KEY,
    NGX_HTTP_APIKEYS_DECISION_WRONG_SECRET,

    /*
     * the digest is correct, but its nonce is not valid: 401 with stale=true
     */
    NGX_HTTP_APIKEYS_DECISION_STALE_NONCE,

    NGX_HTTP_APIKEYS_DECISION_REPLAY,

    /*
     * the secret is right, but it has expired, or the key is disabled or has
     * expired
     */
    NGX_HTTP_APIKEYS_DECISION_SECRET_EXPIRED,
    NGX_HTTP_APIKEYS_DECISION_KEY_DISABLED,
    NGX_HTTP_APIKEYS_DECISION_KEY_EXPIRED,

    /* the client's address is not on the access list of the key */
    NGX_HTTP_APIKEYS_DECISION_ADDRESS,

    /* the organization requires an access list, the key has none */
    NGX_HTTP_APIKEYS_DECISION_NO_ACCESS_LIST,

    NGX_HTTP_APIKEYS_DECISION_ROLE,

    /* 503: the local copy is incomplete */
    NGX_HTTP_APIKEYS_DECISION_NOT_LOADED,

    /* 503: the local copy is older than apikeys_stale */
    NGX_HTTP_APIKEYS_DECISION_STALE_COPY,

    /* 500: no memory, or a library failed */
    NGX_HTTP_APIKEYS_DECISION_ERROR,

    /* the local copy is older than apikeys_stale: admitted by expired=allow */
    NGX_HTTP_APIKEYS_DECISION_ALLOW_STALE,

    NGX_HTTP_APIKEYS_DECISIONS      /* number of decisions */
} ngx_http_apikeys_decision_e;


/*
 * The authenticated caller.  Valid once ngx_http_apikeys_ctx_verified() holds,
 * whatever the decision; "entry" only if the address matched one.
 */
typedef struct {
    u_char                    public_key[NGX_APIKEYS_PUBLIC_KEY_LEN];
                                           /* for the log it is set for any
                                              existing key, even before the
                                              secret is verified */
    ngx_apikeys_objectid_t    id;
    ngx_apikeys_objectid_t    secret_id;   /* of the secret that was used */
    ngx_apikeys_objectid_t    org;
    uint32_t                  roles;       /* of the organization, or global
                                              roles */
    uint32_t                  expires;     /* the first end of key and secret,
                                              seconds since 1970; 0: none */
    ngx_apikeys_cidr_t        address;     /* address of the client */
    ngx_apikeys_cidr_t        entry;       /* the entry that matched; family
                                              0: the key has no access list */
    ngx_uint_t                scheme;      /* its bit; 0: operator */
    u_char                   *credential;  /* the verified one, in the
                                              request's headers; NULL: none */
    ngx_http_apikeys_decision_e  nonce_decision;
                                           /* ALLOW; or STALE_NONCE or REPLAY:
                                              the digest was correct, but its
                                              nonce cannot be used; id, org
                                              and roles are not set */
    ngx_apikeys_store_ref_t   ref;         /* what was looked up last, valid in
                                              the read section "section" */
    uint64_t                  section;
    unsigned                  stale_copy:1;  /* the local copy was older than
                                                apikeys_stale */
    unsigned                  global:1;    /* a global key: org is zero */
    unsigned                  operator:1;  /* by token; only address is set */
} ngx_http_apikeys_identity_t;


/* how the client wants an error document to be written */
typedef struct {
    unsigned                  pretty:1;
    unsigned                  envelope:1;
} ngx_http_apikeys_form_t;

/*
 * For an error that nginx raised in an administration API: returns the form
 * that the client asked for, and adds the headers of the API.  NGX_ERROR if
 * memory runs out.
 */
typedef ngx_int_t (*ngx_http_apikeys_form_pt)(ngx_http_request_t *r,
    ngx_http_apikeys_form_t *form);


typedef struct ngx_http_apikeys_receipt_s  ngx_http_apikeys_receipt_t;
typedef struct ngx_http_apikeys_receipts_s  ngx_http_apikeys_receipts_t;

/*
 * Metrics of one process, in the zone: one row for each slot of the store.
 * Only the process that has the slot writes its row, so no atomic operations
 * are needed.  Counters stay when another process takes the slot: the sum over
 * all rows never falls.  Each row has its own cache lines.
 */
typedef struct {
    uint64_t                  decisions[NGX_HTTP_APIKEYS_DECISIONS];
    ngx_apikeys_pg_pool_stat_t  pool;
    ngx_apikeys_sync_stat_t   sync;
    ngx_apikeys_usage_stat_t  usage;
} __attribute__((aligned(64))) ngx_http_apikeys_metrics_t;

#define NGX_HTTP_APIKEYS_METRICS_SIZE                                        \
    (NGX_APIKEYS_STORE_SLOTS * sizeof(ngx_http_apikeys_metrics_t))


/* state of one process; NULL in processes that are not workers */
typedef struct {
    ngx_http_apikeys_metrics_t  *metrics;      /* its row */
    ngx_apikeys_pg_pool_t    *pool;
    ngx_apikeys_sync_t       *sync;
    ngx_apikeys_usage_t      *usage;
    ngx_http_apikeys_receipts_t  *receipts;
} ngx_http_apikeys_worker_t;


typedef struct {
    ngx_apikeys_pg_conf_t    *database;
    ngx_apikeys_store_t      *store;
    ngx_apikeys_seal_t       *seal;
    ngx_apikeys_nonce_t      *nonce;
    ngx_str_t                 realm;
    u_char                   *token;       /* SHA-256 of the operator's token,
                                              or NULL */
    ngx_apikeys_sync_conf_t   sync;
    size_t                    nonce_size;  /* size of the nonce table in the
                                              zone */
    ngx_http_apikeys_metrics_t  *metrics;  /* all rows, in the zone */
    ngx_array_t              *routes;      /* ngx_http_apikeys_routes */
    ngx_http_apikeys_form_pt  form;
    ngx_uint_t                used;        /* some location has apikeys_auth,
                                              apikeys_api or apikeys_status */
    ngx_uint_t                demanded;    /* some location has apikeys_auth
                                              or apikeys_api */
    ngx_http_apikeys_worker_t worker;      /* set in init_process */
} ngx_http_apikeys_main_conf_t;


typedef struct {
    ngx_uint_t                api;      /* NGX_HTTP_APIKEYS_API_ATLAS_V1 ... */
    ngx_str_t                 base;        /* the location's name */
    ngx_str_t                 public_url;  /* without a slash at the end, or
                                              empty */
    ngx_uint_t                auth;        /* a mask of schemes */
    ngx_str_t                 auth_header; /* of header=, lower case */
    ngx_msec_t                stale;
    ngx_flag_t                stale_allow;
    ngx_flag_t                dry_run;
    ngx_msec_t                wait;
    ngx_array_t              *require;     /* ngx_http_apikeys_require */
    ngx_uint_t                require_evaluates;  /* 1: it has variables */
    ngx_uint_t                opened;      /* "apikeys_auth off" below an
                                              apikeys_require */
} ngx_http_apikeys_loc_conf_t;


/* of an administration API: ngx_http_apikeys_call.h */
typedef struct ngx_http_apikeys_call_s  ngx_http_apikeys_call_t;


extern ngx_module_t  ngx_http_apikeys_module;


#endif /* _NGX_HTTP_APIKEYS_H_INCLUDED_ */
