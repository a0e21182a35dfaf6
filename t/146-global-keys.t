# Global keys of Ops Manager: their resource and their access list; an owner
# acts as the operator on each base; nothing of a service lets them in but a
# rule that names a global role.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Expect;
use ApiKeys::Fixture ();
use ApiKeys::Sql ();
use Test::More;

my $f = ApiKeys::Fixture->new(zone => '16m',
    headers => { Accept => 'application/vnd.atlas.2023-01-01+json' },
    http => 'log_format keys "$apikeys_public_key:$apikeys_org_id:$apikeys_roles'
        . ':$apikeys_decision";',
    server => <<'END');
        apikeys_auth digest;
        access_log %%DIR%%/keys.log keys;
        location = /auth {
            empty_gif;
        }
        location = /owner {
            apikeys_require role=GLOBAL_OWNER;
            empty_gif;
        }
        location = /either {
            apikeys_require role=ORG_OWNER,GLOBAL_READ_ONLY;
            empty_gif;
        }
        location = /org-role {
            apikeys_require role=ORG_OWNER;
            empty_gif;
        }
        location = /org {
            apikeys_require org=$arg_org;
            empty_gif;
        }
        location = /org-and-role {
            apikeys_require org=$arg_org role=GLOBAL_OWNER;
            empty_gif;
        }
        location = /both {
            apikeys_require role=GLOBAL_OWNER;
            apikeys_require org=$arg_org;
            empty_gif;
        }
        location = /method {
            apikeys_require role=GLOBAL_OWNER method=POST;
            empty_gif;
        }
        location = /project {
            apikeys_require project=$arg_project;
            empty_gif;
        }
END
my $host = $f->nginx->url;
my %base = %ApiKeys::Fixture::BASE;
my $om = $base{ops_manager};
my $db = $f->db;
my $sql = ApiKeys::Sql->new($db);
my $nobody = '0123456789abcdef01234567';

sub must {
    my ($res) = @_;

    $res->code =~ /^2/ or die $res->code . " $res->{body}\n";
    return $res->code == 204 ? undef : $res->json;
}

sub client_of {
    my ($key) = @_;

    return $f->client(key => "$key->{publicKey}:$key->{privateKey}");
}

sub global_key {
    my (@roles) = @_;

    my $key = must($f->operator('POST', "$om/admin/apiKeys",
        { desc => "of @roles", roles => \@roles }));
    return { %$key, client => client_of($key) };
}

sub shown {
    my ($key, $private, @roles) = @_;

    return { desc => $key->{desc}, id => $key->{id}, links => [ {
        rel => 'self', href => "$host$om/admin/apiKeys/$key->{id}" } ],
        privateKey => $private // '********-****-****-'
            . substr($key->{privateKey}, -12),
        publicKey => $key->{publicKey},
        roles => [ map { { roleName => $_ } } @roles ] };
}


# the first one comes from the operator

my $res = $f->operator('POST', "$om/admin/apiKeys",
    { desc => 'first', roles => [ 'GLOBAL_OWNER', 'GLOBAL_BILLING_ADMIN' ] });
my $first = $res->json;
answers($res, 200, shown($first, $first->{privateKey}, 'GLOBAL_BILLING_ADMIN',
    'GLOBAL_OWNER'), 'POST of a global key');
my $owner = client_of($first);
my $reader = global_key('GLOBAL_READ_ONLY');
my $other = global_key('GLOBAL_MONITORING_ADMIN', 'GLOBAL_USER_ADMIN');
my @shown = (shown($first, undef, 'GLOBAL_BILLING_ADMIN', 'GLOBAL_OWNER'),
    shown($reader, undef, 'GLOBAL_READ_ONLY'),
    shown($other, undef, 'GLOBAL_MONITORING_ADMIN', 'GLOBAL_USER_ADMIN'));

answers($owner->request('GET', "$om/admin/apiKeys"), 200, { links => [ {
    rel => 'self', href => "$host$om/admin/apiKeys?pageNum=1&itemsPerPage=100"
    } ], results => [ sort { $a->{publicKey} cmp $b->{publicKey} } @shown ],
    totalCount => 3 }, 'the list');
answers($owner->request('GET', "$om/admin/apiKeys/$first->{id}"), 200,
    $shown[0], 'one of them');
answers($owner->request('GET', "$om/admin/apiKeys/roles"), 200,
    [qw( GLOBAL_AUTOMATION_ADMIN GLOBAL_BACKUP_ADMIN GLOBAL_BILLING_ADMIN
        GLOBAL_MONITORING_ADMIN GLOBAL_OWNER GLOBAL_READ_ONLY
        GLOBAL_USER_ADMIN )], 'the roles');
answers($owner->request('PATCH', "$om/admin/apiKeys/$other->{id}",
    { desc => 'renamed', roles => ['GLOBAL_BACKUP_ADMIN'] }), 200,
    { %{ shown($other, undef, 'GLOBAL_BACKUP_ADMIN') }, desc => 'renamed' },
    'PATCH');
for my $case (
    [ {}, 'API_KEY_REQUIRES_DESCRIPTION' ],
    [ { desc => 'x' }, 'MISSING_API_KEY_ROLES' ],
    [ { desc => 'x', roles => [] }, 'MISSING_API_KEY_ROLES' ],
    [ { desc => 'x', roles => ['ORG_OWNER'] }, 'INVALID_ROLE_FOR_GLOBAL_KEY',
        'ORG_OWNER' ],
    [ { desc => 'x', roles => ['GLOBAL_OWNER', 'GROUP_OWNER'] },
        'INVALID_ROLE_FOR_GLOBAL_KEY', 'GROUP_OWNER' ],
    [ { desc => 'x', roles => ['x'] }, 'INVALID_ENUM_VALUE', 'x' ],
    [ { desc => 'x', roles => [undef] }, 'INVALID_ENUM_VALUE', 'null' ],
    [ { desc => 'x', roles => ['GLOBAL_OWNER'], id => 'x' },
        'ATTRIBUTE_READ_ONLY', 'id' ])
{
    my ($body, $code, @params) = @$case;

    refused($owner->request('POST', "$om/admin/apiKeys", $body), $code,
        \@params, 'POST ' . json_text($body) . ": $code");
}
refused($owner->request('PATCH', "$om/admin/apiKeys/$first->{id}", {}),
    'MISSING_ONE_OF_ATTRIBUTES', [qw( desc roles )], 'PATCH of nothing');
refused($owner->request($_, "$om/admin/apiKeys/$nobody",
    $_ eq 'PATCH' ? { desc => 'x' } : undef), 'API_KEY_NOT_FOUND', [$nobody],
    "$_ of a key that does not exist") for qw( GET PATCH DELETE );
refused($owner->request('GET', "$base{$_}/admin/apiKeys"),
    'RESOURCE_NOT_FOUND', ["$base{$_}/admin/apiKeys"],
    "$_ has no global keys") for qw( atlas_v1 atlas_v2 );
my $org = $f->org;
my $project = $f->project($org);
refused($owner->request('GET', "$om/admin/apiKeys/$org->{key}{id}"),
    'API_KEY_NOT_FOUND', [ $org->{key}{id} ],
    'a key of an organization is none');
refused($owner->request('GET', "$om/orgs/$org->{id}/apiKeys/$first->{id}"),
    'API_KEY_NOT_FOUND', [ $first->{id} ], 'nor the other way round');
refused($org->{client}->request('POST', "$om/orgs/$org->{id}/apiKeys",
    { desc => 'x', roles => ['GLOBAL_OWNER'] }), 'CANNOT_ADD_GLOBAL_ROLE', [],
    'an organization grants no global role');


# who may

my %caller = (owner => $owner, reader => $reader->{client},
    other => $other->{client}, 'org owner' => $org->{client});

sub allowed {
    my ($method, $path, $body) = @_;

    return join ' ', map { my $res = $caller{$_}->request($method,
        ref $path ? $path->() : $path, ref $body eq 'CODE' ? $body->() : $body);
        $res->code == 401 ? () : "$_:" . $res->code } sort keys %caller;
}

my $n = 0;
is(allowed(GET => "$om/admin/apiKeys"), 'owner:200 reader:200',
    'who may list global keys');
is(allowed(GET => "$om/admin/apiKeys/roles"), 'owner:200 reader:200',
    'who may list their roles');
is(allowed(GET => "$om/admin/apiKeys/$other->{id}"), 'owner:200 reader:200',
    'who may read one');
is(allowed(POST => "$om/admin/apiKeys", { desc => 'x',
    roles => ['GLOBAL_READ_ONLY'] }), 'owner:200', 'who may make one');
is(allowed(PATCH => "$om/admin/apiKeys/$other->{id}", { desc => 'x' }),
    'owner:200', 'who may change one');
is(allowed(DELETE => sub { "$om/admin/apiKeys/" . global_key(
    'GLOBAL_READ_ONLY')->{id} }), 'owner:204', 'who may delete one');
is(allowed(GET => "$om/admin/whitelist"), 'owner:200 reader:200',
    'who may read the list');
is(allowed(POST => "$om/admin/whitelist", sub { { description => 'x',
    cidrBlock => '127.0.0.0/' . (8 + $n++) } }), 'owner:200',
    'who may add to it');

for my $name (sort keys %base) {
    my $uri = "$base{$name}/orgs/$org->{id}";

    is(allowed(GET => "$base{$name}/"),
        'org owner:200 other:200 owner:200 reader:200', "$name: the root");
    is(allowed(GET => "$base{$name}/orgs"),
        'org owner:200 owner:200 reader:200', "$name: organizations");
    is(allowed(GET => "$uri/apiKeys"),
        'org owner:200 owner:200 reader:200', "$name: keys of one");
    is(allowed(POST => "$uri/apiKeys",
        { desc => 'x', roles => ['ORG_MEMBER'] }),
        'org owner:200 owner:200', "$name: a new key there");
    is(allowed(GET => "$base{$name}/groups/$project->{id}"),
        'org owner:200 owner:200 reader:200', "$name: a project");
    is(allowed(GET => "$uri/events"), 'org owner:200 owner:200 reader:200',
        "$name: events");
    is(allowed(PATCH => "$uri/settings", { apiAccessListRequired => false }),
        'org owner:200 owner:200', "$name: settings");
    is($owner->request('POST', "$base{$name}/orgs", { name => 'x' })->code,
        201, "$name: an owner makes an organization, as the operator");
    is($owner->request('GET', "$base{$name}/orgs")->json->{totalCount},
        $f->operator('GET', "$base{$name}/orgs")->json->{totalCount},
        "$name: and sees all of them");
}
is($owner->request('POST', "$base{atlas_v1}/groups", { name => 'of a global',
    orgId => $org->{id} })->code, 201, 'a project, which it does not join');
is($sql->value('SELECT count(*) FROM apikeys.key_projects WHERE key_id = ?',
    $first->{id}), 0, 'a global key has no roles in projects');
is($owner->request('PATCH', "$om/orgs/$org->{id}/apiKeys/$org->{key}{id}",
    { roles => ['ORG_MEMBER'] })->code, 200,
    'it demotes the last owner, as the operator may');
must($f->operator('PATCH', "$om/orgs/$org->{id}/apiKeys/$org->{key}{id}",
    { roles => ['ORG_OWNER'] }));


# the audit knows it, events do not

must($owner->request('PATCH', "$om/orgs/$org->{id}", { name => 'by global' }));
is($sql->value(q(SELECT caller FROM apikeys.audit
    WHERE event = 'ORG_RENAMED' ORDER BY id DESC LIMIT 1)), $first->{id},
    'the audit has its id');
my $event = must($owner->request('GET',
    "$om/orgs/$org->{id}/events?eventType=ORG_RENAMED"))->{results}[0];
ok($event->{isGlobalAdmin} && !exists $event->{apiKeyId}
    && !exists $event->{remoteAddress}, 'its event names nobody');
is($sql->value(q(SELECT string_agg(event, ',' ORDER BY id) FROM apikeys.audit
    WHERE key_id = ?), $other->{id}), 'GLOBAL_API_KEY_CREATED,'
    . 'GLOBAL_API_KEY_CHANGED,GLOBAL_API_KEY_CHANGED',
    'changes of global keys are in the audit');


# protected locations

sub enters {
    my ($who, $path) = @_;

    return $caller{$who}->request('GET', $path)->code;
}

must($f->operator('DELETE', "$om/admin/whitelist/$_->{id}"))
    for @{ must($f->operator('GET', "$om/admin/whitelist"))->{results} };
for my $case (
    [ '/auth', 0, 0 ], [ '/owner', 1, 0 ], [ '/either', 0, 1 ],
    [ '/org-role', 0, 0 ], [ "/org?org=$org->{id}", 0, 0 ],
    [ '/org?org=' . '0' x 24, 0, 0 ],
    [ "/org-and-role?org=$org->{id}", 1, 0 ], [ '/org-and-role', 0, 0 ],
    [ "/both?org=$org->{id}", 0, 0 ], [ '/method', 0, 0 ],
    [ "/project?project=$project->{id}", 0, 0 ])
{
    my ($path, @may) = @$case;

    is(join(' ', enters(owner => $path), enters(reader => $path),
        enters(other => $path)), join(' ', map { $_ ? 200 : 403 } @may, 0),
        "$path: who of owner, reader, another enters");
}
is(enters('org owner' => '/owner'), 403, 'no key of an organization enters');
is($owner->request('POST', '/method')->code, 405,
    'a line for a method lets that method in');
my ($line) = grep { /^\Q$first->{publicKey}\E:/ && /:allow$/ }
    split /\n/, do { open my $log, "<", $f->nginx->dir . "/keys.log" or die; local $/; <$log> };
is($line, "$first->{publicKey}:-:GLOBAL_BILLING_ADMIN,GLOBAL_OWNER:allow",
    'its variables: no organization, global roles');


# the access list

sub entry {
    my ($uri, $body) = @_;

    return $f->operator('POST', $uri, $body);
}

my $list = "$om/admin/whitelist";
is($owner->request('GET', $list)->json->{totalCount}, 0,
    'an empty list admits from anywhere');
$res = entry($list, { cidrBlock => '127.0.0.1/32', description => 'here' });
my $here = $res->json;
my $item = { cidrBlock => '127.0.0.1/32', created => $here->{created},
    description => 'here', id => $here->{id}, type => 'GLOBAL_ROLE',
    updated => $here->{updated} };
answers($res, 200, { %$item, expires => null, lastUsed => null },
    'POST of an entry');
for my $spelling (qw( whitelist accessList )) {
    answers($owner->request('GET', "$om/admin/$spelling"), 200, {
        links => [ { rel => 'self', href =>
            "$host$om/admin/$spelling?pageNum=1&itemsPerPage=100" } ],
        results => [$item], totalCount => 1 }, "$spelling: the list");
    answers($owner->request('GET', "$om/admin/$spelling/$here->{id}"), 200,
        { %$item, expires => null, lastUsed => null }, "$spelling: an entry");
    refused($owner->request($_, "$om/admin/$spelling/$nobody",
        $_ eq 'PATCH' ? { description => 'x' } : undef),
        'GLOBAL_WHITELIST_ENTRY_NOT_FOUND', [$nobody],
        "$spelling: $_ of none") for qw( GET PATCH DELETE );
    refused($owner->request('POST', "$om/admin/$spelling",
        { cidrBlock => '127.0.0.1/32', description => 'again' }),
        'DUPLICATE_GLOBAL_WHITELIST_ENTRY', ['127.0.0.1/32'],
        "$spelling: twice");
}
for my $case (
    [ { description => 'x' }, 'GLOBAL_WHITELIST_ENTRY_REQUIRES_CIDR_BLOCK' ],
    [ { cidrBlock => '', description => 'x' },
        'GLOBAL_WHITELIST_ENTRY_REQUIRES_CIDR_BLOCK' ],
    [ { cidrBlock => '10.0.0.0/8' },
        'GLOBAL_WHITELIST_ENTRY_REQUIRES_DESCRIPTION' ],
    [ { cidrBlock => '10.0.0.0/8', description => '' },
        'GLOBAL_WHITELIST_ENTRY_REQUIRES_DESCRIPTION' ],
    [ { cidrBlock => '10.0.0.0/8', description => 'x' x 251 },
        'INVALID_GLOBAL_WHITELIST_DESCRIPTION', 250 ],
    [ { cidrBlock => '10.0.0.1', description => 'x' }, 'INVALID_CIDR_BLOCK',
        '10.0.0.1' ],
    [ { cidrBlock => 'x', description => 'x' }, 'INVALID_CIDR_BLOCK', 'x' ],
    [ { cidrBlock => '0.0.0.0/0', description => 'x' },
        'CANNOT_ADD_IP_ADDRESS_TO_API_KEY_ACCESS_LIST', '0.0.0.0/0' ],
    [ { cidrBlock => 1, description => 'x' }, 'INVALID_JSON_ATTRIBUTE',
        'cidrBlock' ],
    [ { cidrBlock => '10.0.0.0/8', description => 'x', x => 1 },
        'INVALID_ATTRIBUTE', 'x' ])
{
    my ($body, $code, @params) = @$case;

    refused(entry($list, $body), $code, \@params,
        'POST ' . substr(json_text($body), 0, 60) . ": $code");
}
refused($owner->request('PATCH', "$list/$here->{id}", {}),
    'NO_CIDR_BLOCK_OR_DESCRIPTION', [], 'PATCH of nothing');
is($owner->request('PATCH', "$list/$here->{id}", { description => 'there' })
    ->json->{description}, 'there', 'PATCH of a description');
must(entry($list, { cidrBlock => $_, description => 'x' }))
    for '0.0.0.0/1', '128.0.0.0/1', '2001:db8::/32';
is($sql->value('SELECT count(*) FROM apikeys.global_access_list'), 4,
    'both halves of IPv4, and IPv6');
must($f->operator('DELETE', "$list/$_->{id}")) for grep {
    $_->{cidrBlock} ne '2001:db8::/32' }
    @{ must($f->operator('GET', $list))->{results} };

# whoever is not on it stays out, on each base and of each location
refused($owner->request('GET', "$base{$_}/"), 'GLOBAL_USER_OUTSIDE_SUBNET',
    [], "$_: from another address") for sort keys %base;
is(enters(owner => '/owner'), 403, 'and of a location');
is(enters('org owner' => '/org-role'), 200, 'keys of organizations do not'
    . ' mind');
is($f->operator('GET', "$om/orgs")->code, 200, 'nor does the operator');
must($f->operator('PATCH', "$list/" . must($f->operator('GET', $list))
    ->{results}[0]{id}, { cidrBlock => '127.0.0.0/8' }));
is($owner->request('GET', "$om/")->code, 200,
    'with its address on the list it is admitted');
is_deeply($owner->request('GET', "$om/")->json->{apiKey},
    { accessList => [ { cidrBlock => '127.0.0.0/8', ipAddress => undef } ],
      id => $first->{id}, publicKey => $first->{publicKey}, roles => [
        { roleName => 'GLOBAL_BILLING_ADMIN' },
        { roleName => 'GLOBAL_OWNER' } ] }, 'and shows the list as its own');
is(enters(owner => '/owner'), 200, 'and of a location, too');


# psql and another node

ok($sql->run("INSERT INTO apikeys.global_access_list (cidr, descr)
    VALUES ('192.0.2.0/24', 'by psql')"), 'an entry by psql');
ok($sql->run("DELETE FROM apikeys.global_access_list
    WHERE cidr = '127.0.0.0/8'"), 'and the other one gone');
$f->nginx->wait_for(sub { enters(owner => '/owner') == 403 }, 10, "the list");
is(enters(owner => '/owner'), 403, 'reach the node by the feed');
ok($sql->run('TRUNCATE apikeys.global_access_list'), 'TRUNCATE does, too');
$f->nginx->wait_for(sub { enters(owner => '/owner') == 200 }, 10, "the list");
is(enters(owner => '/owner'), 200, 'an empty list admits again');
ok(!$sql->run("UPDATE apikeys.keys SET org_id = '$org->{id}'
    WHERE id = '$first->{id}'"), 'a global key joins no organization');
ok(!$sql->run("UPDATE apikeys.keys SET roles = '{ORG_OWNER}'
    WHERE id = '$first->{id}'"), 'and has no role of one');
ok(!$sql->run("UPDATE apikeys.keys SET roles = '{GLOBAL_OWNER}'
    WHERE id = '$org->{key}{id}'"), 'nor a key of one a global role');
ok(!$sql->run(q(INSERT INTO apikeys.orgs (id, name)
    VALUES (repeat('0', 24), 'none'))), 'no organization has the id of none');


# a restart, quotas, the end

$f->nginx->stop;
$f->nginx->start;
$f->wait_loaded($f->nginx);
is(enters(owner => '/owner'), 200, 'a node that starts loads it');
$sql->run('UPDATE apikeys.default_quotas SET global_keys = 0,
    global_entries = 0');
refused($f->operator('POST', "$om/admin/apiKeys", { desc => 'x',
    roles => ['GLOBAL_OWNER'] }), 'MAX_GLOBAL_API_KEYS_EXCEEDED', [0],
    'as many keys as there may be');
refused(entry($list, { cidrBlock => '10.0.0.0/8', description => 'x' }),
    'MAX_GLOBAL_WHITELIST_ENTRIES_EXCEEDED', [0],
    'as many entries as there may be');
is($owner->request('DELETE', "$om/admin/apiKeys/$first->{id}")->code, 204,
    'it deletes itself: the token makes another');
challenged($owner->request('GET', "$om/"), 'and is unknown at once');
is(enters('reader' => '/either'), 200, 'others stay');

done_testing();
