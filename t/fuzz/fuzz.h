
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What the fuzz targets share: a started nginx, as far as its core functions
 * take one for granted, and an assertion that ends the run.
 */


#ifndef _FUZZ_H_INCLUDED_
#define _FUZZ_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_json.h>


#define must(condition)                                                      \
    do {                                                                     \
        if (!(condition)) {                                                  \
            fprintf(stderr, "%s:%d: must be: %s\n", __FILE__, __LINE__,      \
                    #condition);                                             \
            abort();                                                         \
        }                                                                    \
    } while (0)


static ngx_cycle_t  fuzz_cycle;
static ngx_log_t    fuzz_log;


static void
fuzz_free(void *data)
{
    ngx_apikeys_json_free(data);
}


/* a document that lives as long as the pool */

static ngx_int_t __attribute__((unused))
fuzz_parse(ngx_pool_t *pool, ngx_str_t *text, ngx_apikeys_json_t **value)
{
    ngx_int_t            rc;
    ngx_pool_cleanup_t  *cln;

    rc = ngx_apikeys_json_parse(text, NGX_MAX_UINT32_VALUE, value);

    if (rc == NGX_OK) {
        cln = ngx_pool_cleanup_add(pool, 0);
        must(cln != NULL);
        cln->handler = fuzz_free;
        cln->data = *value;
    }

    return rc;
}


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    ngx_use_stderr = 0;
    ngx_pid = ngx_getpid();
    ngx_pagesize = getpagesize();
    ngx_cacheline_size = 64;

    ngx_time_init();

    fuzz_cycle.log = &fuzz_log;
    fuzz_cycle.pool = ngx_create_pool(4096, &fuzz_log);
    ngx_cycle = &fuzz_cycle;

    return 0;
}


#endif /* _FUZZ_H_INCLUDED_ */
