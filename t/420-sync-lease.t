# One process of a zone follows the database, and another one takes over
# when it is killed, stopped or replaced.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use MIME::Base64 qw( encode_base64 );
use Test::More;
use Time::HiRes qw( time );

my %opt = (http => 'apikeys_sync poll=500ms;', server => <<'END');
        location /key {
            apikeys_auth basic;
            apikeys_require org=$arg_org;
            empty_gif;
        }
        location /status { apikeys_status json; }
END
my $f = ApiKeys::Fixture->new(%opt, workers => 3, zone => '1m',
    allow => qr/worker process \d+ exited on signal 9/);
my $db = $f->db;
my $nginx = $f->nginx;
my $org = $f->org;

# the name of an instance ends with the pid of who follows
sub syncer {
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

sub other_syncer {
    my ($not, $timeout) = @_;

    return eval {
        $nginx->wait_for(sub { my $pid = syncer(); $pid != $not && $pid },
            $timeout, '');
    };
}

my $first = syncer();
ok(scalar(grep { $_ == $first } $nginx->workers), 'a worker follows');
follows('a change is followed', 5);


# killed

$nginx->signal('KILL', $first);
my $second = other_syncer($first, 10);
ok($second, 'another worker takes over from one that was killed');
follows('a change after a kill', 5);


# stopped, and let go on

$nginx->log_mark;
my $key = $f->key($org, 'ORG_READ_ONLY');
$nginx->signal('STOP', $second);
my $stopped = time;
$db->psql("DELETE FROM apikeys.keys WHERE id = '$key->{id}'");
ok(eval { $nginx->wait_for(sub { code($key) == 401 }, 30, '') },
    'a change beside a stopped process');
my $took = time - $stopped;
cmp_ok($took, '<', $ENV{APIKEYS_TEST_ASAN} ? 3 : 1, 'within a second');
diag(sprintf 'a stopped process delays a change by %.2f s', $took);
my $third = other_syncer($second, 20);
ok($third, 'another worker takes over from one that was stopped');

$nginx->signal('CONT', $second);
ok(eval { $nginx->wait_log(
    qr/ $second#\d+: replica is synchronized by another process/, 10) },
    'who was stopped finds that it has been replaced');
is(syncer(), $third, 'and does not take it back');
follows('a change after that', 5);


# stopped with the answer to a change in its hands, and the key was deleted
# before it goes on: what is older than a deletion does not undo it

{
    my $follows = syncer();
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
    is(code($key), 401, 'and does not bring back the key that was deleted');
}


# exiting, with a request that keeps the old worker alive

my $client = $f->client;
$client->send("GET /open HTTP/1.1\r\nHost: localhost\r\n");
$nginx->reload;
my $fourth = other_syncer($third, 10);
ok($fourth, 'a new worker takes over from one that is exiting');
ok(scalar(grep { $_ == $fourth } $nginx->workers), 'a new one');
follows('a change after a reload', 5);
$client->close;

is($db->psql('SELECT count(*) FROM apikeys.instances'), 1,
    'it has been one instance all the time');
unlike($nginx->error_log =~ s/.*?replica loaded from the database//sr,
    qr/replica loaded from the database/,
    'which was loaded once: successors go on from the cursor');


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
    'and what they still have to decide is decided by it');
$nginx->wait_for(sub { !$nginx->workers(exiting => 1) }, 20, 'old workers');


# stopped in the moment in which it writes the zone: nobody else can, and who
# was deleted is let in for apikeys_stale, which no receipt denies

SKIP: {
    my ($deleted, $kept) = map { $f->key($org, 'ORG_READ_ONLY') } 1 .. 2;
    my $client = $f->client(token => $f->token, timeout => 30,
        headers => { Prefer => 'wait=1' });
    $nginx->configure(http => $f->http_conf(%opt, zone => '10m',
        http => 'apikeys_sync poll=200ms; apikeys_stale 4s;'));
    $nginx->reload;
    $nginx->wait_for(sub { !$nginx->workers(exiting => 1)
        && grep { $_ == syncer() } $nginx->workers }, 20, 'old workers');

    my $pid = syncer();
    my $it = $nginx->kill_at($pid, 'ngx_apikeys_store_delete_locked', 1,
        10_000, 19);
    skip $nginx->untraced, 5 if $nginx->untraced;
    $db->psql("DELETE FROM apikeys.keys WHERE id = '$deleted->{id}'");
    my $done = $nginx->killed($it);
    skip $nginx->untraced, 5 if $nginx->untraced;
    ok($done, 'stopped while it deletes a key from the zone');
    is($client->request('PATCH', "$org->{path}/apiKeys/$kept->{id}",
        { desc => 'x' })->code, 202, 'no receipt for any change');
    $nginx->wait_for(sub { code($kept) == 503 }, 20, 'it is not stale');
    is(code($deleted), 503, 'after apikeys_stale nobody is let in');
    $nginx->signal('CONT', $pid);
    ok(eval { $nginx->wait_for(sub { code($kept) == 200 }, 20, '') },
        'when it goes on all is well');
    is(code($deleted), 401, 'and who was deleted is');
}

$nginx->quit;

done_testing;
