
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * One call: authenticate, find the route, check in the order that decision
 * 25 fixes, read the body, run.  The handler authenticates by itself and
 * never assumes that the access phase ran.
 */


#include <ngx_http_apikeys_accept.h>
#include <ngx_http_apikeys_api.h>
#include <ngx_http_apikeys_args.h>
#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_record.h>
#include <ngx_http_apikeys_routes.h>
#include <ngx_http_apikeys_run.h>


static ngx_http_apikeys_ctx_t *ngx_http_apikeys_api_create_ctx(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf);
static ngx_int_t ngx_http_apikeys_api_check(ngx_http_apikeys_ctx_t *ctx);
static void ngx_http_apikeys_api_record(ngx_http_apikeys_ctx_t *ctx,
    ngx_int_t rc);
static ngx_int_t ngx_http_apikeys_api_identify(ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_api_media(ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_api_path(ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_api_id(ngx_http_apikeys_ctx_t *ctx,
    ngx_str_t *text, ngx_apikeys_objectid_t *id);
static ngx_int_t ngx_http_apikeys_api_query(ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_api_may(ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_api_parent(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_store_t *st);
static ngx_int_t ngx_http_apikeys_api_role(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_store_t *st);
static ngx_int_t ngx_http_apikeys_api_global(ngx_http_apikeys_ctx_t *ctx,
    uint32_t roles);
static ngx_int_t ngx_http_apikeys_api_key(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_store_t *st);
static void ngx_http_apikeys_api_body_handler(ngx_http_request_t *r);


ngx_int_t
ngx_http_apikeys_api_handler(ngx_http_request_t *r)
{
    ngx_int_t                        rc;
    ngx_http_apikeys_ctx_t          *ctx;
    ngx_http_apikeys_loc_conf_t     *alcf;
    const ngx_http_apikeys_route_t  *route;

    if (r != r->main) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "apikeys: the administration API refuses subrequests");
        return NGX_HTTP_FORBIDDEN;
    }

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_apikeys_module);

    ctx = ngx_http_apikeys_api_create_ctx(r, alcf);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_apikeys_api_check(ctx);

    ngx_http_apikeys_api_record(ctx, rc);

    if (rc == NGX_DECLINED) {
        return ngx_http_apikeys_output_refusal(ctx);
    }

    if (rc == NGX_DONE) {
        return ngx_http_apikeys_output_unauthorized(ctx);
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    route = ctx->route;

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

    ngx_http_apikeys_run_finish(ctx, route->handler(ctx));

    return NGX_DONE;
}


static ngx_http_apikeys_ctx_t *
ngx_http_apikeys_api_create_ctx(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf)
{
    ngx_http_apikeys_ctx_t     *ctx;
    ngx_http_apikeys_record_t  *record;

    record = ngx_http_apikeys_record(r);
    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_apikeys_ctx_t));

    if (record == NULL || ctx == NULL) {
        return NULL;
    }

    ctx->request = r;
    ctx->conf = alcf;

    if (ngx_http_apikeys_args_parse(r, &ctx->args) != NGX_OK) {
        return NULL;
    }

    record->call = ctx;

    return ctx;
}


/*
 * NGX_OK; NGX_DECLINED: refused; NGX_DONE: did not authenticate; NGX_ERROR.
 * Everything here is decided from the local copy.
 */

static ngx_int_t
ngx_http_apikeys_api_check(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t    rc;
    ngx_uint_t   i;

    static const ngx_http_apikeys_handler_pt  checks[] = {
        ngx_http_apikeys_api_identify,
        ngx_http_apikeys_routes_find,
        ngx_http_apikeys_api_media,
        ngx_http_apikeys_api_path,
        ngx_http_apikeys_api_query,
        ngx_http_apikeys_api_may
    };

    for (i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        rc = checks[i](ctx);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


/* a call that is refused for its role has not used the caller's entry */

static void
ngx_http_apikeys_api_record(ngx_http_apikeys_ctx_t *ctx, ngx_int_t rc)
{
    ngx_http_apikeys_record_t    *record;
    ngx_http_apikeys_decision_e   decision;

    record = ngx_http_apikeys_record(ctx->request);
    decision = record->identified;

    if (decision == NGX_HTTP_APIKEYS_ALLOW && rc == NGX_DECLINED
        && ngx_http_apikeys_code(ctx->code)->status == NGX_HTTP_UNAUTHORIZED)
    {
        decision = NGX_HTTP_APIKEYS_ROLE;
    }

    ngx_http_apikeys_record_decision(record, ctx->request, ctx->conf,
                                     decision);
}


static ngx_int_t
ngx_http_apikeys_api_identify(ngx_http_apikeys_ctx_t *ctx)
{
    u_char                        text[NGX_APIKEYS_CIDR_TEXT_LEN];
    ngx_str_t                    *addr, copy;
    ngx_http_apikeys_record_t    *record;
    ngx_http_apikeys_decision_e   decision;

    record = ngx_http_apikeys_record(ctx->request);

    decision = ngx_http_apikeys_record_identify(record, ctx->request,
                                                ctx->conf);
    ctx->identity = record->identity;

    switch (decision) {

    case NGX_HTTP_APIKEYS_ALLOW:
        return NGX_OK;

    case NGX_HTTP_APIKEYS_ADDRESS:
    case NGX_HTTP_APIKEYS_NO_LIST:

        /* as the client's address is shown elsewhere: without a mapping */

        if (ctx->identity.global) {
            return ngx_http_apikeys_output_refuse(ctx,
                                               NGX_HTTP_APIKEYS_GLOBAL_ADDRESS,
                                               NULL, NULL);
        }

        addr = &ctx->request->connection->addr_text;

        if (ctx->identity.address.family) {
            copy.data = text;
            copy.len = ngx_apikeys_cidr_write_address(text,
                                                      &ctx->identity.address)
                       - text;
            addr = &copy;
        }

        copy.len = addr->len;
        copy.data = ngx_pstrdup(ctx->request->pool, addr);
        if (copy.data == NULL) {
            return NGX_ERROR;
        }

        return ngx_http_apikeys_output_refuse(ctx,
                               decision == NGX_HTTP_APIKEYS_ADDRESS
                               ? NGX_HTTP_APIKEYS_ADDRESS_NOT_ON_LIST
                               : NGX_HTTP_APIKEYS_ORG_REQUIRES_LIST,
                               &copy, NULL);

    case NGX_HTTP_APIKEYS_NOT_LOADED:
    case NGX_HTTP_APIKEYS_EXPIRED:
        return ngx_http_apikeys_output_refuse(ctx,
                                          NGX_HTTP_APIKEYS_SERVICE_UNAVAILABLE,
                                          NULL, NULL);

    case NGX_HTTP_APIKEYS_ERROR:
        return NGX_ERROR;

    default:
        return NGX_DONE;
    }
}


static ngx_int_t
ngx_http_apikeys_api_media(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_http_request_t              *r;
    const ngx_http_apikeys_route_t  *route;

    r = ctx->request;
    route = ctx->route;

    /* the root resource has no version */

    if (ctx->conf->api == NGX_HTTP_APIKEYS_ATLAS_V2
        && r->uri.len > ctx->conf->base.len + 1
        && !ngx_http_apikeys_accept_version(r))
    {
        return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_NOT_ACCEPTABLE,
                                              NULL, NULL);
    }

    if (route->body && !ngx_http_apikeys_accept_body(r)) {
        return ngx_http_apikeys_output_refuse(ctx,
                                       NGX_HTTP_APIKEYS_UNSUPPORTED_MEDIA_TYPE,
                                       &r->headers_in.content_type->value,
                                       NULL);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_api_path(ngx_http_apikeys_ctx_t *ctx)
{
    u_char                  *p, *slash, *last;
    ngx_int_t                rc;
    ngx_apikeys_objectid_t   item;

    if (ngx_http_apikeys_api_id(ctx, &ctx->org, &ctx->org_id) != NGX_OK
        || ngx_http_apikeys_api_id(ctx, &ctx->project, &ctx->project_id)
           != NGX_OK
        || ngx_http_apikeys_api_id(ctx, &ctx->key, &ctx->key_id) != NGX_OK
        || ngx_http_apikeys_api_id(ctx, &ctx->item, &item) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (ctx->address.len == 0) {
        return NGX_OK;
    }

    last = ctx->address.data + ctx->address.len;
    slash = ngx_strlchr(ctx->address.data, last, '/');

    rc = slash ? ngx_apikeys_cidr_parse_block(&ctx->entry, &ctx->address)
               : ngx_apikeys_cidr_parse_address(&ctx->entry, &ctx->address);

    if (rc != NGX_OK) {
        return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_INVALID_ADDRESS,
                                              &ctx->address, NULL);
    }

    /* from here on in its canonical form */

    p = ngx_pnalloc(ctx->request->pool, NGX_APIKEYS_CIDR_TEXT_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    last = ngx_apikeys_cidr_single(&ctx->entry)
           ? ngx_apikeys_cidr_write_address(p, &ctx->entry)
           : ngx_apikeys_cidr_write_block(p, &ctx->entry);

    ctx->address.data = p;
    ctx->address.len = last - p;

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_api_id(ngx_http_apikeys_ctx_t *ctx, ngx_str_t *text,
    ngx_apikeys_objectid_t *id)
{
    if (text->len == 0 || ngx_apikeys_objectid_parse(id, text) == NGX_OK) {
        return NGX_OK;
    }

    return ngx_http_apikeys_output_refuse(ctx,
                                        NGX_HTTP_APIKEYS_PATH_PARAM_PARSE_ERROR,
                                        &ctx->request->uri, NULL);
}


static ngx_int_t
ngx_http_apikeys_api_query(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t                       *bad;
    const ngx_http_apikeys_route_t  *route;

    route = ctx->route;

    if (ctx->args.bad.len) {
        bad = &ctx->args.bad;

    } else if (route->list && ctx->args.bad_page.len) {
        bad = &ctx->args.bad_page;

    } else {
        return route->query ? route->query(ctx) : NGX_OK;
    }

    return ngx_http_apikeys_output_refuse(ctx,
                                      NGX_HTTP_APIKEYS_INVALID_QUERY_PARAMETER,
                                      bad, NULL);
}


static ngx_int_t
ngx_http_apikeys_api_may(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                      rc;
    ngx_apikeys_store_t           *st;
    ngx_http_apikeys_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(ctx->request,
                                         ngx_http_apikeys_module);
    st = amcf->store;

    ngx_apikeys_store_enter(st);

    rc = ngx_http_apikeys_api_parent(ctx, st);

    if (rc == NGX_OK) {
        rc = ngx_http_apikeys_api_role(ctx, st);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_apikeys_api_key(ctx, st);
    }

    ngx_apikeys_store_leave(st);

    if (rc == NGX_BUSY) {
        return ngx_http_apikeys_output_refuse(ctx,
                                          NGX_HTTP_APIKEYS_SERVICE_UNAVAILABLE,
                                          NULL, NULL);
    }

    return rc;
}


/* another's organisation or project, and none at all, answer alike */

static ngx_int_t
ngx_http_apikeys_api_parent(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_store_t *st)
{
    ngx_int_t                    rc;
    ngx_str_t                   *id;
    ngx_http_apikeys_code_e      code;
    ngx_apikeys_store_org_t      org;
    ngx_apikeys_store_project_t  project;

    if (ctx->project.len) {
        id = &ctx->project;
        code = NGX_HTTP_APIKEYS_GROUP_NOT_FOUND;

        rc = ngx_apikeys_store_project(st, &ctx->project_id, &project);

        if (rc == NGX_OK) {
            ctx->org_id = project.org;
        }

    } else if (ctx->org.len) {
        id = &ctx->org;
        code = NGX_HTTP_APIKEYS_ORG_NOT_FOUND;

        rc = ngx_apikeys_store_org(st, &ctx->org_id, &org);

    } else {
        return NGX_OK;
    }

    if (rc == NGX_OK
        && !ctx->identity.operator
        && !ctx->identity.global
        && ngx_memcmp(&ctx->org_id, &ctx->identity.org,
                      sizeof(ngx_apikeys_objectid_t))
           != 0)
    {
        rc = NGX_DECLINED;
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_apikeys_output_refuse(ctx, code, id, NULL);
    }

    return rc;
}


static ngx_int_t
ngx_http_apikeys_api_role(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_store_t *st)
{
    ngx_int_t                        rc;
    ngx_apikeys_store_ref_t          ref;
    const ngx_http_apikeys_route_t  *route;

    if (ctx->identity.operator) {
        ctx->operator = 1;
        ctx->entitled = 1;
        return NGX_OK;
    }

    route = ctx->route;

    rc = ngx_apikeys_store_key_by_id(st, &ctx->identity.id, &ref);

    if (rc == NGX_DECLINED) {

        /* deleted since it authenticated */

        return NGX_DONE;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (ctx->identity.global) {
        return ngx_http_apikeys_api_global(ctx, ref.roles);
    }

    if (route->v1 == NGX_HTTP_APIKEYS_ANYONE
        || route->v1 == NGX_HTTP_APIKEYS_ANY_KEY
        || (ref.roles & ctx->org_right)
        || (ctx->project_right
            && (ngx_apikeys_store_grant(st, &ref, &ctx->project_id)
                & ctx->project_right)))
    {
        ctx->entitled = 1;
    }

    if ((route->self & ctx->conf->api)
        && ngx_memcmp(&ctx->key_id, &ctx->identity.id,
                      sizeof(ngx_apikeys_objectid_t))
           == 0)
    {
        ctx->self = 1;
    }

    if (ctx->entitled || ctx->self) {
        return NGX_OK;
    }

    return ngx_http_apikeys_output_refuse(ctx, ctx->refusal, NULL, NULL);
}


/* global roles: one reads all, the owner acts as the operator does */

static ngx_int_t
ngx_http_apikeys_api_global(ngx_http_apikeys_ctx_t *ctx, uint32_t roles)
{
    uint32_t                         right;
    const ngx_http_apikeys_route_t  *route;

    route = ctx->route;
    right = NGX_APIKEYS_GLOBAL_OWNER;

    if (route->method == NGX_HTTP_GET) {
        right |= NGX_APIKEYS_GLOBAL_READ_ONLY;
    }

    if (roles & right) {
        ctx->operator = 1;
        ctx->entitled = 1;
        return NGX_OK;
    }

    if (route->v1 == NGX_HTTP_APIKEYS_ANY_KEY) {
        ctx->entitled = 1;
        return NGX_OK;
    }

    return ngx_http_apikeys_output_refuse(ctx, ctx->refusal, NULL, NULL);
}


static ngx_int_t
ngx_http_apikeys_api_key(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_store_t *st)
{
    ngx_int_t                rc;
    ngx_apikeys_store_ref_t  ref;

    if (ctx->key.len == 0) {
        return NGX_OK;
    }

    rc = ngx_apikeys_store_key_by_id(st, &ctx->key_id, &ref);

    if (rc == NGX_BUSY) {

        /* a record that cannot be read can still be changed or deleted */

        return NGX_OK;
    }

    if (rc == NGX_OK
        && ngx_memcmp(ref.org, &ctx->org_id, sizeof(ngx_apikeys_objectid_t))
           == 0)
    {
        return NGX_OK;
    }

    return ngx_http_apikeys_output_refuse(ctx, NGX_HTTP_APIKEYS_KEY_NOT_FOUND,
                                          &ctx->key, NULL);
}


static void
ngx_http_apikeys_api_body_handler(ngx_http_request_t *r)
{
    ngx_int_t                        rc;
    ngx_http_apikeys_ctx_t          *ctx;
    const ngx_http_apikeys_route_t  *route;

    ctx = ngx_http_apikeys_record(r)->call;
    route = ctx->route;

    rc = ngx_http_apikeys_body_parse(ctx, route->body, &ctx->body);

    if (rc == NGX_OK) {
        rc = route->handler(ctx);

        ngx_apikeys_json_free(ctx->body);
        ctx->body = NULL;
    }

    ngx_http_apikeys_run_finish(ctx, rc);
}
