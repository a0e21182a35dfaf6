package ApiKeys::PgTest;

# An nginx that has only the layer of PostgreSQL, behind the directives of
# t/modules/pgtest, and what its answers say.

use strict;
use warnings;

use Exporter qw( import );
use IO::Select ();
use IO::Socket::INET ();
use Time::HiRes qw( sleep time );

use ApiKeys::Nginx ();

our @EXPORT_OK = qw( pgtest get start answer stat_of eventually );


# pgtest(conninfo => '..', database => 'parameters of the directive',
#        locations => { name => 'directives;' }, and what ApiKeys::Nginx takes)
sub pgtest {
    my (%opt) = @_;

    my $conninfo = delete $opt{conninfo};
    my $database = delete $opt{database} // '';
    my $locations = delete $opt{locations} || {};
    my $server = delete $opt{server} // '';

    $server .= "location = /stat { pgtest_stat; }\n";
    $server .= "location = /$_ { $locations->{$_} }\n"
        for sort keys %$locations;

    return ApiKeys::Nginx->new(load => [ ApiKeys::Nginx::test_module('pgtest') ], %opt,
        http => ($opt{http} // '')
            . qq{pgtest_database "$conninfo" $database;\n},
        server => $server);
}


# sends a request; answer() reads what it came to
sub start {
    my ($nginx, $uri) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $nginx->port, Timeout => 10) or die "connect: $@\n";
    $socket->syswrite("GET $uri HTTP/1.0\r\nHost: localhost\r\n\r\n");
    return $socket;
}


# { rc, unknown, rows, bytes, sqlstate, message, .., body, lines }
sub answer {
    my ($socket, $timeout) = @_;

    my $text = '';
    my $end = time + ($timeout || 30);

    for ( ;; ) {
        IO::Select->new($socket)->can_read($end - time) or die "no answer\n";
        sysread $socket, $text, 65536, length $text or last;
    }

    my ($code, $body) = $text =~ m{^HTTP/1\.1 (\d+) .*?\r\n\r\n(.*)$}s
        or return { rc => 'none', lines => [], body => '' };
    $code == 200 or return { rc => $code, lines => [], body => $body };

    my ($line, @lines) = split /\n/, $body;
    my %answer = (body => $body, lines => \@lines, rc => $line);

    my ($fields, $message, $detail)
        = $line =~ /^(.*) message=(.*) detail=(.*)$/;
    if (defined $fields) {
        %answer = (%answer, message => $message, detail => $detail,
            $fields =~ /(\w+)=(\S*)/g);
    }
    return \%answer;
}


sub get {
    my ($nginx, $uri) = @_;

    return answer(start($nginx, $uri));
}


# the counters of the pool, those of the listening pool as l_...
sub stat_of {
    my ($nginx) = @_;

    my @lines = split /\n/, get($nginx, '/stat')->{body};
    my %stat = pop(@lines) =~ /(\w+)=(\d+)/g;
    %stat = (%stat, $lines[0] =~ /(\w+)=(\d+)/g);
    if ($lines[1]) {
        my %listener = $lines[1] =~ /(\w+)=(\d+)/g;
        $stat{"l_$_"} = $listener{$_} for keys %listener;
    }
    return \%stat;
}


# polls until true; returns the value, or nothing
sub eventually(&;$) {
    my ($condition, $timeout) = @_;

    my $end = time + ($timeout || 15);
    for ( ;; ) {
        my $value = $condition->();
        return $value if $value;
        return if time >= $end;
        sleep 0.02;
    }
}


1;
