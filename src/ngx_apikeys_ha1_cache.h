
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * HA1s of the credentials that this process saw last, in the form in which
 * basic authentication or a header sends them: a client that comes again is
 * spared the decoding and a hash.  An HA1 is a function of the text and the
 * realm, so the cache says nothing about whether it is right, and holds what
 * is wrong as well: what is compared with it is the local copy of this moment.
 */


#ifndef _NGX_APIKEYS_HA1_CACHE_H_INCLUDED_
#define _NGX_APIKEYS_HA1_CACHE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_digest.h>


#define NGX_APIKEYS_HA1_CACHE_NAME_LEN  16


typedef struct ngx_apikeys_ha1_cache_s  ngx_apikeys_ha1_cache_t;

typedef struct {
    u_char      hash[NGX_APIKEYS_DIGEST_SHA256_LEN];  /* of the text */
    u_char      ha1[NGX_APIKEYS_DIGEST_SHA256_LEN];
    u_char      name[NGX_APIKEYS_HA1_CACHE_NAME_LEN];
    size_t      len;                                  /* of the name */
    ngx_uint_t  scheme;                               /* 0: empty */
} ngx_apikeys_ha1_t;


/* at configuration, for one realm; each process has a cache of its own */
ngx_apikeys_ha1_cache_t *ngx_apikeys_ha1_cache_create(ngx_conf_t *cf);

/*
 * The place of what a scheme's header says, good until the next call.  It is
 * filled, or empty: then its ha1 is to be written, and may be kept.  NULL is
 * a failure of the library.
 */
ngx_apikeys_ha1_t *ngx_apikeys_ha1_cache_find(ngx_apikeys_ha1_cache_t *cache,
    ngx_uint_t scheme, const ngx_str_t *text);

/* fills the place that was found empty, unless the name is too long */
void ngx_apikeys_ha1_cache_keep(ngx_apikeys_ha1_t *place, ngx_uint_t scheme,
    const ngx_str_t *name);


#endif /* _NGX_APIKEYS_HA1_CACHE_H_INCLUDED_ */
