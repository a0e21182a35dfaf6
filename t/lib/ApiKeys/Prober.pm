package ApiKeys::Prober;

# A process that asks one node for the same things all the time, over a
# connection that it keeps, and remembers when each was last let in.
#
#     my $p = ApiKeys::Prober->new(port => N);
#     $p->watch([ $uri, "public:private" ], ...);
#     ...
#     my @seen = $p->seen;    # { code, asked, last, back, lost } of each
#
# code: of the last answer; asked: how many; last: when the last request that
# was let in had been sent; back: let in after it had been refused; lost:
# requests without an answer.

use strict;
use warnings;

use IO::Handle ();
use IO::Select ();
use IO::Socket::INET ();
use JSON::PP ();
use MIME::Base64 qw( encode_base64 );
use POSIX ();
use Time::HiRes qw( sleep time );


# port, timeout => seconds, pause => seconds between two rounds,
# fresh => 1: a connection for each request, where a worker may be stopped
sub new {
    my ($class, %opt) = @_;

    my $self = bless { timeout => 10, pause => 0.002, %opt, owner => $$ },
        $class;

    pipe my $from, my $answers or die "pipe: $!\n";
    pipe my $orders, my $to or die "pipe: $!\n";

    my $pid = fork;
    defined $pid or die "fork: $!\n";

    if ($pid == 0) {
        close $from;
        close $to;
        $SIG{PIPE} = 'IGNORE';
        eval { $self->_run($orders, $answers) };
        print STDERR $@ if $@;
        POSIX::_exit(0);
    }

    $to->autoflush(1);
    @$self{qw( pid to from )} = ($pid, $to, $from);
    return $self;
}


sub watch {
    my ($self, @what) = @_;

    return $self->_order(JSON::PP::encode_json([ map {
        "GET $_->[0] HTTP/1.1\r\nHost: a\r\nAuthorization: Basic "
            . encode_base64($_->[1], '') . "\r\n\r\n" } @what ]));
}


sub seen {
    my ($self) = @_;

    return @{ $self->_order('seen') };
}


sub _order {
    my ($self, $line) = @_;

    print { $self->{to} } "$line\n";
    my $answer = readline $self->{from};
    defined $answer or die "the prober is gone\n";
    return JSON::PP::decode_json($answer);
}


sub _run {
    my ($self, $orders, $answers) = @_;

    my (@requests, @seen);
    my $select = IO::Select->new($orders);
    $answers->autoflush(1);

    for ( ;; ) {
        if ($select->can_read(@requests ? $self->{pause} : undef)) {
            my $line = readline $orders;
            defined $line or return;
            if ($line =~ /^\[/) {
                @requests = @{ JSON::PP::decode_json($line) };
                @seen = map { { code => 0, asked => 0, last => 0, back => 0,
                    lost => 0 } } @requests;
                print $answers "[]\n";
            }
            else {
                print $answers JSON::PP::encode_json(\@seen), "\n";
            }
            next;
        }

        $self->_ask($requests[$_], $seen[$_]) for 0 .. $#requests;
    }
}


sub _ask {
    my ($self, $request, $seen) = @_;

    my $sent = time;
    my $code = $self->_exchange($request);

    $seen->{asked}++;
    if (!$code) {
        $seen->{lost}++;
        return;
    }

    if ($code == 200) {
        $seen->{back}++ if $seen->{last} && $seen->{code} != 200;
        $seen->{last} = $sent;
    }
    $seen->{code} = $code;
    $seen->{codes}{$code}++;
}


# the status, or 0; a connection that was closed while idle is opened anew
sub _exchange {
    my ($self, $request) = @_;

    for my $try (1, 2) {
        my $old = $self->{socket};
        $self->{socket} ||= IO::Socket::INET->new(PeerAddr => '127.0.0.1',
            PeerPort => $self->{port}, Timeout => $self->{timeout})
            or return 0;

        my $code = $self->_answer($request);
        return $code if $code;
        close delete $self->{socket};
        last if !$old;
    }
    return 0;
}


sub _answer {
    my ($self, $request) = @_;

    my $socket = $self->{socket};
    my $end = time + $self->{timeout};
    my $text = '';

    defined syswrite $socket, $request or return 0;

    for ( ;; ) {
        if ($text =~ m{^HTTP/1\.1 (\d+).*?\r\n\r\n}s) {
            my ($code, $head) = ($1, $+[0]);
            my ($length) = $text =~ /^Content-Length:\s*(\d+)/mi;
            if (length $text >= $head + ($length // 0)) {
                close delete $self->{socket} if $self->{fresh}
                    || substr($text, 0, $head) =~ /^Connection:\s*close/mi;
                return $code;
            }
        }
        my $left = $end - time;
        $left > 0 && IO::Select->new($socket)->can_read($left) or return 0;
        sysread $socket, $text, 65536, length $text or return 0;
    }
}


sub DESTROY {
    my ($self) = @_;

    return if !$self->{pid} || $self->{owner} != $$;

    local ($?, $@, $!);
    # later ones hold our pipes too
    kill 'TERM', $self->{pid};
    waitpid $self->{pid}, 0;
}


1;
