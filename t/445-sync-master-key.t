# The rotation of the master key on two nodes, under load: a line is added,
# moved to the front, what the old one sealed is sealed anew, the old line is
# removed.  No request is refused for it, in each state a node starts from its
# snapshot, and a killed worker loses nothing.  A line that is removed while
# it is needed refuses its keys alone, until it is back.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use MIME::Base64 qw( encode_base64 );
use Test::More;
use Time::HiRes qw( time );

my $killed = qr/exited on signal 9|was locked by/;
my %opt = (workers => 2, zone => '2m', allow => $killed,
    http => 'apikeys_sync poll=100ms; apikeys_stale 20s;
        apikeys_snapshot %%DIR%%/state/snapshot;',
    server => 'location /key { apikeys_auth basic; empty_gif; }
        location /status { apikeys_status json; }');
my $f = ApiKeys::Fixture->new(%opt);
my $db = $f->db;
my @nodes = ($f->nginx, $f->node(%opt));
$nodes[1]->start;
$f->wait_loaded($nodes[1]);

my $org = $f->org;
my @keys = ($org->{key}, map { $f->key($org, 'ORG_MEMBER') } 1 .. 119);

my ($first, @more) = ($f->{master_key},
    map { encode_base64($_ x 32, '') } 'a' .. 'd');

# the lines of a node's file
sub file {
    my ($node, @lines) = @_;

    $nodes[$node]->write_file('master.key', join("\n", @lines, ''), 0600);
}

sub reload {
    my ($node, @lines) = @_;

    $nodes[$node]->log_mark;
    file($node, @lines);
    $nodes[$node]->reload;
}

sub get {
    my ($node, $path, $key) = @_;

    my $client = $f->client(nginx => $nodes[$node], timeout => 30, headers =>
        $key ? { Authorization => 'Basic ' . encode_base64($key->{secret}, '') }
             : {});
    my $res = $client->request('GET', $path);
    $client->close;
    return $res;
}

sub code { my $res = get($_[0], '/key', $_[1]); return $res ? $res->code : 0 }

# code => number of keys
sub codes {
    my ($node, @which) = @_;

    my %n;
    $n{ code($node, $_) }++ for @which ? @which : @keys;
    return join ' ', map { "$_: $n{$_}" } sort keys %n;
}

# what a node says of its lines: keys of each, most first, "-" where missing
sub lines {
    my ($node) = @_;

    my $res = get($node, '/status') or return '';
    return join ' ', map { $_->{keys} . ($_->{missing} ? '-' : '') }
        sort { $b->{keys} <=> $a->{keys} } @{ $res->json->{master_key_lines} };
}

sub lines_become {
    my ($node, $lines, $name) = @_;

    my $last;
    eval { $nodes[$node]->wait_for(sub { ($last = lines($node)) eq $lines },
        120, '') };
    is($last, $lines, $name);
}

# lines in the database: secrets of each, most first
sub sealed {
    return join ' ', map { $_->[0] } @{ $db->dbh->selectall_arrayref(
        'SELECT count(*) FROM apikeys.keys GROUP BY line ORDER BY 1 DESC') };
}

sub becomes {
    my ($code, $want, $name, $timeout) = @_;

    my $last;
    eval { $nodes[0]->wait_for(sub { ($last = $code->()) eq $want },
        $timeout || 120, ''); 1 } or my $error = $@;
    is($last, $want, $name) or diag $error // '';
}

# makes a key a second until one has another line; returns all of them
sub made {
    my ($name) = @_;

    my ($last, @made) = (0);
    becomes(sub {
        return 'not yet' if time - $last < 1;
        push @made, $f->key($org, 'ORG_MEMBER');
        $last = time;
        return sealed() =~ / / ? 'sealed by it' : 'not yet';
    }, 'sealed by it', $name);
    return @made;
}

# a node that was restarted counts until its lease ends, for its snapshot: the
# operator says that it is gone when the running nodes have a new heartbeat
sub forget_gone {
    my $now = time;
    becomes(sub { $db->dbh->selectrow_array('SELECT count(*)
        FROM apikeys.leased_instances WHERE heartbeat > to_timestamp(?)', {},
        $now) }, 2, 'two nodes have a new heartbeat');
    $db->dbh->do('SELECT apikeys.forget_instance(uuid, true)
        FROM apikeys.instances WHERE heartbeat <= to_timestamp(?)', {}, $now);
}

# requests with all keys in turn, to a node, until they are told to end: how
# many there were, and the codes but for 200
sub load {
    my ($node) = @_;

    pipe my $in, my $out or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        my ($n, $end, @other) = (0, 0);
        local $SIG{TERM} = sub { $end = 1 };
        until ($end && $n > 100) {
            my $before = $end;
            my $code = eval { code($node, $keys[ $n++ % @keys ]) } // 0;
            # the signal may end a request
            push @other, $code if $code != 200 && $end == $before;
        }
        syswrite $out, join ' ', $n, @other;
        POSIX::_exit(0);
    }
    close $out;
    return { pid => $pid, in => $in };
}

sub loaded {
    my ($name, @loads) = @_;

    kill 'TERM', map { $_->{pid} } @loads;
    for my $load (@loads) {
        my ($n, @other) = split ' ', readline($load->{in}) // '';
        waitpid $load->{pid}, 0;
        cmp_ok($n, '>', 100, "$name: requests");
        is(join(' ', @other), '', "$name: no request was refused");
    }
}

# a node that is stopped while the database refuses it starts from its
# snapshot, and decides
sub restarts {
    my ($node, $codes, $name) = @_;

    my $nginx = $nodes[$node];
    my $state = $nginx->dir . '/state/snapshot';
    my $begin = time;
    $nginx->wait_for(sub { (stat $state) && (stat _)[9] > $begin }, 30,
        'no snapshot');
    $nginx->quit;
    $db->psql("ALTER TABLE apikeys.schema_version RENAME TO away");
    $nginx->log_mark;
    $nginx->start;
    $nginx->wait_log(qr/loaded \d+ keys from snapshot/, 20);
    is(codes($node), $codes, "$name: a start from the snapshot");
    $db->psql("ALTER TABLE apikeys.away RENAME TO schema_version");
    $nginx->wait_log(qr/reading changes from the database again/,
        30);
}

is(codes($_), '200: 120', 'at first: node ' . ($_ + 1)) for 0, 1;
is(lines($_), '120', 'at first one line opens all keys') for 0, 1;


# a line more, behind the first one

my @loads = map { load($_) } 0, 1;
reload($_, $first, $more[0]) for 0, 1;
loaded('a line is added', @loads);
is(sealed(), '120', 'nothing is sealed anew');
unlike($nodes[$_]->error_log, qr/loaded [^\n]*database.*loaded [^\n]*database/s,
    'nothing is loaded: node ' . ($_ + 1)) for 0, 1;
restarts(0, '200: 120', 'a line added');


# it becomes the first one, node by node

forget_gone();
@loads = map { load($_) } 0, 1;
reload(0, $more[0], $first);
my @made = made('a new key is sealed with the first line');
push @keys, @made;
my $all = @keys;
becomes(sub { codes(1, @made) }, '200: ' . @made,
    'a new key is known to the other node');
is(sealed(), $all - 1 . ' 1', 'nothing is sealed anew while the other node '
    . 'has another first line');
reload(1, $more[0], $first);
becomes(\&sealed, $all, 'all secrets are sealed anew then');
lines_become($_, $all, 'all keys have the new line on node ' . ($_ + 1))
    for 0, 1;
loaded('sealed anew', @loads);
is(codes($_), "200: $all", 'all keys are known: node ' . ($_ + 1)) for 0, 1;
ok((grep { $_->error_log =~ /\d+ secrets were encrypted anew/ } @nodes) == 1,
    'one node has done it, and says so');
restarts(1, "200: $all", 'sealed anew');


# the old line goes

@loads = map { load($_) } 0, 1;
reload($_, $more[0]) for 0, 1;
loaded('the old line is removed', @loads);
is(lines($_), $all, 'no line is missing: node ' . ($_ + 1)) for 0, 1;
restarts(0, "200: $all", 'the old line removed');


# a needed line is removed, on one node

forget_gone();
reload(0, $more[1], $more[0]);
reload(1, $more[0], $more[1]);
@made = made('one more line seals');
my $new = pop @made;
my @old = (@keys, @made);
$all = @old;
becomes(sub { code(1, $new) }, 200,
    'a key sealed with one more line is known to the other node');
reload(1, $more[0]);
becomes(sub { code(1, $new) }, 503, 'without that line: its key is refused');
is(codes(1, @old), "200: $all", 'without that line: other keys are admitted');
is(codes(0, $new, @old), '200: ' . ($all + 1),
    'without that line: the other node admits all keys');
lines_become(1, "$all 1-", 'the status counts the keys whose line is missing');
ok(eval { $nodes[1]->wait_log(qr/\[error\].* 1 API keys get 503/, 20) },
    'the log counts the keys whose line is missing');
@keys = ($new, @old);
restarts(1, "200: $all 503: 1", 'a needed line removed');
$db->psql("UPDATE apikeys.keys SET descr = 'changed' WHERE id = '$new->{id}'");
becomes(sub { lines(1) =~ /^$all( 0-?)?$/ ? 'unread' : lines(1) }, 'unread',
    'a change of the key cannot be read');
is(codes(1), "200: $all 503: 1",
    'other keys are admitted beside a change that cannot be read');
reload(1, $more[0], $more[1]);
becomes(sub { codes(1) }, '200: ' . @keys, 'the line is back: all are known');

# the line of nearly all keys
reload(0, $more[1]);
becomes(sub { codes(0) }, "200: 1 503: $all",
    'without the line of the others: they are refused');
reload(0, $more[1], $more[0]);
becomes(sub { codes(0) }, '200: ' . @keys,
    'all keys are admitted when the line is back');


# a worker that seals is killed

SKIP: {
    my $why = $nodes[0]->untraced;
    skip $why, 8 if $why;

    forget_gone();
    for my $place (qw( read_done write_done end_done )) {
        my ($from, $to) = sealed() =~ / / ? (@more[ 0, 1 ])
            : $place eq 'write_done' ? (@more[ 1, 0 ]) : (@more[ 0, 1 ]);
        reload($_, $to, $from) for 0, 1;
        my @pids = map { my $n = $_; map { [ $n, $_ ] } $nodes[$n]->workers }
            0, 1;
        ok($nodes[0]->killed_one(map { $nodes[ $_->[0] ]->kill_at($_->[1],
            "ngx_apikeys_sync_seal_$place", 200, 20_000) } @pids),
            "killed in $place");
        becomes(\&sealed, scalar @keys,
            "killed in $place: all secrets are sealed anew in the end");
    }
    is(codes($_), '200: ' . @keys,
        'all keys are known to node ' . ($_ + 1)) for 0, 1;
}


# two secrets change places

my ($one, $two) = @keys[ 1, 2 ];
$db->psql("UPDATE apikeys.keys k SET secret = o.secret FROM apikeys.keys o
     WHERE (k.id, o.id) IN (('$one->{id}', '$two->{id}'),
                            ('$two->{id}', '$one->{id}'))");
becomes(sub { codes(0, $one, $two) . codes(1, $one, $two) },
    '503: 2503: 2', 'secrets that change places open neither key');
reload($_, $more[2], @more[ 0, 1 ]) for 0, 1;
becomes(\&sealed, (@keys - 2) . ' 2',
    'secrets that changed places are not sealed anew');
ok(eval { $nodes[0]->wait_for(sub { grep { $_->error_log
    =~ /encrypted anew with the first .*, 2 still need/ } @nodes }, 30, '') },
    'the log says that two secrets need the old line');
ok(eval { $nodes[0]->wait_for(sub { grep { $_->error_log
    =~ /: 0 secrets were encrypted anew .*, 2 still need/ } @nodes }, 30, '') },
    'another pass follows a pass that encrypted some secrets without a pause');
is(codes($_), '200: ' . (@keys - 2) . ' 503: 2', 'node ' . ($_ + 1))
    for 0, 1;


# a node with an old file joins

my $late = $f->node(%opt);
push @nodes, $late;
file(2, $more[3]);
$late->start;
ok(eval { $late->wait_log(qr/\[error\].*master_key_file/, 20) },
    'a node with another file: an error');
is(code(2, $keys[3]), 503, 'a node with another file answers 503');

done_testing;
