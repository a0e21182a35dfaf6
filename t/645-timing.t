# A key that does not exist costs what a wrong secret costs: nobody learns
# from the clock which public keys there are.  Counted in instructions, by
# callgrind, of requests that differ in nothing but eight letters; with
# APIKEYS_TEST_TIMING=N also measured, in N pairs of requests a scheme.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib", "$FindBin::Bin/../bench/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use Bench::Server ();
use File::Temp qw( tempdir );
use List::Util qw( min shuffle sum );
use MIME::Base64 qw( encode_base64 );
use Test::More;
use Time::HiRes qw( clock_gettime CLOCK_MONOTONIC );

my $pairs = $ENV{APIKEYS_TEST_TIMING};

plan skip_all => 'counts instructions of the module that is installed'
    if $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND};
plan skip_all => 'no callgrind'
    if grep { system("command -v $_ >/dev/null") } qw( valgrind vgdb );

# Of the work of two requests, which is 28,000 to 55,000: what hash chains of
# other lengths may make, and a timer of nginx's.  Sixty or so are seen; without
# the verification it would be 3,300 and more.
my $tolerance = 300;

my $n = 20;         # keys, and as many that do not exist
my $f = ApiKeys::Fixture->new(log_level => 'notice');
my $org = $f->org;
my @known = map { $f->key($org, 'ORG_READ_ONLY')->{publicKey} } 1 .. $n;
my @unknown = map { join '', map { chr ord('a') + int rand 26 } 1 .. 8 }
    1 .. $n;

my $dir = tempdir('ak-timing-XXXXXX', DIR => '/tmp', CLEANUP => 1);
chmod 0755, $dir;
$f->nginx->write_file('root.key', "$f->{master_key}\n", 0600);

my %auth = (MD5 => 'digest', 'SHA-256' => 'digest_sha256', basic => 'basic',
    bearer => 'bearer', header => 'header=X-Api-Key');
my @schemes = sort keys %auth;

sub server {
    my (%opt) = @_;

    my $info = $f->db->conninfo(user => 'apikeys_nginx');
    my $file = $f->nginx->dir . '/root.key';
    my $server = Bench::Server->new(%opt, dir => $dir,
        load => [ split ' ', $ENV{TEST_NGINX_LOAD_MODULES} ],
        http => <<"END",
    apikeys_database "$info";
    apikeys_zone zone=apikeys:8m;
    apikeys_master_key_file $file;
    apikeys_sync poll=1h;
    apikeys_stale 2h;
END
        locations => { status => '',
            map { $_ => "apikeys_auth $auth{$_};" } @schemes },
        more => { status => 'location = /status { apikeys_status; }' });

    # loaded, and known to be fresh
    $server->wait_for(sub {
        my $status = $server->get('status', '/status');
        $status =~ /"complete":1/
            && $status =~ /"age_milliseconds":\d{1,7}\b/ }, 60);
    return $server;
}

my $guesses = 0;

# requests with the wrong secret, of one length for all keys, and each a new
# guess, for what was sent before costs less, whoever it names; or with a nonce
# with which a key of the client's has authenticated, so that nginx keeps what
# it has computed
sub requests {
    my ($scheme, $client, $used, @keys) = @_;

    my $uri = $Bench::Server::URI;
    my $challenge;
    if ($auth{$scheme} =~ /^digest/) {
        $challenge = $client->plain('GET', $uri)->challenge;
    }
    if ($used) {
        my ($user, $password) = split /:/, $org->{key}{secret};
        my $code = $client->plain('GET', $uri, undef, headers => {
            Authorization => ApiKeys::Client::digest_header(%$challenge,
                method => 'GET', uri => $uri, user => $user,
                password => $password) })->code;
        $code == 200 or die "status $code instead of 200\n";
    }
    return map {
        my $pair = sprintf '%s:%08d-0000-4000-8000-000000000000', $_,
            $guesses++;
        $client->format('GET', $uri, undef, headers => {
            $challenge ? (Authorization => ApiKeys::Client::digest_header(
                %$challenge, method => 'GET', uri => $uri, user => $_,
                password => 'x'))
            : $scheme eq 'basic'
                ? (Authorization => 'Basic ' . encode_base64($pair, ''))
            : $scheme eq 'bearer'
                ? (Authorization => 'Bearer ' . $pair =~ s/:/_/r)
            : ('X-Api-Key' => $pair) })
    } @keys;
}

sub ask {
    my ($client, $request) = @_;

    $client->send($request);
    my $code = $client->read->code;
    $code == 401 or die "status $code instead of 401\n";
}


{
    my $server = server(name => 'callgrind', callgrind => 1);
    $server->count;

    for ((map { [ $_, 0 ] } @schemes), [ 'MD5', 1 ], [ 'SHA-256', 1 ]) {
        my ($scheme, $used) = @$_;
        my $name = $scheme . ($used ? ' with a used nonce' : '');
        my $client = ApiKeys::Client->new(port => $server->port($scheme),
            timeout => 60);
        my @cost = ([], []);

        # the least, as nginx does a few things by timer
        for my $round (1 .. 9) {
            my @sets = ([ requests($scheme, $client, $used, @known) ],
                [ requests($scheme, $client, $used, @unknown) ]);
            $server->instructions;

            # a first time, and when it has been seen
            for my $set (0, 1) {
                for my $request (@{ $sets[$set] }) {
                    ask($client, $request) for 1 .. 2;
                }
                push @{ $cost[$set] }, $server->instructions / $n;
            }
        }

        my ($wrong, $none) = map { min @$_ } @cost;
        diag(sprintf '%s: wrong secret %.1f instructions, unknown key %.1f '
            . '(%+.1f)', $name, $wrong, $none, $none - $wrong);
        cmp_ok(abs($none - $wrong), '<', $tolerance,
            "$name: an unknown key costs what a wrong secret costs");
        $client->close;
    }
}


# by the clock, what a client over the network would have to go by: Welch's t
# of the pairs, without the tenth that took longest

if ($pairs) {
    my $server = server(name => 'timed');

    for my $scheme (@schemes) {
        my $client = ApiKeys::Client->new(port => $server->port($scheme));
        my @sets;
        my @times = ([], []);

        for my $i (1 .. $pairs) {

            # a nonce lives for a minute, and a guess is made once
            @sets = ([ requests($scheme, $client, 0, (@known) x 5) ],
                [ requests($scheme, $client, 0, (@unknown) x 5) ])
                if !@sets || !@{ $sets[0] };

            for my $set (shuffle 0, 1) {
                my $request = shift @{ $sets[$set] };
                my $begin = clock_gettime(CLOCK_MONOTONIC);
                ask($client, $request);
                push @{ $times[$set] },
                    1e6 * (clock_gettime(CLOCK_MONOTONIC) - $begin);
            }
        }

        my (@mean, @error, @median);
        for my $set (0, 1) {
            my @kept = (sort { $a <=> $b } @{ $times[$set] })
                [ 0 .. 0.9 * $pairs - 1 ];
            $mean[$set] = sum(@kept) / @kept;
            $median[$set] = $kept[ $pairs / 2 ];
            $error[$set] = sum(map { ($_ - $mean[$set]) ** 2 } @kept)
                / (@kept - 1) / @kept;
        }
        my $t = ($mean[1] - $mean[0]) / sqrt($error[0] + $error[1]);
        diag(sprintf '%s: %d pairs, wrong secret %.3f us (median %.3f), '
            . 'unknown key %.3f us (median %.3f), t = %.2f', $scheme, $pairs,
            $mean[0], $median[0], $mean[1], $median[1], $t);
        cmp_ok(abs $t, '<', 4.5, "$scheme: no difference by the clock");
        $client->close;
    }
}

done_testing;
