
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * apikeys_require: what a key must have to enter a location.
 */


#ifndef _NGX_HTTP_APIKEYS_REQUIRE_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_REQUIRE_H_INCLUDED_


#include <ngx_http_apikeys.h>


/* the directive's setter: adds a line to alcf->require */
char *ngx_http_apikeys_require(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Merges what apikeys_require and apikeys_auth say, and refuses lines that
 * demand nothing because nobody is asked for a key.
 */
char *ngx_http_apikeys_require_merge(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *prev, ngx_http_apikeys_loc_conf_t *conf);
/* the same for the http block, which is merged with nothing */
char *ngx_http_apikeys_require_check(ngx_conf_t *cf,
    ngx_http_apikeys_loc_conf_t *conf);

/*
 * Whether every line whose method fits holds for an identity: ALLOW, ROLE,
 * NOT_LOADED when the local copy cannot tell, ERROR.
 */
ngx_http_apikeys_decision_e ngx_http_apikeys_require_judge(
    ngx_http_request_t *r, ngx_array_t *lines,
    ngx_http_apikeys_identity_t *identity);


#endif /* _NGX_HTTP_APIKEYS_REQUIRE_H_INCLUDED_ */
