
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_apikeys_state.h>
#include <ngx_http_apikeys_attributes.h>
#include <ngx_http_apikeys_body.h>


ngx_apikeys_json_t *
ngx_http_apikeys_attributes_parse(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row)
{
    ngx_str_t            text;
    ngx_apikeys_json_t  *attributes;

    if (ngx_apikeys_pg_query_value(call->query, row,
                                   NGX_APIKEYS_STATE_ATTRIBUTES, &text)
        != NGX_OK
        || ngx_apikeys_json_parse(&text, NGX_HTTP_APIKEYS_BODY_OBJECT,
                                  &attributes)
           != NGX_OK)
    {
        out->failed = 1;
        return NULL;
    }

    return attributes;
}


ngx_uint_t
ngx_http_apikeys_attributes_flag(ngx_apikeys_json_t *attributes,
    const ngx_http_apikeys_flag_t *flag)
{
    ngx_apikeys_json_t  *value;

    value = ngx_apikeys_json_member(attributes, flag->name);

    return value ? ngx_apikeys_json_true(value) : flag->value;
}


void
ngx_http_apikeys_attributes_write(ngx_apikeys_json_out_t *out,
    ngx_apikeys_json_t *attributes, const ngx_http_apikeys_flag_t *flags)
{
    const ngx_http_apikeys_flag_t  *flag;

    for (flag = flags; flag->name; flag++) {
        ngx_apikeys_json_out_name(out, flag->name);
        ngx_apikeys_json_out_bool(out,
                           ngx_http_apikeys_attributes_flag(attributes, flag));
    }
}


ngx_int_t
ngx_http_apikeys_attributes_take(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_flag_t *flags, ngx_str_t *param)
{
    ngx_int_t                 rc;
    ngx_uint_t                i;
    ngx_apikeys_json_t       *values[NGX_HTTP_APIKEYS_ATTRIBUTES_MAX_FLAGS];
    ngx_apikeys_json_out_t    out;
    ngx_http_apikeys_attr_t   attrs[NGX_HTTP_APIKEYS_ATTRIBUTES_MAX_FLAGS + 1];

    ngx_memzero(values, sizeof(values));
    ngx_memzero(attrs, sizeof(attrs));

    for (i = 0; flags[i].name; i++) {
        attrs[i].name = flags[i].name;
        attrs[i].type = NGX_HTTP_APIKEYS_ATTR_FLAG;
        attrs[i].offset = i * sizeof(ngx_apikeys_json_t *);
    }

    rc = ngx_http_apikeys_body_attributes(call, call->body, attrs, values);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_apikeys_json_out_init(&out, call->request->pool, 0);
    ngx_apikeys_json_out_object(&out);

    for (i = 0; flags[i].name; i++) {
        if (values[i]) {
            ngx_apikeys_json_out_name(&out, flags[i].name);
            ngx_apikeys_json_out_value(&out, values[i]);
        }
    }

    ngx_apikeys_json_out_object_end(&out);

    return ngx_apikeys_json_out_text(&out, param);
}
