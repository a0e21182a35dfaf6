
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Credentials of all schemes against a zone that knows three keys: who is
 * let in has shown one of their secrets, as another reading of the headers
 * finds it, and no second credential beside it.
 */


#include "http.h"

#include <ngx_http_apikeys_auth.h>


static ngx_uint_t headers(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);
static void check_allowed(ngx_http_apikeys_identity_t *identity,
    ngx_str_t *authorization, ngx_uint_t n, ngx_str_t *key);
static ngx_uint_t has_scheme(ngx_str_t *value, const char *name);
static void check_pair(ngx_http_apikeys_identity_t *identity,
    const u_char *data, size_t len, u_char colon);
static size_t decode(u_char *out, const u_char *p, const u_char *last);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_buf_t                     b;
    ngx_str_t                     authorization, key;
    ngx_uint_t                    n, nkeys;
    ngx_http_request_t            r;
    ngx_http_apikeys_decision_e   decision;
    ngx_http_apikeys_identity_t   identity;
    ngx_http_apikeys_loc_conf_t  *alcf;

    memset(&identity, 0, sizeof(identity));
    alcf = fuzz_request(&r, &b, data, size);

    if (alcf) {
        n = headers(&r, "authorization", &authorization)
            && (has_scheme(&authorization, "Digest")
                || has_scheme(&authorization, "Basic")
                || has_scheme(&authorization, "Bearer"));
        nkeys = headers(&r, "x-api-key", &key);

        decision = ngx_http_apikeys_auth_identify(&r, alcf, &identity);

        must((decision == NGX_HTTP_APIKEYS_DECISION_NO_CREDENTIAL)
             == (n == 0 && nkeys == 0));
        must(decision != NGX_HTTP_APIKEYS_DECISION_ERROR);
        must(decision != NGX_HTTP_APIKEYS_DECISION_NOT_LOADED);

        if (n + nkeys > 1) {
            must(decision == NGX_HTTP_APIKEYS_DECISION_BAD_CREDENTIAL);
        }

        if (decision == NGX_HTTP_APIKEYS_DECISION_ALLOW) {
            check_allowed(&identity, &authorization, n, &key);

            /* in another location: the same, without a second look */

            must(ngx_http_apikeys_auth_identify(&r, alcf, &identity)
                 == NGX_HTTP_APIKEYS_DECISION_ALLOW);

        } else {
            must(identity.credential == NULL && !identity.operator);
        }

        /* in another request: the same, in the same way */

        memset(&identity, 0, sizeof(identity));
        must(ngx_http_apikeys_auth_identify(&r, alcf, &identity)
             == decision);
    }

    fuzz_done(&r);

    return 0;
}


static ngx_uint_t
headers(ngx_http_request_t *r, const char *name, ngx_str_t *value)
{
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    ngx_str_null(value);
    n = 0;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == strlen(name)
                && strncasecmp((char *) h[i].key.data, name, h[i].key.len)
                   == 0)
            {
                *value = h[i].value;
                n++;
            }
        }
    }

    return n;
}


static void
check_allowed(ngx_http_apikeys_identity_t *identity, ngx_str_t *authorization,
    ngx_uint_t n, ngx_str_t *key)
{
    u_char  *p, *last, *out;
    size_t   len;

    if (n == 0) {
        must(identity->scheme == NGX_HTTP_APIKEYS_AUTH_HEADER);
        check_pair(identity, key->data, key->len,
                   memchr(key->data, ':', key->len) ? ':' : '_');
        return;
    }

    p = authorization->data;
    last = p + authorization->len;

    if (has_scheme(authorization, "Bearer")) {
        p += sizeof("Bearer ") - 1;

        if (!identity->operator) {
            must(identity->scheme == NGX_HTTP_APIKEYS_AUTH_BEARER);
            check_pair(identity, p, last - p, '_');
            return;
        }

        must(last - p == sizeof(FUZZ_TOKEN) - 1);
        must(memcmp(p, FUZZ_TOKEN, sizeof(FUZZ_TOKEN) - 1) == 0);
        return;
    }

    /* no one finds a response to a nonce that was never given out */

    must(has_scheme(authorization, "Basic"));
    must(identity->scheme == NGX_HTTP_APIKEYS_AUTH_BASIC);

    out = ngx_alloc(authorization->len, &fuzz_log);
    len = decode(out, p + sizeof("Basic ") - 1, last);
    check_pair(identity, out, len, ':');
    ngx_free(out);
}


static ngx_uint_t
has_scheme(ngx_str_t *value, const char *name)
{
    size_t  len;

    len = strlen(name);

    return value->len >= len
           && strncasecmp((char *) value->data, name, len) == 0
           && (value->len == len || value->data[len] == ' ');
}


static void
check_pair(ngx_http_apikeys_identity_t *identity, const u_char *data,
    size_t len, u_char colon)
{
    ngx_uint_t                i;
    ngx_apikeys_objectid_t    id;

    static const struct {
        const char  *pair;
        const char  *id;
        const char  *org;
    } keys[] = {
        { "ownerabc:" FUZZ_PRIVATE, FUZZ_OWNER, FUZZ_ORG },
        { "readerab:" FUZZ_PRIVATE, FUZZ_READER, FUZZ_ORG },
        { "foreigna:" FUZZ_PRIVATE, FUZZ_FOREIGN, FUZZ_OTHER }
    };

    must(!identity->operator);

    for (i = 0; i < 3; i++) {
        if (len == strlen(keys[i].pair)
            && memcmp(data, keys[i].pair, 8) == 0
            && data[8] == colon
            && memcmp(&data[9], &keys[i].pair[9], len - 9) == 0)
        {
            id = fuzz_id(keys[i].id);
            must(memcmp(&identity->id, &id, sizeof(id)) == 0);
            id = fuzz_id(keys[i].org);
            must(memcmp(&identity->org, &id, sizeof(id)) == 0);
            must(memcmp(identity->public_key, data, 8) == 0);
            return;
        }
    }

    must(!"a pair that no key has");
}


/* base64, after blanks, up to what is none of it */

static size_t
decode(u_char *out, const u_char *p, const u_char *last)
{
    u_char       *dst;
    uint32_t      bits;
    ngx_uint_t    n;
    const char   *digit;
    static char   digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuv"
                             "wxyz0123456789+/";

    dst = out;
    bits = 0;
    n = 0;

    while (p < last && *p == ' ') {
        p++;
    }

    for ( /* void */ ; p < last; p++) {
        digit = *p ? strchr(digits, *p) : NULL;

        if (digit == NULL) {
            break;
        }

        bits = (bits << 6) | (uint32_t) (digit - digits);
        n += 6;

        if (n >= 8) {
            n -= 8;
            *dst++ = (u_char) (bits >> n);
        }
    }

    return dst - out;
}
