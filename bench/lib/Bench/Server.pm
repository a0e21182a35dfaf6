package Bench::Server;

# An nginx of one process, with one server for each location that is
# measured: all of them have the same path, so that nothing but the
# location's own lines differs.  It runs alone or under callgrind.

use strict;
use warnings;

use IO::Socket::INET ();
use POSIX ();
use Time::HiRes qw( sleep time );

our $URI = '/protected/key';

# what an allocation and its end are taken to cost: how long malloc looks for
# a piece depends on what the heap looks like, in nginx alone, too, and makes
# a difference of hundreds
my $ALLOCATION = 400;

my $next_port = 18100;


# new(name =>, dir =>, http => lines, locations => { name => lines },
#     more => { name => lines of the server }, load => [modules],
#     env => { .. }, callgrind => 0 | 1, cpu => number)
sub new {
    my ($class, %opt) = @_;

    my $dir = "$opt{dir}/$opt{name}";
    mkdir $dir;
    mkdir "$dir/tmp";

    my $self = bless { %opt, dir => $dir, port => {}, dumps => 0 }, $class;
    $self->_configure;
    $self->_start;
    return $self;
}


sub _configure {
    my ($self) = @_;

    my $load = join '', map { "load_module $_;\n" } @{ $self->{load} || [] };
    my $http = $self->{http} || '';
    my $servers = '';

    for my $name (sort keys %{ $self->{locations} }) {
        my $port = $self->{port}{$name} = _free_port();
        my $more = $self->{more}{$name} || '';
        $servers .= <<"END";
    server {
        listen 127.0.0.1:$port;
        $more
        location = $URI {
            $self->{locations}{$name}
            empty_gif;
        }
    }
END
    }

    my $temp = join '', map { "    ${_}_temp_path $self->{dir}/tmp/$_;\n" }
        qw( client_body proxy fastcgi uwsgi scgi );

    open my $f, '>', "$self->{dir}/nginx.conf" or die "nginx.conf: $!\n";
    print $f <<"END";
${load}daemon off;
master_process off;
pid $self->{dir}/nginx.pid;
error_log $self->{dir}/error.log notice;

events {
    worker_connections 512;
}

http {
    access_log off;
    keepalive_requests 100000000;
    keepalive_timeout 1h;
$temp
$http
$servers
}
END
    close $f;
}


sub _free_port {
    for ( ;; ) {
        my $port = $next_port++;
        return $port if IO::Socket::INET->new(Listen => 1,
            LocalAddr => '127.0.0.1', LocalPort => $port);
    }
}


sub _start {
    my ($self) = @_;

    my $dir = $self->{dir};
    my @command = ('nginx', '-p', "$dir/", '-c', "$dir/nginx.conf", '-e',
        "$dir/error.log");
    unshift @command, 'valgrind', '--tool=callgrind', '--instr-atstart=no',
        "--callgrind-out-file=$dir/callgrind", "--log-file=$dir/valgrind.log"
        if $self->{callgrind};
    unshift @command, 'taskset', '-c', $self->{cpu} if defined $self->{cpu};

    my $pid = fork;
    defined $pid or die "fork: $!\n";

    if ($pid == 0) {
        $ENV{$_} = $self->{env}{$_} for keys %{ $self->{env} || {} };
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$dir/stderr";
        open STDERR, '>&', \*STDOUT;
        { exec 'setpriv', '--pdeathsig', 'KILL', @command };
        POSIX::_exit(127);
    }

    $self->{pid} = $pid;
    $self->{started} = time;

    my ($port) = values %{ $self->{port} };
    $self->wait_for(sub {
        IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
    }, 60);

    return;
}


sub wait_for {
    my ($self, $condition, $timeout) = @_;

    my $end = time + $timeout;

    for ( ;; ) {
        my $value = $condition->();
        return $value if $value;
        if (time > $end || waitpid($self->{pid}, POSIX::WNOHANG()) > 0) {
            die "nginx $self->{name} does not do what it should:\n"
                . _slurp("$self->{dir}/stderr")
                . _slurp("$self->{dir}/error.log");
        }
        sleep 0.02;
    }
}


sub port {
    my ($self, $name) = @_;

    return $self->{port}{$name} || die "no location $name\n";
}


# a plain GET with no credentials: the body
sub get {
    my ($self, $name, $uri) = @_;

    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $self->port($name), Timeout => 60) or die "connect: $@\n";
    print $s "GET $uri HTTP/1.0\r\n\r\n";
    local $/;
    my ($head, $body) = split /\r\n\r\n/, <$s>, 2;
    return $body // '';
}


# callgrind counts from here on
sub count {
    my ($self) = @_;

    _vgdb($self->{pid}, 'instrumentation on');
}


# instructions since the last call
sub instructions {
    my ($self) = @_;

    _vgdb($self->{pid}, 'dump');
    return _instructions("$self->{dir}/callgrind." . ++$self->{dumps});
}


# without those of malloc itself, see $ALLOCATION
sub _instructions {
    my ($name) = @_;

    my (%file, %function, $callee, $n);
    my ($file, $heap, $calls) = ('', 0, 0);

    open my $f, '<', $name or die "$name: $!\n";

    while (my $line = <$f>) {
        if ($line =~ /^(f[lie]|cf[il])=\((\d+)\)(?: (.*))?/) {
            $file{$2} = $3 if defined $3;
            $file = $file{$2} if $1 !~ /^c/;

        } elsif ($line =~ /^(c?)fn=\((\d+)\)(?: (.*))?/) {
            $function{$2} = $3 if defined $3;
            $callee = $function{$2} if $1;

        } elsif ($line =~ /^calls=(\d+)/) {
            my $times = $1;
            $calls += $times if $file !~ /malloc\.c$/
                && $callee =~ /^(?:malloc|calloc|realloc|posix_memalign)$/;
            <$f>;

        } elsif ($line =~ /^[-+*\d]\S* (\d+)$/) {
            my $cost = $1;
            $heap += $cost if $file =~ /malloc\.c$/;

        } elsif ($line =~ /^totals: (\d+)/) {
            $n = $1;
        }
    }
    close $f;

    die "no symbols of malloc's: install libc6-dbg\n"
        if $calls && !$heap;
    return $n - $heap + $calls * $ALLOCATION;
}


sub _vgdb {
    my ($pid, $command) = @_;

    system("vgdb --wait=60 --pid=$pid $command > /dev/null 2>&1") == 0
        or die "vgdb $command failed\n";
}


# seconds of processor that it has used
sub cpu {
    my ($self) = @_;

    my ($ns) = _slurp("/proc/$self->{pid}/schedstat") =~ /^(\d+)/;
    return $ns / 1e9;
}


sub _slurp {
    my ($file) = @_;

    open my $f, '<', $file or return '';
    local $/;
    return <$f> // '';
}


sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;
    kill 'TERM', $pid;
    waitpid $pid, 0;
}


sub DESTROY {
    my ($self) = @_;

    local ($?, $@, $!);
    $self->stop;
}


1;
