#!/usr/bin/perl

# Copyright (C) ngx_http_apikeys_module contributors
#
# A pool that listens: it connects by itself, tells of notifications and of
# its losses, comes back after each, and notices a connection that is dead
# without saying so.

use strict;
use warnings;

use Test::More;

use File::Basename qw( dirname );
use lib dirname(__FILE__) . '/lib';

use ApiKeys::Pg ();
use ApiKeys::PgTest qw( pgtest start answer get stat_of eventually );


my $pg = ApiKeys::Pg->new(own => 1);
my $db = $pg->database(schema => 0);

my $nginx = pgtest(
    conninfo => $db->conninfo,
    database => 'connections=1 connect_timeout=1s timeout=5s listen=news',
    locations => {
        one => 'pgtest_query "SELECT 1" listener;',
        notify => 'pgtest_query "SELECT pg_notify(\'news\', \'x\')";',
        self => 'pgtest_query "SELECT pg_notify(\'news\', \'x\')" listener;',
        slow => 'pgtest_query "SELECT pg_sleep(0.5)" listener;',
        rows => q{pgtest_rows "SELECT 'x', g FROM generate_series(1, 9) g"
                              listener;},
        late => 'pgtest_query "SELECT pg_sleep(30)" listener timeout=300ms;',
        gone => 'pgtest_query "SELECT pg_sleep(31)" listener;',
        fail => 'pgtest_query "SELECT 1/0" listener;',
    });
$nginx->start;

sub notified { return stat_of($nginx)->{notified} }

# loses: what is to be lost by the code is, once more than before, and it
# listens again; a machine that stands still for a second loses another one
sub loses {
    my ($code, $lost, $again, $timeout) = @_;

    my $before = stat_of($nginx);
    $code->();
    ok(eventually(sub { stat_of($nginx)->{closed} > $before->{closed} },
        $timeout), $lost);
    return sub {
        ok(eventually(sub { notified() > $before->{notified} }), $again);
    };
}

sub listener {
    return scalar $db->dbh->selectrow_array(q{SELECT pid FROM pg_stat_activity
        WHERE datname = current_database()
        AND application_name = 'nginx apikeys listener'});
}


ok(eventually(sub { notified() == 1 }),
    'the handler is called once LISTEN has succeeded');
is(stat_of($nginx)->{l_open}, 1, 'one connection listens');

$db->dbh->do(q{NOTIFY news});
ok(eventually(sub { notified() == 2 }), 'a notification is delivered');
$db->dbh->do(q{NOTIFY other});
is(get($nginx, '/notify')->{rc}, 'OK',
    'a connection of the pool sends a notification');
ok(eventually(sub { notified() == 3 }),
    'a notification of another channel is not delivered');

is(get($nginx, '/one')->{rc}, 'OK', 'the listening connection runs queries');
is(get($nginx, '/rows')->{rows}, 9,
    'the listening connection runs queries with rows');
is(get($nginx, '/fail')->{rc}, 'FAILED',
    'the listening connection reports errors of queries');

my $slow = start($nginx, '/slow');
ok(eventually(sub { stat_of($nginx)->{l_busy} }),
    'the listening connection is busy with a slow query');
$db->dbh->do(q{NOTIFY news});
is(answer($slow)->{rc}, 'OK',
    'a slow query on the listening connection is answered');
ok(eventually(sub { notified() == 4 }),
    'a notification is delivered after the slow query');
is(get($nginx, '/self')->{rc}, 'OK',
    'the listening connection sends a notification');
ok(eventually(sub { notified() == 5 }),
    'a notification that the listening connection sent is delivered');

is(stat_of($nginx)->{closed}, 0, 'no connection has been closed');
my $pid = listener();
loses(sub { $db->dbh->do("SELECT pg_terminate_backend($pid)") },
    'a terminated LISTEN connection is noticed',
    'LISTEN again after a terminated connection')->();
my $heard = notified();
$db->dbh->do(q{NOTIFY news});
ok(eventually(sub { notified() > $heard }),
    'a notification is delivered after the reconnect');

loses(sub {
    is(answer(start($nginx, '/late'))->{rc}, 'TIMEOUT', 'a time-out');
}, 'a timeout closes the connection', 'LISTEN again after a timeout')->();

$slow = start($nginx, '/gone');
ok(eventually(sub {
    $db->dbh->selectrow_array(q{SELECT count(*) FROM pg_stat_activity
        WHERE state = 'active' AND query = 'SELECT pg_sleep(31)'});
}), 'a client');
loses(sub { close $slow }, 'a client that left: the connection is closed',
    'LISTEN again after a client left')->();

delete $db->{dbh};
my $again = loses(sub { $pg->stop('immediate') }, 'the server is gone',
    'LISTEN again after a restart of the server');
$pg->start;
$again->();


# frozen: nothing comes, not even an error

my $other = pgtest(conninfo => $db->conninfo . ' application_name=other',
    database => 'connect_timeout=1s listen=news');
$other->start;
$pid = listener();
$again = loses(sub { kill 'STOP', $pid },
    'a connection that died silently is noticed',
        'a connection that died silently is replaced', 30);
like($nginx->error_log, qr/closed after.*: timed out/,
    'the log says that the connection timed out');
$again->();

ok(eventually(sub {
    $db->dbh->selectrow_array(q{SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'other listener' AND query = ''});
}, 30), 'an idle LISTEN connection is pinged');
is(stat_of($other)->{closed}, 0,
    'an idle LISTEN connection that answers is kept');

$other->quit(5);
$nginx->quit(5);
kill 'KILL', $pid;     # takes the server with it
is(scalar(() = $nginx->error_log =~ /\[error\].*no database host/g), 1,
    'each loss of the server is one error in the log');
done_testing();
