package ApiKeys::Patroni;

# Three PostgreSQL under Patroni, with synchronous replication.  Patroni elects
# the primary by its own Raft and needs no other server.  All end with the test.

use strict;
use warnings;

use ApiKeys::Pg ();
use File::Path qw( remove_tree );
use File::Temp qw( tempdir );
use HTTP::Tiny ();
use JSON::PP qw( decode_json encode_json );
use POSIX ();
use Time::HiRes qw( sleep time );


sub new {
    my ($class) = @_;

    my $self = bless { dir => tempdir('ak-patroni-XXXXXX', DIR => '/tmp'),
        owner => $$, member => {} }, $class;
    my @names = qw( m1 m2 m3 );

    $self->_own($self->{dir});

    for my $name (@names) {
        my $dir = "$self->{dir}/$name";

        mkdir $dir or die "$dir: $!\n";
        $self->_own($dir);
        $self->{member}{$name} = { name => $name, dir => $dir,
            map { $_ => ApiKeys::Pg::_free_port() } qw( api raft sql ) };
    }

    for my $name (@names) {
        $self->_configure($name);
        $self->start($name);
    }

    $self->wait_primary;
    return $self;
}


sub _own {
    my ($self, $dir) = @_;

    chmod 0755, $dir;
    chown((getpwnam 'postgres')[2, 3], $dir) if $> == 0;
}


sub _configure {
    my ($self, $name) = @_;

    my $m = $self->{member}{$name};
    my ($dir, $bin) = ($m->{dir}, ApiKeys::Pg::_bin('postgres'));
    my $partners = join ', ', map { "'127.0.0.1:$_->{raft}'" }
        grep { $_ != $m } values %{ $self->{member} };

    $bin =~ s{/?[^/]*$}{};
    ApiKeys::Pg::_write("$dir/yml", <<"END");
scope: apikeys
name: $name
restapi: { listen: '127.0.0.1:$m->{api}', connect_address: '127.0.0.1:$m->{api}' }
raft:
  data_dir: $dir/raft
  self_addr: 127.0.0.1:$m->{raft}
  partner_addrs: [ $partners ]
bootstrap:
  dcs:
    ttl: 5
    loop_wait: 1
    retry_timeout: 2
    synchronous_mode: true
    postgresql: { use_pg_rewind: true }
  initdb: [ encoding: UTF8, locale: C.UTF-8 ]
postgresql:
  listen: 127.0.0.1:$m->{sql}
  connect_address: 127.0.0.1:$m->{sql}
  data_dir: $dir/data
  bin_dir: '$bin'
  pgpass: $dir/pgpass
  use_unix_socket: true
  authentication:
    superuser: { username: postgres }
    replication: { username: postgres }
    rewind: { username: postgres }
  pg_hba:
    - local all all trust
    - host all all 127.0.0.1/32 trust
    - host replication all 127.0.0.1/32 trust
  parameters:
    unix_socket_directories: $dir
    fsync: 'off'
    wal_log_hints: 'on'
END
}


# Patroni handles SIGTERM: it stops its server
sub start {
    my ($self, $name) = @_;

    my $m = $self->{member}{$name};
    my @command = ApiKeys::Pg::_as_user(undef, 'setpriv', '--pdeathsig',
        'TERM', 'patroni', "$m->{dir}/yml");
    my $pid = fork;
    defined $pid or die "fork: $!\n";

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$m->{dir}/log";
        open STDERR, '>&', \*STDOUT;
        chdir '/';
        { exec @command };
        POSIX::_exit(127);
    }

    $m->{pid} = $pid;
}


# kill -9 of Patroni, and of its server with all processes
sub crash {
    my ($self, $name) = @_;

    my $m = $self->{member}{$name};
    my $pg = $self->pg($name);
    my $pid = $pg->pid;

    # stopped, it has no new children while the old ones are looked up
    kill 'STOP', $pid;
    kill 'KILL', $m->{pid}, $pid, $pg->pids;
    waitpid delete $m->{pid}, 0;
}


# an ApiKeys::Pg to connect to, but not to start or stop
sub pg {
    my ($self, $name) = @_;

    my $m = $self->{member}{$name};
    return bless { dir => $m->{dir}, port => $m->{sql}, owner => 0,
        count => 0 }, 'ApiKeys::Pg';
}


# of all members, for apikeys_database
sub conninfo {
    my ($self, $database) = @_;

    my @members = map { $self->{member}{$_} } sort keys %{ $self->{member} };
    return 'host=' . join(',', map { $_->{dir} } @members)
        . ' port=' . join(',', map { $_->{sql} } @members)
        . " user=apikeys_nginx dbname=$database";
}


# the members as Patroni sees them: { name => { role, state } }
sub cluster {
    my ($self) = @_;

    for my $m (grep { $_->{pid} } values %{ $self->{member} }) {
        my $res = HTTP::Tiny->new(timeout => 3)
            ->get("http://127.0.0.1:$m->{api}/cluster");
        $res->{success} or next;
        return { map { $_->{name} => $_ }
            @{ decode_json($res->{content})->{members} } };
    }
    return {};
}


sub _with {
    my ($cluster, $role) = @_;

    my ($name) = grep { $cluster->{$_}{role} eq $role
        && $cluster->{$_}{state} =~ /^(?:running|streaming)$/ }
        sort keys %$cluster;
    return $name;
}


# until there is a primary, other than $not, and with a synchronous standby
sub wait_primary {
    my ($self, $not) = @_;

    my $end = time + 60;

    for ( ;; ) {
        my $cluster = $self->cluster;
        my $name = _with($cluster, 'leader');

        return $name if $name && $name ne ($not || '')
            && _with($cluster, 'sync_standby');
        time < $end or die "Patroni has no primary:\n" . $self->log_text;
        sleep 0.1;
    }
}


# hands over to the synchronous standby
sub switchover {
    my ($self, $from) = @_;

    my $to = _with($self->cluster, 'sync_standby');
    my $res = HTTP::Tiny->new(timeout => 40)->post(
        "http://127.0.0.1:$self->{member}{$from}{api}/switchover",
        { content => encode_json({ leader => $from, candidate => $to }) });

    $res->{success} or die "switchover: $res->{status} $res->{content}\n";
}


sub log_text {
    my ($self) = @_;

    my $text = '';
    for my $m (values %{ $self->{member} }) {
        open my $f, '<', "$m->{dir}/log" or next;
        $text .= join "$m->{name}: ", '', <$f>;
    }
    return $text;
}


sub DESTROY {
    my ($self) = @_;

    return if $self->{owner} != $$;

    local ($?, $@, $!);
    my @pids = grep { $_ } map { $_->{pid} } values %{ $self->{member} };
    kill 'TERM', @pids;
    waitpid $_, 0 for @pids;
    remove_tree($self->{dir}, { safe => 0 });
}


1;
