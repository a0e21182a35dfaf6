# The decision on a key before it is used, on the native API: each reason, and
# that the decision on a request is the same.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

names(
    org => '$base/orgs/$org_id', keys => '$org/apiKeys',
    of_listed => '$keys/$listed_id/decision', of_bare => '$keys/$bare_id/decision',
    of_member => '$keys/$member_id/decision', of_leader => '$keys/$leader_id/decision',
    none => '"roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"}],"disabled":false,"expiresAt":null}',
    local => 'address=127.0.0.1', nobody => '0123456789abcdef01234567',
    uses => 'SELECT * FROM apikeys.access_usage', x65 => 'X' x 65,
    decisions => 'SELECT count(*) FROM apikeys.audit',
);
defaults(on => 'native', as => 'owner');

# the times of a zone that has nothing after 10 s of a database that is away
my $common = 'apikeys_sync poll=100ms;';
locations(<<'END', $common, 'apikeys_auth digest basic;');
    location /any { apikeys_auth basic; empty_gif; }
    location /project { apikeys_auth basic; empty_gif;
        apikeys_require project=$arg_project; }
    location /owner { apikeys_auth basic; empty_gif;
        apikeys_require project=$arg_project role=GROUP_OWNER; }
    location /reader { apikeys_auth basic; empty_gif;
        apikeys_require role=ORG_READ_ONLY,ORG_OWNER; }
    location /api/short { apikeys_api native; apikeys_stale 1s; }
    location = /status { apikeys_status; }
END
run_tests();

__DATA__

=== TEST 1: a key without an access list is admitted from everywhere
--- keys
owner: ORG_OWNER
listed: ORG_MEMBER list=127.0.0.0/8,127.0.0.1/32,2001:db8::/32
bare: ORG_MEMBER
member: ORG_MEMBER GROUP_READ_ONLY
leader: ORG_READ_ONLY GROUP_OWNER@other
foreign: ORG_OWNER org=away
shut: ORG_MEMBER list=192.0.2.1/32
--- requests
GET $of_bare?address=192.0.2.1
--- json
{"decision":"allow","address":"192.0.2.1","entry":null,$none

=== TEST 2: the smallest entry that has the address admits it
--- requests
GET $of_listed?address=127.0.0.1 -> 200 {"decision":"allow","address":"127.0.0.1","entry":"127.0.0.1/32",$none
GET $of_listed?address=127.0.0.2 -> 200 {"decision":"allow","address":"127.0.0.2","entry":"127.0.0.0/8",$none
GET $of_listed?address=2001:DB8::1 -> 200 {"decision":"allow","address":"2001:db8::1","entry":"2001:db8::/32",$none
GET $of_listed?address=::ffff:127.0.0.1 -> 200 {"decision":"allow","address":"127.0.0.1","entry":"127.0.0.1/32",$none
GET $of_listed?address=192.0.2.1 -> 200 {"decision":"address","address":"192.0.2.1","entry":null,$none

=== TEST 3: the key itself asks, others of the organization do not
--- requests
bare: GET $of_bare?$local -> 200
operator: GET $of_bare?$local -> 200
member: GET $of_bare?$local -> USER_UNAUTHORIZED
leader: GET $of_bare?$local -> USER_UNAUTHORIZED
foreign: GET $of_bare?$local -> ORG_NOT_FOUND ["$org_id"]
owner: GET $keys/$foreign_id/decision?$local -> 404 API_KEY_NOT_FOUND ["$foreign_id"]
owner: GET $keys/$nobody/decision?$local -> 404 API_KEY_NOT_FOUND ["$nobody"]
owner: POST $of_bare?$local {} -> METHOD_NOT_ALLOWED ["POST"]

=== TEST 4: roles in a project
--- requests
GET $of_member?$local&project=$project_id
--- json
{"decision":"allow","address":"127.0.0.1","entry":null,
 "roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"},{"projectId":"$project_id","roleName":"GROUP_READ_ONLY"}],
 "disabled":false,"expiresAt":null}

=== TEST 5: the decision with a project and with roles
--- requests
GET $of_member?$local&project=$project_id&role=GROUP_OWNER -> 200 ... {"decision":"role",
GET $of_member?$local&project=$project_id&role=GROUP_OWNER,GROUP_READ_ONLY -> 200 ... {"decision":"allow",
GET $of_member?$local&project=$other_id -> 200 ... {"decision":"role",
GET $of_member?$local&project=$nobody -> 200 ... {"decision":"role",
GET $of_member?$local&role=ORG_MEMBER -> 200 ... {"decision":"allow",
GET $of_member?$local&role=ORG_OWNER -> 200 ... {"decision":"role",
GET $of_member?$local&role=ORG_OWNER,ORG_MEMBER -> 200 ... {"decision":"allow",
GET $of_member?$local&role=GROUP_READ_ONLY -> 200 ... {"decision":"role",
GET $of_member?$local&role=NO_SUCH_ROLE -> 200 ... {"decision":"role",
GET $of_member?$local&role=GLOBAL_OWNER -> 200 ... {"decision":"role",
GET $keys/$owner_id/decision?$local&project=$other_id&role=GROUP_OWNER -> 200 ... {"decision":"allow",
GET $of_leader?$local&project=$other_id&role=GROUP_OWNER -> 200 ... {"decision":"allow",

=== TEST 6: the address is decided before the roles
--- requests
GET $of_listed?address=192.0.2.1&role=ORG_OWNER -> 200 ... {"decision":"address",
GET $of_listed?address=127.0.0.1&role=ORG_OWNER -> 200 ... {"decision":"role","address":"127.0.0.1","entry":"127.0.0.1/32",

=== TEST 7: requests are decided in the same way
--- requests
listed basic: GET /any -> 200 allow
shut basic: GET /any -> 403 address
member basic: GET /project?project=$project_id -> 200 allow
member basic: GET /project?project=$other_id -> 403 role
member basic: GET /project?project=$nobody -> 403 role
member basic: GET /owner?project=$project_id -> 403 role
owner basic: GET /owner?project=$other_id -> 200 allow
leader basic: GET /owner?project=$other_id -> 200 allow
leader basic: GET /reader -> 200 allow
member basic: GET /reader -> 403 role

=== TEST 8: a disabled key, and one with an end
--- sql
UPDATE apikeys.keys SET disabled = true WHERE id = '$bare_id';
UPDATE apikeys.keys SET expires = '2026-01-02T03:04:05Z' WHERE id = '$member_id';
UPDATE apikeys.keys SET expires = '2026-01-02T03:04:05Z', disabled = true WHERE id = '$shut_id';
UPDATE apikeys.keys SET expires = '2099-01-02T03:04:05Z' WHERE id = '$leader_id';
--- requests
owner: GET $of_bare?$local -> 200 ... {"decision":"key_disabled","address":"127.0.0.1","entry":null,"roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"}],"disabled":true,"expiresAt":null}
owner: GET $of_member?$local -> 200 ... "disabled":false,"expiresAt":"2026-01-02T03:04:05Z"}
owner: GET $of_member?$local&role=ORG_OWNER -> 200 ... {"decision":"key_expired",
owner: GET $keys/$shut_id/decision?$local -> 200 ... {"decision":"key_disabled",
owner: GET $of_leader?$local -> 200 ... {"decision":"allow",
owner: GET $of_leader?$local -> 200 ... "expiresAt":"2099-01-02T03:04:05Z"}

=== TEST 9: requests are decided in the same way
--- requests
bare basic: GET /any -> 401 key_disabled
member basic: GET /any -> 401 key_expired
shut basic: GET /any -> 401 key_disabled
leader basic: GET /any -> 200 allow

=== TEST 10: an organization that requires access lists
--- sql
UPDATE apikeys.orgs SET access_list_required = true WHERE id = '$org_id'
--- requests
operator: GET $of_leader?$local -> 200 ... {"decision":"no_access_list",
operator: GET $of_leader?$local&role=ORG_OWNER -> 200 ... {"decision":"no_access_list",
operator: GET $of_listed?$local -> 200 ... {"decision":"allow",
operator: GET $of_bare?$local -> 200 ... {"decision":"key_disabled",

=== TEST 11: nothing is counted and nothing is written
--- sql
UPDATE apikeys.orgs SET access_list_required = false WHERE id = '$org_id'
--- requests
GET $of_listed?$local -> 200
--- unchanged: $uses

=== TEST 12: an address that is none, and a project and roles that cannot be
--- requests
GET $of_listed -> INVALID_IP_ADDRESS_OR_CIDR_NOTATION [""]
GET $of_listed?address= -> INVALID_IP_ADDRESS_OR_CIDR_NOTATION [""]
GET $of_listed?address=127.0.0.1/32 -> INVALID_IP_ADDRESS_OR_CIDR_NOTATION ["127.0.0.1/32"]
GET $of_listed?address=127.0.0 -> INVALID_IP_ADDRESS_OR_CIDR_NOTATION ["127.0.0"]
GET $of_listed?address=127.0.0.1,127.0.0.2 -> INVALID_IP_ADDRESS_OR_CIDR_NOTATION ["127.0.0.1,127.0.0.2"]
GET $of_listed?address=localhost -> INVALID_IP_ADDRESS_OR_CIDR_NOTATION ["localhost"]
GET $of_listed?$local&address=x -> 200
GET $of_listed?$local&project=x -> INVALID_QUERY_PARAMETER ["project"]
GET $of_listed?$local&project= -> INVALID_QUERY_PARAMETER ["project"]
GET $of_listed?$local&project=$nobody&project=x -> 200
GET $of_listed?$local&role= -> INVALID_ENUM_VALUE [""]
GET $of_listed?$local&role=ORG_OWNER, -> INVALID_ENUM_VALUE [""]
GET $of_listed?$local&role=org_owner -> INVALID_ENUM_VALUE ["org_owner"]
GET $of_listed?$local&role=ORG_OWNER%20 -> INVALID_ENUM_VALUE ["ORG_OWNER "]
GET $of_listed?$local&role=_A -> INVALID_ENUM_VALUE ["_A"]
GET $of_listed?$local&role=A -> INVALID_ENUM_VALUE ["A"]
GET $of_listed?$local&role=$x65 -> INVALID_ENUM_VALUE ["$x65"]
GET $of_listed?$local&role=A9_ -> 200
GET $of_listed?$local&pretty=maybe -> INVALID_QUERY_PARAMETER ["pretty"]

=== TEST 13: it is the copy of this node that is asked, also with the database away
--- sql: $away
--- requests
GET $of_listed?$local -> 200 ... {"decision":"allow",

=== TEST 14: a copy that cannot be trusted tells nothing
--- until: /status "age_milliseconds":[2-9]\d{3}\b
--- may_log: error
--- requests
operator: GET /api/short/orgs/$org_id/apiKeys/$listed_id/decision?$local -> SERVICE_UNAVAILABLE

=== TEST 15: and the database is back
--- sql: $back
--- requests
GET $of_listed?$local -> 200
