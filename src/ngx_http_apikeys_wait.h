
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Receipts: a mutation is answered when the other zones have applied it.
 */


#ifndef _NGX_HTTP_APIKEYS_WAIT_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_WAIT_H_INCLUDED_


#include <ngx_http_apikeys.h>


typedef void (*ngx_http_apikeys_wait_handler_pt)(ngx_http_apikeys_ctx_t *ctx);


/* of a worker, in which all its waits share their questions */
ngx_http_apikeys_waiter_t *ngx_http_apikeys_waiter_create(ngx_cycle_t *cycle,
    ngx_apikeys_pg_pool_t *pp, ngx_apikeys_store_t *store);
/* before the pool is destroyed */
void ngx_http_apikeys_waiter_destroy(ngx_http_apikeys_waiter_t *waiter);


/*
 * Waits for the transaction "xid" of the database "identity": with "Prefer:
 * wait=SECONDS" (RFC 7240) as long, for every instance whose lease runs, and
 * then says so; without, for apikeys_wait and the instances that were heard
 * of lately.  NGX_OK: it is over, the handler is not called; NGX_AGAIN: it
 * will be called, in any case, by the event loop.  ctx->pending tells that a
 * receipt was asked for and cannot be given.
 */
ngx_int_t ngx_http_apikeys_wait(ngx_http_apikeys_ctx_t *ctx, ngx_str_t *xid,
    ngx_str_t *identity, ngx_http_apikeys_wait_handler_pt handler);

/* afterwards the handler will not be called */
void ngx_http_apikeys_wait_cancel(ngx_http_apikeys_ctx_t *ctx);


#endif /* _NGX_HTTP_APIKEYS_WAIT_H_INCLUDED_ */
