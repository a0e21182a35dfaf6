package ApiKeys::Nonce;

# Nonces as a node with a given master key makes them, for any time: what a
# test would else have to wait for.

use strict;
use warnings;

use Digest::SHA qw( hmac_sha256 );
use Exporter qw( import );
use IPC::Open2 qw( open2 );
use MIME::Base64 qw( decode_base64 encode_base64 );
use Time::HiRes qw( time );

our @EXPORT_OK = qw( nonce );

my $count = 0x200000;


# nonce($master, seconds from now): the time in milliseconds with a counter, and
# that as one AES block under a key by HKDF, in digits of base64: four of them
# are of the bytes n, n + 8 and n + 16
sub nonce {
    my ($master, $offset) = @_;

    my $secret = hmac_sha256(decode_base64($master),
        'ngx_http_apikeys_module');
    my $key = substr hmac_sha256("nonce\x01", $secret), 0, 16;
    my $id = pack 'Q>', (int(1000 * (time + $offset)) << 22) + $count++;

    my @bytes = unpack '(a)*', $id . _aes($key, $id . "\0" x 8);
    my @four = map { [ split //, encode_base64(
        join('', @bytes[$_, $_ + 8, $_ + 16]), '') ] } 0 .. 7;
    return join '', map { my $n = $_; map { $_->[$n] } @four } 0 .. 3;
}


sub _aes {
    my ($key, $block) = @_;

    my $pid = open2(my $out, my $in, qw( openssl enc -aes-128-ecb -nopad -K ),
        unpack 'H*', $key);
    binmode $_ for $in, $out;
    print $in $block;
    close $in;
    my $text = do { local $/; <$out> };
    waitpid $pid, 0;
    length $text == 16 or die "openssl enc failed\n";
    return $text;
}


1;
