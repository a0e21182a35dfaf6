# apikeys_require: the keys that each line admits.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

locations(<<'END', <<'HTTP');
apikeys_auth basic;

location = /none { empty_gif; }
location = /org { empty_gif; apikeys_require org=$TEST_NGINX_ORG_ID; }
location = /org/arg { empty_gif; apikeys_require org=$arg_v; }
location = /org/short { empty_gif; apikeys_require org=$shortened; }
location = /org/other { empty_gif; apikeys_require org=$TEST_NGINX_OTHER_ID; }
location = /org/unknown {
    empty_gif; apikeys_require org=000000000000000000000000; }
location = /org/own { empty_gif; apikeys_require org=$apikeys_org_id; }
location = /org/decision { empty_gif; apikeys_require org=$apikeys_decision; }

location = /role/owner { empty_gif; apikeys_require role=ORG_OWNER; }
location = /role/reader { empty_gif; apikeys_require role=ORG_READ_ONLY; }
location = /role/either {
    empty_gif; apikeys_require role=ORG_OWNER,ORG_BILLING_ADMIN; }
location = /role/org {
    empty_gif; apikeys_require role=ORG_OWNER org=$TEST_NGINX_ORG_ID; }

location = /project {
    empty_gif; apikeys_require project=$TEST_NGINX_ONE_ID; }
location = /project/arg { empty_gif; apikeys_require project=$arg_v; }
location = /project/short { empty_gif; apikeys_require project=$shortened; }
location = /project/two {
    empty_gif; apikeys_require project=$TEST_NGINX_TWO_ID; }
location = /project/foreign {
    empty_gif; apikeys_require project=$TEST_NGINX_FOREIGN_ID; }
location = /project/unknown {
    empty_gif; apikeys_require project=000000000000000000000000; }
location = /project/mapped { empty_gif; apikeys_require project=$mapped; }
location = /project/owner {
    empty_gif;
    apikeys_require project=$TEST_NGINX_ONE_ID role=GROUP_OWNER; }
location = /project/reader {
    empty_gif;
    apikeys_require project=$TEST_NGINX_ONE_ID role=GROUP_READ_ONLY; }
location = /project/either {
    empty_gif; apikeys_require project=$TEST_NGINX_ONE_ID
                               role=GROUP_READ_ONLY,GROUP_OWNER; }
location = /project/data {
    empty_gif; apikeys_require project=$TEST_NGINX_ONE_ID
                               role=GROUP_DATA_ACCESS_READ_ONLY; }
location = /project/org-owner {
    empty_gif; apikeys_require project=$TEST_NGINX_ONE_ID role=ORG_OWNER; }
location = /project/org-reader {
    empty_gif; apikeys_require project=$TEST_NGINX_ONE_ID
                               role=ORG_READ_ONLY,GROUP_READ_ONLY; }
location = /project/foreign/org-owner {
    empty_gif; apikeys_require project=$TEST_NGINX_FOREIGN_ID
                               role=ORG_READ_ONLY,ORG_OWNER; }
location = /project/of-other {
    empty_gif; apikeys_require project=$TEST_NGINX_ONE_ID
                               org=$TEST_NGINX_OTHER_ID; }
location = /project/of-org {
    empty_gif; apikeys_require org=$TEST_NGINX_ORG_ID
                               project=$TEST_NGINX_ONE_ID role=GROUP_OWNER; }

location = /lines/roles {
    empty_gif; apikeys_require role=ORG_READ_ONLY;
               apikeys_require role=ORG_BILLING_ADMIN; }
location = /lines/org {
    empty_gif; apikeys_require org=$TEST_NGINX_ORG_ID;
               apikeys_require role=ORG_OWNER; }
location = /lines/projects {
    empty_gif; apikeys_require project=$TEST_NGINX_ONE_ID;
               apikeys_require project=$TEST_NGINX_TWO_ID; }

location /named {
    apikeys_require role=ORG_OWNER method=POST,PUT;
    apikeys_require role=ORG_BILLING_ADMIN method=PUT,DELETE;
    apikeys_require role=ORG_READ_ONLY method=GET;
    proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/up;
}
location /other {
    apikeys_require role=ORG_OWNER method=!GET,!PURGE;
    apikeys_require role=ORG_BILLING_ADMIN method=X_Y-Z,PATCH;
    proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/up;
}
location /write {
    apikeys_require role=ORG_OWNER method=!GET;
    proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/up;
}
location /head {
    apikeys_require role=ORG_OWNER method=!HEAD;
    apikeys_require role=ORG_READ_ONLY method=HEAD;
    proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/up;
}
location /up { apikeys_auth off; access_log off; return 200; }
END
map $apikeys_public_key $mapped {
    $TEST_NGINX_VIEWER_PUBLIC $TEST_NGINX_ONE_ID;
    $TEST_NGINX_EDITOR_PUBLIC $TEST_NGINX_TWO_ID;
}
map $TEST_NGINX_ORG_ID $shortened { ~^.(?<rest>.*)$ $rest; }
HTTP

run_tests();

__DATA__

=== TEST 1: the keys of two organizations and three projects exist
--- config: location / { apikeys_auth basic; empty_gif; }
--- keys
owner: ORG_OWNER
member: ORG_MEMBER
reader: ORG_READ_ONLY
both: ORG_READ_ONLY ORG_BILLING_ADMIN
viewer: ORG_MEMBER GROUP_READ_ONLY project=one
editor: ORG_MEMBER GROUP_OWNER GROUP_DATA_ACCESS_READ_ONLY project=one
second: ORG_MEMBER GROUP_OWNER project=two
stranger: ORG_OWNER org=other
guest: ORG_MEMBER GROUP_OWNER org=other project=foreign
--- admitted
GET /basic: both editor guest member owner reader second stranger viewer

=== TEST 2: a location without apikeys_require admits all keys
--- admitted
GET /none: both editor guest member owner reader second stranger viewer

=== TEST 3: org= admits the keys of an organization
--- admitted
GET /org: both editor member owner reader second viewer
GET /org/arg?v=$org_id: both editor member owner reader second viewer
GET /org/other: guest stranger
GET /org/unknown:

=== TEST 4: role= admits the keys of all organizations that have one of the roles
--- admitted
GET /role/owner: owner stranger
GET /role/reader: both reader
GET /role/either: both owner stranger

=== TEST 5: role= with org= admits the keys of an organization that have the role
--- admitted
GET /role/org: owner

=== TEST 6: project= admits the keys of a project and the owners of its organization
--- admitted
GET /project: editor owner viewer
GET /project/arg?v=$one_id: editor owner viewer
GET /project/two: owner second
GET /project/foreign: guest stranger
GET /project/unknown:

=== TEST 7: role= with project= admits the keys that have the role there
--- admitted
GET /project/owner: editor owner
GET /project/reader: viewer
GET /project/either: editor owner viewer
GET /project/data: editor

=== TEST 8: a role of organizations with project= counts in the organization
--- admitted
GET /project/org-owner: owner
GET /project/org-reader: both reader viewer
GET /project/foreign/org-owner: stranger

=== TEST 9: org= with project= admits keys when the project is of the organization
--- admitted
GET /project/of-other:
GET /project/of-org: editor owner

=== TEST 10: several lines admit the keys that each line admits
--- admitted
GET /lines/roles: both
GET /lines/org: owner
GET /lines/projects: owner

=== TEST 11: variables of the key have their values in a line
--- admitted
GET /org/own: both editor guest member owner reader second stranger viewer
GET /project/mapped: viewer
GET /org/decision:

=== TEST 12: a value that is no id of an organization admits no key
--- admitted
GET /org/arg?v=:
GET /org/arg?v=%20:
GET /org/arg?v=$org_ID:
GET /org/short:
GET /org/arg?v=${org_id}0:
GET /org/arg?v=%00$org_id:
GET /org/arg?v=$org_id%00:
GET /org/arg?v=$arg_v:
GET /org/arg?v=ffffffffffffffffffffffff:

=== TEST 13: a value that is no id of a project admits no key
--- admitted
GET /project/arg?v=:
GET /project/arg?v=%20:
GET /project/arg?v=$org_ID:
GET /project/short:
GET /project/arg?v=${org_id}0:
GET /project/arg?v=%00$org_id:
GET /project/arg?v=$org_id%00:
GET /project/arg?v=$arg_v:
GET /project/arg?v=ffffffffffffffffffffffff:

=== TEST 14: lines with method= apply to those methods, and GET includes HEAD
--- admitted
GET,HEAD /named: both reader
POST /named: owner stranger
PUT /named:
DELETE /named: both

=== TEST 15: a method of HTTP that no line names needs no role
--- admitted
PATCH,OPTIONS /named: both editor guest member owner reader second stranger viewer

=== TEST 16: a method that no line names and nginx does not know is refused
--- admitted
PURGE,FOO /named:

=== TEST 17: lines with method=! apply to all methods but those
--- admitted
GET,HEAD,PURGE /other: both editor guest member owner reader second stranger viewer
POST,MOVE,OPTIONS,PROPPATCH /other: owner stranger

=== TEST 18: a method of two lines needs the roles of both
--- admitted
PATCH,X_Y-Z /other:

=== TEST 19: an unknown method is refused where a line names another one
--- admitted
PURGED,FOO /other:

=== TEST 20: a line with method=!GET applies to every method but GET and HEAD
--- admitted
GET,HEAD /write: both editor guest member owner reader second stranger viewer
POST,PUT,PATCH,DELETE,OPTIONS,MOVE,COPY /write: owner stranger
MKCOL,PROPFIND,PROPPATCH,LOCK,UNLOCK,FOO,GETS /write: owner stranger

=== TEST 21: a line with method=!HEAD applies to GET
--- admitted
HEAD /head: both reader
GET /head: owner stranger
FOO /head:
