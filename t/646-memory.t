# Memory of a worker under bodies, lists and waits that are made to take it:
# a request holds little while it waits, one document is alive at a time, and
# afterwards everything is given back.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use ApiKeys::Nginx ();
use IO::Select ();
use JSON::PP qw( encode_json );
use MIME::Base64 qw( encode_base64 );
use Test::More;
use Time::HiRes qw( sleep time );

plan skip_all => 'instruments keep what was freed'
    if $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND};

my $MB = 1024 * 1024;

my $f = ApiKeys::Fixture->new(zone => '128m', load => [ ApiKeys::Nginx::_module(),
        ApiKeys::Nginx::test_module('mallinfo') ],
    http => <<'END', api => 'apikeys_auth basic digest;', server => <<'END2');
    keepalive_requests 100000;
    http2_max_concurrent_streams 128;
    client_body_timeout 300s;
END
        location /memory { mallinfo; }
        location /status { apikeys_status json; }
        listen 127.0.0.1:%%PORT_1%% http2;
END2
my $nginx = $f->nginx;
my $db = $f->db;
my $org = $f->org;
my $reader = $f->key($org, 'ORG_MEMBER');
my $project = $f->project($org);
my $base = $ApiKeys::Fixture::BASE{atlas_v1};

$db->psql(<<"END");
INSERT INTO apikeys.key_projects (key_id, project_id, org_id, roles)
    VALUES ('$reader->{id}', '$project->{id}', '$org->{id}',
            '{GROUP_READ_ONLY}');
SELECT apikeys.set_quota('$org->{id}', p_entries => 10000000,
                         p_assignments => 100000, p_projects => 100000);
END

sub basic { return 'Basic ' . encode_base64($_[0]{secret}, '') }

sub worker { return ($nginx->workers)[0] }

# what malloc() has given out
sub used {
    my $client = ApiKeys::Client->new(port => $nginx->port);
    my $n = $client->plain('GET', '/memory')->body;
    $client->close;
    return $n;
}

# buffers of the database's connections that grow with what an organization
# has, and memory that the allocator has given out and not yet merged
my $noise = 128 * 1024;

# waits until it is what it was, for what ends by a timer
sub settled {
    my ($before, $room) = @_;

    my $end = time + 15;
    my $now;
    while (time < $end) {
        $now = used();
        return $now - $before if $now - $before <= $room;
        sleep 0.1;
    }
    return $now - $before;
}

sub status_of {
    my ($name) = @_;

    open my $in, '<', '/proc/' . worker() . '/status' or die;
    while (<$in>) {
        return $1 * 1024 if /^$name:\s+(\d+) kB/;
    }
    die "no $name\n";
}

# resident memory, and the most that it was since the last call
sub begin {
    open my $out, '>', '/proc/' . worker() . '/clear_refs' or die "$!\n";
    print $out "5\n";
    close $out;
    return { used => used(), rss => status_of('VmRSS') };
}

sub peak { return status_of('VmHWM') - $_[0]{rss} }

# the same request so many times over one HTTP/2 connection
sub streams {
    my ($n, $key, $path, $file, $method) = @_;

    open my $out, '-|', 'h2load', '-n', $n, '-c', 1, '-m', $n, '-d', $file,
        '-H', 'Content-Type: application/json',
        '-H', ':method: ' . ($method || 'POST'),
        '-H', 'Authorization: ' . basic($key),
        'http://127.0.0.1:' . $nginx->port(1) . $base . $path
        or die "h2load: $!\n";
    local $/;
    my $text = <$out>;
    close $out;
    return $text =~ /^status codes: (.*)/m ? $1 : $text;
}

my $containers = '{"orgId":"' . $org->{id} . '","name":"n","tags":['
    . join(',', ('{}') x 330_000) . ']}';
my $few = '{"hostCounts":[' . join(',', ('{}') x 1_900)
    . '],"agentApiKey":"' . 'x' x 900_000 . '"}';
my $long_name = '{"' . 'n' x 1_000_000 . '":1}';
my $list_short = encode_json([ map { { cidrBlock =>
    sprintf '2001:db8:%x:%x::/64', $_ / 65536, $_ % 65536 } } 1 .. 10_000 ]);
my $list_long = encode_json([ map { { cidrBlock =>
    sprintf '2001:db8:%x:f:f:f:f:1/128', $_ } } 1 .. 10_000 ]);

# warm: buffers and caches that are made once
for my $body ($containers, $few, $long_name) {
    my $file = $nginx->write_file('body', $body);
    streams(4, $_, '/groups', $file) for $reader, $org->{key};
    streams(4, $org->{key}, "/groups/$project->{id}", $file, 'PATCH');
}


# bodies over HTTP/2

for my $case (
    [ 'by a key without the right', $reader, '/groups', $containers, 401 ],
    [ 'with too many values', $org->{key}, '/groups', $containers, 400 ],
    [ 'with a long name', $org->{key}, '/groups', $long_name, 400 ],
    [ 'with a list that is too long', $org->{key},
        "/orgs/$org->{id}/apiKeys/$reader->{id}/accessList",
        '[' . join(',', ('{}') x 59_000) . ']', 400 ],
    [ 'with 10,000 roles', $org->{key}, "/orgs/$org->{id}/apiKeys",
        encode_json({ desc => 'd', roles => [ ('ORG_MEMBER') x 10_000 ] }),
        400 ],
    [ 'with 900 kB of ignored attributes', $org->{key},
        "/groups/$project->{id}", $few, 200, 'PATCH' ],
) {
    my ($name, $key, $path, $body, $code, $method) = @$case;
    my $begin = begin();

    my $client = ApiKeys::Client->new(port => $nginx->port);
    is($client->request($method || 'POST', $base . $path, $body, headers => {
            Authorization => basic($key),
            'Content-Type' => 'application/json' })->code,
        $code, "a body $name: $code");
    $client->close;
    like(streams(128, $key, $path, $nginx->write_file('body', $body), $method),
        $code < 400 ? qr/^128 2xx/ : qr/^0 2xx, 0 3xx, 128 4xx, 0 5xx/,
        "$name: 128 streams");
    my $peak = peak($begin);
    my $flight = 128 * length $body;
    $flight = 128 * 65536 if $flight > 128 * 65536;

    # what nginx does not keep in a file
    cmp_ok($peak, '<', $flight + 32 * $MB, "$name: the peak")
        or diag $peak / $MB . ' MB';
    note sprintf '%s: %.1f MB above the idle worker', $name, $peak / $MB;
    cmp_ok(settled($begin->{used}, $noise), '<=', $noise,
        "$name: what is allocated afterwards");
    cmp_ok(status_of('VmRSS') - $begin->{rss}, '<', 32 * $MB,
        "$name: what is resident afterwards");
}


# requests that wait: for a node that does not apply, and for a connection

my $list = "/orgs/$org->{id}/apiKeys";
my @keys = map { $f->key($org, 'ORG_MEMBER') } 1 .. 24;

sub send_all {
    my ($n, $request) = @_;

    return map {
        my $client = ApiKeys::Client->new(port => $nginx->port);
        $client->send($request->($_));
        $client;
    } 0 .. $n - 1;
}

# what every connection holds from its first statements on
{
    my @all = send_all(8, sub {
        request('POST', "$list/$keys[$_[0]]{id}/accessList", $list_long) });
    is($_->read(timeout => 60)->code, 200, 'a list of 10,000 entries')
        for @all;
    $_->close for @all;
    $db->psql('DELETE FROM apikeys.access_list');
}

sub waiting {
    my ($n) = @_;

    $nginx->wait_for(sub {
        $db->psql("SELECT count(*) FROM apikeys.keys k WHERE EXISTS (
            SELECT FROM apikeys.access_list a WHERE a.key_id = k.id)
            AND k.descr LIKE 'key %'") >= $n }, 120, 'not committed');
}

sub request {
    my ($method, $path, $body, %headers) = @_;

    return ApiKeys::Client->new(port => $nginx->port)->format($method,
        $base . $path, $body, headers => {
            Authorization => basic($org->{key}),
            'Content-Type' => 'application/json', %headers });
}

# as good as nginx's own: its buffers for a connection and a body
my $own = 16 * 1024 + 8 * 1024;

# a node that is there and applies nothing
$db->psql(<<'END');
INSERT INTO apikeys.instances (uuid, name, feed, snapshot, horizon, heartbeat,
                               lease_until)
    SELECT 'stuck', 'stuck:1', uuid, '3:3:', '3', now(), 'infinity'
      FROM apikeys.feed_uuid
END

{
    my $begin = begin();
    my @waits = send_all(24, sub {
        request('POST', "$list/$keys[$_[0]]{id}/accessList", $list_long,
            Prefer => 'wait=300') });
    waiting(24);
    my $held = (settled($begin->{used}, 24 * (65536 + $own))) / 24;

    cmp_ok($held, '<=', 65536 + $own,
        'a list of 10,000 entries that waits for a receipt: what it holds');
    note "each holds $held bytes";
    cmp_ok(peak($begin), '<', 24 * length($list_long) + 32 * $MB, 'the peak');
    $_->close for @waits;
    cmp_ok(settled($begin->{used}, $noise), '<=', $noise,
        'memory is freed when the clients have disconnected');
}

{
    my $begin = begin();
    my @waits = send_all(24, sub {
        request('PATCH', "$list/$keys[$_[0]]{id}", '{"desc":"waits"}',
            Prefer => 'wait=300') });
    $nginx->wait_for(sub { $db->psql("SELECT count(*) FROM apikeys.keys
        WHERE descr = 'waits'") == 24 }, 60, 'not committed');
    my $held = settled($begin->{used}, 24 * (65536 + $own)) / 24;
    cmp_ok($held, '<=', 65536 + $own,
        'a change of a key with such a list: what it holds');
    note "each holds $held bytes";
    $_->close for @waits;
    cmp_ok(settled($begin->{used}, $noise), '<=', $noise,
        'memory is freed when the clients have disconnected');
}

# a key in 5,000 projects, whose answer is large, too
{
    $db->psql(<<"END");
WITH p AS (INSERT INTO apikeys.projects (org_id, name)
               SELECT '$org->{id}', 'p' || i FROM generate_series(1, 5000) i
               RETURNING id)
INSERT INTO apikeys.key_projects (key_id, project_id, org_id, roles)
    SELECT '$keys[0]{id}', id, '$org->{id}', '{GROUP_OWNER}' FROM p
END
    my $begin = begin();
    my $client = ApiKeys::Client->new(port => $nginx->port, timeout => 60);
    $client->send(request('PATCH', "$list/$keys[0]{id}",
        '{"desc":"projects"}', Prefer => 'wait=4'));
    $nginx->wait_for(sub { $db->psql("SELECT count(*) FROM apikeys.keys
        WHERE descr = 'projects'") == 1 }, 60, 'not committed');
    cmp_ok(settled($begin->{used}, 65536 + $own), '<=', 65536 + $own,
        'a change of a key in 5,000 projects: what it holds');
    my $res = $client->read;
    is($res->code, 202, 'the change of a key in 5,000 projects gets 202');
    is($res->header('x-apikeys-pending'), 'stuck:1',
        'the 202 names the node that lacks the change');
    is(scalar @{ $res->json->{roles} }, 5001, 'the 202 has all 5,001 roles');
    is($res->json->{desc}, 'projects', 'the 202 has the new description');
    $client->close;

    $client->send(request('POST', '/groups',
        encode_json({ orgId => $org->{id}, name => 'by many' }),
        Authorization => basic($org->{key}), Prefer => 'wait=1'));
    $res = $client->read;
    is($res->code, 202, 'a project is created');
    is($res->json->{name}, 'by many', 'the answer shows the new project');
    $client->close;
}
$db->psql("DELETE FROM apikeys.instances WHERE uuid = 'stuck'");


# queued for the database

{
    my $lock = $db->connect;
    $lock->begin_work;
    $lock->do('SELECT FROM apikeys.orgs FOR UPDATE');
    $db->psql('DELETE FROM apikeys.access_list');

    my $begin = begin();
    my @waits = send_all(24, sub {
        request('POST', "$list/$keys[$_[0]]{id}/accessList", $list_long) });
    $nginx->wait_for(sub {
        my $client = ApiKeys::Client->new(port => $nginx->port);
        my $pool = $client->plain('GET', '/status')->json->{pool};
        $client->close;
        $pool->{waiting} + $pool->{busy} >= 24 }, 60, 'not queued');
    my $held = (used() - $begin->{used}) / 24;
    cmp_ok($held, '<=', 65536 + $own, 'a list of 10,000 entries that waits '
        . 'for a connection: what it holds');
    note "each holds $held bytes";
    $lock->rollback;
    my %codes;
    $codes{ $_->read(timeout => 120)->code }++ for @waits;
    is(join(' ', %codes), '200 24',
        'all changes that waited for a lock are made');
    $_->close for @waits;
    is($db->psql('SELECT count(*) FROM apikeys.access_list'), 240_000,
        'all 240,000 entries are stored');
    cmp_ok(settled($begin->{used}, $noise), '<=', $noise,
        'memory is freed after the changes');
    cmp_ok(status_of('VmRSS') - $begin->{rss}, '<', 32 * $MB,
        'the resident memory does not stay large');
}


# a list of keys reads no access list

{
    my $read = "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
        + coalesce(seq_scan, 0) + coalesce(idx_scan, 0)
        FROM pg_stat_user_tables WHERE relname = 'access_list'";
    my $stats = sub { $db->psql('SELECT pg_stat_force_next_flush()')
        if $db->psql('SHOW server_version_num') >= 150000;
        sleep 1.2; $db->psql($read) };
    my $client = $org->{client};

    # sessions tell what they read now and then
    my $before = $stats->();
    for (1 .. 20) {
        my $now = $stats->();
        last if $now == $before;
        $before = $now;
    }
    my $begin = begin();

    for my $path ("$list?itemsPerPage=500", "$list/$keys[0]{id}",
        "/groups/$project->{id}/apiKeys")
    {
        is($client->request('GET', $base . $path)->code, 200, "GET $path");
    }
    is($stats->(), $before, "GET of many keys reads no access list");
    cmp_ok(peak($begin), '<', 4 * $MB,
        'GET of many keys takes less than 4 MB');
}

done_testing;
