
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_api.h>
#include <ngx_http_apikeys_conf.h>

#include <ngx_apikeys_secret_file.h>


#define NGX_HTTP_APIKEYS_CONF_TOKEN_MIN   20


static char *ngx_http_apikeys_conf_database_param(ngx_conf_t *cf,
    ngx_apikeys_pg_conf_t *database, ngx_str_t *value);
static char *ngx_http_apikeys_conf_auth_header_name(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_str_t *value);


static ngx_conf_bitmask_t  ngx_http_apikeys_conf_auth_mask[] = {
    { ngx_string("digest"), NGX_HTTP_APIKEYS_AUTH_DIGEST },
    { ngx_string("digest_sha256"), NGX_HTTP_APIKEYS_AUTH_DIGEST_SHA256 },
    { ngx_string("basic"), NGX_HTTP_APIKEYS_AUTH_BASIC },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_apikeys_conf_apis[] = {
    { ngx_string("atlas_v1"), NGX_HTTP_APIKEYS_ATLAS_V1 },
    { ngx_string("atlas_v2"), NGX_HTTP_APIKEYS_ATLAS_V2 },
    { ngx_string("ops_manager"), NGX_HTTP_APIKEYS_OPS_MANAGER },
    { ngx_null_string, 0 }
};


char *
ngx_http_apikeys_conf_database(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_main_conf_t *amcf = conf;

    char                   *rv;
    ngx_str_t              *value;
    ngx_uint_t              i;
    ngx_apikeys_pg_conf_t  *database;

    if (amcf->database) {
        return "is duplicate";
    }

    database = ngx_pcalloc(cf->pool, sizeof(ngx_apikeys_pg_conf_t));
    if (database == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    database->conninfo = value[1];
    database->connections = 4;
    database->queue = 256;
    database->connect_timeout = 5000;
    database->timeout = 10000;

    for (i = 2; i < cf->args->nelts; i++) {
        rv = ngx_http_apikeys_conf_database_param(cf, database, &value[i]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (ngx_apikeys_pg_conn_configure(cf, database) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    amcf->database = database;

    return NGX_CONF_OK;
}


static char *
ngx_http_apikeys_conf_database_param(ngx_conf_t *cf,
    ngx_apikeys_pg_conf_t *database, ngx_str_t *value)
{
    ngx_int_t   n;
    ngx_msec_t  ms;
    ngx_str_t   s;

    if (ngx_strncmp(value->data, "connections=", 12) == 0) {

        n = ngx_atoi(value->data + 12, value->len - 12);

        if (n != NGX_ERROR && n >= 1 && n <= 1000) {
            database->connections = n;
            return NGX_CONF_OK;
        }

    } else if (ngx_strncmp(value->data, "queue=", 6) == 0) {

        n = ngx_atoi(value->data + 6, value->len - 6);

        if (n != NGX_ERROR && n >= 1 && n <= 1000000) {
            database->queue = n;
            return NGX_CONF_OK;
        }

    } else if (ngx_strncmp(value->data, "connect_timeout=", 16) == 0) {

        s.data = value->data + 16;
        s.len = value->len - 16;

        ms = ngx_parse_time(&s, 0);

        if (ms != (ngx_msec_t) NGX_ERROR && ms != 0) {
            database->connect_timeout = ms;
            return NGX_CONF_OK;
        }

    } else if (ngx_strncmp(value->data, "timeout=", 8) == 0) {

        s.data = value->data + 8;
        s.len = value->len - 8;

        ms = ngx_parse_time(&s, 0);

        if (ms != (ngx_msec_t) NGX_ERROR && ms != 0) {
            database->timeout = ms;
            return NGX_CONF_OK;
        }

    } else if (ngx_strncmp(value->data, "password_file=", 14) == 0) {

        s.data = value->data + 14;
        s.len = value->len - 14;

        if (ngx_apikeys_secret_file_line(cf, "password_file",
                                         "it holds the password alone",
                                         &s, &database->password)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                       value);
    return NGX_CONF_ERROR;
}


char *
ngx_http_apikeys_conf_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_main_conf_t *amcf = conf;

    u_char     *p;
    ssize_t     size;
    ngx_str_t  *value, name, s;

    if (amcf->store) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strncmp(value[1].data, "zone=", 5) != 0) {
        goto invalid;
    }

    name.data = value[1].data + 5;

    p = (u_char *) ngx_strchr(name.data, ':');

    if (p == NULL || p == name.data) {
        goto invalid;
    }

    name.len = p - name.data;

    s.data = p + 1;
    s.len = value[1].data + value[1].len - s.data;

    size = ngx_parse_size(&s);

    if (size == NGX_ERROR) {
        goto invalid;
    }

    amcf->nonce_size = ngx_apikeys_nonce_table_size(size);

    amcf->store = ngx_apikeys_store_create(cf, &name, size,
                                           &ngx_http_apikeys_module,
                                           NGX_HTTP_APIKEYS_METRICS_SIZE
                                           + amcf->nonce_size);

    return amcf->store ? NGX_CONF_OK : NGX_CONF_ERROR;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\", it must be "
                       "\"zone=name:size\"", &value[1]);
    return NGX_CONF_ERROR;
}


char *
ngx_http_apikeys_conf_master_key_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_apikeys_main_conf_t *amcf = conf;

    ngx_str_t  *value;

    if (amcf->seal) {
        return "is duplicate";
    }

    value = cf->args->elts;

    amcf->seal = ngx_apikeys_seal_create(cf, &value[1]);
    if (amcf->seal == NULL) {
        return NGX_CONF_ERROR;
    }

    amcf->nonce = ngx_apikeys_nonce_create(cf, amcf->seal);
    amcf->ha1s = ngx_apikeys_ha1_cache_create(cf);

    return (amcf->nonce && amcf->ha1s) ? NGX_CONF_OK : NGX_CONF_ERROR;
}


char *
ngx_http_apikeys_conf_operator_token_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_apikeys_main_conf_t *amcf = conf;

    ngx_int_t   rc;
    ngx_str_t  *value, token;

    if (amcf->token) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_apikeys_secret_file_line(cf, "operator token file",
                                     "make one with \"openssl rand -hex 32\"",
                                     &value[1], &token)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (token.len < NGX_HTTP_APIKEYS_CONF_TOKEN_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the operator token in \"%V\" is shorter than %d "
                           "characters, make one with "
                           "\"openssl rand -hex 32\"", &value[1],
                           NGX_HTTP_APIKEYS_CONF_TOKEN_MIN);
        return NGX_CONF_ERROR;
    }

    amcf->token = ngx_palloc(cf->pool, NGX_APIKEYS_DIGEST_SHA256_LEN);
    if (amcf->token == NULL) {
        return NGX_CONF_ERROR;
    }

    rc = ngx_apikeys_digest_sha256(amcf->token, &token);

    /* the token itself is kept nowhere */

    ngx_explicit_memzero(token.data, token.len);

    return (rc == NGX_OK) ? NGX_CONF_OK : NGX_CONF_ERROR;
}


char *
ngx_http_apikeys_conf_realm(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_main_conf_t *amcf = conf;

    u_char     *p;
    ngx_str_t  *value;

    if (amcf->realm.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    /* it stands in a quoted string, and clients do not agree on escapes */

    for (p = value[1].data; p < value[1].data + value[1].len; p++) {
        if (*p < ' ' || *p >= 0x7f || *p == '"' || *p == '\\') {
            return "must be printable ASCII without quotes and backslashes";
        }
    }

    if (value[1].len == 0) {
        return "must not be empty";
    }

    amcf->realm = value[1];

    return NGX_CONF_OK;
}


char *
ngx_http_apikeys_conf_sync(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_main_conf_t *amcf = conf;

    ngx_str_t  *value, s;
    ngx_uint_t  i;

    if (amcf->sync.poll != NGX_CONF_UNSET_MSEC
        || amcf->sync.notify != NGX_CONF_UNSET)
    {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "poll=", 5) == 0) {

            s.data = value[i].data + 5;
            s.len = value[i].len - 5;

            amcf->sync.poll = ngx_parse_time(&s, 0);

            if (amcf->sync.poll != (ngx_msec_t) NGX_ERROR
                && amcf->sync.poll >= 10)
            {
                continue;
            }

        } else if (ngx_strcmp(value[i].data, "notify=on") == 0) {
            amcf->sync.notify = 1;
            continue;

        } else if (ngx_strcmp(value[i].data, "notify=off") == 0) {
            amcf->sync.notify = 0;
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                           &value[i]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_apikeys_conf_stale(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_loc_conf_t *alcf = conf;

    ngx_str_t  *value;

    if (alcf->stale != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    alcf->stale = ngx_parse_time(&value[1], 0);

    if (alcf->stale == (ngx_msec_t) NGX_ERROR || alcf->stale == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid value \"%V\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    alcf->stale_allow = 0;

    if (cf->args->nelts == 2
        || ngx_strcmp(value[2].data, "expired=deny") == 0)
    {
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[2].data, "expired=allow") == 0) {
        alcf->stale_allow = 1;
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid parameter \"%V\"",
                       &value[2]);
    return NGX_CONF_ERROR;
}


char *
ngx_http_apikeys_conf_snapshot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_main_conf_t *amcf = conf;

    ngx_str_t  *value;

    if (amcf->sync.snapshot.path.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0 || value[1].data[value[1].len - 1] == '/') {
        return "must name a file";
    }

    amcf->sync.snapshot.path = value[1];

    if (ngx_conf_full_name(cf->cycle, &amcf->sync.snapshot.path, 0) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    /* with the number of a process behind it */

    if (amcf->sync.snapshot.path.len + NGX_INT64_LEN >= NGX_MAX_PATH) {
        return "is too long";
    }

    return NGX_CONF_OK;
}


char *
ngx_http_apikeys_conf_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
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
    api = ngx_http_apikeys_conf_apis;

    for (i = 0; api[i].name.len; i++) {
        if (ngx_strcmp(value[1].data, api[i].name.data) == 0) {
            alcf->api = api[i].value;
            break;
        }
    }

    if (alcf->api == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\", it must be \"atlas_v1\", "
                           "\"atlas_v2\" or \"ops_manager\"", &value[1]);
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
                           "\"apikeys_api\" needs a prefix location without "
                           "a slash at the end, such as "
                           "\"location /api/atlas/v1.0\"");
        return NGX_CONF_ERROR;
    }

    if (clcf->handler) {
        return "is used with another handler in the same location";
    }

    alcf->base = clcf->name;
    clcf->handler = ngx_http_apikeys_api_handler;

    return NGX_CONF_OK;
}


char *
ngx_http_apikeys_conf_public_url(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
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

    /* a name or an address, and a port: it stands in every link */

    for ( /* void */ ; p < last; p++) {
        if (!isalnum(*p) && ngx_strchr("-._:[]", *p) == NULL) {
            goto invalid;
        }
    }

    alcf->public_url = url;

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid URL \"%V\", it must be a scheme and a host, "
                       "such as \"https://api.example.com\"", &url);
    return NGX_CONF_ERROR;
}


char *
ngx_http_apikeys_conf_auth(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_loc_conf_t *alcf = conf;

    char                *rv;
    ngx_str_t           *value;
    ngx_uint_t           i, m;
    ngx_conf_bitmask_t  *mask;

    if (alcf->auth) {
        return "is duplicate";
    }

    value = cf->args->elts;
    mask = ngx_http_apikeys_conf_auth_mask;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        alcf->auth = NGX_HTTP_APIKEYS_AUTH_OFF;
        return NGX_CONF_OK;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "header=", 7) == 0
            && alcf->auth_header.len == 0)
        {
            rv = ngx_http_apikeys_conf_auth_header_name(cf, alcf, &value[i]);

            if (rv != NGX_CONF_OK) {
                return rv;
            }

            continue;
        }

        for (m = 0; mask[m].name.len; m++) {
            if (ngx_strcmp(value[i].data, mask[m].name.data) == 0) {
                break;
            }
        }

        if (mask[m].name.len == 0 || (alcf->auth & mask[m].mask)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\", schemes are "
                               "\"digest\", \"digest_sha256\", \"basic\" and "
                               "\"header=name\", each once, or \"off\" alone",
                               &value[i]);
            return NGX_CONF_ERROR;
        }

        alcf->auth |= mask[m].mask;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_apikeys_conf_auth_header_name(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_str_t *value)
{
    u_char     *p, *last;
    ngx_str_t   name;

    name.data = value->data + 7;
    name.len = value->len - 7;

    last = name.data + name.len;

    for (p = name.data; p < last; p++) {
        if (!isalnum(*p) && *p != '-' && *p != '_') {
            break;
        }
    }

    if (name.len == 0 || p < last) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", it must be \"header=\" "
                           "and the name of a header", value);
        return NGX_CONF_ERROR;
    }

    /* one header for two schemes could be read as either */

    if (name.len == sizeof("Authorization") - 1
        && ngx_strncasecmp(name.data, (u_char *) "Authorization", name.len)
           == 0)
    {
        return "takes a header of its own, \"Authorization\" is that of "
               "\"digest\" and \"basic\"";
    }

    alcf->auth |= NGX_HTTP_APIKEYS_AUTH_HEADER;
    alcf->auth_header = name;

    return NGX_CONF_OK;
}
