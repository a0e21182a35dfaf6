# Digest authentication of whole exchanges: other people's clients, a hostile
# one, nonces that are old, foreign, replayed or from another node, and the
# challenges by scheme.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Expect;
use ApiKeys::Fixture ();
use ApiKeys::Nonce qw( nonce );
use Digest::MD5 qw( md5_hex );
use MIME::Base64 qw( encode_base64 );
use Test::More;

my $f = ApiKeys::Fixture->new(start => 0);
my %base = %ApiKeys::Fixture::BASE;
my $base = $base{atlas_v1};

# a second port that speaks HTTP/2, and bases with other schemes
$f->nginx->configure(http => $f->http_conf(http =>
    "server {\nlisten 127.0.0.1:%%PORT_1%% http2;\n" . $f->server_conf
    . "}\n"), server => $f->server_conf(server => join '', map { <<"END" }
        location /$_->[0] {
            apikeys_api atlas_v1;
            apikeys_auth $_->[1];
        }
END
    [ 'sha256', 'digest_sha256' ], [ 'both', 'digest_sha256 digest' ],
    [ 'all', 'basic header=X-Api-Key digest_sha256 digest' ],
    [ 'basic', 'basic' ], [ 'header', 'header=X-Api-Key' ]));
$f->start;

my $url = $f->nginx->url;
my $org = $f->org;
my $keys = "$base/orgs/$org->{id}/apiKeys";
my ($public, $private) = split /:/, $org->{key}{secret};

# with an entry, for "%2F" in a target
my $block = "$keys/$org->{key}{id}/accessList/127.0.0.0%2F8";
$org->{client}->request('POST', "$keys/$org->{key}{id}/accessList",
    [ { cidrBlock => '127.0.0.0/8' } ])->code == 200 or die;


# the challenge and its document, as they were recorded

my $res = $f->client->request('GET', $keys);
challenged($res, 'a 401 has the challenge and the document of Atlas');
is(length $res->body, 142, 'the 401 document has 142 bytes');
isnt($res->header('www-authenticate'),
    $f->client->request('GET', $keys)->header('www-authenticate'),
    'no two nonces are the same');

challenged($f->client->request('GET', "/$$_[0]/"), "challenges of /$$_[0]",
    schemes => $$_[1]) for
    [ sha256 => [ 'SHA-256' ] ], [ both => [ 'MD5', 'SHA-256' ] ],
    [ all => [ 'MD5', 'SHA-256', 'Basic' ] ], [ basic => [ 'Basic' ] ],
    [ header => [] ];


# our own client, by both algorithms

for my $case ([ MD5 => $base ], [ 'SHA-256' => '/sha256' ],
    [ MD5 => '/both' ], [ 'SHA-256' => '/both' ], [ 'SHA-256' => '/all' ])
{
    my ($algorithm, $at) = @$case;
    my $client = $f->client(key => "$public:$private",
        algorithm => $algorithm);

    is($client->request('GET', "$at/?a=b&c=%2F")->code, 200,
        "$algorithm at $at");
    is($client->{nc}, 1, 'with a new nonce');
    is($client->request('GET', "$at/")->code, 200,
        "$algorithm at $at: a second request with the same nonce");
    is($client->{nc}, 2, 'with the same one');
    challenged($f->client(key => "$public:x$private",
        algorithm => $algorithm)->request('GET', "$at/"),
        'not with a wrong secret', schemes => {
            $base => [ 'MD5' ], '/sha256' => [ 'SHA-256' ],
            '/both' => [ 'MD5', 'SHA-256' ],
            '/all' => [ 'MD5', 'SHA-256', 'Basic' ] }->{$at});
}

my %basic = (Authorization => 'Basic ' . encode_base64("$public:$private", ''));
my %header = ('X-Api-Key' => "$public:$private");

is($f->client->plain('GET', '/basic/', undef, headers => \%basic)->code, 200,
    'basic');
is($f->client->plain('GET', '/header/', undef, headers => \%header)->code, 200,
    'a header');
is($f->client->plain('GET', $_->[0], undef, headers => $_->[1])->code, 401,
    "no $_->[2]") for
    [ "$base/", \%basic, 'basic where it is not offered' ],
    [ "$base/", \%header, 'header where it is not offered' ],
    [ '/header/', \%basic, 'basic for a header' ],
    [ '/all/', { %basic, %header }, 'two credentials' ],
    [ '/header/', { 'X-Api-Key' => [ %header{'X-Api-Key'} ] },
        'header twice' ],
    [ '/header/', { 'X-Api-Key' => $public }, 'header without a colon' ],
    [ '/header/', { 'X-Api-Key' => "$public:" }, 'empty secret' ],
    [ '/header/', { 'X-Api-Key' => ":$private" }, 'empty name' ],
    [ '/header/', { 'X-Api-Key' => '' }, 'empty header' ],
    [ '/header/', { 'X-Api-Key' => "$public:$private " x 2 }, 'doubled' ],
    [ '/basic/', { Authorization => 'Basic' }, 'empty basic' ],
    [ '/basic/', { Authorization => 'Basic !!!' }, 'basic of no base64' ],
    [ '/basic/', { Authorization => 'Basic '
        . encode_base64("$public", '') }, 'basic without a colon' ];


# other people's clients

sub run {
    my (@command) = @_;

    my $pid = open my $out, '-|';
    defined $pid or die "fork: $!\n";
    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        { exec @command };
        print "$command[0]: $!\n";
        POSIX::_exit(127);
    }
    local $/;
    my $text = <$out> // '';
    close $out;
    return $text;
}

sub created { return qr/"privateKey":"[0-9a-f]{8}-/ }

my $new = '{"desc":"x","roles":["ORG_MEMBER"]}';
my @curl = (qw( curl -s --digest --max-time 20 -w %{http_code} -u ),
    "$public:$private");

like(run(@curl, "$url$keys?pretty=false&itemsPerPage=5"),
    qr/"totalCount":\d+\}200$/, 'curl: GET');
like(run(@curl, qw( -X POST -H Content-Type:application/json -d ), $new,
    "$url$keys"), created(), 'curl: POST');
like(run(@curl, "$url$block"), qr/"cidrBlock":"127.0.0.0\/8".*200$/,
    'curl: %2F');
like(run(@curl, "$url/both/"), qr/200$/, 'curl: both algorithms offered');
like(run(@curl, "$url/sha256/"), qr/200$/, 'curl: SHA-256');
like(run(@curl, '-I', "$url$keys"), qr{^HTTP/1.1 200 .*200$}ms,
    'curl: HEAD');
like(run(@curl, map { "$url$base/" } 1 .. 3), qr/(?:\}200\{.*){2}\}200$/,
    'curl: three on one connection');
like(run(qw( curl -s --digest --max-time 20 -w %{http_code} -u ),
    "$public:wrong", "$url$keys"), qr/401$/, 'curl: a wrong secret');
like(run(qw( curl -s --anyauth --max-time 20 -w %{http_code} -u ),
    "$public:$private", "$url/all/"), qr/200$/, 'curl: whatever it likes');

my @wget = ('wget', '-q', '-O', '-', '--tries=1', '--timeout=20',
    "--user=$public");
like(run(@wget, "--password=$private", "$url$keys"), qr/"totalCount"/,
    'wget: GET');
like(run(@wget, "--password=$private", '--header',
    'Content-Type: application/json', "--post-data=$new", "$url$keys"),
    created(), 'wget: POST');
like(run(@wget, "--password=$private", "$url/both/"), qr/"apiKey"/,
    'wget: both algorithms offered');
unlike(run(@wget, '--password=x', "$url$keys"), qr/"totalCount"/,
    'wget: a wrong secret');

like(run('python3', '-c', <<'END', $url, $keys, $block, $public, $private),
import sys, requests
from requests.auth import HTTPDigestAuth
url, keys, block, public, private = sys.argv[1:]
s = requests.Session()
s.trust_env = False
s.auth = HTTPDigestAuth(public, private)
new = {'desc': 'x', 'roles': ['ORG_MEMBER']}
print([s.get(url + keys, params={'a': 'b c', 'd': '/'}).status_code
       for i in range(3)], s.post(url + keys, json=new).status_code,
      s.get(url + block).status_code, s.get(url + '/both/').status_code)
s.auth = HTTPDigestAuth(public, 'wrong')
print(s.get(url + keys).status_code)
END
    qr/^\[200, 200, 200\] 200 200 200\n401$/, 'requests');

{
    require LWP::UserAgent;

    my $ua = LWP::UserAgent->new(keep_alive => 1, timeout => 20);
    $ua->credentials($url =~ s{http://}{}r, 'MMS Public API', $public,
        $private);
    is($ua->get("$url$keys")->code, 200, 'LWP: GET') for 1 .. 2;
    is($ua->get("$url$block")->code, 200, 'LWP: %2F');
    like($ua->post("$url$keys", 'Content-Type' => 'application/json',
        Content => $new)->content, created(), 'LWP: POST');
    is($ua->get("$url/both/")->code, 200, 'LWP: both algorithms offered');
}

SKIP: {
    my $root = "$FindBin::Bin/..";
    my ($dir) = run('sh', '-c', "command -v npm >/dev/null && "
        . "$root/util/npm") =~ m{^(/.*)$}m;

    skip 'no npm', 3 if !$dir || !-d "$dir/node_modules/urllib";
    local $ENV{NODE_PATH} = "$dir/node_modules";

    like(run('node', '-e', <<'END', $url, $keys, $block, $public, $private),
const [url, keys, block, pub, priv] = process.argv.slice(1);
const { request } = require('urllib');
(async () => {
    const o = { digestAuth: `${pub}:${priv}`, dataType: 'json' };
    const a = await request(url + keys + '?pretty=true', o);
    const b = await request(url + keys, { ...o, method: 'POST',
        contentType: 'json', data: { desc: 'x', roles: ['ORG_MEMBER'] } });
    const c = await request(url + block, o);
    const d = await request(url + keys, { digestAuth: `${pub}:wrong` });
    console.log(a.status, b.status, c.status, d.status);
})();
END
        qr/^200 200 200 401$/m, 'urllib');
    like(run('node', '-e', <<'END', $url, $keys, $block, $public, $private),
const [url, keys, block, pub, priv] = process.argv.slice(1);
(async () => {
    const m = await import('digest-fetch').catch(() => require('digest-fetch'));
    const Digest = [m, m.default, m.DigestClient, (m.default || {}).default]
        .find(x => typeof x === 'function');
    const c = new Digest(pub, priv);
    const a = await c.fetch(url + keys);
    const b = await c.fetch(url + keys);
    const d = await c.fetch(url + block);
    const e = await c.fetch(url + keys, { method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ desc: 'x', roles: ['ORG_MEMBER'] }) });
    console.log(a.status, b.status, d.status, e.status);
})();
END
        qr/^200 200 200 200$/m, 'digest-fetch');
    like(run('node', '-e', <<'END', $url, $base, $org->{id}, $public, $private),
const [url, base, org, publicKey, privateKey] = process.argv.slice(1);
const get = require('mongodb-atlas-api-client');
const client = (get.default || get)({ publicKey, privateKey,
    baseUrl: url + base, projectId: org });
(async () => {
    const list = await client.organization.getAll();
    console.log(list.results.map(x => x.id).join());
})().catch(e => console.log(e));
END
        qr/^$org->{id}$/m, 'mongodb-atlas-api-client');
}


# what a client can get wrong in the header; each at a nonce of its own

sub fresh {
    my $challenge = $f->client->plain('GET', "$base/")->challenge;

    return (user => $public, password => $private, method => 'GET',
        uri => "$base/", %$challenge);
}

sub header_for { return ApiKeys::Client::digest_header(fresh(), @_) }

# $change->(a good header) is sent
sub try_header {
    my ($title, $want, $change) = @_;

    my $header = header_for();
    $header = ref $change ? do { local $_ = $header; $change->($_) }
        : $change;
    my $client = $f->client;
    my $res = $client->plain('GET', "$base/", undef, headers =>
        { Authorization => $header });

    return is($res && $res->code, $want, $title) if $want ne 401;
    challenged($res, $title);
    is($client->plain('GET', "$base/", undef, headers =>
        { Authorization => header_for() })->code, 200,
        "$title: the connection serves the next request");
}

# as good clients vary (docs/compatibility.md D23)
try_header("good: $_->[0]", 200, $_->[1]) for
    [ 'as it is', sub { $_ } ],
    [ 'lower case scheme', sub { s/^Digest/digest/r } ],
    [ 'algorithm quoted', sub { s/algorithm=MD5/algorithm="MD5"/r } ],
    [ 'algorithm absent', sub { s/algorithm=MD5, //r } ],
    [ 'algorithm in lower case', sub { s/algorithm=MD5/algorithm=md5/r } ],
    [ 'qop quoted', sub { s/qop=auth/qop="auth"/r } ],
    [ 'nc quoted', sub { s/nc=(\w+)/nc="$1"/r } ],
    ( map { my $nc = $_; [ "nc=$nc", sub { header_for(nc => $nc) } ] }
        '1', '0000001', 'a', 'A', '7fff' ),
    [ 'no blanks', sub { s/, /,/gr } ],
    [ 'many blanks', sub { s/, / \t,  \t /gr } ],
    [ 'blanks around =', sub { s/="/ = "/gr } ],
    [ 'empty elements', sub { s/, /,, ,/gr . ',' } ],
    [ 'another order', sub { my ($s, $p) = split / /, $_, 2;
        "$s " . join ', ', reverse split /, /, $p } ],
    [ 'unknown parameters', sub { "$_, opaque=\"x\", foo=bar, x-y=\"\"" } ],
    [ 'a comma in a string', sub { "$_, foo=\"a, b=c\"" } ],
    [ 'upper case names', sub { s/(\w+)=/\U$1=/gr } ],
    [ 'userhash=false', sub { "$_, userhash=false" } ],
    [ 'a thousand parameters', sub { $_ . ', a=b' x 1000 } ];

try_header("bad: $_->[0]", $_->[2] // 401, $_->[1]) for
    [ 'nothing after the scheme', 'Digest' ],
    [ 'a blank after it', 'Digest ' ],
    [ 'a comma after it', 'Digest ,' ],
    [ 'empty', '' ],
    [ 'no scheme', sub { s/^Digest //r } ],
    [ 'another scheme', sub { s/^Digest/Digestx/r } ],
    [ 'Basic', 'Basic ' . encode_base64("$public:$private", '') ],
    [ 'Basic with digest parameters', sub { s/^Digest/Basic/r } ],
    [ 'Bearer', 'Bearer x' ],
    [ 'Bearer with the secret', "Bearer $private" ],
    [ 'Negotiate', 'Negotiate YII=' ],
    [ 'garbage', "\x80\xff\xfe" ],
    [ 'a tab as separator', sub { s/^Digest /Digest\t/r } ],
    ( map { my $name = $_;
        [ "no $name", sub { s/\b$name=(?:"[^"]*"|\w+)(?:, )?//r } ],
        [ "$name twice", sub { s/(\b$name=(?:"[^"]*"|\w+))/$1, $1/r } ],
        [ "empty $name", sub { s/\b$name=(?:"[^"]*"|\w+)/$name=""/r } ],
        [ "$name without a value", sub { s/\b$name=(?:"[^"]*"|\w+)/$name/r } ],
        [ "nothing behind $name=", sub { s/\b$name=(?:"[^"]*"|\w+)/$name=/r } ],
        [ "a long $name", sub { my $x = 'x' x 6000;
            s/\b$name=(?:"[^"]*"|\w+)/$name="$x"/r } ],
    } qw( username realm nonce uri response qop nc cnonce ) ),
    [ 'algorithm twice', sub { s/(algorithm=MD5)/$1, $1/r } ],
    [ 'empty algorithm', sub { s/algorithm=MD5/algorithm=""/r } ],
    [ 'algorithm SHA-256 where it is not offered',
        sub { header_for(algorithm => 'SHA-256') } ],
    [ 'algorithm SHA-256 with a response of MD5',
        sub { s/algorithm=MD5/algorithm=SHA-256/r } ],
    ( map { my $a = $_; [ "algorithm $a",
        sub { s/algorithm=MD5/algorithm=$a/r } ] }
        'MD5-sess', 'SHA-256-sess', 'SHA-512-256', 'MD4', 'MD5x', 'none' ),
    [ 'a string that does not end', sub { s/"$//r } ],
    [ 'a quote in a string', sub { s/username="/username="a"/r } ],
    [ 'a backslash', sub { s/username="/username="\\/r } ],
    [ 'an escaped letter', sub { s/username="(\w)/username="\\$1/r } ],
    [ 'no comma', sub { s/, / /r } ],
    [ 'a semicolon', sub { s/, /; /r } ],
    [ 'a parameter without a name', sub { "$_, =x" } ],
    [ 'a parameter without a value', sub { "$_, foo" } ],
    [ 'text behind a string', sub { s/(username="[^"]*")/$1x/r } ],
    [ 'username*', sub { "$_, username*=UTF-8''$public" } ],
    [ 'username* alone', sub { s/username="(\w+)"/username*=UTF-8''$1/r } ],
    [ 'userhash', sub { "$_, userhash=true" } ],
    [ 'another realm', sub { header_for(realm => 'mms public api') } ],
    [ 'no realm at all', sub { header_for(realm => '') } ],
    [ 'another uri', sub { header_for(uri => "$base/orgs") } ],
    [ 'the uri with a query', sub { header_for(uri => "$base/?") } ],
    [ 'an absolute uri', sub { header_for(uri => "$url$base/") } ],
    [ 'the uri decoded', sub { header_for(uri => '/api/atlas/v1%2E0/') } ],
    [ 'another method', sub { header_for(method => 'POST') } ],
    [ 'qop=auth-int', sub { s/qop=auth/qop=auth-int/r } ],
    [ 'qop of both', sub { s/qop=auth/qop="auth,auth-int"/r } ],
    [ 'qop in upper case', sub { s/qop=auth/qop=AUTH/r } ],
    [ 'no qop, as RFC 2069 has it', sub { header_for(qop => undef) } ],
    ( map { my $nc = $_; [ "nc=$nc", sub { header_for(nc => $nc) } ] }
        '00000000', '0', '000000001', '0000000g', '-0000001',
        '0x000001', '00000001 ', "\xb1\xb1\xb1\xb1\xb1\xb1\xb1\xb1" ),
    [ 'nc with zeros that were not hashed',
        sub { header_for(nc => '1') =~ s/nc=1/nc=00000001/r } ],
    [ 'nc without the zeros that were hashed',
        sub { s/nc=00000001/nc=1/r } ],
    [ 'nc other than was hashed', sub { s/nc=00000001/nc=00000002/r } ],
    [ 'cnonce other than was hashed', sub { s/cnonce="/cnonce="0/r } ],
    [ 'a short response', sub { s/(response="\w{31})\w/$1/r } ],
    [ 'a longer response', sub { s/(response="\w{32})/${1}0/r } ],
    [ 'a response that is not hex', sub { s/(response=")\w/${1}g/r } ],
    [ 'a wrong response', sub { s/(response=")(\w)/$1 . ($2 eq '0' ? 1 : 0)/er
        } ],
    [ 'a response with the length of SHA-256',
        sub { s/(response="\w{32})/$1 . '0' x 32/er } ],
    [ 'an unknown user', sub { header_for(user => 'aaaaaaaa') } ],
    [ 'a user in upper case', sub { header_for(user => uc $public) } ],
    [ 'a user with a blank', sub { header_for(user => "$public ") } ],
    [ 'the id as the user', sub { header_for(user => $org->{key}{id}) } ],
    [ 'the redacted secret', sub { header_for(password =>
        $private =~ s/.*-/********-****-****-/r) } ],
    [ 'a NUL', sub { s/username="/username="\0/r }, 400 ],
    [ 'a header that is too long', sub { $_ . ', a=b' x 3000 }, 400 ];

{
    my @two = map { header_for() } 1 .. 2;
    my $res = $f->client->plain('GET', "$base/", undef,
        headers => { Authorization => \@two });
    is($res->code, 400, 'two headers are a bad request');
}


# MongoDB's Kubernetes operator: each call first without a body and without
# credentials; of the challenge it takes what stands between the first quotes
# of each part, and it writes the count without zeros

{
    my $target = "$base{ops_manager}/groups";
    my $project = qq({"orgId":"$org->{id}","name":"operator"});
    my $client = $f->client(headers => { 'User-Agent' => 'Go-http-client/1.1',
        'Accept-Encoding' => 'gzip' });
    my %headers = ('Content-Type' => 'application/json; charset=UTF-8',
        Provider => 'KUBERNETES');

    my $res = $client->plain('POST', $target, undef, headers => {
        %headers, 'Content-Length' => 0 });
    challenged($res, 'the Kubernetes operator: the call without credentials');

    my %part;
    for my $text (split /,/, ($res->header('www-authenticate'))[0]) {
        my ($name) = $text =~ /(nonce|realm|qop)/ or next;
        $part{$name} = (split /"/, $text)[1];
    }
    is_deeply([ sort keys %part ], [ qw( nonce qop realm ) ],
        'the client finds realm, nonce and qop in the challenge');

    my $ha1 = md5_hex("$public:$part{realm}:$private");
    my $ha2 = md5_hex("POST:$target");
    my $response = md5_hex("$ha1:$part{nonce}:1:0123456789abcdef:"
        . "$part{qop}:$ha2");
    my $header = qq(Digest username="$public", realm="$part{realm}", )
        . qq(nonce="$part{nonce}", uri="$target", )
        . qq(cnonce="0123456789abcdef", nc=1, qop=$part{qop}, )
        . qq(response="$response", algorithm="MD5");

    $res = $client->plain('POST', $target, $project, headers => {
        %headers, Authorization => $header });
    is($res->code, 201,
        'the client is admitted with the digest computed from the challenge');
    is($res->json->{name}, 'operator',
        'the admitted request creates the project');
    challenged($client->plain('POST', $target, $project, headers => {
        %headers, Authorization => $header }), 'the digest is accepted once');
}


# targets; what is hashed is what was sent

for my $target ("$base/orgs/$org->{id}/apiKeys?itemsPerPage=1", $block,
    $block =~ s/%2F/%2f/r, $block =~ s/%2F/\//r, "$base//", "$base/./",
    "$base/x/../", "$base/%6frgs", "$base/?a=%22&b=\xc3\xa9&c='", "$base?")
{
    is($org->{client}->request('GET', $target)->code, 200, "GET $target");
}
is($org->{client}->request('HEAD', $keys)->code, 200, 'HEAD');
{
    my %p = fresh();
    my $client = $f->client;
    my $send = sub {
        my ($target, $uri) = @_;
        %p = fresh();
        $client->plain('GET', $target, undef, headers => { Authorization =>
            ApiKeys::Client::digest_header(%p, uri => $uri) })->code;
    };
    is($send->("$url$base/", "$base/"), 200,
        'an absolute target, and its path in the header');
    is($send->("$base/#x", "$base/"), 401, 'not without the fragment sent');
    is($send->("$base/orgs", "$base/"), 401, 'not for another resource');
    is($send->("$base/?a=b", "$base/"), 401, 'not without the query');
}


# HTTP/2; this curl sends one request on such a connection, so the nonce
# comes from elsewhere

sub http2 {
    my ($method, $uri, @options) = @_;

    my $header = ApiKeys::Client::digest_header(fresh(), method => $method,
        uri => $uri);
    return run(qw( curl -s --http2-prior-knowledge --max-time 20 -w ),
        ' %{http_code} %{http_version}', '-X', $method, '-H',
        "Authorization: $header", @options, $f->nginx->url(1) . $uri);
}

like(http2('GET', "$keys?itemsPerPage=1"), qr/"totalCount":\d+\} 200 2$/,
    'HTTP/2: GET');
like(http2('GET', $block), qr/"127.0.0.0\/8".* 200 2$/, 'HTTP/2: %2F');
like(http2('POST', $keys, '-H', 'Content-Type: application/json', '-d', $new),
    created(), 'HTTP/2: POST');
like(http2('GET', "$base/", '-H', 'Authorization: Digest x'), qr/ 40[01] 2$/,
    'HTTP/2: two headers');
like(run(qw( curl -s --http2-prior-knowledge --max-time 20 -i ),
    $f->nginx->url(1) . "$base/"), qr{^HTTP/2\ 401.*^www-authenticate:
    \ Digest\ realm="MMS\ Public\ API".*"errorCode"\ :}msx,
    'HTTP/2: the challenge');


# nonces

sub with_nonce {
    my ($nonce, %opt) = @_;

    return $f->client->plain('GET', "$base/", undef, headers => {
        Authorization => header_for(nonce => $nonce, %opt) });
}

my $master = $f->{master_key};

is(with_nonce(nonce($master, $_))->code, 200, "a nonce of $_ s from now")
    for 0, 20;

# those of -60 and -85 s are young enough, but older than the zone: another
# zone of the node may have accepted them
$f->nginx->quit;
$f->nginx->start;
$f->wait_loaded($f->nginx);

for my $offset (-60, -85, -100, -600, -86_400, 40, 3600) {
    my $old = nonce($master, $offset);

    challenged(with_nonce($old), "a nonce of $offset s from now is stale",
        stale => 1);
    challenged(with_nonce($old, password => 'x'),
        "a nonce of $offset s from now and a wrong secret: stale=false");
    challenged(with_nonce($old, user => 'aaaaaaaa'),
        "a nonce of $offset s from now and an unknown user: stale=false");
    challenged(with_nonce($old, uri => "$base/orgs"),
        "a nonce of $offset s from now and another uri: stale=false");
}
my $other = encode_base64('x' x 32, '');
challenged(with_nonce(nonce($other, 0)), 'a foreign nonce is stale',
    stale => 1);
challenged(with_nonce(nonce($other, 0), password => 'x'),
    'a foreign nonce and a wrong secret: stale=false');
challenged(with_nonce($_), 'a nonce that no node made is stale: '
    . substr($_, 0, 40), stale => 1) for 'A' x 32, 'x' x 31, 'x' x 33,
    '*' x 32, 'x' x 31 . '=', 'x' x 5000, 'x', '';

# a client that heeds it: an old nonce costs one more exchange
{
    my $client = $f->client(key => "$public:$private");
    $client->request('GET', "$base/");
    $client->{challenge}{nonce} = nonce($master, -1000);
    is($client->request('GET', "$base/")->code, 200,
        'a client goes on after a stale nonce');
}


# counts

{
    my %p = fresh();
    my $count = sub {
        my ($nc, %opt) = @_;
        return $f->client->plain('GET', "$base/", undef, headers => {
            Authorization => ApiKeys::Client::digest_header(%p,
                nc => sprintf('%08x', $nc), %opt) })->code;
    };

    is($count->(1), 200, 'the first count');
    is($count->(1), 401, 'the same nonce count a second time is refused');
    is($count->(1, cnonce => 'other'), 401,
        'the same nonce count with another cnonce is refused');
    is($count->(3), 200, 'a nonce count may be skipped');
    is($count->(2), 200, 'a skipped nonce count is accepted later');
    is($count->(2), 401, 'a late nonce count is accepted once');
    is($count->(3), 401, 'a used nonce count is refused');
    is($count->(20), 200, 'a nonce count of 20 after 3 is accepted');
    is(join(' ', map { $count->($_) } 10, 19, 11, 18), '200 200 200 200',
        'in any order');
    is($count->(40), 200, 'a nonce count of 40 after 20 is accepted');
    is($count->(8), 200, 'a nonce count 32 behind the highest is accepted');
    is($count->(7), 401, 'a nonce count 33 behind the highest is refused');
    is($count->(99, password => 'x'), 401,
        'a wrong secret with a new nonce count is refused');
    is($count->(99), 200, 'a wrong secret does not use up the nonce count');
    is($count->(66), 401, 'a count far behind is too old');
    is($count->(0xffffffff), 401, 'one far ahead is not believed');
    is($count->(100), 200, 'a refused nonce count does not move the window');
}
{
    my %p = fresh();
    my $send = sub { $f->client->plain('GET', "$base/", undef, headers => {
        Authorization => ApiKeys::Client::digest_header(%p, @_) })->code };

    is($send->(nc => '00000002'), 200, 'any first count is taken');
    is($send->(nc => '00000001'), 200, 'also before the first seen');

    %p = fresh();
    is($send->(nc => '1'), 200, 'a count of one digit');
    is($send->(nc => $_), 401, "is that of $_") for qw( 1 01 00000001 );
    is($send->(nc => 'a'), 200, 'a count of one hexadecimal digit');
    is($send->(nc => $_), 401, "is that of $_") for qw( A 0000000a );

    my $key = $f->key($org, 'ORG_MEMBER');
    my ($user, $password) = split /:/, $key->{secret};
    %p = fresh();
    is($send->(nc => '00000001'), 200, 'a nonce used by one key');
    is($send->(nc => '00000002', user => $user, password => $password), 200,
        'by another');
}


# an answer to HEAD has no body, which would precede the next answer
for my $path ("$base/", $keys, "$base/nosuch") {
    my $client = $f->client(key => "$public:$private");
    $client->request('HEAD', $path);
    is($client->request('GET', "$base/")->code, 200,
        "a connection answers the request that follows HEAD $path");
}


# another node over the same database, with the same master key

{
    my $second = $f->node;
    $second->start;
    $f->wait_loaded($second);

    my $client = $f->client(key => "$public:$private");
    $client->request('GET', "$base/");
    my $there = $f->client(nginx => $second, key => "$public:$private",
        challenge => $client->{challenge}, nc => $client->{nc});
    is($there->request('GET', "$base/")->code, 200,
        "one node's nonce serves on another");
    is($there->{nc}, $client->{nc} + 1,
        "another node accepts the nonce without a new challenge");
    $second->quit;
}

done_testing;
