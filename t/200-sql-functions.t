# What each function does, refuses, returns and notes, in one session.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Pg ();
use ApiKeys::Sql ();
use Test::More;

my $db = ApiKeys::Pg->new->database(schema => 1);
my $s = ApiKeys::Sql->new($db);
my $none = 'f' x 24;

my ($org, $owner, $project) = $s->organization;
my ($org2, $owner2, $project2) = $s->organization;
my @as_owner = (caller => $owner, address => '192.0.2.1',
    org_roles => ['ORG_OWNER'], project_roles => ['GROUP_OWNER']);

# the events since it was asked the last time
my $noted = 0;

sub events {
    my @rows = @{ $s->dbh->selectall_arrayref('SELECT * FROM apikeys.audit
        WHERE id > ? ORDER BY id', { Slice => {} }, $noted) };

    $noted = $rows[-1]{id} if @rows;
    return @rows;
}

sub names { return [ map { $_->{event} } events() ] }

sub refused {
    my ($error, $name, $function, %args) = @_;

    my @rows = $s->call($function, %args);
    is "@rows|" . $s->error, "|$error", $name;
}


# organizations

is_deeply names(), [ ('ORG_CREATED', 'API_KEY_CREATED', 'GROUP_CREATED') x 2 ],
    'changes of the operator are in the audit';
is $s->value('SELECT count(*) FROM apikeys.audit WHERE caller <> ?',
    'operator'), 0, 'under that name';

my @rows = $s->call('create_org',
    org => ApiKeys::Sql::new_id(), name => 'bare');
is_deeply [ map { $_->{kind} } @rows ], ['org'], 'an organization alone';
is_deeply [ @{ $rows[0] }{qw( name access_list_required deleted )} ],
    [ 'bare', 0, 0 ], 'requires no list';
like $rows[0]{created}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

@rows = $s->call('create_org', org => ApiKeys::Sql::new_id(), name => 'o',
    ApiKeys::Sql::credential(), descr => 'd', roles => ['ORG_OWNER', 'ORG_MEMBER']);
is_deeply [ map { $_->{kind} } @rows ], [ 'org', 'key' ],
    'create_org() returns the organization and its key';
is $rows[1]{roles}, 'ORG_MEMBER,ORG_OWNER',
    'the key of create_org() has its roles';
is $rows[1]{org_id}, $rows[0]{id},
    'the key of create_org() belongs to the organization';
is $rows[1]{secret}, 'ab' x 112, 'the key of create_org() has its secret';
refused("unauthorized $owner", 'a key makes no organization', 'create_org',
    caller => $owner, org => $none, name => 'o');
names();

my ($state) = $s->call('update_org', @as_owner, org => $org,
    required => 1);
is $state->{access_list_required}, 1, 'a list is required';
is_deeply names(), ['ORG_PUBLIC_API_ACCESS_LIST_REQUIRED'];
($state) = $s->call('update_org', @as_owner, org => $org);
is $state->{access_list_required}, 1,
    'update_org() with null leaves access_list_required';
is_deeply names(), [], 'update_org() with null leaves no audit row';
($state) = $s->call('update_org', @as_owner, org => $org,
    required => 0);
is_deeply names(), ['ORG_PUBLIC_API_ACCESS_LIST_NOT_REQUIRED'];

is $state->{attributes}, '{}', 'an organization has no attributes at first';
($state) = $s->call('update_org', @as_owner, org => $org, name => 'renamed',
    attributes => '{"a":true,"b":"x"}');
is_deeply [ @$state{qw( name attributes access_list_required )} ],
    [ 'renamed', '{"a": true, "b": "x"}', 0 ], 'a name and attributes';
my @changed = events();
is_deeply [ map { $_->{event} } @changed ],
    [ 'ORG_RENAMED', 'ORG_ATTRIBUTES_CHANGED' ],
    'a change of name and attributes leaves two audit rows';
is_deeply [ @{ $changed[0] }{qw( before after )} ],
    [ '{"name": "org"}', '{"name": "renamed"}' ],
    'the audit row of a renaming has both names';
is_deeply [ @{ $changed[1] }{qw( before after )} ],
    [ '{"a": null, "b": null}', '{"a": true, "b": "x"}' ],
    'the audit row of attributes has the values before and after';
($state) = $s->call('update_org', @as_owner, org => $org, name => 'renamed',
    attributes => '{"b":"y","a":true}');
is $state->{attributes}, '{"a": true, "b": "y"}',
    'attributes that are given replace those of their names';
is_deeply names(), ['ORG_ATTRIBUTES_CHANGED'];
my $version = $s->value('SELECT version FROM apikeys.orgs WHERE id = ?', $org);
($state) = $s->call('update_org', @as_owner, org => $org, name => 'renamed',
    attributes => '{"b":"y"}');
cmp_ok $state->{version}, '>', $version,
    'update_org() with the same values is in the feed';
is_deeply names(), [], 'update_org() with the same values leaves no audit row';
@rows = $s->call('create_org', org => ApiKeys::Sql::new_id(),
    name => 'with attributes', attributes => '{"a":false}');
is $rows[0]{attributes}, '{"a": false}', 'they are given at once, too';
my $bare = $rows[0]{id};
ok $s->call('update_org', org => $bare, name => 'bare'),
    'two organizations may have one name';
names();


# projects

@rows = $s->call('create_project', @as_owner, org => $org, name => 'mine');
is_deeply [ map { $_->{kind} } @rows ], [ 'project', 'key' ],
    'a project, and the key that made it';
is $rows[0]{org_id}, $org;
like $rows[1]{projects}, qr/$rows[0]{id}:GROUP_OWNER/,
    'the key that creates a project becomes its GROUP_OWNER';
is_deeply names(), [ 'GROUP_CREATED', 'API_KEY_ADDED_TO_GROUP' ];
my $mine = $rows[0]{id};
is $rows[0]{attributes}, '{}', 'a new project has no attributes';

refused('project_name_taken mine', 'a name is taken once in an organization',
    'create_project', @as_owner, org => $org, name => 'mine');
ok $s->call('create_project', @as_owner, org => $org, name => 'Mine'),
    'a project name in another case is another name';
ok $s->call('create_project', org => $org2, name => 'mine'),
    'a project name may be used in another organization';
names();

my @project = (@as_owner, project => $mine);
refused('project_name_taken Mine',
    'a project cannot be renamed to a name that is taken',
    'update_project', @project, name => 'Mine');
($state) = $s->call('update_project', @project, name => 'ours',
    attributes => '{"tags":[{"key":"k","value":"v"}],"a":true}');
is_deeply [ @$state{qw( kind id name org_id attributes )} ],
    [ 'project', $mine, 'ours', $org,
        '{"a": true, "tags": [{"key": "k", "value": "v"}]}' ],
    'a name and attributes of a project';
is_deeply names(), [ 'GROUP_NAME_CHANGED', 'GROUP_ATTRIBUTES_CHANGED' ];
($state) = $s->call('update_project', @project, attributes => '{"tags":[]}');
is "$state->{name} $state->{attributes}", 'ours {"a": true, "tags": []}',
    'update_project() keeps attributes that are not given';
is_deeply names(), ['GROUP_ATTRIBUTES_CHANGED'];
$version = $s->value('SELECT version FROM apikeys.projects WHERE id = ?',
    $mine);
($state) = $s->call('update_project', @project, name => 'ours');
cmp_ok $state->{version}, '>', $version,
    'update_project() with the same name is in the feed';
is_deeply names(), [],
    'update_project() with the same name leaves no audit row';

@rows = $s->call('delete_project', @project);
is_deeply [ map { [ @$_{qw( kind id deleted )} ] } @rows ],
    [ [ 'project', $mine, 1 ], [ 'key', $owner, 0 ] ],
    'delete_project() returns the project and its changed keys';
unlike $rows[1]{projects}, qr/$mine/,
    'keys of a deleted project have no role in it';
is_deeply names(), [ 'API_KEY_REMOVED_FROM_GROUP', 'GROUP_DELETED' ];
refused("project_not_found $mine", 'once', 'delete_project', @project);

# organizations that go

{
    my ($gone, $gone_owner, $gone_project) = $s->organization;
    my @gone = (@as_owner, caller => $gone_owner, org => $gone);
    $s->call('add_access_entries', @gone, key => $gone_owner,
        entries => ['10.0.0.1']) or die $s->error;
    refused("org_not_empty $gone", 'an organization with a project stays',
        'delete_org', @gone);
    $s->call('delete_project', project => $gone_project) or die $s->error;
    names();
    @rows = $s->call('delete_org', @gone);
    is_deeply [ map { [ @$_{qw( kind id deleted )} ] } @rows ],
        [ [ 'org', $gone, 1 ], [ 'key', $gone_owner, 1 ] ],
        'the last owner deletes its organization, and itself';
    my ($event) = events();
    is_deeply [ @$event{qw( event caller org_id after )} ],
        [ 'ORG_DELETED', $gone_owner, $gone, undef ],
        'the audit has the deletion of an organization by its last owner';
    is $s->value('SELECT count(*) FROM apikeys.access_list'), 0,
        'lists go with it';
    refused("org_not_found $gone", 'once', 'delete_org', org => $gone);
}


# keys

($state) = $s->call('create_key', @as_owner, org => $org,
    ApiKeys::Sql::credential(), descr => 'plain', roles => ['ORG_READ_ONLY']);
my $key = $state->{id};
is_deeply [ @$state{qw( kind org_id descr roles projects entries redacted )} ],
    [ 'key', $org, 'plain', 'ORG_READ_ONLY', '', '', '0123456789ab' ],
    'a key of the organization';
my ($event) = events();
is_deeply [ @$event{qw( event caller address org_id key_id )} ],
    [ 'API_KEY_CREATED', $owner, '192.0.2.1', $org, $key ], 'is noted';

($state) = $s->call('create_key', @as_owner, project => $project,
    ApiKeys::Sql::credential(), descr => 'p', roles => ['ORG_MEMBER'],
    grants => ['GROUP_READ_ONLY']);
is_deeply [ @$state{qw( org_id roles projects )} ],
    [ $org, 'ORG_MEMBER', "$project:GROUP_READ_ONLY" ],
    'a key of a project, in its organization';
my $guest = $state->{id};

my @again = ApiKeys::Sql::credential();
$s->call('create_key', org => $org, @again, descr => 'd') or die;
refused("public_key_taken $again[3]", 'the same public key', 'create_key',
    org => $org, @again, descr => 'd');
refused("public_key_taken $again[3]", 'of an organization\'s first key, too',
    'create_org', org => ApiKeys::Sql::new_id(), name => 'o', @again,
    descr => 'd');
names();

($state) = $s->call('update_key', @as_owner, org => $org, key => $key,
    descr => 'changed');
is "$state->{descr} $state->{roles}", 'changed ORG_READ_ONLY',
    'the description alone';
is_deeply names(), ['API_KEY_DESCRIPTION_CHANGED'];
($state) = $s->call('update_key', @as_owner, org => $org, key => $key,
    roles => ['ORG_MEMBER', 'ORG_GROUP_CREATOR', 'ORG_MEMBER']);
is "$state->{descr} $state->{roles}", 'changed ORG_GROUP_CREATOR,ORG_MEMBER',
    'the roles alone';
($event) = events();
is $event->{event}, 'API_KEY_ROLES_CHANGED';
like $event->{before}, qr/ORG_READ_ONLY/,
    'the audit row has the old roles in "before"';
like $event->{after}, qr/ORG_GROUP_CREATOR/,
    'the audit row has the new roles in "after"';
$s->call('update_key', @as_owner, org => $org, key => $key,
    descr => 'both', roles => ['ORG_MEMBER']);
is_deeply names(), [ 'API_KEY_DESCRIPTION_CHANGED', 'API_KEY_ROLES_CHANGED' ];
$version = $s->value('SELECT version FROM apikeys.keys WHERE id = ?', $key);
($state) = $s->call('update_key', @as_owner, org => $org, key => $key,
    descr => 'both', roles => ['ORG_MEMBER']);
cmp_ok $state->{version}, '>', $version,
    'update_key() with the same values is in the feed';
is_deeply names(), [], 'update_key() with the same values leaves no audit row';

refused("demotes_last_owner $owner", 'the last owner is not demoted', 'update_key',
    @as_owner, org => $org, key => $owner, roles => ['ORG_MEMBER']);
($state) = $s->call('update_key', @as_owner, org => $org, key => $owner,
    roles => [ 'ORG_OWNER', 'ORG_MEMBER' ]);
ok $state, 'the last owner may get other roles if it stays an owner';
ok $s->call('update_key', @as_owner, org => $org, key => $owner,
    descr => 'the owner'), 'the last owner may get another description';
refused("deletes_last_owner $owner", 'the last owner is not deleted',
    'delete_key', @as_owner, org => $org,
    key => $owner);
# an owner that has an end, or is disabled, does not stand in for another

my $second = $s->key($org, 'ORG_OWNER');

sub ends { return (key_attributes => JSON::PP::encode_json({ @_ })) }

ok $s->call('update_key', @as_owner, org => $org, key => $second,
    ends(expiresAt => '2100-01-01T00:00:00Z')),
    'one of two standing owners may get an end';
names();
refused("$_->[0] $owner", "the last standing owner: $_->[0] by $_->[1]",
    $_->[1], @as_owner, org => $org, key => $owner, @{ $_->[2] })
    for [ deletes_last_owner => 'delete_key', [] ],
        [ demotes_last_owner => 'update_key', [ roles => ['ORG_MEMBER'] ] ],
        [ demotes_last_owner => 'update_key', [ ends(disabled => \1) ] ],
        [ demotes_last_owner => 'update_key',
          [ ends(expiresAt => '2100-01-01T00:00:00Z') ] ];
ok $s->call('update_key', @as_owner, org => $org, key => $second,
    ends(disabled => \1)), 'an owner with an end may be disabled';
is_deeply names(), ['API_KEY_DISABLED'];
ok $s->call('update_key', @as_owner, org => $org, key => $second,
    ends(disabled => \0, expiresAt => undef)),
    'a key may be enabled and lose its end in one call';
is_deeply names(), [ 'API_KEY_ENABLED', 'API_KEY_EXPIRY_CHANGED' ];

# an organization without a standing owner keeps one that works

ok $s->call('update_key', org => $org, key => $_,
    ends(expiresAt => '2100-01-01T00:00:00Z')),
    'the operator may give the last standing owner an end'
    for $second, $owner;
ok $s->call('update_key', @as_owner, org => $org, key => $second,
    ends(disabled => \1)), 'one of two owners with an end may be disabled';
refused("demotes_last_owner $owner", 'the last owner that works',
    'update_key', @as_owner, org => $org, key => $owner,
    ends(disabled => \1));
ok $s->call('update_key', @as_owner, org => $org, key => $owner,
    ends(expiresAt => '2099-01-01T00:00:00Z')),
    'the last owner that works may get another end';
ok $s->call('update_key', @as_owner, org => $org, key => $owner,
    ends(expiresAt => undef)), 'the last owner that works may lose its end';
ok $s->call('delete_key', @as_owner, org => $org, key => $second),
    'a disabled owner may be deleted';
names();

ok $s->call('update_key', org => $org2, key => $owner2,
    roles => ['ORG_MEMBER']), 'the operator may demote the last owner';
ok $s->call('update_key', org => $org2, key => $owner2,
    roles => ['ORG_OWNER']), 'the operator may promote a key to owner';
names();


# assignments

($state) = $s->call('assign_key', @as_owner, project => $project,
    key => $key, grants => ['GROUP_OWNER', 'GROUP_READ_ONLY', 'GROUP_OWNER']);
is $state->{projects}, "$project:GROUP_OWNER,GROUP_READ_ONLY",
    'assign_key() gives each role once, sorted';
is_deeply names(), ['API_KEY_ADDED_TO_GROUP'];
refused("already_assigned $key", 'assign_key() a second time is refused',
    'assign_key', @as_owner, project => $project,
    key => $key, grants => ['GROUP_OWNER']);

($state) = $s->call('set_key_grants', @as_owner, project => $project,
    key => $key, grants => ['GROUP_READ_ONLY']);
is $state->{projects}, "$project:GROUP_READ_ONLY",
    'set_key_grants() replaces the roles';
is_deeply names(), ['API_KEY_ROLES_CHANGED'];
($state) = $s->call('set_key_grants', @as_owner, project => $project,
    key => $key, descr => 'by the project');
is "$state->{projects} $state->{descr}",
    "$project:GROUP_READ_ONLY by the project",
    'set_key_grants() without roles changes the description alone';
is_deeply names(), ['API_KEY_DESCRIPTION_CHANGED'];

($state) = $s->call('unassign_key', @as_owner, project => $project,
    key => $key);
is $state->{projects}, '', 'unassign_key() removes the key from the project';
is_deeply names(), ['API_KEY_REMOVED_FROM_GROUP'];
refused("key_not_found $key", 'unassign_key() a second time is refused',
    'unassign_key', @as_owner,
    project => $project, key => $key, repeatable => 0);
$version = $s->value('SELECT version FROM apikeys.keys WHERE id = ?', $key);
($state) = $s->call('unassign_key', @as_owner, project => $project,
    key => $key, repeatable => 1);
is "$state->{id} $state->{projects}", "$key ",
    'unassign_key() a second time succeeds if repeatable';
cmp_ok $state->{version}, '>', $version,
    'a repeated unassign_key() is in the feed';
is_deeply names(), [], 'a repeated unassign_key() leaves no audit row';
refused("key_not_found $key",
    'set_key_grants() does not describe a key outside the project',
    'set_key_grants', @as_owner, project => $project, key => $key,
    descr => 'x');
($state) = $s->call('set_key_grants', @as_owner, project => $project,
    key => $key, grants => ['GROUP_OWNER']);
is $state->{projects}, "$project:GROUP_OWNER",
    'set_key_grants() with roles assigns a key';
is_deeply names(), ['API_KEY_ADDED_TO_GROUP'];
refused('23514', 'set_key_grants() with an empty list of roles is refused',
    'set_key_grants', @as_owner,
    project => $project, key => $key, grants => []);


# access lists

my @list = (@as_owner, org => $org, key => $key);

($state) = $s->call('add_access_entries', @list,
    entries => [qw( 10.1.0.0/16 2001:db8::/32 10.0.0.0/8 9.9.9.9/32 )]);
is $state->{entries}, '9.9.9.9/32,10.0.0.0/8,10.1.0.0/16,2001:db8::/32',
    'entries are added, ascending';
is_deeply names(), ['API_KEY_ACCESS_LIST_ENTRY_ADDED'];
for my $case (
    [ '9.9.9.9', qw( 1.1.1.1/32 9.9.9.9/32 10.0.0.0/8 ) ],
    [ '2001:db8::/32', qw( 2001:db8::/32 9.9.9.9/32 ) ])
{
    my ($shown, @entries) = @$case;
    refused("entry_exists $shown", "$shown is there", 'add_access_entries', @list,
        entries => \@entries);
}
is $s->value('SELECT count(*) FROM apikeys.access_list'), 4,
    'nothing of that is added';
refused('23505', 'one entry twice', 'add_access_entries', @list,
    entries => [ '1.1.1.1/32', '1.1.1.1/32' ]);

refused('entry_not_found 1.1.1.1', 'no such entry', 'delete_access_entry', @list,
    entry => '1.1.1.1/32');
my @own = (caller => $key, org => $org, key => $key, guard => '9.9.9.9');
refused('own_address 9.9.9.9', 'the entry of the address it comes from',
    'delete_access_entry', @own, entry => '9.9.9.9/32');
refused('own_address 2001:db8::1', 'of an IPv6 address, too',
    'delete_access_entry', @own, entry => '2001:db8::/32',
    guard => '2001:db8::1');
($state) = $s->call('delete_access_entry', @own, guard => '10.1.2.3',
    entry => '10.1.0.0/16');
is $state->{entries}, '9.9.9.9/32,10.0.0.0/8,2001:db8::/32',
    'one of two that contain it may go';
refused('own_address 10.1.2.3', 'not both', 'delete_access_entry', @own,
    guard => '10.1.2.3', entry => '10.0.0.0/8');
ok $s->call('delete_access_entry', @list, entry => '9.9.9.9/32'),
    'another key may delete the entry that admits the caller';
ok $s->call('delete_access_entry', org => $org, key => $key,
    entry => '10.0.0.0/8', guard => '10.1.2.3'),
        'the operator may delete the entry that admits an address';
($state) = $s->call('delete_access_entry', @own, entry => '2001:db8::/32');
is $state->{entries}, '', 'the last entry may go from elsewhere';
is_deeply names(), [ ('API_KEY_ACCESS_LIST_ENTRY_DELETED') x 4 ];

$s->run("INSERT INTO apikeys.access_list (key_id, cidr)
         SELECT '$guest', ('10.0.' || i / 256 || '.' || i % 256)::cidr
           FROM generate_series(0, 9997) i") or die $s->error;
@list = (@as_owner, org => $org, key => $guest);
refused('max_key_entries 10000', 'not more than 10,000 entries', 'add_access_entries',
    @list, entries => [qw( 1.1.1.1 1.1.1.2 1.1.1.3 )]);
refused('entry_exists 10.0.0.0', 'a duplicate is said before that',
    'add_access_entries', @list,
    entries => [qw( 1.1.1.1 1.1.1.2 10.0.0.0 )]);
ok $s->call('add_access_entries', @list, entries => [qw( 1.1.1.1 1.1.1.2 )]),
    'the last two are added';
names();


# deletion

($state) = $s->call('delete_key', @as_owner, org => $org, key => $guest);
ok defined delete $state->{$_}, "a deleted state has $_" for qw( version xid );
is_deeply { map { $_ => $state->{$_} } grep { defined $state->{$_} }
        keys %$state },
    { kind => 'key', id => $guest, deleted => 1 },
        'a deleted state has nothing but kind and id';
is $s->value('SELECT count(*) FROM apikeys.access_list'), 0,
    'the list is gone with the key';
(my $removed, $event) = events();
is_deeply [ @$removed{qw( event project_id before )} ],
    [ 'API_KEY_REMOVED_FROM_GROUP', $project,
        '{"roles": ["GROUP_READ_ONLY"]}' ], 'its roles in projects went';
is $event->{event}, 'API_KEY_DELETED';
like $event->{before}, qr/10\.0\.39\.13/, 'the audit has its entries';
is $event->{after}, undef;


# whether it is there, and whose it is

my %needs = (
    update_org => { org => $org, required => 1 },
    delete_org => { org => $org },
    create_project => { org => $org, name => 'n' },
    update_project => { project => $project, name => 'n' },
    delete_project => { project => $project },
    create_key => { org => $org, descr => 'd', roles => [] },
    update_key => { org => $org, key => $key, descr => 'x' },
    delete_key => { org => $org, key => $key },
    set_key_grants => { project => $project, key => $key,
        grants => ['GROUP_READ_ONLY'] },
    assign_key => { project => $project, key => $key,
        grants => ['GROUP_READ_ONLY'] },
    unassign_key => { project => $project, key => $key, repeatable => 0 },
    add_access_entries => { org => $org, key => $key,
        entries => ['1.2.3.4'] },
    delete_access_entry => { org => $org, key => $key,
        entry => '1.2.3.4' },
);

for my $function (sort keys %needs) {
    my %args = %{ $needs{$function} };
    my ($parent, $code) = $args{org} ? ('org', 'org_not_found') : ('project', 'project_not_found');
    my $foreign = $args{org} ? $org2 : $project2;

    %args = (%args, ApiKeys::Sql::credential())
        if $function eq 'create_key';

    refused("$code $none", "$function: no such $parent", $function, %args,
        $parent => $none);
    refused("$code $none", "$function: which is said before the role",
        $function, @as_owner, %args, org_roles => [], $parent => $none);
    refused("caller_gone $none", "$function: a caller that is gone", $function,
        %args, caller => $none, org_roles => ['ORG_OWNER']);
    refused("unauthorized $owner2", "$function: another organization's owner",
        $function, %args, @as_owner, caller => $owner2);
    refused("unauthorized $owner", "$function: an owner in another one's",
        $function, %args, @as_owner, $parent => $foreign);
    refused("unauthorized $key", "$function: another role", $function, %args,
        caller => $key, org_roles => ['ORG_OWNER'],
        project_roles => ['GROUP_ACCESS_MANAGER']);
    refused("unauthorized $owner", "$function: being another key", $function,
        %args, caller => $owner);

    next if !$args{key};

    refused("key_not_found $none", "$function: no such key", $function, @as_owner,
        %args, key => $none);
    refused("key_not_found $owner2", "$function: another one's key", $function,
        @as_owner, %args, key => $owner2);
}
is_deeply names(), [], 'refused calls leave no audit row';

ok $s->call('update_key', %{ $needs{update_key} }, caller => $key),
    'a key may change itself';
ok $s->call('set_key_grants', %{ $needs{set_key_grants} }, caller => $key,
    project_roles => ['GROUP_OWNER']), 'a role in the project entitles';
ok $s->call('set_key_grants', %{ $needs{set_key_grants} }, caller => $owner,
    org_roles => ['ORG_OWNER'], project_roles => ['GROUP_OWNER']),
    'a role in the organization entitles';

my ($project3) = map { $_->{id} } $s->call('create_project', org => $org,
    name => 'third');
refused("unauthorized $key", 'a role in another project does not', 'unassign_key',
    caller => $key, project => $project3, key => $owner,
    project_roles => ['GROUP_OWNER', 'GROUP_READ_ONLY']);


# global keys, and their list

my @global = ApiKeys::Sql::credential();
($state) = $s->call('create_global_key', @global, descr => 'global',
    roles => [ 'GLOBAL_READ_ONLY', 'GLOBAL_OWNER' ]);
is_deeply [ @$state{qw( kind id org_id roles entries projects )} ],
    [ 'key', $global[1], undef, 'GLOBAL_OWNER,GLOBAL_READ_ONLY', '', '' ],
    'a global key';
my $operator = $state->{id};
ok $s->call('create_org', caller => $operator,
    org => ApiKeys::Sql::new_id(), name => 'by a global key'),
    'an owner of the service is the operator';
ok $s->call('update_key', caller => $operator, org => $org2, key => $owner2,
    roles => ['ORG_MEMBER']), 'also for the last owner of an organization';
ok $s->call('update_key', caller => $operator, org => $org2, key => $owner2,
    roles => ['ORG_OWNER']);
@rows = $s->call('create_project', caller => $operator, org => $org2,
    name => 'by a global key');
is_deeply [ map { $_->{kind} } @rows ], ['project'],
    'its project is nobody\'s';
names();

my ($entry) = ApiKeys::Sql::new_id();
@rows = $s->call('add_global_entry', caller => $operator, id => $entry,
    entry => '10.0.0.0/8', descr => 'd');
is_deeply [ map { [ @$_{qw( id entries )} ] } @rows ],
    [ [ $operator, '10.0.0.0/8' ] ], 'an entry is one of all global keys';
@rows = $s->call('update_global_entry', id => $entry, entry => '11.0.0.0/8');
is $rows[0]{entries}, '11.0.0.0/8',
    'a changed entry is one of all global keys';
@rows = $s->call('delete_global_entry', id => $entry);
is $rows[0]{entries}, '', 'a deleted entry is gone from all global keys';
is_deeply names(), [ map { "GLOBAL_ACCESS_LIST_ENTRY_$_" }
    qw( ADDED CHANGED DELETED ) ], 'all of which is noted';

($state) = $s->call('update_global_key', key => $operator, descr => 'x',
    roles => ['GLOBAL_READ_ONLY']);
is "$state->{descr} $state->{roles}", 'x GLOBAL_READ_ONLY',
    'update_global_key() changes description and roles';
refused("unauthorized $operator", 'a key with GLOBAL_READ_ONLY is no operator',
    'create_project', caller => $operator, org => $org, name => 'x',
    org_roles => ['ORG_OWNER']);
($state) = $s->call('delete_global_key', key => $operator);
is_deeply [ @$state{qw( kind id deleted )} ], [ 'key', $operator, 1 ],
    'a global key goes';
is_deeply names(), [qw( GLOBAL_API_KEY_CHANGED GLOBAL_API_KEY_DELETED )];


# isolation

$s->dbh->begin_work;
$s->run('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
refused('0A000', 'REPEATABLE READ would not see what a lock waited for',
    'create_project', org => $org, name => 'isolated');
like $s->dbh->errstr, qr/isolation level READ COMMITTED or SERIALIZABLE, not RE/,
    'the error names the isolation levels that changes need';
like $s->dbh->errstr, qr/HINT: +ALTER ROLE \S+ SET default_transaction_isolation = 'read committed'/,
    'with what to do';
$s->dbh->rollback;
$s->dbh->begin_work;
$s->run('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE');
ok $s->call('create_project', org => $org, name => 'isolated'),
    'SERIALIZABLE may';
$s->dbh->commit;


# what nginx's role may do

$s->dbh->do('SET client_min_messages = error');
my $role = "nginx_$$";
$s->dbh->do("CREATE ROLE $role");
ApiKeys::Pg::_run('psql', '-Xq', '-d', $db->conninfo, '-v', "role=$role",
    '-f', "$FindBin::Bin/../sql/grants.sql");
$s->dbh->do("SET ROLE $role");

my ($org3, $owner3, $project4) = $s->organization;
my $key3 = $s->key($org3, 'ORG_MEMBER');
%needs = (%needs,
    assign_key => { project => $project4, grants => ['GROUP_OWNER'] },
    set_key_grants => { project => $project4, grants => ['GROUP_OWNER'] },
    unassign_key => { project => $project4 },
    update_project => { project => $project4, name => 'x' },
    delete_project => { project => $project4 });
$needs{create_project}{name} = 'of nginx';
for my $function (qw( update_org create_key update_key
    assign_key set_key_grants unassign_key add_access_entries
    delete_access_entry delete_key update_project delete_project delete_org
    create_project ))
{
    my %args = %{ $needs{$function} };
    $args{org} = $org3 if $args{org};
    $args{key} = $key3 if $function !~ /_org|_project|create/;
    $args{org} = $org if $function eq 'create_project';
    %args = (%args, ApiKeys::Sql::credential())
        if $function eq 'create_key';
    ok $s->call($function, %args), "nginx's role may $function"
        or diag $s->error;
}
ok $s->run($_), "nginx's role may $_" for
    'SELECT * FROM apikeys.load',
    'SELECT * FROM apikeys.feed_since(apikeys.identity(), '
        . 'pg_current_snapshot()::text)',
    q{SELECT apikeys.heartbeat('i', 'n', apikeys.identity(), NULL, '600')},
    q{SELECT apikeys.waiting_for('{3}')},
    'SELECT apikeys.only_node(6000)',
    'SELECT apikeys.announce()',
    q{SELECT apikeys.flush_usage('{}', '{}', '{}', '{}', '{}')},
    'SELECT apikeys.prune()',
    q{SELECT apikeys.sign_off('i')},
    q{SELECT apikeys.check_master_keys('{0000000a}', '{a}')},
    q{SELECT apikeys.sealing('i', '{0000000a}')},
    q{SELECT apikeys.sealed_otherwise('0000000a', '', 50)},
    q{SELECT apikeys.seal_anew('{}', '{}', '{}')},
    q{SELECT apikeys.end_pass('0000000a')},
    'SELECT * FROM apikeys.access_entries',
    'LISTEN apikeys';
for my $sql ('DELETE FROM apikeys.keys', 'UPDATE apikeys.orgs SET name = name',
    'INSERT INTO apikeys.changes (kind, id, version) VALUES ($$key$$, $$$$, 1)',
    'SELECT * FROM apikeys.audit', 'SELECT * FROM apikeys.master_keys',
    'DELETE FROM apikeys.instances', 'TRUNCATE apikeys.keys',
    'SELECT apikeys.audit_event(NULL, NULL, NULL, NULL, NULL, NULL, NULL,'
        . ' NULL)',
    'SELECT apikeys.set_key(NULL, NULL, NULL, NULL, NULL)',
    'SELECT apikeys.insert_key(NULL, NULL, NULL, NULL, NULL, NULL, NULL,'
        . ' NULL)',
    'SELECT apikeys.set_quota(NULL, 1)', 'SELECT apikeys.forget_before(now())',
    q{SELECT apikeys.forget_instance('x', true)},
    'SELECT apikeys.end_unknown()',
    'REFRESH MATERIALIZED VIEW apikeys.feed_uuid',
    'CREATE TABLE apikeys.x ()')
{
    ok !$s->run($sql), "nginx's role may not: $sql";
    is $s->error, '42501';
}
$s->dbh->do('RESET ROLE');
$s->dbh->do("DROP OWNED BY $role");
$s->dbh->do("DROP ROLE $role");

done_testing;
