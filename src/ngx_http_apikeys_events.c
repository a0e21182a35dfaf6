
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_args.h>
#include <ngx_http_apikeys_date.h>
#include <ngx_http_apikeys_events.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_run.h>


#define NGX_HTTP_APIKEYS_EVENTS_MAX_TYPES  100
#define NGX_HTTP_APIKEYS_EVENTS_TYPE_LEN   100

/* beyond a page, events are counted up to so many */
#define NGX_HTTP_APIKEYS_EVENTS_COUNTED    "10000"


typedef struct {
    ngx_str_t         name;
    ngx_str_t         description;
    ngx_str_t         raw;             /* its "_t" */
} ngx_http_apikeys_event_type_t;


/* the query string, in ctx->data */
typedef struct {
    uint32_t          types;           /* bit by row of the table */
    uint32_t          excluded;
    ngx_uint_t        ntypes;          /* how many times they were named */
    ngx_uint_t        nexcluded;
    ngx_str_t         min;             /* as sent; data NULL: not at all */
    ngx_str_t         max;
    time_t            min_time;
    time_t            max_time;
    ngx_str_t         bad_type;
    ngx_str_t         bad_excluded;
    unsigned          clusters:1;      /* of a cluster: there are none */
    unsigned          raw:1;
    unsigned          seen_raw:1;
    unsigned          bad_raw:1;
    unsigned          has_bad_type:1;
    unsigned          has_bad_excluded:1;
} ngx_http_apikeys_events_t;


static ngx_http_apikeys_events_t *ngx_http_apikeys_events_parse(
    ngx_http_apikeys_ctx_t *ctx);
static void ngx_http_apikeys_events_take(ngx_http_apikeys_events_t *e,
    const ngx_str_t *name, const ngx_str_t *value);
static ngx_int_t ngx_http_apikeys_events_type(const ngx_str_t *name,
    uint32_t *types);
static const ngx_http_apikeys_event_type_t *ngx_http_apikeys_events_find(
    const ngx_str_t *name);
static ngx_int_t ngx_http_apikeys_events_dates(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_events_t *e);
static ngx_int_t ngx_http_apikeys_events_params(ngx_http_apikeys_ctx_t *ctx,
    ngx_str_t *params);
static ngx_int_t ngx_http_apikeys_events_list_done(
    ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_events_get_done(
    ngx_http_apikeys_ctx_t *ctx);
static void ngx_http_apikeys_events_write(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t row);
static void ngx_http_apikeys_events_write_raw(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t row);
static void ngx_http_apikeys_events_member(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, const char *name,
    ngx_uint_t column);
static void ngx_http_apikeys_events_raw_member(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, const char *name,
    ngx_uint_t column);


/* the columns of a result */
enum {
    NGX_HTTP_APIKEYS_EVENT_ID = 0,
    NGX_HTTP_APIKEYS_EVENT_CREATED,
    NGX_HTTP_APIKEYS_EVENT_TYPE,
    NGX_HTTP_APIKEYS_EVENT_ORG,
    NGX_HTTP_APIKEYS_EVENT_PROJECT,
    NGX_HTTP_APIKEYS_EVENT_CALLER,
    NGX_HTTP_APIKEYS_EVENT_CALLER_KEY,
    NGX_HTTP_APIKEYS_EVENT_ADDRESS,
    NGX_HTTP_APIKEYS_EVENT_TARGET,
    NGX_HTTP_APIKEYS_EVENT_ENTRY,
    NGX_HTTP_APIKEYS_EVENT_TOTAL
};

#define NGX_HTTP_APIKEYS_EVENT_COLUMNS                                       \
    "id, created, type, org_id, project_id, caller_id, caller_public_key,"   \
    " address, target_public_key, entry"


/* $1 is the organization, $2 the project, one of them NULL */

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_events_list_stmt = {
    "apikeys_events_list",
    "SELECT " NGX_HTTP_APIKEYS_EVENT_COLUMNS ", total"
    "  FROM apikeys.list_events($1, $2, $3, to_timestamp($4),"
    "                           to_timestamp($5), $6, $7, $8)",
    8, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_events_get_stmt = {
    "apikeys_events_get",
    "SELECT " NGX_HTTP_APIKEYS_EVENT_COLUMNS
    "  FROM apikeys.shown_events"
    " WHERE number = ('x' || right($3, 16))::bit(64)::bigint"
    "   AND id = $3"
    "   AND (org_id = $1 OR project_id = $2)",
    3, 0
};


/* ascending; a row is not moved while an argument can name it */
static const ngx_http_apikeys_event_type_t  ngx_http_apikeys_event_types[] = {

    { ngx_string("API_KEY_ACCESS_LIST_ENTRY_ADDED"),
      ngx_string("API Key Access List Entry Added"),
      ngx_string("API_USER_AUDIT") },
    { ngx_string("API_KEY_ACCESS_LIST_ENTRY_DELETED"),
      ngx_string("API Key Access List Entry Deleted"),
      ngx_string("API_USER_AUDIT") },
    { ngx_string("API_KEY_ADDED_TO_GROUP"),
      ngx_string("API Key added to Group"),
      ngx_string("API_USER_AUDIT") },
    { ngx_string("API_KEY_CREATED"),
      ngx_string("A new API key has been created"),
      ngx_string("API_USER_AUDIT") },
    { ngx_string("API_KEY_DELETED"),
      ngx_string("An API Key has been deleted"),
      ngx_string("API_USER_AUDIT") },
    { ngx_string("API_KEY_DESCRIPTION_CHANGED"),
      ngx_string("API Key Description Changed"),
      ngx_string("API_USER_AUDIT") },
    { ngx_string("API_KEY_REMOVED_FROM_GROUP"),
      ngx_string("API Key removed from Group"),
      ngx_string("API_USER_AUDIT") },
    { ngx_string("API_KEY_ROLES_CHANGED"),
      ngx_string("API Key Roles Changed"),
      ngx_string("API_USER_AUDIT") },
    { ngx_string("GROUP_CREATED"),
      ngx_string("A project has been created"),
      ngx_string("GROUP_AUDIT") },
    { ngx_string("GROUP_DELETED"),
      ngx_string("A project has been deleted"),
      ngx_string("GROUP_AUDIT") },
    { ngx_string("GROUP_NAME_CHANGED"),
      ngx_string("The name of a project has changed"),
      ngx_string("GROUP_AUDIT") },
    { ngx_string("ORG_CREATED"),
      ngx_string("An organization has been created"),
      ngx_string("ORG_AUDIT") },
    { ngx_string("ORG_PUBLIC_API_ACCESS_LIST_NOT_REQUIRED"),
      ngx_string("API keys of the organization need no access list"),
      ngx_string("ORG_AUDIT") },
    { ngx_string("ORG_PUBLIC_API_ACCESS_LIST_REQUIRED"),
      ngx_string("API keys of the organization need an access list"),
      ngx_string("ORG_AUDIT") },
    { ngx_string("ORG_RENAMED"),
      ngx_string("The name of an organization has changed"),
      ngx_string("ORG_AUDIT") }
};

#define NGX_HTTP_APIKEYS_NEVENT_TYPES                                        \
    (sizeof(ngx_http_apikeys_event_types)                                    \
     / sizeof(ngx_http_apikeys_event_type_t))


/* what the database has and this table has not */
static const ngx_http_apikeys_event_type_t  ngx_http_apikeys_event_other =
    { ngx_null_string, ngx_string(""), ngx_string("API_USER_AUDIT") };


/* the names that two of them had before 2021 */
static const ngx_keyval_t  ngx_http_apikeys_event_aliases[] = {

    { ngx_string("API_KEY_WHITELIST_ENTRY_ADDED"),
      ngx_string("API_KEY_ACCESS_LIST_ENTRY_ADDED") },
    { ngx_string("API_KEY_WHITELIST_ENTRY_DELETED"),
      ngx_string("API_KEY_ACCESS_LIST_ENTRY_DELETED") },
    { ngx_null_string, ngx_null_string }
};


static const ngx_str_t  ngx_http_apikeys_events_raw_name =
    ngx_string("includeRaw");
static const ngx_str_t  ngx_http_apikeys_events_type_name =
    ngx_string("eventType");
static const ngx_str_t  ngx_http_apikeys_events_excluded_name =
    ngx_string("excludedEventType");


ngx_int_t
ngx_http_apikeys_events_query(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                   rc;
    ngx_http_apikeys_events_t  *e;

    rc = ngx_http_apikeys_events_query_raw(ctx);
    if (rc != NGX_OK) {
        return rc;
    }

    e = ctx->data;

    /* these are not arguments of an organization's list */

    if (ctx->project.len == 0) {
        e->excluded = 0;
        e->nexcluded = 0;
        e->has_bad_excluded = 0;
        e->clusters = 0;
    }

    if (e->ntypes > NGX_HTTP_APIKEYS_EVENTS_MAX_TYPES) {
        return ngx_http_apikeys_output_refuse(ctx,
                                      NGX_HTTP_APIKEYS_INVALID_QUERY_PARAMETER,
                                      &ngx_http_apikeys_events_type_name,
                                      NULL);
    }

    if (e->has_bad_type) {
        return ngx_http_apikeys_output_refuse(ctx,
                                           NGX_HTTP_APIKEYS_INVALID_ENUM_VALUE,
                                           &e->bad_type, NULL);
    }

    if (e->nexcluded > NGX_HTTP_APIKEYS_EVENTS_MAX_TYPES) {
        return ngx_http_apikeys_output_refuse(ctx,
                                      NGX_HTTP_APIKEYS_INVALID_QUERY_PARAMETER,
                                      &ngx_http_apikeys_events_excluded_name,
                                      NULL);
    }

    if (e->has_bad_excluded) {
        return ngx_http_apikeys_output_refuse(ctx,
                                           NGX_HTTP_APIKEYS_INVALID_ENUM_VALUE,
                                           &e->bad_excluded, NULL);
    }

    return ngx_http_apikeys_events_dates(ctx, e);
}


ngx_int_t
ngx_http_apikeys_events_query_raw(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_http_apikeys_events_t  *e;

    e = ngx_http_apikeys_events_parse(ctx);
    if (e == NULL) {
        return NGX_ERROR;
    }

    ctx->data = e;

    if (e->bad_raw) {
        return ngx_http_apikeys_output_refuse(ctx,
                                      NGX_HTTP_APIKEYS_INVALID_QUERY_PARAMETER,
                                      &ngx_http_apikeys_events_raw_name,
                                      NULL);
    }

    return NGX_OK;
}


static ngx_http_apikeys_events_t *
ngx_http_apikeys_events_parse(ngx_http_apikeys_ctx_t *ctx)
{
    u_char                     *p;
    ngx_int_t                   rc;
    ngx_str_t                   name, value;
    ngx_http_apikeys_events_t  *e;

    e = ngx_pcalloc(ctx->request->pool, sizeof(ngx_http_apikeys_events_t));
    if (e == NULL) {
        return NULL;
    }

    p = ctx->request->args.data;

    do {
        rc = ngx_http_apikeys_args_next(ctx->request, &p, &name, &value);

        if (rc == NGX_ERROR) {
            return NULL;
        }

        if (rc == NGX_OK) {
            ngx_http_apikeys_events_take(e, &name, &value);
        }

    } while (rc == NGX_OK);

    return e;
}


/* types are repeated; the first of everything else counts */

static void
ngx_http_apikeys_events_take(ngx_http_apikeys_events_t *e,
    const ngx_str_t *name, const ngx_str_t *value)
{
    ngx_int_t  n;

#define ngx_http_apikeys_events_is(text)                                     \
    (name->len == sizeof(text) - 1                                           \
     && ngx_strncmp(name->data, text, sizeof(text) - 1) == 0)

    if (ngx_http_apikeys_events_is("eventType")) {
        e->ntypes++;

        if (ngx_http_apikeys_events_type(value, &e->types) != NGX_OK
            && !e->has_bad_type)
        {
            e->has_bad_type = 1;
            e->bad_type = *value;
        }

    } else if (ngx_http_apikeys_events_is("excludedEventType")) {
        e->nexcluded++;

        if (ngx_http_apikeys_events_type(value, &e->excluded) != NGX_OK
            && !e->has_bad_excluded)
        {
            e->has_bad_excluded = 1;
            e->bad_excluded = *value;
        }

    } else if (ngx_http_apikeys_events_is("clusterNames")) {
        e->clusters = 1;

    } else if (ngx_http_apikeys_events_is("minDate")) {
        if (e->min.data == NULL) {
            e->min = *value;
        }

    } else if (ngx_http_apikeys_events_is("maxDate")) {
        if (e->max.data == NULL) {
            e->max = *value;
        }

    } else if (ngx_http_apikeys_events_is("includeRaw") && !e->seen_raw) {
        n = ngx_http_apikeys_args_bool(value);

        e->seen_raw = 1;
        e->raw = (n == 1);
        e->bad_raw = (n == NGX_ERROR);
    }
}


/* a name that no event has here matches none: there are a thousand of them */

static ngx_int_t
ngx_http_apikeys_events_type(const ngx_str_t *name, uint32_t *types)
{
    u_char                                c;
    ngx_uint_t                            i;
    const ngx_keyval_t                   *alias;
    const ngx_http_apikeys_event_type_t  *type;

    if (name->len == 0 || name->len > NGX_HTTP_APIKEYS_EVENTS_TYPE_LEN
        || name->data[0] < 'A' || name->data[0] > 'Z')
    {
        return NGX_DECLINED;
    }

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '_') {
            return NGX_DECLINED;
        }
    }

    for (alias = ngx_http_apikeys_event_aliases; alias->key.len; alias++) {
        if (alias->key.len == name->len
            && ngx_strncmp(alias->key.data, name->data, name->len) == 0)
        {
            name = &alias->value;
            break;
        }
    }

    type = ngx_http_apikeys_events_find(name);

    if (type != &ngx_http_apikeys_event_other) {
        *types |= (uint32_t) 1 << (type - ngx_http_apikeys_event_types);
    }

    return NGX_OK;
}


static const ngx_http_apikeys_event_type_t *
ngx_http_apikeys_events_find(const ngx_str_t *name)
{
    ngx_uint_t                            i;
    const ngx_http_apikeys_event_type_t  *type;

    for (i = 0; i < NGX_HTTP_APIKEYS_NEVENT_TYPES; i++) {
        type = &ngx_http_apikeys_event_types[i];

        if (type->name.len == name->len
            && ngx_strncmp(type->name.data, name->data, name->len) == 0)
        {
            return type;
        }
    }

    return &ngx_http_apikeys_event_other;
}


static ngx_int_t
ngx_http_apikeys_events_dates(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_events_t *e)
{
    if (e->min.data
        && ngx_http_apikeys_date_parse(&e->min, &e->min_time) != NGX_OK)
    {
        return ngx_http_apikeys_output_refuse(ctx,
                                          NGX_HTTP_APIKEYS_INVALID_DATE_FORMAT,
                                          &e->min, NULL);
    }

    if (e->max.data
        && ngx_http_apikeys_date_parse(&e->max, &e->max_time) != NGX_OK)
    {
        return ngx_http_apikeys_output_refuse(ctx,
                                          NGX_HTTP_APIKEYS_INVALID_DATE_FORMAT,
                                          &e->max, NULL);
    }

    if (e->min.data && e->max.data && e->max_time < e->min_time) {
        return ngx_http_apikeys_output_refuse(ctx,
                                           NGX_HTTP_APIKEYS_INVALID_DATE_RANGE,
                                           &e->min, &e->max);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_apikeys_events_list(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  *params;

    params = ngx_pcalloc(ctx->request->pool, 8 * sizeof(ngx_str_t));

    if (params == NULL
        || ngx_http_apikeys_events_params(ctx, params) != NGX_OK
        || ngx_http_apikeys_run_page(ctx, &params[5]) != NGX_OK)
    {
        return NGX_ERROR;
    }

    params[0] = ctx->org;
    params[1] = ctx->project;

    if (ctx->args.count) {
        ngx_str_set(&params[7], NGX_HTTP_APIKEYS_EVENTS_COUNTED);

    } else {
        ngx_str_set(&params[7], "1");
    }

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_events_list_stmt,
                                params, ngx_http_apikeys_events_list_done);
}


/* types that are named and not excluded, or all; seconds, the last included */

static ngx_int_t
ngx_http_apikeys_events_params(ngx_http_apikeys_ctx_t *ctx,
    ngx_str_t *params)
{
    u_char                     *p;
    uint32_t                    types;
    ngx_uint_t                  i;
    ngx_http_apikeys_events_t  *e;

    e = ctx->data;

    p = ngx_pnalloc(ctx->request->pool,
                    2 + NGX_HTTP_APIKEYS_NEVENT_TYPES
                        * (NGX_HTTP_APIKEYS_EVENTS_TYPE_LEN + 1)
                    + 2 * NGX_TIME_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (e->min.data) {
        params[3].data = p;
        p = ngx_sprintf(p, "%T", e->min_time);
        params[3].len = p - params[3].data;
    }

    if (e->max.data) {
        params[4].data = p;
        p = ngx_sprintf(p, "%T", e->max_time + 1);
        params[4].len = p - params[4].data;
    }

    if (e->ntypes == 0 && e->nexcluded == 0 && !e->clusters) {
        return NGX_OK;
    }

    types = e->ntypes ? e->types : 0xffffffff;
    types &= e->clusters ? 0 : ~e->excluded;

    params[2].data = p;
    *p++ = '{';

    for (i = 0; i < NGX_HTTP_APIKEYS_NEVENT_TYPES; i++) {
        if (types & ((uint32_t) 1 << i)) {
            if (p[-1] != '{') {
                *p++ = ',';
            }

            p = ngx_cpymem(p, ngx_http_apikeys_event_types[i].name.data,
                           ngx_http_apikeys_event_types[i].name.len);
        }
    }

    *p++ = '}';
    params[2].len = p - params[2].data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_events_list_done(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t               path, value;
    ngx_uint_t              i, total;
    ngx_apikeys_json_out_t  out;

    (void) ngx_apikeys_pg_query_value(ctx->query, 0,
                                      NGX_HTTP_APIKEYS_EVENT_TOTAL, &value);
    total = ngx_atoi(value.data, value.len);

    ngx_http_apikeys_links_path(ctx, &path);
    ngx_http_apikeys_links_list(ctx, &out, &path, total);

    for (i = 0; i < ngx_apikeys_pg_query_nrows(ctx->query); i++) {

        if (ngx_apikeys_pg_query_value(ctx->query, i,
                                       NGX_HTTP_APIKEYS_EVENT_ID, &value)
            == NGX_OK)
        {
            ngx_http_apikeys_events_write(ctx, &out, i);
        }
    }

    /* the service shows 0 where no count was asked for */

    if (!ctx->args.count) {
        ctx->args.count = 1;
        total = 0;
    }

    ngx_http_apikeys_links_list_end(ctx, &out, total);

    return ngx_http_apikeys_output_document(ctx, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_events_get(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t  *params;

    params = ngx_palloc(ctx->request->pool, 3 * sizeof(ngx_str_t));
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[0] = ctx->org;
    params[1] = ctx->project;
    params[2] = ctx->item;

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_events_get_stmt,
                                params, ngx_http_apikeys_events_get_done);
}


static ngx_int_t
ngx_http_apikeys_events_get_done(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_apikeys_json_out_t  out;

    if (ngx_apikeys_pg_query_nrows(ctx->query) == 0) {

        if (ctx->project.len) {
            return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_EVENT_NOT_FOUND,
                                              &ctx->item, &ctx->project);
        }

        return ngx_http_apikeys_output_refuse(ctx,
                                          NGX_HTTP_APIKEYS_ORG_EVENT_NOT_FOUND,
                                          &ctx->item, &ctx->org);
    }

    ngx_http_apikeys_output_begin(ctx, &out, NGX_HTTP_OK);
    ngx_http_apikeys_events_write(ctx, &out, 0);

    return ngx_http_apikeys_output_send(ctx, &out, NGX_HTTP_OK);
}


/* members without a value are absent; without a caller it was the operator */

static void
ngx_http_apikeys_events_write(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t row)
{
    ngx_str_t                   id, value;
    ngx_http_apikeys_events_t  *e;

    e = ctx->data;

    (void) ngx_apikeys_pg_query_value(ctx->query, row,
                                      NGX_HTTP_APIKEYS_EVENT_ID, &id);

    ngx_apikeys_json_out_object(out);

    if (ctx->conf->api == NGX_HTTP_APIKEYS_OPS_MANAGER) {
        ngx_http_apikeys_events_member(ctx, out, row, "accessListEntry",
                                       NGX_HTTP_APIKEYS_EVENT_ENTRY);
    }

    ngx_http_apikeys_events_member(ctx, out, row, "apiKeyId",
                                   NGX_HTTP_APIKEYS_EVENT_CALLER);
    ngx_http_apikeys_events_member(ctx, out, row, "created",
                                   NGX_HTTP_APIKEYS_EVENT_CREATED);
    ngx_http_apikeys_events_member(ctx, out, row, "eventTypeName",
                                   NGX_HTTP_APIKEYS_EVENT_TYPE);
    ngx_http_apikeys_events_member(ctx, out, row, "groupId",
                                   NGX_HTTP_APIKEYS_EVENT_PROJECT);

    ngx_apikeys_json_out_member(out, "id", &id);

    ngx_apikeys_json_out_name(out, "isGlobalAdmin");
    ngx_apikeys_json_out_bool(out,
                              ngx_apikeys_pg_query_value(ctx->query, row,
                                         NGX_HTTP_APIKEYS_EVENT_CALLER, &value)
                              != NGX_OK);

    if (ctx->project.len) {
        ngx_http_apikeys_links_self(ctx, out, "/groups/%V/events/%V",
                                    &ctx->project, &id);

    } else {
        ngx_http_apikeys_links_self(ctx, out, "/orgs/%V/events/%V",
                                    &ctx->org, &id);
    }

    ngx_http_apikeys_events_member(ctx, out, row, "orgId",
                                   NGX_HTTP_APIKEYS_EVENT_ORG);
    ngx_http_apikeys_events_member(ctx, out, row, "publicKey",
                                   NGX_HTTP_APIKEYS_EVENT_CALLER_KEY);

    if (e->raw) {
        ngx_apikeys_json_out_name(out, "raw");
        ngx_http_apikeys_events_write_raw(ctx, out, row);
    }

    ngx_http_apikeys_events_member(ctx, out, row, "remoteAddress",
                                   NGX_HTTP_APIKEYS_EVENT_ADDRESS);
    ngx_http_apikeys_events_member(ctx, out, row, "targetPublicKey",
                                   NGX_HTTP_APIKEYS_EVENT_TARGET);
    ngx_http_apikeys_events_member(ctx, out, row, "whitelistEntry",
                                   NGX_HTTP_APIKEYS_EVENT_ENTRY);

    ngx_apikeys_json_out_object_end(out);
}


/* here, what has no value is null */

static void
ngx_http_apikeys_events_write_raw(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t row)
{
    ngx_str_t                             name, value;
    const ngx_http_apikeys_event_type_t  *type;
    static const ngx_str_t                severity = ngx_string("INFO"),
                                          source = ngx_string("USER");

    (void) ngx_apikeys_pg_query_value(ctx->query, row,
                                      NGX_HTTP_APIKEYS_EVENT_TYPE, &name);

    type = ngx_http_apikeys_events_find(&name);

    ngx_apikeys_json_out_object(out);

    ngx_apikeys_json_out_member(out, "_t", &type->raw);

    ngx_apikeys_json_out_name(out, "alertConfigId");
    ngx_apikeys_json_out_null(out);

    ngx_http_apikeys_events_raw_member(ctx, out, row, "cid",
                                       NGX_HTTP_APIKEYS_EVENT_PROJECT);
    ngx_http_apikeys_events_raw_member(ctx, out, row, "cre",
                                       NGX_HTTP_APIKEYS_EVENT_CREATED);

    ngx_apikeys_json_out_member(out, "description", &type->description);

    ngx_apikeys_json_out_member(out, "et", &name);

    ngx_apikeys_json_out_name(out, "gn");
    ngx_apikeys_json_out_null(out);

    ngx_apikeys_json_out_name(out, "hidden");
    ngx_apikeys_json_out_bool(out, 0);

    ngx_http_apikeys_events_raw_member(ctx, out, row, "id",
                                       NGX_HTTP_APIKEYS_EVENT_ID);

    ngx_apikeys_json_out_name(out, "isMmsAdmin");
    ngx_apikeys_json_out_bool(out,
                              ngx_apikeys_pg_query_value(ctx->query, row,
                                         NGX_HTTP_APIKEYS_EVENT_CALLER, &value)
                              != NGX_OK);

    ngx_http_apikeys_events_raw_member(ctx, out, row, "orgId",
                                       NGX_HTTP_APIKEYS_EVENT_ORG);

    ngx_apikeys_json_out_name(out, "orgName");
    ngx_apikeys_json_out_null(out);

    ngx_http_apikeys_events_raw_member(ctx, out, row, "remoteAddr",
                                       NGX_HTTP_APIKEYS_EVENT_ADDRESS);

    ngx_apikeys_json_out_member(out, "severity", &severity);
    ngx_apikeys_json_out_member(out, "source", &source);

    ngx_http_apikeys_events_raw_member(ctx, out, row, "un",
                                       NGX_HTTP_APIKEYS_EVENT_CALLER_KEY);
    ngx_http_apikeys_events_raw_member(ctx, out, row, "userId",
                                       NGX_HTTP_APIKEYS_EVENT_CALLER);

    ngx_apikeys_json_out_object_end(out);
}


static void
ngx_http_apikeys_events_member(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, const char *name,
    ngx_uint_t column)
{
    ngx_str_t  value;

    if (ngx_apikeys_pg_query_value(ctx->query, row, column, &value)
        == NGX_OK)
    {
        ngx_apikeys_json_out_member(out, name, &value);
    }
}


static void
ngx_http_apikeys_events_raw_member(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, const char *name,
    ngx_uint_t column)
{
    ngx_str_t  value;

    ngx_apikeys_json_out_name(out, name);

    if (ngx_apikeys_pg_query_value(ctx->query, row, column, &value)
        == NGX_OK)
    {
        ngx_apikeys_json_out_string(out, &value);

    } else {
        ngx_apikeys_json_out_null(out);
    }
}


ngx_int_t
ngx_http_apikeys_events_types(ngx_http_apikeys_ctx_t *ctx)
{
    uint64_t                              i, first;
    ngx_str_t                             path;
    ngx_apikeys_json_out_t                out;
    const ngx_http_apikeys_event_type_t  *type;

    ngx_http_apikeys_links_path(ctx, &path);
    ngx_http_apikeys_links_list(ctx, &out, &path,
                                NGX_HTTP_APIKEYS_NEVENT_TYPES);

    first = (uint64_t) (ctx->args.page - 1) * ctx->args.items;

    for (i = first;
         i < NGX_HTTP_APIKEYS_NEVENT_TYPES && i < first + ctx->args.items;
         i++)
    {
        type = &ngx_http_apikeys_event_types[i];

        ngx_apikeys_json_out_object(&out);

        ngx_apikeys_json_out_name(&out, "alertable");
        ngx_apikeys_json_out_bool(&out, 0);

        ngx_apikeys_json_out_member(&out, "description",
                                    &type->description);
        ngx_apikeys_json_out_member(&out, "eventType", &type->name);

        ngx_apikeys_json_out_object_end(&out);
    }

    ngx_http_apikeys_links_list_end(ctx, &out, NGX_HTTP_APIKEYS_NEVENT_TYPES);

    return ngx_http_apikeys_output_document(ctx, &out, NGX_HTTP_OK);
}
