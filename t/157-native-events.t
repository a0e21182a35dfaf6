# Events on the native API.  Which change makes which event is in 144, as are
# types, ranges of time and pages.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

names(
    org => '$base/orgs/$org_id', keys => '$org/apiKeys',
    events => '$org/events', project => '$base/projects/$project_id',
    of_one => '$events?targetPublicKey=$one_public', any_id => '~[0-9a-f]{24}',
    nobody => '0123456789abcdef01234567',
    time => '~20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-9:]{8}Z',
);
defaults(on => 'native', as => 'owner');
run_tests();

__DATA__

=== TEST 1: an event of a key, by another key
--- keys
owner: ORG_OWNER
one: ORG_MEMBER
two: ORG_MEMBER GROUP_READ_ONLY
stranger: ORG_OWNER org=away
global: GLOBAL_OWNER global
--- requests
PATCH $keys/$one_id {"desc":"changed"} -> 200
GET $of_one&eventType=API_KEY_DESCRIPTION_CHANGED -> 200 {"links":[{"href":"http://localhost$of_one&eventType=API_KEY_DESCRIPTION_CHANGED&pageNum=1&itemsPerPage=100","rel":"self"}],"results":[{"id":"$any_id","type":"API_KEY_DESCRIPTION_CHANGED","createdAt":"$time","orgId":"$org_id","projectId":null,"apiKeyId":"$owner_id","publicKey":"$owner_public","operator":false,"remoteAddress":"127.0.0.1","targetApiKeyId":"$one_id","targetPublicKey":"$one_public","entry":null,"links":[{"href":"~http://localhost/api/v1/orgs/[0-9a-f]{24}/events/[0-9a-f]{24}","rel":"self"}]}],"totalCount":1}

=== TEST 2: an event of an access list has the entry
--- requests
POST $keys/$one_id/accessList [{"ipAddress":"192.0.2.1"},{"cidrBlock":"10.0.0.0/8"}] -> 201
GET $of_one&eventType=API_KEY_ACCESS_LIST_ENTRY_ADDED&itemsPerPage=1 -> 200 ... "targetPublicKey":"$one_public","entry":"10.0.0.0/8","links":
GET $of_one&eventType=API_KEY_ACCESS_LIST_ENTRY_ADDED&itemsPerPage=1&pageNum=2 -> 200 ... "targetPublicKey":"$one_public","entry":"192.0.2.1","links":

=== TEST 3: an event of the operator has no key and no address
--- requests
operator: PATCH $keys/$one_id {"desc":"by the operator"} -> 200
owner: GET $of_one&itemsPerPage=1 -> 200 ... "apiKeyId":null,"publicKey":null,"operator":true,"remoteAddress":null,"targetApiKeyId":"$one_id",

=== TEST 4: an event of a global key shows the key to the operator alone
--- requests
global: PATCH $keys/$one_id {"desc":"by a global key"} -> 200
owner: GET $of_one&itemsPerPage=1 -> 200 ... "apiKeyId":null,"publicKey":null,"operator":true,
operator: GET $of_one&itemsPerPage=1 -> 200 ... "apiKeyId":"$global_id","publicKey":"$global_public","operator":true,
global: GET $of_one&itemsPerPage=1 -> 200 ... "apiKeyId":"$global_id","publicKey":"$global_public","operator":true,
owner: GET $atlas/orgs/$org_id/events?itemsPerPage=1 -> 200 ... "isGlobalAdmin":true,

=== TEST 5: the events of a project
--- requests
owner: PUT $project/apiKeys/$one_id {"roles":["GROUP_READ_ONLY"]} -> 201
two: GET $project/events?itemsPerPage=1 -> 200 ... "type":"API_KEY_ADDED_TO_GROUP","createdAt":"
two: GET $project/events?itemsPerPage=1 -> 200 ... "orgId":null,"projectId":"$project_id","apiKeyId":"$owner_id",
two: GET $project/events?itemsPerPage=1 -> 200 ... "links":[{"href":"http://localhost$project/events/
two: GET $project/events?targetPublicKey=$one_public -> 200 ... "totalCount":1}
two: GET $project/events?excludedEventType=API_KEY_ADDED_TO_GROUP&targetPublicKey=$one_public -> 200 ... "totalCount":0}
two: GET $project/events?clusterNames=x&targetPublicKey=$one_public -> 200 ... "totalCount":1}

=== TEST 6: one event
--- requests
GET $of_one&itemsPerPage=1
--- keep: event

=== TEST 7: it is the event of the list
--- requests
GET $events/$event_id -> 200 {"id":"$event_id","type":"API_KEY_DESCRIPTION_CHANGED","createdAt":"$event_created","orgId":"$org_id","projectId":null,"apiKeyId":null,"publicKey":null,"operator":true,"remoteAddress":null,"targetApiKeyId":"$one_id","targetPublicKey":"$one_public","entry":null,"links":[{"href":"http://localhost$events/$event_id","rel":"self"}]}
GET $events/$nobody -> ORG_EVENT_NOT_FOUND ["$nobody","$org_id"]
GET $project/events/$event_id -> EVENT_NOT_FOUND ["$event_id","$project_id"]
GET $events/xyz -> PATH_PARAM_PARSE_ERROR ["$events/xyz"]

=== TEST 8: a page without a count has none, and includeRaw is unknown
--- requests
GET $of_one&itemsPerPage=1&includeCount=false&includeRaw=x
--- error_code: 200
--- response_body_like: "entry":null,"links":\[\{"href":"[^"]+","rel":"self"\}\]\}\]\}$
--- response_body_unlike: totalCount|"raw"

=== TEST 9: an argument that no event can have is refused, and the first of several counts
--- requests
GET $events?targetPublicKey=x -> INVALID_QUERY_PARAMETER ["targetPublicKey"]
GET $events?targetPublicKey= -> INVALID_QUERY_PARAMETER ["targetPublicKey"]
GET $events?targetPublicKey=ABCDEFGH -> INVALID_QUERY_PARAMETER ["targetPublicKey"]
GET $events?targetPublicKey=abcdefgh&targetPublicKey=x -> 200 ... "results":[],"totalCount":0}
GET $events?targetPublicKey=$stranger_public -> 200 ... "results":[],"totalCount":0}
GET $events?minDate=yesterday -> INVALID_DATE_FORMAT ["yesterday"]
GET $atlas/orgs/$org_id/events?targetPublicKey=x&itemsPerPage=1 -> 200

=== TEST 10: psql makes events with the id of the key, also of a key that is deleted
--- sql
UPDATE apikeys.keys SET descr = 'psql' WHERE id = '$one_id';
DELETE FROM apikeys.access_list WHERE key_id = '$one_id' AND cidr = '10.0.0.0/8';
UPDATE apikeys.key_projects SET roles = '{GROUP_OWNER}' WHERE key_id = '$one_id';
DELETE FROM apikeys.keys WHERE id = '$one_id';
--- query
SELECT type, target_id = '$one_id' FROM apikeys.events
 WHERE id > $last_event ORDER BY id
--- rows
API_KEY_DESCRIPTION_CHANGED|1
API_KEY_ACCESS_LIST_ENTRY_DELETED|1
API_KEY_ROLES_CHANGED|1
API_KEY_REMOVED_FROM_GROUP|1
API_KEY_DELETED|1
--- requests
GET $of_one&eventType=API_KEY_DELETED -> 200 ... "operator":true,"remoteAddress":null,"targetApiKeyId":"$one_id","targetPublicKey":"$one_public",

=== TEST 11: the events of a key that is gone stay, those of all types too
--- requests
GET $of_one&eventType=API_KEY_DELETED&eventType=API_KEY_CREATED -> 200 ... "totalCount":2}
GET $of_one&minDate=2100-01-01 -> 200 ... "totalCount":0}
