# An upgrade of the module and of its schema on two nodes, and the way back, while
# requests arrive at both: none is refused, and none is wrongly admitted.
#
# The next version is made of this tree: it has another number, and needs a
# schema with one more column, which is compatible with this version.  Nodes are
# upgraded by a binary upgrade, with a snapshot.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use ApiKeys::Prober ();
use Cwd qw( abs_path );
use File::Copy qw( copy );
use File::Temp qw( tempdir );
use MIME::Base64 qw( encode_base64 );
use Test::More;
use Time::HiRes qw( sleep time );

plan skip_all => 'this test replaces the file of the module'
    if $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND};

my $root = abs_path(__FILE__) =~ s{/t/[^/]+$}{}r;
my $dir = tempdir('ak-upgrade-XXXXXX', DIR => '/tmp', CLEANUP => 1);
chmod 0755, $dir;

chomp(my $version = qx{$root/util/version});
my $next = "$version.1";
my %module = ($version => $ENV{TEST_NGINX_LOAD_MODULES}
    || "$root/build/ngx_http_apikeys_module.so");

my $server = <<'END';
        location /key { apikeys_auth basic; apikeys_require org=$arg_org
                        role=ORG_MEMBER; empty_gif; }
        location /status { apikeys_status; }
END
my %opt = (workers => 2, server => $server,
    http => 'apikeys_snapshot %%DIR%%/state/snapshot;');

my $f = ApiKeys::Fixture->new(%opt, start => 0, load => [ "$dir/0.so" ]);
my @nodes = ($f->nginx, $f->node(%opt, load => [ "$dir/1.so" ]));
for my $n (0, 1) {
    copy($module{$version}, "$dir/$n.so") or die "$dir/$n.so: $!\n";
    $nodes[$n]->start_daemon;
    $f->wait_loaded($nodes[$n]);
}

my $org = $f->org;
my $member = $f->key($org, 'ORG_MEMBER');
my $reader = $f->key($org, 'ORG_READ_ONLY');
my $deleted = $f->key($org, 'ORG_MEMBER');
is(change('DELETE', $deleted), 204, 'a key is deleted on both nodes');

my $uri = "/key?org=$org->{id}";
my @probers = map { ApiKeys::Prober->new(port => $_->port) } @nodes;
$_->watch(map { [ $uri, $_->{secret} ] } $member, $reader, $deleted,
    { secret => 'aaaaaaaa:x' }) for @probers;

next_version();

# the schema, while both nodes run
my $owner = $f->db->conninfo;
is(run("$dir/sql/apply.sh '$owner' && "
    . "psql -Xqd '$owner' -f $dir/sql/grants.sql"), 0,
    'the schema is upgraded');
is($f->db->dbh->selectrow_array(
    'SELECT max(version) FROM apikeys.schema_version'), 2, 'to version 2');
follows('both nodes have the old module');

for my $to ($next, $version) {
    for my $n (0, 1) {
        upgrade($n, $to);
        is(status($nodes[$n])->{version}, $to, "node $n has version $to");
        follows("node $n has version $to");
    }
}

my %seen;
for my $prober (@probers) {
    my @seen = $prober->seen;

    for my $i (0 .. $#seen) {
        $seen{$i}{$_} += $seen[$i]{codes}{$_} for keys %{ $seen[$i]{codes} };
        $seen{lost} += $seen[$i]{lost};
        $seen{asked} += $seen[$i]{asked};
    }
}
is_deeply([ map { [ sort keys %{ $seen{$_} } ] } 0 .. 3 ],
    [ [200], [403], [401], [401] ], 'each request was decided right');
is($seen{lost}, 0, 'each request was answered');
cmp_ok($seen{0}{200}, '>', 1000, 'there were requests all the time');
diag("$seen{asked} requests over a schema upgrade and four binary upgrades");

undef @probers;
$_->quit for @nodes;

done_testing;


sub run {
    my ($commands) = @_;

    my $text = qx{( $commands ) 2>&1};
    diag $text if $? != 0;
    return $?;
}


# this tree with the next number, and a version of the schema after the newest
sub next_version {
    run("mkdir $dir/next && cd $root && cp -r Makefile config src util"
        . " $dir/next && cp -r sql $dir/sql") == 0 or die "no copy\n";

    for my $change (
        [ 'src/http/ngx_http_apikeys.h',
          qr/(_APIKEYS_VERSION +)"[^"]*"/, "\"$next\"" ],
        [ 'src/sync/ngx_apikeys_sync_session.c',
          qr/(define NGX_APIKEYS_SYNC_SESSION_VERSION +)1$/m, 2 ])
    {
        my ($file, $pattern, $value) = @$change;

        open my $in, '<', "$dir/next/$file" or die "$file: $!\n";
        my $text = do { local $/; <$in> };
        $text =~ s/$pattern/$1$value/ or die "$file is not as expected\n";
        open my $out, '>', "$dir/next/$file" or die "$file: $!\n";
        print $out $text;
        close $out or die "$file: $!\n";
    }

    mkdir "$dir/sql/v2" or die "$dir/sql/v2: $!\n";
    open my $out, '>', "$dir/sql/v2/01-note.sql" or die "v2: $!\n";
    print $out <<'END';
ALTER TABLE apikeys.keys ADD COLUMN note text NOT NULL DEFAULT '';
INSERT INTO apikeys.schema_version (version, compatible_from) VALUES (2, 1);
END
    close $out or die "v2: $!\n";

    run("make -C $dir/next") == 0 or die "the next version is not built\n";
    $module{$next} = "$dir/next/build/ngx_http_apikeys_module.so";
}


# by a new file and USR2.  The new binary begins with the snapshot, which must
# have the changes so far.  For the sake of the snapshot the old one keeps its
# lease, although it has ended.
sub upgrade {
    my ($n, $to) = @_;

    my $node = $nodes[$n];
    my $snapshot = $node->dir . '/state/snapshot';
    my $leader = status($node)->{leader_pid};
    my $now = time;

    $node->wait_for(sub { (Time::HiRes::stat($snapshot))[9] > $now }, 90,
        'the snapshot is not written');

    copy($module{$to}, "$dir/$n.so.new") or die "$dir/$n.so.new: $!\n";
    rename "$dir/$n.so.new", "$dir/$n.so" or die "$dir/$n.so: $!\n";
    $node->upgrade;
    $node->wait_for(sub { loaded($node) }, 20, 'the zone is not loaded');
    $node->retire;
    is($f->db->dbh->do('SELECT apikeys.forget_instance(uuid, true)
        FROM apikeys.instances WHERE name LIKE ?', undef, "%:$leader"), 1,
        "node $n: the old binary is forgotten");
}


# the new binary, and it reads the database
sub loaded {
    my ($node) = @_;

    my $status = status($node);
    return $status->{leader_pid} && $status->{copy}{complete}
        && $status->{copy}{age_milliseconds} < 6000
        && grep { $_ == $status->{leader_pid} } $node->workers;
}


sub status {
    my ($node) = @_;

    my $client = $f->client(nginx => $node);
    my $status = $client->plain('GET', '/status')->json;
    $client->close;
    return $status;
}


# a change of a key, through each node in turn, that waits for all nodes
sub change {
    my ($method, $key, $body) = @_;

    my $node = $nodes[ our $turn++ % 2 ];
    my $client = $f->client(nginx => $node, key => $org->{key}{secret},
        timeout => 30, headers => { Prefer => 'wait=20' });
    my $res = $client->request($method, "$org->{path}/apiKeys/$key->{id}",
        $body);
    $client->close;
    return $res->code;
}


# a key that is made and deleted through one node is admitted and refused by
# both
sub follows {
    my ($title) = @_;

    my $key = $f->key($org, 'ORG_READ_ONLY');
    is(change('PATCH', $key, { roles => ['ORG_MEMBER'] }), 200,
        "$title: all nodes have a change");
    is(join(' ', map { code($_, $key) } @nodes), '200 200',
        "$title: both admit the key");
    is(change('DELETE', $key), 204, "$title: all nodes have its deletion");
    is(join(' ', map { code($_, $key) } @nodes), '401 401',
        "$title: both refuse it");
}


sub code {
    my ($node, $key) = @_;

    my $client = $f->client(nginx => $node);
    my $res = $client->plain('GET', $uri, undef, headers => {
        Authorization => 'Basic ' . encode_base64($key->{secret}, '') });
    $client->close;
    return $res->code;
}
