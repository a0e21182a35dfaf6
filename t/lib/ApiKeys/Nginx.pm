package ApiKeys::Nginx;

# An nginx of the test's own: a prefix directory, free ports, workers as an
# unprivileged user, ended with the test.
#
# At its end, whoever ends it, the error log must hold no [alert], [crit] or
# [emerg] that the test did not allow, and nothing from a sanitizer; else the
# test fails, also when every one of its assertions held.

use strict;
use warnings;

use Cwd ();
use File::Path qw( remove_tree );
use File::Temp qw( tempdir );
use IO::Socket::INET ();
use POSIX qw( WNOHANG );
use Scalar::Util ();
use Test::More ();
use Time::HiRes qw( sleep time );

# valgrind keeps the title of a process from us
my $process = $ENV{APIKEYS_TEST_VALGRIND} ? qr/^\S*valgrind/ : qr/^(?:nginx|angie):/;

# titles of processes; Angie's have the number of the configuration, too
our $worker = qr/^(?:nginx|angie): worker process(?! is)/;
our $exiting = qr/^(?:nginx|angie): worker process is shutting down/;

my $failed = 0;
my %used;
my @live;


# new(http => , server => , main => , events => , workers => N,
#     binary => , load => [modules], allow => qr/../, log_level => 'info',
#     conf => 'a whole nginx.conf')
# In all texts %%PORT%%, %%PORT_1%% ... and %%DIR%% are replaced.
sub new {
    my ($class, %opt) = @_;

    my $dir = tempdir('ak-ngx-XXXXXX', DIR => '/tmp');
    chmod 0755, $dir;
    mkdir "$dir/$_" for qw( html tmp );

    my $self = bless {
        dir => $dir, owner => $$, opt => \%opt, ports => [],
        binary => $opt{binary} || $ENV{TEST_NGINX_BINARY} || 'nginx',
        load => $opt{load} || [ split ' ',
            $ENV{TEST_NGINX_LOAD_MODULES} // _module() ],
    }, $class;

    push @live, $self;
    Scalar::Util::weaken($live[-1]);

    $self->port(0);
    $self->configure;
    return $self;
}


# what `make` has built, for a test that is run by hand
sub _module {
    my ($root) = __FILE__ =~ m{^(.*?)t/lib/ApiKeys/};

    return Cwd::abs_path($root eq '' ? '.' : $root)
        . '/build/ngx_http_apikeys_module.so';
}


# a module of t/modules, built for the nginx that is tested
sub test_module {
    my ($name) = @_;

    my ($root) = __FILE__ =~ m{^(.*?)t/lib/ApiKeys/};
    $root = Cwd::abs_path($root eq '' ? '.' : $root);
    chomp(my $file = qx{$root/t/modules/build $name});
    $? == 0 or die "the module $name was not built\n";

    # every module that is loaded has an ngx_modules of its own, by design
    $ENV{ASAN_OPTIONS} .= ',detect_odr_violation=0'
        if $ENV{APIKEYS_TEST_ASAN}
            && $ENV{ASAN_OPTIONS} !~ /detect_odr_violation/;
    return $file;
}


# the nth port of this nginx, on 127.0.0.1
sub port {
    my ($self, $n) = @_;

    return $self->{ports}[ $n || 0 ] ||= _free_port();
}


sub url { return 'http://127.0.0.1:' . $_[0]->port($_[1]) }
sub dir { return $_[0]{dir} }
sub pid { return $_[0]{pid} }


# changes options and writes nginx.conf anew
sub configure {
    my ($self, %opt) = @_;

    $self->{opt} = { %{ $self->{opt} }, %opt };
    $self->write_file('nginx.conf', $self->{opt}{conf} || $self->_conf);
    return $self;
}


# a file below the prefix; returns its absolute name
sub write_file {
    my ($self, $name, $text, $mode) = @_;

    $text =~ s/%%PORT(?:_(\d+))?%%/$self->port($1)/ge;
    $text =~ s/%%DIR%%/$self->{dir}/g;

    open my $f, '>', "$self->{dir}/$name" or die "$name: $!\n";
    chmod $mode, $f if defined $mode;
    print $f $text;
    close $f or die "$name: $!\n";
    return "$self->{dir}/$name";
}


sub _conf {
    my ($self) = @_;

    my $opt = $self->{opt};
    my $load = join '', map { "load_module $_;\n" } @{ $self->{load} };
    my $user = $> == 0 ? "user www-data;\n" : '';
    my $workers = $opt->{workers} || 1;
    my $level = $opt->{log_level} || 'info';

    my ($main, $events, $http, $server)
        = map { $_ // '' } @$opt{qw( main events http server )};

    $server = <<"END" if defined $opt->{server};
    server {
        listen 127.0.0.1:%%PORT%%;
        server_name localhost;
$server
    }
END

    return <<"END";
$load$user
daemon off;
worker_processes $workers;
pid %%DIR%%/nginx.pid;
error_log %%DIR%%/error.log $level;
$main

events {
    worker_connections 512;
$events
}

http {
    access_log off;
    root %%DIR%%/html;
    default_type text/plain;
    client_body_temp_path %%DIR%%/tmp/body;
    proxy_temp_path %%DIR%%/tmp/proxy;
    fastcgi_temp_path %%DIR%%/tmp/fastcgi;
    uwsgi_temp_path %%DIR%%/tmp/uwsgi;
    scgi_temp_path %%DIR%%/tmp/scgi;
$http
$server
}
END
}


# nginx -t: exit code and what it said
sub test {
    my ($self) = @_;

    return $self->_run('-t');
}


# nginx -T
sub dump_conf {
    my ($self) = @_;

    return ($self->_run('-T', '-q'))[1];
}


sub _run {
    my ($self, @args) = @_;

    # nginx -t ends without freeing the configuration
    local $ENV{ASAN_OPTIONS} = join ',', $ENV{ASAN_OPTIONS} // (),
        'detect_leaks=0';

    my $pid = open my $out, '-|';
    defined $pid or die "fork: $!\n";
    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        { exec $self->_command, @args };
        print "$self->{binary}: $!\n";
        POSIX::_exit(127);
    }

    my $text = do { local $/; <$out> };
    close $out;
    return ($? >> 8 || $? & 127, $text // '');
}


sub _command {
    my ($self) = @_;

    return ($self->{binary}, '-p', "$self->{dir}/", '-c',
        "$self->{dir}/nginx.conf", '-e', "$self->{dir}/error.log");
}


# until it answers; dies with the error log when it does not
sub start {
    my ($self) = @_;

    my $pid = fork;
    defined $pid or die "fork: $!\n";

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$self->{dir}/stderr";
        open STDERR, '>&', \*STDOUT;
        my @valgrind = split ' ', $ENV{APIKEYS_TEST_VALGRIND} // '';
        { exec 'setpriv', '--pdeathsig', 'TERM', @valgrind, $self->_command };
        POSIX::_exit(127);
    }

    $self->{pid} = $pid;
    $self->{checked} = 0;
    $self->wait_for(sub { $self->_alive && $self->_answers }, 60,
        'nginx does not answer');
    return $self;
}


sub _alive {
    my ($self) = @_;

    if (waitpid($self->{pid}, WNOHANG) == $self->{pid}) {
        delete $self->{pid};
        $self->{checked} = 1;
        die "nginx does not start:\n" . $self->error_text;
    }
    return 1;
}


sub _answers {
    my ($self) = @_;

    my @listening = grep { defined } @{ $self->{ports} };

    # with a configuration of the test's own perhaps none is listened on
    return $self->workers if $self->{opt}{conf};
    return $self->workers if !defined $self->{opt}{server};

    return IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $listening[0], Timeout => 5) && $self->workers;
}


# the same as a daemon, as only such a master upgrades itself
sub start_daemon {
    my ($self) = @_;

    # a new binary has only the environment that the configuration names
    $self->write_file('nginx.conf', join '',
        map({ "env $_;\n" } grep { /^(?:A|L|UB)SAN_OPTIONS$/ } sort keys %ENV),
        _read("$self->{dir}/nginx.conf") =~ s/daemon off/daemon on/r);
    system($self->_command) == 0
        or die "nginx does not start:\n" . $self->error_text;

    $self->{daemon} = 1;
    $self->{checked} = 0;
    $self->_await_master(0);
    return $self;
}


# USR2; until the new binary has its workers.  The old one runs, too, until
# retire()
sub upgrade {
    my ($self, $timeout) = @_;

    $self->{old} = $self->{pid};
    CORE::kill 'USR2', $self->{old};
    $self->_await_master($self->{old}, $timeout);
}


sub retire {
    my ($self, $timeout) = @_;

    my $old = $self->{old};
    CORE::kill 'QUIT', $old;
    $self->wait_for(sub { !CORE::kill 0, $old }, $timeout || 20,
        'the old binary does not end');
    delete $self->{old};
}


sub _await_master {
    my ($self, $old, $timeout) = @_;

    my $workers = $self->{opt}{workers} || 1;

    $self->wait_for(sub {
        my ($pid) = _read("$self->{dir}/nginx.pid") =~ /^(\d+)$/;
        return $pid && $pid != $old && _children($pid, $worker) == $workers
            && ($self->{pid} = $pid);
    }, $timeout || 20, 'no master with workers');
}


# polls a condition; dies with what was waited for, and the error log
sub wait_for {
    my ($self, $condition, $timeout, $what) = @_;

    my $end = time + ($timeout || 10);

    for ( ;; ) {
        my $value = $condition->();
        return $value if $value;
        time < $end or die "$what\n" . $self->error_text;
        sleep 0.01;
    }
}


# until the error log, from where the last wait for it ended (or from the
# given offset), holds what is looked for
sub wait_log {
    my ($self, $regex, $timeout, $from) = @_;

    $from //= $self->{log_offset} || 0;

    return $self->wait_for(sub {
        my $text = substr $self->error_log, $from;
        $text =~ $regex or return;
        $self->{log_offset} = $from + $+[0];
        return 1;
    }, $timeout, "not in the error log: $regex");
}


# where the log ends now: for wait_log's last argument
sub log_mark { return $_[0]{log_offset} = length $_[0]->error_log }

sub error_log { return _read("$_[0]{dir}/error.log") }

sub error_text {
    my ($self) = @_;

    return _read("$self->{dir}/stderr") . $self->error_log;
}


# pids of the workers that accept connections; exiting => 1: of those that
# finish instead
sub workers {
    my ($self, %opt) = @_;

    # the log has it, too, at [notice]
    if ($ENV{APIKEYS_TEST_VALGRIND}) {
        my %exiting = map { $_ => 1 }
            $self->error_log =~ /(\d+)#\d+: gracefully shutting down/g;
        return grep { !$exiting{$_} == !$opt{exiting} }
            _children($self->{pid}, $process);
    }

    return _children($self->{pid}, $opt{exiting} ? $exiting : $worker);
}


sub _children {
    my ($parent, $title) = @_;

    my @pids;

    $parent or return;
    for my $dir (glob '/proc/[0-9]*') {
        my $stat = _read("$dir/stat");
        $stat =~ /^(\d+) \(.*\) \S (\d+) /s && $2 == $parent or next;
        my $pid = $1;
        (my $line = _read("$dir/cmdline")) =~ tr/\0/ /;
        push @pids, $pid if $line =~ $title;
    }
    return @pids;
}


# HUP; until all workers are new ones
sub reload {
    my ($self, $timeout) = @_;

    my %old = map { $_ => 1 } $self->workers;

    CORE::kill 'HUP', $self->{pid};
    $self->wait_for(sub {
        my @workers = $self->workers;
        return @workers && !grep { $old{$_} } @workers;
    }, $timeout || 30, 'no new workers after a reload');
}


sub signal {
    my ($self, $signal, @pids) = @_;

    return CORE::kill $signal, @pids ? @pids : $self->{pid};
}


# kill -9 of a worker in the middle of a function of the module, at random up
# to so many instructions behind its begin, when it comes there within so many
# milliseconds; killed($it) waits for that and tells whether it did.  Another
# signal, by number, stops it there; 0 holds it in a trace until $it, which
# stops then, is continued
sub kill_at {
    my ($self, $pid, $function, $instructions, $timeout, @signal) = @_;

    my $program = $self->_kill_at or return;
    my $file = $self->{load}[0] || $self->{binary};
    my ($base) = _read("/proc/$pid/maps")
        =~ /^([0-9a-f]+)-\S+ \S+ 0+ .* \Q$file\E$/m or return;

    no warnings 'portable';
    $self->{functions} ||= { map { /^([0-9a-f]+) \w (\w+)$/ ? ($2 => $1) : ()
        } qx{nm '$file'} };
    my $address = hex($base) + hex($self->{functions}{$function}
        // die "no function $function in $file\n");

    my $it = fork;
    defined $it or die "fork: $!\n";
    return $it if $it;
    { exec $program, $pid, sprintf('%x', $address), int rand $instructions,
        $timeout, @signal };
    POSIX::_exit(127);
}


sub killed {
    my ($self, $it) = @_;

    $it or return 0;
    waitpid $it, POSIX::WUNTRACED();
    $self->{untraced} = 'a process cannot be traced here' if $? >> 8 == 3;
    return $? == 0;
}


# whether one of several has; the first that does ends the others
sub killed_one {
    my ($self, @its) = @_;

    my %waits = map { $_ => 1 } grep { $_ } @its;
    my $killed = 0;

    while (%waits) {
        for my $it (keys %waits) {
            waitpid($it, WNOHANG) == $it or next;
            delete $waits{$it};
            next if $? != 0;
            $killed = 1;
            CORE::kill 'TERM', keys %waits;
        }
        sleep 0.01;
    }
    return $killed;
}


# why there is no kill_at; known for sure after the first
sub untraced { $_[0]->_kill_at; return $_[0]{untraced} }

sub _kill_at {
    my ($self) = @_;

    $self->{kill_at} ||= do {
        my ($lib) = __FILE__ =~ m{^(.*)/ApiKeys/Nginx\.pm$};
        my $program = "$self->{dir}/kill_at";

        $self->{untraced} = 'valgrind runs the code'
            if $ENV{APIKEYS_TEST_VALGRIND};
        $self->{untraced} = 'kill_at cannot be built'
            if system 'cc', '-O1', '-o', $program, "$lib/../tools/kill_at.c";
        $program;
    };
    return $self->{untraced} ? undef : $self->{kill_at};
}


# graceful: waits for the end, and complains when it does not come
sub quit { return $_[0]->_end('QUIT', $_[1] || 30) }

# fast
sub stop { return $_[0]->_end('TERM', 30) }

# kill -9 of the master and its workers
sub kill {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;
    CORE::kill 'KILL', $pid, _children($pid, $process);
    waitpid $pid, 0;
    $self->check;
}


sub _end {
    my ($self, $signal, $timeout) = @_;

    my $pid = $self->{pid} or return;

    CORE::kill $signal, $pid, delete $self->{old} // ();
    my $end = time + $timeout;

    while ($self->{daemon} ? CORE::kill(0, $pid) : waitpid($pid, WNOHANG) == 0) {
        if (time >= $end) {
            _fail("nginx has not ended $timeout s after $signal");
            CORE::kill 'KILL', $pid, _children($pid, $process);
            waitpid $pid, 0;
            last;
        }
        sleep 0.01;
    }
    delete $self->{pid};
    $self->check;
}


# what the error log must not hold; run at the end in any case
sub check {
    my ($self) = @_;

    return if $self->{checked}++;

    my $allow = $self->{opt}{allow};
    my @bad = grep { !$allow || $_ !~ $allow }
        grep { /\[(?:alert|crit|emerg)\]/ } split /\n/, $self->error_log;
    _fail(join "\n", 'in the error log:', @bad) if @bad;

    my $text = $self->error_text;
    my $report = qr/(?:\w+Sanitizer:|runtime\ error:|==\d+==\ ?ERROR)/x;
    _fail("a sanitizer's report:\n" . join "\n",
        $text =~ /^(.*$report(?:.*\n?){1,40})/m) if $text =~ $report;
}


# outside of the plan, which may be over: the exit code tells
sub _fail {
    my ($text) = @_;

    Test::More::diag($text);
    $failed++;
}


# below those that the kernel gives to clients, so that nobody takes it before
# nginx does
sub _free_port {
    for (1 .. 200) {
        my $port = 10_000 + int rand 22_000;
        next if $used{$port}++;
        IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1',
            LocalPort => $port) and return $port;
    }
    die "no free port\n";
}


sub _read {
    my ($file) = @_;

    open my $f, '<', $file or return '';
    local $/;
    my $text = <$f>;
    return $text // '';
}


sub DESTROY {
    my ($self) = @_;

    return if $self->{owner} != $$;

    local ($?, $@, $!);
    $self->_end('TERM', 30);
    if ($ENV{APIKEYS_TEST_KEEP}) {
        Test::More::diag("kept: $self->{dir}");
        return;
    }
    remove_tree($self->{dir}, { safe => 0 });
}


# objects that outlive the test end here: global destruction is too late for
# an exit code
END {
    my $code = $?;
    for my $nginx (grep { defined } @live) {
        $nginx->_end('TERM', 30) if $nginx->{owner} == $$;
    }
    $? = $code || ($failed ? 1 : 0);
}


1;
