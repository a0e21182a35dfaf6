# Digest, access lists, roles and bodies over HTTP/2 and HTTP/3, in protected
# locations and in the administration API.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use JSON::PP qw( encode_json );
use Test::More;

my $binary = $ENV{TEST_NGINX_BINARY} || 'nginx';
my $features = qx{curl --version};
my ($version) = qx{$binary -V 2>&1} =~ m{^nginx version: \S+?/([\d.]+)}m;
my $quic = qx{$binary -V 2>&1} =~ /--with-http_v3_module/;

my %versions = (
    2 => '--http2',
    3 => '--http3-only',
);
my %missing = (
    2 => $features =~ /\bHTTP2\b/ ? undef : 'curl has no HTTP/2',
    3 => !$quic ? 'nginx is built without http_v3_module'
        : $features !~ /\bHTTP3\b/ ? 'curl has no HTTP/3' : undef,
);

my $udp = $missing{3} ? ''
    : 'listen 127.0.0.1:%%PORT_1%% quic reuseport; ssl_protocols TLSv1.3;';

my $f = ApiKeys::Fixture->new(workers => 2, start => 0,
    allow => qr/\[warn\]|"listen \.\.\. http2" directive is deprecated/,
    server => <<"END");
        listen 127.0.0.1:%%PORT_1%% ssl http2;
        $udp
        ssl_certificate %%DIR%%/tls.crt;
        ssl_certificate_key %%DIR%%/tls.key;
        location /gate {
            apikeys_auth digest basic;
            empty_gif;
        }
        location /owner {
            apikeys_auth digest;
            apikeys_require role=ORG_OWNER method=!GET;
            apikeys_require org=\$arg_org;
            empty_gif;
        }
END
my $nginx = $f->nginx;
my $dir = $nginx->dir;
system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    . " -nodes -days 2 -subj /CN=localhost -keyout $dir/tls.key"
    . " -out $dir/tls.crt 2>/dev/null") == 0 or die "openssl: $?\n";
$nginx->start;
$f->wait_loaded($nginx);

my $org = $f->org;
my $other = $f->org;
my $member = $f->key($org, 'ORG_MEMBER');
my $near = $f->key($org, 'ORG_MEMBER');
my $far = $f->key($org, 'ORG_MEMBER');
for ([ $near, '127.0.0.0/8' ], [ $far, '203.0.113.0/24' ]) {
    my ($key, $cidr) = @$_;
    $org->{client}->request('POST',
        "$org->{path}/apiKeys/$key->{id}/accessList",
        [ { cidrBlock => $cidr } ])->code == 200 or die "no list\n";
}

my $url = 'https://127.0.0.1:' . $nginx->port(1);
my $list = "$org->{path}/apiKeys/$member->{id}/accessList";
my $body = "$dir/entries.json";
open my $out, '>', $body or die $!;
print $out encode_json([ map { { cidrBlock => sprintf '10.%d.%d.0/24',
    $_ / 256, $_ % 256 } } 0 .. 4999 ]);
close $out;

for my $http (2, 3) {
    SKIP: {
        skip $missing{$http}, 15 if $missing{$http};

        my $curl = sub {
            my ($key, $path, @args) = @_;

            open my $in, '-|', 'curl', '-sk', $versions{$http}, '--max-time',
                30, '-w', "\n%{http_version} %{http_code}",
                $key ? ('-u', $key->{secret}, '--digest') : (), @args,
                $url . $path or die "curl: $!\n";
            local $/;
            my $text = <$in>;
            close $in;
            return $text =~ /^(.*)\n(.*)\z/s ? ($2, $1) : ($text, '');
        };
        my $is = sub {
            my ($key, $path, $code, $name, @args) = @_;

            my ($status, $text) = $curl->($key, $path, @args);
            is($status, "$http $code", "HTTP/$http: $name")
                or diag $text;
            return $text;
        };

        $is->(undef, '/gate', 401, 'no key');
        $is->($member, '/gate', 200, 'digest');
        $is->({ secret => "$member->{publicKey}:x" }, '/gate', 401,
            'a wrong secret');
        $is->($member, '/gate', 200, 'basic', '--basic');
        $is->($near, '/gate', 200, 'an address on the list');
        $is->($far, '/gate', 403, 'an address that is not');
        $is->($member, "/owner?org=$org->{id}", 200, 'a rule for all methods');
        $is->($member, "/owner?org=$other->{id}", 403, 'of others');
        $is->($member, "/owner?org=$org->{id}", 403, 'a rule for PUT',
            '-X', 'PUT');
        $is->($org->{key}, "/owner?org=$org->{id}", 405,
            'an owner passes the rule for PUT, and the handler refuses it',
            '-X', 'PUT');

        $is->($org->{key}, $list, 200, 'an access list of 100 kB', '-H',
            'Content-Type: application/json', '--data-binary', "\@$body");
        is($f->db->psql("SELECT count(*) FROM apikeys.access_list
            WHERE key_id = '$member->{id}'"), 5000, 'is stored');
        my $text = $is->($org->{key}, "$list?itemsPerPage=1", 200,
            'a page of it');
        like($text, qr/"totalCount":5000/, 'with its length');
        like($text, qr{"href":"\Q$url$list?\E[^"]*pageNum=2}, 'its links');
        $f->db->psql("DELETE FROM apikeys.access_list
            WHERE key_id = '$member->{id}'");
        $nginx->wait_for(sub { ($curl->($member, '/gate'))[0]
            eq "$http 200" }, 20, 'the list is not deleted');
    }
}

done_testing;
