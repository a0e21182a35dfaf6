# What the examples promise to several clients at once: the burst of
# rate-limit.conf; and to two nodes with nodes.conf.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Example ();
use ApiKeys::Fixture ();
use MIME::Base64 qw( encode_base64 );
use Test::More;

my $f = ApiKeys::Fixture->new;
my $org = $f->org;
my ($key, $other) = map { $f->key($org, 'ORG_MEMBER') } 1 .. 2;

sub basic { return 'Basic ' . encode_base64($_[0]{secret}, '') }

sub example {
    my ($name) = @_;

    my $nginx = ApiKeys::Example::nginx($f, $name)->start;
    $nginx->wait_for(sub { get($nginx, '/', key => 'aaaaaaaa:x')->code != 503 },
        20, "$name is not loaded");
    return $nginx;
}

sub get {
    my ($nginx, $uri, %opt) = @_;

    my $client = $f->client(nginx => $nginx, key => $opt{key},
        local => $opt{local});
    my $res = $client->request($opt{method} || 'GET', $uri, $opt{body}, %opt);
    $client->close;
    return $res;
}


# sent at once, or the delay of burst= would be waited for

my $limited = example('rate-limit');
my $client = $f->client(nginx => $limited);
my @clients = map { $f->client(nginx => $limited) } 1 .. 30;
my %codes;

$_->send($_->format('GET', '/', undef,
    headers => { Authorization => basic($key) })) for @clients;
$codes{ $_->read->code }++ for reverse @clients;
cmp_ok($codes{429}, '>=', 5, 'requests beyond the limit of a key get 429');
cmp_ok($codes{200}, '>=', 20,
    'requests within the burst of a key are admitted');
is($client->plain('GET', '/', undef, headers =>
    { Authorization => basic($other) })->code, 200,
    'the limit of one key does not count for another');


# all clients of both ask at once, without waiting

my @nodes = map { example('nodes') } 1 .. 2;
my $path = "/api/atlas/v1.0/orgs/$org->{id}/apiKeys";
my $owner = $org->{key}{secret};

for my $n (0 .. 1) {
    my $made = get($nodes[$n], $path, method => 'POST', key => $owner,
        body => { desc => "node $n", roles => ['ORG_MEMBER'] })->json;
    my $secret = "$made->{publicKey}:$made->{privateKey}";
    is(get($nodes[ 1 - $n ], '/', key => $secret)->code, 200,
        "a key that is made on node $n is known on the other");
    is(get($nodes[ 1 - $n ], "$path/$made->{id}", method => 'DELETE',
        key => $owner)->code, 204, "it is deleted on the node other than $n");
    is(get($nodes[$n], '/', key => $secret)->code, 401,
        "a key deleted on the other node is unknown on node $n");
}
like($nodes[0]->wait_for(sub { -s $nodes[0]->dir . '/apikeys/snapshot' },
    20, 'no snapshot'), qr/^\d+$/, 'a node writes a snapshot');
is(get($nodes[0], '/health')->code, 200, 'the health check of a node is 200');
is(get($nodes[0], '/health', local => '127.0.0.2')->code, 403,
    'the health check is refused to other addresses');

done_testing;
