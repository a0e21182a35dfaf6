# A zone that is too small grants nothing that was revoked, says what it
# needs, and is whole again when there is room.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use Test::More;

my $f = ApiKeys::Fixture->new(http => 'apikeys_sync poll=200ms;',
    database => 'timeout=2s', zone => '1m', workers => 2,
    server => 'location /status { apikeys_status json; }',
    allow => qr/\[crit\].* is full/);
my $db = $f->db;
my $nginx = $f->nginx;
my $org = $f->org;

sub code {
    my ($key) = @_;

    my $client = $f->client(key => $key->{secret});
    my $res = $client->request('GET', $org->{path});
    $client->close;
    return $res->code;
}

sub becomes {
    my ($key, $codes, $name, $timeout) = @_;

    my $code;
    eval { $nginx->wait_for(sub { ($code = code($key)) =~ /^(?:$codes)$/ },
        $timeout || 60, '') };
    like($code, qr/^(?:$codes)$/, $name);
}

# more than twice what the zone holds; sanitizers open each secret slowly
my $copies = $ENV{APIKEYS_TEST_ASAN} ? 16_000 : 40_000;

my $unknown = { secret => 'zzzzzzzz:x' };
my @keys = map { $f->key($org, 'ORG_READ_ONLY') } 1 .. 3;
is(code($_), 200, 'a key is admitted') for @keys;
is(code($unknown), 401, 'an unknown key');

$f->copies($org, $keys[0], $copies);
ok(eval { $nginx->wait_log(
    qr/\[crit\].*is full, local copy is incomplete.* needs at least \d+/,
    90) }, 'the log says that the zone is full and the size needed');

becomes($unknown, 503,
    'an unknown key gets 503 while the local copy is incomplete');
is(code($keys[0]), 200, 'a key in the zone is served while the zone is full');

# no room for a new version, none needed for a deletion
$db->psql("INSERT INTO apikeys.access_list (key_id, cidr)
           SELECT '$keys[1]{id}', ('10.0.' || n || '.0/24')::cidr
             FROM generate_series(0, 200) AS n");
becomes($keys[1], '403|503', 'a key that was restricted');

$db->psql("DELETE FROM apikeys.keys WHERE id = '$keys[2]{id}'");
becomes($keys[2], '401|503', 'a key that was deleted');

is($db->dbh->selectrow_array(
    'SELECT coalesce(bool_and(pg_visible_in_snapshot(x.xid, i.snapshot)),
                     false)
       FROM apikeys.instances i, (SELECT xid
            FROM apikeys.changes ORDER BY xid DESC LIMIT 1) x'), 0,
    'a node with a full zone does not report all changes as applied');

$db->psql("DELETE FROM apikeys.keys WHERE descr = 'copy'");

# tombstones need the room until nothing older can be on its way
becomes($unknown, 401, 'with room, the local copy becomes complete', 180);
becomes($keys[1], 403, 'the key that was restricted');
becomes($keys[2], 401, 'the key that was deleted');
is(code($keys[0]), 200,
    'other keys are admitted when the copy is complete again');

my $retired;
ok(eval { $nginx->wait_for(sub {
    my $client = $f->client;
    $retired = $client->plain('GET', '/status')->json->{zone}{retired_bytes};
    $client->close;
    return $retired == 0;
}, 15, '') }, 'memory of deleted records becomes free without other changes')
    or diag("$retired bytes wait");

done_testing;
