# What the audit keeps: one row for each change, made in its transaction, with
# who, from where, what, before and after; nothing of what failed or changed
# nothing; and no secret of anybody's.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

# the rows that a block added, with the stars of a redacted secret, and whether
# their time is that of the change
my $rows = q{SELECT event, caller, address, org_id, project_id, key_id,
    regexp_replace(before::text, '("redacted": ")(.{12}")', '\1********-****-****-\2'),
    regexp_replace(after::text, '("redacted": ")(.{12}")', '\1********-****-****-\2'),
    now() - at < '1 minute' FROM apikeys.audit WHERE id > $last_audit ORDER BY };

names(
    rows => $rows . 'id', org => '$base/orgs/$o_id', keys => '$org/apiKeys',
    sorted => $rows =~ s/SELECT/SELECT rank() OVER (ORDER BY id)
        = rank() OVER (ORDER BY event = 'GROUP_DELETED', key_id),/r
        . "event = 'GROUP_DELETED', before ->> 'roles'",
    key => '$keys/$k_id', project => '$base/groups/$p_id', in => '$project/apiKeys',
    by => '$o_key|127.0.0.3|$o_id', operator => 'operator|127.0.0.1|$o_id',
    off => '{"apiAccessListRequired": false}',
    required => '{"apiAccessListRequired": true}',
    reader => '{"roles": ["GROUP_READ_ONLY"]}', admin => '{"roles": ["GROUP_OWNER"]}',
    skip => '"skipDefaultAlertsSettings"', x251 => 'x' x 251,
    none => '000000000000000000000000',
    tags => '[{"key": "k", "value": "v"}]', 'om/tags' => '["TAG"]',
    stored => 'tags', 'om/stored' => 'tokens', deleted => 202, 'om/deleted' => 200,
    again => 204, 'v2/again' => 'API_KEY_NOT_FOUND ["$k_id"]',
    secrets => join(', ', map { "('\$${_}_public', '\$${_}_private')" } qw( o k m )),
);

# all clients but the first come from 127.0.0.3
defaults(on => 'atlas v2 om', as => 'o', query => '$rows',
    more_headers => 'X-Address: 127.0.0.3');
locations('', '', 'set_real_ip_from 127.0.0.1; real_ip_header X-Address;');
run_tests();

__DATA__

=== TEST 1: the creation of an organization with its first key adds a row for each
--- as: operator
--- more_headers
--- requests
POST $base/orgs {"name":"audited","apiKey":{"desc":"owner","roles":["ORG_OWNER"]}} -> 201
--- keep: o
--- rows
ORG_CREATED|$operator||||{"name": "audited"}|1
API_KEY_CREATED|$operator||$o_key||{"desc": "owner", "roles": ["ORG_OWNER"], "redacted": "$o_redacted", "publicKey": "$o_public"}|1

=== TEST 2: the creation of a key adds a row without its secret
--- requests
POST $keys {"desc":"one","roles":["ORG_MEMBER"]} -> 200
--- keep: k
--- rows
API_KEY_CREATED|$by||$k_id||{"desc": "one", "roles": ["ORG_MEMBER"], "redacted": "$k_redacted", "publicKey": "$k_public"}|1

=== TEST 3: a new description of a key adds a row with both of them
--- requests
PATCH $key {"desc":"two"} -> 200
--- rows
API_KEY_DESCRIPTION_CHANGED|$by||$k_id|{"desc": "one"}|{"desc": "two"}|1

=== TEST 4: new roles of a key add a row with all roles, sorted
--- requests
PATCH $key {"roles":["ORG_READ_ONLY","ORG_MEMBER"]} -> 200
--- rows
API_KEY_ROLES_CHANGED|$by||$k_id|{"roles": ["ORG_MEMBER"]}|{"roles": ["ORG_MEMBER", "ORG_READ_ONLY"]}|1

=== TEST 5: new entries of an access list add a row with the entries in their order
--- requests
POST $key/accessList [{"ipAddress":"192.0.2.7"},{"cidrBlock":"10.1.0.0/8"}] -> 200
--- rows
API_KEY_ACCESS_LIST_ENTRY_ADDED|$by||$k_id||{"entries": ["192.0.2.7/32", "10.0.0.0/8"]}|1

=== TEST 6: the removal of an entry adds a row with its block
--- requests
DELETE $key/accessList/10.0.0.0%2F8 -> 204
--- rows
API_KEY_ACCESS_LIST_ENTRY_DELETED|$by||$k_id|{"entries": ["10.0.0.0/8"]}||1

=== TEST 7: the creation of a project adds a row, and one for the key that owns it
--- requests
POST $base/groups {"name":"p","orgId":"$o_id"} -> 201
--- keep: p
--- rows
GROUP_CREATED|$by|$p_id|||{"name": "p"}|1
API_KEY_ADDED_TO_GROUP|$by|$p_id|$o_key||$admin|1

=== TEST 8: the assignment of a key to a project adds a row
--- requests
POST $in/$k_id [{"roles":["GROUP_READ_ONLY"]}] -> 204
--- rows
API_KEY_ADDED_TO_GROUP|$by|$p_id|$k_id||$reader|1

=== TEST 9: new roles of a key in a project add a row with both
--- requests
PATCH $in/$k_id {"roles":["GROUP_OWNER"]} -> 200
--- rows
API_KEY_ROLES_CHANGED|$by|$p_id|$k_id|$reader|$admin|1

=== TEST 10: the removal of a key from a project adds a row, once
--- requests
DELETE $in/$k_id -> 204
DELETE $in/$k_id -> $again
--- rows
API_KEY_REMOVED_FROM_GROUP|$by|$p_id|$k_id|$admin||1

=== TEST 11: the assignment of a key by PATCH adds a row
--- requests
PATCH $in/$k_id {"roles":["GROUP_READ_ONLY"]} -> 200
--- rows
API_KEY_ADDED_TO_GROUP|$by|$p_id|$k_id||$reader|1

=== TEST 12: the creation of a key through a project adds a row for the key and one for its role
--- requests
POST $in {"desc":"m","roles":["GROUP_READ_ONLY"]} -> 200
--- keep: m
--- rows
API_KEY_CREATED|$by||$m_id||{"desc": "m", "roles": ["ORG_MEMBER"], "redacted": "$m_redacted", "publicKey": "$m_public"}|1
API_KEY_ADDED_TO_GROUP|$by|$p_id|$m_id||$reader|1

=== TEST 13: the requirement of access lists adds a row, and the refusal that follows from it none
--- requests
PATCH $org/settings {"apiAccessListRequired":true} -> 200
PATCH $org/settings {"apiAccessListRequired":false} -> ORG_REQUIRES_ACCESS_LIST ["127.0.0.3"]
--- rows
ORG_PUBLIC_API_ACCESS_LIST_REQUIRED|$by|||$off|$required|1

=== TEST 14: the end of the requirement of access lists adds a row of the operator, once
--- as: operator
--- more_headers
--- requests
PATCH $org/settings {"apiAccessListRequired":false}
PATCH $org/settings {"apiAccessListRequired":false}
--- answers: 200
--- rows
ORG_PUBLIC_API_ACCESS_LIST_NOT_REQUIRED|$operator|||$required|$off|1

=== TEST 15: a change that changes nothing leaves no row
--- requests
PATCH $key {"desc":"two","roles":["ORG_MEMBER","ORG_READ_ONLY"]} -> 200
PATCH $in/$k_id {"roles":["GROUP_READ_ONLY"]} -> 200
--- rows

=== TEST 16: a change of a list or of an assignment that fails leaves no row
--- requests
POST $key/accessList [{"ipAddress":"192.0.2.8"},{"ipAddress":"192.0.2.7"}]
    -> ADDRESS_ALREADY_IN_ACCESS_LIST ["192.0.2.7"]
POST $key/accessList [{"ipAddress":"192.0.2.9"},{"cidrBlock":"0.0.0.0/0"}] -> 400
DELETE $key/accessList/10.0.0.0%2F8 -> API_KEY_ACCESS_LIST_NOT_FOUND ["10.0.0.0/8","$k_id"]
POST $in/$k_id [{"roles":["GROUP_OWNER"]}] -> API_KEY_ALREADY_IN_GROUP
DELETE $org -> ORG_NOT_EMPTY
--- rows

=== TEST 17: a call that is malformed leaves no row
--- requests
POST $keys {"desc":"","roles":[]} -> API_KEY_REQUIRES_DESCRIPTION
POST $keys {"desc":"$x251","roles":["ORG_MEMBER"]} -> INVALID_API_KEY_DESC [250]
POST $keys {"desc":"x","roles":["ORG_KING"]} -> INVALID_ENUM_VALUE ["ORG_KING"]
DELETE $keys/$none -> API_KEY_NOT_FOUND ["$none"]
--- rows

=== TEST 18: a call that a key may not make leaves no row
--- requests
m: POST $keys {"desc":"x","roles":["ORG_MEMBER"]} -> USER_UNAUTHORIZED
o: POST $base/orgs {"name":"x"} -> API_KEY_CANNOT_CREATE_ORG
m: POST $base/groups {"name":"x","orgId":"$o_id"} -> USER_UNAUTHORIZED
m: PATCH $key {"desc":"x"} -> USER_UNAUTHORIZED
m: DELETE $key -> USER_UNAUTHORIZED
m: PATCH $org/settings {"apiAccessListRequired":true} -> USER_UNAUTHORIZED
o: DELETE $keys/$o_key -> CANNOT_DELETE_LAST_OWNER
o: PATCH $keys/$o_key {"roles":["ORG_MEMBER"]} -> CANNOT_DEMOTE_LAST_ORG_OWNER
--- rows

=== TEST 19: the deletion of a key adds a row for each of its projects, and one with all that it was
--- requests
DELETE $key -> 204
--- rows
API_KEY_REMOVED_FROM_GROUP|$by|$p_id|$k_id|$reader||1
API_KEY_DELETED|$by||$k_id|{"desc": "two", "roles": ["ORG_MEMBER", "ORG_READ_ONLY"], "entries": ["192.0.2.7/32"], "projects": {"$p_id": ["GROUP_READ_ONLY"]}, "redacted": "$k_redacted", "publicKey": "$k_public"}||1

=== TEST 20: a new name of an organization adds a row with both names
--- requests
PATCH $org {"name":"renamed"} -> 200
--- rows
ORG_RENAMED|$by|||{"name": "audited"}|{"name": "renamed"}|1

=== TEST 21: a new attribute of an organization adds a row, once
--- requests
PATCH $org {"name":"renamed",$skip:true}
PATCH $org {"name":"renamed",$skip:true}
--- answers: 200
--- rows
ORG_ATTRIBUTES_CHANGED|$by|||{$skip: null}|{$skip: true}|1

=== TEST 22: a new name of a project adds a row with both names
--- requests
PATCH $project {"name":"q"} -> 200
--- rows
GROUP_NAME_CHANGED|$by|$p_id||{"name": "p"}|{"name": "q"}|1

=== TEST 23: new tags of a project add a row, once
--- requests
PATCH $project {"tags":$tags}
PATCH $project {"tags":$tags}
--- answers: 200
--- rows
GROUP_ATTRIBUTES_CHANGED|$by|$p_id||{"$stored": null}|{"$stored": $tags}|1

=== TEST 24: the deletion of a project adds a row for each of its keys, sorted, before its own
--- requests
DELETE $project -> $deleted
--- query: $sorted
--- rows
1|API_KEY_REMOVED_FROM_GROUP|$by|$p_id|$o_key|$admin||1
1|API_KEY_REMOVED_FROM_GROUP|$by|$p_id|$m_id|$reader||1
1|GROUP_DELETED|$by|$p_id||{"name": "q"}||1

=== TEST 25: the audit has no secret, no part or digest of one, as text or as it is stored
--- requests
GET $org -> 200
--- query
WITH k AS (SELECT * FROM (VALUES $secrets) k (public, private)),
     s AS (SELECT private AS secret FROM k UNION SELECT left(private, 18) FROM k
        UNION SELECT md5(public || ':MMS Public API:' || private) FROM k
        UNION SELECT encode(sha256(convert_to(public || ':MMS Public API:' || private,
            'UTF8')), 'hex') FROM k
        UNION SELECT encode(secret, 'hex') FROM apikeys.keys UNION SELECT '$operator_token')
SELECT count(*) > 15 AS searched, (SELECT length(string_agg(a::text, '')) > 3000
        FROM apikeys.audit a), (SELECT count(*) FROM apikeys.audit a, s
        WHERE position(lower(s.secret) IN lower(a::text)) > 0) AS found FROM s
--- rows: 1|1|0

=== TEST 26: the deletion of an organization adds a row that names its keys
--- requests
DELETE $org -> 204
--- query
SELECT event, caller, address, org_id, project_id, key_id, after, before = jsonb_build_object(
    'name', 'renamed', 'keys', (SELECT jsonb_agg(k ORDER BY k COLLATE "C")
        FROM unnest(ARRAY['$o_public', '$m_public']) k)) FROM apikeys.audit WHERE id > $last_audit
--- rows
ORG_DELETED|$by||||1
