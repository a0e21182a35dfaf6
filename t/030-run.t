# util/run, which is make run, start, stop and reset: a server with data from
# nothing, that finds its data again, also where other users cannot go, where
# paths are long, and for a user who is not root.  The clone is a copy.

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Path qw( make_path remove_tree );
use File::Temp qw( tempdir );
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw( sleep time );

use FindBin ();
use lib "$FindBin::Bin/lib";
use ApiKeys::Client ();

plan skip_all => 'the server of make run is Debian\'s nginx'
    if $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND};

my $root = abs_path(__FILE__) =~ s{/t/[^/]+$}{}r;
my $module = "$root/build/ngx_http_apikeys_module.so";
my @started;


subtest 'start, stop, and its data again' => sub {
    my $clone = clone(tempdir('ak-run-XXXXXX', DIR => '/tmp', CLEANUP => 1));
    my $port = ports(2);

    my ($code, $text) = run($clone, "PORT=$port NODES=2", 'start');
    is $code, 0, 'make start succeeds' or diag $text;
    like $text, qr/^curl --digest -u '\w{8}:[\w-]{36}' /m,
        'make start prints curl commands to paste';

    my $env = env($clone);
    is sprintf('%o', (stat "$clone/build/run/env")[2] & 07777), '600',
        'env is for its owner';
    is $env->{APIKEYS_URLS}, join(' ', map { "http://127.0.0.1:$_" }
        $port, $port + 1), 'two nodes';
    is scalar(split ' ', $env->{APIKEYS_NGINX_PIDS}), 2, 'two masters';
    for my $name (qw( PUBLIC_KEY PRIVATE_KEY ORG_ID PROJECT_ID
                      OPERATOR_TOKEN DSN URL ))
    {
        ok length $env->{"APIKEYS_$name"}, "APIKEYS_$name";
    }

    works($env, $_) for 0, 1;
    protects($env);
    bad_requests($port);

    is psql($env, "SELECT count(*) FROM apikeys.orgs"), 1, 'psql connects';

    ($code, $text) = run($clone, "PORT=$port", 'start');
    is $code, 1, 'a second make start fails';
    is $text, "already running on $env->{APIKEYS_URLS}: make stop first\n",
        'a second make start says in one line that it is running';

    is((run($clone, '', 'stop'))[0], 0, 'make stop succeeds');
    ok !alive($_), "master $_ has ended" for split ' ',
        $env->{APIKEYS_NGINX_PIDS};
    ok -e "$clone/build/run/env", 'make stop keeps build/run/env';

    is((run($clone, "PORT=$port PORT_OM44=" . ($port + 1), 'start'))[0], 0,
        'make start succeeds again, with another version on a second port');
    my $again = env($clone);
    is $again->{$_}, $env->{$_}, "$_ is as it was"
        for qw( APIKEYS_PUBLIC_KEY APIKEYS_PRIVATE_KEY APIKEYS_ORG_ID
                APIKEYS_PROJECT_ID APIKEYS_OPERATOR_TOKEN );
    works($again, 0);
    is(announced($port), 'gitHash=0; versionString=6.0.10',
        'the first port announces version 6.0.10');
    is(announced($port + 1), 'gitHash=0; versionString=4.4.20',
        'the second port announces version 4.4.20');

    is((run($clone, '', 'reset'))[0], 0, 'make reset succeeds');
    ok !-e "$clone/build/run", 'make reset deletes the data';
};

subtest 'a busy port' => sub {
    my $clone = clone(tempdir('ak-run-XXXXXX', DIR => '/tmp', CLEANUP => 1));
    my $busy = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1');
    my $port = $busy->sockport;

    my ($code, $text) = run($clone, "PORT=$port", 'start');
    is $code, 1, 'make start fails on a port in use';
    is $text, "port $port is in use: choose another with PORT=\n",
        'make start says in one line that the port is in use';
};

subtest 'in the foreground, until it is interrupted' => sub {
    my $clone = clone(tempdir('ak-run-XXXXXX', DIR => '/tmp', CLEANUP => 1));
    my $port = ports(1);

    my $pid = fork;
    if ($pid == 0) {
        setpgrp;
        # a shell cannot trap what it was told to ignore, as by nohup
        @SIG{qw( HUP INT QUIT )} = ('DEFAULT') x 3;
        open STDOUT, '>', "$clone/out";
        open STDERR, '>&', \*STDOUT;
        { exec "PORT=$port exec $clone/util/run foreground" };
        die;
    }
    push @started, $clone;
    wait_for(sub { slurp("$clone/out") =~ /Ctrl-C/ || !kill 0, $pid });
    like slurp("$clone/out"), qr/Ctrl-C stops both/,
        'make run says how to stop it';

    my $env = env($clone);
    works($env, 0);

    # what a terminal does
    kill 'INT', -$pid;
    waitpid $pid, 0;
    is $? >> 8, 0, 'make run ends with 0 after Ctrl-C';
    ok !alive($env->{APIKEYS_NGINX_PIDS}), 'nginx has ended after Ctrl-C';
    isnt psql($env, 'SELECT 1'), '1', 'PostgreSQL has ended after Ctrl-C';
};

SKIP: {
    skip 'only root can be somebody else', 3 if $> != 0;

    subtest 'from a path where nobody else can go' => sub {
        my $dir = tempdir('ak-run-XXXXXX', DIR => '/tmp', CLEANUP => 1);
        chmod 0700, $dir;
        elsewhere(clone("$dir/clone"));
    };

    subtest 'from a path of 150 characters' => sub {
        my $dir = tempdir('ak-run-XXXXXX', DIR => '/tmp', CLEANUP => 1);
        chmod 0755, $dir;
        my $path = "$dir/";
        elsewhere(clone($path . 'x' x (150 - length $path)));
    };

    subtest 'as a user who is not root' => sub {
        my $dir = tempdir('ak-run-XXXXXX', DIR => '/tmp', CLEANUP => 1);
        my $clone = clone("$dir/clone");
        system 'chown', '-R', 'www-data', $dir;
        my $port = ports(1);

        my $as = 'setpriv --reuid=www-data --regid=www-data --clear-groups';
        # as root's clone below /root names it to the tests
        my $lib = tempdir('ak-lib-XXXXXX', DIR => '/tmp', CLEANUP => 1);
        chmod 0700, $lib;

        my ($code, $text) = run($clone,
            "PORT=$port HOME=$dir PERL5LIB=$lib/t/lib $as", 'start');
        is $code, 0, 'make start succeeds' or diag $text;

        # env is that user's own
        my $env = env($clone);
        works($env, 0);
        protects($env);
        is qx{env -u PERL5LIB $as psql -XAtq -d '$env->{APIKEYS_DSN}' -c 'SELECT 1'}, "1\n",
            'psql connects';
        is((run($clone, "HOME=$dir $as", 'stop'))[0], 0, 'make stop succeeds');
        ok !alive($env->{APIKEYS_NGINX_PIDS}),
            'nginx has ended after make stop';
    };
}

done_testing;

END {
    my $code = $?;
    run($_, '', 'stop') for grep { -d $_ } @started;
    $? = $code;
}


# what a clone after `make` has, as far as util/run looks at it
sub clone {
    my ($dir) = @_;

    make_path("$dir/build");
    chmod 0755, $dir;
    system 'cp', '-r', map({ "$root/$_" } qw( util sql setup conf-examples )), $dir;
    system 'cp', $module, "$dir/build/";
    return $dir;
}


sub run {
    my ($clone, $vars, $command) = @_;

    push @started, $clone if $command eq 'start';
    # not a pipe: servers in the background would keep it open
    my $log = File::Temp->new;
    chmod 0666, $log->filename;
    system "env $vars $clone/util/run $command > $log 2>&1 < /dev/null";
    return ($? >> 8, slurp($log->filename));
}


# the cluster and nginx's files lie below /var/tmp, and everything works
sub elsewhere {
    my ($clone) = @_;

    my $port = ports(1);
    my ($code, $text) = run($clone, "PORT=$port", 'start');
    is $code, 0, 'make start succeeds' or diag $text;

    my $env = env($clone);
    like $env->{APIKEYS_HOME}, qr{^/var/tmp/apikeys-\w+$}, 'env names a place';
    works($env, 0);

    # a body that nginx writes to a file, as a worker
    my $client = ApiKeys::Client->new(port => $port,
        key => "$env->{APIKEYS_PUBLIC_KEY}:$env->{APIKEYS_PRIVATE_KEY}");
    my $res = $client->request('POST',
        "/api/atlas/v1.0/orgs/$env->{APIKEYS_ORG_ID}/apiKeys",
        '{"desc":"x","roles":["ORG_MEMBER"]}' . ' ' x 200_000,
        headers => { 'Content-Type' => 'application/json' });
    is $res->code, 200, 'a large body is taken';

    is((run($clone, '', 'stop'))[0], 0, 'make stop succeeds');
    is((run($clone, "PORT=$port", 'start'))[0], 0,
        'make start succeeds after make stop');
    works(env($clone), 0);
    is((run($clone, '', 'reset'))[0], 0, 'make reset succeeds');
    ok !-e $env->{APIKEYS_HOME}, 'make reset deletes the data';
}


sub works {
    my ($env, $node) = @_;

    my $url = (split ' ', $env->{APIKEYS_URLS})[$node];
    my $text = qx{curl -s -w '%{http_code}' --digest \\
        -u $env->{APIKEYS_PUBLIC_KEY}:$env->{APIKEYS_PRIVATE_KEY} \\
        $url/api/atlas/v1.0/orgs/$env->{APIKEYS_ORG_ID}/apiKeys};
    like $text, qr/"desc":"owner".*200$/, "the key works on $url";
}


sub protects {
    my ($env) = @_;

    my $key = "$env->{APIKEYS_PUBLIC_KEY}:$env->{APIKEYS_PRIVATE_KEY}";
    for my $case (
        [ '/open', '', 200 ],
        [ '/protected/key', '', 401 ],
        [ '/protected/key', "--digest -u $key", 200 ],
        [ '/protected/key', "-u $key", 200 ],
        [ "/protected/org/$env->{APIKEYS_ORG_ID}", "--digest -u $key", 200 ],
        [ '/protected/org/' . 'a' x 24, "--digest -u $key", 403 ],
        [ "/protected/project/$env->{APIKEYS_PROJECT_ID}", '', 401 ],
        [ "/protected/project/$env->{APIKEYS_PROJECT_ID}",
          "--digest -u $key", 200 ],
        [ '/protected/project/' . 'a' x 24, "--digest -u $key", 403 ],
        [ '/status', '', 200 ],
        [ '/metrics', '', 200 ],
        [ '/api/private/ipinfo', '', 200 ],
        [ '/api/private/unauth/version', '', 200 ])
    {
        my ($path, $options, $code) = @$case;
        is qx{curl -s -o /dev/null -w '%{http_code}' $options \\
            $env->{APIKEYS_URL}$path}, $code, "$path, $code";
    }
}


# JSON even before a location is chosen
sub bad_requests {
    my ($port) = @_;

    for my $case (
        [ "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400 ],
        [ "\x16\x03\x01\r\n\r\n", 400 ],
        [ 'GET /' . 'x' x 40_000 . " HTTP/1.1\r\nHost: x\r\n\r\n", 414 ])
    {
        my ($bytes, $code) = @$case;
        my $res = ApiKeys::Client->new(port => $port)->send($bytes)->read;
        is $res->code, $code, "$code before any location";
        is $res->header('content-type'), 'application/json',
            "$code before any location: Content-Type is JSON";
        is $res->json->{error}, $code,
            "$code before any location: the document has the status";
        is $res->json->{errorCode}, $res->header('x-error-code'),
            "$code before any location: errorCode is that of the header";
    }
}


sub announced {
    my ($port) = @_;

    return scalar ApiKeys::Client->new(port => $port)
        ->plain('GET', '/api/private/unauth/version')
        ->header('x-mongodb-service-version');
}


sub psql {
    my ($env, $sql) = @_;

    return qx{psql -XAtq -d '$env->{APIKEYS_DSN}' -c '$sql' 2>&1} =~ s/\n\z//r;
}


# as a shell reads it
sub env {
    my ($clone) = @_;

    my %env;
    for (split /\n/, qx{sh -c '. $clone/build/run/env; set'}) {
        $env{$1} = $2 if /^(APIKEYS_\w+)='(.*)'$/;
    }
    return \%env;
}


# the first of n consecutive free ports
sub ports {
    my ($n) = @_;

    for (1 .. 100) {
        my $first = 20_000 + int rand 10_000;
        my @sockets = grep { defined } map {
            IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1',
                LocalPort => $_)
        } $first .. $first + $n - 1;
        return $first if @sockets == $n;
    }
    die "no free ports\n";
}


sub wait_for {
    my ($condition) = @_;

    my $end = time + 60;
    sleep 0.05 while !$condition->() && time < $end;
}


sub alive { return $_[0] && kill 0, $_[0] }


sub slurp {
    my ($file) = @_;

    open my $f, '<', $file or return '';
    local $/;
    return <$f> // '';
}
