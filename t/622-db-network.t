# Packets between nginx and PostgreSQL are lost silently: all of them, those of
# the answers alone, or together with the server and its state; or they are
# slow.  Decisions go on, a change is refused in time or answered as of unknown
# outcome, retries do no harm, and the node recovers without a storm of logins.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Netns;
use ApiKeys::Outage ();
use ApiKeys::Pg ();
use Test::More;
use Time::HiRes qw( sleep time );

my $slow = $ApiKeys::Outage::slow;
my $net = ApiKeys::Netns->new;
my $pg = ApiKeys::Pg->new(own => 1, netns => $net,
    conf => "log_connections = on\nlisten_addresses = '*'\n");
my $db = $pg->database(schema => 1);
my $name = $db->name;
my $info = 'host=' . $net->THERE . " port=5432 user=apikeys_nginx"
    . " dbname=$name sslmode=disable";
my $o = ApiKeys::Outage->new(db => $db, conninfo => $info,
    bound => 2, database => 'connections=1 connect_timeout=1s timeout=1s');
my $nginx = $o->nginx;
my $org = $o->org;


# everything is lost

{
    my $mark = $nginx->log_mark;
    my $before = $o->logins;
    $o->change('as before');
    $net->cut;
    my $since = time;
    my $res = $o->outage('cut off');
    ok($o->unknown($res), 'cut off: a change that was sent is not denied');
    $o->unavailable('still cut off');
    ok($nginx->wait_for(sub { $o->code('/brief') == 503 }, 10 * $slow,
        'fresh'), 'apikeys_stale 3s gives 503 while the network is cut');
    ok(eval { $nginx->wait_log(qr/cannot read changes from the database/,
        10 * $slow, $mark) }, 'cut off: the poll notices, and the log says so');

    # each attempt takes connect_timeout, for requests and for the feed
    my $failures = $o->pester(3);
    cmp_ok($failures, '<=', 8, 'cut off for 3 s and asked all the time: few'
        . ' logins are tried');
    is_deeply([ $net->orphans ], [], 'cut off: no closed connection goes on'
        . ' to send a statement that was given up');
    $net->mend;
    $o->heals('cut off');
    cmp_ok($o->logins - $before, '<=', 4, 'cut off: few logins mend it');
    diag("$failures failed and ", $o->logins - $before, ' good logins');
}


# a change that was lost does not come after a newer one, neither while its
# connection is still open nor after its end: TCP repeats a packet 1.4 s and
# 6.2 s after the first

{
    my $o = ApiKeys::Outage->new(db => $db, conninfo => $info,
        master_key => $o->f->{master_key},
        database => 'connections=2 connect_timeout=1s timeout=1s');
    for my $outage (0, 4) {
        my $title = "an outage of $outage s";
        ok($o->changes("before $title"), "$title: all is well");
        my $since = time;
        $net->cut;
        my $res = $o->change("lost in $title");
        ok($o->unknown($res), "$title: a change of unknown outcome");
        my $left = $outage - (time - $since);
        sleep $left if $left > 0;
        $net->mend;
        ok($o->changes("newer than $title"), "$title: then a newer one");
        ok(eval { $o->nginx->wait_for(sub {
            !$net->orphans && !$net->unsent }, 30 * $slow, '') },
            "$title: nothing is under way any more");
        is($o->made("lost in $title"), 0, "$title: the lost one was not made");
        is($db->psql("SELECT descr FROM apikeys.keys
            WHERE id = '$o->{org}{key}{id}'"), "newer than $title",
            "$title: the newer one stays");
    }
    $o->nginx->quit;
}


# only answers are lost: what was asked for is done.  A client that repeats
# it finds it done, once

sub audits { return $db->psql('SELECT count(*) FROM apikeys.audit') }

# warm: the same for another key, so that the statement is prepared; rows:
# how many the request leaves in the audit
sub lost {
    my ($title, $again, $rows, $warm, @request) = @_;

    ok($o->changes($title), "$title: all is well");
    my $res = $o->operator(@$warm);
    cmp_ok($res->code, '<', 300, "$title: success") or diag $res->body;
    my $before = audits();
    $net->cut('answers');
    $res = $o->operator(@request);
    is($res->code, 503, "$title: no answer, 503");
    ok($o->unknown($res), "$title: unknown, neither success nor failure");
    is(audits() - $before, $rows, "$title: it was done");
    $net->mend;
    ok(eval { $nginx->wait_for(sub {
        ($res = $o->operator(@request))->code != 503 }, 30 * $slow, '') },
        "$title: again");
    is($res->code, $again, "$title: is answered as what it is")
        or diag $res->body;
    is(audits() - $before, $rows,
        "$title: the retry adds no second audit row");
}

my $project = $o->f->project($org)->{id};
my $in = $o->f->base . "/groups/$project/apiKeys";
my $keys = "$org->{path}/apiKeys";
my ($one, $two) = map { $o->f->key($org, 'ORG_MEMBER')->{id} } 1, 2;
my $entry = [ { ipAddress => '192.0.2.7' } ];
my $role = [ { roles => ['GROUP_OWNER'] } ];

my %again = (
    PATCH => [ 200, 1, map { [ 'PATCH', "$keys/$_", { desc => 'lost' } ] }
        $one, $two ],
    'an entry' => [ 409, 1, map { [ 'POST', "$keys/$_/accessList", $entry ] }
        $one, $two ],
    'an assignment' => [ 400, 1, map { [ 'POST', "$in/$_", $role ] }
        $one, $two ],
    # out of its project, and then all of it
    'DELETE' => [ 400, 2, map { [ 'DELETE', "$keys/$_" ] } $one, $two ],
);

for my $title ('PATCH', 'an entry', 'an assignment', 'DELETE') {
    my ($code, $rows, $warm, $request) = @{ $again{$title} };
    lost($title, $code, $rows, $warm, @$request);
}


# the other side, too, gives up what it does not hear of: it asks after a
# minute, not after the system's two hours, and keeps no dead session

{
    my @cat = ($net->enter, qw( cat /proc/net/tcp ));
    my @left;
    # one that waits for its last bytes to be acknowledged has another timer
    ok($nginx->wait_for(sub {
        @left = map { /:1538 \S+ 01 \S+ 02:([0-9A-F]+) / ? hex $1 : () }
            qx{@cat};
    }, 10 * $slow, 'no timer'), 'PostgreSQL has timers for its connections');
    is(scalar(grep { $_ > 60 * 100 } @left), 0, 'of a minute at most');
}


# it is slow: all the local copy is read again, which takes several times as long
# as a statement may

{
    my $full = $o->f->org;
    $db->psql("INSERT INTO apikeys.keys (org_id, public_key, secret, redacted,
        descr) SELECT '$full->{id}', translate(lpad(to_hex(g), 8, '0'),
        '0123456789abcdef', 'ghijklmnopqrstuv'), decode(repeat('ab', 112),
        'hex'), repeat('a', 12), repeat('d', 250)
        FROM generate_series(1, 400) g");
    $o->heals('many keys');
    my $key = $o->f->key($org, 'ORG_READ_ONLY');
    my $mark = $nginx->log_mark;
    $net->slow('512kbit');
    my $begin = time;
    $db->psql("REFRESH MATERIALIZED VIEW apikeys.feed_uuid;
        DELETE FROM apikeys.keys WHERE id = '$key->{id}'");
    my %codes;
    ok(eval { $nginx->wait_for(sub { $codes{ $o->code }++;
        $o->code('/key', $key) == 401 }, 60 * $slow, '') },
        'slow: the local copy is read');
    cmp_ok(time - $begin, '>', 2, 'slow: for longer than a statement may');
    is(join(' ', keys %codes), 200, 'slow: decisions go on');
    unlike(substr($nginx->error_log, $mark), qr/cannot read changes/,
        'slow: and that is no failure');
    $net->slow;
    $o->heals('slow');
}


# the server vanishes, with all its connections, and another one is there: to
# it they are nothing

{
    my $before = $o->made('vanished');
    $net->cut;
    $pg->crash;
    $net->down;
    $net->up;
    $pg->start;
    my $begin = time;
    my $res = $o->change('vanished');
    is($res->code, 503, 'a connection to nobody: 503');
    ok($res->header('retry-after'),
        'a 503 of a vanished server has Retry-After');
    cmp_ok(time - $begin, '<', 2.5 * $slow,
        'a 503 of a vanished server comes in time');
    ok($o->unknown($res),
        'a change on a vanished server has an unknown outcome');
    is($o->made('vanished'), 0,
        'the change on a vanished server was not made');
    is($o->code, 200, 'decisions go on');
    $o->heals('vanished');
}

$nginx->quit;

done_testing;
