
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Logs why requests and calls of the administration API get 503: as [error]
 * when this begins and once a minute while it lasts, as [notice] when it ends.
 * All workers of a node count as one.
 */


#ifndef _NGX_APIKEYS_REFUSAL_H_INCLUDED_
#define _NGX_APIKEYS_REFUSAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_apikeys_failure.h>
#include <ngx_apikeys_store.h>


/* a request is refused with 503; "reason" is printed in the log message */
void ngx_apikeys_refusal(ngx_apikeys_store_t *st, ngx_apikeys_failure_e kind,
    const ngx_str_t *reason, ngx_log_t *log);

/*
 * Logs the failures that are over, and that the local copy has become older
 * than "stale" (ms; 0: no location refuses requests for that).  The leader
 * calls it every 100 ms.
 */
void ngx_apikeys_refusal_watch(ngx_apikeys_store_t *st, ngx_msec_t stale,
    ngx_log_t *log);


#endif /* _NGX_APIKEYS_REFUSAL_H_INCLUDED_ */
