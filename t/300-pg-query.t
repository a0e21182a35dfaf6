#!/usr/bin/perl

# Copyright (C) ngx_http_apikeys_module contributors
#
# Whole results: success, the server's error, time-out, client gone, and what
# else can become of a query.
#
# The defects known of nginx modules that use libpq, and where each is tested
# or why it cannot be (the numbers are those of the list that the design
# keeps):
#
#  A1  edge-triggered reads: "a large result" here, 300-pg-rows, 300-pg-tls
#  A2  PQflush() never called: "a large parameter" here, 300-pg-tls
#  A3  socket changes: 300-pg-hosts; libpq gets one address at a time, and
#      an [alert] ends any test in which the socket is another one
#  A4  polling again for lost edges: there are no edges
#  A5  work started in the caller's frame: "the handler runs later", here
#  A6  crashes of cached connections: 300-pg-failures, under sanitizers
#  A7  fd 0: ngx_get_connection() gets PQsocket() of a started connection
#  A8  two owners of a socket: ngx_close_connection() only ever sees it as
#      "shared"; 300-pg-failures would show "close() socket failed" [alert]
#  A9  more connections than configured: "never more connections", here
#  A10 no TLS, unix sockets, quoting: 300-pg-tls, all of these tests
#  A11 SQL by interpolation: "a parameter stays a parameter", here
#  A12 no cancel, time-out, transaction check: here
#  A13 only one result: "an error after a result", here
#  A14 depends on upstream{} internals: uses none of it
#  A15 depends on static functions of nginx: uses none
#  A16 probes for versions: config probes for functions
#  A17 changes the configuration at run time: it is const, 300-pg-shutdown
#      reloads
#  A18 PQcancel() blocks: never called (make check); "client gone" here,
#      "a frozen server" in 300-pg-failures
#  A19 flags of events set by hand, libpq's private structures: events only
#      through ngx_add_event() and ngx_del_event(), no private header

use strict;
use warnings;

use Test::More;
use Time::HiRes qw( time );

use File::Basename qw( dirname );
use lib dirname(__FILE__) . '/lib';

use ApiKeys::Pg ();
use ApiKeys::PgTest qw( pgtest start answer get stat_of eventually );


my $pg = ApiKeys::Pg->new;
my $db = $pg->database(schema => 0);
my $dbh = $db->dbh;

$db->psql(<<'END');
CREATE SEQUENCE attempts;
CREATE TABLE t (a int);
INSERT INTO t VALUES (1);
CREATE TABLE p (id int PRIMARY KEY);
CREATE TABLE c (id int REFERENCES p DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION flaky(state text, good int) RETURNS bigint LANGUAGE plpgsql
AS $$ DECLARE n bigint := nextval('attempts'); BEGIN
IF n < good THEN RAISE EXCEPTION 'not yet' USING ERRCODE = state; END IF;
RETURN n; END $$;
CREATE FUNCTION loud() RETURNS int LANGUAGE plpgsql
AS $$ BEGIN RAISE WARNING 'so loud'; RETURN 1; END $$;
CREATE FUNCTION fail() RETURNS int LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'AK012',
DETAIL = 'the detail'; END $$;
END

my $application = q{current_setting('application_name')};

my $nginx = pgtest(
    conninfo => $db->conninfo,
    database => 'connections=2 queue=3 timeout=5s',
    locations => {
        one => 'pgtest_query "SELECT 1, NULL, \'\', true";',
        none => 'pgtest_query "SELECT 1 WHERE false";',
        command => 'pgtest_query "CREATE TEMP TABLE IF NOT EXISTS x (i int)";',
        echo => 'pgtest_query "SELECT $1::text, length($1)" params=1;',
        two => 'pgtest_query "SELECT $1::text, $2::int + 1" params=2;',
        big => q{pgtest_query "SELECT repeat(chr(65 + g % 26), 5000)
                               FROM generate_series(1, 2000) g";},
        rows789 => q{pgtest_query "SELECT repeat('x', 200), w FROM
            generate_series(1, 789), (SELECT pg_sleep(0.5)::text) s (w)";},
        again => 'pgtest_query "SELECT nextval(\'attempts\')" again;',
        fail => 'pgtest_query "SELECT fail()";',
        syntax => 'pgtest_query "SELEKT";',
        slow => 'pgtest_query "SELECT pg_sleep(0.7)";',
        late => 'pgtest_query "SELECT pg_sleep(30)" timeout=300ms;',
        late_write => 'pgtest_query "SELECT pg_sleep(30)" timeout=300ms write;',
        forever => 'pgtest_query "SELECT pg_sleep(31)";',
        canceled => 'pgtest_query "SELECT pg_sleep(0.6)" cancel=100ms;',
        limit => "pgtest_query \"SELECT current_setting('statement_timeout'),
            current_setting('idle_in_transaction_session_timeout'),
            $application, current_setting('client_encoding')\";",
        limit_long => "pgtest_query \"SELECT
            current_setting('statement_timeout')\" timeout=12s;",
        transaction => 'pgtest_query "BEGIN";',
        deferred => 'pgtest_query "INSERT INTO c VALUES (7) RETURNING id" write;',
        forget => 'pgtest_query "DEALLOCATE ALL";',
        star => 'pgtest_query "SELECT * FROM t";',
        copy => 'pgtest_query "COPY t TO STDOUT";',
        copy_in => 'pgtest_query "COPY t FROM STDIN";',
        readonly => q{pgtest_query "SELECT
            set_config('default_transaction_read_only', 'on', false)";},
        insert => 'pgtest_query "INSERT INTO t VALUES (2) RETURNING a" write;',
        flaky => 'pgtest_query "SELECT flaky($1, $2)" params=2 write;',
        loud => 'pgtest_query "SELECT loud()";',
        alive => 'return 200 "alive\n";',
    });
$nginx->start;


# success

for my $time (qw( first second )) {
    my $a = get($nginx, '/one');
    is($a->{rc}, 'OK', "a query, the $time time");
    is($a->{lines}[0], '1|~||t|~|~|~|~|',
        "a query has its values and NULL, the $time time");
}

is(get($nginx, '/none')->{rows}, 0, 'no rows');
is(get($nginx, '/command')->{rc}, 'OK', 'a command without a result');

my $a = get($nginx, '/two?p1=%3Cb%3E&p2=41');
is($a->{lines}[0], '%3Cb%3E|42|~|~|~|~|~|~|', 'two parameters');
like(get($nginx, '/echo')->{lines}[0], qr/^~\|~\|/, 'a NULL parameter');

$a = get($nginx, q{/echo?p1='||pg_sleep(9)||'});
is($a->{lines}[0], q{'||pg_sleep(9)||'|17|~|~|~|~|~|~|},
    'a parameter stays a parameter');

$a = get($nginx, '/echo?nul=1');
is("$a->{rc} $a->{sqlstate}", 'FAILED 22021',
    'a NUL in a parameter is not cut off in silence');

$a = get($nginx, '/big');
is("$a->{rc} $a->{rows} $a->{bytes}", 'OK 2000 10000000', 'a large result');

# all of a result waits in the kernel when the worker first looks: one event
# for 160 KB, of which libpq reads 16 KB a call
my $client = start($nginx, '/rows789');
ok(eventually(sub { $dbh->selectrow_array(q{SELECT count(*)
    FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%(1, 789)%'
    AND pid <> pg_backend_pid()}) }), 'a result is on its way');
my ($worker) = $nginx->workers;
kill 'STOP', $worker;
ok(eventually(sub { $dbh->selectrow_array(q{SELECT count(*)
    FROM pg_stat_activity WHERE state = 'idle' AND query LIKE '%(1, 789)%'
    AND pid <> pg_backend_pid()}) }),
        'the answer was sent while the worker was stopped');
kill 'CONT', $worker;
$a = answer($client);
is("$a->{rc} $a->{rows}", 'OK 789',
    'an answer that was sent meanwhile is read to its end');

$a = get($nginx, '/echo?size=12000000');
is("$a->{rc} $a->{bytes}", 'OK 12000008', 'a large parameter');

my ($n) = get($nginx, '/again')->{lines}[0] =~ /^(\d+)/;
is($n, 2, 'a query is started again in its own handler');

$a = get($nginx, '/limit');
is($a->{lines}[0], '5s|5s|nginx apikeys|UTF8|~|~|~|~|',
    'the server knows the limits');
is(get($nginx, '/limit_long')->{lines}[0], '12s|~|~|~|~|~|~|~|',
    'a query with a longer time-out gets it from the server');
is((split /\|/, get($nginx, '/limit')->{lines}[0])[0], '5s',
    'the next query has the usual statement_timeout');

is(get($nginx, '/loud')->{rc}, 'OK', 'a warning is not an error');
like($nginx->error_log, qr/\[warn\].*: so loud/,
    'a warning of the server is logged');


# the server's error

$a = get($nginx, '/fail');
is("$a->{rc} $a->{sqlstate}", 'FAILED AK012', 'an error');
is("$a->{message}, $a->{detail}", 'refused, the detail',
    'an error has message and detail');
is($a->{unknown}, 0, 'the outcome of an error is known');
is(get($nginx, '/syntax')->{sqlstate}, '42601', 'a statement that is none');
is(get($nginx, '/syntax')->{sqlstate}, '42601',
    'a statement with a syntax error fails each time');

$a = get($nginx, '/deferred');
is("$a->{rc} $a->{sqlstate}", 'FAILED 23503',
    'an error after a result: the commit failed');
is($dbh->selectrow_array('SELECT count(*) FROM c'), 0,
    'the failed commit stored no row');

my $before = stat_of($nginx);
is(get($nginx, '/transaction')->{rc}, 'OK', 'a transaction that stays open');
is(get($nginx, '/one')->{rc}, 'OK',
    'the next query does not run in the open transaction');
like($nginx->error_log, qr/closed after.*: open transaction/,
    'a connection with an open transaction is closed');

for my $copy (qw( copy copy_in )) {
    $a = get($nginx, "/$copy");
    isnt($a->{rc}, 'OK', "$copy is refused");
    is(get($nginx, '/one')->{rc}, 'OK', "a query after $copy succeeds");
}

$a = get($nginx, '/readonly');
is($a->{rc}, 'OK', 'a server becomes read-only');
$a = get($nginx, '/insert');
is("$a->{rc} $a->{lines}[0]", 'OK 2|~|~|~|~|~|~|~|',
    'a write runs on a connection that is not read-only');
is($dbh->selectrow_array('SELECT count(*) FROM t WHERE a = 2'), 1,
    'a write that was moved to another connection ran once');


# prepared statements

is(get($nginx, '/star')->{lines}[0], '1|~|~|~|~|~|~|~|', 'a statement');
is(get($nginx, '/star')->{rc}, 'OK',
    'a statement is prepared on each connection') for 1 .. 3;
$dbh->do('ALTER TABLE t ADD b text DEFAULT 5');
for (1 .. 4) {
    is(get($nginx, '/star')->{lines}[0], '1|5|~|~|~|~|~|~|',
        '0A000: prepared again after its table changed');
}
for (1 .. 4) {
    is(get($nginx, '/forget')->{rc}, 'OK', 'forgotten by the server');
    is(get($nginx, '/one')->{rc}, 'OK', '26000: prepared again');
}


# conflicts: rolled back by the server, so writes are repeated too, once

for my $state (qw( 40001 40P01 )) {
    $dbh->do('ALTER SEQUENCE attempts RESTART');
    $a = get($nginx, "/flaky?p1=$state&p2=2");
    is("$a->{rc} $a->{lines}[0]", 'OK 2|~|~|~|~|~|~|~|', "$state is repeated");

    $dbh->do('ALTER SEQUENCE attempts RESTART');
    $a = get($nginx, "/flaky?p1=$state&p2=9");
    is("$a->{rc} $a->{sqlstate} $a->{unknown}", "FAILED $state 0",
        "a statement that fails with $state twice fails");
    is($dbh->selectrow_array('SELECT last_value FROM attempts'), 2,
        "a statement that fails with $state is run twice");
}
$dbh->do('ALTER SEQUENCE attempts RESTART');
is(get($nginx, '/flaky?p1=23505&p2=9')->{sqlstate}, '23505',
    'other errors are not repeated');
is($dbh->selectrow_array('SELECT last_value FROM attempts'), 1,
    'a statement with another error was run once');


# time-out

for my $write ('', '_write') {
    my $begin = time;
    $a = get($nginx, "/late$write");
    is($a->{rc}, 'TIMEOUT', "a time-out$write");
    is($a->{unknown}, $write ? 1 : 0,
        "a time-out$write: unknown outcome of writes only");
    cmp_ok(time - $begin, '<', 2, "a time-out$write comes in time");
}
is(get($nginx, '/one')->{rc}, 'OK', 'the next query after time-outs succeeds');


# canceled, client gone

is(get($nginx, '/canceled')->{rc}, 'canceled', 'a query is canceled, twice');
is(get($nginx, '/one')->{rc}, 'OK', 'the next query after a cancel succeeds');

ok(eventually(sub { !stat_of($nginx)->{busy} }), 'no connection is busy');
$before = stat_of($nginx);
my @gone = map { start($nginx, '/slow') } 1 .. 2;
ok(eventually(sub { stat_of($nginx)->{busy} == 2 }), 'two queries run');
push @gone, start($nginx, '/slow');
ok(eventually(sub { stat_of($nginx)->{waiting} == 1 }), 'a third query waits');
close $_ for @gone;
ok(eventually(sub {
    my $s = stat_of($nginx);
    return $s->{waiting} == 0 && $s->{busy} == 0;
}), 'all clients gone: nothing waits, nothing is busy');
is(stat_of($nginx)->{connects}, $before->{connects},
    'connections whose statements end soon are kept');

@gone = map { start($nginx, '/forever') } 1 .. 2;
ok(eventually(sub {
    2 == $dbh->selectrow_array(q{SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'active'
        AND query = 'SELECT pg_sleep(31)'});
}), 'two more');
close $_ for @gone;
is(get($nginx, '/one')->{rc}, 'OK', 'those that do not are closed');
like($nginx->error_log, qr/closed after.*: timed out/,
    'the log says that a drained connection timed out');


# a bounded queue

ok(eventually(sub { !stat_of($nginx)->{busy} }), 'no connection is busy');
$before = stat_of($nginx);
my @clients;
for (1 .. 8) {
    push @clients, start($nginx, '/slow');
    my $n = @clients;
    eventually(sub {
        my $s = stat_of($nginx);
        return $s->{queries} - $before->{queries} == $n;
    });
}
is(get($nginx, '/alive')->{rc}, 'alive', 'the worker serves others');
my %rc;
$rc{ answer($_)->{rc} }++ for @clients;
is_deeply(\%rc, { OK => 5, BUSY => 3 }, 'two run, three wait, others are told');
is(stat_of($nginx)->{refused} - $before->{refused}, 3,
    'refused queries are counted');

my $max = 0;
@clients = map { start($nginx, '/slow') } 1 .. 5;
eventually(sub {
    my ($n) = $dbh->selectrow_array(q{SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'nginx apikeys'
        AND datname = current_database() AND query NOT LIKE '%(3_)%'});
    $max = $n if $n > $max;
    my $s = stat_of($nginx);
    return $s->{waiting} == 0 && $s->{busy} == 0;
});
answer($_) for @clients;
is($max, 2, 'never more connections than configured');


# the handler runs later: many at once, all over the same connections

@clients = map { start($nginx, "/two?p1=$_&p2=$_") } 1 .. 4;
for my $i (1 .. 4) {
    is(answer($clients[$i - 1])->{lines}[0], "$i|" . ($i + 1) . '|~|~|~|~|~|~|',
        "query $i got its own answer");
}

$nginx->quit;
done_testing();
