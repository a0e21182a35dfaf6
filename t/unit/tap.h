
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What every unit test needs: TAP, and as much of a started nginx as its
 * core functions take for granted.  Log messages are kept, not printed, so
 * that a test can look at the last one.
 */


#ifndef _TAP_H_INCLUDED_
#define _TAP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define ok(condition, ...)                                                   \
    tap_ok((condition) ? 1 : 0, __FILE__, __LINE__, __VA_ARGS__)

/* an ngx_str_t against a C string */
#define is_str(s, text, ...)                                                 \
    do {                                                                     \
        if (!tap_ok(tap_equal((s), (text)), __FILE__, __LINE__,              \
                    __VA_ARGS__))                                            \
        {                                                                    \
            printf("#  got: %.*s\n# want: %s\n", (int) (s)->len,             \
                   (char *) (s)->data, (text));                              \
        }                                                                    \
    } while (0)


static ngx_uint_t   tap_count, tap_failed;
static ngx_cycle_t  tap_cycle;
static ngx_log_t    tap_log;
static char         tap_message[NGX_MAX_ERROR_STR + 1];


static ngx_uint_t __attribute__((format(printf, 4, 5), unused))
tap_ok(ngx_uint_t passed, const char *file, int line, const char *fmt, ...)
{
    va_list  args;

    printf("%sok %d - ", passed ? "" : "not ", (int) ++tap_count);

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);

    printf("\n");

    if (!passed) {
        tap_failed++;
        printf("# failed at %s:%d\n", file, line);
    }

    fflush(stdout);

    return passed;
}


static ngx_uint_t __attribute__((unused))
tap_equal(const ngx_str_t *s, const char *text)
{
    return s->len == strlen(text) && memcmp(s->data, text, s->len) == 0;
}


/* a copy without a byte to spare, so that sanitizers see any read beyond */

static ngx_str_t __attribute__((unused))
tap_exact(const void *data, size_t len)
{
    ngx_str_t  s;

    s.len = len;
    s.data = ngx_alloc(len ? len : 1, &tap_log);

    if (len) {
        memcpy(s.data, data, len);
    }

    return s;
}


static ngx_str_t __attribute__((unused))
tap_str(const char *text)
{
    return tap_exact(text, strlen(text));
}


static void
tap_writer(ngx_log_t *log, ngx_uint_t level, u_char *buf, size_t len)
{
    memcpy(tap_message, buf, len);
    tap_message[len] = '\0';
}


static void __attribute__((unused))
tap_start(void)
{
    ngx_use_stderr = 0;
    ngx_pid = ngx_getpid();
    ngx_pagesize = getpagesize();
    ngx_cacheline_size = 64;

    ngx_time_init();

    tap_log.log_level = NGX_LOG_INFO;
    tap_log.writer = tap_writer;

    tap_cycle.log = &tap_log;
    tap_cycle.pool = ngx_create_pool(4096, &tap_log);
    ngx_cycle = &tap_cycle;

    ngx_crc32_table_init();
}


static int __attribute__((unused))
tap_end(void)
{
    ngx_destroy_pool(tap_cycle.pool);

    printf("1..%d\n", (int) tap_count);

    return tap_failed ? 1 : 0;
}


#endif /* _TAP_H_INCLUDED_ */
