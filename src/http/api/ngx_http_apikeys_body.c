
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_date.h>
#include <ngx_http_apikeys_output.h>


#define NGX_HTTP_APIKEYS_BODY_MAX_DESC   250
#define NGX_HTTP_APIKEYS_BODY_MAX_NAME   64


static ngx_int_t ngx_http_apikeys_body_text(ngx_http_request_t *r,
    ngx_str_t *text, u_char **copy);
static ngx_int_t ngx_http_apikeys_body_attribute(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_attr_t *attr, ngx_str_t *name,
    ngx_apikeys_json_t *value, void *to);
static ngx_uint_t ngx_http_apikeys_body_fits(ngx_http_apikeys_attr_e type,
    ngx_apikeys_json_t *value);


ngx_int_t
ngx_http_apikeys_body_parse(ngx_http_apikeys_call_t *call, ngx_uint_t max,
    ngx_apikeys_json_t **document)
{
    u_char      *copy;
    ngx_int_t    rc;
    ngx_str_t    text;

    if (ngx_http_apikeys_body_text(call->request, &text, &copy) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_apikeys_json_parse(&text, max, document);

    if (copy) {
        ngx_free(copy);
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_apikeys_output_set_error(call,
                                          NGX_HTTP_APIKEYS_CODE_MALFORMED_JSON,
                                          NULL, NULL);
    }

    return rc;
}


/*
 * The body may be in several buffers, some of them in a temporary file; its
 * size is limited by client_max_body_size.  If it is not in a single buffer,
 * the caller must free "copy".
 */

static ngx_int_t
ngx_http_apikeys_body_text(ngx_http_request_t *r, ngx_str_t *text,
    u_char **copy)
{
    u_char       *p;
    size_t        len;
    ssize_t       n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    *copy = NULL;
    ngx_str_set(text, "");

    if (r->request_body == NULL || r->request_body->bufs == NULL) {
        return NGX_OK;
    }

    cl = r->request_body->bufs;

    if (cl->next == NULL && !cl->buf->in_file) {
        text->data = cl->buf->pos;
        text->len = cl->buf->last - cl->buf->pos;
        return NGX_OK;
    }

    len = 0;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        len += ngx_buf_size(cl->buf);
    }

    p = ngx_alloc(len + 1, r->connection->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    *copy = p;
    text->data = p;
    text->len = len;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        /* the last buffer of a chunked body is empty and has no memory */

        if (ngx_buf_size(b) == 0) {
            continue;
        }

        if (!b->in_file) {
            p = ngx_cpymem(p, b->pos, b->last - b->pos);
            continue;
        }

        len = b->file_last - b->file_pos;

        n = ngx_read_file(b->file, p, len, b->file_pos);

        if (n != (ssize_t) len) {
            ngx_free(*copy);
            return NGX_ERROR;
        }

        p += n;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_apikeys_body_attributes(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *object, const ngx_http_apikeys_attr_t *attrs,
    void *to)
{
    ngx_int_t                       rc;
    ngx_str_t                       name;
    ngx_apikeys_json_t             *value;
    ngx_apikeys_json_iter_t         it;
    const ngx_http_apikeys_attr_t  *attr;

    if (ngx_apikeys_json_type(object) != NGX_APIKEYS_JSON_OBJECT) {
        return ngx_http_apikeys_output_set_error(call,
                                            NGX_HTTP_APIKEYS_CODE_INVALID_JSON,
                                            NULL, NULL);
    }

    ngx_memzero(&it, sizeof(ngx_apikeys_json_iter_t));

    while (ngx_apikeys_json_next(object, &it, &name, &value) == NGX_OK) {

        for (attr = attrs; attr->name; attr++) {
            if (ngx_strlen(attr->name) == name.len
                && ngx_strncmp(attr->name, name.data, name.len) == 0)
            {
                break;
            }
        }

        rc = ngx_http_apikeys_body_attribute(call, attr, &name, value, to);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_body_attribute(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_attr_t *attr, ngx_str_t *name,
    ngx_apikeys_json_t *value, void *to)
{
    ngx_apikeys_json_t  **member;

    if (attr->name == NULL
        || (attr->type == NGX_HTTP_APIKEYS_ATTR_NULL
            && ngx_apikeys_json_type(value) != NGX_APIKEYS_JSON_NULL))
    {
        return ngx_http_apikeys_output_set_error(call,
                                       NGX_HTTP_APIKEYS_CODE_INVALID_ATTRIBUTE,
                                       name, NULL);
    }

    if (attr->type == NGX_HTTP_APIKEYS_ATTR_READ_ONLY) {
        return ngx_http_apikeys_output_set_error(call,
                                     NGX_HTTP_APIKEYS_CODE_ATTRIBUTE_READ_ONLY,
                                     name, NULL);
    }

    if (attr->type == NGX_HTTP_APIKEYS_ATTR_IGNORED
        || (attr->type != NGX_HTTP_APIKEYS_ATTR_TEXT
            && attr->type != NGX_HTTP_APIKEYS_ATTR_FLAG
            && ngx_apikeys_json_type(value) == NGX_APIKEYS_JSON_NULL))
    {
        return NGX_OK;
    }

    if (!ngx_http_apikeys_body_fits(attr->type, value)) {
        return ngx_http_apikeys_output_set_error(call,
                                  NGX_HTTP_APIKEYS_CODE_INVALID_JSON_ATTRIBUTE,
                                  name, NULL);
    }

    member = (ngx_apikeys_json_t **) ((u_char *) to + attr->offset);
    *member = value;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_apikeys_body_fits(ngx_http_apikeys_attr_e type,
    ngx_apikeys_json_t *value)
{
    ngx_uint_t               i;
    ngx_apikeys_json_type_e  is;

    is = ngx_apikeys_json_type(value);

    switch (type) {

    case NGX_HTTP_APIKEYS_ATTR_STRING:
        return is == NGX_APIKEYS_JSON_STRING;

    case NGX_HTTP_APIKEYS_ATTR_TEXT:
        return is == NGX_APIKEYS_JSON_STRING || is == NGX_APIKEYS_JSON_NULL;

    case NGX_HTTP_APIKEYS_ATTR_INTEGER:
        return ngx_apikeys_json_is_integer(value);

    case NGX_HTTP_APIKEYS_ATTR_BOOLEAN:
    case NGX_HTTP_APIKEYS_ATTR_FLAG:
        return is == NGX_APIKEYS_JSON_BOOLEAN;

    case NGX_HTTP_APIKEYS_ATTR_ARRAY:
        return is == NGX_APIKEYS_JSON_ARRAY;

    case NGX_HTTP_APIKEYS_ATTR_OBJECT:
        return is == NGX_APIKEYS_JSON_OBJECT;

    default: /* NGX_HTTP_APIKEYS_ATTR_STRINGS */
        break;
    }

    if (is != NGX_APIKEYS_JSON_ARRAY) {
        return 0;
    }

    for (i = 0; i < ngx_apikeys_json_size(value); i++) {
        is = ngx_apikeys_json_type(ngx_apikeys_json_item(value, i));

        if (is != NGX_APIKEYS_JSON_STRING && is != NGX_APIKEYS_JSON_NULL) {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_http_apikeys_body_roles(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *roles, uint32_t masks[NGX_APIKEYS_SCOPES])
{
    ngx_str_t                  name;
    ngx_uint_t                 i, products;
    ngx_apikeys_json_t        *item;
    const ngx_apikeys_role_t  *role;

    /* the native API takes the roles of all products */

    products = ngx_http_apikeys_native(call) ? NGX_HTTP_APIKEYS_API_ANY
                                             : call->conf->api;

    ngx_memzero(masks, NGX_APIKEYS_SCOPES * sizeof(uint32_t));

    if (roles == NULL) {
        return NGX_OK;
    }

    for (i = 0; i < ngx_apikeys_json_size(roles); i++) {

        item = ngx_apikeys_json_item(roles, i);
        ngx_str_set(&name, "null");

        if (ngx_apikeys_json_type(item) == NGX_APIKEYS_JSON_STRING) {
            ngx_apikeys_json_string(item, &name);
        }

        role = ngx_apikeys_role_find(&name);

        if (role == NULL) {
            return ngx_http_apikeys_output_set_error(call,
                                      NGX_HTTP_APIKEYS_CODE_INVALID_ENUM_VALUE,
                                      &name, NULL);
        }

        if (!(role->products & products)) {
            return ngx_http_apikeys_output_set_error(call,
                                        NGX_HTTP_APIKEYS_CODE_UNSUPPORTED_ROLE,
                                        NULL, NULL);
        }

        masks[role->scope] |= role->mask;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_apikeys_body_desc(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *desc, ngx_str_t *text)
{
    static ngx_str_t  max = ngx_string("250");

    ngx_str_null(text);

    if (desc && ngx_apikeys_json_type(desc) == NGX_APIKEYS_JSON_STRING) {
        ngx_apikeys_json_string(desc, text);
    }

    if (text->len == 0) {
        return ngx_http_apikeys_output_set_error(call,
                                    NGX_HTTP_APIKEYS_CODE_REQUIRES_DESCRIPTION,
                                    NULL, NULL);
    }

    if (ngx_utf8_length(text->data, text->len)
        > NGX_HTTP_APIKEYS_BODY_MAX_DESC)
    {
        return ngx_http_apikeys_output_set_error(call,
                                            NGX_HTTP_APIKEYS_CODE_INVALID_DESC,
                                            &max, NULL);
    }

    return ngx_http_apikeys_body_copy(call, text);
}


ngx_int_t
ngx_http_apikeys_body_name(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *name, ngx_http_apikeys_code_e invalid,
    ngx_str_t *text)
{
    u_char            *p;
    static ngx_str_t   attribute = ngx_string("name");

    if (name == NULL) {
        return ngx_http_apikeys_output_set_error(call,
                                  NGX_HTTP_APIKEYS_CODE_INVALID_JSON_ATTRIBUTE,
                                  &attribute, NULL);
    }

    ngx_apikeys_json_string(name, text);

    for (p = text->data; p < text->data + text->len; p++) {
        if (*p < 0x20 || *p == 0x7f) {
            break;
        }
    }

    if (text->len == 0 || p < text->data + text->len
        || ngx_utf8_length(text->data, text->len)
           > NGX_HTTP_APIKEYS_BODY_MAX_NAME)
    {
        return ngx_http_apikeys_output_set_error(call, invalid,
                            invalid == NGX_HTTP_APIKEYS_CODE_INVALID_GROUP_NAME
                                 ? text : &attribute, NULL);
    }

    return ngx_http_apikeys_body_copy(call, text);
}


ngx_int_t
ngx_http_apikeys_body_end(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *expires)
{
    time_t                  t;
    ngx_str_t               text;
    static const ngx_str_t  name = ngx_string("expiresAt");

    if (ngx_apikeys_json_type(expires) == NGX_APIKEYS_JSON_NULL) {
        return NGX_OK;
    }

    ngx_apikeys_json_string(expires, &text);

    if (ngx_http_apikeys_date_parse_utc(&text, &t) != NGX_OK) {
        return ngx_http_apikeys_output_set_error(call,
                                       NGX_HTTP_APIKEYS_CODE_INVALID_ATTRIBUTE,
                                       &name, NULL);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_apikeys_body_copy(ngx_http_apikeys_call_t *call, ngx_str_t *text)
{
    text->data = ngx_pstrdup(call->request->pool, text);

    return text->data ? NGX_OK : NGX_ERROR;
}
