
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Small files that hold a secret: read by the master, at configuration.
 */


#ifndef _NGX_APIKEYS_SECRET_FILE_H_INCLUDED_
#define _NGX_APIKEYS_SECRET_FILE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Reads all of a file, at most "size" bytes, into "buf".  "what" names it in
 * messages, "advice" says how to make one.  Refused, with an [emerg] that
 * says what to do: what is no regular file, is open to others than its owner,
 * or is larger.  Returns the bytes read, or NGX_ERROR.
 */
ssize_t ngx_apikeys_secret_file_read(ngx_conf_t *cf, const char *what,
    const char *advice, ngx_str_t *file, u_char *buf, size_t size);

/*
 * The one line of such a file, without white space around it, in cf->pool.
 * An empty one is refused.
 */
ngx_int_t ngx_apikeys_secret_file_line(ngx_conf_t *cf, const char *what,
    const char *advice, ngx_str_t *file, ngx_str_t *line);


#endif /* _NGX_APIKEYS_SECRET_FILE_H_INCLUDED_ */
