
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Headers of requests and responses that nginx keeps only in lists.
 */


#ifndef _NGX_HTTP_APIKEYS_HEADER_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_HEADER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * The next header of that name, case-insensitive, or NULL.  The name is in
 * lower case.  Before the first call "part" must be the first part of the list
 * and "i" 0.
 */
ngx_table_elt_t *ngx_http_apikeys_header_next(ngx_list_part_t **part,
    ngx_uint_t *i, const ngx_str_t *name);

/*
 * Adds a header to the response; both strings must outlive the request.  NULL:
 * no memory.
 */
ngx_table_elt_t *ngx_http_apikeys_header_add(ngx_http_request_t *r,
    const ngx_str_t *name, const ngx_str_t *value);


#endif /* _NGX_HTTP_APIKEYS_HEADER_H_INCLUDED_ */
