
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * One call has at most one query in flight.  Its cleanup hangs on the request
 * (ngx_http_cleanup_add), so a client that leaves cancels the query and the
 * publication; a mutation that was sent may still commit, and then the feed
 * brings it.  Every entry from the event loop ends in finish(), which runs
 * posted requests: nothing of the request is touched after that.
 */


#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_run.h>
#include <ngx_http_apikeys_wait.h>


/* bytes of a result that a request may hold while it waits */
#define NGX_HTTP_APIKEYS_RUN_KEPT      32768


/* what the parameters of an error document are taken from */
typedef enum {
    NGX_HTTP_APIKEYS_PARAM_NONE = 0,
    NGX_HTTP_APIKEYS_PARAM_ORG,
    NGX_HTTP_APIKEYS_PARAM_PROJECT,
    NGX_HTTP_APIKEYS_PARAM_KEY,
    NGX_HTTP_APIKEYS_PARAM_ADDRESS,     /* the entry in the path */
    NGX_HTTP_APIKEYS_PARAM_DETAIL       /* of the refusal */
} ngx_http_apikeys_param_e;


typedef struct {
    ngx_str_t                  name;
    ngx_http_apikeys_code_e    code;
    ngx_http_apikeys_param_e   params[2];
} ngx_http_apikeys_refusal_t;


typedef struct {
    char                       sqlstate[6];
    ngx_http_apikeys_code_e    code;
} ngx_http_apikeys_fault_t;


static void ngx_http_apikeys_run_done(ngx_apikeys_pg_query_t *q);
static void ngx_http_apikeys_run_published(void *data);
static void ngx_http_apikeys_run_wait(ngx_http_apikeys_ctx_t *ctx);
static void ngx_http_apikeys_run_drop(ngx_http_apikeys_ctx_t *ctx);
static void ngx_http_apikeys_run_waited(ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_run_failed(ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_run_refuse(ngx_http_apikeys_ctx_t *ctx,
    ngx_str_t *name);
static ngx_str_t *ngx_http_apikeys_run_param(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_param_e param);
static ngx_int_t ngx_http_apikeys_run_watch(ngx_http_apikeys_ctx_t *ctx);
static void ngx_http_apikeys_run_cleanup(void *data);


/* what the functions of sql/ refuse (apikeys.outcome) */
static const ngx_http_apikeys_refusal_t  ngx_http_apikeys_refusals[] = {

    { ngx_string("org_not_found"),
      NGX_HTTP_APIKEYS_ORG_NOT_FOUND,
      { NGX_HTTP_APIKEYS_PARAM_ORG, NGX_HTTP_APIKEYS_PARAM_NONE } },
    { ngx_string("project_not_found"),
      NGX_HTTP_APIKEYS_GROUP_NOT_FOUND,
      { NGX_HTTP_APIKEYS_PARAM_PROJECT, NGX_HTTP_APIKEYS_PARAM_NONE } },
    { ngx_string("key_not_found"),
      NGX_HTTP_APIKEYS_KEY_NOT_FOUND,
      { NGX_HTTP_APIKEYS_PARAM_KEY, NGX_HTTP_APIKEYS_PARAM_NONE } },
    { ngx_string("entry_not_found"),
      NGX_HTTP_APIKEYS_ENTRY_NOT_FOUND,
      { NGX_HTTP_APIKEYS_PARAM_ADDRESS, NGX_HTTP_APIKEYS_PARAM_KEY } },
    { ngx_string("max_keys"),
      NGX_HTTP_APIKEYS_MAX_KEYS,
      { NGX_HTTP_APIKEYS_PARAM_DETAIL, NGX_HTTP_APIKEYS_PARAM_ORG } },
    { ngx_string("max_projects"),
      NGX_HTTP_APIKEYS_MAX_PROJECTS,
      { NGX_HTTP_APIKEYS_PARAM_DETAIL, NGX_HTTP_APIKEYS_PARAM_ORG } },
    { ngx_string("max_assignments"),
      NGX_HTTP_APIKEYS_MAX_ASSIGNMENTS,
      { NGX_HTTP_APIKEYS_PARAM_DETAIL, NGX_HTTP_APIKEYS_PARAM_ORG } },
    { ngx_string("max_key_entries"),
      NGX_HTTP_APIKEYS_MAX_ENTRIES,
      { NGX_HTTP_APIKEYS_PARAM_DETAIL, NGX_HTTP_APIKEYS_PARAM_NONE } },
    { ngx_string("max_org_entries"),
      NGX_HTTP_APIKEYS_MAX_ORG_ENTRIES,
      { NGX_HTTP_APIKEYS_PARAM_DETAIL, NGX_HTTP_APIKEYS_PARAM_ORG } },
    { ngx_string("deletes_last_owner"),
      NGX_HTTP_APIKEYS_CANNOT_DELETE_LAST_OWNER,
      { NGX_HTTP_APIKEYS_PARAM_NONE, NGX_HTTP_APIKEYS_PARAM_NONE } },
    { ngx_string("demotes_last_owner"),
      NGX_HTTP_APIKEYS_CANNOT_DEMOTE_LAST_OWNER,
      { NGX_HTTP_APIKEYS_PARAM_NONE, NGX_HTTP_APIKEYS_PARAM_NONE } },
    { ngx_string("already_assigned"),
      NGX_HTTP_APIKEYS_ALREADY_IN_GROUP,
      { NGX_HTTP_APIKEYS_PARAM_NONE, NGX_HTTP_APIKEYS_PARAM_NONE } },
    { ngx_string("project_name_taken"),
      NGX_HTTP_APIKEYS_GROUP_EXISTS,
      { NGX_HTTP_APIKEYS_PARAM_DETAIL, NGX_HTTP_APIKEYS_PARAM_NONE } },
    { ngx_string("org_not_empty"),
      NGX_HTTP_APIKEYS_ORG_NOT_EMPTY,
      { NGX_HTTP_APIKEYS_PARAM_NONE, NGX_HTTP_APIKEYS_PARAM_NONE } },
    { ngx_string("max_global_keys"),
      NGX_HTTP_APIKEYS_MAX_GLOBAL_KEYS,
      { NGX_HTTP_APIKEYS_PARAM_DETAIL, NGX_HTTP_APIKEYS_PARAM_NONE } },
    { ngx_string("max_global_entries"),
      NGX_HTTP_APIKEYS_MAX_GLOBAL_ENTRIES,
      { NGX_HTTP_APIKEYS_PARAM_DETAIL, NGX_HTTP_APIKEYS_PARAM_NONE } },
    { ngx_string("global_entry_exists"),
      NGX_HTTP_APIKEYS_GLOBAL_ENTRY_EXISTS,
      { NGX_HTTP_APIKEYS_PARAM_DETAIL, NGX_HTTP_APIKEYS_PARAM_NONE } },
    { ngx_string("global_entry_not_found"),
      NGX_HTTP_APIKEYS_GLOBAL_ENTRY_NOT_FOUND,
      { NGX_HTTP_APIKEYS_PARAM_DETAIL, NGX_HTTP_APIKEYS_PARAM_NONE } },
    { ngx_string("entry_exists"),
      NGX_HTTP_APIKEYS_ADDRESS_EXISTS,
      { NGX_HTTP_APIKEYS_PARAM_DETAIL, NGX_HTTP_APIKEYS_PARAM_NONE } },
    { ngx_string("own_address"),
      NGX_HTTP_APIKEYS_CANNOT_REMOVE_CALLER,
      { NGX_HTTP_APIKEYS_PARAM_DETAIL, NGX_HTTP_APIKEYS_PARAM_NONE } },

    { ngx_null_string, 0, { 0, 0 } }
};


/* why PostgreSQL could not serve */
static const ngx_http_apikeys_fault_t  ngx_http_apikeys_faults[] = {

    /* read-only: an old primary, or a standby that was not promoted */
    { "25006", NGX_HTTP_APIKEYS_SERVICE_UNAVAILABLE },
    /* the server's own timeouts, cancellation, shutdown */
    { "55P03", NGX_HTTP_APIKEYS_SERVICE_UNAVAILABLE },
    { "57014", NGX_HTTP_APIKEYS_SERVICE_UNAVAILABLE },
    { "57P01", NGX_HTTP_APIKEYS_SERVICE_UNAVAILABLE },
    { "57P02", NGX_HTTP_APIKEYS_SERVICE_UNAVAILABLE },
    { "57P03", NGX_HTTP_APIKEYS_SERVICE_UNAVAILABLE },
    /* out of disk, memory, connections */
    { "53100", NGX_HTTP_APIKEYS_SERVICE_UNAVAILABLE },
    { "53200", NGX_HTTP_APIKEYS_SERVICE_UNAVAILABLE },
    { "53300", NGX_HTTP_APIKEYS_SERVICE_UNAVAILABLE },
    /* a deadlock or a serialization failure, for the second time */
    { "40001", NGX_HTTP_APIKEYS_SERVICE_UNAVAILABLE },
    { "40P01", NGX_HTTP_APIKEYS_SERVICE_UNAVAILABLE },

    { "", NGX_HTTP_APIKEYS_UNEXPECTED_ERROR }
};


ngx_int_t
ngx_http_apikeys_run(ngx_http_apikeys_ctx_t *ctx,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params,
    ngx_http_apikeys_handler_pt done)
{
    ngx_http_request_t            *r;
    ngx_apikeys_pg_query_t        *q;
    ngx_http_apikeys_main_conf_t  *amcf;

    r = ctx->request;
    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    if (ngx_http_apikeys_run_watch(ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    q = ngx_apikeys_pg_query_create(amcf->worker.pool, r->pool,
                                    r->connection->log);
    if (q == NULL) {
        return NGX_ERROR;
    }

    q->stmt = stmt;
    q->params = params;
    q->make = params ? NULL : ctx->make;
    q->handler = ngx_http_apikeys_run_done;
    q->data = ctx;

    if (!ctx->operator) {
        q->tenant = ctx->identity.org.data;
    }

    /* a mutation is answered after its publication, from its result */

    q->keep = stmt->write;
    ctx->publication.epoch = ngx_apikeys_store_epoch(amcf->store);

    ctx->query = q;
    ctx->done = done;

    if (ngx_apikeys_pg_query_start(q) != NGX_AGAIN) {
        ctx->query = NULL;
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


static void
ngx_http_apikeys_run_done(ngx_apikeys_pg_query_t *q)
{
    ngx_str_t                       refusal;
    ngx_connection_t               *c;
    ngx_http_request_t             *r;
    ngx_http_apikeys_ctx_t         *ctx;
    ngx_http_apikeys_main_conf_t   *amcf;
    ngx_apikeys_sync_publication_t *p;

    ctx = q->data;
    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (q->rc != NGX_APIKEYS_PG_OK) {
        ngx_http_apikeys_run_finish(ctx, ngx_http_apikeys_run_failed(ctx));
        ngx_http_run_posted_requests(c);
        return;
    }

    if (q->stmt->write) {

        if (ngx_apikeys_pg_query_value(q, 0, NGX_HTTP_APIKEYS_RUN_REFUSAL,
                                       &refusal)
            == NGX_OK)
        {
            ngx_http_apikeys_run_finish(ctx,
                                  ngx_http_apikeys_run_refuse(ctx, &refusal));
            ngx_http_run_posted_requests(c);
            return;
        }

        amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

        p = &ctx->publication;
        p->sync = amcf->worker.sync;
        p->handler = ngx_http_apikeys_run_published;
        p->data = ctx;

        if (ngx_apikeys_sync_publish(p, q) == NGX_OK) {
            ngx_http_apikeys_run_wait(ctx);
            ngx_http_run_posted_requests(c);
        }

        return;
    }

    ngx_http_apikeys_run_finish(ctx, ctx->done(ctx));
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_apikeys_run_published(void *data)
{
    ngx_connection_t        *c;
    ngx_http_apikeys_ctx_t  *ctx;

    ctx = data;
    c = ctx->request->connection;

    ngx_http_set_log_request(c->log, ctx->request);

    ngx_http_apikeys_run_wait(ctx);
    ngx_http_run_posted_requests(c);
}


/* this zone has the change; the others are waited for */

static void
ngx_http_apikeys_run_wait(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  xid, identity;

    ctx->committed = 1;

    if (ngx_apikeys_pg_query_value(ctx->query, 0, NGX_HTTP_APIKEYS_RUN_XID,
                                   &xid)
        != NGX_OK
        || ngx_apikeys_pg_query_value(ctx->query, 0,
                                      NGX_HTTP_APIKEYS_RUN_IDENTITY,
                                      &identity)
           != NGX_OK)
    {
        ngx_http_apikeys_run_waited(ctx);
        return;
    }

    if (ngx_http_apikeys_wait(ctx, &xid, &identity,
                              ngx_http_apikeys_run_waited)
        == NGX_OK)
    {
        ngx_http_apikeys_run_waited(ctx);
        return;
    }

    if (ngx_apikeys_pg_query_size(ctx->query) > NGX_HTTP_APIKEYS_RUN_KEPT) {
        ngx_http_apikeys_run_drop(ctx);
    }
}


/* the state of a key with long lists, which was published */

static void
ngx_http_apikeys_run_drop(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  id;

    (void) ngx_apikeys_pg_query_value(ctx->query, 0, NGX_APIKEYS_STATE_ID,
                                      &id);

    ctx->changed.data = ngx_pstrdup(ctx->request->pool, &id);

    if (ctx->changed.data) {
        ctx->changed.len = id.len;
        ctx->dropped = 1;

        ngx_apikeys_pg_query_cancel(ctx->query);
    }
}


/* a caller from the event loop runs posted requests */

static void
ngx_http_apikeys_run_waited(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = (ctx->dropped && ctx->reread)
         ? ngx_http_apikeys_run(ctx, ctx->reread, &ctx->changed, ctx->done)
         : ctx->done(ctx);

    ngx_http_apikeys_run_finish(ctx, rc);
}


static ngx_int_t
ngx_http_apikeys_run_failed(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_http_apikeys_handler_pt      conflict;
    const ngx_http_apikeys_fault_t  *fault;

    /* what was read for the answer of a mutation leaves it without one */

    if (ctx->query->rc != NGX_APIKEYS_PG_FAILED) {
        return ngx_http_apikeys_output_refuse(ctx,
                                      ctx->query->unknown || ctx->committed
                                      ? NGX_HTTP_APIKEYS_OUTCOME_UNKNOWN
                                      : NGX_HTTP_APIKEYS_SERVICE_UNAVAILABLE,
                                      NULL, NULL);
    }

    /* another transaction took the public key at the same moment */

    if (ctx->conflict && ngx_strcmp(ctx->query->sqlstate, "23505") == 0) {
        conflict = ctx->conflict;
        ctx->conflict = NULL;

        return conflict(ctx);
    }

    fault = ngx_http_apikeys_faults;

    for ( /* void */ ; fault->sqlstate[0]; fault++) {
        if (ngx_strcmp(fault->sqlstate, ctx->query->sqlstate) == 0) {
            break;
        }
    }

    ngx_log_error(NGX_LOG_ERR, ctx->request->connection->log, 0,
                  "apikeys: statement \"%s\" failed: %s %V",
                  ctx->query->stmt->name, ctx->query->sqlstate,
                  &ctx->query->message);

    return ngx_http_apikeys_output_refuse(ctx, fault->code, NULL, NULL);
}


static ngx_int_t
ngx_http_apikeys_run_refuse(ngx_http_apikeys_ctx_t *ctx, ngx_str_t *name)
{
    ngx_http_apikeys_handler_pt        conflict;
    const ngx_http_apikeys_refusal_t  *refusal;

    /* the calling key was deleted after it had authenticated */

    if (ngx_strcmp(name->data, "caller_gone") == 0) {
        return ngx_http_apikeys_output_unauthorized(ctx);
    }

    /* or lost its role */

    if (ngx_strcmp(name->data, "unauthorized") == 0) {
        return ngx_http_apikeys_output_refuse(ctx, ctx->refusal, NULL, NULL);
    }

    if (ctx->conflict && ngx_strcmp(name->data, "public_key_taken") == 0) {
        conflict = ctx->conflict;
        ctx->conflict = NULL;

        return conflict(ctx);
    }

    for (refusal = ngx_http_apikeys_refusals; refusal->name.len; refusal++) {

        if (ngx_strcmp(refusal->name.data, name->data) == 0) {
            return ngx_http_apikeys_output_refuse(ctx, refusal->code,
                        ngx_http_apikeys_run_param(ctx, refusal->params[0]),
                        ngx_http_apikeys_run_param(ctx, refusal->params[1]));
        }
    }

    ngx_log_error(NGX_LOG_ERR, ctx->request->connection->log, 0,
                  "apikeys: statement \"%s\" was refused by the database: %V",
                  ctx->query->stmt->name, name);

    return ngx_http_apikeys_output_refuse(ctx,
                                          NGX_HTTP_APIKEYS_UNEXPECTED_ERROR,
                                          NULL, NULL);
}


/* texts of the result are valid while ctx->query is */

static ngx_str_t *
ngx_http_apikeys_run_param(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_param_e param)
{
    u_char     *p;
    ngx_str_t  *detail;

    switch (param) {

    case NGX_HTTP_APIKEYS_PARAM_ORG:

        /* a path that names a project does not name its organization */

        if (ctx->org.len == 0) {
            p = ngx_pnalloc(ctx->request->pool,
                            NGX_APIKEYS_OBJECTID_TEXT_LEN);
            if (p == NULL) {
                return NULL;
            }

            ctx->org.data = p;
            ctx->org.len = ngx_apikeys_objectid_write(p, &ctx->org_id) - p;
        }

        return &ctx->org;

    case NGX_HTTP_APIKEYS_PARAM_PROJECT:
        return &ctx->project;

    case NGX_HTTP_APIKEYS_PARAM_KEY:
        return &ctx->key;

    case NGX_HTTP_APIKEYS_PARAM_ADDRESS:
        return &ctx->address;

    case NGX_HTTP_APIKEYS_PARAM_DETAIL:
        detail = ngx_palloc(ctx->request->pool, sizeof(ngx_str_t));

        if (detail) {
            (void) ngx_apikeys_pg_query_value(ctx->query, 0,
                                              NGX_HTTP_APIKEYS_RUN_DETAIL,
                                              detail);
        }

        return detail;

    default: /* NGX_HTTP_APIKEYS_PARAM_NONE */
        return NULL;
    }
}


void
ngx_http_apikeys_run_finish(ngx_http_apikeys_ctx_t *ctx, ngx_int_t rc)
{
    if (rc == NGX_AGAIN) {
        return;
    }

    if (rc == NGX_ERROR && !ctx->answered) {
        rc = ngx_http_apikeys_output_refuse(ctx,
                                            NGX_HTTP_APIKEYS_UNEXPECTED_ERROR,
                                            NULL, NULL);
    }

    if (rc == NGX_DECLINED) {
        rc = ngx_http_apikeys_output_refusal(ctx);
    }

    /* all of it that is sent was written into the answer */

    if (ctx->query) {
        ngx_apikeys_pg_query_cancel(ctx->query);
        ctx->query = NULL;
    }

    ngx_http_finalize_request(ctx->request, rc);
}


static ngx_int_t
ngx_http_apikeys_run_watch(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    if (ctx->cleanup) {
        return NGX_OK;
    }

    r = ctx->request;

    ctx->cleanup = ngx_http_cleanup_add(r, 0);
    if (ctx->cleanup == NULL) {
        return NGX_ERROR;
    }

    ctx->cleanup->handler = ngx_http_apikeys_run_cleanup;
    ctx->cleanup->data = ctx;

    /* a client that leaves is noticed while the database works */

    r->read_event_handler = ngx_http_test_reading;

    return NGX_OK;
}


static void
ngx_http_apikeys_run_cleanup(void *data)
{
    ngx_http_apikeys_ctx_t *ctx = data;

    /*
     * The query's own cleanup, of the request's pool, would be too late: a
     * request that a thread of nginx still works for, perhaps that of its
     * mirror, is freed only after that, and must not be resumed meanwhile.
     */

    if (ctx->query) {
        ngx_apikeys_pg_query_cancel(ctx->query);
        ctx->query = NULL;
    }

    ngx_apikeys_sync_publish_cancel(&ctx->publication);
    ngx_http_apikeys_wait_cancel(ctx);
}


ngx_str_t *
ngx_http_apikeys_run_params(ngx_http_apikeys_ctx_t *ctx, ngx_uint_t n)
{
    u_char      *p;
    ngx_str_t   *params;
    ngx_pool_t  *pool;

    pool = ctx->request->pool;

    params = ngx_pcalloc(pool, n * sizeof(ngx_str_t));
    p = ngx_pnalloc(pool, NGX_APIKEYS_OBJECTID_TEXT_LEN
                          + NGX_APIKEYS_CIDR_TEXT_LEN);

    if (params == NULL || p == NULL) {
        return NULL;
    }

    if (ctx->identity.address.family) {
        params[1].data = p;
        params[1].len = ngx_apikeys_cidr_write_address(p,
                                                      &ctx->identity.address)
                        - p;
        p += params[1].len;

    } else {
        ngx_str_set(&params[1], "unix:");
    }

    if (ctx->identity.operator) {
        return params;
    }

    params[0].data = p;
    params[0].len = ngx_apikeys_objectid_write(p, &ctx->identity.id) - p;

    if (ctx->entitled
        && (ngx_http_apikeys_run_roles(pool, &params[2],
                                       NGX_APIKEYS_SCOPE_ORG, ctx->org_right)
            != NGX_OK
            || ngx_http_apikeys_run_roles(pool, &params[3],
                                          NGX_APIKEYS_SCOPE_PROJECT,
                                          ctx->project_right)
               != NGX_OK))
    {
        return NULL;
    }

    return params;
}


ngx_int_t
ngx_http_apikeys_run_roles(ngx_pool_t *pool, ngx_str_t *param,
    ngx_apikeys_scope_e scope, uint32_t mask)
{
    u_char  *p;

    ngx_str_null(param);

    if (mask == 0) {
        return NGX_OK;
    }

    param->data = ngx_pnalloc(pool, NGX_APIKEYS_ROLES_TEXT_LEN + 2);
    if (param->data == NULL) {
        return NGX_ERROR;
    }

    p = param->data;

    *p++ = '{';
    p = ngx_apikeys_roles_write(p, scope, mask);
    *p++ = '}';

    param->len = p - param->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_apikeys_run_page(ngx_http_apikeys_ctx_t *ctx, ngx_str_t params[2])
{
    u_char      *p;
    ngx_uint_t   i;
    uint64_t     n[2];

    n[0] = ctx->args.items;
    n[1] = (uint64_t) (ctx->args.page - 1) * ctx->args.items;

    for (i = 0; i < 2; i++) {
        p = ngx_pnalloc(ctx->request->pool, NGX_INT64_LEN);
        if (p == NULL) {
            return NGX_ERROR;
        }

        params[i].data = p;
        params[i].len = ngx_sprintf(p, "%uL", n[i]) - p;
    }

    return NGX_OK;
}
