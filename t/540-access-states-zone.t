# What is decided with the shortest apikeys_stale of all, and while a zone is too
# small: for a while, by several nodes, and while workers are killed as the
# database changes, so no blocks.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Access ();
use ApiKeys::Prober ();
use MIME::Base64 qw( encode_base64 );
use Test::More;
use Time::HiRes qw( sleep time );

my $server = <<'END';
    location /long { apikeys_auth basic; empty_gif; }
    location /short { apikeys_auth basic; apikeys_stale 1s; empty_gif; }
    location = /status { apikeys_status; }
END
my $http = 'apikeys_sync poll=100ms; apikeys_stale 1h;';
my @common = (http => $http, database => 'connect_timeout=1s timeout=2s',
    allow => qr/\[crit\].* is full/);

# sanitizers open each secret slowly, and a full zone is loaded rarely then
my $slow = $ENV{APIKEYS_TEST_ASAN} ? 4 : 1;

my $t = ApiKeys::Access->new(@common, zone => '4m', workers => 2);
$t->serve($server);
my $f = $t->fixture;
my $db = $t->db;
my $org = $t->org;
my @keys = map { $t->key($org, 'ORG_MEMBER') } 1 .. 3;
my $key = $keys[0];
my $unknown = { secret => 'zzzzzzzz:' . '0' x 36, publicKey => 'zzzzzzzz' };
$t->settle;

sub ask {
    my ($nginx, $uri, $who) = @_;

    my $client = $f->client(nginx => $nginx);
    my $res = $client->plain('GET', $uri, undef, headers => $who
        ? { Authorization => 'Basic ' . encode_base64($who->{secret}, '') }
        : {});
    $client->close;
    return $res;
}

sub code { return ask(@_)->code }
sub status { return ask($_[0], '/status')->json }

sub becomes {
    my ($code, $nginx, $uri, $who, $name) = @_;

    my $got;
    eval { $nginx->wait_for(sub { ($got = code($nginx, $uri, $who)) == $code },
        15, '') };
    is($got, $code, $name);
}


# the shortest apikeys_stale of all has proofs of freshness enough

my %codes;
my $end = time + 2.5;
while (time < $end) {
    $codes{ code($t->nginx, '/short', $key) }++;
    sleep 0.02;
}
is(join(' ', keys %codes), '200', 'apikeys_stale 1s while nothing changes');


# a zone that is too small

my $small = $f->node(@common, zone => '1m', server => $server);
$f->copies($org, $key, 14_000);
$small->start;
ok(eval { $small->wait_log(qr/\[crit\] .* is full, .* at least \d+/, 15) },
    'a zone that is too small says what it needs');
is(code($small, '/long', $unknown), 503,
    'a full zone: a key that is not found gets 503');
$db->psql("DELETE FROM apikeys.keys WHERE id = '$keys[1]{id}'");
becomes(401, $t->nginx, '/long', $keys[1], 'a key is revoked elsewhere');

%codes = ();
$end = time + 2;
while (time < $end) {
    $codes{revoked}{ code($small, '/long', $keys[1]) }++ if time > $end - 1;
    $codes{key}{ code($small, '/long', $key) }++;
    $codes{unknown}{ code($small, '/long', $unknown) }++;
    sleep 0.02;
}
like(join(' ', sort keys %{ $codes{revoked} }), qr/^(?:401|503|401 503)$/,
    'a full zone: a revoked key is not admitted');
unlike(join(' ', keys %{ $codes{key} }), qr/401/,
    'a full zone: a valid key never gets 401');
is(join(' ', keys %{ $codes{unknown} }), '503',
    'a full zone: a key that may exist never gets 401');
is(() = $small->error_log =~ /is full/g, 1, 'a full zone is logged once');
my $status = status($small);
is($status->{copy}{complete}, 0, 'the status of a full zone has complete = 0');
cmp_ok($status->{zone}{full_total}, '>', 0,
    'the status of a full zone counts records without room');
is($status->{feed}{behind}, 1, 'the status of a full zone has behind = 1');

$small->configure(http => $f->http_conf(@common, zone => '16m'));
$small->reload;
becomes(200, $small, '/long', $key, 'with room after a reload');
ok(eval { $small->wait_for(sub { !status($small)->{feed}{behind} }, 15) },
    'behind is 0 with room after a reload');
becomes(401, $small, '/long', $unknown,
    'an unknown key gets 401 with room after a reload');
is(code($small, '/long', $keys[1]), 401,
    'the revoked key gets 401 with room after a reload');
$small->quit;
$db->psql("DELETE FROM apikeys.keys WHERE descr = 'copy'");

# workers that die while the zone is full, or nearly so

my $tight = $f->node(@common, zone => '1m', workers => 2, server => $server,
    allow => qr/is full|signal 9|was locked by|\[alert\].*mutex/);
my ($stable, $flip, $gone, @large) = map { $t->key($org, 'ORG_MEMBER') } 1 .. 6;
my ($more, @spare) = $t->org;      # fillers take all that one may have

$tight->start;
$f->wait_loaded($tight);

# the one that follows the database: it writes
sub writer {
    my %workers = map { $_ => 1 } $tight->workers;
    my ($pid) = grep { $workers{$_} } map { /:(\d+)$/ } @{ $db->dbh
        ->selectcol_arrayref('SELECT name FROM apikeys.instances') };
    return $pid;
}

sub follows {
    my ($what) = @_;

    my $status;
    return eval { $tight->wait_for(sub {
        my ($applied) = $db->dbh->selectrow_array(<<'END', undef,
SELECT pg_visible_in_snapshot(x.xid, i.snapshot) FROM apikeys.instances i,
       (SELECT xid FROM apikeys.changes ORDER BY xid DESC LIMIT 1) x
 WHERE i.name LIKE $1
END
            '%:' . (writer() // 0));
        $status = status($tight);
        return $applied && $status->{copy}{complete}
            && !$status->{copy}{keys_without_room}
            && !$status->{feed}{behind};
    }, 30 * $slow, $what) } ? $status : diag($@ =~ /^(.*)/);
}

# lists that do not fit, keys that do and do not, and one that changes
sub lists {
    my ($dbh, @of) = @_;

    $dbh->do(<<'END', undef, $_->{id}) for @of;
INSERT INTO apikeys.access_list (key_id, cidr)
    SELECT $1, c FROM unnest('{127.0.0.0/8}'::cidr[] || ARRAY(
        SELECT ('10.0.0.0'::inet + n * 256)::cidr
          FROM generate_series(1, 1000) n)) c
END
}

sub churn {
    my ($first) = @_;

    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;

    my $dbh = $db->connect;
    $dbh->do(q{SET application_name = 'churn'});
    for (my $n = 0; ; $n++) {
        lists($dbh, $large[ $n % @large ]);
        $f->copies($org, $key, 20, $first) if $n % 4 == 0;
        $dbh->do('UPDATE apikeys.keys SET roles = $1 WHERE id = $2', undef,
            $n % 2 ? '{ORG_MEMBER}' : '{ORG_READ_ONLY}', $flip->{id});
        $dbh->do('DELETE FROM apikeys.access_list WHERE key_id = $1', undef,
            $large[ ($n - 2) % @large ]{id});
        $dbh->do('DELETE FROM apikeys.keys WHERE id >= $1 AND descr = $2',
            undef, sprintf('%024x', $first), 'copy') if $n % 4 == 2;
    }
}

my %places = (ngx_apikeys_arena_alloc => 80,
    ngx_apikeys_arena_tree_create => 600,
    ngx_apikeys_store_retire_reserve => 1500,
    ngx_apikeys_store_publish_key_locked => 1500,
    ngx_apikeys_store_repair => 3000);

my $base = follows('the zone is not complete')
    or die "the zone is not complete\n";
$f->copies($org, $key, 100, 1);
my $each = ($f->used(follows('100 keys')) - $f->used($base)) / 100;
lists($db->dbh, $large[0]);
my $list = $f->used(follows('a list')) - $f->used($base) - 100 * $each;
$db->psql('DELETE FROM apikeys.access_list');
my $fit = int(($base->{zone}{free_bytes} - 1.5 * $list) / $each);
$f->copies($org, $key, $fit - 100, 101);
ok($status = follows('all that fits'), "$fit keys more fit, and are there");
cmp_ok($status->{zone}{free_bytes}, '<', 2 * $list,
    "with room for one list of $list bytes");

my @watch = ($stable, $flip, $unknown, $gone);
my $prober = ApiKeys::Prober->new(port => $tight->port);
$db->psql("DELETE FROM apikeys.keys WHERE id = '$gone->{id}'");
becomes(401, $tight, '/long', $gone, 'one of them is revoked');
$prober->watch(map { [ '/long', $_->{secret} ] } @watch);

my $churn = churn($fit + 1);
my ($inside, @names) = (0, sort keys %places);
for my $n (1 .. 24) {
    if ($n % 2 && !$tight->untraced) {
        my $writer;
        $tight->wait_for(sub { $writer = writer() }, 30, 'nobody follows');
        my $name = $names[ $n / 2 % @names ];
        my $it = $tight->kill_at($writer, $name, $places{$name}, 200);
        $inside += $tight->killed($it);
    }
    else {
        my @workers;
        $tight->wait_for(sub { @workers = $tight->workers }, 30, 'no worker');
        $tight->signal('KILL', $workers[ rand @workers ]);
    }
    sleep rand 0.05;
}
kill 'KILL', $churn;
waitpid $churn, 0;
$tight->wait_for(sub { $tight->workers && !$db->dbh->selectrow_array(
    q{SELECT count(*) FROM pg_stat_activity
       WHERE application_name = 'churn'}) }, 30, 'the churn does not end');

my @seen = $prober->seen;
is(join(', ', map { my %c = %{ $_->{codes} }; delete $c{503} if $_ != $seen[0];
    join ' ', sort keys %c } @seen[0 .. 3]), '200, 200, 401, 401',
    'nobody enters, and what was there is served throughout');
SKIP: {
    skip $tight->untraced, 2 if $tight->untraced;
    $status = status($tight);
    cmp_ok($inside, '>=', 3,
        'at least 3 workers died while they wrote the zone');
    cmp_ok($status->{zone}{repairs_total}, '>=', 1, 'the zone was repaired');
    diag("$inside killed inside, $status->{zone}{repairs_total} repairs, "
        . "full $status->{zone}{full_total} times, of all "
        . "$seen[0]{asked} rounds $seen[0]{lost} died with their worker");
}

# more than fits, which stays so
sub overfull {
    $f->copies($org, $key, 500, $fit + 1000);
    lists($db->dbh, @large);
    push @spare, map { $t->key($more, 'ORG_MEMBER') } 1 .. 2;
    ok(eval { $tight->wait_for(sub {
        my $status = status($tight);
        !$status->{copy}{complete} && $status->{feed}{behind};
    }, 15, '') }, 'more than fits');
}

$db->psql("DELETE FROM apikeys.access_list;
    DELETE FROM apikeys.keys WHERE descr = 'copy'
        AND id > '" . sprintf('%024x', $fit) . "'");
overfull();
is(code($tight, '/long', $stable), 200,
    'a key that fits is served in a full zone');
is(join(' ', grep { $_ !~ /200|503/ } map { code($tight, '/long', $_) }
    @large, @spare), '', 'keys that do not fit get 503');
like(code($tight, '/long', $gone), qr/401|503/,
    'a revoked key is not admitted in a full zone');
is(code($tight, '/long', $unknown), 503,
    'a key that is not found gets 503 in a full zone');

# room is made
$db->psql("DELETE FROM apikeys.access_list;
    DELETE FROM apikeys.keys WHERE descr = 'copy'");
ok(follows('room'), 'all changes are followed when there is room again');
is(join(' ', map { code($tight, '/long', $_) } $stable, $flip, @large, @spare,
    $gone, $unknown), '200 ' x 7 . '401 401',
        'all keys are decided right when there is room again');
$db->psql("DELETE FROM apikeys.keys WHERE id = '$_->{id}'") for @spare;
my ($used, $retired);
ok(eval { $tight->wait_for(sub {
    my $now = follows('as at first') or return;
    ($used, $retired) = ($f->used($now), $now->{zone}{retired_bytes});
    # the cells of the revoked key: record, detail and HA1s
    $used == $f->used($base) - 192 && $retired <= 192;
}, 15 * $slow, '') }, 'no cell is lost') or diag("$used used, $retired retired");


done_testing;
