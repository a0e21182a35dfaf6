
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The steps of a call: authenticate, find the route, check in the order of
 * docs/compatibility.md D10, read the body, run the handler of the route.  The
 * content handler authenticates by itself: it never assumes that the access
 * phase ran.
 */


#include <ngx_http_apikeys_accept.h>
#include <ngx_http_apikeys_api.h>
#include <ngx_http_apikeys_args.h>
#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_ctx.h>
#include <ngx_http_apikeys_routes.h>
#include <ngx_http_apikeys_run.h>


static ngx_http_apikeys_call_t *ngx_http_apikeys_api_create_call(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf);
static ngx_int_t ngx_http_apikeys_api_check(ngx_http_apikeys_call_t *call);
static void ngx_http_apikeys_api_record_decision(ngx_http_apikeys_call_t *call,
    ngx_int_t rc);
static ngx_int_t ngx_http_apikeys_api_identify(ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_api_media(ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_api_path(ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_api_id(ngx_http_apikeys_call_t *call,
    ngx_str_t *text, ngx_apikeys_objectid_t *id);
static ngx_int_t ngx_http_apikeys_api_query(ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_api_authorize(ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_api_check_org(ngx_http_apikeys_call_t *call,
    ngx_apikeys_store_t *st);
static ngx_int_t ngx_http_apikeys_api_check_role(ngx_http_apikeys_call_t *call,
    ngx_apikeys_store_t *st);
static ngx_int_t ngx_http_apikeys_api_check_global_role(
    ngx_http_apikeys_call_t *call, uint32_t roles);
static ngx_int_t ngx_http_apikeys_api_check_path_key(
    ngx_http_apikeys_call_t *call, ngx_apikeys_store_t *st);
static void ngx_http_apikeys_api_body_handler(ngx_http_request_t *r);


ngx_int_t
ngx_http_apikeys_api_handler(ngx_http_request_t *r)
{
    ngx_int_t                        rc;
    ngx_http_apikeys_call_t         *call;
    ngx_http_apikeys_loc_conf_t     *alcf;
    const ngx_http_apikeys_route_t  *route;

    if (r != r->main) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "apikeys: administration API at \"%V\" refuses "
                      "subrequests", &r->uri);
        return NGX_HTTP_FORBIDDEN;
    }

    /*
     * docs/compatibility.md D96: nginx checks preconditions in the header
     * filter, after a change was made.
     */

    r->disable_not_modified = 1;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_apikeys_module);

    call = ngx_http_apikeys_api_create_call(r, alcf);
    if (call == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_apikeys_api_check(call);

    ngx_http_apikeys_api_record_decision(call, rc);

    if (rc == NGX_DECLINED) {
        return ngx_http_apikeys_output_send_error(call);
    }

    if (rc == NGX_HTTP_UNAUTHORIZED) {
        return ngx_http_apikeys_output_unauthorized(call);
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    route = call->route;

    if (route->body) {
        r->request_body_in_single_buf = 1;

        rc = ngx_http_read_client_request_body(r,
                                           ngx_http_apikeys_api_body_handler);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            return rc;
        }

        return NGX_DONE;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    r->main->count++;

    ngx_http_apikeys_run_finish(call, route->handler(call));

    return NGX_DONE;
}


static ngx_http_apikeys_call_t *
ngx_http_apikeys_api_create_call(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf)
{
    ngx_http_apikeys_ctx_t   *ctx;
    ngx_http_apikeys_call_t  *call;

    ctx = ngx_http_apikeys_ctx_get(r);
    call = ngx_pcalloc(r->pool, sizeof(ngx_http_apikeys_call_t));

    if (ctx == NULL || call == NULL) {
        return NULL;
    }

    call->request = r;
    call->conf = alcf;
    call->ctx = ctx;

    if (ngx_http_apikeys_args_parse(r, &call->args) != NGX_OK) {
        return NULL;
    }

    ctx->call = call;

    return call;
}


/*
 * NGX_OK; NGX_DECLINED, refused with an error document;
 * NGX_HTTP_UNAUTHORIZED, no valid credential; NGX_ERROR.  Everything here is
 * decided from the local copy.
 */

static ngx_int_t
ngx_http_apikeys_api_check(ngx_http_apikeys_call_t *call)
{
    ngx_int_t    rc;
    ngx_uint_t   i;

    static const ngx_http_apikeys_handler_pt  checks[] = {
        ngx_http_apikeys_api_identify,
        ngx_http_apikeys_routes_find,
        ngx_http_apikeys_api_media,
        ngx_http_apikeys_api_path,
        ngx_http_apikeys_api_query,
        ngx_http_apikeys_api_authorize
    };

    for (i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        rc = checks[i](call);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


/*
 * Records the decision on the call.  A refusal with 401 is recorded as ROLE,
 * so that it does not count as a use of the access list entry.
 */

static void
ngx_http_apikeys_api_record_decision(ngx_http_apikeys_call_t *call,
    ngx_int_t rc)
{
    ngx_http_apikeys_ctx_t       *ctx;
    ngx_http_apikeys_decision_e   decision;

    ctx = ngx_http_apikeys_ctx_get(call->request);
    decision = ctx->identity_decision;

    if (decision == NGX_HTTP_APIKEYS_DECISION_ALLOW && rc == NGX_DECLINED
        && ngx_http_apikeys_code(call->code)->status == NGX_HTTP_UNAUTHORIZED)
    {
        decision = NGX_HTTP_APIKEYS_DECISION_ROLE;
    }

    ngx_http_apikeys_ctx_decide(ctx, call->request, call->conf,
                                decision);
}


static ngx_int_t
ngx_http_apikeys_api_identify(ngx_http_apikeys_call_t *call)
{
    u_char                        text[NGX_APIKEYS_CIDR_TEXT_LEN];
    ngx_str_t                    *addr, copy;
    ngx_http_apikeys_ctx_t       *ctx;
    ngx_http_apikeys_decision_e   decision;

    ctx = ngx_http_apikeys_ctx_get(call->request);

    decision = ngx_http_apikeys_ctx_identify(ctx, call->request,
                                             call->conf);
    call->identity = ctx->identity;

    switch (decision) {

    case NGX_HTTP_APIKEYS_DECISION_ALLOW:
        return NGX_OK;

    case NGX_HTTP_APIKEYS_DECISION_ADDRESS:
    case NGX_HTTP_APIKEYS_DECISION_NO_ACCESS_LIST:

        /* an IPv4-mapped IPv6 address is shown as IPv4 */

        if (call->identity.global) {
            return ngx_http_apikeys_output_set_error(call,
                                          NGX_HTTP_APIKEYS_CODE_GLOBAL_ADDRESS,
                                          NULL, NULL);
        }

        addr = &call->request->connection->addr_text;

        if (call->identity.address.family) {
            copy.data = text;
            copy.len = ngx_apikeys_cidr_write_address(text,
                                                      &call->identity.address)
                       - text;
            addr = &copy;
        }

        copy.len = addr->len;
        copy.data = ngx_pstrdup(call->request->pool, addr);
        if (copy.data == NULL) {
            return NGX_ERROR;
        }

        return ngx_http_apikeys_output_set_error(call,
                               decision == NGX_HTTP_APIKEYS_DECISION_ADDRESS
                               ? NGX_HTTP_APIKEYS_CODE_ADDRESS_NOT_ON_LIST
                               : NGX_HTTP_APIKEYS_CODE_ORG_REQUIRES_LIST,
                               &copy, NULL);

    case NGX_HTTP_APIKEYS_DECISION_NOT_LOADED:
    case NGX_HTTP_APIKEYS_DECISION_STALE_COPY:
        return ngx_http_apikeys_output_set_error(call,
                                     NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE,
                                     NULL, NULL);

    case NGX_HTTP_APIKEYS_DECISION_ERROR:
        return NGX_ERROR;

    default:
        return NGX_HTTP_UNAUTHORIZED;
    }
}


static ngx_int_t
ngx_http_apikeys_api_media(ngx_http_apikeys_call_t *call)
{
    ngx_http_request_t              *r;
    const ngx_http_apikeys_route_t  *route;

    r = call->request;
    route = call->route;

    /* the root resource is not versioned */

    if (call->conf->api == NGX_HTTP_APIKEYS_API_ATLAS_V2
        && r->uri.len > call->conf->base.len + 1
        && !ngx_http_apikeys_accept_version(r))
    {
        return ngx_http_apikeys_output_set_error(call,
                                          NGX_HTTP_APIKEYS_CODE_NOT_ACCEPTABLE,
                                          NULL, NULL);
    }

    if (route->body
        && !ngx_http_apikeys_accept_body(r, !ngx_http_apikeys_native(call)))
    {
        return ngx_http_apikeys_output_set_error(call,
                                  NGX_HTTP_APIKEYS_CODE_UNSUPPORTED_MEDIA_TYPE,
                                  &r->headers_in.content_type->value,
                                  NULL);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_api_path(ngx_http_apikeys_call_t *call)
{
    u_char                  *p, *slash, *last;
    ngx_int_t                rc;
    ngx_apikeys_objectid_t   item;

    if (ngx_http_apikeys_api_id(call, &call->org, &call->org_id) != NGX_OK
        || ngx_http_apikeys_api_id(call, &call->project, &call->project_id)
           != NGX_OK
        || ngx_http_apikeys_api_id(call, &call->path_key, &call->key_id)
           != NGX_OK
        || ngx_http_apikeys_api_id(call, &call->item, &item) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (call->entry_text.len == 0) {
        return NGX_OK;
    }

    last = call->entry_text.data + call->entry_text.len;
    slash = ngx_strlchr(call->entry_text.data, last, '/');

    rc = slash ? ngx_apikeys_cidr_parse_block(&call->entry, &call->entry_text)
             : ngx_apikeys_cidr_parse_address(&call->entry, &call->entry_text);

    if (rc != NGX_OK) {
        return ngx_http_apikeys_output_set_error(call,
                                         NGX_HTTP_APIKEYS_CODE_INVALID_ADDRESS,
                                         &call->entry_text, NULL);
    }

    /* the canonical form of the address replaces that of the path */

    p = ngx_pnalloc(call->request->pool, NGX_APIKEYS_CIDR_TEXT_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    last = ngx_apikeys_cidr_single(&call->entry)
           ? ngx_apikeys_cidr_write_address(p, &call->entry)
           : ngx_apikeys_cidr_write_block(p, &call->entry);

    call->entry_text.data = p;
    call->entry_text.len = last - p;

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_api_id(ngx_http_apikeys_call_t *call, ngx_str_t *text,
    ngx_apikeys_objectid_t *id)
{
    if (text->len == 0 || ngx_apikeys_objectid_parse(id, text) == NGX_OK) {
        return NGX_OK;
    }

    return ngx_http_apikeys_output_set_error(call,
                                  NGX_HTTP_APIKEYS_CODE_PATH_PARAM_PARSE_ERROR,
                                  &call->request->uri, NULL);
}


static ngx_int_t
ngx_http_apikeys_api_query(ngx_http_apikeys_call_t *call)
{
    ngx_str_t                       *bad;
    const ngx_http_apikeys_route_t  *route;

    route = call->route;

    if (call->args.bad.len) {
        bad = &call->args.bad;

    } else if (route->paginated && call->args.bad_page.len) {
        bad = &call->args.bad_page;

    } else {
        return route->query ? route->query(call) : NGX_OK;
    }

    return ngx_http_apikeys_output_set_error(call,
                                 NGX_HTTP_APIKEYS_CODE_INVALID_QUERY_PARAMETER,
                                 bad, NULL);
}


static ngx_int_t
ngx_http_apikeys_api_authorize(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                      rc;
    ngx_str_t                      none;
    ngx_apikeys_store_t           *st;
    ngx_http_apikeys_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(call->request,
                                         ngx_http_apikeys_module);
    st = amcf->store;

    ngx_apikeys_store_read_begin(st);

    rc = ngx_http_apikeys_api_check_org(call, st);

    if (rc == NGX_OK) {
        rc = ngx_http_apikeys_api_check_role(call, st);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_apikeys_api_check_path_key(call, st);
    }

    ngx_apikeys_store_read_end(st);

    if (rc == NGX_BUSY) {
        ngx_str_null(&none);
        ngx_http_apikeys_ctx_not_loaded(call->request, &none);

        return ngx_http_apikeys_output_set_error(call,
                                     NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE,
                                     NULL, NULL);
    }

    return rc;
}


/*
 * An organization or project that does not exist and one of another
 * organization get the same error.
 */

static ngx_int_t
ngx_http_apikeys_api_check_org(ngx_http_apikeys_call_t *call,
    ngx_apikeys_store_t *st)
{
    ngx_int_t                    rc;
    ngx_str_t                   *id;
    ngx_http_apikeys_code_e      code;
    ngx_apikeys_store_org_t      org;
    ngx_apikeys_store_project_t  project;

    if (call->project.len) {
        id = &call->project;
        code = NGX_HTTP_APIKEYS_CODE_GROUP_NOT_FOUND;

        rc = ngx_apikeys_store_project(st, &call->project_id, &project);

        if (rc == NGX_OK) {
            call->org_id = project.org;
        }

    } else if (call->org.len) {
        id = &call->org;
        code = NGX_HTTP_APIKEYS_CODE_ORG_NOT_FOUND;

        rc = ngx_apikeys_store_org(st, &call->org_id, &org);

    } else {
        return NGX_OK;
    }

    if (rc == NGX_OK
        && !call->identity.operator
        && !call->identity.global
        && ngx_memcmp(&call->org_id, &call->identity.org,
                      sizeof(ngx_apikeys_objectid_t))
           != 0)
    {
        rc = NGX_DECLINED;
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_apikeys_output_set_error(call, code, id, NULL);
    }

    return rc;
}


static ngx_int_t
ngx_http_apikeys_api_check_role(ngx_http_apikeys_call_t *call,
    ngx_apikeys_store_t *st)
{
    ngx_int_t                rc;
    ngx_apikeys_store_ref_t  ref;

    if (call->identity.operator) {
        call->operator = 1;
        call->by_role = 1;
        return NGX_OK;
    }

    rc = ngx_apikeys_store_key_by_id(st, &call->identity.id, &ref);

    if (rc == NGX_DECLINED) {

        /* the key was deleted after it had authenticated */

        return NGX_HTTP_UNAUTHORIZED;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (call->identity.global) {
        return ngx_http_apikeys_api_check_global_role(call, ref.roles);
    }

    if (call->right == NGX_HTTP_APIKEYS_RIGHT_ANYONE
        || call->right == NGX_HTTP_APIKEYS_RIGHT_ANY_KEY
        || (ref.roles & call->org_roles)
        || (call->project_roles
            && (ngx_apikeys_store_grant(st, &ref, &call->project_id)
                & call->project_roles)))
    {
        call->by_role = 1;
    }

    if ((call->route->self & call->conf->api)
        && ngx_memcmp(&call->key_id, &call->identity.id,
                      sizeof(ngx_apikeys_objectid_t))
           == 0)
    {
        call->self = 1;
    }

    if (call->by_role || call->self) {
        return NGX_OK;
    }

    return ngx_http_apikeys_output_set_error(call, call->denied, NULL, NULL);
}


/* GLOBAL_READ_ONLY may GET everything, GLOBAL_OWNER acts as the operator */

static ngx_int_t
ngx_http_apikeys_api_check_global_role(ngx_http_apikeys_call_t *call,
    uint32_t roles)
{
    uint32_t  required;

    required = NGX_APIKEYS_GLOBAL_OWNER;

    if (call->route->method == NGX_HTTP_GET) {
        required |= NGX_APIKEYS_GLOBAL_READ_ONLY;
    }

    if (roles & required) {
        call->operator = 1;
        call->by_role = 1;
        return NGX_OK;
    }

    if (call->right == NGX_HTTP_APIKEYS_RIGHT_ANY_KEY) {
        call->by_role = 1;
        return NGX_OK;
    }

    return ngx_http_apikeys_output_set_error(call, call->denied, NULL, NULL);
}


static ngx_int_t
ngx_http_apikeys_api_check_path_key(ngx_http_apikeys_call_t *call,
    ngx_apikeys_store_t *st)
{
    ngx_int_t                rc;
    ngx_apikeys_store_ref_t  ref;

    if (call->path_key.len == 0) {
        return NGX_OK;
    }

    rc = ngx_apikeys_store_key_by_id(st, &call->key_id, &ref);

    if (rc == NGX_BUSY) {

        /* a key that cannot be decrypted can still be changed or deleted */

        return NGX_OK;
    }

    if (rc == NGX_OK
        && ngx_memcmp(ref.org, &call->org_id, sizeof(ngx_apikeys_objectid_t))
           == 0)
    {
        return NGX_OK;
    }

    return ngx_http_apikeys_output_set_error(call,
                                           NGX_HTTP_APIKEYS_CODE_KEY_NOT_FOUND,
                                           &call->path_key, NULL);
}


static void
ngx_http_apikeys_api_body_handler(ngx_http_request_t *r)
{
    ngx_int_t                        rc;
    ngx_http_apikeys_call_t         *call;
    const ngx_http_apikeys_route_t  *route;

    call = ngx_http_apikeys_ctx_get(r)->call;
    route = call->route;

    rc = ngx_http_apikeys_body_parse(call, route->body, &call->body);

    if (rc == NGX_OK) {
        rc = route->handler(call);

        ngx_apikeys_json_free(call->body);
        call->body = NULL;
    }

    ngx_http_apikeys_run_finish(call, rc);
}
