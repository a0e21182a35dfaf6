# An organization that psql deletes takes its keys and projects with it.  A
# program, as it waits for the feed.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Expect;
use ApiKeys::Fixture ();
use Test::More;

my $f = ApiKeys::Fixture->new;
my $org = $f->org;
my $project = $f->project($org);

$f->db->psql("DELETE FROM apikeys.orgs WHERE id = '$org->{id}'");
ok(eval { $f->nginx->wait_for(sub { $org->{client}->request('GET',
    "$f->{base}/")->code == 401 }, 10, '') },
    'keys of a deleted organization are refused');
refused($f->operator('GET', "/orgs/$org->{id}"), 'ORG_NOT_FOUND',
    [ $org->{id} ], 'a deleted organization is not found');
refused($f->operator('GET', "/groups/$project->{id}"), 'GROUP_NOT_FOUND',
    [ $project->{id} ], 'a project of a deleted organization is not found');

done_testing;
