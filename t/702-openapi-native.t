# docs/openapi-native.yaml says what the native API serves, and nothing else, as
# 700 shows of the other document with the same tools.

use strict;
use warnings;

use JSON::PP ();
use Test::More;

use ApiKeys::Fixture ();
use ApiKeys::OpenApi;

my $base = $ApiKeys::Fixture::ALL{native};
my $nobody = '0123456789abcdef01234567';

# what only the other APIs answer, and what they call it
%with = (document => 'docs/openapi-native.yaml',
    flows => 't/arazzo/native.arazzo.yaml', bases => ['native'],
    silent => [ qw( GROUP_MISMATCH INVALID_GROUP_TOKEN TOO_MANY_GROUP_TOKENS
        API_KEY_CREATED_GROUPS_MUST_HAVE_ORG INVALID_ROLE_FOR_GLOBAL_KEY
        MAX_GLOBAL_API_KEYS_EXCEEDED MAX_GLOBAL_WHITELIST_ENTRIES_EXCEEDED
        DUPLICATE_GLOBAL_WHITELIST_ENTRY
        GLOBAL_WHITELIST_ENTRY_REQUIRES_CIDR_BLOCK
        GLOBAL_WHITELIST_ENTRY_REQUIRES_DESCRIPTION
        INVALID_GLOBAL_WHITELIST_DESCRIPTION NO_CIDR_BLOCK_OR_DESCRIPTION
        API_KEY_ALREADY_IN_GROUP BAD_WHITELIST_ADD_REQUEST
        CANNOT_ADD_IP_ADDRESS_TO_API_KEY_WHITELIST
        CANNOT_REMOVE_CALLER_FROM_WHITELIST API_KEY_WHITELIST_ACCESS_DENIED
        NOT_IN_GROUP GROUP_NAME_NOT_FOUND TEAM_NOT_FOUND
        GLOBAL_WHITELIST_ENTRY_NOT_FOUND API_KEY_WHITELIST_NOT_FOUND
        NOT_ACCEPTABLE ADDRESS_ALREADY_IN_WHITELIST MULTIPLE_GROUPS ) ]);

lint();

my $f = ApiKeys::Fixture->new(workers => 2);
my $org = $f->org;
my $project = $f->project($org);
@with{qw( fixture org project )} = ($f, $org, $project);

respect(1);

my $doc = bundle();

codes();
routes();
prism(sub { orgs(); projects(); keys_of_org(); secrets(); keys_of_project();
    events(); flow_of_curl(); });
specmatic(for_generation($doc), 300);

done_testing;


# every operation, and the errors that a client may well run into

sub orgs {
    my $owner = client();
    my $operator = client(token => $f->token);
    my $o = "$base/orgs/$org->{id}";

    call(client(key => undef), 'GET', "$o/apiKeys", undef, 401);
    call($_, 'GET', $base, undef, 200) for $owner, $operator;
    call($owner, 'GET', "$base/orgs?name=%25", undef, 200);
    call($owner, 'GET', "$base/orgs?pretty=true", undef, 200);
    call($owner, 'GET', $o, undef, 200);
    call($owner, 'GET', "$base/orgs/$nobody", undef, 404);
    call($owner, 'GET', "$o/settings", undef, 200);
    call($owner, 'PATCH', "$o/settings",
        { apiAccessListRequired => JSON::PP::false }, 200);
    call($operator, 'POST', "$base/orgs", { name => 'of the flow',
        apiKey => { desc => 'first', roles => ['ORG_OWNER'] } }, 201);
    my $empty = call($operator, 'POST', "$base/orgs", { name => 'empty' },
        201)->{organization};
    call($owner, 'POST', "$base/orgs", { name => 'not mine to make' }, 403);
    call($owner, 'PATCH', $o, { name => 'renamed' }, 200,
        headers => { Prefer => 'wait=10' });
    call($owner, 'PATCH', $o, { name => "\n" }, 400);
    call($owner, 'DELETE', $o, undef, 409);
    call($operator, 'DELETE', "$base/orgs/$empty->{id}", undef, 204);
    call($operator, 'DELETE', "$base/orgs/$empty->{id}", undef, 404);
}


sub projects {
    my $owner = client();
    my $o = "$base/orgs/$org->{id}";
    my $new = call($owner, 'POST', "$base/projects",
        { name => 'of the flow', orgId => $org->{id} }, 201);
    my $g = "$base/projects/$new->{id}";

    call($owner, 'POST', "$base/projects",
        { name => 'of the flow', orgId => $org->{id} }, 409);
    call($owner, 'GET', $g, undef, 200);
    call($owner, 'GET', "$base/projects?itemsPerPage=1&pageNum=2", undef, 200);
    call($owner, 'GET', "$o/projects?name=OF&includeCount=false", undef, 200);
    call($owner, 'PATCH', $g, { name => 'later' }, 200);
    call($owner, 'PATCH', $g, { name => $project->{name} }, 409);
    call($owner, 'DELETE', $g, undef, 204);
    call($owner, 'DELETE', $g, undef, 404);
}


sub keys_of_org {
    my $owner = client();
    my $operator = client(token => $f->token);
    my $o = "$base/orgs/$org->{id}";
    my $key = call($owner, 'POST', "$o/apiKeys", { desc => "\x{fc}ber",
        roles => ['ORG_MEMBER'], expiresAt => '2099-01-01T00:00:00Z',
        accessList => [ { cidrBlock => '127.0.0.0/8' } ] }, 201);
    my $k = "$o/apiKeys/$key->{id}";
    my $other = client(key => "$key->{publicKey}:$key->{privateKey}");
    my %pair = (publicKey => 'zyxwvuts',
        privateKey => '01234567-89ab-4cde-8f01-23456789abcd');

    call($operator, 'POST', "$o/apiKeys", { desc => 'brought',
        roles => ['ORG_MEMBER'], %pair }, $_) for 201, 409;
    call($owner, 'GET', "$o/apiKeys?sort=-createdAt&accessList=any&disabled="
        . 'false&role=ORG_MEMBER&expiresBefore=2100-01-01T00%3A00%3A00Z&desc=e',
        undef, 200);
    call($owner, 'GET', "$o/apiKeys?publicKey=$key->{publicKey}", undef, 200);
    call($owner, 'GET', $k, undef, 200);
    call($other, 'GET', $base, undef, 200);
    call($owner, 'GET', "$o/apiKeys/$nobody", undef, 404);
    call($owner, 'PATCH', $k, { desc => 'changed', expiresAt => undef }, 200);
    call($owner, 'PATCH', $k, { roles => ['ORG_READ_ONLY'] }, 200,
        headers => { Prefer => 'wait=10' });
    call($owner, 'PATCH', $k, { expiresAt => '2000-01-01T00:00:00Z' }, 400);
    call($owner, 'PATCH', "$o/apiKeys/$org->{key}{id}",
        { disabled => JSON::PP::true }, 403);
    call($owner, 'GET', "$k/decision?address=192.0.2.7&project=$project->{id}"
        . '&role=GROUP_OWNER%2CGROUP_READ_ONLY', undef, 200);

    my $list = "$k/accessList";
    call($owner, 'POST', $list, [ { ipAddress => '192.0.2.7' },
        { cidrBlock => '2001:db8::/32' } ], 201);
    call($owner, 'POST', $list, [ { ipAddress => '192.0.2.7' } ], 409);
    call($other, 'GET', "$list?pageNum=2&itemsPerPage=2", undef, 200);
    call($other, 'GET', "$list/2001:db8::%2F32", undef, 200);
    call($other, 'DELETE', "$list/127.0.0.0%2F8", undef, 400);
    call($owner, 'PATCH', "$list/192.0.2.7", { comment => 'office',
        expiresAt => '2099-01-01T00:00:00Z' }, 200,
        headers => { Prefer => 'wait=10' });
    call($other, 'PATCH', "$list/192.0.2.7",
        { expiresAt => '2000-01-01T00:00:00Z' }, 400);
    call($owner, 'PATCH', "$list/192.0.2.8", { comment => 'none' }, 404);
    call($owner, 'DELETE', "$list/192.0.2.7", undef, 204);
    call($owner, 'DELETE', "$list/192.0.2.7", undef, 404);
    call($owner, 'DELETE', "$list/127.0.0.0%2F8", undef, 204);
    call($other, 'GET', $k, undef, 403);

    call($owner, 'PATCH', $k, { disabled => JSON::PP::true }, 200);
    call($other, 'GET', $k, undef, 401);
    call($owner, 'DELETE', $k, undef, 204);
}


sub secrets {
    my $owner = client();
    my $o = "$base/orgs/$org->{id}";
    my $key = call($owner, 'POST', "$o/apiKeys", { desc => 'rotated',
        roles => ['ORG_MEMBER'] }, 201);
    my $s = "$o/apiKeys/$key->{id}/secrets";
    my $new = call($owner, 'POST', $s,
        { expiresAt => '2099-01-01T00:00:00Z', othersExpireIn => 60 }, 201);

    call($owner, 'POST', $s, {}, 409);
    call($owner, 'GET', $s, undef, 200);
    call($owner, 'GET', "$s/$new->{id}", undef, 200);
    call($owner, 'GET', "$s/$nobody", undef, 404);
    call($owner, 'PATCH', "$s/$new->{id}", { expiresAt => undef }, 200);
    call($owner, 'DELETE', "$s/$key->{id}", undef, 204);
    call($owner, 'DELETE', "$s/$new->{id}", undef, 409);
    call($owner, 'DELETE', "$o/apiKeys/$key->{id}", undef, 204);
}


sub keys_of_project {
    my $owner = client();
    my $p = "$base/projects/$project->{id}/apiKeys";
    my $key = call($owner, 'POST', $p, { desc => 'third',
        roles => ['GROUP_READ_ONLY'] }, 201);

    call($owner, 'GET', "$p?sort=expiresAt", undef, 200);
    call($owner, 'PUT', "$p/$key->{id}", { roles => ['GROUP_OWNER'] }, 200);
    call($owner, 'DELETE', "$p/$key->{id}", undef, 204);
    call($owner, 'DELETE', "$p/$key->{id}", undef, 404);
    call($owner, 'PUT', "$p/$key->{id}", { roles => ['GROUP_OWNER'] }, 201);
    call($owner, 'DELETE', "$base/orgs/$org->{id}/apiKeys/$key->{id}", undef,
        204);
}


# what the flow did so far
sub events {
    my $owner = client();

    for my $parent ("$base/orgs/$org->{id}", "$base/projects/$project->{id}") {
        my $list = "$parent/events";
        my $event = call($owner, 'GET', "$list?itemsPerPage=500", undef,
            200)->{results}[0];
        my $date = $event->{createdAt} =~ s/:/%3A/gr;

        call($owner, 'GET', "$list/$event->{id}", undef, 200);
        call($owner, 'GET', "$list/$nobody", undef, 404);
        call($owner, 'GET', "$list?$_", undef, 200) for
            "minDate=$date&maxDate=$date&includeCount=false",
            'eventType=API_KEY_CREATED&eventType=NO_SUCH&itemsPerPage=1',
            "targetPublicKey=$org->{key}{publicKey}";
        call($owner, 'GET', "$list?minDate=tomorrow", undef, 400);
    }
    call($owner, 'GET', "$base/projects/$project->{id}/events"
        . '?excludedEventType=GROUP_CREATED', undef, 200);
}


# the same, shorter, with curl's idea of digest
sub flow_of_curl {
    my $o = "$base/orgs/$org->{id}";
    my $key = curl('POST', "$o/apiKeys",
        { desc => 'of curl', roles => ['ORG_MEMBER'] }, 201);

    curl('GET', "$o/apiKeys?pretty=true", undef, 200);
    curl('PUT', "$base/projects/$project->{id}/apiKeys/$key->{id}",
        { roles => ['GROUP_OWNER'] }, 201);
    curl('DELETE', "$o/apiKeys/$key->{id}", undef, 204);
}


# The tool makes up what a schema allows, and there are more such things than
# are right: what is addressed must exist, and combinations must end.
sub for_generation {
    my ($d) = @_;

    $d = copy($d);
    my ($params, $schemas) = @{ $d->{components} }{qw( parameters schemas )};
    my $event = $f->operator('GET', "$base/projects/$project->{id}/events"
        . '?eventType=GROUP_CREATED')->json->{results}[0]{id};
    my %fixed = (orgId => $org->{id}, projectId => $project->{id},
        apiKeyId => '0' x 24, secretId => '0' x 24, eventId => $event,
        ipAddress => '192.0.2.7');

    $params->{$_}{schema} = { type => 'string', enum => [ $fixed{$_} ] }
        for keys %fixed;
    $params->{address}{schema} = { type => 'string', enum => ['192.0.2.7'] };

    # 202 takes a second server that is late, see t/610-receipts.t; the query of
    # a list on one list alone
    for my $op (operations($d)) {
        delete $op->{responses}{202}
            if grep { /^20[014]$/ } keys %{ $op->{responses} };
        $op->{parameters} = [ grep { $_->{'$ref'} !~ m{/prefer$} }
            @{ $op->{parameters} } ];
        # a key is in the project, or it is not
        delete $op->{responses}{201} if $op->{responses}{200};
        next if $op->{operationId} eq 'listOrgs';
        $op->{parameters} = [ grep { $_->{'$ref'} !~ m{/(?:pretty|pageNum
            |itemsPerPage|includeCount|minDate|maxDate|expiresBefore
            |targetPublicKey|desc|publicKey|role|accessList|disabled)$}x }
            @{ $op->{parameters} } ];
    }

    # there are requests for each subset of what may be left out
    delete $schemas->{$_}{properties}{apiKey} for 'CreateOrg';
    for my $name (qw( CreateOrgKey CreateProjectKey )) {
        delete @{ $schemas->{$name}{properties} }{qw( publicKey privateKey
            accessList )};
    }
    for my $name (qw( OrgRole ProjectRole )) {
        splice @{ $schemas->{$name}{enum} }, 2;
    }
    $schemas->{End} = { type => 'string', nullable => JSON::PP::true,
        enum => [ '2099-01-01T00:00:00Z', undef ] };
    # its null alone is a change, that of others is none
    $schemas->{UpdateOrgKey}{required} = ['expiresAt'];
    $schemas->{CreateProject}{properties}{orgId}
        = { type => 'string', enum => [ $org->{id} ] };

    my ($one, $block) = @{ $schemas->{NewEntry}{oneOf} };
    my $byte = '[1-9][0-9]';
    $one->{properties}{ipAddress} = { type => 'string',
        pattern => "^10[.]$byte\[.]$byte\[.]$byte\$" };
    $block->{properties}{cidrBlock} = { type => 'string',
        pattern => "^2001:$byte$byte:$byte$byte\::/48\$" };

    return $d;
}
