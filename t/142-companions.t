# The companions that clients call around keys: settings, tags and names of
# projects, lists by name, what is empty here, organizations, and what happens
# to keys when a project or an organization goes.

use strict;
use warnings;
use utf8;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Expect;
use ApiKeys::Fixture ();
use ApiKeys::Shape ();
use Encode qw( encode_utf8 );
use JSON::PP ();
use MIME::Base64 qw( encode_base64 );
use Test::More;

binmode Test::More->builder->$_, ':utf8'
    for qw( output failure_output todo_output );

my $f = ApiKeys::Fixture->new(
    headers => { Accept => 'application/vnd.atlas.2023-01-01+json' },
    server => <<'END');
        location /in {
            apikeys_auth basic;
            apikeys_require project=$arg_project role=GROUP_DATA_ACCESS_ADMIN;
            empty_gif;
        }
        location /any {
            apikeys_auth basic;
            empty_gif;
        }
END
my $shape = ApiKeys::Shape->new($f->nginx->url);
my %base = %ApiKeys::Fixture::BASE;
my @bases = sort keys %base;
my @atlas = qw( atlas_v1 atlas_v2 );
my $nobody = '0123456789abcdef01234567';

my $org = $f->org;
my $owner = $org->{client};
my $member = $f->key($org, 'ORG_MEMBER');
my $other = $f->org;

my $serial = 0;
sub new_name { return 'companion ' . ++$serial }

# made by the operator, and a hash of what the shape of a project needs
sub new_project {
    my ($in, %body) = @_;

    $body{name} //= new_name();
    my $res = $f->operator('POST', "$base{atlas_v2}/groups",
        { orgId => $in->{id}, %body });
    $res->code == 201 or die $res->body;
    my $json = $res->json;
    return { id => $json->{id}, name => $json->{name},
        created => $json->{created} };
}

sub grant {
    my ($in, $key, @roles) = @_;

    my $res = $f->operator('PATCH',
        "$base{atlas_v1}/groups/$in->{id}/apiKeys/$key->{id}",
        { roles => \@roles });
    $res->code == 200 or die $res->body;
}

# what each base shows of a project by itself
sub shown_everywhere {
    my ($project, $title) = @_;

    answers($owner->request('GET', "$base{$_}/groups/$project->{id}"), 200,
        $shape->project($_, $project, $org->{id}, single => 1),
        "$title: on $_") for @bases;
}

sub basic {
    my ($key) = @_;

    return { Authorization => 'Basic '
        . encode_base64("$key->{publicKey}:$key->{privateKey}", '') };
}

sub enters {
    my ($key, $uri) = @_;

    return $f->client->plain('GET', $uri, undef, headers => basic($key))
        ->code;
}


# settings of a project: the recorded body, and each of its members

my $defaults = '{"isAtlasHomePageAiAssistantEnabled":true,'
    . '"isClusterAiAssistantEnabled":true,'
    . '"isCollectDatabaseSpecificsStatisticsEnabled":true,'
    . '"isDataExplorerEnabled":true,'
    . '"isDataExplorerGenAIFeaturesEnabled":true,'
    . '"isDataExplorerGenAISampleDocumentPassingEnabled":false,'
    . '"isDataValidationEnabled":true,"isExtendedStorageSizesEnabled":false,'
    . '"isNativeRerankingEnabled":false,"isPerformanceAdvisorEnabled":true,'
    . '"isRealtimePerformancePanelEnabled":true,'
    . '"isSchemaAdvisorEnabled":true}';

for my $name (@atlas) {
    my $project = new_project($org);
    my $path = "/groups/$project->{id}/settings";
    my $uri = "$base{$name}$path";
    my $now = JSON::PP->new->decode($defaults);

    answers($owner->request('GET', $uri), 200, $defaults,
        "$name: settings of a new project");
    answers($owner->request('PATCH', $uri, {}), 200, $defaults,
        "$name: PATCH of nothing changes none");

    for my $flag (sort keys %$now) {
        $now->{$flag} = $now->{$flag} ? false : true;
        answers($owner->request('PATCH', $uri, { $flag => $now->{$flag} }),
            200, $now, "$name: PATCH changes $flag alone");
    }
    answers($owner->request('GET', "$base{$_}$path"), 200, $now,
        "$name: $_ shows what was stored") for @atlas;
    answers($owner->request('PATCH', $uri, $defaults), 200, $defaults,
        "$name: PATCH of the whole object");

    refused($owner->request('PATCH', $uri, $_->[0]), @$_[1, 2],
        "$name: PATCH of settings " . json_text($_->[0]) . ": $_->[1]") for
        [ { isDataExplorerEnabled => undef }, 'INVALID_JSON_ATTRIBUTE',
            [ 'isDataExplorerEnabled' ] ],
        [ { isDataExplorerEnabled => 'true' }, 'INVALID_JSON_ATTRIBUTE',
            [ 'isDataExplorerEnabled' ] ],
        [ { isDataExplorerEnabled => false, isSchemaAdvisorEnabled => 1 },
            'INVALID_JSON_ATTRIBUTE', [ 'isSchemaAdvisorEnabled' ] ],
        [ { nosuch => true }, 'INVALID_ATTRIBUTE', [ 'nosuch' ] ],
        [ { managedSlowMs => true }, 'INVALID_ATTRIBUTE',
            [ 'managedSlowMs' ] ],
        [ { tags => [] }, 'INVALID_ATTRIBUTE', [ 'tags' ] ],
        [ [], 'INVALID_JSON', [] ],
        [ '{', 'MALFORMED_JSON', [] ];
    answers($owner->request('GET', $uri), 200, $defaults,
        "$name: which change none");
    answers($owner->request('GET', "$uri?envelope=true"), 200,
        qq({"status":200,"content":$defaults}),
        "$name: settings in an envelope");
    shown_everywhere($project, "$name: a project with settings");
}


# PATCH of a project: name, tags, alerts

my %good = (atlas => [ { key => 'env', value => 'e2e' },
    { key => 'app', value => 'cli' } ], om => [ 'EXTERNALLY_MANAGED', 'A.1-' ]);

for my $name (@bases) {
    my $project = new_project($org, name => "before $name");
    my $uri = "$base{$name}/groups/$project->{id}";
    my $om = $name eq 'ops_manager';
    my $tags = $om ? $good{om} : $good{atlas};
    my $kind = $om ? 'tokens' : 'labels';
    my $same = sub { answers($owner->request('PATCH', $uri, $_[0]), 200,
        $shape->project($name, $project, $org->{id}, single => 1),
        "$name: $_[1]") };

    $same->({}, 'PATCH of nothing changes nothing');
    $project->{name} = "after $name";
    $same->({ name => $project->{name} }, 'PATCH renames');
    $same->({ name => $project->{name} }, 'PATCH with the name that it has');
    $project->{$kind} = $tags;
    $same->({ tags => $tags }, 'PATCH sets tags, in their order');
    $same->({ name => $project->{name} }, 'PATCH without tags keeps them');
    shown_everywhere($project, "$name: a project with tags");
    $project->{$kind} = [ reverse @$tags ];
    $same->({ tags => [ reverse @$tags ] }, 'PATCH replaces all tags');

    if (!$om) {
        $project->{alerts} = false;
        $same->({ withDefaultAlertsSettings => false }, 'PATCH sets alerts');
        shown_everywhere($project, "$name: a project without alerts");
    }
    $project->{$kind} = [];
    $same->({ tags => [] }, 'PATCH clears tags');
    shown_everywhere($project, "$name: a project whose tags were cleared");

    # the limits
    my @most = $om ? map { sprintf 'T%031d', $_ } 1 .. 10
        : map { { key => $_ . 'é' x (255 - length), value => 'é' x 255 } }
            1 .. 50;
    $project->{$kind} = \@most;
    $same->({ tags => \@most }, 'PATCH takes ' . @most . ' of the longest');
    $project->{name} = '鍵' x 62 . ($om ? 'om' : substr $name, -2);
    $same->({ name => $project->{name} }, 'PATCH takes a name of 64');

    refused($owner->request('PATCH', $uri, $_->[0]), @$_[1, 2],
        "$name: PATCH of a project " . substr(json_text($_->[0]), 0, 60)
        . ": $_->[1]") for
        [ { name => '' }, 'INVALID_GROUP_NAME', [ '' ] ],
        [ { name => 'x' x 65 }, 'INVALID_GROUP_NAME', [ 'x' x 65 ] ],
        [ { name => "a\tb" }, 'INVALID_GROUP_NAME', [ "a\tb" ] ],
        [ { name => "a\x7f" }, 'INVALID_GROUP_NAME', [ "a\x7f" ] ],
        [ { name => 1 }, 'INVALID_JSON_ATTRIBUTE', [ 'name' ] ],
        [ { tags => 'x' }, 'INVALID_JSON_ATTRIBUTE', [ 'tags' ] ],
        [ { tags => {} }, 'INVALID_JSON_ATTRIBUTE', [ 'tags' ] ],
        [ { withDefaultAlertsSettings => 1 }, 'INVALID_JSON_ATTRIBUTE',
            [ 'withDefaultAlertsSettings' ] ],
        [ { nosuch => 1 }, 'INVALID_ATTRIBUTE', [ 'nosuch' ] ],
        [ [], 'INVALID_JSON', [] ],
        $om ? (
            [ { tags => [ map { "T$_" } 1 .. 11 ] }, 'TOO_MANY_GROUP_TOKENS',
                [ '10' ] ],
            ( map { [ { tags => [ 'GOOD', $_ ] }, 'INVALID_GROUP_TOKEN',
                [ '32' ] ] } '', 'T' x 33, 'A B', "A\n", 'É', '%', 1, undef,
                { key => 'k', value => 'v' }, [ 'A' ] ),
            [ { id => $nobody }, 'GROUP_MISMATCH', [ $nobody ] ],
            [ { id => "$project->{id}0" }, 'GROUP_MISMATCH',
                [ "$project->{id}0" ] ],
        ) : (
            ( map { [ { tags => $_ }, 'INVALID_ATTRIBUTE', [ 'tags' ] ] }
                [ map { { key => "k$_", value => 'v' } } 1 .. 51 ],
                [ map { { key => 'k', value => "v$_" } } 1 .. 2 ],
                [ { key => '', value => 'v' } ],
                [ { key => 'k', value => '' } ],
                [ { key => 'x' x 256, value => 'v' } ],
                [ { key => 'k', value => 'é' x 256 } ],
                [ { key => 'k' } ], [ { value => 'v' } ], [ {} ],
                [ { key => undef, value => 'v' } ] ),
            [ { tags => [ { key => 1, value => 'v' } ] },
                'INVALID_JSON_ATTRIBUTE', [ 'key' ] ],
            [ { tags => [ { key => 'k', value => 'v', x => 1 } ] },
                'INVALID_ATTRIBUTE', [ 'x' ] ],
            [ { tags => [ 'k' ] }, 'INVALID_JSON', [] ],
        ),
        $name eq 'atlas_v2' ? map { [ { $_ => 'x' }, 'INVALID_ATTRIBUTE',
            [ $_ ] ] } qw( id orgId links clusterCount created agentApiKey
                regionUsageRestrictions ) : ();
    $same->({}, 'which change nothing');
    shown_everywhere($project, "$name: a project with as much as may be");

    # clients that send back what they read
    next if $name eq 'atlas_v2';
    my $read = $owner->request('GET', $uri)->json;
    $same->($read, 'PATCH of the whole object that was read');
    $same->({ id => $om ? $project->{id} : $nobody, orgId => $nobody,
        agentApiKey => 'x',
        clusterCount => 7, created => 'x', links => [], hostCounts => {},
        publicApiEnabled => false, ldapGroupMappings => [] },
        'PATCH ignores what it does not set');
}

# a NUL, which PostgreSQL has not in its strings
for my $name (@bases) {
    my $project = new_project($org);
    my $uri = "$base{$name}/groups/$project->{id}";

    is($owner->request('PATCH', $uri, $_)->code, 400,
        "$name: PATCH of a project $_") for '{"name":"a\u0000"}',
        $name eq 'ops_manager' ? '{"tags":["A\u0000"]}'
            : '{"tags":[{"key":"a\u0000","value":"v"}]}',
        '{"tags":["\ud800"]}';
}

# tags of the two products are apart
{
    my $project = new_project($org, name => 'tags of both',
        tags => $good{atlas});
    my $uri = "/groups/$project->{id}";

    $project->{labels} = $good{atlas};
    shown_everywhere($project, 'tags given to POST');
    $owner->request('PATCH', "$base{ops_manager}$uri",
        { tags => $good{om} });
    $project->{tokens} = $good{om};
    shown_everywhere($project, 'tags of both products');
    $owner->request('PATCH', "$base{atlas_v1}$uri", { tags => [] });
    $project->{labels} = [];
    shown_everywhere($project, 'tags of Ops Manager alone');

    answers($owner->request('GET', "$base{$_}/orgs/$org->{id}/groups?name="
        . $project->{name} =~ s/ /%20/gr), 200, $shape->list(
            "$base{$_}/orgs/$org->{id}/groups", [ $shape->project($_,
                $project, $org->{id}) ], query => 'name='
                . $project->{name} =~ s/ /%20/gr), "tags in the list of $_")
        for @bases;
}


# names are unique in an organization

for my $name (@bases) {
    my $taken = new_project($org, name => "taken on $name");
    my $project = new_project($org);
    my $groups = "$base{$name}/groups";

    refused($_->request('POST', $groups,
        { name => $taken->{name}, orgId => $org->{id} }),
        'GROUP_ALREADY_EXISTS', [ $taken->{name} ],
        "$name: POST of a name that is taken")
        for $owner, $f->client(token => $f->token);
    refused($owner->request('PATCH', "$groups/$project->{id}",
        { name => $taken->{name}, tags => [] }), 'GROUP_ALREADY_EXISTS',
        [ $taken->{name} ], "$name: PATCH with a name that is taken");
    shown_everywhere($project, "$name: a project that was not renamed");
    is($owner->request('POST', $groups, { name => uc $taken->{name},
        orgId => $org->{id} })->code, 201, "$name: in another case it is free");
    is($other->{client}->request('POST', $groups, { name => $taken->{name},
        orgId => $other->{id} })->code, 201,
        "$name: and in another organization");
}


# a name that psql takes while POST waits for it
for my $end (qw( commit rollback )) {
    my $name = new_name();
    my $dbh = $f->db->connect;
    my $client = $f->client(timeout => 30);

    $dbh->begin_work;
    $dbh->do('INSERT INTO apikeys.projects (org_id, name) VALUES (?, ?)',
        undef, $org->{id}, $name);
    $client->send($client->format('POST', "$base{atlas_v1}/groups",
        { name => $name, orgId => $org->{id} },
        headers => { Authorization => 'Bearer ' . $f->token }));
    ok($f->nginx->wait_for(sub { $f->db->psql('SELECT count(*)
        FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0')
        }, 20, 'does not wait'), "a name that psql takes: POST waits, $end");
    $dbh->$end;
    my $res = $client->read;
    $res->{uri} = "$base{atlas_v1}/groups";
    if ($end eq 'rollback') {
        is($res->code, 201, 'and makes the project');

    } else {
        refused($res, 'GROUP_ALREADY_EXISTS', [ $name ], 'and is refused');
    }
}


# byName

for my $name (@bases) {
    my $title = "by name é+%_ $name";
    my $path = encode_utf8($title) =~ s/([^\w+])/sprintf '%%%02X', ord $1/ger;
    my $project = new_project($org, name => $title);
    my $uri = "$base{$name}/groups/byName";
    my @absent = $name eq 'ops_manager' ? ('GROUP_NAME_NOT_FOUND', [ $title ])
        : ('NOT_IN_GROUP', []);
    my $object = $shape->project($name, $project, $org->{id}, single => 1);

    answers($owner->request('GET', "$uri/$path"), 200, $object,
        "$name: a project by its name");
    answers($f->operator('GET', "$uri/$path"), 200, $object,
        "$name: the operator finds it");
    refused($member->{client}->request('GET', "$uri/$path"), @absent,
        "$name: who holds no role in it does not");
    refused($other->{client}->request('GET', "$uri/$path"), @absent,
        "$name: nor does another organization");
    grant($project, $member, 'GROUP_READ_ONLY');
    answers($member->{client}->request('GET', "$uri/$path"), 200, $object,
        "$name: who holds a role in it does");

    my @none = $name eq 'ops_manager' ? 'GROUP_NAME_NOT_FOUND'
        : 'NOT_IN_GROUP';
    for my $case ([ "by name %C3%A9+%25_ \U$name", "by name é+%_ \U$name" ],
        [ 'nosuch', 'nosuch' ], [ 'by%25', 'by%' ], [ $nobody, $nobody ],
        [ $project->{id}, $project->{id} ], [ 'x' x 300, 'x' x 300 ])
    {
        my ($sent, $absent) = @$case;

        refused($owner->request('GET', "$uri/" . $sent =~ s/ /%20/gr), @none,
            $name eq 'ops_manager' ? [ $absent ] : [],
            "$name: no project by the name " . substr $absent, 0, 30);
    }
    refused($owner->request('GET', $uri), 'PATH_PARAM_PARSE_ERROR', [ $uri ],
        "$name: byName alone is no id");
    is($owner->request('GET', "$uri/%FF")->code, 400,
        "$name: a name that is no UTF-8");

    # the same name elsewhere
    my $twin = new_project($other, name => $title);
    answers($owner->request('GET', "$uri/$path"), 200, $object,
        "$name: a key finds that of its organization");
    refused($f->operator('GET', "$uri/$path"), 'MULTIPLE_GROUPS', [],
        "$name: the operator finds two");

    $owner->request('PATCH', "$base{$name}/groups/$project->{id}",
        { name => "$title!" })->code == 200 or die;
    refused($owner->request('GET', "$uri/$path"), @absent,
        "$name: a project that was renamed is not found");
    $project->{name} = "$title!";
    answers($owner->request('GET', "$uri/$path!"), 200,
        $shape->project($name, $project, $org->{id}, single => 1),
        "$name: but by its new name");
    $owner->request('DELETE', "$base{$name}/groups/$project->{id}");
    refused($owner->request('GET', "$uri/$path!"), @none,
        $name eq 'ops_manager' ? [ "$title!" ] : [],
        "$name: nor one that is gone");
}


# managedSlowMs

for my $name (@atlas) {
    my $project = new_project($org);
    my $path = "/groups/$project->{id}/managedSlowMs";
    my $uri = "$base{$name}$path";

    answers($owner->request('GET', $uri), 200, 'true',
        "$name: managedSlowMs of a new project");
    for (1 .. 2) {
        no_content($owner->request('DELETE', "$uri/disable"),
            "$name: DELETE disables it");
        answers($owner->request('GET', "$base{$_}$path"), 200, 'false',
            "$name: which $_ shows") for @atlas;
    }
    for (1 .. 2) {
        no_content($owner->request('POST', "$uri/enable"),
            "$name: POST enables it");
        answers($owner->request('GET', $uri), 200, 'true',
            "$name: which is stored");
    }
    $owner->request('DELETE', "$uri/disable");
    answers($owner->request('GET', "$uri?envelope=true"), 200,
        '{"status":200,"content":false}', "$name: in an envelope");
    answers($owner->request('GET', "$base{$name}/groups/$project->{id}"
        . '/settings'), 200, $defaults, "$name: it is no setting");
    no_content($owner->request('POST', "$uri/enable", {}),
        "$name: POST with a body enables it");
}


# what is empty here

my $empty = new_project($org);

for my $name (@bases) {
    my $om = $name eq 'ops_manager';
    my $in = "$base{$name}/groups/$empty->{id}";
    my $of = "$base{$name}/orgs/$org->{id}";

    for my $case ([ "$in/users" ], [ "$in/teams" ], [ "$of/users" ],
        [ "$of/teams" ], $om ? () : [ "$in/clusters" ],
        [ "$in/users", 'flattenTeams=false&includeCount=true&'
            . 'includeOrgUsers=false' ],
        [ "$of/users", 'includeCount=true&orgMembershipStatuses=ACTIVE&'
            . 'orgMembershipStatuses=PENDING&username=a%40b' ],
        $om ? () : [ "$in/clusters",
            'includeCount=true&includeDeletedWithRetainedBackups=false' ])
    {
        my ($uri, $query) = @$case;
        my $list = $shape->list($uri, [], query => $query);
        my $shown = $uri =~ s{^.*/[0-9a-f]{24}}{...}r
            . ($query ? "?$query" : '');

        answers($owner->request('GET', $query
            ? "$uri?$query&pageNum=1&itemsPerPage=100" : $uri), 200, $list,
            "$name: $shown is empty");
        next if $query;
        answers($owner->request('GET', "$uri/"), 200, $list,
            "$name: $shown with a slash at the end");
        delete $list->{totalCount};
        $list->{links}[0]{href} =~ s/\?/?includeCount=false&/;
        answers($owner->request('GET', "$uri?includeCount=false"), 200,
            $list, "$name: $shown without a count");
    }

    for my $uri ("$in/invites", "$of/invites", $om ? () : "$in/limits") {
        my $shown = $uri =~ s{^.*/[0-9a-f]{24}}{...}r;

        answers($owner->request('GET', $uri), 200, '[]',
            "$name: $shown is a bare array");
        answers($owner->request('GET', "$uri?username=x&envelope=true"), 200,
            '{"status":200,"content":[]}', "$name: $shown in an envelope");
        answers($owner->request('GET', "$uri?pretty=true"), 200, '[ ]',
            "$name: $shown, pretty");
    }
    answers($owner->request('GET', "$in/ipAddresses"), 200,
        qq({"groupId":"$empty->{id}","services":{"clusters":[]}}),
        "$name: addresses of a project") if !$om;

    # teams, of which there are none
    my $teams = $shape->list("$in/teams", []);
    answers($owner->request('POST', "$in/teams", []), 200, $teams,
        "$name: POST of no team");
    refused($owner->request('POST', "$in/teams", [ { teamId => $nobody,
        roleNames => [ 'GROUP_OWNER' ] } ]), 'TEAM_NOT_FOUND', [ $nobody ],
        "$name: POST of a team");
    refused($owner->request('PATCH', "$in/teams/$nobody",
        { roleNames => [ 'GROUP_OWNER' ] }), 'TEAM_NOT_FOUND', [ $nobody ],
        "$name: PATCH of a team");
    refused($owner->request('DELETE', "$in/teams/$nobody"), 'TEAM_NOT_FOUND',
        [ $nobody ], "$name: DELETE of a team");

    # parents that are not there
    my @project = qw( users teams invites );
    push @project, qw( clusters limits ipAddresses managedSlowMs settings )
        if !$om;
    for my $id ($nobody, new_project($other)->{id}) {
        refused($owner->request('GET', "$base{$name}/groups/$id/$_"),
            'GROUP_NOT_FOUND', [ $id ], "$name: $_ of no project")
            for @project;
    }
    for my $id ($nobody, $other->{id}) {
        refused($owner->request('GET', "$base{$name}/orgs/$id/$_"),
            'ORG_NOT_FOUND', [ $id ], "$name: $_ of no organization")
            for qw( users teams invites settings groups );
    }
    refused($owner->request('GET', "$base{$name}/groups/x/$_"),
        'PATH_PARAM_PARSE_ERROR', [ "$base{$name}/groups/x/$_" ],
        "$name: $_ of what is no id") for @project;

    # routes that are not there
    my @none = ("$of/aiModelApiKeys", "$of/serviceAccounts",
        "$of/users/$nobody", "$in/limits/x", "$in/aiModelApiKeys",
        "$in/managedSlowMs/x", "$in/serverless", "$in/controlledFeature");
    push @none, map { "$in/$_" } qw( settings limits ipAddresses clusters
        managedSlowMs managedSlowMs/enable ) if $om;
    refused($owner->request('GET', $_), 'RESOURCE_NOT_FOUND', [ $_ ],
        "$name: no resource " . s/[0-9a-f]{24}/ID/gr) for @none;

    # methods that are not there
    for my $case (
        [ POST => "$of/users", 'GET, HEAD' ],
        [ POST => "$of/teams", 'GET, HEAD' ],
        [ DELETE => "$of/invites", 'GET, HEAD' ],
        [ POST => $of, 'GET, HEAD, PATCH, DELETE' ],
        [ PUT => $in, 'GET, HEAD, PATCH, DELETE' ],
        [ PATCH => "$base{$name}/groups/byName/x", 'GET, HEAD' ],
        [ POST => "$in/users", 'GET, HEAD' ],
        [ PUT => "$in/teams", 'GET, HEAD, POST' ],
        [ GET => "$in/teams/$nobody", 'PATCH, DELETE' ],
        [ PUT => "$in/invites", 'GET, HEAD' ],
        $om ? () : (
            [ POST => "$in/settings", 'GET, HEAD, PATCH' ],
            [ PATCH => "$in/limits", 'GET, HEAD' ],
            [ POST => "$in/ipAddresses", 'GET, HEAD' ],
            [ POST => "$in/clusters", 'GET, HEAD' ],
            [ PATCH => "$in/managedSlowMs", 'GET, HEAD' ],
            [ GET => "$in/managedSlowMs/enable", 'POST' ],
            [ POST => "$in/managedSlowMs/disable", 'DELETE' ] ))
    {
        my ($method, $uri, $allow) = @$case;
        my $res = $owner->request($method, $uri);
        my $shown = "$method " . $uri =~ s/[0-9a-f]{24}/ID/gr;

        refused($res, 'METHOD_NOT_ALLOWED', [ $method ],
            "$name: $shown is not allowed");
        is($res->header('allow'), $allow, "$name: but $allow");
    }
}


# lists by name: whether it begins so, in any case

{
    my @names = ('Alpha', 'AlphaBet', 'al%pha', 'al\\pha', 'al_pha', 'b two',
        'beta');
    my $in = $f->org(name => 'Zeta of lists');
    my %project = map { $_ => new_project($in, name => $_) } @names;
    my %made = map { $_ => $f->org(name => "ö$_")->{id} } @names;

    for my $case (
        [ 'ALPHA', qw( Alpha AlphaBet ) ], [ 'alphab', 'AlphaBet' ],
        [ 'al%25', 'al%pha' ], [ 'al_', 'al_pha' ], [ 'AL%5c', 'al\\pha' ],
        [ '', @names ], [ 'lpha' ], [ 'Alphabets' ], [ '%25' ], [ 'b+t',
            'b two' ], [ 'B%20TWO', 'b two' ], [ 'b%2Bt' ],
        [ 'alpha&name=beta', qw( Alpha AlphaBet ) ], [ '.*' ])
    {
        my ($query, @found) = @$case;

        for my $name (@bases) {
            my $uri = "$base{$name}/orgs/$in->{id}/groups";

            answers($in->{client}->request('GET', "$uri?name=$query"), 200,
                $shape->list($uri, [ map { $shape->project($name,
                    $project{$_}, $in->{id}) } @found ],
                    query => "name=$query"),
                "$name: projects whose name begins with '$query'");

            $uri = "$base{$name}/orgs";
            my $prefix = length $query ? "%C3%B6$query" : $query;
            next if !length $query;
            answers($f->operator('GET', "$uri?name=$prefix"), 200,
                $shape->list($uri, [ map { $shape->org($name, $made{$_},
                    "ö$_") } @found ], query => "name=$prefix"),
                "$name: organizations whose name begins with 'ö$query'");
        }
    }
    for my $name (@bases) {
        my $orgs = "$base{$name}/orgs";
        my $groups = "$orgs/$in->{id}/groups";
        my $own = $shape->org($name, $in->{id}, 'Zeta of lists');

        answers($in->{client}->request('GET', "$orgs?includeCount=true&name=&"
            . 'pageNum=1&itemsPerPage=100'), 200, $shape->list($orgs, [ $own ],
            query => 'includeCount=true&name='),
            "$name: an empty name is no condition");
        answers($in->{client}->request('GET', "$orgs?name=zeta"), 200,
            $shape->list($orgs, [ $own ], query => 'name=zeta'),
            "$name: a key finds its own organization");
        answers($in->{client}->request('GET', "$orgs?name=alpha"), 200,
            $shape->list($orgs, [], query => 'name=alpha'),
            "$name: and no other");
        answers($in->{client}->request('GET', "$base{$name}/groups?name=x"),
            200, $shape->list("$base{$name}/groups", [ map {
                $shape->project($name, $project{$_}, $in->{id}) } @names ],
                query => 'name=x'), "$name: the list of all takes no name");
        answers($in->{client}->request('GET', "$groups?itemsPerPage=0&"
            . 'pageNum=0&includeCount=true'), 200, $shape->list($groups,
            [ map { $shape->project($name, $project{$_}, $in->{id}) }
                @names ], query => 'includeCount=true'),
            "$name: pages of 0 are those by default");

        my $page = $in->{client}->request('GET',
            "$groups?name=al&itemsPerPage=2&pageNum=2")->json;
        is_deeply([ map { $_->{name} } @{ $page->{results} } ],
            [ 'al%pha', 'al\\pha' ], "$name: the second page by name");
        is($page->{totalCount}, 5, "$name: of all that begin so");

        refused($in->{client}->request('GET', "$_?name=%FF"),
            'INVALID_QUERY_PARAMETER', [ 'name' ],
            "$name: a name that is no UTF-8") for $orgs, $groups;
        refused($in->{client}->request('GET', "$_?name=a%00"),
            'INVALID_QUERY_PARAMETER', [ 'name' ],
            "$name: a name with a NUL") for $orgs, $groups;
    }
}


# organizations: POST, PATCH, settings

for my $name (@bases) {
    my $orgs = "$base{$name}/orgs";
    my $om = $name eq 'ops_manager';
    my $body = { name => "posted $name", serviceAccount => undef,
        skipDefaultAlertsSettings => true, orgOwnerId => 'any text',
        apiKey => { desc => 'first', roles => [ 'ORG_OWNER' ] } };

    refused($owner->request('POST', $orgs, $body),
        'API_KEY_CANNOT_CREATE_ORG', [], "$name: a key makes no organization");
    refused($f->operator('POST', $orgs, { %$body, serviceAccount => $_ }),
        'INVALID_ATTRIBUTE', [ 'serviceAccount' ], "$name: a service account: "
        . json_text([ $_ ])) for {}, { name => 'x' }, 'x', false;

    my $res = $f->operator('POST', $orgs, $body);
    is($res->code, 201, "$name: null is no service account");
    my $json = $res->json;
    my $id = ($json->{organization} || $json)->{id};
    my $client = $f->client(key =>
        "$json->{apiKey}{publicKey}:$json->{apiKey}{privateKey}");
    my %is = (title => "posted $name", skip => 1);
    my $shows = sub {
        my ($res, $title) = @_;
        answers($res, 200, $shape->org($name, $id, $is{title}, single => 1,
            skip => $is{skip}), "$name: $title");
    };

    $shows->($client->request('GET', "$orgs/$id"), 'an organization');
    $shows->($client->request('GET', "$orgs/$id/"),
        'with a slash at the end');
    answers($client->request('GET', "$base{$_}/orgs/$id"), 200,
        $shape->org($_, $id, $is{title}, single => 1, skip => 1),
        "$name: as $_ shows it") for @bases;

    if ($name eq 'atlas_v2') {
        refused($client->request('PATCH', "$orgs/$id", $_),
            'MISSING_ATTRIBUTE', [ 'name' ],
            "$name: PATCH " . json_text($_) . ' has no name') for
            {}, { skipDefaultAlertsSettings => false }, { name => undef };

    } else {
        $shows->($client->request('PATCH', "$orgs/$id", {}),
            'PATCH of nothing changes nothing');
    }
    $is{title} = "renamed $name";
    $shows->($client->request('PATCH', "$orgs/$id", { name => $is{title} }),
        'PATCH renames');
    $is{skip} = 0;
    $shows->($client->request('PATCH', "$orgs/$id", { name => $is{title},
        skipDefaultAlertsSettings => false }), 'PATCH sets alerts');
    $is{title} = $org->{name};
    $shows->($client->request('PATCH', "$orgs/$id", { name => $is{title} }),
        'two organizations may have one name');

    refused($client->request('PATCH', "$orgs/$id", { name => 'x', %{ $_->[0] }
        }), @$_[1, 2], "$name: PATCH of an organization "
        . substr(json_text($_->[0]), 0, 60) . ": $_->[1]") for
        [ { name => '' }, 'INVALID_ATTRIBUTE', [ 'name' ] ],
        [ { name => 'x' x 65 }, 'INVALID_ATTRIBUTE', [ 'name' ] ],
        [ { name => "a\n" }, 'INVALID_ATTRIBUTE', [ 'name' ] ],
        [ { name => [] }, 'INVALID_JSON_ATTRIBUTE', [ 'name' ] ],
        [ { skipDefaultAlertsSettings => 'x' }, 'INVALID_JSON_ATTRIBUTE',
            [ 'skipDefaultAlertsSettings' ] ],
        [ { nosuch => 1 }, 'INVALID_ATTRIBUTE', [ 'nosuch' ] ],
        map { [ { $_ => 1 }, 'ATTRIBUTE_READ_ONLY', [ $_ ] ] }
            qw( id isDeleted links );
    $shows->($client->request('GET', "$orgs/$id"), 'which change nothing');
    refused($client->request('PATCH', "$orgs/$_", { name => 'x' }),
        'ORG_NOT_FOUND', [ $_ ], "$name: PATCH of another organization")
        for $nobody, $org->{id};

    # settings
    my $uri = "$orgs/$id/settings";
    my $settings = { apiAccessListRequired => false,
        genAIFeaturesEnabled => true, multiFactorAuthRequired => false,
        restrictEmployeeAccess => false };
    my $set = sub {
        my ($body, $title) = @_;
        answers($client->request('PATCH', $uri, $body), 200, $settings,
            "$name: $title");
        answers($client->request('GET', "$base{$_}/orgs/$id/settings"), 200,
            $settings, "$name: $title: as $_ shows them") for @bases;
    };
    $set->({}, 'PATCH of no setting');
    $settings->{genAIFeaturesEnabled} = false;
    $set->({ genAIFeaturesEnabled => false }, 'genAIFeaturesEnabled');
    $set->({ securityContact => '' }, 'a contact that is empty is none');
    $settings->{securityContact} = 'a@example.com';
    $set->({ securityContact => 'a@example.com' }, 'securityContact');
    $set->({ customSessionTimeouts => { x => 1 }, operationsContact => 'x',
        maxServiceAccountSecretValidityInHours => 8,
        streamsCrossGroupEnabled => true }, 'settings that are ignored');
    delete $settings->{securityContact};
    $set->({ securityContact => '', genAIFeaturesEnabled => false },
        'a contact that is removed');
    refused($client->request('PATCH', $uri, $_->[0]), @$_[1, 2],
        "$name: settings " . substr(json_text($_->[0]), 0, 60)
        . ": $_->[1]") for
        [ { genAIFeaturesEnabled => 'x' }, 'INVALID_JSON_ATTRIBUTE',
            [ 'genAIFeaturesEnabled' ] ],
        [ { securityContact => 1 }, 'INVALID_JSON_ATTRIBUTE',
            [ 'securityContact' ] ],
        [ { securityContact => 'x' x 321 }, 'INVALID_ATTRIBUTE',
            [ 'securityContact' ] ],
        [ { genAIFeaturesEnabled => true, nosuch => 1 }, 'INVALID_ATTRIBUTE',
            [ 'nosuch' ] ];
    $set->({}, 'which change none');
    $shows->($client->request('GET', "$orgs/$id"),
        'settings are not of the object');
}


# DELETE of a project: its keys lose their roles there, and stay

for my $name (@bases) {
    my $groups = "$base{$name}/groups";
    my ($project, $stays) = map { new_project($org) } 1 .. 2;
    my $key = $f->key($org, 'ORG_MEMBER');
    my $guest = $owner->request('POST', "$groups/$project->{id}/apiKeys",
        { desc => 'of the project', roles => [ 'GROUP_READ_ONLY' ] })->json;

    grant($_, $key, 'GROUP_DATA_ACCESS_ADMIN') for $project, $stays;
    is(enters($key, "/in?project=$_->{id}"), 200,
        "$name: a key enters by its role in a project") for $project, $stays;

    my $res = $owner->request('DELETE', "$groups/$project->{id}");
    answers($res, $name eq 'ops_manager' ? 200 : 202, '{}',
        "$name: DELETE of a project");
    is(enters($key, "/in?project=$project->{id}"), 403,
        "$name: the key does not enter by it at once");
    is(enters($key, "/in?project=$stays->{id}"), 200,
        "$name: but by its role in another one");
    is(enters($_, '/any'), 200, "$name: its keys stay") for $key, $guest;

    is_deeply($owner->request('GET', "$base{$name}/orgs/$org->{id}/apiKeys/"
        . $key->{id})->json->{roles}, [
            { orgId => $org->{id}, roleName => 'ORG_MEMBER' },
            { groupId => $stays->{id}, roleName => 'GROUP_DATA_ACCESS_ADMIN' }
        ], "$name: with their other roles");
    is_deeply($owner->request('GET', "$base{$name}/orgs/$org->{id}/apiKeys/"
        . $guest->{id})->json->{roles},
        [ { orgId => $org->{id}, roleName => 'ORG_MEMBER' } ],
        "$name: as does one that was made in it");

    refused($owner->request($_->[0], "$groups/$project->{id}$_->[1]",
        $_->[2]), 'GROUP_NOT_FOUND', [ $project->{id} ],
        "$name: $_->[0] $_->[1] of a project that is gone") for
        [ DELETE => '' ], [ GET => '' ], [ PATCH => '', {} ],
        [ GET => '/apiKeys' ], [ GET => '/users' ];
    refused($owner->request('DELETE', "$groups/$_"), 'GROUP_NOT_FOUND',
        [ $_ ], "$name: DELETE of no project") for $nobody,
        new_project($other)->{id};
    is($owner->request('POST', $groups, { name => $project->{name},
        orgId => $org->{id} })->code, 201, "$name: its name is free");

    # by the key that owns it, which loses its right with it
    my $mine = new_project($org);
    my $manager = $f->key($org, 'ORG_MEMBER');
    grant($mine, $manager, 'GROUP_OWNER');
    is($manager->{client}->request('DELETE', "$groups/$mine->{id}")->code,
        $name eq 'ops_manager' ? 200 : 202, "$name: its owner deletes it");
    refused($manager->{client}->request('DELETE', "$groups/$mine->{id}"),
        'GROUP_NOT_FOUND', [ $mine->{id} ], "$name: once");
}


# DELETE of an organization: its keys go with it, the caller's, too

for my $name (@bases) {
    my $orgs = "$base{$name}/orgs";
    my $going = $f->org;
    my $reader = $f->key($going, 'ORG_READ_ONLY');
    my $project = new_project($going);
    my $client = $going->{client};

    for my $who ($client, $f->client(token => $f->token)) {
        refused($who->request('DELETE', "$orgs/$going->{id}"),
            'ORG_NOT_EMPTY', [], "$name: an organization with a project");
    }
    refused($client->request('DELETE', "$orgs/$_"), 'ORG_NOT_FOUND', [ $_ ],
        "$name: DELETE of another organization") for $nobody, $org->{id};
    refused($reader->{client}->request('DELETE', "$orgs/$going->{id}"),
        'USER_UNAUTHORIZED', [], "$name: a reader does not delete it");
    is($client->request('GET', "$orgs/$going->{id}")->code, 200,
        "$name: it is still there");
    $client->request('DELETE', "$base{$name}/groups/$project->{id}");
    is(enters($_, '/any'), 200, "$name: its keys enter")
        for $going->{key}, $reader;

    no_content($client->request('DELETE', "$orgs/$going->{id}"),
        "$name: its last owner deletes it");
    is(enters($_, '/any'), 401, "$name: its keys enter no more")
        for $going->{key}, $reader;
    challenged($_->request('GET', "$orgs/$going->{id}"),
        "$name: nor does the API know them") for $client, $reader->{client};
    refused($f->operator($_, "$orgs/$going->{id}"), 'ORG_NOT_FOUND',
        [ $going->{id} ], "$name: $_ of an organization that is gone")
        for qw( GET DELETE );
    is($f->db->psql("SELECT count(*) FROM apikeys.keys
        WHERE org_id = '$going->{id}'"), 0, "$name: no key is left");

    my $by_operator = $f->org;
    no_content($f->operator('DELETE', "$orgs/$by_operator->{id}"),
        "$name: the operator deletes one");
    is(enters($by_operator->{key}, '/any'), 401,
        "$name: whose keys enter no more");
}

done_testing;
