
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The JSON body of a call: reading it, and taking an object's attributes by
 * a table.  Refusals are noted in ctx (NGX_DECLINED).
 */


#ifndef _NGX_HTTP_APIKEYS_BODY_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_BODY_H_INCLUDED_


#include <ngx_apikeys_roles.h>
#include <ngx_http_apikeys.h>


typedef enum {
    NGX_HTTP_APIKEYS_ATTR_STRING = 0,
    NGX_HTTP_APIKEYS_ATTR_TEXT,         /* a string, or null, which is kept */
    NGX_HTTP_APIKEYS_ATTR_STRINGS,      /* an array of strings and nulls */
    NGX_HTTP_APIKEYS_ATTR_ARRAY,        /* of anything */
    NGX_HTTP_APIKEYS_ATTR_BOOLEAN,
    NGX_HTTP_APIKEYS_ATTR_FLAG,         /* the same, and never null */
    NGX_HTTP_APIKEYS_ATTR_OBJECT,
    NGX_HTTP_APIKEYS_ATTR_IGNORED,      /* of any type */
    NGX_HTTP_APIKEYS_ATTR_NULL,         /* unknown where it is not null */
    NGX_HTTP_APIKEYS_ATTR_READ_ONLY
} ngx_http_apikeys_attr_e;


/* an attribute that is null counts as absent, but for ATTR_TEXT, ATTR_FLAG */
typedef struct {
    const char               *name;     /* NULL ends a table */
    ngx_http_apikeys_attr_e   type;
    size_t                    offset;   /* of an ngx_apikeys_json_t * that is
                                           set when it is there */
} ngx_http_apikeys_attr_t;


/* values of a body, at most: of an object, and of a list of 10,000 entries */
#define NGX_HTTP_APIKEYS_BODY_OBJECT   4000
#define NGX_HTTP_APIKEYS_BODY_LIST     60000

/*
 * All of r->request_body, parsed.  The document and its text take memory that
 * a request which waits must not hold: what is needed is copied out and the
 * document freed before the event ends.
 */
ngx_int_t ngx_http_apikeys_body_parse(ngx_http_apikeys_ctx_t *ctx,
    ngx_uint_t max, ngx_apikeys_json_t **document);

/*
 * Takes the attributes of an object into the zeroed structure "to".  Refuses
 * a value that is no object, unknown attributes, and wrong types.
 */
ngx_int_t ngx_http_apikeys_body_attributes(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *object, const ngx_http_apikeys_attr_t *attrs,
    void *to);

/*
 * Roles named in an array of strings, or none when it is NULL: masks by
 * scope.  Refuses unknown names and those that the product of this API does
 * not have.
 */
ngx_int_t ngx_http_apikeys_body_roles(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *roles, uint32_t masks[NGX_APIKEYS_SCOPES]);

/* a key's description, copied: not NULL or empty, at most 250 characters */
ngx_int_t ngx_http_apikeys_body_desc(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *desc, ngx_str_t *text);

/*
 * The name of an organization or project, copied: 1 to 64 characters, none of
 * them a control character.  "invalid" is the code of the refusal, which has
 * the name itself or else the attribute's as its parameter; where there is no
 * name it is NGX_HTTP_APIKEYS_INVALID_JSON_ATTRIBUTE.
 */
ngx_int_t ngx_http_apikeys_body_name(ngx_http_apikeys_ctx_t *ctx,
    ngx_apikeys_json_t *name, ngx_http_apikeys_code_e invalid,
    ngx_str_t *text);

/* out of the document, which does not live as long */
ngx_int_t ngx_http_apikeys_body_copy(ngx_http_apikeys_ctx_t *ctx,
    ngx_str_t *text);


#endif /* _NGX_HTTP_APIKEYS_BODY_H_INCLUDED_ */
