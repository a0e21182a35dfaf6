
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The access list of a key, also under its old name, whitelist:
 * call->whitelist is set if the path has the old name.
 */


#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_native.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_resources.h>
#include <ngx_http_apikeys_page.h>
#include <ngx_http_apikeys_run.h>


/*
 * bytes of a parameter that a request may hold while it waits for a connection
 */
#define NGX_HTTP_APIKEYS_ACCESS_LIST_KEPT  16384

/* characters */
#define NGX_HTTP_APIKEYS_ACCESS_LIST_MAX_COMMENT  250


enum {
    NGX_HTTP_APIKEYS_ENTRY_CIDR = 0,
    NGX_HTTP_APIKEYS_ENTRY_CREATED,
    NGX_HTTP_APIKEYS_ENTRY_COUNT,
    NGX_HTTP_APIKEYS_ENTRY_LAST_USED,
    NGX_HTTP_APIKEYS_ENTRY_LAST_ADDRESS,
    NGX_HTTP_APIKEYS_ENTRY_COMMENT,
    NGX_HTTP_APIKEYS_ENTRY_EXPIRES,
    NGX_HTTP_APIKEYS_ENTRY_TOTAL
};


typedef struct {
    ngx_apikeys_json_t  *address;
    ngx_apikeys_json_t  *block;

    /* on the native API */
    ngx_apikeys_json_t  *comment;
    ngx_apikeys_json_t  *expires;
} ngx_http_apikeys_entry_body_t;


static void ngx_http_apikeys_access_list_write_listed(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_out_t *out,
    ngx_uint_t row);
static void ngx_http_apikeys_access_list_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, ngx_uint_t single);
static void ngx_http_apikeys_access_list_link(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const ngx_apikeys_cidr_t *cidr);
static void ngx_http_apikeys_access_list_write_native(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_out_t *out, ngx_uint_t row,
    const ngx_apikeys_cidr_t *cidr);
static void ngx_http_apikeys_access_list_count(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, const char *name);
static void ngx_http_apikeys_access_list_text(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, const char *name,
    ngx_uint_t column);
static ngx_str_t *ngx_http_apikeys_access_list_make(
    ngx_apikeys_pg_query_t *q, ngx_pool_t *pool);
static ngx_int_t ngx_http_apikeys_access_list_added(
    ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_access_list_added_done(
    ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_access_list_parse(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_t *item,
    ngx_apikeys_cidr_t *entry, ngx_apikeys_json_out_t *attributes);
static ngx_int_t ngx_http_apikeys_access_list_attributes(
    ngx_http_apikeys_call_t *call, const ngx_http_apikeys_entry_body_t *body,
    ngx_apikeys_json_out_t *out);
static ngx_uint_t ngx_http_apikeys_access_list_unique(
    ngx_apikeys_cidr_t *entries, ngx_uint_t n);
static int ngx_libc_cdecl ngx_http_apikeys_access_list_compare(
    const void *one, const void *two);
static ngx_int_t ngx_http_apikeys_access_list_array(ngx_pool_t *pool,
    ngx_apikeys_cidr_t *entries, ngx_uint_t n, ngx_str_t *param);
static ngx_int_t ngx_http_apikeys_access_list_get_done(
    ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_access_list_block_text(
    ngx_http_apikeys_call_t *call, ngx_str_t *text);
static const char *ngx_http_apikeys_access_list_name(
    ngx_http_apikeys_call_t *call);


/* parameters of the statements below */

enum {
    NGX_HTTP_APIKEYS_ACCESS_LIST_KEY = 0,
    NGX_HTTP_APIKEYS_ACCESS_LIST_PAGE,
    NGX_HTTP_APIKEYS_ACCESS_LIST_NPARAMS = NGX_HTTP_APIKEYS_ACCESS_LIST_PAGE
                                           + NGX_HTTP_APIKEYS_PAGE_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_ACCESS_LIST_GET_KEY = 0,
    NGX_HTTP_APIKEYS_ACCESS_LIST_GET_CIDR,
    NGX_HTTP_APIKEYS_ACCESS_LIST_GET_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_ACCESS_LIST_ADD_ORG = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_ACCESS_LIST_ADD_KEY,
    NGX_HTTP_APIKEYS_ACCESS_LIST_ADD_ENTRIES,
    NGX_HTTP_APIKEYS_ACCESS_LIST_ADD_ATTRIBUTES,
    NGX_HTTP_APIKEYS_ACCESS_LIST_ADD_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_ACCESS_LIST_UPDATE_ORG = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_ACCESS_LIST_UPDATE_KEY,
    NGX_HTTP_APIKEYS_ACCESS_LIST_UPDATE_CIDR,
    NGX_HTTP_APIKEYS_ACCESS_LIST_UPDATE_ATTRIBUTES,
    NGX_HTTP_APIKEYS_ACCESS_LIST_UPDATE_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_ACCESS_LIST_ADDED_KEY = 0,
    NGX_HTTP_APIKEYS_ACCESS_LIST_ADDED_ENTRIES,
    NGX_HTTP_APIKEYS_ACCESS_LIST_ADDED_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_ACCESS_LIST_DELETE_ORG = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_ACCESS_LIST_DELETE_KEY,
    NGX_HTTP_APIKEYS_ACCESS_LIST_DELETE_CIDR,
    NGX_HTTP_APIKEYS_ACCESS_LIST_DELETE_GUARD,  /* an address that the list
                                                   must still have, or NULL */
    NGX_HTTP_APIKEYS_ACCESS_LIST_DELETE_NPARAMS
};


#define NGX_HTTP_APIKEYS_ENTRY_COLUMNS                                       \
    "text(cidr), created, count, last_used, last_used_address, comment, expires"

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_access_list_list_stmt = {
    "apikeys_access_list",
    "SELECT e.*, total"
    "  FROM (SELECT count(*) AS total FROM apikeys.access_list"
    "         WHERE key_id = $1) t"
    "  LEFT JOIN (SELECT " NGX_HTTP_APIKEYS_ENTRY_COLUMNS
    "               FROM apikeys.access_entries WHERE key_id = $1"
    "              ORDER BY text(cidr) COLLATE \"C\" LIMIT $2 OFFSET $3) e"
    "    ON true"
    " ORDER BY text COLLATE \"C\"",
    NGX_HTTP_APIKEYS_ACCESS_LIST_NPARAMS, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_access_list_get_stmt = {
    "apikeys_access_list_get",
    "SELECT " NGX_HTTP_APIKEYS_ENTRY_COLUMNS
    "  FROM apikeys.access_entries WHERE key_id = $1 AND cidr = $2",
    NGX_HTTP_APIKEYS_ACCESS_LIST_GET_NPARAMS, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_access_list_add_stmt = {
    "apikeys_access_list_add",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "add_access_entries($1, $2, $3, $4, $5, $6, $7, $8, $9) s",
    NGX_HTTP_APIKEYS_ACCESS_LIST_ADD_NPARAMS, 1
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_access_list_update_stmt =
{
    "apikeys_access_list_update",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "update_access_entry($1, $2, $3, $4, $5, $6, $7, $8, $9) s",
    NGX_HTTP_APIKEYS_ACCESS_LIST_UPDATE_NPARAMS, 1
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_access_list_added_stmt = {
    "apikeys_access_list_added",
    "SELECT " NGX_HTTP_APIKEYS_ENTRY_COLUMNS
    "  FROM apikeys.access_entries"
    " WHERE key_id = $1 AND cidr = ANY ($2::cidr[])"
    " ORDER BY text(cidr) COLLATE \"C\"",
    NGX_HTTP_APIKEYS_ACCESS_LIST_ADDED_NPARAMS, 0
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_access_list_delete_stmt =
{
    "apikeys_access_list_delete",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "delete_access_entry($1, $2, $3, $4, $5, $6, $7, $8,"
    " $9) s",
    NGX_HTTP_APIKEYS_ACCESS_LIST_DELETE_NPARAMS, 1
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_access_list_attrs[] = {

    { "ipAddress", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_entry_body_t, address) },
    { "cidrBlock", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_entry_body_t, block) },
    { "count", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "created", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "lastUsed", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "lastUsedAddress", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "links", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { NULL, 0, 0 }
};


#define NGX_HTTP_APIKEYS_ACCESS_LIST_NATIVE                                  \
    { "comment", NGX_HTTP_APIKEYS_ATTR_TEXT,                                 \
      offsetof(ngx_http_apikeys_entry_body_t, comment) },                    \
    { "expiresAt", NGX_HTTP_APIKEYS_ATTR_TEXT,                               \
      offsetof(ngx_http_apikeys_entry_body_t, expires) },                    \
    { "createdAt", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },                     \
    { "lastUsedAt", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },                    \
    { "lastUsedAddress", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },               \
    { "useCount", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },                      \
    { "links", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 }

static const ngx_http_apikeys_attr_t  ngx_http_apikeys_access_list_native[] = {

    { "ipAddress", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_entry_body_t, address) },
    { "cidrBlock", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_entry_body_t, block) },
    NGX_HTTP_APIKEYS_ACCESS_LIST_NATIVE,
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_access_list_updates[] = {

    { "ipAddress", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "cidrBlock", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    NGX_HTTP_APIKEYS_ACCESS_LIST_NATIVE,
    { NULL, 0, 0 }
};


static ngx_str_t  ngx_http_apikeys_access_list_address =
    ngx_string("ipAddress");
static ngx_str_t  ngx_http_apikeys_access_list_block =
    ngx_string("cidrBlock");


static const ngx_http_apikeys_page_t  ngx_http_apikeys_access_list_page = {
    .total = NGX_HTTP_APIKEYS_ENTRY_TOTAL,
    .id = NGX_HTTP_APIKEYS_ENTRY_CIDR,
    .write = ngx_http_apikeys_access_list_write_listed
};


ngx_int_t
ngx_http_apikeys_access_list_list(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_page_params(call,
                                      &ngx_http_apikeys_access_list_list_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_ACCESS_LIST_KEY] = call->path_key;

    return ngx_http_apikeys_page_run(call,
                                     &ngx_http_apikeys_access_list_list_stmt,
                                     params,
                                     &ngx_http_apikeys_access_list_page);
}


static void
ngx_http_apikeys_access_list_write_listed(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row)
{
    ngx_http_apikeys_access_list_write(call, out, row, 0);
}


static void
ngx_http_apikeys_access_list_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, ngx_uint_t single)
{
    ngx_str_t            text;
    const char          *rel;
    ngx_apikeys_cidr_t   cidr;
    u_char               buf[NGX_APIKEYS_CIDR_TEXT_LEN];

    (void) ngx_apikeys_pg_query_value(call->query, row,
                                      NGX_HTTP_APIKEYS_ENTRY_CIDR, &text);

    if (ngx_apikeys_cidr_parse_block(&cidr, &text) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, call->request->connection->log, 0,
                      "apikeys: invalid access list entry \"%V\" in the "
                      "database", &text);
        out->failed = 1;
        return;
    }

    if (ngx_http_apikeys_native(call)) {
        ngx_http_apikeys_access_list_write_native(call, out, row, &cidr);
        return;
    }

    ngx_apikeys_json_out_object(out);

    text.data = buf;
    text.len = ngx_apikeys_cidr_write_block(buf, &cidr) - buf;

    ngx_apikeys_json_out_name(out, "cidrBlock");
    ngx_apikeys_json_out_string(out, &text);

    ngx_http_apikeys_access_list_count(call, out, row, "count");
    ngx_http_apikeys_access_list_text(call, out, row, "created",
                                      NGX_HTTP_APIKEYS_ENTRY_CREATED);

    if (ngx_apikeys_cidr_single(&cidr)) {
        text.len = ngx_apikeys_cidr_write_address(buf, &cidr) - buf;

        ngx_apikeys_json_out_name(out, "ipAddress");
        ngx_apikeys_json_out_string(out, &text);
    }

    ngx_http_apikeys_access_list_text(call, out, row, "lastUsed",
                                      NGX_HTTP_APIKEYS_ENTRY_LAST_USED);
    ngx_http_apikeys_access_list_text(call, out, row, "lastUsedAddress",
                                      NGX_HTTP_APIKEYS_ENTRY_LAST_ADDRESS);

    ngx_apikeys_json_out_name(out, "links");
    ngx_apikeys_json_out_array(out);

    ngx_http_apikeys_access_list_link(call, out, &cidr);

    if (single) {
        rel = ngx_http_apikeys_links_rel(call,
                                         "http://mms.mongodb.com/apiKeys",
                                         "https://cloud.mongodb.com/apiKeys");
        ngx_http_apikeys_link(call, out, rel, "/orgs/%V/apiKeys/%V",
                              &call->org, &call->path_key);
    }

    ngx_apikeys_json_out_array_end(out);
    ngx_apikeys_json_out_object_end(out);
}


static void
ngx_http_apikeys_access_list_write_native(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, const ngx_apikeys_cidr_t *cidr)
{
    static const ngx_apikeys_cidr_t  none;

    ngx_apikeys_json_out_object(out);
    ngx_http_apikeys_native_block(out, "cidrBlock", cidr);
    ngx_http_apikeys_native_address(out, "ipAddress",
                                    ngx_apikeys_cidr_single(cidr) ? cidr
                                                                  : &none);
    ngx_http_apikeys_native_member(call, out, row, "comment",
                                   NGX_HTTP_APIKEYS_ENTRY_COMMENT);
    ngx_http_apikeys_native_member(call, out, row, "expiresAt",
                                   NGX_HTTP_APIKEYS_ENTRY_EXPIRES);
    ngx_http_apikeys_native_member(call, out, row, "createdAt",
                                   NGX_HTTP_APIKEYS_ENTRY_CREATED);
    ngx_http_apikeys_native_member(call, out, row, "lastUsedAt",
                                   NGX_HTTP_APIKEYS_ENTRY_LAST_USED);
    ngx_http_apikeys_native_member(call, out, row, "lastUsedAddress",
                                   NGX_HTTP_APIKEYS_ENTRY_LAST_ADDRESS);
    ngx_http_apikeys_access_list_count(call, out, row, "useCount");

    ngx_apikeys_json_out_name(out, "links");
    ngx_apikeys_json_out_array(out);
    ngx_http_apikeys_access_list_link(call, out, cidr);
    ngx_apikeys_json_out_array_end(out);

    ngx_apikeys_json_out_object_end(out);
}


/* the link to an entry: ADDRESS for a single address, else ADDRESS%2FPREFIX */

static void
ngx_http_apikeys_access_list_link(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const ngx_apikeys_cidr_t *cidr)
{
    ngx_str_t    text;
    const char  *name;
    u_char       buf[NGX_APIKEYS_CIDR_TEXT_LEN];

    name = ngx_http_apikeys_access_list_name(call);

    text.data = buf;
    text.len = ngx_apikeys_cidr_write_address(buf, cidr) - buf;

    if (ngx_apikeys_cidr_single(cidr)) {
        ngx_http_apikeys_link(call, out, "self", "/orgs/%V/apiKeys/%V/%s/%V",
                              &call->org, &call->path_key, name, &text);
        return;
    }

    ngx_http_apikeys_link(call, out, "self",
                          "/orgs/%V/apiKeys/%V/%s/%V%%2F%ui",
                          &call->org, &call->path_key, name, &text,
                          (ngx_uint_t) cidr->prefix);
}


static void
ngx_http_apikeys_access_list_count(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, const char *name)
{
    ngx_str_t  value;

    (void) ngx_apikeys_pg_query_value(call->query, row,
                                      NGX_HTTP_APIKEYS_ENTRY_COUNT, &value);

    ngx_apikeys_json_out_name(out, name);
    ngx_apikeys_json_out_int(out, ngx_atoof(value.data, value.len));
}


/* writes a member, unless the column is NULL */

static void
ngx_http_apikeys_access_list_text(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, const char *name,
    ngx_uint_t column)
{
    ngx_str_t  value;

    if (ngx_apikeys_pg_query_value(call->query, row, column, &value)
        == NGX_OK)
    {
        ngx_apikeys_json_out_name(out, name);
        ngx_apikeys_json_out_string(out, &value);
    }
}


/*
 * A long list is not kept as a parameter while its statement waits for a
 * connection: it is built again from the request body, which nginx may keep in
 * a file.
 */

ngx_int_t
ngx_http_apikeys_access_list_add(ngx_http_apikeys_call_t *call)
{
    ngx_int_t    rc;
    ngx_str_t   *params, *param, entries;
    ngx_pool_t  *pool;

    params = ngx_http_apikeys_run_params(call,
                                       &ngx_http_apikeys_access_list_add_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_ACCESS_LIST_ADD_ORG] = call->org;
    params[NGX_HTTP_APIKEYS_ACCESS_LIST_ADD_KEY] = call->path_key;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE,
                           call->request->connection->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_apikeys_access_list_entries(call, call->body, pool, &entries,
                        &params[NGX_HTTP_APIKEYS_ACCESS_LIST_ADD_ATTRIBUTES]);

    if (rc == NGX_OK) {

        if (entries.len > NGX_HTTP_APIKEYS_ACCESS_LIST_KEPT) {
            call->data = params;
            call->make = ngx_http_apikeys_access_list_make;
            params = NULL;

        } else {
            param = &params[NGX_HTTP_APIKEYS_ACCESS_LIST_ADD_ENTRIES];
            param->len = entries.len;
            param->data = ngx_pstrdup(call->request->pool, &entries);

            if (param->data == NULL) {
                rc = NGX_ERROR;
            }
        }
    }

    ngx_destroy_pool(pool);

    if (rc != NGX_OK) {
        return rc;
    }

    /*
     * then runs the query of GET and answers with the whole list; the native
     * API, where a list is short, answers with what was added
     */

    if (ngx_http_apikeys_native(call)) {
        call->data = params;

        return ngx_http_apikeys_run(call,
                                    &ngx_http_apikeys_access_list_add_stmt,
                                    params, ngx_http_apikeys_access_list_added);
    }

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_access_list_add_stmt,
                                params, ngx_http_apikeys_access_list_list);
}


static ngx_int_t
ngx_http_apikeys_access_list_added(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params, *added;

    added = call->data;

    params = ngx_palloc(call->request->pool,
                        NGX_HTTP_APIKEYS_ACCESS_LIST_ADDED_NPARAMS
                        * sizeof(ngx_str_t));
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_ACCESS_LIST_ADDED_KEY] = call->path_key;
    params[NGX_HTTP_APIKEYS_ACCESS_LIST_ADDED_ENTRIES] =
                               added[NGX_HTTP_APIKEYS_ACCESS_LIST_ADD_ENTRIES];

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_access_list_added_stmt,
                                params,
                                ngx_http_apikeys_access_list_added_done);
}


static ngx_int_t
ngx_http_apikeys_access_list_added_done(ngx_http_apikeys_call_t *call)
{
    ngx_uint_t              i, n;
    ngx_apikeys_json_out_t  out;

    n = ngx_apikeys_pg_query_nrows(call->query);

    if (ngx_http_apikeys_links_location(call, "/orgs/%V/apiKeys/%V/accessList",
                                        &call->org, &call->path_key)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_CREATED);

    ngx_apikeys_json_out_object(&out);
    ngx_http_apikeys_links_self(call, &out, "/orgs/%V/apiKeys/%V/accessList",
                                &call->org, &call->path_key);
    ngx_apikeys_json_out_name(&out, "results");
    ngx_apikeys_json_out_array(&out);

    for (i = 0; i < n; i++) {
        ngx_http_apikeys_access_list_write(call, &out, i, 0);
    }

    ngx_apikeys_json_out_array_end(&out);
    ngx_apikeys_json_out_name(&out, "totalCount");
    ngx_apikeys_json_out_int(&out, n);
    ngx_apikeys_json_out_object_end(&out);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_CREATED);
}


static ngx_str_t *
ngx_http_apikeys_access_list_make(ngx_apikeys_pg_query_t *q, ngx_pool_t *pool)
{
    ngx_int_t                 rc;
    ngx_str_t                *params;
    ngx_apikeys_json_t       *document;
    ngx_http_apikeys_call_t  *call;

    call = q->data;

    params = ngx_palloc(pool, NGX_HTTP_APIKEYS_ACCESS_LIST_ADD_NPARAMS
                              * sizeof(ngx_str_t));
    if (params == NULL) {
        return NULL;
    }

    ngx_memcpy(params, call->data,
               NGX_HTTP_APIKEYS_ACCESS_LIST_ADD_NPARAMS * sizeof(ngx_str_t));

    if (ngx_http_apikeys_body_parse(call, NGX_HTTP_APIKEYS_BODY_LIST,
                                    &document)
        != NGX_OK)
    {
        return NULL;
    }

    rc = ngx_http_apikeys_access_list_entries(call, document, pool,
                         &params[NGX_HTTP_APIKEYS_ACCESS_LIST_ADD_ENTRIES],
                         &params[NGX_HTTP_APIKEYS_ACCESS_LIST_ADD_ATTRIBUTES]);
    ngx_apikeys_json_free(document);

    return (rc == NGX_OK) ? params : NULL;
}


ngx_int_t
ngx_http_apikeys_access_list_entries(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *array, ngx_pool_t *pool, ngx_str_t *param,
    ngx_str_t *attributes)
{
    ngx_int_t                rc;
    ngx_uint_t               i, n;
    ngx_apikeys_cidr_t      *entries;
    ngx_apikeys_json_out_t   out;

    if (ngx_apikeys_json_type(array) != NGX_APIKEYS_JSON_ARRAY
        || (ngx_http_apikeys_native(call)
            && (ngx_apikeys_json_size(array) == 0
                || ngx_apikeys_json_size(array)
                   > NGX_HTTP_APIKEYS_BODY_MAX_ENTRIES)))
    {
        return ngx_http_apikeys_output_set_error(call,
                                            NGX_HTTP_APIKEYS_CODE_INVALID_JSON,
                                            NULL, NULL);
    }

    n = ngx_apikeys_json_size(array);

    entries = ngx_pcalloc(pool, (n + 1) * sizeof(ngx_apikeys_cidr_t));
    if (entries == NULL) {
        return NGX_ERROR;
    }

    ngx_apikeys_json_out_init(&out, call->request->pool, 0);
    ngx_apikeys_json_out_object(&out);

    for (i = 0; i < n; i++) {
        rc = ngx_http_apikeys_access_list_parse(call,
                                      ngx_apikeys_json_item(array, i),
                                      &entries[i], &out);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    ngx_apikeys_json_out_object_end(&out);

    if (ngx_http_apikeys_native(call)
        && ngx_apikeys_json_out_text(&out, attributes) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_apikeys_access_list_array(pool, entries, n, param) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!ngx_http_apikeys_access_list_unique(entries, n)) {
        return ngx_http_apikeys_output_set_error(call,
                                     NGX_HTTP_APIKEYS_CODE_DUPLICATE_ADDRESSES,
                                     NULL, NULL);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_access_list_parse(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *item, ngx_apikeys_cidr_t *entry,
    ngx_apikeys_json_out_t *attributes)
{
    u_char                          block[NGX_APIKEYS_CIDR_TEXT_LEN + 1];
    ngx_int_t                       rc;
    ngx_str_t                       text;
    ngx_http_apikeys_code_e         code;
    ngx_http_apikeys_entry_body_t   body;

    ngx_memzero(&body, sizeof(ngx_http_apikeys_entry_body_t));

    rc = ngx_http_apikeys_body_attributes(call, item,
                                          ngx_http_apikeys_native(call)
                                          ? ngx_http_apikeys_access_list_native
                                          : ngx_http_apikeys_access_list_attrs,
                                          &body);
    if (rc != NGX_OK) {
        return rc;
    }

    if (body.address && body.block) {
        return ngx_http_apikeys_output_set_error(call,
                                         NGX_HTTP_APIKEYS_CODE_BAD_ADD_REQUEST,
                                         NULL, NULL);
    }

    if (body.address) {
        ngx_apikeys_json_string(body.address, &text);
        rc = ngx_apikeys_cidr_parse_address(entry, &text);
        code = NGX_HTTP_APIKEYS_CODE_INVALID_ADDRESS;

    } else if (body.block) {
        ngx_apikeys_json_string(body.block, &text);
        rc = ngx_apikeys_cidr_parse_block(entry, &text);
        code = NGX_HTTP_APIKEYS_CODE_INVALID_CIDR_BLOCK;

    } else {
        return ngx_http_apikeys_output_set_error(call,
                               NGX_HTTP_APIKEYS_CODE_MISSING_ONE_OF_ATTRIBUTES,
                               &ngx_http_apikeys_access_list_address,
                               &ngx_http_apikeys_access_list_block);
    }

    if (rc != NGX_OK) {
        return ngx_http_apikeys_output_set_error(call, code, &text, NULL);
    }

    if (ngx_apikeys_cidr_refused(entry)) {
        return ngx_http_apikeys_output_set_error(call,
                                      NGX_HTTP_APIKEYS_CODE_CANNOT_ADD_ADDRESS,
                                      &text, NULL);
    }

    if (body.comment == NULL && body.expires == NULL) {
        return NGX_OK;
    }

    *ngx_apikeys_cidr_write_block(block, entry) = '\0';

    ngx_apikeys_json_out_name(attributes, (char *) block);

    return ngx_http_apikeys_access_list_attributes(call, &body, attributes);
}


/* an object with the comment and the end, if the body has them */

static ngx_int_t
ngx_http_apikeys_access_list_attributes(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_entry_body_t *body, ngx_apikeys_json_out_t *out)
{
    ngx_int_t               rc;
    ngx_str_t               text;
    static const ngx_str_t  name = ngx_string("comment");

    ngx_apikeys_json_out_object(out);

    if (body->comment) {

        if (ngx_apikeys_json_type(body->comment) == NGX_APIKEYS_JSON_STRING) {
            ngx_apikeys_json_string(body->comment, &text);

            if (ngx_utf8_length(text.data, text.len)
                > NGX_HTTP_APIKEYS_ACCESS_LIST_MAX_COMMENT)
            {
                return ngx_http_apikeys_output_set_error(call,
                                       NGX_HTTP_APIKEYS_CODE_INVALID_ATTRIBUTE,
                                       &name, NULL);
            }
        }

        ngx_apikeys_json_out_name(out, "comment");
        ngx_apikeys_json_out_value(out, body->comment);
    }

    if (body->expires) {
        rc = ngx_http_apikeys_body_end(call, body->expires);
        if (rc != NGX_OK) {
            return rc;
        }

        ngx_apikeys_json_out_name(out, "expiresAt");
        ngx_apikeys_json_out_value(out, body->expires);
    }

    ngx_apikeys_json_out_object_end(out);

    return NGX_OK;
}


/* whether all entries differ; sorts them */

static ngx_uint_t
ngx_http_apikeys_access_list_unique(ngx_apikeys_cidr_t *entries, ngx_uint_t n)
{
    ngx_uint_t  i;

    ngx_qsort(entries, n, sizeof(ngx_apikeys_cidr_t),
              ngx_http_apikeys_access_list_compare);

    for (i = 1; i < n; i++) {
        if (ngx_apikeys_cidr_compare(&entries[i - 1], &entries[i]) == 0) {
            return 0;
        }
    }

    return 1;
}


static int ngx_libc_cdecl
ngx_http_apikeys_access_list_compare(const void *one, const void *two)
{
    return (int) ngx_apikeys_cidr_compare(one, two);
}


/* "{10.0.0.0/8,192.0.2.1/32}" */

static ngx_int_t
ngx_http_apikeys_access_list_array(ngx_pool_t *pool,
    ngx_apikeys_cidr_t *entries, ngx_uint_t n, ngx_str_t *param)
{
    u_char      *p;
    ngx_uint_t   i;

    p = ngx_pnalloc(pool, 2 + n * (NGX_APIKEYS_CIDR_TEXT_LEN + 1));
    if (p == NULL) {
        return NGX_ERROR;
    }

    param->data = p;

    *p++ = '{';

    for (i = 0; i < n; i++) {
        if (i) {
            *p++ = ',';
        }

        p = ngx_apikeys_cidr_write_block(p, &entries[i]);
    }

    *p++ = '}';

    param->len = p - param->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_apikeys_access_list_get(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    params = ngx_palloc(call->request->pool,
                        NGX_HTTP_APIKEYS_ACCESS_LIST_GET_NPARAMS
                        * sizeof(ngx_str_t));

    if (params == NULL
        || ngx_http_apikeys_access_list_block_text(call,
                             &params[NGX_HTTP_APIKEYS_ACCESS_LIST_GET_CIDR])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_ACCESS_LIST_GET_KEY] = call->path_key;

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_access_list_get_stmt,
                                params,
                                ngx_http_apikeys_access_list_get_done);
}


static ngx_int_t
ngx_http_apikeys_access_list_get_done(ngx_http_apikeys_call_t *call)
{
    ngx_apikeys_json_out_t  out;

    if (ngx_apikeys_pg_query_nrows(call->query) == 0) {
        return ngx_http_apikeys_output_set_error(call,
                                         NGX_HTTP_APIKEYS_CODE_ENTRY_NOT_FOUND,
                                         &call->entry_text, &call->path_key);
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);
    ngx_http_apikeys_access_list_write(call, &out, 0, 1);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_access_list_update(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                       rc;
    ngx_str_t                      *params;
    ngx_apikeys_json_out_t          out;
    ngx_http_apikeys_entry_body_t   body;
    static const ngx_str_t          comment = ngx_string("comment");

    ngx_memzero(&body, sizeof(ngx_http_apikeys_entry_body_t));

    rc = ngx_http_apikeys_body_attributes(call, call->body,
                                          ngx_http_apikeys_access_list_updates,
                                          &body);
    if (rc != NGX_OK) {
        return rc;
    }

    if (body.comment == NULL && body.expires == NULL) {
        return ngx_http_apikeys_output_set_error(call,
                                       NGX_HTTP_APIKEYS_CODE_MISSING_ATTRIBUTE,
                                       &comment, NULL);
    }

    ngx_apikeys_json_out_init(&out, call->request->pool, 0);

    rc = ngx_http_apikeys_access_list_attributes(call, &body, &out);
    if (rc != NGX_OK) {
        return rc;
    }

    params = ngx_http_apikeys_run_params(call,
                                    &ngx_http_apikeys_access_list_update_stmt);
    if (params == NULL
        || ngx_http_apikeys_access_list_block_text(call,
                            &params[NGX_HTTP_APIKEYS_ACCESS_LIST_UPDATE_CIDR])
           != NGX_OK
        || ngx_apikeys_json_out_text(&out,
                      &params[NGX_HTTP_APIKEYS_ACCESS_LIST_UPDATE_ATTRIBUTES])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_ACCESS_LIST_UPDATE_ORG] = call->org;
    params[NGX_HTTP_APIKEYS_ACCESS_LIST_UPDATE_KEY] = call->path_key;

    /* then reads the entry and answers with it */

    return ngx_http_apikeys_run(call,
                                &ngx_http_apikeys_access_list_update_stmt,
                                params, ngx_http_apikeys_access_list_get);
}


ngx_int_t
ngx_http_apikeys_access_list_delete(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_run_params(call,
                                    &ngx_http_apikeys_access_list_delete_stmt);
    if (params == NULL
        || ngx_http_apikeys_access_list_block_text(call,
                            &params[NGX_HTTP_APIKEYS_ACCESS_LIST_DELETE_CIDR])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_ACCESS_LIST_DELETE_ORG] = call->org;
    params[NGX_HTTP_APIKEYS_ACCESS_LIST_DELETE_KEY] = call->path_key;

    /* a key cannot lock itself out */

    if (call->self && call->identity.address.family) {
        params[NGX_HTTP_APIKEYS_ACCESS_LIST_DELETE_GUARD] =
                                 params[NGX_HTTP_APIKEYS_PARAM_CALLER_ADDRESS];
    }

    return ngx_http_apikeys_run(call,
                                &ngx_http_apikeys_access_list_delete_stmt,
                                params,
                                ngx_http_apikeys_output_no_content);
}


/* the entry of the path, always with its prefix length */

static ngx_int_t
ngx_http_apikeys_access_list_block_text(ngx_http_apikeys_call_t *call,
    ngx_str_t *text)
{
    text->data = ngx_pnalloc(call->request->pool, NGX_APIKEYS_CIDR_TEXT_LEN);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    text->len = ngx_apikeys_cidr_write_block(text->data, &call->entry)
                - text->data;

    return NGX_OK;
}


static const char *
ngx_http_apikeys_access_list_name(ngx_http_apikeys_call_t *call)
{
    return call->whitelist ? "whitelist" : "accessList";
}
