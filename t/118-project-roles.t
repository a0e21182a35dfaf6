# docs/project-roles.md: a block for each of its rows, on each base.  A call
# that is refused changes no row.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';
use Test::More;

names(
    keys => '$base/groups/$project_id/apiKeys', key => '$keys/$new_id',
    plain => 'GROUP_DATA_ACCESS_READ_ONLY', on_v2 => '',
    'v2/on_v2' => 'GROUP_ACCESS_MANAGER',
    # Ops Manager does not have that role
    granted => '2..', 'om/granted' => 'UNSUPPORTED_ROLE',
);

# the table of the page is what the blocks say
sub text { local (@ARGV, $/) = @_; return <> }

my ($head, @rows) = grep { !/---/ }
    text('docs/project-roles.md') =~ /^\| (.*) \|$/mg;
my @callers = qw( operator ORG_OWNER GROUP_OWNER GROUP_ACCESS_MANAGER
    GROUP_READ_ONLY elsewhere ORG_GROUP_CREATOR );
is($head =~ s/GROUP_OWNER of another project/elsewhere/r,
    join(' | ', 'call', @callers), 'the callers of docs/project-roles.md');
my @have;
for (split /^--- row: /m, text(__FILE__)) {
    my ($row, $call, $may) = /^(.*)\n(?:--- fresh.*\n)?--- may: (.*):([ \w\$]+)/
        or next;
    my %may = map { $_ => 'yes' } split ' ', $may;
    $may{operator} = '-' if $call =~ /\$caller/;
    $may{GROUP_ACCESS_MANAGER} = 'v2' if $may{'$on_v2'};
    push @have, join ' | ', $row, map { $may{$_} || 'no' } @callers;
}
is_deeply(\@have, \@rows, 'a block for each row of docs/project-roles.md');

add_block_preprocessor(sub { $_[0]->set_value('unchanged', 'SELECT id, descr,
    roles, projects FROM apikeys.key_states ORDER BY id') });
bases('atlas v2 om');
run_tests();

__DATA__

=== TEST 1: owners make a key with a plain role, and on v2 an access manager does
--- keys
ORG_OWNER: ORG_OWNER GROUP_READ_ONLY
GROUP_OWNER: GROUP_OWNER
GROUP_ACCESS_MANAGER: GROUP_ACCESS_MANAGER
GROUP_READ_ONLY: GROUP_READ_ONLY
elsewhere: GROUP_OWNER@there
ORG_GROUP_CREATOR: ORG_GROUP_CREATOR
--- row: POST: create a key with a plain role
--- may: POST $keys {"desc":"new","roles":["$plain"]}: operator ORG_OWNER GROUP_OWNER $on_v2

=== TEST 2: owners make a key that owns the project
--- row: POST: create a key with GROUP_OWNER
--- may: POST $keys {"desc":"new","roles":["GROUP_OWNER"]}: operator ORG_OWNER GROUP_OWNER

=== TEST 3: owners make a key that manages the access to the project
--- row: POST: create a key with GROUP_ACCESS_MANAGER
--- may: POST $keys {"desc":"new","roles":["$plain","GROUP_ACCESS_MANAGER"]}: operator ORG_OWNER GROUP_OWNER -> $granted

=== TEST 4: an owner of the organization makes a key with a role of it in a project
--- row: POST: create a key with a role of the organization
--- may: POST $keys {"desc":"new","roles":["$plain","ORG_READ_ONLY"]}: operator ORG_OWNER

=== TEST 5: owners assign a key of the organization with a plain role
--- row: POST: assign a key of the organization with a plain role
--- fresh: new: ORG_MEMBER
--- may: POST $key {"roles":["$plain"]}: operator ORG_OWNER GROUP_OWNER

=== TEST 6: owners assign a key of the organization as an owner of the project
--- row: POST: assign a key of the organization with GROUP_OWNER
--- fresh: new: ORG_MEMBER
--- may: POST $key {"roles":["GROUP_OWNER"]}: operator ORG_OWNER GROUP_OWNER

=== TEST 7: owners give roles to a key that is not in the project
--- row: PATCH: roles of a key that is not in the project
--- fresh: new: ORG_MEMBER
--- may: PATCH $key {"roles":["$plain"]}: operator ORG_OWNER GROUP_OWNER

=== TEST 8: owners change a plain role to another, and on v2 an access manager does
--- row: PATCH: roles from plain to plain
--- fresh: new: GROUP_READ_ONLY
--- may: PATCH $key {"roles":["$plain"]}: operator ORG_OWNER GROUP_OWNER $on_v2

=== TEST 9: owners make an owner of a key with a plain role
--- row: PATCH: roles from plain to GROUP_OWNER
--- fresh: new: $plain
--- may: PATCH $key {"roles":["GROUP_OWNER"]}: operator ORG_OWNER GROUP_OWNER

=== TEST 10: owners make an access manager of a key with a plain role
--- row: PATCH: roles from plain to GROUP_ACCESS_MANAGER
--- fresh: new: $plain
--- may: PATCH $key {"roles":["$plain","GROUP_ACCESS_MANAGER"]}: operator ORG_OWNER GROUP_OWNER -> $granted

=== TEST 11: owners take the role GROUP_OWNER away
--- row: PATCH: roles from GROUP_OWNER to plain
--- fresh: new: GROUP_OWNER $plain
--- may: PATCH $key {"roles":["$plain"]}: operator ORG_OWNER GROUP_OWNER

=== TEST 12: owners take the role GROUP_ACCESS_MANAGER away
--- row: PATCH: roles from GROUP_ACCESS_MANAGER to plain
--- fresh: new: GROUP_ACCESS_MANAGER
--- may: PATCH $key {"roles":["$plain"]}: operator ORG_OWNER GROUP_OWNER

=== TEST 13: a key gives itself the role GROUP_OWNER if it is an owner already
--- row: PATCH: roles of the caller's own key to GROUP_OWNER
--- fresh: ORG_OWNER: ORG_OWNER GROUP_READ_ONLY
--- may: PATCH $keys/$caller_id {"roles":["GROUP_OWNER"]}: ORG_OWNER GROUP_OWNER

=== TEST 14: owners describe a key with a plain role, and on v2 an access manager does
--- row: PATCH: desc of a key with a plain role
--- fresh: new: $plain
--- may: PATCH $key {"desc":"renamed"}: operator ORG_OWNER GROUP_OWNER $on_v2

=== TEST 15: owners describe a key that owns the project
--- row: PATCH: desc of a key with GROUP_OWNER
--- fresh: new: GROUP_OWNER
--- may: PATCH $key {"desc":"renamed"}: operator ORG_OWNER GROUP_OWNER

=== TEST 16: owners describe a key that manages the access to the project
--- row: PATCH: desc of a key with GROUP_ACCESS_MANAGER
--- fresh: new: GROUP_ACCESS_MANAGER
--- may: PATCH $key {"desc":"renamed"}: operator ORG_OWNER GROUP_OWNER

=== TEST 17: an owner of the organization describes a key of two projects
--- row: PATCH: desc of a key with a role in another project, too
--- fresh: new: $plain $plain@there
--- may: PATCH $key {"desc":"renamed"}: operator ORG_OWNER

=== TEST 18: an owner of the organization describes a key with a role of it
--- row: PATCH: desc of a key with a role of the organization but ORG_MEMBER
--- fresh: new: ORG_READ_ONLY $plain
--- may: PATCH $key {"desc":"renamed"}: operator ORG_OWNER

=== TEST 19: owners remove a key with a plain role, and on v2 an access manager does
--- row: DELETE: a key with a plain role
--- fresh: new: $plain
--- may: DELETE $key: operator ORG_OWNER GROUP_OWNER $on_v2

=== TEST 20: owners remove a key that owns the project
--- row: DELETE: a key with GROUP_OWNER
--- fresh: new: GROUP_OWNER
--- may: DELETE $key: operator ORG_OWNER GROUP_OWNER

=== TEST 21: owners remove a key that manages the access to the project
--- row: DELETE: a key with GROUP_ACCESS_MANAGER
--- fresh: new: GROUP_ACCESS_MANAGER
--- may: DELETE $key: operator ORG_OWNER GROUP_OWNER
