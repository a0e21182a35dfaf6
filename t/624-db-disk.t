# PostgreSQL runs out of disk: that of its tables, where changes fail, and that
# of its log, where all of it goes down.  Decisions go on, no change is called
# what it is not, and all heals when there is room again.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Outage ();
use ApiKeys::Pg ();
use File::Path qw( make_path remove_tree );
use File::Temp qw( tempdir );
use Test::More;

# in a mount namespace of its own, which takes the small file systems with it
if (!$ENV{APIKEYS_TEST_MOUNT}++) {
    system('unshare --mount true 2>/dev/null') == 0
        or plan skip_all => 'no mount namespaces';
    exec 'unshare', '--mount', $^X, (map { "-I$_" } @INC), $0, @ARGV
        or die "unshare: $!\n";
}

# a small file system that PostgreSQL may write to
sub disk {
    my ($dir, $size) = @_;

    make_path($dir);
    system('mount', '-t', 'tmpfs', '-o', "size=$size,mode=0700,uid="
        . getpwnam('postgres'), 'tmpfs', $dir) == 0 or die "mount: $?\n";
    return $dir;
}

sub fill {
    my ($dir) = @_;

    open my $f, '>', "$dir/filler" or die "filler: $!\n";
    for my $n (65536, 4096, 1) {
        1 while syswrite $f, 'x' x $n;
    }
    close $f;
}

sub clear { unlink "$_[0]/filler" or die "filler: $!\n" }

my $dir = tempdir('ak-disk-XXXXXX', DIR => '/tmp');
chmod 0755, $dir;
my $pg = ApiKeys::Pg->new(own => 1,
    conf => "wal_recycle = off\nmin_wal_size = 32MB\nmax_wal_size = 32MB\n");
my $tables = disk("$dir/tables", '40m');
my $db = $pg->database;
my $name = $db->name;
my $admin = $pg->database;
$admin->psql("CREATE TABLESPACE small LOCATION '$tables'");
$admin->psql(qq{ALTER DATABASE "$name" SET TABLESPACE small});
$db->apply_schema;
$db->grant;

my $o = ApiKeys::Outage->new(db => $db);
my $nginx = $o->nginx;
my ($n, %codes) = (0);

# one more change, each with a name of its own; answered with what?
sub change {
    my $name = sprintf 'change %d %s', ++$n, 'x' x 200;
    my $res = $o->change($name);
    my $said = $res->code != 503 ? $res->code
        : $o->unknown($res) ? 'unknown' : 'failed';
    push @{ $codes{$said} }, $name;
    return $said;
}


# no room for tables

fill($tables);
my $row = 0;
$nginx->wait_for(sub { $row = change() eq 'failed' ? $row + 1 : 0;
    $row == 10 }, 60, 'changes go on without room');
like($nginx->error_log, qr/53100/, 'no room: the log says so');
$o->outage('no room');
is($o->operator('GET', "$o->{org}{path}/apiKeys")->code, 200,
    'no room: what is there can be read');
clear($tables);
$o->heals('no room');


# none for the log: the server ends

$pg->stop('fast');
my $log = disk("$dir/log", '64m');
my $wal = $pg->dir . '/data/pg_wal';
system('cp', '-a', "$wal/.", $log) == 0 && system('rm', '-r', $wal) == 0
    && symlink($log, $wal) or die "pg_wal: $!\n";
$pg->start;
delete $db->{dbh};
$o->heals('a restart');

fill($log);
my $down = 0;
$nginx->wait_for(sub {
    change() ne '200' ? ++$down > 5 : eval {
        $admin->psql('SELECT pg_switch_wal()'); 0 } }, 60,
    'the server goes on without a log');
$o->outage('no log');
$pg->stop('immediate');
like($pg->log_text, qr/PANIC:.*No space left/, 'the server has ended');
clear($log);
$pg->start;
delete $db->{dbh};
$o->heals('no log');


# what was said of each change

my %made = map { $_ => 1 } @{ $db->dbh->selectcol_arrayref(
    q{SELECT after ->> 'desc' FROM apikeys.audit WHERE after ->> 'desc' <> ''}) };
is_deeply([ grep { !/^(?:200|unknown|failed)$/ } keys %codes ], [],
    'no other answer') or diag join ' ', keys %codes;
is(scalar(grep { !$made{$_} } @{ $codes{200} }), 0,
    'changes that were answered with 200 were made');
is(scalar(grep { $made{$_} } @{ $codes{failed} }), 0,
    'changes that were answered with an error were not made');
cmp_ok(@{ $codes{$_} || [] }, '>', 2, "there were some of both: $_")
    for 200, 'failed';
diag(join ', ', map { @{ $codes{$_} } . " $_" } sort keys %codes);

$nginx->quit;
$pg->stop('immediate');

END {
    if ($dir) {
        system "umount -l $dir/* 2>/dev/null";
        remove_tree($dir);
    }
}

done_testing;
