# A filtered and sorted list on the native API reads the keys of its
# organization or project, and no others.  It is a program as it compares the
# plans of PostgreSQL.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use JSON::PP ();
use Test::More;

my $f = ApiKeys::Fixture->new(zone => '32m');
my $base = $ApiKeys::Fixture::ALL{native};
my ($db, $pg) = ($f->db, $f->pg);
my $org = $f->org;
my $project = $f->project($org);
my @keys = map { $f->key($org, 'ORG_MEMBER') } 1 .. 20;

for my $key (@keys[ 0 .. 9 ]) {
    $f->operator('PUT', "$base/projects/$project->{id}/apiKeys/$key->{id}",
        { roles => ['GROUP_OWNER'] });
    $f->operator('POST', "$base/orgs/$org->{id}/apiKeys/$key->{id}/accessList",
        [ { cidrBlock => '127.0.0.0/8' } ]);
}

# many keys of others
my $other = $f->org;
$f->copies($other, $other->{key}, 20_000);
$db->psql('VACUUM ANALYZE');

# log_statement of new connections
my $name = $db->name;
$db->dbh->do(qq{ALTER DATABASE "$name" SET log_statement = 'all'});
$db->dbh->do('SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = ? AND pid <> pg_backend_pid()', undef, $name);
$f->nginx->wait_for(sub {
    $f->operator('GET', '/orgs')->code == 200 }, 20, 'no database');

# the statement of a list, as nginx sends it
sub statement {
    my ($path, $name) = @_;

    my $mark = length $pg->log_text;
    my $res = $f->operator('GET', "$path?sort=-createdAt");
    is $res->code, 200, "$name: a list is answered" or diag $res->body;
    my ($text) = substr($pg->log_text, $mark)
        =~ /execute $name: (SELECT .*?)\n\S+ \S+ .*?DETAIL/s;
    ok defined $text, "$name: the statement is in the log";
    return $text;
}

# [ relation, rows that were read, kind of scan ] of all scans
sub scans {
    my ($node) = @_;

    my @scans = map { scans($_) } @{ $node->{Plans} || [] };
    push @scans, [ $node->{'Relation Name'}, $node->{'Actual Loops'}
        * ($node->{'Actual Rows'} + ($node->{'Rows Removed by Filter'} // 0)),
        $node->{'Node Type'} ] if defined $node->{'Relation Name'};
    return @scans;
}

my %of = (apikeys_key_list_org => [ "$base/orgs/$org->{id}/apiKeys", $org->{id},
    scalar @keys + 1 ], apikeys_key_list_project =>
    [ "$base/projects/$project->{id}/apiKeys", $project->{id}, 10 ]);
my %filter = (public_key => 1, desc => 2, role => 3, access_list => 4,
    disabled => 5, expires => 6, sort => 7);
my %value = (public_key => "'abcdefgh'", desc => "'key'", role => "'GROUP_OWNER'",
    access_list => "'none'", disabled => "'true'",
    expires => "'2030-01-01T00:00:00Z'", sort => "'-expiresAt'");

for my $list (sort keys %of) {
    my ($path, $id, $n) = @{ $of{$list} };
    my $text = statement($path, $list) // next;
    $db->dbh->do("PREPARE $list AS $text");

    for my $by ('nothing', sort keys %filter) {
        my @args = ("'$id'", ('NULL') x 7, 100, 0);
        $args[ $filter{$by} ] = $value{$by} if $by ne 'nothing';

        my ($plan) = $db->dbh->selectrow_array(
            "EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE $list("
            . join(', ', @args) . ')');
        my @scans = grep { $_->[0] eq 'keys' }
            scans(JSON::PP->new->decode($plan)->[0]{Plan});
        my @bad = grep { $_->[1] > $n || $_->[2] eq 'Seq Scan' } @scans;

        ok @scans && !@bad, "$list by $by reads at most $n keys, by an index"
            or diag explain \@scans;
    }
}

done_testing;
