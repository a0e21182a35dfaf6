# What is decided while the local copy cannot be trusted in full: the database
# away, the copy too old, or not loaded yet, the zone resized, or under other
# master keys.  Each configuration is a reload: the zone stays if its name does.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

names(
    unavailable => '{"detail":"The service is temporarily unavailable.",'
        . '"error":503,"errorCode":"SERVICE_UNAVAILABLE","parameters":[],'
        . '"reason":"Service Unavailable"}',
    again => "Retry-After: 1\nContent-Type: application/json",
    unknown => 'zzzzzzzz:000000000000000000000000000000000000',
);

use_hup();
master_on();
$ENV{TEST_NGINX_COMMON} = 'apikeys_sync poll=100ms; apikeys_stale 1h;';
$ENV{TEST_NGINX_OTHER_KEY} = fixture()->nginx->write_file('other.key',
    'a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=', 0600);
locations(<<'END', $ENV{TEST_NGINX_COMMON});
    location /long { apikeys_auth basic digest; empty_gif; }
    location /short { apikeys_auth basic digest; apikeys_stale 1s; empty_gif; }
    location /always { apikeys_auth basic digest;
                       apikeys_stale 1s expired=allow; empty_gif; }
    location /next { apikeys_auth basic; apikeys_stale 1s expired=allow;
                     error_page 404 = /short; }
    location /inner { apikeys_auth basic; apikeys_stale 1s expired=allow;
        location /inner/allow { empty_gif; }
        location /inner/deny { apikeys_stale 1s; empty_gif; } }
    location = /status { apikeys_status; }
END
run_tests();

__DATA__

=== TEST 1: a copy that is too old for a location decides nothing there
--- keys
owner: ORG_OWNER
key: ORG_MEMBER
two: ORG_MEMBER
three: ORG_MEMBER
--- sql: $away
--- until: /status "age_milliseconds":[2-9]\d{3}\b
--- requests
key basic: GET /short
key: GET /short
$unknown basic: GET /short
--- answers: 503 expired: $unavailable
--- response_headers: $again

=== TEST 2: expired=deny of an inner location and of a redirect's holds after expired=allow
--- requests
key basic: GET /inner/deny -> 503 expired: $unavailable
key basic: GET /next -> 503 expired: $unavailable
--- response_headers: $again

=== TEST 3: a longer apikeys_stale decides with authority
--- requests
key basic: GET /long -> 200 allow
$unknown basic: GET /long -> 401 unknown_key

=== TEST 4: expired=allow admits a key, and says that the copy is too old
--- requests
key basic: GET /always -> 200 allow_expired
key: GET /always -> 200 allow_expired
key basic: GET /inner/allow -> 200 allow_expired
$unknown basic: GET /always -> 401 unknown_key

=== TEST 5: the lag grows without the database, and the decisions are counted
--- until: /status "lag_milliseconds":(1[5-9]\d\d|[2-9]\d{3})\b
--- requests: GET /status -> 200
--- response_body_like: ^(?=.*"allow_expired":4\}).*"expired":5,

=== TEST 6: a larger zone is filled from the old one, and keeps the age of the copy
--- http_config: apikeys_zone zone=apikeys:12m; $TEST_NGINX_COMMON
--- until: /status "size_bytes":1\d{7}\b
--- requests
key basic: GET /long -> 200 allow
two basic: GET /long -> 200 allow
three basic: GET /long -> 200 allow
$unknown basic: GET /long -> 401 unknown_key
key basic: GET /short -> 503 expired: $unavailable

=== TEST 7: a smaller zone is filled from the old one
--- http_config: apikeys_zone zone=apikeys:3m; $TEST_NGINX_COMMON
--- until: /status "size_bytes":[12]\d{6}\b
--- requests: key basic: GET /long -> 200 allow

=== TEST 8: a node that has never loaded decides on no key
--- http_config: apikeys_zone zone=new:8m; $TEST_NGINX_COMMON
--- until: /status "complete":0
--- requests
key basic: GET /long
key basic: GET /short
key basic: GET /always
$unknown basic: GET /long
$unknown basic: GET /short
$unknown basic: GET /always
key: GET /long
--- answers: 503 not_loaded: $unavailable
--- response_headers: $again

=== TEST 9: a node that has never loaded challenges a request without a credential
--- http_config: apikeys_zone zone=new:8m; $TEST_NGINX_COMMON
--- requests: GET /long -> 401 no_credential
--- challenges: Digest Basic

=== TEST 10: the API of a node that has never loaded is unavailable
--- http_config: apikeys_zone zone=new:8m; $TEST_NGINX_COMMON
--- requests: owner: GET $atlas/orgs/$org_id -> SERVICE_UNAVAILABLE
--- response_headers: Retry-After: 1

=== TEST 11: the status of a node that has never loaded has no age and no lag
--- http_config: apikeys_zone zone=new:8m; $TEST_NGINX_COMMON
--- requests: GET /status -> 200
--- response_body_like: "copy":\{"complete":0,"age_milliseconds":null,.*"lag_milliseconds":null,.*"not_loaded":8,

=== TEST 12: a node decides with fresh data when the database is back
--- http_config: apikeys_zone zone=new:8m; $TEST_NGINX_COMMON
--- sql: $back
--- until: /status "complete":1,"age_milliseconds":\d{1,3},
--- requests
key basic: GET /short -> 200 allow
key basic: GET /long -> 200 allow
key basic: GET /always -> 200 allow
$unknown basic: GET /long -> 401 unknown_key

=== TEST 13: keys whose line the master key file lacks are not decided
--- http_config
apikeys_zone zone=new:8m; apikeys_master_key_file $TEST_NGINX_OTHER_KEY;
$TEST_NGINX_COMMON
--- until: /status "missing":true
--- requests
key basic: GET /long -> 503 not_loaded: $unavailable
$unknown basic: GET /long -> 401 unknown_key
--- error_log: apikeys_master_key_file
--- may_log: alert|crit

=== TEST 14: the right master key file decides its keys again
--- http_config: apikeys_zone zone=new:8m; $TEST_NGINX_COMMON
--- until: /status "missing":false
--- requests: key basic: GET /long -> 200 allow
--- may_log: error
