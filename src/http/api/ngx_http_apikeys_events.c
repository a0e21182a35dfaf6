
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Events of API keys, organizations and projects, as Atlas lists them.
 */


#include <ngx_http_apikeys_args.h>
#include <ngx_http_apikeys_date.h>
#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_native.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_resources.h>
#include <ngx_http_apikeys_page.h>


#define NGX_HTTP_APIKEYS_EVENTS_MAX_TYPES  100
#define NGX_HTTP_APIKEYS_EVENTS_TYPE_LEN   100

/* events beyond the page are counted up to this number */
#define NGX_HTTP_APIKEYS_EVENTS_COUNTED    "10000"


typedef struct {
    ngx_str_t         name;
    ngx_str_t         description;
    ngx_str_t         raw;             /* its "_t" */
} ngx_http_apikeys_event_type_t;


/* the query string, in call->data */
typedef struct {
    uint32_t          types;           /* one bit for each row of
                                          ngx_http_apikeys_event_types */
    uint32_t          excluded;
    ngx_uint_t        ntypes;          /* number of eventType arguments */
    ngx_uint_t        nexcluded;
    ngx_str_t         min;             /* as sent; data NULL: absent */
    ngx_str_t         max;
    time_t            min_time;
    time_t            max_time;
    ngx_str_t         target;          /* a public key, of the native API */
    ngx_str_t         bad_type;
    ngx_str_t         bad_excluded;
    unsigned          clusters:1;      /* clusterNames is set: no event
                                          matches */
    unsigned          raw:1;
    unsigned          seen_raw:1;
    unsigned          bad_raw:1;
    unsigned          seen_target:1;
    unsigned          bad_target:1;
    unsigned          has_bad_type:1;
    unsigned          has_bad_excluded:1;
} ngx_http_apikeys_events_t;


static ngx_http_apikeys_events_t *ngx_http_apikeys_events_parse(
    ngx_http_apikeys_call_t *call);
static void ngx_http_apikeys_events_take(ngx_http_apikeys_events_t *e,
    const ngx_str_t *name, const ngx_str_t *value);
static void ngx_http_apikeys_events_take_compatible(
    ngx_http_apikeys_events_t *e, const ngx_str_t *name,
    const ngx_str_t *value);
static void ngx_http_apikeys_events_take_target(ngx_http_apikeys_events_t *e,
    const ngx_str_t *name, const ngx_str_t *value);
static ngx_uint_t ngx_http_apikeys_events_is(const ngx_str_t *name,
    const char *text);
static ngx_int_t ngx_http_apikeys_events_type(const ngx_str_t *name,
    uint32_t *types);
static const ngx_http_apikeys_event_type_t *ngx_http_apikeys_events_find(
    const ngx_str_t *name);
static ngx_int_t ngx_http_apikeys_events_dates(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_events_t *e);
static ngx_int_t ngx_http_apikeys_events_params(ngx_http_apikeys_call_t *call,
    ngx_str_t *params);
static ngx_int_t ngx_http_apikeys_events_get_done(
    ngx_http_apikeys_call_t *call);
static void ngx_http_apikeys_events_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row);
static void ngx_http_apikeys_events_write_native(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row);
static void ngx_http_apikeys_events_write_raw(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row);
static void ngx_http_apikeys_events_member(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, const char *name,
    ngx_uint_t column);
static void ngx_http_apikeys_events_raw_member(ngx_http_apikeys_call_t *call,
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
    NGX_HTTP_APIKEYS_EVENT_TARGET_ID,
    NGX_HTTP_APIKEYS_EVENT_OPERATOR,
    NGX_HTTP_APIKEYS_EVENT_OPERATOR_KEY,
    NGX_HTTP_APIKEYS_EVENT_TOTAL
};

#define NGX_HTTP_APIKEYS_EVENT_COLUMNS                                       \
    "id, created, type, org_id, project_id, caller_id, caller_public_key,"   \
    " address, target_public_key, entry, target_id, operator_id,"            \
    " operator_public_key"


/* the first parameters of both statements: one of them is NULL */
enum {
    NGX_HTTP_APIKEYS_EVENTS_ORG = 0,
    NGX_HTTP_APIKEYS_EVENTS_PROJECT,
    NGX_HTTP_APIKEYS_EVENTS_OWN
};

enum {
    NGX_HTTP_APIKEYS_EVENTS_LIST_TYPES = NGX_HTTP_APIKEYS_EVENTS_OWN,
    NGX_HTTP_APIKEYS_EVENTS_LIST_MIN,       /* seconds; NULL: no limit */
    NGX_HTTP_APIKEYS_EVENTS_LIST_MAX,
    NGX_HTTP_APIKEYS_EVENTS_LIST_COUNTED,   /* rows that "total" counts */
    NGX_HTTP_APIKEYS_EVENTS_LIST_TARGET,    /* a public key; NULL: any */
    NGX_HTTP_APIKEYS_EVENTS_LIST_PAGE,
    NGX_HTTP_APIKEYS_EVENTS_LIST_NPARAMS =
        NGX_HTTP_APIKEYS_EVENTS_LIST_PAGE + NGX_HTTP_APIKEYS_PAGE_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_EVENTS_GET_ID = NGX_HTTP_APIKEYS_EVENTS_OWN,
    NGX_HTTP_APIKEYS_EVENTS_GET_NPARAMS
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_events_list_stmt = {
    "apikeys_events_list",
    "SELECT " NGX_HTTP_APIKEYS_EVENT_COLUMNS ", total"
    "  FROM apikeys.list_events($1, $2, $3, to_timestamp($4),"
    "                           to_timestamp($5), $8, $9, $6, $7)",
    NGX_HTTP_APIKEYS_EVENTS_LIST_NPARAMS, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_events_get_stmt = {
    "apikeys_events_get",
    "SELECT " NGX_HTTP_APIKEYS_EVENT_COLUMNS
    "  FROM apikeys.shown_events"
    " WHERE number = ('x' || right($3, 16))::bit(64)::bigint"
    "   AND id = $3"
    "   AND (org_id = $1 OR project_id = $2)",
    NGX_HTTP_APIKEYS_EVENTS_GET_NPARAMS, 0
};


/* in ascending order, as the list of event types shows them */
static const ngx_http_apikeys_event_type_t  ngx_http_apikeys_event_types[] = {

    { ngx_string("API_KEY_ACCESS_LIST_ENTRY_ADDED"),
      ngx_string("API Key Access List Entry Added"),
      ngx_string("API_USER_AUDIT") },
    { ngx_string("API_KEY_ACCESS_LIST_ENTRY_CHANGED"),
      ngx_string("API Key Access List Entry Changed"),
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
    { ngx_string("API_KEY_DISABLED"),
      ngx_string("API Key Disabled"),
      ngx_string("API_USER_AUDIT") },
    { ngx_string("API_KEY_ENABLED"),
      ngx_string("API Key Enabled"),
      ngx_string("API_USER_AUDIT") },
    { ngx_string("API_KEY_EXPIRY_CHANGED"),
      ngx_string("API Key Expiry Changed"),
      ngx_string("API_USER_AUDIT") },
    { ngx_string("API_KEY_REMOVED_FROM_GROUP"),
      ngx_string("API Key removed from Group"),
      ngx_string("API_USER_AUDIT") },
    { ngx_string("API_KEY_ROLES_CHANGED"),
      ngx_string("API Key Roles Changed"),
      ngx_string("API_USER_AUDIT") },
    { ngx_string("API_KEY_SECRET_ADDED"),
      ngx_string("API Key Secret Added"),
      ngx_string("API_USER_AUDIT") },
    { ngx_string("API_KEY_SECRET_CHANGED"),
      ngx_string("API Key Secret Changed"),
      ngx_string("API_USER_AUDIT") },
    { ngx_string("API_KEY_SECRET_DELETED"),
      ngx_string("API Key Secret Deleted"),
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

/* the types that a call asks for are a mask, uint32_t */
_Static_assert(NGX_HTTP_APIKEYS_NEVENT_TYPES <= 32,
               "a mask has a bit for each event type");


/* for a type in the database that this table lacks */
static const ngx_http_apikeys_event_type_t  ngx_http_apikeys_event_other =
    { ngx_null_string, ngx_string(""), ngx_string("API_USER_AUDIT") };


/* the names that two types had before 2021 */
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
static const ngx_str_t  ngx_http_apikeys_events_target_name =
    ngx_string("targetPublicKey");


ngx_int_t
ngx_http_apikeys_events_query(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                   rc;
    ngx_http_apikeys_events_t  *e;

    rc = ngx_http_apikeys_events_query_raw(call);
    if (rc != NGX_OK) {
        return rc;
    }

    e = call->data;

    /* the list of an organization does not have these arguments */

    if (call->project.len == 0) {
        e->excluded = 0;
        e->nexcluded = 0;
        e->has_bad_excluded = 0;
        e->clusters = 0;
    }

    if (e->ntypes > NGX_HTTP_APIKEYS_EVENTS_MAX_TYPES) {
        return ngx_http_apikeys_output_set_error(call,
                                 NGX_HTTP_APIKEYS_CODE_INVALID_QUERY_PARAMETER,
                                 &ngx_http_apikeys_events_type_name,
                                 NULL);
    }

    if (e->has_bad_type) {
        return ngx_http_apikeys_output_set_error(call,
                                      NGX_HTTP_APIKEYS_CODE_INVALID_ENUM_VALUE,
                                      &e->bad_type, NULL);
    }

    if (e->nexcluded > NGX_HTTP_APIKEYS_EVENTS_MAX_TYPES) {
        return ngx_http_apikeys_output_set_error(call,
                                 NGX_HTTP_APIKEYS_CODE_INVALID_QUERY_PARAMETER,
                                 &ngx_http_apikeys_events_excluded_name,
                                 NULL);
    }

    if (e->has_bad_excluded) {
        return ngx_http_apikeys_output_set_error(call,
                                      NGX_HTTP_APIKEYS_CODE_INVALID_ENUM_VALUE,
                                      &e->bad_excluded, NULL);
    }

    if (e->bad_target) {
        return ngx_http_apikeys_output_set_error(call,
                                 NGX_HTTP_APIKEYS_CODE_INVALID_QUERY_PARAMETER,
                                 &ngx_http_apikeys_events_target_name, NULL);
    }

    return ngx_http_apikeys_events_dates(call, e);
}


ngx_int_t
ngx_http_apikeys_events_query_raw(ngx_http_apikeys_call_t *call)
{
    ngx_http_apikeys_events_t  *e;

    e = ngx_http_apikeys_events_parse(call);
    if (e == NULL) {
        return NGX_ERROR;
    }

    call->data = e;

    if (e->bad_raw) {
        return ngx_http_apikeys_output_set_error(call,
                                 NGX_HTTP_APIKEYS_CODE_INVALID_QUERY_PARAMETER,
                                 &ngx_http_apikeys_events_raw_name,
                                 NULL);
    }

    return NGX_OK;
}


static ngx_http_apikeys_events_t *
ngx_http_apikeys_events_parse(ngx_http_apikeys_call_t *call)
{
    u_char                     *p;
    ngx_int_t                   rc;
    ngx_str_t                   name, value;
    ngx_http_apikeys_events_t  *e;

    e = ngx_pcalloc(call->request->pool, sizeof(ngx_http_apikeys_events_t));
    if (e == NULL) {
        return NULL;
    }

    p = call->request->args.data;

    do {
        rc = ngx_http_apikeys_args_next(call->request, &p, &name, &value);

        if (rc == NGX_ERROR) {
            return NULL;
        }

        if (rc == NGX_OK) {
            ngx_http_apikeys_events_take(e, &name, &value);

            if (ngx_http_apikeys_native(call)) {
                ngx_http_apikeys_events_take_target(e, &name, &value);

            } else {
                ngx_http_apikeys_events_take_compatible(e, &name, &value);
            }
        }

    } while (rc == NGX_OK);

    return e;
}


/* eventType and excludedEventType add up; of others the first counts */

static void
ngx_http_apikeys_events_take(ngx_http_apikeys_events_t *e,
    const ngx_str_t *name, const ngx_str_t *value)
{
    if (ngx_http_apikeys_events_is(name, "eventType")) {
        e->ntypes++;

        if (ngx_http_apikeys_events_type(value, &e->types) != NGX_OK
            && !e->has_bad_type)
        {
            e->has_bad_type = 1;
            e->bad_type = *value;
        }

    } else if (ngx_http_apikeys_events_is(name, "excludedEventType")) {
        e->nexcluded++;

        if (ngx_http_apikeys_events_type(value, &e->excluded) != NGX_OK
            && !e->has_bad_excluded)
        {
            e->has_bad_excluded = 1;
            e->bad_excluded = *value;
        }

    } else if (ngx_http_apikeys_events_is(name, "minDate")) {
        if (e->min.data == NULL) {
            e->min = *value;
        }

    } else if (ngx_http_apikeys_events_is(name, "maxDate")) {
        if (e->max.data == NULL) {
            e->max = *value;
        }

    }
}


static void
ngx_http_apikeys_events_take_compatible(ngx_http_apikeys_events_t *e,
    const ngx_str_t *name, const ngx_str_t *value)
{
    ngx_int_t  n;

    if (ngx_http_apikeys_events_is(name, "clusterNames")) {
        e->clusters = 1;

    } else if (ngx_http_apikeys_events_is(name, "includeRaw") && !e->seen_raw) {
        n = ngx_http_apikeys_args_bool(value);

        e->seen_raw = 1;
        e->raw = (n == 1);
        e->bad_raw = (n == NGX_ERROR);
    }
}


static void
ngx_http_apikeys_events_take_target(ngx_http_apikeys_events_t *e,
    const ngx_str_t *name, const ngx_str_t *value)
{
    if (ngx_http_apikeys_events_is(name, "targetPublicKey")
        && !e->seen_target)
    {
        e->seen_target = 1;
        e->target = *value;
        e->bad_target = !ngx_http_apikeys_key_is_public(value);
    }
}


static ngx_uint_t
ngx_http_apikeys_events_is(const ngx_str_t *name, const char *text)
{
    return name->len == ngx_strlen(text)
           && ngx_strncmp(name->data, text, name->len) == 0;
}


/*
 * Atlas has a thousand event types: one that does not occur here matches no
 * event, but is not an error.
 */

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
ngx_http_apikeys_events_dates(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_events_t *e)
{
    if (e->min.data
        && ngx_http_apikeys_date_parse(&e->min, &e->min_time) != NGX_OK)
    {
        return ngx_http_apikeys_output_set_error(call,
                                     NGX_HTTP_APIKEYS_CODE_INVALID_DATE_FORMAT,
                                     &e->min, NULL);
    }

    if (e->max.data
        && ngx_http_apikeys_date_parse(&e->max, &e->max_time) != NGX_OK)
    {
        return ngx_http_apikeys_output_set_error(call,
                                     NGX_HTTP_APIKEYS_CODE_INVALID_DATE_FORMAT,
                                     &e->max, NULL);
    }

    if (e->min.data && e->max.data && e->max_time < e->min_time) {
        return ngx_http_apikeys_output_set_error(call,
                                      NGX_HTTP_APIKEYS_CODE_INVALID_DATE_RANGE,
                                      &e->min, &e->max);
    }

    return NGX_OK;
}


/* Atlas shows a totalCount of 0 with includeCount=false */

static const ngx_http_apikeys_page_t  ngx_http_apikeys_events_page = {
    .total = NGX_HTTP_APIKEYS_EVENT_TOTAL,
    .id = NGX_HTTP_APIKEYS_EVENT_ID,
    .zero_count = 1,
    .write = ngx_http_apikeys_events_write
};

static const ngx_http_apikeys_page_t  ngx_http_apikeys_events_native_page = {
    .total = NGX_HTTP_APIKEYS_EVENT_TOTAL,
    .id = NGX_HTTP_APIKEYS_EVENT_ID,
    .write = ngx_http_apikeys_events_write_native
};


ngx_int_t
ngx_http_apikeys_events_list(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params, *counted;

    params = ngx_http_apikeys_page_params(call,
                                          &ngx_http_apikeys_events_list_stmt);

    if (params == NULL
        || ngx_http_apikeys_events_params(call, params) != NGX_OK)
    {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_EVENTS_ORG] = call->org;
    params[NGX_HTTP_APIKEYS_EVENTS_PROJECT] = call->project;

    counted = &params[NGX_HTTP_APIKEYS_EVENTS_LIST_COUNTED];

    if (call->args.count) {
        ngx_str_set(counted, NGX_HTTP_APIKEYS_EVENTS_COUNTED);

    } else {
        ngx_str_set(counted, "1");
    }

    return ngx_http_apikeys_page_run(call, &ngx_http_apikeys_events_list_stmt,
                                     params,
                                     ngx_http_apikeys_native(call)
                                     ? &ngx_http_apikeys_events_native_page
                                     : &ngx_http_apikeys_events_page);
}


/*
 * the types that are named and not excluded, or all; and the range of time, in
 * seconds, of which the last is included
 */

static ngx_int_t
ngx_http_apikeys_events_params(ngx_http_apikeys_call_t *call,
    ngx_str_t *params)
{
    u_char                     *p;
    ngx_str_t                  *min, *max, *names;
    uint32_t                    types;
    ngx_uint_t                  i;
    ngx_http_apikeys_events_t  *e;

    e = call->data;

    p = ngx_pnalloc(call->request->pool,
                    2 + NGX_HTTP_APIKEYS_NEVENT_TYPES
                        * (NGX_HTTP_APIKEYS_EVENTS_TYPE_LEN + 1)
                    + 2 * NGX_TIME_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    min = &params[NGX_HTTP_APIKEYS_EVENTS_LIST_MIN];
    max = &params[NGX_HTTP_APIKEYS_EVENTS_LIST_MAX];
    names = &params[NGX_HTTP_APIKEYS_EVENTS_LIST_TYPES];

    if (e->min.data) {
        min->data = p;
        p = ngx_sprintf(p, "%T", e->min_time);
        min->len = p - min->data;
    }

    if (e->max.data) {
        max->data = p;
        p = ngx_sprintf(p, "%T", e->max_time + 1);
        max->len = p - max->data;
    }

    params[NGX_HTTP_APIKEYS_EVENTS_LIST_TARGET] = e->target;

    if (e->ntypes == 0 && e->nexcluded == 0 && !e->clusters) {
        return NGX_OK;
    }

    types = e->ntypes ? e->types : 0xffffffff;
    types &= e->clusters ? 0 : ~e->excluded;

    names->data = p;
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
    names->len = p - names->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_apikeys_events_get(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    params = ngx_palloc(call->request->pool,
                        NGX_HTTP_APIKEYS_EVENTS_GET_NPARAMS
                        * sizeof(ngx_str_t));
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_EVENTS_ORG] = call->org;
    params[NGX_HTTP_APIKEYS_EVENTS_PROJECT] = call->project;
    params[NGX_HTTP_APIKEYS_EVENTS_GET_ID] = call->item;

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_events_get_stmt,
                                params, ngx_http_apikeys_events_get_done);
}


static ngx_int_t
ngx_http_apikeys_events_get_done(ngx_http_apikeys_call_t *call)
{
    ngx_apikeys_json_out_t  out;

    if (ngx_apikeys_pg_query_nrows(call->query) == 0) {

        if (call->project.len) {
            return ngx_http_apikeys_output_set_error(call,
                                         NGX_HTTP_APIKEYS_CODE_EVENT_NOT_FOUND,
                                         &call->item, &call->project);
        }

        return ngx_http_apikeys_output_set_error(call,
                                     NGX_HTTP_APIKEYS_CODE_ORG_EVENT_NOT_FOUND,
                                     &call->item, &call->org);
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);

    if (ngx_http_apikeys_native(call)) {
        ngx_http_apikeys_events_write_native(call, &out, 0);

    } else {
        ngx_http_apikeys_events_write(call, &out, 0);
    }

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
}


/*
 * members without a value are omitted; an event without a caller is the
 * operator's
 */

static void
ngx_http_apikeys_events_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row)
{
    ngx_str_t                   id, value;
    ngx_http_apikeys_events_t  *e;

    e = call->data;

    (void) ngx_apikeys_pg_query_value(call->query, row,
                                      NGX_HTTP_APIKEYS_EVENT_ID, &id);

    ngx_apikeys_json_out_object(out);

    if (call->conf->api == NGX_HTTP_APIKEYS_API_OPS_MANAGER) {
        ngx_http_apikeys_events_member(call, out, row, "accessListEntry",
                                       NGX_HTTP_APIKEYS_EVENT_ENTRY);
    }

    ngx_http_apikeys_events_member(call, out, row, "apiKeyId",
                                   NGX_HTTP_APIKEYS_EVENT_CALLER);
    ngx_http_apikeys_events_member(call, out, row, "created",
                                   NGX_HTTP_APIKEYS_EVENT_CREATED);
    ngx_http_apikeys_events_member(call, out, row, "eventTypeName",
                                   NGX_HTTP_APIKEYS_EVENT_TYPE);
    ngx_http_apikeys_events_member(call, out, row, "groupId",
                                   NGX_HTTP_APIKEYS_EVENT_PROJECT);

    ngx_apikeys_json_out_member(out, "id", &id);

    ngx_apikeys_json_out_name(out, "isGlobalAdmin");
    ngx_apikeys_json_out_bool(out,
                              ngx_apikeys_pg_query_value(call->query, row,
                                         NGX_HTTP_APIKEYS_EVENT_CALLER, &value)
                              != NGX_OK);

    if (call->project.len) {
        ngx_http_apikeys_links_self(call, out, "/groups/%V/events/%V",
                                    &call->project, &id);

    } else {
        ngx_http_apikeys_links_self(call, out, "/orgs/%V/events/%V",
                                    &call->org, &id);
    }

    ngx_http_apikeys_events_member(call, out, row, "orgId",
                                   NGX_HTTP_APIKEYS_EVENT_ORG);
    ngx_http_apikeys_events_member(call, out, row, "publicKey",
                                   NGX_HTTP_APIKEYS_EVENT_CALLER_KEY);

    if (e->raw) {
        ngx_apikeys_json_out_name(out, "raw");
        ngx_http_apikeys_events_write_raw(call, out, row);
    }

    ngx_http_apikeys_events_member(call, out, row, "remoteAddress",
                                   NGX_HTTP_APIKEYS_EVENT_ADDRESS);
    ngx_http_apikeys_events_member(call, out, row, "targetPublicKey",
                                   NGX_HTTP_APIKEYS_EVENT_TARGET);
    ngx_http_apikeys_events_member(call, out, row, "whitelistEntry",
                                   NGX_HTTP_APIKEYS_EVENT_ENTRY);

    ngx_apikeys_json_out_object_end(out);
}


/* a global key by which the operator acted is shown to the operator */

static void
ngx_http_apikeys_events_write_native(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row)
{
    ngx_str_t   id, value;
    ngx_uint_t  operator;

    (void) ngx_apikeys_pg_query_value(call->query, row,
                                      NGX_HTTP_APIKEYS_EVENT_ID, &id);

    operator = (ngx_apikeys_pg_query_value(call->query, row,
                                           NGX_HTTP_APIKEYS_EVENT_CALLER,
                                           &value)
                != NGX_OK);

    ngx_apikeys_json_out_object(out);
    ngx_apikeys_json_out_member(out, "id", &id);
    ngx_http_apikeys_native_member(call, out, row, "type",
                                   NGX_HTTP_APIKEYS_EVENT_TYPE);
    ngx_http_apikeys_native_member(call, out, row, "createdAt",
                                   NGX_HTTP_APIKEYS_EVENT_CREATED);
    ngx_http_apikeys_native_member(call, out, row, "orgId",
                                   NGX_HTTP_APIKEYS_EVENT_ORG);
    ngx_http_apikeys_native_member(call, out, row, "projectId",
                                   NGX_HTTP_APIKEYS_EVENT_PROJECT);
    ngx_http_apikeys_native_member(call, out, row, "apiKeyId",
                                   operator && call->operator
                                   ? NGX_HTTP_APIKEYS_EVENT_OPERATOR
                                   : NGX_HTTP_APIKEYS_EVENT_CALLER);
    ngx_http_apikeys_native_member(call, out, row, "publicKey",
                                   operator && call->operator
                                   ? NGX_HTTP_APIKEYS_EVENT_OPERATOR_KEY
                                   : NGX_HTTP_APIKEYS_EVENT_CALLER_KEY);

    ngx_apikeys_json_out_name(out, "operator");
    ngx_apikeys_json_out_bool(out, operator);

    ngx_http_apikeys_native_member(call, out, row, "remoteAddress",
                                   NGX_HTTP_APIKEYS_EVENT_ADDRESS);
    ngx_http_apikeys_native_member(call, out, row, "targetApiKeyId",
                                   NGX_HTTP_APIKEYS_EVENT_TARGET_ID);
    ngx_http_apikeys_native_member(call, out, row, "targetPublicKey",
                                   NGX_HTTP_APIKEYS_EVENT_TARGET);
    ngx_http_apikeys_native_member(call, out, row, "entry",
                                   NGX_HTTP_APIKEYS_EVENT_ENTRY);

    if (call->project.len) {
        ngx_http_apikeys_links_self(call, out, "/projects/%V/events/%V",
                                    &call->project, &id);

    } else {
        ngx_http_apikeys_links_self(call, out, "/orgs/%V/events/%V",
                                    &call->org, &id);
    }

    ngx_apikeys_json_out_object_end(out);
}


/* in the raw form a member without a value is null */

static void
ngx_http_apikeys_events_write_raw(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row)
{
    ngx_str_t                             name, value;
    const ngx_http_apikeys_event_type_t  *type;
    static const ngx_str_t                severity = ngx_string("INFO"),
                                          source = ngx_string("USER");

    (void) ngx_apikeys_pg_query_value(call->query, row,
                                      NGX_HTTP_APIKEYS_EVENT_TYPE, &name);

    type = ngx_http_apikeys_events_find(&name);

    ngx_apikeys_json_out_object(out);

    ngx_apikeys_json_out_member(out, "_t", &type->raw);

    ngx_apikeys_json_out_name(out, "alertConfigId");
    ngx_apikeys_json_out_null(out);

    ngx_http_apikeys_events_raw_member(call, out, row, "cid",
                                       NGX_HTTP_APIKEYS_EVENT_PROJECT);
    ngx_http_apikeys_events_raw_member(call, out, row, "cre",
                                       NGX_HTTP_APIKEYS_EVENT_CREATED);

    ngx_apikeys_json_out_member(out, "description", &type->description);

    ngx_apikeys_json_out_member(out, "et", &name);

    ngx_apikeys_json_out_name(out, "gn");
    ngx_apikeys_json_out_null(out);

    ngx_apikeys_json_out_name(out, "hidden");
    ngx_apikeys_json_out_bool(out, 0);

    ngx_http_apikeys_events_raw_member(call, out, row, "id",
                                       NGX_HTTP_APIKEYS_EVENT_ID);

    ngx_apikeys_json_out_name(out, "isMmsAdmin");
    ngx_apikeys_json_out_bool(out,
                              ngx_apikeys_pg_query_value(call->query, row,
                                         NGX_HTTP_APIKEYS_EVENT_CALLER, &value)
                              != NGX_OK);

    ngx_http_apikeys_events_raw_member(call, out, row, "orgId",
                                       NGX_HTTP_APIKEYS_EVENT_ORG);

    ngx_apikeys_json_out_name(out, "orgName");
    ngx_apikeys_json_out_null(out);

    ngx_http_apikeys_events_raw_member(call, out, row, "remoteAddr",
                                       NGX_HTTP_APIKEYS_EVENT_ADDRESS);

    ngx_apikeys_json_out_member(out, "severity", &severity);
    ngx_apikeys_json_out_member(out, "source", &source);

    ngx_http_apikeys_events_raw_member(call, out, row, "un",
                                       NGX_HTTP_APIKEYS_EVENT_CALLER_KEY);
    ngx_http_apikeys_events_raw_member(call, out, row, "userId",
                                       NGX_HTTP_APIKEYS_EVENT_CALLER);

    ngx_apikeys_json_out_object_end(out);
}


static void
ngx_http_apikeys_events_member(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, const char *name,
    ngx_uint_t column)
{
    ngx_str_t  value;

    if (ngx_apikeys_pg_query_value(call->query, row, column, &value)
        == NGX_OK)
    {
        ngx_apikeys_json_out_member(out, name, &value);
    }
}


static void
ngx_http_apikeys_events_raw_member(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, const char *name,
    ngx_uint_t column)
{
    ngx_str_t  value;

    ngx_apikeys_json_out_name(out, name);

    if (ngx_apikeys_pg_query_value(call->query, row, column, &value)
        == NGX_OK)
    {
        ngx_apikeys_json_out_string(out, &value);

    } else {
        ngx_apikeys_json_out_null(out);
    }
}


ngx_int_t
ngx_http_apikeys_events_types(ngx_http_apikeys_call_t *call)
{
    uint64_t                              i, first;
    ngx_apikeys_json_out_t                out;
    const ngx_http_apikeys_event_type_t  *type;

    ngx_http_apikeys_links_list(call, &out, NGX_HTTP_APIKEYS_NEVENT_TYPES);

    first = (uint64_t) (call->args.page - 1) * call->args.items;

    for (i = first;
         i < NGX_HTTP_APIKEYS_NEVENT_TYPES && i < first + call->args.items;
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

    ngx_http_apikeys_links_list_end(call, &out, NGX_HTTP_APIKEYS_NEVENT_TYPES);

    return ngx_http_apikeys_output_document(call, &out, NGX_HTTP_OK);
}
