# What each directive takes, and what nginx -t says to what it does not: a
# sentence that names the directive or the value and tells what to do.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';
use MIME::Base64 qw( encode_base64 );

my $nginx = fixture()->nginx;

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
    'key.token' => 'operator_01234567-89ab-4cde-8f01-23456789abcd',
    'empty.token' => '',
    'password' => 'secret',
);
$nginx->write_file($_, "$file{$_}\n", 0600) for keys %file;
$nginx->write_file('open.key', "$one\n", 0640);
$nginx->write_file('world.key', "$one\n", 0604);
$nginx->write_file('open.token', 'x' x 20 . "\n", 0644);

my ($least) = (tested('http: apikeys_zone zone=k:8k;'))[1]
    =~ /"k" .* is too small: has 8192 bytes, needs at least "zone=k:(\d+)k"/;

names(dir => $nginx->dir, one => $one, TAB => "\t", x5000 => 'x' x 5000,
    conninfo => "'user=u host=/tmp'", least => $least, less => $least - 4,
    scheme => 'must be a scheme and a host without a path, such as',
    schemes => 'schemes are "digest", "digest_sha256", "basic", "bearer" and '
        . '"header=name", each once, or "off" alone',
    alone => 'cannot be combined with another handler in location');

run_tests();

__DATA__

=== TEST 1: nginx starts with the three directives of http that belong together
--- taken: server:

=== TEST 2: nginx starts without the three directives if nothing needs them
--- taken: without: database zone master_key_file

=== TEST 3: one of the three directives needs the two others
--- conf: without: ...
--- refused: database || zone || master_key_file -> "apikeys_..." is not set: "apikeys_database", "apikeys_zone" and "apikeys_master_key_file" are needed together in the "http" block

=== TEST 4: apikeys_api and apikeys_auth need the three directives
--- conf: without: database zone master_key_file | server: ...
--- refused
location /api { apikeys_api atlas_v1; } || location / { apikeys_auth digest; } -> "apikeys_database" is not set


=== TEST 5: the three directives are not allowed in a server
--- refused
without: database | apikeys_database $conninfo; -> "apikeys_database" directive is not allowed here
without: zone | apikeys_zone zone=k:4m; -> "apikeys_zone" directive is not allowed here
without: master_key_file | apikeys_master_key_file $dir/master.key; -> "apikeys_master_key_file" directive is not allowed here

=== TEST 6: none of the three directives may be there twice
--- refused
http: apikeys_database $conninfo; apikeys_database $conninfo; -> "apikeys_database" directive is duplicate
http: apikeys_zone zone=k:4m; apikeys_zone zone=l:4m; -> "apikeys_zone" directive is duplicate
http: apikeys_master_key_file master.key; apikeys_master_key_file master.key; -> "apikeys_master_key_file" directive is duplicate

=== TEST 7: apikeys_database takes numbers, times and a file with the password
--- conf: http: apikeys_database $conninfo ...;
--- taken
connections=1 || connections=1000 || queue=1 || queue=1000000 ||
    connect_timeout=1ms || timeout=500ms timeout=2m ||
    connections=2 queue=3 connect_timeout=4s timeout=5s ||
    password_file=$dir/password || password_file=password


=== TEST 8: apikeys_database takes 1 to 1000 connections and a queue of 1 to 1000000
--- conf: http: apikeys_database $conninfo ...;
--- refused
connections=0 || connections=1001 || connections=x || connections= ||
    connections=-1 -> invalid parameter "..." in "apikeys_database": must be from 1 to 1000 in
queue=0 || queue=1000001 -> invalid parameter "..." in "apikeys_database": must be from 1 to 1000000 in

=== TEST 9: apikeys_database takes times of a millisecond or more
--- conf: http: apikeys_database $conninfo ...;
--- refused
connect_timeout=0 || connect_timeout=0s || connect_timeout=x ||
    connect_timeout= || connect_timeout=1parsec || timeout=0 || timeout=0s ||
    timeout=x || timeout= || timeout=1parsec -> invalid parameter "..." in "apikeys_database": must be a time of 1ms or more


=== TEST 10: apikeys_database refuses an unknown parameter
--- conf: http: apikeys_database $conninfo ...;
--- refused: nosuch=1 || connections || password=x || dbname=x -> invalid parameter "..." in "apikeys_database": must be "connections=", "queue=", "connect_timeout=", "timeout=" or "password_file="; a connection string with blanks must be in quotes

=== TEST 11: apikeys_database says why a password file cannot be used
--- conf: http: apikeys_database $conninfo password_file=$dir/...;
--- refused
nosuch -> ~cannot open password_file "$dir/nosuch" \(2: .*\): create it with mode 0600 and
empty.token -> empty.token" is empty, must contain exactly one line, the password
twice.key -> has several lines, must contain exactly one line, the password
open.key -> ~open\.key.*chmod 600

=== TEST 12: apikeys_database refuses a password in its string and does not show it
--- refused: http: apikeys_database 'user=u password=secret'; -> "password_file="
--- unsaid: =secret

=== TEST 13: apikeys_database needs a connection string
--- refused: http: apikeys_database; -> invalid number of arguments in "apikeys_database"

=== TEST 14: apikeys_zone takes a name and a size in one of three units
--- conf: http: apikeys_zone ...;
--- taken: zone=a:1m || zone=a_b:16384k || zone=a:8388608

=== TEST 15: apikeys_zone refuses a name or a size that is missing or no size
--- conf: http: apikeys_zone ...;
--- refused: k:4m || zone=k || zone=:4m || zone=k: || zone=k:x || zone=k:-1 -> invalid parameter "..." in "apikeys_zone": must be "zone=name:size", such

=== TEST 16: apikeys_zone says the least size, which nginx takes
--- conf: http: apikeys_zone zone=k:...k;
--- taken: $least
--- refused: $less -> needs at least "zone=k:${least}k"

=== TEST 17: apikeys_zone needs no more than a megabyte
--- taken: http: apikeys_zone zone=k:1024k;

=== TEST 18: apikeys_zone refuses more than 128 gigabytes
--- refused: http: apikeys_zone zone=k:196608m; -> zone "k" in "apikeys_zone" is too large: has 206158430208 bytes, at most 128 gigabytes

=== TEST 19: apikeys_zone takes one argument
--- refused: http: apikeys_zone zone=k:4m x; -> invalid number of arguments in "apikeys_zone"

=== TEST 20: apikeys_zone refuses the name of a zone of another module
--- refused: http: limit_req_zone $uri zone=k:4m rate=1r/s; apikeys_zone zone=k:4m; -> zone "k"

=== TEST 21: apikeys_master_key_file takes a path, or a name in the directory of nginx.conf
--- conf: http: apikeys_master_key_file ...;
--- taken: $dir/master.key || master.key || two.key

=== TEST 22: apikeys_master_key_file says why a file cannot be read
--- conf: http: apikeys_master_key_file ...;
--- refused
nosuch.key -> ~cannot open master key file "$dir/nosuch\.key" \(2: [^()]*\): copy it from another node or the backup; only for a new .*openssl rand
master.key/x -> ~\(20: .*\): must be readable by the user that starts
$dir -> is not a regular file, correct the path
open.key -> ~permissions 0640 of .* are too open, run "chmod 600
world.key -> ~permissions 0604 of .* are too open, run "chmod 600
large.key -> has 24001 bytes, at most 16384 are possible
--- unsaid: $one

=== TEST 23: apikeys_master_key_file refuses a file without a key, and a line that is none
--- conf: http: apikeys_master_key_file ...;
--- refused
empty.key || comment.key -> ~contains no key: restore it from another node or the backup; only for a new .*openssl rand
short.key || long.key || garbage.key -> ~line 1 of .*is not 32 bytes in base64: restore it from another node or the backup; only for a new .*openssl rand

=== TEST 24: apikeys_master_key_file refuses a key that is there twice, and more than 16
--- conf: http: apikeys_master_key_file ...;
--- refused
twice.key -> ~line 2 of .*repeats the key of an .*: remove line 2
many.key -> more than 16 keys: remove lines that no API key uses
--- unsaid: $one

=== TEST 25: apikeys_operator_token_file takes a path, or a name in the directory of nginx.conf
--- conf: http: apikeys_operator_token_file ...;
--- taken: $dir/token || token

=== TEST 26: apikeys_operator_token_file says why a file cannot be used
--- conf: http: apikeys_operator_token_file ...;
--- refused
nosuch -> ~token file "$dir/nosuch" \(2: .*\): copy it from another node
$dir -> is not a regular file
open.token -> run "chmod 600
key.token -> ~has the form of the token of an API key, make another one.*openssl rand
short.token -> ~shorter than 20 characters, make one.*openssl rand
empty.token -> is empty, must contain exactly one line, the token
token; apikeys_operator_token_file token -> "apikeys_operator_token_file" directive is duplicate

=== TEST 27: apikeys_realm takes a text with blanks and a comma
--- taken: http: apikeys_realm "My API, version 2";

=== TEST 28: apikeys_realm refuses what the challenge cannot have in quotes
--- conf: http: apikeys_realm ...;
--- refused: 'a "b"' || 'a\\b' || 'café' || 'a${TAB}b' -> must be printable ASCII without quotes and backslashes

=== TEST 29: apikeys_realm is there once and not empty
--- conf: http: apikeys_realm ...;
--- refused
"" -> "apikeys_realm" directive must not be empty
x; apikeys_realm y -> "apikeys_realm" directive is duplicate

=== TEST 30: apikeys_sync takes a time, and notify on or off
--- conf: http: apikeys_sync ...;
--- taken: poll=10ms || poll=5s notify=off || notify=on || notify=off poll=1s

=== TEST 31: apikeys_sync polls every 10 ms or less often
--- conf: http: apikeys_sync ...;
--- refused: poll=0 || poll=9ms || poll=x || poll= -> invalid parameter "..." in "apikeys_sync": must be a time of 10ms or more

=== TEST 32: apikeys_sync refuses an unknown parameter and an unknown value
--- conf: http: apikeys_sync ...;
--- refused: notify=x || notify || nosuch=1 -> invalid parameter "..." in "apikeys_sync": must be "poll=time", "notify=on" or "notify=off"

=== TEST 33: apikeys_sync is there once, with a parameter
--- refused
http: apikeys_sync poll=1s; apikeys_sync notify=on; -> "apikeys_sync" directive is duplicate
http: apikeys_sync; -> invalid number of arguments in "apikeys_sync"

=== TEST 34: apikeys_stale takes a time, and deny or allow
--- taken
api: apikeys_stale 1s; || api: apikeys_stale 10m expired=deny; ||
    api: apikeys_stale 1d; ||
    http: apikeys_stale 1h; | server: apikeys_stale 2h expired=allow;


=== TEST 35: apikeys_stale takes a time of a millisecond or more
--- conf: api: apikeys_stale ...;
--- refused: 0 || x || -1s -> invalid parameter "..." in "apikeys_stale": must be a time of 1ms or more

=== TEST 36: apikeys_stale refuses an unknown parameter
--- conf: api: apikeys_stale 1s ...;
--- refused: expired=x || allow -> invalid parameter "..." in "apikeys_stale": must be "expired=deny" or "expired=allow"

=== TEST 37: apikeys_stale is there once
--- refused: api: apikeys_stale 1s; apikeys_stale 2s; -> "apikeys_stale" directive is duplicate

=== TEST 38: apikeys_api takes the four APIs
--- conf: location /a { apikeys_api ...; }
--- taken: atlas_v1 || atlas_v2 || ops_manager || native

=== TEST 39: apikeys_api refuses an unknown API
--- refused: location /a { apikeys_api atlas_v3; } -> invalid parameter "atlas_v3" in "apikeys_api": must be "atlas_v1", "atlas_v2", "ops_manager" or "native"

=== TEST 40: apikeys_api takes a prefix location with ^~
--- taken: location ^~ /a { apikeys_api atlas_v1; }

=== TEST 41: apikeys_api refuses a location that is no prefix, or ends with a slash
--- conf: location ... { apikeys_api atlas_v1; }
--- refused
/a/ || / -> "apikeys_api" cannot be used in location "...": must be a prefix location without a slash at the end, such as
= /a -> "apikeys_api" cannot be used in location "/a": must be a prefix location without a slash at the end, such as
~ ^/a -> "apikeys_api" cannot be used in location "^/a": must be a prefix location without a slash at the end, such as
~* ^/a -> "apikeys_api" cannot be used in location "^/a": must be a prefix location without a slash at the end, such as
@a -> "apikeys_api" cannot be used in location "@a": must be a prefix location without a slash at the end, such as

=== TEST 42: apikeys_api is not allowed in an if and in a server
--- refused
location /a { if ($host) { apikeys_api atlas_v1; } } || apikeys_api atlas_v1; -> "apikeys_api" directive is not allowed here


=== TEST 43: apikeys_api is there once in a location
--- refused: api: apikeys_api atlas_v2; -> "apikeys_api" directive is duplicate

=== TEST 44: apikeys_api refuses a location that has another handler
--- refused: location /a { empty_gif; apikeys_api atlas_v1; } -> "apikeys_api" $alone "/a", such as proxy_pass, empty_gif or apikeys_status: remove one of them

=== TEST 45: a location of the API refuses another handler
--- conf: api: ...;
--- refused: empty_gif || proxy_pass http://127.0.0.1:1 || apikeys_status -> $alone "/api", such as

=== TEST 46: the API refuses apikeys_auth off, there and above
--- refused: api: apikeys_auth off; || api: | server: apikeys_auth off; -> "apikeys_auth off" cannot be used with "apikeys_api" in location "/api", name a scheme there

=== TEST 47: the API refuses to decide without fresh data, there and above
--- refused
api: apikeys_stale 1m expired=allow; ||
    api: | http: apikeys_stale 1m expired=allow; -> "apikeys_stale" with "expired=allow" cannot be used with "apikeys_api" in location "/api", set "expired=deny" there


=== TEST 48: the API may turn off what holds above it
--- taken
api: apikeys_stale 1m expired=deny; | http: apikeys_stale 1m expired=allow; ||
    api: apikeys_auth digest; | server: apikeys_auth off;


=== TEST 49: apikeys_public_url takes a scheme and a host, with a port or without
--- conf: api: apikeys_public_url ...;
--- taken
http://a || https://api.example.com || https://[::1]:8443 ||
    https://api.example.com:8443


=== TEST 50: apikeys_public_url refuses what is not a scheme and a host
--- conf: api: apikeys_public_url ...;
--- refused
api.example.com || ftp://a || https:// || http://a/ || https://a/b || http:a -> invalid parameter "..." in "apikeys_public_url": $scheme


=== TEST 51: apikeys_public_url refuses a character that no host has
--- conf: api: apikeys_public_url ...;
--- refused
'https://a b' || 'https://a"b' || https://a?b || https://a#b || 'https://a\\b' -> "apikeys_public_url": $scheme


=== TEST 52: apikeys_public_url is there once
--- refused: api: apikeys_public_url http://a; apikeys_public_url http://b; -> "apikeys_public_url" directive is duplicate

=== TEST 53: apikeys_auth takes one scheme or several
--- conf: api: apikeys_auth ...;
--- taken
digest || digest_sha256 || basic || digest digest_sha256 basic ||
    header=X-Api-Key || digest basic header=X-Key


=== TEST 54: apikeys_auth refuses an unknown scheme, one twice, and off beside another
--- conf: api: apikeys_auth ...;
--- refused
nosuch || on -> invalid parameter "..." in "apikeys_auth": $schemes
digest digest -> invalid parameter "digest" in "apikeys_auth": $schemes
digest off -> invalid parameter "off" in "apikeys_auth": $schemes
off digest -> invalid parameter "off" in "apikeys_auth": $schemes
header=a header=b -> invalid parameter "header=b" in "apikeys_auth": $schemes
digest; apikeys_auth basic -> "apikeys_auth" directive is duplicate

=== TEST 55: apikeys_auth refuses a name that no header has
--- conf: api: apikeys_auth ...;
--- refused
header= || header=X:Key -> invalid parameter "..." in "apikeys_auth": must be "header=" and the name of a header
'header=X Key' -> invalid parameter "header=X Key" in "apikeys_auth": must be "header="
'header=X"Key' -> invalid parameter "header=X"Key" in "apikeys_auth": must be "header="

=== TEST 56: apikeys_auth refuses the header that digest and basic read
--- refused: api: apikeys_auth header=authorization; -> invalid parameter "header=authorization" in "apikeys_auth": is the header of "digest" and "basic", choose another name

=== TEST 57: apikeys_wait takes a time, or 0
--- conf: api: apikeys_wait ...;
--- taken: 0 || 500ms || 2s

=== TEST 58: apikeys_wait is there once, with a time
--- refused
api: apikeys_wait x; -> "apikeys_wait" directive invalid value
api: apikeys_wait -1s; -> "apikeys_wait" directive invalid value
api: apikeys_wait; -> invalid number of arguments in "apikeys_wait"
api: apikeys_wait 1s; apikeys_wait 2s; -> "apikeys_wait" directive is duplicate

=== TEST 59: apikeys_snapshot takes a path, or a name in the directory of nginx
--- conf: http: apikeys_snapshot ...;
--- taken: made/apikeys.snapshot || $dir/made/apikeys.snapshot

=== TEST 60: apikeys_snapshot is there once and names a file that workers can write
--- conf: http: apikeys_snapshot ...;
--- refused
"" -> must name a file
$dir/ -> must name a file
apikeys.snapshot -> of apikeys_snapshot is not writable by user
/$x5000 -> ~is too long|too long parameter
a; apikeys_snapshot b -> "apikeys_snapshot" directive is duplicate

=== TEST 61: locations of the API and another one share a prefix
--- taken
location /api { empty_gif; } location /api/atlas/v1.0 { apikeys_api atlas_v1; }
    location /api/atlas/v2 { apikeys_api atlas_v2; }
    location /api/public/v1.0 { apikeys_api ops_manager; }
