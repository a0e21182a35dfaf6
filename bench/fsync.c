
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * For LD_PRELOAD: fdatasync() takes FSYNC_DELAY microseconds longer, so that
 * PostgreSQL commits as on a slower disk.
 */


#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>


int
fdatasync(int fd)
{
    const char  *delay;
    static int (*next)(int fd);

    if (next == NULL) {
        next = (int (*)(int)) dlsym(RTLD_NEXT, "fdatasync");
    }

    delay = getenv("FSYNC_DELAY");

    if (delay) {
        usleep(atoi(delay));
    }

    return next(fd);
}
