# What a load balancer asks: 200 while the node can decide by the terms of the
# location, else 503 with a line that says why.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use ApiKeys::Pg ();
use Test::More;

my $pg = ApiKeys::Pg->new(own => 1);
my $f = ApiKeys::Fixture->new(pg => $pg, http => 'apikeys_sync poll=100ms;',
    server => <<'END');
        location = /health { apikeys_status health; }
        location = /soon { apikeys_stale 1s; apikeys_status health; }
        location = /late { apikeys_stale 1s expired=allow;
                           apikeys_status health; }
        location = /in { apikeys_stale 1s; apikeys_auth basic; empty_gif; }
        location = /status { apikeys_status; }
END

sub health {
    my ($uri, $method) = @_;

    my $client = $f->client;
    my $res = $client->plain($method || 'GET', $uri);
    $client->close;
    return join ' ', $res->code, $res->{body} =~ s/\d+(?= ms)/N/gr;
}

my $org = $f->org;

is(health($_), "200 ok\n", "$_: the node can decide")
    for qw( /health /soon /late );
is(health('/health', 'HEAD'), '200 ', 'HEAD');
like(health('/health', 'POST'), qr/^405 /, 'POST');

$pg->stop;
$f->nginx->wait_for(sub { health('/soon') =~ /^503/ }, 30, 'the age');
is(health('/soon'), "503 no contact to the database for N ms, "
    . "apikeys_stale is N ms\n", 'older than the location allows');
is(health('/soon', 'HEAD'), '503 ', 'HEAD');
is(health('/late'), "200 ok\n", 'expired=allow decides all the same');
is(health('/health'), "200 ok\n", 'so does a location with more time');
is($f->client->plain('GET', '/status')->code, 200, 'the status is always 200');

$f->nginx->stop;
$f->nginx->start;
is(health('/health'), "503 keys are not loaded\n",
    'a node that starts without the database');
is(health('/late'), "503 keys are not loaded\n", 'whatever the location says');

$pg->start;
$f->nginx->wait_for(sub { health('/health') =~ /^200/ }, 60, 'the load');
is(health('/soon'), "200 ok\n", 'and once it has loaded');

done_testing();
