# Sessions that meet at global keys, their list, and assignments that leave
# with two parents: each waits for the other where it must, nothing is missed
# and nothing told twice.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Pg ();
use ApiKeys::Sql ();
use Test::More;

my $db = ApiKeys::Pg->new->database(schema => 1);
my ($s, $one, $two) = map { ApiKeys::Sql->new($db) } 1 .. 3;

sub credential { return ApiKeys::Sql::credential() }

sub global_key {
    my ($key) = $s->call('create_global_key', credential(), descr => 'x',
        roles => ['GLOBAL_OWNER']);
    $key or die $s->error;
    return $key->{id};
}

my $key = global_key();
my @new = (descr => 'new', roles => ['GLOBAL_OWNER']);


# the list by psql, keys through the API

$one->dbh->begin_work;
ok $one->run("INSERT INTO apikeys.global_access_list (cidr, descr)
    VALUES ('192.0.2.0/24', 'x')"), 'psql adds an entry';
$two->start('create_global_key', credential(), @new);
ok $two->waits, 'a new global key waits for an entry by psql';
$one->dbh->commit;
my ($made) = $two->finish;
is $made->{entries}, '192.0.2.0/24',
    'a new global key has the entry that it waited for';

$one->dbh->begin_work;
ok $one->run("DELETE FROM apikeys.global_access_list
    WHERE cidr = '192.0.2.0/24'"), 'psql deletes an entry';
$two->start('create_global_key', credential(), @new);
ok $two->waits, 'a new global key waits for a deletion by psql';
$one->dbh->commit;
($made) = $two->finish;
is $made->{entries}, '', 'a new global key does not have the deleted entry';

$one->dbh->begin_work;
$one->call('add_global_entry', id => ApiKeys::Sql::new_id(),
    entry => '10.0.0.0/8', descr => 'x');
is $one->error, '', 'the API adds an entry';
$two->start_run("INSERT INTO apikeys.keys (public_key, secret, redacted,
    descr, roles) VALUES ('psqlmade', repeat('x', 112)::bytea,
    '0123456789ab', 'x', '{GLOBAL_OWNER}')");
ok $two->waits, 'a global key by psql waits for an entry by the API';
$one->dbh->commit;
$two->finish;
is $s->value("SELECT entries FROM apikeys.key_states
    WHERE public_key = 'psqlmade'"), '10.0.0.0/8',
        'a global key by psql has the entry that it waited for';

$one->dbh->begin_work;
ok $one->run("INSERT INTO apikeys.global_access_list (cidr, descr)
    VALUES ('10.1.0.0/16', 'x')"), 'psql adds an entry';
$two->start('add_global_entry', id => ApiKeys::Sql::new_id(),
    entry => '10.1.0.0/16', descr => 'x');
ok $two->waits, 'the same entry through the API waits for psql';
$one->dbh->commit;
$two->finish;
is $two->error, 'global_entry_exists 10.1.0.0/16',
    'the same entry through the API is refused';

$one->dbh->begin_work;
ok $one->run("UPDATE apikeys.global_access_list SET descr = 'y'"),
    'psql changes entries';
$two->start('update_global_entry', caller => $key, id => $s->value(
    "SELECT id FROM apikeys.global_access_list LIMIT 1"), descr => 'z');
ok $two->waits, 'a global key that changes one waits';
ok $one->run("UPDATE apikeys.global_access_list SET descr = 'yy'"),
    'psql goes on without a deadlock';
$one->dbh->commit;
$two->finish;
is $two->error, '', 'the global key that waited succeeds';


# a demotion waits for what its key is doing

my ($org, undef, $project) = $s->organization;

for my $call ([ create_key => org => $org, org_roles => ['ORG_OWNER'],
        credential(), descr => 'x', roles => ['ORG_OWNER'] ],
    [ create_org => org => ApiKeys::Sql::new_id(), name => 'x' ])
{
    my ($function, @args) = @$call;
    my $caller = global_key();

    $one->dbh->begin_work;
    $one->call($function, caller => $caller, @args);
    is $one->error, '', "a global key calls $function()";
    $two->start('update_global_key', key => $caller,
        roles => ['GLOBAL_READ_ONLY']);
    ok $two->waits, "a demotion waits for $function()";
    $one->dbh->commit;
    $two->finish;
    is $two->error, '', "a demotion after $function() is made";
    $s->call($function, caller => $caller, @args);
    like $s->error, qr/^unauthorized /, "the demoted key may not call $function()";
}


# assignments that leave with their key and their project at once

for my $case (
    [ 'the API deletes the key', sub { $_[0]->call('delete_key',
        org => $org, key => $_[1]) } ],
    [ 'psql deletes the assignment', sub { $_[0]->run(
        'DELETE FROM apikeys.key_projects WHERE key_id = ?', $_[1]) } ],
    [ 'psql deletes the key', sub { $_[0]->run(
        'DELETE FROM apikeys.keys WHERE id = ?', $_[1]) } ])
{
    my ($title, $do) = @$case;
    my $member = $s->key($org, 'ORG_MEMBER');
    my ($in) = $s->call('create_project', org => $org, name => $title);

    $s->call('assign_key', project => $in->{id}, key => $member,
        grants => ['GROUP_OWNER']);
    $one->dbh->begin_work;
    $do->($one, $member);
    is $one->error, '', $title;
    $two->start_run("DELETE FROM apikeys.projects WHERE id = '$in->{id}'");
    ok $two->waits, "$title: a DELETE of the project waits";
    $one->dbh->commit;
    $two->finish;
    is $two->error, '', "$title: the DELETE of the project succeeds";
    is $s->value("SELECT count(*) FROM apikeys.events WHERE project_id = ?
        AND type = 'API_KEY_REMOVED_FROM_GROUP'", $in->{id}), 1,
        "$title: there is one event that the key left";
}


# keys are locked before the counters

my $owner = $s->key($org, 'ORG_OWNER');
$one->dbh->begin_work;
ok $one->run('UPDATE apikeys.keys SET descr = descr WHERE id = ?', $owner),
    'psql has locked a key';
$two->start('create_project', caller => $owner, org_roles => ['ORG_OWNER'],
    org => $org, name => 'by its key');
ok $two->waits, 'create_project() of the locked key waits';
ok $one->run('INSERT INTO apikeys.key_projects (key_id, project_id, roles)
    VALUES (?, ?, $${GROUP_OWNER}$$)', $owner, $project),
    'psql assigns the locked key without a deadlock';
$one->dbh->commit;
$two->finish;
is $two->error, '',
    'create_project() of the locked key succeeds without a deadlock';

done_testing;
