# Events: what each change of a key, a project or an organization leaves in
# the lists, through the API and by psql; the arguments of the lists; one
# event.  What a page of many events costs is in 144-events-cost.t.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';
use JSON::PP qw( decode_json );

# Filters of a list: its events that no block has shown before, oldest first,
# as "TYPE TARGET ENTRY by CALLER"; the number of events of each type; and the
# number of events, of all.
my %seen;

sub fresh {
    my $list = eval { decode_json($_[0]) } || {};
    return join ', ', map {
        join ' ', grep { defined } @$_{qw( eventTypeName targetPublicKey whitelistEntry )},
            $_->{isGlobalAdmin} ? exists $_->{apiKeyId} ? 'named' : ()
                : "by $_->{publicKey}"
    } grep { $_->{eventTypeName} && !$seen{"$list->{links}[0]{href} $_->{id}"}++ }
        reverse @{ $list->{results} || [] };
}

sub types {
    my %n;
    $n{ $_->{eventTypeName} }++ for @{ decode_json($_[0])->{results} };
    return join ' ', map { "$_:$n{$_}" } sort keys %n;
}

sub count {
    my $list = decode_json($_[0]);
    my @ids = map { $_->{id} } @{ $list->{results} };
    return @ids . " of $list->{totalCount}, newest "
        . ("@ids" eq join(' ', sort { $b cmp $a } @ids) ? 'first' : 'elsewhere');
}

sub listed {
    my $list = decode_json($_[0]);
    return join ' ', $list->{totalCount}, map { $_->{eventType} } @{ $list->{results} };
}

# the types that functions and triggers of sql/ write
my %written;
for my $file (glob 'sql/v*/*.sql') {
    open my $f, '<', $file or die "$file: $!\n";
    my $text = join '', grep { !/^\s*--/ } <$f>;
    $written{$_} = 1 for map { /'([A-Z]+(?:_[A-Z]+)+)'/g }
        $file =~ /events\.sql$/ ? $text
            : $text =~ /PERFORM audit_event\((.*?),\s*p_caller/gs;
}
our $written = join ' ', sort keys %written;

names(org => '$base/orgs/$org_id', events => '$org/events', keys => '$org/apiKeys', key => '$keys/$one_id', project => '$base/groups/$project_id',
    assigned => '$project/apiKeys/$one_id',
    own => '$base/groups/$project_id/events', all => 'itemsPerPage=500',
    dated => '$base/orgs/$past_id/events?eventType=API_KEY_DELETED', A101 => 'A' x 101,
    many => join('&', ('eventType=A') x 101), nobody => '0123456789abcdef01234567',
    by => 'by $owner_public', self => '"links":[{"href":"http://localhost$uri","rel":"self"}]',
    acting => '"apiKeyId":"$owner_id","publicKey":"$owner_public",'
        . '"remoteAddress":"127.0.0.1","isGlobalAdmin":false',
    date => '~[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z',
    hex => '~[0-9a-f]{24}', later => 'ffffffff000000000000000' . 1,
    removed => '$acting,"groupId":"$project_id","created":"$removed_created",'
        . '"id":"$removed_id","eventTypeName":"API_KEY_REMOVED_FROM_GROUP",'
        . '"targetPublicKey":"$one_public"',
    value => sub { $_[0] =~ /Date=([^&]*)/ ? $1 =~ s/%2B/+/gr : '' },
    new => "SELECT concat_ws(' ', type, target_public_key, entry)"
        . ' FROM apikeys.events WHERE id > $last_event ORDER BY id',
);
names("$_->[0]/entry" => $_->[1]) for [ atlas => '' ], [ v2 => '' ],
    [ om => '"accessListEntry":"192.0.2.1",' ];

defaults(as => 'owner', response_body_filters => \&fresh);
run_tests();

__DATA__

=== TEST 1: POST creates a key
--- keys
owner: ORG_OWNER list=127.0.0.1/32
any: ORG_MEMBER GROUP_READ_ONLY project=project
--- requests
GET {$events,$own}?$all -> 200
POST $keys {"desc":"x","roles":["ORG_MEMBER"]} -> 200
--- keep: one

=== TEST 2: POST of a key is an event of the organization
--- requests
GET $events?$all -> 200: API_KEY_CREATED $one_public $by
GET $own?$all -> 200: 

=== TEST 3: PATCH of description and roles of a key is an event for each, unless it changes none
--- requests
PATCH $key {"desc":"y","roles":["ORG_READ_ONLY"]} -> 200
GET $events?$all -> 200: API_KEY_DESCRIPTION_CHANGED $one_public $by, API_KEY_ROLES_CHANGED $one_public $by
PATCH $key {"desc":"y","roles":["ORG_READ_ONLY"]} -> 200
GET {$events,$own}?$all -> 200: 

=== TEST 4: POST of entries is an event for each, in their order
--- requests
POST $key/accessList [{"cidrBlock":"10.2.0.0/16"},{"ipAddress":"192.0.2.1"},
    {"ipAddress":"2001:DB8::1"},{"cidrBlock":"10.1.2.3/32"}] -> 200
GET $events?$all -> 200: API_KEY_ACCESS_LIST_ENTRY_ADDED $one_public 10.2.0.0/16 $by,
    API_KEY_ACCESS_LIST_ENTRY_ADDED $one_public 192.0.2.1 $by, API_KEY_ACCESS_LIST_ENTRY_ADDED
    $one_public 2001:db8::1 $by, API_KEY_ACCESS_LIST_ENTRY_ADDED $one_public 10.1.2.3 $by
GET $own?$all -> 200: 

=== TEST 5: DELETE of an entry is an event
--- requests
DELETE $key/accessList/192.0.2.1 -> 204
GET $events?$all -> 200: API_KEY_ACCESS_LIST_ENTRY_DELETED $one_public 192.0.2.1 $by
GET $own?$all -> 200: 

=== TEST 6: POST that assigns a key is an event of the project alone
--- requests
POST $assigned {"roles":["GROUP_READ_ONLY"]} -> 204
GET $own?$all -> 200: API_KEY_ADDED_TO_GROUP $one_public $by
GET $events?$all -> 200: 

=== TEST 7: PATCH of the roles in a project is an event of the project, unless it changes nothing
--- requests
PATCH $assigned {"roles":["GROUP_OWNER"]} -> 200
GET $own?$all -> 200: API_KEY_ROLES_CHANGED $one_public $by
PATCH $assigned {"roles":["GROUP_OWNER"]} -> 200
GET {$own,$events}?$all -> 200: 

=== TEST 8: PATCH through the project changes a description, an event of the organization, and roles
--- requests
PATCH $v2/groups/$project_id/apiKeys/$one_id {"desc":"z","roles":["GROUP_READ_ONLY"]} -> 200
GET $events?$all -> 200: API_KEY_DESCRIPTION_CHANGED $one_public $by
GET $own?$all -> 200: API_KEY_ROLES_CHANGED $one_public $by
--- query: $new
--- rows
API_KEY_DESCRIPTION_CHANGED $one_public
API_KEY_ROLES_CHANGED $one_public

=== TEST 9: DELETE of a key from a project is an event, once, and PATCH assigns it again
--- requests
DELETE $assigned -> 204
GET $own?$all -> 200: API_KEY_REMOVED_FROM_GROUP $one_public $by
DELETE $assigned -> 204
GET {$own,$events}?$all -> 200: 
PATCH $assigned {"roles":["GROUP_READ_ONLY"]} -> 200
GET $own?$all -> 200: API_KEY_ADDED_TO_GROUP $one_public $by
GET $events?$all -> 200: 

=== TEST 10: DELETE of a key that is in a project removes it from there first
--- requests
DELETE $key -> 204
GET $own?$all -> 200: API_KEY_REMOVED_FROM_GROUP $one_public $by
GET $events?$all -> 200: API_KEY_DELETED $one_public $by
--- query: $new
--- rows
API_KEY_REMOVED_FROM_GROUP $one_public
API_KEY_DELETED $one_public

=== TEST 11: POST through a project creates a key and assigns it
--- requests
POST $project/apiKeys {"desc":"x","roles":["GROUP_READ_ONLY"]} -> 200
--- keep: two
--- query: $new
--- rows
API_KEY_CREATED $two_public
API_KEY_ADDED_TO_GROUP $two_public

=== TEST 12: POST of a key through a project is an event of each
--- requests
GET $events?$all -> 200: API_KEY_CREATED $two_public $by
GET $own?$all -> 200: API_KEY_ADDED_TO_GROUP $two_public $by

=== TEST 13: the requirement of access lists and a new name are events of the organization
--- requests
PATCH $org/settings {"apiAccessListRequired":true} -> 200
PATCH $org/settings {"apiAccessListRequired":false} -> 200
PATCH $org {"name":"renamed"} -> 200
GET $events?$all -> 200: ORG_PUBLIC_API_ACCESS_LIST_REQUIRED $by,
    ORG_PUBLIC_API_ACCESS_LIST_NOT_REQUIRED $by, ORG_RENAMED $by
GET $own?$all -> 200: 

=== TEST 14: a new name of a project is an event in both lists, its settings are none
--- requests
PATCH $project {"name":"renamed"} -> 200
GET {$events,$own}?$all -> 200: GROUP_NAME_CHANGED $by
PATCH $project/settings {"isSchemaAdvisorEnabled":false} -> 200
GET {$events,$own}?$all -> 200: 

=== TEST 15: POST creates a second project
--- requests
POST $base/groups {"name":"second","orgId":"$org_id"} -> 201
--- keep: second
--- contains: "name":"second"

=== TEST 16: POST of a project is an event in the list of the organization and in its own
--- requests
GET $events?$all -> 200: GROUP_CREATED $by
GET $base/groups/$second_id/events?$all -> 200: GROUP_CREATED $by
GET $own?$all -> 200: 

=== TEST 17: DELETE of a project is an event of the organization
--- requests
DELETE $base/groups/$second_id -> 202
GET $events?$all -> 200: GROUP_DELETED $by
GET $own?$all -> 200: 

=== TEST 18: calls that are refused are no events
--- requests
POST $keys {"desc":"x","roles":[]} -> MISSING_API_KEY_ROLES
DELETE $keys/$nobody -> API_KEY_NOT_FOUND ["$nobody"]
PATCH $project/apiKeys/$nobody {"roles":["GROUP_OWNER"]} -> API_KEY_NOT_FOUND ["$nobody"]
GET {$events,$own}?$all -> 200: 

=== TEST 19: an organization lists the deletion of a key once
--- requests
GET $events?eventType=API_KEY_DELETED -> 200: API_KEY_DELETED:1
--- keep: deleted
--- response_body_filters eval: \&main::types

=== TEST 20: a page of one event shows the third newest addition of an entry
--- requests
GET $events?eventType=API_KEY_ACCESS_LIST_ENTRY_ADDED&itemsPerPage=1&pageNum=3 -> 200
--- keep: added
--- contains: "whitelistEntry":"192.0.2.1"

=== TEST 21: a project lists two removals of a key
--- requests
GET $own?eventType=API_KEY_REMOVED_FROM_GROUP -> 200: API_KEY_REMOVED_FROM_GROUP:2
--- keep: removed
--- response_body_filters eval: \&main::types

=== TEST 22: an event of an organization names the key that was changed, and the caller
--- on: atlas v2 om
--- requests
GET $events/$deleted_id -> 200 {$acting,$self,"orgId":"$org_id","created":"$date",
    "id":"$hex","eventTypeName":"API_KEY_DELETED","targetPublicKey":"$one_public"}

=== TEST 23: an event of an access list names the entry, on Ops Manager by both names
--- on: atlas v2 om
--- requests
GET $events/$added_id -> 200 {$acting,$self,"orgId":"$org_id","created":"$added_created",$entry
    "id":"$added_id","eventTypeName":"API_KEY_ACCESS_LIST_ENTRY_ADDED",
    "targetPublicKey":"$one_public","whitelistEntry":"192.0.2.1"}

=== TEST 24: an event of a project names the project, and has the member raw with includeRaw=true
--- on: atlas v2 om
--- requests
GET $own/$removed_id -> 200 {$removed,$self}
GET $own/$removed_id?includeRaw=true
    -> 200 {$removed,"links":[{"href":"http://localhost$own/$removed_id","rel":"self"}],
    "raw":{"_t":"API_USER_AUDIT","alertConfigId":null,"cid":"$project_id",
    "cre":"$removed_created","description":"API Key removed from Group","gn":null,"hidden":false,
    "et":"API_KEY_REMOVED_FROM_GROUP","id":"$removed_id","isMmsAdmin":false,"orgId":null,"orgName":null,
    "remoteAddr":"127.0.0.1","severity":"INFO","source":"USER","un":"$owner_public","userId":"$owner_id"}}

=== TEST 25: an event is found in its own list, by its whole id: a second and a number
--- on: atlas v2 om
--- requests
GET $events/$removed_id -> ORG_EVENT_NOT_FOUND ["$removed_id","$org_id"]
GET $own/$deleted_id -> EVENT_NOT_FOUND ["$deleted_id","$project_id"]
GET $events/$nobody -> ORG_EVENT_NOT_FOUND ["$nobody","$org_id"]
GET $events/$later -> ORG_EVENT_NOT_FOUND ["$later","$org_id"]
GET $events/x -> PATH_PARAM_PARSE_ERROR ["$uri"]
--- query: SELECT type FROM apikeys.events WHERE id = 1 AND org_id = '$org_id'
--- rows: ORG_CREATED

=== TEST 26: events are read only
--- on: atlas v2 om
--- requests
POST $events {} -> METHOD_NOT_ALLOWED ["POST"]
--- response_headers
Allow: GET, HEAD

=== TEST 27: the operator renames an organization
--- as: operator
--- requests
PATCH $org {"name":"by the operator"} -> 200
GET $events?eventType=ORG_RENAMED -> 200: ORG_RENAMED:2
--- keep: renamed
--- response_body_filters eval: sub { $_[0] =~ /results/ ? main::types(@_) : '' }

=== TEST 28: an event of the operator names no key
--- on: atlas v2 om
--- requests
GET $events/$renamed_id -> 200 {$self,"created":"$date","eventTypeName":"ORG_RENAMED",
    "id":"$hex","isGlobalAdmin":true,"orgId":"$org_id"}

=== TEST 29: a list counts all events, the newest first, and without a count shows the same
--- requests
GET $events -> 200: 23 of 23, newest first
GET $events?includeCount=false -> 200: 23 of 0, newest first
--- response_body_filters eval: \&main::count

=== TEST 30: eventType selects types, of which each may have its name of before 2021
--- requests
GET $events?eventType=ORG_RENAMED -> 200: ORG_RENAMED:2
GET $events?eventType=ORG_RENAMED&eventType=API_KEY_DELETED -> 200: API_KEY_DELETED:1 ORG_RENAMED:2
GET $events?eventType=API_KEY_WHITELIST_ENTRY_DELETED -> 200: API_KEY_ACCESS_LIST_ENTRY_DELETED:1
GET $events?eventType=JOINED_ORG -> 200: 
--- response_body_filters eval: \&main::types

=== TEST 31: excludedEventType of a project leaves types out, also of those that eventType selects
--- requests
GET $own?excludedEventType=API_KEY_ADDED_TO_GROUP&excludedEventType=GROUP_CREATED
    -> 200: API_KEY_REMOVED_FROM_GROUP:2 API_KEY_ROLES_CHANGED:2 GROUP_NAME_CHANGED:1
GET $own?eventType=GROUP_CREATED&eventType=GROUP_NAME_CHANGED&excludedEventType=GROUP_CREATED
    -> 200: GROUP_NAME_CHANGED:1
--- response_body_filters eval: \&main::types

=== TEST 32: an organization ignores excludedEventType and clusterNames, a project has no event of a cluster
--- requests
GET $events?eventType=ORG_RENAMED&excludedEventType=ORG_RENAMED&clusterNames=x -> 200: ORG_RENAMED:2
GET $own?clusterNames=x -> 200: 
--- response_body_filters eval: \&main::types

=== TEST 33: a page of events links to both sides, the last one to the page before, with its arguments
--- requests
GET $events?eventType=API_KEY_CREATED&pageNum=2&itemsPerPage=1
GET $events?eventType=ORG_RENAMED&pageNum=2&itemsPerPage=1&includeCount=false
--- contains
"links":[{"href":"http://localhost$events?eventType=API_KEY_CREATED&itemsPerPage=1&pageNum=1","rel":"previous"},{"href":"http://localhost$events?eventType=API_KEY_CREATED&pageNum=2&itemsPerPage=1","rel":"self"},{"href":"http://localhost$events?eventType=API_KEY_CREATED&itemsPerPage=1&pageNum=3","rel":"next"}]
"links":[{"href":"http://localhost$events?eventType=ORG_RENAMED&includeCount=false&itemsPerPage=1&pageNum=1","rel":"previous"},{"href":"http://localhost$events?eventType=ORG_RENAMED&includeCount=false&pageNum=2&itemsPerPage=1","rel":"self"}]

=== TEST 34: minDate includes the second that it names, in all spellings
--- keys
old: ORG_OWNER org=past
--- sql
INSERT INTO apikeys.events (at, type, org_id, target_public_key)
    SELECT at, 'API_KEY_DELETED', '$past_id', 'aaaaaaaa' FROM (VALUES
        ('2024-02-29 00:00:00Z'::timestamptz), ('2026-01-02 03:04:05.1Z'),
        ('2026-01-02 03:04:05.9Z'), ('2026-01-02 03:04:06Z')) e (at)
--- as: old
--- requests
GET $dated&minDate=2026-01-02T03:04:05{Z,%2B00%3A00,+00:00,-0000,.999999999Z}
GET $dated&minDate=2026-01-02T03%3A04%3A05Z
GET $dated&minDate=2026-01-02{,T03:04}
--- answers: 200: 3 of 3, newest first
--- response_body_filters eval: \&main::count

=== TEST 35: maxDate includes the second that it names, and a range both its ends
--- as: old
--- requests
GET $dated&maxDate=2026-01-02T03:04:05{Z,.000Z} -> 200: 3 of 3, newest first
GET $dated&minDate=2026-01-02T03:04:05Z&maxDate=2026-01-02T03:04:05Z -> 200: 2 of 2, newest first
GET $dated&minDate=2024-02-29{,T00:00:00Z} -> 200: 4 of 4, newest first
GET $dated&minDate=2024-02-29T00:00:01Z -> 200: 3 of 3, newest first
GET $dated&{minDate=9999-12-31,maxDate=0001-01-01T00:00} -> 200: 0 of 0, newest first
--- response_body_filters eval: \&main::count

=== TEST 36: a date that is malformed or not in the calendar is refused
--- requests
GET $events?minDate={,x,2026,2026-13-01,2026-02-30,2026-02-29,2026-01-01T,2026-01-01T24:00}
GET $events?minDate=2026-01-01T00:{60,00:60Z,00:00.Z,00:00.1234567890Z,00:00z,00:00%2B1,00:00Zx}
GET $events?minDate={2026-01-01T0:00,2026-01-01Z,-026-01-01,1767225600}
GET $events?maxDate=x
--- answers: INVALID_DATE_FORMAT ["$value"]

=== TEST 37: a range that ends before it begins is refused, and a type that is none before dates
--- requests
GET $events?minDate=2026-01-02&maxDate=2026-01-01 -> INVALID_DATE_RANGE ["2026-01-02","2026-01-01"]
GET $events?minDate=x&eventType=a -> INVALID_ENUM_VALUE ["a"]

=== TEST 38: a type that is no name of a type is refused
--- requests
GET $events?eventType= -> INVALID_ENUM_VALUE [""]
GET $events?eventType=a -> INVALID_ENUM_VALUE ["a"]
GET $events?eventType=A,B -> INVALID_ENUM_VALUE ["A,B"]
GET $events?eventType=$A101 -> INVALID_ENUM_VALUE ["$A101"]
GET $own?excludedEventType=a -> INVALID_ENUM_VALUE ["a"]

=== TEST 39: 101 types, and includeRaw that is no boolean, are refused before a type, after the page
--- requests
GET $events?$many -> INVALID_QUERY_PARAMETER ["eventType"]
GET $events?includeRaw=x -> INVALID_QUERY_PARAMETER ["includeRaw"]
GET $events?includeRaw=x&eventType=a -> INVALID_QUERY_PARAMETER ["includeRaw"]
GET $events?pageNum=-1&includeRaw=x -> INVALID_QUERY_PARAMETER ["pageNum"]

=== TEST 40: eventTypes lists the types that sql/ writes
--- on: v2
--- requests
GET $base/eventTypes?itemsPerPage=500
--- response_body_filters eval: \&main::listed
--- response_body eval: "22 $::written"

=== TEST 41: eventTypes shows whether a type can cause an alert
--- on: v2
--- requests
GET $base/eventTypes?itemsPerPage=1&pageNum=5
--- contains
"results":[{"alertable":false,"description":"A new API key has been created","eventType":"API_KEY_CREATED"}]

=== TEST 42: eventTypes has pages
--- on: v2
--- requests
GET $base/eventTypes?itemsPerPage=3&pageNum=7
    -> 200: 22 ORG_CREATED ORG_PUBLIC_API_ACCESS_LIST_NOT_REQUIRED ORG_PUBLIC_API_ACCESS_LIST_REQUIRED
--- response_body_filters eval: \&main::listed

=== TEST 43: eventTypes is a resource of v2 alone
--- on: atlas om
--- requests
GET $base/eventTypes -> RESOURCE_NOT_FOUND ["$uri"]

=== TEST 44: UPDATE of a key by psql is an event for each attribute that changes
--- keys
typed: ORG_MEMBER
--- sql
UPDATE apikeys.keys SET descr = 'by psql', roles = '{ORG_READ_ONLY}' WHERE id = '$typed_id';
UPDATE apikeys.keys SET descr = descr WHERE id = '$typed_id'
--- requests
GET $events?$all -> 200: ORG_RENAMED, API_KEY_CREATED $typed_public,
    API_KEY_DESCRIPTION_CHANGED $typed_public, API_KEY_ROLES_CHANGED $typed_public

=== TEST 45: INSERT and DELETE of entries by psql are events, UPDATE is both
--- sql
INSERT INTO apikeys.access_list (key_id, cidr)
    VALUES ('$typed_id', '10.0.0.0/8'), ('$typed_id', '192.0.2.7');
UPDATE apikeys.access_list SET cidr = '192.0.2.8'
    WHERE key_id = '$typed_id' AND cidr = '192.0.2.7';
DELETE FROM apikeys.access_list WHERE key_id = '$typed_id' AND cidr = '192.0.2.8'
--- requests
GET $events?$all -> 200: API_KEY_ACCESS_LIST_ENTRY_ADDED $typed_public 10.0.0.0/8,
    API_KEY_ACCESS_LIST_ENTRY_ADDED $typed_public 192.0.2.7, API_KEY_ACCESS_LIST_ENTRY_DELETED
    $typed_public 192.0.2.7, API_KEY_ACCESS_LIST_ENTRY_ADDED $typed_public 192.0.2.8,
    API_KEY_ACCESS_LIST_ENTRY_DELETED $typed_public 192.0.2.8

=== TEST 46: INSERT, UPDATE and DELETE of an assignment by psql are events of the project
--- sql
INSERT INTO apikeys.key_projects (key_id, project_id, roles)
    VALUES ('$typed_id', '$project_id', '{GROUP_OWNER}');
UPDATE apikeys.key_projects SET roles = '{GROUP_READ_ONLY}' WHERE key_id = '$typed_id';
DELETE FROM apikeys.key_projects WHERE key_id = '$typed_id';
INSERT INTO apikeys.key_projects (key_id, project_id, roles)
    VALUES ('$typed_id', '$project_id', '{GROUP_OWNER}')
--- requests
GET $own?$all -> 200: API_KEY_ADDED_TO_GROUP $typed_public, API_KEY_ROLES_CHANGED $typed_public,
    API_KEY_REMOVED_FROM_GROUP $typed_public, API_KEY_ADDED_TO_GROUP $typed_public
GET $events?$all -> 200: 

=== TEST 47: DELETE of a key by psql removes it from its projects first
--- sql
DELETE FROM apikeys.keys WHERE id = '$typed_id'
--- requests
GET $own?$all -> 200: API_KEY_REMOVED_FROM_GROUP $typed_public
GET $events?$all -> 200: API_KEY_DELETED $typed_public
--- query: $new
--- rows
API_KEY_REMOVED_FROM_GROUP $typed_public
API_KEY_DELETED $typed_public

=== TEST 48: changes of an organization and of a project by psql are events of the organization
--- sql
UPDATE apikeys.orgs SET name = 'by psql', access_list_required = NOT access_list_required
    WHERE id = '$org_id';
UPDATE apikeys.orgs SET access_list_required = false WHERE id = '$org_id';
INSERT INTO apikeys.projects (id, org_id, name) VALUES ('$nobody', '$org_id', 'by psql');
UPDATE apikeys.projects SET name = 'typed' WHERE id = '$nobody'
--- requests
GET $events?$all -> 200: ORG_RENAMED, ORG_PUBLIC_API_ACCESS_LIST_REQUIRED,
    ORG_PUBLIC_API_ACCESS_LIST_NOT_REQUIRED, GROUP_CREATED, GROUP_NAME_CHANGED
GET $own?$all -> 200: 

=== TEST 49: DELETE of all projects by psql removes their keys before it deletes them
--- sql
DELETE FROM apikeys.projects WHERE org_id = '$org_id'
--- requests
GET $events?$all -> 200: GROUP_DELETED, GROUP_DELETED
--- query
SELECT string_agg(concat_ws(' ', type, target_public_key), ', '
        ORDER BY type, target_public_key = '$two_public', id), max(id) FILTER (WHERE type ~ 'KEY')
        < min(id) FILTER (WHERE type = 'GROUP_DELETED')
    FROM apikeys.events WHERE id > $last_event
--- rows
API_KEY_REMOVED_FROM_GROUP $any_public, API_KEY_REMOVED_FROM_GROUP $two_public, GROUP_DELETED, GROUP_DELETED|1

=== TEST 50: an organization that was deleted keeps its events, which are not shown
--- keys
leaver: ORG_OWNER org=gone
--- requests
leaver: DELETE $base/orgs/$gone_id -> 204
operator: GET $base/orgs/$gone_id/events -> ORG_NOT_FOUND ["$gone_id"]
--- query: SELECT type FROM apikeys.events WHERE org_id = '$gone_id' ORDER BY id
--- rows
ORG_CREATED
API_KEY_CREATED
