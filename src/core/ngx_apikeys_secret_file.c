
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_secret_file.h>


#define NGX_APIKEYS_SECRET_FILE_LINE_LEN  1024


static void ngx_apikeys_secret_file_missing(ngx_conf_t *cf, const char *what,
    const char *advice, ngx_str_t *file, ngx_err_t err);
static ngx_int_t ngx_apikeys_secret_file_check(ngx_conf_t *cf,
    const char *what, ngx_str_t *file, ngx_fd_t fd, size_t size);


ssize_t
ngx_apikeys_secret_file_read(ngx_conf_t *cf, const char *what,
    const char *advice, ngx_str_t *file, u_char *buf, size_t size)
{
    ssize_t    n;
    ngx_fd_t   fd;
    ngx_str_t  name;

    name = *file;

    if (ngx_conf_full_name(cf->cycle, &name, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    /* non-blocking: a fifo would otherwise hold the master for ever */

    fd = ngx_open_file(name.data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_apikeys_secret_file_missing(cf, what, advice, &name, ngx_errno);
        return NGX_ERROR;
    }

    n = NGX_ERROR;

    if (ngx_apikeys_secret_file_check(cf, what, &name, fd, size) == NGX_OK) {

        n = ngx_read_fd(fd, buf, size);

        if (n == -1) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                               ngx_read_fd_n " %s \"%V\" failed", what,
                               &name);
            n = NGX_ERROR;
        }
    }

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " %s \"%V\" failed", what, &name);
    }

    return n;
}


/* the reason stands before the advice, which is long */

static void
ngx_apikeys_secret_file_missing(ngx_conf_t *cf, const char *what,
    const char *advice, ngx_str_t *file, ngx_err_t err)
{
    u_char  *last, reason[NGX_MAX_CONF_ERRSTR];

    last = ngx_log_errno(reason, reason + sizeof(reason), err);

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "cannot open %s \"%V\"%*s: %s", what, file,
                       (size_t) (last - reason), reason,
                       err == NGX_ENOENT ? advice
                       : "must be readable by the user that starts nginx");
}


static ngx_int_t
ngx_apikeys_secret_file_check(ngx_conf_t *cf, const char *what,
    ngx_str_t *file, ngx_fd_t fd, size_t size)
{
    ngx_uint_t       mode;
    ngx_file_info_t  fi;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_fd_info_n " %s \"%V\" failed", what, file);
        return NGX_ERROR;
    }

    if (!ngx_is_file(&fi)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s \"%V\" is not a regular file, correct the "
                           "path", what, file);
        return NGX_ERROR;
    }

    mode = ngx_file_access(&fi);

    if (mode & 0077) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "permissions 0%ui%ui%ui of %s \"%V\" are too open, "
                           "run \"chmod 600 %V\"", mode >> 6, (mode >> 3) & 7,
                           mode & 7, what, file, file);
        return NGX_ERROR;
    }

    if (ngx_file_size(&fi) > (off_t) size) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s \"%V\" has %O bytes, at most %uz are "
                           "possible, correct the path or the file", what,
                           file, ngx_file_size(&fi), size);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_apikeys_secret_file_line(ngx_conf_t *cf, const char *what,
    const char *advice, const char *content, ngx_str_t *file,
    ngx_str_t *line)
{
    u_char   *p, *last;
    ssize_t   n;

    p = ngx_pcalloc(cf->pool, NGX_APIKEYS_SECRET_FILE_LINE_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    n = ngx_apikeys_secret_file_read(cf, what, advice, file, p,
                                     NGX_APIKEYS_SECRET_FILE_LINE_LEN);
    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    last = p + n;

    while (last > p && last[-1] <= ' ') {
        last--;
    }

    while (p < last && *p <= ' ') {
        p++;
    }

    line->data = p;
    line->len = last - p;

    if (line->len == 0 || ngx_strlchr(p, last, LF)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s \"%V\" %s, must contain exactly one line, %s",
                           what, file,
                           line->len ? "has several lines" : "is empty",
                           content);
        return NGX_ERROR;
    }

    return NGX_OK;
}
