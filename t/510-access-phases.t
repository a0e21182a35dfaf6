# Where in the life of a request it is decided: beside other access modules,
# across redirects and subrequests, behind realip and in front of limit_req;
# and that there is no way around.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

my $nginx = fixture()->nginx;

mkdir $nginx->dir . "/html/$_" for qw( dir ssi );
$nginx->write_file("html/$_->[0]", $_->[1]) for [ 'page.html', 'the page' ],
    [ 'sorry.html', 'sorry' ], [ 'dir/start.html', 'a start' ],
    [ 'tail', 'a tail' ], [ 'users', "u:{PLAIN}p\n" ],
    [ 'ssi/page.html', join '', map { qq([<!--# include virtual="$_" -->]) }
        '/sub/gate', map { "/p/\$arg_$_/echo" } qw( one two ) ];

$ENV{TEST_NGINX_FILES} = $nginx->dir . '/html';
$ENV{TEST_NGINX_UP} = '127.0.0.1:' . $nginx->port(2);

# Debian's nginx has the addition module, one with sanitizers perhaps not
my $built = qx{$ENV{TEST_NGINX_BINARY} -V 2>&1};
our $addition = $built =~ /http_addition/;
my ($minor) = $built =~ m{nginx/1\.(\d+)};

# all headers of a refusal, X is their length
my $head = 'Server: [^\r]*\r\nDate: [^\r]*\r\nContent-Type: application/json'
    . '\r\nContent-Length: X\r\nConnection: close\r\n';
my $refusal = qq({\n  "error" : 401,\n  "reason" : "Unauthorized",\n)
    . qq(  "detail" : "You are not authorized for this resource.",\n)
    . qq(  "errorCode" : "UNEXPECTED_ERROR"\n});

names(
    asked => $minor >= 23 ? 'Digest Basic' : 'Digest',
    refusal => $refusal, line => $refusal =~ s/\n/ /gr,
    forbidden => '{"detail":"Access to this resource is forbidden for current '
        . 'user.","error":403,"errorCode":"ACCESS_FORBIDDEN","parameters":[],'
        . '"reason":"Forbidden"}',
    head401 => '^HTTP/1.1 401 Unauthorized\r\n' . $head =~ s/X/142/r
        . 'WWW-Authenticate: Digest realm="MMS Public API", domain="", '
        . 'nonce="[A-Za-z0-9+/]{32}", algorithm=MD5, qop="auth", stale=',
    tail401 => '\r\nWWW-Authenticate: Basic realm="MMS Public API"\r\n$',
    head403 => '^HTTP/1.1 403 Forbidden\r\n' . $head =~ s/X/147/r
        . 'X-Error-Code: ACCESS_FORBIDDEN\r\n$',
    junk => 'enp6enp6eno6anVuaw==', A32 => 'A' x 32, x100000 => 'x' x 100_000,
);

locations(<<'END' . ($addition ? <<'ADDITION' : ''), <<'HTTP');
    root $TEST_NGINX_FILES;
    log_not_found off;
    access_log logs/decision.log apikeys_decision;
    access_log logs/access.log named;
    # other access modules
    location /any/allow { satisfy any; allow 127.0.0.1; deny all;
                          apikeys_auth digest; empty_gif; }
    location /any/deny { satisfy any; deny all;
                         apikeys_auth digest basic; empty_gif;
        location /any/deny/role { apikeys_require role=ORG_OWNER; empty_gif; }
        location /any/deny/dry { apikeys_dry_run on; empty_gif; } }
    location /any/user { satisfy any; auth_basic "users"; empty_gif;
                         auth_basic_user_file $TEST_NGINX_FILES/users;
                         apikeys_auth basic digest;
        location /any/user/dry { apikeys_dry_run on; empty_gif; } }
    location /all/ { apikeys_auth basic; deny all; empty_gif;
        location /all/allow { allow 127.0.0.1; deny all; empty_gif; }
        location /all/dry { apikeys_dry_run on; empty_gif; } }
    # error pages
    location @named { return 403 "named"; }
    location @asked { rewrite ^ /refuse break; proxy_pass http://$TEST_NGINX_UP; }
    location /page/uri { apikeys_auth digest basic; error_page 401 /sorry.html;
                         apikeys_require role=ORG_OWNER;
                         error_page 403 @named; empty_gif; }
    location /page/ { apikeys_auth basic; empty_gif;
        location /page/200 { error_page 401 =200 /sorry.html; empty_gif; }
        location /page/named { error_page 401 = @asked; empty_gif; } }
    location /page/in { error_page 404 = /gate/page.html; }
    location /page/lost { apikeys_auth digest; error_page 404 = /gate/page.html; }
    # redirects
    location /gate/ { apikeys_auth digest basic; alias $TEST_NGINX_FILES/; }
    location /other/ { apikeys_auth digest header=X-Api-Key;
                       rewrite ^ /gate/page.html last; }
    location /third/ { apikeys_auth header=X-Other digest;
                       error_page 404 = /gate/page.html; }
    location /narrow/ { apikeys_auth basic; alias $TEST_NGINX_FILES/; }
    location /wide/ { apikeys_auth digest basic;
                      error_page 404 = /narrow/page.html; }
    location /try { try_files /nosuch /gate/page.html; }
    location /dir/ { index start.html; }
    location = /dir/start.html { apikeys_auth basic; }
    location /rewritten { rewrite ^ /gate/page.html last; }
    location /accel/ { proxy_pass http://$TEST_NGINX_UP/accel; }
    location ~ "^/p/([0-9a-f]{24})/(.*)$" {
        apikeys_auth digest basic; apikeys_require project=$1;
        proxy_pass http://$TEST_NGINX_UP/$2$is_args$args; }
    location ~ "^/q/(?<q>[0-9a-f]{24})/(?<rest>.*)$" {
        apikeys_auth basic; apikeys_require project=$q;
        proxy_pass http://$TEST_NGINX_UP/$rest$is_args$args; }
    # subrequests
    location = /sub/gate { apikeys_auth digest basic;
                           apikeys_require role=ORG_OWNER;
                           proxy_pass http://$TEST_NGINX_UP/in; }
    location = /sub/ask { auth_request /sub/gate;
                          alias $TEST_NGINX_FILES/page.html; }
    location = /sub/post { auth_request /sub/post/gate;
                           alias $TEST_NGINX_FILES/page.html; }
    location = /sub/post/gate { apikeys_auth basic;
                                apikeys_require role=ORG_OWNER method=POST;
                                apikeys_require role=ORG_MEMBER method=!POST;
                                proxy_pass http://$TEST_NGINX_UP/in; }
    location /ssi/ { ssi on; ssi_types *; }
    location = /sub/own { apikeys_auth basic; ssi on; ssi_types *;
                          alias $TEST_NGINX_FILES/ssi/page.html; }
    location = /sub/tail { apikeys_auth basic; alias $TEST_NGINX_FILES/tail; }
    location = /sub/mirror { mirror /sub/mirrored;
                             alias $TEST_NGINX_FILES/page.html; }
    location = /sub/mirrored { internal; apikeys_auth basic;
                               proxy_pass http://$TEST_NGINX_UP/mirrored; }
    location = /sub/api { auth_request /api/atlas/v1.0; empty_gif; }

    location /early/return { apikeys_auth basic; return 200 "early"; }
    location = /free { alias $TEST_NGINX_FILES/page.html; }
    location = /status { apikeys_status; }
    location /limited { apikeys_auth basic; limit_req zone=keys; empty_gif; }
    # to servers with realip, which log the decision; from another address, too
    location ~ ^/(realip|late)(/.*)$ {
        access_log off; proxy_set_header Host $1;
        proxy_set_header X-Forwarded-For $arg_from;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT$2?$args; }
    location ~ ^/untrusted(/.*)$ {
        access_log off; proxy_set_header Host realip; proxy_bind 127.0.0.2;
        proxy_set_header X-Forwarded-For $arg_from;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT$1; }
    location ~ ^/unix(/.*)$ { access_log off; proxy_set_header Host realip;
                              proxy_pass http://unix:$TEST_NGINX_SERVROOT/s:$1; }
END
    location = /sub/add { alias $TEST_NGINX_FILES/page.html; addition_types *;
                          add_after_body /sub/tail; }
ADDITION
    log_format named '|$status|$apikeys_decision|$apikeys_public_key|';
    limit_req_zone $apikeys_public_key zone=keys:1m rate=1r/m;
    limit_req_status 429;

    server { listen $TEST_NGINX_UP; access_log off;
        location / { return 200 'echo $uri [$http_authorization]'; }
        location = /mirrored { apikeys_auth basic; empty_gif; }
        location = /accel { add_header X-Accel-Redirect $arg_to; return 200; }
        location = /refuse { add_header WWW-Authenticate 'Basic realm="up"' always;
                             return 401; } }
    server { listen $TEST_NGINX_SERVER_PORT; listen unix:$TEST_NGINX_SERVROOT/s;
        server_name realip; set_real_ip_from 127.0.0.1;
        real_ip_header X-Forwarded-For;
        location / { apikeys_auth basic; alias $TEST_NGINX_FILES/; } }
    server { listen $TEST_NGINX_SERVER_PORT; server_name late;
        root $TEST_NGINX_FILES; real_ip_header X-Forwarded-For;
        location /late/ { set $key $apikeys_public_key;
                          set_real_ip_from 127.0.0.1;
                          apikeys_auth basic; alias $TEST_NGINX_FILES/; }
        location /ssi/ { ssi on; ssi_types *; }
        location /p/ { set_real_ip_from 127.0.0.1; apikeys_auth basic;
                       proxy_pass http://$TEST_NGINX_UP; }
        location /sub/ { return 200; } }
    server { listen $TEST_NGINX_SERVER_PORT; server_name limited;
        location /api/atlas/v1.0 { limit_req zone=keys; apikeys_api atlas_v1; } }
HTTP

run_tests();

__DATA__

=== TEST 1: satisfy any admits an address that is allowed, without a key
--- keys
owner: ORG_OWNER
member: ORG_MEMBER
viewer: ORG_MEMBER GROUP_READ_ONLY project=one
other: ORG_MEMBER GROUP_READ_ONLY project=two
far: ORG_MEMBER list=198.51.100.0/24,2001:db8::/32
near: ORG_MEMBER list=127.0.0.1/32
listless: ORG_OWNER org=strict
listed: ORG_MEMBER list=10.0.0.0/8,192.0.2.7/32,2001:db8::/32,2001:db9::1/128
--- sql
UPDATE apikeys.orgs SET access_list_required = true WHERE id = '$strict_id'
--- requests: GET /any/allow -> 200 no_credential

=== TEST 2: satisfy any admits a key from an address that is denied
--- keys
twice: ORG_MEMBER
--- requests: member basic: GET /any/deny -> 200 allow

=== TEST 3: satisfy any challenges a request that has neither the address nor a key
--- requests: GET /any/deny -> 401 no_credential
--- challenges: Digest Basic
--- may_log: error

=== TEST 4: satisfy any refuses a key without the role, and all keys in a dry run
--- requests
member basic: GET /any/deny/role -> 403 role
owner basic: GET /any/deny/dry -> 403 allow
none: GET /any/deny/dry -> 403 no_credential
--- may_log: error

=== TEST 5: satisfy any admits a user of auth_basic, and a key by basic and by digest
--- requests
u:p basic: GET /any/user -> 200 unknown_key
member basic: GET /any/user -> 200 allow
member: GET /any/user -> 200 allow
--- may_log: error

=== TEST 6: the challenges of the module come before that of auth_basic
--- requests: GET /any/user -> 401 no_credential
--- challenges: Digest Basic Basic

=== TEST 7: a dry run beside auth_basic admits no key and adds no challenge
--- requests: member basic: GET /any/user/dry -> 401 allow
--- challenges: Basic
--- may_log: error

=== TEST 8: satisfy all needs an address that is allowed, and then a key
--- requests
member basic: GET /all/deny -> 403 allow
none: GET /all/deny -> 403 no_credential
member basic: GET /all/dry -> 403 allow
none: GET /all/allow -> 401 no_credential
member basic: GET /all/allow -> 200 allow
--- may_log: error

=== TEST 9: an error page for 401 has the challenges, so that a digest client goes on
--- requests
none: GET /page/uri -> 401 no_credential: sorry
owner: GET /page/uri -> 200 allow
member: GET /page/uri -> 403 role: named
--- challenges
Digest Basic
none
none

=== TEST 10: an error page with the status 200 has no challenge
--- requests: GET /page/200 -> 200 no_credential: sorry
--- challenges: none

=== TEST 11: the challenge of the module comes before that of an error page's upstream
--- requests: GET /page/named -> 401 no_credential
--- challenges: Basic Basic
--- raw_response_headers_like: \r\nWWW-Authenticate: Basic realm="MMS Public API"\r\n.*WWW-Authenticate: Basic realm="up"\r\n

=== TEST 12: an error page in a location that needs a key is shown with a key
--- requests
none: GET /page/in -> 401 no_credential
member: GET /page/in -> 200 allow
member: POST /page/in -> 200 allow
member: GET /page/lost -> 200 allow

=== TEST 13: a redirect is decided in the location to which it leads
--- requests
none: GET /try -> 401 no_credential
none: GET /dir/ -> 401 no_credential
none: GET /rewritten -> 401 no_credential
none: GET /accel/?to=/gate/page.html -> 401 no_credential
member: GET /try -> 200 allow
member: GET /rewritten -> 200 allow
member: GET /accel/?to=/gate/page.html -> 200 allow
member basic: GET /dir/ -> 200 allow

=== TEST 14: one digest serves two locations with other schemes beside it
--- as: member
--- requests
GET /other/
GET /third/
--- answers: 200 allow

=== TEST 15: the location of a redirect takes its own schemes only
--- requests
member: GET /wide/ -> 401 no_credential
member basic: GET /wide/ -> 200 allow

=== TEST 16: a captured project is required
--- as: viewer basic
--- requests
GET /p/$one_id/echo -> 200 allow: echo /echo [Basic $viewer_basic]
GET /q/$one_id/echo -> 200 allow: echo /echo [Basic $viewer_basic]
GET /p/$two_id/echo -> 403 role: $forbidden
GET /q/$two_id/echo -> 403 role: $forbidden

=== TEST 17: a redirect into the same location is decided by the project of its own URI
--- as: viewer basic
--- requests
GET /p/$one_id/accel?to=/p/$one_id/echo -> 200 allow: echo /echo [Basic $viewer_basic]
GET /q/$one_id/accel?to=/q/$one_id/echo -> 200 allow: echo /echo [Basic $viewer_basic]
GET /p/$one_id/accel?to=/p/$two_id/echo -> 403 role: $forbidden
GET /q/$one_id/accel?to=/q/$two_id/echo -> 403 role: $forbidden

=== TEST 18: a redirect from one project to another admits a key of both
--- as: owner basic
--- requests
GET /p/$one_id/accel?to=/p/$two_id/echo
GET /q/$one_id/accel?to=/q/$two_id/echo
--- answers: 200 allow: echo /echo [Basic $owner_basic]

=== TEST 19: auth_request passes the refusal and the challenges on
--- requests: GET /sub/ask -> 401 no_credential
--- challenges: $asked

=== TEST 20: auth_request admits a key with the role, and no other
--- requests
owner: GET /sub/ask -> 200 allow
member: GET /sub/ask -> 403 role
--- may_log: error

=== TEST 21: the method of a subrequest of auth_request is that of the request
--- as: member basic
--- requests
GET /sub/post -> 200 allow
POST /sub/post -> 403 role
--- may_log: error

=== TEST 22: SSI includes a refusal for each part that needs a key
--- requests: GET /ssi/page.html?one=$one_id&two=$two_id -> 200 no_credential: [$line][$line][$line]
--- response_body_filters eval: sub { $_[0] =~ s/\n/ /gr }

=== TEST 23: SSI includes the parts that the key may see
--- requests: viewer basic: GET /ssi/page.html?one=$one_id&two=$two_id -> 200 role: [$forbidden][echo /echo [Basic $viewer_basic]][$forbidden]

=== TEST 24: SSI includes all parts by one digest
--- as: owner
--- requests: GET /ssi/page.html?one=$one_id&two=$two_id
--- response_body_like: ^\[echo /in \[Digest .*\]\]\[echo /echo \[Digest .*\]\]\[echo /echo \[Digest .*\]\]$

=== TEST 25: a text that is added after the body needs a key of its own
--- skip_eval: 3: !$main::addition
--- requests
none: GET /sub/add -> 200 no_credential: the page$line
member basic: GET /sub/add -> 200 allow: the pagea tail
--- response_body_filters eval: sub { $_[0] =~ s/\n/ /gr }

=== TEST 26: the API refuses subrequests
--- as: owner basic
--- requests: GET /sub/api -> 403 -
--- may_log: error

=== TEST 27: a mirror in a location that needs a key makes a decision of its own
--- requests
none: GET /status -> 200 -
none: GET /sub/mirror -> 200 no_credential: the page
$member_public:x basic: GET /sub/mirror -> 200 wrong_secret: the page
member basic: GET /sub/mirror -> 200 allow: the page
--- response_body_filters eval: \&main::grown

=== TEST 28: a mirror passes the request of a key on, and no other
--- requests: GET /status -> 200 -: allow=2 no_credential=1 wrong_secret=1
--- response_body_filters eval: \&main::grown

=== TEST 29: the log has the decision on the request, and all decisions are counted
--- as: viewer basic
--- requests
GET /status -> 200 -
GET /sub/own?one=$one_id&two=$two_id -> 200 allow
GET /status -> 200 -: allow=2 role=2
--- response_body_filters eval: \&main::grown

=== TEST 30: an admission is logged with the public key
--- requests: twice digest nc=00000001: GET /gate/page.html -> 200 allow: the page
--- access_log: |200|allow|$twice_public|

=== TEST 31: refusals with 401 are the same to the byte, and logged without a public key
--- requests
none: GET /gate/page.html -> 401 no_credential
none: GET /gate/page.html -> 401 bad_credential
$member_public:x: GET /gate/page.html -> 401 wrong_secret
zzzzzzzz:x: GET /gate/page.html -> 401 unknown_key
twice digest nc=00000001: GET /gate/page.html -> 401 replay
--- more_headers eval: ['', 'Authorization: Digest x', '', '', '']
--- raw_response_headers_like: ${head401}false$tail401
--- response_body: $refusal
--- access_log
|401|no_credential|-|
|401|bad_credential|-|
|401|wrong_secret|-|
|401|unknown_key|-|
|401|replay|-|

=== TEST 32: a stale nonce differs by its flag alone
--- requests: member digest nonce=$A32: GET /gate/page.html -> 401 stale_nonce
--- raw_response_headers_like: ${head401}true$tail401
--- response_body: $refusal
--- access_log: |401|stale_nonce|-|

=== TEST 33: refusals with 403 are the same to the byte, and logged with the public key
--- requests
member basic: GET /sub/gate -> 403 role
far basic: GET /sub/gate -> 403 address
listless basic: GET /sub/gate -> 403 no_access_list
--- raw_response_headers_like: $head403
--- response_body: $forbidden
--- access_log
|403|role|$member_public|
|403|address|$far_public|
|403|no_access_list|$listless_public|

=== TEST 34: each decision is counted
--- requests
none: GET /status -> 200 -
member basic: GET /gate/page.html -> 200 allow
none: GET /gate/page.html -> 401 no_credential
none: GET /gate/page.html -> 401 bad_credential
$member_public:x: GET /gate/page.html -> 401 wrong_secret
zzzzzzzz:x: GET /gate/page.html -> 401 unknown_key
twice digest nc=00000001: GET /gate/page.html -> 401 replay
member digest nonce=$A32: GET /gate/page.html -> 401 stale_nonce
member basic: GET /sub/gate -> 403 role
far basic: GET /sub/gate -> 403 address
listless basic: GET /sub/gate -> 403 no_access_list
none: GET /status -> 200 -: address=1 allow=1 bad_credential=1 no_access_list=1 no_credential=1 replay=1 role=1 stale_nonce=1 unknown_key=1 wrong_secret=1
--- more_headers eval: [('') x 3, 'Authorization: Digest x', ('') x 8]
--- response_body_filters eval: \&main::grown

=== TEST 35: a request without a key is refused, whatever its method
--- request eval
[map { "$_ /gate/page.html" } qw( GET POST PUT DELETE OPTIONS PATCH PROPFIND
    MKCOL PURGE X )]
--- answers: 401 no_credential
--- response_body: $refusal

=== TEST 36: a refusal of HEAD has no body
--- requests: HEAD /gate/page.html -> 401 no_credential:

=== TEST 37: a request without a key is refused, however its URI is written
--- request eval
[map { "GET $_" } '//gate/page.html', '/x/../gate/page.html', '/gate/./page.html',
    '/%67ate/page.html', '/gate/%2e%2e/gate/page.html', '/gate/page.html?',
    '/gate/page.html?a=/free', '/gate/page.html#x', '/gate%2Fpage.html',
    'http://127.0.0.1/gate/page.html']
--- answers: 401 no_credential

=== TEST 38: a path outside of the location has the error page of nginx
--- requests
GET /gate
GET /GATE/page.html
GET /gate;/page.html
GET /free/nosuch
--- answers: 404 -
--- response_body_like: <html>.*<title>404 Not Found</title>

=== TEST 39: return is executed before a key is asked for
--- requests: GET /early/return -> 200 no_credential: early

=== TEST 40: a digest is good for its own URI and method alone
--- requests
member digest uri=/free: GET /gate/page.html -> 401 bad_credential
member digest method=HEAD: GET /gate/page.html -> 401 wrong_secret

=== TEST 41: a credential does not last for the connection
--- pipelined_requests eval: [("GET /gate/page.html") x 3]
--- as: member basic, none, none
--- answers
200 allow: the page
401 no_credential
401 no_credential

=== TEST 42: a body that is not read is not the next request
--- pipelined_requests eval: ["POST /gate/page.html\n\$x100000", "GET /free"]
--- answers
401 no_credential
200 -: the page

=== TEST 43: a request of HTTP/1.0 without a key is refused
--- raw_request eval: "GET /gate/page.html HTTP/1.0\r\nHost: localhost\r\n\r\n"
--- error_code: 401
--- decision: no_credential
--- response_body: $refusal

=== TEST 44: a location without apikeys_auth ignores credentials and adds no header
--- request eval: [("GET /free") x 4]
--- more_headers eval
['', "Authorization: Basic \$member_basic", 'Authorization: Digest x',
    'Authorization: x']
--- answers: 200 -: the page
--- raw_response_headers_like: ^HTTP/1.1 200 OK\r\nServer: [^\r]*\r\nDate: [^\r]*\r\nContent-Type: [^\r]*\r\nContent-Length: 8\r\nLast-Modified: [^\r]*\r\nConnection: close\r\nETag: [^\r]*\r\nAccept-Ranges: bytes\r\n$

=== TEST 45: a location without apikeys_auth counts no decision
--- requests
none: GET /status -> 200 -
none: GET /free -> 200 -
member basic: GET /free -> 200 -
none: GET /free/nosuch -> 404 -
none: GET /status -> 200 -:
--- response_body_filters eval: \&main::grown

=== TEST 46: realip gives the address of the client from a trusted proxy
--- as: far basic
--- requests
GET /realip/page.html?from=198.51.100.7 -> 200 allow: the page
GET /realip/page.html?from=2001:db8::1 -> 200 allow: the page
GET /realip/page.html?from=::ffff:198.51.100.7 -> 200 allow: the page
GET /realip/page.html?from=203.0.113.1 -> 403 address: $forbidden
GET /realip/page.html?from=x -> 403 address: $forbidden

=== TEST 47: both ends of a block are on the list, and the addresses beside it are not
--- as: listed basic
--- request eval
[map { "GET /realip/page.html?from=$_" } qw( 10.0.0.0 10.255.255.254 192.0.2.7
    ::ffff:10.1.2.3 ::ffff:a00:1 2001:db8:: 2001:db8:ffff:: 2001:db9::1
    9.255.255.254 11.0.0.0 192.0.2.6 192.0.2.8 ::ffff:11.0.0.0 2001:db7:ffff::
    2001:db9:: 2001:db9::2 )]
--- answers eval: CORE::join "\n", ('200 allow') x 8, ('403 address') x 8

=== TEST 48: the last address of X-Forwarded-For counts, the first is the client's claim
--- as: far basic
--- requests
GET /realip/page.html?from=203.0.113.1,198.51.100.7 -> 200 allow: the page
GET /realip/page.html?from=198.51.100.7,203.0.113.1 -> 403 address: $forbidden

=== TEST 49: the address of the proxy counts only without X-Forwarded-For
--- as: near basic
--- requests
GET /realip/page.html?from=203.0.113.1 -> 403 address: $forbidden
GET /realip/page.html -> 200 allow: the page

=== TEST 50: X-Forwarded-For of a proxy that is not trusted is ignored
--- requests
far basic: GET /untrusted/page.html?from=198.51.100.7 -> 403 address: $forbidden
near basic: GET /untrusted/page.html?from=127.0.0.1 -> 403 address: $forbidden

=== TEST 51: the client of a unix socket is on no access list
--- requests
member basic: GET /unix/page.html -> 200 allow: the page
near basic: GET /unix/page.html -> 403 address: $forbidden
far basic: GET /unix/page.html -> 403 address: $forbidden
listless basic: GET /unix/page.html -> 403 no_access_list: $forbidden

=== TEST 52: an address that realip finds after the key was asked for counts
--- requests
near basic: GET /late/late/page.html?from=203.0.113.1 -> 403 address: $forbidden
far basic: GET /late/late/page.html?from=198.51.100.7 -> 200 allow: the page

=== TEST 53: a decision that was made twice for realip is counted once
--- requests
none: GET /status -> 200 -
near basic: GET /late/late/page.html -> 200 allow
none: GET /status -> 200 -: allow=1
--- response_body_filters eval: \&main::grown

=== TEST 54: a subrequest is decided by the address that realip gives in its location
--- requests
near basic: GET /late/ssi/page.html?one=$one_id&two=$two_id&from=203.0.113.1
    -> 200 address: [][$forbidden][$forbidden]
far basic: GET /late/ssi/page.html?one=$one_id&two=$two_id&from=198.51.100.7
    -> 200 allow: [][echo /p/$one_id/echo [Basic $far_basic]][echo /p/$two_id/echo [Basic $far_basic]]

=== TEST 55: limit_req counts the requests of each key that are admitted
--- requests
member basic: GET /limited -> 200 allow
member basic: GET /limited -> 429 allow
owner basic: GET /limited -> 200 allow
$viewer_public:x basic: GET /limited -> 401 wrong_secret
$viewer_public:x basic: GET /limited -> 401 wrong_secret
viewer basic: GET /limited -> 200 allow
none: GET /limited -> 401 no_credential
none: GET /limited -> 401 no_credential
--- may_log: error

=== TEST 56: limit_req counts the requests for the API that are admitted
--- more_headers: Host: limited
--- requests
far: GET $atlas/orgs/$org_id -> 403
near: GET $atlas/orgs/$org_id -> 200
near: GET $atlas/orgs/$org_id -> 429
--- decision: address allow -
--- may_log: error

=== TEST 57: nginx refuses CONNECT, whatever its credentials
--- raw_request eval
"CONNECT realip:443 HTTP/1.1\r\nHost: realip:443\r
Authorization: Basic \$junk\r\nProxy-Authorization: Basic \$member_basic\r\n\r\n"
--- error_code_like: ^[45]

=== TEST 58: Authorization of a CONNECT with the credential of a proxy admits nobody
--- requests: zzzzzzzz:junk basic: GET /realip/page.html -> 401 unknown_key
