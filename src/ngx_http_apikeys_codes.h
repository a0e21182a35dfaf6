
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Every error that the administration API answers with: symbolic code, HTTP
 * status, text (atlas-api 4.2, 5.2, 10.2, 10.3).  One table.
 */


#ifndef _NGX_HTTP_APIKEYS_CODES_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_CODES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* in the order of the table */
typedef enum {
    /* 400 */
    NGX_HTTP_APIKEYS_BAD_REQUEST = 0,
    NGX_HTTP_APIKEYS_MALFORMED_JSON,
    NGX_HTTP_APIKEYS_INVALID_JSON,
    NGX_HTTP_APIKEYS_INVALID_JSON_ATTRIBUTE,
    NGX_HTTP_APIKEYS_INVALID_ATTRIBUTE,
    NGX_HTTP_APIKEYS_ATTRIBUTE_READ_ONLY,
    NGX_HTTP_APIKEYS_MISSING_ONE_OF_ATTRIBUTES,
    NGX_HTTP_APIKEYS_INVALID_ENUM_VALUE,
    NGX_HTTP_APIKEYS_PATH_PARAM_PARSE_ERROR,
    NGX_HTTP_APIKEYS_INVALID_QUERY_PARAMETER,
    NGX_HTTP_APIKEYS_REQUIRES_DESCRIPTION,
    NGX_HTTP_APIKEYS_INVALID_DESC,
    NGX_HTTP_APIKEYS_MISSING_ROLES,
    NGX_HTTP_APIKEYS_UNSUPPORTED_ROLE,
    NGX_HTTP_APIKEYS_CANNOT_ADD_GROUP_ROLE,
    NGX_HTTP_APIKEYS_CANNOT_ADD_ORG_ROLE,
    NGX_HTTP_APIKEYS_MAX_KEYS,
    NGX_HTTP_APIKEYS_MAX_PROJECTS,
    NGX_HTTP_APIKEYS_MAX_ASSIGNMENTS,
    NGX_HTTP_APIKEYS_ALREADY_IN_GROUP,
    NGX_HTTP_APIKEYS_KEY_NOT_FOUND,
    NGX_HTTP_APIKEYS_KEY_NOT_FOUND_V2,
    NGX_HTTP_APIKEYS_INVALID_ADDRESS,
    NGX_HTTP_APIKEYS_INVALID_CIDR_BLOCK,
    NGX_HTTP_APIKEYS_MAX_ENTRIES,
    NGX_HTTP_APIKEYS_MAX_ORG_ENTRIES,
    NGX_HTTP_APIKEYS_BAD_ADD_REQUEST,
    NGX_HTTP_APIKEYS_BAD_ADD_REQUEST_WHITELIST,
    NGX_HTTP_APIKEYS_CANNOT_ADD_ADDRESS,
    NGX_HTTP_APIKEYS_CANNOT_ADD_ADDRESS_WHITELIST,
    NGX_HTTP_APIKEYS_DUPLICATE_ADDRESSES,
    NGX_HTTP_APIKEYS_DUPLICATE_ADDRESSES_WHITELIST,
    NGX_HTTP_APIKEYS_CANNOT_REMOVE_CALLER,
    NGX_HTTP_APIKEYS_CANNOT_REMOVE_CALLER_WHITELIST,

    /* 401 */
    NGX_HTTP_APIKEYS_USER_UNAUTHORIZED,
    NGX_HTTP_APIKEYS_LIST_DENIED,
    NGX_HTTP_APIKEYS_LIST_DENIED_WHITELIST,

    /* 403 */
    NGX_HTTP_APIKEYS_ADDRESS_NOT_ON_LIST,
    NGX_HTTP_APIKEYS_ORG_REQUIRES_LIST,
    NGX_HTTP_APIKEYS_ACCESS_FORBIDDEN,
    NGX_HTTP_APIKEYS_CANNOT_DELETE_LAST_OWNER,
    NGX_HTTP_APIKEYS_CANNOT_DEMOTE_LAST_OWNER,
    NGX_HTTP_APIKEYS_CANNOT_CREATE_ORG,

    /* 404 */
    NGX_HTTP_APIKEYS_ORG_NOT_FOUND,
    NGX_HTTP_APIKEYS_GROUP_NOT_FOUND,
    NGX_HTTP_APIKEYS_RESOURCE_NOT_FOUND,
    NGX_HTTP_APIKEYS_ENTRY_NOT_FOUND,
    NGX_HTTP_APIKEYS_ENTRY_NOT_FOUND_WHITELIST,

    /* the rest */
    NGX_HTTP_APIKEYS_METHOD_NOT_ALLOWED,
    NGX_HTTP_APIKEYS_NOT_ACCEPTABLE,
    NGX_HTTP_APIKEYS_ADDRESS_EXISTS,
    NGX_HTTP_APIKEYS_ADDRESS_EXISTS_WHITELIST,
    NGX_HTTP_APIKEYS_REQUEST_TOO_LARGE,
    NGX_HTTP_APIKEYS_UNSUPPORTED_MEDIA_TYPE,
    NGX_HTTP_APIKEYS_UNEXPECTED_ERROR,
    NGX_HTTP_APIKEYS_SERVICE_UNAVAILABLE,
    NGX_HTTP_APIKEYS_OUTCOME_UNKNOWN
} ngx_http_apikeys_code_e;


/* when the next row of the table is to be taken instead */
typedef enum {
    NGX_HTTP_APIKEYS_SAME = 0,
    NGX_HTTP_APIKEYS_NEXT_ON_WHITELIST,
    NGX_HTTP_APIKEYS_NEXT_ON_V2
} ngx_http_apikeys_next_e;


typedef struct {
    ngx_uint_t               status;
    ngx_str_t                name;
    ngx_str_t                text;    /* each "%s" is the next parameter, a
                                         "%d" one that is shown as a number,
                                         a "%-" one not shown in the text */
    ngx_http_apikeys_next_e  next;
} ngx_http_apikeys_code_t;


const ngx_http_apikeys_code_t *ngx_http_apikeys_code(
    ngx_http_apikeys_code_e code);

/* the reason phrase of a status; "" when it is none that we answer with */
const ngx_str_t *ngx_http_apikeys_code_reason(ngx_uint_t status);

/* the code of an error that nginx raised by itself */
ngx_http_apikeys_code_e ngx_http_apikeys_code_status(ngx_uint_t status);


#endif /* _NGX_HTTP_APIKEYS_CODES_H_INCLUDED_ */
