
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The columns of the type apikeys.state (sql/v1/01-tables.sql), in which the
 * database answers with keys, organizations and projects.  All statements
 * that select a state, and all that read one, are made from this one list.
 */


#ifndef _NGX_APIKEYS_STATE_H_INCLUDED_
#define _NGX_APIKEYS_STATE_H_INCLUDED_


/*
 * The columns after the first one, "kind": name, column, and the expression
 * that the API selects for the column.  If the API prints the column, the
 * expression must give the same text as the column, because the answer to a
 * change prints the column itself (NGX_APIKEYS_STATE_CHANGED).  The API never
 * prints a secret.  It reads access lists by a statement of their own, so that
 * a list of keys does not read them.
 */
#define NGX_APIKEYS_STATE_COLUMNS(column)                                    \
    column(ID, id, id)                                                       \
    column(VERSION, version, version)                                        \
    column(DELETED, deleted, deleted)                                        \
    column(ORG, org_id, org_id)                                              \
    column(PUBLIC_KEY, public_key, public_key)                               \
    column(SECRET, secret, NULL)                                             \
    column(REDACTED, redacted, redacted)                                     \
    column(DESCR, descr, descr)                                              \
    column(ROLES, roles, roles)                                              \
    column(PROJECTS, projects, projects)                                     \
    column(ENTRIES, entries, NULL)                                           \
    column(LIST_REQUIRED, access_list_required, access_list_required)        \
    column(NAME, name, name)                                                 \
    column(CREATED, created, created)                                        \
    column(DISABLED, disabled, disabled)                                     \
    column(EXPIRES, expires, expires)                                        \
    column(SECRET_ID, secret_id, NULL)                                       \
    column(SECRET_EXPIRES, secret_expires, NULL)                             \
    column(OLDER_ID, older_id, NULL)                                         \
    column(OLDER_SECRET, older_secret, NULL)                                 \
    column(OLDER_EXPIRES, older_expires, NULL)

#define NGX_APIKEYS_STATE_ENUM(name, column, printed)                        \
    NGX_APIKEYS_STATE_##name,
#define NGX_APIKEYS_STATE_TEXT(name, column, printed)                        \
    ", " #column
#define NGX_APIKEYS_STATE_TEXT_PRINTED(name, column, printed)                \
    ", " #printed
#define NGX_APIKEYS_STATE_TEXT_CHANGED(name, column, printed)                \
    ", (s.changed)." #column


enum {
    NGX_APIKEYS_STATE_KIND = 0,
    NGX_APIKEYS_STATE_COLUMNS(NGX_APIKEYS_STATE_ENUM)
    NGX_APIKEYS_STATE_ATTRIBUTES,      /* in PRINTED and CHANGED only */
    NGX_APIKEYS_STATE_NEXT             /* number of columns of these two: the
                                          first column after a state */
};


/* select list of the feed and the load */
#define NGX_APIKEYS_STATE                                                    \
    "kind" NGX_APIKEYS_STATE_COLUMNS(NGX_APIKEYS_STATE_TEXT)

/* select list of the API */
#define NGX_APIKEYS_STATE_PRINTED                                            \
    "kind" NGX_APIKEYS_STATE_COLUMNS(NGX_APIKEYS_STATE_TEXT_PRINTED)         \
    ", attributes"

/* select list of the API for a row "s" of type apikeys.outcome */
#define NGX_APIKEYS_STATE_CHANGED                                            \
    "(s.changed).kind"                                                       \
    NGX_APIKEYS_STATE_COLUMNS(NGX_APIKEYS_STATE_TEXT_CHANGED)                \
    ", (s.changed).attributes"


#endif /* _NGX_APIKEYS_STATE_H_INCLUDED_ */
