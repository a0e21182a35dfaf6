# What a request is refused for when several things are wrong at once; and
# each of the earlier reasons by itself: routes, methods, media types.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Expect;
use ApiKeys::Fixture ();
use Test::More;

my $v2_type = 'application/vnd.atlas.2023-01-01+json';
my $f = ApiKeys::Fixture->new(api => 'client_max_body_size 1k;');
my %base = %ApiKeys::Fixture::BASE;
my $org = $f->org;
my $owner = $org->{client};
my $member = $f->key($org, 'ORG_MEMBER');
my $project = $f->project($org);
my $nobody = '0123456789abcdef01234567';

# a key whose list keeps its owner out
my $shut = $f->key($org, 'ORG_OWNER');
$owner->request('POST', "$org->{path}/apiKeys/$shut->{id}/accessList",
    [ { ipAddress => '192.0.2.1' } ])->code == 200 or die;


# order (decision 25): the first row has everything wrong, each further one
# mends what the one before was refused for

for my $name (sort keys %base) {
    my $base = $base{$name};
    my $v2 = $name eq 'atlas_v2';
    my %accept = (Accept => $v2 ? $v2_type : '*/*');
    my %type = ('Content-Type' => 'application/json');
    my $bad = "/orgs/X/apiKeys/$nobody";
    my $gone = "/orgs/$nobody/apiKeys/$nobody";
    my $path = "/orgs/$org->{id}/apiKeys/$nobody";
    my $found = "/orgs/$org->{id}/apiKeys/$member->{id}";
    my $huge = 'x' x 1025;
    my $wrong = $f->client(key => "$org->{key}{publicKey}:wrong");
    my $m = $member->{client};

    for my $case (
        [ $wrong, 'PUT', '/nosuch?pretty=x', $huge, { Accept => 'x/y' },
            'REQUEST_TOO_LARGE', [] ],
        [ $wrong, 'PUT', '/nosuch?pretty=x', '{', { Accept => 'x/y' }, 401 ],
        [ $shut->{client}, 'PUT', '/nosuch?pretty=x', '{',
            { Accept => 'x/y' }, 'IP_ADDRESS_NOT_ON_ACCESS_LIST',
            [ '127.0.0.1' ] ],
        [ $m, 'PUT', '/nosuch?pretty=x', '{', { Accept => 'x/y' },
            'RESOURCE_NOT_FOUND', [ "$base/nosuch" ] ],
        [ $m, 'PUT', "$bad?pretty=x", '{', { Accept => 'x/y' },
            'METHOD_NOT_ALLOWED', [ 'PUT' ] ],
        !$v2 ? () : [ $m, 'PATCH', "$bad?pretty=x", '{',
            { Accept => 'x/y', 'Content-Type' => 'text/plain' },
            'NOT_ACCEPTABLE', [] ],
        [ $m, 'PATCH', "$bad?pretty=x", '{',
            { %accept, 'Content-Type' => 'text/plain' },
            'UNSUPPORTED_MEDIA_TYPE', [ 'text/plain' ] ],
        [ $m, 'PATCH', "$bad?pretty=x", '{', { %accept, %type },
            'PATH_PARAM_PARSE_ERROR', [ "$base$bad" ] ],
        [ $m, 'PATCH', "$gone?pretty=x", '{', { %accept, %type },
            'INVALID_QUERY_PARAMETER', [ 'pretty' ] ],
        [ $m, 'PATCH', $gone, '{', { %accept, %type }, 'ORG_NOT_FOUND',
            [ $nobody ] ],
        [ $m, 'PATCH', $path, '{', { %accept, %type }, 'USER_UNAUTHORIZED',
            [] ],
        [ $owner, 'PATCH', $path, '{', { %accept, %type },
            'API_KEY_NOT_FOUND', [ $nobody ] ],
        [ $owner, 'PATCH', $found, '{', { %accept, %type }, 'MALFORMED_JSON',
            [] ],

        # a parent that is a project, an address in the path, then the state
        [ $m, 'PATCH', "/groups/$nobody/apiKeys/$nobody", '{',
            { %accept, %type }, 'GROUP_NOT_FOUND', [ $nobody ] ],
        [ $m, 'PATCH', "/groups/$project->{id}/apiKeys/$nobody", '{',
            { %accept, %type }, 'USER_UNAUTHORIZED', [] ],
        [ $m, 'GET', "$gone/accessList/10?pretty=x", undef, { %accept },
            'INVALID_IP_ADDRESS_OR_CIDR_NOTATION', [ '10' ] ],
        [ $m, 'GET', "$gone/accessList/10.0.0.1?pretty=x", undef,
            { %accept }, 'INVALID_QUERY_PARAMETER', [ 'pretty' ] ],
        [ $owner, 'GET', "$path/accessList/10.0.0.1", undef, { %accept },
            'API_KEY_NOT_FOUND', [ $nobody ] ],
        [ $owner, 'GET', "$found/accessList/10.0.0.1", undef, { %accept },
            'API_KEY_ACCESS_LIST_NOT_FOUND',
            [ '10.0.0.1', $member->{id} ] ])
    {
        my ($client, $method, $path, $body, $headers, $code, $params) = @$case;
        my $title = "$name: $method $path: $code";

        # authenticated by then, so that the body goes with the request
        $client->request('GET', "$base/") if !$client->{challenge};
        my $res = $client->request($method, "$base$path", $body,
            headers => $headers);

        if ($code eq '401') {
            challenged($res, $title);

        } else {
            refused($res, $code, $params, $title);
        }
    }
}

# pages come after the path and before the parent
refused($owner->request('GET',
    "$base{atlas_v1}/orgs/$nobody/apiKeys?pageNum=-1"),
    'INVALID_QUERY_PARAMETER', [ 'pageNum' ], 'a bad page of no organisation');


# routes

for my $name (sort keys %base) {
    my $base = $base{$name};
    my %h = (headers => { Accept => $v2_type });

    for my $path ('/nosuch', '/org', '/orgsx', '/orgs/x/y',
        "/orgs/$org->{id}/apikeys", "/orgs/$org->{id}/user",
        "/orgs/$org->{id}/users/$nobody",
        "/orgs/$org->{id}/aiModelApiKeys",
        "/orgs/$org->{id}/serviceAccounts",
        "/orgs/$org->{id}/apiKeys/$member->{id}/x",
        "/orgs/$org->{id}/apiKeys/$member->{id}/accessLists",
        "/orgs/$org->{id}/apiKeys/$member->{id}/accessList/1.2.3.4/5/6",
        "/groups/$project->{id}/user", "/groups/$project->{id}/apiKeys/a/b",
        "/groups/$project->{id}/aiModelApiKeys",
        "/groups/$project->{id}/serviceAccounts",
        "/groups/$project->{id}/limits/x", '/groups/byName/a/b',
        "/users/$nobody", '/admin/users', '/unauth/users',
        "/ORGS/$org->{id}", '/x' x 300)
    {
        refused($owner->request('GET', "$base$path", undef, %h),
            'RESOURCE_NOT_FOUND', [ "$base$path" ],
            "$name: no resource " . substr $path, 0, 60);
    }
    for my $list (qw( accesslist ACCESSLIST accessList )) {
        is($owner->request('GET', "$base/orgs/$org->{id}/apiKeys/$member->{id}"
            . "/$list", undef, %h)->code, 200, "$name: $list is a resource");
    }
    for my $list (qw( whitelist whiteList )) {
        my $uri = "$base/orgs/$org->{id}/apiKeys/$member->{id}/$list";
        my $res = $owner->request('GET', $uri, undef, %h);

        if ($name eq 'atlas_v2') {
            refused($res, 'RESOURCE_NOT_FOUND', [ $uri ], "$name: no $list");

        } else {
            is($res->code, 200, "$name: $list is a resource");
        }
    }
    is($owner->request('GET', "$base$_", undef, %h)->code, 200,
        "$name: the root resource at '$_'") for '', '/', '?', '/?a=b', '//';
    refused($owner->request('GET', "${base}x", undef, %h),
        'RESOURCE_NOT_FOUND', [ "${base}x" ], "$name: ${base}x is none");
}


# methods

for my $case (
    [ '/', 'GET, HEAD' ],
    [ '/orgs', 'GET, HEAD, POST' ],
    [ "/orgs/$org->{id}", 'GET, HEAD, PATCH, DELETE' ],
    [ "/orgs/$org->{id}/settings", 'GET, HEAD, PATCH' ],
    [ "/orgs/$org->{id}/groups", 'GET, HEAD' ],
    [ "/orgs/$org->{id}/apiKeys", 'GET, HEAD, POST' ],
    [ "/orgs/$org->{id}/apiKeys/$member->{id}", 'GET, HEAD, PATCH, DELETE' ],
    [ "/orgs/$org->{id}/apiKeys/$member->{id}/accessList", 'GET, HEAD, POST' ],
    [ "/orgs/$org->{id}/apiKeys/$member->{id}/accessList/10.0.0.1",
        'GET, HEAD, DELETE' ],
    [ '/groups', 'GET, HEAD, POST' ],
    [ "/orgs/$org->{id}/users", 'GET, HEAD' ],
    [ "/orgs/$org->{id}/teams", 'GET, HEAD' ],
    [ "/orgs/$org->{id}/invites", 'GET, HEAD' ],
    [ "/groups/$project->{id}", 'GET, HEAD, PATCH, DELETE' ],
    [ '/groups/byName/x', 'GET, HEAD' ],
    [ "/groups/$project->{id}/settings", 'GET, HEAD, PATCH' ],
    [ "/groups/$project->{id}/users", 'GET, HEAD' ],
    [ "/groups/$project->{id}/clusters", 'GET, HEAD' ],
    [ "/groups/$project->{id}/teams", 'GET, HEAD, POST' ],
    [ "/groups/$project->{id}/teams/$nobody", 'PATCH, DELETE' ],
    [ "/groups/$project->{id}/invites", 'GET, HEAD' ],
    [ "/groups/$project->{id}/limits", 'GET, HEAD' ],
    [ "/groups/$project->{id}/ipAddresses", 'GET, HEAD' ],
    [ "/groups/$project->{id}/managedSlowMs", 'GET, HEAD' ],
    [ "/groups/$project->{id}/managedSlowMs/enable", 'POST' ],
    [ "/groups/$project->{id}/managedSlowMs/disable", 'DELETE' ],
    [ "/groups/$project->{id}/apiKeys", 'GET, HEAD, POST' ],
    [ "/groups/$project->{id}/apiKeys/$member->{id}",
        'POST, PATCH, DELETE' ])
{
    my ($path, $allow) = @$case;
    my %allowed = map { $_ => 1 } split /, /, $allow;
    my $shown = $path =~ s/[0-9a-f]{24}/ID/gr;

    for my $method (qw( GET POST PATCH DELETE PUT OPTIONS PROPFIND NOSUCH )) {
        next if $allowed{$method};
        my $res = $owner->request($method, "$base{atlas_v1}$path");

        refused($res, 'METHOD_NOT_ALLOWED', [ $method ], "$method $shown");
        is($res->header('allow'), $allow, "$method $shown: Allow");
    }
}
for my $path ('/', "/orgs/$org->{id}/apiKeys", '/nosuch') {
    my $get = $owner->request('GET', "$base{atlas_v1}$path");
    my $head = $owner->request('HEAD', "$base{atlas_v1}$path");

    is_deeply([ $head->code, map { scalar $head->header($_) }
            qw( content-type content-length x-error-code ) ],
        [ $get->code, map { scalar $get->header($_) }
            qw( content-type content-length x-error-code ) ],
        "HEAD $path is GET");
    is($owner->request('GET', "$base{atlas_v1}/")->code, 200,
        'and has no body that would be taken for an answer');
}
challenged($f->client->request('HEAD', "$base{atlas_v1}/"),
    'HEAD is challenged', head => 1);

# what v2 wants to be accepted (decision 29)

my $get = "$base{atlas_v2}/orgs/$org->{id}";

for my $accept (
    $v2_type, 'application/vnd.atlas.2025-03-12+json',
    'application/vnd.atlas.2023-02-01+json',
    'application/vnd.atlas.2024-02-29+json',
    'application/vnd.atlas.2400-02-29+json',
    'application/vnd.atlas.9999-12-31+json',
    "$v2_type;q=0.5", "$v2_type; charset=utf-8", " $v2_type ",
    "text/html, $v2_type", "*/*, $v2_type;q=0.1", "$v2_type, text/html",
    'APPLICATION/VND.ATLAS.2023-01-01+JSON',
    'application/vnd.atlas.2022-01-01+json,' . $v2_type,
    "application/vnd.atlas.2025-03-12+json;q=0, $v2_type",
    "$v2_type;q=1.000", "$v2_type ;q=0.001", ",$v2_type,")
{
    my $res = $owner->request('GET', $get, undef,
        headers => { Accept => $accept });
    is($res->code . ' ' . $res->header('content-type'),
        "200 $v2_type;charset=utf-8", "accepted: $accept");
}
for my $accept (undef, '', '*/*', 'application/*', 'application/json',
    'application/vnd.atlas.preview+json', 'application/vnd.atlas.+json',
    'application/vnd.atlas+json', 'application/vnd.atlas.2023-01-01',
    'application/vnd.atlas.2023-01-01+yaml',
    'application/vnd.atlas.2023-01-01+jsonx',
    'xapplication/vnd.atlas.2023-01-01+json',
    'application/vnd.atlas.2022-12-31+json',
    'application/vnd.atlas.2023-02-29+json',
    'application/vnd.atlas.2100-02-29+json',
    'application/vnd.atlas.2023-13-01+json',
    'application/vnd.atlas.2023-00-01+json',
    'application/vnd.atlas.2023-01-00+json',
    'application/vnd.atlas.2023-04-31+json',
    'application/vnd.atlas.2023-1-1+json',
    'application/vnd.atlas.20230101+json',
    'application/vnd.atlas.2023-01-01.1+json',
    'application/vnd.atlas.12023-01-01+json',
    "$v2_type;q=0", "$v2_type;q=0.000", "$v2_type; q=0", "$v2_type;Q=0.0",
    "$v2_type;a=b;q=0", 'application/vnd.atlas.2023-01-01 +json')
{
    my $res = $owner->request('GET', $get, undef,
        headers => { Accept => $accept });
    refused($res, 'NOT_ACCEPTABLE', [], 'not acceptable: '
        . ($accept // 'nothing'));
}
{
    my $res = $owner->request('GET', $get, undef,
        headers => { Accept => [ 'text/html', $v2_type ] });
    is($res->code, 200, 'two Accept headers are one list');
}
is($owner->request('GET', "$base{atlas_v2}/", undef,
    headers => { Accept => $_ })->code, 200,
    'the root resource has no version: ' . ($_ // 'nothing'))
    for undef, '*/*', 'application/json', $v2_type;
is($owner->request('GET', "$base{$_}/orgs", undef,
    headers => { Accept => 'image/png' })->code, 200,
    "$_ does not mind") for qw( atlas_v1 ops_manager );

# and what the others answer with
is($owner->request('GET', "$base{$_}/orgs")->header('content-type'),
    'application/json', "$_: plain JSON") for qw( atlas_v1 ops_manager );


# types of bodies (decision 28)

for my $name (sort keys %base) {
    my $uri = "$base{$name}/orgs/$org->{id}/apiKeys/$member->{id}";

    for my $type (undef, 'application/json',
        'application/json; charset=utf-8', 'APPLICATION/JSON',
        $v2_type, 'application/vnd.atlas.2024-08-05+json;x=y',
        'application/json ;charset=latin1')
    {
        is($owner->request('PATCH', $uri, '{"desc":"x"}', headers =>
            { Accept => $v2_type, 'Content-Type' => $type })->code, 200,
            "$name: a body of " . ($type // 'no type'));
    }
    for my $type ('text/plain', 'application/xml', 'application/jsonx',
        'application/json-patch+json', 'application/x-www-form-urlencoded',
        'multipart/form-data; boundary=a', 'json', ';', ' ')
    {
        my $res = $owner->request('PATCH', $uri, '{"desc":"y"}', headers =>
            { Accept => $v2_type, 'Content-Type' => $type });
        refused($res, 'UNSUPPORTED_MEDIA_TYPE', [ $type =~ s/^\s+//r ],
            "$name: no body of $type");
        like($res->json->{detail}, qr{application/json},
            'which says what to send');
    }
    is($owner->request('GET', $uri, undef, headers =>
        { Accept => $v2_type, 'Content-Type' => 'text/plain' })->code, 200,
        "$name: a request that takes no body does not mind");
}

done_testing;
