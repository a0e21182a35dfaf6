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

my @bad = (
    [ 'nonsense', qr/invalid conninfo: .*nonsense/ ],
    [ 'user=u nosuch=1', qr/invalid conninfo: .*nosuch/ ],
    [ 'host=/tmp dbname=x', qr/the conninfo has no "user="/ ],
    [ 'user=u password=geheim', qr/"password=".*use .*"password_file="/ ],
    [ 'postgresql://u:geheim@127.0.0.1/', qr/"password=".*not allowed/ ],
    [ 'user=u passfile=/x', qr/"passfile=".*"password_file="/ ],
    [ 'user=u sslpassword=geheim', qr/"sslpassword=".*without a password/ ],
    [ 'user=u host=/tmp sslcert=/nowhere', qr/"sslcert=\/nowhere" is not a re/ ],
    [ 'user=u host=/tmp sslkey=/nowhere', qr/"sslkey=\/nowhere" is not a re/ ],
    [ 'user=u host=/tmp sslcrl=/nowhere', qr/"sslcrl=\/nowhere" is not a re/ ],
    [ 'user=u host=/tmp sslcrldir=/nowhere', qr/"sslcrldir=\/nowhere" is not/ ],
    [ 'user=u host=192.0.2.1 sslmode=require sslrootcert=/nowhere',
      qr/"sslrootcert=\/nowhere" is not a readable file/ ],
    [ 'user=u host=192.0.2.1 sslmode=require sslrootcert=system',
      qr/"sslrootcert=system" needs "sslmode=verify-full" and libpq 16/ ],
    [ 'user=u service=x', qr/"service=".*write out/ ],
    [ 'user=u connect_timeout=3', qr/"connect_timeout=".*parameter/ ],
    [ 'user=u client_encoding=LATIN1', qr/"client_encoding=".*UTF8/ ],
    [ 'user=u gssencmode=prefer', qr/"gssencmode="/ ],
    [ 'user=u target_session_attrs=any', qr/it is always "read-write"/ ],
    [ 'user=u host=127.0.0.1 sslmode=prefer',
      qr/"sslmode=prefer" is not allowed: use "verify-full"/ ],
    [ 'user=u host=192.0.2.1 sslmode=allow',
      qr/"sslmode=allow" is not allowed.*"disable"/ ],
    [ 'user=u host=192.0.2.1', qr/"sslmode=verify-full".*"sslrootcert="/ ],
    [ 'user=u host=2001:db8::1', qr/"sslmode=verify-full"/ ],
    [ 'user=u host=127.0.0.1,192.0.2.1', qr/"sslmode=verify-full"/ ],
    [ 'user=u host=192.0.2.1 sslrootcert=/nowhere',
      qr/"sslrootcert=\/nowhere" is not a readable file.*No such file/ ],
    [ "user=u hostaddr=192.0.2.1 sslrootcert=$ca", qr/needs the name/ ],
    [ 'user=u hostaddr=a.test', qr/is not an address/ ],
    [ 'user=u host=/a,/b hostaddr=127.0.0.1', qr/differ in number/ ],
    [ 'user=u host=/a,/b port=1,2,3', qr/differ in number/ ],
    [ 'user=u host=/' . 'x' x 100, qr/too long for a unix socket/ ],
    [ "user=u options='" . 'x' x 600 . "'", qr/"options=".*too long/ ],
);

for (@bad) {
    my ($conninfo, $message) = @$_;
    my ($code, $text) = conninfo($conninfo);
    my $name = length $conninfo > 70 ? substr($conninfo, 0, 70) . '..'
        : $conninfo;
    isnt($code, 0, "refused: $name");
    like($text, $message, "... it says why");
    unlike($text, qr/geheim/, '... without the password')
        if $conninfo =~ /geheim/;
}

done_testing();
