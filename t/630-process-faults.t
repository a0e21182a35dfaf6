# Processes that die or stop while they are asked: no wrong decision, no zone
# that stays locked, no feed that stays lost; reload and binary upgrade
# without a request refused.
#
# APIKEYS_TEST_KILLS: how many workers are killed or stopped, 60 when not set;
# half of them inside a publication, an allocation or a reclamation.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use ApiKeys::Prober ();
use JSON::PP ();
use MIME::Base64 qw( encode_base64 );
use POSIX qw( SIGKILL SIGSTOP WNOHANG );
use Test::More;
use Time::HiRes qw( sleep time );

my $kills = $ENV{APIKEYS_TEST_KILLS} || 60;
my $slow = $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND} ? 10 : 1;

my $server = <<'END';
        location /key {
            apikeys_auth basic;
            apikeys_require org=$arg_org role=ORG_MEMBER;
            empty_gif;
        }
        location /status { apikeys_status json; }
END

my $http = 'apikeys_sync poll=200ms; apikeys_wait 0;';

my $f = ApiKeys::Fixture->new(workers => 3, server => $server, http => $http,
    zone => '16m',
    allow => qr/exited\ on\ signal|shared\ memory\ zone|\[alert\].*mutex
        |was\ suspended\ while\ holding/x);
my $nginx = $f->nginx;
my $db = $f->db;
my $dbh = $db->dbh;
my $org = $f->org;
my $uri = "/key?org=$org->{id}";

sub code {
    my ($key, $node) = @_;

    my $client = ApiKeys::Client->new(port => ($node || $nginx)->port);
    my $res = eval { $client->plain('GET', $uri, undef, headers => {
        Authorization => 'Basic ' . encode_base64($key->{secret}, '') }) };
    $client->close;
    return $res ? $res->code : 0;
}

sub soon {
    my ($code, $key, $node) = @_;

    return eval { $nginx->wait_for(sub { code($key, $node) == $code },
        10 * $slow, '') };
}

sub status { return ApiKeys::Client->new(port => $_[0]->port)
    ->plain('GET', '/status')->json }

sub text {
    my ($file) = @_;

    open my $in, '<', $file or return '';
    local $/;
    return scalar(<$in>) // '';
}

my ($good, $bad, $poor, $gone) = map { $f->key($org, $_) }
    qw( ORG_MEMBER ORG_MEMBER ORG_READ_ONLY ORG_MEMBER );
$dbh->do('DELETE FROM apikeys.keys WHERE id = ?', undef, $bad->{id});
soon(401, $bad) or die "the deletion is not followed\n";

my @watch = map { [ $uri, $_->{secret} ] } $good, $bad, $poor,
    { secret => 'aaaaaaaa:x' };

sub probers {
    my @probers = map { ApiKeys::Prober->new(port => $_[0]->port) } 1 .. $_[1];
    $_->watch(@watch) for @probers;
    return @probers;
}

# decisions of each kind, of all probers: [ code => count ] without order
sub decisions {
    my @kinds;

    for my $prober (@_) {
        my @seen = $prober->seen;
        for my $i (0 .. $#seen) {
            $kinds[$i]{$_} += $seen[$i]{codes}{$_}
                for keys %{ $seen[$i]{codes} };
            $kinds[4]{lost} += $seen[$i]{lost};
            $kinds[4]{all} += $seen[$i]{asked};
        }
    }
    return @kinds;
}

sub right {
    my ($name, @kinds) = @_;

    my @codes = map { join ' ', sort keys %{ $kinds[$_] } } 0 .. 3;
    is(join(', ', @codes), '200, 401, 403, 401',
        "$name: each decision is right");
}


# writers of the zone: a process that changes keys, by the API, all the time

sub churn {
    my $pid = fork;
    defined $pid or die "fork: $!\n";
    return $pid if $pid;

    my $client = $f->client(token => $f->token);
    for (my $n = 0; ; $n++) {
        eval {
            my $res = $client->request('POST', "$org->{path}/apiKeys",
                { desc => "churn $n", roles => ['ORG_MEMBER'] });
            my $id = $res && $res->code == 200 ? $res->json->{id} : undef;
            $id && $client->request('POST',
                "$org->{path}/apiKeys/$id/accessList",
                [ map { { cidrBlock => "10.$_.0.0/16" } } 1 .. 20 ]);
            $id && $client->request('DELETE', "$org->{path}/apiKeys/$id");
        } or $client->close;
    }
}

# where a writer is at work, and how many instructions it may go on there

my %places = (
    'a publication' => { ngx_apikeys_store_publish_key_locked => 1500,
        ngx_apikeys_store_delete_locked => 800,
        ngx_apikeys_store_write_insert => 200 },
    'an allocation' => { ngx_apikeys_arena_alloc => 80,
        ngx_apikeys_arena_tree_create => 600 },
    'a reclamation' => { ngx_apikeys_store_reclaim_locked => 1500,
        ngx_apikeys_arena_free => 30 },
    'a repair' => { ngx_apikeys_store_repair => 3000 },
);

my (%killed, $missed);

sub send_for {
    my ($pid, $what, $signal) = @_;

    my @names = sort keys %{ $places{$what} };
    my $name = $names[ rand @names ];
    return $nginx->kill_at($pid, $name, $places{$what}{$name}, 300,
        $signal);
}

# whether it was killed or stopped inside of it
sub inside { return $nginx->killed($_[0]) && ++$killed{ $_[1] } }

# one process; or two, when the next writer repairs what the first one left
sub kill_inside {
    my ($pid, $next, $what) = @_;

    my $sent = $what eq 'a repair' ? send_for($next, $what, SIGKILL) : undef;
    $what = 'a publication' if $sent;
    my $done = inside(scalar send_for($pid, $what, SIGKILL),
        "killed inside $what");
    inside($sent, 'killed inside a repair');
    return $done;
}

# the feed goes on without it, whether it had come out of the zone or not
sub stop_inside {
    my ($pid, $what) = @_;

    $what = 'an allocation' if $what eq 'a repair';
    inside(scalar send_for($pid, $what, SIGSTOP), "stopped inside $what")
        or return 0;
    eval { $nginx->wait_for(sub { writer() != $pid }, 10 * $slow, '') }
        or ++$missed;
    $nginx->signal('CONT', $pid);
    return 1;
}

# the one that follows the database writes most
sub writer {
    my ($pid) = $dbh->selectrow_array('SELECT name FROM apikeys.instances')
        =~ /:(\d+)$/;
    return $pid;
}

my $churn = churn();
my @probers = probers($nginx, 2);
my @places = sort keys %places;
$missed = 0;

for my $n (1 .. $kills) {
    my @workers = $nginx->workers or redo;
    my $pid = $workers[ rand @workers ];

    if ($n % 2 && !$nginx->untraced) {
        my $writer = writer();
        my ($next) = grep { $_ != $writer } $pid, @workers;
        my $what = $places[ rand @places ];
        (rand 3 < 1 ? stop_inside($writer, $what)
            : kill_inside($writer, $next, $what)) or redo;
    }
    elsif ($n % 4 == 0) {
        $nginx->signal('STOP', $pid);
        sleep rand 0.05;
        $nginx->signal($n % 8 ? 'CONT' : 'KILL', $pid);
    }
    else {
        $nginx->signal('KILL', $pid);
    }
    sleep rand 0.05;

    # every so often all must be well, also for the feed
    next if $n % 20;
    $dbh->do(q{UPDATE apikeys.keys SET roles = '{ORG_READ_ONLY}'
        WHERE id = ?}, undef, $good->{id});
    $missed++ if !soon(403, $good);
    $dbh->do(q{UPDATE apikeys.keys SET roles = '{ORG_MEMBER}'
        WHERE id = ?}, undef, $good->{id});
    $missed++ if !soon(200, $good);
    for my $prober (@probers) {
        my @seen = $prober->seen;
        $seen[$_]{last} && ++$missed for 1 .. 3;
    }
    $_->watch(@watch) for @probers;
}

is($missed, 0, "$kills workers killed or stopped at random: every change is "
    . 'followed, and nobody enters');
sleep 0.2;
my @kinds = decisions(@probers);
right('after the last of them', @kinds);

SKIP: {
    skip $nginx->untraced, 1 if $nginx->untraced;
    my $repairs = status($nginx)->{zone}{repairs_total};
    cmp_ok($repairs, '>=', $kills / 8, 'many died with the zone in their '
        . 'hands, and the next repaired it');
    diag(join ', ', map({ "$killed{$_} $_" } sort keys %killed),
        "$repairs repairs");
}
diag("$kinds[4]{all} requests since the last pause, $kinds[4]{lost} died "
    . 'with their worker');
undef @probers;


# the leader stopped: another takes over

my $leader;
$nginx->wait_for(sub {
    $leader = status($nginx)->{leader_pid};
}, 10 * $slow, 'no worker follows the database');
$nginx->signal('STOP', $leader);
my $begin = time;
$dbh->do(q{UPDATE apikeys.keys SET roles = '{ORG_READ_ONLY}' WHERE id = ?},
    undef, $good->{id});
$nginx->wait_for(sub {
    my $client = ApiKeys::Client->new(port => $nginx->port, timeout => 0.3);
    my $res = eval { $client->plain('GET', $uri, undef, headers => {
        Authorization => 'Basic ' . encode_base64($good->{secret}, '') }) };
    $client->close;
    $res && $res->code == 403;
}, 30 * $slow, 'nobody takes over');
my $took = time - $begin;
cmp_ok($took, '<', 10 * $slow, 'a stopped leader is replaced');
diag(sprintf 'a stopped leader is replaced within %.1f s', $took);
$nginx->signal('CONT', $leader);
$dbh->do(q{UPDATE apikeys.keys SET roles = '{ORG_MEMBER}' WHERE id = ?},
    undef, $good->{id});
ok(soon(200, $good), 'a leader that resumes does not undo a change');


# reload, under load and churn

@probers = probers($nginx, 2);
$nginx->reload, sleep 0.1 for 1 .. 8;
@kinds = decisions(@probers);
right('8 reloads', @kinds);
is($kinds[4]{lost}, 0, "8 reloads: none of $kinds[4]{all} requests is lost");

# another size: a new zone, filled from the old one before workers start
$_->watch(@watch) for @probers;
for my $zone ('24m', '12m', '16m') {
    $nginx->configure(http => $f->http_conf(zone => $zone, http => $http));
    $nginx->reload;
    sleep 0.1;
}
@kinds = decisions(@probers);
right('three sizes of the zone', @kinds);
is($kinds[4]{lost}, 0, 'no request is lost by it');


# another key file: keys that it does not open are 503, never let in by it

$_->watch(@watch) for @probers;
my $key_file = "$f->{master_key}\n";
$nginx->write_file('master.key',
    encode_base64(pack('L8', map { rand 2 ** 32 } 1 .. 8), '') . "\n$key_file",
    0600);
$nginx->reload;
sleep 0.3;
@kinds = decisions(@probers);
is(join(' ', grep { $_ == 200 } map { keys %{ $kinds[$_] } } 1 .. 3), '',
    'a new master key file: no key is admitted');
ok(soon(200, $good),
    'a node that has the old master key, too, admits the key');

# nginx must not free the new memory that this took
$_->watch(@watch) for @probers;
$nginx->reload for 1 .. 2;
@kinds = decisions(@probers);
right('two reloads after it', @kinds);
is($kinds[4]{lost}, 0, 'no request is lost by them');

kill 'KILL', $churn;
waitpid $churn, 0;
undef @probers;
ok(eval { $nginx->wait_for(sub {
    my $copy = status($nginx)->{copy};
    $copy->{complete} && !$copy->{invalid} && $copy->{keys}
        == $dbh->selectrow_array('SELECT count(*) FROM apikeys.keys');
}, 10 * $slow, '') }, 'after all of it the local copy holds each key, and none '
    . 'that is not');
$nginx->quit;


# binary upgrade

sub daemon {
    my ($http) = @_;

    my $g = ApiKeys::Fixture->new(db => $db, workers => 2, server => $server,
        http => $http, zone => '16m', start => 0,
        master_key => $f->{master_key});
    my $up = $g->nginx;

    $up->write_file('master.key', text($nginx->dir . '/master.key'), 0600);
    $up->start_daemon;
    $g->wait_loaded($up);
    return ($g, $up);
}

# the new zone is loaded before the old workers go
sub loaded {
    my ($up) = @_;

    $up->wait_for(sub {
        my %complete;
        for (1 .. 20) {
            my $status = status($up);
            $complete{ $status->{pid} } = $status->{copy}{complete}
                && ($status->{copy}{age_milliseconds} // 60_000) < 60_000;
        }
        keys %complete >= 3 && !grep { !$_ } values %complete;
    }, 20 * $slow, 'the new zone is not complete');
}

sub retire {
    my ($up) = @_;

    $_->watch(@watch) for @probers;
    $up->retire(20 * $slow);
    @kinds = decisions(@probers);
    right('the new binary', @kinds);
    is($kinds[4]{lost}, 0, 'the end of the old one loses nothing');
    undef @probers;
    $up->quit(20 * $slow);
}

{
    my ($g, $up) = daemon($http);

    @probers = probers($up, 2);
    $up->upgrade(20 * $slow);
    loaded($up);
    @kinds = decisions(@probers);
    is(join(' ', grep { $_ == 200 } map { keys %{ $kinds[$_] } } 1 .. 3), '',
        'USR2: nobody enters while the new zone is empty');
    is($kinds[4]{lost}, 0, 'USR2: no request is lost');
    diag('USR2 without a snapshot: ' . ($kinds[0]{503} // 0) . ' of '
        . $kinds[4]{all} . ' requests met a zone that was not loaded yet');
    retire($up);
}

# with a snapshot the new zone is full at once, and what was deleted after the
# snapshot is followed as ever
{
    my ($g, $up) = daemon("$http apikeys_snapshot %%DIR%%/state/replica;");

    $up->wait_for(sub { -e $up->dir . '/state/replica' }, 20 * $slow,
        'no snapshot');
    $dbh->do('DELETE FROM apikeys.keys WHERE id = ?', undef, $gone->{id});
    soon(401, $gone, $up) or die "the deletion is not followed\n";

    my $deleted = ApiKeys::Prober->new(port => $up->port, fresh => 1);
    $deleted->watch([ $uri, $gone->{secret} ]);
    @probers = probers($up, 2);
    $up->upgrade(20 * $slow);
    my $begin = time;
    loaded($up);
    like($up->error_log, qr/loaded \d+ keys from snapshot/,
        'USR2 with a snapshot: it is loaded');
    @kinds = decisions(@probers);
    right('USR2 with a snapshot', @kinds);
    is($kinds[4]{lost}, 0, 'USR2 with a snapshot: no request is lost');

    my $seen;
    $up->wait_for(sub { ($seen) = $deleted->seen; $seen->{asked} >= 300 },
        60 * $slow, 'not asked');
    cmp_ok($seen->{last} - $begin, '<', 1 * $slow,
        'a key that was deleted after the snapshot is refused within a second');
    is($seen->{code}, 401,
        'the key that was deleted after the snapshot stays refused');
    diag(sprintf 'a key deleted after the snapshot: %d of %d requests let in',
        $seen->{codes}{200} // 0, $seen->{asked});
    undef $deleted;
    retire($up);
}


# no descriptor left

my $few = ApiKeys::Fixture->new(db => $db, workers => 1, server => $server,
    http => $http, master_key => $f->{master_key}, start => 0,
    main => 'worker_rlimit_nofile 40;',
    # a program under valgrind may not set limits
    allow => qr/accept4\(\)|Too\ many\ open\ files|socket\(\)|worker_connections
        |setrlimit\(RLIMIT_NOFILE,\ 40\)/x);
my $poor_node = $few->nginx;
$poor_node->write_file('master.key', text($nginx->dir . '/master.key'), 0600);
$poor_node->start;
$few->wait_loaded($poor_node);

my $kept = ApiKeys::Client->new(port => $poor_node->port, timeout => 2);
sub kept {
    my ($key) = @_;

    my $res = eval { $kept->plain('GET', $uri, undef, headers => {
        Authorization => 'Basic ' . encode_base64($key->{secret}, '') }) };
    return $res ? $res->code : 0;
}
kept($good);
my @idle = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1',
    PeerPort => $poor_node->port) } 1 .. 60;

# what it has open goes on; what it cannot open must not make it let in
$db->psql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = 'apikeys_nginx'});
is(kept($good), 200, 'no descriptors: a connection that is open is served');
is(kept($bad), 401, 'rightly');
@idle = ();
$dbh->do('DELETE FROM apikeys.keys WHERE id = ?', undef, $good->{id});
ok($poor_node->wait_for(sub { code($good, $poor_node) == 401 }, 20 * $slow,
    'the feed is lost'),
    'a deletion is followed when there are connections again');
$poor_node->stop;

done_testing;
