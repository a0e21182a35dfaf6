# Committed, but not answered: PostgreSQL waits there for a standby that is not
# there, and in that moment its backend is killed or ended, or the server is
# killed or stopped, or nginx gives up.  The change was made, and is neither
# called a success nor a failure; who repeats it is told of it as it is.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Outage ();
use ApiKeys::Pg ();
use DBD::Pg qw( :async );
use Test::More;

my $slow = $ApiKeys::Outage::slow;
my $pg = ApiKeys::Pg->new(own => 1);
my $db = $pg->database(schema => 1);

# it would end that wait by the time-out of the statement, and call it success
my $o = ApiKeys::Outage->new(db => $db,
    conninfo => $db->conninfo(user => 'apikeys_nginx')
        . q{ options='-c statement_timeout=30s'},
    database => 'connections=2 connect_timeout=1s timeout=3s');
my ($f, $nginx, $org) = ($o->f, $o->nginx, $o->org);

# commits wait, or do not; a server that is down reads it when it starts
sub waits {
    my ($standby) = @_;

    my $file = $pg->dir . '/data/standby.conf';
    open my $out, '>', $file or die "$file: $!\n";
    print $out "synchronous_standby_names = '$standby'\n";
    close $out;
    kill 'HUP', $pg->pid if $pg->pid && kill 0, $pg->pid;
}

waits('');
open my $conf, '>>', $pg->dir . '/data/postgresql.conf' or die "conf: $!\n";
print $conf "include = 'standby.conf'\n";
close $conf;

my $admin = $db->connect;
$admin->do('CREATE TABLE public.probe (a int)');

# the backend that has committed the call and waits
sub committed {
    my ($function) = @_;

    return eval { $nginx->wait_for(sub { $admin->selectrow_array(
        q{SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'
             AND query LIKE ?}, undef, "%$function(%") }, 10 * $slow, '') };
}

# until commits wait indeed, as a probe's does: a process of the server says
# when, some time after it has read the setting
sub hold {
    my $probe = $db->connect;

    waits('nobody');
    return eval { $nginx->wait_for(sub {
        $probe->do('INSERT INTO public.probe VALUES (1)',
            { pg_async => PG_ASYNC });
        my $held;
        1 until $held = $admin->selectrow_array(q{SELECT true
                FROM pg_stat_activity WHERE wait_event = 'SyncRep'
                 AND query LIKE '%probe%'}) or $probe->pg_ready;
        $probe->pg_result if !$held;
        $held ? $probe : 0;
    }, 10 * $slow, '') };
}

sub audits { return $db->psql('SELECT count(*) FROM apikeys.audit') }

my %key = map { $_ => $f->key($org, 'ORG_MEMBER')->{id} } qw( a b c d e );
my $keys = "$org->{path}/apiKeys";

sub lost {
    my ($title, $how, $function, $again, $method, $path, $body) = @_;

    my $before = audits();
    my $probe = hold();
    ok($probe, "$title: commits wait") or return;
    my $client = $f->client(token => $f->token, timeout => 20 * $slow);
    $client->send($client->format($method, $path, $body, headers =>
        { Authorization => 'Bearer ' . $f->token }));
    my $pid = committed($function);
    ok($pid, "$title: committed, not answered") or return;
    $how->($pid);
    my $res = $client->read;
    waits('');
    is($res->code, 503, "$title: 503");
    ok($res->header('retry-after'), "$title: and when to try again");
    ok($o->unknown($res), "$title: the outcome is unknown")
        or diag $res->body;

    $pg->wait_ready;
    $admin = $db->connect;
    delete $db->{dbh};
    is(audits() - $before, 1, "$title: the change was made");
    ok(eval { $nginx->wait_for(sub {
        ($res = $o->operator($method, $path, $body))->code != 503 },
        30 * $slow, '') }, "$title: again");
    is($res->code, $again, "$title: is answered as what it is")
        or diag $res->body;
    is(audits() - $before, 1, "$title: the retry adds no second audit row");
}

sub patch { return (200, 'PATCH', "$keys/$key{ $_[0] }", { desc => 'lost' }) }

{
    # the others end with it, and DBI says so
    local $SIG{__WARN__} = sub { };
    lost('a backend is killed', sub {
        kill 'KILL', $_[0];
        $nginx->wait_for(sub { $pg->log_text =~ /reinitializing/ }, 30, '');
    }, 'update_key', patch('a'));
    lost('the server is killed', sub { $pg->crash; waits(''); $pg->start },
        'update_key', patch('b'));
    lost('the server is stopped', sub { $pg->stop('fast'); waits(''); $pg->start },
        'delete_key', 400, 'DELETE', "$keys/$key{c}");
}
lost('a backend is ended',
    sub { $admin->do('SELECT pg_terminate_backend(?)', undef, $_[0]) },
    'add_access_entries', 409, 'POST', "$keys/$key{d}/accessList",
    [ { ipAddress => '192.0.2.7' } ]);

# nobody takes anything from the backend: nginx gives up
lost('a time-out', sub { }, 'update_key', patch('e'));

$nginx->quit;

done_testing;
