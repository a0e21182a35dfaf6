# Churn for as long as APIKEYS_TEST_SOAK says, in seconds (15 when not set):
# keys that come and go, lists that grow and shrink, a node that reloads, and
# requests by digest and basic all the while.  In the end workers, the master
# that reloaded, the zones and the pools are as they were after the first
# rounds.
#
# Whatever else the machine does: the zones have room for what a reader that
# does not get to run holds back, and clients wait for long.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use MIME::Base64 qw( encode_base64 );
use Test::More;
use Time::HiRes qw( sleep time );

my $instrumented = $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND};
my $slow = $instrumented ? 10 : 1;
my $patient = $ENV{APIKEYS_TEST_SOAK};
my $seconds = $patient || ($instrumented ? 10 : 15);

my $timeout = $patient ? 60 : 10 * $slow;

# kB that the heap may move about: a leak grows with time, this does not
my $slack = 1024;

my %conf = (log_level => 'notice', zone => '16m',
    http => "apikeys_wait 0;\nkeepalive_requests 1000000;\n"
        . "apikeys_snapshot %%DIR%%/state/replica;\n",
    server => <<'END');
        location /basic { apikeys_auth basic; empty_gif; }
        location /digest { apikeys_auth digest digest_sha256; empty_gif; }
        location /status { apikeys_status json; }
END
my $f = ApiKeys::Fixture->new(%conf, workers => 2);
my $still = $f->nginx;                  # its workers live through all of it
my $moved = $f->node(%conf, workers => 1);  # and its master

$moved->start;
$f->wait_loaded($moved);

my @nodes = ($still, $moved);
my $db = $f->db;
my $org = $f->org;
my $project = $f->project($org);
my (@live, @dead);
my %count = map { $_ => 0 } qw( rounds calls requests wrong reloads );
my $began = time;

# counts what was asked, and tells of the first that were not answered so
sub right {
    my ($what, $res, $codes) = @_;

    my $code = $res ? $res->code : 'no answer';
    return if $code =~ /^(?:$codes)$/;
    diag(sprintf '%d s: %s: %s instead of %s', time - $began, $what, $code,
        $codes) if $count{wrong}++ < 20;
}

my $operator = $f->client(token => $f->token, timeout => $timeout);

sub call {
    my ($method, $path, $json, %headers) = @_;

    my $res = $operator->request($method, $org->{path} . $path, $json,
        headers => \%headers);
    $count{calls}++;
    right($method, $res, $headers{Prefer} ? '200|202' : '200|201|204');
    return $res;
}

sub status {
    my ($node) = @_;

    my $client = ApiKeys::Client->new(port => $node->port,
        timeout => $timeout);
    my $status = $client->plain('GET', '/status')->json;
    $client->close;
    return $status;
}

# private memory of processes, kB: what a zone has mapped is shared
sub memory {
    my $sum = 0;

    for my $pid (@_) {
        open my $in, '<', "/proc/$pid/status" or next;
        /^(?:RssAnon|VmSwap):\s+(\d+)/ and $sum += $1 while <$in>;
    }
    return $sum;
}

sub descriptors {
    return map { scalar(() = glob "/proc/$_/fd/*") } @_;
}


# a round of churn

sub churn {
    for (1 .. 4) {
        my $key = call('POST', '/apiKeys', { desc => 'soak',
            roles => [ 'ORG_READ_ONLY' ] })->json;
        $key->{secret} = "$key->{publicKey}:$key->{privateKey}";
        push @live, $key;
    }

    for my $key (@live) {
        my $path = "/apiKeys/$key->{id}";
        my $n = int rand 4;

        call('PATCH', $path, { desc => 'x' x (1 + rand 200) }) if $n == 0;
        call('POST', "$path/accessList", [ { cidrBlock => '127.0.0.0/8' },
            map { { cidrBlock => "10.$_.0.0/16" } } 1 .. 1 + rand 60 ])
            if $n == 1 && !$key->{list}++;
        call('PATCH', $path, { roles => [ 'ORG_READ_ONLY', rand 2 > 1
            ? 'ORG_MEMBER' : 'ORG_GROUP_CREATOR' ] }, Prefer => 'wait=1')
            if $n == 2;
    }

    # and one that does not wait for its answer
    my $gone = $f->client(token => $f->token);
    $gone->send($gone->format('GET', "$org->{path}/apiKeys", undef,
        headers => { Authorization => 'Bearer ' . $f->token }));
    $gone->close;

    # a list of hundreds to thousands at once, and away again
    my $key = $live[rand @live];
    my $n = 1 + int rand 3000;
    $db->psql(<<"END");
INSERT INTO apikeys.access_list (key_id, cidr)
    SELECT '$key->{id}', ('11.0.0.0'::inet + n * 256)::cidr
      FROM generate_series(1, $n) n
        ON CONFLICT DO NOTHING;
DELETE FROM apikeys.access_list
 WHERE key_id = '$key->{id}' AND cidr <<= '11.0.0.0/8' AND random() < 0.9;
INSERT INTO apikeys.key_projects (key_id, project_id, org_id, roles)
    VALUES ('$key->{id}', '$project->{id}', '$org->{id}', '{GROUP_OWNER}')
        ON CONFLICT DO NOTHING;
DELETE FROM apikeys.access_list
 WHERE key_id = '$key->{id}' AND cidr <<= '11.0.0.0/8';
END

    while (@live > 12) {
        my $gone = shift @live;
        call('DELETE', "/apiKeys/$gone->{id}");
        push @dead, $gone;
    }
    shift @dead while @dead > 20;
}


# Requests of a round: by keys that are, that were and that never were.  The
# node that was told of a change knows it at once, the other one soon; 403
# while a list has nothing but what is about to go.  A worker that does not
# get to run for seconds leaves a change to the feed, and says so.

sub told {
    my ($node) = @_;

    return $node == $still && $still->error_log !~ /applied with the next poll/;
}

sub basic {
    my ($node, $n) = @_;

    my $client = ApiKeys::Client->new(port => $node->port,
        timeout => $timeout);
    my $told = told($node);
    my @who = (
        (map { [ $_->{secret}, $told ? '200|403' : '200|401|403' ] } @live),
        (map { [ $_->{secret}, $told ? '401' : '200|401|403' ] } @dead),
        [ 'aaaaaaaa:x', '401' ], [ "$live[0]{publicKey}:x", '401' ]);
    my @sent = map { $who[rand @who] } 1 .. $n;

    $client->send(map { "GET /basic HTTP/1.1\r\nHost: a\r\n"
        . 'Authorization: Basic ' . encode_base64($_->[0], '') . "\r\n\r\n"
        } @sent);
    for (@sent) {
        right('basic', scalar $client->read, $_->[1]);
        $count{requests}++;
    }
    $client->close;
}

sub digest {
    my ($node, $n) = @_;

    my $client = $f->client(nginx => $node, key => $org->{key}{secret},
        algorithm => rand 2 > 1 ? 'MD5' : 'SHA-256', timeout => $timeout);
    for (1 .. $n) {
        right('digest', $client->request('GET', '/digest'), 200);
        $count{requests}++;
        delete $client->{challenge} if rand 3 > 2;
    }
    $client->close;
}

sub round {
    churn();
    for my $node (@nodes) {
        basic($node, 400 / $slow);
        digest($node, 50 / $slow);
    }
    if ($count{rounds}++ % 5 == 4) {
        $moved->reload($timeout);
        $count{reloads}++;
    }
}


# What is left when all that came has gone: of the zones, what is used but for
# what waits for its readers, and for tombstones, a cell each, which stay for
# a while.  A long run waits for the end of the first each time, and in the
# end for that of the tombstones and of the feed's rows, too.

sub settled {
    my ($name) = @_;

    my @gone = splice @live;
    push @gone, splice @dead;
    $db->psql("DELETE FROM apikeys.keys WHERE descr <> 'owner'");

    # a worker that still exits has descriptors in its master
    $moved->wait_for(sub { !$moved->workers(exiting => 1) }, 3 * $timeout,
        'old workers do not end');
    my @used = map { used($_, $name) } @nodes;
    my %sample = (used => "@used", workers => memory($still->workers),
        master => memory($moved->pid), open => [ map { descriptors($_) }
            sort($still->workers), $moved->pid ]);

    for my $node (@nodes) {
        my $client = $f->client(nginx => $node, timeout => $timeout);
        right('a deleted key', $client->plain('GET', '/basic', undef,
            headers => { Authorization => 'Basic '
                . encode_base64($_->{secret}, '') }), 401) for @gone;
        $client->close;
    }

    diag(sprintf '%s: %d s, %d rounds, %d calls, %d requests, %d reloads, '
        . '%d wrong; '
        . 'workers %d kB, master %d kB, zones %s bytes, descriptors %s',
        $name, time - $began,
        @count{qw( rounds calls requests reloads wrong )},
        @sample{qw( workers master used )}, "@{ $sample{open} }");
    return \%sample;
}

# in a long run: what must come to an end
sub ends {
    my ($status, $name) = @_;

    return $status->{zone}{retired_bytes} == 0
        && ($name ne 'at the end' || !$status->{copy}{tombstones}
            && $db->dbh->selectrow_array(
                'SELECT count(*) FROM apikeys.changes') < 100);
}

sub used {
    my ($node, $name) = @_;

    my ($status, $used) = ({}, 'unknown');
    ok(eval { $node->wait_for(sub {
        $status = status($node);
        my $copy = $status->{copy};
        $used = $f->used($status);
        return $copy->{keys} == 1 && !$copy->{invalid}
            && !$status->{pool}{busy} && !$status->{pool}{waiting}
            && (!$patient || ends($status, $name));
    }, $patient ? 300 : 120, 'not settled') }, "$name: what has gone is let go")
        or diag(join ' ', $@ =~ /^(.*)/, map { %{ $status->{$_} || {} } }
            qw( copy zone pool ));
    return $used;
}


# the first rounds fill pools, tables and caches

round() for 1 .. 5;
my $first = settled('after the first rounds');

for my $part (1 .. 6) {
    my $name = $part == 6 ? 'at the end' : "$part of 6";
    do { round() } while time < $began + $seconds * $part / 6;
    my $now = settled($name);

    is($now->{used}, $first->{used},
        "$name: the zones hold what is alive and no more");
    is_deeply([ grep { $now->{open}[$_] > $first->{open}[$_] + 8 }
        0 .. $#{ $now->{open} } ], [],
        "$name: no process has opened more and more");

    # instruments keep what was freed
    next if $instrumented;
    cmp_ok($now->{workers} - $first->{workers}, '<', $slack,
        "$name: workers have not grown");
    # nginx itself loses 72 bytes a reload where a pattern is compiled
    cmp_ok($now->{master} - $first->{master}, '<',
        $slack / 4 + $count{reloads} * 0.1,
        "$name: nor has the master that reloads");
}

is($count{wrong}, 0,
    'every call and every request got the expected answer');
is(join(' ', map { status($_)->{zone}{full_total} } @nodes), '0 0',
    'no zone was full');
is($db->psql('SELECT count(*) FROM apikeys.instances'), 2,
    'apikeys.instances has two rows');

$_->quit for @nodes;

done_testing;
