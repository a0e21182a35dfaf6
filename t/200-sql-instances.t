# Instances: leases, pruning, receipts, use, and what a restore or a promotion
# does to the nodes that follow.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Pg ();
use ApiKeys::Sql ();
use Test::More;

my $pg = ApiKeys::Pg->new;
my $db = $pg->database(schema => 1);
my $s = ApiKeys::Sql->new($db);
my $identity = $s->value('SELECT apikeys.identity()');

sub now { return $s->value('SELECT pg_current_snapshot()::text') }

sub beat {
    my ($name, $snapshot, $lease, $who) = @_;

    return $s->value('SELECT apikeys.heartbeat(?, ?, ?, ?, ?)',
        $name, "host:$name", $who // $identity, $snapshot, $lease // '600');
}

sub since { return $s->value('SELECT kind FROM apikeys.feed_since(?, ?)',
    $_[1] // $identity, $_[0]) }

sub prune { return $s->value('SELECT apikeys.prune()') }

sub waiting { my ($xid, $ms) = @_;
    return [ map { s/^host://r } $s->column('SELECT name
        FROM apikeys.waiting_for(ARRAY[?])
        WHERE ?::bigint IS NULL OR heard <= ?', $xid, $ms, $ms) ] }


like $identity, qr{^\d+/\d+/00000001/[0-9a-f-]{36}$},
    'an identity: system, database, timeline, feed';
is $s->value('SELECT apikeys.identity()'), $identity,
    'the identity stays the same';


# pruning

my $start = now();
my ($org, $owner) = $s->organization;

ok beat('a', $start), 'a heartbeat is taken';
ok beat('b', now()), 'a heartbeat of a second instance is taken';
is prune(), 0, 'changes that one instance needs are not pruned';
is since($start), 'feed', 'an instance that is behind gets the feed';

ok beat('a', now()), 'the instance that was behind has applied everything';
cmp_ok prune(), '>', 0, 'changes that all instances have applied are pruned';
is since($start), 'epoch',
    'a snapshot from before the pruned changes must load';
is since(now()), 'feed', 'a snapshot that is up to date gets the feed';
is $s->value('SELECT count(*) FROM apikeys.changes'), 0,
    'the feed is empty after all instances have applied it';

my $late = now();
ok beat('new', undef),
    'a heartbeat of an instance without a snapshot is taken';
$s->key($org);
my $loaded = now();
$s->key($org);
ok beat($_, now()) for qw( a b );
prune();
is since($late), 'feed',
    'an instance without a snapshot keeps the changes since it began';
ok beat('new', undef), 'a second heartbeat during the load is taken';
prune();
is since($loaded), 'feed';
ok beat('new', now());
prune();
is since($loaded), 'epoch',
    'the changes are pruned once the new instance has loaded';

my $old = now();
ok beat('a', $old, '0'), 'a heartbeat with a lease of 0 seconds is taken';
$s->key($org);
ok beat($_, now()) for qw( b new );
prune();
is since($old), 'epoch', 'an expired lease keeps no changes';

# a node whose zone has a successor

sub succeeded_by {
    return $s->value('SELECT apikeys.heartbeat(?, ?, ?, ?, ?, ?, ?)',
        'a', 'host:a', $identity, now(), '600', [], $_[0]);
}

{
    my $xid = $s->value('SELECT pg_current_xact_id()');
    $s->run('SELECT apikeys.sign_off(?)', $_) for qw( b new );
    ok succeeded_by('c'), 'a heartbeat that names a successor';
    is_deeply waiting($xid), ['a'],
        'nothing counts as applied before the successor sends a heartbeat';
    ok beat('c', now()), 'a heartbeat of the successor is taken';
    is_deeply waiting($xid), [],
        'changes count as applied after a heartbeat of the successor';
    $s->run('SELECT apikeys.sign_off(?)', 'c');
    ok succeeded_by('c'),
        'a heartbeat after the successor has signed off is taken';
    is_deeply waiting($xid), [], 'a successor that has signed off stays known';
    ok succeeded_by('d'), 'a heartbeat that names another successor is taken';
    is_deeply waiting($xid), ['a'],
        'nothing counts as applied before a heartbeat of another successor';
    ok succeeded_by(undef), 'a heartbeat without a successor is taken';
    is_deeply waiting($xid), [],
        'changes count as applied without a successor';
    ok beat('d', now()) && succeeded_by('d'),
        'a successor sends a heartbeat before it is named';
    is_deeply waiting($xid), [],
        'a successor that sent a heartbeat before is known';
    $s->run('SELECT apikeys.sign_off(?)', 'd');
    ok beat('b', now()), 'the next test';
}

ok beat('a', now(), 'infinity'),
    'a heartbeat with a lease without an end is taken';
my $held = now();
$s->key($org);
ok beat($_, now()) for qw( b new );
prune();
is since($held), 'feed', 'a lease without an end keeps all changes';
$s->run('SELECT apikeys.sign_off(?)', 'a');
prune();
is since($held), 'epoch',
    'the changes are pruned once the instance has signed off';

{
    my $open = ApiKeys::Sql->new($db);
    $open->dbh->begin_work;
    my ($org) = $open->organization;
    my $before = now();
    ok beat($_, now()) for qw( b new );
    prune();
    is since($before), 'feed', 'changes of an open transaction are not pruned';
    $open->dbh->commit;
    is $s->value('SELECT count(*) FROM apikeys.feed_since(?, ?)
        WHERE id = ?', $identity, $before, $org), 1,
        'the changes of the transaction are in the feed after its commit';
}

{
    my $open = ApiKeys::Sql->new($db);
    $s->run('SELECT apikeys.sign_off(?)', $_) for qw( b new );
    $open->dbh->begin_work;
    $open->organization;
    $s->key($org);
    my $before = now();
    prune();
    is since($before), 'feed', 'also where nobody follows yet';
    $open->dbh->rollback;
    ok beat($_, now()) for qw( b new );
}

$s->dbh->begin_work;
my $mine = $s->key($org);
prune();
is $s->value('SELECT count(*) FROM apikeys.changes WHERE id = ?', $mine), 1,
    'a transaction that prunes keeps what it did';
$s->dbh->commit;

$s->dbh->begin_work;
$s->run('SELECT apikeys.prune()');
my $other = ApiKeys::Sql->new($db);
is $other->value('SELECT apikeys.prune()'), 0, 'two do not prune at once';
$s->dbh->commit;

ok !beat('x', now(), '600', 'another'), 'a heartbeat for another database';
is $s->value('SELECT count(*) FROM apikeys.instances WHERE uuid = ?', 'x'),
    0, 'a heartbeat for another database is not written';


# what a node tells between two heartbeats

{
    my $row = sub { return $s->value('SELECT (to_jsonb(i) - $$snapshot$$
        - $$applied_at$$)::text FROM apikeys.instances i WHERE uuid = ?',
        'b') };
    my $tell = 'SELECT apikeys.tell(?, ?)';
    my ($state) = $s->call('update_key', org => $org, key => $owner,
        descr => 'told');
    my $new = ApiKeys::Sql->new($db);

    ok beat('new', now()), 'one node has applied a change, another one has not';
    is $new->value($tell, 'b', now()), undef,
        'what is told in the first statement of a session is ignored';
    is_deeply waiting($state->{xid}), ['b'], 'the change is not applied';
    since(now());
    my $before = $row->();
    ok $s->value($tell, 'b', now()), 'a node tells what it has applied';
    is_deeply waiting($state->{xid}), [], 'the change is applied';
    is $row->(), $before, 'nothing else of the row has changed';
    is $s->value('SHOW synchronous_commit'), 'on',
        'the next commit waits for the disk again';
    is $s->value($tell, 'nobody', now()), 0,
        'a node without a row is told that it has none';
}

# a node goes on from an older snapshot when its connection is lost

{
    my $older = now();
    $s->key($org);
    ok beat('new', now()), 'a node that has applied everything';
    ok $s->value('SELECT apikeys.heartbeat(?, ?, ?, ?, ?, ?, ?, ?)', 'b',
        'host:b', $identity, now(), '600', [], undef, $older),
        'another one that may go on from an older snapshot';
    prune();
    is since($older), 'feed', 'the changes after that are kept';
    ok $s->value('SELECT apikeys.heartbeat(?, ?, ?, ?, ?, ?, ?, ?)', 'b',
        'host:b', $identity, undef, '600', [], undef, $older),
        'the same before a load';
    prune();
    is since($older), 'feed', 'the changes are still kept';
    ok beat('b', now()), 'a heartbeat without such a snapshot';
    prune();
    is since($older), 'epoch', 'the changes are pruned';
}

# somebody waits for changes of the API, nobody for those of psql

{
    my $asked = sub { return join ' ', map { $_ ? 1 : 0 } $s->column(
        'SELECT asked FROM apikeys.feed_since(?, ?) WHERE kind = $$feed$$',
        $identity, $_[0]) };
    my $before = now();
    is $asked->($before), 0, 'without changes nobody waits';
    $s->run('UPDATE apikeys.keys SET descr = descr WHERE id = ?', $owner);
    is $asked->($before), 0, 'nobody waits for a change of psql';
    $s->call('update_key', org => $org, key => $owner, descr => 'asked');
    is $asked->($before), 1, 'a function of the API waits for its change';
    $before = now();
    $s->call('create_global_key', key_id => '5' x 24, public_key => 'globalxx',
        secret => 'ab' x 112, redacted => 'ab' x 6, descr => 'g',
        roles => ['GLOBAL_READ_ONLY']);
    is $asked->($before), 1, 'a function for global keys, too'
        or diag $s->error;
    $before = now();
    $s->organization;
    is $asked->($before), 1, 'a function that makes an organization, too';
    $before = now();
    $s->run('UPDATE apikeys.keys SET descr = descr WHERE id = ?', $owner);
    is $asked->($before), 0, 'that ends with the transaction';
}

# few objects are read one by one, many at once: the same states

{
    my $before = now();
    $s->run('UPDATE apikeys.orgs SET name = name');
    $s->run('UPDATE apikeys.keys SET descr = descr');
    $s->run('UPDATE apikeys.keys SET descr = descr WHERE id = ?', $owner);
    my $gone = $s->key($org);
    $s->run('DELETE FROM apikeys.keys WHERE id = ?', $gone);
    my $columns = 'kind, id, version, deleted, org_id, public_key, secret,
        redacted, descr, roles, projects, entries, access_list_required,
        name, created';
    my @few = $s->column("SELECT ($columns)::text FROM apikeys.feed_since(?, ?)
        OFFSET 1", $identity, $before);
    my @many = $s->column("SELECT ($columns)::text
        FROM apikeys.feed_states(?, '{}')", $before);
    cmp_ok scalar @few, '<', 64, 'few objects';
    is_deeply [ sort @few ], [ sort @many ], 'a few states are those of many';
}


# receipts

my ($state) = $s->call('update_key', org => $org, key => $owner,
    descr => 'x');
my $xid = $state->{xid};
like $xid, qr/^\d+$/, 'a mutation has a transaction';
is_deeply waiting($xid, undef), [qw( b new )], 'none has applied it';
beat('b', now());
is_deeply waiting($xid, undef), ['new'],
    'waiting_for() names the node that has not applied a change';
beat('new', undef);
is_deeply waiting($xid, undef), ['new'], 'nothing applied is not applied';
beat('new', now());
is_deeply waiting($xid, undef), [],
    'waiting_for() is empty when all nodes have applied a change';
beat('slow', $start);
is_deeply waiting($xid, undef), ['slow'],
    'waiting_for() names an instance that is behind';
$s->run(q{UPDATE apikeys.instances SET heartbeat = heartbeat
          - interval '10 s' WHERE uuid = 'slow'});
is_deeply waiting($xid, 3000), [],
    'an instance without a heartbeat for 3 s does not count within 3 s';

sub only { return $s->value('SELECT apikeys.only_node(?)', $_[0]) }

is only(60_000), undef, 'only_node() is null while there are several nodes';
$s->run(q{UPDATE apikeys.instances SET heartbeat = heartbeat
          - interval '10 s' WHERE uuid <> 'new'});
is only(6000), 'new', 'only_node() is the only node with a recent heartbeat';
$s->run(q{UPDATE apikeys.instances SET heartbeat = heartbeat
          - interval '10 s' WHERE uuid = 'new'});
is only(6000), undef, 'only_node() is null without a recent heartbeat';
$s->run(q{UPDATE apikeys.instances SET heartbeat = clock_timestamp()
          WHERE uuid <> 'slow'});
is_deeply waiting($xid, 60000), ['slow'],
    'an instance with a heartbeat in the last 60 s counts within 60 s';
beat('slow', $start, '0');
is_deeply waiting($xid, undef), [],
    'an instance without a lease does not count';


# use

my $use = 'SELECT apikeys.flush_usage(?::text[], ?::cidr[], ?::bigint[],
    ?::float8[], ?::inet[])';
my $entry = 'SELECT count, last_used, last_used_address
    FROM apikeys.access_entries WHERE key_id = ? AND cidr = ?';

$s->call('add_access_entries', org => $org, key => $owner,
    entries => [ '10.0.0.0/8', '2001:db8::/32' ]) or die $s->error;
is_deeply [ $s->dbh->selectrow_array($entry, undef, $owner, '10.0.0.0/8') ],
    [ 0, undef, undef ], 'an entry that was not used';
is $s->value($use, [ $owner, $owner, 'f' x 24, $owner ],
    [ '10.0.0.0/8', '2001:db8::/32', '10.0.0.0/8', '11.0.0.0/8' ],
    [ 3, 1, 1, 1 ], [ 1700000000.25, 1700000001, 1, 1 ],
    [ '10.1.2.3', '2001:db8::1', '10.0.0.1', '11.0.0.1' ]), 2,
    'two entries were used; two are not there';
is $s->value($use, [ ($owner) x 2 ], [ ('10.0.0.0/8') x 2 ], [ 2, 5 ],
    [ 1600000000, 1500000000 ], [ '10.9.9.9', '10.8.8.8' ]), 1,
    'another node was earlier';
is_deeply [ $s->dbh->selectrow_array($entry, undef, $owner, '10.0.0.0/8') ],
    [ 10, '2023-11-14T22:13:20Z', '10.1.2.3' ],
    'the sum, and the last of all';
is $s->value($use, [$owner], ['10.0.0.0/8'], [1], [1800000000],
    ['10.7.7.7']), 1;
is +($s->dbh->selectrow_array($entry, undef, $owner, '10.0.0.0/8'))[2],
    '10.7.7.7', 'last_used_address is that of the last use';
$s->call('delete_access_entry', org => $org, key => $owner,
    entry => '10.0.0.0/8');
$s->call('add_access_entries', org => $org, key => $owner,
    entries => ['10.0.0.0/8']);
is +($s->dbh->selectrow_array($entry, undef, $owner, '10.0.0.0/8'))[0], 0,
    'an entry that is made anew was not used';


# a restore

$s->run(q{INSERT INTO apikeys.changes (xid, kind, id, version)
          VALUES ('99999999', 'org', 'restored', 1)}) or die $s->error;
prune();
beat('old', now(), 'infinity');
$s->run(q{INSERT INTO apikeys.changes (xid, kind, id, version)
          VALUES ('99999999', 'org', 'restored', 1)}) or die $s->error;
$s->run(q{UPDATE apikeys.feed_pruned SET below = '99999999'})
    or die $s->error;

my $restored = $pg->database;
$restored->psql($db->dump);
my $r = ApiKeys::Sql->new($restored);

is_deeply $r->dbh->selectall_arrayref('SELECT id, version, secret, entries
        FROM apikeys.key_states ORDER BY id'),
    $s->dbh->selectall_arrayref('SELECT id, version, secret, entries
        FROM apikeys.key_states ORDER BY id'), 'a dump has the keys';

my ($was, $is) = map { (split m{/}, $_)[3] } $identity,
    $r->value('SELECT apikeys.identity()');
isnt $is, $was, 'the feed has another uuid';
is $r->value('SELECT kind FROM apikeys.feed_since(?, ?)', $identity, $start),
    'epoch', 'a cursor of the old database must load';

my ($new, $at) = $r->dbh->selectrow_array(
    'SELECT identity, snapshot FROM apikeys.load LIMIT 1');
is $r->value('SELECT kind FROM apikeys.feed_since(?, ?)', $new, $at), 'feed',
    'a restored database ignores what the old one has pruned';
is $r->value('SELECT count(*) FROM apikeys.feed_since(?, ?)', $new, $at), 1,
    'a restored database ignores the changes of the old one';
is $r->value('SELECT count(*) FROM apikeys.leased_instances'), 0,
    'a restored database ignores the instances of the old one';
sub unknown { return join ' ', $_[0]->column('SELECT name
    FROM apikeys.waiting_for($${3}$$)') }
is unknown($r), 'unknown', 'waiting_for() reports "unknown" after a restore';
is $r->value('SELECT count(*) FROM apikeys.waiting_for($${3}$$)
    WHERE heard IS NOT NULL'), 0, '"unknown" has no time of a heartbeat';

$r->dbh->do('UPDATE apikeys.history SET lease = 600');
my $beat = 'SELECT apikeys.heartbeat(?, ?, ?, ?, ?)';
ok $r->value($beat, 'r', 'host:r', $new, $at, '5'),
    'a heartbeat to the restored database is taken';
is unknown($r), 'unknown',
    'waiting_for() still reports "unknown" after one heartbeat';
is $r->value('SELECT lease FROM apikeys.history'), 600,
    'history.lease keeps the longest lease';
$r->dbh->do(q{UPDATE apikeys.history SET begun = begun - interval '599 s'});
is unknown($r), 'unknown',
    '"unknown" is reported while the longest lease runs';
$r->dbh->do(q{UPDATE apikeys.history SET begun = begun - interval '1 s'});
is unknown($r), '', '"unknown" ends with the longest lease';
ok $r->value($beat, 'r', 'host:r', $new, $at, 'infinity'),
    'a heartbeat with a lease without an end is taken';
is unknown($r), 'unknown',
    '"unknown" does not end with a lease without an end';
$r->value('SELECT apikeys.end_unknown()');
is unknown($r), '', 'end_unknown() ends "unknown"';
ok $r->value($beat, 'r', 'host:r', $new, $at, '5'),
    'a heartbeat after end_unknown() is taken';
is unknown($r), '';
$r->dbh->do('SELECT apikeys.sign_off($$r$$)');
cmp_ok $r->value('SELECT apikeys.prune()'), '>', 0,
    'the changes are pruned after the last instance has signed off';
is $r->value('SELECT count(*) FROM apikeys.changes'), 0;
is $r->value('SELECT count(*) FROM apikeys.instances'), 0;
$at = $r->value('SELECT pg_current_snapshot()::text');
ok $r->organization, 'a new organization can be made';
is $r->value('SELECT count(*) FROM apikeys.feed_since(?, ?)', $new, $at), 4,
    'the new organization is in the feed';
ok $r->run('SET session_replication_role = replica')
    && $r->run('UPDATE apikeys.keys SET roles = $${}$$')
    && $r->value('SELECT count(*) FROM apikeys.changes') > 3,
    'the triggers of a restored database fire for replica, too';
$r->dbh->disconnect;

$s->run('REFRESH MATERIALIZED VIEW apikeys.feed_uuid') or die $s->error;
is since(now()), 'epoch', 'a refresh makes everyone load';


# recovery ends on another timeline

# a node that will not come back

my $present = $s->value("SELECT apikeys.identity()");
$s->dbh->do('DELETE FROM apikeys.instances');
beat('gone', now(), 600, $present);
ok !$s->run(q(SELECT apikeys.forget_instance('host:gone'))),
    'a node is not forgotten while its lease runs';
like $s->dbh->errstr, qr/node host:gone may decide .* until 20\d\d-/,
    'the message of forget_instance() has the end of the lease';
like $s->dbh->errstr, qr/HINT: +Wait until then, or stop the node and repeat/,
    'the hint of forget_instance() says what to do';
like $s->value(q(SELECT apikeys.forget_instance('host:gone', true))),
    qr/^node host:gone, last heard of at 20.* could decide until 20/,
    'forget_instance() with p_force forgets a node with a lease';
is $s->value('SELECT count(*) FROM apikeys.instances'), 0,
    'a node that is forgotten has no row';
is $s->value(q(SELECT event || ' ' || (before->>'name') FROM apikeys.audit
    ORDER BY id DESC LIMIT 1)), 'INSTANCE_FORGOTTEN host:gone',
    'the audit has it';
ok !$s->run(q(SELECT apikeys.forget_instance('host:gone'))),
    'a node that is not there is an error';
beat('old', now(), '-1', $present);
ok $s->run(q(SELECT apikeys.forget_instance('old'))),
    'a node whose lease has ended is forgotten by its uuid';
beat($_, now(), 600, $present) for 'one', 'two';
$s->dbh->do(q(UPDATE apikeys.instances SET name = 'same'));
ok !$s->run(q(SELECT apikeys.forget_instance('same', true))),
    'a name of two nodes is an error';
is $s->value('SELECT count(*) FROM apikeys.instances'), 2,
    'two nodes with one name stay';


my $own = ApiKeys::Pg->new(own => 1);
my $cluster = $own->database(schema => 1);
my $c = ApiKeys::Sql->new($cluster);
my $before = $c->value('SELECT apikeys.identity()');
$c->dbh->disconnect;

$own->restart;
$c = ApiKeys::Sql->new($cluster);
is $c->value('SELECT apikeys.identity()'), $before,
    'a restart is the same database';
$c->dbh->disconnect;

$own->stop;
my $data = $own->dir . '/data';
open my $f, '>>', "$data/postgresql.conf" or die;
print $f "restore_command = 'false'\nhot_standby = on\n";
close $f;
open $f, '>', "$data/standby.signal" or die;
close $f;
$own->start;
$c = ApiKeys::Sql->new($cluster);
ok !$c->run('SELECT * FROM apikeys.load'), 'a standby has no answer';
is $c->error, '55000';
$c->dbh->do('SELECT pg_promote()');
is +(split m{/}, $c->value('SELECT apikeys.identity()'))[2], '00000002',
    'a promoted standby has another timeline';
is $c->value('SELECT kind FROM apikeys.feed_since(?, $$3:3:$$)', $before),
    'epoch', 'a cursor of the old timeline must load';

done_testing;
