
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The handlers of the routes, by resource.  A handler runs after all checks of
 * its route; its return codes are those of ngx_http_apikeys_handler_pt.
 */


#ifndef _NGX_HTTP_APIKEYS_RESOURCES_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_RESOURCES_H_INCLUDED_


#include <ngx_http_apikeys_run.h>


/* the root of an API */

ngx_int_t ngx_http_apikeys_root(ngx_http_apikeys_call_t *call);
/* the same on the native API: the calling key */
ngx_int_t ngx_http_apikeys_caller(ngx_http_apikeys_call_t *call);


/* organizations */

ngx_int_t ngx_http_apikeys_orgs_list(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_orgs_create(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_orgs_get(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_orgs_update(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_orgs_delete(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_orgs_settings(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_orgs_update_settings(ngx_http_apikeys_call_t *call);


/* projects */

/* selects a project by its id, with its attributes */
extern const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_stmt;

/* changes a project; a parameter that is SQL NULL leaves the value */
extern const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_projects_update_stmt;

enum {
    NGX_HTTP_APIKEYS_PROJECTS_UPDATE_ID = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_PROJECTS_UPDATE_NAME,
    NGX_HTTP_APIKEYS_PROJECTS_UPDATE_ATTRIBUTES,
    NGX_HTTP_APIKEYS_PROJECTS_UPDATE_NPARAMS
};

ngx_int_t ngx_http_apikeys_projects_list(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_projects_create(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_projects_get(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_projects_by_name(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_projects_update(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_projects_delete(ngx_http_apikeys_call_t *call);


/* resources that clients expect besides projects */

/* a list without results; "[]" */
ngx_int_t ngx_http_apikeys_companions_list(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_companions_array(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_companions_addresses(ngx_http_apikeys_call_t *call);
/* there are no teams: assigning an empty list succeeds */
ngx_int_t ngx_http_apikeys_companions_add_teams(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_companions_no_team(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_companions_settings(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_companions_update_settings(
    ngx_http_apikeys_call_t *call);
/* managedSlowMs: whether the threshold of slow operations is managed */
ngx_int_t ngx_http_apikeys_companions_slow_ms(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_companions_enable_slow_ms(
    ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_companions_disable_slow_ms(
    ngx_http_apikeys_call_t *call);


/* lists of API keys on the native API, of an organization or of a project */

/* parses the arguments into call->data */
ngx_int_t ngx_http_apikeys_key_list_query(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_key_list(ngx_http_apikeys_call_t *call);


/* API keys of an organization */

ngx_int_t ngx_http_apikeys_org_keys_list(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_org_keys_get(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_org_keys_create(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_org_keys_update(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_org_keys_delete(ngx_http_apikeys_call_t *call);

/* parses the arguments into call->data */
ngx_int_t ngx_http_apikeys_decision_query(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_decision(ngx_http_apikeys_call_t *call);


/* API keys of a project */

ngx_int_t ngx_http_apikeys_project_keys_list(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_project_keys_create(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_project_keys_update(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_project_keys_put(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_project_keys_assign(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_project_keys_unassign(ngx_http_apikeys_call_t *call);


/* access lists of API keys */

ngx_int_t ngx_http_apikeys_access_list_list(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_access_list_add(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_access_list_get(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_access_list_update(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_access_list_delete(ngx_http_apikeys_call_t *call);

/*
 * The entries of a JSON array as an array for PostgreSQL, allocated from
 * "pool".  On the native API "attributes" is set to their attributes, see
 * insert_entries() in SQL.  NGX_DECLINED: refused.
 */
ngx_int_t ngx_http_apikeys_access_list_entries(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *array, ngx_pool_t *pool, ngx_str_t *param,
    ngx_str_t *attributes);


/* secrets of API keys */

ngx_int_t ngx_http_apikeys_secrets_list(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_secrets_add(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_secrets_get(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_secrets_update(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_secrets_delete(ngx_http_apikeys_call_t *call);


/* global API keys */

ngx_int_t ngx_http_apikeys_global_keys_list(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_global_keys_create(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_global_keys_get(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_global_keys_update(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_global_keys_delete(ngx_http_apikeys_call_t *call);
/* the names of global roles */
ngx_int_t ngx_http_apikeys_global_keys_roles(ngx_http_apikeys_call_t *call);


/* the access list of global keys */

ngx_int_t ngx_http_apikeys_global_list_list(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_global_list_add(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_global_list_get(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_global_list_update(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_global_list_delete(ngx_http_apikeys_call_t *call);


/* events */

/* parse the arguments of a list, and those of one event, into call->data */
ngx_int_t ngx_http_apikeys_events_query(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_events_query_raw(ngx_http_apikeys_call_t *call);

/* of the organization or project in the path */
ngx_int_t ngx_http_apikeys_events_list(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_events_get(ngx_http_apikeys_call_t *call);
ngx_int_t ngx_http_apikeys_events_types(ngx_http_apikeys_call_t *call);


#endif /* _NGX_HTTP_APIKEYS_RESOURCES_H_INCLUDED_ */
