
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_apikeys_uuid.h>
#include <ngx_http_apikeys_date.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_native.h>


static void ngx_http_apikeys_native_end(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row);


void
ngx_http_apikeys_native_org(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row)
{
    ngx_str_t  id;

    (void) ngx_apikeys_pg_query_value(call->query, row, NGX_APIKEYS_STATE_ID,
                                      &id);

    ngx_apikeys_json_out_object(out);
    ngx_apikeys_json_out_member(out, "id", &id);
    ngx_http_apikeys_native_member(call, out, row, "name",
                                   NGX_APIKEYS_STATE_NAME);
    ngx_http_apikeys_native_member(call, out, row, "createdAt",
                                   NGX_APIKEYS_STATE_CREATED);
    ngx_http_apikeys_links_self(call, out, "/orgs/%V", &id);
    ngx_apikeys_json_out_object_end(out);
}


void
ngx_http_apikeys_native_project(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row)
{
    ngx_str_t  id;

    (void) ngx_apikeys_pg_query_value(call->query, row, NGX_APIKEYS_STATE_ID,
                                      &id);

    ngx_apikeys_json_out_object(out);
    ngx_apikeys_json_out_member(out, "id", &id);
    ngx_http_apikeys_native_member(call, out, row, "orgId",
                                   NGX_APIKEYS_STATE_ORG);
    ngx_http_apikeys_native_member(call, out, row, "name",
                                   NGX_APIKEYS_STATE_NAME);
    ngx_http_apikeys_native_member(call, out, row, "createdAt",
                                   NGX_APIKEYS_STATE_CREATED);
    ngx_http_apikeys_links_self(call, out, "/projects/%V", &id);
    ngx_apikeys_json_out_object_end(out);
}


void
ngx_http_apikeys_native_key(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row,
    const ngx_http_apikeys_new_key_t *created)
{
    ngx_str_t                id, org, roles, projects;
    ngx_apikeys_pg_query_t  *q;

    q = call->query;

    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_ID, &id);
    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_ORG, &org);
    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_ROLES, &roles);
    (void) ngx_apikeys_pg_query_value(q, row, NGX_APIKEYS_STATE_PROJECTS,
                                      &projects);

    ngx_apikeys_json_out_object(out);
    ngx_apikeys_json_out_member(out, "id", &id);
    ngx_http_apikeys_native_member(call, out, row, "orgId",
                                   NGX_APIKEYS_STATE_ORG);
    ngx_http_apikeys_native_member(call, out, row, "publicKey",
                                   NGX_APIKEYS_STATE_PUBLIC_KEY);

    if (created) {
        ngx_http_apikeys_native_secret(out, created);
    }

    ngx_http_apikeys_native_member(call, out, row, "desc",
                                   NGX_APIKEYS_STATE_DESCR);
    ngx_http_apikeys_native_member(call, out, row, "createdAt",
                                   NGX_APIKEYS_STATE_CREATED);
    ngx_http_apikeys_native_end(call, out, row);
    ngx_http_apikeys_key_write_roles(call, out, &org, &roles, &projects);

    if (org.len) {
        ngx_http_apikeys_links_self(call, out, "/orgs/%V/apiKeys/%V", &org,
                                    &id);

    } else {

        /* this API has no resource for a global key */

        ngx_apikeys_json_out_name(out, "links");
        ngx_apikeys_json_out_array(out);
        ngx_apikeys_json_out_array_end(out);
    }

    ngx_apikeys_json_out_object_end(out);
}


static void
ngx_http_apikeys_native_end(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row)
{
    time_t     expires;
    ngx_str_t  value;

    (void) ngx_apikeys_pg_query_value(call->query, row,
                                      NGX_APIKEYS_STATE_DISABLED, &value);

    ngx_apikeys_json_out_name(out, "disabled");
    ngx_apikeys_json_out_bool(out, value.len && value.data[0] == 't');

    expires = 0;

    if (ngx_apikeys_pg_query_value(call->query, row, NGX_APIKEYS_STATE_EXPIRES,
                                   &value)
        == NGX_OK)
    {
        expires = ngx_atotm(value.data, value.len);
    }

    ngx_http_apikeys_native_time(out, "expiresAt", expires);
}


void
ngx_http_apikeys_native_secret(ngx_apikeys_json_out_t *out,
    const ngx_http_apikeys_new_key_t *created)
{
    u_char     *p;
    ngx_str_t   token;
    u_char      buf[NGX_APIKEYS_PUBLIC_KEY_LEN + 1 + NGX_APIKEYS_UUID_TEXT_LEN];

    p = ngx_cpymem(buf, created->public_key.data, created->public_key.len);
    *p++ = '_';
    p = ngx_cpymem(p, created->private_key.data, created->private_key.len);

    token.data = buf;
    token.len = p - buf;

    ngx_apikeys_json_out_member(out, "privateKey", &created->private_key);
    ngx_apikeys_json_out_member(out, "token", &token);

    ngx_explicit_memzero(buf, sizeof(buf));

    ngx_http_apikeys_key_forget_document(out);
}


void
ngx_http_apikeys_native_member(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, const char *name,
    ngx_uint_t column)
{
    ngx_str_t  value;

    ngx_apikeys_json_out_name(out, name);

    if (ngx_apikeys_pg_query_value(call->query, row, column, &value)
        == NGX_OK)
    {
        ngx_apikeys_json_out_string(out, &value);

    } else {
        ngx_apikeys_json_out_null(out);
    }
}


void
ngx_http_apikeys_native_time(ngx_apikeys_json_out_t *out, const char *name,
    time_t t)
{
    ngx_str_t  text;
    u_char     buf[NGX_HTTP_APIKEYS_DATE_LEN];

    ngx_apikeys_json_out_name(out, name);

    if (t == 0) {
        ngx_apikeys_json_out_null(out);
        return;
    }

    text.data = buf;
    text.len = ngx_http_apikeys_date_write(buf, t) - buf;

    ngx_apikeys_json_out_string(out, &text);
}


void
ngx_http_apikeys_native_address(ngx_apikeys_json_out_t *out,
    const char *name, const ngx_apikeys_cidr_t *cidr)
{
    ngx_str_t  text;
    u_char     buf[NGX_APIKEYS_CIDR_TEXT_LEN];

    ngx_apikeys_json_out_name(out, name);

    if (cidr->family == 0) {
        ngx_apikeys_json_out_null(out);
        return;
    }

    text.data = buf;
    text.len = ngx_apikeys_cidr_write_address(buf, cidr) - buf;

    ngx_apikeys_json_out_string(out, &text);
}


void
ngx_http_apikeys_native_block(ngx_apikeys_json_out_t *out, const char *name,
    const ngx_apikeys_cidr_t *cidr)
{
    ngx_str_t  text;
    u_char     buf[NGX_APIKEYS_CIDR_TEXT_LEN];

    ngx_apikeys_json_out_name(out, name);

    if (cidr->family == 0) {
        ngx_apikeys_json_out_null(out);
        return;
    }

    text.data = buf;
    text.len = ngx_apikeys_cidr_write_block(buf, cidr) - buf;

    ngx_apikeys_json_out_string(out, &text);
}
