# nginx as Debian's unit starts it, and with the drop-in
# setup/nginx-hardening.conf: the test makes the namespaces and sets the limits
# that the settings of the drop-in mean, and runs the commands of the unit in
# them.  systemd itself is not running here.

use strict;
use warnings;

use Cwd qw( abs_path );
use Test::More;
use Time::HiRes qw( sleep time );

use FindBin ();
use lib "$FindBin::Bin/lib";
use ApiKeys::Machine ();

plan skip_all => 'the server of the unit is Debian\'s nginx'
    if $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND};
my $missing = ApiKeys::Machine::missing();
plan skip_all => $missing if $missing;

my $root = abs_path(__FILE__) =~ s{/t/[^/]+$}{}r;

my %unit = settings('/lib/systemd/system/nginx.service');
my %dropin = settings("$root/setup/nginx-hardening.conf");

# settings of a drop-in, as commands in a mount namespace of the unit
my %means = (
    ProtectProc => { invisible => 'proc=$proc,hidepid=invisible' },
    ProcSubset => { pid => 'proc=$proc,subset=pid' },
    PrivateTmp => { yes => 'mount -t tmpfs -o mode=1777 tmpfs /tmp' },
    ProtectHome => { yes => 'mount -t tmpfs -o mode=000,ro tmpfs /home
        mount -t tmpfs -o mode=000,ro tmpfs /root' },
    ProtectSystem => { strict => 'read_only=yes' },
    ReadWritePaths => sub { "writable='$_[0]'" },
    CapabilityBoundingSet => sub { 'limit="$limit --bounding-set=-all'
        . lc($_[0] =~ s/\bCAP_/,+/gr =~ s/ //gr) . '"' },
    NoNewPrivileges => { yes => 'limit="$limit --no-new-privs"' },
    LimitCORE => sub { "ulimit -c $_[0]" },
);
my $means = join "\n", map { meaning($_, $dropin{$_}) } sort keys %dropin;

my $web1 = ApiKeys::Machine->new('web1');
my ($key, $org);

subtest 'the unit without the drop-in' => sub {
    install();
    unit('"$@"');
    command('ExecStartPre', 'ExecStart');
    becomes($key, 200, 'the key that apikeys-setup has printed is admitted');
    command('ExecStop');
    is($web1->must('pgrep -cx nginx || :'), "0\n", 'ExecStop ends nginx');
    $web1->must('runuser -u postgres -- psql -Xqd apikeys -o /dev/null -c '
        . '"SELECT apikeys.forget_instance(uuid, true) FROM apikeys.instances"');
};

subtest 'the unit with the drop-in' => sub {
    unit(<<'END' =~ s/MEANS/$means/r);
[ "${IN_UNIT:-}" ] || IN_UNIT=1 exec unshare --mount "$0" "$@"
proc= limit= read_only= writable=
MEANS
for path in $writable; do mount --bind $path $path; done
for path in $(awk '{ print $5 }' /proc/self/mountinfo); do
    case " $writable /tmp /dev /home /root " in
    *" ${path%%/pts} "*) ;;
    *) [ -z "$read_only" ] || mount -o remount,bind,ro "$path" ;;
    esac
done
[ -z "$proc" ] || mount -t proc -o "${proc#,}" proc /proc
exec setpriv $limit "$@"
END
    command('ExecStartPre', 'ExecStart');
    becomes($key, 200, 'a key is admitted');
    is(code('aaaaaaaa:x'), 401, 'an unknown key is refused');
    is(receipt(), 'wait=9', 'a change has its receipt');
};

subtest 'what is hidden, read-only and forbidden' => sub {
    my $master = $web1->must('cat /run/nginx.pid') =~ s/\n//r;
    my $in = "nsenter -t $master -m -r";
    my $worker = "$in setpriv --reuid=www-data --regid=www-data"
        . ' --clear-groups --';

    fails("$in touch $_/x", "nothing can be written to $_")
        for qw( /usr /etc /var/www /opt );
    is(($web1->run("$in touch $_/x && $in rm $_/x"))[0], 0,
        "$_ can be written to") for qw( /tmp /var/log/nginx /var/lib/nginx );
    fails("$in ls /tmp/outside", 'another directory is /tmp');
    fails("$in cat /proc/uptime", '/proc has processes only');
    fails("$worker ls /proc/$master", 'a worker does not see root\'s');
    my $status = $web1->must("cat /proc/$master/status");
    like($status, qr/^NoNewPrivs:\s+1$/m, 'no new privileges');
    like($status, qr/^CapBnd:\s+${\ capabilities() }$/m, 'the capabilities');
    like($web1->must("cat /proc/$master/limits"),
        qr/^Max core file size\s+0\s/m, 'core files have no size');
};

subtest 'reload' => sub {
    my $old = $web1->must('pgrep -fx "nginx: worker process"');
    command('ExecReload');
    waits('new workers', sub { my $now = $web1->must(
        'pgrep -fx "nginx: worker process" || :');
        $now =~ /\n/ && !grep { $now =~ /^$_$/m } split /\n/, $old });
    becomes($key, 200, 'a key is admitted');
    is(receipt(), 'wait=9', 'a change has its receipt');
};

subtest 'a killed leader' => sub {
    my $other = new_key();
    becomes($other, 200, 'a new key');
    my $leader = leader();
    $web1->must("kill -KILL $leader");
    waits('another leader', sub { (leader() // $leader) ne $leader });
    delete_key($other);
    becomes($other, 401, 'a key that is deleted then');
};

# workers of one user see each other: ProtectProc=invisible costs nothing here
subtest 'a leader that is suspended while it holds the lock' => sub {
    my $other = new_key();
    becomes($other, 200, 'a new key');
    my $leader = leader();
    my ($public) = split /:/, $other;
    my ($code, $said) = $web1->run(<<'END', L => $leader, P => $public);
module=/usr/lib/nginx/modules/ngx_http_apikeys_module.so
base=$(sed -n "s|^\([0-9a-f]*\)-.* 00000000 .*$module$|\1|p" /proc/$L/maps)
at=$(nm $module | awk '$3 == "ngx_apikeys_store_delete_locked" { print $1 }')
kill_at $L $(printf %x $((16#$base + 16#$at))) 1 20000 19 & it=$!
while kill -0 $it && ! grep -q 'TracerPid:[[:space:]]*[1-9]' /proc/$L/status
do sleep 0.05; done
runuser -u postgres -- psql -Xqd apikeys \
    -c "DELETE FROM apikeys.keys WHERE public_key = '$P'"
wait $it
END
    plan skip_all => "no process can be traced here: $said" if $code == 3;
    is($code, 0, 'the leader is suspended while it deletes a key')
        or diag $said;
    becomes($other, 401, 'another worker applies the deletion');
    like($web1->must('cat /var/log/nginx/error.log'),
        qr/process $leader was suspended while holding/,
        'it has killed the suspended one');
};

subtest 'the snapshot' => sub {
    my $file = '/var/lib/nginx/apikeys/snapshot';
    waits("$file is written", sub {
        ($web1->run("test -s $file"))[0] == 0 });
    command('ExecStop');
    $web1->must('service postgresql stop');
    command('ExecStart');
    becomes($key, 200, 'a key is admitted without the database');
};

unlike($web1->must('cat /var/log/nginx/error.log') =~ s/.*suspended while.*//gr,
    qr/\[(?:emerg|crit)\]/, 'nothing else is wrong');

done_testing;


# the settings of a unit
sub settings {
    my ($file) = @_;

    open my $f, '<', $file or die "$file: $!\n";
    my %settings = map { /^(\w+)=(.*)$/ ? ($1 => $2) : () } <$f>;
    return %settings;
}


sub meaning {
    my ($name, $value) = @_;

    my $means = $means{$name} || die "the test does not know $name\n";
    return $means->($value) if ref $means eq 'CODE';
    return $means->{$value} // die "the test does not know $name=$value\n";
}


# the bounding set, in hex
sub capabilities {
    my %number = (CHOWN => 0, DAC_OVERRIDE => 1, KILL => 5, SETGID => 6,
        SETUID => 7, NET_BIND_SERVICE => 10);
    my $set = 0;

    $set |= 1 << ($number{ s/^CAP_//r } // die "the test does not know $_\n")
        for split ' ', $dropin{CapabilityBoundingSet};
    return sprintf '%016x', $set;
}


# nginx and PostgreSQL as their packages leave them, then apikeys-setup
sub install {
    my ($version) = sort { $b <=> $a }
        map { m{/(\d+)/bin/initdb$} } glob '/usr/lib/postgresql/*/bin/initdb';

    $web1->must(<<'END', V => $version);
pg_createcluster $V main
service postgresql start
cc -O1 -o /usr/local/sbin/kill_at t/tools/kill_at.c
touch /tmp/outside
install -D -m 644 build/ngx_http_apikeys_module.so \
    /usr/lib/nginx/modules/ngx_http_apikeys_module.so
cd /etc/nginx
echo 'load_module /usr/lib/nginx/modules/ngx_http_apikeys_module.so;' \
    > modules-enabled/50-mod-http-apikeys.conf
sed -i 's/^worker_processes.*/worker_processes 3;/' nginx.conf
rm -f sites-enabled/default
echo hello > /var/www/html/index.html
cat > conf.d/site.conf <<'EOF'
apikeys_snapshot /var/lib/nginx/apikeys/snapshot;
server {
    listen 127.0.0.1:80;
    location = /status { apikeys_status; }
    location / { apikeys_auth basic; root /var/www/html; }
}
EOF
END
    my $said = $web1->must('setup/apikeys-setup');
    $key = join ':', $said =~ /public key: +(\S+)\n +private key: +(\S+)/;
    ($org) = $said =~ /apikeys_require org=(\w+)/;
    $web1->must('service nginx stop');
}


# "unit COMMAND": a command of the unit
sub unit {
    my ($script) = @_;

    $web1->must(<<'END', SCRIPT => $script);
printf '#!/bin/bash\nset -eu\n%s\n' "$SCRIPT" > /usr/local/sbin/unit
chmod +x /usr/local/sbin/unit
END
}


sub command {
    for my $name (@_) {
        my ($code, $said) = $web1->run('unit ' . $unit{$name} =~ s/^-//r);
        is($code, 0, $name) or diag $said;
    }
}


sub fails {
    my ($command, $title) = @_;

    isnt(($web1->run($command))[0], 0, $title);
}


sub code {
    my ($user) = @_;

    return $web1->must("curl -sS -o /dev/null -w '%{http_code}' -u '$user'"
        . ' http://127.0.0.1/ 2>/dev/null || :');
}


sub becomes {
    my ($user, $code, $title) = @_;

    my $is;
    my $end = time + 20;
    sleep 0.05 while ($is = code($user)) ne $code && time < $end;
    is($is, $code, $title)
        or diag $web1->must('tail -n 20 /var/log/nginx/error.log');
}


sub waits {
    my ($title, $condition) = @_;

    my $is;
    my $end = time + 20;
    sleep 0.05 while !($is = $condition->()) && time < $end;
    ok($is, $title);
}


sub leader {
    my ($pid) = $web1->must('curl -sS http://127.0.0.1/status')
        =~ /"leader_pid":(\d+)/;
    return $pid;
}


# a call of the API with the owner's key
sub api {
    my ($path, @options) = @_;

    return $web1->must("curl -sS --digest -u '$key' @options"
        . " -H 'Content-Type: application/json'"
        . " http://127.0.0.1:8089/api/atlas/v1.0/orgs/$org$path");
}


sub receipt {
    return api('', q{-X PATCH -D - -H 'Prefer: wait=9' -d '{"name":"Shop"}'})
        =~ /^Preference-Applied: (\S+)/mi ? $1 : 'none';
}


sub new_key {
    my $said = api('/apiKeys', q{-d '{"desc":"x","roles":["ORG_MEMBER"]}'});

    return join ':', $said =~ /"privateKey":"([^"]+)","publicKey":"([^"]+)"/
        ? ($2, $1) : die "no key: $said\n";
}


sub delete_key {
    my ($public) = split /:/, $_[0];

    $web1->must('runuser -u postgres -- psql -Xqd apikeys -c '
        . qq{"DELETE FROM apikeys.keys WHERE public_key = '$public'"});
}
