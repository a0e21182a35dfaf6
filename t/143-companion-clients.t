# The requests that stock clients send around keys, in their order and byte
# by byte: Terraform's provider, the Go SDK of the Atlas CLI, the older Go
# client, the Atlas and the MongoDB operators for Kubernetes, and mongocli.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Expect;
use ApiKeys::Fixture ();
use ApiKeys::Shape ();
use Digest::MD5 qw( md5_hex );
use JSON::PP ();
use Test::More;

my $f = ApiKeys::Fixture->new;
my $shape = ApiKeys::Shape->new($f->nginx->url);
my $v1 = '/api/atlas/v1.0';
my $v2 = '/api/atlas/v2';
my $om = '/api/public/v1.0';
my $nobody = '0123456789abcdef01234567';

my $org = $f->org(name => 'Clients & friends');
my $o = "$v2/orgs/$org->{id}";

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

# A client and the headers of all its requests.  The SDKs for Go ask for the
# version of each call, and Go's encoder ends a body with a line feed.
sub caller_of {
    my ($key, $agent, %headers) = @_;

    return $f->client(key => "$key->{publicKey}:$key->{privateKey}",
        headers => { 'User-Agent' => $agent, 'Accept-Encoding' => 'gzip',
            %headers });
}

my $version = '2023-01-01';

sub sdk {
    my ($client, $method, $uri, $body, $date) = @_;

    my $type = 'application/vnd.atlas.' . ($date || $version) . '+json';
    return $client->request($method, $uri, defined $body ? "$body\n" : undef,
        headers => { Accept => $type,
            defined $body ? ('Content-Type' => $type) : () });
}

sub project {
    my ($base, $project, %opt) = @_;

    return $shape->project($base, $project, $org->{id}, single => 1, %opt);
}


# Go SDK: what it writes of a project that has a name and an organization

{
    my $client = caller_of($org->{key}, 'atlascli/1.40.0 (linux;amd64;deb)');
    my $res = sdk($client, 'POST', "$v2/groups?projectOwnerId=",
        '{"clusterCount":0,"created":"0001-01-01T00:00:00Z","name":"n",'
        . qq("orgId":"$org->{id}"}));
    my $project = { %{ $res->json } };

    isnt($project->{created}, '0001-01-01T00:00:00Z',
        'Go SDK: the time of a new project is ours');
    delete $project->{tags};
    answers($res, 201, project('atlas_v2', $project, new => 1),
        'Go SDK: POST /groups, whose answer has no tags');
    unlike($res->body, qr/"tags"/, 'Go SDK: none at all');
    answers(sdk($client, 'GET', "$v2/groups/$project->{id}"), 200,
        project('atlas_v2', $project), 'Go SDK: GET of it');
    like(sdk($client, 'GET', "$v2/groups/$project->{id}")->body,
        qr/"tags":\[\]/, 'Go SDK: which has them');
    answers(sdk($client, 'GET', "$o/groups?includeCount=true&itemsPerPage=100&"
        . 'pageNum=1'), 200, $shape->list("$o/groups",
            [ $shape->project('atlas_v2', $project, $org->{id}) ],
            query => 'includeCount=true'), 'Atlas CLI: projects list');
    answers(sdk($client, 'GET', "$v2/orgs?includeCount=true&itemsPerPage=100&"
        . 'name=Clients+%26+fr&pageNum=1'), 200, $shape->list("$v2/orgs",
            [ $shape->org('atlas_v2', $org->{id}, $org->{name}) ],
            query => 'includeCount=true&name=Clients+%26+fr'),
        'Atlas CLI: organizations list --name');

    answers(sdk($client, 'PATCH', "$v2/groups/$project->{id}",
        '{"name":"R\u0026D","tags":[{"key":"env","value":"e2e"},'
        . '{"key":"app","value":"cli"}]}'), 200, project('atlas_v2',
            { %$project, name => 'R&D', labels => [
                { key => 'env', value => 'e2e' },
                { key => 'app', value => 'cli' } ] }),
        'Atlas CLI: projects update --file');
    answers(sdk($client, 'GET', "$v2/groups/$project->{id}/settings"), 200,
        $defaults, 'Atlas CLI: projects settings describe');
    answers(sdk($client, 'PATCH', "$v2/groups/$project->{id}/settings",
        '{"isDataExplorerEnabled":false}'), 200,
        $defaults =~ s/(isDataExplorerEnabled":)true/$1false/r,
        'Atlas CLI: projects settings update --disableDataExplorer');
    answers(sdk($client, 'GET', "$v2/groups/$project->{id}/users"
        . '?flattenTeams=false&includeCount=true&includeOrgUsers=false&'
        . 'itemsPerPage=100&pageNum=1', undef, '2025-02-19'), 200,
        $shape->list("$v2/groups/$project->{id}/users", [], query =>
            'flattenTeams=false&includeCount=true&includeOrgUsers=false'),
        'Atlas CLI: projects users list');
    answers(sdk($client, 'GET', "$v2/groups/$project->{id}/teams"
        . '?includeCount=true&itemsPerPage=100&pageNum=1'), 200,
        $shape->list("$v2/groups/$project->{id}/teams", [],
            query => 'includeCount=true'), 'Atlas CLI: projects teams list');
    answers(sdk($client, 'GET', "$v2/groups/$project->{id}/invites"), 200,
        '[]', 'Atlas CLI: projects invitations list');
    answers(sdk($client, 'GET', "$o/invites"), 200, '[]',
        'Atlas CLI: organizations invitations list');
    answers(sdk($client, 'DELETE', "$v2/groups/$project->{id}"), 202, '{}',
        'Atlas CLI: projects delete');
    refused(sdk($client, 'GET', "$v2/groups/$project->{id}"),
        'GROUP_NOT_FOUND', [ $project->{id} ], 'Atlas CLI: it is gone');
    refused(sdk($client, 'POST', "$v2/orgs",
        '{"apiKey":{"desc":"k","roles":["ORG_OWNER"]},"name":"x",'
        . '"orgOwnerId":"x"}'), 'API_KEY_CANNOT_CREATE_ORG', [],
        'Atlas CLI: organizations create');
}


# Terraform's mongodbatlas_project: create, read, update, delete

{
    my $client = caller_of($org->{key},
        'terraform-provider-mongodbatlas/2.16.0 Terraform/1.9.8');
    my $reads = sub {
        my ($g, $settings, $slow, $title) = @_;

        answers(sdk($client, 'GET', "$g/teams"), 200,
            $shape->list("$g/teams", []), "tf: $title: teams");
        answers(sdk($client, 'GET', "$g/limits"), 200, '[]',
            "tf: $title: limits");
        answers(sdk($client, 'GET', "$g/settings"), 200, $settings,
            "tf: $title: settings");
        answers(sdk($client, 'GET', "$g/ipAddresses"), 200, '{"groupId":"'
            . ($g =~ m{/([0-9a-f]{24})$})[0] . '","services":{"clusters":[]}}',
            "tf: $title: addresses");
        answers(sdk($client, 'GET', "$g/managedSlowMs"), 200, $slow,
            "tf: $title: managedSlowMs");
    };

    # create
    my $res = sdk($client, 'POST', "$v2/groups?projectOwnerId=$nobody",
        '{"clusterCount":0,"created":"0001-01-01T00:00:00Z","name":"tf",'
        . qq("orgId":"$org->{id}","regionUsageRestrictions":"",)
        . '"tags":[{"key":"Owner","value":"Terraform"}],'
        . '"withDefaultAlertsSettings":false}');
    my $project = { %{ $res->json }, alerts => false,
        labels => [ { key => 'Owner', value => 'Terraform' } ] };
    my $g = "$v2/groups/$project->{id}";

    answers($res, 201, project('atlas_v2', $project),
        'tf: create, whose answer has the tags');
    answers(sdk($client, 'GET', "$g/settings"), 200, $defaults,
        'tf: settings, to be changed');

    # it knows ten of them and sends these back
    my $known = '{"isClusterAiAssistantEnabled":true,'
        . '"isCollectDatabaseSpecificsStatisticsEnabled":false,'
        . '"isDataExplorerEnabled":false,'
        . '"isDataExplorerGenAIFeaturesEnabled":true,'
        . '"isDataExplorerGenAISampleDocumentPassingEnabled":false,'
        . '"isExtendedStorageSizesEnabled":true,'
        . '"isNativeRerankingEnabled":false,'
        . '"isPerformanceAdvisorEnabled":false,'
        . '"isRealtimePerformancePanelEnabled":false,'
        . '"isSchemaAdvisorEnabled":false}';
    my $settings = json_text({ %{ JSON::PP->new->decode($defaults) },
        %{ JSON::PP->new->decode($known) } });
    answers(sdk($client, 'PATCH', "$g/settings", $known), 200, $settings,
        'tf: settings of the configuration');
    answers(sdk($client, 'GET', $g), 200, project('atlas_v2', $project),
        'tf: the project that was created');
    no_content(sdk($client, 'DELETE', "$g/managedSlowMs/disable"),
        'tf: slow operation thresholding off');
    $reads->($g, $settings, 'false', 'created');

    # read
    answers(sdk($client, 'GET', $g), 200, project('atlas_v2', $project),
        'tf: read');
    $reads->($g, $settings, 'false', 'read');

    # update
    $project->{name} = 'tf renamed';
    $project->{labels} = [];
    answers(sdk($client, 'PATCH', $g, '{"name":"tf renamed","tags":[]}'), 200,
        project('atlas_v2', $project), 'tf: update');
    answers(sdk($client, 'POST', "$g/teams", '[]'), 200,
        $shape->list("$g/teams", []), 'tf: a block of teams that was emptied');
    no_content(sdk($client, 'POST', "$g/managedSlowMs/enable"),
        'tf: slow operation thresholding on');
    answers(sdk($client, 'GET', $g), 200, project('atlas_v2', $project),
        'tf: the project that was updated');
    $reads->($g, $settings, 'true', 'updated');

    # data sources
    answers(sdk($client, 'GET', "$v2/groups/byName/tf%20renamed"), 200,
        project('atlas_v2', $project), 'tf: data source, by name');
    answers(sdk($client, 'GET', "$g/users?includeCount=true&itemsPerPage=100&"
        . 'pageNum=1', undef, '2025-02-19'), 200, $shape->list("$g/users", [],
            query => 'includeCount=true'), 'tf: data source: users');
    answers(sdk($client, 'GET', "$v2/groups?includeCount=true&itemsPerPage=0&"
        . 'pageNum=0'), 200, $shape->list("$v2/groups",
            [ $shape->project('atlas_v2', $project, $org->{id}) ],
            query => 'includeCount=true'), 'tf: plural data source');

    # delete
    answers(sdk($client, 'GET', "$g/clusters?includeCount=true&"
        . 'itemsPerPage=100&pageNum=1', undef, '2024-08-05'), 200,
        $shape->list("$g/clusters", [], query => 'includeCount=true'),
        'tf: no cluster is in it');
    answers(sdk($client, 'DELETE', $g), 202, '{}', 'tf: delete');
    refused(sdk($client, 'GET', $g), 'GROUP_NOT_FOUND', [ $project->{id} ],
        'tf: it is gone');
}


# the older provider, by the Go client of v1: six settings

{
    my $client = caller_of($org->{key}, 'go-mongodbatlas/0.37.0 (linux;amd64)'
        . ' terraform-provider-mongodbatlas/1.20.0', Accept =>
        'application/json', 'Content-Type' => 'application/json');
    my $res = $client->request('POST', "$v1/groups", '{"name":"tf 1.20",'
        . qq("orgId":"$org->{id}","withDefaultAlertsSettings":true}\n));
    my $project = { %{ $res->json } };
    my $g = "$v1/groups/$project->{id}";
    my $six = '{"isCollectDatabaseSpecificsStatisticsEnabled":true,'
        . '"isDataExplorerEnabled":true,'
        . '"isExtendedStorageSizesEnabled":false,'
        . '"isPerformanceAdvisorEnabled":true,'
        . '"isRealtimePerformancePanelEnabled":true,'
        . '"isSchemaAdvisorEnabled":false}';

    delete $project->{tags};
    answers($res, 201, project('atlas_v1', $project, new => 1),
        'v1 Go client: create');
    sdk($client, 'PATCH', "$v2/groups/$project->{id}/settings",
        '{"isNativeRerankingEnabled":true}');
    answers($client->request('PATCH', "$g/settings", "$six\n"), 200,
        $defaults =~ s/(isSchemaAdvisorEnabled":)true/$1false/r
            =~ s/(isNativeRerankingEnabled":)false/$1true/r,
        'v1 Go client: settings that it does not know stay');
    $project->{name} = 'tf 1.20 renamed';
    answers($client->request('PATCH', $g, qq({"name":"tf 1.20 renamed"}\n)),
        200, project('atlas_v1', $project), 'v1 Go client: update');
    answers($client->request('GET', "$v1/groups/byName/tf%201.20%20renamed"),
        200, project('atlas_v1', $project), 'v1 Go client: by name');
    answers($client->request('GET', "$v1/orgs?includeDeletedOrgs=false&"
        . 'itemsPerPage=500&pageNum=1'), 200, $shape->list("$v1/orgs",
            [ $shape->org('atlas_v1', $org->{id}, $org->{name}) ],
            query => 'includeDeletedOrgs=false',
            page => 'pageNum=1&itemsPerPage=500'),
        'v1 Go client: organizations');
    answers($client->request('DELETE', $g), 202, '{}',
        'v1 Go client: delete');
}


# Terraform's mongodbatlas_organization

{
    my $body = '{"apiKey":{"desc":"tf","roles":["ORG_OWNER"]},"name":"tf org",'
        . qq("orgOwnerId":"$nobody","skipDefaultAlertsSettings":true}\n);
    my $mine = caller_of($org->{key}, 'terraform-provider-mongodbatlas/2.16.0'
        . ' Terraform/1.9.8');

    refused(sdk($mine, 'POST', "$v2/orgs", $body =~ s/\n//r),
        'API_KEY_CANNOT_CREATE_ORG', [], "tf: with the provider's own key");

    # the operator makes it, and the key that comes with it does the rest
    my $json = $f->operator('POST', "$v2/orgs", $body, headers => {
        Accept => 'application/vnd.atlas.2023-01-01+json', 'Content-Type' =>
            'application/vnd.atlas.2023-01-01+json' })->json;
    my $id = $json->{organization}{id};
    my $at = "$v2/orgs/$id";
    my $client = caller_of($json->{apiKey},
        'terraform-provider-mongodbatlas/2.16.0 Terraform/1.9.8');
    my $object = $shape->org('atlas_v2', $id, 'tf org', single => 1,
        skip => 1);
    my $settings = '{"apiAccessListRequired":false,'
        . '"genAIFeaturesEnabled":false,"multiFactorAuthRequired":false,'
        . '"restrictEmployeeAccess":false}';

    is_deeply($json->{organization}, $object, 'tf: POST shows the whole of it');
    answers(sdk($client, 'PATCH', "$at/settings",
        '{"apiAccessListRequired":false,"genAIFeaturesEnabled":false,'
        . '"multiFactorAuthRequired":false,"restrictEmployeeAccess":false,'
        . '"securityContact":""}'), 200, $settings,
        'tf: create, settings with the new key');
    answers(sdk($client, 'GET', $at), 200, $object, 'tf: read');
    answers(sdk($client, 'GET', "$at/settings"), 200, $settings,
        'tf: read, settings');

    $object = $shape->org('atlas_v2', $id, 'tf org 2', single => 1);
    answers(sdk($client, 'PATCH', $at,
        '{"name":"tf org 2","skipDefaultAlertsSettings":false}'), 200,
        $object, 'tf: update');
    answers(sdk($client, 'PATCH', "$at/settings", '{"apiAccessListRequired":'
        . 'false,"genAIFeaturesEnabled":true,"multiFactorAuthRequired":false,'
        . '"restrictEmployeeAccess":false,"securityContact":"a@example.com"}'),
        200, '{"apiAccessListRequired":false,"genAIFeaturesEnabled":true,'
        . '"multiFactorAuthRequired":false,"restrictEmployeeAccess":false,'
        . '"securityContact":"a@example.com"}', 'tf: update, settings');
    answers(sdk($client, 'GET', "$at/users?includeCount=true&itemsPerPage=100&"
        . 'pageNum=1', undef, '2025-02-19'), 200, $shape->list("$at/users", [],
            query => 'includeCount=true'), 'tf: data source: users');
    answers(sdk($client, 'GET', "$v2/orgs?includeCount=true&itemsPerPage=0&"
        . 'name=&pageNum=0'), 200, $shape->list("$v2/orgs",
            [ $shape->org('atlas_v2', $id, 'tf org 2') ],
            query => 'includeCount=true&name='), 'tf: plural data source');

    no_content(sdk($client, 'DELETE', $at), 'tf: delete, with its own key');
    challenged(sdk($client, 'GET', $at), 'tf: which is known no more');
}


# the Atlas operator: by name, and when it is absent POST, or else PATCH

{
    my $client = caller_of($org->{key}, 'MongoDBAtlasKubernetesOperator/2.8.0'
        . ' (linux;amd64)');
    my $by_name = "$v2/groups/byName/ako";

    refused(sdk($client, 'GET', $by_name), 'NOT_IN_GROUP', [],
        'AKO: a project that is absent');
    my $res = sdk($client, 'POST', "$v2/groups", '{"clusterCount":0,"created":'
        . '"0001-01-01T00:00:00Z","name":"ako",'
        . qq("orgId":"$org->{id}","regionUsageRestrictions":"",)
        . '"tags":[],"withDefaultAlertsSettings":true}');
    my $project = { %{ $res->json }, labels => [] };
    my $g = "$v2/groups/$project->{id}";

    answers($res, 201, project('atlas_v2', $project),
        'AKO: POST with tags that are empty');
    answers(sdk($client, 'GET', $by_name), 200, project('atlas_v2', $project),
        'AKO: the project by its name');
    refused(sdk($client, 'POST', "$v2/groups", '{"clusterCount":0,"created":'
        . '"0001-01-01T00:00:00Z","name":"ako",'
        . qq("orgId":"$org->{id}"})), 'GROUP_ALREADY_EXISTS', [ 'ako' ],
        'AKO: POST again');
    $project->{labels} = [ { key => 'a', value => 'b' } ];
    answers(sdk($client, 'PATCH', $g, '{"tags":[{"key":"a","value":"b"}]}'),
        200, project('atlas_v2', $project), 'AKO: PATCH of tags');
    answers(sdk($client, 'GET', $by_name), 200, project('atlas_v2', $project),
        'AKO: which come back');
    answers(sdk($client, 'DELETE', $g), 202, '{}', 'AKO: delete');
    refused(sdk($client, 'GET', $g), 'GROUP_NOT_FOUND', [ $project->{id} ],
        'AKO: until it is not found');
}


# MongoDB's operator for Kubernetes, on Ops Manager: each call first without
# body and credentials, then signed with a count of one digit

sub operator {
    my ($method, $uri, $body) = @_;

    my ($user, $secret) = split /:/, $org->{key}{secret};
    my $client = $f->client;
    my %headers = ('User-Agent' => 'Go-http-client/1.1',
        'Accept-Encoding' => 'gzip', Provider => 'KUBERNETES',
        'Content-Type' => 'application/json; charset=UTF-8');
    my $first = $client->plain($method, $uri, undef, headers => {
        %headers, $method eq 'GET' ? () : ('Content-Length' => 0) });

    challenged($first, "Kubernetes: $method " . $uri =~ s/[0-9a-f]{24}/ID/gr
        . ' without credentials');
    my ($nonce) = ($first->header('www-authenticate'))[0]
        =~ /nonce="([^"]*)"/;
    my $response = md5_hex(join ':', md5_hex("$user:MMS Public API:$secret"),
        $nonce, 1, '0123456789abcdef', 'auth', md5_hex("$method:$uri"));

    return $client->plain($method, $uri, $body, headers => { %headers,
        Authorization => qq(Digest username="$user", )
            . qq(realm="MMS Public API", nonce="$nonce", uri="$uri", )
            . 'cnonce="0123456789abcdef", nc=1, qop=auth, '
            . qq(response="$response", algorithm="MD5") });
}

{
    my $groups = "$om/orgs/$org->{id}/groups";
    my $item = $shape->org('ops_manager', $org->{id}, $org->{name});

    answers(operator('GET', "$om/orgs?name=Clients+%26+friends"), 200,
        $shape->list("$om/orgs", [ $item ],
            query => 'name=Clients+%26+friends'),
        'Kubernetes: the organization by its name');
    answers(operator('GET', "$om/orgs?name=my-project"), 200,
        $shape->list("$om/orgs", [], query => 'name=my-project'),
        'Kubernetes: one that is absent');
    answers(operator('GET', "$om/orgs/$org->{id}"), 200,
        $shape->org('ops_manager', $org->{id}, $org->{name}, single => 1),
        'Kubernetes: the organization');
    answers(operator('GET', "$groups?name=my-project"), 200,
        $shape->list($groups, [], query => 'name=my-project'),
        'Kubernetes: no project of the name');
    refused(operator('POST', "$om/groups", '{"name":"my-project"}'),
        'API_KEY_CREATED_GROUPS_MUST_HAVE_ORG', [],
        'Kubernetes: a project without an organization');

    my $res = operator('POST', "$om/groups",
        qq({"name":"my-project","orgId":"$org->{id}"}));
    my $project = { id => $res->json->{id}, name => 'my-project' };
    my $g = "$om/groups/$project->{id}";

    answers($res, 201, project('ops_manager', $project),
        'Kubernetes: a project');
    answers(operator('GET', "$groups?name=my-project"), 200,
        $shape->list($groups, [ $shape->project('ops_manager', $project,
            $org->{id}) ], query => 'name=my-project'),
        'Kubernetes: the project by its name');

    # it sends back what it decoded of the project, and its tags with it
    $project->{tokens} = [ 'EXTERNALLY_MANAGED_BY_KUBERNETES', 'MY-NAMESPACE' ];
    answers(operator('PATCH', $g, qq({"id":"$project->{id}",)
        . qq("name":"my-project","orgId":"$org->{id}",)
        . '"tags":["EXTERNALLY_MANAGED_BY_KUBERNETES","MY-NAMESPACE"],'
        . '"agentApiKey":"x"}'), 200, project('ops_manager', $project),
        'Kubernetes: tags');
    answers(operator('GET', $g), 200, project('ops_manager', $project),
        'Kubernetes: which are kept');
    answers(operator('GET', "$groups?itemsPerPage=500&pageNum=1"), 200,
        $shape->list($groups, [ $shape->project('ops_manager', $project,
            $org->{id}) ], page => 'pageNum=1&itemsPerPage=500'),
        'Kubernetes: all projects, a page of 500');
    refused(operator('GET', "$g/controlledFeature"), 'RESOURCE_NOT_FOUND',
        [ "$g/controlledFeature" ], 'Kubernetes: deployments are not here');
    answers(operator('DELETE', $g), 200, '{}', 'Kubernetes: its tests delete');
    refused(operator('GET', $g), 'GROUP_NOT_FOUND', [ $project->{id} ],
        'Kubernetes: it is gone');
}


# mongocli, on Ops Manager

{
    my $client = caller_of($org->{key}, 'mongocli/1.31.0 (linux;amd64;)',
        Accept => 'application/json', 'Content-Type' => 'application/json');
    my $orgs = $shape->list("$om/orgs", [ $shape->org('ops_manager',
        $org->{id}, $org->{name}) ], query => 'includeDeletedOrgs=false');

    answers($client->request('GET', "$om/orgs?includeDeletedOrgs=false&"
        . 'itemsPerPage=100&pageNum=1'), 200, $orgs,
        'mongocli: iam organizations list');
    refused($client->request('POST', "$om/orgs", qq({"name":"x"}\n)),
        'API_KEY_CANNOT_CREATE_ORG', [], 'mongocli: iam organizations create');

    my $res = $client->request('POST', "$om/groups",
        qq({"name":"mongocli","orgId":"$org->{id}"}\n));
    my $project = { id => $res->json->{id}, name => 'mongocli' };
    my $g = "$om/groups/$project->{id}";

    answers($res, 201, project('ops_manager', $project),
        'mongocli: iam projects create');
    answers($client->request('GET', "$om/orgs/$org->{id}/groups?itemsPerPage="
        . '100&pageNum=1'), 200, $shape->list("$om/orgs/$org->{id}/groups",
            [ $shape->project('ops_manager', $project, $org->{id}) ]),
        'mongocli: iam projects list --orgId');
    answers($client->request('GET', "$g/users?itemsPerPage=100&pageNum=1"),
        200, $shape->list("$g/users", []), 'mongocli: iam projects users list');
    answers($client->request('GET', "$g/teams"), 200,
        $shape->list("$g/teams", []), 'mongocli: iam projects teams list');
    answers($client->request('GET', "$om/orgs/$org->{id}/users"), 200,
        $shape->list("$om/orgs/$org->{id}/users", []),
        'mongocli: iam organizations users list');
    refused($client->request('DELETE', "$om/orgs/$org->{id}"),
        'ORG_NOT_EMPTY', [], 'mongocli: iam organizations delete');
    answers($client->request('DELETE', $g), 200, '{}',
        'mongocli: iam projects delete');
    no_content($client->request('DELETE', "$om/orgs/$org->{id}"),
        'mongocli: iam organizations delete, when it is empty');
    challenged($client->request('GET', "$om/orgs"),
        'mongocli: whose key is known no more');
}

done_testing;
