# setup/apikeys-setup with a PostgreSQL that it reaches over the network only:
# the command makes an installation, a second run changes nothing, and --check
# finds each defect.  debian/tests/setup has the local PostgreSQL.

use strict;
use warnings;

use Test::More;

use FindBin ();
use lib "$FindBin::Bin/lib";
use ApiKeys::Machine ();

plan skip_all => 'the server of an installation is Debian\'s nginx'
    if $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND};
my $missing = ApiKeys::Machine::missing();
plan skip_all => $missing if $missing;

my ($version) = sort { $b <=> $a }
    map { m{/(\d+)/bin/initdb$} } glob '/usr/lib/postgresql/*/bin/initdb';

my $web1 = ApiKeys::Machine->new('web1');
my $tls = 'host=192.0.2.1 sslmode=verify-full sslrootcert=/etc/nginx/ca.crt';
my $admin = "--admin '$tls user=owner dbname=apikeys'";
my $setup = "setup/apikeys-setup $admin --password-file"
    . " /etc/nginx/apikeys/password --database"
    . " '$tls user=apikeys_nginx dbname=apikeys'";

prepare();

subtest 'a first run' => sub {
    my ($code, $said) = $web1->run("$setup --check");
    is($code, 1, '--check fails');
    like($said, qr/^apikeys-setup: missing: \Q$_\E/m, "missing: $_")
        for 'role apikeys_nginx', 'schema, version 1', 'connection of www-data',
            'master key file', 'operator token', 'configuration',
            'administration API';
    is(($web1->run('ls /etc/nginx/apikeys'))[0], 2, 'it makes no file');

    ($code, $said) = $web1->run($setup);
    is($code, 0, 'the command succeeds') or diag $said;
    my ($key) = join ':', $said =~ /public key: +(\S+)\n +private key: +(\S+)/;
    is($web1->must("curl -sS -o /dev/null -w '%{http_code}' --digest -u '$key'"
        . ' http://127.0.0.1:8089/api/atlas/v1.0/orgs'), '200',
        'the key that it prints is admitted');
    is($web1->must('stat -c %a /etc/nginx/apikeys/*') =~ s/\n/ /gr,
        '600 600 600 ', 'the files are for root only');
    unlike($web1->must('cat /etc/nginx/conf.d/apikeys.conf'),
        qr/password=/, 'the configuration has no password');
};

subtest 'a second run' => sub {
    my $state = 'find /etc/nginx -type f -exec md5sum {} + | sort';
    my $before = $web1->must($state);
    my ($code, $said) = $web1->run($setup);
    is($code, 0, 'the command succeeds') or diag $said;
    unlike($said, qr/making/, 'it makes nothing');
    is($web1->must($state), $before, 'no file is changed');
    ($code, $said) = $web1->run("$setup --check");
    is($code, 0, '--check finds nothing') or diag $said;
};

my $role = 'apikeys_nginx';
my $conf = '/etc/nginx/conf.d/apikeys.conf';
my $restart = 'nginx -s quit; while [ -e /run/nginx.pid ]; do sleep 0.05; done';

# what is changed, what --check says then, and how it is changed back
for my $case (
    [ 'chmod 644 /etc/nginx/apikeys/master.key',
      'unsafe: /etc/nginx/apikeys/master.key has mode 644',
      'chmod 600 /etc/nginx/apikeys/master.key' ],
    [ psql("REVOKE EXECUTE ON FUNCTION apikeys.heartbeat FROM $role"),
      "missing: rights of $role on functions: heartbeat",
      "$setup | grep '^apikeys-setup: making: rights of $role on'" ],
    [ psql("GRANT UPDATE ON apikeys.keys TO $role"),
      "unsafe: $role can write to keys",
      psql("REVOKE UPDATE ON apikeys.keys FROM $role") ],
    [ psql('INSERT INTO apikeys.schema_version VALUES (2, 2)'),
      'unsafe: the schema is for the module of version 2 or later',
      psql('DELETE FROM apikeys.schema_version WHERE version = 2') ],
    (map { my ($name, $value) = @$_;
        [ psql("ALTER ROLE $role SET $name = $value"),
          "unsafe: PostgreSQL logs parameters of statements ($name)",
          psql("ALTER ROLE $role RESET $name") ] }
        [ log_statement => 'mod' ], [ log_min_duration_statement => 100 ],
        [ log_min_duration_sample => 100 ],
        [ log_transaction_sample_rate => 0.1 ],
        [ log_parameter_max_length_on_error => 64 ]),
    [ "sed -i s/127.0.0.1:8089/8089/ $conf",
      "unsafe: $conf listens on 8089 without TLS",
      "sed -i 's/ 8089/ 127.0.0.1:8089/' $conf" ],
    [ "$restart; unshare --mount sh -c 'mount -t tmpfs none /proc; nginx'",
      'unsafe: workers do not see one another in /proc', "$restart; nginx" ])
{
    my ($change, $says, $back) = @$case;

    subtest $says => sub {
        $web1->must($change);
        my ($code, $said) = $web1->run("$setup --check");
        is($code, 1, '--check fails');
        like($said, qr/^apikeys-setup: \Q$says\E/m, '--check says why');
        $web1->must($back);
        ($code, $said) = $web1->run("$setup --check");
        is($code, 0, '--check finds nothing after the change is undone')
            or diag $said;
    };
}

# conditions of the call alone
for my $case (
    [ "faketime -f +600s $setup", qr/clock of this machine is (?:59|60)\d s/ ],
    [ "faketime -f -600s $setup", qr/clock of this machine is -(?:59|60)\d s/ ],
    [ $setup =~ s/(.*)verify-full/$1disable/r,
      qr/nginx connects to 192\.0\.2\.1 without TLS/ ])
{
    my ($command, $says) = @$case;
    my ($code, $said) = $web1->run("$command --check");

    is($code, 1, '--check fails');
    like($said, qr/^apikeys-setup: unsafe: .*$says/m, "--check says: $says");
}

subtest 'the command of the next version' => sub {
    my $next = "~/next/$setup";

    $web1->must(<<'END');
mkdir ~/next
cp -r setup sql ~/next
mkdir ~/next/sql/v2
cat > ~/next/sql/v2/01-note.sql <<'EOF'
CREATE FUNCTION apikeys.note() RETURNS text LANGUAGE sql AS $$ SELECT '' $$;
REVOKE EXECUTE ON FUNCTION apikeys.note FROM PUBLIC;
INSERT INTO apikeys.schema_version (version, compatible_from) VALUES (2, 1);
EOF
sed -i '/^ *utc,/s/utc/utc, note/' ~/next/sql/grants.sql
END
    my ($code, $said) = $web1->run("$next --check");
    is($code, 1, '--check fails with the old schema');
    like($said, qr/^apikeys-setup: missing: schema, version 2$/m,
        '--check names the new one');
    is(join("\n", grep { /making/ } split /\n/, $web1->must($next)),
        "apikeys-setup: making: schema, version 2\n"
        . "apikeys-setup: making: rights of $role on functions: note",
        'it upgrades the schema and the rights, and nothing else');
    ($code, $said) = $web1->run("$setup --check");
    is($code, 0, 'the command of this version takes the new schema')
        or diag $said;
};

done_testing;


# PostgreSQL at an address of the network, with TLS and passwords, for a role
# that is no superuser and owns the database
sub prepare {
    $web1->must(<<'END', V => $version);
pg_createcluster $V main
service postgresql start
ip addr add 192.0.2.1/32 dev lo
install -D -m 644 build/ngx_http_apikeys_module.so \
    /usr/lib/nginx/modules/ngx_http_apikeys_module.so
echo 'load_module /usr/lib/nginx/modules/ngx_http_apikeys_module.so;' \
    > /etc/nginx/modules-enabled/50-mod-http-apikeys.conf
rm -f /etc/nginx/sites-enabled/default
sed -i 's/^worker_processes.*/worker_processes 2;/' /etc/nginx/nginx.conf

cd
faketime -f -1d openssl req -x509 -newkey rsa:2048 -nodes -days 2 \
    -subj /CN=192.0.2.1 -addext subjectAltName=IP:192.0.2.1 \
    -keyout server.key -out server.crt
install -m 644 server.crt /etc/nginx/ca.crt
data=$(runuser -u postgres -- psql -XAtc 'SHOW data_directory')
hba=$(runuser -u postgres -- psql -XAtc 'SHOW hba_file')
install -o postgres -m 600 server.key server.crt "$data"

runuser -u postgres -- psql -Xq <<'EOF'
CREATE ROLE owner LOGIN CREATEROLE PASSWORD 'secret';
CREATE DATABASE apikeys OWNER owner;
ALTER SYSTEM SET listen_addresses = '192.0.2.1';
ALTER SYSTEM SET ssl = on;
ALTER SYSTEM SET ssl_cert_file = 'server.crt';
ALTER SYSTEM SET ssl_key_file = 'server.key';
EOF
cat > "$hba" <<'EOF'
local    all  postgres  peer map=admin
local    all  all       reject
hostssl  all  all       192.0.2.0/24  scram-sha-256
EOF
echo 'admin root postgres' >> "${hba%hba.conf}ident.conf"
service postgresql restart
(umask 077; echo '192.0.2.1:5432:*:owner:secret' > ~/.pgpass)
END
}


# a statement of the superuser, as commands
sub psql {
    my ($sql) = @_;

    return qq{psql -XqU postgres -d apikeys -v ON_ERROR_STOP=1 -c "$sql"};
}
