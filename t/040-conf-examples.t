# Every file of conf-examples is taken by nginx as it is, but for what an
# installation has elsewhere, and starts; api.conf with TLS.  A block cannot have
# a whole nginx.conf; t/560-examples.t has requests to each example as blocks.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Example ();
use ApiKeys::Fixture ();
use IO::Socket::SSL ();
use Test::More;

my $f = ApiKeys::Fixture->new;
my @examples = map { m{([^/]+)\.conf$} }
    sort glob "$FindBin::Bin/../conf-examples/*.conf";
cmp_ok(scalar @examples, '>=', 6, 'there are examples');

# what an owner gets, who is known once the local copy is loaded
my $owner = $f->org->{key}{secret};
my %asked = (minimal => [ '/', 200 ], protect => [ '/billing/', 403 ],
    'dry-run' => [ '/index.html', 200 ], 'rate-limit' => [ '/index.html', 200 ],
    'behind-proxy' => [ '/api/atlas/v1.0/orgs', 200 ], nodes => [ '/', 200 ]);

for my $name (@examples, 'README') {
    my $nginx = ApiKeys::Example::nginx($f, $name);
    my ($code, $said) = $nginx->test;
    is($code, 0, "nginx takes $name") or diag($said), next;

    $nginx->start;

    if (my ($path, $status) = @{ $asked{$name} || [] }) {
        my $got = 503;
        my $client = ApiKeys::Client->new(port => $nginx->port, key => $owner);
        $nginx->wait_for(sub {
            ($got = $client->request('GET', $path)->code) != 503;
        }, 30, 'the local copy is not loaded');
        is($got, $status, "$name.conf: GET $path");
    }
    for ($name =~ /^(?:api|ops-manager)$/ ? (
        [ '/api/public/v1.0/orgs', 401 ], [ '/api/private/ipinfo', 200 ],
        [ '/nothing', 404 ]) : ())
    {
        my ($path, $code) = @$_;
        my $socket = IO::Socket::SSL->new(PeerAddr => '127.0.0.1',
            PeerPort => $nginx->port, SSL_verify_mode => 0) or die;
        print $socket "GET $path HTTP/1.0\r\nHost: localhost\r\n\r\n";
        like(do { local $/; <$socket> }, qr{^HTTP/1\.1 $code },
            "$name.conf with TLS: GET $path");
    }
    $nginx->quit;
}

done_testing;
