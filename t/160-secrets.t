# Where a private key, a token or a master key must not be seen: in the
# database, in logs of every level, in nginx -T, in answers but that of the
# request that made it, in what other users see of processes and files.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Expect;
use ApiKeys::Fixture ();
use ApiKeys::Secrets ();
use MIME::Base64 qw( encode_base64 );
use Test::More;

my $f = ApiKeys::Fixture->new(start => 0);

$f->nginx->configure(log_level => 'debug',
    http => $f->http_conf(http => <<'END'), server => $f->server_conf(
        log_format all '$remote_user "$request" $status $apikeys_public_key '
            '"$apikeys_key_id" $apikeys_decision $apikeys_roles';
        apikeys_snapshot %%DIR%%/state/snapshot;
END
    server => <<'END'));
        access_log %%DIR%%/access.log all;
        location /all {
            apikeys_api atlas_v1;
            apikeys_auth digest digest_sha256 basic bearer header=X-Api-Key;
        }
END
$f->start;

my $nginx = $f->nginx;
my $base = $f->base;
my $org = $f->org;
my $project = $f->project($org);
my $key = $f->key($org, 'ORG_MEMBER');
my $in = $org->{client}->request('POST',
    "$base/groups/$project->{id}/apiKeys",
    { desc => 'x', roles => [ 'GROUP_READ_ONLY' ] })->json;

# by the native API: a key, a secret more of it, and a pair from elsewhere
my $native = $ApiKeys::Fixture::ALL{native};
my $keys = "$native/orgs/$org->{id}/apiKeys";
my %new = (desc => 'x', roles => ['ORG_OWNER']);
my $there = $f->operator('POST', $keys, { %new })->json;
my $more = $f->operator('POST', "$keys/$there->{id}/secrets", {})->json;
my %brought = (publicKey => 'broughtx',
    privateKey => '5e6f7a8b-9c0d-4e1f-8a2b-3c4d5e6f7a8b');
$f->operator('POST', $keys, { %new, %brought });

# every way to use one, and every way to fail
my %pair = map { $_->{publicKey} => $_->{privateKey} } $key, $in,
    $org->{key}, $there, \%brought;
my $secret = "$key->{publicKey}:$key->{privateKey}";
my @seen;

sub note_answer {
    my ($res) = @_;

    push @seen, $res->{head} . $res->{body};
    return $res;
}

for my $at ($base, '/all') {
    for my $algorithm (qw( MD5 SHA-256 )) {
        my $client = $f->client(key => $secret, algorithm => $algorithm);
        note_answer($client->request('GET', "$at/"));
        note_answer($client->request('GET', "$at/orgs/$org->{id}/apiKeys/"
            . $key->{id}));
        note_answer($client->request('POST', "$at/orgs", { name => 'x' }));
    }
    note_answer($f->client->plain('GET', "$at/", undef, headers => $_)) for
        { 'X-Api-Key' => $secret }, { 'X-Api-Key' => "x$secret" },
        { Authorization => 'Basic ' . encode_base64($secret, '') },
        { Authorization => 'Basic ' . encode_base64("${secret}x", '') },
        { Authorization => 'Bearer ' . $f->token },
        { Authorization => 'Bearer ' . $f->token . 'x' },
        { Authorization => "Bearer $secret" },
        { Authorization => 'Bearer ' . $secret =~ s/:/_/r };
}
for my $text ($there->{token}, $more->{token},
    "$brought{publicKey}_$brought{privateKey}")
{
    my $client = $f->client(token => $text);
    note_answer($client->request('GET', $_)) for $native, '/all/';
    note_answer($client->request('PATCH', "$native/orgs/$org->{id}",
        { name => 'x' }));
}
note_answer($f->operator($_->[0], "$keys$_->[1]", $_->[2])) for
    [ GET => '' ], [ GET => "/$there->{id}" ], [ GET => "/$there->{id}/secrets" ],
    [ POST => '', { %new, %brought } ],
    [ PATCH => "/$there->{id}", { desc => 'y' } ],
    [ GET => "/$there->{id}/decision?address=192.0.2.1" ];
note_answer($f->operator('GET', "$native/orgs/$org->{id}/events"));

my $owner = $org->{client};
note_answer($owner->request('GET', "$base/orgs/$org->{id}/apiKeys"));
note_answer($owner->request('PATCH', "$base/orgs/$org->{id}/apiKeys/"
    . $key->{id}, { desc => 'y' }));
note_answer($owner->request('PATCH', "$base/groups/$project->{id}/apiKeys/"
    . $in->{id}, { roles => [ 'GROUP_OWNER' ] }));
note_answer($owner->request('POST', "$base/orgs/$org->{id}/apiKeys/"
    . "$key->{id}/accessList", [ { cidrBlock => '127.0.0.0/8' } ]));
note_answer($owner->request('PATCH', "$base/orgs/$org->{id}/apiKeys/"
    . $key->{id}, { privateKey => 'x' }));
$owner->request('DELETE', "$base/orgs/$org->{id}/apiKeys/$in->{id}");

# a reload and errors of the database log, too
$nginx->reload;
$f->wait_loaded($nginx);
$f->db->psql('REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA apikeys'
    . ' FROM apikeys_nginx');
note_answer($owner->request('POST', "$base/orgs/$org->{id}/apiKeys",
    { desc => 'refused', roles => [ 'ORG_MEMBER' ] }));
like($seen[-1], qr/UNEXPECTED_ERROR/, 'a statement that failed');


# what is secret, in each form that it could be kept in

my $secrets = ApiKeys::Secrets->new->add(token => $f->token);
$secrets->add_master_key($f->{master_key});
for my $public (sort keys %pair) {
    $secrets->add_key("of $public", $public, $pair{$public});
    $secrets->add("pair of $public", "$public:$pair{$public}");
}
$secrets->add_key('of the second secret', $there->{publicKey},
    $more->{privateKey});

sub holds_none {
    my ($title, $text) = @_;

    ok(length $text > 50, "$title: there is something to look at");
    is($secrets->in_text($text), '', "$title: holds no secret");
}

# what is looked for can be found, in each form
my $made = $f->db->psql(<<"END");
SELECT string_agg(descr || '$key->{privateKey}', '') FROM apikeys.keys;
SELECT encode('x:$key->{privateKey}', 'base64');
SELECT encode('$key->{privateKey}', 'hex');
END
like($secrets->in_text($made), qr/private key of $key->{publicKey}(?:,|$)/,
    'a secret would be found where there is one');
like($secrets->in_text($made),
    qr/private key of $key->{publicKey}, $_/, "also in $_")
    for qw( base64 hex );

holds_none('pg_dump', $f->db->dump);
holds_none('pg_dump, inserts', ApiKeys::Pg::_run(ApiKeys::Pg::_bin('pg_dump'),
    '--inserts', '-d', $f->db->conninfo));
holds_none('all rows as text', $f->db->psql(join '', map {
    "SELECT x::text FROM apikeys.$_ x;" } qw( orgs projects keys key_projects
    access_list access_usage audit changes feed instances )));
holds_none('statements that the server keeps', $f->db->psql(
    'SELECT query FROM pg_stat_activity; SELECT statement'
    . ' FROM pg_prepared_statements'));

like($nginx->error_log, qr/\[debug\]/, 'the error log is of level debug');

# nginx itself shows the headers that it gets at this level, and so what a
# client sends by basic, header= or Bearer; digest sends no secret
holds_none('the error log', $nginx->error_log
    =~ s/^.*http header: "(?:Authorization|X-Api-Key): .*\n//gmr);

my $access = ApiKeys::Nginx::_read($nginx->dir . '/access.log');
like($access, qr/"GET [^"]*" 200 $key->{publicKey} "/,
    'the access log has public keys');
holds_none('the access log', $access);
holds_none('the standard error of nginx',
    ApiKeys::Nginx::_read($nginx->dir . '/stderr') . ' ' x 60);
holds_none('nginx -T', $nginx->dump_conf);
$nginx->wait_for(sub { -s $nginx->dir . '/state/snapshot' }, 30, 'a snapshot');
holds_none('the snapshot',
    ApiKeys::Nginx::_read($nginx->dir . '/state/snapshot'));
holds_none('the log of PostgreSQL', $f->pg->log_text);
holds_none('later answers', join '', @seen);

holds_none('command lines and environments', join '', map {
    ApiKeys::Nginx::_read("/proc/$_/cmdline")
        . ApiKeys::Nginx::_read("/proc/$_/environ") . ' ' x 60
} $nginx->pid, $nginx->workers);

# the sealed values differ, also of equal secrets, and none is short
my @sealed = split /\n/, $f->db->psql(
    "SELECT encode(secret, 'hex') FROM apikeys.keys");
is(scalar(grep { /^[0-9a-f]{224}$/ } @sealed), scalar @sealed,
    'each credential is sealed');
my %unique = map { $_ => 1 } @sealed;
is(scalar keys %unique, scalar @sealed, 'no two sealed secrets are the same');


# a sealed value opens nothing in another row or under another name

$f->db->psql('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA apikeys'
    . ' TO apikeys_nginx');

{
    my $thief = $f->key($org, 'ORG_OWNER');
    is($thief->{client}->request('GET', "$base/")->code, 200,
        'the key whose secret is moved works');

    $f->db->psql("UPDATE apikeys.keys SET secret = (SELECT secret"
        . " FROM apikeys.keys WHERE id = '$thief->{id}')"
        . " WHERE id = '$key->{id}'");
    my ($ok) = eval { $nginx->wait_for(sub {
        $f->client(key => $secret)->request('GET', "$base/")->code != 200
    }, 10, '') };
    ok($ok, 'a credential that was overwritten is gone');

    my $as = $f->client(key => "$key->{publicKey}:$thief->{privateKey}");
    isnt($as->request('GET', "$base/")->code, 200,
        'the private key of another key is not accepted');
}

$nginx->quit;

done_testing;
