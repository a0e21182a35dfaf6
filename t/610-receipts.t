# Receipts: "Prefer: wait=N" is confirmed when every zone that may still
# decide by the old state has applied the change, and never otherwise; and
# apikeys_wait, by which a key made on one node works on the next.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use ApiKeys::Pg ();
use Test::More;
use Time::HiRes qw( sleep time );

my $slow = $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND} ? 10 : 1;

my $server = 'location /key { apikeys_auth basic; empty_gif; }';

my $pg = ApiKeys::Pg->new(own => 1);
my $db = $pg->database(schema => 1);
my $f = ApiKeys::Fixture->new(db => $db, workers => 2, server => $server,
    http => 'apikeys_sync poll=1s;');
my $here = $f->nginx;
my $org = $f->org;
my $host = qx{hostname} =~ s/\s//gr;

sub node {
    my (%opt) = @_;

    my $node = $f->node(workers => 2, server => $server,
        http => 'apikeys_sync poll=1s;', %opt);
    $node->start;
    $f->wait_loaded($node) if !$opt{unloaded};
    return $node;
}

sub code {
    my ($key, $node) = @_;

    my $client = ApiKeys::Client->new(port => $node->port);
    my $res = $client->plain('GET', '/key', undef, headers => {
        Authorization => 'Basic '
            . MIME::Base64::encode_base64($key->{secret}, '') });
    $client->close;
    return $res ? $res->code : 0;
}

sub headers {
    my ($prefer) = @_;

    return { Authorization => 'Bearer ' . $f->token, Prefer => $prefer };
}

sub seconds {
    my ($code) = @_;

    my $begin = time;
    $code->();
    return time - $begin;
}

# status, what was confirmed, who is behind
sub receipt {
    my ($res) = @_;

    return join ' ', $res->code, $res->header('preference-applied') // '-',
        map { /:\d+$/ ? $host : $_ } split /, /,
        $res->header('x-apikeys-pending') // '-';
}

# a mutation, sent and not yet answered
sub begin {
    my ($prefer, $node, $method, $path, $json) = @_;

    my $client = ApiKeys::Client->new(port => $node->port, timeout => 30);
    $client->send($client->format($method, $path, $json,
        headers => headers($prefer)));
    return $client;
}

sub ask { return begin(@_)->read }

sub patch {
    my ($prefer, $node) = @_;

    return ask($prefer, $node || $here, 'PATCH',
        "$org->{path}/apiKeys/$org->{key}{id}", { desc => 'd' . rand });
}

# the instances of nodes that have ended, whose leases run on
sub forget {
    $db->psql('SELECT apikeys.sign_off(uuid) FROM apikeys.instances');
}

sub delete_key {
    my ($prefer, $key, $node) = @_;

    return ask($prefer, $node || $here, 'DELETE',
        "$org->{path}/apiKeys/$key->{id}");
}

# a mutation that waits, for those who are stopped
sub waiting {
    my ($prefer, $method, $path, $json) = @_;

    my $n = $db->dbh->selectrow_array('SELECT max(id) FROM apikeys.audit');
    my $client = begin($prefer, $here, $method, $path, $json);
    $here->wait_for(sub {
        $db->dbh->selectrow_array(q{SELECT count(*)
              FROM pg_stat_activity, apikeys.audit a
             WHERE query LIKE '%waiting_for%' AND usename = 'apikeys_nginx'
               AND query_start > a.at AND a.id > ?}, undef, $n);
    }, 10 * $slow, 'the mutation is not waited for');
    return $client;
}


# alone, and beside another

is(receipt(patch('wait=5')), '200 wait=5 -', 'a receipt for one node');

my $there = node();
my $wrong = 0;

for my $n (1 .. 20) {
    my $key = $f->key($org, 'ORG_READ_ONLY');
    $wrong++ if code($key, $there) != 200;
    $wrong++ if receipt(delete_key('wait=5', $key)) ne '204 wait=5 -';
    $wrong++ if code($key, $there) != 401;
}
is($wrong, 0, 'a key works on the next node as soon as it is made, and not '
    . 'after a receipt for its deletion');

cmp_ok(seconds(sub { patch('wait=30') for 1 .. 10 }), '<', 5 * $slow,
    'receipts come as soon as they can');

# a retry says the same again, which must not wait for another's change

for ([ "$org->{path}/apiKeys/$org->{key}{id}", { desc => 'same' } ],
    [ "$org->{path}/settings", { apiAccessListRequired => \0 } ])
{
    my @request = ($here, 'PATCH', @$_);

    ask('wait=30', @request);
    is(receipt(ask('wait=2', @request)), '200 wait=2 -',
        "a receipt for the same again: $_->[0]" =~ s/[0-9a-f]{24}/ID/gr);
}


# what RFC 7240 lets a client write

for ([ 'respond-async, Wait=7' => 'wait=7' ], [ 'wait=8; x=y' => 'wait=8' ],
    [ [ 'handling=lenient', 'wait=9' ] => 'wait=9' ],
    [ 'wait=99999' => 'wait=300' ], [ 'wait' => '-' ], [ 'wait=' => '-' ],
    [ 'wait=x' => '-' ], [ 'wait=-1' => '-' ], [ 'wait=5x' => '-' ],
    [ 'await=5' => '-' ], [ 'wait=99999999999999999999' => '-' ],
    [ '' => '-' ], [ ',,;,' => '-' ])
{
    my ($prefer, $applied) = @$_;
    my $text = ref $prefer ? join ' and ', @$prefer : $prefer;
    is(receipt(patch($prefer)), "200 $applied -", "Prefer: $text");
}


# one that hears nothing and still admits

my $key = $f->key($org, 'ORG_READ_ONLY');
my @stopped = $there->workers;
$there->signal('STOP', @stopped);

my $took = seconds(sub {
    is(receipt(delete_key('wait=1', $key)), "202 - $host",
        'no receipt while a node is stopped, which is named');
});
cmp_ok($took, '>=', 1,
    'the answer without a receipt comes after the time of Prefer: wait');
cmp_ok($took, '<', 1 + 1 * $slow, 'the answer without a receipt is not late');
like(receipt(patch('wait=0')), qr/^202 - $host/,
    'Prefer: wait=0 gives 202 while a node is stopped');

$took = seconds(sub { is(receipt(patch('')), '200 - -',
    'a change without Prefer gets 200') });
cmp_ok($took, '>=', 0.45, 'a change without Prefer waits for apikeys_wait');
cmp_ok($took, '<', 0.7 + 1 * $slow,
    'a change without Prefer waits no longer than apikeys_wait');

my $patient = waiting('wait=60', 'PATCH',
    "$org->{path}/apiKeys/$org->{key}{id}", { desc => 'patient' });
$there->signal('CONT', @stopped);
is(receipt($patient->read), '200 wait=60 -',
    'a receipt is given when the stopped node resumes');
is(code($key, $there), 401, 'the resumed node refuses the deleted key');


# a client that leaves while it waits

$there->signal('STOP', @stopped);
my $gone = waiting('wait=60', 'PATCH',
    "$org->{path}/apiKeys/$org->{key}{id}", { desc => 'gone' });
$here->log_mark;
$gone->close;
ok(eval { $here->wait_log(qr/client prematurely closed/, 10 * $slow) },
    'a client that leaves is noticed');
is($db->dbh->selectrow_array('SELECT descr FROM apikeys.keys WHERE id = ?',
    undef, $org->{key}{id}), 'gone', 'its change stays');


# the database: lost while somebody waits, frozen, restored from a dump

my $prefer = waiting('wait=60', 'PATCH',
    "$org->{path}/apiKeys/$org->{key}{id}", { desc => 'lost' });
$pg->stop('immediate');
is(receipt($prefer->read), '202 - -', 'no receipt without a database');
$pg->start;
$here->wait_for(sub { patch('wait=0')->code == 202 }, 60, 'no connection');

# heard of again, so that it is waited for
$there->signal('CONT', @stopped);
$here->wait_for(sub { receipt(patch('wait=1')) eq '200 wait=1 -' }, 30,
    'no receipt');
$there->signal('STOP', @stopped);

for my $prefer ('', 'wait=1') {
    my $client = waiting($prefer, 'PATCH',
        "$org->{path}/apiKeys/$org->{key}{id}", { desc => "frozen $prefer" });
    $pg->signal_all('STOP');
    my $end = seconds(sub {
        is(receipt($client->read), $prefer ? '202 - -' : '200 - -',
            'a database that freezes meanwhile');
    });
    cmp_ok($end, '<', 1.5 + 1 * $slow, 'is not waited for any longer');
    $pg->signal_all('CONT');
}

# beside it lies what a restored dump is: same rows, no instances
$key = $f->key($org, 'ORG_READ_ONLY');
my $dump = $db->dump;
my $restored = $pg->database;
$restored->psql($dump);
$restored->grant;

$prefer = waiting('wait=60', 'DELETE', "$org->{path}/apiKeys/$key->{id}");
{
    my $admin = $pg->named('postgres')->connect;
    my ($old, $new) = ($db->name, $restored->name);
    delete($db->{dbh})->disconnect;
    $admin->do(qq{ALTER DATABASE "$old" WITH ALLOW_CONNECTIONS false});
    $admin->do(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = ?}, undef, $old);
    $here->wait_for(sub { !$admin->selectrow_array('SELECT count(*)
        FROM pg_stat_activity WHERE datname = ?', undef, $old) }, 10, 'busy');
    $admin->do(qq{ALTER DATABASE "$old" RENAME TO "$old-old"});
    $admin->do(qq{ALTER DATABASE "$new" RENAME TO "$old"});
    $admin->disconnect;
}
like(receipt($prefer->read),
    qr/^202 - (?:-|(?:unknown )?(?:\Q$host\E )?database)$/,
    'a restored dump gives no receipt for what it has lost');

# it cannot know who is stopped, nor for how long that one may decide
$here->wait_for(sub { code($key, $here) == 200 }, 30, 'not restored');
is(receipt(patch('wait=1')), '202 - unknown',
    'no receipt while the restored database may lack nodes');
is(receipt(delete_key('wait=1', $f->key($org, 'ORG_READ_ONLY'))),
    '202 - unknown',
    'no receipt for a deletion while the database may lack nodes');
$db->psql(q{UPDATE apikeys.history SET begun = begun - interval '10 min'});
is(receipt(patch('wait=1')), '200 wait=1 -',
    'a receipt is given when the leases of lacking nodes have run out');

$there->signal('CONT', @stopped);
$here->wait_for(sub { receipt(patch('wait=1')) eq '200 wait=1 -' }, 30,
    'no receipt from the restored database');
is(code($key, $here), 200, 'a receipt of the restored database means that '
    . 'the node has it');
ok($here->wait_for(sub { code($key, $there) == 200 }, 30, 'not restored'),
    'the other node follows the restored database');


# the end of a lease

$there->quit;
forget();

$there = node(http => 'apikeys_stale 3s; apikeys_sync poll=500ms;');
$there->{opt}{allow} = qr/exited on signal 9/;
$there->kill;
cmp_ok($db->psql('SELECT min(extract(epoch FROM lease_until - heartbeat))
    FROM apikeys.instances'), '>=', 3.1,
    'lease_until is at least apikeys_stale + margin after the heartbeat');
like(receipt(patch('wait=0')), qr/^202 - $host/,
    'no receipt while the lease of a killed node runs');
is(receipt(patch('wait=20')), '200 wait=20 -',
    'a receipt is given once the lease of the killed node is over');


# a zone without room for the change

my $small = node(zone => '1m', unloaded => 1, allow => qr/zone/);
$f->copies($org, $org->{key}, 14_000);
$here->wait_for(sub { code({ secret => 'zzzzzzzz:x' }, $small) == 503 },
    30 * $slow, 'the small zone is not full');

like(receipt(patch('wait=1')), qr/^202 - /,
    'no receipt while a zone is incomplete');
like(receipt(patch('wait=1', $small)), qr/^202 - /,
    'not from the node that has it either');

$db->psql("DELETE FROM apikeys.keys WHERE descr = 'copy'");
$here->wait_for(sub { receipt(patch('wait=1')) eq '200 wait=1 -' },
    30 * $slow, 'no receipt when there is room again');
pass('a receipt when there is room again');
$small->quit;


# failed over to a standby that was promoted without the last commits

$here->quit;
forget();

my $standby = $pg->standby;
my $pair = join ',', $pg->dir, $standby->dir;
my $info = $db->conninfo(user => 'apikeys_nginx') =~ s/host=\S+/host=$pair/r;
my $g = ApiKeys::Fixture->new(db => $db, conninfo => $info, workers => 1,
    server => $server, master_key => $f->{master_key},
    http => 'apikeys_sync poll=1s;');

$here = $g->nginx;
$f = $g;
$there = node(conninfo => $info);
is(receipt(patch('wait=5')), '200 wait=5 -', 'a receipt of the primary');

@stopped = $there->workers;
$there->signal('STOP', @stopped);
$prefer = waiting('wait=10', 'PATCH',
    "$org->{path}/apiKeys/$org->{key}{id}", { desc => 'lost' });
$standby->promote;
delete($db->{dbh})->disconnect;
$pg->crash;
like(receipt($prefer->read), qr/^202 - /, 'no receipt of a promoted standby');

$there->signal('CONT', @stopped);
$here->wait_for(sub { receipt(patch('wait=1')) eq '202 - unknown' },
    30 * $slow, 'a receipt of a database that lacks the last heartbeats');
$standby->named($db->name)->psql('SELECT apikeys.end_unknown()');
is(receipt(patch('wait=2')), '200 wait=2 -',
    'a receipt is given after end_unknown()');

$_->stop for $here, $there;

done_testing;
