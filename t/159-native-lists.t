# Filters and orders of lists of keys on the native API.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

use JSON::PP ();

# the descriptions of the keys, or the error, and the number
sub listed {
    my $list = JSON::PP->new->decode($_[0]);

    return $list->{errorCode} if $list->{errorCode};
    return join ' ', $list->{totalCount} // '-',
        map { $_->{desc} } @{ $list->{results} };
}

names(
    org => '$base/orgs/$org_id', keys => '$org/apiKeys',
    members => '$base/projects/$project_id/apiKeys', x250 => 'x' x 250,
    x251 => 'x' x 251, umlauts => '%C3%84' x 250,
    uuid => '01234567-89ab-4cde-8f01-23456789abcd',
);
defaults(on => 'native', as => 'owner');
run_tests();

__DATA__

=== TEST 1: an organization, whose owner has the first public key
--- as: operator
--- requests
POST $base/orgs {"name":"listed","apiKey":{"desc":"owner","roles":["ORG_OWNER"],"publicKey":"aaaaaaaa","privateKey":"$uuid"}}
--- keep: org
--- error_code: 201

=== TEST 2: its projects
--- as: operator
--- requests
POST $base/projects {"name":"project","orgId":"$org_id"} -> 201
POST $base/projects {"name":"other","orgId":"$org_id"} -> 201
--- keep: project other

=== TEST 3: its keys
--- as: operator
--- requests
POST $keys {"desc":"one","roles":["ORG_MEMBER"],"publicKey":"bbbbbbbb","privateKey":"$uuid"} -> 201
POST $keys {"desc":"Two%","roles":["ORG_MEMBER","ORG_READ_ONLY"],"publicKey":"cccccccc","privateKey":"$uuid","accessList":[{"cidrBlock":"127.0.0.0/8"},{"cidrBlock":"10.0.0.0/8"}]} -> 201
POST $keys {"desc":"three_","roles":["ORG_GROUP_CREATOR"],"publicKey":"dddddddd","privateKey":"$uuid","accessList":[{"ipAddress":"192.0.2.1"}]} -> 201
--- keep: one two three

=== TEST 4: their roles in projects
--- as: operator
--- requests
PUT $members/$one_id {"roles":["GROUP_READ_ONLY"]} -> 201
PUT $members/$two_id {"roles":["GROUP_OWNER"]} -> 201
PUT $base/projects/$other_id/apiKeys/$three_id {"roles":["GROUP_READ_ONLY"]} -> 201

=== TEST 5: all keys, in the order of public keys
--- sql
UPDATE apikeys.keys SET created = '2026-01-04T00:00:00Z' WHERE public_key = 'aaaaaaaa';
UPDATE apikeys.keys SET created = '2026-01-03T00:00:00Z', expires = '2100-01-01T00:00:00Z' WHERE id = '$one_id';
UPDATE apikeys.keys SET created = '2026-01-03T00:00:00Z', expires = '2030-01-01T00:00:00Z', disabled = true WHERE id = '$two_id';
UPDATE apikeys.keys SET created = '2026-01-01T00:00:00Z' WHERE id = '$three_id';
--- as: operator
--- response_body_filters eval: \&main::listed
--- requests
GET $keys -> 200: 4 owner one Two% three_

=== TEST 6: by a part of the description, in any case, without wildcards
--- as: operator
--- response_body_filters eval: \&main::listed
--- requests
GET $keys?desc=O -> 200: 3 owner one Two%
GET $keys?desc=TWO -> 200: 1 Two%
GET $keys?desc=%25 -> 200: 1 Two%
GET $keys?desc=_ -> 200: 1 three_
GET $keys?desc=o%25 -> 200: 1 Two%
GET $keys?desc=ow_er -> 200: 0
GET $keys?desc= -> 200: 4 owner one Two% three_
GET $keys?desc=$x250 -> 200: 0
GET $keys?desc=$umlauts -> 200: 0
GET $members?desc=t -> 200: 1 Two%

=== TEST 7: by the public key
--- as: operator
--- response_body_filters eval: \&main::listed
--- requests
GET $keys?publicKey=bbbbbbbb -> 200: 1 one
GET $keys?publicKey=zzzzzzzz -> 200: 0
GET $members?publicKey=dddddddd -> 200: 0
GET $members?publicKey=cccccccc -> 200: 1 Two%

=== TEST 8: by a role as it was given, of any scope
--- as: operator
--- response_body_filters eval: \&main::listed
--- requests
GET $keys?role=ORG_MEMBER -> 200: 2 one Two%
GET $keys?role=ORG_OWNER -> 200: 1 owner
GET $keys?role=GROUP_READ_ONLY -> 200: 2 one three_
GET $keys?role=GROUP_OWNER -> 200: 1 Two%
GET $keys?role=NO_SUCH_ROLE -> 200: 0
GET $members?role=ORG_MEMBER -> 200: 2 one Two%
GET $members?role=GROUP_OWNER -> 200: 1 Two%

=== TEST 9: by whether there is an access list
--- as: operator
--- response_body_filters eval: \&main::listed
--- requests
GET $keys?accessList=none -> 200: 2 owner one
GET $keys?accessList=any -> 200: 2 Two% three_
GET $members?accessList=any -> 200: 1 Two%

=== TEST 10: by what ends the use of a key
--- as: operator
--- response_body_filters eval: \&main::listed
--- requests
GET $keys?disabled=true -> 200: 1 Two%
GET $keys?disabled=FALSE -> 200: 3 owner one three_
GET $keys?expiresBefore=2030-01-01T00:00:00Z -> 200: 0
GET $keys?expiresBefore=2030-01-01T00:00:01Z -> 200: 1 Two%
GET $keys?expiresBefore=2030-01-01T00%3A00%3A01Z -> 200: 1 Two%
GET $keys?expiresBefore=9999-12-31T23:59:59Z -> 200: 2 one Two%
GET $members?disabled=false -> 200: 1 one

=== TEST 11: all filters must match, and of repeated ones the first counts
--- as: operator
--- response_body_filters eval: \&main::listed
--- requests
GET $keys?role=ORG_MEMBER&accessList=none -> 200: 1 one
GET $keys?role=ORG_MEMBER&accessList=none&disabled=true -> 200: 0
GET $keys?role=ORG_MEMBER&role=ORG_OWNER&desc=o&expiresBefore=2050-01-01T00:00:00Z -> 200: 1 Two%
GET $keys?desc=three&desc=x%00 -> 200: 1 three_

=== TEST 12: orders, in which ties are by public key, and keys without an end are last
--- as: operator
--- response_body_filters eval: \&main::listed
--- requests
GET $keys?sort=publicKey -> 200: 4 owner one Two% three_
GET $keys?sort=-publicKey -> 200: 4 three_ Two% one owner
GET $keys?sort=createdAt -> 200: 4 three_ one Two% owner
GET $keys?sort=-createdAt -> 200: 4 owner one Two% three_
GET $keys?sort=expiresAt -> 200: 4 Two% one owner three_
GET $keys?sort=-expiresAt -> 200: 4 one Two% owner three_
GET $keys?sort=-createdAt&sort=publicKey&role=ORG_MEMBER -> 200: 2 one Two%
GET $members?sort=-publicKey -> 200: 2 Two% one

=== TEST 13: pages of what is filtered and sorted, whose links keep the arguments
--- as: operator
--- requests
GET $keys?sort=-publicKey&accessList=any&itemsPerPage=1&pageNum=2
--- answers
200 ... {"links":[{"href":"http://localhost$keys?sort=-publicKey&accessList=any&itemsPerPage=1&pageNum=1","rel":"previous"},{"href":"http://localhost$keys?sort=-publicKey&accessList=any&pageNum=2&itemsPerPage=1","rel":"self"}],
--- contains: "desc":"Two%",

=== TEST 14: a page past the end
--- as: operator
--- response_body_filters eval: \&main::listed
--- requests
GET $keys?sort=-publicKey&accessList=any&pageNum=2 -> 200: 2
GET $keys?accessList=any&includeCount=false -> 200: - Two% three_

=== TEST 15: values that no argument can have
--- as: operator
--- requests
GET $keys?publicKey= -> INVALID_QUERY_PARAMETER ["publicKey"]
GET $keys?publicKey=ABCDEFGH -> INVALID_QUERY_PARAMETER ["publicKey"]
GET $keys?publicKey=abcdefg -> INVALID_QUERY_PARAMETER ["publicKey"]
GET $keys?desc=$x251 -> INVALID_QUERY_PARAMETER ["desc"]
GET $keys?desc=%FF -> INVALID_QUERY_PARAMETER ["desc"]
GET $keys?desc=%00 -> INVALID_QUERY_PARAMETER ["desc"]
GET $keys?role= -> INVALID_QUERY_PARAMETER ["role"]
GET $keys?role=org_owner -> INVALID_QUERY_PARAMETER ["role"]
GET $keys?role=ORG_OWNER,ORG_MEMBER -> INVALID_QUERY_PARAMETER ["role"]
GET $keys?accessList= -> INVALID_QUERY_PARAMETER ["accessList"]
GET $keys?accessList=Any -> INVALID_QUERY_PARAMETER ["accessList"]
GET $keys?disabled= -> INVALID_QUERY_PARAMETER ["disabled"]
GET $keys?disabled=1 -> INVALID_QUERY_PARAMETER ["disabled"]
GET $keys?expiresBefore=2030-01-01 -> INVALID_QUERY_PARAMETER ["expiresBefore"]
GET $keys?expiresBefore=2030-01-01T00:00:00%2B00:00 -> INVALID_QUERY_PARAMETER ["expiresBefore"]
GET $keys?expiresBefore=2030-01-01T00:00:00.0Z -> INVALID_QUERY_PARAMETER ["expiresBefore"]
GET $keys?sort= -> INVALID_QUERY_PARAMETER ["sort"]
GET $keys?sort=desc -> INVALID_QUERY_PARAMETER ["sort"]
GET $keys?sort=--publicKey -> INVALID_QUERY_PARAMETER ["sort"]
GET $keys?sort=publickey -> INVALID_QUERY_PARAMETER ["sort"]
GET $members?sort=desc -> INVALID_QUERY_PARAMETER ["sort"]
GET $keys?role=x&publicKey=x -> INVALID_QUERY_PARAMETER ["publicKey"]
GET $keys?disabled=x&pageNum=x -> INVALID_QUERY_PARAMETER ["pageNum"]

=== TEST 16: the other APIs, and POST, have no filters
--- as: operator
--- requests
GET $atlas/orgs/$org_id/apiKeys?desc=three&sort=x&disabled=x -> 200 ... "totalCount":4}
GET $v2/orgs/$org_id/apiKeys?publicKey=x -> 200 ... "totalCount":4}
GET $om/groups/$project_id/apiKeys?accessList=x -> 200 ... "totalCount":2}
POST $keys?sort=x {"desc":"new","roles":["ORG_MEMBER"]} -> 201

=== TEST 17: a key of the organization filters, another one finds nothing
--- keys
stranger: ORG_OWNER org=away
--- response_body_filters eval: \&main::listed
--- requests
aaaaaaaa:$uuid: GET $keys?desc=three -> 200: 1 three_
one: GET $keys?desc=three -> 200: 1 three_
one: GET $members?desc=o -> 200: 2 one Two%
stranger: GET $keys?desc=three -> 404: ORG_NOT_FOUND
