# What a node has applied is told apart from its heartbeat, and proves nothing
# but that: not that the database is the primary, and not that the node has
# what a server forgot when it failed.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use ApiKeys::Pg ();
use MIME::Base64 qw( encode_base64 );
use Test::More;
use Time::HiRes qw( sleep time );

# the server writes the WAL only when a commit waits for it
my $pg = ApiKeys::Pg->new(own => 1,
    conf => "wal_writer_delay = 10s\nautovacuum = off\n");
my $db = $pg->database(schema => 1);
my %opt = (db => $db, workers => 1,
    allow => qr/exited on signal|zone is not/, server => <<'END',
        location /key { apikeys_auth basic; empty_gif; }
        location /brief { apikeys_auth basic; apikeys_stale 4s; empty_gif; }
END
    http => 'apikeys_sync poll=300ms;');
my $f = ApiKeys::Fixture->new(%opt);
my $nginx = $f->nginx;
my $org = $f->org;

sub code {
    my ($key, $path) = @_;

    my $client = ApiKeys::Client->new(port => $nginx->port, timeout => 20);
    my $res = $client->plain('GET', $path || '/key', undef, headers => {
        Authorization => 'Basic ' . encode_base64($key->{secret}, '') });
    $client->close;
    return $res ? $res->code : 0;
}

sub row {
    return $db->dbh->selectrow_hashref('SELECT *, snapshot::text AS snapshot,
        horizon::text AS horizon FROM apikeys.instances');
}

sub becomes {
    my ($title, $condition, $limit) = @_;

    ok(eval { $nginx->wait_for($condition, $limit || 20, $title) }, $title);
}

# sends a change of the API, which may wait
sub begin {
    my ($prefer, $name) = @_;

    my $client = ApiKeys::Client->new(port => $nginx->port, timeout => 30);
    $client->send($client->format('PATCH',
        "$org->{path}/apiKeys/$org->{key}{id}", { desc => $name },
        headers => { Authorization => 'Bearer ' . $f->token,
            Prefer => $prefer }));
    return $client;
}

sub change { return begin(@_)->read }


# told, and not a heartbeat

{
    my ($before, $after);

    # a heartbeat may come in between: not twice
    for (1 .. 2) {
        $before = row();
        is(change('wait=10', "told $_")->code, 200, 'a change has its receipt');
        $after = row();
        last if $before->{heartbeat} eq $after->{heartbeat};
    }

    isnt($after->{snapshot}, $before->{snapshot},
        'a change that somebody waits for is told at once');
    is($after->{$_}, $before->{$_}, "which does not change $_")
        for qw( heartbeat lease_until horizon );

    $before = $after;
    $db->psql("UPDATE apikeys.orgs SET name = 'psql'");
    becomes('a change made with psql is told, too',
        sub { row()->{snapshot} ne $before->{snapshot} });
}

# somebody has deleted the row, and a node that has no row is not waited for
$db->psql('DELETE FROM apikeys.instances');
change('', 'no row');
becomes('a node whose row was deleted announces itself with the next change',
    sub { row() }, 3);


# The server fails between two heartbeats, and has forgotten the ids of some
# transactions, which are then given to others.  The node has seen them end.

sub burn {
    my ($n) = @_;

    my $dbh = $db->connect;
    $dbh->do('SET synchronous_commit = off');
    my $xid;
    ($xid) = $dbh->selectrow_array('SELECT pg_current_xact_id()::text')
        for 1 .. $n;
    $dbh->disconnect;
    return $xid;
}

sub polled {
    my ($since) = @_;

    return $db->dbh->selectrow_array(q{SELECT count(*) FROM pg_stat_activity
        WHERE query LIKE '%feed_since%' AND state = 'idle'
          AND query_start > ? AND pid <> pg_backend_pid()}, undef, $since);
}

my ($key, $burnt, $reused);
for (1 .. 5) {
    $key = $f->key($org, 'ORG_READ_ONLY');

    # just after a heartbeat, so that no other one comes
    my $heartbeat = row()->{heartbeat};
    $nginx->wait_for(sub { row()->{heartbeat} ne $heartbeat }, 20,
        'no heartbeat');
    $burnt = burn(30);
    my ($now) = $db->dbh->selectrow_array('SELECT clock_timestamp()');
    $nginx->wait_for(sub { polled($now) }, 20, 'no poll');
    $nginx->signal('STOP', $nginx->workers);
    delete($db->{dbh})->disconnect;
    $pg->crash;
    $pg->start;
    $db->psql("DELETE FROM apikeys.keys WHERE id = '$key->{id}'");
    ($reused) = $db->dbh->selectrow_array(
        'SELECT max(xid)::text FROM apikeys.changes');
    burn(100);
    $nginx->signal('CONT', $nginx->workers);
    last if $reused <= $burnt;
    $nginx->wait_for(sub { code($key) == 401 }, 20, 'not deleted');
}
cmp_ok($reused, '<=', $burnt, 'the server gives ids to other transactions');
becomes('a change is followed whose id had been that of another transaction',
    sub { code($key) == 401 });
is(change('wait=10', 'after the crash')->code, 200,
    'there are receipts again after the crash');


# What was told is lost when the server fails, or when a standby becomes the
# primary: then the node is waited for until it tells again.

{
    my ($uuid, $xid) = ('told', 0);
    my $waiting = sub { return join ' ', sort @{ $_[0]->selectcol_arrayref(
        'SELECT name FROM apikeys.waiting_for(ARRAY[?])
          WHERE name IN ($$told$$, $$unknown$$)', undef, $xid) } };
    my $lease = sub { return $_[0]->selectrow_array('SELECT lease_until
        FROM apikeys.instances WHERE uuid = ?', undef, $uuid) };
    my $dbh = $db->connect;
    my ($identity, $at) = $dbh->selectrow_array(
        'SELECT apikeys.identity(), pg_current_snapshot()');
    $dbh->do('SELECT apikeys.heartbeat(?, ?, ?, ?, ?)', undef, $uuid, $uuid,
        $identity, $at, '600');
    my $until = $lease->($dbh);
    ($xid) = $dbh->selectrow_array('SELECT pg_current_xact_id()::text');
    my $copy = $pg->standby;
    is($waiting->($dbh), 'told', 'a node has not applied a change');
    $dbh->do('SELECT FROM apikeys.feed_since(NULL, NULL)');
    $dbh->do('SELECT apikeys.tell(?, pg_current_snapshot()::text)', undef,
        $uuid);
    is($waiting->($dbh), '', 'it tells that it has');
    $dbh->disconnect;
    delete($db->{dbh})->disconnect;
    $pg->crash;
    $pg->start;
    is($waiting->($db->dbh), 'told', 'a server that failed waits for the node');
    is($lease->($db->dbh), $until, 'its lease has not changed');
    $db->psql("SELECT apikeys.sign_off('$uuid')");

    $copy->promote;
    my $promoted = $copy->named($db->name);
    $nginx->wait_for(sub { !$promoted->dbh->selectrow_array(
        'SELECT pg_is_in_recovery()') }, 20, 'not promoted');
    is($waiting->($promoted->dbh), 'told unknown',
        'a standby that was promoted waits for it, and for unknown nodes');
    is($lease->($promoted->dbh), $until, 'its lease is the same there');
    $copy->stop('immediate');
    becomes('the node follows again', sub { code($org->{key}) == 200 });
}


# a node that announces itself while a change waits, and is stopped then

{
    my $lock = $db->connect;
    $lock->begin_work;
    $lock->do('SELECT FROM apikeys.keys WHERE id = ? FOR UPDATE', undef,
        $org->{key}{id});
    my $client = begin('wait=1', 'meanwhile');
    $nginx->wait_for(sub { $db->dbh->selectrow_array(q{SELECT count(*)
        FROM pg_stat_activity WHERE wait_event_type = 'Lock'}) }, 20,
        'the change does not wait');
    my $node = $f->node(%opt);
    $node->start;
    $f->wait_loaded($node);
    $node->signal('STOP', $node->workers);
    $lock->rollback;
    my $res = $client->read;
    is($res->code, 202, 'no receipt while a node lacks the change that has '
        . 'announced itself during it');
    like($res->header('x-apikeys-pending'), qr/:\d+$/, 'the node is named');
    $node->signal('CONT', $node->workers);
    is(change('wait=10', 'both')->code, 200, 'a receipt of both nodes');
    $node->quit;
}


# A primary that is cut off from its standby commits nothing that waits for it:
# what is told there does not make the local copy fresh.

{
    my $key = $f->key($org, 'ORG_READ_ONLY');
    becomes('a key is admitted', sub { code($key, '/brief') == 200 });
    $db->psql("ALTER SYSTEM SET synchronous_standby_names = 'none'");

    # the next heartbeat does not end, and nothing is told after it
    my $heartbeat = row()->{heartbeat};
    $nginx->wait_for(sub { row()->{heartbeat} ne $heartbeat }, 20,
        'no heartbeat');
    $db->psql('SELECT pg_reload_conf()');
    my $before = row()->{snapshot};
    my $n = 0;
    my $end = time + 20;
    my $told;
    while (time < $end && code($key, '/brief') == 200) {
        $db->psql('SET synchronous_commit = local; UPDATE apikeys.orgs
            SET name = ' . ++$n);
        $told ||= row()->{snapshot} ne $before;
        sleep 0.1;
    }
    ok($told, 'a node tells what it has applied to a primary that is cut off');
    is(code($key, '/brief'), 503,
        'the local copy ages, as no heartbeat is committed there');
    $db->psql('SET synchronous_commit = local;
        ALTER SYSTEM RESET synchronous_standby_names');
    $db->psql('SELECT pg_reload_conf()');
    becomes('a key is admitted when heartbeats are committed again',
        sub { code($key, '/brief') == 200 });
}

$nginx->quit;

done_testing;
