
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_page.h>


static ngx_int_t ngx_http_apikeys_page_done(ngx_http_apikeys_call_t *call);


ngx_str_t *
ngx_http_apikeys_page_params(ngx_http_apikeys_call_t *call,
    const ngx_apikeys_pg_stmt_t *stmt)
{
    u_char      *p;
    uint64_t     offset;
    ngx_str_t   *params, *last;
    ngx_pool_t  *pool;

    pool = call->request->pool;

    params = ngx_pcalloc(pool, stmt->nparams * sizeof(ngx_str_t));
    p = ngx_pnalloc(pool, 2 * NGX_INT64_LEN);

    if (params == NULL || p == NULL) {
        return NULL;
    }

    last = &params[stmt->nparams - NGX_HTTP_APIKEYS_PAGE_NPARAMS];

    last[0].data = p;
    p = ngx_sprintf(p, "%ui", call->args.items);
    last[0].len = p - last[0].data;

    offset = (uint64_t) (call->args.page - 1) * call->args.items;

    last[1].data = p;
    p = ngx_sprintf(p, "%uL", offset);
    last[1].len = p - last[1].data;

    return params;
}


ngx_int_t
ngx_http_apikeys_page_run(ngx_http_apikeys_call_t *call,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params,
    const ngx_http_apikeys_page_t *page)
{
    call->page = page;

    return ngx_http_apikeys_run(call, stmt, params, ngx_http_apikeys_page_done);
}


static ngx_int_t
ngx_http_apikeys_page_done(ngx_http_apikeys_call_t *call)
{
    ngx_str_t                       value;
    ngx_uint_t                      i, total;
    ngx_apikeys_json_out_t          out;
    const ngx_http_apikeys_page_t  *page;

    page = call->page;

    (void) ngx_apikeys_pg_query_value(call->query, 0, page->total, &value);
    total = ngx_atoi(value.data, value.len);

    ngx_http_apikeys_links_list(call, &out, total);

    for (i = 0; i < ngx_apikeys_pg_query_nrows(call->query); i++) {

        if (ngx_apikeys_pg_query_value(call->query, i, page->id, &value)
            == NGX_OK)
        {
            page->write(call, &out, i);
        }
    }

    if (page->zero_count && !call->args.count) {
        call->args.count = 1;
        total = 0;
    }

    ngx_http_apikeys_links_list_end(call, &out, total);

    return ngx_http_apikeys_output_document(call, &out, NGX_HTTP_OK);
}
