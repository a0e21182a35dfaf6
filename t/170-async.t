# A call in each of its four fates: success, an error of the database, a
# timeout, a client that leaves; for reads and for writes.  Then a database
# that is frozen, killed or gone, a full queue, and reload and exit with
# calls in flight.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Expect;
use ApiKeys::Fixture ();
use ApiKeys::Pg ();
use IO::Select ();
use Test::More;
use Time::HiRes qw( time );

my $pg = ApiKeys::Pg->new(own => 1);
my $f = ApiKeys::Fixture->new(pg => $pg, http => 'apikeys_wait 0;',
    database => 'timeout=600ms connect_timeout=600ms connections=3');
my $db = $f->db;
my $nginx = $f->nginx;
my $base = $f->base;
my $org = $f->org;
my $key = $f->key($org, 'ORG_MEMBER');
my $one = "$org->{path}/apiKeys/$key->{id}";
my $list = "$org->{path}/apiKeys";
my $n = 0;
my $unknown = qr/the outcome is unknown/;

# what is held against calls: a row that each write locks, or all reads
my $holder = $db->connect;
my %hold = (
    write => "SELECT 1 FROM apikeys.orgs WHERE id = '$org->{id}' FOR UPDATE",
    read => 'LOCK TABLE apikeys.keys IN ACCESS EXCLUSIVE MODE',
);

sub hold { $holder->begin_work; $holder->do($hold{ $_[0] }) }
sub release { $holder->rollback }

# statements of nginx that wait for a lock, or that run at all
sub waiting {
    return $db->dbh->selectrow_array(q{
        SELECT count(*) FROM pg_stat_activity WHERE usename = 'apikeys_nginx'
           AND state = 'active' AND wait_event_type = 'Lock'
           AND query LIKE ? }, undef, $_[0] // '%');
}

my %statement = (write => '%update_key(%',
    read => '%FROM apikeys.key_states WHERE id = $1 AND org_id = $2%');

sub wait_waiting {
    my ($kind, $count) = @_;

    return eval { $nginx->wait_for(sub {
        waiting($statement{$kind}) == $count }, 10, '') };
}

sub description {
    return $db->psql("SELECT descr FROM apikeys.keys WHERE id = '$key->{id}'");
}

sub audits { return $db->psql('SELECT count(*) FROM apikeys.audit') }

# a call that is sent, and read later; on a node
sub send_call {
    my ($kind, $to) = @_;

    my $client = $f->client(nginx => $to || $nginx, timeout => 30);
    my %headers = (Authorization => 'Bearer ' . $f->token);
    my $body = $kind eq 'write' ? { desc => 'change ' . ++$n } : undef;

    return $client->send($client->format($body ? 'PATCH' : 'GET', $one, $body,
        headers => \%headers));
}

sub call {
    my ($kind, @to) = @_;

    return send_call($kind, @to)->read;
}

sub unavailable {
    my ($res, $title) = @_;

    refused($res, 'SERVICE_UNAVAILABLE', [], $title);
    like(($res && $res->header('retry-after')) // '', qr/^[1-9]\d*$/,
        "$title: says when to try again");
}


# success

is(call($_)->code, 200, "$_: success") for qw( read write );
is(description(), "change $n", 'the change is made');


# errors of the database

my $audits = audits();
my $before = description();
my %right = (write => 'EXECUTE ON ALL FUNCTIONS IN SCHEMA apikeys',
    read => 'SELECT ON apikeys.key_states');

for my $kind (qw( read write )) {
    $db->psql("REVOKE $right{$kind} FROM apikeys_nginx");
    $nginx->log_mark;
    refused(call($kind), 'UNEXPECTED_ERROR', [], "$kind: no right to");
    ok(eval { $nginx->wait_log(
        qr/\[error\].*apikeys: statement "apikeys_org_keys_\w+" failed: 42501/, 5)
    }, "$kind: the log says which and why");
    $db->psql("GRANT $right{$kind} TO apikeys_nginx");
    is(call($kind)->code, 200, "$kind: and afterwards it succeeds");
}

# errors that a trigger makes, the first N times; sequences forget nothing
$db->psql(<<'END');
CREATE SEQUENCE public.failures;
CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER AS $$
BEGIN
    IF nextval('public.failures')
       <= current_setting('test.failures')::int
    THEN
        RAISE EXCEPTION 'a failure of the test'
            USING ERRCODE = current_setting('test.sqlstate');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fail BEFORE UPDATE ON apikeys.keys
    FOR EACH ROW EXECUTE FUNCTION public.fail();
END

sub failing {
    my ($count, $sqlstate) = @_;

    my $name = $db->name;
    $db->psql("ALTER DATABASE \"$name\" SET test.failures = $count;"
        . "ALTER DATABASE \"$name\" SET test.sqlstate = '$sqlstate';"
        . 'ALTER SEQUENCE public.failures RESTART;'
        . "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        . " WHERE usename = 'apikeys_nginx' AND query NOT ILIKE 'LISTEN%'");
    ok(eval { $nginx->wait_for(sub { my $res = call('read');
        $res->code == 200 }, 10, '') }, 'connected anew');
}

for my $case (
    [ 1, '40001', 200 ], [ 1, '40P01', 200 ], [ 2, '40001', 503 ],
    [ 2, '40P01', 503 ], [ 1, '53100', 503 ], [ 1, '55P03', 503 ],
    [ 1, '57014', 503 ], [ 1, '25006', 200 ], [ 1, 'XX000', 500 ],
    [ 1, '23514', 500 ], [ 1, 'P0001', 500 ])
{
    my ($count, $sqlstate, $code) = @$case;

    failing($count, $sqlstate);
    $before = description();
    my $res = call('write');
    is($res->code, $code, "$sqlstate x $count: $code");
    is(description(), $code == 200 ? "change $n" : $before,
        "$sqlstate x $count: the change is " . ($code == 200 ? 'made' :
            'not'));
    is($res->header('retry-after') ? 503 : $code, $code,
        'with Retry-After where it may help');
    unlike($res->body, qr/a failure of the test|apikeys\./,
        'the client is not told about the database');
}
$db->psql('DROP TRIGGER fail ON apikeys.keys');


# timeouts

for my $kind (qw( read write )) {
    $before = description();
    $audits = audits();
    hold($kind);
    my $begin = time;
    my $res = call($kind);
    my $took = time - $begin;

    unavailable($res, "$kind: a timeout");
    ok($took > 0.5 && $took < 3, "$kind: in time") or diag $took;
    unlike($res->json->{detail}, $unknown, "$kind: nothing was changed")
        if $kind eq 'read';
    ok(wait_waiting($kind, 0), "$kind: the statement is canceled");
    release();
    is(description() . audits(), $before . $audits,
        "$kind: nothing has changed");
    is(call($kind)->code, 200, "$kind: and afterwards it succeeds");
}


# a client that leaves: what it asked for is of no use to anyone; a call that
# does not end soon loses its connection to the database, and the server
# ends its statement when it notices

my $few = $f->node(http => 'apikeys_wait 0;',
    database => 'timeout=1500ms connections=2 queue=2')->start;
$f->wait_loaded($few);
my ($worker) = $few->workers;
my $files = sub { return scalar(() = glob "/proc/$worker/fd/*") };
my $client;

for my $kind (qw( read write )) {
    is(call($kind, $few)->code, 200, "$kind: a call");
    my $idle = $files->();

    $before = description();
    $audits = audits();
    hold($kind);
    $client = send_call($kind, $few);
    ok(wait_waiting($kind, 1), "$kind: a call waits");
    $client->close;

    # running and queued ones, over and over: no place of a queue is lost
    for (1 .. 3) {
        my @all = map { send_call($kind, $few) } 1 .. 4;
        $_->close for @all;
    }
    ok(wait_waiting($kind, 0), "$kind: no statement stays");
    my @all = map { send_call($kind, $few) } 1 .. 4;
    ok(wait_waiting($kind, 2), "$kind: two run, two are queued");
    my $fifth = call($kind, $few);
    unavailable($fifth, "$kind: one more is too many");
    unlike($fifth->json->{detail}, $unknown, "$kind: and was not sent");
    release();
    is(join(' ', map { $_->read->code } @all), '200 200 200 200',
        "$kind: the others are served");
    is(audits() - $audits, $kind eq 'write' ? 4 : 0,
        "$kind: and they alone have changed anything");

    # who leaves while it is queued is never served, however soon it ends
    $_->close for @all;
    $audits = audits();
    hold($kind);
    @all = map { send_call($kind, $few) } 1 .. 2;
    ok(wait_waiting($kind, 2), "$kind: two run");
    $few->log_mark;
    my @left = map { send_call($kind, $few) } 1 .. 2;
    is($f->client(nginx => $few)->plain('GET', '/open')->code, 200,
        "$kind: and two are queued");
    $_->close for @left;
    ok(eval { $few->wait_log(qr/client prematurely closed/, 1) for 1 .. 2; 1 },
        "$kind: which leave");
    release();
    is(join(' ', map { $_->read->code } @all), '200 200',
        "$kind: the others are served");
    is($f->client(nginx => $few)->plain('GET', '/open')->code, 200,
        "$kind: the worker still serves /open");
    is(audits() - $audits, $kind eq 'write' ? 2 : 0,
        "$kind: and nothing else was done");

    # nor is a descriptor; both connections to the database are open now
    $_->close for @all;
    ok(eval { $few->wait_for(sub { $files->() <= $idle + 1 }, 10, '') },
        "$kind: no descriptor is kept");
    is($db->dbh->selectrow_array(q{SELECT count(*) FROM pg_stat_activity
        WHERE usename = 'apikeys_nginx' AND state = 'active'}), 0,
        "$kind: no statement runs");
}
$few->quit;


# reload and exit with a call in flight

my $patient = $f->node(http => 'apikeys_wait 0;',
    allow => qr/worker process \d+ exited on signal 9/,
    database => 'timeout=30s connections=2')->start;
$f->wait_loaded($patient);

for my $kind (qw( read write )) {
    hold($kind);
    $client = send_call($kind, $patient);
    ok(wait_waiting($kind, 1), "$kind: a call waits");
    $patient->reload;
    is(call('read', $patient)->code, 200, 'the new worker serves')
        if $kind eq 'write';
    release();
    is(eval { $client->read->code }, 200, "$kind: served through a reload");
    is(description(), "change $n", 'a change served through a reload is made')
        if $kind eq 'write';
    ok(eval { $patient->wait_for(sub { !$patient->workers(exiting => 1) }, 10,
        '') }, "$kind: the old worker ends");

    hold($kind);
    $client = send_call($kind, $patient);
    wait_waiting($kind, 1);
    kill 'QUIT', $patient->pid;
    ok(eval { $patient->wait_for(sub { $patient->workers(exiting => 1) }, 10,
        '') }, "$kind: nginx is about to end");
    release();
    is(eval { $client->read->code }, 200, "$kind: served to the end");
    $patient->quit;
    ok(!-e $patient->dir . '/nginx.pid',
        "$kind: nginx exits after the last request");

    $patient->start;
    $f->wait_loaded($patient);
    hold($kind);
    $client = send_call($kind, $patient);
    wait_waiting($kind, 1);
    $patient->stop;
    ok(!eval { $client->read }, "$kind: a fast stop waits for nothing");
    release();
    $patient->start;
    $f->wait_loaded($patient);
}


# nobody waits: a statement does not live for its timeout, nor keep its locks

sub gone {
    my ($title, $leave) = @_;

    my $before = description() . audits();
    hold('write');
    my $call = send_call('write', $patient);
    ok(wait_waiting('write', 1), "$title: a change waits");
    my $begin = time;
    $leave->($call);
    wait_waiting('write', 0);
    cmp_ok(time - $begin, '<', $ENV{APIKEYS_TEST_ASAN} ? 10 : 4,
        "$title: it is ended in two seconds or so, not in 30");
    release();
    is(description() . audits(), $before, "$title: and was not made");
}

SKIP: {
    skip 'PostgreSQL 13 does not look after its clients', 8
        if $holder->{pg_server_version} < 140000;

    gone('a client that leaves', sub { $_[0]->close });
    gone('a worker that is killed', sub {
        kill 'KILL', $patient->workers;
        eval { $_[0]->read };
    });
}
$patient->wait_for(sub { eval { call('read', $patient)->code == 200 } }, 20,
    'no new worker');
$patient->stop;


# a backend that is ended, or dies

{
    $before = description();
    hold('write');
    $client = send_call('write');
    wait_waiting('write', 1);
    my ($pid) = $db->dbh->selectrow_array(q{SELECT pid FROM pg_stat_activity
        WHERE query LIKE '%update_key(%' AND wait_event_type = 'Lock'});
    $db->psql("SELECT pg_terminate_backend($pid)");
    unavailable($client->read, 'a backend that was ended');
    release();
    is(description(), $before,
        'a write whose backend was terminated changes nothing');

    hold('write');
    $client = send_call('write');
    wait_waiting('write', 1);
    ($pid) = $db->dbh->selectrow_array(q{SELECT pid FROM pg_stat_activity
        WHERE query LIKE '%update_key(%' AND wait_event_type = 'Lock'});
    local $SIG{__WARN__} = sub { };     # the others end, too, and say so
    kill 'KILL', $pid;
    my $res = $client->read;
    unavailable($res, 'a backend that died');
    like($res->json->{detail}, $unknown, 'whose outcome is unknown');
    $pg->wait_ready;
    eval { release() };
    $holder = $db->connect;
    ok(eval { $nginx->wait_for(sub { call('write')->code == 200 }, 20, '') },
        'a write succeeds after PostgreSQL has restarted');
}


# a database that is frozen

{
    my $open = $f->client(timeout => 2);
    my $owner = $f->client(key => $org->{key}{secret}, timeout => 5);
    my $wrong = $f->client(key => "$key->{publicKey}:x", timeout => 5);
    $owner->request('GET', "$base/");
    call('read');
    $pg->signal_all('STOP');

    # answers of others, between those of calls that get none
    my ($slowest, $others) = (0, 0);
    my $ask = sub {
        my $begin = time;
        my $res = $open->plain('GET', '/open');
        my $took = time - $begin;
        $slowest = $took if $took > $slowest;
        $others++ if $res->code == 200;
    };

    my $begin = time;
    my @calls = map { send_call($_) } qw( write read write read write read );
    while (!grep { IO::Select->new($_->{socket})->can_read(0) } @calls) {
        $ask->();
        last if time - $begin > 10;
    }
    my @res = map { $_->read } @calls;
    my $took = time - $begin;

    unavailable($_, 'a frozen database') for @res;
    ok($took < 5, 'known in time') or diag $took;
    ok($others > 20, "other locations are served meanwhile, $others times");
    ok($slowest < 0.25, 'without a delay') or diag $slowest;

    # what is decided from memory is not affected
    challenged($wrong->request('GET', "$base/"), 'a wrong key is still 401');
    unavailable($owner->request('GET', $list),
        'a valid key gets 503, not 401, while PostgreSQL is frozen');
    refused($owner->request('GET', "$list/x"), 'PATH_PARAM_PARSE_ERROR',
        [ "$list/x" ],
        'a malformed path gets its 400 while PostgreSQL is frozen');

    $pg->signal_all('CONT');
    ok(eval { $nginx->wait_for(sub { call('write')->code == 200 }, 20, '') },
        'a write succeeds after PostgreSQL has resumed');
    is(description(), "change $n",
        'the write after PostgreSQL has resumed is made');
}


# one that is gone

$pg->stop('immediate');
unavailable(call($_), "$_: no database") for qw( read write );
$pg->start;
ok(eval { $nginx->wait_for(sub { call('write')->code == 200 }, 20, '') },
    'a write succeeds after PostgreSQL was stopped and started');
is($nginx->error_log =~ /worker process \d+ exited/ ? 'one' : 'none', 'none',
    'no worker has died');

$nginx->quit;

done_testing;
