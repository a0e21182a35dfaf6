# The lines of the master key file in the database: which node may follow,
# which line seals, and sealing anew, which changes a secret and nothing else.

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

# a line is two letters here: aa is aaaaaaaa, its check aa
sub lines { return [ map { $_ x 4 } @_ ] }

sub fits {
    return $s->value('SELECT apikeys.check_master_keys(?, ?)', lines(@_),
        [@_]);
}

sub beat {
    my ($node, @lines) = @_;

    return $s->value('SELECT apikeys.heartbeat(?, ?, apikeys.identity(), '
        . 'NULL, ?, ?)', $node, "host:$node", '600', lines(@lines));
}

# after its heartbeat: the line that seals, the lines in use, who seals anew
sub sealing {
    my ($node, @lines) = @_;

    beat($node, @lines);
    my @row = $s->dbh->selectrow_array('SELECT * FROM apikeys.sealing(?, ?)',
        undef, $node, lines(@lines));
    return join ' ', map { s/([0-9a-f]{2})\1{3}/$1/gr } map { $_ // 'null' }
        @row;
}

sub secret { return $_[0] x 4 . 'ab' x 108 }

sub key {
    my ($org, $line) = @_;

    my ($key) = $s->call('create_key', org => $org, ApiKeys::Sql::credential(),
        secret => secret($line), descr => 'key', roles => ['ORG_MEMBER']);
    return $key->{id};
}

sub known { return join ' ', map { substr $_, 0, 2 }
    $s->column('SELECT line FROM apikeys.master_keys ORDER BY line') }


# which node may follow

is fits('a1'), '', 'a new database records the first line';
is fits('a1'), '', 'the same file may follow';
is fits('a2'), undef, 'another file may not';
is fits('a2', 'a1'), '', 'a file with one more line before it may';
is known(), 'a1 a2', 'the first line of the file is recorded';
is fits('a1'), '', 'a file that lacks it may still';
is $s->value('SELECT apikeys.check_master_keys(?, ?)', lines('a1'),
    ['other realm']), undef, 'a file under another realm may not';


# the lines of secrets

$s->run('DELETE FROM apikeys.master_keys WHERE line LIKE $$a2%$$')
    or die $s->error;
my ($org) = $s->call('create_org', org => ApiKeys::Sql::new_id(), name => 'o');
$org = $org->{id};
my $key = key($org, 'a2');
is known(), 'a1 a2', 'the line of a new secret is recorded';
is fits('a1'), 'a2' x 4, 'a node that lacks it is told which';
is fits('a2', 'a1'), '', 'a node that has both lacks none';
ok !$s->run('DELETE FROM apikeys.master_keys WHERE line LIKE $$a2%$$'),
    'a line that a secret needs stays';
is $s->error, '23503', 'a foreign key protects a line that a secret needs';


# which line seals

is sealing('x', 'a1'), 'a1 a1,a2 ', 'one node: its first line';
is sealing('y', 'a2', 'a1'), 'a1 a1,a2 host:x',
    'a line that another node lacks does not seal yet';
is sealing('x', 'a1', 'a2'), 'a1 a1,a2 host:y', 'both have both lines';
is sealing('y', 'a2', 'a1'), 'a2 a1,a2 host:x',
    'the first line of each node seals';
is sealing('x', 'a2', 'a1'), 'a2 a1,a2 ', 'the same first line: one node';
is sealing('y', 'a2', 'a1'), 'a2 a1,a2 null', 'only one node seals anew';
$s->run(q{UPDATE apikeys.instances SET heartbeat = now() - interval '20 s'
           WHERE uuid = 'x'}) or die $s->error;
is $s->dbh->selectrow_array('SELECT anew FROM apikeys.sealing(?, ?)', undef,
    'y', lines('a2', 'a1')), '', 'a node that is silent leaves it to another';


# sealing anew

sub otherwise {
    my ($line, $after, $limit) = @_;

    return $s->column('SELECT id FROM apikeys.sealed_otherwise(?, ?, ?)',
        @{ lines($line) }, $after // '', $limit // 50);
}

my @keys = sort map { key($org, 'a1') } 1 .. 5;
is_deeply [ otherwise('a1') ], [$key], 'secrets of another line';
is_deeply [ otherwise('a2') ], \@keys,
    'secrets of another line are sorted by id';
is_deeply [ otherwise('a2', $keys[1], 2) ], [ @keys[ 2, 3 ] ],
    'secrets of another line are read in parts';

sub counts {
    return join ' ', map { $s->value("SELECT count(*) FROM apikeys.$_") }
        qw( audit events changes );
}

sub versions { return join ' ', $s->column('SELECT version FROM apikeys.keys
    ORDER BY id') }

sub anew {
    my ($old, $new, @ids) = @_;

    return $s->value('SELECT apikeys.seal_anew(?, ?, ?)', \@ids,
        [ map { secret($old) } @ids ], [ map { secret($new) } @ids ]);
}

my ($counts, $versions) = (counts(), versions());
my ($listen) = $db->connect;
$listen->do('LISTEN apikeys');
is anew('a1', 'a2', @keys[ 0 .. 2 ]), 3, 'three are sealed anew';
is_deeply [ otherwise('a2') ], [ @keys[ 3, 4 ] ],
    'two secrets of the old line are left';
is counts(), $counts,
    'sealing anew adds no row to the audit, the events, the feed';
is versions(), $versions, 'sealing anew makes no new version';
is $listen->pg_notifies, undef, 'sealing anew sends no notification';
is anew('a1', 'a2', @keys[ 0 .. 2 ]), 0,
    'a secret that is another one by now stays';
is $s->value('SELECT apikeys.end_pass(?)', @{ lines('a2') }), 2,
    'the end of a pass: how many are left';
is known(), 'a1 a2', 'a line that secrets need is kept at the end of a pass';

# a key that is being changed, in another session
my $other = ApiKeys::Sql->new($db);
$other->dbh->begin_work;
$other->run('UPDATE apikeys.keys SET descr = $$changed$$ WHERE id = ?',
    $keys[3]) or die $other->error;
is anew('a1', 'a2', @keys[ 3, 4 ]), 1, 'a key that is being changed is left';
$other->dbh->commit;
is_deeply [ otherwise('a2') ], [ $keys[3] ],
    'the key that was locked is left for the next pass';
is anew('a1', 'a2', $keys[3]), 1,
    'the next pass seals the key that was locked';

# a key that is being made, in another session
$other->dbh->begin_work;
$other->call('create_key', org => $org, ApiKeys::Sql::credential(),
    secret => secret('a1'), descr => 'key', roles => ['ORG_MEMBER'])
    or die $other->error;
is $s->value('SELECT apikeys.end_pass(?)', @{ lines('a2') }), 0,
    'no secret needs the old line';
is known(), 'a1 a2', 'a line stays while a key is being made with it';
$other->dbh->rollback;
is $s->value('SELECT apikeys.end_pass(?)', @{ lines('a2') }), 0,
    'no secret needs the old line after the rollback';
is known(), 'a2', 'the old line is deleted at the end of the last pass';
is sealing('y', 'a2', 'a1'), 'a2 a2 null', 'nothing needs to be sealed anew';
is fits('a1'), undef, 'a node with the old line alone may not follow';


# what is typed is a change

$counts = counts();
$s->run(q{UPDATE apikeys.keys SET secret = decode(repeat('cd', 112), 'hex')
           WHERE id = ?}, $key) or die $s->error;
isnt counts(), $counts, 'a secret that is changed with psql is a change';
is known(), 'a2 cd', 'the line of a secret that psql sets is recorded';
$s->dbh->do('SET client_min_messages = error');
my $role = "writer_$$";
$s->dbh->do("CREATE ROLE $role");
$s->dbh->do("GRANT USAGE ON SCHEMA apikeys TO $role");
$s->dbh->do("GRANT SELECT, UPDATE ON apikeys.keys TO $role");
$s->dbh->do("GRANT INSERT ON apikeys.changes TO $role");
$s->dbh->do("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA apikeys TO $role");
$s->dbh->do("GRANT USAGE ON ALL SEQUENCES IN SCHEMA apikeys TO $role");
$versions = versions();
$s->dbh->do("SET ROLE $role");
$s->dbh->do('SET search_path = apikeys, pg_catalog, "apikeys seals"');
$s->run('UPDATE apikeys.keys SET descr = $$x$$ WHERE id = ?', $key)
    or die $s->error;
$s->dbh->do('RESET ROLE');
isnt versions(), $versions, 'the mark counts for the owner of the tables alone';
$s->dbh->do("DROP OWNED BY $role");
$s->dbh->do("DROP ROLE $role");

done_testing;
