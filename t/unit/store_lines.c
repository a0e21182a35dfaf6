
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The lines of the master key file in the zone: places that are taken and
 * free again, keys whose line the file lacks, and keys that are copied to a
 * zone in which their lines have other places.
 */


#include "unit.h"


#define CELLS  4096
#define LINES  NGX_APIKEYS_STORE_LINES


/* one more than there are places */
static ngx_apikeys_seal_t  *all;
static ngx_apikeys_seal_t  *more;


/* a file with the lines from "first" on */

static ngx_apikeys_seal_t *
ring(ngx_uint_t first, ngx_uint_t n)
{
    int                  fd;
    char                 path[] = "/tmp/apikeys-lines-XXXXXX";
    u_char               secret[32], text[64];
    ngx_str_t            file, src, dst;
    ngx_conf_t           cf;
    ngx_uint_t           i;
    ngx_apikeys_seal_t  *seal;

    fd = mkstemp(path);

    for (i = first; fd != -1 && i < first + n; i++) {
        memset(secret, (int) ('a' + i), sizeof(secret));
        src.data = secret;
        src.len = sizeof(secret);
        dst.data = text;
        ngx_encode_base64(&dst, &src);
        text[dst.len++] = '\n';

        if (write(fd, text, dst.len) != (ssize_t) dst.len) {
            fd = -1;
        }
    }

    memset(&cf, 0, sizeof(ngx_conf_t));
    cf.cycle = &tap_cycle;
    cf.pool = tap_cycle.pool;
    cf.log = &tap_log;

    file.data = (u_char *) path;
    file.len = strlen(path);

    seal = (fd == -1) ? NULL : ngx_apikeys_seal_create(&cf, &file);

    if (seal == NULL) {
        printf("Bail out! no key file: %s\n", tap_message);
        exit(2);
    }

    close(fd);
    unlink(path);

    return seal;
}


static const u_char *
line(ngx_uint_t i)
{
    return i < LINES ? ngx_apikeys_seal_line(all, i)
                     : ngx_apikeys_seal_line(more, i - LINES);
}


static ngx_str_t
hex(ngx_uint_t i)
{
    ngx_str_t  s;

    s.data = ngx_pnalloc(tap_cycle.pool, 2 * NGX_APIKEYS_SEAL_LINE_LEN);
    s.len = ngx_hex_dump(s.data, (u_char *) line(i), NGX_APIKEYS_SEAL_LINE_LEN)
            - s.data;

    return s;
}


static ngx_apikeys_store_t *
zone(ngx_apikeys_seal_t *seal)
{
    ngx_apikeys_store_t  *st;

    st = unit_store(ngx_apikeys_store_zone_size(4096, CELLS));

    ngx_apikeys_store_set_seal(st, seal);
    (void) unit_load_sweep(st, unit_load_begin(st, 1));

    return st;
}


/* a larger one, with what the old one has */

static ngx_apikeys_store_t *
resize(ngx_apikeys_store_t *old, ngx_apikeys_seal_t *seal)
{
    ngx_apikeys_store_t  *st;

    ngx_apikeys_store_exit_process(old);

    st = unit_configure(unit_cycle(old->cycle),
                        ngx_apikeys_store_zone_size(4096, 2 * CELLS), 4096,
                        1);

    ngx_apikeys_store_set_seal(st, seal);

    if (unit_zone(st, old) != NGX_OK
        || ngx_apikeys_store_init_process(st, &tap_log) != NGX_OK)
    {
        printf("Bail out! %s\n", tap_message);
        exit(2);
    }

    return st;
}


/* key n, which the line opened */

static ngx_int_t
publish(ngx_apikeys_store_t *st, uint64_t n, uint64_t version, ngx_uint_t i)
{
    ngx_int_t                rc;
    ngx_apikeys_store_key_t  key;

    key = unit_key(n, version, 2, 0);
    ngx_memcpy(key.line, line(i), NGX_APIKEYS_SEAL_LINE_LEN);

    (void) ngx_apikeys_store_lock(st);
    rc = ngx_apikeys_store_publish_key_locked(st, &key, 0);
    ngx_apikeys_store_unlock(st);

    return rc;
}


/* another configuration takes the zone over */

static void
configure(ngx_apikeys_store_t *st, ngx_apikeys_seal_t *seal)
{
    ngx_apikeys_store_set_seal(st, seal);

    (void) ngx_apikeys_store_lock(st);
    ngx_apikeys_store_lines_check(st);
    ngx_apikeys_store_unlock(st);
}


static void
needed(ngx_apikeys_store_t *st, ngx_str_t lines)
{
    (void) ngx_apikeys_store_lock(st);
    ngx_apikeys_store_lines_needed_locked(st, &lines);
    ngx_apikeys_store_unlock(st);
}


static void
tried(ngx_apikeys_store_t *st)
{
    (void) ngx_apikeys_store_lock(st);
    ngx_apikeys_store_lines_tried_locked(st);
    ngx_apikeys_store_unlock(st);
}


/* keys of a line, as the status shows them; missing: plus 1000 */

static ngx_int_t
shown(ngx_apikeys_store_t *st, ngx_uint_t i)
{
    ngx_int_t                      found;
    ngx_uint_t                     n;
    ngx_apikeys_store_line_stat_t  stat;

    found = 0;

    for (n = 0; ngx_apikeys_store_line_stat(st, n, &stat) == NGX_OK; n++) {

        if (memcmp(stat.line, line(i), NGX_APIKEYS_SEAL_LINE_LEN) == 0) {

            /* twice */

            if (found) {
                return -1;
            }

            found = stat.keys + (stat.missing ? 1000 : 0);
        }
    }

    return found;
}


static ngx_uint_t
nshown(ngx_apikeys_store_t *st)
{
    ngx_uint_t                     n;
    ngx_apikeys_store_line_stat_t  stat;

    for (n = 0; ngx_apikeys_store_line_stat(st, n, &stat) == NGX_OK; n++) {
        /* void */
    }

    return n;
}


/* where the keys of a line are; NGX_DECLINED: nowhere */

static ngx_int_t
place(ngx_apikeys_store_t *st, ngx_uint_t i)
{
    ngx_uint_t                 n;
    ngx_apikeys_store_line_t  *lines;

    lines = st->head->lines;

    for (n = 0; n < LINES; n++) {
        if (lines[n].keys
            && memcmp(lines[n].line, line(i), NGX_APIKEYS_SEAL_LINE_LEN) == 0)
        {
            return n;
        }
    }

    return NGX_DECLINED;
}


static void
test_places(void)
{
    ngx_uint_t            i, wrong;
    ngx_apikeys_store_t  *st;

    st = zone(all);
    ok(nshown(st) == 0, "a new zone has no lines");

    (void) publish(st, 1, 1, 0);
    (void) publish(st, 2, 1, 1);
    (void) publish(st, 3, 1, 0);

    ok(nshown(st) == 2 && shown(st, 0) == 2 && shown(st, 1) == 1
       && place(st, 0) == 0 && place(st, 1) == 1,
       "a line takes a place with its first key");

    (void) publish(st, 3, 2, 1);
    ok(shown(st, 0) == 1 && shown(st, 1) == 2, "a key changes its line");

    (void) publish(st, 3, 2, 0);
    ok(shown(st, 0) == 1 && shown(st, 1) == 2, "a late version does not");

    (void) unit_delete(st, 1, 3);
    ok(nshown(st) == 1 && place(st, 0) == NGX_DECLINED,
       "a line gives its place back with its last key");

    (void) publish(st, 4, 1, 2);
    ok(place(st, 2) == 0 && shown(st, 2) == 1, "which another one takes");
    (void) publish(st, 1, 4, 0);
    ok(place(st, 0) == 2 && place(st, 1) == 1,
       "and the first one finds the next");

    for (i = 3; i < LINES; i++) {
        (void) publish(st, 10 + i, 1, i);
    }

    for (i = 0, wrong = 0; i < LINES; i++) {
        wrong += shown(st, i) != (i == 1 ? 2 : 1);
    }

    ok(wrong == 0 && nshown(st) == LINES, "all places are taken");

    ngx_apikeys_store_set_seal(st, NULL);
    (void) publish(st, 50, 1, LINES);
    ok(unit_version(st, 50) == NGX_BUSY && nshown(st) == LINES
       && st->head->counts.invalid == 1,
       "a key of one more line is 503");
    (void) publish(st, 51, 1, 7);
    ok(unit_version(st, 51) == 1 && shown(st, 7) == 2,
       "one of a line that has a place is not");

    (void) unit_delete(st, 13, 2);
    (void) publish(st, 50, 2, LINES);
    ok(unit_version(st, 50) == 2 && shown(st, LINES) == 1
       && st->head->counts.invalid == 0,
       "nor is the other one when a place is free");

    ngx_apikeys_store_repair(st);
    ok(shown(st, 7) == 2 && shown(st, 1) == 2 && shown(st, LINES) == 1
       && nshown(st) == LINES, "a repair counts the same");

    ok(unit_check(st) == 0, "the zone is consistent");
    unit_store_free(st);
}


static void
test_missing(void)
{
    u_char                first[NGX_APIKEYS_SEAL_LINE_LEN];
    ngx_apikeys_seal_t   *without, *both;
    ngx_apikeys_store_t  *st;

    without = ring(1, 3);
    both = ring(0, 2);

    st = zone(all);

    (void) publish(st, 1, 1, 0);
    (void) publish(st, 2, 1, 1);
    (void) publish(st, 3, 1, 0);
    ok(ngx_apikeys_store_lines_missing(st, first) == 0, "no line is missing");

    configure(st, without);
    ok(unit_version(st, 1) == NGX_BUSY && unit_version(st, 3) == NGX_BUSY
       && unit_version(st, 2) == 1,
       "keys whose line was taken out of the file are 503, others are not");
    ok(ngx_apikeys_store_lines_missing(st, first) == 2
       && memcmp(first, line(0), sizeof(first)) == 0
       && shown(st, 0) == 1002 && shown(st, 1) == 1, "the status tells");
    ok(ngx_apikeys_store_lines_untried(st), "a load is to tell whether it is");

    (void) publish(st, 4, 1, 9);
    ok(unit_version(st, 4) == NGX_BUSY && shown(st, 9) == 1001
       && ngx_apikeys_store_lines_missing(st, first) == 3,
       "so is a key that comes later, of another one that is missing");

    (void) unit_delete(st, 4, 2);
    (void) publish(st, 5, 1, 2);
    ok(place(st, 2) == 2 && unit_version(st, 5) == 1 && shown(st, 2) == 1
       && ngx_apikeys_store_lines_missing(st, first) == 2,
       "a line that is there takes its place, and is not missing");

    (void) publish(st, 3, 2, 1);
    ok(unit_version(st, 3) == 2 && shown(st, 0) == 1001,
       "a key that was sealed anew is decided");

    configure(st, both);
    ok(unit_version(st, 1) == 1 && unit_version(st, 5) == NGX_BUSY
       && ngx_apikeys_store_lines_missing(st, first) == 1
       && memcmp(first, line(2), sizeof(first)) == 0,
       "a line that comes back has its keys decided again");

    configure(st, NULL);
    ok(ngx_apikeys_store_lines_missing(st, first) == 0
       && !ngx_apikeys_store_lines_untried(st),
       "without a file nothing is missing");

    unit_store_free(st);
}


static void
test_needed(void)
{
    u_char                first[NGX_APIKEYS_SEAL_LINE_LEN];
    ngx_str_t             two;
    ngx_apikeys_seal_t   *last;
    ngx_apikeys_store_t  *st;

    last = ring(1, 1);

    st = zone(all);

    (void) publish(st, 1, 1, 0);
    (void) publish(st, 2, 1, 1);
    (void) publish(st, 3, 1, 0);

    two.len = 17;
    two.data = ngx_pnalloc(tap_cycle.pool, two.len);
    ngx_memcpy(two.data, hex(0).data, 8);
    two.data[8] = ',';
    ngx_memcpy(two.data + 9, hex(1).data, 8);

    needed(st, two);
    ok(shown(st, 0) == 2 && shown(st, 1) == 1, "the database needs two lines");

    /* a reload whose workers are not this one's */

    st->head->reloads++;
    ngx_apikeys_store_set_seal(st, last);
    needed(st, hex(1));
    ok(shown(st, 0) == 2 && unit_version(st, 1) == 1,
       "an old configuration leaves all as it is");
    st->head->reloads--;

    needed(st, hex(1));
    ok(nshown(st) == 1 && shown(st, 1) == 3 && shown(st, 0) == 0
       && unit_version(st, 1) == 1
       && ngx_apikeys_store_lines_missing(st, first) == 0,
       "where it needs a single one, that is the line of all keys");

    (void) unit_delete(st, 1, 2);
    (void) unit_delete(st, 3, 2);
    ok(nshown(st) == 1 && shown(st, 1) == 1, "and they are counted as such");

    configure(st, ring(0, 1));
    ok(unit_version(st, 2) == NGX_BUSY, "which may be missing");

    unit_store_free(st);
}


static void
test_tried(void)
{
    ngx_str_t                bad;
    ngx_apikeys_seal_t      *one, *two;
    ngx_apikeys_store_t     *st;
    ngx_apikeys_store_key_t  key;

    one = ring(0, 1);
    two = ring(0, 2);

    st = zone(one);
    ok(!ngx_apikeys_store_lines_untried(st), "nothing is to be tried");

    key = unit_key(1, 1, 2, 0);
    key.unreadable = 1;
    (void) ngx_apikeys_store_lock(st);
    (void) ngx_apikeys_store_publish_key_locked(st, &key, 0);
    ngx_apikeys_store_unlock(st);

    ok(ngx_apikeys_store_lines_untried(st), "a key that no line opens is");
    tried(st);
    ok(!ngx_apikeys_store_lines_untried(st), "once, with the lines there are");
    configure(st, two);
    ok(ngx_apikeys_store_lines_untried(st), "and again with one more");
    tried(st);
    configure(st, one);
    ok(!ngx_apikeys_store_lines_untried(st), "not with fewer");

    /* the line that seals */

    configure(st, two);
    ok(ngx_apikeys_store_sealing_line(st) == 0, "the first line seals");
    bad = hex(1);
    ngx_apikeys_store_set_sealing_line(st, &bad);
    ok(ngx_apikeys_store_sealing_line(st) == 1, "or the one that is named");
    ngx_str_set(&bad, "xyz");
    ngx_apikeys_store_set_sealing_line(st, &bad);
    ok(ngx_apikeys_store_sealing_line(st) == 1, "what is none changes nothing");
    configure(st, one);
    ok(ngx_apikeys_store_sealing_line(st) == 0,
       "one that is missing does not seal");

    unit_store_free(st);
}


static void
test_copy(void)
{
    u_char                       first[NGX_APIKEYS_SEAL_LINE_LEN];
    ngx_str_t                    sealing;
    ngx_uint_t                   i, n, wrong, moved;
    ngx_apikeys_seal_t          *three;
    ngx_apikeys_store_t         *st, *new;
    ngx_apikeys_store_record_t   rec;

    three = ring(0, 3);

    st = zone(all);

    /* ten lines, five of which are gone again */

    for (i = 0; i < 10; i++) {
        for (n = 0; n < 3; n++) {
            (void) publish(st, 100 * i + n, 1, i);
        }
    }

    for (i = 3; i < 8; i++) {
        for (n = 0; n < 3; n++) {
            (void) unit_delete(st, 100 * i + n, 2);
        }
    }

    sealing = hex(2);
    ngx_apikeys_store_set_sealing_line(st, &sealing);
    tried(st);

    new = resize(st, three);

    for (i = 0, wrong = 0, moved = 0; i < 10; i++) {

        if (i >= 3 && i < 8) {
            wrong += shown(new, i) != 0;
            continue;
        }

        wrong += shown(new, i) != (i < 3 ? 3 : 1003);
        moved += place(new, i) != place(st, i);

        for (n = 0; n < 3; n++) {
            wrong += unit_version(new, 100 * i + n)
                     != (i < 3 ? 1 : (int64_t) NGX_BUSY);
        }
    }

    ok(wrong == 0 && nshown(new) == 5,
       "each key of a copy has its line, and the new file lacks two of them");
    ok(moved > 0, "%d lines have another place", (int) moved);
    ok(ngx_apikeys_store_lines_missing(new, first) == 6, "with six keys");
    ok(ngx_apikeys_store_sealing_line(new) == 2
       && new->head->ntried == LINES
       && memcmp(new->head->tried, st->head->tried, sizeof(st->head->tried))
          == 0, "what seals and what was tried is carried over");

    (void) ngx_apikeys_store_init_process(st, &tap_log);
    ok(unit_version(st, 800) == 1 && shown(st, 8) == 3
       && ngx_apikeys_store_lines_missing(st, first) == 0,
       "the old zone has its own");

    /* records one by one */

    ngx_memzero(&rec, sizeof(rec));
    rec.kind = NGX_APIKEYS_STORE_KEY;
    rec.state = NGX_APIKEYS_STORE_LIVE;
    rec.flags = (u_char) (place(st, 9) << NGX_APIKEYS_STORE_LINE_SHIFT
                          | NGX_APIKEYS_STORE_STUB);

    (void) ngx_apikeys_store_lock(new);
    ngx_apikeys_store_lines_copy_record(new, st, &rec);
    ok(rec.state == NGX_APIKEYS_STORE_LIVE
       && rec.flags >> NGX_APIKEYS_STORE_LINE_SHIFT == place(new, 9)
       && rec.flags & NGX_APIKEYS_STORE_STUB,
       "a record changes its place and no other flag");

    rec.state = NGX_APIKEYS_STORE_DELETED;
    rec.flags = 5 << NGX_APIKEYS_STORE_LINE_SHIFT;
    ngx_apikeys_store_lines_copy_record(new, st, &rec);
    rec.state = NGX_APIKEYS_STORE_LIVE;
    rec.kind = NGX_APIKEYS_STORE_ORG;
    ngx_apikeys_store_lines_copy_record(new, st, &rec);
    ok(rec.flags == 5 << NGX_APIKEYS_STORE_LINE_SHIFT,
       "one that has no line is left alone");
    ngx_apikeys_store_unlock(new);

    for (i = 0; i < LINES; i++) {
        (void) publish(new, 5000 + i, 1, i);
    }

    ngx_memcpy(st->head->lines[0].line, line(LINES),
               NGX_APIKEYS_SEAL_LINE_LEN);
    rec.kind = NGX_APIKEYS_STORE_KEY;
    rec.flags = 0;
    (void) ngx_apikeys_store_lock(new);
    ngx_apikeys_store_lines_copy_record(new, st, &rec);
    ngx_apikeys_store_unlock(new);
    ok(nshown(new) == LINES && rec.state == NGX_APIKEYS_STORE_INVALID,
       "one whose line finds no place is to be read again");

    ok(unit_check(new) == 0, "the zone is consistent");
    unit_store_free(new);
    unit_store_free(st);
}


int
main(void)
{
    unit_start();

    all = ring(0, LINES);
    more = ring(LINES, 1);

    test_places();
    test_missing();
    test_needed();
    test_tried();
    test_copy();

    return tap_end();
}
