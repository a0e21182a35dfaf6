package ApiKeys::Pgbouncer;

# A PgBouncer in front of an ApiKeys::Pg, with a unix socket in a directory of
# its own.  It is a child of the test, and ends with it.

use strict;
use warnings;

use ApiKeys::Pg ();
use File::Path qw( remove_tree );
use File::Temp qw( tempdir );
use IO::Socket::UNIX ();
use POSIX qw( WNOHANG );
use Time::HiRes qw( sleep time );

my $port = 6432;


# pg => an ApiKeys::Pg, conf => 'lines of [pgbouncer]'
sub new {
    my ($class, %opt) = @_;

    my $dir = tempdir('ak-bouncer-XXXXXX', DIR => '/tmp');
    my $self = bless { dir => $dir, owner => $$ }, $class;
    my ($host, $server) = ($opt{pg}->dir, $opt{pg}->port);

    chmod 0755, $dir;
    chown((getpwnam 'postgres')[2, 3], $dir) if $> == 0;
    ApiKeys::Pg::_write("$dir/users", qq{"apikeys_nginx" ""\n});
    ApiKeys::Pg::_write("$dir/ini", <<"END");
[databases]
* = host=$host port=$server
[pgbouncer]
unix_socket_dir = $dir
listen_addr =
listen_port = $port
auth_type = trust
auth_file = $dir/users
logfile = $dir/log
$opt{conf}
END
    $self->start;
    return $self;
}


sub start {
    my ($self) = @_;

    my @command = ApiKeys::Pg::_as_user(undef, 'pgbouncer', '-q',
        "$self->{dir}/ini");
    my $pid = fork;
    defined $pid or die "fork: $!\n";

    if ($pid == 0) {
        { exec @command };
        POSIX::_exit(127);
    }

    $self->{pid} = $pid;

    my $end = time + 20;
    until (IO::Socket::UNIX->new(Peer => "$self->{dir}/.s.PGSQL.$port")) {
        waitpid($pid, WNOHANG) == $pid || time > $end
            and die "pgbouncer does not start:\n" . $self->log_text;
        sleep 0.02;
    }
}


sub kill {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;
    CORE::kill 'KILL', $pid;
    waitpid $pid, 0;
}


sub restart {
    my ($self) = @_;

    $self->kill;
    $self->start;
}


# the way to a database through it
sub conninfo {
    my ($self, $db) = @_;

    return "host=$self->{dir} port=$port user=apikeys_nginx dbname="
        . $db->name;
}


sub log_text {
    my ($self) = @_;

    open my $f, '<', "$self->{dir}/log" or return '';
    local $/;
    return scalar <$f>;
}


sub DESTROY {
    my ($self) = @_;

    return if $self->{owner} != $$;

    local ($?, $@, $!);
    $self->kill;
    remove_tree($self->{dir}, { safe => 0 });
}


1;
