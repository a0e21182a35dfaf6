
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * All metrics are of the node, whichever worker answers: those of the zone,
 * and sums over the rows of all workers.  The only labels are the version, the
 * decision and the line of the master key file: the size of the output does not
 * depend on the API keys.
 */


#include <ngx_apikeys_json.h>
#include <ngx_http_apikeys.h>
#include <ngx_http_apikeys_ctx.h>
#include <ngx_http_apikeys_status.h>


#define NGX_HTTP_APIKEYS_STATUS_LINE  128
#define NGX_HTTP_APIKEYS_STATUS_SIZE  16384 /* twice the size of all lines */


typedef struct {
    uint64_t                         leader;
    ngx_pid_t                        leader_pid;      /* 0: there is no
                                                         leader */
    ngx_uint_t                       nstubs;
    ngx_apikeys_objectid_t           stubs[NGX_APIKEYS_STORE_STUB_IDS];
    ngx_uint_t                       nlines;
    ngx_apikeys_store_line_stat_t    lines[NGX_APIKEYS_SEAL_MAX_KEYS];
    ngx_apikeys_store_stat_t         store;
    ngx_http_apikeys_metrics_t       workers;         /* the sum over all
                                                         workers */
} ngx_http_apikeys_status_t;


typedef enum {
    NGX_HTTP_APIKEYS_GAUGE = 0,
    NGX_HTTP_APIKEYS_COUNTER,
    NGX_HTTP_APIKEYS_DURATION       /* a gauge in ms; -1: there is no value */
} ngx_http_apikeys_metric_type_e;


/*
 * A metric of both formats.  JSON shows a duration as name_milliseconds,
 * Prometheus as name_seconds.
 */
typedef struct {
    const char                      *name;
    size_t                           offset;          /* of a uint64_t in
                                                         the status */
    ngx_http_apikeys_metric_type_e   type;
    const char                      *help;            /* without a full stop */
} ngx_http_apikeys_metric_t;


typedef struct {
    const char                      *name;
    const ngx_http_apikeys_metric_t *metrics;
} ngx_http_apikeys_section_t;


static ngx_int_t ngx_http_apikeys_status_begin(ngx_http_request_t *r);
static ngx_int_t ngx_http_apikeys_status_json_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_apikeys_status_prometheus_handler(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_apikeys_status_health_handler(
    ngx_http_request_t *r);
static void ngx_http_apikeys_status_collect(ngx_http_request_t *r,
    ngx_http_apikeys_status_t *status);
static void ngx_http_apikeys_status_add(ngx_http_apikeys_status_t *status,
    const ngx_http_apikeys_metrics_t *row, ngx_pid_t pid);
static void ngx_http_apikeys_status_json(ngx_http_apikeys_status_t *status,
    ngx_apikeys_json_out_t *out);
static void ngx_http_apikeys_status_json_section(
    ngx_http_apikeys_status_t *status,
    const ngx_http_apikeys_section_t *section, ngx_apikeys_json_out_t *out);
static void ngx_http_apikeys_status_json_decisions(
    ngx_http_apikeys_status_t *status, ngx_apikeys_json_out_t *out);
static void ngx_http_apikeys_status_json_stubs(
    ngx_http_apikeys_status_t *status, ngx_apikeys_json_out_t *out);
static void ngx_http_apikeys_status_json_lines(
    ngx_http_apikeys_status_t *status, ngx_apikeys_json_out_t *out);
static void ngx_http_apikeys_status_prometheus(
    ngx_http_apikeys_status_t *status, ngx_buf_t *b);
static u_char *ngx_http_apikeys_status_metric(u_char *p, u_char *last,
    ngx_http_apikeys_status_t *status, const char *section,
    const ngx_http_apikeys_metric_t *metric);
static u_char *ngx_http_apikeys_status_decisions(u_char *p, u_char *last,
    ngx_http_apikeys_status_t *status);
static u_char *ngx_http_apikeys_status_lines(u_char *p, u_char *last,
    ngx_http_apikeys_status_t *status);
static ngx_int_t ngx_http_apikeys_status_send(ngx_http_request_t *r,
    ngx_chain_t *out, off_t size, ngx_str_t *type, ngx_uint_t status);


#define ngx_http_apikeys_gauge(metric_name, member, metric_help)             \
    { .name = metric_name,                                                   \
      .offset = offsetof(ngx_http_apikeys_status_t, member),                 \
      .type = NGX_HTTP_APIKEYS_GAUGE,                                        \
      .help = metric_help }

#define ngx_http_apikeys_counter(metric_name, member, metric_help)           \
    { .name = metric_name,                                                   \
      .offset = offsetof(ngx_http_apikeys_status_t, member),                 \
      .type = NGX_HTTP_APIKEYS_COUNTER,                                      \
      .help = metric_help }

#define ngx_http_apikeys_duration(metric_name, member, metric_help)          \
    { .name = metric_name,                                                   \
      .offset = offsetof(ngx_http_apikeys_status_t, member),                 \
      .type = NGX_HTTP_APIKEYS_DURATION,                                     \
      .help = metric_help }

#define ngx_http_apikeys_null_metric  { .name = NULL }

#define ngx_http_apikeys_metric_value(status, metric)                        \
    *(uint64_t *) ((u_char *) (status) + (metric)->offset)


static const ngx_http_apikeys_metric_t  ngx_http_apikeys_copy_metrics[] = {

    ngx_http_apikeys_gauge("complete", store.complete,
        "Whether the local copy holds everything that the database has"),

    ngx_http_apikeys_duration("age", store.age,
        "Time since the database last confirmed the local copy, compared "
        "with apikeys_stale"),

    ngx_http_apikeys_gauge("keys", store.keys,
        "API keys in the local copy"),

    ngx_http_apikeys_gauge("orgs", store.orgs,
        "Organizations in the local copy"),

    ngx_http_apikeys_gauge("projects", store.projects,
        "Projects in the local copy"),

    ngx_http_apikeys_gauge("tombstones", store.tombstones,
        "Deleted objects that are remembered for a while"),

    ngx_http_apikeys_gauge("invalid", store.invalid,
        "Objects that cannot be decrypted or have no room in the zone"),

    ngx_http_apikeys_gauge("keys_without_room", store.stubs,
        "API keys that have no room in the zone, requests with them get 503"),

    ngx_http_apikeys_gauge("keys_without_line", store.lineless,
        "API keys whose line the master key file lacks, requests get 503"),

    ngx_http_apikeys_null_metric
};


static const ngx_http_apikeys_metric_t  ngx_http_apikeys_feed_metrics[] = {

    ngx_http_apikeys_duration("lag", store.lag,
        "Time since the last poll for changes that was applied completely"),

    ngx_http_apikeys_gauge("behind", store.behind,
        "Whether the database is known to have changes that are not applied"),

    ngx_http_apikeys_null_metric
};


static const ngx_http_apikeys_metric_t  ngx_http_apikeys_zone_metrics[] = {

    ngx_http_apikeys_gauge("size_bytes", store.size,
        "Memory for records in the zone"),

    ngx_http_apikeys_gauge("free_bytes", store.free_bytes,
        "Free memory for records"),

    ngx_http_apikeys_gauge("reserved_bytes", store.reserved_bytes,
        "Free memory that is kept for changes of existing objects"),

    ngx_http_apikeys_gauge("low", store.low,
        "Whether the zone is nearly full"),

    ngx_http_apikeys_gauge("retired_bytes", store.retired_bytes,
        "Memory that is freed when its last readers have finished"),

    ngx_http_apikeys_counter("full_total", store.load_failures,
        "Objects that did not fit, the local copy is incomplete then"),

    ngx_http_apikeys_counter("repairs_total", store.repairs,
        "Repairs after a worker had died while it wrote"),

    ngx_http_apikeys_null_metric
};


static const ngx_http_apikeys_metric_t  ngx_http_apikeys_sync_metrics[] = {

    ngx_http_apikeys_gauge("leader", leader,
        "Whether a worker reads the changes from the database"),

    ngx_http_apikeys_gauge("listening", workers.sync.listening,
        "Whether that worker is notified of changes"),

    ngx_http_apikeys_counter("polls_total", workers.sync.polls,
        "Reads of the feed"),

    ngx_http_apikeys_counter("loads_total", workers.sync.loads,
        "Full loads"),

    ngx_http_apikeys_counter("changes_total", workers.sync.changes,
        "Objects that were read from the database"),

    ngx_http_apikeys_counter("errors_total", workers.sync.errors,
        "Failures to read changes"),

    ngx_http_apikeys_null_metric
};


static const ngx_http_apikeys_metric_t  ngx_http_apikeys_pool_metrics[] = {

    ngx_http_apikeys_gauge("open", workers.pool.open,
        "Connections to the database"),

    ngx_http_apikeys_gauge("busy", workers.pool.busy,
        "Connections that run a statement"),

    ngx_http_apikeys_gauge("waiting", workers.pool.waiting,
        "Statements that wait for a connection"),

    ngx_http_apikeys_counter("connects_total", workers.pool.connects,
        "Connections that were made"),

    ngx_http_apikeys_counter("failures_total", workers.pool.failures,
        "Failed attempts to connect to a host"),

    ngx_http_apikeys_counter("queries_total", workers.pool.queries,
        "Statements"),

    ngx_http_apikeys_counter("errors_total", workers.pool.errors,
        "Statements that failed"),

    ngx_http_apikeys_counter("timeouts_total", workers.pool.timeouts,
        "Statements that timed out"),

    ngx_http_apikeys_counter("refused_total", workers.pool.refused,
        "Statements for which the queue was full"),

    ngx_http_apikeys_null_metric
};


static const ngx_http_apikeys_metric_t  ngx_http_apikeys_usage_metrics[] = {

    ngx_http_apikeys_gauge("pending", workers.usage.pending,
        "Access list entries whose use has yet to be stored"),

    ngx_http_apikeys_counter("flushes_total", workers.usage.flushes,
        "Statements that stored the use of entries"),

    ngx_http_apikeys_counter("failures_total", workers.usage.failures,
        "Failures to store the use of entries"),

    ngx_http_apikeys_counter("dropped_total", workers.usage.dropped,
        "Uses of entries that were not stored"),

    ngx_http_apikeys_null_metric
};


static const ngx_http_apikeys_section_t  ngx_http_apikeys_sections[] = {
    { .name = "copy", .metrics = ngx_http_apikeys_copy_metrics },
    { .name = "feed", .metrics = ngx_http_apikeys_feed_metrics },
    { .name = "zone", .metrics = ngx_http_apikeys_zone_metrics },
    { .name = "sync", .metrics = ngx_http_apikeys_sync_metrics },
    { .name = "pool", .metrics = ngx_http_apikeys_pool_metrics },
    { .name = "usage", .metrics = ngx_http_apikeys_usage_metrics },
    { .name = NULL }
};


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
    ngx_chain_t                 out;
    ngx_http_apikeys_status_t   status;
    static ngx_str_t            type = ngx_string("text/plain; version=0.0.4");

    rc = ngx_http_apikeys_status_begin(r);

    if (rc != NGX_OK) {
        return rc;
    }

    b = ngx_create_temp_buf(r->pool, NGX_HTTP_APIKEYS_STATUS_SIZE);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_apikeys_status_collect(r, &status);

    ngx_http_apikeys_status_prometheus(&status, b);

    out.buf = b;
    out.next = NULL;

    return ngx_http_apikeys_status_send(r, &out, b->last - b->pos, &type,
                                        NGX_HTTP_OK);
}


/*
 * For load balancers: whether this node can decide, by apikeys_stale of the
 * location.
 */

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

    if (!ngx_apikeys_store_complete(st) || age == (uint64_t) -1) {
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
    ngx_uint_t                     i, n;
    ngx_apikeys_store_t           *st;
    ngx_http_apikeys_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);
    st = amcf->store;

    ngx_memzero(status, sizeof(ngx_http_apikeys_status_t));

    ngx_apikeys_store_stat(st, &status->store);

    status->nstubs = ngx_apikeys_store_stub_ids(st, status->stubs);
    status->leader_pid = ngx_apikeys_store_lease_holder(st);
    status->leader = (status->leader_pid != 0);

    while (status->nlines < NGX_APIKEYS_SEAL_MAX_KEYS
           && ngx_apikeys_store_line_stat(st, status->nlines,
                                          &status->lines[status->nlines])
              == NGX_OK)
    {
        status->nlines++;
    }

    n = ngx_apikeys_store_slots(st);

    for (i = 0; i < n; i++) {
        ngx_http_apikeys_status_add(status, &amcf->metrics[i],
                                    ngx_apikeys_store_process(st, i));
    }
}


/* gauges of a process that has exited stay in its row, but are not added */

static void
ngx_http_apikeys_status_add(ngx_http_apikeys_status_t *status,
    const ngx_http_apikeys_metrics_t *row, ngx_pid_t pid)
{
    uint64_t                    *sum, *value;
    ngx_uint_t                   i, n;
    ngx_http_apikeys_metrics_t   one;

    one = *row;

    if (pid == 0) {
        one.pool.open = 0;
        one.pool.busy = 0;
        one.pool.waiting = 0;
        one.usage.pending = 0;
    }

    if (pid == 0 || pid != status->leader_pid) {
        one.sync.listening = 0;
    }

    sum = (uint64_t *) &status->workers;
    value = (uint64_t *) &one;
    n = sizeof(ngx_http_apikeys_metrics_t) / sizeof(uint64_t);

    for (i = 0; i < n; i++) {
        sum[i] += value[i];
    }
}


static void
ngx_http_apikeys_status_json(ngx_http_apikeys_status_t *status,
    ngx_apikeys_json_out_t *out)
{
    static ngx_str_t                   version =
        ngx_string(NGX_HTTP_APIKEYS_VERSION);
    const ngx_http_apikeys_section_t  *section;

    ngx_apikeys_json_out_object(out);

    ngx_apikeys_json_out_name(out, "version");
    ngx_apikeys_json_out_string(out, &version);

    /* the process that answers, and the one that follows the database */

    ngx_apikeys_json_out_name(out, "pid");
    ngx_apikeys_json_out_int(out, ngx_pid);

    ngx_apikeys_json_out_name(out, "leader_pid");

    if (status->leader_pid) {
        ngx_apikeys_json_out_int(out, status->leader_pid);

    } else {
        ngx_apikeys_json_out_null(out);
    }

    for (section = ngx_http_apikeys_sections; section->name; section++) {
        ngx_http_apikeys_status_json_section(status, section, out);
    }

    ngx_http_apikeys_status_json_decisions(status, out);
    ngx_http_apikeys_status_json_stubs(status, out);
    ngx_http_apikeys_status_json_lines(status, out);

    ngx_apikeys_json_out_object_end(out);
}


static void
ngx_http_apikeys_status_json_section(ngx_http_apikeys_status_t *status,
    const ngx_http_apikeys_section_t *section, ngx_apikeys_json_out_t *out)
{
    u_char                            name[64];
    uint64_t                          value;
    const ngx_http_apikeys_metric_t  *metric;

    ngx_apikeys_json_out_name(out, section->name);
    ngx_apikeys_json_out_object(out);

    for (metric = section->metrics; metric->name; metric++) {

        value = ngx_http_apikeys_metric_value(status, metric);

        (void) ngx_slprintf(name, name + sizeof(name), "%s%s%Z", metric->name,
                            metric->type == NGX_HTTP_APIKEYS_DURATION
                            ? "_milliseconds" : "");

        ngx_apikeys_json_out_name(out, (char *) name);

        if (value == (uint64_t) -1) {
            ngx_apikeys_json_out_null(out);

        } else {
            ngx_apikeys_json_out_int(out, value);
        }
    }

    ngx_apikeys_json_out_object_end(out);
}


static void
ngx_http_apikeys_status_json_decisions(ngx_http_apikeys_status_t *status,
    ngx_apikeys_json_out_t *out)
{
    ngx_uint_t        i;
    const ngx_str_t  *name;

    ngx_apikeys_json_out_name(out, "decisions");
    ngx_apikeys_json_out_object(out);

    for (i = 0; i < NGX_HTTP_APIKEYS_DECISIONS; i++) {
        name = ngx_http_apikeys_ctx_decision_name(i);

        ngx_apikeys_json_out_name(out, (const char *) name->data);
        ngx_apikeys_json_out_int(out, status->workers.decisions[i]);
    }

    ngx_apikeys_json_out_object_end(out);
}


static void
ngx_http_apikeys_status_json_stubs(ngx_http_apikeys_status_t *status,
    ngx_apikeys_json_out_t *out)
{
    u_char      text[NGX_APIKEYS_OBJECTID_TEXT_LEN];
    ngx_str_t   id;
    ngx_uint_t  i;

    ngx_apikeys_json_out_name(out, "keys_without_room");
    ngx_apikeys_json_out_array(out);

    for (i = 0; i < status->nstubs; i++) {
        id.data = text;
        id.len = ngx_apikeys_objectid_write(text, &status->stubs[i]) - text;

        ngx_apikeys_json_out_string(out, &id);
    }

    ngx_apikeys_json_out_array_end(out);
}


/* the number of keys that each line of the master key file has decrypted */

static void
ngx_http_apikeys_status_json_lines(ngx_http_apikeys_status_t *status,
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


/* the text format 0.0.4 */

static void
ngx_http_apikeys_status_prometheus(ngx_http_apikeys_status_t *status,
    ngx_buf_t *b)
{
    const ngx_http_apikeys_metric_t   *metric;
    const ngx_http_apikeys_section_t  *section;

    b->last = ngx_slprintf(b->last, b->end,
                           "# HELP apikeys_build_info Version of the module, "
                           "as a label.\n"
                           "# TYPE apikeys_build_info gauge\n"
                           "apikeys_build_info{version=\"%s\"} 1\n",
                           NGX_HTTP_APIKEYS_VERSION);

    for (section = ngx_http_apikeys_sections; section->name; section++) {

        for (metric = section->metrics; metric->name; metric++) {
            b->last = ngx_http_apikeys_status_metric(b->last, b->end, status,
                                                     section->name, metric);
        }
    }

    b->last = ngx_http_apikeys_status_decisions(b->last, b->end, status);
    b->last = ngx_http_apikeys_status_lines(b->last, b->end, status);
}


static u_char *
ngx_http_apikeys_status_metric(u_char *p, u_char *last,
    ngx_http_apikeys_status_t *status, const char *section,
    const ngx_http_apikeys_metric_t *metric)
{
    u_char       name[64];
    uint64_t     value;
    const char  *type;

    value = ngx_http_apikeys_metric_value(status, metric);

    if (value == (uint64_t) -1) {
        return p;
    }

    type = (metric->type == NGX_HTTP_APIKEYS_COUNTER) ? "counter" : "gauge";

    (void) ngx_slprintf(name, name + sizeof(name), "apikeys_%s_%s%s%Z",
                        section, metric->name,
                        metric->type == NGX_HTTP_APIKEYS_DURATION ? "_seconds"
                                                                  : "");

    p = ngx_slprintf(p, last,
                     "# HELP %s %s.\n"
                     "# TYPE %s %s\n"
                     "%s",
                     name, metric->help, name, type, name);

    if (metric->type == NGX_HTTP_APIKEYS_DURATION) {
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
                     "# HELP apikeys_decisions_total Decisions on "
                     "requests.\n"
                     "# TYPE apikeys_decisions_total counter\n");

    for (i = 0; i < NGX_HTTP_APIKEYS_DECISIONS; i++) {
        p = ngx_slprintf(p, last,
                         "apikeys_decisions_total{decision=\"%V\"} %uL\n",
                         ngx_http_apikeys_ctx_decision_name(i),
                         status->workers.decisions[i]);
    }

    return p;
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
        ngx_http_apikeys_not_alone(cf, "apikeys_status", &clcf->name);
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (cf->args->nelts == 1 || ngx_strcmp(value[1].data, "json") == 0) {
        clcf->handler = ngx_http_apikeys_status_json_handler;

    } else if (ngx_strcmp(value[1].data, "prometheus") == 0) {
        clcf->handler = ngx_http_apikeys_status_prometheus_handler;

    } else if (ngx_strcmp(value[1].data, "health") == 0) {
        clcf->handler = ngx_http_apikeys_status_health_handler;

    } else {
        ngx_http_apikeys_invalid(cf, &value[1],
                                 "must be \"json\", \"prometheus\" or "
                                 "\"health\"");
        return NGX_CONF_ERROR;
    }

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_apikeys_module);
    amcf->used = 1;

    return NGX_CONF_OK;
}
