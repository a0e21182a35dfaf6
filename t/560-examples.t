# What the examples promise, beyond being taken by nginx: credentials that stay
# here, addresses from whom they are believed, dry runs, an Ops Manager.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

add_block_preprocessor(sub {
    $_[0]->set_value('user_files', ">>> index.html\nhello\n");
});

$ENV{TEST_NGINX_BACKEND} = '127.0.0.1:' . fixture()->nginx->port(2);

# the backend of protect.conf, and clients of another address
locations(<<'END', <<'HTTP');
location /other/ { apikeys_auth off; access_log off; proxy_bind 127.0.0.2;
                   proxy_set_header Host $host;
                   proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/; }
END
server {
    listen $TEST_NGINX_BACKEND;
    access_log off;
    location / {
        apikeys_auth off;
        set $credentials "$http_authorization$http_x_api_key";
        set $who "$http_x_key_id $http_x_org_id $http_x_roles";
        return 200 '$request_method [$credentials] $who';
    }
}
HTTP

names(
    data => '/projects/$one_id/data', orgs => '/api/atlas/v1.0/orgs',
    keys => '/api/public/v1.0/orgs/$org_id/apiKeys',
    told => '$viewer_id $org_id ORG_MEMBER,$one_id:GROUP_READ_ONLY',
    role => '{"detail":"Access to this resource is forbidden for current user."'
        . ',"error":403,"errorCode":"ACCESS_FORBIDDEN","parameters":[],'
        . '"reason":"Forbidden"}',
);
# how many more decisions "role" Prometheus text has
my $roles;

sub more_roles {
    my ($n) = $_[0] =~ /decision="role"\} (\d+)/ or return $_[0] =~ s/\n//r;
    my $more = $n - ($roles // $n);
    $roles = $n;
    return "$more more";
}

run_tests();

__DATA__

=== TEST 1: minimal.conf serves the API to a key
--- example: minimal
--- keys
owner: ORG_OWNER
viewer: ORG_MEMBER GROUP_READ_ONLY project=one
member: ORG_MEMBER GROUP_READ_ONLY project=two
billing: ORG_BILLING_ADMIN
far: ORG_MEMBER list=198.51.100.0/24
near: ORG_MEMBER list=127.0.0.0/8
--- requests
none: GET $orgs -> 401
owner: GET $orgs -> 200

=== TEST 2: minimal.conf shows its site to a key
--- example: minimal
--- requests
none: GET / -> 401 no_credential
owner: GET / -> 200 allow
--- challenges
Digest
none

=== TEST 3: protect.conf passes the identity to the backend, without the credential
--- example: protect
--- requests
viewer: GET $data -> 200 allow: GET [] $told
viewer basic: GET $data -> 200 allow: GET [] $told
viewer header: GET $data -> 200 allow: GET [] $told

=== TEST 4: protect.conf ignores an identity that the client claims
--- example: protect
--- as: viewer header
--- requests: GET $data -> 200 allow: GET [] $told
--- more_headers
X-Key-Id: me
X-Org-Id: me
X-Roles: ORG_OWNER

=== TEST 5: protect.conf admits other methods than GET for GROUP_OWNER
--- example: protect
--- requests
viewer: POST $data x -> 403 role: $role
owner: POST $data x -> 200 allow: POST [] $owner_id $org_id ORG_OWNER

=== TEST 6: protect.conf admits keys of the project
--- example: protect
--- requests
none: GET /projects/$two_id/data -> 401 no_credential
viewer: GET /projects/$two_id/data -> 403 role: $role
billing: GET $data -> 403 role: $role
owner: GET $data -> 200 allow: GET [] $owner_id $org_id ORG_OWNER

=== TEST 7: protect.conf refuses keys of another organization
--- example: protect
--- requests
billing: GET /billing/ -> 403 role: $role
owner: GET /billing/ -> 403 role: $role

=== TEST 8: protect.conf admits any key where it has the scheme alone
--- example: protect
--- as: billing
--- requests: GET /readings/ -> 200 allow: GET [] $billing_id $org_id ORG_BILLING_ADMIN

=== TEST 9: protect.conf asks for no key at its health check
--- example: protect
--- requests: GET /health -> 200 -
--- response_headers: Content-Type: image/gif

=== TEST 10: protect.conf logs the public key and the decision, and no private key
--- example: protect
--- as: viewer header
--- requests: POST $data x -> 403 role
--- access_log: 127.0.0.1 $viewer_public role "POST $data HTTP/1.1" 403
--- no_access_log: $viewer_private

=== TEST 11: behind-proxy.conf ignores X-Forwarded-For of an unknown proxy
--- example: behind-proxy
--- requests
near digest uri=$orgs: GET /other$orgs -> 200
far digest uri=$orgs: GET /other$orgs -> 403
--- more_headers: X-Forwarded-For: 198.51.100.7
--- contains
"href":"https://api.example.com$orgs?
"IP_ADDRESS_NOT_ON_ACCESS_LIST","parameters":["127.0.0.2"]

=== TEST 12: behind-proxy.conf takes X-Forwarded-For of the balancer
--- example: behind-proxy
--- requests
far: GET $orgs -> 200
near: GET $orgs -> 403 IP_ADDRESS_NOT_ON_ACCESS_LIST ["198.51.100.7"]
--- more_headers: X-Forwarded-For: 198.51.100.7

=== TEST 13: behind-proxy.conf has links with the public name
--- example: behind-proxy
--- as: owner
--- requests: GET $orgs -> 200
--- contains: "links":[{"href":"https://api.example.com$orgs?

=== TEST 14: dry-run.conf refuses nothing and logs the decisions
--- example: dry-run
--- requests
none: GET /index.html?a
billing basic: GET /index.html?b
viewer basic: GET /index.html?c
owner basic: GET /index.html?d
--- response_body
hello
--- access_log
no_credential - "GET /index.html?a HTTP/1.1"
role $billing_public "GET /index.html?b HTTP/1.1"
allow $viewer_public "GET /index.html?c HTTP/1.1"
allow $owner_public "GET /index.html?d HTTP/1.1"

=== TEST 15: dry-run.conf counts the decisions
--- example: dry-run
--- requests
none: GET /metrics -> 200: 0 more
billing basic: GET /index.html -> 200: hello
none: GET /metrics -> 200: 1 more
--- response_body_filters eval: \&main::more_roles

=== TEST 16: dry-run.conf shows the decisions to its own address
--- example: dry-run
--- requests: GET /other/metrics -> 403 -
--- contains: 403 Forbidden
--- may_log: error

=== TEST 17: rate-limit.conf admits a key
--- example: rate-limit
--- requests
none: GET / -> 401 no_credential
owner basic: GET / -> 200 allow

=== TEST 18: rate-limit.conf does not count wrong secrets for the limit of their key
--- example: rate-limit
--- request eval: [("GET /") x 42]
--- as eval: CORE::join ', ', ('$viewer_public:x basic') x 41, 'viewer basic'
--- answers eval: CORE::join "\n", ('401 wrong_secret') x 41, '200 allow'

=== TEST 19: ops-manager.conf shows the version and the address without a key
--- example: ops-manager
--- requests
GET /api/private/unauth/version -> 200 -:
GET /api/private/ipinfo -> 200 -: {"currentIpv4Address":"127.0.0.1"}
--- response_headers_like eval
['X-MongoDB-Service-Version: gitHash=\w+; versionString=6\.0\.\d+',
    'Content-Type: application/json']

=== TEST 20: ops-manager.conf serves the API of Ops Manager to a key
--- example: ops-manager
--- requests
none: GET /api/public/v1.0/orgs -> 401
owner: GET $keys -> 200
owner: GET $keys/$viewer_id/whitelist -> 200
--- contains
"error" : 401
"totalCount":6
"totalCount":0

=== TEST 21: ops-manager.conf has no paths of Atlas
--- example: ops-manager
--- as: owner
--- requests: GET $orgs -> 404 -
--- contains: 404 Not Found

=== TEST 22: api.conf serves the three APIs by digest with MD5 and SHA-256
--- example: api
--- requests
GET /api/atlas/v1.0/orgs
GET /api/atlas/v2/orgs
GET /api/public/v1.0/orgs
--- error_code: 401
--- challenges: Digest Digest
