package ApiKeys::Sql;

# A session in which a test calls the functions of sql/ by the names of their
# arguments, those left out being null ("descr" and "roles" of a key are members
# of the argument "key_attributes"); and, so that two sessions can be
# interleaved, starts a call, sees that it waits for a lock, and finishes it.
#
#     my $s = ApiKeys::Sql->new($db);
#     my ($key) = $s->call('create_key', org => $org, ...);
#     is $s->error, 'max_keys 500'  when the list is empty: refused

use strict;
use warnings;

use DBD::Pg qw( :async );
use JSON::PP ();
use Time::HiRes qw( sleep time );

my $serial = 0;


sub new {
    my ($class, $db) = @_;

    my $dbh = $db->connect;
    $dbh->do(q{SET statement_timeout = '120s'});
    return bless { db => $db, dbh => $dbh, error => '' }, $class;
}


sub dbh { return $_[0]{dbh} }
sub error { return $_[0]{error} }

sub value { my $self = shift; return ($self->{dbh}->selectrow_array(
    shift, undef, @_))[0] }

sub column { my $self = shift; return @{ $self->{dbh}->selectcol_arrayref(
    shift, undef, @_) } }


# a statement as typed; true, or false and error() is "SQLSTATE DETAIL"
sub run {
    my ($self, $sql, @args) = @_;

    return $self->_guard(sub { $self->{dbh}->do($sql, undef, @args); 1 });
}


# the changed states that a mutation returns, as hashes
sub call {
    my ($self, $function, %args) = @_;

    return $self->_guard(sub {
        return $self->_states($self->_prepare($function, \%args));
    });
}


sub _states {
    my ($self, $sth) = @_;

    my @rows = @{ $sth->fetchall_arrayref({}) };
    my ($refusal, $detail) = @{ $rows[0] // {} }{qw( refusal detail )};

    if (defined $refusal) {
        $self->{error} = "$refusal $detail";
        return;
    }
    delete @$_{qw( refusal detail )} for @rows;
    return @rows;
}


sub start {
    my ($self, $function, %args) = @_;

    $self->{sth} = $self->_prepare($function, \%args,
        { pg_async => PG_ASYNC });
}


sub start_run {
    my ($self, $sql, @args) = @_;

    $self->{sth} = $self->{dbh}->prepare($sql, { pg_async => PG_ASYNC });
    $self->{sth}->execute(@args);
}


# true as soon as the started call waits for another session, false when it
# is through without having waited
sub waits {
    my ($self) = @_;

    $self->{watch} ||= $self->{db}->connect;
    my $end = time + 60;

    while (time < $end) {
        my ($blocked) = $self->{watch}->selectrow_array(
            'SELECT cardinality(pg_blocking_pids(?))', undef,
            $self->{dbh}{pg_pid});
        return 1 if $blocked;
        return 0 if $self->{dbh}->pg_ready;
        sleep 0.005;
    }
    die "the call neither ends nor waits\n";
}


sub finish {
    my ($self) = @_;

    my $sth = delete $self->{sth};
    return $self->_guard(sub {
        $sth->pg_result;
        return $sth->{NUM_OF_FIELDS} ? $self->_states($sth) : 1;
    });
}


# an organization with an owner, and a project, made by the operator
sub organization {
    my ($self, %opt) = @_;

    my ($org, $owner) = $self->call('create_org', org => new_id(),
        name => 'org', credential(), descr => 'owner', roles => ['ORG_OWNER']);
    $org or die $self->error;

    my ($project) = $self->call('create_project', org => $org->{id},
        name => 'project');
    $project or die $self->error;

    return ($org->{id}, $owner->{id}, $project->{id});
}


sub key {
    my ($self, $org, @roles) = @_;

    my ($key) = $self->call('create_key', org => $org, credential(),
        descr => 'key', roles => \@roles);
    $key or die $self->error;
    return $key->{id};
}


sub new_id { return sprintf '%08x%016x', time, ++$serial * 100_000 + $$ % 100_000 }


# arguments that no two keys share
sub credential {
    my $n = ++$serial * 100_000 + $$ % 100_000;
    my $public = '';

    for (my $i = $n; length $public < 8; $i = int($i / 26)) {
        $public .= chr(97 + $i % 26);
    }

    return (key_id => sprintf('%024x', $n), public_key => $public,
        secret => 'ab' x 112, redacted => '0123456789ab');
}


sub _prepare {
    my ($self, $function, $args, $attr) = @_;

    my @list = $self->_arguments($function);
    my %known = map { $_->[0] => 1 } @list;

    if ($known{key_attributes}) {
        my %of = (descr => 'desc', roles => 'roles');
        my %attributes = map { $of{$_} => $args->{$_} }
            grep { defined $args->{$_} } keys %of;
        $args = { key_attributes => JSON::PP->new->encode(\%attributes),
            %$args };
        delete @$args{ keys %of };
    }
    $known{$_} or die "$function has no argument $_\n" for keys %$args;

    my $sth = $self->{dbh}->prepare(
        'SELECT (s.changed).*, s.refusal, s.detail, '
        . "pg_current_xact_id()::text AS xid FROM apikeys.$function("
        . join(', ', map { "p_$_->[0] => ?::$_->[1]" } @list) . ') s',
        $attr || {});
    $sth->execute(map { $args->{ $_->[0] } } @list);
    return $sth;
}


sub _arguments {
    my ($self, $function) = @_;

    return @{ $self->{arguments}{$function} ||=
        $self->{dbh}->selectall_arrayref(<<'END', undef, $function) };
        SELECT regexp_replace(p.proargnames[t.n], '^p_', ''),
               format_type(t.oid, NULL)
          FROM pg_proc p, unnest(p.proargtypes::oid[])
               WITH ORDINALITY AS t (oid, n)
         WHERE p.pronamespace = 'apikeys'::regnamespace AND p.proname = ?
         ORDER BY t.n
END
}


sub _guard {
    my ($self, $code) = @_;

    $self->{error} = '';
    my @rows = eval { $code->() };
    return wantarray ? @rows : $rows[0] if !$@;

    my $state = $self->{dbh}->state;
    die $@ if !$state || $state eq '00000' || $state eq 'S1000';

    $self->{error} = $state;
    return;
}


1;
