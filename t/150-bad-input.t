# Bad input in every form: each gets its documented error, nothing changes,
# and the connection serves the next request.  Chunks, bodies in pieces and
# bodies that never come are in t/150-bad-input-stream.t.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

names(keys => '$atlas/orgs/$org_id/apiKeys', key => '$keys/$one_id',
    good => '"desc":"x","roles":["ORG_MEMBER"]',
    nothing_else => <<'END',
SELECT s::text FROM apikeys.org_states s
UNION ALL SELECT s::text FROM apikeys.project_states s
UNION ALL SELECT s::text FROM apikeys.key_states s
UNION ALL SELECT count(*)::text FROM apikeys.audit ORDER BY 1
END
    n60000 => 'n' x 60_000, n8192 => 'n' x 8192, R100000 => 'R' x 100_000,
    R8192 => 'R' x 8192, x251 => 'x' x 251, x65 => 'x' x 65, x4000 => 'x' x 4000,
    x100000 => 'x' x 100_000, keys251 => "\xf0\x9f\x94\x91" x 251,
    digits => '1' x 100_000, digits8192 => '1' x 8192, A24 => 'A' x 24,
    e12 => '%C3%A9' x 12, shown12 => '\u00e9' x 12,
    roles1000 => join(',', map { "\"ORG_ROLE_$_\"" } 1 .. 1000),
    roles999 => '"ORG_MEMBER",' x 999, many => join('&', map { "a$_=$_" } 1 .. 800));

# each body to POST, and to PATCH
sub both { return [ map { ("POST \$keys\n$_", "PATCH \$key\n$_") } @_ ] }

# for response_body_filters
our $parsed = sub { return eval { JSON::PP->new->utf8->decode($_[0]) }
    ? 'JSON' : $@ };

locations('', 'large_client_header_buffers 4 8k;',
    'client_max_body_size 128k; client_body_buffer_size 1k;');
run_tests();

__DATA__

=== TEST 1: a body that is no JSON is malformed
--- keys
one: ORG_MEMBER
--- as: operator
--- unchanged: $nothing_else
--- more_headers
Content-Type: application/json
--- pipelined_requests eval
main::both(
    '{"desc":}', '{"desc":"x"', '{"desc":"x', "{\$good,}",
    '{"desc":"x",,"roles":[]}', '{"desc":"x" "roles":[]}', '{"desc" "x"}',
    "{'desc':'x'}", '{desc:"x"}', "{\$good}{\$good}", "{\$good}x",
    "{\$good}/* x */", 'desc=x&roles=ORG_MEMBER', '<key/>', )
--- answers: MALFORMED_JSON
--- then: GET $atlas/

=== TEST 2: a body in another encoding, or with numbers that JSON lacks, is malformed
--- as: operator
--- unchanged: $nothing_else
--- more_headers
Content-Type: application/json
--- pipelined_requests eval
main::both(
    "\xef\xbb\xbf{\$good}",
    CORE::join('', map { "\0$_" } split //, '{"desc":"x","roles":["ORG_MEMBER"]}'),
    '{"desc":NaN}', '{"desc":01}', '{"desc":True}', '{"desc":1e999}',
    '{"desc":' . '9' x 400 . '}', )
--- answers: MALFORMED_JSON
--- then: GET $atlas/

=== TEST 3: a control character or a wrong escape in a body makes it malformed
--- as: operator
--- unchanged: $nothing_else
--- more_headers
Content-Type: application/json
--- pipelined_requests eval
main::both(
    "{\"desc\":\"a\nb\"}", "{\"desc\":\"a\tb\"}", "{\"desc\":\"a\0b\"}",
    "{\$good}\0", "{\0\$good}", '{"desc":"a\u0000b","roles":["ORG_MEMBER"]}',
    '{"de\u0000sc":"a"}', '{"desc":"\x41"}', '{"desc":"\u12"}',
    '{"desc":"\ud83d"}', '{"desc":"\udd11"}', '{"desc":"\udd11\ud83d"}', )
--- answers: MALFORMED_JSON
--- then: GET $atlas/

=== TEST 4: a body that is no UTF-8 is malformed
--- as: operator
--- unchanged: $nothing_else
--- more_headers
Content-Type: application/json
--- pipelined_requests eval
main::both(
    "{\"desc\":\"\xff\"}", "{\"desc\":\"\x80\"}", "{\"desc\":\"\xe2\x82\"}",
    "{\"desc\":\"\xc0\xaf\"}", "{\"desc\":\"\xc0\x80\"}",
    "{\"desc\":\"\xed\xa0\x80\"}", "{\"desc\":\"\xf4\x90\x80\x80\"}",
    "{\"desc\":\"caf\xe9\"}", "{\"\xff\":1}", "{\$good}\xff", )
--- answers: MALFORMED_JSON
--- then: GET $atlas/

=== TEST 5: a member that is there twice makes a body malformed
--- as: operator
--- unchanged: $nothing_else
--- more_headers
Content-Type: application/json
--- pipelined_requests eval
main::both(
    '{"desc":"x","desc":"x","roles":["ORG_MEMBER"]}',
    '{"desc":"x","roles":["ORG_MEMBER"],"roles":[]}',
    "{\$good,\"a\":1,\"a\":1}", '{"desc":"x","d\u0065sc":"y"}',
    "{\$good,\"a\":{\"b\":1,\"b\":2}}", )
--- answers: MALFORMED_JSON
--- then: GET $atlas/

=== TEST 6: an empty body and one of blanks are malformed
--- as: operator
--- unchanged: $nothing_else
--- more_headers eval
[map { "Content-Type: application/json\nContent-Length: $_" } 0, 0, 0, 0, 4, 0,
    4, 0]
--- pipelined_requests eval: main::both('', " \t\r\n")
--- answers: MALFORMED_JSON
--- then: GET $atlas/

=== TEST 7: a body that is too deep, or of too many values, is malformed
--- as: operator
--- unchanged: $nothing_else
--- pipelined_requests eval
[ map { "POST \$keys\n$_" } '[' x 5000 . ']' x 5000, '[' x 100_000,
    '{$good,"tags":[' . CORE::join(',', (1) x 4000) . ']}',
    '{"a":' x 5000 . '1' . '}' x 5000, '{"a":' x 20_000 ]
--- answers: MALFORMED_JSON
--- then: GET $atlas/

=== TEST 8: an attribute that a key lacks is named, up to 8,192 bytes of it
--- as: operator
--- unchanged: $nothing_else
--- requests
POST $keys {$good,"a":[[[[[[[[[[]]]]]]]]]]} -> INVALID_ATTRIBUTE ["a"]
POST $keys {$good,"$n60000":1} -> INVALID_ATTRIBUTE ["$n8192"]
POST $keys {$good,"a\"b":1} -> INVALID_ATTRIBUTE ["a\"b"]
POST $keys {$good,"<b>":1} -> INVALID_ATTRIBUTE ["<b>"]
POST $keys {"DESC":"x"} -> INVALID_ATTRIBUTE ["DESC"]
--- then: GET $atlas/

=== TEST 9: the first role that is unknown is named, up to 8,192 bytes of it
--- as: operator
--- unchanged: $nothing_else
--- requests
POST $keys {"desc":"x","roles":[$roles1000]} -> INVALID_ENUM_VALUE ["ORG_ROLE_1"]
POST $keys {"desc":"x","roles":[$roles999"x"]} -> INVALID_ENUM_VALUE ["x"]
POST $keys {"desc":"x","roles":["$R100000"]} -> INVALID_ENUM_VALUE ["$R8192"]
POST $keys {"desc":"x","roles":["ORG_OWNER'"]} -> INVALID_ENUM_VALUE ["ORG_OWNER'"]
POST $keys {"desc":"x","roles":["ORG_MEMBER,ORG_OWNER"]} -> INVALID_ENUM_VALUE ["ORG_MEMBER,ORG_OWNER"]
--- then: GET $atlas/

=== TEST 10: a description of more than 250 code points is refused
--- as: operator
--- unchanged: $nothing_else
--- requests
POST $keys {"desc":"$x251","roles":["ORG_MEMBER"]}
POST $keys {"desc":"$keys251","roles":["ORG_MEMBER"]}
PATCH $key {"desc":"$x100000"}
--- answers: INVALID_API_KEY_DESC [250]
--- then: GET $atlas/

=== TEST 11: an address or a name of an organization that is too long is refused
--- as: operator
--- unchanged: $nothing_else
--- requests
POST $key/accessList [{"ipAddress":"$digits"}] -> INVALID_IP_ADDRESS_OR_CIDR_NOTATION ["$digits8192"]
POST $key/accessList [{"ipAddress":"10.0.0.1,10.0.0.2"}] -> INVALID_IP_ADDRESS_OR_CIDR_NOTATION ["10.0.0.1,10.0.0.2"]
POST $atlas/orgs {"name":"$x65"} -> INVALID_JSON_ATTRIBUTE ["name"]
--- then: GET $atlas/

=== TEST 12: an id in the path that is none is refused
--- as: operator
--- unchanged: $nothing_else
--- requests
GET $keys/%27%22 -> PATH_PARAM_PARSE_ERROR ["$keys/'\""]
GET $keys/$e12 -> PATH_PARAM_PARSE_ERROR ["$keys/$shown12"]
GET $keys/%20$one_id -> PATH_PARAM_PARSE_ERROR ["$keys/ $one_id"]
GET $keys/$A24 -> PATH_PARAM_PARSE_ERROR ["$keys/$A24"]
--- then: GET $atlas/

=== TEST 13: an unknown path is not found, nor is one with a line feed
--- as: operator
--- unchanged: $nothing_else
--- requests
GET $atlas/$x4000 -> RESOURCE_NOT_FOUND ["$atlas/$x4000"]
GET $atlas/a%0Ab -> RESOURCE_NOT_FOUND ["$atlas/a\nb"]
GET $keys%0A -> RESOURCE_NOT_FOUND ["$keys\n"]
GET $atlas/%0A -> RESOURCE_NOT_FOUND ["$atlas/\n"]
--- then: GET $atlas/

=== TEST 14: an error document is JSON where the path or the type is no UTF-8
--- as: operator
--- unchanged: $nothing_else
--- request eval
["GET \$atlas/%FF%FE", "GET \$keys/%FF", "PATCH \$key\n{}"]
--- more_headers eval: ["", "", "Content-Type: text/\xff"]
--- error_code eval: [404, 400, 415]
--- response_body_filters eval: $::parsed
--- response_body chomp
JSON

=== TEST 15: a parameter of the query with a wrong value is refused
--- as: operator
--- unchanged: $nothing_else
--- requests
GET $keys?pretty=%00 -> INVALID_QUERY_PARAMETER ["pretty"]
GET $keys?pretty=%74rue%00 -> INVALID_QUERY_PARAMETER ["pretty"]
GET $keys?pageNum=%FF -> INVALID_QUERY_PARAMETER ["pageNum"]
GET $keys?pageNum=1%2C2 -> INVALID_QUERY_PARAMETER ["pageNum"]
GET $keys?pageNum=% -> INVALID_QUERY_PARAMETER ["pageNum"]
GET $keys?itemsPerPage=1e3 -> INVALID_QUERY_PARAMETER ["itemsPerPage"]
GET $keys?envelope=' -> INVALID_QUERY_PARAMETER ["envelope"]
GET $keys?includeCount=true%20 -> INVALID_QUERY_PARAMETER ["includeCount"]
GET $keys?pageNum=1;itemsPerPage=2 -> INVALID_QUERY_PARAMETER ["pageNum"]
--- then: GET $atlas/

=== TEST 16: a query in an odd form is ignored
--- as: operator
--- requests eval
CORE::join "\n", map { "GET \$keys?$_" } '%', '%%', '%zz=1', '=', '&&&', '=true',
    'pretty%3Dx', '?', 'a=%FF%FE', '[]', '$x4000', '$many'
--- answers: 200
--- response_body_filters eval: $::parsed
--- response_body chomp
JSON

=== TEST 17: a body of 131,073 bytes is too large
--- as: operator
--- unchanged: $nothing_else
--- request eval: "POST \$keys\n" . 'x' x (128 * 1024 + 1)
--- may_log: error
--- answers: REQUEST_TOO_LARGE

=== TEST 18: the body of a GET or DELETE is not read as the next request
--- as: operator
--- unchanged: $nothing_else
--- pipelined_requests eval
[ map { "$_ \$keys/x\nGET /open HTTP/1.1\r\nHost: x" } 'GET', 'DELETE' ]
--- answers: PATH_PARAM_PARSE_ERROR ["$keys/x"]
--- then: GET $atlas/

=== TEST 19: good and bad requests in one write are answered in their order
--- as: operator, operator, operator, none, operator, operator, operator
--- unchanged: $nothing_else
--- pipelined_requests eval
my $none = "POST \$keys\nGET \$atlas/ HTTP/1.1\r\nHost: x";
[ 'GET $atlas/', "PATCH \$key\n{", 'GET $atlas/', $none, 'GET $atlas/',
    "PATCH \$key\n{", 'GET $atlas/' ]
--- answers eval: "200\nMALFORMED_JSON\n200\n401\n200\nMALFORMED_JSON\n200"

=== TEST 20: preconditions are ignored, as no resource has a validator
--- keys
checked: ORG_MEMBER
--- as: operator
--- requests
GET $keys/$checked_id -> 200
GET $keys/$checked_id -> 200
GET $keys/$checked_id -> 200
GET $keys/$checked_id -> 200
PATCH $keys/$checked_id {"desc":"matched"} -> 200 ... "desc":"matched"
POST $keys {$good} -> 200 ... "privateKey":"
--- more_headers eval
['If-Match: "x"', 'If-None-Match: *', 'If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT',
    'If-Modified-Since: Sat, 29 Oct 2094 19:43:31 GMT', 'If-Match: "x"',
    'If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT']
