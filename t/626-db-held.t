# What a database can be held back by: a prepared transaction that everybody
# forgot, a writer that does not end, a schema that is not there yet.  The feed
# goes on at the cost of what is new, what commits late is not missed nor
# pruned, and a schema that fits is followed without a reload or a storm of
# logins.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Outage ();
use ApiKeys::Pg ();
use Test::More;
use Time::HiRes qw( sleep time );

my $slow = $ApiKeys::Outage::slow;
my $pg = ApiKeys::Pg->new(own => 1,
    conf => "log_connections = on\nmax_prepared_transactions = 5\n");
my $db = $pg->database(schema => 1);
my $o = ApiKeys::Outage->new(db => $db);
my ($f, $nginx, $org) = ($o->f, $o->nginx, $o->org);
my ($other, $full) = ($f->org, $f->org);

# the blocks that a poll reads when there is nothing new
sub cost {
    my $plan = join "\n", @{ $db->dbh->selectcol_arrayref(<<'END') };
EXPLAIN (ANALYZE, BUFFERS, TIMING OFF)
SELECT * FROM apikeys.feed_since(apikeys.identity(),
                                 pg_current_snapshot()::text)
END
    my ($hit, $read) = $plan =~ /Buffers: shared hit=(\d+)(?: read=(\d+))?/
        or die $plan;
    return $hit + ($read || 0);
}

sub psql_delete {
    my ($key) = @_;

    $db->psql("DELETE FROM apikeys.keys WHERE id = '$key->{id}'");
}

# a deletion is followed at once, of the API and of psql
sub follows {
    my ($title) = @_;

    for my $delete (\&psql_delete, sub { $other->{client}->request('DELETE',
        "$other->{path}/apiKeys/$_[0]{id}") })
    {
        my $key = $f->key($other, 'ORG_READ_ONLY');
        is($o->code('/key', $key), 200, "$title: a key is made");
        my $begin = time;
        $delete->($key);
        ok(eval { $nginx->wait_for(sub { $o->code('/key', $key) == 401 },
            10 * $slow, '') }, "$title: and its deletion followed");
        cmp_ok(time - $begin, '<', 1 * $slow, "$title: at once");
    }
}

# 10,000 changes that nobody may prune
sub pile {
    my ($title) = @_;

    # the first time a session looks for more
    my ($before) = reverse cost(), cost();
    $db->psql("UPDATE apikeys.keys SET descr = 'pile' WHERE descr = 'pile'")
        for 1 .. 10;
    my $xid = $db->psql('SELECT pg_snapshot_xmax(pg_current_snapshot())');
    ok(eval { $nginx->wait_for(sub { $db->psql("SELECT count(*)
        FROM apikeys.instances WHERE pg_snapshot_xmax(snapshot) >= '$xid'")
        }, 20 * $slow, '') }, "$title: 10,000 changes are followed");
    $db->psql('SELECT apikeys.prune()');
    cmp_ok(kept(), '>=', 10000, "$title: and kept, for the one who is late");
    my $after = cost();
    cmp_ok($after, '<', $before + 20,
        "$title: a poll costs what it did, $before and $after blocks");
}

sub kept {
    return $db->psql("SELECT count(*) FROM apikeys.changes");
}

sub pruned {
    my ($title) = @_;

    ok(eval { $nginx->wait_for(sub { $db->psql('SELECT apikeys.prune()');
        kept() < 1000 }, 20 * $slow, '') }, "$title: then all is pruned");
}

$db->psql("INSERT INTO apikeys.keys (org_id, public_key, secret, redacted,
    descr) SELECT '$full->{id}', translate(lpad(to_hex(g), 8, '0'),
    '0123456789abcdef', 'ghijklmnopqrstuv'), decode(repeat('ab', 112), 'hex'),
    repeat('a', 12), 'pile' FROM generate_series(1, 1000) g");


# a prepared transaction: it can hold pruning back, but no change of ours, as
# those notify

{
    my $dbh = $db->connect;
    my $key = $f->key($org, 'ORG_READ_ONLY');

    $dbh->begin_work;
    $dbh->do("DELETE FROM apikeys.keys WHERE id = '$key->{id}'");
    ok(!eval { $dbh->do(q{PREPARE TRANSACTION 'ours'}) },
        'a change cannot be prepared');
    is($dbh->state, '0A000', 'PREPARE TRANSACTION fails with 0A000');
    is($o->code('/key', $key), 200, 'nothing has changed');

    $dbh->do('CREATE TABLE public.other (a int)');
    $dbh->begin_work;
    $dbh->do('INSERT INTO public.other VALUES (1)');
    $dbh->do(q{PREPARE TRANSACTION 'forgotten'});
    $dbh->disconnect;
    follows('prepared');
    pile('prepared');
    $db->psql(q{COMMIT PREPARED 'forgotten'});
    pruned('prepared');
}


# a change that is not committed for long

{
    my $dbh = $db->connect;
    my $key = $f->key($org, 'ORG_READ_ONLY');

    $dbh->begin_work;
    $dbh->do("SELECT apikeys.delete_key(NULL, NULL, NULL, NULL, NULL,
        '$org->{id}', '$key->{id}')");
    $o->unavailable('its organization is locked');
    follows('a long writer');
    pile('a long writer');
    is($o->code('/key', $key), 200, 'a long writer: not committed, no change');
    $dbh->commit;
    my $begin = time;
    ok(eval { $nginx->wait_for(sub { $o->code('/key', $key) == 401 },
        10 * $slow, '') }, 'a long writer: what commits late is not missed');
    cmp_ok(time - $begin, '<', 1 * $slow, 'a long writer: at once');
    pruned('a long writer');
    $o->heals('a long writer');
}


# refused at the door: with a request every 10 ms, few logins a second

sub refusals {
    return scalar(() = $pg->log_text =~ /is not permitted to log in/g);
}

{
    $db->psql(q{ALTER ROLE apikeys_nginx NOLOGIN;
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE usename = 'apikeys_nginx'});
    $nginx->wait_for(sub { refusals() }, 10 * $slow, 'no refusal');
    my $before = refusals();
    my $since = time;
    $o->pester(4);
    my $n = refusals() - $before;
    my $seconds = time - $since;

    # a round and a pause of 100 ms at first and 2 s at last, of which half
    # is chance, for requests and for the feed
    cmp_ok($n, '<=', 4 * $seconds, 'refused: few logins') or diag $n;
    $o->outage('refused');
    $before = $o->logins;
    $db->psql('ALTER ROLE apikeys_nginx LOGIN');
    $o->heals('refused');
    cmp_ok($o->logins - $before, '<=', 4, 'refused: and few when it heals');
    diag("$n logins refused in $seconds s");
}


# a schema that is older than the module, under a node that follows it


{
    my $mark = $nginx->log_mark;
    my $before = $o->logins;
    my $version = $db->psql(
        'SELECT max(version) FROM apikeys.schema_version');
    $db->psql("DELETE FROM apikeys.schema_version WHERE version = $version;
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE usename = 'apikeys_nginx'");
    ok(eval { $nginx->wait_log(qr/schema version is @{[
        $version - 1]}, this module needs $version: run sql\/apply.sh/,
        10 * $slow, $mark) }, 'a schema too old: the log says what to do');
    is($o->code, 200, 'a schema too old: decisions go on');
    ok(eval { $nginx->wait_for(sub { $o->code('/brief') == 503 }, 10 * $slow,
        '') }, 'a schema too old: for apikeys_stale');
    cmp_ok($o->logins - $before, '<=', 4, 'a schema too old: few logins');
    $db->psql("INSERT INTO apikeys.schema_version (version, compatible_from)
        VALUES ($version, $version)");
    $o->heals('a schema too old');
}


# and under one that starts

{
    my $old = $pg->database;
    $old->psql('CREATE SCHEMA apikeys;
        CREATE TABLE apikeys.schema_version (version integer,
                                             compatible_from integer);
        INSERT INTO apikeys.schema_version VALUES (0, 0);
        GRANT USAGE ON SCHEMA apikeys TO apikeys_nginx;
        GRANT SELECT ON apikeys.schema_version TO apikeys_nginx');

    my $late = ApiKeys::Outage->new(db => $old, start => 0);
    my $node = $late->nginx;
    my $before = $late->logins;
    $node->start;
    ok(eval { $node->wait_log(qr/schema version is 0, this module needs /, 10 * $slow) },
        'too old at the start: the log says so');
    my $end = time + 2;
    my %codes;
    while (time < $end) {
        $codes{ $late->code('/key', { secret => 'aaaaaaaa:x' }) }++;
        sleep 0.01;
    }
    is(join(' ', keys %codes), '503', 'too old at the start: not loaded, 503');
    cmp_ok($late->logins - $before, '<=', 4, 'too old at the start: few'
        . ' logins');
    $old->psql('DROP SCHEMA apikeys CASCADE');
    $old->apply_schema;
    $old->grant;
    ok(eval { $late->f->wait_loaded($node, 30 * $slow) },
        'upgraded: loaded, without a reload');
    $late->prepare;
    is($late->code, 200, 'upgraded: a key is made and let in');
    $node->quit;
}

$nginx->quit;

done_testing;
