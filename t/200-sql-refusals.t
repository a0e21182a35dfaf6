# Every refusal of the functions of sql/: it writes no row of any table, and
# PostgreSQL's log has no line for it.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Pg ();
use ApiKeys::Sql ();
use JSON::PP ();
use Test::More;

my $pg = ApiKeys::Pg->new(own => 1);
my $db = $pg->database(schema => 1);
my $s = ApiKeys::Sql->new($db);
my $none = 'f' x 24;

my ($org, $owner, $project) = $s->organization;
my ($full, $full_owner, $full_project) = $s->organization;
my $key = $s->key($org, 'ORG_MEMBER');
my $member = $s->key($org, 'ORG_MEMBER');
my $manager = $s->key($org, 'ORG_MEMBER');
my ($taken) = $s->value('SELECT public_key FROM apikeys.keys WHERE id = ?',
    $key);

$s->call('assign_key', project => $project, key => $key,
    grants => ['GROUP_OWNER']);
$s->call('assign_key', project => $project, key => $manager,
    grants => ['GROUP_ACCESS_MANAGER']);
$s->call('add_access_entries', org => $org, key => $key,
    entries => ['10.0.0.1']);
$s->run('SELECT apikeys.set_quota(?, 0, 0, 0, 0)', $full) or die $s->error;

my @tables = $s->column(q{SELECT tablename FROM pg_tables
    WHERE schemaname = 'apikeys' ORDER BY 1});
my $count = join ' UNION ALL ', map { "SELECT '$_', count(*)::text,
    coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '')
    FROM apikeys.$_ t" } @tables;

sub rows { return join "\n", map { join ' ', @$_ }
    @{ $s->dbh->selectall_arrayref($count) } }

$s->call('create_project', org => $org, name => 'taken') or die $s->error;
$s->call('create_global_key', credential(), descr => 'd',
    roles => ['GLOBAL_OWNER']) or die $s->error;
my ($global_key) = $s->value('SELECT id FROM apikeys.keys
    WHERE org_id IS NULL');
my ($entry, $entry2) = map { ApiKeys::Sql::new_id() } 1, 2;
$s->call('add_global_entry', id => $entry, entry => '10.0.0.0/8',
    descr => 'd') or die $s->error;
$s->call('add_global_entry', id => $entry2, entry => '11.0.0.0/8',
    descr => 'd') or die $s->error;

my @by = (caller => $owner, org_roles => ['ORG_OWNER'],
    project_roles => ['GROUP_OWNER']);
my @by_disabled = (caller => $s->key($org, 'ORG_OWNER'),
    org_roles => ['ORG_OWNER'], project_roles => ['GROUP_OWNER']);
my @by_expired = (caller => $s->key($org, 'ORG_OWNER'),
    org_roles => ['ORG_OWNER'], project_roles => ['GROUP_OWNER']);
$s->run('UPDATE apikeys.keys SET disabled = true WHERE id = ?',
    $by_disabled[1]);
$s->run(q{UPDATE apikeys.keys SET expires = date_trunc('second', now())
    WHERE id = ?}, $by_expired[1]);
my @by_ended = (caller => $s->key($org, 'ORG_OWNER'),
    org_roles => ['ORG_OWNER'], project_roles => ['GROUP_OWNER']);
push @by_ended, caller_secret => $by_ended[1];
$s->run(q{UPDATE apikeys.keys SET secret_expires = date_trunc('second', now())
    WHERE id = ?}, $by_ended[1]);
my @by_manager = (caller => $manager, org_roles => ['ORG_OWNER'],
    project_roles => [ 'GROUP_OWNER', 'GROUP_ACCESS_MANAGER' ]);

sub credential { return ApiKeys::Sql::credential() }

# what a call is without, to be refused
my %calls = (
    create_org => [ org => $none, name => 'o', credential(), descr => 'd' ],
    update_org => [ org => $org, name => 'n', required => 1,
        attributes => '{"a":true}' ],
    delete_org => [ org => $org ],
    create_project => [ org => $org, name => 'n',
        attributes => '{"a":true}' ],
    update_project => [ project => $project, name => 'n',
        attributes => '{"a":true}' ],
    delete_project => [ project => $project ],
    create_key => [ org => $org, credential(), descr => 'd', roles => [] ],
    update_key => [ org => $org, key => $key, descr => 'x',
        roles => ['ORG_MEMBER'] ],
    delete_key => [ org => $org, key => $key ],
    add_secret => [ org => $org, key => $key, secret_id => $none,
        secret => 'ab' x 112, redacted => '0123456789ab',
        secret_attributes => '{}' ],
    update_secret => [ org => $org, key => $key, secret_id => $key,
        secret_attributes => '{"expiresAt":"2100-01-01T00:00:00Z"}' ],
    delete_secret => [ org => $org, key => $key, secret_id => $key ],
    set_key_grants => [ project => $project, key => $key, descr => 'x',
        grants => ['GROUP_READ_ONLY'] ],
    assign_key => [ project => $project, key => $member,
        grants => ['GROUP_READ_ONLY'] ],
    unassign_key => [ project => $project, key => $key,
        repeatable => 0 ],
    add_access_entries => [ org => $org, key => $key,
        entries => [ '10.0.0.1', '10.0.0.2' ] ],
    update_access_entry => [ org => $org, key => $key,
        entry => '10.0.0.1', attributes => '{"comment":"c"}' ],
    delete_access_entry => [ org => $org, key => $key,
        entry => '10.0.0.1' ],
    create_global_key => [ credential(), descr => 'd',
        roles => ['GLOBAL_OWNER'] ],
    update_global_key => [ key => $global_key, descr => 'x' ],
    delete_global_key => [ key => $global_key ],
    add_global_entry => [ id => $none, entry => '12.0.0.0/8',
        descr => 'd' ],
    update_global_entry => [ id => $entry, descr => 'x' ],
    delete_global_entry => [ id => $entry ],
);

# each mutation: a function that takes the caller and returns outcomes
my @mutations = $s->column(q{SELECT proname FROM pg_proc
    WHERE pronamespace = 'apikeys'::regnamespace
      AND prorettype = 'apikeys.outcome'::regtype
      AND proargnames[1] = 'p_caller' ORDER BY 1});

is "@mutations", join(' ', sort keys %calls),
    'this test calls each function that returns outcomes';

is_deeply [ $s->column(q{SELECT proname FROM pg_proc
    WHERE pronamespace = 'apikeys'::regnamespace AND proname = ANY (?)
      AND NOT (prosecdef AND EXISTS (SELECT FROM unnest(proconfig) c
          WHERE c LIKE 'search_path=%, "apikeys audited"'))}, \@mutations) ],
    [], 'each mutation is SECURITY DEFINER and has the audit mark';

# what runs as the owner and returns outcomes checks its caller
is_deeply [ $s->column(q{SELECT proname FROM pg_proc
    WHERE pronamespace = 'apikeys'::regnamespace AND prosecdef
      AND prorettype = 'apikeys.outcome'::regtype
      AND proname <> ALL (?)}, \@mutations) ],
    [], 'each function that returns outcomes as the owner takes the caller';

{
    open my $f, '<', "$FindBin::Bin/../sql/grants.sql" or die $!;
    my ($granted) = join('', <$f>) =~ /GRANT EXECUTE ON FUNCTION(.*?)\bTO\b/s;

    is_deeply [ grep { $granted !~ /\b$_\b/ } @mutations ], [],
        'sql/grants.sql has each mutation';
}

my %seen;

sub refused {
    my ($expected, $function, @args) = @_;

    my %args = (@{ $calls{$function} }, @args);
    my $before = rows();
    my $log = length $pg->log_text;
    my @rows = $s->call($function, %args);

    my ($refusal) = $s->error =~ /^(\w+)/;
    is $refusal, $expected, "$function: $expected";
    is scalar @rows, 0, "$function, $expected: no state is returned";
    is rows(), $before, "$function, $expected: no row is written";
    is substr($pg->log_text, $log), '', "$function, $expected: no log line";
    $seen{$expected} = 1;
}

for my $function (sort keys %calls) {
    my %args = @{ $calls{$function} };

    if ($function eq 'create_org') {
        refused('unauthorized', $function, @by);
        refused('public_key_taken', $function, public_key => $taken);
        next;
    }

    refused('caller_gone', $function, @by, caller => $none);
    refused('caller_gone', $function, @by_disabled);
    refused('caller_gone', $function, @by_expired);
    refused('caller_gone', $function, @by, caller_secret => $none);
    refused('caller_gone', $function, @by_ended);
    refused('unauthorized', $function, @by, org_roles => [],
        project_roles => []);
    refused($args{org} ? 'org_not_found' : 'project_not_found', $function,
        $args{org} ? (org => $none) : (project => $none))
        if $args{org} || $args{project};
    refused('key_not_found', $function, key => $none) if $args{key};
}

refused('public_key_taken', 'create_key', public_key => $taken);
refused('public_key_taken', 'create_global_key', public_key => $taken);
refused('project_name_taken', 'create_project', name => 'taken');
refused('project_name_taken', 'update_project', name => 'taken');
refused('org_not_empty', 'delete_org', @by);
refused('org_not_empty', 'delete_org');
refused('key_not_found', 'update_global_key', key => $key);
refused('key_not_found', 'delete_global_key', key => $key);
refused('global_entry_not_found', 'update_global_entry', id => $none);
refused('global_entry_not_found', 'delete_global_entry', id => $none);
refused('global_entry_exists', 'add_global_entry', entry => '10.0.0.0/8');
refused('global_entry_exists', 'update_global_entry',
    entry => '11.0.0.0/8');
refused('max_keys', 'create_key', org => $full);
refused('max_projects', 'create_project', org => $full);
refused('max_assignments', 'assign_key', project => $full_project,
    key => $full_owner);
refused('max_assignments', 'set_key_grants', project => $full_project,
    key => $full_owner);
refused('max_org_entries', 'add_access_entries', org => $full,
    key => $full_owner);
refused('entry_exists', 'add_access_entries');
refused('entry_not_found', $_, entry => '10.0.0.9')
    for qw( update_access_entry delete_access_entry );
refused('expires_in_past', 'update_access_entry',
    attributes => '{"expiresAt":"2026-01-01T00:00:00Z"}');
refused('expires_in_past', 'add_access_entries', entries => ['10.0.0.3/32'],
    attributes => '{"10.0.0.3/32":{"expiresAt":"2026-01-01T00:00:00Z"}}');
refused('expires_in_past', 'create_key', key_attributes => JSON::PP->new->encode({
    desc => 'd', roles => [], accessList => '{10.0.0.3/32}',
    accessListAttributes => {
        '10.0.0.3/32' => { expiresAt => '2026-01-01T00:00:00Z' } } }));
refused('own_address', 'delete_access_entry', caller => $key,
    guard => '10.0.0.1');
refused('demotes_last_owner', 'update_key', @by, key => $owner);
refused('demotes_last_owner', 'update_key', @by, key => $owner,
    key_attributes => $_) for '{"disabled":true}',
    '{"expiresAt":"2100-01-01T00:00:00Z"}';
refused('demotes_last_owner', 'add_secret', @by, key => $owner,
    secret_attributes => qq({"expiresAt":"2100-01-01T00:00:00Z",$_}))
    for '"othersExpireIn":0', '"othersExpireIn":60';
refused('demotes_last_owner', 'update_secret', @by, key => $owner,
    secret_id => $owner);
refused('expires_in_past', $_, secret_attributes =>
    '{"expiresAt":"2026-01-01T00:00:00Z"}')
    for qw( add_secret update_secret );
refused('secret_not_found', $_, secret_id => $none)
    for qw( update_secret delete_secret );
refused('last_secret', 'delete_secret');
refused('unauthorized', 'update_secret', caller => $key);
my $rotated = $s->key($org, 'ORG_MEMBER');
$s->call('add_secret', @{ $calls{add_secret} }, key => $rotated,
    secret_id => $entry) or die $s->error;
refused('max_secrets', 'add_secret', key => $rotated);
refused('max_secrets', 'add_secret', key => $rotated,
    secret_attributes => '{"othersExpireIn":60}');
$s->run(q{UPDATE apikeys.keys SET secret_expires = date_trunc('second', now())
    WHERE id = ?}, $rotated);
refused('last_secret', 'delete_secret', key => $rotated,
    secret_id => $rotated);
refused('demotes_last_owner', 'set_key_grants', @by, key => $owner,
    key_attributes => '{"disabled":true}');
refused('expires_in_past', $_, key_attributes =>
    '{"desc":"d","roles":[],"expiresAt":"2026-01-01T00:00:00Z"}')
    for qw( create_key update_key set_key_grants );
refused('unauthorized', 'update_key', caller => $key, roles => ['ORG_MEMBER'],
    descr => undef);
refused('unauthorized', 'update_key', caller => $key,
    key_attributes => '{"desc":"x","new":1}', descr => undef, roles => undef);
refused('deletes_last_owner', 'delete_key', @by, key => $owner);
refused('already_assigned', 'assign_key', key => $key);
refused('key_not_found', 'unassign_key', key => $member);
refused('key_not_found', 'set_key_grants', key => $member, grants => undef);

# an access manager
refused('unauthorized', 'set_key_grants', @by_manager, key => $manager);
refused('unauthorized', 'set_key_grants', @by_manager);
refused('unauthorized', 'set_key_grants', @by_manager, key => $member);
refused('unauthorized', 'unassign_key', @by_manager);
refused('unauthorized', 'create_key', @by_manager, org => undef,
    project => $project, grants => ['GROUP_OWNER']);

$s->run('UPDATE apikeys.default_quotas SET key_entries = 1,
    global_keys = 1, global_entries = 2') or die;
refused('max_global_keys', 'create_global_key');
refused('max_global_entries', 'add_global_entry');
refused('max_key_entries', 'add_access_entries', entries => ['10.0.0.2']);


# none is left out

my %known;
for my $file (glob "$FindBin::Bin/../sql/v*/*.sql") {
    open my $f, '<', $file or die;
    local $/;
    my $text = <$f>;
    $known{$1} = 1 while $text =~ /refus(?:ed\(|al := )'(\w+)'/g;
}
is_deeply [ sort keys %seen ], [ sort keys %known ], 'each refusal was tried';

# the test would see a line
my $log = length $pg->log_text;
$s->call('update_key', org => $org, key => $key, descr => '');
is $s->error, '23514', 'a violated constraint is an error, not a refusal';
like substr($pg->log_text, $log), qr/ERROR/,
    'a violated constraint is in the log of PostgreSQL';

done_testing;
