# Configurations that would protect nothing, and say so: the directives at each
# level and together, with what nginx -t says to it.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

names(
    req => 'apikeys_require role=ORG_OWNER;', auth => 'apikeys_auth basic;',
    off => 'apikeys_auth off;', gif => 'empty_gif;',
    server => 'in the server block in \S+/nginx\.conf:\d+',
    needs => 'needs "apikeys_auth": name a scheme ',
    both => 'has no effect with "apikeys_auth off" at the same level',
    method => 'lets every key use method',
);
run_tests();

__DATA__

=== TEST 1: apikeys_require of http or a server needs a scheme
--- refused
http: $req || $req -> ~"apikeys_require" $server $needs

=== TEST 2: a scheme in each location does not help apikeys_require above them
--- refused
http: $req | location / { $auth $gif } || $req location / { $auth $gif }
    -> ~"apikeys_require" $server $needs

=== TEST 3: apikeys_require of a location needs a scheme, and the message names the location
--- refused
location /a { $req $gif } || location = /a { $req $gif } -> "apikeys_require" in location "/a" $needs
location @a { $req $gif } -> "apikeys_require" in location "@a" $needs
location ~ ^/a { $req $gif } -> "apikeys_require" in location "^/a" $needs

=== TEST 4: apikeys_require of limit_except needs a scheme
--- refused: location /a { $gif limit_except GET { $req } } -> "apikeys_require" in limit_except in location "/a" $needs

=== TEST 5: a nested apikeys_require does not get the scheme that is above apikeys_auth off
--- refused: location /a { $auth $gif location /a/b { $off location /a/b/c { $req $gif } } } -> in location "/a/b/c" $both

=== TEST 6: apikeys_require of http has no effect with apikeys_auth off there
--- refused
http: $req $off | api: apikeys_auth digest; -> ~$server $both
http: $req $off | $auth -> in the http block $both

=== TEST 7: apikeys_require of a server has no effect with apikeys_auth off there
--- refused: $req $off | api: apikeys_auth digest; -> ~$server $both

=== TEST 8: apikeys_require of a location has no effect with apikeys_auth off there
--- refused: location /a { $req $off $gif } -> in location "/a" $both

=== TEST 9: apikeys_require of limit_except has no effect with apikeys_auth off there
--- refused: location /a { $auth $gif limit_except GET { $req $off } } -> in limit_except in location "/a" $both

=== TEST 10: apikeys_require of a location has no effect below apikeys_auth off
--- refused
$off location /a { $req $gif } | api: apikeys_auth digest; -> in location "/a" $both
$off location /a { $auth $gif location /a/b { $req $off $gif } } | api: apikeys_auth digest; -> in location "/a/b" $both

=== TEST 11: the API refuses apikeys_auth off, in its location and above
--- refused: api: $off || api: | $off -> "apikeys_auth off" cannot be used with "apikeys_api"

=== TEST 12: the API refuses a dry run
--- refused: api: | apikeys_dry_run on; -> "apikeys_dry_run on" cannot be used with "apikeys_api"

=== TEST 13: the API refuses to decide with old data
--- refused: api: | apikeys_stale 1m expired=allow; -> "expired=allow" cannot be used with "apikeys_api"

=== TEST 14: apikeys_require refuses a method alone
--- refused: location /a { $auth apikeys_require method=POST; $gif } -> needs "org=", "project=" or "role="

=== TEST 15: apikeys_require refuses a role of projects without a project
--- refused: location /a { $auth apikeys_require role=GROUP_OWNER; $gif } -> names a GROUP_ role, which needs "project="

=== TEST 16: apikeys_require takes a scheme of its own level or of one above
--- taken
http: $req $auth || $req $auth || http: $req | $auth ||
    http: $auth | location /a { $req $gif }

=== TEST 17: apikeys_require of limit_except takes its own scheme or that of the location
--- taken
location /a { $gif limit_except GET { $req $auth } } ||
    location /a { $auth $gif limit_except GET { $req } }

=== TEST 18: an if inherits the requirement and the scheme
--- taken: location /a { $req $auth if ($arg_a) { set $b 1; } $gif }

=== TEST 19: a location of the API takes requirements, of its own and from above
--- taken: api: $req || api: | $req $auth

=== TEST 20: apikeys_auth off of a server releases it from the requirements of http
--- taken
http: $req $auth | $off | api: apikeys_auth digest; ||
    http: $req | $off | api: apikeys_auth digest;

=== TEST 21: apikeys_auth off of a location releases it and what is in it
--- taken
$req $auth location /a { $off $gif location /a/b { $gif } if ($arg_a) { set $b 1; } }

=== TEST 22: apikeys_auth off of limit_except releases the other methods
--- taken: location /a { $req $auth $gif limit_except GET { $off } }

=== TEST 23: a scheme below apikeys_auth off is allowed
--- taken: $req $auth location /a { $off $gif location /a/b { $auth $gif } }

=== TEST 24: nginx warns of a method that no apikeys_require names
--- conf: location /a { $auth apikeys_require role=ORG_OWNER method=...; $gif }
--- warned
GET,HEAD,POST,PUT,PATCH,DELETE -> $method "MKCOL" in location "/a"
POST || !GET || !GET; apikeys_require role=ORG_READ_ONLY method=HEAD
    -> $method "GET" in location "/a"

=== TEST 25: nginx does not warn if every method needs something
--- conf: location /a { $auth apikeys_require ...; $gif }
--- taken
role=ORG_OWNER || role=ORG_OWNER method=!FOO ||
    role=ORG_OWNER method=!GET; apikeys_require role=ORG_READ_ONLY method=GET ||
    role=ORG_OWNER method=!POST; apikeys_require role=ORG_READ_ONLY method=POST ||
    role=ORG_OWNER method=!GET; apikeys_require org=$apikeys_org_id

=== TEST 26: nginx warns once, in the block that has apikeys_require
--- warned: $auth apikeys_require role=ORG_OWNER method=!GET; location /a { $gif } location /b { $gif } -> $method "GET" in
