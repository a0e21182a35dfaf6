
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include "tap.h"

#include <ngx_apikeys_seal.h>


#define KEY_A  "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define KEY_B  "YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk="


static char        path[] = "/tmp/apikeys-seal-XXXXXX";
static ngx_conf_t  cf;


static void
put(const char *text, size_t len, mode_t mode)
{
    int  fd;

    unlink(path);
    fd = open(path, O_WRONLY|O_CREAT|O_TRUNC, 0600);

    if (fd == -1 || write(fd, text, len) != (ssize_t) len
        || fchmod(fd, mode) == -1 || close(fd) == -1)
    {
        perror("Bail out! cannot write the key file");
        exit(2);
    }
}


static ngx_apikeys_seal_t *
ring(const char *text)
{
    ngx_str_t  file;

    if (text) {
        put(text, strlen(text), 0600);
    }

    tap_message[0] = '\0';
    file.data = (u_char *) path;
    file.len = strlen(path);

    return ngx_apikeys_seal_create(&cf, &file);
}


static void
refused(const char *text, const char *message, const char *what)
{
    ok(ring(text) == NULL && strstr(tap_message, message)
       && strstr(tap_message, "[emerg]"), "%s", what);

    if (strstr(tap_message, message) == NULL) {
        printf("# %s\n", tap_message);
    }

    ok(strstr(tap_message, "MDEy") == NULL, "and the key is not told");
}


static void
check_files(void)
{
    char        many[20 * sizeof(KEY_A)], *p;
    ngx_str_t   key;
    ngx_str_t   raw;
    u_char      bytes[32];
    ngx_uint_t  i;

    ok(ngx_apikeys_seal_nkeys(ring(KEY_A "\n")) == 1, "a key");
    ok(ngx_apikeys_seal_nkeys(ring(KEY_A)) == 1, "without a line feed");
    ok(ngx_apikeys_seal_nkeys(ring("# old\n\n" KEY_A " \r\n#\n" KEY_B "\n\n"))
       == 2, "two, with comments and empty lines");

    refused("", "contains no key", "an empty file");
    refused("# nothing\n\n", "contains no key", "a file of comments");
    ok(strstr(tap_message, "openssl rand -base64 32") != NULL,
       "the message says how to make one");
    refused("MDEyMzQ1\n", "line 1 of", "a short key");
    refused(KEY_A "\nMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIz\n",
            "line 2 of", "a long key");
    refused("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIz\n",
            "line 1 of", "48 digits");
    refused("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYw\n",
            "line 1 of", "44 digits, which are 33 bytes");
    refused("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZW==\n",
            "line 1 of", "31 bytes");
    refused("MDEyMzQ1Njc4OW=iY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n",
            "line 1 of", "= in the middle");
    refused("MDEyMzQ1Njc4OW!iY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n",
            "line 1 of", "what is not base64");
    refused(" " KEY_A "\n", "line 1 of", "a space in front");
    refused(KEY_A KEY_B "\n", "line 1 of", "two on a line");
    refused(KEY_A "\n" KEY_B "\n\n" KEY_A "\n", "line 4 of", "a key twice");
    ok(strstr(tap_message, "repeats") != NULL, "it says so");

    p = many;
    raw.data = bytes;
    raw.len = 32;

    for (i = 0; i < 17; i++) {
        memset(bytes, (int) i, 32);
        key.data = (u_char *) p;
        ngx_encode_base64(&key, &raw);
        p += key.len;
        *p++ = '\n';
        *p = '\0';

        if (i == 15) {
            ok(ngx_apikeys_seal_nkeys(ring(many)) == 16, "sixteen keys");
        }
    }

    refused(many, "more than 16", "seventeen");
}


static void
check_modes(void)
{
    char        big[20000];
    ngx_uint_t  i;

    static mode_t  open_modes[] = { 0604, 0640, 0602, 0620, 0666, 0601 };

    for (i = 0; i < sizeof(open_modes) / sizeof(open_modes[0]); i++) {
        put(KEY_A "\n", sizeof(KEY_A), open_modes[i]);
        refused(NULL, "chmod 600", "a file open to others");
    }

    put(KEY_A "\n", sizeof(KEY_A), 0400);
    ok(ring(NULL) != NULL, "mode 0400 will do");

    memset(big, '\n', sizeof(big));
    put(big, sizeof(big), 0600);
    refused(NULL, "has 20000 bytes, at most 16384", "a large file");

    put(KEY_A "\0\n", sizeof(KEY_A) + 1, 0600);
    refused(NULL, "line 1 of", "a NUL after a key");

    unlink(path);
    refused(NULL, "cannot open", "no file");
    ok(strstr(tap_message, "copy it from another node or the backup; only for "
                           "a new installation") != NULL,
       "the message says what to do");

    mkdir(path, 0700);
    refused(NULL, "not a regular file", "a directory");
    rmdir(path);

    mkfifo(path, 0600);
    refused(NULL, "not a regular file", "a fifo, at once");
    unlink(path);
}


static void
check_derive(void)
{
    u_char               a[42], b[42], c[42];
    ngx_apikeys_seal_t  *ab, *ba;

    ab = ring(KEY_A "\n" KEY_B "\n");
    ba = ring(KEY_B "\n" KEY_A "\n");

    ok(ngx_apikeys_seal_derive(ab, 0, "nonce", a, 42) == NGX_OK
       && ngx_apikeys_seal_derive(ba, 1, "nonce", b, 42) == NGX_OK
       && memcmp(a, b, 42) == 0, "the same from the same key");

    /* made apart: python3, hmac, RFC 5869 with our salt */
    ok(memcmp(a, "\xa7\x0c\x37\x46\xee\x29\x76\x31"
              "\x41\xdf\x4d\x8b\xdc\x24\xf7\x8c", 16) == 0, "as RFC 5869 has it");

    ok(ngx_apikeys_seal_derive(ab, 1, "nonce", b, 42) == NGX_OK
       && memcmp(a, b, 42) != 0, "another from another key");
    ok(ngx_apikeys_seal_derive(ab, 0, "check", c, 42) == NGX_OK
       && memcmp(a, c, 42) != 0, "another for another purpose");
    ok(ngx_apikeys_seal_derive(ab, 2, "nonce", c, 42) == NGX_ERROR,
       "none from a key that is not there");
}


static ngx_int_t
open_box(ngx_apikeys_seal_t *seal, const u_char *sealed, size_t len,
    const char *context, ngx_apikeys_secret_t *secret)
{
    ngx_int_t  rc;
    ngx_str_t  s, c;

    s = tap_exact(sealed, len);
    c = tap_str(context);
    rc = ngx_apikeys_seal_open(seal, secret, &s, &c);
    ngx_free(s.data);
    ngx_free(c.data);

    return rc;
}


static void
check_seal(void)
{
    u_char                sealed[NGX_APIKEYS_SEALED_LEN];
    u_char                again[NGX_APIKEYS_SEALED_LEN];
    size_t                len;
    ngx_str_t             context;
    ngx_uint_t            i, opened;
    ngx_apikeys_seal_t   *a, *b, *ab, *ba;
    ngx_apikeys_secret_t  secret, got;

    a = ring(KEY_A "\n");
    b = ring(KEY_B "\n");
    ab = ring(KEY_A "\n" KEY_B "\n");
    ba = ring(KEY_B "\n" KEY_A "\n");

    for (i = 0; i < sizeof(secret); i++) {
        ((u_char *) &secret)[i] = (u_char) i;
    }

    ngx_str_set(&context, "id:abcdefgh:MMS Public API");

    ok(ngx_apikeys_seal_secret(ab, 0, sealed, &secret, &context) == NGX_OK
       && ngx_apikeys_seal_secret(ab, 0, again, &secret, &context) == NGX_OK,
       "a secret is sealed");
    ok(memcmp(sealed, again, 4) == 0
       && memcmp(sealed + 4, again + 4, sizeof(sealed) - 4) != 0,
       "each time by another iv");

    memset(&got, 0, sizeof(got));
    ok(open_box(ab, sealed, sizeof(sealed), "id:abcdefgh:MMS Public API",
                &got) == NGX_OK
       && memcmp(&got, &secret, sizeof(got)) == 0, "its ring opens it");
    ok(open_box(a, sealed, sizeof(sealed), "id:abcdefgh:MMS Public API",
                &got) == NGX_OK, "so does one with the first key alone");
    ok(open_box(ba, sealed, sizeof(sealed), "id:abcdefgh:MMS Public API",
                &got) == NGX_OK, "and one where it is the second");
    ok(open_box(b, sealed, sizeof(sealed), "id:abcdefgh:MMS Public API",
                &got) == NGX_DECLINED, "one without it does not");
    ok(open_box(ab, sealed, sizeof(sealed), "id:abcdefgi:MMS Public API",
                &got) == NGX_DECLINED, "nor does another row");
    ok(open_box(ab, sealed, sizeof(sealed), "", &got) == NGX_DECLINED,
       "nor no row at all");

    memset(&got, 0x5a, sizeof(got));

    for (opened = 0, i = 0; i < 8 * sizeof(sealed); i++) {
        memcpy(again, sealed, sizeof(sealed));
        again[i / 8] ^= 1 << (i % 8);
        opened += open_box(ab, again, sizeof(sealed),
                           "id:abcdefgh:MMS Public API", &got)
                  != NGX_DECLINED;
    }

    ok(opened == 0, "a bit of it changed opens nothing");

    for (len = 0; len < sizeof(sealed); len++) {
        opened += open_box(ab, sealed, len, "id:abcdefgh:MMS Public API",
                           &got) != NGX_DECLINED;
    }

    ok(opened == 0, "nor does a part of it");

    for (i = 0; i < sizeof(got); i++) {
        opened += ((u_char *) &got)[i] != 0x5a;
    }

    ok(opened == 0, "nothing was put out by those");

    context.len = 0;
    ok(ngx_apikeys_seal_secret(ab, 0, sealed, &secret, &context) == NGX_OK
       && open_box(ab, sealed, sizeof(sealed), "", &got) == NGX_OK,
       "an empty context is one");
}


/*
 * Where in memory a secret lies.  It is given, and looked for, with each byte
 * inverted, so that the search does not find itself.
 */

static void
find(const u_char *inverted, ngx_uint_t *dumped, ngx_uint_t *kept)
{
    int                   fd;
    FILE                 *f;
    char                  line[4096];
    size_t                n, i, k;
    ngx_uint_t           *found;
    unsigned long         start, end, at;
    static unsigned char  chunk[65536];

    *dumped = 0;
    *kept = 0;
    start = 0;
    end = 0;

    fd = open("/proc/self/mem", O_RDONLY);
    f = fopen("/proc/self/smaps", "r");

    while (f && fgets(line, sizeof(line), f)) {

        if (strncmp(line, "VmFlags:", 8) != 0) {
            if (line[0] < 'A' || line[0] > 'Z') {
                sscanf(line, "%lx-%lx", &start, &end);
            }

            continue;
        }

        found = strstr(line, " dd") ? kept : dumped;

        /* sanitizers reserve terabytes, which hold nothing of ours */

        if (strstr(line, " rd ") == NULL || end - start > 256 * 1024 * 1024) {
            continue;
        }

        for (at = start; at < end; at += sizeof(chunk) - 32) {
            memset(chunk, 0, sizeof(chunk));
            n = pread(fd, chunk, ngx_min(sizeof(chunk), end - at), at);

            for (i = 0; n != (size_t) -1 && i + 32 <= n; i++) {
                for (k = 0; k < 32; k++) {
                    if ((chunk[i + k] ^ 0xff) != inverted[k]) {
                        break;
                    }
                }

                *found += k == 32;
            }
        }
    }

    memset(chunk, 0, sizeof(chunk));

    if (f) {
        fclose(f);
    }

    close(fd);
}


static void
check_pages(void)
{
    u_char                key[32];
    ngx_str_t             context, box;
    ngx_uint_t            i, dumped, kept;
    ngx_apikeys_seal_t   *seal;
    ngx_apikeys_secret_t  secret;
    static u_char         sealed[NGX_APIKEYS_SEALED_LEN];

    seal = ring(KEY_B "\n");
    ngx_str_set(&context, "context");
    memset(&secret, 1, sizeof(secret));
    box.data = sealed;
    box.len = sizeof(sealed);

    ok(ngx_apikeys_seal_secret(seal, 0, sealed, &secret, &context) == NGX_OK
       && ngx_apikeys_seal_open(seal, &secret, &box, &context) == NGX_OK,
       "keys were used");

    for (i = 0; i < 32; i++) {
        key[i] = (i < 16 ? "abcdef0123456789"[i] : "abcdef0123456789"[i - 16])
                 ^ 0xff;
    }

    find(key, &dumped, &kept);
    ok(kept >= 1, "the master key is in pages that core files leave out");
    ok(dumped == 0, "and nowhere else");

    if (ngx_apikeys_seal_derive(seal, 0, "seal", key, 32) != NGX_OK) {
        return;
    }

    for (i = 0; i < 32; i++) {
        key[i] ^= 0xff;
    }

    find(key, &dumped, &kept);
    ok(kept >= 1 && dumped == 0, "so is what seals");
}


int
main(void)
{
    int  fd;

    tap_start();

    fd = mkstemp(path);
    if (fd == -1) {
        return 2;
    }

    close(fd);

    cf.cycle = &tap_cycle;
    cf.pool = ngx_create_pool(4096, &tap_log);
    cf.temp_pool = cf.pool;
    cf.log = &tap_log;

    check_files();
    check_modes();
    check_derive();
    check_seal();
    check_pages();

    ngx_destroy_pool(cf.pool);
    unlink(path);

    return tap_end();
}
