# What the audit keeps: one row for each change, made in its transaction, with
# who, from where, what, before and after; nothing of what failed or changed
# nothing; and no secret of anybody's.

use strict;
use warnings;

use Digest::MD5 qw( md5_hex );
use Digest::SHA qw( sha256_hex );
use JSON::PP ();
use Test::More;

use ApiKeys::Fixture ();

my %key_not_found = (atlas_v1 => 400, atlas_v2 => 404, ops_manager => 400);
my $json = JSON::PP->new->canonical->utf8;
my @secrets;

for my $base (sort keys %ApiKeys::Fixture::BASE) {
    my $f = ApiKeys::Fixture->new(base => $base);
    subtest $base => sub { audit($f, $base); secrets($f) };
}

done_testing;


sub audit {
    my ($f, $base) = @_;

    my $dbh = $f->db->dbh;
    my $accept = { Accept => 'application/vnd.atlas.2023-01-01+json' };
    my $last = 0;

    # the rows since the last call, decoded
    my $rows = sub {
        my $all = $dbh->selectall_arrayref(<<'END_OF_SQL', { Slice => {} }, $last);
SELECT id, event, caller, address, org_id, project_id, key_id,
       before::text, after::text, now() - at < '1 minute' AS fresh
  FROM apikeys.audit WHERE id > ? ORDER BY id
END_OF_SQL
        for (@$all) {
            $last = delete $_->{id};
            ok delete $_->{fresh}, "$_->{event} has the time";
            defined $_ and $_ = $json->decode($_) for @$_{qw( before after )};
        }
        return $all;
    };

    my $call = sub {
        my ($client, $method, $path, $body) = @_;
        return $client->request($method, $path, $body, headers => $accept);
    };

    # the one row that a call leaves
    my $change = sub {
        my ($title, $client, $request, $status, %row) = @_;

        my $res = $call->($client, @$request);
        is $res->code, $status, $title or diag $res->body;
        my $answer = $status < 300 && length $res->body ? $res->json : {};
        $_ = $_->($answer) for grep { ref eq 'CODE' } values %row;
        is_deeply $rows->(), [ { project_id => undef, key_id => undef,
            before => undef, after => undef, address => '127.0.0.1', %row } ],
            "$title: the row";
        return $answer;
    };

    my $nothing = sub {
        my ($title, $client, $request, $status) = @_;

        my $res = $call->($client, @$request);
        is $res->code, $status, $title or diag $res->body;
        is_deeply $rows->(), [], "$title: no row";
    };

    # the operator makes an organization, and with it a key: two things
    my $operator = $f->client(token => $f->token);
    my $res = $call->($operator, 'POST', $f->base . '/orgs', { name => 'audited',
        apiKey => { desc => 'owner', roles => ['ORG_OWNER'] } });
    is $res->code, 201, 'an organization';

    my $made = $res->json;
    my $org = ($made->{organization} || $made)->{id};
    my $owner = remember($made->{apiKey});
    my $first = shown($owner, 'owner', ['ORG_OWNER']);
    my %by_operator = (org_id => $org, caller => 'operator',
        address => '127.0.0.1', project_id => undef, before => undef);
    is_deeply $rows->(), [
        { %by_operator, event => 'ORG_CREATED', key_id => undef,
            after => { name => 'audited' } },
        { %by_operator, event => 'API_KEY_CREATED', key_id => $owner->{id},
            after => $first } ], 'an organization: the rows';

    my $client = $f->client(key => $owner->{secret},
        local => '127.0.0.3');
    my %by = (org_id => $org, caller => $owner->{id},
        address => '127.0.0.3');
    my $o = $f->base . "/orgs/$org";

    # keys
    my $key = remember($change->('a key', $client, [ POST => "$o/apiKeys",
        { desc => 'one', roles => ['ORG_MEMBER'] } ], 200,
        %by, event => 'API_KEY_CREATED', key_id => sub { $_[0]{id} },
        after => sub { shown($_[0], 'one', ['ORG_MEMBER']) }));
    my $k = "$o/apiKeys/$key->{id}";
    my %of = (%by, key_id => $key->{id});

    $change->('its description', $client, [ PATCH => $k, { desc => 'two' } ],
        200, %of, event => 'API_KEY_DESCRIPTION_CHANGED', before => { desc => 'one' },
        after => { desc => 'two' });
    $change->('its roles', $client,
        [ PATCH => $k, { roles => [ 'ORG_READ_ONLY', 'ORG_MEMBER' ] } ],
        200, %of, event => 'API_KEY_ROLES_CHANGED', before => { roles => ['ORG_MEMBER'] },
        after => { roles => [ 'ORG_MEMBER', 'ORG_READ_ONLY' ] });
    $nothing->('the same again', $client, [ PATCH => $k, { desc => 'two',
        roles => [ 'ORG_MEMBER', 'ORG_READ_ONLY' ] } ], 200);

    # its list
    $change->('entries', $client, [ POST => "$k/accessList",
        [ { ipAddress => '192.0.2.7' }, { cidrBlock => '10.1.0.0/8' } ] ],
        200, %of, event => 'API_KEY_ACCESS_LIST_ENTRY_ADDED',
        after => { entries => [ '192.0.2.7/32', '10.0.0.0/8' ] });
    $nothing->('an entry that is there', $client, [ POST => "$k/accessList",
        [ { ipAddress => '192.0.2.8' }, { ipAddress => '192.0.2.7' } ] ], 409);
    $change->('not an entry any more', $client,
        [ DELETE => "$k/accessList/10.0.0.0%2F8" ], 204, %of,
        event => 'API_KEY_ACCESS_LIST_ENTRY_DELETED',
        before => { entries => ['10.0.0.0/8'] });
    $nothing->('an entry that is not there', $client,
        [ DELETE => "$k/accessList/10.0.0.0%2F8" ], 404);

    # a project, which its maker owns
    my $res2 = $call->($client, 'POST', $f->base . '/groups',
        { name => 'p', orgId => $org });
    is $res2->code, 201, 'a project';
    my $project = $res2->json->{id};
    my $g = $f->base . "/groups/$project/apiKeys";
    my %in = (%by, project_id => $project);
    is_deeply $rows->(), [
        { %in, key_id => undef, event => 'GROUP_CREATED', before => undef,
            after => { name => 'p' } },
        { %in, key_id => $owner->{id}, event => 'API_KEY_ADDED_TO_GROUP',
            before => undef, after => { roles => ['GROUP_OWNER'] } } ],
        'a project: the rows';

    my $reader = { roles => ['GROUP_READ_ONLY'] };
    my $admin = { roles => ['GROUP_OWNER'] };
    %of = (%in, key_id => $key->{id});

    $change->('assigned', $client, [ POST => "$g/$key->{id}",
        [ { roles => ['GROUP_READ_ONLY'] } ] ], 204, %of,
        event => 'API_KEY_ADDED_TO_GROUP', after => $reader);
    $nothing->('assigned again', $client, [ POST => "$g/$key->{id}",
        [ { roles => ['GROUP_OWNER'] } ] ], 400);
    $change->('other roles there', $client, [ PATCH => "$g/$key->{id}",
        { roles => ['GROUP_OWNER'] } ], 200, %of,
        event => 'API_KEY_ROLES_CHANGED', before => $reader,
        after => $admin);
    $change->('unassigned', $client, [ DELETE => "$g/$key->{id}" ], 204, %of,
        event => 'API_KEY_REMOVED_FROM_GROUP', before => $admin);
    $nothing->('unassigned again', $client, [ DELETE => "$g/$key->{id}" ],
        $base eq 'atlas_v2' ? 404 : 204);
    $change->('assigned by PATCH', $client, [ PATCH => "$g/$key->{id}",
        { roles => ['GROUP_READ_ONLY'] } ], 200, %of,
        event => 'API_KEY_ADDED_TO_GROUP', after => $reader);

    # a key of the project: made, and assigned
    my $res3 = $call->($client, POST => $g,
        { desc => 'm', roles => ['GROUP_READ_ONLY'] });
    is $res3->code, 200, 'a key of the project';
    my $member = remember($res3->json);
    is_deeply $rows->(), [
        { %by, project_id => undef, key_id => $member->{id},
            event => 'API_KEY_CREATED', before => undef,
            after => shown($member, 'm', ['ORG_MEMBER']) },
        { %in, key_id => $member->{id}, event => 'API_KEY_ADDED_TO_GROUP',
            before => undef, after => $reader } ],
        'a key of the project: the rows';

    # settings
    my ($off, $on) = map { { apiAccessListRequired => $_ } }
        JSON::PP::false, JSON::PP::true;
    $change->('lists are required', $client, [ PATCH => "$o/settings", $on ],
        200, %by, event => 'ORG_PUBLIC_API_ACCESS_LIST_REQUIRED',
        before => $off, after => $on);
    $nothing->('which locks their maker out', $client,
        [ PATCH => "$o/settings", $off ], 403);
    $change->('lists are not required', $operator,
        [ PATCH => "$o/settings", $off ], 200, org_id => $org,
        caller => 'operator',
        event => 'ORG_PUBLIC_API_ACCESS_LIST_NOT_REQUIRED',
        before => $on, after => $off);
    $nothing->('still not', $operator, [ PATCH => "$o/settings", $off ], 200);

    # what does not succeed
    my $powerless = $f->client(key => $member->{secret});
    my $n = 'x' x 251;
    $nothing->("refused: $_->[0] $_->[1]", $_->[3] || $client,
        [ @$_[0 .. 1], $_->[4] ], $_->[2]) for (
        [ POST => "$o/apiKeys", 400, undef, { desc => '', roles => [] } ],
        [ POST => "$o/apiKeys", 400, undef, { desc => $n,
            roles => ['ORG_MEMBER'] } ],
        [ POST => "$o/apiKeys", 400, undef, { desc => 'x',
            roles => ['ORG_KING'] } ],
        [ POST => "$o/apiKeys", 401, $powerless, { desc => 'x',
            roles => ['ORG_MEMBER'] } ],
        [ POST => $f->base . '/orgs', $base eq 'ops_manager' ? 401 : 403,
            undef, { name => 'x' } ],
        [ POST => $f->base . '/groups', 401, $powerless, { name => 'x',
            orgId => $org } ],
        [ PATCH => $k, 401, $powerless, { desc => 'x' } ],
        [ DELETE => $k, 401, $powerless ],
        [ DELETE => "$o/apiKeys/$owner->{id}", 403 ],
        [ PATCH => "$o/apiKeys/$owner->{id}", 403, undef,
            { roles => ['ORG_MEMBER'] } ],
        [ PATCH => "$o/settings", 401, $powerless,
            $on ],
        [ POST => "$k/accessList", 400, undef,
            [ { ipAddress => '192.0.2.9' }, { cidrBlock => '0.0.0.0/0' } ] ],
        [ DELETE => "$o/apiKeys/" . '0' x 24, $key_not_found{$base} ]);

    # a key goes: out of its projects, and then all of it
    is $call->($client, DELETE => $k)->code, 204, 'deleted';
    is_deeply $rows->(), [
        { %of, event => 'API_KEY_REMOVED_FROM_GROUP', before => $reader,
            after => undef },
        { %of, project_id => undef, event => 'API_KEY_DELETED',
            after => undef, before => {
                %{ shown($key, 'two', [ 'ORG_MEMBER', 'ORG_READ_ONLY' ]) },
                projects => { $project => ['GROUP_READ_ONLY'] },
                entries => ['192.0.2.7/32'] } } ], 'deleted: the rows';

    # names, attributes, and what goes
    $change->('an organization by another name', $client,
        [ PATCH => $o, { name => 'renamed' } ], 200, %by,
        event => 'ORG_RENAMED', before => { name => 'audited' },
        after => { name => 'renamed' });
    $change->('its attributes', $client, [ PATCH => $o,
        { name => 'renamed', skipDefaultAlertsSettings => JSON::PP::true } ],
        200, %by, event => 'ORG_ATTRIBUTES_CHANGED',
        before => { skipDefaultAlertsSettings => undef },
        after => { skipDefaultAlertsSettings => JSON::PP::true });
    $nothing->('the same again', $client, [ PATCH => $o,
        { name => 'renamed', skipDefaultAlertsSettings => JSON::PP::true } ],
        200);

    my $p = $f->base . "/groups/$project";
    my $tags = $base eq 'ops_manager' ? ['TAG']
        : [ { key => 'k', value => 'v' } ];
    my $stored = $base eq 'ops_manager' ? 'tokens' : 'tags';
    $change->('a project by another name', $client,
        [ PATCH => $p, { name => 'q' } ], 200, %in,
        event => 'GROUP_NAME_CHANGED', before => { name => 'p' },
        after => { name => 'q' });
    $change->('its tags', $client, [ PATCH => $p, { tags => $tags } ], 200,
        %in, event => 'GROUP_ATTRIBUTES_CHANGED',
        before => { $stored => undef }, after => { $stored => $tags });
    $nothing->('the same tags again', $client,
        [ PATCH => $p, { tags => $tags } ], 200);
    $nothing->('an organization that is not empty', $client,
        [ DELETE => $o ], 409);

    # in the order of the keys that are in it
    is $call->($client, DELETE => $p)->code,
        $base eq 'ops_manager' ? 200 : 202, 'a project is deleted';
    my @gone = @{ $rows->() };
    is_deeply pop @gone, { %in, key_id => undef, event => 'GROUP_DELETED',
        before => { name => 'q' }, after => undef }, 'its row is the last';
    is_deeply \@gone, [ map { { %in, key_id => $_,
        event => 'API_KEY_REMOVED_FROM_GROUP', after => undef,
        before => { roles => [ $_ eq $owner->{id} ? 'GROUP_OWNER'
            : 'GROUP_READ_ONLY' ] } } } sort $owner->{id}, $member->{id} ],
        'after those of the keys that were in it';

    my @keys = sort map { $_->{publicKey} } @{ $call->($client, 'GET',
        "$o/apiKeys")->json->{results} };
    $change->('an organization is deleted', $client, [ DELETE => $o ], 204,
        %by, event => 'ORG_DELETED',
        before => { name => 'renamed', keys => \@keys });

    eval { $dbh->do('DELETE FROM apikeys.audit') };
    like $@, qr/can only be added/, 'and nobody takes a row away';
}


# how the audit shows a key
sub shown {
    my ($key, $desc, $roles) = @_;

    return { publicKey => $key->{publicKey}, desc => $desc, roles => $roles,
        redacted => substr($key->{privateKey}, -12) };
}


# a key as it was answered, with what it logs in with
sub remember {
    my ($key) = @_;

    $key->{secret} = "$key->{publicKey}:$key->{privateKey}";
    push @secrets, $key;
    return $key;
}


# the whole audit, as text, against all that it must not hold
sub secrets {
    my ($f) = @_;

    my $dbh = $f->db->dbh;
    my ($text) = $dbh->selectrow_array(
        q{SELECT string_agg(a::text, E'\n') FROM apikeys.audit a});
    my $sealed = $dbh->selectcol_arrayref(
        q{SELECT encode(secret, 'hex') FROM apikeys.keys});

    cmp_ok length $text, '>', 3000, 'there is something to look through';
    for my $key (@secrets) {
        my $login = "$key->{publicKey}:MMS Public API:$key->{privateKey}";
        unlike $text, qr/\Q$_\E/i, 'no secret in it'
            for $key->{privateKey}, substr($key->{privateKey}, 0, 18),
                md5_hex($login), sha256_hex($login);
    }
    unlike $text, qr/$_/i, 'nor a sealed one' for @$sealed;
    unlike $text, qr/\Q${\ $f->token}\E/, 'nor the token';
}
