
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Links and the list envelope (atlas-api 6).
 */


#ifndef _NGX_HTTP_APIKEYS_LINKS_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_LINKS_H_INCLUDED_


#include <ngx_http_apikeys.h>


/*
 * Writes one link object.  The reference is scheme, host and base of the
 * API, then "fmt" as in ngx_sprintf(); its arguments may take 256 bytes.
 */
void ngx_http_apikeys_link(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, const char *rel, const char *fmt, ...);

/* the member "links" with a link "self" alone */
void ngx_http_apikeys_links_self(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, const char *fmt, ...);

/*
 * Opens a list: its links, and "results".  "path" is what follows the base,
 * "total" the size of the whole set.  The caller writes the page's objects.
 */
void ngx_http_apikeys_links_list(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, const ngx_str_t *path, ngx_uint_t total);
void ngx_http_apikeys_links_list_end(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t total);

/* writes the whole reference to r->pool: for Location; NGX_ERROR: no memory */
ngx_int_t ngx_http_apikeys_links_href(ngx_http_apikeys_ctx_t *ctx,
    ngx_str_t *href, const char *fmt, ...);

/* what follows the base in the request, without a slash at the end */
void ngx_http_apikeys_links_path(ngx_http_apikeys_ctx_t *ctx,
    ngx_str_t *path);

/*
 * A link from an organization or project to what belongs to it: "parent" is
 * "orgs" or "groups".  Only v2 says cloud.
 */
void ngx_http_apikeys_links_child(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, const char *parent, const ngx_str_t *id,
    const char *child);

/* rel of a resource: the older products have another host than v2 */
const char *ngx_http_apikeys_links_rel(ngx_http_apikeys_ctx_t *ctx,
    const char *mms, const char *cloud);


#endif /* _NGX_HTTP_APIKEYS_LINKS_H_INCLUDED_ */
