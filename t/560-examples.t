# What the examples promise, beyond being taken by nginx: credentials that
# stay here, addresses from whom they are believed, dry runs, limits, an
# Ops Manager, and nodes that agree.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Access ();
use ApiKeys::Nginx ();
use MIME::Base64 qw( encode_base64 );
use Test::More;

my $t = ApiKeys::Access->new(zone => '8m');
my $f = $t->fixture;
my $org = $t->org;
my ($one, $two) = map { $t->project($org) } 1 .. 2;
my $owner = $org->{key};
my $viewer = $t->assign($org, $one, $t->key($org, 'ORG_MEMBER'),
    'GROUP_READ_ONLY');
my $billing = $t->key($org, 'ORG_BILLING_ADMIN');
my $far = $t->allow($org, $t->key($org, 'ORG_MEMBER'), '198.51.100.0/24');
my $near = $t->allow($org, $t->key($org, 'ORG_MEMBER'), '127.0.0.0/8');

sub basic { return 'Basic ' . encode_base64($_[0]{secret}, '') }


# an nginx of an example; its places and peers are the test's
sub example {
    my ($name, %opt) = @_;

    my $nginx = ApiKeys::Nginx->new(conf => '#');
    my $dir = $nginx->dir;
    my $info = $f->db->conninfo(user => 'apikeys_nginx');
    my $load = join '', map { "load_module $_;\n" } @{ $nginx->{load} };
    my $user = $> == 0 ? "user www-data;\n" : '';
    my $temp = join '', map { "${_}_temp_path $dir/tmp/$_;\n" }
        qw( client_body proxy fastcgi uwsgi scgi );

    open my $file, '<', "$FindBin::Bin/../conf-examples/$name.conf" or die $!;
    my $text = do { local $/; <$file> };

    $text =~ s{"host=[^"]*dbname=apikeys[^"]*"}{"$info"} or die;
    $text =~ s{\s*password_file=\S+}{};
    $text =~ s{resolver [^;]*;}{};
    $text =~ s{/etc/nginx/apikeys/|/var/log/nginx/|/var/lib/nginx/}{$dir/}g;
    $text =~ s{/var/www/html}{$dir/html}g;
    $text =~ s{127\.0\.0\.1:8081}{127.0.0.1:%%PORT_1%%}g;
    $text =~ s{listen (?:443 ssl|(?:127\.0\.0\.1:)?\d+);}
              {listen 127.0.0.1:%%PORT%%;};
    $text =~ s{ssl_certificate\S* [^;]*;}{}g;
    $text =~ s{^load_module [^\n]*\n}{}m;
    $text =~ s{^user [^\n]*\n}{}m;
    $text =~ s{(?<=\nhttp \{\n)}{$temp};
    $text =~ s{(?<=\nhttp \{\n)}{access_log off;}
        if $text !~ /^    access_log/m;

    $nginx->write_file('master.key', "$f->{master_key}\n", 0600);
    $nginx->write_file('operator.token', $f->token . "\n", 0600);
    $nginx->write_file('html/index.html', "hello\n");
    chown +(getpwnam 'www-data')[ 2, 3 ], $dir if $> == 0;

    $nginx->configure(conf => "${load}daemon off;\npid $dir/nginx.pid;\n"
        . "$user error_log $dir/error.log info;\n$text");
    $nginx->start;

    # a dry run refuses nothing, not even then: it shows
    $nginx->wait_for(sub {
        return get($nginx, $opt{metrics})->body =~ /_copy_age_seconds \d/
            if $opt{metrics};
        return get($nginx, $opt{wait} || '/', key => 'aaaaaaaa:x')
            ->code != 503;
    }, 20, "$name is not loaded");
    return $nginx;
}

sub get {
    my ($nginx, $uri, %opt) = @_;

    my $client = $f->client(nginx => $nginx, key => $opt{key},
        local => $opt{local});
    my $res = $client->request($opt{method} || 'GET', $uri, $opt{body}, %opt);
    $client->close;
    return $res;
}


subtest 'protect.conf' => sub {
    my $nginx = example('protect', wait => '/readings/');
    my $backend = ApiKeys::Nginx->new;
    $backend->{ports}[0] = $nginx->port(1);
    $backend->configure(server => <<'END');
    location / {
        set $credentials "$http_authorization$http_x_api_key";
        set $who "$http_x_key_id $http_x_org_id $http_x_roles";
        return 200 '$request_method [$credentials] $who';
    }
END
    $backend->start;

    my $uri = "/projects/$one->{id}/data";
    my $told = "$viewer->{id} $org->{id} ORG_MEMBER,$one->{id}:GROUP_READ_ONLY";
    is(get($nginx, $uri, key => $viewer->{secret})->body, "GET [] $told",
        'by digest: the backend is told who, not how');
    is(get($nginx, $uri, headers => { Authorization => basic($viewer) })
        ->body, "GET [] $told", 'by basic');
    is(get($nginx, $uri, headers => { 'X-Api-Key' => $viewer->{secret} })
        ->body, "GET [] $told", 'by a header');
    is(get($nginx, $uri, headers => { 'X-Api-Key' => $viewer->{secret},
        'X-Key-Id' => 'me', 'X-Org-Id' => 'me', 'X-Roles' => 'ORG_OWNER' })
        ->body, "GET [] $told", 'nor by the client itself');
    is(get($nginx, $uri, key => $viewer->{secret}, method => 'POST',
        body => 'x')->code, 403, 'who may read may not write');
    is(get($nginx, $uri, key => $owner->{secret}, method => 'POST',
        body => 'x')->code, 200, 'an owner may');
    is(get($nginx, "/projects/$two->{id}/data", key => $viewer->{secret})
        ->code, 403, 'nor read in another project');
    is(get($nginx, '/billing/', key => $billing->{secret})->code, 403,
        'another organization');
    is(get($nginx, '/readings/', key => $billing->{secret})->code, 200,
        'any key');
    is(get($nginx, '/health')->code, 200, 'anybody');

    my $log = $nginx->wait_for(sub {
        my $text = ApiKeys::Nginx::_read($nginx->dir . '/keys.log');
        return $text =~ /GET \/health/ && $text }, 10, 'no log');
    like($log, qr/ $viewer->{publicKey} role "POST $uri /, 'the log tells');
    unlike($log, qr/$viewer->{privateKey}/, 'but no secret');
};


subtest 'behind-proxy.conf' => sub {
    my $path = '/api/atlas/v1.0/orgs';
    my @from = (headers => { 'X-Forwarded-For' => '198.51.100.7' });
    my @other = (@from, local => '127.0.0.2');

    my $nginx = example('behind-proxy', wait => $path);
    is(get($nginx, $path, key => $near->{secret}, @other)->code, 200,
        'the header of another client is not used');
    is(get($nginx, $path, key => $far->{secret}, @other)->code, 403,
        'whatever it says');

    is(get($nginx, $path, key => $far->{secret}, @from)->code, 200,
        'the balancer is');
    is(get($nginx, $path, key => $near->{secret}, @from)->code, 403,
        'and its own address is nobody\'s');
    is(get($nginx, $path, key => $far->{secret}, @from)
        ->json->{links}[0]{href} =~ s/\?.*//r,
        "https://api.example.com$path", 'links have the public name');
};


subtest 'dry-run.conf' => sub {
    my $nginx = example('dry-run', metrics => '/metrics');
    is(get($nginx, '/index.html?a')->code, 200, 'without a key');
    is(get($nginx, '/index.html?b', headers =>
        { Authorization => basic($billing) })->code, 200, 'without the role');
    is(get($nginx, '/index.html?c', headers =>
        { Authorization => basic($viewer) })->code, 200, 'with it');

    my $log = $nginx->wait_for(sub {
        my $text = ApiKeys::Nginx::_read($nginx->dir . '/decisions.log');
        return $text =~ /\?c/ && $text }, 10, 'no log');
    like($log, qr/^no_credential - "GET \/index.html\?a /m, 'no key');
    like($log, qr/^role $billing->{publicKey} "GET \/index.html\?b /m, 'role');
    like($log, qr/^allow $viewer->{publicKey} "GET \/index.html\?c /m, 'allow');
    like(get($nginx, '/metrics')->body,
        qr/^apikeys_decisions_total\{decision="role"\} 1$/m, 'the metrics');
    is(get($nginx, '/metrics', local => '127.0.0.2')->code, 403,
        'which are not for everybody');
};


subtest 'rate-limit.conf' => sub {
    my $nginx = example('rate-limit');
    my (%codes, %wrong);
    my $client = $f->client(nginx => $nginx);

    # 41 at once: one, twenty more, and what a tenth of a second brings
    $codes{ $client->plain('GET', '/', undef, headers =>
        { Authorization => basic({ secret => "$viewer->{publicKey}:x" }) })
        ->code }++ for 1 .. 41;
    is_deeply(\%codes, { 401 => 41 }, 'wrong secrets count for nobody');

    # sent at once, or the delay of burst= would be waited for
    my @clients = map { $f->client(nginx => $nginx) } 1 .. 30;
    $_->send($_->format('GET', '/', undef,
        headers => { Authorization => basic($viewer) })) for @clients;
    %codes = ();
    $codes{ $_->read->code }++ for reverse @clients;
    cmp_ok($codes{429}, '>=', 5, 'a key has its limit');
    cmp_ok($codes{200}, '>=', 20, 'and its burst');
    is($client->plain('GET', '/', undef, headers =>
        { Authorization => basic($billing) })->code, 200,
        'which is not that of another');
};


subtest 'ops-manager.conf' => sub {
    my $nginx = example('ops-manager', wait => '/api/public/v1.0/orgs');
    my $res = get($nginx, '/api/private/unauth/version');
    is($res->code, 200, 'the version, for anybody');
    like($res->header('x-mongodb-service-version'),
        qr/^gitHash=\w+; versionString=6\.0\.\d+$/, 'as clients read it');
    is(get($nginx, '/api/private/ipinfo')->json->{currentIpv4Address},
        '127.0.0.1', 'the address');
    is(get($nginx, '/api/public/v1.0/orgs')->code, 401, 'the API, for keys');
    $res = get($nginx, "/api/public/v1.0/orgs/$org->{id}/apiKeys",
        key => $owner->{secret});
    is($res->code, 200, 'by digest');
    is($res->json->{totalCount}, 5, 'as it is');
    is(get($nginx, "/api/public/v1.0/orgs/$org->{id}/apiKeys/$viewer->{id}/"
        . 'whitelist', key => $owner->{secret})->code, 200,
        'older clients, too');
    is(get($nginx, '/api/atlas/v1.0/orgs', key => $owner->{secret})->code,
        404, 'and no other product');
};


subtest 'nodes.conf' => sub {
    my @nodes = map { example('nodes') } 1 .. 2;
    my $path = "/api/atlas/v1.0/orgs/$org->{id}/apiKeys";

    # all clients of both ask at once, without waiting
    for my $n (0 .. 1) {
        my $res = get($nodes[$n], $path, method => 'POST',
            key => $owner->{secret},
            body => { desc => "node $n", roles => ['ORG_MEMBER'] });
        my $made = $res->json;
        my $secret = "$made->{publicKey}:$made->{privateKey}";
        is(get($nodes[ 1 - $n ], '/', key => $secret)->code, 200,
            "made on node $n, known on the other");
        is(get($nodes[ 1 - $n ], "$path/$made->{id}", method => 'DELETE',
            key => $owner->{secret})->code, 204, 'deleted there');
        is(get($nodes[$n], '/', key => $secret)->code, 401,
            "and unknown on node $n");
    }
    like($nodes[0]->wait_for(sub { -s $nodes[0]->dir . '/apikeys/snapshot' },
        20, 'no snapshot'), qr/^\d+$/, 'a snapshot is written');
    is(get($nodes[0], '/health')->code, 200, 'its health');
    is(get($nodes[0], '/health', local => '127.0.0.2')->code, 403,
        'which is not for everybody');
};

done_testing;
