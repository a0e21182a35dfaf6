# What a page costs among many events, and what events are kept.  It is a
# program as it compares the plans of PostgreSQL, and statements that fail.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use ApiKeys::Sql ();
use JSON::PP ();
use Test::More;

my $f = ApiKeys::Fixture->new(zone => '16m');
my $sql = ApiKeys::Sql->new($f->db);
my $org = $f->org;
my $path = "$org->{path}/events";

ok(!$sql->run('DELETE FROM apikeys.events'),
    'DELETE from apikeys.events is refused');
ok(!$sql->run("UPDATE apikeys.events SET type = 'x'"),
    'UPDATE of apikeys.events is refused');

sub fill {
    my ($n) = @_;
    $sql->run("INSERT INTO apikeys.events (at, type, org_id, target_public_key)
        SELECT now() - i * interval '1 second',
               (ARRAY['API_KEY_CREATED', 'API_KEY_DELETED'])[1 + i % 2],
               '$org->{id}', 'aaaaaaaa'
          FROM generate_series(1, $n) AS i") or die $sql->error;
    # as autovacuum does with tables that only grow
    $sql->run('VACUUM ANALYZE apikeys.events');
}

# the blocks that the second time reads
sub blocks {
    my ($types, $from, $key) = (@_, 'NULL');
    my (undef, $plan) = map { $sql->value("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
        SELECT * FROM apikeys.list_events('$org->{id}', NULL, $types, $from,
                                          NULL, 100, 0, 10000, $key)") } 1 .. 2;
    my $node = JSON::PP->new->decode($plan)->[0]{Plan};
    return $node->{'Shared Hit Blocks'} + $node->{'Shared Read Blocks'};
}

my %ways = ('of all types' => [ 'NULL', 'NULL' ],
    'of two types' => [ q('{API_KEY_DELETED,API_KEY_ROLES_CHANGED}'), 'NULL' ],
    'of a type that is rare' => [ q('{ORG_CREATED}'), 'NULL' ],
    'of a key that is rare' => [ 'NULL', 'NULL', "'$org->{key}{publicKey}'" ],
    'since long ago' => [ 'NULL', q('1970-01-01') ]);

fill(20_000);
my %few = map { $_ => blocks(@{ $ways{$_} }) } keys %ways;
fill(400_000);
for my $name (sort keys %ways) {
    my $blocks = blocks(@{ $ways{$name} });
    cmp_ok($blocks, '<=', 1.5 * $few{$name} + 50, "a page of events $name reads"
        . " $blocks blocks, and $few{$name} among a twentieth of the events");
}

my $first = $org->{client}->request('GET', $path)->json;
is(scalar @{ $first->{results} }, 100, 'a page has 100 of many events');
is($first->{totalCount}, 10_100,
    'events are counted up to 10,000 beyond the page');
is($first->{links}[-1]{rel}, 'next', 'a page of many events has a next page');
is($org->{client}->request('GET', "$path?eventType=ORG_CREATED")
    ->json->{totalCount}, 1, 'events of a rare type are counted exactly');

my $events = $sql->value('SELECT count(*) FROM apikeys.events');
is($sql->value('SELECT apikeys.forget_before(now(), 2)'), 4,
    'forget_before() deletes as many rows of the audit and of the events');
is($sql->value('SELECT count(*) FROM apikeys.events'), $events - 2,
    'forget_before() deletes events');

done_testing();
