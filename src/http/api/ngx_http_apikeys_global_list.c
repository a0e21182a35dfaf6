
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The access list of global keys.  A change of the list changes every global
 * key: these are what the mutation returns and what is published.  The entry
 * is read for the response afterwards.
 */


#include <ngx_http_apikeys_body.h>
#include <ngx_http_apikeys_output.h>
#include <ngx_http_apikeys_resources.h>
#include <ngx_http_apikeys_page.h>
#include <ngx_http_apikeys_run.h>


#define NGX_HTTP_APIKEYS_GLOBAL_LIST_MAX_DESC  250


typedef struct {
    ngx_apikeys_json_t  *block;
    ngx_apikeys_json_t  *desc;
} ngx_http_apikeys_global_list_body_t;


static void ngx_http_apikeys_global_list_write_listed(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_out_t *out,
    ngx_uint_t row);
static ngx_int_t ngx_http_apikeys_global_list_get_done(
    ngx_http_apikeys_call_t *call);
static ngx_int_t ngx_http_apikeys_global_list_changed(
    ngx_http_apikeys_call_t *call);
static void ngx_http_apikeys_global_list_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, ngx_uint_t single);
static ngx_int_t ngx_http_apikeys_global_list_body(
    ngx_http_apikeys_call_t *call, ngx_http_apikeys_global_list_body_t *body,
    ngx_str_t *params);
static ngx_int_t ngx_http_apikeys_global_list_block(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_t *block,
    ngx_str_t *param);
static ngx_int_t ngx_http_apikeys_global_list_desc(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_t *desc, ngx_str_t *param);


/* the columns of a result */
enum {
    NGX_HTTP_APIKEYS_GLOBAL_LIST_ID = 0,
    NGX_HTTP_APIKEYS_GLOBAL_LIST_BLOCK,
    NGX_HTTP_APIKEYS_GLOBAL_LIST_DESC,
    NGX_HTTP_APIKEYS_GLOBAL_LIST_CREATED,
    NGX_HTTP_APIKEYS_GLOBAL_LIST_UPDATED,
    NGX_HTTP_APIKEYS_GLOBAL_LIST_TOTAL
};

/* parameters of the mutations below; DELETE has the id alone */
enum {
    NGX_HTTP_APIKEYS_GLOBAL_LIST_PARAM_ID = NGX_HTTP_APIKEYS_PARAM_OWN,
    NGX_HTTP_APIKEYS_GLOBAL_LIST_DELETE_NPARAMS,
    NGX_HTTP_APIKEYS_GLOBAL_LIST_PARAM_BLOCK =
        NGX_HTTP_APIKEYS_GLOBAL_LIST_DELETE_NPARAMS,
    NGX_HTTP_APIKEYS_GLOBAL_LIST_PARAM_DESC,
    NGX_HTTP_APIKEYS_GLOBAL_LIST_NPARAMS
};

#define NGX_HTTP_APIKEYS_GLOBAL_LIST_COLUMNS                                 \
    "id, text(cidr), descr, apikeys.utc(created), apikeys.utc(updated)"


static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_global_list_list_stmt = {
    "apikeys_global_list",
    "SELECT " NGX_HTTP_APIKEYS_GLOBAL_LIST_COLUMNS ", total"
    "  FROM (SELECT count(*) AS total FROM apikeys.global_access_list) t"
    "  LEFT JOIN (SELECT * FROM apikeys.global_access_list"
    "              ORDER BY text(cidr) COLLATE \"C\""
    "              LIMIT $1 OFFSET $2) e ON true"
    " ORDER BY text(cidr) COLLATE \"C\"",
    NGX_HTTP_APIKEYS_PAGE_NPARAMS, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_global_list_get_stmt = {
    "apikeys_global_list_entry",
    "SELECT " NGX_HTTP_APIKEYS_GLOBAL_LIST_COLUMNS
    "  FROM apikeys.global_access_list WHERE id = $1",
    1, 0
};

static const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_global_list_add_stmt = {
    "apikeys_global_list_add",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "add_global_entry($1, $2, $3, $4, $5, $6, $7, $8) s",
    NGX_HTTP_APIKEYS_GLOBAL_LIST_NPARAMS, 1
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_global_list_update_stmt =
{
    "apikeys_global_list_update",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "update_global_entry($1, $2, $3, $4, $5, $6, $7, $8) s",
    NGX_HTTP_APIKEYS_GLOBAL_LIST_NPARAMS, 1
};

static const ngx_apikeys_pg_stmt_t
    ngx_http_apikeys_global_list_delete_stmt =
{
    "apikeys_global_list_delete",
    NGX_HTTP_APIKEYS_RUN_MUTATION
    "delete_global_entry($1, $2, $3, $4, $5, $6) s",
    NGX_HTTP_APIKEYS_GLOBAL_LIST_DELETE_NPARAMS, 1
};


static const ngx_http_apikeys_attr_t  ngx_http_apikeys_global_list_attrs[] = {

    { "cidrBlock", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_global_list_body_t, block) },
    { "description", NGX_HTTP_APIKEYS_ATTR_STRING,
      offsetof(ngx_http_apikeys_global_list_body_t, desc) },
    { "id", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "type", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "created", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { "updated", NGX_HTTP_APIKEYS_ATTR_READ_ONLY, 0 },
    { NULL, 0, 0 }
};


static const ngx_http_apikeys_page_t  ngx_http_apikeys_global_list_page = {
    .total = NGX_HTTP_APIKEYS_GLOBAL_LIST_TOTAL,
    .id = NGX_HTTP_APIKEYS_GLOBAL_LIST_ID,
    .write = ngx_http_apikeys_global_list_write_listed
};


ngx_int_t
ngx_http_apikeys_global_list_list(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_page_params(call,
                                      &ngx_http_apikeys_global_list_list_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_apikeys_page_run(call,
                                     &ngx_http_apikeys_global_list_list_stmt,
                                     params,
                                     &ngx_http_apikeys_global_list_page);
}


static void
ngx_http_apikeys_global_list_write_listed(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row)
{
    ngx_http_apikeys_global_list_write(call, out, row, 0);
}


ngx_int_t
ngx_http_apikeys_global_list_get(ngx_http_apikeys_call_t *call)
{
    return ngx_http_apikeys_run(call, &ngx_http_apikeys_global_list_get_stmt,
                                &call->item,
                                ngx_http_apikeys_global_list_get_done);
}


static ngx_int_t
ngx_http_apikeys_global_list_get_done(ngx_http_apikeys_call_t *call)
{
    ngx_apikeys_json_out_t  out;

    if (ngx_apikeys_pg_query_nrows(call->query) == 0) {
        return ngx_http_apikeys_output_set_error(call,
                                  NGX_HTTP_APIKEYS_CODE_GLOBAL_ENTRY_NOT_FOUND,
                                  &call->item, NULL);
    }

    ngx_http_apikeys_output_begin(call, &out, NGX_HTTP_OK);
    ngx_http_apikeys_global_list_write(call, &out, 0, 1);

    return ngx_http_apikeys_output_send(call, &out, NGX_HTTP_OK);
}


static ngx_int_t
ngx_http_apikeys_global_list_changed(ngx_http_apikeys_call_t *call)
{
    if (call->query) {
        ngx_apikeys_pg_query_cancel(call->query);
        call->query = NULL;
    }

    return ngx_http_apikeys_global_list_get(call);
}


static void
ngx_http_apikeys_global_list_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row, ngx_uint_t single)
{
    ngx_str_t               id, block, desc, created, updated;
    static const ngx_str_t  type = ngx_string("GLOBAL_ROLE");

    (void) ngx_apikeys_pg_query_value(call->query, row,
                                      NGX_HTTP_APIKEYS_GLOBAL_LIST_ID, &id);
    (void) ngx_apikeys_pg_query_value(call->query, row,
                                      NGX_HTTP_APIKEYS_GLOBAL_LIST_BLOCK,
                                      &block);
    (void) ngx_apikeys_pg_query_value(call->query, row,
                                      NGX_HTTP_APIKEYS_GLOBAL_LIST_DESC,
                                      &desc);
    (void) ngx_apikeys_pg_query_value(call->query, row,
                                      NGX_HTTP_APIKEYS_GLOBAL_LIST_CREATED,
                                      &created);
    (void) ngx_apikeys_pg_query_value(call->query, row,
                                      NGX_HTTP_APIKEYS_GLOBAL_LIST_UPDATED,
                                      &updated);

    ngx_apikeys_json_out_object(out);

    ngx_apikeys_json_out_member(out, "cidrBlock", &block);
    ngx_apikeys_json_out_member(out, "created", &created);
    ngx_apikeys_json_out_member(out, "description", &desc);

    if (single) {
        ngx_apikeys_json_out_name(out, "expires");
        ngx_apikeys_json_out_null(out);
    }

    ngx_apikeys_json_out_member(out, "id", &id);

    if (single) {
        ngx_apikeys_json_out_name(out, "lastUsed");
        ngx_apikeys_json_out_null(out);
    }

    ngx_apikeys_json_out_member(out, "type", &type);
    ngx_apikeys_json_out_member(out, "updated", &updated);

    ngx_apikeys_json_out_object_end(out);
}


ngx_int_t
ngx_http_apikeys_global_list_add(ngx_http_apikeys_call_t *call)
{
    u_char                               *p;
    ngx_int_t                             rc;
    ngx_str_t                            *params;
    ngx_apikeys_objectid_t                id;
    ngx_http_apikeys_global_list_body_t   body;

    params = ngx_http_apikeys_run_params(call,
                                       &ngx_http_apikeys_global_list_add_stmt);
    p = ngx_pnalloc(call->request->pool, NGX_APIKEYS_OBJECTID_TEXT_LEN);

    if (params == NULL || p == NULL
        || ngx_apikeys_objectid_generate(&id) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_apikeys_global_list_body(call, &body, params);
    if (rc != NGX_OK) {
        return rc;
    }

    if (body.block == NULL) {
        return ngx_http_apikeys_output_set_error(call,
                             NGX_HTTP_APIKEYS_CODE_GLOBAL_ENTRY_REQUIRES_BLOCK,
                             NULL, NULL);
    }

    if (body.desc == NULL) {
        return ngx_http_apikeys_output_set_error(call,
                              NGX_HTTP_APIKEYS_CODE_GLOBAL_ENTRY_REQUIRES_DESC,
                              NULL, NULL);
    }

    call->item.data = p;
    call->item.len = ngx_apikeys_objectid_write(p, &id) - p;

    params[NGX_HTTP_APIKEYS_GLOBAL_LIST_PARAM_ID] = call->item;

    return ngx_http_apikeys_run(call, &ngx_http_apikeys_global_list_add_stmt,
                                params, ngx_http_apikeys_global_list_changed);
}


ngx_int_t
ngx_http_apikeys_global_list_update(ngx_http_apikeys_call_t *call)
{
    ngx_int_t                             rc;
    ngx_str_t                            *params;
    ngx_http_apikeys_global_list_body_t   body;

    params = ngx_http_apikeys_run_params(call,
                                    &ngx_http_apikeys_global_list_update_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_apikeys_global_list_body(call, &body, params);
    if (rc != NGX_OK) {
        return rc;
    }

    if (body.block == NULL && body.desc == NULL) {
        return ngx_http_apikeys_output_set_error(call,
                                        NGX_HTTP_APIKEYS_CODE_NO_BLOCK_OR_DESC,
                                        NULL, NULL);
    }

    params[NGX_HTTP_APIKEYS_GLOBAL_LIST_PARAM_ID] = call->item;

    return ngx_http_apikeys_run(call,
                                &ngx_http_apikeys_global_list_update_stmt,
                                params, ngx_http_apikeys_global_list_changed);
}


/* the block and the description, if the body has them */

static ngx_int_t
ngx_http_apikeys_global_list_body(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_global_list_body_t *body, ngx_str_t *params)
{
    ngx_int_t  rc;

    ngx_memzero(body, sizeof(ngx_http_apikeys_global_list_body_t));

    rc = ngx_http_apikeys_body_attributes(call, call->body,
                                          ngx_http_apikeys_global_list_attrs,
                                          body);

    if (rc == NGX_OK && body->block) {
        rc = ngx_http_apikeys_global_list_block(call, body->block,
                           &params[NGX_HTTP_APIKEYS_GLOBAL_LIST_PARAM_BLOCK]);
    }

    if (rc == NGX_OK && body->desc) {
        rc = ngx_http_apikeys_global_list_desc(call, body->desc,
                            &params[NGX_HTTP_APIKEYS_GLOBAL_LIST_PARAM_DESC]);
    }

    return rc;
}


static ngx_int_t
ngx_http_apikeys_global_list_block(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *block, ngx_str_t *param)
{
    u_char              *p;
    ngx_str_t            text;
    ngx_apikeys_cidr_t   cidr;

    ngx_apikeys_json_string(block, &text);

    if (text.len == 0) {
        return ngx_http_apikeys_output_set_error(call,
                             NGX_HTTP_APIKEYS_CODE_GLOBAL_ENTRY_REQUIRES_BLOCK,
                             NULL, NULL);
    }

    if (ngx_apikeys_cidr_parse_block(&cidr, &text) != NGX_OK) {
        return ngx_http_apikeys_output_set_error(call,
                                      NGX_HTTP_APIKEYS_CODE_INVALID_CIDR_BLOCK,
                                      &text, NULL);
    }

    if (ngx_apikeys_cidr_refused(&cidr)) {
        return ngx_http_apikeys_output_set_error(call,
                                      NGX_HTTP_APIKEYS_CODE_CANNOT_ADD_ADDRESS,
                                      &text, NULL);
    }

    p = ngx_pnalloc(call->request->pool, NGX_APIKEYS_CIDR_TEXT_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    param->data = p;
    param->len = ngx_apikeys_cidr_write_block(p, &cidr) - p;

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_global_list_desc(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *desc, ngx_str_t *param)
{
    static const ngx_str_t  max = ngx_string("250");

    ngx_apikeys_json_string(desc, param);

    if (param->len == 0) {
        return ngx_http_apikeys_output_set_error(call,
                              NGX_HTTP_APIKEYS_CODE_GLOBAL_ENTRY_REQUIRES_DESC,
                              NULL, NULL);
    }

    if (ngx_utf8_length(param->data, param->len)
        > NGX_HTTP_APIKEYS_GLOBAL_LIST_MAX_DESC)
    {
        return ngx_http_apikeys_output_set_error(call,
                                     NGX_HTTP_APIKEYS_CODE_INVALID_GLOBAL_DESC,
                                     &max, NULL);
    }

    return ngx_http_apikeys_body_copy(call, param);
}


ngx_int_t
ngx_http_apikeys_global_list_delete(ngx_http_apikeys_call_t *call)
{
    ngx_str_t  *params;

    params = ngx_http_apikeys_run_params(call,
                                    &ngx_http_apikeys_global_list_delete_stmt);
    if (params == NULL) {
        return NGX_ERROR;
    }

    params[NGX_HTTP_APIKEYS_GLOBAL_LIST_PARAM_ID] = call->item;

    return ngx_http_apikeys_run(call,
                                &ngx_http_apikeys_global_list_delete_stmt,
                                params, ngx_http_apikeys_output_no_content);
}
