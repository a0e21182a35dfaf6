
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A call has at most one query in flight.  If the client disconnects, the
 * cleanup of the request (ngx_http_cleanup_add) cancels the query and the
 * publication; a mutation that was already sent may still commit, and then the
 * feed brings it.
 *
 * A mutation does not send a NOTIFY: the worker sends it after the commit,
 * also for a mutation whose outcome is unknown, or whose request has ended.
 *
 * Every entry point from the event loop ends with
 * ngx_http_apikeys_run_finish() followed by ngx_http_run_posted_requests(c):
 * the request may be freed by them and must not be touched afterwards.
 */


#include <ngx_apikeys_refusal.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_run.h>


/* bytes of a result that a request may hold while it waits for other nodes */
#define NGX_HTTP_APIKEYS_RUN_KEPT      32768


/* where a parameter of an error document comes from */
typedef enum {
    NGX_HTTP_APIKEYS_REFUSAL_NONE = 0,
    NGX_HTTP_APIKEYS_REFUSAL_ORG,
    NGX_HTTP_APIKEYS_REFUSAL_PROJECT,
    NGX_HTTP_APIKEYS_REFUSAL_KEY,
    NGX_HTTP_APIKEYS_REFUSAL_ADDRESS,   /* the entry in the path */
    NGX_HTTP_APIKEYS_REFUSAL_DETAIL     /* the column "detail" */
} ngx_http_apikeys_refusal_param_e;


typedef struct {
    ngx_str_t                         name;
    ngx_http_apikeys_code_e           code;
    ngx_http_apikeys_refusal_param_e  params[2];    /* of its document */
} ngx_http_apikeys_refusal_t;


typedef struct {
    char                       sqlstate[6];
    ngx_http_apikeys_code_e    code;
} ngx_http_apikeys_fault_t;


static void ngx_http_apikeys_run_done(ngx_apikeys_pg_query_t *q);
static void ngx_http_apikeys_run_published(void *data);
static void ngx_http_apikeys_run_wait(ngx_http_apikeys_call_t *call);
static void ngx_http_apikeys_run_drop(ngx_http_apikeys_call_t *call);
static void ngx_http_apikeys_run_waited(ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_run_failed(ngx_http_apikeys_call_t *call);
static void ngx_http_apikeys_run_unavailable(ngx_http_apikeys_call_t *call);
static const char *ngx_http_apikeys_run_hint(const char *sqlstate);
static ngx_int_t ngx_http_apikeys_run_map_error(ngx_http_apikeys_call_t *call,
    ngx_str_t *name);
static ngx_str_t *ngx_http_apikeys_run_param(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_refusal_param_e param);
static ngx_int_t ngx_http_apikeys_run_watch(ngx_http_apikeys_call_t *call);
static void ngx_http_apikeys_run_cleanup(void *data);


/* the refusals of the functions in sql/ (apikeys.outcome), as error codes */
static const ngx_http_apikeys_refusal_t  ngx_http_apikeys_refusals[] = {

    { .name = ngx_string("org_not_found"),
      .code = NGX_HTTP_APIKEYS_CODE_ORG_NOT_FOUND,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_ORG } },
    { .name = ngx_string("project_not_found"),
      .code = NGX_HTTP_APIKEYS_CODE_GROUP_NOT_FOUND,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_PROJECT } },
    { .name = ngx_string("key_not_found"),
      .code = NGX_HTTP_APIKEYS_CODE_KEY_NOT_FOUND,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_KEY } },
    { .name = ngx_string("entry_not_found"),
      .code = NGX_HTTP_APIKEYS_CODE_ENTRY_NOT_FOUND,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_ADDRESS,
                  NGX_HTTP_APIKEYS_REFUSAL_KEY } },
    { .name = ngx_string("secret_not_found"),
      .code = NGX_HTTP_APIKEYS_CODE_SECRET_NOT_FOUND,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_DETAIL,
                  NGX_HTTP_APIKEYS_REFUSAL_KEY } },
    { .name = ngx_string("max_secrets"),
      .code = NGX_HTTP_APIKEYS_CODE_MAX_SECRETS,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_KEY } },
    { .name = ngx_string("last_secret"),
      .code = NGX_HTTP_APIKEYS_CODE_CANNOT_DELETE_LAST_SECRET,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_KEY } },
    { .name = ngx_string("expires_in_past"),
      .code = NGX_HTTP_APIKEYS_CODE_INVALID_ATTRIBUTE,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_DETAIL } },
    { .name = ngx_string("max_keys"),
      .code = NGX_HTTP_APIKEYS_CODE_MAX_KEYS,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_DETAIL,
                  NGX_HTTP_APIKEYS_REFUSAL_ORG } },
    { .name = ngx_string("max_projects"),
      .code = NGX_HTTP_APIKEYS_CODE_MAX_PROJECTS,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_DETAIL,
                  NGX_HTTP_APIKEYS_REFUSAL_ORG } },
    { .name = ngx_string("max_assignments"),
      .code = NGX_HTTP_APIKEYS_CODE_MAX_ASSIGNMENTS,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_DETAIL,
                  NGX_HTTP_APIKEYS_REFUSAL_ORG } },
    { .name = ngx_string("max_key_entries"),
      .code = NGX_HTTP_APIKEYS_CODE_MAX_ENTRIES,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_DETAIL } },
    { .name = ngx_string("max_org_entries"),
      .code = NGX_HTTP_APIKEYS_CODE_MAX_ORG_ENTRIES,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_DETAIL,
                  NGX_HTTP_APIKEYS_REFUSAL_ORG } },
    { .name = ngx_string("deletes_last_owner"),
      .code = NGX_HTTP_APIKEYS_CODE_CANNOT_DELETE_LAST_OWNER },
    { .name = ngx_string("demotes_last_owner"),
      .code = NGX_HTTP_APIKEYS_CODE_CANNOT_DEMOTE_LAST_OWNER },
    { .name = ngx_string("already_assigned"),
      .code = NGX_HTTP_APIKEYS_CODE_ALREADY_IN_GROUP },
    { .name = ngx_string("project_name_taken"),
      .code = NGX_HTTP_APIKEYS_CODE_GROUP_EXISTS,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_DETAIL } },
    { .name = ngx_string("org_not_empty"),
      .code = NGX_HTTP_APIKEYS_CODE_ORG_NOT_EMPTY },
    { .name = ngx_string("max_global_keys"),
      .code = NGX_HTTP_APIKEYS_CODE_MAX_GLOBAL_KEYS,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_DETAIL } },
    { .name = ngx_string("max_global_entries"),
      .code = NGX_HTTP_APIKEYS_CODE_MAX_GLOBAL_ENTRIES,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_DETAIL } },
    { .name = ngx_string("global_entry_exists"),
      .code = NGX_HTTP_APIKEYS_CODE_GLOBAL_ENTRY_EXISTS,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_DETAIL } },
    { .name = ngx_string("global_entry_not_found"),
      .code = NGX_HTTP_APIKEYS_CODE_GLOBAL_ENTRY_NOT_FOUND,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_DETAIL } },
    { .name = ngx_string("entry_exists"),
      .code = NGX_HTTP_APIKEYS_CODE_ADDRESS_EXISTS,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_DETAIL } },
    { .name = ngx_string("own_address"),
      .code = NGX_HTTP_APIKEYS_CODE_CANNOT_REMOVE_CALLER,
      .params = { NGX_HTTP_APIKEYS_REFUSAL_DETAIL } },

    { .name = ngx_null_string }
};


/* the SQLSTATEs that are answered with 503 */
static const ngx_http_apikeys_fault_t  ngx_http_apikeys_faults[] = {

    /* read-only: an old primary, or a standby that was not promoted */
    { "25006", NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE },
    /* timeouts of the server, cancellation, shutdown */
    { "55P03", NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE },
    { "57014", NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE },
    { "57P01", NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE },
    { "57P02", NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE },
    { "57P03", NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE },
    /* out of disk, memory, connections */
    { "53100", NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE },
    { "53200", NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE },
    { "53300", NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE },
    /* deadlock or serialization failure: the pool has already retried once */
    { "40001", NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE },
    { "40P01", NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE },

    { "", NGX_HTTP_APIKEYS_CODE_UNEXPECTED_ERROR }
};


ngx_int_t
ngx_http_apikeys_run(ngx_http_apikeys_call_t *call,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params,
    ngx_http_apikeys_handler_pt done)
{
    ngx_http_request_t            *r;
    ngx_apikeys_pg_query_t        *q;
    ngx_http_apikeys_main_conf_t  *amcf;

    r = call->request;
    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    if (ngx_http_apikeys_run_watch(call) != NGX_OK) {
        return NGX_ERROR;
    }

    q = ngx_apikeys_pg_query_create(amcf->worker.pool, r->pool,
                                    r->connection->log);
    if (q == NULL) {
        return NGX_ERROR;
    }

    q->stmt = stmt;
    q->params = params;
    q->make = params ? NULL : call->make;
    q->handler = ngx_http_apikeys_run_done;
    q->data = call;

    if (!call->operator) {
        q->tenant = call->identity.org.data;
    }

    if (stmt->write) {
        q->abandoned = ngx_http_apikeys_receipts_notify;
        q->abandoned_data = amcf->worker.receipts;
    }

    /*
     * the result of a mutation is needed after its publication, for the
     * response
     */

    q->keep = stmt->write;
    call->publication.generation = ngx_apikeys_store_generation(amcf->store);

    call->query = q;
    call->done = done;

    if (ngx_apikeys_pg_query_start(q) != NGX_AGAIN) {
        call->query = NULL;
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


static void
ngx_http_apikeys_run_done(ngx_apikeys_pg_query_t *q)
{
    ngx_str_t                        refusal;
    ngx_connection_t                *c;
    ngx_http_request_t              *r;
    ngx_http_apikeys_call_t         *call;
    ngx_http_apikeys_main_conf_t    *amcf;
    ngx_apikeys_sync_publication_t  *p;

    call = q->data;
    r = call->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    if (q->rc != NGX_APIKEYS_PG_OK) {

        if (q->unknown) {
            ngx_http_apikeys_receipts_notify(amcf->worker.receipts);
        }

        ngx_http_apikeys_run_finish(call, ngx_http_apikeys_run_failed(call));
        ngx_http_run_posted_requests(c);
        return;
    }

    if (q->stmt->write) {

        if (ngx_apikeys_pg_query_value(q, 0, NGX_HTTP_APIKEYS_RUN_REFUSAL,
                                       &refusal)
            == NGX_OK)
        {
            ngx_http_apikeys_run_finish(call,
                               ngx_http_apikeys_run_map_error(call, &refusal));
            ngx_http_run_posted_requests(c);
            return;
        }

        ngx_http_apikeys_receipts_notify(amcf->worker.receipts);

        p = &call->publication;
        p->sync = amcf->worker.sync;
        p->handler = ngx_http_apikeys_run_published;
        p->data = call;

        if (ngx_apikeys_sync_publish(p, q) == NGX_OK) {
            ngx_http_apikeys_run_wait(call);
            ngx_http_run_posted_requests(c);
        }

        return;
    }

    ngx_http_apikeys_run_finish(call, call->done(call));
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_apikeys_run_published(void *data)
{
    ngx_connection_t         *c;
    ngx_http_apikeys_call_t  *call;

    call = data;
    c = call->request->connection;

    ngx_http_set_log_request(c->log, call->request);

    ngx_http_apikeys_run_wait(call);
    ngx_http_run_posted_requests(c);
}


/* this zone has the change: waits for the other nodes */

static void
ngx_http_apikeys_run_wait(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  xid, identity, only, detail;

    call->committed = 1;
    call->assigned = (ngx_apikeys_pg_query_value(call->query, 0,
                                                 NGX_HTTP_APIKEYS_RUN_DETAIL,
                                                 &detail)
                      == NGX_OK);

    if (ngx_apikeys_pg_query_value(call->query, 0, NGX_HTTP_APIKEYS_RUN_XID,
                                   &xid)
        != NGX_OK
        || ngx_apikeys_pg_query_value(call->query, 0,
                                      NGX_HTTP_APIKEYS_RUN_IDENTITY,
                                      &identity)
           != NGX_OK)
    {
        ngx_http_apikeys_run_waited(call);
        return;
    }

    (void) ngx_apikeys_pg_query_value(call->query, 0,
                                      NGX_HTTP_APIKEYS_RUN_ONLY_NODE, &only);

    if (ngx_http_apikeys_receipt_wait(call, &xid, &identity, &only,
                                      ngx_http_apikeys_run_waited)
        == NGX_OK)
    {
        ngx_http_apikeys_run_waited(call);
        return;
    }

    if (ngx_apikeys_pg_query_size(call->query) > NGX_HTTP_APIKEYS_RUN_KEPT) {
        ngx_http_apikeys_run_drop(call);
    }
}


/*
 * Frees a large result (a key with long lists).  If "done" prints the result,
 * the handler must have set "reread", which selects it again; without "reread"
 * the step "done" finds an empty result.
 */

static void
ngx_http_apikeys_run_drop(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  id;

    (void) ngx_apikeys_pg_query_value(call->query, 0, NGX_APIKEYS_STATE_ID,
                                      &id);

    call->changed.data = ngx_pstrdup(call->request->pool, &id);

    if (call->changed.data) {
        call->changed.len = id.len;
        call->dropped = 1;

        ngx_apikeys_pg_query_cancel(call->query);
    }
}


/* the caller must run posted requests */

static void
ngx_http_apikeys_run_waited(ngx_http_apikeys_call_t *call)
{
    ngx_int_t  rc;

    rc = (call->dropped && call->reread)
         ? ngx_http_apikeys_run(call, call->reread, &call->changed, call->done)
         : call->done(call);

    ngx_http_apikeys_run_finish(call, rc);
}


static ngx_int_t
ngx_http_apikeys_run_failed(ngx_http_apikeys_call_t *call)
{
    ngx_http_apikeys_handler_pt      conflict;
    const ngx_http_apikeys_fault_t  *fault;

    /*
     * if the query that reads the response of a committed mutation fails, too
     */

    if (call->query->rc != NGX_APIKEYS_PG_FAILED) {
        ngx_http_apikeys_run_unavailable(call);

        return ngx_http_apikeys_output_set_error(call,
                                  call->query->unknown || call->committed
                                  ? NGX_HTTP_APIKEYS_CODE_OUTCOME_UNKNOWN
                                  : NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE,
                                  NULL, NULL);
    }

    /*
     * a concurrent transaction took the public key, or the name of a project
     */

    if (call->conflict && ngx_strcmp(call->query->sqlstate, "23505") == 0) {
        conflict = call->conflict;
        call->conflict = NULL;

        return conflict(call);
    }

    fault = ngx_http_apikeys_faults;

    for ( /* void */ ; fault->sqlstate[0]; fault++) {
        if (ngx_strcmp(fault->sqlstate, call->query->sqlstate) == 0) {
            break;
        }
    }

    if (fault->sqlstate[0]) {
        ngx_http_apikeys_run_unavailable(call);

    } else {
        ngx_log_error(NGX_LOG_ERR, call->request->connection->log, 0,
                      "apikeys: statement \"%s\" failed: %s %V%s",
                      call->query->stmt->name, call->query->sqlstate,
                      &call->query->message,
                      ngx_http_apikeys_run_hint(call->query->sqlstate));
    }

    return ngx_http_apikeys_output_set_error(call, fault->code, NULL, NULL);
}


/* logs the reason of a 503 */

static void
ngx_http_apikeys_run_unavailable(ngx_http_apikeys_call_t *call)
{
    u_char                         buf[NGX_MAX_ERROR_STR / 4];
    ngx_str_t                      reason;
    ngx_apikeys_failure_e          kind;
    ngx_apikeys_pg_query_t        *q;
    ngx_http_apikeys_main_conf_t  *amcf;

    q = call->query;

    switch (q->rc) {

    case NGX_APIKEYS_PG_BUSY:
        kind = NGX_APIKEYS_FAILURE_QUEUE;
        break;

    case NGX_APIKEYS_PG_TIMEOUT:
        kind = NGX_APIKEYS_FAILURE_TIMEOUT;
        break;

    case NGX_APIKEYS_PG_FAILED:
        kind = NGX_APIKEYS_FAILURE_STATEMENT;
        break;

    default: /* NGX_APIKEYS_PG_UNAVAILABLE, NGX_APIKEYS_PG_LOST */
        kind = NGX_APIKEYS_FAILURE_CONNECTION;
    }

    reason.data = buf;
    reason.len = ngx_snprintf(buf, sizeof(buf),
                              "statement \"%s\" failed: %s%s%V",
                              q->stmt->name, q->sqlstate,
                              q->sqlstate[0] ? " " : "", &q->message)
                 - buf;

    amcf = ngx_http_get_module_main_conf(call->request,
                                         ngx_http_apikeys_module);

    ngx_apikeys_refusal(amcf->store, kind, &reason,
                        call->request->connection->log);
}


static const char *
ngx_http_apikeys_run_hint(const char *sqlstate)
{
    if (ngx_strcmp(sqlstate, "42501") == 0) {
        return ", run sql/grants.sql";
    }

    /* no such function or table */

    if (ngx_strcmp(sqlstate, "42883") == 0
        || ngx_strcmp(sqlstate, "42P01") == 0)
    {
        return ", run sql/apply.sh and sql/grants.sql";
    }

    return "";
}


static ngx_int_t
ngx_http_apikeys_run_map_error(ngx_http_apikeys_call_t *call, ngx_str_t *name)
{
    ngx_http_apikeys_handler_pt        conflict;
    const ngx_http_apikeys_refusal_t  *refusal;

    /* the calling key was deleted after it had authenticated */

    if (ngx_strcmp(name->data, "caller_gone") == 0) {
        return ngx_http_apikeys_output_unauthorized(call);
    }

    /* or lost its role */

    if (ngx_strcmp(name->data, "unauthorized") == 0) {
        return ngx_http_apikeys_output_set_error(call, call->denied, NULL,
                                                 NULL);
    }

    if (call->conflict && ngx_strcmp(name->data, "public_key_taken") == 0) {
        conflict = call->conflict;
        call->conflict = NULL;

        return conflict(call);
    }

    for (refusal = ngx_http_apikeys_refusals; refusal->name.len; refusal++) {

        if (ngx_strcmp(refusal->name.data, name->data) == 0) {
            return ngx_http_apikeys_output_set_error(call, refusal->code,
                        ngx_http_apikeys_run_param(call, refusal->params[0]),
                        ngx_http_apikeys_run_param(call, refusal->params[1]));
        }
    }

    ngx_log_error(NGX_LOG_ERR, call->request->connection->log, 0,
                  "apikeys: internal error: unknown refusal of statement "
                  "\"%s\" by the database: %V, please report",
                  call->query->stmt->name, name);

    return ngx_http_apikeys_output_set_error(call,
                                        NGX_HTTP_APIKEYS_CODE_UNEXPECTED_ERROR,
                                        NULL, NULL);
}


/* texts of the result are valid as long as call->query */

static ngx_str_t *
ngx_http_apikeys_run_param(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_refusal_param_e param)
{
    u_char     *p;
    ngx_str_t  *detail;

    switch (param) {

    case NGX_HTTP_APIKEYS_REFUSAL_ORG:

        /* a path that names a project does not name its organization */

        if (call->org.len == 0) {
            p = ngx_pnalloc(call->request->pool,
                            NGX_APIKEYS_OBJECTID_TEXT_LEN);
            if (p == NULL) {
                return NULL;
            }

            call->org.data = p;
            call->org.len = ngx_apikeys_objectid_write(p, &call->org_id) - p;
        }

        return &call->org;

    case NGX_HTTP_APIKEYS_REFUSAL_PROJECT:
        return &call->project;

    case NGX_HTTP_APIKEYS_REFUSAL_KEY:
        return &call->path_key;

    case NGX_HTTP_APIKEYS_REFUSAL_ADDRESS:
        return &call->entry_text;

    case NGX_HTTP_APIKEYS_REFUSAL_DETAIL:
        detail = ngx_palloc(call->request->pool, sizeof(ngx_str_t));

        if (detail) {
            (void) ngx_apikeys_pg_query_value(call->query, 0,
                                              NGX_HTTP_APIKEYS_RUN_DETAIL,
                                              detail);
        }

        return detail;

    default: /* NGX_HTTP_APIKEYS_REFUSAL_NONE */
        return NULL;
    }
}


void
ngx_http_apikeys_run_finish(ngx_http_apikeys_call_t *call, ngx_int_t rc)
{
    if (rc == NGX_AGAIN) {
        return;
    }

    if (rc == NGX_ERROR && !call->ctx->answered) {
        rc = ngx_http_apikeys_output_set_error(call,
                                        NGX_HTTP_APIKEYS_CODE_UNEXPECTED_ERROR,
                                        NULL, NULL);
    }

    if (rc == NGX_DECLINED) {
        rc = ngx_http_apikeys_output_send_error(call);
    }

    /* the response has copies of all it needs from the result */

    if (call->query) {
        ngx_apikeys_pg_query_cancel(call->query);
        call->query = NULL;
    }

    ngx_http_finalize_request(call->request, rc);
}


static ngx_int_t
ngx_http_apikeys_run_watch(ngx_http_apikeys_call_t *call)
{
    ngx_http_request_t  *r;

    if (call->cleanup) {
        return NGX_OK;
    }

    r = call->request;

    call->cleanup = ngx_http_cleanup_add(r, 0);
    if (call->cleanup == NULL) {
        return NGX_ERROR;
    }

    call->cleanup->handler = ngx_http_apikeys_run_cleanup;
    call->cleanup->data = call;

    /* detects a client that disconnects during the query */

    r->read_event_handler = ngx_http_test_reading;

    return NGX_OK;
}


static void
ngx_http_apikeys_run_cleanup(void *data)
{
    ngx_http_apikeys_call_t *call = data;

    /*
     * The cleanup of the pool would be too late: a request with a pending
     * thread task or mirror subrequest is freed later, and the query must not
     * resume it in between.
     */

    if (call->query) {
        ngx_apikeys_pg_query_cancel(call->query);
        call->query = NULL;
    }

    ngx_apikeys_sync_publish_cancel(&call->publication);
    ngx_http_apikeys_receipt_cancel(call);
}


ngx_str_t *
ngx_http_apikeys_run_params(ngx_http_apikeys_call_t *call,
    const ngx_apikeys_pg_stmt_t *stmt)
{
    u_char      *p;
    ngx_str_t   *params, *id, *secret, *address;
    ngx_pool_t  *pool;

    pool = call->request->pool;

    params = ngx_pcalloc(pool, stmt->nparams * sizeof(ngx_str_t));
    p = ngx_pnalloc(pool, 2 * NGX_APIKEYS_OBJECTID_TEXT_LEN
                          + NGX_APIKEYS_CIDR_TEXT_LEN);

    if (params == NULL || p == NULL) {
        return NULL;
    }

    id = &params[NGX_HTTP_APIKEYS_PARAM_CALLER];
    secret = &params[NGX_HTTP_APIKEYS_PARAM_CALLER_SECRET];
    address = &params[NGX_HTTP_APIKEYS_PARAM_CALLER_ADDRESS];

    if (call->identity.address.family) {
        address->data = p;
        p = ngx_apikeys_cidr_write_address(p, &call->identity.address);
        address->len = p - address->data;

    } else {
        ngx_str_set(address, "unix:");
    }

    if (call->identity.operator) {
        return params;
    }

    id->data = p;
    p = ngx_apikeys_objectid_write(p, &call->identity.id);
    id->len = p - id->data;

    secret->data = p;
    p = ngx_apikeys_objectid_write(p, &call->identity.secret_id);
    secret->len = p - secret->data;

    if (call->by_role
        && (ngx_http_apikeys_run_roles(pool,
                            &params[NGX_HTTP_APIKEYS_PARAM_CALLER_ORG_ROLES],
                            NGX_APIKEYS_SCOPE_ORG, call->org_roles)
            != NGX_OK
            || ngx_http_apikeys_run_roles(pool,
                         &params[NGX_HTTP_APIKEYS_PARAM_CALLER_PROJECT_ROLES],
                         NGX_APIKEYS_SCOPE_PROJECT, call->project_roles)
               != NGX_OK))
    {
        return NULL;
    }

    return params;
}


ngx_str_t *
ngx_http_apikeys_run_caller(ngx_http_apikeys_call_t *call)
{
    u_char     *p;
    ngx_str_t  *id;

    id = ngx_palloc(call->request->pool, sizeof(ngx_str_t));
    p = ngx_pnalloc(call->request->pool, NGX_APIKEYS_OBJECTID_TEXT_LEN);

    if (id == NULL || p == NULL) {
        return NULL;
    }

    id->data = p;
    id->len = ngx_apikeys_objectid_write(p, &call->identity.id) - p;

    return id;
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
