
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 *     keys FILE FIRST N ORG
 *
 * Rows for COPY of the keys FIRST to FIRST + N - 1 of an organization, with
 * secrets that the module seals under the master keys of FILE, as its API
 * does.  Everything follows from the number of the key, the private key too
 * (see bench/lib/Bench/Data.pm).
 */


#include "tap.h"

#include <ngx_apikeys_seal.h>
#include <ngx_apikeys_sync.h>


/* odd, and no multiple of 13: numbers below 26^8 stay apart */
#define SPREAD  72057594039ULL
#define NAMES   208827064576ULL


static void
name(u_char *p, uint64_t n)
{
    ngx_uint_t  i;

    n = n * SPREAD % NAMES;

    for (i = 0; i < 8; i++) {
        p[i] = (u_char) ('a' + n % 26);
        n /= 26;
    }
}


static void
row(ngx_apikeys_sync_conf_t *conf, uint64_t n, const char *org)
{
    u_char                 id[25], public[9], private[37];
    u_char                 sealed[NGX_APIKEYS_SEALED_LEN];
    u_char                 hex[2 * NGX_APIKEYS_SEALED_LEN + 1];
    ngx_str_t              context, s_id, s_org, s_public, s_private;
    ngx_pool_t            *pool;
    ngx_apikeys_secret_t   secret;

    pool = ngx_create_pool(512, &tap_log);

    *ngx_sprintf(id, "5f%022xL", n) = '\0';
    *ngx_sprintf(private, "00000000-0000-4000-8000-%012xL", n) = '\0';
    name(public, n);
    public[8] = '\0';

    s_id.data = id;
    s_id.len = 24;
    s_org.data = (u_char *) org;
    s_org.len = strlen(org);
    s_public.data = public;
    s_public.len = 8;
    s_private.data = private;
    s_private.len = 36;

    if (ngx_apikeys_seal_hash(&secret, &s_public, &conf->realm, &s_private)
        != NGX_OK
        || ngx_apikeys_seal_context(pool, &context, &s_org, &s_id, &s_public,
                                    &s_id, &conf->realm)
           != NGX_OK
        || ngx_apikeys_seal_secret(conf->seal, 0, sealed, &secret, &context)
           != NGX_OK)
    {
        fprintf(stderr, "keys: cannot seal\n");
        exit(1);
    }

    *ngx_hex_dump(hex, sealed, sizeof(sealed)) = '\0';

    printf("%s\t%s\t%llu\t%s\t\\\\x%s\t%s\tkey %llu\n", id, org,
           (unsigned long long) n + 1, public, hex, private + 24,
           (unsigned long long) n);

    ngx_destroy_pool(pool);
}


int
main(int argc, char **argv)
{
    uint64_t                 i, first, n;
    ngx_str_t                file;
    ngx_conf_t               cf;
    ngx_apikeys_sync_conf_t  conf;

    if (argc != 5) {
        fprintf(stderr, "usage: keys FILE FIRST N ORG\n");
        return 2;
    }

    tap_start();

    ngx_memzero(&cf, sizeof(ngx_conf_t));
    cf.cycle = &tap_cycle;
    cf.pool = tap_cycle.pool;
    cf.log = &tap_log;

    ngx_memzero(&conf, sizeof(ngx_apikeys_sync_conf_t));
    ngx_str_set(&conf.realm, "MMS Public API");

    file.data = (u_char *) argv[1];
    file.len = strlen(argv[1]);

    conf.seal = ngx_apikeys_seal_create(&cf, &file);

    if (conf.seal == NULL) {
        fprintf(stderr, "keys: %s\n", tap_message);
        return 1;
    }

    first = strtoull(argv[2], NULL, 10);
    n = strtoull(argv[3], NULL, 10);

    for (i = first; i < first + n; i++) {
        row(&conf, i, argv[4]);
    }

    return 0;
}
