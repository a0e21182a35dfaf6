package ApiKeys::Secrets;

# What is secret, in every form that it could have been kept in, and the
# search for it.  A name says what was found, so that a failed test shows no
# secret either.

use strict;
use warnings;

use Digest::MD5 qw( md5 );
use Digest::SHA qw( hmac_sha256 sha256 );
use MIME::Base64 qw( decode_base64 encode_base64 );

my $realm = 'MMS Public API';


sub new {
    my ($class) = @_;

    return bless { secret => {} }, $class;
}


# bytes as they are, in hex and, wherever they begin, in base64
sub add {
    my ($self, $name, $bytes) = @_;

    my $secret = $self->{secret};
    $secret->{$name} = $bytes;
    $secret->{"$name, hex"} = unpack 'H*', $bytes;

    for my $before (0 .. 2) {
        my $text = encode_base64("\0" x $before . $bytes, '');
        $text =~ s/=+$//;
        # digits that hold bits of a neighbor, too
        substr $text, 0, 4, '' if $before;
        chop $text;
        $secret->{"$name, base64 at $before"} = $text if length $text > 9;
    }
    return $self;
}


# a line of the key file, what it says, and what is derived from it; not the
# key of nonces, which makes none but nonces and which OpenSSL holds in each
# worker's cipher, where it cannot be kept out of a core file (SECURITY.md)
sub add_master_key {
    my ($self, $line) = @_;

    my $key = decode_base64($line);
    my $prk = hmac_sha256($key, 'ngx_http_apikeys_module');

    $self->add('the line of the key file', $line);
    $self->add('the master key', $key);

    # all begin with what the shortest of them is
    $self->add("the derived $_ key", substr hmac_sha256("$_\x01", $prk), 0, 16)
        for qw( seal snapshot );
    return $self;
}


# a private key, with its tail in the open, and what is stored of it
sub add_key {
    my ($self, $name, $public, $private) = @_;

    $self->add("private key $name", $private);
    $self->add("private key $name, digits", $private =~ tr/-//dr);
    $self->add("private key $name, bytes", pack 'H*', $private =~ tr/-//dr);
    $self->add("private key $name, all but its tail",
        $private =~ s/-\w+$//r);
    return $self->add_hashes($name, $public, $private);
}


# what is stored of a private key
sub add_hashes {
    my ($self, $name, $public, $private) = @_;

    my $a1 = "$public:$realm:$private";

    $self->add("SHA-256 $name", sha256("$public:$private"));
    $self->add("HA1 (MD5) $name", md5($a1));
    return $self->add("HA1 (SHA-256) $name", sha256($a1));
}


# names of those that a text holds, whatever the case
sub in_text {
    my ($self, $text) = @_;

    my $lower = lc $text;
    my $secret = $self->{secret};
    return join ', ', grep { index($text, $secret->{$_}) >= 0
        || index($lower, lc $secret->{$_}) >= 0 } sort keys %$secret;
}


# names of those that a file holds, of any size: it is read in pieces that
# overlap
sub in_file {
    my ($self, $file) = @_;

    my (%found, $piece);
    my $secret = $self->{secret};

    open my $in, '<:raw', $file or die "$file: $!\n";
    $piece = '';
    while (read $in, my $chunk, 4_000_000) {
        $piece = substr($piece, -200) if length $piece > 200;
        $piece .= $chunk;
        for my $name (keys %$secret) {
            $found{$name} = 1 if index($piece, $secret->{$name}) >= 0;
        }
    }
    return join ', ', sort keys %found;
}


1;
