# Pages, links, counts, pretty, envelope and the rest of the query string:
# what the service that clients know does with them, byte for byte.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Expect;
use ApiKeys::Fixture ();
use Test::More;

my $v2_type = 'application/vnd.atlas.2023-01-01+json';

my $f = ApiKeys::Fixture->new(headers => { Accept => $v2_type },
    server => <<'END');
        location /behind {
            apikeys_api atlas_v1;
            apikeys_public_url https://api.example.com:8443;
        }
        location /strange-(base)[1] {
            apikeys_api atlas_v1;
        }
END
my $host = $f->nginx->url;
my $org = $f->org;
my $client = $org->{client};
my %base = %ApiKeys::Fixture::BASE;

# seven keys, a list with five entries, a project with three keys
my @keys = sort { $a->{publicKey} cmp $b->{publicKey} } $org->{key},
    map { $f->key($org, 'ORG_MEMBER') } 1 .. 6;
my $key = $f->key(my $small = $f->org, 'ORG_READ_ONLY');
my $project = $f->project($org);
my ($listed) = grep { $_ != $org->{key} } @keys;    # which it locks out
my $list = "/orgs/$org->{id}/apiKeys/$listed->{id}/accessList";

$client->request('POST', "$base{atlas_v1}$list",
    [ map +{ ipAddress => "192.0.2.$_" }, 1 .. 5 ])->code == 200 or die;
$client->request('PATCH', "$base{atlas_v1}/groups/$project->{id}/apiKeys/"
    . $keys[$_]{id}, { roles => [ 'GROUP_READ_ONLY' ] })->code == 200 or die
    for 1 .. 3;


# pages of every list: sizes, names of what is on them, and links

sub names {
    return [ map { $_->{publicKey} // $_->{ipAddress} // $_->{name} }
        @{ $_[0]{results} } ];
}

sub href {
    my ($path, $query) = @_;

    return "$host$path?$query";
}

# one page of two: rels and hrefs
sub page_links {
    my ($path, $page, $last, $kept) = @_;

    return [
        $page > 1 ? { rel => 'previous', href => href($path,
            "${kept}itemsPerPage=2&pageNum=" . ($page - 1)) } : (),
        { rel => 'self', href => href($path,
            "${kept}pageNum=$page&itemsPerPage=2") },
        $page < $last ? { rel => 'next', href => href($path,
            "${kept}itemsPerPage=2&pageNum=" . ($page + 1)) } : (),
    ];
}

for my $name (sort keys %base) {
    my $keys = [ map { $_->{publicKey} } @keys ];
    my $entries = [ map { "192.0.2.$_" } 1 .. 5 ];

    for my $case (
        [ "/orgs/$org->{id}/apiKeys", $keys ],
        [ $list, $entries ],
        $name eq 'atlas_v2' ? ()
            : [ $list =~ s/accessList/whitelist/r, $entries ],
        [ "/groups/$project->{id}/apiKeys", [ @$keys[1 .. 3] ] ],
        [ '/orgs', [ $org->{name} ] ],
        [ '/groups', [ $project->{name} ] ],
        [ "/orgs/$org->{id}/groups", [ $project->{name} ] ])
    {
        my ($path, $all) = @$case;
        my $last = int((@$all + 1) / 2);

        for my $page (1 .. $last + 2) {
            my @want = map { $_ < @$all ? $all->[$_] : () }
                2 * $page - 2, 2 * $page - 1;
            my $got = $client->request('GET',
                "$base{$name}$path?itemsPerPage=2&pageNum=$page")->json;

            is_deeply([ names($got), @$got{qw( totalCount links )} ],
                [ \@want, scalar @$all,
                    page_links("$base{$name}$path", $page, $last, '') ],
                "$name: page $page of $path");
        }
    }
}

for my $case ([ 7, 1, 'self' ], [ 6, 1, 'self next' ], [ 8, 1, 'self' ],
    [ 7, 2, 'previous self' ], [ 1, 7, 'previous self' ],
    [ 1, 6, 'previous self next' ])
{
    my ($size, $page, $rels) = @$case;
    is(join(' ', map { $_->{rel} } @{ $client->request('GET', "$org->{path}"
        . "/apiKeys?itemsPerPage=$size&pageNum=$page")->json->{links} }),
        $rels, "7 keys: page $page of $size");
}

# what is sent stays, in its order; what is ours comes behind
for my $case (
    [ '?includeCount=true&itemsPerPage=2&pageNum=2', 'includeCount=true&' ],
    [ '?pageNum=2&pretty=false&itemsPerPage=2', 'pretty=false&' ],
    [ '?itemsPerPage=2&name=&pageNum=2&x', 'name=&x&' ],
    [ '?a=%41+b%2fc&itemsPerPage=2&pageNum=2&pageNum=7&itemsPerPage=9&a=1',
        'a=%41+b%2fc&a=1&' ],
    [ '?%70ageNum=2&itemsPer%50age=2&pagenum=9', 'pagenum=9&' ],
    [ '?&&itemsPerPage=2&&pageNum=2&', '' ],
    [ '?itemsPerPage=2&pageNum=2&q=a=b&q="<>', 'q=a=b&q="<>&' ],
    [ '?itemsPerPage=2&pageNum=2&=x&=', '=x&=&' ])
{
    my ($query, $kept) = @$case;
    my $path = "$base{atlas_v2}/orgs/$org->{id}/apiKeys";

    is_deeply($f->operator('GET', "$path$query")->json->{links},
        page_links($path, 2, 4, $kept), "links of $query");
}

# values
my $path = "$org->{path}/apiKeys";

for my $case (
    [ '', 7, 'pageNum=1&itemsPerPage=100' ],
    [ '?', 7, 'pageNum=1&itemsPerPage=100' ],
    [ '?itemsPerPage=500', 7, 'pageNum=1&itemsPerPage=500' ],
    [ '?itemsPerPage=501', 7, 'pageNum=1&itemsPerPage=500' ],
    [ '?itemsPerPage=2147483647', 7, 'pageNum=1&itemsPerPage=500' ],
    [ '?itemsPerPage=0&pageNum=0', 7, 'pageNum=1&itemsPerPage=100' ],
    [ '?itemsPerPage=0&pageNum=2', 0, 'pageNum=2&itemsPerPage=100' ],
    [ '?itemsPerPage=2&pageNum=00', 2, 'pageNum=1&itemsPerPage=2' ],
    [ '?itemsPerPage=0002', 2, 'pageNum=1&itemsPerPage=2' ],
    [ '?itemsPerPage=%32', 2, 'pageNum=1&itemsPerPage=2' ],
    [ '?itemsPerPage=3&itemsPerPage=x', 3, 'pageNum=1&itemsPerPage=3' ],
    [ '?pageNum=2147483647', 0, 'pageNum=2147483647&itemsPerPage=100' ],
    [ '?pageNum=2147483647&itemsPerPage=500', 0,
        'pageNum=2147483647&itemsPerPage=500' ])
{
    my ($query, $n, $self) = @$case;
    my $res = $client->request('GET', "$path$query");
    my ($link) = grep { $_->{rel} eq 'self' } @{ $res->json->{links} };

    is($res->code . ' ' . @{ $res->json->{results} } . " $link->{href}",
        "200 $n " . href($path, $self), "self of '$query'");
}

for my $value ('-0', '-1', '', 'x', '1x', '1.0', '+1', '%20', '2147483648',
    '9223372036854775808', '99999999999999999999999')
{
    for my $name (qw( pageNum itemsPerPage )) {
        refused($client->request('GET', "$path?$name=$value"),
            'INVALID_QUERY_PARAMETER', [ $name ], "$name=$value");
    }
}
refused($client->request('GET', "$path?$_=1"), 'INVALID_QUERY_PARAMETER',
    [ $_ ], "$_=1") for qw( pretty envelope includeCount );
refused($client->request('GET', "$path?$_"), 'INVALID_QUERY_PARAMETER',
    [ $_ ], "$_ without a value")
    for qw( pretty envelope includeCount pageNum itemsPerPage );
is($client->request('GET', "$path/$keys[0]{id}?pageNum=x&includeCount=y")
    ->code, 200, 'what belongs to lists means nothing elsewhere');
refused($client->request('POST', "$base{atlas_v1}$list?pageNum=x", []),
    'INVALID_QUERY_PARAMETER', [ 'pageNum' ],
    'POST on a list has pages, too');

# counts
for my $case ([ 'false', 0 ], [ 'FALSE', 0 ], [ 'true', 1 ], [ 'TrUe', 1 ],
    [ 'false&includeCount=true', 0 ])
{
    my ($value, $there) = @$case;
    my $json = $client->request('GET', "$path?includeCount=$value")->json;

    is(exists $json->{totalCount} ? 1 : 0, $there, "includeCount=$value");
    is($json->{links}[0]{href},
        href($path, "includeCount=$value&pageNum=1&itemsPerPage=100"),
        'and its link');
}


# empty lists and pretty; $key's organisation has two keys and no entry

my $keys_path = "$base{atlas_v1}/orgs/$small->{id}/apiKeys";
my $one = "$keys_path/$key->{id}";

answers($small->{client}->request('GET', "$one/accessList"), 200,
    { links => [ { rel => 'self',
        href => href("$one/accessList", 'pageNum=1&itemsPerPage=100') } ],
        results => [], totalCount => 0 }, 'an empty list');

answers($small->{client}->request('GET', "$one/accessList?pretty=true"), 200,
    <<"END" =~ s/\n\z//r, 'an empty list, pretty');
{
  "links" : [ {
    "href" : "$host$one/accessList?pretty=true&pageNum=1&itemsPerPage=100",
    "rel" : "self"
  } ],
  "results" : [ ],
  "totalCount" : 0
}
END

my $redacted = $key->{privateKey} =~ s/.*-/********-****-****-/r;

my $pretty = <<"END" =~ s/\n\z//r;
{
  "desc" : "$key->{desc}",
  "id" : "$key->{id}",
  "links" : [ {
    "href" : "$host$one",
    "rel" : "self"
  } ],
  "privateKey" : "$redacted",
  "publicKey" : "$key->{publicKey}",
  "roles" : [ {
    "orgId" : "$small->{id}",
    "roleName" : "ORG_READ_ONLY"
  } ]
}
END
answers($small->{client}->request('GET', "$one?pretty=$_"), 200, $pretty,
    "a key, pretty=$_") for qw( true TRUE );
answers($small->{client}->request('PATCH', "$one?pretty=true",
    { roles => [ 'ORG_READ_ONLY' ] }), 200, $pretty, 'PATCH, pretty');
answers($small->{client}->request('GET', "$one?pretty=false&pretty=true"),
    200, plain_text($one), 'the first of two wins');

{
    my $text = $client->request('GET', "$path?pretty=true&itemsPerPage=2")
        ->body;
    like($text, qr/"results" : \[ \{\n    "desc"/, 'a list, pretty: begins');
    like($text, qr/\n  \}, \{\n    "desc"/, 'a list, pretty: goes on');
    like($text, qr/\n    \} \]\n  \} \],\n  "totalCount" : 7\n\}\z/,
        'a list, pretty: ends');
}

answers($small->{client}->request('GET', "$keys_path/x?pretty=true"), 400,
    <<"END" =~ s/\n\z//r, 'an error, pretty', code => 'PATH_PARAM_PARSE_ERROR');
{
  "detail" : "One or more path parameter in the request URI $keys_path/x is malformed.",
  "error" : 400,
  "errorCode" : "PATH_PARAM_PARSE_ERROR",
  "parameters" : [ "$keys_path/x" ],
  "reason" : "Bad Request"
}
END

challenged($f->client->request('GET', "$keys_path?$_"),
    "the 401 of digest is as it is: $_")
    for qw( pretty=false pretty=true envelope=true );


# envelope

sub plain_text {
    my ($uri) = @_;

    return $small->{client}->request('GET', $uri)->body;
}

for my $name (sort keys %base) {
    my $uri = "$base{$name}/orgs/$small->{id}/apiKeys/$key->{id}";

    answers($small->{client}->request('GET', "$uri?envelope=true"), 200,
        '{"status":200,"content":' . plain_text($uri) . '}',
        "$name: a key in an envelope");

    my $all = plain_text("$uri/accessList?envelope=false");
    $all =~ s/envelope=false/envelope=true/;
    $all =~ s/"totalCount"/"status":200,"totalCount"/ or die $all;
    answers($small->{client}->request('GET', "$uri/accessList?envelope=true"),
        200, $all, "$name: a list is its own envelope");

    my $error = plain_text("$uri/accessList/x");
    my $res = $small->{client}->request('GET',
        "$uri/accessList/x?envelope=true");
    answers($res, 400, qq({"status":400,"content":$error}),
        "$name: an error in an envelope", type => 'application/json',
        code => 'INVALID_IP_ADDRESS_OR_CIDR_NOTATION');

    my $new = $small->{client}->request('POST',
        "$base{$name}/orgs/$small->{id}/apiKeys?envelope=true",
        { desc => 'x', roles => [ 'ORG_MEMBER' ] });
    like($new->body, qr/^\{"status":200,"content":\{"desc":"x",/,
        "$name: a new key in an envelope");
    no_content($small->{client}->request('DELETE',
        "$base{$name}/orgs/$small->{id}/apiKeys/$new->{body}?envelope=true"
        =~ s/\{.*"id":"(\w{24})".*\}\}/$1/r), "$name: a 204 stays empty");
}

answers($small->{client}->request('GET', "$one?envelope=true&pretty=true"),
    200, "{\n  \"status\" : 200,\n  \"content\" : "
        . $pretty =~ s/\n/\n  /gr . "\n}", 'envelope and pretty');

answers($f->operator('POST', '/orgs?envelope=true', { name => 'x' }), 201,
    '{"status":201,"content":{"federationSettingsId":null,"orgOwnerId":null,'
    . '"organization":' . json_text($f->operator('GET', '/orgs/'
        . $f->db->psql(q{SELECT id FROM apikeys.orgs WHERE name = 'x'}))->json)
    . '}}', 'a 201 in an envelope');


# where links point to

sub self {
    my ($uri, %opt) = @_;

    return $client->request('GET', $uri, undef, %opt)->json->{links}[0]{href};
}

my $short = "/orgs/$org->{id}/apiKeys/$keys[0]{id}";
is(self("$base{atlas_v1}$short", headers => { Host => $_ }),
    "http://$_$base{atlas_v1}$short", "the host of the request: $_")
    for 'api.test', 'API.test:8443', '[::1]:80', '192.0.2.1';
is(self("$base{atlas_v1}$short", headers => {
    'X-Forwarded-Host' => 'evil.test', 'X-Forwarded-Proto' => 'https',
    'X-Forwarded-Port' => 443, Forwarded => 'host=evil.test;proto=https' }),
    "$host$base{atlas_v1}$short", 'what a proxy may have said is not trusted');
is(self("/behind$short", headers => { Host => 'evil.test' }),
    "https://api.example.com:8443/behind$short", 'apikeys_public_url');
is(self("/behind/orgs/$org->{id}/apiKeys"), 'https://api.example.com:8443'
    . "/behind/orgs/$org->{id}/apiKeys?pageNum=1&itemsPerPage=100",
    'apikeys_public_url in a list');
is(self("/strange-(base)[1]$short"), "$host/strange-(base)[1]$short",
    'a base that a pattern would take for one');
is(self("$base{atlas_v1}//orgs/./$org->{id}/apiKeys/x/../$keys[0]{id}"),
    "$host$base{atlas_v1}$short", 'links are those of the resource');

{
    my $raw = $client->with;
    $raw->send("GET $base{atlas_v1}$short HTTP/1.0\r\nAuthorization: Bearer "
        . $f->token . "\r\n\r\n");
    is($raw->read->json->{links}[0]{href}, "$host$base{atlas_v1}$short",
        'without a Host: the address that was asked');
}

done_testing;
