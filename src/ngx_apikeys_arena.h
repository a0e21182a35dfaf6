
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Memory of the local copy: cells of 64 bytes, named by 32-bit index, and
 * lists, which are trees of cells.
 *
 * A bitmap says which cells are in use.  It is the only truth about free
 * space, each change of it is one store, and a cell is marked used before
 * anything can point to it; so a writer that is killed leaves at worst cells
 * that are used and not reachable.  A second bitmap is where the next writer
 * marks what it reaches, to find them.
 *
 * Writers hold the zone's mutex.  Readers use the inline functions only.
 */


#ifndef _NGX_APIKEYS_ARENA_H_INCLUDED_
#define _NGX_APIKEYS_ARENA_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_APIKEYS_ARENA_CELL         64
#define NGX_APIKEYS_ARENA_FANOUT_BITS  4
#define NGX_APIKEYS_ARENA_FANOUT       (1 << NGX_APIKEYS_ARENA_FANOUT_BITS)
#define NGX_APIKEYS_ARENA_MAX_CELLS    0x7fffffff


/* inner node of a list, or whatever the owner of the cell makes of it */
typedef struct {
    uint32_t                     index[NGX_APIKEYS_ARENA_FANOUT];
} ngx_apikeys_arena_cell_t;


/* in the zone; all but ncells is derived from the bitmap */
typedef struct {
    uint32_t                     ncells;
    uint32_t                     nfree;
    uint32_t                     cursor;    /* word of the bitmap where the
                                               next search begins */
} ngx_apikeys_arena_sh_t;


/* of one process */
typedef struct {
    ngx_apikeys_arena_sh_t      *sh;
    ngx_apikeys_arena_cell_t    *cells;     /* cell 0 is never used: index 0
                                               means none */
    uint64_t                    *used;
    uint64_t                    *marked;
} ngx_apikeys_arena_t;


typedef void (*ngx_apikeys_arena_visit_pt)(ngx_apikeys_arena_t *a,
    uint32_t cell);


#define ngx_apikeys_arena_words(ncells)  (((ncells) + 63) / 64)

void ngx_apikeys_arena_init(ngx_apikeys_arena_t *a, uint32_t ncells);

/* a zeroed cell, or 0; both bitmaps have it */
uint32_t ngx_apikeys_arena_alloc(ngx_apikeys_arena_t *a);
/* wipes the cell; no reader may be able to see it any more */
void ngx_apikeys_arena_free(ngx_apikeys_arena_t *a, uint32_t cell);

/*
 * Finding lost cells: unmark all, mark what can be reached, settle; when
 * the readers of before are gone, sweep frees what was not marked, and what
 * was allocated meanwhile is safe.  settle counts the unmarked.
 */
void ngx_apikeys_arena_unmark(ngx_apikeys_arena_t *a);
void ngx_apikeys_arena_mark(ngx_apikeys_arena_t *a, uint32_t cell);
ngx_uint_t ngx_apikeys_arena_marked(ngx_apikeys_arena_t *a, uint32_t cell);
uint32_t ngx_apikeys_arena_settle(ngx_apikeys_arena_t *a);
void ngx_apikeys_arena_sweep(ngx_apikeys_arena_t *a);

/*
 * A list of n leaves: n > 0; its root is the leaf itself if n is 1.
 * The caller made sure that as many cells are free as list_cells() says.
 */
uint32_t ngx_apikeys_arena_list_cells(uint32_t n);
uint32_t ngx_apikeys_arena_list_create(ngx_apikeys_arena_t *a, uint32_t n);
void ngx_apikeys_arena_list_visit(ngx_apikeys_arena_t *a, uint32_t root,
    uint32_t n, ngx_apikeys_arena_visit_pt visit);


/* bits of a leaf's number that inner nodes decode */
static ngx_inline ngx_uint_t
ngx_apikeys_arena_list_bits(uint32_t n)
{
    ngx_uint_t  bits;

    for (bits = 0; n > ((uint32_t) 1 << bits); ) {
        bits += NGX_APIKEYS_ARENA_FANOUT_BITS;
    }

    return bits;
}


/* unrolled: a search in a long list spends its time here */

static ngx_inline void *
ngx_apikeys_arena_list_leaf(const ngx_apikeys_arena_t *a, uint32_t root,
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
