
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_api.h>
#include <ngx_http_apikeys_api_conf.h>


static ngx_conf_enum_t  ngx_http_apikeys_api_conf_names[] = {
    { ngx_string("atlas_v1"), NGX_HTTP_APIKEYS_API_ATLAS_V1 },
    { ngx_string("atlas_v2"), NGX_HTTP_APIKEYS_API_ATLAS_V2 },
    { ngx_string("ops_manager"), NGX_HTTP_APIKEYS_API_OPS_MANAGER },
    { ngx_string("native"), NGX_HTTP_APIKEYS_API_NATIVE },
    { ngx_null_string, 0 }
};


char *
ngx_http_apikeys_api_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_loc_conf_t *alcf = conf;

    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_conf_enum_t           *api;
    ngx_http_core_loc_conf_t  *clcf;

    if (alcf->api) {
        return "is duplicate";
    }

    value = cf->args->elts;
    api = ngx_http_apikeys_api_conf_names;

    for (i = 0; api[i].name.len; i++) {
        if (ngx_strcmp(value[1].data, api[i].name.data) == 0) {
            alcf->api = api[i].value;
            break;
        }
    }

    if (alcf->api == 0) {
        ngx_http_apikeys_invalid(cf, &value[1],
                                 "must be \"atlas_v1\", \"atlas_v2\", "
                                 "\"ops_manager\" or \"native\"");
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->exact_match || clcf->named || clcf->noname
#if (NGX_PCRE)
        || clcf->regex
#endif
        || clcf->name.len < 2
        || clcf->name.data[clcf->name.len - 1] == '/')
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"apikeys_api\" cannot be used in location "
                           "\"%V\": must be a prefix location without a "
                           "slash at the end, such as "
                           "\"location /api/atlas/v1.0\"", &clcf->name);
        return NGX_CONF_ERROR;
    }

    if (clcf->handler) {
        ngx_http_apikeys_not_alone(cf, "apikeys_api", &clcf->name);
        return NGX_CONF_ERROR;
    }

    alcf->base = clcf->name;
    clcf->handler = ngx_http_apikeys_api_handler;

    return NGX_CONF_OK;
}


char *
ngx_http_apikeys_api_conf_public_url(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_apikeys_loc_conf_t *alcf = conf;

    u_char     *p, *last;
    ngx_str_t  *value, url;

    if (alcf->public_url.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    url = value[1];

    if (ngx_strncmp(url.data, "http://", 7) == 0) {
        p = url.data + 7;

    } else if (ngx_strncmp(url.data, "https://", 8) == 0) {
        p = url.data + 8;

    } else {
        goto invalid;
    }

    last = url.data + url.len;

    if (p == last) {
        goto invalid;
    }

    /* a name or an address, and perhaps a port: it is part of every link */

    for ( /* void */ ; p < last; p++) {
        if (!isalnum(*p) && ngx_strchr("-._:[]", *p) == NULL) {
            goto invalid;
        }
    }

    alcf->public_url = url;

    return NGX_CONF_OK;

invalid:

    ngx_http_apikeys_invalid(cf, &value[1],
                             "must be a scheme and a host without a path, "
                             "such as \"https://api.example.com\"");
    return NGX_CONF_ERROR;
}


void
ngx_http_apikeys_api_conf_inherit(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *prev, ngx_http_apikeys_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->lmt_excpt && clcf->handler == NULL && prev->api) {
        conf->api = prev->api;
        conf->base = prev->base;
        clcf->handler = ngx_http_apikeys_api_handler;
    }
}


char *
ngx_http_apikeys_api_conf_merge(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    if (conf->api == 0) {
        return NGX_CONF_OK;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler != ngx_http_apikeys_api_handler) {
        ngx_http_apikeys_not_alone(cf, "apikeys_api", &conf->base);
        return NGX_CONF_ERROR;
    }

    if (conf->auth == 0) {
        conf->auth = NGX_HTTP_APIKEYS_AUTH_DIGEST;
    }

    if (conf->auth == NGX_HTTP_APIKEYS_AUTH_OFF) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"apikeys_auth off\" cannot be used with "
                           "\"apikeys_api\" in location \"%V\", name a "
                           "scheme there", &conf->base);
        return NGX_CONF_ERROR;
    }

    if (conf->dry_run) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"apikeys_dry_run on\" cannot be used with "
                           "\"apikeys_api\" in location \"%V\", turn it off "
                           "there", &conf->base);
        return NGX_CONF_ERROR;
    }

    if (conf->stale_allow) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"apikeys_stale\" with \"expired=allow\" cannot "
                           "be used with \"apikeys_api\" in location \"%V\", "
                           "set \"expired=deny\" there", &conf->base);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
