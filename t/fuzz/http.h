
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * For the targets that know HTTP: the module as it is configured, over a zone
 * with two organizations, and requests that nginx's own parsers have read.
 * No server: the targets call what its phases would have called.
 */


#ifndef _FUZZ_HTTP_H_INCLUDED_
#define _FUZZ_HTTP_H_INCLUDED_


#include "fuzz.h"

#include <ngx_apikeys_clock.h>
#include <ngx_http_apikeys_routes.h>
#include <ngx_http_apikeys_receipt.h>

#include <openssl/sha.h>


#define FUZZ_ORG      "5f0000000000000000000001"
#define FUZZ_PROJECT  "5f0000000000000000000002"
#define FUZZ_OWNER    "5f0000000000000000000003"
#define FUZZ_READER   "5f0000000000000000000004"
#define FUZZ_OTHER    "5f0000000000000000000005"    /* an organization */
#define FUZZ_FOREIGN  "5f0000000000000000000006"    /* its owner */

#define FUZZ_PRIVATE  "01234567-89ab-4cde-8f01-23456789abcd"
#define FUZZ_TOKEN    "token"


static ngx_http_apikeys_main_conf_t  fuzz_main;
static ngx_http_apikeys_loc_conf_t   fuzz_api[] = {
    { .api = NGX_HTTP_APIKEYS_API_ATLAS_V1,
      .base = ngx_string("/api/atlas/v1.0") },
    { .api = NGX_HTTP_APIKEYS_API_ATLAS_V2,
      .base = ngx_string("/api/atlas/v2") },
    { .api = NGX_HTTP_APIKEYS_API_OPS_MANAGER,
      .base = ngx_string("/api/public/v1.0") },
    { .api = NGX_HTTP_APIKEYS_API_NATIVE,
      .base = ngx_string("/api/v1") }
};


static void
fuzz_alert(ngx_log_t *log, ngx_uint_t level, u_char *buf, size_t len)
{
    fprintf(stderr, "%.*s\n", (int) len, buf);
    abort();
}


static ngx_apikeys_objectid_t
fuzz_id(const char *text)
{
    ngx_str_t               s;
    ngx_apikeys_objectid_t  id;

    s.len = strlen(text);
    s.data = (u_char *) text;

    must(ngx_apikeys_objectid_parse(&id, &s) == NGX_OK);

    return id;
}


static void
fuzz_key(uint32_t load, const char *id, const char *org, const char *name,
    uint32_t roles, uint32_t project_roles)
{
    ngx_str_t                  public_key, private_key;
    ngx_apikeys_cidr_t         none;
    ngx_apikeys_store_key_t    key;
    ngx_apikeys_store_grant_t  grant;

    memset(&key, 0, sizeof(key));
    key.entries = &none;

    public_key.len = NGX_APIKEYS_PUBLIC_KEY_LEN;
    public_key.data = (u_char *) name;
    ngx_str_set(&private_key, FUZZ_PRIVATE);

    key.id = fuzz_id(id);
    key.secret_id = key.id;
    key.org = fuzz_id(org);
    key.version = 1;
    key.roles = roles;
    memcpy(key.public_key, name, NGX_APIKEYS_PUBLIC_KEY_LEN);

    must(ngx_apikeys_seal_hash(&key.secret, &public_key, &fuzz_main.realm,
                               &private_key)
         == NGX_OK);

    if (project_roles) {
        grant.id = fuzz_id(FUZZ_PROJECT);
        grant.roles = project_roles;
        key.ngrants = 1;
        key.grants = &grant;
    }

    must(ngx_apikeys_store_publish_key_locked(fuzz_main.store, &key, load)
         == NGX_OK);
}


static void
fuzz_load(void)
{
    uint32_t                      load;
    ngx_int_t                     rc;
    ngx_apikeys_store_t          *st;
    ngx_apikeys_store_org_t       org;
    ngx_apikeys_store_project_t   project;

    st = fuzz_main.store;

    must(ngx_apikeys_store_lock(st) == NGX_OK);
    load = ngx_apikeys_store_load_begin_locked(st, 1);

    memset(&org, 0, sizeof(org));
    org.version = 1;
    org.id = fuzz_id(FUZZ_ORG);
    must(ngx_apikeys_store_publish_org_locked(st, &org, load) == NGX_OK);
    org.id = fuzz_id(FUZZ_OTHER);
    must(ngx_apikeys_store_publish_org_locked(st, &org, load) == NGX_OK);

    memset(&project, 0, sizeof(project));
    project.version = 1;
    project.id = fuzz_id(FUZZ_PROJECT);
    project.org = fuzz_id(FUZZ_ORG);
    must(ngx_apikeys_store_publish_project_locked(st, &project, load)
         == NGX_OK);

    fuzz_key(load, FUZZ_OWNER, FUZZ_ORG, "ownerabc", NGX_APIKEYS_ORG_OWNER, 0);
    fuzz_key(load, FUZZ_READER, FUZZ_ORG, "readerab",
             NGX_APIKEYS_ORG_READ_ONLY, NGX_APIKEYS_GROUP_READ_ONLY);
    fuzz_key(load, FUZZ_FOREIGN, FUZZ_OTHER, "foreigna",
             NGX_APIKEYS_ORG_OWNER, 0);

    do {
        rc = ngx_apikeys_store_load_sweep_locked(st, load);
    } while (rc == NGX_AGAIN);

    must(rc == NGX_OK);
    ngx_apikeys_store_unlock(st);
    ngx_apikeys_store_set_fresh(st, ngx_apikeys_clock_boot_ms());
}


/* what ngx_init_cycle() does with the zone, and each process with its own */

static void
fuzz_zone(ngx_conf_t *cf)
{
    size_t            nonces;
    u_char            print[32];
    ngx_shm_zone_t   *zone;
    ngx_slab_pool_t  *sp;
    static ngx_str_t  name = ngx_string("fuzz");

    nonces = ngx_apikeys_nonce_table_size(65536);

    must(ngx_list_init(&fuzz_cycle.shared_memory, cf->pool, 1,
                       sizeof(ngx_shm_zone_t))
         == NGX_OK);

    fuzz_main.store = ngx_apikeys_store_create(cf, &name, 1024 * 1024, &name,
                                               nonces);
    must(fuzz_main.store != NULL);
    memset(print, 1, sizeof(print));
    ngx_apikeys_store_set_fingerprint(fuzz_main.store, print);

    zone = fuzz_cycle.shared_memory.part.elts;
    zone->shm.log = cf->log;
    must(ngx_shm_alloc(&zone->shm) == NGX_OK);

    sp = (ngx_slab_pool_t *) zone->shm.addr;
    sp->end = zone->shm.addr + zone->shm.size;
    sp->min_shift = 3;
    sp->addr = zone->shm.addr;
    must(ngx_shmtx_create(&sp->mutex, &sp->lock, NULL) == NGX_OK);
    ngx_slab_init(sp);

    must(zone->init(zone, NULL) == NGX_OK);
    must(ngx_apikeys_store_init_process(fuzz_main.store, cf->log) == NGX_OK);
    must(ngx_apikeys_nonce_init_process(fuzz_main.nonce,
                                        ngx_apikeys_store_metrics_and_nonces(
                                                         fuzz_main.store),
                                        nonces, cf->log)
         == NGX_OK);
}


static void
fuzz_seal(ngx_conf_t *cf)
{
    int               fd;
    char              name[] = "/tmp/ak-fuzz-XXXXXX";
    ngx_str_t         file;
    static const char text[] = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";

    fd = mkstemp(name);
    must(fd != -1);
    must(write(fd, text, sizeof(text) - 1) == sizeof(text) - 1);
    close(fd);

    file.len = strlen(name);
    file.data = (u_char *) name;

    fuzz_main.seal = ngx_apikeys_seal_create(cf, &file);
    must(unlink(name) == 0);
    must(fuzz_main.seal != NULL);
    fuzz_main.nonce = ngx_apikeys_nonce_create(cf, fuzz_main.seal);
    must(fuzz_main.nonce != NULL);
}


/* once; what the configuration and the start of a worker bring about */

static void
fuzz_configure(void)
{
    ngx_conf_t     cf;
    ngx_uint_t     i;
    static u_char  token[SHA256_DIGEST_LENGTH];

    static ngx_http_apikeys_metrics_t  metrics;

    if (fuzz_main.store) {
        return;
    }

    memset(&cf, 0, sizeof(cf));
    cf.cycle = &fuzz_cycle;
    cf.pool = fuzz_cycle.pool;
    cf.log = &fuzz_log;

    fuzz_log.log_level = NGX_LOG_ALERT;
    fuzz_log.writer = fuzz_alert;
    ngx_http_core_module.ctx_index = 0;
    ngx_http_apikeys_module.ctx_index = 1;

    for (ngx_pagesize_shift = 0; ngx_pagesize >> (ngx_pagesize_shift + 1);
         ngx_pagesize_shift++)
    {
        /* void */
    }

    ngx_slab_sizes_init();

    ngx_str_set(&fuzz_main.realm, "MMS Public API");
    fuzz_main.sync.realm = fuzz_main.realm;
    fuzz_main.token = token;
    must(SHA256((u_char *) FUZZ_TOKEN, sizeof(FUZZ_TOKEN) - 1, token) != NULL);
    fuzz_main.worker.metrics = &metrics;
    must(ngx_http_apikeys_routes_init(&cf, &fuzz_main) == NGX_OK);

    for (i = 0; i < 3; i++) {
        fuzz_api[i].auth = NGX_HTTP_APIKEYS_AUTH_DIGEST
                           |NGX_HTTP_APIKEYS_AUTH_DIGEST_SHA256
                           |NGX_HTTP_APIKEYS_AUTH_BASIC
                           |NGX_HTTP_APIKEYS_AUTH_HEADER
                           |NGX_HTTP_APIKEYS_AUTH_BEARER;
        ngx_str_set(&fuzz_api[i].auth_header, "x-api-key");
        fuzz_api[i].stale = (ngx_msec_t) 1 << 40;
    }

    fuzz_seal(&cf);
    fuzz_zone(&cf);
    fuzz_load();

    must(ngx_event_timer_init(&fuzz_log) == NGX_OK);
    ngx_queue_init(&ngx_posted_events);

    fuzz_main.worker.receipts = ngx_http_apikeys_receipts_create(&fuzz_cycle,
                                                                 NULL,
                                                             fuzz_main.store);
    must(fuzz_main.worker.receipts != NULL);
}


/* the target, as ngx_http_process_request_uri() takes it apart */

static ngx_int_t
fuzz_uri(ngx_http_request_t *r)
{
    r->uri.len = (r->args_start ? r->args_start - 1 : r->uri_end)
                 - r->uri_start;
    r->uri.data = r->uri_start;

    r->unparsed_uri.len = r->uri_end - r->uri_start;
    r->unparsed_uri.data = r->uri_start;

    if (r->args_start && r->uri_end > r->args_start) {
        r->args.len = r->uri_end - r->args_start;
        r->args.data = r->args_start;
    }

    if (r->complex_uri || r->quoted_uri || r->empty_path_in_uri) {
        r->uri.data = ngx_pnalloc(r->pool, r->uri.len + 1);
        return ngx_http_parse_complex_uri(r, 1);
    }

    return NGX_OK;
}


/* copies without a byte to spare; nginx takes no second Authorization */

static ngx_int_t
fuzz_header(ngx_http_request_t *r)
{
    size_t            len;
    ngx_table_elt_t  *h, **known;

    h = ngx_list_push(&r->headers_in.headers);

    h->hash = 1;
    h->lowcase_key = NULL;
    h->key.len = r->header_name_end - r->header_name_start;
    h->key.data = r->header_name_start;
    len = r->header_end - r->header_start;
    h->value.len = len;
    h->value.data = ngx_pnalloc(r->pool, len ? len : 1);
    memcpy(h->value.data, r->header_start, len);

    if (h->key.len == 13
        && ngx_strncasecmp(h->key.data, (u_char *) "Authorization", 13) == 0)
    {
        known = &r->headers_in.authorization;

    } else if (h->key.len == 12
               && ngx_strncasecmp(h->key.data, (u_char *) "Content-Type", 12)
                  == 0)
    {
        known = &r->headers_in.content_type;

    } else {
        return NGX_OK;
    }

    if (*known) {
        return NGX_DECLINED;
    }

    *known = h;

    return NGX_OK;
}


/*
 * A request and its headers from the buffer's bytes, which then begins with
 * the body.  NULL when nginx would have refused it, or when it is to no API;
 * fuzz_done() in any case.
 */

static ngx_http_apikeys_loc_conf_t *
fuzz_request(ngx_http_request_t *r, ngx_buf_t *b, const uint8_t *data,
    size_t size)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    static void               *conf[2];
    static ngx_connection_t    c;
    static struct sockaddr_in  sin;
    static ngx_table_elt_t     host;

    fuzz_configure();

    memset(r, 0, sizeof(ngx_http_request_t));
    memset(b, 0, sizeof(ngx_buf_t));

    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c.log = &fuzz_log;
    c.sockaddr = (struct sockaddr *) &sin;
    c.socklen = sizeof(sin);
    ngx_str_set(&host.value, "a.example");

    r->pool = ngx_create_pool(4096, &fuzz_log);
    r->main = r;
    r->connection = &c;
    r->headers_in.host = &host;
    conf[1] = &fuzz_main;
    r->main_conf = conf;
    r->ctx = ngx_pcalloc(r->pool, sizeof(conf));
    r->loc_conf = ngx_pcalloc(r->pool, sizeof(conf));

    must(ngx_list_init(&r->headers_in.headers, r->pool, 4,
                       sizeof(ngx_table_elt_t)) == NGX_OK);
    must(ngx_list_init(&r->headers_out.headers, r->pool, 4,
                       sizeof(ngx_table_elt_t)) == NGX_OK);

    b->pos = ngx_pnalloc(r->pool, size ? size : 1);
    b->last = ngx_cpymem(b->pos, data, size);

    if (ngx_http_parse_request_line(r, b) != NGX_OK || fuzz_uri(r) != NGX_OK) {
        return NULL;
    }

    r->request_line.len = r->request_end - r->request_start;
    r->request_line.data = r->request_start;
    r->method_name.len = r->method_end - r->request_start + 1;
    r->method_name.data = r->request_line.data;

    for ( ;; ) {
        rc = ngx_http_parse_header_line(r, b, 1);

        if (rc == NGX_HTTP_PARSE_HEADER_DONE) {
            break;
        }

        if (rc != NGX_OK
            || (!r->invalid_header && fuzz_header(r) != NGX_OK))
        {
            return NULL;
        }
    }

    for (i = 0; i < 3; i++) {
        if (r->uri.len >= fuzz_api[i].base.len
            && memcmp(r->uri.data, fuzz_api[i].base.data,
                      fuzz_api[i].base.len) == 0)
        {
            r->loc_conf[1] = &fuzz_api[i];
            return &fuzz_api[i];
        }
    }

    return NULL;
}


static void
fuzz_done(ngx_http_request_t *r)
{
    ngx_destroy_pool(r->pool);
}


#endif /* _FUZZ_HTTP_H_INCLUDED_ */
