
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What follows "Digest ".  A header that parses is verified: with the right
 * response put in its place it must pass, and as it came it must not.
 */


#include "fuzz.h"

#include <ngx_apikeys_digest.h>

#include <openssl/evp.h>


static void  answer(ngx_apikeys_digest_t *d, const u_char *ha1,
    ngx_str_t *method);
static void  hash(ngx_apikeys_digest_t *d, u_char *hex, const u_char *text,
    size_t len);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                ha1[NGX_APIKEYS_DIGEST_SHA256_LEN];
    ngx_str_t             value, method;
    ngx_apikeys_digest_t  d;

    value.len = size;
    value.data = (u_char *) data;
    ngx_str_set(&method, "GET");
    memset(ha1, 7, sizeof(ha1));

    if (ngx_apikeys_digest_parse(&d, &value) != NGX_OK) {
        return 0;
    }

    must(d.count != 0 && d.nc.len >= 1 && d.nc.len <= 8);
    must(d.uri.data >= data && d.uri.data + d.uri.len <= data + size);
    must(memchr(data, '\0', size) == NULL);
    must(ngx_apikeys_digest_verify(&d, ha1, &method, NULL) == NGX_DECLINED);

    answer(&d, ha1, &method);

    return 0;
}


/* the response is put together another way */

static void
answer(ngx_apikeys_digest_t *d, const u_char *ha1, ngx_str_t *method)
{
    u_char                              a1[65], a2[65], response[65];
    u_char                             *text, *p;
    size_t                              len;
    static ngx_apikeys_digest_kept_t  kept;

    text = ngx_alloc(d->uri.len + d->nonce.len + d->cnonce.len + 512,
                     &fuzz_log);
    must(text != NULL);

    p = ngx_sprintf(text, "%V:%V", method, &d->uri);
    hash(d, a2, text, p - text);

    len = d->response.len / 2;
    *ngx_hex_dump(a1, (u_char *) ha1, len) = '\0';

    p = ngx_sprintf(text, "%s:%V:%V:%V:auth:%s", a1, &d->nonce, &d->nc,
                    &d->cnonce, a2);
    hash(d, response, text, p - text);

    d->response.data = response;
    must(ngx_apikeys_digest_verify(d, ha1, method, &kept) == NGX_OK);

    response[len] ^= 1;
    must(ngx_apikeys_digest_verify(d, ha1, method, &kept) == NGX_DECLINED);

    ngx_free(text);
}


static void
hash(ngx_apikeys_digest_t *d, u_char *hex, const u_char *text, size_t len)
{
    u_char  out[EVP_MAX_MD_SIZE];
    size_t  n;

    must(EVP_Q_digest(NULL, d->alg == NGX_APIKEYS_DIGEST_MD5 ? "MD5"
                                                             : "SHA256",
                      NULL, text, len, out, &n) == 1);

    *ngx_hex_dump(hex, out, n) = '\0';
}
