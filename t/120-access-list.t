# Access lists and whitelists: addresses in all their spellings, links,
# duplicates, limits, and a key that would lock itself out.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

# $list is the access list of the key $key, by each name that it has on a base
my %bases = (atlas => '$atlas', v2 => '$v2', om => '$om',
    atlas_old => '$atlas', om_old => '$om');

for my $on (keys %bases) {
    my ($list, $LIST) = $on =~ /old/ ? qw( whitelist WHITELIST )
        : qw( accessList ACCESS_LIST );

    names($bases{$on} eq "\$$on" ? () : ($on => $bases{$on}),
        "$on/key" => "\$key_${on}_id",
        "$on/keys" => '$base/orgs/$org_id/apiKeys', "$on/name" => $list,
        "$on/self" => "self_$on", "$on/self_id" => "\$self_${on}_id",
        "$on/self_public" => "\$self_${on}_public",
        "$on/self_private" => "\$self_${on}_private",
        "$on/list" => '$keys/$key/$name', "$on/own" => '$keys/$self_id/$name',
        "$on/mms" => $on =~ /om/ ? 'http://mms.mongodb.com'
            : 'https://cloud.mongodb.com',
        "$on/not_found" => "API_KEY_${LIST}_NOT_FOUND",
        "$on/caller" => "CANNOT_REMOVE_CALLER_FROM_$LIST");
}
names(map({ ("${_}s" => "\$atlas/orgs/\$org_id/apiKeys/\$${_}_id/accessList",
    "${_}s_old" => "\$atlas/orgs/\$org_id/apiKeys/\$${_}_id/whitelist") }
    qw( any shared guest big lock )),
    x300 => 'x' x 300, empty => '', date => '~20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z');

# the blocks of a list, for response_body_filters
our $blocks = sub { join ' ', $_[0] =~ /"cidrBlock":"([^"]+)"/g };
our $count = sub { $_[0] =~ /"totalCount":(\d+)/ ? $1 : 'no count' };

sub net { return join ',', map { sprintf '{"ipAddress":"10.%d.%d.%d"}',
    $_ >> 16, $_ >> 8 & 255, $_ & 255 } @_ }

locations('');
run_tests();

__DATA__

=== TEST 1: an access list is empty at first
--- keys
owner: ORG_OWNER
key_atlas: ORG_MEMBER
key_v2: ORG_MEMBER
key_om: ORG_MEMBER
key_atlas_old: ORG_MEMBER
key_om_old: ORG_MEMBER
self_atlas: ORG_OWNER
self_v2: ORG_OWNER
self_om: ORG_OWNER
self_atlas_old: ORG_OWNER
self_om_old: ORG_OWNER
any: ORG_MEMBER
shared: ORG_MEMBER
guest: ORG_MEMBER
lock: ORG_MEMBER
big: ORG_MEMBER
--- on: atlas v2 om atlas_old om_old
--- as: owner
--- requests
GET $list
--- json
{"links":[{"href":"http://localhost$list?pageNum=1&itemsPerPage=100","rel":"self"}],
 "results":[],"totalCount":0}

=== TEST 2: POST of an address answers with the list, and the time in UTC
--- on: atlas v2 om atlas_old om_old
--- as: owner
--- requests
POST $list [{"ipAddress":"192.0.2.9"}]
--- json
{"links":[{"href":"http://localhost$list?pageNum=1&itemsPerPage=100","rel":"self"}],
 "results":[{"cidrBlock":"192.0.2.9/32","count":0,"created":"$date","ipAddress":"192.0.2.9",
 "links":[{"href":"http://localhost$list/192.0.2.9","rel":"self"}]}],"totalCount":1}

=== TEST 3: POST of several entries answers with all in the order of their text
--- on: atlas v2 om atlas_old om_old
--- as: owner
--- requests
POST $list [{"cidrBlock":"10.0.0.0/8"},{"ipAddress":"2001:db8::1"},{"cidrBlock":"2001:db8::/32"},{"cidrBlock":"198.51.100.7/32"},{"ipAddress":"9.9.9.9"}]
--- json
{"links":[{"href":"http://localhost$list?pageNum=1&itemsPerPage=100","rel":"self"}],
 "results":[{"cidrBlock":"10.0.0.0/8","count":0,"created":"$date",
 "links":[{"href":"http://localhost$list/10.0.0.0%2F8","rel":"self"}]},
 {"cidrBlock":"192.0.2.9/32","count":0,"created":"$date","ipAddress":"192.0.2.9",
 "links":[{"href":"http://localhost$list/192.0.2.9","rel":"self"}]},
 {"cidrBlock":"198.51.100.7/32","count":0,"created":"$date","ipAddress":"198.51.100.7",
 "links":[{"href":"http://localhost$list/198.51.100.7","rel":"self"}]},
 {"cidrBlock":"2001:db8::/32","count":0,"created":"$date",
 "links":[{"href":"http://localhost$list/2001:db8::%2F32","rel":"self"}]},
 {"cidrBlock":"2001:db8::1/128","count":0,"created":"$date","ipAddress":"2001:db8::1",
 "links":[{"href":"http://localhost$list/2001:db8::1","rel":"self"}]},
 {"cidrBlock":"9.9.9.9/32","count":0,"created":"$date","ipAddress":"9.9.9.9",
 "links":[{"href":"http://localhost$list/9.9.9.9","rel":"self"}]}],"totalCount":6}

=== TEST 4: the time of an entry is that of the database
--- on: atlas
--- as: owner
--- sql
UPDATE apikeys.access_list SET created = '2024-01-02 03:04:05Z';
--- requests
GET $list/192.0.2.9
--- answers: 200
--- contains: "created":"2024-01-02T03:04:05Z"

=== TEST 5: GET of a list answers with all entries and the times that are stored
--- on: atlas v2 om atlas_old om_old
--- as: owner
--- requests
GET $list
--- json
{"links":[{"href":"http://localhost$list?pageNum=1&itemsPerPage=100","rel":"self"}],
 "results":[{"cidrBlock":"10.0.0.0/8","count":0,"created":"2024-01-02T03:04:05Z",
 "links":[{"href":"http://localhost$list/10.0.0.0%2F8","rel":"self"}]},
 {"cidrBlock":"192.0.2.9/32","count":0,"created":"2024-01-02T03:04:05Z","ipAddress":"192.0.2.9",
 "links":[{"href":"http://localhost$list/192.0.2.9","rel":"self"}]},
 {"cidrBlock":"198.51.100.7/32","count":0,"created":"2024-01-02T03:04:05Z","ipAddress":"198.51.100.7",
 "links":[{"href":"http://localhost$list/198.51.100.7","rel":"self"}]},
 {"cidrBlock":"2001:db8::/32","count":0,"created":"2024-01-02T03:04:05Z",
 "links":[{"href":"http://localhost$list/2001:db8::%2F32","rel":"self"}]},
 {"cidrBlock":"2001:db8::1/128","count":0,"created":"2024-01-02T03:04:05Z","ipAddress":"2001:db8::1",
 "links":[{"href":"http://localhost$list/2001:db8::1","rel":"self"}]},
 {"cidrBlock":"9.9.9.9/32","count":0,"created":"2024-01-02T03:04:05Z","ipAddress":"9.9.9.9",
 "links":[{"href":"http://localhost$list/9.9.9.9","rel":"self"}]}],"totalCount":6}

=== TEST 6: POST of no entry answers with the page that is asked for
--- on: atlas v2 om atlas_old om_old
--- as: owner
--- requests
POST $list?itemsPerPage=2&pageNum=2 []
--- response_body_filters eval: $::blocks
--- response_body chomp
198.51.100.7/32 2001:db8::/32

=== TEST 7: GET finds an IPv4 address by each of its spellings
--- on: atlas v2 om atlas_old om_old
--- as: owner
--- requests
GET $list/192.0.2.9
GET $list/192.0.2.9%2F32
GET $list/192.0.2.9%2f32
GET $list/192.0.2.9/32
GET $list/::ffff:192.0.2.9
GET $list/::ffff:c000:209
GET $list/::FFFF:192.0.2.9%2F128
GET $list/%31%39%32.0.2.9
--- json
{"cidrBlock":"192.0.2.9/32","count":0,"created":"2024-01-02T03:04:05Z","ipAddress":"192.0.2.9",
 "links":[{"href":"http://localhost$list/192.0.2.9","rel":"self"},
  {"href":"http://localhost$keys/$key","rel":"$mms/apiKeys"}]}

=== TEST 8: GET finds an IPv4 block by each of its spellings
--- on: atlas v2 om atlas_old om_old
--- as: owner
--- requests
GET $list/10.0.0.0%2F8
GET $list/10.0.0.0/8
GET $list/10.1.2.3%2F8
GET $list/::ffff:10.9.9.9%2F104
--- json
{"cidrBlock":"10.0.0.0/8","count":0,"created":"2024-01-02T03:04:05Z",
 "links":[{"href":"http://localhost$list/10.0.0.0%2F8","rel":"self"},
  {"href":"http://localhost$keys/$key","rel":"$mms/apiKeys"}]}

=== TEST 9: GET finds an IPv6 address by each of its spellings
--- on: atlas v2 om atlas_old om_old
--- as: owner
--- requests
GET $list/2001:db8::1
GET $list/2001:DB8::1
GET $list/2001:db8:0:0:0:0:0:1
GET $list/2001:0db8::0001%2F128
GET $list/2001%3Adb8%3A%3A1
--- json
{"cidrBlock":"2001:db8::1/128","count":0,"created":"2024-01-02T03:04:05Z","ipAddress":"2001:db8::1",
 "links":[{"href":"http://localhost$list/2001:db8::1","rel":"self"},
  {"href":"http://localhost$keys/$key","rel":"$mms/apiKeys"}]}

=== TEST 10: GET finds an IPv6 block by each of its spellings
--- on: atlas v2 om atlas_old om_old
--- as: owner
--- requests
GET $list/2001:db8::%2F32
GET $list/2001:db8:ffff::/32
--- json
{"cidrBlock":"2001:db8::/32","count":0,"created":"2024-01-02T03:04:05Z",
 "links":[{"href":"http://localhost$list/2001:db8::%2F32","rel":"self"},
  {"href":"http://localhost$keys/$key","rel":"$mms/apiKeys"}]}

=== TEST 11: an entry that is not on the list is not found, though another covers it
--- on: atlas v2 om atlas_old om_old
--- as: owner
--- requests
GET $list/10.0.0.1 -> $not_found ["10.0.0.1","$key"]
GET $list/10.0.0.0%2F9 -> $not_found ["10.0.0.0/9","$key"]
GET $list/10.0.0.0 -> $not_found ["10.0.0.0","$key"]
GET $list/192.0.2.9%2F31 -> $not_found ["192.0.2.8/31","$key"]
GET $list/::1 -> $not_found ["::1","$key"]
GET $list/2001:db8:: -> $not_found ["2001:db8::","$key"]
GET $list/::ffff:0:0%2F96 -> $not_found ["0.0.0.0/0","$key"]
GET $list/0.0.0.0 -> $not_found ["0.0.0.0","$key"]

=== TEST 12: a text in the path that is no address is refused
--- on: atlas v2 om atlas_old om_old
--- as: owner
--- requests eval
CORE::join "\n", map { my $shown = s/%(..)/chr hex $1/ger;
    qq{GET \$list/$_ -> INVALID_IP_ADDRESS_OR_CIDR_NOTATION ["$shown"]} }
    qw( x 10 10.0.0 10.0.0.0.0 010.0.0.1 10.0.0.256 10.0.0.1%2F33 10.0.0.1%2F
        10.0.0.1%2Fx 10.0.0.1%2F-1 10.0.0.1%2F08 ::1%2F129 fe80::1%25eth0
        10.0.0.1%252F8 ::: 1::2::3 12345:: %2010.0.0.1 10.0.0.1%20 0x0a000001
        [::1] )

=== TEST 13: a NUL in the path is a bad request, and a second slash is another path
--- on: atlas v2 om atlas_old om_old
--- as: owner
--- requests
GET $list/%00 -> 400
GET $list/10.0.0.0%2F8%2F9 -> 404
--- contains
400 Bad Request
"errorCode":"RESOURCE_NOT_FOUND"

=== TEST 14: DELETE removes an entry by each of its spellings, and once
--- on: atlas v2 om atlas_old om_old
--- as: owner
--- requests
DELETE $list/192.0.2.9 -> 204
DELETE $list/10.0.0.0%2F8 -> 204
DELETE $list/2001:db8::/32 -> 204
DELETE $list/2001:DB8::1%2F128 -> 204
DELETE $list/192.0.2.9%2F32 -> $not_found ["192.0.2.9","$key"]
DELETE $list/10.0.0.0/8 -> $not_found ["10.0.0.0/8","$key"]

=== TEST 15: DELETE of entries leaves the others on the list
--- on: atlas v2 om atlas_old om_old
--- as: owner
--- requests
GET $list
--- response_body_filters eval: $::blocks
--- response_body chomp
198.51.100.7/32 9.9.9.9/32

=== TEST 16: a key has one list by all its names on all bases
--- as: owner
--- requests
POST $om/orgs/$org_id/apiKeys/$shared_id/whitelist [{"ipAddress":"192.0.2.1"}]
GET $om/orgs/$org_id/apiKeys/$shared_id/whitelist
GET $om/orgs/$org_id/apiKeys/$shared_id/accessList
GET $v2/orgs/$org_id/apiKeys/$shared_id/accessList
GET $shareds
GET $shareds_old
--- response_body_filters eval: $::blocks
--- response_body chomp
192.0.2.1/32

=== TEST 17: an entry is stored in the shortest spelling, with the host bits of a block cleared
--- as: owner
--- requests eval
CORE::join "\n", map { my ($name, $text, $block) = split;
    qq{POST \$anys [{"$name":"$text"}] -> 200: $block
DELETE \$anys/$block -> 204} } split /\n/, <<'END'
ipAddress 192.0.2.1 192.0.2.1/32
ipAddress 2001:DB8:0:0:1:0:0:1 2001:db8::1:0:0:1/128
ipAddress ::ffff:192.0.2.2 192.0.2.2/32
ipAddress ::FFFF:C000:0203 192.0.2.3/32
ipAddress 64:ff9b::192.0.2.33 64:ff9b::c000:221/128
ipAddress ::1 ::1/128
ipAddress 1:2:3:4:5:6:7:: 1:2:3:4:5:6:7:0/128
ipAddress 255.255.255.255 255.255.255.255/32
cidrBlock 10.1.2.3/8 10.0.0.0/8
cidrBlock 192.0.2.77/25 192.0.2.0/25
cidrBlock 192.0.2.4/32 192.0.2.4/32
cidrBlock 0.0.0.0/1 0.0.0.0/1
cidrBlock 128.0.0.0/1 128.0.0.0/1
cidrBlock ::ffff:10.20.30.40/112 10.20.0.0/16
cidrBlock ::ffff:10.20.30.40/128 10.20.30.40/32
cidrBlock ::ffff:128.0.0.0/97 128.0.0.0/1
cidrBlock 2001:db8:ffff::1/33 2001:db8:8000::/33
cidrBlock ::/1 ::/1
cidrBlock ::/95 ::/95
cidrBlock 0.0.0.0/8 0.0.0.0/8
END
--- response_body_filters eval: $::blocks

=== TEST 18: a key has a list of two entries
--- as: owner
--- requests
POST $anys [{"ipAddress":"192.0.2.1"},{"cidrBlock":"10.0.0.0/8"}]
--- response_body_filters eval: $::blocks
--- response_body chomp
10.0.0.0/8 192.0.2.1/32

=== TEST 19: ipAddress that is no address is refused
--- as: owner
--- unchanged: SELECT cidr FROM apikeys.access_list ORDER BY 1
--- requests eval
CORE::join "\n", map {
    qq{POST \$anys [{"ipAddress":"$_"}] -> INVALID_IP_ADDRESS_OR_CIDR_NOTATION ["$_"]}
    } '${empty}', 'x', '10', '10.0.0', '192.0.2.1/32', '10.0.0.0/8', '192.0.2.01',
    '192.0.2.256', ' 192.0.2.1', '192.0.2.1 ', '1.2.3.4.5', '0x7f.1',
    'fe80::1%eth0', '::1::', '1:2:3:4:5:6:7:8:9', '::ffff:1.2.3.4.5',
    'localhost', '192.0.2.1%2F32', '192.0.2.1\n', '2130706433',
    '1:2:3:4:5:6:7', '[::1]', '::1/128', '$x300' 

=== TEST 20: cidrBlock that is no block is refused
--- as: owner
--- unchanged: SELECT cidr FROM apikeys.access_list ORDER BY 1
--- requests eval
CORE::join "\n", map {
    qq{POST \$anys [{"cidrBlock":"$_"}] -> INVALID_CIDR_BLOCK ["$_"]} }
    '${empty}', 'x', '192.0.2.1', '10/8', '10.0.0.0/', '10.0.0.0/33',
    '10.0.0.0/-1', '10.0.0.0/+8', '10.0.0.0/08', '10.0.0.0/8x',
    '10.0.0.0/8/8', '::/129', '::1', '10.0.0.0%2F8', '/8', '10.0.0.0 /8',
    '10.0.0.0/ 8', '10.0.0.0/4294967304', '10.0.0.0/255.0.0.0',
    'fe80::%eth0/64' 

=== TEST 21: an access list takes neither all addresses nor the unspecified one
--- as: owner
--- unchanged: SELECT cidr FROM apikeys.access_list ORDER BY 1
--- requests eval
CORE::join "\n", map { my ($name, $text) = split;
    qq{POST \$anys [{"$name":"$text"}] -> CANNOT_ADD_IP_ADDRESS_TO_API_KEY_ACCESS_LIST ["$text"]} }
    'cidrBlock 0.0.0.0/0 cidrBlock ::/0 cidrBlock ::ffff:0:0/96
    cidrBlock 0.0.0.0/32 ipAddress 0.0.0.0 ipAddress :: cidrBlock ::/128
    cidrBlock 1.2.3.4/0 cidrBlock 2001:db8::/0 ipAddress ::ffff:0.0.0.0
    cidrBlock ::ffff:1.2.3.4/96 ipAddress 0:0:0:0:0:0:0:0' =~ /\S+ \S+/g

=== TEST 22: an access list takes an entry once
--- as: owner
--- unchanged: SELECT cidr FROM apikeys.access_list ORDER BY 1
--- requests
POST $anys [{"ipAddress":"192.0.2.5"},{"ipAddress":"192.0.2.5"}] -> DUPLICATE_ADDRESSES_IN_INPUT
POST $anys [{"ipAddress":"192.0.2.5"},{"cidrBlock":"192.0.2.5/32"}] -> DUPLICATE_ADDRESSES_IN_INPUT
POST $anys [{"ipAddress":"192.0.2.5"},{"ipAddress":"::ffff:192.0.2.5"}] -> DUPLICATE_ADDRESSES_IN_INPUT
POST $anys [{"cidrBlock":"11.1.1.1/8"},{"ipAddress":"192.0.2.6"},{"cidrBlock":"11.2.2.2/8"}] -> DUPLICATE_ADDRESSES_IN_INPUT
POST $anys [{"ipAddress":"192.0.2.1"}] -> ADDRESS_ALREADY_IN_ACCESS_LIST ["192.0.2.1"]
POST $anys [{"cidrBlock":"::ffff:192.0.2.1/128"}] -> ADDRESS_ALREADY_IN_ACCESS_LIST ["192.0.2.1"]
POST $anys [{"ipAddress":"192.0.2.7"},{"cidrBlock":"10.3.3.3/8"}] -> ADDRESS_ALREADY_IN_ACCESS_LIST ["10.0.0.0/8"]
POST $anys [{"ipAddress":"192.0.2.5","cidrBlock":"192.0.2.5/32"}] -> BAD_ACCESS_LIST_ADD_REQUEST

=== TEST 23: a whitelist takes neither all addresses nor the unspecified one
--- as: owner
--- unchanged: SELECT cidr FROM apikeys.access_list ORDER BY 1
--- requests eval
CORE::join "\n", map { my ($name, $text) = split;
    qq{POST \$anys_old [{"$name":"$text"}] -> CANNOT_ADD_IP_ADDRESS_TO_API_KEY_WHITELIST ["$text"]} }
    'cidrBlock 0.0.0.0/0 cidrBlock ::/0 cidrBlock ::ffff:0:0/96
    cidrBlock 0.0.0.0/32 ipAddress 0.0.0.0 ipAddress :: cidrBlock ::/128
    cidrBlock 1.2.3.4/0 cidrBlock 2001:db8::/0 ipAddress ::ffff:0.0.0.0
    cidrBlock ::ffff:1.2.3.4/96 ipAddress 0:0:0:0:0:0:0:0' =~ /\S+ \S+/g

=== TEST 24: a whitelist takes an entry once
--- as: owner
--- unchanged: SELECT cidr FROM apikeys.access_list ORDER BY 1
--- requests
POST $anys_old [{"ipAddress":"192.0.2.5"},{"ipAddress":"192.0.2.5"}] -> DUPLICATE_ADDRESSES_IN_INPUT/whitelist
POST $anys_old [{"ipAddress":"192.0.2.5"},{"cidrBlock":"192.0.2.5/32"}] -> DUPLICATE_ADDRESSES_IN_INPUT/whitelist
POST $anys_old [{"ipAddress":"192.0.2.5"},{"ipAddress":"::ffff:192.0.2.5"}] -> DUPLICATE_ADDRESSES_IN_INPUT/whitelist
POST $anys_old [{"cidrBlock":"11.1.1.1/8"},{"ipAddress":"192.0.2.6"},{"cidrBlock":"11.2.2.2/8"}] -> DUPLICATE_ADDRESSES_IN_INPUT/whitelist
POST $anys_old [{"ipAddress":"192.0.2.1"}] -> ADDRESS_ALREADY_IN_WHITELIST ["192.0.2.1"]
POST $anys_old [{"cidrBlock":"::ffff:192.0.2.1/128"}] -> ADDRESS_ALREADY_IN_WHITELIST ["192.0.2.1"]
POST $anys_old [{"ipAddress":"192.0.2.7"},{"cidrBlock":"10.3.3.3/8"}] -> ADDRESS_ALREADY_IN_WHITELIST ["10.0.0.0/8"]
POST $anys_old [{"ipAddress":"192.0.2.5","cidrBlock":"192.0.2.5/32"}] -> BAD_WHITELIST_ADD_REQUEST

=== TEST 25: POST with a wrong entry among others adds none of them
--- as: owner
--- unchanged: SELECT cidr FROM apikeys.access_list ORDER BY 1
--- requests
POST $anys [{"ipAddress":"192.0.2.7"},{"ipAddress":"x"}]
--- answers: INVALID_IP_ADDRESS_OR_CIDR_NOTATION ["x"]

=== TEST 26: POST refuses entries without an address, and attributes of other kinds
--- as: owner
--- unchanged: SELECT cidr FROM apikeys.access_list ORDER BY 1
--- requests
POST $anys [{}] -> MISSING_ONE_OF_ATTRIBUTES ["ipAddress","cidrBlock"]
POST $anys [{"ipAddress":null}] -> MISSING_ONE_OF_ATTRIBUTES ["ipAddress","cidrBlock"]
POST $anys [{"ipAddress":1}] -> INVALID_JSON_ATTRIBUTE ["ipAddress"]
POST $anys [{"cidrBlock":[]}] -> INVALID_JSON_ATTRIBUTE ["cidrBlock"]
POST $anys [{"ipAddress":"192.0.2.5","comment":"x"}] -> INVALID_ATTRIBUTE ["comment"]
POST $anys [{"ipAddress":"192.0.2.5","count":null}] -> ATTRIBUTE_READ_ONLY ["count"]
POST $anys [{"ipAddress":"192.0.2.5","created":null}] -> ATTRIBUTE_READ_ONLY ["created"]
POST $anys [{"ipAddress":"192.0.2.5","lastUsed":null}] -> ATTRIBUTE_READ_ONLY ["lastUsed"]
POST $anys [{"ipAddress":"192.0.2.5","lastUsedAddress":null}] -> ATTRIBUTE_READ_ONLY ["lastUsedAddress"]
POST $anys [{"ipAddress":"192.0.2.5","links":null}] -> ATTRIBUTE_READ_ONLY ["links"]

=== TEST 27: POST refuses a body that is no array of objects
--- as: owner
--- unchanged: SELECT cidr FROM apikeys.access_list ORDER BY 1
--- more_headers
Content-Type: application/json
--- requests
POST $anys {"ipAddress":"192.0.2.5"} -> INVALID_JSON
POST $anys ["192.0.2.5"] -> INVALID_JSON
POST $anys [[{"ipAddress":"192.0.2.5"}]] -> INVALID_JSON
POST $anys [null] -> INVALID_JSON
POST $anys "192.0.2.5" -> INVALID_JSON
POST $anys -> MALFORMED_JSON
POST $anys [{"ipAddress":"192.0.2.5"},] -> MALFORMED_JSON
POST $anys [{"ipAddress":"192.0.2.5","ipAddress":"192.0.2.6"}] -> MALFORMED_JSON

=== TEST 28: a refused POST changes no list
--- as: owner
--- requests
GET $anys
--- response_body_filters eval: $::blocks
--- response_body chomp
10.0.0.0/8 192.0.2.1/32

=== TEST 29: a list holds for the request after each change of it
--- requests
guest: GET $atlas/ -> 200
owner: POST $guests [{"ipAddress":"192.0.2.1"}] -> 200
guest: GET $atlas/ -> IP_ADDRESS_NOT_ON_ACCESS_LIST ["127.0.0.1"]
owner: POST $guests [{"cidrBlock":"127.0.0.0/8"}] -> 200
guest: GET $atlas/ -> 200
owner: DELETE $guests/127.0.0.0%2F8 -> 204
guest: GET $atlas/ -> 403
owner: DELETE $guests/192.0.2.1 -> 204
guest: GET $atlas/ -> 200
--- decision: allow allow address allow allow allow address allow allow

=== TEST 30: keys without a list are refused while the organization requires one
--- requests
owner: PATCH $atlas/orgs/$org_id/settings {"apiAccessListRequired":true} -> 200
guest: GET $atlas/ -> ORG_REQUIRES_ACCESS_LIST ["127.0.0.1"]
owner: GET $atlas/ -> ORG_REQUIRES_ACCESS_LIST ["127.0.0.1"]
operator: PATCH $atlas/orgs/$org_id/settings {"apiAccessListRequired":false} -> 200
guest: GET $atlas/ -> 200
--- decision: allow no_access_list no_access_list allow allow

=== TEST 31: a key cannot remove the only entry that covers its address
--- on: atlas v2 om atlas_old om_old
--- requests
$self: POST $own [{"ipAddress":"127.0.0.1"},{"cidrBlock":"127.0.0.0/8"},{"ipAddress":"192.0.2.1"}] -> 200
$self: DELETE $own/127.0.0.1 -> 204
$self: DELETE $own/127.0.0.0%2F8 -> $caller ["127.0.0.1"]
$self: DELETE $own/192.0.2.1 -> 204
$self: DELETE $own/127.0.0.0/8 -> $caller ["127.0.0.1"]
$self: GET $base/ -> 200
owner: DELETE $own/127.0.0.0/8 -> 204
owner: POST $own [{"cidrBlock":"127.0.0.0/8"}] -> 200
operator: DELETE $own/127.0.0.0/8 -> 204

=== TEST 32: a key can add an entry that excludes its own address
--- requests
lock: POST $locks [{"ipAddress":"192.0.2.1"}] -> 200
lock: GET $locks -> 403
--- decision: allow address

=== TEST 33: a list takes up to 10,000 entries, or none of those in a request
--- requests eval
CORE::join "\n", map { $_->[0] . '$bigs' . $_->[1] }
    ['owner: POST ', ' [' . main::net(1 .. 9_998) . '] -> 200: 9998'],
    ['owner: POST ', ' [' . main::net(20_001 .. 20_003)
        . '] -> MAX_ACCESS_LIST_ENTRIES_EXCEEDED [10000]'],
    ['owner: GET ', ' -> 200: 9998'],
    ['owner: POST ', ' [' . main::net(20_001 .. 20_002) . '] -> 200: 10000'],
    ['owner: POST ', ' [' . main::net(20_003)
        . '] -> MAX_ACCESS_LIST_ENTRIES_EXCEEDED [10000]'],
    ['owner: POST ', ' [' . main::net(20_003, 7)
        . '] -> ADDRESS_ALREADY_IN_ACCESS_LIST ["10.0.0.7"]'],
    ['owner: POST ', ' [' . main::net(20_003, 20_003)
        . '] -> DUPLICATE_ADDRESSES_IN_INPUT'],
    ['operator: POST ', ' [' . main::net(20_003) . '] -> 400']
--- response_body_filters eval: $::count

=== TEST 34: the last page of 10,000 entries is full and links to no next one
--- as: owner
--- requests
GET $bigs?itemsPerPage=500&pageNum=20
--- response_body_filters eval
sub { my ($links) = $_[0] =~ /^\{"links":\[([^]]*)\]/;
    CORE::join ' ', $links =~ /"rel":"(\w+)"/g, scalar(() = $_[0] =~ /"cidrB/g) }
--- response_body chomp
previous self 500

=== TEST 35: a list of 10,000 entries admits its key from a listed address alone
--- requests
big: GET $bigs -> IP_ADDRESS_NOT_ON_ACCESS_LIST ["127.0.0.1"]
owner: DELETE $bigs/10.0.0.7 -> 204
owner: POST $bigs [{"ipAddress":"127.0.0.1"}] -> 200
big: GET $bigs?itemsPerPage=1 -> 200: 10000
--- response_body_filters eval: $::count
