
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Attributes of organizations and projects that clients can set and read but
 * that have no effect here: a JSON object in a column.  An attribute that was
 * never set is absent from it and has its default.
 */


#ifndef _NGX_HTTP_APIKEYS_ATTRIBUTES_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_ATTRIBUTES_H_INCLUDED_


#include <ngx_http_apikeys_call.h>


/* a boolean attribute */
typedef struct {
    const char               *name;     /* NULL ends a table */
    ngx_uint_t                value;    /* the default */
} ngx_http_apikeys_flag_t;


#define NGX_HTTP_APIKEYS_ATTRIBUTES_MAX_FLAGS  16


/*
 * Parses the attributes of a row of call->query; free them with
 * ngx_apikeys_json_free().  NULL: no memory, and out->failed is set.
 */
ngx_apikeys_json_t *ngx_http_apikeys_attributes_parse(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_out_t *out, ngx_uint_t row);

/* the value of a flag, or its default */
ngx_uint_t ngx_http_apikeys_attributes_flag(ngx_apikeys_json_t *attributes,
    const ngx_http_apikeys_flag_t *flag);

/* writes a member for each flag of a table */
void ngx_http_apikeys_attributes_write(ngx_apikeys_json_out_t *out,
    ngx_apikeys_json_t *attributes, const ngx_http_apikeys_flag_t *flags);

/*
 * Turns the flags in call->body into a parameter for PostgreSQL.  Refuses a
 * body that is not an object, unknown attributes, and values that are not
 * boolean.
 */
ngx_int_t ngx_http_apikeys_attributes_take(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_flag_t *flags, ngx_str_t *param);


#endif /* _NGX_HTTP_APIKEYS_ATTRIBUTES_H_INCLUDED_ */
