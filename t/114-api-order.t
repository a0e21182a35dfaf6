# What a request is refused for when several things are wrong at once; and
# each of the earlier reasons by itself: routes, methods, media types
# (docs/compatibility.md D10, D5 and D6).

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

names(orgs => '$base/orgs/$org_id', keys => '$orgs/apiKeys', key => '$keys/$member_id',
    groups => '$base/groups/$project_id', of => '$atlas/orgs/$org_id',
    in => '$atlas/groups/$project_id', wrong_public => '$owner_public',
    wrong_private => 'wrong', nobody => '0123456789abcdef01234567',
    gone => '$base/orgs/$nobody/apiKeys/$nobody', x600 => '/x' x 300,
    huge => 'x' x 1025, type => 'application/vnd.atlas.2023-01-01+json');

# headers NAME, one for each of some values
sub headers { my $name = shift; return [ map { "$name: $_" } @_ ] }

defaults(on => 'atlas v2 om', as => 'owner');
locations('', '', 'client_max_body_size 1k;');
run_tests();

__DATA__

=== TEST 1: the size of a body, the credential, the address, the path and the method are refused in this order
--- keys
owner: ORG_OWNER
member: ORG_MEMBER
shut: ORG_OWNER list=192.0.2.1/32
any: ORG_MEMBER GROUP_READ_ONLY project=project
--- may_log: error
--- more_headers
Accept: x/y
Content-Type: text/plain
--- requests
wrong: PUT $base/nosuch?pretty=x $huge -> REQUEST_TOO_LARGE
wrong: PUT $base/nosuch?pretty=x { -> 401
shut: PUT $base/nosuch?pretty=x { -> IP_ADDRESS_NOT_ON_ACCESS_LIST ["127.0.0.1"]
member: PUT $base/nosuch?pretty=x { -> RESOURCE_NOT_FOUND ["$base/nosuch"]
member: PUT $base/orgs/X/apiKeys/$nobody?pretty=x { -> METHOD_NOT_ALLOWED ["PUT"]

=== TEST 2: v2 refuses what is not accepted after the method and before the type of the body
--- on: v2
--- as: member
--- more_headers
Accept: x/y
Content-Type: text/plain
--- requests
PATCH $base/orgs/X/apiKeys/$nobody?pretty=x { -> NOT_ACCEPTABLE

=== TEST 3: the type of the body is refused before the path
--- as: member
--- more_headers
Content-Type: text/plain
--- requests
PATCH $base/orgs/X/apiKeys/$nobody?pretty=x { -> UNSUPPORTED_MEDIA_TYPE ["text/plain"]

=== TEST 4: an id, an argument, a parent, a role, a key and the body are refused in this order
--- requests
member: PATCH $base/orgs/X/apiKeys/$nobody?pretty=x {
    -> PATH_PARAM_PARSE_ERROR ["$base/orgs/X/apiKeys/$nobody"]
member: PATCH $gone?pretty=x { -> INVALID_QUERY_PARAMETER ["pretty"]
member: PATCH $gone { -> ORG_NOT_FOUND ["$nobody"]
member: PATCH $keys/$nobody { -> USER_UNAUTHORIZED
owner: PATCH $keys/$nobody { -> API_KEY_NOT_FOUND ["$nobody"]
owner: PATCH $key { -> MALFORMED_JSON

=== TEST 5: a project as the parent is refused before a role in it
--- as: member
--- requests
PATCH $base/groups/$nobody/apiKeys/$nobody { -> GROUP_NOT_FOUND ["$nobody"]
PATCH $groups/apiKeys/$nobody { -> USER_UNAUTHORIZED

=== TEST 6: an address in the path is refused before arguments, and sought after the key
--- requests
member: GET $gone/accessList/10?pretty=x -> INVALID_IP_ADDRESS_OR_CIDR_NOTATION ["10"]
member: GET $gone/accessList/10.0.0.1?pretty=x -> INVALID_QUERY_PARAMETER ["pretty"]
owner: GET $keys/$nobody/accessList/10.0.0.1 -> API_KEY_NOT_FOUND ["$nobody"]
owner: GET $key/accessList/10.0.0.1 -> API_KEY_ACCESS_LIST_NOT_FOUND ["10.0.0.1","$member_id"]

=== TEST 7: a page is refused before the parent
--- on: atlas
--- requests
GET $base/orgs/$nobody/apiKeys?pageNum=-1 -> INVALID_QUERY_PARAMETER ["pageNum"]

=== TEST 8: a path that no resource has is not found, at the base
--- requests
GET ${base}x -> RESOURCE_NOT_FOUND ["$uri"]
GET $base/{nosuch,org,orgsx,orgs/x/y,ORGS/$org_id} -> RESOURCE_NOT_FOUND ["$uri"]
GET $base/{groups/byName/a/b,users/$nobody,admin/users,unauth/users} -> RESOURCE_NOT_FOUND ["$uri"]
GET $base$x600 -> RESOURCE_NOT_FOUND ["$uri"]

=== TEST 9: a path that no resource has is not found, below an organization or a project
--- requests
GET $orgs/{apikeys,user,users/$nobody,aiModelApiKeys,serviceAccounts}
GET $key/{x,accessLists,accessList/1.2.3.4/5/6}
GET $groups/{user,apiKeys/a/b,aiModelApiKeys,serviceAccounts,limits/x}
--- answers: RESOURCE_NOT_FOUND ["$uri"]

=== TEST 10: an access list is a resource by its name in any case
--- requests
GET $key/{accesslist,ACCESSLIST,accessList} -> 200
--- contains: "totalCount":0

=== TEST 11: v1.0 and Ops Manager have whitelists
--- on: atlas om
--- requests
GET $key/{whitelist,whiteList} -> 200
--- contains: "totalCount":0

=== TEST 12: v2 has no whitelists
--- on: v2
--- requests
GET $key/{whitelist,whiteList} -> RESOURCE_NOT_FOUND ["$uri"]

=== TEST 13: the root resource has five spellings
--- requests
GET $base{,/,?,/?a=b,//} -> 200
--- contains: "publicKey":"$owner_public"

=== TEST 14: resources that are only read allow GET and HEAD
--- on: atlas
--- requests
{POST,PATCH,DELETE,PUT,OPTIONS,PROPFIND,NOSUCH} $atlas/{,groups/byName/x}
{POST,PATCH,DELETE,PUT,OPTIONS,PROPFIND,NOSUCH} $of/{groups,users,teams,invites}
{POST,PATCH,DELETE,PUT,OPTIONS,PROPFIND,NOSUCH} $in/{users,clusters,invites,limits,ipAddresses,managedSlowMs}
--- answers: METHOD_NOT_ALLOWED ["$method"]
--- response_headers
Allow: GET, HEAD

=== TEST 15: lists whose objects the API creates allow GET, HEAD and POST
--- on: atlas
--- requests
{PATCH,DELETE,PUT,OPTIONS,PROPFIND,NOSUCH} {$atlas/{orgs,groups},$of/{apiKeys,apiKeys/$member_id/accessList},$in/{teams,apiKeys}}
--- answers: METHOD_NOT_ALLOWED ["$method"]
--- response_headers
Allow: GET, HEAD, POST

=== TEST 16: organizations, projects and keys allow GET, HEAD, PATCH and DELETE
--- on: atlas
--- requests
{POST,PUT,OPTIONS,PROPFIND,NOSUCH} {$of,$of/apiKeys/$member_id,$in}
--- answers: METHOD_NOT_ALLOWED ["$method"]
--- response_headers
Allow: GET, HEAD, PATCH, DELETE

=== TEST 17: settings allow GET, HEAD and PATCH, an entry of an access list GET, HEAD and DELETE
--- on: atlas
--- requests
{POST,DELETE,PUT,OPTIONS,PROPFIND,NOSUCH} {$of,$in}/settings
{POST,PATCH,PUT,OPTIONS,PROPFIND,NOSUCH} $of/apiKeys/$member_id/accessList/10.0.0.1
--- answers: METHOD_NOT_ALLOWED ["$method"]
--- response_headers eval
[ ('Allow: GET, HEAD, PATCH') x 12, ('Allow: GET, HEAD, DELETE') x 6 ]

=== TEST 18: a team of a project allows PATCH and DELETE, a key of a project POST, PATCH and DELETE
--- on: atlas
--- requests
{GET,POST,PUT,OPTIONS,PROPFIND,NOSUCH} $in/teams/$nobody
{GET,PUT,OPTIONS,PROPFIND,NOSUCH} $in/apiKeys/$member_id
--- answers: METHOD_NOT_ALLOWED ["$method"]
--- response_headers eval
[ ('Allow: PATCH, DELETE') x 6, ('Allow: POST, PATCH, DELETE') x 5 ]

=== TEST 19: managedSlowMs is enabled by POST and disabled by DELETE alone
--- on: atlas
--- requests
{GET,PATCH,DELETE,PUT,OPTIONS,PROPFIND,NOSUCH} $in/managedSlowMs/enable
{GET,POST,PATCH,PUT,OPTIONS,PROPFIND,NOSUCH} $in/managedSlowMs/disable
--- answers: METHOD_NOT_ALLOWED ["$method"]
--- response_headers eval
[ ('Allow: POST') x 7, ('Allow: DELETE') x 7 ]

=== TEST 20: HEAD of the root resource and of a list has the headers of GET
--- on: atlas
--- requests
{GET,HEAD} {$base/,$keys} -> 200
--- response_headers eval
[ map { "Content-Type: application/json\n!X-Error-Code\nContent-Length: $_" } (463, 1499) x 2 ]

=== TEST 21: HEAD of no resource has the headers of GET
--- on: atlas
--- requests
{GET,HEAD} $base/nosuch -> 404
--- response_headers
Content-Type: application/json
Content-Length: 163
X-Error-Code: RESOURCE_NOT_FOUND

=== TEST 22: HEAD without a credential is challenged
--- on: atlas
--- requests
none: HEAD $base/ -> 401

=== TEST 23: v2 takes its type of any version since the first one, with parameters, in a list, in any case
--- on: v2
--- requests eval: "GET \$orgs\n" x 20
--- more_headers eval
::headers(Accept => '$type', 'application/vnd.atlas.2025-03-12+json',
'application/vnd.atlas.2023-02-01+json', 'application/vnd.atlas.2024-02-29+json',
'application/vnd.atlas.2400-02-29+json', 'application/vnd.atlas.9999-12-31+json',
'$type;q=0.5', '$type; charset=utf-8', ' $type ', 'text/html, $type',
'*/*, $type;q=0.1', '$type, text/html', 'APPLICATION/VND.ATLAS.2023-01-01+JSON',
'application/vnd.atlas.2022-01-01+json,$type',
'application/vnd.atlas.2025-03-12+json;q=0, $type', '$type;q=1.000',
'$type ;q=0.001', ',$type,', "text/html\nAccept: \$type", 'image/*,$type')
--- answers: 200
--- response_headers
Content-Type: application/vnd.atlas.2023-01-01+json;charset=utf-8

=== TEST 24: v2 refuses types that are not its own
--- on: v2
--- requests eval: "GET \$orgs\n" x 10
--- more_headers eval
::headers(Accept => '', '*/*', 'application/*', 'application/json',
'application/vnd.atlas.preview+json', 'application/vnd.atlas.+json',
'application/vnd.atlas+json', 'application/vnd.atlas.2023-01-01',
'application/vnd.atlas.2023-01-01+yaml', 'xapplication/vnd.atlas.2023-01-01+json')
--- answers: NOT_ACCEPTABLE

=== TEST 25: v2 refuses versions before the first one, and those that are no date
--- on: v2
--- requests eval: "GET \$orgs\n" x 12
--- more_headers eval
::headers(Accept => map { "application/vnd.atlas.$_+json" } qw( 2022-12-31 2023-02-29
2100-02-29 2023-13-01 2023-00-01 2023-01-00 2023-04-31 2023-1-1 20230101 2023-01-01.1
12023-01-01 ), '2023-01-01 ')
--- answers: NOT_ACCEPTABLE

=== TEST 26: v2 refuses its type with other letters behind it, or with the quality zero
--- on: v2
--- requests eval: "GET \$orgs\n" x 6
--- more_headers eval
::headers(Accept => map { "\$type$_" } qw( x ;q=0 ;q=0.000 ;Q=0.0 ;a=b;q=0 ), '; q=0')
--- answers: NOT_ACCEPTABLE

=== TEST 27: v2 refuses a request without the header Accept
--- on: v2
--- request: GET $orgs
--- more_headers: Authorization: Bearer $TEST_NGINX_OPERATOR_TOKEN
--- answers: NOT_ACCEPTABLE

=== TEST 28: the root resource of v2 needs no header Accept
--- on: v2
--- request: GET $base/
--- more_headers: Authorization: Bearer $TEST_NGINX_OPERATOR_TOKEN
--- error_code: 200
--- response_body_like: ^\{"apiKey":null,

=== TEST 29: the root resource of v2 has no version
--- on: v2
--- requests eval: "GET \$base/\n" x 3
--- more_headers eval: ::headers(Accept => '*/*', 'application/json', '$type')
--- answers: 200
--- contains: "publicKey":"$owner_public"

=== TEST 30: v1.0 and Ops Manager answer with JSON whatever is accepted
--- on: atlas om
--- requests eval: "GET \$base/orgs\n" x 2
--- more_headers eval: [ 'Accept: image/png', '' ]
--- answers: 200
--- response_headers
Content-Type: application/json

=== TEST 31: a body is JSON or a version of it, with parameters, in any case
--- requests eval: qq(PATCH \$key {"desc":"x"}\n) x 6
--- more_headers eval
::headers('Content-Type' => 'application/json', 'application/json; charset=utf-8',
'APPLICATION/JSON', '$type', 'application/vnd.atlas.2024-08-05+json;x=y',
'application/json ;charset=latin1')
--- answers: 200
--- contains: {"desc":"x",

=== TEST 32: a body of no type is JSON
--- request
PATCH $key
{"desc":"untyped"}
--- on: atlas v2 om
--- more_headers
Authorization: Bearer $TEST_NGINX_OPERATOR_TOKEN
Accept: $type
--- error_code: 200
--- response_body_like: ^\{"desc":"untyped",

=== TEST 33: a body of another type is refused, and the error names application/json
--- requests
PATCH $key {"desc":"y"} -> UNSUPPORTED_MEDIA_TYPE ["text/plain"]
PATCH $key {"desc":"y"} -> UNSUPPORTED_MEDIA_TYPE ["application/xml"]
PATCH $key {"desc":"y"} -> UNSUPPORTED_MEDIA_TYPE ["application/jsonx"]
PATCH $key {"desc":"y"} -> UNSUPPORTED_MEDIA_TYPE ["application/json-patch+json"]
PATCH $key {"desc":"y"} -> UNSUPPORTED_MEDIA_TYPE ["application/x-www-form-urlencoded"]
PATCH $key {"desc":"y"} -> UNSUPPORTED_MEDIA_TYPE ["multipart/form-data; boundary=a"]
PATCH $key {"desc":"y"} -> UNSUPPORTED_MEDIA_TYPE ["json"]
PATCH $key {"desc":"y"} -> UNSUPPORTED_MEDIA_TYPE [";"]
PATCH $key {"desc":"y"} -> UNSUPPORTED_MEDIA_TYPE [""]
--- more_headers eval
::headers('Content-Type' => 'text/plain', 'application/xml', 'application/jsonx',
'application/json-patch+json', 'application/x-www-form-urlencoded',
'multipart/form-data; boundary=a', 'json', ';', ' ')
--- contains: application/json

=== TEST 34: a request without a body may have any type
--- requests
GET $key -> 200
--- more_headers
Content-Type: text/plain
--- contains: {"desc":"untyped",
