
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Identifiers of organizations, projects and keys: BSON ObjectIds, 12 bytes,
 * written as 24 lower-case hex digits.
 */


#ifndef _NGX_APIKEYS_OBJECTID_H_INCLUDED_
#define _NGX_APIKEYS_OBJECTID_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_APIKEYS_OBJECTID_LEN       12
#define NGX_APIKEYS_OBJECTID_TEXT_LEN  24


typedef struct {
    u_char  data[NGX_APIKEYS_OBJECTID_LEN];
} ngx_apikeys_objectid_t;


/* NGX_OK, or NGX_ERROR unless the text is exactly 24 lower-case hex digits */
ngx_int_t ngx_apikeys_objectid_parse(ngx_apikeys_objectid_t *id,
    const ngx_str_t *text);

/* writes 24 digits and no NUL, returns the end */
u_char *ngx_apikeys_objectid_write(u_char *p,
    const ngx_apikeys_objectid_t *id);

/* the id of nothing: the organization of a global key */
ngx_uint_t ngx_apikeys_objectid_zero(const ngx_apikeys_objectid_t *id);

/* the first four bytes are the second of creation, the rest is random */
ngx_int_t ngx_apikeys_objectid_generate(ngx_apikeys_objectid_t *id);


#endif /* _NGX_APIKEYS_OBJECTID_H_INCLUDED_ */
