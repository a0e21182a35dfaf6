#!/usr/bin/perl

# Copyright (C) ngx_http_apikeys_module contributors
#
# What a conninfo may say: whatever a worker could only fail on is an error
# of nginx -t that tells what to do, and shows no password.

use strict;
use warnings;

use Test::More;

use File::Basename qw( dirname );
use lib dirname(__FILE__) . '/lib';

use ApiKeys::PgTest qw( pgtest );


my $nginx = pgtest(conninfo => 'user=u');

# "nginx -t" leaves its memory to the system
$ENV{ASAN_OPTIONS} .= ':detect_leaks=0' if $ENV{APIKEYS_TEST_ASAN};

sub conninfo {
    my ($conninfo) = @_;

    $nginx->configure(http => qq{pgtest_database "$conninfo";\n});
    return $nginx->test;
}


my $ca = $nginx->write_file('ca.crt', '');
my $dir = $nginx->dir;

my @good = (
    'user=u',
    'user=u host=/tmp',
    'user=u host=/tmp,/var/tmp port=5432,5433',
    'user=u host=127.0.0.1',
    'user=u host=localhost',
    'user=u hostaddr=::1',
    'user=u host=192.0.2.1 sslmode=disable',
    'user=u host=192.0.2.1 sslmode=require',
    "user=u host=192.0.2.1 sslrootcert=$ca",
    "user=u hostaddr=192.0.2.1 sslmode=verify-ca sslrootcert=$ca",
    "user=u host=a.test hostaddr=192.0.2.1 sslrootcert=$ca",
    "user=u host=/tmp,192.0.2.1 sslrootcert=$ca",
    'postgresql://u@127.0.0.1:5433/db?application_name=x',
    'user=u target_session_attrs=read-write gssencmode=disable',
    "user=u options='-c work_mem=8MB'",
    "user=u host=192.0.2.1 sslrootcert=$ca sslcrl=$ca sslcert=$ca sslkey=$ca",
    "user=u host=192.0.2.1 sslrootcert=$ca sslcrldir=$dir",
    'user=u host=192.0.2.1 sslmode=require sslkey=pkcs11:object=x',
);

for my $conninfo (@good) {
    my ($code, $text) = conninfo($conninfo);
    is($code, 0, "taken: $conninfo") or diag $text;
}

my $string = qr/the connection string of "apikeys_database"/;
my ($code, $text) = conninfo('user=u host=nowhere.test sslmode=disable');
is($code, 0, 'taken: a host that is not found');
like($text, qr/\[warn\] host "nowhere.test" in "apikeys_database" cannot be resol/,
    'a host that is not found gives a warning');
like($text, qr/will not connect to this host unless "resolver" is set in the/,
    'the warning about a host names the directive resolver');

my @bad = (
    [ 'nonsense', 
      qr/string in "apikeys_database": .*nonsense.* in \S+nginx.conf:\d+$/m ],
    [ 'user=u nosuch=1', qr/invalid connection string in .*: .*nosuch/ ],
    [ 'host=/tmp dbname=x', qr/$string has no "user=": name nginx's role/ ],
    [ 'user=u password=geheim',
      qr/"password=" is not allowed in $string: use "password_file=" of the/ ],
    [ 'postgresql://u:geheim@127.0.0.1/', qr/"password=" is not allowed/ ],
    [ 'user=u passfile=/x', qr/"passfile=" is not .*: use "password_file="/ ],
    [ 'user=u sslpassword=geheim',
      qr/"sslpassword=" is not .*: use a key without a password that only/ ],
    (map { [ "user=u host=/tmp $_=/nowhere",
      qr/"$_=\/nowhere" in "apikeys_database" does not exist or cannot be re/ ] }
      qw( sslcert sslkey sslcrl sslcrldir )),
    [ 'user=u host=192.0.2.1 sslmode=require sslrootcert=/nowhere',
      qr/"sslrootcert=\/nowhere" in "apikeys_database" does not exist or/ ],
    [ 'user=u host=192.0.2.1 sslmode=require sslrootcert=system',
      qr/"sslrootcert=system" in .* needs "sslmode=verify-full" and libpq 16 / ],
    [ 'user=u host=192.0.2.1 sslmode=require sslrootcert=system',
      qr/this is "sslmode=require" and libpq \d+/ ],
    [ 'user=u service=x', qr/"service=" is not .*: name "host=", "dbname=" and/ ],
    [ 'user=u connect_timeout=3',
      qr/"connect_timeout=" is not .*: use "connect_timeout=" of the directive/ ],
    [ 'user=u client_encoding=LATIN1',
      qr/"client_encoding=" is not .*: remove .*, the encoding is always UTF8/ ],
    [ 'user=u gssencmode=prefer', qr/"gssencmode=" is not .*, use TLS/ ],
    [ 'user=u target_session_attrs=any',
      qr/remove the parameter, only "read-write" is possible/ ],
    [ 'user=u host=127.0.0.1 sslmode=prefer',
      qr/"sslmode=prefer" is not allowed in .*: use "verify-full"/ ],
    [ 'user=u host=192.0.2.1 sslmode=allow',
      qr/"sslmode=allow" is not .*\("verify-ca" and "require" check less\)/ ],
    [ 'user=u host=192.0.2.1',
      qr/"sslmode=verify-full" for host "192.0.2.1" in .*"sslrootcert=" \(a / ],
    [ 'user=u host=192.0.2.1 sslmode=verify-ca',
      qr/"sslmode=verify-ca" for host .*loopback "verify-full" is the default/ ],
    [ 'user=u host=2001:db8::1', qr/"sslmode=verify-full" for host "2001:d/ ],
    [ 'user=u host=127.0.0.1,192.0.2.1', qr/"sslmode=verify-full" for host "1/ ],
    [ 'user=u host=192.0.2.1 sslrootcert=/nowhere',
      qr/"sslrootcert=\/nowhere" .*stat\(\) failed .*No such file/ ],
    [ "user=u hostaddr=192.0.2.1 sslrootcert=$ca",
      qr/needs "host=" beside "hostaddr=192.0.2.1": the name in the server's/ ],
    [ 'user=u hostaddr=a.test',
      qr/"hostaddr=a.test" in .* is not an IP address: use "host=" for a name/ ],
    [ 'user=u host=/a,/b hostaddr=127.0.0.1',
      qr/must have the same number of values, or one port: have 2, 1 and 0/ ],
    [ 'user=u host=/a,/b port=1,2,3', qr/or one port: have 2, 0 and 3/ ],
    [ 'user=u host=/' . 'x' x 100,
      qr/too long for the directory of a unix socket: at most \d+ bytes/ ],
    [ "user=u options='" . 'x' x 600 . "'",
      qr/"options=" in $string has 600 bytes, at most 512 are possible/ ],
);

for (@bad) {
    my ($conninfo, $message) = @$_;
    my ($code, $text) = conninfo($conninfo);
    my $name = length $conninfo > 70 ? substr($conninfo, 0, 70) . '..'
        : $conninfo;
    isnt($code, 0, "refused: $name");
    like($text, $message, "refused with the reason: $name");
    unlike($text, qr/geheim/, "refused without showing the password: $name")
        if $conninfo =~ /geheim/;
}

done_testing();
