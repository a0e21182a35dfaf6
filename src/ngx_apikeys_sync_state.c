
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Rows of the type apikeys.state on their way into the store.  The columns
 * are sorted and checked by the database; here they are checked again as far
 * as a decision rests on them, and what does not hold makes the key
 * unreadable.  An entry or a list that was dropped silently would widen what
 * the key may do (an empty access list admits every address).
 *
 * Secrets are opened here and nowhere else on the way in.  The states hold
 * them in clear until they are published: wipe them before their memory is
 * given back.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_sync_state.h>


/* how long the zone's lock is held at most, but for one large key */
#define NGX_APIKEYS_SYNC_STATE_HOLD  1000


static ngx_int_t ngx_apikeys_sync_state_value(ngx_apikeys_sync_row_t *row,
    ngx_uint_t column, ngx_str_t *value);
static void ngx_apikeys_sync_state_org(ngx_apikeys_sync_row_t *row,
    ngx_str_t *value);
static ngx_int_t ngx_apikeys_sync_state_kind(const ngx_str_t *value,
    ngx_apikeys_store_kind_e *kind);
static ngx_int_t ngx_apikeys_sync_state_key(ngx_apikeys_sync_conf_t *conf,
    ngx_pool_t *pool, ngx_apikeys_sync_row_t *row,
    ngx_apikeys_store_key_t *key);
static ngx_int_t ngx_apikeys_sync_state_grants(ngx_pool_t *pool,
    ngx_str_t *value, ngx_apikeys_store_key_t *key);
static ngx_int_t ngx_apikeys_sync_state_entries(ngx_pool_t *pool,
    ngx_str_t *value, ngx_apikeys_store_key_t *key);
static ngx_uint_t ngx_apikeys_sync_state_count(const ngx_str_t *list,
    u_char separator);
static ngx_uint_t ngx_apikeys_sync_state_item(ngx_str_t *rest,
    u_char separator, ngx_str_t *item);
static ngx_int_t ngx_apikeys_sync_state_publish_locked(
    ngx_apikeys_store_t *store, ngx_apikeys_sync_state_t *state,
    uint32_t load);


ngx_int_t
ngx_apikeys_sync_state_decode(ngx_apikeys_sync_conf_t *conf, ngx_pool_t *pool,
    ngx_apikeys_sync_row_t *row, ngx_apikeys_sync_state_t *state)
{
    ngx_int_t               version;
    ngx_str_t               value;
    ngx_apikeys_objectid_t  org;

    ngx_memzero(state, sizeof(ngx_apikeys_sync_state_t));

    ngx_apikeys_sync_state_value(row, NGX_APIKEYS_STATE_KIND, &value);

    if (ngx_apikeys_sync_state_kind(&value, &state->kind) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_apikeys_sync_state_value(row, NGX_APIKEYS_STATE_ID, &value);

    if (ngx_apikeys_objectid_parse(&state->id, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_apikeys_sync_state_value(row, NGX_APIKEYS_STATE_VERSION, &value);

    version = ngx_atoi(value.data, value.len);
    if (version == NGX_ERROR) {
        return NGX_ERROR;
    }

    state->version = version;

    ngx_apikeys_sync_state_value(row, NGX_APIKEYS_STATE_DELETED, &value);

    /* a deletion has no more than the name of what is gone */

    if (value.len == 1 && value.data[0] == 't') {
        state->deleted = 1;
        return NGX_OK;
    }

    switch (state->kind) {

    case NGX_APIKEYS_STORE_KEY:
        state->u.key.id = state->id;
        state->u.key.version = state->version;
        return ngx_apikeys_sync_state_key(conf, pool, row, &state->u.key);

    case NGX_APIKEYS_STORE_ORG:
        ngx_apikeys_sync_state_value(row, NGX_APIKEYS_STATE_LIST_REQUIRED,
                                     &value);

        state->u.org.id = state->id;
        state->u.org.version = state->version;

        /* what cannot be read is the stricter of the two */
        state->u.org.access_list_required =
                                    !(value.len == 1 && value.data[0] == 'f');
        return NGX_OK;

    default: /* NGX_APIKEYS_STORE_PROJECT */
        ngx_apikeys_sync_state_value(row, NGX_APIKEYS_STATE_ORG, &value);

        if (ngx_apikeys_objectid_parse(&org, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        state->u.project.id = state->id;
        state->u.project.org = org;
        state->u.project.version = state->version;
        return NGX_OK;
    }
}


static ngx_int_t
ngx_apikeys_sync_state_value(ngx_apikeys_sync_row_t *row, ngx_uint_t column,
    ngx_str_t *value)
{
    return ngx_apikeys_pg_query_value(row->query, row->number,
                                      row->column + column, value);
}


/* a key without an organization is a global one */

static void
ngx_apikeys_sync_state_org(ngx_apikeys_sync_row_t *row, ngx_str_t *value)
{
    if (ngx_apikeys_sync_state_value(row, NGX_APIKEYS_STATE_ORG, value)
        != NGX_OK)
    {
        ngx_str_set(value, "000000000000000000000000");
    }
}


static ngx_int_t
ngx_apikeys_sync_state_kind(const ngx_str_t *value,
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
ngx_apikeys_sync_state_key(ngx_apikeys_sync_conf_t *conf, ngx_pool_t *pool,
    ngx_apikeys_sync_row_t *row, ngx_apikeys_store_key_t *key)
{
    u_char               sealed[NGX_APIKEYS_SEALED_LEN];
    ngx_int_t            rc;
    ngx_str_t            value, context;
    ngx_apikeys_scope_e  scope;

    /* without these two the record cannot even be found */

    ngx_apikeys_sync_state_org(row, &value);

    if (ngx_apikeys_objectid_parse(&key->org, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    scope = ngx_apikeys_objectid_zero(&key->org) ? NGX_APIKEYS_SCOPE_GLOBAL
                                                 : NGX_APIKEYS_SCOPE_ORG;

    ngx_apikeys_sync_state_value(row, NGX_APIKEYS_STATE_PUBLIC_KEY, &value);

    if (value.len != NGX_APIKEYS_PUBLIC_KEY_LEN) {
        return NGX_ERROR;
    }

    ngx_memcpy(key->public_key, value.data, NGX_APIKEYS_PUBLIC_KEY_LEN);

    ngx_apikeys_sync_state_value(row, NGX_APIKEYS_STATE_ROLES, &value);

    key->roles = ngx_apikeys_roles_parse(scope, &value);

    ngx_apikeys_sync_state_value(row, NGX_APIKEYS_STATE_PROJECTS, &value);

    rc = ngx_apikeys_sync_state_grants(pool, &value, key);

    if (rc == NGX_OK) {
        if (ngx_apikeys_sync_state_value(row, NGX_APIKEYS_STATE_ENTRIES,
                                         &value)
            == NGX_OK)
        {
            rc = ngx_apikeys_sync_state_entries(pool, &value, key);

        } else {
            rc = NGX_DECLINED;
        }
    }

    if (rc == NGX_OK) {
        rc = ngx_apikeys_sync_state_secret(conf, pool, row, sealed, &context,
                                           &key->secret);
    }

    if (rc == NGX_OK) {
        ngx_memcpy(key->line, sealed, NGX_APIKEYS_SEAL_LINE_LEN);
    }

    /*
     * Not known in full is not known: the store keeps the record, so that
     * readers answer 503 and neither 401 nor a guess.
     */

    if (rc == NGX_DECLINED) {
        key->unreadable = 1;
        key->roles = 0;
        key->ngrants = 0;
        key->nentries = 0;

        return NGX_OK;
    }

    return rc;
}


ngx_int_t
ngx_apikeys_sync_state_secret(ngx_apikeys_sync_conf_t *conf, ngx_pool_t *pool,
    ngx_apikeys_sync_row_t *row, u_char *sealed, ngx_str_t *context,
    ngx_apikeys_secret_t *secret)
{
    ngx_str_t  org, id, public_key, value, text;

    ngx_apikeys_sync_state_value(row, NGX_APIKEYS_STATE_SECRET, &value);

    if (ngx_apikeys_seal_unhex(sealed, NGX_APIKEYS_SEALED_LEN, &value)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_apikeys_sync_state_org(row, &org);
    ngx_apikeys_sync_state_value(row, NGX_APIKEYS_STATE_ID, &id);
    ngx_apikeys_sync_state_value(row, NGX_APIKEYS_STATE_PUBLIC_KEY,
                                 &public_key);

    if (ngx_apikeys_seal_context(pool, context, &org, &id, &public_key,
                                 &conf->realm)
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
ngx_apikeys_sync_state_grants(ngx_pool_t *pool, ngx_str_t *value,
    ngx_apikeys_store_key_t *key)
{
    ngx_str_t                   item, text;
    ngx_uint_t                  n;
    ngx_apikeys_store_grant_t  *grant;

    n = ngx_apikeys_sync_state_count(value, ';');
    if (n == 0) {
        return NGX_OK;
    }

    key->grants = ngx_palloc(pool, n * sizeof(ngx_apikeys_store_grant_t));
    if (key->grants == NULL) {
        return NGX_ERROR;
    }

    while (ngx_apikeys_sync_state_item(value, ';', &item)) {

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
 * PostgreSQL's order of cidr is the store's, so a list comes as it is kept.
 * The order is checked: the store's search relies on it, and a list that is
 * searched in the wrong order may miss the entry that matters.
 */

static ngx_int_t
ngx_apikeys_sync_state_entries(ngx_pool_t *pool, ngx_str_t *value,
    ngx_apikeys_store_key_t *key)
{
    ngx_str_t            item;
    ngx_uint_t           n;
    ngx_apikeys_cidr_t  *entry;

    n = ngx_apikeys_sync_state_count(value, ',');
    if (n == 0) {
        return NGX_OK;
    }

    key->entries = ngx_palloc(pool, n * sizeof(ngx_apikeys_cidr_t));
    if (key->entries == NULL) {
        return NGX_ERROR;
    }

    while (ngx_apikeys_sync_state_item(value, ',', &item)) {

        entry = &key->entries[key->nentries];

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


static ngx_uint_t
ngx_apikeys_sync_state_count(const ngx_str_t *list, u_char separator)
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


/* takes the first item off; an empty one is an item, an empty rest is none */

static ngx_uint_t
ngx_apikeys_sync_state_item(ngx_str_t *rest, u_char separator,
    ngx_str_t *item)
{
    u_char  *p, *last;

    if (rest->data == NULL || rest->len == 0) {
        return 0;
    }

    last = rest->data + rest->len;
    p = ngx_strlchr(rest->data, last, separator);

    item->data = rest->data;

    if (p == NULL) {
        item->len = rest->len;
        rest->len = 0;
        return 1;
    }

    item->len = p - rest->data;
    rest->data = p + 1;
    rest->len = last - rest->data;

    return 1;
}


ngx_int_t
ngx_apikeys_sync_state_publish(ngx_apikeys_store_t *store,
    ngx_array_t *states, ngx_uint_t *next,
    const ngx_apikeys_sync_terms_t *terms)
{
    uint64_t                   start;
    ngx_uint_t                 hold;
    ngx_apikeys_sync_state_t  *state;

    if (*next == states->nelts) {
        return NGX_OK;
    }

    if (ngx_apikeys_store_lock(store) != NGX_OK) {
        return NGX_AGAIN;
    }

    /*
     * Under the lock: a successor writes after us, or is seen here; a load
     * that begins another epoch sweeps what is written now, or is seen here.
     */

    hold = terms->fenced ? ngx_apikeys_store_lease_held(store)
                         : ngx_apikeys_store_epoch(store) == terms->epoch;

    if (!hold) {
        ngx_apikeys_store_unlock(store);
        return NGX_ABORT;
    }

    state = states->elts;
    start = ngx_apikeys_sync_state_clock();

    do {
        /*
         * A full zone is the store's to log and to remember: the record is
         * invalid.  The others still have to be brought up to date.
         */
        if (ngx_apikeys_sync_state_publish_locked(store, &state[*next],
                                                  terms->load)
            == NGX_AGAIN)
        {
            break;
        }

        (*next)++;

    } while (*next < states->nelts
             && ngx_apikeys_sync_state_clock() - start
                < NGX_APIKEYS_SYNC_STATE_HOLD);

    ngx_apikeys_store_unlock(store);

    return (*next < states->nelts) ? NGX_AGAIN : NGX_OK;
}


static ngx_int_t
ngx_apikeys_sync_state_publish_locked(ngx_apikeys_store_t *store,
    ngx_apikeys_sync_state_t *state, uint32_t load)
{
    if (state->deleted) {
        return ngx_apikeys_store_delete_locked(store, state->kind, &state->id,
                                               state->version);
    }

    switch (state->kind) {

    case NGX_APIKEYS_STORE_KEY:
        return ngx_apikeys_store_publish_key_locked(store, &state->u.key,
                                                    load);

    case NGX_APIKEYS_STORE_ORG:
        return ngx_apikeys_store_publish_org_locked(store, &state->u.org,
                                                    load);

    default: /* NGX_APIKEYS_STORE_PROJECT */
        return ngx_apikeys_store_publish_project_locked(store,
                                                        &state->u.project,
                                                        load);
    }
}


void
ngx_apikeys_sync_state_wipe(ngx_array_t *states)
{
    ngx_explicit_memzero(states->elts, states->nelts * states->size);
}


uint64_t
ngx_apikeys_sync_state_clock(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}
