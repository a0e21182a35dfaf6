# A reload with a zone of another size: what a full zone has is carried over,
# keys without room included, which get their room; so is an incomplete local
# copy.  No key that is decided before is answered with 503 after it, with the
# database down or up, and no key that is revoked meanwhile is let in; nor is
# a digest header that was used before.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use ApiKeys::Pg ();
use MIME::Base64 qw( encode_base64 );
use POSIX ();
use Test::More;
use Time::HiRes qw( sleep time );

my @conf = (workers => 2, http => 'apikeys_sync poll=200ms;',
    database => 'timeout=2s', server => <<'END',
        location /status { apikeys_status json; }
        location /key {
            apikeys_auth basic;
            apikeys_require org=$arg_org role=ORG_MEMBER;
            empty_gif;
        }
END
    allow => qr/\[crit\].*\ is\ full|exited\ on\ signal\ 9
                |shared\ memory\ zone/x);
my $pg = ApiKeys::Pg->new(own => 1);
my $f = ApiKeys::Fixture->new(@conf, zone => '1m', pg => $pg);
my $db = $f->db;
my $nginx = $f->nginx;
my $hostile = $f->org;
my $other = $f->org;
my $slow = $ENV{APIKEYS_TEST_ASAN} ? 4 : 1;

sub status {
    my $client = $f->client;
    my $json = $client->plain('GET', '/status')->json;
    $client->close;
    return $json->{copy};
}

sub code {
    my ($key, $org) = @_;

    my $client = $f->client;
    my $res = eval { $client->plain('GET', "/key?org=$org->{id}", undef,
        headers => { Authorization => 'Basic '
            . encode_base64($key->{secret}, '') }) };
    $client->close;
    return $res ? $res->code : 0;
}

sub becomes {
    my ($code, $key, $org, $name) = @_;

    my $was;
    eval { $nginx->wait_for(sub { ($was = code($key, $org)) == $code },
        20 * $slow, '') };
    is($was, $code, $name);
}

sub without_room {
    my ($n, $name) = @_;

    ok(eval { $nginx->wait_for(sub {
        my $is = status()->{keys_without_room};
        return $n ? $is >= $n : $is == 0 }, 30 * $slow, '') }, $name);
}

sub loads { return scalar(() = $nginx->error_log =~ /loaded \d+ keys.* ms: /g) }

sub resize {
    my ($zone) = @_;

    $nginx->configure(http => $f->http_conf(@conf, zone => $zone));
    $nginx->reload;
}

# lists that a small zone has no room for
sub fill {
    my ($first, @keys) = @_;

    $db->psql(join '', map { <<"END" } @keys);
INSERT INTO apikeys.access_list (key_id, cidr)
    SELECT '$_->{id}', ('2001:db8:$first:' || to_hex(i) || '::')::inet
      FROM generate_series(1, 4000) i;
END
}

# asks with keys until the sub that it returns is called, which returns how
# often each had which status: { name => { 200 => .. } }
sub load {
    my (%ask) = @_;

    pipe my $read, my $write or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        close $read;
        my ($over, %codes);
        local $SIG{TERM} = sub { $over = 1 };
        while (!$over) {
            $codes{"$_ " . code(@{ $ask{$_} })}++ for sort keys %ask;
        }
        syswrite $write, join '', map { "$_ $codes{$_}\n" } keys %codes;
        POSIX::_exit(0);
    }
    close $write;

    return sub {
        kill 'TERM', $pid;
        my %codes;
        while (<$read>) {
            $codes{$1}{$2} = $3 if /^(\w+) (\d+) (\d+)$/;
        }
        waitpid $pid, 0;
        # a worker that was killed had requests
        delete $codes{$_}{0} for keys %codes;
        return \%codes;
    };
}

my $unknown = { secret => 'zzzzzzzz:x' };
my $kept = $f->key($other, 'ORG_MEMBER');
my @revoked = map { $f->key($other, 'ORG_MEMBER') } 1 .. 40;
my @lists = map { $f->key($hostile, 'ORG_MEMBER') } 1 .. 12;


# from a full zone into a larger one, under load; keys are deleted or lose
# their roles all the while, and workers are killed

fill(1, @lists);
without_room(3, 'a full zone');
is(status()->{complete}, 1, 'a full zone with keys without room is complete');
my @stubs = grep { code($_, $hostile) == 503 } @lists;
cmp_ok(@stubs, '<', @lists, 'some keys have room, some have none');
my ($listed) = grep { code($_, $hostile) == 403 } @lists;

my $before = loads();
my $load = load(kept => [ $kept, $other ], listed => [ $listed, $hostile ],
    stub => [ $stubs[0], $hostile ], unknown => [ $unknown, $other ]);

my $n = 0;
sub revoke {
    for my $key (splice @revoked, 0, 4) {
        $db->psql($n++ % 2
            ? "DELETE FROM apikeys.keys WHERE id = '$key->{id}'"
            : "UPDATE apikeys.keys SET roles = '{ORG_READ_ONLY}'
                WHERE id = '$key->{id}'");
    }
}

my @gone = @revoked;
my ($leader) = map { /:(\d+)$/ } @{ $db->dbh->selectcol_arrayref(
    'SELECT name FROM apikeys.instances') };
my $it = $nginx->kill_at($leader, 'ngx_apikeys_store_publish_key_locked',
    2000, 20_000);
revoke();
SKIP: {
    skip $nginx->untraced, 1 if $nginx->untraced;
    ok($nginx->killed($it), 'kill -9 of a worker that publishes');
}

my %old = map { $_ => 1 } $nginx->workers;
$nginx->configure(http => $f->http_conf(@conf, zone => '8m'));
$nginx->signal('HUP');
revoke();
my @new;
$nginx->wait_for(sub {
    revoke() if @revoked;
    return @new = grep { !$old{$_} } $nginx->workers;
}, 30, 'no new workers');
$nginx->signal('KILL', $new[0]);
revoke() while @revoked;
$nginx->wait_for(sub { !grep { $old{$_} } $nginx->workers }, 30 * $slow,
    'old workers');

without_room(0, 'in a larger zone all keys get their room');
becomes(403, $_, $hostile, 'a key that had none') for @stubs[0, -1];
becomes($_ % 2 ? 401 : 403, $gone[$_], $other, 'a key that was revoked')
    for 0 .. $#gone;
is((grep { code($_, $other) == 200 } (@gone) x 3), 0, 'none is let in again');

my $codes = $load->();
is_deeply([ map { sort keys %{ $codes->{$_} } } qw( kept listed unknown ) ],
    [ 200, 403, 401 ], 'all that was decided was decided all the time');
is_deeply([ sort keys %{ $codes->{stub} } ], [ 403, 503 ],
    'a key without room is 503 until it has some');
is(loads(), $before, 'nothing was loaded for it');


# into a smaller one: what fits, the rest has no room; and back, while the
# database is down

resize('1m');
is(code($kept, $other), 200, 'a key is admitted in a smaller zone');
is(code($unknown, $other), 401, 'an unknown key gets 401 in a smaller zone');
without_room(3, 'keys without room');
is(status()->{complete}, 1, 'a smaller zone is complete');
is((grep { code($_, $hostile) !~ /^(?:403|503)$/ } @lists), 0,
    'the lists that fit are followed');
@stubs = grep { code($_, $hostile) == 503 } @lists;
($listed) = grep { code($_, $hostile) == 403 } @lists;

$pg->stop('fast');
$load = load(kept => [ $kept, $other ], listed => [ $listed, $hostile ],
    unknown => [ $unknown, $other ], gone => [ $gone[0], $other ]);
resize('8m');
is(code($stubs[0], $hostile), 503,
    'a key without room gets 503 in a larger zone without the database');
$codes = $load->();
is_deeply([ map { sort keys %{ $codes->{$_} } }
    qw( kept listed unknown gone ) ],
    [ 200, 403, 401, code($gone[0], $other) ],
    'all other keys are decided in a larger zone without the database');

$pg->start;
becomes(403, $_, $hostile,
    'a key without room gets room once the database is back') for @stubs;
without_room(0, 'all keys get room once the database is back');
is(loads(), $before, 'keys get room without a load');


# from an incomplete one, in which not even a key without room finds any

resize('1m');
without_room(3, 'a small zone again');
my $restricted = $f->key($other, 'ORG_MEMBER');
my $late = $f->key($other, 'ORG_MEMBER');
becomes(200, $_, $other,
    'a key is admitted in a small zone') for $restricted, $late;
$f->copies($other, $kept, $ENV{APIKEYS_TEST_ASAN} ? 14_000 : 20_000);
ok(eval { $nginx->wait_log(qr/\[crit\].*is full, local copy is/,
    60 * $slow) }, 'the log says that the local copy is incomplete');
becomes(503, $unknown, $other,
    'an unknown key gets 503 in an incomplete zone');
$db->psql("INSERT INTO apikeys.access_list (key_id, cidr)
           SELECT '$restricted->{id}', ('10.0.' || n || '.0/24')::cidr
             FROM generate_series(0, 200) AS n");
eval { $nginx->wait_for(sub { code($restricted, $other) =~ /403|503/ },
    20 * $slow, '') };
is(code($kept, $other), 200, 'other keys are decided in an incomplete zone');
($listed) = grep { code($_, $hostile) == 403 } @lists;

$pg->stop('fast');
$before = loads();
$load = load(kept => [ $kept, $other ], listed => [ $listed, $hostile ],
    restricted => [ $restricted, $other ]);
resize('16m');
is(code($kept, $other), 200,
    'a key is admitted in a larger zone made from an incomplete one');
is(code($listed, $hostile), 403,
    'a key with a list is refused in a larger zone');
like(code($restricted, $other), qr/^(?:403|503)$/,
    'a key that was restricted is not admitted in a larger zone');
is(code($unknown, $other), 503,
    'an unknown key gets 503 in a larger zone made from an incomplete one');
is(status()->{complete}, 0,
    'a larger zone made from an incomplete one is incomplete');

$pg->start;
$db->psql("DELETE FROM apikeys.keys WHERE id = '$late->{id}'");
becomes(401, $unknown, $other,
    'an unknown key gets 401 once a load has completed the zone');
is(loads(), $before + 1, 'one load completes the zone');
is(status()->{keys_without_room}, 0, 'all keys have room');
is(code($late, $other), 401, 'a key that was deleted meanwhile gets 401');
is(code($restricted, $other), 403,
    'the restricted key gets 403 after the load');
$codes = $load->();
is_deeply([ map { sort keys %{ $codes->{$_} } } qw( kept listed ) ],
    [ 200, 403 ], 'decisions did not change during the resize');
ok(!$codes->{restricted}{200}, 'the restricted key was never admitted');


# what was sent before is not admitted after it: the table of nonces is new

my $owner = $other->{client};
my $uri = "$other->{path}/apiKeys?itemsPerPage=1";
sub sent {
    my ($header) = @_;

    my $client = $f->client;
    my $res = $client->plain('GET', $uri, undef,
        headers => { Authorization => $header });
    $client->close;
    my $challenge = $res->challenge('MD5') || {};
    return join ' ', $res->code, $challenge->{stale} // ();
}

for my $case ([ 'a reload', '16m', 'false' ], [ 'a resize', '17m', 'true' ],
    [ 'a restart', undef, 'true' ])
{
    my ($title, $zone, $stale) = @$case;

    $owner->request('GET', $uri);
    my @headers = map { $owner->authorization('GET', $uri) } 1 .. 2;
    is(sent($headers[0]), 200, "$title: a digest header is admitted");
    is(sent($headers[0]), '401 false', "$title: once");
    $owner->close;
    if ($zone) {
        resize($zone);

    } else {
        $nginx->quit;
        $nginx->start;
        $f->wait_loaded($nginx);
    }
    is(sent($headers[0]), "401 $stale", "$title: not after it either");
    is(sent($headers[1]), $stale eq 'true' ? '401 true' : 200,
        $stale eq 'true' ? "$title: nor is one with the same nonce"
        : "$title: one that was not used is");
    is($owner->request('GET', $uri)->code, 200,
        "$title: the client goes on, with another nonce if it is told");
}

done_testing;
