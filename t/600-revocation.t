# Revocations: several nodes over one database are asked for keys all the
# time, while these are deleted or disabled, lose their roles, secrets or the
# entries of their lists, through the API of any node and in psql.  Every
# request that was sent after commit + bound and let in is counted: there is
# none.
#
# APIKEYS_TEST_REVOCATIONS: how many, 300 when not set.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use ApiKeys::Prober ();
use JSON::PP ();
use Test::More;
use Time::HiRes qw( sleep time );

my $total = $ENV{APIKEYS_TEST_REVOCATIONS} || 300;
my $batch = 12;

# seconds; where everything is many times slower only the order is tested
my $slow = $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND} ? 10 : 1;

my $server = <<'END';
        location /org {
            apikeys_auth basic;
            apikeys_require org=$arg_id role=ORG_MEMBER;
            empty_gif;
        }
END

# one that is stopped while it writes the zone is killed by the other
my %conf = (workers => 2, server => $server,
    allow => qr/worker\ process\ \d+\ (?:exited\ on\ signal\ 9
        |was\ suspended\ while\ holding)|shared\ memory\ zone/x);
my $f = ApiKeys::Fixture->new(%conf,
    http => 'apikeys_wait 0; apikeys_sync poll=1s;');
my $db = $f->db;
my $dbh = $db->dbh;
my $org = $f->org;
my $uri = "/org?id=$org->{id}";

my @nodes = $f->nginx;

sub node {
    my ($http) = @_;

    my $node = $f->node(%conf, http => $http);
    $node->start;
    $f->wait_loaded($node);
    return $node;
}

push @nodes, node('apikeys_wait 0; apikeys_sync poll=1s;') for 1 .. 2;

sub probers { return map { ApiKeys::Prober->new(port => $_->port) } @_ }

# until each of the watched is answered so by each node
sub settled {
    my ($code, $timeout, @probers) = @_;

    my $end = time + $timeout;
    for ( ;; ) {
        my @seen = map { $_->seen } @probers;
        return 1 if !grep { !$code->($_->{code}) } @seen;
        return 0 if time > $end;
        sleep 0.01;
    }
}

sub admitted { return $_[0] == 200 }
sub refused { return $_[0] == 401 || $_[0] == 403 }

sub key {
    my $key = $f->key($_[0] || $org, 'ORG_MEMBER');
    $dbh->do("INSERT INTO apikeys.access_list (key_id, cidr)
              VALUES (?, '127.0.0.0/8'), (?, '10.0.0.0/8')", undef,
        ($key->{id}) x 2);
    return $key;
}

my @owners = map { $f->client(key => $org->{key}{secret}, nginx => $_) }
    @nodes;

sub api {
    my ($status, @request) = @_;

    my $res = $owners[ rand @owners ]->request(@request);
    $res && $res->code == $status
        or die "not $status: " . ($res ? $res->{body} : 'nothing') . "\n";
}

# what takes the key's right away; each ends when it is committed
my @ways = (
    sub { api(204, 'DELETE', "$org->{path}/apiKeys/$_[0]{id}") },
    sub { api(200, 'PATCH', "$org->{path}/apiKeys/$_[0]{id}",
        { roles => ['ORG_READ_ONLY'] }) },
    sub { api(204, 'DELETE', "$org->{path}/apiKeys/$_[0]{id}/accessList/"
        . '127.0.0.0%2F8') },
    sub { api(200, 'PATCH', "/api/v1/orgs/$org->{id}/apiKeys/$_[0]{id}",
        { disabled => JSON::PP::true }) },
    sub { api(201, 'POST', "/api/v1/orgs/$org->{id}/apiKeys/$_[0]{id}/secrets",
        { othersExpireIn => 0 }) },
    sub { $dbh->do('DELETE FROM apikeys.keys WHERE id = ?', undef,
        $_[0]{id}) },
    sub { $dbh->do('UPDATE apikeys.keys SET disabled = true WHERE id = ?',
        undef, $_[0]{id}) },
    sub { $dbh->do("UPDATE apikeys.keys SET secret_expires =
        date_trunc('second', clock_timestamp()) WHERE id = ?", undef,
        $_[0]{id}) },
    sub { $dbh->do("UPDATE apikeys.keys SET roles = '{ORG_BILLING_ADMIN}'
        WHERE id = ?", undef, $_[0]{id}) },
    sub { $dbh->do("DELETE FROM apikeys.access_list WHERE key_id = ?
        AND cidr = '127.0.0.0/8'", undef, $_[0]{id}) },
    sub { $dbh->do("UPDATE apikeys.access_list SET cidr = '172.16.0.0/12'
        WHERE key_id = ? AND cidr = '127.0.0.0/8'", undef, $_[0]{id}) },
);

my (@latency, $asked, $late, $back);

# one batch: all keys are let in everywhere, then each is revoked
sub revoke {
    my ($bound, $keys, @probers) = @_;
    my $before = ref $probers[0] eq 'CODE' ? shift @probers : sub { };

    my @what = map { [ $uri, $_->{secret} ] } @$keys;
    $_->watch(@what) for @probers;
    settled(\&admitted, 30 * $slow, @probers)
        or die "a new key is not known everywhere\n";

    my @committed;
    $before->();
    for my $key (@$keys) {
        $ways[ rand @ways ]->($key);
        push @committed, time;
        sleep rand 0.02;
    }

    my $done = settled(\&refused, $bound + 5, @probers);
    sleep 0.05;

    for my $prober (@probers) {
        my @seen = $prober->seen;
        for my $i (0 .. $#seen) {
            my $after = $seen[$i]{last} - $committed[$i];
            push @latency, $after > 0 ? $after : 0;
            $asked += $seen[$i]{asked};
            $late++ if $after > $bound || !refused($seen[$i]{code});
            $back += $seen[$i]{back};
        }
    }

    # an organization holds 500
    $dbh->do('DELETE FROM apikeys.keys WHERE id = ANY (?)', undef,
        [ map { $_->{id} } @$keys ]);
    return $done;
}

sub begin_series {
    @latency = ();
    $asked = $late = $back = 0;
}

sub series {
    my ($name, $n, $bound, $median, @probers) = @_;

    begin_series();
    for (1 .. int(($n + $batch - 1) / $batch)) {
        revoke($bound, [ map { key() } 1 .. $batch ], @probers);
    }
    end_series($name, $bound, $median, @probers);
}

sub end_series {
    my ($name, $bound, $median, @probers) = @_;

    @latency = sort { $a <=> $b } @latency;
    my $half = $latency[ @latency / 2 ];

    diag(sprintf '%s: %d revocations on %d nodes, %d requests, let in for '
        . '%.0f ms at the median, %.0f ms at 99%%, %.0f ms at worst', $name,
        @latency / @probers, scalar @probers, $asked, 1000 * $half,
        1000 * $latency[ 0.99 * @latency ], 1000 * $latency[-1]);
    is($late, 0, "$name: nobody is let in $bound s after the commit");
    is($back, 0,
        "$name: no revoked key is admitted again after it was refused once");
    cmp_ok($half, '<=', $median, "$name: half of them within $median s");
}


my @probers = probers(@nodes);

series('with NOTIFY', $total, 1 * $slow, 0.1 * $slow, @probers);


# who follows the database is stopped, on each node, at any moment of a round

sub leaders {
    return map { /:(\d+)$/ } @{ $dbh->selectcol_arrayref(
        'SELECT name FROM apikeys.instances') };
}

{
    my @fresh = map { ApiKeys::Prober->new(port => $_->port, fresh => 1,
        timeout => 0.25) } @nodes;
    my @api = splice @ways, 0, 5;
    my $bound = $slow == 1 ? 1 : 3;

    begin_series();
    for (1 .. 4) {
        my %stopped = map { $_ => 1 } leaders();
        revoke($bound, [ map { key() } 1 .. $batch ], sub {
            sleep rand 0.02;
            kill 'STOP', keys %stopped;
        }, @fresh);

        # what goes on must find that it was replaced, and harm nobody
        $nodes[0]->wait_for(sub { !grep { $stopped{$_} } leaders() }, 30,
            'a stopped leader is not replaced');
        kill 'CONT', keys %stopped;
        is(keys %stopped, @nodes, 'the leader of each node was stopped');
    }
    end_series('with stopped leaders', $bound, $bound, @fresh);
    unshift @ways, @api;
}


# a transaction that writes here, and one elsewhere in the cluster

{
    my $long = $db->connect;
    $long->begin_work;
    $long->do("UPDATE apikeys.orgs SET name = name || '.' WHERE id = ?",
        undef, $f->org->{id});

    my $other = $f->pg->database;
    my $elsewhere = $other->connect;
    $elsewhere->begin_work;
    $elsewhere->do('CREATE TABLE t AS SELECT 1 AS n');

    series('beside long writers', $total / 10, 1 * $slow, 0.1 * $slow,
        @probers);

    $long->rollback;
    $elsewhere->rollback;
    $_->disconnect for $long, $elsewhere;
}


# committed late: younger changes, of another organization, are read long
# before it is visible

my $beside = $f->org;

sub late {
    my ($end) = @_;

    my @keys = (key(), key($beside));
    $_->watch([ $uri, $keys[0]{secret} ],
        [ "/org?id=$beside->{id}", $keys[1]{secret} ]) for @probers;
    settled(\&admitted, 30 * $slow, @probers) or die "not known\n";

    my $session = $db->connect;
    $session->begin_work;
    $session->do('DELETE FROM apikeys.keys WHERE id = ?', undef,
        $keys[0]{id});
    $dbh->do('DELETE FROM apikeys.keys WHERE id = ?', undef, $keys[1]{id});

    my $end_of_wait = time + 5 * $slow;
    sleep 0.01 while time < $end_of_wait
        && grep { ($_->seen)[1]{code} != 401 } @probers;

    my $kept = !grep { ($_->seen)[0]{code} != 200 } @probers;
    $session->$end;
    my $committed = time;
    $session->disconnect;

    return ($kept, $end eq 'rollback'
        || settled(\&refused, 1 * $slow, @probers)
        && !grep { ($_->seen)[0]{last} > $committed + 1 * $slow } @probers);
}

for my $end (qw( commit rollback commit )) {
    my ($kept, $gone) = late($end);
    ok($kept, 'a deletion that is not committed deletes nothing');
    ok($gone, "a late $end is followed");
}


# revoked while every node loads everything: the rows of the load are older

{
    $f->copies($f->org, $org->{key}, 4000);

    begin_series();
    my $loads = () = $nodes[0]->error_log =~ /loaded \d+ keys/g;

    for (1 .. ($total >= 1000 ? 50 : 5)) {
        my @keys = map { key() } 1 .. $batch;
        $_->watch(map { [ $uri, $_->{secret} ] } @keys) for @probers;
        settled(\&admitted, 30 * $slow, @probers) or die "not known\n";
        $dbh->do('TRUNCATE apikeys.access_usage, apikeys.key_projects');
        revoke(3 * $slow, \@keys, @probers);
    }

    $loads = (() = $nodes[0]->error_log =~ /loaded \d+ keys/g) - $loads;
    cmp_ok($loads, '>=', 3, 'full loads ran meanwhile');
    is($late, 0, 'revoked during a load: refused within its time');
    is($back, 0, 'no revoked key is admitted again during a load');
    $dbh->do("DELETE FROM apikeys.keys WHERE descr = 'copy'");
}


# without NOTIFY: poll + 200 ms, on nodes that serve no mutation themselves

@probers = ();
$_->quit for splice @nodes, 1;
@owners = $owners[0];

my @deaf = map {
    node('apikeys_wait 0; apikeys_sync notify=off poll=200ms;') } 1 .. 2;

series('without NOTIFY', $total / 5, 0.4 * $slow + 0.4 * ($slow > 1),
    0.3 * $slow, probers(@deaf));

$_->quit for @deaf;

done_testing;
