
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The objects of the native API as JSON.  Members have the order of
 * docs/openapi-native.yaml, and one without a value is null.
 */


#ifndef _NGX_HTTP_APIKEYS_NATIVE_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_NATIVE_H_INCLUDED_


#include <ngx_http_apikeys_key.h>


/* each writes the object of a row whose first columns are a state */
void ngx_http_apikeys_native_org(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row);
void ngx_http_apikeys_native_project(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row);
/* "created": a new key, shown with its private key; or NULL */
void ngx_http_apikeys_native_key(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row,
    const ngx_http_apikeys_new_key_t *created);

/* the private key, and both keys as the token of scheme bearer */
void ngx_http_apikeys_native_secret(ngx_apikeys_json_out_t *out,
    const ngx_http_apikeys_new_key_t *created);

/* a member with the text of a column */
void ngx_http_apikeys_native_member(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, const char *name,
    ngx_uint_t column);

/* a member with a time; null if it is 0 */
void ngx_http_apikeys_native_time(ngx_apikeys_json_out_t *out,
    const char *name, time_t t);

/*
 * A member with an address without its prefix length, or with a block; null if
 * "cidr" has no family.
 */
void ngx_http_apikeys_native_address(ngx_apikeys_json_out_t *out,
    const char *name, const ngx_apikeys_cidr_t *cidr);
void ngx_http_apikeys_native_block(ngx_apikeys_json_out_t *out,
    const char *name, const ngx_apikeys_cidr_t *cidr);


#endif /* _NGX_HTTP_APIKEYS_NATIVE_H_INCLUDED_ */
