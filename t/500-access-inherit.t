# How the directives of protected locations are inherited; dry runs; and what
# apikeys_require demands of the API.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

locations(<<'END', <<'HTTP');
location /in { empty_gif; }
location /in/off { apikeys_auth off; empty_gif; }
location /in/header { apikeys_auth header=X-Api-Key; empty_gif; }
location /in/require { apikeys_require role=ORG_READ_ONLY; empty_gif; }
location /in/nested {
    apikeys_require role=ORG_READ_ONLY;
    apikeys_require role=ORG_BILLING_ADMIN;
    location /in/nested/same { empty_gif; }
    location /in/nested/one {
        apikeys_require role=ORG_READ_ONLY; empty_gif; }
}
location /in/if { if ($arg_a) { set $b 1; } empty_gif; }
location /in/except {
    limit_except GET { apikeys_require role=ORG_READ_ONLY; }
    proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/up;
}
location /in/public {
    apikeys_auth off;
    limit_except GET { apikeys_auth basic;
                       apikeys_require role=ORG_READ_ONLY; }
    proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/up;
}
location /dry {
    apikeys_dry_run on; empty_gif;
    location /dry/not { apikeys_dry_run off; empty_gif; }
}
location /up { apikeys_auth off; access_log off; return 200; }
location /strict {
    apikeys_api atlas_v1;
    apikeys_auth digest;
    apikeys_require role=ORG_OWNER method=GET,POST;
    limit_except GET { apikeys_require role=ORG_READ_ONLY; }
}
END
apikeys_auth basic;
apikeys_require role=ORG_OWNER;
HTTP

run_tests();

__DATA__

=== TEST 1: a location inherits the scheme and apikeys_require of http
--- keys
owner: ORG_OWNER
member: ORG_MEMBER
reader: ORG_READ_ONLY
both: ORG_READ_ONLY ORG_BILLING_ADMIN
--- request eval: [("GET /in") x 3]
--- as: owner basic, member basic, none
--- error_code eval: [200, 403, 401]
--- decision: allow role no_credential

=== TEST 2: apikeys_auth off in a location admits a request without a key
--- request: GET /in/off
--- error_code: 200
--- decision: -

=== TEST 3: a location with another scheme refuses that of http
--- request: GET /in/header
--- as: owner basic
--- error_code: 401
--- decision: no_credential

=== TEST 4: a location with another scheme inherits apikeys_require
--- request eval: [("GET /in/header") x 2]
--- as: owner header, member header
--- error_code eval: [200, 403]
--- decision: allow role

=== TEST 5: apikeys_require in a location replaces what it would inherit
--- request eval: [("GET /in/require") x 2]
--- as: reader basic, owner basic
--- error_code eval: [200, 403]
--- decision: allow role

=== TEST 6: a nested location inherits all lines of apikeys_require
--- request eval: [("GET /in/nested/same") x 2]
--- as: reader basic, both basic
--- error_code eval: [403, 200]
--- decision: role allow

=== TEST 7: one line of apikeys_require in a nested location replaces two
--- request: GET /in/nested/one
--- as: reader basic
--- error_code: 200
--- decision: allow

=== TEST 8: an if in a location inherits the scheme and apikeys_require
--- request eval: [("GET /in/if?a=1") x 3]
--- as: none, owner basic, member basic
--- error_code eval: [401, 200, 403]
--- decision: no_credential allow role

=== TEST 9: apikeys_require in limit_except replaces that of http for other methods
--- request eval: ["GET /in/except", "POST /in/except", "POST /in/except"]
--- as: owner basic, owner basic, reader basic
--- error_code eval: [200, 403, 200]
--- decision: allow role allow

=== TEST 10: limit_except demands a key where the location demands none
--- request eval: ["GET /in/public", "POST /in/public", "POST /in/public"]
--- as: none, none, reader basic
--- error_code eval: [200, 401, 200]
--- decision: - no_credential allow

=== TEST 11: a dry run decides and refuses nothing
--- request eval: [("GET /dry") x 4]
--- as: none, member basic, $member_public:x basic, owner basic
--- error_code eval: [200, 200, 200, 200]
--- decision: no_credential role wrong_secret allow

=== TEST 12: a dry run sends no challenge
--- request: GET /dry
--- error_code: 200
--- response_headers: !WWW-Authenticate

=== TEST 13: apikeys_dry_run off in a nested location refuses again
--- request: GET /dry/not
--- as: member basic
--- error_code: 403
--- decision: role

=== TEST 14: apikeys_require admits a call of the API by a key with the role
--- request: GET /strict/orgs/$org_id/apiKeys
--- as: owner
--- error_code: 200
--- decision: allow
--- response_body_like: "totalCount":4\}$

=== TEST 15: apikeys_require refuses a call of the API by a key without the role
--- request: GET /strict/orgs/$org_id/apiKeys
--- as: reader
--- error_code: 403
--- decision: role
--- response_headers: X-Error-Code: ACCESS_FORBIDDEN
--- response_body_like: "errorCode":"ACCESS_FORBIDDEN"

=== TEST 16: the API demands its own rights of a key that limit_except admits
--- request
PATCH /strict/orgs/$org_id/apiKeys/$reader_id
{"desc":"x"}
--- more_headers: Content-Type: application/json
--- as: reader
--- error_code: 401
--- decision: role
--- response_body_like: "errorCode":"USER_UNAUTHORIZED"

=== TEST 17: apikeys_require in limit_except refuses a call of the API
--- request
PATCH /strict/orgs/$org_id/apiKeys/$reader_id
{"desc":"x"}
--- more_headers: Content-Type: application/json
--- as: owner
--- error_code: 403
--- decision: role

=== TEST 18: apikeys_require does not bind the operator
--- request: GET /strict/orgs/$org_id/apiKeys
--- as: operator
--- error_code: 200
--- response_body_like: "totalCount":4\}$
