# Following the database: what is changed there, by whomever, is in the
# replica soon, on every node, whether notifications arrive or not.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use ApiKeys::Pg ();
use Test::More;
use Time::HiRes qw( time );

# with a poll that never comes in time, only notifications can be it
my $f = ApiKeys::Fixture->new(http => 'apikeys_sync poll=60s;', workers => 2,
    zone => '32m');
my $db = $f->db;
my $org = $f->org;

sub code {
    my ($key, $path, $nginx) = @_;

    my $client = $f->client(key => $key->{secret},
        nginx => $nginx || $f->nginx);
    my $res = $client->request('GET', $path);
    $client->close;
    return $res ? $res->code : 0;
}

# seconds until the key's request is answered so; undef: not in time
sub until_code {
    my ($code, $key, $path, $nginx, $timeout) = @_;

    my $begin = time;
    my $done = eval {
        ($nginx || $f->nginx)->wait_for(
            sub { code($key, $path, $nginx) == $code }, $timeout || 10, '');
    };
    return $done ? time - $begin : undef;
}

sub soon {
    my ($code, $key, $path, $name, $nginx) = @_;

    my $time = until_code($code, $key, $path, $nginx);
    ok(defined $time && $time < 2, $name)
        or diag('took ' . ($time // 'too long'));
}


# psql

my $key = $f->key($org, 'ORG_READ_ONLY');
is(code($key, $org->{path}), 200, 'a key made through the API is known');

$db->psql("UPDATE apikeys.orgs SET access_list_required = true
            WHERE id = '$org->{id}'");
soon(403, $key, $org->{path}, 'an organization changed in psql');

$db->psql("INSERT INTO apikeys.access_list (key_id, cidr)
           VALUES ('$key->{id}', '127.0.0.0/8')");
soon(200, $key, $org->{path}, 'an entry added in psql');

$db->psql("UPDATE apikeys.access_list SET cidr = '10.0.0.0/8'
            WHERE key_id = '$key->{id}'");
soon(403, $key, $org->{path}, 'an entry changed in psql');

$db->psql("DELETE FROM apikeys.access_list WHERE key_id = '$key->{id}';
           UPDATE apikeys.orgs SET access_list_required = false
            WHERE id = '$org->{id}'");
soon(200, $key, $org->{path}, 'entry and demand removed in psql');

$db->psql("DELETE FROM apikeys.keys WHERE id = '$key->{id}'");
soon(401, $key, $org->{path}, 'a key deleted in psql');


# a transaction that began before others and commits after them

my $late = $f->key($org, 'ORG_READ_ONLY');
my $dbh = $db->connect;
$dbh->begin_work;
$dbh->do('DELETE FROM apikeys.keys WHERE id = ?', undef, $late->{id});

my $beside = $f->org;
my $other = $f->key($beside, 'ORG_READ_ONLY');
$db->psql("DELETE FROM apikeys.keys WHERE id = '$other->{id}'");
soon(401, $other, $beside->{path}, 'a change beside an open transaction');
is(code($late, $org->{path}), 200, 'a deletion that is not committed');

$dbh->commit;
$dbh->disconnect;
soon(401, $late, $org->{path}, 'a transaction that committed late');


# what the instance tells

sub applied {
    return $db->dbh->selectrow_array(
        'SELECT bool_and(pg_visible_in_snapshot(x.xid, i.snapshot))
           FROM apikeys.instances i, (SELECT xid
                FROM apikeys.changes ORDER BY xid DESC LIMIT 1) x');
}

ok($f->nginx->wait_for(\&applied, 10, 'not applied'),
    'the instance tells that it has applied the last change');
is($db->psql('SELECT count(*) FROM apikeys.instances'), 1,
    'two workers and one zone are one instance');


# two nodes

my $node = $f->node(http => 'apikeys_sync poll=60s;', zone => '16m');
$node->start;
$f->wait_loaded($node);

my $shared = $f->key($org, 'ORG_READ_ONLY');
soon(200, $shared, $org->{path}, 'a key made on one node works on another',
    $node);

is($org->{client}->request('DELETE',
    "$org->{path}/apiKeys/$shared->{id}")->code, 204,
    'a key is deleted on one node');
is(code($shared, $org->{path}), 401,
    'the deleted key gets 401 on that node at once');
soon(401, $shared, $org->{path},
    'the deleted key gets 401 on the other node', $node);

$node->quit;


# read your writes: this one hears of nothing for a minute

my $deaf = $f->node(http => 'apikeys_sync poll=60s notify=off;',
    workers => 2);
$deaf->start;
$f->wait_loaded($deaf);

my $owner = $f->client(key => $org->{key}{secret}, nginx => $deaf);
my $made = $owner->request('POST', "$org->{path}/apiKeys",
    { desc => 'mine', roles => ['ORG_READ_ONLY'] })->json;
$made->{secret} = "$made->{publicKey}:$made->{privateKey}";

is(code($made, $org->{path}, $deaf), 200,
    'a new key is admitted at once by the node that made it');
is($owner->request('POST', "$org->{path}/apiKeys/$made->{id}/accessList",
    [{ cidrBlock => '10.0.0.0/8' }])->code, 200, 'an access list is made');
is(code($made, $org->{path}, $deaf), 403,
    'a new access list is enforced at once by the node that made it');
is($owner->request('DELETE', "$org->{path}/apiKeys/$made->{id}")->code, 204,
    'the new key is deleted');
is(code($made, $org->{path}, $deaf), 401,
    'the new key gets 401 at once on the node that deleted it');
$deaf->quit;


# TRUNCATE, and a restored database

my $before = $f->key($org, 'ORG_READ_ONLY');
$f->nginx->log_mark;
$db->psql('TRUNCATE apikeys.access_list, apikeys.access_usage');
ok(eval { $f->nginx->wait_log(qr/loaded \d+ keys from database/, 10) },
    'TRUNCATE makes the local copy load everything');
is(code($before, $org->{path}), 200,
    'keys work after TRUNCATE of their access lists');

$db->psql('REFRESH MATERIALIZED VIEW apikeys.feed_uuid;
           UPDATE apikeys.orgs SET name = name');
ok(eval { $f->nginx->wait_log(qr/loaded \d+ keys from database/, 10) },
    'another feed makes the local copy load everything');
soon(200, $before, $org->{path}, 'a key after the new epoch');

$db->psql("DELETE FROM apikeys.keys WHERE id = '$before->{id}'");
soon(401, $before, $org->{path}, 'a change after the new epoch');


# many keys: these open with no master key, which counts as unreadable

my $survivor = $f->key($org, 'ORG_READ_ONLY');
$f->copies($org, $survivor, 20000);
ok(eval {
    $f->nginx->wait_log(
        qr/20000 of 2000\d API keys cannot be decrypted with apikeys_m/, 60);
}, 'copied secrets open nothing, and are counted, by a feed of 20,000');
is(code({ secret => 'gggggggh:x' }, $org->{path}), 503,
    'an unreadable key is 503');

$f->nginx->log_mark;
$db->psql('TRUNCATE apikeys.access_usage, apikeys.access_list');

# requests are answered while the load runs
my ($n, $worst, $bad) = (0, 0, 0);
$f->nginx->wait_for(sub {
    my $begin = time;
    $bad++ if code($survivor, $org->{path}) != 200;
    my $took = time - $begin;
    $worst = $took if $took > $worst;
    $n++;
    return substr($f->nginx->error_log, $f->nginx->{log_offset})
        =~ /loaded (\d+) keys from database/ && $1 > 20000;
}, 60, 'not loaded');

is($bad, 0, 'a key that is there works during a load of 20,000');
cmp_ok($worst, '<', 1, 'no request takes a second during a load of 20,000');
note("$n requests, the slowest took $worst s");

$db->psql("DELETE FROM apikeys.keys WHERE descr = 'copy'");
soon(401, { secret => 'gggggggh:x' }, $org->{path}, '20,000 deletions');


# without notifications

my $quiet = $f->node(http => 'apikeys_sync poll=200ms notify=off;');
$quiet->start;
$f->wait_loaded($quiet);

my $last = $f->key($org, 'ORG_READ_ONLY');
soon(200, $last, $org->{path}, 'a poll finds a new key', $quiet);
$db->psql("DELETE FROM apikeys.keys WHERE id = '$last->{id}'");
soon(401, $last, $org->{path}, 'a poll finds a deleted key', $quiet);

done_testing;
