
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Receipts: the response to a mutation is delayed until the other nodes have
 * applied it.  The NOTIFY that wakes them.
 */


#ifndef _NGX_HTTP_APIKEYS_RECEIPT_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_RECEIPT_H_INCLUDED_


#include <ngx_http_apikeys_call.h>


/*
 * ms; more than the longest interval of heartbeats: without "Prefer: wait" a
 * node that was not heard of for so long is not waited for
 */
#define NGX_HTTP_APIKEYS_RECEIPT_HEARD       6000
#define NGX_HTTP_APIKEYS_RECEIPT_HEARD_TEXT  "6000"


typedef void (*ngx_http_apikeys_receipt_handler_pt)(
    ngx_http_apikeys_call_t *call);


/* the receipts that a worker waits for: one query asks for all */
ngx_http_apikeys_receipts_t *ngx_http_apikeys_receipts_create(
    ngx_cycle_t *cycle, ngx_apikeys_pg_pool_t *pp, ngx_apikeys_store_t *store);

/* must be called before the connection pool is destroyed */
void ngx_http_apikeys_receipts_destroy(ngx_http_apikeys_receipts_t *receipts);


/*
 * A mutation was committed, or may have been: the nodes are woken.  "data" are
 * the receipts of the worker, so that it is a handler of the pool, too.
 */
void ngx_http_apikeys_receipts_notify(void *data);


/*
 * Waits until other nodes have applied the transaction "xid" of the database
 * "identity".  With "Prefer: wait=SECONDS" (RFC 7240) it waits that long for
 * every node with an unexpired lease, and confirms it; else for apikeys_wait
 * and the nodes with a recent heartbeat, unless "only" is the uuid of this
 * node, which then has no others.  NGX_OK: the wait is over, the
 * handler is not called; NGX_AGAIN: the handler will be called from the event
 * loop. call->pending: a receipt was requested and cannot be given.
 */
ngx_int_t ngx_http_apikeys_receipt_wait(ngx_http_apikeys_call_t *call,
    ngx_str_t *xid, ngx_str_t *identity, ngx_str_t *only,
    ngx_http_apikeys_receipt_handler_pt handler);

/* cancels the wait: the handler will not be called */
void ngx_http_apikeys_receipt_cancel(ngx_http_apikeys_call_t *call);


#endif /* _NGX_HTTP_APIKEYS_RECEIPT_H_INCLUDED_ */
