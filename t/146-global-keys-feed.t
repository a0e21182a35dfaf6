# Global keys beside the API: entries of their list by psql, which a node learns
# by the feed, and a restart.  A program, as it waits for the feed, restarts
# nginx, and expects statements to fail.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use ApiKeys::Sql ();
use Test::More;

my $f = ApiKeys::Fixture->new(server => 'location = /owner { empty_gif;
    apikeys_auth digest; apikeys_require role=GLOBAL_OWNER; }');
my $sql = ApiKeys::Sql->new($f->db);
my $org = $f->org;
my $key = $f->operator('POST', '/api/public/v1.0/admin/apiKeys',
    { desc => 'x', roles => ['GLOBAL_OWNER'] })->json;
my $owner = $f->client(key => "$key->{publicKey}:$key->{privateKey}");

sub enters {
    my ($status, $title) = @_;

    ok(eval { $f->nginx->wait_for(sub { $owner->request('GET', '/owner')->code
        == $status }, 10, 'the list') }, $title);
}

enters(200, 'a location admits a global key while its list is empty');
ok($sql->run("INSERT INTO apikeys.global_access_list (cidr, descr)
    VALUES ('192.0.2.0/24', 'by psql')"), 'psql adds an entry to the list');
enters(403, 'a node learns that psql has added an entry');
ok($sql->run("UPDATE apikeys.global_access_list SET cidr = '127.0.0.0/8'"),
    'psql changes an entry of the list');
enters(200, 'a node learns that psql has changed an entry');
ok($sql->run("INSERT INTO apikeys.global_access_list (cidr, descr)
    VALUES ('192.0.2.0/24', 'by psql')"), 'psql adds another entry');
ok($sql->run("DELETE FROM apikeys.global_access_list
    WHERE cidr = '127.0.0.0/8'"), 'psql deletes an entry of the list');
enters(403, 'a node learns that psql has deleted an entry');
ok($sql->run('TRUNCATE apikeys.global_access_list'), 'psql truncates the list');
enters(200, 'a node learns that psql has truncated the list');

ok(!$sql->run("UPDATE apikeys.keys SET $_->[0]"), "psql cannot give $_->[1]")
    for [ "org_id = '$org->{id}' WHERE id = '$key->{id}'",
        'a global key an organization' ],
    [ "roles = '{ORG_OWNER}' WHERE id = '$key->{id}'",
        'a global key a role of organizations' ],
    [ "roles = '{GLOBAL_OWNER}' WHERE id = '$org->{key}{id}'",
        'a key of an organization a global role' ];
ok(!$sql->run(q(INSERT INTO apikeys.orgs (id, name)
    VALUES (repeat('0', 24), 'none'))), 'no organization has the id of none');

$f->nginx->stop;
$f->nginx->start;
$f->wait_loaded($f->nginx);
enters(200, 'a node that starts loads a global key');

done_testing();
