
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Stands in for libFuzzer: gives the files that it is called with to a target
 * of t/fuzz, once each, and names them, as the last one is that which fails.
 */


#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));


int
main(int argc, char **argv)
{
    int       i;
    long      size;
    FILE     *f;
    uint8_t  *data;

    if (LLVMFuzzerInitialize) {
        (void) LLVMFuzzerInitialize(&argc, &argv);
    }

    for (i = 1; i < argc; i++) {
        printf("%s\n", argv[i]);
        fflush(stdout);

        f = fopen(argv[i], "rb");

        if (f == NULL || fseek(f, 0, SEEK_END) != 0) {
            perror(argv[i]);
            return 1;
        }

        size = ftell(f);
        rewind(f);

        /* without a byte to spare, so that sanitizers see any read beyond */

        data = malloc(size ? size : 1);

        if (data == NULL || fread(data, 1, size, f) != (size_t) size) {
            perror(argv[i]);
            return 1;
        }

        fclose(f);

        (void) LLVMFuzzerTestOneInput(data, size);

        free(data);
    }

    return 0;
}
