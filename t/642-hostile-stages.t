# Clients that leave, stall or lie at each stage of a call: in the headers,
# the body, while the database works, while other nodes are waited for, in the
# answer; over HTTP/2, too.  Nothing is held, nothing blocks, nobody enters.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use IO::Select ();
use POSIX ();
use Socket qw( SOL_SOCKET SO_LINGER SO_RCVBUF );
use Test::More;
use Time::HiRes qw( time );

my $slow = $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND} ? 10 : 1;

my %conf = (log_level => 'notice', database => 'connections=2',
    http => "apikeys_wait 0;\nhttp2_max_concurrent_streams 1024;\n");
my $f = ApiKeys::Fixture->new(%conf, workers => 2, start => 0);
my $protected = <<'END';
        location /basic { apikeys_auth basic header=X-Api-Key; empty_gif; }
        location /digest { apikeys_auth digest; empty_gif; }
        location /status { apikeys_status json; }
END
my $v2 = $f->server_conf(server => $protected);
$f->nginx->configure(http => $f->http_conf(%conf)
    . "server {\nlisten 127.0.0.1:%%PORT_1%% http2;\n$v2\n}\n",
    server => $f->server_conf(server => $protected));
$f->start;

my $nginx = $f->nginx;
my $db = $f->db;
my $org = $f->org;
my $key = $f->key($org, 'ORG_READ_ONLY');
my %auth = (Authorization => 'Bearer ' . $f->token);
my $keys = "$org->{path}/apiKeys";

sub client {
    return ApiKeys::Client->new(port => $nginx->port, timeout => 10 * $slow,
        @_);
}

sub request {
    my ($method, $uri, $body, %headers) = @_;

    return client()->format($method, $uri, $body,
        headers => { %auth, %headers });
}

sub status {
    my $client = client();
    my $status = $client->plain('GET', '/status')->json;
    $client->close;
    return $status;
}

sub pools {
    my $pool = status()->{pool};

    return $pool->{busy} + $pool->{waiting};
}

sub descriptors {
    my $sum = 0;
    $sum += () = glob "/proc/$_/fd/*" for $nginx->workers;
    return $sum;
}

# with a reset, when there is something to lose
sub leave {
    my ($client, $reset) = @_;

    setsockopt $client->{socket}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0)
        if $reset;
    $client->close;
}

sub open_answers {
    my ($name) = @_;

    my $begin = time;
    my $client = client();
    is($client->plain('GET', '/open')->code, 200, "$name: others are served");
    cmp_ok(time - $begin, '<', 2 * $slow, "$name: /open is answered in 2 s");
    $client->close;
}

my $open;

sub nothing_held {
    my ($name) = @_;

    my ($held, $now);
    ok(eval { $nginx->wait_for(sub {
        $held = pools();
        $now = descriptors();
        return !$held && $now <= $open + 2;
    }, 10 * $slow, 'held') }, "$name: no connection is held")
        or diag("$held of the pool, $now descriptors after $open");
}

sub made {
    return $db->dbh->selectrow_array(
        "SELECT count(*) FROM apikeys.keys WHERE descr = 'left'");
}


# all connections to the database are there, so that they count for nothing
{
    my @clients = map { client()->send(request('GET', $keys)) } 1 .. 20;
    $_->read for @clients;
    leave($_) for @clients;
}
$open = descriptors();

{
    my $text = request('POST', $keys, { desc => 'left' });
    my @clients = map { client()->send(substr $text, 0, 5 + $_ % 60) }
        1 .. 150;
    open_answers('150 headers that do not end');
    leave($clients[$_], $_ % 2) for 0 .. $#clients;
    nothing_held('clients that left in the headers');
    is(made(), 0, 'clients that left in the headers create no key');
}


# the database works: what waits for a lock is canceled with its client

{
    my $text = request('POST', $keys,
        { desc => 'left', roles => [ 'ORG_READ_ONLY' ] });
    my $other = $db->connect;
    $other->begin_work;
    $other->do("SELECT FROM apikeys.orgs WHERE id = '$org->{id}' FOR UPDATE");

    my @clients = map { client()->send($text) } 1 .. 30;
    ok(eval { $nginx->wait_for(sub { pools() == 30 }, 10 * $slow, '') },
        '30 calls wait for a lock') or diag(pools());
    open_answers('calls that wait for a lock');
    leave($clients[$_], $_ % 2) for 0 .. $#clients;
    nothing_held('clients that left while the database worked');
    $other->rollback;
    $other->disconnect;

    my ($bare) = $db->psql(<<'END');
SELECT count(*) FROM apikeys.keys k WHERE descr = 'left' AND NOT EXISTS
    (SELECT FROM apikeys.audit a
      WHERE to_jsonb(a)::text LIKE '%' || k.id || '%')
END
    is($bare, 0, 'no change without its audit row');
    cmp_ok(made(), '<', 30, 'fewer than 30 keys were created');
    $db->psql("DELETE FROM apikeys.keys WHERE descr = 'left'");
}


# another node is waited for, and is stopped

{
    my $node = $f->node(%conf);
    $node->start;
    $f->wait_loaded($node);
    $node->signal('STOP', $node->workers);

    my $text = request('POST', $keys,
        { desc => 'left', roles => [ 'ORG_READ_ONLY' ] },
        Prefer => 'wait=60');
    my @clients = map { client()->send($text) } 1 .. 20;
    ok(eval { $nginx->wait_for(sub { made() == 20 }, 10 * $slow, '') },
        '20 changes are committed');
    open_answers('changes that a stopped node keeps waiting');
    leave($clients[$_], $_ % 2) for 0 .. $#clients;
    nothing_held('clients that left while a node was waited for');

    $node->signal('CONT', $node->workers);
    $db->psql("DELETE FROM apikeys.keys WHERE descr = 'left'");
    $node->quit;
}


# the answer: half read, or not at all

{
    $db->psql("INSERT INTO apikeys.access_list (key_id, cidr)
        SELECT '$key->{id}', ('10.0.0.0'::inet + n * 256)::cidr
          FROM generate_series(1, 5000) n");
    my $text = request('GET', "$keys/$key->{id}/accessList?itemsPerPage=500");

    my @clients = map {
        my $client = client()->connect;
        setsockopt $client->{socket}, SOL_SOCKET, SO_RCVBUF, 2304;
        $client->send($text x 20);
    } 1 .. 30;
    sysread $_->{socket}, my $piece, 100 for @clients;
    open_answers('answers that nobody reads');
    leave($clients[$_], $_ % 2) for 0 .. $#clients;
    nothing_held('clients that left in the answer');
    $db->psql("DELETE FROM apikeys.access_list WHERE key_id = '$key->{id}'");
}


# HTTP/2: streams that are reset as soon as they are open, and in the body

sub frame {
    my ($type, $flags, $stream, $text) = @_;

    return substr(pack('N', length $text), 1) . pack('CCN', $type, $flags,
        $stream) . $text;
}

# header fields as literals without compression
sub fields {
    my $text = '';

    while (my ($name, $value) = splice @_, 0, 2) {
        $text .= "\0";
        for ($name, $value) {
            my $n = length;
            $text .= $n < 127 ? pack('C', $n)
                : pack('CCC', 127, (($n - 127) & 127) | 128, ($n - 127) >> 7);
            $text .= $_;
        }
    }
    return $text;
}

sub v2 {
    my ($method, $path, %more) = @_;

    return fields(':method', $method, ':scheme', 'http', ':path', $path,
        ':authority', 'a', authorization => $auth{Authorization}, %more);
}

# whether the connection lives after it, by the answer to a ping
sub v2_lives {
    my ($frames) = @_;

    my $client = client(port => $nginx->port(1))->connect;
    local $SIG{PIPE} = 'IGNORE';
    syswrite $client->{socket}, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        . frame(4, 0, 0, '') . $frames . frame(6, 0, 0, 'are you?');
    my ($got, $end) = ('', time + 10 * $slow);
    while ($got !~ /are you\?/ && time < $end) {
        IO::Select->new($client->{socket})->can_read(1) or next;
        sysread $client->{socket}, $got, 65536, length $got or last;
    }
    leave($client, 1);
    return $got =~ /are you\?/ ? 1 : 0;
}

{
    my $get = v2('GET', "$keys?itemsPerPage=500");
    is(v2_lives(join '', map { frame(1, 5, 2 * $_ - 1, $get)
        . frame(3, 0, 2 * $_ - 1, pack 'N', 8) } 1 .. 300), 1,
        'HTTP/2: 300 calls, each reset at once');
    open_answers('HTTP/2: resets');
    nothing_held('HTTP/2: calls that were reset');

    my $body = '{"desc":"left","roles":["ORG_READ_ONLY"]}';
    my $post = v2('POST', $keys, 'content-type' => 'application/json',
        'content-length' => length $body);
    is(v2_lives(join '', map {
        my $id = 2 * $_ - 1;
        frame(1, 4, $id, $post) . frame(0, 0, $id, substr $body, 0, 20)
            . ($_ % 3 ? frame(3, 0, $id, pack 'N', 8) : '')
    } 1 .. 100), 1, 'HTTP/2: bodies that are broken off, or do not end');
    nothing_held('HTTP/2: half a body');
    is(made(), 0, 'HTTP/2: half a body creates no key');

    # more than it says, less than it says
    for my $length (length($body) - 1, length($body) + 1) {
        v2_lives(frame(1, 4, 1, v2('POST', $keys, 'content-type' =>
            'application/json', 'content-length' => $length))
            . frame(0, 1, 1, $body));
    }
    nothing_held('HTTP/2: a body of another length');
    is(made(), 0, 'HTTP/2: a body of another length creates no key');
}


# two ideas of a request; none has a credential that is good for all of it

my $inner = "DELETE $keys/$key->{id} HTTP/1.1\r\nHost: a\r\n\r\n";
my $n = length $inner;
my $head = "POST $keys HTTP/1.1\r\nHost: a\r\n"
    . "Content-Type: application/json\r\n";
my $chunked = "Transfer-Encoding: chunked\r\n";

for my $case (
    [ 'a length, then chunks', "${head}Content-Length: $n\r\n$chunked\r\n"
        . "0\r\n\r\n$inner" ],
    [ 'chunks, then a length', "$head${chunked}Content-Length: 4\r\n\r\n"
        . "0\r\n\r\n$inner" ],
    [ 'chunked twice', "$head$chunked$chunked\r\n0\r\n\r\n$inner" ],
    [ 'chunked in a list', "${head}Transfer-Encoding: chunked, chunked\r\n"
        . "\r\n0\r\n\r\n$inner" ],
    [ 'chunked and a tab', "${head}Transfer-Encoding: \tchunked\t\r\n"
        . "\r\n0\r\n\r\n$inner" ],
    [ 'a blank before the colon', "${head}Transfer-Encoding : chunked\r\n"
        . "Content-Length: $n\r\n\r\n$inner" ],
    [ 'an underscore', "${head}Transfer_Encoding: chunked\r\n"
        . "Content-Length: 5\r\n\r\n0\r\n\r\n$inner" ],
    [ 'chunked in HTTP/1.0', $head =~ s/1\.1/1.0/r . "$chunked\r\n"
        . "0\r\n\r\n$inner" ],
    (map { [ "a chunk of $_", "$head$chunked\r\n$_\r\n$inner\r\n0\r\n\r\n" ] }
        'FFFFFFFFFFFFFFFF1', '-1', '0x10', '+4', "5;a=\"\r\n\r\n\"", ''),
    (map { [ "a length of $_", "${head}Content-Length: $_\r\n\r\n$inner" ] }
        '0x10', '1e1', '5, 5', '-1', '99999999999999999999', '5 5', ''),
    [ 'two lengths, equal', $head . "Content-Length: $n\r\n" x 2
        . "\r\n$inner" ],
    [ 'bare line feeds', $inner =~ s/\r//gr ],
    [ 'a bare carriage return', $inner =~ s/Host/X: a\rHost/r ],
    [ 'a folded credential', "GET /basic HTTP/1.1\r\nHost: a\r\n"
        . "Authorization:\r\n Basic eDp5\r\n\r\n$inner" ],
    [ 'a NUL in a header', "GET /basic HTTP/1.1\r\nHost: a\0b\r\n\r\n$inner" ],
    [ 'two hosts', "GET /basic HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n$inner" ],
    [ 'an absolute target', $inner =~ s{DELETE }{DELETE http://b:1}r ],
    [ 'an absolute target with a user', $inner =~ s{DELETE }
        {DELETE http://u:p\@b}r ],
    [ 'an empty line first', "\r\n\r\n$inner" ],
    [ 'a version of its own', $inner =~ s{HTTP/1.1}{HTTP/1.1x}r ],
    [ 'no version', "GET /basic\r\n" ],
    (map { [ "the path $_", "GET $_ HTTP/1.1\r\nHost: a\r\n\r\n" ] }
        '/%62asic', '//basic', '/./basic', '/open/../basic', '/x/..%2Fbasic',
        '/%2e/basic', '/basic%00', '/basic%2F', '/basic/', '/basic;a',
        '/basic%3F', '/open/..%2f..%2fbasic', '%2Fbasic', '/basic#/open',
        "$keys%2F", "/api%2Fatlas%2Fv1.0%2Forgs%2F$org->{id}%2FapiKeys",
        "/api/atlas/v1.0//orgs/../orgs/$org->{id}/apiKeys/",
        "/api/atlas/v1%2E0/orgs", '/API/atlas/v1.0/../../basic'),
) {
    my ($name, $text) = @$case;

    my $client = client(timeout => 1);
    $client->send($text);
    shutdown $client->{socket}, 1;
    my @codes = $client->codes;
    is(scalar(grep { $_ < 400 } @codes), 0, "$name: nothing is let in")
        or diag("@codes");
    $client->close;
}
is($db->psql("SELECT count(*) FROM apikeys.keys WHERE id = '$key->{id}'"), 1,
    'no inner request has deleted the key');
nothing_held('all these');


# a nonce flood by many valid keys, while others go on

{
    my @many = map { $f->key($org, 'ORG_READ_ONLY') } 1 .. 12;
    my $victim = client(key => $key->{secret});
    is($victim->request('GET', '/digest')->code, 200, 'a client at work');
    my $free = status()->{zone}{free_bytes};

    my ($wrong, $late) = (0, 0);
    for my $round (1 .. 100 / $slow) {
        for my $one (@many) {
            my $client = $one->{flood} ||= client(key => $one->{secret});
            delete $client->{challenge};
            $wrong++ if $client->request('GET', '/digest')->code != 200;
        }
        my $begin = time;
        $wrong++ if $victim->request('GET', '/digest')->code != 200;
        $late++ if time - $begin > $slow;
    }
    is("$wrong $late", '0 0', 'nonces of many keys: each works, and an old one');
    is(status()->{zone}{free_bytes}, $free,
        'nonces of many keys take no memory of the zone');
    $_->{flood}->close for @many;
    $victim->close;
}

{
    # unknown keys by the thousand, with no pause, and what others see of it
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        my $client = client();
        for my $i (1 .. 200 / $slow) {
            $client->send(join '', map { "GET /basic HTTP/1.1\r\nHost: a\r\n"
                . 'X-Api-Key: ' . join('', map { chr 97 + rand 26 } 1 .. 8)
                . ":x\r\n\r\n" } 1 .. 50);
            $client->read->code == 401 or POSIX::_exit(1) for 1 .. 50;
        }
        POSIX::_exit(0);
    }
    my ($asked, $worst) = (0, 0);
    while (waitpid($pid, POSIX::WNOHANG()) == 0) {
        my $begin = time;
        my $client = client();
        $asked++ if $client->plain('GET', '/open')->code == 200;
        $client->close;
        $worst = time - $begin if time - $begin > $worst;
    }
    is($?, 0, 'a flood of unknown keys: each gets its 401');
    cmp_ok($worst, '<', 1 * $slow,
        'other requests are served during a flood of unknown keys');
    diag(sprintf '%d other requests, %.0f ms at worst', $asked, 1000 * $worst);
}
nothing_held('after all');

done_testing;
