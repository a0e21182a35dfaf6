
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 *
 * The order is fixed: credential, age of the local copy, key, secret, nonce,
 * address.  A request that is redirected to another location shows the same
 * credential there: secret and nonce are not verified again, but everything
 * else is checked, as the key may have been deleted, apikeys_stale may be
 * shorter, and realip may have changed the address.
 *
 * Nothing is looked up for a malformed credential.  An unknown key is verified
 * against a secret that nothing hashes to, so it takes as long as a wrong
 * secret.  No part of a credential is ever logged, except the public key of an
 * existing key.
 */


#include <ngx_http_apikeys_auth.h>
#include <ngx_http_apikeys_header.h>


typedef struct ngx_http_apikeys_auth_scheme_s  ngx_http_apikeys_auth_scheme_t;


/* a credential as the client sent it */
typedef struct {
    const ngx_http_apikeys_auth_scheme_t  *scheme;
    ngx_str_t             value;       /* what follows the scheme's prefix */
    ngx_str_t             username;
    u_char                plain[NGX_APIKEYS_DIGEST_SHA256_LEN];
                                       /* hash of basic or header */
    ngx_apikeys_digest_t  digest;
    uint64_t              nonce;       /* its id */
    ngx_uint_t            nonce_expired;  /* or not known: 401, stale=true */
    ngx_apikeys_digest_kept_t  *kept;  /* with the nonce, or NULL */
} ngx_http_apikeys_credential_t;


/* a new scheme is a member of ngx_http_apikeys_scheme_e and a row of these */
struct ngx_http_apikeys_auth_scheme_s {
    ngx_str_t             name;        /* in apikeys_auth, with "=" where a
                                          parameter follows; empty: not an
                                          argument of the directive */
    ngx_uint_t            bit;         /* in alcf->auth */
    ngx_uint_t            named;       /* the schemes of apikeys_auth, one of
                                          which makes an Authorization with
                                          this prefix a credential */
    ngx_str_t             prefix;      /* in Authorization, with the space;
                                          empty: found otherwise */
    ngx_str_t             algorithm;   /* in the challenge of a digest */

    /*
     * Sets username and what verify() needs; may choose another row, whose
     * bit is checked afterwards.
     */
    ngx_http_apikeys_decision_e  (*parse)(ngx_http_request_t *r,
        ngx_http_apikeys_loc_conf_t *alcf,
        ngx_http_apikeys_credential_t *cred);

    /* NGX_OK; NGX_DECLINED, the secret is wrong; NGX_ERROR, OpenSSL failed */
    ngx_int_t           (*verify)(ngx_http_request_t *r,
        ngx_http_apikeys_credential_t *cred,
        const ngx_apikeys_store_ref_t *ref);

    /* against replay, once the secret is verified; NULL: nothing to check */
    ngx_http_apikeys_decision_e  (*nonce)(ngx_http_request_t *r,
        ngx_http_apikeys_credential_t *cred, const u_char *public_key);

    /* adds a WWW-Authenticate header to a 401; NULL: the scheme has none */
    ngx_int_t           (*challenge)(ngx_http_request_t *r,
        const ngx_http_apikeys_auth_scheme_t *scheme, ngx_uint_t stale);
};


static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_credential(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_credential_t *cred);
static ngx_int_t ngx_http_apikeys_auth_header(ngx_http_request_t *r,
    ngx_str_t *name, ngx_str_t **value);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_authorization(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_credential_t *cred);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_bearer(
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_credential_t *cred);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_parse_operator(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_credential_t *cred);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_parse(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_credential_t *cred);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_parse_plain(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_credential_t *cred);
static ngx_int_t ngx_http_apikeys_auth_decode(ngx_http_request_t *r,
    ngx_str_t *text);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_parse_token(
    ngx_http_apikeys_credential_t *cred);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_parse_digest(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_credential_t *cred);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_key(
    ngx_http_request_t *r, ngx_apikeys_store_t *st,
    ngx_http_apikeys_credential_t *cred,
    ngx_http_apikeys_identity_t *identity);
static ngx_int_t ngx_http_apikeys_auth_verify(ngx_http_request_t *r,
    ngx_apikeys_store_t *st, ngx_http_apikeys_credential_t *cred,
    ngx_apikeys_store_ref_t *ref);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_reverify(
    ngx_http_request_t *r, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_identity_t *identity);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_find(
    ngx_apikeys_store_t *st, ngx_http_apikeys_identity_t *identity,
    ngx_apikeys_store_ref_t *ref);
static ngx_uint_t ngx_http_apikeys_auth_still(ngx_apikeys_store_t *st,
    ngx_apikeys_store_ref_t *ref, ngx_http_apikeys_identity_t *identity);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_fresh(
    ngx_apikeys_store_t *st, ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_identity_t *identity);
static ngx_int_t ngx_http_apikeys_auth_verify_digest(ngx_http_request_t *r,
    ngx_http_apikeys_credential_t *cred, const ngx_apikeys_store_ref_t *ref);
static ngx_int_t ngx_http_apikeys_auth_verify_plain(ngx_http_request_t *r,
    ngx_http_apikeys_credential_t *cred, const ngx_apikeys_store_ref_t *ref);
static void ngx_http_apikeys_auth_method(ngx_http_request_t *r,
    ngx_str_t *method);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_nonce(
    ngx_http_request_t *r, ngx_http_apikeys_credential_t *cred,
    const u_char *public_key);
static ngx_http_apikeys_decision_e ngx_http_apikeys_auth_check_key(
    ngx_apikeys_store_t *st, ngx_apikeys_store_ref_t *ref,
    ngx_http_apikeys_identity_t *identity);
static ngx_int_t ngx_http_apikeys_auth_challenge_digest(ngx_http_request_t *r,
    const ngx_http_apikeys_auth_scheme_t *scheme, ngx_uint_t stale);
static ngx_int_t ngx_http_apikeys_auth_challenge_realm(ngx_http_request_t *r,
    const ngx_http_apikeys_auth_scheme_t *scheme, ngx_uint_t stale);


#define ngx_http_apikeys_auth_copy(p, text)                                  \
    ngx_cpymem(p, text, sizeof(text) - 1)

#define NGX_HTTP_APIKEYS_AUTH_ANY_DIGEST                                     \
    (NGX_HTTP_APIKEYS_AUTH_DIGEST|NGX_HTTP_APIKEYS_AUTH_DIGEST_SHA256)


static const ngx_http_apikeys_auth_scheme_t  ngx_http_apikeys_auth_schemes[] =
{
    [NGX_HTTP_APIKEYS_SCHEME_DIGEST] = {
        .name = ngx_string("digest"),
        .bit = NGX_HTTP_APIKEYS_AUTH_DIGEST,
        .named = NGX_HTTP_APIKEYS_AUTH_ANY_DIGEST,
        .prefix = ngx_string("Digest "),
        .algorithm = ngx_string("MD5"),
        .parse = ngx_http_apikeys_auth_parse_digest,
        .verify = ngx_http_apikeys_auth_verify_digest,
        .nonce = ngx_http_apikeys_auth_nonce,
        .challenge = ngx_http_apikeys_auth_challenge_digest
    },

    /* a Digest credential with algorithm=SHA-256: the row above parses it */
    [NGX_HTTP_APIKEYS_SCHEME_DIGEST_SHA256] = {
        .name = ngx_string("digest_sha256"),
        .bit = NGX_HTTP_APIKEYS_AUTH_DIGEST_SHA256,
        .algorithm = ngx_string("SHA-256"),
        .verify = ngx_http_apikeys_auth_verify_digest,
        .nonce = ngx_http_apikeys_auth_nonce,
        .challenge = ngx_http_apikeys_auth_challenge_digest
    },

    [NGX_HTTP_APIKEYS_SCHEME_BASIC] = {
        .name = ngx_string("basic"),
        .bit = NGX_HTTP_APIKEYS_AUTH_BASIC,
        .named = NGX_HTTP_APIKEYS_AUTH_BASIC,
        .prefix = ngx_string("Basic "),
        .parse = ngx_http_apikeys_auth_parse_plain,
        .verify = ngx_http_apikeys_auth_verify_plain,
        .challenge = ngx_http_apikeys_auth_challenge_realm
    },

    /* "public key:private key", or a token, in the header alcf->auth_header */
    [NGX_HTTP_APIKEYS_SCHEME_HEADER] = {
        .name = ngx_string("header="),
        .bit = NGX_HTTP_APIKEYS_AUTH_HEADER,
        .parse = ngx_http_apikeys_auth_parse_plain,
        .verify = ngx_http_apikeys_auth_verify_plain
    },

    [NGX_HTTP_APIKEYS_SCHEME_BEARER] = {
        .name = ngx_string("bearer"),
        .bit = NGX_HTTP_APIKEYS_AUTH_BEARER,
        .named = NGX_HTTP_APIKEYS_AUTH_BEARER,
        .prefix = ngx_string("Bearer "),
        .parse = ngx_http_apikeys_auth_parse_plain,
        .verify = ngx_http_apikeys_auth_verify_plain,
        .challenge = ngx_http_apikeys_auth_challenge_realm
    },

    /*
     * A Bearer credential of an administration API, if it is not the token of
     * a key: the row above finds it.  Decided by parse() alone.
     */
    [NGX_HTTP_APIKEYS_SCHEME_OPERATOR] = {
        .parse = ngx_http_apikeys_auth_parse_operator
    }
};

_Static_assert(sizeof(ngx_http_apikeys_auth_schemes)
               / sizeof(ngx_http_apikeys_auth_scheme_t)
               == NGX_HTTP_APIKEYS_SCHEMES,
               "each scheme has a row");

/* a mask has a bit for each scheme, and one for OFF */
_Static_assert(NGX_HTTP_APIKEYS_SCHEMES < 32, "a mask of schemes is full");


/* an unknown key is verified against this: no secret hashes to it */
static const ngx_apikeys_secret_t  ngx_http_apikeys_auth_no_secret;

static const ngx_apikeys_store_ref_t  ngx_http_apikeys_auth_no_key = {
    .plain = ngx_http_apikeys_auth_no_secret.plain,
    .ha1s = &ngx_http_apikeys_auth_no_secret.ha1s
};


ngx_uint_t
ngx_http_apikeys_auth_scheme(const ngx_str_t *arg, ngx_str_t *param)
{
    ngx_uint_t        i;
    const ngx_str_t  *name;

    ngx_str_null(param);

    for (i = 0; i < NGX_HTTP_APIKEYS_SCHEMES; i++) {

        name = &ngx_http_apikeys_auth_schemes[i].name;

        if (name->len == 0
            || arg->len < name->len
            || ngx_memcmp(arg->data, name->data, name->len) != 0)
        {
            continue;
        }

        if (name->data[name->len - 1] == '=') {
            param->data = arg->data + name->len;
            param->len = arg->len - name->len;

        } else if (arg->len != name->len) {
            continue;
        }

        return ngx_http_apikeys_auth_schemes[i].bit;
    }

    return 0;
}


ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_identify(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_identity_t *identity)
{
    ngx_http_apikeys_decision_e     decision;
    ngx_http_apikeys_credential_t   cred;
    ngx_http_apikeys_main_conf_t   *amcf;

    /* parse() sets the other members that its scheme needs */

    cred.nonce_expired = 0;
    cred.kept = NULL;

    decision = ngx_http_apikeys_auth_credential(r, alcf, &cred);

    if (decision != NGX_HTTP_APIKEYS_DECISION_ALLOW) {
        return decision;
    }

    if (identity->credential == cred.value.data) {
        return ngx_http_apikeys_auth_reverify(r, alcf, identity);
    }

    ngx_memzero(identity, sizeof(ngx_http_apikeys_identity_t));

    ngx_apikeys_cidr_sockaddr(&identity->address, r->connection->sockaddr);

    if (cred.scheme->verify == NULL) {

        decision = cred.scheme->parse(r, alcf, &cred);

        identity->operator = (decision == NGX_HTTP_APIKEYS_DECISION_ALLOW);

        return decision;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    decision = ngx_http_apikeys_auth_parse(r, alcf, &cred);

    if (decision == NGX_HTTP_APIKEYS_DECISION_ALLOW) {
        decision = ngx_http_apikeys_auth_fresh(amcf->store, alcf, identity);
    }

    if (decision != NGX_HTTP_APIKEYS_DECISION_ALLOW) {
        return decision;
    }

    ngx_apikeys_store_read_begin(amcf->store);

    decision = ngx_http_apikeys_auth_key(r, amcf->store, &cred, identity);

    ngx_apikeys_store_read_end(amcf->store);

    return decision;
}


/*
 * Finds the credential.  A request with two, in Authorization and in the
 * header of header=, is refused.
 */

static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_credential(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_credential_t *cred)
{
    ngx_int_t   rc;
    ngx_str_t  *value;

    if (!(alcf->auth & NGX_HTTP_APIKEYS_AUTH_HEADER)) {
        return ngx_http_apikeys_auth_authorization(r, alcf, cred);
    }

    rc = ngx_http_apikeys_auth_header(r, &alcf->auth_header, &value);

    if (rc == NGX_DECLINED) {
        return ngx_http_apikeys_auth_authorization(r, alcf, cred);
    }

    if (rc == NGX_ERROR
        || ngx_http_apikeys_auth_authorization(r, alcf, cred)
           != NGX_HTTP_APIKEYS_DECISION_NO_CREDENTIAL)
    {
        return NGX_HTTP_APIKEYS_DECISION_BAD_CREDENTIAL;
    }

    cred->scheme =
                &ngx_http_apikeys_auth_schemes[NGX_HTTP_APIKEYS_SCHEME_HEADER];
    cred->value = *value;

    return NGX_HTTP_APIKEYS_DECISION_ALLOW;
}


/*
 * Authorization is no credential if its scheme is not one of the location: it
 * may be meant for the upstream.
 */

static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_authorization(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_credential_t *cred)
{
    size_t                                 len;
    ngx_str_t                             *value;
    ngx_uint_t                             i;
    const ngx_http_apikeys_auth_scheme_t  *scheme;

    if (r->headers_in.authorization == NULL) {
        return NGX_HTTP_APIKEYS_DECISION_NO_CREDENTIAL;
    }

    value = &r->headers_in.authorization->value;

    for (i = 0; i < NGX_HTTP_APIKEYS_SCHEMES; i++) {

        scheme = &ngx_http_apikeys_auth_schemes[i];
        len = scheme->prefix.len;

        /* the second letters of all schemes differ */

        if (len == 0
            || value->len < len - 1
            || (value->data[1] | 0x20) != scheme->prefix.data[1])
        {
            continue;
        }

        /* the value may end with the scheme; most are in the usual case */

        if ((value->len < len
             || ngx_memcmp(value->data, scheme->prefix.data, len) != 0)
            && ngx_strncasecmp(value->data, scheme->prefix.data,
                               ngx_min(len, value->len))
               != 0)
        {
            continue;
        }

        cred->scheme = scheme;
        cred->value.data = value->data + ngx_min(len, value->len);
        cred->value.len = value->data + value->len - cred->value.data;

        if (i == NGX_HTTP_APIKEYS_SCHEME_BEARER) {
            return ngx_http_apikeys_auth_bearer(alcf, cred);
        }

        return !(alcf->auth & scheme->named)
               ? NGX_HTTP_APIKEYS_DECISION_NO_CREDENTIAL
               : cred->value.len == 0
                 ? NGX_HTTP_APIKEYS_DECISION_BAD_CREDENTIAL
                 : NGX_HTTP_APIKEYS_DECISION_ALLOW;
    }

    return NGX_HTTP_APIKEYS_DECISION_NO_CREDENTIAL;
}


/* of a key, of the operator, or for the upstream */

static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_bearer(ngx_http_apikeys_loc_conf_t *alcf,
    ngx_http_apikeys_credential_t *cred)
{
    if (ngx_http_apikeys_auth_is_token(&cred->value)) {

        if (alcf->auth & cred->scheme->named) {
            return NGX_HTTP_APIKEYS_DECISION_ALLOW;
        }

        return alcf->api ? NGX_HTTP_APIKEYS_DECISION_BAD_CREDENTIAL
                         : NGX_HTTP_APIKEYS_DECISION_NO_CREDENTIAL;
    }

    if (!alcf->api) {
        return NGX_HTTP_APIKEYS_DECISION_NO_CREDENTIAL;
    }

    cred->scheme =
              &ngx_http_apikeys_auth_schemes[NGX_HTTP_APIKEYS_SCHEME_OPERATOR];

    return NGX_HTTP_APIKEYS_DECISION_ALLOW;
}


/*
 * All characters are looked at, in a loop without branches and of whole
 * vectors: compilers need some fifty instructions for it.
 */

ngx_uint_t
ngx_http_apikeys_auth_is_token(const ngx_str_t *text)
{
    u_char      c, kind, letter, number, hex, wrong, buf[48];
    ngx_uint_t  i;

    /* what each character is: "a", a letter; "x", a hexadecimal digit; or it */

    static const u_char  kinds[sizeof(buf)] =
        "aaaaaaaa_xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

    if (text->len != NGX_HTTP_APIKEYS_AUTH_TOKEN_LEN) {
        return 0;
    }

    ngx_memzero(&buf[32], sizeof(buf) - 32);
    ngx_memcpy(buf, text->data, NGX_HTTP_APIKEYS_AUTH_TOKEN_LEN);

    wrong = 0;

    for (i = 0; i < sizeof(buf); i++) {
        c = buf[i];
        kind = kinds[i];

        letter = (kind == 'a') & ((u_char) (c - 'a') < 26);
        number = (kind == 'x') & ((u_char) (c - '0') < 10);
        hex = (kind == 'x') & ((u_char) (c - 'a') < 6);

        wrong |= !(letter | number | hex
                   | ((c == kind) & (kind != 'a') & (kind != 'x')));
    }

    return !wrong;
}


/* NGX_OK; NGX_DECLINED, there is none; NGX_ERROR, there are several */

static ngx_int_t
ngx_http_apikeys_auth_header(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t **value)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    *value = NULL;

    part = &r->headers_in.headers.part;
    i = 0;

    while ((h = ngx_http_apikeys_header_next(&part, &i, name)) != NULL) {

        if (*value) {
            return NGX_ERROR;
        }

        *value = &h->value;
    }

    return *value ? NGX_OK : NGX_DECLINED;
}


static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_parse_operator(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_credential_t *cred)
{
    u_char                         hash[NGX_APIKEYS_DIGEST_SHA256_LEN];
    ngx_http_apikeys_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    if (!alcf->api || amcf->token == NULL) {
        return NGX_HTTP_APIKEYS_DECISION_BAD_CREDENTIAL;
    }

    if (ngx_apikeys_digest_sha256(hash, &cred->value) != NGX_OK) {
        return NGX_HTTP_APIKEYS_DECISION_ERROR;
    }

    if (!ngx_apikeys_digest_equal(hash, amcf->token, sizeof(hash))) {
        return NGX_HTTP_APIKEYS_DECISION_WRONG_SECRET;
    }

    return NGX_HTTP_APIKEYS_DECISION_ALLOW;
}


static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_parse(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_credential_t *cred)
{
    ngx_http_apikeys_decision_e  decision;

    decision = cred->scheme->parse(r, alcf, cred);

    if (decision == NGX_HTTP_APIKEYS_DECISION_ALLOW
        && !(alcf->auth & cred->scheme->bit))
    {
        return NGX_HTTP_APIKEYS_DECISION_BAD_CREDENTIAL;
    }

    return decision;
}


/* a credential that contains the private key itself */

static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_parse_plain(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_credential_t *cred)
{
    u_char     *colon;
    ngx_int_t   rc;
    ngx_str_t   text;

    if (!(alcf->auth & cred->scheme->bit)) {
        return NGX_HTTP_APIKEYS_DECISION_BAD_CREDENTIAL;
    }

    text = cred->value;

    if (cred->scheme->bit == NGX_HTTP_APIKEYS_AUTH_BASIC) {
        rc = ngx_http_apikeys_auth_decode(r, &text);

        if (rc != NGX_OK) {
            return (rc == NGX_ERROR) ? NGX_HTTP_APIKEYS_DECISION_ERROR
                                    : NGX_HTTP_APIKEYS_DECISION_BAD_CREDENTIAL;
        }
    }

    if (cred->scheme->bit == NGX_HTTP_APIKEYS_AUTH_BEARER) {
        return ngx_http_apikeys_auth_parse_token(cred);
    }

    colon = ngx_strlchr(text.data, text.data + text.len, ':');

    if (colon == NULL) {
        return cred->scheme->bit == NGX_HTTP_APIKEYS_AUTH_HEADER
               && ngx_http_apikeys_auth_is_token(&text)
               ? ngx_http_apikeys_auth_parse_token(cred)
               : NGX_HTTP_APIKEYS_DECISION_BAD_CREDENTIAL;
    }

    cred->username.data = text.data;
    cred->username.len = colon - text.data;

    /* the text is what ngx_apikeys_digest_plain() hashes */

    return ngx_apikeys_digest_sha256(cred->plain, &text) == NGX_OK
           ? NGX_HTTP_APIKEYS_DECISION_ALLOW : NGX_HTTP_APIKEYS_DECISION_ERROR;
}


/* the value has the form of a token: "public key_private key" */

static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_parse_token(ngx_http_apikeys_credential_t *cred)
{
    ngx_str_t  password;

    cred->username.data = cred->value.data;
    cred->username.len = NGX_APIKEYS_PUBLIC_KEY_LEN;

    password.data = cred->value.data + NGX_APIKEYS_PUBLIC_KEY_LEN + 1;
    password.len = NGX_APIKEYS_UUID_TEXT_LEN;

    return ngx_apikeys_digest_plain(cred->plain, &cred->username, &password)
           == NGX_OK
           ? NGX_HTTP_APIKEYS_DECISION_ALLOW : NGX_HTTP_APIKEYS_DECISION_ERROR;
}


/*
 * ngx_http_auth_basic_user() reads another header than Authorization if the
 * method is CONNECT.
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
    ngx_apikeys_digest_t          *d;
    ngx_http_apikeys_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);
    d = &cred->digest;

    if (!(alcf->auth & NGX_HTTP_APIKEYS_AUTH_ANY_DIGEST)
        || ngx_apikeys_digest_parse(d, &cred->value) != NGX_OK)
    {
        return NGX_HTTP_APIKEYS_DECISION_BAD_CREDENTIAL;
    }

    if (d->alg == NGX_APIKEYS_DIGEST_SHA256) {
        cred->scheme =
         &ngx_http_apikeys_auth_schemes[NGX_HTTP_APIKEYS_SCHEME_DIGEST_SHA256];
    }

    /* the request target as the client sent it: "%2F" is not "/" */

    if (d->realm.len != amcf->realm.len
        || ngx_memcmp(d->realm.data, amcf->realm.data, d->realm.len) != 0
        || d->uri.len != r->unparsed_uri.len
        || ngx_memcmp(d->uri.data, r->unparsed_uri.data, d->uri.len) != 0)
    {
        return NGX_HTTP_APIKEYS_DECISION_BAD_CREDENTIAL;
    }

    /*
     * Too old, or of a node with other master keys.  If the response is
     * correct otherwise, stale=true makes the client repeat the request with a
     * new nonce and not ask the user for another password.
     */

    if (ngx_apikeys_nonce_check(amcf->nonce, &d->nonce, &cred->nonce,
                                &cred->kept)
        != NGX_OK)
    {
        cred->nonce_expired = 1;
    }

    cred->username = d->username;

    return NGX_HTTP_APIKEYS_DECISION_ALLOW;
}


static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_key(ngx_http_request_t *r, ngx_apikeys_store_t *st,
    ngx_http_apikeys_credential_t *cred,
    ngx_http_apikeys_identity_t *identity)
{
    ngx_int_t                rc, found;
    ngx_apikeys_store_ref_t  ref;

    found = ngx_apikeys_store_key(st, &cred->username, &ref);

    /* an existing key is logged, whatever the decision */

    if (found == NGX_OK) {
        ngx_memcpy(identity->public_key, ref.public_key,
                   NGX_APIKEYS_PUBLIC_KEY_LEN);

    } else if (found != NGX_DECLINED) {

        if (ref.public_key) {
            ngx_memcpy(identity->public_key, ref.public_key,
                       NGX_APIKEYS_PUBLIC_KEY_LEN);
        }

        return NGX_HTTP_APIKEYS_DECISION_NOT_LOADED;
    }

    rc = ngx_http_apikeys_auth_verify(r, st, cred,
                                      found == NGX_OK ? &ref : NULL);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_APIKEYS_DECISION_ERROR;
    }

    if (found != NGX_OK) {
        return NGX_HTTP_APIKEYS_DECISION_UNKNOWN_KEY;
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_APIKEYS_DECISION_WRONG_SECRET;
    }

    identity->credential = cred->value.data;
    identity->scheme = cred->scheme->bit;

    if (cred->scheme->nonce) {
        identity->nonce_decision = cred->scheme->nonce(r, cred, ref.public_key);

        if (identity->nonce_decision != NGX_HTTP_APIKEYS_DECISION_ALLOW) {
            return identity->nonce_decision;
        }
    }

    identity->id = *ref.id;
    identity->secret_id = *ref.secret_id;
    identity->org = *ref.org;
    identity->global = ngx_apikeys_objectid_zero(ref.org);

    return ngx_http_apikeys_auth_check_key(st, &ref, identity);
}


/*
 * Verifies the newest secret of the key, then the older one, which takes the
 * place of the newest in "ref" if it is right.  A wrong secret is verified
 * twice, whether the key has two, one, or does not exist (ref is NULL), so that
 * the time tells neither.
 */

static ngx_int_t
ngx_http_apikeys_auth_verify(ngx_http_request_t *r, ngx_apikeys_store_t *st,
    ngx_http_apikeys_credential_t *cred, ngx_apikeys_store_ref_t *ref)
{
    ngx_int_t                rc;
    ngx_apikeys_store_ref_t  older;

    rc = cred->scheme->verify(r, cred, ref ? ref
                                           : &ngx_http_apikeys_auth_no_key);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    /*
     * What is kept with the nonce is of one secret: an unknown key, whose two
     * secrets are the same, would be verified faster than others.
     */

    cred->kept = NULL;

    if (ref == NULL || ngx_apikeys_store_older(st, ref, &older) != NGX_OK) {
        return cred->scheme->verify(r, cred, &ngx_http_apikeys_auth_no_key);
    }

    rc = cred->scheme->verify(r, cred, &older);

    if (rc == NGX_OK) {
        *ref = older;
    }

    return rc;
}


/*
 * The request was redirected to another location after its credential was
 * verified: checks everything except the hash of the secret and the nonce
 * again.
 */

static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_reverify(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_identity_t *identity)
{
    ngx_apikeys_store_t           *st;
    ngx_apikeys_store_ref_t        ref;
    ngx_http_apikeys_decision_e    decision;
    ngx_http_apikeys_main_conf_t  *amcf;

    if (!(identity->scheme & alcf->auth)) {
        return NGX_HTTP_APIKEYS_DECISION_BAD_CREDENTIAL;
    }

    if (identity->nonce_decision != NGX_HTTP_APIKEYS_DECISION_ALLOW) {
        return identity->nonce_decision;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);
    st = amcf->store;

    decision = ngx_http_apikeys_auth_fresh(st, alcf, identity);

    if (decision != NGX_HTTP_APIKEYS_DECISION_ALLOW) {
        return decision;
    }

    ngx_apikeys_cidr_sockaddr(&identity->address, r->connection->sockaddr);

    ngx_apikeys_store_read_begin(st);

    decision = ngx_http_apikeys_auth_find(st, identity, &ref);

    if (decision == NGX_HTTP_APIKEYS_DECISION_ALLOW) {
        decision = ngx_http_apikeys_auth_still(st, &ref, identity)
                   ? ngx_http_apikeys_auth_check_key(st, &ref, identity)
                   : NGX_HTTP_APIKEYS_DECISION_WRONG_SECRET;
    }

    ngx_apikeys_store_read_end(st);

    return decision;
}


/* looks up the key of an identity again, by its id */

static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_find(ngx_apikeys_store_t *st,
    ngx_http_apikeys_identity_t *identity, ngx_apikeys_store_ref_t *ref)
{
    switch (ngx_apikeys_store_key_by_id(st, &identity->id, ref)) {

    case NGX_OK:
        return NGX_HTTP_APIKEYS_DECISION_ALLOW;

    case NGX_DECLINED:
        return NGX_HTTP_APIKEYS_DECISION_UNKNOWN_KEY;

    default: /* NGX_BUSY */
        return NGX_HTTP_APIKEYS_DECISION_NOT_LOADED;
    }
}


/* 1: the key has the secret that was verified, which then is that of "ref" */

static ngx_uint_t
ngx_http_apikeys_auth_still(ngx_apikeys_store_t *st,
    ngx_apikeys_store_ref_t *ref, ngx_http_apikeys_identity_t *identity)
{
    ngx_apikeys_store_ref_t  older;

    if (ngx_memcmp(ref->secret_id, &identity->secret_id,
                   NGX_APIKEYS_OBJECTID_LEN)
        == 0)
    {
        return 1;
    }

    if (ngx_apikeys_store_older(st, ref, &older) != NGX_OK
        || ngx_memcmp(older.secret_id, &identity->secret_id,
                      NGX_APIKEYS_OBJECTID_LEN)
           != 0)
    {
        return 0;
    }

    *ref = older;

    return 1;
}


ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_judge(ngx_apikeys_store_t *st,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_identity_t *identity)
{
    ngx_apikeys_store_ref_t      ref;
    ngx_http_apikeys_decision_e  decision;

    decision = ngx_http_apikeys_auth_fresh(st, alcf, identity);

    if (decision == NGX_HTTP_APIKEYS_DECISION_ALLOW) {
        decision = ngx_http_apikeys_auth_find(st, identity, &ref);
    }

    if (decision != NGX_HTTP_APIKEYS_DECISION_ALLOW) {
        return decision;
    }

    identity->org = *ref.org;
    identity->global = ngx_apikeys_objectid_zero(ref.org);

    /* there is no secret that may have expired */

    ref.secret_expires = 0;

    return ngx_http_apikeys_auth_check_key(st, &ref, identity);
}


static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_fresh(ngx_apikeys_store_t *st,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_http_apikeys_identity_t *identity)
{
    identity->stale_copy = (ngx_apikeys_store_age(st) > alcf->stale);

    if (!identity->stale_copy || alcf->stale_allow) {
        return NGX_HTTP_APIKEYS_DECISION_ALLOW;
    }

    return ngx_apikeys_store_complete(st)
           ? NGX_HTTP_APIKEYS_DECISION_STALE_COPY
           : NGX_HTTP_APIKEYS_DECISION_NOT_LOADED;
}


static ngx_int_t
ngx_http_apikeys_auth_verify_digest(ngx_http_request_t *r,
    ngx_http_apikeys_credential_t *cred, const ngx_apikeys_store_ref_t *ref)
{
    ngx_str_t  method;

    ngx_http_apikeys_auth_method(r, &method);

    return ngx_apikeys_digest_verify(&cred->digest,
                              cred->digest.alg == NGX_APIKEYS_DIGEST_SHA256
                              ? ref->ha1s->sha256 : ref->ha1s->md5,
                              &method, cred->kept);
}


static ngx_int_t
ngx_http_apikeys_auth_verify_plain(ngx_http_request_t *r,
    ngx_http_apikeys_credential_t *cred, const ngx_apikeys_store_ref_t *ref)
{
    return ngx_apikeys_digest_equal(cred->plain, ref->plain,
                                    sizeof(cred->plain))
           ? NGX_OK : NGX_DECLINED;
}


/*
 * The method of the request line: r->method is changed to GET for an error
 * page, but the client computed the digest with the original one.
 */

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

    if (cred->nonce_expired) {
        return NGX_HTTP_APIKEYS_DECISION_STALE_NONCE;
    }

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    switch (ngx_apikeys_nonce_use(amcf->nonce, cred->nonce,
                                  cred->digest.count, public_key))
    {
    case NGX_OK:
        return NGX_HTTP_APIKEYS_DECISION_ALLOW;

    case NGX_DECLINED:
        return NGX_HTTP_APIKEYS_DECISION_STALE_NONCE;

    default: /* NGX_BUSY */
        return NGX_HTTP_APIKEYS_DECISION_REPLAY;
    }
}


/*
 * The secret was verified.  Checks that it has not expired, that the key is
 * neither disabled nor expired, that the organization still exists, and that
 * the address of the client is on the access list of the key.  A new reason to
 * refuse a key belongs here, and into SQL: see Traps in docs/architecture.md.
 */

static ngx_http_apikeys_decision_e
ngx_http_apikeys_auth_check_key(ngx_apikeys_store_t *st,
    ngx_apikeys_store_ref_t *ref, ngx_http_apikeys_identity_t *identity)
{
    ngx_apikeys_store_org_t  org;

    identity->ref = *ref;
    identity->section = ngx_apikeys_store_read_section(st);
    identity->roles = ref->roles;
    identity->entry.family = 0;

    identity->expires = (ref->expires && ref->secret_expires)
                        ? ngx_min(ref->expires, ref->secret_expires)
                        : ref->expires | ref->secret_expires;

    if (ref->secret_expires && ngx_time() >= (time_t) ref->secret_expires) {
        return NGX_HTTP_APIKEYS_DECISION_SECRET_EXPIRED;
    }

    if (ref->disabled) {
        return NGX_HTTP_APIKEYS_DECISION_KEY_DISABLED;
    }

    if (ref->expires && ngx_time() >= (time_t) ref->expires) {
        return NGX_HTTP_APIKEYS_DECISION_KEY_EXPIRED;
    }

    org.access_list_required = 0;

    switch (identity->global
            ? NGX_OK : ngx_apikeys_store_org(st, &identity->org, &org))
    {

    case NGX_OK:
        break;

    case NGX_DECLINED:

        /* the keys of a deleted organization are refused at once */

        return NGX_HTTP_APIKEYS_DECISION_UNKNOWN_KEY;

    default: /* NGX_BUSY */
        return NGX_HTTP_APIKEYS_DECISION_NOT_LOADED;
    }

    if (ref->nentries == 0) {
        return org.access_list_required
               ? NGX_HTTP_APIKEYS_DECISION_NO_ACCESS_LIST
                                        : NGX_HTTP_APIKEYS_DECISION_ALLOW;
    }

    if (identity->address.family == 0
        || ngx_apikeys_store_match(st, ref, &identity->address,
                                   &identity->entry)
           != NGX_OK)
    {
        return NGX_HTTP_APIKEYS_DECISION_ADDRESS;
    }

    return NGX_HTTP_APIKEYS_DECISION_ALLOW;
}


ngx_int_t
ngx_http_apikeys_auth_challenge(ngx_http_request_t *r,
    ngx_http_apikeys_loc_conf_t *alcf, ngx_uint_t stale)
{
    ngx_uint_t                             i;
    const ngx_http_apikeys_auth_scheme_t  *scheme;

    for (i = 0; i < NGX_HTTP_APIKEYS_SCHEMES; i++) {

        scheme = &ngx_http_apikeys_auth_schemes[i];

        if ((alcf->auth & scheme->bit)
            && scheme->challenge
            && scheme->challenge(r, scheme, stale) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_apikeys_auth_challenge_digest(ngx_http_request_t *r,
    const ngx_http_apikeys_auth_scheme_t *scheme, ngx_uint_t stale)
{
    u_char                        *p;
    size_t                         len;
    ngx_str_t                      value;
    ngx_http_apikeys_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    len = sizeof("Digest realm=\"\", domain=\"\", nonce=\"\", algorithm=, "
                 "qop=\"auth\", stale=false") - 1
          + amcf->realm.len + NGX_APIKEYS_NONCE_LEN + scheme->algorithm.len;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;

    /* most of what ngx_sprintf() takes here is the walk over the format */

    p = ngx_http_apikeys_auth_copy(p, "Digest realm=\"");
    p = ngx_cpymem(p, amcf->realm.data, amcf->realm.len);
    p = ngx_http_apikeys_auth_copy(p, "\", domain=\"\", nonce=\"");

    if (ngx_apikeys_nonce_make(amcf->nonce, p) != NGX_OK) {
        return NGX_ERROR;
    }

    p += NGX_APIKEYS_NONCE_LEN;
    p = ngx_http_apikeys_auth_copy(p, "\", algorithm=");
    p = ngx_cpymem(p, scheme->algorithm.data, scheme->algorithm.len);
    p = ngx_http_apikeys_auth_copy(p, ", qop=\"auth\", stale=");
    p = stale ? ngx_http_apikeys_auth_copy(p, "true")
              : ngx_http_apikeys_auth_copy(p, "false");

    value.len = p - value.data;

    return ngx_http_apikeys_auth_push(r, &value);
}


/* RFC 7617, section 2; RFC 6750, section 3, without a reason */

static ngx_int_t
ngx_http_apikeys_auth_challenge_realm(ngx_http_request_t *r,
    const ngx_http_apikeys_auth_scheme_t *scheme, ngx_uint_t stale)
{
    u_char                        *p;
    ngx_str_t                      value;
    const ngx_str_t               *prefix;
    ngx_http_apikeys_main_conf_t  *amcf;

    prefix = &scheme->prefix;

    amcf = ngx_http_get_module_main_conf(r, ngx_http_apikeys_module);

    value.len = prefix->len + sizeof("realm=\"\"") - 1 + amcf->realm.len;

    p = ngx_pnalloc(r->pool, value.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;

    p = ngx_cpymem(p, prefix->data, prefix->len);
    p = ngx_http_apikeys_auth_copy(p, "realm=\"");
    p = ngx_cpymem(p, amcf->realm.data, amcf->realm.len);
    *p = '"';

    return ngx_http_apikeys_auth_push(r, &value);
}


ngx_int_t
ngx_http_apikeys_auth_push(ngx_http_request_t *r, ngx_str_t *value)
{
    ngx_table_elt_t         *h, **link;
    static const ngx_str_t   name = ngx_string("WWW-Authenticate");

    h = ngx_http_apikeys_header_add(r, &name, value);
    if (h == NULL) {
        return NGX_ERROR;
    }

    link = &r->headers_out.www_authenticate;

#if (nginx_version >= 1023000)

    /* auth_request copies the linked headers */

    while (*link) {
        link = &(*link)->next;
    }

#endif

    if (*link == NULL) {
        *link = h;
    }

    return NGX_OK;
}
