#!/usr/bin/perl

# Copyright (C) ngx_http_apikeys_module contributors
#
# TLS and passwords: what a certificate must be, SCRAM, large results and
# parameters over TLS (decrypted bytes that no event tells of), failures.

use strict;
use warnings;

use Test::More;

use File::Basename qw( dirname );
use lib dirname(__FILE__) . '/lib';

use ApiKeys::Pg ();
use ApiKeys::PgTest qw( pgtest start answer get stat_of eventually );


my $pg = ApiKeys::Pg->new(own => 1, ssl => 1, auth => 'scram-sha-256');
my $db = $pg->database(schema => 0);
my $password = q{p'w "x\\ =%41;};
$db->dbh->do('CREATE ROLE scram LOGIN PASSWORD ' . $db->dbh->quote($password));

my $port = $pg->port;
my $ca = $pg->ca;
my $name = $db->name;
(my $quoted = $password) =~ s/(["\\])/\\$1/g;
my $login = qq{"password=$quoted"};

my $locations = {
    one => 'pgtest_query "SELECT ssl, version FROM pg_stat_ssl
                          WHERE pid = pg_backend_pid()";',
    echo => 'pgtest_query "SELECT $1::text" params=1;',
    size => q{pgtest_query "SELECT repeat('x', $1::int)" params=1;},
    rows => q{pgtest_rows "SELECT repeat('y', 997), g
                           FROM generate_series(1, 10000) g"
                          pause=3000 pause_time=10ms;},
    fail => 'pgtest_query "SELECT 1/0";',
    late => 'pgtest_query "SELECT pg_sleep(30)" timeout=300ms;',
    slow => 'pgtest_query "SELECT pg_sleep(0.4)";',
    tls => 'proxy_pass https://127.0.0.1:%%PORT_1%%/;',
};

sub nginx {
    my ($conninfo, $parameters) = @_;

    return pgtest(
        conninfo => "port=$port user=scram dbname=$name $conninfo",
        database => 'timeout=10s ' . ($parameters // $login),
        http => <<"END", locations => $locations)->start;
server {
    listen 127.0.0.1:%%PORT_1%% ssl;
    ssl_certificate @{[ $pg->dir ]}/server.crt;
    ssl_certificate_key @{[ $pg->dir ]}/server.key;
    location / { return 200 "proxied\\n"; }
}
END
}


my $nginx = nginx("host=localhost sslmode=verify-full sslrootcert=$ca");

my $a = get($nginx, '/one');
is($a->{rc}, 'OK', 'verify-full, with SCRAM');
like($a->{lines}[0], qr/^t\|TLSv1\.3\|/,
    'verify-full: the connection is encrypted');

# 8 KB records and their neighbors, and whatever may stay inside OpenSSL
my @sizes = (1, 8000 .. 8400, 16000 .. 16100, 16350 .. 16420, 32700 .. 32800,
    65500 .. 65560);
my @wrong = grep {
    $a = get($nginx, "/size?p1=$_");
    $a->{rc} ne 'OK' || $a->{bytes} != $_;
} grep { $_ % 3 == 1 } @sizes;
is("@wrong", '', 'results of all sizes');

$a = get($nginx, '/size?p1=20000000');
is("$a->{rc} $a->{bytes}", 'OK 20000000', 'a large result');
$a = get($nginx, '/echo?size=5000000');
is("$a->{rc} $a->{bytes}", 'OK 5000000', 'a large parameter');
$a = get($nginx, '/rows');
is("$a->{rc} $a->{rows} $a->{repeated}", 'OK 10000 3', 'rows, paused');
is(get($nginx, '/fail')->{sqlstate}, '22012', 'an error');
is(get($nginx, '/late')->{rc}, 'TIMEOUT', 'a time-out');

my $client = start($nginx, '/slow');
ok(eventually(sub { stat_of($nginx)->{busy} }), 'a client');
close $client;
ok(eventually(sub { !stat_of($nginx)->{busy} }),
    'the query of a client that left ends');

my $before = stat_of($nginx)->{open};
$db->dbh->do(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = 'scram'});
ok(eventually(sub { stat_of($nginx)->{open} == 0 }), "$before terminated");
is(get($nginx, '/one')->{rc}, 'OK',
    'a query succeeds after the backends were terminated');

# what OpenSSL has in its queue must not be taken for nginx's own errors
for (1 .. 5) {
    is(get($nginx, '/tls')->{rc}, 'proxied', "nginx's own TLS");
    $db->dbh->do(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE usename = 'scram'});
    is(get($nginx, '/one')->{rc}, 'OK',
        "libpq's TLS works beside nginx's own");
}
$nginx->quit(5);
unlike($nginx->error_log, qr/\Q$password\E|p'w/, 'no password in the log');
my $dump = $nginx->dump_conf;
is($nginx->error_text =~ /\[alert\]/ ? 1 : 0, 0, 'nothing alarming');


my @good = (
    [ 'verify-ca, by address',
      "host=127.0.0.1 sslmode=verify-ca sslrootcert=$ca", 't' ],
    [ 'require, without a CA', 'host=127.0.0.1 sslmode=require', 't' ],
    [ 'verify-full, name and address',
      "host=localhost hostaddr=127.0.0.1 sslmode=verify-full sslrootcert=$ca",
      't' ],
    [ 'a unix socket', 'host=' . $pg->dir, 'f' ],
);
for (@good) {
    my ($title, $conninfo, $ssl) = @$_;
    my $nginx = nginx($conninfo);
    $a = get($nginx, '/one');
    is(substr($a->{lines}[0] // $a->{message}, 0, 1), $ssl, $title);
    $nginx->quit(5);
}

my $other = $nginx->write_file('other.crt', do {
    local (@ARGV, $/) = $pg->dir . '/server.crt';
    scalar <>;
}, 0644);

my @bad = (
    [ 'a certificate of another name',
      "host=127.0.0.1 sslmode=verify-full sslrootcert=$ca", undef,
      qr/does not match host name/ ],
    [ 'a certificate of another CA',
      "host=localhost sslmode=verify-full sslrootcert=$other", undef,
      qr/certificate verify failed/ ],
    [ 'no TLS where the server wants it', 'host=127.0.0.1 sslmode=disable',
      undef, qr/no pg_hba\.conf entry/ ],
    [ 'a wrong password', 'host=localhost sslmode=require',
      '"password=wrong"', qr/password authentication failed/ ],
    [ 'no password', 'host=localhost sslmode=require', '',
      qr/no password supplied/ ],
);
for (@bad) {
    my ($title, $conninfo, $parameters, $message) = @$_;
    my $nginx = nginx($conninfo, $parameters);
    $a = get($nginx, '/one');
    is($a->{rc}, 'UNAVAILABLE', $title);
    like($a->{message}, $message, "$title: the message has the reason");
    is(get($nginx, '/one')->{rc}, 'UNAVAILABLE',
        "$title: each time") for 1 .. 2;
    $nginx->quit(5);
    is(scalar(() = $nginx->error_log =~ /\[error\]/g), 1,
        "$title: one [error] in the log");
    unlike($nginx->error_log, qr/wrong/,
        "$title: the log does not show the password")
        if $title eq 'a wrong password';
}

done_testing();
