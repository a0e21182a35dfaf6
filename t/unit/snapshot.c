
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The snapshot from one zone to another: all of it arrives, and a file that
 * was put together otherwise than it was written does not.
 */


#include "unit.h"

#include <ngx_apikeys_snapshot.h>
#include <ngx_apikeys_snapshot_format.h>


#define ZONE   (8 * 1024 * 1024)
#define KEYS   2000
#define KEY_A  "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
#define KEY_B  "YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk="
#define MAX    1000
#define BUCKET 30


typedef struct {
    ngx_uint_t    nchunks;
    size_t        chunk[MAX];      /* where they begin, and the end */
    ngx_str_t     text;
} file_t;


static size_t              zone = ZONE;
static u_char              dir[] = "/tmp/apikeys-snapshot-XXXXXX";
static u_char              path[64];
static ngx_apikeys_seal_t  *seal;


static ngx_apikeys_seal_t *
ring(const char *text)
{
    FILE        *f;
    ngx_str_t    name;
    ngx_conf_t   cf;
    u_char       file[64];

    ngx_memzero(&cf, sizeof(ngx_conf_t));

    cf.cycle = &tap_cycle;
    cf.pool = tap_cycle.pool;
    cf.log = &tap_log;

    name.data = file;
    name.len = ngx_sprintf(file, "%s/key%Z", dir) - file - 1;

    (void) umask(077);

    f = fopen((char *) file, "w");
    fputs(text, f);
    fclose(f);

    return ngx_apikeys_seal_create(&cf, &name);
}


static ngx_apikeys_snapshot_conf_t
conf(ngx_apikeys_store_t *st)
{
    ngx_apikeys_snapshot_conf_t  c;

    ngx_memzero(&c, sizeof(ngx_apikeys_snapshot_conf_t));

    c.path.data = path;
    c.path.len = ngx_strlen(path);
    c.store = st;
    c.seal = seal;
    c.stale_max = 60000;

    return c;
}


/* a local copy with lists of many lengths, complete */

static ngx_apikeys_store_t *
filled(void)
{
    uint32_t              load;
    ngx_str_t             identity, snapshot;
    ngx_uint_t            i;
    ngx_apikeys_store_t  *st;

    st = unit_store(ZONE);
    load = unit_load_begin(st, 1);

    for (i = 0; i < KEYS; i++) {
        (void) unit_publish(st, i, i + 1, i % 50, i % 7, load);
    }

    (void) unit_publish(st, KEYS, 1, 4000, 3000, load);

    while (unit_load_sweep(st, load) == NGX_AGAIN) {
        /* void */
    }

    ngx_str_set(&identity, "identity");
    ngx_str_set(&snapshot, "10:20:");

    (void) ngx_apikeys_store_lock(st);
    (void) ngx_apikeys_store_cursor_set_locked(st, &identity, &snapshot);
    ngx_apikeys_store_unlock(st);

    ngx_apikeys_store_set_fresh(st, ngx_apikeys_clock_boot_ms() - 5000);
    (void) ngx_apikeys_store_lease_acquire(st, 600000);

    return st;
}


/* runs the writer's events; how many there were */

static ngx_uint_t
run(void)
{
    ngx_uint_t  n;

    for (n = 0; ngx_event_timer_rbtree.root
                != ngx_event_timer_rbtree.sentinel; n++)
    {
        ngx_current_msec += 10;
        ngx_event_expire_timers();
    }

    return n;
}


static file_t
slurp(void)
{
    FILE        *f;
    size_t       len, n;
    file_t       file;
    ngx_uint_t   last;

    ngx_memzero(&file, sizeof(file_t));

    f = fopen((char *) path, "r");

    if (f == NULL) {
        return file;
    }

    file.text.data = ngx_palloc(tap_cycle.pool, 4 * ZONE);
    file.text.len = fread(file.text.data, 1, 4 * ZONE, f);
    fclose(f);

    n = NGX_APIKEYS_SNAPSHOT_HEADER_LEN;

    while (n < file.text.len && file.nchunks < MAX - 1) {
        file.chunk[file.nchunks++] = n;
        (void) ngx_apikeys_snapshot_format_length(file.text.data + n, &len,
                                                  &last);
        n += NGX_APIKEYS_SNAPSHOT_LENGTH_LEN + len
             + NGX_APIKEYS_SNAPSHOT_TAG_LEN;
    }

    file.chunk[file.nchunks] = n;

    return file;
}


/* parts of the file, by [from, to) in the order given, until to is 0 */

static void
spew(const u_char *data, const size_t *parts)
{
    FILE  *f;

    f = fopen((char *) path, "w");

    for ( /* void */ ; parts[1]; parts += 2) {
        fwrite(data + parts[0], 1, parts[1] - parts[0], f);
    }

    fclose(f);
}


static ngx_int_t
load(ngx_apikeys_store_t **st)
{
    ngx_int_t                    rc;
    ngx_apikeys_snapshot_conf_t  c;

    *st = unit_store(zone);
    c = conf(*st);
    tap_message[0] = '\0';

    rc = ngx_apikeys_snapshot_load(&c, &tap_log);

    return rc;
}


static void
refused(const char *why, const char *name)
{
    ngx_int_t             rc;
    ngx_apikeys_store_t  *st;

    rc = load(&st);

    ok(rc == NGX_DECLINED && !ngx_apikeys_store_complete(st)
       && strstr(tap_message, why) != NULL, "%s", name);

    if (strstr(tap_message, why) == NULL) {
        printf("# %s\n", tap_message);
    }

    unit_store_free(st);
}


/* keys of one bucket, which the writer reads at once, and more than a chunk */

static void
test_bucket(void)
{
    uint32_t                      number, *bucket;
    ngx_str_t                     identity, text;
    ngx_uint_t                    i, n;
    ngx_apikeys_store_t          *st, *to;
    ngx_apikeys_objectid_t        id;
    ngx_apikeys_snapshot_t       *s;
    ngx_apikeys_snapshot_conf_t   c;
    uint64_t                      keys[BUCKET];

    zone = 8 * ZONE;
    st = unit_store(zone);
    number = unit_load_begin(st, 1);

    id = unit_id(0);
    bucket = ngx_apikeys_store_id_bucket(st, &id);

    for (i = 0, n = 0; n < BUCKET; i++) {
        id = unit_id(i);

        if (ngx_apikeys_store_id_bucket(st, &id) == bucket) {
            (void) unit_publish(st, i, 1, UNIT_ENTRIES, UNIT_ENTRIES, number);
            keys[n++] = i;
        }
    }

    while (unit_load_sweep(st, number) == NGX_AGAIN) {
        /* void */
    }

    ngx_str_set(&identity, "identity");
    ngx_str_set(&text, "10:20:");

    (void) ngx_apikeys_store_lock(st);
    (void) ngx_apikeys_store_cursor_set_locked(st, &identity, &text);
    ngx_apikeys_store_unlock(st);

    ngx_apikeys_store_set_fresh(st, ngx_apikeys_clock_boot_ms());
    (void) ngx_apikeys_store_lease_acquire(st, 600000);

    c = conf(st);
    s = ngx_apikeys_snapshot_create(&tap_cycle, &c);
    ngx_apikeys_snapshot_due(s, 1);
    (void) run();

    ok(load(&to) == NGX_OK, "a bucket larger than a chunk: %s", tap_message);

    for (i = 0, n = 0; i < BUCKET; i++) {
        n += (unit_version(to, keys[i]) == 1);
    }

    ok(n == BUCKET, "%d of its %d keys are loaded", (int) n, BUCKET);

    unit_store_free(to);
    unit_store_free(st);
    zone = ZONE;
}


/* each member of a key is encoded and decoded */

static void
test_members(void)
{
    ngx_str_t                     text;
    ngx_int_t                     rc;
    ngx_uint_t                    i;
    const char                   *differs;
    ngx_apikeys_store_object_t    object, copy;
    ngx_apikeys_snapshot_text_t   out;

    static const struct {
        ngx_uint_t                unreadable;
        ngx_uint_t                stub;
    } flags[] = { { 0, 0 }, { 1, 0 }, { 0, 1 }, { 1, 1 } };

    for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        object.kind = NGX_APIKEYS_STORE_KEY;
        object.u.key = unit_key(1, 2, 70, 9);
        object.u.key.unreadable = flags[i].unreadable;
        object.u.key.stub = flags[i].stub;

        ngx_memzero(&out, sizeof(ngx_apikeys_snapshot_text_t));
        out.log = &tap_log;

        rc = ngx_apikeys_snapshot_format_put(&out, &object);

        if (rc == NGX_OK) {
            text.data = out.data;
            text.len = out.len;
            rc = ngx_apikeys_snapshot_format_get(&text, tap_cycle.pool, &copy);
        }

        differs = (rc == NGX_OK) ? unit_key_differs(&object.u.key, &copy.u.key)
                                 : "all";

        ok(differs == NULL && text.len == 0,
           "a file has each member of a key, unreadable %d, stub %d%s%s",
           (int) flags[i].unreadable, (int) flags[i].stub,
           differs ? ": not " : "", differs ? differs : "");

        ngx_apikeys_snapshot_format_free(&out);
    }
}


static void
test_whole(ngx_apikeys_store_t *from)
{
    uint64_t                      age;
    ngx_str_t                     identity, snapshot;
    ngx_uint_t                    i, n;
    ngx_apikeys_store_t          *st;
    ngx_apikeys_snapshot_t       *s;
    ngx_apikeys_snapshot_conf_t   c;

    c = conf(from);
    s = ngx_apikeys_snapshot_create(&tap_cycle, &c);

    ngx_apikeys_snapshot_due(s, 1);
    n = run();
    ok(n > 2, "written in %d events", (int) n);

    ok(load(&st) == NGX_OK, "loaded: %s", tap_message);
    ok(ngx_apikeys_store_complete(st), "the local copy is complete");

    for (i = 0, n = 0; i < KEYS; i++) {
        n += (unit_version(st, i) == (int64_t) i + 1);
    }

    ok(n == KEYS, "%d keys of %d are as they were", (int) n, KEYS);
    ok(unit_version(st, KEYS) == 1, "the one with long lists is");
    ok(unit_version(st, KEYS + 1) == NGX_DECLINED, "there is no other");

    age = ngx_apikeys_store_age(st);
    ok(age >= 5000 && age < 60000, "it is as old as it was: %d ms", (int) age);

    ok(ngx_apikeys_store_cursor_get(st, tap_cycle.pool, &identity, &snapshot)
       == NGX_OK, "a cursor");
    is_str(&identity, "identity", "the identity");
    is_str(&snapshot, "10:20:", "the snapshot");

    unit_store_free(st);

    ngx_apikeys_snapshot_due(s, 2);
    ok(run() == 0, "not again at once");
}


static void
test_pieces(void)
{
    size_t      n, parts[10];
    file_t      file;
    ngx_uint_t  i;

    file = slurp();
    n = file.nchunks;

    ok(n > 4 && file.chunk[n] == file.text.len, "%d chunks", (int) n);

    for (i = 0; i < n; i += (n > 20 && i > 3) ? n / 8 : 1) {
        ngx_memzero(parts, sizeof(parts));
        parts[1] = file.chunk[i];
        spew(file.text.data, parts);
        refused("incomplete or not a snapshot", "cut between two chunks");
    }

    ngx_memzero(parts, sizeof(parts));
    parts[1] = file.chunk[2];
    parts[2] = file.chunk[3];
    parts[3] = file.text.len;
    spew(file.text.data, parts);
    refused("incomplete or not a snapshot", "a chunk is missing");

    parts[1] = file.chunk[1];
    parts[2] = file.chunk[2];
    parts[3] = file.chunk[3];
    parts[4] = file.chunk[1];
    parts[5] = file.chunk[2];
    parts[6] = file.chunk[3];
    parts[7] = file.text.len;
    spew(file.text.data, parts);
    refused("incomplete or not a snapshot", "two have changed places");

    parts[1] = file.chunk[3];
    parts[2] = file.chunk[2];
    parts[3] = file.text.len;
    parts[4] = parts[5] = 0;
    spew(file.text.data, parts);
    refused("incomplete or not a snapshot", "one is there twice");

    parts[1] = file.text.len;
    parts[2] = file.chunk[n - 1];
    parts[3] = file.text.len;
    spew(file.text.data, parts);
    refused("incomplete or not a snapshot", "something follows the last one");

    parts[1] = file.text.len;
    parts[2] = parts[3] = 0;
    spew(file.text.data, parts);
}


static void
test_foreign(ngx_apikeys_store_t *from)
{
    u_char                       *p;
    size_t                        parts[4];
    file_t                        one, two;
    ngx_apikeys_seal_t           *own;
    ngx_apikeys_snapshot_t       *s;
    ngx_apikeys_snapshot_conf_t   c;

    one = slurp();

    c = conf(from);
    s = ngx_apikeys_snapshot_create(&tap_cycle, &c);
    ngx_apikeys_snapshot_due(s, 1);
    (void) run();

    two = slurp();

    ok(memcmp(one.text.data, two.text.data, NGX_APIKEYS_SNAPSHOT_HEADER_LEN),
       "another file has another salt");

    /* the header of one, the chunks of the other */

    p = two.text.data;
    ngx_memcpy(p, one.text.data, NGX_APIKEYS_SNAPSHOT_HEADER_LEN);
    parts[0] = 0;
    parts[1] = two.text.len;
    parts[2] = parts[3] = 0;
    spew(p, parts);
    refused("damaged, or encrypted with a line", "chunks of another file");

    parts[1] = one.text.len;
    spew(one.text.data, parts);

    own = seal;
    seal = ring(KEY_B "\n");
    refused("damaged, or encrypted with a line", "another master key");
    seal = own;
}


/* one chunk with what a snapshot says of itself, at a time of our own */

static void
timed(int64_t fresh, int64_t time, ngx_uint_t boot)
{
    size_t                          parts[6];
    ngx_apikeys_snapshot_meta_t     meta;
    ngx_apikeys_snapshot_text_t     text;
    ngx_apikeys_snapshot_cipher_t   cipher;

    ngx_memzero(&text, sizeof(ngx_apikeys_snapshot_text_t));
    text.log = &tap_log;

    (void) ngx_apikeys_snapshot_format_begin(&cipher);
    (void) ngx_apikeys_snapshot_format_key(&cipher, seal, 0);

    ngx_memset(meta.fingerprint, 1, sizeof(meta.fingerprint));
    ngx_apikeys_snapshot_boot_id(meta.boot);
    meta.boot[0] ^= boot;
    meta.fresh = ngx_apikeys_clock_boot_ms() + fresh;
    meta.time = ngx_apikeys_clock_wall_ms() + time;
    ngx_str_set(&meta.database_id, "identity");
    ngx_str_set(&meta.pg_snapshot, "10:20:");

    (void) ngx_apikeys_snapshot_format_reserve(&text, 128);
    ngx_memcpy(text.data, cipher.header, sizeof(cipher.header));
    text.len = sizeof(cipher.header) + NGX_APIKEYS_SNAPSHOT_LENGTH_LEN;
    (void) ngx_apikeys_snapshot_format_put_meta(&text, &meta);
    (void) ngx_apikeys_snapshot_format_reserve(&text,
                                               NGX_APIKEYS_SNAPSHOT_TAG_LEN);
    (void) ngx_apikeys_snapshot_format_seal(&cipher,
                                         text.data + sizeof(cipher.header),
                                         text.len - sizeof(cipher.header)
                                         - NGX_APIKEYS_SNAPSHOT_LENGTH_LEN, 1);
    ngx_memzero(parts, sizeof(parts));
    parts[1] = text.len + NGX_APIKEYS_SNAPSHOT_TAG_LEN;
    spew(text.data, parts);

    ngx_apikeys_snapshot_format_free(&text);
}


static void
test_time(void)
{
    uint64_t              age;
    ngx_int_t             rc;
    ngx_apikeys_store_t  *st;

    timed(-1000, 3600000, 0);
    rc = load(&st);
    age = ngx_apikeys_store_age(st);
    ok(rc == NGX_OK && age >= 1000 && age < 30000,
       "in the same boot the calendar does not count: %d ms", (int) age);
    unit_store_free(st);

    timed(3600000, -30000, 1);
    rc = load(&st);
    age = ngx_apikeys_store_age(st);
    ok(rc == NGX_OK && age >= 30000 && age < 60000,
       "after another one it alone does: %d ms", (int) age);
    unit_store_free(st);

    timed(-61000, 0, 0);
    refused("s old, limit is apikeys_stale", "too old");
    timed(0, -61000, 1);
    refused("s old, limit is apikeys_stale", "too old by the calendar");
    timed(3600000, 0, 0);
    refused("written in the future", "from the future");
    timed(0, 3600000, 1);
    refused("written in the future", "from the future by the calendar");

    /* a machine that was just started: the proof lies before its clock */

    st = unit_store(ZONE);
    ngx_apikeys_store_set_fresh(st, (uint64_t) -500000);
    age = ngx_apikeys_store_age(st);
    ok(age == ngx_apikeys_clock_boot_ms() + 500000
       || age + 1 == ngx_apikeys_clock_boot_ms() + 500000,
       "a proof older than the boot has an age");
    ngx_apikeys_store_set_fresh(st, 1);
    ngx_apikeys_store_set_fresh(st, (uint64_t) -1);
    ok(ngx_apikeys_store_age(st) < ngx_apikeys_clock_boot_ms() + 1,
       "a newer one stays");
    unit_store_free(st);
}


/* what can change while it is written */

static void
test_abandoned(ngx_apikeys_store_t *from)
{
    ngx_uint_t                    i;
    ngx_apikeys_snapshot_t       *s;
    ngx_apikeys_snapshot_conf_t   c;

    c = conf(from);

    for (i = 0; i < 3; i++) {
        (void) unlink((char *) path);
        s = ngx_apikeys_snapshot_create(&tap_cycle, &c);
        ngx_apikeys_snapshot_due(s, 1);

        ngx_current_msec += 10;
        ngx_event_expire_timers();

        if (i == 0) {
            ngx_apikeys_snapshot_stop(s);

        } else if (i == 1) {
            ngx_apikeys_store_lease_release(from);

        } else {
            (void) ngx_apikeys_store_lease_acquire(from, 600000);
            (void) unit_load_begin(from, 0);
        }

        (void) run();
        ok(slurp().text.len == 0, i == 0 ? "stopped" : i == 1
           ? "followed by another process" : "loaded meanwhile");
    }

    s = ngx_apikeys_snapshot_create(&tap_cycle, &c);
    ngx_apikeys_snapshot_due(s, 1);
    ok(run() == 0, "none is begun while it is loaded");
}


int
main(void)
{
    u_char                name[64];
    ngx_apikeys_store_t  *from;

    unit_start();
    ngx_event_timer_init(&tap_log);

    if (mkdtemp((char *) dir) == NULL) {
        return 2;
    }

    ngx_sprintf(path, "%s/replica%Z", dir);
    seal = ring(KEY_A "\n");

    test_members();

    from = filled();

    test_whole(from);
    test_pieces();
    test_foreign(from);
    test_time();
    test_abandoned(from);

    unit_store_free(from);

    test_bucket();

    (void) unlink((char *) path);
    ngx_sprintf(name, "%s/key%Z", dir);
    (void) unlink((char *) name);
    ok(rmdir((char *) dir) == 0, "nothing else was left");

    return tap_end();
}
