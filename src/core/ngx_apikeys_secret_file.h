
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Reads small files with a secret, in the master, at configuration.
 */


#ifndef _NGX_APIKEYS_SECRET_FILE_H_INCLUDED_
#define _NGX_APIKEYS_SECRET_FILE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Reads a whole file, at most "size" bytes, into "buf".  Messages name the file
 * by "what"; "advice" says how to create a missing file.  A file that is not
 * regular, that others than its owner may read, or that is larger is refused
 * with an [emerg] that says what to do.  Returns the number of bytes, or
 * NGX_ERROR.
 */
ssize_t ngx_apikeys_secret_file_read(ngx_conf_t *cf, const char *what,
    const char *advice, ngx_str_t *file, u_char *buf, size_t size);

/*
 * Reads a file of one line, without white space around the line, into
 * cf->pool.  Messages name the line by "content".  An empty line is refused.
 */
ngx_int_t ngx_apikeys_secret_file_line(ngx_conf_t *cf, const char *what,
    const char *advice, const char *content, ngx_str_t *file,
    ngx_str_t *line);


#endif /* _NGX_APIKEYS_SECRET_FILE_H_INCLUDED_ */
