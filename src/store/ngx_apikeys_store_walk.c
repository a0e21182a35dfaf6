
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A walk over the whole local copy, for the snapshot file.
 *
 * It goes bucket by bucket, each in a read section of its own, while other
 * processes publish.  The result is not of a single moment, so the caller
 * reads the cursor first: changes that the walk misses follow that cursor in
 * the feed.  This does not hold if a load begins meanwhile: the walk is then
 * invalid.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


/* walk_key() sets them all */
ngx_apikeys_store_key_members(21);


static ngx_int_t ngx_apikeys_store_walk_record(ngx_apikeys_store_t *st,
    ngx_apikeys_store_walk_t *walk, ngx_apikeys_store_record_t *rec);
static ngx_int_t ngx_apikeys_store_walk_key(ngx_apikeys_store_t *st,
    ngx_apikeys_store_walk_t *walk, ngx_apikeys_store_record_t *rec,
    ngx_apikeys_store_key_t *key);
static void ngx_apikeys_store_walk_ends(ngx_apikeys_store_t *st,
    ngx_apikeys_store_detail_t *d, uint32_t *ends);
static void ngx_apikeys_store_walk_older(ngx_apikeys_store_t *st,
    ngx_apikeys_store_detail_t *d, ngx_apikeys_store_key_t *key);
static void ngx_apikeys_store_walk_grants(ngx_apikeys_store_t *st,
    ngx_apikeys_store_detail_t *d, ngx_apikeys_store_grant_t *grants);
static void ngx_apikeys_store_walk_entries(ngx_apikeys_store_t *st,
    ngx_apikeys_store_detail_t *d, ngx_apikeys_cidr_t *entries);


ngx_int_t
ngx_apikeys_store_walk_begin(ngx_apikeys_store_t *st,
    ngx_apikeys_store_walk_t *walk)
{
    walk->load = ngx_apikeys_atomic_load(&st->head->load_number);
    walk->bucket = 0;

    return ngx_apikeys_store_walk_valid(st, walk) ? NGX_OK : NGX_DECLINED;
}


ngx_uint_t
ngx_apikeys_store_walk_valid(ngx_apikeys_store_t *st,
    ngx_apikeys_store_walk_t *walk)
{
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    return ngx_apikeys_atomic_load(&sh->complete)
           && !ngx_apikeys_atomic_load(&sh->loading)
           && ngx_apikeys_atomic_load(&sh->load_number) == walk->load;
}


ngx_int_t
ngx_apikeys_store_walk_next(ngx_apikeys_store_t *st,
    ngx_apikeys_store_walk_t *walk)
{
    uint32_t                     i;
    ngx_int_t                    rc;
    ngx_apikeys_store_record_t  *rec;

    if (walk->bucket == st->head->nids) {
        return NGX_DONE;
    }

    rc = NGX_OK;

    ngx_apikeys_store_read_begin(st);

    i = ngx_apikeys_atomic_load(&st->ids[walk->bucket]);

    while (i && rc == NGX_OK) {
        rec = ngx_apikeys_store_record(st, i);
        rc = ngx_apikeys_store_walk_record(st, walk, rec);
        i = ngx_apikeys_atomic_load(&rec->next_id);
    }

    ngx_apikeys_store_read_end(st);

    walk->bucket++;

    return rc;
}


static ngx_int_t
ngx_apikeys_store_walk_record(ngx_apikeys_store_t *st,
    ngx_apikeys_store_walk_t *walk, ngx_apikeys_store_record_t *rec)
{
    ngx_int_t                    rc;
    ngx_apikeys_store_object_t   object;

    ngx_memzero(&object, sizeof(ngx_apikeys_store_object_t));

    object.kind = rec->kind;

    switch (rec->kind) {

    case NGX_APIKEYS_STORE_KEY:
        rc = ngx_apikeys_store_walk_key(st, walk, rec, &object.u.key);
        break;

    case NGX_APIKEYS_STORE_ORG:
        object.u.org.id = rec->id;
        object.u.org.version = ngx_apikeys_atomic_load(&rec->version);
        object.u.org.access_list_required =
                              rec->flags & NGX_APIKEYS_STORE_LIST_REQUIRED;
        rc = NGX_OK;
        break;

    default: /* NGX_APIKEYS_STORE_PROJECT */
        object.u.project.id = rec->id;
        object.u.project.org = rec->org;
        object.u.project.version = ngx_apikeys_atomic_load(&rec->version);
        rc = NGX_OK;
    }

    /*
     * Check the state last: a deletion after this point follows the cursor in
     * the feed, and does not change the fields read above.
     */

    if (rc == NGX_OK
        && ngx_apikeys_atomic_load(&rec->state) != NGX_APIKEYS_STORE_DELETED)
    {
        rc = walk->handler(walk->data, &object);
    }

    ngx_explicit_memzero(&object, sizeof(ngx_apikeys_store_object_t));

    return (rc == NGX_DECLINED) ? NGX_OK : rc;
}


/*
 * NGX_DECLINED: not to be copied, as the key is deleted, or detached: another
 * key has its public key, and its own change will come with the feed.
 */

static ngx_int_t
ngx_apikeys_store_walk_key(ngx_apikeys_store_t *st,
    ngx_apikeys_store_walk_t *walk, ngx_apikeys_store_record_t *rec,
    ngx_apikeys_store_key_t *key)
{
    uint32_t                     detail;
    ngx_uint_t                   state;
    ngx_apikeys_store_detail_t  *d;

    /* before the state, which writers change before the version */

    key->version = ngx_apikeys_atomic_load(&rec->version);

    state = ngx_apikeys_atomic_load(&rec->state);
    detail = ngx_apikeys_atomic_load(&rec->detail);

    if (state == NGX_APIKEYS_STORE_DELETED
        || (rec->flags & NGX_APIKEYS_STORE_DETACHED))
    {
        return NGX_DECLINED;
    }

    key->id = rec->id;
    key->org = rec->org;

    ngx_memcpy(key->public_key, rec->public_key, NGX_APIKEYS_PUBLIC_KEY_LEN);

    if (state != NGX_APIKEYS_STORE_LIVE || detail == 0) {
        key->unreadable = 1;
        key->stub = (rec->flags & NGX_APIKEYS_STORE_STUB) ? 1 : 0;
        return NGX_OK;
    }

    d = (ngx_apikeys_store_detail_t *) &st->arena.cells[detail];

    ngx_memcpy(key->line,
               st->head->lines[rec->flags
                               >> NGX_APIKEYS_STORE_LINE_SHIFT].line,
               NGX_APIKEYS_SEAL_LINE_LEN);

    ngx_memcpy(key->secret.plain, d->plain, sizeof(d->plain));
    key->secret.ha1s = ngx_apikeys_store_ha1s(st, d)->ha1s;
    key->secret_id = ngx_apikeys_store_ha1s(st, d)->secret_id;
    key->secret_expires = d->secret_expires;

    if (d->flags & NGX_APIKEYS_STORE_HAS_OLDER) {
        ngx_apikeys_store_walk_older(st, d, key);
    }

    key->roles = d->roles;
    key->expires = d->expires;
    key->disabled = (d->flags & NGX_APIKEYS_STORE_DISABLED) ? 1 : 0;
    key->ngrants = d->ngrants;
    key->nentries = (ngx_uint_t) d->nv4 + d->nv6;

    if (key->ngrants) {
        key->grants = ngx_palloc(walk->pool, key->ngrants
                                         * sizeof(ngx_apikeys_store_grant_t));
        if (key->grants == NULL) {
            return NGX_ERROR;
        }

        ngx_apikeys_store_walk_grants(st, d, key->grants);
    }

    if (key->nentries) {
        key->entries = ngx_pcalloc(walk->pool, key->nentries
                                               * sizeof(ngx_apikeys_cidr_t));
        if (key->entries == NULL) {
            return NGX_ERROR;
        }

        ngx_apikeys_store_walk_entries(st, d, key->entries);
    }

    if (d->flags & NGX_APIKEYS_STORE_HAS_ENDS) {
        key->ends = ngx_palloc(walk->pool, key->nentries * sizeof(uint32_t));
        if (key->ends == NULL) {
            return NGX_ERROR;
        }

        ngx_apikeys_store_walk_ends(st, d, key->ends);
    }

    return NGX_OK;
}


static void
ngx_apikeys_store_walk_ends(ngx_apikeys_store_t *st,
    ngx_apikeys_store_detail_t *d, uint32_t *ends)
{
    uint32_t  i;

    for (i = 0; i < (uint32_t) d->nv4 + d->nv6; i++) {
        ends[i] = *ngx_apikeys_store_end(st, d, i);
    }
}


static void
ngx_apikeys_store_walk_older(ngx_apikeys_store_t *st,
    ngx_apikeys_store_detail_t *d, ngx_apikeys_store_key_t *key)
{
    ngx_apikeys_store_ha1s_t   *ha1s;
    ngx_apikeys_store_older_t  *older;

    ngx_apikeys_store_older_leaves(st, d, &older, &ha1s);

    ngx_memcpy(key->older.plain, older->plain, sizeof(older->plain));
    key->older.ha1s = ha1s->ha1s;
    key->older_id = older->id;
    key->older_expires = older->expires;
}


static void
ngx_apikeys_store_walk_grants(ngx_apikeys_store_t *st,
    ngx_apikeys_store_detail_t *d, ngx_apikeys_store_grant_t *grants)
{
    uint32_t                    first;
    ngx_uint_t                  i;
    ngx_apikeys_store_grant_t  *leaf;

    first = ngx_apikeys_store_grant_leaf(d);

    for (i = 0; i < d->ngrants; i++) {
        leaf = ngx_apikeys_arena_tree_leaf(&st->arena, d->tree, d->tree_bits,
                                  first + i / NGX_APIKEYS_STORE_GRANT_LEAF);

        grants[i] = leaf[i % NGX_APIKEYS_STORE_GRANT_LEAF];
    }
}


/* in the order of publication: IPv4 first */

static void
ngx_apikeys_store_walk_entries(ngx_apikeys_store_t *st,
    ngx_apikeys_store_detail_t *d, ngx_apikeys_cidr_t *entries)
{
    uint32_t                 first;
    ngx_uint_t               i;
    ngx_apikeys_store_v4_t  *v4;
    ngx_apikeys_store_v6_t  *v6;

    for (i = 0; i < d->nv4; i++) {
        v4 = ngx_apikeys_arena_tree_leaf(&st->arena, d->tree, d->tree_bits,
                                         i / NGX_APIKEYS_STORE_V4_LEAF);
        v4 += i % NGX_APIKEYS_STORE_V4_LEAF;

        entries->family = 4;
        entries->prefix = (u_char) v4->prefix;
        ngx_memcpy(entries->addr, v4->addr, 4);
        entries++;
    }

    first = ngx_apikeys_store_v6_leaf(d);

    for (i = 0; i < d->nv6; i++) {
        v6 = ngx_apikeys_arena_tree_leaf(&st->arena, d->tree, d->tree_bits,
                                     first + i / NGX_APIKEYS_STORE_V6_LEAF);
        v6 += i % NGX_APIKEYS_STORE_V6_LEAF;

        entries->family = 6;
        entries->prefix = (u_char) v6->prefix;
        ngx_memcpy(entries->addr, v6->addr, 16);
        entries++;
    }
}
