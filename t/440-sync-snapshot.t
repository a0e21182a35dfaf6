# A cold start while the database is down: the local copy comes from the sealed
# snapshot, is as old as that was, and goes on from there.  A snapshot that
# is anything but whole, ours and young is refused.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

# mounts of a disk that is full are nobody else's
BEGIN {
    if ($> == 0 && !$ENV{APIKEYS_TEST_MOUNTS}
        && system(qw( unshare -m true )) == 0)
    {
        $ENV{APIKEYS_TEST_MOUNTS} = 1;
        exec 'unshare', '-m', $^X, $0, @ARGV;
    }
}

use ApiKeys::Fixture ();
use ApiKeys::Pg ();
use MIME::Base64 qw( encode_base64 );
use Test::More;
use Time::HiRes qw( time );

my $STALE = 16;

# one is killed; and under sanitizers its end may take longer than the master
# waits
my $slow = qr/exited on signal 9/;

my $pg = ApiKeys::Pg->new(own => 1);
my $db = $pg->database(schema => 1);

sub options {
    my (%opt) = @_;

    my $stale = $opt{stale} || $STALE;
    my $realm = $opt{realm} || 'MMS Public API';
    my $path = $opt{path} || '%%DIR%%/state/replica';

    return (db => $db, workers => 2, zone => $opt{zone} || '8m',
        allow => qr/\[emerg\].*apikeys_snapshot|$slow/,
        http => qq{apikeys_sync poll=200ms; apikeys_stale ${stale}s;
            apikeys_realm "$realm"; apikeys_snapshot $path;},
        server => 'location /key { apikeys_auth basic; empty_gif; }');
}

my $f = ApiKeys::Fixture->new(options());
my $nginx = $f->nginx;
my $file = $nginx->dir . '/state/replica';
my $org = $f->org;

sub configure {
    my %opt = options(@_);

    $nginx->configure(http => $f->http_conf(%opt),
        server => $f->server_conf(%opt));
}

sub code {
    my ($secret, $node) = @_;

    my $client = $f->client(nginx => $node || $nginx, timeout => 5,
        headers => { Authorization => 'Basic ' . encode_base64($secret, '') });
    my $res = $client->request('GET', '/key');
    $client->close;
    return $res ? $res->code : 0;
}

sub becomes {
    my ($key, $code, $name, $timeout) = @_;

    my $last;
    eval { $nginx->wait_for(sub { ($last = code($key->{secret})) == $code },
        $timeout || 20, '') };
    is($last, $code, $name);
}

sub slurp { open my $h, '<:raw', $_[0] or return; local $/; return <$h> }

sub spew {
    my ($text, $name) = @_;

    $name //= $file;
    unlink $name;
    open my $h, '>:raw', $name or die "$name: $!\n";
    print $h $text;
    close $h or die "$name: $!\n";
}

# one that was begun after now
sub next_snapshot {
    my $begin = time;
    $nginx->wait_for(sub {
        return ((Time::HiRes::stat($file))[9] || 0) > $begin + 0.3;
    }, 30, 'no new snapshot');
}

sub log_of {
    my ($code) = @_;

    my $mark = length $nginx->error_log;
    $code->();
    return substr $nginx->error_log, $mark;
}

sub cold_start {
    return log_of(sub { $nginx->start });
}


# writing

my @keys = map { $f->key($org, 'ORG_READ_ONLY') } 1 .. 3;
my $unknown = { secret => 'zzzzzzzz:00000000-0000-4000-8000-000000000000' };
is($f->operator('POST', "$org->{path}/apiKeys/$keys[2]{id}/accessList",
    [ { cidrBlock => '10.0.0.0/8' }, { cidrBlock => '2001:db8::/32' } ])->code,
    200, 'a key with a list');
next_snapshot();
my $snapshot = slurp($file);
my $written = time;

my ($mode, $uid) = (stat $file)[2, 4];
is($mode & 07777, 0600, 'the snapshot file has mode 0600');
is($uid, $> ? $> : scalar getpwnam 'www-data',
    'the snapshot file is owned by the user of the workers');
unlike($snapshot, qr/\Q$_->{publicKey}\E/,
    'the snapshot file does not show a public key')
    for @keys;
is(join(' ', glob $nginx->dir . '/state/*'), $file,
    'there is no other file in the directory of the snapshot');

# killed while it writes, and what it left

sub leader {
    my ($pid) = $db->dbh->selectrow_array(
        'SELECT name FROM apikeys.instances ORDER BY heartbeat DESC')
        =~ /:(\d+)$/;
    return $pid;
}

SKIP: {
    skip $nginx->untraced, 4 if $nginx->untraced;
    my $writer = leader();
    my $done = $nginx->killed(scalar $nginx->kill_at($writer,
        'ngx_apikeys_snapshot_format_seal', 2000, 20_000));
    skip $nginx->untraced, 4 if $nginx->untraced;
    ok($done, 'a worker is killed while it writes the snapshot');
    ok(-e "$file.$writer", 'the killed worker leaves its temporary file');
    spew($snapshot, "$file.$_") for $$, 'old', "${writer}x";
    next_snapshot();
    is(join(' ', sort map { s/.*\.//r } glob "$file.*"),
        join(' ', sort $$, 'old', "${writer}x"),
        'the next snapshot removes the temporary file, and nothing else');
    unlink glob "$file.*";
    $snapshot = slurp($file);
    $written = time;
    is(code($keys[0]{secret}), 200,
        'a key is admitted after a worker was killed writing the snapshot');
}

my ($code, $said) = $nginx->test;
is($code, 0, 'nginx -t succeeds with a snapshot file');
unlike($said, qr/snapshot/, 'nginx -t does not read the snapshot file');


# a key is deleted while this node is down, and then the database goes too

$nginx->stop;
$db->psql("DELETE FROM apikeys.keys WHERE id = '$keys[1]{id}'");
$pg->stop('fast');
$nginx->wait_for(sub { time - $written > 4 }, 10, 'no age');

my $log = cold_start();
like($log, qr/\[notice\].*loaded 4 keys from snapshot.*, \d+ s old/,
    'a cold start without the database');
is(code($keys[0]{secret}), 200, 'a key of the snapshot is admitted');
is(code($keys[1]{secret}), 200,
    'a key that was deleted after the snapshot is admitted');
is(code($keys[2]{secret}), 403,
    'a key of the snapshot whose list lacks the address gets 403');
is(code($keys[0]{secret} . 'x'), 401,
    'a wrong secret for a key of the snapshot gets 401');
is(code($unknown->{secret}), 401,
    'a key that is not in the snapshot gets 401');


# another size while the database is down: from the old zone

$log = log_of(sub { configure(zone => '10m'); $nginx->reload });
unlike($log, qr/snapshot/, 'a resized zone is filled from the old one');
is(code($keys[0]{secret}), 200, 'a key is admitted in the resized zone');

becomes($keys[1], 503,
    'a key of the snapshot gets 503 after apikeys_stale', 2 * $STALE);
cmp_ok(time - $written, '<', $STALE + 2,
    'apikeys_stale counts from the time of the snapshot');
is(code($unknown->{secret}), 503,
    'an unknown key gets 503 after apikeys_stale');
$nginx->stop;

$log = cold_start();
like($log, qr/\[error\].*snapshot.* ignored: \d+ s old, limit is apikeys_stale/,
    'the log says that the snapshot is too old');
is(code($keys[0]{secret}), 503, 'a key gets 503 when the snapshot is too old');


# the database answers

$pg->start;
becomes($keys[0], 200, 'a key is admitted once the database answers');
is(code($keys[1]{secret}), 401,
    'the deleted key gets 401 once the database answers');
like($nginx->error_log, qr/loaded \d+ keys from database/,
    'the node loads everything once the database answers');
next_snapshot();
$nginx->stop;
$db->psql("DELETE FROM apikeys.keys WHERE id = '$keys[2]{id}'");
$log = cold_start();
like($log, qr/loaded \d+ keys from snapshot/,
    'the snapshot is loaded beside a running database');
becomes($keys[2], 401, 'a key deleted while nginx was down gets 401');
unlike(substr($nginx->error_log, -length $log),
    qr/loaded \d+ keys from database/,
    'the feed goes on from the snapshot, without a load');


# what is refused

next_snapshot();
$nginx->stop;
$pg->stop('fast');
my $good = slurp($file);
my $size = length $good;
configure(stale => 3600);

sub refused {
    my ($name, $text, $reason) = @_;

    spew($text) if defined $text;
    my $log = cold_start();
    like($log, qr/\[error\].*snapshot "\S+" ignored: $reason/, $name);
    unlike($log, qr/loaded \d+ keys from snapshot/,
        "$name: the snapshot is not loaded");
    is(code($keys[0]{secret}), 503, "$name: a key gets 503");
    $nginx->stop;
}

sub flipped {
    my ($offset) = @_;

    my $text = $good;
    substr($text, $offset, 1) ^= "\x10";
    return $text;
}

my $torn = qr/incomplete or not a snapshot file/;
my $sealed = qr/damaged, or encrypted with a line that/;

refused('an empty file', '', $torn);
refused("$_ bytes of $size", substr($good, 0, $_), $torn)
    for 47, 48, 51, 100, $size - 1;
refused('a byte too many', "${good}x", $torn);
refused('another file', "no snapshot\n" x 100, $torn);
refused('another version', flipped(8), qr/format of another module version/);
refused('a bit in the salt', flipped(30), $sealed);
refused('in the length', flipped(50), $torn);
refused('the mark of the last chunk', do {
    my $text = $good;
    substr($text, 51, 1) ^= "\x80";
    $text;
}, $sealed);
refused("a bit in byte $_", flipped($_), qr/$sealed|$torn/)
    for 52, int($size / 2), $size - 17, $size - 1;

spew($good);
$nginx->write_file('master.key', encode_base64(join('', map { chr rand 256 }
    1 .. 32), '') . "\n", 0600);
refused('another master key', undef, $sealed);
$nginx->write_file('master.key', "$f->{master_key}\n"
    . encode_base64('k' x 32, '') . "\n", 0600);
$log = cold_start();
like($log, qr/loaded \d+ keys from snapshot/, 'one more line in the master key file');
is(code($keys[0]{secret}), 200,
    'a key is admitted with one more line in the master key file');
$nginx->stop;
$nginx->write_file('master.key', "$f->{master_key}\n", 0600);

configure(stale => 3600, realm => 'another');
refused('another realm', undef, qr/apikeys_realm has changed/);
configure(stale => 3600);
unlink $file;
mkdir $file;
refused('a directory', undef, qr/not a regular file/);
rmdir $file;

$log = cold_start();
unlike($log, qr/snapshot/, 'a missing snapshot is not logged');
is(code($keys[0]{secret}), 503,
    'a key gets 503 without a snapshot and without the database');
$nginx->stop;

spew($good);
$log = cold_start();
like($log, qr/loaded \d+ keys from snapshot/,
    'the undamaged snapshot is loaded');
is(code($keys[0]{secret}), 200, 'a key of the undamaged snapshot is admitted');
$nginx->stop;


# a disk without room

SKIP: {
    my $disk = $nginx->dir . '/disk';
    mkdir $disk;
    skip 'nothing can be mounted here', 6 if !$ENV{APIKEYS_TEST_MOUNTS}
        || system('mount', '-t', 'tmpfs', '-o', 'size=256k,mode=777',
            'tmpfs', $disk);

    unlink $file;
    $pg->start;
    configure(path => '%%DIR%%/disk/replica');
    $nginx->start;
    $f->wait_loaded($nginx);
    my $old = $file;
    $file = "$disk/replica";
    next_snapshot();

    my $mark = $nginx->log_mark;
    open my $fill, '>:raw', "$disk/fill" or die "$disk/fill: $!\n";
    1 while syswrite $fill, 'x' x 4096;
    my $good = slurp($file);
    my $key = $f->key($org, 'ORG_READ_ONLY');
    ok(eval { $nginx->wait_log(
        qr/\[error\].*cannot write snapshot .*No space left/s, 30) },
        'a full disk is logged');
    ok($nginx->wait_for(sub { substr($nginx->error_log, $mark)
        =~ /\[info\].*cannot write snapshot/ }, 30, 'not tried again'),
        'a full disk is logged once as an error, and the write is tried'
        . ' again');
    $db->psql("DELETE FROM apikeys.keys WHERE id = '$key->{id}'");
    ok(eval { $nginx->wait_for(sub { code($key->{secret}) == 401 }, 30, '') },
        'a deletion is followed while the disk is full');
    is(slurp($file), $good, 'the old snapshot is kept while the disk is full');
    is(join(' ', sort glob "$disk/*"), "$disk/fill $file",
        'no temporary file is left while the disk is full');

    unlink "$disk/fill";
    close $fill;
    ok(eval { next_snapshot(); 1 },
        'a snapshot is written once the disk has room');
    ok(eval { $nginx->wait_log(
        qr/\[notice\].*writing snapshot \S+ again, after \d+ s/, 10, $mark) },
        'the log says that snapshots can be written again');
    $nginx->stop;
    system 'umount', $disk;
    $file = $old;
}


# where it may lie

mkdir $nginx->dir . '/closed';
my $user = $> ? getpwuid $> : 'www-data';
$nginx->write_file('plain', '');
for ([ '%%DIR%%/closed/replica', qr/directory ".*\/closed" of apikeys_snap/ ],
    [ '%%DIR%%/closed/replica',
        qr/snapshot is not writable by user "$user": change the owner, or/ ],
    [ '%%DIR%%/plain/replica', qr/plain" is not a directory, correct the pa/ ],
    [ '%%DIR%%/no/such/replica', qr/cannot create directory ".*\/no\/such" o/ ],
    [ '%%DIR%%/no/such/replica',
        qr/the parent for user "$user": mkdir\(\) failed \(2: / ],
    [ '%%DIR%%/state/',
        qr{invalid parameter "\S+/state/" in "apikeys_snapshot": must name a f} ],
    [ 'x' x 4070,
        qr/the path in "apikeys_snapshot" has \d+ bytes, at most \d+/ ],
    [ 'a; apikeys_snapshot b', qr/"apikeys_snapshot" directive is duplicate/ ])
{
    my ($path, $reason) = @$_;

    configure(path => $path);
    my ($code, $said) = $nginx->test;
    ok($code, sprintf '%.40s is refused', $path);
    like($said, $reason, 'the message has the reason');
}

done_testing;
