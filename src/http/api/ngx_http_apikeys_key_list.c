
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The lists of API keys on the native API: filters, which must all match, and
 * the order.  An index finds the keys of the organization or project, and the
 * filters are applied to those.
 */


#include <ngx_http_apikeys_args.h>
#include <ngx_http_apikeys_date.h>
#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_resources.h>


#define NGX_HTTP_APIKEYS_KEY_LIST_MAX_DESC  250


/* the query string, in call->data; data is NULL if an argument is absent */
typedef struct {
    ngx_str_t  public_key;
    ngx_str_t  desc;            /* a part of it, case-insensitive */
    ngx_str_t  role;            /* of any scope, as given */
    ngx_str_t  access_list;     /* "none" or "any" */
    ngx_str_t  disabled;
    ngx_str_t  expires;         /* before this time */
    ngx_str_t  sort;
} ngx_http_apikeys_key_list_args_t;


static ngx_uint_t ngx_http_apikeys_key_list_is_desc(const ngx_str_t *value);
static ngx_uint_t ngx_http_apikeys_key_list_is_list(const ngx_str_t *value);
static ngx_uint_t ngx_http_apikeys_key_list_is_flag(const ngx_str_t *value);
static ngx_uint_t ngx_http_apikeys_key_list_is_time(const ngx_str_t *value);
static ngx_uint_t ngx_http_apikeys_key_list_is_order(const ngx_str_t *value);
static ngx_uint_t ngx_http_apikeys_key_list_is_one_of(const ngx_str_t *value,
    const char * const *names);


/* parameters of both statements */
enum {
    NGX_HTTP_APIKEYS_KEY_LIST_PARENT = 0,   /* organization or project */
    NGX_HTTP_APIKEYS_KEY_LIST_PUBLIC_KEY,
    NGX_HTTP_APIKEYS_KEY_LIST_DESC,
    NGX_HTTP_APIKEYS_KEY_LIST_ROLE,
    NGX_HTTP_APIKEYS_KEY_LIST_ACCESS_LIST,
    NGX_HTTP_APIKEYS_KEY_LIST_DISABLED,
    NGX_HTTP_APIKEYS_KEY_LIST_EXPIRES,
    NGX_HTTP_APIKEYS_KEY_LIST_SORT,
    NGX_HTTP_APIKEYS_KEY_LIST_PAGE,
    NGX_HTTP_APIKEYS_KEY_LIST_NPARAMS = NGX_HTTP_APIKEYS_KEY_LIST_PAGE
                                        + NGX_HTTP_APIKEYS_PAGE_NPARAMS
};


#define NGX_HTTP_APIKEYS_KEY_LIST_FILTER                                     \
    " AND ($2::text IS NULL OR k.public_key = $2)"                           \
    " AND ($3::text IS NULL"                                                 \
    "      OR position(lower($3 COLLATE \"default\")"                        \
    "                  IN lower(k.descr COLLATE \"default\")) > 0)"          \
    " AND ($4::text IS NULL OR $4 = ANY (k.roles)"                           \
    "      OR EXISTS (SELECT FROM apikeys.key_projects r"                    \
    "                  WHERE r.key_id = k.id AND $4 = ANY (r.roles)))"       \
    " AND ($5::text IS NULL"                                                 \
    "      OR ($5 = 'any') = EXISTS (SELECT FROM apikeys.access_list a"      \
    "                                 WHERE a.key_id = k.id))"               \
    " AND ($6::boolean IS NULL OR k.disabled = $6)"                          \
    " AND ($7::timestamptz IS NULL OR k.expires < $7)"

#define NGX_HTTP_APIKEYS_KEY_LIST_ORDER                                      \
    "CASE $8 WHEN 'createdAt' THEN k.created"                                \
    "        WHEN 'expiresAt' THEN k.expires END NULLS LAST,"                \
    "CASE $8 WHEN '-createdAt' THEN k.created"                               \
    "        WHEN '-expiresAt' THEN k.expires END DESC NULLS LAST,"          \
    "CASE $8 WHEN '-publicKey' THEN k.public_key END DESC NULLS LAST,"       \
    "k.public_key"

/* selects the ids of the page first, so that only their lists are built */

#define NGX_HTTP_APIKEYS_KEY_LIST(from)                                      \
    "SELECT " NGX_APIKEYS_STATE_PRINTED ", total"                            \
    "  FROM (SELECT count(*) AS total FROM " from                            \
             NGX_HTTP_APIKEYS_KEY_LIST_FILTER ") t"                          \
    "  LEFT JOIN (SELECT s.*, page.position"                                 \
    "               FROM (SELECT k.id, row_number() OVER (ORDER BY "         \
                                 NGX_HTTP_APIKEYS_KEY_LIST_ORDER ")"         \
    "                            AS position"                                \
    "                       FROM " from NGX_HTTP_APIKEYS_KEY_LIST_FILTER     \
    "                      ORDER BY position LIMIT $9 OFFSET $10) page"      \
    "               JOIN LATERAL (SELECT * FROM apikeys.key_states k"        \
    "                              WHERE k.id = page.id) s ON true) s"       \
    "    ON true"                                                            \
    " ORDER BY position"

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_key_list_org_stmt = {
    "apikeys_key_list_org",
    NGX_HTTP_APIKEYS_KEY_LIST("apikeys.keys k WHERE k.org_id = $1"),
    NGX_HTTP_APIKEYS_KEY_LIST_NPARAMS, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_key_list_project_stmt = {
    "apikeys_key_list_project",
    NGX_HTTP_APIKEYS_KEY_LIST("apikeys.key_projects p"
                              " JOIN apikeys.keys k ON k.id = p.key_id"
                              " WHERE p.project_id = $1"),
    NGX_HTTP_APIKEYS_KEY_LIST_NPARAMS, 0
};


static const ngx_http_apikeys_arg_text_t  ngx_http_apikeys_key_list_texts[] = {

    { .name = ngx_string("publicKey"),
      .offset = offsetof(ngx_http_apikeys_key_list_args_t, public_key),
      .check = ngx_http_apikeys_key_is_public },

    { .name = ngx_string("desc"),
      .offset = offsetof(ngx_http_apikeys_key_list_args_t, desc),
      .check = ngx_http_apikeys_key_list_is_desc },

    { .name = ngx_string("role"),
      .offset = offsetof(ngx_http_apikeys_key_list_args_t, role),
      .check = ngx_http_apikeys_args_is_role },

    { .name = ngx_string("accessList"),
      .offset = offsetof(ngx_http_apikeys_key_list_args_t, access_list),
      .check = ngx_http_apikeys_key_list_is_list },

    { .name = ngx_string("disabled"),
      .offset = offsetof(ngx_http_apikeys_key_list_args_t, disabled),
      .check = ngx_http_apikeys_key_list_is_flag },

    { .name = ngx_string("expiresBefore"),
      .offset = offsetof(ngx_http_apikeys_key_list_args_t, expires),
      .check = ngx_http_apikeys_key_list_is_time },

    { .name = ngx_string("sort"),
      .offset = offsetof(ngx_http_apikeys_key_list_args_t, sort),
      .check = ngx_http_apikeys_key_list_is_order },

    { .name = ngx_null_string }
};


/* the other APIs have no such arguments */

ngx_int_t
ngx_http_apikeys_key_list_query(ngx_http_apikeys_call_t *call)
{
    ngx_http_apikeys_key_list_args_t  *args;

    if (!ngx_http_apikeys_native(call)) {
        return NGX_OK;
    }

    args = ngx_pcalloc(call->request->pool,
                       sizeof(ngx_http_apikeys_key_list_args_t));

    if (args == NULL) {
        return NGX_ERROR;
    }

    call->data = args;

    return ngx_http_apikeys_args_texts(call, ngx_http_apikeys_key_list_texts,
                                       args);
}


static ngx_uint_t
ngx_http_apikeys_key_list_is_desc(const ngx_str_t *value)
{
    return ngx_apikeys_json_check_utf8(value->data, value->len) == NGX_OK
           && ngx_utf8_length(value->data, value->len)
              <= NGX_HTTP_APIKEYS_KEY_LIST_MAX_DESC
           && ngx_strlchr(value->data, value->data + value->len, '\0') == NULL;
}


static ngx_uint_t
ngx_http_apikeys_key_list_is_list(const ngx_str_t *value)
{
    static const char * const  names[] = { "any", "none", NULL };

    return ngx_http_apikeys_key_list_is_one_of(value, names);
}


static ngx_uint_t
ngx_http_apikeys_key_list_is_flag(const ngx_str_t *value)
{
    return ngx_http_apikeys_args_bool(value) != NGX_ERROR;
}


static ngx_uint_t
ngx_http_apikeys_key_list_is_time(const ngx_str_t *value)
{
    time_t  t;

    return ngx_http_apikeys_date_parse_utc(value, &t) == NGX_OK;
}


static ngx_uint_t
ngx_http_apikeys_key_list_is_order(const ngx_str_t *value)
{
    static const char * const  names[] = {
        "publicKey", "-publicKey", "createdAt", "-createdAt", "expiresAt",
        "-expiresAt", NULL
    };

    return ngx_http_apikeys_key_list_is_one_of(value, names);
}


static ngx_uint_t
ngx_http_apikeys_key_list_is_one_of(const ngx_str_t *value,
    const char * const *names)
{
    for ( /* void */ ; *names; names++) {
        if (ngx_strlen(*names) == value->len
            && ngx_strncmp(*names, value->data, value->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_apikeys_key_list(ngx_http_apikeys_call_t *call)
{
    ngx_str_t                         *params;
    const ngx_apikeys_pg_stmt_t       *stmt;
    ngx_http_apikeys_key_list_args_t  *args;

    args = call->data;
    stmt = call->project.len ? &ngx_http_apikeys_key_list_project_stmt
                             : &ngx_http_apikeys_key_list_org_stmt;

    params = ngx_http_apikeys_page_params(call, stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_KEY_LIST_PARENT] = call->project.len
                                               ? call->project : call->org;
    params[NGX_HTTP_APIKEYS_KEY_LIST_PUBLIC_KEY] = args->public_key;
    params[NGX_HTTP_APIKEYS_KEY_LIST_DESC] = args->desc;
    params[NGX_HTTP_APIKEYS_KEY_LIST_ROLE] = args->role;
    params[NGX_HTTP_APIKEYS_KEY_LIST_ACCESS_LIST] = args->access_list;
    params[NGX_HTTP_APIKEYS_KEY_LIST_DISABLED] = args->disabled;
    params[NGX_HTTP_APIKEYS_KEY_LIST_EXPIRES] = args->expires;
    params[NGX_HTTP_APIKEYS_KEY_LIST_SORT] = args->sort;

    return ngx_http_apikeys_page_run(call, stmt, params,
                                     &ngx_http_apikeys_key_page);
}
