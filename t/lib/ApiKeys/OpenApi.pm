package ApiKeys::OpenApi;

# What the tests of the OpenAPI documents share: the tools of other people, and
# the calls through prism, which lets nothing pass that the document does not
# have.  A test sets document, flows, fixture and the rest, and calls the parts.

use strict;
use warnings;

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use Cwd qw( abs_path );
use Exporter qw( import );
use File::Temp qw( tempdir );
use IO::Socket::INET ();
use JSON::PP ();
use POSIX ();
use Test::More;
use Time::HiRes qw( sleep time );

our @EXPORT = qw( bundle call client codes copy curl judge lint operations
    prism respect routes specmatic %with );

# document: its path; flows: that of the flows; fixture, org, project: of
# ApiKeys::Fixture; bases: names of the bases; silent: codes of the server that
# the document does not have
our %with;

my $root = abs_path(__FILE__) =~ s{/t/lib/ApiKeys/[^/]+$}{}r;
my $dir = tempdir('ak-openapi-XXXXXX', DIR => '/tmp', CLEANUP => 1);
my $json = JSON::PP->new->canonical->utf8->allow_nonref;
my ($npm, $proxied, %seen, @violations, @started);

$ENV{REDOCLY_TELEMETRY} = 'off';


# the tools; the test ends if they are not there
sub _npm {
    return $npm if defined $npm;

    chomp($npm = qx{$root/util/npm 2>&1});
    if ($? || !-d $npm) {
        fail 'the npm packages are there';
        diag $npm;
        done_testing;
        exit;
    }
    $ENV{PATH} = "$npm/bin:$ENV{PATH}";
    return $npm;
}


sub lint {
    my (@skipped) = @_;

    my ($code, $text) = redocly('lint', "$root/$with{document}",
        "$root/$with{flows}", map { "--skip-rule=$_" } @skipped);
    is $code, 0, 'the document and the flow are valid' or diag $text;
    unlike $text, qr/\d warning/, 'the document and the flow have no warning'
        or diag $text;
}


sub redocly {
    my (@args) = @_;

    return run({}, _npm() . "/node_modules/.bin/redocly", @args);
}


# exit code and all that it said
sub run {
    my ($env, @command) = @_;

    my $pid = open my $out, '-|';
    defined $pid or die "fork: $!\n";
    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDERR, '>&', \*STDOUT;
        chdir $dir;
        @ENV{ keys %$env } = values %$env;
        { exec @command };
        print "$command[0]: $!\n";
        POSIX::_exit(127);
    }
    local $/;
    my $said = <$out>;
    close $out;
    return ($? >> 8 || $? & 127, $said);
}


# a server that ends with the test; its first line when it prints its port
sub start {
    my ($log, $env, @command) = @_;

    my $pid = fork;
    defined $pid or die "fork: $!\n";
    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', $log;
        open STDERR, '>&', \*STDOUT;
        chdir $dir;
        @ENV{ keys %$env } = values %$env;
        { exec 'setpriv', '--pdeathsig', 'TERM', @command };
        POSIX::_exit(127);
    }
    push @started, $pid;
    return $pid;
}


sub wait_for {
    my ($what, $condition) = @_;

    my $end = time + 60;
    while (time < $end) {
        my $value = $condition->();
        return $value if $value;
        sleep 0.05;
    }
    die "$what does not start\n";
}


sub slurp {
    my ($file) = @_;

    open my $h, '<', $file or return '';
    local $/;
    return scalar(<$h>) // '';
}


sub write_json {
    my ($name, $value) = @_;

    open my $h, '>', "$dir/$name" or die "$name: $!\n";
    print $h $json->encode($value);
    close $h or die "$name: $!\n";
    return "$dir/$name";
}


sub copy { return $json->decode($json->encode($_[0])) }


END {
    local $?;
    kill 'TERM', @started;
    waitpid $_, 0 for @started;
}


# as JSON, without security, which these tools would take into their own
# hands, and none of them knows digest
sub bundle {
    my ($rc, $said) = redocly('bundle', "$root/$with{document}", '--ext',
        'json', '-o', "$dir/bundle.json");
    is $rc, 0, 'the document can be had as JSON' or diag $said;

    my $d = $with{doc} = $json->decode(slurp("$dir/bundle.json"));
    delete $d->{security};
    delete $d->{components}{securitySchemes};
    delete $_->{security} for operations($d);
    return $d;
}


sub operations {
    my ($d) = @_;

    return map { my $path = $_; map { $d->{paths}{$path}{$_} }
        keys %{ $d->{paths}{$path} } } keys %{ $d->{paths} };
}


# a code that is added there must be added here
sub codes {
    my %served = map { $_ => 1 } slurp("$root/src/http/ngx_http_apikeys_codes.c")
        =~ /^ +\d{3}, ngx_string\("([A-Z_]{5,})"\)/mg;
    my %described = map { $_ => 1 }
        map { @{ $_->{properties}{errorCode}{enum} || [] } }
        values %{ copy($with{doc})->{components}{schemas} };

    # of protected locations, and of what no operation answers for
    delete @served{qw( ACCESS_FORBIDDEN METHOD_NOT_ALLOWED RATE_LIMITED
        RESOURCE_NOT_FOUND ), @{ $with{silent} }};

    is_deeply [ sort keys %described ], [ sort keys %served ],
        'the codes of all answers are described';
}


# each route of the server is described, on each base that has the route
sub routes {
    for my $route (ApiKeys::Fixture::routes()) {
        my $method = lc $route->{method};

        for my $name (@{ $route->{bases} }) {
            next if !grep { $_ eq $name } @{ $with{bases} };

            my $base = $ApiKeys::Fixture::ALL{$name};
            my @of = grep {
                my $path = m{^\Q$base\E(.*)} ? $1 =~ s/\{\w+\}/x/gr : undef;
                defined $path && $route->{matches}->($path, $name)
            } keys %{ $with{doc}{paths} };

            ok scalar(grep { $with{doc}{paths}{$_}{$method} } @of),
                "the document has $route->{method} of $route->{name}, $name";
        }
    }
}


sub respect {
    my ($n) = @_;

    my ($public, $private) = split /:/, $with{org}{key}{secret};
    my %input = (orgId => $with{org}{id}, groupId => $with{project}{id},
        publicKey => $public, privateKey => $private);

    my ($rc, $said) = redocly('respect', "$root/$with{flows}",
        '--server', 'api=' . $with{fixture}->nginx->url,
        map { ('--input', "$_=$input{$_}") } sort keys %input);

    is $rc, 0, 'a key lives as the flow has it, on each base' or diag $said;
    like $said, qr/Workflows: $n passed, $n total/, 'all flows ran';
}


# runs the flow of the test, which must call each operation
sub prism {
    my ($flow) = @_;

    my $d = copy($with{doc});

    # curl's first request is empty: it waits for the challenge
    $_->{requestBody} and $_->{requestBody}{required} = JSON::PP::false
        for operations($d);

    $proxied = free_port();
    start("$dir/prism.log", {}, _npm() . "/node_modules/.bin/prism", 'proxy',
        write_json('prism.json', $d), $with{fixture}->nginx->url, '--errors',
        '--port', $proxied, '--verboseLevel', 'error');
    wait_for('prism', sub { IO::Socket::INET->new(PeerPort => $proxied,
        PeerAddr => '127.0.0.1') });

    $flow->();

    is_deeply \@violations, [], 'no request and no answer of the flows is'
        . ' other than the document has it';

    my @missing = grep { !$seen{$_} && !refuses($_) } templates($with{doc});
    is_deeply \@missing, [], 'the flows succeed with every operation';

    # does it look at all?
    my $base = $ApiKeys::Fixture::ALL{ $with{bases}[0] };
    my $res = client()->request('PATCH',
        "$base/orgs/$with{org}{id}/settings",
        { apiAccessListRequired => 'perhaps' });
    like $res->header('content-type'), qr/problem/, 'prism sees a request'
        . ' that is wrong';
}


sub free_port {
    my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1');
    return $s->sockport;
}


# "METHOD TEMPLATE" of all operations
sub templates {
    my ($d) = @_;

    return sort map { my $path = $_; map { uc($_) . " $path" }
        keys %{ $d->{paths}{$path} } } keys %{ $d->{paths} };
}


# whether there is no other answer
sub refuses {
    my ($method, $path) = split / /, $_[0];

    return !grep { /^2/ }
        keys %{ $with{doc}{paths}{$path}{ lc $method }{responses} };
}


sub template_of {
    my ($method, $path) = @_;

    $path =~ s/\?.*//s;
    for my $template (templates($with{doc})) {
        my $regex = quotemeta($template) =~ s/\\\{\w+\\\}/[^\/]+/gr;
        return $template if "$method $path" =~ /^$regex$/;
    }
    return '';
}


sub client {
    my (%opt) = @_;

    return ApiKeys::Client->new(port => $proxied,
        key => $with{org}{key}{secret}, timeout => 30, %opt);
}


# through prism, which answers itself where it does not agree
sub call {
    my ($client, $method, $path, $body, $expected, %opt) = @_;

    my %headers = $path =~ m{/v2(?:/|$)}
        ? (Accept => 'application/vnd.atlas.2023-01-01+json') : ();
    my $res = $client->request($method, $path, $body,
        headers => { %headers, %{ $opt{headers} || {} } });

    judge($method, $path, $expected, $res->code,
        $res->header('content-type') // '', $res->body);
    return $res->code < 300 && $res->body =~ /^\{/ ? $res->json : {};
}


sub judge {
    my ($method, $path, $expected, $status, $type, $body) = @_;

    push @violations, "$method $path: $body" if $type =~ /problem/;
    $seen{ template_of($method, $path) } = 1 if $status < 300;
    like $status, ref $expected ? $expected : qr/^$expected$/,
        "$method $path: $expected" or diag $body;
}


sub curl {
    my ($method, $path, $body, $expected) = @_;

    my @args = ('-s', '--digest', '-u', $with{org}{key}{secret}, '-X', $method,
        '-H', 'Accept: ' . ($path =~ m{/v2/}
            ? 'application/vnd.atlas.2023-01-01+json' : 'application/json'),
        '-w', '\n%{http_code} %{content_type}');
    push @args, '-H', 'Content-Type: application/json', '-d',
        $json->encode($body) if $body;

    my ($rc, $said) = run({}, 'curl', @args,
        "http://127.0.0.1:$proxied$path");
    my ($content, $status, $type) = $said =~ /^(.*)\n(\d+) ?(\S*)$/s;

    judge($method, $path, $expected, $status, $type, $content);
    return $status < 300 && length $content ? $json->decode($content) : {};
}


# requests that the tool makes up from the document $d; at least $n
sub specmatic {
    my ($d, $n) = @_;

    my ($public, $private) = split /:/, $with{org}{key}{secret};
    my $proxy = start("$dir/proxy.port", {
        APIKEYS_PUBLIC_KEY => $public, APIKEYS_PRIVATE_KEY => $private,
        APIKEYS_ORG_ID => $with{org}{id}, APIKEYS_PROJECT_ID => $with{project}{id},
        APIKEYS_PROJECT_NAME => $with{project}{name},
        APIKEYS_OPERATOR_TOKEN => $with{fixture}->token },
        'node', "$root/t/tools/digest-proxy", $with{fixture}->nginx->port,
        "$dir/proxy.log");
    my $port = wait_for('the proxy',
        sub { slurp("$dir/proxy.port") =~ /^(\d+)\n/ ? $1 : 0 });

    write_json('generated.json', $d);

    my ($rc, $said) = run({ SPECMATIC_GENERATIVE_TESTS => 'true' }, 'java',
        '-Xmx512m', '-jar', _npm() . "/node_modules/specmatic/specmatic.jar",
        'test', 'generated.json', "--testBaseURL=http://127.0.0.1:$port");

    my ($run, $passed, $failed) = $said =~
        /Tests run: (\d+), Successes: (\d+), Failures: (\d+)/;
    cmp_ok $run // 0, '>=', $n, 'specmatic made requests up';
    is $failed, 0,
        'all answers to requests of specmatic are as the document says'
        or diag join "\n", ($said =~ /^.*has FAILED\n(?:.*\n){1,14}/mg)[0 .. 9];
    is $rc, 0, 'specmatic is content' or diag substr $said, -2000;

    my @log = split /\n/, slurp("$dir/proxy.log");
    my %status;
    $status{ (split)[-1] }++ for @log;
    note "$run requests: ", join ', ', map { "$_: $status{$_}" } sort keys %status;

    is_deeply [ grep { / 5\d\d$| failed: / } @log ], [],
        'no answer is an error of the server';
    cmp_ok $status{400} // 0, '>=', 200, 'wrong requests were among them';
}


1;
