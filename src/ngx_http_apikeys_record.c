
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The record is the module's context of r->main.  An internal redirect
 * forgets contexts, not the pool's cleanups: the record hangs on one of these
 * and is found again by its handler, as the realip module does it.
 */


#include <ngx_http_apikeys_auth.h>
#include <ngx_http_apikeys_record.h>


static void ngx_http_apikeys_record_cleanup(void *data);
static ngx_http_apikeys_judgment_t *ngx_http_apikeys_record_add(
    ngx_http_apikeys_record_t *record, ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf);


static const ngx_str_t  ngx_http_apikeys_record_names[] = {
    ngx_string("allow"),
    ngx_string("no_credential"),
    ngx_string("bad_credential"),
    ngx_string("unknown_key"),
    ngx_string("wrong_secret"),
    ngx_string("stale_nonce"),
    ngx_string("replay"),
    ngx_string("address"),
    ngx_string("no_access_list"),
    ngx_string("role"),
    ngx_string("not_loaded"),
    ngx_string("expired"),
    ngx_string("error"),
    ngx_string("allow_expired")
};


ngx_http_apikeys_record_t *
ngx_http_apikeys_record(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_apikeys_record_t  *record;

    record = ngx_http_apikeys_record_find(r);

    if (record) {
        return record;
    }

    cln = ngx_pool_cleanup_add(r->main->pool,
                               sizeof(ngx_http_apikeys_record_t));
    if (cln == NULL) {
        return NULL;
    }

    record = cln->data;
    ngx_memzero(record, sizeof(ngx_http_apikeys_record_t));

    record->identified = NGX_HTTP_APIKEYS_NO_CREDENTIAL;

    cln->handler = ngx_http_apikeys_record_cleanup;

    ngx_http_set_ctx(r->main, record, ngx_http_apikeys_module);

    return record;
}


/* marks the record among the pool's cleanups */

static void
ngx_http_apikeys_record_cleanup(void *data)
{
    return;
}


ngx_http_apikeys_record_t *
ngx_http_apikeys_record_find(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_apikeys_record_t  *record;

    r = r->main;

    record = ngx_http_get_module_ctx(r, ngx_http_apikeys_module);

    if (record || (!r->internal && !r->filter_finalize)) {
        return record;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler == ngx_http_apikeys_record_cleanup) {
            ngx_http_set_ctx(r, cln->data, ngx_http_apikeys_module);
            return cln->data;
        }
    }

    return NULL;
}


ngx_http_apikeys_decision_e
ngx_http_apikeys_record_identify(ngx_http_apikeys_record_t *record,
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf)
{
    record->identified = ngx_http_apikeys_auth_identify(r->main, alcf,
                                                        &record->identity);

    return record->identified;
}


/* a decision that did not change is neither counted nor logged again */

void
ngx_http_apikeys_record_decision(ngx_http_apikeys_record_t *record,
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_decision_e decision)
{
    ngx_http_apikeys_main_conf_t  *amcf;
    ngx_http_apikeys_judgment_t   *judgment;

    judgment = ngx_http_apikeys_record_judgment(record, alcf);

    if (judgment && judgment->decision == decision) {
        record->last = judgment;
        return;
    }

    if (judgment == NULL) {
        judgment = ngx_http_apikeys_record_add(record, r, alcf);
    }

    if (judgment) {
        judgment->decision = decision;
        record->last = judgment;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    amcf->worker.metrics->decisions[decision]++;

    if (decision != NGX_HTTP_APIKEYS_ALLOW) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "apikeys: decided \"%V\"",
                      ngx_http_apikeys_record_name(decision));
    }

    if ((decision == NGX_HTTP_APIKEYS_ALLOW
         || decision == NGX_HTTP_APIKEYS_ALLOW_EXPIRED)
        && record->identity.entry.family && !record->identity.global
        && !record->counted)
    {
        record->counted = 1;
        ngx_apikeys_usage_count(amcf->worker.usage, &record->identity.id,
                                &record->identity.entry,
                                &record->identity.address);
    }
}


static ngx_http_apikeys_judgment_t *
ngx_http_apikeys_record_add(ngx_http_apikeys_record_t *record,
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf)
{
    ngx_http_apikeys_judgment_t  *judgment;

    judgment = &record->judgments;

    if (judgment->where) {
        judgment = ngx_palloc(r->main->pool,
                              sizeof(ngx_http_apikeys_judgment_t));
        if (judgment == NULL) {
            return NULL;
        }

        judgment->next = record->judgments.next;
        record->judgments.next = judgment;
    }

    judgment->where = alcf;

    return judgment;
}


ngx_http_apikeys_judgment_t *
ngx_http_apikeys_record_judgment(ngx_http_apikeys_record_t *record,
    ngx_http_apikeys_loc_conf_t *alcf)
{
    ngx_http_apikeys_judgment_t  *judgment;

    for (judgment = &record->judgments; judgment; judgment = judgment->next) {
        if (judgment->where == alcf) {
            return judgment;
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_apikeys_record_verified(ngx_http_apikeys_record_t *record)
{
    return record->identity.credential != NULL
           && record->identity.nonce == NGX_HTTP_APIKEYS_ALLOW;
}


const ngx_str_t *
ngx_http_apikeys_record_name(ngx_http_apikeys_decision_e decision)
{
    return &ngx_http_apikeys_record_names[decision];
}
