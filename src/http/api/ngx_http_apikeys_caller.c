
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The root resource of the native API: the calling key, what this node knows
 * of its address, and the state of the local copy.
 */


#include <ngx_http_apikeys_native.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_resources.h>


static ngx_int_t ngx_http_apikeys_caller_done(ngx_http_apikeys_call_t *call);
static void ngx_http_apikeys_caller_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out);


ngx_int_t
ngx_http_apikeys_caller(ngx_http_apikeys_call_t *call)
{
    ngx_str_t               *id;
    ngx_apikeys_json_out_t   out;

    if (call->identity.operator) {
        ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);

        ngx_apikeys_json_out_object(&out);
        ngx_apikeys_json_out_name(&out, "apiKey");
        ngx_apikeys_json_out_null(&out);
        ngx_http_apikeys_caller_write(call, &out);
        ngx_apikeys_json_out_object_end(&out);

        return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
    }

    id = ngx_http_apikeys_run_caller(call);
    if (id == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_key_stmt, id,
                                ngx_http_apikeys_caller_done);
}


static ngx_int_t
ngx_http_apikeys_caller_done(ngx_http_apikeys_call_t *call)
{
    ngx_apikeys_json_out_t  out;

    if (ngx_apikeys_pg_query_nrows(call->query) == 0) {

        /* the key was deleted after it had authenticated */

        return ngx_http_apikeys_output_unauthorized(call);
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);

    ngx_apikeys_json_out_object(&out);
    ngx_apikeys_json_out_name(&out, "apiKey");
    ngx_http_apikeys_native_key(call, &out, 0, NULL);
    ngx_http_apikeys_caller_write(call, &out);
    ngx_apikeys_json_out_object_end(&out);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
}


/* only the operator sees the node and the version */

static void
ngx_http_apikeys_caller_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out)
{
    uint64_t                       age;
    ngx_str_t                      node;
    ngx_apikeys_store_t           *st;
    ngx_http_apikeys_main_conf_t  *amcf;
    static const ngx_str_t         version =
                                          ngx_string(NGX_HTTP_APIKEYS_VERSION);

    amcf = ngx_http_get_module_main_conf(call->request,
                                         ngx_http_apikeys_module);
    st = amcf->store;

    ngx_http_apikeys_native_address(out, "address", &call->identity.address);
    ngx_http_apikeys_native_block(out, "entry", &call->identity.entry);

    ngx_apikeys_json_out_name(out, "node");

    if (call->operator) {
        ngx_apikeys_store_instance(st, &node);
        ngx_apikeys_json_out_string(out, &node);

    } else {
        ngx_apikeys_json_out_null(out);
    }

    ngx_apikeys_json_out_name(out, "replica");
    ngx_apikeys_json_out_object(out);
    ngx_apikeys_json_out_name(out, "complete");
    ngx_apikeys_json_out_bool(out, ngx_apikeys_store_complete(st));

    age = ngx_apikeys_store_age(st);

    ngx_apikeys_json_out_name(out, "ageMs");

    if (age == (uint64_t) -1) {
        ngx_apikeys_json_out_null(out);

    } else {
        ngx_apikeys_json_out_int(out, age);
    }

    ngx_apikeys_json_out_object_end(out);

    ngx_apikeys_json_out_name(out, "version");

    if (call->operator) {
        ngx_apikeys_json_out_string(out, &version);

    } else {
        ngx_apikeys_json_out_null(out);
    }
}
