# The comment and the end of an access list entry on the native API, and whom
# an entry that has expired admits.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

use POSIX qw( strftime );

sub in_seconds { return strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time + $_[0])) }

names(
    org => '$base/orgs/$org_id', keys => '$org/apiKeys', key => '$keys/$one_id',
    list => '$key/accessList', past => in_seconds(-1), soon => in_seconds(3600),
    later => in_seconds(7200), x251 => 'x' x 251,
    rows => q{SELECT cidr, comment, expires, created FROM apikeys.access_list
        ORDER BY key_id, cidr},
);
locations(<<'END');
    location /shop { apikeys_auth basic; empty_gif; }
END
defaults(on => 'native', as => 'owner');
run_tests();

__DATA__

=== TEST 1: entries are added with a comment and an end
--- keys
owner: ORG_OWNER
one: ORG_MEMBER
wide: ORG_MEMBER list=127.0.0.0/8
--- requests
POST $list [{"cidrBlock":"127.0.0.0/8","comment":"office"},{"ipAddress":"127.0.0.1","expiresAt":"$soon"},{"ipAddress":"10.0.0.1","comment":null,"expiresAt":null}]
--- error_code: 201
--- contains
{"cidrBlock":"127.0.0.0/8","ipAddress":null,"comment":"office","expiresAt":null,"createdAt":"

=== TEST 2: each shows its own
--- requests
GET $list/127.0.0.0%2F8 -> 200 ... "comment":"office","expiresAt":null,
GET $list/127.0.0.1 -> 200 ... "ipAddress":"127.0.0.1","comment":null,"expiresAt":"$soon",
GET $list/10.0.0.1 -> 200 ... "comment":null,"expiresAt":null,

=== TEST 3: the compatible APIs show neither
--- requests
GET $atlas/orgs/$org_id/apiKeys/$one_id/accessList/127.0.0.1 -> 200 ... {"cidrBlock":"127.0.0.1/32","count":0,"created":"
PATCH $atlas/orgs/$org_id/apiKeys/$one_id/accessList/127.0.0.1 {"comment":"x"} -> 405 METHOD_NOT_ALLOWED ["PATCH"]

=== TEST 4: PATCH changes what it has
--- requests
PATCH $list/127.0.0.1 {"comment":"x"} -> 200 ... "comment":"x","expiresAt":"$soon",
PATCH $list/127.0.0.1 {"expiresAt":"$later"} -> 200 ... "comment":"x","expiresAt":"$later",
PATCH $list/127.0.0.1 {"comment":null,"expiresAt":null} -> 200 ... "comment":null,"expiresAt":null,
PATCH $list/127.0.0.1 {"comment":null} -> 200 ... "comment":null,"expiresAt":null,
--- query: SELECT event, before ->> 'comment', after ->> 'comment', after ->> 'expiresAt' FROM apikeys.audit WHERE id > $last_audit ORDER BY id
--- rows
API_KEY_ACCESS_LIST_ENTRY_CHANGED||x|$soon
API_KEY_ACCESS_LIST_ENTRY_CHANGED|x|x|$later
API_KEY_ACCESS_LIST_ENTRY_CHANGED|x||

=== TEST 5: bad values change nothing
--- requests
PATCH $list/127.0.0.1 {} -> 400 MISSING_ATTRIBUTE ["comment"]
PATCH $list/127.0.0.1 {"comment":1} -> 400 INVALID_JSON_ATTRIBUTE ["comment"]
PATCH $list/127.0.0.1 {"comment":"$x251"} -> 400 INVALID_ATTRIBUTE ["comment"]
PATCH $list/127.0.0.1 {"expiresAt":"$past"} -> 400 INVALID_ATTRIBUTE ["expiresAt"]
PATCH $list/127.0.0.1 {"expiresAt":"2100-01-01"} -> 400 INVALID_ATTRIBUTE ["expiresAt"]
PATCH $list/127.0.0.1 {"expiresAt":1} -> 400 INVALID_JSON_ATTRIBUTE ["expiresAt"]
PATCH $list/127.0.0.1 {"cidrBlock":"10.0.0.0/8"} -> 400 ATTRIBUTE_READ_ONLY ["cidrBlock"]
PATCH $list/127.0.0.1 {"other":1} -> 400 INVALID_ATTRIBUTE ["other"]
PATCH $list/10.9.9.9 {"comment":"x"} -> 404 API_KEY_ACCESS_LIST_NOT_FOUND ["10.9.9.9","$one_id"]
POST $list [{"ipAddress":"10.0.0.2","expiresAt":"$past"}] -> 400 INVALID_ATTRIBUTE ["expiresAt"]
POST $list [{"ipAddress":"10.0.0.2","comment":"$x251"}] -> 400 INVALID_ATTRIBUTE ["comment"]
POST $list [{"ipAddress":"10.0.0.1","comment":"again"}] -> 409 ADDRESS_ALREADY_IN_ACCESS_LIST ["10.0.0.1"]
POST $keys {"desc":"d","roles":["ORG_MEMBER"],"accessList":[{"ipAddress":"10.0.0.2","expiresAt":"$past"}]} -> 400 INVALID_ATTRIBUTE ["expiresAt"]
--- unchanged: $rows

=== TEST 6: a key is made with such entries
--- requests
POST $keys {"desc":"d","roles":["ORG_MEMBER"],"accessList":[{"ipAddress":"127.0.0.1","expiresAt":"$later","comment":"c"},{"ipAddress":"10.0.0.2"}]}
--- error_code: 201
--- keep: made
--- query: SELECT text(cidr), comment, apikeys.utc(expires) FROM apikeys.access_list WHERE key_id = '$made_id' ORDER BY cidr
--- rows
10.0.0.2/32||
127.0.0.1/32|c|$later

=== TEST 7: of nested entries those that have not expired decide
--- sql: UPDATE apikeys.access_list SET expires = date_trunc('second', clock_timestamp()) WHERE cidr = '127.0.0.1/32'
--- requests
one basic: GET /shop -> 200 allow
$made_public:$made_private basic: GET /shop -> 403 address

=== TEST 8: a key whose entries have all expired is admitted from nowhere
--- sql: UPDATE apikeys.access_list SET expires = date_trunc('second', clock_timestamp())
--- requests
one basic: GET /shop -> 403 address
wide basic: GET /shop -> 403 address

=== TEST 9: nor does it call the API
--- requests
one: GET $list -> 403 IP_ADDRESS_NOT_ON_ACCESS_LIST ["127.0.0.1"]

=== TEST 10: POST of an address whose entry has expired replaces the entry
--- requests
owner: POST $list [{"ipAddress":"127.0.0.1","comment":"new"}] -> 201 ... "comment":"new","expiresAt":null,
owner: POST $atlas/orgs/$org_id/apiKeys/$wide_id/accessList [{"cidrBlock":"127.0.0.0/8"}] -> 200 ... "totalCount":1
--- query: SELECT event, coalesce(before, after) ->> 'entries' FROM apikeys.audit WHERE id > $last_audit ORDER BY id
--- rows
API_KEY_ACCESS_LIST_ENTRY_DELETED|["127.0.0.1/32"]
API_KEY_ACCESS_LIST_ENTRY_ADDED|["127.0.0.1/32"]
API_KEY_ACCESS_LIST_ENTRY_DELETED|["127.0.0.0/8"]
API_KEY_ACCESS_LIST_ENTRY_ADDED|["127.0.0.0/8"]

=== TEST 11: it admits again
--- requests
one basic: GET /shop -> 200 allow
wide basic: GET /shop -> 200 allow

=== TEST 12: a key does not delete the last entry that admits it, whatever has expired
--- requests
one: DELETE $list/127.0.0.1 -> 400 CANNOT_REMOVE_CALLER_FROM_ACCESS_LIST ["127.0.0.1"]
one: PATCH $list/127.0.0.1 {"comment":"mine"} -> 200 ... "comment":"mine",
