# The feed: every change, typed or called, reaches it; each is seen once.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Pg ();
use ApiKeys::Sql ();
use Test::More;

my $db = ApiKeys::Pg->new->database(schema => 1);
my $s = ApiKeys::Sql->new($db);
my $reader = ApiKeys::Sql->new($db);

# the columns of a state, but the one that is for clients alone
my @columns = grep { $_ ne 'attributes' } $s->column(q{SELECT attname
    FROM pg_attribute WHERE attrelid = 'apikeys.state'::regclass
     AND attnum > 0 AND NOT attisdropped ORDER BY attnum});
cmp_ok scalar @columns, '>=', 15, 'all columns of a state are compared';


# a local copy: what a node holds, by kind and id

sub load {
    my ($replica) = @_;

    my ($header, @rows) = @{ $reader->dbh->selectall_arrayref(
        'SELECT * FROM apikeys.load', { Slice => {} }) };
    die 'no header' if defined $header->{kind};

    @$replica{qw( identity snapshot objects )} =
        (@$header{qw( identity snapshot )}, {});
    $replica->{objects}{"$_->{kind} $_->{id}"} = text($_) for @rows;
}

sub poll {
    my ($replica) = @_;

    my ($header, @rows) = @{ $reader->dbh->selectall_arrayref(
        'SELECT * FROM apikeys.feed_since(?, ?)', { Slice => {} },
        @$replica{qw( identity snapshot )}) };

    return $header->{kind} if $header->{kind} ne 'feed';
    $replica->{snapshot} = $header->{snapshot};

    for my $row (@rows) {
        my $name = "$row->{kind} $row->{id}";
        my $version = $replica->{versions}{$name} || 0;

        $row->{version} >= $version
            or $replica->{went_back} = "$name $version $row->{version}";
        $replica->{versions}{$name} = $row->{version};
        $replica->{last}{$name} = $row;

        $row->{deleted} ? delete $replica->{objects}{$name}
                        : ($replica->{objects}{$name} = text($row));
    }
    return 'feed';
}

sub text {
    my ($row) = @_;

    return join '|', map { exists $row->{$_} ? $row->{$_} // ''
        : die "no column $_ in the load or the feed\n" } @columns;
}


my %replica;
load(\%replica);

sub follows {
    my ($name) = @_;

    my $before = $replica{snapshot};
    is poll(\%replica), 'feed', "$name: the feed has it";

    my %fresh;
    load(\%fresh);
    is_deeply $replica{objects}, $fresh{objects}, "$name: nothing is missing";
}


# one of each, by the functions

my ($org, $owner, $project) = $s->organization;
my $key = $s->key($org, 'ORG_MEMBER');
my $guest = $s->key($org, 'ORG_READ_ONLY');

follows('made by the functions');
is scalar(keys %{ $replica{objects} }), 5, 'org, project and three keys';

my ($state) = $s->call('assign_key', project => $project, key => $key,
    grants => ['GROUP_READ_ONLY', 'GROUP_OWNER']);
is $state->{projects}, "$project:GROUP_OWNER,GROUP_READ_ONLY";
follows('assigned');
is $replica{objects}{"key $key"}, text($state),
    'the feed and the function return the same state';


# the same typed into psql

my @typed = (
    [ 'orgs', "UPDATE apikeys.orgs SET access_list_required = true" ],
    [ 'orgs', "UPDATE apikeys.orgs SET name = 'other'" ],
    [ 'projects', "UPDATE apikeys.projects SET name = 'other'" ],
    [ 'projects', "INSERT INTO apikeys.projects (id, org_id, name)
                   VALUES ('00000000000000000000000a', '$org', 'second')" ],
    [ 'keys', "UPDATE apikeys.keys SET roles = '{ORG_OWNER}'
                WHERE id = '$key'" ],
    [ 'keys', "UPDATE apikeys.keys SET secret = decode(repeat('cd', 112),
                'hex') WHERE id = '$key'" ],
    [ 'keys', "UPDATE apikeys.keys SET descr = 'all of them'" ],
    [ 'key_projects', "UPDATE apikeys.key_projects
                          SET roles = '{GROUP_READ_ONLY}'" ],
    [ 'key_projects', "UPDATE apikeys.key_projects SET key_id = '$guest'" ],
    [ 'key_projects', "INSERT INTO apikeys.key_projects
                       (key_id, project_id, roles)
                       VALUES ('$key', '$project', '{GROUP_OWNER}')" ],
    [ 'key_projects', "DELETE FROM apikeys.key_projects
                        WHERE key_id = '$key'" ],
    [ 'access_list', "INSERT INTO apikeys.access_list (key_id, cidr)
                      VALUES ('$key', '10.0.0.0/8'), ('$key', '::1'),
                             ('$key', '9.0.0.0/8'), ('$guest', '1.2.3.4')" ],
    [ 'access_list', "UPDATE apikeys.access_list SET cidr = '1.2.3.5'
                       WHERE cidr = '1.2.3.4'" ],
    [ 'access_list', "UPDATE apikeys.access_list SET key_id = '$owner'
                       WHERE cidr = '1.2.3.5'" ],
    [ 'access_list', "DELETE FROM apikeys.access_list
                       WHERE cidr <<= '10.0.0.0/8'" ],
    [ 'copy', "COPY apikeys.access_list (key_id, cidr) FROM STDIN;\n"
              . "$key\t11.0.0.0/8\n$key\t12.0.0.0/8\n\\.\n" ],
    [ 'upsert', "INSERT INTO apikeys.key_projects (key_id, project_id, roles)
                 VALUES ('$guest', '$project', '{GROUP_OWNER}')
                 ON CONFLICT (key_id, project_id)
                 DO UPDATE SET roles = excluded.roles" ],
    [ 'replica role', "SET session_replication_role = replica;
                       UPDATE apikeys.keys SET roles = '{}'" ],
    [ 'cascade', "DELETE FROM apikeys.projects WHERE id = '$project'" ],
    [ 'delete', "DELETE FROM apikeys.keys WHERE id = '$guest'" ],
);

for my $case (@typed) {
    my ($name, $sql) = @$case;
    my %before = %{ $replica{objects} };

    $db->psql($sql);
    follows($name);
    isnt join("\n", map { "$_ $replica{objects}{$_}" }
            sort keys %{ $replica{objects} }),
        join("\n", map { "$_ $before{$_}" } sort keys %before),
        "$name: and it was a change";
}

my $gone = $replica{last}{"key $guest"};
is_deeply [ @$gone{qw( kind id deleted secret )} ], [ 'key', $guest, 1, undef ],
    'a deleted key is sent without a secret';

is $s->value('SELECT count(*) FROM apikeys.changes WHERE id = ?', $owner),
    $s->value('SELECT count(DISTINCT version) FROM apikeys.changes
                WHERE id = ?', $owner), 'each statement draws a version';

my $count = $s->value('SELECT count(*) FROM apikeys.changes');
$s->run("INSERT INTO apikeys.access_list (key_id, cidr)
         SELECT '$key', ('10.1.' || i / 256 || '.' || i % 256)::cidr
           FROM generate_series(1, 1000) i") or die $s->error;
is $s->value('SELECT count(*) FROM apikeys.changes'), $count + 1,
    'a thousand entries are one change of one key';
follows('a thousand entries');

$s->run("SELECT apikeys.flush_usage(ARRAY['$key'], '{10.1.0.1/32}', '{5}',
         '{1700000000}', '{10.1.0.1}')") or die $s->error;
is $s->value('SELECT count(*) FROM apikeys.changes'), $count + 1,
    'use is no change';

$s->run('DELETE FROM apikeys.orgs WHERE id = ?', $org) or die $s->error;
follows('the organization with all it has');
is scalar(keys %{ $replica{objects} }), 0,
    'the local copy is empty after the organization is deleted';


# rollbacks leave nothing

$s->dbh->begin_work;
$s->organization;
$s->dbh->rollback;
my $at = $replica{snapshot};
follows('rolled back');
is $s->value('SELECT count(*) FROM apikeys.changes_since(?)', $at), 0,
    'a rollback is not in the feed';


# a late commit

my $late = ApiKeys::Sql->new($db);
$late->dbh->begin_work;
my ($late_org) = $late->organization;
$s->organization;
follows('while a transaction runs');
ok !$replica{objects}{"org $late_org"},
    'the feed does not show the changes of a running transaction';
$s->organization;
follows('once more');
$late->dbh->commit;
follows('committed late');
ok $replica{objects}{"org $late_org"},
    'the feed shows the changes of a transaction that committed late';


# notifications

$reader->dbh->do('LISTEN apikeys');
$s->organization;
$reader->value('SELECT 1');
is +($reader->dbh->pg_notifies || [''])->[0], 'apikeys', 'a change notifies';
1 while $reader->dbh->pg_notifies;
$s->run('UPDATE apikeys.keys SET version = 0 WHERE false');
$reader->value('SELECT 1');
ok !$reader->dbh->pg_notifies, 'a statement that changed nothing does not';
$s->dbh->begin_work;
$s->dbh->do(q{SELECT set_config('apikeys.notify', 'deferred', true)});
$s->dbh->do('UPDATE apikeys.keys SET version = 0');
$s->dbh->commit;
$reader->value('SELECT 1');
ok !$reader->dbh->pg_notifies, 'a change that defers its notification does not';
$s->run('SELECT apikeys.announce()');
$reader->value('SELECT 1');
ok $reader->dbh->pg_notifies, 'announce() notifies';
1 while $reader->dbh->pg_notifies;
$s->run('UPDATE apikeys.keys SET version = 0');
$reader->value('SELECT 1');
ok $reader->dbh->pg_notifies, 'the deferral ends with its transaction';
1 while $reader->dbh->pg_notifies;
follows('before the reloads');


# reload and epoch

for my $table (qw( access_list key_projects keys changes )) {
    $db->psql("TRUNCATE apikeys.$table CASCADE");
    is poll(\%replica), 'load', "TRUNCATE $table asks for a load";
    load(\%replica);
    is poll(\%replica), 'feed', "after TRUNCATE $table one load is enough";
}

for my $case (
    [ 'an unknown identity', 'x', $replica{snapshot} ],
    [ 'no identity', undef, $replica{snapshot} ],
    [ 'a snapshot of the future', $replica{identity}, '999999:999999:' ])
{
    my ($name, @arguments) = @$case;
    is $reader->value('SELECT kind FROM apikeys.feed_since(?, ?)',
        @arguments), 'epoch', "$name asks for a new epoch";
}
ok !$reader->run('SELECT * FROM apikeys.feed_since(?, ?)',
    $replica{identity}, 'nonsense'), 'nonsense is an error';
is $reader->error, '22P02';


# eight writers

load(\%replica);
$replica{versions} = {};

my $writers = 8;
my $rounds = $ENV{APIKEYS_TEST_ROUNDS} || 60;
my $rows = 'SELECT xid::text, kind, id, version FROM apikeys.changes';
my %before = map { join(' ', @$_) => 1 }
    @{ $s->dbh->selectall_arrayref($rows) };
my %seen;
my $cursor = $replica{snapshot};
my @pids;

for my $n (1 .. $writers) {
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        eval { writer($n) };
        warn $@ if $@;
        require POSIX;
        POSIX::_exit($@ ? 1 : 0);
    }
    push @pids, $pid;
}

my %running = map { $_ => 1 } @pids;
my $failed = 0;
my $polls = 0;

while (%running) {
    for my $pid (keys %running) {
        waitpid($pid, 1) == $pid or next;
        $failed++ if $?;
        delete $running{$pid};
    }
    follow();
}
follow();

is $failed, 0, 'the writers went through';

my %all = map { join(' ', @$_) => 1 }
    @{ $s->dbh->selectall_arrayref($rows) };
delete @all{keys %before};

is_deeply [ grep { !$seen{$_} } keys %all ], [], 'no change was missed';
is_deeply [ grep { $seen{$_} > 1 } keys %seen ], [], 'none was seen twice';
is_deeply [ grep { !$all{$_} } keys %seen ], [], 'none that is not there';
ok !$replica{went_back}, 'no object went back in versions';
cmp_ok scalar(keys %all), '>', $writers * $rounds, keys(%all)
    . " changes in $polls polls";

my %fresh;
load(\%fresh);
is_deeply $replica{objects}, $fresh{objects}, 'the local copy is the database';


# the cost is that of what is new, whatever lies behind or still runs

$s->run('DELETE FROM apikeys.changes');
$s->run(q{INSERT INTO apikeys.changes (xid, kind, id, version)
          SELECT (3 + i % 8)::text::xid8, 'key', i, 0
            FROM generate_series(1, 60000) i});
$s->run('ANALYZE apikeys.changes');

my $open = ApiKeys::Sql->new($db);
$open->dbh->begin_work;
$open->organization;
$s->organization;
$cursor = $replica{snapshot} = $s->value('SELECT pg_current_snapshot()');
$s->organization;

$reader->dbh->do($_) for q{LOAD 'auto_explain'},
    'SET auto_explain.log_min_duration = 0',
    'SET auto_explain.log_nested_statements = on',
    'SET client_min_messages = log';
my $plans = '';
{
    local $SIG{__WARN__} = sub { $plans .= $_[0] };
    local $reader->dbh->{PrintWarn} = 1;
    poll(\%replica) for 1 .. 8;
}
like $plans, qr/Scan (?:using|on) changes_by_xid/, 'the feed is read by xid';
unlike $plans, qr/Seq Scan on changes/, 'the feed is never read as a whole';
$open->dbh->rollback;

done_testing;


# one statement gives the new cursor and the rows since the old one
sub follow {
    my $list = $reader->dbh->selectall_arrayref(
        'SELECT pg_current_snapshot()::text, xid::text, kind, id, version
           FROM (SELECT) one LEFT JOIN apikeys.changes_since(?) ON true',
        undef, $cursor);

    $cursor = $list->[0][0];
    for my $row (@$list) {
        my (undef, @change) = @$row;
        $seen{ join ' ', @change }++ if defined $change[0];
    }

    poll(\%replica) eq 'feed' or die 'a load is asked for';
    $polls++;
}


# transactions of several changes, some under savepoints, some rolled back
sub writer {
    my ($n) = @_;

    srand $n;
    my $w = ApiKeys::Sql->new($db);
    my ($org, $owner, $project) = $w->organization;
    my @keys;

    for my $round (1 .. $rounds) {
        my @had = @keys;

        $w->dbh->begin_work;
        for (1 .. 1 + int rand 4) {
            my @have = @keys;

            $w->dbh->do('SAVEPOINT s') if my $save = rand() < 0.5;
            change($w, $org, $project, \@keys);
            if ($save && rand() < 0.5) {
                $w->dbh->do('ROLLBACK TO s');
                @keys = @have;
            }
        }
        if (rand() < 0.3) {
            $w->dbh->rollback;
            @keys = @had;
        } else {
            $w->dbh->commit;
        }
    }
}


sub change {
    my ($w, $org, $project, $keys) = @_;

    my $what = @$keys < 3 ? 0 : int rand 5;
    my $key = $keys->[rand @$keys];

    if ($what == 0) {
        push @$keys, $w->key($org, 'ORG_MEMBER');
    } elsif ($what == 1) {
        $w->call('update_key', org => $org, key => $key, descr => rand);
    } elsif ($what == 2) {
        $w->call('set_key_grants', project => $project, key => $key,
            grants => [ rand() < 0.5 ? 'GROUP_OWNER' : 'GROUP_READ_ONLY' ]);
    } elsif ($what == 3) {
        $w->run('INSERT INTO apikeys.access_list (key_id, cidr) VALUES (?, ?)
                 ON CONFLICT DO NOTHING', $key,
            join '.', 10, map { int rand 256 } 1 .. 3);
    } else {
        $w->call('delete_key', org => $org, key => $key);
        @$keys = grep { $_ ne $key } @$keys;
    }
    die $w->error if $w->error;
}
