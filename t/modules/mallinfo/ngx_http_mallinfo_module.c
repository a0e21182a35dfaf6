
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * "mallinfo" in a location answers with the bytes that are allocated in the
 * worker, those in mapped blocks included.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <malloc.h>


static ngx_int_t ngx_http_mallinfo_handler(ngx_http_request_t *r);
static char *ngx_http_mallinfo(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_http_mallinfo_commands[] = {

    { ngx_string("mallinfo"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_mallinfo,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_mallinfo_module_ctx = {
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
};


ngx_module_t  ngx_http_mallinfo_module = {
    NGX_MODULE_V1,
    &ngx_http_mallinfo_module_ctx,
    ngx_http_mallinfo_commands,
    NGX_HTTP_MODULE,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_mallinfo_handler(ngx_http_request_t *r)
{
    u_char                    *p;
    struct mallinfo2           info;
    ngx_http_complex_value_t   cv;
    static ngx_str_t           type = ngx_string("text/plain");

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    info = mallinfo2();

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));
    cv.value.data = p;
    cv.value.len = ngx_sprintf(p, "%uz", info.uordblks + info.hblkhd) - p;

    return ngx_http_send_response(r, NGX_HTTP_OK, &type, &cv);
}


static char *
ngx_http_mallinfo(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_mallinfo_handler;

    return NGX_CONF_OK;
}
