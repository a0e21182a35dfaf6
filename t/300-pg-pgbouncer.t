# PgBouncer between nginx and PostgreSQL: with session pooling all works, also
# after either of them was killed; transaction pooling, where a node would not
# notice that the server has failed, is refused.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use ApiKeys::Pg ();
use ApiKeys::Pgbouncer ();
use MIME::Base64 qw( encode_base64 );
use Test::More;
use Time::HiRes qw( time );

my $slow = $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND} ? 5 : 1;
my $refused = qr/pooler has changed the session.*pool_mode = session/;
my $options = "ignore_startup_parameters = options\nserver_login_retry = 1";

my $pg = ApiKeys::Pg->new(own => 1, conf => "log_statement = all\n");
my $db = $pg->database(schema => 1);
my %node = (db => $db, workers => 2, database => 'timeout=2s',
    server => 'location /key { apikeys_auth basic; empty_gif; }');

sub code {
    my ($key, $nginx) = @_;

    my $client = ApiKeys::Client->new(port => $nginx->port, timeout => 20);
    my $res = $client->plain('GET', '/key', undef, headers => {
        Authorization => 'Basic ' . encode_base64($key->{secret}, '') });
    $client->close;
    return $res ? $res->code : 0;
}

sub becomes {
    my ($key, $nginx, $code, $title) = @_;

    ok(eval { $nginx->wait_for(sub { code($key, $nginx) == $code }, 30, '') },
        $title);
}


# session pooling

my $pgbouncer = ApiKeys::Pgbouncer->new(pg => $pg,
    conf => "pool_mode = session\n$options");
$node{conninfo} = $pgbouncer->conninfo($db);

my $f = ApiKeys::Fixture->new(%node,
    http => 'apikeys_sync poll=200ms; apikeys_wait 0;');
my $nginx = $f->nginx;
my $other = $f->node(%node, http => 'apikeys_sync poll=1h;');
$other->start;
$f->wait_loaded($other);

my $org = $f->org;
my ($key, $last, @more) = map { $f->key($org, 'ORG_READ_ONLY') } 1 .. 8;
becomes($key, $other, 200, 'session pooling: a key reaches the other node');
my $res = $org->{client}->request('DELETE',
    "$org->{path}/apiKeys/$key->{id}", undef,
    headers => { Prefer => 'wait=20' });
is($res->code, 204, 'session pooling: a deletion is answered with a receipt');
is($res->header('preference-applied'), 'wait=20',
    'session pooling: all nodes have applied the deletion');
is(code($key, $other), 401, 'session pooling: the other node refuses the key');

# the heartbeat of a node reads changes, too, every five seconds
my $start = time;
for my $again (@more) {
    $db->psql("DELETE FROM apikeys.keys WHERE id = '$again->{id}'");
    becomes($again, $other, 401, 'session pooling: a change with psql');
}
cmp_ok(time - $start, '<', 5 * $slow, 'session pooling: NOTIFY tells of them');

my $lock = $db->connect;
$lock->begin_work;
$lock->do("SELECT FROM apikeys.keys WHERE id = '$last->{id}' FOR UPDATE");
is($org->{client}->request('PATCH', "$org->{path}/apiKeys/$last->{id}",
    { desc => 'locked' })->code, 503, 'a statement waits for a lock in vain');
ok(eval { $nginx->wait_for(sub { $pg->log_text
    =~ /canceling statement due to statement timeout/ }, 10, '') },
    'session pooling: statement_timeout is set without startup options');
$lock->rollback;
$lock->disconnect;

$pgbouncer->kill;
is(code($last, $nginx), 200, 'PgBouncer killed: decisions go on');
$db->psql("DELETE FROM apikeys.keys WHERE id = '$last->{id}'");
$pgbouncer->start;
becomes($last, $nginx, 401, 'PgBouncer killed: nodes connect again');

$key = $nginx->wait_for(sub { eval { $f->key($org, 'ORG_READ_ONLY') } }, 30,
    'the API does not heal');
becomes($key, $nginx, 200, 'the API heals, too');
$pg->crash;
is(code($key, $nginx), 200, 'PostgreSQL killed: decisions go on');
$pg->start;
$db->psql("DELETE FROM apikeys.keys WHERE id = '$key->{id}'");
becomes($key, $nginx, 401, 'PostgreSQL killed: nodes connect again');

unlike($nginx->error_log . $other->error_log, $refused,
    'session pooling is not taken for another mode');
$_->quit for $nginx, $other;
undef $pgbouncer;


# transaction pooling: nothing tells a node that the server was restarted

$pgbouncer = ApiKeys::Pgbouncer->new(pg => $pg,
    conf => "pool_mode = transaction\n$options");
$node{conninfo} = $pgbouncer->conninfo($db);

$other = $f->node(%node, workers => 1, http => 'apikeys_sync poll=100ms;');
$other->start;
$f->wait_loaded($other);
my $mark = $other->log_mark;
$pg->restart;
ok(eval { $other->wait_log($refused, 30, $mark) },
    'transaction pooling is refused after a restart of the server');

$mark = $other->log_mark;
my $client = $f->client(token => $f->token, nginx => $other);
ok(eval { $other->wait_for(sub {
    $client->request('GET', "$f->{base}/orgs");
    return substr($other->error_log, $mark) =~ $refused;
}, 30, '') }, 'transaction pooling is refused when two connections share it');
$other->quit;
undef $pgbouncer;


# without the parameter that PgBouncer must ignore

$pgbouncer = ApiKeys::Pgbouncer->new(pg => $pg, conf => 'pool_mode = session');
$node{conninfo} = $pgbouncer->conninfo($db);

$other = $f->node(%node);
$other->start;
ok(eval { $other->wait_log(
    qr/cannot read changes from.*unsupported startup parameter: options/, 30) },
    'startup options that PgBouncer refuses are named');
is(code({ secret => 'aaaaaaaa:x' }, $other), 503,
    'a node that cannot connect answers 503');
$other->quit;

done_testing;
