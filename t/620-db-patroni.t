# Three PostgreSQL under Patroni with synchronous replication, two nodes, and
# clients that create and delete keys with receipts asked for: a switchover
# and a failover lose no change that was answered, and no node admits a key
# again after its deletion was.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use ApiKeys::Patroni ();
use ApiKeys::Prober ();
use IO::Select ();
use JSON::PP qw( decode_json encode_json );
use MIME::Base64 qw( encode_base64 );
use POSIX ();
use Test::More;
use Time::HiRes qw( sleep time );

my $patroni = ApiKeys::Patroni->new;
my $primary = $patroni->wait_primary;
my $db = $patroni->pg($primary)->database(name => 'apikeys', schema => 1);

my %node = (db => $db, workers => 2, conninfo => $patroni->conninfo('apikeys'),
    database => 'connect_timeout=2s timeout=5s',
    http => 'apikeys_sync poll=200ms;',
    server => 'location /key { apikeys_auth basic; empty_gif; }');
my $f = ApiKeys::Fixture->new(%node);
my @nodes = ($f->nginx, $f->node(%node));
$nodes[1]->start;
$f->wait_loaded($nodes[1]);

my $org = $f->org;
my ($kept, $gone) = map { $f->key($org, 'ORG_READ_ONLY') } 1 .. 2;

sub code {
    my ($secret, $nginx) = @_;

    my $client = ApiKeys::Client->new(port => $nginx->port, timeout => 20);
    my $res = $client->plain('GET', '/key', undef, headers => {
        Authorization => 'Basic ' . encode_base64($secret, '') });
    $client->close;
    return $res ? $res->code : 0;
}

# One change after the other, each through the next node.  What was answered:
# { made => { id => secret }, deleted => { id => secret }, and numbers }
sub write_until {
    my ($stopped) = @_;

    my %did = (made => {}, deleted => {}, applied => 0, pending => 0,
        failed => 0, admitted => 0);
    my @keys;

    for (my $i = 0; !$stopped->(); $i++) {
        my $client = $f->client(token => $f->token, timeout => 20,
            nginx => $nodes[$i % 2]);
        my $key = $i % 3 == 2 ? shift @keys : undef;
        my $res = $key
            ? $client->request('DELETE', "$org->{path}/apiKeys/$key->{id}",
                undef, headers => { Prefer => 'wait=1' })
            : $client->request('POST', "$org->{path}/apiKeys",
                { desc => "written $i", roles => ['ORG_READ_ONLY'] },
                headers => { Prefer => 'wait=1' });

        $client->close;
        delete $did{made}{ $key->{id} } if $key;

        if (!$res || $res->code !~ /^20[024]$/) {
            $did{failed}++;
            sleep 0.05;
            next;
        }

        my $applied = $res->header('preference-applied');
        $did{ $applied ? 'applied' : 'pending' }++;

        if (!$key) {
            $key = $res->json;
            $key->{secret} = "$key->{publicKey}:$key->{privateKey}";
            $did{made}{ $key->{id} } = $key->{secret};
            push @keys, $key;
            next;
        }

        $did{deleted}{ $key->{id} } = $key->{secret};
        $applied or next;
        $did{admitted} += grep { code($key->{secret}, $_) != 401 } @nodes;
    }
    return \%did;
}

# in a process of its own, until stop() is called, which returns what it did
sub start {
    pipe my $from, my $to or die "pipe: $!\n";
    pipe my $orders, my $end or die "pipe: $!\n";

    my $pid = fork;
    defined $pid or die "fork: $!\n";

    if ($pid == 0) {
        my $select = IO::Select->new($orders);
        close $end;
        my $did = eval { write_until(sub { $select->can_read(0) }) }
            || { error => $@ };
        print $to encode_json($did);
        close $to;
        POSIX::_exit(0);
    }
    close $to;
    return { pid => $pid, from => $from, end => $end };
}

sub stop {
    my ($writer) = @_;

    close $writer->{end};
    my $did = decode_json(readline $writer->{from});
    waitpid $writer->{pid}, 0;
    die $did->{error} if $did->{error};
    return $did;
}

sub keys_in {
    my ($member) = @_;

    return { map { $_ => 1 } split /\n/, $patroni->pg($member)
        ->named('apikeys')->psql('SELECT id FROM apikeys.keys') };
}

# what was answered before and during an event is true after it
sub holds {
    my ($name, $did, $member) = @_;

    my $there = keys_in($member);
    my %made = %{ $did->{made} };
    my %deleted = %{ $did->{deleted} };

    diag "$name: " . join ', ', map { "$did->{$_} $_" }
        qw( applied pending failed );
    is_deeply([ grep { !$there->{$_} } sort keys %made ], [],
        "$name: each of " . keys(%made) . ' keys is in the new primary');
    is_deeply([ grep { $there->{$_} } sort keys %deleted ], [],
        "$name: none of " . keys(%deleted) . ' deleted keys is');
    is($did->{admitted}, 0,
        "$name: no key was admitted after a receipt of its deletion");

    for my $n (0 .. 1) {
        my $nginx = $nodes[$n];
        ok(eval { $nginx->wait_for(sub {
            !grep { code($_, $nginx) != 200 } values %made }, 20, '') },
            "$name: node $n admits the keys");
        is_deeply([ grep { code($_, $nginx) != 401 } values %deleted ], [],
            "$name: node $n refuses the deleted keys");
    }
}

sub receipt {
    my ($name, $wait) = @_;

    my $res = $f->client(token => $f->token, timeout => 30)->request('PATCH',
        "$org->{path}/apiKeys/$kept->{id}", { desc => $name },
        headers => { Prefer => 'wait=' . ($wait || 10) });
    return join ' ', $res->code, $res->header('preference-applied')
        || $res->header('x-apikeys-pending');
}


is(receipt('before'), '200 wait=10', 'all nodes apply a change');
is($f->operator('DELETE', "$org->{path}/apiKeys/$gone->{id}", undef,
    headers => { Prefer => 'wait=10' })->code, 204, 'a key is deleted');

my @probers = map { ApiKeys::Prober->new(port => $_->port, pause => 0.02) }
    @nodes;
$_->watch([ '/key', $kept->{secret} ], [ '/key', $gone->{secret} ])
    for @probers;


# a switchover

my $writer = start();
sleep 1;
my $begin = time;
$patroni->switchover($primary);
my $old = $primary;
$primary = $patroni->wait_primary($old);
ok(eval { $nodes[0]->wait_for(sub { receipt('switched', 1) =~ /^20/ }, 30, '') },
    'switchover: the API works with the new primary');
diag sprintf 'switchover: %.1f s', time - $begin;
sleep 1;
holds('switchover', stop($writer), $primary);
like(receipt('unknown', 1), qr/^202 unknown/,
    'switchover: a receipt does not claim to know all nodes');
$patroni->pg($primary)->named('apikeys')
    ->psql('SELECT apikeys.end_unknown()');
is(receipt('known'), '200 wait=10',
    'switchover: all nodes apply a change once they are known');


# a failover

$writer = start();
sleep 1;
$begin = time;
$old = $primary;
$patroni->crash($old);
$primary = $patroni->wait_primary($old);
ok(eval { $nodes[0]->wait_for(sub { receipt('failed over', 1) =~ /^20/ }, 30,
    '') }, 'failover: the API works with the new primary');
diag sprintf 'failover: %.1f s', time - $begin;


# the old primary comes back, as a standby

$patroni->start($old);
ok(eval { $nodes[0]->wait_for(sub { ($patroni->cluster->{$old}{state} || '')
    =~ /^(?:running|streaming)$/ }, 60, '') },
    'failover: the old primary comes back as a standby');
sleep 1;
holds('failover', stop($writer), $primary);
isnt($patroni->wait_primary, $old,
    'failover: the old primary stays a standby');

for my $n (0 .. 1) {
    my ($yes, $no) = $probers[$n]->seen;

    is("$yes->{code} $yes->{back} $yes->{lost}", '200 0 0',
        "node $n admitted a key all the time, $yes->{asked} requests");
    is("$no->{code} $no->{last}", '401 0',
        "node $n never admitted a deleted key, $no->{asked} requests");
}

$_->quit for @nodes;

done_testing;
