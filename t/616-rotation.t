# Keys are rotated under load: each gets a second secret, and its clients, which
# use digest, basic and bearer on two nodes, change over at any moment until the
# first one ends.  No request with a right secret is refused, and none with a
# secret that has ended is admitted.
#
# APIKEYS_TEST_ROTATIONS: how many keys, 500 when not set.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use IO::Handle ();
use IO::Select ();
use JSON::PP qw( decode_json encode_json );
use MIME::Base64 qw( encode_base64 );
use POSIX ();
use Test::More;
use Time::HiRes qw( sleep time );

# where everything is many times slower, fewer keys and longer overlaps
my $slow = $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND} ? 10 : 1;
my $total = $ENV{APIKEYS_TEST_ROTATIONS} || 500 / $slow;
my $overlap = $slow > 1 ? 12 : 4;
my $nclients = 3;

my %conf = (workers => 2, server => <<'END');
        location /shop { apikeys_auth digest basic bearer; empty_gif; }
END
my $f = ApiKeys::Fixture->new(%conf);
my @nodes = ($f->nginx, $f->node(%conf));
$nodes[1]->start;
$f->wait_loaded($nodes[1]);

# an organization has 500 keys at most
my @orgs = ($f->org, $f->org);
my @keys = map { $f->key($orgs[ $_ % 2 ], 'ORG_MEMBER') } 0 .. $total - 1;

# the nodes may be a moment behind the creation of a key
my $probe = $f->client(key => $keys[-1]{secret}, nginx => $nodes[1]);
$nodes[1]->wait_for(sub { $probe->request('GET', '/shop')->code == 200 }, 30,
    'the last key is not known');


# A client: a process that uses the keys of its share, all the time.  A line of
# its input has a new private key, and when the old one ends at the earliest
# and at the latest; an empty one asks for the result.
sub client {
    my ($n) = @_;

    pipe my $orders, my $to or die "pipe: $!\n";
    pipe my $from, my $result or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        $SIG{PIPE} = 'IGNORE';
        my $seen = eval { used($n, $orders) } || { died => $@ };
        print $result encode_json($seen);
        close $result;
        POSIX::_exit(0);
    }

    $to->autoflush(1);
    return { pid => $pid, to => $to, from => $from };
}

sub used {
    my ($n, $orders) = @_;

    my %seen = (right => 0, new => 0, ended => 0, refused => [], late => []);
    my $select = IO::Select->new($orders);
    my @mine = map { { number => $_, public => $keys[$_]{publicKey},
        old => $keys[$_]{privateKey} } } grep { $_ % $nclients == $n }
        0 .. $#keys;
    my %of = map { $_->{number} => $_ } @mine;
    my @clients = map { ApiKeys::Client->new(port => $_->port) } @nodes;
    my $buffer = '';

    srand $n;
    for ( ;; ) {
        while ($select->can_read(0)) {
            sysread $orders, $buffer, 65536, length $buffer or return \%seen;
        }
        while ($buffer =~ s/^([^\n]*)\n//) {
            return \%seen if $1 eq '';
            my $order = decode_json($1);
            my $key = $of{ $order->{number} };
            @$key{qw( new from until )} = @$order{qw( new from until )};
            $key->{change} = time + rand $key->{from} - 0.5 - time;
        }

        my $key = $mine[ rand @mine ];
        my $now = time;
        my $ended = $key->{until} && $now > $key->{until};
        my $new = $key->{change} && $now > $key->{change};
        my $old = $ended && rand() < 0.5;
        my $code = once($key, $old || !$new ? $key->{old} : $key->{new},
            \@clients);

        if ($old) {
            $seen{ended}++;
            push @{ $seen{late} }, "key $key->{number}" if $code != 401;
            next;
        }
        $seen{right}++;
        $seen{new}++ if $new;
        push @{ $seen{refused} }, sprintf 'key %d: %d, %s, %.1f s before the '
            . 'end', $key->{number}, $code, $new ? 'new' : 'old',
            ($key->{from} || $now) - $now if $code != 200;
    }
}

# one request, by any scheme; a nonce stays with its key, and is used on with
# the other secret
sub once {
    my ($key, $private, $clients) = @_;

    my $node = int rand @$clients;
    my $client = $clients->[$node];
    my $scheme = int rand 3;
    my $secret = "$key->{public}:$private";

    if ($scheme) {
        my $value = $scheme == 1 ? 'Basic ' . encode_base64($secret, '')
            : 'Bearer ' . $secret =~ s/:/_/r;
        return $client->plain('GET', '/shop', undef,
            headers => { Authorization => $value })->code;
    }

    @$client{qw( challenge nc key )} = (@{ $key->{nonces}[$node] ||= [] }[0, 1],
        $secret);
    my $code = $client->request('GET', '/shop')->code;
    $key->{nonces}[$node] = [ @$client{qw( challenge nc )} ];
    return $code;
}


my @clients = map { client($_) } 0 .. $nclients - 1;
my @owners = map { $f->client(key => $orgs[$_]{key}{secret},
    nginx => $nodes[ 1 - $_ ]) } 0, 1;
my @codes;

# a third of the keys rotate themselves
for my $i (0 .. $#keys) {
    my $caller = $i % 3 ? $owners[ $i % 2 ]
        : $f->client(key => $keys[$i]{secret}, nginx => $nodes[ $i % 2 ]);
    my $before = POSIX::floor(time);
    my $res = $caller->request('POST', "/api/v1/orgs/$orgs[ $i % 2 ]{id}"
        . "/apiKeys/$keys[$i]{id}/secrets",
        { othersExpireIn => $overlap });

    push @codes, $res ? $res->code : 0;
    next if $codes[-1] != 201;
    print { $clients[ $i % $nclients ]{to} } encode_json({ number => $i,
        new => $res->json->{privateKey}, from => $before + $overlap,
        until => time + $overlap + 1.1 }), "\n";
    $caller->close if !($i % 3);
}

is_deeply([ grep { $_ != 201 } @codes ], [], "all $total keys were rotated");
sleep $overlap + 1.1 + 1;

my %sum = (right => 0, new => 0, ended => 0, refused => [], late => []);
for (@clients) {
    print { $_->{to} } "\n";
    my $seen = decode_json(do { local $/; readline $_->{from} });
    waitpid $_->{pid}, 0;
    is($seen->{died}, undef, 'the client has a result');
    $sum{$_} += $seen->{$_} for qw( right new ended );
    push @{ $sum{$_} }, @{ $seen->{$_} || [] } for qw( refused late );
}

diag("$total keys, $sum{right} requests with a right secret, $sum{new} of them "
    . "with the new one; $sum{ended} with one that had ended");
is(join("\n", splice @{ $sum{refused} }, 0, 10), '',
    'no right secret is refused');
is(join("\n", splice @{ $sum{late} }, 0, 10), '',
    'no secret that has ended is admitted');
cmp_ok($sum{new}, '>', $total / 2, 'the new secrets were used');
cmp_ok($sum{ended}, '>', $total / 10, 'and those that had ended');
is($f->db->dbh->selectrow_array('SELECT count(*) FROM apikeys.older_secrets'),
    $total, 'each key has an older secret');

done_testing;
