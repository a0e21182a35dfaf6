
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Readers of the replica.  No lock, no allocation, no system call: between
 * enter and leave nothing that a reader can reach is freed (the slot holds
 * the epoch), and whatever a killed writer left is a chain that ends.
 *
 * A slot is written by its process alone; a writer may clear that of a dead
 * one.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


static ngx_int_t ngx_apikeys_store_read_miss(ngx_apikeys_store_t *st);
static ngx_int_t ngx_apikeys_store_read_id(ngx_apikeys_store_t *st,
    ngx_apikeys_store_kind_e kind, const ngx_apikeys_objectid_t *id,
    ngx_apikeys_store_record_t **record);
static void ngx_apikeys_store_read_ref(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec, ngx_apikeys_store_ref_t *ref);
static const ngx_apikeys_store_grant_t *ngx_apikeys_store_read_grant(
    ngx_apikeys_store_t *st, const ngx_apikeys_store_body_t *b,
    ngx_uint_t bits, ngx_uint_t i);
static ngx_int_t ngx_apikeys_store_read_match_v4(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_body_t *b, const ngx_apikeys_cidr_t *addr,
    ngx_apikeys_cidr_t *entry);
static ngx_int_t ngx_apikeys_store_read_match_v6(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_body_t *b, const ngx_apikeys_cidr_t *addr,
    ngx_apikeys_cidr_t *entry);


void
ngx_apikeys_store_enter(ngx_apikeys_store_t *st)
{
    if (st->slot == NULL) {
        ngx_log_error(NGX_LOG_ALERT, st->log, 0,
                      "apikeys zone is read by a process without a slot");
        return;
    }

    if (st->nested++) {
        return;
    }

    __atomic_store_n(&st->slot->epoch,
                     __atomic_load_n(&st->head->epoch, __ATOMIC_SEQ_CST),
                     __ATOMIC_SEQ_CST);

    /*
     * pairs with the fence of a writer between its unlinking and its look
     * at the slots: either it sees this epoch, or we see its links
     */

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}


void
ngx_apikeys_store_leave(ngx_apikeys_store_t *st)
{
    if (st->nested == 0) {
        return;
    }

    if (--st->nested == 0) {
        ngx_apikeys_store_set(&st->slot->epoch, 0);
    }
}


/* what a miss will mean; asked before the walk, or a load could end in it */

static ngx_int_t
ngx_apikeys_store_read_miss(ngx_apikeys_store_t *st)
{
    if (st->nested == 0) {
        ngx_log_error(NGX_LOG_ALERT, st->log, 0,
                      "apikeys zone is read outside of a section");
        return NGX_ERROR;
    }

    return ngx_apikeys_store_load(&st->head->complete) ? NGX_DECLINED
                                                       : NGX_BUSY;
}


ngx_int_t
ngx_apikeys_store_key(ngx_apikeys_store_t *st, const ngx_str_t *public_key,
    ngx_apikeys_store_ref_t *ref)
{
    uint32_t                     i;
    ngx_int_t                    rc;
    ngx_uint_t                   state;
    ngx_apikeys_store_record_t  *rec;

    rc = ngx_apikeys_store_read_miss(st);

    if (rc == NGX_ERROR) {
        return NGX_BUSY;
    }

    if (public_key->len != NGX_APIKEYS_PUBLIC_KEY_LEN) {
        return NGX_DECLINED;
    }

    i = ngx_apikeys_store_load(ngx_apikeys_store_key_bucket(st,
                                                           public_key->data));

    for ( /* void */ ; i; i = ngx_apikeys_store_load(&rec->next_key)) {

        rec = ngx_apikeys_store_record(st, i);

        if (ngx_memcmp(rec->public_key, public_key->data,
                       NGX_APIKEYS_PUBLIC_KEY_LEN)
            != 0)
        {
            continue;
        }

        state = ngx_apikeys_store_load(&rec->state);

        if (state == NGX_APIKEYS_STORE_LIVE) {
            ngx_apikeys_store_read_ref(st, rec, ref);
            return NGX_OK;
        }

        if (state == NGX_APIKEYS_STORE_INVALID) {

            /* unless another key has taken the name and follows */

            rc = NGX_BUSY;
        }
    }

    return rc;
}


ngx_int_t
ngx_apikeys_store_key_by_id(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id, ngx_apikeys_store_ref_t *ref)
{
    ngx_int_t                    rc;
    ngx_apikeys_store_record_t  *rec;

    rc = ngx_apikeys_store_read_id(st, NGX_APIKEYS_STORE_KEY, id, &rec);

    if (rc == NGX_OK) {
        ngx_apikeys_store_read_ref(st, rec, ref);
    }

    return rc;
}


ngx_int_t
ngx_apikeys_store_org(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id, ngx_apikeys_store_org_t *org)
{
    ngx_int_t                    rc;
    ngx_apikeys_store_record_t  *rec;

    rc = ngx_apikeys_store_read_id(st, NGX_APIKEYS_STORE_ORG, id, &rec);

    if (rc == NGX_OK) {
        org->id = rec->id;
        org->version = ngx_apikeys_store_load(&rec->version);
        org->access_list_required =
                       (rec->flags & NGX_APIKEYS_STORE_LIST_REQUIRED) != 0;
    }

    return rc;
}


ngx_int_t
ngx_apikeys_store_project(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id, ngx_apikeys_store_project_t *project)
{
    ngx_int_t                    rc;
    ngx_apikeys_store_record_t  *rec;

    rc = ngx_apikeys_store_read_id(st, NGX_APIKEYS_STORE_PROJECT, id, &rec);

    if (rc == NGX_OK) {
        project->id = rec->id;
        project->org = rec->org;
        project->version = ngx_apikeys_store_load(&rec->version);
    }

    return rc;
}


static ngx_int_t
ngx_apikeys_store_read_id(ngx_apikeys_store_t *st,
    ngx_apikeys_store_kind_e kind, const ngx_apikeys_objectid_t *id,
    ngx_apikeys_store_record_t **record)
{
    uint32_t                     i;
    ngx_int_t                    rc;
    ngx_uint_t                   state;
    ngx_apikeys_store_record_t  *rec;

    rc = ngx_apikeys_store_read_miss(st);

    if (rc == NGX_ERROR) {
        return NGX_BUSY;
    }

    i = ngx_apikeys_store_load(ngx_apikeys_store_id_bucket(st, id));

    for ( /* void */ ; i; i = ngx_apikeys_store_load(&rec->next_id)) {

        rec = ngx_apikeys_store_record(st, i);

        if (rec->kind != kind
            || ngx_memcmp(rec->id.data, id->data, NGX_APIKEYS_OBJECTID_LEN)
               != 0)
        {
            continue;
        }

        state = ngx_apikeys_store_load(&rec->state);

        if (state == NGX_APIKEYS_STORE_LIVE) {
            *record = rec;
            return NGX_OK;
        }

        return (state == NGX_APIKEYS_STORE_INVALID) ? NGX_BUSY : rc;
    }

    return rc;
}


static void
ngx_apikeys_store_read_ref(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec, ngx_apikeys_store_ref_t *ref)
{
    ngx_apikeys_store_body_t  *b;

    b = ngx_apikeys_store_body(st, rec);

    ref->id = &rec->id;
    ref->org = &rec->org;
    ref->public_key = rec->public_key;
    ref->secret = &b->secret;
    ref->version = ngx_apikeys_store_load(&rec->version);
    ref->roles = b->roles;
    ref->ngrants = b->ngrants;
    ref->nentries = b->nv4 + b->nv6;
    ref->record = b;
}


uint32_t
ngx_apikeys_store_grant(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_ref_t *ref, const ngx_apikeys_objectid_t *project)
{
    ngx_int_t                         rc;
    ngx_uint_t                        low, high, middle, bits;
    const ngx_apikeys_store_body_t   *b;
    const ngx_apikeys_store_grant_t  *grant;

    b = ref->record;
    bits = ngx_apikeys_arena_list_bits(ngx_apikeys_store_body_leaves(b));

    low = 0;
    high = b->ngrants;

    while (low < high) {
        middle = (low + high) / 2;
        grant = ngx_apikeys_store_read_grant(st, b, bits, middle);

        rc = ngx_memcmp(project->data, grant->id.data,
                        NGX_APIKEYS_OBJECTID_LEN);

        if (rc == 0) {
            return grant->roles;
        }

        if (rc < 0) {
            high = middle;

        } else {
            low = middle + 1;
        }
    }

    return 0;
}


void
ngx_apikeys_store_grant_at(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_ref_t *ref, ngx_uint_t i,
    ngx_apikeys_store_grant_t *grant)
{
    ngx_uint_t                       bits;
    const ngx_apikeys_store_body_t  *b;

    b = ref->record;
    bits = ngx_apikeys_arena_list_bits(ngx_apikeys_store_body_leaves(b));

    *grant = *ngx_apikeys_store_read_grant(st, b, bits, i);
}


static const ngx_apikeys_store_grant_t *
ngx_apikeys_store_read_grant(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_body_t *b, ngx_uint_t bits, ngx_uint_t i)
{
    uint32_t                          leaf;
    const ngx_apikeys_store_grant_t  *grant;

    leaf = ngx_apikeys_store_leaves(b->nv4, NGX_APIKEYS_STORE_V4_LEAF)
           + ngx_apikeys_store_leaves(b->nv6, NGX_APIKEYS_STORE_V6_LEAF)
           + i / NGX_APIKEYS_STORE_GRANT_LEAF;

    grant = ngx_apikeys_arena_list_leaf(&st->arena, b->list, bits, leaf);

    return &grant[i % NGX_APIKEYS_STORE_GRANT_LEAF];
}


ngx_int_t
ngx_apikeys_store_match(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_ref_t *ref, const ngx_apikeys_cidr_t *addr,
    ngx_apikeys_cidr_t *entry)
{
    switch (addr->family) {

    case 4:
        return ngx_apikeys_store_read_match_v4(st, ref->record, addr, entry);

    case 6:
        return ngx_apikeys_store_read_match_v6(st, ref->record, addr, entry);

    default:
        return NGX_DECLINED;
    }
}


/*
 * Entries are in order of address, then of prefix, and either nest or are
 * apart.  So every entry that holds the address also holds the last one that
 * does not begin after it, or is that one; and the smallest is the first
 * found on the way from there outwards.
 */

static ngx_int_t
ngx_apikeys_store_read_match_v4(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_body_t *b, const ngx_apikeys_cidr_t *addr,
    ngx_apikeys_cidr_t *entry)
{
    uint32_t                 wanted, net;
    ngx_uint_t               low, high, middle, bits;
    ngx_apikeys_store_v4_t  *e;

    bits = ngx_apikeys_arena_list_bits(ngx_apikeys_store_body_leaves(b));

    ngx_memcpy(&net, addr->addr, 4);
    wanted = ntohl(net);

    low = 0;
    high = b->nv4;

    while (low < high) {
        middle = (low + high) / 2;

        e = ngx_apikeys_arena_list_leaf(&st->arena, b->list, bits,
                                        middle / NGX_APIKEYS_STORE_V4_LEAF);

        if (e[middle % NGX_APIKEYS_STORE_V4_LEAF].addr <= wanted) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    if (low == 0) {
        return NGX_DECLINED;
    }

    low--;

    do {
        e = ngx_apikeys_arena_list_leaf(&st->arena, b->list, bits,
                                        low / NGX_APIKEYS_STORE_V4_LEAF);
        e += low % NGX_APIKEYS_STORE_V4_LEAF;

        /* a shift by 32 is no shift */

        if (e->prefix == 0 || ((e->addr ^ wanted) >> (32 - e->prefix)) == 0) {
            net = htonl(e->addr);

            ngx_memzero(entry, sizeof(ngx_apikeys_cidr_t));
            ngx_memcpy(entry->addr, &net, 4);
            entry->family = 4;
            entry->prefix = (u_char) e->prefix;

            return NGX_OK;
        }

        low = e->parent;

    } while (low != NGX_APIKEYS_STORE_NONE);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_apikeys_store_read_match_v6(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_body_t *b, const ngx_apikeys_cidr_t *addr,
    ngx_apikeys_cidr_t *entry)
{
    uint32_t                 first;
    ngx_uint_t               low, high, middle, bits;
    ngx_apikeys_store_v6_t  *e;

    bits = ngx_apikeys_arena_list_bits(ngx_apikeys_store_body_leaves(b));
    first = ngx_apikeys_store_leaves(b->nv4, NGX_APIKEYS_STORE_V4_LEAF);

    low = 0;
    high = b->nv6;

    while (low < high) {
        middle = (low + high) / 2;

        e = ngx_apikeys_arena_list_leaf(&st->arena, b->list, bits, first
                                        + middle / NGX_APIKEYS_STORE_V6_LEAF);
        e += middle % NGX_APIKEYS_STORE_V6_LEAF;

        if (ngx_memcmp(e->addr, addr->addr, 16) <= 0) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    if (low == 0) {
        return NGX_DECLINED;
    }

    low--;

    do {
        e = ngx_apikeys_arena_list_leaf(&st->arena, b->list, bits, first
                                        + low / NGX_APIKEYS_STORE_V6_LEAF);
        e += low % NGX_APIKEYS_STORE_V6_LEAF;

        ngx_memcpy(entry->addr, e->addr, 16);
        entry->family = 6;
        entry->prefix = (u_char) e->prefix;

        if (ngx_apikeys_cidr_contains(entry, addr)) {
            return NGX_OK;
        }

        low = e->parent;

    } while (low != NGX_APIKEYS_STORE_NONE);

    return NGX_DECLINED;
}
