
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Runs a statement for an administration call: starts it, publishes what it
 * changed, maps its failures, answers, and ends the request once.
 */


#ifndef _NGX_HTTP_APIKEYS_RUN_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_RUN_H_INCLUDED_


#include <ngx_apikeys_state.h>
#include <ngx_http_apikeys.h>


/*
 * How the statement of a mutation begins; the call of its function follows,
 * and " s".  Its rows have the columns of apikeys.state, the transaction that
 * made the change, the database that it is a transaction of, and in place of
 * all that the code and the detail of a refusal.
 */
#define NGX_HTTP_APIKEYS_RUN_MUTATION                                        \
    "SELECT " NGX_APIKEYS_STATE_CHANGED ", pg_current_xact_id(), "           \
    "(SELECT apikeys.identity()), s.refusal, s.detail FROM apikeys."

/* the columns after those of apikeys.state */
enum {
    NGX_HTTP_APIKEYS_RUN_XID = NGX_APIKEYS_STATE_NEXT,
    NGX_HTTP_APIKEYS_RUN_IDENTITY,
    NGX_HTTP_APIKEYS_RUN_REFUSAL,
    NGX_HTTP_APIKEYS_RUN_DETAIL
};


/* whether the name begins so, in any case */
#define NGX_HTTP_APIKEYS_RUN_PREFIX(prefix)                                  \
    "starts_with(lower(name COLLATE \"default\"),"                           \
    "            lower(" prefix " COLLATE \"default\"))"

/*
 * Starts a statement; "params" must live in r->pool.  Returns NGX_AGAIN, then
 * "done" runs after it was answered with success (and, for a mutation, after
 * the zone has the new state); or NGX_DECLINED or NGX_ERROR, then it will not.
 */
ngx_int_t ngx_http_apikeys_run(ngx_http_apikeys_ctx_t *ctx,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params,
    ngx_http_apikeys_handler_pt done);

/*
 * The parameters of a mutation, "n" in all, SQL NULL but for the caller's
 * part: who it is, from where, and the roles that entitle it, which are
 * ctx->org_right and ctx->project_right, or none where it may as the key
 * itself.  NULL without memory.
 */
ngx_str_t *ngx_http_apikeys_run_params(ngx_http_apikeys_ctx_t *ctx,
    ngx_uint_t n);

/* "{A,B}" of a mask, an array for PostgreSQL; SQL NULL for an empty mask */
ngx_int_t ngx_http_apikeys_run_roles(ngx_pool_t *pool, ngx_str_t *param,
    ngx_apikeys_scope_e scope, uint32_t mask);

/* LIMIT and OFFSET of the page that was asked for */
ngx_int_t ngx_http_apikeys_run_page(ngx_http_apikeys_ctx_t *ctx,
    ngx_str_t params[2]);

/* ends the request with what a step returned; ctx must not be used after */
void ngx_http_apikeys_run_finish(ngx_http_apikeys_ctx_t *ctx, ngx_int_t rc);


#endif /* _NGX_HTTP_APIKEYS_RUN_H_INCLUDED_ */
