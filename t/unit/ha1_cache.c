
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include "tap.h"

#include <ngx_apikeys_ha1_cache.h>


#define BASIC   1
#define HEADER  2

#define NAME16  "0123456789abcdef"


static ngx_str_t  realm = ngx_string("realm");
static ngx_str_t  password = ngx_string("password");


static ngx_str_t
str(const char *text)
{
    ngx_str_t  s;

    s.data = (u_char *) text;
    s.len = strlen(text);

    return s;
}


/* whether the text's place is filled */

static ngx_uint_t
find(ngx_apikeys_ha1_cache_t *cache, ngx_uint_t scheme, const char *text,
    ngx_apikeys_ha1_t **place)
{
    ngx_str_t  s;

    s = str(text);

    *place = ngx_apikeys_ha1_cache_find(cache, scheme, &s);

    return (*place)->scheme != 0;
}


/* fills the place with what belongs to the name */

static void
keep(ngx_apikeys_ha1_t *place, ngx_uint_t scheme, const char *name)
{
    ngx_str_t  s;

    s = str(name);

    (void) ngx_apikeys_digest_ha1_sha256(place->ha1, &s, &realm, &password);
    ngx_apikeys_ha1_cache_keep(place, scheme, &s);
}


static ngx_uint_t
holds(ngx_apikeys_ha1_t *place, const char *name)
{
    u_char     ha1[NGX_APIKEYS_DIGEST_SHA256_LEN];
    ngx_str_t  s;

    s = str(name);

    (void) ngx_apikeys_digest_ha1_sha256(ha1, &s, &realm, &password);

    return place->len == s.len && memcmp(place->name, name, s.len) == 0
           && memcmp(place->ha1, ha1, sizeof(ha1)) == 0;
}


static void
test_one(ngx_apikeys_ha1_cache_t *cache)
{
    ngx_apikeys_ha1_t  *place, *again;

    ok(!find(cache, BASIC, "one", &place), "nothing at first");
    ok(!find(cache, BASIC, "one", &place),
       "nor when it was asked for and not kept");

    keep(place, BASIC, "user");

    ok(find(cache, BASIC, "one", &again) && again == place
       && holds(again, "user"),
       "what was kept");

    ok(!find(cache, HEADER, "one", &place),
       "the same text of another scheme is another credential");
    ok(!find(cache, BASIC, "one", &place),
       "which has taken the place");

    keep(place, BASIC, NAME16);
    ok(find(cache, BASIC, "one", &place) && holds(place, NAME16),
       "a name of 16 bytes");

    ok(!find(cache, BASIC, "", &place), "an empty text");
    keep(place, BASIC, NAME16 "x");
    ok(!find(cache, BASIC, "", &place),
       "a longer name is not kept");
    keep(place, BASIC, "");
    ok(find(cache, BASIC, "", &place) && holds(place, ""),
       "an empty name is");
}


/* two texts of which one place holds the last */

static void
test_two(ngx_apikeys_ha1_cache_t *cache)
{
    char                text[NGX_INT_T_LEN + 1];
    ngx_uint_t          i;
    ngx_apikeys_ha1_t  *place, *other;

    (void) find(cache, BASIC, "first", &place);
    keep(place, BASIC, "a");

    other = NULL;

    for (i = 0; other != place && i < 100000; i++) {
        snprintf(text, sizeof(text), "%lu", (unsigned long) i);
        (void) find(cache, BASIC, text, &other);
    }

    ok(other == place, "%s shares the place of another text", text);
    ok(!find(cache, BASIC, text, &other),
       "and does not get what is there");
    ok(!find(cache, BASIC, "first", &place),
       "who was asked for last has emptied it");

    keep(place, BASIC, "a");
    ok(!find(cache, BASIC, text, &other),
       "one is not taken for the other");

    keep(other, BASIC, "b");
    ok(find(cache, BASIC, text, &other) && holds(other, "b"),
       "who comes last stays");
}


int
main(void)
{
    ngx_conf_t                cf;
    ngx_apikeys_ha1_cache_t  *cache;

    tap_start();

    memset(&cf, 0, sizeof(ngx_conf_t));
    cf.cycle = &tap_cycle;
    cf.pool = tap_cycle.pool;
    cf.log = &tap_log;

    cache = ngx_apikeys_ha1_cache_create(&cf);
    if (cache == NULL) {
        printf("Bail out! no cache\n");
        return 2;
    }

    test_one(cache);
    test_two(cache);

    return tap_end();
}
