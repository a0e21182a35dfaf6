# A core file of a worker that has served everything is searched for what is
# secret: private keys, the operator's token, the key file, HA1s.
# Credentials that a client sends in clear (basic, header, the
# token) lie in nginx's own buffers while they are in flight and are not
# looked for there: here all keys are used by digest.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use Digest::MD5 qw( md5 md5_hex );
use Digest::SHA qw( sha256 sha256_hex );
use MIME::Base64 qw( decode_base64 encode_base64 );
use Test::More;
use Time::HiRes qw( sleep time );

chomp(my $pattern = do {
    open my $in, '<', '/proc/sys/kernel/core_pattern';
    scalar(<$in>) // '|' });
my ($gcore) = grep { -x } map { "$_/gcore" } split /:/, $ENV{PATH};

plan skip_all => 'sanitizers keep memory of their own'
    if $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND};

# the token goes in a file of its own and over the wire to a first nginx only
my $f = ApiKeys::Fixture->new(workers => 1, log_level => 'notice',
    http => 'apikeys_wait 0;');
my $org = $f->org;
my @keys = map { $f->key($org, 'ORG_OWNER') } 1 .. 20;

my $node = $f->node(workers => 1, allow => qr/exited on signal/,
    log_level => 'notice', main => 'worker_rlimit_core 1000m; '
        . 'working_directory %%DIR%%/cores;', http => 'apikeys_wait 0;',
    server => 'location /digest {
        apikeys_auth digest digest_sha256; empty_gif; }');
mkdir $node->dir . '/cores';
chmod 0777, $node->dir . '/cores';
$node->start;
$f->wait_loaded($node);

# used by digest of both kinds, changed, deleted, loaded anew
my $codes = '';
for my $key (@keys) {
    for my $algorithm ('MD5', 'SHA-256') {
        my $client = $f->client(nginx => $node, key => $key->{secret},
            algorithm => $algorithm);
        $codes .= $client->request('GET', '/digest')->code . ' ';
        $codes .= $client->request('PATCH', "$org->{path}/apiKeys/$key->{id}",
            { desc => 'used' })->code . ' ' if $algorithm eq 'MD5';
        $client->close;
    }
}
$f->db->psql("DELETE FROM apikeys.keys WHERE id = '$keys[0]{id}'");
$f->db->psql('TRUNCATE apikeys.access_usage, apikeys.key_projects');
$node->wait_log(qr/replica loaded.*replica loaded/s, 20, 0);
is($codes, '200 ' x 60, 'keys are used');

my %secret = ('the key file' => $f->{master_key},
    'the key file, decoded' => decode_base64($f->{master_key}),
    'the token' => $f->token);

for my $i (0, 1, $#keys) {
    my $key = $keys[$i];
    my $a1 = "$key->{publicKey}:MMS Public API:$key->{privateKey}";

    $secret{"private key $i"} = $key->{privateKey};
    $secret{"HA1 (MD5) $i"} = md5($a1);
    $secret{"HA1 (MD5, hex) $i"} = md5_hex($a1);
    $secret{"HA1 (SHA-256) $i"} = sha256($a1);
    $secret{"HA1 (SHA-256, hex) $i"} = sha256_hex($a1);
}

# names of those that the file holds; it is read in overlapping pieces
sub found {
    my ($file, %what) = @_;

    my (%found, $last);
    open my $in, '<:raw', $file or die "$file: $!\n";
    my $piece = '';
    while (read $in, my $chunk, 4_000_000) {
        $piece = substr($piece, -200) . $chunk if length $piece >= 200;
        $piece = $chunk if length $piece < 200;
        for my $name (keys %what) {
            $found{$name} = 1 if index($piece, $what{$name}) >= 0;
        }
    }
    return join ', ', sort keys %found;
}

sub searched {
    my ($file, $name) = @_;

    my $size = -s $file;
    diag("$name: $size bytes");

    # a search that finds nothing must be one that can find something
    is(found($file, marker => $node->dir), 'marker',
        "$name: holds the memory of the worker");
    is(found($file, %secret), '', "$name: holds no secret");
}

my ($worker) = $node->workers;

SKIP: {
    $gcore or skip 'no gdb', 2;

    my $out = $node->dir . '/gcore';
    system("$gcore -o $out $worker >$out.log 2>&1 </dev/null") == 0
        && -s "$out.$worker" or skip 'gcore does not work here', 2;
    searched("$out.$worker", 'gcore');
    unlink "$out.$worker";
}

SKIP: {
    $pattern =~ m{^[^|/]} or skip "cores go to $pattern", 2;

    $node->signal('ABRT', $worker);
    my $core;
    eval { $node->wait_for(sub {
        $node->error_log =~ /$worker exited on signal 6/ or return;
        ($core) = grep { -s } glob $node->dir . '/cores/*';
    }, 20, 'no core') } or skip 'no core file is written here', 2;
    searched($core, 'core');
    unlink $core;
}


# and what else lies about: logs, the configuration, the database

my $log = $node->error_log . $f->nginx->error_log . $node->dump_conf
    . $f->nginx->dump_conf;
my $dump = $f->db->dump;
my @seen = grep { index($log, $secret{$_}) >= 0
    || index($dump, $secret{$_}) >= 0 } sort keys %secret;
is(join(', ', @seen), '', 'logs, nginx -T and a dump hold no secret');

done_testing;
