
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Lookups.  No lock, no allocation, no system call.  Between read_begin() and
 * read_end() the slot of the process contains the epoch in which the section
 * began, and nothing that was reachable then is freed (epoch-based
 * reclamation).  A writer that is killed leaves chains that can be walked.
 *
 * Only its own process writes a slot, but a writer may clear the epoch of a
 * dead process.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_store_int.h>


/* force inlining: with constant arguments the code is half as long */
#if (__GNUC__)
#define NGX_APIKEYS_STORE_READ_INLINE  ngx_inline __attribute__((always_inline))
#else
#define NGX_APIKEYS_STORE_READ_INLINE  ngx_inline
#endif


/* read_ref() returns what decisions need of them */
ngx_apikeys_store_key_members(21);

/* read_ref() sets all members; there is no padding */
_Static_assert(sizeof(ngx_apikeys_store_ref_t)
               == 7 * sizeof(void *) + sizeof(uint64_t)
                  + 6 * sizeof(uint32_t) + sizeof(ngx_uint_t),
               "a member of a look-up result was added: read_ref() sets all, "
               "unit_key_wrong() of t/unit/unit.h compares all");


/* a value of "complete" besides 0 and 1: an invalid record was found */
#define NGX_APIKEYS_STORE_READ_UNDECIDED  2


static ngx_int_t ngx_apikeys_store_read_no_section(ngx_apikeys_store_t *st);
static void ngx_apikeys_store_read_ref(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec, uint64_t version,
    ngx_apikeys_store_ref_t *ref);
static ngx_int_t ngx_apikeys_store_read_match_v4(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_detail_t *d, const ngx_apikeys_cidr_t *addr,
    ngx_apikeys_cidr_t *entry);
static ngx_int_t ngx_apikeys_store_read_match_v6(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_detail_t *d, const ngx_apikeys_cidr_t *addr,
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


/* memcmp(one, two, len) > 0 for len 4, 12 and 16, without a call */

static ngx_inline ngx_uint_t
ngx_apikeys_store_read_greater(const u_char *one, const u_char *two,
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
 * Returns the last of n items that is not greater than "wanted", or NULL.  The
 * items are in leaf "first" and those after it, "per" in a leaf, each of
 * "size" bytes, ascending by their first key_len bytes.  "index" is set to the
 * number of the item.  A binary search by the first item of each leaf finds the
 * leaf, which is then searched.
 */

static NGX_APIKEYS_STORE_READ_INLINE void *
ngx_apikeys_store_read_search(const ngx_apikeys_store_t *st,
    const ngx_apikeys_store_detail_t *d, uint32_t first, uint32_t n,
    uint32_t per, size_t size, uint32_t key_len, const u_char *wanted,
    uint32_t *index)
{
    u_char    *leaf, *found;
    uint32_t   low, left, half;

    if (n == 0) {
        return NULL;
    }

    low = 0;
    found = NULL;

    /*
     * the leaf is one of "left" leaves beginning with "low"; halving their
     * number takes fewer instructions per step than a pair of limits
     */

    for (left = (n - 1) / per + 1; left > 1; left -= half) {
        half = left / 2;

        leaf = ngx_apikeys_arena_tree_leaf(&st->arena, d->tree, d->tree_bits,
                                           first + low + half);

        if (!ngx_apikeys_store_read_greater(leaf, wanted, key_len)) {
            low += half;
            found = leaf;
        }
    }

    if (found == NULL) {
        found = ngx_apikeys_arena_tree_leaf(&st->arena, d->tree, d->tree_bits,
                                            first);
    }

    n = ngx_min(n - low * per, per);

    for (leaf = found + n * size; leaf > found; /* void */ ) {
        leaf -= size;

        if (!ngx_apikeys_store_read_greater(leaf, wanted, key_len)) {
            *index = low * per + (uint32_t) ((size_t) (leaf - found) / size);
            return leaf;
        }
    }

    return NULL;
}


void
ngx_apikeys_store_read_begin(ngx_apikeys_store_t *st)
{
    if (st->slot == NULL) {
        ngx_log_error(NGX_LOG_ALERT, st->log, 0,
                      "apikeys: internal error: zone is read by a "
                      "process without a slot, please report");
        return;
    }

    if (st->nested++) {
        return;
    }

    st->section++;

    __atomic_store_n(&st->slot->reclaim_epoch,
                   __atomic_load_n(&st->head->reclaim_epoch, __ATOMIC_SEQ_CST),
                   __ATOMIC_RELAXED);

    /*
     * Orders the store before all reads of the section.  Pairs with the fence
     * in ngx_apikeys_store_retire_epoch_passed(), between the unlinking of a
     * record and the check of the slots: either the writer sees this epoch, or
     * this reader sees that the record is unlinked.
     */

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}


void
ngx_apikeys_store_read_end(ngx_apikeys_store_t *st)
{
    if (st->nested == 0) {
        return;
    }

    if (--st->nested == 0) {
        ngx_apikeys_atomic_store(&st->slot->reclaim_epoch, 0);
    }
}


uint64_t
ngx_apikeys_store_read_section(ngx_apikeys_store_t *st)
{
    return st->nested ? st->section : 0;
}


static ngx_int_t
ngx_apikeys_store_read_no_section(ngx_apikeys_store_t *st)
{
    ngx_log_error(NGX_LOG_ALERT, st->log, 0,
                  "apikeys: internal error: zone is read outside of a section, "
                  "please report");

    return NGX_BUSY;
}


static NGX_APIKEYS_STORE_READ_INLINE ngx_int_t
ngx_apikeys_store_read_id(ngx_apikeys_store_t *st,
    ngx_apikeys_store_kind_e kind, const ngx_apikeys_objectid_t *id,
    ngx_apikeys_store_record_t **record, uint64_t *version)
{
    uint32_t                     i, complete;
    ngx_uint_t                   state;
    ngx_apikeys_store_record_t  *rec;

    *record = NULL;

    if (st->nested == 0) {
        return ngx_apikeys_store_read_no_section(st);
    }

    /*
     * Read "complete" before walking the chain: if a load ended during the
     * walk, a miss would be taken as certain.
     */

    complete = ngx_apikeys_atomic_load(&st->head->complete);

    i = ngx_apikeys_atomic_load(ngx_apikeys_store_id_bucket(st, id));

    for ( /* void */ ; i; i = ngx_apikeys_atomic_load(&rec->next_id)) {

        rec = ngx_apikeys_store_record(st, i);

        if (rec->kind != kind
            || ngx_memcmp(rec->id.data, id->data, NGX_APIKEYS_OBJECTID_LEN)
               != 0)
        {
            continue;
        }

        /* before the state, which writers change before the version */

        *version = ngx_apikeys_atomic_load(&rec->version);

        state = ngx_apikeys_atomic_load(&rec->state);

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
    uint64_t                     version;
    ngx_uint_t                   state;
    ngx_apikeys_store_record_t  *rec;

    if (st->nested == 0) {
        ref->public_key = NULL;
        return ngx_apikeys_store_read_no_section(st);
    }

    complete = ngx_apikeys_atomic_load(&st->head->complete);

    if (public_key->len != NGX_APIKEYS_PUBLIC_KEY_LEN) {
        return NGX_DECLINED;
    }

    i = ngx_apikeys_atomic_load(ngx_apikeys_store_key_bucket(st,
                                                            public_key->data));

    for ( /* void */ ; i; i = ngx_apikeys_atomic_load(&rec->next_key)) {

        rec = ngx_apikeys_store_record(st, i);

        if (ngx_memcmp(rec->public_key, public_key->data,
                       NGX_APIKEYS_PUBLIC_KEY_LEN)
            != 0)
        {
            continue;
        }

        version = ngx_apikeys_atomic_load(&rec->version);  /* as read_id() */
        state = ngx_apikeys_atomic_load(&rec->state);

        if (state == NGX_APIKEYS_STORE_LIVE) {
            ngx_apikeys_store_read_ref(st, rec, version, ref);
            return ngx_apikeys_store_read_line_missing(st, rec) ? NGX_BUSY
                                                                : NGX_OK;
        }

        if (state == NGX_APIKEYS_STORE_INVALID) {

            /* undecided, unless a live record with this public key follows */

            ref->public_key = rec->public_key;
            complete = NGX_APIKEYS_STORE_READ_UNDECIDED;
        }
    }

    switch (complete) {

    case 0:
        ref->public_key = NULL;
        return NGX_BUSY;

    case NGX_APIKEYS_STORE_READ_UNDECIDED:
        return NGX_BUSY;

    default:
        return NGX_DECLINED;
    }
}


ngx_int_t
ngx_apikeys_store_key_by_id(ngx_apikeys_store_t *st,
    const ngx_apikeys_objectid_t *id, ngx_apikeys_store_ref_t *ref)
{
    uint64_t                     version;
    ngx_int_t                    rc;
    ngx_apikeys_store_record_t  *rec;

    rc = ngx_apikeys_store_read_id(st, NGX_APIKEYS_STORE_KEY, id, &rec,
                                   &version);

    if (rc == NGX_OK) {
        ngx_apikeys_store_read_ref(st, rec, version, ref);

        if (ngx_apikeys_store_read_line_missing(st, rec)) {
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

    rc = ngx_apikeys_store_read_id(st, NGX_APIKEYS_STORE_ORG, id, &rec,
                                   &org->version);

    if (rc == NGX_OK) {
        org->id = rec->id;
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

    rc = ngx_apikeys_store_read_id(st, NGX_APIKEYS_STORE_PROJECT, id, &rec,
                                   &project->version);

    if (rc == NGX_OK) {
        project->id = rec->id;
        project->org = rec->org;
    }

    return rc;
}


static void
ngx_apikeys_store_read_ref(ngx_apikeys_store_t *st,
    ngx_apikeys_store_record_t *rec, uint64_t version,
    ngx_apikeys_store_ref_t *ref)
{
    ngx_apikeys_store_ha1s_t    *ha1s;
    ngx_apikeys_store_detail_t  *d;

    d = ngx_apikeys_store_detail(st, rec);
    ha1s = ngx_apikeys_store_ha1s(st, d);

    ref->id = &rec->id;
    ref->org = &rec->org;
    ref->public_key = rec->public_key;
    ref->secret_id = (d->flags & NGX_APIKEYS_STORE_HAS_SECRET_ID)
                     ? &ha1s->secret_id : &rec->id;
    ref->plain = d->plain;
    ref->ha1s = &ha1s->ha1s;
    ref->version = version;
    ref->roles = d->roles;
    ref->expires = d->expires;
    ref->disabled = (d->flags & NGX_APIKEYS_STORE_DISABLED) ? 1 : 0;
    ref->secret_expires = d->secret_expires;
    ref->has_older = (d->flags & NGX_APIKEYS_STORE_HAS_OLDER) ? 1 : 0;
    ref->ngrants = d->ngrants;
    ref->nentries = d->nv4 + d->nv6;
    ref->detail = d;
}


ngx_int_t
ngx_apikeys_store_older(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_ref_t *ref, ngx_apikeys_store_ref_t *older)
{
    ngx_apikeys_store_ha1s_t   *ha1s;
    ngx_apikeys_store_older_t  *cell;

    if (!ref->has_older) {
        return NGX_DECLINED;
    }

    ngx_apikeys_store_older_leaves(st, ref->detail, &cell, &ha1s);

    *older = *ref;

    older->secret_id = &cell->id;
    older->plain = cell->plain;
    older->ha1s = &ha1s->ha1s;
    older->secret_expires = cell->expires;
    older->has_older = 0;

    return NGX_OK;
}


uint32_t
ngx_apikeys_store_grant(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_ref_t *ref, const ngx_apikeys_objectid_t *project)
{
    uint32_t                           i;
    const ngx_apikeys_store_grant_t   *grant;
    const ngx_apikeys_store_detail_t  *d;

    d = ref->detail;

    grant = ngx_apikeys_store_read_search(st, d,
                                    ngx_apikeys_store_grant_leaf(d),
                                    d->ngrants, NGX_APIKEYS_STORE_GRANT_LEAF,
                                    sizeof(ngx_apikeys_store_grant_t),
                                    NGX_APIKEYS_OBJECTID_LEN, project->data,
                                    &i);

    /* it is not greater than the wanted one, but may be smaller */

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
    uint32_t                           leaf;
    ngx_apikeys_store_grant_t         *grants;
    const ngx_apikeys_store_detail_t  *d;

    d = ref->detail;
    leaf = ngx_apikeys_store_grant_leaf(d) + i / NGX_APIKEYS_STORE_GRANT_LEAF;

    grants = ngx_apikeys_arena_tree_leaf(&st->arena, d->tree, d->tree_bits,
                                         leaf);

    *grant = grants[i % NGX_APIKEYS_STORE_GRANT_LEAF];
}


ngx_int_t
ngx_apikeys_store_match(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_ref_t *ref, const ngx_apikeys_cidr_t *addr,
    ngx_apikeys_cidr_t *entry)
{
    switch (addr->family) {

    case 4:
        return ngx_apikeys_store_read_match_v4(st, ref->detail, addr, entry);

    case 6:
        return ngx_apikeys_store_read_match_v6(st, ref->detail, addr, entry);

    default:
        return NGX_DECLINED;
    }
}


/* whether entry number i of the list, IPv4 first, has expired */

static ngx_inline ngx_uint_t
ngx_apikeys_store_read_ended(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_detail_t *d, uint32_t i)
{
    uint32_t  end;

    if (!(d->flags & NGX_APIKEYS_STORE_HAS_ENDS)) {
        return 0;
    }

    end = *ngx_apikeys_store_end(st, d, i);

    return end && ngx_time() >= (time_t) end;
}


/*
 * Entries are ascending by address, then by prefix length, and two entries are
 * either disjoint or nested.  So every entry that contains the address is the
 * last entry that does not begin after it, or contains that entry.  The first
 * match on the way from there to its parents is the smallest one; those that
 * have expired are passed over.
 */

static ngx_int_t
ngx_apikeys_store_read_match_v4(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_detail_t *d, const ngx_apikeys_cidr_t *addr,
    ngx_apikeys_cidr_t *entry)
{
    uint32_t                 n;
    uint64_t                 differ;
    ngx_apikeys_store_v4_t  *e;

    e = ngx_apikeys_store_read_search(st, d, 0, d->nv4,
                                      NGX_APIKEYS_STORE_V4_LEAF,
                                      sizeof(ngx_apikeys_store_v4_t),
                                      sizeof(e->addr), addr->addr, &n);

    while (e) {
        differ = ngx_apikeys_store_read_32(e->addr)
                 ^ ngx_apikeys_store_read_32(addr->addr);

        /* uint64_t: shifting 32 bits by 32 (prefix 0) is undefined */

        if (differ >> (32 - e->prefix) == 0
            && !ngx_apikeys_store_read_ended(st, d, n))
        {
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

        e = ngx_apikeys_arena_tree_leaf(&st->arena, d->tree, d->tree_bits,
                                        n / NGX_APIKEYS_STORE_V4_LEAF);
        e += n % NGX_APIKEYS_STORE_V4_LEAF;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_apikeys_store_read_match_v6(ngx_apikeys_store_t *st,
    const ngx_apikeys_store_detail_t *d, const ngx_apikeys_cidr_t *addr,
    ngx_apikeys_cidr_t *entry)
{
    uint32_t                 n;
    uint64_t                 high, low;
    ngx_apikeys_store_v6_t  *e;

    e = ngx_apikeys_store_read_search(st, d, ngx_apikeys_store_v6_leaf(d),
                                      d->nv6, NGX_APIKEYS_STORE_V6_LEAF,
                                      sizeof(ngx_apikeys_store_v6_t),
                                      sizeof(e->addr), addr->addr, &n);

    while (e) {
        high = ngx_apikeys_store_read_64(e->addr)
               ^ ngx_apikeys_store_read_64(addr->addr);
        low = ngx_apikeys_store_read_64(e->addr + 8)
              ^ ngx_apikeys_store_read_64(addr->addr + 8);

        /* shifting by 64 is undefined */

        if ((e->prefix == 0
             || (e->prefix <= 64 && (high >> (64 - e->prefix)) == 0)
             || (e->prefix > 64 && high == 0
                 && (low >> (128 - e->prefix)) == 0))
            && !ngx_apikeys_store_read_ended(st, d, d->nv4 + n))
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

        e = ngx_apikeys_arena_tree_leaf(&st->arena, d->tree, d->tree_bits,
                                        ngx_apikeys_store_v6_leaf(d)
                                        + n / NGX_APIKEYS_STORE_V6_LEAF);
        e += n % NGX_APIKEYS_STORE_V6_LEAF;
    }

    return NGX_DECLINED;
}
