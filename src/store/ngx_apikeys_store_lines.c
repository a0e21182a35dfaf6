
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The lines of the master key file with which the keys of the zone were
 * decrypted.
 *
 * The zone contains decrypted secrets and needs no master key.  But requests
 * with a key whose line was removed from the file must get 503.  So the record
 * of each key has the index of its line in head.lines, and head.missing_lines
 * has a bit for each index whose line the file lacks.  A new configuration
 * sets these bits when its workers start; the workers of the old configuration
 * obey them, too.  When a line is back, its bit is cleared.
 *
 * Secrets that are encrypted anew in the database do not appear in the feed.
 * So an entry of head.lines is the line of its keys when they were read; a
 * load reads them again, and if the database needs a single line only, all
 * entries are set to that line.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


static ngx_uint_t ngx_apikeys_store_lines_lacks(ngx_apikeys_store_t *st,
    const u_char *line);
static ngx_uint_t ngx_apikeys_store_lines_first(
    const ngx_apikeys_store_line_t *lines, uint32_t place);


void
ngx_apikeys_store_set_seal(ngx_apikeys_store_t *st, ngx_apikeys_seal_t *seal)
{
    st->seal = seal;
}


void
ngx_apikeys_store_lines_check(ngx_apikeys_store_t *st)
{
    uint32_t                   i, missing;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;
    missing = 0;

    for (i = 0; i < NGX_APIKEYS_STORE_LINES; i++) {

        if (ngx_apikeys_atomic_load(&sh->lines[i].keys)
            && ngx_apikeys_store_lines_lacks(st, sh->lines[i].line))
        {
            missing |= (uint32_t) 1 << i;
        }
    }

    ngx_apikeys_atomic_store(&sh->missing_lines, missing);
}


static ngx_uint_t
ngx_apikeys_store_lines_lacks(ngx_apikeys_store_t *st, const u_char *line)
{
    return st->seal
           && ngx_apikeys_seal_find(st->seal, line) == NGX_DECLINED;
}


ngx_int_t
ngx_apikeys_store_lines_place(ngx_apikeys_store_t *st, const u_char *line)
{
    uint32_t                   i, place;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;
    place = NGX_APIKEYS_STORE_LINES;

    for (i = 0; i < NGX_APIKEYS_STORE_LINES; i++) {

        if (sh->lines[i].keys == 0) {
            place = ngx_min(place, i);
            continue;
        }

        if (ngx_memcmp(sh->lines[i].line, line, NGX_APIKEYS_SEAL_LINE_LEN)
            == 0)
        {
            return i;
        }
    }

    if (place == NGX_APIKEYS_STORE_LINES) {
        return NGX_DECLINED;
    }

    ngx_memcpy(sh->lines[place].line, line, NGX_APIKEYS_SEAL_LINE_LEN);

    i = (uint32_t) 1 << place;

    ngx_apikeys_atomic_store(&sh->missing_lines,
                             ngx_apikeys_store_lines_lacks(st, line)
                             ? sh->missing_lines | i : sh->missing_lines & ~i);

    return place;
}


void
ngx_apikeys_store_lines_copy_settings(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_t *old)
{
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    sh->sealing_line = ngx_apikeys_atomic_load(&old->head->sealing_line);
    sh->ntried = old->head->ntried;

    ngx_memcpy(sh->tried, old->head->tried, sizeof(sh->tried));
}


void
ngx_apikeys_store_lines_copy_record(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_t *old, ngx_apikeys_store_record_t *copy)
{
    uint32_t   place;
    ngx_int_t  own;

    if (copy->kind != NGX_APIKEYS_STORE_KEY
        || copy->state != NGX_APIKEYS_STORE_LIVE)
    {
        return;
    }

    place = copy->flags >> NGX_APIKEYS_STORE_LINE_SHIFT;

    own = ngx_apikeys_store_lines_place(st, old->head->lines[place].line);

    copy->flags &= (1 << NGX_APIKEYS_STORE_LINE_SHIFT) - 1;

    /* the lines changed during the copy: invalid until a load reads the key */

    if (own == NGX_DECLINED) {
        copy->state = NGX_APIKEYS_STORE_INVALID;
        return;
    }

    copy->flags |= (u_char) (own << NGX_APIKEYS_STORE_LINE_SHIFT);
}


void
ngx_apikeys_store_lines_needed_locked(ngx_apikeys_store_t *st,
    const ngx_str_t *lines)
{
    u_char                     line[NGX_APIKEYS_SEAL_LINE_LEN];
    uint32_t                   i;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    /* only the workers of the current configuration set missing_lines */

    if (ngx_apikeys_atomic_load(&sh->reloads) != st->reloads) {
        return;
    }

    /* the database needs a single line */

    if (ngx_apikeys_seal_unhex(line, NGX_APIKEYS_SEAL_LINE_LEN, lines)
        == NGX_OK)
    {
        for (i = 0; i < NGX_APIKEYS_STORE_LINES; i++) {
            ngx_memcpy(sh->lines[i].line, line, NGX_APIKEYS_SEAL_LINE_LEN);
        }
    }

    ngx_apikeys_store_lines_check(st);
}


void
ngx_apikeys_store_lines_tried_locked(ngx_apikeys_store_t *st)
{
    ngx_uint_t                 i, n;
    ngx_apikeys_store_head_t  *sh;

    if (st->seal == NULL) {
        return;
    }

    sh = st->head;
    n = ngx_apikeys_seal_nkeys(st->seal);

    for (i = 0; i < n; i++) {
        ngx_memcpy(sh->tried[i], ngx_apikeys_seal_line(st->seal, i),
                   NGX_APIKEYS_SEAL_LINE_LEN);
    }

    sh->ntried = (uint32_t) n;
}


ngx_uint_t
ngx_apikeys_store_lines_untried(ngx_apikeys_store_t *st)
{
    ngx_uint_t                 i, k, n;
    ngx_apikeys_store_head_t  *sh;

    if (st->seal == NULL) {
        return 0;
    }

    sh = st->head;

    if (ngx_apikeys_atomic_load(&sh->missing_lines)) {
        return 1;
    }

    if (sh->counts.invalid == sh->counts.stubs) {
        return 0;
    }

    n = ngx_apikeys_seal_nkeys(st->seal);

    for (i = 0; i < n; i++) {

        for (k = 0; k < sh->ntried; k++) {

            if (ngx_memcmp(sh->tried[k], ngx_apikeys_seal_line(st->seal, i),
                           NGX_APIKEYS_SEAL_LINE_LEN)
                == 0)
            {
                break;
            }
        }

        if (k == sh->ntried) {
            return 1;
        }
    }

    return 0;
}


uint64_t
ngx_apikeys_store_lines_missing(ngx_apikeys_store_t *st,
    u_char line[NGX_APIKEYS_SEAL_LINE_LEN])
{
    uint32_t                   i, missing;
    uint64_t                   keys;
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;
    keys = 0;

    missing = ngx_apikeys_atomic_load(&sh->missing_lines);

    for (i = 0; missing; missing >>= 1, i++) {

        if (!(missing & 1)) {
            continue;
        }

        if (keys == 0) {
            ngx_memcpy(line, sh->lines[i].line, NGX_APIKEYS_SEAL_LINE_LEN);
        }

        keys += ngx_apikeys_atomic_load(&sh->lines[i].keys);
    }

    return keys;
}


ngx_uint_t
ngx_apikeys_store_sealing_line(ngx_apikeys_store_t *st)
{
    uint32_t   seals;
    ngx_int_t  n;

    seals = ngx_apikeys_atomic_load(&st->head->sealing_line);

    if (seals == 0 || st->seal == NULL) {
        return 0;
    }

    n = ngx_apikeys_seal_find(st->seal, (u_char *) &seals);

    return (n == NGX_DECLINED) ? 0 : (ngx_uint_t) n;
}


void
ngx_apikeys_store_set_sealing_line(ngx_apikeys_store_t *st,
    const ngx_str_t *line)
{
    uint32_t  seals;

    if (ngx_apikeys_seal_unhex((u_char *) &seals, sizeof(seals), line)
        == NGX_OK)
    {
        ngx_apikeys_atomic_store(&st->head->sealing_line, seals);
    }
}


/* entries with the same line are reported as one */

ngx_int_t
ngx_apikeys_store_line_stat(ngx_apikeys_store_t *st, ngx_uint_t i,
    ngx_apikeys_store_line_stat_t *stat)
{
    uint32_t                   k, first;
    uint64_t                   keys;
    ngx_apikeys_store_line_t  *lines;

    lines = st->head->lines;

    for (first = 0; first < NGX_APIKEYS_STORE_LINES; first++) {

        if (ngx_apikeys_store_lines_first(lines, first) && i-- == 0) {
            break;
        }
    }

    if (first == NGX_APIKEYS_STORE_LINES) {
        return NGX_DECLINED;
    }

    keys = 0;

    for (k = first; k < NGX_APIKEYS_STORE_LINES; k++) {

        if (ngx_memcmp(lines[k].line, lines[first].line,
                       NGX_APIKEYS_SEAL_LINE_LEN)
            == 0)
        {
            keys += ngx_apikeys_atomic_load(&lines[k].keys);
        }
    }

    ngx_memcpy(stat->line, lines[first].line, NGX_APIKEYS_SEAL_LINE_LEN);

    stat->keys = keys;
    stat->missing = ngx_apikeys_atomic_load(&st->head->missing_lines)
                    >> first & 1;

    return NGX_OK;
}


/* 1: the entry has keys, and no entry before it has the same line */

static ngx_uint_t
ngx_apikeys_store_lines_first(const ngx_apikeys_store_line_t *lines,
    uint32_t place)
{
    uint32_t  i;

    if (ngx_apikeys_atomic_load(&lines[place].keys) == 0) {
        return 0;
    }

    for (i = 0; i < place; i++) {

        if (ngx_apikeys_atomic_load(&lines[i].keys)
            && ngx_memcmp(lines[i].line, lines[place].line,
                          NGX_APIKEYS_SEAL_LINE_LEN)
               == 0)
        {
            return 0;
        }
    }

    return 1;
}
