# Metrics are the node's: every worker answers with the same counters, which
# no kill and no reload takes back, and gauges count living workers only.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Access ();
use MIME::Base64 qw( encode_base64 );
use Test::More;

my $t = ApiKeys::Access->new(zone => '8m', workers => 2,
    http => 'apikeys_sync poll=100ms; apikeys_wait 0;',
    allow => qr/exited on signal 9/);
my $nginx = $t->nginx;
$t->serve(<<'END');
    location /in { apikeys_auth basic; empty_gif; }
    location = /status { apikeys_status; }
END

my $org = $t->org;
my $key = $t->allow($org, $t->key($org, 'ORG_MEMBER'), '127.0.0.0/8');
$t->settle;

my %gauge = map { $_ => 1 } qw( sync.leader sync.listening pool.open pool.busy
    pool.waiting usage.pending );

# 'section.name' => value of what workers count, checked for a fall
my %last;

sub metrics {
    my ($pid) = @_;

    my $json;
    $nginx->wait_for(sub {
        $json = $t->status;
        return !$pid || $json->{pid} == $pid;
    }, 20, 'that worker does not answer');

    my %now;
    for my $section (qw( sync pool usage decisions )) {
        $now{"$section.$_"} = $json->{$section}{$_}
            for keys %{ $json->{$section} };
    }
    for (grep { !$gauge{$_} && $now{$_} < ($last{$_} // 0) } sort keys %now) {
        fail("$_ fell from $last{$_} to $now{$_}");
    }
    %last = %now;
    return \%now;
}

sub wait_for_metrics {
    my ($name, %expect) = @_;

    my $now;
    ok(eval { $nginx->wait_for(sub {
        $now = metrics();
        return !grep { $now->{$_} != $expect{$_} } keys %expect;
    }, 20, 'never') }, $name) or diag(explain($now));
}

# a PATCH that waits in the database, for a lock on its key; the client and
# the worker that serves it
sub held {
    my $client = $t->fixture->client(timeout => 60);

    my $pid = $client->plain('GET', '/status')->json->{pid};
    $client->send($client->format('PATCH',
        "$org->{path}/apiKeys/$key->{id}", { desc => 'held' },
        headers => { Authorization => 'Bearer ' . $t->fixture->token }));
    return ($client, $pid);
}

my $lock = $t->db->connect;

sub lock_key {
    $lock->begin_work;
    $lock->do('SELECT FROM apikeys.keys WHERE id = ? FOR UPDATE', undef,
        $key->{id});
}


# each worker tells of both

my @workers = $nginx->workers;
is(@workers, 2, 'two workers');

lock_key();
my ($client, $pid) = held();
my ($other) = grep { $_ != $pid } @workers;
wait_for_metrics('a statement that runs', 'pool.busy' => 1);
for ([ $pid, 'its worker' ], [ $other, 'the other worker' ]) {
    my ($process, $who) = @$_;
    is(metrics($process)->{'pool.busy'}, 1, "$who counts its connection");
}
$lock->rollback;
is($client->read->code, 200,
    'the statement that held a connection is answered');
wait_for_metrics('then no connection is busy', 'pool.busy' => 0);
$client->close;

my $before = metrics();
my $auth = { Authorization => 'Basic ' . encode_base64($key->{secret}, '') };
for (1 .. 20) {
    my $c = $t->fixture->client;
    is($c->plain('GET', '/in', undef, headers => $auth)->code, 200,
        'a key is admitted')
        if $_ == 1;
    $c->plain('GET', '/in', undef, headers => $auth) if $_ > 1;
    $c->close;
}
my $after = metrics();
is($after->{'decisions.allow'} - $before->{'decisions.allow'}, 20,
    'decisions of both workers are counted');
cmp_ok($after->{'usage.pending'}, '>=', 1,
    'usage.pending counts uses that are not stored yet');
wait_for_metrics('usage.pending is 0 once uses are stored',
    'usage.pending' => 0);
cmp_ok(metrics()->{'usage.flushes_total'}, '>',
    $before->{'usage.flushes_total'},
        'usage.flushes_total counts the statements that store uses');
is(metrics($_)->{'sync.leader'} . metrics($_)->{'sync.listening'}, '11',
    "one worker follows the database, says $_") for @workers;


# a worker is killed with a statement under way; the master, which would
# replace it, is stopped meanwhile

lock_key();
($client, $pid) = held();
($other) = grep { $_ != $pid } $nginx->workers;
wait_for_metrics('a statement runs in the worker to be killed',
    'pool.busy' => 1);
my $open = metrics()->{'pool.open'};
$nginx->signal('STOP');
$nginx->signal('KILL', $pid);
wait_for_metrics('the connection of a killed worker is not busy',
    'pool.busy' => 0);
cmp_ok(metrics()->{'pool.open'}, '<', $open,
    'the connection of a killed worker is not open');
is_deeply([ $nginx->workers ], [ $other ],
    'no other worker has started meanwhile');
$nginx->signal('CONT');
$lock->rollback;
$client->close;
$nginx->wait_for(sub { $nginx->workers == 2 }, 20, 'no new worker');
my ($new) = grep { $_ != $other } $nginx->workers;
ok(metrics($new), 'the new worker goes on with its counters');
wait_for_metrics('one leader follows again', 'sync.leader' => 1,
    'sync.listening' => 1, 'pool.busy' => 0);

# the leader
$pid = $t->status->{leader_pid};
$nginx->signal('KILL', $pid);
$nginx->wait_for(sub { ($t->status->{leader_pid} // $pid) != $pid }, 20,
    'no new leader');
wait_for_metrics('a killed leader is replaced', 'sync.leader' => 1,
    'sync.listening' => 1);


# a reload, over which a worker of the old configuration has work to do

$nginx->wait_for(sub { $nginx->workers == 2 }, 20, 'no new worker');
lock_key();
($client, $pid) = held();
wait_for_metrics('a statement runs in the worker that will leave',
    'pool.busy' => 1);
$before = metrics();
$nginx->reload;
my @new = $nginx->workers;
$nginx->wait_for(sub { $nginx->workers(exiting => 1) == 1 }, 20,
    'an old worker without work does not leave');
is_deeply([ $nginx->workers(exiting => 1) ], [ $pid ],
    'an old worker with a statement is still exiting');
is(metrics($_)->{'pool.busy'}, 1, "its connection counts, says $_") for @new;
cmp_ok(metrics()->{"decisions.$_"}, '>=', $before->{"decisions.$_"},
    "decisions of before the reload: $_") for qw( allow no_credential );
$lock->rollback;
is($client->read->code, 200, 'the statement of the old worker is answered');
$client->close;
$nginx->wait_for(sub { !$nginx->workers(exiting => 1) }, 20,
    'the old worker does not leave');
wait_for_metrics('an old worker takes its gauges with it', 'pool.busy' => 0,
    'sync.leader' => 1);
cmp_ok(metrics()->{'pool.queries_total'}, '>=',
    $before->{'pool.queries_total'}, 'an old worker leaves its counters');

done_testing;
