
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include "tap.h"

#include <ngx_apikeys_digest.h>

#include <openssl/evp.h>


/* RFC 7616, 3.9.1 */
#define RFC_NONCE    "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
#define RFC_CNONCE   "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
#define RFC_MD5      "8ca523f5e9506fed4657c9700eebdbec"
#define RFC_SHA256                                                           \
    "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"

#define RFC_COMMON                                                           \
    "username=\"Mufasa\", realm=\"http-auth@example.org\", "                 \
    "uri=\"/dir/index.html\", nonce=\"" RFC_NONCE "\", nc=00000001, "        \
    "cnonce=\"" RFC_CNONCE "\", qop=auth, opaque=\"FQhe/qaU925kfnzjCev0ciny" \
    "7QMkPqMAFRtzCUYo5tdS\""

/* every parameter but the one under test */
#define U  "username=\"u\","
#define R  "realm=\"r\","
#define N  "nonce=\"n\","
#define I  "uri=\"/\","
#define C  "cnonce=\"c\","
#define P  "response=\"0123456789abcdef0123456789abcdef\","
#define K  "nc=00000001,"
#define Q  "qop=auth,"

#define MD5_HEX  "0123456789abcdef0123456789abcdef"


typedef struct {
    const char  *header;
    const char  *what;
} header_t;


static header_t  taken[] = {
    { U R N I C P K "qop=auth", "the least there can be" },
    { U R N I C P K "qop=\"auth\"", "qop quoted" },
    { U R N I C P "nc=\"00000001\",qop=auth", "nc quoted" },
    { U R N I C P "nc=1,qop=auth", "nc of one digit" },
    { U R N I C P "nc=0000001,qop=auth", "nc of seven digits" },
    { U R N I C P "nc=7fffFFFF,qop=auth", "nc of eight digits" },
    { U R N I C P K Q "algorithm=MD5", "algorithm unquoted" },
    { U R N I C P K Q "algorithm=\"MD5\"", "algorithm quoted" },
    { U R N I C P K Q "algorithm=md5", "algorithm in lower case" },
    { "qop=auth," K P C I N R "username=\"u\"", "in the other order" },
    { U R N I C K Q "response=" MD5_HEX, "response unquoted" },
    { U R N I C K Q "response=\"0123456789ABCDEF0123456789ABCDEF\"",
      "response in upper case" },
    { "USERNAME=\"u\",Realm=\"r\"," N I C P K "QOP=auth",
      "names in any case" },
    { U " " R "\t" N I "  " C P K "qop=auth  ", "white space after commas" },
    { "username = \"u\" ,realm= \"r\" ," N I C P K "qop =auth",
      "white space around = and before commas" },
    { "," U "," R ", ," N I C P K Q ",", "empty elements" },
    { U R N I C P K Q "userhash=false", "userhash=false" },
    { U R N I C P K Q "opaque=\"\",stale=false,domain=\"/\",x-y=1,x-y=2",
      "unknown parameters" },
    { "username=\"\",realm=\"\",nonce=\"\",uri=\"\",cnonce=\"\"," P K
      "qop=auth", "empty strings (which authenticate no one)" },
    { U R N "uri=\"/a?b=c,d=%2F&e='\"," C P K "qop=auth", "commas in uri" },
    { "username=\"\xc3\xa9\"," R N I C P K "qop=auth", "bytes beyond ASCII" },
    { NULL, NULL }
};


static header_t  refused[] = {
    { "", "nothing" },
    { ",", "a comma" },
    { R N I C P K "qop=auth", "no username" },
    { U N I C P K "qop=auth", "no realm" },
    { U R I C P K "qop=auth", "no nonce" },
    { U R N C P K "qop=auth", "no uri" },
    { U R N I P K "qop=auth", "no cnonce" },
    { U R N I C K "qop=auth", "no response" },
    { U R N I C P "qop=auth", "no nc" },
    { U R N I C P "nc=00000001", "no qop" },
    { U U R N I C P K "qop=auth", "username twice" },
    { U R N I C P K K "qop=auth", "nc twice" },
    { U R N I C P K Q "qop=auth", "qop twice" },
    { U R N I C P K Q "algorithm=MD5,algorithm=MD5", "algorithm twice" },
    { U R N I C P K Q "Response=" MD5_HEX, "response twice, in other case" },
    { U R N I C P K "qop=auth-int", "qop=auth-int" },
    { U R N I C P K "qop=\"auth,auth-int\"", "a list of qop" },
    { U R N I C P K "qop=AUTH", "qop in upper case" },
    { U R N I C P K "qop=\"\"", "qop empty" },
    { U R N I C P K Q "algorithm=MD5-sess", "MD5-sess" },
    { U R N I C P K Q "algorithm=SHA-256-sess", "SHA-256-sess" },
    { U R N I C P K Q "algorithm=SHA-512-256", "an unknown algorithm" },
    { U R N I C P K Q "algorithm=\"\"", "an empty algorithm" },
    { U R N I C P K Q "algorithm=SHA-256", "a response of MD5's length" },
    { U R N I C K Q "response=\"012345\"", "a short response" },
    { U R N I C K Q "response=\"" MD5_HEX "0\"", "a long response" },
    { U R N I C P K Q "userhash=true", "userhash=true" },
    { U R N I C P K Q "userhash=maybe", "userhash of another value" },
    { U R N I C P K Q "username*=UTF-8''u", "username*" },
    { R N I C P K Q "username*=UTF-8''u", "username* alone" },
    { U R N I C P "nc=00000000,qop=auth", "nc 0" },
    { U R N I C P "nc=0,qop=auth", "nc 0 of one digit" },
    { U R N I C P "nc=000000001,qop=auth", "nc of nine digits" },
    { U R N I C P "nc=0000000g,qop=auth", "nc that is not hex" },
    { U R N I C P "nc=-0000001,qop=auth", "nc below 0" },
    { U R N I C P "nc=\"\",qop=auth", "nc empty" },
    { "username=\"a\\\"b\"," R N I C P K "qop=auth", "an escape" },
    { U R N I C P K Q "x=\"\\\\\"", "an escape in an unknown parameter" },
    { "username=\"u," R N I C P K "qop=auth", "a string that does not end" },
    { U R N I C P K "qop=\"auth", "nor does the last one" },
    { U R N I C P K "qop=", "a value missing" },
    { U R N I C P K "qop", "a name alone" },
    { U R N I C P K "=auth", "a value alone" },
    { U R N I C P K "qop==auth", "two =" },
    { U R N I C P K "qop=auth;x=y", "a semicolon" },
    { U R N I C P K "qop=auth x=y", "no comma" },
    { "username=\"u\" " R N I C P K "qop=auth", "no comma after a string" },
    { "username=\"u\"x," R N I C P K "qop=auth", "text after a string" },
    { "username=u v," R N I C P K "qop=auth", "a token with a space" },
    { U R N "uri=/," C P K "qop=auth", "uri unquoted" },
    { "Digest " U R N I C P K "qop=auth", "the scheme once more" },
    { "user name=\"u\"," R N I C P K "qop=auth", "a space in a name" },
    { "\"username\"=\"u\"," R N I C P K "qop=auth", "a name quoted" },
    { NULL, NULL }
};


static ngx_str_t  get = ngx_string("GET");

/* one for all that is verified, as it comes in a process */
static ngx_apikeys_digest_kept_t  kept;


static void
check_headers(void)
{
    header_t              *h;
    ngx_str_t              s;
    ngx_apikeys_digest_t   d;

    for (h = taken; h->header; h++) {
        s = tap_str(h->header);
        ok(ngx_apikeys_digest_parse(&d, &s) == NGX_OK, "taken: %s", h->what);
        ngx_free(s.data);
    }

    for (h = refused; h->header; h++) {
        s = tap_str(h->header);
        ok(ngx_apikeys_digest_parse(&d, &s) == NGX_DECLINED, "refused: %s",
           h->what);
        ngx_free(s.data);
    }
}


static void
check_values(void)
{
    ngx_str_t             s;
    ngx_apikeys_digest_t  d;

    s = tap_str("username=\"user,=x\",realm=\"MMS Public API\", "
                "nonce=\"bm9uY2U=\", uri=\"/a%2Fb?c=d, e\", algorithm=MD5, "
                "response=\"" MD5_HEX "\", opaque=\"o\", qop=auth, "
                "nc=0000FFfe, cnonce=\"0a4f113b\"");

    ok(ngx_apikeys_digest_parse(&d, &s) == NGX_OK, "a header parses");
    is_str(&d.username, "user,=x", "username");
    is_str(&d.realm, "MMS Public API", "realm");
    is_str(&d.nonce, "bm9uY2U=", "nonce");
    is_str(&d.uri, "/a%2Fb?c=d, e", "uri, as it was sent");
    is_str(&d.response, MD5_HEX, "response");
    is_str(&d.cnonce, "0a4f113b", "cnonce");
    is_str(&d.nc, "0000FFfe", "nc, as it was sent");
    ok(d.count == 0xfffe, "its value");
    ok(d.alg == NGX_APIKEYS_DIGEST_MD5, "the algorithm");

    ngx_free(s.data);
}


static ngx_int_t
verify(const char *header, const u_char *ha1, ngx_str_t *method)
{
    ngx_int_t             rc;
    ngx_str_t             s;
    ngx_apikeys_digest_t  d;

    s = tap_str(header);

    rc = ngx_apikeys_digest_parse(&d, &s);

    if (rc == NGX_OK) {
        rc = ngx_apikeys_digest_verify(&d, ha1, method, &kept);

    } else {
        rc = NGX_ABORT;
    }

    ngx_free(s.data);

    return rc;
}


static void
check_vectors(void)
{
    u_char     md5[NGX_APIKEYS_DIGEST_MD5_LEN];
    u_char     sha[NGX_APIKEYS_DIGEST_SHA256_LEN];
    ngx_str_t  user, realm, pass, post;

    ngx_str_set(&user, "Mufasa");
    ngx_str_set(&realm, "http-auth@example.org");
    ngx_str_set(&pass, "Circle of Life");
    ngx_str_set(&post, "POST");

    ngx_apikeys_digest_ha1_md5(md5, &user, &realm, &pass);
    ok(ngx_apikeys_digest_ha1_sha256(sha, &user, &realm, &pass) == NGX_OK,
       "HA1s are made");

    ok(verify(RFC_COMMON ",response=\"" RFC_MD5 "\",algorithm=MD5", md5,
              &get) == NGX_OK, "RFC 7616 3.9.1, MD5");
    ok(verify(RFC_COMMON ",response=\"" RFC_SHA256 "\",algorithm=SHA-256",
              sha, &get) == NGX_OK, "RFC 7616 3.9.1, SHA-256");
    ok(verify(RFC_COMMON ",response=\"" RFC_SHA256 "\",algorithm=\"sha-256\"",
              sha, &get) == NGX_OK, "again, in the same process");

    ok(verify(RFC_COMMON ",response=\"" RFC_MD5 "\"", md5, &post)
       == NGX_DECLINED, "another method does not verify");
    ok(verify(RFC_COMMON ",response=\"" RFC_SHA256 "\",algorithm=SHA-256",
              sha, &post) == NGX_DECLINED, "nor with SHA-256");
    ok(verify(RFC_COMMON ",response=\"0" "ca523f5e9506fed4657c9700eebdbec\"",
              md5, &get) == NGX_DECLINED, "nor a first digit");
    ok(verify(RFC_COMMON ",response=\"8ca523f5e9506fed4657c9700eebdbe" "d\"",
              md5, &get) == NGX_DECLINED, "nor a last digit");
    ok(verify(RFC_COMMON ",response=\"8ca523f5e9506fed4657c9700eebdbeg\"",
              md5, &get) == NGX_DECLINED, "nor what is not hex");

    md5[15] ^= 1;
    ok(verify(RFC_COMMON ",response=\"" RFC_MD5 "\"", md5, &get)
       == NGX_DECLINED, "nor another password");

    ngx_str_set(&realm, "testrealm@host.com");
    ngx_str_set(&pass, "Circle Of Life");
    ngx_apikeys_digest_ha1_md5(md5, &user, &realm, &pass);

    ok(verify("username=\"Mufasa\",realm=\"testrealm@host.com\","
              "nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\","
              "uri=\"/dir/index.html\",qop=auth,nc=00000001,"
              "cnonce=\"0a4f113b\","
              "response=\"6629fae49393a05397450978507c4ef1\","
              "opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"", md5, &get)
       == NGX_OK, "RFC 2617 3.5");

    ok(verify("username=\"Mufasa\",realm=\"testrealm@host.com\","
              "nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\","
              "uri=\"/dir/index.html\",qop=auth,nc=00000002,"
              "cnonce=\"0a4f113b\","
              "response=\"6629fae49393a05397450978507c4ef1\"", md5, &get)
       == NGX_DECLINED, "its nc counted up without a new response");

    /* the count as MongoDB's Kubernetes operator writes it */

    ok(verify("username=\"Mufasa\",realm=\"testrealm@host.com\","
              "nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\","
              "uri=\"/dir/index.html\",qop=auth,nc=1,"
              "cnonce=\"0a4f113b\",algorithm=\"MD5\","
              "response=\"95c727b8ed724ea2be8e9318e0e4f619\"", md5, &get)
       == NGX_OK, "nc of one digit is hashed as it was sent");

    ok(verify("username=\"Mufasa\",realm=\"testrealm@host.com\","
              "nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\","
              "uri=\"/dir/index.html\",qop=auth,nc=1,"
              "cnonce=\"0a4f113b\","
              "response=\"6629fae49393a05397450978507c4ef1\"", md5, &get)
       == NGX_DECLINED, "and not with leading zeros");
}


/* the one-shot functions of libcrypto, over text put together by printf */

static void
reference(u_char *hex, const char *text, size_t len, ngx_uint_t sha256)
{
    size_t  n;
    u_char  hash[EVP_MAX_MD_SIZE];

    EVP_Q_digest(NULL, sha256 ? "SHA256" : "MD5", NULL, text, len, hash, &n);
    *ngx_hex_dump(hex, hash, n) = '\0';
}


/* both ways to the hash that a credential in clear is verified with */

static void
check_plain(void)
{
    u_char     hex[65], got[64], hash[NGX_APIKEYS_DIGEST_SHA256_LEN];
    ngx_str_t  user, pass, text;

    ngx_str_set(&user, "abcdefgh");
    ngx_str_set(&pass, "c8150efd-c7a0-4afd-8c4f-01bdd56c8977");
    ngx_str_set(&text, "abcdefgh:c8150efd-c7a0-4afd-8c4f-01bdd56c8977");

    reference(hex, (char *) text.data, text.len, 1);

    ok(ngx_apikeys_digest_plain(hash, &user, &pass) == NGX_OK
       && ngx_hex_dump(got, hash, sizeof(hash)) && !memcmp(got, hex, 64),
       "the hash of a key pair is SHA-256 of public key, colon, private key");

    ok(ngx_apikeys_digest_sha256(hash, &text) == NGX_OK
       && ngx_hex_dump(got, hash, sizeof(hash)) && !memcmp(got, hex, 64),
       "the hash of a credential is the same");
}


static void
check_random(void)
{
    char        text[512], header[1024], uri[301], cnonce[65], nonce[33];
    u_char      ha1[65], ha2[65], response[65];
    u_char      binary[NGX_APIKEYS_DIGEST_SHA256_LEN];
    size_t      len, n;
    ngx_str_t   user, realm, pass;
    ngx_uint_t  i, sha, wrong;

    ngx_str_set(&user, "abcdefgh");
    ngx_str_set(&realm, "MMS Public API");
    ngx_str_set(&pass, "c8150efd-c7a0-4afd-8c4f-01bdd56c8977");

    for (wrong = 0, i = 0; i < 5000; i++) {
        sha = i & 1;

        n = ngx_random() % sizeof(uri);
        memset(uri, 'a' + i % 26, n);
        uri[n] = '\0';

        n = ngx_random() % sizeof(cnonce);
        memset(cnonce, '0' + i % 10, n);
        cnonce[n] = '\0';

        len = sprintf(text, "%s:%s:%s", user.data, realm.data, pass.data);
        reference(ha1, text, len, sha);

        len = sprintf(text, "GET:%s", uri);
        reference(ha2, text, len, sha);

        /* some counts of each, as long as ours are */

        sprintf(nonce, "nonce%027d", (int) i / 8);

        len = sprintf(text, "%s:%s:%08x:%s:auth:%s", ha1, nonce,
                      (unsigned) i + 1, cnonce, ha2);
        reference(response, text, len, sha);

        sprintf(header, "username=\"abcdefgh\", realm=\"MMS Public API\", "
                "nonce=\"%s\", uri=\"%s\", qop=auth, nc=%08x, "
                "cnonce=\"%s\", response=\"%s\", algorithm=%s", nonce, uri,
                (unsigned) i + 1, cnonce, response, sha ? "SHA-256" : "MD5");

        if (sha) {
            ngx_apikeys_digest_ha1_sha256(binary, &user, &realm, &pass);

        } else {
            ngx_apikeys_digest_ha1_md5(binary, &user, &realm, &pass);
        }

        wrong += verify(header, binary, &get) != NGX_OK;

        binary[i % 16] ^= 0x80;
        wrong += verify(header, binary, &get) != NGX_DECLINED;
    }

    ok(wrong == 0, "5,000 responses made by libcrypto");
}


/* another name with the same secret must not take less time */

static void
check_prefix(ngx_uint_t sha)
{
    char                          header[512];
    u_char                        ha1[NGX_APIKEYS_DIGEST_SHA256_LEN];
    ngx_int_t                     same, other;
    ngx_str_t                     s, again;
    ngx_uint_t                    i;
    ngx_apikeys_digest_t          d;
    ngx_apikeys_digest_prefix_t   before;

    memset(ha1, 0, sizeof(ha1));

    sprintf(header, "username=\"aaaaaaaa\", realm=\"r\", uri=\"/\", "
            "nonce=\"0123456789abcdef0123456789abcdef\", qop=auth, "
            "nc=00000001, cnonce=\"c\", algorithm=%s, response=\"%0*d\"",
            sha ? "SHA-256" : "MD5", sha ? 64 : 32, 0);

    memset(&kept, 0, sizeof(kept));

    s = tap_str(header);
    (void) ngx_apikeys_digest_parse(&d, &s);
    (void) ngx_apikeys_digest_verify(&d, ha1, &get, &kept);
    before = kept.prefix;

    (void) ngx_apikeys_digest_verify(&d, ha1, &get, &kept);
    ok(memcmp(&before, &kept.prefix, sizeof(before)) == 0, "a prefix is kept");

    /* a state that is wrong tells whether it is used */

    kept.prefix.state.sha256.Nl += 1 << 20;
    kept.prefix.state.md5.bytes += 1 << 20;
    before = kept.prefix;

    (void) ngx_apikeys_digest_verify(&d, ha1, &get, &kept);
    same = memcmp(&before, &kept.prefix, sizeof(before));

    again = tap_str(header);
    again.data[sizeof("username=\"") - 1] = 'b';
    (void) ngx_apikeys_digest_parse(&d, &again);
    (void) ngx_apikeys_digest_verify(&d, ha1, &get, &kept);
    other = memcmp(&before.state, &kept.prefix.state,
                   sizeof(before.state));

    ok(same == 0 && other != 0, "and used for one name only");

    before = kept.prefix;
    ha1[0] = 1;
    (void) ngx_apikeys_digest_verify(&d, ha1, &get, &kept);
    ok(memcmp(before.ha1, kept.prefix.ha1, sizeof(before.ha1)) != 0,
       "and one secret");

    before = kept.prefix;
    d.nonce.data[NGX_APIKEYS_DIGEST_NONCE_LEN - 1] ^= 1;
    (void) ngx_apikeys_digest_verify(&d, ha1, &get, &kept);
    ok(memcmp(before.nonce, kept.prefix.nonce, sizeof(before.nonce)) != 0,
       "and one nonce");

    /* a name that no key can have */

    before = kept.prefix;

    for (i = 7; i <= 9; i += 2) {
        d.username.len = i;
        (void) ngx_apikeys_digest_verify(&d, ha1, &get, &kept);
    }

    ok(memcmp(&before, &kept.prefix, sizeof(before)) == 0,
       "and not for a name of another length");

    ngx_free(s.data);
    ngx_free(again.data);
}


static void
check_hostile(void)
{
    u_char                ha1[NGX_APIKEYS_DIGEST_SHA256_LEN], *big;
    size_t                len, size;
    ngx_str_t             s;
    ngx_uint_t            i, parsed;
    ngx_apikeys_digest_t  d;

    static const char  header[] = RFC_COMMON ", response=\"" RFC_MD5 "\"";

    memset(ha1, 0, sizeof(ha1));

    for (parsed = 0, len = 0; len < sizeof(header) - 1; len++) {
        s = tap_exact(header, len);
        parsed += ngx_apikeys_digest_parse(&d, &s) == NGX_OK;
        ngx_free(s.data);
    }

    ok(parsed == 0, "a header truncated at each byte");

    for (parsed = 0, len = 0; len < sizeof(header) - 1; len++) {
        s = tap_exact(header, sizeof(header) - 1);
        s.data[len] = '\0';
        parsed += ngx_apikeys_digest_parse(&d, &s) == NGX_OK;
        ngx_free(s.data);
    }

    ok(parsed == 0, "a NUL at each byte");

    for (i = 0; i < 100000; i++) {
        s = tap_exact(header, sizeof(header) - 1);

        for (len = 0; len <= i % 4; len++) {
            s.data[ngx_random() % s.len] =
                             (u_char) " \",=\\\tx0\xff"[ngx_random() % 9];
        }

        if (ngx_apikeys_digest_parse(&d, &s) == NGX_OK) {
            (void) ngx_apikeys_digest_verify(&d, ha1, &get, NULL);
        }

        ngx_free(s.data);
    }

    ok(1, "random damage does no harm");

    size = 65536;
    big = ngx_alloc(size, &tap_log);
    s.data = big;
    s.len = size;

    for (i = 0; i < 5; i++) {
        memset(big, "\"=, a"[i], size);
        ok(ngx_apikeys_digest_parse(&d, &s) == NGX_DECLINED,
           "64 KB of \"%c\"", "\"=, a"[i]);
    }

    memset(big, 'a', size);
    len = sprintf((char *) big, "%s", U R N C P K Q "uri=\"");
    big[len] = 'a';
    big[size - 1] = '"';
    ok(ngx_apikeys_digest_parse(&d, &s) == NGX_OK
       && ngx_apikeys_digest_verify(&d, ha1, &get, NULL) == NGX_DECLINED,
       "a uri of 64 KB is hashed");

    ngx_free(big);
}


/* a hash that is wrong tells whether it is used */

static ngx_uint_t
uses_target(ngx_apikeys_digest_t *d, ngx_str_t *method)
{
    u_char                        ha1[NGX_APIKEYS_DIGEST_SHA256_LEN];
    ngx_apikeys_digest_target_t  *target;

    memset(ha1, 0, sizeof(ha1));
    target = &kept.target;

    memset(target->ha2, 'x', sizeof(target->ha2));
    (void) ngx_apikeys_digest_verify(d, ha1, method, &kept);

    return target->ha2[0] == 'x';
}


static void
check_target(ngx_uint_t sha)
{
    char                  header[512];
    u_char                ha1[NGX_APIKEYS_DIGEST_SHA256_LEN], path[256];
    ngx_str_t             s, t, post = ngx_string("PUT"),
                          longer = ngx_string("GETS");
    ngx_apikeys_digest_t  d;

    memset(ha1, 0, sizeof(ha1));
    memset(path, 'a', sizeof(path));
    memset(&kept, 0, sizeof(kept));

    sprintf(header, "username=\"aaaaaaaa\", realm=\"r\", uri=\"/a\", "
            "nonce=\"0123456789abcdef0123456789abcdef\", qop=auth, "
            "nc=00000001, cnonce=\"c\", algorithm=%s, response=\"%0*d\"",
            sha ? "SHA-256" : "MD5", sha ? 64 : 32, 0);
    s = tap_str(header);
    (void) ngx_apikeys_digest_parse(&d, &s);

    ok(!uses_target(&d, &get), "a first request has no kept hash of its URI");
    ok(uses_target(&d, &get), "the hash of method and URI is kept");
    ok(!uses_target(&d, &post), "another method has another hash");

    (void) ngx_apikeys_digest_verify(&d, ha1, &get, &kept);
    d.uri.data[1] = 'b';
    ok(!uses_target(&d, &get), "another URI has another hash");

    d.uri.len--;
    ok(!uses_target(&d, &get), "a shorter URI has another hash");

    /* the same text, divided at another place */

    t = d.uri;
    d.uri.data = path;
    d.uri.len = 2;
    memcpy(path, "S/", 2);
    (void) ngx_apikeys_digest_verify(&d, ha1, &get, &kept);
    d.uri.data++;
    d.uri.len--;
    ok(!uses_target(&d, &longer), "the length of the method counts");

    d.uri.data = path;
    d.uri.len = sizeof(kept.target.text) - get.len;
    ok(!uses_target(&d, &get) && uses_target(&d, &get),
       "the longest text is kept");

    d.uri.len++;
    ok(uses_target(&d, &get), "a longer text replaces nothing");

    d.uri = t;
    (void) ngx_apikeys_digest_verify(&d, ha1, &get, &kept);
    d.alg = sha ? NGX_APIKEYS_DIGEST_MD5 : NGX_APIKEYS_DIGEST_SHA256;
    d.response.len = sha ? 32 : 64;
    d.response.data = path;
    ok(!uses_target(&d, &get), "another algorithm has another hash");

    ngx_free(s.data);
}


int
main(void)
{
    tap_start();
    srandom(1);

    check_headers();
    check_values();
    check_vectors();
    check_plain();
    check_random();
    check_prefix(0);
    check_prefix(1);
    check_target(0);
    check_target(1);
    check_hostile();

    return tap_end();
}
