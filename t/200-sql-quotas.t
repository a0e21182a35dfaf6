# Quotas of an organization: what counts, when, and what is refused; that an
# audit row is as long as its change; and how the audit is cut.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Pg ();
use ApiKeys::Sql ();
use Test::More;

my $db = ApiKeys::Pg->new->database(schema => 1);
my $s = ApiKeys::Sql->new($db);
my ($org, $owner, $project) = $s->organization;
my ($other, $other_owner, $other_project) = $s->organization;
my @as_owner = (caller => $owner, org_roles => ['ORG_OWNER'], org => $org);

alarm 300;

# what the counters say, and what there is
sub usage {
    my ($id) = @_;

    return join ' ', $s->dbh->selectrow_array('SELECT keys, entries, projects,
        assignments FROM apikeys.org_usage WHERE org_id = ?', undef, $id);
}

sub counted {
    my ($id) = @_;

    return join ' ', $s->dbh->selectrow_array('SELECT
        (SELECT count(*) FROM apikeys.keys WHERE org_id = $1),
        (SELECT count(*) FROM apikeys.access_list a
           JOIN apikeys.keys k ON k.id = a.key_id WHERE k.org_id = $1),
        (SELECT count(*) FROM apikeys.projects WHERE org_id = $1),
        (SELECT count(*) FROM apikeys.key_projects WHERE org_id = $1)',
        undef, $id);
}

# entries whose key is gone, which the foreign key forbids
sub orphans {
    return join "\n", map { join ' ', map { $_ // '' } @$_ }
        @{ $s->dbh->selectall_arrayref('SELECT key_id, cidr, created,
            ctid::text, xmin::text, xmax::text FROM apikeys.access_list a
             WHERE NOT EXISTS (SELECT FROM apikeys.keys k
                                WHERE k.id = a.key_id)') };
}

sub exact {
    my ($name, $expected) = @_;

    is usage($org), $expected, "$name: the counters" if defined $expected;
    is usage($_), counted($_), "$name: are what there is"
        or diag orphans() for $org, $other;
}


# counters

exact('made by the functions', '1 0 1 0');

my ($key) = map { $_->{id} } $s->call('create_key', @as_owner,
    ApiKeys::Sql::credential(), descr => 'd', roles => []);
my ($guest) = map { $_->{id} } $s->call('create_key', project => $project,
    ApiKeys::Sql::credential(), descr => 'd', grants => ['GROUP_OWNER']);
$s->call('add_access_entries', @as_owner, key => $key,
    entries => [qw( 10.0.0.1 10.0.0.2 10.0.0.3 )]);
$s->call('create_project', @as_owner, name => 'second');
exact('keys, a list, a project', '3 3 2 2');
$s->call('set_key_grants', project => $project, key => $key,
    grants => ['GROUP_READ_ONLY']);
exact('assigned', '3 3 2 3');
$s->call('set_key_grants', project => $project, key => $key,
    grants => ['GROUP_OWNER']);
exact('other roles', '3 3 2 3');
$s->call('delete_access_entry', @as_owner, key => $key, entry => '10.0.0.1');
exact('an entry less', '3 2 2 3');
$s->call('unassign_key', project => $project, key => $key);
exact('unassigned', '3 2 2 2');
$s->call('delete_key', @as_owner, key => $key);
exact('a key and its list', '2 0 2 2');

for my $case (
    [ 'entries of two organizations',
        "INSERT INTO apikeys.access_list (key_id, cidr) VALUES
         ('$guest', '10.0.0.1'), ('$guest', '10.0.0.2'),
         ('$other_owner', '10.0.0.1')", '2 2 2 2' ],
    [ 'some of them',
        "INSERT INTO apikeys.access_list (key_id, cidr) VALUES
         ('$guest', '10.0.0.1'), ('$guest', '10.0.0.3')
         ON CONFLICT DO NOTHING", '2 3 2 2' ],
    [ 'moved to another organization',
        "UPDATE apikeys.access_list SET key_id = '$other_owner',
         org_id = '$other' WHERE cidr = '10.0.0.3'", '2 2 2 2' ],
    [ 'moved within one',
        "UPDATE apikeys.access_list SET key_id = '$owner'
          WHERE cidr = '10.0.0.2'", '2 2 2 2' ],
    [ 'copied', "COPY apikeys.access_list (key_id, cidr) FROM STDIN;\n"
        . "$guest\t11.0.0.0/8\n$guest\t12.0.0.0/8\n\\.\n", '2 4 2 2' ],
    [ 'a project with assignments',
        "DELETE FROM apikeys.projects WHERE id = '$project'", '2 4 1 1' ],
    [ 'a key with a list',
        "DELETE FROM apikeys.keys WHERE id = '$guest'", '1 1 1 1' ],
    [ 'with triggers off',
        "SET session_replication_role = replica;
         INSERT INTO apikeys.access_list (key_id, cidr, org_id)
             VALUES ('$owner', '10.1.0.0/16', '$org')", '1 2 1 1' ],
    [ 'rolled back', "BEGIN; DELETE FROM apikeys.access_list; ROLLBACK",
        '1 2 1 1' ],
    [ 'lists emptied', 'TRUNCATE apikeys.access_list CASCADE', '1 0 1 1' ],
    [ 'assignments emptied', 'TRUNCATE apikeys.key_projects', '1 0 1 0' ],
    [ 'keys emptied', 'TRUNCATE apikeys.keys CASCADE', '0 0 1 0' ])
{
    my ($name, $sql, $expected) = @$case;
    $db->psql($sql);
    exact("psql: $name", $expected);
}

cmp_ok $s->value(q{SELECT count(*) FROM apikeys.changes
    WHERE kind NOT IN ('key', 'org', 'project', 'reload')}), '==', 0,
    'a counter is no change for the feed';
$s->run('DELETE FROM apikeys.orgs WHERE id = ?', $other);
is usage($other), '', 'an organization takes its counters with it';
$s->run('TRUNCATE apikeys.orgs CASCADE') or die $s->error;
is $s->value('SELECT count(*) FROM apikeys.org_usage'), 0, 'TRUNCATE, too';

# many at once
($org, $owner, $project) = $s->organization;
($other) = $s->organization;
@as_owner = (caller => $owner, org_roles => ['ORG_OWNER'], org => $org);
my @pids;
for my $n (1 .. 4) {
    my $pid = fork // die;
    if ($pid == 0) {
        my $w = ApiKeys::Sql->new($db);
        for (1 .. 40) {
            my $id = $w->key($org);
            $w->run('INSERT INTO apikeys.access_list (key_id, cidr)
                SELECT id, (? || $$.0.0.0/8$$)::cidr FROM apikeys.keys
                 WHERE org_id = ? ON CONFLICT DO NOTHING', $n + 20, $org);
            $w->call('delete_key', org => $org, key => $id) if $_ % 2;
        }
        require POSIX;
        POSIX::_exit(0);
    }
    push @pids, $pid;
}
waitpid $_, 0 for @pids;
exact('four writers');

# a dump has them
{
    my $copy = ApiKeys::Pg->new->database;
    $copy->psql($db->dump);
    is $copy->psql("SELECT keys FROM apikeys.org_usage
        WHERE org_id = '$org'"), (split / /, usage($org))[0],
        'a restored database has the counters';
}


# quotas

($org, $owner, $project) = $s->organization;
@as_owner = (caller => $owner, org_roles => ['ORG_OWNER'], org => $org);
$key = $s->key($org);
my $none = 'f' x 24;

is_deeply $s->dbh->selectrow_hashref('SELECT keys, entries, projects,
    assignments, key_entries, global_keys, global_entries
    FROM apikeys.quotas_of(?)', {}, $org),
    { keys => 500, entries => 50000, projects => 1000, assignments => 10000,
      key_entries => 10000, global_keys => 100, global_entries => 1000 },
    'the defaults';

sub quota {
    my (%q) = @_;

    return $s->run('SELECT apikeys.set_quota(?, ' . join(', ',
        map { "p_$_ => $q{$_}" } sort keys %q) . ')', $org);
}

sub refused {
    my ($error, $name, $function, %args) = @_;

    my $before = usage($org);
    my @rows = $s->call($function, %args);
    is "@rows|" . $s->error, "|$error", $name;
    is usage($org), $before, "$name: nothing is changed";
}

my @create = (descr => 'd', roles => []);

ok quota(keys => 3), 'a quota of keys';
ok $s->call('create_key', @as_owner, ApiKeys::Sql::credential(), @create),
    'the last key of the quota is created';
refused('max_keys 3', 'one more', 'create_key', @as_owner,
    ApiKeys::Sql::credential(), @create);
refused('max_keys 3', 'by the operator, too', 'create_key', org => $org,
    ApiKeys::Sql::credential(), @create);
refused('max_keys 3', 'through a project, too', 'create_key',
    project => $project, ApiKeys::Sql::credential(), descr => 'd',
    grants => ['GROUP_OWNER']);
ok $s->key($other), 'another organization is not bound by it';
ok $s->run("INSERT INTO apikeys.keys (org_id, public_key, secret, redacted,
    descr) VALUES ('$org', 'aaaaaaaa', decode(repeat('ab', 112), 'hex'),
    '0123456789ab', 'd')"), 'psql is counted and not refused';
refused('max_keys 3', 'above the quota', 'create_key', org => $org,
    ApiKeys::Sql::credential(), @create);
ok quota(keys => 5), 'a larger quota of keys';
ok $s->call('create_key', @as_owner, ApiKeys::Sql::credential(), @create),
    'has room';

ok quota(entries => 4), 'a quota of entries';
my @list = (@as_owner, key => $key);
ok $s->call('add_access_entries', @list,
    entries => [qw( 10.0.0.1 10.0.0.2 10.0.0.3 )]), 'three of them';
refused('max_org_entries 4', 'two more', 'add_access_entries', @list,
    entries => [qw( 10.0.0.4 10.0.0.5 )]);
refused('max_org_entries 4', 'on another key, too', 'add_access_entries',
    @as_owner, key => $owner, entries => [qw( 10.0.0.4 10.0.0.5 )]);
refused('entry_exists 10.0.0.3', 'a duplicate is reported before',
    'add_access_entries', @list, entries => [qw( 10.0.0.4 10.0.0.3 )]);
ok $s->run('UPDATE apikeys.default_quotas SET key_entries = 3');
refused('max_key_entries 3',
    'the quota of a key is reported before that of the organization',
    'add_access_entries', @list, entries => [qw( 10.0.0.4 10.0.0.5 )]);
ok $s->run('UPDATE apikeys.default_quotas SET key_entries = 10000');
ok $s->call('add_access_entries', @list, entries => [qw( 10.0.0.4 )]),
    'the last entry of the quota is added';
ok quota(entries => 0), 'a quota below what there is';
ok $s->call('delete_access_entry', @list, entry => '10.0.0.1'),
    'an entry can be deleted above the quota';
refused('max_org_entries 0', 'no entry can be added above the quota',
    'add_access_entries',
    @list, entries => [qw( 10.0.0.1 )]);

ok quota(projects => 2), 'a quota of projects';
ok $s->call('create_project', @as_owner, name => 'last'),
    'the last project of the quota is created';
refused('max_projects 2', 'one more', 'create_project', @as_owner,
    name => 'more');
refused('max_projects 2', 'by the operator, too', 'create_project',
    org => $org, name => 'more');

ok quota(keys => 9, projects => 9, assignments => 2), 'a quota of assignments';
ok $s->call('assign_key', project => $project, key => $key,
    grants => ['GROUP_OWNER']), 'the last assignment';
refused('max_assignments 2', 'POST', 'assign_key', project => $project,
    key => $owner, grants => ['GROUP_OWNER']);
refused('max_assignments 2', 'PATCH', 'set_key_grants', project => $project,
    key => $owner, grants => ['GROUP_OWNER']);
ok $s->call('set_key_grants', project => $project, key => $key,
    grants => ['GROUP_READ_ONLY']), 'roles of one that is there may change';
refused('max_assignments 2', 'a key made through a project', 'create_key',
    project => $project, ApiKeys::Sql::credential(), descr => 'd',
    grants => ['GROUP_OWNER']);
refused('max_assignments 2', 'a project made by a key', 'create_project',
    @as_owner, name => 'more');
ok $s->call('create_project', org => $org, name => 'more'),
    'by the operator it assigns nobody';

ok $s->run('SELECT apikeys.set_quota(NULL, p_keys => 1)'),
    'set_quota() sets the default quota of keys';
my ($small) = $s->organization;
is +($s->call('create_key', org => $small, ApiKeys::Sql::credential(),
    @create), $s->error)[0], 'max_keys 1', 'binds who has no own quota';
ok $s->call('create_key', org => $other, ApiKeys::Sql::credential(), @create)
    || $s->error eq 'max_keys 1';
ok !$s->run('SELECT apikeys.set_quota(?, -1)', $org),
    'a negative quota is refused';
is $s->error, '23514', 'a negative quota violates a CHECK';
ok !$s->run('SELECT apikeys.set_quota(?, 1)', $none),
    'a quota of an unknown organization is refused';
is $s->error, '23503',
    'a quota of an unknown organization violates a foreign key';
ok $s->run('SELECT apikeys.set_quota(NULL, 500)');

# at the bound, two at once: exactly one
{
    my ($full) = $s->organization;
    $s->run('SELECT apikeys.set_quota(?, 2)', $full);
    my ($a, $b) = map { ApiKeys::Sql->new($db) } 1, 2;
    $a->dbh->begin_work;
    ok $a->call('create_key', org => $full, ApiKeys::Sql::credential(),
        @create), 'two at the bound: the first';
    $b->start('create_key', org => $full, ApiKeys::Sql::credential(),
        @create);
    ok $b->waits, 'the second waits';
    $a->dbh->commit;
    $b->finish;
    is $b->error, 'max_keys 2',
        'the second of two keys, with room for one, is refused';
}


# a change's row in the audit is as long as the change, whatever the key has

($org, $owner, $project) = $s->organization;
@as_owner = (caller => $owner, org_roles => ['ORG_OWNER'],
    project_roles => ['GROUP_OWNER'], org => $org);
$s->run('SELECT apikeys.set_quota(?, p_projects => 20000,
    p_assignments => 30000)', $org);
$s->run("WITH p AS (INSERT INTO apikeys.projects (org_id, name)
             SELECT '$org', 'p' || i FROM generate_series(1, 5000) i
             RETURNING id)
         INSERT INTO apikeys.key_projects (key_id, project_id, org_id, roles)
             SELECT '$owner', id, '$org', '{GROUP_OWNER}' FROM p")
    or die $s->error;
($guest) = map { $_->{id} } $s->call('create_key', project => $project,
    ApiKeys::Sql::credential(), descr => 'd', grants => ['GROUP_READ_ONLY']);

my @in = (@as_owner[0 .. 5], project => $project);
for my $case (
    [ create_project => @as_owner[ 0 .. 3, 6, 7 ], name => 'one more' ],
    [ update_key => @as_owner, key => $owner, descr => 'renamed' ],
    [ update_key => @as_owner, key => $owner,
        roles => [qw( ORG_OWNER ORG_MEMBER )] ],
    [ assign_key => @in, key => $owner, grants => ['GROUP_READ_ONLY'] ],
    [ set_key_grants => @in, key => $owner, grants => ['GROUP_OWNER'] ],
    [ set_key_grants => @in, key => $owner, descr => 'again' ],
    [ unassign_key => @in, key => $owner ],
    [ add_access_entries => @as_owner, key => $owner,
        entries => ['10.0.0.1'] ],
    [ delete_access_entry => @as_owner, key => $owner,
        entry => '10.0.0.1/32' ])
{
    my ($function, @args) = @$case;
    my $last = $s->value('SELECT max(id) FROM apikeys.audit');

    ok $s->call($function, @args), "$function by a key in 5,000 projects"
        or diag $s->error;
    my ($rows, $length) = $s->dbh->selectrow_array('SELECT count(*),
        sum(length(a::text)) FROM apikeys.audit a WHERE id > ?', undef, $last);
    cmp_ok $rows, '>', 0, "$function: is in the audit";
    cmp_ok $length, '<', 300 * $rows, "$function: in a few words";
}


# retention

my @ids = $s->column('SELECT id FROM apikeys.audit ORDER BY id');
my $at = $s->value('SELECT at FROM apikeys.audit ORDER BY id OFFSET 49 LIMIT 1');

my @kept = $s->column('SELECT id FROM apikeys.events WHERE at >= ?
    ORDER BY id', $at);
my $old = $s->value('SELECT count(*) FROM apikeys.events WHERE at < ?', $at);
cmp_ok $old, '>', 20, 'there are old events as well';

for (my ($rows, $events) = (49, $old); $rows > 0 || $events > 0;
    $rows -= 20, $events -= 20)
{
    my $sum = 0;
    $sum += $_ < 0 ? 0 : $_ < 20 ? $_ : 20 for $rows, $events;
    is $s->value('SELECT apikeys.forget_before(?, 20)', $at), $sum,
        'the oldest rows and events go, 20 of each at a time at most';
}
is $s->value('SELECT apikeys.forget_before(?)', $at), 0,
    'forget_before() deletes nothing a second time';
is_deeply [ $s->column('SELECT id FROM apikeys.audit ORDER BY id') ],
    [ @ids[49 .. $#ids] ], 'audit rows that stay keep their ids';
is_deeply [ $s->column('SELECT id FROM apikeys.events ORDER BY id') ],
    \@kept, 'events that stay keep their ids';
is $s->value('SELECT apikeys.forget_before($$-infinity$$)'), 0;

for my $sql ('DELETE FROM apikeys.audit', 'UPDATE apikeys.audit SET event = 1',
    'TRUNCATE apikeys.audit', 'DELETE FROM apikeys.events',
    'UPDATE apikeys.events SET type = 1', 'TRUNCATE apikeys.events')
{
    ok !$s->run($sql), "$sql is refused, as ever";
    is $s->error, '55000';
}
$s->call('add_access_entries', @as_owner, key => $owner,
    entries => ['10.0.0.1/32']);
$s->run("SELECT apikeys.flush_usage(ARRAY['$owner'], '{10.0.0.1/32}', '{5}',
    '{1000000000}', '{10.0.0.1}')") or die $s->error;
$s->value('SELECT apikeys.forget_before(now())');
is $s->value('SELECT count FROM apikeys.access_entries WHERE key_id = ?',
    $owner), 5, 'the use of an entry that is there stays, however old';

$s->dbh->do('SET client_min_messages = error');
my $role = "clerk_$$";
$s->dbh->do("CREATE ROLE $role");
$s->dbh->do("GRANT USAGE ON SCHEMA apikeys TO $role");
$s->dbh->do("SET ROLE $role");
ok !$s->run('SELECT apikeys.forget_before(now())'),
    'a role without rights may not call forget_before()';
is $s->error, '42501';
$s->dbh->do('RESET ROLE');
$s->dbh->do("DROP OWNED BY $role");
$s->dbh->do("DROP ROLE $role");

done_testing;
