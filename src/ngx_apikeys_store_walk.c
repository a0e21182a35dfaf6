
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A walk over the whole local copy, for a copy of it that is kept elsewhere.
 *
 * It goes bucket by bucket, each in a read section of its own, while others
 * publish.  So what it gives is of no one moment; but whoever reads the
 * cursor first has in it the point from which the feed brings what the walk
 * missed.  A load that begins meanwhile breaks that: the walk is then over.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


static ngx_int_t ngx_apikeys_store_walk_record(ngx_apikeys_store_t *st,
    ngx_apikeys_store_walk_t *walk, ngx_apikeys_store_record_t *rec);
static ngx_int_t ngx_apikeys_store_walk_key(ngx_apikeys_store_t *st,
    ngx_apikeys_store_walk_t *walk, ngx_apikeys_store_record_t *rec,
    ngx_apikeys_store_key_t *key);
static void ngx_apikeys_store_walk_grants(ngx_apikeys_store_t *st,
    ngx_apikeys_store_body_t *b, ngx_apikeys_store_grant_t *grants);
static void ngx_apikeys_store_walk_entries(ngx_apikeys_store_t *st,
    ngx_apikeys_store_body_t *b, ngx_apikeys_cidr_t *entries);


ngx_int_t
ngx_apikeys_store_walk_begin(ngx_apikeys_store_t *st,
    ngx_apikeys_store_walk_t *walk)
{
    walk->load = ngx_apikeys_store_load(&st->head->load);
    walk->bucket = 0;

    return ngx_apikeys_store_walk_valid(st, walk) ? NGX_OK : NGX_DECLINED;
}


ngx_uint_t
ngx_apikeys_store_walk_valid(ngx_apikeys_store_t *st,
    ngx_apikeys_store_walk_t *walk)
{
    ngx_apikeys_store_head_t  *sh;

    sh = st->head;

    return ngx_apikeys_store_load(&sh->complete)
           && !ngx_apikeys_store_load(&sh->loading)
           && ngx_apikeys_store_load(&sh->load) == walk->load;
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

    ngx_apikeys_store_enter(st);

    i = ngx_apikeys_store_load(&st->ids[walk->bucket]);

    while (i && rc == NGX_OK) {
        rec = ngx_apikeys_store_record(st, i);
        rc = ngx_apikeys_store_walk_record(st, walk, rec);
        i = ngx_apikeys_store_load(&rec->next_id);
    }

    ngx_apikeys_store_leave(st);

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
        object.u.org.version = ngx_apikeys_store_load(&rec->version);
        object.u.org.access_list_required =
                              rec->flags & NGX_APIKEYS_STORE_LIST_REQUIRED;
        rc = NGX_OK;
        break;

    default: /* NGX_APIKEYS_STORE_PROJECT */
        object.u.project.id = rec->id;
        object.u.project.org = rec->org;
        object.u.project.version = ngx_apikeys_store_load(&rec->version);
        rc = NGX_OK;
    }

    /* after all the rest was read: a deletion does not change that */

    if (rc == NGX_OK
        && ngx_apikeys_store_load(&rec->state) != NGX_APIKEYS_STORE_DELETED)
    {
        rc = walk->handler(walk->data, &object);
    }

    ngx_explicit_memzero(&object, sizeof(ngx_apikeys_store_object_t));

    return (rc == NGX_DECLINED) ? NGX_OK : rc;
}


/*
 * NGX_DECLINED: not to be copied.  Another key has taken the public key of a
 * detached one, whose own change is still to come by the feed.
 */

static ngx_int_t
ngx_apikeys_store_walk_key(ngx_apikeys_store_t *st,
    ngx_apikeys_store_walk_t *walk, ngx_apikeys_store_record_t *rec,
    ngx_apikeys_store_key_t *key)
{
    uint32_t                   body;
    ngx_uint_t                 state;
    ngx_apikeys_store_body_t  *b;

    /* before the state, which writers change first */

    key->version = ngx_apikeys_store_load(&rec->version);

    state = ngx_apikeys_store_load(&rec->state);
    body = ngx_apikeys_store_load(&rec->body);

    if (state == NGX_APIKEYS_STORE_DELETED
        || (rec->flags & NGX_APIKEYS_STORE_DETACHED))
    {
        return NGX_DECLINED;
    }

    key->id = rec->id;
    key->org = rec->org;

    ngx_memcpy(key->public_key, rec->public_key, NGX_APIKEYS_PUBLIC_KEY_LEN);

    if (state != NGX_APIKEYS_STORE_LIVE || body == 0) {
        key->unreadable = 1;
        key->stub = (rec->flags & NGX_APIKEYS_STORE_STUB) ? 1 : 0;
        return NGX_OK;
    }

    b = (ngx_apikeys_store_body_t *) &st->arena.cells[body];

    ngx_memcpy(key->line,
               st->head->lines[rec->flags
                               >> NGX_APIKEYS_STORE_LINE_SHIFT].line,
               NGX_APIKEYS_SEAL_LINE_LEN);

    key->secret = b->secret;
    key->roles = b->roles;
    key->ngrants = b->ngrants;
    key->nentries = (ngx_uint_t) b->nv4 + b->nv6;

    if (key->ngrants) {
        key->grants = ngx_palloc(walk->pool, key->ngrants
                                         * sizeof(ngx_apikeys_store_grant_t));
        if (key->grants == NULL) {
            return NGX_ERROR;
        }

        ngx_apikeys_store_walk_grants(st, b, key->grants);
    }

    if (key->nentries) {
        key->entries = ngx_pcalloc(walk->pool, key->nentries
                                               * sizeof(ngx_apikeys_cidr_t));
        if (key->entries == NULL) {
            return NGX_ERROR;
        }

        ngx_apikeys_store_walk_entries(st, b, key->entries);
    }

    return NGX_OK;
}


static void
ngx_apikeys_store_walk_grants(ngx_apikeys_store_t *st,
    ngx_apikeys_store_body_t *b, ngx_apikeys_store_grant_t *grants)
{
    uint32_t                    first;
    ngx_uint_t                  i;
    ngx_apikeys_store_grant_t  *leaf;

    first = ngx_apikeys_store_grant_leaf(b);

    for (i = 0; i < b->ngrants; i++) {
        leaf = ngx_apikeys_arena_list_leaf(&st->arena, b->list, b->bits,
                                  first + i / NGX_APIKEYS_STORE_GRANT_LEAF);

        grants[i] = leaf[i % NGX_APIKEYS_STORE_GRANT_LEAF];
    }
}


/* in the order in which they were published: IPv4 first */

static void
ngx_apikeys_store_walk_entries(ngx_apikeys_store_t *st,
    ngx_apikeys_store_body_t *b, ngx_apikeys_cidr_t *entries)
{
    uint32_t                 first;
    ngx_uint_t               i;
    ngx_apikeys_store_v4_t  *v4;
    ngx_apikeys_store_v6_t  *v6;

    for (i = 0; i < b->nv4; i++) {
        v4 = ngx_apikeys_arena_list_leaf(&st->arena, b->list, b->bits,
                                         i / NGX_APIKEYS_STORE_V4_LEAF);
        v4 += i % NGX_APIKEYS_STORE_V4_LEAF;

        entries->family = 4;
        entries->prefix = (u_char) v4->prefix;
        ngx_memcpy(entries->addr, v4->addr, 4);
        entries++;
    }

    first = ngx_apikeys_store_v6_leaf(b);

    for (i = 0; i < b->nv6; i++) {
        v6 = ngx_apikeys_arena_list_leaf(&st->arena, b->list, b->bits,
                                     first + i / NGX_APIKEYS_STORE_V6_LEAF);
        v6 += i % NGX_APIKEYS_STORE_V6_LEAF;

        entries->family = 6;
        entries->prefix = (u_char) v6->prefix;
        ngx_memcpy(entries->addr, v6->addr, 16);
        entries++;
    }
}
