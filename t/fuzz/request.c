
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A whole call of the administration API, to where it asks the database or
 * answers: what is asked is by one who may, and is such as the schema takes;
 * what is answered is an error document of its own status.
 */


#include "http.h"

#include <ngx_http_apikeys_api.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_ctx.h>
#include <ngx_http_apikeys_run.h>
#include <ngx_http_apikeys_receipt.h>


static ngx_buf_t    body;
static ngx_str_t    document;
static ngx_uint_t   asked, answered, finished;


static void check_caller(ngx_http_apikeys_call_t *call,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params);
static void check_params(ngx_pool_t *pool, const ngx_apikeys_pg_stmt_t *stmt,
    ngx_str_t *params);
static ngx_uint_t check_attributes(ngx_pool_t *pool, ngx_str_t *s,
    ngx_uint_t created);
static void check_new_key(ngx_str_t *params);
static void check_text(ngx_str_t *s, ngx_uint_t max);
static void check_roles(ngx_str_t *s, ngx_apikeys_scope_e scope);
static void check_entries(ngx_str_t *s);
static void check_number(ngx_str_t *s);
static ngx_uint_t is_id(ngx_str_t *s, const char *id);
static ngx_uint_t is_made_of(ngx_str_t *s, size_t len, const char *set);
static void check_answer(ngx_http_request_t *r);

ngx_int_t __wrap_ngx_http_read_client_request_body(ngx_http_request_t *r,
    ngx_http_client_body_handler_pt handler);
ngx_int_t __wrap_ngx_http_discard_request_body(ngx_http_request_t *r);
ngx_int_t __wrap_ngx_http_send_header(ngx_http_request_t *r);
ngx_int_t __wrap_ngx_http_output_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
void __wrap_ngx_http_finalize_request(ngx_http_request_t *r, ngx_int_t rc);
ngx_int_t __wrap_ngx_http_apikeys_run(ngx_http_apikeys_call_t *call,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params,
    ngx_http_apikeys_handler_pt done);
ngx_apikeys_pg_query_t *__wrap_ngx_apikeys_pg_query_create(
    ngx_apikeys_pg_pool_t *pp, ngx_pool_t *pool, ngx_log_t *log);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_int_t           rc;
    ngx_http_request_t  r;

    asked = answered = finished = 0;
    ngx_str_null(&document);

    if (fuzz_request(&r, &body, data, size)) {

        r.header_only = (r.method == NGX_HTTP_HEAD);

        rc = ngx_http_apikeys_api_handler(&r);
        must(rc != NGX_HTTP_INTERNAL_SERVER_ERROR);
        must(asked + answered == 1);

        /* once by the handler itself, or by the end of what it began */

        must((rc == NGX_DONE) == (asked || finished));

        if (answered) {
            check_answer(&r);
        }
    }

    fuzz_done(&r);

    return 0;
}


/* one buffer, or two when its length is odd, with an empty one behind */

ngx_int_t
__wrap_ngx_http_read_client_request_body(ngx_http_request_t *r,
    ngx_http_client_body_handler_pt handler)
{
    size_t        half;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    r->request_body = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));

    half = (body.last - body.pos) % 2 ? (body.last - body.pos) / 2 : 0;
    body.memory = 1;

    if (body.last > body.pos) {
        cl = ngx_alloc_chain_link(r->pool);
        cl->buf = &body;
        cl->next = NULL;
        r->request_body->bufs = cl;

        if (half) {
            b = ngx_calloc_buf(r->pool);
            *b = body;
            body.last = body.pos + half;
            b->pos = body.last;
            cl->next = ngx_alloc_chain_link(r->pool);
            cl = cl->next;
            cl->buf = b;

            cl->next = ngx_alloc_chain_link(r->pool);
            cl = cl->next;
            cl->buf = ngx_calloc_buf(r->pool);
            cl->buf->last_buf = 1;
            cl->next = NULL;
        }
    }

    handler(r);

    return NGX_OK;
}


ngx_int_t
__wrap_ngx_http_discard_request_body(ngx_http_request_t *r)
{
    return NGX_OK;
}


ngx_int_t
__wrap_ngx_http_send_header(ngx_http_request_t *r)
{
    answered++;

    return NGX_OK;
}


ngx_int_t
__wrap_ngx_http_output_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    size_t  n;

    must(document.data == NULL);
    document.data = ngx_pnalloc(r->pool, r->headers_out.content_length_n);

    for ( /* void */ ; in; in = in->next) {
        n = in->buf->last - in->buf->pos;
        must(document.len + n <= (size_t) r->headers_out.content_length_n);
        memcpy(document.data + document.len, in->buf->pos, n);
        document.len += n;
        must(!in->next == !!in->buf->last_buf);
    }

    return NGX_OK;
}


void
__wrap_ngx_http_finalize_request(ngx_http_request_t *r, ngx_int_t rc)
{
    must(rc == NGX_OK);
    finished++;
}


/* the query of a wait, of which the header "Prefer" is all that matters */

ngx_apikeys_pg_query_t *
__wrap_ngx_apikeys_pg_query_create(ngx_apikeys_pg_pool_t *pp,
    ngx_pool_t *pool, ngx_log_t *log)
{
    return NULL;
}


ngx_int_t
__wrap_ngx_http_apikeys_run(ngx_http_apikeys_call_t *call,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params,
    ngx_http_apikeys_handler_pt done)
{
    ngx_uint_t              i;
    ngx_str_t               none = ngx_null_string;
    ngx_apikeys_pg_query_t  q;

    must(call->request->method & (stmt->write
                                  ? NGX_HTTP_POST|NGX_HTTP_PATCH
                                    |NGX_HTTP_DELETE
                                  : NGX_HTTP_GET|NGX_HTTP_HEAD));

    if (params == NULL) {

        /* a long list, made when it is sent */

        memset(&q, 0, sizeof(q));
        q.data = call;
        params = call->make(&q, call->request->pool);
        must(params != NULL);
    }

    for (i = 0; i < stmt->nparams; i++) {
        must(params[i].len == 0
             || memchr(params[i].data, '\0', params[i].len) == NULL);
    }

    check_caller(call, stmt, params);
    check_params(call->request->pool, stmt, params);

    if (stmt->write
        && ngx_http_apikeys_receipt_wait(call, &none, &none, &none, NULL)
           == NGX_AGAIN)
    {
        ngx_http_apikeys_receipt_cancel(call);
        ngx_http_apikeys_receipts_destroy(fuzz_main.worker.receipts);
    }

    asked++;

    return NGX_AGAIN;
}


/* a parameter of the mutation's own */
#define own_param(n)  params[NGX_HTTP_APIKEYS_PARAM_OWN + (n)]


static void
check_caller(ngx_http_apikeys_call_t *call, const ngx_apikeys_pg_stmt_t *stmt,
    ngx_str_t *params)
{
    ngx_uint_t                    reader, own;
    ngx_apikeys_objectid_t        id;
    ngx_http_apikeys_identity_t  *identity;

    identity = &call->identity;

    if (identity->operator) {
        must(!stmt->write || params[0].data == NULL);
        return;
    }

    must(identity->credential != NULL);
    must(strcmp(stmt->name, "apikeys_orgs_create") != 0);

    if (stmt->write) {
        must(is_id(&params[0], FUZZ_OWNER) || is_id(&params[0], FUZZ_READER)
             || is_id(&params[0], FUZZ_FOREIGN));
        must(memcmp(params[NGX_HTTP_APIKEYS_PARAM_CALLER_SECRET].data,
                    params[0].data, NGX_APIKEYS_OBJECTID_TEXT_LEN)
             == 0);

        /* what it is about: an organization, or a project of the first */

        id = fuzz_id(is_id(&params[0], FUZZ_FOREIGN) ? FUZZ_OTHER : FUZZ_ORG);
        must(memcmp(&call->org_id, &id, sizeof(id)) == 0);
        must(is_id(&own_param(0), FUZZ_ORG) || is_id(&own_param(0), FUZZ_OTHER)
             || is_id(&own_param(0), FUZZ_PROJECT));
    }

    must(call->org.len == 0
         || memcmp(&call->org_id, &identity->org, sizeof(id)) == 0);
    must(call->project.len == 0 || is_id(&call->project, FUZZ_PROJECT));

    id = fuzz_id(FUZZ_READER);
    reader = (memcmp(&identity->id, &id, sizeof(id)) == 0);
    own = call->path_key.len && memcmp(&call->key_id, &id, sizeof(id)) == 0;

    /* it may read, and change itself and its list where it may */

    must(!reader || !stmt->write || (own && !call->project.len));
    must(!reader || strcmp(stmt->name, "apikeys_access_list") != 0 || own);
}


/* formats and lengths of sql/v1/01-tables.sql, once more */

static void
check_params(ngx_pool_t *pool, const ngx_apikeys_pg_stmt_t *stmt,
    ngx_str_t *params)
{
    const char  *name;

    name = stmt->name + sizeof("apikeys_") - 1;

    if (strcmp(name, "orgs_create") == 0) {
        must(is_made_of(&own_param(0), 24, "0123456789abcdef"));
        check_text(&own_param(1), 64);

        if (own_param(3).data) {
            check_new_key(&own_param(3));
            check_attributes(pool, &own_param(7), 1);
        }

    } else if (strcmp(name, "projects_create") == 0) {
        must(is_made_of(&own_param(0), 24, "0123456789abcdef"));
        check_text(&own_param(1), 64);

    } else if (strcmp(name, "org_keys_create") == 0) {
        check_new_key(&own_param(1));
        check_attributes(pool, &own_param(5), 1);

    } else if (strcmp(name, "project_keys_create") == 0) {
        check_new_key(&own_param(1));
        check_attributes(pool, &own_param(5), 1);
        check_roles(&own_param(6), NGX_APIKEYS_SCOPE_PROJECT);

    } else if (strcmp(name, "org_keys_update") == 0) {
        must(check_attributes(pool, &own_param(2), 0));

    } else if (strcmp(name, "project_keys_update") == 0) {
        must(check_attributes(pool, &own_param(2), 0) || own_param(3).data);

        if (own_param(3).data) {
            check_roles(&own_param(3), NGX_APIKEYS_SCOPE_PROJECT);
        }

    } else if (strcmp(name, "project_keys_assign") == 0) {
        check_roles(&own_param(2), NGX_APIKEYS_SCOPE_PROJECT);

    } else if (strcmp(name, "access_list_add") == 0) {
        check_entries(&own_param(2));

    } else if (strcmp(name, "org_keys_list") == 0
               || strcmp(name, "access_list") == 0)
    {
        check_number(&params[1]);
        check_number(&params[2]);
    }
}


static void
check_new_key(ngx_str_t *params)
{
    must(is_made_of(&params[0], 24, "0123456789abcdef"));
    must(is_made_of(&params[1], 8, "abcdefghijklmnopqrstuvwxyz"));
    must(is_made_of(&params[2], 224, "0123456789abcdef"));
    must(is_made_of(&params[3], 12, "0123456789abcdef"));
}


/* {"desc": "...", "roles": ["A", "B"]}; how many of them it has */

static ngx_uint_t
check_attributes(ngx_pool_t *pool, ngx_str_t *s, ngx_uint_t created)
{
    uint32_t                   seen;
    ngx_str_t                  text;
    ngx_uint_t                 i;
    ngx_apikeys_json_t        *object, *desc, *roles;
    const ngx_apikeys_role_t  *role;

    must(fuzz_parse(pool, s, &object) == NGX_OK);

    desc = ngx_apikeys_json_member(object, "desc");
    roles = ngx_apikeys_json_member(object, "roles");

    must(!created || (desc && roles));

    if (desc) {
        ngx_apikeys_json_string(desc, &text);
        check_text(&text, 250);
    }

    must(!roles || ngx_apikeys_json_size(roles) > 0);
    seen = 0;

    for (i = 0; roles && i < ngx_apikeys_json_size(roles); i++) {
        ngx_apikeys_json_string(ngx_apikeys_json_item(roles, i), &text);
        role = ngx_apikeys_role_find(&text);

        must(role != NULL && role->scope == NGX_APIKEYS_SCOPE_ORG);
        must(!(seen & role->mask));
        seen |= role->mask;
    }

    return (desc != NULL) + (roles != NULL);
}


/* char_length() of PostgreSQL, which takes no text that is not UTF-8 */

static void
check_text(ngx_str_t *s, ngx_uint_t max)
{
    size_t      i;
    u_char     *p;
    uint32_t    c;
    ngx_uint_t  n;

    must(s->len > 0);

    for (n = 0, i = 0; i < s->len; i++) {
        n += ((s->data[i] & 0xc0) != 0x80);
    }

    must(n >= 1 && n <= max);

    for (p = s->data; p < s->data + s->len; /* void */ ) {

        if (*p < 0x80) {
            p++;
            continue;
        }

        c = ngx_utf8_decode(&p, s->data + s->len - p);
        must(c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff));
    }
}


/* "{A,B}", all of one scope, none twice */

static void
check_roles(ngx_str_t *s, ngx_apikeys_scope_e scope)
{
    u_char                    *p, *last, *end;
    uint32_t                   seen;
    ngx_str_t                  name;
    const ngx_apikeys_role_t  *role;

    must(s->len > 2 && s->data[0] == '{' && s->data[s->len - 1] == '}');

    seen = 0;
    end = s->data + s->len - 1;

    for (p = s->data + 1; p < end; p = last + 1) {
        last = ngx_strlchr(p, end, ',');
        last = last ? last : end;

        name.data = p;
        name.len = last - p;
        role = ngx_apikeys_role_find(&name);

        must(role != NULL && role->scope == scope && !(seen & role->mask));
        seen |= role->mask;
    }
}


/* "{10.0.0.0/8,2001:db8::/32}", each as the schema keeps it */

static void
check_entries(ngx_str_t *s)
{
    u_char              *p, *last, *end, text[NGX_APIKEYS_CIDR_TEXT_LEN];
    size_t               len;
    ngx_str_t            block;
    ngx_apikeys_cidr_t   cidr;
    static const u_char  mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                        0xff, 0xff };

    must(s->len >= 2 && s->data[0] == '{' && s->data[s->len - 1] == '}');

    end = s->data + s->len - 1;

    for (p = s->data + 1; p < end; p = last + 1) {
        last = ngx_strlchr(p, end, ',');
        last = last ? last : end;

        block.data = p;
        block.len = last - p;

        must(ngx_apikeys_cidr_parse_block(&cidr, &block) == NGX_OK);
        len = ngx_apikeys_cidr_write_block(text, &cidr) - text;
        must(len == block.len && memcmp(text, p, len) == 0);

        must(!ngx_apikeys_cidr_refused(&cidr));
        must(cidr.family == 4 || cidr.prefix < 96
             || memcmp(cidr.addr, mapped, sizeof(mapped)) != 0);
    }
}


static void
check_number(ngx_str_t *s)
{
    ngx_uint_t  i;

    must(s->len > 0 && s->len < 19);

    for (i = 0; i < s->len; i++) {
        must(s->data[i] >= '0' && s->data[i] <= '9');
    }
}


static ngx_uint_t
is_id(ngx_str_t *s, const char *id)
{
    return s->len == 24 && memcmp(s->data, id, 24) == 0;
}


static ngx_uint_t
is_made_of(ngx_str_t *s, size_t len, const char *set)
{
    size_t  i;

    for (i = 0; i < s->len; i++) {
        if (s->data[i] == '\0' || strchr(set, s->data[i]) == NULL) {
            return 0;
        }
    }

    return s->len == len;
}


static void
check_answer(ngx_http_request_t *r)
{
    ngx_str_t                        code;
    ngx_uint_t                       status;
    ngx_apikeys_json_t              *value, *content;
    const ngx_http_apikeys_route_t  *route;

    status = r->headers_out.status;
    route = ngx_http_apikeys_ctx_get(r)->call->route;

    /* the root resource alone needs no database */

    must((status >= 400 && status < 500)
         || (status == 200 && route->path == 0));

    if (r->header_only) {
        must(document.data == NULL);
        return;
    }

    must(document.len == (size_t) r->headers_out.content_length_n);

    if (ngx_http_apikeys_ctx_get(r)->identity_decision
        != NGX_HTTP_APIKEYS_DECISION_ALLOW
        && status == NGX_HTTP_UNAUTHORIZED)
    {
        return;
    }

    must(fuzz_parse(r->pool, &document, &value) == NGX_OK);
    content = ngx_apikeys_json_member(value, "content");
    content = content ? content : value;

    if (status == 200) {
        return;
    }

    must(ngx_apikeys_json_type(ngx_apikeys_json_member(content, "parameters"))
         == NGX_APIKEYS_JSON_ARRAY);
    must(ngx_apikeys_json_type(ngx_apikeys_json_member(content, "detail"))
         == NGX_APIKEYS_JSON_STRING);
    ngx_apikeys_json_string(ngx_apikeys_json_member(content, "errorCode"),
                            &code);
    must(code.len > 0);
}
