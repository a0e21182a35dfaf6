# What a site sets for its sessions neither ends an idle connection nor a
# load; and a connection that is lost does not repeat an earlier error.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use ApiKeys::Pg ();
use Test::More;

my $pg = ApiKeys::Pg->new(own => 1);
my $db = $pg->database(schema => 1);
my ($version) = $db->psql('SHOW server_version_num');

plan skip_all => 'PostgreSQL 14 has the first of them' if $version < 140000;

my $name = $db->name;
$db->dbh->do(qq{ALTER DATABASE "$name" SET idle_session_timeout = '300ms'});
$db->dbh->do(qq{ALTER DATABASE "$name" SET transaction_timeout = '300ms'})
    if $version >= 170000;

my $f = ApiKeys::Fixture->new(db => $db, workers => 1,
    http => 'apikeys_sync poll=100ms;');
my $nginx = $f->nginx;
my $org = $f->org;

# its connections, which other sessions of the role would be ended by
sub connections {
    return $db->dbh->selectall_arrayref(q{SELECT pid,
        extract(epoch FROM clock_timestamp() - backend_start) AS age
        FROM pg_stat_activity WHERE usename = 'apikeys_nginx'},
        { Slice => {} });
}

ok(eval { $nginx->wait_for(sub {
    my @old = grep { $_->{age} > 1.5 } @{ connections() };
    return @old >= 2;
}, 20, '') }, 'idle connections live on');
unlike($nginx->error_log, qr/idle-session timeout|transaction timeout/,
    'the server has ended no idle connection');


# an error of a statement, then the end of the connection

$db->psql("ALTER FUNCTION apikeys.set_key RENAME TO set_key_");
is($org->{client}->request('PATCH',
    "$org->{path}/apiKeys/$org->{key}{id}", { desc => 'x' })->code, 500,
    'a statement fails') or diag $nginx->error_text;
my $mark = $nginx->log_mark;
$pg->signal_all("KILL");
$nginx->wait_log(qr/database connection to \S+ closed|no database host/, 20);
my $since = substr $nginx->error_log, $mark;
unlike($since, qr/closed after.*set_key/, 'its end does not tell of it again');

done_testing;
