
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The root resource, the base of the API itself: shows the calling key
 * (docs/compatibility.md D59).
 */


#include <ngx_http_apikeys_key.h>
#include <ngx_http_apikeys_links.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_resources.h>
#include <ngx_http_apikeys_run.h>


static ngx_int_t ngx_http_apikeys_root_done(ngx_http_apikeys_call_t *call);
static void ngx_http_apikeys_root_write_key(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out);
static void ngx_http_apikeys_root_write_list(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out);
static void ngx_http_apikeys_root_write_rest(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const ngx_str_t *org, const ngx_str_t *id);


/* one row for each entry, at least one; all repeat the columns of the key */

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_root_stmt = {
    "apikeys_root",
    "SELECT k.*, text(a.cidr)"
    "  FROM (SELECT " NGX_APIKEYS_STATE_PRINTED
    "          FROM apikeys.key_states WHERE id = $1) k"
    "  LEFT JOIN (SELECT cidr FROM apikeys.access_list WHERE key_id = $1"
    "              UNION ALL"
    "             SELECT g.cidr FROM apikeys.global_access_list g"
    "              WHERE EXISTS (SELECT FROM apikeys.keys"
    "                             WHERE id = $1 AND org_id IS NULL)) a"
    "    ON true"
    " ORDER BY text(a.cidr) COLLATE \"C\"",
    1, 0
};


/* the build of Atlas, which clients expect: a placeholder */
static ngx_str_t  ngx_http_apikeys_root_build =
    ngx_string("0000000000000000000000000000000000000000");

static ngx_str_t  ngx_http_apikeys_root_atlas = ngx_string("MongoDB Atlas");
static ngx_str_t  ngx_http_apikeys_root_ops_manager =
    ngx_string("MongoDB Ops Manager");


ngx_int_t
ngx_http_apikeys_root(ngx_http_apikeys_call_t *call)
{
    ngx_str_t               *id;
    ngx_apikeys_json_out_t   out;

    if (call->identity.operator) {
        ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);

        ngx_apikeys_json_out_object(&out);
        ngx_apikeys_json_out_name(&out, "apiKey");
        ngx_apikeys_json_out_null(&out);
        ngx_http_apikeys_root_write_rest(call, &out, NULL, NULL);
        ngx_apikeys_json_out_object_end(&out);

        return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
    }

    id = ngx_http_apikeys_run_caller(call);
    if (id == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_root_stmt, id,
                                ngx_http_apikeys_root_done);
}


static ngx_int_t
ngx_http_apikeys_root_done(ngx_http_apikeys_call_t *call)
{
    ngx_str_t               id, org;
    ngx_apikeys_json_out_t  out;

    if (ngx_apikeys_pg_query_nrows(call->query) == 0) {

        /* the key was deleted after it had authenticated */

        return ngx_http_apikeys_output_unauthorized(call);
    }

    (void) ngx_apikeys_pg_query_value(call->query, 0,
                                      NGX_APIKEYS_STATE_ID, &id);
    (void) ngx_apikeys_pg_query_value(call->query, 0,
                                      NGX_APIKEYS_STATE_ORG, &org);

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);

    ngx_apikeys_json_out_object(&out);
    ngx_apikeys_json_out_name(&out, "apiKey");
    ngx_http_apikeys_root_write_key(call, &out);
    ngx_http_apikeys_root_write_rest(call, &out, &org, &id);
    ngx_apikeys_json_out_object_end(&out);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
}


static void
ngx_http_apikeys_root_write_key(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out)
{
    ngx_str_t                value, org, projects;
    ngx_apikeys_pg_query_t  *q;

    q = call->query;

    ngx_apikeys_json_out_object(out);

    ngx_apikeys_json_out_name(out, "accessList");
    ngx_apikeys_json_out_array(out);
    ngx_http_apikeys_root_write_list(call, out);
    ngx_apikeys_json_out_array_end(out);

    (void) ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_STATE_ID, &value);
    ngx_apikeys_json_out_name(out, "id");
    ngx_apikeys_json_out_string(out, &value);

    (void) ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_STATE_PUBLIC_KEY,
                                      &value);
    ngx_apikeys_json_out_name(out, "publicKey");
    ngx_apikeys_json_out_string(out, &value);

    (void) ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_STATE_ORG, &org);
    (void) ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_STATE_ROLES,
                                      &value);
    (void) ngx_apikeys_pg_query_value(q, 0, NGX_APIKEYS_STATE_PROJECTS,
                                      &projects);
    ngx_http_apikeys_key_write_roles(call, out, &org, &value, &projects);

    ngx_apikeys_json_out_object_end(out);
}


static void
ngx_http_apikeys_root_write_list(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out)
{
    ngx_str_t           text;
    ngx_uint_t          i;
    ngx_apikeys_cidr_t  cidr;
    u_char              buf[NGX_APIKEYS_CIDR_TEXT_LEN];

    for (i = 0; i < ngx_apikeys_pg_query_nrows(call->query); i++) {

        if (ngx_apikeys_pg_query_value(call->query, i,
                                       NGX_APIKEYS_STATE_NEXT, &text)
            != NGX_OK)
        {
            return;
        }

        if (ngx_apikeys_cidr_parse_block(&cidr, &text) != NGX_OK) {
            out->failed = 1;
            return;
        }

        text.data = buf;
        text.len = ngx_apikeys_cidr_write_block(buf, &cidr) - buf;

        ngx_apikeys_json_out_object(out);
        ngx_apikeys_json_out_name(out, "cidrBlock");
        ngx_apikeys_json_out_string(out, &text);

        ngx_apikeys_json_out_name(out, "ipAddress");

        if (ngx_apikeys_cidr_single(&cidr)) {
            text.len = ngx_apikeys_cidr_write_address(buf, &cidr) - buf;
            ngx_apikeys_json_out_string(out, &text);

        } else {
            ngx_apikeys_json_out_null(out);
        }

        ngx_apikeys_json_out_object_end(out);
    }
}


static void
ngx_http_apikeys_root_write_rest(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const ngx_str_t *org, const ngx_str_t *id)
{
    const char  *rel;

    ngx_apikeys_json_out_name(out, "appName");
    ngx_apikeys_json_out_string(out,
                            call->conf->api == NGX_HTTP_APIKEYS_API_OPS_MANAGER
                                ? &ngx_http_apikeys_root_ops_manager
                                : &ngx_http_apikeys_root_atlas);

    ngx_apikeys_json_out_name(out, "build");
    ngx_apikeys_json_out_string(out, &ngx_http_apikeys_root_build);

    ngx_apikeys_json_out_name(out, "links");
    ngx_apikeys_json_out_array(out);

    ngx_http_apikeys_link(call, out, "self", "");

    if (id) {
        rel = ngx_http_apikeys_links_rel(call,
                                         "http://mms.mongodb.com/apiKeys",
                                         "https://cloud.mongodb.com/apiKeys");

        if (org->len) {
            ngx_http_apikeys_link(call, out, rel, "/orgs/%V/apiKeys/%V", org,
                                  id);

        } else {
            ngx_http_apikeys_link(call, out, rel, "/admin/apiKeys/%V", id);
        }
    }

    ngx_apikeys_json_out_array_end(out);

    ngx_apikeys_json_out_name(out, "throttling");
    ngx_apikeys_json_out_bool(out, 0);
}
