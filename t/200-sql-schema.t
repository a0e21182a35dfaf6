# The schema: applied once, and what its constraints refuse to anyone.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Pg ();
use ApiKeys::Sql ();
use File::Temp qw( tempdir );
use Test::More;

my $db = ApiKeys::Pg->new->database;
my $apply = "$FindBin::Bin/../sql/apply.sh";

is(system($apply, $db->conninfo), 0, 'sql/apply.sh applies the schema');

my $s = ApiKeys::Sql->new($db);
my $version = 'SELECT max(version) FROM apikeys.schema_version';
my ($newest) = sort { $b <=> $a }
    map { m{/v(\d+)$} } glob "$FindBin::Bin/../sql/v*";

is($s->value($version), $newest, 'the newest version');
is($s->value('SELECT count(*) FROM apikeys.schema_version'), $newest,
    'each version is recorded');
is(system($apply, $db->conninfo), 0, 'a second time nothing is applied');
is($s->value('SELECT count(*) FROM apikeys.schema_version'), $newest,
    'apply.sh a second time records no version');

for my $case ([ 3, 1 ], [ 2, 3 ], [ 2, 0 ]) {
    my ($gap, $compatible) = map { $newest - 1 + $_ } @$case;
    ok !$s->run('INSERT INTO apikeys.schema_version (version,
        compatible_from) VALUES (?, ?)', $gap, $compatible),
        "version $gap, compatible from $compatible, is refused";
    next if $gap == $newest + 1;
    like $s->dbh->errstr, qr/cannot apply schema version $gap on version $newest/,
        "the error names schema version $gap and the current one";
    like $s->dbh->errstr, qr/HINT:.*sql\/apply\.sh/,
        "the hint for schema version $gap names sql/apply.sh";
}

# a version that fails leaves nothing behind
{
    my $half = ApiKeys::Pg->new->database;
    my $copy = tempdir(CLEANUP => 1);
    system 'cp', '-r', "$FindBin::Bin/../sql", $copy;
    open my $f, '>>', "$copy/sql/v1/14-audit.sql" or die;
    print $f "SELECT 1 / 0;\n";
    close $f;
    isnt system("$copy/sql/apply.sh '" . $half->conninfo . "' 2>/dev/null"),
        0, 'apply.sh fails if a file of a version fails';
    is $half->psql(q{SELECT count(*) FROM pg_namespace
        WHERE nspname = 'apikeys'}), 0, 'a failed version leaves no schema';
    is system($apply, $half->conninfo), 0,
        'a failed version can be applied again';
}

# what was never released
{
    my $old = ApiKeys::Pg->new->database;
    $old->psql('CREATE SCHEMA apikeys;
        CREATE TABLE apikeys.schema_version (version integer);
        INSERT INTO apikeys.schema_version VALUES (11)');
    my $said = `$apply '@{[ $old->conninfo ]}' 2>&1`;
    isnt $?, 0, 'an unreleased schema is refused';
    like $said, qr/never released.*DROP SCHEMA apikeys CASCADE/s,
        'with what to do';
}

my ($org, $owner, $project) = $s->organization;
my ($other_org, $other_key, $other_project) = $s->organization;

like $org, qr/^[0-9a-f]{24}$/, 'the default id has 24 hexadecimal digits';
cmp_ok abs(hex(substr $org, 0, 8) - time), '<', 60,
    'the default id begins with the second of creation';

sub insert_key {
    my (%column) = @_;

    my %default = (ApiKeys::Sql::credential(), org_id => $org,
        descr => 'd', roles => '{}');
    my %row = (id => delete $default{key_id}, %default, %column);
    my @names = sort keys %row;

    return $s->run('INSERT INTO apikeys.keys (' . join(', ', @names)
        . ') VALUES (' . join(', ', map { $_ eq 'secret'
            ? q{decode(?, 'hex')} : '?' } @names) . ')', @row{@names});
}

ok insert_key(), 'a sound key is taken';

for my $case (
    [ 'an id in upper case', id => 'A' x 24 ],
    [ 'a short id', id => 'a' x 23 ],
    [ 'an id with a new line', id => 'a' x 24 . "\n" ],
    [ 'a public key of 7', public_key => 'abcdefg' ],
    [ 'a public key of 9', public_key => 'abcdefghi' ],
    [ 'a public key with a digit', public_key => 'abcdefg1' ],
    [ 'a secret of 79 bytes', secret => 'ab' x 79 ],
    [ 'a secret of 81 bytes', secret => 'ab' x 81 ],
    [ 'a redacted part of 11', redacted => 'a' x 11 ],
    [ 'no description', descr => '' ],
    [ 'a description of 251', descr => 'd' x 251 ],
    [ 'an unknown role', roles => '{ORG_OWNER,ORG_KING}' ],
    [ 'a project role as the organization\'s', roles => '{GROUP_OWNER}' ],
    [ 'a null role', roles => '{NULL}' ])
{
    my ($name, @column) = @$case;
    ok !insert_key(@column), "$name is refused";
    is $s->error, '23514', 'by a check';
}

ok insert_key(descr => "\x{e9}" x 250), '250 characters, not bytes, are taken';
ok !insert_key(roles => undef), 'null roles are refused';
is $s->error, '23502', 'by not null';
ok !insert_key(org_id => 'f' x 24), 'a key of no organization is refused';
is $s->error, '23503', 'by the foreign key';
ok !insert_key(id => $owner), 'an id is unique';
is $s->error, '23505', 'by the primary key';

ok insert_key(id => 'e' x 24, roles => '{ORG_OWNER,ORG_MEMBER,ORG_OWNER}'),
    'roles in any order and twice are taken';
is $s->value('SELECT roles::text FROM apikeys.keys WHERE id = ?', 'e' x 24),
    '{ORG_MEMBER,ORG_OWNER}', 'roles are stored once, ascending';

ok !$s->run('UPDATE apikeys.keys SET id = ? WHERE id = ?', 'd' x 24, 'e' x 24),
    'the id of a key cannot change';
like $s->dbh->errstr, qr/the id of a row of apikeys\.keys cannot be changed/,
    'the error says that the id cannot be changed';
ok !$s->run('UPDATE apikeys.keys SET public_key = ? WHERE id = ?',
    'zzzzzzzz', 'e' x 24), 'the public key of a key cannot change';
ok $s->run('UPDATE apikeys.keys SET version = 1 WHERE id = ?', 'e' x 24);
cmp_ok $s->value('SELECT version FROM apikeys.keys WHERE id = ?', 'e' x 24),
    '>', 1, 'nobody chooses a version';

for my $table (qw( orgs projects )) {
    for my $case ([ 0, '' ], [ 1, 'n' ], [ 1, "\x{e9}" x 64 ],
        [ 0, 'n' x 65 ])
    {
        my ($fine, $name) = @$case;
        my $column = $table eq 'orgs' ? '' : ', org_id';
        my $done = $s->run("INSERT INTO apikeys.$table (name$column) VALUES (?"
            . ($column && ", '$org'") . ')', $name);
        is !!$done, !!$fine, "$table: a name of " . length $name;
    }
}


# names of projects, attributes

ok !$s->run("INSERT INTO apikeys.projects (org_id, name) VALUES ('$org',
    'project')"), 'a name of a project is unique in its organization';
is $s->error, '23505', 'by a constraint';
ok !$s->run("UPDATE apikeys.projects SET name = 'project'
    WHERE org_id = '$org' AND name = 'n'"), 'for an UPDATE, too';
is $s->error, '23505';
ok $s->run("INSERT INTO apikeys.orgs (name) VALUES ('org')"),
    'two organizations may have one name';

for my $table (qw( orgs projects )) {
    my $where = 'WHERE id = ' . ($table eq 'orgs' ? "'$org'" : "'$project'");

    for my $value ('[]', '"x"', '1', 'null') {
        ok !$s->run("UPDATE apikeys.$table SET attributes = ? $where", $value),
            "$table: attributes $value are refused";
        is $s->error, '23514';
    }
    ok !$s->run("UPDATE apikeys.$table SET attributes = NULL $where"),
        "$table: attributes are never null";
    is $s->error, '23502';
    ok $s->run(qq{UPDATE apikeys.$table SET attributes = '{"a":1}' $where}),
        "$table: an object is taken";
}


# global keys, and their list

ok insert_key(id => 'c' x 24, org_id => undef, roles => '{GLOBAL_OWNER}'),
    'a key of no organization is a global one';
for my $case ([ undef, '{ORG_OWNER}' ], [ undef, '{GROUP_OWNER}' ],
    [ undef, '{GLOBAL_KING}' ], [ undef, '{GLOBAL_OWNER,NULL}' ],
    [ $org, '{GLOBAL_OWNER}' ], [ $org, '{ORG_OWNER,GLOBAL_READ_ONLY}' ])
{
    my ($in, $roles) = @$case;
    ok !insert_key(org_id => $in, roles => $roles),
        ($in ? 'of an organization' : 'global') . ": $roles is refused";
    is $s->error, '23514';
}
ok !$s->run('UPDATE apikeys.keys SET org_id = ?, roles = $${ORG_OWNER}$$
    WHERE id = ?', $org, 'c' x 24),
    'a global key cannot be given an organization';
ok !$s->run('UPDATE apikeys.keys SET org_id = NULL, roles = $${}$$
    WHERE id = ?', $owner), 'a key of an organization cannot be made global';
ok !$s->run('INSERT INTO apikeys.access_list (key_id, cidr) VALUES (?, ?)',
    'c' x 24, '10.0.0.1'), 'a global key has no list of its own';
like $s->error, qr/^(?:23502|23503)$/;
ok !$s->run('INSERT INTO apikeys.key_projects (key_id, project_id, roles)
    VALUES (?, ?, $${GROUP_OWNER}$$)', 'c' x 24, $project),
    'a global key has no roles in a project';
is $s->error, '23503';

my $global = 'INSERT INTO apikeys.global_access_list (cidr, descr)
    VALUES (?, ?)';
for my $case ([ '0.0.0.0/0', 'd', '23514' ], [ '::/0', 'd', '23514' ],
    [ '::/128', 'd', '23514' ], [ '0.0.0.0/32', 'd', '23514' ],
    [ '::ffff:10.0.0.0/104', 'd', '23514' ], [ '10.0.0.1/8', 'd', '22P02' ],
    [ '10.0.0.0/8', '', '23514' ], [ '10.0.0.0/8', 'd' x 251, '23514' ],
    [ '10.0.0.0/8', undef, '23502' ])
{
    my ($cidr, $descr, $error) = @$case;
    ok !$s->run($global, $cidr, $descr), "an entry $cidr is refused";
    is $s->error, $error;
}
ok $s->run($global, $_, 'd'), "an entry $_ is taken"
    for qw( 0.0.0.0/1 128.0.0.0/1 10.0.0.1 2001:db8::/32 );
ok !$s->run($global, '10.0.0.1/32', 'd'),
    'an entry of the global list is refused a second time';
is $s->error, '23505';


# assignments

my $assign = 'INSERT INTO apikeys.key_projects (key_id, project_id, roles) '
    . 'VALUES (?, ?, ?)';

for my $case (
    [ '23514', $owner, $project, '{}' ],
    [ '23514', $owner, $project, '{ORG_OWNER}' ],
    [ '23514', $owner, $project, '{GROUP_OWNER,NULL}' ],
    [ '23502', $owner, $project, undef ],
    [ '23503', $owner, $other_project, '{GROUP_OWNER}' ],
    [ '23503', $owner, 'f' x 24, '{GROUP_OWNER}' ],
    [ '23503', 'f' x 24, $project, '{GROUP_OWNER}' ])
{
    my ($error, @row) = @$case;
    ok !$s->run($assign, @row), 'an unsound assignment is refused';
    is $s->error, $error;
}
ok !$s->run('INSERT INTO apikeys.key_projects VALUES (?, ?, ?, ?)', $owner,
    $other_project, $org, '{GROUP_OWNER}'),
    'a project of another organization, claimed to be one\'s own';
is $s->error, '23503';
ok $s->run($assign, $owner, $project, '{GROUP_READ_ONLY,GROUP_OWNER}');
ok !$s->run('UPDATE apikeys.keys SET org_id = ? WHERE id = ?', $other_org,
    $_), 'a key stays in its organization' for $owner, 'e' x 24;
ok !$s->run('UPDATE apikeys.projects SET org_id = ? WHERE id = ?', $other_org,
    $project), 'a project stays in its organization';


# access lists

my $entry = 'INSERT INTO apikeys.access_list (key_id, cidr) VALUES (?, ?)';

for my $cidr (qw( 0.0.0.0/0 ::/0 0.0.0.0/32 ::/128 ::ffff:0:0/96
    ::ffff:10.0.0.0/104 ::ffff:1.2.3.4 ))
{
    ok !$s->run($entry, $owner, $cidr), "$cidr is refused";
    is $s->error, '23514';
}
ok !$s->run($entry, $owner, '10.1.0.0/8'), 'host bits are refused';
is $s->error, '22P02';
ok $s->run($entry, $owner, $_), "$_ is taken"
    for qw( 0.0.0.0/1 128.0.0.0/1 ::/1 ::fffe:0:0/95 ::/80 10.0.0.1/32
            2001:db8::/32 ::1/128 );
ok !$s->run($entry, $owner, '10.0.0.1'), 'one address once';
is $s->error, '23505';
ok !$s->run($entry, 'f' x 24, '10.0.0.1'), 'the key must exist';


# the audit

ok $s->value('SELECT count(*) FROM apikeys.audit'), 'there is an audit';
for my $sql ('UPDATE apikeys.audit SET caller = $$x$$',
    'DELETE FROM apikeys.audit WHERE false', 'TRUNCATE apikeys.audit')
{
    ok !$s->run($sql), "$sql is refused";
    is $s->error, '55000';
    my ($verb) = $sql =~ /^(\w+)/;
    like $s->dbh->errstr, qr/apikeys\.audit is append-only, $verb is not all/,
        "the error of $verb says that the audit is append-only";
    like $s->dbh->errstr, qr/HINT: .*forget_before\(\)/,
        "the hint of $verb names forget_before()";
}
ok $s->run('SET session_replication_role = replica');
ok !$s->run('DELETE FROM apikeys.audit'), 'whatever the session\'s role';
ok $s->run('RESET session_replication_role');

unlike $s->value('SELECT string_agg(a::text, $$ $$) FROM apikeys.audit a'),
    qr/abababab/, 'the audit holds no secret';

done_testing;
