package Bench::Nodes;

# N nodes that follow one database, and changes of it: nginx with one worker
# each, or followers of build/bench/nodes, which bench/nodes.c describes.

use strict;
use warnings;

use IPC::Open2 qw( open2 );
use JSON::PP ();
use List::Util qw( sum0 );
use POSIX ();

use Bench::Data ();
use Bench::Server ();

# nodes that are asked about a key after each change; others only follow
my $PROBES = 5;


# new(dir =>, root =>, load => [module], keys => number)
sub new {
    my ($class, %opt) = @_;

    my $data = Bench::Data->new(dir => $opt{dir}, root => $opt{root},
        conf => "fsync = on\nmax_connections = 1300\nautovacuum = on\n");

    $data->grow($opt{keys});
    return bless { %opt, data => $data, next => 100 }, $class;
}


sub db { return $_[0]{data}->db }


# the instances of ended nodes would be waited for
sub reset {
    my ($self) = @_;

    $self->stop;
    $self->db->psql('DELETE FROM apikeys.instances;'
        . ' TRUNCATE apikeys.changes; CHECKPOINT;');
}


# N nodes of a kind: nginx, follower or bare
sub start {
    my ($self, $kind, $n) = @_;

    my @option = $kind eq 'bare' ? ('-b') : ();

    $self->reset;
    $self->{n} = $n;

    if ($kind eq 'nginx') {
        $self->{servers} = [ map { $self->_nginx($_) } 1 .. $n ];
        push @option, map { ('-p', $_->port('header')) }
            grep { defined } @{ $self->{servers} }[0 .. $PROBES - 1];

    } else {
        push @option, '-n', $n;
    }

    $self->{pid} = open2($self->{out}, $self->{in},
        "$self->{root}/build/bench/nodes", @option, $self->db->conninfo);

    my $ready = readline $self->{out};
    ($self->{clients}) = defined $ready && $ready =~ /^ready (.*)/
        or die "nodes does not start\n";

    # all have sent a heartbeat
    $self->_wait_for(sub {
        $self->db->psql("SELECT count(*) FROM apikeys.instances
            WHERE snapshot IS NOT NULL") >= $n;
    }) if $kind ne 'bare';
}


sub _nginx {
    my ($self, $number) = @_;

    my $conninfo = $self->{data}->conninfo;

    return Bench::Server->new(name => "node$number", dir => $self->{dir},
        load => $self->{load}, http => <<"END",
    apikeys_database "$conninfo";
    apikeys_zone zone=apikeys:12m;
    apikeys_master_key_file $self->{data}{file};
END
        locations => { header => 'apikeys_auth header=X-Api-Key;' });
}


sub _wait_for {
    my ($self, $condition) = @_;

    for (1 .. 1200) {
        return if $condition->();
        select undef, undef, undef, 0.1;
    }
    die "the nodes do not follow\n";
}


# run(rate =>, changes =>, wait => 0 | 1): what it has cost
sub run {
    my ($self, %opt) = @_;

    my $before = $self->_figures;

    print { $self->{in} } join(' ', 'run', $opt{rate}, $opt{changes},
        $self->{next}, $opt{wait}), "\n";
    $self->{next} += $opt{changes};

    my $line = readline $self->{out};
    defined $line or die "nodes has ended\n";

    my $result = JSON::PP::decode_json($line);
    my $after = $self->_figures;

    $result->{$_} = $after->{$_} - $before->{$_}
        for qw( cpu clients wal xid );
    $result->{connections} = $after->{connections};
    return $result;
}


# of the server, in total
sub _figures {
    my ($self) = @_;

    my $pg = $self->db->pg;
    my %client = map { $_ => 1 } split / /, $self->{clients};
    my %cpu = map { $_ => _cpu($_) } $pg->pid, $pg->pids;

    my ($wal, $xid, $connections) = split /\|/, $self->db->psql(
        "SELECT pg_current_wal_insert_lsn() - '0/0',
                pg_snapshot_xmax(pg_current_snapshot()),
                (SELECT count(*) FROM pg_stat_activity
                  WHERE usename = 'apikeys_nginx')");

    return { cpu => sum0(values %cpu), wal => $wal, xid => $xid,
        clients => sum0(map { $cpu{$_} } grep { $client{$_} } keys %cpu),
        connections => $connections };
}


# seconds
sub _cpu {
    my ($pid) = @_;

    open my $f, '<', "/proc/$pid/schedstat" or return 0;
    my ($ns) = split / /, readline $f;
    return $ns / 1e9;
}


sub stop {
    my ($self) = @_;

    if (my $pid = delete $self->{pid}) {
        close $self->{in};
        waitpid $pid, 0;
    }

    delete $self->{servers};
    return;
}


# The statements of one node of each kind, from the server's log, while there
# are changes: texts with their parameters, and how often each was executed.
# Times, ids and lists are told by their form alone.
sub statements {
    my ($self, $kind, %opt) = @_;

    my $pg = $self->db->pg;

    $self->db->psql("ALTER SYSTEM SET log_statement = 'all'");
    $self->db->psql('SELECT pg_reload_conf()');
    $self->start($kind, 1);

    my $from = length $pg->log_text;
    $self->run(%opt, rate => 10, changes => 100);
    my $log = substr $pg->log_text, $from;

    $self->stop;
    $self->db->psql('ALTER SYSTEM RESET log_statement');
    $self->db->psql('SELECT pg_reload_conf()');

    my (%count, $text);
    for my $line (split /\n/, $log) {
        if ($line =~ /execute (apikeys_sync_\w+): (.*)/) {
            $text = "$1: $2";

        } elsif ($text && $line =~ /DETAIL: +parameters: (.*)/) {
            my $parameters = $1;
            $parameters =~ s/'[^']*:\d*[^']*'/'NAME OR SNAPSHOT'/g;
            $parameters =~ s/'[^']*[0-9a-f]{8}-[^']*'/'UUID OR IDENTITY'/g;
            $parameters =~ s/'\{[0-9a-f]+\}'/'LINES'/g;
            $count{"$text; $parameters"}++;
            undef $text;
        }
    }
    return \%count;
}


sub DESTROY {
    my ($self) = @_;

    local ($?, $@, $!);
    $self->stop;
}


1;
