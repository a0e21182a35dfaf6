
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The role names of both products (docs/compatibility.md D49).  A set of
 * roles of one scope is a mask.  A key has roles of an organization or global
 * ones: these two scopes share one mask and no bit of it.
 */


#ifndef _NGX_APIKEYS_ROLES_H_INCLUDED_
#define _NGX_APIKEYS_ROLES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef enum {
    NGX_APIKEYS_SCOPE_ORG = 0,
    NGX_APIKEYS_SCOPE_PROJECT,
    NGX_APIKEYS_SCOPE_GLOBAL,

    NGX_APIKEYS_SCOPES              /* number of scopes */
} ngx_apikeys_scope_e;


/* products that accept a role; NGX_APIKEYS_ROLE_ATLAS is v1 and v2 alike */
#define NGX_APIKEYS_ROLE_ATLAS_V1       0x1
#define NGX_APIKEYS_ROLE_ATLAS_V2       0x2
#define NGX_APIKEYS_ROLE_OPS_MANAGER    0x4
#define NGX_APIKEYS_ROLE_ATLAS                                               \
    (NGX_APIKEYS_ROLE_ATLAS_V1|NGX_APIKEYS_ROLE_ATLAS_V2)

/* organization roles that decisions name */
#define NGX_APIKEYS_ORG_OWNER           0x01
#define NGX_APIKEYS_ORG_MEMBER          0x02
#define NGX_APIKEYS_ORG_GROUP_CREATOR   0x04
#define NGX_APIKEYS_ORG_READ_ONLY       0x08

/* global roles that decisions name */
#define NGX_APIKEYS_GLOBAL_OWNER        0x010000
#define NGX_APIKEYS_GLOBAL_READ_ONLY    0x020000
#define NGX_APIKEYS_GLOBAL_ANY          0xff0000

/* project roles that decisions name */
#define NGX_APIKEYS_GROUP_OWNER           0x01
#define NGX_APIKEYS_GROUP_READ_ONLY       0x02
#define NGX_APIKEYS_GROUP_ACCESS_MANAGER  0x04

#define NGX_APIKEYS_ROLES_ANY           0xffffffff


typedef struct {
    ngx_str_t            name;
    ngx_apikeys_scope_e  scope;
    uint32_t             mask;
    ngx_uint_t           products;
} ngx_apikeys_role_t;


/* the row of a name (exact, case-sensitive), or NULL */
const ngx_apikeys_role_t *ngx_apikeys_role_find(const ngx_str_t *name);

/*
 * The mask of a comma-separated list as the database sends it.  Names that
 * are not known, or are of the other scope, grant nothing and are skipped.
 */
uint32_t ngx_apikeys_roles_parse(ngx_apikeys_scope_e scope,
    const ngx_str_t *list);

/* the longest name, and all names of a scope with "," between */
#define NGX_APIKEYS_ROLE_TEXT_LEN       32
#define NGX_APIKEYS_ROLES_TEXT_LEN      1024

/* writes the names of a mask, ascending, with "," between; returns the end */
u_char *ngx_apikeys_roles_write(u_char *p, ngx_apikeys_scope_e scope,
    uint32_t mask);


#endif /* _NGX_APIKEYS_ROLES_H_INCLUDED_ */
