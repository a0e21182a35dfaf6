
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
 * After the first column, "kind": the name, the column, and what the API
 * selects for it.  The API prints no secret, and an access list by a
 * statement of its own: a list of keys must not read their access lists.
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
    column(CREATED, created, created)

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
    NGX_APIKEYS_STATE_ATTRIBUTES,      /* of what the API prints */
    NGX_APIKEYS_STATE_NEXT             /* the first column after a state */
};


/* what the zone and the feed take */
#define NGX_APIKEYS_STATE                                                    \
    "kind" NGX_APIKEYS_STATE_COLUMNS(NGX_APIKEYS_STATE_TEXT)

/* what the API prints */
#define NGX_APIKEYS_STATE_PRINTED                                            \
    "kind" NGX_APIKEYS_STATE_COLUMNS(NGX_APIKEYS_STATE_TEXT_PRINTED)         \
    ", attributes"

/* of a row s of the type apikeys.outcome */
#define NGX_APIKEYS_STATE_CHANGED                                            \
    "(s.changed).kind"                                                       \
    NGX_APIKEYS_STATE_COLUMNS(NGX_APIKEYS_STATE_TEXT_CHANGED)                \
    ", (s.changed).attributes"


#endif /* _NGX_APIKEYS_STATE_H_INCLUDED_ */
