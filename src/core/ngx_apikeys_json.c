
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Parses JSON with jansson.  The nesting and the number of values of the text
 * are checked first, because jansson recurses, and takes about 250 bytes for an
 * empty object.
 *
 * Writes JSON into the buffers that will be sent.  A buffer that is not empty
 * is never moved, and the bytes of one write are in one buffer.  "pretty"
 * means the format of Jackson's default printer: members of an object have
 * lines of their own, values of an array do not.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_json.h>

#include <jansson.h>


/* one object of the API fits the first, a page of a list takes the others */
#define NGX_APIKEYS_JSON_FIRST_SIZE    1024
#define NGX_APIKEYS_JSON_NEXT_SIZE     8192

/* eight bytes with that value */
#define ngx_apikeys_json_each(byte)                                          \
    (UINT64_C(0x0101010101010101) * (byte))

/* the mask of arrays, uint32_t, has a bit for each level */
#define NGX_APIKEYS_JSON_OUT_DEPTH     32

_Static_assert(8 * sizeof(((ngx_apikeys_json_out_t *) 0)->arrays)
               >= NGX_APIKEYS_JSON_OUT_DEPTH,
               "a mask has a bit for each level");


static ngx_int_t ngx_apikeys_json_check_bounds(const ngx_str_t *text,
    ngx_uint_t max);
static void ngx_apikeys_json_out_open(ngx_apikeys_json_out_t *o,
    ngx_uint_t array);
static void ngx_apikeys_json_out_close(ngx_apikeys_json_out_t *o);
static void ngx_apikeys_json_out_separate(ngx_apikeys_json_out_t *o);
static void ngx_apikeys_json_out_indent(ngx_apikeys_json_out_t *o);
static void ngx_apikeys_json_out_raw(ngx_apikeys_json_out_t *o,
    const char *data, size_t len);
static void ngx_apikeys_json_out_quoted(ngx_apikeys_json_out_t *o,
    u_char *data, size_t len);
static ngx_uint_t ngx_apikeys_json_plain(const u_char *data, size_t len);
static void ngx_apikeys_json_out_replaced(ngx_apikeys_json_out_t *o,
    u_char *data, size_t len);
static u_char *ngx_apikeys_json_out_reserve(ngx_apikeys_json_out_t *o,
    size_t len);
static void ngx_apikeys_json_out_advance(ngx_apikeys_json_out_t *o,
    u_char *p);


ngx_int_t
ngx_apikeys_json_parse(const ngx_str_t *text, ngx_uint_t max,
    ngx_apikeys_json_t **value)
{
    json_t        *root;
    json_error_t   error;

    if (ngx_apikeys_json_check_bounds(text, max) != NGX_OK) {
        return NGX_DECLINED;
    }

    /* integers are read as reals, so that 64 bits are no limit */

    root = json_loadb((char *) text->data, text->len,
                      JSON_REJECT_DUPLICATES|JSON_DECODE_ANY
                      |JSON_DECODE_INT_AS_REAL,
                      &error);

    if (root == NULL) {

        if (json_error_code(&error) == json_error_out_of_memory) {
            return NGX_ERROR;
        }

        return NGX_DECLINED;
    }

    *value = (ngx_apikeys_json_t *) root;

    return NGX_OK;
}


void
ngx_apikeys_json_free(ngx_apikeys_json_t *value)
{
    json_decref((json_t *) value);
}


/*
 * A value is the first one of its container or follows a comma, so the number
 * of values is at most that of the commas and opening brackets.  The number is
 * exact for JSON without empty containers.  In other text it only has to be at
 * least the number of brackets and commas that jansson reads before it fails.
 */

static ngx_int_t
ngx_apikeys_json_check_bounds(const ngx_str_t *text, ngx_uint_t max)
{
    u_char      *p, *last;
    ngx_uint_t   depth, quoted, values;

    depth = 0;
    quoted = 0;
    values = 1;
    last = text->data + text->len;

    for (p = text->data; p < last; p++) {

        switch (*p) {

        case '"':
            quoted = !quoted;
            break;

        case '\\':
            if (quoted) {
                p++;
            }
            break;

        case '[':
        case '{':
            if (!quoted
                && (++depth > NGX_APIKEYS_JSON_MAX_DEPTH || ++values > max))
            {
                return NGX_DECLINED;
            }
            break;

        case ',':
            if (!quoted && ++values > max) {
                return NGX_DECLINED;
            }
            break;

        case ']':
        case '}':
            if (!quoted && depth) {
                depth--;
            }
            break;

        default:
            break;
        }
    }

    return NGX_OK;
}


ngx_apikeys_json_type_e
ngx_apikeys_json_type(ngx_apikeys_json_t *value)
{
    switch (json_typeof((json_t *) value)) {

    case JSON_OBJECT:
        return NGX_APIKEYS_JSON_OBJECT;

    case JSON_ARRAY:
        return NGX_APIKEYS_JSON_ARRAY;

    case JSON_STRING:
        return NGX_APIKEYS_JSON_STRING;

    case JSON_INTEGER:
    case JSON_REAL:
        return NGX_APIKEYS_JSON_NUMBER;

    case JSON_TRUE:
    case JSON_FALSE:
        return NGX_APIKEYS_JSON_BOOLEAN;

    default: /* JSON_NULL */
        return NGX_APIKEYS_JSON_NULL;
    }
}


ngx_uint_t
ngx_apikeys_json_true(ngx_apikeys_json_t *value)
{
    return json_is_true((json_t *) value);
}


ngx_uint_t
ngx_apikeys_json_is_integer(ngx_apikeys_json_t *value)
{
    double  number;

    /* numbers are parsed as doubles, which are exact below 2^53 */

    number = json_number_value((json_t *) value);

    return json_is_number((json_t *) value)
           && number > -9007199254740992.0 && number < 9007199254740992.0
           && number == (double) (int64_t) number;
}


int64_t
ngx_apikeys_json_integer(ngx_apikeys_json_t *value)
{
    return (int64_t) json_number_value((json_t *) value);
}


void
ngx_apikeys_json_string(ngx_apikeys_json_t *value, ngx_str_t *s)
{
    s->data = (u_char *) json_string_value((json_t *) value);
    s->len = json_string_length((json_t *) value);
}


ngx_uint_t
ngx_apikeys_json_size(ngx_apikeys_json_t *array)
{
    return json_array_size((json_t *) array);
}


ngx_apikeys_json_t *
ngx_apikeys_json_item(ngx_apikeys_json_t *array, ngx_uint_t i)
{
    return (ngx_apikeys_json_t *) json_array_get((json_t *) array, i);
}


ngx_apikeys_json_t *
ngx_apikeys_json_member(ngx_apikeys_json_t *object, const char *name)
{
    return (ngx_apikeys_json_t *) json_object_get((json_t *) object, name);
}


ngx_int_t
ngx_apikeys_json_next(ngx_apikeys_json_t *object, ngx_apikeys_json_iter_t *it,
    ngx_str_t *name, ngx_apikeys_json_t **value)
{
    json_t  *o;

    o = (json_t *) object;

    it->iter = it->iter ? json_object_iter_next(o, it->iter)
                        : json_object_iter(o);

    if (it->iter == NULL) {
        return NGX_DONE;
    }

    name->data = (u_char *) json_object_iter_key(it->iter);
    name->len = ngx_strlen(name->data);

    *value = (ngx_apikeys_json_t *) json_object_iter_value(it->iter);

    return NGX_OK;
}


void
ngx_apikeys_json_out_init(ngx_apikeys_json_out_t *o, ngx_pool_t *pool,
    ngx_uint_t pretty)
{
    ngx_memzero(o, sizeof(ngx_apikeys_json_out_t));

    o->pool = pool;
    o->last = &o->out;
    o->pretty = pretty ? 1 : 0;
}


void
ngx_apikeys_json_out_object(ngx_apikeys_json_out_t *o)
{
    ngx_apikeys_json_out_open(o, 0);
}


void
ngx_apikeys_json_out_object_end(ngx_apikeys_json_out_t *o)
{
    ngx_apikeys_json_out_close(o);
}


void
ngx_apikeys_json_out_array(ngx_apikeys_json_out_t *o)
{
    ngx_apikeys_json_out_open(o, 1);
}


void
ngx_apikeys_json_out_array_end(ngx_apikeys_json_out_t *o)
{
    ngx_apikeys_json_out_close(o);
}


void
ngx_apikeys_json_out_name(ngx_apikeys_json_out_t *o, const char *name)
{
    size_t   len;
    u_char  *p;

    ngx_apikeys_json_out_separate(o);

    /* the module's own names need no escapes */

    len = ngx_strlen(name);

    p = ngx_apikeys_json_out_reserve(o, len + sizeof("\"\" : ") - 1);
    if (p == NULL) {
        return;
    }

    *p++ = '"';
    p = ngx_cpymem(p, name, len);
    *p++ = '"';

    if (o->pretty) {
        p = ngx_cpymem(p, " : ", 3);

    } else {
        *p++ = ':';
    }

    ngx_apikeys_json_out_advance(o, p);

    o->name = 1;
}


void
ngx_apikeys_json_out_string(ngx_apikeys_json_out_t *o, const ngx_str_t *s)
{
    ngx_apikeys_json_out_separate(o);
    ngx_apikeys_json_out_quoted(o, s->data, s->len);
}


void
ngx_apikeys_json_out_int(ngx_apikeys_json_out_t *o, int64_t n)
{
    u_char  *p;

    ngx_apikeys_json_out_separate(o);

    p = ngx_apikeys_json_out_reserve(o, NGX_INT64_LEN);
    if (p == NULL) {
        return;
    }

    ngx_apikeys_json_out_advance(o, ngx_sprintf(p, "%L", n));
}


void
ngx_apikeys_json_out_bool(ngx_apikeys_json_out_t *o, ngx_uint_t b)
{
    ngx_apikeys_json_out_separate(o);

    if (b) {
        ngx_apikeys_json_out_raw(o, "true", 4);

    } else {
        ngx_apikeys_json_out_raw(o, "false", 5);
    }
}


void
ngx_apikeys_json_out_null(ngx_apikeys_json_out_t *o)
{
    ngx_apikeys_json_out_separate(o);
    ngx_apikeys_json_out_raw(o, "null", 4);
}


void
ngx_apikeys_json_out_member(ngx_apikeys_json_out_t *o, const char *name,
    const ngx_str_t *s)
{
    ngx_apikeys_json_out_name(o, name);
    ngx_apikeys_json_out_string(o, s);
}


void
ngx_apikeys_json_out_value(ngx_apikeys_json_out_t *o,
    ngx_apikeys_json_t *value)
{
    ngx_str_t                s;
    ngx_uint_t               i;
    ngx_apikeys_json_t      *member;
    ngx_apikeys_json_iter_t  it;

    switch (ngx_apikeys_json_type(value)) {

    case NGX_APIKEYS_JSON_BOOLEAN:
        ngx_apikeys_json_out_bool(o, ngx_apikeys_json_true(value));
        break;

    case NGX_APIKEYS_JSON_NUMBER:
        ngx_apikeys_json_out_int(o, ngx_apikeys_json_integer(value));
        break;

    case NGX_APIKEYS_JSON_STRING:
        ngx_apikeys_json_string(value, &s);
        ngx_apikeys_json_out_string(o, &s);
        break;

    case NGX_APIKEYS_JSON_ARRAY:
        ngx_apikeys_json_out_array(o);

        for (i = 0; i < ngx_apikeys_json_size(value); i++) {
            ngx_apikeys_json_out_value(o, ngx_apikeys_json_item(value, i));
        }

        ngx_apikeys_json_out_array_end(o);
        break;

    case NGX_APIKEYS_JSON_OBJECT:
        ngx_apikeys_json_out_object(o);
        ngx_memzero(&it, sizeof(ngx_apikeys_json_iter_t));

        while (ngx_apikeys_json_next(value, &it, &s, &member) == NGX_OK) {
            ngx_apikeys_json_out_name(o, (char *) s.data);
            ngx_apikeys_json_out_value(o, member);
        }

        ngx_apikeys_json_out_object_end(o);
        break;

    default: /* NGX_APIKEYS_JSON_NULL */
        ngx_apikeys_json_out_null(o);
        break;
    }
}


ngx_int_t
ngx_apikeys_json_out_text(ngx_apikeys_json_out_t *o, ngx_str_t *text)
{
    u_char       *p;
    ngx_chain_t  *cl;

    if (o->failed) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(o->pool, o->size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;
    text->len = o->size;

    for (cl = o->out; cl; cl = cl->next) {
        p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }

    return NGX_OK;
}


static void
ngx_apikeys_json_out_open(ngx_apikeys_json_out_t *o, ngx_uint_t array)
{
    ngx_apikeys_json_out_separate(o);

    if (o->depth == NGX_APIKEYS_JSON_OUT_DEPTH) {
        o->failed = 1;
        return;
    }

    if (array) {
        o->arrays |= (uint32_t) 1 << o->depth;
        ngx_apikeys_json_out_raw(o, "[", 1);

    } else {
        o->arrays &= ~((uint32_t) 1 << o->depth);
        o->indent += 2;
        ngx_apikeys_json_out_raw(o, "{", 1);
    }

    o->depth++;
    o->comma = 0;
}


static void
ngx_apikeys_json_out_close(ngx_apikeys_json_out_t *o)
{
    ngx_uint_t  array, empty;

    if (o->failed) {
        return;
    }

    o->depth--;

    array = o->arrays & ((uint32_t) 1 << o->depth);
    empty = !o->comma;

    if (!array) {
        o->indent -= 2;
    }

    if (o->pretty) {

        if (array || empty) {
            ngx_apikeys_json_out_raw(o, " ", 1);

        } else {
            ngx_apikeys_json_out_indent(o);
        }
    }

    ngx_apikeys_json_out_raw(o, array ? "]" : "}", 1);

    o->comma = 1;
}


/* writes what precedes a value of an array, or the name of a member */

static void
ngx_apikeys_json_out_separate(ngx_apikeys_json_out_t *o)
{
    ngx_uint_t  array;

    if (o->name) {
        o->name = 0;
        o->comma = 1;
        return;
    }

    if (o->depth == 0) {
        return;
    }

    if (o->comma) {
        ngx_apikeys_json_out_raw(o, ",", 1);
    }

    o->comma = 1;

    if (o->pretty) {
        array = o->arrays & ((uint32_t) 1 << (o->depth - 1));

        if (array) {
            ngx_apikeys_json_out_raw(o, " ", 1);

        } else {
            ngx_apikeys_json_out_indent(o);
        }
    }
}


static void
ngx_apikeys_json_out_indent(ngx_apikeys_json_out_t *o)
{
    u_char  *p;

    p = ngx_apikeys_json_out_reserve(o, o->indent + 1);
    if (p == NULL) {
        return;
    }

    *p++ = LF;
    ngx_memset(p, ' ', o->indent);

    ngx_apikeys_json_out_advance(o, p + o->indent);
}


static void
ngx_apikeys_json_out_raw(ngx_apikeys_json_out_t *o, const char *data,
    size_t len)
{
    u_char  *p;

    p = ngx_apikeys_json_out_reserve(o, len);
    if (p == NULL) {
        return;
    }

    ngx_apikeys_json_out_advance(o, ngx_cpymem(p, data, len));
}


static void
ngx_apikeys_json_out_quoted(ngx_apikeys_json_out_t *o, u_char *data,
    size_t len)
{
    size_t   escape;
    u_char  *p;

    escape = 0;

    if (!ngx_apikeys_json_plain(data, len)) {

        if (ngx_apikeys_json_check_utf8(data, len) != NGX_OK) {
            ngx_apikeys_json_out_replaced(o, data, len);
            return;
        }

        escape = (size_t) ngx_escape_json(NULL, data, len);
    }

    p = ngx_apikeys_json_out_reserve(o, len + escape + 2);
    if (p == NULL) {
        return;
    }

    *p++ = '"';

    if (escape) {
        p = (u_char *) ngx_escape_json(p, data, len);

    } else {
        p = ngx_cpymem(p, data, len);
    }

    *p++ = '"';

    ngx_apikeys_json_out_advance(o, p);
}


/* nearly all strings are ASCII and need no escapes: eight bytes at a time */

static ngx_uint_t
ngx_apikeys_json_plain(const u_char *data, size_t len)
{
    uint64_t  w, bad;

    while (len >= 8) {

        ngx_memcpy(&w, data, 8);

        /*
         * The highest bits of the bytes: of control characters, of bytes
         * that are not ASCII, of DEL, of quotes and of backslashes.  Only
         * from one of these is there a borrow or a carry to other bytes.
         */

        bad = (w - ngx_apikeys_json_each(' ')) | w
              | (w + ngx_apikeys_json_each(1))
              | ((w ^ ngx_apikeys_json_each('"')) - ngx_apikeys_json_each(1))
              | ((w ^ ngx_apikeys_json_each('\\'))
                 - ngx_apikeys_json_each(1));

        if (bad & ngx_apikeys_json_each(0x80)) {
            return 0;
        }

        data += 8;
        len -= 8;
    }

    for ( /* void */ ; len; len--, data++) {

        if (*data < ' ' || *data > '~' || *data == '"' || *data == '\\') {
            return 0;
        }
    }

    return 1;
}


/*
 * Bytes that are not UTF-8 can come from the path of a request.  They are
 * replaced, so that the document is valid JSON.
 */

static void
ngx_apikeys_json_out_replaced(ngx_apikeys_json_out_t *o, u_char *data,
    size_t len)
{
    u_char  *p, *last;

    /* one byte needs at most 6 */

    p = ngx_apikeys_json_out_reserve(o, 6 * len + 2);
    if (p == NULL) {
        return;
    }

    *p++ = '"';

    for (last = data + len; data < last; data++) {

        if (*data < 0x80) {
            p = (u_char *) ngx_escape_json(p, data, 1);

        } else {
            p = ngx_cpymem(p, "\\ufffd", 6);
        }
    }

    *p++ = '"';

    ngx_apikeys_json_out_advance(o, p);
}


ngx_int_t
ngx_apikeys_json_check_utf8(u_char *data, size_t len)
{
    size_t   i;
    json_t  *s;

    for (i = 0; i < len && data[i] < 0x80; i++) { /* void */ }

    if (i == len) {
        return NGX_OK;
    }

    /* ngx_utf8_decode() accepts surrogates, jansson does not */

    s = json_stringn((char *) data, len);
    if (s == NULL) {
        return NGX_DECLINED;
    }

    json_decref(s);

    return NGX_OK;
}


/* a buffer with room for "len" bytes; NULL if the document has failed */

static u_char *
ngx_apikeys_json_out_reserve(ngx_apikeys_json_out_t *o, size_t len)
{
    size_t        size;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    if (o->failed) {
        return NULL;
    }

    b = o->buf;

    if (b && (size_t) (b->end - b->last) >= len) {
        return b->last;
    }

    size = b ? NGX_APIKEYS_JSON_NEXT_SIZE : NGX_APIKEYS_JSON_FIRST_SIZE;

    cl = ngx_alloc_chain_link(o->pool);
    b = ngx_create_temp_buf(o->pool, ngx_max(size, len));

    if (cl == NULL || b == NULL) {
        o->failed = 1;
        return NULL;
    }

    cl->buf = b;
    cl->next = NULL;

    *o->last = cl;
    o->last = &cl->next;
    o->buf = b;

    return b->last;
}


static void
ngx_apikeys_json_out_advance(ngx_apikeys_json_out_t *o, u_char *p)
{
    o->size += p - o->buf->last;
    o->buf->last = p;
}
