# Keys that are disabled or have an end, on the native API.  What nodes refuse
# is in 503; which owners an organization must keep is in 200-sql-functions.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

use POSIX qw( strftime );

sub in_seconds { return strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time + $_[0])) }

names(
    org => '$base/orgs/$org_id', keys => '$org/apiKeys', key => '$keys/$one_id',
    members => '$base/projects/$project_id/apiKeys',
    at => '$atlas/orgs/$org_id/apiKeys/$one_id',
    past => in_seconds(-1), soon => in_seconds(3600), later => in_seconds(7200),
    states => 'SELECT s::text FROM apikeys.key_states s ORDER BY id',
);
defaults(on => 'native', as => 'owner');
run_tests();

__DATA__

=== TEST 1: a key is made disabled
--- keys
owner: ORG_OWNER
second: ORG_OWNER
one: ORG_MEMBER
member: ORG_MEMBER GROUP_READ_ONLY
--- requests
owner: POST $keys {"desc":"off","roles":["ORG_MEMBER"],"disabled":true} -> 201 ... "disabled":true,"expiresAt":null,
--- keep: off

=== TEST 2: it is refused, and admitted when it is enabled
--- requests
off: GET $base -> 401
owner: PATCH $keys/$off_id {"disabled":false} -> 200 ... "disabled":false,"expiresAt":null,
off: GET $base -> 200
owner: PATCH $keys/$off_id {"disabled":true} -> 200 ... "disabled":true,
off: GET $base -> 401
--- decision: key_disabled allow allow allow key_disabled

=== TEST 3: a key is made with an end
--- requests
POST $keys {"desc":"ends","roles":["ORG_MEMBER"],"expiresAt":"$soon"} -> 201 ... "disabled":false,"expiresAt":"$soon",
POST $members {"desc":"inside","roles":["GROUP_READ_ONLY"],"expiresAt":"$soon","disabled":true} -> 201 ... "disabled":true,"expiresAt":"$soon",
POST $keys {"desc":"none","roles":["ORG_MEMBER"],"expiresAt":null,"disabled":null} -> 201 ... "disabled":false,"expiresAt":null,
POST $keys {"desc":"last","roles":["ORG_MEMBER"],"expiresAt":"9999-12-31T23:59:59Z"} -> 201 ... "expiresAt":"9999-12-31T23:59:59Z",

=== TEST 4: PATCH sets an end, another one, and none
--- requests
PATCH $key {"expiresAt":"$soon"} -> 200 ... "disabled":false,"expiresAt":"$soon",
GET $key -> 200 ... "expiresAt":"$soon",
PATCH $key {"expiresAt":"$later","desc":"with an end"} -> 200 ... "desc":"with an end",
PATCH $key {"disabled":true} -> 200 ... "disabled":true,"expiresAt":"$later",
GET $keys -> 200 ... "disabled":true,"expiresAt":"$later",
PATCH $key {"disabled":false,"expiresAt":null} -> 200 ... "disabled":false,"expiresAt":null,
--- audit
API_KEY_EXPIRY_CHANGED {"expiresAt":null} {"expiresAt":"$soon"}
API_KEY_DESCRIPTION_CHANGED {"desc":"one"} {"desc":"withanend"}
API_KEY_EXPIRY_CHANGED {"expiresAt":"$soon"} {"expiresAt":"$later"}
API_KEY_DISABLED {"disabled":false} {"disabled":true}
API_KEY_ENABLED {"disabled":true} {"disabled":false}
API_KEY_EXPIRY_CHANGED {"expiresAt":"$later"} {"expiresAt":null}

=== TEST 5: a value that is what the key has changes nothing that is told
--- requests
PATCH $key {"disabled":false} -> 200
PATCH $key {"expiresAt":null} -> 200
--- audit

=== TEST 6: a key whose end has passed is refused, and admitted with a later end
--- sql
UPDATE apikeys.keys SET expires = '2026-01-02T03:04:05Z' WHERE id = '$one_id'
--- requests
one: GET $base -> 401
owner: GET $key -> 200 ... "expiresAt":"2026-01-02T03:04:05Z",
owner: PATCH $key {"expiresAt":"$later"} -> 200
one: GET $base -> 200 ... "expiresAt":"$later",
owner: PATCH $key {"expiresAt":null} -> 200
--- decision: key_expired allow allow allow allow

=== TEST 7: an end that is past, no time, or in another form is refused
--- requests
PATCH $key {"expiresAt":"$past"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":"1969-12-31T23:59:59Z"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":"0000-01-01T00:00:00Z"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":""} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":"tomorrow"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":"infinity"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":"2100-01-01"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":"2100-01-01T00:00:00"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":"2100-01-01T00:00:00z"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":"2100-01-01t00:00:00Z"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":"2100-01-01 00:00:00Z"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":"2100-01-01T00:00:00.5Z"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":"2100-01-01T00:00:00+00:00"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":"2100-01-01T00:00+0000"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":"2100-02-29T00:00:00Z"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":"2100-01-01T24:00:00Z"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":"2100-01-01T00:00:60Z"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":"10000-01-01T00:00:00Z"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":" 2100-01-01T00:00:0Z"} -> INVALID_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":4102444800} -> INVALID_JSON_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":true} -> INVALID_JSON_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":[]} -> INVALID_JSON_ATTRIBUTE ["expiresAt"]
PATCH $key {"expiresAt":{}} -> INVALID_JSON_ATTRIBUTE ["expiresAt"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"expiresAt":"$past"} -> INVALID_ATTRIBUTE ["expiresAt"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"expiresAt":"x"} -> INVALID_ATTRIBUTE ["expiresAt"]
POST $members {"desc":"x","roles":["GROUP_READ_ONLY"],"expiresAt":"$past"} -> INVALID_ATTRIBUTE ["expiresAt"]
--- unchanged: $states

=== TEST 8: disabled is true or false, and null is absent
--- requests
PATCH $key {"disabled":null} -> MISSING_ATTRIBUTE ["desc"]
PATCH $key {"disabled":"true"} -> INVALID_JSON_ATTRIBUTE ["disabled"]
PATCH $key {"disabled":1} -> INVALID_JSON_ATTRIBUTE ["disabled"]
PATCH $key {"disabled":[]} -> INVALID_JSON_ATTRIBUTE ["disabled"]
PATCH $key {"disabled":{}} -> INVALID_JSON_ATTRIBUTE ["disabled"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"disabled":0} -> INVALID_JSON_ATTRIBUTE ["disabled"]
--- unchanged: $states

=== TEST 9: a key neither enables itself nor sets its own end, and the other bases do neither
--- requests
one: PATCH $key {"expiresAt":"$soon"} -> USER_UNAUTHORIZED
one: PATCH $om/orgs/$org_id/apiKeys/$one_id {"expiresAt":"$soon"} -> INVALID_ATTRIBUTE ["expiresAt"]
owner: PATCH $at {"disabled":true} -> INVALID_ATTRIBUTE ["disabled"]
owner: PATCH $v2/orgs/$org_id/apiKeys/$one_id {"expiresAt":null} -> INVALID_ATTRIBUTE ["expiresAt"]
--- unchanged: $states

=== TEST 10: the other bases neither show nor change what this one has set
--- sql
UPDATE apikeys.keys SET disabled = true, expires = '2100-01-02T03:04:05Z' WHERE id = '$one_id'
--- requests
PATCH $at {"desc":"of atlas","roles":["ORG_READ_ONLY"]}
--- json
{"desc":"of atlas","id":"$one_id",
 "links":[{"href":"http://localhost$at","rel":"self"}],
 "privateKey":"$one_redacted","publicKey":"$one_public",
 "roles":[{"orgId":"$org_id","roleName":"ORG_READ_ONLY"}]}
--- query
SELECT disabled, expires = '2100-01-02T03:04:05Z' FROM apikeys.keys WHERE id = '$one_id'
--- rows
1|1

=== TEST 11: the last owner that neither is disabled nor has an end stays so, but for the operator
--- requests
owner: PATCH $keys/$second_id {"expiresAt":"$soon"} -> 200
owner: PATCH $keys/$owner_id {"disabled":true} -> CANNOT_DEMOTE_LAST_ORG_OWNER
owner: PATCH $keys/$owner_id {"expiresAt":"$soon"} -> CANNOT_DEMOTE_LAST_ORG_OWNER
second: PATCH $keys/$owner_id {"roles":["ORG_MEMBER"]} -> CANNOT_DEMOTE_LAST_ORG_OWNER
second: DELETE $keys/$owner_id -> CANNOT_DELETE_LAST_OWNER
second: DELETE $atlas/orgs/$org_id/apiKeys/$owner_id -> CANNOT_DELETE_LAST_OWNER
operator: PATCH $keys/$owner_id {"disabled":true} -> 200
owner: GET $base -> 401
operator: PATCH $keys/$owner_id {"disabled":false} -> 200

=== TEST 12: events tell of it, on each base
--- on: atlas native
--- requests
owner: GET $base/orgs/$org_id/events?eventType=API_KEY_DISABLED&itemsPerPage=1 -> 200 ... "targetPublicKey":"$owner_public"
