# Who may call what, on each base: every route, with the operator and with
# keys that hold each of the roles that make a difference, and "the key
# itself".  Reading and refused calls change nothing; allowed ones go to
# things made for them.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Expect;
use ApiKeys::Fixture ();
use Test::More;

my $f = ApiKeys::Fixture->new(
    headers => { Accept => 'application/vnd.atlas.2023-01-01+json' });
my %base = %ApiKeys::Fixture::BASE;

my $org = $f->org;
my $owner = $org->{client};
my $project = $f->project($org);
my $elsewhere = $f->project($org);

sub ok_json {
    my ($res) = @_;

    $res->code =~ /^2/ or die $res->code . " $res->{body}";
    return $res->code == 204 ? undef : $res->json;
}

# callers by name; GROUP_ roles are held in $project, "far" in another one
my %caller;
for my $role (qw( ORG_OWNER ORG_MEMBER ORG_READ_ONLY ORG_GROUP_CREATOR
    ORG_BILLING_ADMIN ))
{
    $caller{$role} = $f->key($org, $role);
}
for my $role (qw( GROUP_OWNER GROUP_READ_ONLY GROUP_ACCESS_MANAGER
    GROUP_DATA_ACCESS_ADMIN ))
{
    $caller{$role} = $f->key($org, 'ORG_MEMBER');
    grant($project, $caller{$role}, $role);
}
$caller{far} = $f->key($org, 'ORG_MEMBER');
grant($elsewhere, $caller{far}, 'GROUP_OWNER');

# a new project, in which the caller holds the role of its name
sub new_project {
    my ($who) = @_;
    my $new = $f->project($org);

    grant($new, $caller{$who}, $who) if $who =~ /^GROUP_/;
    return $new->{id};
}

sub grant {
    my ($in, $key, $role) = @_;

    ok_json($owner->request('PATCH',
        "$base{atlas_v1}/groups/$in->{id}/apiKeys/$key->{id}",
        { roles => [ $role ] }));
}

# what is called on: a new one for each call that would use it up
sub new_key { return $f->key($org, 'ORG_READ_ONLY')->{id} }

sub new_entry {
    my ($id) = @_;

    ok_json($owner->request('POST', "$org->{path}/apiKeys/$id/accessList",
        [ { cidrBlock => '127.0.0.0/8' }, { ipAddress => '192.0.2.1' } ]));
    return $id;
}

sub new_member {
    my $id = new_key();

    grant($project, { id => $id }, 'GROUP_READ_ONLY');
    return $id;
}

my $key = new_entry(new_member());
my $member = 'any ORG_';
my @everyone = sort keys %caller;
my @owners = qw( ORG_OWNER );
my @in_project = qw( ORG_OWNER ORG_READ_ONLY GROUP_OWNER GROUP_READ_ONLY
    GROUP_ACCESS_MANAGER GROUP_DATA_ACCESS_ADMIN );
my @managers = qw( ORG_OWNER GROUP_OWNER GROUP_ACCESS_MANAGER );
my @project_owners = qw( ORG_OWNER GROUP_OWNER );

my $orgs = "/orgs/$org->{id}";
my $keys = "$orgs/apiKeys";
my $groups = "/groups/$project->{id}/apiKeys";

my $single = "/groups/$project->{id}";
my $team = '0123456789abcdef01234567';
my $serial = 0;

# a name that no project has
sub new_name { return 'new ' . ++$serial }

# [method, path, body (or what makes them, of the caller's name), who on v1
# and OM, who on v2, code of the refusal (or what makes it, of the base's
# name), options]: done => the status of those who may, atlas => 1 for what
# Ops Manager does not have
my @route = (
    [ GET => $keys, undef, \@owners, \@everyone ],
    [ POST => $keys, { desc => 'x', roles => [ 'ORG_MEMBER' ] }, \@owners,
        \@owners ],
    [ GET => "$keys/$key", undef, \@owners, \@everyone ],
    [ PATCH => "$keys/$key", { desc => 'x' }, \@owners, \@owners ],
    [ PATCH => "$keys/$key", { roles => [ 'ORG_READ_ONLY' ] }, \@owners,
        \@owners ],
    [ DELETE => sub { "$keys/" . new_key() }, undef, \@owners, \@owners ],
    ( map {
        my $list = $_;
        my @code = $list eq 'whitelist' ? 'API_KEY_WHITELIST_ACCESS_DENIED'
            : 'API_KEY_ACCESS_LIST_ACCESS_DENIED';

        [ GET => "$keys/$key/$list", undef, \@owners, \@owners, @code ],
        [ POST => sub { "$keys/" . new_key() . "/$list" },
            [ { ipAddress => '192.0.2.2' } ], \@owners, \@owners, @code ],
        [ GET => "$keys/$key/$list/192.0.2.1", undef, \@owners, \@owners,
            @code ],
        [ DELETE => sub {
            "$keys/" . new_entry(new_key()) . "/$list/192.0.2.1" },
            undef, \@owners, \@owners, @code ],
    } qw( accessList whitelist ) ),
    [ GET => $groups, undef, \@project_owners, \@in_project ],
    [ POST => $groups, { desc => 'x', roles => [ 'GROUP_READ_ONLY' ] },
        \@project_owners, \@managers ],
    [ PATCH => "$groups/$key", { roles => [ 'GROUP_READ_ONLY' ] },
        \@project_owners, \@managers ],
    [ POST => sub { "$groups/" . new_key() },
        [ { roles => [ 'GROUP_READ_ONLY' ] } ], \@project_owners,
        \@project_owners ],
    [ DELETE => sub { "$groups/" . new_member() }, undef, \@project_owners,
        \@managers ],

    # companions
    [ GET => '/', undef, \@everyone, \@everyone ],
    [ GET => '/orgs', undef, \@everyone, \@everyone ],
    [ GET => $orgs, undef, \@everyone, \@everyone ],
    [ POST => '/orgs', { name => 'x' }, [], [], 'API_KEY_CANNOT_CREATE_ORG' ],
    [ GET => "$orgs/settings", undef, \@everyone, \@everyone ],
    [ PATCH => "$orgs/settings", { apiAccessListRequired => false }, \@owners,
        \@owners ],
    [ GET => "$orgs/groups", undef, \@everyone, \@everyone ],
    [ GET => '/groups', undef, \@everyone, \@everyone ],
    [ GET => "/groups/$project->{id}", undef, \@in_project, \@in_project ],
    [ POST => '/groups', sub { { name => new_name(), orgId => $org->{id} } },
        [ qw( ORG_OWNER ORG_GROUP_CREATOR ) ],
        [ qw( ORG_OWNER ORG_GROUP_CREATOR ) ] ],
    [ PATCH => $orgs, { name => 'renamed' }, \@owners, \@owners ],
    [ DELETE => $orgs, undef, \@owners, \@owners, undef, { done => 409 } ],
    [ GET => "$orgs/users", undef, \@everyone, \@everyone ],
    [ GET => "$orgs/teams", undef, \@everyone, \@everyone ],
    [ GET => "$orgs/invites", undef, \@owners, \@owners ],
    [ PATCH => $single, {}, \@project_owners, \@project_owners ],
    [ PATCH => $single, sub { { name => new_name() } }, \@project_owners,
        \@project_owners ],
    [ DELETE => sub { '/groups/' . new_project(@_) }, undef,
        \@project_owners, \@project_owners, undef, { done => qr/^20[02]$/ } ],
    [ GET => '/groups/byName/by%20name', undef, \@in_project, \@in_project,
        sub { $_[0] eq 'ops_manager' ? 'GROUP_NAME_NOT_FOUND'
            : 'NOT_IN_GROUP' } ],
    ( map { [ GET => "$single/$_", undef, \@in_project, \@in_project ] }
        qw( users teams ) ),
    ( map { [ GET => "$single/$_", undef, \@in_project, \@in_project, undef,
        { atlas => 1 } ] } qw( settings clusters limits ipAddresses
            managedSlowMs ) ),
    [ GET => "$single/invites", undef, \@project_owners, \@project_owners ],
    [ PATCH => "$single/settings", { isDataExplorerEnabled => true },
        \@project_owners, \@project_owners, undef, { atlas => 1 } ],
    [ POST => "$single/teams", [], \@project_owners, \@project_owners ],
    [ PATCH => "$single/teams/$team", {}, \@project_owners,
        \@project_owners, undef, { done => 404 } ],
    [ DELETE => "$single/teams/$team", undef, \@project_owners,
        \@project_owners, undef, { done => 404 } ],
    [ POST => "$single/managedSlowMs/enable", undef, \@project_owners,
        \@project_owners, undef, { atlas => 1, done => 204 } ],
    [ DELETE => "$single/managedSlowMs/disable", undef, \@project_owners,
        \@project_owners, undef, { atlas => 1, done => 204 } ],
);

ok_json($owner->request('PATCH', "$base{atlas_v1}/groups/"
    . byname()->{id}, { name => 'by name' }));

# a second project, with the same roles, whose name stays
sub byname {
    my $new = $f->project($org);

    grant($new, $caller{$_}, $_) for grep { /^GROUP_/ } @everyone;
    return $new;
}

for my $name (sort keys %base) {
    for my $route (@route) {
        my ($method, $path, $make, $old, $new, $code, $opt) = @$route;
        my %may = map { $_ => 1 } @{ $name eq 'atlas_v2' ? $new : $old };
        my $done = $opt->{done} || qr/^2/;

        my $shown = ref $path ? $path->('') : $path;
        my $body = ref $make eq 'CODE' ? $make->() : $make;
        next if $name eq 'atlas_v2' && $shown =~ /whitelist/;
        $shown =~ s/[0-9a-f]{24}/ID/g;
        $code = $code->($name) if ref $code;
        my $absent = $opt->{atlas} && $name eq 'ops_manager';

        my (@have, @want);
        for my $who (@everyone, 'operator') {
            my $client = $who eq 'operator' ? $f->client(token => $f->token)
                : $caller{$who}{client};
            my $uri = $base{$name} . (ref $path ? $path->($who) : $path);
            $body = $make->() if ref $make eq 'CODE';
            my $res = $client->request($method, $uri, $body);
            my $failed = $res->header('x-error-code') // $res->code;

            push @have, "$who: " . ($res->code =~ $done && !$absent ? 'may'
                : $failed);
            push @want, "$who: " . ($absent ? 'RESOURCE_NOT_FOUND'
                : $may{$who} || $who eq 'operator' ? 'may'
                : $code || 'USER_UNAUTHORIZED');
        }
        is("@have", "@want", "$name: who may $method $shown"
            . ($body ? ' ' . json_text($body) : ''));
    }
}

refused($caller{ORG_MEMBER}{client}->request('GET', "$base{atlas_v1}$keys"),
    'USER_UNAUTHORIZED', [], 'the refusal');
refused($caller{ORG_READ_ONLY}{client}->request('GET',
    "$base{atlas_v2}$keys/$key/accessList"),
    'API_KEY_ACCESS_LIST_ACCESS_DENIED', [], 'the refusal of a list');
refused($caller{ORG_READ_ONLY}{client}->request('GET',
    "$base{ops_manager}$keys/$key/whitelist"),
    'API_KEY_WHITELIST_ACCESS_DENIED', [], 'the refusal of a whitelist');
refused($owner->request('POST', "$base{atlas_v1}/orgs", { name => 'x' }),
    'API_KEY_CANNOT_CREATE_ORG', [], 'the refusal of an organisation');


# the key itself (decision 19)

for my $name (sort keys %base) {
    my @lists = $name eq 'atlas_v2' ? 'accessList'
        : qw( accessList whitelist );

    my @case = (
        [ GET => '', undef, 1 ],
        [ PATCH => '', { desc => 'by myself' }, $name eq 'ops_manager' ],
        [ PATCH => '', { roles => [ 'ORG_OWNER' ] }, 0 ],
        [ PATCH => '', { desc => 'x', roles => [ 'ORG_MEMBER' ] }, 0 ],
        ( map { (
            [ GET => "/$_", undef, 1 ],
            [ POST => "/$_", [ { cidrBlock => '198.51.100.0/24' } ], 1 ],
            [ GET => "/$_/198.51.100.0%2F24", undef, 1 ],
            [ DELETE => "/$_/198.51.100.0%2F24", undef, 1 ],
        ) } @lists ),
        [ DELETE => '', undef, $name eq 'ops_manager' ],
    );
    my $self = $f->key($org, 'ORG_MEMBER');
    new_entry($self->{id});

    for my $case (@case) {
        my ($method, $path, $body, $may) = @$case;
        my $title = "$name: the key itself and $method $path"
            . ($body ? ' ' . json_text($body) : '');
        my $uri = "$base{$name}$keys/$self->{id}$path";
        my $res = $self->{client}->request($method, $uri, $body);

        if ($may) {
            like($res->code, qr/^20[04]$/, "$title: may") or diag $res->body;

        } else {
            refused($res, 'USER_UNAUTHORIZED', [], "$title: may not");
        }
    }
    my $still = $owner->request('GET', "$base{$name}$keys/$self->{id}");
    is($still->code == 200 ? $still->json->{desc} : 'gone',
        $name eq 'ops_manager' ? 'gone' : $self->{desc},
        "$name: which is what was done");
}


# no escalation by a body (decision 20)

for my $name (sort keys %base) {
    my $manager = $caller{$name eq 'atlas_v2' ? 'GROUP_ACCESS_MANAGER'
        : 'GROUP_OWNER'}{client};
    my $uri = "$base{$name}$groups";

    refused($manager->request('POST', $uri, { desc => 'x',
        roles => [ 'GROUP_READ_ONLY', $_ ] }), 'USER_UNAUTHORIZED', [],
        "$name: who owns a project gives no $_")
        for qw( ORG_OWNER ORG_READ_ONLY ORG_GROUP_CREATOR );
    is($manager->request('POST', $uri, { desc => 'x',
        roles => [ qw( GROUP_READ_ONLY ORG_MEMBER ) ] })->code, 200,
        "$name: but ORG_MEMBER, which is the default");
    is($caller{ORG_OWNER}{client}->request('POST', $uri, { desc => 'x',
        roles => [ qw( GROUP_OWNER ORG_OWNER ) ] })->code, 200,
        "$name: the organisation's owner gives any");
    for my $who ($manager, $owner) {
        refused($who->request('PATCH', "$uri/$key",
            { roles => [ qw( GROUP_OWNER ORG_MEMBER ) ] }),
            'CANNOT_ADD_ORG_ROLE', [], "$name: PATCH takes project roles only");
    }
    refused($owner->request('POST', "$uri/" . new_key(),
        { roles => [ 'ORG_OWNER' ] }), 'CANNOT_ADD_ORG_ROLE', [],
        "$name: and so does POST");
}

# a role that is taken away is gone for the next request
my $demoted = $f->key($org, 'ORG_OWNER');
is($demoted->{client}->request('GET', "$base{atlas_v1}$keys")->code, 200,
    'an owner');
ok_json($owner->request('PATCH', "$base{atlas_v1}$keys/$demoted->{id}",
    { roles => [ 'ORG_MEMBER' ] }));
is($demoted->{client}->request('GET', "$base{atlas_v1}$keys")->code, 401,
    'is none any more on the next request');

done_testing;
