
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_conf.h>

#include <ngx_apikeys_secret_file.h>
#include <ngx_http_apikeys_auth.h>


#define NGX_HTTP_APIKEYS_CONF_TOKEN_MIN   20


static char *ngx_http_apikeys_conf_database_param(ngx_conf_t *cf,
    ngx_apikeys_pg_conf_t *database, ngx_str_t *value);
static uint64_t ngx_http_apikeys_conf_zone_min(void);
static char *ngx_http_apikeys_conf_auth_header_name(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_str_t *value, ngx_str_t *name);


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

        ngx_http_apikeys_invalid(cf, value, "must be from 1 to 1000");

    } else if (ngx_strncmp(value->data, "queue=", 6) == 0) {

        n = ngx_atoi(value->data + 6, value->len - 6);

        if (n != NGX_ERROR && n >= 1 && n <= 1000000) {
            database->queue = n;
            return NGX_CONF_OK;
        }

        ngx_http_apikeys_invalid(cf, value, "must be from 1 to 1000000");

    } else if (ngx_strncmp(value->data, "connect_timeout=", 16) == 0) {

        s.data = value->data + 16;
        s.len = value->len - 16;

        ms = ngx_parse_time(&s, 0);

        if (ms != (ngx_msec_t) NGX_ERROR && ms != 0) {
            database->connect_timeout = ms;
            return NGX_CONF_OK;
        }

        ngx_http_apikeys_invalid(cf, value, "must be a time of 1ms or more");

    } else if (ngx_strncmp(value->data, "timeout=", 8) == 0) {

        s.data = value->data + 8;
        s.len = value->len - 8;

        ms = ngx_parse_time(&s, 0);

        if (ms != (ngx_msec_t) NGX_ERROR && ms != 0) {
            database->timeout = ms;
            return NGX_CONF_OK;
        }

        ngx_http_apikeys_invalid(cf, value, "must be a time of 1ms or more");

    } else if (ngx_strncmp(value->data, "password_file=", 14) == 0) {

        s.data = value->data + 14;
        s.len = value->len - 14;

        if (ngx_apikeys_secret_file_line(cf, "password_file",
                                         "create it with mode 0600 and the "
                                         "password in one line",
                                         "the password", &s,
                                         &database->password)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;

    } else {
        ngx_http_apikeys_invalid(cf, value,
                                 "must be \"connections=\", \"queue=\", "
                                 "\"connect_timeout=\", \"timeout=\" or "
                                 "\"password_file=\"; a connection string "
                                 "with blanks must be in quotes");
    }

    return NGX_CONF_ERROR;
}


char *
ngx_http_apikeys_conf_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_main_conf_t *amcf = conf;

    u_char     *p;
    ssize_t     size;
    uint64_t    min;
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

    min = ngx_http_apikeys_conf_zone_min();

    if ((uint64_t) size < min) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" in \"apikeys_zone\" is too small: "
                           "has %uz bytes, needs at least \"zone=%V:%uLk\"",
                           &name, (size_t) size, &name, (min + 1023) / 1024);
        return NGX_CONF_ERROR;
    }

    amcf->nonce_size = ngx_apikeys_nonce_table_size(size);

    amcf->store = ngx_apikeys_store_create(cf, &name, size,
                                           &ngx_http_apikeys_module,
                                           NGX_HTTP_APIKEYS_METRICS_SIZE
                                           + amcf->nonce_size);

    return amcf->store ? NGX_CONF_OK : NGX_CONF_ERROR;

invalid:

    ngx_http_apikeys_invalid(cf, &value[1],
                             "must be \"zone=name:size\", such as "
                             "\"zone=apikeys:64m\"");
    return NGX_CONF_ERROR;
}


/* the nonce table grows with the zone, but more slowly */

static uint64_t
ngx_http_apikeys_conf_zone_min(void)
{
    uint64_t  min, size;

    min = 0;

    for ( ;; ) {
        size = ngx_apikeys_store_min_size(NGX_HTTP_APIKEYS_METRICS_SIZE
                                          + ngx_apikeys_nonce_table_size(min));
        if (size <= min) {
            return min;
        }

        min = size;
    }
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
    return amcf->nonce ? NGX_CONF_OK : NGX_CONF_ERROR;
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
                                     "copy it from another node, or make one "
                                     "with \"openssl rand -hex 32\"",
                                     "the token", &value[1], &token)
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

    if (ngx_http_apikeys_auth_is_token(&token)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the operator token in \"%V\" has the form of the "
                           "token of an API key, make another one with "
                           "\"openssl rand -hex 32\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    amcf->token = ngx_palloc(cf->pool, NGX_APIKEYS_DIGEST_SHA256_LEN);
    if (amcf->token == NULL) {
        return NGX_CONF_ERROR;
    }

    rc = ngx_apikeys_digest_sha256(amcf->token, &token);

    /* only the hash of the token is kept */

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

    /*
     * the realm is sent as a quoted string, which clients unescape differently
     */

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

            ngx_http_apikeys_invalid(cf, &value[i],
                                     "must be a time of 10ms or more");

        } else if (ngx_strcmp(value[i].data, "notify=on") == 0) {
            amcf->sync.notify = 1;
            continue;

        } else if (ngx_strcmp(value[i].data, "notify=off") == 0) {
            amcf->sync.notify = 0;
            continue;

        } else {
            ngx_http_apikeys_invalid(cf, &value[i],
                                     "must be \"poll=time\", \"notify=on\" "
                                     "or \"notify=off\"");
        }

        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_apikeys_conf_stale(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_loc_conf_t *alcf = conf;

    ngx_str_t                     *value;
    ngx_http_apikeys_main_conf_t  *amcf;

    if (alcf->stale != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    alcf->stale = ngx_parse_time(&value[1], 0);

    if (alcf->stale == (ngx_msec_t) NGX_ERROR || alcf->stale == 0) {
        ngx_http_apikeys_invalid(cf, &value[1],
                                 "must be a time of 1ms or more, such as "
                                 "\"10m\"");
        return NGX_CONF_ERROR;
    }

    /* of any location: "apikeys_status health" depends on heartbeats, too */

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_apikeys_module);

    if (amcf->sync.stale_min == 0 || alcf->stale < amcf->sync.stale_min) {
        amcf->sync.stale_min = alcf->stale;
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

    ngx_http_apikeys_invalid(cf, &value[2],
                             "must be \"expired=deny\" or "
                             "\"expired=allow\"");
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
        ngx_http_apikeys_invalid(cf, &value[1],
                                 "must name a file, such as "
                                 "\"/var/lib/nginx/apikeys/snapshot\"");
        return NGX_CONF_ERROR;
    }

    amcf->sync.snapshot.path = value[1];

    if (ngx_conf_full_name(cf->cycle, &amcf->sync.snapshot.path, 0) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    /* the temporary file has the number of a process appended */

    if (amcf->sync.snapshot.path.len + NGX_INT64_LEN >= NGX_MAX_PATH) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the path in \"apikeys_snapshot\" has %uz bytes, "
                           "at most %d are possible",
                           amcf->sync.snapshot.path.len,
                           NGX_MAX_PATH - NGX_INT64_LEN - 1);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_apikeys_conf_auth(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_loc_conf_t *alcf = conf;

    char        *rv;
    ngx_str_t   *value, param;
    ngx_uint_t   i, scheme;

    if (alcf->auth) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        alcf->auth = NGX_HTTP_APIKEYS_AUTH_OFF;
        return NGX_CONF_OK;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        scheme = ngx_http_apikeys_auth_scheme(&value[i], &param);

        if (scheme == 0 || (alcf->auth & scheme)) {
            ngx_http_apikeys_invalid(cf, &value[i],
                                     "schemes are \"digest\", "
                                     "\"digest_sha256\", \"basic\", "
                                     "\"bearer\" and \"header=name\", each "
                                     "once, or \"off\" alone");
            return NGX_CONF_ERROR;
        }

        if (param.data) {
            rv = ngx_http_apikeys_conf_auth_header_name(cf, alcf, &value[i],
                                                        &param);
            if (rv != NGX_CONF_OK) {
                return rv;
            }
        }

        alcf->auth |= scheme;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_apikeys_conf_auth_header_name(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_str_t *value, ngx_str_t *name)
{
    u_char  *p, *last;

    last = name->data + name->len;

    for (p = name->data; p < last; p++) {
        if (!isalnum(*p) && *p != '-' && *p != '_') {
            break;
        }
    }

    if (name->len == 0 || p < last) {
        ngx_http_apikeys_invalid(cf, value,
                                 "must be \"header=\" and the name of a "
                                 "header, of letters, digits, \"-\" and "
                                 "\"_\"");
        return NGX_CONF_ERROR;
    }

    /* header=Authorization would be ambiguous: digest and basic use it */

    if (name->len == sizeof("Authorization") - 1
        && ngx_strncasecmp(name->data, (u_char *) "Authorization", name->len)
           == 0)
    {
        ngx_http_apikeys_invalid(cf, value,
                                 "is the header of \"digest\" and \"basic\", "
                                 "choose another name");
        return NGX_CONF_ERROR;
    }

    ngx_strlow(name->data, name->data, name->len);

    alcf->auth_header = *name;

    return NGX_CONF_OK;
}
