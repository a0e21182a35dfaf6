#!/usr/bin/perl

# Copyright (C) ngx_http_apikeys_module contributors
#
# Rows one by one: none is lost, given twice or out of order (the module of
# the test logs an [alert] then), the event loop keeps turning, a paused
# reader holds the server back, and the four ends: success, the server's
# error, time-out, client gone.

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

my $rows = q{SELECT repeat('r', 500), g FROM generate_series(1, 20000) g};
my $many = q{SELECT repeat('r', 1000), g FROM generate_series(1, 100000) g};

my $nginx = pgtest(
    conninfo => $db->conninfo,
    database => 'connections=1 timeout=20s',
    locations => {
        one => 'pgtest_query "SELECT 1";',
        rows => qq{pgtest_rows "$rows";},
        none => 'pgtest_rows "SELECT 1 WHERE false";',
        wide => q{pgtest_rows "SELECT repeat('w', 3000000), g
                               FROM generate_series(1, 3) g";},
        pause => qq{pgtest_rows "$rows" pause=4000 pause_time=20ms;},
        inline => qq{pgtest_rows "$rows" pause=100 inline;},
        every => qq{pgtest_rows "SELECT 'x', g
                    FROM generate_series(1, 300) g" pause=1 inline;},
        spin => q{pgtest_rows "SELECT 'x', g FROM generate_series(1, 4000) g"
                              spin=100;},
        give_up => qq{pgtest_rows "$rows" fail=5000;},
        stop => qq{pgtest_rows "$rows" stop=5000;},
        stop_first => qq{pgtest_rows "$many" stop=1;},
        canceled => qq{pgtest_rows "$many" pause=50 pause_time=0 cancel=50ms;},
        error => q{pgtest_rows "SELECT 1 / (g - 2000), g
                                FROM generate_series(1, 3000) g";},
        error_first => 'pgtest_rows "SELECT 1 / 0";',
        conflict => q{pgtest_rows "SELECT g, g FROM generate_series(1, 10) g
                                   UNION ALL SELECT broken(), 11";},
        late => q{pgtest_rows "SELECT pg_sleep(g * 0.05), g
                               FROM generate_series(1, 100) g" timeout=400ms;},
        stuck => qq{pgtest_rows "$many" pause=1000 pause_time=60s timeout=2s;},
        slow => qq{pgtest_rows "$many" pause=50 pause_time=60s;},
        alive => 'return 200 "alive\n";',
    });

$db->psql(<<'END');
CREATE FUNCTION broken() RETURNS int LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '40001'; END $$;
END
$nginx->start;


# success

my $a = get($nginx, '/rows');
is("$a->{rc} $a->{rows} $a->{bytes}", 'OK 20000 10000000', 'all rows');
is(get($nginx, '/none')->{rc}, 'OK', 'no rows');
$a = get($nginx, '/wide');
is("$a->{rc} $a->{rows} $a->{bytes}", 'OK 3 9000000', 'wide rows');

$a = get($nginx, '/pause');
is("$a->{rc} $a->{rows} $a->{repeated}", 'OK 20000 5',
    'paused and resumed, each time with the same row');
$a = get($nginx, '/inline');
is("$a->{rc} $a->{rows} $a->{repeated}", 'OK 20000 200',
    'resumed before the pause began');
$a = get($nginx, '/every');
is("$a->{rc} $a->{rows} $a->{repeated}", 'OK 300 300', 'a pause at every row');

$a = get($nginx, '/spin');
is("$a->{rc} $a->{rows}", 'OK 4000', 'a reader that needs 0.4 s');
cmp_ok($a->{ticks}, '>', 20, 'timers run while a reader needs 0.4 s');

my $spin = start($nginx, '/spin');
my $begin = time;
my $alive = 0;
while (time - $begin < 0.3) {
    $alive++ if get($nginx, '/alive')->{rc} eq 'alive';
}
cmp_ok($alive, '>', 4, 'other requests are served while a reader is busy');
is(answer($spin)->{rows}, 4000, 'a reader that needs 0.4 s gets all rows');


# the server's error

$a = get($nginx, '/error');
is("$a->{rc} $a->{sqlstate} $a->{rows}", 'FAILED 22012 1999',
    'an error after rows');
is(get($nginx, '/error_first')->{sqlstate}, '22012',
    'an error instead of rows');
$a = get($nginx, '/conflict');
is("$a->{rc} $a->{sqlstate} $a->{rows}", 'FAILED 40001 10',
    'a conflict after rows is not repeated: they were given');


# given up, canceled

$a = get($nginx, '/give_up');
is("$a->{rc} $a->{rows} $a->{unknown}", 'CANCELED 5000 0',
    'the reader gives up');
is(get($nginx, '/one')->{rc}, 'OK',
    'the connection serves the next query after a reader gave up');
is(get($nginx, '/stop')->{rc}, 'stopped', 'canceled in the row handler');
is(get($nginx, '/one')->{rc}, 'OK',
    'the connection serves the next query after a cancel in a handler');
is(get($nginx, '/stop_first')->{rc}, 'stopped', 'canceled at once');
is(get($nginx, '/one')->{rc}, 'OK',
    'the connection serves the next query after a cancel at once');


# time-out

$a = get($nginx, '/late');
is($a->{rc}, 'TIMEOUT', 'rows that come too late');
is(get($nginx, '/one')->{rc}, 'OK', 'the next query after late rows succeeds');


# a pause holds the server back: it cannot send what nobody reads

my $slow = start($nginx, '/slow');
ok(eventually(sub {
    $db->dbh->selectrow_array(q{SELECT wait_event FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event = 'ClientWrite'});
}), 'a paused reader: the server waits');

my ($worker) = $nginx->workers;
open my $f, '<', "/proc/$worker/statm" or die;
my $resident = (split ' ', <$f>)[1] * 4096;
SKIP: {
    skip 'tools keep what is freed', 1
        if $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND};
    cmp_ok($resident, '<', 100_000_000,
        'memory does not grow while a reader pauses');
}

my $cpu = sub {
    open my $f, '<', "/proc/$worker/stat" or die;
    my @f = split ' ', <$f> =~ s/^.*\) //sr;
    return $f[11] + $f[12];
};
my $before = $cpu->();
select undef, undef, undef, 1;     # nothing to wait for: ticks in a second
cmp_ok($cpu->() - $before, '<', 20,
    'the worker is idle while a reader pauses');


# client gone

close $slow;
ok(eventually(sub { !stat_of($nginx)->{busy} }), 'client gone in a pause');
is(get($nginx, '/one')->{rc}, 'OK',
    'the next query after a client left in a pause succeeds');

$a = get($nginx, '/stuck');
is("$a->{rc} $a->{rows}", 'TIMEOUT 999', 'a pause that is too long');
is(get($nginx, '/one')->{rc}, 'OK',
    'the next query after a long pause succeeds');

for (1 .. 3) {
    my $client = start($nginx, '/spin');
    ok(eventually(sub { stat_of($nginx)->{busy} == 1 }), 'rows are read');
    close $client;
    ok(eventually(sub { !stat_of($nginx)->{busy} }),
        'a client that leaves ends its query');
    is(get($nginx, '/one')->{rc}, 'OK',
        'the next query after a client left succeeds');
}

$nginx->quit;
done_testing();
