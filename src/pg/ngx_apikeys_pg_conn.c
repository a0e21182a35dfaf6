
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * One PGconn on one ngx_connection_t.
 *
 * libpq owns the socket, nginx only watches it: ngx_apikeys_pg_conn_close()
 * detaches the ngx_connection_t (c->shared), then PQfinish() closes the
 * socket.  The socket never changes, since libpq is given one numeric address
 * and no sslmode that connects twice.
 *
 * The events are level-triggered, since libpq reads only about 16K in a call.
 * The read event is removed only while rows wait for their handler; otherwise
 * it also detects that the server has closed an idle connection.  The write
 * event is set when PQconnectPoll() or PQflush() needs it.  Only
 * ngx_apikeys_pg_conn_update_events() sets them.
 *
 * A query needs up to four commands, one after the other: SET
 * statement_timeout if the session has another one, DEALLOCATE ALL if the list
 * of prepared statements may be wrong, PREPARE if it is the first use, and
 * the statement.  Only the statement sets query->sent: if the connection
 * breaks before that, the query can be repeated, even a write.
 *
 * Only PQgetResult() could block, and it is called only when PQisBusy()
 * returns 0.  More input is read only when all rows that were read have been
 * passed to their handler, so libpq's buffer stays small if the handler is
 * slow.  One event passes rows for a limited time.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_apikeys_clock.h>
#include <ngx_apikeys_pg_query.h>

#include <libpq-fe.h>
#include <openssl/err.h>
#include <openssl/ssl.h>


/* parameters of PQconnectStartParams() that ngx_apikeys_pg_conn_start() adds */
#define NGX_APIKEYS_PG_CONN_OPTIONS  8

/* a reason of a close */
#define NGX_APIKEYS_PG_CONN_POOLER                                            \
    "the pooler has changed the session of the server: set pool_mode = "      \
    "session in PgBouncer, or connect to PostgreSQL directly"

/* a message of that size enlarges a buffer of libpq, which never shrinks */
#define NGX_APIKEYS_PG_CONN_LARGE    131072

/* time for rows in one event, in microseconds */
#define NGX_APIKEYS_PG_CONN_SLICE    2000


static ngx_int_t ngx_apikeys_pg_conn_start(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_conf_t *conf, ngx_apikeys_pg_host_t *host,
    const char *address, const char *name);
static ngx_int_t ngx_apikeys_pg_conn_password(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_conf_t *conf, char **password);
static ngx_int_t ngx_apikeys_pg_conn_register(ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_update_events(ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_set_event(ngx_event_t *ev,
    ngx_int_t event, ngx_uint_t on);
static void ngx_apikeys_pg_conn_socket_handler(ngx_event_t *ev);
static void ngx_apikeys_pg_conn_event_handler(ngx_event_t *ev);
static void ngx_apikeys_pg_conn_process(ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_poll(ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_setup(ngx_apikeys_pg_conn_t *pc);
static void ngx_apikeys_pg_conn_linger(ngx_apikeys_pg_conn_t *pc, int discard);
static ngx_int_t ngx_apikeys_pg_conn_next(ngx_apikeys_pg_conn_t *pc);
static ngx_uint_t ngx_apikeys_pg_conn_prepared(ngx_apikeys_pg_conn_t *pc,
    const ngx_apikeys_pg_stmt_t *stmt);
static int ngx_apikeys_pg_conn_execute(ngx_apikeys_pg_conn_t *pc);
static int ngx_apikeys_pg_conn_send(ngx_apikeys_pg_conn_t *pc,
    ngx_str_t *params);
static ngx_int_t ngx_apikeys_pg_conn_sent(ngx_apikeys_pg_conn_t *pc, int ok,
    ngx_apikeys_pg_step_e step);
static ngx_int_t ngx_apikeys_pg_conn_flush(ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_exchange(ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_lost(ngx_apikeys_pg_conn_t *pc);
static void ngx_apikeys_pg_conn_notifications(ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_results(ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_result(ngx_apikeys_pg_conn_t *pc,
    PGresult *res);
static void ngx_apikeys_pg_conn_session(ngx_apikeys_pg_conn_t *pc,
    PGresult *res);
static ngx_int_t ngx_apikeys_pg_conn_row(ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_answered(ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_opened(ngx_apikeys_pg_conn_t *pc);
static ngx_int_t ngx_apikeys_pg_conn_finish(ngx_apikeys_pg_conn_t *pc);
static void ngx_apikeys_pg_conn_field(PGresult *res, int field,
    ngx_str_t *value);
static ngx_int_t ngx_apikeys_pg_conn_error(ngx_apikeys_pg_conn_t *pc,
    const char *text);
static void ngx_apikeys_pg_conn_notice(void *data, const PGresult *res);
static int ngx_apikeys_pg_conn_key_password(char *buf, int size, PGconn *pg);


/* in the order of the values in ngx_apikeys_pg_conn_start() */
static const char  *ngx_apikeys_pg_conn_own[] = {
    "options", "application_name", "sslmode", "host", "hostaddr", "port",
    "password", NULL
};

_Static_assert(sizeof(ngx_apikeys_pg_conn_own) / sizeof(char *)
               <= NGX_APIKEYS_PG_CONN_OPTIONS, "the own options fit");


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
 * Starts a login on a closed connection.  The caller sets a timer, as libpq
 * ignores connect_timeout in its non-blocking functions.  NGX_ERROR: the
 * connection is closed again.
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
    pc->pooler = 0;
    pc->large = 0;
    pc->channel = channel;
    pc->tls = ngx_strcmp(host->sslmode, "disable") != 0;

    p = ngx_snprintf((u_char *) pc->label, sizeof(pc->label) - 1, "%s",
                     host->host ? host->host : "unix socket");
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
        || ngx_apikeys_pg_conn_register(pc) != NGX_OK)
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

    hosts = conf->hosts;

    if (ngx_apikeys_pg_conn_password(pc, conf, &password) != NGX_OK) {
        return NGX_ERROR;
    }

    /*
     * Limits on the server, so that statements and transactions also end
     * there if the worker was killed or the network fails.  The options of
     * the connection string come last and override ours.
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

        /* newer versions of libpq reject some of them without TLS */

        if (ngx_strcmp(host->sslmode, "disable") == 0
            && ngx_strncmp(hosts->keywords[i], "ssl", 3) == 0)
        {
            continue;
        }

        keywords[n] = hosts->keywords[i];
        values[n++] = hosts->values[i];
    }

    for (i = 0; ngx_apikeys_pg_conn_own[i]; i++) {
        keywords[n + i] = ngx_apikeys_pg_conn_own[i];
    }

    keywords[n + i] = NULL;

    /* libpq ignores parameters that are NULL */

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


/* libpq needs a C string and copies it: the caller wipes and frees ours */

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


/* not by ngx_add_conn(), which registers edge-triggered events */

static ngx_int_t
ngx_apikeys_pg_conn_register(ngx_apikeys_pg_conn_t *pc)
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

    return ngx_apikeys_pg_conn_update_events(pc);
}


/*
 * The events are removed before PQfinish(), since the descriptor may be reused
 * as soon as it is closed.  NGX_CLOSE_EVENT makes no system call: libpq has
 * closed the socket already or closes it below, and that removes it from
 * epoll.
 */

void
ngx_apikeys_pg_conn_close(ngx_apikeys_pg_conn_t *pc)
{
    ngx_connection_t  *c;

    c = pc->connection;

    /* no statement runs: let the kernel send libpq's Terminate message */

    if (c && pc->step == NGX_APIKEYS_PG_STEP_NONE
        && PQsocket(pc->pg) == c->fd)
    {
        ngx_apikeys_pg_conn_linger(pc, 0);
    }

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
    pc->query = NULL;
    pc->step = NGX_APIKEYS_PG_STEP_NONE;
}


/* the only function that changes the events of the socket */

static ngx_int_t
ngx_apikeys_pg_conn_update_events(ngx_apikeys_pg_conn_t *pc)
{
    ngx_uint_t         read, write;
    ngx_connection_t  *c;

    c = pc->connection;

    /* libpq closes the socket when it reads the end of the stream */

    if (PQsocket(pc->pg) != c->fd) {
        return ngx_apikeys_pg_conn_error(pc, PQerrorMessage(pc->pg));
    }

    if (pc->step == NGX_APIKEYS_PG_STEP_CONNECT) {
        write = pc->write;
        read = !write;

    } else {
        write = pc->flush;
        read = !pc->paused && !pc->event.posted;
    }

    if (ngx_apikeys_pg_conn_set_event(c->read, NGX_READ_EVENT, read) != NGX_OK
        || ngx_apikeys_pg_conn_set_event(c->write, NGX_WRITE_EVENT, write)
           != NGX_OK)
    {
        return ngx_apikeys_pg_conn_error(pc, "cannot add socket to event loop");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_apikeys_pg_conn_set_event(ngx_event_t *ev, ngx_int_t event, ngx_uint_t on)
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

    /* set by nginx: graceful shutdown of an idle connection, or its timeout */

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
 * Handles all events of a connection: reads and processes input, then updates
 * the events.  A failure is reported last, since the pool closes the
 * connection in that call.
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
        /* a handler has closed the connection */
        return;
    }

    /* nginx would report errors left in the queue of OpenSSL as its own */

    if (pc->tls) {
        ERR_clear_error();
    }

    if (rc != NGX_ERROR) {
        rc = ngx_apikeys_pg_conn_update_events(pc);
    }

    if (rc == NGX_ERROR) {
        pc->handlers->failed(pc, pc->error);
    }
}


/*
 * Checks that PQconnectPoll() has not opened another socket, as nginx watches
 * the first one.  Not after a failure, when libpq may have closed the socket.
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
                      "apikeys: internal error: libpq changed the socket of "
                      "%s from %d to %d, please report",
                      pc->label, pc->connection->fd, PQsocket(pc->pg));
        return ngx_apikeys_pg_conn_error(pc,
                                         "internal error: socket changed");
    }

    if (status == PGRES_POLLING_OK) {
        return ngx_apikeys_pg_conn_setup(pc);
    }

    pc->write = (status == PGRES_POLLING_WRITING);

    return NGX_OK;
}


/*
 * Asks whether the server is read-only, by its configuration or as a standby,
 * where transaction_read_only is on as well: then the next host is tried.
 *
 * Gives the session a name, and asks for the process id of the server.  If
 * libpq has another one, there is a pooler in between, see
 * ngx_apikeys_pg_conn_next().
 *
 * Disables idle_session_timeout and transaction_timeout, which would end idle
 * connections and long loads; statement_timeout and
 * idle_in_transaction_session_timeout are set by ngx_apikeys_pg_conn_start().
 *
 * Sets client_connection_check_interval to 500 ms, so that the server ends
 * the statement of a connection that we close; PQcancel() would block.  Only
 * on Linux, as other systems may reject the parameter, and then the login
 * would fail.  A value that is already configured is kept.
 */

static ngx_int_t
ngx_apikeys_pg_conn_setup(ngx_apikeys_pg_conn_t *pc)
{
    int          ok;
    int          version;
    u_char       sql[896];

    static const char  session[] =
        ", pg_catalog.pg_backend_pid(), pg_catalog.set_config("
        "'apikeys.session', pg_catalog.concat(pg_catalog.pg_backend_pid(),"
        " ' ', pg_catalog.clock_timestamp()), false)";
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
            return ngx_apikeys_pg_conn_error(pc, "server does not offer TLS");
        }
    }

    ngx_apikeys_pg_conn_linger(pc, 1);

    version = PQserverVersion(pc->pg);

    ngx_snprintf(sql, sizeof(sql),
                 "SELECT pg_catalog.current_setting('transaction_read_only')"
                 "%s%s%s%s%s%s%s%Z",
                 session, (version >= 170000) ? transaction : "",
                 (version >= 140000) ? idle : "",
                 (version >= 140000) ? interval : "",
                 pc->channel ? "; LISTEN \"" : "",
                 pc->channel ? pc->channel : "", pc->channel ? "\"" : "");

    ok = PQsendQuery(pc->pg, (char *) sql);

    return ngx_apikeys_pg_conn_sent(pc, ok, NGX_APIKEYS_PG_STEP_SETUP);
}


/*
 * By default the kernel continues after close() to send what the peer has not
 * acknowledged: a statement that timed out while the network was down would
 * be executed many seconds later and overwrite later changes.  With discard
 * == 1 close(), also that of a killed worker, drops unsent data and resets
 * the connection.
 */

static void
ngx_apikeys_pg_conn_linger(ngx_apikeys_pg_conn_t *pc, int discard)
{
    struct linger  linger;

    linger.l_onoff = discard;
    linger.l_linger = 0;

    if (setsockopt(pc->connection->fd, SOL_SOCKET, SO_LINGER,
                   (const void *) &linger, sizeof(struct linger))
        == -1)
    {
        ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                      "apikeys: setsockopt(SO_LINGER) failed");
    }
}


/* whether the server's kernel has not acknowledged all data; 0 if unknown */

ngx_uint_t
ngx_apikeys_pg_conn_unacknowledged(ngx_apikeys_pg_conn_t *pc)
{
#if (NGX_LINUX)

    socklen_t        len;
    struct tcp_info  ti;

    len = sizeof(struct tcp_info);

    /* fails for a unix socket */

    return getsockopt(pc->connection->fd, IPPROTO_TCP, TCP_INFO, &ti, &len)
           == 0
           && ti.tcpi_unacked > 0;

#else

    return 0;

#endif
}


/* NGX_AGAIN (rows left) is impossible on an idle connection */

ngx_int_t
ngx_apikeys_pg_conn_check(ngx_apikeys_pg_conn_t *pc)
{
    ngx_int_t  rc;

    rc = ngx_apikeys_pg_conn_exchange(pc);

    return (rc == NGX_OK) ? NGX_OK : NGX_ERROR;
}


const char *
ngx_apikeys_pg_conn_why_unusable(ngx_apikeys_pg_conn_t *pc)
{
    if (pc->fatal) {
        return pc->error;
    }

    if (PQstatus(pc->pg) != CONNECTION_OK) {
        return "connection lost";
    }

    if (pc->flush) {
        return "unsent data";
    }

    if (PQtransactionStatus(pc->pg) != PQTRANS_IDLE) {
        return "open transaction";
    }

    return NULL;
}


/*
 * Starts a query on an idle connection.  NGX_ERROR: pc->query is still set,
 * the pool takes the query back.
 */

ngx_int_t
ngx_apikeys_pg_conn_run(ngx_apikeys_pg_conn_t *pc,
    ngx_apikeys_pg_query_t *query)
{
    pc->query = query;
    pc->requests++;

    query->conn = pc;
    query->sent = 0;
    query->reprepared = 0;
    pc->checked = 0;

    if (ngx_apikeys_pg_conn_next(pc) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_apikeys_pg_conn_update_events(pc);
}


/*
 * Sends the next command that the query needs; the statement comes last.
 *
 * A pooler that gives us another session for each transaction must be noticed:
 * LISTEN and the settings stay behind, and the server may have failed without
 * an end of our connection, so that the cursor of the feed is not valid.
 */

static ngx_int_t
ngx_apikeys_pg_conn_next(ngx_apikeys_pg_conn_t *pc)
{
    int                           ok;
    u_char                        sql[64];
    ngx_msec_t                    timeout;
    ngx_apikeys_pg_step_e         step;
    const ngx_apikeys_pg_stmt_t  *stmt;

    stmt = pc->query->stmt;
    timeout = ngx_max(pc->query->timeout, pc->least_timeout);

    if (pc->pooler && !pc->checked) {
        pc->checked = 1;
        ok = PQsendQuery(pc->pg, "SELECT pg_catalog.current_setting("
                         "'apikeys.session', true)");
        step = NGX_APIKEYS_PG_STEP_SESSION;

    } else if (timeout != pc->statement_timeout) {
        pc->statement_timeout = timeout;
        ngx_snprintf(sql, sizeof(sql), "SET statement_timeout = %M%Z",
                     timeout);
        ok = PQsendQuery(pc->pg, (char *) sql);
        step = NGX_APIKEYS_PG_STEP_TIMEOUT;

    } else if (pc->forget) {
        ok = PQsendQuery(pc->pg, "DEALLOCATE ALL");
        step = NGX_APIKEYS_PG_STEP_FORGET;

    } else if (!ngx_apikeys_pg_conn_prepared(pc, stmt)) {
        ok = PQsendPrepare(pc->pg, stmt->name, stmt->sql, stmt->nparams,
                           NULL);
        step = NGX_APIKEYS_PG_STEP_PREPARE;

    } else {
        ok = ngx_apikeys_pg_conn_execute(pc);
        step = NGX_APIKEYS_PG_STEP_EXECUTE;
    }

    return ngx_apikeys_pg_conn_sent(pc, ok, step);
}


/* compares addresses, as statements are static; there are some dozens */

static ngx_uint_t
ngx_apikeys_pg_conn_prepared(ngx_apikeys_pg_conn_t *pc,
    const ngx_apikeys_pg_stmt_t *stmt)
{
    ngx_uint_t               i;
    ngx_apikeys_pg_stmt_t  **prepared;

    prepared = pc->prepared.elts;

    for (i = 0; i < pc->prepared.nelts; i++) {
        if (prepared[i] == stmt) {
            return 1;
        }
    }

    return 0;
}


static int
ngx_apikeys_pg_conn_execute(ngx_apikeys_pg_conn_t *pc)
{
    int                      ok;
    ngx_str_t               *params;
    ngx_pool_t              *pool;
    ngx_apikeys_pg_query_t  *query;

    query = pc->query;

    if (query->make == NULL) {
        return ngx_apikeys_pg_conn_send(pc, query->params);
    }

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, pc->log);
    if (pool == NULL) {
        return 0;
    }

    params = query->make(query, pool);

    ok = params ? ngx_apikeys_pg_conn_send(pc, params) : 0;

    ngx_destroy_pool(pool);

    return ok;
}


/*
 * libpq needs C strings, but for binary parameters.  In text
 * ngx_apikeys_pg_query_start() has rejected values that contain a NUL.
 */

static int
ngx_apikeys_pg_conn_send(ngx_apikeys_pg_conn_t *pc, ngx_str_t *params)
{
    int                       ok, *lengths, *formats;
    size_t                    len;
    u_char                   *p;
    ngx_uint_t                i, n;
    const char              **values;
    ngx_apikeys_pg_query_t   *query;

    query = pc->query;
    n = query->stmt->nparams;

    len = (n + 1) * (sizeof(char *) + 2 * sizeof(int));

    for (i = 0; i < n; i++) {
        len += params[i].len + 1;
    }

    if (len > NGX_APIKEYS_PG_CONN_LARGE) {
        pc->large = 1;
    }

    values = ngx_alloc(len, pc->log);
    if (values == NULL) {
        return 0;
    }

    lengths = (int *) (values + n + 1);
    formats = lengths + n + 1;
    p = (u_char *) (formats + n + 1);

    for (i = 0; i < n; i++) {
        lengths[i] = (int) params[i].len;
        formats[i] = query->binary;

        if (params[i].data == NULL) {
            values[i] = NULL;
            continue;
        }

        values[i] = (char *) p;
        p = ngx_cpymem(p, params[i].data, params[i].len);
        *p++ = '\0';
    }

    /* from here on the server may execute it */

    query->sent = 1;

    ok = PQsendQueryPrepared(pc->pg, query->stmt->name, n, values,
                             lengths, formats, 0);
    ngx_free(values);

    if (ok && query->row) {
        ok = PQsetSingleRowMode(pc->pg);
    }

    return ok;
}


static ngx_int_t
ngx_apikeys_pg_conn_sent(ngx_apikeys_pg_conn_t *pc, int ok,
    ngx_apikeys_pg_step_e step)
{
    if (!ok) {
        return ngx_apikeys_pg_conn_error(pc, PQerrorMessage(pc->pg));
    }

    pc->step = step;
    pc->flush = 1;
    pc->told = 0;

    return ngx_apikeys_pg_conn_flush(pc);
}


/* while PQflush() has output left, the write event is set */

static ngx_int_t
ngx_apikeys_pg_conn_flush(ngx_apikeys_pg_conn_t *pc)
{
    int  n;

    if (!pc->flush) {
        return NGX_OK;
    }

    n = PQflush(pc->pg);

    if (n < 0) {
        return ngx_apikeys_pg_conn_error(pc, PQerrorMessage(pc->pg));
    }

    pc->flush = (n == 1);

    return NGX_OK;
}


/* an empty statement: the server parses it and executes nothing */

ngx_int_t
ngx_apikeys_pg_conn_ping(ngx_apikeys_pg_conn_t *pc)
{
    if (ngx_apikeys_pg_conn_sent(pc, PQsendQuery(pc->pg, ""),
                                 NGX_APIKEYS_PG_STEP_DISCARD)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_apikeys_pg_conn_update_events(pc);
}


/*
 * The answer is not examined, so the command may or may not have succeeded:
 * the next query on this connection repeats DEALLOCATE ALL or SET.
 */

ngx_int_t
ngx_apikeys_pg_conn_discard(ngx_apikeys_pg_conn_t *pc)
{
    if (pc->step == NGX_APIKEYS_PG_STEP_PREPARE) {
        pc->forget = 1;

    } else if (pc->step == NGX_APIKEYS_PG_STEP_TIMEOUT) {
        pc->statement_timeout = 0;
    }

    pc->query->conn = NULL;
    pc->query->result = NULL;
    pc->query = NULL;

    PQclear(pc->row);
    PQclear(pc->result);
    pc->row = NULL;
    pc->result = NULL;

    pc->paused = 0;
    pc->step = NGX_APIKEYS_PG_STEP_DISCARD;

    /* input that was read before a pause raises no socket event */

    ngx_post_event(&pc->event, &ngx_posted_next_events);

    return ngx_apikeys_pg_conn_update_events(pc);
}


/* posts an event, as the caller may be the row handler */

void
ngx_apikeys_pg_conn_resume(ngx_apikeys_pg_conn_t *pc)
{
    pc->resumed = 1;

    if (pc->paused) {
        pc->paused = 0;
        ngx_post_event(&pc->event, &ngx_posted_next_events);
    }
}


/*
 * Reads and processes input.  NGX_OK; NGX_AGAIN: rows are left; NGX_ERROR: see
 * pc->error; NGX_DONE: a handler has closed the connection.
 */

static ngx_int_t
ngx_apikeys_pg_conn_exchange(ngx_apikeys_pg_conn_t *pc)
{
    ngx_int_t  rc;

    if (ngx_apikeys_pg_conn_flush(pc) != NGX_OK) {
        return NGX_ERROR;
    }

    /* process what was read before, then read more */

    rc = ngx_apikeys_pg_conn_results(pc);
    if (rc != NGX_OK) {
        return rc;
    }

    for ( ;; ) {

        if (PQconsumeInput(pc->pg) == 0) {
            /* after a FATAL notice pc->error has its text */
            return pc->fatal ? NGX_ERROR
                             : ngx_apikeys_pg_conn_lost(pc);
        }

        rc = ngx_apikeys_pg_conn_results(pc);
        if (rc != NGX_OK) {
            return rc;
        }

        /* data that OpenSSL has decrypted raises no socket event */

        if (pc->ssl == NULL || SSL_pending(pc->ssl) == 0) {
            break;
        }
    }

    if (pc->step == NGX_APIKEYS_PG_STEP_NONE && pc->fatal) {
        return NGX_ERROR;
    }

    return ngx_apikeys_pg_conn_flush(pc);
}


/* libpq 14 and newer append to the message of earlier statements */

static ngx_int_t
ngx_apikeys_pg_conn_lost(ngx_apikeys_pg_conn_t *pc)
{
    const char  *message;

    message = PQerrorMessage(pc->pg);

    return ngx_apikeys_pg_conn_error(pc, ngx_strlen(message) > pc->told
                                         ? message + pc->told : message);
}


/* the number of notifications and their payloads do not matter */

static void
ngx_apikeys_pg_conn_notifications(ngx_apikeys_pg_conn_t *pc)
{
    PGnotify    *notify;
    ngx_uint_t   n;

    n = 0;

    while ((notify = PQnotifies(pc->pg)) != NULL) {
        PQfreemem(notify);
        n++;
    }

    if (n) {
        pc->handlers->notified(pc);
    }
}


/*
 * Processes the input that was read.  NGX_AGAIN: rows remain, for resume() or
 * the next iteration of the event loop, and the caller does not read more.
 * Handlers may close the connection or start another step, so no member of
 * pc is kept in a local variable across them.
 */

static ngx_int_t
ngx_apikeys_pg_conn_results(ngx_apikeys_pg_conn_t *pc)
{
    uint64_t    start;
    PGresult   *res;
    ngx_int_t   rc;
    ngx_uint_t  idle;

    if (pc->paused) {
        return NGX_AGAIN;
    }

    start = ngx_apikeys_clock_usec();

    for ( ;; ) {

        if (pc->row) {
            rc = ngx_apikeys_pg_conn_row(pc);

        } else {
            idle = (pc->step == NGX_APIKEYS_PG_STEP_NONE);

            /* PQisBusy() parses the input, also notices and notifications */

            if (PQisBusy(pc->pg) || idle) {
                ngx_apikeys_pg_conn_notifications(pc);
                return NGX_OK;
            }

            res = PQgetResult(pc->pg);
            rc = res ? ngx_apikeys_pg_conn_result(pc, res)
                     : ngx_apikeys_pg_conn_answered(pc);
        }

        if (rc != NGX_OK) {
            return rc;
        }

        if (pc->step != NGX_APIKEYS_PG_STEP_NONE
            && ngx_apikeys_clock_usec() - start
               > NGX_APIKEYS_PG_CONN_SLICE)
        {
            /* continue in the next iteration, after all other events */
            ngx_post_event(&pc->event, &ngx_posted_next_events);
            return NGX_AGAIN;
        }
    }
}


/* clears res, or keeps it as pc->row or pc->result */

static ngx_int_t
ngx_apikeys_pg_conn_result(ngx_apikeys_pg_conn_t *pc, PGresult *res)
{
    switch (PQresultStatus(res)) {

    case PGRES_SINGLE_TUPLE:

        if (pc->step == NGX_APIKEYS_PG_STEP_EXECUTE) {
            pc->row = res;
            return NGX_OK;
        }

        break;

    case PGRES_TUPLES_OK:

        if (pc->step == NGX_APIKEYS_PG_STEP_SETUP) {
            ngx_apikeys_pg_conn_session(pc, res);
            break;
        }

        /* fall through */

    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
    case PGRES_FATAL_ERROR:
    case PGRES_BAD_RESPONSE:

        /* the last result counts: a commit can fail after its statement */

        if (pc->step == NGX_APIKEYS_PG_STEP_DISCARD) {
            break;
        }

        PQclear(pc->result);
        pc->result = res;
        return NGX_OK;

    default:

        /* COPY: PQgetResult() would return this result repeatedly */

        PQclear(res);
        return ngx_apikeys_pg_conn_error(pc, "unexpected COPY");
    }

    PQclear(res);

    return NGX_OK;
}


/* reads the row of ngx_apikeys_pg_conn_setup() */

static void
ngx_apikeys_pg_conn_session(ngx_apikeys_pg_conn_t *pc, PGresult *res)
{
    if (PQntuples(res) != 1) {
        pc->readonly = 1;
        return;
    }

    pc->readonly = ngx_strcmp(PQgetvalue(res, 0, 0), "off") != 0;
    pc->pooler = atoi(PQgetvalue(res, 0, 1)) != PQbackendPID(pc->pg);

    (void) ngx_cpystrn((u_char *) pc->session,
                       (u_char *) PQgetvalue(res, 0, 2), sizeof(pc->session));

    /* a pooler may have ignored the options of the login */

    if (pc->pooler) {
        pc->statement_timeout = 0;
    }
}


/*
 * The handler may cancel the query, which may be freed then: "query" is used
 * only if pc->query still refers to it.
 */

static ngx_int_t
ngx_apikeys_pg_conn_row(ngx_apikeys_pg_conn_t *pc)
{
    ngx_int_t                rc;
    ngx_apikeys_pg_query_t  *query;

    /* for the call only: the connection still owns the row */

    query = pc->query;
    query->result = pc->row;
    query->given = 1;

    pc->resumed = 0;

    rc = pc->handlers->row(pc, query);

    if (pc->pg == NULL) {
        return NGX_DONE;
    }

    if (pc->query != query) {
        /* ngx_apikeys_pg_conn_discard() has cleared the row, too */
        return NGX_OK;
    }

    query->result = NULL;

    if (rc == NGX_AGAIN) {

        if (pc->resumed) {
            ngx_post_event(&pc->event, &ngx_posted_next_events);

        } else {
            pc->paused = 1;
        }

        return NGX_AGAIN;
    }

    /* rc == NGX_OK */

    PQclear(pc->row);
    pc->row = NULL;

    return NGX_OK;
}


/*
 * PQgetResult() has returned NULL: the server is ready for the next command.
 * Only now the outcome of a statement is known, as the server commits after
 * it has sent the result.
 */

static ngx_int_t
ngx_apikeys_pg_conn_answered(ngx_apikeys_pg_conn_t *pc)
{
    ngx_uint_t               failed;
    ngx_apikeys_pg_step_e    step;
    ngx_apikeys_pg_stmt_t  **stmt;

    if (PQstatus(pc->pg) != CONNECTION_OK) {
        return pc->fatal ? NGX_ERROR
                         : ngx_apikeys_pg_conn_error(pc,
                                                     PQerrorMessage(pc->pg));
    }

    pc->told = ngx_strlen(PQerrorMessage(pc->pg));

    failed = pc->result
             && (PQresultStatus(pc->result) == PGRES_FATAL_ERROR
                 || PQresultStatus(pc->result) == PGRES_BAD_RESPONSE);
    step = pc->step;

    switch (step) {

    case NGX_APIKEYS_PG_STEP_SETUP:
        return ngx_apikeys_pg_conn_opened(pc);

    case NGX_APIKEYS_PG_STEP_DISCARD:
        pc->step = NGX_APIKEYS_PG_STEP_NONE;
        pc->handlers->drained(pc);
        return pc->pg ? NGX_OK : NGX_DONE;

    case NGX_APIKEYS_PG_STEP_EXECUTE:
        return ngx_apikeys_pg_conn_finish(pc);

    default:
        break;
    }

    if (failed) {
        return ngx_apikeys_pg_conn_finish(pc);
    }

    if (step == NGX_APIKEYS_PG_STEP_SESSION) {

        if (pc->result == NULL || PQntuples(pc->result) != 1
            || ngx_strcmp(PQgetvalue(pc->result, 0, 0), pc->session) != 0)
        {
            return ngx_apikeys_pg_conn_error(pc, NGX_APIKEYS_PG_CONN_POOLER);
        }

    } else if (step == NGX_APIKEYS_PG_STEP_FORGET) {
        pc->prepared.nelts = 0;
        pc->forget = 0;

    } else if (step == NGX_APIKEYS_PG_STEP_PREPARE) {
        stmt = ngx_array_push(&pc->prepared);
        if (stmt == NULL) {
            return ngx_apikeys_pg_conn_error(pc, "no memory");
        }

        *stmt = (ngx_apikeys_pg_stmt_t *) pc->query->stmt;
    }

    PQclear(pc->result);
    pc->result = NULL;

    return ngx_apikeys_pg_conn_next(pc);
}


static ngx_int_t
ngx_apikeys_pg_conn_opened(ngx_apikeys_pg_conn_t *pc)
{
    /* on a standby LISTEN fails, too: report that it is a standby instead */

    if (pc->readonly) {
        return ngx_apikeys_pg_conn_error(pc, NGX_APIKEYS_PG_CONN_STANDBY);
    }

    if (pc->result && PQresultStatus(pc->result) == PGRES_FATAL_ERROR) {
        return ngx_apikeys_pg_conn_error(pc,
                                         PQresultErrorMessage(pc->result));
    }

    PQclear(pc->result);
    pc->result = NULL;

    pc->step = NGX_APIKEYS_PG_STEP_NONE;
    pc->handlers->opened(pc);

    return pc->pg ? NGX_OK : NGX_DONE;
}


/*
 * Moves the result to the query.  If the server no longer has the prepared
 * statement (26000), or cannot use its plan any more (0A000), nothing was
 * executed: it is prepared again, once.
 */

static ngx_int_t
ngx_apikeys_pg_conn_finish(ngx_apikeys_pg_conn_t *pc)
{
    const char              *sqlstate;
    ngx_apikeys_pg_query_t  *query;

    query = pc->query;
    sqlstate = NULL;
    query->sqlstate[0] = '\0';

    if (pc->result) {
        sqlstate = PQresultErrorField(pc->result, PG_DIAG_SQLSTATE);
    }

    if (sqlstate) {
        (void) ngx_cpystrn((u_char *) query->sqlstate, (u_char *) sqlstate,
                           sizeof(query->sqlstate));
    }

    if ((ngx_strcmp(query->sqlstate, "26000") == 0
         || ngx_strcmp(query->sqlstate, "0A000") == 0)
        && pc->step == NGX_APIKEYS_PG_STEP_EXECUTE
        && !query->reprepared && !query->given)
    {
        query->reprepared = 1;
        query->sqlstate[0] = '\0';
        pc->forget = 1;

        PQclear(pc->result);
        pc->result = NULL;

        return ngx_apikeys_pg_conn_next(pc);
    }

    switch (pc->result ? PQresultStatus(pc->result) : PGRES_COMMAND_OK) {

    case PGRES_FATAL_ERROR:
    case PGRES_BAD_RESPONSE:
        query->rc = NGX_APIKEYS_PG_FAILED;
        ngx_apikeys_pg_conn_field(pc->result, PG_DIAG_MESSAGE_PRIMARY,
                                  &query->message);
        ngx_apikeys_pg_conn_field(pc->result, PG_DIAG_MESSAGE_DETAIL,
                                  &query->detail);
        break;

    default:
        query->rc = NGX_APIKEYS_PG_OK;
    }

    if (PQresultMemorySize(pc->result)
        > (size_t) NGX_APIKEYS_PG_CONN_LARGE * (PQntuples(pc->result) + 1) / 2)
    {
        pc->large = 1;
    }

    query->result = pc->result;
    pc->result = NULL;

    pc->query = NULL;
    pc->step = NGX_APIKEYS_PG_STEP_NONE;

    pc->handlers->done(pc, query);

    /* from here on the query may have been freed */

    return pc->pg ? NGX_OK : NGX_DONE;
}


static void
ngx_apikeys_pg_conn_field(PGresult *res, int field, ngx_str_t *value)
{
    char  *text;

    text = PQresultErrorField(res, field);

    if (text) {
        value->data = (u_char *) text;
        value->len = ngx_strlen(text);
    }
}


void
ngx_apikeys_pg_conn_clear(ngx_apikeys_pg_query_t *query)
{
    PQclear(query->result);
    query->result = NULL;
}


/* makes one line of a message of libpq; always returns NGX_ERROR */

static ngx_int_t
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
 * A server that ends an idle session sends a FATAL error before it closes;
 * libpq passes it on as a notice.
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
        severity = "NOTICE";
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

    ngx_log_error(level, pc->log, 0, "apikeys: database %s says: %s: %s",
                  pc->label, severity, message);
}


static int
ngx_apikeys_pg_conn_key_password(char *buf, int size, PGconn *pg)
{
    return 0;
}


ngx_int_t
ngx_apikeys_pg_conn_configure(ngx_conf_t *cf, ngx_apikeys_pg_conf_t *conf)
{
    /* nginx has initialized OpenSSL already */

    PQinitOpenSSL(0, 0);

    /* otherwise OpenSSL would read the password of a key from the terminal */

    PQsetSSLKeyPassHook_OpenSSL(ngx_apikeys_pg_conn_key_password);

    return ngx_apikeys_pg_host_configure(cf, conf);
}
