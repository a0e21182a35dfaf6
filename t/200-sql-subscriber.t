# A logical subscription cannot fill the tables, which no node would notice.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Fixture ();
use ApiKeys::Pg ();
use Test::More;
use Time::HiRes qw( sleep time );

my $publisher = ApiKeys::Pg->new(own => 1, conf => "wal_level = logical\n");
my $subscriber = ApiKeys::Pg->new(own => 1, conf => "wal_level = logical\n");
my $from = $publisher->database(schema => 1);
my $to = $subscriber->database(schema => 1);
my $f = ApiKeys::Fixture->new(db => $from);
my $message = qr/ERROR:\s+logical replication into the schema apikeys is not/;

sub says {
    my ($mark, $name) = @_;

    my $end = time + 30;
    my $said;
    until ($said = substr($subscriber->log_text, $mark) =~ $message
        or time > $end) { sleep 0.1 }
    ok($said, $name);
}

sub subscribe {
    my ($options) = @_;

    $to->dbh->do('CREATE SUBSCRIPTION s CONNECTION ' . $to->dbh->quote(
        $from->conninfo) . " PUBLICATION p $options");
}

my $org = $f->org;
$from->psql('CREATE PUBLICATION p FOR TABLE apikeys.orgs, apikeys.keys');

# the copy at the beginning
subscribe('');
says(0, 'a copy of what is there');
$to->dbh->do('DROP SUBSCRIPTION s');
is($to->psql('SELECT count(*) FROM apikeys.orgs'), 0,
    'a copy by logical replication is refused');

# changes
my $mark = length $subscriber->log_text;
subscribe('WITH (copy_data = off)');
$f->org;
says($mark, 'a change');
is($to->psql('SELECT count(*) FROM apikeys.orgs'), 0,
    'a change by logical replication is refused');
$to->dbh->do('DROP SUBSCRIPTION s');

# a session may load data
$to->psql("SET session_replication_role = replica;
    INSERT INTO apikeys.orgs (id, name) VALUES (repeat('a', 24), 'x')");
is($to->psql('SELECT count(*) FROM apikeys.changes'), 1,
    'a session with that role is followed');

done_testing;
