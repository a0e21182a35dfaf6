
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The attributes of organizations and projects that clients set and read
 * back: a JSON object in a column.  One that was never set is absent there
 * and has its default.
 */


#ifndef _NGX_HTTP_APIKEYS_ATTRIBUTES_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_ATTRIBUTES_H_INCLUDED_


#include <ngx_http_apikeys.h>


/* a boolean attribute */
typedef struct {
    const char               *name;     /* NULL ends a table */
    ngx_uint_t                value;    /* where it was never set */
} ngx_http_apikeys_flag_t;


#define NGX_HTTP_APIKEYS_ATTRIBUTES_MAX_FLAGS  16


/*
 * Parses the attributes in a row of ctx->query.  NULL: without memory, and
 * out->failed is set; else to be freed with ngx_apikeys_json_free().
 */
ngx_apikeys_json_t *ngx_http_apikeys_attributes_parse(
    ngx_http_apikeys_ctx_t *ctx, ngx_apikeys_json_out_t *out, ngx_uint_t row);

/* the value of a flag, as it was set or by default */
ngx_uint_t ngx_http_apikeys_attributes_flag(ngx_apikeys_json_t *attributes,
    const ngx_http_apikeys_flag_t *flag);

/* writes a member for each flag of a table */
void ngx_http_apikeys_attributes_write(ngx_apikeys_json_out_t *out,
    ngx_apikeys_json_t *attributes, const ngx_http_apikeys_flag_t *flags);

/*
 * Takes the flags that ctx->body sets as a parameter for PostgreSQL.  Refuses
 * what is no object, unknown attributes, and values that are no booleans.
 */
ngx_int_t ngx_http_apikeys_attributes_take(ngx_http_apikeys_ctx_t *ctx,
    const ngx_http_apikeys_flag_t *flags, ngx_str_t *param);


#endif /* _NGX_HTTP_APIKEYS_ATTRIBUTES_H_INCLUDED_ */
