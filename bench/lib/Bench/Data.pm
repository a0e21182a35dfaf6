package Bench::Data;

# A database of any number of keys, whose secrets are sealed as the module
# seals them: build/bench/keys writes the rows.  The first keys are made for
# the rows of the table, the others have ten IPv4 entries and one project.

use strict;
use warnings;

use ApiKeys::Pg ();

our $ORG = '5f0000000000000000000001';
our $PROJECT = '5f0000000000000000000002';

# number of the key
our %KEY = (list200 => 0, list1 => 1, list10000 => 2, bare => 3, owner => 4);
our $SPECIAL = 5;


# new(dir => .., root => .., conf => lines of postgresql.conf)
sub new {
    my ($class, %opt) = @_;

    my $self = bless { %opt, keys => 0 }, $class;
    my $conf = "shared_buffers = 512MB\nmax_wal_size = 8GB\n"
        . "maintenance_work_mem = 256MB\nautovacuum = off\n"
        . "wal_level = minimal\nmax_wal_senders = 0\n"
        . ($self->{conf} || '');

    $self->{pg} = ApiKeys::Pg->new(own => 1, prefix => 'ak-bench-XXXXXX',
        conf => $conf);
    $self->{db} = $self->{pg}->database(schema => 1);
    $self->{file} = "$self->{dir}/master.key";

    system("umask 077; openssl rand -base64 32 > $self->{file}") == 0
        or die "openssl failed\n";

    $self->{db}->psql(<<"END");
INSERT INTO apikeys.orgs (id, name) VALUES ('$ORG', 'bench');
INSERT INTO apikeys.projects (id, org_id, name)
    VALUES ('$PROJECT', '$ORG', 'bench');
END
    $self->grow($SPECIAL);
    $self->_special;
    return $self;
}


sub db { return $_[0]{db} }

sub count { return $_[0]{keys} }

sub conninfo { return $_[0]{db}->conninfo(user => 'apikeys_nginx') }


# until there are so many keys.  The triggers do not run: every key would be
# in the feed, and no one is following it yet
sub grow {
    my ($self, $n) = @_;

    my $first = $self->{keys};
    my $count = $n - $first;
    my $tables = join ' ', map {
        "ALTER TABLE apikeys.$_ %s TRIGGER ALL;"
    } qw( keys key_projects access_list );

    return if $count <= 0;

    $self->{db}->psql($tables =~ s/%s/DISABLE/gr);
    $self->_copy($first, $count);
    $self->_lists($first) if $first >= $SPECIAL;
    $self->{db}->psql($tables =~ s/%s/ENABLE/gr . " ANALYZE;"
        . " INSERT INTO apikeys.master_keys (line) SELECT DISTINCT line"
        . " FROM apikeys.keys ON CONFLICT DO NOTHING;"
        . " SELECT setval('apikeys.version_seq', $n + 1);");
    $self->{keys} = $n;
}


sub _copy {
    my ($self, $first, $count) = @_;

    my $conninfo = $self->{db}->conninfo;
    my $copy = 'COPY apikeys.keys (id, org_id, version, public_key, secret, '
        . 'redacted, descr) FROM STDIN';

    system("$self->{root}/build/bench/keys $self->{file} $first $count $ORG"
        . " | psql -Xq -v ON_ERROR_STOP=1 -d '$conninfo' -c '$copy'") == 0
        or die "cannot make keys\n";
}


sub _lists {
    my ($self, $first) = @_;

    my $from = _id($first);

    # nine blocks in distinct parts of 10.0.0.0/8, and where clients are
    $self->{db}->psql(<<"END");
INSERT INTO apikeys.key_projects (key_id, project_id, org_id, roles)
    SELECT id, '$PROJECT', '$ORG', '{GROUP_READ_ONLY}'
      FROM apikeys.keys WHERE id >= '$from';
INSERT INTO apikeys.access_list (key_id, org_id, cidr)
    SELECT id, '$ORG', CASE n WHEN 9 THEN cidr '127.0.0.0/8'
                      ELSE set_masklen(cidr '10.0.0.0/8'
                           + n * 1048576
                           + (('x' || substr(md5(id), 1 + n, 3))::bit(12)::int
                              * 256), 24)::cidr END
      FROM apikeys.keys, generate_series(0, 9) n
     WHERE id >= '$from' ORDER BY id;
END
}


# the keys that the rows of the table ask for
sub _special {
    my ($self) = @_;

    my %list = (list200 => 199, list1 => 0, list10000 => 9999);

    for my $name (sort keys %list) {
        my $id = _id($KEY{$name});
        $self->{db}->psql(<<"END");
INSERT INTO apikeys.key_projects (key_id, project_id, org_id, roles)
    VALUES ('$id', '$PROJECT', '$ORG', '{GROUP_READ_ONLY}');
INSERT INTO apikeys.access_list (key_id, org_id, cidr)
    SELECT '$id', '$ORG', ('10.0.0.0'::inet + n * 1664)::cidr
      FROM generate_series(1, $list{$name}) n;
INSERT INTO apikeys.access_list (key_id, org_id, cidr)
    VALUES ('$id', '$ORG', '127.0.0.1/32');
END
    }

    $self->{db}->psql("UPDATE apikeys.keys SET roles = '{ORG_OWNER}'"
        . " WHERE id = '" . _id($KEY{owner}) . "'");
}


# a file of "public:private" lines: of the numbers given
sub credentials {
    my ($self, $name, @numbers) = @_;

    my $file = "$self->{dir}/$name.keys";
    open my $f, '>', $file or die "$file: $!\n";
    print $f _public($_), ':', _private($_), "\n" for @numbers;
    close $f;
    return $file;
}


# as bench/keys.c has them

sub _id { return sprintf '5f%022x', $_[0] }

sub _private { return sprintf '00000000-0000-4000-8000-%012x', $_[0] }

sub _public {
    my $n = $_[0] * 72057594039 % 208827064576;
    my $name = '';

    for (1 .. 8) {
        $name .= chr ord('a') + $n % 26;
        $n = int $n / 26;
    }
    return $name;
}


1;
