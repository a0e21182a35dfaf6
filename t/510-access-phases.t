# Where in the life of a request it is decided: beside other access modules,
# across redirects and subrequests, behind realip and in front of limit_req;
# and that there is no way around.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Access ();
use IO::Socket::INET ();
use IO::Socket::UNIX ();
use MIME::Base64 qw( encode_base64 );
use Test::More;

my $t = ApiKeys::Access->new(zone => '4m');

my $org = $t->org;
my ($one, $two) = map { $t->project($org) } 1 .. 2;
my $owner = $org->{key};
my $member = $t->key($org, 'ORG_MEMBER');
my $viewer = $t->assign($org, $one, $t->key($org, 'ORG_MEMBER'),
    'GROUP_READ_ONLY');
my $far = $t->allow($org, $t->key($org, 'ORG_MEMBER'), '198.51.100.0/24',
    '2001:db8::/32');
my $near = $t->allow($org, $t->key($org, 'ORG_MEMBER'), '127.0.0.1/32');
my $strict = $t->org;
my $listless = $strict->{key};
$t->db->psql("UPDATE apikeys.orgs SET access_list_required = true
               WHERE id = '$strict->{id}'");
$t->settle;

my @basic = (scheme => 'basic');
my $dir = $t->nginx->dir;

sub basic { return 'Basic ' . encode_base64($_[0]{secret}, '') }

sub challenges {
    return join ' ', map { /^(\S+)/ } $_[0]->header('www-authenticate');
}

# 1.026003 of 1.26.3
my ($version) = map { sprintf '%d.%03d%03d', split /\./ }
    qx{$t->{fixture}{nginx}{binary} -V 2>&1}
        =~ m{nginx/(\d+\.\d+\.\d+)};

$t->nginx->write_file('html/page.html', 'the page');
$t->nginx->write_file('html/sorry.html', 'sorry');
mkdir "$dir/html/$_" for qw( dir ssi );
$t->nginx->write_file('html/dir/start.html', 'a start');
$t->nginx->write_file('html/tail', 'a tail');
$t->nginx->write_file('html/ssi/page.html',
    '[<!--# include virtual="/sub/gate" -->]'
    . '[<!--# include virtual="/p/' . $one->{id} . '/echo" -->]'
    . '[<!--# include virtual="/p/' . $two->{id} . '/echo" -->]');
$t->nginx->write_file('users', 'u:{PLAIN}p' . "\n");

# Debian's nginx has it, one with sanitizers perhaps not
my $addition = qx{$t->{fixture}{nginx}{binary} -V 2>&1} =~ /http_addition/;

my $upstream = <<'END';
    server {
        listen 127.0.0.1:%%PORT_2%%;
        access_log %%DIR%%/upstream.log;
        apikeys_auth off;
        location / { return 200 'echo $uri [$http_authorization]'; }
        location = /accel {
            add_header X-Accel-Redirect $arg_to;
            return 200;
        }
        location = /refuse {
            add_header WWW-Authenticate 'Basic realm="up"' always;
            return 401;
        }
    }
END

$t->serve(<<'END' . ($addition ? <<'ADDITION' : ''), http => $upstream);
    # other access modules
    location /any/allow { satisfy any; allow 127.0.0.1; deny all;
                          apikeys_auth digest; empty_gif; }
    location /any/deny { satisfy any; deny all;
                         apikeys_auth digest basic; empty_gif;
        location /any/deny/role { apikeys_require role=ORG_OWNER; empty_gif; }
        location /any/deny/dry { apikeys_dry_run on; empty_gif; } }
    location /any/user { satisfy any; auth_basic "users";
                         auth_basic_user_file %%DIR%%/users;
                         apikeys_auth basic digest; empty_gif;
        location /any/user/dry { apikeys_dry_run on; empty_gif; } }
    location /all/deny { deny all; apikeys_auth basic; empty_gif; }
    location /all/allow { allow 127.0.0.1; deny all; apikeys_auth basic;
                          empty_gif; }
    location /all/dry { deny all; apikeys_auth basic; apikeys_dry_run on;
                        empty_gif; }

    # error pages
    location = /sorry.html { }
    location @named { return 403 "named"; }
    location @asked { rewrite ^ /refuse break;
                      proxy_pass http://127.0.0.1:%%PORT_2%%; }
    location /page/uri { apikeys_auth digest basic; error_page 401 /sorry.html;
                         apikeys_require role=ORG_OWNER;
                         error_page 403 @named; empty_gif; }
    location /page/200 { apikeys_auth basic; error_page 401 =200 /sorry.html;
                         empty_gif; }
    location /page/named { apikeys_auth basic; error_page 401 = @asked;
                           empty_gif; }
    location /page/in { error_page 404 = /gate/page.html; }
    location /page/lost { apikeys_auth digest;
                          error_page 404 = /gate/page.html; }

    # redirects
    location /gate/ { apikeys_auth digest basic; alias %%DIR%%/html/; }
    location /other/ { apikeys_auth digest header=X-Api-Key;
                       rewrite ^ /gate/page.html last; }
    location /third/ { apikeys_auth header=X-Other digest;
                       error_page 404 = /gate/page.html; }
    location /narrow/ { apikeys_auth basic; alias %%DIR%%/html/; }
    location /wide/ { apikeys_auth digest basic;
                      error_page 404 = /narrow/page.html; }
    location /try { try_files /nosuch /gate/page.html; }
    location /dir/ { index start.html; }
    location = /dir/start.html { apikeys_auth basic; }
    location /rewritten { rewrite ^ /gate/page.html last; }
    location = /slow { apikeys_auth basic;
                       proxy_pass http://127.0.0.1:%%PORT_4%%; }
    location /accel/ { proxy_pass http://127.0.0.1:%%PORT_2%%/accel; }
    location ~ "^/p/([0-9a-f]{24})/(.*)$" {
        apikeys_auth digest basic;
        apikeys_require project=$1;
        proxy_pass http://127.0.0.1:%%PORT_2%%/$2$is_args$args;
    }
    location ~ "^/q/(?<q>[0-9a-f]{24})/(?<rest>.*)$" {
        apikeys_auth basic;
        apikeys_require project=$q;
        proxy_pass http://127.0.0.1:%%PORT_2%%/$rest$is_args$args;
    }

    # subrequests
    location = /sub/gate { apikeys_auth digest basic;
                           apikeys_require role=ORG_OWNER;
                           proxy_pass http://127.0.0.1:%%PORT_2%%/in; }
    location = /sub/ask { auth_request /sub/gate;
                          alias %%DIR%%/html/page.html; }
    location = /sub/post { auth_request /sub/post/gate;
                           alias %%DIR%%/html/page.html; }
    location = /sub/post/gate { apikeys_auth basic;
                                apikeys_require role=ORG_OWNER method=POST;
                                proxy_pass http://127.0.0.1:%%PORT_2%%/in; }
    location /ssi/ { ssi on; ssi_types *; }
    location = /sub/tail { apikeys_auth basic; alias %%DIR%%/html/tail; }
    location = /sub/mirror { mirror /sub/mirrored;
                             alias %%DIR%%/html/page.html; }
    location = /sub/mirrored { internal; apikeys_auth basic;
                        proxy_pass http://127.0.0.1:%%PORT_2%%/mirrored; }
    location = /sub/dry { apikeys_auth basic; apikeys_dry_run on;
                          apikeys_require role=ORG_OWNER;
                          alias %%DIR%%/html/tail; }
    location = /sub/api { auth_request /api/atlas/v1.0; empty_gif; }
    location = /sub/own { apikeys_auth basic; ssi on; ssi_types *;
                          alias %%DIR%%/html/ssi/page.html; }

    # what runs before access
    location /early/return { apikeys_auth basic; return 200 "early"; }

    location = /free { alias %%DIR%%/html/page.html; }
    location = /status { apikeys_status; }
END
    location = /sub/add { alias %%DIR%%/html/page.html; addition_types *;
                          add_after_body /sub/tail; }
ADDITION


# satisfy, with allow, deny and auth_basic

my $res = $t->is('/any/allow', undef, 200, 'no_credential',
    'any: allow is enough');
$t->is('/any/deny', $member, 200, 'allow', 'any: a key is enough', @basic);
$res = $t->is('/any/deny', undef, 401, 'no_credential', 'any: neither');
is(challenges($res), 'Digest Basic', 'any: the challenges');
$t->is('/any/deny/role', $member, 403, 'role', 'any: not the role', @basic);
$t->is('/any/deny/dry', $owner, 403, 'allow',
    'any: a dry run grants nothing', @basic);
$t->is('/any/deny/dry', undef, 403, 'no_credential',
    'any: nor does it ask for a key');
$t->is('/any/user', 'u:p', 200, 'unknown_key', 'any: a user', @basic);
$t->is('/any/user', $member, 200, 'allow', 'any: a key, by basic', @basic);
$t->is('/any/user', $member, 200, 'allow', 'any: a key, by digest');
$res = $t->is('/any/user', undef, 401, 'no_credential', 'any: neither of two');
is(challenges($res), 'Digest Basic Basic', 'digest goes before auth_basic');
$res = $t->is('/any/user/dry', $member, 401, 'allow',
    'any: no grant by a dry run beside auth_basic', @basic);
is(challenges($res), 'Basic', 'and the challenge of auth_basic alone');
$t->is('/all/deny', $member, 403, 'allow', 'all: denied with a key', @basic);
$t->is('/all/deny', undef, 403, 'no_credential',
    'all: denied before anybody is asked for a key');
$t->is('/all/allow', undef, 401, 'no_credential', 'all: allowed without one');
$t->is('/all/allow', $member, 200, 'allow', 'all: both', @basic);
$t->is('/all/dry', $member, 403, 'allow', 'all: denied in a dry run', @basic);


# error pages

$res = $t->is('/page/uri', undef, 401, 'no_credential', 'a page by its URI');
is($res->body, 'sorry', 'its body');
is(challenges($res), 'Digest Basic', 'with the challenges');
$t->is('/page/uri', $owner, 200, 'allow', 'a digest client goes on from it');
$res = $t->is('/page/uri', $member, 403, 'role', 'a named page');
is($res->body, 'named', 'its body');
$res = $t->is('/page/200', undef, 200, 'no_credential', 'a page with =200');
is(challenges($res), '', 'asks for nothing');
$res = $t->is('/page/named', undef, 401, 'no_credential',
    'a page from an upstream that refuses by itself');
is(challenges($res), 'Basic Basic', 'has both challenges');
is($res->header('www-authenticate'), 'Basic realm="MMS Public API"',
    'ours first');
$t->is('/page/in', undef, 401, 'no_credential', 'an error page behind a key');
$t->is('/page/in', $member, 200, 'allow', 'which is shown with one');
$t->is('/page/in', $member, 200, 'allow', 'also where a POST ended there',
    method => 'POST', body => '');
$t->is('/page/lost', $member, 200, 'allow',
    'a 404 in one location, its page in another');


# redirects: authenticated once, judged in each location

$t->is($_, undef, 401, 'no_credential', "$_ without a key")
    for '/try', '/dir/', '/rewritten', '/accel/?to=/gate/page.html';
$t->is($_, $member, 200, 'allow', "$_ with a key")
    for '/try', '/rewritten', '/accel/?to=/gate/page.html';
$t->is('/dir/', $member, 200, 'allow', '/dir/ with a key', @basic);
$t->is('/other/', $member, 200, 'allow', 'two locations, one digest');
$t->is('/third/', $member, 200, 'allow',
    'two locations with headers of their own');
$t->is('/wide/', $member, 401, 'bad_credential',
    'the second takes no such credential');
$t->is('/wide/', $member, 200, 'allow', 'the second takes it', @basic);

for my $base (qw( p q )) {
    my ($first, $second) = map { "/$base/$_->{id}" } $one, $two;

    $t->is("$first/echo", $viewer, 200, 'allow', "$base: own", @basic);
    $t->is("$second/echo", $viewer, 403, 'role', "$base: another's", @basic);
    $t->is("$first/accel?to=$first/echo", $viewer, 200, 'allow',
        "$base: from the own to the own", @basic);
    $res = $t->is("$first/accel?to=$second/echo", $viewer, 403, 'role',
        "$base: from the own to another's, in the same location", @basic);
    unlike($res->body, qr/echo/, "$base: and nothing of it is shown");
    $t->is("$first/accel?to=$second/echo", $owner, 200, 'allow',
        "$base: whoever has both", @basic);
}

# a key that goes away while its request is under way
my $slow = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1',
    LocalPort => $t->nginx->port(4)) or die "listen: $@\n";

sub meanwhile {
    my ($id, $answer) = @_;

    my $key = $t->key($org, 'ORG_MEMBER');
    my $client = $t->fixture->client;
    $client->send($client->format('GET', '/slow', undef,
        headers => { Authorization => basic($key), 'X-Id' => $id }));

    my $asked = $slow->accept;
    local $/ = "\r\n";
    1 while <$asked> ne $/;
    $org->{client}->request('DELETE', "$org->{path}/apiKeys/$key->{id}");
    print $asked "HTTP/1.0 200 OK\r\n${answer}Content-Length: 0\r\n\r\n";
    close $asked;

    my $res = $client->read;
    $client->close;
    return $res->code . ' ' . $t->log($id)->{decision};
}

is(meanwhile('gone-1', "X-Accel-Redirect: /gate/page.html\r\n"),
    '401 unknown_key', 'a key that is deleted gets no further');
is(meanwhile('gone-2', ''), '200 allow',
    'and the log tells what was decided, not what would be by then');
close $slow;


# subrequests

$res = $t->is('/sub/ask', undef, 401, 'no_credential', 'auth_request');
is(challenges($res), $version >= 1.023 ? 'Digest Basic' : 'Digest',
    'with the challenges that nginx passes on');
$t->is('/sub/ask', $owner, 200, 'allow', 'auth_request with a key');
$t->is('/sub/ask', $member, 403, 'role', 'auth_request without the role');
$t->is('/sub/post', $member, 200, 'allow', 'the method is that of the request',
    @basic);
$t->is('/sub/post', $member, 403, 'role', 'whichever it is', @basic,
    method => 'POST', body => '');

$res = $t->is('/ssi/page.html', undef, 200, 'no_credential',
    'a page that includes what is protected');
is(() = $res->body =~ /You are not authorized/g, 3, 'nothing is included');
unlike($res->body, qr/echo/, 'not anything');
$res = $t->is('/ssi/page.html', $viewer, 200, 'role', 'with a key', @basic);
is(() = $res->body =~ m{echo /echo}g, 1, 'what it may see is included');
unlike($res->body, qr{echo /in}, 'what it may not see is not');
$res = $t->request('/ssi/page.html', $owner);
is(() = $res->body =~ m{echo /}g, 3, 'all, for who may see all, by one digest');

if ($addition) {
    $res = $t->request('/sub/add');
    unlike($res->body, qr/a tail/, 'add_after_body without a key');
    $res = $t->request('/sub/add', $member, @basic);
    like($res->body, qr/the page.*a tail/s, 'add_after_body with a key');
}

$t->request('/sub/mirror');
$t->request('/sub/mirror', "$member->{publicKey}:x", @basic);
$t->request('/sub/mirror', $member, @basic);
$t->nginx->wait_for(sub {
    ApiKeys::Nginx::_read("$dir/upstream.log") =~ m{ /mirrored } }, 10,
    'nothing is mirrored');
$t->request('/free');
is(() = ApiKeys::Nginx::_read("$dir/upstream.log") =~ m{ /mirrored }g, 1,
    'a mirror behind a key sees what has one');

$t->is('/sub/api', $owner, 403, undef, 'the API in a subrequest', @basic);

my $before = $t->status->{decisions};
$res = $t->is('/sub/own', $viewer, 200, 'allow',
    'the log tells of the request, not of what it includes', @basic);
my $after = $t->status->{decisions};
is($after->{allow} - $before->{allow}, 2, 'two admissions are counted');
is($after->{role} - $before->{role}, 2, 'and two refusals');


# every outcome: exact for the operator, uniform to the client

sub uniform {
    my ($res) = @_;

    my $text = join "\n", $res->code, $res->body,
        map { "$_->[0]: $_->[1]" } @{ $res->{headers} };
    $text =~ s/nonce="[^"]+"/nonce=""/g;
    $text =~ s/^date: .*//m;
    return $text;
}

sub outcome {
    my ($decision, $code, $key, %opt) = @_;

    my $uri = delete $opt{uri} || '/gate/page.html';
    my $before = $t->status->{decisions}{$decision};
    my $res = $t->is($uri, $key, $code, $decision, "outcome: $decision", %opt);
    my $more = $t->status->{decisions}{$decision} - $before;
    cmp_ok($more, '>=', 1, "outcome: $decision: counted");
    return $res;
}

my $digest = $t->fixture->client(key => $member->{secret});
$digest->{challenge} = $t->nonce('MD5');
my %twice = (Authorization => $digest->authorization('GET',
    '/gate/page.html', digest => { nc => '00000001' }));
$digest->{challenge} = { %{ $digest->{challenge} }, nonce => 'A' x 32 };
my %foreign = (Authorization => $digest->authorization('GET',
    '/gate/page.html', digest => { nc => '00000001' }));

my $allowed = outcome('allow', 200, undef, headers => \%twice);
is($allowed->{log}{public_key}, $member->{publicKey}, 'who it is');

my $first = uniform(outcome('no_credential', 401));
my @rest = (
    [ 'bad_credential', undef, headers => { Authorization => 'Digest x' } ],
    [ 'unknown_key', 'zzzzzzzz:x' ],
    [ 'wrong_secret', "$member->{publicKey}:x" ],
    [ 'replay', undef, headers => \%twice ],
);
for (@rest) {
    my ($decision, $key, %opt) = @$_;
    my $res = outcome($decision, 401, $key, %opt);
    is(uniform($res), $first, "the client sees no difference: $decision");
    is($res->{log}{public_key}, undef, "and no key is told: $decision");
}
$res = outcome('stale_nonce', 401, undef, headers => \%foreign);
is(uniform($res) =~ s/stale=true/stale=false/gr, $first,
    'a stale nonce differs by its flag');
like($res->header('www-authenticate'), qr/stale=true/, 'which it has');
is($res->{log}{public_key}, undef, 'no key is told: stale_nonce');

$first = undef;
for ([ role => $member, uri => '/sub/gate' ],
    [ address => $far, uri => '/sub/gate' ],
    [ no_access_list => $listless, uri => '/sub/gate' ])
{
    my ($decision, $key, %opt) = @$_;
    my $res = outcome($decision, 403, $key, @basic, %opt);
    $first //= uniform($res);
    is(uniform($res), $first, "the client sees no difference: $decision");
    is($res->{log}{public_key}, $key->{publicKey}, "who it is: $decision");
}
is_deeply($t->request('/sub/gate', $member)->json, {
    detail => 'Access to this resource is forbidden for current user.',
    error => 403, errorCode => 'ACCESS_FORBIDDEN', parameters => [],
    reason => 'Forbidden' }, 'the document of a 403');
is($t->request('/gate/')->header('content-type'), 'application/json',
    'the type of a 401');
is($t->request('/gate/')->body, <<'END' =~ s/\n\z//r, 'its document');
{
  "error" : 401,
  "reason" : "Unauthorized",
  "detail" : "You are not authorized for this resource.",
  "errorCode" : "UNEXPECTED_ERROR"
}
END


# no way around

for my $method (qw( GET HEAD POST PUT DELETE OPTIONS PATCH PROPFIND MKCOL
    PURGE X ))
{
    is($t->request('/gate/page.html', undef, method => $method)->code, 401,
        "$method without a key");
}
is($t->request('/gate/page.html', undef, method => 'HEAD')->body, '',
    'no body for HEAD');
for my $uri ('//gate/page.html', '/x/../gate/page.html', '/gate/./page.html',
    '/%67ate/page.html', '/gate/%2e%2e/gate/page.html', '/gate/page.html?',
    '/gate/page.html?a=/free', '/gate/page.html#x', '/gate%2Fpage.html',
    "http://127.0.0.1/gate/page.html")
{
    $t->is($uri, undef, 401, 'no_credential', "$uri without a key");
}
for my $uri ('/gate', '/GATE/page.html', '/gate;/page.html')
{
    my $res = $t->request($uri);
    unlike($res->body, qr/the page/, "$uri shows nothing");
}
is($t->request('/early/return')->code, 200,
    'return runs before access: it is for what anybody may see');

my $elsewhere = $t->fixture->client(key => $member->{secret});
$elsewhere->{challenge} = $t->nonce('MD5');
$t->is('/gate/page.html', undef, 401, 'bad_credential',
    'a digest of another URI', headers => {
        Authorization => $elsewhere->authorization('GET', '/free') });
$t->is('/gate/page.html', undef, 401, 'wrong_secret',
    'a digest of another method', headers => {
        Authorization => $elsewhere->authorization('HEAD',
            '/gate/page.html') });

my $client = $t->fixture->client;
my $pair = $client->format('GET', '/gate/page.html', undef,
        headers => { Authorization => basic($member) })
    . $client->format('GET', '/gate/page.html');
$client->send($pair);
is(join(' ', map { $client->read->code } 1 .. 2), '200 401',
    'two requests in one packet, one credential');
is($client->plain('GET', '/gate/page.html')->code, 401,
    'nor does it last for the connection');
is($client->plain('POST', '/gate/page.html', 'x' x 100_000)->code, 401,
    'a body is left unread');
is($client->plain('GET', '/free')->body, 'the page',
    'and not taken for a request');
$client->close;

$client = $t->fixture->client;
$client->send("GET /gate/page.html HTTP/1.0\r\n\r\n");
like($client->read->{head}, qr/ 401 /, 'HTTP/1.0');
$client->close;


# a location without apikeys_auth

$before = $t->status->{decisions};
$res = $t->is('/free', undef, 200, undef, 'a free location');
my @names = sort map { $_->[0] } @{ $res->{headers} };
$t->is('/free', undef, 200, undef, "$_ in a free location",
    headers => { Authorization => $_ }) for basic($member), 'Digest x', 'x';
$res = $t->is('/free/nosuch', undef, 404, undef, 'its errors are nginx\'s own');
like($res->body, qr/<html>/, 'as nginx writes them');
is_deeply($t->status->{decisions}, $before, 'and nothing was decided');
is("@names", 'accept-ranges connection content-length content-type date etag '
    . 'last-modified server', 'nor is a header added');


# HTTP/2, unix sockets

system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    . " -nodes -days 2 -subj /CN=localhost -keyout $dir/tls.key"
    . " -out $dir/tls.crt 2>/dev/null") == 0 or die "openssl: $?\n";

$t->serve(<<'END', http => $upstream);
    listen 127.0.0.1:%%PORT_3%% ssl http2;
    ssl_certificate %%DIR%%/tls.crt;
    ssl_certificate_key %%DIR%%/tls.key;
    listen unix:%%DIR%%/socket;
    location /gate/ { apikeys_auth digest basic; alias %%DIR%%/html/; }
END

sub curl {
    my (@args) = @_;

    my $text = qx{curl -s -o /dev/null -w '%{http_version} %{http_code}' @args};
    return $text;
}

# (curl 7.88 fails by itself to use a connection again that was not
# negotiated, so not --http2-prior-knowledge)
my $h2 = '-k --http2 https://127.0.0.1:' . $t->nginx->port(3)
    . '/gate/page.html';
is(curl($h2), '2 401', 'HTTP/2 without a key');
is(curl("--digest -u '$member->{secret}' $h2"), '2 200', 'HTTP/2, digest');
is(curl("--basic -u '$member->{secret}' $h2"), '2 200', 'HTTP/2, basic');
is(curl("--digest -u '$member->{publicKey}:x' $h2"), '2 401',
    'HTTP/2, a wrong secret');
is(curl("-X POST -d x --digest -u '$member->{secret}' $h2"), '2 405',
    'HTTP/2, a body');
is(curl("--digest -u '$far->{secret}' $h2"), '2 403', 'HTTP/2, an address');

for ([ $member => 200 ], [ $near => 403 ], [ $far => 403 ],
    [ $listless => 403 ])
{
    my ($key, $code) = @$_;
    my $client = $t->fixture->client;
    $client->{socket} = IO::Socket::UNIX->new(Peer => "$dir/socket");
    is($client->plain('GET', '/gate/page.html', undef,
        headers => { Authorization => basic($key) })->code, $code,
        'a unix socket is on no list: ' . $code);
}


# realip: the address of the client, from those who are trusted to tell it

$t->serve(<<'END', http => $upstream);
    location /server/ { apikeys_auth basic; alias %%DIR%%/html/; }
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Forwarded-For;
END

my %from = map { $_ => { 'X-Forwarded-For' => $_ } } '198.51.100.7',
    '203.0.113.1', '::ffff:198.51.100.7', '2001:db8::1', '127.0.0.1',
    '203.0.113.1, 198.51.100.7', '198.51.100.7, 203.0.113.1', 'x';

sub from {
    my ($uri, $key, $address, $code, $name, %opt) = @_;

    $t->is($uri, $key, $code, $code == 200 ? 'allow' : 'address',
        "$name, from $address", @basic, headers => $from{$address}, %opt);
}

from('/server/page.html', $far, '198.51.100.7', 200, 'trusted');
from('/server/page.html', $far, '2001:db8::1', 200, 'trusted');
from('/server/page.html', $far, '::ffff:198.51.100.7', 200, 'trusted');
from('/server/page.html', $far, '203.0.113.1', 403, 'trusted');
from('/server/page.html', $far, '203.0.113.1, 198.51.100.7', 200,
    'the last is what the proxy saw');
from('/server/page.html', $far, '198.51.100.7, 203.0.113.1', 403,
    'the first is what the client claims');
from('/server/page.html', $far, 'x', 403, 'no address');
from('/server/page.html', $near, '203.0.113.1', 403,
    'the proxy is on the list, the client is not');
$t->is('/server/page.html', $near, 200, 'allow', 'no header', @basic);

my @other = (client => $t->fixture->client(local => '127.0.0.2'));
from('/server/page.html', $far, '198.51.100.7', 403, 'not trusted', @other);
from('/server/page.html', $near, '127.0.0.1', 403, 'not trusted', @other);

# an address that is found after the key was asked for
$t->serve(<<'END', http => $upstream);
    location /late/ {
        set_real_ip_from 127.0.0.1;
        real_ip_header X-Forwarded-For;
        set $key $apikeys_public_key;
        apikeys_auth basic;
        alias %%DIR%%/html/;
    }
    location /ssi/ { ssi on; ssi_types *; }
    location /p/ {
        set_real_ip_from 127.0.0.1;
        real_ip_header X-Forwarded-For;
        apikeys_auth basic;
        proxy_pass http://127.0.0.1:%%PORT_2%%;
    }
    location /sub/ { return 200; }
    location = /status { apikeys_status; }
END
from('/late/page.html', $near, '203.0.113.1', 403, 'early');
from('/late/page.html', $far, '198.51.100.7', 200, 'early');
$before = $t->status->{decisions}{allow};
$t->is('/late/page.html', $near, 200, 'allow', 'early, no header', @basic);
is($t->status->{decisions}{allow} - $before, 1, 'early, and counted once');
unlike($t->request('/ssi/page.html', $near, @basic,
    headers => $from{'203.0.113.1'})->body, qr{echo /p},
    'a subrequest with realip of its own: the proxy is on the list');
like($t->request('/ssi/page.html', $far, @basic,
    headers => $from{'198.51.100.7'})->body, qr{echo /p},
    'a subrequest with realip of its own: the client is on the list');


# limit_req by the key

$t->serve(<<'END', http => <<'HTTP', api => 'limit_req zone=keys;');
    location /limited { apikeys_auth basic; limit_req zone=keys; empty_gif; }
END
    limit_req_zone $apikeys_public_key zone=keys:1m rate=1r/m;
    limit_req_status 429;
HTTP

$t->is('/limited', $member, 200, 'allow', 'a first request of a key', @basic);
$t->is('/limited', $member, 429, 'allow', 'a second one', @basic);
$t->is('/limited', $owner, 200, 'allow', 'another key', @basic);
$t->is('/limited', "$viewer->{publicKey}:x", 401, 'wrong_secret',
    "another's name", @basic) for 1 .. 2;
$t->is('/limited', $viewer, 200, 'allow', 'uses up nothing', @basic);
$t->is('/limited', undef, 401, 'no_credential', 'without a key') for 1 .. 2;

my $api = $t->fixture->client(key => $far->{secret});
$api->{challenge} = $t->nonce('MD5');
is($api->request('GET', $org->{path})->code, 403, 'the API, refused');
$api = $t->fixture->client(key => $near->{secret});
$api->{challenge} = $t->nonce('MD5');
is($api->request('GET', $org->{path})->code, 200, 'the API, a first request');
is($api->request('GET', $org->{path})->code, 429, 'the API, a second one');



# CONNECT: nginx since 1.31 takes Proxy-Authorization for it, and what a worker
# remembers by the text of Authorization must be that one's

$t->serve(<<'END', http => $upstream);
    apikeys_auth basic;
    location /connect/ { alias %%DIR%%/html/; }
END
{
    my $alias = basic({ secret => "$owner->{publicKey}:junk" });

    my $connect = $t->fixture->client;
    $connect->send("CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n"
        . "Authorization: $alias\r\nProxy-Authorization: " . basic($member)
        . "\r\n\r\n");
    isnt($connect->read->code, 200, 'CONNECT is refused');
    $connect->close;

    my $res = $t->fixture->client->plain('GET', '/connect/page.html', undef,
        headers => { Authorization => $alias });
    is($res->code, 401, 'its Authorization lets nobody in afterwards');
}

done_testing;
