# Pages, links, counts, pretty, envelope and the rest of the query string:
# what the service that clients know does with them, byte for byte.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';
use JSON::PP qw( decode_json );

locations(<<'END');
location /behind {
    apikeys_api atlas_v1;
    apikeys_public_url https://api.example.com:8443;
}
location /strange-(base)[1] {
    apikeys_api atlas_v1;
}
END

names(
    keys => '$base/orgs/$org_id/apiKeys', address => fixture()->nginx->url,
    listed => '$keys/fffffffffffffffffffffff1',
    members => '$base/groups/$project_id/apiKeys',
    one => '$base/orgs/$small_id/apiKeys/$reader_id',
);

# Filters of a list: the relations of its links; its own link; the size of the
# page, "of" all, and that link; the names on a page of two, "of" all, at the path
# and the kept query, with links, which are a page number if the rest is right.
sub rels { return join ' ', map { $_->{rel} } @{ decode_json($_[0])->{links} } }

sub self {
    return (grep { $_->{rel} eq 'self' } @{ decode_json($_[0])->{links} })[0]{href};
}

sub size {
    my $list = decode_json($_[0]);
    my $of = exists $list->{totalCount} ? " of $list->{totalCount}" : '';
    return @{ $list->{results} } . "$of, " . self($_[0]) =~ s{http://localhost}{}r;
}

sub page {
    my $list = decode_json($_[0]);
    my ($at) = self($_[0]) =~ m{^http://localhost(.*)pageNum=\d+&itemsPerPage=2$};
    my %query = (self => 'pageNum=(\d+)&itemsPerPage=2');

    return join ' ', (map { $_->{publicKey} // $_->{ipAddress} // $_->{name} }
        @{ $list->{results} }), "of $list->{totalCount} at $at", map {
            my $query = $query{ $_->{rel} } // 'itemsPerPage=2&pageNum=(\d+)';
            "$_->{rel}=" . $_->{href} =~ s{^http://localhost\Q$at\E$query$}{$1}r;
        } @{ $list->{links} };
}

run_tests();

__DATA__

=== TEST 1: keys that SQL has made get a role in a project and an access list
--- keys
owner: ORG_OWNER GROUP_OWNER
chief: ORG_OWNER org=small
reader: ORG_READ_ONLY org=small
--- sql
INSERT INTO apikeys.keys (id, org_id, public_key, secret, redacted, descr, roles)
    SELECT lpad(n::text, 24, 'f'), '$org_id', name,
           decode(repeat('00', 112), 'hex'), '000000000000', name, '{ORG_MEMBER}'
      FROM (VALUES (1, 'zzzzzzzz'), (2, 'aaaaaaab'), (3, 'zzzzzzzy'),
                   (4, 'aaaaaaaa'), (5, 'aaaaaaac'), (6, 'zzzzzzzx')) k (n, name)
--- may_log: error
--- as: owner
--- requests
PATCH $members/fffffffffffffffffffffff5 {"roles":["GROUP_READ_ONLY"]}
PATCH $members/fffffffffffffffffffffff6 {"roles":["GROUP_READ_ONLY"]}
POST $listed/accessList [{"ipAddress":"192.0.2.1"},{"ipAddress":"192.0.2.2"},
    {"ipAddress":"192.0.2.3"},{"ipAddress":"192.0.2.4"},{"ipAddress":"192.0.2.5"}]
--- answers: 200
--- contains
"groupId":"$project_id","roleName":"GROUP_READ_ONLY"
"groupId":"$project_id","roleName":"GROUP_READ_ONLY"
"totalCount":5

=== TEST 2: keys of an organization are in pages of two
--- on: atlas v2 om
--- as: owner
--- requests
GET $keys?itemsPerPage=2&pageNum=1 -> 200: aaaaaaaa aaaaaaab of 7 at $keys? self=1 next=2
GET $keys?itemsPerPage=2&pageNum=2 -> 200: aaaaaaac $owner_public of 7 at $keys? previous=1 self=2 next=3
GET $keys?itemsPerPage=2&pageNum=3 -> 200: zzzzzzzx zzzzzzzy of 7 at $keys? previous=2 self=3 next=4
GET $keys?itemsPerPage=2&pageNum=4 -> 200: zzzzzzzz of 7 at $keys? previous=3 self=4
GET $keys?itemsPerPage=2&pageNum=5 -> 200: of 7 at $keys? previous=4 self=5
GET $keys?itemsPerPage=2&pageNum=6 -> 200: of 7 at $keys? previous=5 self=6
--- response_body_filters eval: \&main::page

=== TEST 3: an access list is in pages of two
--- on: atlas v2 om
--- as: owner
--- requests
GET $listed/accessList?itemsPerPage=2&pageNum=1 -> 200: 192.0.2.1 192.0.2.2 of 5 at $listed/accessList? self=1 next=2
GET $listed/accessList?itemsPerPage=2&pageNum=2 -> 200: 192.0.2.3 192.0.2.4 of 5 at $listed/accessList? previous=1 self=2 next=3
GET $listed/accessList?itemsPerPage=2&pageNum=3 -> 200: 192.0.2.5 of 5 at $listed/accessList? previous=2 self=3
GET $listed/accessList?itemsPerPage=2&pageNum=4 -> 200: of 5 at $listed/accessList? previous=3 self=4
GET $listed/accessList?itemsPerPage=2&pageNum=5 -> 200: of 5 at $listed/accessList? previous=4 self=5
--- response_body_filters eval: \&main::page

=== TEST 4: an access list by its old name is in pages of two
--- on: atlas om
--- as: owner
--- requests
GET $listed/whitelist?itemsPerPage=2&pageNum=1 -> 200: 192.0.2.1 192.0.2.2 of 5 at $listed/whitelist? self=1 next=2
GET $listed/whitelist?itemsPerPage=2&pageNum=2 -> 200: 192.0.2.3 192.0.2.4 of 5 at $listed/whitelist? previous=1 self=2 next=3
GET $listed/whitelist?itemsPerPage=2&pageNum=3 -> 200: 192.0.2.5 of 5 at $listed/whitelist? previous=2 self=3
GET $listed/whitelist?itemsPerPage=2&pageNum=4 -> 200: of 5 at $listed/whitelist? previous=3 self=4
GET $listed/whitelist?itemsPerPage=2&pageNum=5 -> 200: of 5 at $listed/whitelist? previous=4 self=5
--- response_body_filters eval: \&main::page

=== TEST 5: keys of a project are in pages of two
--- on: atlas v2 om
--- as: owner
--- requests
GET $members?itemsPerPage=2&pageNum=1 -> 200: aaaaaaac $owner_public of 3 at $members? self=1 next=2
GET $members?itemsPerPage=2&pageNum=2 -> 200: zzzzzzzx of 3 at $members? previous=1 self=2
GET $members?itemsPerPage=2&pageNum=3 -> 200: of 3 at $members? previous=2 self=3
GET $members?itemsPerPage=2&pageNum=4 -> 200: of 3 at $members? previous=3 self=4
--- response_body_filters eval: \&main::page

=== TEST 6: organizations and projects are in pages of two
--- on: atlas v2 om
--- as: owner
--- requests
GET $base/orgs?itemsPerPage=2&pageNum=1 -> 200: org of 1 at $base/orgs? self=1
GET $base/orgs?itemsPerPage=2&pageNum=2 -> 200: of 1 at $base/orgs? previous=1 self=2
GET $base/orgs?itemsPerPage=2&pageNum=3 -> 200: of 1 at $base/orgs? previous=2 self=3
GET $base/groups?itemsPerPage=2&pageNum=1 -> 200: project of 1 at $base/groups? self=1
GET $base/groups?itemsPerPage=2&pageNum=2 -> 200: of 1 at $base/groups? previous=1 self=2
GET $base/groups?itemsPerPage=2&pageNum=3 -> 200: of 1 at $base/groups? previous=2 self=3
GET $base/orgs/$org_id/groups?itemsPerPage=2&pageNum=1 -> 200: project of 1 at $base/orgs/$org_id/groups? self=1
GET $base/orgs/$org_id/groups?itemsPerPage=2&pageNum=2 -> 200: of 1 at $base/orgs/$org_id/groups? previous=1 self=2
GET $base/orgs/$org_id/groups?itemsPerPage=2&pageNum=3 -> 200: of 1 at $base/orgs/$org_id/groups? previous=2 self=3
--- response_body_filters eval: \&main::page

=== TEST 7: a page links to the previous and the next page that exist
--- as: owner
--- requests
GET $keys?itemsPerPage=7&pageNum=1 -> 200: self
GET $keys?itemsPerPage=6&pageNum=1 -> 200: self next
GET $keys?itemsPerPage=8&pageNum=1 -> 200: self
GET $keys?itemsPerPage=7&pageNum=2 -> 200: previous self
GET $keys?itemsPerPage=1&pageNum=7 -> 200: previous self
GET $keys?itemsPerPage=1&pageNum=6 -> 200: previous self next
--- response_body_filters eval: \&main::rels

=== TEST 8: links keep other parameters in their order, before those of the page
--- on: v2
--- as: operator
--- requests
GET $keys?includeCount=true&itemsPerPage=2&pageNum=2
    -> 200: aaaaaaac $owner_public of 7 at $keys?includeCount=true& previous=1 self=2 next=3
GET $keys?pageNum=2&pretty=false&itemsPerPage=2
    -> 200: aaaaaaac $owner_public of 7 at $keys?pretty=false& previous=1 self=2 next=3
GET $keys?itemsPerPage=2&name=&pageNum=2&x
    -> 200: aaaaaaac $owner_public of 7 at $keys?name=&x& previous=1 self=2 next=3
GET $keys?a=%41+b%2fc&itemsPerPage=2&pageNum=2&pageNum=7&itemsPerPage=9&a=1
    -> 200: aaaaaaac $owner_public of 7 at $keys?a=%41+b%2fc&a=1& previous=1 self=2 next=3
GET $keys?%70ageNum=2&itemsPer%50age=2&pagenum=9
    -> 200: aaaaaaac $owner_public of 7 at $keys?pagenum=9& previous=1 self=2 next=3
GET $keys?&&itemsPerPage=2&&pageNum=2&
    -> 200: aaaaaaac $owner_public of 7 at $keys? previous=1 self=2 next=3
GET $keys?itemsPerPage=2&pageNum=2&q=a=b&q="<>
    -> 200: aaaaaaac $owner_public of 7 at $keys?q=a=b&q="<>& previous=1 self=2 next=3
GET $keys?itemsPerPage=2&pageNum=2&=x&=
    -> 200: aaaaaaac $owner_public of 7 at $keys?=x&=& previous=1 self=2 next=3
--- response_body_filters eval: \&main::page

=== TEST 9: pageNum and itemsPerPage have defaults, a maximum, leading zeros and escapes
--- as: owner
--- requests
GET $keys -> 200: 7 of 7, $keys?pageNum=1&itemsPerPage=100
GET $keys? -> 200: 7 of 7, $keys?pageNum=1&itemsPerPage=100
GET $keys?itemsPerPage=500 -> 200: 7 of 7, $keys?pageNum=1&itemsPerPage=500
GET $keys?itemsPerPage=501 -> 200: 7 of 7, $keys?pageNum=1&itemsPerPage=500
GET $keys?itemsPerPage=2147483647 -> 200: 7 of 7, $keys?pageNum=1&itemsPerPage=500
GET $keys?itemsPerPage=0&pageNum=0 -> 200: 7 of 7, $keys?pageNum=1&itemsPerPage=100
GET $keys?itemsPerPage=0&pageNum=2 -> 200: 0 of 7, $keys?pageNum=2&itemsPerPage=100
GET $keys?itemsPerPage=2&pageNum=00 -> 200: 2 of 7, $keys?pageNum=1&itemsPerPage=2
GET $keys?itemsPerPage=0002 -> 200: 2 of 7, $keys?pageNum=1&itemsPerPage=2
GET $keys?itemsPerPage=%32 -> 200: 2 of 7, $keys?pageNum=1&itemsPerPage=2
GET $keys?itemsPerPage=3&itemsPerPage=x -> 200: 3 of 7, $keys?pageNum=1&itemsPerPage=3
GET $keys?pageNum=2147483647 -> 200: 0 of 7, $keys?pageNum=2147483647&itemsPerPage=100
GET $keys?pageNum=2147483647&itemsPerPage=500 -> 200: 0 of 7, $keys?pageNum=2147483647&itemsPerPage=500
--- response_body_filters eval: \&main::size

=== TEST 10: a value of pageNum or itemsPerPage that is no number is refused
--- as: owner
--- requests
GET $keys?pageNum=-0 -> 400 INVALID_QUERY_PARAMETER ["pageNum"]
GET $keys?itemsPerPage=-0 -> 400 INVALID_QUERY_PARAMETER ["itemsPerPage"]
GET $keys?pageNum=-1 -> 400 INVALID_QUERY_PARAMETER ["pageNum"]
GET $keys?itemsPerPage=-1 -> 400 INVALID_QUERY_PARAMETER ["itemsPerPage"]
GET $keys?pageNum= -> 400 INVALID_QUERY_PARAMETER ["pageNum"]
GET $keys?itemsPerPage= -> 400 INVALID_QUERY_PARAMETER ["itemsPerPage"]
GET $keys?pageNum=x -> 400 INVALID_QUERY_PARAMETER ["pageNum"]
GET $keys?itemsPerPage=x -> 400 INVALID_QUERY_PARAMETER ["itemsPerPage"]
GET $keys?pageNum=1x -> 400 INVALID_QUERY_PARAMETER ["pageNum"]
GET $keys?itemsPerPage=1x -> 400 INVALID_QUERY_PARAMETER ["itemsPerPage"]
GET $keys?pageNum=1.0 -> 400 INVALID_QUERY_PARAMETER ["pageNum"]
GET $keys?itemsPerPage=1.0 -> 400 INVALID_QUERY_PARAMETER ["itemsPerPage"]
GET $keys?pageNum=+1 -> 400 INVALID_QUERY_PARAMETER ["pageNum"]
GET $keys?itemsPerPage=+1 -> 400 INVALID_QUERY_PARAMETER ["itemsPerPage"]
GET $keys?pageNum=%20 -> 400 INVALID_QUERY_PARAMETER ["pageNum"]
GET $keys?itemsPerPage=%20 -> 400 INVALID_QUERY_PARAMETER ["itemsPerPage"]
GET $keys?pageNum=2147483648 -> 400 INVALID_QUERY_PARAMETER ["pageNum"]
GET $keys?itemsPerPage=2147483648 -> 400 INVALID_QUERY_PARAMETER ["itemsPerPage"]
GET $keys?pageNum=9223372036854775808 -> 400 INVALID_QUERY_PARAMETER ["pageNum"]
GET $keys?itemsPerPage=9223372036854775808 -> 400 INVALID_QUERY_PARAMETER ["itemsPerPage"]
GET $keys?pageNum=99999999999999999999999 -> 400 INVALID_QUERY_PARAMETER ["pageNum"]
GET $keys?itemsPerPage=99999999999999999999999 -> 400 INVALID_QUERY_PARAMETER ["itemsPerPage"]
GET $keys?pageNum -> 400 INVALID_QUERY_PARAMETER ["pageNum"]
GET $keys?itemsPerPage -> 400 INVALID_QUERY_PARAMETER ["itemsPerPage"]

=== TEST 11: a value of pretty, envelope or includeCount that is no boolean is refused
--- as: owner
--- requests
GET $keys?pretty=1 -> 400 INVALID_QUERY_PARAMETER ["pretty"]
GET $keys?pretty -> 400 INVALID_QUERY_PARAMETER ["pretty"]
GET $keys?envelope=1 -> 400 INVALID_QUERY_PARAMETER ["envelope"]
GET $keys?envelope -> 400 INVALID_QUERY_PARAMETER ["envelope"]
GET $keys?includeCount=1 -> 400 INVALID_QUERY_PARAMETER ["includeCount"]
GET $keys?includeCount -> 400 INVALID_QUERY_PARAMETER ["includeCount"]

=== TEST 12: parameters of lists are ignored where no list is answered
--- as: owner
--- requests
GET $listed?pageNum=x&includeCount=y
--- answers: 200
--- contains: "publicKey":"zzzzzzzz"

=== TEST 13: POST on a list checks the parameters of pages
--- as: owner
--- requests
POST $listed/accessList?pageNum=x [] -> 400 INVALID_QUERY_PARAMETER ["pageNum"]

=== TEST 14: includeCount in any case tells whether totalCount is there
--- as: owner
--- requests
GET $keys?includeCount=false -> 200: 7, $keys?includeCount=false&pageNum=1&itemsPerPage=100
GET $keys?includeCount=FALSE -> 200: 7, $keys?includeCount=FALSE&pageNum=1&itemsPerPage=100
GET $keys?includeCount=true -> 200: 7 of 7, $keys?includeCount=true&pageNum=1&itemsPerPage=100
GET $keys?includeCount=TrUe -> 200: 7 of 7, $keys?includeCount=TrUe&pageNum=1&itemsPerPage=100
GET $keys?includeCount=false&includeCount=true
    -> 200: 7, $keys?includeCount=false&includeCount=true&pageNum=1&itemsPerPage=100
--- response_body_filters eval: \&main::size

=== TEST 15: an empty list has a link to itself
--- as: chief
--- requests
GET $one/accessList
--- json
{"links":[{"href":"http://localhost$one/accessList?pageNum=1&itemsPerPage=100",
           "rel":"self"}],"results":[],"totalCount":0}

=== TEST 16: an empty list with pretty=true is indented
--- as: chief
--- requests
GET $one/accessList?pretty=true
--- response_body chomp
{
  "links" : [ {
    "href" : "http://localhost$one/accessList?pretty=true&pageNum=1&itemsPerPage=100",
    "rel" : "self"
  } ],
  "results" : [ ],
  "totalCount" : 0
}

=== TEST 17: a key with pretty=true is indented, after GET and PATCH
--- as: chief
--- requests
GET $one?pretty=true
GET $one?pretty=TRUE
PATCH $one?pretty=true {"roles":["ORG_READ_ONLY"]}
--- response_body chomp
{
  "desc" : "reader",
  "id" : "$reader_id",
  "links" : [ {
    "href" : "http://localhost$one",
    "rel" : "self"
  } ],
  "privateKey" : "$reader_redacted",
  "publicKey" : "$reader_public",
  "roles" : [ {
    "orgId" : "$small_id",
    "roleName" : "ORG_READ_ONLY"
  } ]
}

=== TEST 18: the first of two values of pretty counts
--- as: chief
--- requests
GET $one?pretty=false&pretty=true
--- json
{"desc":"reader","id":"$reader_id",
 "links":[{"href":"http://localhost$one","rel":"self"}],
 "privateKey":"$reader_redacted","publicKey":"$reader_public",
 "roles":[{"orgId":"$small_id","roleName":"ORG_READ_ONLY"}]}

=== TEST 19: keys in a list with pretty=true are indented
--- as: owner
--- requests
GET $keys?pretty=true&itemsPerPage=2
--- response_body_like eval
qr/"results" : \[ \{\n    "desc".*\n  \}, \{\n    "desc".*\n    \} \]\n  \} \],\n  "totalCount" : 7\n\}\z/s

=== TEST 20: an error with pretty=true is indented
--- as: chief
--- requests
GET $base/orgs/$small_id/apiKeys/x?pretty=true
--- error_code: 400
--- response_body chomp
{
  "detail" : "One or more path parameter in the request URI $base/orgs/$small_id/apiKeys/x is malformed.",
  "error" : 400,
  "errorCode" : "PATH_PARAM_PARSE_ERROR",
  "parameters" : [ "$base/orgs/$small_id/apiKeys/x" ],
  "reason" : "Bad Request"
}

=== TEST 21: the 401 of digest is the same with pretty and envelope
--- requests
GET $base/orgs/$small_id/apiKeys?pretty=false
GET $base/orgs/$small_id/apiKeys?pretty=true
GET $base/orgs/$small_id/apiKeys?envelope=true
--- answers: 401

=== TEST 22: an envelope has the status and then the key
--- on: atlas v2 om
--- as: chief
--- requests
GET $one?envelope=true
--- json
{"status":200,"content":{"desc":"reader","id":"$reader_id",
 "links":[{"href":"http://localhost$one","rel":"self"}],
 "privateKey":"$reader_redacted","publicKey":"$reader_public",
 "roles":[{"orgId":"$small_id","roleName":"ORG_READ_ONLY"}]}}

=== TEST 23: a list in an envelope has the status as a member
--- on: atlas v2 om
--- as: chief
--- requests
GET $one/accessList?envelope=true
--- json
{"links":[{"href":"http://localhost$uri&pageNum=1&itemsPerPage=100","rel":"self"}],
 "results":[],"status":200,"totalCount":0}

=== TEST 24: an envelope has the status and then the error
--- on: atlas v2 om
--- as: chief
--- requests
GET $one/accessList/x?envelope=true
--- error_code: 400
--- json
{"status":400,"content":{
 "detail":"The address x must be in valid IP address or CIDR notation.","error":400,
 "errorCode":"INVALID_IP_ADDRESS_OR_CIDR_NOTATION","parameters":["x"],"reason":"Bad Request"}}

=== TEST 25: a new key is in an envelope
--- on: atlas v2 om
--- as: chief
--- requests
POST $base/orgs/$small_id/apiKeys?envelope=true {"desc":"x","roles":["ORG_MEMBER"]}
--- keep: new
--- response_body_like: ^\{"status":200,"content":\{"desc":"x",

=== TEST 26: an answer without content is not in an envelope
--- on: atlas v2 om
--- as: chief
--- requests
DELETE $base/orgs/$small_id/apiKeys/$new_id?envelope=true -> 204

=== TEST 27: an envelope with pretty=true is indented
--- as: chief
--- requests
GET $one?envelope=true&pretty=true
--- response_body chomp
{
  "status" : 200,
  "content" : {
    "desc" : "reader",
    "id" : "$reader_id",
    "links" : [ {
      "href" : "http://localhost$one",
      "rel" : "self"
    } ],
    "privateKey" : "$reader_redacted",
    "publicKey" : "$reader_public",
    "roles" : [ {
      "orgId" : "$small_id",
      "roleName" : "ORG_READ_ONLY"
    } ]
  }
}

=== TEST 28: a new organization is in an envelope with the status 201
--- as: operator
--- requests
POST $base/orgs?envelope=true {"name":"x"}
--- error_code: 201
--- keep: x
--- json
{"status":201,"content":{"federationSettingsId":null,"orgOwnerId":null,
 "organization":{"id":"$x_id","isDeleted":false,"links":[
  {"href":"http://localhost$atlas/orgs/$x_id","rel":"self"},
  {"href":"http://localhost$atlas/orgs/$x_id/groups","rel":"http://mms.mongodb.com/groups"},
  {"href":"http://localhost$atlas/orgs/$x_id/teams","rel":"http://mms.mongodb.com/teams"},
  {"href":"http://localhost$atlas/orgs/$x_id/users","rel":"http://mms.mongodb.com/users"}],
  "name":"x","skipDefaultAlertsSettings":false}}}

=== TEST 29: links have the host of the request
--- as: owner
--- requests
GET $listed -> 200: http://api.test$listed
GET $listed -> 200: http://API.test:8443$listed
GET $listed -> 200: http://[::1]:80$listed
GET $listed -> 200: http://192.0.2.1$listed
--- more_headers eval
[map { "Host: $_\n" } qw( api.test API.test:8443 [::1]:80 192.0.2.1 )]
--- response_body_filters eval: \&main::self

=== TEST 30: X-Forwarded-* and Forwarded are ignored in links
--- as: owner
--- requests
GET $listed -> 200: http://localhost$listed
--- more_headers
X-Forwarded-Host: evil.test
X-Forwarded-Proto: https
X-Forwarded-Port: 443
Forwarded: host=evil.test;proto=https
--- response_body_filters eval: \&main::self

=== TEST 31: links have apikeys_public_url in place of the host
--- as: owner
--- requests
GET /behind/orgs/$org_id/apiKeys/$owner_id
    -> 200: https://api.example.com:8443/behind/orgs/$org_id/apiKeys/$owner_id
GET /behind/orgs/$org_id/apiKeys
    -> 200: https://api.example.com:8443/behind/orgs/$org_id/apiKeys?pageNum=1&itemsPerPage=100
--- more_headers
Host: evil.test
--- response_body_filters eval: \&main::self

=== TEST 32: links have the location, whatever its characters, and the normal path
--- as: owner
--- requests
GET /strange-(base)[1]/orgs/$org_id/apiKeys/$owner_id
    -> 200: http://localhost/strange-(base)[1]/orgs/$org_id/apiKeys/$owner_id
GET $base//orgs/./$org_id/apiKeys/x/../$owner_id -> 200: http://localhost$keys/$owner_id
--- response_body_filters eval: \&main::self

=== TEST 33: links of a request without Host have the address that was asked
--- raw_request eval
"GET \$listed HTTP/1.0\r\nAuthorization: Bearer \$operator_token\r\n\r\n"
--- response_body_filters eval: \&main::self
--- response_body chomp
$address$listed
