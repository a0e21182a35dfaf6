
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A set-associative table: the id of a nonce picks a bucket, a nonce may
 * lie in any way of it.  A way is in one of four states, and all changes of
 * it go through its one state word by compare-and-swap:
 *
 *     free      holds nothing
 *     claimed   its claimer, who is named by pid, writes the other words
 *     pending   an id is in place, no count of it was taken yet
 *     taken     an id, its highest count, and a window of the counts below
 *
 * free or taken -> claimed -> pending -> taken.  What must hold:
 *
 * - No id is taken in two ways.  A process that has stored its id as pending
 *   then reads all other ways of the bucket.  If one is taken, or pending at
 *   a lower index, the process gives up.  If one is pending at a higher index,
 *   it sets that one free, so the other process fails.  Of two that are
 *   pending at once, the later one has seen the earlier one.
 *
 * - What was taken and is gone does not come back.  The bucket's floor is
 *   raised to an id before its way is claimed, and read after the others
 *   were looked at; an id at or below it is taken no more.  The same holds
 *   for ids from before the table, which another zone of this node may have
 *   taken.  (A clock that is set back takes floors with it, see valid_floor().)
 *
 * - A count is taken by the swap that adds it to the set of those seen, and
 *   a set never shrinks.  Each claim raises the way's generation, a part of
 *   the word, so a swap prepared for one resident fails on the next.
 *
 * The first line of a bucket tells where to look, so that most requests touch
 * two lines of it: a tag of each way's id, and a mark of each way's owner.
 * Both are in place before the way is pending.  They may outlive the resident,
 * and are of no weight then, as the way itself is looked at.
 *
 * Only a claimed way can be left stuck by a killed process: it is claimed
 * again when that pid is gone.  Pending ones are set free by whoever wants
 * the same id, or when the id has expired.  All ordering is sequentially
 * consistent: the first point rests on it.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_nonce_table.h>

#include <openssl/rand.h>


#define NGX_APIKEYS_NONCE_WAYS         32

/* of one key in a bucket */
#define NGX_APIKEYS_NONCE_SHARE        (NGX_APIKEYS_NONCE_WAYS / 8)

/* bits of a tag and of a mark; 0 stands for a way that was never used */
#define NGX_APIKEYS_NONCE_TAG_BITS     8
#define NGX_APIKEYS_NONCE_MARK_BITS    4

#define NGX_APIKEYS_NONCE_TAGS         (64 / NGX_APIKEYS_NONCE_TAG_BITS)
#define NGX_APIKEYS_NONCE_MARKS        (64 / NGX_APIKEYS_NONCE_MARK_BITS)

/* the lower half of a hash: the upper one chooses the bucket */
#define ngx_apikeys_nonce_tag(hash)    (1 + ((hash) & 0xffff) % 255)
#define ngx_apikeys_nonce_mark(owner)  (1 + (owner) % 15)

/* one bit in each of the fields of a word */
#define NGX_APIKEYS_NONCE_EACH_TAG     ((uint64_t) 0x0101010101010101)
#define NGX_APIKEYS_NONCE_EACH_MARK    ((uint64_t) 0x1111111111111111)

/* counts below the highest that are still told apart */
#define NGX_APIKEYS_NONCE_WINDOW       32

/*
 * The state word: 20 bits of the highest count, relative to the first one
 * that was taken; 32 bits of window, bit n for the count n + 1 below the
 * highest; 12 bits of generation.  The relative count begins at a base from
 * which the window can reach down, so 0 stands for a way that is not taken;
 * then the window is 0 (free), a pid (claimed) or a ticket (pending).
 */
#define NGX_APIKEYS_NONCE_BASE         64
#define NGX_APIKEYS_NONCE_MAX          0xfffff
#define NGX_APIKEYS_NONCE_CLAIMED      0x80000000

#define ngx_apikeys_nonce_state(high, window, gen)                           \
    ((uint64_t) (high) << 44 | (uint64_t) (window) << 12 | ((gen) & 0xfff))

#define ngx_apikeys_nonce_high(state)    ((uint32_t) ((state) >> 44))
#define ngx_apikeys_nonce_window(state)  ((uint32_t) ((state) >> 12))
#define ngx_apikeys_nonce_gen(state)     ((state) & 0xfff)

#define ngx_apikeys_nonce_is_taken(state)                                    \
    (ngx_apikeys_nonce_high(state) != 0)
#define ngx_apikeys_nonce_is_free(state)                                     \
    (((state) >> 12) == 0)
#define ngx_apikeys_nonce_is_claimed(state)                                  \
    (!ngx_apikeys_nonce_is_taken(state)                                      \
     && (ngx_apikeys_nonce_window(state) & NGX_APIKEYS_NONCE_CLAIMED))
#define ngx_apikeys_nonce_is_pending(state)                                  \
    (!ngx_apikeys_nonce_is_taken(state)                                      \
     && !ngx_apikeys_nonce_is_free(state)                                    \
     && !ngx_apikeys_nonce_is_claimed(state))

#define ngx_apikeys_nonce_load(p)                                            \
    __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define ngx_apikeys_nonce_store(p, value)                                    \
    __atomic_store_n(p, value, __ATOMIC_SEQ_CST)
#define ngx_apikeys_nonce_swap(p, old, value)                                \
    __atomic_compare_exchange_n(p, old, value, 0, __ATOMIC_SEQ_CST,          \
                                __ATOMIC_SEQ_CST)

/* a pending way is taken in some hundred nanoseconds, unless its claimer
   was stopped */
#define NGX_APIKEYS_NONCE_PATIENCE     64

/* each repetition but the first means that another process got ahead */
#define NGX_APIKEYS_NONCE_TRIES        64

#define NGX_APIKEYS_NONCE_NO_ID        ((uint64_t) -1)

#define NGX_APIKEYS_NONCE_MIN_SIZE     (128 * 1024)

/* the buckets begin with one, as the head is of whole lines */
#define NGX_APIKEYS_NONCE_LINE         64

/* numbers that a process takes at once */
#define NGX_APIKEYS_NONCE_RANGE        64


/* what all processes change has lines of its own */
struct ngx_apikeys_nonce_head_s {
    uint64_t                     salt;      /* 0 until the first process */
    uint64_t                     born;      /* ms; 0 until the first process */
    uint64_t                     unused[6];
    uint64_t                     made;      /* nonces */
    uint64_t                     unused2[7];
    uint64_t                     tickets;
    uint64_t                     unused3[7];
};


typedef struct {
    uint64_t                     id;
    uint64_t                     state;
    uint32_t                     first;     /* count that was taken */
    uint32_t                     owner;
} ngx_apikeys_nonce_way_t;


struct ngx_apikeys_nonce_bucket_s {
    uint64_t                     floor;     /* lower ids are refused */
    uint64_t                     next;      /* the way to look at first for
                                               a new id, a hint */
    uint64_t                     tags[NGX_APIKEYS_NONCE_WAYS
                                      / NGX_APIKEYS_NONCE_TAGS];
    uint64_t                     marks[NGX_APIKEYS_NONCE_WAYS
                                       / NGX_APIKEYS_NONCE_MARKS];
    ngx_apikeys_nonce_way_t      ways[NGX_APIKEYS_NONCE_WAYS];
};


/* a candidate */
typedef struct {
    uint64_t                     id;        /* all ones: there is none */
    uint64_t                     state;
    ngx_uint_t                   i;
} ngx_apikeys_nonce_choice_t;


/* accepting a count: the arguments, the bucket, and the way used */
typedef struct {
    ngx_apikeys_nonce_table_t   *table;
    ngx_apikeys_nonce_bucket_t  *bucket;
    uint64_t                     id;
    uint64_t                     tag;
    uint64_t                     mark;
    uint64_t                     now;
    uint32_t                     count;
    uint32_t                     owner;
    ngx_uint_t                   way;
    uint64_t                     state;     /* of the way, as last seen */
} ngx_apikeys_nonce_op_t;


static uint64_t ngx_apikeys_nonce_table_take(uint64_t *counter,
    ngx_apikeys_nonce_range_t *range);
static ngx_int_t ngx_apikeys_nonce_table_find(ngx_apikeys_nonce_op_t *e);
static ngx_uint_t ngx_apikeys_nonce_table_next_way(ngx_apikeys_nonce_op_t *e,
    ngx_uint_t i);
static ngx_int_t ngx_apikeys_nonce_table_count(ngx_apikeys_nonce_op_t *e,
    ngx_uint_t i, uint64_t state);
static ngx_int_t ngx_apikeys_nonce_table_add_count(uint64_t *state,
    int64_t count);
static void ngx_apikeys_nonce_table_wait(ngx_apikeys_nonce_op_t *e,
    ngx_uint_t i, uint64_t state);
static ngx_int_t ngx_apikeys_nonce_table_insert(ngx_apikeys_nonce_op_t *e);
static ngx_int_t ngx_apikeys_nonce_table_choose(ngx_apikeys_nonce_op_t *e);
static ngx_uint_t ngx_apikeys_nonce_table_marked(ngx_apikeys_nonce_op_t *e);
static ngx_int_t ngx_apikeys_nonce_table_choose_any(ngx_apikeys_nonce_op_t *e);
static ngx_uint_t ngx_apikeys_nonce_table_is_reusable(
    ngx_apikeys_nonce_op_t *e, uint64_t id, uint64_t state);
static void ngx_apikeys_nonce_table_keep_oldest(
    ngx_apikeys_nonce_choice_t *choice, ngx_uint_t i, uint64_t id,
    uint64_t state);
static ngx_int_t ngx_apikeys_nonce_table_claim(ngx_apikeys_nonce_op_t *e);
static void ngx_apikeys_nonce_table_write(uint64_t *words, ngx_uint_t i,
    ngx_uint_t bits, uint64_t value);
static ngx_int_t ngx_apikeys_nonce_table_is_unique(ngx_apikeys_nonce_op_t *e);
static void ngx_apikeys_nonce_table_release(ngx_apikeys_nonce_op_t *e);
static void ngx_apikeys_nonce_table_raise_floor(ngx_apikeys_nonce_op_t *e,
    uint64_t id);
static uint64_t ngx_apikeys_nonce_table_floor(ngx_apikeys_nonce_op_t *e);
static uint64_t ngx_apikeys_nonce_table_valid_floor(ngx_apikeys_nonce_op_t *e,
    uint64_t floor);


/* salted, so that nobody can collect nonces of one bucket */

static ngx_inline uint64_t
ngx_apikeys_nonce_table_hash(const ngx_apikeys_nonce_table_t *t, uint64_t id)
{
    uint64_t  hash;

    hash = (id ^ t->salt) * 0x9e3779b97f4a7c15;

    return (hash ^ (hash >> 32)) * 0x9e3779b97f4a7c15;
}


/*
 * Which fields of a word have a value: the highest bit of each that does.  A
 * field above one that does may be reported wrongly, as it borrows.
 */

static ngx_inline uint64_t
ngx_apikeys_nonce_table_fields(uint64_t word, uint64_t each, ngx_uint_t bits,
    uint64_t value)
{
    word ^= value * each;

    return (word - each) & ~word & (each << (bits - 1));
}


uint64_t
ngx_apikeys_nonce_table_next(ngx_apikeys_nonce_table_t *t, uint64_t now)
{
    uint64_t  n, mask;

    mask = ((uint64_t) 1 << NGX_APIKEYS_NONCE_TIME_SHIFT) - 1;

    /* newer than the table */

    now += (now == t->born);

    /*
     * What is left of a range is of its millisecond alone: later, another
     * process may have come round to the same numbers.
     */

    if (t->made_at != now) {
        t->made.left = 0;
        t->made_at = now;
    }

    n = ngx_apikeys_nonce_table_take(&t->head->made, &t->made);

    /* the salt keeps nodes apart, which share the keys but no memory */

    return now << NGX_APIKEYS_NONCE_TIME_SHIFT | ((n + t->salt) & mask);
}


/* the next number of the process, from a range that it has for itself */

static uint64_t
ngx_apikeys_nonce_table_take(uint64_t *counter,
    ngx_apikeys_nonce_range_t *range)
{
    if (range->left == 0) {
        range->next = __atomic_fetch_add(counter, NGX_APIKEYS_NONCE_RANGE,
                                         __ATOMIC_RELAXED);
        range->left = NGX_APIKEYS_NONCE_RANGE;
    }

    range->left--;

    return range->next++;
}


ngx_int_t
ngx_apikeys_nonce_table_accept(ngx_apikeys_nonce_table_t *t, uint64_t id,
    uint32_t count, uint32_t owner, uint64_t now)
{
    uint64_t                hash;
    ngx_int_t               rc;
    ngx_uint_t              tries;
    ngx_apikeys_nonce_op_t  e;

    hash = ngx_apikeys_nonce_table_hash(t, id);

    e.table = t;
    e.bucket = &t->buckets[((hash >> 32) * t->nbuckets) >> 32];
    e.id = id;
    e.now = now;
    e.count = count;
    e.owner = owner;

    e.tag = ngx_apikeys_nonce_tag(hash);
    e.mark = ngx_apikeys_nonce_mark(owner);

    for (tries = 0; tries < NGX_APIKEYS_NONCE_TRIES; tries++) {

        rc = ngx_apikeys_nonce_table_find(&e);

        if (rc == NGX_DONE) {
            rc = ngx_apikeys_nonce_table_insert(&e);
        }

        if (rc != NGX_AGAIN) {
            return rc;
        }
    }

    return NGX_DECLINED;
}


/*
 * NGX_OK, NGX_BUSY, NGX_DECLINED: the id was found, and this is the result for
 * the count; NGX_AGAIN: it changed meanwhile, retry; NGX_DONE: not found.
 */

static ngx_int_t
ngx_apikeys_nonce_table_find(ngx_apikeys_nonce_op_t *e)
{
    uint64_t    state;
    ngx_uint_t  i;

    for (i = ngx_apikeys_nonce_table_next_way(e, 0);
         i < NGX_APIKEYS_NONCE_WAYS;
         i = ngx_apikeys_nonce_table_next_way(e, i + 1))
    {
        state = ngx_apikeys_nonce_load(&e->bucket->ways[i].state);

        if (ngx_apikeys_nonce_is_taken(state)) {
            return ngx_apikeys_nonce_table_count(e, i, state);
        }

        if (ngx_apikeys_nonce_is_pending(state)) {
            ngx_apikeys_nonce_table_wait(e, i, state);
            return NGX_AGAIN;
        }

        /* free, or claimed: whoever will have it pending looks at others */
    }

    return NGX_DONE;
}


/* the next way, from i on, that has the id: others are told by their tags */

static ngx_uint_t
ngx_apikeys_nonce_table_next_way(ngx_apikeys_nonce_op_t *e, ngx_uint_t i)
{
    uint64_t    word;
    ngx_uint_t  n;

    for ( /* void */ ; i < NGX_APIKEYS_NONCE_WAYS; i += n) {

        n = NGX_APIKEYS_NONCE_TAGS - i % NGX_APIKEYS_NONCE_TAGS;

        word = ngx_apikeys_nonce_load(
                                &e->bucket->tags[i / NGX_APIKEYS_NONCE_TAGS]);

        if (ngx_apikeys_nonce_table_fields(word, NGX_APIKEYS_NONCE_EACH_TAG,
                                           NGX_APIKEYS_NONCE_TAG_BITS, e->tag)
            == 0)
        {
            continue;
        }

        word >>= (i % NGX_APIKEYS_NONCE_TAGS) * NGX_APIKEYS_NONCE_TAG_BITS;

        for ( /* void */ ; n; n--, i++) {

            if ((word & 0xff) == e->tag
                && ngx_apikeys_nonce_load(&e->bucket->ways[i].id) == e->id)
            {
                return i;
            }

            word >>= NGX_APIKEYS_NONCE_TAG_BITS;
        }
    }

    return i;
}


static ngx_int_t
ngx_apikeys_nonce_table_count(ngx_apikeys_nonce_op_t *e, ngx_uint_t i,
    uint64_t state)
{
    int64_t                   count;
    uint64_t                  next;
    ngx_int_t                 rc;
    ngx_apikeys_nonce_way_t  *way;

    way = &e->bucket->ways[i];

    count = (int64_t) e->count - ngx_apikeys_nonce_load(&way->first)
            + NGX_APIKEYS_NONCE_BASE;

    /* read after the state: it is of the same resident if the swap succeeds */

    if (ngx_apikeys_nonce_load(&way->id) != e->id) {
        return NGX_AGAIN;
    }

    next = state;

    rc = ngx_apikeys_nonce_table_add_count(&next, count);

    if (rc == NGX_OK) {
        return ngx_apikeys_nonce_swap(&way->state, &state, next)
               ? NGX_OK : NGX_AGAIN;
    }

    return ngx_apikeys_nonce_load(&way->state) == state ? rc : NGX_AGAIN;
}


/* adds the count to those seen, or tells that it cannot be */

static ngx_int_t
ngx_apikeys_nonce_table_add_count(uint64_t *state, int64_t count)
{
    int64_t   high, n;
    uint64_t  window;

    high = ngx_apikeys_nonce_high(*state);
    window = ngx_apikeys_nonce_window(*state);

    if (count > NGX_APIKEYS_NONCE_MAX) {
        return NGX_DECLINED;
    }

    if (count > high) {
        n = count - high;
        high = count;

        if (n <= NGX_APIKEYS_NONCE_WINDOW) {
            window = window << n | (uint64_t) 1 << (n - 1);

        } else {
            window = 0;
        }

    } else {
        n = high - count;

        if (n == 0
            || n > NGX_APIKEYS_NONCE_WINDOW
            || (window & (uint64_t) 1 << (n - 1)))
        {
            return NGX_BUSY;
        }

        window |= (uint64_t) 1 << (n - 1);
    }

    *state = ngx_apikeys_nonce_state(high, (uint32_t) window,
                                     ngx_apikeys_nonce_gen(*state));

    return NGX_OK;
}


/* waits briefly for a pending way to change; sets it free if it does not */

static void
ngx_apikeys_nonce_table_wait(ngx_apikeys_nonce_op_t *e, ngx_uint_t i,
    uint64_t state)
{
    ngx_uint_t   n;
    uint64_t    *p;

    p = &e->bucket->ways[i].state;

    for (n = 0; n < NGX_APIKEYS_NONCE_PATIENCE; n++) {
        ngx_cpu_pause();

        if (ngx_apikeys_nonce_load(p) != state) {
            return;
        }
    }

    (void) ngx_apikeys_nonce_swap(p, &state, ngx_apikeys_nonce_gen(state));
}


static ngx_int_t
ngx_apikeys_nonce_table_insert(ngx_apikeys_nonce_op_t *e)
{
    ngx_int_t  rc;
    uint64_t   state;

    /* first without touching anything: a flood of old nonces costs little */

    if (ngx_apikeys_nonce_table_floor(e) >= e->id) {
        return NGX_DECLINED;
    }

    if (ngx_apikeys_nonce_table_choose(e) != NGX_OK) {
        return NGX_DECLINED;
    }

    rc = ngx_apikeys_nonce_table_claim(e);
    if (rc != NGX_OK) {
        return rc;
    }

    /* the way is pending: from here on others see the id */

    rc = ngx_apikeys_nonce_table_is_unique(e);

    if (rc == NGX_OK && ngx_apikeys_nonce_table_floor(e) >= e->id) {
        rc = NGX_DECLINED;
    }

    if (rc != NGX_OK) {
        ngx_apikeys_nonce_table_release(e);
        return rc;
    }

    state = ngx_apikeys_nonce_state(NGX_APIKEYS_NONCE_BASE, 0,
                                    ngx_apikeys_nonce_gen(e->state));

    if (!ngx_apikeys_nonce_swap(&e->bucket->ways[e->way].state, &e->state,
                                state))
    {
        return NGX_AGAIN;
    }

    return NGX_OK;
}


/*
 * Chooses the way to reuse.  Ways are claimed in turn, so that the next one is
 * the longest in use, and has mostly expired.
 */

static ngx_int_t
ngx_apikeys_nonce_table_choose(ngx_apikeys_nonce_op_t *e)
{
    uint64_t                  id;
    ngx_apikeys_nonce_way_t  *way;

    if (ngx_apikeys_nonce_table_marked(e) >= NGX_APIKEYS_NONCE_SHARE) {
        return ngx_apikeys_nonce_table_choose_any(e);
    }

    e->way = ngx_apikeys_nonce_load(&e->bucket->next)
             % NGX_APIKEYS_NONCE_WAYS;

    way = &e->bucket->ways[e->way];

    e->state = ngx_apikeys_nonce_load(&way->state);
    id = ngx_apikeys_nonce_load(&way->id);

    return ngx_apikeys_nonce_table_is_reusable(e, id, e->state)
           ? NGX_OK : ngx_apikeys_nonce_table_choose_any(e);
}


/* not less than the number of ways that the key holds */

static ngx_uint_t
ngx_apikeys_nonce_table_marked(ngx_apikeys_nonce_op_t *e)
{
    uint64_t    fields;
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < NGX_APIKEYS_NONCE_WAYS / NGX_APIKEYS_NONCE_MARKS; i++) {

        fields = ngx_apikeys_nonce_table_fields(
                                 ngx_apikeys_nonce_load(&e->bucket->marks[i]),
                                 NGX_APIKEYS_NONCE_EACH_MARK,
                                 NGX_APIKEYS_NONCE_MARK_BITS, e->mark);

        for ( /* void */ ; fields; fields &= fields - 1) {
            n++;
        }
    }

    return n;
}


/*
 * Looks at all ways: the oldest of the key's own if it has its share; else a
 * free, abandoned or expired one; else the oldest of all.
 */

static ngx_int_t
ngx_apikeys_nonce_table_choose_any(ngx_apikeys_nonce_op_t *e)
{
    uint64_t                     id, state;
    ngx_uint_t                   i, held;
    ngx_apikeys_nonce_way_t     *way;
    ngx_apikeys_nonce_choice_t   own, reusable, oldest, *choice;

    held = 0;

    own.id = NGX_APIKEYS_NONCE_NO_ID;
    reusable.id = NGX_APIKEYS_NONCE_NO_ID;
    oldest.id = NGX_APIKEYS_NONCE_NO_ID;

    for (i = 0; i < NGX_APIKEYS_NONCE_WAYS; i++) {
        way = &e->bucket->ways[i];

        state = ngx_apikeys_nonce_load(&way->state);
        id = ngx_apikeys_nonce_load(&way->id);

        if (ngx_apikeys_nonce_table_is_reusable(e, id, state)) {
            ngx_apikeys_nonce_table_keep_oldest(&reusable, i, id, state);
            continue;
        }

        if (!ngx_apikeys_nonce_is_taken(state)) {
            continue;
        }

        ngx_apikeys_nonce_table_keep_oldest(&oldest, i, id, state);

        if (ngx_apikeys_nonce_load(&way->owner) == e->owner) {
            ngx_apikeys_nonce_table_keep_oldest(&own, i, id, state);
            held++;
        }
    }

    choice = held >= NGX_APIKEYS_NONCE_SHARE ? &own
             : reusable.id != NGX_APIKEYS_NONCE_NO_ID ? &reusable : &oldest;

    if (choice->id == NGX_APIKEYS_NONCE_NO_ID) {
        return NGX_DECLINED;
    }

    e->way = choice->i;
    e->state = choice->state;

    return NGX_OK;
}


/* whether the way can be claimed at nobody's expense */

static ngx_uint_t
ngx_apikeys_nonce_table_is_reusable(ngx_apikeys_nonce_op_t *e, uint64_t id,
    uint64_t state)
{
    ngx_pid_t  pid;

    if (ngx_apikeys_nonce_is_free(state)) {
        return 1;
    }

    if (!ngx_apikeys_nonce_is_claimed(state)) {
        return ngx_apikeys_nonce_time(id) + e->table->life < e->now;
    }

    /*
     * A claimer has the way for some instructions only, so this is rarely
     * seen, unless it was killed there.  A claim with our own pid is that of a
     * dead process whose pid we reuse.
     */

    pid = ngx_apikeys_nonce_window(state) & ~NGX_APIKEYS_NONCE_CLAIMED;

    return pid == ngx_pid || (kill(pid, 0) == -1 && ngx_errno == NGX_ESRCH);
}


static void
ngx_apikeys_nonce_table_keep_oldest(ngx_apikeys_nonce_choice_t *choice,
    ngx_uint_t i, uint64_t id, uint64_t state)
{
    if (id < choice->id) {
        choice->id = id;
        choice->i = i;
        choice->state = state;
    }
}


/* takes the chosen way from whoever has it, and has it pending */

static ngx_int_t
ngx_apikeys_nonce_table_claim(ngx_apikeys_nonce_op_t *e)
{
    uint64_t                     gen, ticket, claimed, pending;
    ngx_apikeys_nonce_way_t     *way;
    ngx_apikeys_nonce_bucket_t  *b;

    b = e->bucket;
    way = &b->ways[e->way];

    if (ngx_apikeys_nonce_is_taken(e->state)) {

        /* the id is that of the state if the swap below succeeds */

        ngx_apikeys_nonce_table_raise_floor(e, ngx_apikeys_nonce_load(
                                                                  &way->id));
    }

    gen = ngx_apikeys_nonce_gen(e->state) + 1;
    claimed = ngx_apikeys_nonce_state(0, NGX_APIKEYS_NONCE_CLAIMED | ngx_pid,
                                      gen);

    if (!ngx_apikeys_nonce_swap(&way->state, &e->state, claimed)) {
        return NGX_AGAIN;
    }

    /* nobody else writes to the way as long as this process is alive */

    ngx_apikeys_nonce_store(&way->id, e->id);
    ngx_apikeys_nonce_store(&way->first, e->count);
    ngx_apikeys_nonce_store(&way->owner, e->owner);
    ngx_apikeys_nonce_store(&b->next, e->way + 1);

    ngx_apikeys_nonce_table_write(b->tags, e->way, NGX_APIKEYS_NONCE_TAG_BITS,
                                  e->tag);
    ngx_apikeys_nonce_table_write(b->marks, e->way,
                                  NGX_APIKEYS_NONCE_MARK_BITS, e->mark);

    ticket = ngx_apikeys_nonce_table_take(&e->table->head->tickets,
                                          &e->table->tickets);
    ticket = ticket & ~(uint64_t) NGX_APIKEYS_NONCE_CLAIMED & 0xffffffff;

    pending = ngx_apikeys_nonce_state(0, ticket ? ticket : 1, gen);

    if (!ngx_apikeys_nonce_swap(&way->state, &claimed, pending)) {
        return NGX_DECLINED;
    }

    e->state = pending;

    return NGX_OK;
}


/* the field of way i, in a word that has the fields of other ways, too */

static void
ngx_apikeys_nonce_table_write(uint64_t *words, ngx_uint_t i, ngx_uint_t bits,
    uint64_t value)
{
    uint64_t    *p, old, word, mask;
    ngx_uint_t   shift;

    p = &words[i * bits / 64];
    shift = i * bits % 64;
    mask = (((uint64_t) 1 << bits) - 1) << shift;

    old = ngx_apikeys_nonce_load(p);

    do {
        word = (old & ~mask) | value << shift;
    } while (!ngx_apikeys_nonce_swap(p, &old, word));
}


/* NGX_OK: no other way has the id, and none can become taken with it */

static ngx_int_t
ngx_apikeys_nonce_table_is_unique(ngx_apikeys_nonce_op_t *e)
{
    uint64_t                  state;
    ngx_uint_t                i;
    ngx_apikeys_nonce_way_t  *way;

    for (i = ngx_apikeys_nonce_table_next_way(e, 0);
         i < NGX_APIKEYS_NONCE_WAYS;
         i = ngx_apikeys_nonce_table_next_way(e, i + 1))
    {
        if (i == e->way) {
            continue;
        }

        way = &e->bucket->ways[i];

        state = ngx_apikeys_nonce_load(&way->state);

        if (ngx_apikeys_nonce_is_taken(state)) {
            return NGX_AGAIN;
        }

        if (!ngx_apikeys_nonce_is_pending(state)) {
            continue;
        }

        /* the lower one wins, or two could cancel each other forever */

        if (i < e->way
            || !ngx_apikeys_nonce_swap(&way->state, &state,
                                       ngx_apikeys_nonce_gen(state)))
        {
            return NGX_AGAIN;
        }
    }

    return NGX_OK;
}


/* fails when another one has set the way free already, which is as good */

static void
ngx_apikeys_nonce_table_release(ngx_apikeys_nonce_op_t *e)
{
    uint64_t  state;

    state = e->state;

    (void) ngx_apikeys_nonce_swap(&e->bucket->ways[e->way].state, &state,
                                  ngx_apikeys_nonce_gen(state));
}


static void
ngx_apikeys_nonce_table_raise_floor(ngx_apikeys_nonce_op_t *e, uint64_t id)
{
    uint64_t  floor;

    floor = ngx_apikeys_nonce_load(&e->bucket->floor);

    while (ngx_apikeys_nonce_table_valid_floor(e, floor) < id) {

        if (ngx_apikeys_nonce_swap(&e->bucket->floor, &floor, id)) {
            return;
        }
    }
}


static uint64_t
ngx_apikeys_nonce_table_floor(ngx_apikeys_nonce_op_t *e)
{
    uint64_t  floor, born;

    floor = ngx_apikeys_nonce_load(&e->bucket->floor);
    floor = ngx_apikeys_nonce_table_valid_floor(e, floor);

    born = e->table->born;

    /* else the clock was set back since */

    if (born && born <= e->now) {
        floor = ngx_max(floor,
                        ((born + 1) << NGX_APIKEYS_NONCE_TIME_SHIFT) - 1);
    }

    return floor;
}


/*
 * A floor further ahead than clocks may differ was left before the clock was
 * set back.  It counts as none, or the bucket would serve nobody until the
 * clock is there again.  The cached time will not do to tell, since it may
 * be that of a process which was stopped.
 */

static uint64_t
ngx_apikeys_nonce_table_valid_floor(ngx_apikeys_nonce_op_t *e, uint64_t floor)
{
    uint64_t        now;
    struct timeval  tv;

    if (ngx_apikeys_nonce_time(floor) <= e->now + e->table->skew) {
        return floor;
    }

    ngx_gettimeofday(&tv);

    now = (uint64_t) tv.tv_sec * 1000 + tv.tv_usec / 1000;

    return ngx_apikeys_nonce_time(floor) > now + e->table->skew ? 0 : floor;
}


size_t
ngx_apikeys_nonce_table_size(size_t zone)
{
    size_t  size;

    size = ngx_max(zone / 16, NGX_APIKEYS_NONCE_MIN_SIZE);

    return ngx_min(size, zone / 4);
}


ngx_int_t
ngx_apikeys_nonce_table_init(ngx_apikeys_nonce_table_t *t, void *memory,
    size_t size)
{
    u_char    *p, *last;
    uint64_t   salt, none;

    p = ngx_align_ptr((u_char *) memory, NGX_APIKEYS_NONCE_LINE);
    last = (u_char *) memory + size;

    if ((size_t) (last - p) < sizeof(ngx_apikeys_nonce_head_t)
                              + sizeof(ngx_apikeys_nonce_bucket_t))
    {
        return NGX_DECLINED;
    }

    t->head = (ngx_apikeys_nonce_head_t *) p;
    p += sizeof(ngx_apikeys_nonce_head_t);

    t->buckets = (ngx_apikeys_nonce_bucket_t *) p;
    t->nbuckets = (last - p) / sizeof(ngx_apikeys_nonce_bucket_t);

    /* the first process of the zone gives the salt, the others take it */

    if (RAND_bytes((u_char *) &salt, sizeof(uint64_t)) != 1) {
        return NGX_ERROR;
    }

    salt |= 1;
    none = 0;

    if (!ngx_apikeys_nonce_swap(&t->head->salt, &none, salt)) {
        salt = none;
    }

    t->salt = salt;

    return NGX_OK;
}


/* the first process of the memory says when, the others take it */

void
ngx_apikeys_nonce_table_begin(ngx_apikeys_nonce_table_t *t, uint64_t now)
{
    uint64_t  none;

    none = 0;

    t->born = ngx_apikeys_nonce_swap(&t->head->born, &none, now) ? now : none;
}
