
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Allocator of the zone: cells of 64 bytes, named by a 32-bit index, and
 * trees of cells.  A tree has up to 65,536 leaves; each inner node has 16
 * children.
 *
 * The bitmap "used" alone decides which cells are free.  Each change of it is
 * a single store, and a cell is marked used before anything can point to it:
 * a writer that is killed leaves, at worst, cells that are used and cannot be
 * reached.  The bitmap "marked" serves to find them (garbage collection).
 *
 * Writers hold the zone's mutex.  Readers call the inline functions only.
 */


#ifndef _NGX_APIKEYS_ARENA_H_INCLUDED_
#define _NGX_APIKEYS_ARENA_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_APIKEYS_ARENA_CELL         64
#define NGX_APIKEYS_ARENA_FANOUT_BITS  4
#define NGX_APIKEYS_ARENA_FANOUT       (1 << NGX_APIKEYS_ARENA_FANOUT_BITS)
#define NGX_APIKEYS_ARENA_MAX_CELLS    0x7fffffff


/* a cell as the inner node of a tree; for other uses it is cast */
typedef struct {
    uint32_t                     index[NGX_APIKEYS_ARENA_FANOUT];
} ngx_apikeys_arena_cell_t;


/* in the zone; nfree and cursor can be computed from the bitmap */
typedef struct {
    uint32_t                     ncells;
    uint32_t                     nfree;
    uint32_t                     cursor;    /* word of the bitmap at which the
                                               next search begins */
} ngx_apikeys_arena_sh_t;


/* one process's view of the arena */
typedef struct {
    ngx_apikeys_arena_sh_t      *sh;
    ngx_apikeys_arena_cell_t    *cells;     /* cell 0 is never allocated:
                                               index 0 means none */
    uint64_t                    *used;
    uint64_t                    *marked;
} ngx_apikeys_arena_t;


/* may free the cell */
typedef void (*ngx_apikeys_arena_visit_pt)(ngx_apikeys_arena_t *a,
    uint32_t cell);


#define ngx_apikeys_arena_words(ncells)  (((ncells) + 63) / 64)

/* makes all cells but cell 0 free; sh, used and marked must be set */
void ngx_apikeys_arena_init(ngx_apikeys_arena_t *a, uint32_t ncells);

/* returns a zeroed cell, used and marked, or 0 if none is free */
uint32_t ngx_apikeys_arena_alloc(ngx_apikeys_arena_t *a);
/* zeroes and frees the cell; no reader may be able to reach it any more */
void ngx_apikeys_arena_free(ngx_apikeys_arena_t *a, uint32_t cell);

/*
 * Garbage collection after a writer was killed: unmark() all cells, mark()
 * every reachable one, then settle(), which recomputes nfree and returns the
 * number of unmarked cells.  Once all readers of that time have left, sweep()
 * frees the unmarked cells; alloc() marks those that it has allocated
 * meanwhile.
 */
void ngx_apikeys_arena_unmark(ngx_apikeys_arena_t *a);
void ngx_apikeys_arena_mark(ngx_apikeys_arena_t *a, uint32_t cell);
ngx_uint_t ngx_apikeys_arena_marked(ngx_apikeys_arena_t *a, uint32_t cell);
uint32_t ngx_apikeys_arena_settle(ngx_apikeys_arena_t *a);
void ngx_apikeys_arena_sweep(ngx_apikeys_arena_t *a);

/*
 * A tree of n leaves, n > 0; a tree of one leaf is that leaf.  create()
 * returns the root; the caller must have made sure that tree_cells(n) cells
 * are free.  visit() calls the function for each cell, children first.
 */
uint32_t ngx_apikeys_arena_tree_cells(uint32_t n);
uint32_t ngx_apikeys_arena_tree_create(ngx_apikeys_arena_t *a, uint32_t n);
void ngx_apikeys_arena_tree_visit(ngx_apikeys_arena_t *a, uint32_t root,
    uint32_t n, ngx_apikeys_arena_visit_pt visit);


/* number of bits of a leaf's number that the inner nodes decode */
static ngx_inline ngx_uint_t
ngx_apikeys_arena_tree_bits(uint32_t n)
{
    ngx_uint_t  bits;

    for (bits = 0; n > ((uint32_t) 1 << bits); ) {
        bits += NGX_APIKEYS_ARENA_FANOUT_BITS;
    }

    return bits;
}


/*
 * Leaf number i of the tree; bits is tree_bits(n).  Unrolled, as a search in
 * a large tree spends its time here.
 */

static ngx_inline void *
ngx_apikeys_arena_tree_leaf(const ngx_apikeys_arena_t *a, uint32_t root,
    ngx_uint_t bits, uint32_t i)
{
    ngx_apikeys_arena_cell_t  *cells;

    cells = a->cells;

    switch (bits) {

    case 16:
        root = cells[root].index[i >> 12];
        i &= 0xfff;

        /* fall through */

    case 12:
        root = cells[root].index[i >> 8];
        i &= 0xff;

        /* fall through */

    case 8:
        root = cells[root].index[i >> 4];
        i &= 0xf;

        /* fall through */

    case 4:
        root = cells[root].index[i];
    }

    return &cells[root];
}


#endif /* _NGX_APIKEYS_ARENA_H_INCLUDED_ */
