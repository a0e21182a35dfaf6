# The directives of protected locations: what nginx refuses at its start, the
# schemes of credentials, and the variables.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';
use Test::More;

# The roles that docs/operations.md lists, by their kind, are those of the
# table in the source.
sub text { local (@ARGV, $/) = @_; return <> }

our %roles = text('docs/operations.md')
    =~ /^\| (organization|project|global) \| (`.*)/mg;
my %table = text('src/core/ngx_apikeys_roles.c')
    =~ /_role_\w+\(\s*"(\w+)",\s*(\w+)/g;
$_ = join ',', /`(\w+)`/g for values %roles;
is_deeply([ sort map { split /,/ } values %roles ],
    [ sort grep { $table{$_} ne '0' } keys %table ],
    'docs/operations.md lists all roles');

locations(<<'END', <<'HTTP');
location /digest { apikeys_auth digest; empty_gif; }
location /sha256 { apikeys_auth digest_sha256; empty_gif; }
location /basic { apikeys_auth basic; empty_gif; }
location /header { apikeys_auth header=X-Api-Key; empty_gif; }
location /all { apikeys_auth header=X-Api-Key basic digest_sha256 digest;
                empty_gif; }
location /off { apikeys_auth off; empty_gif; }
location /user { apikeys_auth basic; add_header X-User $remote_user;
                 empty_gif; }
location /named { apikeys_auth basic; access_log logs/access.log named;
                  empty_gif; }
END
log_format named '|$status|$apikeys_decision|$apikeys_public_key'
    '|$apikeys_key_id|$apikeys_org_id|$apikeys_roles|$apikeys_access_entry|';
HTTP

run_tests();

__DATA__

=== TEST 1: apikeys_require needs a parameter
--- refused: location /a { apikeys_auth basic; apikeys_require; } -> invalid number of arguments in "apikeys_require" directive

=== TEST 2: apikeys_require refuses an unknown parameter
--- refused: location /a { apikeys_auth basic; apikeys_require nosuch=1; } -> invalid parameter "nosuch=1" in "apikeys_require": must be "org=", "project=", "role=" or "method=", each once

=== TEST 3: apikeys_require refuses a parameter without a value
--- refused: location /a { apikeys_auth basic; apikeys_require org; } -> invalid parameter "org" in "apikeys_require": must be "org=", "project=", "role=" or "method=", each once

=== TEST 4: apikeys_require refuses an empty id
--- refused: location /a { apikeys_auth basic; apikeys_require org=; } -> invalid parameter "org=" in "apikeys_require": an id has 24 lower-case hex digits

=== TEST 5: apikeys_require refuses an id of three digits
--- refused: location /a { apikeys_auth basic; apikeys_require org=abc; } -> invalid parameter "org=abc" in "apikeys_require": an id has 24 lower-case hex digits

=== TEST 6: apikeys_require refuses an id in capitals
--- refused: location /a { apikeys_auth basic; apikeys_require org=AAAAAAAAAAAAAAAAAAAAAAAA; } -> invalid parameter "org=AAAAAAAAAAAAAAAAAAAAAAAA" in "apikeys_require": an id has 24 lower-case hex digits

=== TEST 7: apikeys_require refuses an id with a letter that is no digit
--- refused: location /a { apikeys_auth basic; apikeys_require project=gggggggggggggggggggggggg; } -> invalid parameter "project=gggggggggggggggggggggggg" in "apikeys_require": an id has 24 lower-case hex digits

=== TEST 8: apikeys_require refuses an unknown variable
--- refused: location /a { apikeys_auth basic; apikeys_require org=$nosuch; } -> unknown "nosuch" variable

=== TEST 9: apikeys_require refuses a parameter that is there twice
--- refused: location /a { apikeys_auth basic; apikeys_require org=$host org=$host; } -> invalid parameter "org=$host" in "apikeys_require": must be "org=", "project=", "role=" or "method=", each once

=== TEST 10: apikeys_require refuses an empty role
--- refused: location /a { apikeys_auth basic; apikeys_require role=; } -> unknown role "" in "apikeys_require": see "Roles" in docs/operations.md

=== TEST 11: apikeys_require refuses the role ORG_TEAM_MEMBERS_ADMIN
--- refused: location /a { apikeys_auth basic; apikeys_require role=ORG_TEAM_MEMBERS_ADMIN; } -> unknown role "ORG_TEAM_MEMBERS_ADMIN" in "apikeys_require": see "Roles" in docs/operations.md

=== TEST 12: apikeys_require refuses a global role together with a project
--- refused: location /a { apikeys_auth basic; apikeys_require project=000000000000000000000000 role=GLOBAL_OWNER; } -> names a GLOBAL_ role, which cannot be combined with "project="

=== TEST 13: apikeys_require refuses an unknown role
--- refused: location /a { apikeys_auth basic; apikeys_require role=NOSUCH; } -> unknown role "NOSUCH" in "apikeys_require": see "Roles" in docs/operations.md

=== TEST 14: apikeys_require refuses a role in lower case
--- refused: location /a { apikeys_auth basic; apikeys_require role=org_owner; } -> unknown role "org_owner" in "apikeys_require": see "Roles" in docs/operations.md

=== TEST 15: apikeys_require refuses a list of roles that ends with a comma
--- refused: location /a { apikeys_auth basic; apikeys_require role=ORG_OWNER,; } -> unknown role "" in "apikeys_require": see "Roles" in docs/operations.md

=== TEST 16: apikeys_require refuses two parameters role=
--- refused: location /a { apikeys_auth basic; apikeys_require role=ORG_OWNER role=ORG_MEMBER; } -> invalid parameter "role=ORG_MEMBER" in "apikeys_require": must be "org=", "project=", "role=" or "method=", each once

=== TEST 17: apikeys_require refuses a role of projects without a project
--- refused: location /a { apikeys_auth basic; apikeys_require role=GROUP_OWNER; } -> names a GROUP_ role, which needs "project="

=== TEST 18: apikeys_require refuses methods alone
--- refused: location /a { apikeys_auth basic; apikeys_require method=GET; } -> "apikeys_require" directive needs "org=", "project=" or "role="

=== TEST 19: apikeys_require refuses a method in lower case
--- refused: location /a { apikeys_auth basic; apikeys_require role=ORG_OWNER method=get; } -> invalid method "get" in "apikeys_require": must have 1 to 32 characters of "A-Z0-9_-"

=== TEST 20: apikeys_require refuses an empty method
--- refused: location /a { apikeys_auth basic; apikeys_require role=ORG_OWNER method=; } -> invalid method "" in "apikeys_require": must have 1 to 32 characters of "A-Z0-9_-"

=== TEST 21: apikeys_require refuses an empty method after "!"
--- refused: location /a { apikeys_auth basic; apikeys_require role=ORG_OWNER method=!; } -> invalid method "" in "apikeys_require": must have 1 to 32 characters of "A-Z0-9_-"

=== TEST 22: apikeys_require refuses a list of methods that ends with a comma
--- refused: location /a { apikeys_auth basic; apikeys_require role=ORG_OWNER method=GET,; } -> invalid method "" in "apikeys_require": must have 1 to 32 characters of "A-Z0-9_-"

=== TEST 23: apikeys_require refuses a method of 33 letters
--- refused: location /a { apikeys_auth basic; apikeys_require role=ORG_OWNER method=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; } -> invalid method "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" in "apikeys_require": must have 1 to 32 characters of "A-Z0-9_-"

=== TEST 24: apikeys_require refuses a method with a plus sign
--- refused: location /a { apikeys_auth basic; apikeys_require role=ORG_OWNER method=M+; } -> invalid method "M+" in "apikeys_require": must have 1 to 32 characters of "A-Z0-9_-"

=== TEST 25: apikeys_require refuses a second "!" before a method
--- refused: location /a { apikeys_auth basic; apikeys_require role=ORG_OWNER method=!!GET; } -> invalid method "!GET" in "apikeys_require": must have 1 to 32 characters of "A-Z0-9_-"

=== TEST 26: apikeys_require refuses methods with "!" before others
--- refused: location /a { apikeys_auth basic; apikeys_require role=ORG_OWNER method=!GET,POST; } -> "apikeys_require" directive has methods with and without "!", use a line for each

=== TEST 27: apikeys_require refuses methods with "!" after others
--- refused: location /a { apikeys_auth basic; apikeys_require role=ORG_OWNER method=POST,!GET; } -> "apikeys_require" directive has methods with and without "!", use a line for each

=== TEST 28: apikeys_require refuses two parameters method=
--- refused: location /a { apikeys_auth basic; apikeys_require role=ORG_OWNER method=GET method=PUT; } -> invalid parameter "method=PUT" in "apikeys_require": must be "org=", "project=", "role=" or "method=", each once

=== TEST 29: apikeys_dry_run refuses the value yes
--- refused: apikeys_dry_run yes; -> invalid value "yes" in "apikeys_dry_run" directive, it must be "on" or "off"

=== TEST 30: apikeys_dry_run refuses the value 1
--- refused: apikeys_dry_run 1; -> invalid value "1" in "apikeys_dry_run" directive, it must be "on" or "off"

=== TEST 31: apikeys_dry_run cannot be on for the API
--- refused: apikeys_dry_run on; location /api { apikeys_api atlas_v1; } -> "apikeys_dry_run on" cannot be used with "apikeys_api"

=== TEST 32: apikeys_status refuses an unknown format
--- refused: location = /s { apikeys_status xml; } -> invalid parameter "xml" in "apikeys_status": must be "json", "prometheus" or "health"

=== TEST 33: apikeys_status takes one parameter at most
--- refused: location = /s { apikeys_status json json; } -> invalid number of arguments in "apikeys_status" directive

=== TEST 34: apikeys_status refuses another handler in its location
--- refused: location = /s { empty_gif; apikeys_status; } -> "apikeys_status" cannot be combined with another handler in location "/s", such as

=== TEST 35: apikeys_auth is not allowed within an if
--- refused: location /a { if ($host) { apikeys_auth off; } } -> "apikeys_auth" directive is not allowed

=== TEST 36: apikeys_require takes all roles of organizations and projects together
--- config eval
"location /a { apikeys_auth basic;
    apikeys_require project=000000000000000000000000
        role=$::roles{organization},$::roles{project};
    apikeys_require role=$::roles{global};
    empty_gif; }"
--- request: GET /a
--- error_code: 401
--- decision: no_credential

=== TEST 37: the log names an admitted key, its roles, and the smallest entry of its list
--- keys
owner: ORG_OWNER
member: ORG_MEMBER
gone: ORG_MEMBER
viewer: ORG_MEMBER GROUP_READ_ONLY project=one list=127.0.0.0/8,127.0.0.1/32
--- request: GET /named
--- as: viewer basic
--- error_code: 200
--- access_log: |200|allow|$viewer_public|$viewer_id|$org_id|ORG_MEMBER,$one_id:GROUP_READ_ONLY|127.0.0.1/32|

=== TEST 38: the log names no key whose secret was wrong
--- request: GET /named
--- as: $viewer_public:x basic
--- error_code: 401
--- access_log: |401|wrong_secret|-|-|-|-|-|

=== TEST 39: the log names no entry of a key without an access list
--- request: GET /named
--- as: owner basic
--- error_code: 200
--- access_log: |200|allow|$owner_public|$owner_id|$org_id|ORG_OWNER|-|

=== TEST 40: a location for digest with MD5 admits a key by that scheme alone
--- request eval: [("GET /digest") x 7]
--- as
none, member digest, member digest_sha256, member basic, member header,
$member_public:x digest, zzzzzzzz:000000000000000000000000000000000000 digest
--- error_code eval: [401, 200, 401, 401, 401, 401, 401]
--- decision
no_credential allow bad_credential no_credential no_credential wrong_secret
unknown_key

=== TEST 41: a location for digest with SHA-256 admits a key by that scheme alone
--- request eval: [("GET /sha256") x 7]
--- as
none, member digest, member digest_sha256, member basic, member header,
$member_public:x digest_sha256,
zzzzzzzz:000000000000000000000000000000000000 digest_sha256
--- error_code eval: [401, 401, 200, 401, 401, 401, 401]
--- decision
no_credential bad_credential allow no_credential no_credential wrong_secret
unknown_key

=== TEST 42: a location for basic admits a key by that scheme alone
--- request eval: [("GET /basic") x 7]
--- as
none, member digest, member digest_sha256, member basic, member header,
$member_public:x basic, zzzzzzzz:000000000000000000000000000000000000 basic
--- error_code eval: [401, 401, 401, 200, 401, 401, 401]
--- decision
no_credential no_credential no_credential allow no_credential wrong_secret
unknown_key

=== TEST 43: a location for a header admits a key by that scheme alone
--- request eval: [("GET /header") x 7]
--- as
none, member digest, member digest_sha256, member basic, member header,
$member_public:x header, zzzzzzzz:000000000000000000000000000000000000 header
--- error_code eval: [401, 401, 401, 401, 200, 401, 401]
--- decision
no_credential no_credential no_credential no_credential allow wrong_secret
unknown_key

=== TEST 44: a location for all schemes admits a key by each of them
--- request eval: [("GET /all") x 4]
--- as: member digest, member digest_sha256, member basic, member header
--- error_code eval: [200, 200, 200, 200]
--- decision: allow allow allow allow

=== TEST 45: the challenges begin with digest, in whatever order the schemes are configured
--- request: GET /all
--- error_code: 401
--- raw_response_headers_like eval
qr/\r\nWWW-Authenticate: Digest [^\r]* algorithm=MD5, [^\r]*\r
WWW-Authenticate: Digest [^\r]* algorithm=SHA-256, [^\r]*\r
WWW-Authenticate: Basic [^\r]*\r\n(?!.*WWW-)/

=== TEST 46: a location for a header alone sends no challenge
--- request: GET /header
--- error_code: 401
--- response_headers: !WWW-Authenticate
--- decision: no_credential

=== TEST 47: apikeys_auth off admits a request with any credential and with none
--- request eval: [("GET /off") x 2]
--- as: none, x:y basic
--- error_code eval: [200, 200]
--- decision: - -

=== TEST 48: two credentials in one request are refused
--- request eval: [("GET /all") x 2]
--- more_headers eval
["X-Api-Key: \$member_public:\$member_private
Authorization: Basic \$member_basic",
"X-Api-Key: \$member_public:\$member_private
X-Api-Key: \$member_public:\$member_private"]
--- error_code eval: [401, 401]
--- decision: bad_credential bad_credential

=== TEST 49: a header that a location does not take is no credential
--- request: GET /basic
--- more_headers
X-Api-Key: $member_public:$member_private
--- as: member basic
--- error_code: 200
--- decision: allow

=== TEST 50: a header Authorization that contains no credential is refused
--- request eval: [("GET /all") x 11]
--- more_headers eval
[map { "Authorization: $_" } "Basic", "Basic ", "Basic !", "Digest",
    "Digest x", "Basic eA==", "", "x", "Bearer x",
    "Bearer \$TEST_NGINX_OPERATOR_TOKEN", "basic\$member_basic"]
--- error_code eval: [(401) x 11]
--- decision eval: "bad_credential " x 6 . "no_credential " x 5

=== TEST 51: a header that holds no whole credential is refused
--- request eval: [("GET /header") x 5]
--- more_headers eval
[map { "X-Api-Key: $_" } "\$member_public", ":\$member_private", ":", " ",
    "\$member_public \$member_private"]
--- error_code eval: [(401) x 5]
--- decision
bad_credential unknown_key unknown_key bad_credential bad_credential

=== TEST 52: names of headers and of schemes are taken in any case of letters
--- request eval: ["GET /header", "GET /basic"]
--- more_headers eval
["x-API-key: \$member_public:\$member_private",
    "Authorization: bASIC \$member_basic"]
--- error_code eval: [200, 200]
--- decision: allow allow

=== TEST 53: basic gets the same decision for a credential at each of three times
--- request eval: [("GET /basic") x 15]
--- as eval
"gone basic
\$gone_public:x basic
zzzzzzzz:000000000000000000000000000000000000 basic
: basic
xxxxxxxxxxxxxxxxx:x basic
" x 3
--- error_code eval: [(200, 401, 401, 401, 401) x 3]
--- decision eval: "allow wrong_secret unknown_key bad_credential unknown_key " x 3

=== TEST 54: a header gets the same decision for a credential at each of three times
--- request eval: [("GET /header") x 15]
--- as eval
"gone header
\$gone_public:x header
zzzzzzzz:000000000000000000000000000000000000 header
: header
xxxxxxxxxxxxxxxxx:x header
" x 3
--- error_code eval: [(200, 401, 401, 401, 401) x 3]
--- decision eval: "allow wrong_secret unknown_key unknown_key unknown_key " x 3

=== TEST 55: $remote_user is the public key, the first and the second time
--- request eval: [("GET /user") x 2]
--- as: gone basic
--- error_code eval: [200, 200]
--- response_headers eval: [("X-User: \$gone_public") x 2]

=== TEST 56: the text of basic in another header is no credential
--- request: GET /all
--- more_headers
X-Api-Key: $gone_basic
--- error_code: 401
--- decision: bad_credential

=== TEST 57: the owner of an organization deletes a key
--- request: DELETE $atlas/orgs/$org_id/apiKeys/$gone_id
--- as: owner
--- answers: 204
--- decision: allow

=== TEST 58: a deleted key is unknown, though it was admitted before
--- request eval: ["GET /basic", "GET /header"]
--- as: gone basic, gone header
--- error_code eval: [401, 401]
--- decision: unknown_key unknown_key
