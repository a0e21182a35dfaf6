# Configurations that would protect nothing, and say so: each combination of
# the directives at each level, with what nginx -t says to it.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Access ();
use Test::More;

my $t = ApiKeys::Access->new(zone => '4m');

my $require = 'apikeys_require role=ORG_OWNER;';
my $auth = 'apikeys_auth basic;';
my $off = 'apikeys_auth off;';
my $gif = 'empty_gif;';

my $none = qr/demands nothing in %s without "apikeys_auth", name a scheme /;
my $both = qr/demands nothing in %s with "apikeys_auth off" at the same leve/;

sub place {
    my ($message, $place) = @_;

    $message =~ s/%s/$place/;
    return qr/$message/;
}

my $server = qr{the server block in \S+/nginx\.conf:\d+};

# what is written where, and the refusal, or undef
for (

    # lines without a scheme
    [ 'http', { http => $require }, place($none, $server) ],
    [ 'server', { server => $require }, place($none, $server) ],
    [ 'location', { server => "location /a { $require $gif }" },
        place($none, 'location "/a"') ],
    [ 'exact location', { server => "location = /a { $require $gif }" },
        place($none, 'location "/a"') ],
    [ 'named location', { server => "location \@a { $require $gif }" },
        place($none, 'location "@a"') ],
    [ 'regex location', { server => "location ~ ^/a { $require $gif }" },
        place($none, 'location "\^/a"') ],
    [ 'nested location', { server => "location /a { $auth $gif
        location /a/b { $off location /a/b/c { $require $gif } } }" },
        place($both, 'location "/a/b/c"') ],
    [ 'limit_except', { server => "location /a { $gif
        limit_except GET { $require } }" },
        place($none, 'limit_except in location "/a"') ],
    [ 'http, with a scheme in all locations', { http => $require,
        server => "location / { $auth $gif }" }, place($none, $server) ],
    [ 'server, with a scheme in all locations', { server =>
        "$require location / { $auth $gif }" }, place($none, $server) ],

    # lines, and "off" beside them or above
    [ 'http: both', { http => "$require $off", api => 'apikeys_auth digest;' },
        place($both, $server) ],
    [ 'http: both, with a scheme in the server', { http => "$require $off",
        server => $auth }, place($both, 'the http block') ],
    [ 'server: both', { server => "$require $off",
        api => 'apikeys_auth digest;' }, place($both, $server) ],
    [ 'location: both', { server => "location /a { $require $off $gif }" },
        place($both, 'location "/a"') ],
    [ 'limit_except: both', { server => "location /a { $auth $gif
        limit_except GET { $require $off } }" },
        place($both, 'limit_except in location "/a"') ],
    [ 'off above the lines', { server => "$off
        location /a { $require $gif }", api => 'apikeys_auth digest;' },
        place($both, 'location "/a"') ],
    [ 'off above a scheme above lines beside off', { server => "$off
        location /a { $auth $gif location /a/b { $require $off $gif } }",
        api => 'apikeys_auth digest;' }, place($both, 'location "/a/b"') ],

    # the API
    [ 'the API with off', { api => $off },
        qr/"apikeys_auth off" cannot be used with "apikeys_api"/ ],
    [ 'the API below off', { server => $off },
        qr/"apikeys_auth off" cannot be used with "apikeys_api"/ ],
    [ 'the API in a dry run', { server => 'apikeys_dry_run on;' },
        qr/"apikeys_dry_run on" cannot be used with "apikeys_api"/ ],
    [ 'the API with old data', { server => 'apikeys_stale 1m expired=allow;' },
        qr/"expired=allow" cannot be used with "apikeys_api"/ ],

    # demands that hold for everybody
    [ 'a line with a method alone', { server =>
        "location /a { $auth apikeys_require method=POST; $gif }" },
        qr/needs "org=", "project=" or "role="/ ],
    [ 'a role of a project without one', { server =>
        "location /a { $auth apikeys_require role=GROUP_OWNER; $gif }" },
        qr/role of a project, which needs "project="/ ],

    # what protects
    [ 'lines and a scheme in http', { http => "$require $auth" } ],
    [ 'lines and a scheme in the server', { server => "$require $auth" } ],
    [ 'lines in http, a scheme in the server', { http => $require,
        server => $auth } ],
    [ 'a scheme in http, lines in a location', { http => $auth,
        server => "location /a { $require $gif }" } ],
    [ 'lines and a scheme in limit_except', { server =>
        "location /a { $gif limit_except GET { $require $auth } }" } ],
    [ 'a scheme in the location, lines in limit_except', { server =>
        "location /a { $auth $gif limit_except GET { $require } }" } ],
    [ 'an if that inherits both', { server => "location /a { $require $auth
        if (\$arg_a) { set \$b 1; } $gif }" } ],
    [ 'lines for an API', { api => $require } ],
    [ 'lines around an API', { server => "$require $auth" } ],

    # "off" below the lines is meant
    [ 'off in a server below http', { http => "$require $auth",
        server => $off, api => 'apikeys_auth digest;' } ],
    [ 'off in a server, no scheme in http', { http => $require,
        server => $off, api => 'apikeys_auth digest;' } ],
    [ 'off in a location', { server =>
        "$require $auth location /a { $off $gif
            location /a/b { $gif } if (\$arg_a) { set \$b 1; } }" } ],
    [ 'off in limit_except', { server => "location /a { $require $auth $gif
        limit_except GET { $off } }" } ],
    [ 'a scheme below off below lines', { server => "$require $auth
        location /a { $off $gif location /a/b { $auth $gif } }" } ],
) {
    my ($name, $conf, $message) = @$_;
    my %conf = %$conf;
    my $said = $t->refused(delete $conf{server} // '', %conf);

    defined $message ? like($said // 'nothing', $message, "refused: $name")
        : is($said, undef, "taken: $name");
}


# methods of which lines demand nothing: a warning

for (
    [ 'method=GET,HEAD,POST,PUT,PATCH,DELETE', 'MKCOL' ],
    [ 'method=POST', 'GET' ],
    [ 'method=!GET', 'GET' ],
    [ 'method=HEAD method_', undef ],
    [ '', undef ],
    [ 'method=!GET; apikeys_require role=ORG_READ_ONLY method=GET', undef ],
    [ 'method=!POST; apikeys_require role=ORG_READ_ONLY method=POST', undef ],
    [ 'method=!GET; apikeys_require role=ORG_READ_ONLY method=HEAD', 'GET' ],
    [ 'method=!GET; apikeys_require org=$apikeys_org_id', undef ],
    [ 'method=!FOO', undef ],
) {
    my ($line, $method) = @$_;
    next if $line =~ /method_/;
    my ($code, $text) = $t->tested(
        "location /a { $auth apikeys_require role=ORG_OWNER $line; $gif }");
    my @warned = $text =~ /\[warn\] .*lets every key use method "(\w+)" in loc/g;

    is("$code @warned", '0 ' . ($method // ''),
        "$line: " . ($method ? "warns of $method" : 'does not warn'));
}

my ($code, $text) = $t->tested("$auth apikeys_require role=ORG_OWNER
    method=!GET; location /a { $gif } location /b { $gif }");
is(() = $text =~ /\[warn\]/g, 1, 'it warns once, where the lines are');

done_testing;
