# Keys that are disabled, and keys that expire: what the nodes decide by, from
# the feed, with and without the database.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

our @schemes = qw( digest digest_sha256 basic bearer header );

locations(<<'END');
    location /all { apikeys_auth digest digest_sha256 basic bearer
                                 header=X-API-Key; empty_gif; }
    location /first { apikeys_auth basic; try_files /none /all; }
    location /probe { proxy_pass http://127.0.0.1:$server_port/all;
                      proxy_set_header Authorization "Bearer $arg_token"; }
END
run_tests();

__DATA__

=== TEST 1: keys without an end are admitted
--- keys
owner: ORG_OWNER
switched: ORG_OWNER
ending: ORG_OWNER
listed: ORG_OWNER list=203.0.113.0/24
global: GLOBAL_OWNER global
--- request eval: [("GET /all") x @main::schemes]
--- as eval: CORE::join "\n", map { "switched $_" } @main::schemes
--- error_code eval: [(200) x @main::schemes]
--- decision eval: "allow " x @main::schemes

=== TEST 2: a disabled key is refused by every scheme
--- sql: UPDATE apikeys.keys SET disabled = true WHERE id IN ('$switched_id', '$listed_id', '$global_id')
--- request eval: [("GET /all") x @main::schemes]
--- as eval: CORE::join "\n", map { "switched $_" } @main::schemes
--- error_code eval: [(401) x @main::schemes]
--- challenges eval: "Digest Digest Basic Bearer\n" x @main::schemes
--- decision eval: "key_disabled " x @main::schemes

=== TEST 3: the answer to a disabled key is that to a wrong secret
--- requests
switched basic: GET /all -> 401 key_disabled
listed basic: GET /all -> 401 key_disabled
$switched_public:x basic: GET /all -> 401 wrong_secret
owner basic: GET /all -> 200 allow

=== TEST 4: a disabled key calls no API, a global one neither
--- requests
switched: GET $atlas -> 401
switched: GET $v2/orgs -> 401
global: GET $om -> 401
owner: GET $atlas -> 200 ... throttling

=== TEST 5: a key that is enabled again is the same key
--- sql: UPDATE apikeys.keys SET disabled = false WHERE id IN ('$switched_id', '$listed_id', '$global_id')
--- requests
switched basic: GET /all -> 200 allow
listed basic: GET /all -> 403 address

=== TEST 6: a key that is enabled again calls the API
--- requests
global: GET $om -> 200 ... throttling
switched: GET $atlas -> 200 ... throttling

=== TEST 7: a key is refused from the second in which it expires
--- sql: UPDATE apikeys.keys SET expires = date_trunc('second', clock_timestamp()) WHERE id = '$ending_id'
--- request eval: [("GET /all") x @main::schemes]
--- as eval: CORE::join "\n", map { "ending $_" } @main::schemes
--- error_code eval: [(401) x @main::schemes]
--- decision eval: "key_expired " x @main::schemes

=== TEST 8: a key that is disabled and has expired is disabled
--- sql: UPDATE apikeys.keys SET disabled = true WHERE id = '$ending_id'
--- requests
ending basic: GET /all -> 401 key_disabled
$ending_public:x basic: GET /all -> 401 wrong_secret

=== TEST 9: a later end brings the key back, a far one does not overflow
--- sql: UPDATE apikeys.keys SET disabled = false, expires = '2100-01-01T00:00:00Z' WHERE id = '$ending_id'; UPDATE apikeys.keys SET expires = '9999-12-31T23:59:59Z' WHERE id = '$switched_id'
--- requests
ending basic: GET /all -> 200 allow
switched basic: GET /all -> 200 allow

=== TEST 10: a location to which nginx redirects judges again
--- sql: UPDATE apikeys.keys SET disabled = true WHERE id = '$ending_id'
--- requests
ending basic: GET /first -> 401 key_disabled
switched basic: GET /first -> 200 allow

=== TEST 11: with the database away a key still works
--- sql: UPDATE apikeys.keys SET disabled = false, expires = date_trunc('second', clock_timestamp()) + interval '3 s' WHERE id = '$ending_id'
--- requests
ending basic: GET /all -> 200 allow

=== TEST 12: with the database away a key is refused when it expires
--- sql: $away
--- until: /probe?token=$ending_token ^401
--- requests
ending basic: GET /all -> 401 key_expired
switched basic: GET /all -> 200 allow

=== TEST 13: the database is back
--- sql: $back
--- requests
ending basic: GET /all -> 401 key_expired
owner basic: GET /all -> 200 allow
