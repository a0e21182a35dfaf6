# No lock on the way in: while a worker is held with the zone's lock in its
# hands, the other one decides as ever; and deciding takes nothing of the zone.
# It is held in a trace, for one that a signal stopped would be killed.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Access ();
use POSIX qw( WNOHANG WUNTRACED );
use Test::More;

my $t = ApiKeys::Access->new(zone => '8m', workers => 2,
    http => 'apikeys_sync poll=100ms; apikeys_wait 0;',
    server => 'location = /status { apikeys_status; }');
my $nginx = $t->nginx;
plan skip_all => $nginx->untraced if $nginx->untraced;

my $org = $t->org;
my $project = $t->project($org);
$t->serve(join '', map { my $scheme = $_; my $name = s/\W.*//r; <<"END" }
    location /$name { apikeys_auth $scheme; empty_gif;
        apikeys_require org=$org->{id} project=$project->{id}
            role=GROUP_READ_ONLY; }
END
    qw( digest digest_sha256 basic header=X-Api-Key ));

my $key = $t->allow($org, $t->key($org, 'ORG_MEMBER'), '127.0.0.0/8',
    map { "10.$_.0.0/16" } 1 .. 50);
my $away = $t->allow($org, $t->key($org, 'ORG_MEMBER'), '10.0.0.0/8');
my $poor = $t->key($org, 'ORG_MEMBER');
$t->assign($org, $project, $_, 'GROUP_READ_ONLY') for $key, $away;
$t->settle;

my @schemes = ([ digest => 'digest' ], [ digest_sha256 => 'sha256' ],
    [ basic => 'basic' ], [ header => 'X-Api-Key' ]);

# each kind of decision, by each scheme
sub decide {
    my ($name) = @_;

    my %seen;
    for (@schemes) {
        my ($uri, $scheme) = @$_;
        for my $case ([ allow => $key ], [ address => $away ],
            [ role => $poor ], [ unknown_key => 'aaaaaaaa:x' ],
            [ wrong_secret => "$key->{publicKey}:x" ])
        {
            my $res = eval { $t->request("/$uri", $case->[1],
                scheme => $scheme) };
            $seen{ "$case->[0]: "
                . ($res ? $res->{log}{decision} : 'no answer') }++;
            $res or last;
        }
    }
    is_deeply(\%seen, { map { ("$_: $_" => 4) }
        qw( allow address role unknown_key wrong_secret ) }, $name);
}


# nothing of the zone is taken, once there is nothing to be freed

my $zone;
$nginx->wait_for(sub {
    $zone = $t->status->{zone};
    return $zone->{retired_bytes} == 0;
}, 20, 'something stays retired');
decide("decisions, $_") for 1 .. 3;
is_deeply($t->status->{zone}, $zone, 'take no memory of the zone');


# a writer that does not go on

my $changes;

sub change {
    $t->db->dbh->do('UPDATE apikeys.keys SET descr = ? WHERE id = ?',
        undef, 'change ' . ++$changes, $away->{id});
}

# the new workers', of which one follows the database
my $writer;
$nginx->wait_for(sub {
    $writer = $t->status->{leader_pid};
    return grep { $_ == ($writer // 0) } $nginx->workers;
}, 20, 'nobody follows the database');
my $it = $nginx->kill_at($writer, 'ngx_apikeys_store_publish_key_locked', 0,
    10000, 0);
$nginx->wait_for(sub { change(); waitpid $it, WNOHANG | WUNTRACED }, 20,
    'the writer is not held');
is($?, 0, 'a worker is held inside of a publication');

# the other worker would follow the database within a second, but for the lock
my $other;
$nginx->wait_for(sub {
    change();
    $other = $t->status;
    return $other->{feed}{behind} && $other->{feed}{lag_milliseconds} > 3000;
}, 20, 'changes do arrive');
isnt($other->{pid}, $writer, 'the other one answers');
decide("decisions under the lock, $_") for 1 .. 3;
$other = $t->status;
is("$other->{feed}{behind} $other->{sync}{leader}", '1 0',
    '/status while the zone is locked: behind = 1, leader = 0');

ok((grep { $_ == $writer } $nginx->workers),
    'a worker that is traced is not killed');

kill 'CONT', $it;
$nginx->wait_for(sub { !$t->status->{feed}{behind} }, 20,
    'it does not go on');
decide('decisions after it');

done_testing;

END { local $?; kill 'KILL', $it if $it }
