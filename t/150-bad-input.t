# Bad input in every form: each gets its documented error, nothing changes,
# and the connection stays usable where HTTP allows it.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Expect;
use ApiKeys::Fixture ();
use IO::Socket::INET ();
use Socket qw( IPPROTO_TCP TCP_NODELAY );
use Test::More;

my $f = ApiKeys::Fixture->new(
    api => 'client_max_body_size 128k; client_body_buffer_size 1k;',
    http => 'large_client_header_buffers 4 8k;',
    server => <<'END');
        location /file {
            apikeys_api atlas_v1;
            client_body_in_file_only clean;
        }
        location /single {
            apikeys_api atlas_v1;
            client_body_in_single_buffer on;
        }
        location /large {
            apikeys_api atlas_v1;
            client_body_buffer_size 1m;
        }
        location /slow {
            apikeys_api atlas_v1;
            client_body_timeout 300ms;
        }
        location /proxied {
            proxy_pass http://127.0.0.1:%%PORT%%/api/atlas/v1.0;
        }
END
my %base = %ApiKeys::Fixture::BASE;
my $base = $base{atlas_v1};
my $org = $f->org;
my $project = $f->project($org);
my $key = $f->key($org, 'ORG_MEMBER');
my $keys = "/orgs/$org->{id}/apiKeys";
my $one = "$keys/$key->{id}";
my %bearer = (Authorization => 'Bearer ' . $f->token);
my %json = (%bearer, 'Content-Type' => 'application/json');

# everything but what answers leave behind by themselves
sub database {
    return $f->db->psql(<<'END');
SELECT s::text FROM apikeys.org_states s ORDER BY id;
SELECT s::text FROM apikeys.project_states s ORDER BY id;
SELECT s::text FROM apikeys.key_states s ORDER BY id;
SELECT count(*) FROM apikeys.audit;
END
}

my $before = database();
my $client = $f->client;

# on the one connection of $client, and another request on it afterwards
sub bad {
    my ($title, $method, $path, $body, $code, $params, %opt) = @_;

    $client->close if $opt{new};
    my $closes = delete $opt{closes};
    my $res = $client->plain($method, $base . $path, $body,
        headers => { %json, %{ $opt{headers} || {} } });
    refused($res, $code, $params || [], $title);

    return if $closes;
    my $socket = $client->{socket};
    my $next = $client->plain('GET', "$base/", undef, headers => \%bearer);
    ok($next && $next->code == 200 && $socket
        && ($client->{socket} // 0) == $socket,
        'and the connection goes on');
}


# text that is no JSON, or not one that we take

my $good = '"desc":"x","roles":["ORG_MEMBER"]';

for my $case (
    [ 'nothing', '' ],
    [ 'blanks', " \t\r\n" ],
    [ 'no value', '{"desc":}' ],
    [ 'an open object', '{"desc":"x"' ],
    [ 'an open string', '{"desc":"x' ],
    [ 'a comma at the end', "{$good,}" ],
    [ 'two commas', '{"desc":"x",,"roles":[]}' ],
    [ 'no comma', '{"desc":"x" "roles":[]}' ],
    [ 'no colon', '{"desc" "x"}' ],
    [ 'single quotes', "{'desc':'x'}" ],
    [ 'no quotes', '{desc:"x"}' ],
    [ 'two values', "{$good}{$good}" ],
    [ 'text behind', "{$good}x" ],
    [ 'a comment', "{$good}/* x */" ],
    [ 'a form', 'desc=x&roles=ORG_MEMBER' ],
    [ 'XML', '<key/>' ],
    [ 'a byte order mark', "\xef\xbb\xbf{$good}" ],
    [ 'UTF-16', join '', map { "\0$_" } split //, "{$good}" ],
    [ 'NaN', '{"desc":NaN}' ],
    [ 'a number with a leading zero', '{"desc":01}' ],
    [ 'True', '{"desc":True}' ],
    [ 'a number that is too large', '{"desc":1e999}' ],
    [ 'an integer that is too large', '{"desc":' . '9' x 400 . '}' ],
    [ 'a line feed in a string', "{\"desc\":\"a\nb\"}" ],
    [ 'a tab in a string', "{\"desc\":\"a\tb\"}" ],
    [ 'a NUL in a string', "{\"desc\":\"a\0b\"}" ],
    [ 'a NUL behind', "{$good}\0" ],
    [ 'a NUL between', "{\0$good}" ],
    [ 'an escaped NUL', '{"desc":"a\u0000b","roles":["ORG_MEMBER"]}' ],
    [ 'an escaped NUL in a name', '{"de\u0000sc":"a"}' ],
    [ 'an unknown escape', '{"desc":"\x41"}' ],
    [ 'a short escape', '{"desc":"\u12"}' ],
    [ 'half of a surrogate pair', '{"desc":"\ud83d"}' ],
    [ 'the other half', '{"desc":"\udd11"}' ],
    [ 'halves in the wrong order', '{"desc":"\udd11\ud83d"}' ],
    [ 'invalid UTF-8: a lone byte', "{\"desc\":\"\xff\"}" ],
    [ 'invalid UTF-8: a continuation', "{\"desc\":\"\x80\"}" ],
    [ 'invalid UTF-8: cut off', "{\"desc\":\"\xe2\x82\"}" ],
    [ 'invalid UTF-8: overlong', "{\"desc\":\"\xc0\xaf\"}" ],
    [ 'invalid UTF-8: an overlong NUL', "{\"desc\":\"\xc0\x80\"}" ],
    [ 'invalid UTF-8: a surrogate', "{\"desc\":\"\xed\xa0\x80\"}" ],
    [ 'invalid UTF-8: beyond Unicode', "{\"desc\":\"\xf4\x90\x80\x80\"}" ],
    [ 'invalid UTF-8: Latin 1', "{\"desc\":\"caf\xe9\"}" ],
    [ 'invalid UTF-8 in a name', "{\"\xff\":1}" ],
    [ 'invalid UTF-8 outside of strings', "{$good}\xff" ],
    [ 'a member twice', '{"desc":"x","desc":"x","roles":["ORG_MEMBER"]}' ],
    [ 'roles twice', '{"desc":"x","roles":["ORG_MEMBER"],"roles":[]}' ],
    [ 'an unknown member twice', "{$good,\"a\":1,\"a\":1}" ],
    [ 'a member twice by an escape', '{"desc":"x","d\u0065sc":"y"}' ],
    [ 'a member twice in an inner object', "{$good,\"a\":{\"b\":1,\"b\":2}}" ],
    [ 'arrays in arrays', '[' x 5000 . ']' x 5000 ],
    [ 'open arrays', '[' x 100_000 ],
    [ 'more than 4,000 values',
        "{$good,\"tags\":[" . join(',', (1) x 4000) . ']}' ],
    [ 'objects in objects', '{"a":' x 5000 . '1' . '}' x 5000 ],
    [ 'open objects', '{"a":' x 20_000 ])
{
    my ($title, $body) = @$case;

    bad("create: $title", POST => $keys, $body, 'MALFORMED_JSON');
    bad("change: $title", PATCH => $one, $body, 'MALFORMED_JSON')
        if length $body < 1000;
}

# well-formed, but not what is expected
bad("$_->[0]", @$_[1 .. 5]) for
    [ 'a deep object that is not too deep', POST => $keys,
        "{$good,\"a\":" . '[' x 10 . ']' x 10 . '}', 'INVALID_ATTRIBUTE',
        [ 'a' ] ],
    [ 'a name of 60,000 letters', POST => $keys,
        "{$good,\"" . 'n' x 60_000 . '":1}', 'INVALID_ATTRIBUTE',
        [ 'n' x 8192 ] ],
    [ 'a name with quotes', POST => $keys, "{$good,\"a\\\"b\":1}",
        'INVALID_ATTRIBUTE', [ 'a"b' ] ],
    [ 'a name of markup', POST => $keys, "{$good,\"<b>\":1}",
        'INVALID_ATTRIBUTE', [ '<b>' ] ],
    [ 'a name in another case', POST => $keys, '{"DESC":"x"}',
        'INVALID_ATTRIBUTE', [ 'DESC' ] ],
    [ '1,000 roles', POST => $keys, { desc => 'x',
        roles => [ map { "ORG_ROLE_$_" } 1 .. 1000 ] }, 'INVALID_ENUM_VALUE',
        [ 'ORG_ROLE_1' ] ],
    [ '999 roles and an unknown one', POST => $keys, { desc => 'x',
        roles => [ ('ORG_MEMBER') x 999, 'x' ] }, 'INVALID_ENUM_VALUE',
        [ 'x' ] ],
    [ 'a role of 100,000 letters', POST => $keys,
        { desc => 'x', roles => [ 'R' x 100_000 ] }, 'INVALID_ENUM_VALUE',
        [ 'R' x 8192 ] ],
    [ 'a role with a quote', POST => $keys,
        { desc => 'x', roles => [ q{ORG_OWNER'} ] }, 'INVALID_ENUM_VALUE',
        [ q{ORG_OWNER'} ] ],
    [ 'a role that breaks out of an array', POST => $keys,
        { desc => 'x', roles => [ 'ORG_MEMBER,ORG_OWNER' ] },
        'INVALID_ENUM_VALUE', [ 'ORG_MEMBER,ORG_OWNER' ] ],
    [ 'a description of 251 letters', POST => $keys,
        { desc => 'x' x 251, roles => [ 'ORG_MEMBER' ] },
        'INVALID_API_KEY_DESC', [ 250 ] ],
    [ 'one of 251 code points', POST => $keys, '{"desc":"'
        . "\xf0\x9f\x94\x91" x 251 . '","roles":["ORG_MEMBER"]}',
        'INVALID_API_KEY_DESC', [ 250 ] ],
    [ 'one of 100,000', PATCH => $one, { desc => 'x' x 100_000 },
        'INVALID_API_KEY_DESC', [ 250 ] ],
    [ 'an address of 100,000 digits', POST => "$one/accessList",
        [ { ipAddress => '1' x 100_000 } ],
        'INVALID_IP_ADDRESS_OR_CIDR_NOTATION', [ '1' x 8192 ] ],
    [ 'an address that breaks out of an array', POST => "$one/accessList",
        [ { ipAddress => '10.0.0.1,10.0.0.2' } ],
        'INVALID_IP_ADDRESS_OR_CIDR_NOTATION', [ '10.0.0.1,10.0.0.2' ] ],
    [ 'a name of an organisation of 65 letters', POST => '/orgs',
        { name => 'x' x 65 }, 'INVALID_JSON_ATTRIBUTE', [ 'name' ] ];


# paths

bad("path: $_->[0]", @$_[1 .. 5]) for
    [ 'an id with a quote', GET => "$keys/%27%22", undef,
        'PATH_PARAM_PARSE_ERROR', [ "$base$keys/'\"" ] ],
    [ 'an id of 24 multibyte characters', GET => "$keys/" . '%C3%A9' x 12,
        undef, 'PATH_PARAM_PARSE_ERROR',
        [ "$base$keys/" . "\x{e9}" x 12 ] ],
    [ 'an id with a blank', GET => "$keys/%20$key->{id}", undef,
        'PATH_PARAM_PARSE_ERROR', [ "$base$keys/ $key->{id}" ] ],
    [ 'upper case', GET => "$keys/" . 'A' x 24, undef,
        'PATH_PARAM_PARSE_ERROR', [ "$base$keys/" . 'A' x 24 ] ],
    [ 'a long one', GET => '/' . 'x' x 4000, undef, 'RESOURCE_NOT_FOUND',
        [ "$base/" . 'x' x 4000 ] ],
    [ 'a line feed', GET => '/a%0Ab', undef, 'RESOURCE_NOT_FOUND',
        [ "$base/a\nb" ] ],
    [ 'a line feed at the end', GET => "$keys%0A", undef,
        'RESOURCE_NOT_FOUND', [ "$base$keys\n" ] ],
    [ 'nothing but a line feed', GET => '/%0A', undef,
        'RESOURCE_NOT_FOUND', [ "$base/\n" ] ];

{
    # an error document is UTF-8, whatever the path held
    my $res = $client->plain('GET', "$base/%FF%FE", undef,
        headers => \%bearer);
    is($res->code, 404, 'a path that is no UTF-8');
    ok(eval { $res->json }, 'gets JSON that a parser takes') or diag $@;
    $res = $client->plain('GET', "$base$keys/%FF", undef,
        headers => \%bearer);
    is($res->code, 400, 'an id that is no UTF-8');
    ok(eval { $res->json }, 'gets JSON that a parser takes') or diag $@;
    $res = $client->plain('PATCH', "$base$one", '{}', headers =>
        { %json, 'Content-Type' => "text/\xff" });
    is($res->code, 415, 'a type that is no UTF-8');
    ok(eval { $res->json }, 'gets JSON that a parser takes') or diag $@;
}


# query strings

bad("query: $_->[0]", GET => "$keys?$_->[0]", undef, @$_[1, 2]) for
    [ 'pretty=%00', 'INVALID_QUERY_PARAMETER', [ 'pretty' ] ],
    [ 'pretty=%74rue%00', 'INVALID_QUERY_PARAMETER', [ 'pretty' ] ],
    [ 'pageNum=%FF', 'INVALID_QUERY_PARAMETER', [ 'pageNum' ] ],
    [ 'pageNum=1%2C2', 'INVALID_QUERY_PARAMETER', [ 'pageNum' ] ],
    [ 'pageNum=%', 'INVALID_QUERY_PARAMETER', [ 'pageNum' ] ],
    [ 'itemsPerPage=1e3', 'INVALID_QUERY_PARAMETER', [ 'itemsPerPage' ] ],
    [ "envelope='", 'INVALID_QUERY_PARAMETER', [ 'envelope' ] ],
    [ 'includeCount=true%20', 'INVALID_QUERY_PARAMETER', [ 'includeCount' ] ],
    [ 'pageNum=1;itemsPerPage=2', 'INVALID_QUERY_PARAMETER', [ 'pageNum' ] ];

for my $query ('%', '%%', '%zz=1', '=', '&&&', '=true', 'pretty%3Dx', '?',
    'a=%FF%FE', '[]', 'x' x 4000, join('&', map { "a$_=$_" } 1 .. 800))
{
    my $res = $client->plain('GET', "$base$keys?$query", undef,
        headers => \%bearer);
    is($res->code, 200, 'query: ' . substr $query, 0, 20);
    ok(eval { $res->json }, 'and JSON that a parser takes') or diag $@;
}


# lengths: 413 by Content-Length and by chunks; before authentication

my $too_large = 'x' x (128 * 1024 + 1);

bad('131,073 bytes', POST => $keys, $too_large, 'REQUEST_TOO_LARGE', [],
    closes => 1, new => 1);
{
    my $res = $f->client->plain('POST', "$base$keys", undef, headers =>
        { 'Content-Length' => 1_000_000_000 });
    refused($res, 'REQUEST_TOO_LARGE', [],
        'a Content-Length alone, and no credential');
    $res = $f->client->plain('POST', "$base/nosuch", undef, headers =>
        { 'Content-Length' => 1_000_000_000 });
    refused($res, 'REQUEST_TOO_LARGE', [], 'for any path');
    $res = $f->client->plain('GET', "$base/?pretty=true", undef, headers =>
        { 'Content-Length' => 1_000_000_000 });
    like($res->body, qr/^\{\n  "detail" : /, 'pretty, where that is asked for');
}

sub chunked {
    my ($body, $size) = @_;

    my $text = '';
    while (length $body) {
        my $part = substr $body, 0, $size, '';
        $text .= sprintf "%x\r\n%s\r\n", length $part, $part;
    }
    return "${text}0\r\n\r\n";
}

my %chunked = (%json, 'Transfer-Encoding' => 'chunked');

{
    my $res = $f->client->plain('POST', "$base$keys",
        chunked($too_large, 5000), headers => \%chunked);
    refused($res, 'REQUEST_TOO_LARGE', [], '131,073 bytes in chunks');
}
for my $size (1, 7, 100_000) {
    $client->close;
    my $socket;
    my $res = $client->plain('PATCH', "$base$one",
        chunked('{"desc":"x","nosuch":1}', $size), headers => \%chunked);
    refused($res, 'INVALID_ATTRIBUTE', [ 'nosuch' ],
        "a bad body in chunks of $size");
    $socket = $client->{socket};
    is($client->plain('GET', "$base/", undef, headers => \%bearer)->code, 200,
        'and the connection goes on');
    is($client->{socket}, $socket, 'the same one');
}
for my $case (
    [ 'no size', "\r\n{}\r\n0\r\n\r\n" ],
    [ 'a size that is no number', "zz\r\n{}\r\n0\r\n\r\n" ],
    [ 'a negative size', "-2\r\n{}\r\n0\r\n\r\n" ],
    [ 'a huge size', 'f' x 17 . "\r\n{}\r\n0\r\n\r\n" ],
    [ 'more than the size', "1\r\n{}\r\n0\r\n\r\n" ])
{
    my ($title, $text) = @$case;
    my $res = $f->client->plain('PATCH', "$base$one", $text,
        headers => \%chunked);

    refused($res, 'BAD_REQUEST', [], "chunks with $title");
}
is(database(), $before, 'nothing of this has changed anything');


# good bodies in odd shapes: each is the same change

sub changed {
    my ($title, $desc) = @_;

    is($f->operator('GET', $one)->json->{desc}, $desc, $title);
}

sub patch_head {
    my ($at, $length, %more) = @_;

    my %headers = (%json, Host => 'localhost', 'Content-Length' => $length,
        %more);
    return "PATCH $at$one HTTP/1.1\r\n" . join('', map { "$_: $headers{$_}\r\n" }
        sort keys %headers) . "\r\n";
}

# written piece by piece, each of which nginx sees by itself
sub pieces {
    my ($client, @pieces) = @_;

    $client->close;
    $client->connect;
    setsockopt $client->{socket}, IPPROTO_TCP, TCP_NODELAY, 1;
    for (@pieces) {
        $client->send($_);
        select undef, undef, undef, 0.001;      # or nginx reads several
    }
    return $client->read;
}

my $n = 0;

for my $at ($base, '/file', '/single', '/large', '/proxied') {
    my $desc = 'pieces ' . ++$n;
    my $body = json_text({ desc => $desc });
    my $res = pieces($client, patch_head($at, length $body),
        split //, $body);

    is($res->code, 200, "$at: a body byte by byte");
    changed('was taken', $desc);
    is($client->plain('GET', "$base/", undef, headers => \%bearer)->code, 200,
        'and the connection goes on');

    $desc = 'large ' . ++$n;
    $body = json_text({ desc => $desc }) . ' ' x 60_000;
    $res = $client->plain('PATCH', "$at$one", $body, headers => \%json);
    is($res->code, 200, "$at: a body that is larger than its buffer");
    changed('was taken', $desc);

    $desc = 'chunks ' . ++$n;
    $res = $client->plain('PATCH', "$at$one", chunked(
        json_text({ desc => $desc }) . ' ' x 20_000, 999),
        headers => \%chunked);
    is($res->code, 200, "$at: a large body in chunks");
    changed('was taken', $desc);

    $res = $client->plain('PATCH', "$at$one", 'x' x 70_000,
        headers => \%json);
    refused($res, 'MALFORMED_JSON', [], "$at: a large body that is none")
        if $at ne '/proxied';
    is($res->code, 400, "$at: is refused");
    is($client->plain('GET', "$base/", undef, headers => \%bearer)->code, 200,
        'and the connection goes on');
}
{
    my $body = '{"desc":"byte by byte, all of it"}';
    my $res = pieces($client, split //, patch_head($base, length $body)
        . $body);
    is($res->code, 200, 'a request byte by byte');
    changed('was taken', 'byte by byte, all of it');

    $res = pieces($client, split //, patch_head($base, '',
        'Transfer-Encoding' => 'chunked') =~ s/^Content-Length.*\r\n//mr
        . chunked('{"desc":"chunks byte by byte"}', 3));
    is($res->code, 200, 'chunks byte by byte');
    changed('were taken', 'chunks byte by byte');
}
{
    my $client = $f->client;
    my $body = '{"desc":"after 100"}';
    $client->send(patch_head($base, length $body, Expect => '100-continue'));
    my $continue = $client->_until(qr/\r\n\r\n/)
        if $client->{deadline} = time + 10;
    like($continue, qr/^HTTP\/1.1 100 /, 'Expect: 100-continue');
    $client->send($body);
    is($client->read->code, 200, 'and the body');
    changed('was taken', 'after 100');

    $client = $f->client;
    $client->send(patch_head($base, length $body, Expect => '100-continue',
        Authorization => 'x'));
    my $res = $client->read;
    is($res->code, 401, 'which no 401 waits for');
}


# several requests in one write

{
    my $get = "GET $base/ HTTP/1.1\r\nHost: x\r\nAuthorization: "
        . "$bearer{Authorization}\r\n\r\n";
    my $bad = "PATCH $base$one HTTP/1.1\r\nHost: x\r\nAuthorization: "
        . "$bearer{Authorization}\r\nContent-Length: 1\r\n\r\n{";
    my $none = "POST $base$keys HTTP/1.1\r\nHost: x\r\nContent-Length: "
        . (length $get) . "\r\n\r\n$get";
    my $client = $f->client;
    $client->send($get . $bad . $get . $none . $get . $bad . $get);
    is(join(' ', map { $client->read->code } 1 .. 7),
        '200 400 200 401 200 400 200', 'a pipeline of good and bad requests');
}


# bodies that never come

{
    my $client = $f->client;
    $client->send(patch_head('/slow', 100), '{"desc":"cut');
    my $res = $client->read(timeout => 15);
    ok(!$res || $res->code == 408, 'a body that stops is given up');
    $client = $f->client;
    $client->send(patch_head($base, 100), '{"desc":"cut');
    $client->close;
    $client = $f->client;
    $client->send(patch_head('/file', 30_000), '{' x 20_000);
    $client->close;
    is($f->client->plain('GET', "$base/", undef, headers => \%bearer)->code,
        200, 'a client that leaves in its body hurts nobody');
    changed('and changes nothing', 'after 100');
}


# nginx's own errors, from the moment a location is chosen

for my $case (
    [ 'a method with a body too large', PUT => "$base/", 400_000_000,
        'REQUEST_TOO_LARGE' ],
    [ 'another base', POST => "$base{atlas_v2}/x", 400_000_000,
        'REQUEST_TOO_LARGE' ],
    [ 'the third', DELETE => "$base{ops_manager}/x", 400_000_000,
        'REQUEST_TOO_LARGE' ])
{
    my ($title, $method, $uri, $length, $code) = @$case;
    refused($f->client->plain($method, $uri, undef, headers =>
        { 'Content-Length' => $length }), $code, [], $title);
}

# a body where none is asked for does not become the next request
for my $method (qw( GET DELETE )) {
    my $res = $client->plain($method, "$base$keys/x",
        "GET /open HTTP/1.1\r\nHost: x\r\n\r\n", headers => \%json);
    refused($res, 'PATH_PARAM_PARSE_ERROR', [ "$base$keys/x" ],
        "$method with a body");
    is($client->plain('GET', "$base/", undef, headers => \%bearer)
        ->header('content-type'), 'application/json',
        'and the next answer is that of the next request');
}

done_testing;
