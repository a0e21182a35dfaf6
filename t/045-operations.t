# docs/operations.md: the commands of each procedure are executed as they
# stand, on machines that have the paths of an installation, and do what the
# procedure says.  util/procedures executes those that need another release of
# Debian.

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Temp qw( tempdir );
use Test::More;
use Time::HiRes qw( sleep time );

use FindBin ();
use lib "$FindBin::Bin/lib";
use ApiKeys::Machine ();

plan skip_all => 'the server of an installation is Debian\'s nginx'
    if $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND};
my $missing = ApiKeys::Machine::missing();
plan skip_all => $missing if $missing;

my $root = abs_path(__FILE__) =~ s{/t/[^/]+$}{}r;
my %doc = sections("$root/docs/operations.md");
my %readme = sections("$root/README.md");
my %executed;

# what the operator of the document has set
my ($version) = sort { $b <=> $a }
    map { m{/(\d+)/bin/initdb$} } glob '/usr/lib/postgresql/*/bin/initdb';
my %env = (V => $version);

# the sockets of two database servers, which all machines reach
my $dir = tempdir('ak-sockets-XXXXXX', DIR => '/tmp', CLEANUP => 1);
chmod 0755, $dir;
my %sockets;
for my $db (qw( db1 db2 )) {
    mkdir $sockets{"/run/$db"} = "$dir/$db";
    chown +(getpwnam 'postgres')[ 2, 3 ], "$dir/$db";
}

my $web1 = machine('web1', 'db1');
my $db2 = machine('db2', 'db2');


subtest 'an installation' => sub {
    my ($module, @rest) = @{ $readme{Installation} }[ 0 .. 3 ];
    $web1->must("pg_createcluster $version main");
    $web1->must($module =~ s/.*\nmake\n//sr . join "\n", @rest);
    $web1->must('echo hello > /var/www/html/index.html');
    does($web1, 'Names');
    does($web1, 'Prepare a node');
    does($web1, 'Check an installation', says => qr/^401\n401\n.*web1:\d+/ms);
};

subtest 'keys and locations' => sub {
    does($web1, 'First key');
    $env{KEY} = key($web1, 'owner');
    @env{qw( ORG PROJECT )} = split ' ', sql($web1,
        q{SELECT o.id || ' ' || p.id FROM apikeys.orgs o
            JOIN apikeys.projects p ON p.org_id = o.id});

    is(code($web1), 403, 'a key of another organization than is named');
    does($web1, 'Protect a location', says => qr/hello\nhello\n\z/);
    is(code($web1), 200, 'a key of that organization');

    my $old = key($web1, 'reports');
    $env{OLD} = sql($web1, "SELECT id FROM apikeys.keys WHERE public_key = '"
        . substr($old, 0, 8) . "'");
    does($web1, 'Rotate an API key',
        says => qr/^HTTP\S+ 204 .*^Preference-Applied: wait=30/ms);
    is(code($web1, $old), 401, 'the old key');
    is(code($web1, key($web1, 'new')), 200, 'the new key');
    is(sql($web1, q{SELECT k.descr, k.roles, p.roles, a.cidr
        FROM apikeys.keys k JOIN apikeys.key_projects p ON p.key_id = k.id
        JOIN apikeys.access_list a ON a.key_id = k.id
        WHERE descr = 'reports'}),
        'reports|{ORG_MEMBER}|{GROUP_READ_ONLY}|127.0.0.0/8',
        'has the roles and the list of the old one');
};

subtest 'the operator token' => sub {
    my $token = '$(cat /etc/nginx/apikeys/operator.token)';
    my $old = $web1->must('cat /etc/nginx/apikeys/operator.token');
    does($web1, 'Rotate the operator token');
    wait_for(sub { code_of($web1, '/api/atlas/v1.0/orgs',
        qq{-H "Authorization: Bearer $token"}) == 200 });
    is(code_of($web1, '/api/atlas/v1.0/orgs',
        "-H 'Authorization: Bearer " . $old =~ s/\n//r . "'"), 401, 'the old');
    is(code_of($web1, '/api/atlas/v1.0/orgs',
        qq{-H "Authorization: Bearer $token"}), 200, 'the new one');
};

subtest 'the master key' => sub {
    my $lines = sub { sql($web1, 'SELECT count(DISTINCT line)
        FROM apikeys.keys') };
    my $line = sql($web1, 'SELECT min(line) FROM apikeys.keys');
    does($web1, 'Master key', blocks => [ 0, 1 ]);

    # those that the restarts above have left
    sql($web1, q{SELECT apikeys.forget_instance(uuid, true)
        FROM apikeys.leased_instances
        WHERE heartbeat < now() - interval '15 s'});
    wait_for(sub { $lines->() == 1 && sql($web1, 'SELECT min(line)
        FROM apikeys.keys') ne $line });
    does($web1, 'Master key', blocks => [2], says => qr/^\(1 row\)/m);
    wait_for(sub { $web1->must('curl -sS http://127.0.0.1:8080/status')
        !~ /"line":"$line"/ });
    does($web1, 'Master key', blocks => [3]);
    is(code($web1), 200, 'the key is known without the old line');
    is(does($web1, 'Master key', blocks => [4]),
        sql($web1, 'SELECT min(line) FROM apikeys.keys') . "\n",
        'the name of the line that is left');
};

subtest 'the database password' => sub {
    $web1->must(<<'END');
hba=$(runuser -u postgres -- psql -XAtc 'SHOW hba_file')
cp "$hba" ~/hba; cp /etc/nginx/nginx.conf ~
sed -i '1s/.*/local apikeys apikeys_nginx scram-sha-256/' "$hba"
runuser -u postgres -- psql -Xqc "ALTER ROLE apikeys_nginx PASSWORD 'first'"
(umask 077; echo first > /etc/nginx/apikeys/password)
sed -i 's|user=apikeys_nginx"|& password_file=/etc/nginx/apikeys/password|' \
    /etc/nginx/nginx.conf
service postgresql reload
service nginx restart
END
    follows($web1, 'with the first password');
    does($web1, 'Rotate the database password');
    sql($web1, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE usename = 'apikeys_nginx'");
    follows($web1, 'with the new one');
};

subtest 'the CA of the database' => sub {
    $web1->must(<<'END');
cd
for ca in old new; do
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$ca" \
        -keyout $ca-ca.key -out $ca-ca.crt
    openssl req -newkey rsa:2048 -nodes -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout $ca-server.key -out $ca.csr
    openssl x509 -req -days 2 -in $ca.csr -CA $ca-ca.crt -CAkey $ca-ca.key \
        -CAcreateserial -copy_extensions copy -out $ca-server.crt
done
cp old-ca.crt /etc/nginx/apikeys/ca.crt
data=$(runuser -u postgres -- psql -XAtc 'SHOW data_directory')
install -o postgres -m 600 old-server.key "$data/server.key"
install -o postgres -m 644 old-server.crt "$data/server.crt"
runuser -u postgres -- psql -Xq <<EOF
ALTER SYSTEM SET ssl_cert_file = '$data/server.crt';
ALTER SYSTEM SET ssl_key_file = '$data/server.key';
ALTER SYSTEM SET ssl = on;
SELECT pg_reload_conf();
EOF
tls='sslmode=verify-full sslrootcert=/etc/nginx/apikeys/ca.crt'
sed -i "s|host=/run/postgresql|host=localhost $tls|" /etc/nginx/nginx.conf
nginx -t
service nginx restart
END
    follows($web1, 'with the old CA');
    does($web1, 'Rotate the CA of the database');
    follows($web1, 'with the new one');
    $web1->must('cp ~/nginx.conf /etc/nginx/nginx.conf; cp ~/hba '
        . '"$(runuser -u postgres -- psql -XAtc "SHOW hba_file")"; '
        . 'service postgresql reload; service nginx restart');
    follows($web1, 'over the socket');
};

subtest 'a dump' => sub {
    my $kept = new_key($web1, 'deleted later');
    does($web1, 'Back up');
    my $lost = new_key($web1, 'made later');
    my $public = substr $kept, 0, 8;
    sql($web1, "DELETE FROM apikeys.keys WHERE public_key = '$public'");
    becomes($web1, $kept, 401, 'a key that is deleted');

    $web1->must('rm /etc/nginx/apikeys/master.key');
    does($web1, 'Restore a dump', blocks => [ 0 .. 3 ],
        says => qr/API_KEY_CREATED.*SQL DELETE keys/s);
    becomes($web1, $kept, 200, 'works again');
    becomes($web1, $lost, 401, 'a key made after the dump');
    like(receipt($web1), qr/^202 .*unknown/, 'unknown nodes, for now');
    does($web1, 'Restore a dump', blocks => [4]);
    is(receipt($web1), '200 wait=9',
        'Prefer: wait succeeds after the restore');
};

subtest 'a dump, in a new cluster' => sub {
    my $db3 = machine('db3');
    $db3->must("pg_createcluster $version main; service postgresql start");
    $web1->give($db3, 'apikeys.dump');
    does($db3, 'Restore a dump', blocks => [0]);
    $db3->must('runuser -u postgres -- psql -Xqc '
        . '"ALTER DATABASE apikeys_restored RENAME TO apikeys"');
    is(sql($db3, 'SET ROLE apikeys_nginx; SELECT count(*) > 1 FROM '
        . 'apikeys.keys'), "SET\nt", 'nginx has its rights');
};

subtest 'the data directory' => sub {
    $web1->must(<<'END', %env);
pg_ctlcluster "$V" main stop
cp -a "/var/lib/postgresql/$V/main" ~/data
pg_ctlcluster "$V" main start
END
    follows($web1, 'before');
    my $lost = new_key($web1, 'made later');
    becomes($web1, $lost, 200, 'a key made after the copy');

    # so many transactions before nginx can connect that the node takes the
    # database for the one that it knows
    $web1->must(<<'END', %env);
pg_ctlcluster "$V" main stop
rm -rf "/var/lib/postgresql/$V/main"
mv ~/data "/var/lib/postgresql/$V/main"
ctl() {
    runuser -u postgres -- "/usr/lib/postgresql/$V/bin/pg_ctl" -w -s \
        -D "/var/lib/postgresql/$V/main" -l /dev/null -o "-c \
        config_file=/etc/postgresql/$V/main/postgresql.conf \
        -c unix_socket_directories=/tmp" "$1"
}
ctl start
seq 5000 | sed 's/.*/SELECT pg_current_xact_id();/' \
    | runuser -u postgres -- psql -Xq -h /tmp > /dev/null
ctl stop
pg_ctlcluster "$V" main start
END
    follows($web1, 'the old data');
    is(code($web1, $lost), 200,
        'a restore without a new timeline is not noticed');
    does($web1, 'Restore the data directory');
    becomes($web1, $lost, 401, 'is unknown');
    does($web1, 'Restore a dump', blocks => [4]);
};

subtest 'upgrades of the module and of nginx' => sub {
    $web1->must('mkdir ~/clone; cp -r config Makefile sql src util '
        . '~/clone');
    for my $name ('Upgrade the module', 'Upgrade nginx') {
        does($web1, $name, cd => '~/clone');
        is(code($web1), 200, "$name: a key is admitted");
    }
};

subtest 'another node, and without it' => sub {
    my $web2 = machine('web2', 'db1');
    does($web1, 'Add a node', blocks => [0]);
    $web1->give($web2, 'apikeys-node.tar.gz');
    $web2->must('install -D -m 644 build/ngx_http_apikeys_module.so '
        . '/usr/lib/nginx/modules/ngx_http_apikeys_module.so; '
        . 'mkdir -p /var/www/html; echo hello > /var/www/html/index.html');
    does($web2, 'Add a node', blocks => [ 1, 2 ], says => qr/web2:\d+/);
    is(code($web2), 200, 'a key is admitted by the new node');

    does($web2, 'Remove a node', blocks => [0]);
    like(receipt($web1), qr/^202 web2/, 'a node with a snapshot is waited for');
    $env{NODE} = sql($web1, q{SELECT name FROM apikeys.instances
        WHERE name LIKE 'web2:%'});
    does($web1, 'Remove a node', blocks => [1], says => qr/could decide until/);
    is(receipt($web1), '200 wait=9',
        'Prefer: wait succeeds after the removed node is forgotten');
};

subtest 'a longer time without the database' => sub {
    $web1->must("sed -i 's/apikeys_stale [^;]*;/apikeys_stale 3s;/' "
        . '/etc/nginx/nginx.conf; service nginx reload');
    follows($web1, 'with a short time');
    $web1->must("pg_ctlcluster $version main stop");
    becomes($web1, undef, 503, 'the time is over');
    does($web1, 'Decide for longer without the database');
    becomes($web1, undef, 200, 'decides, still without a database');
};

subtest 'a key that is blocked without the database' => sub {
    my $bad = key($web1, 'new');
    my $api = '/api/atlas/v1.0/orgs';
    $env{PUBLIC} = substr $bad, 0, 8;
    $web1->must("sed -i 's/apikeys_auth digest basic;/apikeys_auth digest_sha256 "
        . "digest basic header=X-Api-Key;/' /etc/nginx/nginx.conf; "
        . 'service nginx reload');
    my %sent = (digest => "--digest -u $bad", basic => "-u $bad",
        header => "-H 'X-Api-Key: $bad'");
    my @asked = ([ $api, 'digest' ], map { [ '/', $_ ] } sort keys %sent);

    wait_for(sub { code_of($web1, '/', $sent{header}) == 200 });
    is(code_of($web1, $_->[0], $sent{ $_->[1] }),
        $_->[0] eq $api ? 503 : 200, "@$_, before") for @asked;
    does($web1, 'Block a key at once', blocks => [1]);
    wait_for(sub { code_of($web1, '/', $sent{basic}) == 403 });
    is(code_of($web1, $_->[0], $sent{ $_->[1] }), 403, "@$_") for @asked;
    is(code_of($web1, $api, '-X POST -d {} ' . $sent{digest}), 403,
        'a change through the API');
    is(code_of($web1, '/', '-u ' . substr($bad, 0, 9) . 'x'), 401,
        'a wrong secret');
    is(code_of($web1, '/'), 401, 'no key');
    is(code_of($web1, '/health'), 200, 'an open location');
    is(code($web1), 200, 'another key');
    is(code_of($web1, $api, "--digest -u $env{KEY}"), 503,
        'another key, in the API');

    $web1->must("pg_ctlcluster $version main start; "
        . 'rm /etc/nginx/apikeys/blocked/keys.conf; service nginx reload');
    follows($web1, 'the database is back');
    becomes($web1, $bad, 200, 'not blocked any more');
    does($web1, 'Block a key at once', blocks => [0]);
    becomes($web1, $bad, 401, 'the blocked key is refused once it is deleted');
};

subtest 'every request' => sub {
    does($web1, 'Refuse every request', blocks => [0]);
    wait_for(sub { code_of($web1, '/') == 503 });
    is(code_of($web1, $_, "--digest -u $env{KEY}"), 503, $_)
        for qw( / /api/atlas/v1.0/orgs /health );
    does($web1, 'Refuse every request', blocks => [1]);
    becomes($web1, undef, 200,
        'requests are admitted again after "Refuse every request" is undone');
};

subtest 'access is regained' => sub {
    my $lost = $env{KEY};
    $env{LOST} = sql($web1, "SELECT id FROM apikeys.keys WHERE public_key = '"
        . substr($lost, 0, 8) . "'");
    does($web1, 'Regain access', blocks => [0], says => qr/^\w{24} owner$/m);
    does($web1, 'Regain access', blocks => [1]);
    $env{KEY} = key($web1, 'owner');
    becomes($web1, $lost, 401, 'the lost key is deleted');
    is(code_of($web1, "/api/atlas/v1.0/orgs/$env{ORG}/apiKeys",
        "--digest -u $env{KEY}"), 200, 'the new owner');
};

subtest 'alerts' => sub {
    does($web1, 'Database unreachable', says => qr{/\d+/\w+/});
    $web1->must("pg_ctlcluster $version main stop");
    does($web1, 'Zone full', blocks => [1]);
    is(code($web1), 200, 'a larger zone has the local copy');
    $web1->must("pg_ctlcluster $version main start");
    follows($web1, 'the database is back');
    cmp_ok($web1->must("$doc{Names}[0] curl -sS \$SITE/status "
        . '| jq .zone.size_bytes'), '>', 64 * 1024 * 1024,
        'the zone is larger than 64 MB');
    does($web1, 'Zone full', blocks => [0], says => qr/max_entries|entries/);
    does($web1, 'Node lost', says => qr/web1:\d+/);
    does($web1, 'Overload', says => qr/nginx apikeys/);
    does($web1, 'Debug a 401, 403 or 503', says => qr/ allow "GET/);
};

subtest 'suspended workers' => sub {
    my $alert = qr/suspended while holding the lock of zone "apikeys" and has been killed/;
    my $old = $web1->must('curl -sS http://127.0.0.1:8080/status')
        =~ /"leader_pid": ?(\d+)/ ? $1 : 0;

    # one that holds the zone's lock, stopped where it writes
    my ($code, $said) = $web1->run($doc{Names}[0] . <<'END', PID => $old);
cc -O1 -o ~/kill_at t/tools/kill_at.c
[ "$(pgrep -cfx 'nginx: worker process')" -gt 1 ] || exit 3
base=$(awk '/ngx_http_apikeys_module.so/ { sub(/-.*/, ""); print; exit }' \
    "/proc/$PID/maps")
module=$(find /usr/lib/nginx/modules/ -name 'ngx_http_apikeys_module.so')
offset=$(nm "$module" \
    | awk '$3 == "ngx_apikeys_store_publish_key_locked" { print $1 }')
~/kill_at "$PID" "$(printf %x $((0x$base + 0x$offset)))" 1 20000 19 &
until ! kill -0 $! 2> /dev/null; do
    sql -q -c 'UPDATE apikeys.keys SET descr = descr'
    sleep 0.1
done
wait $!
END
    SKIP: {
        skip 'no second worker, or nothing can be traced', 3 if $code == 3;
        is($code, 0, 'the one that reads changes is stopped as it writes')
            or diag $said;
        ok(wait_for(sub { error_log($web1) =~ $alert }),
            'the log says that the suspended worker is killed')
            or diag error_log($web1);
        does($web1, 'Worker suspended', blocks => [0], says => $alert);
    }
    follows($web1, 'changes are followed without the suspended worker');

    # and one that does not
    my ($pid) = $web1->must("pgrep -fx 'nginx: worker process'") =~ /^(\d+)$/m;
    $web1->must("kill -STOP $pid");
    does($web1, 'Worker suspended', blocks => [0], says => qr/^ *$pid +T/m);
    does($web1, 'Worker suspended', blocks => [1]);
    ok(wait_for(sub { $web1->must('ps -C nginx -o pid=,stat=')
        !~ /^ *(?:$pid .*|\d+ +T.*)$/m }), 'none is left');
    follows($web1, 'and goes on');
    ok(wait_for(sub { ($web1->run("$doc{Names}[0] $doc{'Worker suspended'}[2]"))
        [1] =~ /"behind": 0/ }), 'changes arrive');
    does($web1, 'Worker suspended', blocks => [2], says => qr/lag/);
    is(code($web1), 200, 'requests are decided');
};

subtest 'a standby, moving to it, and failing over' => sub {
    $web1->must(<<'END');
sed -i 's|host=/run/postgresql|host=/run/db1,/run/db2|' /etc/nginx/nginx.conf
nginx -t && service nginx reload
END
    standby($db2, 'host=/run/db1');
    follows($web1, 'before');
    my $last = new_key($web1, 'the last change');
    does($web1, 'Move the database to another machine', blocks => [1]);
    becomes($web1, $last, 200, 'decides without a database');
    does($db2, 'Fail over', blocks => [ 1, 2 ]);
    follows($web1, 'the new primary', $db2);
    becomes($web1, $last, 200,
        'the last change before the failover is not lost');
    like(receipt($web1, $db2), qr/^202 .*unknown/, 'unknown nodes, for now');
    does($db2, 'Fail over', blocks => [ 3, 4 ], says => qr/API_KEY_CREATED/);
    is(receipt($web1, $db2), '200 wait=9',
        'Prefer: wait succeeds after the failover');

    $web1->must("pg_dropcluster $version main");
    standby($web1, 'host=/run/db2');
    does($db2, 'Fail over', blocks => [0]);
    is(code($web1), 200, 'decides without a database');
    does($web1, 'Fail over', blocks => [1]);
    follows($web1, 'the new primary');
};

subtest 'nothing is left' => sub {
    does($web1, 'Remove everything');
    is($web1->must("runuser -u postgres -- psql -XAtc \"SELECT count(*) FROM "
        . "pg_database, pg_roles WHERE datname = 'apikeys' OR rolname = "
        . "'apikeys_nginx'\""), "0\n", 'in the database');
    is($web1->must('ls -d /etc/nginx/apikeys /var/lib/nginx/apikeys '
        . '/usr/lib/nginx/modules/*apikeys* 2>/dev/null || :'), '', 'on disk');
};

is_deeply([ not_executed() ], [], 'every command is executed');
done_testing;


# the shell commands of each section of a document, block by block
sub sections {
    my ($file) = @_;

    open my $f, '<', $file or die "$file: $!\n";
    my %sections;
    my ($section, $indent, $block) = ('');
    while (<$f>) {
        if (!defined $block) {
            $section = $1 if /^## (.*)/;
            ($indent, $block) = ($1, '') if /^( *)```sh$/;
        } elsif (/^ *```$/) {
            push @{ $sections{$section} }, $block;
            undef $block;
        } else {
            $block .= s/^$indent//r;
        }
    }
    return %sections;
}


sub machine {
    my ($name, $db) = @_;

    my $machine = ApiKeys::Machine->new($name, %sockets,
        $db ? ('/run/postgresql' => "$dir/$db") : ());

    # between two steps an operator takes longer than nginx takes to reload
    $machine->must(<<'END');
cat > /usr/local/sbin/service <<'EOF'
#!/bin/sh
workers() { pgrep -fx 'nginx: worker process'; }
old=$(workers)
/usr/sbin/service "$@" || exit
[ "$*" = 'nginx reload' ] || exit 0
until [ -n "$(workers)" ] && ! workers | grep -qxF "$old"; do sleep 0.05; done
EOF
chmod +x /usr/local/sbin/service
END
    return $machine;
}


# executes blocks of a procedure (all, or by number)
sub does {
    my ($machine, $name, %opt) = @_;

    my @blocks = @{ $doc{$name} || die "no procedure $name\n" };
    my @wanted = @{ $opt{blocks} || [ 0 .. $#blocks ] };
    $executed{$name}{$_}++ for @wanted;

    my ($code, $said) = $machine->run(join("\n", $doc{Names}[0],
        $opt{cd} ? "cd $opt{cd}" : (), @blocks[@wanted]),
        %env, %{ $opt{env} || {} });
    is($code, 0, $name) or diag $said, error_log($machine);
    like($said, $opt{says}, "$name: what it says") if $opt{says};
    return $said;
}


# blocks that neither we nor util/procedures execute
sub not_executed {
    open my $f, '<', "$root/util/procedures" or die $!;
    my $text = do { local $/; <$f> };
    $executed{$_} ||= { map { $_ => 1 } 0 .. $#{ $doc{$_} } }
        for $text =~ /^ *commands docs\/operations\.md "([^"]+)"/mg;

    return map { my $name = $_; map { "$name, $_" }
        grep { !$executed{$name}{$_} } 0 .. $#{ $doc{$name} } }
        sort keys %doc;
}


sub standby {
    my ($machine, $primary) = @_;

    does($machine, 'Move the database to another machine', blocks => [0],
        env => { PRIMARY => $primary });
    $machine->must(<<'END', %env);
hba=$(runuser -u postgres -- psql -XAtc 'SHOW hba_file')
ident=$(runuser -u postgres -- psql -XAtc 'SHOW ident_file')
sed -i '1i local apikeys apikeys_nginx peer map=apikeys' "$hba"
echo 'apikeys www-data apikeys_nginx' >> "$ident"
pg_ctlcluster "$V" main reload
END
}


sub sql {
    my ($machine, $sql) = @_;

    my $text = $machine->must("$doc{Names}[0] sql -At <<'END'\n$sql\nEND\n");
    chomp $text;
    return $text;
}


# "public:private" of a key whose making ~/NAME.json shows
sub key {
    my ($machine, $name) = @_;

    my $text = $machine->must("jq -r '.apiKey // . | .publicKey + \":\" + "
        . ".privateKey' ~/$name.json");
    chomp $text;
    return $text;
}


sub new_key {
    my ($machine, $desc) = @_;

    $machine->must($doc{Names}[0] . <<'END', %env, DESC => $desc);
keys=$API/orgs/$ORG/apiKeys
owner -d "{\"desc\":\"$DESC\",\"roles\":[\"ORG_MEMBER\"]}" "$keys" \
    > ~/made.json
owner -d '[{"ipAddress":"127.0.0.1"}]' \
    "$keys/$(jq -r .id ~/made.json)/accessList"
END
    return key($machine, 'made');
}


sub code_of {
    my ($machine, $uri, $args) = @_;

    return $machine->must("curl -sS -o /dev/null -w '%{http_code}' "
        . ($args // '') . " http://127.0.0.1:8080$uri");
}


sub code {
    my ($machine, $key) = @_;

    return code_of($machine, '/', '--digest -u ' . ($key // $env{KEY}));
}


sub becomes {
    my ($machine, $key, $code, $name) = @_;

    my $got;
    wait_for(sub { ($got = code($machine, $key)) == $code });
    is($got, $code, $name) or diag error_log($machine);
}


# until the node says to the database that it follows it
sub follows {
    my ($machine, $name, $db) = @_;

    $db ||= $machine;
    my $now = sql($db, 'SELECT clock_timestamp()');
    ok(wait_for(sub { sql($db, qq{SELECT count(*) FROM apikeys.instances
        WHERE heartbeat > '$now' AND snapshot IS NOT NULL}) > 0 }),
        "follows the database: $name") or diag error_log($machine);
}


# a change that waits for every node that runs: code, and who has it not
sub receipt {
    my ($machine, $db) = @_;

    sql($db || $machine, q{SELECT apikeys.forget_instance(uuid, true)
        FROM apikeys.instances WHERE name LIKE 'web1:%'
         AND heartbeat < clock_timestamp() - interval '8 s'});
    my $said = $machine->must($doc{Names}[0] . <<'END', %env);
owner -X PATCH -D - -o /dev/null -H 'Prefer: wait=9' -d '{"name":"Shop"}' \
    "$API/orgs/$ORG"
END
    my ($code) = $said =~ /^HTTP\S+ (200|202)/m;
    my ($what) = $said =~ /^(?:X-Apikeys-Pending|Preference-Applied): (.*?)\r/m;
    return join ' ', $code // $said, $what // '';
}


sub error_log {
    my ($machine) = @_;

    return ($machine->run('tail -n 20 /var/log/nginx/error.log'))[1];
}


sub wait_for {
    my ($condition) = @_;

    my $end = time + 60;
    while (time < $end) {
        return 1 if $condition->();
        sleep 0.2;
    }
    return 0;
}
