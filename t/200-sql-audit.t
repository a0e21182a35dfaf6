# What is changed without our functions leaves one row of the audit for each
# statement, in its transaction and without secrets, whatever is tried to go
# past it; what they change leaves the rows that they write, and no other.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Pg ();
use ApiKeys::Sql ();
use JSON::PP ();
use Test::More;

my $pg = ApiKeys::Pg->new(own => 1, tcp => 1);
my $db = $pg->database(schema => 1);
my $s = ApiKeys::Sql->new($db);
my $last = 0;
$s->run('SET client_min_messages = error');

# the rows since the last call
sub rows {
    my @rows = @{ $s->dbh->selectall_arrayref('SELECT id, event, caller,
        address, org_id, project_id, key_id, before::text, after::text
        FROM apikeys.audit WHERE id > ? ORDER BY id', { Slice => {} },
        $last) };
    for (@rows) {
        $last = delete $_->{id};
        defined $_ and $_ = JSON::PP->new->decode($_)
            for @$_{qw( before after )};
    }
    return \@rows;
}

sub events { return join ', ', map { $_->{event} } @{ rows() } }

sub row {
    my ($event, %row) = @_;

    return { event => $event, caller => 'postgres', address => undef,
        org_id => undef, project_id => undef, key_id => undef,
        before => undef, after => undef, %row };
}

my ($org, $owner, $project) = $s->organization;
my ($other) = $s->organization;
my $key = $s->key($org, 'ORG_MEMBER');
rows();


# each table, as typed

sub typed {
    my ($sql, @expected) = @_;

    ok $s->run($sql), $sql;
    my $rows = rows();
    delete @$_{qw( created version )}
        for map { @{ $_->{rows} } } grep { $_ } map { @$_{qw( before after )} }
            @$rows;
    is_deeply $rows, \@expected, 'its row' or diag explain $rows;
}

sub of { return { count => scalar @_, rows => [@_] } }

my %org = (id => $org, name => 'org', access_list_required => JSON::PP::false,
    attributes => {});
my %key = (id => $key, org_id => $org, descr => 'key', roles => ['ORG_MEMBER'],
    public_key => $s->value('SELECT public_key FROM apikeys.keys WHERE id = ?',
    $key), redacted => '0123456789ab', disabled => JSON::PP::false,
    map { $_ => undef } qw( expires secret_id secret_created secret_expires ));
my %in = (key_id => $key, project_id => $project, org_id => $org);
my %listed = (key_id => $key, org_id => $org, comment => undef,
    expires => undef);
my $p = 'a' x 24;
my %project = (id => $p, org_id => $org, name => 'p', attributes => {});

typed("UPDATE apikeys.orgs SET name = 'new' WHERE id = '$org'",
    row('SQL UPDATE orgs', org_id => $org, before => of(\%org),
        after => of({ %org, name => 'new' })));
typed("INSERT INTO apikeys.projects (id, org_id, name)
       VALUES ('$p', '$org', 'p')",
    row('SQL INSERT projects', org_id => $org, project_id => $p,
        after => of(\%project)));
typed("DELETE FROM apikeys.projects WHERE id = '$p'",
    row('SQL DELETE projects', org_id => $org, project_id => $p,
        before => of(\%project)));
typed("UPDATE apikeys.keys SET secret = decode(repeat('cd', 112), 'hex'),
       descr = 'other' WHERE id = '$key'",
    row('SQL UPDATE keys', org_id => $org, key_id => $key,
        before => of(\%key), after => of({ %key, descr => 'other' })));
typed("INSERT INTO apikeys.key_projects (key_id, project_id, roles)
       VALUES ('$key', '$project', '{GROUP_OWNER}')",
    row('SQL INSERT key_projects', %in,
        after => of({ %in, roles => ['GROUP_OWNER'] })));
typed("INSERT INTO apikeys.access_list (key_id, cidr)
       VALUES ('$key', '10.0.0.2'), ('$key', '10.0.0.1')",
    row('SQL INSERT access_list', org_id => $org, key_id => $key, after =>
        of(map { { %listed, cidr => "10.0.0.$_/32" } } 1, 2)));
typed("INSERT INTO apikeys.access_list (key_id, cidr)
       VALUES ('$key', '10.0.0.2'), ('$key', '10.0.0.3')
       ON CONFLICT DO NOTHING",
    row('SQL INSERT access_list', org_id => $org, key_id => $key,
        after => of({ %listed, cidr => '10.0.0.3/32' })));
typed("DELETE FROM apikeys.access_list WHERE cidr = '10.0.0.9'");
typed("UPDATE apikeys.keys SET descr = '' WHERE false");


# cascades: what goes with a row is part of that row's end

is scalar(@{ $s->dbh->selectall_arrayref("SELECT FROM apikeys.access_list
    WHERE key_id = '$key'") }), 3, 'a key with a list and a project';
typed("DELETE FROM apikeys.keys WHERE id = '$key'",
    row('SQL DELETE keys', org_id => $org, key_id => $key,
        before => of({ %key, descr => 'other' })));
$key = $s->key($org, 'ORG_MEMBER');
$s->run("INSERT INTO apikeys.access_list VALUES ('$_', '10.0.0.1')")
    for $key, $owner;
rows();
ok $s->run('WITH d AS (DELETE FROM apikeys.keys WHERE id = ?)
    DELETE FROM apikeys.access_list WHERE key_id IN (?, ?)', $key, $key,
    $owner), 'a key, its list and that of another in one statement';
is events(), 'SQL DELETE access_list, SQL DELETE keys', 'two tables, two rows';


# many rows: the count, the first 20, and little more

sub key_sql {
    my ($n, $in) = @_;

    return "INSERT INTO apikeys.keys (id, org_id, public_key, secret, redacted,
        descr, roles) SELECT lpad(to_hex(g), 24, '0'), '$in',
        translate(lpad(to_hex(g), 8, '0'), '0123456789abcdef',
        'ghijklmnopqrstuv'), decode(repeat('cd', 112), 'hex'), repeat('a', 12),
        repeat('d', 250), '{ORG_OWNER}' FROM generate_series(1, $n) g";
}

$s->run(key_sql(10000, $other));
my ($many) = @{ rows() };
is $many->{after}{count}, 10000,
    'the audit row of 10,000 keys has their number';
is $many->{org_id}, $other,
    'the audit row of 10,000 keys has their organization';
is_deeply [ map { hex $_->{id} } @{ $many->{after}{rows} } ], [ 1 .. 20 ],
    'the audit row of 10,000 keys has the first 20 of them';
cmp_ok $s->value('SELECT length(a::text) FROM apikeys.audit a WHERE id = ?',
    $last), '<', 20000, 'in a row that is not long';
$s->run("COPY apikeys.access_list (key_id, cidr) FROM STDIN");
$s->dbh->pg_putcopydata(sprintf "%024x\t10.0.0.1\n", $_) for 1 .. 1000;
$s->dbh->pg_putcopyend;
is_deeply [ map { "$_->{event} $_->{after}{count}" } @{ rows() } ],
    ['SQL INSERT access_list 1000'], 'COPY: one row';
$s->run('DELETE FROM apikeys.orgs WHERE id = ?', $other);
is events(), 'SQL DELETE orgs', 'an organization with 10,000 keys: one row';


# in the transaction of the change

$s->dbh->begin_work;
$s->run('UPDATE apikeys.orgs SET name = ?', 'x');
$s->dbh->rollback;
is events(), '', 'a change that was rolled back has no row';


# what our functions do, and what else is done with them

my $serial = 0;
sub create { return $s->call('create_project', org => $org,
    name => 'p' . ++$serial) }
my $call = "apikeys.create_project(NULL, NULL, NULL, NULL, NULL, '$org',
    gen_random_uuid()::text, NULL)";
my $type = "UPDATE apikeys.projects SET name = 'n' WHERE id = '$project'";

create();
is events(), 'GROUP_CREATED', 'a function: its own row alone';
$key = $s->key($org, 'ORG_MEMBER');
$s->call('assign_key', project => $project, key => $key,
    grants => ['GROUP_OWNER']);
$s->call('set_key_grants', project => $project, key => $key, descr => 'd',
    grants => ['GROUP_READ_ONLY']);
$s->call('add_access_entries', org => $org, key => $key,
    entries => ['10.0.0.1']);
$s->call('delete_access_entry', org => $org, key => $key,
    entry => '10.0.0.1');
$s->call('add_access_entries', org => $org, key => $key,
    entries => ['10.0.0.1']);
$s->call('update_key', org => $org, key => $key, descr => 'e',
    roles => ['ORG_OWNER']);
$s->call('update_org', org => $org, required => 1);
$s->call('delete_key', org => $org, key => $key);
unlike events(), qr/SQL/, 'calls of functions leave no audit row of SQL';
$s->dbh->begin_work;
create();
$s->run($type);
create();
$s->dbh->commit;
is events(), 'GROUP_CREATED, SQL UPDATE projects, GROUP_CREATED',
    'mixed in a transaction: all three';
$db->psql("DO \$\$ BEGIN PERFORM $call; $type; END \$\$");
is events(), 'GROUP_CREATED, SQL UPDATE projects', 'in one statement: both';
$s->run("WITH a AS (SELECT $call) UPDATE apikeys.projects SET name = 'm'
    FROM a WHERE id = '$project'");
is events(), 'GROUP_CREATED, SQL UPDATE projects', 'in a WITH: both';


# ways past it

$s->run('SET session_replication_role = replica');
$s->run($type);
$s->run('RESET session_replication_role');
is events(), 'SQL UPDATE projects', 'as a local copy';

$db->psql(<<"END");
CREATE TABLE public.other (a int);
CREATE FUNCTION public.other() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
    DELETE FROM apikeys.projects WHERE name = 'p1';
    RETURN NULL;
END \$\$;
CREATE TRIGGER other AFTER INSERT ON public.other
    EXECUTE FUNCTION public.other();
INSERT INTO public.other VALUES (1);
END
is events(), 'SQL DELETE projects', 'by a trigger of somebody\'s own';

$db->psql(<<"END");
CREATE ROLE clerk LOGIN;
GRANT USAGE ON SCHEMA apikeys TO clerk;
GRANT SELECT, INSERT, UPDATE, DELETE ON apikeys.access_list TO clerk;
END
my $clerk = DBI->connect($pg->_dsn($db->name) =~ s/user=postgres/user=clerk/r
    =~ s/host=[^;]+/host=127.0.0.1/r, '', '', { RaiseError => 1 });
$clerk->do(q{SET search_path = apikeys, "apikeys audited"});
$clerk->do("INSERT INTO access_list VALUES ('$owner', '10.0.0.1')");
is_deeply [ map { @$_{qw( event caller address )} } @{ rows() } ],
    [ 'SQL INSERT access_list', 'clerk', '127.0.0.1' ],
    'a role with few rights, over TCP, that sets what our functions set';
is $s->value("SELECT count(*) FROM apikeys.changes c, apikeys.keys k
    WHERE c.id = k.id AND c.version = k.version AND k.id = '$owner'"), 1,
    'a change by a role with few rights is in the feed';
$clerk->disconnect;

$s->run('TRUNCATE apikeys.access_list CASCADE');
is events(), 'SQL TRUNCATE access_list', 'TRUNCATE';


unlike $s->value('SELECT string_agg(a::text, $$ $$) FROM apikeys.audit a'),
    qr/(?:ab|cd){8}|"secret"/, 'the audit holds no secret';

done_testing;
