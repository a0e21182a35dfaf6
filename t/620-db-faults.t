# The database down, killed, frozen, out of connections, read-only, failed
# over, upgraded too far, and silent at the worst moment: decisions go on for
# apikeys_stale and no longer, the API says 503 or that it does not know, and
# all heals by itself, without a storm of logins.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use ApiKeys::Pg ();
use IO::Select ();
use IO::Socket::UNIX ();
use MIME::Base64 qw( encode_base64 );
use POSIX ();
use Test::More;
use Time::HiRes qw( sleep time );

my $slow = $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND} ? 10 : 1;

my $server = <<'END';
        location /key { apikeys_auth basic; empty_gif; }
        location /brief {
            apikeys_auth basic; apikeys_stale 3s; empty_gif;
        }
        location /always {
            apikeys_auth basic; apikeys_stale 3s expired=allow; empty_gif;
        }
END

my $http = 'apikeys_sync poll=200ms; apikeys_wait 0;';
my $limits = 'connections=2 connect_timeout=1s timeout=2s';

my $pg = ApiKeys::Pg->new(own => 1, conf => "log_connections = on\n");
my $db = $pg->database(schema => 1);
my %node = (db => $db, workers => 2, server => $server, http => $http,
    database => $limits);
my $f = ApiKeys::Fixture->new(%node);
my $nginx = $f->nginx;
my $org = $f->org;

sub code {
    my ($key, $path, $node) = @_;

    my $client = ApiKeys::Client->new(port => ($node || $nginx)->port,
        timeout => 10 * $slow);
    my $res = $client->plain('GET', $path || '/key', undef, headers => {
        Authorization => 'Basic ' . encode_base64($key->{secret}, '') });
    $client->close;
    return $res ? $res->code : 0;
}

sub rename_key {
    my ($name) = @_;

    return $f->client(token => $f->token, timeout => 10 * $slow)->request(
        'PATCH', "$org->{path}/apiKeys/$org->{key}{id}", { desc => $name });
}

sub unknown { return $_[0]->body =~ /the outcome is unknown/ }

# has there been a change to that description?
sub made {
    my ($name) = @_;

    return $db->dbh->selectrow_array("SELECT count(*) FROM apikeys.audit a
        WHERE to_jsonb(a)::text LIKE '%' || ? || '%'", undef, $name);
}

sub heals {
    my ($name) = @_;

    my $ok = eval { $nginx->wait_for(sub { rename_key($name)->code == 200 },
        30 * $slow, $name) };
    ok($ok, "$name: the API heals");

    my $key = eval { $f->key($org, 'ORG_READ_ONLY') } or return fail($name);
    $db->psql("DELETE FROM apikeys.keys WHERE id = '$key->{id}'");
    ok(eval { $nginx->wait_for(sub { code($key) == 401 }, 30 * $slow, '') },
        "$name: so does the feed");
}

sub logins {
    my ($cluster) = @_;

    my $n = () = ($cluster || $pg)->log_text
        =~ /connection authorized: user=apikeys_nginx/g;
    return $n;
}

# while something is wrong: 20 decisions, and one request of the API
sub outage {
    my ($name, $known) = @_;

    my %codes;
    $codes{ code($known) }++ for 1 .. 20;
    is(join(' ', %codes), '200 20', "$name: decisions go on");
    is(code({ secret => 'aaaaaaaa:x' }), 401, "$name: unknown is 401");

    my $begin = time;
    my $res = rename_key("$name: an outage");
    is($res->code, 503, "$name: the API answers 503");
    ok($res->header('retry-after'), "$name: and when to try again");
    cmp_ok(time - $begin, '<', 2.5 * $slow, "$name: in time");
    return $res;
}

my $key = $f->key($org, 'ORG_READ_ONLY');


# stopped; and beyond apikeys_stale

$pg->stop('fast');
my $stopped = time;
outage('stopped', $key);
is(code($key, '/brief'), 200, 'fresh enough for 3 s') if time < $stopped + 2;

my %seen;
while (time < $stopped + 9 * $slow) {
    my $code = code($key, '/brief');
    $seen{ time > $stopped + 3.2 ? 'after' : 'before' }{$code}++;
    last if time > $stopped + 3.5;
    sleep 0.02;
}
is(join(' ', keys %{ $seen{after} }), '503', 'apikeys_stale 3s: 503 after it');
is(code($key, '/always'), 200, 'expired=allow: let in');
is(code($key), 200, 'apikeys_stale 10m: let in');

my $mark = $nginx->log_mark;
$pg->start;
heals('stopped');
ok(eval { $nginx->wait_for(sub { code($key, '/brief') == 200 }, 10 * $slow,
    '') }, 'the local copy is fresh again after a stop');


# killed, restarted while it is asked

$pg->crash;
outage('killed -9', $key);
$pg->start;
heals('killed -9');


# frozen: nothing is refused, nothing is answered

$pg->signal_all('STOP');
my $frozen = outage('frozen', $key);
$pg->signal_all('CONT');
heals('frozen');
ok(unknown($frozen) || !made('frozen: an outage'),
    'frozen: a change that came true was not called a failure');


# gone for some time: logins are few, then and afterwards

my $before = logins();
my $attempts = () = $nginx->error_log =~ /cannot connect to database/g;
$pg->stop('immediate');
my $end = time + 4;
while (time < $end) {
    rename_key('down');
    sleep 0.01;
}
my $tried = (() = $nginx->error_log =~ /cannot connect to database/g)
    - $attempts;
cmp_ok($tried, '<=', 60, 'down for 4 s and asked all the time: few logins');
diag("$tried attempts of 2 workers in 4 s");
$pg->start;
heals('down');
cmp_ok(logins() - $before, '<=', 2 * (2 + 1) + 4,
    'few connections are opened when the database is back');


# out of connections

{
    $db->psql('ALTER ROLE apikeys_nginx CONNECTION LIMIT 0');
    $db->psql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE usename = 'apikeys_nginx'});
    $nginx->wait_for(sub { rename_key('full')->code == 503 }, 10 * $slow,
        'not full');
    outage('out of connections', $key);
    $db->psql('ALTER ROLE apikeys_nginx CONNECTION LIMIT -1');
    heals('out of connections');
}


# read-only: reads work, which is no proof of anything

{
    my $name = $db->name;
    $db->psql(qq{ALTER DATABASE "$name" SET default_transaction_read_only
        = on});
    $db->psql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE usename = 'apikeys_nginx'});
    my $since = time;
    $nginx->wait_for(sub { rename_key('read only')->code == 503 },
        10 * $slow, 'not read only');
    outage('read-only', $key);
    ok($nginx->wait_for(sub { code($key, '/brief') == 503 }, 10 * $slow,
        'still fresh'), 'read-only: no heartbeat, no freshness');
    $db->psql(qq{SET default_transaction_read_only = off;
        ALTER DATABASE "$name" RESET default_transaction_read_only});
    $db->psql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE usename = 'apikeys_nginx'});
    delete($db->{dbh})->disconnect if $db->{dbh};
    heals('read-only');
}


# a schema that is too new

{
    my $version = $db->psql('SELECT max(version) FROM apikeys.schema_version');
    $db->psql("INSERT INTO apikeys.schema_version (version, compatible_from)
        VALUES ($version + 1, $version + 1)");
    $db->psql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE usename = 'apikeys_nginx'});
    ok(eval { $nginx->wait_log(
        qr/schema version is \d+, .*upgrade the module/, 10 * $slow, $mark) },
        'a schema too new is named');
    is(code($key), 200, 'decisions continue beside a schema that is too new');
    $db->psql("DELETE FROM apikeys.schema_version WHERE version > $version");
    heals('schema');
}


# the answer to a commit is lost: a socket between the two swallows it

sub proxy {
    my ($target) = @_;

    my $dir = File::Temp::tempdir('ak-proxy-XXXXXX', DIR => '/tmp',
        CLEANUP => 1);
    chmod 0755, $dir;
    my $listen = IO::Socket::UNIX->new(Listen => 20,
        Local => "$dir/.s.PGSQL.5432") or die "listen: $!\n";
    chmod 0777, "$dir/.s.PGSQL.5432";

    my $pid = fork;
    defined $pid or die "fork: $!\n";
    return ($dir, $pid) if $pid;

    my ($select, %other, %client) = (IO::Select->new($listen));
    my ($swallow, $victim) = (0, '');
    local $SIG{USR1} = sub { $swallow = 1 };
    local $SIG{USR2} = sub { $swallow = 0 };
    local $SIG{TERM} = sub { POSIX::_exit(0) };

    for ( ;; ) {
        for my $s ($select->can_read(1)) {
            if ($s == $listen) {
                my $in = $listen->accept or next;
                my $out = IO::Socket::UNIX->new(Peer => $target);
                $out or do { close $in; next };
                @other{ $in, $out } = ($out, $in);
                $client{$in} = 1;
                $select->add($in, $out);
                next;
            }
            my $to = $other{$s} or next;
            my $n = sysread $s, my $chunk, 65536;

            # a change goes by: its answer does not
            if ($swallow == 1 && $client{$s} && $n
                && $chunk =~ /apikeys_[a-z_]*update|update_key/)
            {
                ($swallow, $victim) = (2, "$to");
            }
            my $cut = $swallow == 2 && $s eq $victim && $n
                && $chunk =~ /C\0\0\0.SELECT 1\0Z\0\0\0\x05I/s;
            if (!$n || $cut) {
                $select->remove($s, $to);
                close $_ for $s, $to;
                delete @other{ $s, $to };
                $swallow = 3 if $cut;
                next;
            }
            syswrite $to, $chunk;
        }
    }
}

my ($dir, $proxy) = proxy($pg->dir . '/.s.PGSQL.5432');
my $info = $db->conninfo(user => 'apikeys_nginx') =~ s/host=\S+/host=$dir/r;

{
    my $cut = $f->node(%node, workers => 1, conninfo => $info);
    $cut->start;
    $f->wait_loaded($cut);
    my $client = $f->client(token => $f->token, nginx => $cut);

    my ($unknown, $committed, $audits) = (0, 0, 0);
    for my $n (1 .. 5) {
        $cut->wait_for(sub { $client->request('PATCH',
            "$org->{path}/apiKeys/$org->{key}{id}", { desc => 'warm' })
            ->code == 200 }, 10 * $slow, 'the proxy does not work');
        my $old = $db->psql('SELECT count(*) FROM apikeys.audit');
        kill 'USR1', $proxy;
        sleep 0.05;
        my $res = $client->request('PATCH',
            "$org->{path}/apiKeys/$org->{key}{id}", { desc => "lost $n" });
        kill 'USR2', $proxy;
        $unknown++ if $res->code == 503 && unknown($res);
        $committed++ if $db->psql("SELECT descr FROM apikeys.keys
            WHERE id = '$org->{key}{id}'") eq "lost $n";
        $audits += $db->psql('SELECT count(*) FROM apikeys.audit') - $old;
    }
    is($committed, 5, 'five changes whose answers were lost');
    is($unknown, 5,
        'five changes whose answers were lost get "outcome unknown"');
    is($audits, 5, 'five changes whose answers were lost were made once each');
    $cut->quit;
}
kill 'TERM', $proxy;
waitpid $proxy, 0;


# every change has its row in the audit

is($db->psql(<<'END'), '0', 'no change without its audit row');
SELECT count(*) FROM apikeys.keys k
 WHERE NOT EXISTS (SELECT FROM apikeys.audit a
                    WHERE to_jsonb(a)::text LIKE '%' || k.id || '%')
END


# failed over to a standby without the last commits

my $standby = $pg->standby;
my $pair = join ',', $pg->dir, $standby->dir;
$info = $db->conninfo(user => 'apikeys_nginx') =~ s/host=\S+/host=$pair/r;
$nginx->quit;
$f = ApiKeys::Fixture->new(%node, conninfo => $info,
    master_key => $f->{master_key});
$nginx = $f->nginx;
$org->{client} = $f->client(key => $org->{key}{secret});

my $lost = $f->key($org, 'ORG_READ_ONLY');
$db->psql("DELETE FROM apikeys.keys WHERE id = '$key->{id}'");
$nginx->wait_for(sub { code($key) == 401 }, 10 * $slow, 'not deleted');

$standby->promote;
$pg->crash;
my $other = $standby->named($db->name);
$nginx->wait_for(sub { code($lost) == 401 }, 30 * $slow,
    'a key that was lost with the old primary is still let in');
is(code($lost), 401, 'a lost key is gone after the failover');
is(code($key), 200, 'a deletion that was lost is undone');
$other->psql("DELETE FROM apikeys.keys WHERE id = '$key->{id}'");
ok(eval { $nginx->wait_for(sub { code($key) == 401 }, 10 * $slow, '') },
    'a deletion in the promoted database is followed');

# the old one comes back and is left alone
$pg->start;
$db->psql("DELETE FROM apikeys.keys WHERE id = '$org->{key}{id}'");
sleep 1;
is(code($org->{key}), 200, 'an old primary that comes back is not believed');
$nginx->quit;


# down at the start

my $late = ApiKeys::Fixture->new(%node, db => $other,
    conninfo => $other->conninfo(user => 'apikeys_nginx'),
    master_key => $f->{master_key}, start => 0);
$standby->stop('fast');
$nginx = $late->nginx;
$nginx->start;
is(code($org->{key}), 503, 'down at the start: 503, not 401');
is(code({ secret => 'aaaaaaaa:x' }), 503, 'for an unknown key, too');
$standby->start;
ok(eval { $nginx->wait_for(sub { code($org->{key}) == 200 }, 30 * $slow, '') },
    'a key is admitted once the standby has started');

$_->quit for $nginx;

done_testing;
