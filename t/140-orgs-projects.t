# The companions: the root resource, organisations, their settings, and
# projects, with what the operator and a key see of them.

use strict;
use warnings;
use utf8;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Expect;
use ApiKeys::Fixture ();
use ApiKeys::Shape ();
use Test::More;

my $f = ApiKeys::Fixture->new(
    headers => { Accept => 'application/vnd.atlas.2023-01-01+json' });
my $host = $f->nginx->url;
my $shape = ApiKeys::Shape->new($host);
my %base = %ApiKeys::Fixture::BASE;
my $nobody = '0123456789abcdef01234567';
my $build = '0' x 40;

sub rel {
    my ($name, $thing) = @_;

    return ($name eq 'ops_manager' ? 'http://mms.mongodb.com'
        : 'https://cloud.mongodb.com') . "/$thing";
}

sub link_to { return $shape->link(@_) }
sub org_object { return $shape->org(@_) }
sub project_object { return $shape->project(@_) }

sub list {
    my ($uri, @results) = @_;

    return $shape->list($uri, \@results);
}

# what a list has is no part of the answer to its creation on Ops Manager
sub created {
    my ($project) = @_;

    return $f->operator('GET', "$base{atlas_v1}/groups/$project->{id}")
        ->json->{created};
}


# organisations come from the operator

my %org;        # by the base on which it was made

for my $name (sort keys %base) {
    my $uri = "$base{$name}/orgs";
    my $res = $f->operator('POST', $uri, { name => "of $name" });
    my $id = ($res->json->{organization} || $res->json)->{id};

    answers($res, 201, $name eq 'ops_manager'
        ? { id => $id, name => "of $name",
            links => [ link_to('self', "$uri/$id") ] }
        : { federationSettingsId => null, orgOwnerId => null,
            organization => org_object($name, $id, "of $name", single => 1) },
        "$name: an organisation without a key");
    is($f->operator('GET', "$uri/$id/apiKeys")->json->{totalCount}, 0,
        "$name: indeed without");

    $res = $f->operator('POST', $uri, { name => "with key, $name",
        apiKey => { desc => 'first', roles => [ 'ORG_OWNER' ] },
        orgOwnerId => $nobody, federationSettingsId => undef,
        skipDefaultAlertsSettings => true });
    my $json = $res->json;
    my $key = $json->{apiKey};
    $id = ($json->{organization} || $json)->{id};

    my $shown = { desc => 'first', id => $key->{id},
        links => [ link_to('self', "$uri/$id/apiKeys/$key->{id}") ],
        privateKey => $key->{privateKey}, publicKey => $key->{publicKey},
        roles => [ { orgId => $id, roleName => 'ORG_OWNER' } ] };
    answers($res, 201, $name eq 'ops_manager'
        ? { apiKey => $shown, id => $id, name => "with key, $name",
            links => [ link_to('self', "$uri/$id") ] }
        : { apiKey => $shown, federationSettingsId => null,
            orgOwnerId => null, organization =>
                org_object($name, $id, "with key, $name", single => 1,
                    skip => 1) },
        "$name: one with its first key; the rest of the body is ignored");
    like($key->{privateKey}, qr/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
        "$name: whose secret is shown");

    $org{$name} = { id => $id, name => "with key, $name", key => $key,
        client => $f->client(key => "$key->{publicKey}:$key->{privateKey}") };
    is($org{$name}{client}->request('GET', "$base{$name}/")->code, 200,
        "$name: which works on the next request");
}

for my $case (
    [ {}, 'INVALID_JSON_ATTRIBUTE', 'name' ],
    [ { name => '' }, 'INVALID_JSON_ATTRIBUTE', 'name' ],
    [ { name => undef }, 'INVALID_JSON_ATTRIBUTE', 'name' ],
    [ { name => 'x' x 65 }, 'INVALID_JSON_ATTRIBUTE', 'name' ],
    [ { name => 1 }, 'INVALID_JSON_ATTRIBUTE', 'name' ],
    [ { name => 'x', nosuch => 1 }, 'INVALID_ATTRIBUTE', 'nosuch' ],
    [ { name => 'x', id => $nobody }, 'ATTRIBUTE_READ_ONLY', 'id' ],
    [ { name => 'x', apiKey => 'x' }, 'INVALID_JSON_ATTRIBUTE', 'apiKey' ],
    [ { name => 'x', apiKey => {} }, 'API_KEY_REQUIRES_DESCRIPTION' ],
    [ { name => 'x', apiKey => { desc => 'x' } }, 'MISSING_API_KEY_ROLES' ],
    [ { name => 'x', apiKey => { desc => 'x', roles => [ 'GROUP_OWNER' ] } },
        'CANNOT_ADD_GROUP_ROLE' ],
    [ { name => 'x', apiKey => { desc => 'x', roles => [ 'x' ] } },
        'INVALID_ENUM_VALUE', 'x' ],
    [ { name => 'x', apiKey => { desc => 'x' x 251,
        roles => [ 'ORG_OWNER' ] } }, 'INVALID_API_KEY_DESC', 250 ],
    [ { name => 'x', apiKey => { desc => 'x', roles => [ 'ORG_OWNER' ],
        name => 'x' } }, 'INVALID_ATTRIBUTE', 'name' ],
    [ [], 'INVALID_JSON' ],
    [ '{', 'MALFORMED_JSON' ])
{
    my ($body, $code, @params) = @$case;

    refused($f->operator('POST', '/orgs', $body), $code, \@params,
        'an organisation of ' . substr(json_text($body), 0, 60) . ": $code");
}
is($f->operator('GET', '/orgs')->json->{totalCount}, 6,
    'none of these has made one');
is($f->operator('POST', '/orgs', { name => '鍵' x 64 })->json->{organization}
    {name}, '鍵' x 64, 'a name of 64 characters');


# who sees which

for my $name (sort keys %base) {
    my ($mine, $other) = @org{$name, $name eq 'atlas_v1' ? 'ops_manager'
        : 'atlas_v1'};
    my $uri = "$base{$name}/orgs";
    my $client = $mine->{client};

    answers($client->request('GET', $uri), 200,
        list($uri, org_object($name, $mine->{id}, $mine->{name},
            skip => 1)),
        "$name: a key sees its own organisation");
    is_deeply([ map { $_->{name} } @{ $f->operator('GET', $uri)->json
        ->{results} } ], [ ( map { ("of $_") } sort keys %base ),
        ( map { ("with key, $_") } sort keys %base ), '鍵' x 64 ],
        "$name: the operator sees all, in the order of their names");
    answers($client->request('GET', "$uri/$mine->{id}"), 200,
        org_object($name, $mine->{id}, $mine->{name}, single => 1,
            skip => 1),
        "$name: one by itself links to its groups, teams and users");
    answers($f->operator('GET', "$uri/$mine->{id}"), 200,
        org_object($name, $mine->{id}, $mine->{name}, single => 1,
            skip => 1),
        "$name: for the operator, too");
    refused($client->request('GET', "$uri/$_"), 'ORG_NOT_FOUND', [ $_ ],
        "$name: another's or nobody's is not found")
        for $other->{id}, $nobody;
    refused($f->operator('GET', "$uri/$nobody"), 'ORG_NOT_FOUND', [ $nobody ],
        "$name: nor by the operator");
    refused($client->request('GET', "$uri/x"), 'PATH_PARAM_PARSE_ERROR',
        [ "$uri/x" ], "$name: nor by what is no id");
    refused($client->request('POST', $uri, { name => 'x' }),
        'API_KEY_CANNOT_CREATE_ORG', [], "$name: a key makes none");
}


# settings

for my $name (sort keys %base) {
    my $org = $org{$name};
    my $uri = "$base{$name}/orgs/$org->{id}/settings";
    my $settings = { apiAccessListRequired => false,
        genAIFeaturesEnabled => true,
        multiFactorAuthRequired => false, restrictEmployeeAccess => false };

    # so that it can set what it sets
    $org->{client}->request('POST', "$base{$name}/orgs/$org->{id}/apiKeys/"
        . "$org->{key}{id}/accessList", [ { cidrBlock => '127.0.0.0/8' } ]);

    answers($org->{client}->request('GET', $uri), 200, $settings,
        "$name: settings of a new organisation");
    for my $value (true, false) {
        $settings->{apiAccessListRequired} = $value;
        answers($org->{client}->request('PATCH', $uri,
            { apiAccessListRequired => $value }), 200, $settings,
            "$name: a list is required: $value");
        answers($org->{client}->request('GET', $uri), 200, $settings,
            "$name: which is stored");
    }
    answers($org->{client}->request('PATCH', $uri, $_), 200, $settings,
        "$name: nothing that we keep: " . json_text($_)) for
        {}, { multiFactorAuthRequired => true },
        { restrictEmployeeAccess => true, multiFactorAuthRequired => null },
        { apiAccessListRequired => null };
    refused($org->{client}->request('PATCH', $uri, $_->[0]), @$_[1, 2],
        "$name: settings " . json_text($_->[0]) . ": $_->[1]") for
        [ { apiAccessListRequired => 'true' }, 'INVALID_JSON_ATTRIBUTE',
            [ 'apiAccessListRequired' ] ],
        [ { apiAccessListRequired => 1 }, 'INVALID_JSON_ATTRIBUTE',
            [ 'apiAccessListRequired' ] ],
        [ { multiFactorAuthRequired => 'x' }, 'INVALID_JSON_ATTRIBUTE',
            [ 'multiFactorAuthRequired' ] ],
        [ { nosuch => true }, 'INVALID_ATTRIBUTE', [ 'nosuch' ] ],
        [ [], 'INVALID_JSON', [] ];
}


# projects

my $org = $org{atlas_v1};
my $client = $org->{client};
my %key = map { $_ => $f->key({ %$org,
    path => "$base{atlas_v1}/orgs/$org->{id}" }, $_) }
    qw( ORG_GROUP_CREATOR ORG_MEMBER ORG_READ_ONLY );
my @all;
my %tags = (ops_manager => [ qw( ONE TWO.2 ) ],
    map { $_ => [ { key => 'b', value => '1' }, { key => 'a', value => '2' } ]
        } qw( atlas_v1 atlas_v2 ));

for my $name (sort keys %base) {
    my $uri = "$base{$name}/groups";
    my $res = $f->operator('POST', $uri, { name => "operator's, $name",
        orgId => $org->{id} });
    my $project = $res->json;

    $project->{created} = created($project);
    answers($res, 201, project_object($name, { %$project,
        name => "operator's, $name" }, $org->{id}, new => 1),
        "$name: the operator makes a project");
    is($res->header('location'), "$host$uri/$project->{id}",
        "$name: Location");
    like($project->{created}, qr/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
        "$name: with the time, in UTC");
    like($project->{id}, qr/^[0-9a-f]{24}$/, "$name: and an id");
    push @all, $project;

    $res = $key{ORG_GROUP_CREATOR}{client}->request('POST',
        "$uri?projectOwnerId=$nobody", { name => "creator's, $name",
            orgId => $org->{id}, withDefaultAlertsSettings => false,
            regionUsageRestrictions => 'NONE', tags => $tags{$name} });
    $project = { %{ $res->json }, alerts => false,
        $name eq 'ops_manager' ? 'tokens' : 'labels', $tags{$name} };
    $project->{created} = created($project);
    answers($res, 201, project_object($name, { %$project,
        name => "creator's, $name" }, $org->{id}, new => 1),
        "$name: a creator makes one; its tags and alerts are kept");
    push @all, $project;

    my $me = $key{ORG_GROUP_CREATOR}{client}->request('GET',
        "$base{$name}/")->json->{apiKey};
    ok((grep { ($_->{groupId} // '') eq $project->{id}
        && $_->{roleName} eq 'GROUP_OWNER' } @{ $me->{roles} }),
        "$name: and owns it");
    is($key{ORG_GROUP_CREATOR}{client}->request('POST',
        "$uri/$project->{id}/apiKeys",
        { desc => 'x', roles => [ 'GROUP_OWNER' ] })->code, 200,
        "$name: at once");

    answers($client->request('GET', "$uri/$project->{id}"), 200,
        project_object($name, $project, $org->{id}, single => 1),
        "$name: by itself");
    refused($key{ORG_MEMBER}{client}->request('POST', $uri,
        { name => 'x', orgId => $org->{id} }), 'USER_UNAUTHORIZED', [],
        "$name: a member makes none");
    refused($client->request('POST', $uri, { name => 'x', orgId => $_ }),
        'ORG_NOT_FOUND', [ $_ ], "$name: nor anyone elsewhere")
        for $nobody, $org{atlas_v2}{id};
    refused($f->operator('POST', $uri, { name => 'x', orgId => $nobody }),
        'ORG_NOT_FOUND', [ $nobody ], "$name: nor anyone nowhere");
    refused($client->request('GET', "$uri/$nobody"), 'GROUP_NOT_FOUND',
        [ $nobody ], "$name: no project");
    refused($org{ops_manager}{client}->request('GET',
        "$uri/$project->{id}"), 'GROUP_NOT_FOUND', [ $project->{id} ],
        "$name: another organisation's is not found");
}

for my $case (
    [ {}, 'INVALID_JSON_ATTRIBUTE', 'orgId' ],
    [ { name => 'x' }, 'INVALID_JSON_ATTRIBUTE', 'orgId' ],
    [ { name => 'x', orgId => 'x' }, 'INVALID_JSON_ATTRIBUTE', 'orgId' ],
    [ { name => 'x', orgId => 1 }, 'INVALID_JSON_ATTRIBUTE', 'orgId' ],
    [ { orgId => $org->{id} }, 'INVALID_JSON_ATTRIBUTE', 'name' ],
    [ { name => undef, orgId => $org->{id} }, 'INVALID_JSON_ATTRIBUTE',
        'name' ],
    [ { name => 1, orgId => $org->{id} }, 'INVALID_JSON_ATTRIBUTE', 'name' ],
    [ { name => '', orgId => $org->{id} }, 'INVALID_GROUP_NAME', '' ],
    [ { name => 'x' x 65, orgId => $org->{id} }, 'INVALID_GROUP_NAME',
        'x' x 65 ],
    [ { name => "a\nb", orgId => $org->{id} }, 'INVALID_GROUP_NAME',
        "a\nb" ],
    [ { name => 'x', orgId => $org->{id}, nosuch => 1 }, 'INVALID_ATTRIBUTE',
        'nosuch' ],
    [ { name => 'x', orgId => $org->{id}, id => $nobody },
        'ATTRIBUTE_READ_ONLY', 'id' ],
    [ { name => 'x', orgId => $org->{id}, links => [] },
        'ATTRIBUTE_READ_ONLY', 'links' ],
    [ [], 'INVALID_JSON' ])
{
    my ($body, $code, @params) = @$case;

    refused($client->request('POST', "$base{atlas_v1}/groups", $body), $code,
        \@params, 'a project of ' . substr(json_text($body), 0, 60)
            . ": $code");
}

# who sees which: sorted by name; a member those where it has a role
$client->request('PATCH', "$base{atlas_v1}/groups/$all[2]{id}/apiKeys/"
    . $key{ORG_MEMBER}{id}, { roles => [ 'GROUP_READ_ONLY' ] })->code == 200
    or die;
my @sorted = sort { $a->{name} cmp $b->{name} } @all;
my $foreign = $f->operator('POST', '/groups',
    { name => 'zz foreign', orgId => $org{atlas_v2}{id} })->json;

for my $name (sort keys %base) {
    for my $path ('/groups', "/orgs/$org->{id}/groups") {
        my $uri = "$base{$name}$path";
        my @objects = map { project_object($name, $_, $org->{id}) } @sorted;

        answers($_->[1]->request('GET', $uri), 200, list($uri, @objects),
            "$name: $_->[0] sees all in $path") for
            [ 'an owner', $client ],
            [ 'a reader', $key{ORG_READ_ONLY}{client} ];
        answers($key{ORG_MEMBER}{client}->request('GET', $uri), 200,
            list($uri, project_object($name, $all[2], $org->{id})),
            "$name: a member sees where it has a role in $path");
        answers($f->operator('GET', $uri), 200, list($uri, @objects,
            $path eq '/groups' ? project_object($name, $foreign,
                $org{atlas_v2}{id}) : ()),
            "$name: the operator sees all of it in $path");
    }
    refused($client->request('GET', "$base{$name}/orgs/$_/groups"),
        'ORG_NOT_FOUND', [ $_ ], "$name: no projects of $_")
        for $nobody, $org{atlas_v2}{id};
}


# the root resource

for my $name (sort keys %base) {
    my $app = $name eq 'ops_manager' ? 'MongoDB Ops Manager'
        : 'MongoDB Atlas';
    my $key = $key{ORG_MEMBER};
    my $at = "/orgs/$org->{id}/apiKeys/$key->{id}";
    my $root = {
        apiKey => {
            accessList => [], id => $key->{id},
            publicKey => $key->{publicKey}, roles => [
                { orgId => $org->{id}, roleName => 'ORG_MEMBER' },
                { groupId => $all[2]{id}, roleName => 'GROUP_READ_ONLY' } ],
        },
        appName => $app, build => $build, throttling => false,
        links => [ link_to('self', $base{$name}),
            link_to(rel($name, 'apiKeys'), "$base{$name}$at") ],
    };

    answers($key->{client}->request('GET', "$base{$name}$_"), 200, $root,
        "$name: who calls, at '$_'") for '', '/';

    $client->request('POST', "$base{atlas_v1}$at/accessList", [
        { cidrBlock => '128.0.0.0/1' }, { cidrBlock => '0.0.0.0/1' },
        { ipAddress => '2001:db8::1' }, { ipAddress => '47.225.212.178' } ]);
    $root->{apiKey}{accessList} = [
        { cidrBlock => '0.0.0.0/1', ipAddress => null },
        { cidrBlock => '128.0.0.0/1', ipAddress => null },
        { cidrBlock => '2001:db8::1/128', ipAddress => '2001:db8::1' },
        { cidrBlock => '47.225.212.178/32', ipAddress => '47.225.212.178' } ];
    answers($key->{client}->request('GET', "$base{$name}/"), 200, $root,
        "$name: with its list");
    for my $block (qw( 128.0.0.0/1 2001:db8::1 47.225.212.178 0.0.0.0/1 )) {
        $client->request('DELETE', "$base{atlas_v1}$at/accessList/$block");
    }

    answers($f->operator('GET', "$base{$name}/"), 200, { apiKey => null,
        appName => $app, build => $build, throttling => false,
        links => [ link_to('self', $base{$name}) ] },
        "$name: the operator is no key");
}


# an organisation that goes takes its keys with it, at once

$f->db->psql("DELETE FROM apikeys.orgs WHERE id = '$org{atlas_v2}{id}'");
ok(eval { $f->nginx->wait_for(sub { $org{atlas_v2}{client}->request('GET',
    "$base{atlas_v1}/")->code == 401 }, 10, '') },
    'keys of a deleted organisation are refused');
refused($f->operator('GET', "/orgs/$org{atlas_v2}{id}"), 'ORG_NOT_FOUND',
    [ $org{atlas_v2}{id} ], 'it is not found');
refused($f->operator('GET', "/groups/$foreign->{id}"), 'GROUP_NOT_FOUND',
    [ $foreign->{id} ], 'nor its project');

done_testing;
