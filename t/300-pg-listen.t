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


ok(eventually(sub { notified() == 1 }), 'it listens, and says so');
is(stat_of($nginx)->{l_open}, 1, '... on one connection');

$db->dbh->do(q{NOTIFY news});
ok(eventually(sub { notified() == 2 }), 'a notification');
$db->dbh->do(q{NOTIFY other});
is(get($nginx, '/notify')->{rc}, 'OK', 'from a connection of the pool');
ok(eventually(sub { notified() == 3 }), '... one is heard of, not the other');

is(get($nginx, '/one')->{rc}, 'OK', 'it serves queries as well');
is(get($nginx, '/rows')->{rows}, 9, '... with rows');
is(get($nginx, '/fail')->{rc}, 'FAILED', '... and errors');

my $slow = start($nginx, '/slow');
ok(eventually(sub { stat_of($nginx)->{l_busy} }), 'it is busy');
$db->dbh->do(q{NOTIFY news});
is(answer($slow)->{rc}, 'OK', '... and answers');
ok(eventually(sub { notified() == 4 }), '... and then hears');
is(get($nginx, '/self')->{rc}, 'OK', 'notified by itself');
ok(eventually(sub { notified() == 5 }), '... is notified');

is(stat_of($nginx)->{closed}, 0, 'it was never lost');
my $pid = listener();
loses(sub { $db->dbh->do("SELECT pg_terminate_backend($pid)") },
    'terminated: it says so', '... and listens again')->();
my $heard = notified();
$db->dbh->do(q{NOTIFY news});
ok(eventually(sub { notified() > $heard }), '... really');

loses(sub {
    is(answer(start($nginx, '/late'))->{rc}, 'TIMEOUT', 'a time-out');
}, '... closes it', '... and it listens again')->();

$slow = start($nginx, '/gone');
ok(eventually(sub {
    $db->dbh->selectrow_array(q{SELECT count(*) FROM pg_stat_activity
        WHERE state = 'active' AND query = 'SELECT pg_sleep(31)'});
}), 'a client');
loses(sub { close $slow }, '... gone: closed', '... and it listens again')->();

delete $db->{dbh};
my $again = loses(sub { $pg->stop('immediate') }, 'the server is gone',
    '... and back: it listens again');
$pg->start;
$again->();


# frozen: nothing comes, not even an error

my $other = pgtest(conninfo => $db->conninfo . ' application_name=other',
    database => 'connect_timeout=1s listen=news');
$other->start;
$pid = listener();
$again = loses(sub { kill 'STOP', $pid },
    'a connection that died silently is noticed', '... and replaced', 30);
like($nginx->error_log, qr/it does not answer in time/, '... and why');
$again->();

ok(eventually(sub {
    $db->dbh->selectrow_array(q{SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'other listener' AND query = ''});
}, 30), 'one that is alive is asked');
is(stat_of($other)->{closed}, 0, '... and kept');

$other->quit(5);
$nginx->quit(5);
kill 'KILL', $pid;     # takes the server with it
is(scalar(() = $nginx->error_log =~ /\[error\].*unavailable/g), 1,
    'one error a change of state');
done_testing();
