
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The JSON body of a call: parses it, and takes the attributes of an object by
 * a table.  A refusal is set in call, and the function returns NGX_DECLINED.
 */


#ifndef _NGX_HTTP_APIKEYS_BODY_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_BODY_H_INCLUDED_


#include <ngx_apikeys_roles.h>
#include <ngx_http_apikeys_call.h>


typedef enum {
    NGX_HTTP_APIKEYS_ATTR_STRING = 0,
    NGX_HTTP_APIKEYS_ATTR_TEXT,         /* a string or null, which is not the
                                           same as absent */
    NGX_HTTP_APIKEYS_ATTR_STRINGS,      /* an array of strings and nulls */
    NGX_HTTP_APIKEYS_ATTR_ARRAY,        /* of anything */
    NGX_HTTP_APIKEYS_ATTR_INTEGER,
    NGX_HTTP_APIKEYS_ATTR_BOOLEAN,
    NGX_HTTP_APIKEYS_ATTR_FLAG,         /* a boolean, never null */
    NGX_HTTP_APIKEYS_ATTR_OBJECT,
    NGX_HTTP_APIKEYS_ATTR_IGNORED,      /* accepted with any type and ignored */
    NGX_HTTP_APIKEYS_ATTR_NULL,         /* accepted if null, else unknown */
    NGX_HTTP_APIKEYS_ATTR_READ_ONLY
} ngx_http_apikeys_attr_e;


/*
 * an attribute that is null counts as absent, except ATTR_TEXT and ATTR_FLAG
 */
typedef struct {
    const char               *name;     /* NULL ends a table */
    ngx_http_apikeys_attr_e   type;
    size_t                    offset;   /* of the ngx_apikeys_json_t * that is
                                           set if the attribute is present */
} ngx_http_apikeys_attr_t;


/*
 * the largest number of JSON values in a body: of an object, and of a list of
 * 10,000 entries
 */
#define NGX_HTTP_APIKEYS_BODY_OBJECT   4000
#define NGX_HTTP_APIKEYS_BODY_LIST     60000

/* entries of an access list in one call of the native API */
#define NGX_HTTP_APIKEYS_BODY_MAX_ENTRIES  200

/*
 * Parses r->request_body.  A request that waits must not hold the memory of
 * the document and its text: copy what is needed, and free the document before
 * the event handler returns.
 */
ngx_int_t ngx_http_apikeys_body_parse(ngx_http_apikeys_call_t *call,
    ngx_uint_t max, ngx_apikeys_json_t **document);

/*
 * Stores the attributes of an object in the zeroed structure "to".  Refuses a
 * value that is not an object, unknown attributes, and wrong types.
 */
ngx_int_t ngx_http_apikeys_body_attributes(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *object, const ngx_http_apikeys_attr_t *attrs,
    void *to);

/*
 * The roles in an array of strings (NULL: none) as masks by scope.  Refuses
 * unknown names and those that the product of this API does not have.
 */
ngx_int_t ngx_http_apikeys_body_roles(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *roles, uint32_t masks[NGX_APIKEYS_SCOPES]);

/* a key's description, copied: not NULL or empty, at most 250 characters */
ngx_int_t ngx_http_apikeys_body_desc(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *desc, ngx_str_t *text);

/*
 * The name of an organization or project, copied: 1 to 64 characters, none of
 * them a control character.  An invalid name is refused with the code
 * "invalid", an absent one with NGX_HTTP_APIKEYS_CODE_INVALID_JSON_ATTRIBUTE.
 */
ngx_int_t ngx_http_apikeys_body_name(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *name, ngx_http_apikeys_code_e invalid,
    ngx_str_t *text);

/*
 * Checks "expiresAt" of a body, which is a string or null: a time in the one
 * form of the native API.  The database compares it with its clock.
 */
ngx_int_t ngx_http_apikeys_body_end(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *expires);

/* copies a text out of the document, which is freed earlier */
ngx_int_t ngx_http_apikeys_body_copy(ngx_http_apikeys_call_t *call,
    ngx_str_t *text);


#endif /* _NGX_HTTP_APIKEYS_BODY_H_INCLUDED_ */
