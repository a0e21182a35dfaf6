
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * API keys: output of a row as JSON, and creation of a new key pair.  Used by
 * all resources that answer with keys.
 */


#ifndef _NGX_HTTP_APIKEYS_KEY_H_INCLUDED_
#define _NGX_HTTP_APIKEYS_KEY_H_INCLUDED_


#include <ngx_apikeys_state.h>
#include <ngx_http_apikeys_page.h>


/* a new key, before it is stored; all texts live in r->pool */
typedef struct {
    ngx_str_t    id;
    ngx_str_t    public_key;
    ngx_str_t    private_key;   /* shown once, never stored */
    ngx_str_t    secret;        /* encrypted, in hex digits */
    ngx_str_t    redacted;      /* the last digits of the private key */
    ngx_uint_t   given;         /* the body has the key pair */

    const ngx_apikeys_pg_stmt_t  *stmt;
    ngx_str_t                    *params;       /* of stmt */
    ngx_str_t                    *own;          /* of params: those of the
                                                   key */
    ngx_http_apikeys_handler_pt   done;
} ngx_http_apikeys_new_key_t;


/*
 * Checks the "roles" of a body and sets the masks; may set other roles that
 * the caller must have.
 */
typedef ngx_int_t (*ngx_http_apikeys_key_roles_pt)(
    ngx_http_apikeys_call_t *call, ngx_apikeys_json_t *roles,
    uint32_t masks[NGX_APIKEYS_SCOPES]);


/*
 * How a key is created: by POST of a key, or of an organization with its first
 * key.  The parameters of the statement are those of the caller, those of the
 * owner (the organization or project; a global key has none), and
 * NGX_HTTP_APIKEYS_NEW_KEY_ID and so on.
 */
typedef struct {
    const ngx_apikeys_pg_stmt_t    *stmt;
    ngx_uint_t                      owner;      /* number of its parameters */
    ngx_uint_t                      grants;     /* the last parameter: roles
                                                   in the project */
    ngx_http_apikeys_key_roles_pt   roles;
    ngx_http_apikeys_handler_pt     done;
} ngx_http_apikeys_key_creation_t;

enum {
    NGX_HTTP_APIKEYS_NEW_KEY_ID = 0,
    NGX_HTTP_APIKEYS_NEW_KEY_PUBLIC_KEY,
    NGX_HTTP_APIKEYS_NEW_KEY_SECRET,
    NGX_HTTP_APIKEYS_NEW_KEY_REDACTED,
    NGX_HTTP_APIKEYS_NEW_KEY_ATTRIBUTES,
    NGX_HTTP_APIKEYS_NEW_KEY_GRANTS
};

/*
 * How many parameters a statement has that creates a key, if the owner has
 * "owner"; one more with NGX_HTTP_APIKEYS_NEW_KEY_GRANTS.
 */
#define ngx_http_apikeys_key_nparams(owner)                                  \
    (NGX_HTTP_APIKEYS_PARAM_OWN + (owner) + NGX_HTTP_APIKEYS_NEW_KEY_GRANTS)


/* the attributes of a key in a body; valid as long as the body */
typedef struct {
    ngx_apikeys_json_t  *desc;
    ngx_apikeys_json_t  *roles;

    /* on the native API */
    ngx_apikeys_json_t  *disabled;
    ngx_apikeys_json_t  *expires;

    /* of a new key there */
    ngx_apikeys_json_t  *access_list;
    ngx_apikeys_json_t  *public_key;
    ngx_apikeys_json_t  *private_key;
} ngx_http_apikeys_key_body_t;


/* whether a text can be a public key */
ngx_uint_t ngx_http_apikeys_key_is_public(const ngx_str_t *text);

/* selects a key by its id */
extern const ngx_apikeys_pg_stmt_t  ngx_http_apikeys_key_stmt;

/*
 * Takes the attributes of a key from call->body, for a change: one of them must
 * be present.
 */
ngx_int_t ngx_http_apikeys_key_body_change(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_key_body_t *body);

/*
 * Checks the attributes that a change sets and writes them as a parameter; the
 * attributes that the body lacks stay as they are.  "grants" is set to the
 * roles in the project; NULL: the change has none.
 */
ngx_int_t ngx_http_apikeys_key_change_params(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_key_body_t *body,
    ngx_http_apikeys_key_roles_pt roles, ngx_str_t *attributes,
    ngx_str_t *grants);

/*
 * Runs a change whose answer is the changed key.  Returns as
 * ngx_http_apikeys_run() does.
 */
ngx_int_t ngx_http_apikeys_key_change(ngx_http_apikeys_call_t *call,
    const ngx_apikeys_pg_stmt_t *stmt, ngx_str_t *params);

/*
 * Creates an API key of the organization call->org_id, as call->data, from an
 * object with its attributes.  "owner" has the parameters of the owner.  If
 * the public key is taken (SQLSTATE 23505), a pair of the body is refused;
 * otherwise the statement is repeated once, with another pair.
 */
ngx_int_t ngx_http_apikeys_key_create(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_key_creation_t *creation,
    ngx_apikeys_json_t *object, const ngx_str_t *owner);

/* a "done" step of a creation: answers with the key of the first row */
ngx_int_t ngx_http_apikeys_key_answer_created(ngx_http_apikeys_call_t *call);

/*
 * The answer of the native API: 201, Location, and the key of the first row.
 * "created": with its private key.
 */
ngx_int_t ngx_http_apikeys_key_answer_located(ngx_http_apikeys_call_t *call,
    const ngx_http_apikeys_new_key_t *created);

/* ngx_http_apikeys_key_roles_pt: at least one role, all of the scope */
ngx_int_t ngx_http_apikeys_key_org_roles(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *roles, uint32_t masks[NGX_APIKEYS_SCOPES]);
ngx_int_t ngx_http_apikeys_key_project_roles(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_t *roles, uint32_t masks[NGX_APIKEYS_SCOPES]);

/* writes the roles of a mask as an array of strings */
void ngx_http_apikeys_key_write_mask(ngx_apikeys_json_out_t *out,
    ngx_apikeys_scope_e scope, uint32_t mask);

/* writes the key of a row; "created": with its private key, NULL: redacted */
void ngx_http_apikeys_key_write(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, ngx_uint_t row,
    const ngx_http_apikeys_new_key_t *created);

/* a member with a private key, of which "tail" is the end, redacted */
void ngx_http_apikeys_key_write_redaction(ngx_apikeys_json_out_t *out,
    const char *name, const ngx_str_t *tail);

/*
 * Another secret for the key call->path_key of the organization call->org_id:
 * sets all members of "key" that its public key, which is set, lacks; "id" is
 * that of the secret.
 */
ngx_int_t ngx_http_apikeys_key_new_secret(ngx_http_apikeys_call_t *call,
    ngx_http_apikeys_new_key_t *key);

/*
 * Zeroes all buffers that were written so far when the pool is destroyed: call
 * it after a private key was written, as the filters modify the chain later.
 */
void ngx_http_apikeys_key_forget_document(ngx_apikeys_json_out_t *out);

/* a "done" step that answers with the key of the first row, redacted */
ngx_int_t ngx_http_apikeys_key_answer(ngx_http_apikeys_call_t *call);

/* a page of keys; the column NGX_APIKEYS_STATE_NEXT is the total */
extern const ngx_http_apikeys_page_t  ngx_http_apikeys_key_page;

/* writes the member "roles": of the organization, then of projects by id */
void ngx_http_apikeys_key_write_roles(ngx_http_apikeys_call_t *call,
    ngx_apikeys_json_out_t *out, const ngx_str_t *org, const ngx_str_t *roles,
    const ngx_str_t *projects);

/*
 * writes an object for each of the names, which have "," between; "member" is
 * what has the id
 */
void ngx_http_apikeys_key_write_names(ngx_apikeys_json_out_t *out,
    const char *member, const ngx_str_t *id, const ngx_str_t *names);


#endif /* _NGX_HTTP_APIKEYS_KEY_H_INCLUDED_ */
