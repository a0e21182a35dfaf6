
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_header.h>
#include <ngx_http_apikeys_links.h>


#define NGX_HTTP_APIKEYS_LINKS_PATH_LEN  256


static void ngx_http_apikeys_links_page(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const char *rel, const ngx_str_t *path,
    ngx_uint_t page);
static void ngx_http_apikeys_links_path(ngx_http_apikeys_call_t *call,
    ngx_str_t *path);
static ngx_int_t ngx_http_apikeys_links_href(ngx_http_apikeys_call_t *call,
    ngx_str_t *href, const char *fmt, ...);
static ngx_int_t ngx_http_apikeys_links_vhref(ngx_http_apikeys_call_t *call,
    ngx_str_t *href, const char *fmt, va_list args);
static void ngx_http_apikeys_links_host(ngx_http_request_t *r,
    ngx_str_t *host);
static u_char *ngx_http_apikeys_links_origin(ngx_http_request_t *r,
    const ngx_str_t *name, u_char *p, u_char *last);
static void ngx_http_apikeys_links_write(ngx_apikeys_json_out_t *out,
    const char *rel, ngx_str_t *href);


void
ngx_http_apikeys_link(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const char *rel, const char *fmt, ...)
{
    va_list    args;
    ngx_int_t  rc;
    ngx_str_t  href;

    va_start(args, fmt);
    rc = ngx_http_apikeys_links_vhref(call, &href, fmt, args);
    va_end(args);

    if (rc != NGX_OK) {
        out->failed = 1;
        return;
    }

    ngx_http_apikeys_links_write(out, rel, &href);
}


void
ngx_http_apikeys_links_self(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const char *fmt, ...)
{
    va_list    args;
    ngx_int_t  rc;
    ngx_str_t  href;

    va_start(args, fmt);
    rc = ngx_http_apikeys_links_vhref(call, &href, fmt, args);
    va_end(args);

    if (rc != NGX_OK) {
        out->failed = 1;
        return;
    }

    ngx_apikeys_json_out_name(out, "links");
    ngx_apikeys_json_out_array(out);
    ngx_http_apikeys_links_write(out, "self", &href);
    ngx_apikeys_json_out_array_end(out);
}


void
ngx_http_apikeys_links_list(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t total)
{
    ngx_str_t   path;
    ngx_uint_t  page;

    page = call->args.page;

    ngx_http_apikeys_links_path(call, &path);

    ngx_apikeys_json_out_init(out, call->request->pool, call->args.pretty);

    ngx_apikeys_json_out_object(out);

    ngx_apikeys_json_out_name(out, "links");
    ngx_apikeys_json_out_array(out);

    if (page > 1) {
        ngx_http_apikeys_links_page(call, out, "previous", &path, page - 1);
    }

    ngx_http_apikeys_links_page(call, out, "self", &path, page);

    if ((uint64_t) page * call->args.items < total) {
        ngx_http_apikeys_links_page(call, out, "next", &path, page + 1);
    }

    ngx_apikeys_json_out_array_end(out);

    ngx_apikeys_json_out_name(out, "results");
    ngx_apikeys_json_out_array(out);
}


void
ngx_http_apikeys_links_list_end(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t total)
{
    ngx_apikeys_json_out_array_end(out);

    if (call->args.envelope) {
        ngx_apikeys_json_out_name(out, "status");
        ngx_apikeys_json_out_int(out, call->pending ? NGX_HTTP_ACCEPTED
                                                   : NGX_HTTP_OK);
    }

    if (call->args.count) {
        ngx_apikeys_json_out_name(out, "totalCount");
        ngx_apikeys_json_out_int(out, total);
    }

    ngx_apikeys_json_out_object_end(out);
}


ngx_int_t
ngx_http_apikeys_links_location(ngx_http_apikeys_call_t *call,
    const char *fmt, ...)
{
    va_list                 args;
    ngx_int_t               rc;
    ngx_str_t               href;
    static const ngx_str_t  location = ngx_string("Location");

    va_start(args, fmt);
    rc = ngx_http_apikeys_links_vhref(call, &href, fmt, args);
    va_end(args);

    if (rc != NGX_OK
        || ngx_http_apikeys_header_add(call->request, &location, &href)
           == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


const char *
ngx_http_apikeys_links_projects(ngx_http_apikeys_call_t *call)
{
    return ngx_http_apikeys_native(call) ? "projects" : "groups";
}


const char *
ngx_http_apikeys_links_rel(ngx_http_apikeys_call_t *call, const char *mms,
    const char *cloud)
{
    return (call->conf->api == NGX_HTTP_APIKEYS_API_OPS_MANAGER) ? mms : cloud;
}


/* what follows the base in the request, without a slash at the end */

static void
ngx_http_apikeys_links_path(ngx_http_apikeys_call_t *call, ngx_str_t *path)
{
    path->data = call->request->uri.data + call->conf->base.len;
    path->len = call->request->uri.len - call->conf->base.len;

    if (path->len && path->data[path->len - 1] == '/') {
        path->len--;
    }
}


void
ngx_http_apikeys_links_child(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const char *parent, const ngx_str_t *id,
    const char *child)
{
    u_char  rel[sizeof("https://cloud.mongodb.com/databaseUsers")];

    (void) ngx_snprintf(rel, sizeof(rel), "%s/%s%Z",
                        call->conf->api == NGX_HTTP_APIKEYS_API_ATLAS_V2
                        ? "https://cloud.mongodb.com"
                        : "http://mms.mongodb.com", child);

    ngx_http_apikeys_link(call, out, (char *) rel, "/%s/%V/%s", parent, id,
                          child);
}


static void
ngx_http_apikeys_links_page(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const char *rel, const ngx_str_t *path,
    ngx_uint_t page)
{
    u_char     *p, *last;
    size_t      len;
    ngx_str_t   href;

    if (ngx_http_apikeys_links_href(call, &href, "%V", path) != NGX_OK) {
        out->failed = 1;
        return;
    }

    len = href.len + call->args.kept.len
          + sizeof("?itemsPerPage=&pageNum=") + 2 * NGX_INT_T_LEN;

    p = ngx_pnalloc(out->pool, len);
    if (p == NULL) {
        out->failed = 1;
        return;
    }

    /*
     * Atlas writes pageNum first in "self" and itemsPerPage first in all
     * others
     */

    if (ngx_strcmp(rel, "self") == 0) {
        last = ngx_slprintf(p, p + len, "%V?%VpageNum=%ui&itemsPerPage=%ui",
                            &href, &call->args.kept, page, call->args.items);

    } else {
        last = ngx_slprintf(p, p + len, "%V?%VitemsPerPage=%ui&pageNum=%ui",
                            &href, &call->args.kept, call->args.items, page);
    }

    href.data = p;
    href.len = last - p;

    ngx_http_apikeys_links_write(out, rel, &href);
}


static ngx_int_t
ngx_http_apikeys_links_href(ngx_http_apikeys_call_t *call, ngx_str_t *href,
    const char *fmt, ...)
{
    va_list    args;
    ngx_int_t  rc;

    va_start(args, fmt);
    rc = ngx_http_apikeys_links_vhref(call, href, fmt, args);
    va_end(args);

    return rc;
}


static ngx_int_t
ngx_http_apikeys_links_vhref(ngx_http_apikeys_call_t *call, ngx_str_t *href,
    const char *fmt, va_list args)
{
    u_char              *p, *last, *end;
    size_t               len;
    ngx_str_t            host;
    ngx_http_request_t  *r;

    r = call->request;

    len = sizeof("https://") + NGX_HTTP_APIKEYS_LINKS_PATH_LEN
          + call->conf->public_url.len + call->conf->base.len
          + NGX_SOCKADDR_STRLEN;

    ngx_http_apikeys_links_host(r, &host);
    len += host.len;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    end = p + len;

    if (call->conf->public_url.len) {
        last = ngx_cpymem(p, call->conf->public_url.data,
                          call->conf->public_url.len);

    } else {
        last = ngx_http_apikeys_links_origin(r, &host, p, end);
    }

    last = ngx_slprintf(last, end, "%V", &call->conf->base);
    last = ngx_vslprintf(last, end, fmt, args);

    href->data = p;
    href->len = last - p;

    return NGX_OK;
}


/* as the client sent it: HTTP/3 has :authority instead of a Host header */

static void
ngx_http_apikeys_links_host(ngx_http_request_t *r, ngx_str_t *host)
{
    if (r->headers_in.host) {
        *host = r->headers_in.host->value;
        return;
    }

    ngx_str_null(host);

#if (NGX_HTTP_V3)

    if (r->http_version == NGX_HTTP_VERSION_30 && r->host_start) {
        host->data = r->host_start;
        host->len = r->host_end - r->host_start;
    }

#endif
}


static u_char *
ngx_http_apikeys_links_origin(ngx_http_request_t *r, const ngx_str_t *name,
    u_char *p, u_char *last)
{
    ngx_str_t  host;
    u_char     addr[NGX_SOCKADDR_STRLEN];

    host = *name;

    if (host.len == 0) {

        /* HTTP/1.0 without Host: the address that the client connected to */

        host.data = addr;
        host.len = NGX_SOCKADDR_STRLEN;

        if (ngx_connection_local_sockaddr(r->connection, &host, 1)
            != NGX_OK)
        {
            host.len = 0;
        }
    }

#if (NGX_HTTP_SSL)

    if (r->connection->ssl) {
        return ngx_slprintf(p, last, "https://%V", &host);
    }

#endif

    return ngx_slprintf(p, last, "http://%V", &host);
}


static void
ngx_http_apikeys_links_write(ngx_apikeys_json_out_t *out, const char *rel,
    ngx_str_t *href)
{
    ngx_str_t  value;

    value.data = (u_char *) rel;
    value.len = ngx_strlen(rel);

    ngx_apikeys_json_out_object(out);
    ngx_apikeys_json_out_name(out, "href");
    ngx_apikeys_json_out_string(out, href);
    ngx_apikeys_json_out_name(out, "rel");
    ngx_apikeys_json_out_string(out, &value);
    ngx_apikeys_json_out_object_end(out);
}
