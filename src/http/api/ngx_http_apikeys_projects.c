
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Projects, called groups in paths and error texts (docs/compatibility.md D64
 * to D72).
 */


#include <ngx_http_apikeys_attributes.h>
#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_native.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_resources.h>
#include <ngx_http_apikeys_run.h>


#define NGX_HTTP_APIKEYS_PROJECTS_MAX_TAGS      50
#define NGX_HTTP_APIKEYS_PROJECTS_MAX_TAG       255

/* tags of Ops Manager are strings, and stored apart from those of Atlas */
#define NGX_HTTP_APIKEYS_PROJECTS_MAX_TOKENS    10
#define NGX_HTTP_APIKEYS_PROJECTS_MAX_TOKEN     32


typedef struct {
    ngx_apikeys_json_t  *name;
    ngx_apikeys_json_t  *org;
    ngx_apikeys_json_t  *id;
    ngx_apikeys_json_t  *tags;
    ngx_apikeys_json_t  *alerts;
} ngx_http_apikeys_projects_body_t;


typedef struct {
    ngx_apikeys_json_t  *key;
    ngx_apikeys_json_t  *value;
} ngx_http_apikeys_projects_tag_t;


/* which form of a project is written */
typedef enum {
    NGX_HTTP_APIKEYS_PROJECTS_IN_LIST = 0,
    NGX_HTTP_APIKEYS_PROJECTS_SINGLE,
    NGX_HTTP_APIKEYS_PROJECTS_CREATED
} ngx_http_apikeys_projects_form_e;


static void ngx_http_apikeys_projects_write_listed(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_out_t *out,
    ngx_uint_t row);
static ngx_int_t ngx_http_apikeys_projects_get_done(
    ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_projects_by_name_done(
    ngx_http_apikeys_call_t *call);
static void ngx_http_apikeys_projects_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row,
    ngx_http_apikeys_projects_form_e form);
static void ngx_http_apikeys_projects_write_links(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_out_t *out,
    const ngx_str_t *id, ngx_http_apikeys_projects_form_e form);
static void ngx_http_apikeys_projects_write_tags(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_apikeys_json_t *attributes,
    ngx_http_apikeys_projects_form_e form);
static ngx_int_t ngx_http_apikeys_projects_org(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *value);
static ngx_int_t ngx_http_apikeys_projects_create_done(
    ngx_http_apikeys_call_t *call);
static const ngx_http_apikeys_attr_t *ngx_http_apikeys_projects_update_attrs(
    ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_projects_attributes(
    ngx_http_apikeys_call_t *call, ngx_http_apikeys_projects_body_t *body,
    ngx_str_t *param);
static ngx_int_t ngx_http_apikeys_projects_tags(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *tags);
static ngx_int_t ngx_http_apikeys_projects_tokens(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_t *tags);
static ngx_int_t ngx_http_apikeys_projects_delete_done(
    ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_projects_visible(
    ngx_http_apikeys_call_t *call, ngx_str_t *params);
static ngx_int_t ngx_http_apikeys_projects_conflict(
    ngx_http_apikeys_call_t *call);


/* parameters of the statements below */

/* of the statements that select only projects which the caller may see */
enum {
    NGX_HTTP_APIKEYS_PROJECTS_ORG = 0,      /* NULL: all */
    NGX_HTTP_APIKEYS_PROJECTS_KEY,          /* only where this key has a role;
                                               NULL: all */
    NGX_HTTP_APIKEYS_PROJECTS_NAME,         /* or its beginning */
    NGX_HTTP_APIKEYS_PROJECTS_BY_NAME_NPARAMS,
    NGX_HTTP_APIKEYS_PROJECTS_PAGE = NGX_HTTP_APIKEYS_PROJECTS_BY_NAME_NPARAMS,
    NGX_HTTP_APIKEYS_PROJECTS_LIST_NPARAMS = NGX_HTTP_APIKEYS_PROJECTS_PAGE
                                             + NGX_HTTP_APIKEYS_PAGE_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_PROJECTS_CREATE_ORG = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_PROJECTS_CREATE_NAME,
    NGX_HTTP_APIKEYS_PROJECTS_CREATE_ATTRIBUTES,
    NGX_HTTP_APIKEYS_PROJECTS_CREATE_NPARAMS
};

enum {
    NGX_HTTP_APIKEYS_PROJECTS_DELETE_ID = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_PROJECTS_DELETE_NPARAMS
};


#define NGX_HTTP_APIKEYS_PROJECTS_WHERE                                      \
    " WHERE ($1::text IS NULL OR p.org_id = $1)"                             \
    "   AND ($2::text IS NULL OR EXISTS"                                     \
    "        (SELECT FROM apikeys.key_projects r"                            \
    "          WHERE r.key_id = $2 AND r.project_id = p.id))"

#define NGX_HTTP_APIKEYS_PROJECTS_PREFIX                                     \
    "   AND ($3::text IS NULL OR " NGX_HTTP_APIKEYS_RUN_PREFIX("$3") ")"

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_list_stmt = {
    "apikeys_projects_list",
    "SELECT " NGX_APIKEYS_STATE_PRINTED ", total"
    "  FROM (SELECT count(*) AS total FROM apikeys.projects p"
             NGX_HTTP_APIKEYS_PROJECTS_WHERE
             NGX_HTTP_APIKEYS_PROJECTS_PREFIX ") t"
    "  LEFT JOIN (SELECT * FROM apikeys.project_states p"
                  NGX_HTTP_APIKEYS_PROJECTS_WHERE
                  NGX_HTTP_APIKEYS_PROJECTS_PREFIX
    "              ORDER BY name, id LIMIT $4 OFFSET $5) s ON true"
    " ORDER BY name, id",
    NGX_HTTP_APIKEYS_PROJECTS_LIST_NPARAMS, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_by_name_stmt = {
    "apikeys_projects_by_name",
    "SELECT " NGX_APIKEYS_STATE_PRINTED
    "  FROM apikeys.project_states p" NGX_HTTP_APIKEYS_PROJECTS_WHERE
    "   AND p.name = $3 LIMIT 2",
    NGX_HTTP_APIKEYS_PROJECTS_BY_NAME_NPARAMS, 0
};

const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_stmt = {
    "apikeys_project",
    "SELECT " NGX_APIKEYS_STATE_PRINTED
    "  FROM apikeys.project_states WHERE id = $1",
    1, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_create_stmt = {
    "apikeys_projects_create",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "create_project($1, $2, $3, $4, $5, $6, $7, $8) s",
    NGX_HTTP_APIKEYS_PROJECTS_CREATE_NPARAMS, 1
};

const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_update_stmt = {
    "apikeys_projects_update",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "update_project($1, $2, $3, $4, $5, $6, $7, $8) s",
    NGX_HTTP_APIKEYS_PROJECTS_UPDATE_NPARAMS, 1
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_delete_stmt = {
    "apikeys_projects_delete",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "delete_project($1, $2, $3, $4, $5, $6) s",
    NGX_HTTP_APIKEYS_PROJECTS_DELETE_NPARAMS, 1
};


static const ngx_http_apikeys_flag_t  ngx_http_apikeys_projects_alerts_flag =
    { "withDefaultAlertsSettings", 1 };


/* the members of "attributes" with the tags of each product */
#define NGX_HTTP_APIKEYS_PROJECTS_TAGS    "tags"
#define NGX_HTTP_APIKEYS_PROJECTS_TOKENS  "tokens"


/* members of a project that clients send back unchanged */

#define NGX_HTTP_APIKEYS_PROJECTS_SENT_BACK                                  \
    { "clusterCount", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },                    \
    { "created", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },                         \
    { "activeAgentCount", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },                \
    { "agentApiKey", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },                     \
    { "hostCounts", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },                      \
    { "lastActiveAgent", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },                 \
    { "ldapGroupMappings", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },               \
    { "publicApiEnabled", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },                \
    { "replicaSetCount", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },                 \
    { "shardCount", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 }


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_projects_attrs[] = {

    { "name", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_body_t, name) },
    { "orgId", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_body_t, org) },
    { "tags", NGX_HTTP_APIKEYS_ATTR_ARRAY,
      offsetof(ngx_http_apikeys_projects_body_t, tags) },
    { "withDefaultAlertsSettings", NGX_HTTP_APIKEYS_ATTR_BOOLEAN,
      offsetof(ngx_http_apikeys_projects_body_t, alerts) },
    { "regionUsageRestrictions", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    NGX_HTTP_APIKEYS_PROJECTS_SENT_BACK,
    { "id", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "links", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_projects_updates[] = {

    { "name", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_body_t, name) },
    { "tags", NGX_HTTP_APIKEYS_ATTR_ARRAY,
      offsetof(ngx_http_apikeys_projects_body_t, tags) },
    { "withDefaultAlertsSettings", NGX_HTTP_APIKEYS_ATTR_BOOLEAN,
      offsetof(ngx_http_apikeys_projects_body_t, alerts) },
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_projects_old_updates[] =
{
    { "name", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_body_t, name) },
    { "id", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_body_t, id) },
    { "tags", NGX_HTTP_APIKEYS_ATTR_ARRAY,
      offsetof(ngx_http_apikeys_projects_body_t, tags) },
    { "withDefaultAlertsSettings", NGX_HTTP_APIKEYS_ATTR_BOOLEAN,
      offsetof(ngx_http_apikeys_projects_body_t, alerts) },
    { "orgId", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { "links", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    NGX_HTTP_APIKEYS_PROJECTS_SENT_BACK,
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_projects_native[] = {

    { "name", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_body_t, name) },
    { "orgId", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_body_t, org) },
    { "id", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "createdAt", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "links", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_attr_t
    ngx_http_apikeys_projects_native_updates[] =
{
    { "name", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_body_t, name) },
    { "id", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "orgId", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "createdAt", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "links", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_projects_tag_attrs[] = {

    { "key", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_tag_t, key) },
    { "value", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_projects_tag_t, value) },
    { NULL, 0, 0 }
};


/* members of "hostCounts" of Ops Manager */
static const char  *ngx_http_apikeys_projects_hosts[] = {
    "arbiter", "config", "master", "mongos", "primary", "secondary", "slave",
    NULL
};


/* the links of a project, by product */
static const char  *ngx_http_apikeys_projects_atlas_links[] = {
    "containers", "clusters", "databaseUsers", "peers", "processes",
    "whitelist", NULL
};

static const char  *ngx_http_apikeys_projects_ops_manager_links[] = {
    "hosts", "users", "clusters", "alertConfigs", "alerts", "backupConfigs",
    "agents", NULL
};


static const ngx_http_apikeys_page_t  ngx_http_apikeys_projects_page = {
    .total = NGX_APIKEYS_STATE_NEXT,
    .id = NGX_APIKEYS_STATE_ID,
    .write = ngx_http_apikeys_projects_write_listed
};


ngx_int_t
ngx_http_apikeys_projects_list(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_page_params(call,
                                         &ngx_http_apikeys_projects_list_stmt);

    if (params == NULL
        || ngx_http_apikeys_projects_visible(call, params) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* the list of all projects does not have this argument */

    if (call->org.len) {
        params[NGX_HTTP_APIKEYS_PROJECTS_NAME] = call->args.name;
    }

    return ngx_http_apikeys_page_run(call,
                                     &ngx_http_apikeys_projects_list_stmt,
                                     params, &ngx_http_apikeys_projects_page);
}


/* sets the organization, and the key if it may not see all projects of it */

static ngx_int_t
ngx_http_apikeys_projects_visible(ngx_http_apikeys_call_t *call,
    ngx_str_t *params)
{
    u_char                       *p;
    ngx_str_t                    *org, *key;
    ngx_http_apikeys_identity_t  *identity;

    identity = &call->identity;
    org = &params[NGX_HTTP_APIKEYS_PROJECTS_ORG];
    key = &params[NGX_HTTP_APIKEYS_PROJECTS_KEY];

    *org = call->org;

    if (call->operator) {
        return NGX_OK;
    }

    p = ngx_pnalloc(call->request->pool, 2 * NGX_APIKEYS_OBJECTID_TEXT_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    org->data = p;
    p = ngx_apikeys_objectid_write(p, &identity->org);
    org->len = p - org->data;

    if (!(identity->roles & (NGX_APIKEYS_ORG_OWNER|NGX_APIKEYS_ORG_READ_ONLY)))
    {
        key->data = p;
        key->len = ngx_apikeys_objectid_write(p, &identity->id) - p;
    }

    return NGX_OK;
}


static void
ngx_http_apikeys_projects_write_listed(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row)
{
    ngx_http_apikeys_projects_write(call, out, row,
                                    NGX_HTTP_APIKEYS_PROJECTS_IN_LIST);
}


ngx_int_t
ngx_http_apikeys_projects_get(ngx_http_apikeys_call_t *call)
{
    return ngx_http_apikeys_run(call, &ngx_http_apikeys_projects_stmt,
                                &call->project,
                                ngx_http_apikeys_projects_get_done);
}


static ngx_int_t
ngx_http_apikeys_projects_get_done(ngx_http_apikeys_call_t *call)
{
    ngx_apikeys_json_out_t  out;

    if (ngx_apikeys_pg_query_nrows(call->query) == 0) {
        return ngx_http_apikeys_output_set_error(call,
                                         NGX_HTTP_APIKEYS_CODE_GROUP_NOT_FOUND,
                                         &call->project, NULL);
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);
    ngx_http_apikeys_projects_write(call, &out, 0,
                                    NGX_HTTP_APIKEYS_PROJECTS_SINGLE);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
}


/* a project that the caller may not see is answered as absent */

ngx_int_t
ngx_http_apikeys_projects_by_name(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    if (ngx_apikeys_json_check_utf8(call->name.data, call->name.len)
        != NGX_OK)
    {
        return ngx_http_apikeys_output_set_error(call,
                                  NGX_HTTP_APIKEYS_CODE_PATH_PARAM_PARSE_ERROR,
                                  &call->request->uri, NULL);
    }

    params = ngx_pcalloc(call->request->pool,
                         NGX_HTTP_APIKEYS_PROJECTS_BY_NAME_NPARAMS
                         * sizeof(ngx_str_t));

    if (params == NULL
        || ngx_http_apikeys_projects_visible(call, params) != NGX_OK)
    {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_PROJECTS_NAME] = call->name;

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_projects_by_name_stmt,
                                params,
                                ngx_http_apikeys_projects_by_name_done);
}


static ngx_int_t
ngx_http_apikeys_projects_by_name_done(ngx_http_apikeys_call_t *call)
{
    switch (ngx_apikeys_pg_query_nrows(call->query)) {

    case 0:
        return ngx_http_apikeys_output_set_error(call,
                                            NGX_HTTP_APIKEYS_CODE_NOT_IN_GROUP,
                                            &call->name, NULL);

    case 1:
        return ngx_http_apikeys_projects_get_done(call);

    default:
        return ngx_http_apikeys_output_set_error(call,
                                         NGX_HTTP_APIKEYS_CODE_MULTIPLE_GROUPS,
                                         NULL, NULL);
    }
}


static void
ngx_http_apikeys_projects_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row,
    ngx_http_apikeys_projects_form_e form)
{
    ngx_str_t                id, created, name, org;
    ngx_uint_t               i, ops_manager;
    ngx_apikeys_json_t      *attributes;
    ngx_apikeys_pg_query_t  *q;

    if (ngx_http_apikeys_native(call)) {
        ngx_http_apikeys_native_project(call, out, row);
        return;
    }

    attributes = ngx_http_apikeys_attributes_parse(call, out, row);
    if (attributes == NULL) {
        return;
    }

    q = call->query;
    ops_manager = (call->conf->api == NGX_HTTP_APIKEYS_API_OPS_MANAGER);

    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_ID, &id);
    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_CREATED,
                                      &created);
    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_NAME, &name);
    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_ORG, &org);

    ngx_apikeys_json_out_object(out);

    if (ops_manager) {
        ngx_apikeys_json_out_name(out, "activeAgentCount");
        ngx_apikeys_json_out_int(out, 0);

        ngx_apikeys_json_out_name(out, "hostCounts");
        ngx_apikeys_json_out_object(out);

        for (i = 0; ngx_http_apikeys_projects_hosts[i]; i++) {
            ngx_apikeys_json_out_name(out,
                                      ngx_http_apikeys_projects_hosts[i]);
            ngx_apikeys_json_out_int(out, 0);
        }

        ngx_apikeys_json_out_object_end(out);

    } else {
        ngx_apikeys_json_out_name(out, "clusterCount");
        ngx_apikeys_json_out_int(out, 0);

        ngx_apikeys_json_out_member(out, "created", &created);
    }

    ngx_apikeys_json_out_member(out, "id", &id);
    ngx_http_apikeys_projects_write_links(call, out, &id, form);
    ngx_apikeys_json_out_member(out, "name", &name);
    ngx_apikeys_json_out_member(out, "orgId", &org);

    if (ops_manager) {
        ngx_apikeys_json_out_name(out, "publicApiEnabled");
        ngx_apikeys_json_out_bool(out, 1);

        ngx_apikeys_json_out_name(out, "replicaSetCount");
        ngx_apikeys_json_out_int(out, 0);

        ngx_apikeys_json_out_name(out, "shardCount");
        ngx_apikeys_json_out_int(out, 0);
    }

    ngx_http_apikeys_projects_write_tags(call, out, attributes, form);

    if (!ops_manager) {
        ngx_apikeys_json_out_name(out, "withDefaultAlertsSettings");
        ngx_apikeys_json_out_bool(out,
                ngx_http_apikeys_attributes_flag(attributes,
                                      &ngx_http_apikeys_projects_alerts_flag));
    }

    ngx_apikeys_json_out_object_end(out);

    ngx_apikeys_json_free(attributes);
}


static void
ngx_http_apikeys_projects_write_links(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const ngx_str_t *id,
    ngx_http_apikeys_projects_form_e form)
{
    const char  **link;

    if (form == NGX_HTTP_APIKEYS_PROJECTS_IN_LIST) {
        ngx_http_apikeys_links_self(call, out, "/groups/%V", id);
        return;
    }

    ngx_apikeys_json_out_name(out, "links");
    ngx_apikeys_json_out_array(out);

    ngx_http_apikeys_link(call, out, "self", "/groups/%V", id);

    link = (call->conf->api == NGX_HTTP_APIKEYS_API_OPS_MANAGER)
           ? ngx_http_apikeys_projects_ops_manager_links
           : ngx_http_apikeys_projects_atlas_links;

    for ( /* void */ ; *link; link++) {
        ngx_http_apikeys_links_child(call, out, "groups", id, *link);
    }

    ngx_apikeys_json_out_array_end(out);
}


/* omitted from the response to POST if the body had none */

static void
ngx_http_apikeys_projects_write_tags(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_apikeys_json_t *attributes,
    ngx_http_apikeys_projects_form_e form)
{
    ngx_uint_t           ops_manager;
    ngx_apikeys_json_t  *tags;

    ops_manager = (call->conf->api == NGX_HTTP_APIKEYS_API_OPS_MANAGER);

    tags = ngx_apikeys_json_member(attributes,
                                   ops_manager
                                   ? NGX_HTTP_APIKEYS_PROJECTS_TOKENS
                                   : NGX_HTTP_APIKEYS_PROJECTS_TAGS);

    if (tags == NULL && !ops_manager
        && form == NGX_HTTP_APIKEYS_PROJECTS_CREATED)
    {
        return;
    }

    ngx_apikeys_json_out_name(out, "tags");

    if (tags) {
        ngx_apikeys_json_out_value(out, tags);

    } else {
        ngx_apikeys_json_out_array(out);
        ngx_apikeys_json_out_array_end(out);
    }
}


ngx_int_t
ngx_http_apikeys_projects_create(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                          rc;
    ngx_str_t                         *params;
    ngx_http_apikeys_projects_body_t   body;

    ngx_memzero(&body, sizeof(ngx_http_apikeys_projects_body_t));

    rc = ngx_http_apikeys_body_attributes(call, call->body,
                                          ngx_http_apikeys_native(call)
                                          ? ngx_http_apikeys_projects_native
                                          : ngx_http_apikeys_projects_attrs,
                                          &body);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_apikeys_projects_org(call, body.org);
    if (rc != NGX_OK) {
        return rc;
    }

    params = ngx_http_apikeys_run_params(call,
                                      &ngx_http_apikeys_projects_create_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_PROJECTS_CREATE_ORG] = call->org;

    rc = ngx_http_apikeys_body_name(call, body.name,
                              NGX_HTTP_APIKEYS_CODE_INVALID_GROUP_NAME,
                              &params[NGX_HTTP_APIKEYS_PROJECTS_CREATE_NAME]);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_apikeys_projects_attributes(call, &body,
                        &params[NGX_HTTP_APIKEYS_PROJECTS_CREATE_ATTRIBUTES]);
    if (rc != NGX_OK) {
        return rc;
    }

    call->name = params[NGX_HTTP_APIKEYS_PROJECTS_CREATE_NAME];
    call->conflict = ngx_http_apikeys_projects_conflict;

    call->reread = &ngx_http_apikeys_projects_stmt;

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_projects_create_stmt,
                                params,
                                ngx_http_apikeys_projects_create_done);
}


/*
 * The organization comes from the body (orgId).  The route has already
 * required the role in the organization of the caller, so it must be the same
 * one.
 */

static ngx_int_t
ngx_http_apikeys_projects_org(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *value)
{
    ngx_str_t                     text;
    ngx_http_apikeys_identity_t  *identity;
    static ngx_str_t              name = ngx_string("orgId");

    identity = &call->identity;

    ngx_str_null(&text);

    if (value) {
        ngx_apikeys_json_string(value, &text);
    }

    if (value == NULL && call->conf->api == NGX_HTTP_APIKEYS_API_OPS_MANAGER) {
        return ngx_http_apikeys_output_set_error(call,
                                    NGX_HTTP_APIKEYS_CODE_GROUPS_MUST_HAVE_ORG,
                                    NULL, NULL);
    }

    if (ngx_apikeys_objectid_parse(&call->org_id, &text) != NGX_OK) {
        return ngx_http_apikeys_output_set_error(call,
                                  NGX_HTTP_APIKEYS_CODE_INVALID_JSON_ATTRIBUTE,
                                  &name, NULL);
    }

    call->org.len = text.len;
    call->org.data = ngx_pstrdup(call->request->pool, &text);
    if (call->org.data == NULL) {
        return NGX_ERROR;
    }

    if (call->operator) {
        return NGX_OK;
    }

    if (ngx_memcmp(&call->org_id, &identity->org,
                   sizeof(ngx_apikeys_objectid_t))
        != 0)
    {
        return ngx_http_apikeys_output_set_error(call,
                                           NGX_HTTP_APIKEYS_CODE_ORG_NOT_FOUND,
                                           &call->org, NULL);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_projects_create_done(ngx_http_apikeys_call_t *call)
{
    ngx_str_t               id;
    ngx_apikeys_json_out_t  out;

    (void) ngx_apikeys_pg_query_value(call->query, 0,
                                      NGX_APIKEYS_STATE_ID, &id);

    if (ngx_http_apikeys_links_location(call, "/%s/%V",
                                        ngx_http_apikeys_links_projects(call),
                                        &id)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_CREATED);
    ngx_http_apikeys_projects_write(call, &out, 0,
                                    NGX_HTTP_APIKEYS_PROJECTS_CREATED);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_CREATED);
}


/* a concurrent change took the name */

static ngx_int_t
ngx_http_apikeys_projects_conflict(ngx_http_apikeys_call_t *call)
{
    return ngx_http_apikeys_output_set_error(call,
                                             NGX_HTTP_APIKEYS_CODE_GROUP_EXISTS,
                                             &call->name, NULL);
}


ngx_int_t
ngx_http_apikeys_projects_update(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                          rc;
    ngx_str_t                         *params, id;
    static const ngx_str_t             name = ngx_string("name");
    ngx_http_apikeys_projects_body_t   body;

    ngx_memzero(&body, sizeof(ngx_http_apikeys_projects_body_t));

    rc = ngx_http_apikeys_body_attributes(call, call->body,
                                 ngx_http_apikeys_projects_update_attrs(call),
                                          &body);
    if (rc != NGX_OK) {
        return rc;
    }

    if (body.name == NULL && ngx_http_apikeys_native(call)) {
        return ngx_http_apikeys_output_set_error(call,
                                       NGX_HTTP_APIKEYS_CODE_MISSING_ATTRIBUTE,
                                       &name, NULL);
    }

    if (body.id && call->conf->api == NGX_HTTP_APIKEYS_API_OPS_MANAGER) {
        ngx_apikeys_json_string(body.id, &id);

        if (id.len != call->project.len
            || ngx_strncmp(id.data, call->project.data, id.len) != 0)
        {
            return ngx_http_apikeys_output_set_error(call,
                                          NGX_HTTP_APIKEYS_CODE_GROUP_MISMATCH,
                                          &id, NULL);
        }
    }

    params = ngx_http_apikeys_run_params(call,
                                      &ngx_http_apikeys_projects_update_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_PROJECTS_UPDATE_ID] = call->project;

    if (body.name) {
        rc = ngx_http_apikeys_body_name(call, body.name,
                              NGX_HTTP_APIKEYS_CODE_INVALID_GROUP_NAME,
                              &params[NGX_HTTP_APIKEYS_PROJECTS_UPDATE_NAME]);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = ngx_http_apikeys_projects_attributes(call, &body,
                        &params[NGX_HTTP_APIKEYS_PROJECTS_UPDATE_ATTRIBUTES]);
    if (rc != NGX_OK) {
        return rc;
    }

    call->name = params[NGX_HTTP_APIKEYS_PROJECTS_UPDATE_NAME];
    call->conflict = ngx_http_apikeys_projects_conflict;
    call->reread = &ngx_http_apikeys_projects_stmt;

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_projects_update_stmt,
                                params, ngx_http_apikeys_projects_get_done);
}


static const ngx_http_apikeys_attr_t *
ngx_http_apikeys_projects_update_attrs(ngx_http_apikeys_call_t *call)
{
    switch (call->conf->api) {

    case NGX_HTTP_APIKEYS_API_ATLAS_V2:
        return ngx_http_apikeys_projects_updates;

    case NGX_HTTP_APIKEYS_API_NATIVE:
        return ngx_http_apikeys_projects_native_updates;

    default: /* NGX_HTTP_APIKEYS_API_ATLAS_V1, _OPS_MANAGER */
        return ngx_http_apikeys_projects_old_updates;
    }
}


/* the attributes of the body that are stored, as a JSON parameter */

static ngx_int_t
ngx_http_apikeys_projects_attributes(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_projects_body_t *body, ngx_str_t *param)
{
    ngx_int_t               rc;
    ngx_apikeys_json_out_t  out;

    ngx_apikeys_json_out_init(&out, call->request->pool, 0);
    ngx_apikeys_json_out_object(&out);

    if (body->tags) {
        if (call->conf->api == NGX_HTTP_APIKEYS_API_OPS_MANAGER) {
            rc = ngx_http_apikeys_projects_tokens(call, body->tags);
            ngx_apikeys_json_out_name(&out, NGX_HTTP_APIKEYS_PROJECTS_TOKENS);

        } else {
            rc = ngx_http_apikeys_projects_tags(call, body->tags);
            ngx_apikeys_json_out_name(&out, NGX_HTTP_APIKEYS_PROJECTS_TAGS);
        }

        if (rc != NGX_OK) {
            return rc;
        }

        ngx_apikeys_json_out_value(&out, body->tags);
    }

    if (body->alerts) {
        ngx_apikeys_json_out_name(&out,
                                  ngx_http_apikeys_projects_alerts_flag.name);
        ngx_apikeys_json_out_value(&out, body->alerts);
    }

    ngx_apikeys_json_out_object_end(&out);

    return ngx_apikeys_json_out_text(&out, param);
}


static ngx_int_t
ngx_http_apikeys_projects_tags(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *tags)
{
    ngx_int_t                        rc;
    ngx_str_t                        keys[NGX_HTTP_APIKEYS_PROJECTS_MAX_TAGS],
                                     value;
    ngx_uint_t                       i, j, n;
    static const ngx_str_t           attribute = ngx_string("tags");
    ngx_http_apikeys_projects_tag_t  tag;

    n = ngx_apikeys_json_size(tags);

    if (n > NGX_HTTP_APIKEYS_PROJECTS_MAX_TAGS) {
        goto invalid;
    }

    for (i = 0; i < n; i++) {
        ngx_memzero(&tag, sizeof(ngx_http_apikeys_projects_tag_t));

        rc = ngx_http_apikeys_body_attributes(call,
                                           ngx_apikeys_json_item(tags, i),
                                           ngx_http_apikeys_projects_tag_attrs,
                                           &tag);
        if (rc != NGX_OK) {
            return rc;
        }

        if (tag.key == NULL || tag.value == NULL) {
            goto invalid;
        }

        ngx_apikeys_json_string(tag.key, &keys[i]);
        ngx_apikeys_json_string(tag.value, &value);

        if (keys[i].len == 0 || value.len == 0
            || ngx_utf8_length(keys[i].data, keys[i].len)
               > NGX_HTTP_APIKEYS_PROJECTS_MAX_TAG
            || ngx_utf8_length(value.data, value.len)
               > NGX_HTTP_APIKEYS_PROJECTS_MAX_TAG)
        {
            goto invalid;
        }

        for (j = 0; j < i; j++) {
            if (keys[j].len == keys[i].len
                && ngx_memcmp(keys[j].data, keys[i].data, keys[i].len) == 0)
            {
                goto invalid;
            }
        }
    }

    return NGX_OK;

invalid:

    return ngx_http_apikeys_output_set_error(call,
                                       NGX_HTTP_APIKEYS_CODE_INVALID_ATTRIBUTE,
                                       &attribute, NULL);
}


static ngx_int_t
ngx_http_apikeys_projects_tokens(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *tags)
{
    u_char                  c;
    ngx_str_t               token;
    ngx_uint_t              i, j;
    ngx_apikeys_json_t     *item;
    static const ngx_str_t  most = ngx_string("10"), longest = ngx_string("32");

    if (ngx_apikeys_json_size(tags) > NGX_HTTP_APIKEYS_PROJECTS_MAX_TOKENS) {
        return ngx_http_apikeys_output_set_error(call,
                                   NGX_HTTP_APIKEYS_CODE_TOO_MANY_GROUP_TOKENS,
                                   &most, NULL);
    }

    for (i = 0; i < ngx_apikeys_json_size(tags); i++) {
        item = ngx_apikeys_json_item(tags, i);

        if (ngx_apikeys_json_type(item) != NGX_APIKEYS_JSON_STRING) {
            goto invalid;
        }

        ngx_apikeys_json_string(item, &token);

        if (token.len == 0
            || token.len > NGX_HTTP_APIKEYS_PROJECTS_MAX_TOKEN)
        {
            goto invalid;
        }

        for (j = 0; j < token.len; j++) {
            c = token.data[j];

            if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')
                  || (c >= 'a' && c <= 'z') || c == '.' || c == '_'
                  || c == '-'))
            {
                goto invalid;
            }
        }
    }

    return NGX_OK;

invalid:

    return ngx_http_apikeys_output_set_error(call,
                                     NGX_HTTP_APIKEYS_CODE_INVALID_GROUP_TOKEN,
                                     &longest, NULL);
}


ngx_int_t
ngx_http_apikeys_projects_delete(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_run_params(call,
                                      &ngx_http_apikeys_projects_delete_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_PROJECTS_DELETE_ID] = call->project;

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_projects_delete_stmt,
                                params,
                                ngx_http_apikeys_native(call)
                                ? ngx_http_apikeys_output_no_content
                                : ngx_http_apikeys_projects_delete_done);
}


/* Atlas answers with 202 and deletes afterwards; here it is deleted already */

static ngx_int_t
ngx_http_apikeys_projects_delete_done(ngx_http_apikeys_call_t *call)
{
    ngx_uint_t              status;
    ngx_apikeys_json_out_t  out;

    status = (call->conf->api == NGX_HTTP_APIKEYS_API_OPS_MANAGER)
             ? NGX_HTTP_OK : NGX_HTTP_ACCEPTED;

    ngx_http_apikeys_output_begin(call, &out, status);
    ngx_apikeys_json_out_object(&out);
    ngx_apikeys_json_out_object_end(&out);

    return ngx_http_apikeys_output_send(call, &out, status);
}
