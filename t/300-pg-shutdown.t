#!/usr/bin/perl

# Copyright (C) ngx_http_apikeys_module contributors
#
# The ends of a worker: a graceful quit and a reload wait for queries that
# someone waits for, and for nothing else; no socket is left open (an
# [alert], which fails any test).

use strict;
use warnings;

use Test::More;
use Time::HiRes qw( time );

use File::Basename qw( dirname );
use lib dirname(__FILE__) . '/lib';

use ApiKeys::Pg ();
use ApiKeys::PgTest qw( pgtest start answer get stat_of eventually );


my $pg = ApiKeys::Pg->new(own => 1);
my $db = $pg->database(schema => 0);
my $rows = q{SELECT repeat('r', 500), g FROM generate_series(1, 30000) g};

my %opt = (
    conninfo => $db->conninfo,
    database => 'connections=2 connect_timeout=3s timeout=8s listen=news',
    locations => {
        one => 'pgtest_query "SELECT 1";',
        slow => 'pgtest_query "SELECT pg_sleep(0.6)";',
        rows => qq{pgtest_rows "$rows" pause=3000 pause_time=30ms;},
        forever => 'pgtest_query "SELECT pg_sleep(30)";',
        background => 'pgtest_query "SELECT pg_sleep(30)" cancelable;',
        dropped => 'pgtest_query "SELECT pg_sleep(30)" cancel=50ms;',
    });

sub nginx {
    my (%more) = @_;

    my $nginx = pgtest(%opt, %more)->start;
    ok(eventually(sub { stat_of($nginx)->{notified} }), 'nginx listens');
    return $nginx;
}

sub quits {
    my ($nginx, $title, $min, $max) = @_;

    my $begin = time;
    $nginx->quit(20);
    my $took = time - $begin;
    ok($took >= $min && $took <= $max, $title)
        or diag "$took s\n", $nginx->error_log;
}

sub activity {
    return $db->dbh->selectrow_array(q{SELECT count(*) FROM pg_stat_activity
        WHERE application_name LIKE 'nginx apikeys%'});
}


my $nginx = nginx();
get($nginx, '/one');
quits($nginx, 'idle: it ends at once', 0, 1);
ok(eventually(sub { activity() == 0 }),
    'connections are ended on the server when nginx quits');
is(scalar(() = $nginx->error_log =~ /worker process is shutting down/g), 2,
    'the log says of each idle connection that the worker ends');

$nginx = nginx();
my @clients = (map { start($nginx, '/slow') } 1 .. 4, 'x');
$clients[-1] = start($nginx, '/rows');
ok(eventually(sub { stat_of($nginx)->{waiting} }), 'queries run and wait');
quits($nginx, 'a quit waits for running and waiting queries', 0.3, 6);
is(answer($_)->{rc}, 'OK', 'queries are answered during a quit') for @clients;

$nginx = nginx();
@clients = map { start($nginx, '/slow') } 1 .. 3;
ok(eventually(sub { stat_of($nginx)->{waiting} }), 'queries run and wait');
$nginx->reload;
is(get($nginx, '/one')->{rc}, 'OK', 'a reload: the new worker serves');
is(answer($_)->{rc}, 'OK',
    'a reload: the old worker answers its queries') for @clients;
ok(eventually(sub { !$nginx->workers(exiting => 1) }),
    'a reload: the old worker ends');
for (1 .. 5) {
    $nginx->reload;
    is(get($nginx, '/one')->{rc}, 'OK', 'reloaded once more');
}
quits($nginx, 'nginx ends after many reloads', 0, 2);

# nothing holds the worker: the client's socket is left, that of the database
# (which has no number) is not
$nginx = nginx(allow => qr/\*[1-9]\d* open socket|\] \d+#\d+: aborting/);
my $client = start($nginx, '/background');
ok(eventually(sub { stat_of($nginx)->{busy} }), 'background work');
quits($nginx, 'background work does not delay a quit', 0, 1);
close $client;

$nginx = nginx();
$client = start($nginx, '/dropped');
is(answer($client)->{rc}, 'canceled', 'a connection that is drained');
quits($nginx, 'a quit does not wait for a connection that is drained', 0, 0.8);

$nginx = nginx(main => 'worker_shutdown_timeout 500ms;');
@clients = map { start($nginx, '/forever') } 1 .. 3;
ok(eventually(sub { stat_of($nginx)->{waiting} == 1 }), 'two run, one waits');
quits($nginx, 'worker_shutdown_timeout ends it', 0.4, 3);
answer($_) for @clients;

$nginx = nginx();
@clients = map { start($nginx, '/forever') } 1 .. 3;
ok(eventually(sub { stat_of($nginx)->{waiting} == 1 }), 'two run, one waits');
my $stopped = time;
$nginx->stop;
cmp_ok(time - $stopped, '<', 2, 'a fast stop does not wait');
ok(eventually(sub {
    $db->dbh->selectrow_array(q{SELECT count(*) FROM pg_stat_activity
        WHERE application_name LIKE 'nginx apikeys%'}) == 0
}), 'queries that a fast stop left end by statement_timeout');

# in all of a login's phases
$nginx = nginx();
$pg->signal_all('STOP');
$client = start($nginx, '/one');
ok(eventually(sub { stat_of($nginx)->{waiting} }), 'a login that hangs');
quits($nginx, 'a quit waits for a login that a query waits for', 0.5, 9);
is(answer($client)->{rc}, 'UNAVAILABLE',
    'the query that waited for a login fails');
$nginx = pgtest(%opt)->start;
quits($nginx, 'a login that hangs alone is not', 0, 1);
$pg->signal_all('CONT');

delete $db->{dbh};
$pg->stop;
$nginx = pgtest(%opt)->start;
is(get($nginx, '/one')->{rc}, 'UNAVAILABLE', 'no server');
quits($nginx, 'a quit without a server does not wait', 0, 1);
$pg->start;

# several workers, each with its own connections
$nginx = nginx(workers => 2, allow => qr/exited on signal 9/);
@clients = map { start($nginx, '/slow') } 1 .. 8;
is(answer($_)->{rc}, 'OK', 'two workers') for @clients;
kill 'KILL', ($nginx->workers)[0];
ok(eventually(sub { get($nginx, '/one')->{rc} eq 'OK' }), 'one is killed');
quits($nginx, 'nginx ends after a worker was killed', 0, 2);

done_testing();
