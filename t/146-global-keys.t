# Global keys of Ops Manager: their resource and their access list; an owner
# acts as the operator on each base; nothing of a service admits them but a rule
# that names a global role.  What comes by the feed is in 146-global-keys-feed.t.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';

locations(<<'END', <<'HTTP');
location / { apikeys_auth digest basic;
location = /auth { empty_gif; }
location = /owner { apikeys_require role=GLOBAL_OWNER; empty_gif; }
location = /or { apikeys_require role=ORG_OWNER,GLOBAL_READ_ONLY; empty_gif; }
location = /org-role { apikeys_require role=ORG_OWNER; empty_gif; }
location = /org { apikeys_require org=$arg_org; empty_gif; }
location = /and { apikeys_require org=$arg_org role=GLOBAL_OWNER; empty_gif; }
location = /both { apikeys_require role=GLOBAL_OWNER;
                   apikeys_require org=$arg_org; empty_gif; }
location = /method { apikeys_require role=GLOBAL_OWNER method=POST; empty_gif; }
location = /project { apikeys_require project=$arg_project; empty_gif; }
location = /named { apikeys_require role=GLOBAL_OWNER; empty_gif;
                    access_log logs/access.log named; } }
END
log_format named '$apikeys_public_key:$apikeys_org_id:$apikeys_roles'
    ':$apikeys_decision';
HTTP

names(
    admin => '$om/admin', keys => '$admin/apiKeys', list => '$admin/whitelist',
    nobody => '0123456789abcdef01234567', x251 => 'x' x 251,
    date => '~20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z',
    page => 'pageNum=1&itemsPerPage=100', self => '","rel":"self"}]',
    map({ my ($name, @roles) = @$_; ("${name}_roles" =>
        join ',', map { qq({"roleName":"GLOBAL_$_"}) } @roles) }
        (map { [ $_, 'BILLING_ADMIN', 'OWNER' ] } qw( first owner )),
        [qw( reader READ_ONLY )], [qw( other MONITORING_ADMIN USER_ADMIN )],
        [qw( renamed BACKUP_ADMIN )]),
    (map { ("renamed_$_" => "\$other_$_") } qw( id public redacted )),
    # what the API shows of a key
    (map { ($_ => qq({"desc":"$_","id":"\$${_}_id","links":[{"href":"http://)
        . qq(localhost\$keys/\$${_}_id\$self,"privateKey":"\$${_}_redacted",)
        . qq("publicKey":"\$${_}_public","roles":[\$${_}_roles]})) }
        qw( first owner reader other renamed )),
);
run_tests();

__DATA__

=== TEST 1: the operator makes a global key
--- requests: operator: POST $keys {"desc":"first","roles":["GLOBAL_OWNER","GLOBAL_BILLING_ADMIN"]}
--- keep: first
--- json
{"desc":"first","id":"~[0-9a-f]{24}","links":[{"href":"http://localhost$keys/$first_id","rel":"self"}],
 "privateKey":"~[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}","publicKey":"~[a-z]{8}",
 "roles":[{"roleName":"GLOBAL_BILLING_ADMIN"},{"roleName":"GLOBAL_OWNER"}]}

=== TEST 2: a global key is shown without its secret, alone and in the list
--- as: first
--- requests
GET $keys/$first_id -> 200: $first
GET $keys -> 200: {"links":[{"href":"http://localhost$keys?$page$self,"results":[$first],"totalCount":1}

=== TEST 3: the operator deletes a global key, which is unknown then
--- requests
operator: DELETE $keys/$first_id -> 204
first: GET $om/ -> 401

=== TEST 4: the list of global keys has each of them
--- keys
owner: GLOBAL_OWNER GLOBAL_BILLING_ADMIN global
reader: GLOBAL_READ_ONLY global
other: GLOBAL_MONITORING_ADMIN GLOBAL_USER_ADMIN global
org_owner: ORG_OWNER
--- as: owner
--- requests
GET $keys -> 200 ... $owner
GET $keys -> 200 ... $reader
GET $keys -> 200 ... $other

=== TEST 5: the list of global keys is sorted by public key
--- requests: owner: GET $keys
--- response_body_filters eval
sub { my @keys = $_[0] =~ /"publicKey":"(\w+)"/g; my ($total) = $_[0] =~ /(.\d+})$/;
    return "@keys" eq "@{[ sort @keys ]}" ? @keys . $total : "@keys" }
--- response_body chomp
3:3}

=== TEST 6: the roles of global keys are listed
--- requests: reader: GET $keys/roles
--- json
["GLOBAL_AUTOMATION_ADMIN","GLOBAL_BACKUP_ADMIN","GLOBAL_BILLING_ADMIN",
 "GLOBAL_MONITORING_ADMIN","GLOBAL_OWNER","GLOBAL_READ_ONLY","GLOBAL_USER_ADMIN"]

=== TEST 7: PATCH changes the description and the roles of a global key
--- requests: owner: PATCH $keys/$other_id {"desc":"renamed","roles":["GLOBAL_BACKUP_ADMIN"]} -> 200: $renamed

=== TEST 8: a global key requires a description and roles
--- as: owner
--- requests
POST $keys {} -> API_KEY_REQUIRES_DESCRIPTION
POST $keys {"desc":"x"} -> MISSING_API_KEY_ROLES
POST $keys {"desc":"x","roles":[]} -> MISSING_API_KEY_ROLES
PATCH $keys/$reader_id {} -> MISSING_ONE_OF_ATTRIBUTES ["desc","roles"]

=== TEST 9: a global key has global roles alone
--- as: owner
--- requests
POST $keys {"desc":"x","roles":["ORG_OWNER"]} -> INVALID_ROLE_FOR_GLOBAL_KEY ["ORG_OWNER"]
POST $keys {"desc":"x","roles":["GLOBAL_OWNER","GROUP_OWNER"]} -> INVALID_ROLE_FOR_GLOBAL_KEY ["GROUP_OWNER"]
POST $keys {"desc":"x","roles":["x"]} -> INVALID_ENUM_VALUE ["x"]
POST $keys {"desc":"x","roles":[null]} -> INVALID_ENUM_VALUE ["null"]

=== TEST 10: the id of a global key is the server's to set
--- requests: owner: POST $keys {"desc":"x","roles":["GLOBAL_OWNER"],"id":"x"} -> ATTRIBUTE_READ_ONLY ["id"]

=== TEST 11: a global key that does not exist is not found
--- as: owner
--- requests
GET $keys/$nobody
PATCH $keys/$nobody {"desc":"x"}
DELETE $keys/$nobody
--- answers: API_KEY_NOT_FOUND ["$nobody"]

=== TEST 12: Atlas has no global keys
--- on: atlas v2
--- requests: owner: GET $base/admin/apiKeys -> RESOURCE_NOT_FOUND ["$uri"]

=== TEST 13: a key of an organization is not found among global keys, and vice versa
--- as: owner
--- requests
GET $keys/$org_owner_id -> API_KEY_NOT_FOUND ["$org_owner_id"]
GET $om/orgs/$org_id/apiKeys/$owner_id -> API_KEY_NOT_FOUND ["$owner_id"]

=== TEST 14: an organization grants no global role
--- requests: org_owner: POST $om/orgs/$org_id/apiKeys {"desc":"x","roles":["GLOBAL_OWNER"]} -> CANNOT_ADD_GLOBAL_ROLE

=== TEST 15: GLOBAL_OWNER and GLOBAL_READ_ONLY read global keys, their roles and their list
--- may: GET $admin/{apiKeys,apiKeys/roles,apiKeys/$other_id,whitelist}: operator owner reader -> 200

=== TEST 16: GLOBAL_OWNER makes a global key
--- may: POST $keys {"desc":"x","roles":["GLOBAL_READ_ONLY"]}: operator owner -> 200

=== TEST 17: GLOBAL_OWNER changes a global key
--- may: PATCH $keys/$other_id {"desc":"x"}: operator owner -> 200

=== TEST 18: GLOBAL_OWNER deletes a global key
--- fresh: new: GLOBAL_READ_ONLY global
--- may: DELETE $keys/$new_id: operator owner -> 204

=== TEST 19: GLOBAL_OWNER adds to the list of global keys
--- requests
reader,other,org_owner: POST $list {"description":"x","cidrBlock":"127.0.0.0/9"} -> USER_UNAUTHORIZED
owner: POST $list {"description":"x","cidrBlock":"127.0.0.0/9"} -> 200 ... "127.0.0.0/9"
--- keep: entry

=== TEST 20: the operator deletes the last entry of the list of global keys
--- requests
operator: DELETE $list/$entry_id -> 204
owner: GET $list -> 200: {"links":[{"href":"http://localhost$list?$page$self,"results":[],"totalCount":0}

=== TEST 21: each key reads the root resource
--- on: atlas v2 om
--- may: GET $base/: operator org_owner other owner reader -> 200

=== TEST 22: GLOBAL_OWNER and GLOBAL_READ_ONLY see organizations, their keys and their events
--- on: atlas v2 om
--- may: GET $base/orgs{,/$org_id/apiKeys,/$org_id/events}: operator org_owner owner reader -> 200

=== TEST 23: GLOBAL_OWNER makes a key of an organization
--- on: atlas v2 om
--- may: POST $base/orgs/$org_id/apiKeys {"desc":"x","roles":["ORG_MEMBER"]}: operator org_owner owner -> 200

=== TEST 24: GLOBAL_OWNER changes the settings of an organization
--- on: atlas v2 om
--- may: PATCH $base/orgs/$org_id/settings {"apiAccessListRequired":false}: operator org_owner owner -> 200

=== TEST 25: GLOBAL_OWNER makes a project and has no role in it
--- requests: owner: POST $atlas/groups {"name":"of a global","orgId":"$org_id"} -> 201 ... "name":"of a global"
--- keep: project
--- query: SELECT count(*) FROM apikeys.key_projects WHERE key_id = '$owner_id'
--- rows: 0

=== TEST 26: GLOBAL_OWNER and GLOBAL_READ_ONLY read a project
--- on: atlas v2 om
--- may: GET $base/groups/$project_id: operator org_owner owner reader -> 200

=== TEST 27: GLOBAL_OWNER makes an organization, as the operator does
--- on: atlas v2 om
--- requests: owner: POST $base/orgs {"name":"x"} -> 201 ... "name":"x"

=== TEST 28: GLOBAL_OWNER lists all organizations, as the operator does
--- on: atlas v2 om
--- requests: operator,owner: GET $base/orgs -> 200 ... ],"totalCount":4}

=== TEST 29: GLOBAL_OWNER demotes the last owner of an organization
--- requests
owner: PATCH $om/orgs/$org_id/apiKeys/$org_owner_id {"roles":["ORG_MEMBER"]} -> 200 ... "ORG_MEMBER"
operator: PATCH $om/orgs/$org_id/apiKeys/$org_owner_id {"roles":["ORG_OWNER"]} -> 200 ... "ORG_OWNER"

=== TEST 30: the audit names the global key that called
--- requests: owner: PATCH $om/orgs/$org_id {"name":"by global"} -> 200
--- query: SELECT caller FROM apikeys.audit WHERE event = 'ORG_RENAMED' ORDER BY id DESC LIMIT 1
--- rows: $owner_id

=== TEST 31: an event of a global key names neither the key nor its address
--- requests: owner: GET $om/orgs/$org_id/events?eventType=ORG_RENAMED
--- json
{"links":[{"href":"http://localhost$uri&$page","rel":"self"}],
 "results":[{"created":"$date","eventTypeName":"ORG_RENAMED","id":"~[0-9a-f]{24}","isGlobalAdmin":true,
  "links":[{"href":"~http://localhost$om/orgs/$org_id/events/[0-9a-f]{24}","rel":"self"}],
  "orgId":"$org_id"}],"totalCount":1}

=== TEST 32: the audit has the changes of global keys
--- requests: owner: GET $keys/$other_id -> 200
--- query: SELECT string_agg(event, ',' ORDER BY id) FROM apikeys.audit WHERE key_id = '$other_id'
--- rows: GLOBAL_API_KEY_CREATED,GLOBAL_API_KEY_CHANGED,GLOBAL_API_KEY_CHANGED

=== TEST 33: a location without a rule admits no global key
--- admitted: GET /auth: org_owner

=== TEST 34: a rule for a global role admits global keys that have it
--- admitted
GET /owner: owner
GET /or: org_owner reader

=== TEST 35: a rule for an organization or its role admits no global key
--- admitted
GET /org-role: org_owner
GET /org?org=$org_id: org_owner
GET /org?org=000000000000000000000000:

=== TEST 36: a rule for an organization and a global role admits global keys in that organization
--- admitted
GET /and?org=$org_id: owner
GET /and:

=== TEST 37: one of two rules that both hold admits no global key
--- admitted: GET /both?org=$org_id:

=== TEST 38: a rule for a project admits no global key
--- admitted: GET /project?project=$project_id: org_owner

=== TEST 39: a rule for a method admits a global key with that method alone
--- requests
owner: POST /method -> 405
owner,reader,other: GET /method -> 403
--- decision: allow role role role

=== TEST 40: the variables of a global key have no organization and its roles
--- requests: owner: GET /named -> 200
--- access_log: $owner_public:-:GLOBAL_BILLING_ADMIN,GLOBAL_OWNER:allow

=== TEST 41: POST adds an entry to the list of global keys
--- requests: operator: POST $list {"cidrBlock":"127.0.0.1/32","description":"here"}
--- keep: here
--- json
{"cidrBlock":"127.0.0.1/32","created":"$date","description":"here","expires":null,"id":"~[0-9a-f]{24}",
 "lastUsed":null,"type":"GLOBAL_ROLE","updated":"$here_created"}

=== TEST 42: GET lists the entries of the list of global keys by both its names
--- requests: owner: GET $admin/{whitelist,accessList}
--- json
{"links":[{"href":"http://localhost$uri?$page","rel":"self"}],
 "results":[{"cidrBlock":"127.0.0.1/32","created":"$here_created","description":"here",
  "id":"$here_id","type":"GLOBAL_ROLE","updated":"$here_created"}],"totalCount":1}

=== TEST 43: GET shows an entry of the list of global keys by both names of the list
--- requests: owner: GET $admin/{whitelist,accessList}/$here_id
--- json
{"cidrBlock":"127.0.0.1/32","created":"$here_created","description":"here","expires":null,
 "id":"$here_id","lastUsed":null,"type":"GLOBAL_ROLE","updated":"$here_created"}

=== TEST 44: an entry that the list of global keys does not have is not found
--- as: owner
--- requests
GET $admin/{whitelist,accessList}/$nobody
PATCH $admin/{whitelist,accessList}/$nobody {"description":"x"}
DELETE $admin/{whitelist,accessList}/$nobody
--- answers: GLOBAL_WHITELIST_ENTRY_NOT_FOUND ["$nobody"]

=== TEST 45: the list of global keys takes an entry once, by both its names
--- requests: owner: POST $admin/{whitelist,accessList} {"cidrBlock":"127.0.0.1/32","description":"x"} -> DUPLICATE_GLOBAL_WHITELIST_ENTRY ["127.0.0.1/32"]

=== TEST 46: an entry of the list of global keys requires a block
--- as: operator
--- requests
POST $list {"description":"x"}
POST $list {"cidrBlock":"","description":"x"}
--- answers: GLOBAL_WHITELIST_ENTRY_REQUIRES_CIDR_BLOCK

=== TEST 47: an entry of the list of global keys requires a description of at most 250 characters
--- as: operator
--- requests
POST $list {"cidrBlock":"10.0.0.0/8"} -> GLOBAL_WHITELIST_ENTRY_REQUIRES_DESCRIPTION
POST $list {"cidrBlock":"10.0.0.0/8","description":""} -> GLOBAL_WHITELIST_ENTRY_REQUIRES_DESCRIPTION
POST $list {"cidrBlock":"10.0.0.0/8","description":"$x251"} -> INVALID_GLOBAL_WHITELIST_DESCRIPTION [250]

=== TEST 48: a block of the list of global keys is one in CIDR notation, and not all addresses
--- as: operator
--- requests
POST $list {"cidrBlock":"10.0.0.1","description":"x"} -> INVALID_CIDR_BLOCK ["10.0.0.1"]
POST $list {"cidrBlock":"x","description":"x"} -> INVALID_CIDR_BLOCK ["x"]
POST $list {"cidrBlock":1,"description":"x"} -> INVALID_JSON_ATTRIBUTE ["cidrBlock"]
POST $list {"cidrBlock":"0.0.0.0/0","description":"x"} -> CANNOT_ADD_IP_ADDRESS_TO_API_KEY_ACCESS_LIST ["0.0.0.0/0"]

=== TEST 49: an attribute that an entry does not have is refused
--- requests: operator: POST $list {"cidrBlock":"10.0.0.0/8","description":"x","x":1} -> INVALID_ATTRIBUTE ["x"]

=== TEST 50: PATCH of an entry changes its description, and requires that or a block
--- as: owner
--- requests
PATCH $list/$here_id {} -> NO_CIDR_BLOCK_OR_DESCRIPTION
PATCH $list/$here_id {"description":"there"} -> 200 ... "description":"there"

=== TEST 51: the list of global keys takes both halves of IPv4, and IPv6
--- as: operator
--- requests
POST $list {"cidrBlock":"{0.0.0.0/1,128.0.0.0/1,2001:db8::/32}","description":"x"} -> 200
--- keep: low high six
--- query: SELECT string_agg(text(cidr), ' ' ORDER BY cidr) FROM apikeys.global_access_list
--- rows: 0.0.0.0/1 127.0.0.1/32 128.0.0.0/1 2001:db8::/32

=== TEST 52: the operator deletes entries of the list of global keys
--- requests: operator: DELETE $list/{$here_id,$low_id,$high_id} -> 204
--- query: SELECT cidr FROM apikeys.global_access_list
--- rows: 2001:db8::/32

=== TEST 53: the API refuses a global key from an address that is not on the list
--- on: atlas v2 om
--- requests: owner: GET $base/ -> GLOBAL_USER_OUTSIDE_SUBNET

=== TEST 54: a location refuses a global key from an address that is not on the list
--- requests: owner: GET /owner -> 403
--- decision: address

=== TEST 55: the list of global keys concerns neither keys of organizations nor the operator
--- requests
org_owner: GET /org-role -> 200
operator: GET $om/orgs -> 200
--- decision: allow allow

=== TEST 56: a global key from a listed address is admitted, and shows the list as its own
--- requests
operator: PATCH $list/$six_id {"cidrBlock":"127.0.0.0/8"} -> 200 ... "cidrBlock":"127.0.0.0/8"
owner: GET $om/ -> 200 ... {"apiKey":{"accessList":[{"cidrBlock":"127.0.0.0/8","ipAddress":null}],"id":"$owner_id","publicKey":"$owner_public","roles":[$owner_roles]}
owner: GET /owner -> 200
--- decision: allow allow allow

=== TEST 57: global keys and entries of their list beyond the quotas are refused
--- sql: UPDATE apikeys.default_quotas SET global_keys = 0, global_entries = 0
--- as: operator
--- requests
POST $keys {"desc":"x","roles":["GLOBAL_OWNER"]} -> MAX_GLOBAL_API_KEYS_EXCEEDED [0]
POST $list {"cidrBlock":"10.0.0.0/8","description":"x"} -> MAX_GLOBAL_WHITELIST_ENTRIES_EXCEEDED [0]

=== TEST 58: a global key deletes itself and is unknown at once, others stay valid
--- requests
owner: DELETE $keys/$owner_id -> 204
owner: GET $om/ -> 401
reader: GET /or -> 200
--- decision: allow unknown_key allow
