# The native API: its form, its organizations and its projects.  Rights are in
# 116, the order of checks in 114, and what no request may have in 150.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

my ($version) = do { local @ARGV = 'debian/changelog'; <> } =~ /\((.*?)[-)]/;

names(
    orgs => '$base/orgs', org => '$orgs/$org_id', projects => '$base/projects',
    nobody => '0123456789abcdef01234567', version => $version,
    time => '~20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-9:]{8}Z', any_id => '~[0-9a-f]{24}',
    any_uuid => '~[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}',
    states => 'SELECT s::text FROM apikeys.org_states s UNION ALL
               SELECT s::text FROM apikeys.project_states s',
);
defaults(on => 'native', as => 'owner');
run_tests();

__DATA__

=== TEST 1: an organization
--- keys
owner: ORG_OWNER
member: ORG_MEMBER GROUP_READ_ONLY
other: ORG_OWNER org=away
listed: ORG_MEMBER list=127.0.0.0/8,192.0.2.1/32
global: GLOBAL_OWNER global
reader: GLOBAL_READ_ONLY global
--- requests
GET $org
--- json
{"id":"$org_id","name":"org","createdAt":"$time",
 "links":[{"href":"http://localhost$org","rel":"self"}]}

=== TEST 2: the list of organizations has those that the caller sees
--- requests
GET $orgs
--- json
{"links":[{"href":"http://localhost$orgs?pageNum=1&itemsPerPage=100","rel":"self"}],
 "results":[{"id":"$org_id","name":"org","createdAt":"$time",
             "links":[{"href":"http://localhost$org","rel":"self"}]}],
 "totalCount":1}

=== TEST 3: POST makes an organization, whose key is null without one
--- as: operator
--- requests
POST $orgs {"name":"made"}
--- keep: made
--- error_code: 201
--- json
{"apiKey":null,"federationSettingsId":null,"orgOwnerId":null,
 "organization":{"id":"$made_id","name":"made","createdAt":"$time",
                 "links":[{"href":"http://localhost$orgs/$made_id","rel":"self"}]}}
--- response_headers_like
Location: http://localhost/api/v1/orgs/[0-9a-f]{24}

=== TEST 4: POST makes an organization with its first key
--- as: operator
--- requests
POST $orgs {"name":"keyed","apiKey":{"desc":"first","roles":["ORG_OWNER"],"accessList":[{"ipAddress":"127.0.0.1"}]}}
--- keep: keyed
--- error_code: 201
--- json
{"apiKey":{"id":"$keyed_key","orgId":"$keyed_id","publicKey":"$keyed_public",
           "privateKey":"$keyed_private","token":"${keyed_public}_$keyed_private",
           "desc":"first","createdAt":"$time","disabled":false,"expiresAt":null,
           "roles":[{"orgId":"$keyed_id","roleName":"ORG_OWNER"}],
           "links":[{"href":"http://localhost$orgs/$keyed_id/apiKeys/$keyed_key","rel":"self"}]},
 "federationSettingsId":null,"orgOwnerId":null,
 "organization":{"id":"$keyed_id","name":"keyed","createdAt":"$time",
                 "links":[{"href":"http://localhost$orgs/$keyed_id","rel":"self"}]}}
--- query
SELECT cidr FROM apikeys.access_list WHERE key_id = '$keyed_key'
--- rows
127.0.0.1/32

=== TEST 5: the first key of an organization has at most the entries of the quota, or nothing is made
--- sql
SELECT apikeys.set_quota(NULL, p_entries => 1);
--- as: operator
--- requests
POST $orgs {"name":"full","apiKey":{"desc":"x","roles":["ORG_OWNER"],"accessList":[{"ipAddress":"127.0.0.1"},{"ipAddress":"127.0.0.2"}]}}
--- answers
400 ... "errorCode":"MAX_ACCESS_LIST_ENTRIES_EXCEEDED"
--- query
SELECT count(*) FROM apikeys.orgs WHERE name = 'full'
--- rows
0

=== TEST 6: PATCH renames an organization
--- sql
SELECT apikeys.set_quota(NULL, p_entries => 50000);
--- as: keyed
--- requests
PATCH $orgs/$keyed_id {"name":"renamed"}
--- json
{"id":"$keyed_id","name":"renamed","createdAt":"$keyed_created",
 "links":[{"href":"http://localhost$orgs/$keyed_id","rel":"self"}]}

=== TEST 7: DELETE of an organization answers without content
--- requests
operator: DELETE $orgs/$made_id -> 204
keyed: DELETE $orgs/$keyed_id -> 204
operator: DELETE $orgs/$keyed_id -> ORG_NOT_FOUND ["$keyed_id"]
owner: DELETE $org -> ORG_NOT_EMPTY

=== TEST 8: an attribute that an organization does not have, that is read-only, of a wrong type, or absent is refused
--- requests
operator: POST $orgs {"name":"x","nosuch":1} -> INVALID_ATTRIBUTE ["nosuch"]
operator: POST $orgs {"name":"x","skipDefaultAlertsSettings":true} -> INVALID_ATTRIBUTE ["skipDefaultAlertsSettings"]
operator: POST $orgs {"name":"x","orgOwnerId":null} -> INVALID_ATTRIBUTE ["orgOwnerId"]
operator: POST $orgs {"name":"x","apiKey":[]} -> INVALID_JSON_ATTRIBUTE ["apiKey"]
operator: POST $orgs {} -> INVALID_JSON_ATTRIBUTE ["name"]
owner: PATCH $org {"id":"$org_id"} -> ATTRIBUTE_READ_ONLY ["id"]
owner: PATCH $org {"createdAt":"2026-01-01T00:00:00Z"} -> ATTRIBUTE_READ_ONLY ["createdAt"]
owner: PATCH $org {"links":[]} -> ATTRIBUTE_READ_ONLY ["links"]
owner: PATCH $org {"name":1} -> INVALID_JSON_ATTRIBUTE ["name"]
owner: PATCH $org {"name":null} -> MISSING_ATTRIBUTE ["name"]
owner: PATCH $org {} -> MISSING_ATTRIBUTE ["name"]
owner: PATCH $org {"name":""} -> INVALID_ATTRIBUTE ["name"]
owner: PATCH $org {"apiKey":{}} -> INVALID_ATTRIBUTE ["apiKey"]
--- unchanged: $states

=== TEST 9: the settings of an organization
--- requests
GET $org/settings
PATCH $org/settings {"apiAccessListRequired":true}
GET $org/settings
PATCH $org/settings {"apiAccessListRequired":false}
--- may_log: error
--- as
owner
owner
listed
operator
--- json eval
[ map { qq({"apiAccessListRequired":$_}) } qw( false true true false ) ]

=== TEST 10: other settings, and none, are refused
--- requests
PATCH $org/settings {"genAIFeaturesEnabled":true} -> INVALID_ATTRIBUTE ["genAIFeaturesEnabled"]
PATCH $org/settings {"apiAccessListRequired":"yes"} -> INVALID_JSON_ATTRIBUTE ["apiAccessListRequired"]
PATCH $org/settings {"apiAccessListRequired":null} -> MISSING_ATTRIBUTE ["apiAccessListRequired"]
PATCH $org/settings {} -> MISSING_ATTRIBUTE ["apiAccessListRequired"]
PATCH $org/settings [] -> INVALID_JSON
--- unchanged: $states

=== TEST 11: POST makes a project and tells its location
--- requests
POST $projects {"name":"new","orgId":"$org_id"}
--- keep: new
--- error_code: 201
--- json
{"id":"$new_id","orgId":"$org_id","name":"new","createdAt":"$time",
 "links":[{"href":"http://localhost$projects/$new_id","rel":"self"}]}
--- response_headers_like
Location: http://localhost/api/v1/projects/[0-9a-f]{24}

=== TEST 12: GET and PATCH of a project
--- requests
GET $projects/$new_id
PATCH $projects/$new_id {"name":"later"}
--- json eval
[ map { qq({"id":"\$new_id","orgId":"\$org_id","name":"$_","createdAt":"\$new_created",)
    . q("links":[{"href":"http://localhost$projects/$new_id","rel":"self"}]}) } qw( new later ) ]

=== TEST 13: the lists of projects have pages
--- requests
GET $projects?itemsPerPage=1
GET $org/projects?itemsPerPage=1&pageNum=2&includeCount=false
--- json eval
[ q({"links":[{"href":"http://localhost$projects?pageNum=1&itemsPerPage=1","rel":"self"},
              {"href":"http://localhost$projects?itemsPerPage=1&pageNum=2","rel":"next"}],
     "results":[{"id":"$new_id","orgId":"$org_id","name":"later","createdAt":"$new_created",
                 "links":[{"href":"http://localhost$projects/$new_id","rel":"self"}]}],
     "totalCount":2}),
  q({"links":[{"href":"http://localhost$org/projects?includeCount=false&itemsPerPage=1&pageNum=1","rel":"previous"},
              {"href":"http://localhost$org/projects?includeCount=false&pageNum=2&itemsPerPage=1","rel":"self"}],
     "results":[{"id":"$project_id","orgId":"$org_id","name":"project","createdAt":"$time",
                 "links":[{"href":"http://localhost$projects/$project_id","rel":"self"}]}]}) ]

=== TEST 14: a key sees the projects in which it has a role
--- as: member
--- requests
GET $projects
GET $org/projects
--- answers: 200 ... "totalCount":1
--- contains: "results":[{"id":"$project_id",

=== TEST 15: an attribute that a project does not have, that is read-only, of a wrong type, or absent is refused
--- requests
POST $projects {"name":"x","orgId":"$org_id","tags":[]} -> INVALID_ATTRIBUTE ["tags"]
POST $projects {"name":"x","orgId":"$org_id","id":"$nobody"} -> ATTRIBUTE_READ_ONLY ["id"]
POST $projects {"name":"x"} -> INVALID_JSON_ATTRIBUTE ["orgId"]
POST $projects {"orgId":"$org_id"} -> INVALID_JSON_ATTRIBUTE ["name"]
POST $projects {"name":"x","orgId":"$away_id"} -> ORG_NOT_FOUND ["$away_id"]
POST $projects {"name":"later","orgId":"$org_id"} -> GROUP_ALREADY_EXISTS ["later"]
PATCH $projects/$new_id {"name":"project"} -> GROUP_ALREADY_EXISTS ["project"]
PATCH $projects/$new_id {"name":"\n"} -> INVALID_GROUP_NAME ["\n"]
PATCH $projects/$new_id {"withDefaultAlertsSettings":true} -> INVALID_ATTRIBUTE ["withDefaultAlertsSettings"]
PATCH $projects/$new_id {"orgId":"$org_id"} -> ATTRIBUTE_READ_ONLY ["orgId"]
PATCH $projects/$new_id {"createdAt":"x"} -> ATTRIBUTE_READ_ONLY ["createdAt"]
PATCH $projects/$new_id {} -> MISSING_ATTRIBUTE ["name"]
PATCH $projects/$nobody {"name":"x"} -> GROUP_NOT_FOUND ["$nobody"]
--- unchanged: $states

=== TEST 16: DELETE of a project answers without content
--- requests
DELETE $projects/$new_id -> 204
DELETE $projects/$new_id -> GROUP_NOT_FOUND ["$new_id"]

=== TEST 17: the root resource shows the calling key, its address and the entry that admits it
--- as: listed
--- requests
GET $base
GET $base/
--- json
{"apiKey":{"id":"$listed_id","orgId":"$org_id","publicKey":"$listed_public",
           "desc":"listed","createdAt":"$time","disabled":false,"expiresAt":null,
           "roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"}],
           "links":[{"href":"http://localhost$org/apiKeys/$listed_id","rel":"self"}]},
 "address":"127.0.0.1","entry":"127.0.0.0/8","node":null,
 "replica":{"complete":true,"ageMs":"~#[0-9]+"},"version":null}

=== TEST 18: a key without an access list is admitted by no entry
--- as: member
--- requests
GET $base
--- answers: 200
--- contains: "address":"127.0.0.1","entry":null,"node":null,

=== TEST 19: the operator has no key, and sees the node and the version
--- as: operator
--- requests
GET $base
--- answers
200 ... {"apiKey":null,"address":"127.0.0.1","entry":null,"node":"
--- contains: "version":"$version"}

=== TEST 20: a global key has no organization and no resource here
--- as: reader
--- requests
GET $base
--- answers
200 ... {"apiKey":{"id":"$reader_id","orgId":null,"publicKey":"$reader_public","desc":"reader","createdAt":"
--- contains: "roles":[{"roleName":"GLOBAL_READ_ONLY"}],"links":[]},"address":"127.0.0.1","entry":null,"node":"

=== TEST 21: Accept is not looked at, and the answer is plain JSON
--- more_headers
Accept: text/html
--- requests
GET $org
--- response_headers
Content-Type: application/json

=== TEST 22: the type of a body is application/json, or absent
--- more_headers eval
[ map { "Content-Type: $_" } 'application/vnd.atlas.2023-01-01+json', 'text/plain',
    'application/json; charset=utf-8', 'Application/JSON' ]
--- requests
PATCH $org {"name":"org"}
PATCH $org {"name":"org"}
PATCH $org {"name":"org"}
PATCH $org {"name":"org"}
--- answers
UNSUPPORTED_MEDIA_TYPE ["application/vnd.atlas.2023-01-01+json"]
UNSUPPORTED_MEDIA_TYPE ["text/plain"]
200
200

=== TEST 23: envelope is an unknown argument, which links keep
--- requests
GET $org?envelope=true -> 200 ... {"id":"$org_id",
GET $orgs?envelope=x -> 200 ... $orgs?envelope=x&pageNum=1&itemsPerPage=100"
GET $base/nosuch?envelope=true -> RESOURCE_NOT_FOUND ["$base/nosuch"]

=== TEST 24: pretty
--- requests
GET $org/settings?pretty=true
--- response_body chomp
{
  "apiAccessListRequired" : false
}

=== TEST 25: the paths of other bases do not exist here, and those of this one not there
--- requests
GET $base/groups -> RESOURCE_NOT_FOUND ["$base/groups"]
GET $org/groups -> RESOURCE_NOT_FOUND ["$org/groups"]
GET $org/users -> RESOURCE_NOT_FOUND ["$org/users"]
GET $base/projects/byName/x -> RESOURCE_NOT_FOUND ["$base/projects/byName/x"]
GET $base/eventTypes -> RESOURCE_NOT_FOUND ["$base/eventTypes"]
GET $base/admin/apiKeys -> RESOURCE_NOT_FOUND ["$base/admin/apiKeys"]
GET $org/apiKeys/$member_id/whitelist -> RESOURCE_NOT_FOUND ["$org/apiKeys/$member_id/whitelist"]
GET $atlas/projects -> RESOURCE_NOT_FOUND ["$atlas/projects"]
GET $v2/projects -> RESOURCE_NOT_FOUND ["$v2/projects"]
GET $om/orgs/$org_id/projects -> RESOURCE_NOT_FOUND ["$om/orgs/$org_id/projects"]

=== TEST 26: another organization's, and no organization or project
--- requests
GET $orgs/$away_id -> ORG_NOT_FOUND ["$away_id"]
GET $orgs/$nobody -> ORG_NOT_FOUND ["$nobody"]
GET $projects/$nobody -> GROUP_NOT_FOUND ["$nobody"]
GET $orgs/xyz -> PATH_PARAM_PARSE_ERROR ["$orgs/xyz"]
PUT $org {} -> METHOD_NOT_ALLOWED ["PUT"]
