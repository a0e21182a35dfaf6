# One process of a zone follows the database, and another one takes over
# when it is killed, stopped or replaced.
#
# APIKEYS_TEST_STOPS: how often it is stopped while it writes the zone, 8 when
# not set.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use MIME::Base64 qw( encode_base64 );
use POSIX qw( SIGSTOP );
use Test::More;
use Time::HiRes qw( sleep time );

my %opt = (http => 'apikeys_sync poll=500ms;', server => <<'END');
        location /key {
            apikeys_auth basic;
            apikeys_require org=$arg_org;
            empty_gif;
        }
        location /status { apikeys_status json; }
END
my $f = ApiKeys::Fixture->new(%opt, workers => 3, zone => '1m',
    allow => qr/worker\ process\ \d+\ (?:exited\ on\ signal\ 9
        |was\ suspended\ while\ holding)|shared\ memory\ zone/x);
my $db = $f->db;
my $nginx = $f->nginx;
my $org = $f->org;

# the name of an instance ends with the pid of who follows
sub leader {
    my ($pid) = $db->dbh->selectrow_array(
        'SELECT name FROM apikeys.instances') =~ /:(\d+)$/;
    return $pid;
}

sub code {
    my ($key) = @_;

    my $client = $f->client(key => $key->{secret}, timeout => 5);
    my $res = $client->request('GET', $org->{path});
    $client->close;
    return $res ? $res->code : 0;
}

# a change that only the feed can bring
sub follows {
    my ($name, $limit) = @_;

    my $key = $f->key($org, 'ORG_READ_ONLY');
    my $begin = time;
    $db->psql("DELETE FROM apikeys.keys WHERE id = '$key->{id}'");
    my $ok = eval { $nginx->wait_for(sub { code($key) == 401 }, 30, '') };
    my $took = time - $begin;
    ok($ok && $took < $limit, $name) or diag("took $took s");
}

sub other_leader {
    my ($not, $timeout) = @_;

    return eval {
        $nginx->wait_for(sub { my $pid = leader(); $pid != $not && $pid },
            $timeout, '');
    };
}

my $first = leader();
ok(scalar(grep { $_ == $first } $nginx->workers), 'a worker follows');
follows('a change is followed', 5);


# killed

$nginx->signal('KILL', $first);
my $second = other_leader($first, 10);
ok($second, 'another worker takes over from one that was killed');
follows('a change after a kill', 5);


# stopped, and let go on

$nginx->log_mark;
my $key = $f->key($org, 'ORG_READ_ONLY');
$nginx->signal('STOP', $second);
my $stopped = time;
$db->psql("DELETE FROM apikeys.keys WHERE id = '$key->{id}'");
ok(eval { $nginx->wait_for(sub { code($key) == 401 }, 30, '') },
    'a change is followed while the leader is stopped');
my $took = time - $stopped;
cmp_ok($took, '<', $ENV{APIKEYS_TEST_ASAN} ? 3 : 1,
    'a change is followed within a second after the leader was stopped');
diag(sprintf 'a stopped process delays a change by %.2f s', $took);
my $third = other_leader($second, 20);
ok($third, 'another worker takes over from one that was stopped');

$nginx->signal('CONT', $second);
ok(eval { $nginx->wait_log(
    qr/ $second#\d+: apikeys: this worker was delayed, another worker/, 10) },
    'the stopped worker logs that another one has replaced it');
is(leader(), $third, 'the stopped worker does not take the lease back');
follows('a change is followed after the stopped worker has resumed', 5);


# stopped with the answer to a change in its hands, and the key was deleted
# before it goes on: what is older than a deletion does not undo it

{
    my $follows = leader();
    my ($client, $pid);
    $nginx->wait_for(sub {
        $client = $f->client(key => $org->{key}{secret}, timeout => 30);
        $pid = $client->plain('GET', '/status')->json->{pid};
        $pid != $follows;
    }, 20, 'no other worker');

    my $key = $f->key($org, 'ORG_READ_ONLY');
    my $path = "$org->{path}/apiKeys/$key->{id}";
    my $session = $db->connect;
    $session->begin_work;
    $session->do('SELECT FROM apikeys.keys WHERE id = ? FOR UPDATE', undef,
        $key->{id});
    $client->send($client->format('PATCH', $path, { desc => 'late' },
        headers => { Authorization => 'Bearer ' . $f->token }));
    $nginx->wait_for(sub { $db->dbh->selectrow_array(q{SELECT count(*)
        FROM pg_stat_activity WHERE datname = current_database()
         AND wait_event_type = 'Lock'}) }, 20, 'the change does not wait');
    $nginx->signal('STOP', $pid);
    $session->rollback;
    $session->disconnect;
    $nginx->wait_for(sub { $db->dbh->selectrow_array('SELECT descr
        FROM apikeys.keys WHERE id = ?', undef, $key->{id}) eq 'late' }, 20,
        'the change is not made');
    $db->psql("DELETE FROM apikeys.keys WHERE id = '$key->{id}'");
    $nginx->wait_for(sub { code($key) == 401 }, 20, 'not deleted');

    # rounds in which a deletion could be forgotten: a zone this small is looked
    # through in some
    for (1 .. 12) {
        my ($before) = $db->dbh->selectrow_array(
            'SELECT max(snapshot::text) FROM apikeys.instances');
        $db->psql("UPDATE apikeys.orgs SET name = name || '.'
                    WHERE id = '$org->{id}'");
        $nginx->wait_for(sub { $before ne $db->dbh->selectrow_array(
            'SELECT max(snapshot::text) FROM apikeys.instances') }, 20,
            'not followed');
    }

    $nginx->signal('CONT', $pid);
    is($client->read->code, 200, 'a change is answered by a process that was '
        . 'stopped meanwhile');
    is(code($key), 401, 'the late answer does not bring back the deleted key');
}


# exiting, with a request that keeps the old worker alive

my $client = $f->client;
$client->send("GET /open HTTP/1.1\r\nHost: localhost\r\n");
$nginx->reload;
my $fourth = other_leader($third, 10);
ok($fourth, 'a new worker takes over from one that is exiting');
ok(scalar(grep { $_ == $fourth } $nginx->workers),
    'the worker that takes over is not exiting');
follows('a change after a reload', 5);
$client->close;

is($db->psql('SELECT count(*) FROM apikeys.instances'), 1,
    'apikeys.instances has had one row all the time');
unlike($nginx->error_log =~ s/.*?loaded \d+ keys from database//sr,
    qr/loaded \d+ keys from database/,
    'the zone was loaded once: new leaders continue from the cursor');


# all of a zone are exiting, with requests to decide: one is killed, and the
# next of them follows

$nginx->wait_for(sub { !$nginx->workers(exiting => 1) }, 20, 'old workers');
my $late = $f->key($org, 'ORG_READ_ONLY');
my ($uuid) = $db->dbh->selectrow_array('SELECT uuid FROM apikeys.instances');
my %held;
$nginx->wait_for(sub {
    my $client = $f->client(timeout => 30);
    my $pid = $client->plain('GET', '/status')->json->{pid};
    $held{$pid} ||= $client;
    keys %held == 3;
}, 20, 'a worker does not answer');
$_->send("GET /key?org=$org->{id} HTTP/1.1\r\nHost: a\r\n"
    . 'Authorization: Basic ' . encode_base64($late->{secret}, '') . "\r\n")
    for values %held;

sub follower {
    my ($pid) = $db->dbh->selectrow_array('SELECT name FROM apikeys.instances
        WHERE uuid = ?', undef, $uuid) =~ /:(\d+)$/;
    return $pid;
}

$nginx->configure(http => $f->http_conf(%opt, zone => '10m'));
$nginx->reload;
my $exiting = follower();
ok($held{$exiting}, 'a worker that exits follows for the old zone');
$nginx->signal('KILL', $exiting);
delete $held{$exiting};
ok(eval { $nginx->wait_for(sub { $held{ follower() } }, 10, '') },
    'another one that exits takes over from one that was killed');

my $begin = time;
$db->psql("DELETE FROM apikeys.keys WHERE id = '$late->{id}'");
$nginx->wait_for(sub { $db->dbh->selectrow_array(q{SELECT
    pg_visible_in_snapshot((SELECT max(xid) FROM apikeys.changes), snapshot)
    FROM apikeys.instances WHERE uuid = ?}, undef, $uuid) }, 30,
    'the old zone does not follow');
$took = time - $begin;
cmp_ok($took, '<', $ENV{APIKEYS_TEST_ASAN} ? 3 : 1,
    'a change is followed there, by the poll');
$_->send("\r\n") for values %held;
is(join(' ', map { $_->read->code } values %held), '401 401',
    'old workers decide by the change that the poll brought');
$nginx->wait_for(sub { !$nginx->workers(exiting => 1) }, 20, 'old workers');


# stopped while it writes the zone, which nobody else may do then: another one
# kills it, and follows within the second

sub reconfigure {
    $nginx->configure(http => $f->http_conf(%opt, zone => '10m',
        http => $_[0]));
    $nginx->reload;
    $nginx->wait_for(sub { !$nginx->workers(exiting => 1)
        && grep { $_ == leader() } $nginx->workers }, 20, 'old workers');
}

# of a key that is deleted, how it is answered
sub basic {
    my ($key) = @_;

    my $client = $f->client(timeout => 0.2);
    my $res = eval { $client->plain('GET', "/key?org=$org->{id}", undef,
        headers => { Authorization => 'Basic '
            . encode_base64($key->{secret}, '') }) };
    $client->close;
    return $res ? $res->code : 0;
}

my $kept = $f->key($org, 'ORG_READ_ONLY');
$f->client(token => $f->token)->request('POST',
    "$org->{path}/apiKeys/$kept->{id}/accessList",
    [ { cidrBlock => '127.0.0.0/8' }, map { { cidrBlock => "10.$_.0.0/16" } }
        1 .. 20 ])->code == 200 or die "no access list\n";

# of a process, and its tracer
sub state {
    my ($pid) = @_;

    open my $in, '<', "/proc/$pid/status" or return '';
    my $text = do { local $/; <$in> } // '';
    return join ' ', $text =~ /^State:\s+(\w)/m, $text =~ /^TracerPid:\s+(\d+)/m;
}

# how long a deletion takes that comes when the leader is stopped, within so many
# instructions of the function; and the leader
sub stop_at {
    my ($function, $instructions) = @_;

    my $key = $f->key($org, 'ORG_READ_ONLY');
    $nginx->wait_for(sub { basic($key) == 200 }, 20, 'no new key');
    my $pid = leader();
    my $it = $nginx->kill_at($pid, $function, $instructions, 20_000, SIGSTOP);
    $nginx->wait_for(sub { state($it) =~ /^Z/ || state($pid) !~ /^[RSD] 0/ },
        20, 'it is not traced');
    my $delete = $db->dbh->prepare('DELETE FROM apikeys.keys WHERE id = ?');
    my $at_it = $function =~ /delete/;
    $at_it ? $delete->execute($key->{id})
        : $db->dbh->do('UPDATE apikeys.keys SET descr = ? WHERE id = ?', undef,
            'stopped at ' . time, $kept->{id});
    my $begin = time;
    return ($pid) if !$nginx->killed($it);
    if (!$at_it) { $begin = time; $delete->execute($key->{id}) }
    $nginx->wait_for(sub { basic($key) == 401 }, 30,
        'a deleted key is let in');
    return ($pid, time - $begin);
}

sub gone { my ($pid) = @_; return !grep { $_ == $pid } $nginx->workers }

my @places = ([ ngx_apikeys_store_delete_locked => 1 ],
    [ ngx_apikeys_store_publish_key_locked => 1500 ],
    [ ngx_apikeys_store_write_insert => 200 ],
    [ ngx_apikeys_arena_alloc => 80 ],
    [ ngx_apikeys_arena_tree_create => 600 ],
    [ ngx_apikeys_store_reclaim_locked => 1500 ],
    [ ngx_apikeys_arena_free => 30 ]);

SKIP: {
    skip $nginx->untraced, 7 if $nginx->untraced;
    reconfigure('');
    $nginx->log_mark;
    my ($pid, $took) = stop_at(@{ $places[0] });
    skip $nginx->untraced, 7 if $nginx->untraced;
    ok($took, 'the leader is stopped while it deletes a key from the zone');
    ok($nginx->wait_log(qr/worker process $pid was suspended while holding/,
        10), 'the log says that the stopped worker is killed');
    ok(gone($pid) || $nginx->wait_for(sub { gone($pid) }, 20, ''),
        'the stopped worker ends');
    my $client = $f->client(token => $f->token, timeout => 30,
        headers => { Prefer => 'wait=10' });
    is($client->request('PATCH', "$org->{path}/apiKeys/$kept->{id}",
        { desc => 'x' })->code, 200, 'a change has its receipt');

    my @took;
    my $alive = 0;
    my $stops = $ENV{APIKEYS_TEST_STOPS} || 8;
    for my $n (1 .. $stops) {
        reconfigure('apikeys_sync poll=200ms notify=off;')
            if $n == int($stops / 2) + 1;
        ($pid, $took) = stop_at(@{ $places[ $n % @places ] });
        push @took, $took // ();

        # it may have come out of the zone by then, and goes on
        if (!gone($pid)) { $nginx->signal('CONT', $pid); $alive++ }
        $nginx->wait_for(sub { my $leader = leader(); $nginx->workers == 3
            && grep { $_ == $leader } $nginx->workers }, 20, 'no new worker');
    }
    @took = sort { $a <=> $b } @took;
    cmp_ok(@took - $alive, '>=', $stops / 2,
        'at least half of the stops hit the locked zone');
    cmp_ok($took[ @took / 2 ], '<', $ENV{APIKEYS_TEST_ASAN} ? 3 : 1,
        'wherever it is stopped there, a change is followed within a second');
    cmp_ok($took[-1], '<', 5,
        'a change is followed within five seconds in every case');
    diag(sprintf '%d stops inside, %d beside: a change is followed after '
        . '%.2f s (median), %.2f s (worst)', @took - $alive, $alive,
        $took[ @took / 2 ], $took[-1]);
}


# a debugger's stop is nobody's to end: who was deleted is let in for
# apikeys_stale, which no receipt denies

my $tracer;
SKIP: {
    skip $nginx->untraced, 6 if $nginx->untraced;
    my $deleted = $f->key($org, 'ORG_READ_ONLY');
    my $client = $f->client(token => $f->token, timeout => 30,
        headers => { Prefer => 'wait=1' });
    reconfigure('apikeys_sync poll=200ms; apikeys_stale 4s;');

    my $pid = leader();
    $tracer = $nginx->kill_at($pid, 'ngx_apikeys_store_delete_locked', 1,
        10_000, 0);
    $db->psql("DELETE FROM apikeys.keys WHERE id = '$deleted->{id}'");
    my $done = $nginx->killed($tracer);
    skip $nginx->untraced, 6 if $nginx->untraced;
    ok($done,
        'a debugger holds the leader while it deletes a key from the zone');
    is($client->request('PATCH', "$org->{path}/apiKeys/$kept->{id}",
        { desc => 'y' })->code, 202, 'no receipt for any change');
    $nginx->wait_for(sub { code($kept) == 503 }, 20, 'it is not stale');
    is(code($deleted), 503, 'after apikeys_stale the deleted key gets 503');
    ok(!gone($pid), 'a worker held by a debugger is not killed');
    kill 'CONT', $tracer;
    ok(eval { $nginx->wait_for(sub { code($kept) == 200 }, 20, '') },
        'the kept key gets 200 when the debugger lets go');
    is(code($deleted), 401, 'the deleted key gets 401');
}

$nginx->quit;

done_testing;

END { local $?; kill 'KILL', $tracer if $tracer }
