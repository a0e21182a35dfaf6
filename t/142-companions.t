# The companions that clients call around keys: settings, tags and names of
# projects, lists by name, what is empty here, organizations, and what happens
# to keys when a project or an organization goes.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';
use ApiKeys::Shape ();
use JSON::PP ();

locations(<<'END');
location /in {
    apikeys_auth digest;
    apikeys_require project=$arg_project role=GROUP_DATA_ACCESS_ADMIN;
    empty_gif;
}
location /any { apikeys_auth digest; empty_gif; }
END

my $json = JSON::PP->new->utf8->canonical;
my $shape = ApiKeys::Shape->new('http://localhost');
my $e = "\xc3\xa9";
my ($alerts, $skip) = map { qq(,"${_}DefaultAlertsSettings":) } qw( with skip );
my %text = (alerts => $alerts . 'true', mute => $alerts . 'false',
    skip => $skip . 'true', noskip => $skip . 'false');

# how the base of a URI shows objects
sub on {
    return $_[0] =~ /public/ ? 'ops_manager' : $_[0] =~ /v2/ ? 'atlas_v2'
        : 'atlas_v1';
}

# the members of an object but those that blocks show themselves
sub members {
    my ($object) = @_;

    delete @$object{ 'name', 'tags', grep { /Alerts/ } keys %$object };
    return $json->encode($object) =~ s/^\{|\}$//gr;
}

sub project {
    my ($on, $id, $created, $org, @opt) = @_;
    return members($shape->project($on, { id => $id, created => $created }, $org, @opt));
}

my @p = qw( $p_id $p_created $org_id );

# the project $p and the organization $o that the base of the block has kept
# last, as the base of the request shows them; $alerts, $mute, $skip and $noskip
# are the members that Ops Manager does not have
names((map { my $of = $_; $of => sub { on(@_) =~ /ops/ ? '' : $text{$of} } }
        keys %text),
    p => sub { project(on(@_), @p, single => 1) },
    listed => sub { project(on(@_), @p) },
    o => sub { members($shape->org(on(@_), '$o_id', '', single => 1)) });

# On each base: how it answers; the tags that it sets, their reverse, as many as
# may be, and what each base shows of them ($shown, $shown_most).
for my $on (qw( atlas v2 om )) {
    my ($om, $at) = ($on eq 'om', $on eq 'atlas' ? 'v1' : $on);
    my $base = { atlas => 'atlas_v1', v2 => 'atlas_v2', om => 'ops_manager' }->{$on};
    my $shown = sub { my $tags = $_[0]; sub { $om == (on(@_) =~ /ops/) ? $tags : '[]' } };

    names("$on/at" => $at, "$on/key" => $on, "$on/now" => $om ? '$alerts' : '$mute',
        "$on/deleted" => $om ? '200 {}' : '202 {}',
        "$on/no_name" => sub { $om ? 'GROUP_NAME_NOT_FOUND ["'
            . $_[0] =~ s{.*/}{}r =~ s/%(\w\w)/chr hex $1/ger . '"]' : 'NOT_IN_GROUP' },
        "$on/tags" => $om ? '["EXTERNALLY_MANAGED","A.1-"]' : '[$env,$app]',
        "$on/back" => $om ? '["A.1-","EXTERNALLY_MANAGED"]' : '[$app,$env]',
        "$on/nul" => $om ? '["A\u0000"]' : '[{"key":"a\u0000","value":"v"}]',
        "$on/most" => $om
            ? $json->encode([ map { sprintf 'T%031d', $_ } 1 .. 10 ])
            : '[' . join(',', map { sprintf '{"key":"%s","value":"%s"}',
                $_ . $e x (255 - length), $e x 255 } 1 .. 50) . ']',
        "$on/shown" => $shown->('$tags'), "$on/shown_most" => $shown->('$most'),
        "$on/ignored" => $om ? '$p_id' : '$nobody',
        "$on/long" => "\xe9\x8d\xb5" x 62 . $at,
        "$on/own" => '{' . members($shape->org($base, '$search_id', ''))
            . ',"name":"search"$noskip}',
        (map { my $of = $_; map { ("$on/${of}_$_" => "\$${of}_${on}_$_") }
            qw( id public private ) } qw( visitor mine boss reader )),
        map { ("$on/${_}_id" => "\$${_}_${on}_id") } qw( gone owned going last ));

    # projects P1 .. P7 and organizations O1 .. O7, which lists are searched for
    my $n = 0;
    for my $name ('Alpha', 'AlphaBet', 'al%pha', 'al\\\\pha', 'al_pha', 'b two', 'beta') {
        my $id = ++$n x 24;
        names("$on/P$n" => '{' . project($base, $id, '2026-01-02T03:04:05Z', '$search_id')
                . qq(,"name":"$name","tags":[]\$alerts}),
            "$on/O$n" => '{' . members($shape->org($base, $id, ''))
                . qq(,"name":"\xc3\xb6$name"\$noskip}));
    }
}

# the settings of a new project, and $after_N: when its first N are changed
my @settings = map { /^(\w+)=(\w+)/ } qw( isAtlasHomePageAiAssistantEnabled=true
    isClusterAiAssistantEnabled=true isCollectDatabaseSpecificsStatisticsEnabled=true
    isDataExplorerEnabled=true isDataExplorerGenAIFeaturesEnabled=true
    isDataExplorerGenAISampleDocumentPassingEnabled=false isDataValidationEnabled=true
    isExtendedStorageSizesEnabled=false isNativeRerankingEnabled=false
    isPerformanceAdvisorEnabled=true isRealtimePerformancePanelEnabled=true
    isSchemaAdvisorEnabled=true );
for my $n (0 .. @settings / 2) {
    $settings[2 * $n - 1] =~ s/^(?:(true)|false)$/$1 ? 'false' : 'true'/e if $n;
    names("after_$n" => '{' . join(',', map {
        qq("$settings[2 * $_]":$settings[2 * $_ + 1]) } 0 .. 11) . '}');
}

our $words = join "\n", map { '"id":"' . 'e' x 23 . qq($_") } 1 .. 7;

names(all => '{$atlas,$v2,$om}', project => '$base/groups/$p_id',
    settings => '$project/settings', slow => '$in/managedSlowMs',
    named => '$base/groups/byName', name => "by%20name%20%C3%A9+%25_%20\$at",
    in => '$base/groups/$empty_id', of => '$base/orgs/$org_id',
    org => '$base/orgs/$o_id', groups => '$base/orgs/$search_id/groups',
    gone => '$base/groups/$gone_id', going => '$base/orgs/$going_id',
    page => 'pageNum=1&itemsPerPage=100', none => '"results":[],"totalCount":0',
    first => '"links":[{"href":"http://localhost$uri?$page","rel":"self"}]',
    self => '"links":[{"href":"http://localhost$uri&$page","rel":"self"}]',
    paged => '"links":[{"href":"http://localhost$uri","rel":"self"}]',
    fixed => '"apiAccessListRequired":false,"multiFactorAuthRequired":false,'
        . '"restrictEmployeeAccess":false', nobody => '0123456789abcdef01234567',
    env => '{"key":"env","value":"e2e"}', app => '{"key":"app","value":"cli"}',
    T33 => 'T' x 33, x65 => 'x' x 65, x256 => 'x' x 256, x300 => 'x' x 300,
    x321 => 'x' x 321, e256 => $e x 256,
    team => '{"teamId":"$nobody","roleNames":["GROUP_OWNER"]}',
    labels51 => $json->encode([ map { { key => "k$_", value => 'v' } } 1 .. 51 ]),
    tokens11 => $json->encode([ map { "T$_" } 1 .. 11 ]),
    projects => 'SELECT p::text FROM apikeys.projects p ORDER BY id',
    orgs => 'SELECT o::text FROM apikeys.orgs o ORDER BY id');

defaults(on => 'atlas v2 om', as => 'owner');
run_tests();

__DATA__

=== TEST 1: the operator creates a project
--- keys
owner: ORG_OWNER
member: ORG_MEMBER
stranger: ORG_OWNER org=other
guest: ORG_MEMBER GROUP_READ_ONLY org=other project=strange
any: ORG_MEMBER GROUP_READ_ONLY project=empty
--- as: operator
--- requests
POST $v2/groups {"name":"before $at","orgId":"$org_id"} -> 201
--- keep: p
--- contains: "name":"before $at"

=== TEST 2: a new project has default settings, which PATCH without a setting leaves
--- on: atlas v2
--- requests
GET $settings
PATCH $settings {}
--- answers: 200 $after_0

=== TEST 3: PATCH of a setting of a project changes this one alone
--- on: atlas v2
--- requests
PATCH $settings {"isAtlasHomePageAiAssistantEnabled":false} -> 200 $after_1
PATCH $settings {"isClusterAiAssistantEnabled":false} -> 200 $after_2
PATCH $settings {"isCollectDatabaseSpecificsStatisticsEnabled":false} -> 200 $after_3
PATCH $settings {"isDataExplorerEnabled":false} -> 200 $after_4
PATCH $settings {"isDataExplorerGenAIFeaturesEnabled":false} -> 200 $after_5
PATCH $settings {"isDataExplorerGenAISampleDocumentPassingEnabled":true} -> 200 $after_6
PATCH $settings {"isDataValidationEnabled":false} -> 200 $after_7
PATCH $settings {"isExtendedStorageSizesEnabled":true} -> 200 $after_8
PATCH $settings {"isNativeRerankingEnabled":true} -> 200 $after_9
PATCH $settings {"isPerformanceAdvisorEnabled":false} -> 200 $after_10
PATCH $settings {"isRealtimePerformancePanelEnabled":false} -> 200 $after_11
PATCH $settings {"isSchemaAdvisorEnabled":false} -> 200 $after_12

=== TEST 4: both versions of Atlas show the settings that one has stored, and take all at once
--- on: atlas v2
--- requests
GET {$atlas,$v2}/groups/$p_id/settings -> 200 $after_12
PATCH $settings $after_0 -> 200 $after_0

=== TEST 5: a setting of a project that is no boolean is refused, with the rest of the body
--- on: atlas v2
--- requests
PATCH $settings {"isDataExplorerEnabled":null} -> INVALID_JSON_ATTRIBUTE ["isDataExplorerEnabled"]
PATCH $settings {"isDataExplorerEnabled":"true"} -> INVALID_JSON_ATTRIBUTE ["isDataExplorerEnabled"]
PATCH $settings {"isDataExplorerEnabled":false,"isSchemaAdvisorEnabled":1}
    -> INVALID_JSON_ATTRIBUTE ["isSchemaAdvisorEnabled"]
GET $settings -> 200 $after_0

=== TEST 6: a setting that a project does not have, or a body that is no object, is refused
--- on: atlas v2
--- requests
PATCH $settings {"nosuch":true} -> INVALID_ATTRIBUTE ["nosuch"]
PATCH $settings {"managedSlowMs":true} -> INVALID_ATTRIBUTE ["managedSlowMs"]
PATCH $settings {"tags":[]} -> INVALID_ATTRIBUTE ["tags"]
PATCH $settings [] -> INVALID_JSON
PATCH $settings { -> MALFORMED_JSON
GET $settings -> 200 $after_0

=== TEST 7: settings of a project are shown in an envelope, and are no members of the project
--- on: atlas v2
--- requests
GET $settings?envelope=true -> 200 {"status":200,"content":$after_0}
GET $all/groups/$p_id -> 200 {$p,"name":"before $at","tags":[]$alerts}

=== TEST 8: PATCH renames a project, and without a member or with the same name leaves it
--- requests
PATCH $project {} -> 200 {$p,"name":"before $at","tags":[]$alerts}
PATCH $project {"name":"after $at"} -> 200 {$p,"name":"after $at","tags":[]$alerts}
PATCH $project {"name":"after $at"} -> 200 {$p,"name":"after $at","tags":[]$alerts}
--- audit: GROUP_NAME_CHANGED{"name":"before $at"}{"name":"after $at"}

=== TEST 9: PATCH stores tags in their order, and replaces them all; the other product shows none
--- requests
PATCH $project {"tags":$tags} -> 200 {$p,"name":"after $at","tags":$tags$alerts}
PATCH $project {"name":"after $at"} -> 200 {$p,"name":"after $at","tags":$tags$alerts}
GET $all/groups/$p_id -> 200 {$p,"name":"after $at","tags":$shown$alerts}
PATCH $project {"tags":$back} -> 200 {$p,"name":"after $at","tags":$back$alerts}

=== TEST 10: PATCH of Atlas sets alerts, which Ops Manager does not show
--- on: atlas v2
--- requests
PATCH $project {"withDefaultAlertsSettings":false} -> 200 {$p,"name":"after $at","tags":$back$mute}
GET {$atlas,$v2}/groups/$p_id -> 200 {$p,"name":"after $at","tags":$back$mute}
GET $om/groups/$p_id -> 200 {$p,"name":"after $at","tags":[]}

=== TEST 11: PATCH with an empty array removes all tags
--- requests
PATCH $project {"tags":[]} -> 200 {$p,"name":"after $at","tags":[]$now}
GET $all/groups/$p_id -> 200 {$p,"name":"after $at","tags":[]$now}

=== TEST 12: PATCH takes a name of 64 characters and the longest tags: 50 on Atlas, 10 on Ops Manager
--- requests
PATCH $project {"tags":$most} -> 200 {$p,"name":"after $at","tags":$most$now}
PATCH $project {"name":"$long"} -> 200 {$p,"name":"$long","tags":$most$now}

=== TEST 13: a name of a project that is empty, too long or has a control character is refused
--- requests
PATCH $project {"name":""} -> INVALID_GROUP_NAME [""]
PATCH $project {"name":"$x65"} -> INVALID_GROUP_NAME ["$x65"]
PATCH $project {"name":"a\tb"} -> INVALID_GROUP_NAME ["a\tb"]
PATCH $project {"name":"a\u007f"} -> INVALID_GROUP_NAME ["a\u007f"]
--- unchanged: $projects

=== TEST 14: a member of a project that has another type or is unknown is refused
--- requests
PATCH $project {"name":1} -> INVALID_JSON_ATTRIBUTE ["name"]
PATCH $project {"tags":"x"} -> INVALID_JSON_ATTRIBUTE ["tags"]
PATCH $project {"tags":{}} -> INVALID_JSON_ATTRIBUTE ["tags"]
PATCH $project {"withDefaultAlertsSettings":1} -> INVALID_JSON_ATTRIBUTE ["withDefaultAlertsSettings"]
PATCH $project {"nosuch":1} -> INVALID_ATTRIBUTE ["nosuch"]
PATCH $project [] -> INVALID_JSON
--- unchanged: $projects

=== TEST 15: a tag of Ops Manager is a string of up to 32 letters, digits, ".", "_" and "-"
--- on: om
--- requests
PATCH $project {"tags":["GOOD",""]}
PATCH $project {"tags":["GOOD","$T33"]}
PATCH $project {"tags":["GOOD","A B"]}
PATCH $project {"tags":["GOOD","A\n"]}
PATCH $project {"tags":["GOOD","É"]}
PATCH $project {"tags":["GOOD","%"]}
PATCH $project {"tags":["GOOD",1]}
PATCH $project {"tags":["GOOD",null]}
PATCH $project {"tags":["GOOD",{"key":"k","value":"v"}]}
PATCH $project {"tags":["GOOD",["A"]]}
--- answers: INVALID_GROUP_TOKEN ["32"]
--- unchanged: $projects

=== TEST 16: Ops Manager refuses an eleventh tag, and another id than that of the path
--- on: om
--- requests
PATCH $project {"tags":$tokens11} -> TOO_MANY_GROUP_TOKENS ["10"]
PATCH $project {"id":"$nobody"} -> GROUP_MISMATCH ["$nobody"]
PATCH $project {"id":"${p_id}0"} -> GROUP_MISMATCH ["${p_id}0"]
--- unchanged: $projects

=== TEST 17: tags of Atlas are 50 at most, have a key and a value of up to 255, and no key twice
--- on: atlas v2
--- requests
PATCH $project {"tags":$labels51}
PATCH $project {"tags":[{"key":"k","value":"v1"},{"key":"k","value":"v2"}]}
PATCH $project {"tags":[{"key":"","value":"v"}]}
PATCH $project {"tags":[{"key":"k","value":""}]}
PATCH $project {"tags":[{"key":"$x256","value":"v"}]}
PATCH $project {"tags":[{"key":"k","value":"$e256"}]}
PATCH $project {"tags":[{"key":"k"}]}
PATCH $project {"tags":[{"value":"v"}]}
PATCH $project {"tags":[{}]}
PATCH $project {"tags":[{"key":null,"value":"v"}]}
--- answers: INVALID_ATTRIBUTE ["tags"]
--- unchanged: $projects

=== TEST 18: a tag of Atlas is an object of two strings
--- on: atlas v2
--- requests
PATCH $project {"tags":[{"key":1,"value":"v"}]} -> INVALID_JSON_ATTRIBUTE ["key"]
PATCH $project {"tags":[{"key":"k","value":"v","x":1}]} -> INVALID_ATTRIBUTE ["x"]
PATCH $project {"tags":["k"]} -> INVALID_JSON
--- unchanged: $projects

=== TEST 19: v2 refuses members of a project that only the server sets
--- on: v2
--- requests
PATCH $project {"id":"x"} -> INVALID_ATTRIBUTE ["id"]
PATCH $project {"orgId":"x"} -> INVALID_ATTRIBUTE ["orgId"]
PATCH $project {"links":"x"} -> INVALID_ATTRIBUTE ["links"]
PATCH $project {"clusterCount":"x"} -> INVALID_ATTRIBUTE ["clusterCount"]
PATCH $project {"created":"x"} -> INVALID_ATTRIBUTE ["created"]
PATCH $project {"agentApiKey":"x"} -> INVALID_ATTRIBUTE ["agentApiKey"]
PATCH $project {"regionUsageRestrictions":"x"} -> INVALID_ATTRIBUTE ["regionUsageRestrictions"]
--- unchanged: $projects

=== TEST 20: refused changes leave a project with its name, its tags and its alerts
--- requests
PATCH $project {} -> 200 {$p,"name":"$long","tags":$most$now}
GET $all/groups/$p_id -> 200 {$p,"name":"$long","tags":$shown_most$now}

=== TEST 21: v1.0 and Ops Manager take the project that they have shown
--- on: atlas om
--- requests
PATCH $project {$p,"name":"$long","tags":$most$now} -> 200 {$p,"name":"$long","tags":$most$now}
--- audit

=== TEST 22: v1.0 and Ops Manager ignore what PATCH of a project does not set
--- on: atlas om
--- requests
PATCH $project {"orgId":"$nobody","agentApiKey":"x","clusterCount":7,"created":"x","links":[],
    "hostCounts":{},"publicApiEnabled":false,"ldapGroupMappings":[],"id":"$ignored"}
    -> 200 {$p,"name":"$long","tags":$most$now}
--- audit

=== TEST 23: a name with a NUL and a tag with a NUL or half a surrogate pair are refused
--- requests
PATCH $project {"name":"a\u0000"}
PATCH $project {"tags":["\ud800"]}
PATCH $project {"tags":$nul}
--- answers: MALFORMED_JSON
--- unchanged: $projects

=== TEST 24: POST of v2 stores the tags of a project
--- on: atlas
--- as: operator
--- requests
POST $v2/groups {"name":"tags of both","orgId":"$org_id","tags":$tags} -> 201
--- keep: p
--- contains: "tags":$tags

=== TEST 25: a project has tags of Atlas, those of POST, and others of Ops Manager
--- on: atlas
--- requests
GET $all/groups/$p_id -> 200 {$p,"name":"tags of both","tags":$shown$alerts}
PATCH $om/groups/$p_id {"tags":["T"]} -> 200 {$p,"name":"tags of both","tags":["T"]}
GET {$atlas,$v2}/groups/$p_id -> 200 {$p,"name":"tags of both","tags":$tags$alerts}
GET $om/groups/$p_id -> 200 {$p,"name":"tags of both","tags":["T"]}

=== TEST 26: the removal of tags on Atlas leaves those of Ops Manager, also in lists
--- on: atlas
--- requests
PATCH $project {"tags":[]} -> 200 {$p,"name":"tags of both","tags":[]$alerts}
GET {$atlas,$v2}/groups/$p_id -> 200 {$p,"name":"tags of both","tags":[]$alerts}
GET $om/groups/$p_id -> 200 {$p,"name":"tags of both","tags":["T"]}
GET {$atlas,$v2}/orgs/$org_id/groups?name=tags%20of%20both
    -> 200 {$self,"results":[{$listed,"name":"tags of both","tags":[]$alerts}],"totalCount":1}
GET $om/orgs/$org_id/groups?name=tags%20of%20both
    -> 200 {$self,"results":[{$listed,"name":"tags of both","tags":["T"]}],"totalCount":1}

=== TEST 27: a project beyond the quota of its organization is refused to all
--- keys
limited: ORG_OWNER GROUP_OWNER org=full project=one
second: ORG_OWNER GROUP_OWNER org=full project=two
--- sql
SELECT apikeys.set_quota('$full_id', p_projects => 2)
--- requests
limited: POST $base/groups {"name":"three","orgId":"$full_id"}
operator: POST $base/groups {"name":"three","orgId":"$full_id"}
--- answers: MAX_GROUPS_PER_ORG_EXCEEDED [2,"$full_id"]
--- query: SELECT count(*) FROM apikeys.projects WHERE org_id = '$full_id'
--- rows: 2

=== TEST 28: a project may have the name of a part of the path
--- keys
words: ORG_OWNER org=verbal
--- sql
INSERT INTO apikeys.projects (id, org_id, name)
    SELECT lpad(n::text, 24, 'e'), '$verbal_id', name
      FROM (VALUES (1, 'apiKeys'), (2, 'users'), (3, 'teams'), (4, 'settings'),
                   (5, 'invites'), (6, 'events'), (7, 'byName')) p (n, name)
    ON CONFLICT DO NOTHING
--- as: words
--- requests
GET $named/{apiKeys,users,teams,settings,invites,events,byName} -> 200
--- contains eval: $::words

=== TEST 29: the operator creates projects, one of a name that a path has to escape
--- as: operator
--- requests
POST $v2/groups {"name":"taken on $at","orgId":"$org_id"}
POST $v2/groups {"name":"by name é+%_ $at","orgId":"$org_id"}
--- answers: 201
--- keep: p
--- contains: $at"

=== TEST 30: a name that a project of the organization has is refused
--- requests
owner: POST $base/groups {"name":"taken on $at","orgId":"$org_id"}
operator: POST $base/groups {"name":"taken on $at","orgId":"$org_id"}
owner: PATCH $project {"name":"taken on $at","tags":[]}
--- answers: GROUP_ALREADY_EXISTS ["taken on $at"]
--- unchanged: $projects

=== TEST 31: a name is free in another case and in another organization
--- requests
owner: GET $all/groups/$p_id -> 200 {$p,"name":"by name é+%_ $at","tags":[]$alerts}
owner: POST $base/groups {"name":"TAKEN ON $at","orgId":"$org_id"} -> 201
stranger: POST $base/groups {"name":"taken on $at","orgId":"$other_id"} -> 201

=== TEST 32: the owner of the organization and the operator find a project by its name
--- requests
owner: GET $named/$name
operator: GET $named/$name
--- answers: 200 {$p,"name":"by name é+%_ $at","tags":[]$alerts}

=== TEST 33: a key finds a project by its name if it has a role in it
--- requests
member: GET $named/$name -> $no_name
stranger: GET $named/$name -> $no_name
operator: PATCH $atlas/groups/$p_id/apiKeys/$member_id {"roles":["GROUP_READ_ONLY"]} -> 200
member: GET $named/$name -> 200 {$p,"name":"by name é+%_ $at","tags":[]$alerts}

=== TEST 34: Atlas answers that a key is not in a project that does not exist, Ops Manager names it
--- requests
GET $named/by%20name%20%C3%A9+%25_%20{V1,V2,OM} -> $no_name
GET $named/{nosuch,by%25,$nobody,$p_id,$x300} -> $no_name

=== TEST 35: the path byName needs a name, which is UTF-8
--- requests
GET $named -> PATH_PARAM_PARSE_ERROR ["$uri"]
GET $named/%FF -> 400
--- response_headers
X-Error-Code: PATH_PARAM_PARSE_ERROR

=== TEST 36: a key finds the project of its organization, the operator finds two of a name
--- requests
operator: POST $v2/groups {"name":"by name é+%_ $at","orgId":"$other_id"} -> 201
owner: GET $named/$name -> 200 {$p,"name":"by name é+%_ $at","tags":[]$alerts}
operator: GET $named/$name -> MULTIPLE_GROUPS

=== TEST 37: a project that was renamed is found by its new name alone, until it is deleted
--- requests
PATCH $project {"name":"by name é+%_ $at!"} -> 200
GET $named/$name -> $no_name
GET $named/$name! -> 200 {$p,"name":"by name é+%_ $at!","tags":[]$alerts}
DELETE $project -> $deleted
GET $named/$name! -> $no_name

=== TEST 38: managedSlowMs of a project is true, until DELETE disables it, and POST enables it
--- on: atlas v2
--- requests
GET $slow -> 200 true
DELETE $slow/disable -> 204
GET {$atlas,$v2}/groups/$empty_id/managedSlowMs -> 200 false
DELETE $slow/disable -> 204
GET {$atlas,$v2}/groups/$empty_id/managedSlowMs -> 200 false
POST $slow/enable -> 204
GET $slow -> 200 true
POST $slow/enable -> 204
GET $slow -> 200 true

=== TEST 39: managedSlowMs is shown in an envelope, and is no setting
--- on: atlas v2
--- requests
DELETE $slow/disable -> 204
GET $slow?envelope=true -> 200 {"status":200,"content":false}
GET $in/settings -> 200 $after_0
POST $slow/enable {} -> 204

=== TEST 40: lists of users, teams and clusters are empty
--- requests
GET {$in,$of}/{users,teams} -> 200 {$first,$none}

=== TEST 41: the list of clusters of Atlas is empty
--- on: atlas v2
--- requests
GET $in/clusters -> 200 {$first,$none}
GET $in/clusters/ -> 200 {"links":[{"href":"http://localhost$in/clusters?$page","rel":"self"}],$none}
GET $in/clusters?includeCount=false -> 200 {$self,"results":[]}
GET $in/clusters?includeCount=true&includeDeletedWithRetainedBackups=false&$page -> 200 {$paged,$none}

=== TEST 42: the path of an empty list may end with a slash, which its link does not have
--- requests
GET $in/users/ -> 200 {"links":[{"href":"http://localhost$in/users?$page","rel":"self"}],$none}
GET $in/teams/ -> 200 {"links":[{"href":"http://localhost$in/teams?$page","rel":"self"}],$none}
GET $of/users/ -> 200 {"links":[{"href":"http://localhost$of/users?$page","rel":"self"}],$none}
GET $of/teams/ -> 200 {"links":[{"href":"http://localhost$of/teams?$page","rel":"self"}],$none}

=== TEST 43: an empty list without a count has no totalCount, and takes arguments of clients
--- requests
GET {$in,$of}/{users,teams}?includeCount=false -> 200 {$self,"results":[]}
GET $in/users?flattenTeams=false&includeCount=true&includeOrgUsers=false&$page -> 200 {$paged,$none}
GET $of/users?includeCount=true&orgMembershipStatuses=ACTIVE&orgMembershipStatuses=PENDING&username=a%40b&$page -> 200 {$paged,$none}

=== TEST 44: invitations are an empty array, also in an envelope
--- requests
GET {$in,$of}/invites -> 200 []
GET {$in,$of}/invites?username=x&envelope=true -> 200 {"status":200,"content":[]}

=== TEST 45: an empty array has a blank in it when pretty=true
--- requests
GET {$in,$of}/invites?pretty=true
--- response_body chomp
[ ]

=== TEST 46: limits and addresses of a project of Atlas are empty lists
--- on: atlas v2
--- requests
GET $in/{limits,limits?username=x&envelope=true,limits?pretty=true,ipAddresses}
--- response_body eval
[ '[]', '{"status":200,"content":[]}', '[ ]', '{"groupId":"$empty_id","services":{"clusters":[]}}' ]

=== TEST 47: POST of no team answers with the empty list, other calls find no team
--- requests
POST $in/teams [] -> 200 {$first,$none}
POST $in/teams [$team] -> TEAM_NOT_FOUND ["$nobody"]
PATCH $in/teams/$nobody {"roleNames":["GROUP_OWNER"]} -> TEAM_NOT_FOUND ["$nobody"]
DELETE $in/teams/$nobody -> TEAM_NOT_FOUND ["$nobody"]
POST $in/teams [{"teamId":"first","roleNames":["GROUP_OWNER"]},$team] -> TEAM_NOT_FOUND ["first"]

=== TEST 48: an element of the array that is no team is refused, wherever it is
--- requests
POST $in/teams ["x"] -> INVALID_JSON
POST $in/teams [$team,"x"] -> INVALID_JSON
POST $in/teams [$team,"x",$team] -> INVALID_JSON
POST $in/teams [{"teamId":1}] -> INVALID_JSON_ATTRIBUTE ["teamId"]
POST $in/teams [$team,{"teamId":1}] -> INVALID_JSON_ATTRIBUTE ["teamId"]
POST $in/teams [$team,{"teamId":1},$team] -> INVALID_JSON_ATTRIBUTE ["teamId"]
POST $in/teams [{"x":1}] -> INVALID_ATTRIBUTE ["x"]
POST $in/teams [$team,{"x":1}] -> INVALID_ATTRIBUTE ["x"]
POST $in/teams [$team,{"x":1},$team] -> INVALID_ATTRIBUTE ["x"]

=== TEST 49: a project of nobody or of another organization is not found, nor what is in it
--- requests
GET $base/groups/$nobody/{users,teams,invites} -> GROUP_NOT_FOUND ["$nobody"]
GET $base/groups/$strange_id/{users,teams,invites} -> GROUP_NOT_FOUND ["$strange_id"]
GET $base/groups/x/{users,teams,invites} -> PATH_PARAM_PARSE_ERROR ["$uri"]

=== TEST 50: resources that only Atlas has are not found in a project of nobody or of another organization
--- on: atlas v2
--- requests
GET $base/groups/$nobody/{clusters,limits,ipAddresses,managedSlowMs,settings} -> GROUP_NOT_FOUND ["$nobody"]
GET $base/groups/$strange_id/{clusters,limits,ipAddresses,managedSlowMs,settings} -> GROUP_NOT_FOUND ["$strange_id"]
GET $base/groups/x/{clusters,limits,ipAddresses,managedSlowMs,settings} -> PATH_PARAM_PARSE_ERROR ["$uri"]

=== TEST 51: an organization of nobody, or another one than that of the key, is not found
--- requests
GET $base/orgs/$nobody/{users,teams,invites,settings,groups} -> ORG_NOT_FOUND ["$nobody"]
GET $base/orgs/$other_id/{users,teams,invites,settings,groups} -> ORG_NOT_FOUND ["$other_id"]

=== TEST 52: other resources of organizations and projects do not exist
--- requests
GET {$of,$in}/aiModelApiKeys -> RESOURCE_NOT_FOUND ["$uri"]
GET $of/{serviceAccounts,users/$nobody} -> RESOURCE_NOT_FOUND ["$uri"]
GET $in/{limits/x,managedSlowMs/x,serverless,controlledFeature} -> RESOURCE_NOT_FOUND ["$uri"]

=== TEST 53: resources of Atlas do not exist on Ops Manager
--- on: om
--- requests
GET $in/{settings,limits,ipAddresses,clusters,managedSlowMs,managedSlowMs/enable}
--- answers: RESOURCE_NOT_FOUND ["$uri"]

=== TEST 54: a method that a resource does not have is refused, and Allow lists those that it has
--- requests
POST {$of,$in}/users
POST $of/teams
DELETE $of/invites
PATCH $named/x
PUT $in/invites
POST $of
PUT $in
PUT $in/teams
GET $in/teams/$nobody
--- answers: METHOD_NOT_ALLOWED ["$method"]
--- response_headers eval
[ ('Allow: GET, HEAD') x 6, ('Allow: GET, HEAD, PATCH, DELETE') x 2, 'Allow: GET, HEAD, POST',
    'Allow: PATCH, DELETE' ]

=== TEST 55: Allow lists the methods of resources that only Atlas has
--- on: atlas v2
--- requests
PATCH $in/{limits,managedSlowMs}
POST $in/{ipAddresses,clusters,settings,managedSlowMs/disable}
GET $in/managedSlowMs/enable
--- answers: METHOD_NOT_ALLOWED ["$method"]
--- response_headers eval
[ ('Allow: GET, HEAD') x 4, 'Allow: GET, HEAD, PATCH', 'Allow: DELETE', 'Allow: POST' ]

=== TEST 56: SQL creates projects and organizations with similar names
--- keys
lists: ORG_OWNER org=search
--- sql
INSERT INTO apikeys.projects (id, org_id, name, created)
    SELECT repeat(n::text, 24), '$search_id', name, '2026-01-02 03:04:05Z'
      FROM (VALUES (1, 'Alpha'), (2, 'AlphaBet'), (3, 'al%pha'), (4, 'al\pha'),
                   (5, 'al_pha'), (6, 'b two'), (7, 'beta')) p (n, name);
INSERT INTO apikeys.orgs (id, name) SELECT id, 'ö' || name FROM apikeys.projects
    WHERE org_id = '$search_id'
--- on: atlas
--- as: lists
--- requests
GET $groups -> 200
--- contains: "totalCount":7

=== TEST 57: projects are listed by the beginning of their names, in any case
--- as: lists
--- requests
GET $groups?name=ALPHA -> 200 {$self,"results":[$P1,$P2],"totalCount":2}
GET $groups?name=alphab -> 200 {$self,"results":[$P2],"totalCount":1}
GET $groups?name={b+t,B%20TWO} -> 200 {$self,"results":[$P6],"totalCount":1}
GET $groups?name={lpha,Alphabets,%25,b%2Bt,.*} -> 200 {$self,$none}

=== TEST 58: characters of patterns stand for themselves, an empty name for all, the first of two counts
--- as: lists
--- requests
GET $groups?name=al%25 -> 200 {$self,"results":[$P3],"totalCount":1}
GET $groups?name=AL%5c -> 200 {$self,"results":[$P4],"totalCount":1}
GET $groups?name=al_ -> 200 {$self,"results":[$P5],"totalCount":1}
GET $groups?name= -> 200 {$self,"results":[$P1,$P2,$P3,$P4,$P5,$P6,$P7],"totalCount":7}
GET $groups?name=alpha&name=beta -> 200 {$self,"results":[$P1,$P2],"totalCount":2}

=== TEST 59: organizations are listed by the beginning of their names, as projects are
--- as: operator
--- requests
GET $base/orgs?name=%C3%B6{ALPHA,alpha&name=beta} -> 200 {$self,"results":[$O1,$O2],"totalCount":2}
GET $base/orgs?name=%C3%B6alphab -> 200 {$self,"results":[$O2],"totalCount":1}
GET $base/orgs?name=%C3%B6{b+t,B%20TWO} -> 200 {$self,"results":[$O6],"totalCount":1}
GET $base/orgs?name=%C3%B6{lpha,Alphabets,%25,b%2Bt,.*} -> 200 {$self,$none}
GET $base/orgs?name=%C3%B6al%25 -> 200 {$self,"results":[$O3],"totalCount":1}
GET $base/orgs?name=%C3%B6AL%5c -> 200 {$self,"results":[$O4],"totalCount":1}
GET $base/orgs?name=%C3%B6al_ -> 200 {$self,"results":[$O5],"totalCount":1}

=== TEST 60: a key finds its own organization by the name, and no other
--- as: lists
--- requests
GET $base/orgs?includeCount=true&name=&$page -> 200 {$paged,"results":[$own],"totalCount":1}
GET $base/orgs?name=SEA -> 200 {$self,"results":[$own],"totalCount":1}
GET $base/orgs?name=alpha -> 200 {$self,$none}

=== TEST 61: the list of all projects takes no name, and zero is the page by default
--- as: lists
--- requests
GET $base/groups?name=x -> 200 {$self,"results":[$P1,$P2,$P3,$P4,$P5,$P6,$P7],"totalCount":7}
GET $groups?itemsPerPage=0&pageNum=0&includeCount=true
    -> 200 {"links":[{"href":"http://localhost$groups?includeCount=true&$page","rel":"self"}],
    "results":[$P1,$P2,$P3,$P4,$P5,$P6,$P7],"totalCount":7}

=== TEST 62: the second page of a list by name links to the first and the third
--- as: lists
--- requests
GET $groups?name=al&itemsPerPage=2&pageNum=2
    -> 200 {"links":[{"href":"http://localhost$groups?name=al&itemsPerPage=2&pageNum=1",
    "rel":"previous"},{"href":"http://localhost$groups?name=al&pageNum=2&itemsPerPage=2",
    "rel":"self"},{"href":"http://localhost$groups?name=al&itemsPerPage=2&pageNum=3",
    "rel":"next"}],"results":[$P3,$P4],"totalCount":5}

=== TEST 63: a name that is no UTF-8 or has a NUL is refused as an argument
--- as: lists
--- requests
GET {$base/orgs,$groups}?name={%FF,a%00} -> INVALID_QUERY_PARAMETER ["name"]

=== TEST 64: an organization is created by no key, and without a service account
--- requests
owner: POST $base/orgs {"name":"posted","skipDefaultAlertsSettings":true,"orgOwnerId":"any text",
    "serviceAccount":null,"apiKey":{"desc":"first","roles":["ORG_OWNER"]}} -> API_KEY_CANNOT_CREATE_ORG
operator: POST $base/orgs {"name":"posted","serviceAccount":{}} -> INVALID_ATTRIBUTE ["serviceAccount"]
operator: POST $base/orgs {"name":"posted","serviceAccount":{"name":"x"}} -> INVALID_ATTRIBUTE ["serviceAccount"]
operator: POST $base/orgs {"name":"posted","serviceAccount":"x"} -> INVALID_ATTRIBUTE ["serviceAccount"]
operator: POST $base/orgs {"name":"posted","serviceAccount":false} -> INVALID_ATTRIBUTE ["serviceAccount"]
--- unchanged: $orgs

=== TEST 65: null is no service account, and the operator creates the organization
--- as: operator
--- requests
POST $base/orgs {"name":"posted $at","serviceAccount":null,"skipDefaultAlertsSettings":true,
    "orgOwnerId":"any text","apiKey":{"desc":"first","roles":["ORG_OWNER"]}} -> 201
--- keep: o
--- contains: "name":"posted $at"

=== TEST 66: the first key of an organization reads it on each base, also with a slash at the end
--- as: o
--- requests
GET $org{,/} -> 200 {$o,"name":"posted $at"$skip}
GET $all/orgs/$o_id -> 200 {$o,"name":"posted $at"$skip}

=== TEST 67: PATCH of an organization on v2 requires the name
--- on: v2
--- as: o
--- requests
PATCH $org {}
PATCH $org {"skipDefaultAlertsSettings":false}
PATCH $org {"name":null}
--- answers: MISSING_ATTRIBUTE ["name"]
--- unchanged: $orgs

=== TEST 68: PATCH without a member leaves the organization as it is
--- on: atlas om
--- as: o
--- requests
PATCH $org {} -> 200 {$o,"name":"posted $at"$skip}
--- audit

=== TEST 69: PATCH renames an organization, to a name that another one has, and sets its alerts
--- as: o
--- requests
PATCH $org {"name":"renamed $at"} -> 200 {$o,"name":"renamed $at"$skip}
PATCH $org {"name":"renamed $at","skipDefaultAlertsSettings":false}
    -> 200 {$o,"name":"renamed $at"$noskip}
PATCH $org {"name":"org"} -> 200 {$o,"name":"org"$noskip}

=== TEST 70: a member of an organization that is wrong, unknown or read-only is refused
--- as: o
--- requests
PATCH $org {"name":""} -> INVALID_ATTRIBUTE ["name"]
PATCH $org {"name":"$x65"} -> INVALID_ATTRIBUTE ["name"]
PATCH $org {"name":"a\n"} -> INVALID_ATTRIBUTE ["name"]
PATCH $org {"name":[]} -> INVALID_JSON_ATTRIBUTE ["name"]
PATCH $org {"name":"x","skipDefaultAlertsSettings":"x"}
    -> INVALID_JSON_ATTRIBUTE ["skipDefaultAlertsSettings"]
PATCH $org {"name":"x","nosuch":1} -> INVALID_ATTRIBUTE ["nosuch"]
PATCH $org {"name":"x","id":1} -> ATTRIBUTE_READ_ONLY ["id"]
PATCH $org {"name":"x","isDeleted":1} -> ATTRIBUTE_READ_ONLY ["isDeleted"]
PATCH $org {"name":"x","links":1} -> ATTRIBUTE_READ_ONLY ["links"]
GET $org -> 200 {$o,"name":"org"$noskip}

=== TEST 71: PATCH and DELETE of another organization find none
--- as: o
--- requests
PATCH $base/orgs/$nobody {"name":"x"} -> ORG_NOT_FOUND ["$nobody"]
PATCH $base/orgs/$org_id {"name":"x"} -> ORG_NOT_FOUND ["$org_id"]
DELETE $base/orgs/$nobody -> ORG_NOT_FOUND ["$nobody"]
DELETE $base/orgs/$org_id -> ORG_NOT_FOUND ["$org_id"]
--- unchanged: $orgs

=== TEST 72: all bases show genAIFeaturesEnabled as one has set it, and no empty securityContact
--- as: o
--- requests
PATCH $org/settings {} -> 200 {$fixed,"genAIFeaturesEnabled":true}
GET $all/orgs/$o_id/settings -> 200 {$fixed,"genAIFeaturesEnabled":true}
PATCH $org/settings {"genAIFeaturesEnabled":false} -> 200 {$fixed,"genAIFeaturesEnabled":false}
GET $all/orgs/$o_id/settings -> 200 {$fixed,"genAIFeaturesEnabled":false}
PATCH $org/settings {"securityContact":""} -> 200 {$fixed,"genAIFeaturesEnabled":false}
GET $all/orgs/$o_id/settings -> 200 {$fixed,"genAIFeaturesEnabled":false}

=== TEST 73: all bases show securityContact as one has set it, and ignore settings they do not have
--- as: o
--- requests
PATCH $org/settings {"securityContact":"a@example.com"}
GET $all/orgs/$o_id/settings
PATCH $org/settings {"customSessionTimeouts":{"x":1},"operationsContact":"x",
    "maxServiceAccountSecretValidityInHours":8,"streamsCrossGroupEnabled":true}
GET $all/orgs/$o_id/settings
--- answers: 200 {$fixed,"genAIFeaturesEnabled":false,"securityContact":"a@example.com"}

=== TEST 74: an empty securityContact removes the one that was there
--- as: o
--- requests
PATCH $org/settings {"securityContact":"","genAIFeaturesEnabled":false}
GET $all/orgs/$o_id/settings
--- answers: 200 {$fixed,"genAIFeaturesEnabled":false}

=== TEST 75: a setting of an organization that is wrong or unknown is refused, with the rest
--- as: o
--- requests
PATCH $org/settings {"genAIFeaturesEnabled":"x"} -> INVALID_JSON_ATTRIBUTE ["genAIFeaturesEnabled"]
PATCH $org/settings {"securityContact":1} -> INVALID_JSON_ATTRIBUTE ["securityContact"]
PATCH $org/settings {"securityContact":"$x321"} -> INVALID_ATTRIBUTE ["securityContact"]
PATCH $org/settings {"genAIFeaturesEnabled":true,"nosuch":1} -> INVALID_ATTRIBUTE ["nosuch"]
PATCH $org/settings {} -> 200 {$fixed,"genAIFeaturesEnabled":false}
GET $all/orgs/$o_id/settings -> 200 {$fixed,"genAIFeaturesEnabled":false}
GET $org -> 200 {$o,"name":"org"$noskip}

=== TEST 76: a project creates a key of its own
--- keys
visitor_$key: ORG_MEMBER GROUP_DATA_ACCESS_ADMIN project=gone_$key
helper: ORG_MEMBER GROUP_OWNER project=stay
--- requests
POST $gone/apiKeys {"desc":"of the project","roles":["GROUP_READ_ONLY"]} -> 200
--- keep: made
--- contains: "publicKey":"$made_public"

=== TEST 77: a key is admitted by its role in each of two projects
--- requests
operator: PATCH $atlas/groups/$stay_id/apiKeys/$visitor_id {"roles":["GROUP_DATA_ACCESS_ADMIN"]} -> 200
visitor: GET /in?project={$gone_id,$stay_id} -> 200
--- decision: allow allow allow

=== TEST 78: DELETE of a project ends the roles in it at once, and leaves its keys
--- requests
owner: DELETE $gone -> $deleted
visitor: GET /in?project=$gone_id -> 403
visitor: GET /in?project=$stay_id -> 200
visitor: GET /any -> 200
made: GET /any -> 200
--- decision: allow role allow allow allow

=== TEST 79: the keys of a project that was deleted have their other roles
--- requests
GET $base/orgs/$org_id/apiKeys/{$visitor_id,$made_id} -> 200
--- contains
"roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"},{"groupId":"$stay_id","roleName":"GROUP_DATA_ACCESS_ADMIN"}]}
"roles":[{"orgId":"$org_id","roleName":"ORG_MEMBER"}]}

=== TEST 80: a project that was deleted is not found, as one of nobody or of others
--- requests
{DELETE,GET} $gone -> GROUP_NOT_FOUND ["$gone_id"]
PATCH $gone {} -> GROUP_NOT_FOUND ["$gone_id"]
GET $gone/{apiKeys,users} -> GROUP_NOT_FOUND ["$gone_id"]
DELETE $base/groups/$nobody -> GROUP_NOT_FOUND ["$nobody"]
DELETE $base/groups/$strange_id -> GROUP_NOT_FOUND ["$strange_id"]
--- unchanged: $projects

=== TEST 81: the name of a project that was deleted is free
--- requests
POST $base/groups {"name":"gone_$key","orgId":"$org_id"} -> 201
--- contains: "name":"gone_$key"

=== TEST 82: the key that owns a project deletes it, once
--- keys
mine_$key: ORG_MEMBER GROUP_OWNER project=owned_$key
--- as: mine
--- requests
DELETE $base/groups/$owned_id -> $deleted
DELETE $base/groups/$owned_id -> GROUP_NOT_FOUND ["$owned_id"]

=== TEST 83: an organization with a project is not deleted, nor without the role of an owner
--- keys
boss_$key: ORG_OWNER GROUP_OWNER org=going_$key project=last_$key
reader_$key: ORG_READ_ONLY org=going_$key
--- requests
boss: DELETE $going -> ORG_NOT_EMPTY
operator: DELETE $going -> ORG_NOT_EMPTY
reader: DELETE $going -> USER_UNAUTHORIZED
boss: GET $going -> 200
--- unchanged: $orgs

=== TEST 84: keys of an organization are admitted before it is deleted
--- requests
boss: DELETE $base/groups/$last_id -> $deleted
boss: GET /any -> 200
reader: GET /any -> 200
--- decision: allow allow allow

=== TEST 85: the last owner deletes its organization, with all its keys
--- as: boss
--- requests
DELETE $going -> 204
--- query: SELECT count(*) FROM apikeys.keys WHERE org_id = '$going_id'
--- rows: 0

=== TEST 86: locations do not know the keys of an organization that was deleted
--- on: atlas v2 om
--- as: boss, reader
--- request eval: [ 'GET /any', 'GET /any' ]
--- error_code eval: [ 401, 401 ]
--- decision: unknown_key unknown_key

=== TEST 87: the API challenges keys of an organization that was deleted
--- requests
boss: GET $going -> 401
reader: GET $going -> 401
operator: {GET,DELETE} $going -> ORG_NOT_FOUND ["$going_id"]

=== TEST 88: the operator creates an organization with a key
--- as: operator
--- requests
POST $base/orgs {"name":"brief","apiKey":{"desc":"brief","roles":["ORG_OWNER"]}} -> 201
--- keep: brief
--- contains: "publicKey":"$brief_public"

=== TEST 89: the operator deletes an organization, whose key is unknown from then on
--- requests
brief: GET /any -> 200
operator: DELETE $base/orgs/$brief_id -> 204
brief: GET $base/ -> 401
--- decision: allow allow unknown_key
