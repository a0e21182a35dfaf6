# Bad input that comes in chunks, in pieces or not at all, and good input in
# the same shapes.  Whole requests are in t/150-bad-input.t.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Expect;
use ApiKeys::Fixture ();
use Socket qw( IPPROTO_TCP TCP_NODELAY );
use Test::More;

my $f = ApiKeys::Fixture->new(
    api => 'client_max_body_size 128k; client_body_buffer_size 1k;',
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


# lengths: 413 by Content-Length and by chunks, before authentication

my $too_large = 'x' x (128 * 1024 + 1);

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
        "after a bad body in chunks of $size the next request is answered");
    is($client->{socket}, $socket,
        "after a bad body in chunks of $size the connection is kept");
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
    changed("$at: a body byte by byte changes the key", $desc);
    is($client->plain('GET', "$base/", undef, headers => \%bearer)->code, 200,
        "$at: the connection serves the next request");

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
        "$at: the connection serves the next request");
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
    is($client->read->code, 200, 'the body after 100 Continue is accepted');
    changed('the body after 100 Continue changes the key', 'after 100');

    $client = $f->client;
    $client->send(patch_head($base, length $body, Expect => '100-continue',
        Authorization => 'x'));
    my $res = $client->read;
    is($res->code, 401, '401 is sent without waiting for an expected body');
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
        200, 'after a client disconnected within its body others are served');
    changed('a client that disconnects within its body changes nothing',
        'after 100');
}


done_testing;
