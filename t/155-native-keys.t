# API keys on the native API: of an organization and of a project.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

names(
    org => '$base/orgs/$org_id', keys => '$org/apiKeys', key => '$keys/$one_id',
    project => '$base/projects/$project_id', members => '$project/apiKeys',
    nobody => '0123456789abcdef01234567', x251 => 'x' x 251,
    time => '~20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-9:]{8}Z',
    any_id => '~[0-9a-f]{24}', any_public => '~[a-z]{8}',
    any_private => '~[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}',
    uuid => '01234567-89ab-1cde-8f01-23456789abcd',
    entries200 => CORE::join(',', map { qq({"ipAddress":"192.0.2.$_"}) } 1 .. 200),
    states => 'SELECT s::text FROM apikeys.key_states s ORDER BY id',
);
# each attribute with each value that has a type which it cannot have, by POST
# and, of those that it takes, by PATCH
sub wrong {
    my %wrong = (desc => [ qw( 1 -1.5 true false [] {} ) ],
        roles => [ qw( 1 true "x" {} [1] [true] [{}] [[]] ) ],
        disabled => [ qw( 0 1 "true" [] {} ) ],
        expiresAt => [ qw( 0 4102444800 true [] {} ) ],
        accessList => [ qw( 1 true "x" {} ) ],
        publicKey => [ qw( 1 true [] {} ) ],
        privateKey => [ qw( 1 true [] {} ) ]);
    my @lines;

    for my $name (sort keys %wrong) {
        for my $value (@{ $wrong{$name} }) {
            my %of = (desc => '"x"', roles => '["ORG_MEMBER"]',
                publicKey => '"zzzzzzzy"', privateKey => '"$uuid"',
                $name => $value);
            my $body = CORE::join ',', map { qq("$_":$of{$_}) } sort keys %of;
            push @lines, "POST \$keys {$body} -> INVALID_JSON_ATTRIBUTE [\"$name\"]";
            push @lines, "PATCH \$key {\"$name\":$value} -> "
                . "INVALID_JSON_ATTRIBUTE [\"$name\"]"
                if $name =~ /^(?:desc|roles|disabled|expiresAt)$/;
        }
    }
    return CORE::join "\n", @lines, '';
}

defaults(on => 'native', as => 'owner');
run_tests();

__DATA__

=== TEST 1: POST answers with the whole key, once with its private key and its token, and tells its location
--- keys
owner: ORG_OWNER
one: ORG_MEMBER
member: ORG_READ_ONLY
manager: GROUP_ACCESS_MANAGER
leader: GROUP_OWNER
idle: ORG_MEMBER
om: ORG_MEMBER
other: ORG_OWNER org=away
--- requests
POST $keys {"desc":"made","roles":["ORG_READ_ONLY","ORG_MEMBER"]}
--- keep: new
--- error_code: 201
--- json
{"id":"$any_id","orgId":"$org_id","publicKey":"$any_public",
 "privateKey":"$any_private","token":"${new_public}_$new_private","desc":"made",
 "createdAt":"$time","disabled":false,"expiresAt":null,
 "roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"},
          {"orgId":"$org_id","roleName":"ORG_READ_ONLY"}],
 "links":[{"href":"http://localhost$keys/$new_id","rel":"self"}]}
--- response_headers_like
Location: http://localhost/api/v1/orgs/[0-9a-f]{24}/apiKeys/[0-9a-f]{24}

=== TEST 2: the key is shown without its private key
--- requests
owner: GET $keys/$new_id
new: GET $keys/$new_id
member: GET $keys/$new_id
--- json
{"id":"$new_id","orgId":"$org_id","publicKey":"$new_public","desc":"made",
 "createdAt":"$new_created","disabled":false,"expiresAt":null,
 "roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"},
          {"orgId":"$org_id","roleName":"ORG_READ_ONLY"}],
 "links":[{"href":"http://localhost$keys/$new_id","rel":"self"}]}

=== TEST 3: PATCH changes the description, or the roles
--- requests
PATCH $keys/$new_id {"desc":"later"}
PATCH $keys/$new_id {"roles":["ORG_GROUP_CREATOR"],"desc":null}
--- json eval
[ map { q({"id":"$new_id","orgId":"$org_id","publicKey":"$new_public","desc":"later","createdAt":"$new_created","disabled":false,"expiresAt":null,)
    . qq("roles":[$_],) . q("links":[{"href":"http://localhost$keys/$new_id","rel":"self"}]}) }
    '{"orgId":"$org_id","roleName":"ORG_MEMBER"},{"orgId":"$org_id","roleName":"ORG_READ_ONLY"}',
    '{"orgId":"$org_id","roleName":"ORG_GROUP_CREATOR"}' ]

=== TEST 4: a list of keys has pages, in the order of public keys
--- requests
GET $keys?itemsPerPage=1
--- response_body_like: ^\{"links":\[\{"href":"http://localhost/api/v1/orgs/[0-9a-f]{24}/apiKeys\?pageNum=1&itemsPerPage=1","rel":"self"\},\{"href":"http://localhost/api/v1/orgs/[0-9a-f]{24}/apiKeys\?itemsPerPage=1&pageNum=2","rel":"next"\}\],"results":\[\{"id":"[0-9a-f]{24}","orgId":"[0-9a-f]{24}","publicKey":"[a-z]{8}","desc":"\w+","createdAt":"[^"]+","disabled":false,"expiresAt":null,"roles":\[[^]]+\],"links":\[\{"href":"[^"]+","rel":"self"\}\]\}\],"totalCount":8\}$
--- error_code: 200

=== TEST 5: a key of a project shows the project
--- requests
leader: GET $keys/$leader_id
--- json
{"id":"$leader_id","orgId":"$org_id","publicKey":"$leader_public","desc":"leader","createdAt":"$time","disabled":false,"expiresAt":null,
 "roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"},{"projectId":"$project_id","roleName":"GROUP_OWNER"}],
 "links":[{"href":"http://localhost$keys/$leader_id","rel":"self"}]}

=== TEST 6: a key is made with its access list
--- requests
POST $keys {"desc":"listed","roles":["ORG_MEMBER"],"accessList":[{"cidrBlock":"10.1.2.3/8"},{"ipAddress":"192.0.2.1"},{"ipAddress":"2001:db8::1"}]}
--- keep: listed
--- error_code: 201
--- query
SELECT string_agg(text(cidr), ' ' ORDER BY cidr) FROM apikeys.access_list WHERE key_id = '$listed_id'
UNION ALL SELECT entries FROM apikeys.key_states WHERE id = '$listed_id'
UNION ALL SELECT concat_ws(' ', event, after -> 'entries')
            FROM (SELECT * FROM apikeys.audit WHERE key_id = '$listed_id' ORDER BY id) a
--- rows
10.0.0.0/8 192.0.2.1/32 2001:db8::1/128
10.0.0.0/8,192.0.2.1/32,2001:db8::1/128
API_KEY_CREATED
API_KEY_ACCESS_LIST_ENTRY_ADDED ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::1/128"]

=== TEST 7: the access list admits the new key at once, and refuses it
--- requests
listed: GET $base -> IP_ADDRESS_NOT_ON_ACCESS_LIST ["127.0.0.1"]

=== TEST 8: a key is made with at most 200 entries, none of them twice, and an empty list is none
--- requests
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"accessList":[$entries200]} -> 201
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"accessList":[$entries200,{"ipAddress":"192.0.2.201"}]} -> INVALID_ATTRIBUTE ["accessList"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"accessList":[]} -> 201
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"accessList":null} -> 201
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"accessList":{}} -> INVALID_JSON_ATTRIBUTE ["accessList"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"accessList":["10.0.0.1"]} -> INVALID_JSON
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"accessList":[{"ipAddress":"10.0.0.1"},{"cidrBlock":"10.0.0.1/32"}]} -> DUPLICATE_ADDRESSES_IN_INPUT
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"accessList":[{"ipAddress":"10.0.0"}]} -> INVALID_IP_ADDRESS_OR_CIDR_NOTATION ["10.0.0"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"accessList":[{"cidrBlock":"0.0.0.0/0"}]} -> CANNOT_ADD_IP_ADDRESS_TO_API_KEY_ACCESS_LIST ["0.0.0.0/0"]
PATCH $key {"accessList":[]} -> INVALID_ATTRIBUTE ["accessList"]

=== TEST 9: entries beyond the quota of the organization, and nothing is made
--- sql
SELECT apikeys.set_quota('$org_id', p_entries => 203);
--- requests
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"accessList":[{"ipAddress":"192.0.2.1"}]}
POST $members {"desc":"x","roles":["GROUP_READ_ONLY"],"accessList":[{"ipAddress":"192.0.2.1"}]}
--- answers: 400 ... "errorCode":"MAX_ACCESS_LIST_ENTRIES_EXCEEDED","parameters":[203,"$org_id"]
--- unchanged: $states

=== TEST 10: an attribute that is unknown, read-only, of a wrong type or value, or absent is refused
--- sql
SELECT apikeys.set_quota('$org_id', p_entries => 50000);
--- requests
POST $keys {"roles":["ORG_MEMBER"]} -> API_KEY_REQUIRES_DESCRIPTION
POST $keys {"desc":null,"roles":["ORG_MEMBER"]} -> API_KEY_REQUIRES_DESCRIPTION
POST $keys {"desc":1,"roles":["ORG_MEMBER"]} -> INVALID_JSON_ATTRIBUTE ["desc"]
POST $keys {"desc":"$x251","roles":["ORG_MEMBER"]} -> INVALID_API_KEY_DESC [250]
POST $keys {"desc":"x"} -> MISSING_API_KEY_ROLES
POST $keys {"desc":"x","roles":[]} -> MISSING_API_KEY_ROLES
POST $keys {"desc":"x","roles":"ORG_MEMBER"} -> INVALID_JSON_ATTRIBUTE ["roles"]
POST $keys {"desc":"x","roles":["NO_SUCH"]} -> INVALID_ENUM_VALUE ["NO_SUCH"]
POST $keys {"desc":"x","roles":["GROUP_OWNER"]} -> CANNOT_ADD_GROUP_ROLE
POST $keys {"desc":"x","roles":["GLOBAL_OWNER"]} -> CANNOT_ADD_GLOBAL_ROLE
POST $keys {"desc":"x","roles":["ORG_TEAM_MEMBERS_ADMIN"]} -> UNSUPPORTED_ROLE
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"labels":{}} -> INVALID_ATTRIBUTE ["labels"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"id":"$nobody"} -> ATTRIBUTE_READ_ONLY ["id"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"publicKey":"abcdefgh"} -> ATTRIBUTE_READ_ONLY ["publicKey"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"privateKey":"$uuid"} -> ATTRIBUTE_READ_ONLY ["privateKey"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"token":"x"} -> ATTRIBUTE_READ_ONLY ["token"]
PATCH $key {} -> MISSING_ATTRIBUTE ["desc"]
PATCH $key {"desc":null,"roles":null} -> MISSING_ATTRIBUTE ["desc"]
PATCH $key {"desc":""} -> API_KEY_REQUIRES_DESCRIPTION
PATCH $key {"roles":[]} -> MISSING_API_KEY_ROLES
PATCH $key {"orgId":"$org_id"} -> ATTRIBUTE_READ_ONLY ["orgId"]
PATCH $key {"createdAt":"x"} -> ATTRIBUTE_READ_ONLY ["createdAt"]
PATCH $key {"links":[]} -> ATTRIBUTE_READ_ONLY ["links"]
PATCH $key {"secrets":[]} -> INVALID_ATTRIBUTE ["secrets"]
PATCH $key [] -> INVALID_JSON
PATCH $key { -> MALFORMED_JSON
--- unchanged: $states

=== TEST 11: the operator brings a key pair, which then works as if it was made here
--- as: operator
--- requests
POST $keys {"desc":"brought","roles":["ORG_MEMBER"],"publicKey":"zbrought","privateKey":"$uuid"}
--- keep: brought
--- error_code: 201
--- json
{"id":"$any_id","orgId":"$org_id","publicKey":"zbrought","privateKey":"$uuid","token":"zbrought_$uuid",
 "desc":"brought","createdAt":"$time","disabled":false,"expiresAt":null,"roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"}],
 "links":[{"href":"http://localhost$keys/$brought_id","rel":"self"}]}

=== TEST 12: the brought key authenticates by each scheme
--- config
location /api/v1 {
    apikeys_api native;
    apikeys_auth digest digest_sha256 basic bearer;
}
--- requests
zbrought:$uuid: GET $base/ -> 200
zbrought:$uuid digest_sha256: GET $base/ -> 200
zbrought:$uuid basic: GET $base/ -> 200
brought bearer: GET $base/ -> 200

=== TEST 13: a public key that another key has, a pair without one of both, and other forms are refused
--- as: operator
--- requests
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"publicKey":"zbrought","privateKey":"$uuid"} -> API_KEY_ALREADY_EXISTS ["zbrought"]
POST $members {"desc":"x","roles":["GROUP_READ_ONLY"],"publicKey":"zbrought","privateKey":"$uuid"} -> API_KEY_ALREADY_EXISTS ["zbrought"]
POST $base/orgs {"name":"x","apiKey":{"desc":"x","roles":["ORG_OWNER"],"publicKey":"zbrought","privateKey":"$uuid"}} -> API_KEY_ALREADY_EXISTS ["zbrought"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"publicKey":"zzbrough"} -> MISSING_ATTRIBUTE ["privateKey"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"privateKey":"$uuid"} -> MISSING_ATTRIBUTE ["publicKey"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"publicKey":"zbrough","privateKey":"$uuid"} -> INVALID_ATTRIBUTE ["publicKey"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"publicKey":"zbroughtt","privateKey":"$uuid"} -> INVALID_ATTRIBUTE ["publicKey"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"publicKey":"Zbrought","privateKey":"$uuid"} -> INVALID_ATTRIBUTE ["publicKey"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"publicKey":1,"privateKey":"$uuid"} -> INVALID_JSON_ATTRIBUTE ["publicKey"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"publicKey":"zzbrough","privateKey":"${uuid}0"} -> INVALID_ATTRIBUTE ["privateKey"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"publicKey":"zzbrough","privateKey":"0123456789ab-1cde-8f01-23456789abcd-"} -> INVALID_ATTRIBUTE ["privateKey"]
POST $keys {"desc":"x","roles":["ORG_MEMBER"],"publicKey":"zzbrough","privateKey":"01234567-89AB-1cde-8f01-23456789abcd"} -> INVALID_ATTRIBUTE ["privateKey"]
PATCH $key {"publicKey":"zzbrough"} -> ATTRIBUTE_READ_ONLY ["publicKey"]
--- unchanged: $states

=== TEST 14: DELETE answers without content, and the key is unknown from then on
--- requests
owner: DELETE $keys/$new_id -> 204
new: GET $base -> 401
owner: GET $keys/$new_id -> 404 API_KEY_NOT_FOUND ["$new_id"]
owner: PATCH $keys/$new_id {"desc":"x"} -> 404 API_KEY_NOT_FOUND ["$new_id"]
owner: DELETE $keys/$new_id -> 404 API_KEY_NOT_FOUND ["$new_id"]
owner: GET $keys/xyz -> PATH_PARAM_PARSE_ERROR ["$keys/xyz"]
owner: DELETE $keys/$owner_id -> CANNOT_DELETE_LAST_OWNER
owner: PATCH $keys/$owner_id {"roles":["ORG_MEMBER"]} -> CANNOT_DEMOTE_LAST_ORG_OWNER
owner: PUT $key {} -> METHOD_NOT_ALLOWED ["PUT"]

=== TEST 15: POST makes a key in a project, with ORG_MEMBER in the organization
--- requests
manager: POST $members {"desc":"inside","roles":["GROUP_READ_ONLY"],"accessList":[{"cidrBlock":"127.0.0.0/8"}]}
--- keep: inside
--- error_code: 201
--- json
{"id":"$any_id","orgId":"$org_id","publicKey":"$any_public","privateKey":"$any_private","token":"${inside_public}_$inside_private",
 "desc":"inside","createdAt":"$time","disabled":false,"expiresAt":null,
 "roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"},{"projectId":"$project_id","roleName":"GROUP_READ_ONLY"}],
 "links":[{"href":"http://localhost$keys/$inside_id","rel":"self"}]}
--- query
SELECT concat_ws(' ', event, after -> 'entries')
  FROM apikeys.audit WHERE key_id = '$inside_id' ORDER BY id
--- rows
API_KEY_CREATED
API_KEY_ACCESS_LIST_ENTRY_ADDED ["127.0.0.0/8"]
API_KEY_ADDED_TO_GROUP

=== TEST 16: a key of a project takes roles of projects alone
--- requests
owner: POST $members {"desc":"x","roles":["GROUP_READ_ONLY","ORG_MEMBER"]} -> CANNOT_ADD_ORG_ROLE
owner: POST $members {"desc":"x","roles":["GLOBAL_OWNER"]} -> CANNOT_ADD_GLOBAL_ROLE
owner: POST $members {"desc":"x","roles":[]} -> MISSING_API_KEY_ROLES
manager: POST $members {"desc":"x","roles":["GROUP_OWNER"]} -> USER_UNAUTHORIZED
--- unchanged: $states

=== TEST 17: the keys of a project, with roles of each product
--- requests
owner: PATCH $om/groups/$project_id/apiKeys/$om_id {"roles":["GROUP_AUTOMATION_ADMIN"]} -> 200
leader: GET $members?itemsPerPage=500 -> 200 ... "totalCount":4}
leader: GET $members -> 200 ... "roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"},{"projectId":"$project_id","roleName":"GROUP_AUTOMATION_ADMIN"}]

=== TEST 18: PUT assigns a key to a project
--- requests
PUT $members/$idle_id {"roles":["GROUP_READ_ONLY","GROUP_AUTOMATION_ADMIN"]}
--- error_code: 201
--- json
{"id":"$idle_id","orgId":"$org_id","publicKey":"$idle_public","desc":"idle","createdAt":"$time","disabled":false,"expiresAt":null,
 "roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"},
          {"projectId":"$project_id","roleName":"GROUP_AUTOMATION_ADMIN"},
          {"projectId":"$project_id","roleName":"GROUP_READ_ONLY"}],
 "links":[{"href":"http://localhost$keys/$idle_id","rel":"self"}]}
--- response_headers_like
Location: http://localhost/api/v1/orgs/[0-9a-f]{24}/apiKeys/[0-9a-f]{24}
--- audit
API_KEY_ADDED_TO_GROUP {"roles":["GROUP_AUTOMATION_ADMIN","GROUP_READ_ONLY"]}

=== TEST 19: PUT replaces the roles of a key in a project, and may be repeated
--- requests
PUT $members/$idle_id {"roles":["GROUP_READ_ONLY"]}
PUT $members/$idle_id {"roles":["GROUP_READ_ONLY"]}
--- answers: 200
--- contains: "roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"},{"projectId":"$project_id","roleName":"GROUP_READ_ONLY"}]
--- audit
API_KEY_ROLES_CHANGED {"roles":["GROUP_AUTOMATION_ADMIN","GROUP_READ_ONLY"]} {"roles":["GROUP_READ_ONLY"]}

=== TEST 20: PUT of anything but roles of projects is refused
--- requests
PUT $members/$idle_id {} -> MISSING_API_KEY_ROLES
PUT $members/$idle_id {"roles":null} -> MISSING_API_KEY_ROLES
PUT $members/$idle_id {"roles":[]} -> MISSING_API_KEY_ROLES
PUT $members/$idle_id {"roles":["ORG_MEMBER"]} -> CANNOT_ADD_ORG_ROLE
PUT $members/$idle_id {"roles":["GROUP_READ_ONLY"],"desc":"x"} -> INVALID_ATTRIBUTE ["desc"]
PUT $members/$idle_id [{"roles":["GROUP_READ_ONLY"]}] -> INVALID_JSON
PUT $members/$other_id {"roles":["GROUP_READ_ONLY"]} -> 404 API_KEY_NOT_FOUND ["$other_id"]
PUT $members/$nobody {"roles":["GROUP_READ_ONLY"]} -> 404 API_KEY_NOT_FOUND ["$nobody"]
--- unchanged: $states

=== TEST 21: other methods name those that there are
--- requests
GET $members/$idle_id -> METHOD_NOT_ALLOWED ["GET"]
PATCH $members/$idle_id {"roles":["GROUP_OWNER"]} -> METHOD_NOT_ALLOWED ["PATCH"]
POST $members/$idle_id {"roles":["GROUP_OWNER"]} -> METHOD_NOT_ALLOWED ["POST"]
--- response_headers
Allow: PUT, DELETE

=== TEST 22: DELETE takes a key out of a project, once
--- requests
DELETE $members/$idle_id -> 204
DELETE $members/$idle_id -> 404 API_KEY_NOT_FOUND ["$idle_id"]
GET $keys/$idle_id -> 200

=== TEST 23: entries are added, and the answer has those
--- requests
POST $key/accessList [{"ipAddress":"192.0.2.7"},{"cidrBlock":"127.0.0.0/8"}]
--- error_code: 201
--- json
{"links":[{"href":"http://localhost$key/accessList","rel":"self"}],
 "results":[{"cidrBlock":"127.0.0.0/8","ipAddress":null,"comment":null,"expiresAt":null,"createdAt":"$time","lastUsedAt":null,
             "lastUsedAddress":null,"useCount":0,
             "links":[{"href":"http://localhost$key/accessList/127.0.0.0%2F8","rel":"self"}]},
            {"cidrBlock":"192.0.2.7/32","ipAddress":"192.0.2.7","comment":null,"expiresAt":null,"createdAt":"$time","lastUsedAt":null,
             "lastUsedAddress":null,"useCount":0,
             "links":[{"href":"http://localhost$key/accessList/192.0.2.7","rel":"self"}]}],
 "totalCount":2}
--- response_headers_like
Location: http://localhost/api/v1/orgs/[0-9a-f]{24}/apiKeys/[0-9a-f]{24}/accessList

=== TEST 24: the key itself adds an entry, and the answer does not have the others
--- as: one
--- requests
POST $key/accessList [{"cidrBlock":"2001:db8::/32"}]
GET $key/accessList?itemsPerPage=1&pageNum=2
GET $key/accessList/2001:db8::%2F32
--- answers
201 ... "totalCount":1}
200 ... "results":[{"cidrBlock":"192.0.2.7/32",
200
--- contains
"results":[{"cidrBlock":"2001:db8::/32","ipAddress":null,
"totalCount":3
{"cidrBlock":"2001:db8::/32","ipAddress":null,"comment":null,"expiresAt":null,"createdAt":"

=== TEST 25: the number of uses, the last one and its address
--- sql
INSERT INTO apikeys.access_usage VALUES ('$one_id', '192.0.2.7/32', 3, '2026-01-02 03:04:05+00', '192.0.2.7')
--- requests
GET $key/accessList/192.0.2.7
--- json
{"cidrBlock":"192.0.2.7/32","ipAddress":"192.0.2.7","comment":null,"expiresAt":null,"createdAt":"$time","lastUsedAt":"2026-01-02T03:04:05Z",
 "lastUsedAddress":"192.0.2.7","useCount":3,
 "links":[{"href":"http://localhost$key/accessList/192.0.2.7","rel":"self"}]}

=== TEST 26: 1 to 200 entries are added at once
--- requests
POST $keys/$idle_id/accessList [$entries200] -> 201 ... "totalCount":200}
POST $keys/$idle_id/accessList [] -> INVALID_JSON
POST $keys/$member_id/accessList [$entries200,{"ipAddress":"192.0.2.201"}] -> INVALID_JSON
POST $keys/$member_id/accessList {"ipAddress":"192.0.2.201"} -> INVALID_JSON
POST $keys/$member_id/accessList [{"ipAddress":"192.0.2.1"},{"ipAddress":"192.0.2.1"}] -> DUPLICATE_ADDRESSES_IN_INPUT
POST $keys/$idle_id/accessList [{"ipAddress":"192.0.2.9"}] -> ADDRESS_ALREADY_IN_ACCESS_LIST ["192.0.2.9"]
POST $keys/$member_id/accessList [{"ipAddress":"192.0.2.1","cidrBlock":"192.0.2.0/24"}] -> BAD_ACCESS_LIST_ADD_REQUEST
POST $keys/$member_id/accessList [{}] -> MISSING_ONE_OF_ATTRIBUTES ["ipAddress","cidrBlock"]
POST $keys/$member_id/accessList [{"ipAddress":"192.0.2.1","useCount":1}] -> ATTRIBUTE_READ_ONLY ["useCount"]
POST $keys/$member_id/accessList [{"ipAddress":"192.0.2.1","count":1}] -> INVALID_ATTRIBUTE ["count"]
POST $keys/$member_id/accessList [{"ipAddress":"192.0.2.1","createdAt":"x"}] -> ATTRIBUTE_READ_ONLY ["createdAt"]
--- query
SELECT count(*) FROM apikeys.access_list WHERE key_id = '$member_id'
--- rows
0

=== TEST 27: DELETE of an entry
--- requests
owner: DELETE $key/accessList/192.0.2.7 -> 204
owner: DELETE $key/accessList/192.0.2.7 -> API_KEY_ACCESS_LIST_NOT_FOUND ["192.0.2.7","$one_id"]
owner: GET $key/accessList/192.0.2.7 -> API_KEY_ACCESS_LIST_NOT_FOUND ["192.0.2.7","$one_id"]
one: DELETE $key/accessList/127.0.0.0%2F8 -> CANNOT_REMOVE_CALLER_FROM_ACCESS_LIST ["127.0.0.1"]
member: GET $key/accessList -> API_KEY_ACCESS_LIST_ACCESS_DENIED
owner: POST $key/accessList/127.0.0.0%2F8 {"comment":"x"} -> METHOD_NOT_ALLOWED ["POST"]

=== TEST 28: no attribute takes a value of another type
--- as: operator
--- requests eval: main::wrong()
--- unchanged: $states

=== TEST 29: a receipt that is not given in time is 202, with the location
--- more_headers
Prefer: wait=0
--- requests
POST $keys {"desc":"waited","roles":["ORG_MEMBER"]}
--- error_code_like: ^20[12]$
--- response_headers_like
Location: http://localhost/api/v1/orgs/[0-9a-f]{24}/apiKeys/[0-9a-f]{24}
