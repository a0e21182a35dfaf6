# A core file of a worker that has served everything is searched for what is
# secret: private keys, the operator's token, the key file and what is derived
# from it, hashes of keys; and so are a snapshot, the database, logs, and what the system
# shows of processes.
# Credentials that a client sends in clear (basic, header, the
# token) lie in nginx's own buffers while they are in flight and are not
# looked for there: here all keys but one are used by digest, and of that one
# the hashes are looked for.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use ApiKeys::Secrets ();
use File::Find qw( find );
use MIME::Base64 qw( encode_base64 );
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
my $plain = $f->key($org, 'ORG_MEMBER');

my $node = $f->node(workers => 1, allow => qr/exited on signal/,
    log_level => 'notice', main => 'worker_rlimit_core 1000m; '
        . 'working_directory %%DIR%%/cores;', http => 'apikeys_wait 0; '
        . 'apikeys_snapshot %%DIR%%/cores/snapshot;',
    server => 'location /digest {
        apikeys_auth digest digest_sha256; empty_gif; }
        location /plain {
        apikeys_auth basic header=X-Api-Key; empty_gif; }');
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

# one is used as it is, a first time and when it has been seen before
my $client = $f->client(nginx => $node);
for (1 .. 3) {
    for my $header ("Authorization: Basic "
        . encode_base64($plain->{secret}, ''), "X-Api-Key: $plain->{secret}")
    {
        my ($name, $value) = split /: /, $header;
        $codes .= $client->plain('GET', '/plain', undef, headers => {
            $name => $value })->code . ' ';
    }
}
$client->close;
$f->db->psql("DELETE FROM apikeys.keys WHERE id = '$keys[0]{id}'");
$f->db->psql('TRUNCATE apikeys.access_usage, apikeys.key_projects');
$node->wait_log(qr/loaded \d+ keys.*loaded \d+ keys/s, 20, 0);
is($codes, '200 ' x 66, 'keys are used');

# made here: the worker has sent them, and is to have forgotten them
my $maker = $f->client(nginx => $node, key => $org->{key}{secret});
for (1 .. 3) {
    my $res = $maker->request('POST', "$org->{path}/apiKeys",
        { desc => 'made here', roles => [ 'ORG_MEMBER' ] });
    push @keys, $res->json;
}
$maker->close;

my $secrets = ApiKeys::Secrets->new;
$secrets->add_master_key($f->{master_key});
$secrets->add('the token', $f->token);
$secrets->add_hashes('used as it is', @$plain{qw( publicKey privateKey )});
for my $i (0, 1, 19 .. $#keys) {
    $secrets->add_key($i, @{ $keys[$i] }{qw( publicKey privateKey )});
}

sub searched {
    my ($file, $name) = @_;

    my $size = -s $file;
    diag("$name: $size bytes");

    # a search that finds nothing must be one that can find something
    is(ApiKeys::Secrets->new->add(marker => $node->dir)->in_file($file),
        'marker', "$name: holds the memory of the worker");
    is($secrets->in_file($file), '', "$name: holds no secret");
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


# and what else lies about: files of nginx, its configuration, the database,
# processes

sub holds_none {
    my ($name, $text) = @_;

    ok(length $text, "$name: there is something to look at");
    is($secrets->in_text($text), '', "$name: holds no secret");
}

$node->wait_for(sub { -s $node->dir . '/cores/snapshot' }, 30, 'a snapshot');

for my $nginx ($node, $f->nginx) {
    my %own = map { $nginx->dir . "/$_" => 1 } qw( master.key operator.token );
    my @files;

    find({ no_chdir => 1, wanted => sub {
        push @files, $_ if -f && -s && !$own{$_};
    } }, $nginx->dir);
    is(join('; ', map { my $found = $secrets->in_file($_);
        $found ? "$_: $found" : () } @files), '',
        'files of nginx hold no secret: ' . @files);

    holds_none('nginx -T', $nginx->dump_conf);
    holds_none('command lines and environments', join '', map {
        map { ApiKeys::Nginx::_read($_) } glob "/proc/$_/{cmdline,environ}"
    } $nginx->pid, $nginx->workers);
}

holds_none('a dump of the database', $f->db->dump);
holds_none('the log of PostgreSQL', $f->db->pg->log_text);

done_testing;
