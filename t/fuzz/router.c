
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


#define V2     NGX_HTTP_APIKEYS_API_ATLAS_V2
#define OM     NGX_HTTP_APIKEYS_API_OPS_MANAGER
#define ATLAS  (NGX_HTTP_APIKEYS_API_ATLAS_V1|V2)
#define OLD    NGX_HTTP_APIKEYS_API_COMPATIBLE
#define NEW    NGX_HTTP_APIKEYS_API_NATIVE
#define ANY    NGX_HTTP_APIKEYS_API_ANY

#define G  NGX_HTTP_GET
#define P  NGX_HTTP_POST
#define U  NGX_HTTP_PUT
#define A  NGX_HTTP_PATCH
#define D  NGX_HTTP_DELETE


/*
 * The first that matches counts.  "=org" is any name, which is kept as the
 * organization's and so on; "list" is how the API calls it.
 */
static const struct {
    ngx_uint_t   apis;
    ngx_uint_t   methods;
    ngx_uint_t   same;      /* a shape with the one before */
    const char  *parts[PARTS];
} shapes[] = {
    { OLD, G, 0, { NULL } },
    { NEW, G, 0, { NULL } },
    { ANY, G|P, 0, { "orgs" } },
    { ANY, G|A|D, 0, { "orgs", "=org" } },
    { OLD, G, 0, { "orgs", "=org", "groups" } },
    { NEW, G, 1, { "orgs", "=org", "projects" } },
    { OLD, G, 0, { "orgs", "=org", "users" } },
    { OLD, G, 1, { "orgs", "=org", "teams" } },
    { OLD, G, 0, { "orgs", "=org", "invites" } },
    { ANY, G|A, 0, { "orgs", "=org", "settings" } },
    { ANY, G, 0, { "orgs", "=org", "events" } },
    { ANY, G, 0, { "orgs", "=org", "events", "=item" } },
    { ANY, G|P, 0, { "orgs", "=org", "apiKeys" } },
    { ANY, G|A|D, 0, { "orgs", "=org", "apiKeys", "=key" } },
    { ANY, G|P, 0, { "orgs", "=org", "apiKeys", "=key", "list" } },
    { ANY, G|D, 0, { "orgs", "=org", "apiKeys", "=key", "list", "=address" } },
    { NEW, G, 0, { "orgs", "=org", "apiKeys", "=key", "decision" } },
    { NEW, G|P, 0, { "orgs", "=org", "apiKeys", "=key", "secrets" } },
    { NEW, G|A|D, 0,
      { "orgs", "=org", "apiKeys", "=key", "secrets", "=item" } },
    { OLD, G|P, 0, { "groups" } },
    { NEW, G|P, 1, { "projects" } },
    { OLD, G|A|D, 0, { "groups", "=project" } },
    { NEW, G|A|D, 1, { "projects", "=project" } },
    { OLD, G, 0, { "groups", "byName", "=name" } },
    { OLD, G|P, 0, { "groups", "=project", "apiKeys" } },
    { NEW, G|P, 1, { "projects", "=project", "apiKeys" } },
    { OLD, P|A|D, 0, { "groups", "=project", "apiKeys", "=key" } },
    { NEW, U|D, 0, { "projects", "=project", "apiKeys", "=key" } },
    { ATLAS, G|A, 0, { "groups", "=project", "settings" } },
    { OLD, G, 0, { "groups", "=project", "users" } },
    { ATLAS, G, 1, { "groups", "=project", "clusters" } },
    { OLD, G|P, 0, { "groups", "=project", "teams" } },
    { OLD, A|D, 0, { "groups", "=project", "teams", "=name" } },
    { OLD, G, 0, { "groups", "=project", "invites" } },
    { ATLAS, G, 0, { "groups", "=project", "limits" } },
    { ATLAS, G, 0, { "groups", "=project", "ipAddresses" } },
    { ATLAS, G, 0, { "groups", "=project", "managedSlowMs" } },
    { ATLAS, P, 0, { "groups", "=project", "managedSlowMs", "enable" } },
    { ATLAS, D, 0, { "groups", "=project", "managedSlowMs", "disable" } },
    { OLD, G, 0, { "groups", "=project", "events" } },
    { NEW, G, 1, { "projects", "=project", "events" } },
    { OLD, G, 0, { "groups", "=project", "events", "=item" } },
    { NEW, G, 1, { "projects", "=project", "events", "=item" } },
    { V2, G, 0, { "eventTypes" } },
    { OM, G|P, 0, { "admin", "apiKeys" } },
    { OM, G, 0, { "admin", "apiKeys", "roles" } },
    { OM, G|A|D, 0, { "admin", "apiKeys", "=key" } },
    { OM, G|P, 0, { "admin", "list" } },
    { OM, G|A|D, 0, { "admin", "list", "=item" } }
};

#define NSHAPES  (sizeof(shapes) / sizeof(shapes[0]))


/* what the parts of a path are kept as */
static const struct {
    const char  *name;
    size_t       offset;
} kept[] = {
    { "=org", offsetof(ngx_http_apikeys_call_t, org) },
    { "=project", offsetof(ngx_http_apikeys_call_t, project) },
    { "=key", offsetof(ngx_http_apikeys_call_t, path_key) },
    { "=address", offsetof(ngx_http_apikeys_call_t, entry_text) },
    { "=item", offsetof(ngx_http_apikeys_call_t, item) },
    { "=name", offsetof(ngx_http_apikeys_call_t, name) }
};

#define NKEPT  (sizeof(kept) / sizeof(kept[0]))


/* the module's numbers of ours, plus one, as they are found out */
static ngx_uint_t  numbers[NSHAPES];


static void check_path(ngx_http_apikeys_call_t *call);
static ngx_int_t find_shape(ngx_http_apikeys_call_t *call, ngx_str_t *parts);
static ngx_uint_t split(ngx_str_t *rest, ngx_str_t *parts);
static ngx_uint_t is_part(ngx_http_apikeys_call_t *call, ngx_str_t *part,
    const char *name);
static ngx_uint_t is_list(ngx_http_apikeys_call_t *call, ngx_str_t *part);
static void check_number(ngx_uint_t shape, ngx_uint_t number);
static void check_parts(ngx_http_apikeys_call_t *call, ngx_uint_t shape,
    ngx_str_t *parts);
static void check_allow(ngx_http_request_t *r, ngx_uint_t methods);
static void check_query(ngx_http_apikeys_call_t *call);
static void check_links(ngx_http_apikeys_call_t *call);
static ngx_str_t text(ngx_apikeys_json_out_t *o);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_buf_t                b;
    ngx_http_request_t       r;
    ngx_http_apikeys_call_t  call;

    memset(&call, 0, sizeof(call));
    call.request = &r;
    call.conf = fuzz_request(&r, &b, data, size);

    if (call.conf) {
        check_path(&call);
        check_query(&call);
    }

    fuzz_done(&r);

    return 0;
}


static void
check_path(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                        rc, shape;
    ngx_str_t                        parts[PARTS];
    ngx_uint_t                       method;
    const ngx_http_apikeys_route_t  *route;

    rc = ngx_http_apikeys_routes_find(call);
    shape = find_shape(call, parts);

    if (shape == NGX_DECLINED) {
        must(rc == NGX_DECLINED);
        must(call->code == NGX_HTTP_APIKEYS_CODE_RESOURCE_NOT_FOUND);
        return;
    }

    method = call->request->method;

    if (method == NGX_HTTP_HEAD) {
        method = NGX_HTTP_GET;
    }

    if (!(shapes[shape].methods & method)) {
        must(rc == NGX_DECLINED);
        must(call->code == NGX_HTTP_APIKEYS_CODE_METHOD_NOT_ALLOWED);
        check_allow(call->request, shapes[shape].methods);
        return;
    }

    must(rc == NGX_OK);
    route = call->route;
    check_number(shape, route->path);
    must(route->method == method);
    check_parts(call, shape, parts);
}


static ngx_int_t
find_shape(ngx_http_apikeys_call_t *call, ngx_str_t *parts)
{
    ngx_str_t   rest;
    ngx_uint_t  i, k, n;

    rest.data = call->request->uri.data + call->conf->base.len;
    rest.len = call->request->uri.len - call->conf->base.len;

    if (rest.len > 512 || (rest.len && rest.data[0] != '/')) {
        return NGX_DECLINED;
    }

    n = split(&rest, parts);

    /* an address may have a slash in it; it is the last part then */

    if (n == 7 && is_list(call, &parts[4]) && parts[5].len) {
        parts[5].len = rest.data + rest.len - parts[5].data;
        n = 6;

    /* anything else, one at its end */

    } else if (n && parts[n - 1].len == 0) {
        n--;
    }

    for (i = 0; i < NSHAPES; i++) {

        if (!(shapes[i].apis & call->conf->api)) {
            continue;
        }

        for (k = 0; k < n && k < PARTS; k++) {
            if (!is_part(call, &parts[k], shapes[i].parts[k])) {
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
is_part(ngx_http_apikeys_call_t *call, ngx_str_t *part, const char *name)
{
    if (name == NULL || part->len == 0) {
        return 0;
    }

    if (name[0] == '=') {
        return 1;
    }

    if (strcmp(name, "list") == 0) {
        return is_list(call, part);
    }

    return part->len == strlen(name)
           && memcmp(part->data, name, part->len) == 0;
}


static ngx_uint_t
is_list(ngx_http_apikeys_call_t *call, ngx_str_t *part)
{
    return (part->len == 10
            && strncasecmp((char *) part->data, "accessList", 10) == 0)
           || (part->len == 9
               && strncasecmp((char *) part->data, "whitelist", 9) == 0
               && !(call->conf->api & (V2|NEW)));
}


/* one number for each shape */

static void
check_number(ngx_uint_t shape, ngx_uint_t number)
{
    ngx_uint_t  i;

    while (shapes[shape].same) {
        shape--;
    }

    if (numbers[shape] == 0) {

        for (i = 0; i < NSHAPES; i++) {
            must(numbers[i] != number + 1);
        }

        numbers[shape] = number + 1;
    }

    must(numbers[shape] == number + 1);
}


static void
check_parts(ngx_http_apikeys_call_t *call, ngx_uint_t shape, ngx_str_t *parts)
{
    ngx_str_t    *mine;
    ngx_uint_t    i, k;
    const char  **names;

    names = (const char **) shapes[shape].parts;

    for (k = 0; k < NKEPT; k++) {
        mine = (ngx_str_t *) ((u_char *) call + kept[k].offset);

        for (i = 0; i < PARTS && names[i]; i++) {
            if (strcmp(names[i], kept[k].name) == 0) {
                break;
            }
        }

        if (i == PARTS || names[i] == NULL) {
            must(mine->len == 0);
            continue;
        }

        must(mine->len == parts[i].len && mine->data == parts[i].data);
    }

    must(!call->whitelist == !(names[0] && names[0][0] == 'o' && names[1]
                               && names[2] && names[3] && names[4]
                               && parts[4].len == 9));
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

    if (methods & NGX_HTTP_PUT) {
        strcat(want, ", PUT");
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
check_query(ngx_http_apikeys_call_t *call)
{
    u_char                   *p;
    ngx_str_t                 args;
    ngx_http_apikeys_args_t   again;

    must(ngx_http_apikeys_args_parse(call->request, &call->args) == NGX_OK);

    must(call->args.page >= 1 && call->args.page <= NGX_MAX_INT32_VALUE);
    must(call->args.items >= 1 && call->args.items <= 500);
    must(call->args.kept.len <= call->request->args.len + 1);
    must(call->args.kept.len == 0
         || call->args.kept.data[call->args.kept.len - 1] == '&');

    check_links(call);

    args = call->request->args;

    p = ngx_pnalloc(call->request->pool, call->args.kept.len + 128);
    call->request->args.data = p;
    call->request->args.len = ngx_sprintf(p, "%VpageNum=%ui&itemsPerPage=%ui",
                                          &call->args.kept, call->args.page,
                                          call->args.items)
                             - p;

    must(ngx_http_apikeys_args_parse(call->request, &again) == NGX_OK);
    call->request->args = args;

    must(again.page == call->args.page && again.items == call->args.items);
    must(again.count == call->args.count && again.pretty == call->args.pretty);
    must(again.envelope == call->args.envelope);
    must(again.bad.len == call->args.bad.len);
    must(again.kept.len == call->args.kept.len);
    must(again.kept.len == 0
         || memcmp(again.kept.data, call->args.kept.data, again.kept.len)
            == 0);
}


static void
check_links(ngx_http_apikeys_call_t *call)
{
    size_t                   i;
    ngx_str_t                uri, doc, href, head;
    ngx_uint_t               n, total, page;
    ngx_apikeys_json_t      *value, *links;
    ngx_apikeys_json_out_t   out;

    uri = call->request->uri;
    head.data = ngx_pnalloc(call->request->pool, call->conf->base.len + 8);
    head.len = ngx_sprintf(head.data, "%V/orgs", &call->conf->base)
               - head.data;
    call->request->uri = head;
    page = call->args.page;
    total = 1000;

    ngx_http_apikeys_links_list(call, &out, total);
    ngx_http_apikeys_links_list_end(call, &out, total);
    call->request->uri = uri;
    doc = text(&out);

    must(fuzz_parse(call->request->pool, &doc, &value) == NGX_OK);
    links = ngx_apikeys_json_member(value, "links");
    n = 1 + (page > 1) + (page * call->args.items < total);
    must(ngx_apikeys_json_size(links) == n);
    must(!ngx_apikeys_json_member(value, "totalCount") == !call->args.count);

    value = ngx_apikeys_json_item(links, page > 1);
    ngx_apikeys_json_string(ngx_apikeys_json_member(value, "href"), &href);

    head.data = ngx_pnalloc(call->request->pool, call->args.kept.len + 256);
    head.len = ngx_sprintf(head.data,
                           "http://a.example%V/orgs?%VpageNum=%ui"
                           "&itemsPerPage=%ui", &call->conf->base,
                           &call->args.kept, page, call->args.items)
               - head.data;

    for (i = 0; i < call->args.kept.len; i++) {
        if (call->args.kept.data[i] >= 0x80) {
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
