# npm's clients, each with a digest implementation of its own, take a key
# through its life on each base; and one that signs another request than it
# sends is refused.

use strict;
use warnings;

use Cwd qw( abs_path );
use JSON::PP ();
use POSIX ();
use Test::More;

use ApiKeys::Fixture ();

my $root = abs_path(__FILE__) =~ s{/t/[^/]+$}{}r;
my $json = JSON::PP->new->utf8->allow_nonref;

chomp(my $npm = qx{$root/util/npm 2>&1});
if ($? || !-d $npm) {
    fail 'the npm packages are there';
    diag $npm;
    done_testing;
    exit;
}

my $f = ApiKeys::Fixture->new(workers => 2);
my $org = $f->org;
my $project = $f->project($org);

my %base = (%ApiKeys::Fixture::BASE);
my %type = (atlas_v2 => 'application/vnd.atlas.2023-01-01+json;charset=utf-8');

for my $client (qw( urllib digest-fetch atlas-api-client )) {
    for my $base (sort keys %base) {
        subtest "$client on $base" => sub { life($client, $base) };
    }
}
subtest 'axios-digest-auth' => \&axios;

done_testing;


# step => what it was answered
sub flow {
    my ($client, $base) = @_;

    my ($public, $private) = split /:/, $org->{key}{secret};
    local @ENV{qw( NPM PUBLIC_KEY PRIVATE_KEY ORG_ID PROJECT_ID )} = ($npm,
        $public, $private, $org->{id}, $project->{id});

    my $pid = open my $out, '-|';
    defined $pid or die "fork: $!\n";
    if ($pid == 0) {
        { exec 'timeout', '60', "$npm/bin/node",
            "$root/t/tools/client-flow.mjs", $client,
            $f->nginx->url . $base{$base} };
        POSIX::_exit(127);
    }
    my $text = do { local $/; <$out> } // '';
    close $out;
    is $?, 0, 'the client runs to its end';

    my %step;
    for my $step ($text =~ /^\[/ ? @{ $json->decode($text) } : ()) {
        $step->{doc} = length($step->{body} // '')
            ? eval { $json->decode($step->{body}) } // {} : {};
        $step{ $step->{step} } = $step;
    }
    return \%step;
}


sub life {
    my ($client, $base) = @_;

    my $gone = $base eq 'atlas_v2' ? 404 : 400;
    my $step = flow($client, $base);
    my %status = map { $_ => $step->{$_}{status} }
        grep { defined $step->{$_}{status} } keys %$step;

    is_deeply \%status, { who => 200, create => 200, list => 200, get => 200,
        change => 200, add => 200, entries => 200, entry => 200, drop => 204,
        dropped => 404, assign => 204, grant => 200, members => 200,
        unassign => 204, delete => 204, gone => $gone },
            'the status of every step of the client flow';

    my %doc = map { $_ => $step->{$_}{doc} } keys %$step;
    my $created = $doc{create};

    is $doc{who}{apiKey}{id}, $org->{key}{id},
        'the root names the calling key';
    like $created->{privateKey}, qr/^[0-9a-f]{8}-.*-[0-9a-f]{12}$/,
        'the private key is shown once';
    is $doc{get}{privateKey}, '********-****-****-'
        . substr($created->{privateKey}, -12),
        'a later GET shows only the end of the private key';
    cmp_ok $doc{list}{totalCount}, '>=', 2, 'the list counts';
    is $doc{change}{desc}, 'changed', 'the description is the new one';
    is_deeply [ map { $_->{cidrBlock} } @{ $doc{entries}{results} } ],
        [ '192.0.2.7/32', '198.51.100.0/24' ], 'the entries are there';
    is $doc{entry}{cidrBlock}, '198.51.100.0/24', 'a block is found';
    is_deeply [ map { $_->{roleName} } @{ $doc{grant}{roles} } ],
        [ 'ORG_MEMBER', 'GROUP_OWNER' ], 'its roles are those of both';
    is $doc{members}{results}[0]{id}, $created->{id},
        'the key is in the project';
    is $doc{gone}{errorCode}, 'API_KEY_NOT_FOUND',
        'the deleted key is not found';
    is $step->{$_}{type}, $type{$base} || 'application/json', "type of $_"
        for qw( list entry );
    is $step->{gone}{type}, 'application/json', 'type of an error';

    whole(\%doc) if $client eq 'atlas-api-client';
}


sub whole {
    my ($doc) = @_;

    is_deeply [ map { $_->{id} } @{ $doc->{orgs}{results} } ], [ $org->{id} ],
        'the organization of the key';
    is $doc->{org}{name}, $org->{name}, 'the organization';
    is scalar(@{ $doc->{'projects of the org'}{results} }), 1,
        'a page of projects';
    cmp_ok $doc->{projects}{totalCount}, '>=', 1, 'projects';
    is $doc->{project}{name}, $project->{name}, 'the project';
    is $doc->{'new project'}{orgId}, $org->{id}, 'one more project';
}


# its uri= has no query, though the request has
sub axios {
    my $step = flow('axios', 'atlas_v1');

    is $step->{'without a query'}{status}, 200, 'signed as it is sent';
    is $step->{'with a query'}{status}, 401,
        '401 if the digest uri lacks the query string';
    is $step->{'with a query'}{doc}{errorCode}, 'UNEXPECTED_ERROR',
        'as any other wrong credentials';
}
