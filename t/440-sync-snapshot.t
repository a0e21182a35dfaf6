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
is($mode & 07777, 0600, 'only its owner can read it');
is($uid, $> ? $> : scalar getpwnam 'www-data', 'who is the worker');
unlike($snapshot, qr/\Q$_->{publicKey}\E/, 'nothing can be read in it')
    for @keys;
is(join(' ', glob $nginx->dir . '/state/*'), $file, 'nothing lies beside it');

# killed while it writes, and what it left

sub syncer {
    my ($pid) = $db->dbh->selectrow_array(
        'SELECT name FROM apikeys.instances ORDER BY heartbeat DESC')
        =~ /:(\d+)$/;
    return $pid;
}

SKIP: {
    skip $nginx->untraced, 4 if $nginx->untraced;
    my $writer = syncer();
    my $done = $nginx->killed(scalar $nginx->kill_at($writer,
        'ngx_apikeys_snapshot_format_seal', 2000, 20_000));
    skip $nginx->untraced, 4 if $nginx->untraced;
    ok($done, 'a worker killed while it writes');
    ok(-e "$file.$writer", 'leaves what it has written');
    spew($snapshot, "$file.$_") for $$, 'old', "${writer}x";
    next_snapshot();
    is(join(' ', sort map { s/.*\.//r } glob "$file.*"),
        join(' ', sort $$, 'old', "${writer}x"),
        'the next one removes that, and nothing else');
    unlink glob "$file.*";
    $snapshot = slurp($file);
    $written = time;
    is(code($keys[0]{secret}), 200, 'and all goes on');
}

my ($code, $said) = $nginx->test;
is($code, 0, 'nginx -t');
unlike($said, qr/snapshot/, 'does not read it');


# a key is deleted while this node is down, and then the database goes too

$nginx->stop;
$db->psql("DELETE FROM apikeys.keys WHERE id = '$keys[1]{id}'");
$pg->stop('fast');
$nginx->wait_for(sub { time - $written > 4 }, 10, 'no age');

my $log = cold_start();
like($log, qr/\[notice\].*replica loaded from snapshot.*, 4 keys, \d+ seconds/,
    'a cold start without the database');
is(code($keys[0]{secret}), 200, 'a key of the snapshot');
is(code($keys[1]{secret}), 200, 'one that was deleted after it');
is(code($keys[2]{secret}), 403, 'one whose list does not have the address');
is(code($keys[0]{secret} . 'x'), 401, 'a wrong secret');
is(code($unknown->{secret}), 401, 'a miss has authority');


# another size while the database is down: from the old zone

$log = log_of(sub { configure(zone => '10m'); $nginx->reload });
unlike($log, qr/snapshot/, 'a resized zone is filled from the old one');
is(code($keys[0]{secret}), 200, 'a key after that');

becomes($keys[1], 503, 'it expires with apikeys_stale', 2 * $STALE);
cmp_ok(time - $written, '<', $STALE + 2, 'counted from the snapshot');
is(code($unknown->{secret}), 503, 'all of it does');
$nginx->stop;

$log = cold_start();
like($log, qr/\[error\].*snapshot.*is not used: it is older than/,
    'too old a snapshot');
is(code($keys[0]{secret}), 503, 'then nothing is known');


# the database answers

$pg->start;
becomes($keys[0], 200, 'the database answers');
is(code($keys[1]{secret}), 401, 'the deleted key');
like($nginx->error_log, qr/replica loaded from the database/, 'a full load');
next_snapshot();
$nginx->stop;
$db->psql("DELETE FROM apikeys.keys WHERE id = '$keys[2]{id}'");
$log = cold_start();
like($log, qr/replica loaded from snapshot/, 'a start beside the database');
becomes($keys[2], 401, 'what was deleted meanwhile is gone');
unlike(substr($nginx->error_log, -length $log),
    qr/replica loaded from the database/,
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
    like($log, qr/\[error\].*snapshot "\S+" is not used: $reason/, $name);
    unlike($log, qr/loaded from snapshot/, '... and not loaded');
    is(code($keys[0]{secret}), 503, '... nothing is known');
    $nginx->stop;
}

sub flipped {
    my ($offset) = @_;

    my $text = $good;
    substr($text, $offset, 1) ^= "\x10";
    return $text;
}

my $torn = qr/it is torn, or no snapshot/;
my $sealed = qr/no line of apikeys_master_key_file opens it, or it is damaged/;

refused('an empty file', '', $torn);
refused("$_ bytes of $size", substr($good, 0, $_), $torn)
    for 47, 48, 51, 100, $size - 1;
refused('a byte too many', "${good}x", $torn);
refused('another file', "no snapshot\n" x 100, $torn);
refused('another version', flipped(8), qr/it is of another version/);
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
like($log, qr/loaded from snapshot/, 'one more line in the master key file');
is(code($keys[0]{secret}), 200, '... the keys are known');
$nginx->stop;
$nginx->write_file('master.key', "$f->{master_key}\n", 0600);

configure(stale => 3600, realm => 'another');
refused('another realm', undef, qr/it was made with another apikeys_realm/);
configure(stale => 3600);
unlink $file;
mkdir $file;
refused('a directory', undef, qr/it is not a regular file/);
rmdir $file;

$log = cold_start();
unlike($log, qr/snapshot/, 'that there is none is no error');
is(code($keys[0]{secret}), 503, 'but nothing is known');
$nginx->stop;

spew($good);
$log = cold_start();
like($log, qr/loaded from snapshot/, 'the whole one is loaded');
is(code($keys[0]{secret}), 200, 'and good');
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
        qr/\[error\].*snapshot .* cannot be written.*No space left/s, 30) },
        'a full disk is logged');
    ok($nginx->wait_for(sub { substr($nginx->error_log, $mark)
        =~ /\[info\].*snapshot .* cannot be written/ }, 30, 'not tried again'),
        'once, and tried again');
    $db->psql("DELETE FROM apikeys.keys WHERE id = '$key->{id}'");
    ok(eval { $nginx->wait_for(sub { code($key->{secret}) == 401 }, 30, '') },
        'the database is followed all the while');
    is(slurp($file), $good, 'the old one is left as it was');
    is(join(' ', sort glob "$disk/*"), "$disk/fill $file",
        'and nothing beside it');

    unlink "$disk/fill";
    close $fill;
    ok(eval { next_snapshot(); 1 }, 'with room it is written again');
    $nginx->stop;
    system 'umount', $disk;
    $file = $old;
}


# where it may lie

mkdir $nginx->dir . '/closed';
for ([ '%%DIR%%/closed/replica', qr/closed" of apikeys_snapshot cannot be/ ],
    [ '%%DIR%%/no/such/replica', qr/mkdir\(\) .* for apikeys_snapshot failed/ ],
    [ '%%DIR%%/state/', qr/"apikeys_snapshot" directive must name a file/ ],
    [ 'a; apikeys_snapshot b', qr/"apikeys_snapshot" directive is duplicate/ ])
{
    my ($path, $reason) = @$_;

    configure(path => $path);
    my ($code, $said) = $nginx->test;
    ok($code, "$path is refused");
    like($said, $reason, '... with the reason');
}

done_testing;
