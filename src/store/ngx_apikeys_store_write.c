
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Publishing and deleting, under the mutex.
 *
 * A record is complete before a single store links it into the chain of its
 * id, which is the commit; then it is linked into the chain of its public key.
 * If the writer is killed in between, lookups by public key find the old
 * record until the next writer's repair; the change was not yet confirmed to
 * anyone.
 *
 * If a new version does not fit, the old one is not served any more: a stub
 * replaces it (ngx_apikeys_store_room.c).  If not even that fits, the old
 * record becomes invalid.  If there is no old record, the version is kept in
 * failed_version, and nothing older is accepted for an object that is not in
 * the zone.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


/* publish_key_locked() and write_detail() write them all into the zone */
ngx_apikeys_store_key_members(21);

/* maximum nesting of CIDR blocks: 129 prefix lengths, rounded up */
#define NGX_APIKEYS_STORE_MAX_NESTING  130


static ngx_int_t ngx_apikeys_store_write_publish(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *new, const ngx_apikeys_store_key_t *key,
    uint32_t load);
static ngx_uint_t ngx_apikeys_store_write_unchanged(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_record_t *rec,
    const ngx_apikeys_store_record_t *new);
static void ngx_apikeys_store_write_line(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec, const ngx_apikeys_store_record_t *new);
static ngx_uint_t ngx_apikeys_store_write_replaceable(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_record_t *rec, uint64_t version, uint32_t load);
static ngx_uint_t ngx_apikeys_store_write_stub(ngx_apikeys_store_t *st,
    uint32_t i, const ngx_apikeys_store_record_t *new);
static uint32_t ngx_apikeys_store_write_take_public_key(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *new, uint32_t old, uint32_t load);
static void ngx_apikeys_store_write_link(ngx_apikeys_store_t *st,
    uint32_t *link, uint32_t i);
static uint32_t *ngx_apikeys_store_write_find_key(ngx_apikeys_store_t *st,
    uint32_t i);
static void ngx_apikeys_store_write_invalidate(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec);
static uint32_t ngx_apikeys_store_write_cells(
    const ngx_apikeys_store_key_t *key);
static void ngx_apikeys_store_write_lengths(ngx_apikeys_store_detail_t *d,
    const ngx_apikeys_store_key_t *key);
static uint32_t ngx_apikeys_store_write_detail(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_key_t *key);
static void ngx_apikeys_store_write_entries(ngx_apikeys_store_t *st,
    ngx_apikeys_store_detail_t *d, const ngx_apikeys_cidr_t *entries,
    ngx_uint_t family);
static void ngx_apikeys_store_write_grants(ngx_apikeys_store_t *st,
    ngx_apikeys_store_detail_t *d, const ngx_apikeys_store_grant_t *grants);
static void ngx_apikeys_store_write_older(ngx_apikeys_store_t *st,
    ngx_apikeys_store_detail_t *d, const ngx_apikeys_store_key_t *key);
static void ngx_apikeys_store_write_ends(ngx_apikeys_store_t *st,
    ngx_apikeys_store_detail_t *d, const ngx_apikeys_store_key_t *key);


ngx_int_t
ngx_apikeys_store_publish_key_locked(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_key_t *key, uint32_t load)
{
    ngx_int_t                   place;
    ngx_apikeys_store_record_t  new;

    ngx_memzero(&new, sizeof(ngx_apikeys_store_record_t));

    new.kind = NGX_APIKEYS_STORE_KEY;
    new.state = NGX_APIKEYS_STORE_LIVE;
    new.id = key->id;
    new.org = key->org;
    new.version = key->version;

    ngx_memcpy(new.public_key, key->public_key,
               NGX_APIKEYS_PUBLIC_KEY_LEN);

    if (key->stub) {
        new.flags = NGX_APIKEYS_STORE_STUB;
    }

    place = NGX_DECLINED;

    /* an unreadable key or a stub has no line */

    if (!key->unreadable && !key->stub) {
        place = ngx_apikeys_store_lines_place(st, key->line);
    }

    if (place == NGX_DECLINED
        || key->nentries > NGX_APIKEYS_STORE_MAX_ENTRIES
        || key->ngrants > NGX_APIKEYS_STORE_MAX_GRANTS)
    {
        new.state = NGX_APIKEYS_STORE_INVALID;
        key = NULL;

    } else {
        new.flags |= (u_char) (place << NGX_APIKEYS_STORE_LINE_SHIFT);
    }

    return ngx_apikeys_store_write_publish(st, &new, key, load);
}


ngx_int_t
ngx_apikeys_store_publish_org_locked(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_org_t *org, uint32_t load)
{
    ngx_apikeys_store_record_t  new;

    ngx_memzero(&new, sizeof(ngx_apikeys_store_record_t));

    new.kind = NGX_APIKEYS_STORE_ORG;
    new.state = NGX_APIKEYS_STORE_LIVE;
    new.id = org->id;
    new.version = org->version;
    new.flags = org->access_list_required ? NGX_APIKEYS_STORE_LIST_REQUIRED
                                            : 0;

    return ngx_apikeys_store_write_publish(st, &new, NULL, load);
}


ngx_int_t
ngx_apikeys_store_publish_project_locked(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_project_t *project, uint32_t load)
{
    ngx_apikeys_store_record_t  new;

    ngx_memzero(&new, sizeof(ngx_apikeys_store_record_t));

    new.kind = NGX_APIKEYS_STORE_PROJECT;
    new.state = NGX_APIKEYS_STORE_LIVE;
    new.id = project->id;
    new.org = project->org;
    new.version = project->version;

    return ngx_apikeys_store_write_publish(st, &new, NULL, load);
}


static ngx_int_t
ngx_apikeys_store_write_publish(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *new, const ngx_apikeys_store_key_t *key,
    uint32_t load)
{
    uint32_t                     i, cells, *link;
    ngx_int_t                    rc;
    ngx_apikeys_store_head_t    *sh;
    ngx_apikeys_store_record_t  *old;

    sh = st->head;

    if (load && (load != sh->load_number || !sh->loading)) {
        return NGX_DECLINED;
    }

    cells = ngx_apikeys_store_write_cells(key);

    link = ngx_apikeys_store_write_find(st, new->kind, &new->id);
    i = *link;
    old = i ? ngx_apikeys_store_record(st, i) : NULL;

    if (old) {
        if (load && ngx_apikeys_store_write_unchanged(st, old, new)) {
            ngx_apikeys_store_write_line(st, old, new);
            old->load_number = load;
            sh->load_cells += cells;
            ngx_apikeys_store_room_stored(st, cells);
            return NGX_OK;
        }

        if (!ngx_apikeys_store_write_replaceable(st, old, new->version,
                                                 load))
        {
            return NGX_DECLINED;
        }
    }

    if ((old == NULL || old->state == NGX_APIKEYS_STORE_DELETED)
        && load == 0 && new->version < sh->failed_version)
    {
        /* the refused version may have been the deletion of this object */
        return NGX_ERROR;
    }

    if (key) {
        rc = ngx_apikeys_store_room(st, old, cells);

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        sh->load_cells += load ? cells : 0;

        if (rc == NGX_DECLINED) {
            ngx_apikeys_store_room_refused(st, &new->id, cells);

            if (old && ngx_apikeys_store_write_stub(st, i, new)) {
                return NGX_OK;
            }

            new->state = NGX_APIKEYS_STORE_INVALID;
            new->flags |= NGX_APIKEYS_STORE_STUB;
            key = NULL;
        }
    }

    if (key == NULL && ngx_apikeys_store_retire_reserve(st, 1) != NGX_OK) {
        return ngx_apikeys_store_write_full(st, old, new->version);
    }

    new->load_number = sh->load_number;
    new->detail = key ? ngx_apikeys_store_write_detail(st, key) : 0;

    ngx_apikeys_store_room_stored(st, key ? cells : 1);

    ngx_apikeys_store_write_insert(st, link, new, load);

    return NGX_OK;
}


/* the caller made sure that a cell is free, and has made the detail */

void
ngx_apikeys_store_write_insert(ngx_apikeys_store_t *st, uint32_t *link,
    ngx_apikeys_store_record_t *new, uint32_t load)
{
    uint32_t  i, other;

    other = 0;

    if (new->kind == NGX_APIKEYS_STORE_KEY
        && new->state != NGX_APIKEYS_STORE_DELETED
        && !(new->flags & NGX_APIKEYS_STORE_DETACHED))
    {
        other = ngx_apikeys_store_write_take_public_key(st, new, *link, load);
    }

    i = ngx_apikeys_arena_alloc(&st->arena);
    *ngx_apikeys_store_record(st, i) = *new;

    ngx_apikeys_store_write_link(st, link, i);

    if (new->flags & NGX_APIKEYS_STORE_STUB) {
        ngx_apikeys_store_room_add_stub_id(st, &new->id);
    }

    if (other) {
        ngx_apikeys_store_record(st, other)->flags |=
                                                 NGX_APIKEYS_STORE_DETACHED;
        ngx_apikeys_store_write_unlink_key(st, other);
    }
}


/*
 * 1: the load has brought the version that is here already.  A live key of
 * this version stays even if it cannot be decrypted now, because its line is
 * missing: lookups return NGX_BUSY for as long as it is.
 */

static ngx_uint_t
ngx_apikeys_store_write_unchanged(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_record_t *rec,
    const ngx_apikeys_store_record_t *new)
{
    return rec->state == NGX_APIKEYS_STORE_LIVE
           && (new->state == NGX_APIKEYS_STORE_LIVE
               || ngx_apikeys_store_read_line_missing(st, rec))
           && rec->version == new->version
           && rec->load_number >= st->head->generation_first_load;
}


/* the same version may be encrypted with another line now */

static void
ngx_apikeys_store_write_line(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec, const ngx_apikeys_store_record_t *new)
{
    if (rec->kind != NGX_APIKEYS_STORE_KEY
        || new->state != NGX_APIKEYS_STORE_LIVE)
    {
        return;
    }

    ngx_apikeys_store_write_count(st, rec, -1);

    ngx_apikeys_atomic_store(&rec->flags,
                             (u_char) (new->flags
                                       | (rec->flags
                                          & NGX_APIKEYS_STORE_DETACHED)));

    ngx_apikeys_store_write_count(st, rec, 1);
}


/*
 * Returns 1 if the record may be replaced: it is of another database, or was
 * not published since this load began (so the load is newer), or its version
 * is older.
 */

static ngx_uint_t
ngx_apikeys_store_write_replaceable(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_record_t *rec, uint64_t version, uint32_t load)
{
    if (rec->load_number < st->head->generation_first_load
        || (load && rec->load_number != load))
    {
        return 1;
    }

    if (rec->state == NGX_APIKEYS_STORE_INVALID) {

        /* the same version may have been refused for lack of space */

        return version >= rec->version;
    }

    return version > rec->version;
}


/*
 * Turns a record into a stub, which needs no memory.  Returns 0 if it cannot
 * be used.  A writer that is killed in between leaves an invalid record; the
 * feed brings the change again, as the cursor was not moved.
 */

static ngx_uint_t
ngx_apikeys_store_write_stub(ngx_apikeys_store_t *st, uint32_t i,
    const ngx_apikeys_store_record_t *new)
{
    ngx_apikeys_store_record_t  *rec;

    rec = ngx_apikeys_store_record(st, i);

    if (rec->state == NGX_APIKEYS_STORE_DELETED
        || (rec->flags & NGX_APIKEYS_STORE_DETACHED)
        || ngx_memcmp(rec->public_key, new->public_key,
                      NGX_APIKEYS_PUBLIC_KEY_LEN)
           != 0)
    {
        return 0;
    }

    ngx_apikeys_store_write_count(st, rec, -1);
    ngx_apikeys_atomic_store(&rec->state, NGX_APIKEYS_STORE_INVALID);
    rec->flags |= NGX_APIKEYS_STORE_STUB;
    ngx_apikeys_store_write_count(st, rec, 1);

    ngx_apikeys_atomic_store(&rec->version, new->version);
    rec->load_number = st->head->load_number;

    if (rec->reclaim == NGX_APIKEYS_STORE_RECLAIM_NONE) {
        ngx_apikeys_store_retire_detail(st, i);
    }

    ngx_apikeys_store_room_add_stub_id(st, &rec->id);

    return 1;
}


ngx_int_t
ngx_apikeys_store_write_full(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *old, uint64_t version)
{
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    /* first: a copy that refuses a version must not be "complete" */

    ngx_apikeys_atomic_store(&sh->complete, 0);

    if (old && old->state != NGX_APIKEYS_STORE_DELETED) {
        ngx_apikeys_store_write_invalidate(st, old);
        ngx_apikeys_atomic_store(&old->version, version);
        old->load_number = sh->load_number;

    } else if (version > sh->failed_version) {
        sh->failed_version = version;
    }

    sh->load_failed = 1;
    sh->load_failures++;

    st->log_full = 1;

    return NGX_ERROR;
}


static void
ngx_apikeys_store_write_invalidate(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec)
{
    ngx_apikeys_store_write_count(st, rec, -1);
    ngx_apikeys_atomic_store(&rec->state, NGX_APIKEYS_STORE_INVALID);
    ngx_apikeys_store_write_count(st, rec, 1);
}


/*
 * The database never has two keys with one public key, but changes may be
 * published in another order than they were made.  The record with the newer
 * version stays in the public-key chain; the other one is marked DETACHED
 * until its own change arrives.  Returns the record to unlink from the chain
 * once the new one is linked, or 0.
 */

static uint32_t
ngx_apikeys_store_write_take_public_key(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *new, uint32_t old, uint32_t load)
{
    uint32_t                     i;
    ngx_apikeys_store_record_t  *rec;

    i = *ngx_apikeys_store_key_bucket(st, new->public_key);

    for ( /* void */ ; i; i = rec->next_key) {

        rec = ngx_apikeys_store_record(st, i);

        if (i != old
            && ngx_memcmp(rec->public_key, new->public_key,
                          NGX_APIKEYS_PUBLIC_KEY_LEN)
               == 0)
        {
            break;
        }
    }

    if (i == 0) {
        return 0;
    }

    rec = ngx_apikeys_store_record(st, i);

    if (!ngx_apikeys_store_write_replaceable(st, rec, new->version, load)) {
        new->state = NGX_APIKEYS_STORE_INVALID;
        new->flags |= NGX_APIKEYS_STORE_DETACHED;
        return 0;
    }

    /*
     * Invalidate it now, unlink it after the new record is linked, so that a
     * lookup never reports the public key as unknown.
     */

    ngx_apikeys_store_write_invalidate(st, rec);

    return i;
}


/* *link is the old record, or 0 at the end of the chain */

static void
ngx_apikeys_store_write_link(ngx_apikeys_store_t *st, uint32_t *link,
    uint32_t i)
{
    uint32_t                     n, *name;
    ngx_apikeys_store_record_t  *rec, *old;

    n = *link;
    rec = ngx_apikeys_store_record(st, i);
    old = n ? ngx_apikeys_store_record(st, n) : NULL;

    if (old) {
        rec->next_id = old->next_id;
        ngx_apikeys_store_write_count(st, old, -1);
    }

    ngx_apikeys_store_write_count(st, rec, 1);
    ngx_apikeys_atomic_store(link, i);

    if (rec->kind == NGX_APIKEYS_STORE_KEY
        && rec->state != NGX_APIKEYS_STORE_DELETED
        && !(rec->flags & NGX_APIKEYS_STORE_DETACHED))
    {
        name = old ? ngx_apikeys_store_write_find_key(st, n) : NULL;

        if (name && ngx_memcmp(rec->public_key, old->public_key,
                               NGX_APIKEYS_PUBLIC_KEY_LEN)
                    == 0)
        {
            rec->next_key = old->next_key;

        } else {
            name = ngx_apikeys_store_key_bucket(st, rec->public_key);
            rec->next_key = *name;
        }

        ngx_apikeys_atomic_store(name, i);
    }

    if (old) {
        ngx_apikeys_store_write_unlink_key(st, n);
        ngx_apikeys_store_retire_record(st, n);
    }
}


uint32_t *
ngx_apikeys_store_write_find(ngx_apikeys_store_t *st, ngx_uint_t kind,
    const ngx_apikeys_objectid_t *id)
{
    uint32_t                    *link;
    ngx_apikeys_store_record_t  *rec;

    link = ngx_apikeys_store_id_bucket(st, id);

    while (*link) {
        rec = ngx_apikeys_store_record(st, *link);

        if (rec->kind == kind
            && ngx_memcmp(rec->id.data, id->data, NGX_APIKEYS_OBJECTID_LEN)
               == 0)
        {
            break;
        }

        link = &rec->next_id;
    }

    return link;
}


/* the link to a record in the chain of its public key, or NULL */

static uint32_t *
ngx_apikeys_store_write_find_key(ngx_apikeys_store_t *st, uint32_t i)
{
    uint32_t                    *link;
    ngx_apikeys_store_record_t  *rec;

    rec = ngx_apikeys_store_record(st, i);

    if (rec->kind != NGX_APIKEYS_STORE_KEY) {
        return NULL;
    }

    link = ngx_apikeys_store_key_bucket(st, rec->public_key);

    while (*link && *link != i) {
        link = &ngx_apikeys_store_record(st, *link)->next_key;
    }

    return *link ? link : NULL;
}


void
ngx_apikeys_store_write_unlink_key(ngx_apikeys_store_t *st, uint32_t i)
{
    uint32_t  *link;

    link = ngx_apikeys_store_write_find_key(st, i);

    if (link) {
        ngx_apikeys_atomic_store(link,
                                 ngx_apikeys_store_record(st, i)->next_key);
    }
}


ngx_int_t
ngx_apikeys_store_delete_locked(ngx_apikeys_store_t *st,
    ngx_apikeys_store_kind_e kind, const ngx_apikeys_objectid_t *id,
    uint64_t version)
{
    uint32_t                     i, *link;
    ngx_apikeys_store_head_t    *sh;
    ngx_apikeys_store_record_t  *rec, new;

    sh = st->head;
    link = ngx_apikeys_store_write_find(st, kind, id);
    i = *link;

    if (i == 0) {

        /* results of older mutations may still be published */

        if (ngx_apikeys_store_retire_reserve(st, 1) != NGX_OK) {
            return ngx_apikeys_store_write_full(st, NULL, version + 1);
        }

        ngx_memzero(&new, sizeof(ngx_apikeys_store_record_t));

        new.kind = (u_char) kind;
        new.state = NGX_APIKEYS_STORE_DELETED;
        new.id = *id;
        new.version = version;
        new.load_number = sh->load_number;

        ngx_apikeys_store_write_insert(st, link, &new, 0);

        return NGX_OK;
    }

    rec = ngx_apikeys_store_record(st, i);

    if (rec->load_number >= sh->generation_first_load
        && rec->version > version)
    {
        return NGX_DECLINED;
    }

    if (rec->state != NGX_APIKEYS_STORE_DELETED) {
        ngx_apikeys_store_write_delete(st, i);
    }

    ngx_apikeys_atomic_store(&rec->version, version);
    rec->load_number = sh->load_number;

    return NGX_OK;
}


void
ngx_apikeys_store_write_delete(ngx_apikeys_store_t *st, uint32_t i)
{
    ngx_apikeys_store_record_t  *rec;

    rec = ngx_apikeys_store_record(st, i);

    ngx_apikeys_store_write_count(st, rec, -1);
    ngx_apikeys_atomic_store(&rec->state, NGX_APIKEYS_STORE_DELETED);
    ngx_apikeys_store_write_count(st, rec, 1);

    ngx_apikeys_store_write_unlink_key(st, i);
    ngx_apikeys_store_retire_detail(st, i);
}


void
ngx_apikeys_store_write_count(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_record_t *rec, int64_t n)
{
    ngx_apikeys_store_counts_t  *counts;

    counts = &st->head->counts;

    if (rec->state == NGX_APIKEYS_STORE_DELETED) {
        counts->tombstones += n;
        return;
    }

    if (rec->state == NGX_APIKEYS_STORE_INVALID) {
        counts->invalid += n;
        counts->stubs += (rec->flags & NGX_APIKEYS_STORE_STUB) ? n : 0;
    }

    switch (rec->kind) {

    case NGX_APIKEYS_STORE_KEY:
        counts->keys += n;

        if (rec->state == NGX_APIKEYS_STORE_LIVE) {
            st->head->lines[rec->flags
                            >> NGX_APIKEYS_STORE_LINE_SHIFT].keys += n;
        }

        break;

    case NGX_APIKEYS_STORE_ORG:
        counts->orgs += n;
        break;

    default: /* NGX_APIKEYS_STORE_PROJECT */
        counts->projects += n;
    }
}


/* number of cells of a key: record, detail, HA1s, tree; 1 for other records */

static uint32_t
ngx_apikeys_store_write_cells(const ngx_apikeys_store_key_t *key)
{
    ngx_apikeys_store_detail_t  d;

    if (key == NULL) {
        return 1;
    }

    ngx_memzero(&d, sizeof(ngx_apikeys_store_detail_t));

    ngx_apikeys_store_write_lengths(&d, key);

    return 3
           + ngx_apikeys_arena_tree_cells(ngx_apikeys_store_detail_leaves(&d));
}


/* what the leaves of the key are counted from; "d" was zeroed */

static void
ngx_apikeys_store_write_lengths(ngx_apikeys_store_detail_t *d,
    const ngx_apikeys_store_key_t *key)
{
    ngx_uint_t  n;

    for (n = 0; n < key->nentries && key->entries[n].family == 4; n++) {
        /* void */
    }

    d->nv4 = (uint16_t) n;
    d->nv6 = (uint16_t) (key->nentries - n);
    d->ngrants = (uint16_t) key->ngrants;

    if (!ngx_apikeys_objectid_zero(&key->older_id)) {
        d->flags |= NGX_APIKEYS_STORE_HAS_OLDER;
    }

    if (key->ends) {
        d->flags |= NGX_APIKEYS_STORE_HAS_ENDS;
    }
}


static uint32_t
ngx_apikeys_store_write_detail(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_key_t *key)
{
    uint32_t                     i, n;
    ngx_apikeys_store_ha1s_t    *ha1s;
    ngx_apikeys_store_detail_t  *d;

    i = ngx_apikeys_arena_alloc(&st->arena);
    d = (ngx_apikeys_store_detail_t *) &st->arena.cells[i];

    ngx_memcpy(d->plain, key->secret.plain, sizeof(d->plain));

    d->ha1s = ngx_apikeys_arena_alloc(&st->arena);

    ha1s = ngx_apikeys_store_ha1s(st, d);
    ha1s->ha1s = key->secret.ha1s;
    ha1s->secret_id = key->secret_id;

    if (ngx_memcmp(&key->secret_id, &key->id, NGX_APIKEYS_OBJECTID_LEN) != 0) {
        d->flags |= NGX_APIKEYS_STORE_HAS_SECRET_ID;
    }

    if (key->disabled) {
        d->flags |= NGX_APIKEYS_STORE_DISABLED;
    }

    d->roles = key->roles;
    d->expires = key->expires;
    d->secret_expires = key->secret_expires;

    ngx_apikeys_store_write_lengths(d, key);

    n = ngx_apikeys_store_detail_leaves(d);

    if (n) {
        d->tree = ngx_apikeys_arena_tree_create(&st->arena, n);
        d->tree_bits = (u_char) ngx_apikeys_arena_tree_bits(n);

        ngx_apikeys_store_write_entries(st, d, key->entries, 4);

        if (d->nv6) {
            ngx_apikeys_store_write_entries(st, d, key->entries + d->nv4, 6);
        }

        ngx_apikeys_store_write_grants(st, d, key->grants);

        if (d->flags & NGX_APIKEYS_STORE_HAS_OLDER) {
            ngx_apikeys_store_write_older(st, d, key);
        }

        if (d->flags & NGX_APIKEYS_STORE_HAS_ENDS) {
            ngx_apikeys_store_write_ends(st, d, key);
        }
    }

    return i;
}


/*
 * Writes the entries of one address family and, for each, the index of the
 * smallest entry that contains it (parent).  The stack has the entries that
 * contain the current one, the smallest on top.  This works because the
 * entries are sorted by address, then by prefix length: an entry follows all
 * entries that contain it, and one that does not contain it contains none
 * after it.
 */

static void
ngx_apikeys_store_write_entries(ngx_apikeys_store_t *st,
    ngx_apikeys_store_detail_t *d, const ngx_apikeys_cidr_t *entries,
    ngx_uint_t family)
{
    void                    *leaf;
    uint16_t                 stack[NGX_APIKEYS_STORE_MAX_NESTING], parent;
    uint32_t                 first;
    ngx_uint_t               i, n, per, depth;
    ngx_apikeys_store_v4_t  *v4;
    ngx_apikeys_store_v6_t  *v6;

    n = (family == 4) ? d->nv4 : d->nv6;
    per = (family == 4) ? NGX_APIKEYS_STORE_V4_LEAF
                        : NGX_APIKEYS_STORE_V6_LEAF;
    first = (family == 4) ? 0 : ngx_apikeys_store_v6_leaf(d);
    depth = 0;

    for (i = 0; i < n; i++) {

        while (depth && !ngx_apikeys_cidr_contains(&entries[stack[depth - 1]],
                                                   &entries[i]))
        {
            depth--;
        }

        parent = depth ? stack[depth - 1] : NGX_APIKEYS_STORE_NONE;

        if (depth < NGX_APIKEYS_STORE_MAX_NESTING) {
            stack[depth++] = (uint16_t) i;
        }

        leaf = ngx_apikeys_arena_tree_leaf(&st->arena, d->tree, d->tree_bits,
                                           first + i / per);

        if (family == 4) {
            v4 = (ngx_apikeys_store_v4_t *) leaf + i % per;
            ngx_memcpy(v4->addr, entries[i].addr, 4);
            v4->prefix = entries[i].prefix;
            v4->parent = parent;

        } else {
            v6 = (ngx_apikeys_store_v6_t *) leaf + i % per;
            ngx_memcpy(v6->addr, entries[i].addr, 16);
            v6->prefix = entries[i].prefix;
            v6->parent = parent;
        }
    }
}


static void
ngx_apikeys_store_write_grants(ngx_apikeys_store_t *st,
    ngx_apikeys_store_detail_t *d, const ngx_apikeys_store_grant_t *grants)
{
    uint32_t                    first;
    ngx_uint_t                  i;
    ngx_apikeys_store_grant_t  *grant;

    first = ngx_apikeys_store_grant_leaf(d);

    for (i = 0; i < d->ngrants; i++) {
        grant = ngx_apikeys_arena_tree_leaf(&st->arena, d->tree, d->tree_bits,
                                first + i / NGX_APIKEYS_STORE_GRANT_LEAF);

        grant[i % NGX_APIKEYS_STORE_GRANT_LEAF] = grants[i];
    }
}


static void
ngx_apikeys_store_write_older(ngx_apikeys_store_t *st,
    ngx_apikeys_store_detail_t *d, const ngx_apikeys_store_key_t *key)
{
    ngx_apikeys_store_ha1s_t   *ha1s;
    ngx_apikeys_store_older_t  *older;

    ngx_apikeys_store_older_leaves(st, d, &older, &ha1s);

    ngx_memcpy(older->plain, key->older.plain, sizeof(older->plain));
    older->id = key->older_id;
    older->expires = key->older_expires;

    ha1s->ha1s = key->older.ha1s;
}


static void
ngx_apikeys_store_write_ends(ngx_apikeys_store_t *st,
    ngx_apikeys_store_detail_t *d, const ngx_apikeys_store_key_t *key)
{
    uint32_t  i;

    for (i = 0; i < key->nentries; i++) {
        *ngx_apikeys_store_end(st, d, i) = key->ends[i];
    }
}
