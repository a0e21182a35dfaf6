
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A snapshot's text, as if it had been sealed, and a chunk of a file that
 * nobody has sealed.  What is read from a text is in the order that the
 * store needs, and written again it is read as the same.
 */


#include "fuzz.h"

#include <ngx_apikeys_snapshot_format.h>


/* check_again() compares them all */
ngx_apikeys_store_key_members(21);


static void check_text(ngx_str_t *text, ngx_pool_t *pool);
static void check_key(ngx_apikeys_store_key_t *key);
static void check_again(ngx_apikeys_store_object_t *object, ngx_pool_t *pool);
static void check_same(const ngx_apikeys_store_key_t *key,
    const ngx_apikeys_store_key_t *again);
static void check_chunk(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t                     text;
    ngx_pool_t                   *pool;
    ngx_apikeys_snapshot_meta_t   meta;

    pool = ngx_create_pool(4096, &fuzz_log);

    text.data = (u_char *) data;
    text.len = size;

    if (ngx_apikeys_snapshot_format_get_meta(&text, &meta) == NGX_OK) {
        must(meta.database_id.data + meta.database_id.len <= data + size);
        must(meta.pg_snapshot.data + meta.pg_snapshot.len <= data + size);
        must(text.data + text.len == data + size);
    }

    text.data = (u_char *) data;
    text.len = size;

    check_text(&text, pool);
    check_chunk(data, size);

    ngx_destroy_pool(pool);

    return 0;
}


static void
check_text(ngx_str_t *text, ngx_pool_t *pool)
{
    ngx_int_t                    rc;
    ngx_apikeys_store_object_t   object;

    for ( ;; ) {
        rc = ngx_apikeys_snapshot_format_get(text, pool, &object);

        if (rc != NGX_OK) {
            must(rc == NGX_ERROR || (rc == NGX_DONE && text->len == 0));
            return;
        }

        if (object.kind == NGX_APIKEYS_STORE_KEY) {
            check_key(&object.u.key);
        }

        check_again(&object, pool);
    }
}


static void
check_key(ngx_apikeys_store_key_t *key)
{
    ngx_uint_t           i;
    ngx_apikeys_cidr_t  *entry;

    for (i = 0; i < key->nentries; i++) {
        entry = &key->entries[i];

        must(entry->family == 4 || entry->family == 6);
        must(entry->prefix <= (entry->family == 4 ? 32 : 128));
        must(i == 0 || ngx_apikeys_cidr_compare(entry - 1, entry) < 0);
    }

    for (i = 1; i < key->ngrants; i++) {
        must(memcmp(&key->grants[i - 1].id, &key->grants[i].id,
                    NGX_APIKEYS_OBJECTID_LEN)
             < 0);
    }
}


static void
check_again(ngx_apikeys_store_object_t *object, ngx_pool_t *pool)
{
    ngx_str_t                     copy;
    ngx_apikeys_store_object_t    again;
    ngx_apikeys_snapshot_text_t   text;

    memset(&text, 0, sizeof(text));
    text.log = &fuzz_log;

    must(ngx_apikeys_snapshot_format_put(&text, object) == NGX_OK);

    copy.data = text.data;
    copy.len = text.len;

    must(ngx_apikeys_snapshot_format_get(&copy, pool, &again) == NGX_OK);
    must(copy.len == 0);
    must(again.kind == object->kind);

    if (object->kind == NGX_APIKEYS_STORE_KEY) {
        check_same(&object->u.key, &again.u.key);
    }

    ngx_apikeys_snapshot_format_free(&text);
}


static void
check_same(const ngx_apikeys_store_key_t *key,
    const ngx_apikeys_store_key_t *again)
{
    ngx_uint_t  i;

    must(memcmp(&again->id, &key->id, sizeof(key->id)) == 0);
    must(memcmp(&again->org, &key->org, sizeof(key->org)) == 0);
    must(memcmp(again->public_key, key->public_key, sizeof(key->public_key))
         == 0);
    must(again->version == key->version);
    must(memcmp(&again->secret, &key->secret, sizeof(key->secret)) == 0);
    must(memcmp(again->line, key->line, sizeof(key->line)) == 0);
    must(again->roles == key->roles);
    must(again->expires == key->expires);
    must(again->disabled == key->disabled);
    must(memcmp(&again->secret_id, &key->secret_id, sizeof(key->secret_id))
         == 0);
    must(again->secret_expires == key->secret_expires);
    must(memcmp(&again->older_id, &key->older_id, sizeof(key->older_id)) == 0);
    must(again->older_expires == key->older_expires);
    must(memcmp(&again->older, &key->older, sizeof(key->older)) == 0);
    must(!again->unreadable == !key->unreadable);
    must(!again->stub == !key->stub);
    must(again->ngrants == key->ngrants);
    must(again->nentries == key->nentries);

    for (i = 0; i < key->ngrants; i++) {
        must(memcmp(&again->grants[i].id, &key->grants[i].id,
                    sizeof(ngx_apikeys_objectid_t))
             == 0);
        must(again->grants[i].roles == key->grants[i].roles);
    }

    for (i = 0; i < key->nentries; i++) {
        must(ngx_apikeys_cidr_compare(&again->entries[i], &key->entries[i])
             == 0);
        must(again->entries[i].family == key->entries[i].family);
        must(again->entries[i].prefix == key->entries[i].prefix);
    }

    must(!again->ends == !key->ends);

    for (i = 0; key->ends && i < key->nentries; i++) {
        must(again->ends[i] == key->ends[i]);
    }
}


static void
check_chunk(const uint8_t *data, size_t size)
{
    u_char                          *chunk;
    size_t                           len;
    ngx_uint_t                       last;
    ngx_apikeys_snapshot_cipher_t    cipher;

    memset(&cipher, 0, sizeof(cipher));

    if (size >= sizeof(cipher.header)) {
        memcpy(cipher.header, data, sizeof(cipher.header));
        (void) ngx_apikeys_snapshot_format_header(&cipher);
    }

    if (size < NGX_APIKEYS_SNAPSHOT_LENGTH_LEN + NGX_APIKEYS_SNAPSHOT_TAG_LEN
        || ngx_apikeys_snapshot_format_length(data, &len, &last) != NGX_OK
        || size < NGX_APIKEYS_SNAPSHOT_LENGTH_LEN + len
                  + NGX_APIKEYS_SNAPSHOT_TAG_LEN)
    {
        return;
    }

    chunk = ngx_alloc(size, &fuzz_log);
    memcpy(chunk, data, size);

    must(ngx_apikeys_snapshot_format_open(&cipher, chunk, len, last)
         == NGX_DECLINED);
    must(cipher.number == 0);

    ngx_free(chunk);
}
