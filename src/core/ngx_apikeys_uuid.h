
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Random UUIDs, version 4 (RFC 9562, section 5.4).
 */


#ifndef _NGX_APIKEYS_UUID_H_INCLUDED_
#define _NGX_APIKEYS_UUID_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_APIKEYS_UUID_LEN       16
#define NGX_APIKEYS_UUID_TEXT_LEN  36


/*
 * Sets the version and the variant in the random bytes, and writes them as 36
 * characters without a NUL.
 */
void ngx_apikeys_uuid_write(u_char *p, u_char bytes[NGX_APIKEYS_UUID_LEN]);


#endif /* _NGX_APIKEYS_UUID_H_INCLUDED_ */
