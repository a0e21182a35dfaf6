
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Runs a statement for a call: starts the query, publishes what it changed,
 * maps its errors, and finalizes the request once.
 */


#ifndef _NGX_HTTP_APIKEYS_RUN_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_RUN_H_INCLUDED_


#include <ngx_apikeys_state.h>
#include <ngx_http_apikeys_receipt.h>


/*
 * The beginning of the statement of a mutation; the call of its function
 * follows, then " s".  Its rows have the columns of apikeys.state, the id of
 * the transaction, the identity of the database, and the uuid of the node that
 * is alone; or, if the mutation was refused, the code and the detail of the
 * refusal.
 *
 * The setting keeps the triggers from sending the NOTIFY with the commit.  It
 * ends with the transaction.  PostgreSQL evaluates it first, as a single row
 * is the outer side of the join; after the function it would save nothing.
 */
#define NGX_HTTP_APIKEYS_RUN_MUTATION                                        \
    "SELECT " NGX_APIKEYS_STATE_CHANGED ", pg_current_xact_id(), "           \
    "(SELECT apikeys.identity()), (SELECT apikeys.only_node("                \
    NGX_HTTP_APIKEYS_RECEIPT_HEARD_TEXT ")), s.refusal, s.detail "           \
    "FROM set_config('apikeys.notify', 'deferred', true), apikeys."

/* the columns after those of apikeys.state */
enum {
    NGX_HTTP_APIKEYS_RUN_XID = NGX_APIKEYS_STATE_NEXT,
    NGX_HTTP_APIKEYS_RUN_IDENTITY,
    NGX_HTTP_APIKEYS_RUN_ONLY_NODE,
    NGX_HTTP_APIKEYS_RUN_REFUSAL,
    NGX_HTTP_APIKEYS_RUN_DETAIL
};


/* whether "name" begins with the prefix, case-insensitive */
#define NGX_HTTP_APIKEYS_RUN_PREFIX(prefix)                                  \
    "starts_with(lower(name COLLATE \"default\"),"                           \
    "            lower(" prefix " COLLATE \"default\"))"

/*
 * Starts a statement; "params" must live in r->pool.  NGX_AGAIN: "done" is
 * called when the statement has succeeded and, for a mutation, the zone has
 * the new state.  NGX_ERROR: it is not called.
 */
ngx_int_t ngx_http_apikeys_run(ngx_http_apikeys_call_t *call,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params,
    ngx_http_apikeys_handler_pt done);

/*
 * The first parameters of every mutation; those of its own follow, which the
 * files of the resources name next to the statement.
 */
enum {
    NGX_HTTP_APIKEYS_PARAM_CALLER = 0,      /* SQL NULL: the operator */
    NGX_HTTP_APIKEYS_PARAM_CALLER_SECRET,   /* its id */
    NGX_HTTP_APIKEYS_PARAM_CALLER_ADDRESS,

    /* the roles any of which entitles the caller; NULL: it is the key */
    NGX_HTTP_APIKEYS_PARAM_CALLER_ORG_ROLES,
    NGX_HTTP_APIKEYS_PARAM_CALLER_PROJECT_ROLES,

    NGX_HTTP_APIKEYS_PARAM_OWN
};

/*
 * The parameters of a mutation, as many as the statement has: those above
 * from call, with call->org_roles and call->project_roles, the others SQL
 * NULL.  NULL without memory.
 */
ngx_str_t *ngx_http_apikeys_run_params(ngx_http_apikeys_call_t *call,
    const ngx_apikeys_pg_stmt_t *stmt);

/* the id of the calling key as the parameter of a statement; NULL: no memory */
ngx_str_t *ngx_http_apikeys_run_caller(ngx_http_apikeys_call_t *call);

/* the roles of a mask as an array for PostgreSQL, "{A,B}"; empty: SQL NULL */
ngx_int_t ngx_http_apikeys_run_roles(ngx_pool_t *pool, ngx_str_t *param,
    ngx_apikeys_scope_e scope, uint32_t mask);

/*
 * finalizes the request by the return code of a step, unless it is NGX_AGAIN;
 * then "call" must not be used
 */
void ngx_http_apikeys_run_finish(ngx_http_apikeys_call_t *call, ngx_int_t rc);


#endif /* _NGX_HTTP_APIKEYS_RUN_H_INCLUDED_ */
