# Two sessions at once: the second waits for the first, and then judges by
# what the first left.  Each function, and batches of all of them.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Pg ();
use ApiKeys::Sql ();
use Test::More;

my $db = ApiKeys::Pg->new->database(schema => 1);
my $s = ApiKeys::Sql->new($db);
my $a = ApiKeys::Sql->new($db);
my $b = ApiKeys::Sql->new($db);

alarm 300;


# $first runs in a transaction, the call waits for it and then gives
# $expected: an error, or a reference to what is asked of the answer
sub after {
    my ($name, $first, $end, $function, $args, $expected) = @_;

    $a->dbh->begin_work;
    $first->();
    is $a->error, '', "$name: the first is through";

    $b->start($function, %$args);
    ok $b->waits, "$name: the second waits";
    $end eq 'commit' ? $a->dbh->commit : $a->dbh->rollback;

    my ($state) = $b->finish;
    is ref $expected ? $b->error : "$b->{error}",
        ref $expected ? '' : $expected, "$name: and is answered";
    $expected->($state) if ref $expected;
}

sub count { return $s->value('SELECT count(*) FROM apikeys.keys
    WHERE org_id = ?', shift) }


# 500 keys

for my $end (qw( commit rollback )) {
    my ($org) = $s->organization;
    $s->run("INSERT INTO apikeys.keys (org_id, public_key, secret, redacted,
                 descr)
             SELECT '$org', translate(lpad((i + floor(random() * 90000000)
                        ::bigint)::text, 8, '0'), '0123456789',
                        'abcdefghij'),
                    decode(repeat('ab', 112), 'hex'), '0123456789ab', 'd'
               FROM generate_series(1, 498) i
             ON CONFLICT DO NOTHING");
    $s->key($org) while count($org) < 499;

    after("500 keys, $end",
        sub { $a->call('create_key', org => $org, ApiKeys::Sql::credential(),
            descr => 'd') }, $end,
        create_key => { org => $org, ApiKeys::Sql::credential(),
            descr => 'd' },
        $end eq 'commit' ? 'max_keys 500' : sub {});
    is count($org), 500, 'there are 500';
}


# the last owner

my @demote = (roles => ['ORG_MEMBER']);

for my $case (
    [ [ delete_key => () ], [ delete_key => () ], 'deletes_last_owner' ],
    [ [ delete_key => () ], [ update_key => @demote ], 'demotes_last_owner' ],
    [ [ update_key => @demote ], [ delete_key => () ], 'deletes_last_owner' ],
    [ [ update_key => @demote ], [ update_key => @demote ], 'demotes_last_owner' ])
{
    my ($first, $second, $code) = @$case;
    my ($f1, @args1) = @$first;
    my ($f2, @args2) = @$second;

    for my $end (qw( commit rollback )) {
        my ($org, $one) = $s->organization;
        my $other = $s->key($org, 'ORG_OWNER');

        after("last of two owners, $f1, $f2, $end",
            sub { $a->call($f1, caller => $one, org_roles => ['ORG_OWNER'],
                org => $org, key => $one, @args1) }, $end,
            $f2 => { caller => $other, org_roles => ['ORG_OWNER'],
                org => $org, key => $other, @args2 },
            $end eq 'commit' ? "$code $other" : sub {});
        is $s->value(q{SELECT count(*) FROM apikeys.keys
            WHERE org_id = ? AND 'ORG_OWNER' = ANY (roles)}, $org), 1,
            'one owner is left';
    }
}


# the caller goes, or loses its role, while its call waits

my %calls = (
    update_org => [qw( org )],
    delete_org => [qw( org )],
    create_project => [qw( org )],
    update_project => [qw( project )],
    delete_project => [qw( project )],
    create_key => [qw( org )],
    update_key => [qw( org key )],
    delete_key => [qw( org key )],
    set_key_grants => [qw( project key )],
    assign_key => [qw( project key )],
    unassign_key => [qw( project key )],
    add_access_entries => [qw( org key )],
    delete_access_entry => [qw( org key )],
);
my %more = (
    update_org => { required => 1 },
    create_project => { name => 'n' },
    update_project => { name => 'n' },
    create_key => { descr => 'd' },
    update_key => { descr => 'x' },
    set_key_grants => { grants => ['GROUP_OWNER'] },
    assign_key => { grants => ['GROUP_OWNER'] },
    unassign_key => { repeatable => 0 },
    add_access_entries => { entries => ['1.2.3.4'] },
    delete_access_entry => { entry => '1.2.3.4' },
);

for my $function (sort keys %calls) {
    my ($org, $owner, $project) = $s->organization;

    for my $what (qw( deleted demoted typed org )) {
        my $caller = $s->key($org, 'ORG_OWNER');
        my %is = (org => $org, project => $project,
            key => $s->key($org, 'ORG_MEMBER'));
        my %args = (caller => $caller, org_roles => ['ORG_OWNER'],
            (map { $_ => $is{$_} } @{ $calls{$function} }),
            %{ $more{$function} || {} },
            $function eq 'create_key' ? ApiKeys::Sql::credential() : ());

        my %first = (
            deleted => sub { $a->call('delete_key', org => $org,
                key => $caller) },
            demoted => sub { $a->call('update_key', org => $org,
                key => $caller, roles => ['ORG_MEMBER']) },
            typed => sub { $a->run('DELETE FROM apikeys.keys WHERE id = ?',
                $caller) },
            org => sub { $a->run('DELETE FROM apikeys.orgs WHERE id = ?',
                $org) },
        );
        after("$function, caller $what", $first{$what}, 'commit',
            $function => \%args,
            ($what eq 'demoted' ? 'unauthorized' : 'caller_gone') . " $caller");
    }
}


# the key or the project goes

for my $function (sort grep { $calls{$_}[-1] eq 'key' } keys %calls) {
    my ($org, $owner, $project) = $s->organization;
    my $key = $s->key($org, 'ORG_MEMBER');
    my %is = (org => $org, project => $project, key => $key);
    my %args = (caller => $owner, org_roles => ['ORG_OWNER'],
        (map { $_ => $is{$_} } @{ $calls{$function} }),
        %{ $more{$function} || {} });

    after("$function, key deleted",
        sub { $a->call('delete_key', org => $org, key => $key) }, 'commit',
        $function => \%args, "key_not_found $key");
    $args{key} = $s->key($org, 'ORG_MEMBER');
    after("$function, key deleted by psql",
        sub { $a->run('DELETE FROM apikeys.keys WHERE id = ?', $args{key}) },
        'commit', $function => \%args, "key_not_found $args{key}");

    next if $calls{$function}[0] ne 'project';

    $args{key} = $s->key($org, 'ORG_MEMBER');
    after("$function, project deleted by psql",
        sub { $a->run('DELETE FROM apikeys.projects WHERE id = ?',
            $project) }, 'commit', $function => \%args, "project_not_found $project");
}


# assignments

{
    my ($org, $owner, $project) = $s->organization;
    my @of = (project => $project, key => $s->key($org));
    my @grant = (grants => ['GROUP_READ_ONLY']);
    my $key = $of[3];

    after('assigned twice', sub { $a->call('assign_key', @of, @grant) },
        'commit', assign_key => { @of, @grant }, "already_assigned $key");
    after('removed twice', sub { $a->call('unassign_key', @of) },
        'commit', unassign_key => { @of, repeatable => 0 },
        "key_not_found $key");
    after('removed twice, repeatable',
        sub { $a->call('assign_key', @of, @grant);
            $a->call('unassign_key', @of) }, 'commit',
        unassign_key => { @of, repeatable => 1 },
        sub { is $_[0]{projects}, '',
            "removed twice, repeatable: the key is in no project" });
    after('set twice',
        sub { $a->call('set_key_grants', @of, @grant) }, 'commit',
        set_key_grants => { @of, grants => ['GROUP_OWNER'] },
        sub { is $_[0]{projects}, "$project:GROUP_OWNER",
            'set twice: the last one wins' });
    after('described while removed', sub { $a->call('unassign_key', @of) },
        'commit', set_key_grants => { @of, descr => 'x' }, "key_not_found $key");
}


# access lists: no list is returned or published that never was

{
    my ($org) = $s->organization;
    my $key = $s->key($org);
    my @of = (org => $org, key => $key);
    my @ten = map { "10.0.0.$_/32" } 1 .. 10;

    after('other entries',
        sub { $a->call('add_access_entries', @of, entries => \@ten) },
        'commit', add_access_entries => { @of, entries => ['9.9.9.9'] },
        sub { is $_[0]{entries}, join(',', '9.9.9.9/32', @ten),
            'the state has both' });
    after('the same entry',
        sub { $a->call('add_access_entries', @of, entries => ['8.8.8.8']) },
        'commit', add_access_entries => { @of, entries => ['8.8.8.8'] },
        'entry_exists 8.8.8.8');
    after('the same entry, typed',
        sub { $a->run('INSERT INTO apikeys.access_list (key_id, cidr)
            VALUES (?, ?)', $key, '7.7.7.7') }, 'commit',
        add_access_entries => { @of, entries => ['7.7.7.7'] },
        'entry_exists 7.7.7.7');
    after('removed twice',
        sub { $a->call('delete_access_entry', @of, entry => '7.7.7.7') },
        'commit', delete_access_entry => { @of, entry => '7.7.7.7' },
        'entry_not_found 7.7.7.7');

    $s->call('add_access_entries', @of,
        entries => [ '20.0.0.0/8', '20.1.0.0/16' ]);
    after('both entries of the caller',
        sub { $a->call('delete_access_entry', @of, entry => '20.0.0.0/8') },
        'commit', delete_access_entry => { @of, caller => $key,
            entry => '20.1.0.0/16', guard => '20.1.2.3' },
        'own_address 20.1.2.3');

    my $has = $s->value('SELECT count(*) FROM apikeys.access_list
        WHERE key_id = ?', $key);
    $s->run("INSERT INTO apikeys.access_list (key_id, cidr)
             SELECT '$key', ('30.' || i / 65536 || '.' || i / 256 % 256 || '.'
                    || i % 256)::cidr
               FROM generate_series(1, 9999 - $has) i") or die $s->error;
    after('10,000 entries',
        sub { $a->call('add_access_entries', @of, entries => ['1.1.1.1']) },
        'commit', add_access_entries => { @of, entries => ['1.1.1.2'] },
        'max_key_entries 10000');
}


# settings, projects, organizations

{
    my ($org, $owner) = $s->organization;

    after('settings', sub { $a->call('update_org', org => $org,
            required => 1) }, 'commit',
        update_org => { org => $org },
        sub { is $_[0]{access_list_required}, 1, 'sees the first one\'s' });
    after('two projects', sub { $a->call('create_project', caller => $owner,
            org_roles => ['ORG_OWNER'], org => $org, name => 'one') },
        'commit', create_project => { caller => $owner,
            org_roles => ['ORG_OWNER'], org => $org, name => 'two' },
        sub { is scalar(@{ [ $s->value('SELECT projects
            FROM apikeys.key_states WHERE id = ?', $owner) =~ /OWNER/g ] }),
            2, 'one key owns both' });

    for my $end (qw( commit rollback )) {
        my @named = (org => $org, name => "same, $end");

        after("one name, $end", sub { $a->call('create_project', @named) },
            $end, create_project => { @named },
            $end eq 'commit' ? "project_name_taken same, $end" : sub {
                is $_[0]{name}, "same, $end", 'the second has it' });
    }
    after('one name, typed', sub { $a->run('INSERT INTO apikeys.projects
            (org_id, name) VALUES (?, ?)', $org, 'typed') }, 'commit',
        create_project => { org => $org, name => 'typed' },
        '23505');

    my ($first, $second) = map { $_->{id} } map { $s->call('create_project',
        org => $org, name => $_) } 'first', 'second';
    after('renamed to one name', sub { $a->call('update_project',
            project => $first, name => 'renamed') }, 'commit',
        update_project => { project => $second, name => 'renamed' },
        'project_name_taken renamed');
    after('other attributes', sub { $a->call('update_project',
            project => $first, attributes => '{"a":1}') }, 'commit',
        update_project => { project => $first, attributes => '{"b":2}' },
        sub { is $_[0]{attributes}, '{"a": 1, "b": 2}',
            'the state has both' });
    after('a project that goes', sub { $a->call('delete_project',
            project => $first) }, 'commit',
        update_project => { project => $first, name => 'x' },
        "project_not_found $first");
    after('a project that goes twice', sub { $a->call('delete_project',
            project => $second) }, 'commit',
        delete_project => { project => $second },
        "project_not_found $second");
    after('a project whose keys change', sub { $a->call('update_key',
            org => $org, key => $owner, descr => 'x') }, 'commit',
        delete_project => { project => $s->value('SELECT id
            FROM apikeys.projects WHERE org_id = ? AND name = ?', $org,
            'one') }, sub { is $_[0]{deleted}, 1,
            'a project is deleted after a change of its keys' });

    for my $case ([ 'commit', sub { "org_not_empty $_[0]" } ],
        [ 'rollback', sub { sub { is $_[0]{deleted}, 1,
        'the organization is deleted after a rollback' } } ])
    {
        my ($end, $expected) = @$case;
        my ($going, $key, $in) = $s->organization;
        $s->call('delete_project', project => $in) or die $s->error;

        after("a project of an organization that goes, $end",
            sub { $a->call('create_project', org => $going, name => 'n') },
            $end, delete_org => { org => $going, caller => $key,
                org_roles => ['ORG_OWNER'] }, $expected->($going));
    }
    {
        my ($going, $key, $in) = $s->organization;
        $s->call('delete_project', project => $in) or die $s->error;

        after('an organization that goes', sub { $a->call('delete_org',
                org => $going) }, 'commit',
            create_project => { org => $going, name => 'n' },
            "org_not_found $going");
    }

    for my $case ([ 'commit', '23505' ], [ 'rollback', sub {} ]) {
        my ($end, $expected) = @$case;
        my @credential = ApiKeys::Sql::credential();

        after("one public key, $end", sub { $a->call('create_org',
                org => ApiKeys::Sql::new_id(), name => 'a', @credential, descr => 'd', roles => []) }, $end,
            create_org => { org => ApiKeys::Sql::new_id(), name => 'b',
                @credential, descr => 'd', roles => [] }, $expected);
    }
}


# use against deletion

my $flush = 'SELECT apikeys.flush_usage(ARRAY[?], ARRAY[?]::cidr[], ARRAY[?]::bigint[],'
    . ' ARRAY[?]::float8[], ARRAY[?]::inet[]) AS count';

{
    my ($org) = $s->organization;
    my $key = $s->key($org);
    my @use = ($key, '10.0.0.1', 1, 1700000000, '10.0.0.1');

    $s->call('add_access_entries', org => $org, key => $key,
        entries => [ '10.0.0.1', '10.0.0.2' ]);
    $a->dbh->begin_work;
    $a->call('delete_access_entry', org => $org, key => $key,
        entry => '10.0.0.2') or die $a->error;
    $b->start_run($flush, $key, '10.0.0.2', 1, 1700000000, '10.0.0.2');
    ok $b->waits, 'used while deleted: the second waits';
    $a->dbh->commit;
    my ($row) = $b->finish;
    is $b->error, '',
        'flush_usage() of an entry that is being deleted is no error';
    is $row->{count}, 0, 'flush_usage() updates no row of a deleted entry';

    after('deleted while used', sub { $a->run($flush, @use) }, 'commit',
        delete_key => { org => $org, key => $key }, sub {});
    ok $s->run($flush, @use), 'flush_usage() of a deleted key is no error';
    is $s->value('SELECT count(*) FROM apikeys.access_usage'), 0,
        'flush_usage() of a deleted key leaves no row';
}


# locks are taken in order, whatever the order of the rows: who waits for
# one holds none that comes after it

sub holds_none {
    my ($name, $lock, $first, $last) = @_;

    ok $b->waits, "$name: waits for the first";
    ok $s->run("$lock NOWAIT", $last), "$name: and does not hold the last";
    $a->dbh->commit;
    ok $b->finish, "$name: and goes on" or diag $b->error;
}

{
    my ($org) = $s->organization;
    my @keys = map { sprintf '%024d', $_ } 9, 5, 1;

    for my $id (@keys) {
        $s->call('create_key', ApiKeys::Sql::credential(), org => $org,
            key_id => $id, descr => 'd') or die $s->error;
    }

    my $lock = 'SELECT FROM apikeys.keys WHERE id = ? FOR NO KEY UPDATE';
    $a->dbh->begin_work;
    $a->run($lock, '000000000000000000000001');
    $b->start_run("INSERT INTO apikeys.access_list (key_id, cidr)
        SELECT id, '1.2.3.4' FROM apikeys.keys WHERE id = ANY (?)", \@keys);
    holds_none('entries of three keys', $lock, @keys[ 2, 0 ]);

    my $key = $keys[0];
    $lock = "SELECT FROM apikeys.access_list
              WHERE key_id = '$key' AND cidr = ? FOR KEY SHARE";
    $s->run('INSERT INTO apikeys.access_list (key_id, cidr)
             VALUES (?, ?)', $key, $_) for qw( 9.0.0.0/8 1.0.0.0/8 );
    $a->dbh->begin_work;
    $a->run($lock, '1.0.0.0/8');
    $b->start('delete_key', org => $org, key => $key);
    holds_none('a list that goes', $lock, '1.0.0.0/8', '9.0.0.0/8');

    # an insert into the key's list locks it so, then changes it
    $key = $keys[1];
    $a->dbh->begin_work;
    $a->run('SELECT FROM apikeys.keys WHERE id = ? FOR KEY SHARE', $key);
    $b->start('delete_key', org => $org, key => $key);
    ok $b->waits, 'a key that is referred to: the deletion waits';
    ok $a->run('UPDATE apikeys.keys SET descr = ? WHERE id = ?', 'x', $key),
        'the key whose deletion waits can be changed';
    $a->dbh->commit;
    ok $b->finish, 'the deletion that waited deletes the key';
}


# An UPDATE that writes a TOAST value, or moves a row to another page, does not
# hold the page meanwhile, and overwrites a FOR KEY SHARE lock that is taken
# then.  It does not end while the index of the TOAST table is rebuilt.

for my $table (qw( keys projects )) {
    $s->run("ALTER TABLE apikeys.$table ADD ballast text,
        ALTER ballast SET STORAGE EXTERNAL") or die $s->error;
}

my $assign = q{INSERT INTO apikeys.key_projects (key_id, project_id, roles)
    SELECT k.id, p.id, '{GROUP_OWNER}'
      FROM apikeys.keys k JOIN apikeys.projects p USING (org_id) WHERE };

for my $case (
    [ access_list => 'key_id', keys => q{INSERT INTO apikeys.access_list
        (key_id, cidr) SELECT id, '1.2.3.4' FROM apikeys.keys
         WHERE id = ANY (?)} ],
    [ key_projects => 'key_id', keys => "$assign k.id = ANY (?)" ],
    [ key_projects => 'project_id', projects => "$assign p.id = ANY (?)" ])
{
    my ($part, $column, $table, $insert) = @$case;
    my ($org) = $s->organization;
    my ($first, $going) = sort map { $table eq 'keys' ? $s->key($org)
        : ($s->call('create_project', org => $org, name => $_))[0]{id} } 1, 2;
    my ($holder, $builder) = map { ApiKeys::Sql->new($db) } 1, 2;
    my $name = "$part.$column";

    $holder->dbh->begin_work;
    $holder->run("UPDATE apikeys.$table SET version = version WHERE id = ?",
        $first);
    $builder->dbh->begin_work;
    $builder->run('REINDEX INDEX ' . $builder->value(
        'SELECT indexrelid::regclass FROM pg_index WHERE indrelid =
            (SELECT reltoastrelid FROM pg_class WHERE oid = ?::regclass)',
        "apikeys.$table")) or die $builder->error;

    $a->start_run("UPDATE apikeys.$table SET ballast = repeat('x', 10000)
        WHERE id = ?", $going);
    ok $a->waits, "$name: an UPDATE is about to write a TOAST value";
    $b->start_run($insert, [ $first, $going ]);
    ok $b->waits, "$name: the new rows are inserted, and wait for a lock";
    $builder->dbh->commit;
    $a->finish or die $a->error;

    ok $a->run("DELETE FROM apikeys.$table WHERE id = ?", $going),
        "$name: the DELETE of a row that they reference does not wait";
    $holder->dbh->commit;
    $b->finish;
    is $b->error, '23503', "$name: the new rows are refused";
    is $s->value("SELECT count(*) FROM apikeys.$part WHERE $column = ?",
        $going), 0, "$name: no row references the deleted one";
}

for my $table (qw( keys projects )) {
    $s->run("ALTER TABLE apikeys.$table DROP ballast") or die $s->error;
}


# batches

my ($org, $owner, $project) = $s->organization;
my @keys = map { $s->key($org, 'ORG_OWNER') } 1 .. 6;
my @pids;

for my $n (1 .. 6) {
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        alarm 300;
        my $unexpected = eval { batch($n) } // $@;
        warn "$unexpected\n" if $unexpected;
        require POSIX;
        POSIX::_exit($unexpected ? 1 : 0);
    }
    push @pids, $pid;
}

my $failed = 0;
for my $pid (@pids) {
    waitpid $pid, 0;
    $failed++ if $?;
}
is $failed, 0, 'six sessions at the same keys, and no deadlock';
is $s->value('SELECT count(*) FROM apikeys.changes c
    JOIN apikeys.keys k USING (id)
    WHERE c.version > k.version'), 0, 'each key has its newest version';

done_testing;


# The first error that no client should see, or nothing.  What is typed keeps
# away from the entries of the API: it locks an entry before the key, so the
# same entry from both sides at once may deadlock, and one is sent again.
sub batch {
    my ($n) = @_;

    srand $n;
    my $w = ApiKeys::Sql->new($db);

    for (1 .. 150) {
        my ($caller, $key) = @keys[rand @keys, rand @keys];
        my @as = (caller => $caller, org_roles => ['ORG_OWNER'],
            org => $org, key => $key);
        my @in = (caller => $caller, org_roles => ['ORG_OWNER'],
            project => $project, key => $key,
            grants => ['GROUP_READ_ONLY']);
        my @some = map { '10.0.0.' . int(rand 64) } 1 .. 4;

        (
            sub { $w->call('update_key', @as, descr => rand) },
            sub { $w->call('add_access_entries', @as,
                entries => [ $some[0] ]) },
            sub { $w->call('delete_access_entry', @as, entry => $some[1]) },
            sub { $w->call('set_key_grants', @in) },
            sub { $w->call('unassign_key', @in[0 .. 7]) },
            sub { $w->run('SELECT apikeys.flush_usage(?::text[], ?::cidr[],
                ?::bigint[], ?::float8[], ?::inet[])',
                [ map { $keys[rand @keys] } 1 .. 4 ], \@some, [ (1) x 4 ],
                [ (1700000000) x 4 ], \@some) },
            sub { my ($k) = $w->call('create_key', @as[0 .. 5],
                    ApiKeys::Sql::credential(), descr => 'd');
                  $w->call('add_access_entries', org => $org,
                      key => $k->{id}, entries => \@some);
                  $w->call('delete_key', @as[0 .. 5], key => $k->{id}) },
            sub { $w->run('INSERT INTO apikeys.access_list (key_id, cidr)
                VALUES (?, ?) ON CONFLICT DO NOTHING', $key,
                $some[2] =~ s/^10/11/r) },
            sub { $w->run('UPDATE apikeys.keys SET descr = ? WHERE id = ?',
                rand, $key) },
            sub { $w->run('SELECT apikeys.prune()') },
        )[rand 10]->();

        return $w->error if $w->error =~ /^(?!23505)[0-9A-Z]{5}$/;
    }
    return '';
}
