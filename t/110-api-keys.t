# Keys of an organisation: the five operations on each of the three bases,
# as bytes on the wire, and every error that a request for them can get.

use strict;
use warnings;
use utf8;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Expect;
use ApiKeys::Fixture ();
use Encode qw( encode_utf8 );
use Test::More;

binmode Test::More->builder->$_, ':utf8'
    for qw( output failure_output todo_output );

my $f = ApiKeys::Fixture->new(
    headers => { Accept => 'application/vnd.atlas.2023-01-01+json' });
my $host = $f->nginx->url;
my $org = $f->org;
my $other = $f->org;
my $client = $org->{client};
my $uuid = qr/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}
              -[0-9a-f]{12}/x;

# the object that stands for a key; private => as it is shown
sub key {
    my ($base, $key, %opt) = @_;

    return {
        desc => $key->{desc}, id => $key->{id},
        links => [ { rel => 'self', href =>
            "$host$base/orgs/$org->{id}/apiKeys/$key->{id}" } ],
        privateKey => $key->{privateKey}
            =~ s/^.*-(\w{12})$/********-****-****-$1/r,
        publicKey => $key->{publicKey}, roles => $key->{roles}, %opt,
    };
}

sub roles { return [ map +{ orgId => $org->{id}, roleName => $_ }, @_ ] }

sub key_rows {
    return $f->db->psql('SELECT s::text FROM apikeys.key_states s ORDER BY id');
}


# five operations

for my $name (sort keys %ApiKeys::Fixture::BASE) {
    my $base = $ApiKeys::Fixture::BASE{$name};
    my $keys = "$base/orgs/$org->{id}/apiKeys";

    my $begin = time;
    my $res = $client->request('POST', $keys,
        { desc => "made on $name", roles => [ 'ORG_READ_ONLY' ] });
    my $key = $res->json;

    answers($res, 200, key($base, { %$key, desc => "made on $name",
        roles => roles('ORG_READ_ONLY') },
        privateKey => $key->{privateKey}),
        "$name: POST answers with the whole key");
    like($key->{privateKey}, qr/^$uuid$/, "$name: a random UUID is its secret");
    like($key->{publicKey}, qr/^[a-z]{8}$/, "$name: eight letters, its name");
    like($key->{id}, qr/^[0-9a-f]{24}$/, "$name: an id");
    my $made = hex substr $key->{id}, 0, 8;
    ok($made >= $begin - 1 && $made <= time + 1,
        "$name: the id begins with the time");
    is($res->header('location'), undef, "$name: and there is no Location");

    my $mine = $f->client(key => "$key->{publicKey}:$key->{privateKey}");
    is($mine->request('GET', "$base/")->code, 200,
        "$name: the key works on the very next request");

    answers($client->request('GET', "$keys/$key->{id}"), 200,
        key($base, $key), "$name: GET shows no secret");

    $key->{desc} = "changed on $name";
    answers($client->request('PATCH', "$keys/$key->{id}",
        { desc => $key->{desc} }), 200, key($base, $key),
        "$name: PATCH of the description leaves the roles");

    $key->{roles} = roles(qw( ORG_GROUP_CREATOR ORG_MEMBER ));
    answers($client->request('PATCH', "$keys/$key->{id}",
        { roles => [ qw( ORG_MEMBER ORG_GROUP_CREATOR ORG_MEMBER ) ] }), 200,
        key($base, $key), "$name: PATCH of the roles replaces them all, each"
        . ' is taken once, in the order of the alphabet');
    answers($client->request('GET', "$keys/$key->{id}"), 200,
        key($base, $key), "$name: which is what is stored");

    answers($client->request('PATCH', "$keys/$key->{id}",
        { desc => "again on $name", roles => [ 'ORG_READ_ONLY' ] }), 200,
        key($base, $key, desc => "again on $name",
            roles => roles('ORG_READ_ONLY')), "$name: PATCH of both");

    no_content($client->request('DELETE', "$keys/$key->{id}"),
        "$name: DELETE has nothing to say");
    challenged($mine->request('GET', "$base/"),
        "$name: the key is refused on the very next request");
    refused($client->request($_, "$keys/$key->{id}",
        $_ eq 'PATCH' ? { desc => 'x' } : undef), 'API_KEY_NOT_FOUND',
        [ $key->{id} ], "$name: $_ of what was deleted")
        for qw( GET PATCH DELETE );
}


# the same data on all bases, in byte order of the public keys

my @keys = map { $f->key($org, 'ORG_MEMBER') } 1 .. 4;

for my $name (sort keys %ApiKeys::Fixture::BASE) {
    my $base = $ApiKeys::Fixture::BASE{$name};
    my @sorted = sort { $a->{publicKey} cmp $b->{publicKey} }
        $org->{key}, @keys;

    answers($client->request('GET', "$base/orgs/$org->{id}/apiKeys"), 200, {
        links => [ { rel => 'self', href => "$host$base/orgs/$org->{id}"
            . '/apiKeys?pageNum=1&itemsPerPage=100' } ],
        results => [ map { key($base, $_) } @sorted ],
        totalCount => 5,
    }, "$name: the list of all");
}


# what a body can say

my $v1 = $ApiKeys::Fixture::BASE{atlas_v1};
my $v2 = $ApiKeys::Fixture::BASE{atlas_v2};
my $om = $ApiKeys::Fixture::BASE{ops_manager};
my $keys = "$v1/orgs/$org->{id}/apiKeys";
my $one = "$keys/$keys[0]{id}";

for my $case (
    [ '250 letters', 'x' x 250 ],
    [ '250 code points', "\x{1f511}" x 250 ],
    [ 'blanks around it', '  a desc  ' ],
    [ 'what JSON escapes', "a\"b\\c/d\n\t\x01\x7f" ],
    [ 'no ASCII', 'clé — 鍵 — ключ' ],
    [ 'one that is taken', 'owner' ])
{
    my ($title, $desc) = @$case;

    my $res = $client->request('PATCH', $one, { desc => $desc });
    is($res->code, 200, "a description of $title");
    is(eval { $res->json->{desc} }, $desc, 'which is given back');
    is(eval { $client->request('GET', $one)->json->{desc} }, $desc,
        'and stored');
    $res = $client->request('POST', $keys,
        { desc => $desc, roles => [ 'ORG_MEMBER' ] });
    is(eval { $res->json->{desc} }, $desc, 'also of a new key');
    $client->request('DELETE', "$keys/" . $res->json->{id});
}

{
    my $all = [ qw( ORG_BILLING_ADMIN ORG_BILLING_READ_ONLY ORG_GROUP_CREATOR
        ORG_MEMBER ORG_OWNER ORG_READ_ONLY ORG_STREAM_PROCESSING_ADMIN ) ];
    my $res = $client->request('PATCH', "$v2/orgs/$org->{id}/apiKeys/"
        . $keys[1]{id}, { roles => [ reverse @$all ] });
    is_deeply($res->json->{roles}, roles(@$all), 'every role of v2');
    $client->request('PATCH', "$keys/$keys[1]{id}",
        { roles => [ 'ORG_MEMBER' ] });
}

my $before = key_rows();

# [method, uri, body, code, parameters]; POST and PATCH on v1 where no base
for my $case (
    # creation needs both
    [ POST => $keys, {}, 'API_KEY_REQUIRES_DESCRIPTION' ],
    [ POST => $keys, { roles => [ 'ORG_MEMBER' ] },
        'API_KEY_REQUIRES_DESCRIPTION' ],
    [ POST => $keys, { desc => undef, roles => [ 'ORG_MEMBER' ] },
        'API_KEY_REQUIRES_DESCRIPTION' ],
    [ POST => $keys, { desc => '', roles => [ 'ORG_MEMBER' ] },
        'API_KEY_REQUIRES_DESCRIPTION' ],
    [ POST => $keys, { desc => 'x' }, 'MISSING_API_KEY_ROLES' ],
    [ POST => $keys, { desc => 'x', roles => undef },
        'MISSING_API_KEY_ROLES' ],
    [ POST => $keys, { desc => 'x', roles => [] }, 'MISSING_API_KEY_ROLES' ],
    ( map {
        [ POST => "$_/orgs/$org->{id}/apiKeys", { desc => 'x' },
            'MISSING_API_KEY_ROLES' ],
        [ POST => "$_/orgs/$org->{id}/apiKeys",
            { roles => [ 'ORG_MEMBER' ] }, 'API_KEY_REQUIRES_DESCRIPTION' ],
    } $v2, $om ),

    # a change needs one of them
    [ PATCH => $one, {}, 'MISSING_ONE_OF_ATTRIBUTES', 'desc', 'roles' ],
    [ PATCH => $one, { roles => undef }, 'MISSING_ONE_OF_ATTRIBUTES', 'desc',
        'roles' ],
    [ PATCH => $one, { desc => '' }, 'API_KEY_REQUIRES_DESCRIPTION' ],
    [ PATCH => $one, { desc => undef }, 'API_KEY_REQUIRES_DESCRIPTION' ],
    [ PATCH => $one, { desc => undef, roles => [ 'ORG_MEMBER' ] },
        'API_KEY_REQUIRES_DESCRIPTION' ],
    [ PATCH => $one, { roles => [] }, 'MISSING_API_KEY_ROLES' ],
    [ PATCH => $one, { desc => 'x', roles => [] }, 'MISSING_API_KEY_ROLES' ],

    # their limits
    ( map {
        my ($method, $uri) = @$_;
        my @with = $method eq 'POST' ? (roles => [ 'ORG_MEMBER' ]) : ();

        [ $method => $uri, { desc => 'x' x 251, @with },
            'INVALID_API_KEY_DESC', 250 ],
        [ $method => $uri, { desc => 'é' x 251, @with },
            'INVALID_API_KEY_DESC', 250 ],
        [ $method => $uri, { desc => 'x', roles => [ 'ORG_NOSUCH' ] },
            'INVALID_ENUM_VALUE', 'ORG_NOSUCH' ],
        [ $method => $uri, { desc => 'x', roles => [ 'org_owner' ] },
            'INVALID_ENUM_VALUE', 'org_owner' ],
        [ $method => $uri, { desc => 'x', roles => [ '' ] },
            'INVALID_ENUM_VALUE', '' ],
        [ $method => $uri,
            { desc => 'x', roles => [ qw( ORG_MEMBER GROUP_OWNER ) ] },
            'CANNOT_ADD_GROUP_ROLE' ],
        [ $method => $uri, { desc => 'x', roles => [ 'GLOBAL_OWNER' ] },
            'UNSUPPORTED_ROLE' ],
        [ $method => $uri,
            { desc => 'x', roles => [ 'ORG_TEAM_MEMBERS_ADMIN' ] },
            'UNSUPPORTED_ROLE' ],
        [ $method => $uri, { desc => 'x', roles => [ 'GROUP_ATLAS_ADMIN' ] },
            'UNSUPPORTED_ROLE' ],
        [ $method => $uri, { desc => 'x', roles => [ 'ORG_BILLING_READ_ONLY' ] },
            'UNSUPPORTED_ROLE' ],
        [ $method => $uri,
            { desc => 'x', roles => [ 'ORG_STREAM_PROCESSING_ADMIN' ] },
            'UNSUPPORTED_ROLE' ],

        # types and names
        [ $method => $uri, { desc => 1, @with }, 'INVALID_JSON_ATTRIBUTE',
            'desc' ],
        [ $method => $uri, { desc => [ 'x' ], @with },
            'INVALID_JSON_ATTRIBUTE', 'desc' ],
        [ $method => $uri, { desc => 'x', roles => 'ORG_MEMBER' },
            'INVALID_JSON_ATTRIBUTE', 'roles' ],
        [ $method => $uri, { desc => 'x', roles => [ 1 ] },
            'INVALID_JSON_ATTRIBUTE', 'roles' ],
        [ $method => $uri, { desc => 'x', roles => [ undef ] },
            'INVALID_ENUM_VALUE', 'null' ],
        [ $method => $uri, { desc => 'x', roles => [ 'ORG_MEMBER', undef ] },
            'INVALID_ENUM_VALUE', 'null' ],
        [ $method => $uri, { desc => 'x',
            roles => [ { roleName => 'ORG_MEMBER' } ] },
            'INVALID_JSON_ATTRIBUTE', 'roles' ],
        [ $method => $uri, { desc => 'x', @with, nosuch => 1 },
            'INVALID_ATTRIBUTE', 'nosuch' ],
        [ $method => $uri, { desc => 'x', @with, Desc => 'x' },
            'INVALID_ATTRIBUTE', 'Desc' ],
        [ $method => $uri, { desc => 'x', @with, '' => 'x' },
            'INVALID_ATTRIBUTE', '' ],
        ( map { [ $method => $uri, { desc => 'x', @with, $_ => 'x' },
            'ATTRIBUTE_READ_ONLY', $_ ] }
            qw( id publicKey privateKey links ) ),
        [ $method => $uri, [], 'INVALID_JSON' ],
        [ $method => $uri, '"x"', 'INVALID_JSON' ],
        [ $method => $uri, 'null', 'INVALID_JSON' ],
        [ $method => $uri, '12', 'INVALID_JSON' ],
        [ $method => $uri, 'true', 'INVALID_JSON' ],
        [ $method => $uri, '', 'MALFORMED_JSON' ],
        [ $method => $uri, '{', 'MALFORMED_JSON' ],
        [ $method => $uri, '{"desc":"x","desc":"y","roles":["ORG_MEMBER"]}',
            'MALFORMED_JSON' ],
    } [ POST => $keys ], [ PATCH => $one ] ),
    [ POST => "$om/orgs/$org->{id}/apiKeys",
        { desc => 'x', roles => [ 'ORG_STREAM_PROCESSING_ADMIN' ] },
        'UNSUPPORTED_ROLE' ],
    [ POST => "$om/orgs/$org->{id}/apiKeys",
        { desc => 'x', roles => [ 'ORG_MEMBER', 'GLOBAL_OWNER' ] },
        'CANNOT_ADD_GLOBAL_ROLE' ],
    [ POST => "$v2/orgs/$org->{id}/apiKeys",
        { desc => 'x', roles => [ 'GROUP_AUTOMATION_ADMIN' ] },
        'UNSUPPORTED_ROLE' ],
    ( map { [ POST => "$_/orgs/$org->{id}/apiKeys",
        { desc => 'x', roles => [ 'ORG_TEAM_MEMBERS_ADMIN' ] },
        'UNSUPPORTED_ROLE' ] } $om, $v2 ),
)
{
    my ($method, $uri, $body, $code, @params) = @$case;

    my $text = json_text($body);
    my $shown = length $text > 60 ? substr($text, 0, 60) . '...' : $text;
    refused($client->request($method, $uri, $body), $code, \@params,
        "$method $shown: $code");
}

is(key_rows(), $before, 'nothing of this has changed anything');


# ids that are none, nobody's, and another's

my $nobody = '0123456789abcdef01234567';

for my $name (sort keys %ApiKeys::Fixture::BASE) {
    my $base = $ApiKeys::Fixture::BASE{$name};
    my $orgs = "$base/orgs/$org->{id}/apiKeys";

    for my $method (qw( GET PATCH DELETE )) {
        my $body = $method eq 'PATCH' ? { desc => 'x' } : undef;

        for my $id ('x', '0' x 23, '0' x 25, 'A' x 24, 'g' x 24,
            $org->{key}{publicKey})
        {
            refused($client->request($method, "$orgs/$id", $body),
                'PATH_PARAM_PARSE_ERROR', [ "$orgs/$id" ],
                "$name: $method of the key $id");
            refused($client->request($method,
                "$base/orgs/$id/apiKeys/$nobody", $body),
                'PATH_PARAM_PARSE_ERROR',
                [ "$base/orgs/$id/apiKeys/$nobody" ],
                "$name: $method of a key of the organisation $id");
        }
        refused($client->request($method, "$orgs/$nobody", $body),
            'API_KEY_NOT_FOUND', [ $nobody ], "$name: $method of no key");
        refused($client->request($method, "$orgs/$other->{key}{id}", $body),
            'API_KEY_NOT_FOUND', [ $other->{key}{id} ],
            "$name: $method of another organisation's key");
        refused($client->request($method, "$base/orgs/$nobody/apiKeys/"
            . $keys[0]{id}, $body), 'ORG_NOT_FOUND', [ $nobody ],
            "$name: $method in no organisation");
        refused($client->request($method, "$base/orgs/$other->{id}/apiKeys/"
            . $keys[0]{id}, $body), 'ORG_NOT_FOUND', [ $other->{id} ],
            "$name: $method in another organisation answers alike");
    }
}
is(key_rows(), $before, 'and nothing has changed');


# the last owner

my $owner = $f->key($org, 'ORG_OWNER');
my $last = $f->org;
my $second = $f->key($last, qw( ORG_OWNER ORG_MEMBER ));

for my $name (sort keys %ApiKeys::Fixture::BASE) {
    my $base = $ApiKeys::Fixture::BASE{$name};
    my $uri = "$base/orgs/$last->{id}/apiKeys/$last->{key}{id}";

    is($last->{client}->request('PATCH', $uri,
        { roles => [ 'ORG_MEMBER' ] })->code, 200,
        "$name: one of two owners can be demoted");
    my $up = $second->{client}->request('PATCH',
        "$base/orgs/$last->{id}/apiKeys/$second->{id}",
        { roles => [ qw( ORG_READ_ONLY ORG_MEMBER ) ] });
    refused($up, 'CANNOT_DEMOTE_LAST_ORG_OWNER', [],
        "$name: the last one cannot");
    is($second->{client}->request('PATCH',
        "$base/orgs/$last->{id}/apiKeys/$second->{id}",
        { desc => 'x', roles => [ qw( ORG_OWNER ) ] })->code, 200,
        "$name: but may stay one");
    refused($second->{client}->request('DELETE',
        "$base/orgs/$last->{id}/apiKeys/$second->{id}"),
        'CANNOT_DELETE_LAST_OWNER', [], "$name: nor be deleted");
    is($second->{client}->request('PATCH', $uri,
        { roles => [ 'ORG_OWNER' ] })->code, 200, "$name: two again");
}

$last->{client}->request('DELETE', "$last->{path}/apiKeys/$last->{key}{id}");
is($f->operator('PATCH', "/orgs/$last->{id}/apiKeys/$second->{id}",
    { roles => [ 'ORG_MEMBER' ] })->code, 200,
    'the operator may demote the last owner');
$f->operator('PATCH', "/orgs/$last->{id}/apiKeys/$second->{id}",
    { roles => [ 'ORG_OWNER' ] });
is($f->operator('DELETE', "/orgs/$last->{id}/apiKeys/$second->{id}")->code,
    204, 'and delete it');
is($f->operator('GET', "/orgs/$last->{id}/apiKeys")->json->{totalCount}, 0,
    'an organisation without a key');


# a key deletes itself

is($owner->{client}->request('DELETE', "$keys/$owner->{id}")->code, 204,
    'an owner may delete the key it uses');
challenged($owner->{client}->request('GET', $keys), 'which is the end of it');


# five hundred; the first 498 come by SQL, which no limit binds

my $many = $f->org;
$f->db->psql(<<"END");
INSERT INTO apikeys.keys (id, org_id, public_key, secret, redacted, descr,
                          roles)
    SELECT lpad(to_hex(n), 24, '0'), '$many->{id}',
           translate(lpad(to_hex(n), 8, '0'), '0123456789abcdef',
                     'abcdefghijklmnop'),
           decode(repeat('00', 80), 'hex'), '000000000000', 'key ' || n,
           '{ORG_MEMBER}'
      FROM generate_series(1, 498) n
END

my $answer = $many->{client}->request('POST', "$many->{path}/apiKeys",
    { desc => 'the 500th', roles => [ 'ORG_MEMBER' ] });
is($answer->code, 200, 'there may be 500 keys');
for my $name (sort keys %ApiKeys::Fixture::BASE) {
    refused($many->{client}->request('POST',
        "$ApiKeys::Fixture::BASE{$name}/orgs/$many->{id}/apiKeys",
        { desc => 'the 501st', roles => [ 'ORG_MEMBER' ] }),
        'MAX_API_KEYS_PER_ORG_EXCEEDED', [ 500, $many->{id} ],
        "$name: but no more");
}
refused($f->operator('POST', "/orgs/$many->{id}/apiKeys",
    { desc => 'the 501st', roles => [ 'ORG_MEMBER' ] }),
    'MAX_API_KEYS_PER_ORG_EXCEEDED', [ 500, $many->{id} ],
    'nor for the operator');

{
    my $list = $many->{client}->request('GET',
        "$many->{path}/apiKeys?itemsPerPage=500")->json;
    my @public = map { $_->{publicKey} } @{ $list->{results} };
    is(scalar @public, 500, 'all of them in one list');
    is_deeply(\@public, [ sort @public ], 'in the order of their public keys');
    is($list->{totalCount}, 500, 'and counted');
    is_deeply([ map { $_->{rel} } @{ $list->{links} } ], [ 'self' ],
        'with no next page');
}

done_testing;
