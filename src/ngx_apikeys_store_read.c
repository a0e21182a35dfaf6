
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Readers of the local copy.  No lock, no allocation, no system call: between
 * enter and leave nothing that a reader can reach is freed (the slot holds
 * the epoch), and whatever a killed writer left is a chain that ends.
 *
 * A slot is written by its process alone; a writer may clear that of a dead
 * one.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


/* for what is half as long with the constants of one kind */
#if (__GNUC__)
#define NGX_APIKEYS_STORE_READ_INLINE  ngx_inline __attribute__((always_inline))
#else
#define NGX_APIKEYS_STORE_READ_INLINE  ngx_inline
#endif


static ngx_int_t ngx_apikeys_store_read_outside(ngx_apikeys_store_t *st);
static void ngx_apikeys_store_read_ref(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec, ngx_apikeys_store_ref_t *ref);
static ngx_int_t ngx_apikeys_store_read_match_v4(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_body_t *b, const ngx_apikeys_cidr_t *addr,
    ngx_apikeys_cidr_t *entry);
static ngx_int_t ngx_apikeys_store_read_match_v6(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_body_t *b, const ngx_apikeys_cidr_t *addr,
    ngx_apikeys_cidr_t *entry);


static ngx_inline uint32_t
ngx_apikeys_store_read_32(const u_char *p)
{
    uint32_t  n;

    ngx_memcpy(&n, p, sizeof(n));

    return ntohl(n);
}


static ngx_inline uint64_t
ngx_apikeys_store_read_64(const u_char *p)
{
    uint64_t  n;

    ngx_memcpy(&n, p, sizeof(n));

#if (NGX_HAVE_LITTLE_ENDIAN)
    n = __builtin_bswap64(n);
#endif

    return n;
}


/* memcmp(one, two, len) > 0 for the lengths of keys, without a call */

static ngx_inline ngx_uint_t
ngx_apikeys_store_read_after(const u_char *one, const u_char *two,
    uint32_t len)
{
    uint64_t  a, b;

    if (len == 4) {
        return ngx_apikeys_store_read_32(one) > ngx_apikeys_store_read_32(two);
    }

    a = ngx_apikeys_store_read_64(one);
    b = ngx_apikeys_store_read_64(two);

    if (a != b) {
        return a > b;
    }

    if (len == 12) {
        return ngx_apikeys_store_read_32(one + 8)
               > ngx_apikeys_store_read_32(two + 8);
    }

    return ngx_apikeys_store_read_64(one + 8)
           > ngx_apikeys_store_read_64(two + 8);
}


/*
 * The last of n items that is not after the wanted key, or NULL: first its
 * leaf, by the first item, then in the leaf.  The items lie from leaf
 * "first" on, "per" in a leaf, in the order of their first "key" bytes.
 */

static NGX_APIKEYS_STORE_READ_INLINE void *
ngx_apikeys_store_read_search(const ngx_apikeys_store_t *st,
    const ngx_apikeys_store_body_t *b, uint32_t first, uint32_t n,
    uint32_t per, size_t size, uint32_t key, const u_char *wanted)
{
    u_char    *leaf, *found;
    uint32_t   low, left, half;

    if (n == 0) {
        return NULL;
    }

    low = 0;
    found = NULL;

    /*
     * the wanted leaf is one of those left, from low on; what is halved is
     * their number, for less to be done with each
     */

    for (left = (n - 1) / per + 1; left > 1; left -= half) {
        half = left / 2;

        leaf = ngx_apikeys_arena_list_leaf(&st->arena, b->list, b->bits,
                                           first + low + half);

        if (!ngx_apikeys_store_read_after(leaf, wanted, key)) {
            low += half;
            found = leaf;
        }
    }

    if (found == NULL) {
        found = ngx_apikeys_arena_list_leaf(&st->arena, b->list, b->bits,
                                            first);
    }

    n = ngx_min(n - low * per, per);

    for (leaf = found + n * size; leaf > found; /* void */ ) {
        leaf -= size;

        if (!ngx_apikeys_store_read_after(leaf, wanted, key)) {
            return leaf;
        }
    }

    return NULL;
}


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
                     __ATOMIC_RELAXED);

    /*
     * orders the store before all that is read from here on, and pairs with
     * the fence of a writer between its unlinking and its look at the slots:
     * either it sees this epoch, or we see its links
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


static ngx_int_t
ngx_apikeys_store_read_outside(ngx_apikeys_store_t *st)
{
    ngx_log_error(NGX_LOG_ALERT, st->log, 0,
                  "apikeys zone is read outside of a section");

    return NGX_BUSY;
}


static NGX_APIKEYS_STORE_READ_INLINE ngx_int_t
ngx_apikeys_store_read_id(ngx_apikeys_store_t *st,
    ngx_apikeys_store_kind_e kind, const ngx_apikeys_objectid_t *id,
    ngx_apikeys_store_record_t **record)
{
    uint32_t                     i, complete;
    ngx_uint_t                   state;
    ngx_apikeys_store_record_t  *rec;

    *record = NULL;

    if (st->nested == 0) {
        return ngx_apikeys_store_read_outside(st);
    }

    /* what a miss means: asked first, or a load could end in the walk */

    complete = ngx_apikeys_store_load(&st->head->complete);

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

        complete = complete && state != NGX_APIKEYS_STORE_INVALID;

        break;
    }

    return complete ? NGX_DECLINED : NGX_BUSY;
}


ngx_int_t
ngx_apikeys_store_key(ngx_apikeys_store_t *st, const ngx_str_t *public_key,
    ngx_apikeys_store_ref_t *ref)
{
    uint32_t                     i, complete;
    ngx_uint_t                   state;
    ngx_apikeys_store_record_t  *rec;

    if (st->nested == 0) {
        return ngx_apikeys_store_read_outside(st);
    }

    complete = ngx_apikeys_store_load(&st->head->complete);

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
            return ngx_apikeys_store_read_missing(st, rec) ? NGX_BUSY : NGX_OK;
        }

        if (state == NGX_APIKEYS_STORE_INVALID) {

            /* unless another key has taken the name and follows */

            complete = 0;
        }
    }

    return complete ? NGX_DECLINED : NGX_BUSY;
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

        if (ngx_apikeys_store_read_missing(st, rec)) {
            return NGX_BUSY;
        }
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
    const ngx_apikeys_store_body_t   *b;
    const ngx_apikeys_store_grant_t  *grant;

    b = ref->record;

    grant = ngx_apikeys_store_read_search(st, b,
                                    ngx_apikeys_store_grant_leaf(b),
                                    b->ngrants, NGX_APIKEYS_STORE_GRANT_LEAF,
                                    sizeof(ngx_apikeys_store_grant_t),
                                    NGX_APIKEYS_OBJECTID_LEN, project->data);

    /* not after the wanted one: the same, or before it */

    if (grant == NULL
        || ngx_memcmp(project->data, grant->id.data, NGX_APIKEYS_OBJECTID_LEN)
           != 0)
    {
        return 0;
    }

    return grant->roles;
}


void
ngx_apikeys_store_grant_at(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_ref_t *ref, ngx_uint_t i,
    ngx_apikeys_store_grant_t *grant)
{
    uint32_t                         leaf;
    ngx_apikeys_store_grant_t       *grants;
    const ngx_apikeys_store_body_t  *b;

    b = ref->record;
    leaf = ngx_apikeys_store_grant_leaf(b) + i / NGX_APIKEYS_STORE_GRANT_LEAF;

    grants = ngx_apikeys_arena_list_leaf(&st->arena, b->list, b->bits, leaf);

    *grant = grants[i % NGX_APIKEYS_STORE_GRANT_LEAF];
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
    uint64_t                 differ;
    ngx_uint_t               n;
    ngx_apikeys_store_v4_t  *e;

    e = ngx_apikeys_store_read_search(st, b, 0, b->nv4,
                                      NGX_APIKEYS_STORE_V4_LEAF,
                                      sizeof(ngx_apikeys_store_v4_t),
                                      sizeof(e->addr), addr->addr);

    while (e) {
        differ = ngx_apikeys_store_read_32(e->addr)
                 ^ ngx_apikeys_store_read_32(addr->addr);

        /* of 64 bits, for a shift of 32 bits by 32 is none */

        if (differ >> (32 - e->prefix) == 0) {
            ngx_memzero(entry, sizeof(ngx_apikeys_cidr_t));
            ngx_memcpy(entry->addr, e->addr, sizeof(e->addr));
            entry->family = 4;
            entry->prefix = (u_char) e->prefix;

            return NGX_OK;
        }

        n = e->parent;

        if (n == NGX_APIKEYS_STORE_NONE) {
            break;
        }

        e = ngx_apikeys_arena_list_leaf(&st->arena, b->list, b->bits,
                                        n / NGX_APIKEYS_STORE_V4_LEAF);
        e += n % NGX_APIKEYS_STORE_V4_LEAF;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_apikeys_store_read_match_v6(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_body_t *b, const ngx_apikeys_cidr_t *addr,
    ngx_apikeys_cidr_t *entry)
{
    uint64_t                 high, low;
    ngx_uint_t               n;
    ngx_apikeys_store_v6_t  *e;

    e = ngx_apikeys_store_read_search(st, b, ngx_apikeys_store_v6_leaf(b),
                                      b->nv6, NGX_APIKEYS_STORE_V6_LEAF,
                                      sizeof(ngx_apikeys_store_v6_t),
                                      sizeof(e->addr), addr->addr);

    while (e) {
        high = ngx_apikeys_store_read_64(e->addr)
               ^ ngx_apikeys_store_read_64(addr->addr);
        low = ngx_apikeys_store_read_64(e->addr + 8)
              ^ ngx_apikeys_store_read_64(addr->addr + 8);

        /* shifts by 64 are no shifts */

        if (e->prefix == 0
            || (e->prefix <= 64 && (high >> (64 - e->prefix)) == 0)
            || (e->prefix > 64 && high == 0
                && (low >> (128 - e->prefix)) == 0))
        {
            ngx_memcpy(entry->addr, e->addr, sizeof(e->addr));
            entry->family = 6;
            entry->prefix = (u_char) e->prefix;

            return NGX_OK;
        }

        n = e->parent;

        if (n == NGX_APIKEYS_STORE_NONE) {
            break;
        }

        e = ngx_apikeys_arena_list_leaf(&st->arena, b->list, b->bits,
                                        ngx_apikeys_store_v6_leaf(b)
                                        + n / NGX_APIKEYS_STORE_V6_LEAF);
        e += n % NGX_APIKEYS_STORE_V6_LEAF;
    }

    return NGX_DECLINED;
}
