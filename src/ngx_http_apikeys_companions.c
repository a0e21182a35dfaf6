
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_attributes.h>
#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_companions.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_projects.h>
#include <ngx_http_apikeys_run.h>


typedef struct {
    ngx_apikeys_json_t  *team;
} ngx_http_apikeys_companions_team_t;


static ngx_int_t ngx_http_apikeys_companions_settings_done(
    ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_companions_slow_ms_done(
    ngx_http_apikeys_ctx_t *ctx);
static ngx_int_t ngx_http_apikeys_companions_update(
    ngx_http_apikeys_ctx_t *ctx, const ngx_str_t *attributes,
    ngx_http_apikeys_handler_pt done);


/* in the order in which they are shown */
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
ngx_http_apikeys_companions_list(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_str_t               path;
    ngx_apikeys_json_out_t  out;

    ngx_http_apikeys_links_path(ctx, &path);

    ngx_http_apikeys_links_list(ctx, &out, &path, 0);
    ngx_http_apikeys_links_list_end(ctx, &out, 0);

    return ngx_http_apikeys_output_document(ctx, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_companions_array(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_apikeys_json_out_t  out;

    ngx_http_apikeys_output_begin(ctx, &out, NGX_HTTP_OK);
    ngx_apikeys_json_out_array(&out);
    ngx_apikeys_json_out_array_end(&out);

    return ngx_http_apikeys_output_send(ctx, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_companions_addresses(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_apikeys_json_out_t  out;

    ngx_http_apikeys_output_begin(ctx, &out, NGX_HTTP_OK);

    ngx_apikeys_json_out_object(&out);
    ngx_apikeys_json_out_member(&out, "groupId", &ctx->project);
    ngx_apikeys_json_out_name(&out, "services");
    ngx_apikeys_json_out_object(&out);
    ngx_apikeys_json_out_name(&out, "clusters");
    ngx_apikeys_json_out_array(&out);
    ngx_apikeys_json_out_array_end(&out);
    ngx_apikeys_json_out_object_end(&out);
    ngx_apikeys_json_out_object_end(&out);

    return ngx_http_apikeys_output_send(ctx, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_companions_add_teams(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t                           rc;
    ngx_str_t                           id;
    ngx_http_apikeys_companions_team_t  body;

    if (ngx_apikeys_json_type(ctx->body) != NGX_APIKEYS_JSON_ARRAY) {
        return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_INVALID_JSON,
                                              NULL, NULL);
    }

    if (ngx_apikeys_json_size(ctx->body) == 0) {
        return ngx_http_apikeys_companions_list(ctx);
    }

    ngx_memzero(&body, sizeof(ngx_http_apikeys_companions_team_t));

    rc = ngx_http_apikeys_body_attributes(ctx,
                                          ngx_apikeys_json_item(ctx->body, 0),
                                          ngx_http_apikeys_companions_teams,
                                          &body);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_str_set(&id, "");

    if (body.team) {
        ngx_apikeys_json_string(body.team, &id);
    }

    return ngx_http_apikeys_output_refuse(ctx, NGX_HTTP_APIKEYS_TEAM_NOT_FOUND,
                                          &id, NULL);
}


ngx_int_t
ngx_http_apikeys_companions_no_team(ngx_http_apikeys_ctx_t *ctx)
{
    return ngx_http_apikeys_output_refuse(ctx, NGX_HTTP_APIKEYS_TEAM_NOT_FOUND,
                                          &ctx->name, NULL);
}


ngx_int_t
ngx_http_apikeys_companions_settings(ngx_http_apikeys_ctx_t *ctx)
{
    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_projects_stmt,
                                &ctx->project,
                                ngx_http_apikeys_companions_settings_done);
}


static ngx_int_t
ngx_http_apikeys_companions_settings_done(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_apikeys_json_t      *attributes;
    ngx_apikeys_json_out_t   out;

    if (ngx_apikeys_pg_query_nrows(ctx->query) == 0) {
        return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_GROUP_NOT_FOUND,
                                              &ctx->project, NULL);
    }

    ngx_http_apikeys_output_begin(ctx, &out, NGX_HTTP_OK);
    ngx_apikeys_json_out_object(&out);

    attributes = ngx_http_apikeys_attributes_parse(ctx, &out, 0);

    if (attributes) {
        ngx_http_apikeys_attributes_write(&out, attributes,
                                          ngx_http_apikeys_companions_flags);
        ngx_apikeys_json_free(attributes);
    }

    ngx_apikeys_json_out_object_end(&out);

    return ngx_http_apikeys_output_send(ctx, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_companions_update_settings(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_int_t  rc;
    ngx_str_t  param;

    rc = ngx_http_apikeys_attributes_take(ctx,
                                          ngx_http_apikeys_companions_flags,
                                          &param);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_apikeys_companions_update(ctx, &param,
                                   ngx_http_apikeys_companions_settings_done);
}


ngx_int_t
ngx_http_apikeys_companions_slow_ms(ngx_http_apikeys_ctx_t *ctx)
{
    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_projects_stmt,
                                &ctx->project,
                                ngx_http_apikeys_companions_slow_ms_done);
}


static ngx_int_t
ngx_http_apikeys_companions_slow_ms_done(ngx_http_apikeys_ctx_t *ctx)
{
    ngx_apikeys_json_t      *attributes;
    ngx_apikeys_json_out_t   out;

    if (ngx_apikeys_pg_query_nrows(ctx->query) == 0) {
        return ngx_http_apikeys_output_refuse(ctx,
                                              NGX_HTTP_APIKEYS_GROUP_NOT_FOUND,
                                              &ctx->project, NULL);
    }

    ngx_http_apikeys_output_begin(ctx, &out, NGX_HTTP_OK);

    attributes = ngx_http_apikeys_attributes_parse(ctx, &out, 0);

    if (attributes) {
        ngx_apikeys_json_out_bool(&out,
              ngx_http_apikeys_attributes_flag(attributes,
                                      &ngx_http_apikeys_companions_slow_flag));
        ngx_apikeys_json_free(attributes);
    }

    return ngx_http_apikeys_output_send(ctx, &out, NGX_HTTP_OK);
}


ngx_int_t
ngx_http_apikeys_companions_enable_slow_ms(ngx_http_apikeys_ctx_t *ctx)
{
    static const ngx_str_t  enabled = ngx_string("{\"managedSlowMs\":true}");

    return ngx_http_apikeys_companions_update(ctx, &enabled,
                                          ngx_http_apikeys_output_no_content);
}


ngx_int_t
ngx_http_apikeys_companions_disable_slow_ms(ngx_http_apikeys_ctx_t *ctx)
{
    static const ngx_str_t  disabled = ngx_string("{\"managedSlowMs\":false}");

    return ngx_http_apikeys_companions_update(ctx, &disabled,
                                          ngx_http_apikeys_output_no_content);
}


static ngx_int_t
ngx_http_apikeys_companions_update(ngx_http_apikeys_ctx_t *ctx,
    const ngx_str_t *attributes, ngx_http_apikeys_handler_pt done)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_run_params(ctx, 7);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[4] = ctx->project;
    params[6] = *attributes;

    ctx->reread = &ngx_http_apikeys_projects_stmt;

    return ngx_http_apikeys_run(ctx, &ngx_http_apikeys_projects_update_stmt,
                                params, done);
}
