package ApiKeys::Machine;

# A machine for a test: the root directory of this one below an overlay in
# memory, with processes, mounts, network and name of its own.  Commands run
# there find the paths, services and ports that the documentation names; all
# that they change is gone with the test.  Directories can be shared, so that
# sockets in them connect machines.

use strict;
use warnings;

use Cwd ();
use File::Temp qw( tempdir );
use POSIX ();

# the clone, as the machine has it
use constant SRC => '/mnt/src';

my $namespaces = 'unshare --mount --net --uts --pid --fork --kill-child --';
my $overlay = <<'END';
set -e
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" \
    overlay "$1/root"
END

# what is there before the first command: neither servers of this machine nor
# their data
my $begin = $overlay . <<'END';
root=$1 name=$2 clone=$3
shift 3
mount -t proc proc "$root/root/proc"
mount --rbind /dev "$root/root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/root/run"
mkdir -p "$root/root/mnt/src"
mount --bind "$clone" "$root/root/mnt/src"
for share; do
    mkdir -p "$root/root${share%%=*}"
    mount --bind "${share#*=}" "$root/root${share%%=*}"
done
chroot "$root/root" sh -c 'rm -rf /etc/postgresql/* /var/lib/postgresql/* \
    /var/log/postgresql/* /var/log/nginx/* /var/lib/nginx/* /etc/nginx/apikeys'
hostname "$name"
ip link set lo up
echo ready
# the first process buries orphans
while :; do sleep 3600 & wait $!; done
END


# why there can be none, or nothing
sub missing {
    my $dir = tempdir('ak-machine-XXXXXX', DIR => '/tmp', CLEANUP => 1);

    return if system("$namespaces sh -c '\n$overlay\nip link set lo up' sh"
        . " $dir >/dev/null 2>&1") == 0;
    return 'no namespaces, or no overlay over /';
}


# new('web1', '/run/postgresql' => DIRECTORY OF THIS MACHINE, ..)
sub new {
    my ($class, $name, %share) = @_;

    my $dir = tempdir("ak-$name-XXXXXX", DIR => '/tmp', CLEANUP => 1);
    my ($clone) = __FILE__ =~ m{^(.*?)t/lib/ApiKeys/};
    my $pid = open my $out, '-|', 'setpriv', '--pdeathsig', 'KILL',
        split(' ', $namespaces), 'sh', '-c', $begin, 'sh', $dir, $name,
        Cwd::abs_path($clone eq '' ? '.' : $clone),
        map { "$_=$share{$_}" } sort keys %share or die "unshare: $!\n";
    my $self = bless { name => $name, dir => $dir, pid => $pid, out => $out,
        owner => $$ }, $class;

    (<$out> // '') eq "ready\n" or die "no machine $name\n";
    return $self;
}


# commands for bash, as root in the clone: exit code, and what they said
sub run {
    my ($self, $commands, %env) = @_;

    my $pid = open my $out, '-|';
    defined $pid or die "fork: $!\n";
    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDERR, '>&', \*STDOUT;
        { exec $self->_inside, 'env', '-i', 'LC_ALL=C.UTF-8', 'HOME=/root',
            'PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin',
            'MAKEFLAGS=-s',
            (map { "$_=$env{$_}" } sort keys %env),
            'bash', '-eu', '-o', 'pipefail', '-c',
            'cd ' . SRC . "\n$commands"; }
        POSIX::_exit(127);
    }

    local $/;
    my $text = <$out> // '';
    close $out;
    return ($? >> 8 || $? & 127, $text);
}


# the same; dies when it fails
sub must {
    my ($self, @args) = @_;

    my ($code, $text) = $self->run(@args);
    $code == 0 or die "$self->{name}: $args[0]\nends with $code:\n$text";
    return $text;
}


# a file of root's, for another machine
sub give {
    my ($self, $other, $file) = @_;

    my ($from, $to) = map { join ' ', $_->_inside, 'sh', '-c' } $self, $other;
    system("$from 'cat ~root/$file'"
        . " | $to 'umask 077; cat > ~root/$file'") == 0
        or die "$file is not copied\n";
}


# a prefix for commands that are to run there
sub _inside {
    my ($self) = @_;

    $self->{init} ||= do {
        open my $f, '<', "/proc/$self->{pid}/task/$self->{pid}/children"
            or die "no children of $self->{pid}: $!\n";
        (split ' ', <$f>)[0];
    };
    return ('nsenter', '-t', $self->{init}, qw( -m -n -u -p -- chroot ),
        "$self->{dir}/root");
}


sub DESTROY {
    my ($self) = @_;

    return if $self->{owner} != $$;

    local ($?, $@, $!);
    kill 'KILL', $self->{pid};
    close $self->{out};
}


1;
