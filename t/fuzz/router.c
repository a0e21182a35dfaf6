
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The target of a request: its path against a router that is written another
 * way, its query string against the links that are made of it.
 */


#include "http.h"

#include <ngx_http_apikeys_args.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_output.h>


#define PARTS  8


/* in the order of the module's own table of shapes; "*" is any name */
static const struct {
    const char  *parts[PARTS];
    ngx_uint_t   methods;
} shapes[] = {
    { { NULL }, NGX_HTTP_GET },
    { { "orgs" }, NGX_HTTP_GET|NGX_HTTP_POST },
    { { "orgs", "*" }, NGX_HTTP_GET },
    { { "orgs", "*", "groups" }, NGX_HTTP_GET },
    { { "orgs", "*", "settings" }, NGX_HTTP_GET|NGX_HTTP_PATCH },
    { { "orgs", "*", "apiKeys" }, NGX_HTTP_GET|NGX_HTTP_POST },
    { { "orgs", "*", "apiKeys", "*" },
      NGX_HTTP_GET|NGX_HTTP_PATCH|NGX_HTTP_DELETE },
    { { "orgs", "*", "apiKeys", "*", "list" }, NGX_HTTP_GET|NGX_HTTP_POST },
    { { "orgs", "*", "apiKeys", "*", "list", "*" },
      NGX_HTTP_GET|NGX_HTTP_DELETE },
    { { "groups" }, NGX_HTTP_GET|NGX_HTTP_POST },
    { { "groups", "*" }, NGX_HTTP_GET },
    { { "groups", "*", "apiKeys" }, NGX_HTTP_GET|NGX_HTTP_POST },
    { { "groups", "*", "apiKeys", "*" },
      NGX_HTTP_PATCH|NGX_HTTP_POST|NGX_HTTP_DELETE }
};

#define NSHAPES  (sizeof(shapes) / sizeof(shapes[0]))


static void check_path(ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t find_shape(ngx_http_apikeys_ctx_t *ctx, ngx_str_t *parts);
static ngx_uint_t split(ngx_str_t *rest, ngx_str_t *parts);
static ngx_uint_t is_part(ngx_http_apikeys_ctx_t *ctx, ngx_str_t *part,
    const char *name);
static ngx_uint_t is_list(ngx_http_apikeys_ctx_t *ctx, ngx_str_t *part);
static void check_parts(ngx_http_apikeys_ctx_t *ctx, ngx_uint_t shape,
    ngx_str_t *parts);
static void check_allow(ngx_http_request_t *r, ngx_uint_t methods);
static void check_query(ngx_http_apikeys_ctx_t *ctx);
static void check_links(ngx_http_apikeys_ctx_t *ctx);
static ngx_str_t text(ngx_apikeys_json_out_t *o);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_buf_t               b;
    ngx_http_request_t      r;
    ngx_http_apikeys_ctx_t  ctx;

    memset(&ctx, 0, sizeof(ctx));
    ctx.request = &r;
    ctx.conf = fuzz_request(&r, &b, data, size);

    if (ctx.conf) {
        check_path(&ctx);
        check_query(&ctx);
    }

    fuzz_done(&r);

    return 0;
}


static void
check_path(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                        rc, shape;
    ngx_str_t                        parts[PARTS];
    ngx_uint_t                       method;
    const ngx_http_apikeys_route_t  *route;

    rc = ngx_http_apikeys_routes_find(ctx);
    shape = find_shape(ctx, parts);

    if (shape == NGX_DECLINED) {
        must(rc == NGX_DECLINED);
        must(ctx->code == NGX_HTTP_APIKEYS_RESOURCE_NOT_FOUND);
        return;
    }

    method = ctx->request->method;

    if (method == NGX_HTTP_HEAD) {
        method = NGX_HTTP_GET;
    }

    if (!(shapes[shape].methods & method)) {
        must(rc == NGX_DECLINED);
        must(ctx->code == NGX_HTTP_APIKEYS_METHOD_NOT_ALLOWED);
        check_allow(ctx->request, shapes[shape].methods);
        return;
    }

    must(rc == NGX_OK);
    route = ctx->route;
    must(route->shape == (ngx_uint_t) shape);
    must(route->method == method);
    check_parts(ctx, shape, parts);
}


static ngx_int_t
find_shape(ngx_http_apikeys_ctx_t *ctx, ngx_str_t *parts)
{
    ngx_str_t   rest;
    ngx_uint_t  i, k, n;

    rest.data = ctx->request->uri.data + ctx->conf->base.len;
    rest.len = ctx->request->uri.len - ctx->conf->base.len;

    if (rest.len > 512 || (rest.len && rest.data[0] != '/')) {
        return NGX_DECLINED;
    }

    n = split(&rest, parts);

    /* an address may have a slash in it; it is the last part then */

    if (n == 7 && is_list(ctx, &parts[4]) && parts[5].len) {
        parts[5].len = rest.data + rest.len - parts[5].data;
        n = 6;

    /* anything else, one at its end */

    } else if (n && parts[n - 1].len == 0) {
        n--;
    }

    for (i = 0; i < NSHAPES; i++) {

        for (k = 0; k < n && k < PARTS; k++) {
            if (!is_part(ctx, &parts[k], shapes[i].parts[k])) {
                break;
            }
        }

        if (k == n && shapes[i].parts[k] == NULL) {
            return i;
        }
    }

    return NGX_DECLINED;
}


/* between slashes; more than PARTS are as good as PARTS */

static ngx_uint_t
split(ngx_str_t *rest, ngx_str_t *parts)
{
    size_t      i;
    ngx_uint_t  n;

    n = 0;

    for (i = 0; i < rest->len; i++) {

        if (rest->data[i] != '/') {
            parts[n - 1].len++;
            continue;
        }

        if (n == PARTS) {
            break;
        }

        parts[n].data = rest->data + i + 1;
        parts[n++].len = 0;
    }

    return n;
}


static ngx_uint_t
is_part(ngx_http_apikeys_ctx_t *ctx, ngx_str_t *part, const char *name)
{
    if (name == NULL || part->len == 0) {
        return 0;
    }

    if (strcmp(name, "*") == 0) {
        return 1;
    }

    if (strcmp(name, "list") == 0) {
        return is_list(ctx, part);
    }

    return part->len == strlen(name)
           && memcmp(part->data, name, part->len) == 0;
}


static ngx_uint_t
is_list(ngx_http_apikeys_ctx_t *ctx, ngx_str_t *part)
{
    return (part->len == 10
            && strncasecmp((char *) part->data, "accessList", 10) == 0)
           || (part->len == 9
               && strncasecmp((char *) part->data, "whitelist", 9) == 0
               && ctx->conf->api != NGX_HTTP_APIKEYS_ATLAS_V2);
}


static void
check_parts(ngx_http_apikeys_ctx_t *ctx, ngx_uint_t shape, ngx_str_t *parts)
{
    ngx_str_t    *mine[PARTS] = { NULL };
    ngx_uint_t    i;
    const char  **names;

    names = (const char **) shapes[shape].parts;

    mine[1] = names[0] && names[0][0] == 'g' ? &ctx->project : &ctx->org;
    mine[3] = &ctx->key;
    mine[5] = &ctx->address;

    for (i = 1; i < PARTS && names[i - 1]; i += 2) {
        if (names[i] == NULL) {
            must(mine[i] == NULL || mine[i]->len == 0);
            break;
        }

        must(mine[i]->len == parts[i].len && mine[i]->data == parts[i].data);
    }

    must(!ctx->whitelist == !(names[0] && names[1] && names[2] && names[3]
                              && names[4] && parts[4].len == 9));
}


static void
check_allow(ngx_http_request_t *r, ngx_uint_t methods)
{
    char              want[64];
    ngx_table_elt_t  *h;

    want[0] = '\0';

    if (methods & NGX_HTTP_GET) {
        strcat(want, ", GET, HEAD");
    }

    if (methods & NGX_HTTP_POST) {
        strcat(want, ", POST");
    }

    if (methods & NGX_HTTP_PATCH) {
        strcat(want, ", PATCH");
    }

    if (methods & NGX_HTTP_DELETE) {
        strcat(want, ", DELETE");
    }

    h = r->headers_out.headers.part.elts;

    must(r->headers_out.headers.part.nelts == 1);
    must(h->value.len == strlen(want) - 2);
    must(memcmp(h->value.data, want + 2, h->value.len) == 0);
}


/* a link that was made of the arguments means the same as they do */

static void
check_query(ngx_http_apikeys_ctx_t *ctx)
{
    u_char                   *p;
    ngx_str_t                 args;
    ngx_http_apikeys_args_t   again;

    must(ngx_http_apikeys_args_parse(ctx->request, &ctx->args) == NGX_OK);

    must(ctx->args.page >= 1 && ctx->args.page <= NGX_MAX_INT32_VALUE);
    must(ctx->args.items >= 1 && ctx->args.items <= 500);
    must(ctx->args.kept.len <= ctx->request->args.len + 1);
    must(ctx->args.kept.len == 0
         || ctx->args.kept.data[ctx->args.kept.len - 1] == '&');

    check_links(ctx);

    args = ctx->request->args;

    p = ngx_pnalloc(ctx->request->pool, ctx->args.kept.len + 128);
    ctx->request->args.data = p;
    ctx->request->args.len = ngx_sprintf(p, "%VpageNum=%ui&itemsPerPage=%ui",
                                         &ctx->args.kept, ctx->args.page,
                                         ctx->args.items)
                             - p;

    must(ngx_http_apikeys_args_parse(ctx->request, &again) == NGX_OK);
    ctx->request->args = args;

    must(again.page == ctx->args.page && again.items == ctx->args.items);
    must(again.count == ctx->args.count && again.pretty == ctx->args.pretty);
    must(again.envelope == ctx->args.envelope);
    must(again.bad.len == ctx->args.bad.len);
    must(again.kept.len == ctx->args.kept.len);
    must(again.kept.len == 0
         || memcmp(again.kept.data, ctx->args.kept.data, again.kept.len)
            == 0);
}


static void
check_links(ngx_http_apikeys_ctx_t *ctx)
{
    size_t                   i;
    ngx_str_t                path, doc, href, head;
    ngx_uint_t               n, total, page;
    ngx_apikeys_json_t      *value, *links;
    ngx_apikeys_json_out_t   out;

    ngx_str_set(&path, "/orgs");
    page = ctx->args.page;
    total = 1000;

    ngx_http_apikeys_links_list(ctx, &out, &path, total);
    ngx_http_apikeys_links_list_end(ctx, &out, total);
    doc = text(&out);

    must(fuzz_parse(ctx->request->pool, &doc, &value) == NGX_OK);
    links = ngx_apikeys_json_member(value, "links");
    n = 1 + (page > 1) + (page * ctx->args.items < total);
    must(ngx_apikeys_json_size(links) == n);
    must(!ngx_apikeys_json_member(value, "totalCount") == !ctx->args.count);

    value = ngx_apikeys_json_item(links, page > 1);
    ngx_apikeys_json_string(ngx_apikeys_json_member(value, "href"), &href);

    head.data = ngx_pnalloc(ctx->request->pool, ctx->args.kept.len + 256);
    head.len = ngx_sprintf(head.data,
                           "http://a.example%V/orgs?%VpageNum=%ui"
                           "&itemsPerPage=%ui", &ctx->conf->base,
                           &ctx->args.kept, page, ctx->args.items)
               - head.data;

    for (i = 0; i < ctx->args.kept.len; i++) {
        if (ctx->args.kept.data[i] >= 0x80) {
            return;
        }
    }

    must(href.len == head.len);
    must(memcmp(href.data, head.data, head.len) == 0);
}


static ngx_str_t
text(ngx_apikeys_json_out_t *o)
{
    ngx_str_t     s;
    ngx_chain_t  *cl;

    must(!o->failed && o->depth == 0);

    s.len = 0;
    s.data = ngx_pnalloc(o->pool, o->size);

    for (cl = o->out; cl; cl = cl->next) {
        memcpy(s.data + s.len, cl->buf->pos, cl->buf->last - cl->buf->pos);
        s.len += cl->buf->last - cl->buf->pos;
    }

    must(s.len == (size_t) o->size);

    return s;
}
