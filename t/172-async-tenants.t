# Statements of one organization that wait in the database leave a connection
# and half of the queue to the others, however they end.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use MIME::Base64 qw( encode_base64 );
use Test::More;
use Time::HiRes qw( time );

my $slow = $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND} ? 5 : 1;

my $f = ApiKeys::Fixture->new(workers => 1,
    database => "connections=4 queue=24 timeout=${\(6 * $slow)}s",
    api => 'apikeys_auth basic digest;',
    http => 'apikeys_wait 0;',
    server => 'location /status { apikeys_status json; }',
    allow => qr/no database host is available/);
my $db = $f->db;
my $nginx = $f->nginx;
my $busy = $f->org;
my $other = $f->org;

sub pool {
    my $client = ApiKeys::Client->new(port => $nginx->port);
    my $json = $client->plain('GET', '/status')->json;
    $client->close;
    return $json->{pool};
}

sub rename_request {
    my ($org, $desc) = @_;

    return ApiKeys::Client->new(port => $nginx->port)->format('PATCH',
        "$org->{path}/apiKeys/$org->{key}{id}", qq({"desc":"$desc"}),
        headers => { 'Content-Type' => 'application/json',
            Authorization => 'Basic '
                . encode_base64($org->{key}{secret}, '') });
}

sub send_all {
    my ($n, $org) = @_;

    return map {
        my $client = ApiKeys::Client->new(port => $nginx->port);
        $client->send(rename_request($org, "busy $_"));
        $client;
    } 1 .. $n;
}

sub codes {
    my %codes;
    for my $client (@_) {
        my $res = $client->read(timeout => 30 * $slow);
        $codes{ $res ? $res->code : 'none' }++;
        $client->close;
    }
    return join ', ', map { "$codes{$_} x $_" } sort keys %codes;
}

sub prompt {
    my ($name) = @_;

    for my $n (1 .. 5) {
        my $client = ApiKeys::Client->new(port => $nginx->port);
        my $begin = time;
        $client->send(rename_request($other, "prompt $n"));
        my $code = $client->read(timeout => 30 * $slow)->code;
        my $took = time - $begin;
        $client->close;
        ok($code == 200 && $took < $slow, "$name: another organization, $n")
            or diag("$code after $took s");
    }
}

my $lock = $db->connect;

sub lock_busy {
    $lock->begin_work;
    $lock->do('SELECT FROM apikeys.orgs WHERE id = ? FOR UPDATE', undef,
        $busy->{id});
}

# so many of them wait: in the database, and for a connection
sub waiting {
    my ($running, $queued) = @_;

    my $pool;
    eval { $nginx->wait_for(sub {
        $pool = pool();
        return $pool->{busy} == $running && $pool->{waiting} == $queued;
    }, 20 * $slow, '') };
    is("$pool->{busy} $pool->{waiting}", "$running $queued",
        "$running wait in the database, $queued in the queue");
}

prompt('at first');


# success

lock_busy();
my @requests = send_all(15, $busy);
waiting(3, 12);
prompt('a locked organization');
my $begin = time;
is(codes(send_all(3, $busy)), '3 x 503',
    'more than half of the queue is refused');
cmp_ok(time - $begin, '<', 3 * $slow,
    'refused statements are answered at once');
prompt('a full half of the queue');
$lock->rollback;
is(codes(@requests), '15 x 200', 'the others are made, then');


# an error of the database

lock_busy();
@requests = send_all(15, $busy);
waiting(3, 12);
$db->psql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity
    WHERE usename = 'apikeys_nginx' AND wait_event_type = 'Lock'");
waiting(3, 9);
prompt('canceled statements');
$lock->rollback;
is(codes(@requests), '12 x 200, 3 x 503',
    'statements are answered after others were canceled');


# a timeout

lock_busy();
@requests = send_all(9, $busy);
waiting(3, 6);
prompt('statements that time out');
is(codes(@requests), '9 x 503', 'statements that time out are answered');
prompt('afterwards');
$lock->rollback;


# clients that go

lock_busy();
@requests = send_all(15, $busy);
waiting(3, 12);
$_->close for @requests[ 0 .. 7 ];
waiting(3, 4);
prompt('clients that have gone');
$lock->rollback;
is(codes(@requests[ 8 .. 14 ]), '7 x 200', 'those of the others are made');

done_testing;
