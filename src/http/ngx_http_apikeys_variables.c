
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * A variable that is evaluated before the access phase makes the decision
 * then, so that limit_req_zone can use the public key.  Variables that show
 * the identity are set only if the secret was verified.
 */


#include <ngx_http_apikeys_access.h>
#include <ngx_http_apikeys_ctx.h>
#include <ngx_http_apikeys_variables.h>


static ngx_http_apikeys_ctx_t *ngx_http_apikeys_variables_ctx(
    ngx_http_request_t *r);
static ngx_http_apikeys_ctx_t *ngx_http_apikeys_variables_verified(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_apikeys_variables_key(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_apikeys_variables_id(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_apikeys_variables_entry(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_apikeys_variables_roles(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_apikeys_variables_write_roles(
    ngx_http_request_t *r, ngx_apikeys_store_t *st,
    ngx_apikeys_store_ref_t *ref, ngx_http_variable_value_t *v);
static ngx_int_t ngx_http_apikeys_variables_scheme(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_apikeys_variables_expires(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_apikeys_variables_decision(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static void ngx_http_apikeys_variables_set(ngx_http_variable_value_t *v,
    u_char *data, size_t len);


static ngx_http_variable_t  ngx_http_apikeys_vars[] = {

    { ngx_string("apikeys_public_key"), NULL,
      ngx_http_apikeys_variables_key, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("apikeys_key_id"), NULL,
      ngx_http_apikeys_variables_id,
      offsetof(ngx_http_apikeys_identity_t, id),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("apikeys_secret_id"), NULL,
      ngx_http_apikeys_variables_id,
      offsetof(ngx_http_apikeys_identity_t, secret_id),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("apikeys_org_id"), NULL,
      ngx_http_apikeys_variables_id,
      offsetof(ngx_http_apikeys_identity_t, org),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("apikeys_roles"), NULL,
      ngx_http_apikeys_variables_roles, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("apikeys_access_entry"), NULL,
      ngx_http_apikeys_variables_entry, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("apikeys_scheme"), NULL,
      ngx_http_apikeys_variables_scheme, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("apikeys_expires"), NULL,
      ngx_http_apikeys_variables_expires, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("apikeys_decision"), NULL,
      ngx_http_apikeys_variables_decision, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static const ngx_str_t  ngx_http_apikeys_scheme_names[] = {
    [NGX_HTTP_APIKEYS_SCHEME_DIGEST] = ngx_string("digest"),
    [NGX_HTTP_APIKEYS_SCHEME_DIGEST_SHA256] = ngx_string("digest_sha256"),
    [NGX_HTTP_APIKEYS_SCHEME_BASIC] = ngx_string("basic"),
    [NGX_HTTP_APIKEYS_SCHEME_HEADER] = ngx_string("header"),
    [NGX_HTTP_APIKEYS_SCHEME_BEARER] = ngx_string("bearer"),
    [NGX_HTTP_APIKEYS_SCHEME_OPERATOR] = ngx_string("operator")
};

_Static_assert(sizeof(ngx_http_apikeys_scheme_names) / sizeof(ngx_str_t)
               == NGX_HTTP_APIKEYS_SCHEMES,
               "each scheme has a name");


/*
 * NULL: there is no decision.  In the location of an API only the caller is
 * identified here; the content handler decides.
 */

static ngx_http_apikeys_ctx_t *
ngx_http_apikeys_variables_ctx(ngx_http_request_t *r)
{
    ngx_http_apikeys_ctx_t       *ctx;
    ngx_http_apikeys_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_apikeys_module);

    ctx = ngx_http_apikeys_ctx_find(r);

    if (!ngx_http_apikeys_access_protected(alcf)) {

        /*
         * not a protected location, such as an error page: the last decision
         */

        return ctx;
    }

    if (ctx && (ctx->deciding
                || ngx_http_apikeys_ctx_location_decision(ctx, alcf)))
    {
        return ctx;
    }

    if (alcf->api == 0) {
        (void) ngx_http_apikeys_access_decide(r, alcf);
        return ngx_http_apikeys_ctx_find(r);
    }

    ctx = ngx_http_apikeys_ctx_get(r);

    if (ctx) {
        (void) ngx_http_apikeys_ctx_identify(ctx, r, alcf);
    }

    return ctx;
}


/* NULL: there is no identity that variables may show */

static ngx_http_apikeys_ctx_t *
ngx_http_apikeys_variables_verified(ngx_http_request_t *r)
{
    ngx_http_apikeys_ctx_t  *ctx;

    ctx = ngx_http_apikeys_variables_ctx(r);

    return (ctx && ngx_http_apikeys_ctx_verified(ctx)) ? ctx : NULL;
}


static ngx_int_t
ngx_http_apikeys_variables_key(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_apikeys_ctx_t  *ctx;

    ctx = ngx_http_apikeys_variables_verified(r);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    ngx_http_apikeys_variables_set(v, ctx->identity.public_key,
                                   NGX_APIKEYS_PUBLIC_KEY_LEN);

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_variables_id(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                  *p, *id;
    ngx_http_apikeys_ctx_t  *ctx;

    ctx = ngx_http_apikeys_variables_verified(r);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    id = (u_char *) &ctx->identity + data;

    /* a global key has no organization */

    if (ngx_apikeys_objectid_zero((ngx_apikeys_objectid_t *) id)) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_APIKEYS_OBJECTID_TEXT_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_http_apikeys_variables_set(v, p,
                     ngx_apikeys_objectid_write(p,
                                             (ngx_apikeys_objectid_t *) id)
                     - p);

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_variables_entry(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                  *p;
    ngx_http_apikeys_ctx_t  *ctx;

    ctx = ngx_http_apikeys_variables_verified(r);

    if (ctx == NULL || ctx->identity.entry.family == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_APIKEYS_CIDR_TEXT_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_http_apikeys_variables_set(v, p,
                                   ngx_apikeys_cidr_write_block(p,
                                                    &ctx->identity.entry)
                                   - p);

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_variables_roles(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_int_t                      rc;
    ngx_http_apikeys_ctx_t        *ctx;
    ngx_apikeys_store_ref_t        ref;
    ngx_http_apikeys_main_conf_t  *amcf;

    ctx = ngx_http_apikeys_variables_verified(r);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    ngx_apikeys_store_read_begin(amcf->store);

    rc = ngx_apikeys_store_key_by_id(amcf->store, &ctx->identity.id, &ref);

    if (rc == NGX_OK) {
        rc = ngx_http_apikeys_variables_write_roles(r, amcf->store, &ref, v);

    } else {
        v->not_found = 1;
        rc = NGX_OK;
    }

    ngx_apikeys_store_read_end(amcf->store);

    return rc;
}


/* "ORG_MEMBER,PROJECT:GROUP_OWNER,PROJECT:GROUP_READ_ONLY" */

static ngx_int_t
ngx_http_apikeys_variables_write_roles(ngx_http_request_t *r,
    ngx_apikeys_store_t *st, ngx_apikeys_store_ref_t *ref,
    ngx_http_variable_value_t *v)
{
    u_char                     *p, *last;
    uint32_t                    bit;
    ngx_uint_t                  i, n;
    ngx_apikeys_store_grant_t   grant;

    n = 0;

    for (i = 0; i < ref->ngrants; i++) {
        ngx_apikeys_store_grant_at(st, ref, i, &grant);

        for (bit = grant.roles; bit; bit &= bit - 1) {
            n++;
        }
    }

    p = ngx_pnalloc(r->pool, NGX_APIKEYS_ROLES_TEXT_LEN
                             + n * (NGX_APIKEYS_OBJECTID_TEXT_LEN
                                    + NGX_APIKEYS_ROLE_TEXT_LEN + 2));
    if (p == NULL) {
        return NGX_ERROR;
    }

    last = ngx_apikeys_roles_write(p, ngx_apikeys_objectid_zero(ref->org)
                                      ? NGX_APIKEYS_SCOPE_GLOBAL
                                      : NGX_APIKEYS_SCOPE_ORG, ref->roles);

    for (i = 0; i < ref->ngrants; i++) {
        ngx_apikeys_store_grant_at(st, ref, i, &grant);

        for (bit = 1; bit; bit <<= 1) {

            if (!(grant.roles & bit)) {
                continue;
            }

            if (last > p) {
                *last++ = ',';
            }

            last = ngx_apikeys_objectid_write(last, &grant.id);
            *last++ = ':';
            last = ngx_apikeys_roles_write(last, NGX_APIKEYS_SCOPE_PROJECT,
                                           bit);
        }
    }

    ngx_http_apikeys_variables_set(v, p, last - p);

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_variables_scheme(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_uint_t               i;
    ngx_http_apikeys_ctx_t  *ctx;

    ctx = ngx_http_apikeys_variables_ctx(r);

    if (ctx == NULL
        || (!ctx->identity.operator && !ngx_http_apikeys_ctx_verified(ctx)))
    {
        v->not_found = 1;
        return NGX_OK;
    }

    for (i = 0; i < NGX_HTTP_APIKEYS_SCHEME_OPERATOR; i++) {
        if (ctx->identity.scheme == ngx_http_apikeys_scheme_bit(i)) {
            break;
        }
    }

    ngx_http_apikeys_variables_set(v, ngx_http_apikeys_scheme_names[i].data,
                                   ngx_http_apikeys_scheme_names[i].len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_variables_expires(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                  *p;
    ngx_http_apikeys_ctx_t  *ctx;

    ctx = ngx_http_apikeys_variables_verified(r);

    if (ctx == NULL || ctx->identity.expires == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_INT32_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_http_apikeys_variables_set(v, p,
                                   ngx_sprintf(p, "%uD", ctx->identity.expires)
                                   - p);

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_variables_decision(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    const ngx_str_t                       *name;
    ngx_http_apikeys_ctx_t                *ctx;
    ngx_http_apikeys_loc_conf_t           *alcf;
    ngx_http_apikeys_location_decision_t  *decided;

    ctx = ngx_http_apikeys_variables_ctx(r);

    if (ctx == NULL || ctx->last == NULL || ctx->deciding) {
        v->not_found = 1;
        return NGX_OK;
    }

    /*
     * the last decision may be that of a subrequest: prefer that of this
     * location
     */

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_apikeys_module);

    decided = ngx_http_apikeys_ctx_location_decision(ctx, alcf);

    if (decided == NULL) {
        decided = ctx->last;
    }

    name = ngx_http_apikeys_ctx_decision_name(decided->decision);

    ngx_http_apikeys_variables_set(v, name->data, name->len);

    return NGX_OK;
}


static void
ngx_http_apikeys_variables_set(ngx_http_variable_value_t *v, u_char *data,
    size_t len)
{
    v->data = data;
    v->len = len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
}


ngx_int_t
ngx_http_apikeys_variables_add(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_apikeys_vars; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}
