# The companions: the root resource, organizations, their settings, and
# projects, with what the operator and a key see of them.  An organization that
# psql deletes is in t/140-orgs-projects-feed.t.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';
use ApiKeys::Expect qw( json_text );
use ApiKeys::Shape ();

names(
    orgs => '$base/orgs', groups => '$base/groups', name64 => '鍵' x 64,
    home => '$with_atlas_id', member => '$atlas/orgs/$home/apiKeys/$member_id',
    nobody => '0123456789abcdef01234567', x65 => 'x' x 65, x251 => 'x' x 251,
    other_id => '$with_atlas_id', 'atlas/other_id' => '$with_om_id',
    # the key in the body that makes an organization, and in the answer
    first_key => '"apiKey":{"desc":"first","roles":["ORG_OWNER"]},'
        . '"orgOwnerId":"$nobody","federationSettingsId":null,'
        . '"skipDefaultAlertsSettings":true',
    shown_key => '"apiKey":{"desc":"first","id":"$with_key","links":[{"href":'
        . '"http://localhost$orgs/$with_id/apiKeys/$with_key$self],'
        . '"privateKey":"~[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",'
        . '"publicKey":"$with_public",'
        . '"roles":[{"orgId":"$with_id","roleName":"ORG_OWNER"}]}',
    page => 'pageNum=1&itemsPerPage=100', self => '","rel":"self"}',
    settings => '$orgs/$with_id/settings', set => '{"apiAccessListRequired":',
    kept => '"genAIFeaturesEnabled":true,"multiFactorAuthRequired":false,'
        . '"restrictEmployeeAccess":false}',
    member_roles => '{"orgId":"$home","roleName":"ORG_MEMBER"},'
        . '{"groupId":"$plain_v2_id","roleName":"GROUP_READ_ONLY"}',
    app => '"appName":"MongoDB Atlas","build":"' . '0' x 40 . '"',
    'om/app' => '"appName":"MongoDB Ops Manager","build":"' . '0' x 40 . '"',
    rel => 'https://cloud.mongodb.com', 'om/rel' => 'http://mms.mongodb.com',
    tags => '[{"key":"b","value":"1"},{"key":"a","value":"2"}]',
    'om/tags' => '["ONE","TWO.2"]', created => '2024-01-02T03:04:05Z',
    date => '~20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z',
    all => '$all_of_tagged,$all_of_plain',
);

# organizations and projects as a base shows them, by ApiKeys::Shape: in a list,
# alone, and in the answer to POST ("made")
my $shape = ApiKeys::Shape->new('http://localhost');
my %api = (atlas => 'atlas_v1', v2 => 'atlas_v2', om => 'ops_manager');
my @tags = ({ key => 'b', value => '1' }, { key => 'a', value => '2' });

for my $on (keys %api) {
    my $org = sub {
        my ($id, @options) = @_;
        return json_text($shape->org($api{$on}, "\$${id}_id",
            $id eq 'with' ? "with key, $on" : "of $on", @options));
    };
    my $project = sub {
        my ($id, %option) = @_;
        my ($kind, $of) = split /_/, $id;
        my %title = (plain => "operator's, $of", tagged => "creator's, $of",
            foreign => 'zz foreign');
        my @stored = (alerts => \0, labels => $of eq 'om' ? [] : \@tags,
            tokens => $of eq 'om' ? [ 'ONE', 'TWO.2' ] : []);

        return json_text($shape->project($api{$on}, { id => "\$${id}_id",
            name => $title{$kind}, $kind eq 'tagged' ? @stored : (),
            created => $option{new} ? '$date' : '$created' },
            $kind eq 'foreign' ? '$with_v2_id' : '$home', %option));
    };

    names("$on/bare_alone" => $org->('bare', single => 1),
        "$on/with_alone" => $org->('with', single => 1, skip => 1),
        "$on/with_listed" => $org->('with', skip => 1),
        "$on/plain_made" => $project->("plain_$on", single => 1, new => 1),
        "$on/tagged_made" => $project->("tagged_$on", single => 1, new => 1),
        "$on/tagged_alone" => $project->("tagged_$on", single => 1),
        map({ ("$on/all_of_$_" => join ',', map { $project->($_) }
            "${_}_atlas", "${_}_om", "${_}_v2") } qw( plain tagged )),
        map({ ("$on/$_" => $project->($_)) } qw( plain_v2 foreign_atlas )));
}

bases('atlas v2 om');
run_tests();

__DATA__

=== TEST 1: the operator makes an organization on Atlas, which has no key
--- on: atlas v2
--- requests: operator: POST $orgs {"name":"of $on"}
--- keep: bare
--- error_code: 201
--- json: {"federationSettingsId":null,"orgOwnerId":null,"organization":$bare_alone}

=== TEST 2: the operator makes an organization on Ops Manager, which has no key
--- on: om
--- requests: operator: POST $orgs {"name":"of $on"}
--- keep: bare
--- error_code: 201
--- json: {"id":"$bare_id","links":[{"href":"http://localhost$orgs/$bare_id$self],"name":"of om"}

=== TEST 3: an organization that was made without a key has none
--- requests: operator: GET $orgs/$bare_id/apiKeys -> 200 ... "results":[],"totalCount":0

=== TEST 4: the operator makes an organization with a key on Atlas, and its secret is shown
--- on: atlas v2
--- requests: operator: POST $orgs {"name":"with key, $on",$first_key}
--- keep: with
--- error_code: 201
--- json: {$shown_key,"federationSettingsId":null,"orgOwnerId":null,"organization":$with_alone}

=== TEST 5: the operator makes an organization with a key on Ops Manager, and its secret is shown
--- on: om
--- requests: operator: POST $orgs {"name":"with key, $on",$first_key}
--- keep: with
--- error_code: 201
--- json: {$shown_key,"id":"$with_id","links":[{"href":"http://localhost$orgs/$with_id$self],"name":"with key, om"}

=== TEST 6: the first key of an organization works on the next request
--- requests: with: GET $base/ -> 200 ... "publicKey":"$with_public"

=== TEST 7: an organization requires a name of at most 64 characters
--- on: atlas
--- as: operator
--- requests
POST $orgs {}
POST $orgs {"name":""}
POST $orgs {"name":null}
POST $orgs {"name":"$x65"}
POST $orgs {"name":1}
--- answers: INVALID_JSON_ATTRIBUTE ["name"]
--- unchanged: SELECT count(*) FROM apikeys.orgs

=== TEST 8: an attribute that an organization does not have or does not take is refused
--- on: atlas
--- as: operator
--- requests
POST $orgs {"name":"x","nosuch":1} -> INVALID_ATTRIBUTE ["nosuch"]
POST $orgs {"name":"x","id":"$nobody"} -> ATTRIBUTE_READ_ONLY ["id"]
POST $orgs {"name":"x","apiKey":"x"} -> INVALID_JSON_ATTRIBUTE ["apiKey"]
--- unchanged: SELECT count(*) FROM apikeys.orgs

=== TEST 9: an organization is made of a JSON object
--- on: atlas
--- as: operator
--- requests
POST $orgs [] -> INVALID_JSON
POST $orgs { -> MALFORMED_JSON
--- unchanged: SELECT count(*) FROM apikeys.orgs

=== TEST 10: the first key of an organization is checked as any key
--- on: atlas
--- as: operator
--- requests
POST $orgs {"name":"x","apiKey":{}} -> API_KEY_REQUIRES_DESCRIPTION
POST $orgs {"name":"x","apiKey":{"desc":"x"}} -> MISSING_API_KEY_ROLES
POST $orgs {"name":"x","apiKey":{"desc":"x","roles":["GROUP_OWNER"]}} -> CANNOT_ADD_GROUP_ROLE
POST $orgs {"name":"x","apiKey":{"desc":"x","roles":["x"]}} -> INVALID_ENUM_VALUE ["x"]
POST $orgs {"name":"x","apiKey":{"desc":"$x251","roles":["ORG_OWNER"]}} -> INVALID_API_KEY_DESC [250]
POST $orgs {"name":"x","apiKey":{"desc":"x","roles":["ORG_OWNER"],"name":"x"}} -> INVALID_ATTRIBUTE ["name"]
--- unchanged: SELECT count(*) FROM apikeys.orgs

=== TEST 11: a name of an organization has up to 64 characters of three bytes
--- on: atlas
--- requests: operator: POST $orgs {"name":"$name64"} -> 201 ... "name":"$name64"

=== TEST 12: a key lists its own organization
--- requests
with: GET $orgs -> 200: {"links":[{"href":"http://localhost$orgs?$page$self],"results":[$with_listed],"totalCount":1}

=== TEST 13: the operator lists all organizations in the order of their names
--- requests: operator: GET $orgs
--- response_body_filters eval: sub { return CORE::join ', ', $_[0] =~ /"name":"([^"]+)"/g }
--- response_body chomp
of atlas, of om, of v2, with key, atlas, with key, om, with key, v2, $name64

=== TEST 14: an organization alone links to its projects, teams and users
--- requests: with,operator: GET $orgs/$with_id -> 200: $with_alone

=== TEST 15: another organization is not found, and none that does not exist
--- requests
with: GET $orgs/$other_id -> ORG_NOT_FOUND ["$other_id"]
with,operator: GET $orgs/$nobody -> ORG_NOT_FOUND ["$nobody"]

=== TEST 16: an organization is found by an id alone
--- requests: with: GET $orgs/x -> PATH_PARAM_PARSE_ERROR ["$uri"]

=== TEST 17: a key makes no organization
--- requests: with: POST $orgs {"name":"x"} -> API_KEY_CANNOT_CREATE_ORG

=== TEST 18: a new organization requires no access list
--- requests: with: GET $settings -> 200: ${set}false,$kept

=== TEST 19: a key on whose list its address is requires access lists
--- as: with
--- requests
POST $orgs/$with_id/apiKeys/$with_key/accessList [{"cidrBlock":"127.0.0.0/8"}] -> 200 ... "127.0.0.0/8"
PATCH $settings ${set}true} -> 200: ${set}true,$kept
GET $settings -> 200: ${set}true,$kept

=== TEST 20: a key ends the requirement of access lists
--- as: with
--- requests
PATCH $settings ${set}false} -> 200: ${set}false,$kept
GET $settings -> 200: ${set}false,$kept

=== TEST 21: settings that are not kept are accepted and do not change
--- as: with
--- requests
PATCH $settings {}
PATCH $settings {"multiFactorAuthRequired":true}
PATCH $settings {"restrictEmployeeAccess":true,"multiFactorAuthRequired":null}
PATCH $settings ${set}null}
--- answers: 200: ${set}false,$kept

=== TEST 22: settings are booleans, and others are refused
--- as: with
--- requests
PATCH $settings ${set}"true"} -> INVALID_JSON_ATTRIBUTE ["apiAccessListRequired"]
PATCH $settings ${set}1} -> INVALID_JSON_ATTRIBUTE ["apiAccessListRequired"]
PATCH $settings {"multiFactorAuthRequired":"x"} -> INVALID_JSON_ATTRIBUTE ["multiFactorAuthRequired"]
PATCH $settings {"nosuch":true} -> INVALID_ATTRIBUTE ["nosuch"]
PATCH $settings [] -> INVALID_JSON

=== TEST 23: the operator makes a project, to which the header Location links
--- keys
creator: ORG_GROUP_CREATOR org=with_atlas
member: ORG_MEMBER org=with_atlas
reader: ORG_READ_ONLY org=with_atlas
--- requests: operator: POST $groups {"name":"operator's, $on","orgId":"$home"}
--- keep: plain
--- error_code: 201
--- json: $plain_made
--- response_headers_like
Location: http://localhost$groups/[0-9a-f]{24}

=== TEST 24: a creator makes a project, whose tags and alerts are kept
--- requests
creator: POST $groups?projectOwnerId=$nobody {"name":"creator's, $on","orgId":"$home","tags":$tags,
    "withDefaultAlertsSettings":false,"regionUsageRestrictions":"NONE"}
--- keep: tagged
--- error_code: 201
--- json: $tagged_made

=== TEST 25: the time of a project is that of the answer to POST
--- on: atlas v2
--- as: operator
--- requests
GET $groups/$plain_id -> 200 ... "created":"$plain_created"
GET $groups/$tagged_id -> 200 ... "created":"$tagged_created"

=== TEST 26: a creator owns the project that it has made
--- as: creator
--- requests
GET $base/ -> 200 ... {"groupId":"$tagged_id","roleName":"GROUP_OWNER"}
POST $groups/$tagged_id/apiKeys {"desc":"x","roles":["GROUP_OWNER"]} -> 200 ... "GROUP_OWNER"

=== TEST 27: the operator makes a project of another organization
--- on: atlas
--- requests: operator: POST $groups {"name":"zz foreign","orgId":"$with_v2_id"} -> 201 ... "zz foreign"
--- keep: foreign

=== TEST 28: an owner gives a member a role in a project
--- on: v2
--- requests: with_atlas: PATCH $groups/$plain_id/apiKeys/$member_id {"roles":["GROUP_READ_ONLY"]}
--- answers: 200 ... "roleName":"GROUP_READ_ONLY"

=== TEST 29: a project alone has its tags and links to what belongs to it
--- sql: UPDATE apikeys.projects SET created = '$created'
--- requests: with_atlas: GET $groups/$tagged_id -> 200: $tagged_alone

=== TEST 30: a member makes no project
--- requests: member: POST $groups {"name":"x","orgId":"$home"} -> USER_UNAUTHORIZED

=== TEST 31: a project is made in an organization that exists and is the key's own
--- requests
with_atlas: POST $groups {"name":"x","orgId":"$with_v2_id"} -> ORG_NOT_FOUND ["$with_v2_id"]
with_atlas,operator: POST $groups {"name":"x","orgId":"$nobody"} -> ORG_NOT_FOUND ["$nobody"]

=== TEST 32: a project of another organization is not found, and none that does not exist
--- requests
with_atlas: GET $groups/$nobody -> GROUP_NOT_FOUND ["$nobody"]
with_om: GET $groups/$tagged_id -> GROUP_NOT_FOUND ["$tagged_id"]

=== TEST 33: a project requires an organization
--- on: atlas
--- as: with_atlas
--- requests
POST $groups {}
POST $groups {"name":"x"}
POST $groups {"name":"x","orgId":"x"}
POST $groups {"name":"x","orgId":1}
--- answers: INVALID_JSON_ATTRIBUTE ["orgId"]

=== TEST 34: a project requires a name
--- on: atlas
--- as: with_atlas
--- requests
POST $groups {"orgId":"$home"}
POST $groups {"name":null,"orgId":"$home"}
POST $groups {"name":1,"orgId":"$home"}
--- answers: INVALID_JSON_ATTRIBUTE ["name"]

=== TEST 35: a name of a project has 1 to 64 characters, none of which is a newline
--- on: atlas
--- as: with_atlas
--- requests
POST $groups {"name":"","orgId":"$home"} -> INVALID_GROUP_NAME [""]
POST $groups {"name":"$x65","orgId":"$home"} -> INVALID_GROUP_NAME ["$x65"]
POST $groups {"name":"a\nb","orgId":"$home"} -> INVALID_GROUP_NAME ["a\nb"]

=== TEST 36: an attribute that a project does not have or does not take is refused
--- on: atlas
--- as: with_atlas
--- requests
POST $groups {"name":"x","orgId":"$home","nosuch":1} -> INVALID_ATTRIBUTE ["nosuch"]
POST $groups {"name":"x","orgId":"$home","id":"$nobody"} -> ATTRIBUTE_READ_ONLY ["id"]
POST $groups {"name":"x","orgId":"$home","links":[]} -> ATTRIBUTE_READ_ONLY ["links"]
POST $groups [] -> INVALID_JSON

=== TEST 37: an owner and a reader of an organization list its projects, sorted by name
--- requests
with_atlas,reader: GET {$groups,$orgs/$home/groups} -> 200: {"links":[{"href":"http://localhost$uri?$page$self],"results":[$all],"totalCount":6}

=== TEST 38: a member lists the projects in which it has a role
--- requests
member: GET {$groups,$orgs/$home/groups} -> 200: {"links":[{"href":"http://localhost$uri?$page$self],"results":[$plain_v2],"totalCount":1}

=== TEST 39: the operator lists all projects, or those of an organization
--- as: operator
--- requests
GET $groups -> 200: {"links":[{"href":"http://localhost$uri?$page$self],"results":[$all,$foreign_atlas],"totalCount":7}
GET $orgs/$home/groups -> 200: {"links":[{"href":"http://localhost$uri?$page$self],"results":[$all],"totalCount":6}

=== TEST 40: projects of another organization are not listed
--- as: with_atlas
--- requests
GET $orgs/$nobody/groups -> ORG_NOT_FOUND ["$nobody"]
GET $orgs/$with_v2_id/groups -> ORG_NOT_FOUND ["$with_v2_id"]

=== TEST 41: the root resource shows the key that calls
--- requests: member: GET $base{,/}
--- json
{"apiKey":{"accessList":[],"id":"$member_id","publicKey":"$member_public","roles":[$member_roles]},$app,
 "links":[{"href":"http://localhost$base","rel":"self"},
  {"href":"http://localhost$base/orgs/$home/apiKeys/$member_id","rel":"$rel/apiKeys"}],"throttling":false}

=== TEST 42: an owner gives another key an access list
--- on: atlas
--- requests
with_atlas: POST $member/accessList [{"cidrBlock":"128.0.0.0/1"},{"cidrBlock":"0.0.0.0/1"},{"ipAddress":"2001:db8::1"},{"ipAddress":"47.225.212.178"}] -> 200 ... "totalCount":4

=== TEST 43: the root resource shows the access list of the key that calls
--- requests: member: GET $base/
--- json
{"apiKey":{"accessList":[{"cidrBlock":"0.0.0.0/1","ipAddress":null},{"cidrBlock":"128.0.0.0/1","ipAddress":null},
  {"cidrBlock":"2001:db8::1/128","ipAddress":"2001:db8::1"},
  {"cidrBlock":"47.225.212.178/32","ipAddress":"47.225.212.178"}],
  "id":"$member_id","publicKey":"$member_public","roles":[$member_roles]},$app,
 "links":[{"href":"http://localhost$base","rel":"self"},
  {"href":"http://localhost$base/orgs/$home/apiKeys/$member_id","rel":"$rel/apiKeys"}],"throttling":false}

=== TEST 44: the root resource shows the operator no key
--- requests
operator: GET $base/ -> 200: {"apiKey":null,$app,"links":[{"href":"http://localhost$base$self],"throttling":false}
