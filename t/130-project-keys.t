# Keys in projects: created there, assigned, changed and taken out, with the
# roles of the organization and of other projects untouched and shown.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';
use JSON::PP qw( decode_json );

# on each base two projects of the organization, ascending as roles have them, one
# of another organization, and a key that SQL makes
names(map {
    my ($base, $x) = @$_;
    ("$base/first" => 'f' x 22 . "${x}1", "$base/second" => 'f' x 22 . "${x}2",
        "$base/far" => 'f' x 22 . "${x}3", "$base/sql" => 'f' x 22 . "${x}4",
        "$base/zz" => "zzzzzzz$x");
} [ atlas => 'a' ], [ v2 => 'b' ], [ om => 'c' ]);

names(
    keys => '$base/orgs/$org_id/apiKeys', away => '$base/groups/$far/apiKeys',
    here => '$base/groups/$first/apiKeys', there => '$base/groups/$second/apiKeys',
    one => '$here/$one_id', spare => '$here/$spare_id',
    nobody => '0123456789abcdef01234567', x251 => 'x' x 251,
    # but for the version of a key, which a call that is repeated changes
    states => q{SELECT to_jsonb(s) - 'version' FROM apikeys.key_states s ORDER BY id},
);

# filters: the roles of a key, behind the id where they hold; the keys of a list
sub roles {
    my $key = length $_[0] ? decode_json($_[0]) : {};
    my @all = map { [ $_->{groupId} // $_->{orgId}, $_->{roleName} ] }
        @{ $key->{roles} // [] };
    return join ' ', map {
        ($_ && $all[$_][0] eq $all[$_ - 1][0] ? () : $all[$_][0]), $all[$_][1]
    } 0 .. $#all;
}

sub list {
    my $list = length $_[0] ? decode_json($_[0]) : return '';
    return join ' ', (map { $_->{publicKey} } @{ $list->{results} }),
        "of $list->{totalCount}";
}

run_tests();

__DATA__

=== TEST 1: keys of an organization are given roles in a project
--- keys
owner: ORG_OWNER
one: ORG_MEMBER
spare: ORG_MEMBER
other: ORG_OWNER org=beyond
--- on: atlas v2 om
--- sql
INSERT INTO apikeys.projects (id, org_id, name)
    VALUES ('$first', '$org_id', '$first'), ('$second', '$org_id', '$second'),
           ('$far', '$beyond_id', '$far');
INSERT INTO apikeys.keys (id, org_id, public_key, secret, redacted, descr, roles)
    VALUES ('$sql', '$org_id', '$zz', decode(repeat('00', 112), 'hex'),
            '000000000000', 'sql', '{ORG_MEMBER}');
--- may_log: error
--- as: owner
--- requests
PATCH $keys/$one_id {"desc":"one"} -> 200: $org_id ORG_MEMBER
PATCH $here/$sql {"roles":["GROUP_READ_ONLY"]}
    -> 200: $org_id ORG_MEMBER $first GROUP_READ_ONLY
--- response_body_filters eval: \&main::roles

=== TEST 2: a key that is created in a project is a member of the organization
--- on: atlas v2 om
--- as: owner
--- requests
POST $here {"desc":"in a project","roles":["GROUP_READ_ONLY"]}
--- keep: new
--- json
{"desc":"in a project","id":"$new_id",
 "links":[{"href":"http://localhost$keys/$new_id","rel":"self"}],
 "privateKey":"~[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}","publicKey":"$new_public",
 "roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"},
          {"groupId":"$first","roleName":"GROUP_READ_ONLY"}]}

=== TEST 3: a key that is created in a project authenticates the next request
--- on: atlas v2 om
--- as: new
--- requests
GET $base/
--- answers: 200
--- contains: "publicKey":"$new_public"

=== TEST 4: a role of the organization that is named replaces ORG_MEMBER
--- on: atlas v2 om
--- as: owner
--- requests
POST $here {"desc":"x","roles":["GROUP_READ_ONLY","ORG_READ_ONLY","GROUP_OWNER","GROUP_OWNER"]}
    -> 200: $org_id ORG_READ_ONLY $first GROUP_OWNER GROUP_READ_ONLY
--- keep: reader
--- response_body_filters eval: \&main::roles

=== TEST 5: PATCH in a project replaces the roles there
--- on: atlas v2 om
--- as: owner
--- requests
PATCH $here/$new_id {"roles":["GROUP_DATA_ACCESS_READ_ONLY"]}
--- json
{"desc":"in a project","id":"$new_id",
 "links":[{"href":"http://localhost$keys/$new_id","rel":"self"}],
 "privateKey":"$new_redacted","publicKey":"$new_public",
 "roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"},
          {"groupId":"$first","roleName":"GROUP_DATA_ACCESS_READ_ONLY"}]}

=== TEST 6: PATCH in another project adds roles of that project
--- on: atlas v2 om
--- as: owner
--- requests
PATCH $there/$new_id {"roles":["GROUP_OWNER","GROUP_DATA_ACCESS_ADMIN"]}
--- json
{"desc":"in a project","id":"$new_id",
 "links":[{"href":"http://localhost$keys/$new_id","rel":"self"}],
 "privateKey":"$new_redacted","publicKey":"$new_public",
 "roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"},
          {"groupId":"$first","roleName":"GROUP_DATA_ACCESS_READ_ONLY"},
          {"groupId":"$second","roleName":"GROUP_DATA_ACCESS_ADMIN"},
          {"groupId":"$second","roleName":"GROUP_OWNER"}]}

=== TEST 7: PATCH of the description leaves the roles, and null roles are none
--- on: atlas v2 om
--- as: owner
--- requests
PATCH $here/$new_id {"desc":"described there"}
PATCH $here/$new_id {"desc":"described there","roles":null}
GET $keys/$new_id
--- json
{"desc":"described there","id":"$new_id",
 "links":[{"href":"http://localhost$keys/$new_id","rel":"self"}],
 "privateKey":"$new_redacted","publicKey":"$new_public",
 "roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"},
          {"groupId":"$first","roleName":"GROUP_DATA_ACCESS_READ_ONLY"},
          {"groupId":"$second","roleName":"GROUP_DATA_ACCESS_ADMIN"},
          {"groupId":"$second","roleName":"GROUP_OWNER"}]}

=== TEST 8: PATCH in the organization leaves the roles in projects
--- on: atlas v2 om
--- as: owner
--- requests
PATCH $keys/$new_id {"roles":["ORG_READ_ONLY"]}
--- json
{"desc":"described there","id":"$new_id",
 "links":[{"href":"http://localhost$keys/$new_id","rel":"self"}],
 "privateKey":"$new_redacted","publicKey":"$new_public",
 "roles":[{"orgId":"$org_id","roleName":"ORG_READ_ONLY"},
          {"groupId":"$first","roleName":"GROUP_DATA_ACCESS_READ_ONLY"},
          {"groupId":"$second","roleName":"GROUP_DATA_ACCESS_ADMIN"},
          {"groupId":"$second","roleName":"GROUP_OWNER"}]}

=== TEST 9: a deleted key is in no list of a project
--- on: atlas v2 om
--- as: owner
--- requests
DELETE $keys/$reader_id -> 204
GET $here -> 200: $new_public $zz of 2
--- response_body_filters eval: \&main::list

=== TEST 10: a list has the keys of the project by public key, with all their roles
--- on: atlas v2 om
--- as: owner
--- requests
GET $here
--- json
{"links":[{"href":"http://localhost$here?pageNum=1&itemsPerPage=100","rel":"self"}],
 "results":[
  {"desc":"described there","id":"$new_id",
   "links":[{"href":"http://localhost$keys/$new_id","rel":"self"}],
   "privateKey":"$new_redacted","publicKey":"$new_public",
   "roles":[{"orgId":"$org_id","roleName":"ORG_READ_ONLY"},
            {"groupId":"$first","roleName":"GROUP_DATA_ACCESS_READ_ONLY"},
            {"groupId":"$second","roleName":"GROUP_DATA_ACCESS_ADMIN"},
            {"groupId":"$second","roleName":"GROUP_OWNER"}]},
  {"desc":"sql","id":"$sql",
   "links":[{"href":"http://localhost$keys/$sql","rel":"self"}],
   "privateKey":"********-****-****-000000000000","publicKey":"$zz",
   "roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"},
            {"groupId":"$first","roleName":"GROUP_READ_ONLY"}]}],
 "totalCount":2}

=== TEST 11: a list of another project has the same key with the same roles
--- on: atlas v2 om
--- as: owner
--- requests
GET $there
--- json
{"links":[{"href":"http://localhost$there?pageNum=1&itemsPerPage=100","rel":"self"}],
 "results":[
  {"desc":"described there","id":"$new_id",
   "links":[{"href":"http://localhost$keys/$new_id","rel":"self"}],
   "privateKey":"$new_redacted","publicKey":"$new_public",
   "roles":[{"orgId":"$org_id","roleName":"ORG_READ_ONLY"},
            {"groupId":"$first","roleName":"GROUP_DATA_ACCESS_READ_ONLY"},
            {"groupId":"$second","roleName":"GROUP_DATA_ACCESS_ADMIN"},
            {"groupId":"$second","roleName":"GROUP_OWNER"}]}],
 "totalCount":1}

=== TEST 12: POST assigns a key once, with either form of body, and DELETE removes the key
--- on: atlas v2 om
--- as: owner
--- requests
POST $here/$spare_id [{"roles":["GROUP_READ_ONLY"]}] -> 204
POST $here/$spare_id [{"roles":["GROUP_READ_ONLY"]}] -> 400 API_KEY_ALREADY_IN_GROUP
GET $keys/$spare_id -> 200: $org_id ORG_MEMBER $first GROUP_READ_ONLY
DELETE $here/$spare_id -> 204
GET $keys/$spare_id -> 200: $org_id ORG_MEMBER
POST $here/$spare_id {"roles":["GROUP_READ_ONLY"]} -> 204
POST $here/$spare_id {"roles":["GROUP_READ_ONLY"]} -> 400 API_KEY_ALREADY_IN_GROUP
GET $keys/$spare_id -> 200: $org_id ORG_MEMBER $first GROUP_READ_ONLY
DELETE $here/$spare_id -> 204
GET $keys/$spare_id -> 200: $org_id ORG_MEMBER
POST $here/$spare_id [{"roles":["GROUP_READ_ONLY"],"userId":"$nobody"}] -> 204
POST $here/$spare_id [{"roles":["GROUP_READ_ONLY"],"userId":"$nobody"}]
    -> 400 API_KEY_ALREADY_IN_GROUP
GET $keys/$spare_id -> 200: $org_id ORG_MEMBER $first GROUP_READ_ONLY
DELETE $here/$spare_id -> 204
GET $keys/$spare_id -> 200: $org_id ORG_MEMBER
POST $here/$spare_id [{"roles":["GROUP_READ_ONLY"],"apiUserId":"$nobody"}] -> 204
POST $here/$spare_id [{"roles":["GROUP_READ_ONLY"],"apiUserId":"$nobody"}]
    -> 400 API_KEY_ALREADY_IN_GROUP
GET $keys/$spare_id -> 200: $org_id ORG_MEMBER $first GROUP_READ_ONLY
DELETE $here/$spare_id -> 204
GET $keys/$spare_id -> 200: $org_id ORG_MEMBER
POST $here/$spare_id {"roles":["GROUP_READ_ONLY"],"apiUserId":null,"userId":1} -> 204
POST $here/$spare_id {"roles":["GROUP_READ_ONLY"],"apiUserId":null,"userId":1}
    -> 400 API_KEY_ALREADY_IN_GROUP
GET $keys/$spare_id -> 200: $org_id ORG_MEMBER $first GROUP_READ_ONLY
DELETE $here/$spare_id -> 204
GET $keys/$spare_id -> 200: $org_id ORG_MEMBER
PATCH $here/$spare_id {"desc":"x"} -> API_KEY_NOT_FOUND ["$spare_id"]
--- response_body_filters eval: \&main::roles

=== TEST 13: DELETE of a key that is not in the project changes nothing
--- on: atlas om
--- as: owner
--- requests
DELETE $here/$spare_id -> 204
--- unchanged: $states

=== TEST 14: v2 refuses DELETE of a key that is not in the project
--- on: v2
--- as: owner
--- requests
DELETE $here/$spare_id -> 404 API_KEY_NOT_FOUND ["$spare_id"]
--- unchanged: $states

=== TEST 15: DELETE in a project leaves the roles in other projects
--- on: atlas v2 om
--- as: owner
--- requests
DELETE $here/$new_id -> 204
GET $keys/$new_id
    -> 200: $org_id ORG_READ_ONLY $second GROUP_DATA_ACCESS_ADMIN GROUP_OWNER
DELETE $keys/$new_id -> 204
--- response_body_filters eval: \&main::roles

=== TEST 16: no project has a key that was taken out or deleted
--- on: atlas v2 om
--- as: owner
--- requests
GET $here -> 200: $zz of 1
GET $there -> 200: of 0
--- response_body_filters eval: \&main::list

=== TEST 17: a key can have all roles of a project that v1.0 and v2 have
--- on: atlas v2
--- as: owner
--- requests
PATCH $one {"roles":["GROUP_ACCESS_MANAGER", "GROUP_BACKUP_MANAGER",
    "GROUP_CHARTS_ADMIN", "GROUP_CLUSTER_MANAGER",
    "GROUP_DATABASE_ACCESS_ADMIN", "GROUP_DATA_ACCESS_ADMIN",
    "GROUP_DATA_ACCESS_READ_ONLY", "GROUP_DATA_ACCESS_READ_WRITE",
    "GROUP_OBSERVABILITY_VIEWER", "GROUP_OWNER", "GROUP_READ_ONLY",
    "GROUP_SEARCH_INDEX_EDITOR", "GROUP_STREAM_PROCESSING_OWNER"]}
    -> 200: $org_id ORG_MEMBER $first GROUP_ACCESS_MANAGER GROUP_BACKUP_MANAGER GROUP_CHARTS_ADMIN
    GROUP_CLUSTER_MANAGER GROUP_DATABASE_ACCESS_ADMIN GROUP_DATA_ACCESS_ADMIN
    GROUP_DATA_ACCESS_READ_ONLY GROUP_DATA_ACCESS_READ_WRITE
    GROUP_OBSERVABILITY_VIEWER GROUP_OWNER GROUP_READ_ONLY
    GROUP_SEARCH_INDEX_EDITOR GROUP_STREAM_PROCESSING_OWNER
GET $om/orgs/$org_id/apiKeys/$one_id -> 200: $org_id ORG_MEMBER $first GROUP_ACCESS_MANAGER GROUP_BACKUP_MANAGER GROUP_CHARTS_ADMIN
    GROUP_CLUSTER_MANAGER GROUP_DATABASE_ACCESS_ADMIN GROUP_DATA_ACCESS_ADMIN
    GROUP_DATA_ACCESS_READ_ONLY GROUP_DATA_ACCESS_READ_WRITE
    GROUP_OBSERVABILITY_VIEWER GROUP_OWNER GROUP_READ_ONLY
    GROUP_SEARCH_INDEX_EDITOR GROUP_STREAM_PROCESSING_OWNER
DELETE $one -> 204
--- response_body_filters eval: \&main::roles

=== TEST 18: v1.0 and v2 refuse roles of a project that Ops Manager has
--- on: atlas v2
--- as: owner
--- requests
PATCH $one {"roles":["GROUP_OWNER","GROUP_AUTOMATION_ADMIN"]}
PATCH $one {"roles":["GROUP_OWNER","GROUP_BACKUP_ADMIN"]}
PATCH $one {"roles":["GROUP_OWNER","GROUP_BILLING_ADMIN"]}
PATCH $one {"roles":["GROUP_OWNER","GROUP_MONITORING_ADMIN"]}
PATCH $one {"roles":["GROUP_OWNER","GROUP_USER_ADMIN"]}
--- answers: 400 UNSUPPORTED_ROLE
--- unchanged: $states

=== TEST 19: a key can have all roles of a project that Ops Manager has
--- on: om
--- as: owner
--- requests
PATCH $one {"roles":["GROUP_AUTOMATION_ADMIN", "GROUP_BACKUP_ADMIN",
    "GROUP_BILLING_ADMIN", "GROUP_CHARTS_ADMIN", "GROUP_DATA_ACCESS_ADMIN",
    "GROUP_DATA_ACCESS_READ_ONLY", "GROUP_DATA_ACCESS_READ_WRITE",
    "GROUP_MONITORING_ADMIN", "GROUP_OWNER", "GROUP_READ_ONLY",
    "GROUP_USER_ADMIN"]}
    -> 200: $org_id ORG_MEMBER $first GROUP_AUTOMATION_ADMIN GROUP_BACKUP_ADMIN GROUP_BILLING_ADMIN
    GROUP_CHARTS_ADMIN GROUP_DATA_ACCESS_ADMIN GROUP_DATA_ACCESS_READ_ONLY
    GROUP_DATA_ACCESS_READ_WRITE GROUP_MONITORING_ADMIN GROUP_OWNER
    GROUP_READ_ONLY GROUP_USER_ADMIN
GET $om/orgs/$org_id/apiKeys/$one_id -> 200: $org_id ORG_MEMBER $first GROUP_AUTOMATION_ADMIN GROUP_BACKUP_ADMIN GROUP_BILLING_ADMIN
    GROUP_CHARTS_ADMIN GROUP_DATA_ACCESS_ADMIN GROUP_DATA_ACCESS_READ_ONLY
    GROUP_DATA_ACCESS_READ_WRITE GROUP_MONITORING_ADMIN GROUP_OWNER
    GROUP_READ_ONLY GROUP_USER_ADMIN
DELETE $one -> 204
--- response_body_filters eval: \&main::roles

=== TEST 20: Ops Manager refuses roles of a project that v1.0 and v2 have
--- on: om
--- as: owner
--- requests
PATCH $one {"roles":["GROUP_OWNER","GROUP_ACCESS_MANAGER"]}
PATCH $one {"roles":["GROUP_OWNER","GROUP_CLUSTER_MANAGER"]}
PATCH $one {"roles":["GROUP_OWNER","GROUP_SEARCH_INDEX_EDITOR"]}
PATCH $one {"roles":["GROUP_OWNER","GROUP_STREAM_PROCESSING_OWNER"]}
--- answers: 400 UNSUPPORTED_ROLE
--- unchanged: $states

=== TEST 21: creation and change in a project take a description of 1 to 250 letters
--- as: owner
--- requests
POST $here {} -> 400 API_KEY_REQUIRES_DESCRIPTION
POST $here {"desc":"","roles":["GROUP_OWNER"]} -> 400 API_KEY_REQUIRES_DESCRIPTION
PATCH $spare {"desc":"","roles":["GROUP_OWNER"]} -> 400 API_KEY_REQUIRES_DESCRIPTION
POST $here {"desc":"$x251","roles":["GROUP_OWNER"]} -> 400 INVALID_API_KEY_DESC [250]
PATCH $spare {"desc":"$x251","roles":["GROUP_OWNER"]} -> 400 INVALID_API_KEY_DESC [250]
--- unchanged: $states

=== TEST 22: creation, change and assignment require a role
--- as: owner
--- requests
POST $here {"desc":"x"} -> 400 MISSING_API_KEY_ROLES
POST $here {"desc":"x","roles":[]} -> 400 MISSING_API_KEY_ROLES
PATCH $spare {"roles":[]} -> 400 MISSING_API_KEY_ROLES
POST $spare {} -> 400 MISSING_API_KEY_ROLES
POST $spare [{}] -> 400 MISSING_API_KEY_ROLES
POST $spare {"roles":[]} -> 400 MISSING_API_KEY_ROLES
POST $spare {"roles":null} -> 400 MISSING_API_KEY_ROLES
PATCH $spare {} -> 400 MISSING_ONE_OF_ATTRIBUTES ["desc","roles"]
PATCH $spare {"roles":null} -> 400 MISSING_ONE_OF_ATTRIBUTES ["desc","roles"]
--- unchanged: $states

=== TEST 23: a body is one object, for an assignment also in an array
--- as: owner
--- requests
POST $here [] -> 400 INVALID_JSON
PATCH $spare [{"roles":["GROUP_OWNER"]}] -> 400 INVALID_JSON
POST $spare [] -> 400 INVALID_JSON
POST $spare ["GROUP_OWNER"] -> 400 INVALID_JSON
POST $spare [{"roles":["GROUP_OWNER"]},{"roles":["GROUP_READ_ONLY"]}] -> 400 INVALID_JSON
POST $here { -> 400 MALFORMED_JSON
PATCH $spare { -> 400 MALFORMED_JSON
POST $spare { -> 400 MALFORMED_JSON
--- unchanged: $states

=== TEST 24: roles that are none of a project are refused
--- as: owner
--- requests
POST $here {"desc":"x","roles":["GROUP_NOSUCH"]} -> 400 INVALID_ENUM_VALUE ["GROUP_NOSUCH"]
PATCH $spare {"roles":["GROUP_NOSUCH"]} -> 400 INVALID_ENUM_VALUE ["GROUP_NOSUCH"]
POST $spare {"roles":["GROUP_NOSUCH"]} -> 400 INVALID_ENUM_VALUE ["GROUP_NOSUCH"]
POST $here {"desc":"x","roles":[null]} -> 400 INVALID_ENUM_VALUE ["null"]
PATCH $spare {"roles":[null]} -> 400 INVALID_ENUM_VALUE ["null"]
POST $spare {"roles":[null]} -> 400 INVALID_ENUM_VALUE ["null"]
PATCH $spare {"roles":["ORG_MEMBER"]} -> 400 CANNOT_ADD_ORG_ROLE
PATCH $spare {"roles":["GROUP_OWNER","ORG_OWNER"]} -> 400 CANNOT_ADD_ORG_ROLE
POST $spare [{"roles":["ORG_MEMBER"]}] -> 400 CANNOT_ADD_ORG_ROLE
POST $here {"desc":"x","roles":["GROUP_USER_ADMIN"]} -> 400 UNSUPPORTED_ROLE
PATCH $spare {"roles":["GROUP_USER_ADMIN"]} -> 400 UNSUPPORTED_ROLE
POST $spare {"roles":["GROUP_USER_ADMIN"]} -> 400 UNSUPPORTED_ROLE
POST $here {"desc":"x","roles":["GROUP_ATLAS_ADMIN"]} -> 400 UNSUPPORTED_ROLE
PATCH $spare {"roles":["GROUP_ATLAS_ADMIN"]} -> 400 UNSUPPORTED_ROLE
POST $spare {"roles":["GROUP_ATLAS_ADMIN"]} -> 400 UNSUPPORTED_ROLE
POST $here {"desc":"x","roles":["GLOBAL_OWNER"]} -> 400 UNSUPPORTED_ROLE
PATCH $spare {"roles":["GLOBAL_OWNER"]} -> 400 UNSUPPORTED_ROLE
POST $spare {"roles":["GLOBAL_OWNER"]} -> 400 UNSUPPORTED_ROLE
POST $here {"desc":"x","roles":"GROUP_OWNER"} -> 400 INVALID_JSON_ATTRIBUTE ["roles"]
PATCH $spare {"roles":"GROUP_OWNER"} -> 400 INVALID_JSON_ATTRIBUTE ["roles"]
POST $spare {"roles":"GROUP_OWNER"} -> 400 INVALID_JSON_ATTRIBUTE ["roles"]
POST $here {"desc":"x","roles":[["GROUP_OWNER"]]} -> 400 INVALID_JSON_ATTRIBUTE ["roles"]
PATCH $spare {"roles":[["GROUP_OWNER"]]} -> 400 INVALID_JSON_ATTRIBUTE ["roles"]
POST $spare {"roles":[["GROUP_OWNER"]]} -> 400 INVALID_JSON_ATTRIBUTE ["roles"]
--- unchanged: $states

=== TEST 25: an attribute that is unknown or set by the server is refused and named
--- as: owner
--- requests
POST $here {"desc":"x","roles":["GROUP_OWNER"],"x":1} -> 400 INVALID_ATTRIBUTE ["x"]
PATCH $spare {"roles":["GROUP_OWNER"],"x":1} -> 400 INVALID_ATTRIBUTE ["x"]
POST $spare {"roles":["GROUP_OWNER"],"x":1} -> 400 INVALID_ATTRIBUTE ["x"]
POST $spare [{"roles":["GROUP_OWNER"],"desc":"x"}] -> 400 INVALID_ATTRIBUTE ["desc"]
POST $here {"desc":"x","roles":["GROUP_OWNER"],"publicKey":"x"}
    -> 400 ATTRIBUTE_READ_ONLY ["publicKey"]
PATCH $spare {"roles":["GROUP_OWNER"],"id":"x"} -> 400 ATTRIBUTE_READ_ONLY ["id"]
--- unchanged: $states

=== TEST 26: a key of no or of another organization is not found in a project
--- on: atlas v2 om
--- requests
owner: PATCH $here/$nobody {"roles":["GROUP_OWNER"]} -> API_KEY_NOT_FOUND ["$nobody"]
owner: POST $here/$nobody [{"roles":["GROUP_OWNER"]}] -> API_KEY_NOT_FOUND ["$nobody"]
owner: DELETE $here/$nobody -> API_KEY_NOT_FOUND ["$nobody"]
owner: PATCH $here/$other_id {"roles":["GROUP_OWNER"]} -> API_KEY_NOT_FOUND ["$other_id"]
owner: POST $here/$other_id [{"roles":["GROUP_OWNER"]}] -> API_KEY_NOT_FOUND ["$other_id"]
owner: DELETE $here/$other_id -> API_KEY_NOT_FOUND ["$other_id"]
operator: PATCH $away/$spare_id {"roles":["GROUP_OWNER"]} -> API_KEY_NOT_FOUND ["$spare_id"]
--- unchanged: $states

=== TEST 27: an id that is not 24 hexadecimal digits is refused in a project
--- on: atlas v2 om
--- as: owner
--- requests
PATCH $here/x {"roles":["GROUP_OWNER"]}
POST $here/x [{"roles":["GROUP_OWNER"]}]
DELETE $here/x
PATCH $base/groups/X/apiKeys/$spare_id {"roles":["GROUP_OWNER"]}
POST $base/groups/X/apiKeys/$spare_id [{"roles":["GROUP_OWNER"]}]
DELETE $base/groups/X/apiKeys/$spare_id
--- answers: 400 PATH_PARAM_PARSE_ERROR ["$uri"]
--- unchanged: $states

=== TEST 28: another organization's project is answered as one that does not exist
--- on: atlas v2 om
--- as: owner
--- requests
PATCH $away/$spare_id {"roles":["GROUP_OWNER"]} -> 404 GROUP_NOT_FOUND ["$far"]
POST $away/$spare_id [{"roles":["GROUP_OWNER"]}] -> 404 GROUP_NOT_FOUND ["$far"]
DELETE $away/$spare_id -> 404 GROUP_NOT_FOUND ["$far"]
GET $away -> 404 GROUP_NOT_FOUND ["$far"]
PATCH $base/groups/$nobody/apiKeys/$spare_id {"roles":["GROUP_OWNER"]} -> 404 GROUP_NOT_FOUND ["$nobody"]
POST $base/groups/$nobody/apiKeys/$spare_id [{"roles":["GROUP_OWNER"]}] -> 404 GROUP_NOT_FOUND ["$nobody"]
DELETE $base/groups/$nobody/apiKeys/$spare_id -> 404 GROUP_NOT_FOUND ["$nobody"]
GET $base/groups/$nobody/apiKeys -> 404 GROUP_NOT_FOUND ["$nobody"]
--- unchanged: $states

=== TEST 29: creation in a project is refused if the organization has 500 keys
--- sql
INSERT INTO apikeys.keys (id, org_id, public_key, secret, redacted, descr, roles)
    SELECT lpad(to_hex(n), 24, '0'), '$org_id',
           translate('z' || lpad(to_hex(n), 7, '0'), '0123456789', 'ghijklmnop'),
           decode(repeat('00', 112), 'hex'), '000000000000', 'key ' || n,
           '{ORG_MEMBER}'
      FROM generate_series(1, 500 - (SELECT count(*) FROM apikeys.keys
                                      WHERE org_id = '$org_id')) n
--- may_log: error
--- as: owner
--- requests
POST $atlas/groups/$first/apiKeys {"desc":"x","roles":["GROUP_READ_ONLY"]}
POST $v2/groups/$first/apiKeys {"desc":"x","roles":["GROUP_READ_ONLY"]}
POST $om/groups/$first/apiKeys {"desc":"x","roles":["GROUP_READ_ONLY"]}
--- answers: 400 MAX_API_KEYS_PER_ORG_EXCEEDED [500,"$org_id"]
--- unchanged: $states

=== TEST 30: PATCH in a project gives a role to a key of the organization
--- may_log: error
--- as: owner
--- requests
PATCH $one {"roles":["GROUP_READ_ONLY"]} -> 200: $org_id ORG_MEMBER $first GROUP_READ_ONLY
--- response_body_filters eval: \&main::roles

=== TEST 31: a key has no role in a project that was deleted
--- sql
DELETE FROM apikeys.projects WHERE id = '$first'
--- may_log: error
--- as: owner
--- requests
PATCH $keys/$one_id {"desc":"x"} -> 200: $org_id ORG_MEMBER
GET $here -> 404 GROUP_NOT_FOUND ["$first"]
DELETE $one -> 404 GROUP_NOT_FOUND ["$first"]
GET $keys/$one_id -> 200: $org_id ORG_MEMBER
--- response_body_filters eval: \&main::roles
