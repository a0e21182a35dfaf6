#!/usr/bin/perl

# Copyright (C) ngx_http_apikeys_module contributors
#
# Several hosts, several addresses: the first that is up and can be written
# to serves, a standby never does, a promotion is followed.  Names go to
# nginx's resolver, or are looked up when the configuration is read.

use strict;
use warnings;

use IO::Socket::INET ();
use POSIX ();
use Test::More;
use Time::HiRes qw( time );

use File::Basename qw( dirname );
use lib dirname(__FILE__) . '/lib';

use ApiKeys::Pg ();
use ApiKeys::PgTest qw( pgtest start answer get stat_of eventually );


my $location = { one => 'pgtest_query "SELECT current_setting(\'port\')";',
    write => 'pgtest_query "SELECT current_setting(\'port\')" write;',
    alive => 'return 200 "alive\n";' };

my $a = ApiKeys::Pg->new(own => 1, tcp => 1);
my $b = ApiKeys::Pg->new(own => 1, tcp => 1);
my ($pa, $pb) = ($a->port, $b->port);
my $none = do {
    my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1');
    $s->sockport;
};

sub port {
    my ($nginx, $uri) = @_;
    my $answer = get($nginx, $uri || '/one');
    return $answer->{rc} eq 'OK' ? (split /\|/, $answer->{lines}[0])[0]
        : $answer->{rc};
}

# the second cluster becomes a standby, of nobody
$b->stop;
{
    open my $f, '>', $b->dir . '/data/standby.signal' or die;
    close $f;
}
$b->start;

my $base = 'user=postgres dbname=postgres';
my $nginx = pgtest(
    conninfo => "$base host=127.0.0.1,127.0.0.1,127.0.0.1 port=$none,$pb,$pa",
    database => 'connections=2 connect_timeout=1s timeout=5s',
    locations => $location);
$nginx->start;

is(port($nginx), $pa, 'one is down, one is a standby, the third serves');
my $log = $nginx->error_log;
like($log, qr/\[warn\].*127\.0\.0\.1:$none: .*Connection refused/,
    'the log has a warning of the host that is down');
like($log, qr/\[info\].*127\.0\.0\.1:$pb: server is a standby/,
    'the log has the standby at info');
unlike($log, qr/\[error\]/,
    'a host that is down beside a good one is no error');

my $before = stat_of($nginx);
my @clients = map { start($nginx, '/one') } 1 .. 8;
is(answer($_)->{rc}, 'OK', 'more connections') for @clients;
is(stat_of($nginx)->{failures}, $before->{failures},
    'further connections begin with the good host');

$a->stop('fast');
is(port($nginx), 'UNAVAILABLE', 'the primary is gone, the standby is no help');
my $dbh = DBI->connect($b->_dsn('postgres'), '', '', { RaiseError => 1 });
$dbh->do('SELECT pg_promote()');
ok(eventually(sub { port($nginx) eq $pb }), 'a promotion is followed');
is(port($nginx, '/write'), $pb, 'writes follow a promotion');

$dbh->do('ALTER SYSTEM SET default_transaction_read_only = on');
$dbh->do('SELECT pg_reload_conf()');
$a->start;
$dbh->do(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'nginx apikeys'});
ok(eventually(sub { port($nginx) eq $pa }),
    'a primary that was made read-only is left');

# frozen: nothing but the time-out tells
$nginx->reload;
is(port($nginx), $pa, 'after a reload');
$b->signal_all('STOP');
$nginx->configure(http => qq{pgtest_database
    "$base host=127.0.0.1,127.0.0.1 port=$pb,$pa" connect_timeout=700ms;\n});
$nginx->reload;
my $begin = time;
my $client = start($nginx, '/one');
is(get($nginx, '/alive')->{rc}, 'alive', 'the first host is frozen: no wait');
is(answer($client)->{rc}, 'OK',
    'the second host serves while the first is frozen');
my $took = time - $begin;
ok($took > 0.6 && $took < 3,
    'the second host is tried after connect_timeout of the first');
$b->signal_all('CONT');

# unix sockets, localhost
$nginx->configure(http => qq{pgtest_database "$base host=}
    . $a->dir . qq{ port=$pa";\n});
$nginx->reload;
is(port($nginx), $pa, 'a unix socket');
$nginx->configure(http => qq{pgtest_database
    "$base host=localhost port=$pa";\n});
$nginx->reload;
is(port($nginx), $pa, 'a name, looked up at configuration');
$nginx->quit(10);


# a resolver: a server of names that answers what the test says

my $dns = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1')
    or die;
my %names = (
    'good.test' => [ '127.0.0.1' ],
    'two.test' => [ '127.0.0.9', '127.0.0.1' ],
    'silent.test' => undef,
);
my $server = fork // die;
if ($server == 0) {
    $SIG{$_} = sub { POSIX::_exit(0) } for qw( TERM ALRM );
    alarm 120;
    while (defined $dns->recv(my $query, 512)) {
        my ($name, $pos) = ('', 12);
        while (my $n = ord substr $query, $pos, 1) {
            $name .= '.' if length $name;
            $name .= substr $query, $pos + 1, $n;
            $pos += $n + 1;
        }
        next if exists $names{$name} && !$names{$name};
        my @addrs = @{ $names{$name} || [] };
        $dns->send(pack('a2 n5', substr($query, 0, 2),
                @addrs ? 0x8180 : 0x8183, 1, scalar @addrs, 0, 0)
            . substr($query, 12, $pos + 5 - 12)
            . join '', map { pack 'n3 N n a4', 0xc00c, 1, 1, 1, 4,
                pack 'C4', split /\./ } @addrs);
    }
    POSIX::_exit(0);
}

sub named {
    my ($host, $timeout) = @_;

    return pgtest(
        conninfo => "$base host=$host port=$pa sslmode=disable",
        database => 'connect_timeout=' . ($timeout || '2s') . ' timeout=8s',
        http => 'resolver 127.0.0.1:' . $dns->sockport . " ipv6=off;\n",
        locations => $location)->start;
}

for my $name (qw( good.test two.test )) {
    my $nginx = named($name);
    is(port($nginx), $pa, "$name: through the resolver") for 1 .. 2;
    $nginx->quit(5);
}

$nginx = named('good.test');
kill 'STOP', $server;
$client = start($nginx, '/one');
ok(eventually(sub { stat_of($nginx)->{waiting} }), 'a name that takes time');
close $client;
ok(eventually(sub { !stat_of($nginx)->{waiting} }),
    'a query that waits for a name ends with its client');
$client = start($nginx, '/one');
is(get($nginx, '/alive')->{rc}, 'alive',
    'others are served while a name is being resolved');
kill 'CONT', $server;
is(answer($client)->{rc}, 'OK', 'a query succeeds when the name is resolved');
$nginx->quit(5);

$nginx = named('unknown.test');
is(port($nginx), 'UNAVAILABLE', 'a name that there is not');
like($nginx->error_log, qr/unknown\.test: .*Host not found/,
    'the log says that the host was not found');
$nginx->quit(5);

$nginx = named('silent.test', '500ms');
is(port($nginx), 'UNAVAILABLE', 'a server of names that does not answer');
like($nginx->error_log, qr/silent\.test: .*timed out/,
    'the log says that resolving timed out');
$client = start($nginx, '/one');
ok(eventually(sub { stat_of($nginx)->{waiting} }), 'asked again');
close $client;
$nginx->quit(5);

$nginx = pgtest(conninfo => "$base host=nowhere.test sslmode=disable",
    locations => $location)->start;
is(port($nginx), 'UNAVAILABLE', 'no resolver, no address');
like($nginx->error_text, qr/host "nowhere\.test" in .* cannot be resolved/,
    'nginx has warned that the host cannot be resolved');
$nginx->quit(5);

kill 'TERM', $server;
waitpid $server, 0;
done_testing();
