
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#ifndef _NGX_HTTP_APIKEYS_DATE_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_DATE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * A time as clients write it (ISO 8601): a date, then perhaps "T" and hours,
 * minutes, seconds, a fraction, then perhaps "Z" or an offset, with a colon
 * or without; a blank is a "+" that was not escaped.  Without an offset it is
 * UTC.  "t" gets its second since 1970, the fraction is cut.  NGX_DECLINED
 * for everything else.
 */
ngx_int_t ngx_http_apikeys_date_parse(const ngx_str_t *text, time_t *t);


#endif /* _NGX_HTTP_APIKEYS_DATE_H_INCLUDED_ */
