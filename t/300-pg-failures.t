#!/usr/bin/perl

# Copyright (C) ngx_http_apikeys_module contributors
#
# The database dies in all the ways it can: backends that are terminated or
# killed, idle and at work; a server that is restarted, frozen, away; no
# connection left in nginx.  Reads are tried again, writes that were sent are
# not, nothing blocks, and the log has one [error] a change of state.

use strict;
use warnings;

use IO::Socket::INET ();
use Test::More;
use Time::HiRes qw( time );

use File::Basename qw( dirname );
use lib dirname(__FILE__) . '/lib';

use ApiKeys::Pg ();
use ApiKeys::PgTest qw( pgtest start answer get stat_of eventually );


my $pg = ApiKeys::Pg->new(own => 1);
my $db = $pg->database(schema => 0);
my $sql = q{SELECT pg_backend_pid(), pg_sleep(0.8)};

my $nginx = pgtest(
    conninfo => $db->conninfo,
    database => 'connections=2 queue=64 connect_timeout=3s timeout=20s',
    locations => {
        one => 'pgtest_query "SELECT pg_backend_pid()";',
        slow => qq{pgtest_query "$sql";},
        write => qq{pgtest_query "$sql" write;},
        insert => 'pgtest_query "INSERT INTO t VALUES (1)" write;',
        rows => q{pgtest_rows "SELECT repeat('r', 9000), g, pg_sleep(0.001)
                               FROM generate_series(1, 100000) g";},
        brief => 'pgtest_query "SELECT 1" timeout=500ms;',
        brief_write => 'pgtest_query "INSERT INTO t VALUES (1)" timeout=500ms
                                     write;',
        alive => 'return 200 "alive\n";',
    });
$db->psql('CREATE TABLE t (a int)');
$nginx->start;

# backends of nginx that run (or not) a query
sub backends {
    my ($state) = @_;

    return @{ $db->dbh->selectcol_arrayref(q{SELECT pid FROM pg_stat_activity
        WHERE application_name = 'nginx apikeys' AND state = ?}, undef,
        $state) };
}

sub terminate { $db->dbh->do("SELECT pg_terminate_backend($_)") for @_ }

sub running {
    my ($n) = @_;

    return eventually(sub {
        my @pids = backends('active');
        return @pids == $n && \@pids;
    }) || [];
}

sub errors { return scalar(() = $nginx->error_log =~ /\[error\]/g) }


# idle

my $pid = get($nginx, '/one')->{lines}[0];
terminate(backends('idle'));
ok(eventually(sub { stat_of($nginx)->{open} == 0 }),
    'an idle backend is terminated: seen when it happens');
like($nginx->error_log,
    qr/\[warn\].*closed after.*terminating connection due to administrator/,
    'the log has the reason of the server for a closed connection');
my $a = get($nginx, '/one');
is($a->{rc}, 'OK', 'a query after a terminated backend succeeds');
isnt($a->{lines}[0], $pid,
    'a query after a terminated backend has a new connection');

for (1 .. 20) {
    terminate(backends('idle'));
    is(get($nginx, '/one')->{rc}, 'OK', 'terminated just before a query');
}


# at work

my $client = start($nginx, '/slow');
terminate(@{ running(1) });
$a = answer($client);
is($a->{rc}, 'OK', 'a read whose backend is terminated is run again');

$client = start($nginx, '/write');
terminate(@{ running(1) });
$a = answer($client);
is("$a->{rc} $a->{unknown}", 'LOST 1',
    'a write on a terminated connection: outcome unknown');
like($a->{message}, qr/terminating connection/,
    'the message of a lost write has the reason of the server');

$client = start($nginx, '/rows');
ok(eventually(sub {
    $db->dbh->selectrow_array(q{SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'nginx apikeys' AND state = 'active'
        AND query_start < clock_timestamp() - interval '0.2 s'});
}), 'a query that delivers rows runs');
terminate(@{ running(1) });
$a = answer($client);
is("$a->{rc} $a->{unknown}", 'LOST 0',
    'a read that has delivered rows is not run again');

my @clients = map { start($nginx, '/slow') } 1 .. 6;
terminate(@{ running(2) });
is_deeply([ map { answer($_)->{rc} } @clients ], [ ('OK') x 6 ],
    'two are terminated, four wait: all are served');

# twice is once too often
$client = start($nginx, '/slow');
my ($first) = @{ running(1) };
terminate($first);
ok(eventually(sub { grep { $_ != $first } backends('active') }),
    'a terminated read runs again');
terminate(@{ running(1) });
is(answer($client)->{rc}, 'LOST', 'a read is run again once');
is(errors(), 0, 'none of this is an [error]: the database was there');


# kill -9 of a backend takes all of them with it, and then it recovers

@clients = (start($nginx, '/slow'), start($nginx, '/write'));
kill 'KILL', running(2)->[0];
my %rc = map { $_ => 1 } map { answer($_)->{rc} } @clients;
ok($rc{LOST}, 'kill -9 of a backend: a write is lost');
ok(eventually(sub { get($nginx, '/one')->{rc} eq 'OK' }),
    'queries succeed after kill -9 of a backend');


# a restart, with queries in flight and waiting

for my $mode (qw( immediate fast )) {
    my $before = errors();

    delete $db->{dbh};
    @clients = map { start($nginx, '/slow') } 1 .. 8;
    ok(eventually(sub { stat_of($nginx)->{waiting} == 6 }),
        'eight queries: six wait');
    delete $db->{dbh};
    $pg->stop($mode);

    %rc = ();
    $rc{ answer($_)->{rc} }++ for @clients;
    is_deeply([ keys %rc ], [ 'UNAVAILABLE' ], "$mode stop: all are told");

    my $begin = time;
    is(get($nginx, '/one')->{rc}, 'UNAVAILABLE', 'a query while it is away')
        for 1 .. 5;
    cmp_ok(time - $begin, '<', 25,
        'queries without a server fail after one attempt to connect');
    is(get($nginx, '/insert')->{unknown}, 0,
        'the outcome of a write without a server is known');
    is(stat_of($nginx)->{open}, 0, 'no connection is left');
    is(errors() - $before, 1, 'one error in the log');

    $pg->start;
    ok(eventually(sub { get($nginx, '/one')->{rc} eq 'OK' }),
        "queries succeed again after a $mode stop");
    like($nginx->error_log, qr/\[notice\].*connected to database \S+ again/,
        "the log says that the database is back after a $mode stop");
}


# frozen: whatever is waited for, nothing blocks

# so that its PREPARE is not what the frozen server is asked for
is(get($nginx, '/brief_write')->{rc}, 'OK',
    'a write prepares its statement before the server is frozen');
$pg->signal_all('STOP');

for my $name (qw( brief_write brief )) {
    my $begin = time;
    $client = start($nginx, "/$name");
    is(get($nginx, '/alive')->{rc}, 'alive', 'a frozen server: others go on');
    cmp_ok(time - $begin, '<', 0.4,
        'others are served at once beside a frozen server');
    $a = answer($client);
    is($a->{rc}, 'TIMEOUT', "$name on a frozen server times out");
    cmp_ok(time - $begin, '<', 1.5,
        "$name on a frozen server times out in time");
    is($a->{unknown}, $name =~ /write/ ? 1 : 0,
        "$name on a frozen server: unknown outcome of writes only");
}

@clients = map { start($nginx, '/brief') } 1 .. 10;
%rc = map { answer($_)->{rc} => 1 } @clients;
ok(!grep({ !/^(?:TIMEOUT|UNAVAILABLE)$/ } keys %rc),
    'ten more: all come to an end');
is(get($nginx, '/one')->{rc}, 'UNAVAILABLE', 'a login that is not answered');
@clients = map { start($nginx, '/slow') } 1 .. 4;
ok(eventually(sub { stat_of($nginx)->{waiting} == 4 }),
    'four queries wait for a connection of a frozen server');
close $_ for @clients;
ok(eventually(sub { stat_of($nginx)->{waiting} == 0 }),
    'waiting queries are gone when their clients disconnect');

$pg->signal_all('CONT');
ok(eventually(sub { get($nginx, '/one')->{rc} eq 'OK' }),
    'queries succeed again when the server resumes');


is(stat_of($nginx)->{busy}, 0, 'nothing is left busy');
$nginx->quit(5);


# nginx itself has no connection left: one of four is for its listening
# socket, one for the channel, two for clients

my $conf = do { local (@ARGV, $/) = $nginx->dir . '/nginx.conf'; <> };
my ($load) = $conf =~ /^(load_module .*;)$/m;
my $conninfo = $db->conninfo;
my $few = ApiKeys::Nginx->new(allow => qr/worker_connections are not enough/,
    conf => <<"END");
$load
daemon off;
pid %%DIR%%/nginx.pid;
error_log %%DIR%%/error.log info;
events { worker_connections 4; }
http {
    access_log off;
    pgtest_database "$conninfo" timeout=2s;
    server {
        listen 127.0.0.1:%%PORT%%;
        location = /one { pgtest_query "SELECT 1"; }
        location = /stat { pgtest_stat; }
    }
}
END
$few->start;
my $half = start($few, '/one');
is(answer($half)->{rc}, 'OK', 'one connection left: it is the database\'s');
$few->reload;
$half = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
    PeerPort => $few->port) or die;
$half->syswrite('GET /one HT');
$a = get($few, '/one');
is($a->{rc}, 'UNAVAILABLE', 'none left: the query ends');
like($a->{message}, qr/no free worker_connections/,
    'the message says that there are no free worker_connections');
close $half;
ok(eventually(sub { get($few, '/one')->{rc} eq 'OK' }),
    'a query succeeds when worker_connections are free again');
$few->quit(5);

done_testing();
