
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Nodes without nginx, and a client of the API without HTTP.
 *
 *     nodes [-b] [-n followers] [-p port]... conninfo
 *
 * A follower has one connection and sends what the leader of a node sends
 * (src/sync), with the same parameters and at the same times, but for the
 * load: it begins at the snapshot of the answer "epoch".  bench/run compares
 * the statements with those of a node in the server's log.  With -b a follower
 * is bare: it sends the feed's statement at once for each notification, and
 * nothing else.
 *
 * The program connects, prints "ready WRITER WAITER" (pids of two backends),
 * and executes lines of its input:
 *
 *     run RATE CHANGES FIRST WAIT
 *
 * deletes the keys FIRST to FIRST + CHANGES - 1, RATE of them a second, or one
 * after the other if RATE is 0.  WAIT 1: as the API does, with a receipt for
 * each; 0: as psql does.  Each line is answered by one of JSON.  "late" is the
 * number of lags that were not seen in time: the database is overloaded.
 *
 * The lag of a node is the time from the answer to the deletion until the
 * follower has read it, or, with -p, until the nginx at this port answers 401
 * to the key.  A port is asked about one key at a time, every ms.  A lag of a
 * node alone is exact to 0.1 ms.
 */


#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <libpq-fe.h>


#define MAX_FOLLOWERS  2000
#define MAX_PROBES     16
#define MAX_CHANGES    20000
#define MAX_PARAMS     8

/* us, as in src/sync */
#define MSEC           1000LL
#define POLL           (1000 * MSEC)
#define SELDOM         (40 * MSEC)
#define DEBOUNCE       (25 * MSEC)
#define SHARE          4
#define SILENT         (1000 * MSEC)
#define TELL_EVERY     (1250 * MSEC)
#define TELL_BURST     (16 * TELL_EVERY)
#define HEARTBEAT      (5000 * MSEC)
#define PRUNE          (60000 * MSEC)
#define LEASE          "600.700"

/* us, as in src/http/api */
#define RECEIPT_MIN    (5 * MSEC)
#define RECEIPT_MAX    (1000 * MSEC)

/* us that a run may last longer than its changes */
#define PATIENCE       (20000 * MSEC)

/* us between two requests to a port; a node alone is asked more often */
#define ASK            (1 * MSEC)
#define ASK_ONE        (MSEC / 10)

#define PUBLIC_LEN     8


typedef enum {
    IDLE = 0,
    FEED,
    TELL,
    BEAT,
    CLEAN
} step_e;


typedef struct {
    PGconn     *pg;
    step_e      step;
    char        uuid[37];
    char        name[32];
    char       *identity;
    char       *cursor;
    char       *durable;
    int64_t     at;                /* of the next round, if IDLE */
    int64_t     sent_at;           /* of the last one */
    int64_t     feed_time;
    int64_t     notified_at;
    int64_t     notify_interval;
    int64_t     beat_at;
    int64_t     tell_paid;
    int64_t     pruned_at;
    int         notified;
    int         untold;
    int         asked;
} follower_t;


typedef struct {
    int         fd;
    int         port;
    int         busy;              /* a request was sent */
    int         change;            /* that is asked about, or -1 */
    int64_t     at;                /* of the next request */
    size_t      len;
    char        answer[4096];
} probe_t;


typedef struct {
    int64_t     committed;         /* when the answer came; 0: not yet */
    int64_t     asked_at;          /* of the receipt */
    int64_t     ended;             /* the receipt was given */
    int         waits;
    char        xid[24];
} change_t;


typedef struct {
    int64_t    *values;
    size_t      n;
    size_t      max;
} sample_t;


static follower_t  followers[MAX_FOLLOWERS];
static int         nfollowers;
static int         bare;
static probe_t     probes[MAX_PROBES];
static int         nprobes;
static change_t    changes[MAX_CHANGES];
static int         nchanges, nsent, ncommitted, nreceipts, first, wait_for;
static int64_t     interval, next_at, receipts_at;
static int         writing, waiting;
static PGconn     *api, *psql, *writer, *waiter;
static sample_t    lags, receipts;
static size_t      longest;        /* pg_snapshot */


#define STATE  "kind, id, version, deleted, org_id, public_key, secret, "     \
               "redacted, descr, roles, projects, entries, "                  \
               "access_list_required, name, created"

#define CHANGED                                                              \
    "(s.changed).kind, (s.changed).id, (s.changed).version, "                \
    "(s.changed).deleted, (s.changed).org_id, (s.changed).public_key, "      \
    "(s.changed).secret, (s.changed).redacted, (s.changed).descr, "          \
    "(s.changed).roles, (s.changed).projects, (s.changed).entries, "         \
    "(s.changed).access_list_required, (s.changed).name, "                   \
    "(s.changed).created, (s.changed).attributes"

static const char  feed_sql[] =
    "SELECT identity, snapshot, schema_version, compatible_from, asked, " STATE
    " FROM apikeys.feed_since($1, $2, $3)";

static const char  heartbeat_sql[] =
    "SELECT h.done, s.seals, s.lines, s.anew "
    "FROM apikeys.heartbeat($1, $2, $3, $4, $5, $6, $7, $8) AS h (done), "
    "apikeys.sealing($1, $6) AS s";

static const char  delete_sql[] =
    "SELECT " CHANGED ", pg_current_xact_id(), "
    "(SELECT apikeys.identity()), s.refusal, s.detail FROM apikeys."
    "delete_key($1, $2, $3, $4, $5, $6) s";

static const char  wait_sql[] =
    "SELECT apikeys.identity(), xid, uuid, name, heard"
    "  FROM (SELECT) one LEFT JOIN apikeys.waiting_for($1) w ON true";


static int64_t
now(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_MONOTONIC, &t);

    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}


static void
fail(const char *what, const char *why)
{
    fprintf(stderr, "nodes: %s: %s\n", what, why);
    exit(1);
}


static void
sample(sample_t *s, int64_t value)
{
    if (s->n == s->max) {
        s->max = s->max ? 2 * s->max : 4096;
        s->values = realloc(s->values, s->max * sizeof(int64_t));
    }

    s->values[s->n++] = value < 0 ? 0 : value;
}


static int
compare(const void *one, const void *two)
{
    int64_t  a = *(const int64_t *) one, b = *(const int64_t *) two;

    return (a > b) - (a < b);
}


static void
print_sample(const char *name, sample_t *s)
{
    printf("\"%s\":{\"n\":%zu", name, s->n);

    if (s->n) {
        qsort(s->values, s->n, sizeof(int64_t), compare);

        printf(",\"median\":%.3f,\"p99\":%.3f,\"worst\":%.3f",
               s->values[s->n / 2] / 1e3, s->values[s->n * 99 / 100] / 1e3,
               s->values[s->n - 1] / 1e3);
    }

    printf("}");
    s->n = 0;
}


/* the number of a key by its id, see bench/lib/Bench/Data.pm */

static int
change_of(const char *id)
{
    long  n;

    n = strtol(id + 2, NULL, 16) - first;

    return (n >= 0 && n < nchanges) ? (int) n : -1;
}


static void
exec(PGconn *pg, const char *sql)
{
    PGresult  *res;

    res = PQexec(pg, sql);

    if (PQresultStatus(res) != PGRES_TUPLES_OK
        && PQresultStatus(res) != PGRES_COMMAND_OK)
    {
        fail(sql, PQerrorMessage(pg));
    }

    PQclear(res);
}


static void
prepare(PGconn *pg, const char *name, const char *sql, int nparams)
{
    PGresult  *res;

    res = PQprepare(pg, name, sql, nparams, NULL);

    if (PQresultStatus(res) != PGRES_COMMAND_OK) {
        fail(name, PQerrorMessage(pg));
    }

    PQclear(res);
}


static PGconn *
connect_as(const char *conninfo, const char *role, const char *listen)
{
    char     sql[512];
    PGconn  *pg;

    const char  *keywords[] = { "dbname", "user", "options",
                                "application_name", NULL };
    const char  *values[] = { conninfo, role,
        "-c statement_timeout=10000 "
        "-c idle_in_transaction_session_timeout=10000 "
        "-c tcp_keepalives_idle=60 -c tcp_keepalives_interval=10 "
        "-c tcp_keepalives_count=3", "nodes", NULL };

    pg = PQconnectdbParams(keywords, values, 1);

    if (PQstatus(pg) != CONNECTION_OK) {
        fail("connect", PQerrorMessage(pg));
    }

    snprintf(sql, sizeof(sql),
             "SELECT pg_catalog.current_setting('transaction_read_only')"
             ", pg_catalog.pg_backend_pid(), pg_catalog.set_config("
             "'apikeys.session', pg_catalog.concat("
             "pg_catalog.pg_backend_pid(), ' ',"
             " pg_catalog.clock_timestamp()), false)"
             ", pg_catalog.set_config('idle_session_timeout', '0', false)"
             ", pg_catalog.set_config('client_connection_check_interval',"
             " '500', false)%s", listen);

    exec(pg, sql);

    return pg;
}


static void
send_query(PGconn *pg, const char *name, int nparams,
    const char *const *params)
{
    if (PQsendQueryPrepared(pg, name, nparams, params, NULL, NULL, 0) != 1) {
        fail(name, PQerrorMessage(pg));
    }
}


/* the answer if it is there, or NULL */

static PGresult *
result(PGconn *pg)
{
    PGresult  *res, *end;

    if (PQisBusy(pg)) {
        return NULL;
    }

    res = PQgetResult(pg);

    while ((end = PQgetResult(pg)) != NULL) {
        PQclear(end);
    }

    if (PQresultStatus(res) != PGRES_TUPLES_OK
        && PQresultStatus(res) != PGRES_COMMAND_OK)
    {
        fail("query", PQresultErrorMessage(res));
    }

    return res;
}


static int64_t
earlier(int64_t one, int64_t two)
{
    return one < two ? one : two;
}


/* us until "applied" is to be told */

static int64_t
follower_tell_delay(follower_t *f)
{
    int64_t  end;

    if (!f->untold || bare) {
        return INT64_MAX;
    }

    end = now() + TELL_BURST;

    return (f->asked || f->tell_paid <= end) ? 0 : f->tell_paid - end;
}


static void
follower_feed(follower_t *f)
{
    const char  *params[3] = { f->cursor ? f->identity : NULL, f->cursor,
                               "{}" };

    f->notified = 0;
    f->step = FEED;
    f->sent_at = now();

    send_query(f->pg, "apikeys_sync_feed", 3, params);
}


static void
follower_tell(follower_t *f)
{
    const char  *params[2] = { f->uuid, f->cursor };

    f->step = TELL;

    send_query(f->pg, "apikeys_sync_tell", 2, params);
}


static void
follower_heartbeat(follower_t *f)
{
    const char  *params[8] = { f->uuid, f->name, f->identity, f->cursor,
                               LEASE, "{6e6f6465}", NULL, f->durable };

    f->step = BEAT;

    send_query(f->pg, "apikeys_sync_heartbeat", 8, params);
}


static int64_t
follower_debounce(follower_t *f)
{
    int64_t  delay;

    if (bare) {
        return 0;
    }

    if (f->notify_interval >= SELDOM) {
        return 0;
    }

    delay = SHARE * f->feed_time;
    delay = delay < DEBOUNCE ? delay : DEBOUNCE;

    return delay / 2 + random() % (delay + 1);
}


static void
follower_notify(follower_t *f)
{
    int64_t  at, interval;

    at = now();
    interval = at - f->notified_at;
    interval = interval < SILENT ? interval : SILENT;

    f->notify_interval = (7 * f->notify_interval + interval) / 8;

    if (f->notify_interval > SELDOM) {
        f->notify_interval = SELDOM;
    }

    f->notified_at = at;

    if (!f->notified && f->step == IDLE) {
        f->at = at + follower_debounce(f);
    }

    f->notified = 1;
}


static void
follower_idle(follower_t *f)
{
    int64_t  delay;

    delay = earlier(POLL, follower_tell_delay(f));

    if (!bare) {
        delay = earlier(delay, f->beat_at + HEARTBEAT - now());
    }

    if (f->notified) {
        delay = earlier(delay, follower_debounce(f));
    }

    f->step = IDLE;
    f->at = now() + delay;
}


static void
follower_keep(char **kept, const char *value)
{
    free(*kept);
    *kept = strdup(value);

    if (strlen(value) > longest) {
        longest = strlen(value);
    }
}


static void
follower_rows(follower_t *f, PGresult *res)
{
    int      i, n;
    int64_t  at;

    at = now();
    f->feed_time = at - f->sent_at;

    f->asked |= (PQgetvalue(res, 0, 4)[0] == 't');

    for (i = 1; i < PQntuples(res); i++) {
        f->untold = 1;

        n = change_of(PQgetvalue(res, i, 6));

        if (n >= 0) {
            sample(&lags, changes[n].committed
                          ? at - changes[n].committed : 0);
        }
    }

    follower_keep(&f->identity, PQgetvalue(res, 0, 0));
    follower_keep(&f->cursor, PQgetvalue(res, 0, 1));
}


static int
follower_heartbeat_due(follower_t *f)
{
    int64_t  age;

    if (bare) {
        return 0;
    }

    age = now() - f->beat_at;

    return age >= HEARTBEAT + HEARTBEAT / 10
           || (age >= HEARTBEAT && !f->notified);
}


/* a query has ended */

static void
follower_next(follower_t *f, PGresult *res)
{
    int64_t  at;

    switch (f->step) {

    case FEED:
        follower_rows(f, res);

        if (follower_heartbeat_due(f)) {
            follower_heartbeat(f);
            return;
        }

        if (follower_tell_delay(f) == 0) {
            follower_tell(f);
            return;
        }

        break;

    case BEAT:
        f->beat_at = now();
        follower_keep(&f->durable, f->cursor);

        /* fall through */

    case TELL:
        at = now();
        f->tell_paid = f->tell_paid > at ? f->tell_paid : at;
        f->tell_paid = earlier(f->tell_paid, at + TELL_BURST) + TELL_EVERY;
        f->untold = 0;
        f->asked = 0;
        break;

    default:
        break;
    }

    if (f->step != CLEAN && !bare && !f->notified
        && now() - f->pruned_at >= PRUNE)
    {
        f->pruned_at = now();
        f->step = CLEAN;

        send_query(f->pg, "apikeys_sync_prune", 0, NULL);
        return;
    }

    follower_idle(f);
}


static void
follower_read(follower_t *f)
{
    PGresult  *res;
    PGnotify  *notify;

    if (PQconsumeInput(f->pg) != 1) {
        fail("follower", PQerrorMessage(f->pg));
    }

    if (f->step != IDLE) {
        res = result(f->pg);

        if (res) {
            follower_next(f, res);
            PQclear(res);
        }
    }

    while ((notify = PQnotifies(f->pg)) != NULL) {
        PQfreemem(notify);
        follower_notify(f);
    }
}


static void
follower_create(follower_t *f, int n, const char *conninfo)
{
    f->pg = connect_as(conninfo, "apikeys_nginx", "; LISTEN \"apikeys\"");

    snprintf(f->uuid, sizeof(f->uuid), "00000000-0000-4000-8000-%012x", n);
    snprintf(f->name, sizeof(f->name), "bench:%d", n);

    exec(f->pg, "SELECT max(version), max(compatible_from)"
                " FROM apikeys.schema_version");

    prepare(f->pg, "apikeys_sync_feed", feed_sql, 3);
    prepare(f->pg, "apikeys_sync_tell", "SELECT apikeys.tell($1, $2)", 2);
    prepare(f->pg, "apikeys_sync_heartbeat", heartbeat_sql, 8);
    prepare(f->pg, "apikeys_sync_prune", "SELECT apikeys.prune()", 0);

    if (PQsetnonblocking(f->pg, 1) != 0) {
        fail("follower", PQerrorMessage(f->pg));
    }

    f->pruned_at = now();
    f->notify_interval = SELDOM;

    follower_feed(f);
}


/* as bench/keys.c */

static void
public_key(char *p, uint64_t n)
{
    int  i;

    n = n * 72057594039ULL % 208827064576ULL;

    for (i = 0; i < PUBLIC_LEN; i++) {
        *p++ = (char) ('a' + n % 26);
        n /= 26;
    }

    *p = '\0';
}


static void
probe_create(probe_t *p)
{
    int                 one;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(p->port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    one = 1;
    p->change = -1;
    p->fd = socket(AF_INET, SOCK_STREAM, 0);

    if (p->fd < 0
        || connect(p->fd, (struct sockaddr *) &sin, sizeof(sin)) != 0
        || setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0
        || fcntl(p->fd, F_SETFL, O_NONBLOCK) != 0)
    {
        fail("probe", strerror(errno));
    }
}


static void
probe_send(probe_t *p)
{
    int   n;
    char  public[PUBLIC_LEN + 1], text[256];

    public_key(public, first + p->change);

    n = snprintf(text, sizeof(text),
                 "GET /protected/key HTTP/1.1\r\nHost: x\r\n"
                 "X-Api-Key: %s:00000000-0000-4000-8000-%012x\r\n\r\n",
                 public, first + p->change);

    if (write(p->fd, text, n) != n) {
        fail("probe", strerror(errno));
    }

    p->busy = 1;
    p->len = 0;
}


static void
probe_read(probe_t *p)
{
    char     *body, *length;
    ssize_t   n;

    n = read(p->fd, p->answer + p->len, sizeof(p->answer) - 1 - p->len);

    if (n <= 0) {
        fail("probe", n ? strerror(errno) : "closed");
    }

    p->len += n;
    p->answer[p->len] = '\0';

    body = strstr(p->answer, "\r\n\r\n");

    if (body == NULL) {
        return;
    }

    length = strcasestr(p->answer, "\r\ncontent-length: ");

    if (length == NULL || (size_t) (body + 4 - p->answer) + atoi(length + 18)
                          > p->len)
    {
        return;
    }

    p->busy = 0;

    if (strncmp(p->answer + 9, "200", 3) == 0) {
        p->at = now() + (nprobes == 1 ? ASK_ONE : ASK);
        return;
    }

    if (strncmp(p->answer + 9, "401", 3) != 0) {
        fail("probe", p->answer);
    }

    sample(&lags, now() - changes[p->change].committed);
    p->change = -1;
}


static void
writer_send(void)
{
    char         id[25];
    const char  *params[] = { NULL, "127.0.0.1", NULL, NULL,
                              "5f0000000000000000000001", id };

    snprintf(id, sizeof(id), "5f%022x", first + nsent);

    writing = 1;
    writer = wait_for ? api : psql;

    if (wait_for) {
        send_query(writer, "apikeys_org_keys_delete", 6, params);

    } else {
        send_query(writer, "delete", 1, &params[5]);
    }

    nsent++;
    next_at += interval;
}


static void
writer_read(void)
{
    int        i;
    change_t  *c;
    PGresult  *res;

    if (PQconsumeInput(writer) != 1) {
        fail("writer", PQerrorMessage(writer));
    }

    res = result(writer);

    if (res == NULL) {
        return;
    }

    if (wait_for && (PQntuples(res) != 1 || !PQgetisnull(res, 0, 18))) {
        fail("the deletion was refused", PQgetvalue(res, 0, 18));
    }

    c = &changes[ncommitted];
    c->committed = now();

    if (wait_for) {
        snprintf(c->xid, sizeof(c->xid), "%s", PQgetvalue(res, 0, 16));
        c->waits = 1;
        receipts_at = c->committed;
    }

    for (i = 0; i < nprobes; i++) {
        if (probes[i].change < 0) {
            probes[i].change = ncommitted;
            probes[i].at = c->committed;
        }
    }

    ncommitted++;
    writing = 0;

    PQclear(res);
}


/* one query for all receipts of a worker */

static void
waiter_send(void)
{
    int          i;
    char        *p;
    static char  xids[MAX_CHANGES];
    const char  *params[1] = { xids };

    p = xids;
    *p++ = '{';

    for (i = 0; i < ncommitted && p < xids + sizeof(xids) - 32; i++) {
        if (changes[i].waits) {
            changes[i].waits = 2;
            p += sprintf(p, "%s,", changes[i].xid);
        }
    }

    if (p == xids + 1) {
        return;
    }

    p[-1] = '}';
    *p = '\0';

    waiting = 1;
    send_query(waiter, "apikeys_wait", 1, params);
}


static void
waiter_read(void)
{
    int        i, j, lacks;
    int64_t    at, due;
    PGresult  *res;

    if (PQconsumeInput(waiter) != 1) {
        fail("waiter", PQerrorMessage(waiter));
    }

    res = result(waiter);

    if (res == NULL) {
        return;
    }

    at = now();
    receipts_at = at + RECEIPT_MAX;

    for (i = 0; i < ncommitted; i++) {

        lacks = (changes[i].waits == 1);

        for (j = 0; !lacks && changes[i].waits && j < PQntuples(res); j++) {
            lacks = (strcmp(changes[i].xid, PQgetvalue(res, j, 1)) == 0);
        }

        if (changes[i].waits && !lacks) {
            changes[i].waits = 0;
            nreceipts++;
            sample(&receipts, at - changes[i].committed);
        }

        if (changes[i].waits) {
            due = (at - changes[i].committed) / 4;
            due = at + (due > RECEIPT_MIN ? due : RECEIPT_MIN);

            if (changes[i].waits == 1) {
                due = at;
            }

            if (due < receipts_at) {
                receipts_at = due;
            }
        }
    }

    waiting = 0;

    PQclear(res);
}


/* what is due; returns when to be called again */

static int64_t
timers(void)
{
    int      i;
    int64_t  at, due;

    at = now();
    due = at + 100 * MSEC;

    for (i = 0; i < nfollowers; i++) {

        if (followers[i].step == IDLE) {

            if (followers[i].at <= at) {
                follower_feed(&followers[i]);

            } else {
                due = earlier(due, followers[i].at);
            }
        }
    }

    for (i = 0; i < nprobes; i++) {

        if (probes[i].change >= 0 && !probes[i].busy) {

            if (probes[i].at <= at) {
                probe_send(&probes[i]);

            } else {
                due = earlier(due, probes[i].at);
            }
        }
    }

    if (!writing && nsent < nchanges
        && (interval || !wait_for || nreceipts == nsent))
    {
        if (next_at <= at) {
            writer_send();

        } else {
            due = earlier(due, next_at);
        }
    }

    if (!waiting && nreceipts < ncommitted && wait_for) {

        if (receipts_at <= at) {
            waiter_send();

        } else {
            due = earlier(due, receipts_at);
        }
    }

    return due;
}


/* one iteration of the event loop */

static void
iterate(void)
{
    int                   i, n;
    int64_t               delay;
    static struct pollfd  fds[MAX_FOLLOWERS + MAX_PROBES + 2];
    struct timespec       t;

    delay = timers() - now();
    delay = delay < 0 ? 0 : delay;

    t.tv_sec = 0;
    t.tv_nsec = delay * 1000;

    n = 0;

    for (i = 0; i < nfollowers; i++) {
        fds[n].fd = PQsocket(followers[i].pg);
        fds[n++].events = POLLIN
                          | (PQflush(followers[i].pg) == 1 ? POLLOUT : 0);
    }

    for (i = 0; i < nprobes; i++) {
        fds[n].fd = probes[i].fd;
        fds[n++].events = POLLIN;
    }

    fds[n].fd = writing ? PQsocket(writer) : -1;
    fds[n++].events = POLLIN;

    fds[n].fd = waiting ? PQsocket(waiter) : -1;
    fds[n++].events = POLLIN;

    if (ppoll(fds, n, &t, NULL) < 0 && errno != EINTR) {
        fail("poll", strerror(errno));
    }

    /* the writer first: its time is that of the lags */

    if (fds[n - 2].revents) {
        writer_read();
    }

    for (i = 0; i < nfollowers; i++) {
        if (fds[i].revents) {
            follower_read(&followers[i]);
        }
    }

    for (i = 0; i < nprobes; i++) {
        if (fds[nfollowers + i].revents) {
            probe_read(&probes[i]);
        }
    }

    if (fds[n - 1].revents) {
        waiter_read();
    }
}


static int
finished(void)
{
    int  i;

    if (ncommitted < nchanges || (wait_for && nreceipts < nchanges)) {
        return 0;
    }

    for (i = 0; i < nprobes; i++) {
        if (probes[i].change >= 0) {
            return 0;
        }
    }

    return lags.n >= (size_t) nfollowers * nchanges;
}


static void
run(double rate)
{
    int64_t  start, end;

    memset(changes, 0, sizeof(changes));
    nsent = 0;
    ncommitted = 0;
    nreceipts = 0;
    longest = 0;
    lags.n = 0;
    interval = rate ? 1e6 / rate : 0;

    start = now();
    next_at = start;
    end = start + nchanges * interval + PATIENCE;

    while (!finished()) {
        iterate();

        if (now() > end) {
            break;
        }
    }

    printf("{\"seconds\":%.3f,\"sent\":%d,\"late\":%zd,\"snapshot\":%zu,",
           (now() - start) / 1e6, ncommitted,
           nfollowers ? (ssize_t) (nfollowers * ncommitted) - (ssize_t) lags.n
                      : 0,
           longest);
    print_sample("lag", &lags);
    printf(",");
    print_sample("receipt", &receipts);
    printf("}\n");
}


static void
commands(void)
{
    char           line[128];
    double         rate;
    size_t         len;
    ssize_t        n;
    struct pollfd  in = { STDIN_FILENO, POLLIN, 0 };

    len = 0;

    for ( ;; ) {
        nchanges = 0;
        nsent = 0;

        iterate();

        if (poll(&in, 1, 0) <= 0) {
            continue;
        }

        n = read(STDIN_FILENO, line + len, sizeof(line) - 1 - len);

        if (n <= 0) {
            return;
        }

        len += n;
        line[len] = '\0';

        if (strchr(line, '\n') == NULL) {
            continue;
        }

        if (sscanf(line, "run %lf %d %d %d", &rate, &nchanges, &first,
                   &wait_for) != 4
            || nchanges > MAX_CHANGES)
        {
            fail("command", line);
        }

        len = 0;
        run(rate);
    }
}


static void
options(int argc, char **argv)
{
    int  c;

    while ((c = getopt(argc, argv, "bn:p:")) != -1) {

        switch (c) {

        case 'b':
            bare = 1;
            break;

        case 'n':
            nfollowers = atoi(optarg);
            break;

        case 'p':
            if (nprobes < MAX_PROBES) {
                probes[nprobes++].port = atoi(optarg);
            }

            break;

        default:
            exit(2);
        }
    }

    if (optind != argc - 1 || nfollowers > MAX_FOLLOWERS) {
        fail("usage", "nodes [-b] [-n followers] [-p port]... conninfo");
    }
}


int
main(int argc, char **argv)
{
    int  i;

    options(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);

    api = connect_as(argv[optind], "apikeys_nginx", "");
    prepare(api, "apikeys_org_keys_delete", delete_sql, 6);

    waiter = connect_as(argv[optind], "apikeys_nginx", "");
    prepare(waiter, "apikeys_wait", wait_sql, 1);

    psql = connect_as(argv[optind], "postgres", "");
    prepare(psql, "delete", "DELETE FROM apikeys.keys WHERE id = $1", 1);

    writer = api;

    for (i = 0; i < nfollowers; i++) {
        follower_create(&followers[i], i, argv[optind]);
    }

    for (i = 0; i < nprobes; i++) {
        probe_create(&probes[i]);
    }

    printf("ready %d %d %d\n", PQbackendPID(api), PQbackendPID(waiter),
           PQbackendPID(psql));

    commands();

    return 0;
}
