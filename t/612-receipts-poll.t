# All changes of a worker that wait for their receipts share one poll of the
# database, which becomes rarer the longer they wait.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use ApiKeys::Pg ();
use Test::More;
use Time::HiRes qw( sleep time );

plan skip_all => 'a slow machine polls less'
    if $ENV{APIKEYS_TEST_VALGRIND};

my $pg = ApiKeys::Pg->new(own => 1);
my $db = $pg->database(schema => 1);
my $f = ApiKeys::Fixture->new(db => $db, workers => 1);
my $org = $f->org;
my @keys = map { $f->key($org, 'ORG_MEMBER') } 1 .. 60;

# a node that does not apply anything
$db->psql("INSERT INTO apikeys.instances (uuid, name, feed, snapshot, horizon,
                                          heartbeat, lease_until)
    SELECT 'stuck', 'stuck:1', uuid, '3:3:', '3', now(), 'infinity'
      FROM apikeys.feed_uuid");

# log_statement of new connections
my $name = $db->name;
$db->dbh->do(qq{ALTER DATABASE "$name" SET log_statement = 'all'});
$db->dbh->do('SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = ? AND pid <> pg_backend_pid()', undef, $name);
$f->nginx->wait_for(sub { $f->client(token => $f->token)
    ->request('GET', "$f->{base}/orgs")->code == 200 }, 20, 'no database');

sub renamed {
    return $db->dbh->selectrow_array(
        'SELECT count(*) FROM apikeys.keys WHERE descr = ?', undef, $_[0]);
}

# polls while so many changes wait for so many seconds
sub polls {
    my ($n, $seconds) = @_;

    my $mark = length $pg->log_text;
    my @waits = map {
        my $client = ApiKeys::Client->new(port => $f->nginx->port,
            timeout => $seconds + 30);
        $client->send($client->format('PATCH',
            "$org->{path}/apiKeys/$keys[$_]{id}", { desc => "wait $n" },
            headers => { Authorization => 'Bearer ' . $f->token,
                Prefer => "wait=$seconds" }));
        $client;
    } 0 .. $n - 1;
    my @codes = map { my $res = $_->read; $_->close;
        $res->code . ' ' . $res->header('x-apikeys-pending') } @waits;
    my $polls = () = substr($pg->log_text, $mark)
        =~ /execute \w*: .*?apikeys\.waiting_for\(\$1\)/gs;

    is(renamed("wait $n"), $n, "$n changes are made");
    is_deeply([ grep { $_ ne '202 stuck:1' } @codes ], [],
        "$n changes wait $seconds seconds in vain");
    return $polls;
}

my $one = polls(1, 6);
my $many = polls(60, 6);

cmp_ok($one, '>=', 3, "one change: $one polls");
cmp_ok($one, '<=', 30, 'at most as many as it takes');
cmp_ok($many, '<=', 3 * $one + 10, "60 changes: $many polls");

done_testing;
