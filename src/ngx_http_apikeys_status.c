
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * What is of the zone is the same whichever worker answers.  What is of the
 * worker (its connections, what it has to flush) is labeled with its number,
 * the only label besides the decision: neither grows with keys.
 */


#include <ngx_http_apikeys.h>
#include <ngx_http_apikeys_record.h>
#include <ngx_http_apikeys_status.h>


#define NGX_HTTP_APIKEYS_GAUGE      0
#define NGX_HTTP_APIKEYS_COUNTER    1
#define NGX_HTTP_APIKEYS_DURATION   2       /* a gauge, in milliseconds */


typedef struct {
    uint64_t                      age;          /* ms; -1: never fresh */
    uint64_t                      complete;
    uint64_t                      behind;
    uint64_t                      low;
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
    ngx_uint_t                    nstubs;
    ngx_apikeys_objectid_t        stubs[NGX_APIKEYS_STORE_STUB_IDS];
    ngx_uint_t                    nlines;
    ngx_apikeys_store_line_stat_t  lines[NGX_APIKEYS_SEAL_MAX_KEYS];
} ngx_http_apikeys_status_t;


typedef struct {
    const char                   *section;
    const char                   *name;
    size_t                        offset;       /* of a uint64_t */
    ngx_uint_t                    type;         /* NGX_HTTP_APIKEYS_GAUGE .. */
    const char                   *help;
} ngx_http_apikeys_figure_t;


static ngx_int_t ngx_http_apikeys_status_begin(ngx_http_request_t *r);
static ngx_int_t ngx_http_apikeys_status_json_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_apikeys_status_prometheus_handler(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_apikeys_status_health_handler(
    ngx_http_request_t *r);
static void ngx_http_apikeys_status_collect(ngx_http_request_t *r,
    ngx_http_apikeys_status_t *status);
static void ngx_http_apikeys_status_json(ngx_http_apikeys_status_t *status,
    ngx_apikeys_json_out_t *out);
static void ngx_http_apikeys_status_lines_json(
    ngx_http_apikeys_status_t *status, ngx_apikeys_json_out_t *out);
static u_char *ngx_http_apikeys_status_lines(u_char *p, u_char *last,
    ngx_http_apikeys_status_t *status);
static ngx_buf_t *ngx_http_apikeys_status_prometheus(ngx_pool_t *pool,
    ngx_http_apikeys_status_t *status);
static u_char *ngx_http_apikeys_status_metric(u_char *p, u_char *last,
    ngx_http_apikeys_status_t *status,
    const ngx_http_apikeys_figure_t *figure);
static u_char *ngx_http_apikeys_status_decisions(u_char *p, u_char *last,
    ngx_http_apikeys_status_t *status);
static ngx_int_t ngx_http_apikeys_status_send(ngx_http_request_t *r,
    ngx_chain_t *out, off_t size, ngx_str_t *type, ngx_uint_t status);


#define NGX_HTTP_APIKEYS_STATUS_LINE  128


#define ngx_http_apikeys_figure(member)                                      \
    offsetof(ngx_http_apikeys_status_t, member)

static const ngx_http_apikeys_figure_t  ngx_http_apikeys_figures[] = {

    { "copy", "complete", ngx_http_apikeys_figure(complete),
      NGX_HTTP_APIKEYS_GAUGE,
      "Whether the local copy holds all that the database has" },
    { "copy", "age", ngx_http_apikeys_figure(age),
      NGX_HTTP_APIKEYS_DURATION,
      "Time since the last proof of freshness, the most that it can lag" },
    { "copy", "keys", ngx_http_apikeys_figure(store.keys),
      NGX_HTTP_APIKEYS_GAUGE, "Keys in the local copy" },
    { "copy", "orgs", ngx_http_apikeys_figure(store.orgs),
      NGX_HTTP_APIKEYS_GAUGE, "Organizations in the local copy" },
    { "copy", "projects", ngx_http_apikeys_figure(store.projects),
      NGX_HTTP_APIKEYS_GAUGE, "Projects in the local copy" },
    { "copy", "tombstones", ngx_http_apikeys_figure(store.tombstones),
      NGX_HTTP_APIKEYS_GAUGE,
      "Deleted objects that are remembered for a while" },
    { "copy", "invalid", ngx_http_apikeys_figure(store.invalid),
      NGX_HTTP_APIKEYS_GAUGE, "Objects that could not be kept or opened" },
    { "copy", "keys_without_room", ngx_http_apikeys_figure(store.stubs),
      NGX_HTTP_APIKEYS_GAUGE,
      "Keys that the zone has no room for, requests with them get 503" },
    { "copy", "keys_without_line", ngx_http_apikeys_figure(store.lineless),
      NGX_HTTP_APIKEYS_GAUGE,
      "Keys whose line the master key file lacks, requests get 503" },

    { "feed", "lag", ngx_http_apikeys_figure(store.lag),
      NGX_HTTP_APIKEYS_DURATION,
      "Time since the last poll that was applied in full was sent" },
    { "feed", "behind", ngx_http_apikeys_figure(behind),
      NGX_HTTP_APIKEYS_GAUGE,
      "Whether the database is known to have what the local copy lacks" },

    { "zone", "size_bytes", ngx_http_apikeys_figure(store.size),
      NGX_HTTP_APIKEYS_GAUGE, "Memory for records in the zone" },
    { "zone", "free_bytes", ngx_http_apikeys_figure(store.free_bytes),
      NGX_HTTP_APIKEYS_GAUGE, "Memory that is free" },
    { "zone", "reserved_bytes",
      ngx_http_apikeys_figure(store.reserved_bytes),
      NGX_HTTP_APIKEYS_GAUGE,
      "Free memory that is kept for changes of what is in the zone" },
    { "zone", "low", ngx_http_apikeys_figure(low),
      NGX_HTTP_APIKEYS_GAUGE, "Whether the zone is nearly full" },
    { "zone", "retired_bytes", ngx_http_apikeys_figure(store.retired_bytes),
      NGX_HTTP_APIKEYS_GAUGE, "Memory that waits for its last readers" },
    { "zone", "full_total", ngx_http_apikeys_figure(store.load_failures),
      NGX_HTTP_APIKEYS_COUNTER, "Records for which there was no room" },
    { "zone", "repairs_total", ngx_http_apikeys_figure(store.repairs),
      NGX_HTTP_APIKEYS_COUNTER,
      "Repairs after a process had died while it wrote" },

    { "sync", "leader", ngx_http_apikeys_figure(leader),
      NGX_HTTP_APIKEYS_GAUGE,
      "Whether this worker follows the database for the zone" },
    { "sync", "listening", ngx_http_apikeys_figure(listening),
      NGX_HTTP_APIKEYS_GAUGE,
      "Whether this worker is told of changes as they happen" },
    { "sync", "polls_total", ngx_http_apikeys_figure(sync.polls),
      NGX_HTTP_APIKEYS_COUNTER, "Reads of the feed by this worker" },
    { "sync", "loads_total", ngx_http_apikeys_figure(sync.loads),
      NGX_HTTP_APIKEYS_COUNTER, "Full loads by this worker" },
    { "sync", "changes_total", ngx_http_apikeys_figure(sync.changes),
      NGX_HTTP_APIKEYS_COUNTER, "Changed objects that this worker has read" },
    { "sync", "errors_total", ngx_http_apikeys_figure(sync.errors),
      NGX_HTTP_APIKEYS_COUNTER,
      "Failures of this worker to follow the database" },

    { "pool", "open", ngx_http_apikeys_figure(open),
      NGX_HTTP_APIKEYS_GAUGE, "Connections of this worker to the database" },
    { "pool", "busy", ngx_http_apikeys_figure(busy),
      NGX_HTTP_APIKEYS_GAUGE, "Connections that run a statement" },
    { "pool", "waiting", ngx_http_apikeys_figure(waiting),
      NGX_HTTP_APIKEYS_GAUGE, "Statements that wait for a connection" },
    { "pool", "connects_total", ngx_http_apikeys_figure(pool.connects),
      NGX_HTTP_APIKEYS_COUNTER, "Connections made by this worker" },
    { "pool", "failures_total", ngx_http_apikeys_figure(pool.failures),
      NGX_HTTP_APIKEYS_COUNTER, "Connections that could not be made" },
    { "pool", "queries_total", ngx_http_apikeys_figure(pool.queries),
      NGX_HTTP_APIKEYS_COUNTER, "Statements run by this worker" },
    { "pool", "errors_total", ngx_http_apikeys_figure(pool.errors),
      NGX_HTTP_APIKEYS_COUNTER, "Statements that failed" },
    { "pool", "timeouts_total", ngx_http_apikeys_figure(pool.timeouts),
      NGX_HTTP_APIKEYS_COUNTER, "Statements that took too long" },
    { "pool", "refused_total", ngx_http_apikeys_figure(pool.refused),
      NGX_HTTP_APIKEYS_COUNTER, "Statements for which the queue was full" },

    { "usage", "pending", ngx_http_apikeys_figure(pending),
      NGX_HTTP_APIKEYS_GAUGE,
      "Entries whose use this worker has yet to store" },
    { "usage", "flushes_total", ngx_http_apikeys_figure(usage.flushes),
      NGX_HTTP_APIKEYS_COUNTER,
      "Times that this worker has stored the use of entries" },
    { "usage", "failures_total", ngx_http_apikeys_figure(usage.failures),
      NGX_HTTP_APIKEYS_COUNTER, "Times that it could not" },
    { "usage", "dropped_total", ngx_http_apikeys_figure(usage.dropped),
      NGX_HTTP_APIKEYS_COUNTER,
      "Requests that were let in without being counted" },

    { NULL, NULL, 0, 0, NULL }
};


#define ngx_http_apikeys_figure_value(status, figure)                        \
    *(uint64_t *) ((u_char *) (status) + (figure)->offset)


static ngx_int_t
ngx_http_apikeys_status_begin(ngx_http_request_t *r)
{
    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    return ngx_http_discard_request_body(r);
}


static ngx_int_t
ngx_http_apikeys_status_json_handler(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_apikeys_json_out_t     out;
    ngx_http_apikeys_status_t  status;
    static ngx_str_t           type = ngx_string("application/json");

    rc = ngx_http_apikeys_status_begin(r);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_apikeys_status_collect(r, &status);

    ngx_apikeys_json_out_init(&out, r->pool, 0);
    ngx_http_apikeys_status_json(&status, &out);

    if (out.failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_apikeys_status_send(r, out.out, out.size, &type,
                                        NGX_HTTP_OK);
}


static ngx_int_t
ngx_http_apikeys_status_prometheus_handler(ngx_http_request_t *r)
{
    ngx_buf_t                  *b;
    ngx_int_t                   rc;
    ngx_chain_t                *out;
    ngx_http_apikeys_status_t   status;
    static ngx_str_t            type = ngx_string("text/plain; version=0.0.4");

    rc = ngx_http_apikeys_status_begin(r);

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

    return ngx_http_apikeys_status_send(r, out, b->last - b->pos, &type,
                                        NGX_HTTP_OK);
}


/* for balancers: whether this node can decide, by the location's terms */

static ngx_int_t
ngx_http_apikeys_status_health_handler(ngx_http_request_t *r)
{
    ngx_buf_t                     *b;
    ngx_int_t                      rc;
    uint64_t                       age;
    ngx_uint_t                     status;
    ngx_chain_t                    out;
    ngx_apikeys_store_t           *st;
    ngx_http_apikeys_loc_conf_t   *alcf;
    ngx_http_apikeys_main_conf_t  *amcf;
    static ngx_str_t               type = ngx_string("text/plain");

    rc = ngx_http_apikeys_status_begin(r);

    if (rc != NGX_OK) {
        return rc;
    }

    b = ngx_create_temp_buf(r->pool, NGX_HTTP_APIKEYS_STATUS_LINE);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_apikeys_module);
    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);
    st = amcf->store;

    age = ngx_apikeys_store_age(st);
    status = NGX_HTTP_SERVICE_UNAVAILABLE;

    if (!ngx_apikeys_store_complete(st)) {
        b->last = ngx_sprintf(b->pos, "keys are not loaded\n");

    } else if (age > alcf->stale && !alcf->stale_allow) {
        b->last = ngx_sprintf(b->pos, "no contact to the database for %uL ms, "
                              "apikeys_stale is %M ms\n", age, alcf->stale);

    } else {
        b->last = ngx_sprintf(b->pos, "ok\n");
        status = NGX_HTTP_OK;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_apikeys_status_send(r, &out, b->last - b->pos, &type,
                                        status);
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

    status->nstubs = ngx_apikeys_store_stub_ids(amcf->store, status->stubs);

    while (status->nlines < NGX_APIKEYS_SEAL_MAX_KEYS
           && ngx_apikeys_store_line_stat(amcf->store, status->nlines,
                                          &status->lines[status->nlines])
              == NGX_OK)
    {
        status->nlines++;
    }

    status->age = status->store.age;
    status->complete = status->store.complete;
    status->behind = status->store.behind;
    status->low = status->store.low;
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
    u_char                            text[64];
    uint64_t                          value;
    ngx_str_t                         id;
    ngx_uint_t                        i;
    const char                       *section;
    const ngx_str_t                  *name;
    const ngx_http_apikeys_figure_t  *figure;

    section = NULL;

    ngx_apikeys_json_out_object(out);

    ngx_apikeys_json_out_name(out, "pid");
    ngx_apikeys_json_out_int(out, ngx_pid);

    ngx_apikeys_json_out_name(out, "worker");
    ngx_apikeys_json_out_int(out, ngx_worker);

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

        (void) ngx_slprintf(text, text + sizeof(text), "%s%s%Z", figure->name,
                            figure->type == NGX_HTTP_APIKEYS_DURATION
                            ? "_milliseconds" : "");

        ngx_apikeys_json_out_name(out, (char *) text);

        if (value == (uint64_t) -1) {
            ngx_apikeys_json_out_null(out);

        } else {
            ngx_apikeys_json_out_int(out, value);
        }
    }

    ngx_apikeys_json_out_object_end(out);

    ngx_apikeys_json_out_name(out, "decisions");
    ngx_apikeys_json_out_object(out);

    for (i = NGX_HTTP_APIKEYS_ALLOW; i <= NGX_HTTP_APIKEYS_LAST_DECISION; i++) {
        name = ngx_http_apikeys_record_name(i);

        ngx_apikeys_json_out_name(out, (const char *) name->data);
        ngx_apikeys_json_out_int(out, status->decisions.n[i]);
    }

    ngx_apikeys_json_out_object_end(out);

    ngx_apikeys_json_out_name(out, "keys_without_room");
    ngx_apikeys_json_out_array(out);

    for (i = 0; i < status->nstubs; i++) {
        id.data = text;
        id.len = ngx_apikeys_objectid_write(text, &status->stubs[i]) - text;

        ngx_apikeys_json_out_string(out, &id);
    }

    ngx_apikeys_json_out_array_end(out);

    ngx_http_apikeys_status_lines_json(status, out);

    ngx_apikeys_json_out_object_end(out);
}


/* how many keys each line of the master key file has opened */

static void
ngx_http_apikeys_status_lines_json(ngx_http_apikeys_status_t *status,
    ngx_apikeys_json_out_t *out)
{
    u_char                          text[NGX_APIKEYS_SEAL_LINE_TEXT];
    ngx_str_t                       name;
    ngx_uint_t                      i;
    ngx_apikeys_store_line_stat_t  *line;

    ngx_apikeys_json_out_name(out, "master_key_lines");
    ngx_apikeys_json_out_array(out);

    for (i = 0; i < status->nlines; i++) {
        line = &status->lines[i];

        name.data = text;
        name.len = ngx_hex_dump(text, line->line, sizeof(line->line)) - text;

        ngx_apikeys_json_out_object(out);
        ngx_apikeys_json_out_name(out, "line");
        ngx_apikeys_json_out_string(out, &name);
        ngx_apikeys_json_out_name(out, "keys");
        ngx_apikeys_json_out_int(out, line->keys);
        ngx_apikeys_json_out_name(out, "missing");
        ngx_apikeys_json_out_bool(out, line->missing);
        ngx_apikeys_json_out_object_end(out);
    }

    ngx_apikeys_json_out_array_end(out);
}


static u_char *
ngx_http_apikeys_status_lines(u_char *p, u_char *last,
    ngx_http_apikeys_status_t *status)
{
    u_char                          text[NGX_APIKEYS_SEAL_LINE_TEXT];
    ngx_uint_t                      i;
    ngx_apikeys_store_line_stat_t  *line;

    p = ngx_slprintf(p, last,
                     "# HELP apikeys_master_key_line_keys Keys that a line of "
                     "the master key file has opened.\n"
                     "# TYPE apikeys_master_key_line_keys gauge\n");

    for (i = 0; i < status->nlines; i++) {
        line = &status->lines[i];

        (void) ngx_hex_dump(text, line->line, sizeof(line->line));

        p = ngx_slprintf(p, last,
                         "apikeys_master_key_line_keys{line=\"%*s\"} %uL\n",
                         sizeof(text), text, line->keys);
    }

    return p;
}


/* the text format 0.0.4 */

static ngx_buf_t *
ngx_http_apikeys_status_prometheus(ngx_pool_t *pool,
    ngx_http_apikeys_status_t *status)
{
    ngx_buf_t                        *b;
    const ngx_http_apikeys_figure_t  *figure;

    b = ngx_create_temp_buf(pool,
                            sizeof(ngx_http_apikeys_figures) * 8 + 4096);
    if (b == NULL) {
        return NULL;
    }

    for (figure = ngx_http_apikeys_figures; figure->name; figure++) {
        b->last = ngx_http_apikeys_status_metric(b->last, b->end, status,
                                                 figure);
    }

    b->last = ngx_http_apikeys_status_decisions(b->last, b->end, status);
    b->last = ngx_http_apikeys_status_lines(b->last, b->end, status);

    return b;
}


static u_char *
ngx_http_apikeys_status_metric(u_char *p, u_char *last,
    ngx_http_apikeys_status_t *status, const ngx_http_apikeys_figure_t *figure)
{
    uint64_t     value;
    const char  *unit;

    value = ngx_http_apikeys_figure_value(status, figure);

    if (value == (uint64_t) -1) {
        return p;
    }

    unit = (figure->type == NGX_HTTP_APIKEYS_DURATION) ? "_seconds" : "";

    p = ngx_slprintf(p, last,
                     "# HELP apikeys_%s_%s%s %s.\n"
                     "# TYPE apikeys_%s_%s%s %s\n"
                     "apikeys_%s_%s%s",
                     figure->section, figure->name, unit, figure->help,
                     figure->section, figure->name, unit,
                     figure->type == NGX_HTTP_APIKEYS_COUNTER ? "counter"
                                                              : "gauge",
                     figure->section, figure->name, unit);

    if (ngx_strcmp(figure->section, "copy") != 0
        && ngx_strcmp(figure->section, "feed") != 0
        && ngx_strcmp(figure->section, "zone") != 0)
    {
        p = ngx_slprintf(p, last, "{worker=\"%ui\"}", ngx_worker);
    }

    if (figure->type == NGX_HTTP_APIKEYS_DURATION) {
        return ngx_slprintf(p, last, " %uL.%03uL\n", value / 1000,
                            value % 1000);
    }

    return ngx_slprintf(p, last, " %uL\n", value);
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

    for (i = NGX_HTTP_APIKEYS_ALLOW; i <= NGX_HTTP_APIKEYS_LAST_DECISION; i++) {
        p = ngx_slprintf(p, last,
                         "apikeys_decisions_total{decision=\"%V\"} %uL\n",
                         ngx_http_apikeys_record_name(i),
                         status->decisions.n[i]);
    }

    return p;
}


static ngx_int_t
ngx_http_apikeys_status_send(ngx_http_request_t *r, ngx_chain_t *out,
    off_t size, ngx_str_t *type, ngx_uint_t status)
{
    ngx_int_t     rc;
    ngx_chain_t  *cl;

    r->headers_out.status = status;
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

    } else if (ngx_strcmp(value[1].data, "health") == 0) {
        clcf->handler = ngx_http_apikeys_status_health_handler;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\", it must be \"json\", "
                           "\"prometheus\" or \"health\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_apikeys_module);
    amcf->used = 1;

    return NGX_CONF_OK;
}
