# How often each entry of an access list let a request in: counted in the
# workers, stored every five seconds in one statement, summed over the nodes,
# kept while the database is away, and no change that anybody follows.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Access ();
use DBI ();
use MIME::Base64 qw( encode_base64 );
use Test::More;
use Time::HiRes qw( time );

my $t = ApiKeys::Access->new(zone => '8m', workers => 2);
my $f = $t->fixture;
my $db = $t->db;
my $server = <<'END';
    set_real_ip_from 127.0.0.3;
    real_ip_header X-Forwarded-For;
    keepalive_requests 100000;
    location /in { apikeys_auth basic; empty_gif;
        location /in/role { apikeys_require role=ORG_OWNER; empty_gif; }
        location /in/dry { apikeys_dry_run on; empty_gif; }
        location /in/page { ssi on; ssi_types *; alias %%DIR%%/html/page; } }
    location = /status { apikeys_status; }
END
$t->serve($server);
$t->nginx->write_file('html/page', '<!--# include virtual="/in" -->' x 3);

my ($two, $three) = map { $f->node(zone => '8m', server => $server,
    allow => qr/exited on signal 9/) } 1 .. 2;
$_->start for $two, $three;

my $org = $t->org;
my $key = $t->allow($org, $t->key($org, 'ORG_MEMBER'), '127.0.0.0/8',
    '127.0.0.1/32', '10.0.0.0/8', '2001:db8::/32');
my $other = $t->allow($org, $t->key($org, 'ORG_MEMBER'), '127.0.0.0/8');
my $many = $t->key($org, 'ORG_MEMBER');
$db->psql("INSERT INTO apikeys.access_list (key_id, cidr)
           SELECT '$many->{id}', '10.1.0.0'::inet + n
             FROM generate_series(0, 3999) AS n");
$t->settle;

# n requests; from => local address, for => what X-Forwarded-For says
sub ask {
    my ($n, $who, %opt) = @_;

    my $nginx = $opt{nginx} || $t->nginx;
    my $client = $f->client(nginx => $nginx, local => $opt{from});
    my $text = $client->format($opt{method} || 'GET', $opt{uri} || '/in',
        undef, headers => {
            Authorization => 'Basic ' . encode_base64($who->{secret}, ''),
            'X-Forwarded-For' => $opt{for} });
    my $bad = 0;

    for (1 .. $n) {
        $client->send($text);
        $bad++ if $client->read->code != ($opt{code} || 200);
    }
    $client->close;
    is($bad, 0, "$n requests: " . ($opt{code} || 200));
}

# "entry count address", as the API tells it
sub used {
    my ($who) = @_;

    my $res = $org->{client}->request('GET',
        "$org->{path}/apiKeys/$who->{id}/accessList");
    return map { join ' ', @$_{qw( cidrBlock count )},
            $_->{lastUsedAddress} // '-' } @{ $res->json->{results} };
}

sub count {
    my ($who) = @_;

    return $db->dbh->selectrow_array('SELECT coalesce(sum(count), 0)
        FROM apikeys.access_usage WHERE key_id = ?', undef, $who->{id});
}

sub until_count {
    my ($who, $n, $name, $timeout) = @_;

    eval { $t->nginx->wait_for(sub { count($who) >= $n }, $timeout || 8, '') };
    is(count($who), $n, $name);
}

# what a change would leave behind
sub changes {
    return join ' ', map { $_ // '' } $db->dbh->selectrow_array(
        'SELECT (SELECT count(*) FROM apikeys.changes),
                (SELECT max(version) FROM apikeys.keys),
                (SELECT last_value FROM apikeys.version_seq),
                (SELECT count(*) FROM apikeys.audit)');
}


# counted, summed, stored

is_deeply([ used($key) ], [ '10.0.0.0/8 0 -', '127.0.0.0/8 0 -',
    '127.0.0.1/32 0 -', '2001:db8::/32 0 -' ], 'nothing is used at first');

my $before = changes();
my $name = $db->name;
$db->dbh->do(qq{ALTER DATABASE "$name" SET log_statement = 'all'});
$db->dbh->do('SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = ? AND pid <> pg_backend_pid()', undef, $name);
my $mark = length $db->pg->log_text;
my $begin = time;

ask(5, $key, from => '127.0.0.3', for => '2001:db8::7');
ask(200, $key);
ask(50, $key, from => '127.0.0.2');
ask(30, $key, nginx => $two);
ask(5, $key, from => '127.0.0.3', for => '2001:db8::8');
ask(10, $other, nginx => $three);
ask(4, $key, uri => '/in/dry', from => '127.0.0.3', for => '10.1.2.3');

# not counted
ask(7, $key, uri => '/in/role', code => 403);
ask(7, { secret => "$key->{publicKey}:x" }, code => 401);
ask(7, $key, from => '127.0.0.3', for => '192.0.2.1', code => 403);

# a request is one, whatever it includes
ask(6, $key, uri => '/in/page', from => '127.0.0.2');
my $asked = time;

until_count($key, 300, 'uses of a key are stored within an interval', 6.5);
until_count($other, 10,
    'uses of another key are stored within an interval', 6.5);
is_deeply([ used($key) ], [ '10.0.0.0/8 4 10.1.2.3',
    '127.0.0.0/8 56 127.0.0.2', '127.0.0.1/32 230 127.0.0.1',
    '2001:db8::/32 10 2001:db8::8' ],
    'through the API: the smallest entry counts, over all nodes');

my ($last) = $db->dbh->selectrow_array('SELECT extract(epoch FROM
    max(last_used)) FROM apikeys.access_usage WHERE key_id = ?', undef,
    $key->{id});
ok($last >= int $begin && $last <= $asked,
    'last_used is the time of the requests');
like($org->{client}->request('GET',
    "$org->{path}/apiKeys/$key->{id}/accessList")->json->{results}[0]{lastUsed},
    qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
        'the API shows lastUsed in ISO 8601');
is(changes(), $before, 'uses of entries add no row to the feed');

my $statements = () = substr($db->pg->log_text, $mark)
    =~ /\Q$name\E .*execute.*flush_usage/g;
cmp_ok($statements, '<=', 8, "331 requests, 4 workers: $statements statements");
cmp_ok($statements, '>=', 3, 'at least one from each node');
$db->dbh->do(qq{ALTER DATABASE "$name" RESET log_statement});


# more entries than the worker keeps are stored before the time

my $client = $f->client(nginx => $two, local => '127.0.0.3');
my $basic = 'Basic ' . encode_base64($many->{secret}, '');
for my $n (0 .. 3499) {
    $client->send("GET /in HTTP/1.1\r\nHost: a\r\nAuthorization: $basic\r\n"
        . 'X-Forwarded-For: 10.1.' . ($n >> 8) . '.' . ($n & 255)
        . "\r\n\r\n");
    $client->read->code == 200 or die "entry $n";
}
$client->close;
ok(eval { $t->nginx->wait_for(sub { count($many) >= 3072 }, 2.5, '') },
    'uses are stored at once when the table of a worker is full');


# the database is away: kept, and stored when it is back

my $admin = DBI->connect($db->pg->_dsn('postgres'), '', '',
    { RaiseError => 1, PrintError => 0 });
$admin->do(qq{ALTER DATABASE "$name" ALLOW_CONNECTIONS false});
$admin->do('SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = ?', undef, $name);
$t->nginx->log_mark;
ask(20, $key);
ok(eval { $t->nginx->wait_log(
    qr/cannot store usage counters of access lists/, 10) },
    'the log says that uses cannot be stored without the database');
ask(20, $key);
$admin->do(qq{ALTER DATABASE "$name" ALLOW_CONNECTIONS true});
is(count($key), 300, 'no uses are stored while the database is away');


# meanwhile: a reload and a quit store first, a kill loses an interval

my @old = $t->nginx->workers;
$t->nginx->reload;
ask(3, $key);

ask(9, $other, nginx => $two);
$two->signal('QUIT');

my ($worker) = $three->workers;
ask(100, $other, nginx => $three);
$three->signal('KILL', $worker);
$three->wait_for(sub { my ($new) = $three->workers;
    $new && $new != $worker }, 10, 'no new worker');
ask(5, $other, nginx => $three);

until_count($key, 343,
    'a reload while the database is away loses no uses', 15);
until_count($many, 3500, 'a quit loses no uses', 15);
until_count($other, 24,
    'a quit stores uses, a kill loses those of an interval', 15);
$two->quit;
$t->nginx->wait_for(sub { !grep { kill 0, $_ } @old }, 10,
    'the workers of before the reload do not end');
is($t->status->{usage}{dropped_total}, 0, 'no request went uncounted');

unlike($t->nginx->error_log . $two->error_log . $three->error_log,
    qr/flush_usage|deadlock/, 'without an error of the database');

done_testing;
