
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * An id that is written out is parsed at configuration; one with variables
 * is evaluated before the replica is entered, as a variable may do anything.
 * A value that is empty or no id never matches.
 */


#include <ngx_http_apikeys_require.h>


typedef struct {
    ngx_http_complex_value_t  *value;      /* NULL: not demanded, or fixed */
    ngx_apikeys_objectid_t     id;         /* fixed */
    ngx_uint_t                 demanded;
} ngx_http_apikeys_require_id_t;


typedef struct {
    ngx_http_apikeys_require_id_t  org;
    ngx_http_apikeys_require_id_t  project;
    uint32_t                       org_roles;      /* any one of these */
    uint32_t                       project_roles;
    ngx_uint_t                     roles;          /* some were named */
    ngx_uint_t                     methods;        /* 0: all */
} ngx_http_apikeys_require_t;


static ngx_http_apikeys_decision_e ngx_http_apikeys_require_line(
    ngx_http_request_t *r, ngx_http_apikeys_require_t *line,
    ngx_http_apikeys_identity_t *identity);
static ngx_int_t ngx_http_apikeys_require_eval(ngx_http_request_t *r,
    ngx_http_apikeys_require_id_t *rid, ngx_apikeys_objectid_t *evaluated,
    ngx_apikeys_objectid_t **id);
static ngx_http_apikeys_decision_e ngx_http_apikeys_require_project(
    ngx_apikeys_store_t *st, ngx_http_apikeys_require_t *line,
    ngx_http_apikeys_identity_t *identity, ngx_apikeys_objectid_t *id);
static char *ngx_http_apikeys_require_param(ngx_conf_t *cf,
    ngx_http_apikeys_require_t *line, ngx_str_t *param);
static char *ngx_http_apikeys_require_set_id(ngx_conf_t *cf,
    ngx_http_apikeys_require_id_t *rid, ngx_str_t *param, size_t prefix);
static char *ngx_http_apikeys_require_role(ngx_conf_t *cf,
    ngx_http_apikeys_require_t *line, ngx_str_t *name);
static char *ngx_http_apikeys_require_method(ngx_conf_t *cf,
    ngx_http_apikeys_require_t *line, ngx_str_t *name);


/* what GET demands holds for HEAD, as with limit_except */

static const ngx_conf_bitmask_t  ngx_http_apikeys_require_methods[] = {
    { ngx_string("GET"), NGX_HTTP_GET|NGX_HTTP_HEAD },
    { ngx_string("HEAD"), NGX_HTTP_HEAD },
    { ngx_string("POST"), NGX_HTTP_POST },
    { ngx_string("PUT"), NGX_HTTP_PUT },
    { ngx_string("DELETE"), NGX_HTTP_DELETE },
    { ngx_string("MKCOL"), NGX_HTTP_MKCOL },
    { ngx_string("COPY"), NGX_HTTP_COPY },
    { ngx_string("MOVE"), NGX_HTTP_MOVE },
    { ngx_string("OPTIONS"), NGX_HTTP_OPTIONS },
    { ngx_string("PROPFIND"), NGX_HTTP_PROPFIND },
    { ngx_string("PROPPATCH"), NGX_HTTP_PROPPATCH },
    { ngx_string("LOCK"), NGX_HTTP_LOCK },
    { ngx_string("UNLOCK"), NGX_HTTP_UNLOCK },
    { ngx_string("PATCH"), NGX_HTTP_PATCH },
    { ngx_null_string, 0 }
};


ngx_http_apikeys_decision_e
ngx_http_apikeys_require_judge(ngx_http_request_t *r, ngx_array_t *lines,
    ngx_http_apikeys_identity_t *identity)
{
    ngx_uint_t                    i;
    ngx_http_apikeys_require_t   *line;
    ngx_http_apikeys_decision_e   decision;

    line = lines->elts;

    for (i = 0; i < lines->nelts; i++) {

        if (line[i].methods && !(line[i].methods & r->main->method)) {
            continue;
        }

        decision = ngx_http_apikeys_require_line(r, &line[i], identity);

        if (decision != NGX_HTTP_APIKEYS_ALLOW) {
            return decision;
        }
    }

    return NGX_HTTP_APIKEYS_ALLOW;
}


static ngx_http_apikeys_decision_e
ngx_http_apikeys_require_line(ngx_http_request_t *r,
    ngx_http_apikeys_require_t *line, ngx_http_apikeys_identity_t *identity)
{
    ngx_int_t                      rc;
    ngx_apikeys_objectid_t         evaluated, *id;
    ngx_http_apikeys_decision_e    decision;
    ngx_http_apikeys_main_conf_t  *amcf;

    if (line->org.demanded) {

        rc = ngx_http_apikeys_require_eval(r, &line->org, &evaluated, &id);

        if (rc == NGX_ERROR) {
            return NGX_HTTP_APIKEYS_ERROR;
        }

        if (rc != NGX_OK
            || ngx_memcmp(id, &identity->org, sizeof(ngx_apikeys_objectid_t))
               != 0)
        {
            return NGX_HTTP_APIKEYS_ROLE;
        }
    }

    if (!line->project.demanded) {
        return (line->roles && !(identity->roles & line->org_roles))
               ? NGX_HTTP_APIKEYS_ROLE : NGX_HTTP_APIKEYS_ALLOW;
    }

    rc = ngx_http_apikeys_require_eval(r, &line->project, &evaluated, &id);

    if (rc != NGX_OK) {
        return (rc == NGX_ERROR) ? NGX_HTTP_APIKEYS_ERROR
                                 : NGX_HTTP_APIKEYS_ROLE;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    ngx_apikeys_store_enter(amcf->store);

    decision = ngx_http_apikeys_require_project(amcf->store, line, identity,
                                                id);

    ngx_apikeys_store_leave(amcf->store);

    return decision;
}


static ngx_int_t
ngx_http_apikeys_require_eval(ngx_http_request_t *r,
    ngx_http_apikeys_require_id_t *rid, ngx_apikeys_objectid_t *evaluated,
    ngx_apikeys_objectid_t **id)
{
    ngx_str_t  text;

    if (rid->value == NULL) {
        *id = &rid->id;
        return NGX_OK;
    }

    *id = evaluated;

    if (ngx_http_complex_value(r, rid->value, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    return (ngx_apikeys_objectid_parse(evaluated, &text) == NGX_OK)
           ? NGX_OK : NGX_DECLINED;
}


/* the owner of an organisation is the owner of its projects */

static ngx_http_apikeys_decision_e
ngx_http_apikeys_require_project(ngx_apikeys_store_t *st,
    ngx_http_apikeys_require_t *line, ngx_http_apikeys_identity_t *identity,
    ngx_apikeys_objectid_t *id)
{
    uint32_t                     granted;
    ngx_int_t                    rc;
    ngx_apikeys_store_ref_t      ref;
    ngx_apikeys_store_project_t  project;

    rc = ngx_apikeys_store_project(st, id, &project);

    if (rc == NGX_OK) {
        rc = ngx_apikeys_store_key_by_id(st, &identity->id, &ref);
    }

    if (rc == NGX_BUSY) {
        return NGX_HTTP_APIKEYS_NOT_LOADED;
    }

    if (rc != NGX_OK
        || ngx_memcmp(&project.org, ref.org, sizeof(ngx_apikeys_objectid_t))
           != 0)
    {
        return NGX_HTTP_APIKEYS_ROLE;
    }

    granted = ngx_apikeys_store_grant(st, &ref, id);

    if (ref.roles & NGX_APIKEYS_ORG_OWNER) {
        granted |= NGX_APIKEYS_GROUP_OWNER;
    }

    if (!line->roles) {
        return granted ? NGX_HTTP_APIKEYS_ALLOW : NGX_HTTP_APIKEYS_ROLE;
    }

    return ((granted & line->project_roles) || (ref.roles & line->org_roles))
           ? NGX_HTTP_APIKEYS_ALLOW : NGX_HTTP_APIKEYS_ROLE;
}


char *
ngx_http_apikeys_require(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_apikeys_loc_conf_t *alcf = conf;

    char                        *rv;
    ngx_str_t                   *value;
    ngx_uint_t                   i;
    ngx_http_apikeys_require_t  *line;

    if (alcf->require == NULL) {
        alcf->require = ngx_array_create(cf->pool, 4,
                                         sizeof(ngx_http_apikeys_require_t));
        if (alcf->require == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    line = ngx_array_push(alcf->require);
    if (line == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(line, sizeof(ngx_http_apikeys_require_t));

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        rv = ngx_http_apikeys_require_param(cf, line, &value[i]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (!line->org.demanded && !line->project.demanded && !line->roles) {
        return "needs \"org=\", \"project=\" or \"role=\"";
    }

    if (line->project_roles && !line->project.demanded) {
        return "names a role of a project, which needs \"project=\"";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_apikeys_require_param(ngx_conf_t *cf,
    ngx_http_apikeys_require_t *line, ngx_str_t *param)
{
    char        *rv;
    u_char      *p, *last, *end;
    ngx_str_t    name;
    ngx_uint_t   role;

    if (ngx_strncmp(param->data, "org=", 4) == 0) {
        return ngx_http_apikeys_require_set_id(cf, &line->org, param, 4);
    }

    if (ngx_strncmp(param->data, "project=", 8) == 0) {
        return ngx_http_apikeys_require_set_id(cf, &line->project, param, 8);
    }

    if (ngx_strncmp(param->data, "role=", 5) == 0 && !line->roles) {
        role = 1;
        p = param->data + 5;

    } else if (ngx_strncmp(param->data, "method=", 7) == 0 && !line->methods)
    {
        role = 0;
        p = param->data + 7;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", param);
        return NGX_CONF_ERROR;
    }

    end = param->data + param->len;

    do {
        last = ngx_strlchr(p, end, ',');
        if (last == NULL) {
            last = end;
        }

        name.data = p;
        name.len = last - p;

        rv = role ? ngx_http_apikeys_require_role(cf, line, &name)
                  : ngx_http_apikeys_require_method(cf, line, &name);

        if (rv != NGX_CONF_OK) {
            return rv;
        }

        p = last + 1;

    } while (last < end);

    return NGX_CONF_OK;
}


static char *
ngx_http_apikeys_require_set_id(ngx_conf_t *cf,
    ngx_http_apikeys_require_id_t *rid, ngx_str_t *param, size_t prefix)
{
    ngx_str_t                          text;
    ngx_http_compile_complex_value_t   ccv;

    if (rid->demanded) {
        return "has a duplicate parameter";
    }

    rid->demanded = 1;

    text.data = param->data + prefix;
    text.len = param->len - prefix;

    if (ngx_http_script_variables_count(&text) == 0) {

        if (ngx_apikeys_objectid_parse(&rid->id, &text) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" names no id, which has 24 lower-case "
                               "hex digits", param);
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    rid->value = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (rid->value == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &text;
    ccv.complex_value = rid->value;

    return (ngx_http_compile_complex_value(&ccv) == NGX_OK) ? NGX_CONF_OK
                                                            : NGX_CONF_ERROR;
}


static char *
ngx_http_apikeys_require_role(ngx_conf_t *cf,
    ngx_http_apikeys_require_t *line, ngx_str_t *name)
{
    const ngx_apikeys_role_t  *role;

    role = ngx_apikeys_role_find(name);

    if (role == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "there is no role \"%V\"", name);
        return NGX_CONF_ERROR;
    }

    line->roles = 1;

    if (role->scope == NGX_APIKEYS_SCOPE_ORG) {
        line->org_roles |= role->mask;

    } else {
        line->project_roles |= role->mask;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_apikeys_require_method(ngx_conf_t *cf,
    ngx_http_apikeys_require_t *line, ngx_str_t *name)
{
    const ngx_conf_bitmask_t  *method;

    for (method = ngx_http_apikeys_require_methods;
         method->name.len;
         method++)
    {
        if (method->name.len == name->len
            && ngx_strncmp(method->name.data, name->data, name->len) == 0)
        {
            line->methods |= method->mask;
            return NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "unknown method \"%V\"", name);

    return NGX_CONF_ERROR;
}
