
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * One PGconn on one ngx_connection_t.
 *
 * libpq owns the socket, nginx only watches it: ngx_apikeys_pg_conn_close()
 * detaches the ngx_connection_t (c->shared) and then lets PQfinish() close.
 * The socket is constant, since libpq is given one numeric address and no
 * sslmode that tries twice.
 *
 * Reading is level-triggered: libpq reads some 16K a call, and a server that
 * closes an idle connection must be seen when it does.  Interest in reading
 * is dropped only while rows wait for their reader.  Interest in writing is
 * what PQconnectPoll() or PQflush() ask for.  One function sets both.
 *
 * This file has the life of the connection; ngx_apikeys_pg_conn_exchange.c
 * reads from it, ngx_apikeys_pg_conn_run.c sends over it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_apikeys_pg_conn.h>

#include <libpq-fe.h>
#include <openssl/err.h>


/* of our own in PQconnectStartParams() */
#define NGX_APIKEYS_PG_CONN_OPTIONS  8


static ngx_int_t ngx_apikeys_pg_conn_start(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_conf_t *conf, ngx_apikeys_pg_host_t *host,
    const char *address, const char *name);
static ngx_int_t ngx_apikeys_pg_conn_password(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_conf_t *conf, char **password);
static ngx_int_t ngx_apikeys_pg_conn_watch(ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_set(ngx_event_t *ev, ngx_int_t event,
    ngx_uint_t on);
static void ngx_apikeys_pg_conn_socket_handler(ngx_event_t *ev);
static void ngx_apikeys_pg_conn_event_handler(ngx_event_t *ev);
static void ngx_apikeys_pg_conn_process(ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_poll(ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_setup(ngx_apikeys_pg_conn_t *pc);
static void ngx_apikeys_pg_conn_notice(void *data, const PGresult *res);
static int ngx_apikeys_pg_conn_key_password(char *buf, int size, PGconn *pg);


ngx_int_t
ngx_apikeys_pg_conn_init(ngx_apikeys_pg_conn_t *pc, ngx_pool_t *pool,
    ngx_log_t *log)
{
    pc->fd = (ngx_socket_t) -1;
    pc->log = log;

    pc->timer.data = pc;
    pc->timer.log = log;
    pc->timer.cancelable = 1;

    pc->event.data = pc;
    pc->event.log = log;
    pc->event.handler = ngx_apikeys_pg_conn_event_handler;

    return ngx_array_init(&pc->prepared, pool, 16,
                          sizeof(ngx_apikeys_pg_stmt_t *));
}


/*
 * Starts a login, on a slot that is closed.  The caller bounds its time:
 * libpq's connect_timeout is of no use without blocking.  NGX_ERROR: the slot
 * is closed again.
 */

ngx_int_t
ngx_apikeys_pg_conn_open(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_conf_t *conf, ngx_apikeys_pg_host_t *host,
    const char *address, const char *name, const char *channel)
{
    u_char  *p;

    pc->prepared.nelts = 0;
    pc->statement_timeout = conf->timeout;
    pc->least_timeout = conf->timeout;
    pc->requests = 0;
    pc->flush = 0;
    pc->write = 1;
    pc->paused = 0;
    pc->resumed = 0;
    pc->forget = 0;
    pc->fatal = 0;
    pc->readonly = 0;
    pc->large = 0;
    pc->channel = channel;
    pc->tls = ngx_strcmp(host->sslmode, "disable") != 0;

    p = ngx_snprintf((u_char *) pc->label, sizeof(pc->label) - 1, "%s",
                     host->host ? host->host : "a unix socket");
    if (address && host->host && ngx_strcmp(address, host->host) != 0) {
        p = ngx_slprintf(p, (u_char *) pc->label + sizeof(pc->label) - 1,
                         " (%s)", address);
    }
    if (host->port) {
        p = ngx_slprintf(p, (u_char *) pc->label + sizeof(pc->label) - 1,
                         ":%s", host->port);
    }
    *p = '\0';

    if (ngx_apikeys_pg_conn_start(pc, conf, host, address, name) != NGX_OK
        || ngx_apikeys_pg_conn_watch(pc) != NGX_OK)
    {
        ngx_apikeys_pg_conn_close(pc);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_pg_conn_start(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_conf_t *conf, ngx_apikeys_pg_host_t *host,
    const char *address, const char *name)
{
    char                    *password;
    u_char                   options[NGX_APIKEYS_PG_HOST_OPTIONS_LEN + 256];
    u_char                   application[64];
    ngx_uint_t               i, n;
    const char              *keywords[NGX_APIKEYS_PG_HOST_OPTIONS
                                      + NGX_APIKEYS_PG_CONN_OPTIONS];
    const char              *values[NGX_APIKEYS_PG_HOST_OPTIONS
                                    + NGX_APIKEYS_PG_CONN_OPTIONS];
    ngx_apikeys_pg_hosts_t  *hosts;

    static const char       *own[] = { "options", "application_name",
                                       "sslmode", "host", "hostaddr", "port",
                                       "password", NULL };

    hosts = conf->hosts;

    if (ngx_apikeys_pg_conn_password(pc, conf, &password) != NGX_OK) {
        return NGX_ERROR;
    }

    /*
     * The server's own limits: what a worker left behind, because it was
     * killed or gave up, or the network did, ends there too.  The user's
     * options win: they are the last.
     */

    ngx_snprintf(options, sizeof(options),
                 "-c statement_timeout=%M "
                 "-c idle_in_transaction_session_timeout=%M "
                 "-c tcp_keepalives_idle=60 -c tcp_keepalives_interval=10 "
                 "-c tcp_keepalives_count=3 %s%Z",
                 conf->timeout, conf->timeout,
                 hosts->options ? hosts->options : "");

    *ngx_snprintf(application, sizeof(application) - 1, "%s%s%s",
                  hosts->application_name, name ? " " : "",
                  name ? name : "") = '\0';

    n = 0;

    for (i = 0; i < hosts->noptions; i++) {

        /* newer libpq refuse some of them where TLS is disabled */

        if (ngx_strcmp(host->sslmode, "disable") == 0
            && ngx_strncmp(hosts->keywords[i], "ssl", 3) == 0)
        {
            continue;
        }

        keywords[n] = hosts->keywords[i];
        values[n++] = hosts->values[i];
    }

    for (i = 0; own[i]; i++) {
        keywords[n + i] = own[i];
    }

    keywords[n + i] = NULL;

    /* NULL is the same as absent */

    values[n++] = (char *) options;
    values[n++] = (char *) application;
    values[n++] = host->sslmode;
    values[n++] = host->host;
    values[n++] = address;
    values[n++] = host->port;
    values[n++] = password;
    values[n] = NULL;

    pc->pg = PQconnectStartParams(keywords, values, 0);

    if (password) {
        ngx_explicit_memzero(password, conf->password.len);
        ngx_free(password);
    }

    if (pc->pg == NULL) {
        return ngx_apikeys_pg_conn_error(pc, "no memory");
    }

    if (PQstatus(pc->pg) == CONNECTION_BAD) {
        return ngx_apikeys_pg_conn_error(pc, PQerrorMessage(pc->pg));
    }

    PQsetNoticeReceiver(pc->pg, ngx_apikeys_pg_conn_notice, pc);

    return NGX_OK;
}


/* libpq wants a C string, and copies it: this one lives for a call only */

static ngx_int_t
ngx_apikeys_pg_conn_password(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_conf_t *conf, char **password)
{
    *password = NULL;

    if (conf->password.len == 0) {
        return NGX_OK;
    }

    *password = ngx_alloc(conf->password.len + 1, pc->log);
    if (*password == NULL) {
        return ngx_apikeys_pg_conn_error(pc, "no memory");
    }

    ngx_memcpy(*password, conf->password.data, conf->password.len);
    (*password)[conf->password.len] = '\0';

    return NGX_OK;
}


/* without ngx_add_conn(): it would watch for edges */

static ngx_int_t
ngx_apikeys_pg_conn_watch(ngx_apikeys_pg_conn_t *pc)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(PQsocket(pc->pg), pc->log);
    if (c == NULL) {
        return ngx_apikeys_pg_conn_error(pc, "no free worker_connections");
    }

    c->data = pc;
    c->log = pc->log;
    c->log_error = NGX_ERROR_ERR;
    c->read->log = pc->log;
    c->write->log = pc->log;
    c->read->handler = ngx_apikeys_pg_conn_socket_handler;
    c->write->handler = ngx_apikeys_pg_conn_socket_handler;

    pc->connection = c;
    pc->step = NGX_APIKEYS_PG_STEP_CONNECT;

    return ngx_apikeys_pg_conn_interest(pc);
}


/*
 * The order matters: no event may find a socket that is closed, and its
 * number, once free, is somebody else's.  Events are removed in the form
 * that tells the kernel nothing: libpq may have closed the socket already,
 * or does so a few lines below, which takes it out of epoll.
 */

void
ngx_apikeys_pg_conn_close(ngx_apikeys_pg_conn_t *pc)
{
    ngx_connection_t  *c;

    c = pc->connection;

    if (pc->event.posted) {
        ngx_delete_posted_event(&pc->event);
    }

    if (c) {
        if (c->read->active) {
            ngx_del_event(c->read, NGX_READ_EVENT, NGX_CLOSE_EVENT);
        }

        if (c->write->active) {
            ngx_del_event(c->write, NGX_WRITE_EVENT, NGX_CLOSE_EVENT);
        }

        c->shared = 1;
        ngx_close_connection(c);
        pc->connection = NULL;
    }

    PQclear(pc->row);
    PQclear(pc->result);
    pc->row = NULL;
    pc->result = NULL;

    if (pc->pg) {
        PQfinish(pc->pg);
        pc->pg = NULL;
        ERR_clear_error();
    }

    pc->ssl = NULL;
    pc->work = NULL;
    pc->step = NGX_APIKEYS_PG_STEP_NONE;
}


/* the one place that says what the socket is watched for */

ngx_int_t
ngx_apikeys_pg_conn_interest(ngx_apikeys_pg_conn_t *pc)
{
    ngx_uint_t         read, write;
    ngx_connection_t  *c;

    c = pc->connection;

    if (pc->step == NGX_APIKEYS_PG_STEP_CONNECT) {
        write = pc->write;
        read = !write;

    } else {
        write = pc->flush;
        read = !pc->paused && !pc->event.posted;
    }

    if (ngx_apikeys_pg_conn_set(c->read, NGX_READ_EVENT, read) != NGX_OK
        || ngx_apikeys_pg_conn_set(c->write, NGX_WRITE_EVENT, write) != NGX_OK)
    {
        return ngx_apikeys_pg_conn_error(pc, "its socket cannot be watched");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_pg_conn_set(ngx_event_t *ev, ngx_int_t event, ngx_uint_t on)
{
    if (on && !ev->active) {
        return ngx_add_event(ev, event, NGX_LEVEL_EVENT);
    }

    if (!on && ev->active) {
        return ngx_del_event(ev, event, 0);
    }

    return NGX_OK;
}


static void
ngx_apikeys_pg_conn_socket_handler(ngx_event_t *ev)
{
    ngx_connection_t       *c;
    ngx_apikeys_pg_conn_t  *pc;

    c = ev->data;
    pc = c->data;

    /* an idle connection at a graceful end, or worker_shutdown_timeout */

    if (c->close) {
        pc->handlers->failed(pc, "worker process is shutting down");
        return;
    }

    ngx_apikeys_pg_conn_process(pc);
}


static void
ngx_apikeys_pg_conn_event_handler(ngx_event_t *ev)
{
    ngx_apikeys_pg_conn_process(ev->data);
}


/*
 * All events of a connection end up here, in one order: read and use, then
 * set what to wait for next, then, last, report a failure, since the pool
 * closes the connection in that call.
 */

static void
ngx_apikeys_pg_conn_process(ngx_apikeys_pg_conn_t *pc)
{
    ngx_int_t  rc;

    if (pc->step == NGX_APIKEYS_PG_STEP_CONNECT) {
        rc = ngx_apikeys_pg_conn_poll(pc);

    } else {
        rc = ngx_apikeys_pg_conn_exchange(pc);
    }

    if (rc == NGX_DONE) {
        /* closed meanwhile */
        return;
    }

    /* what OpenSSL leaves in its queue would be taken for nginx's own */

    if (pc->tls) {
        ERR_clear_error();
    }

    if (rc != NGX_ERROR) {
        rc = ngx_apikeys_pg_conn_interest(pc);
    }

    if (rc == NGX_ERROR) {
        pc->handlers->failed(pc, pc->error);
    }
}


/*
 * The socket is never another one, or else the one that is watched would be
 * a stranger's.  A failure may already have closed it, so only a success can
 * be asked.
 */

static ngx_int_t
ngx_apikeys_pg_conn_poll(ngx_apikeys_pg_conn_t *pc)
{
    PostgresPollingStatusType  status;

    status = PQconnectPoll(pc->pg);

    if (status == PGRES_POLLING_FAILED) {
        return ngx_apikeys_pg_conn_error(pc, PQerrorMessage(pc->pg));
    }

    if (PQsocket(pc->pg) != pc->connection->fd) {
        ngx_log_error(NGX_LOG_ALERT, pc->log, 0,
                      "database %s: libpq changed the socket from %d to %d",
                      pc->label, pc->connection->fd, PQsocket(pc->pg));
        return ngx_apikeys_pg_conn_error(pc, "the socket has changed");
    }

    if (status == PGRES_POLLING_OK) {
        return ngx_apikeys_pg_conn_setup(pc);
    }

    pc->write = (status == PGRES_POLLING_WRITING);

    return NGX_OK;
}


/*
 * The server may be a standby, or read-only by its configuration: then the
 * next host is tried.  In recovery transaction_read_only is on, too.
 *
 * Time-outs that a site has for its sessions end neither an idle connection
 * nor a long load: statements and idle transactions have our own.
 *
 * A server that can is to look after its client: libpq's cancel request
 * blocks, so a statement that nobody waits for ends by the close of its
 * connection.  Beyond Linux a server may refuse the parameter, and the login
 * with it; one that was chosen by its administrator or user stays.
 */

static ngx_int_t
ngx_apikeys_pg_conn_setup(ngx_apikeys_pg_conn_t *pc)
{
    int          ok;
    int          version;
    u_char       sql[640];

    static const char  idle[] =
        ", pg_catalog.set_config('idle_session_timeout', '0', false)";
    static const char  transaction[] =
        ", pg_catalog.set_config('transaction_timeout', '0', false)";
    static const char  interval[] =
        ", pg_catalog.set_config(name, CASE WHEN setting <> '0'"
        " OR pg_catalog.version() NOT LIKE '%linux%' THEN setting"
        " ELSE '500' END, false) FROM (SELECT name,"
        " pg_catalog.current_setting(name) AS setting"
        " FROM (VALUES ('client_connection_check_interval')) AS v (name)) s";

    pc->write = 0;

    if (PQsetnonblocking(pc->pg, 1) != 0) {
        return ngx_apikeys_pg_conn_error(pc, PQerrorMessage(pc->pg));
    }

    if (pc->tls) {
        pc->ssl = PQsslStruct(pc->pg, "OpenSSL");

        if (!PQsslInUse(pc->pg)) {
            return ngx_apikeys_pg_conn_error(pc, "it is not encrypted");
        }
    }

    version = PQserverVersion(pc->pg);

    ngx_snprintf(sql, sizeof(sql),
                 "SELECT pg_catalog.current_setting('transaction_read_only')"
                 "%s%s%s%s%s%s%Z",
                 (version >= 170000) ? transaction : "",
                 (version >= 140000) ? idle : "",
                 (version >= 140000) ? interval : "",
                 pc->channel ? "; LISTEN \"" : "",
                 pc->channel ? pc->channel : "", pc->channel ? "\"" : "");

    ok = PQsendQuery(pc->pg, (char *) sql);

    return ngx_apikeys_pg_conn_run_sent(pc, ok, NGX_APIKEYS_PG_STEP_SETUP);
}


/* an idle connection has no rows: NGX_AGAIN cannot be */

ngx_int_t
ngx_apikeys_pg_conn_check(ngx_apikeys_pg_conn_t *pc)
{
    ngx_int_t  rc;

    rc = ngx_apikeys_pg_conn_exchange(pc);

    return (rc == NGX_OK) ? NGX_OK : NGX_ERROR;
}


const char *
ngx_apikeys_pg_conn_unusable(ngx_apikeys_pg_conn_t *pc)
{
    if (pc->fatal) {
        return pc->error;
    }

    if (PQstatus(pc->pg) != CONNECTION_OK) {
        return "it is broken";
    }

    if (pc->flush) {
        return "it has output left";
    }

    if (PQtransactionStatus(pc->pg) != PQTRANS_IDLE) {
        return "it was left inside a transaction";
    }

    return NULL;
}


void
ngx_apikeys_pg_conn_clear(ngx_apikeys_pg_work_t *work)
{
    PQclear(work->result);
    work->result = NULL;
}


/* libpq's messages have several lines */

ngx_int_t
ngx_apikeys_pg_conn_error(ngx_apikeys_pg_conn_t *pc, const char *text)
{
    u_char  *p, *last;

    p = (u_char *) pc->error;
    last = p + sizeof(pc->error) - 1;

    while (*text && p < last) {

        if ((u_char) *text >= ' ') {
            *p++ = *text;

        } else if (p > (u_char *) pc->error && p[-1] != ' ') {
            *p++ = ' ';
        }

        text++;
    }

    while (p > (u_char *) pc->error && p[-1] == ' ') {
        p--;
    }

    *p = '\0';

    return NGX_ERROR;
}


/*
 * A server that ends an idle session says so in a message that libpq takes
 * for a notice, before it closes.
 */

static void
ngx_apikeys_pg_conn_notice(void *data, const PGresult *res)
{
    ngx_apikeys_pg_conn_t  *pc = data;

    ngx_uint_t   level;
    const char  *severity, *message;

    severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

    if (severity == NULL || message == NULL) {
        severity = "";
        message = PQresultErrorMessage(res);
    }

    if (ngx_strcmp(severity, "FATAL") == 0
        || ngx_strcmp(severity, "PANIC") == 0)
    {
        pc->fatal = 1;
        (void) ngx_apikeys_pg_conn_error(pc, message);
        return;
    }

    level = ngx_strcmp(severity, "WARNING") == 0 ? NGX_LOG_WARN
                                                 : NGX_LOG_INFO;

    ngx_log_error(level, pc->log, 0, "database %s: %s", pc->label, message);
}


static int
ngx_apikeys_pg_conn_key_password(char *buf, int size, PGconn *pg)
{
    return 0;
}


ngx_int_t
ngx_apikeys_pg_conn_configure(ngx_conf_t *cf, ngx_apikeys_pg_conf_t *conf)
{
    /* nginx has set up OpenSSL */

    PQinitOpenSSL(0, 0);

    /* OpenSSL would ask the terminal for the password of a key */

    PQsetSSLKeyPassHook_OpenSSL(ngx_apikeys_pg_conn_key_password);

    return ngx_apikeys_pg_host_configure(cf, conf);
}
