# The secrets of a key on the native API, and what the nodes admit while a key
# is rotated.  What SQL does to them is in 200-sql-secrets.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

use POSIX qw( strftime );

sub in_seconds { return strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time + $_[0])) }

our @schemes = qw( digest digest_sha256 basic bearer header );

names(
    org => '$base/orgs/$org_id', keys => '$org/apiKeys', key => '$keys/$one_id',
    secrets => '$key/secrets', past => in_seconds(-1), soon => in_seconds(3600),
    later => in_seconds(7200), nobody => '0123456789abcdef01234567',
    time => '~20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-9:]{8}Z',
    any_id => '~[0-9a-f]{24}',
    rows => q{SELECT id, redacted, expires FROM apikeys.secrets ORDER BY 1, 2},
);
locations(<<'END');
    location /all { apikeys_auth digest digest_sha256 basic bearer
                                 header=X-API-Key; empty_gif; }
    location /first { apikeys_auth basic; try_files /none /all; }
    location /vars { apikeys_auth digest digest_sha256 basic bearer
                                  header=X-API-Key;
                     return 200 "$apikeys_scheme <$apikeys_secret_id> <$apikeys_expires>"; }
    location /api/vars { apikeys_api native; apikeys_auth basic;
                         add_header X-Vars "$apikeys_scheme <$apikeys_expires>"
                         always; }
END
defaults(on => 'native', as => 'owner');
run_tests();

__DATA__

=== TEST 1: a key has one secret, with its id and without an end
--- keys
owner: ORG_OWNER
one: ORG_MEMBER
two: ORG_MEMBER
--- requests
GET $secrets
--- json
{"links":[{"href":"http://localhost$secrets?pageNum=1&itemsPerPage=100","rel":"self"}],
 "results":[{"id":"$one_id","createdAt":"$time","expiresAt":null,
    "masked":"$one_redacted"}],
 "totalCount":1}

=== TEST 2: POST adds a second one, which is shown once
--- requests
POST $secrets {}
--- error_code: 201
--- json
{"id":"$any_id","createdAt":"$time","expiresAt":null,
 "masked":"$second_redacted",
 "privateKey":"$second_private",
 "token":"${one_public}_$second_private"}
--- keep: second
--- query: SELECT event, before IS NULL, after ->> 'secret' = '$second_id' FROM apikeys.audit WHERE id > $last_audit
--- rows: API_KEY_SECRET_ADDED|1|1

=== TEST 3: both are right, for every scheme
--- request eval: [("GET /all") x (2 * @main::schemes)]
--- as eval: CORE::join "\n", map { ("one $_", "\$one_public:\$second_native_private $_") } @main::schemes
--- error_code eval: [(200) x (2 * @main::schemes)]
--- decision eval: "allow " x (2 * @main::schemes)

=== TEST 4: variables show the scheme, the secret, and when it ends
--- sql: UPDATE apikeys.older_secrets SET expires = '2100-01-01T00:00:00Z' WHERE key_id = '$one_id'; UPDATE apikeys.keys SET expires = '2100-01-01T00:00:01Z' WHERE id = '$one_id'
--- request eval: [("GET /vars") x (1 + 2 * @main::schemes)]
--- as eval: CORE::join "\n", "none", map { ("one $_", "\$one_public:\$second_native_private $_") } @main::schemes
--- contains eval: CORE::join "\n", " <> <>", map { ("$_ <\$one_id> <4102444800>", "$_ <\$second_native_id> <4102444801>") } @main::schemes

=== TEST 5: of the operator, and of a key without an end
--- sql: UPDATE apikeys.older_secrets SET expires = NULL; UPDATE apikeys.keys SET expires = NULL
--- requests
operator: GET /api/vars -> 200
two basic: GET /api/vars -> 200
--- response_headers eval: ["X-Vars: operator <>", "X-Vars: basic <>"]

=== TEST 6: a wrong secret is none of both
--- requests
$one_public:x basic: GET /all -> 401 wrong_secret
$one_public:$two_private bearer: GET /all -> 401 wrong_secret
$one_public:$two_private: GET /all -> 401 wrong_secret

=== TEST 7: a third one is refused
--- requests
POST $secrets {} -> 409 MAX_API_KEY_SECRETS_EXCEEDED ["$one_id"]
POST $secrets {"othersExpireIn":60} -> 409 MAX_API_KEY_SECRETS_EXCEEDED ["$one_id"]
--- unchanged: $rows

=== TEST 8: the compatible APIs show the newest, and nothing else
--- requests
GET $atlas/orgs/$org_id/apiKeys/$one_id -> 200 ... "privateKey":"$second_redacted"
GET $atlas/orgs/$org_id/apiKeys/$one_id/secrets -> 404 RESOURCE_NOT_FOUND ["$uri"]
GET $v2/orgs/$org_id/apiKeys/$one_id/secrets -> 404 RESOURCE_NOT_FOUND ["$uri"]

=== TEST 9: a location to which nginx redirects asks for the same secret
--- requests
one basic: GET /first -> 200 allow
$one_public:$second_private basic: GET /first -> 200 allow

=== TEST 10: one secret is shown, and gets an end
--- requests
GET $secrets/$one_id -> 200 ... {"id":"$one_id","createdAt":"
PATCH $secrets/$one_id {"expiresAt":"$soon"} -> 200 ... "expiresAt":"$soon","masked":"$one_redacted"}
GET $secrets/$one_id -> 200 ... "expiresAt":"$soon",
PATCH $secrets/$second_id {"expiresAt":"$later"} -> 200 ... "expiresAt":"$later","masked":"$second_redacted"}
PATCH $secrets/$second_id {"expiresAt":null} -> 200 ... "expiresAt":null,
--- query: SELECT event, before ->> 'expiresAt', after ->> 'expiresAt' FROM apikeys.audit WHERE id > $last_audit ORDER BY id
--- rows
API_KEY_SECRET_CHANGED||$soon
API_KEY_SECRET_CHANGED||$later
API_KEY_SECRET_CHANGED|$later|

=== TEST 11: an end is a time in the one form, and not in the past
--- requests
PATCH $secrets/$one_id {"expiresAt":"$past"} -> 400 INVALID_ATTRIBUTE ["expiresAt"]
PATCH $secrets/$one_id {"expiresAt":"2100-01-01T00:00:00.5Z"} -> 400 INVALID_ATTRIBUTE ["expiresAt"]
PATCH $secrets/$one_id {"expiresAt":"2100-01-01T00:00:00+00:00"} -> 400 INVALID_ATTRIBUTE ["expiresAt"]
PATCH $secrets/$one_id {"expiresAt":"10000-01-01T00:00:00Z"} -> 400 INVALID_ATTRIBUTE ["expiresAt"]
PATCH $secrets/$one_id {"expiresAt":1} -> 400 INVALID_JSON_ATTRIBUTE ["expiresAt"]
PATCH $secrets/$one_id {"expiresAt":["$soon"]} -> 400 INVALID_JSON_ATTRIBUTE ["expiresAt"]
PATCH $secrets/$one_id {} -> 400 MISSING_ATTRIBUTE ["expiresAt"]
PATCH $secrets/$one_id {"othersExpireIn":1} -> 400 INVALID_ATTRIBUTE ["othersExpireIn"]
PATCH $secrets/$one_id {"expiresAt":null,"id":"$one_id"} -> 400 ATTRIBUTE_READ_ONLY ["id"]
PATCH $secrets/$one_id [] -> 400 INVALID_JSON []
POST $secrets {"expiresAt":"$past"} -> 400 INVALID_ATTRIBUTE ["expiresAt"]
POST $secrets {"expiresAt":true} -> 400 INVALID_JSON_ATTRIBUTE ["expiresAt"]
POST $secrets {"privateKey":"x"} -> 400 ATTRIBUTE_READ_ONLY ["privateKey"]
POST $secrets {"unknown":"x"} -> 400 INVALID_ATTRIBUTE ["unknown"]
POST $secrets {"othersExpireIn":-1} -> 400 INVALID_ATTRIBUTE ["othersExpireIn"]
POST $secrets {"othersExpireIn":31536001} -> 400 INVALID_ATTRIBUTE ["othersExpireIn"]
POST $secrets {"othersExpireIn":60.5} -> 400 INVALID_JSON_ATTRIBUTE ["othersExpireIn"]
POST $secrets {"othersExpireIn":1e300} -> 400 INVALID_JSON_ATTRIBUTE ["othersExpireIn"]
POST $secrets {"othersExpireIn":"60"} -> 400 INVALID_JSON_ATTRIBUTE ["othersExpireIn"]
--- unchanged: $rows

=== TEST 12: an unknown secret, or one of another key, is not found
--- requests
{GET,DELETE} $secrets/$nobody -> 404 API_KEY_SECRET_NOT_FOUND ["$nobody","$one_id"]
{GET,DELETE} $secrets/$two_id -> 404 API_KEY_SECRET_NOT_FOUND ["$two_id","$one_id"]
PATCH $secrets/$two_id {"expiresAt":null} -> 404 API_KEY_SECRET_NOT_FOUND ["$two_id","$one_id"]
GET $keys/$nobody/secrets -> 404 API_KEY_NOT_FOUND ["$nobody"]
POST $keys/$nobody/secrets {} -> 404 API_KEY_NOT_FOUND ["$nobody"]
{PUT,PATCH,DELETE} $secrets {} -> 405 METHOD_NOT_ALLOWED ["$method"]
{PUT,POST} $secrets/$one_id {} -> 405 METHOD_NOT_ALLOWED ["$method"]
--- unchanged: $rows

=== TEST 13: the owner and the key itself call the resource, other keys do not
--- requests
two: GET $secrets -> 401 USER_UNAUTHORIZED []
two: POST $secrets {} -> 401 USER_UNAUTHORIZED []
two: {GET,DELETE} $secrets/$one_id -> 401 USER_UNAUTHORIZED []
one: GET $secrets -> 200 ... "totalCount":2}
one: GET $secrets/$second_id -> 200 ... "masked":"$second_redacted"}
one: PATCH $secrets/$one_id {"expiresAt":null} -> 401 USER_UNAUTHORIZED []
operator: GET $secrets -> 200 ... "totalCount":2}
--- unchanged: $rows

=== TEST 14: a secret that has ended is refused, the other one is not
--- sql: UPDATE apikeys.older_secrets SET expires = date_trunc('second', clock_timestamp()) WHERE key_id = '$one_id'
--- request eval: [("GET /all") x (2 * @main::schemes)]
--- as eval: CORE::join "\n", map { ("one $_", "\$one_public:\$second_native_private $_") } @main::schemes
--- error_code eval: [(401, 200) x @main::schemes]
--- decision eval: "secret_expired allow " x @main::schemes

=== TEST 15: an owner gives an ended secret another end
--- requests
one: GET $secrets -> 401
owner: PATCH $secrets/$one_id {"expiresAt":"$soon"} -> 200 ... "expiresAt":"$soon",
one: GET $secrets -> 200 ... "totalCount":2}

=== TEST 16: the secret that signs a request may go, the last valid one may not
--- requests
one: DELETE $secrets/$one_id -> 204
one: GET $secrets -> 401
owner: DELETE $secrets/$second_id -> 409 CANNOT_DELETE_LAST_API_KEY_SECRET ["$one_id"]
$one_public:$second_private: DELETE $secrets/$second_id -> 409 CANNOT_DELETE_LAST_API_KEY_SECRET ["$one_id"]

=== TEST 17: a deleted secret is wrong from then on
--- requests
one basic: GET /all -> 401 wrong_secret
one: GET /all -> 401 wrong_secret
$one_public:$second_private basic: GET /all -> 200 allow

=== TEST 18: othersExpireIn 0 deletes the others at once
--- requests
POST $secrets {"othersExpireIn":0,"expiresAt":"$later"} -> 201 ... "expiresAt":"$later","masked":"********-
--- keep: third

=== TEST 19: what was deleted is wrong, what was added is right
--- requests
$one_public:$second_private basic: GET /all -> 401 wrong_secret
$one_public:$third_private basic: GET /all -> 200 allow
$one_public:$third_private: GET /all -> 200 allow
--- query: SELECT type FROM apikeys.events WHERE id > $last_event - 2 ORDER BY id
--- rows
API_KEY_SECRET_DELETED
API_KEY_SECRET_ADDED

=== TEST 20: a key adds a secret to itself that ends no later than the one it uses
--- requests
$one_public:$third_private: POST $secrets {"expiresAt":"9999-12-31T23:59:59Z"} -> 201
--- query: SELECT count(*), count(*) FILTER (WHERE expires < now() + interval '3 h') FROM apikeys.secrets WHERE key_id = '$one_id'
--- rows: 2|2

=== TEST 21: the last standing owner keeps a secret without an end
--- requests
PATCH $keys/$owner_id/secrets/$owner_id {"expiresAt":"$soon"} -> 403 CANNOT_DEMOTE_LAST_ORG_OWNER []
POST $keys/$owner_id/secrets {"expiresAt":"$soon","othersExpireIn":0} -> 403 CANNOT_DEMOTE_LAST_ORG_OWNER []
--- unchanged: $rows

=== TEST 22: an admin token rotates the owner's key
--- requests
operator: POST $keys/$owner_id/secrets {"expiresAt":"$soon","othersExpireIn":0} -> 201
owner: GET $keys -> 401
