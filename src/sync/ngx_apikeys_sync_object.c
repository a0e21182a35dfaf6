
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Decodes rows of the type apikeys.state and publishes them.  The database
 * sorts and checks the columns; what a decision depends on is checked again
 * here, and a violation makes the key unreadable.  An entry or a list must not
 * be dropped silently, as that would widen what the key may do: an empty
 * access list accepts every address.
 *
 * Secrets are decrypted here.  The objects contain them in clear until they
 * are published and must be wiped before they are freed.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_clock.h>
#include <ngx_apikeys_list.h>
#include <ngx_apikeys_sync_object.h>


/* us for which the zone is locked at most, unless a single key takes longer */
#define NGX_APIKEYS_SYNC_OBJECT_HOLD  1000


/* sync_object_key() sets them all from the columns; "stub" stays 0 */
ngx_apikeys_store_key_members(21);


static ngx_int_t ngx_apikeys_sync_object_value(ngx_apikeys_sync_row_t *row,
    ngx_uint_t column, ngx_str_t *value);
static void ngx_apikeys_sync_object_org(ngx_apikeys_sync_row_t *row,
    ngx_str_t *value);
static ngx_int_t ngx_apikeys_sync_object_kind(const ngx_str_t *value,
    ngx_apikeys_store_kind_e *kind);
static ngx_int_t ngx_apikeys_sync_object_key(ngx_apikeys_sync_conf_t *conf,
    ngx_pool_t *pool, ngx_apikeys_sync_row_t *row,
    ngx_apikeys_store_key_t *key);
static ngx_int_t ngx_apikeys_sync_object_secrets(
    ngx_apikeys_sync_conf_t *conf, ngx_pool_t *pool,
    ngx_apikeys_sync_row_t *row, ngx_apikeys_store_key_t *key);
static ngx_int_t ngx_apikeys_sync_object_ends(ngx_apikeys_sync_row_t *row,
    ngx_apikeys_store_key_t *key);
static ngx_int_t ngx_apikeys_sync_object_end(ngx_apikeys_sync_row_t *row,
    ngx_uint_t column, uint32_t *end);
static ngx_int_t ngx_apikeys_sync_object_seconds(const ngx_str_t *text,
    uint32_t *end);
static ngx_int_t ngx_apikeys_sync_object_grants(ngx_pool_t *pool,
    ngx_str_t *value, ngx_apikeys_store_key_t *key);
static ngx_int_t ngx_apikeys_sync_object_entries(ngx_pool_t *pool,
    ngx_str_t *value, ngx_apikeys_store_key_t *key);
static ngx_int_t ngx_apikeys_sync_object_entry_end(ngx_pool_t *pool,
    ngx_str_t *item, ngx_uint_t n, ngx_apikeys_store_key_t *key);
static ngx_uint_t ngx_apikeys_sync_object_count(const ngx_str_t *list,
    u_char separator);
static ngx_int_t ngx_apikeys_sync_object_publish_locked(
    ngx_apikeys_store_t *store, ngx_apikeys_sync_object_t *object,
    uint32_t load);


ngx_int_t
ngx_apikeys_sync_object_decode(ngx_apikeys_sync_conf_t *conf, ngx_pool_t *pool,
    ngx_apikeys_sync_row_t *row, ngx_apikeys_sync_object_t *object)
{
    ngx_int_t               version;
    ngx_str_t               value;
    ngx_apikeys_objectid_t  org;

    ngx_memzero(object, sizeof(ngx_apikeys_sync_object_t));

    ngx_apikeys_sync_object_value(row, NGX_APIKEYS_STATE_KIND, &value);

    if (ngx_apikeys_sync_object_kind(&value, &object->kind) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_apikeys_sync_object_value(row, NGX_APIKEYS_STATE_ID, &value);

    if (ngx_apikeys_objectid_parse(&object->id, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_apikeys_sync_object_value(row, NGX_APIKEYS_STATE_VERSION, &value);

    version = ngx_atoi(value.data, value.len);
    if (version == NGX_ERROR) {
        return NGX_ERROR;
    }

    object->version = version;

    ngx_apikeys_sync_object_value(row, NGX_APIKEYS_STATE_DELETED, &value);

    /* the row of a deletion has no further columns */

    if (value.len == 1 && value.data[0] == 't') {
        object->deleted = 1;
        return NGX_OK;
    }

    switch (object->kind) {

    case NGX_APIKEYS_STORE_KEY:
        object->u.key.id = object->id;
        object->u.key.version = object->version;
        return ngx_apikeys_sync_object_key(conf, pool, row, &object->u.key);

    case NGX_APIKEYS_STORE_ORG:
        ngx_apikeys_sync_object_value(row, NGX_APIKEYS_STATE_LIST_REQUIRED,
                                      &value);

        object->u.org.id = object->id;
        object->u.org.version = object->version;

        /* anything but "f" counts as true, the stricter value */
        object->u.org.access_list_required =
                                    !(value.len == 1 && value.data[0] == 'f');
        return NGX_OK;

    default: /* NGX_APIKEYS_STORE_PROJECT */
        ngx_apikeys_sync_object_value(row, NGX_APIKEYS_STATE_ORG, &value);

        if (ngx_apikeys_objectid_parse(&org, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        object->u.project.id = object->id;
        object->u.project.org = org;
        object->u.project.version = object->version;
        return NGX_OK;
    }
}


static ngx_int_t
ngx_apikeys_sync_object_value(ngx_apikeys_sync_row_t *row, ngx_uint_t column,
    ngx_str_t *value)
{
    return ngx_apikeys_pg_query_value(row->query, row->number,
                                      row->column + column, value);
}


/* a global key has no organization: the zone has an all-zero id for it */

static void
ngx_apikeys_sync_object_org(ngx_apikeys_sync_row_t *row, ngx_str_t *value)
{
    if (ngx_apikeys_sync_object_value(row, NGX_APIKEYS_STATE_ORG, value)
        != NGX_OK)
    {
        ngx_str_set(value, "000000000000000000000000");
    }
}


static ngx_int_t
ngx_apikeys_sync_object_kind(const ngx_str_t *value,
    ngx_apikeys_store_kind_e *kind)
{
    if (value->len == 3 && ngx_strncmp(value->data, "key", 3) == 0) {
        *kind = NGX_APIKEYS_STORE_KEY;
        return NGX_OK;
    }

    if (value->len == 3 && ngx_strncmp(value->data, "org", 3) == 0) {
        *kind = NGX_APIKEYS_STORE_ORG;
        return NGX_OK;
    }

    if (value->len == 7 && ngx_strncmp(value->data, "project", 7) == 0) {
        *kind = NGX_APIKEYS_STORE_PROJECT;
        return NGX_OK;
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_apikeys_sync_object_key(ngx_apikeys_sync_conf_t *conf, ngx_pool_t *pool,
    ngx_apikeys_sync_row_t *row, ngx_apikeys_store_key_t *key)
{
    ngx_int_t            rc;
    ngx_str_t            value;
    ngx_apikeys_scope_e  scope;

    /* without these two the record cannot be stored */

    ngx_apikeys_sync_object_org(row, &value);

    if (ngx_apikeys_objectid_parse(&key->org, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    scope = ngx_apikeys_objectid_zero(&key->org) ? NGX_APIKEYS_SCOPE_GLOBAL
                                                 : NGX_APIKEYS_SCOPE_ORG;

    ngx_apikeys_sync_object_value(row, NGX_APIKEYS_STATE_PUBLIC_KEY, &value);

    if (value.len != NGX_APIKEYS_PUBLIC_KEY_LEN) {
        return NGX_ERROR;
    }

    ngx_memcpy(key->public_key, value.data, NGX_APIKEYS_PUBLIC_KEY_LEN);

    ngx_apikeys_sync_object_value(row, NGX_APIKEYS_STATE_ROLES, &value);

    key->roles = ngx_apikeys_roles_parse(scope, &value);

    ngx_apikeys_sync_object_value(row, NGX_APIKEYS_STATE_PROJECTS, &value);

    rc = ngx_apikeys_sync_object_grants(pool, &value, key);

    if (rc == NGX_OK) {
        rc = ngx_apikeys_sync_object_ends(row, key);
    }

    if (rc == NGX_OK) {
        if (ngx_apikeys_sync_object_value(row, NGX_APIKEYS_STATE_ENTRIES,
                                          &value)
            == NGX_OK)
        {
            rc = ngx_apikeys_sync_object_entries(pool, &value, key);

        } else {
            rc = NGX_DECLINED;
        }
    }

    if (rc == NGX_OK) {
        rc = ngx_apikeys_sync_object_secrets(conf, pool, row, key);
    }

    /*
     * A key that could not be decoded completely is stored as unreadable:
     * requests with it get 503, not 401.
     */

    if (rc == NGX_DECLINED) {
        key->unreadable = 1;
        key->roles = 0;
        key->expires = 0;
        key->disabled = 0;
        key->secret_expires = 0;
        key->older_expires = 0;
        ngx_memzero(&key->secret_id, NGX_APIKEYS_OBJECTID_LEN);
        ngx_memzero(&key->older_id, NGX_APIKEYS_OBJECTID_LEN);
        key->ngrants = 0;
        key->nentries = 0;
        key->ends = NULL;

        return NGX_OK;
    }

    return rc;
}


/*
 * A key with two secrets needs the lines of both, but the zone has the name of
 * one: that of the older secret, if they differ, as it will be removed from the
 * master key file first.
 */

static ngx_int_t
ngx_apikeys_sync_object_secrets(ngx_apikeys_sync_conf_t *conf,
    ngx_pool_t *pool, ngx_apikeys_sync_row_t *row,
    ngx_apikeys_store_key_t *key)
{
    u_char     sealed[NGX_APIKEYS_SEALED_LEN];
    ngx_int_t  rc;
    ngx_str_t  value, context;

    ngx_apikeys_sync_object_value(row, NGX_APIKEYS_STATE_SECRET_ID, &value);

    if (ngx_apikeys_objectid_parse(&key->secret_id, &value) != NGX_OK) {
        return NGX_DECLINED;
    }

    rc = ngx_apikeys_sync_object_secret(conf, pool, row,
                                        NGX_APIKEYS_STATE_SECRET_ID,
                                        NGX_APIKEYS_STATE_SECRET, sealed,
                                        &context, &key->secret);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_apikeys_sync_object_value(row, NGX_APIKEYS_STATE_OLDER_ID, &value)
        == NGX_OK)
    {
        if (ngx_apikeys_objectid_parse(&key->older_id, &value) != NGX_OK
            || ngx_apikeys_objectid_zero(&key->older_id))
        {
            return NGX_DECLINED;
        }

        rc = ngx_apikeys_sync_object_secret(conf, pool, row,
                                            NGX_APIKEYS_STATE_OLDER_ID,
                                            NGX_APIKEYS_STATE_OLDER_SECRET,
                                            sealed, &context, &key->older);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    ngx_memcpy(key->line, sealed, NGX_APIKEYS_SEAL_LINE_LEN);

    return NGX_OK;
}


/* anything but "f" counts as disabled, the stricter value */

static ngx_int_t
ngx_apikeys_sync_object_ends(ngx_apikeys_sync_row_t *row,
    ngx_apikeys_store_key_t *key)
{
    ngx_str_t  value;

    ngx_apikeys_sync_object_value(row, NGX_APIKEYS_STATE_DISABLED, &value);

    key->disabled = !(value.len == 1 && value.data[0] == 'f');

    if (ngx_apikeys_sync_object_end(row, NGX_APIKEYS_STATE_EXPIRES,
                                    &key->expires)
        != NGX_OK
        || ngx_apikeys_sync_object_end(row, NGX_APIKEYS_STATE_SECRET_EXPIRES,
                                       &key->secret_expires)
           != NGX_OK)
    {
        return NGX_DECLINED;
    }

    return ngx_apikeys_sync_object_end(row, NGX_APIKEYS_STATE_OLDER_EXPIRES,
                                       &key->older_expires);
}


static ngx_int_t
ngx_apikeys_sync_object_end(ngx_apikeys_sync_row_t *row, ngx_uint_t column,
    uint32_t *end)
{
    ngx_str_t  value;

    if (ngx_apikeys_sync_object_value(row, column, &value) != NGX_OK) {
        return NGX_OK;
    }

    return ngx_apikeys_sync_object_seconds(&value, end);
}


/* the zone has 32 bits for a time, enough until 2106: a later end is none */

static ngx_int_t
ngx_apikeys_sync_object_seconds(const ngx_str_t *text, uint32_t *end)
{
    time_t  expires;

    expires = ngx_atotm(text->data, text->len);

    if (expires == NGX_ERROR || expires == 0) {
        return NGX_DECLINED;
    }

    if (expires <= (time_t) 0xffffffff) {
        *end = (uint32_t) expires;
    }

    return NGX_OK;
}


ngx_int_t
ngx_apikeys_sync_object_secret(ngx_apikeys_sync_conf_t *conf, ngx_pool_t *pool,
    ngx_apikeys_sync_row_t *row, ngx_uint_t id_column,
    ngx_uint_t secret_column, u_char *sealed, ngx_str_t *context,
    ngx_apikeys_secret_t *secret)
{
    ngx_str_t  org, id, public_key, secret_id, value, text;

    ngx_apikeys_sync_object_value(row, secret_column, &value);

    if (ngx_apikeys_seal_unhex(sealed, NGX_APIKEYS_SEALED_LEN, &value)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_apikeys_sync_object_org(row, &org);
    ngx_apikeys_sync_object_value(row, NGX_APIKEYS_STATE_ID, &id);
    ngx_apikeys_sync_object_value(row, NGX_APIKEYS_STATE_PUBLIC_KEY,
                                  &public_key);
    ngx_apikeys_sync_object_value(row, id_column, &secret_id);

    if (ngx_apikeys_seal_context(pool, context, &org, &id, &public_key,
                                 &secret_id, &conf->realm)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    text.len = NGX_APIKEYS_SEALED_LEN;
    text.data = sealed;

    return ngx_apikeys_seal_open(conf->seal, secret, &text, context);
}


/* "GID:ROLE,ROLE;GID:ROLE", ascending by project */

static ngx_int_t
ngx_apikeys_sync_object_grants(ngx_pool_t *pool, ngx_str_t *value,
    ngx_apikeys_store_key_t *key)
{
    ngx_str_t                   item, text;
    ngx_uint_t                  n;
    ngx_apikeys_store_grant_t  *grant;

    n = ngx_apikeys_sync_object_count(value, ';');
    if (n == 0) {
        return NGX_OK;
    }

    key->grants = ngx_palloc(pool, n * sizeof(ngx_apikeys_store_grant_t));
    if (key->grants == NULL) {
        return NGX_ERROR;
    }

    while (ngx_apikeys_list_next(value, ';', &item)) {

        if (item.len <= NGX_APIKEYS_OBJECTID_TEXT_LEN
            || item.data[NGX_APIKEYS_OBJECTID_TEXT_LEN] != ':')
        {
            return NGX_DECLINED;
        }

        grant = &key->grants[key->ngrants];

        text.len = NGX_APIKEYS_OBJECTID_TEXT_LEN;
        text.data = item.data;

        if (ngx_apikeys_objectid_parse(&grant->id, &text) != NGX_OK) {
            return NGX_DECLINED;
        }

        if (key->ngrants
            && ngx_memcmp(&grant[-1].id, &grant->id, NGX_APIKEYS_OBJECTID_LEN)
               >= 0)
        {
            return NGX_DECLINED;
        }

        text.len = item.len - (NGX_APIKEYS_OBJECTID_TEXT_LEN + 1);
        text.data = item.data + NGX_APIKEYS_OBJECTID_TEXT_LEN + 1;

        grant->roles = ngx_apikeys_roles_parse(NGX_APIKEYS_SCOPE_PROJECT,
                                               &text);
        key->ngrants++;
    }

    return NGX_OK;
}


/*
 * PostgreSQL sorts cidr values in the order of ngx_apikeys_cidr_compare().
 * The order is checked, as a binary search in a list that is not sorted may
 * miss the entry that contains the address.
 */

static ngx_int_t
ngx_apikeys_sync_object_entries(ngx_pool_t *pool, ngx_str_t *value,
    ngx_apikeys_store_key_t *key)
{
    ngx_int_t            rc;
    ngx_str_t            item;
    ngx_uint_t           n;
    ngx_apikeys_cidr_t  *entry;

    n = ngx_apikeys_sync_object_count(value, ',');
    if (n == 0) {
        return NGX_OK;
    }

    key->entries = ngx_palloc(pool, n * sizeof(ngx_apikeys_cidr_t));
    if (key->entries == NULL) {
        return NGX_ERROR;
    }

    while (ngx_apikeys_list_next(value, ',', &item)) {

        entry = &key->entries[key->nentries];

        rc = ngx_apikeys_sync_object_entry_end(pool, &item, n, key);
        if (rc != NGX_OK) {
            return rc;
        }

        if (ngx_apikeys_cidr_parse_block(entry, &item) != NGX_OK) {
            return NGX_DECLINED;
        }

        if (key->nentries
            && ngx_apikeys_cidr_compare(&entry[-1], entry) >= 0)
        {
            return NGX_DECLINED;
        }

        key->nentries++;
    }

    return NGX_OK;
}


/*
 * Cuts "@SECONDS" off the next entry of n and keeps it.  The ends of all
 * entries are allocated with the first one.
 */

static ngx_int_t
ngx_apikeys_sync_object_entry_end(ngx_pool_t *pool, ngx_str_t *item,
    ngx_uint_t n, ngx_apikeys_store_key_t *key)
{
    u_char     *at;
    ngx_str_t   text;

    at = ngx_strlchr(item->data, item->data + item->len, '@');
    if (at == NULL) {
        return NGX_OK;
    }

    text.data = at + 1;
    text.len = item->data + item->len - text.data;
    item->len = at - item->data;

    if (key->ends == NULL) {
        key->ends = ngx_pcalloc(pool, n * sizeof(uint32_t));
        if (key->ends == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_apikeys_sync_object_seconds(&text, &key->ends[key->nentries]);
}


static ngx_uint_t
ngx_apikeys_sync_object_count(const ngx_str_t *list, u_char separator)
{
    size_t      i;
    ngx_uint_t  n;

    if (list->len == 0) {
        return 0;
    }

    n = 1;

    for (i = 0; i < list->len; i++) {
        if (list->data[i] == separator) {
            n++;
        }
    }

    return n;
}


ngx_int_t
ngx_apikeys_sync_object_publish(ngx_apikeys_store_t *store,
    ngx_array_t *objects, ngx_uint_t *next,
    const ngx_apikeys_sync_precondition_t *precondition)
{
    uint64_t                    start;
    ngx_uint_t                  hold;
    ngx_apikeys_sync_object_t  *object;

    if (*next == objects->nelts) {
        return NGX_OK;
    }

    if (ngx_apikeys_store_lock(store) != NGX_OK) {
        return NGX_AGAIN;
    }

    /*
     * Checked under the lock: if another process took the lease, or a load of
     * another database began, before this process locked the zone, it is seen
     * here; if later, its own writes replace or sweep these.
     */

    hold = precondition->need_lease ? ngx_apikeys_store_lease_held(store)
           : ngx_apikeys_store_generation(store) == precondition->generation;

    if (!hold) {
        ngx_apikeys_store_unlock(store);
        return NGX_ABORT;
    }

    object = objects->elts;
    start = ngx_apikeys_clock_usec();

    do {
        /*
         * If the zone is full, the store logs this and marks the record
         * invalid and the local copy incomplete; go on with the others.
         */
        if (ngx_apikeys_sync_object_publish_locked(store, &object[*next],
                                                   precondition->load)
            == NGX_AGAIN)
        {
            break;
        }

        (*next)++;

    } while (*next < objects->nelts
             && ngx_apikeys_clock_usec() - start
                < NGX_APIKEYS_SYNC_OBJECT_HOLD);

    ngx_apikeys_store_unlock(store);

    return (*next < objects->nelts) ? NGX_AGAIN : NGX_OK;
}


static ngx_int_t
ngx_apikeys_sync_object_publish_locked(ngx_apikeys_store_t *store,
    ngx_apikeys_sync_object_t *object, uint32_t load)
{
    if (object->deleted) {
        return ngx_apikeys_store_delete_locked(store, object->kind, &object->id,
                                               object->version);
    }

    switch (object->kind) {

    case NGX_APIKEYS_STORE_KEY:
        return ngx_apikeys_store_publish_key_locked(store, &object->u.key,
                                                    load);

    case NGX_APIKEYS_STORE_ORG:
        return ngx_apikeys_store_publish_org_locked(store, &object->u.org,
                                                    load);

    default: /* NGX_APIKEYS_STORE_PROJECT */
        return ngx_apikeys_store_publish_project_locked(store,
                                                        &object->u.project,
                                                        load);
    }
}


void
ngx_apikeys_sync_object_wipe(ngx_array_t *objects)
{
    ngx_explicit_memzero(objects->elts, objects->nelts * objects->size);
}
