
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A table of places, each for any text whose hash names it: the last one
 * stays.  It is found by a SHA-256, which nobody can make equal to that of
 * somebody else's credential; the texts themselves are not kept.  An HA1 is
 * as good as the secret where digest is taken, so the pages are kept out of
 * core files.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_ha1_cache.h>
#include <ngx_apikeys_seal.h>


#define NGX_APIKEYS_HA1_CACHE_PLACES   1024


struct ngx_apikeys_ha1_cache_s {
    ngx_apikeys_ha1_t            places[NGX_APIKEYS_HA1_CACHE_PLACES];
};


ngx_apikeys_ha1_t *
ngx_apikeys_ha1_cache_find(ngx_apikeys_ha1_cache_t *cache, ngx_uint_t scheme,
    const ngx_str_t *text)
{
    u_char              hash[NGX_APIKEYS_DIGEST_SHA256_LEN];
    uint32_t            n;
    ngx_apikeys_ha1_t  *place;

    if (ngx_apikeys_digest_sha256(hash, text) != NGX_OK) {
        return NULL;
    }

    ngx_memcpy(&n, hash, sizeof(uint32_t));

    place = &cache->places[n % NGX_APIKEYS_HA1_CACHE_PLACES];

    if (place->scheme != scheme
        || !ngx_apikeys_digest_equal(place->hash, hash, sizeof(hash)))
    {
        place->scheme = 0;
        ngx_memcpy(place->hash, hash, sizeof(hash));
    }

    return place;
}


void
ngx_apikeys_ha1_cache_keep(ngx_apikeys_ha1_t *place, ngx_uint_t scheme,
    const ngx_str_t *name)
{
    if (name->len > NGX_APIKEYS_HA1_CACHE_NAME_LEN) {
        return;
    }

    ngx_memcpy(place->name, name->data, name->len);

    place->len = name->len;
    place->scheme = scheme;
}


ngx_apikeys_ha1_cache_t *
ngx_apikeys_ha1_cache_create(ngx_conf_t *cf)
{
    return ngx_apikeys_seal_pages(cf, sizeof(ngx_apikeys_ha1_cache_t));
}
