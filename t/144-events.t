# Events: what each change of a key, a project or an organization leaves in
# the lists, through the API and by psql; the arguments of the lists; one
# event; what a page of many events costs.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Expect;
use ApiKeys::Fixture ();
use ApiKeys::Sql ();
use JSON::PP ();
use Test::More;

my $f = ApiKeys::Fixture->new(zone => '16m',
    headers => { Accept => 'application/vnd.atlas.2023-01-01+json' });
my $host = $f->nginx->url;
my %base = %ApiKeys::Fixture::BASE;
my $db = $f->db;
my $sql = ApiKeys::Sql->new($db);
my $nobody = '0123456789abcdef01234567';

my $org = $f->org;
my $owner = $org->{client};
my $project = $f->project($org);
my $uri = "$base{atlas_v1}/orgs/$org->{id}";
my $in_project = "$base{atlas_v1}/groups/$project->{id}";

sub must {
    my ($res) = @_;

    $res->code =~ /^2/ or die $res->code . " $res->{body}\n";
    return $res->code == 204 ? undef : $res->json;
}

# events of the organization and of the project that are new, oldest first,
# each in its list
my %seen;
sub new_events {
    my @events;

    for my $list ([ org => "$uri/events" ], [ project => "$in_project/events" ])
    {
        for my $event (reverse @{ must($owner->request('GET',
            "$list->[1]?itemsPerPage=500"))->{results} })
        {
            next if $seen{"$list->[0] $event->{id}"}++;
            push @events, [ $list->[0], $event ];
        }
    }
    return @events;
}

# "list TYPE TARGET ENTRY" of each, in the order of the ids
sub told {
    my @events = sort { $a->[1]{id} cmp $b->[1]{id} } @_;

    return [ map { join ' ', $_->[0], $_->[1]{eventTypeName},
        $_->[1]{targetPublicKey} // '-', $_->[1]{whitelistEntry} // () }
        @events ];
}

# so that a list can be required
must($owner->request('POST', "$uri/apiKeys/$org->{key}{id}/accessList",
    [ { ipAddress => '127.0.0.1' } ]));
new_events();


# what each call leaves, in the order in which it happened

sub leaves {
    my ($title, $do, @expected) = @_;

    $do->();
    my @new = new_events();
    is_deeply(told(@new), \@expected, $title);
    return map { $_->[1] } @new;
}

my $made = must($owner->request('POST', "$uri/apiKeys",
    { desc => 'x', roles => ['ORG_MEMBER'] }));
my $id = $made->{id};
my $name = $made->{publicKey};

leaves('POST of a key', sub { }, "org API_KEY_CREATED $name");
leaves('PATCH of its description and roles', sub { must($owner->request(
    'PATCH', "$uri/apiKeys/$id", { desc => 'y', roles => ['ORG_READ_ONLY'] }))
    }, "org API_KEY_DESCRIPTION_CHANGED $name",
    "org API_KEY_ROLES_CHANGED $name");
leaves('the same PATCH again', sub { must($owner->request('PATCH',
    "$uri/apiKeys/$id", { desc => 'y', roles => ['ORG_READ_ONLY'] })) });
leaves('POST of entries, in their order', sub { must($owner->request('POST',
    "$uri/apiKeys/$id/accessList", [ { cidrBlock => '10.2.0.0/16' },
    { ipAddress => '192.0.2.1' }, { ipAddress => '2001:DB8::1' },
    { cidrBlock => '10.1.2.3/32' } ])) },
    map { "org API_KEY_ACCESS_LIST_ENTRY_ADDED $name $_" }
        qw( 10.2.0.0/16 192.0.2.1 2001:db8::1 10.1.2.3 ));
leaves('DELETE of an entry', sub { must($owner->request('DELETE',
    "$uri/apiKeys/$id/accessList/192.0.2.1")) },
    "org API_KEY_ACCESS_LIST_ENTRY_DELETED $name 192.0.2.1");
leaves('POST that assigns the key', sub { must($owner->request('POST',
    "$in_project/apiKeys/$id", { roles => ['GROUP_READ_ONLY'] })) },
    "project API_KEY_ADDED_TO_GROUP $name");
leaves('PATCH of its roles in the project', sub { must($owner->request(
    'PATCH', "$in_project/apiKeys/$id", { roles => ['GROUP_OWNER'] })) },
    "project API_KEY_ROLES_CHANGED $name");
leaves('the same PATCH again', sub { must($owner->request('PATCH',
    "$in_project/apiKeys/$id", { roles => ['GROUP_OWNER'] })) });
leaves('PATCH of description and roles through the project', sub {
    must($owner->request('PATCH', "$base{atlas_v2}/groups/$project->{id}"
    . "/apiKeys/$id", { desc => 'z', roles => ['GROUP_READ_ONLY'] })) },
    "org API_KEY_DESCRIPTION_CHANGED $name",
    "project API_KEY_ROLES_CHANGED $name");
leaves('DELETE from the project', sub { must($owner->request('DELETE',
    "$in_project/apiKeys/$id")) },
    "project API_KEY_REMOVED_FROM_GROUP $name");
leaves('the same DELETE again', sub { must($owner->request('DELETE',
    "$in_project/apiKeys/$id")) });
leaves('PATCH that assigns the key', sub { must($owner->request('PATCH',
    "$in_project/apiKeys/$id", { roles => ['GROUP_READ_ONLY'] })) },
    "project API_KEY_ADDED_TO_GROUP $name");
leaves('DELETE of a key that is in a project', sub {
    must($owner->request('DELETE', "$uri/apiKeys/$id")) },
    "project API_KEY_REMOVED_FROM_GROUP $name", "org API_KEY_DELETED $name");

my $other = must($owner->request('POST', "$in_project/apiKeys",
    { desc => 'x', roles => ['GROUP_READ_ONLY'] }));
leaves('POST of a key through the project', sub { },
    "org API_KEY_CREATED $other->{publicKey}",
    "project API_KEY_ADDED_TO_GROUP $other->{publicKey}");
leaves('settings', sub { must($owner->request('PATCH', "$uri/settings",
    { apiAccessListRequired => true })); must($owner->request('PATCH',
    "$uri/settings", { apiAccessListRequired => false })) },
    'org ORG_PUBLIC_API_ACCESS_LIST_REQUIRED -',
    'org ORG_PUBLIC_API_ACCESS_LIST_NOT_REQUIRED -');
leaves('a rename of the organization', sub { must($owner->request('PATCH',
    $uri, { name => 'renamed' })) }, 'org ORG_RENAMED -');
leaves('a rename of the project', sub { must($owner->request('PATCH',
    $in_project, { name => 'renamed' })) },
    'org GROUP_NAME_CHANGED -', 'project GROUP_NAME_CHANGED -');
leaves('attributes', sub { must($owner->request('PATCH',
    "$in_project/settings", { isSchemaAdvisorEnabled => false })) });

my $second = must($owner->request('POST', "$base{atlas_v1}/groups",
    { name => 'second', orgId => $org->{id} }));
leaves('POST of a project', sub { }, 'org GROUP_CREATED -');
is_deeply([ map { $_->{eventTypeName} } @{ must($owner->request('GET',
    "$base{atlas_v1}/groups/$second->{id}/events"))->{results} } ],
    ['GROUP_CREATED'], 'is in its own list, too, and nothing beside it');
leaves('DELETE of a project', sub { must($owner->request('DELETE',
    "$base{atlas_v1}/groups/$second->{id}")) }, 'org GROUP_DELETED -');
leaves('calls that are refused', sub {
    $owner->request('POST', "$uri/apiKeys", { desc => 'x', roles => [] });
    $owner->request('DELETE', "$uri/apiKeys/$nobody");
    $owner->request('PATCH', "$in_project/apiKeys/$nobody",
        { roles => ['GROUP_OWNER'] }) });


# as each of them is shown

my @shown = @{ must($owner->request('GET', "$uri/events"))->{results} };
my ($deleted) = grep { $_->{eventTypeName} eq 'API_KEY_DELETED' } @shown;
my ($added) = grep { ($_->{whitelistEntry} // '') eq '192.0.2.1' } @shown;
my ($removed) = grep { $_->{eventTypeName} eq 'API_KEY_REMOVED_FROM_GROUP' }
    @{ must($owner->request('GET', "$in_project/events"))->{results} };

like($_->{id}, qr/^[0-9a-f]{24}$/, 'an ObjectId'),
    like($_->{created}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'seconds')
    for $deleted, $added, $removed;

sub acting { return apiKeyId => $org->{key}{id},
    publicKey => $org->{key}{publicKey}, remoteAddress => '127.0.0.1',
    isGlobalAdmin => false }

sub self { return links => [ { rel => 'self', href => "$host$_[0]" } ] }

for my $name (sort keys %base) {
    my $orgs = "$base{$name}/orgs/$org->{id}/events";
    my $groups = "$base{$name}/groups/$project->{id}/events";

    answers($owner->request('GET', "$orgs/$deleted->{id}"), 200,
        { acting(), self("$orgs/$deleted->{id}"), orgId => $org->{id},
          created => $deleted->{created}, id => $deleted->{id},
          eventTypeName => 'API_KEY_DELETED',
          targetPublicKey => $deleted->{targetPublicKey} },
        "$name: an event of the organization");
    answers($owner->request('GET', "$orgs/$added->{id}"), 200,
        { acting(), self("$orgs/$added->{id}"), orgId => $org->{id},
          created => $added->{created}, id => $added->{id},
          eventTypeName => $added->{eventTypeName},
          targetPublicKey => $added->{targetPublicKey},
          whitelistEntry => '192.0.2.1',
          ($name eq 'ops_manager' ? (accessListEntry => '192.0.2.1') : ()) },
        "$name: an event of an access list");
    answers($owner->request('GET', "$groups/$removed->{id}"), 200,
        { acting(), self("$groups/$removed->{id}"),
          groupId => $project->{id},
          created => $removed->{created}, id => $removed->{id},
          eventTypeName => 'API_KEY_REMOVED_FROM_GROUP',
          targetPublicKey => $removed->{targetPublicKey} },
        "$name: an event of the project");
    answers($owner->request('GET', "$groups/$removed->{id}?includeRaw=true"),
        200, { acting(), self("$groups/$removed->{id}"),
          groupId => $project->{id},
          created => $removed->{created}, id => $removed->{id},
          eventTypeName => 'API_KEY_REMOVED_FROM_GROUP',
          targetPublicKey => $removed->{targetPublicKey},
          raw => { _t => 'API_USER_AUDIT', alertConfigId => null,
              cid => $project->{id}, cre => $removed->{created},
              description => 'API Key removed from Group',
              et => 'API_KEY_REMOVED_FROM_GROUP', gn => null,
              hidden => false, id => $removed->{id}, isMmsAdmin => false,
              orgId => null, orgName => null, remoteAddr => '127.0.0.1',
              severity => 'INFO', source => 'USER',
              un => $org->{key}{publicKey}, userId => $org->{key}{id} } },
        "$name: with includeRaw");

    refused($owner->request('GET', "$orgs/$removed->{id}"),
        'ORG_EVENT_NOT_FOUND', [ $removed->{id}, $org->{id} ],
        "$name: an event of the project is none of the organization");
    refused($owner->request('GET', "$groups/$deleted->{id}"),
        'EVENT_NOT_FOUND', [ $deleted->{id}, $project->{id} ],
        "$name: nor the other way round");
    refused($owner->request('GET', "$orgs/$nobody"), 'ORG_EVENT_NOT_FOUND',
        [ $nobody, $org->{id} ], "$name: one that does not exist");
    refused($owner->request('GET', "$orgs/ffffffff"
        . substr($deleted->{id}, 8)), 'ORG_EVENT_NOT_FOUND',
        [ 'ffffffff' . substr($deleted->{id}, 8), $org->{id} ],
        "$name: one of another second");
    refused($owner->request('GET', "$orgs/x"), 'PATH_PARAM_PARSE_ERROR',
        [ "$orgs/x" ], "$name: no id");
    is($owner->request('POST', $orgs, {})->header('Allow'), 'GET, HEAD',
        "$name: events are read only");
}

# the operator has no name
must($f->operator('PATCH', $uri, { name => 'by the operator' }));
my ($by_operator) = map { $_->[1] } new_events();
delete $by_operator->{links};
is_deeply($by_operator, { created => $by_operator->{created},
    eventTypeName => 'ORG_RENAMED', id => $by_operator->{id},
    isGlobalAdmin => true, orgId => $org->{id} }, 'the operator has no name');


# the arguments of the lists

my $all = must($owner->request('GET', "$uri/events"));
is($all->{totalCount}, scalar @{ $all->{results} }, 'all are counted');
is_deeply([ map { $_->{id} } @{ $all->{results} } ],
    [ sort { $b cmp $a } map { $_->{id} } @{ $all->{results} } ],
    'newest first');

sub types_of {
    my ($path) = @_;

    my %n;
    $n{ $_->{eventTypeName} }++ for
        @{ must($owner->request('GET', $path))->{results} };
    return join ' ', map { "$_:$n{$_}" } sort keys %n;
}

is(types_of("$uri/events?eventType=ORG_RENAMED"), 'ORG_RENAMED:2',
    'of a type');
is(types_of("$uri/events?eventType=ORG_RENAMED&eventType=API_KEY_DELETED"),
    'API_KEY_DELETED:1 ORG_RENAMED:2', 'of two types');
is(types_of("$uri/events?eventType=API_KEY_WHITELIST_ENTRY_DELETED"),
    'API_KEY_ACCESS_LIST_ENTRY_DELETED:1', 'by its name of before 2021');
is(types_of("$uri/events?eventType=JOINED_ORG"), '', 'of none of ours');
is(types_of("$in_project/events?excludedEventType=API_KEY_ADDED_TO_GROUP"
    . '&excludedEventType=GROUP_CREATED'),
    'API_KEY_REMOVED_FROM_GROUP:2 API_KEY_ROLES_CHANGED:2 '
    . 'GROUP_NAME_CHANGED:1', 'all but some');
is(types_of("$in_project/events?eventType=GROUP_CREATED"
    . '&eventType=GROUP_NAME_CHANGED&excludedEventType=GROUP_CREATED'),
    'GROUP_NAME_CHANGED:1', 'both arguments intersect');
is(types_of("$uri/events?eventType=ORG_RENAMED"
    . '&excludedEventType=ORG_RENAMED&clusterNames=x'), 'ORG_RENAMED:2',
    "an organization's list has only the first");
is(types_of("$in_project/events?clusterNames=x"), '', 'no event of a cluster');

my $none = must($owner->request('GET', "$uri/events?includeCount=false"));
is($none->{totalCount}, 0, 'includeCount=false shows 0');
is(scalar @{ $none->{results} }, scalar @{ $all->{results} },
    'and the same events');

my $page = must($owner->request('GET',
    "$uri/events?eventType=API_KEY_CREATED&pageNum=2&itemsPerPage=1"));
is_deeply([ map { $_->{rel} } @{ $page->{links} } ],
    [qw( previous self next )], 'a page has links to both sides');
is_deeply([ map { $_->{rel} } @{ must($owner->request('GET', "$uri/events?"
    . 'eventType=ORG_RENAMED&pageNum=2&itemsPerPage=1&includeCount=false'))
    ->{links} } ], [qw( previous self )], 'the last page has no next one');
is($page->{links}[1]{href}, "$host$uri/events?eventType=API_KEY_CREATED"
    . '&pageNum=2&itemsPerPage=1', 'with the arguments as they were sent');


# dates

my ($oldest, $newest) = @{ $all->{results} }[-1, 0];

sub dated {
    my ($query) = @_;

    my $res = $owner->request('GET', "$uri/events?$query");
    return $res->code == 200 ? $res->json->{totalCount} : $res->json->{errorCode};
}

my $count = $all->{totalCount};
my $at = $newest->{created};
(my $encoded = $at) =~ s/:/%3A/g;
(my $offset = $at) =~ s/Z$/%2B00%3A00/;
(my $blank = $at) =~ s/Z$/+00:00/;
(my $plain = $at) =~ s/Z$/-0000/;
cmp_ok(dated("minDate=$_"), '>=', 1, "minDate=$_ includes its second")
    for $at, $encoded, $offset, $blank, $plain, $at =~ s/Z/.999999999Z/r;
is(dated("maxDate=$_"), $count, "maxDate=$_ includes its second")
    for $at, $at =~ s/Z/.000Z/r;
is(dated("minDate=$at&maxDate=$at&eventType=ORG_RENAMED") >= 1, 1,
    'both ends of one second');
is(dated("minDate=$oldest->{created}"), $count, 'from the oldest on');
is(dated('minDate=9999-12-31'), 0, 'a day to come');
is(dated('maxDate=0001-01-01T00:00'), 0, 'a time before all');
is(dated("minDate=$_"), 'INVALID_DATE_FORMAT', "minDate=$_ is refused") for
    '', 'x', '2026', '2026-13-01', '2026-02-30', '2026-02-29', '2026-01-01T',
    '2026-01-01T24:00', '2026-01-01T00:60', '2026-01-01T00:00:60Z',
    '2026-01-01T00:00:00.Z', '2026-01-01T00:00:00.1234567890Z',
    '2026-01-01T00:00:00z', '2026-01-01T00:00:00%2B1', '2026-01-01T0:00',
    '2026-01-01T00:00:00Zx', '2026-01-01Z', '-026-01-01', '1767225600';
is(dated('minDate=2024-02-29'), $count, 'a leap day');
refused($owner->request('GET', "$uri/events?maxDate=x"),
    'INVALID_DATE_FORMAT', ['x'], 'maxDate alike');
refused($owner->request('GET',
    "$uri/events?minDate=2026-01-02&maxDate=2026-01-01"),
    'INVALID_DATE_RANGE', [ '2026-01-02', '2026-01-01' ],
    'a range that ends before it begins');

for my $case (
    [ 'eventType=', 'INVALID_ENUM_VALUE', '' ],
    [ 'eventType=a', 'INVALID_ENUM_VALUE', 'a' ],
    [ 'eventType=A,B', 'INVALID_ENUM_VALUE', 'A,B' ],
    [ 'eventType=' . 'A' x 101, 'INVALID_ENUM_VALUE', 'A' x 101 ],
    [ join('&', ('eventType=A') x 101), 'INVALID_QUERY_PARAMETER',
        'eventType' ],
    [ 'includeRaw=x', 'INVALID_QUERY_PARAMETER', 'includeRaw' ],
    [ 'pageNum=-1&includeRaw=x', 'INVALID_QUERY_PARAMETER', 'pageNum' ],
    [ 'includeRaw=x&eventType=a', 'INVALID_QUERY_PARAMETER', 'includeRaw' ],
    [ 'minDate=x&eventType=a', 'INVALID_ENUM_VALUE', 'a' ])
{
    my ($query, $code, $param) = @$case;

    refused($owner->request('GET', "$uri/events?$query"), $code, [$param],
        substr($query, 0, 40) . ": $code");
}
refused($owner->request('GET', "$in_project/events?excludedEventType=a"),
    'INVALID_ENUM_VALUE', ['a'], 'excludedEventType of a project');


# E5

my $types = must($owner->request('GET', "$base{atlas_v2}/eventTypes"));
is($types->{totalCount}, 15, 'the types');
is_deeply($types->{results}[3], { alertable => false,
    description => 'A new API key has been created',
    eventType => 'API_KEY_CREATED' }, 'one of them');
is_deeply([ map { $_->{eventType} } @{ must($owner->request('GET',
    "$base{atlas_v2}/eventTypes?itemsPerPage=2&pageNum=8"))->{results} } ],
    ['ORG_RENAMED'], 'and a page of them');
for my $name (qw( atlas_v1 ops_manager )) {
    refused($owner->request('GET', "$base{$name}/eventTypes"),
        'RESOURCE_NOT_FOUND', ["$base{$name}/eventTypes"],
        "$name: there is no such list");
}


# psql

new_events();
my $typed = $f->key($org, 'ORG_MEMBER');
my $tid = $typed->{id};
my $tname = $sql->value('SELECT public_key FROM apikeys.keys WHERE id = ?',
    $tid);
new_events();

sub typed {
    my ($title, $statement, @expected) = @_;

    ok($sql->run($statement), $title) or diag $sql->error;
    my @events = new_events();
    is_deeply(told(@events), \@expected, "$title: its events");
    is((grep { !$_->[1]{isGlobalAdmin} || exists $_->[1]{apiKeyId} } @events),
        0, "$title: nobody is named");
}

typed('UPDATE of a key', "UPDATE apikeys.keys SET descr = 'by psql',
    roles = '{ORG_READ_ONLY}' WHERE id = '$tid'",
    "org API_KEY_DESCRIPTION_CHANGED $tname",
    "org API_KEY_ROLES_CHANGED $tname");
typed('UPDATE that changes nothing',
    "UPDATE apikeys.keys SET descr = descr WHERE id = '$tid'");
typed('INSERT of entries', "INSERT INTO apikeys.access_list (key_id, cidr)
    VALUES ('$tid', '10.0.0.0/8'), ('$tid', '192.0.2.7')",
    "org API_KEY_ACCESS_LIST_ENTRY_ADDED $tname 10.0.0.0/8",
    "org API_KEY_ACCESS_LIST_ENTRY_ADDED $tname 192.0.2.7");
typed('UPDATE of an entry', "UPDATE apikeys.access_list SET cidr = '192.0.2.8'
    WHERE key_id = '$tid' AND cidr = '192.0.2.7'",
    "org API_KEY_ACCESS_LIST_ENTRY_DELETED $tname 192.0.2.7",
    "org API_KEY_ACCESS_LIST_ENTRY_ADDED $tname 192.0.2.8");
typed('DELETE of an entry', "DELETE FROM apikeys.access_list
    WHERE key_id = '$tid' AND cidr = '192.0.2.8'",
    "org API_KEY_ACCESS_LIST_ENTRY_DELETED $tname 192.0.2.8");
typed('INSERT of an assignment', "INSERT INTO apikeys.key_projects
    (key_id, project_id, roles)
    VALUES ('$tid', '$project->{id}', '{GROUP_OWNER}')",
    "project API_KEY_ADDED_TO_GROUP $tname");
typed('UPDATE of an assignment', "UPDATE apikeys.key_projects
    SET roles = '{GROUP_READ_ONLY}' WHERE key_id = '$tid'",
    "project API_KEY_ROLES_CHANGED $tname");
typed('DELETE of an assignment', "DELETE FROM apikeys.key_projects
    WHERE key_id = '$tid'", "project API_KEY_REMOVED_FROM_GROUP $tname");
typed('INSERT of it again', "INSERT INTO apikeys.key_projects
    (key_id, project_id, roles)
    VALUES ('$tid', '$project->{id}', '{GROUP_OWNER}')",
    "project API_KEY_ADDED_TO_GROUP $tname");
typed('DELETE of a key', "DELETE FROM apikeys.keys WHERE id = '$tid'",
    "project API_KEY_REMOVED_FROM_GROUP $tname",
    "org API_KEY_DELETED $tname");
typed('UPDATE of an organization', "UPDATE apikeys.orgs
    SET name = 'by psql', access_list_required = NOT access_list_required
    WHERE id = '$org->{id}'", 'org ORG_RENAMED -',
    'org ORG_PUBLIC_API_ACCESS_LIST_REQUIRED -');
typed('and back', "UPDATE apikeys.orgs SET access_list_required = false
    WHERE id = '$org->{id}'", 'org ORG_PUBLIC_API_ACCESS_LIST_NOT_REQUIRED -');
typed('INSERT of a project', "INSERT INTO apikeys.projects (id, org_id, name)
    VALUES ('$nobody', '$org->{id}', 'by psql')", 'org GROUP_CREATED -');
typed('UPDATE of a project', "UPDATE apikeys.projects SET name = 'typed'
    WHERE id = '$nobody'", 'org GROUP_NAME_CHANGED -');
my $stays = $f->key($org, 'ORG_MEMBER');
my $stays_name = $sql->value('SELECT public_key FROM apikeys.keys
    WHERE id = ?', $stays->{id});
must($owner->request('PATCH', "$in_project/apiKeys/$stays->{id}",
    { roles => ['GROUP_OWNER'] }));
new_events();
my $before = $sql->value('SELECT max(id) FROM apikeys.events');
ok($sql->run("DELETE FROM apikeys.projects WHERE org_id = '$org->{id}'"),
    'DELETE of all projects');
my @left = $sql->column("SELECT type || coalesce(' '
    || target_public_key, '') FROM apikeys.events WHERE id > ? ORDER BY id",
    $before);
is_deeply([ (sort @left[0, 1]), @left[2 .. $#left] ],
    [ (sort map { "API_KEY_REMOVED_FROM_GROUP $_" } $other->{publicKey},
        $stays_name), 'GROUP_DELETED', 'GROUP_DELETED' ],
    'keys leave each before it is deleted');


# an organization takes its events out of reach, and leaves them

my $gone = $f->org;
my $left = $sql->value('SELECT count(*) FROM apikeys.events
    WHERE org_id = ?', $gone->{id});
cmp_ok($left, '>', 0, 'an organization with events');
must($gone->{client}->request('DELETE', "$base{atlas_v1}/orgs/$gone->{id}"));
refused($f->operator('GET', "$base{atlas_v1}/orgs/$gone->{id}/events"),
    'ORG_NOT_FOUND', [ $gone->{id} ], 'is deleted: its events are not shown');
is($sql->value('SELECT count(*) FROM apikeys.events WHERE org_id = ?',
    $gone->{id}), $left, 'and are kept');
ok(!$sql->run('DELETE FROM apikeys.events'), 'events are not deleted');
ok(!$sql->run("UPDATE apikeys.events SET type = 'x'"), 'nor changed');


# what a page costs: blocks read, among a thousand events and a million

my $many = $f->org;
my $path = "$base{atlas_v1}/orgs/$many->{id}/events";

sub fill {
    my ($n) = @_;

    $sql->run("INSERT INTO apikeys.events (at, type, org_id,
            target_public_key)
        SELECT now() - i * interval '1 second',
               (ARRAY['API_KEY_CREATED', 'API_KEY_DELETED'])[1 + i % 2],
               '$many->{id}', 'aaaaaaaa'
          FROM generate_series(1, $n) AS i") or die $sql->error;
    # as autovacuum does with tables that only grow
    $sql->run('VACUUM ANALYZE apikeys.events');
}

sub blocks {
    my ($types, $from) = @_;

    my $plan = $sql->value("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
        SELECT * FROM apikeys.list_events('$many->{id}', NULL, $types, $from,
                                          NULL, 100, 0, 10000)");
    my $node = JSON::PP->new->decode($plan)->[0]{Plan};
    return $node->{'Shared Hit Blocks'} + $node->{'Shared Read Blocks'};
}

my @ways = ([ 'all', 'NULL', 'NULL' ],
    [ 'of two types', q({API_KEY_DELETED,API_KEY_ROLES_CHANGED}), 'NULL' ],
    [ 'of a type that is rare', q({ORG_CREATED}), 'NULL' ],
    [ 'since long ago', 'NULL', q('1970-01-01') ]);
$_->[1] =~ /^\{/ and $_->[1] = "'$_->[1]'" for @ways;

fill(20_000);
my %few = map { $_->[0] => do { blocks(@$_[1, 2]); blocks(@$_[1, 2]) } } @ways;
fill(400_000);
for my $way (@ways) {
    my $name = $way->[0];

    blocks(@$way[1, 2]);
    my $blocks = blocks(@$way[1, 2]);
    cmp_ok($blocks, '<=', 1.5 * $few{$name} + 50,
        "a page of events, $name: $blocks blocks, $few{$name} among a"
        . ' twentieth of them');
}
my $first = must($many->{client}->request('GET', $path));
is(scalar @{ $first->{results} }, 100, 'a page of many');
is($first->{totalCount}, 10_100, 'they are counted up to 10,000 beyond it');
is($first->{links}[-1]{rel}, 'next', 'and there is a next page');
is(must($many->{client}->request('GET', "$path?eventType=ORG_CREATED"))
    ->{totalCount}, 1, 'what is rare is counted exactly');


# retention

my $audit = $sql->value('SELECT count(*) FROM apikeys.audit');
my $events = $sql->value('SELECT count(*) FROM apikeys.events');
is($sql->value('SELECT apikeys.forget_before(now(), 10)'), 20,
    'forget_before() deletes so many of both');
is($sql->value('SELECT count(*) FROM apikeys.events'), $events - 10,
    'events among them');

done_testing();
