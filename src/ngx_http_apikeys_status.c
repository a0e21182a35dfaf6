
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What is of the zone is the same whichever worker answers; what is of the
 * worker (its connections, what it has to flush) says so by its name.
 */


#include <ngx_http_apikeys.h>
#include <ngx_http_apikeys_record.h>
#include <ngx_http_apikeys_status.h>


typedef struct {
    uint64_t                      age;          /* ms; -1: never fresh */
    uint64_t                      complete;
    uint64_t                      leader;
    uint64_t                      listening;
    uint64_t                      open;
    uint64_t                      busy;
    uint64_t                      waiting;
    uint64_t                      pending;
    ngx_apikeys_store_stat_t      store;
    ngx_apikeys_sync_stat_t       sync;
    ngx_apikeys_pg_pool_stat_t    pool;
    ngx_apikeys_usage_stat_t      usage;
    ngx_apikeys_counters_t        decisions;
} ngx_http_apikeys_status_t;


typedef struct {
    const char                   *section;
    const char                   *name;
    size_t                        offset;       /* of a uint64_t */
    ngx_uint_t                    counter;      /* or a gauge */
    const char                   *help;
} ngx_http_apikeys_figure_t;


static ngx_int_t ngx_http_apikeys_status_json_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_apikeys_status_prometheus_handler(
    ngx_http_request_t *r);
static void ngx_http_apikeys_status_collect(ngx_http_request_t *r,
    ngx_http_apikeys_status_t *status);
static void ngx_http_apikeys_status_json(ngx_http_apikeys_status_t *status,
    ngx_apikeys_json_out_t *out);
static ngx_buf_t *ngx_http_apikeys_status_prometheus(ngx_pool_t *pool,
    ngx_http_apikeys_status_t *status);
static u_char *ngx_http_apikeys_status_decisions(u_char *p, u_char *last,
    ngx_http_apikeys_status_t *status);
static ngx_int_t ngx_http_apikeys_status_send(ngx_http_request_t *r,
    ngx_chain_t *out, off_t size, ngx_str_t *type);


#define ngx_http_apikeys_figure(member)                                      \
    offsetof(ngx_http_apikeys_status_t, member)

static const ngx_http_apikeys_figure_t  ngx_http_apikeys_figures[] = {

    { "replica", "complete", ngx_http_apikeys_figure(complete), 0,
      "Whether the replica holds all that the database has" },
    { "replica", "age_milliseconds", ngx_http_apikeys_figure(age), 0,
      "Time since the last proof that the replica is fresh" },
    { "replica", "keys", ngx_http_apikeys_figure(store.keys), 0,
      "Keys in the replica" },
    { "replica", "orgs", ngx_http_apikeys_figure(store.orgs), 0,
      "Organizations in the replica" },
    { "replica", "projects", ngx_http_apikeys_figure(store.projects), 0,
      "Projects in the replica" },
    { "replica", "tombstones", ngx_http_apikeys_figure(store.tombstones), 0,
      "Deleted objects that are remembered for a while" },
    { "replica", "invalid", ngx_http_apikeys_figure(store.invalid), 0,
      "Objects that could not be kept or opened" },

    { "zone", "size_bytes", ngx_http_apikeys_figure(store.size), 0,
      "Memory for records in the zone" },
    { "zone", "free_bytes", ngx_http_apikeys_figure(store.free_bytes), 0,
      "Memory that is free" },
    { "zone", "retired_bytes", ngx_http_apikeys_figure(store.retired_bytes),
      0, "Memory that waits for its last readers" },
    { "zone", "full_total", ngx_http_apikeys_figure(store.load_failures), 1,
      "Records for which there was no room" },
    { "zone", "repairs_total", ngx_http_apikeys_figure(store.repairs), 1,
      "Repairs after a process had died while it wrote" },

    { "sync", "leader", ngx_http_apikeys_figure(leader), 0,
      "Whether this worker follows the database for the zone" },
    { "sync", "listening", ngx_http_apikeys_figure(listening), 0,
      "Whether this worker is told of changes as they happen" },
    { "sync", "polls_total", ngx_http_apikeys_figure(sync.polls), 1,
      "Reads of the feed by this worker" },
    { "sync", "loads_total", ngx_http_apikeys_figure(sync.loads), 1,
      "Full loads by this worker" },
    { "sync", "changes_total", ngx_http_apikeys_figure(sync.changes), 1,
      "Changed objects that this worker has read" },
    { "sync", "errors_total", ngx_http_apikeys_figure(sync.errors), 1,
      "Failures of this worker to follow the database" },

    { "pool", "open", ngx_http_apikeys_figure(open), 0,
      "Connections of this worker to the database" },
    { "pool", "busy", ngx_http_apikeys_figure(busy), 0,
      "Connections that run a statement" },
    { "pool", "waiting", ngx_http_apikeys_figure(waiting), 0,
      "Statements that wait for a connection" },
    { "pool", "connects_total", ngx_http_apikeys_figure(pool.connects), 1,
      "Connections made by this worker" },
    { "pool", "failures_total", ngx_http_apikeys_figure(pool.failures), 1,
      "Connections that could not be made" },
    { "pool", "queries_total", ngx_http_apikeys_figure(pool.queries), 1,
      "Statements run by this worker" },
    { "pool", "errors_total", ngx_http_apikeys_figure(pool.errors), 1,
      "Statements that failed" },
    { "pool", "timeouts_total", ngx_http_apikeys_figure(pool.timeouts), 1,
      "Statements that took too long" },
    { "pool", "refused_total", ngx_http_apikeys_figure(pool.refused), 1,
      "Statements for which the queue was full" },

    { "usage", "pending", ngx_http_apikeys_figure(pending), 0,
      "Entries whose use this worker has yet to store" },
    { "usage", "flushes_total", ngx_http_apikeys_figure(usage.flushes), 1,
      "Times that this worker has stored the use of entries" },
    { "usage", "failures_total", ngx_http_apikeys_figure(usage.failures), 1,
      "Times that it could not" },
    { "usage", "dropped_total", ngx_http_apikeys_figure(usage.dropped), 1,
      "Requests that were let in without being counted" },

    { NULL, NULL, 0, 0, NULL }
};


#define ngx_http_apikeys_figure_value(status, figure)                        \
    *(uint64_t *) ((u_char *) (status) + (figure)->offset)


static ngx_int_t
ngx_http_apikeys_status_json_handler(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_apikeys_json_out_t     out;
    ngx_http_apikeys_status_t  status;
    static ngx_str_t           type = ngx_string("application/json");

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_apikeys_status_collect(r, &status);

    ngx_apikeys_json_out_init(&out, r->pool, 0);
    ngx_http_apikeys_status_json(&status, &out);

    if (out.failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_apikeys_status_send(r, out.out, out.size, &type);
}


static ngx_int_t
ngx_http_apikeys_status_prometheus_handler(ngx_http_request_t *r)
{
    ngx_buf_t                  *b;
    ngx_int_t                   rc;
    ngx_chain_t                *out;
    ngx_http_apikeys_status_t   status;
    static ngx_str_t            type = ngx_string("text/plain; version=0.0.4");

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_apikeys_status_collect(r, &status);

    b = ngx_http_apikeys_status_prometheus(r->pool, &status);
    out = ngx_alloc_chain_link(r->pool);

    if (b == NULL || out == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    out->buf = b;
    out->next = NULL;

    return ngx_http_apikeys_status_send(r, out, b->last - b->pos, &type);
}


static void
ngx_http_apikeys_status_collect(ngx_http_request_t *r,
    ngx_http_apikeys_status_t *status)
{
    ngx_http_apikeys_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    ngx_memzero(status, sizeof(ngx_http_apikeys_status_t));

    ngx_apikeys_store_stat(amcf->store, &status->store);
    ngx_apikeys_sync_stat(amcf->worker.sync, &status->sync);
    ngx_apikeys_pg_pool_stat(amcf->worker.pool, &status->pool);
    ngx_apikeys_usage_stat(amcf->worker.usage, &status->usage);
    ngx_apikeys_counters_sum(amcf->counters, &status->decisions);

    status->age = status->store.age;
    status->complete = status->store.complete;
    status->leader = status->sync.leader;
    status->listening = status->sync.listening;
    status->open = status->pool.open;
    status->busy = status->pool.busy;
    status->waiting = status->pool.waiting;
    status->pending = status->usage.pending;
}


static void
ngx_http_apikeys_status_json(ngx_http_apikeys_status_t *status,
    ngx_apikeys_json_out_t *out)
{
    uint64_t                          value;
    ngx_uint_t                        i;
    const char                       *section;
    const ngx_str_t                  *name;
    const ngx_http_apikeys_figure_t  *figure;

    section = NULL;

    ngx_apikeys_json_out_object(out);

    ngx_apikeys_json_out_name(out, "pid");
    ngx_apikeys_json_out_int(out, ngx_pid);

    for (figure = ngx_http_apikeys_figures; figure->name; figure++) {

        if (section == NULL || ngx_strcmp(section, figure->section) != 0) {

            if (section) {
                ngx_apikeys_json_out_object_end(out);
            }

            section = figure->section;

            ngx_apikeys_json_out_name(out, section);
            ngx_apikeys_json_out_object(out);
        }

        value = ngx_http_apikeys_figure_value(status, figure);

        ngx_apikeys_json_out_name(out, figure->name);

        if (value == (uint64_t) -1) {
            ngx_apikeys_json_out_null(out);

        } else {
            ngx_apikeys_json_out_int(out, value);
        }
    }

    ngx_apikeys_json_out_object_end(out);

    ngx_apikeys_json_out_name(out, "decisions");
    ngx_apikeys_json_out_object(out);

    for (i = NGX_HTTP_APIKEYS_ALLOW; i <= NGX_HTTP_APIKEYS_ERROR; i++) {
        name = ngx_http_apikeys_record_name(i);

        ngx_apikeys_json_out_name(out, (const char *) name->data);
        ngx_apikeys_json_out_int(out, status->decisions.n[i]);
    }

    ngx_apikeys_json_out_object_end(out);
    ngx_apikeys_json_out_object_end(out);
}


/* the text format 0.0.4 */

static ngx_buf_t *
ngx_http_apikeys_status_prometheus(ngx_pool_t *pool,
    ngx_http_apikeys_status_t *status)
{
    uint64_t                          value;
    ngx_buf_t                        *b;
    const ngx_http_apikeys_figure_t  *figure;

    b = ngx_create_temp_buf(pool,
                            sizeof(ngx_http_apikeys_figures) * 8 + 4096);
    if (b == NULL) {
        return NULL;
    }

    for (figure = ngx_http_apikeys_figures; figure->name; figure++) {

        value = ngx_http_apikeys_figure_value(status, figure);

        if (value == (uint64_t) -1) {
            continue;
        }

        b->last = ngx_slprintf(b->last, b->end,
                               "# HELP apikeys_%s_%s %s.\n"
                               "# TYPE apikeys_%s_%s %s\n"
                               "apikeys_%s_%s %uL\n",
                               figure->section, figure->name, figure->help,
                               figure->section, figure->name,
                               figure->counter ? "counter" : "gauge",
                               figure->section, figure->name, value);
    }

    b->last = ngx_http_apikeys_status_decisions(b->last, b->end, status);

    return b;
}


static u_char *
ngx_http_apikeys_status_decisions(u_char *p, u_char *last,
    ngx_http_apikeys_status_t *status)
{
    ngx_uint_t  i;

    p = ngx_slprintf(p, last,
                     "# HELP apikeys_decisions_total Decisions, by what they "
                     "were.\n"
                     "# TYPE apikeys_decisions_total counter\n");

    for (i = NGX_HTTP_APIKEYS_ALLOW; i <= NGX_HTTP_APIKEYS_ERROR; i++) {
        p = ngx_slprintf(p, last,
                         "apikeys_decisions_total{decision=\"%V\"} %uL\n",
                         ngx_http_apikeys_record_name(i),
                         status->decisions.n[i]);
    }

    return p;
}


static ngx_int_t
ngx_http_apikeys_status_send(ngx_http_request_t *r, ngx_chain_t *out,
    off_t size, ngx_str_t *type)
{
    ngx_int_t     rc;
    ngx_chain_t  *cl;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = size;
    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    for (cl = out; cl->next; cl = cl->next) { /* void */ }

    cl->buf->last_buf = (r == r->main) ? 1 : 0;
    cl->buf->last_in_chain = 1;

    return ngx_http_output_filter(r, out);
}


char *
ngx_http_apikeys_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                     *value;
    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_apikeys_main_conf_t  *amcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "is used with another handler in the same location";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 1 || ngx_strcmp(value[1].data, "json") == 0) {
        clcf->handler = ngx_http_apikeys_status_json_handler;

    } else if (ngx_strcmp(value[1].data, "prometheus") == 0) {
        clcf->handler = ngx_http_apikeys_status_prometheus_handler;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\", it must be \"json\" or "
                           "\"prometheus\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_apikeys_module);
    amcf->used = 1;

    return NGX_CONF_OK;
}
