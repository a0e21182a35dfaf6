
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * apikeys_require: the roles that a key must have in a location.
 */


#ifndef _NGX_HTTP_APIKEYS_REQUIRE_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_REQUIRE_H_INCLUDED_


#include <ngx_http_apikeys.h>


/* the directive's setter: adds a line to alcf->require */
char *ngx_http_apikeys_require(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Merges apikeys_require and apikeys_auth, and refuses an apikeys_require in a
 * location without authentication, where it would not be evaluated.
 */
char *ngx_http_apikeys_require_merge(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *prev, ngx_http_apikeys_loc_conf_t *conf);
/* the same check for the http block, which has no outer block */
char *ngx_http_apikeys_require_check(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *conf);

/*
 * Checks every line that applies to the method: ALLOW; ROLE; NOT_LOADED, the
 * local copy is incomplete; ERROR.
 */
ngx_http_apikeys_decision_e ngx_http_apikeys_require_decide(
    ngx_http_request_t *r, ngx_array_t *lines,
    ngx_http_apikeys_identity_t *identity);

/*
 * The decision by a line with "project=" and "role=", either of which may be
 * NULL; a role that does not exist is never met.  Call it in a read section.
 */
ngx_http_apikeys_decision_e ngx_http_apikeys_require_judge(
    ngx_http_request_t *r, const ngx_apikeys_objectid_t *project,
    const ngx_str_t *roles, ngx_http_apikeys_identity_t *identity);


#endif /* _NGX_HTTP_APIKEYS_REQUIRE_H_INCLUDED_ */
