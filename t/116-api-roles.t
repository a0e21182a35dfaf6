# Who may call what, on each base: every route, with the operator and with keys
# that hold each of the roles that make a difference, and with the key itself.
# On Atlas v2 more roles may do what only owners may elsewhere.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

names(
    everyone => '$in_project $others far', owner => 'operator ORG_OWNER',
    in_project => '$managers_v2 $readers GROUP_DATA_ACCESS_ADMIN',
    others => 'ORG_MEMBER ORG_GROUP_CREATOR ORG_BILLING_ADMIN',
    readers => 'ORG_READ_ONLY GROUP_READ_ONLY',
    owners => '$owner GROUP_OWNER', managers_v2 => '$owners GROUP_ACCESS_MANAGER',
    see_keys => '$owner', 'v2/see_keys' => '$everyone', 'native/see_keys' => '$everyone',
    see_members => '$owners', 'v2/see_members' => '$in_project', 'native/see_members' => '$in_project',
    manage => '$owners', 'v2/manage' => '$managers_v2', 'native/manage' => '$managers_v2',
    orgs => '$base/orgs', org => '$orgs/$org_id', keys => '$org/apiKeys',
    projects => 'groups', 'native/projects' => 'projects',
    groups => '$base/$projects', project => '$groups/$project_id',
    members => '$project/apiKeys', admin => '$base/admin',
    nobody => '0123456789abcdef01234567',
    manager => 'GROUP_OWNER', 'v2/manager' => 'GROUP_ACCESS_MANAGER', 'native/manager' => 'GROUP_ACCESS_MANAGER',
    no_group => 'NOT_IN_GROUP', 'om/no_group' => 'GROUP_NAME_NOT_FOUND',
    described => '$self', 'om/described' => 'by myself', left => '1|$self',
    'om/left' => '0|', om_only => 'USER_UNAUTHORIZED', 'om/om_only' => '200',
    om_delete => 'USER_UNAUTHORIZED', 'om/om_delete' => '204',
    deleted => '202', 'om/deleted' => '200', 'native/deleted' => '204',
    created => '200', 'native/created' => '201',
    assign => 'PATCH', 'native/assign' => 'PUT',
    map({ my $on = $_; ("$on/self" => "self_$on",
        map({ ("$on/${_}_id" => "\$${_}_${on}_id") }
            qw( self gone first second ))) } qw( atlas v2 om native )),
);

bases('atlas v2 om native');
run_tests();
called('DELETE of PROJECT');    # which TEST 57 calls

__DATA__

=== TEST 1: an owner makes a key, which is no caller in the blocks that follow
--- keys eval
CORE::join "\n", 'far: GROUP_OWNER@distant', map { "$_: $_" . (/^GROUP/ ? " $_\@named" : '') }
    qw( ORG_OWNER ORG_MEMBER ORG_READ_ONLY ORG_GROUP_CREATOR ORG_BILLING_ADMIN
        GROUP_OWNER GROUP_READ_ONLY GROUP_ACCESS_MANAGER GROUP_DATA_ACCESS_ADMIN )
--- requests: ORG_OWNER: POST $keys {"desc":"key","roles":["ORG_READ_ONLY"]}
--- keep: key
--- answers: $created
--- contains: "desc":"key"

=== TEST 2: an owner gives a key an access list and a role, and a project a name
--- as: ORG_OWNER
--- requests
POST $keys/$key_id/accessList [{"cidrBlock":"127.0.0.0/8"},{"ipAddress":"192.0.2.1"}] -> $created ... "totalCount":2
$assign $members/$key_id {"roles":["GROUP_READ_ONLY"]} -> $created ... "roleName":"GROUP_READ_ONLY"
PATCH $groups/$named_id {"name":"by name"} -> 200 ... "name":"by name"

=== TEST 3: an owner lists the keys of an organization, and on v2 each of its keys does
--- may: GET $keys: $see_keys

=== TEST 4: an owner makes a key
--- may: POST $keys {"desc":"x","roles":["ORG_MEMBER"]}: $owner

=== TEST 5: an owner reads a key, and on v2 each key of the organization does
--- may: GET $keys/$key_id: $see_keys

=== TEST 6: an owner changes the description of a key
--- may: PATCH $keys/$key_id {"desc":"x"}: $owner

=== TEST 7: an owner changes the roles of a key
--- may: PATCH $keys/$key_id {"roles":["ORG_READ_ONLY"]}: $owner

=== TEST 8: an owner deletes a key
--- fresh: new: ORG_READ_ONLY
--- may: DELETE $keys/$new_id: $owner

=== TEST 9: an owner reads the access list of another key
--- may: GET $keys/$key_id/accessList{,/192.0.2.1}: $owner
--- refusal: API_KEY_ACCESS_LIST_ACCESS_DENIED

=== TEST 10: an owner adds to the access list of another key
--- fresh: new: ORG_READ_ONLY
--- may: POST $keys/$new_id/accessList [{"ipAddress":"192.0.2.2"}]: $owner
--- refusal: API_KEY_ACCESS_LIST_ACCESS_DENIED

=== TEST 11: an owner removes from the access list of another key
--- fresh: new: ORG_READ_ONLY list=127.0.0.0/8,192.0.2.1/32
--- may: DELETE $keys/$new_id/accessList/192.0.2.1: $owner
--- refusal: API_KEY_ACCESS_LIST_ACCESS_DENIED

=== TEST 12: an owner changes an entry of the access list of another key
--- on: native
--- may: PATCH $keys/$key_id/accessList/192.0.2.1 {"comment":"x"}: $owner
--- refusal: API_KEY_ACCESS_LIST_ACCESS_DENIED

=== TEST 13: an owner reads the whitelist of another key
--- on: atlas om
--- may: GET $keys/$key_id/whitelist{,/192.0.2.1}: $owner
--- refusal: API_KEY_WHITELIST_ACCESS_DENIED

=== TEST 14: an owner adds to the whitelist of another key
--- on: atlas om
--- fresh: new: ORG_READ_ONLY
--- may: POST $keys/$new_id/whitelist [{"ipAddress":"192.0.2.2"}]: $owner
--- refusal: API_KEY_WHITELIST_ACCESS_DENIED

=== TEST 15: an owner removes from the whitelist of another key
--- on: atlas om
--- fresh: new: ORG_READ_ONLY list=127.0.0.0/8,192.0.2.1/32
--- may: DELETE $keys/$new_id/whitelist/192.0.2.1: $owner
--- refusal: API_KEY_WHITELIST_ACCESS_DENIED

=== TEST 16: owners list the keys of a project, and on v2 all who have a role there
--- may: GET $members: $see_members

=== TEST 17: owners make a key in a project, and on v2 an access manager does
--- may: POST $members {"desc":"x","roles":["GROUP_READ_ONLY"]}: $manage

=== TEST 18: owners change the roles of a key in a project, and on v2 an access manager does
--- on: atlas v2 om
--- may: PATCH $members/$key_id {"roles":["GROUP_READ_ONLY"]}: $manage

=== TEST 19: owners assign a key of the organization to a project
--- on: atlas v2 om
--- fresh: new: ORG_READ_ONLY
--- may: POST $members/$new_id [{"roles":["GROUP_READ_ONLY"]}]: $owners

=== TEST 20: owners assign a key to a project and replace its roles there by PUT
--- on: native
--- fresh: new: ORG_READ_ONLY
--- may: PUT $members/$new_id {"roles":["GROUP_READ_ONLY"]}: $owners

=== TEST 21: an owner asks for the decision on a key
--- on: native
--- may: GET $keys/$key_id/decision?address=192.0.2.1: $owner

=== TEST 22: an owner reads, changes and deletes the secrets of a key
--- on: native
--- may
GET $keys/$key_id/secrets{,/$key_id}: $owner
PATCH $keys/$key_id/secrets/$key_id {"expiresAt":null}: $owner
DELETE $keys/$key_id/secrets/$key_id: $owner -> CANNOT_DELETE_LAST_API_KEY_SECRET

=== TEST 23: an owner adds a secret to a key
--- on: native
--- fresh: new: ORG_READ_ONLY
--- may: POST $keys/$new_id/secrets {}: $owner

=== TEST 24: owners remove a key from a project, and on v2 an access manager does
--- fresh: new: ORG_READ_ONLY GROUP_READ_ONLY
--- may: DELETE $members/$new_id: $manage

=== TEST 25: each key reads the root resource
--- may: GET $base/: $everyone

=== TEST 26: each key lists organizations and reads its own
--- may: GET $orgs{,/$org_id}: $everyone

=== TEST 27: no key makes an organization
--- may: POST $orgs {"name":"x"}: operator
--- refusal: API_KEY_CANNOT_CREATE_ORG

=== TEST 28: each key reads the settings of its organization
--- may: GET $org/settings: $everyone

=== TEST 29: an owner changes the settings of an organization
--- may: PATCH $org/settings {"apiAccessListRequired":false}: $owner

=== TEST 30: an owner renames an organization
--- may: PATCH $org {"name":"renamed"}: $owner

=== TEST 31: an owner may delete an organization, which has projects here
--- may: DELETE $org: $owner -> ORG_NOT_EMPTY

=== TEST 32: each key lists the users and the teams of its organization
--- on: atlas v2 om
--- may: GET $org/{users,teams}: $everyone

=== TEST 33: an owner lists the invitations to an organization
--- on: atlas v2 om
--- may: GET $org/invites: $owner

=== TEST 34: each key lists projects
--- may: GET {$base,$org}/$projects: $everyone

=== TEST 35: those with a role in a project read it, as do owners and readers of all
--- may: GET $project: $in_project

=== TEST 36: those with a role in a project find it by its name
--- on: atlas v2 om
--- may: GET $groups/byName/by%20name: $in_project
--- refusal: $no_group

=== TEST 37: an owner and a creator of projects make a project
--- may: POST $groups {"name":"new $serial","orgId":"$org_id"}: $owner ORG_GROUP_CREATOR

=== TEST 38: owners change a project
--- on: atlas v2 om
--- may: PATCH $project {}: $owners

=== TEST 39: owners rename a project
--- may: PATCH $project {"name":"new $serial"}: $owners

=== TEST 40: those with a role in a project list its users and its teams
--- on: atlas v2 om
--- may: GET $project/{users,teams}: $in_project

=== TEST 41: those with a role in a project read what Atlas alone has
--- on: atlas v2
--- may: GET $project/{settings,clusters,limits,ipAddresses,managedSlowMs}: $in_project

=== TEST 42: owners list the invitations to a project
--- on: atlas v2 om
--- may: GET $project/invites: $owners

=== TEST 43: owners change the settings of a project
--- on: atlas v2
--- may: PATCH $project/settings {"isDataExplorerEnabled":true}: $owners

=== TEST 44: owners add teams to a project
--- on: atlas v2 om
--- may: POST $project/teams []: $owners

=== TEST 45: owners change and remove a team of a project, which does not exist here
--- on: atlas v2 om
--- may
PATCH $project/teams/$nobody {}: $owners -> TEAM_NOT_FOUND
DELETE $project/teams/$nobody: $owners -> TEAM_NOT_FOUND

=== TEST 46: owners enable and disable the threshold of slow operations
--- on: atlas v2
--- may: {POST $project/managedSlowMs/enable,DELETE $project/managedSlowMs/disable}: $owners -> 204

=== TEST 47: Ops Manager lacks what projects of Atlas have
--- on: om
--- may
GET $project/{settings,clusters,limits,ipAddresses,managedSlowMs}:
PATCH $project/settings {"isDataExplorerEnabled":true}:
POST $project/managedSlowMs/enable:
DELETE $project/managedSlowMs/disable:
--- refusal: RESOURCE_NOT_FOUND

=== TEST 48: each key reads the events of its organization
--- may
GET $org/events: $everyone
GET $org/events/$nobody: $everyone -> 404

=== TEST 49: those with a role in a project read its events
--- may
GET $project/events: $in_project
GET $project/events/$nobody: $in_project -> 404

=== TEST 50: each key lists the types of events on v2
--- on: v2
--- may: GET $base/eventTypes: $everyone

=== TEST 51: the other bases have no types of events
--- on: atlas om native
--- may: GET $base/eventTypes:
--- refusal: RESOURCE_NOT_FOUND

=== TEST 52: no key of an organization reads global keys
--- on: om
--- may
GET $admin/apiKeys{,/roles}: operator
GET $admin/apiKeys/$nobody: operator -> API_KEY_NOT_FOUND

=== TEST 53: no key of an organization makes, changes or deletes global keys
--- on: om
--- may
POST $admin/apiKeys {"desc":"x","roles":["GLOBAL_READ_ONLY"]}: operator
PATCH $admin/apiKeys/$nobody {"desc":"x"}: operator -> API_KEY_NOT_FOUND
DELETE $admin/apiKeys/$nobody: operator -> API_KEY_NOT_FOUND

=== TEST 54: no key of an organization reads the access list of global keys
--- on: om
--- may
GET $admin/accessList: operator
GET $admin/accessList/$nobody: operator -> 404

=== TEST 55: no key of an organization changes the access list of global keys
--- on: om
--- may
POST $admin/accessList {"cidrBlock":"127.0.0.0/8","description":"x"}: operator
PATCH $admin/accessList/$nobody {"description":"x"}: operator -> 404
DELETE $admin/accessList/$nobody: operator -> 404

=== TEST 56: Atlas and the native API have no global keys and no access list for them
--- on: atlas v2 native
--- may
GET $admin/{apiKeys,accessList}{,/$nobody}:
GET $admin/apiKeys/roles:
POST $admin/apiKeys {"desc":"x","roles":["GLOBAL_READ_ONLY"]}:
POST $admin/accessList {"cidrBlock":"127.0.0.0/8","description":"x"}:
PATCH $admin/apiKeys/$nobody {"desc":"x"}:
PATCH $admin/accessList/$nobody {"description":"x"}:
DELETE $admin/{apiKeys,accessList}/$nobody:
--- refusal: RESOURCE_NOT_FOUND

=== TEST 57: owners delete a project, those with other roles in it do not
--- keys
deleter: GROUP_OWNER@gone_$on GROUP_OWNER@first_$on GROUP_OWNER@second_$on
watcher: GROUP_READ_ONLY@gone_$on
manager: GROUP_ACCESS_MANAGER@gone_$on
admin: GROUP_DATA_ACCESS_ADMIN@gone_$on
--- requests
watcher,manager,admin,far,ORG_MEMBER,ORG_READ_ONLY: DELETE $groups/$gone_id -> USER_UNAUTHORIZED
ORG_GROUP_CREATOR,ORG_BILLING_ADMIN: DELETE $groups/$gone_id -> USER_UNAUTHORIZED
deleter: DELETE $groups/$gone_id -> $deleted
ORG_OWNER: DELETE $groups/$first_id -> $deleted
operator: DELETE $groups/$second_id -> $deleted

=== TEST 58: the error of a refusal has the code of the resource
--- on: atlas
--- requests
ORG_MEMBER: GET $atlas/orgs/$org_id/apiKeys -> USER_UNAUTHORIZED
ORG_READ_ONLY: GET $v2/orgs/$org_id/apiKeys/$key_id/accessList -> API_KEY_ACCESS_LIST_ACCESS_DENIED
ORG_READ_ONLY: GET $om/orgs/$org_id/apiKeys/$key_id/whitelist -> API_KEY_WHITELIST_ACCESS_DENIED
ORG_OWNER: POST $atlas/orgs {"name":"x"} -> API_KEY_CANNOT_CREATE_ORG

=== TEST 59: a key reads itself
--- keys
self_$on: ORG_MEMBER list=127.0.0.0/8,192.0.2.1/32
idle: ORG_READ_ONLY
demoted: ORG_OWNER
--- requests: $self: GET $keys/$self_id
--- answers: 200 ... "desc":"$self",
--- contains: "id":"$self_id"

=== TEST 60: a key describes itself on Ops Manager alone
--- requests: $self: PATCH $keys/$self_id {"desc":"by myself"} -> $om_only
--- query: SELECT descr FROM apikeys.keys WHERE id = '$self_id'
--- rows: $described

=== TEST 61: a key does not change its own roles
--- as: $self
--- requests
PATCH $keys/$self_id {"roles":["ORG_OWNER"]}
PATCH $keys/$self_id {"desc":"x","roles":["ORG_MEMBER"]}
--- answers: USER_UNAUTHORIZED

=== TEST 62: a key reads and changes its own access list
--- as: $self
--- requests
GET $keys/$self_id/accessList -> 200
POST $keys/$self_id/accessList [{"cidrBlock":"198.51.100.0/24"}] -> $created
GET $keys/$self_id/accessList/198.51.100.0%2F24 -> 200
DELETE $keys/$self_id/accessList/198.51.100.0%2F24 -> 204
--- decision: allow allow allow allow

=== TEST 63: a key reads and changes its own whitelist
--- on: atlas om
--- as: $self
--- requests
GET $keys/$self_id/whitelist -> 200
POST $keys/$self_id/whitelist [{"cidrBlock":"198.51.100.0/24"}] -> 200
GET $keys/$self_id/whitelist/198.51.100.0%2F24 -> 200
DELETE $keys/$self_id/whitelist/198.51.100.0%2F24 -> 204
--- decision: allow allow allow allow

=== TEST 64: a key deletes itself on Ops Manager alone
--- requests
$self: DELETE $keys/$self_id -> $om_delete
--- query: SELECT count(*), max(descr) FROM apikeys.keys WHERE id = '$self_id'
--- rows: $left

=== TEST 65: a manager of a project grants no role of the organization but ORG_MEMBER
--- on: atlas v2 om
--- as: $manager
--- requests
POST $members {"desc":"x","roles":["GROUP_READ_ONLY","ORG_OWNER"]} -> USER_UNAUTHORIZED
POST $members {"desc":"x","roles":["GROUP_READ_ONLY","ORG_READ_ONLY"]} -> USER_UNAUTHORIZED
POST $members {"desc":"x","roles":["GROUP_READ_ONLY","ORG_GROUP_CREATOR"]} -> USER_UNAUTHORIZED
POST $members {"desc":"x","roles":["GROUP_READ_ONLY","ORG_MEMBER"]} -> 200

=== TEST 66: an owner of the organization grants its roles to a new key of a project
--- on: atlas v2 om
--- requests: ORG_OWNER: POST $members {"desc":"x","roles":["GROUP_OWNER","ORG_OWNER"]}
--- answers: 200
--- contains: "roleName":"ORG_OWNER"

=== TEST 67: PATCH and POST of a key of a project take roles of projects alone
--- on: atlas v2 om
--- requests
$manager: PATCH $members/$key_id {"roles":["GROUP_OWNER","ORG_MEMBER"]}
ORG_OWNER: PATCH $members/$key_id {"roles":["GROUP_OWNER","ORG_MEMBER"]}
ORG_OWNER: POST $members/$idle_id {"roles":["ORG_OWNER"]}
--- answers: CANNOT_ADD_ORG_ROLE

=== TEST 68: a role that is taken away is gone for the next request
--- on: atlas
--- requests
demoted: GET $atlas/orgs/$org_id/apiKeys -> 200
ORG_OWNER: PATCH $atlas/orgs/$org_id/apiKeys/$demoted_id {"roles":["ORG_MEMBER"]} -> 200
demoted: GET $atlas/orgs/$org_id/apiKeys -> USER_UNAUTHORIZED
