# docs/openapi.yaml says what is served, and nothing else.  Four tools of other
# people's hold the one against the other: redocly's linter; its "respect",
# which takes a key through its life on each base; prism between clients and
# the server, which lets nothing pass that the document does not have; and
# specmatic, which makes up requests from it, right ones and wrong ones.

use strict;
use warnings;

use JSON::PP ();
use Test::More;

use ApiKeys::Fixture ();
use ApiKeys::OpenApi;

my @bases = ('/api/atlas/v1.0', '/api/atlas/v2', '/api/public/v1.0');

%with = (document => 'docs/openapi.yaml', flows => 't/arazzo/keys.arazzo.yaml',
    bases => [ sort keys %ApiKeys::Fixture::BASE ],
    silent => [ qw( API_KEY_ALREADY_EXISTS API_KEY_SECRET_NOT_FOUND
        CANNOT_DELETE_LAST_API_KEY_SECRET MAX_API_KEY_SECRETS_EXCEEDED ) ]);

# "byName" is no project, and where there are no teams, calls are only refused
lint(qw( no-ambiguous-paths operation-2xx-response ));

my $f = ApiKeys::Fixture->new(workers => 2, server => <<'END_OF_CONF');
        location = /api/private/ipinfo {
            default_type application/json;
            return 200 '{"currentIpv4Address":"$remote_addr"}';
        }

        location = /api/private/unauth/version {
            add_header X-MongoDB-Service-Version
                       "gitHash=0; versionString=6.0.10";
            return 200 "";
        }
END_OF_CONF
my $org = $f->org;
my $project = $f->project($org);

@with{qw( fixture org project )} = ($f, $org, $project);

respect(3);

my $doc = bundle();

codes();
routes();
prism(sub {
    flow($_) for @bases;
    global_keys();
    flow_of_curl($_) for @bases;

    for my $path ('/api/private/ipinfo', '/api/private/unauth/version') {
        call(client(), 'GET', $path, undef, 200);
    }
});
specmatic(for_generation($doc), 500);

done_testing;


# every operation of a base, and the errors that a client may well run into
sub flow {
    my ($base) = @_;

    my $v2 = $base =~ /v2$/;
    my $om = $base =~ /public/;
    my $gone = $v2 ? 404 : 400;
    my $nobody = '0123456789abcdef01234567';
    my $owner = client();
    my $operator = client(token => $f->token);
    my $o = "$base/orgs/$org->{id}";
    my $g = "$base/groups/$project->{id}";

    call(client(key => undef), 'GET', "$o/apiKeys", undef, 401);
    call($owner, 'GET', $base, undef, 200);
    call($operator, 'GET', $base, undef, 200);
    call($owner, 'GET', "$base/orgs?envelope=true", undef, 200);
    call($owner, 'GET', $o, undef, 200);
    call($owner, 'GET', "$base/orgs/$nobody", undef, 404);
    call($owner, 'GET', "$o/settings?envelope=true", undef, 200);
    call($owner, 'PATCH', "$o/settings",
        { apiAccessListRequired => JSON::PP::false,
          genAIFeaturesEnabled => JSON::PP::true, securityContact => '' },
        200);
    call($operator, 'POST', "$base/orgs", { name => 'of the flow',
        apiKey => { desc => 'first', roles => ['ORG_OWNER'] } }, 201);
    my $empty = call($operator, 'POST', "$base/orgs?envelope=true",
        { name => 'without a key', skipDefaultAlertsSettings =>
          JSON::PP::true }, 201)->{content};
    $empty = $empty->{organization} || $empty;
    call($owner, 'POST', "$base/orgs", { name => 'not mine to make' },
        $om ? 401 : 403);
    call($owner, 'GET', "$base/orgs?name=%25", undef, 200);
    call($owner, 'PATCH', $o, { name => 'renamed' }, 200);
    call($owner, 'PATCH', "$o?envelope=true", { name => 'renamed' }, 200);
    call($owner, 'PATCH', $o, {}, 200) if !$v2;
    call($owner, 'PATCH', $o, { name => "\n" }, 400);
    call($owner, 'DELETE', $o, undef, 409);
    call($operator, 'DELETE', "$base/orgs/$empty->{id}", undef, 204);
    call($operator, 'DELETE', "$base/orgs/$empty->{id}", undef, 404);

    my $new = call($owner, 'POST', "$base/groups",
        { name => 'of the flow', orgId => $org->{id} }, 201);
    call($owner, 'POST', "$base/groups",
        { name => 'of the flow', orgId => $org->{id} }, 409);
    $f->db->psql("SELECT apikeys.set_quota('$org->{id}', p_projects => 1)");
    call($owner, 'POST', "$base/groups",
        { name => 'beyond the quota', orgId => $org->{id} }, 409);
    $f->db->psql("SELECT apikeys.set_quota('$org->{id}', p_projects => 1000)");
    call($owner, 'GET', "$base/groups/$new->{id}", undef, 200);
    call($owner, 'GET', "$base/groups?itemsPerPage=1&pageNum=2", undef, 200);
    call($owner, 'GET', "$base/groups?itemsPerPage=0&pageNum=0", undef, 200);
    call($owner, 'GET', "$o/groups?name=OF", undef, 200);
    projects($base, $owner, $operator, $new);
    companions($base, $owner, $o, $g);
    events($base, $owner, $o, $g);
    call($owner, 'GET', "$o/groups?includeCount=false", undef, 200);
    call($owner, 'GET', "$base/groups/$nobody", undef, 404);

    my $key = call($owner, 'POST', "$o/apiKeys",
        { desc => "\x{fc}ber 250 ist zu viel", roles => ['ORG_MEMBER'] }, 200);
    my $k = "$o/apiKeys/$key->{id}";
    my $other = client(key => "$key->{publicKey}:$key->{privateKey}");

    call($owner, 'GET', "$o/apiKeys?envelope=true&itemsPerPage=1", undef,
        200);
    call($owner, 'GET', $k, undef, 200);
    call($other, 'GET', "$k?envelope=true&pretty=true", undef, 200);
    call($owner, 'GET', "$o/apiKeys/$nobody", undef, $gone);
    call($owner, 'GET', "$o/apiKeys/$nobody?envelope=true", undef, $gone);
    call($owner, 'PATCH', $k, { desc => 'changed' }, 200);
    call($owner, 'PATCH', $k, { roles => ['ORG_READ_ONLY'] }, 200,
        headers => { Prefer => 'wait=10' });
    call($owner, 'PATCH', $k, { desc => 'at once' }, qr/^20[02]$/,
        headers => { Prefer => 'wait=0' });
    call($owner, 'PATCH', "$o/apiKeys/$org->{key}{id}",
        { roles => ['ORG_MEMBER'] }, 403);
    call($owner, 'DELETE', "$o/apiKeys/$org->{key}{id}", undef, 403);
    call($other, 'POST', "$o/apiKeys",
        { desc => 'x', roles => ['ORG_MEMBER'] }, 401);

    for my $list ("$k/accessList", $v2 ? () : "$k/whitelist") {
        call($owner, 'GET', $list, undef, 200);
        call($owner, 'POST', $list, [ { ipAddress => '192.0.2.7' },
            { cidrBlock => '198.51.100.0/24' }, { ipAddress => '127.0.0.1' },
            { cidrBlock => '2001:db8::/32' } ], 200);
        call($owner, 'POST', $list, [ { ipAddress => '192.0.2.7' } ], 409);
        call($owner, 'POST', $list, [ { cidrBlock => '0.0.0.0/0' } ], 400);
        call($other, 'GET', "$list?pageNum=2&itemsPerPage=2", undef, 200);
        call($other, 'DELETE', "$list/127.0.0.1", undef, 400);
        call($owner, 'GET', "$list/192.0.2.7", undef, 200);
        call($owner, 'GET', "$list/198.51.100.0%2F24?envelope=true", undef,
            200);
        call($owner, 'GET', "$list/2001:db8::%2F32", undef, 200);
        call($owner, 'GET', "$list/192.0.2.8", undef, 404);
        call($owner, 'GET', "$list/nowhere", undef, 400);
        call($owner, 'DELETE', "$list/192.0.2.7", undef, 204);
        call($owner, 'DELETE', "$list/192.0.2.7", undef, 404);
        call($owner, 'DELETE', "$list/$_", undef, 204)
            for '198.51.100.0%2F24', '127.0.0.1', '2001:db8::%2F32';
    }

    # a list that leaves its own key outside
    call($owner, 'POST', "$k/accessList", [ { ipAddress => '192.0.2.7' } ],
        200);
    call($other, 'GET', $k, undef, 403);

    call($owner, 'POST', "$g/apiKeys/$key->{id}",
        [ { roles => ['GROUP_READ_ONLY'] } ], 204);
    call($owner, 'POST', "$g/apiKeys/$key->{id}",
        { roles => ['GROUP_OWNER'] }, 400);
    call($owner, 'PATCH', "$g/apiKeys/$key->{id}",
        { roles => [ 'GROUP_OWNER', 'GROUP_READ_ONLY' ] }, 200);
    call($owner, 'GET', "$g/apiKeys", undef, 200);
    call($owner, 'DELETE', "$g/apiKeys/$key->{id}", undef, 204);
    call($owner, 'DELETE', "$g/apiKeys/$key->{id}", undef, $v2 ? 404 : 204);
    call($owner, 'DELETE', "$g/apiKeys/$nobody", undef, $gone);

    my $third = call($owner, 'POST', "$g/apiKeys?envelope=true",
        { desc => 'third', roles => ['GROUP_READ_ONLY'] }, 200)->{content};
    call($owner, 'DELETE', "$o/apiKeys/$_", undef, 204)
        for $key->{id}, $third->{id};

    # a version that there is none of, and what is no JSON
    call($owner, 'GET', "$o/apiKeys", undef, 406,
        headers => { Accept => 'application/json' }) if $v2;
}


# a project that is changed until it goes
sub projects {
    my ($base, $owner, $operator, $project) = @_;

    my $g = "$base/groups/$project->{id}";
    my $om = $base =~ /public/;
    my @tags = $om ? ('STAGING', 'web.shop')
        : map { { key => $_, value => "\x{e4}" } } 'b', 'a';

    call($owner, 'PATCH', $g, { name => 'of the other flow' }, 200);
    call($owner, 'PATCH', "$g?envelope=true", { tags => \@tags }, 200);
    call($owner, 'GET', $g, undef, 200);
    call($owner, 'GET', "$base/groups", undef, 200);
    call($owner, 'PATCH', $g, { name => $project->{name} }, 200,
        headers => { Prefer => 'wait=10' });
    call($owner, 'PATCH', $g, { tags => [] }, 200);
    call($owner, 'PATCH', $g, { name => "\n" }, 400);
    call($owner, 'GET', "$base/groups/byName/of%20the%20flow", undef, 200);
    call($owner, 'GET', "$base/groups/byName/nothing?envelope=true", undef,
        $om ? 404 : 401);

    my $other = call($operator, 'POST', "$base/orgs", { name => 'x' }, 201);
    $other = $other->{organization} || $other;
    my $same = call($operator, 'POST', "$base/groups?envelope=true",
        { name => 'of the flow', orgId => $other->{id}, tags => \@tags },
        201)->{content};
    call($operator, 'GET', "$base/groups/byName/of%20the%20flow", undef, 409);
    call($operator, 'DELETE', "$base/groups/$same->{id}?envelope=true",
        undef, $om ? 200 : 202);

    call($owner, 'PATCH', $g, { id => $other->{id} }, $om ? 400 : 200)
        if $base !~ /v2$/;
    call($owner, 'PATCH', $g, { %$project, name => 'sent back' }, 200)
        if $base !~ /v2$/;
    call($owner, 'PATCH', $g, { tags => [ @tags, @tags ] }, 400) if !$om;

    call($owner, 'DELETE', $g, undef, $om ? 200 : 202);
    call($owner, 'DELETE', $g, undef, 404);
}


# what clients ask for around the keys
sub companions {
    my ($base, $owner, $o, $g) = @_;

    call($owner, 'GET', "$_?pageNum=2&username=x", undef, 200)
        for map({ "$o/$_" } 'users', 'teams'),
            map({ "$g/$_" } 'users', 'teams');
    call($owner, 'GET', $_, undef, 200),
        call($owner, 'GET', "$_?envelope=true", undef, 200)
        for "$o/invites", "$g/invites";

    call($owner, 'POST', "$g/teams?envelope=true", [], 200);
    call($owner, 'POST', "$g/teams", [ { teamId => '0' x 24,
        roleNames => ['GROUP_OWNER'] } ], 404);
    call($owner, 'PATCH', "$g/teams/x", { roleNames => [] }, 404);
    call($owner, 'DELETE', "$g/teams/x", undef, 404);
    return if $base =~ /public/;

    for my $path ('settings', 'limits', 'ipAddresses', 'managedSlowMs',
        'clusters')
    {
        call($owner, 'GET', "$g/$path", undef, 200);
        call($owner, 'GET', "$g/$path?envelope=true", undef, 200);
    }
    call($owner, 'PATCH', "$g/settings",
        { isDataExplorerEnabled => JSON::PP::false }, 200);
    call($owner, 'PATCH', "$g/settings", {}, 200,
        headers => { Prefer => 'wait=10' });
    call($owner, 'DELETE', "$g/managedSlowMs/disable", undef, 204);
    call($owner, 'POST', "$g/managedSlowMs/enable", undef, 204);
}


# what the flow did so far, and in the project before it
sub events {
    my ($base, $owner, $o, $g) = @_;

    my $nobody = '0123456789abcdef01234567';

    for my $parent ($o, $g) {
        my $list = "$parent/events";
        my $event = call($owner, 'GET', "$list?envelope=true&includeRaw=true",
            undef, 200)->{results}[0];
        my $date = $event->{created} =~ s/:/%3A/gr;

        call($owner, 'GET', "$list/$event->{id}?includeRaw=true", undef, 200);
        call($owner, 'GET', "$list/$event->{id}?envelope=true", undef, 200);
        call($owner, 'GET', "$list/$nobody", undef, 404);
        call($owner, 'GET', "$list?$_", undef, 200) for
            "minDate=$date&maxDate=$date&includeCount=false",
            'eventType=API_KEY_CREATED&eventType=NO_SUCH&itemsPerPage=1',
            'excludedEventType=GROUP_CREATED&clusterNames=x';
        call($owner, 'GET', "$list?$_", undef, 400) for 'minDate=tomorrow',
            'minDate=2026-01-02&maxDate=2026-01-01';
    }
    call($owner, 'GET', "$base/eventTypes?itemsPerPage=2", undef, 200)
        if $base =~ /v2$/;
}


# keys without an organization, and their list by both of its names
sub global_keys {
    my $base = '/api/public/v1.0';
    my $admin = "$base/admin";
    my $operator = client(token => $f->token);
    my $nobody = '0123456789abcdef01234567';
    my $new = call($operator, 'POST', "$admin/apiKeys", { desc => 'global',
        roles => ['GLOBAL_OWNER'] }, 200);
    my $k = "$admin/apiKeys/$new->{id}";
    my $owner = client(key => "$new->{publicKey}:$new->{privateKey}");

    call(client(), 'GET', "$admin/apiKeys", undef, 401);
    call($owner, 'GET', "$admin/apiKeys?envelope=true", undef, 200);
    call($owner, 'GET', "$admin/apiKeys/roles", undef, 200);
    call($owner, 'GET', "$admin/apiKeys/roles?envelope=true", undef, 200);
    call($owner, 'GET', $k, undef, 200);
    call($owner, 'GET', "$admin/apiKeys/$nobody", undef, 400);
    call($owner, 'PATCH', "$k?envelope=true", { desc => 'changed' }, 200);
    call($owner, 'PATCH', $k, { roles => [ 'GLOBAL_OWNER',
        'GLOBAL_BILLING_ADMIN' ] }, 200, headers => { Prefer => 'wait=10' });
    call($owner, 'GET', $_, undef, 200), call($owner, 'GET', "$_/orgs",
        undef, 200) for @bases;

    for my $list ("$admin/accessList", "$admin/whitelist") {
        my $entry = call($owner, 'POST', $list, { cidrBlock => '127.0.0.0/8',
            description => 'this host' }, 200);
        my $other = call($owner, 'POST', "$list?envelope=true",
            { cidrBlock => '2001:db8::/32', description => 'the other' },
            200)->{content};
        my $e = "$list/$other->{id}";

        call($owner, 'POST', $list, { cidrBlock => '127.0.0.0/8',
            description => 'twice' }, 400);
        call($owner, 'POST', $list, { cidrBlock => $_,
            description => 'wrong' }, 400) for '127.0.0.1', '0.0.0.0/0';
        call($owner, 'GET', $list, undef, 200);
        call($owner, 'GET', "$list?itemsPerPage=1&envelope=true", undef, 200);
        call($owner, 'GET', $base, undef, 200);
        call($owner, 'GET', $e, undef, 200);
        call($owner, 'GET', "$list/$nobody", undef, 404);
        call($owner, 'PATCH', $e, { description => 'changed' }, 200);
        call($owner, 'PATCH', $e, { description => undef }, 400);
        call($owner, 'PATCH', "$list/$entry->{id}",
            { cidrBlock => '192.0.2.0/24' }, 200);
        call($owner, 'GET', $_, undef, 403) for @bases;
        call($operator, 'DELETE', "$list/$_", undef, 204)
            for $entry->{id}, $other->{id};
        call($operator, 'DELETE', $e, undef, 404);
    }

    # any global role signs in
    call($operator, 'PATCH', $k, { roles => ['GLOBAL_USER_ADMIN'] }, 200);
    for my $base (@bases) {
        call($owner, 'GET', $base, undef, 200);
        call($owner, 'GET', "$base/$_", undef, 401) for 'orgs', 'groups',
            "orgs/$org->{id}", "orgs/$org->{id}/groups", 'groups/byName/x';
        call($owner, 'POST', "$base/orgs", { name => 'x' },
            $base =~ /public/ ? 401 : 403);
    }
    call($owner, 'GET', '/api/atlas/v2/eventTypes', undef, 200);
    call($operator, 'DELETE', $k, undef, 204);
}


# the same, shorter, with curl's idea of digest
sub flow_of_curl {
    my ($base) = @_;

    my $o = "$base/orgs/$org->{id}";
    my $key = curl('POST', "$o/apiKeys",
        { desc => 'of curl', roles => ['ORG_MEMBER'] }, 200);

    curl('GET', "$o/apiKeys?pretty=true", undef, 200);
    curl('PATCH', "$o/apiKeys/$key->{id}", { desc => 'changed' }, 200);
    curl('POST', "$o/apiKeys/$key->{id}/accessList",
        [ { cidrBlock => '198.51.100.0/24' } ], 200);
    curl('DELETE', "$o/apiKeys/$key->{id}/accessList/198.51.100.0%2F24",
        undef, 204);
    curl('DELETE', "$o/apiKeys/$key->{id}", undef, 204);
}


# --- specmatic -------------------------------------------------------------

# one that is in the list of the organization and in that of the project
sub event {
    return $f->operator('GET', "/groups/$project->{id}/events"
        . '?eventType=GROUP_CREATED')->json->{results}[0]{id};
}


# The tool makes up what a schema allows, and there are more such things than
# are right: what is addressed must exist, and combinations must end.
sub for_generation {
    my ($d) = @_;

    $d = copy($d);
    my ($params, $schemas) = @{ $d->{components} }{qw( parameters schemas )};
    my %fixed = (orgId => $org->{id}, groupId => $project->{id},
        groupName => $project->{name}, apiUserId => '0' x 24,
        ipAddress => '192.0.2.7', eventId => event(), entryId => '0' x 24);

    # there are no teams: what names one is refused
    delete @{ $d->{paths} }{ grep { m{^/api/private/|/groups/.*/teams} }
        keys %{ $d->{paths} } };
    $params->{$_}{schema} = { type => 'string', enum => [ $fixed{$_} ] }
        for keys %fixed;

    # 202 takes a second server that is late, see t/610-receipts.t
    for my $op (operations($d)) {
        delete $op->{responses}{202}
            if grep { /^20[014]$/ } keys %{ $op->{responses} };
        $op->{parameters} = [ grep { $_->{'$ref'} !~ m{/prefer$} }
            @{ $op->{parameters} } ];
    }

    # query parameters on one call of each base
    for my $op (operations($d)) {
        next if $op->{operationId} =~ /ListOrgApiKeys$/;
        $op->{parameters} = [ grep { $_->{'$ref'} !~
            m{/(?:pretty|envelope|pageNum|itemsPerPage|includeCount)$}
            && $_->{'$ref'} !~ m{/(?:minDate|maxDate|clusterNames)$} }
            @{ $op->{parameters} } ];
    }
    for my $op (grep { $_->{operationId} =~ /ListOrgApiKeys$/ }
        operations($d))
    {
        $op->{parameters} = [ grep { $_->{'$ref'} !~ m{/includeCount$} }
            @{ $op->{parameters} } ];
    }

    for my $name (keys %$schemas) {
        my $schema = $schemas->{$name};

        # there are requests for each subset of what may be left out
        if ($name =~ /^(?:Create|Update)(?:Project|Organization)/) {
            my $properties = $schema->{properties};
            my @flags = grep { /^is/ } sort keys %$properties;

            delete @$properties{ grep { !$properties->{$_}{type}
                && ($properties->{$_}{description} // '') eq 'Ignored.' }
                keys %$properties };
            delete @$properties{ splice @flags, 2 } if @flags;
            delete @$properties{qw( serviceAccount
                skipDefaultAlertsSettings )} if $name =~ /^Create/;
            # keys of tags are unique, which the document cannot say, and
            # wrong ones of Ops Manager are made by a "_", which is right
            delete $properties->{tags};
        }

        splice @{ $schema->{enum} }, 2
            if $name =~ /^(?:Org|Project)Role/;
        $schema->{required} = ['desc']
            if $name =~ /^Update(?:Org|Project|Global)Key/;
        $schema->{properties}{roles}{items}
            = $schema->{properties}{roles}{items}{anyOf}[0]
            if $name =~ /^CreateProjectKey/;
        $schemas->{$name} = $schema->{oneOf}[1] if $name =~ /^AssignKeys/;
    }

    my ($one, $block) = @{ $schemas->{AddEntries}{items}{oneOf} };
    my $byte = '[1-9][0-9]';
    $one->{properties}{ipAddress} = { type => 'string',
        pattern => "^10[.]$byte\[.]$byte\[.]$byte\$" };
    $block->{properties}{cidrBlock} = { type => 'string',
        pattern => "^2001:$byte$byte:$byte$byte\::/48\$" };
    $schemas->{AddGlobalEntry}{properties}{cidrBlock}
        = $block->{properties}{cidrBlock};
    $schemas->{UpdateGlobalEntry}{required} = ['description'];
    $schemas->{UpdateGlobalEntry}{properties} = { description =>
        $schemas->{AddGlobalEntry}{properties}{description} };
    $_->{properties}{roles}{items} = { type => 'string',
        enum => [ 'GLOBAL_OWNER', 'GLOBAL_READ_ONLY' ] }
        for @$schemas{qw( CreateGlobalKey UpdateGlobalKey )};
    $_->{properties}{orgId} = { type => 'string', enum => [ $org->{id} ] }
        for @$schemas{qw( CreateProjectAtlas CreateProjectOpsManager )};
    $schemas->{UpdateProjectOpsManager}{properties}{id} = { type => 'string',
        nullable => JSON::PP::true, enum => [ $project->{id}, undef ] };

    return $d;
}
