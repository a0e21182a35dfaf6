
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The order is fixed: credential, freshness of the local copy, record, secret,
 * nonce, address.  A request that goes on to another location shows the same
 * credential there: its secret and nonce are not looked at again, but the
 * key may be gone by then, the location may trust less in an old local copy,
 * and realip may have found another address.  Nothing is looked up for a
 * malformed credential; an unknown key is verified against a secret that no
 * one has, so it takes as long as a wrong one.  No part of a credential but
 * the public key of an existing key is ever logged.
 */


#include <ngx_http_apikeys_auth.h>


/* a credential as the client sent it */
typedef struct {
    ngx_uint_t            scheme;      /* NGX_HTTP_APIKEYS_AUTH_DIGEST ... */
    ngx_str_t             value;       /* what follows the scheme's name */
    ngx_str_t             username;
    const u_char         *ha1;         /* of basic and header */
    ngx_apikeys_digest_t  digest;
    uint64_t              nonce;       /* its id */
    ngx_uint_t            stale;       /* the nonce is not to be used */
    ngx_apikeys_digest_prefix_t  *prefix;  /* of the nonce, or NULL */
} ngx_http_apikeys_credential_t;


static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_credential(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_credential_t *cred);
static ngx_int_t ngx_http_apikeys_auth_header(ngx_http_request_t *r,
    ngx_str_t *name, ngx_str_t **value);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_operator(
    ngx_http_request_t *r, ngx_http_apikeys_credential_t *cred);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_parse(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_credential_t *cred);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_parse_plain(
    ngx_http_request_t *r, ngx_http_apikeys_credential_t *cred);
static ngx_int_t ngx_http_apikeys_auth_split(ngx_http_request_t *r,
    ngx_http_apikeys_credential_t *cred, ngx_str_t *password);
static ngx_int_t ngx_http_apikeys_auth_decode(ngx_http_request_t *r,
    ngx_str_t *text);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_parse_digest(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_credential_t *cred);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_key(
    ngx_http_request_t *r, ngx_apikeys_store_t *st,
    ngx_http_apikeys_credential_t *cred,
    ngx_http_apikeys_identity_t *identity);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_again(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_identity_t *identity);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_fresh(
    ngx_apikeys_store_t *st, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_identity_t *identity);
static ngx_int_t ngx_http_apikeys_auth_secret(ngx_http_request_t *r,
    ngx_http_apikeys_credential_t *cred, const ngx_apikeys_secret_t *secret);
static void ngx_http_apikeys_auth_method(ngx_http_request_t *r,
    ngx_str_t *method);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_nonce(
    ngx_http_request_t *r, ngx_http_apikeys_credential_t *cred,
    const u_char *public_key);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_known(
    ngx_apikeys_store_t *st, ngx_apikeys_store_ref_t *ref,
    ngx_http_apikeys_identity_t *identity);


#define NGX_HTTP_APIKEYS_AUTH_BEARER   0x80

#define NGX_HTTP_APIKEYS_AUTH_ANY_DIGEST                                     \
    (NGX_HTTP_APIKEYS_AUTH_DIGEST|NGX_HTTP_APIKEYS_AUTH_DIGEST_SHA256)


static const struct {
    ngx_uint_t   scheme;
    ngx_str_t    name;
} ngx_http_apikeys_auth_schemes[] = {
    { NGX_HTTP_APIKEYS_AUTH_DIGEST, ngx_string("Digest ") },
    { NGX_HTTP_APIKEYS_AUTH_BASIC, ngx_string("Basic ") },
    { NGX_HTTP_APIKEYS_AUTH_BEARER, ngx_string("Bearer ") },
    { 0, ngx_null_string }
};


/* an unknown key is verified against this, which no secret hashes to */
static const ngx_apikeys_secret_t  ngx_http_apikeys_auth_no_secret;


ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_identify(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_identity_t *identity)
{
    ngx_http_apikeys_decision_e     decision;
    ngx_http_apikeys_credential_t   cred;
    ngx_http_apikeys_main_conf_t   *amcf;

    ngx_memzero(&cred, sizeof(ngx_http_apikeys_credential_t));

    decision = ngx_http_apikeys_auth_credential(r, alcf, &cred);

    if (decision != NGX_HTTP_APIKEYS_ALLOW) {
        return decision;
    }

    if (identity->credential == cred.value.data) {
        return ngx_http_apikeys_auth_again(r, alcf, identity);
    }

    ngx_memzero(identity, sizeof(ngx_http_apikeys_identity_t));

    ngx_apikeys_cidr_sockaddr(&identity->address, r->connection->sockaddr);

    if (cred.scheme == NGX_HTTP_APIKEYS_AUTH_BEARER) {

        decision = alcf->api ? ngx_http_apikeys_auth_operator(r, &cred)
                             : NGX_HTTP_APIKEYS_BAD_CREDENTIAL;

        identity->operator = (decision == NGX_HTTP_APIKEYS_ALLOW);

        return decision;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    decision = ngx_http_apikeys_auth_parse(r, alcf, &cred);

    if (decision == NGX_HTTP_APIKEYS_ALLOW) {
        decision = ngx_http_apikeys_auth_fresh(amcf->store, alcf, identity);
    }

    if (decision != NGX_HTTP_APIKEYS_ALLOW) {
        return decision;
    }

    ngx_apikeys_store_enter(amcf->store);

    decision = ngx_http_apikeys_auth_key(r, amcf->store, &cred, identity);

    ngx_apikeys_store_leave(amcf->store);

    return decision;
}


/* two credentials in one request are none */

static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_credential(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_credential_t *cred)
{
    ngx_int_t         rc;
    ngx_str_t        *value;
    ngx_uint_t        i;
    const ngx_str_t  *name;

    if (alcf->auth & NGX_HTTP_APIKEYS_AUTH_HEADER) {

        rc = ngx_http_apikeys_auth_header(r, &alcf->auth_header, &value);

        if (rc == NGX_ERROR) {
            return NGX_HTTP_APIKEYS_BAD_CREDENTIAL;
        }

        if (rc == NGX_OK) {
            if (r->headers_in.authorization) {
                return NGX_HTTP_APIKEYS_BAD_CREDENTIAL;
            }

            cred->scheme = NGX_HTTP_APIKEYS_AUTH_HEADER;
            cred->value = *value;

            return NGX_HTTP_APIKEYS_ALLOW;
        }
    }

    if (r->headers_in.authorization == NULL) {
        return NGX_HTTP_APIKEYS_NO_CREDENTIAL;
    }

    value = &r->headers_in.authorization->value;

    for (i = 0; ngx_http_apikeys_auth_schemes[i].scheme; i++) {

        name = &ngx_http_apikeys_auth_schemes[i].name;

        /* most are written as we write them */

        if (value->len > name->len
            && (ngx_memcmp(value->data, name->data, name->len) == 0
                || ngx_strncasecmp(value->data, name->data, name->len) == 0))
        {
            cred->scheme = ngx_http_apikeys_auth_schemes[i].scheme;
            cred->value.data = value->data + name->len;
            cred->value.len = value->len - name->len;

            return NGX_HTTP_APIKEYS_ALLOW;
        }
    }

    return NGX_HTTP_APIKEYS_BAD_CREDENTIAL;
}


/* NGX_OK, NGX_DECLINED when absent, NGX_ERROR when there are several */

static ngx_int_t
ngx_http_apikeys_auth_header(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t **value)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    *value = NULL;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len != name->len
            || ngx_strncasecmp(h[i].key.data, name->data, name->len) != 0)
        {
            continue;
        }

        if (*value) {
            return NGX_ERROR;
        }

        *value = &h[i].value;
    }

    return *value ? NGX_OK : NGX_DECLINED;
}


static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_operator(ngx_http_request_t *r,
    ngx_http_apikeys_credential_t *cred)
{
    u_char                         hash[NGX_APIKEYS_DIGEST_SHA256_LEN];
    ngx_http_apikeys_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    if (amcf->token == NULL) {
        return NGX_HTTP_APIKEYS_BAD_CREDENTIAL;
    }

    if (ngx_apikeys_digest_sha256(hash, &cred->value) != NGX_OK) {
        return NGX_HTTP_APIKEYS_ERROR;
    }

    if (!ngx_apikeys_digest_equal(hash, amcf->token, sizeof(hash))) {
        return NGX_HTTP_APIKEYS_WRONG_SECRET;
    }

    return NGX_HTTP_APIKEYS_ALLOW;
}


static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_parse(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_credential_t *cred)
{
    if (cred->scheme == NGX_HTTP_APIKEYS_AUTH_DIGEST) {
        return ngx_http_apikeys_auth_parse_digest(r, alcf, cred);
    }

    if (!(alcf->auth & cred->scheme)) {
        return NGX_HTTP_APIKEYS_BAD_CREDENTIAL;
    }

    return ngx_http_apikeys_auth_parse_plain(r, cred);
}


/* what holds the private key itself: most say what others said before */

static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_parse_plain(ngx_http_request_t *r,
    ngx_http_apikeys_credential_t *cred)
{
    ngx_int_t                      rc;
    ngx_str_t                      password;
    ngx_apikeys_ha1_t             *place;
    ngx_http_apikeys_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    place = ngx_apikeys_ha1_cache_find(amcf->ha1s, cred->scheme,
                                       &cred->value);
    if (place == NULL) {
        return NGX_HTTP_APIKEYS_ERROR;
    }

    cred->ha1 = place->ha1;

    if (place->scheme) {
        cred->username.data = place->name;
        cred->username.len = place->len;

        return NGX_HTTP_APIKEYS_ALLOW;
    }

    rc = ngx_http_apikeys_auth_split(r, cred, &password);

    if (rc != NGX_OK) {
        return (rc == NGX_ERROR) ? NGX_HTTP_APIKEYS_ERROR
                                 : NGX_HTTP_APIKEYS_BAD_CREDENTIAL;
    }

    if (ngx_apikeys_digest_ha1_sha256(place->ha1, &cred->username,
                                      &amcf->realm, &password)
        != NGX_OK)
    {
        return NGX_HTTP_APIKEYS_ERROR;
    }

    ngx_apikeys_ha1_cache_keep(place, cred->scheme, &cred->username);

    return NGX_HTTP_APIKEYS_ALLOW;
}


static ngx_int_t
ngx_http_apikeys_auth_split(ngx_http_request_t *r,
    ngx_http_apikeys_credential_t *cred, ngx_str_t *password)
{
    u_char     *colon, *last;
    ngx_int_t   rc;
    ngx_str_t   text;

    text = cred->value;

    if (cred->scheme == NGX_HTTP_APIKEYS_AUTH_BASIC) {
        rc = ngx_http_apikeys_auth_decode(r, &text);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    last = text.data + text.len;

    colon = ngx_strlchr(text.data, last, ':');
    if (colon == NULL) {
        return NGX_DECLINED;
    }

    cred->username.data = text.data;
    cred->username.len = colon - text.data;
    password->data = colon + 1;
    password->len = last - colon - 1;

    return NGX_OK;
}


/*
 * ngx_http_auth_basic_user() would do, but takes another header where the
 * method is CONNECT: what is looked up and kept by the text of this one must
 * come out of it.
 */

static ngx_int_t
ngx_http_apikeys_auth_decode(ngx_http_request_t *r, ngx_str_t *text)
{
    ngx_str_t  encoded;

    encoded = *text;

    while (encoded.len && encoded.data[0] == ' ') {
        encoded.data++;
        encoded.len--;
    }

    if (encoded.len == 0) {
        return NGX_DECLINED;
    }

    text->data = ngx_pnalloc(r->pool, ngx_base64_decoded_length(encoded.len));
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    if (ngx_decode_base64(text, &encoded) != NGX_OK) {
        return NGX_DECLINED;
    }

    return (text->len && text->data[0] != ':') ? NGX_OK : NGX_DECLINED;
}


static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_parse_digest(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_credential_t *cred)
{
    ngx_uint_t                     scheme;
    ngx_apikeys_digest_t          *d;
    ngx_http_apikeys_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);
    d = &cred->digest;

    if (!(alcf->auth & NGX_HTTP_APIKEYS_AUTH_ANY_DIGEST)
        || ngx_apikeys_digest_parse(d, &cred->value) != NGX_OK)
    {
        return NGX_HTTP_APIKEYS_BAD_CREDENTIAL;
    }

    scheme = (d->alg == NGX_APIKEYS_DIGEST_SHA256)
             ? NGX_HTTP_APIKEYS_AUTH_DIGEST_SHA256
             : NGX_HTTP_APIKEYS_AUTH_DIGEST;

    /* the target as the client wrote it: "%2F" must not have become "/" */

    if (!(alcf->auth & scheme)
        || ngx_memn2cmp(d->realm.data, amcf->realm.data, d->realm.len,
                        amcf->realm.len)
           != 0
        || ngx_memn2cmp(d->uri.data, r->unparsed_uri.data, d->uri.len,
                        r->unparsed_uri.len)
           != 0)
    {
        return NGX_HTTP_APIKEYS_BAD_CREDENTIAL;
    }

    /*
     * Too old, or of a node with other master keys: where the response is
     * right all the same, the client is to try again, not to ask for another
     * password.
     */

    if (ngx_apikeys_nonce_check(amcf->nonce, &d->nonce, &cred->nonce,
                                &cred->prefix)
        != NGX_OK)
    {
        cred->stale = 1;
    }

    cred->scheme = scheme;
    cred->username = d->username;

    return NGX_HTTP_APIKEYS_ALLOW;
}


static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_key(ngx_http_request_t *r, ngx_apikeys_store_t *st,
    ngx_http_apikeys_credential_t *cred,
    ngx_http_apikeys_identity_t *identity)
{
    ngx_int_t                rc, found;
    ngx_apikeys_store_ref_t  ref;

    found = ngx_apikeys_store_key(st, &cred->username, &ref);

    if (found != NGX_OK && found != NGX_DECLINED) {
        return NGX_HTTP_APIKEYS_NOT_LOADED;
    }

    rc = ngx_http_apikeys_auth_secret(r, cred, found == NGX_OK
                                      ? ref.secret
                                      : &ngx_http_apikeys_auth_no_secret);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_APIKEYS_ERROR;
    }

    if (found != NGX_OK) {
        return NGX_HTTP_APIKEYS_UNKNOWN_KEY;
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_APIKEYS_WRONG_SECRET;
    }

    identity->credential = cred->value.data;
    identity->scheme = cred->scheme;

    if (cred->scheme & NGX_HTTP_APIKEYS_AUTH_ANY_DIGEST) {
        identity->nonce = ngx_http_apikeys_auth_nonce(r, cred, ref.public_key);

        if (identity->nonce != NGX_HTTP_APIKEYS_ALLOW) {
            return identity->nonce;
        }
    }

    ngx_memcpy(identity->public_key, ref.public_key,
               NGX_APIKEYS_PUBLIC_KEY_LEN);
    identity->id = *ref.id;
    identity->org = *ref.org;
    identity->global = ngx_apikeys_objectid_zero(ref.org);

    return ngx_http_apikeys_auth_known(st, &ref, identity);
}


/* the credential that was right in another location of this request */

static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_again(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_identity_t *identity)
{
    ngx_apikeys_store_t           *st;
    ngx_apikeys_store_ref_t        ref;
    ngx_http_apikeys_decision_e    decision;
    ngx_http_apikeys_main_conf_t  *amcf;

    if (!(identity->scheme & alcf->auth)) {
        return NGX_HTTP_APIKEYS_BAD_CREDENTIAL;
    }

    if (identity->nonce != NGX_HTTP_APIKEYS_ALLOW) {
        return identity->nonce;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);
    st = amcf->store;

    decision = ngx_http_apikeys_auth_fresh(st, alcf, identity);

    if (decision != NGX_HTTP_APIKEYS_ALLOW) {
        return decision;
    }

    ngx_apikeys_cidr_sockaddr(&identity->address, r->connection->sockaddr);

    ngx_apikeys_store_enter(st);

    switch (ngx_apikeys_store_key_by_id(st, &identity->id, &ref)) {

    case NGX_OK:
        decision = ngx_http_apikeys_auth_known(st, &ref, identity);
        break;

    case NGX_DECLINED:
        decision = NGX_HTTP_APIKEYS_UNKNOWN_KEY;
        break;

    default: /* NGX_BUSY */
        decision = NGX_HTTP_APIKEYS_NOT_LOADED;
        break;
    }

    ngx_apikeys_store_leave(st);

    return decision;
}


static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_fresh(ngx_apikeys_store_t *st,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_identity_t *identity)
{
    identity->expired = (ngx_apikeys_store_age(st) > alcf->stale);

    if (!identity->expired || alcf->stale_allow) {
        return NGX_HTTP_APIKEYS_ALLOW;
    }

    return ngx_apikeys_store_complete(st) ? NGX_HTTP_APIKEYS_EXPIRED
                                          : NGX_HTTP_APIKEYS_NOT_LOADED;
}


/* NGX_OK, NGX_DECLINED when it is another's, NGX_ERROR of the library */

static ngx_int_t
ngx_http_apikeys_auth_secret(ngx_http_request_t *r,
    ngx_http_apikeys_credential_t *cred, const ngx_apikeys_secret_t *secret)
{
    ngx_str_t  method;

    if (cred->scheme & NGX_HTTP_APIKEYS_AUTH_ANY_DIGEST) {
        ngx_http_apikeys_auth_method(r, &method);

        return ngx_apikeys_digest_verify(&cred->digest,
                              cred->digest.alg == NGX_APIKEYS_DIGEST_SHA256
                              ? secret->sha256 : secret->md5,
                              &method, cred->prefix);
    }

    return ngx_apikeys_digest_equal(cred->ha1, secret->sha256,
                                    sizeof(secret->sha256))
           ? NGX_OK : NGX_DECLINED;
}


/* as the client wrote it: an error page, for one, is asked for by GET */

static void
ngx_http_apikeys_auth_method(ngx_http_request_t *r, ngx_str_t *method)
{
    u_char  *space;

    space = ngx_strlchr(r->request_line.data,
                        r->request_line.data + r->request_line.len, ' ');
    if (space == NULL) {
        *method = r->method_name;
        return;
    }

    method->data = r->request_line.data;
    method->len = space - method->data;
}


static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_nonce(ngx_http_request_t *r,
    ngx_http_apikeys_credential_t *cred, const u_char *public_key)
{
    ngx_http_apikeys_main_conf_t  *amcf;

    if (cred->stale) {
        return NGX_HTTP_APIKEYS_STALE_NONCE;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    switch (ngx_apikeys_nonce_use(amcf->nonce, cred->nonce,
                                  cred->digest.count, public_key))
    {
    case NGX_OK:
        return NGX_HTTP_APIKEYS_ALLOW;

    case NGX_DECLINED:
        return NGX_HTTP_APIKEYS_STALE_NONCE;

    default: /* NGX_BUSY */
        return NGX_HTTP_APIKEYS_REPLAY;
    }
}


/* the secret was verified; may the key come from here, today? */

static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_known(ngx_apikeys_store_t *st,
    ngx_apikeys_store_ref_t *ref, ngx_http_apikeys_identity_t *identity)
{
    ngx_apikeys_store_org_t  org;

    identity->roles = ref->roles;
    identity->entry.family = 0;

    org.access_list_required = 0;

    switch (identity->global
            ? NGX_OK : ngx_apikeys_store_org(st, &identity->org, &org))
    {

    case NGX_OK:
        break;

    case NGX_DECLINED:

        /* a removed organisation denies its keys at once */

        return NGX_HTTP_APIKEYS_UNKNOWN_KEY;

    default: /* NGX_BUSY */
        return NGX_HTTP_APIKEYS_NOT_LOADED;
    }

    if (ref->nentries == 0) {
        return org.access_list_required ? NGX_HTTP_APIKEYS_NO_LIST
                                        : NGX_HTTP_APIKEYS_ALLOW;
    }

    if (identity->address.family == 0
        || ngx_apikeys_store_match(st, ref, &identity->address,
                                   &identity->entry)
           != NGX_OK)
    {
        return NGX_HTTP_APIKEYS_ADDRESS;
    }

    return NGX_HTTP_APIKEYS_ALLOW;
}


ngx_int_t
ngx_http_apikeys_auth_challenge(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_uint_t stale)
{
    u_char                        *p;
    size_t                         len;
    ngx_str_t                      value;
    ngx_uint_t                     i;
    ngx_http_apikeys_main_conf_t  *amcf;
    u_char                         nonce[NGX_APIKEYS_NONCE_LEN];

    static const struct {
        ngx_uint_t   scheme;
        const char  *algorithm;
    } digests[] = {
        { NGX_HTTP_APIKEYS_AUTH_DIGEST, "MD5" },
        { NGX_HTTP_APIKEYS_AUTH_DIGEST_SHA256, "SHA-256" }
    };

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    len = sizeof("Digest realm=\"\", domain=\"\", nonce=\"\", "
                 "algorithm=SHA-256, qop=\"auth\", stale=false")
          + amcf->realm.len + NGX_APIKEYS_NONCE_LEN;

    for (i = 0; i < 2; i++) {

        if (!(alcf->auth & digests[i].scheme)) {
            continue;
        }

        p = ngx_pnalloc(r->pool, len);

        if (p == NULL
            || ngx_apikeys_nonce_make(amcf->nonce, nonce) != NGX_OK)
        {
            return NGX_ERROR;
        }

        value.data = p;
        value.len = ngx_slprintf(p, p + len,
                                 "Digest realm=\"%V\", domain=\"\", "
                                 "nonce=\"%*s\", algorithm=%s, "
                                 "qop=\"auth\", stale=%s",
                                 &amcf->realm, sizeof(nonce), nonce,
                                 digests[i].algorithm,
                                 stale ? "true" : "false")
                    - p;

        if (ngx_http_apikeys_auth_push(r, &value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (!(alcf->auth & NGX_HTTP_APIKEYS_AUTH_BASIC)) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    value.len = ngx_slprintf(p, p + len, "Basic realm=\"%V\"", &amcf->realm)
                - p;

    return ngx_http_apikeys_auth_push(r, &value);
}


ngx_int_t
ngx_http_apikeys_auth_push(ngx_http_request_t *r, ngx_str_t *value)
{
    ngx_table_elt_t  *h, **link;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    ngx_str_set(&h->key, "WWW-Authenticate");
    h->value = *value;
    h->lowcase_key = NULL;

    link = &r->headers_out.www_authenticate;

#if (nginx_version >= 1023000)

    /* auth_request passes on what is linked */

    h->next = NULL;

    while (*link) {
        link = &(*link)->next;
    }

#endif

    if (*link == NULL) {
        *link = h;
    }

    return NGX_OK;
}
