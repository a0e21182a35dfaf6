# The token of a key, by "bearer" and by "header=", beside the token of the
# operator and a token for the upstream.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

# the form of a token, one byte of it being wrong, a character less and more
our @near = map { my ($i, $c) = @$_;
    my $token = 'abcdefgh_01234567-89ab-4cde-8f01-23456789abcd';
    substr($token, $i, 1) = $c;
    $token } [ 0, 'A' ], [ 7, '0' ], [ 8, ':' ], [ 8, '-' ], [ 9, 'g' ],
    [ 10, 'F' ], [ 17, '_' ], [ 22, '0' ], [ 27, '/' ], [ 32, '.' ],
    [ 44, '`' ], [ 44, 'g' ], [ 44, '' ], [ 44, 'dd' ];

locations(<<'END');
    location /bearer { apikeys_auth bearer; empty_gif; }
    location /digest { apikeys_auth digest; empty_gif; }
    location /all { apikeys_auth digest digest_sha256 basic bearer
                                 header=X-API-Key; empty_gif; }
    location /header { apikeys_auth header=X-API-Key;
                       proxy_pass http://127.0.0.1:$server_port/echo; }
    location /echo { return 200 "<$http_authorization>"; }
    location /member { apikeys_auth bearer; apikeys_require role=ORG_OWNER;
                       empty_gif; }
    location /any { satisfy any; deny all; apikeys_auth bearer; empty_gif; }
    location /first { apikeys_auth bearer; error_page 404 = /digest; }
    location /api/bearer { apikeys_api atlas_v1; apikeys_auth digest bearer; }
END
run_tests();

__DATA__

=== TEST 1: the token of a key is admitted by bearer
--- keys
owner: ORG_OWNER
reader: ORG_READ_ONLY
listed: ORG_OWNER list=203.0.113.0/24
--- requests
owner bearer: GET /bearer -> 200 allow
owner bearer: GET /all -> 200 allow
listed bearer: GET /bearer -> 403 address
reader bearer: GET /member -> 403 role
owner bearer: GET /member -> 200 allow

=== TEST 2: a wrong secret and an unknown key get the same 401
--- request eval: [("GET /bearer") x 2]
--- as
$owner_public:01234567-89ab-4cde-8f01-23456789abcd bearer
zzzzzzzz:01234567-89ab-4cde-8f01-23456789abcd bearer
--- error_code eval: [401, 401]
--- decision: wrong_secret unknown_key

=== TEST 3: the name of the scheme is taken in any case of letters
--- request eval: [("GET /bearer") x 3]
--- more_headers eval
[map { "Authorization: $_ \$owner_token" }
    "bearer", "BEARER", "bEaReR"]
--- error_code eval: [200, 200, 200]
--- decision: allow allow allow

=== TEST 4: a value of another form is no credential
--- request eval: [("GET /bearer") x (@main::near + 3)]
--- more_headers eval
[map { "Authorization: Bearer $_" } @main::near, "", "eyJhbGciOiJub25lIn0.e30.",
    "\$TEST_NGINX_OPERATOR_TOKEN"]
--- error_code eval: [(401) x (@main::near + 3)]
--- decision eval: "no_credential " x (@main::near + 3)

=== TEST 5: the challenge follows those of digest and basic
--- request: GET /all
--- error_code: 401
--- raw_response_headers_like eval
qr/algorithm=SHA-256, [^\r]*\r
WWW-Authenticate: Basic realm="MMS Public API"\r
WWW-Authenticate: Bearer realm="MMS Public API"\r\n(?!.*WWW-)/

=== TEST 6: a location for bearer alone has one challenge
--- requests: GET /bearer -> 401 no_credential
--- challenges: Bearer

=== TEST 7: a location without bearer takes no token of a key
--- requests: owner bearer: GET /digest -> 401 no_credential
--- challenges: Digest

=== TEST 8: the header of header= takes the token and the pair
--- request eval: [("GET /all") x 3]
--- more_headers eval
["X-API-Key: \$owner_token",
"X-API-Key: \$owner_public:\$owner_private",
"X-API-Key: \$owner_public-\$owner_private"]
--- error_code eval: [200, 200, 401]
--- decision: allow allow bad_credential

=== TEST 9: a token for the upstream passes beside a key in a header
--- request: GET /header
--- as: owner header
--- more_headers
Authorization: Bearer eyJhbGciOiJub25lIn0.e30.c2lnbmVk
--- error_code: 200
--- response_body chomp: <Bearer eyJhbGciOiJub25lIn0.e30.c2lnbmVk>

=== TEST 10: a token for the upstream alone is no credential
--- request: GET /header
--- more_headers
Authorization: Bearer eyJhbGciOiJub25lIn0.e30.c2lnbmVk
--- error_code: 401
--- decision: no_credential

=== TEST 11: Authorization of a scheme that is not listed passes, too
--- request: GET /header
--- as: owner header
--- more_headers
Authorization: Basic dXNlcjpwYXNz
--- error_code: 200
--- response_body chomp: <Basic dXNlcjpwYXNz>

=== TEST 12: the token of a key beside a key in a header is refused
--- request eval: [("GET /all") x 2]
--- more_headers eval
["X-API-Key: \$owner_public:\$owner_private
Authorization: Bearer \$owner_token",
"X-API-Key: \$owner_public:\$owner_private
Authorization: Bearer zzzzzzzz_01234567-89ab-4cde-8f01-23456789abcd"]
--- error_code eval: [401, 401]
--- decision: bad_credential bad_credential

=== TEST 13: satisfy any admits by the token of a key, and by no other
--- request eval: [("GET /any") x 3]
--- more_headers eval
["Authorization: Bearer \$owner_token",
"Authorization: Bearer eyJhbGciOiJub25lIn0.e30.",
"Authorization: Basic dXNlcjpwYXNz"]
--- error_code eval: [200, 401, 401]
--- decision: allow no_credential no_credential

=== TEST 14: a redirect to a location without bearer is refused
--- requests: owner bearer: GET /first -> 401 no_credential
--- may_log: error

=== TEST 15: an API takes the token of a key where bearer is listed
--- requests
owner bearer: GET /api/bearer/orgs/$org_id -> 200
owner: GET /api/bearer/orgs/$org_id -> 200
operator: GET /api/bearer/orgs/$org_id -> 200

=== TEST 16: an API never tries the token of a key as that of the operator
--- request eval: [("GET /api/bearer/orgs") x 2]
--- more_headers eval
["Authorization: Bearer operator_01234567-89ab-4cde-8f01-23456789abcd",
"Authorization: Bearer 0123456789abcdef0123456789abcdef"]
--- error_code eval: [401, 401]
--- decision: unknown_key wrong_secret

=== TEST 17: an API where bearer is not listed refuses the token of a key
--- request: GET /api/atlas/v1.0/orgs
--- as: owner bearer
--- error_code: 401
--- decision: bad_credential

=== TEST 18: no token is logged
--- requests: owner bearer: GET /bearer -> 200 allow
--- grep_error_log eval: qr/[a-z]{8}_[0-9a-f]{8}-/
--- grep_error_log_out
