# One process of a zone follows the database, and another one takes over
# when it is killed, stopped or replaced.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use Test::More;
use Time::HiRes qw( time );

my $f = ApiKeys::Fixture->new(http => 'apikeys_sync poll=500ms;',
    workers => 3, allow => qr/worker process \d+ exited on signal 9/);
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

$nginx->quit;

done_testing;
