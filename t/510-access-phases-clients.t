# What a block cannot send: HTTP/2, and a deletion of the key while its request
# is under way.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Access ();
use IO::Socket::INET ();
use MIME::Base64 qw( encode_base64 );
use Test::More;

my $t = ApiKeys::Access->new(zone => '4m');
my $dir = $t->nginx->dir;
my $org = $t->org;
my ($member, $far) = map { $t->key($org, 'ORG_MEMBER') } 1 .. 2;
$t->allow($org, $far, '198.51.100.0/24');

$t->nginx->write_file('html/page.html', 'the page');
system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    . " -nodes -days 2 -subj /CN=localhost -keyout $dir/tls.key"
    . " -out $dir/tls.crt 2>/dev/null") == 0 or die "openssl: $?\n";

$t->serve(<<'END');
    listen 127.0.0.1:%%PORT_3%% ssl http2;
    ssl_certificate %%DIR%%/tls.crt;
    ssl_certificate_key %%DIR%%/tls.key;
    location /gate/ { apikeys_auth digest basic; alias %%DIR%%/html/; }
    location = /slow { apikeys_auth basic;
                       proxy_pass http://127.0.0.1:%%PORT_4%%; }
END

# (curl 7.88 fails by itself to use a connection again that was not
# negotiated, so not --http2-prior-knowledge)
my $url = 'https://127.0.0.1:' . $t->nginx->port(3) . '/gate/page.html';

for ([ 'without a key', '', 401 ],
    [ 'a key by digest', "--digest -u '$member->{secret}'", 200 ],
    [ 'a key by basic', "--basic -u '$member->{secret}'", 200 ],
    [ 'a wrong secret', "--digest -u '$member->{publicKey}:x'", 401 ],
    [ 'a body', "-X POST -d x --digest -u '$member->{secret}'", 405 ],
    [ 'an address that is on no list', "--digest -u '$far->{secret}'", 403 ])
{
    my ($name, $args, $code) = @$_;
    is(qx{curl -s -o /dev/null -w '%{http_version} %{http_code}' \\
        $args -k --http2 $url}, "2 $code", "HTTP/2, $name: $code");
}

my $slow = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1',
    LocalPort => $t->nginx->port(4)) or die "listen: $@\n";

sub meanwhile {
    my ($id, $answer) = @_;

    my $key = $t->key($org, 'ORG_MEMBER');
    my $client = $t->fixture->client;
    $client->send($client->format('GET', '/slow', undef, headers => {
        Authorization => 'Basic ' . encode_base64($key->{secret}, ''),
        'X-Id' => $id }));

    my $asked = $slow->accept;
    local $/ = "\r\n";
    1 while <$asked> ne $/;
    $org->{client}->request('DELETE', "$org->{path}/apiKeys/$key->{id}");
    print $asked "HTTP/1.0 200 OK\r\n${answer}Content-Length: 0\r\n\r\n";
    close $asked;
    return $client->read->code . ' ' . $t->log($id)->{decision};
}

is(meanwhile('gone-1', "X-Accel-Redirect: /gate/page.html\r\n"),
    '401 unknown_key',
    'a key that was deleted since is refused after X-Accel-Redirect');
is(meanwhile('gone-2', ''), '200 allow',
    '$apikeys_decision in the log is the decision made before the deletion');

done_testing;
