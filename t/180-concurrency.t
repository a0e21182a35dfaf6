# Twenty clients at once, in one organization that has almost as many keys as
# it may: what they are told, what the database holds, what the audit says and
# whom the local copy lets in must be one and the same story.

use strict;
use warnings;

use File::Temp qw( tempdir );
use JSON::PP ();
use POSIX ();
use Test::More;

use ApiKeys::Expect qw( refused );
use ApiKeys::Fixture ();

my $clients = 20;
my $rounds = $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND} ? 15 : 40;
my $max = 500;

my $dir = tempdir('ak-concurrent-XXXXXX', DIR => '/tmp', CLEANUP => 1);
my $json = JSON::PP->new->canonical->utf8;
my @bases = sort values %ApiKeys::Fixture::BASE;
my @addresses = map { "192.0.2.$_" } 1 .. 4;
my @roles = qw( ORG_MEMBER ORG_READ_ONLY );

my $f = ApiKeys::Fixture->new(workers => 2, zone => '16m',
    database => 'connections=8');

owners() for 1 .. 4;
waits($_) for qw( commit rollback );
everything();

done_testing;


# a name of a project that psql takes while POST waits for it
sub waits {
    my ($end) = @_;

    my $org = $f->org;
    my $dbh = $f->db->connect;
    my $client = $f->client(timeout => 30);

    $dbh->begin_work;
    $dbh->do("INSERT INTO apikeys.projects (org_id, name) VALUES (?, 'taken')",
        undef, $org->{id});
    $client->send($client->format('POST', "$bases[0]/groups",
        { name => 'taken', orgId => $org->{id} },
        headers => { Authorization => 'Bearer ' . $f->token }));
    ok $f->nginx->wait_for(sub { $f->db->psql('SELECT count(*)
        FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0')
        }, 20, 'does not wait'), "POST waits for a name that psql takes, $end";
    $dbh->$end;
    my $res = $client->read;
    $res->{uri} = "$bases[0]/groups";
    return is $res->code, 201, 'a POST that waited for a rollback creates the project'
        if $end eq 'rollback';
    refused($res, 'GROUP_ALREADY_EXISTS', ['taken'],
        'a POST that waited for a commit is refused');
}


# --- clients ---------------------------------------------------------------

# runs $code->($n, $say) in as many processes; what each says, in its order
sub at_once {
    my ($n, $code) = @_;

    my $gate = File::Temp->new(DIR => $dir);
    my (@pids, @said);

    pipe my $read, my $write or die "pipe: $!\n";
    for my $i (1 .. $n) {
        my $pid = fork;
        defined $pid or die "fork: $!\n";
        if ($pid == 0) {
            close $write;
            # the end of the pipe starts them all
            sysread $read, my $byte, 1;
            open my $out, '>', "$dir/said-$i" or POSIX::_exit(1);
            srand $$;
            eval {
                $code->($i, sub { print $out $json->encode($_[0]), "\n" });
                close $out or die "$!\n";
            };
            print STDERR $@ if $@;
            POSIX::_exit($@ ? 1 : 0);
        }
        push @pids, $pid;
    }
    close $write;

    my $failed = 0;
    for my $pid (@pids) {
        waitpid $pid, 0;
        $failed++ if $?;
    }
    is $failed, 0, 'all clients ran to their end';

    for my $i (1 .. $n) {
        open my $in, '<', "$dir/said-$i" or next;
        push @said, map { $json->decode($_) } <$in>;
    }
    return @said;
}


# one call: { op, status, code, .. } with the document, where there is one
sub call {
    my ($client, $op, $method, $path, $body, %more) = @_;

    my $res = $client->request($method, $path, $body, headers => {
        Accept => 'application/vnd.atlas.2023-01-01+json' });
    my $doc = length $res->body ? eval { $res->json } : undef;

    return { op => $op, status => $res->code, path => $path, doc => $doc,
        code => $res->header('x-error-code') // '', %more };
}


sub pick { return $_[ rand @_ ] }


sub tally {
    my ($key, @said) = @_;

    my %n;
    $n{ $_->{$key} }++ for @said;
    return \%n;
}


# --- the last owner --------------------------------------------------------

# Owners that delete, demote and disable each other, and themselves, or give each
# other or its secret an end: one is left that works until it is changed.
sub owners {
    my $org = $f->org;
    my @owners = ($org->{key}, map { $f->key($org, 'ORG_OWNER') } 1 .. 4);
    my $native = "/api/v1/orgs/$org->{id}/apiKeys";
    my $end = '2100-01-01T00:00:00Z';

    my @said = at_once($clients, sub {
        my ($n, $say) = @_;

        my $me = $owners[ $n % @owners ];
        my $client = $f->client(key => $me->{secret}, timeout => 60);

        for my $try (0 .. $#owners) {
            my $victim = $owners[ ($n + $try) % @owners ];
            my $id = $victim->{id};
            my @ways = (
                [ delete => 'DELETE', "$org->{path}/apiKeys/$id" ],
                [ demote => 'PATCH', "$org->{path}/apiKeys/$id",
                    { roles => ['ORG_MEMBER'] } ],
                [ disable => 'PATCH', "$native/$id",
                    { disabled => JSON::PP::true } ],
                [ expire => 'PATCH', "$native/$id", { expiresAt => $end } ],
                [ secret => 'PATCH', "$native/$id/secrets/$id",
                    { expiresAt => $end } ]);

            $say->({ %{ call($client, @{ $ways[ rand @ways ] }) },
                victim => $id });
        }
    });

    # after the change, a secret is read again
    my $rest = '401|401 USER_UNAUTHORIZED|40[04] API_KEY_NOT_FOUND'
        . '|404 API_KEY_SECRET_NOT_FOUND';
    my $change = qr/^(?:200|$rest|403 CANNOT_DEMOTE_LAST_ORG_OWNER)$/;
    my %allowed = (delete => qr/^(?:204|$rest|403 CANNOT_DELETE_LAST_OWNER)$/,
        map { $_ => $change } qw( demote disable expire secret ));
    expected(\%allowed, @said);

    my $dbh = $f->db->dbh;
    is $dbh->selectrow_array(q{SELECT count(*) FROM apikeys.keys
        WHERE org_id = ? AND 'ORG_OWNER' = ANY (roles) AND NOT disabled
          AND expires IS NULL AND secret_expires IS NULL}, undef, $org->{id}),
        1, 'one standing owner is left';

    my @deleted = map { $_->{victim} } grep { $_->{status} == 204 } @said;
    my $keys = $dbh->selectcol_arrayref(
        'SELECT id FROM apikeys.keys WHERE org_id = ?', undef, $org->{id});
    is @deleted + @$keys, @owners, 'each of the others was deleted once'
        . ' or is still there';
    admits(\@owners, $dbh->selectcol_arrayref('SELECT id FROM apikeys.keys
        WHERE org_id = ? AND NOT disabled', undef, $org->{id}));
}


# the status and the code of every answer are such as the call may have
sub expected {
    my ($allowed, @said) = @_;

    my @wrong = grep {
        my $answer = $_->{status} < 300 || $_->{code} eq ''
            ? $_->{status} : "$_->{status} $_->{code}";
        $answer !~ $allowed->{ $_->{op} };
    } @said;
    is_deeply [ map { "$_->{op} $_->{path}: $_->{status} $_->{code}" }
        @wrong ], [], 'no answer is one that the call cannot have';
}


# whom the local copy knows: all that the database has, and nobody else
sub admits {
    my ($known, $there, $listed) = @_;

    my %there = map { $_ => 1 } @$there;
    my %status = map {
        $_->{id} => $f->client(key => $_->{secret}, timeout => 60)
            ->request('GET', "$bases[0]/orgs")->code } @$known;
    my %should = map { my $id = $_->{id};
        $id => !$there{$id} ? 401 : $listed && $listed->{$id} ? 403 : 200
    } @$known;
    is_deeply \%status, \%should, 'the local copy admits whom the database has';
}


# --- everything ------------------------------------------------------------

my ($org, @targets, @projects, %secret);

sub everything {
    $org = $f->org;
    @projects = map { $f->project($org)->{id} } 1 .. 3;
    @targets = map { $f->key($org, 'ORG_MEMBER') } 1 .. 10;
    $secret{ $_->{id} } = $_ for @targets, $org->{key};

    # $max - 6 keys: the limit is in reach
    my $filler = $max - 6 - keys %secret;
    my @made = at_once($clients, sub {
        my ($n, $say) = @_;
        my $client = $f->client(key => $org->{key}{secret}, timeout => 60);
        for (my $i = $n; $i <= $filler; $i += $clients) {
            $say->(call($client, 'create', 'POST', "$org->{path}/apiKeys",
                { desc => "filler $i", roles => ['ORG_MEMBER'] }));
        }
    });
    is_deeply tally('status', @made), { 200 => $filler }, 'keys are made';
    remember($_) for @made;

    my ($mark) = $f->db->dbh->selectrow_array(
        'SELECT max(id) FROM apikeys.audit');
    my $before = number_of_keys();

    my @said = at_once($clients, \&client);

    remember($_) for grep { $_->{op} eq 'create' && $_->{status} == 200 }
        @said;
    note explain tally('op', @said);
    note explain tally('code', @said);

    answers(@said);
    limit($before, @said);
    halves(@said);
    audit($mark, @said);
    entries(@said);
    replica();
}


sub remember {
    my ($said) = @_;

    my $key = $said->{doc};
    $secret{ $key->{id} } = { id => $key->{id},
        secret => "$key->{publicKey}:$key->{privateKey}" };
}


sub number_of_keys {
    return ($f->db->dbh->selectrow_array(
        'SELECT count(*) FROM apikeys.keys WHERE org_id = ?', undef,
        $org->{id}))[0];
}


# One client.  A description says which role goes with it, and two entries
# come together or not at all, so that half of a change would show.
sub client {
    my ($n, $say) = @_;

    my $base = $bases[ $n % @bases ];
    my $o = "$base/orgs/$org->{id}/apiKeys";
    my $client = $f->client(key => $org->{key}{secret}, timeout => 60);
    my @mine;

    my %ops = (
        create => sub {
            my $said = call($client, 'create', 'POST', $o,
                { desc => "of $n", roles => ['ORG_MEMBER'] });
            push @mine, $said->{doc}{id} if $said->{status} == 200;
            return $said;
        },
        remove => sub {
            my $id = @mine ? shift @mine : pick(@targets)->{id};
            return call($client, 'remove', 'DELETE', "$o/$id", undef,
                key => $id);
        },
        change => sub {
            my ($id, $role) = (pick(@targets)->{id}, pick(@roles));
            my $desc = join ' ', $role, $n, shift;
            return call($client, 'change', 'PATCH', "$o/$id",
                { desc => $desc, roles => [$role] }, desc => $desc,
                key => $id);
        },
        get => sub {
            return call($client, 'get', 'GET', "$o/" . pick(@targets)->{id});
        },
        list => sub {
            return call($client, 'list', 'GET', "$o?itemsPerPage=500");
        },
        add => sub {
            my ($id, $address) = (pick(@targets)->{id}, pick(@addresses));
            return call($client, 'add', 'POST', "$o/$id/accessList",
                [ { ipAddress => $address } ], key => $id,
                cidr => "$address/32");
        },
        pair => sub {
            my $id = pick(@targets)->{id};
            my $i = 1 + int rand 3;
            return call($client, 'pair', 'POST', "$o/$id/accessList",
                [ { cidrBlock => "10.$i.0.0/16" },
                  { cidrBlock => "2001:db8:$i\::/48" } ], key => $id,
                cidr => "10.$i.0.0/16");
        },
        drop => sub {
            my ($id, $address) = (pick(@targets)->{id}, pick(@addresses));
            return call($client, 'drop', 'DELETE',
                "$o/$id/accessList/$address", undef, key => $id,
                cidr => "$address/32");
        },
        entries => sub {
            my $id = pick(@targets)->{id};
            return call($client, 'entries', 'GET', "$o/$id/accessList");
        },
        assign => sub {
            my $path = "$base/groups/" . pick(@projects) . '/apiKeys/'
                . pick(@targets)->{id};
            return call($client, 'assign', 'POST', $path,
                [ { roles => ['GROUP_READ_ONLY'] } ]);
        },
        grant => sub {
            my $path = "$base/groups/" . pick(@projects) . '/apiKeys/'
                . pick(@targets)->{id};
            return call($client, 'grant', 'PATCH', $path,
                { roles => [ pick(qw( GROUP_OWNER GROUP_READ_ONLY )) ] });
        },
        # elsewhere it may be repeated, and leaves no row then
        unassign => sub {
            my $path = "$ApiKeys::Fixture::BASE{atlas_v2}/groups/"
                . pick(@projects) . '/apiKeys/' . pick(@targets)->{id};
            return call($client, 'unassign', 'DELETE', $path);
        },
    );

    my @mix = ((qw( change add pair drop entries assign grant unassign )) x 2,
        qw( get list ));

    # keys come and go all the time, those that all of them use seldom
    for my $i (1 .. $rounds) {
        my $op = $i % 2 ? pick(@mix)
            : @mine && rand() < 0.8 || rand() < 0.005 ? 'remove' : 'create';
        $say->($ops{$op}->($i));
    }
}


sub answers {
    my $gone = '40[04] API_KEY_NOT_FOUND';
    expected({
        create => qr/^(?:200|400 MAX_API_KEYS_PER_ORG_EXCEEDED)$/,
        remove => qr/^(?:204|$gone)$/,
        change => qr/^(?:200|$gone)$/,
        get => qr/^(?:200|$gone)$/,
        list => qr/^200$/,
        add => qr/^(?:200|$gone|409 ADDRESS_ALREADY_IN_ACCESS_LIST)$/,
        pair => qr/^(?:200|$gone|409 ADDRESS_ALREADY_IN_ACCESS_LIST)$/,
        drop => qr/^(?:204|$gone|404 API_KEY_ACCESS_LIST_NOT_FOUND)$/,
        entries => qr/^(?:200|$gone)$/,
        assign => qr/^(?:204|$gone|400 API_KEY_ALREADY_IN_GROUP)$/,
        grant => qr/^(?:200|$gone)$/,
        unassign => qr/^(?:204|$gone)$/,
    }, @_);
}


# 500 keys and not one more, at any time; and those that are there add up
sub limit {
    my ($before, @said) = @_;

    my @lists = grep { $_->{op} eq 'list' } @said;
    is scalar(grep { $_->{doc}{totalCount} > $max
        || @{ $_->{doc}{results} } != $_->{doc}{totalCount} } @lists), 0,
        'no list is of too many keys';

    my $made = grep { $_->{op} eq 'create' && $_->{status} == 200 } @said;
    my @removed = map { $_->{key} }
        grep { $_->{op} eq 'remove' && $_->{status} == 204 } @said;
    my %once = map { $_ => 1 } @removed;

    is scalar(keys %once), scalar(@removed), 'no key was deleted twice';
    is number_of_keys(), $before + $made - @removed, 'keys add up';
    cmp_ok number_of_keys(), '<=', $max,
        'there are no more keys than the limit';
    ok scalar(grep { $_->{code} eq 'MAX_API_KEYS_PER_ORG_EXCEEDED' } @said),
        'the limit was reached';
    cmp_ok scalar(@removed), '>', 5, 'more than 5 keys were deleted meanwhile';
}


sub halves {
    my (@said) = @_;

    my @keys = grep { $_ && $_->{desc} } map { $_->{op} eq 'list'
        ? @{ $_->{doc}{results} } : $_->{status} == 200 ? $_->{doc} : () }
        grep { $_->{op} =~ /^(?:list|get|change|grant)$/ } @said;
    my @half = grep {
        my ($role) = $_->{desc} =~ /^(ORG_\w+) /;
        $role && $_->{roles}[0]{roleName} ne $role;
    } @keys;
    is_deeply \@half, [], 'each key that was shown was in one state';

    my @lists = map { join ' ', map { $_->{cidrBlock} }
        @{ $_->{doc}{results} } }
        grep { $_->{op} =~ /^(?:entries|add|pair)$/ && $_->{status} == 200 }
        @said;
    cmp_ok scalar(grep { /10\.\d/ } @lists), '>', 0,
        'some lists contained entries that were added in pairs';
    my @torn = grep { my $list = $_; grep {
        ($list =~ /\b10\.$_\./) != ($list =~ /2001:db8:$_:/) } 1 .. 3 } @lists;
    is_deeply \@torn, [],
        'a list never shows only one of two entries added together';
}


# as many rows as successes, of each kind; and for each key, what one row has
# after it the next one has before it
sub audit {
    my ($mark, @said) = @_;

    my $rows = $f->db->dbh->selectall_arrayref(<<'END_OF_SQL',
SELECT event, key_id, project_id, before::text, after::text
  FROM apikeys.audit WHERE id > ? AND org_id = ? ORDER BY id
END_OF_SQL
        { Slice => {} }, $mark, $org->{id});
    for my $row (@$rows) {
        defined $_ and $_ = $json->decode($_) for @$row{qw( before after )};
    }

    my $ok = tally('op', grep { $_->{status} < 300 } @said);
    my $events = tally('event', @$rows);

    # a key that is deleted was taken out of its projects before
    for my $row (grep { $_->{event} eq 'API_KEY_DELETED' } @$rows) {
        $events->{API_KEY_REMOVED_FROM_GROUP}
            -= keys %{ delete $row->{before}{projects} };
    }
    my %of = (create => 'API_KEY_CREATED', remove => 'API_KEY_DELETED',
        change => 'API_KEY_DESCRIPTION_CHANGED',
        drop => 'API_KEY_ACCESS_LIST_ENTRY_DELETED',
        unassign => 'API_KEY_REMOVED_FROM_GROUP');

    is $events->{ $of{$_} } // 0, $ok->{$_} // 0, "$_: as many rows"
        for sort keys %of;
    is $events->{API_KEY_ACCESS_LIST_ENTRY_ADDED} // 0,
        ($ok->{add} // 0) + ($ok->{pair} // 0), 'entries: as many rows';
    cmp_ok $events->{API_KEY_ADDED_TO_GROUP} // 0, '>=', $ok->{assign} // 0,
        'assign: as many rows, and those of PATCH';

    is_deeply [ sort map { $_->{after}{desc} }
            grep { $_->{event} eq 'API_KEY_DESCRIPTION_CHANGED' } @$rows ],
        [ sort map { $_->{desc} }
            grep { $_->{op} eq 'change' && $_->{status} == 200 } @said ],
        'each description that was accepted is there, and no other';

    my (%state, @broken);
    for my $row (@$rows) {
        next if $row->{event} =~ /ENTRY/ || !defined $row->{key_id};

        my $of = $state{ $row->{key_id} } ||= {};
        my ($was, $is) = map { attributes($row, $_) } @$row{qw( before after )};

        for my $name (keys %{ { %$was, %$is } }) {
            my $before = $was->{$name} // 'none';
            push @broken, "$row->{event} $row->{key_id} $name"
                if exists $of->{$name} && $of->{$name} ne $before;
            $of->{$name} = $is->{$name} // 'none';
        }
    }
    is_deeply \@broken, [], 'the rows of a key follow one another';
    last_states(\%state);
}


# what a row says of a key, as texts: desc, roles, and roles in projects
sub attributes {
    my ($row, $values) = @_;

    return {} if !$values;

    my %is = %$values;
    delete @is{qw( entries publicKey redacted )};

    my $projects = delete $is{projects} || {};
    $projects = { $row->{project_id} => delete $is{roles} }
        if defined $row->{project_id};
    $is{$_} = $projects->{$_} for keys %$projects;
    return { map { $_ => $json->encode([ $is{$_} ]) } keys %is };
}


# the last row of each key is how the database has it
sub last_states {
    my ($state) = @_;

    my $now = $f->db->dbh->selectall_hashref(
        'SELECT id, descr, roles FROM apikeys.keys WHERE org_id = ?', 'id',
        undef, $org->{id});
    my @wrong;
    for my $id (sort keys %$state) {
        my %is = (desc => $now->{$id} && $now->{$id}{descr},
            roles => $now->{$id} && $now->{$id}{roles});
        for my $name (keys %is) {
            my $said = $state->{$id}{$name} // next;
            my $is = defined $is{$name} ? $json->encode([ $is{$name} ])
                : 'none';
            push @wrong, "$id $name: $said, $is" if $said ne $is;
        }
    }
    is_deeply \@wrong, [], 'the last row of each key is what it is now';
}


# an entry is there when it was added once more than it was deleted
sub entries {
    my (@said) = @_;

    my %gone = map { $_->{key} => 1 }
        grep { $_->{op} eq 'remove' && $_->{status} == 204 } @said;
    my %n;
    for my $said (grep { $_->{status} < 300 && $_->{cidr} } @said) {
        next if $gone{ $said->{key} };
        $n{"$said->{key} $said->{cidr}"} += $said->{op} eq 'drop' ? -1 : 1;
    }
    is scalar(grep { $_ != 0 && $_ != 1 } values %n), 0,
        'no entry was added twice or deleted twice';

    my %there = map { $_ => 1 } @{ $f->db->dbh->selectcol_arrayref(
        q{SELECT key_id || ' ' || text(cidr) FROM apikeys.access_list
           WHERE family(cidr) = 4}) };
    is_deeply \%there, { map { $_ => 1 } grep { $n{$_} } keys %n },
        'the entries that are there are those that were added';
}


sub replica {
    my $dbh = $f->db->dbh;
    my $there = $dbh->selectcol_arrayref(
        'SELECT id FROM apikeys.keys WHERE org_id = ?', undef, $org->{id});

    # every entry leaves this client outside
    my %listed = map { $_ => 1 } @{ $dbh->selectcol_arrayref(
        'SELECT DISTINCT key_id FROM apikeys.access_list') };

    cmp_ok scalar(keys %secret), '>', @$there, 'some keys are gone';
    admits([ values %secret ], $there, \%listed);
}
