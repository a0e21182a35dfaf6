# Access lists and whitelists: addresses in all their spellings, links,
# duplicates, limits, and a key that would lock itself out.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Expect;
use ApiKeys::Fixture ();
use Test::More;

my $f = ApiKeys::Fixture->new(api => 'client_max_body_size 4m;',
    headers => { Accept => 'application/vnd.atlas.2023-01-01+json' });
my $host = $f->nginx->url;
my %base = %ApiKeys::Fixture::BASE;
my $org = $f->org;
my $owner = $org->{client};
my $nobody = '0123456789abcdef01234567';

# the two spellings on their bases
my @lists = map { my $name = $_; map { [ $name, $_ ] }
    $name eq 'atlas_v2' ? 'accessList' : qw( accessList whitelist ) }
    sort keys %base;

sub list_uri {
    my ($name, $list, $key) = @_;

    return "$base{$name}/orgs/$org->{id}/apiKeys/$key->{id}/$list";
}

sub v1 { return list_uri('atlas_v1', 'accessList', $_[0]) }

# an entry as it is shown in a list; single => with the link of its own GET
sub entry {
    my ($uri, $block, $created, %opt) = @_;

    my ($address, $prefix) = split m{/}, $block;
    my $single = $prefix == ($address =~ /:/ ? 128 : 32);
    my $key = $uri =~ s{/[^/]+$}{}r;
    my $mms = $uri =~ m{^/api/public} ? 'http://mms.mongodb.com'
        : 'https://cloud.mongodb.com';

    return {
        cidrBlock => $block, count => 0, created => $created,
        $single ? (ipAddress => $address) : (),
        links => [
            { rel => 'self', href => "$host$uri/$address"
                . ($single ? '' : "%2F$prefix") },
            $opt{single} ? { rel => "$mms/apiKeys", href => "$host$key" } : (),
        ],
    };
}

sub list {
    my ($uri, @entries) = @_;

    return { links => [ { rel => 'self',
        href => "$host$uri?pageNum=1&itemsPerPage=100" } ],
        results => \@entries, totalCount => scalar @entries };
}

sub blocks {
    my ($res) = @_;

    return [ map { $_->{cidrBlock} } @{ $res->json->{results} || [] } ];
}

sub code_of { return $_[0]->header('x-error-code') // $_[0]->code }


# four operations by each name

for my $case (@lists) {
    my ($name, $list) = @$case;
    my $title = "$name $list";
    my $key = $f->key($org, 'ORG_MEMBER');
    my $uri = list_uri($name, $list, $key);
    my $not = $list eq 'whitelist' ? 'API_KEY_WHITELIST_NOT_FOUND'
        : 'API_KEY_ACCESS_LIST_NOT_FOUND';

    answers($owner->request('GET', $uri), 200, list($uri),
        "$title: nothing at first");

    my $begin = time;
    my $res = $owner->request('POST', $uri, [ { ipAddress => '192.0.2.9' } ]);
    my $created = $res->json->{results}[0]{created} // '';
    answers($res, 200, list($uri, entry($uri, '192.0.2.9/32', $created)),
        "$title: POST answers with the list");
    like($created, qr/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
        "$title: and the time, in UTC");

    $res = $owner->request('POST', $uri, [ { cidrBlock => '10.0.0.0/8' },
        { ipAddress => '2001:db8::1' }, { cidrBlock => '2001:db8::/32' },
        { cidrBlock => '198.51.100.7/32' }, { ipAddress => '9.9.9.9' } ]);
    my %created = map { $_->{cidrBlock} => $_->{created} }
        @{ $res->json->{results} };
    my @sorted = qw( 10.0.0.0/8 192.0.2.9/32 198.51.100.7/32 2001:db8::/32
        2001:db8::1/128 9.9.9.9/32 );
    answers($res, 200, list($uri, map { entry($uri, $_, $created{$_}) }
        @sorted), "$title: several at once, in the order of their text");
    answers($owner->request('GET', $uri), 200,
        list($uri, map { entry($uri, $_, $created{$_}) } @sorted),
        "$title: which is the list");
    is_deeply(blocks($owner->request('POST', "$uri?itemsPerPage=2&pageNum=2",
        [])), [ @sorted[2, 3] ], "$title: POST of nothing, and a page");

    # by every spelling that is the same (decisions 10 and 11)
    for my $pair (
        [ '192.0.2.9' => '192.0.2.9/32' ], [ '192.0.2.9%2F32' ],
        [ '192.0.2.9%2f32' ], [ '192.0.2.9/32' ],
        [ '::ffff:192.0.2.9' ], [ '::ffff:c000:209' ],
        [ '::FFFF:192.0.2.9%2F128' ], [ '%31%39%32.0.2.9' ],
        [ '10.0.0.0%2F8' => '10.0.0.0/8' ], [ '10.0.0.0/8' ],
        [ '10.1.2.3%2F8' ], [ '::ffff:10.9.9.9%2F104' ],
        [ '2001:db8::1' => '2001:db8::1/128' ], [ '2001:DB8::1' ],
        [ '2001:db8:0:0:0:0:0:1' ], [ '2001:0db8::0001%2F128' ],
        [ '2001%3Adb8%3A%3A1' ],
        [ '2001:db8::%2F32' => '2001:db8::/32' ],
        [ '2001:db8:ffff::/32' ])
    {
        my ($text, $block) = @$pair;
        our $is = $block // $is;

        answers($owner->request('GET', "$uri/$text"), 200,
            entry($uri, $is, $created{$is}, single => 1),
            "$title: $text is $is");
    }

    refused($owner->request('GET', "$uri/$$_[0]"), $not,
        [ $$_[1], $key->{id} ], "$title: $$_[0] is not on it") for
        [ '10.0.0.1', '10.0.0.1' ], [ '10.0.0.0%2F9', '10.0.0.0/9' ],
        [ '10.0.0.0', '10.0.0.0' ], [ '192.0.2.9%2F31', '192.0.2.8/31' ],
        [ '::1', '::1' ], [ '2001:db8::', '2001:db8::' ],
        [ '::ffff:0:0%2F96', '0.0.0.0/0' ], [ '0.0.0.0', '0.0.0.0' ];

    for my $text ('x', '10', '10.0.0', '10.0.0.0.0', '010.0.0.1', '10.0.0.256',
        '10.0.0.1%2F33', '10.0.0.1%2F', '10.0.0.1%2Fx', '10.0.0.1%2F-1',
        '10.0.0.1%2F08', '::1%2F129', 'fe80::1%25eth0', '10.0.0.1%252F8',
        ':::', '1::2::3', '12345::', '%2010.0.0.1', '10.0.0.1%20', '0x0a000001',
        '10.0.0.0%2F8%2F9', '[::1]', '%00')
    {
        my $res = $owner->request('GET', "$uri/$text");
        if ($text eq '%00') {
            is($res->code, 400, "$title: a NUL");
            next;
        }
        if ($text eq '10.0.0.0%2F8%2F9') {
            is($res->code, 404, "$title: two slashes are another path");
            next;
        }
        my $shown = $text =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger;
        refused($res, 'INVALID_IP_ADDRESS_OR_CIDR_NOTATION', [ $shown ],
            "$title: $text is no address");
    }

    no_content($owner->request('DELETE', "$uri/$_"), "$title: DELETE $_")
        for '192.0.2.9', '10.0.0.0%2F8', '2001:db8::/32', '2001:DB8::1%2F128';
    refused($owner->request('DELETE', "$uri/192.0.2.9%2F32"), $not,
        [ '192.0.2.9', $key->{id} ], "$title: not twice");
    refused($owner->request('DELETE', "$uri/10.0.0.0/8"), $not,
        [ '10.0.0.0/8', $key->{id} ], "$title: nor a block");
    is_deeply(blocks($owner->request('GET', $uri)),
        [ qw( 198.51.100.7/32 9.9.9.9/32 ) ], "$title: the rest is there");
}

# one list by all its names
{
    my $key = $f->key($org, 'ORG_MEMBER');
    $owner->request('POST', list_uri('ops_manager', 'whitelist', $key),
        [ { ipAddress => '192.0.2.1' } ]);
    is_deeply(blocks($owner->request('GET', list_uri(@$_, $key))),
        [ '192.0.2.1/32' ], "seen by $$_[0] $$_[1]") for @lists;
}


# what is stored and shown for what is sent

my $key = $f->key($org, 'ORG_MEMBER');
my $uri = v1($key);

for my $case (
    [ ipAddress => '192.0.2.1', '192.0.2.1/32' ],
    [ ipAddress => '2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1/128' ],
    [ ipAddress => '::ffff:192.0.2.2', '192.0.2.2/32' ],
    [ ipAddress => '::FFFF:C000:0203', '192.0.2.3/32' ],
    [ ipAddress => '64:ff9b::192.0.2.33', '64:ff9b::c000:221/128' ],
    [ ipAddress => '::1', '::1/128' ],
    [ ipAddress => '1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0/128' ],
    [ ipAddress => '255.255.255.255', '255.255.255.255/32' ],
    [ cidrBlock => '10.1.2.3/8', '10.0.0.0/8' ],
    [ cidrBlock => '192.0.2.77/25', '192.0.2.0/25' ],
    [ cidrBlock => '192.0.2.4/32', '192.0.2.4/32' ],
    [ cidrBlock => '0.0.0.0/1', '0.0.0.0/1' ],
    [ cidrBlock => '128.0.0.0/1', '128.0.0.0/1' ],
    [ cidrBlock => '::ffff:10.20.30.40/112', '10.20.0.0/16' ],
    [ cidrBlock => '::ffff:10.20.30.40/128', '10.20.30.40/32' ],
    [ cidrBlock => '::ffff:128.0.0.0/97', '128.0.0.0/1' ],
    [ cidrBlock => '2001:db8:ffff::1/33', '2001:db8:8000::/33' ],
    [ cidrBlock => '::/1', '::/1' ],
    [ cidrBlock => '::/95', '::/95' ],
    [ cidrBlock => '0.0.0.0/8', '0.0.0.0/8' ])
{
    my ($name, $text, $block) = @$case;
    my $res = $owner->request('POST', $uri, [ { $name => $text } ]);

    is_deeply(blocks($res), [ $block ], "$name $text is $block")
        or diag $res->body;
    $owner->request('DELETE', "$uri/" . $block =~ s{/}{%2F}r)->code == 204
        or die;
}

# bodies that are refused; the list has one entry, and keeps it
$owner->request('POST', $uri, [ { ipAddress => '192.0.2.1' },
    { cidrBlock => '10.0.0.0/8' } ]);

for my $case (
    ( map { my $text = $_; [ [ { ipAddress => $text } ],
        'INVALID_IP_ADDRESS_OR_CIDR_NOTATION', $text ] }
        '', 'x', '10', '10.0.0', '192.0.2.1/32', '10.0.0.0/8', '192.0.2.01',
        '192.0.2.256', ' 192.0.2.1', '192.0.2.1 ', '1.2.3.4.5', '0x7f.1',
        'fe80::1%eth0', '::1::', '1:2:3:4:5:6:7:8:9', '::ffff:1.2.3.4.5',
        'localhost', '192.0.2.1%2F32', "192.0.2.1\n", '2130706433',
        '1:2:3:4:5:6:7', '[::1]', '::1/128', 'x' x 300 ),
    ( map { my $text = $_; [ [ { cidrBlock => $text } ],
        'INVALID_CIDR_BLOCK', $text ] }
        '', 'x', '192.0.2.1', '10/8', '10.0.0.0/', '10.0.0.0/33',
        '10.0.0.0/-1', '10.0.0.0/+8', '10.0.0.0/08', '10.0.0.0/8x',
        '10.0.0.0/8/8', '::/129', '::1', '10.0.0.0%2F8', '/8',
        '10.0.0.0 /8', '10.0.0.0/ 8', '10.0.0.0/4294967304',
        '10.0.0.0/255.0.0.0', 'fe80::%eth0/64' ),
    ( map { my ($name, $text) = @$_; [ [ { $name => $text } ],
        'CANNOT_ADD_IP_ADDRESS_TO_API_KEY_ACCESS_LIST', $text ] }
        [ cidrBlock => '0.0.0.0/0' ], [ cidrBlock => '::/0' ],
        [ cidrBlock => '::ffff:0:0/96' ], [ cidrBlock => '0.0.0.0/32' ],
        [ ipAddress => '0.0.0.0' ], [ ipAddress => '::' ],
        [ cidrBlock => '::/128' ], [ cidrBlock => '1.2.3.4/0' ],
        [ cidrBlock => '2001:db8::/0' ], [ ipAddress => '::ffff:0.0.0.0' ],
        [ cidrBlock => '::ffff:1.2.3.4/96' ],
        [ ipAddress => '0:0:0:0:0:0:0:0' ] ),
    [ [ { ipAddress => '192.0.2.5', cidrBlock => '192.0.2.5/32' } ],
        'BAD_ACCESS_LIST_ADD_REQUEST' ],
    [ [ {} ], 'MISSING_ONE_OF_ATTRIBUTES', 'ipAddress', 'cidrBlock' ],
    [ [ { ipAddress => undef } ], 'MISSING_ONE_OF_ATTRIBUTES', 'ipAddress',
        'cidrBlock' ],
    [ [ { ipAddress => '192.0.2.5' }, { ipAddress => '192.0.2.5' } ],
        'DUPLICATE_ADDRESSES_IN_INPUT' ],
    [ [ { ipAddress => '192.0.2.5' }, { cidrBlock => '192.0.2.5/32' } ],
        'DUPLICATE_ADDRESSES_IN_INPUT' ],
    [ [ { ipAddress => '192.0.2.5' }, { ipAddress => '::ffff:192.0.2.5' } ],
        'DUPLICATE_ADDRESSES_IN_INPUT' ],
    [ [ { cidrBlock => '11.1.1.1/8' }, { ipAddress => '192.0.2.6' },
        { cidrBlock => '11.2.2.2/8' } ], 'DUPLICATE_ADDRESSES_IN_INPUT' ],
    [ [ { ipAddress => '192.0.2.1' } ], 'ADDRESS_ALREADY_IN_ACCESS_LIST',
        '192.0.2.1' ],
    [ [ { cidrBlock => '::ffff:192.0.2.1/128' } ],
        'ADDRESS_ALREADY_IN_ACCESS_LIST', '192.0.2.1' ],
    [ [ { ipAddress => '192.0.2.7' }, { cidrBlock => '10.3.3.3/8' } ],
        'ADDRESS_ALREADY_IN_ACCESS_LIST', '10.0.0.0/8' ],
    [ [ { ipAddress => '192.0.2.7' }, { ipAddress => 'x' } ],
        'INVALID_IP_ADDRESS_OR_CIDR_NOTATION', 'x' ],
    [ [ { ipAddress => 1 } ], 'INVALID_JSON_ATTRIBUTE', 'ipAddress' ],
    [ [ { cidrBlock => [] } ], 'INVALID_JSON_ATTRIBUTE', 'cidrBlock' ],
    [ [ { ipAddress => '192.0.2.5', comment => 'x' } ], 'INVALID_ATTRIBUTE',
        'comment' ],
    ( map { [ [ { ipAddress => '192.0.2.5', $_ => undef } ],
        'ATTRIBUTE_READ_ONLY', $_ ] }
        qw( count created lastUsed lastUsedAddress links ) ),
    [ { ipAddress => '192.0.2.5' }, 'INVALID_JSON' ],
    [ [ '192.0.2.5' ], 'INVALID_JSON' ],
    [ [ [ { ipAddress => '192.0.2.5' } ] ], 'INVALID_JSON' ],
    [ [ undef ], 'INVALID_JSON' ],
    [ '"192.0.2.5"', 'INVALID_JSON' ],
    [ '', 'MALFORMED_JSON' ],
    [ '[{"ipAddress":"192.0.2.5"},]', 'MALFORMED_JSON' ],
    [ '[{"ipAddress":"192.0.2.5","ipAddress":"192.0.2.6"}]',
        'MALFORMED_JSON' ])
{
    my ($body, $code, @params) = @$case;
    my $shown = substr json_text($body), 0, 70;

    refused($owner->request('POST', $uri, $body), $code, \@params,
        "$shown: $code");

    # the same by the old name, where that has one
    (my $old = $code) =~ s/ACCESS_LIST/WHITELIST/;
    $old .= '/whitelist' if $code =~ /^DUPLICATE/;
    refused($owner->request('POST', $uri =~ s/accessList/whitelist/r, $body),
        $old, \@params, "$shown: $old") if $old ne $code;
}
is_deeply(blocks($owner->request('GET', $uri)),
    [ qw( 10.0.0.0/8 192.0.2.1/32 ) ], 'nothing of this has changed the list');


# enforcement at once, and the count of what it let through

{
    my $guest = $f->key($org, 'ORG_MEMBER');
    my $root = "$base{atlas_v1}/";

    is($guest->{client}->request('GET', $root)->code, 200,
        'an empty list lets in');
    $owner->request('POST', v1($guest), [ { ipAddress => '192.0.2.1' } ]);
    refused($guest->{client}->request('GET', $root),
        'IP_ADDRESS_NOT_ON_ACCESS_LIST', [ '127.0.0.1' ],
        'a list without the address keeps out, on the next request');
    $owner->request('POST', v1($guest), [ { cidrBlock => '127.0.0.0/8' } ]);
    is($guest->{client}->request('GET', $root)->code, 200,
        'a block that holds it lets in');
    $owner->request('DELETE', v1($guest) . '/127.0.0.0%2F8');
    is($guest->{client}->request('GET', $root)->code, 403, 'until it goes');
    $owner->request('DELETE', v1($guest) . '/192.0.2.1');
    is($guest->{client}->request('GET', $root)->code, 200,
        'without the last entry any address will do');
    $owner->request('PATCH', "$base{atlas_v1}/orgs/$org->{id}/settings",
        { apiAccessListRequired => true });
    refused($guest->{client}->request('GET', $root),
        'ORG_REQUIRES_ACCESS_LIST', [ '127.0.0.1' ],
        'but where the organisation wants a list');
    refused($owner->request('GET', $root), 'ORG_REQUIRES_ACCESS_LIST',
        [ '127.0.0.1' ], 'of all its keys');
    is($f->operator('PATCH', "/orgs/$org->{id}/settings",
        { apiAccessListRequired => false })->code, 200,
        'the operator has none, and undoes it');
    is($guest->{client}->request('GET', $root)->code, 200, 'at once');
}


# a key and its own address (decision 22); it calls from 127.0.0.1

for my $case (@lists) {
    my ($name, $list) = @$case;
    my $self = $f->key($org, 'ORG_OWNER');
    my $mine = list_uri($name, $list, $self);
    my $code = $list eq 'whitelist' ? 'CANNOT_REMOVE_CALLER_FROM_WHITELIST'
        : 'CANNOT_REMOVE_CALLER_FROM_ACCESS_LIST';
    my $title = "$name $list";

    $self->{client}->request('POST', $mine, [ { ipAddress => '127.0.0.1' },
        { cidrBlock => '127.0.0.0/8' }, { ipAddress => '192.0.2.1' } ]);
    no_content($self->{client}->request('DELETE', "$mine/127.0.0.1"),
        "$title: one of two entries that cover the caller may go");
    refused($self->{client}->request('DELETE', "$mine/127.0.0.0%2F8"), $code,
        [ '127.0.0.1' ], "$title: not the only one");
    no_content($self->{client}->request('DELETE', "$mine/192.0.2.1"),
        "$title: one that does not cover it may");
    refused($self->{client}->request('DELETE', "$mine/127.0.0.0/8"), $code,
        [ '127.0.0.1' ], "$title: nor as the last of all");
    is($self->{client}->request('GET', "$base{$name}/")->code, 200,
        "$title: it is not locked out");
    no_content($owner->request('DELETE', "$mine/127.0.0.0/8"),
        "$title: another key may do that");
    $owner->request('POST', $mine, [ { cidrBlock => '127.0.0.0/8' } ]);
    no_content($f->operator('DELETE', "$mine/127.0.0.0/8"),
        "$title: and the operator");
}

# locking oneself out by an addition is not prevented
{
    my $self = $f->key($org, 'ORG_MEMBER');
    is($self->{client}->request('POST', v1($self),
        [ { ipAddress => '192.0.2.1' } ])->code, 200,
        'a key may add what excludes its address');
    is($self->{client}->request('GET', v1($self))->code, 403,
        'and is locked out');
}


# ten thousand

{
    my $big = $f->key($org, 'ORG_MEMBER');
    my $at = v1($big);
    my $net = sub { return map { my $i = $_; +{ ipAddress =>
        sprintf '10.%d.%d.%d', $i >> 16, $i >> 8 & 255, $i & 255 } } @_ };

    is($owner->request('POST', $at, [ $net->(1 .. 9_998) ])->json->{totalCount},
        9_998, '9,998 entries in one request');
    refused($owner->request('POST', $at, [ $net->(20_001 .. 20_003) ]),
        'MAX_ACCESS_LIST_ENTRIES_EXCEEDED', [ 10_000 ], 'three more');
    is($owner->request('GET', $at)->json->{totalCount}, 9_998,
        'add nothing at all');
    is($owner->request('POST', $at, [ $net->(20_001 .. 20_002) ])->json
        ->{totalCount}, 10_000, 'two more');
    refused($owner->request('POST', $at, [ $net->(20_003) ]),
        'MAX_ACCESS_LIST_ENTRIES_EXCEEDED', [ 10_000 ], 'and no further one');
    refused($owner->request('POST', $at, [ $net->(20_003, 7) ]),
        'ADDRESS_ALREADY_IN_ACCESS_LIST', [ '10.0.0.7' ],
        'a duplicate is reported before the limit');
    refused($owner->request('POST', $at, [ $net->(20_003, 20_003) ]),
        'DUPLICATE_ADDRESSES_IN_INPUT', [], 'and so is one in the request');
    is($f->operator('POST', $at, [ $net->(20_003) ])->code, 400,
        'the operator has the same limit');

    my $page = $owner->request('GET', "$at?itemsPerPage=500&pageNum=20")
        ->json;
    is(scalar @{ $page->{results} }, 500, 'the last of its pages is full');
    is($page->{links}[-1]{rel}, 'self', 'and has no next one');
    refused($big->{client}->request('GET', $at),
        'IP_ADDRESS_NOT_ON_ACCESS_LIST', [ '127.0.0.1' ],
        'a long list keeps out');
    $owner->request('DELETE', "$at/10.0.0.7");
    $owner->request('POST', $at, [ { ipAddress => '127.0.0.1' } ]);
    is($big->{client}->request('GET', "$at?itemsPerPage=1")->json
        ->{totalCount}, 10_000, 'and lets in');
}

done_testing;
