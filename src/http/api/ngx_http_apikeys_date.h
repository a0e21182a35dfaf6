
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#ifndef _NGX_HTTP_APIKEYS_DATE_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_DATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Parses a time in ISO 8601: a date, then optionally "T", hours, minutes,
 * seconds, a fraction, then optionally "Z" or an offset, with or without a
 * colon; a space is a "+" that was not escaped.  Without an offset it is UTC.
 * "t" is set to seconds since 1970, without the fraction.  NGX_DECLINED:
 * invalid.
 */
ngx_int_t ngx_http_apikeys_date_parse(const ngx_str_t *text, time_t *t);

#define NGX_HTTP_APIKEYS_DATE_LEN      (sizeof("2026-01-31T12:00:00Z") - 1)

/* parses exactly this form, after 1970 began */
ngx_int_t ngx_http_apikeys_date_parse_utc(const ngx_str_t *text, time_t *t);
/* writes it, and returns its end */
u_char *ngx_http_apikeys_date_write(u_char *p, time_t t);


#endif /* _NGX_HTTP_APIKEYS_DATE_H_INCLUDED_ */
