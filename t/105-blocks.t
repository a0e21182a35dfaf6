# Single requests as blocks of Test::Nginx: what is answered without a key,
# to the operator, and to credentials that are none.  Whole exchanges of
# digest are in 100, as a block cannot answer the nonce of its own 401.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

run_tests();

__DATA__

=== TEST 1: a request without a credential is challenged
--- request
GET /api/atlas/v1.0/orgs
--- error_code: 401
--- response_headers_like
Content-Type: application/json
Content-Length: 142
WWW-Authenticate: Digest realm="MMS Public API", domain="", nonce="[A-Za-z0-9+/]{32}", algorithm=MD5, qop="auth", stale=false
--- response_body chomp
{
  "error" : 401,
  "reason" : "Unauthorized",
  "detail" : "You are not authorized for this resource.",
  "errorCode" : "UNEXPECTED_ERROR"
}

=== TEST 2: a digest header without a response authenticates nobody
--- request
GET /api/atlas/v1.0/orgs
--- more_headers
Authorization: Digest username="abcdefgh", realm="MMS Public API", nonce="", uri="/api/atlas/v1.0/orgs"
--- error_code: 401

=== TEST 3: a scheme that the location does not take is refused
--- request
GET /api/atlas/v1.0/orgs
--- more_headers
Authorization: Basic YWJjZGVmZ2g6YWJjZGVmZ2g=
--- error_code: 401

=== TEST 4: the operator's token shows that there is no key
--- request
GET /api/atlas/v1.0/
--- more_headers
Authorization: Bearer $TEST_NGINX_OPERATOR_TOKEN
--- error_code: 200
--- response_body_like: ^\{"apiKey":null,"appName":"MongoDB Atlas",

=== TEST 5: another token is an ordinary refusal
--- request
GET /api/atlas/v1.0/
--- more_headers
Authorization: Bearer 0123456789abcdef0123456789abcdef
--- error_code: 401
--- response_headers_like
WWW-Authenticate: Digest realm="MMS Public API", .*, stale=false

=== TEST 6: an unknown route is the JSON document
--- request
GET /api/atlas/v1.0/nosuch
--- more_headers
Authorization: Bearer $TEST_NGINX_OPERATOR_TOKEN
--- error_code: 404
--- response_headers
X-Error-Code: RESOURCE_NOT_FOUND
--- response_body chomp
{"detail":"Cannot find resource /api/atlas/v1.0/nosuch.","error":404,"errorCode":"RESOURCE_NOT_FOUND","parameters":["/api/atlas/v1.0/nosuch"],"reason":"Not Found"}

=== TEST 7: a method that the resource lacks names those that it has
--- request
PUT /api/public/v1.0/orgs
--- more_headers
Authorization: Bearer $TEST_NGINX_OPERATOR_TOKEN
--- error_code: 405
--- response_headers
Allow: GET, HEAD, POST
X-Error-Code: METHOD_NOT_ALLOWED

=== TEST 8: v2 asks for a version
--- request
GET /api/atlas/v2/orgs
--- more_headers
Authorization: Bearer $TEST_NGINX_OPERATOR_TOKEN
Accept: application/json
--- error_code: 406
--- response_headers
X-Error-Code: NOT_ACCEPTABLE

=== TEST 9: a body that is no JSON by its type is refused
--- request
POST /api/atlas/v1.0/orgs
name=x
--- more_headers
Authorization: Bearer $TEST_NGINX_OPERATOR_TOKEN
Content-Type: application/x-www-form-urlencoded
--- error_code: 415
--- response_headers
X-Error-Code: UNSUPPORTED_MEDIA_TYPE

=== TEST 10: a member twice makes JSON malformed
--- request
POST /api/atlas/v1.0/orgs
{"name":"one","name":"two"}
--- more_headers
Authorization: Bearer $TEST_NGINX_OPERATOR_TOKEN
Content-Type: application/json
--- error_code: 400
--- response_headers
X-Error-Code: MALFORMED_JSON

=== TEST 11: an unknown attribute is named, prettily where that was asked for
--- request
POST /api/atlas/v1.0/orgs?pretty=true
{"name":"one","nosuch":1}
--- more_headers
Authorization: Bearer $TEST_NGINX_OPERATOR_TOKEN
Content-Type: application/json
--- error_code: 400
--- response_body chomp
{
  "detail" : "Invalid attribute nosuch specified.",
  "error" : 400,
  "errorCode" : "INVALID_ATTRIBUTE",
  "parameters" : [ "nosuch" ],
  "reason" : "Bad Request"
}

=== TEST 12: the operator makes an organization
--- request
POST /api/atlas/v1.0/orgs
{"name":"one"}
--- more_headers
Authorization: Bearer $TEST_NGINX_OPERATOR_TOKEN
Content-Type: application/json
--- error_code: 201
--- response_body_like: ^\{"federationSettingsId":null,"orgOwnerId":null,"organization":\{"id":"[0-9a-f]{24}","isDeleted":false,.*"name":"one","skipDefaultAlertsSettings":false\}\}$

=== TEST 13: an API needs a location that is its base
--- config
location ~ ^/api { apikeys_api atlas_v1; }
--- must_die
--- error_log
must be a prefix location

=== TEST 14: a header credential without a colon is refused
--- config
location /protected {
    apikeys_auth header=X-Api-Key;
    empty_gif;
}
--- request
GET /protected
--- more_headers
X-Api-Key: abcdefgh
--- error_code: 401
