package ApiKeys::Client;

# A raw HTTP/1.1 client: what it is told to send it sends, byte for byte, and
# it reads one answer at a time.  On top of that, digest exchanges as
# RFC 7616 has them, with the nonce kept and counted as a good client does.

use strict;
use warnings;

use Digest::MD5 qw( md5_hex );
use Digest::SHA qw( sha256_hex );
use IO::Select ();
use IO::Socket::INET ();
use JSON::PP ();
use Time::HiRes qw( time );


# new(port => N, key => 'public:private', token => '..', timeout => 10,
#     algorithm => 'MD5' | 'SHA-256', headers => { .. })
sub new {
    my ($class, %opt) = @_;

    return bless { host => '127.0.0.1', timeout => 10, algorithm => 'MD5',
        headers => {}, buffer => '', %opt }, $class;
}


# a copy with its own connection and nonce
sub with {
    my ($self, %opt) = @_;

    my %copy = %$self;
    delete @copy{qw( socket challenge nc )};
    return bless { %copy, buffer => '', %opt }, ref $self;
}


sub connect {
    my ($self) = @_;

    $self->{buffer} = '';
    $self->{socket} = IO::Socket::INET->new(PeerAddr => $self->{host},
        PeerPort => $self->{port}, LocalAddr => $self->{local},
        Timeout => $self->{timeout})
        or die "connect to port $self->{port}: $@\n";
    $self->{socket}->autoflush(1);
    return $self;
}


sub close {
    my ($self) = @_;

    close delete $self->{socket} if $self->{socket};
}


# is there a connection that the server has not closed?
sub connected {
    my ($self) = @_;

    my $s = $self->{socket} or return 0;
    return 1 if length $self->{buffer};
    return 1 if !IO::Select->new($s)->can_read(0);
    my $n = sysread $s, my $chunk, 65536;
    return 0 if !$n;
    $self->{buffer} .= $chunk;
    return 1;
}


# raw bytes
sub send {
    my ($self, @bytes) = @_;

    $self->connect if !$self->{socket};

    local $SIG{PIPE} = 'IGNORE';
    my $bytes = join '', @bytes;
    while (length $bytes) {
        my $n = syswrite $self->{socket}, $bytes;
        last if !defined $n;
        substr $bytes, 0, $n, '';
    }
    return $self;
}


# one answer; undef when the connection ended before it began.
# head => 1: no body follows
sub read {
    my ($self, %opt) = @_;

    $self->{deadline} = time + ($opt{timeout} || $self->{timeout});

    my $head;
    for ( ;; ) {
        $head = $self->_until(qr/\r\n\r\n/) // return;
        last if $head !~ m{^HTTP/1\.[01] 1\d\d };
    }

    my ($line, @lines) = split /\r\n/, $head;
    my ($code, $reason) = $line =~ m{^HTTP/1\.[01] (\d{3})(?: (.*))?$}
        or die "not HTTP: $line\n";

    my $res = bless { code => $code, reason => $reason // '',
        head => $head, headers => [] }, 'ApiKeys::Client::Response';
    for (@lines) {
        push @{ $res->{headers} }, [ lc $1, $2 ] if /^([^:]+):\s*(.*?)\s*$/;
    }

    $res->{body} = $self->_body($res, $opt{head});
    $self->close if ($res->header('connection') // '') =~ /close/i;
    return $res;
}


# the codes of all answers, until the connection ends or nothing more comes
sub codes {
    my ($self) = @_;

    my @codes;
    while (my $res = eval { $self->read }) {
        push @codes, $res->code;
        last if !$self->{socket};
    }
    return @codes;
}


sub _body {
    my ($self, $res, $head) = @_;

    return '' if $head || $res->{code} == 204 || $res->{code} == 304;

    if (($res->header('transfer-encoding') // '') =~ /chunked/i) {
        my $body = '';
        for ( ;; ) {
            my $size = hex $self->_must(qr/\r\n/) =~ s/[;\s].*//sr;
            if ($size == 0) {
                $self->_must(qr/\r\n/);
                return $body;
            }
            $body .= $self->_bytes($size);
            $self->_must(qr/\r\n/);
        }
    }

    my $length = $res->header('content-length');
    return $self->_bytes($length) if defined $length;

    1 while $self->_fill;
    return substr $self->{buffer}, 0, length $self->{buffer}, '';
}


sub _until {
    my ($self, $regex) = @_;

    for ( ;; ) {
        return substr $self->{buffer}, 0, $+[0], ''
            if $self->{buffer} =~ $regex;
        next if $self->_fill;
        die "the answer ends early: $self->{buffer}\n"
            if length $self->{buffer};
        return;
    }
}


sub _must {
    my ($self, $regex) = @_;

    return $self->_until($regex) // die "the answer ends early\n";
}


sub _bytes {
    my ($self, $n) = @_;

    while (length $self->{buffer} < $n) {
        $self->_fill or die "the body ends early\n";
    }
    return substr $self->{buffer}, 0, $n, '';
}


sub _fill {
    my ($self) = @_;

    my $left = $self->{deadline} - time;
    my $s = $self->{socket} or return 0;
    $left > 0 && IO::Select->new($s)->can_read($left)
        or die "no answer in time\n";
    return sysread $s, $self->{buffer}, 65536, length $self->{buffer};
}


# the text of a request.  $body: a string, or a structure to send as JSON.
# headers => { Name => value | [values] | undef }
sub format {
    my ($self, $method, $uri, $body, %opt) = @_;

    my %headers = (Host => "$self->{host}:$self->{port}",
        %{ $self->{headers} }, %{ $opt{headers} || {} });

    if (ref $body) {
        $body = JSON::PP->new->canonical->utf8->encode($body);
        $headers{'Content-Type'} //= 'application/json'
            if !exists $headers{'Content-Type'};
    }
    $headers{'Content-Length'} //= length $body
        if defined $body && !exists $headers{'Transfer-Encoding'};

    my $text = "$method $uri HTTP/1.1\r\n";
    for my $name (sort keys %headers) {
        my $value = $headers{$name};
        $text .= "$name: $_\r\n"
            for grep { defined } ref $value ? @$value : $value;
    }
    return $text . "\r\n" . ($body // '');
}


# one request and its answer, with no credentials but those in headers
sub plain {
    my ($self, $method, $uri, $body, %opt) = @_;

    $self->close if $self->{socket} && !$self->connected;
    $self->send($self->format($method, $uri, $body, %opt));
    my $res = $self->read(head => $method eq 'HEAD', %opt);
    @$res{qw( method uri )} = ($method, $uri) if $res;
    return $res;
}


# the whole exchange: the token or the key that the client has; a nonce that
# it knows is used again
sub request {
    my ($self, $method, $uri, $body, %opt) = @_;

    my $token = $opt{token} // $self->{token};
    my %headers = %{ $opt{headers} || {} };

    if (defined $token) {
        $headers{Authorization} = "Bearer $token";
        return $self->plain($method, $uri, $body, %opt,
            headers => \%headers);
    }

    defined $self->{key} or return $self->plain($method, $uri, $body, %opt);

    # the body goes only where a nonce is known, or again after the 401
    my $res;
    for (1 .. 2) {
        if ($self->{challenge}) {
            $headers{Authorization} = $self->authorization($method, $uri,
                %opt);
        }
        $res = $self->plain($method, $uri, $body, %opt,
            headers => \%headers);
        return $res if !$res || $res->{code} != 401;

        my $stale = ($res->challenge($self->{algorithm}) || {})->{stale} // '';
        last if $headers{Authorization} && lc $stale ne 'true';
        $self->{challenge} = $res->challenge($self->{algorithm}) or last;
        $self->{nc} = 0;
    }
    delete $self->{challenge};
    return $res;
}


# the Authorization header for the kept challenge; each part can be given
sub authorization {
    my ($self, $method, $uri, %opt) = @_;

    my $challenge = $opt{challenge} || $self->{challenge};
    my ($user, $pass) = split /:/, $opt{key} // $self->{key}, 2;

    return digest_header(%$challenge, method => $method, uri => $uri,
        user => $user, password => $pass,
        nc => sprintf('%08x', ++$self->{nc}), %{ $opt{digest} || {} });
}


# a plain function: realm, nonce, algorithm, qop, opaque of the challenge,
# method, uri, user, password, nc, cnonce
sub digest_header {
    my (%p) = @_;

    $p{cnonce} //= sprintf '%08x%08x', rand 2 ** 32, rand 2 ** 32;
    $p{nc} //= '00000001';
    $p{response} //= digest_response(%p);

    my @parts = (qq{username="$p{user}"}, qq{realm="$p{realm}"},
        qq{nonce="$p{nonce}"}, qq{uri="$p{uri}"});
    push @parts, "algorithm=$p{algorithm}" if defined $p{algorithm};
    push @parts, qq{response="$p{response}"};
    push @parts, 'qop=auth', "nc=$p{nc}", qq{cnonce="$p{cnonce}"}
        if defined $p{qop};
    push @parts, qq{opaque="$p{opaque}"} if defined $p{opaque};

    return 'Digest ' . join ', ', @parts;
}


sub digest_response {
    my (%p) = @_;

    my $h = ($p{algorithm} // 'MD5') =~ /^SHA-256/i
        ? \&sha256_hex : \&md5_hex;
    my $ha1 = $h->("$p{user}:$p{realm}:$p{password}");
    my $ha2 = $h->("$p{method}:$p{uri}");

    return $h->("$ha1:$p{nonce}:$ha2") if !defined $p{qop};
    return $h->("$ha1:$p{nonce}:$p{nc}:$p{cnonce}:auth:$ha2");
}


package ApiKeys::Client::Response;

use strict;
use warnings;


sub code { return $_[0]{code} }
sub body { return $_[0]{body} }


# the first of a name; all in list context
sub header {
    my ($self, $name) = @_;

    my @values = map { $_->[1] } grep { $_->[0] eq lc $name }
        @{ $self->{headers} };
    return wantarray ? @values : $values[0];
}


sub json {
    my ($self) = @_;

    return JSON::PP->new->utf8->decode($self->{body});
}


# the parameters of the digest challenge of an algorithm, or of the first
sub challenge {
    my ($self, $algorithm) = @_;

    my @all;
    for my $text ($self->header('www-authenticate')) {
        $text =~ s/^Digest\s+//i or next;
        my %p;
        $p{ lc $1 } = $2 // $3
            while $text =~ /(\w+)=(?:"([^"]*)"|([^,\s]*))/g;
        push @all, \%p;
    }
    return $all[0] if !defined $algorithm;

    my ($found) = grep { lc($_->{algorithm} // 'MD5') eq lc $algorithm } @all;
    return $found;
}


1;
