# Protected locations: schemes, what a key must have, dry runs and figures,
# and how the directives are inherited.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Access ();
use MIME::Base64 qw( encode_base64 );
use Test::More;

my $t = ApiKeys::Access->new(zone => '4m');

my $org = $t->org;
my $other = $t->org;
my ($one, $two) = map { $t->project($org) } 1 .. 2;
my $foreign = $t->project($other);

my $member = $t->key($org, 'ORG_MEMBER');
my $reader = $t->key($org, 'ORG_READ_ONLY');
my $both = $t->key($org, 'ORG_READ_ONLY', 'ORG_BILLING_ADMIN');
my $viewer = $t->assign($org, $one, $t->key($org, 'ORG_MEMBER'),
    'GROUP_READ_ONLY');
my $editor = $t->assign($org, $one, $t->key($org, 'ORG_MEMBER'),
    'GROUP_OWNER', 'GROUP_DATA_ACCESS_READ_ONLY');
my $owner = $org->{key};
my $stranger = $other->{key};
my $unknown = 'zzzzzzzz:' . '0' x 36;


# what nginx -t refuses

sub refused {
    my ($title, $message, $conf, %opt) = @_;

    like($t->refused($conf, %opt) // 'nothing', $message, "refused: $title");
}

sub taken {
    my ($title, $conf, %opt) = @_;

    is($t->refused($conf, %opt), undef, "taken: $title");
}

refused("apikeys_require $_->[0]", $_->[1],
    "location /a { apikeys_auth basic; apikeys_require $_->[0]; }") for
    [ '', qr/invalid number of arguments/ ],
    [ 'nosuch=1', qr/invalid parameter "nosuch=1"/ ],
    [ 'org', qr/invalid parameter "org"/ ],
    [ 'org=', qr/"org=" names no id, .* 24 lower-case hex/ ],
    [ 'org=abc', qr/"org=abc" names no id/ ],
    [ 'org=' . 'A' x 24, qr/names no id/ ],
    [ 'project=' . 'g' x 24, qr/names no id/ ],
    [ 'org=$nosuch', qr/unknown "nosuch" variable/ ],
    [ 'org=$host org=$host', qr/duplicate parameter/ ],
    [ 'role=', qr/there is no role ""/ ],
    [ 'role=ORG_TEAM_MEMBERS_ADMIN', qr/there is no role "ORG_TEAM_/ ],
    [ 'project=' . '0' x 24 . ' role=GLOBAL_OWNER',
        qr/names a global role, which no project grants/ ],
    [ 'role=NOSUCH', qr/there is no role "NOSUCH"/ ],
    [ 'role=org_owner', qr/there is no role "org_owner"/ ],
    [ 'role=ORG_OWNER,', qr/there is no role ""/ ],
    [ 'role=ORG_OWNER role=ORG_MEMBER', qr/invalid parameter "role=ORG_M/ ],
    [ 'role=GROUP_OWNER', qr/role of a project, which needs "project="/ ],
    [ 'method=GET', qr/needs "org=", "project=" or "role="/ ],
    [ 'role=ORG_OWNER method=get', qr/invalid method "get", .*"A-Z0-9_-"/ ],
    [ 'role=ORG_OWNER method=', qr/invalid method ""/ ],
    [ 'role=ORG_OWNER method=!', qr/invalid method ""/ ],
    [ 'role=ORG_OWNER method=GET,', qr/invalid method ""/ ],
    [ 'role=ORG_OWNER method=' . 'A' x 33, qr/invalid method "A{33}", .* 32 / ],
    [ 'role=ORG_OWNER method=M+', qr/invalid method "M\+"/ ],
    [ 'role=ORG_OWNER method=!!GET', qr/invalid method "!GET"/ ],
    [ 'role=ORG_OWNER method=!GET,POST', qr/with and without "!", use a line/ ],
    [ 'role=ORG_OWNER method=POST,!GET', qr/with and without "!", use a line/ ],
    [ 'role=ORG_OWNER method=GET method=PUT', qr/invalid parameter "method=P/ ];
refused("apikeys_dry_run $_", qr/invalid value "$_" in "apikeys_dry_run"/,
    "apikeys_dry_run $_;") for 'yes', '1';
refused('apikeys_dry_run on for the API',
    qr/"apikeys_dry_run on" cannot be used with "apikeys_api"/,
    'apikeys_dry_run on;');
refused("apikeys_status $_->[0]", $_->[1],
    "location = /s { apikeys_status $_->[0]; }") for
    [ 'xml', qr/invalid value "xml", it must be "json", "prometheus" or / ],
    [ 'json json', qr/invalid number of arguments/ ];
refused('apikeys_status beside another handler', qr/with another handler/,
    'location = /s { empty_gif; apikeys_status; }');
refused('apikeys_auth in an if',
    qr/"apikeys_auth" directive is not allowed/,
    'location /a { if ($host) { apikeys_auth off; } }');


# schemes

$t->serve(<<'END');
    location /digest { apikeys_auth digest; empty_gif; }
    location /sha256 { apikeys_auth digest_sha256; empty_gif; }
    location /basic { apikeys_auth basic; empty_gif; }
    location /header { apikeys_auth header=X-Api-Key; empty_gif; }
    location /all { apikeys_auth header=X-Api-Key basic digest_sha256 digest;
                    empty_gif; }
    location /off { apikeys_auth off; empty_gif; }
    location /user { apikeys_auth basic; add_header X-User $remote_user;
                     empty_gif; }
END

my %scheme = (digest => 'digest', sha256 => 'sha256', basic => 'basic',
    header => 'X-Api-Key');

for my $place (sort keys %scheme) {
    for my $scheme (sort keys %scheme) {
        my $own = $place eq $scheme;
        my $none = $scheme eq 'header' ? 'no_credential' : 'bad_credential';
        $t->is("/$place", $member, $own ? (200, 'allow') : (401, $none),
            "$scheme in a location for $place", scheme => $scheme{$scheme});
    }
    $t->is("/$place", undef, 401, 'no_credential', "$place, none given");
    $t->is("/$place", "$member->{publicKey}:x", 401, 'wrong_secret',
        "$place, a wrong secret", scheme => $scheme{$place});
    $t->is("/$place", $unknown, 401, 'unknown_key', "$place, an unknown key",
        scheme => $scheme{$place});
    $t->is('/all', $member, 200, 'allow', "$place where all are taken",
        scheme => $scheme{$place});
}

is_deeply([ map { /^(\w+)(?:.*algorithm=([^,]+))?/ ? "$1 " . ($2 // '') : $_ }
        $t->request('/all')->header('www-authenticate') ],
    [ 'Digest MD5', 'Digest SHA-256', 'Basic ' ],
    'challenges, digest first, in whatever order they were configured');
is_deeply([ $t->request('/header')->header('www-authenticate') ], [],
    'a header of ours has no challenge');

$t->is('/off', undef, 200, undef, 'apikeys_auth off');
$t->is('/off', 'x:y', 200, undef, 'apikeys_auth off, with a credential',
    scheme => 'basic');

$t->is('/all', $member, 401, 'bad_credential', 'two credentials',
    scheme => 'X-Api-Key', headers => { Authorization => 'Basic '
        . encode_base64($member->{secret}, '') });
$t->is('/all', undef, 401, 'bad_credential', 'one of them twice',
    headers => { 'X-Api-Key' => [ ($member->{secret}) x 2 ] });
$t->is('/basic', $member, 200, 'allow',
    'a header that is no credential here', scheme => 'basic',
    headers => { 'X-Api-Key' => $member->{secret} });

for my $value ('', 'Basic', 'Basic ', 'Basic !', 'Digest', 'Digest x', 'x',
    'Basic ' . encode_base64('x', ''), 'Bearer x',
    'Bearer ' . $t->fixture->token,
    'basic' . encode_base64($member->{secret}, ''))
{
    $t->is('/all', undef, 401, 'bad_credential', "no credential: \"$value\"",
        headers => { Authorization => $value });
}
for my $value ($member->{publicKey}, ":$member->{privateKey}", ':', ' ',
    "$member->{publicKey} $member->{privateKey}")
{
    my $res = $t->request('/header', undef,
        headers => { 'X-Api-Key' => $value });
    is($res->code, 401, "no credential in a header: \"$value\"");
}
$t->is('/header', $member, 200, 'allow', 'a header in other letters',
    scheme => 'x-API-key');
$t->is('/basic', undef, 200, 'allow', 'a scheme in other letters',
    headers => { Authorization => 'bASIC '
        . encode_base64($member->{secret}, '') });


# what was seen before, right or wrong, is judged as it was at first; and who
# it is does not depend on how it was found

my $gone = $t->key($org, 'ORG_MEMBER');
$t->settle;
for my $place (qw( basic header )) {
    my %as = (scheme => $scheme{$place});
    for my $time (qw( first second third )) {
        $t->is("/$place", $gone, 200, 'allow', "$place, the $time time", %as);
        $t->is("/$place", "$gone->{publicKey}:x", 401, 'wrong_secret',
            "$place, a wrong secret for the $time time", %as);
        $t->is("/$place", $unknown, 401, 'unknown_key',
            "$place, an unknown key for the $time time", %as);
        $t->is("/$place", ':', 401,
            $place eq 'basic' ? 'bad_credential' : 'unknown_key',
            "$place, an empty name for the $time time", %as);
        $t->is("/$place", 'x' x 17 . ':x', 401, 'unknown_key',
            "$place, a long name for the $time time", %as);
    }
}
for my $time (qw( first second )) {
    is($t->request('/user', $gone, scheme => 'basic')->header('x-user'),
        $gone->{publicKey}, "\$remote_user for the $time time");
}
$t->is('/all', undef, 401, 'bad_credential',
    'the text of basic in the header of another scheme', headers => {
        'X-Api-Key' => encode_base64($gone->{secret}, '') });
is($org->{client}->request('DELETE', "$org->{path}/apiKeys/$gone->{id}")
    ->code, 204, 'a key is deleted');
$t->settle;
$t->is("/$_", $gone, 401, 'unknown_key', "$_, of a deleted key",
    scheme => $scheme{$_}) for qw( basic header );


# variables

$t->allow($org, $viewer, '127.0.0.0/8', '127.0.0.1/32');
$t->settle;
is_deeply($t->request('/basic', $viewer, scheme => 'basic')->{log}, {
    status => 200, decision => 'allow', public_key => $viewer->{publicKey},
    key_id => $viewer->{id}, org_id => $org->{id},
    roles => "ORG_MEMBER,$one->{id}:GROUP_READ_ONLY",
    access_entry => '127.0.0.1/32',
}, 'all variables of an admitted key, with the smallest entry');
is_deeply($t->request('/basic', "$viewer->{publicKey}:x", scheme => 'basic')
        ->{log},
    { status => 401, decision => 'wrong_secret', map { $_ => undef }
        qw( public_key key_id org_id roles access_entry ) },
    'and none before the secret was verified');
is($t->request('/basic', $owner, scheme => 'basic')->{log}{access_entry},
    undef, 'no entry of a key without a list');


# apikeys_require: who gets in

my %keys = (member => $member, reader => $reader, both => $both,
    viewer => $viewer, editor => $editor, owner => $owner,
    stranger => $stranger);
my @ours = qw( both editor member owner reader viewer );
my $none = '0' x 24;

# a rule, those that it lets in, and what $arg_v is
my @rules = (
    [ '', [ @ours, 'stranger' ] ],
    [ "apikeys_require org=$org->{id};", [ @ours ] ],
    [ 'apikeys_require org=$arg_v;', [ @ours ], $org->{id} ],
    [ "apikeys_require org=$other->{id};", [ 'stranger' ] ],
    [ "apikeys_require org=$none;", [] ],
    [ 'apikeys_require role=ORG_OWNER;', [qw( owner stranger )] ],
    [ 'apikeys_require role=ORG_READ_ONLY;', [qw( both reader )] ],
    [ 'apikeys_require role=ORG_OWNER,ORG_BILLING_ADMIN;',
        [qw( both owner stranger )] ],
    [ "apikeys_require role=ORG_OWNER org=$org->{id};", [ 'owner' ] ],

    # the owner of an organisation owns its projects, and no others
    [ "apikeys_require project=$one->{id};", [qw( editor owner viewer )] ],
    [ 'apikeys_require project=$arg_v;', [qw( editor owner viewer )],
        $one->{id} ],
    [ "apikeys_require project=$two->{id};", [ 'owner' ] ],
    [ "apikeys_require project=$foreign->{id};", [ 'stranger' ] ],
    [ "apikeys_require project=$none;", [] ],
    [ "apikeys_require project=$one->{id} role=GROUP_OWNER;",
        [qw( editor owner )] ],
    [ "apikeys_require project=$one->{id} role=GROUP_READ_ONLY;",
        [ 'viewer' ] ],
    [ "apikeys_require project=$one->{id} role=GROUP_READ_ONLY,GROUP_OWNER;",
        [qw( editor owner viewer )] ],
    [ "apikeys_require project=$one->{id} role=GROUP_DATA_ACCESS_READ_ONLY;",
        [ 'editor' ] ],
    [ "apikeys_require project=$one->{id} role=ORG_OWNER;", [ 'owner' ] ],
    [ "apikeys_require project=$one->{id} role=ORG_READ_ONLY,GROUP_READ_ONLY;",
        [qw( both reader viewer )] ],
    [ "apikeys_require project=$foreign->{id} role=ORG_READ_ONLY,ORG_OWNER;",
        [ 'stranger' ] ],
    [ "apikeys_require project=$one->{id} org=$other->{id};", [] ],
    [ "apikeys_require org=$org->{id} project=$one->{id} role=GROUP_OWNER;",
        [qw( editor owner )] ],

    # every line
    [ 'apikeys_require role=ORG_READ_ONLY;
       apikeys_require role=ORG_BILLING_ADMIN;', [ 'both' ] ],
    [ "apikeys_require org=$org->{id}; apikeys_require role=ORG_OWNER;",
        [ 'owner' ] ],
    [ "apikeys_require project=$one->{id};
       apikeys_require project=$two->{id};", [ 'owner' ] ],

    # what depends on who it is
    [ 'apikeys_require org=$apikeys_org_id;', [ @ours, 'stranger' ] ],
    [ 'apikeys_require project=$mapped;', [ 'viewer' ] ],
    [ 'apikeys_require org=$apikeys_decision;', [] ],

    # what is no id matches nothing, not even what has none
    map { [ 'apikeys_require org=$arg_v;', [], $_ ],
        [ 'apikeys_require project=$arg_v;', [], $_ ] }
        '', '%20', uc $org->{id}, substr($org->{id}, 1), "$org->{id}0",
        "%00$org->{id}", "$org->{id}%00", '$arg_v', 'ffffffffffffffffffffffff',
);

my $conf = '';
$conf .= "location = /rule/$_ { apikeys_auth basic; $rules[$_][0]
    empty_gif; }\n" for 0 .. $#rules;
$t->serve($conf, http => <<"END");
    map \$apikeys_public_key \$mapped {
        $viewer->{publicKey} $one->{id};
        $editor->{publicKey} $two->{id};
    }
END

for my $i (0 .. $#rules) {
    my ($rule, $in, $value) = @{ $rules[$i] };
    my $uri = "/rule/$i" . (defined $value ? "?v=$value" : '');
    my (@in, @other);

    for my $name (sort keys %keys) {
        my $client = $t->fixture->client;
        my $code = $client->plain('GET', $uri, undef, headers => {
            Authorization => 'Basic '
                . encode_base64($keys{$name}{secret}, '') })->code;
        $client->close;
        push @in, $name if $code == 200;
        push @other, "$name $code" if $code != 200 && $code != 403;
    }
    is("@in | @other", join(' ', sort @$in) . ' | ',
        ($rule =~ s/\s+/ /gr || 'no line') . (defined $value ? " $value" : ''));
}
unlike($t->nginx->error_log, qr/cycle while evaluating/,
    'no variable is needed for its own value');
$t->is('/rule/5', $member, 403, 'role', 'refused for a role',
    scheme => 'basic');


# method=

$t->serve(<<'END');
    location /n {
        apikeys_auth basic;
        apikeys_require role=ORG_OWNER method=POST,PUT;
        apikeys_require role=ORG_BILLING_ADMIN method=PUT,DELETE;
        apikeys_require role=ORG_READ_ONLY method=GET;
        proxy_pass http://127.0.0.1:%%PORT_1%%;
    }
    location /other {
        apikeys_auth basic;
        apikeys_require role=ORG_OWNER method=!GET,!PURGE;
        apikeys_require role=ORG_BILLING_ADMIN method=X_Y-Z,PATCH;
        proxy_pass http://127.0.0.1:%%PORT_1%%;
    }
    location /write {
        apikeys_auth basic;
        apikeys_require role=ORG_OWNER method=!GET;
        proxy_pass http://127.0.0.1:%%PORT_1%%;
    }
    location /head {
        apikeys_auth basic;
        apikeys_require role=ORG_OWNER method=!HEAD;
        apikeys_require role=ORG_READ_ONLY method=HEAD;
        proxy_pass http://127.0.0.1:%%PORT_1%%;
    }
END

my $all = join ' ', sort @ours, 'stranger';
for (
    [ '/n', GET => 'both reader' ], [ '/n', HEAD => 'both reader' ],
    [ '/n', POST => 'owner stranger' ], [ '/n', PUT => '' ],
    [ '/n', DELETE => 'both' ], [ '/n', PATCH => $all ],
    [ '/n', OPTIONS => $all ],

    # which no line names and nginx does not know
    [ '/n', PURGE => '' ], [ '/n', FOO => '' ],

    [ '/other', GET => $all ], [ '/other', HEAD => $all ],
    [ '/other', POST => 'owner stranger' ], [ '/other', PATCH => '' ],
    [ '/other', MOVE => 'owner stranger' ],
    [ '/other', OPTIONS => 'owner stranger' ],
    [ '/other', PROPPATCH => 'owner stranger' ],
    [ '/other', PURGE => $all ], [ '/other', 'X_Y-Z' => '' ],
    [ '/other', PURGED => '' ], [ '/other', FOO => '' ],

    [ '/write', GET => $all ], [ '/write', HEAD => $all ],
    (map { [ '/write', $_ => 'owner stranger' ] } qw( POST PUT PATCH DELETE
        OPTIONS MOVE COPY MKCOL PROPFIND PROPPATCH LOCK UNLOCK FOO GETS )),
    [ '/head', HEAD => 'both reader' ], [ '/head', GET => 'owner stranger' ],
    [ '/head', FOO => '' ])
{
    my ($uri, $method, $in) = @$_;
    my @in;
    for my $name (sort keys %keys) {
        my $res = $t->request($uri, $keys{$name}, scheme => 'basic',
            method => $method);
        push @in, $name if $res->code == 200;
        push @in, "$name $res->{code}" if $res->code !~ /^(?:200|403)$/;
    }
    is("@in", $in, "$uri: lines for $method");
}


# inheritance

my $gif = 'empty_gif;';
$t->serve(<<"END", http => <<'HTTP');
    location /h { $gif }
    location /h/off { apikeys_auth off; $gif }
    location /h/other { apikeys_auth header=X-Api-Key; $gif }
    location /h/require { apikeys_require role=ORG_READ_ONLY; $gif }
    location /h/nested {
        apikeys_require role=ORG_READ_ONLY;
        apikeys_require role=ORG_BILLING_ADMIN;
        location /h/nested/in { $gif }
        location /h/nested/one { apikeys_require role=ORG_READ_ONLY; $gif }
    }
    location /h/if { if (\$arg_a) { set \$b 1; } $gif }
    location /h/except {
        limit_except GET { apikeys_require role=ORG_READ_ONLY; }
        proxy_pass http://127.0.0.1:%%PORT_1%%;
    }
    location /h/public {
        apikeys_auth off;
        limit_except GET { apikeys_auth basic;
                           apikeys_require role=ORG_READ_ONLY; }
        proxy_pass http://127.0.0.1:%%PORT_1%%;
    }
    location /h/dry { apikeys_dry_run on; $gif
        location /h/dry/not { apikeys_dry_run off; $gif } }
END
    apikeys_auth basic;
    apikeys_require role=ORG_OWNER;
HTTP

my @basic = (scheme => 'basic');
$t->is('/h', $owner, 200, 'allow', 'from http: the scheme', @basic);
$t->is('/h', $member, 403, 'role', 'from http: the line', @basic);
$t->is('/h', undef, 401, 'no_credential', 'from http: a key');
$t->is('/h/off', undef, 200, undef, 'off in a location');
$t->is('/h/other', $owner, 401, 'bad_credential', 'another scheme', @basic);
$t->is('/h/other', $owner, 200, 'allow', 'another scheme, the same line',
    scheme => 'X-Api-Key');
$t->is('/h/other', $member, 403, 'role', 'which holds',
    scheme => 'X-Api-Key');
$t->is('/h/require', $reader, 200, 'allow', 'lines replace lines', @basic);
$t->is('/h/require', $owner, 403, 'role', 'all of them', @basic);
$t->is('/h/nested/in', $reader, 403, 'role', 'both lines of outside', @basic);
$t->is('/h/nested/in', $both, 200, 'allow', 'both lines hold', @basic);
$t->is('/h/nested/one', $reader, 200, 'allow', 'one line for two', @basic);
$t->is('/h/if?a=1', undef, 401, 'no_credential', 'an if inherits');
$t->is('/h/if?a=1', $owner, 200, 'allow', 'an if inherits the line', @basic);
$t->is('/h/if?a=1', $member, 403, 'role', 'an if inherits and holds', @basic);
$t->is('/h/except', $owner, 200, 'allow', 'GET beside limit_except', @basic);
$t->is('/h/except', $owner, 403, 'role', 'limit_except replaces', @basic,
    method => 'POST', body => '');
$t->is('/h/except', $reader, 200, 'allow', 'limit_except lets in', @basic,
    method => 'POST', body => '');
$t->is('/h/public', undef, 200, undef, 'GET without a key');
$t->is('/h/public', undef, 401, 'no_credential', 'and POST with one',
    method => 'POST', body => '');
$t->is('/h/public', $reader, 200, 'allow', 'which limit_except demands',
    @basic, method => 'POST', body => '');


# a dry run decides, reports, and refuses nothing

$t->is('/h/dry', undef, 200, 'no_credential', 'a dry run without a key');
$t->is('/h/dry', $member, 200, 'role', 'a dry run without the role', @basic);
$t->is('/h/dry', "$member->{publicKey}:x", 200, 'wrong_secret',
    'a dry run with a wrong secret', @basic);
$t->is('/h/dry', $owner, 200, 'allow', 'a dry run with all of it', @basic);
$t->is('/h/dry/not', $member, 403, 'role', 'off again further inside',
    @basic);
is_deeply([ $t->request('/h/dry')->header('www-authenticate') ], [],
    'no challenge in a dry run');


# the API: what a line demands of it comes before what the call demands

$t->serve('', api => 'apikeys_require role=ORG_OWNER method=GET,POST;
    limit_except GET { apikeys_require role=ORG_READ_ONLY; }');
my $client = $reader->{client}->with;
is($org->{client}->request('GET', "$org->{path}/apiKeys")->code, 200,
    'a call with the role of a line');
is($client->request('GET', "$org->{path}/apiKeys")->code, 403,
    'a call without it');
is($client->request('GET', "$org->{path}/apiKeys")->json->{errorCode},
    'ACCESS_FORBIDDEN', 'and what it is told');
is($client->request('PATCH', "$org->{path}/apiKeys/$reader->{id}",
    { desc => 'x' })->json->{errorCode}, 'USER_UNAUTHORIZED',
    'limit_except leaves the API what it is');
is($org->{client}->request('PATCH', "$org->{path}/apiKeys/$reader->{id}",
    { desc => 'x' })->code, 403, 'with lines of its own');
is($t->fixture->operator('GET', "$org->{path}/apiKeys")->code, 200,
    'which bind no operator');

done_testing;
