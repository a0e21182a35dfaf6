
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include "tap.h"

#include <ngx_apikeys_json.h>


static ngx_pool_t  *pool;


static void
free_value(void *data)
{
    ngx_apikeys_json_free(data);
}


/* a document that lives as long as the pool */

static ngx_int_t
parse_text(ngx_str_t *s, ngx_uint_t max, ngx_apikeys_json_t **value)
{
    ngx_int_t            rc;
    ngx_pool_cleanup_t  *cln;

    rc = ngx_apikeys_json_parse(s, max, value);

    if (rc == NGX_OK) {
        cln = ngx_pool_cleanup_add(pool, 0);
        cln->handler = free_value;
        cln->data = *value;
    }

    return rc;
}


static ngx_int_t
parse_len(const char *text, size_t len, ngx_apikeys_json_t **value)
{
    ngx_int_t  rc;
    ngx_str_t  s;

    s = tap_exact(text, len);
    rc = parse_text(&s, 100000, value);
    ngx_free(s.data);

    return rc;
}


static ngx_int_t
parse(const char *text)
{
    ngx_apikeys_json_t  *value;

    return parse_len(text, strlen(text), &value);
}


static ngx_apikeys_json_t *
value(const char *text)
{
    ngx_apikeys_json_t  *value;

    if (parse_len(text, strlen(text), &value) != NGX_OK) {
        printf("Bail out! %s does not parse\n", text);
        exit(2);
    }

    return value;
}


static void
check_types(void)
{
    ok(ngx_apikeys_json_type(value("null")) == NGX_APIKEYS_JSON_NULL, "null");
    ok(ngx_apikeys_json_type(value("true")) == NGX_APIKEYS_JSON_BOOLEAN,
       "true");
    ok(ngx_apikeys_json_type(value("false")) == NGX_APIKEYS_JSON_BOOLEAN,
       "false");
    ok(ngx_apikeys_json_type(value(" 1 ")) == NGX_APIKEYS_JSON_NUMBER,
       "an integer");
    ok(ngx_apikeys_json_type(value("-1.5e3")) == NGX_APIKEYS_JSON_NUMBER,
       "a real");
    ok(ngx_apikeys_json_type(value("99999999999999999999999"))
       == NGX_APIKEYS_JSON_NUMBER, "an integer beyond 64 bits");
    ok(ngx_apikeys_json_type(value("\"\"")) == NGX_APIKEYS_JSON_STRING,
       "a string");
    ok(ngx_apikeys_json_type(value("[]")) == NGX_APIKEYS_JSON_ARRAY,
       "an array");
    ok(ngx_apikeys_json_type(value("{}")) == NGX_APIKEYS_JSON_OBJECT,
       "an object");

    ok(ngx_apikeys_json_true(value("true"))
       && !ngx_apikeys_json_true(value("false"))
       && !ngx_apikeys_json_true(value("1"))
       && !ngx_apikeys_json_true(value("\"true\"")),
       "only true is true");
}


static void
check_access(void)
{
    ngx_str_t                 s;
    ngx_uint_t                n;
    ngx_apikeys_json_t       *o, *a, *v;
    ngx_apikeys_json_iter_t   it;

    o = value("{\"z\":1,\"desc\":\"\\u00e9 \\\"x\\\" \\ud83d\\ude00\","
              "\"roles\":[\"A\",\"B\"],\"a\":null}");

    ngx_apikeys_json_string(ngx_apikeys_json_member(o, "desc"), &s);
    is_str(&s, "\xc3\xa9 \"x\" \xf0\x9f\x98\x80", "a string, unescaped");

    a = ngx_apikeys_json_member(o, "roles");
    ok(ngx_apikeys_json_size(a) == 2, "the size of an array");
    ngx_apikeys_json_string(ngx_apikeys_json_item(a, 1), &s);
    is_str(&s, "B", "its items");
    ok(ngx_apikeys_json_item(a, 2) == NULL
       && ngx_apikeys_json_item(a, (ngx_uint_t) -1) == NULL,
       "none out of range");
    ok(ngx_apikeys_json_member(o, "none") == NULL, "no such member");
    ok(ngx_apikeys_json_member(a, "z") == NULL
       && ngx_apikeys_json_item(o, 0) == NULL
       && ngx_apikeys_json_size(o) == 0,
       "arrays are no objects and objects no arrays");

    ngx_apikeys_json_string(a, &s);
    ok(s.len == 0, "what is no string is empty");

    ngx_memzero(&it, sizeof(it));

    for (n = 0; ngx_apikeys_json_next(o, &it, &s, &v) == NGX_OK; n++) {
        static const char  *names[] = { "z", "desc", "roles", "a" };

        is_str(&s, names[n], "member %d in the order of the text", (int) n);
    }

    ok(n == 4, "and no more");

    ngx_memzero(&it, sizeof(it));
    ok(ngx_apikeys_json_next(value("{}"), &it, &s, &v) == NGX_DONE,
       "an empty object has no member");
    ngx_memzero(&it, sizeof(it));
    ok(ngx_apikeys_json_next(value("[1]"), &it, &s, &v) == NGX_DONE,
       "nor has an array");
}


static void
check_refused(void)
{
    ngx_uint_t  i;

    static const char  *bad[] = {
        "", " ", "{", "}", "[", "[1", "[1,]", "{\"a\"}", "{\"a\":}",
        "{\"a\":1,}", "{a:1}", "{'a':1}", "[1] 2", "[1]]", "{} x", "1 2",
        "tru", "True", "nul", "NaN", "Infinity", "-", "01", "1.", ".5",
        "\"", "\"abc", "\"a\nb\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"",
        "\"\\udc00x\"", "\"\\u0000\"", "{\"a\\u0000\":1}", "\"\x80\"",
        "\"\xc3\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xf5\x80\x80\x80\"",
        "\"\xff\"", "{\"a\":1,\"a\":2}", "{\"a\":{\"b\":1,\"b\":1}}",
        "[1//\n]", "/* */ 1", "\xef\xbb\xbf{}", "[\"\t\"]", NULL
    };

    for (i = 0; bad[i]; i++) {
        ok(parse(bad[i]) == NGX_DECLINED, "refused (%d)", (int) i);
    }
}


static void
check_depth(void)
{
    char                 text[2 * NGX_APIKEYS_JSON_MAX_DEPTH + 2], *big;
    size_t               size;
    ngx_apikeys_json_t  *v;

    memset(text, '[', 16);
    memset(&text[16], ']', 16);
    ok(parse_len(text, 32, &v) == NGX_OK, "16 levels");

    memset(text, '[', 17);
    memset(&text[17], ']', 17);
    ok(parse_len(text, 34, &v) == NGX_DECLINED, "17 are refused");

    ok(parse("\"[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[\"") == NGX_OK,
       "brackets in strings are none");

    ok(parse("[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]")
       == NGX_OK, "many side by side are not deep");

    size = 4 * 1024 * 1024;
    big = ngx_alloc(size, &tap_log);

    memset(big, '[', size);
    ok(parse_len(big, size, &v) == NGX_DECLINED, "4 MB of [");

    memset(big, '\\', size);
    ok(parse_len(big, size, &v) == NGX_DECLINED, "4 MB of \\");

    memset(big, 'x', size);
    big[0] = '"';
    big[size - 1] = '"';
    ok(parse_len(big, size, &v) == NGX_OK, "a string of 4 MB");

    big[size / 2] = '\0';
    ok(parse_len(big, size, &v) == NGX_DECLINED, "with a NUL in it");

    ngx_free(big);
}


static void
check_hostile(void)
{
    size_t               len;
    ngx_str_t            s;
    ngx_uint_t           i, n, parsed;
    ngx_apikeys_json_t  *v;

    static const char  text[] =
        "{\"desc\":\"\\u00e9\xc3\xa9\\\\\",\"roles\":[\"ORG_OWNER\",null,"
        "true,-1.5e2,{\"a\":[]}]}";

    for (parsed = 0, len = 0; len < sizeof(text) - 1; len++) {
        parsed += parse_len(text, len, &v) == NGX_OK;
    }

    ok(parsed == 0, "a document truncated at each byte");

    for (i = 0; i < 50000; i++) {
        s = tap_exact(text, sizeof(text) - 1);

        for (n = 0; n <= i % 3; n++) {
            s.data[ngx_random() % s.len] =
                               (u_char) "[]{}\",:\\\0\xff"[ngx_random() % 10];
        }

        if (ngx_apikeys_json_parse(&s, 100000, &v) == NGX_OK) {
            ngx_apikeys_json_free(v);
        }

        ngx_free(s.data);
    }

    ok(1, "random damage does no harm");
}


static ngx_str_t
text(ngx_apikeys_json_out_t *o)
{
    size_t        n;
    ngx_str_t     s;
    ngx_chain_t  *cl;

    s.len = 0;
    s.data = ngx_pnalloc(pool, o->size + 1);

    for (cl = o->out; cl; cl = cl->next) {
        n = cl->buf->last - cl->buf->pos;

        if (n == 0 || !ngx_buf_in_memory(cl->buf)
            || s.len + n > (size_t) o->size)
        {
            s.len = 0;
            return s;
        }

        memcpy(s.data + s.len, cl->buf->pos, n);
        s.len += n;
    }

    return s;
}


static void
write_list(ngx_apikeys_json_out_t *o)
{
    ngx_uint_t  i;
    ngx_str_t   s;

    ngx_apikeys_json_out_object(o);

    ngx_apikeys_json_out_name(o, "links");
    ngx_apikeys_json_out_array(o);
    ngx_apikeys_json_out_object(o);
    ngx_str_set(&s, "http://h/orgs?pageNum=1");
    ngx_apikeys_json_out_member(o, "href", &s);
    ngx_str_set(&s, "self");
    ngx_apikeys_json_out_member(o, "rel", &s);
    ngx_apikeys_json_out_object_end(o);
    ngx_apikeys_json_out_array_end(o);

    ngx_apikeys_json_out_name(o, "results");
    ngx_apikeys_json_out_array(o);

    for (i = 0; i < 2; i++) {
        ngx_apikeys_json_out_object(o);
        ngx_apikeys_json_out_name(o, "none");
        ngx_apikeys_json_out_array(o);
        ngx_apikeys_json_out_array_end(o);
        ngx_apikeys_json_out_name(o, "empty");
        ngx_apikeys_json_out_object(o);
        ngx_apikeys_json_out_object_end(o);
        ngx_apikeys_json_out_name(o, "ip");
        ngx_apikeys_json_out_null(o);
        ngx_apikeys_json_out_name(o, "on");
        ngx_apikeys_json_out_bool(o, i);
        ngx_apikeys_json_out_object_end(o);
    }

    ngx_apikeys_json_out_array_end(o);

    ngx_apikeys_json_out_name(o, "roles");
    ngx_apikeys_json_out_array(o);
    ngx_str_set(&s, "a");
    ngx_apikeys_json_out_string(o, &s);
    ngx_str_set(&s, "b");
    ngx_apikeys_json_out_string(o, &s);
    ngx_apikeys_json_out_array_end(o);

    ngx_apikeys_json_out_name(o, "totalCount");
    ngx_apikeys_json_out_int(o, 2);

    ngx_apikeys_json_out_object_end(o);
}


static void
check_styles(void)
{
    ngx_str_t               s;
    ngx_apikeys_json_out_t  o;

    ngx_apikeys_json_out_init(&o, pool, 0);
    write_list(&o);
    s = text(&o);
    is_str(&s, "{\"links\":[{\"href\":\"http://h/orgs?pageNum=1\","
           "\"rel\":\"self\"}],\"results\":[{\"none\":[],\"empty\":{},"
           "\"ip\":null,\"on\":false},{\"none\":[],\"empty\":{},"
           "\"ip\":null,\"on\":true}],\"roles\":[\"a\",\"b\"],"
           "\"totalCount\":2}", "compact");
    ok((size_t) o.size == s.len && !o.failed && o.depth == 0, "its size");

    ngx_apikeys_json_out_init(&o, pool, 1);
    write_list(&o);
    s = text(&o);
    is_str(&s,
           "{\n"
           "  \"links\" : [ {\n"
           "    \"href\" : \"http://h/orgs?pageNum=1\",\n"
           "    \"rel\" : \"self\"\n"
           "  } ],\n"
           "  \"results\" : [ {\n"
           "    \"none\" : [ ],\n"
           "    \"empty\" : { },\n"
           "    \"ip\" : null,\n"
           "    \"on\" : false\n"
           "  }, {\n"
           "    \"none\" : [ ],\n"
           "    \"empty\" : { },\n"
           "    \"ip\" : null,\n"
           "    \"on\" : true\n"
           "  } ],\n"
           "  \"roles\" : [ \"a\", \"b\" ],\n"
           "  \"totalCount\" : 2\n"
           "}", "pretty");
    ok((size_t) o.size == s.len && o.indent == 0, "its size");
}


static void
check_unauthorized(void)
{
    ngx_str_t               s;
    ngx_apikeys_json_out_t  o;

    ngx_apikeys_json_out_init(&o, pool, 1);
    ngx_apikeys_json_out_object(&o);
    ngx_apikeys_json_out_name(&o, "error");
    ngx_apikeys_json_out_int(&o, 401);
    ngx_str_set(&s, "Unauthorized");
    ngx_apikeys_json_out_member(&o, "reason", &s);
    ngx_str_set(&s, "You are not authorized for this resource.");
    ngx_apikeys_json_out_member(&o, "detail", &s);
    ngx_str_set(&s, "UNEXPECTED_ERROR");
    ngx_apikeys_json_out_member(&o, "errorCode", &s);
    ngx_apikeys_json_out_object_end(&o);

    s = text(&o);
    is_str(&s, "{\n  \"error\" : 401,\n  \"reason\" : \"Unauthorized\",\n"
           "  \"detail\" : \"You are not authorized for this resource.\",\n"
           "  \"errorCode\" : \"UNEXPECTED_ERROR\"\n}",
           "the digest's 401");
    ok(o.size == 142, "of 142 bytes");
}


static ngx_str_t
string(const char *data, size_t len)
{
    ngx_str_t               s;
    ngx_apikeys_json_out_t  o;

    ngx_apikeys_json_out_init(&o, pool, 0);
    s = tap_exact(data, len);
    ngx_apikeys_json_out_string(&o, &s);
    ngx_free(s.data);

    return text(&o);
}


static void
check_strings(void)
{
    ngx_str_t               s, got;
    ngx_uint_t              i, wrong;
    ngx_apikeys_json_t     *v;
    ngx_apikeys_json_out_t  o;

    s = string("a/b\"c\\d", 7);
    is_str(&s, "\"a/b\\\"c\\\\d\"", "quotes and slashes");
    s = string("\n\t\x01", 3);
    is_str(&s, "\"\\n\\t\\u0001\"", "control characters");
    s = string("\xc3\xa9\xf0\x9f\x98\x80", 6);
    is_str(&s, "\"\xc3\xa9\xf0\x9f\x98\x80\"", "UTF-8 as it is");
    s = string("a\xff\"\xc3\n", 5);
    is_str(&s, "\"a\\ufffd\\\"\\ufffd\\n\"", "what is not UTF-8");
    s = string("\xed\xa0\x80", 3);
    is_str(&s, "\"\\ufffd\\ufffd\\ufffd\"", "nor is a surrogate");
    s = string("", 0);
    is_str(&s, "\"\"", "an empty string");

    for (wrong = 0, i = 1; i < 20000; i++) {
        u_char  data[64];
        size_t  len;

        for (len = 0; len < i % sizeof(data); len++) {
            data[len] = (u_char) (1 + ngx_random() % 127);
        }

        s = string((char *) data, len);

        if (parse_len((char *) s.data, s.len, &v) != NGX_OK) {
            wrong++;
            continue;
        }

        ngx_apikeys_json_string(v, &got);
        wrong += got.len != len || memcmp(got.data, data, len) != 0;
    }

    ok(wrong == 0, "what is written parses back");

    for (wrong = 0, i = 0; i < 17 * 255; i++) {
        u_char  data[17], c;

        c = (u_char) (1 + i / 17);

        memset(data, 'a', sizeof(data));
        data[i % 17] = c;

        s = string((char *) data, sizeof(data));

        if (parse_len((char *) s.data, s.len, &v) != NGX_OK) {
            wrong++;
            continue;
        }

        ngx_apikeys_json_string(v, &got);

        if (c < 0x80) {
            wrong += got.len != sizeof(data)
                     || memcmp(got.data, data, sizeof(data)) != 0;

        } else {
            wrong += got.len != sizeof(data) + 2
                     || memcmp(got.data + i % 17, "\xef\xbf\xbd", 3) != 0;
        }
    }

    ok(wrong == 0, "each byte at each place");

    s.len = 65536;
    s.data = ngx_alloc(s.len, &tap_log);
    memset(s.data, '"', s.len);

    ngx_apikeys_json_out_init(&o, pool, 1);
    ngx_apikeys_json_out_array(&o);
    for (i = 0; i < 20; i++) {
        ngx_apikeys_json_out_string(&o, &s);
        ngx_apikeys_json_out_int(&o, -(int64_t) i);
    }
    ngx_apikeys_json_out_array_end(&o);
    ngx_free(s.data);

    s = text(&o);
    ok((size_t) o.size == s.len
       && parse_len((char *) s.data, s.len, &v) == NGX_OK
       && ngx_apikeys_json_size(v) == 40,
       "a document of several buffers");
}


static void
check_levels(void)
{
    ngx_uint_t              i;
    ngx_apikeys_json_out_t  o;

    ngx_apikeys_json_out_init(&o, pool, 1);

    for (i = 0; i < 33; i++) {
        ngx_apikeys_json_out_array(&o);
    }

    ngx_apikeys_json_out_null(&o);

    for (i = 0; i < 33; i++) {
        ngx_apikeys_json_out_array_end(&o);
    }

    ok(o.failed, "too many levels fail, and do no harm");
}


int
main(void)
{
    tap_start();
    srandom(1);

    pool = ngx_create_pool(4096, &tap_log);

    check_types();
    check_access();
    check_refused();
    check_depth();
    check_hostile();
    check_styles();
    check_unauthorized();
    check_strings();
    check_levels();

    ngx_destroy_pool(pool);

    return tap_end();
}
