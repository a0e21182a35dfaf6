
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Resources that clients of keys call, too, and that are always empty here:
 * users, teams, invitations, limits, addresses, clusters.  The settings of a
 * project are stored and have no effect.
 */


#include <ngx_http_apikeys_attributes.h>
#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_resources.h>
#include <ngx_http_apikeys_run.h>


typedef struct {
    ngx_apikeys_json_t  *team;
} ngx_http_apikeys_companions_team_t;


static ngx_int_t ngx_http_apikeys_companions_settings_done(
    ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_companions_slow_ms_done(
    ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_companions_update(
    ngx_http_apikeys_call_t *call, const ngx_str_t *attributes,
    ngx_http_apikeys_handler_pt done);


/* in the order of the response */
static const ngx_http_apikeys_flag_t
    ngx_http_apikeys_companions_flags[] =
{
    { "isAtlasHomePageAiAssistantEnabled", 1 },
    { "isClusterAiAssistantEnabled", 1 },
    { "isCollectDatabaseSpecificsStatisticsEnabled", 1 },
    { "isDataExplorerEnabled", 1 },
    { "isDataExplorerGenAIFeaturesEnabled", 1 },
    { "isDataExplorerGenAISampleDocumentPassingEnabled", 0 },
    { "isDataValidationEnabled", 1 },
    { "isExtendedStorageSizesEnabled", 0 },
    { "isNativeRerankingEnabled", 0 },
    { "isPerformanceAdvisorEnabled", 1 },
    { "isRealtimePerformancePanelEnabled", 1 },
    { "isSchemaAdvisorEnabled", 1 },
    { NULL, 0 }
};

_Static_assert(sizeof(ngx_http_apikeys_companions_flags)
               / sizeof(ngx_http_apikeys_flag_t) - 1
               <= NGX_HTTP_APIKEYS_ATTRIBUTES_MAX_FLAGS,
               "ngx_http_apikeys_attributes_take() has room for all flags");

static const ngx_http_apikeys_flag_t  ngx_http_apikeys_companions_slow_flag =
    { "managedSlowMs", 1 };


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_companions_teams[] = {

    { "teamId", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_companions_team_t, team) },
    { "roleNames", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { "links", NGX_HTTP_APIKEYS_ATTR_IGNORED, 0 },
    { NULL, 0, 0 }
};


ngx_int_t
ngx_http_apikeys_companions_list(ngx_http_apikeys_call_t *call)
{
    ngx_apikeys_json_out_t  out;

    ngx_http_apikeys_links_list(call, &out, 0);
    ngx_http_apikeys_links_list_end(call, &out, 0);

    return ngx_http_apikeys_output_document(call, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_companions_array(ngx_http_apikeys_call_t *call)
{
    ngx_apikeys_json_out_t  out;

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);
    ngx_apikeys_json_out_array(&out);
    ngx_apikeys_json_out_array_end(&out);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_companions_addresses(ngx_http_apikeys_call_t *call)
{
    ngx_apikeys_json_out_t  out;

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);

    ngx_apikeys_json_out_object(&out);
    ngx_apikeys_json_out_member(&out, "groupId", &call->project);
    ngx_apikeys_json_out_name(&out, "services");
    ngx_apikeys_json_out_object(&out);
    ngx_apikeys_json_out_name(&out, "clusters");
    ngx_apikeys_json_out_array(&out);
    ngx_apikeys_json_out_array_end(&out);
    ngx_apikeys_json_out_object_end(&out);
    ngx_apikeys_json_out_object_end(&out);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_companions_add_teams(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                           rc;
    ngx_str_t                           id;
    ngx_uint_t                          i, n;
    ngx_http_apikeys_companions_team_t  body;

    if (ngx_apikeys_json_type(call->body) != NGX_APIKEYS_JSON_ARRAY) {
        return ngx_http_apikeys_output_set_error(call,
                                            NGX_HTTP_APIKEYS_CODE_INVALID_JSON,
                                            NULL, NULL);
    }

    n = ngx_apikeys_json_size(call->body);

    if (n == 0) {
        return ngx_http_apikeys_companions_list(call);
    }

    ngx_str_set(&id, "");

    for (i = 0; i < n; i++) {

        ngx_memzero(&body, sizeof(ngx_http_apikeys_companions_team_t));

        rc = ngx_http_apikeys_body_attributes(call,
                                         ngx_apikeys_json_item(call->body, i),
                                         ngx_http_apikeys_companions_teams,
                                         &body);
        if (rc != NGX_OK) {
            return rc;
        }

        if (i == 0 && body.team) {
            ngx_apikeys_json_string(body.team, &id);
        }
    }

    /* all ids are valid, and the first does not exist */

    return ngx_http_apikeys_output_set_error(call,
                                          NGX_HTTP_APIKEYS_CODE_TEAM_NOT_FOUND,
                                          &id, NULL);
}


ngx_int_t
ngx_http_apikeys_companions_no_team(ngx_http_apikeys_call_t *call)
{
    return ngx_http_apikeys_output_set_error(call,
                                          NGX_HTTP_APIKEYS_CODE_TEAM_NOT_FOUND,
                                          &call->name, NULL);
}


ngx_int_t
ngx_http_apikeys_companions_settings(ngx_http_apikeys_call_t *call)
{
    return ngx_http_apikeys_run(call, &ngx_http_apikeys_projects_stmt,
                                &call->project,
                                ngx_http_apikeys_companions_settings_done);
}


static ngx_int_t
ngx_http_apikeys_companions_settings_done(ngx_http_apikeys_call_t *call)
{
    ngx_apikeys_json_t      *attributes;
    ngx_apikeys_json_out_t   out;

    if (ngx_apikeys_pg_query_nrows(call->query) == 0) {
        return ngx_http_apikeys_output_set_error(call,
                                         NGX_HTTP_APIKEYS_CODE_GROUP_NOT_FOUND,
                                         &call->project, NULL);
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);
    ngx_apikeys_json_out_object(&out);

    attributes = ngx_http_apikeys_attributes_parse(call, &out, 0);

    if (attributes) {
        ngx_http_apikeys_attributes_write(&out, attributes,
                                          ngx_http_apikeys_companions_flags);
        ngx_apikeys_json_free(attributes);
    }

    ngx_apikeys_json_out_object_end(&out);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_companions_update_settings(ngx_http_apikeys_call_t *call)
{
    ngx_int_t  rc;
    ngx_str_t  param;

    rc = ngx_http_apikeys_attributes_take(call,
                                          ngx_http_apikeys_companions_flags,
                                          &param);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_apikeys_companions_update(call, &param,
                                   ngx_http_apikeys_companions_settings_done);
}


ngx_int_t
ngx_http_apikeys_companions_slow_ms(ngx_http_apikeys_call_t *call)
{
    return ngx_http_apikeys_run(call, &ngx_http_apikeys_projects_stmt,
                                &call->project,
                                ngx_http_apikeys_companions_slow_ms_done);
}


static ngx_int_t
ngx_http_apikeys_companions_slow_ms_done(ngx_http_apikeys_call_t *call)
{
    ngx_apikeys_json_t      *attributes;
    ngx_apikeys_json_out_t   out;

    if (ngx_apikeys_pg_query_nrows(call->query) == 0) {
        return ngx_http_apikeys_output_set_error(call,
                                         NGX_HTTP_APIKEYS_CODE_GROUP_NOT_FOUND,
                                         &call->project, NULL);
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);

    attributes = ngx_http_apikeys_attributes_parse(call, &out, 0);

    if (attributes) {
        ngx_apikeys_json_out_bool(&out,
              ngx_http_apikeys_attributes_flag(attributes,
                                      &ngx_http_apikeys_companions_slow_flag));
        ngx_apikeys_json_free(attributes);
    }

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_companions_enable_slow_ms(ngx_http_apikeys_call_t *call)
{
    static const ngx_str_t  enabled = ngx_string("{\"managedSlowMs\":true}");

    return ngx_http_apikeys_companions_update(call, &enabled,
                                          ngx_http_apikeys_output_no_content);
}


ngx_int_t
ngx_http_apikeys_companions_disable_slow_ms(ngx_http_apikeys_call_t *call)
{
    static const ngx_str_t  disabled = ngx_string("{\"managedSlowMs\":false}");

    return ngx_http_apikeys_companions_update(call, &disabled,
                                          ngx_http_apikeys_output_no_content);
}


static ngx_int_t
ngx_http_apikeys_companions_update(ngx_http_apikeys_call_t *call,
    const ngx_str_t *attributes, ngx_http_apikeys_handler_pt done)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_run_params(call,
                                      &ngx_http_apikeys_projects_update_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_PROJECTS_UPDATE_ID] = call->project;
    params[NGX_HTTP_APIKEYS_PROJECTS_UPDATE_ATTRIBUTES] = *attributes;

    call->reread = &ngx_http_apikeys_projects_stmt;

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_projects_update_stmt,
                                params, done);
}
