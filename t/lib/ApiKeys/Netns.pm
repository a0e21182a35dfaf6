package ApiKeys::Netns;

# A test in a network namespace of its own, with a second one next to it for
# a server: packets between them can be dropped without a word to either side,
# and the server's namespace can vanish with all its sockets.
#
# use ApiKeys::Netns runs the test again inside of a new namespace; where the
# machine does not permit that, the test is skipped.

use strict;
use warnings;

use constant HERE => '192.0.2.1';
use constant THERE => '192.0.2.2';

# nobody has this address: who sends there is never answered, nor told
my $nowhere = '02:00:00:00:00:ff';


sub import {
    return if $ENV{APIKEYS_TEST_NETNS}++;

    if (system('unshare --net ip link set lo up >/dev/null 2>&1') != 0) {
        require Test::More;
        Test::More::plan(skip_all => 'no network namespaces, or no iproute2');
    }

    exec 'unshare', '--net', $^X, (map { "-I$_" } @INC), $0, @ARGV
        or die "unshare: $!\n";
}


sub new {
    my ($class) = @_;

    my $self = bless { owner => $$ }, $class;
    _ip(qw( link set lo up ));
    return $self->up;
}


# the second namespace, and a way to it
sub up {
    my ($self) = @_;

    # held by a process, as long as no server lives in it
    my $pid = open my $out, '-|', qw( setpriv --pdeathsig KILL unshare --net
        sh -c ), 'ip link set lo up && echo && exec sleep 3600'
        or die "unshare: $!\n";
    <$out> // die "no second network namespace\n";
    @$self{qw( pid out )} = ($pid, $out);

    _ip(qw( link add aktest0 type veth peer name aktest1 netns ), $pid);
    _ip(qw( addr add ), HERE . '/30', qw( dev aktest0 ));
    _ip(qw( link set aktest0 up ));
    $self->_there(qw( addr add ), THERE . '/30', qw( dev aktest1 ));
    $self->_there(qw( link set aktest1 up ));
    $self->mend;
    return $self;
}


# no FIN, no RST: what its sockets still want to say has no way out
sub down {
    my ($self) = @_;

    _ip(qw( link del aktest0 ));
    kill 'KILL', delete $self->{pid};
    close delete $self->{out};
}


# what is sent from here (requests), from there (answers), or both, is lost
sub cut {
    my ($self, @what) = @_;

    my %what = map { $_ => 1 } @what ? @what : qw( requests answers );
    _ip(qw( neigh replace ), THERE, 'lladdr', $nowhere,
        qw( nud permanent dev aktest0 )) if $what{requests};
    $self->_there(qw( neigh replace ), HERE, 'lladdr', $nowhere,
        qw( nud permanent dev aktest1 )) if $what{answers};
}


sub mend {
    my ($self) = @_;

    my ($here) = _ip(qw( link show aktest0 )) =~ m{link/ether (\S+)};
    my ($there) = $self->_there(qw( link show aktest1 ))
        =~ m{link/ether (\S+)};
    _ip(qw( neigh replace ), THERE, 'lladdr', $there,
        qw( nud permanent dev aktest0 ));
    $self->_there(qw( neigh replace ), HERE, 'lladdr', $here,
        qw( nud permanent dev aktest1 ));
}


# the answers come at that many bits a second; undef: as fast as they can
sub slow {
    my ($self, $rate) = @_;

    my @qdisc = qw( dev aktest1 root );
    _run($self->enter, 'tc', 'qdisc', $rate ? ('replace', @qdisc, 'tbf',
        'rate', $rate, qw( burst 3000 latency 60s )) : ('del', @qdisc));
}


# closed connections, by their local address, that the kernel still sends
# something over: FIN_WAIT1, CLOSING, LAST_ACK
sub orphans { return _tcp(sub { $_[0] =~ /^(?:04|0B|09)$/ }) }

# those that are open, with something that was not acknowledged
sub unsent { return _tcp(sub { $_[0] eq '01' && hex $_[1] > 0 }) }

sub _tcp {
    my ($wanted) = @_;

    my $there = sprintf '%08X', unpack 'L', pack 'C4', split /\./, THERE;
    open my $f, '<', '/proc/self/net/tcp' or die "/proc/self/net/tcp: $!\n";
    return map { /^\s*\d+: (\S+) $there:\S+ (\w\w) (\w+):/
        && $wanted->($2, $3) ? $1 : () } <$f>;
}


# a prefix for commands that are to run there
sub enter { return ('nsenter', '-t', $_[0]{pid}, '-n', '--') }

sub _there {
    my ($self, @args) = @_;

    return _run($self->enter, 'ip', @args);
}

sub _ip { return _run('ip', @_) }

sub _run {
    my (@command) = @_;

    open my $out, '-|', @command or die "$command[0]: $!\n";
    local $/;
    my $text = <$out>;
    close $out or die "@command failed\n";
    return $text;
}


sub DESTROY {
    my ($self) = @_;

    return if $self->{owner} != $$ || !$self->{pid};
    local $?;
    kill 'KILL', $self->{pid};
    close $self->{out};
}


1;
