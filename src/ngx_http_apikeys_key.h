
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The key object (atlas-api 2.0): as a row, as JSON, and how a new one is
 * made.  Shared by the resources that answer with keys.
 */


#ifndef _NGX_HTTP_APIKEYS_KEY_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_KEY_H_INCLUDED_


#include <ngx_apikeys_state.h>
#include <ngx_http_apikeys.h>


/* a new key, before it is stored; all texts live in r->pool */
typedef struct {
    ngx_str_t    id;
    ngx_str_t    public_key;
    ngx_str_t    private_key;   /* shown once, kept nowhere */
    ngx_str_t    secret;        /* sealed, in hex digits */
    ngx_str_t    redacted;      /* the tail of the private key */

    /* how it is stored: see ngx_http_apikeys_key_create() */
    const ngx_apikeys_pg_stmt_t  *stmt;
    ngx_str_t                    *params;
    ngx_uint_t                    at;
    ngx_http_apikeys_handler_pt   done;
} ngx_http_apikeys_new_key_t;


/* what a body says of a key; the members are valid while the body is */
typedef struct {
    ngx_apikeys_json_t  *desc;
    ngx_apikeys_json_t  *roles;
} ngx_http_apikeys_key_body_t;


/* takes the attributes of a key, new or to be changed, out of an object */
ngx_int_t ngx_http_apikeys_key_body(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *object, ngx_http_apikeys_key_body_t *body);

/* the same of ctx->body, for a change: one of them must be there */
ngx_int_t ngx_http_apikeys_key_body_change(ngx_http_apikeys_ctx_t *ctx,
    ngx_http_apikeys_key_body_t *body);

/*
 * Makes a key, sealed for the organization ctx->org_id, as ctx->data, and runs
 * a mutation with its id, public key, secret and redacted tail in four
 * parameters from "at" on.  Eight letters may be taken: then another key,
 * once.
 */
ngx_int_t ngx_http_apikeys_key_create(ngx_http_apikeys_ctx_t *ctx,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params, ngx_uint_t at,
    ngx_http_apikeys_handler_pt done);

/* a "done" step of it that answers with the key of the first row */
ngx_int_t ngx_http_apikeys_key_answer_created(ngx_http_apikeys_ctx_t *ctx);

/* a body's "roles" as a parameter: of the organisation, at least one */
ngx_int_t ngx_http_apikeys_key_org_roles(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *roles, ngx_str_t *param);

/* the key of a row; private_key: NULL shows the redacted one */
void ngx_http_apikeys_key_write(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_out_t *out, ngx_uint_t row,
    const ngx_str_t *private_key);

/* a "done" step that answers with the key of the first row, redacted */
ngx_int_t ngx_http_apikeys_key_answer(ngx_http_apikeys_ctx_t *ctx);

/* the key of an id, as ctx->reread */
extern const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_key_stmt;

/*
 * The "done" step of a list of keys: rows as above and in the column NEXT the
 * size of the whole set; an empty page is one row without a key.  "path" is
 * the resource, without the base.
 */
ngx_int_t ngx_http_apikeys_key_answer_list(ngx_http_apikeys_ctx_t *ctx,
    const ngx_str_t *path);

/* the member "roles": of the organisation first, then of projects by id */
void ngx_http_apikeys_key_write_roles(ngx_apikeys_json_out_t *out,
    const ngx_str_t *org, const ngx_str_t *roles, const ngx_str_t *projects);


#endif /* _NGX_HTTP_APIKEYS_KEY_H_INCLUDED_ */
