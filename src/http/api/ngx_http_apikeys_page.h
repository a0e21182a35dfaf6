
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Lists that are read from the database page by page.
 */


#ifndef _NGX_HTTP_APIKEYS_PAGE_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_PAGE_H_INCLUDED_


#include <ngx_http_apikeys_run.h>


/* LIMIT and OFFSET: the last parameters of a statement that reads a page */
#define NGX_HTTP_APIKEYS_PAGE_NPARAMS  2


/*
 * How the result of such a statement is written.  Each row has the size of
 * the whole list; the result of an empty page is one row without an id.
 */
struct ngx_http_apikeys_page_s {
    ngx_uint_t    total;        /* column */
    ngx_uint_t    id;           /* column */
    ngx_uint_t    zero_count;   /* totalCount is 0 with includeCount=false */
    void        (*write)(ngx_http_apikeys_call_t *call,
        ngx_apikeys_json_out_t *out, ngx_uint_t row);
};


/*
 * The parameters of a statement that reads a page, in r->pool: the last two
 * are set, the others are SQL NULL.  NULL: no memory.
 */
ngx_str_t *ngx_http_apikeys_page_params(ngx_http_apikeys_call_t *call,
    const ngx_apikeys_pg_stmt_t *stmt);

/*
 * Runs the statement and answers with the list.  Returns as
 * ngx_http_apikeys_run() does.
 */
ngx_int_t ngx_http_apikeys_page_run(ngx_http_apikeys_call_t *call,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params,
    const ngx_http_apikeys_page_t *page);


#endif /* _NGX_HTTP_APIKEYS_PAGE_H_INCLUDED_ */
