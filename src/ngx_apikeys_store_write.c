
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Publishing and deleting, under the mutex.
 *
 * A record is complete before one store links it into the chain of its id,
 * which is the commit; the chain of its public key follows.  A writer that
 * is killed in between leaves the old record under the public key until the
 * next writer's repair, and nobody was told that the change is here.
 *
 * Nothing that was refused memory is served in its old form: a stub takes its
 * place (see ngx_apikeys_store_room.c).  Where not even that fits, the old
 * record becomes invalid, and where there is none the version is kept in
 * "failed", below which nothing is taken for an object that is not here.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


/* entries around an entry: one of each prefix, and a bit of room */
#define NGX_APIKEYS_STORE_MAX_NESTING  130


static ngx_int_t ngx_apikeys_store_write_publish(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *draft, const ngx_apikeys_store_key_t *key,
    uint32_t load);
static ngx_uint_t ngx_apikeys_store_write_same(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_record_t *rec,
    const ngx_apikeys_store_record_t *draft);
static void ngx_apikeys_store_write_line(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec, const ngx_apikeys_store_record_t *draft);
static ngx_uint_t ngx_apikeys_store_write_yields(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_record_t *rec, uint64_t version, uint32_t load);
static ngx_uint_t ngx_apikeys_store_write_stub(ngx_apikeys_store_t *st,
    uint32_t i, const ngx_apikeys_store_record_t *draft);
static uint32_t ngx_apikeys_store_write_claim(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *draft, uint32_t old, uint32_t load);
static void ngx_apikeys_store_write_link(ngx_apikeys_store_t *st,
    uint32_t *link, uint32_t i);
static uint32_t *ngx_apikeys_store_write_find_key(ngx_apikeys_store_t *st,
    uint32_t i);
static void ngx_apikeys_store_write_invalidate(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec);
static uint32_t ngx_apikeys_store_write_cells(
    const ngx_apikeys_store_key_t *key);
static ngx_uint_t ngx_apikeys_store_write_nv4(
    const ngx_apikeys_store_key_t *key);
static uint32_t ngx_apikeys_store_write_body(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_key_t *key);
static void ngx_apikeys_store_write_entries(ngx_apikeys_store_t *st,
    ngx_apikeys_store_body_t *b, const ngx_apikeys_cidr_t *entries,
    ngx_uint_t family);
static void ngx_apikeys_store_write_grants(ngx_apikeys_store_t *st,
    ngx_apikeys_store_body_t *b, const ngx_apikeys_store_grant_t *grants);


ngx_int_t
ngx_apikeys_store_publish_key_locked(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_key_t *key, uint32_t load)
{
    ngx_int_t                   place;
    ngx_apikeys_store_record_t  draft;

    ngx_memzero(&draft, sizeof(ngx_apikeys_store_record_t));

    draft.kind = NGX_APIKEYS_STORE_KEY;
    draft.state = NGX_APIKEYS_STORE_LIVE;
    draft.id = key->id;
    draft.org = key->org;
    draft.version = key->version;

    ngx_memcpy(draft.public_key, key->public_key,
               NGX_APIKEYS_PUBLIC_KEY_LEN);

    if (key->stub) {
        draft.flags = NGX_APIKEYS_STORE_STUB;
    }

    place = ngx_apikeys_store_lines_place(st, key->line);

    if (key->unreadable
        || key->stub
        || key->nentries > NGX_APIKEYS_STORE_MAX_ENTRIES
        || key->ngrants > NGX_APIKEYS_STORE_MAX_GRANTS
        || place == NGX_DECLINED)
    {
        draft.state = NGX_APIKEYS_STORE_INVALID;
        key = NULL;

    } else {
        draft.flags |= (u_char) (place << NGX_APIKEYS_STORE_LINE_SHIFT);
    }

    return ngx_apikeys_store_write_publish(st, &draft, key, load);
}


ngx_int_t
ngx_apikeys_store_publish_org_locked(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_org_t *org, uint32_t load)
{
    ngx_apikeys_store_record_t  draft;

    ngx_memzero(&draft, sizeof(ngx_apikeys_store_record_t));

    draft.kind = NGX_APIKEYS_STORE_ORG;
    draft.state = NGX_APIKEYS_STORE_LIVE;
    draft.id = org->id;
    draft.version = org->version;
    draft.flags = org->access_list_required ? NGX_APIKEYS_STORE_LIST_REQUIRED
                                            : 0;

    return ngx_apikeys_store_write_publish(st, &draft, NULL, load);
}


ngx_int_t
ngx_apikeys_store_publish_project_locked(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_project_t *project, uint32_t load)
{
    ngx_apikeys_store_record_t  draft;

    ngx_memzero(&draft, sizeof(ngx_apikeys_store_record_t));

    draft.kind = NGX_APIKEYS_STORE_PROJECT;
    draft.state = NGX_APIKEYS_STORE_LIVE;
    draft.id = project->id;
    draft.org = project->org;
    draft.version = project->version;

    return ngx_apikeys_store_write_publish(st, &draft, NULL, load);
}


static ngx_int_t
ngx_apikeys_store_write_publish(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *draft, const ngx_apikeys_store_key_t *key,
    uint32_t load)
{
    uint32_t                     i, cells, *link;
    ngx_int_t                    rc;
    ngx_apikeys_store_head_t    *sh;
    ngx_apikeys_store_record_t  *old;

    sh = st->head;

    if (load && (load != sh->load || !sh->loading)) {
        return NGX_DECLINED;
    }

    cells = ngx_apikeys_store_write_cells(key);

    link = ngx_apikeys_store_write_find(st, draft->kind, &draft->id);
    i = *link;
    old = i ? ngx_apikeys_store_record(st, i) : NULL;

    if (old) {
        if (load && ngx_apikeys_store_write_same(st, old, draft)) {
            ngx_apikeys_store_write_line(st, old, draft);
            old->load = load;
            sh->load_cells += cells;
            ngx_apikeys_store_room_kept(st, cells);
            return NGX_OK;
        }

        if (!ngx_apikeys_store_write_yields(st, old, draft->version, load)) {
            return NGX_DECLINED;
        }
    }

    if ((old == NULL || old->state == NGX_APIKEYS_STORE_DELETED)
        && load == 0 && draft->version < sh->failed)
    {
        /* what was lost may have been its removal */
        return NGX_ERROR;
    }

    if (key) {
        rc = ngx_apikeys_store_room(st, old, cells);

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        sh->load_cells += load ? cells : 0;

        if (rc == NGX_DECLINED) {
            ngx_apikeys_store_room_refused(st, &draft->id, cells);

            if (old && ngx_apikeys_store_write_stub(st, i, draft)) {
                return NGX_OK;
            }

            draft->state = NGX_APIKEYS_STORE_INVALID;
            draft->flags |= NGX_APIKEYS_STORE_STUB;
            key = NULL;
        }
    }

    if (key == NULL && ngx_apikeys_store_retire_reserve(st, 1) != NGX_OK) {
        return ngx_apikeys_store_write_full(st, old, draft->version);
    }

    draft->load = sh->load;
    draft->body = key ? ngx_apikeys_store_write_body(st, key) : 0;

    ngx_apikeys_store_room_kept(st, key ? cells : 1);

    ngx_apikeys_store_write_insert(st, link, draft, load);

    return NGX_OK;
}


/* a cell for the record is free, its body is made */

void
ngx_apikeys_store_write_insert(ngx_apikeys_store_t *st, uint32_t *link,
    ngx_apikeys_store_record_t *draft, uint32_t load)
{
    uint32_t  i, rival;

    rival = 0;

    if (draft->kind == NGX_APIKEYS_STORE_KEY
        && draft->state != NGX_APIKEYS_STORE_DELETED
        && !(draft->flags & NGX_APIKEYS_STORE_DETACHED))
    {
        rival = ngx_apikeys_store_write_claim(st, draft, *link, load);
    }

    i = ngx_apikeys_arena_alloc(&st->arena);
    *ngx_apikeys_store_record(st, i) = *draft;

    ngx_apikeys_store_write_link(st, link, i);

    if (draft->flags & NGX_APIKEYS_STORE_STUB) {
        ngx_apikeys_store_room_name(st, &draft->id);
    }

    if (rival) {
        ngx_apikeys_store_record(st, rival)->flags |=
                                                 NGX_APIKEYS_STORE_DETACHED;
        ngx_apikeys_store_write_unlink_key(st, rival);
    }
}


/*
 * A load need not copy what is here already.  A key of the same version that
 * cannot be read now could be read with a line that is missing by now: it
 * stays, and is not decided while the line is missing.
 */

static ngx_uint_t
ngx_apikeys_store_write_same(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_record_t *rec,
    const ngx_apikeys_store_record_t *draft)
{
    return rec->state == NGX_APIKEYS_STORE_LIVE
           && (draft->state == NGX_APIKEYS_STORE_LIVE
               || ngx_apikeys_store_read_missing(st, rec))
           && rec->version == draft->version
           && rec->load >= st->head->epoch_load;
}


/* the same key may have been sealed anew, by another line */

static void
ngx_apikeys_store_write_line(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec, const ngx_apikeys_store_record_t *draft)
{
    if (rec->kind != NGX_APIKEYS_STORE_KEY
        || draft->state != NGX_APIKEYS_STORE_LIVE)
    {
        return;
    }

    ngx_apikeys_store_write_count(st, rec, -1);

    ngx_apikeys_store_set(&rec->flags,
                          (u_char) (draft->flags
                                    | (rec->flags
                                       & NGX_APIKEYS_STORE_DETACHED)));

    ngx_apikeys_store_write_count(st, rec, 1);
}


/*
 * Whether a record gives way to a publication.  Versions of another database
 * say nothing, nor does one that the load's snapshot is later than.
 */

static ngx_uint_t
ngx_apikeys_store_write_yields(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_record_t *rec, uint64_t version, uint32_t load)
{
    if (rec->load < st->head->epoch_load || (load && rec->load != load)) {
        return 1;
    }

    if (rec->state == NGX_APIKEYS_STORE_INVALID) {

        /* the same version may have failed for want of space */

        return version >= rec->version;
    }

    return version > rec->version;
}


/*
 * A record that is there becomes a stub without memory.  Killed at it, a
 * writer leaves a record that is invalid, and a change to be read again.
 */

static ngx_uint_t
ngx_apikeys_store_write_stub(ngx_apikeys_store_t *st, uint32_t i,
    const ngx_apikeys_store_record_t *draft)
{
    ngx_apikeys_store_record_t  *rec;

    rec = ngx_apikeys_store_record(st, i);

    if (rec->state == NGX_APIKEYS_STORE_DELETED
        || (rec->flags & NGX_APIKEYS_STORE_DETACHED)
        || ngx_memcmp(rec->public_key, draft->public_key,
                      NGX_APIKEYS_PUBLIC_KEY_LEN)
           != 0)
    {
        return 0;
    }

    ngx_apikeys_store_write_count(st, rec, -1);
    ngx_apikeys_store_set(&rec->state, NGX_APIKEYS_STORE_INVALID);
    rec->flags |= NGX_APIKEYS_STORE_STUB;
    ngx_apikeys_store_write_count(st, rec, 1);

    ngx_apikeys_store_set(&rec->version, draft->version);
    rec->load = st->head->load;

    if (rec->pending == NGX_APIKEYS_STORE_KEPT) {
        ngx_apikeys_store_retire_body(st, i);
    }

    ngx_apikeys_store_room_name(st, &rec->id);

    return 1;
}


ngx_int_t
ngx_apikeys_store_write_full(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *old, uint64_t version)
{
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    /* first: a killed writer leaves no complete copy that refuses versions */

    ngx_apikeys_store_set(&sh->complete, 0);

    if (old && old->state != NGX_APIKEYS_STORE_DELETED) {
        ngx_apikeys_store_write_invalidate(st, old);
        ngx_apikeys_store_set(&old->version, version);
        old->load = sh->load;

    } else if (version > sh->failed) {
        sh->failed = version;
    }

    sh->load_failed = 1;
    sh->load_failures++;

    st->full = 1;

    return NGX_ERROR;
}


static void
ngx_apikeys_store_write_invalidate(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec)
{
    ngx_apikeys_store_write_count(st, rec, -1);
    ngx_apikeys_store_set(&rec->state, NGX_APIKEYS_STORE_INVALID);
    ngx_apikeys_store_write_count(st, rec, 1);
}


/*
 * A public key is one key's at any moment of the database, but changes may
 * come here in another order than they were made.  The newer version has
 * it; the other one is set aside until its own change comes.  Returns the
 * record that must leave the chain once the new one is in it.
 */

static uint32_t
ngx_apikeys_store_write_claim(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *draft, uint32_t old, uint32_t load)
{
    uint32_t                     i;
    ngx_apikeys_store_record_t  *rec;

    i = *ngx_apikeys_store_key_bucket(st, draft->public_key);

    for ( /* void */ ; i; i = rec->next_key) {

        rec = ngx_apikeys_store_record(st, i);

        if (i != old
            && ngx_memcmp(rec->public_key, draft->public_key,
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

    if (!ngx_apikeys_store_write_yields(st, rec, draft->version, load)) {
        draft->state = NGX_APIKEYS_STORE_INVALID;
        draft->flags |= NGX_APIKEYS_STORE_DETACHED;
        return 0;
    }

    /* it leaves the chain last: until then the name is not unknown */

    ngx_apikeys_store_write_invalidate(st, rec);

    return i;
}


/* link names the old record, or is the end of the chain */

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
    ngx_apikeys_store_set(link, i);

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

        ngx_apikeys_store_set(name, i);
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


/* the link that names a record in the chain of its public key, or NULL */

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
        ngx_apikeys_store_set(link, ngx_apikeys_store_record(st, i)->next_key);
    }
}


ngx_int_t
ngx_apikeys_store_delete_locked(ngx_apikeys_store_t *st,
    ngx_apikeys_store_kind_e kind, const ngx_apikeys_objectid_t *id,
    uint64_t version)
{
    uint32_t                     i, *link;
    ngx_apikeys_store_head_t    *sh;
    ngx_apikeys_store_record_t  *rec, draft;

    sh = st->head;
    link = ngx_apikeys_store_write_find(st, kind, id);
    i = *link;

    if (i == 0) {

        /* older versions may still be on the way */

        if (ngx_apikeys_store_retire_reserve(st, 1) != NGX_OK) {
            return ngx_apikeys_store_write_full(st, NULL, version + 1);
        }

        ngx_memzero(&draft, sizeof(ngx_apikeys_store_record_t));

        draft.kind = (u_char) kind;
        draft.state = NGX_APIKEYS_STORE_DELETED;
        draft.id = *id;
        draft.version = version;
        draft.load = sh->load;

        ngx_apikeys_store_write_insert(st, link, &draft, 0);

        return NGX_OK;
    }

    rec = ngx_apikeys_store_record(st, i);

    if (rec->load >= sh->epoch_load && rec->version > version) {
        return NGX_DECLINED;
    }

    if (rec->state != NGX_APIKEYS_STORE_DELETED) {
        ngx_apikeys_store_write_delete(st, i);
    }

    ngx_apikeys_store_set(&rec->version, version);
    rec->load = sh->load;

    return NGX_OK;
}


void
ngx_apikeys_store_write_delete(ngx_apikeys_store_t *st, uint32_t i)
{
    ngx_apikeys_store_record_t  *rec;

    rec = ngx_apikeys_store_record(st, i);

    ngx_apikeys_store_write_count(st, rec, -1);
    ngx_apikeys_store_set(&rec->state, NGX_APIKEYS_STORE_DELETED);
    ngx_apikeys_store_write_count(st, rec, 1);

    ngx_apikeys_store_write_unlink_key(st, i);
    ngx_apikeys_store_retire_body(st, i);
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


/* cells of a record and what is below it */

static uint32_t
ngx_apikeys_store_write_cells(const ngx_apikeys_store_key_t *key)
{
    ngx_uint_t                nv4;
    ngx_apikeys_store_body_t  b;

    if (key == NULL) {
        return 1;
    }

    nv4 = ngx_apikeys_store_write_nv4(key);

    b.nv4 = (uint16_t) nv4;
    b.nv6 = (uint16_t) (key->nentries - nv4);
    b.ngrants = (uint16_t) key->ngrants;

    return 2 + ngx_apikeys_arena_list_cells(ngx_apikeys_store_body_leaves(&b));
}


static ngx_uint_t
ngx_apikeys_store_write_nv4(const ngx_apikeys_store_key_t *key)
{
    ngx_uint_t  n;

    for (n = 0; n < key->nentries && key->entries[n].family == 4; n++) {
        /* void */
    }

    return n;
}


static uint32_t
ngx_apikeys_store_write_body(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_key_t *key)
{
    uint32_t                   i, n;
    ngx_uint_t                 nv4;
    ngx_apikeys_store_body_t  *b;

    i = ngx_apikeys_arena_alloc(&st->arena);
    b = (ngx_apikeys_store_body_t *) &st->arena.cells[i];

    nv4 = ngx_apikeys_store_write_nv4(key);

    b->secret = key->secret;
    b->roles = key->roles;
    b->nv4 = (uint16_t) nv4;
    b->nv6 = (uint16_t) (key->nentries - nv4);
    b->ngrants = (uint16_t) key->ngrants;

    n = ngx_apikeys_store_body_leaves(b);

    if (n) {
        b->list = ngx_apikeys_arena_list_create(&st->arena, n);
        b->bits = (uint16_t) ngx_apikeys_arena_list_bits(n);

        ngx_apikeys_store_write_entries(st, b, key->entries, 4);

        if (b->nv6) {
            ngx_apikeys_store_write_entries(st, b, key->entries + nv4, 6);
        }

        ngx_apikeys_store_write_grants(st, b, key->grants);
    }

    return i;
}


/*
 * Entries of one family.  The stack holds those around the one in turn, the
 * smallest on top: in their order an entry comes after all that hold it, and
 * one that does not hold it holds none that follow.
 */

static void
ngx_apikeys_store_write_entries(ngx_apikeys_store_t *st,
    ngx_apikeys_store_body_t *b, const ngx_apikeys_cidr_t *entries,
    ngx_uint_t family)
{
    void                    *leaf;
    uint16_t                 stack[NGX_APIKEYS_STORE_MAX_NESTING], parent;
    uint32_t                 first;
    ngx_uint_t               i, n, per, depth;
    ngx_apikeys_store_v4_t  *v4;
    ngx_apikeys_store_v6_t  *v6;

    n = (family == 4) ? b->nv4 : b->nv6;
    per = (family == 4) ? NGX_APIKEYS_STORE_V4_LEAF
                        : NGX_APIKEYS_STORE_V6_LEAF;
    first = (family == 4) ? 0 : ngx_apikeys_store_v6_leaf(b);
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

        leaf = ngx_apikeys_arena_list_leaf(&st->arena, b->list, b->bits,
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
    ngx_apikeys_store_body_t *b, const ngx_apikeys_store_grant_t *grants)
{
    uint32_t                    first;
    ngx_uint_t                  i;
    ngx_apikeys_store_grant_t  *grant;

    first = ngx_apikeys_store_grant_leaf(b);

    for (i = 0; i < b->ngrants; i++) {
        grant = ngx_apikeys_arena_list_leaf(&st->arena, b->list, b->bits,
                                first + i / NGX_APIKEYS_STORE_GRANT_LEAF);

        grant[i % NGX_APIKEYS_STORE_GRANT_LEAF] = grants[i];
    }
}
