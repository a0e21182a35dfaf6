
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_apikeys_clock.h>


#ifdef CLOCK_BOOTTIME
#define NGX_APIKEYS_CLOCK_BOOT  CLOCK_BOOTTIME
#else
#define NGX_APIKEYS_CLOCK_BOOT  CLOCK_MONOTONIC
#endif

/*
 * The exact clock is read only if the coarse clock has changed, which costs a
 * quarter to read.  The coarse clock changes with each tick of the kernel, also
 * if this process or the machine was suspended.
 */

uint64_t
ngx_apikeys_clock_boot_ms(void)
{
    struct timespec  ts;

    static uint64_t  now;

#ifdef CLOCK_REALTIME_COARSE

    static struct timespec  tick;

    if (clock_gettime(CLOCK_REALTIME_COARSE, &ts) == 0) {

        if (ts.tv_nsec == tick.tv_nsec && ts.tv_sec == tick.tv_sec) {
            return now;
        }

        tick = ts;
    }

#endif

    (void) clock_gettime(NGX_APIKEYS_CLOCK_BOOT, &ts);

    now = (uint64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;

    return now;
}


uint64_t
ngx_apikeys_clock_usec(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


uint64_t
ngx_apikeys_clock_wall_ms(void)
{
    struct timeval  tv;

    ngx_gettimeofday(&tv);

    return (uint64_t) tv.tv_sec * 1000 + tv.tv_usec / 1000;
}
