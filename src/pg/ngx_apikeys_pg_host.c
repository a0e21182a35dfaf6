
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * Parses the connection string.  The master process does it, so that errors
 * are errors of "nginx -t".
 *
 * In a worker libpq must neither resolve a name nor open a second socket.
 * Therefore each host gets a numeric address and an sslmode with one attempt.
 * Each file that libpq would look for in a home directory gets a name, if
 * necessary that of a file that cannot exist.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_apikeys_pg_host.h>

#include <libpq-fe.h>


/* a file that cannot exist, as /dev/null is no directory */
#define NGX_APIKEYS_PG_HOST_NOWHERE  "/dev/null/none"

#define NGX_APIKEYS_PG_HOST_STRING                                           \
    "the connection string of \"apikeys_database\""

#define NGX_APIKEYS_PG_HOST_PASSWORD                                         \
    "use \"password_file=\" of the directive, outside of the string"

#define NGX_APIKEYS_PG_HOST_SERVICE                                          \
    "name \"host=\", \"dbname=\" and \"user=\" instead"

/* of sun_path, less the name that libpq appends: /.s.PGSQL.65535 */
#define NGX_APIKEYS_PG_HOST_PATH                                              \
    (sizeof(((struct sockaddr_un *) 0)->sun_path) - sizeof("/.s.PGSQL.65535"))


typedef struct {
    const char  *keyword;       /* "NAME*": all that begin with NAME */
    const char  *value;         /* the only value that is allowed; or NULL */
    const char  *advice;
} ngx_apikeys_pg_host_refused_t;


static char *ngx_apikeys_pg_host_string(ngx_conf_t *cf, const char *s,
    size_t len);
static char *ngx_apikeys_pg_host_value(PQconninfoOption *options,
    const char *keyword);
static ngx_int_t ngx_apikeys_pg_host_check(ngx_conf_t *cf,
    PQconninfoOption *options);
static ngx_uint_t ngx_apikeys_pg_host_is(const char *keyword,
    const char *name);
static ngx_int_t ngx_apikeys_pg_host_list(ngx_conf_t *cf,
    ngx_apikeys_pg_hosts_t *hosts, PQconninfoOption *options);
static char *ngx_apikeys_pg_host_item(ngx_conf_t *cf, const char *list,
    ngx_uint_t i);
static ngx_uint_t ngx_apikeys_pg_host_items(const char *list);
static ngx_int_t ngx_apikeys_pg_host_address(ngx_conf_t *cf,
    ngx_apikeys_pg_host_t *h, char *hostaddr);
static ngx_int_t ngx_apikeys_pg_host_resolve(ngx_conf_t *cf,
    ngx_apikeys_pg_host_t *h);
static char *ngx_apikeys_pg_host_text(ngx_conf_t *cf, struct sockaddr *sa,
    socklen_t socklen);
static ngx_uint_t ngx_apikeys_pg_host_loopback(ngx_apikeys_pg_host_t *h);
static ngx_int_t ngx_apikeys_pg_host_sslmode(ngx_conf_t *cf,
    ngx_apikeys_pg_hosts_t *hosts, PQconninfoOption *options);
static ngx_int_t ngx_apikeys_pg_host_rootcert(ngx_conf_t *cf,
    ngx_apikeys_pg_host_t *h, char *file);
static ngx_int_t ngx_apikeys_pg_host_files(ngx_conf_t *cf,
    PQconninfoOption *options);
static ngx_int_t ngx_apikeys_pg_host_options(ngx_conf_t *cf,
    ngx_apikeys_pg_hosts_t *hosts, PQconninfoOption *options);
static ngx_int_t ngx_apikeys_pg_host_session(ngx_conf_t *cf,
    ngx_apikeys_pg_hosts_t *hosts, PQconninfoOption *options);
static void ngx_apikeys_pg_host_option(ngx_apikeys_pg_hosts_t *hosts,
    const char *keyword, const char *value);


static ngx_apikeys_pg_host_refused_t  ngx_apikeys_pg_host_refused[] = {

    { "password", NULL, NGX_APIKEYS_PG_HOST_PASSWORD
                        ", \"nginx -T\" would show the password" },
    { "passfile", NULL, NGX_APIKEYS_PG_HOST_PASSWORD },
    { "sslpassword", NULL, "use a key without a password that only the user "
                           "of the workers can read, \"nginx -T\" would show "
                           "the password" },
    { "sslkeylogfile", NULL, "remove the parameter, the file would contain "
                             "the keys of sessions" },
    { "scram_*", NULL, NGX_APIKEYS_PG_HOST_PASSWORD
                       ", \"nginx -T\" would show the key" },
    { "oauth_*", NULL, NGX_APIKEYS_PG_HOST_PASSWORD },
    { "service", NULL, NGX_APIKEYS_PG_HOST_SERVICE },
    { "servicefile", NULL, NGX_APIKEYS_PG_HOST_SERVICE },
    { "connect_timeout", NULL, "use \"connect_timeout=\" of the directive, "
                               "outside of the string" },
    { "replication", NULL, "remove the parameter" },
    { "load_balance_hosts", "disable", "remove the parameter, hosts are "
                                       "tried in their order" },
    { "gssencmode", "disable", "remove the parameter, use TLS" },
    { "client_encoding", "UTF8", "remove the parameter, the encoding is "
                                 "always UTF8" },
    { "target_session_attrs", "read-write", "remove the parameter, only "
                                            "\"read-write\" is possible" },

    { NULL, NULL, NULL }
};


/* set for each host or each connection */
static const char  *ngx_apikeys_pg_host_own[] = {
    "host", "hostaddr", "port", "sslmode", "application_name", "options",
    "gssencmode", "client_encoding", "target_session_attrs",
    "fallback_application_name", NULL
};


ngx_int_t
ngx_apikeys_pg_host_configure(ngx_conf_t *cf, ngx_apikeys_pg_conf_t *conf)
{
    char                    *err, *conninfo;
    size_t                   len;
    ngx_int_t                rc;
    PQconninfoOption        *options;
    ngx_apikeys_pg_hosts_t  *hosts;

    conninfo = ngx_apikeys_pg_host_string(cf, (char *) conf->conninfo.data,
                                          conf->conninfo.len);
    hosts = ngx_pcalloc(cf->pool, sizeof(ngx_apikeys_pg_hosts_t));

    if (conninfo == NULL || hosts == NULL) {
        return NGX_ERROR;
    }

    options = PQconninfoParse(conninfo, &err);

    if (options == NULL) {
        len = err ? ngx_strlen(err) : 0;

        while (len && (err[len - 1] == LF || err[len - 1] == CR)) {
            len--;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid connection string in "
                           "\"apikeys_database\": %*s",
                           err ? len : sizeof("no memory") - 1,
                           err ? err : "no memory");
        PQfreemem(err);
        return NGX_ERROR;
    }

    rc = ngx_apikeys_pg_host_check(cf, options);

    if (rc == NGX_OK) {
        rc = ngx_apikeys_pg_host_list(cf, hosts, options);
    }

    if (rc == NGX_OK) {
        rc = ngx_apikeys_pg_host_sslmode(cf, hosts, options);
    }

    if (rc == NGX_OK) {
        rc = ngx_apikeys_pg_host_options(cf, hosts, options);
    }

    PQconninfoFree(options);

    conf->hosts = hosts;

    return rc;
}


static char *
ngx_apikeys_pg_host_string(ngx_conf_t *cf, const char *s, size_t len)
{
    char  *p;

    p = ngx_pnalloc(cf->pool, len + 1);
    if (p == NULL) {
        return NULL;
    }

    ngx_memcpy(p, s, len);
    p[len] = '\0';

    return p;
}


/* an empty value is NULL, too, as libpq ignores it */

static char *
ngx_apikeys_pg_host_value(PQconninfoOption *options, const char *keyword)
{
    PQconninfoOption  *o;

    for (o = options; o->keyword; o++) {
        if (ngx_strcmp(o->keyword, keyword) == 0) {
            return (o->val && o->val[0]) ? o->val : NULL;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_apikeys_pg_host_check(ngx_conf_t *cf, PQconninfoOption *options)
{
    PQconninfoOption               *o;
    ngx_apikeys_pg_host_refused_t  *r;

    for (o = options; o->keyword; o++) {

        if (o->val == NULL || o->val[0] == '\0') {
            continue;
        }

        for (r = ngx_apikeys_pg_host_refused; r->keyword; r++) {
            if (ngx_apikeys_pg_host_is(o->keyword, r->keyword)) {
                break;
            }
        }

        if (r->keyword == NULL
            || (r->value && ngx_strcasecmp((u_char *) o->val,
                                           (u_char *) r->value) == 0))
        {
            continue;
        }

        /* the value is not shown: it may be a password */

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s=\" is not allowed in "
                           NGX_APIKEYS_PG_HOST_STRING ": %s",
                           o->keyword, r->advice);
        return NGX_ERROR;
    }

    if (ngx_apikeys_pg_host_value(options, "user") == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           NGX_APIKEYS_PG_HOST_STRING " has no \"user=\": "
                           "name nginx's role, such as "
                           "\"user=apikeys_nginx\"");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_apikeys_pg_host_is(const char *keyword, const char *name)
{
    size_t  len;

    len = ngx_strlen(name) - 1;

    return (name[len] == '*') ? ngx_strncmp(keyword, name, len) == 0
                              : ngx_strcmp(keyword, name) == 0;
}


static ngx_int_t
ngx_apikeys_pg_host_list(ngx_conf_t *cf, ngx_apikeys_pg_hosts_t *hosts,
    PQconninfoOption *options)
{
    char                   *host, *hostaddr, *port;
    ngx_uint_t              i, nhosts, naddrs, nports;
    ngx_apikeys_pg_host_t  *h;

    host = ngx_apikeys_pg_host_value(options, "host");
    hostaddr = ngx_apikeys_pg_host_value(options, "hostaddr");
    port = ngx_apikeys_pg_host_value(options, "port");

    nhosts = ngx_apikeys_pg_host_items(host);
    naddrs = ngx_apikeys_pg_host_items(hostaddr);
    nports = ngx_apikeys_pg_host_items(port);

    hosts->n = ngx_max(ngx_max(nhosts, naddrs), 1);

    if ((nhosts && naddrs && nhosts != naddrs)
        || (nports > 1 && nports != hosts->n))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"host=\", \"hostaddr=\" and \"port=\" in "
                           NGX_APIKEYS_PG_HOST_STRING " must have the same "
                           "number of values, or one port: have %ui, %ui and "
                           "%ui", nhosts, naddrs, nports);
        return NGX_ERROR;
    }

    hosts->host = ngx_pcalloc(cf->pool,
                              hosts->n * sizeof(ngx_apikeys_pg_host_t));
    if (hosts->host == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < hosts->n; i++) {
        h = &hosts->host[i];

        h->host = ngx_apikeys_pg_host_item(cf, host, i);
        h->port = ngx_apikeys_pg_host_item(cf, port, nports == 1 ? 0 : i);

        if (ngx_apikeys_pg_host_address(cf, h,
                                   ngx_apikeys_pg_host_item(cf, hostaddr, i))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static char *
ngx_apikeys_pg_host_item(ngx_conf_t *cf, const char *list, ngx_uint_t i)
{
    const char  *end;

    if (list == NULL) {
        return NULL;
    }

    for ( ;; ) {
        end = strchr(list, ',');

        if (i-- == 0) {
            break;
        }

        if (end == NULL) {
            return NULL;
        }

        list = end + 1;
    }

    if (end == NULL) {
        end = list + ngx_strlen(list);
    }

    return (end == list) ? NULL
                         : ngx_apikeys_pg_host_string(cf, list, end - list);
}


static ngx_uint_t
ngx_apikeys_pg_host_items(const char *list)
{
    ngx_uint_t  n;

    if (list == NULL) {
        return 0;
    }

    for (n = 1; *list; list++) {
        if (*list == ',') {
            n++;
        }
    }

    return n;
}


static ngx_int_t
ngx_apikeys_pg_host_address(ngx_conf_t *cf, ngx_apikeys_pg_host_t *h,
    char *hostaddr)
{
    char        *numeric;
    ngx_addr_t   addr;

    if (hostaddr == NULL
        && (h->host == NULL || h->host[0] == '/' || h->host[0] == '@'))
    {
        if (h->host && ngx_strlen(h->host) > NGX_APIKEYS_PG_HOST_PATH) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"host=%s\" in \"apikeys_database\" is too "
                               "long for the directory of a unix socket: at "
                               "most %uz bytes are possible", h->host,
                               NGX_APIKEYS_PG_HOST_PATH);
            return NGX_ERROR;
        }

        if (h->host && h->host[0] == '@' && PQlibVersion() < 140000) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"host=%s\" in \"apikeys_database\" needs "
                               "libpq 14 or newer, this is libpq %d: use a "
                               "directory", h->host, PQlibVersion() / 10000);
            return NGX_ERROR;
        }

        h->local = 1;
        return NGX_OK;
    }

    numeric = hostaddr ? hostaddr : h->host;

    switch (ngx_parse_addr(cf->pool, &addr, (u_char *) numeric,
                           ngx_strlen(numeric)))
    {
    case NGX_OK:
        break;

    case NGX_DECLINED:

        if (hostaddr == NULL) {
            return ngx_apikeys_pg_host_resolve(cf, h);
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"hostaddr=%s\" in \"apikeys_database\" is not "
                           "an IP address: use \"host=\" for a name", hostaddr);

        /* fall through */

    default:
        return NGX_ERROR;
    }

    h->addrs = ngx_palloc(cf->pool, sizeof(char *));
    if (h->addrs == NULL) {
        return NGX_ERROR;
    }

    h->addrs[0] = ngx_apikeys_pg_host_text(cf, addr.sockaddr, addr.socklen);
    h->naddrs = 1;

    return h->addrs[0] ? NGX_OK : NGX_ERROR;
}


/*
 * A name that cannot be resolved here is not an error yet: the http block may
 * have a resolver, which is known only at its end.  The resolver is not asked
 * for "localhost".
 */

static ngx_int_t
ngx_apikeys_pg_host_resolve(ngx_conf_t *cf, ngx_apikeys_pg_host_t *h)
{
    ngx_url_t   u;
    ngx_uint_t  i;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.host.data = (u_char *) h->host;
    u.host.len = ngx_strlen(h->host);

    if (ngx_strcasecmp(u.host.data, (u_char *) "localhost") != 0) {
        h->name = u.host;
    }

    if (ngx_inet_resolve_host(cf->pool, &u) != NGX_OK) {

        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "host \"%s\" in \"apikeys_database\" cannot be "
                           "resolved: nginx will not connect to this host "
                           "unless \"resolver\" is set in the \"http\" block",
                           h->host);
        return NGX_OK;
    }

    h->addrs = ngx_palloc(cf->pool, u.naddrs * sizeof(char *));
    if (h->addrs == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < u.naddrs; i++) {
        h->addrs[i] = ngx_apikeys_pg_host_text(cf, u.addrs[i].sockaddr,
                                               u.addrs[i].socklen);
        if (h->addrs[i] == NULL) {
            return NGX_ERROR;
        }
    }

    h->naddrs = u.naddrs;

    return NGX_OK;
}


static char *
ngx_apikeys_pg_host_text(ngx_conf_t *cf, struct sockaddr *sa,
    socklen_t socklen)
{
    size_t  len;
    u_char  text[NGX_SOCKADDR_STRLEN];

    len = ngx_sock_ntop(sa, socklen, text, NGX_SOCKADDR_STRLEN, 0);

    return ngx_apikeys_pg_host_string(cf, (char *) text, len);
}


static ngx_uint_t
ngx_apikeys_pg_host_loopback(ngx_apikeys_pg_host_t *h)
{
    ngx_uint_t  i;

    /* the addresses of a name may change later */

    if (h->name.len) {
        return 0;
    }

    for (i = 0; i < h->naddrs; i++) {
        if (ngx_strncmp(h->addrs[i], "127.", 4) != 0
            && ngx_strcmp(h->addrs[i], "::1") != 0)
        {
            return 0;
        }
    }

    return 1;
}


/*
 * "prefer" and "allow" are refused: libpq would open a second socket, which
 * nginx does not know, and neither mode protects the connection.
 */

static ngx_int_t
ngx_apikeys_pg_host_sslmode(ngx_conf_t *cf, ngx_apikeys_pg_hosts_t *hosts,
    PQconninfoOption *options)
{
    char                   *mode, *rootcert;
    ngx_uint_t              i;
    ngx_apikeys_pg_host_t  *h;

    if (ngx_apikeys_pg_host_files(cf, options) != NGX_OK) {
        return NGX_ERROR;
    }

    mode = ngx_apikeys_pg_host_value(options, "sslmode");
    rootcert = ngx_apikeys_pg_host_value(options, "sslrootcert");

    if (mode) {
        if (ngx_strcmp(mode, "disable") != 0
            && ngx_strcmp(mode, "require") != 0
            && ngx_strcmp(mode, "verify-ca") != 0
            && ngx_strcmp(mode, "verify-full") != 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"sslmode=%s\" is not allowed in "
                               "\"apikeys_database\": use \"verify-full\" with "
                               "\"sslrootcert=\" (\"verify-ca\" and "
                               "\"require\" check less), or \"disable\" for a "
                               "connection without TLS", mode);
            return NGX_ERROR;
        }

        mode = ngx_apikeys_pg_host_string(cf, mode, ngx_strlen(mode));
        if (mode == NULL) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < hosts->n; i++) {
        h = &hosts->host[i];

        if (h->local) {
            h->sslmode = "disable";

        } else if (mode) {
            h->sslmode = mode;

        } else {
            h->sslmode = ngx_apikeys_pg_host_loopback(h) ? "disable"
                                                         : "verify-full";
        }

        if (ngx_apikeys_pg_host_rootcert(cf, h, rootcert) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_pg_host_rootcert(ngx_conf_t *cf, ngx_apikeys_pg_host_t *h,
    char *file)
{
    /* not a file: libpq 16 and newer use the CAs that OpenSSL trusts */

    if (file && ngx_strcmp(file, "system") == 0
        && ngx_strcmp(h->sslmode, "disable") != 0
        && (PQlibVersion() < 160000
            || ngx_strcmp(h->sslmode, "verify-full") != 0))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"sslrootcert=system\" in \"apikeys_database\" "
                           "needs \"sslmode=verify-full\" and libpq 16 or "
                           "newer: this is \"sslmode=%s\" and libpq %d",
                           h->sslmode, PQlibVersion() / 10000);
        return NGX_ERROR;
    }

    if (ngx_strncmp(h->sslmode, "verify-", 7) != 0) {
        return NGX_OK;
    }

    if (h->host == NULL && ngx_strcmp(h->sslmode, "verify-full") == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"sslmode=verify-full\" in \"apikeys_database\" "
                           "needs \"host=\" beside \"hostaddr=%s\": the name "
                           "in the server's certificate", h->addrs[0]);
        return NGX_ERROR;
    }

    if (file == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"sslmode=%s\" for host \"%s\" in "
                           "\"apikeys_database\" needs \"sslrootcert=\" (a "
                           "file with the CA certificate); for hosts other "
                           "than loopback \"verify-full\" is the default",
                           h->sslmode, h->host ? h->host : h->addrs[0]);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* libpq ignores a file that does not exist, and then verifies less */

static ngx_int_t
ngx_apikeys_pg_host_files(ngx_conf_t *cf, PQconninfoOption *options)
{
    char             *file;
    ngx_uint_t        i;
    ngx_file_info_t   fi;

    static const char  *files[] = { "sslrootcert", "sslcert", "sslkey",
                                    "sslcrl", "sslcrldir", NULL };

    for (i = 0; files[i]; i++) {
        file = ngx_apikeys_pg_host_value(options, files[i]);

        /* not files: "system", "engine:key", "pkcs11:..." */

        if (file == NULL
            || (i == 0 && ngx_strcmp(file, "system") == 0)
            || (file[0] != '/' && ngx_strchr(file, ':')))
        {
            continue;
        }

        if (ngx_file_info(file, &fi) == NGX_FILE_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                               "\"%s=%s\" in \"apikeys_database\" does not "
                               "exist or cannot be read, the workers must be "
                               "able to: stat() failed", files[i], file);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_pg_host_options(ngx_conf_t *cf, ngx_apikeys_pg_hosts_t *hosts,
    PQconninfoOption *options)
{
    char               *name, *value;
    ngx_uint_t          i;
    PQconninfoOption   *o;

    static const char  *files[] = { "sslrootcert", "sslcert", "sslkey",
                                    "sslcrl", "passfile", NULL };

    for (o = options; o->keyword; o++) {

        if (o->val == NULL || o->val[0] == '\0') {
            continue;
        }

        for (i = 0; ngx_apikeys_pg_host_own[i]; i++) {
            if (ngx_strcmp(o->keyword, ngx_apikeys_pg_host_own[i]) == 0) {
                break;
            }
        }

        if (ngx_apikeys_pg_host_own[i]) {
            continue;
        }

        name = ngx_apikeys_pg_host_string(cf, o->keyword,
                                          ngx_strlen(o->keyword));
        value = ngx_apikeys_pg_host_string(cf, o->val, ngx_strlen(o->val));

        if (name == NULL || value == NULL) {
            return NGX_ERROR;
        }

        ngx_apikeys_pg_host_option(hosts, name, value);
    }

    for (i = 0; files[i]; i++) {

        /* if sslcrl has a file that does not exist, sslcrldir is ignored */

        if (ngx_strcmp(files[i], "sslcrl") == 0
            && ngx_apikeys_pg_host_value(options, "sslcrldir"))
        {
            continue;
        }

        if (ngx_apikeys_pg_host_value(options, files[i]) == NULL) {
            ngx_apikeys_pg_host_option(hosts, files[i],
                                       NGX_APIKEYS_PG_HOST_NOWHERE);
        }
    }

    ngx_apikeys_pg_host_option(hosts, "gssencmode", "disable");

    /* these methods of authentication may block */

    if (PQlibVersion() >= 160000
        && ngx_apikeys_pg_host_value(options, "require_auth") == NULL)
    {
        ngx_apikeys_pg_host_option(hosts, "require_auth", "!gss,!sspi");
    }

    ngx_apikeys_pg_host_option(hosts, "client_encoding", "UTF8");

    /* the set-up of a connection checks this itself */
    ngx_apikeys_pg_host_option(hosts, "target_session_attrs", "any");

    return ngx_apikeys_pg_host_session(cf, hosts, options);
}


/* the settings that a session gets with each connection */

static ngx_int_t
ngx_apikeys_pg_host_session(ngx_conf_t *cf, ngx_apikeys_pg_hosts_t *hosts,
    PQconninfoOption *options)
{
    char  *value;

    value = ngx_apikeys_pg_host_value(options, "options");

    if (value) {
        if (ngx_strlen(value) > NGX_APIKEYS_PG_HOST_OPTIONS_LEN) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"options=\" in "
                               NGX_APIKEYS_PG_HOST_STRING " has %uz bytes, at "
                               "most %d are possible", ngx_strlen(value),
                               NGX_APIKEYS_PG_HOST_OPTIONS_LEN);
            return NGX_ERROR;
        }

        hosts->options = ngx_apikeys_pg_host_string(cf, value,
                                                    ngx_strlen(value));
        if (hosts->options == NULL) {
            return NGX_ERROR;
        }
    }

    value = ngx_apikeys_pg_host_value(options, "application_name");
    if (value == NULL) {
        value = "nginx apikeys";
    }

    hosts->application_name = ngx_apikeys_pg_host_string(cf, value,
                                                         ngx_strlen(value));

    return hosts->application_name ? NGX_OK : NGX_ERROR;
}


static void
ngx_apikeys_pg_host_option(ngx_apikeys_pg_hosts_t *hosts, const char *keyword,
    const char *value)
{
    /* libpq has 55 keywords: the array is never full */

    if (hosts->noptions == NGX_APIKEYS_PG_HOST_OPTIONS) {
        return;
    }

    hosts->keywords[hosts->noptions] = keyword;
    hosts->values[hosts->noptions] = value;
    hosts->noptions++;
}
