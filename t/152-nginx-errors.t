# Errors that nginx itself raises in a location of the API: the document has
# the status of the response, whatever the status is.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

my @statuses = qw( 400 402 403 404 405 406 409 410 411 412 413 414 415 416 418
    421 429 494 500 501 502 503 504 505 507 599 );

locations(join("\n",
    'location /once { limit_req zone=once; limit_req_status 429;
                      apikeys_api atlas_v1; }',
    map { "location /$_ { return $_; apikeys_api atlas_v1; }" } @statuses),
    'limit_req_zone once zone=once:1m rate=1r/m;');
run_tests();

__DATA__

=== TEST 1: what limit_req refuses with 429 is the document of Atlas' code
--- as: none
--- requests
GET /once/orgs -> 401
GET /once/orgs -> RATE_LIMITED ["$uri"]
GET /once/nosuch?envelope=true -> 429 {"status":429,"content":{"detail":"Rate limit exceeded for /once/nosuch.","error":429,"errorCode":"RATE_LIMITED","parameters":["/once/nosuch"],"reason":"Too Many Requests"}}
--- may_log: error

=== TEST 2: the document of each status has this status
--- as: none
--- requests
GET /400/orgs -> 400 BAD_REQUEST
GET /402/orgs -> 402 BAD_REQUEST
GET /403/orgs -> 403 ACCESS_FORBIDDEN
GET /404/orgs -> 404 RESOURCE_NOT_FOUND ["$uri"]
GET /405/orgs -> 405 METHOD_NOT_ALLOWED ["$method"]
GET /406/orgs -> 406 NOT_ACCEPTABLE
GET /409/orgs -> 409 BAD_REQUEST
GET /410/orgs -> 410 RESOURCE_NOT_FOUND ["$uri"]
GET /411/orgs -> 411 BAD_REQUEST
GET /412/orgs -> 412 BAD_REQUEST
GET /413/orgs -> 413 REQUEST_TOO_LARGE
GET /414/orgs -> 414 BAD_REQUEST
GET /415/orgs -> 415 BAD_REQUEST
GET /416/orgs -> 416 BAD_REQUEST
GET /418/orgs -> 418 BAD_REQUEST
GET /421/orgs -> 421 BAD_REQUEST
GET /429/orgs -> 429 RATE_LIMITED ["$uri"]
GET /494/orgs -> 400 BAD_REQUEST
GET /500/orgs -> 500 UNEXPECTED_ERROR
GET /501/orgs -> 501 UNEXPECTED_ERROR
GET /502/orgs -> 502 SERVICE_UNAVAILABLE
GET /503/orgs -> 503 SERVICE_UNAVAILABLE
GET /504/orgs -> 504 SERVICE_UNAVAILABLE
GET /505/orgs -> 505 UNEXPECTED_ERROR
GET /507/orgs -> 507 UNEXPECTED_ERROR
GET /599/orgs -> 599 UNEXPECTED_ERROR
