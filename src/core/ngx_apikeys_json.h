
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The JSON parser (jansson) and writer.  No other file includes jansson.
 *
 * A parsed document takes up to a hundred times the memory of its text.  The
 * caller owns the document, copies what is needed and frees the document soon.
 * Values are valid until then.
 *
 * The writer appends to a chain of pool buffers, either compact or in the
 * style of Jackson's pretty printer, which Atlas uses.  No linked library
 * writes that style.
 */


#ifndef _NGX_APIKEYS_JSON_H_INCLUDED_
#define _NGX_APIKEYS_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_APIKEYS_JSON_MAX_DEPTH     16


typedef struct ngx_apikeys_json_s  ngx_apikeys_json_t;     /* a value */


typedef enum {
    NGX_APIKEYS_JSON_NULL = 0,
    NGX_APIKEYS_JSON_BOOLEAN,
    NGX_APIKEYS_JSON_NUMBER,
    NGX_APIKEYS_JSON_STRING,
    NGX_APIKEYS_JSON_ARRAY,
    NGX_APIKEYS_JSON_OBJECT
} ngx_apikeys_json_type_e;


/*
 * NGX_OK; NGX_DECLINED for text that is not one JSON value: bad syntax or
 * UTF-8, a NUL in a string, a member twice, anything after the value; for
 * nesting beyond NGX_APIKEYS_JSON_MAX_DEPTH and for more than "max" values,
 * both before a value is built; NGX_ERROR without memory.  Scalars at the
 * top are values too.
 */
ngx_int_t ngx_apikeys_json_parse(const ngx_str_t *text, ngx_uint_t max,
    ngx_apikeys_json_t **value);
void ngx_apikeys_json_free(ngx_apikeys_json_t *value);

ngx_apikeys_json_type_e ngx_apikeys_json_type(ngx_apikeys_json_t *value);
ngx_uint_t ngx_apikeys_json_true(ngx_apikeys_json_t *value);
/* whether a value is a number without a fraction, below 2^53; its value */
ngx_uint_t ngx_apikeys_json_is_integer(ngx_apikeys_json_t *value);
int64_t ngx_apikeys_json_integer(ngx_apikeys_json_t *value);
/* the string's bytes, not copied */
void ngx_apikeys_json_string(ngx_apikeys_json_t *value, ngx_str_t *s);
/* NGX_DECLINED: the text is not UTF-8, so no document may have it */
ngx_int_t ngx_apikeys_json_check_utf8(u_char *data, size_t len);
/* NULL when out of range; order as in the text */
ngx_uint_t ngx_apikeys_json_size(ngx_apikeys_json_t *array);
ngx_apikeys_json_t *ngx_apikeys_json_item(ngx_apikeys_json_t *array,
    ngx_uint_t i);
/* NULL when there is no such member; name is a C string */
ngx_apikeys_json_t *ngx_apikeys_json_member(ngx_apikeys_json_t *object,
    const char *name);

/* members in the order of the text: NGX_OK, or NGX_DONE after the last */
typedef struct {
    void  *iter;
} ngx_apikeys_json_iter_t;

ngx_int_t ngx_apikeys_json_next(ngx_apikeys_json_t *object,
    ngx_apikeys_json_iter_t *it /* zeroed before the first call */,
    ngx_str_t *name, ngx_apikeys_json_t **value);


/*
 * The writer.  An allocation failure sets "failed", and later calls do
 * nothing, so callers check it once, at the end.  Strings should be UTF-8;
 * in one that is not, every byte beyond ASCII is written as \ufffd.
 */
typedef struct {
    ngx_pool_t    *pool;
    ngx_chain_t   *out;       /* first link */
    ngx_chain_t  **last;
    ngx_buf_t     *buf;       /* being filled */
    off_t          size;      /* bytes written */
    ngx_uint_t     depth;
    ngx_uint_t     indent;    /* columns, of the objects that are open */
    unsigned       pretty:1;
    unsigned       failed:1;
    unsigned       comma:1;   /* the level has a value already */
    unsigned       name:1;    /* a member's name was just written */
    uint32_t       arrays;    /* bit per depth: the level is an array */
} ngx_apikeys_json_out_t;

void ngx_apikeys_json_out_init(ngx_apikeys_json_out_t *o, ngx_pool_t *pool,
    ngx_uint_t pretty);
void ngx_apikeys_json_out_object(ngx_apikeys_json_out_t *o);
void ngx_apikeys_json_out_object_end(ngx_apikeys_json_out_t *o);
void ngx_apikeys_json_out_array(ngx_apikeys_json_out_t *o);
void ngx_apikeys_json_out_array_end(ngx_apikeys_json_out_t *o);
void ngx_apikeys_json_out_name(ngx_apikeys_json_out_t *o, const char *name);
void ngx_apikeys_json_out_string(ngx_apikeys_json_out_t *o,
    const ngx_str_t *s);
void ngx_apikeys_json_out_int(ngx_apikeys_json_out_t *o, int64_t n);
void ngx_apikeys_json_out_bool(ngx_apikeys_json_out_t *o, ngx_uint_t b);
void ngx_apikeys_json_out_null(ngx_apikeys_json_out_t *o);
/* a whole value that was parsed */
void ngx_apikeys_json_out_value(ngx_apikeys_json_out_t *o,
    ngx_apikeys_json_t *value);
/* a name and its string at once */
void ngx_apikeys_json_out_member(ngx_apikeys_json_out_t *o, const char *name,
    const ngx_str_t *s);

/* all that was written, in one piece of the pool; NGX_ERROR: no memory */
ngx_int_t ngx_apikeys_json_out_text(ngx_apikeys_json_out_t *o,
    ngx_str_t *text);


#endif /* _NGX_APIKEYS_JSON_H_INCLUDED_ */
