# Keys in projects: created there, assigned, changed and taken out, with the
# roles of the organisation and of other projects untouched and shown.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Expect;
use ApiKeys::Fixture ();
use Test::More;

my $f = ApiKeys::Fixture->new(
    headers => { Accept => 'application/vnd.atlas.2023-01-01+json' });
my $host = $f->nginx->url;
my %base = %ApiKeys::Fixture::BASE;
my $org = $f->org;
my $owner = $org->{client};
my $other = $f->org;
my $far = $f->project($other);
my $nobody = '0123456789abcdef01234567';

# ascending by id, as groupIds in roles are
my @projects = sort { $a->{id} cmp $b->{id} }
    map { $f->project($org) } 1 .. 2;
my ($first, $second) = @projects;

sub keys_of { return "$base{ $_[0] }/groups/$_[1]{id}/apiKeys" }

# roles in the order of decision 2.0: the organisation's first
sub roles {
    my ($org_roles, @grants) = @_;

    return [ (map +{ orgId => $org->{id}, roleName => $_ }, @$org_roles),
        map { my ($in, @names) = @$_;
            map +{ groupId => $in->{id}, roleName => $_ }, @names } @grants ];
}

sub object {
    my ($name, $key, %opt) = @_;

    return { desc => $key->{desc}, id => $key->{id},
        links => [ { rel => 'self', href =>
            "$host$base{$name}/orgs/$org->{id}/apiKeys/$key->{id}" } ],
        privateKey => $key->{privateKey}
            =~ s/^.*-(\w{12})$/********-****-****-$1/r,
        publicKey => $key->{publicKey}, roles => $key->{roles}, %opt };
}


for my $name (sort keys %base) {
    my $here = keys_of($name, $first);
    my $there = keys_of($name, $second);

    # created in a project: a member of its organisation, by default
    my $res = $owner->request('POST', $here,
        { desc => 'in a project', roles => [ 'GROUP_READ_ONLY' ] });
    my $key = $res->json;
    answers($res, 200, object($name, { %$key, desc => 'in a project',
        roles => roles([ 'ORG_MEMBER' ], [ $first, 'GROUP_READ_ONLY' ]) },
        privateKey => $key->{privateKey}),
        "$name: created with a role in the project and ORG_MEMBER");
    my $mine = $f->client(key => "$key->{publicKey}:$key->{privateKey}");
    is($mine->request('GET', "$base{$name}/")->code, 200,
        "$name: it works on the next request");

    $res = $owner->request('POST', $here, { desc => 'x', roles =>
        [ qw( GROUP_READ_ONLY ORG_READ_ONLY GROUP_OWNER GROUP_OWNER ) ] });
    is_deeply($res->json->{roles}, roles([ 'ORG_READ_ONLY' ],
        [ $first, qw( GROUP_OWNER GROUP_READ_ONLY ) ]),
        "$name: an ORG_ role that is named replaces the default");
    my $reader = $res->json;

    # PATCH changes the roles there, and assigns
    $key->{roles} = roles([ 'ORG_MEMBER' ],
        [ $first, 'GROUP_DATA_ACCESS_READ_ONLY' ]);
    answers($owner->request('PATCH', "$here/$key->{id}",
        { roles => [ 'GROUP_DATA_ACCESS_READ_ONLY' ] }), 200,
        object($name, $key), "$name: PATCH replaces the roles there");
    $key->{roles} = roles([ 'ORG_MEMBER' ],
        [ $first, 'GROUP_DATA_ACCESS_READ_ONLY' ],
        [ $second, qw( GROUP_DATA_ACCESS_ADMIN GROUP_OWNER ) ]);
    answers($owner->request('PATCH', "$there/$key->{id}", { roles =>
        [ qw( GROUP_OWNER GROUP_DATA_ACCESS_ADMIN ) ] }), 200,
        object($name, $key), "$name: PATCH in another project assigns there");
    $key->{desc} = 'described there';
    answers($owner->request('PATCH', "$here/$key->{id}",
        { desc => $key->{desc} }), 200, object($name, $key),
        "$name: PATCH of the description leaves the roles");
    answers($owner->request('PATCH', "$here/$key->{id}",
        { desc => $key->{desc}, roles => undef }), 200, object($name, $key),
        "$name: null roles are none");
    answers($owner->request('GET',
        "$base{$name}/orgs/$org->{id}/apiKeys/$key->{id}"), 200,
        object($name, $key), "$name: the organisation shows all of it");

    # the organisation's PATCH leaves what projects gave
    $key->{roles} = roles([ 'ORG_READ_ONLY' ],
        [ $first, 'GROUP_DATA_ACCESS_READ_ONLY' ],
        [ $second, qw( GROUP_DATA_ACCESS_ADMIN GROUP_OWNER ) ]);
    answers($owner->request('PATCH',
        "$base{$name}/orgs/$org->{id}/apiKeys/$key->{id}",
        { roles => [ 'ORG_READ_ONLY' ] }), 200, object($name, $key),
        "$name: PATCH in the organisation leaves the projects' roles");

    # the list: those with a role there, with all of their roles
    my @in = sort { $a->{publicKey} cmp $b->{publicKey} } $key, $reader;
    answers($owner->request('GET', $here), 200, { links => [ {
        rel => 'self', href => "$host$here?pageNum=1&itemsPerPage=100" } ],
        results => [ map { object($name, $_) } @in ], totalCount => 2 },
        "$name: who is in the project, with roles everywhere");
    answers($owner->request('GET', $there), 200, { links => [ {
        rel => 'self', href => "$host$there?pageNum=1&itemsPerPage=100" } ],
        results => [ object($name, $key) ], totalCount => 1 },
        "$name: who is in the other");

    # POST assigns, once; both forms of body
    for my $body ([ { roles => [ 'GROUP_READ_ONLY' ] } ],
        { roles => [ 'GROUP_READ_ONLY' ] },
        [ { roles => [ 'GROUP_READ_ONLY' ], userId => $nobody } ],
        [ { roles => [ 'GROUP_READ_ONLY' ], apiUserId => $nobody } ],
        { roles => [ 'GROUP_READ_ONLY' ], apiUserId => undef, userId => 1 })
    {
        my $new = $f->key($org, 'ORG_MEMBER');

        no_content($owner->request('POST', "$here/$new->{id}", $body),
            "$name: POST assigns: " . json_text($body));
        refused($owner->request('POST', "$here/$new->{id}", $body),
            'API_KEY_ALREADY_IN_GROUP', [], "$name: not twice");
        is_deeply($owner->request('GET',
            "$base{$name}/orgs/$org->{id}/apiKeys/$new->{id}")->json->{roles},
            roles([ 'ORG_MEMBER' ], [ $first, 'GROUP_READ_ONLY' ]),
            "$name: it is in");

        # DELETE takes it out, and leaves the key
        no_content($owner->request('DELETE', "$here/$new->{id}"),
            "$name: DELETE takes it out");
        my $again = $owner->request('DELETE', "$here/$new->{id}");
        $name eq 'atlas_v2'
            ? refused($again, 'API_KEY_NOT_FOUND', [ $new->{id} ],
                "$name: not twice")
            : no_content($again, "$name: which may be repeated");
        is_deeply($owner->request('GET',
            "$base{$name}/orgs/$org->{id}/apiKeys/$new->{id}")->json->{roles},
            roles([ 'ORG_MEMBER' ]), "$name: it is an organisation's key");
        refused($owner->request('PATCH', "$here/$new->{id}",
            { desc => 'x' }), 'API_KEY_NOT_FOUND', [ $new->{id} ],
            "$name: PATCH of the description of one that is not in it");
        $owner->request('DELETE', "$org->{path}/apiKeys/$new->{id}");
    }

    no_content($owner->request('DELETE', "$here/$key->{id}"),
        "$name: out of one project");
    is_deeply($owner->request('GET',
        "$base{$name}/orgs/$org->{id}/apiKeys/$key->{id}")->json->{roles},
        roles([ 'ORG_READ_ONLY' ],
            [ $second, qw( GROUP_DATA_ACCESS_ADMIN GROUP_OWNER ) ]),
        "$name: not out of the other");
    no_content($owner->request('DELETE',
        "$base{$name}/orgs/$org->{id}/apiKeys/$_->{id}"), "$name: deleted")
        for $key, $reader;
    is($owner->request('GET', $_)->json->{totalCount}, 0,
        "$name: a deleted key is in no project") for $here, $there;
}


# names of roles by base (decision 36)

for my $case (
    [ atlas_v1 => [ qw( GROUP_ACCESS_MANAGER GROUP_BACKUP_MANAGER
        GROUP_CHARTS_ADMIN GROUP_CLUSTER_MANAGER GROUP_DATABASE_ACCESS_ADMIN
        GROUP_DATA_ACCESS_ADMIN GROUP_DATA_ACCESS_READ_ONLY
        GROUP_DATA_ACCESS_READ_WRITE GROUP_OBSERVABILITY_VIEWER GROUP_OWNER
        GROUP_READ_ONLY GROUP_SEARCH_INDEX_EDITOR
        GROUP_STREAM_PROCESSING_OWNER ) ],
        [ qw( GROUP_AUTOMATION_ADMIN GROUP_BACKUP_ADMIN GROUP_BILLING_ADMIN
            GROUP_MONITORING_ADMIN GROUP_USER_ADMIN ) ] ],
    [ ops_manager => [ qw( GROUP_AUTOMATION_ADMIN GROUP_BACKUP_ADMIN
        GROUP_BILLING_ADMIN GROUP_CHARTS_ADMIN GROUP_DATA_ACCESS_ADMIN
        GROUP_DATA_ACCESS_READ_ONLY GROUP_DATA_ACCESS_READ_WRITE
        GROUP_MONITORING_ADMIN GROUP_OWNER GROUP_READ_ONLY
        GROUP_USER_ADMIN ) ],
        [ qw( GROUP_ACCESS_MANAGER GROUP_CLUSTER_MANAGER
            GROUP_SEARCH_INDEX_EDITOR GROUP_STREAM_PROCESSING_OWNER ) ] ])
{
    my ($base, $taken, $not) = @$case;

    for my $name ($base eq 'atlas_v1' ? qw( atlas_v1 atlas_v2 ) : $base) {
        my $uri = keys_of($name, $first);
        my $key = $f->key($org, 'ORG_MEMBER');

        is_deeply($owner->request('PATCH', "$uri/$key->{id}",
            { roles => $taken })->json->{roles},
            roles([ 'ORG_MEMBER' ], [ $first, @$taken ]),
            "$name: all of its roles, in the order of the alphabet");
        refused($owner->request('PATCH', "$uri/$key->{id}",
            { roles => [ 'GROUP_OWNER', $_ ] }), 'UNSUPPORTED_ROLE', [],
            "$name: no $_") for @$not;
        is(scalar @{ $owner->request('GET', "$base{ops_manager}/orgs/"
            . "$org->{id}/apiKeys/$key->{id}")->json->{roles} }, 1 + @$taken,
            "$name: which every base shows");
        $owner->request('DELETE', "$org->{path}/apiKeys/$key->{id}");
    }
}


# what is refused

my $key = $f->key($org, 'ORG_MEMBER');
my $here = keys_of('atlas_v1', $first);
my $one = "$here/$key->{id}";
my $before = states();

# the keys, but for their versions, which a call that is repeated changes
sub states {
    return $f->db->psql(q{SELECT to_jsonb(s) - 'version'
        FROM apikeys.key_states s ORDER BY id});
}

for my $case (
    # creation
    [ POST => $here, {}, 'API_KEY_REQUIRES_DESCRIPTION' ],
    [ POST => $here, { desc => '', roles => [ 'GROUP_OWNER' ] },
        'API_KEY_REQUIRES_DESCRIPTION' ],
    [ POST => $here, { desc => 'x' x 251, roles => [ 'GROUP_OWNER' ] },
        'INVALID_API_KEY_DESC', 250 ],
    [ POST => $here, { desc => 'x' }, 'MISSING_API_KEY_ROLES' ],
    [ POST => $here, { desc => 'x', roles => [] }, 'MISSING_API_KEY_ROLES' ],
    [ POST => $here, [], 'INVALID_JSON' ],

    # change
    [ PATCH => $one, {}, 'MISSING_ONE_OF_ATTRIBUTES', 'desc', 'roles' ],
    [ PATCH => $one, { roles => undef }, 'MISSING_ONE_OF_ATTRIBUTES', 'desc',
        'roles' ],
    [ PATCH => $one, { roles => [] }, 'MISSING_API_KEY_ROLES' ],
    [ PATCH => $one, { roles => [ 'ORG_MEMBER' ] }, 'CANNOT_ADD_ORG_ROLE' ],
    [ PATCH => $one, { roles => [ qw( GROUP_OWNER ORG_OWNER ) ] },
        'CANNOT_ADD_ORG_ROLE' ],
    [ PATCH => $one, { desc => '', roles => [ 'GROUP_OWNER' ] },
        'API_KEY_REQUIRES_DESCRIPTION' ],
    [ PATCH => $one, { desc => 'x' x 251, roles => [ 'GROUP_OWNER' ] },
        'INVALID_API_KEY_DESC', 250 ],
    [ PATCH => $one, [ { roles => [ 'GROUP_OWNER' ] } ], 'INVALID_JSON' ],

    # assignment
    [ POST => $one, {}, 'MISSING_API_KEY_ROLES' ],
    [ POST => $one, [ {} ], 'MISSING_API_KEY_ROLES' ],
    [ POST => $one, { roles => [] }, 'MISSING_API_KEY_ROLES' ],
    [ POST => $one, { roles => undef }, 'MISSING_API_KEY_ROLES' ],
    [ POST => $one, [ { roles => [ 'ORG_MEMBER' ] } ],
        'CANNOT_ADD_ORG_ROLE' ],
    [ POST => $one, [], 'INVALID_JSON' ],
    [ POST => $one, [ 'GROUP_OWNER' ], 'INVALID_JSON' ],
    [ POST => $one, [ { roles => [ 'GROUP_OWNER' ] },
        { roles => [ 'GROUP_READ_ONLY' ] } ], 'INVALID_JSON' ],
    [ POST => $one, [ { roles => [ 'GROUP_OWNER' ], desc => 'x' } ],
        'INVALID_ATTRIBUTE', 'desc' ],

    # all of them
    ( map {
        my ($method, $uri, @desc) = @$_;

        [ $method => $uri, { @desc, roles => [ 'GROUP_NOSUCH' ] },
            'INVALID_ENUM_VALUE', 'GROUP_NOSUCH' ],
        ( map { [ $method => $uri, { @desc, roles => [ $_ ] },
            'UNSUPPORTED_ROLE' ] } qw( GROUP_USER_ADMIN GROUP_ATLAS_ADMIN
                GLOBAL_OWNER ) ),
        [ $method => $uri, { @desc, roles => [ undef ] },
            'INVALID_ENUM_VALUE', 'null' ],
        [ $method => $uri, { @desc, roles => 'GROUP_OWNER' },
            'INVALID_JSON_ATTRIBUTE', 'roles' ],
        [ $method => $uri, { @desc, roles => [ [ 'GROUP_OWNER' ] ] },
            'INVALID_JSON_ATTRIBUTE', 'roles' ],
        [ $method => $uri, { @desc, roles => [ 'GROUP_OWNER' ], x => 1 },
            'INVALID_ATTRIBUTE', 'x' ],
        [ $method => $uri, '{', 'MALFORMED_JSON' ],
    } [ POST => $here, desc => 'x' ], [ PATCH => $one ], [ POST => $one ] ),
    [ POST => $here, { desc => 'x', roles => [ 'GROUP_OWNER' ],
        publicKey => 'x' }, 'ATTRIBUTE_READ_ONLY', 'publicKey' ],
    [ PATCH => $one, { roles => [ 'GROUP_OWNER' ], id => 'x' },
        'ATTRIBUTE_READ_ONLY', 'id' ])
{
    my ($method, $uri, $body, $code, @params) = @$case;
    my $what = $method eq 'PATCH' ? 'change' : $uri eq $one ? 'assign'
        : 'create';

    refused($owner->request($method, $uri, $body), $code, \@params,
        "$what " . substr(json_text($body), 0, 60) . ": $code");
}

for my $name (sort keys %base) {
    my %body = (PATCH => { roles => [ 'GROUP_OWNER' ] },
        POST => [ { roles => [ 'GROUP_OWNER' ] } ]);

    for my $method (qw( PATCH POST DELETE )) {
        my $uri = keys_of($name, $first);
        my $body = $body{$method};

        refused($owner->request($method, "$uri/$nobody", $body),
            'API_KEY_NOT_FOUND', [ $nobody ], "$name: $method of no key");
        refused($owner->request($method, "$uri/$other->{key}{id}", $body),
            'API_KEY_NOT_FOUND', [ $other->{key}{id} ],
            "$name: $method of another organisation's key");
        refused($owner->request($method, "$uri/x", $body),
            'PATH_PARAM_PARSE_ERROR', [ "$uri/x" ],
            "$name: $method of what is no id");
        refused($owner->request($method,
            "$base{$name}/groups/$far->{id}/apiKeys/$key->{id}", $body),
            'GROUP_NOT_FOUND', [ $far->{id} ],
            "$name: $method in another organisation's project");
        refused($owner->request($method,
            "$base{$name}/groups/$nobody/apiKeys/$key->{id}", $body),
            'GROUP_NOT_FOUND', [ $nobody ], "$name: $method in no project");
        refused($owner->request($method,
            "$base{$name}/groups/X/apiKeys/$key->{id}", $body),
            'PATH_PARAM_PARSE_ERROR',
            [ "$base{$name}/groups/X/apiKeys/$key->{id}" ],
            "$name: $method in what is no id");
    }
    my $res = $owner->request('DELETE', keys_of($name, $first)
        . "/$key->{id}");
    my $title = "$name: DELETE of a key that is not in the project";
    $name eq 'atlas_v2'
        ? refused($res, 'API_KEY_NOT_FOUND', [ $key->{id} ], $title)
        : no_content($res, $title);
    refused($f->operator('PATCH', keys_of($name, $far) . "/$key->{id}",
        { roles => [ 'GROUP_OWNER' ] }), 'API_KEY_NOT_FOUND', [ $key->{id} ],
        "$name: the operator cannot mix organisations either");
    refused($owner->request('GET', "$base{$name}/groups/$_/apiKeys"),
        'GROUP_NOT_FOUND', [ $_ ], "$name: no list of $_")
        for $nobody, $far->{id};
}
is(states(), $before, 'nothing of this has changed anything');

# the limit is the organisation's
$f->db->psql(<<"END");
INSERT INTO apikeys.keys (id, org_id, public_key, secret, redacted, descr,
                          roles)
    SELECT lpad(to_hex(n), 24, '0'), '$org->{id}',
           translate(lpad(to_hex(n), 8, '0'), '0123456789abcdef',
                     'abcdefghijklmnop'),
           decode(repeat('00', 80), 'hex'), '000000000000', 'key ' || n,
           '{ORG_MEMBER}'
      FROM generate_series(1, 500 - (SELECT count(*) FROM apikeys.keys
                                      WHERE org_id = '$org->{id}')) n
END
for my $name (sort keys %base) {
    refused($owner->request('POST', keys_of($name, $first),
        { desc => 'x', roles => [ 'GROUP_READ_ONLY' ] }),
        'MAX_API_KEYS_PER_ORG_EXCEEDED', [ 500, $org->{id} ],
        "$name: no 501st key by way of a project");
}

# a project that goes takes its roles with it
$owner->request('PATCH', $one, { roles => [ 'GROUP_READ_ONLY' ] })->code == 200
    or die;
$f->db->psql("DELETE FROM apikeys.projects WHERE id = '$first->{id}'");
ok(eval { $f->nginx->wait_for(sub { $owner->request('GET', $here)->code == 404
    }, 10, '') }, 'a deleted project is unknown');
refused($owner->request('DELETE', $one), 'GROUP_NOT_FOUND', [ $first->{id} ],
    'taking out of it says which');
is_deeply($owner->request('GET', "$org->{path}/apiKeys/$key->{id}")->json
    ->{roles}, roles([ 'ORG_MEMBER' ]), 'and no key has a role in it');

done_testing;
