# Following the database while it fails: the local copy decides on, says so
# once, and catches up.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use ApiKeys::Pg ();
use MIME::Base64 qw( encode_base64 );
use Test::More;

my $pg = ApiKeys::Pg->new(own => 1);
my $db = $pg->database(schema => 1);
my $f = ApiKeys::Fixture->new(db => $db, http => 'apikeys_sync poll=200ms;',
    workers => 2);
my $org = $f->org;
my $nginx = $f->nginx;

sub code {
    my ($key, $node) = @_;

    my $client = $f->client(key => $key->{secret}, nginx => $node || $nginx,
        timeout => 5);
    my $res = $client->request('GET', $org->{path} . '/apiKeys');
    $client->close;
    return $res ? $res->code : 0;
}

# refused by the local copy: 401 needs no database
sub refused {
    my ($key, $timeout) = @_;

    return eval {
        $nginx->wait_for(sub { code($key) == 401 }, $timeout || 30, '');
    };
}

sub delete_key { $db->psql("DELETE FROM apikeys.keys WHERE id = '$_[0]{id}'") }

sub errors {
    my $text = substr $nginx->error_log, $_[0];
    return scalar(() = $text =~ /\[error\].*cannot read changes/g);
}


# a backend that is gone

my $key = $f->key($org, 'ORG_OWNER');
$db->psql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE usename = 'apikeys_nginx'});
delete_key($key);
ok(refused($key), 'a change beside terminated backends');


# a server that is stopped for a while

$key = $f->key($org, 'ORG_OWNER');
my $second = $f->key($org, 'ORG_OWNER');

# exists, but not in its organization: decided, and answered by the local copy
my $mark = $nginx->log_mark;
$pg->stop('immediate');
ok(eval { $nginx->wait_log(qr/\[error\].*cannot read changes from the database/,
    30) }, 'the outage is logged');

my %codes;
$codes{ code($key) }++ for 1 .. 10;
is(join(' ', sort keys %codes), '503', 'the API answers 503, not 401');
is(code({ secret => 'aaaaaaaa:x' }), 401, 'an unknown key is still 401');

$pg->start;
delete_key($key);
ok(eval { $nginx->wait_log(
    qr/\[notice\].*reading changes from the database again, after \d+ s/, 30) },
        'the end of the outage is logged');
ok(refused($key), 'a deletion after the restart is followed');
is(code($second), 200, 'another key works after the restart');
is(errors($mark), 1, 'an outage is one error');


# reload during an outage: the zone is kept

$pg->stop('fast');
$nginx->reload;
is(code({ secret => 'aaaaaaaa:x' }), 401,
    'workers that never saw the database know the local copy is complete');
is(code($second), 503,
    'workers that never saw the database give a known key 503');
$pg->start;
$nginx->wait_for(sub { code($second) == 200 }, 30, 'no connection');
delete_key($second);
ok(refused($second), 'a change after a reload during an outage');


# a feed that takes longer than a statement may: each time that it is given up
# it gets twice the time, or the local copy would never get past it

{
    my $node = $f->node(database => 'timeout=1s', workers => 1,
        http => 'apikeys_sync poll=200ms;');
    $node->start;
    $f->wait_loaded($node);
    $key = $f->key($org, 'ORG_OWNER');
    $nginx->wait_for(sub { code($key, $node) == 200 }, 30, 'not known');

    $db->psql(q{ALTER FUNCTION apikeys.changes_since(pg_snapshot)
                    RENAME TO changes_at_once;
        CREATE FUNCTION apikeys.changes_since(p_since pg_snapshot)
            RETURNS SETOF apikeys.changes LANGUAGE plpgsql STABLE AS $$
            BEGIN
                PERFORM pg_sleep(2.5);
                RETURN QUERY SELECT * FROM apikeys.changes_at_once(p_since);
            END $$});
    $db->psql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE usename = 'apikeys_nginx'});
    delete_key($key);
    ok(eval { $node->wait_for(sub { code($key, $node) == 401 }, 60, '') },
        'a feed that is slower than a statement may be is followed');
    # by the timer of the node or by that of the server
    like($node->error_log,
        qr/cannot read changes.*apikeys_sync_feed (?:timed out|.* timeout)/,
        'the feed query had timed out before');

    $db->psql(q{DROP FUNCTION apikeys.changes_since(pg_snapshot);
        ALTER FUNCTION apikeys.changes_at_once(pg_snapshot)
            RENAME TO changes_since});
    $db->psql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE usename = 'apikeys_nginx'});
    $node->stop;
}


# a schema that is upgraded under a node that follows it

{
    my $loads = sub { scalar(() = $nginx->error_log =~ /loaded \d+ keys/g) };
    my $before = $loads->();

    $nginx->log_mark;
    $db->psql(q{INSERT INTO apikeys.schema_version (version, compatible_from)
                SELECT max(version) + 1, max(compatible_from)
                  FROM apikeys.schema_version});
    my $late = $f->key($org, 'ORG_READ_ONLY');
    is($f->client(key => $late->{secret})->request('GET', $org->{path})->code,
        200, 'a compatible newer schema is followed');
    $db->psql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE usename = 'apikeys_nginx'});
    $late = $f->key($org, 'ORG_READ_ONLY');
    is($f->client(key => $late->{secret})->request('GET', $org->{path})->code,
        200, 'by a new connection, too');

    $db->psql(q{INSERT INTO apikeys.schema_version (version, compatible_from)
                SELECT max(version) + 1, max(version) + 1
                  FROM apikeys.schema_version});
    $db->psql("DELETE FROM apikeys.keys WHERE id = '$late->{id}'");
    ok(eval { $nginx->wait_log(
        qr/\[error\].*schema version is \d+, .*upgrade the module/, 30) },
        'an incompatible newer schema is noticed while connected');
    is($f->client(key => $late->{secret})->request('GET', $org->{path})->code,
        200, 'the local copy still decides beside an incompatible schema');

    $db->psql(q{DELETE FROM apikeys.schema_version WHERE version > (
                SELECT min(version) FROM apikeys.schema_version)});
    ok(eval { $nginx->wait_log(qr/reading changes from the database again/,
        30) },
        'the schema is compatible again: the node follows it');
    $nginx->wait_for(sub { $f->client(key => $late->{secret})
        ->request('GET', $org->{path})->code == 401 }, 30, 'not followed');
    is($loads->(), $before, "no version made the node load everything");
}

my $old = ApiKeys::Fixture->new(db => $pg->database(grant => 1), start => 0);
$old->nginx->start;
ok(eval { $old->nginx->wait_log(
    qr/\[error\].*cannot read changes.*run sql\/apply.sh/, 30) },
    'no schema at all, and what to do');
is($old->client(key => 'aaaaaaaa:x')->request('GET', $org->{path})->code, 503,
    'nothing is decided without a local copy');
$old->nginx->stop;


# a node with other master keys

my $stranger = ApiKeys::Fixture->new(db => $db, start => 0);
$stranger->nginx->start;
ok(eval { $stranger->nginx->wait_log(
    qr/\[error\].*apikeys_master_key_file or apikeys_realm differ/,
    30) }, 'the wrong master key file is named');
$key = $f->key($org, 'ORG_OWNER');
is(code($key, $stranger->nginx), 503,
    'a node with the wrong master key file answers 503');
is(code($key), 200, 'other nodes still admit the key');
$stranger->nginx->stop;


# an error of a node that seldom polls: it repeats the round soon

{
    my $seldom = $f->node(http => 'apikeys_sync poll=1h;');
    $seldom->start;
    $f->wait_loaded($seldom);
    $key = $f->key($org, 'ORG_OWNER');
    ok(eval { $seldom->wait_for(sub { code($key, $seldom) == 200 }, 20, '') },
        'a node with poll=1h follows notifications');
    $db->psql(q{ALTER ROLE apikeys_nginx NOLOGIN;
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE usename = 'apikeys_nginx'});
    ok(eval { $seldom->wait_log(qr/cannot read changes from the database/,
        20) }, 'it loses the database');
    delete_key($key);
    $db->psql('ALTER ROLE apikeys_nginx LOGIN');
    ok(eval { $seldom->wait_for(sub { code($key, $seldom) == 401 }, 20, '') },
        'a node with poll=1h repeats a round that failed');
    $seldom->quit;
}

done_testing;
