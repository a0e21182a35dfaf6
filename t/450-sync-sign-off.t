# An instance that ends signs off when nobody decides by its local copy any
# more: not before, not where a copy of it lives on that the database does
# not know, and not by holding up a quit.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use ApiKeys::Pg ();
use MIME::Base64 qw( encode_base64 );
use Test::More;
use Time::HiRes qw( time );

my $pg = ApiKeys::Pg->new(own => 1);
my $db = $pg->database(schema => 1);

my %opt = (db => $db, workers => 3, http => 'apikeys_sync poll=1s;',
    server => 'location /key { apikeys_auth basic; empty_gif; }
        location /slow { proxy_pass http://unix:%%DIR%%/none.sock; }');

my $f = ApiKeys::Fixture->new(%opt);
my $nginx = $f->nginx;

sub instances {
    return join ' ', sort @{ $db->dbh->selectcol_arrayref(
        'SELECT uuid FROM apikeys.instances') };
}

sub instances_become {
    my ($expected, $name) = @_;

    my $last;
    eval { $nginx->wait_for(sub { ($last = instances()) eq $expected }, 10,
        '') };
    is($last, $expected, $name);
}

sub quits {
    my ($name, $limit) = @_;

    my $begin = time;
    $nginx->quit(30);
    my $took = time - $begin;
    cmp_ok($took, '<', $limit * ($ENV{APIKEYS_TEST_ASAN} ? 5 : 1), $name);
}

# a request whose head is not complete: its worker waits for it
sub hold {
    my $client = $f->client;
    $client->send("GET /open HTTP/1.1\r\nHost: localhost\r\n");
    return $client;
}


# a quit

# on a busy machine a login may take longer than it would wait

my $signed = 0;
for my $round (1 .. 3) {
    isnt(instances(), '', 'an instance');
    quits('a quit is not held up', 2.5);
    $signed += instances() eq '';
    $db->psql('DELETE FROM apikeys.instances');
    $nginx->start;
    $f->wait_loaded($nginx);
}
cmp_ok($signed, '>=', 2, 'the instance signs off');


# a reload: the same instance, which workers stay in

my $same = instances();
$nginx->reload;
$nginx->wait_for(sub { !$nginx->workers(exiting => 1) }, 10, 'old workers');
is(instances(), $same, 'a reload signs nothing off');


# a zone of another size: once the old workers have gone, and not before

my $held = hold();
$nginx->configure(http => $f->http_conf(%opt, zone => '10m'));
$nginx->reload;
$nginx->wait_for(sub { instances() =~ / / }, 10, 'no second instance');
my ($other) = grep { $_ ne $same } split ' ', instances();
my ($heartbeat) = map { $_->[0] } $db->dbh->selectrow_arrayref(
    'SELECT heartbeat FROM apikeys.instances WHERE uuid = ?', undef, $same);
$nginx->wait_for(sub {
    $db->dbh->selectrow_array('SELECT heartbeat > ? FROM apikeys.instances
        WHERE uuid = ?', undef, $heartbeat, $same);
}, 15, 'not followed');
is(instances(), join(' ', sort $same, $other),
    'an old zone is followed while a worker has requests to decide by it');
$held->close;
instances_become($other, 'the old one signs off when they have gone');


# the same, idle: the database must know the new one first

{
    my $old = instances();
    my $lock = $db->connect;
    $lock->begin_work;
    $lock->do('LOCK TABLE apikeys.instances IN SHARE MODE');
    $nginx->configure(http => $f->http_conf(%opt, zone => '11m'));
    $nginx->signal('HUP');
    ok(eval { $nginx->wait_for(sub { $db->dbh->selectrow_array(
        "SELECT count(*) FROM pg_stat_activity
          WHERE query LIKE 'SELECT apikeys.sign_off%'") }, 10, '') },
        'the old one asks while the new one is not known');
    is(instances(), $old, 'it does not sign off');
    $lock->rollback;
    ok(eval { $nginx->wait_for(sub { my $now = instances();
        $now ne '' && $now !~ /$old/ }, 5, '') },
        'it does when the new one is known');
    $other = instances();
}


# the same, with a copy that the database does not know

$nginx->configure(http => $f->http_conf(%opt, zone => '12m')
    =~ s/dbname=[^\s"]+/dbname=none/r);
$nginx->reload;
$nginx->wait_for(sub { !$nginx->workers(exiting => 1) }, 10, 'old workers');
is(instances(), $other, 'it does not while its heir is unknown');
$nginx->configure(http => $f->http_conf(%opt));
$nginx->quit;
$db->psql('DELETE FROM apikeys.instances');


# killed, frozen, gone

$nginx->start;
$f->wait_loaded($nginx);
$nginx->kill;
isnt(instances(), '', 'what is killed signs nothing');
$db->psql('DELETE FROM apikeys.instances');

$nginx->start;
$f->wait_loaded($nginx);
$pg->signal_all('STOP');
quits('a frozen database does not hold it up for long', 3);
$pg->signal_all('CONT');
$db->psql('DELETE FROM apikeys.instances');


# snapshots may be loaded at any time

$nginx->configure(http => $f->http_conf(%opt,
    http => 'apikeys_snapshot %%DIR%%/state/replica;'));
$nginx->start;
$f->wait_loaded($nginx);
quits('a quit with snapshots', 2);
isnt(instances(), '', '... signs nothing off');


# a stop: workers leave the event loop at once

sub stops {
    my ($name, $limit) = @_;

    $nginx->log_mark;
    my $begin = time;
    $nginx->stop;
    cmp_ok(time - $begin, '<', $limit * ($ENV{APIKEYS_TEST_ASAN} ? 5 : 1),
        "$name: it is not held up");
}

sub starts {
    my (%with) = @_;

    $db->psql('DELETE FROM apikeys.instances');
    $nginx->configure(http => $f->http_conf(%opt, %with), workers => 4);
    $nginx->start;
    $f->wait_loaded($nginx);
    $nginx->wait_for(sub { instances() ne '' }, 20, 'no instance');
}

for my $round (1 .. 3) {
    starts();
    my $wait = hold();
    stops("a stop of 4 workers, $round", 2);
    is(instances(), '', 'the instance signs off');
    $wait->close;
}

starts();
my $mutation = $f->client(nginx => $nginx, token => $f->token,
    headers => { Prefer => 'wait=60' });
$db->psql("INSERT INTO apikeys.instances (uuid, name, feed, snapshot, horizon,
                                          heartbeat, lease_until)
    SELECT 'stuck', 'stuck:1', uuid, '3:3:', '3', now(), 'infinity'
      FROM apikeys.feed_uuid");
$mutation->send($mutation->format('POST', "$f->{base}/orgs",
    { name => 'waits', apiKey => { desc => 'd', roles => ['ORG_OWNER'] } },
    headers => { Authorization => 'Bearer ' . $f->token }));
$nginx->wait_for(sub { $db->psql(
    "SELECT count(*) FROM apikeys.orgs WHERE name = 'waits'") }, 20, '');
stops('with a request that waits for its receipt', 2);
is(instances(), 'stuck', 'the instance signs off');
$mutation->close;

starts();
$pg->signal_all('STOP');
stops('with a frozen database', 2);
$pg->signal_all('CONT');
ok($nginx->error_log =~ /\[warn\].*instance [-\w]{36} did not sign off: the da/
    && $nginx->error_log =~ /did not answer, receipts wait for it until its l/
    && $nginx->error_log =~ /its lease ends in (?:59|60)\d s$/m,
    'the log says so, and until when');

starts();
$db->psql(q{ALTER ROLE apikeys_nginx NOLOGIN;
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE usename = 'apikeys_nginx'});
$nginx->wait_log(qr/the database is unavailable/, 20);
stops('without a connection', 2);
$db->psql('ALTER ROLE apikeys_nginx LOGIN');
ok($nginx->error_log =~ /did not sign off: it has no connection to the datab/,
    'the log says so');
isnt(instances(), '', 'it did not sign off');

starts(http => 'apikeys_snapshot %%DIR%%/state/replica;');
stops('with snapshots', 2);
ok($nginx->error_log =~ /did not sign off: it writes snapshots, receipts wait/,
    'the log says so');
isnt(instances(), '', 'it did not sign off');

starts();
my ($writer) = map { /:(\d+)$/ } @{ $db->dbh->selectcol_arrayref(
    'SELECT name FROM apikeys.instances') };
$nginx->log_mark;
$nginx->signal('TERM', $writer);
ok($nginx->wait_log(qr/did not sign off: another process decides by its zone/,
    10), 'one of several workers is stopped: the log says so');
isnt(instances(), '', 'it did not sign off');
$nginx->wait_for(sub { $db->psql('SELECT name FROM apikeys.instances')
    !~ /:$writer$/ }, 20, 'no other worker follows');
stops('after that', 2);
is(instances(), '', 'the instance signs off');

done_testing;
