
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The member "links" of resources, and the object of a list with links,
 * results and totalCount (docs/compatibility.md D8, D9, D14, D15).
 */


#ifndef _NGX_HTTP_APIKEYS_LINKS_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_LINKS_H_INCLUDED_


#include <ngx_http_apikeys_call.h>


/*
 * Writes one link object.  The reference is scheme, host and base of the
 * API, then "fmt" as in ngx_sprintf(); its arguments may take 256 bytes.
 */
void ngx_http_apikeys_link(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const char *rel, const char *fmt, ...);

/* writes the member "links" with only the link "self" */
void ngx_http_apikeys_links_self(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const char *fmt, ...);

/*
 * Opens a list: the links to pages of the resource in the request, and
 * "results".  "total" is the size of the whole set.  The caller writes the
 * objects of the page.
 */
void ngx_http_apikeys_links_list(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t total);
void ngx_http_apikeys_links_list_end(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t total);

/* adds the header Location; NGX_ERROR: no memory */
ngx_int_t ngx_http_apikeys_links_location(ngx_http_apikeys_call_t *call,
    const char *fmt, ...);

/* how paths of this API call projects */
const char *ngx_http_apikeys_links_projects(ngx_http_apikeys_call_t *call);

/*
 * A link from an organization or project to what belongs to it: "parent" is
 * "orgs" or "groups".  Only v2 says cloud.
 */
void ngx_http_apikeys_links_child(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const char *parent, const ngx_str_t *id,
    const char *child);

/* the rel of a resource: its host differs between v2 and the older APIs */
const char *ngx_http_apikeys_links_rel(ngx_http_apikeys_call_t *call,
    const char *mms, const char *cloud);


#endif /* _NGX_HTTP_APIKEYS_LINKS_H_INCLUDED_ */
