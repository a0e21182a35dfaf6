package Bench::Writes;

# Mutations through the API: an organization and its owner's key for each
# client, POST of a key and then DELETE of it.  There are three databases in
# one cluster, whose commits wait for a disk: one with one node, one with two
# nodes, and one for pgbench.

use strict;
use warnings;

use ApiKeys::Client ();
use ApiKeys::Pg ();
use Bench::Server ();
use File::Copy ();
use IO::Select ();
use Time::HiRes qw( time );

our $CLIENTS = 8;

my $base = '/api/atlas/v1.0';
my $body = '{"desc":"bench","roles":["ORG_MEMBER"]}';

# microseconds that a commit's fdatasync() takes at least
my $disk = 2000;


# new(dir => .., root => .., module => ..)
sub new {
    my ($class, %opt) = @_;

    my $self = bless { %opt }, $class;
    my $conf = "fsync = on\nwal_sync_method = fdatasync\nautovacuum = off\n"
        . "shared_buffers = 256MB\nmax_wal_size = 8GB\n"
        . "track_activity_query_size = 4096\n";

    $self->{pg} = ApiKeys::Pg->new(own => 1, prefix => 'ak-bench-XXXXXX',
        conf => $conf);
    $self->_slow_disk;

    system("umask 077; openssl rand -base64 32 > $self->{dir}/writes.key;"
        . " openssl rand -hex 32 > $self->{dir}/operator.token") == 0
        or die "openssl failed\n";

    $self->_nodes;
    return $self;
}


sub _slow_disk {
    my ($self) = @_;

    my $pg = $self->{pg};
    my ($usecs) = ApiKeys::Pg::_run($pg->_as_user(
            ApiKeys::Pg::_bin('pg_test_fsync'), '-s', 1, '-f',
            $pg->dir . '/data/fsync')) =~ /fdatasync .*? (\d+) usecs/;

    my $delay = $usecs < $disk ? $disk - $usecs : 0;
    $self->{disk} = "fdatasync $usecs us" . ($delay ? " + $delay us" : '');
    return if !$delay;

    my $preload = $pg->dir . '/fsync.so';
    File::Copy::copy("$self->{root}/build/bench/fsync.so", $preload)
        or die "build/bench/fsync.so: $!\n";
    chmod 0755, $preload;

    local @ENV{qw( LD_PRELOAD FSYNC_DELAY )} = ($preload, $delay);
    $pg->restart;
}


sub _nodes {
    my ($self) = @_;

    my $db = $self->{db} = { map { $_ => $self->{pg}->database(schema => 1) }
        qw( one two pgbench ) };

    $self->{node} = {
        one => $self->_node('one', $db->{one}),
        two => $self->_node('two', $db->{two}),
        other => $self->_node('other', $db->{two}),
    };

    for my $name (qw( one two )) {
        $self->{clients}{$name} =
            [ map { $self->_owner($name) } 1 .. $CLIENTS ];

        # as warm as it will be
        $self->pairs($name, 'wait', $CLIENTS, 50);
    }

    $self->_script;
}


# as many connections as there are clients, and one more
sub _node {
    my ($self, $name, $db) = @_;

    my $conninfo = $db->conninfo(user => 'apikeys_nginx');
    my $connections = $CLIENTS + 1;
    my $node = Bench::Server->new(name => "writes-$name", dir => $self->{dir},
        load => [ $self->{module} ],
        http => <<"END",
    apikeys_database "$conninfo" connections=$connections;
    apikeys_zone zone=apikeys:16m;
    apikeys_master_key_file $self->{dir}/writes.key;
    apikeys_operator_token_file $self->{dir}/operator.token;
END
        locations => { wait => '', direct => '' },
        more => {
            wait => "location = /status { apikeys_status; }"
                . " location $base { apikeys_api atlas_v1; }",
            direct =>
                "location $base { apikeys_api atlas_v1; apikeys_wait 0; }",
        });

    $node->wait_for(sub {
        $node->get('wait', '/status') =~ /"complete":1/;
    }, 60);
    return $node;
}


# the owner of a new organization
sub _owner {
    my ($self, $name) = @_;

    open my $f, '<', "$self->{dir}/operator.token" or die "token: $!\n";
    chomp(my $token = <$f>);

    my $res = ApiKeys::Client->new(token => $token,
        port => $self->{node}{$name}->port('wait'))
        ->request('POST', "$base/orgs", { name => 'bench',
            apiKey => { desc => 'owner', roles => ['ORG_OWNER'] } });
    $res->code == 201 or die 'no organization: ', $res->body, "\n";

    my $json = $res->json;
    return {
        key => "$json->{apiKey}{publicKey}:$json->{apiKey}{privateKey}",
        path => "$base/orgs/$json->{organization}{id}/apiKeys",
    };
}


# for pgbench: the statements that nginx has just sent, with values in place
# of the parameters, an organization for each client
sub _script {
    my ($self) = @_;

    my ($org, $owner) = map { "'5f" . '0' x 20 . "$_' || :client_id::text" }
        1, 2;
    my $key = ":client_id::text || lpad(:n::text, 23, '0')";
    my @caller = ($owner, "'127.0.0.1'", "'{ORG_OWNER}'", 'NULL', $org);
    my $name = "translate(:client_id::text || lpad(:n::text, 7, '0'),"
        . " '0123456789', 'abcdefghij')";
    my %value = (
        create_key => [ @caller, $key, $name, "repeat('ab', 112)",
            "'abcdefabcdef'", q{'{"desc":"bench","roles":["ORG_MEMBER"]}'} ],
        delete_key => [ @caller, $key ]);
    my $script = "\\set n :n + 1\n";

    for my $function (qw( create_key delete_key )) {
        my $sql = $self->_statement($function);
        $sql =~ s/\$(\d+)/($value{$function}[ $1 - 1 ])/g;
        $script .= "$sql;\n";
    }

    open my $f, '>', "$self->{dir}/pgbench.sql" or die "pgbench.sql: $!\n";
    print $f $script;
    close $f;

    my $numbers = 'generate_series(0, ' . ($CLIENTS - 1) . ') AS n';
    s/:client_id/n/ for $org, $owner;
    $self->{db}{pgbench}->psql(<<"END");
INSERT INTO apikeys.orgs (id, name) SELECT $org, 'bench' FROM $numbers;
INSERT INTO apikeys.keys (id, org_id, public_key, secret, redacted, descr,
                          roles)
    SELECT $owner, $org, translate('owner' || n, '01234567', 'abcdefgh')
           || 'aa', decode(repeat('ab', 112), 'hex'), 'abcdefabcdef', 'owner',
           '{ORG_OWNER}' FROM $numbers;
END
}


# as a backend of nginx still has it
sub _statement {
    my ($self, $function) = @_;

    my $dbh = $self->{db}{pgbench}->connect;
    my @clients = $self->_connect('one', 'wait', $CLIENTS);

    $self->_exchange(\@clients, 'POST');
    $self->_exchange(\@clients, 'DELETE') if $function eq 'delete_key';

    my ($sql) = $dbh->selectrow_array('SELECT query FROM pg_stat_activity
        WHERE query LIKE ? LIMIT 1', undef, "%apikeys.$function(\$%");
    $self->_exchange(\@clients, 'DELETE') if $function eq 'create_key';
    return $sql // die "no statement with $function\n";
}


# Creations and deletions a second by the same SQL without nginx.
sub pgbench {
    my ($self, $seconds) = @_;

    my $pg = $self->{pg};
    my $text = ApiKeys::Pg::_run(ApiKeys::Pg::_bin('pgbench'), '-n', '-M',
        'prepared', '-c', $CLIENTS, '-j', 1, '-T', $seconds, '-D',
        'n=' . 100_000 * ++$self->{pgbench}, '-f', "$self->{dir}/pgbench.sql",
        '-h', $pg->dir, '-p', $pg->port, '-U', 'postgres',
        $self->{db}{pgbench}->name);
    my ($tps) = $text =~ /tps = ([\d.]+)/ or die "pgbench: $text\n";
    return 2 * $tps;
}


# how long the commits wait
sub disk { return $_[0]{disk} }


# Clients that create a key and delete it, so many times each.  Returns the
# seconds that all of it took, and those of each POST and each DELETE.
sub pairs {
    my ($self, $node, $location, $n, $keys) = @_;

    my @clients = $self->_connect($node, $location, $n);

    return $self->_exchange(\@clients, ('POST', 'DELETE') x $keys);
}


# The same in two steps.  Returns PostgreSQL's and nginx's seconds of
# processor for each POST.
sub creates {
    my ($self, $node, $location, $n, $keys) = @_;

    my @clients = $self->_connect($node, $location, $n);
    my $nginx = $self->{node}{$node};
    my ($before, $then) = ($self->_cpu, $nginx->cpu);

    $self->_exchange(\@clients, ('POST') x $keys);

    my ($after, $now) = ($self->_cpu, $nginx->cpu);

    $self->_exchange(\@clients, ('DELETE') x $keys);

    my $pg = 0;
    $pg += $after->{$_} - ($before->{$_} // 0) for keys %$after;
    return map { $_ / ($n * $keys) } $pg, $now - $then;
}


sub _connect {
    my ($self, $node, $location, $n) = @_;

    my @clients = @{ $self->{clients}{$node} }[ 0 .. $n - 1 ];
    my $port = $self->{node}{$node}->port($location);

    for my $client (@clients) {
        $client->{made} = [];
        $client->{http} = ApiKeys::Client->new(port => $port,
            key => $client->{key});

        # a nonce
        my $res = $client->{http}->request('GET', $client->{path});
        $res->code == 200 or die 'no list: ', $res->body, "\n";
    }

    return @clients;
}


sub _exchange {
    my ($self, $clients, @steps) = @_;

    my %result = (POST => [], DELETE => []);
    my $select = IO::Select->new;
    my %of;
    my $start = time;

    for my $client (@$clients) {
        $client->{steps} = [ @steps ];
        $of{ $client->{http}{socket} } = $client;
        $select->add($client->{http}{socket});
        _send($client);
    }

    while ($select->count) {
        for my $socket ($select->can_read(60)) {
            my $client = $of{$socket};
            next if !_receive($client);

            push @{ $result{ $client->{method} } }, time - $client->{sent};
            $select->remove($socket) if !_send($client);
        }
    }

    $result{seconds} = time - $start;
    return \%result;
}


# the next request, if there is one
sub _send {
    my ($client) = @_;

    my $method = $client->{method} = shift @{ $client->{steps} } // return 0;
    my ($uri, $json) = $method eq 'POST' ? ($client->{path}, $body)
        : ("$client->{path}/" . shift @{ $client->{made} }, '');
    my $http = $client->{http};
    my $text = "$method $uri HTTP/1.1\r\nHost: bench\r\n"
        . 'Authorization: ' . $http->authorization($method, $uri) . "\r\n"
        . "Content-Type: application/json\r\n"
        . 'Content-Length: ' . length($json) . "\r\n\r\n$json";

    $client->{answer} = '';
    $client->{sent} = time;
    syswrite $http->{socket}, $text;
    return 1;
}


# whether the answer is complete
sub _receive {
    my ($client) = @_;

    sysread $client->{http}{socket}, $client->{answer}, 65536,
        length $client->{answer} or die "the connection ends\n";

    return 1 if $client->{answer} =~ /^HTTP\S+ 204 .*\r\n\r\n/s;

    my ($status, $length, $rest) = $client->{answer} =~
        /^HTTP\S+ (\d+) .*\r\nContent-Length: (\d+)\r.*?\r\n\r\n(.*)/s
        or return 0;
    return 0 if length $rest < $length;

    $status == 200 or die "$client->{method}: $client->{answer}\n";
    my ($id) = $rest =~ /"id":"([0-9a-f]{24})"/ or die "no id: $rest\n";
    push @{ $client->{made} }, $id;
    return 1;
}


# of each process of PostgreSQL
sub _cpu {
    my ($self) = @_;

    my %cpu;

    for my $pid ($self->{pg}->pids) {
        my ($ns) = Bench::Server::_slurp("/proc/$pid/schedstat") =~ /^(\d+)/
            or next;
        $cpu{$pid} = $ns / 1e9;
    }
    return \%cpu;
}


1;
