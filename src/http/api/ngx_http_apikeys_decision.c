
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Whether a key would be admitted, and why not: of the native API.  The local
 * copy of this node is judged by the functions that judge requests, without a
 * credential.  Nothing is counted, and nothing is logged.
 */


#include <ngx_http_apikeys_args.h>
#include <ngx_http_apikeys_auth.h>
#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_native.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_require.h>
#include <ngx_http_apikeys_resources.h>


/* the query string, in call->data; the texts have data NULL if absent */
typedef struct {
    ngx_str_t               address_text;
    ngx_str_t               project_text;
    ngx_str_t               roles;          /* with "," between */
    ngx_apikeys_cidr_t      address;
    ngx_apikeys_objectid_t  project;
} ngx_http_apikeys_decision_args_t;


static ngx_uint_t ngx_http_apikeys_decision_is_id(const ngx_str_t *value);
static ngx_int_t ngx_http_apikeys_decision_check_roles(
    ngx_http_apikeys_call_t *call, const ngx_str_t *roles);
static ngx_int_t ngx_http_apikeys_decision_refused(
    ngx_http_apikeys_call_t *call, ngx_http_apikeys_decision_e decision);
static void ngx_http_apikeys_decision_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_http_apikeys_identity_t *identity,
    ngx_http_apikeys_decision_e decision);
static void ngx_http_apikeys_decision_write_roles(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_out_t *out,
    const ngx_apikeys_store_ref_t *ref);


static const ngx_http_apikeys_arg_text_t  ngx_http_apikeys_decision_texts[] = {

    { .name = ngx_string("address"),
      .offset = offsetof(ngx_http_apikeys_decision_args_t, address_text) },

    { .name = ngx_string("project"),
      .offset = offsetof(ngx_http_apikeys_decision_args_t, project_text),
      .check = ngx_http_apikeys_decision_is_id },

    { .name = ngx_string("role"),
      .offset = offsetof(ngx_http_apikeys_decision_args_t, roles) },

    { .name = ngx_null_string }
};


ngx_int_t
ngx_http_apikeys_decision_query(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                          rc;
    ngx_http_apikeys_decision_args_t  *args;

    args = ngx_pcalloc(call->request->pool,
                       sizeof(ngx_http_apikeys_decision_args_t));
    if (args == NULL) {
        return NGX_ERROR;
    }

    call->data = args;

    rc = ngx_http_apikeys_args_texts(call, ngx_http_apikeys_decision_texts,
                                     args);
    if (rc != NGX_OK) {
        return rc;
    }

    if (args->address_text.data == NULL) {
        ngx_str_set(&args->address_text, "");
    }

    if (ngx_apikeys_cidr_parse_address(&args->address, &args->address_text)
        != NGX_OK)
    {
        return ngx_http_apikeys_output_set_error(call,
                                         NGX_HTTP_APIKEYS_CODE_INVALID_ADDRESS,
                                         &args->address_text, NULL);
    }

    if (args->project_text.data) {
        (void) ngx_apikeys_objectid_parse(&args->project, &args->project_text);
    }

    return args->roles.data
           ? ngx_http_apikeys_decision_check_roles(call, &args->roles)
           : NGX_OK;
}


static ngx_uint_t
ngx_http_apikeys_decision_is_id(const ngx_str_t *value)
{
    ngx_apikeys_objectid_t  id;

    return ngx_apikeys_objectid_parse(&id, value) == NGX_OK;
}


/* well-formed names; one that does not exist is never met */

static ngx_int_t
ngx_http_apikeys_decision_check_roles(ngx_http_apikeys_call_t *call,
    const ngx_str_t *roles)
{
    u_char     *last, *end;
    ngx_str_t   name;

    name.data = roles->data;
    end = roles->data + roles->len;

    do {
        last = ngx_strlchr(name.data, end, ',');
        if (last == NULL) {
            last = end;
        }

        name.len = last - name.data;

        if (!ngx_http_apikeys_args_is_role(&name)) {
            return ngx_http_apikeys_output_set_error(call,
                                      NGX_HTTP_APIKEYS_CODE_INVALID_ENUM_VALUE,
                                      &name, NULL);
        }

        name.data = last + 1;

    } while (last < end);

    return NGX_OK;
}


ngx_int_t
ngx_http_apikeys_decision(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                          rc;
    ngx_apikeys_store_t               *st;
    ngx_apikeys_json_out_t             out;
    ngx_http_apikeys_identity_t        identity;
    ngx_http_apikeys_decision_e        decision;
    ngx_http_apikeys_main_conf_t      *amcf;
    ngx_http_apikeys_decision_args_t  *args;

    args = call->data;
    amcf = ngx_http_get_module_main_conf(call->request,
                                         ngx_http_apikeys_module);
    st = amcf->store;

    ngx_memzero(&identity, sizeof(ngx_http_apikeys_identity_t));

    identity.id = call->key_id;
    identity.address = args->address;

    /* one read section: "identity" points into the zone */

    ngx_apikeys_store_read_begin(st);

    decision = ngx_http_apikeys_auth_judge(st, call->conf, &identity);

    if (decision == NGX_HTTP_APIKEYS_DECISION_ALLOW) {
        decision = ngx_http_apikeys_require_judge(call->request,
                                                  args->project_text.data
                                                  ? &args->project : NULL,
                                                  args->roles.data
                                                  ? &args->roles : NULL,
                                                  &identity);
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);

    rc = ngx_http_apikeys_decision_refused(call, decision);

    if (rc == NGX_OK) {
        ngx_http_apikeys_decision_write(call, &out, &identity, decision);
    }

    ngx_apikeys_store_read_end(st);

    return (rc == NGX_OK) ? ngx_http_apikeys_output_send(call, &out,
                                                         NGX_HTTP_OK)
                          : rc;
}


/* NGX_OK: it is a decision on the key, and not on this node */

static ngx_int_t
ngx_http_apikeys_decision_refused(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_decision_e decision)
{
    switch (decision) {

    case NGX_HTTP_APIKEYS_DECISION_ERROR:
        return NGX_ERROR;

    case NGX_HTTP_APIKEYS_DECISION_NOT_LOADED:
    case NGX_HTTP_APIKEYS_DECISION_STALE_COPY:
        return ngx_http_apikeys_output_set_error(call,
                                     NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE,
                                     NULL, NULL);

    case NGX_HTTP_APIKEYS_DECISION_UNKNOWN_KEY:
        return ngx_http_apikeys_output_set_error(call,
                                           NGX_HTTP_APIKEYS_CODE_KEY_NOT_FOUND,
                                           &call->path_key, NULL);

    default:
        return NGX_OK;
    }
}


static void
ngx_http_apikeys_decision_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_http_apikeys_identity_t *identity,
    ngx_http_apikeys_decision_e decision)
{
    const ngx_apikeys_store_ref_t  *ref;

    ref = &identity->ref;

    ngx_apikeys_json_out_object(out);
    ngx_apikeys_json_out_member(out, "decision",
                                ngx_http_apikeys_ctx_decision_name(decision));
    ngx_http_apikeys_native_address(out, "address", &identity->address);
    ngx_http_apikeys_native_block(out, "entry", &identity->entry);
    ngx_http_apikeys_decision_write_roles(call, out, ref);
    ngx_apikeys_json_out_name(out, "disabled");
    ngx_apikeys_json_out_bool(out, ref->disabled);
    ngx_http_apikeys_native_time(out, "expiresAt", ref->expires);
    ngx_apikeys_json_out_object_end(out);
}


static void
ngx_http_apikeys_decision_write_roles(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const ngx_apikeys_store_ref_t *ref)
{
    ngx_str_t                      id, names;
    ngx_uint_t                     i;
    ngx_apikeys_store_grant_t      grant;
    ngx_http_apikeys_main_conf_t  *amcf;
    u_char                         text[NGX_APIKEYS_OBJECTID_TEXT_LEN],
                                   roles[NGX_APIKEYS_ROLES_TEXT_LEN];

    ngx_apikeys_json_out_name(out, "roles");
    ngx_apikeys_json_out_array(out);

    names.data = roles;
    names.len = ngx_apikeys_roles_write(roles, NGX_APIKEYS_SCOPE_ORG,
                                        ref->roles)
                - roles;
    ngx_http_apikeys_key_write_names(out, "orgId", &call->org, &names);

    amcf = ngx_http_get_module_main_conf(call->request,
                                         ngx_http_apikeys_module);
    id.data = text;

    for (i = 0; i < ref->ngrants; i++) {
        ngx_apikeys_store_grant_at(amcf->store, ref, i, &grant);

        id.len = ngx_apikeys_objectid_write(text, &grant.id) - text;
        names.len = ngx_apikeys_roles_write(roles, NGX_APIKEYS_SCOPE_PROJECT,
                                            grant.roles)
                    - roles;
        ngx_http_apikeys_key_write_names(out, "projectId", &id, &names);
    }

    ngx_apikeys_json_out_array_end(out);
}
