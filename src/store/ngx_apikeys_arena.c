
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Cells and trees of the zone; the header says what a killed writer may leave
 * behind.  Every change of the bitmap "used" is one aligned store, made with
 * __atomic builtins so that the compiler keeps the order of the stores.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_arena.h>


#define ngx_apikeys_arena_bit(cell)  ((uint64_t) 1 << ((cell) % 64))


static uint32_t ngx_apikeys_arena_tree_node(ngx_apikeys_arena_t *a,
    ngx_uint_t bits, uint32_t n);
static void ngx_apikeys_arena_tree_visit_node(ngx_apikeys_arena_t *a,
    uint32_t node, ngx_uint_t bits, uint32_t n,
    ngx_apikeys_arena_visit_pt visit);


void
ngx_apikeys_arena_init(ngx_apikeys_arena_t *a, uint32_t ncells)
{
    uint32_t  words;

    words = ngx_apikeys_arena_words(ncells);

    ngx_memzero(a->used, words * sizeof(uint64_t));
    ngx_memzero(a->marked, words * sizeof(uint64_t));

    /* cell 0 and the unused bits of the last word are never free */

    a->used[0] = 1;

    if (ncells % 64) {
        a->used[words - 1] |= ~(uint64_t) 0 << (ncells % 64);
    }

    a->sh->ncells = ncells;
    a->sh->nfree = ncells - 1;
    a->sh->cursor = 0;
}


uint32_t
ngx_apikeys_arena_alloc(ngx_apikeys_arena_t *a)
{
    uint32_t  n, w, words, cell;
    uint64_t  used;

    if (a->sh->nfree == 0) {
        return 0;
    }

    words = ngx_apikeys_arena_words(a->sh->ncells);
    w = a->sh->cursor;

    for (n = 0; n < words; n++) {

        used = a->used[w];

        if (~used) {
            cell = w * 64 + __builtin_ctzll(~used);

            a->marked[w] |= ngx_apikeys_arena_bit(cell);
            __atomic_store_n(&a->used[w], used | ngx_apikeys_arena_bit(cell),
                             __ATOMIC_RELEASE);

            a->sh->nfree--;
            a->sh->cursor = w;

            ngx_memzero(&a->cells[cell], NGX_APIKEYS_ARENA_CELL);

            return cell;
        }

        if (++w == words) {
            w = 0;
        }
    }

    return 0;
}


void
ngx_apikeys_arena_free(ngx_apikeys_arena_t *a, uint32_t cell)
{
    ngx_memzero(&a->cells[cell], NGX_APIKEYS_ARENA_CELL);

    __atomic_store_n(&a->used[cell / 64],
                     a->used[cell / 64] & ~ngx_apikeys_arena_bit(cell),
                     __ATOMIC_RELEASE);

    a->sh->nfree++;
}


void
ngx_apikeys_arena_unmark(ngx_apikeys_arena_t *a)
{
    ngx_memzero(a->marked,
                ngx_apikeys_arena_words(a->sh->ncells) * sizeof(uint64_t));
}


void
ngx_apikeys_arena_mark(ngx_apikeys_arena_t *a, uint32_t cell)
{
    a->marked[cell / 64] |= ngx_apikeys_arena_bit(cell);
}


ngx_uint_t
ngx_apikeys_arena_marked(ngx_apikeys_arena_t *a, uint32_t cell)
{
    return (a->marked[cell / 64] & ngx_apikeys_arena_bit(cell)) != 0;
}


uint32_t
ngx_apikeys_arena_settle(ngx_apikeys_arena_t *a)
{
    uint32_t  w, words, nfree, lost;

    words = ngx_apikeys_arena_words(a->sh->ncells);

    a->marked[0] |= 1;

    if (a->sh->ncells % 64) {
        a->marked[words - 1] |= ~(uint64_t) 0 << (a->sh->ncells % 64);
    }

    nfree = 0;
    lost = 0;

    for (w = 0; w < words; w++) {
        nfree += __builtin_popcountll(~a->used[w]);
        lost += __builtin_popcountll(a->used[w] & ~a->marked[w]);
    }

    a->sh->nfree = nfree;
    a->sh->cursor = 0;

    return lost;
}


void
ngx_apikeys_arena_sweep(ngx_apikeys_arena_t *a)
{
    uint32_t  w, words;
    uint64_t  lost;

    words = ngx_apikeys_arena_words(a->sh->ncells);

    for (w = 0; w < words; w++) {

        for (lost = a->used[w] & ~a->marked[w]; lost; lost &= lost - 1) {
            ngx_apikeys_arena_free(a, w * 64 + __builtin_ctzll(lost));
        }
    }
}


uint32_t
ngx_apikeys_arena_tree_cells(uint32_t n)
{
    uint32_t  cells;

    for (cells = n; n > 1; cells += n) {
        n = (n + NGX_APIKEYS_ARENA_FANOUT - 1) / NGX_APIKEYS_ARENA_FANOUT;
    }

    return cells;
}


uint32_t
ngx_apikeys_arena_tree_create(ngx_apikeys_arena_t *a, uint32_t n)
{
    return ngx_apikeys_arena_tree_node(a, ngx_apikeys_arena_tree_bits(n), n);
}


static uint32_t
ngx_apikeys_arena_tree_node(ngx_apikeys_arena_t *a, ngx_uint_t bits,
    uint32_t n)
{
    uint32_t  i, m, node;

    node = ngx_apikeys_arena_alloc(a);

    if (bits == 0) {
        return node;
    }

    bits -= NGX_APIKEYS_ARENA_FANOUT_BITS;

    for (i = 0; n; i++) {
        m = ngx_min(n, (uint32_t) 1 << bits);
        a->cells[node].index[i] = ngx_apikeys_arena_tree_node(a, bits, m);
        n -= m;
    }

    return node;
}


void
ngx_apikeys_arena_tree_visit(ngx_apikeys_arena_t *a, uint32_t root,
    uint32_t n, ngx_apikeys_arena_visit_pt visit)
{
    ngx_apikeys_arena_tree_visit_node(a, root, ngx_apikeys_arena_tree_bits(n),
                                      n, visit);
}


static void
ngx_apikeys_arena_tree_visit_node(ngx_apikeys_arena_t *a, uint32_t node,
    ngx_uint_t bits, uint32_t n, ngx_apikeys_arena_visit_pt visit)
{
    uint32_t    i, m;
    ngx_uint_t  below;

    if (bits) {
        below = bits - NGX_APIKEYS_ARENA_FANOUT_BITS;

        for (i = 0; n; i++) {
            m = ngx_min(n, (uint32_t) 1 << below);
            ngx_apikeys_arena_tree_visit_node(a, a->cells[node].index[i],
                                              below, m, visit);
            n -= m;
        }
    }

    /* after its children, as the visit may free the node */

    visit(a, node);
}
