# Keys of an organization: the five operations on each of the three bases,
# and every error that a request for them can get.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

names(
    keys => '$base/orgs/$org_id/apiKeys', key => '$keys/$one_id',
    (map { ($_ => "\$base/orgs/\$${_}_id/apiKeys") } qw( away last sorted large )),
    nobody => '0123456789abcdef01234567',
    x250 => 'x' x 250, keys250 => "\xf0\x9f\x94\x91" x 250,
    x251 => 'x' x 251, e251 => "\xc3\xa9" x 251,
    x23 => '0' x 23, x25 => '0' x 25, DEL => "\x7f",
    AA => 'A' x 24, gg => 'g' x 24,
    states => 'SELECT s::text FROM apikeys.key_states s ORDER BY id',
);
run_tests();

__DATA__

=== TEST 1: POST answers with the whole key, whose secret is a random UUID
--- keys
owner: ORG_OWNER
one: ORG_MEMBER
other: ORG_OWNER org=away
leaver: ORG_OWNER
--- on: atlas v2 om
--- as: owner
--- requests
POST $keys {"desc":"made","roles":["ORG_READ_ONLY"]}
--- keep: new
--- json
{"desc":"made","id":"~[0-9a-f]{24}",
 "links":[{"href":"http://localhost$keys/$new_id","rel":"self"}],
 "privateKey":"~[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
 "publicKey":"~[a-z]{8}",
 "roles":[{"orgId":"$org_id","roleName":"ORG_READ_ONLY"}]}
--- response_headers
!Location

=== TEST 2: a new key authenticates the next request
--- on: atlas v2 om
--- as: new
--- requests
GET $base/
--- answers: 200
--- contains: "publicKey":"$new_public"

=== TEST 3: GET shows a key without its secret
--- on: atlas v2 om
--- as: owner
--- requests
GET $keys/$new_id
--- json
{"desc":"made","id":"$new_id",
 "links":[{"href":"http://localhost$keys/$new_id","rel":"self"}],
 "privateKey":"$new_redacted","publicKey":"$new_public",
 "roles":[{"orgId":"$org_id","roleName":"ORG_READ_ONLY"}]}
--- query
SELECT abs(extract(epoch FROM now())
           - ('x' || left('$new_id', 8))::bit(32)::bigint) < 10
           AS the_id_begins_with_the_seconds_of_its_creation
--- rows
1

=== TEST 4: PATCH of the description leaves the roles
--- on: atlas v2 om
--- as: owner
--- requests
PATCH $keys/$new_id {"desc":"changed"}
--- json
{"desc":"changed","id":"$new_id",
 "links":[{"href":"http://localhost$keys/$new_id","rel":"self"}],
 "privateKey":"$new_redacted","publicKey":"$new_public",
 "roles":[{"orgId":"$org_id","roleName":"ORG_READ_ONLY"}]}

=== TEST 5: PATCH of the roles replaces them all, each once and sorted by name
--- on: atlas v2 om
--- as: owner
--- requests
PATCH $keys/$new_id {"roles":["ORG_MEMBER","ORG_GROUP_CREATOR","ORG_MEMBER"]}
GET $keys/$new_id
--- json
{"desc":"changed","id":"$new_id",
 "links":[{"href":"http://localhost$keys/$new_id","rel":"self"}],
 "privateKey":"$new_redacted","publicKey":"$new_public",
 "roles":[{"orgId":"$org_id","roleName":"ORG_GROUP_CREATOR"},
          {"orgId":"$org_id","roleName":"ORG_MEMBER"}]}

=== TEST 6: PATCH changes the description and the roles together
--- on: atlas v2 om
--- as: owner
--- requests
PATCH $keys/$new_id {"desc":"again","roles":["ORG_READ_ONLY"]}
--- json
{"desc":"again","id":"$new_id",
 "links":[{"href":"http://localhost$keys/$new_id","rel":"self"}],
 "privateKey":"$new_redacted","publicKey":"$new_public",
 "roles":[{"orgId":"$org_id","roleName":"ORG_READ_ONLY"}]}

=== TEST 7: DELETE answers without content, and the key is unknown from then on
--- on: atlas v2 om
--- requests
owner: DELETE $keys/$new_id -> 204
new: GET $base/ -> 401
owner: GET $keys/$new_id -> API_KEY_NOT_FOUND ["$new_id"]
owner: PATCH $keys/$new_id {"desc":"x"} -> API_KEY_NOT_FOUND ["$new_id"]
owner: DELETE $keys/$new_id -> API_KEY_NOT_FOUND ["$new_id"]

=== TEST 8: a description has up to 250 ASCII letters
--- as: owner
--- requests
PATCH $key {"desc":"$x250"}
GET $key
POST $keys {"desc":"$x250","roles":["ORG_MEMBER"]}
--- answers: 200
--- contains: {"desc":"$x250","id":

=== TEST 9: a description has up to 250 code points of four bytes each
--- as: owner
--- requests
PATCH $key {"desc":"$keys250"}
GET $key
POST $keys {"desc":"$keys250","roles":["ORG_MEMBER"]}
--- answers: 200
--- contains: {"desc":"$keys250","id":

=== TEST 10: a description keeps the blanks around it
--- as: owner
--- requests
PATCH $key {"desc":"  a desc  "}
GET $key
POST $keys {"desc":"  a desc  ","roles":["ORG_MEMBER"]}
--- answers: 200
--- contains: {"desc":"  a desc  ","id":

=== TEST 11: a description keeps characters that JSON escapes
--- as: owner
--- requests
PATCH $key {"desc":"a\"b\\c\/d\n\t\u0001\u007f"}
GET $key
POST $keys {"desc":"a\"b\\c\/d\n\t\u0001\u007f","roles":["ORG_MEMBER"]}
--- answers: 200
--- contains: {"desc":"a\"b\\c/d\n\t\u0001$DEL","id":

=== TEST 12: a description keeps characters that are not ASCII
--- as: owner
--- requests
PATCH $key {"desc":"clé — 鍵 — ключ"}
GET $key
POST $keys {"desc":"clé — 鍵 — ключ","roles":["ORG_MEMBER"]}
--- answers: 200
--- contains: {"desc":"clé — 鍵 — ключ","id":

=== TEST 13: two keys of an organization may have the same description
--- as: owner
--- requests
PATCH $key {"desc":"owner"}
GET $key
POST $keys {"desc":"owner","roles":["ORG_MEMBER"]}
--- answers: 200
--- contains: {"desc":"owner","id":

=== TEST 14: a key can have all roles of an organization that v2 has
--- on: v2
--- as: owner
--- requests
PATCH $key {"roles":["ORG_STREAM_PROCESSING_ADMIN","ORG_READ_ONLY","ORG_OWNER",
    "ORG_MEMBER","ORG_GROUP_CREATOR","ORG_BILLING_READ_ONLY",
    "ORG_BILLING_ADMIN"]}
--- json
{"desc":"owner","id":"$one_id",
 "links":[{"href":"http://localhost$key","rel":"self"}],
 "privateKey":"$one_redacted","publicKey":"$one_public",
 "roles":[{"orgId":"$org_id","roleName":"ORG_BILLING_ADMIN"},
          {"orgId":"$org_id","roleName":"ORG_BILLING_READ_ONLY"},
          {"orgId":"$org_id","roleName":"ORG_GROUP_CREATOR"},
          {"orgId":"$org_id","roleName":"ORG_MEMBER"},
          {"orgId":"$org_id","roleName":"ORG_OWNER"},
          {"orgId":"$org_id","roleName":"ORG_READ_ONLY"},
          {"orgId":"$org_id","roleName":"ORG_STREAM_PROCESSING_ADMIN"}]}

=== TEST 15: a description is required and not empty
--- on: atlas v2 om
--- as: owner
--- requests
POST $keys {}
POST $keys {"roles":["ORG_MEMBER"]}
POST $keys {"desc":null,"roles":["ORG_MEMBER"]}
POST $keys {"desc":"","roles":["ORG_MEMBER"]}
PATCH $key {"desc":""}
PATCH $key {"desc":null}
PATCH $key {"desc":null,"roles":["ORG_MEMBER"]}
--- answers: 400 API_KEY_REQUIRES_DESCRIPTION
--- unchanged: $states

=== TEST 16: a role is required
--- on: atlas v2 om
--- as: owner
--- requests
POST $keys {"desc":"x"}
POST $keys {"desc":"x","roles":null}
POST $keys {"desc":"x","roles":[]}
PATCH $key {"roles":[]}
PATCH $key {"desc":"x","roles":[]}
--- answers: 400 MISSING_API_KEY_ROLES
--- unchanged: $states

=== TEST 17: PATCH requires a description or roles
--- as: owner
--- requests
PATCH $key {}
PATCH $key {"roles":null}
--- answers: 400 MISSING_ONE_OF_ATTRIBUTES ["desc","roles"]
--- unchanged: $states

=== TEST 18: a description of 251 code points is refused
--- as: owner
--- requests
POST $keys {"desc":"$x251","roles":["ORG_MEMBER"]}
POST $keys {"desc":"$e251","roles":["ORG_MEMBER"]}
PATCH $key {"desc":"$x251"}
PATCH $key {"desc":"$e251"}
--- answers: 400 INVALID_API_KEY_DESC [250]
--- unchanged: $states

=== TEST 19: a role that does not exist is refused and named
--- as: owner
--- requests
POST $keys {"desc":"x","roles":["ORG_NOSUCH"]} -> 400 INVALID_ENUM_VALUE ["ORG_NOSUCH"]
PATCH $key {"desc":"x","roles":["ORG_NOSUCH"]} -> 400 INVALID_ENUM_VALUE ["ORG_NOSUCH"]
POST $keys {"desc":"x","roles":["org_owner"]} -> 400 INVALID_ENUM_VALUE ["org_owner"]
PATCH $key {"desc":"x","roles":["org_owner"]} -> 400 INVALID_ENUM_VALUE ["org_owner"]
POST $keys {"desc":"x","roles":[""]} -> 400 INVALID_ENUM_VALUE [""]
PATCH $key {"desc":"x","roles":[""]} -> 400 INVALID_ENUM_VALUE [""]
POST $keys {"desc":"x","roles":[null]} -> 400 INVALID_ENUM_VALUE ["null"]
PATCH $key {"desc":"x","roles":[null]} -> 400 INVALID_ENUM_VALUE ["null"]
POST $keys {"desc":"x","roles":["ORG_MEMBER",null]} -> 400 INVALID_ENUM_VALUE ["null"]
PATCH $key {"desc":"x","roles":["ORG_MEMBER",null]} -> 400 INVALID_ENUM_VALUE ["null"]
--- unchanged: $states

=== TEST 20: a key of an organization gets no role of a project
--- as: owner
--- requests
POST $keys {"desc":"x","roles":["ORG_MEMBER","GROUP_OWNER"]}
PATCH $key {"desc":"x","roles":["ORG_MEMBER","GROUP_OWNER"]}
--- answers: 400 CANNOT_ADD_GROUP_ROLE
--- unchanged: $states

=== TEST 21: v1.0 refuses roles that exist elsewhere
--- as: owner
--- requests
POST $keys {"desc":"x","roles":["GLOBAL_OWNER"]}
PATCH $key {"desc":"x","roles":["GLOBAL_OWNER"]}
POST $keys {"desc":"x","roles":["ORG_TEAM_MEMBERS_ADMIN"]}
PATCH $key {"desc":"x","roles":["ORG_TEAM_MEMBERS_ADMIN"]}
POST $keys {"desc":"x","roles":["GROUP_ATLAS_ADMIN"]}
PATCH $key {"desc":"x","roles":["GROUP_ATLAS_ADMIN"]}
POST $keys {"desc":"x","roles":["ORG_BILLING_READ_ONLY"]}
PATCH $key {"desc":"x","roles":["ORG_BILLING_READ_ONLY"]}
POST $keys {"desc":"x","roles":["ORG_STREAM_PROCESSING_ADMIN"]}
PATCH $key {"desc":"x","roles":["ORG_STREAM_PROCESSING_ADMIN"]}
--- answers: 400 UNSUPPORTED_ROLE
--- unchanged: $states

=== TEST 22: v2 and Ops Manager refuse roles that exist elsewhere
--- as: owner
--- requests
POST $om/orgs/$org_id/apiKeys {"desc":"x","roles":["ORG_STREAM_PROCESSING_ADMIN"]}
    -> 400 UNSUPPORTED_ROLE
POST $om/orgs/$org_id/apiKeys {"desc":"x","roles":["ORG_TEAM_MEMBERS_ADMIN"]}
    -> 400 UNSUPPORTED_ROLE
POST $om/orgs/$org_id/apiKeys {"desc":"x","roles":["ORG_MEMBER","GLOBAL_OWNER"]}
    -> 403 CANNOT_ADD_GLOBAL_ROLE
POST $v2/orgs/$org_id/apiKeys {"desc":"x","roles":["ORG_TEAM_MEMBERS_ADMIN"]}
    -> 400 UNSUPPORTED_ROLE
POST $v2/orgs/$org_id/apiKeys {"desc":"x","roles":["GROUP_AUTOMATION_ADMIN"]}
    -> 400 UNSUPPORTED_ROLE
--- unchanged: $states

=== TEST 23: a description that is no string is refused
--- as: owner
--- requests
POST $keys {"desc":1,"roles":["ORG_MEMBER"]}
POST $keys {"desc":["x"],"roles":["ORG_MEMBER"]}
PATCH $key {"desc":1}
PATCH $key {"desc":["x"]}
--- answers: 400 INVALID_JSON_ATTRIBUTE ["desc"]
--- unchanged: $states

=== TEST 24: roles that are no array of strings are refused
--- as: owner
--- requests
POST $keys {"desc":"x","roles":"ORG_MEMBER"}
POST $keys {"desc":"x","roles":[1]}
POST $keys {"desc":"x","roles":[{"roleName":"ORG_MEMBER"}]}
PATCH $key {"desc":"x","roles":"ORG_MEMBER"}
PATCH $key {"desc":"x","roles":[1]}
PATCH $key {"desc":"x","roles":[{"roleName":"ORG_MEMBER"}]}
--- answers: 400 INVALID_JSON_ATTRIBUTE ["roles"]
--- unchanged: $states

=== TEST 25: an attribute that a key does not have is refused and named
--- as: owner
--- requests
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"nosuch":1} -> 400 INVALID_ATTRIBUTE ["nosuch"]
PATCH $key {"desc":"x","nosuch":1} -> 400 INVALID_ATTRIBUTE ["nosuch"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"Desc":"x"} -> 400 INVALID_ATTRIBUTE ["Desc"]
PATCH $key {"desc":"x","Desc":"x"} -> 400 INVALID_ATTRIBUTE ["Desc"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"":"x"} -> 400 INVALID_ATTRIBUTE [""]
PATCH $key {"desc":"x","":"x"} -> 400 INVALID_ATTRIBUTE [""]
--- unchanged: $states

=== TEST 26: an attribute that only the server sets is refused and named
--- as: owner
--- requests
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"id":"x"} -> 400 ATTRIBUTE_READ_ONLY ["id"]
PATCH $key {"desc":"x","id":"x"} -> 400 ATTRIBUTE_READ_ONLY ["id"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"publicKey":"x"}
    -> 400 ATTRIBUTE_READ_ONLY ["publicKey"]
PATCH $key {"desc":"x","publicKey":"x"} -> 400 ATTRIBUTE_READ_ONLY ["publicKey"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"privateKey":"x"}
    -> 400 ATTRIBUTE_READ_ONLY ["privateKey"]
PATCH $key {"desc":"x","privateKey":"x"} -> 400 ATTRIBUTE_READ_ONLY ["privateKey"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"links":"x"} -> 400 ATTRIBUTE_READ_ONLY ["links"]
PATCH $key {"desc":"x","links":"x"} -> 400 ATTRIBUTE_READ_ONLY ["links"]
--- unchanged: $states

=== TEST 27: a body that is no JSON object is refused
--- as: owner
--- requests
POST $keys []
POST $keys "x"
POST $keys null
POST $keys 12
POST $keys true
PATCH $key []
PATCH $key "x"
PATCH $key null
PATCH $key 12
PATCH $key true
--- answers: 400 INVALID_JSON
--- unchanged: $states

=== TEST 28: a body that is not JSON is refused
--- as: owner
--- requests
POST $keys {
POST $keys {"desc":"x","desc":"y","roles":["ORG_MEMBER"]}
PATCH $key {
PATCH $key {"desc":"x","desc":"y","roles":["ORG_MEMBER"]}
--- answers: 400 MALFORMED_JSON
--- unchanged: $states

=== TEST 29: an empty body is refused
--- as: owner
--- requests
POST $keys
PATCH $key
--- more_headers
Content-Length: 0
--- answers: 400 MALFORMED_JSON
--- unchanged: $states

=== TEST 30: an id that is not 24 hexadecimal digits is refused
--- on: atlas v2 om
--- as: owner
--- requests
GET $keys/x
PATCH $keys/x {"desc":"x"}
DELETE $keys/x
GET $keys/$x23
PATCH $keys/$x23 {"desc":"x"}
DELETE $keys/$x23
GET $keys/$x25
PATCH $keys/$x25 {"desc":"x"}
DELETE $keys/$x25
GET $keys/$AA
PATCH $keys/$AA {"desc":"x"}
DELETE $keys/$AA
GET $keys/$gg
PATCH $keys/$gg {"desc":"x"}
DELETE $keys/$gg
GET $keys/$owner_public
PATCH $keys/$owner_public {"desc":"x"}
DELETE $keys/$owner_public
GET $base/orgs/x/apiKeys/$nobody
PATCH $base/orgs/x/apiKeys/$nobody {"desc":"x"}
DELETE $base/orgs/x/apiKeys/$nobody
GET $base/orgs/$x23/apiKeys/$nobody
PATCH $base/orgs/$x23/apiKeys/$nobody {"desc":"x"}
DELETE $base/orgs/$x23/apiKeys/$nobody
GET $base/orgs/$x25/apiKeys/$nobody
PATCH $base/orgs/$x25/apiKeys/$nobody {"desc":"x"}
DELETE $base/orgs/$x25/apiKeys/$nobody
GET $base/orgs/$AA/apiKeys/$nobody
PATCH $base/orgs/$AA/apiKeys/$nobody {"desc":"x"}
DELETE $base/orgs/$AA/apiKeys/$nobody
GET $base/orgs/$gg/apiKeys/$nobody
PATCH $base/orgs/$gg/apiKeys/$nobody {"desc":"x"}
DELETE $base/orgs/$gg/apiKeys/$nobody
GET $base/orgs/$owner_public/apiKeys/$nobody
PATCH $base/orgs/$owner_public/apiKeys/$nobody {"desc":"x"}
DELETE $base/orgs/$owner_public/apiKeys/$nobody
--- answers: 400 PATH_PARAM_PARSE_ERROR ["$uri"]
--- unchanged: $states

=== TEST 31: a key of no or of another organization is not found
--- on: atlas v2 om
--- as: owner
--- requests
GET $keys/$nobody -> API_KEY_NOT_FOUND ["$nobody"]
PATCH $keys/$nobody {"desc":"x"} -> API_KEY_NOT_FOUND ["$nobody"]
DELETE $keys/$nobody -> API_KEY_NOT_FOUND ["$nobody"]
GET $keys/$other_id -> API_KEY_NOT_FOUND ["$other_id"]
PATCH $keys/$other_id {"desc":"x"} -> API_KEY_NOT_FOUND ["$other_id"]
DELETE $keys/$other_id -> API_KEY_NOT_FOUND ["$other_id"]
--- unchanged: $states

=== TEST 32: another organization is answered as one that does not exist
--- on: atlas v2 om
--- as: owner
--- requests
GET $base/orgs/$nobody/apiKeys/$one_id -> 404 ORG_NOT_FOUND ["$nobody"]
PATCH $base/orgs/$nobody/apiKeys/$one_id {"desc":"x"} -> 404 ORG_NOT_FOUND ["$nobody"]
DELETE $base/orgs/$nobody/apiKeys/$one_id -> 404 ORG_NOT_FOUND ["$nobody"]
GET $away/$one_id -> 404 ORG_NOT_FOUND ["$away_id"]
PATCH $away/$one_id {"desc":"x"} -> 404 ORG_NOT_FOUND ["$away_id"]
DELETE $away/$one_id -> 404 ORG_NOT_FOUND ["$away_id"]
--- unchanged: $states

=== TEST 33: the last owner can be neither demoted nor deleted, one of two owners can
--- keys
first: ORG_OWNER org=last
second: ORG_OWNER ORG_MEMBER org=last
--- on: atlas v2 om
--- requests
first: PATCH $last/$first_id {"roles":["ORG_MEMBER"]} -> 200
second: PATCH $last/$second_id {"roles":["ORG_READ_ONLY","ORG_MEMBER"]}
    -> 403 CANNOT_DEMOTE_LAST_ORG_OWNER
second: PATCH $last/$second_id {"desc":"x","roles":["ORG_OWNER"]} -> 200
second: DELETE $last/$second_id -> 403 CANNOT_DELETE_LAST_OWNER
second: PATCH $last/$first_id {"roles":["ORG_OWNER"]} -> 200

=== TEST 34: the operator can demote and delete the last owner
--- as: operator
--- requests
DELETE $last/$first_id -> 204
PATCH $last/$second_id {"roles":["ORG_MEMBER"]} -> 200
PATCH $last/$second_id {"roles":["ORG_OWNER"]} -> 200
DELETE $last/$second_id -> 204

=== TEST 35: an organization without a key has an empty list of keys
--- as: operator
--- requests
GET $last
--- json
{"links":[{"href":"http://localhost$uri?pageNum=1&itemsPerPage=100","rel":"self"}],
 "results":[],"totalCount":0}

=== TEST 36: an owner can delete the key that it uses
--- as: leaver
--- requests
DELETE $keys/$leaver_id -> 204
GET $keys -> 401

=== TEST 37: PATCH changes keys that the API and that SQL have made
--- keys
sorter: ORG_OWNER org=sorted
--- sql
INSERT INTO apikeys.keys (id, org_id, public_key, secret, redacted, descr, roles)
    SELECT lpad(n::text, 24, 'f'), '$sorted_id', name,
           decode(repeat('00', 112), 'hex'), '000000000000', name, '{ORG_MEMBER}'
      FROM (VALUES (1, 'zzzzzzzz'), (2, 'aaaaaaab'), (3, 'zzzzzzzy'),
                   (4, 'aaaaaaaa')) k (n, name)
--- may_log: error
--- as: sorter
--- requests
PATCH $sorted/$sorter_id {"desc":"sorter"}
PATCH $sorted/fffffffffffffffffffffff1 {"desc":"zzzzzzzz"}
--- answers: 200
--- contains
"roleName":"ORG_OWNER"
"roleName":"ORG_MEMBER"

=== TEST 38: a list of keys is sorted by public key and the same on all bases
--- on: atlas v2 om
--- may_log: error
--- as: sorter
--- requests
GET $sorted
--- json
{"links":[{"href":"http://localhost$uri?pageNum=1&itemsPerPage=100","rel":"self"}],
 "results":[
  {"desc":"aaaaaaaa","id":"fffffffffffffffffffffff4",
   "links":[{"href":"http://localhost$uri/fffffffffffffffffffffff4","rel":"self"}],
   "privateKey":"********-****-****-000000000000","publicKey":"aaaaaaaa",
   "roles":[{"orgId":"$sorted_id","roleName":"ORG_MEMBER"}]},
  {"desc":"aaaaaaab","id":"fffffffffffffffffffffff2",
   "links":[{"href":"http://localhost$uri/fffffffffffffffffffffff2","rel":"self"}],
   "privateKey":"********-****-****-000000000000","publicKey":"aaaaaaab",
   "roles":[{"orgId":"$sorted_id","roleName":"ORG_MEMBER"}]},
  {"desc":"sorter","id":"$sorter_id",
   "links":[{"href":"http://localhost$uri/$sorter_id","rel":"self"}],
   "privateKey":"$sorter_redacted","publicKey":"$sorter_public",
   "roles":[{"orgId":"$sorted_id","roleName":"ORG_OWNER"}]},
  {"desc":"zzzzzzzy","id":"fffffffffffffffffffffff3",
   "links":[{"href":"http://localhost$uri/fffffffffffffffffffffff3","rel":"self"}],
   "privateKey":"********-****-****-000000000000","publicKey":"zzzzzzzy",
   "roles":[{"orgId":"$sorted_id","roleName":"ORG_MEMBER"}]},
  {"desc":"zzzzzzzz","id":"fffffffffffffffffffffff1",
   "links":[{"href":"http://localhost$uri/fffffffffffffffffffffff1","rel":"self"}],
   "privateKey":"********-****-****-000000000000","publicKey":"zzzzzzzz",
   "roles":[{"orgId":"$sorted_id","roleName":"ORG_MEMBER"}]}],
 "totalCount":5}

=== TEST 39: an organization has at most 500 keys, of which SQL makes 498 here
--- keys
many: ORG_OWNER org=large
--- sql
INSERT INTO apikeys.keys (id, org_id, public_key, secret, redacted, descr, roles)
    SELECT lpad(to_hex(n), 24, '0'), '$large_id',
           translate('z' || lpad(to_hex(n), 7, '0'), '0123456789', 'ghijklmnop'),
           decode(repeat('00', 112), 'hex'), '000000000000', 'key ' || n,
           '{ORG_MEMBER}'
      FROM generate_series(1, 498) n
--- may_log: error
--- requests
many: POST $large {"desc":"the 500th","roles":["ORG_MEMBER"]} -> 200
many: POST $large {"desc":"the 501st","roles":["ORG_MEMBER"]}
    -> 400 MAX_API_KEYS_PER_ORG_EXCEEDED [500,"$large_id"]
many: POST $v2/orgs/$large_id/apiKeys {"desc":"the 501st","roles":["ORG_MEMBER"]}
    -> 400 MAX_API_KEYS_PER_ORG_EXCEEDED [500,"$large_id"]
many: POST $om/orgs/$large_id/apiKeys {"desc":"the 501st","roles":["ORG_MEMBER"]}
    -> 400 MAX_API_KEYS_PER_ORG_EXCEEDED [500,"$large_id"]
operator: POST $large {"desc":"the 501st","roles":["ORG_MEMBER"]}
    -> 400 MAX_API_KEYS_PER_ORG_EXCEEDED [500,"$large_id"]
--- query
SELECT count(*) FROM apikeys.keys WHERE org_id = '$large_id'
--- rows
500

=== TEST 40: a page holds 500 keys, sorted by public key, and no page follows
--- as: many
--- requests
GET $large?itemsPerPage=500
--- response_body_filters eval
sub {
    my @keys = $_[0] =~ /"publicKey":"(\w+)"/g;
    my ($links, $total) = $_[0] =~ /"links":(.*?),"results":.*("totalCount".*)/;
    return @keys . ("@keys" eq "@{[ sort @keys ]}" ? ' sorted' : " @keys")
        . "\n$links\n$total\n";
}
--- response_body
500 sorted
[{"href":"http://localhost$large?pageNum=1&itemsPerPage=500","rel":"self"}]
"totalCount":500}
