# Clients that mean harm: slow and broken off requests, pipelines, two ideas
# of where a body ends, floods of unknown keys and of nonces, replays.
# Nothing blocks, nothing grows, nobody enters.
#
# APIKEYS_TEST_FLOOD: how many requests a flood has, 20000 when not set.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use IO::Select ();
use MIME::Base64 qw( encode_base64 );
use Test::More;
use Time::HiRes qw( sleep time );

my $slow = $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND} ? 10 : 1;
my $flood = $ENV{APIKEYS_TEST_FLOOD} || 20_000 / $slow;

my $f = ApiKeys::Fixture->new(workers => 2, log_level => 'notice',
    http => "keepalive_requests 1000000;\n", server => <<'END');
        location /basic { apikeys_auth basic; empty_gif; }
        location /digest { apikeys_auth digest; empty_gif; }
        location /status { apikeys_status json; }
END
my $nginx = $f->nginx;
my $db = $f->db;
my $org = $f->org;
my $key = $f->key($org, 'ORG_READ_ONLY');
my %auth = (Authorization => 'Bearer ' . $f->token);

sub client {
    return ApiKeys::Client->new(port => $nginx->port, timeout => 10 * $slow,
        @_);
}

sub basic {
    my ($text) = @_;

    return 'Authorization: Basic ' . encode_base64($text, '') . "\r\n";
}

sub status {
    my $client = client();
    my $status = $client->plain('GET', '/status')->json;
    $client->close;
    return $status;
}

sub keys_made {
    return $db->dbh->selectrow_array('SELECT count(*) FROM apikeys.keys');
}

# resident memory of all workers, kB; what the zone has mapped is shared
sub memory {
    my $sum = 0;

    for my $pid ($nginx->workers) {
        open my $in, '<', "/proc/$pid/status" or next;
        /^RssAnon:\s+(\d+)/ and $sum += $1 while <$in>;
    }
    return $sum;
}

sub served {
    my ($name) = @_;

    my $client = client(key => $key->{secret});
    is($client->request('GET', '/digest')->code, 200,
        "$name: others are served");
    $client->close;
}


# broken off at every byte, and slowly sent

my $body = '{"desc":"hostile","roles":["ORG_READ_ONLY"]}';
my $request = client()->format('POST', "$org->{path}/apiKeys", $body,
    headers => { %auth, 'Content-Type' => 'application/json' });
my $before = keys_made();

for my $n (grep { $_ % 3 == 0 } 1 .. length($request) - 1) {
    my $client = client();
    $client->send(substr $request, 0, $n);
    $client->close;
}
served('requests broken off at every third byte');
is(keys_made(), $before, 'requests broken off create no key');

# whole, and gone before the answer: made or not made, never half
for (1 .. 30) {
    my $client = client();
    $client->send($request);
    sleep rand 0.004;
    $client->close;
}
ok($nginx->wait_for(sub {
    my $status = status();
    !$status->{pool}{busy} && !$status->{pool}{waiting};
}, 10 * $slow, 'busy'), 'clients that do not wait leave nothing behind');
is($db->psql(<<'END'), '0', 'no change lacks its audit row');
SELECT count(*) FROM apikeys.keys k WHERE k.descr = 'hostile'
   AND NOT EXISTS (SELECT FROM apikeys.audit a
                    WHERE to_jsonb(a)::text LIKE '%' || k.id || '%')
END
$db->psql("DELETE FROM apikeys.keys WHERE descr = 'hostile'");

{
    my @slow = map { client() } 1 .. 50;
    $_->send(substr $request, 0, length($request) - 20) for @slow;
    served('50 bodies that do not end');
    $_->send(substr $request, -20, 10) for @slow;
    my $status = status();
    is($status->{pool}{busy} + $status->{pool}{waiting}, 0,
        'a body that is not whole holds no connection to the database');
    $slow[0]->send(substr $request, -10);
    is($slow[0]->read->code, 200, 'one that ends at last is served');
    $_->close for @slow;
    $db->psql("DELETE FROM apikeys.keys WHERE descr = 'hostile'");
}


# pipelines: each request is decided by its own credential

{
    my @ask = map { $_ % 2 ? basic($key->{secret})
        : $_ % 3 ? '' : basic("$key->{publicKey}:wrong") } 1 .. 60;
    my $client = client();
    $client->send(map { "GET /basic HTTP/1.1\r\nHost: a\r\n$_\r\n" } @ask);
    my @codes = map { $client->read->code } @ask;
    is(join(' ', @codes), join(' ', map { $_ % 2 ? 200 : 401 } 1 .. 60),
        'a pipeline of 60: no request has its neighbor\'s right');
    $client->close;

    $client = client();
    $client->send($request x 5, "GET /basic HTTP/1.1\r\nHost: a\r\n\r\n");
    my @made = map { $client->read } 1 .. 6;
    is(join(' ', map { $_->code } @made), '200 200 200 200 200 401',
        'a pipeline of mutations, answered in order');
    my %ids = map { $_->json->{id} => 1 } @made[0 .. 4];
    is(scalar keys %ids, 5, 'each with its own answer');
    $client->close;
    $db->psql("DELETE FROM apikeys.keys WHERE descr = 'hostile'");
}


# two ideas of where a body ends

my $inner = "DELETE $org->{path}/apiKeys/$key->{id} HTTP/1.1\r\nHost: a\r\n"
    . "Authorization: Bearer " . $f->token . "\r\n\r\n";
my $head = "POST $org->{path}/apiKeys HTTP/1.1\r\nHost: a\r\n"
    . "Content-Type: application/json\r\n";

for my $case (
    [ 'two Content-Length', "Content-Length: 0\r\nContent-Length: "
        . length($inner) . "\r\n" ],
    [ 'Content-Length and chunked', 'Content-Length: ' . length($inner)
        . "\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" ],
    [ 'chunked twice', "Transfer-Encoding: chunked\r\n"
        . "Transfer-Encoding: identity\r\n", "0\r\n\r\n" ],
    [ 'chunked, misspelled', "Transfer-Encoding: xchunked\r\n" ],
    [ 'a length with a sign', "Content-Length: +0\r\n" ],
    [ 'a header that is folded', "X: a\r\n Content-Length: 0\r\n" ],
) {
    my ($name, $headers, $first) = @$case;

    # the inner one has no credential of its own outside of the body
    my $client = client(timeout => 5);
    $client->send($head, $headers, "\r\n", $first // '',
        $inner =~ s/^Authorization.*\r\n//mr);
    my @codes = $client->codes;
    is(scalar(grep { $_ < 400 } @codes), 0, "$name: nothing is let in")
        or diag("@codes");
    $client->close;
}
is($db->psql("SELECT count(*) FROM apikeys.keys WHERE id = '$key->{id}'"), 1,
    'no inner request has deleted the key');

{
    my $client = client();
    $client->send("GET /basic HTTP/1.1\r\nHost: a\r\n", basic($key->{secret}),
        basic("$key->{publicKey}:wrong"), "\r\n");
    isnt($client->read->code, 200, 'two credentials: not let in');
    $client->close;
}


# floods: the memory of workers and zone stays what it is

sub pump {
    my ($n, $next, $want) = @_;

    my $client = client();
    my ($wrong, $sent) = (0, 0);
    while ($sent < $n) {
        my $m = $n - $sent < 50 ? $n - $sent : 50;
        $client->send(map { $next->($_) } $sent .. $sent + $m - 1);
        for (1 .. $m) {
            my $res = $client->read or die "the flood is cut off\n";
            $wrong++ if $res->code != $want;
        }
        $sent += $m;
    }
    $client->close;
    return $wrong;
}

sub flat {
    my ($name, $n, $next, $want) = @_;

    is(pump(1000, $next, $want), 0, "$name: each gets its $want");
    my ($memory, $zone) = (memory(), status()->{zone}{free_bytes});
    my $begin = time;
    my $wrong = pump($n, sub { $next->($_[0] + 1000) }, $want);
    my $took = time - $begin;
    my ($grown, $taken) = (memory() - $memory,
        $zone - status()->{zone}{free_bytes});

    is($wrong, 0, "$name: $n further requests get the expected status");

    # instruments keep what was freed, to see late uses of it
    my $kept = $slow > 1 ? 256 * 1024 : 0;
    cmp_ok($grown, '<', 1024 * $slow + $kept, "$name: workers do not grow");
    is($taken, 0, "$name: nor does what the zone holds");
    diag(sprintf '%s: %d requests in %.1f s, workers + %d kB, zone + %d bytes',
        $name, $n, $took, $grown, $taken);
}

flat('unknown keys', $flood, sub {
    my ($n) = @_;
    (my $public = sprintf '%08d', $n) =~ tr/0-9/a-j/;
    return "GET /basic HTTP/1.1\r\nHost: a\r\n" . basic("$public:x") . "\r\n";
}, 401);

flat('wrong secrets', $flood / 4, sub {
    return "GET /basic HTTP/1.1\r\nHost: a\r\n"
        . basic("$key->{publicKey}:$_[0]") . "\r\n";
}, 401);

flat('challenges', $flood / 2, sub {
    return "GET /digest HTTP/1.1\r\nHost: a\r\n\r\n" }, 401);

# one valid key, a new nonce each time: a set of them is kept, no more
{
    my $client = client(key => $key->{secret});
    my $run = sub {
        my ($n) = @_;
        my $wrong = 0;
        for (1 .. $n) {
            delete $client->{challenge};
            $wrong++ if $client->request('GET', '/digest')->code != 200;
        }
        return $wrong;
    };
    is($run->(300), 0, 'nonces: each works once');
    my ($memory, $zone) = (memory(), status()->{zone}{free_bytes});
    is($run->($flood / 8), 0, 'nonces: and so do many more');
    cmp_ok(memory() - $memory, '<', 1024 * $slow, 'nonces: no worker grows');
    is($zone - status()->{zone}{free_bytes}, 0, 'nonces: nor does the zone');
}

served('after the floods');


# replays: of the same request, on every worker

{
    my $client = client(key => $key->{secret});
    $client->request('GET', '/digest');
    my $text = $client->format('GET', '/digest', undef,
        headers => { Authorization => $client->authorization('GET',
            '/digest') });
    $client->send($text);
    is($client->read->code, 200, 'a request with a fresh count');
    my $again = 0;
    for (1 .. 40) {
        my $thief = client();
        $thief->send($text);
        $again++ if $thief->read->code == 200;
        $thief->close;
    }
    is($again, 0, 'replayed on 40 connections to all workers: refused');

    # each count once, whichever worker it comes to, whatever the order
    my @texts = map { $client->format('GET', '/digest', undef,
        headers => { Authorization => $client->authorization('GET',
            '/digest') }) } 1 .. 20;
    my ($first, $second) = (0, 0);
    for my $i (reverse 0 .. 19) {
        for my $round (0, 1) {
            my $thief = client();
            $thief->send($texts[$i]);
            my $code = $thief->read->code;
            $round ? $second += $code == 200 : ($first += $code == 200);
            $thief->close;
        }
    }
    is("$first $second", '20 0', 'counts out of order: each once');

    my $other = $client->format('GET', '/basic', undef,
        headers => { Authorization => $client->authorization('GET',
            '/digest') });
    my $thief = client();
    $thief->send($other);
    is($thief->read->code, 401, 'a response for another path');
}

done_testing;
