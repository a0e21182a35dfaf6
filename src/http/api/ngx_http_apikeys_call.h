
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A call of an administration API: the state that all files of src/http/api
 * share.
 */


#ifndef _NGX_HTTP_APIKEYS_CALL_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_CALL_H_INCLUDED_


#include <ngx_apikeys_json.h>
#include <ngx_http_apikeys_ctx.h>


/* ngx_http_apikeys_page.h, ngx_http_apikeys_routes.h */
typedef struct ngx_http_apikeys_page_s  ngx_http_apikeys_page_t;
typedef struct ngx_http_apikeys_route_s  ngx_http_apikeys_route_t;

/*
 * The roles that a route requires (docs/compatibility.md D45, D46, D48).
 * PROJECT_ rights are those of roles in the project, or of ORG_OWNER.
 */
typedef enum {
    NGX_HTTP_APIKEYS_RIGHT_OPERATOR = 0,    /* no role is enough */
    NGX_HTTP_APIKEYS_RIGHT_ANY_KEY,         /* any key, also a global one */
    NGX_HTTP_APIKEYS_RIGHT_ANYONE,          /* any key of the organization */
    NGX_HTTP_APIKEYS_RIGHT_MEMBER,
    NGX_HTTP_APIKEYS_RIGHT_CREATOR,         /* may create projects */
    NGX_HTTP_APIKEYS_RIGHT_OWNER,
    NGX_HTTP_APIKEYS_RIGHT_PROJECT_READER,
    NGX_HTTP_APIKEYS_RIGHT_PROJECT_MANAGER,
    NGX_HTTP_APIKEYS_RIGHT_PROJECT_OWNER
} ngx_http_apikeys_right_e;


/*
 * A step of a call.  NGX_AGAIN, a query was started; NGX_DECLINED, refused by
 * ngx_http_apikeys_output_set_error(); NGX_ERROR; or what the function that
 * sent the response returned.
 */
typedef ngx_int_t (*ngx_http_apikeys_handler_pt)(ngx_http_apikeys_call_t *call);


/* the known arguments of the query string */
typedef struct {
    ngx_uint_t                    page;         /* pageNum, from 1 */
    ngx_uint_t                    items;        /* itemsPerPage, 1..500 */
    ngx_str_t                     name;         /* beginning of a name; empty:
                                                   any */
    ngx_str_t                     kept;         /* all others, not decoded,
                                                   each with "&" appended: for
                                                   links */
    ngx_str_t                     bad;          /* name of the first invalid
                                                   one */
    ngx_str_t                     bad_page;     /* the same, of arguments of
                                                   lists */
    unsigned                      pretty:1;
    unsigned                      envelope:1;
    unsigned                      count:1;      /* includeCount */
} ngx_http_apikeys_args_t;


/* a call in progress; lives in r->pool */
struct ngx_http_apikeys_call_s {
    ngx_http_request_t           *request;
    ngx_http_apikeys_loc_conf_t  *conf;

    ngx_http_apikeys_ctx_t    *ctx;
    ngx_http_apikeys_identity_t   identity;     /* copy of that of ctx */
    ngx_http_apikeys_args_t       args;

    /* set with the route; the texts are slices of r->uri */
    const ngx_http_apikeys_route_t  *route;
    ngx_http_apikeys_right_e      right;        /* of this version of the API */
    ngx_str_t                     org;
    ngx_str_t                     project;
    ngx_str_t                     path_key;     /* id of an API key */
    ngx_str_t                     entry_text;   /* of an access list */
    ngx_str_t                     item;         /* the id of an event, or of
                                                   a global entry */
    ngx_str_t                     name;         /* of a project; of a team */
    ngx_apikeys_objectid_t        org_id;       /* also set if the path has a
                                                   project */
    ngx_apikeys_objectid_t        project_id;
    ngx_apikeys_objectid_t        key_id;
    ngx_apikeys_cidr_t            entry;        /* entry_text, parsed */

    uint32_t                      org_roles;    /* the caller needs one of
                                                   these */
    uint32_t                      project_roles; /* or one of these */
    ngx_http_apikeys_code_e       denied;       /* the error if it has none */

    ngx_apikeys_json_t           *body;         /* only while the route's
                                                   handler runs */
    void                         *data;         /* private to the resource */
    const ngx_http_apikeys_page_t  *page;       /* of a list */

    /* the refusal, set by ngx_http_apikeys_output_set_error() */
    ngx_http_apikeys_code_e       code;
    ngx_str_t                     params[2];

    /* set by or for ngx_http_apikeys_run() */
    ngx_apikeys_pg_query_t       *query;
    ngx_apikeys_pg_params_pt      make;         /* builds large parameters
                                                   when the query is sent, or
                                                   NULL; q->data is call */
    ngx_http_apikeys_handler_pt   done;
    const ngx_apikeys_pg_stmt_t  *reread;       /* selects by id what "done"
                                                   prints, if the result of
                                                   the mutation was too large
                                                   to be kept */
    ngx_str_t                     changed;      /* that id */
    ngx_http_apikeys_handler_pt   conflict;     /* if a unique value is taken,
                                                   or NULL */
    ngx_http_cleanup_t           *cleanup;
    ngx_http_apikeys_receipt_t   *receipt;
    ngx_apikeys_sync_publication_t  publication;

    unsigned                      operator:1;   /* the caller acts as the
                                                   operator: needs no role */
    unsigned                      self:1;       /* the key in the path is the
                                                   caller */
    unsigned                      by_role:1;   /* the caller has a required
                                                  role, or is the operator;
                                                  else it may only as "self" */
    unsigned                      whitelist:1;  /* the path has the old name
                                                   of the access list */
    unsigned                      committed:1;  /* a mutation was committed */
    unsigned                      assigned:1;   /* it assigned a key that was
                                                   not in the project */
    unsigned                      dropped:1;    /* its result was dropped */
    unsigned                      pending:1;    /* a receipt was requested,
                                                   but not all nodes have
                                                   applied the change: 202 */
};


#define ngx_http_apikeys_native(call)                                        \
    ((call)->conf->api == NGX_HTTP_APIKEYS_API_NATIVE)


#endif /* _NGX_HTTP_APIKEYS_CALL_H_INCLUDED_ */
