
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A literal id is parsed at configuration, and the key was looked up in the
 * same read section of the store.  An id with variables is evaluated before a
 * read section begins, as a variable may run any code, and the key is looked up
 * again.  A value that is empty or not an id never matches.
 *
 * Methods that nginx knows are compared by a bit mask, others by name.  A
 * method that nginx does not know and that no line names may mean anything to
 * a backend: such a request must satisfy every line.
 */


#include <ngx_http_apikeys_require.h>


typedef struct {
    ngx_http_complex_value_t  *value;      /* compiled text with variables;
                                              NULL: no such parameter, or a
                                              literal id */
    ngx_apikeys_objectid_t     id;         /* fixed */
    ngx_uint_t                 demanded;
} ngx_http_apikeys_require_id_t;


typedef struct {
    ngx_http_apikeys_require_id_t  org;
    ngx_http_apikeys_require_id_t  project;
    uint32_t                       org_roles;      /* one of these is
                                                      required */
    uint32_t                       project_roles;
    ngx_uint_t                     has_roles;      /* role= is set */
    ngx_uint_t                     methods;        /* mask of methods */
    ngx_array_t                   *names;          /* names of other methods,
                                                      or NULL */
    ngx_uint_t                     has_method;     /* method= is set */
    ngx_uint_t                     except;         /* method=! is set */
} ngx_http_apikeys_require_t;


static ngx_uint_t ngx_http_apikeys_require_named(ngx_array_t *lines,
    const ngx_str_t *method);
static ngx_uint_t ngx_http_apikeys_require_names(
    const ngx_http_apikeys_require_t *line, const ngx_str_t *method);
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
static char *ngx_http_apikeys_require_unknown(ngx_conf_t *cf,
    ngx_str_t *param);
static char *ngx_http_apikeys_require_set_id(ngx_conf_t *cf,
    ngx_http_apikeys_require_id_t *rid, ngx_str_t *param, size_t prefix);
static char *ngx_http_apikeys_require_role(ngx_conf_t *cf,
    ngx_http_apikeys_require_t *line, ngx_str_t *name);
static char *ngx_http_apikeys_require_method(ngx_conf_t *cf,
    ngx_http_apikeys_require_t *line, ngx_str_t *name);
static char *ngx_http_apikeys_require_refuse(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *conf, ngx_str_t *place);
static void ngx_http_apikeys_require_warn(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *conf);
static void ngx_http_apikeys_require_place(ngx_conf_t *cf,
    ngx_str_t *place, u_char *buf, size_t size);


#define NGX_HTTP_APIKEYS_REQUIRE_METHOD_LEN  32
#define NGX_HTTP_APIKEYS_REQUIRE_PLACE_LEN   512

/* the methods of the table below */
#define NGX_HTTP_APIKEYS_REQUIRE_KNOWN                                       \
    (NGX_HTTP_GET|NGX_HTTP_HEAD|NGX_HTTP_POST|NGX_HTTP_PUT|NGX_HTTP_DELETE   \
     |NGX_HTTP_MKCOL|NGX_HTTP_COPY|NGX_HTTP_MOVE|NGX_HTTP_OPTIONS            \
     |NGX_HTTP_PROPFIND|NGX_HTTP_PROPPATCH|NGX_HTTP_LOCK|NGX_HTTP_UNLOCK     \
     |NGX_HTTP_PATCH)


/* method=GET also applies to HEAD, as in limit_except */

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
ngx_http_apikeys_require_decide(ngx_http_request_t *r, ngx_array_t *lines,
    ngx_http_apikeys_identity_t *identity)
{
    ngx_str_t                    *method;
    ngx_uint_t                    i, known, all, names, open;
    ngx_http_apikeys_require_t   *line;
    ngx_http_apikeys_decision_e   decision;

    if (lines == NULL) {
        return identity->global ? NGX_HTTP_APIKEYS_DECISION_ROLE
                                : NGX_HTTP_APIKEYS_DECISION_ALLOW;
    }

    open = !identity->global;
    line = lines->elts;
    method = &r->main->method_name;
    known = r->main->method & NGX_HTTP_APIKEYS_REQUIRE_KNOWN;
    all = !known && !ngx_http_apikeys_require_named(lines, method);

    for (i = 0; i < lines->nelts; i++) {

        if (line[i].has_method && !all) {
            names = known ? (line[i].methods & known) != 0
                          : ngx_http_apikeys_require_names(&line[i], method);

            if (names == line[i].except) {
                continue;
            }
        }

        decision = ngx_http_apikeys_require_line(r, &line[i], identity);

        if (decision != NGX_HTTP_APIKEYS_DECISION_ALLOW) {
            return decision;
        }

        open = 1;
    }

    /* a global key is admitted only by a line with a global role */

    return open ? NGX_HTTP_APIKEYS_DECISION_ALLOW
                : NGX_HTTP_APIKEYS_DECISION_ROLE;
}


ngx_http_apikeys_decision_e
ngx_http_apikeys_require_judge(ngx_http_request_t *r,
    const ngx_apikeys_objectid_t *project, const ngx_str_t *roles,
    ngx_http_apikeys_identity_t *identity)
{
    ngx_http_apikeys_require_t  line;

    ngx_memzero(&line, sizeof(ngx_http_apikeys_require_t));

    if (project) {
        line.project.demanded = 1;
        line.project.id = *project;
    }

    if (roles) {
        line.has_roles = 1;
        line.org_roles = ngx_apikeys_roles_parse(NGX_APIKEYS_SCOPE_ORG, roles);
        line.project_roles = ngx_apikeys_roles_parse(NGX_APIKEYS_SCOPE_PROJECT,
                                                     roles);
    }

    return ngx_http_apikeys_require_line(r, &line, identity);
}


static ngx_uint_t
ngx_http_apikeys_require_named(ngx_array_t *lines, const ngx_str_t *method)
{
    ngx_uint_t                   i;
    ngx_http_apikeys_require_t  *line;

    line = lines->elts;

    for (i = 0; i < lines->nelts; i++) {
        if (ngx_http_apikeys_require_names(&line[i], method)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_apikeys_require_names(const ngx_http_apikeys_require_t *line,
    const ngx_str_t *method)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    if (line->names == NULL) {
        return 0;
    }

    name = line->names->elts;

    for (i = 0; i < line->names->nelts; i++) {
        if (name[i].len == method->len
            && ngx_memcmp(name[i].data, method->data, method->len) == 0)
        {
            return 1;
        }
    }

    return 0;
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
            return NGX_HTTP_APIKEYS_DECISION_ERROR;
        }

        if (rc != NGX_OK
            || (!identity->global
                && ngx_memcmp(id, &identity->org,
                              sizeof(ngx_apikeys_objectid_t))
                   != 0))
        {
            return NGX_HTTP_APIKEYS_DECISION_ROLE;
        }
    }

    if (!line->project.demanded) {
        return ((line->has_roles || identity->global)
                && !(identity->roles & line->org_roles))
               ? NGX_HTTP_APIKEYS_DECISION_ROLE
               : NGX_HTTP_APIKEYS_DECISION_ALLOW;
    }

    rc = ngx_http_apikeys_require_eval(r, &line->project, &evaluated, &id);

    if (rc != NGX_OK) {
        return (rc == NGX_ERROR) ? NGX_HTTP_APIKEYS_DECISION_ERROR
                                 : NGX_HTTP_APIKEYS_DECISION_ROLE;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    ngx_apikeys_store_read_begin(amcf->store);

    decision = ngx_http_apikeys_require_project(amcf->store, line, identity,
                                                id);

    ngx_apikeys_store_read_end(amcf->store);

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


/* ORG_OWNER includes GROUP_OWNER of all projects */

static ngx_http_apikeys_decision_e
ngx_http_apikeys_require_project(ngx_apikeys_store_t *st,
    ngx_http_apikeys_require_t *line, ngx_http_apikeys_identity_t *identity,
    ngx_apikeys_objectid_t *id)
{
    uint32_t                     granted;
    ngx_int_t                    rc;
    ngx_apikeys_store_ref_t     *ref;
    ngx_apikeys_store_project_t  project;

    ref = &identity->ref;

    rc = ngx_apikeys_store_project(st, id, &project);

    if (rc == NGX_OK
        && identity->section != ngx_apikeys_store_read_section(st))
    {
        rc = ngx_apikeys_store_key_by_id(st, &identity->id, ref);
    }

    if (rc == NGX_BUSY) {
        return NGX_HTTP_APIKEYS_DECISION_NOT_LOADED;
    }

    if (rc != NGX_OK
        || ngx_memcmp(&project.org, ref->org, sizeof(ngx_apikeys_objectid_t))
           != 0)
    {
        return NGX_HTTP_APIKEYS_DECISION_ROLE;
    }

    granted = ngx_apikeys_store_grant(st, ref, id);

    if (ref->roles & NGX_APIKEYS_ORG_OWNER) {
        granted |= NGX_APIKEYS_GROUP_OWNER;
    }

    if (!line->has_roles) {
        return granted ? NGX_HTTP_APIKEYS_DECISION_ALLOW
                       : NGX_HTTP_APIKEYS_DECISION_ROLE;
    }

    return ((granted & line->project_roles) || (ref->roles & line->org_roles))
           ? NGX_HTTP_APIKEYS_DECISION_ALLOW : NGX_HTTP_APIKEYS_DECISION_ROLE;
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

    if (line->org.value || line->project.value) {
        alcf->require_evaluates = 1;
    }

    if (!line->org.demanded && !line->project.demanded && !line->has_roles) {
        return "needs \"org=\", \"project=\" or \"role=\"";
    }

    if (line->project.demanded
        && (line->org_roles & NGX_APIKEYS_GLOBAL_ANY))
    {
        return "names a GLOBAL_ role, which cannot be combined with "
               "\"project=\"";
    }

    if (line->project_roles && !line->project.demanded) {
        return "names a GROUP_ role, which needs \"project=\"";
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

    if (ngx_strncmp(param->data, "role=", 5) == 0 && !line->has_roles) {
        role = 1;
        p = param->data + 5;

    } else if (ngx_strncmp(param->data, "method=", 7) == 0
               && !line->has_method)
    {
        role = 0;
        p = param->data + 7;

        line->has_method = 1;
        line->except = (*p == '!');

    } else {
        return ngx_http_apikeys_require_unknown(cf, param);
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
ngx_http_apikeys_require_unknown(ngx_conf_t *cf, ngx_str_t *param)
{
    ngx_http_apikeys_invalid(cf, param,
                             "must be \"org=\", \"project=\", \"role=\" or "
                             "\"method=\", each once");
    return NGX_CONF_ERROR;
}


static char *
ngx_http_apikeys_require_set_id(ngx_conf_t *cf,
    ngx_http_apikeys_require_id_t *rid, ngx_str_t *param, size_t prefix)
{
    ngx_str_t                          text;
    ngx_http_compile_complex_value_t   ccv;

    if (rid->demanded) {
        return ngx_http_apikeys_require_unknown(cf, param);
    }

    rid->demanded = 1;

    text.data = param->data + prefix;
    text.len = param->len - prefix;

    if (ngx_http_script_variables_count(&text) == 0) {

        if (ngx_apikeys_objectid_parse(&rid->id, &text) != NGX_OK) {
            ngx_http_apikeys_invalid(cf, param,
                                     "an id has 24 lower-case hex digits");
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

    if (role == NULL || role->mask == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown role \"%V\" in \"apikeys_require\": see "
                           "\"Roles\" in docs/operations.md for all names",
                           name);
        return NGX_CONF_ERROR;
    }

    line->has_roles = 1;

    if (role->scope == NGX_APIKEYS_SCOPE_PROJECT) {
        line->project_roles |= role->mask;

    } else {
        line->org_roles |= role->mask;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_apikeys_require_method(ngx_conf_t *cf,
    ngx_http_apikeys_require_t *line, ngx_str_t *name)
{
    u_char                    *p;
    ngx_str_t                 *other;
    const ngx_conf_bitmask_t  *method;

    if (line->except != (name->len && name->data[0] == '!')) {
        return "has methods with and without \"!\", use a line for each";
    }

    name->data += line->except;
    name->len -= line->except;

    for (p = name->data; p < name->data + name->len; p++) {
        if (!(*p >= 'A' && *p <= 'Z') && !(*p >= '0' && *p <= '9')
            && *p != '_' && *p != '-')
        {
            break;
        }
    }

    if (name->len == 0 || name->len > NGX_HTTP_APIKEYS_REQUIRE_METHOD_LEN
        || p < name->data + name->len)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid method \"%V\" in \"apikeys_require\": "
                           "must have 1 to %d characters of \"A-Z0-9_-\"",
                           name, NGX_HTTP_APIKEYS_REQUIRE_METHOD_LEN);
        return NGX_CONF_ERROR;
    }

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

    if (line->names == NULL) {
        line->names = ngx_array_create(cf->pool, 2, sizeof(ngx_str_t));
        if (line->names == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    other = ngx_array_push(line->names);
    if (other == NULL) {
        return NGX_CONF_ERROR;
    }

    *other = *name;

    return NGX_CONF_OK;
}


char *
ngx_http_apikeys_require_merge(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *prev, ngx_http_apikeys_loc_conf_t *conf)
{
    u_char      buf[NGX_HTTP_APIKEYS_REQUIRE_PLACE_LEN];
    ngx_str_t   place;
    ngx_uint_t  lines, auth;

    lines = (conf->require != NULL);
    auth = (conf->auth != 0);

    if (!lines) {
        conf->require = prev->require;
        conf->require_evaluates = prev->require_evaluates;
    }

    if (!auth) {
        conf->auth = prev->auth;
        conf->auth_header = prev->auth_header;
    }

    /*
     * "apikeys_auth off" below apikeys_require disables it; in the same or an
     * outer block it is an error
     */

    conf->opened = lines ? 0
                   : auth ? (conf->auth == NGX_HTTP_APIKEYS_AUTH_OFF)
                   : prev->opened;

    if (conf->require == NULL || conf->opened) {
        return NGX_CONF_OK;
    }

    if (!conf->api && !(conf->auth & NGX_HTTP_APIKEYS_AUTH_ANY)) {
        ngx_http_apikeys_require_place(cf, &place, buf, sizeof(buf));
        return ngx_http_apikeys_require_refuse(cf, conf, &place);
    }

    if (lines) {
        ngx_http_apikeys_require_warn(cf, conf);
    }

    return NGX_CONF_OK;
}


/* the same check for the http block, which no server may inherit from */

char *
ngx_http_apikeys_require_check(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *conf)
{
    static ngx_str_t  place = ngx_string("the http block");

    if (conf->require && conf->auth == NGX_HTTP_APIKEYS_AUTH_OFF) {
        return ngx_http_apikeys_require_refuse(cf, conf, &place);
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_apikeys_require_refuse(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *conf, ngx_str_t *place)
{
    if (conf->auth == NGX_HTTP_APIKEYS_AUTH_OFF) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"apikeys_require\" in %V has no effect with "
                           "\"apikeys_auth off\" at the same level or above: "
                           "name a scheme there", place);

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"apikeys_require\" in %V needs "
                           "\"apikeys_auth\": name a scheme there or above, "
                           "or set \"apikeys_auth off\" there if "
                           "\"apikeys_require\" is only inherited", place);
    }

    return NGX_CONF_ERROR;
}


/* a method that no line of this level covers */

static void
ngx_http_apikeys_require_warn(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *conf)
{
    u_char                       buf[NGX_HTTP_APIKEYS_REQUIRE_PLACE_LEN];
    ngx_str_t                    place;
    ngx_uint_t                   i, fit;
    const ngx_conf_bitmask_t    *method;
    ngx_http_apikeys_require_t  *line;

    fit = 0;
    line = conf->require->elts;

    for (i = 0; i < conf->require->nelts; i++) {
        fit |= line[i].has_method ? (line[i].except ? ~line[i].methods
                                                    : line[i].methods)
                            : ~ (ngx_uint_t) 0;
    }

    for (method = ngx_http_apikeys_require_methods;
         method->name.len;
         method++)
    {
        if ((fit & method->mask) == method->mask) {
            continue;
        }

        ngx_http_apikeys_require_place(cf, &place, buf, sizeof(buf));

        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "\"apikeys_require\" lets every key use method "
                           "\"%V\" in %V: no line is for that method",
                           &method->name, &place);
        return;
    }
}


static void
ngx_http_apikeys_require_place(ngx_conf_t *cf, ngx_str_t *place, u_char *buf,
    size_t size)
{
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_core_srv_conf_t  *cscf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    place->data = buf;

    if (clcf->name.len) {
        place->len = ngx_snprintf(buf, size, "%slocation \"%V\"",
                                  clcf->lmt_excpt ? "limit_except in "
                                  : clcf->noname ? "an \"if\" in " : "",
                                  &clcf->name)
                     - buf;
        return;
    }

    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    place->len = ngx_snprintf(buf, size, "the server block in %s:%ui",
                              cscf->file_name, cscf->line)
                 - buf;
}
