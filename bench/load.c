
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A load generator for one server on 127.0.0.1: keep-alive connections, one
 * request under way on each, credentials of every scheme.  All requests are
 * written out before the clock starts, so that a digest costs the client no
 * more than a fixed header does; a connection has a nonce of its own and
 * counts up from 1.
 *
 *     load [-e] [-c connections] [-n requests] [-s status] [-a scheme]
 *         [-k file] port uri
 *
 * scheme: none, basic, bearer, header, MD5, SHA-256; a "+" in front (as in
 * "+MD5") sends the header without asking for a nonce first, to a location that
 * does not look at it.  file: lines "public:private"; one of them is drawn for
 * each connection (digest) or request.  Prints the seconds that it took.
 * -e: one connection, where a request without a credential precedes each, and
 * a digest has the nonce of its answer, as with clients that keep none.
 */


#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <openssl/evp.h>


#define MAX_CONNECTIONS  64
#define MAX_IDLE         1000         /* looks without anything to do */
#define MAX_REQUEST      1024
#define MAX_ANSWER       262144

#define NONCE_LEN        32
#define REALM            "MMS Public API"


typedef struct {
    int      fd;
    long     sent;
    long     total;
    char    *text;        /* all requests */
    size_t  *ends;        /* of each in it */
    size_t   len;         /* of the answer, so far */
    char     nonce[NONCE_LEN + 1];
    char    *key;
    char     answer[MAX_ANSWER];
} connection_t;


static int            port;
static int            status = 200;
static long           nkeys;
static char         **keys;
static const char    *uri;
static const char    *scheme = "none";
static connection_t   connections[MAX_CONNECTIONS];


static void
fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}


static void
read_keys(const char *name)
{
    FILE    *f;
    char    *line;
    size_t   size;
    long     max;

    f = fopen(name, "r");
    if (f == NULL) {
        fail(name);
    }

    max = 0;
    line = NULL;
    size = 0;

    while (getline(&line, &size, f) > 0) {
        line[strcspn(line, "\n")] = '\0';

        if (nkeys == max) {
            max = max ? 2 * max : 1024;
            keys = realloc(keys, max * sizeof(char *));
        }

        keys[nkeys++] = strdup(line);
    }

    free(line);
    fclose(f);
}


/* the same sequence in every run */

static uint64_t
draw(void)
{
    static uint64_t  x = 88172645463325252ULL;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;

    return x;
}


static void
hash(const char *algorithm, char *out, const char *text)
{
    unsigned char  md[EVP_MAX_MD_SIZE];
    unsigned int   i, n;

    EVP_Digest(text, strlen(text), md, &n,
               strcmp(algorithm, "MD5") == 0 ? EVP_md5() : EVP_sha256(),
               NULL);

    for (i = 0; i < n; i++) {
        sprintf(out + 2 * i, "%02x", md[i]);
    }
}


static int
digest(char *p, const char *algorithm, connection_t *c, long count)
{
    char        ha1[65], ha2[65], response[65], text[MAX_REQUEST];
    char        user[64];
    const char *pass;

    pass = strchr(c->key, ':') + 1;
    snprintf(user, sizeof(user), "%.*s", (int) (pass - c->key - 1), c->key);

    snprintf(text, sizeof(text), "%s:" REALM ":%s", user, pass);
    hash(algorithm, ha1, text);

    snprintf(text, sizeof(text), "GET:%s", uri);
    hash(algorithm, ha2, text);

    snprintf(text, sizeof(text), "%s:%s:%08lx:0123456789abcdef:auth:%s",
             ha1, c->nonce, count, ha2);
    hash(algorithm, response, text);

    return sprintf(p, "Authorization: Digest username=\"%s\", "
                   "realm=\"" REALM "\", nonce=\"%s\", uri=\"%s\", "
                   "algorithm=%s, response=\"%s\", qop=auth, nc=%08lx, "
                   "cnonce=\"0123456789abcdef\"\r\n",
                   user, c->nonce, uri, algorithm, response, count);
}


static int
credential(char *p, connection_t *c, long count)
{
    char           text[128];
    unsigned char  base64[256];
    const char    *name, *key;

    name = scheme + (*scheme == '+');
    key = nkeys ? keys[draw() % nkeys] : NULL;

    if (strcmp(name, "none") == 0) {
        return 0;
    }

    if (strcmp(name, "basic") == 0) {
        EVP_EncodeBlock(base64, (const unsigned char *) key, strlen(key));
        return sprintf(p, "Authorization: Basic %s\r\n", base64);
    }

    if (strcmp(name, "bearer") == 0) {
        snprintf(text, sizeof(text), "Authorization: Bearer %s\r\n", key);
        *strrchr(text, ':') = '_';
        return sprintf(p, "%s", text);
    }

    if (strcmp(name, "header") == 0) {
        snprintf(text, sizeof(text), "X-Api-Key: %s\r\n", key);
        return sprintf(p, "%s", text);
    }

    return digest(p, name, c, count);
}


static int
request(char *p, connection_t *c, long count)
{
    int  n;

    n = sprintf(p, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                "User-Agent: bench/1.0\r\nAccept: */*\r\n", uri, port);

    if (count) {
        n += credential(p + n, c, count);
    }

    return n + sprintf(p + n, "\r\n");
}


/* the answer's status when it is complete, or 0 */

static int
complete(connection_t *c)
{
    char    *end, *length;
    size_t   size;

    c->answer[c->len] = '\0';

    end = strstr(c->answer, "\r\n\r\n");
    if (end == NULL) {
        return 0;
    }

    length = strcasestr(c->answer, "\r\nContent-Length:");

    if (length == NULL || length > end) {
        fprintf(stderr, "load: an answer without a length: %s\n", c->answer);
        exit(1);
    }

    size = end + 4 - c->answer + strtoul(length + 17, NULL, 10);

    if (c->len < size) {
        return 0;
    }

    c->len = 0;

    return atoi(c->answer + 9);
}


static void
send_next(connection_t *c)
{
    char    *p;
    size_t   len;

    p = c->text + (c->sent ? c->ends[c->sent - 1] : 0);
    len = c->text + c->ends[c->sent] - p;

    if (send(c->fd, p, len, 0) != (ssize_t) len) {
        fail("send");
    }

    c->sent++;
}


/* 1: another answer is there */

static int
receive(connection_t *c)
{
    int      code;
    ssize_t  n;

    n = recv(c->fd, c->answer + c->len, MAX_ANSWER - 1 - c->len, 0);

    if (n <= 0) {
        fail("recv");
    }

    c->len += n;

    code = complete(c);

    if (code && code != status && c->total) {
        fprintf(stderr, "load: status %d: %s\n", code, c->answer);
        exit(1);
    }

    return code != 0;
}


static void
ask(connection_t *c, long count)
{
    int   n;
    char  text[MAX_REQUEST];

    n = request(text, c, count);

    if (send(c->fd, text, n, 0) != n) {
        fail("send");
    }

    while (!receive(c)) { /* void */ }
}


static void
challenge(connection_t *c)
{
    char  *p;

    ask(c, 0);

    p = strstr(c->answer, "nonce=\"");

    if (p == NULL) {
        fprintf(stderr, "load: no challenge: %s\n", c->answer);
        exit(1);
    }

    memcpy(c->nonce, p + 7, NONCE_LEN);
}


static void
dial(connection_t *c)
{
    int                 on;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    c->fd = socket(AF_INET, SOCK_STREAM, 0);

    if (c->fd == -1
        || connect(c->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1)
    {
        fail("connect");
    }

    on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(int));

    memset(c->nonce, 'A', NONCE_LEN);
    c->key = nkeys ? keys[draw() % nkeys] : NULL;
}


static void
exchange(connection_t *c, long total)
{
    dial(c);

    while (total--) {
        c->total = 0;

        if (*scheme == '+') {
            ask(c, 0);

        } else {
            challenge(c);
        }

        /* its status counts */

        c->total = 1;
        ask(c, 1);
    }
}


static void
prepare(connection_t *c, long total)
{
    long   i;
    char  *p;

    dial(c);

    if (strcmp(scheme, "MD5") == 0 || strcmp(scheme, "SHA-256") == 0) {
        challenge(c);
    }

    c->text = malloc(total * MAX_REQUEST);
    c->ends = malloc(total * sizeof(size_t));
    c->total = total;

    p = c->text;

    for (i = 0; i < total; i++) {
        p += request(p, c, i + 1);
        c->ends[i] = p - c->text;
    }
}


static double
run(int n)
{
    int                 i, ep, left, idle, timeout;
    connection_t       *c;
    struct timespec     start, end;
    struct epoll_event  ev, events[MAX_CONNECTIONS];

    ep = epoll_create1(0);

    for (i = 0; i < n; i++) {
        ev.events = EPOLLIN;
        ev.data.ptr = &connections[i];
        epoll_ctl(ep, EPOLL_CTL_ADD, connections[i].fd, &ev);
    }

    clock_gettime(CLOCK_MONOTONIC, &start);

    for (i = 0; i < n; i++) {
        send_next(&connections[i]);
    }

    idle = 0;

    for (left = n; left; /* void */ ) {

        /*
         * To wake who sleeps is work of the server's, and the more of it the
         * slower a server is: so this sleeps only where all wait for long.
         */

        timeout = (idle < MAX_IDLE) ? 0 : 60000;

        i = epoll_wait(ep, events, n, timeout);

        if (i < 0 || (i == 0 && timeout)) {
            fail("epoll_wait");
        }

        idle = i ? 0 : idle + 1;

        while (i--) {
            c = events[i].data.ptr;

            if (!receive(c)) {
                continue;
            }

            if (c->sent < c->total) {
                send_next(c);

            } else {
                epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
                left--;
            }
        }
    }

    clock_gettime(CLOCK_MONOTONIC, &end);

    return end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) / 1e9;
}


int
main(int argc, char **argv)
{
    int   i, n, opt, exchanges;
    long  total;

    n = 1;
    total = 1000;
    exchanges = 0;

    while ((opt = getopt(argc, argv, "ec:n:s:a:k:")) != -1) {
        switch (opt) {
        case 'e': exchanges = 1; break;
        case 'c': n = atoi(optarg); break;
        case 'n': total = atol(optarg); break;
        case 's': status = atoi(optarg); break;
        case 'a': scheme = optarg; break;
        case 'k': read_keys(optarg); break;
        default: return 2;
        }
    }

    if (argc - optind != 2 || n < 1 || n > MAX_CONNECTIONS || total < n) {
        fprintf(stderr, "usage: load [-e] [-c connections] [-n requests] "
                "[-s status] [-a scheme] [-k file] port uri\n");
        return 2;
    }

    port = atoi(argv[optind]);
    uri = argv[optind + 1];

    if (exchanges) {
        exchange(&connections[0], total);
        return 0;
    }

    for (i = 0; i < n; i++) {
        prepare(&connections[i], total / n);
    }

    printf("%.6f\n", run(n));

    return 0;
}
