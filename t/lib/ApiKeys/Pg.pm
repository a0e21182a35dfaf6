package ApiKeys::Pg;

# A throw-away PostgreSQL cluster, and databases in it.
#
# The shared cluster of a `make test` run is named by APIKEYS_TEST_PG (its
# directory); where that is not set, each test file gets one of its own.
# A test that stops, kills or freezes servers asks for new(own => 1).
#
# A cluster is a child of the test: it ends with the test, also when the
# test dies (parent death signal).  It listens on a unix socket in a short
# directory that unprivileged users reach; fsync is off.

use strict;
use warnings;

use DBI ();
use File::Path qw( remove_tree );
use File::Temp qw( tempdir );
use IO::Socket::INET ();
use POSIX qw( WNOHANG );
use Time::HiRes qw( sleep time );

my $shared;


# new(own => 1, conf => 'lines', tcp => 1, ssl => 1, auth => METHOD,
#     netns => an ApiKeys::Netns that the server is to live in)
sub new {
    my ($class, %opt) = @_;

    return $shared ||= $class->_attach($ENV{APIKEYS_TEST_PG})
        if $ENV{APIKEYS_TEST_PG} && !%opt;

    return $shared ||= $class->_create() if !%opt;
    return $class->_create(%opt);
}


sub _attach {
    my ($class, $dir) = @_;

    return bless { dir => $dir, port => 5432, shared => 1, count => 0 },
        $class;
}


sub _create {
    my ($class, %opt) = @_;

    my $dir = tempdir($opt{prefix} || 'ak-pg-XXXXXX', DIR => '/tmp');
    my $self = bless {
        dir => $dir, owner => $$, count => 0, opt => \%opt,
        port => $opt{tcp} || $opt{ssl} ? _free_port() : 5432,
    }, $class;

    chmod 0755, $dir;
    if ($> == 0) {
        my ($uid, $gid) = (getpwnam 'postgres')[2, 3];
        defined $uid or die "no user postgres: install postgresql\n";
        chown $uid, $gid, $dir;
    }

    _run($self->_as_user(_bin('initdb'), '-D', "$dir/data", '-U', 'postgres',
        '-A', 'trust', '-N', '-E', 'UTF8', '--locale=C.UTF-8'));

    $self->_configure;
    $self->start;
    return $self;
}


sub _configure {
    my ($self) = @_;

    my $opt = $self->{opt};
    my $auth = $opt->{auth} || 'trust';
    my $host = $opt->{ssl} ? 'hostssl' : 'host';

    my $conf = <<"END";
unix_socket_directories = '$self->{dir}'
port = $self->{port}
fsync = off
max_connections = 200
log_line_prefix = '%m [%p] %d '
END
    $conf .= $opt->{tcp} || $opt->{ssl}
        ? "listen_addresses = 'localhost'\n" : "listen_addresses = ''\n";

    if ($opt->{ssl}) {
        $self->_certificates;
        $conf .= "ssl = on\nssl_cert_file = '$self->{dir}/server.crt'\n"
            . "ssl_key_file = '$self->{dir}/server.key'\n";
    }

    # the tests' own way in stays open, whatever the others need
    my $hba = "local all postgres trust\nlocal all all $auth\n"
        . "$host all all all $auth\n"
        . "local replication postgres trust\n"
        . "host replication postgres 127.0.0.1/32 trust\n";

    _append("$self->{dir}/data/postgresql.conf", $conf . ($opt->{conf} || ''));
    _write("$self->{dir}/data/pg_hba.conf", $hba);
}


# a CA and a certificate for localhost
sub _certificates {
    my ($self) = @_;

    my $dir = $self->{dir};

    _run($self->_as_user('openssl', 'req', '-x509', '-newkey', 'rsa:2048',
        '-nodes', '-days', '2', '-subj', '/CN=apikeys test CA',
        '-keyout', "$dir/ca.key", '-out', "$dir/ca.crt"));
    _run($self->_as_user('openssl', 'req', '-newkey', 'rsa:2048', '-nodes',
        '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost',
        '-keyout', "$dir/server.key", '-out', "$dir/server.csr"));
    _run($self->_as_user('openssl', 'x509', '-req', '-days', '2',
        '-in', "$dir/server.csr", '-CA', "$dir/ca.crt", '-CAkey',
        "$dir/ca.key", '-CAcreateserial', '-copy_extensions', 'copy',
        '-out', "$dir/server.crt"));
    chmod 0600, "$dir/server.key";
    chmod 0644, "$dir/ca.crt", "$dir/server.crt";
}


sub start {
    my ($self) = @_;

    $self->_private('start');

    my @command = $self->_as_user(_bin('postgres'), '-D', "$self->{dir}/data");
    unshift @command, $self->{opt}{netns}->enter if $self->{opt}{netns};
    my $pid = fork;
    defined $pid or die "fork: $!\n";

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$self->{dir}/log";
        open STDERR, '>&', \*STDOUT;
        { exec @command };
        POSIX::_exit(127);
    }

    $self->{pid} = $pid;
    $self->wait_ready;
    return $self;
}


# until a connection succeeds
sub wait_ready {
    my ($self, $timeout) = @_;

    my $end = time + ($timeout || 60);

    for ( ;; ) {
        my $dbh = DBI->connect($self->_dsn('postgres'), '', '',
            { PrintError => 0, RaiseError => 0 });
        if ($dbh) {
            $dbh->disconnect;
            return;
        }
        if (waitpid($self->{pid}, WNOHANG) == $self->{pid}) {
            delete $self->{pid};
            die "PostgreSQL does not start:\n" . $self->log_text;
        }
        time < $end or die "PostgreSQL does not answer: $DBI::errstr\n";
        sleep 0.02;
    }
}


# mode: smart, fast (default) or immediate
sub stop {
    my ($self, $mode) = @_;

    $self->_private('stop');

    my $pid = $self->{pid} or return;
    my %signal = (smart => 'TERM', fast => 'INT', immediate => 'QUIT');

    $self->signal_all('CONT');
    kill $signal{ $mode || 'fast' }, $pid;
    waitpid $pid, 0;
    delete $self->{pid};
}


sub restart {
    my ($self, $mode) = @_;

    $self->stop($mode);
    $self->start;
}


# kill -9 of the server and all its processes
sub crash {
    my ($self) = @_;

    $self->_private('crash');

    my $pid = $self->{pid} or return;

    # stopped, it has no new children while the old ones are looked up
    kill 'STOP', $pid;
    my @pids = $self->pids;

    kill 'KILL', $pid, @pids;
    waitpid $pid, 0;
    delete $self->{pid};

    # their shared memory would keep the next one from starting
    my $end = time + 10;
    sleep 0.01 while time < $end && grep { kill 0, $_ } @pids;
}


sub pid {
    my ($self) = @_;

    return $self->{pid} if $self->{pid};

    open my $f, '<', "$self->{dir}/data/postmaster.pid" or return;
    chomp(my $pid = <$f>);
    return $pid;
}


# the children of the postmaster: background processes and backends
sub pids {
    my ($self) = @_;

    my $parent = $self->pid or return;
    my @pids;

    for my $file (glob '/proc/[0-9]*/stat') {
        open my $f, '<', $file or next;
        my $line = <$f>;
        defined $line or next;
        push @pids, $1 if $line =~ /^(\d+) \(.*\) \S (\d+) /s && $2 == $parent;
    }
    return @pids;
}


# STOP freezes the whole server, CONT lets it go on
sub signal_all {
    my ($self, $signal) = @_;

    $self->_private('signal');

    my $pid = $self->pid or return;

    # the parent is stopped first and released last: no new child meanwhile
    kill $signal, $pid if $signal eq 'STOP';
    kill $signal, $self->pids;
    kill $signal, $pid if $signal ne 'STOP';
}


# a copy of this cluster as it is now, which answers reads until promote.
# stream => 1: and follows it; else what is committed here later is lost there
sub standby {
    my ($self, %opt) = @_;

    $self->_private('standby');

    my $dir = tempdir('ak-pg-XXXXXX', DIR => '/tmp');
    my $copy = bless { dir => $dir, owner => $$, count => 0,
        opt => $self->{opt},
        port => $self->{opt}{tcp} ? _free_port() : 5432 }, ref $self;

    chmod 0755, $dir;
    chown((getpwnam 'postgres')[2, 3], $dir) if $> == 0;
    _run($self->_as_user(_bin('pg_basebackup'), '-D', "$dir/data", '-h',
        $self->{dir}, '-p', $self->{port}, '-U', 'postgres', '-c', 'fast',
        $opt{stream} ? '-R' : ()));

    _append("$dir/data/postgresql.conf",
        "unix_socket_directories = '$dir'\nport = $copy->{port}\n");
    _append("$dir/data/standby.signal", '');
    return $copy->start;
}


sub promote {
    my ($self) = @_;

    my $dbh = DBI->connect($self->_dsn('postgres'), '', '',
        { RaiseError => 1, PrintError => 0 });
    $dbh->do('SELECT pg_promote()');
    $dbh->disconnect;
}


# the database of that name, for a copy that came with it
sub named {
    my ($self, $name) = @_;

    return bless { pg => $self, name => $name, owner => $$ },
        'ApiKeys::Pg::Database';
}


sub dir { return $_[0]{dir} }
sub port { return $_[0]{port} }
sub ca { return "$_[0]{dir}/ca.crt" }


sub log_text {
    my ($self) = @_;

    open my $f, '<', "$self->{dir}/log" or return '';
    local $/;
    return scalar <$f>;
}


# conninfo of a database of this cluster, through the unix socket
sub conninfo {
    my ($self, $name, %opt) = @_;

    my $host = $opt{tcp} ? 'localhost' : $self->{dir};
    my $user = $opt{user} || 'postgres';
    return "host=$host port=$self->{port} user=$user dbname=$name";
}


sub _dsn {
    my ($self, $name) = @_;

    (my $info = $self->conninfo($name)) =~ s/ /;/g;
    return "dbi:Pg:$info";
}


# a fresh database; schema => 1: with sql/ applied
sub database {
    my ($self, %opt) = @_;

    my $name = $opt{name} || join '_', 't', $$, ++$self->{count};
    my $dbh = DBI->connect($self->_dsn('postgres'), '', '',
        { RaiseError => 1, PrintError => 0 });
    $dbh->do(qq{CREATE DATABASE "$name"});
    $dbh->disconnect;

    my $db = bless { pg => $self, name => $name, owner => $$ },
        'ApiKeys::Pg::Database';
    if ($opt{schema}) {
        $db->apply_schema;
        $db->grant;
    }
    return $db;
}


sub _private {
    my ($self, $what) = @_;

    $self->{shared}
        and die "$what: this cluster is everybody's, use new(own => 1)\n";
}


# a command as the user that may run PostgreSQL, which root may not; it
# dies with the test
sub _as_user {
    my ($self, @command) = @_;

    my @user = $> != 0 ? () : qw( --reuid=postgres --regid=postgres
                                  --init-groups );
    return ('setpriv', @user, '--pdeathsig', 'QUIT', @command);
}


# a program of the newest PostgreSQL server that is installed
sub _bin {
    my ($name) = @_;

    return "$ENV{APIKEYS_PG_BINDIR}/$name" if $ENV{APIKEYS_PG_BINDIR};

    my ($newest) = sort { $b <=> $a }
        map { m{/postgresql/([\d.]+)/} } glob "/usr/lib/postgresql/*/bin/$name";
    return $newest ? "/usr/lib/postgresql/$newest/bin/$name" : $name;
}


sub _free_port {
    my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')
        or die "no free port: $@\n";
    return $s->sockport;
}


sub _run {
    my (@command) = @_;

    my $pid = open my $out, '-|';
    defined $pid or die "fork: $!\n";
    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        chdir '/';
        { exec @command };
        print "$command[0]: $!\n";
        POSIX::_exit(127);
    }

    local $/;
    my $text = <$out>;
    close $out or die "@command failed:\n" . ($text // '');
    return $text;
}


sub _write {
    my ($file, $text) = @_;

    open my $f, '>', $file or die "$file: $!\n";
    print $f $text;
    close $f or die "$file: $!\n";
}


sub _append {
    my ($file, $text) = @_;

    open my $f, '>>', $file or die "$file: $!\n";
    print $f $text;
    close $f or die "$file: $!\n";
}


sub DESTROY {
    my ($self) = @_;

    return if $self->{shared} || $self->{owner} != $$;

    local ($?, $@, $!);

    if ($self->{pid}) {
        $self->signal_all('CONT');
        kill 'QUIT', $self->{pid};
        waitpid $self->{pid}, 0;
    }
    remove_tree($self->{dir}, { safe => 0 });
}


END { undef $shared }


package ApiKeys::Pg::Database;

use strict;
use warnings;


sub name { return $_[0]{name} }
sub pg { return $_[0]{pg} }


# conninfo for libpq; tcp => 1, user => NAME
sub conninfo {
    my ($self, %opt) = @_;

    return $self->{pg}->conninfo($self->{name}, %opt);
}


# a connection of one's own
sub connect {
    my ($self) = @_;

    return DBI->connect($self->{pg}->_dsn($self->{name}), '', '',
        { RaiseError => 1, PrintError => 0, AutoInactiveDestroy => 1 });
}


# the connection that the test keeps
sub dbh {
    my ($self) = @_;

    return $self->{dbh} if $self->{dbh} && $self->{dbh}->ping;
    return $self->{dbh} = $self->connect;
}


# psql in one session, as an administrator types it; dies on any error
sub psql {
    my ($self, $sql) = @_;

    my $file = File::Temp->new;
    print $file $sql;
    close $file;
    return $self->_psql('-f', $file->filename);
}


sub _psql {
    my ($self, @args) = @_;

    my $text = ApiKeys::Pg::_run('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1',
        '-d', $self->conninfo, @args);
    chomp $text;
    return $text;
}


sub apply_schema {
    my ($self) = @_;

    ApiKeys::Pg::_run(_root() . '/sql/apply.sh', $self->conninfo);
}


# the role that nginx connects as, with no more rights than it needs
sub grant {
    my ($self) = @_;

    $self->psql(<<'END');
SET client_min_messages = error;
DO $$
BEGIN
    CREATE ROLE apikeys_nginx LOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END $$;
END
    $self->_psql('-f', _root() . '/sql/grants.sql');
}


sub _root {
    my ($root) = __FILE__ =~ m{^(.*?)t/lib/ApiKeys/};

    require Cwd;
    return Cwd::abs_path($root eq '' ? '.' : $root);
}


# the whole database as text
sub dump {
    my ($self) = @_;

    return ApiKeys::Pg::_run(ApiKeys::Pg::_bin('pg_dump'), '-d',
        $self->conninfo);
}


sub drop {
    my ($self) = @_;

    delete $self->{dbh};
    my $dbh = DBI->connect($self->{pg}->_dsn('postgres'), '', '',
        { RaiseError => 0, PrintError => 0 }) or return;
    $dbh->do(qq{DROP DATABASE IF EXISTS "$self->{name}" WITH (FORCE)});
    $dbh->disconnect;
}


sub DESTROY {
    my ($self) = @_;

    return if $self->{owner} != $$;

    # a private cluster goes away as a whole, and may be stopped by now
    local ($?, $@, $!);
    $self->drop if $self->{pg} && $self->{pg}{shared};
}


1;
