
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Lists in text, such as "a,b,c".
 */


#ifndef _NGX_APIKEYS_LIST_H_INCLUDED_
#define _NGX_APIKEYS_LIST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Removes the first item from "rest".  "item" is a slice of the text.  Between
 * two adjacent separators there is an empty item.  Returns 0 if "rest" is
 * empty.
 */
ngx_uint_t ngx_apikeys_list_next(ngx_str_t *rest, u_char separator,
    ngx_str_t *item);

/* removes blanks and tabs from both ends */
void ngx_apikeys_list_trim(ngx_str_t *item);


#endif /* _NGX_APIKEYS_LIST_H_INCLUDED_ */
