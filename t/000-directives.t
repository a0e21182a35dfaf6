# What each directive takes, and what nginx -t says to what it does not: a
# sentence that names the directive or the value and tells what to do.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Nginx ();
use MIME::Base64 qw( encode_base64 );
use Test::More;

my $nginx = ApiKeys::Nginx->new;
my $dir = $nginx->dir;

# key material, good and bad
my $one = encode_base64('1' x 32, '');
my $two = encode_base64('2' x 32, '');
my %file = (
    'master.key' => $one,
    'two.key' => "# new\n$one\n\n# old\n$two",
    'twice.key' => "$one\n$one",
    'short.key' => encode_base64('1' x 31, ''),
    'long.key' => encode_base64('1' x 33, ''),
    'garbage.key' => '*' x 44,
    'empty.key' => '',
    'comment.key' => '# nothing',
    'many.key' => join("\n", map { encode_base64($_ x 32, '') } 'a' .. 'q'),
    'large.key' => "# large\n" x 3000,
    'token' => 'x' x 20,
    'short.token' => 'x' x 19,
    'empty.token' => '',
    'password' => 'secret',
);
$nginx->write_file($_, "$file{$_}\n", 0600) for keys %file;
$nginx->write_file('open.key', "$one\n", 0640);
$nginx->write_file('world.key', "$one\n", 0604);
$nginx->write_file('open.token', 'x' x 20 . "\n", 0644);

my %good = (
    database => 'apikeys_database "user=u host=/tmp";',
    zone => 'apikeys_zone zone=k:4m;',
    master_key_file => "apikeys_master_key_file $dir/master.key;",
);

# conf(http => , location => , NAME => '' to leave one of the three out)
sub conf {
    my (%c) = @_;

    my $three = join "\n", map { $c{$_} // $good{$_} } sort keys %good;
    my $server = $c{server} // '';

    return $nginx->configure(
        http => "$three\n" . ($c{http} // ''),
        server => "$server\n" . ($c{location} // ''));
}

sub taken {
    my ($title, @conf) = @_;

    my ($code, $text) = conf(@conf)->test;
    is($code, 0, "taken: $title") or diag $text;
}

sub refused {
    my ($title, $message, @conf) = @_;

    my ($code, $text) = conf(@conf)->test;
    my ($line) = $text =~ /^(nginx: \[emerg\].*)/m;
    $message = qr/\Q$message\E/ if !ref $message;
    like($line // "nothing: $text", $message, "refused: $title");
    isnt($code, 0, "refused: $title: with an exit code");
}

sub api { return "location /api { apikeys_api atlas_v1;\n$_[0]\n}" }


# the three that belong together

taken('all three and no location', ());
taken('none of them', map { $_ => '' } keys %good);
for my $name (sort keys %good) {
    refused("no $name", qr/"apikeys_$name" is not set: .*are needed together/,
        $name => '');
}
refused('apikeys_api with none of them', qr/"apikeys_database" is not set/,
    location => api(''), map { $_ => '' } keys %good);
refused('apikeys_auth with none of them', qr/"apikeys_database" is not set/,
    location => 'location / { apikeys_auth digest; }',
    map { $_ => '' } keys %good);

refused("$_ in a server", qr/"apikeys_$_" directive is not allowed here/,
    server => $good{$_}, $_ => '') for sort keys %good;
refused("$_ twice", qr/"apikeys_$_" directive is duplicate/,
    http => $good{$_} =~ s/zone=k/zone=l/r) for sort keys %good;


# apikeys_database; t/300-pg-conninfo.t has the conninfo

sub database {
    return (database => "apikeys_database 'user=u host=/tmp' $_[0];");
}

taken("apikeys_database with $_", database($_)) for
    'connections=1', 'connections=1000', 'queue=1', 'queue=1000000',
    'connect_timeout=1ms', 'timeout=500ms timeout=2m',
    'connections=2 queue=3 connect_timeout=4s timeout=5s',
    "password_file=$dir/password", 'password_file=password';

refused("apikeys_database with $_->[0]",
    $_->[1] || qr/invalid parameter "\Q$_->[0]\E"/, database($_->[0])) for
    [ 'connections=0' ], [ 'connections=1001' ], [ 'connections=x' ],
    [ 'connections=' ], [ 'connections=-1' ], [ 'queue=0' ],
    [ 'queue=1000001' ], [ 'connect_timeout=0' ], [ 'connect_timeout=x' ],
    [ 'timeout=0s' ], [ 'timeout=' ], [ 'timeout=1parsec' ], [ 'nosuch=1' ],
    [ 'connections' ], [ 'password=x' ],
    [ "password_file=$dir/nosuch", qr/open\(\) password_file.*nosuch/ ],
    [ "password_file=$dir/open.key", qr/open.key.*chmod 600/ ];

refused('apikeys_database with a password in it', qr/"password_file="/,
    database => "apikeys_database 'user=u password=secret';");
unlike(($nginx->test)[1], qr/=secret/, 'and shows no password');
refused('apikeys_database without a conninfo', qr/invalid number of arguments/,
    database => 'apikeys_database;');


# apikeys_zone

taken("apikeys_zone $_", zone => "apikeys_zone $_;")
    for 'zone=a:1m', 'zone=a_b:16384k', 'zone=a:8388608';
refused("apikeys_zone $_", qq(invalid parameter "$_", it must be "zone=name:size"),
    zone => "apikeys_zone $_;")
    for 'k:4m', 'zone=k', 'zone=:4m', 'zone=k:', 'zone=k:x', 'zone=k:-1';
refused('a small apikeys_zone', qr/too small,.*at least \d+ bytes/,
    zone => 'apikeys_zone zone=k:8k;');
refused('apikeys_zone with two arguments', qr/invalid number of arguments/,
    zone => 'apikeys_zone zone=k:4m x;');
refused("another module's zone", qr/zone "k"/,
    zone => "limit_req_zone \$uri zone=k:4m rate=1r/s;\n$good{zone}");


# apikeys_master_key_file

sub master { return (master_key_file => "apikeys_master_key_file $_[0];") }

taken("apikeys_master_key_file $_", master($_))
    for "$dir/master.key", 'master.key', 'two.key';
refused("apikeys_master_key_file $_->[0]", $_->[1], master($_->[0])) for
    [ 'nosuch.key', qr/"\Q$dir\E\/nosuch.key" failed, .*openssl rand/ ],
    [ $dir, qr/is not a regular file/ ],
    [ 'open.key', qr/open to others than its owner, run "chmod 600/ ],
    [ 'world.key', qr/run "chmod 600/ ],
    [ 'empty.key', qr/holds no key, .*openssl rand/ ],
    [ 'comment.key', qr/holds no key/ ],
    [ 'short.key', qr/line 1 of .*is not 32 bytes in base64, .*openssl/ ],
    [ 'long.key', qr/line 1 of .*is not 32 bytes in base64/ ],
    [ 'garbage.key', qr/line 1 of .*is not 32 bytes in base64/ ],
    [ 'twice.key', qr/line 2 of .*repeats a key, remove it/ ],
    [ 'many.key', qr/more than 16 keys, remove the last ones/ ],
    [ 'large.key', qr/larger than 16384 bytes/ ];
unlike(($nginx->test)[1], qr/\Q$one\E/, 'no key is shown');


# apikeys_operator_token_file

sub token { return (http => "apikeys_operator_token_file $_[0];") }

taken('apikeys_operator_token_file', token("$dir/token"));
taken('a relative name', token('token'));
refused("apikeys_operator_token_file $_->[0]", $_->[1], token($_->[0])) for
    [ 'nosuch', qr/operator token file "\Q$dir\E\/nosuch" failed/ ],
    [ $dir, qr/is not a regular file/ ],
    [ 'open.token', qr/run "chmod 600/ ],
    [ 'short.token', qr/shorter than 20 characters, make one.*openssl rand/ ],
    [ 'empty.token', qr/empty|shorter than 20/ ];
refused('it twice', qr/is duplicate/,
    token("token;\napikeys_operator_token_file token"));


# apikeys_realm

taken('apikeys_realm', http => q{apikeys_realm "My API, version 2";});
refused("apikeys_realm $_->[0]", $_->[1], http => "apikeys_realm $_->[0];") for
    [ '""', qr/"apikeys_realm" directive must not be empty/ ],
    [ q{'a "b"'}, qr/without quotes and backslashes/ ],
    [ q{'a\\\\b'}, qr/printable ASCII/ ],
    [ "'caf\xc3\xa9'", qr/printable ASCII/ ],
    [ "'a\tb'", qr/printable ASCII/ ],
    [ "x;\napikeys_realm y", qr/is duplicate/ ];


# apikeys_sync

taken("apikeys_sync $_", http => "apikeys_sync $_;")
    for 'poll=10ms', 'poll=5s notify=off', 'notify=on', 'notify=off poll=1s';
refused("apikeys_sync $_->[0]", $_->[1] || qr/invalid parameter/,
    http => "apikeys_sync $_->[0];") for
    [ 'poll=0' ], [ 'poll=9ms' ], [ 'poll=x' ], [ 'poll=' ], [ 'notify=x' ],
    [ 'notify' ], [ 'nosuch=1' ], [ "poll=1s;\napikeys_sync notify=on",
    qr/is duplicate/ ];
refused('apikeys_sync without a parameter', qr/invalid number of arguments/,
    http => 'apikeys_sync;');


# apikeys_stale

taken("apikeys_stale $_", location => api("apikeys_stale $_;"))
    for '1s', '10m expired=deny', '1d';
taken('apikeys_stale in http and server', http => 'apikeys_stale 1h;',
    server => 'apikeys_stale 2h expired=allow;');
refused("apikeys_stale $_->[0]", $_->[1] || qr/invalid (?:value|parameter)/,
    location => api("apikeys_stale $_->[0];")) for
    [ '0' ], [ 'x' ], [ '-1s' ], [ '1s expired=x' ], [ '1s allow' ],
    [ "1s;\napikeys_stale 2s", qr/is duplicate/ ];


# apikeys_api

taken("apikeys_api $_", location => "location /a { apikeys_api $_; }")
    for qw( atlas_v1 atlas_v2 ops_manager );
taken('apikeys_api behind ^~', location => 'location ^~ /a '
    . '{ apikeys_api atlas_v1; }');
refused('apikeys_api atlas_v3', 
    '"atlas_v3", it must be "atlas_v1", "atlas_v2" or "ops_manager"',
    location => 'location /a { apikeys_api atlas_v3; }');
refused("apikeys_api in location $_", 
    'needs a prefix location without a slash at the end, such as',
    location => "location $_ { apikeys_api atlas_v1; }")
    for '/a/', '/', '= /a', '~ ^/a', '~* ^/a', '@a';
refused('apikeys_api in an if', qr/not allowed here|needs a prefix location/,
    location => 'location /a { if ($host) { apikeys_api atlas_v1; } }');
refused('apikeys_api in a server', qr/is not allowed here/,
    server => 'apikeys_api atlas_v1;');
refused('apikeys_api twice', qr/is duplicate/,
    location => api('apikeys_api atlas_v2;'));
refused('apikeys_api after another handler', qr/used with another handler/,
    location => 'location /a { empty_gif; apikeys_api atlas_v1; }');

# what must not be inherited by or set in a location of the API
refused('apikeys_auth off there', 
    '"apikeys_auth off" cannot be used with "apikeys_api" in location "/api",'
    . ' name a scheme there',
    location => api('apikeys_auth off;'));
refused('apikeys_auth off above it', qr/"apikeys_auth off" cannot be used/,
    location => api(''), server => 'apikeys_auth off;');
refused('expired=allow there', 
    '"expired=allow" cannot be used with "apikeys_api" in location "/api",'
    . ' set "expired=deny" there',
    location => api('apikeys_stale 1m expired=allow;'));
refused('expired=allow above it', qr/set "expired=deny" there/,
    location => api(''), http => 'apikeys_stale 1m expired=allow;');
taken('expired=deny there and expired=allow above',
    location => api('apikeys_stale 1m expired=deny;'),
    http => 'apikeys_stale 1m expired=allow;');
taken('a scheme there and off above',
    location => api('apikeys_auth digest;'), server => 'apikeys_auth off;');


# apikeys_public_url

taken("apikeys_public_url $_", location => api("apikeys_public_url $_;"))
    for 'http://a', 'https://api.example.com', 'https://[::1]:8443',
    'https://api.example.com:8443';
refused("apikeys_public_url $_->[0]", $_->[1] || 
    qq(invalid URL "$_->[0]", it must be a scheme and a host, such as),
    location => api("apikeys_public_url $_->[0];")) for
    [ 'api.example.com' ], [ 'ftp://a' ], [ 'https://' ], [ 'http://a/' ],
    [ 'https://a/b' ], [ 'http:a' ],
    [ "http://a;\napikeys_public_url http://b", qr/is duplicate/ ];
refused("apikeys_public_url with what no host has: $_", qr/invalid URL/,
    location => api("apikeys_public_url $_;"))
    for q{'https://a b'}, q{'https://a"b'}, 'https://a?b', 'https://a#b',
    q{'https://a\\\\b'};


# apikeys_auth

taken("apikeys_auth $_", location => api("apikeys_auth $_;")) for
    'digest', 'digest_sha256', 'basic', 'digest digest_sha256 basic',
    'header=X-Api-Key', 'digest basic header=X-Key';
refused("apikeys_auth $_->[0]", $_->[1] || 
    qr/invalid parameter "[^"]+", schemes are "digest", .*or "off" alone/,
    location => api("apikeys_auth $_->[0];")) for
    [ 'nosuch' ], [ 'digest digest' ], [ 'digest off' ], [ 'off digest' ],
    [ 'header=', qr/must be "header=" and the name of a header/ ],
    [ 'header=a header=b' ], [ 'on' ],
    [ "digest;\napikeys_auth basic", qr/is duplicate/ ];
refused('apikeys_auth with a header that nginx reads itself',
    qr/takes a header of its own/,
    location => api('apikeys_auth header=authorization;'));
refused("apikeys_auth with what is no header's name: $_", qr/invalid/,
    location => api("apikeys_auth $_;"))
    for q{'header=X Key'}, 'header=X:Key', q{'header=X"Key'};


# apikeys_api before another handler; t/500-access-directives.t has what
# concerns protected locations

refused("apikeys_api before $_", qr/ is used with another handler/,
    location => api($_)) for 'empty_gif;', 'proxy_pass http://127.0.0.1:1;',
    'apikeys_status;';


# apikeys_wait, apikeys_snapshot

taken("apikeys_wait $_", location => api("apikeys_wait $_;"))
    for '0', '500ms', '2s';
refused("apikeys_wait $_->[0]", $_->[1] || qr/"apikeys_wait" directive/,
    location => api("apikeys_wait $_->[0];")) for
    [ 'x' ], [ '-1s' ], [ '' , qr/invalid number of arguments/ ],
    [ "1s;\napikeys_wait 2s", qr/is duplicate/ ];

taken("apikeys_snapshot $_", http => "apikeys_snapshot $_;")
    for 'made/apikeys.snapshot', "$dir/made/apikeys.snapshot";
refused("apikeys_snapshot $_->[0]", $_->[1],
    http => "apikeys_snapshot $_->[0];") for
    [ '""', qr/must name a file/ ], [ "$dir/", qr/must name a file/ ],
    [ 'apikeys.snapshot', qr/cannot be written by the user of the workers,/ ],
    [ "/${\('x' x 5000)}", qr/is too long|too long parameter/ ],
    [ "a;\napikeys_snapshot b", qr/is duplicate/ ];


# neither more nor less than a prefix is claimed
taken('several bases and a location between', location => <<'END');
location /api/atlas/v1.0 { apikeys_api atlas_v1; }
location /api/atlas/v2 { apikeys_api atlas_v2; }
location /api/public/v1.0 { apikeys_api ops_manager; }
location /api { empty_gif; }
END

done_testing;
