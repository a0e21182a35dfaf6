
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The table is compiled into this file with a hook at each of its atomic
 * operations, where races between processes, and deaths, are made frequent.
 */


#define _GNU_SOURCE

#include "tap.h"

#include <ngx_apikeys_nonce.h>

#include <sched.h>
#include <sys/wait.h>
#include <ucontext.h>


static void  hook(void);
static int   signal_process(pid_t pid, int signo);


#define __atomic_load_n(p, order)                                            \
    (hook(), __atomic_load_n(p, order))
#define __atomic_store_n(p, value, order)                                    \
    (hook(), __atomic_store_n(p, value, order))
#define __atomic_compare_exchange_n(p, old, value, weak, yes, no)            \
    (hook(), __atomic_compare_exchange_n(p, old, value, weak, yes, no))

#define kill(pid, signo)  signal_process(pid, signo)

#include "../../src/core/ngx_apikeys_nonce_table.c"

#undef kill
#undef __atomic_load_n
#undef __atomic_store_n
#undef __atomic_compare_exchange_n


#define KEY_A   "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define KEY_B   "YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk="

#define HEAD    sizeof(ngx_apikeys_nonce_head_t)
#define BUCKET  sizeof(ngx_apikeys_nonce_bucket_t)

#define PROCESSES  4
#define TASKS      5
#define IDS        64
#define COUNTS     8
#define STACK      65536


/* what the processes of a race share */
typedef struct {
    u_char       table[HEAD + 4 * BUCKET];
    ngx_uint_t   ready;
    ngx_uint_t   go;
    uint64_t     ids[IDS];
    ngx_uint_t   accepted[IDS][COUNTS];
} race_t;


typedef struct {
    ngx_uint_t   once;
    ngx_uint_t   never;
    ngx_uint_t   twice;
    ngx_uint_t   dead;
} result_t;


/* a process that is acted by a coroutine */
typedef struct {
    ucontext_t   context;
    uint64_t     id;
    uint32_t     count;
    uint32_t     owner;
    ngx_int_t    rc;
    ngx_uint_t   over;
    ngx_uint_t   dead;
    char        *stack;
} task_t;


static ngx_uint_t                  yields;  /* one operation of so many */
static ngx_uint_t                  deaths;  /* lets others run, or dies */
static ngx_uint_t                  stops;   /* before the operation of this
                                               number from now */
static uint32_t                    seed;

static task_t                      tasks[TASKS];
static task_t                     *running;
static ucontext_t                  scheduler;
static ngx_apikeys_nonce_table_t   tasks_table;
static uint64_t                    tasks_now;

static u_char     *first = (u_char *) "aaaaaaaa";
static u_char     *second = (u_char *) "bbbbbbbb";


static uint32_t
chance(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;

    return (seed >> 8) % n;
}


static void
hook(void)
{
    if (stops && --stops == 0) {
        swapcontext(&running->context, &scheduler);
    }

    if (deaths && chance(deaths) == 0) {
        if (running == NULL) {
            (kill)(getpid(), SIGKILL);
        }

        running->dead = 1;
        swapcontext(&running->context, &scheduler);
    }

    if (yields && chance(yields) == 0) {
        if (running == NULL) {
            sched_yield();
            return;
        }

        swapcontext(&running->context, &scheduler);
    }
}


/* the pids of tasks are their numbers and 1,000,000,000 */

static int
signal_process(pid_t pid, int signo)
{
    if (pid < 1000000000) {
        return (kill)(pid, signo);
    }

    if (tasks[pid - 1000000000].dead) {
        errno = ESRCH;
        return -1;
    }

    return 0;
}


static ngx_apikeys_seal_t *
ring(const char *text)
{
    int                  fd;
    char                 path[] = "/tmp/apikeys-nonce-XXXXXX";
    ngx_str_t            file;
    ngx_conf_t           cf;
    ngx_apikeys_seal_t  *seal;

    fd = mkstemp(path);

    if (fd == -1 || write(fd, text, strlen(text)) != (ssize_t) strlen(text)) {
        perror("Bail out! cannot write the key file");
        exit(2);
    }

    close(fd);

    memset(&cf, 0, sizeof(ngx_conf_t));
    cf.cycle = &tap_cycle;
    cf.pool = tap_cycle.pool;
    cf.log = &tap_log;

    file.data = (u_char *) path;
    file.len = strlen(path);

    seal = ngx_apikeys_seal_create(&cf, &file);
    unlink(path);

    return seal;
}


static ngx_apikeys_nonce_t *
nonces(const char *keys, void *table, size_t size)
{
    ngx_conf_t            cf;
    ngx_apikeys_nonce_t  *n;

    memset(&cf, 0, sizeof(ngx_conf_t));
    cf.pool = tap_cycle.pool;

    n = ngx_apikeys_nonce_create(&cf, ring(keys));

    if (n == NULL
        || ngx_apikeys_nonce_init_process(n, table, size, &tap_log) != NGX_OK)
    {
        printf("Bail out! no nonces\n");
        exit(2);
    }

    return n;
}


static void *
zeroed(size_t size)
{
    void  *p;

    p = ngx_alloc(size, &tap_log);
    memset(p, 0, size);

    return p;
}


static ngx_str_t
make(ngx_apikeys_nonce_t *n)
{
    u_char     text[NGX_APIKEYS_NONCE_LEN];
    ngx_str_t  s;

    memset(text, 0, sizeof(text));

    if (ngx_apikeys_nonce_make(n, text) != NGX_OK) {
        printf("Bail out! no nonce\n");
        exit(2);
    }

    s = tap_exact(text, sizeof(text));

    return s;
}


/* moves the clock that nginx shows */

static void
clock_move(int seconds)
{
    static ngx_time_t  now;

    now = *ngx_cached_time;
    now.sec += seconds;
    ngx_cached_time = &now;
}


static ngx_int_t
check(ngx_apikeys_nonce_t *n, ngx_str_t *text)
{
    uint64_t                      id;
    ngx_apikeys_digest_kept_t  *kept;

    return ngx_apikeys_nonce_check(n, text, &id, &kept);
}


static ngx_int_t
use_text(ngx_apikeys_nonce_t *n, ngx_str_t *text, uint32_t count,
    const u_char *key)
{
    uint64_t                      id;
    ngx_apikeys_digest_kept_t  *kept;

    if (ngx_apikeys_nonce_check(n, text, &id, &kept) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_apikeys_nonce_use(n, id, count, key);
}


static void
check_nonces(void)
{
    void                 *table, *other;
    size_t                size, len;
    ngx_str_t             s, t, part;
    ngx_uint_t            i, j, wrong;
    ngx_apikeys_nonce_t  *n, *m, *ab, *ba;

    size = HEAD + 16 * BUCKET + 64;
    table = zeroed(size);
    other = zeroed(size);

    n = nonces(KEY_A "\n", table, size);
    s = make(n);

    for (wrong = 0, i = 0; i < s.len; i++) {
        wrong += !isalnum(s.data[i]) && s.data[i] != '+' && s.data[i] != '/';
    }

    ok(wrong == 0, "a nonce is 32 characters of base64 without =");
    ok(check(n, &s) == NGX_OK, "ours and alive");

    t = make(n);
    ok(memcmp(s.data, t.data, s.len) != 0, "another one differs");

    m = nonces(KEY_A "\n", other, size);
    ok(check(m, &s) == NGX_OK, "another node takes it");

    ba = nonces(KEY_B "\n" KEY_A "\n", other, size);
    ok(check(ba, &s) == NGX_OK,
       "so does one where the key is the second");

    ab = nonces(KEY_B "\n", other, size);
    ok(check(ab, &s) == NGX_ERROR,
       "one with another key does not");

    ngx_free(t.data);
    t = make(ba);
    ok(check(ab, &t) == NGX_OK
       && check(n, &t) == NGX_ERROR,
       "the first key makes");

    for (wrong = 0, len = 0; len <= s.len; len++) {
        part = tap_exact(s.data, len);
        wrong += (check(n, &part) == NGX_OK)
                 != (len == s.len);
        ngx_free(part.data);
    }

    ok(wrong == 0, "no part of it will do");

    for (wrong = 0, i = 0; i < s.len; i++) {
        for (j = 0; j < 256; j++) {
            part = tap_exact(s.data, s.len);
            part.data[i] = (u_char) j;
            wrong += (check(n, &part) != NGX_ERROR)
                     != (j == s.data[i]);
            ngx_free(part.data);
        }
    }

    ok(wrong == 0, "nor one with any byte changed");

    part.len = 65536;
    part.data = zeroed(part.len);
    ok(check(n, &part) == NGX_ERROR, "nor 64 KB");
    ngx_free(part.data);

    clock_move(89);
    ok(check(n, &s) == NGX_OK, "alive after 89 s");
    clock_move(2);
    ok(check(n, &s) == NGX_DECLINED, "not after 91 s");
    clock_move(-91 - 29);
    ok(check(n, &s) == NGX_OK, "made 29 s ahead of us");
    clock_move(-2);
    ok(check(n, &s) == NGX_DECLINED, "31 s ahead");
    clock_move(31);

    ok(ngx_apikeys_nonce_init_process(n, table, HEAD, &tap_log) == NGX_ERROR
       && strstr(tap_message, "increase apikeys_zone") != NULL,
       "too little memory is told");

    ngx_apikeys_nonce_exit_process(n);
    ngx_apikeys_nonce_exit_process(m);
    ngx_apikeys_nonce_exit_process(ab);
    ngx_apikeys_nonce_exit_process(ba);
    ngx_apikeys_nonce_exit_process(ba);
    ngx_free(s.data);
    ngx_free(t.data);
    ngx_free(table);
    ngx_free(other);
}


static void
check_counts(void)
{
    void                 *table;
    size_t                size;
    ngx_str_t             s, t, u;
    ngx_apikeys_nonce_t  *n, *m;

    size = HEAD + 16 * BUCKET + 64;
    table = zeroed(size);
    n = nonces(KEY_A "\n", table, size);
    m = nonces(KEY_A "\n", table, size);

    s = make(n);
    t = make(n);
    u = make(n);

#define use(nonce, count)  use_text(n, &nonce, count, first)

    ok(use(s, 1) == NGX_OK, "the first count");
    ok(use(s, 1) == NGX_BUSY, "not again");
    ok(use_text(m, &s, 1, first) == NGX_BUSY,
       "nor in another process");
    ok(use_text(m, &s, 1, second) == NGX_BUSY,
       "nor by another key");
    ok(use(s, 2) == NGX_OK && use(s, 3) == NGX_OK, "the next ones");
    ok(use(s, 2) == NGX_BUSY, "each once");
    ok(use(s, 20) == NGX_OK, "a leap");
    ok(use(s, 10) == NGX_OK, "one below it, late");
    ok(use(s, 10) == NGX_BUSY, "once");
    ok(use(s, 52) == NGX_OK, "32 further, the whole window");
    ok(use(s, 20) == NGX_BUSY, "its end was used");
    ok(use(s, 21) == NGX_OK, "its last but one was not");
    ok(use(s, 19) == NGX_BUSY, "beyond its end nothing is taken");
    ok(use(s, 1000) == NGX_OK && use(s, 52) == NGX_BUSY
       && use(s, 968) == NGX_OK && use(s, 967) == NGX_BUSY,
       "a leap out of the window");

    ok(use(t, 2) == NGX_OK && use(t, 1) == NGX_OK && use(t, 2) == NGX_BUSY
       && use(t, 1) == NGX_BUSY,
       "a nonce that starts with 2, whose 1 is late");

    ok(use(u, 0xfffffff0) == NGX_OK && use(u, 0xffffffff) == NGX_OK
       && use(u, 0xffffffff) == NGX_BUSY && use(u, 1) == NGX_BUSY,
       "the highest counts");

    ngx_free(t.data);
    t = make(n);
    ok(use(t, 1) == NGX_OK && use(t, 0xffffffff) == NGX_DECLINED
       && use(t, 2) == NGX_OK,
       "a leap of billions asks for a new nonce");

    ngx_apikeys_nonce_exit_process(n);
    ngx_apikeys_nonce_exit_process(m);
    ngx_free(s.data);
    ngx_free(t.data);
    ngx_free(u.data);
    ngx_free(table);
}


/* a table that is new, while nonces of another one are alive */

static void
check_begin(void)
{
    void                 *old, *new;
    size_t                size;
    ngx_str_t             s, t, u, other;
    ngx_apikeys_nonce_t  *n, *m, *k;

    size = HEAD + 16 * BUCKET + 64;
    old = zeroed(size);
    new = zeroed(size);

    clock_move(0);
    n = nonces(KEY_A "\n", old, size);
    s = make(n);
    t = make(n);
    ok(use_text(n, &s, 1, first) == NGX_OK,
       "a nonce of the table's first millisecond");

    clock_move(30);
    u = make(n);
    m = nonces(KEY_A "\n", new, size);
    other = make(m);

    ok(use_text(m, &s, 1, first) == NGX_DECLINED
       && use_text(m, &s, 2, first) == NGX_DECLINED
       && use_text(m, &t, 1, first) == NGX_DECLINED
       && use_text(m, &u, 1, first) == NGX_DECLINED,
       "another table takes none that is older than it, used or not");
    ok(use_text(n, &s, 2, first) == NGX_OK && use_text(n, &t, 1, first) == NGX_OK
       && use_text(n, &u, 1, first) == NGX_OK, "the old one does");
    ok(use_text(m, &other, 1, first) == NGX_OK
       && use_text(m, &other, 1, first) == NGX_BUSY, "it takes its own");
    ok(use_text(n, &other, 1, first) == NGX_OK,
       "which are as good for another node");

    clock_move(50);
    k = nonces(KEY_A "\n", new, size);
    ok(use_text(k, &other, 1, first) == NGX_BUSY
       && use_text(k, &other, 2, first) == NGX_OK
       && use_text(k, &s, 1, first) == NGX_DECLINED,
       "a process that comes later finds when the table began");

    ngx_free(s.data);
    clock_move(-60);
    s = make(k);
    ok(use_text(k, &s, 1, first) == NGX_OK,
       "a clock that is set back does not stop it");
    clock_move(-20);

    ngx_apikeys_nonce_exit_process(n);
    ngx_apikeys_nonce_exit_process(m);
    ngx_apikeys_nonce_exit_process(k);
    ngx_free(s.data);
    ngx_free(t.data);
    ngx_free(u.data);
    ngx_free(other.data);
    ngx_free(old);
    ngx_free(new);
}


static ngx_apikeys_nonce_table_t
table_init(void *memory, ngx_uint_t nbuckets)
{
    ngx_apikeys_nonce_table_t  t;

    memset(&t, 0, sizeof(t));

    if (ngx_apikeys_nonce_table_init(&t, memory, HEAD + nbuckets * BUCKET)
        != NGX_OK)
    {
        printf("Bail out! no table\n");
        exit(2);
    }

    t.life = 90000;
    t.skew = 30000;

    return t;
}


/* a way of the first bucket, as a process leaves it */

static void
put(ngx_apikeys_nonce_table_t *t, ngx_uint_t i, uint64_t id, uint32_t owner,
    uint64_t state)
{
    ngx_apikeys_nonce_bucket_t  *b;

    b = t->buckets;
    b->ways[i].id = id;
    b->ways[i].owner = owner;
    b->ways[i].state = state;

    ngx_apikeys_nonce_table_write(b->tags, i, NGX_APIKEYS_NONCE_TAG_BITS,
        ngx_apikeys_nonce_tag(ngx_apikeys_nonce_table_hash(t, id)));
    ngx_apikeys_nonce_table_write(b->marks, i, NGX_APIKEYS_NONCE_MARK_BITS,
                                  ngx_apikeys_nonce_mark(owner));
}


static uint64_t
milliseconds(void)
{
    ngx_time_t  *tp;

    ngx_time_update();
    tp = ngx_timeofday();

    return (uint64_t) tp->sec * 1000 + tp->msec;
}


static void
check_eviction(void)
{
    void                        *memory;
    uint64_t                     now, ids[200], late, expired;
    ngx_uint_t                   i, held, wrong;
    ngx_apikeys_nonce_table_t    t;
    ngx_apikeys_nonce_bucket_t  *b;

    memory = ngx_memalign(64, HEAD + BUCKET, &tap_log);
    memset(memory, 0, HEAD + BUCKET);
    t = table_init(memory, 1);
    b = t.buckets;
    now = milliseconds();

#define take(id, count, owner)                                               \
    ngx_apikeys_nonce_table_accept(&t, id, count, owner, now)

    for (wrong = 0, i = 0; i < 32; i++) {
        ids[i] = ngx_apikeys_nonce_table_next(&t, now - 1000 + i);
        wrong += take(ids[i], 1, 1000 + i) != NGX_OK;
    }

    ok(wrong == 0 && b->floor == 0, "a bucket takes as many as it has ways");

    late = ngx_apikeys_nonce_table_next(&t, now - 2000);
    ids[32] = ngx_apikeys_nonce_table_next(&t, now);
    ok(take(ids[32], 1, 7) == NGX_OK, "one more puts the oldest out");
    ok(b->floor == ids[0], "whose id is the floor then");
    ok(take(ids[0], 1, 1000) == NGX_DECLINED
       && take(ids[0], 2, 1000) == NGX_DECLINED,
       "it is taken no more, neither its count nor the next");
    ok(take(late, 1, 8) == NGX_DECLINED, "nor is an older one, never used");
    ok(take(ids[1], 1, 1001) == NGX_BUSY && take(ids[1], 2, 1001) == NGX_OK,
       "the next oldest is still known");

    for (wrong = 0, i = 40; i < 60; i++) {
        ids[i] = ngx_apikeys_nonce_table_next(&t, now + i);
        wrong += take(ids[i], 1, 77) != NGX_OK;
    }

    for (held = 0, i = 0; i < 32; i++) {
        held += b->ways[i].owner == 77;
    }

    ok(wrong == 0 && held == 4, "a key holds four ways and no more");
    ok(take(ids[59], 1, 77) == NGX_BUSY && take(ids[56], 1, 77) == NGX_BUSY
       && take(ids[55], 1, 77) == NGX_DECLINED,
       "its own oldest went");

    memset(memory, 0, HEAD + BUCKET);
    t = table_init(memory, 1);

    for (i = 0; i < 32; i++) {
        ids[i] = ngx_apikeys_nonce_table_next(&t, now - (i == 20 ? 91000 : 0));
        (void) take(ids[i], 1, 1000 + i);
    }

    expired = ids[20];
    ok(take(ngx_apikeys_nonce_table_next(&t, now), 1, 9) == NGX_OK
       && b->floor == expired,
       "an expired one goes before those that are alive");
    ok(take(expired, 1, 1020) == NGX_DECLINED,
       "and does not come back either, whatever time a process believes in");

    /* left by a clock that was an hour ahead */

    b->floor = ngx_apikeys_nonce_table_next(&t, now + 3600000);
    ids[33] = ngx_apikeys_nonce_table_next(&t, now);
    ok(take(ids[33], 1, 10) == NGX_OK, "a floor of the future stops nothing");
    ok(ngx_apikeys_nonce_time(b->floor) <= now, "and comes down");

    b->floor = ngx_apikeys_nonce_table_next(&t, now + 20000);
    ok(take(ngx_apikeys_nonce_table_next(&t, now), 1, 11) == NGX_DECLINED,
       "within the skew it holds");

    ngx_free(memory);
}


static void
check_size(void)
{
    ok(ngx_apikeys_nonce_table_size(32 * 1024 * 1024) == 2 * 1024 * 1024,
       "a sixteenth of a zone");
    ok(ngx_apikeys_nonce_table_size(1024 * 1024) == 128 * 1024,
       "not less than 128 KB");
    ok(ngx_apikeys_nonce_table_size(128 * 1024) == 32 * 1024,
       "not more than a quarter");
}


/* what a process that died at each of the steps has left */

static void
check_wreckage(void)
{
    void                       *memory;
    pid_t                       pid;
    uint64_t                    now, id, id2;
    ngx_uint_t                  i;
    ngx_apikeys_nonce_table_t   t;

    memory = ngx_memalign(64, HEAD + BUCKET, &tap_log);
    memset(memory, 0, HEAD + BUCKET);
    t = table_init(memory, 1);
    now = milliseconds();
    id = ngx_apikeys_nonce_table_next(&t, now);
    id2 = ngx_apikeys_nonce_table_next(&t, now);

    pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    waitpid(pid, NULL, 0);

    /* all ways claimed by the dead, one of them with our id already */

    for (i = 0; i < 32; i++) {
        put(&t, i, i == 9 ? id : 0, 0,
            ngx_apikeys_nonce_state(0, 0x80000000 | pid, 5));
    }

    ok(take(id, 1, 1) == NGX_OK && take(id, 1, 1) == NGX_BUSY,
       "ways claimed by a dead process are claimed again");

    for (i = 0; i < 32; i++) {
        put(&t, i, 0, 0, ngx_apikeys_nonce_state(0, 0x80000000 | ngx_pid, 5));
    }

    ok(take(id2, 1, 1) == NGX_OK, "so are those of a namesake");

    for (i = 0; i < 32; i++) {
        put(&t, i, 0, 0,
            ngx_apikeys_nonce_state(0, 0x80000000 | getppid(), 5));
    }

    ok(take(id2, 1, 1) == NGX_DECLINED, "those of the living are not");

    memset(memory, 0, HEAD + BUCKET);
    t = table_init(memory, 1);
    put(&t, 3, id, 0, ngx_apikeys_nonce_state(0, 12345, 7));
    ok(take(id, 1, 1) == NGX_OK && take(id, 1, 1) == NGX_BUSY,
       "an id left pending is taken");

    memset(memory, 0, HEAD + BUCKET);
    t = table_init(memory, 1);

    for (i = 0; i < 32; i++) {
        put(&t, i, ngx_apikeys_nonce_table_next(&t, now - 91000), 0,
            ngx_apikeys_nonce_state(0, 12345 + i, 7));
    }

    ok(take(id, 1, 1) == NGX_OK, "pending ones expire");

    ngx_free(memory);
}


/* every count of every id, in an order of each child's own */

static void
race_child(race_t *race, ngx_uint_t nbuckets, ngx_uint_t me, ngx_uint_t dies)
{
    uint64_t                    now;
    ngx_uint_t                  i, k, id, count;
    ngx_apikeys_nonce_table_t   t;

    ngx_pid = getpid();
    seed = ngx_pid * 2654435761u;
    t = table_init(race->table, nbuckets);
    now = milliseconds();

    __atomic_fetch_add(&race->ready, 1, __ATOMIC_SEQ_CST);

    while (!__atomic_load_n(&race->go, __ATOMIC_SEQ_CST)) {
        ngx_cpu_pause();
    }

    yields = 50;
    deaths = dies;

    for (i = 0; i < IDS * COUNTS; i++) {
        k = (i + (me & 2)) % (IDS * COUNTS);
        id = k / COUNTS;
        count = me & 1 ? COUNTS - 1 - k % COUNTS : k % COUNTS;

        if (ngx_apikeys_nonce_table_accept(&t, race->ids[id], count + 1,
                                           (uint32_t) id % 16, now)
            == NGX_OK)
        {
            __atomic_fetch_add(&race->accepted[id][count], 1,
                               __ATOMIC_SEQ_CST);
        }
    }

    _exit(0);
}


static void
race_round(race_t *race, ngx_uint_t nbuckets, ngx_uint_t dies,
    result_t *result)
{
    int                         status;
    pid_t                       pids[PROCESSES];
    ngx_uint_t                  i, k;
    ngx_apikeys_nonce_table_t   t;

    t = table_init(race->table, nbuckets);

    for (i = 0; i < IDS; i++) {
        race->ids[i] = ngx_apikeys_nonce_table_next(&t, milliseconds());
    }

    memset(race->accepted, 0, sizeof(race->accepted));
    race->ready = 0;
    race->go = 0;

    for (i = 0; i < PROCESSES; i++) {
        pids[i] = fork();

        if (pids[i] == 0) {
            race_child(race, nbuckets, i, dies);
        }
    }

    while (__atomic_load_n(&race->ready, __ATOMIC_SEQ_CST) < PROCESSES) {
        sched_yield();
    }

    __atomic_store_n(&race->go, 1, __ATOMIC_SEQ_CST);

    if (dies) {
        for (k = chance(100000); k; k--) {
            ngx_cpu_pause();
        }

        (void) kill(pids[chance(PROCESSES)], SIGKILL);
    }

    for (i = 0; i < PROCESSES; i++) {
        if (waitpid(pids[i], &status, 0) == pids[i]) {
            result->dead += WIFSIGNALED(status) != 0;
        }
    }

    for (i = 0; i < IDS; i++) {
        for (k = 0; k < COUNTS; k++) {
            result->never += race->accepted[i][k] == 0;
            result->once += race->accepted[i][k] == 1;
            result->twice += race->accepted[i][k] > 1;
        }
    }
}


static void
check_races(void)
{
    race_t                     *race;
    uint64_t                    id;
    result_t                    result;
    ngx_uint_t                  i;
    ngx_apikeys_nonce_table_t   t;

    race = mmap(NULL, sizeof(race_t), PROT_READ|PROT_WRITE,
                MAP_SHARED|MAP_ANON, -1, 0);

    memset(&result, 0, sizeof(result));

    for (i = 0; i < 100; i++) {
        memset(race->table, 0, sizeof(race->table));
        race_round(race, 4, 0, &result);
    }

    ok(result.twice == 0 && result.never == 0
       && result.once == 100 * IDS * COUNTS,
       "with room for all, each count is taken exactly once");
    printf("# once %d, never %d, twice %d\n", (int) result.once,
           (int) result.never, (int) result.twice);

    memset(&result, 0, sizeof(result));
    memset(race->table, 0, sizeof(race->table));

    for (i = 0; i < 100; i++) {
        race_round(race, 1, 0, &result);
    }

    ok(result.twice == 0 && result.once > 0,
       "with room for few, none is taken twice");
    printf("# once %d, never %d, twice %d\n", (int) result.once,
           (int) result.never, (int) result.twice);

    memset(&result, 0, sizeof(result));
    memset(race->table, 0, sizeof(race->table));

    for (i = 0; i < 150; i++) {
        race_round(race, 1 + (i & 1), 20000, &result);
    }

    ok(result.twice == 0 && result.once > 0 && result.dead > 100,
       "nor where processes are killed at any instruction");
    printf("# once %d, never %d, twice %d, dead %d\n", (int) result.once,
           (int) result.never, (int) result.twice, (int) result.dead);

    t = table_init(race->table, 2);
    id = ngx_apikeys_nonce_table_next(&t, milliseconds() + 1);

    ok(ngx_apikeys_nonce_table_accept(&t, id, 1, 99, milliseconds()) == NGX_OK
       && ngx_apikeys_nonce_table_accept(&t, id, 1, 99, milliseconds())
          == NGX_BUSY,
       "and what they left behind serves");

    munmap(race, sizeof(race_t));
}


static void
task_main(void)
{
    running->rc = ngx_apikeys_nonce_table_accept(&tasks_table, running->id,
                                                 running->count,
                                                 running->owner, tasks_now);
    running->over = 1;
}


static void
task_start(task_t *task)
{
    task->over = 0;
    task->dead = 0;
    task->rc = NGX_ERROR;

    getcontext(&task->context);

    task->context.uc_stack.ss_sp = task->stack;
    task->context.uc_stack.ss_size = STACK;
    task->context.uc_link = &scheduler;

    makecontext(&task->context, task_main, 0);
}


static void
task_step(task_t *task, ngx_uint_t dies)
{
    running = task;
    ngx_pid = 1000000000 + (task - tasks);
    yields = 1 + chance(16);
    deaths = dies;

    swapcontext(&scheduler, &task->context);

    yields = 0;
    deaths = 0;
    running = NULL;
}


static void
task_go_on(task_t *task)
{
    running = task;
    ngx_pid = 1000000000 + (task - tasks);

    swapcontext(&scheduler, &task->context);

    running = NULL;
}


/* runs the tasks to their ends, in an order that only chance knows */

static void
tasks_run(ngx_uint_t n, ngx_uint_t dies)
{
    ngx_pid_t   pid;
    ngx_uint_t  i, left;

    pid = ngx_pid;

    for (i = 0; i < n; i++) {
        task_start(&tasks[i]);
    }

    do {
        i = chance((uint32_t) n);

        if (!tasks[i].over && !tasks[i].dead) {
            task_step(&tasks[i], dies);
        }

        for (left = 0, i = 0; i < n; i++) {
            left += !tasks[i].over && !tasks[i].dead;
        }

    } while (left);

    ngx_pid = pid;
}


/*
 * One is stopped at each of its operations in turn, until another one has
 * asked for the same count and a third for an id of its own.
 */

static void
check_stopped(void)
{
    void        *memory;
    uint64_t     id;
    ngx_pid_t    pid;
    ngx_uint_t   i, k, wrong, blocked;

    memory = ngx_memalign(64, HEAD + BUCKET, &tap_log);

    for (i = 0; i < 3; i++) {
        tasks[i].stack = ngx_alloc(STACK, &tap_log);
    }

    pid = ngx_pid;
    wrong = 0;
    blocked = 0;
    k = 0;

    do {
        memset(memory, 0, HEAD + BUCKET);
        tasks_table = table_init(memory, 1);
        tasks_now = milliseconds();
        id = ngx_apikeys_nonce_table_next(&tasks_table, tasks_now);

        for (i = 0; i < 3; i++) {
            tasks[i].id = i < 2 ? id
                : ngx_apikeys_nonce_table_next(&tasks_table, tasks_now);
            tasks[i].count = 5;
            tasks[i].owner = 1;
            task_start(&tasks[i]);
        }

        stops = ++k;
        task_go_on(&tasks[0]);
        stops = 0;

        i = tasks[0].over;

        task_go_on(&tasks[1]);
        task_go_on(&tasks[2]);

        blocked += tasks[1].rc == NGX_DECLINED || tasks[2].rc != NGX_OK;

        if (!tasks[0].over) {
            task_go_on(&tasks[0]);
        }

        wrong += (tasks[0].rc == NGX_OK) + (tasks[1].rc == NGX_OK) != 1;

    } while (!i);

    ngx_pid = pid;

    ok(k > 20 && blocked == 0, "stopped at each of %d operations, it blocks "
       "nobody", (int) k - 1);
    ok(wrong == 0, "and the count is taken once");

    for (i = 0; i < 3; i++) {
        ngx_free(tasks[i].stack);
    }

    ngx_free(memory);
}


static void
check_schedules(void)
{
    void                        *memory;
    uint64_t                     id;
    ngx_uint_t                   i, k, ones, none, twice, evicted, dies;
    ngx_apikeys_nonce_bucket_t  *b;

    memory = ngx_memalign(64, HEAD + BUCKET, &tap_log);

    for (i = 0; i < TASKS; i++) {
        tasks[i].stack = ngx_alloc(STACK, &tap_log);
    }

    for (dies = 0; dies < 2; dies++) {
        none = 0;
        twice = 0;

        for (k = 0; k < 20000; k++) {
            memset(memory, 0, HEAD + BUCKET);
            tasks_table = table_init(memory, 1);
            tasks_now = milliseconds();
            id = ngx_apikeys_nonce_table_next(&tasks_table, tasks_now);

            for (i = 0; i < 3; i++) {
                tasks[i].id = id;
                tasks[i].count = 5;
                tasks[i].owner = 1;
            }

            tasks_run(3, dies ? 300 : 0);

            for (ones = 0, i = 0; i < 3; i++) {
                ones += tasks[i].rc == NGX_OK;
            }

            none += ones == 0;
            twice += ones > 1;
        }

        if (!ok(twice == 0 && (dies || none == 0),
                "20,000 schedules of three for one count%s",
                dies ? ", some of whom die" : ""))
        {
            printf("# none %d, twice %d\n", (int) none, (int) twice);
        }
    }

    /* the id is the oldest in a bucket with one way left, and is put out */

    twice = 0;
    evicted = 0;

    for (k = 0; k < 20000; k++) {
        memset(memory, 0, HEAD + BUCKET);
        tasks_table = table_init(memory, 1);
        b = tasks_table.buckets;
        tasks_now = milliseconds();
        id = ngx_apikeys_nonce_table_next(&tasks_table, tasks_now - 10);

        for (i = 0; i < NGX_APIKEYS_NONCE_WAYS - 1; i++) {
            put(&tasks_table, i,
                ngx_apikeys_nonce_table_next(&tasks_table, tasks_now),
                100 + i, ngx_apikeys_nonce_state(64, 0, 1));
        }

        for (i = 0; i < TASKS; i++) {
            tasks[i].id = i < 3 ? id : ngx_apikeys_nonce_table_next(
                                                    &tasks_table, tasks_now);
            tasks[i].count = 5;
            tasks[i].owner = i;
        }

        tasks_run(TASKS, 0);

        for (ones = 0, i = 0; i < 3; i++) {
            ones += tasks[i].rc == NGX_OK;
        }

        twice += ones > 1;
        evicted += ones == 1 && b->floor >= id;
    }

    if (!ok(twice == 0 && evicted > 1000,
            "20,000 schedules where it is put out meanwhile"))
    {
        printf("# twice %d, evicted %d\n", (int) twice, (int) evicted);
    }

    for (i = 0; i < TASKS; i++) {
        ngx_free(tasks[i].stack);
    }

    ngx_free(memory);
}


int
main(void)
{
    tap_start();
    seed = 1;

    check_size();
    check_nonces();
    check_counts();
    check_begin();
    check_eviction();
    check_wreckage();
    check_stopped();
    check_schedules();
    check_races();

    return tap_end();
}
