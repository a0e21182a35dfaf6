# docs/project-roles.md: each of its cells, on each base.  A call that is
# refused changes no row.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use Test::More;

my $f = ApiKeys::Fixture->new(zone => '16m',
    headers => { Accept => 'application/vnd.atlas.2023-01-01+json' });
my $db = $f->db;
my %base = %ApiKeys::Fixture::BASE;

my $org = $f->org;
my $project = $f->project($org);
my $elsewhere = $f->project($org);

$db->psql("SELECT apikeys.set_quota('$org->{id}', p_keys => 10000,
                                    p_assignments => 100000)");

# a key with roles in the organization, in the project, and in another one
sub key {
    my (%roles) = @_;

    my $key = $f->key($org, @{ $roles{org} || ['ORG_MEMBER'] });
    my %in = (here => $project, there => $elsewhere);
    for my $where (grep { $roles{$_} } sort keys %in) {
        my $res = $org->{client}->request('PATCH', "$base{atlas_v1}/groups/"
            . "$in{$where}{id}/apiKeys/$key->{id}",
            { roles => [ split /,/, $roles{$where} ] });
        $res->code == 200 or die "not assigned: $res->{body}\n";
    }
    return $key;
}

my %caller = (
    operator => undef,
    ORG_OWNER => sub { key(org => ['ORG_OWNER'], here => 'GROUP_READ_ONLY') },
    'GROUP_OWNER of another project' => sub { key(there => 'GROUP_OWNER') },
    ORG_GROUP_CREATOR => sub { key(org => ['ORG_GROUP_CREATOR']) },
    map { my $role = $_; $role => sub { key(here => $role) } }
        qw( GROUP_OWNER GROUP_ACCESS_MANAGER GROUP_READ_ONLY ),
);

my $plain = 'GROUP_DATA_ACCESS_READ_ONLY';
my $keys = "groups/$project->{id}/apiKeys";

sub create { return [ POST => $keys, { desc => 'new', roles => [@_] } ] }

# the call on a key that is made for it
sub on {
    my ($method, $body, %roles) = @_;

    return sub { [ $method => "$keys/" . key(%roles)->{id}, $body ] };
}

sub roles { return { roles => [@_] } }
my $desc = { desc => 'renamed' };

my %call = (
    'POST: create a key with a plain role' => sub { create($plain) },
    'POST: create a key with GROUP_OWNER' => sub { create('GROUP_OWNER') },
    'POST: create a key with GROUP_ACCESS_MANAGER' =>
        sub { create($plain, 'GROUP_ACCESS_MANAGER') },
    'POST: create a key with a role of the organization' =>
        sub { create($plain, 'ORG_READ_ONLY') },
    'POST: assign a key of the organization with a plain role' =>
        on('POST', roles($plain)),
    'POST: assign a key of the organization with GROUP_OWNER' =>
        on('POST', roles('GROUP_OWNER')),
    'PATCH: roles of a key that is not in the project' =>
        on('PATCH', roles($plain)),
    'PATCH: roles from plain to plain' =>
        on('PATCH', roles($plain), here => 'GROUP_READ_ONLY'),
    'PATCH: roles from plain to GROUP_OWNER' =>
        on('PATCH', roles('GROUP_OWNER'), here => $plain),
    'PATCH: roles from plain to GROUP_ACCESS_MANAGER' =>
        on('PATCH', roles($plain, 'GROUP_ACCESS_MANAGER'), here => $plain),
    'PATCH: roles from GROUP_OWNER to plain' =>
        on('PATCH', roles($plain), here => "GROUP_OWNER,$plain"),
    'PATCH: roles from GROUP_ACCESS_MANAGER to plain' =>
        on('PATCH', roles($plain), here => 'GROUP_ACCESS_MANAGER'),
    "PATCH: roles of the caller's own key to GROUP_OWNER" => sub {
        [ PATCH => "$keys/$_[0]{id}", roles('GROUP_OWNER') ] },
    'PATCH: desc of a key with a plain role' =>
        on('PATCH', $desc, here => $plain),
    'PATCH: desc of a key with GROUP_OWNER' =>
        on('PATCH', $desc, here => 'GROUP_OWNER'),
    'PATCH: desc of a key with GROUP_ACCESS_MANAGER' =>
        on('PATCH', $desc, here => 'GROUP_ACCESS_MANAGER'),
    'PATCH: desc of a key with a role in another project, too' =>
        on('PATCH', $desc, here => $plain, there => $plain),
    'PATCH: desc of a key with a role of the organization but ORG_MEMBER' =>
        on('PATCH', $desc, here => $plain, org => ['ORG_READ_ONLY']),
    'DELETE: a key with a plain role' => on('DELETE', undef, here => $plain),
    'DELETE: a key with GROUP_OWNER' =>
        on('DELETE', undef, here => 'GROUP_OWNER'),
    'DELETE: a key with GROUP_ACCESS_MANAGER' =>
        on('DELETE', undef, here => 'GROUP_ACCESS_MANAGER'),
);

# the table
open my $doc, '<', "$FindBin::Bin/../docs/project-roles.md" or die $!;
my ($head, @rows);
while (<$doc>) {
    my @cells = /^\| (.*) \|$/ ? split / \| /, $1 : next;
    $head ? push @rows, \@cells : ($head = \@cells);
}
my @callers = @$head[ 1 .. $#$head ];
is_deeply([ sort @callers ], [ sort keys %caller ], 'the callers of the table');
is_deeply([ sort map { $_->[0] } @rows ], [ sort keys %call ],
    'the calls of the table');

my $rows = 'SELECT string_agg(s::text, e\'\n\' ORDER BY id)
    FROM (SELECT id, descr, roles, projects FROM apikeys.key_states) s';

my %known;
for my $row (@rows) {
    my ($name, @cells) = @$row;

    for my $n (0 .. $#callers) {
        my $who = $callers[$n];
        my $cell = $cells[$n];
        next if $cell eq '-';

        for my $base (sort keys %base) {
            my $caller = $who eq 'operator' ? undef
                : $name =~ /own key/ ? $caller{$who}->()
                : ($known{$who} ||= $caller{$who}->());
            my ($method, $path, $body) = @{ $call{$name}->($caller) };
            my $client = $caller ? $f->client(key => $caller->{secret})
                : $f->client(token => $f->token);
            my $may = $cell eq 'yes' || $cell eq 'v2' && $base eq 'atlas_v2';

            my $before = $db->dbh->selectrow_array($rows);
            my $res = $client->request($method, "$base{$base}/$path", $body,
                headers => { Accept =>
                    'application/vnd.atlas.2023-01-01+json' });
            $client->close;

            if ($may && $base eq 'ops_manager' && $body
                && grep { $_ eq 'GROUP_ACCESS_MANAGER' } @{ $body->{roles} || [] })
            {
                is($res->json->{errorCode}, 'UNSUPPORTED_ROLE',
                    "$base, $who: $name");
                next;
            }
            if ($may) {
                like($res->code, qr/^20[014]$/, "$base, $who: $name")
                    or diag $res->{body};
                next;
            }
            my $said = $res->code
                . ($res->code == 401 ? ' ' . $res->json->{errorCode} : '');
            my $after = $db->dbh->selectrow_array($rows);
            is($said . ($after eq $before ? '' : ', rows changed'),
                '401 USER_UNAUTHORIZED', "$base, $who is refused: $name");
        }
    }
}

done_testing;
