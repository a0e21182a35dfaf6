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
        'the old zone signs off only if the new one is known');
    is(instances(), $old,
        'the row of the old zone stays while the new zone is unknown');
    $lock->rollback;
    ok(eval { $nginx->wait_for(sub { my $now = instances();
        $now ne '' && $now !~ /$old/ }, 5, '') },
        'the row of the old zone goes when the new zone is known');
    $other = instances();
}


# the same, with a successor that the database does not know: what the old zone
# applies proves nothing about the successor, which decides requests by now

sub applied {
    my ($xid) = @_;

    return $db->dbh->selectrow_array('SELECT pg_visible_in_snapshot(
            ?::xid8, snapshot) FROM apikeys.instances WHERE uuid = ?',
        undef, $xid, $other);
}

sub waits_for {
    my ($xid) = @_;

    return join ' ', @{ $db->dbh->selectcol_arrayref(
        'SELECT uuid FROM apikeys.waiting_for(ARRAY[?])', undef, $xid) };
}

sub change {
    my $xid = $db->dbh->selectrow_array('SELECT pg_current_xact_id()');
    $db->psql("INSERT INTO apikeys.orgs (name) VALUES ('$xid')");
    return $xid;
}

my $held_too = hold();
my $xid = change();
ok(eval { $nginx->wait_for(sub { waits_for($xid) eq '' }, 15, '') },
    'a receipt waits for nothing once the node has applied the change');
$nginx->configure(http => $f->http_conf(%opt, zone => '12m')
    =~ s/dbname=[^\s"]+/dbname=none/r);
$nginx->reload;
$xid = change();
ok(eval { $nginx->wait_for(sub { applied($xid) }, 15, '') },
    'the old zone applies a change');
is(waits_for($xid), $other, 'a receipt waits while the successor is unknown');
$nginx->configure(http => $f->http_conf(%opt, zone => '12m'));
$nginx->reload;
ok(eval { $nginx->wait_for(sub { waits_for($xid) eq '' }, 15, '') },
    'a receipt does not wait when the successor has applied the change');
my ($successor) = grep { $_ ne $other } split ' ', instances();
$db->psql("DELETE FROM apikeys.instances WHERE uuid = '$successor'");
$xid = change();
ok(eval { $nginx->wait_for(sub { applied($xid) && waits_for($xid) eq '' },
    15, '') }, 'a successor that was known stays known');
$held_too->close;
instances_become($successor,
    'the row of the old zone goes when its last worker ends');
$other = $successor;


# the same, without a request that holds the old workers

$nginx->configure(http => $f->http_conf(%opt, zone => '13m')
    =~ s/dbname=[^\s"]+/dbname=none/r);
$nginx->reload;
$nginx->wait_for(sub { !$nginx->workers(exiting => 1) }, 10, 'old workers');
is(instances(), $other,
    'the row of the old zone stays while its successor is unknown');
$nginx->configure(http => $f->http_conf(%opt));
$nginx->quit;
$db->psql('DELETE FROM apikeys.instances');


# killed, frozen, gone

$nginx->start;
$f->wait_loaded($nginx);
$nginx->kill;
isnt(instances(), '', 'the row of a killed nginx stays');
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
isnt(instances(), '', 'the row stays after a quit with snapshots');


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
ok($nginx->error_log =~ /\[warn\].*apikeys: node [-\w]{36} not removed from a/
    && $nginx->error_log =~ /: the database did not answer, "Prefer: wait" wa/
    && $nginx->error_log =~ /until the lease ends in (?:59|60)\d s$/m,
    'the log says so, and until when');

starts();
$db->psql(q{ALTER ROLE apikeys_nginx NOLOGIN;
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE usename = 'apikeys_nginx'});
$nginx->wait_log(qr/no database host is available/, 20);
stops('without a connection', 2);
$db->psql('ALTER ROLE apikeys_nginx LOGIN');
ok($nginx->error_log =~ /apikeys.instances: no connection to the database, /,
    'the log says that the row stays for want of a connection');
isnt(instances(), '', 'the row stays when nginx stops without a connection');

starts(http => 'apikeys_snapshot %%DIR%%/state/replica;');
stops('with snapshots', 2);
ok($nginx->error_log =~ /apikeys.instances: the snapshot may be loaded again/,
    'the log says that the row stays because of the snapshot');
isnt(instances(), '', 'the row of a node with a snapshot stays');

starts();
my ($writer) = map { /:(\d+)$/ } @{ $db->dbh->selectcol_arrayref(
    'SELECT name FROM apikeys.instances') };
$nginx->log_mark;
$nginx->signal('TERM', $writer);
ok($nginx->wait_log(qr/apikeys.instances: another worker still runs/,
    10), 'one of several workers is stopped: the log says so');
isnt(instances(), '', 'the row stays when one of several workers is stopped');
$nginx->wait_for(sub { $db->psql('SELECT name FROM apikeys.instances')
    !~ /:$writer$/ }, 20, 'no other worker follows');
stops('after that', 2);
is(instances(), '', 'the instance signs off');

done_testing;
