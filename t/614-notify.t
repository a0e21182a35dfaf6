# The NOTIFY that wakes the other nodes is sent after the commit of a change
# through the API, in a transaction of its own, whatever becomes of the
# request.  Where it is not sent, the poll finds the change.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use ApiKeys::Pg ();
use MIME::Base64 qw( encode_base64 );
use Test::More;
use Time::HiRes qw( sleep time );

my $slow = $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND} ? 10 : 1;

my $pg = ApiKeys::Pg->new(own => 1);
my $db = $pg->database(schema => 1);
my $f = ApiKeys::Fixture->new(db => $db, workers => 1,
    database => 'timeout=' . 2 * $slow . 's',
    server => 'location /key { apikeys_auth basic; empty_gif; }');
my $nginx = $f->nginx;
my $org = $f->org;
my $path = "$org->{path}/apiKeys/$org->{key}{id}";

my $admin = $db->connect;
my $locker = $db->connect;
my $listener = $db->connect;
$listener->do('LISTEN apikeys');

sub notifications {
    my $n = 0;

    $n++ while $listener->pg_notifies;
    return $n;
}

sub notified {
    return eval { $nginx->wait_for(\&notifications, 10 * $slow, '') } ? 1 : 0;
}

# a change, sent and not yet answered
sub begin {
    my ($descr, $prefer) = @_;

    my $client = ApiKeys::Client->new(port => $nginx->port,
        timeout => 20 * $slow);
    $client->send($client->format('PATCH', $path, { desc => $descr },
        headers => { Authorization => 'Bearer ' . $f->token,
            $prefer ? (Prefer => $prefer) : () }));
    return $client;
}

sub answer {
    my ($res) = @_;

    return join ' ', $res->code, $res->header('preference-applied') // '-',
        $res->header('x-apikeys-pending') // '-';
}

sub patch { return answer(begin(@_)->read) }

# changes wait until the commit
sub lock_org {
    $locker->begin_work;
    $locker->do('SELECT FROM apikeys.orgs WHERE id = ? FOR UPDATE', undef,
        $org->{id});
}

sub descr {
    return $admin->selectrow_array('SELECT descr FROM apikeys.keys
        WHERE id = ?', undef, $org->{key}{id});
}

# a backend of nginx that waits for such a lock, in a statement with that
sub blocked {
    my ($event, $statement) = @_;

    return $nginx->wait_for(sub { $admin->selectrow_array(
        q{SELECT pid FROM pg_stat_activity WHERE usename = 'apikeys_nginx'
             AND wait_event = ? AND query LIKE ?}, undef, $event,
        "%$statement%") }, 10 * $slow, "no $statement waits for $event");
}

my $announce = $db->psql(
    q{SELECT pg_get_functiondef('apikeys.announce()'::regprocedure)});

# what a NOTIFY does first
sub first {
    my ($sql) = @_;

    $db->psql($announce =~ s/BEGIN\n/BEGIN\n    PERFORM $sql;\n/r);
}

notifications();


# who sends it

is(patch('api'), '200 - -', 'a change through the API');
is(notified(), 1, 'a change through the API sends a NOTIFY');
is(notifications(), 0, 'a change through the API sends one NOTIFY');

$db->psql("UPDATE apikeys.keys SET descr = 'psql'
            WHERE id = '$org->{key}{id}'");
is(notified(), 1, 'a change with psql sends a NOTIFY');

$db->psql("SELECT apikeys.update_key(NULL, NULL, 'unix:', NULL, NULL,
    '$org->{id}', '$org->{key}{id}', jsonb '{\"desc\": \"function\"}')");
is(notified(), 1, 'a function that psql calls sends a NOTIFY');


# an error, a time-out

for my $case (
    [ 'an error', sub { $db->psql('REVOKE EXECUTE ON FUNCTION
          apikeys.announce() FROM apikeys_nginx') },
      sub { $db->psql('GRANT EXECUTE ON FUNCTION
          apikeys.announce() TO apikeys_nginx') },
      qr/statement "apikeys_notify.*" failed: 42501 / ],
    [ 'a time-out', sub { first('pg_sleep(300)') },
      sub { $db->psql($announce) },
      qr/statement "apikeys_notify.*" failed: (?:timed out|57014 )/ ])
{
    my ($what, $break, $mend, $log) = @$case;

    $nginx->log_mark;
    $break->();
    is(patch("$what 1"), '200 - -', "$what of the NOTIFY: 200");
    is(patch("$what 2", 'wait=1'), '202 - -',
        "$what of the NOTIFY: no receipt");
    is(descr(), "$what 2", "$what of the NOTIFY: the change is made");
    ok(eval { $nginx->wait_log($log, 20 * $slow) },
        "$what of the NOTIFY is logged");
    is(notifications(), 0, "$what of the NOTIFY: none is sent");
    $mend->();
    is(notified(), 1, "the NOTIFY is repeated after $what");
    is(patch("$what 3", 'wait=9'), '200 wait=9 -', "a receipt after $what");
    notified();
}


# the client leaves, before the commit and after it

sub leave {
    my ($client) = @_;

    $nginx->log_mark;
    $client->close;
    $nginx->wait_log(qr/client prematurely closed/, 10 * $slow);
}

my $made;

for my $try (1 .. 20) {
    lock_org();
    my $client = begin("left $try");
    my $pid = blocked('transactionid', 'update_key');
    leave($client);
    $locker->commit;

    # a slow machine may have canceled the statement
    $nginx->wait_for(sub { !$admin->selectrow_array(
        q{SELECT count(*) FROM pg_stat_activity WHERE pid = ?
             AND state <> 'idle' AND query LIKE '%update_key%'}, undef, $pid)
        }, 10 * $slow, 'the statement does not end');
    last if $made = descr() eq "left $try";
}
ok($made, 'a client leaves before the commit');
is(notified(), 1, 'a NOTIFY is sent if the client has left before the commit');
notifications();

first('pg_advisory_xact_lock(614)');
$admin->do('SELECT pg_advisory_lock(614)');
my $client = begin('left after', 'wait=9');
blocked('advisory', 'announce');
is(descr(), 'left after', 'a client leaves after the commit');
leave($client);
is(notifications(), 0, 'the NOTIFY has not been sent');
$admin->do('SELECT pg_advisory_unlock(614)');
is(notified(), 1, 'a NOTIFY is sent if the client has left after the commit');


# a graceful end of the worker meanwhile

$admin->do('SELECT pg_advisory_lock(614)');
$client = begin('reload');
blocked('advisory', 'announce');
my ($old) = $nginx->workers;
$nginx->reload;
ok(kill(0, $old), 'a worker that exits waits for its NOTIFY');
$admin->do('SELECT pg_advisory_unlock(614)');
is(notified(), 1, 'a worker that exits sends its NOTIFY');
$db->psql($announce);
$f->wait_loaded($nginx);


# a node that announces itself during a change

sub announce_node {
    $db->psql(q{SET synchronous_commit = local; INSERT INTO apikeys.instances
        (uuid, name, feed, snapshot, horizon, heartbeat, lease_until)
        SELECT 'new', 'new:1', uuid, '3:3:', '3', clock_timestamp(),
               'infinity' FROM apikeys.feed_uuid});
}

sub changed_meanwhile {
    my ($prefer) = @_;

    $db->psql("DELETE FROM apikeys.instances WHERE uuid = 'new'");
    lock_org();
    my $client = begin('a new node', $prefer);
    blocked('transactionid', 'update_key');
    announce_node();
    my $start = time;
    $locker->commit;
    return (answer($client->read), time - $start);
}

is((changed_meanwhile('wait=1'))[0], '202 - new:1',
    'a receipt is not given for a node that announces itself meanwhile');

my ($answer, $seconds) = changed_meanwhile('');
is($answer, '200 - -', 'a change while a node announces itself');
cmp_ok($seconds, '>=', 0.45,
    'apikeys_wait waits for a node that announces itself meanwhile');
$db->psql("DELETE FROM apikeys.instances WHERE uuid = 'new'");


# a worker that is killed between the commit and the NOTIFY

SKIP: {
    skip $nginx->untraced, 4 if $nginx->untraced;

    my $there = $f->node(workers => 1,
        server => 'location /key { apikeys_auth basic; empty_gif; }',
        http => 'apikeys_sync poll=1s;');
    $there->start;
    $f->wait_loaded($there);

    my $key = $f->key($org, 'ORG_READ_ONLY');
    my $status = sub {
        return ApiKeys::Client->new(port => $there->port)->plain('GET', '/key',
            undef, headers => { Authorization => 'Basic '
                . encode_base64($key->{secret}, '') })->code;
    };
    is($status->(), 200, 'the other node has the key');
    notifications();

    my ($worker) = $nginx->workers;
    $nginx->{opt}{allow} = qr/exited on signal 9/;
    my $killer = $nginx->kill_at($worker, 'ngx_http_apikeys_receipts_notify',
        1, 20_000 * $slow);
    eval { $org->{client}->request('DELETE',
        "$org->{path}/apiKeys/$key->{id}") };

    skip $nginx->untraced // 'the worker was not killed', 3
        if !$nginx->killed($killer);

    is($admin->selectrow_array('SELECT count(*) FROM apikeys.keys
        WHERE id = ?', undef, $key->{id}), 0,
        'a worker is killed after the commit of a deletion');
    ok(eval { $nginx->wait_for(sub { $status->() == 401 }, 10 * $slow, '') },
        'the other node applies the deletion with its poll');
    is(notifications(), 0, 'there was no NOTIFY of the deletion');

    $there->quit;
}

$nginx->quit;

done_testing;
