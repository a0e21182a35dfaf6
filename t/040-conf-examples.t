# Every file of conf-examples is taken by nginx as it is, but for what an
# installation has elsewhere, and does what its first line says.

use strict;
use warnings;

use Cwd qw( abs_path );
use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use IO::Socket::SSL ();
use Test::More;

my $root = abs_path(__FILE__) =~ s{/t/[^/]+$}{}r;

# makes the keys that the examples meet
my $f = ApiKeys::Fixture->new;
my $org = $f->org;
my $project = $f->project($org);
my $member = $f->key($org, 'ORG_MEMBER');

# what each has beyond "it starts": path, key, status
my $owner = $org->{key}{secret};
my %asked = (
    'minimal.conf' => [
        [ '/api/atlas/v1.0/orgs', undef, 401 ],
        [ '/api/atlas/v1.0/orgs', $owner, 200 ],
        [ '/', undef, 401 ],
        [ '/', $owner, 200 ],
    ],
    'protect.conf' => [
        [ '/health', undef, 200 ],
        [ '/billing/', $owner, 403 ],
        [ "/projects/$project->{id}/", undef, 401 ],
        [ "/projects/$project->{id}/", $member->{secret}, 403 ],
        [ "/projects/$project->{id}/", $owner, 502 ],
    ],
    'dry-run.conf' => [
        [ '/index.html', undef, 200 ],
        [ '/index.html', $owner, 200 ],
        [ '/metrics', undef, 200 ],
    ],
    'rate-limit.conf' => [
        [ '/index.html', undef, 401 ],
        [ '/index.html', $owner, 200 ],
    ],
    'behind-proxy.conf' => [
        [ '/api/atlas/v1.0/orgs', $owner, 200 ],
    ],
);

my @examples = map { s{.*/}{}r } sort glob "$root/conf-examples/*.conf";
cmp_ok scalar(@examples), '>=', 6, 'there are examples';
is_deeply [ grep { !-e "$root/conf-examples/$_" } sort keys %asked ], [],
    'those that are asked exist';

for my $name (@examples) {
    subtest $name => sub { example($name) };
}

subtest 'README' => sub {
    my ($text) = slurp("$root/README.md")
        =~ /```nginx\n(load_module.*?)```/s;
    loads($text);
};

done_testing;


sub example {
    my ($name) = @_;

    my $nginx = loads(slurp("$root/conf-examples/$name")) or return;

    if ($name eq 'api.conf') {
        tls($nginx);
    }
    if (my @cases = @{ $asked{$name} || [] }) {
        # an unknown key is refused once the local copy is complete and fresh
        $nginx->wait_for(sub {
            client($nginx, 'aaaaaaaa:x')->request('GET', $cases[-1][0])->code
                != 503;
        }, 30, 'the local copy is not loaded');
    }
    for my $case (@{ $asked{$name} || [] }) {
        my ($path, $key, $code) = @$case;
        is client($nginx, $key)->request('GET', $path)->code, $code,
            "GET $path, $code";
    }
    if ($name eq 'behind-proxy.conf') {
        my $res = client($nginx, $owner)->request('GET',
            '/api/atlas/v1.0/orgs');
        is $res->json->{links}[0]{href} =~ s/\?.*//r,
            'https://api.example.com/api/atlas/v1.0/orgs', 'the public name';
    }
    $nginx->quit;
}


# nginx with a text whose places are the test's own
sub loads {
    my ($text) = @_;

    my $nginx = ApiKeys::Nginx->new(conf => '#');
    my $conninfo = $f->db->conninfo(user => 'apikeys_nginx');
    my $dir = $nginx->dir;
    my $load = join '', map { "load_module $_;\n" } @{ $nginx->{load} };
    my $user = $> == 0 ? "user www-data;\n" : '';

    $text =~ s/^user www-data;\n//m;

    $text =~ s/"host=[^"]*dbname=apikeys[^"]*"/"$conninfo"/ or die;
    $text =~ s/^load_module [^\n]*\n/$load$user/m or die;
    $text =~ s{/etc/nginx/apikeys/}{$dir/}g;
    $text =~ s{/var/log/nginx/}{$dir/}g;
    $text =~ s{/var/lib/nginx/}{$dir/}g;
    $text =~ s{/var/www/html}{$dir/html}g;
    $text =~ s{127\.0\.0\.1:8081}{127.0.0.1:%%PORT_1%%}g;
    $text =~ s{listen (?:127\.0\.0\.1:)?\d+}{listen 127.0.0.1:%%PORT%%}g;
    $text =~ s{ssl;  \# certificates as usual}
              {ssl; ssl_certificate $dir/server.crt;
               ssl_certificate_key $dir/server.key;};

    $nginx->write_file('master.key', "$f->{master_key}\n", 0600);
    $nginx->write_file('operator.token', $f->token . "\n", 0600);
    $nginx->write_file('password', "secret\n", 0600);
    chown +(getpwnam 'www-data')[ 2, 3 ], $dir if $> == 0;
    $nginx->write_file('html/index.html', "hello\n");
    mkdir "$dir/tmp" if !-d "$dir/tmp";
    qx{openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \\
        -keyout $dir/server.key -out $dir/server.crt 2>&1}
        if $text =~ /ssl_cert/;

    # the directories of the package are not for us
    $text =~ s/^http \{\n/http {
        access_log $dir\/access.log;
        client_body_temp_path $dir\/tmp\/body;
        proxy_temp_path $dir\/tmp\/proxy;
        fastcgi_temp_path $dir\/tmp\/fastcgi;
        uwsgi_temp_path $dir\/tmp\/uwsgi;
        scgi_temp_path $dir\/tmp\/scgi;
/m;
    $text = "daemon off;\npid $dir/nginx.pid;\nerror_log $dir/error.log info;\n"
        . $text;
    # load_module comes first of all
    $text =~ s/^(.*?)((?:load_module [^\n]*\n)+)/$2$1/s;

    $nginx->configure(conf => $text);
    my ($code, $said) = $nginx->test;
    if (!is $code, 0, 'nginx takes it') {
        diag $said;
        return;
    }
    $nginx->start;
    return $nginx;
}


sub client {
    my ($nginx, $key) = @_;

    return ApiKeys::Client->new(port => $nginx->port, key => $key);
}


sub tls {
    my ($nginx) = @_;

    my $client = client($nginx, $owner);
    for my $case (
        [ '/api/atlas/v1.0/orgs', 401 ],
        [ '/api/private/ipinfo', 200 ],
        [ '/nothing', 404 ])
    {
        my ($path, $code) = @$case;
        my $socket = IO::Socket::SSL->new(PeerAddr => '127.0.0.1',
            PeerPort => $nginx->port, SSL_verify_mode => 0) or die;
        print $socket "GET $path HTTP/1.0\r\nHost: localhost\r\n\r\n";
        like do { local $/; <$socket> }, qr{^HTTP/1\.1 $code }, $path;
    }
}


sub slurp {
    my ($file) = @_;

    open my $f, '<', $file or die "$file: $!\n";
    local $/;
    return <$f>;
}
