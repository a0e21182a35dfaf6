# docs/openapi.yaml says what is served, and nothing else.  Four tools of other
# people's hold the one against the other: redocly's linter; its "respect",
# which takes a key through its life on each base; prism between clients and
# the server, which lets nothing pass that the document does not have; and
# specmatic, which makes up requests from it, right ones and wrong ones.

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Temp qw( tempdir );
use IO::Socket::INET ();
use JSON::PP ();
use POSIX ();
use Test::More;
use Time::HiRes qw( sleep time );

use ApiKeys::Fixture ();

my $root = abs_path(__FILE__) =~ s{/t/[^/]+$}{}r;
my $dir = tempdir('ak-openapi-XXXXXX', DIR => '/tmp', CLEANUP => 1);
my $json = JSON::PP->new->canonical->utf8->allow_nonref;
my @bases = ('/api/atlas/v1.0', '/api/atlas/v2', '/api/public/v1.0');
my @started;

$ENV{REDOCLY_TELEMETRY} = 'off';

chomp(my $npm = qx{$root/util/npm 2>&1});
if ($? || !-d $npm) {
    fail 'the npm packages are there';
    diag $npm;
    done_testing;
    exit;
}

$ENV{PATH} = "$npm/bin:$ENV{PATH}";

# "byName" is no project, and where there are no teams, calls are only refused
my ($code, $text) = redocly('lint', "$root/docs/openapi.yaml",
    "$root/t/arazzo/keys.arazzo.yaml", '--skip-rule=no-ambiguous-paths',
    '--skip-rule=operation-2xx-response');
is $code, 0, 'the document and the flow are valid' or diag $text;
unlike $text, qr/\d warning/, 'the document and the flow have no warning'
    or diag $text;

my $f = ApiKeys::Fixture->new(workers => 2, server => <<'END_OF_CONF');
        location = /api/private/ipinfo {
            default_type application/json;
            return 200 '{"currentIpv4Address":"$remote_addr"}';
        }

        location = /api/private/unauth/version {
            add_header X-MongoDB-Service-Version
                       "gitHash=0; versionString=6.0.10";
            return 200 "";
        }
END_OF_CONF
my $org = $f->org;
my $project = $f->project($org);

respect();

my $doc = bundle();

codes();
routes();
prism();
specmatic();

done_testing;


# --- tools -----------------------------------------------------------------

sub redocly {
    my (@args) = @_;

    return run({}, "$npm/node_modules/.bin/redocly", @args);
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


# --- the document ----------------------------------------------------------

# as JSON, without security, which these tools would take into their own
# hands, and none of them knows digest
sub bundle {
    my ($rc, $said) = redocly('bundle', "$root/docs/openapi.yaml", '--ext',
        'json', '-o', "$dir/bundle.json");
    is $rc, 0, 'the document can be had as JSON' or diag $said;

    my $d = $json->decode(slurp("$dir/bundle.json"));
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
        values %{ copy($doc)->{components}{schemas} };

    # of protected locations, and of what no operation answers for
    delete @served{qw( ACCESS_FORBIDDEN METHOD_NOT_ALLOWED RATE_LIMITED
        RESOURCE_NOT_FOUND )};

    is_deeply [ sort keys %described ], [ sort keys %served ],
        'the codes of all answers are described';
}


# each route of the server is described, on each base that has the route
sub routes {
    for my $route (ApiKeys::Fixture::routes()) {
        my $method = lc $route->{method};

        for my $name (@{ $route->{bases} }) {
            my $base = $ApiKeys::Fixture::BASE{$name};
            my @of = grep {
                my $path = m{^\Q$base\E(.*)} ? $1 =~ s/\{\w+\}/x/gr : undef;
                defined $path && $route->{matches}->($path, $name)
            } keys %{ $doc->{paths} };

            ok scalar(grep { $doc->{paths}{$_}{$method} } @of),
                "the document has $route->{method} of $route->{name}, $name";
        }
    }
}


# --- respect ---------------------------------------------------------------

sub respect {
    my ($public, $private) = split /:/, $org->{key}{secret};
    my %input = (orgId => $org->{id}, groupId => $project->{id},
        publicKey => $public, privateKey => $private);

    my ($rc, $said) = redocly('respect', "$root/t/arazzo/keys.arazzo.yaml",
        '--server', 'api=' . $f->nginx->url,
        map { ('--input', "$_=$input{$_}") } sort keys %input);

    is $rc, 0, 'a key lives as the flow has it, on each base' or diag $said;
    like $said, qr/Workflows: 3 passed, 3 total/, 'all three flows ran';
}


# --- prism -----------------------------------------------------------------

my ($proxied, %seen, @violations);

sub prism {
    my $d = copy($doc);

    # curl's first request is empty: it waits for the challenge
    $_->{requestBody} and $_->{requestBody}{required} = JSON::PP::false
        for operations($d);

    $proxied = free_port();
    start("$dir/prism.log", {}, "$npm/node_modules/.bin/prism", 'proxy',
        write_json('prism.json', $d), $f->nginx->url, '--errors',
        '--port', $proxied, '--verboseLevel', 'error');
    wait_for('prism', sub { IO::Socket::INET->new(PeerPort => $proxied,
        PeerAddr => '127.0.0.1') });

    flow($_) for @bases;
    global_keys();
    flow_of_curl($_) for @bases;

    for my $path ('/api/private/ipinfo', '/api/private/unauth/version') {
        call(client(), 'GET', $path, undef, 200);
    }

    is_deeply \@violations, [], 'no request and no answer of the flows is'
        . ' other than the document has it';

    my @missing = grep { !$seen{$_} && !refuses($_) } templates($doc);
    is_deeply \@missing, [], 'the flows succeed with every operation';

    # does it look at all?
    my $res = client()->request('PATCH', "$org->{path}/settings",
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
        keys %{ $doc->{paths}{$path}{ lc $method }{responses} };
}


sub template_of {
    my ($method, $path) = @_;

    $path =~ s/\?.*//s;
    for my $template (templates($doc)) {
        my $regex = quotemeta($template) =~ s/\\\{\w+\\\}/[^\/]+/gr;
        return $template if "$method $path" =~ /^$regex$/;
    }
    return '';
}


sub client {
    my (%opt) = @_;

    return ApiKeys::Client->new(port => $proxied,
        key => $org->{key}{secret}, timeout => 30, %opt);
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


# every operation of a base, and the errors that a client may well run into
sub flow {
    my ($base) = @_;

    my $v2 = $base =~ /v2$/;
    my $om = $base =~ /public/;
    my $gone = $v2 ? 404 : 400;
    my $nobody = '0123456789abcdef01234567';
    my $owner = client();
    my $operator = client(token => $f->token);
    my $o = "$base/orgs/$org->{id}";
    my $g = "$base/groups/$project->{id}";

    call(client(key => undef), 'GET', "$o/apiKeys", undef, 401);
    call($owner, 'GET', $base, undef, 200);
    call($operator, 'GET', $base, undef, 200);
    call($owner, 'GET', "$base/orgs?envelope=true", undef, 200);
    call($owner, 'GET', $o, undef, 200);
    call($owner, 'GET', "$base/orgs/$nobody", undef, 404);
    call($owner, 'GET', "$o/settings?envelope=true", undef, 200);
    call($owner, 'PATCH', "$o/settings",
        { apiAccessListRequired => JSON::PP::false,
          genAIFeaturesEnabled => JSON::PP::true, securityContact => '' },
        200);
    call($operator, 'POST', "$base/orgs", { name => 'of the flow',
        apiKey => { desc => 'first', roles => ['ORG_OWNER'] } }, 201);
    my $empty = call($operator, 'POST', "$base/orgs?envelope=true",
        { name => 'without a key', skipDefaultAlertsSettings =>
          JSON::PP::true }, 201)->{content};
    $empty = $empty->{organization} || $empty;
    call($owner, 'POST', "$base/orgs", { name => 'not mine to make' },
        $om ? 401 : 403);
    call($owner, 'GET', "$base/orgs?name=%25", undef, 200);
    call($owner, 'PATCH', $o, { name => 'renamed' }, 200);
    call($owner, 'PATCH', "$o?envelope=true", { name => 'renamed' }, 200);
    call($owner, 'PATCH', $o, {}, 200) if !$v2;
    call($owner, 'PATCH', $o, { name => "\n" }, 400);
    call($owner, 'DELETE', $o, undef, 409);
    call($operator, 'DELETE', "$base/orgs/$empty->{id}", undef, 204);
    call($operator, 'DELETE', "$base/orgs/$empty->{id}", undef, 404);

    my $new = call($owner, 'POST', "$base/groups",
        { name => 'of the flow', orgId => $org->{id} }, 201);
    call($owner, 'POST', "$base/groups",
        { name => 'of the flow', orgId => $org->{id} }, 409);
    $f->db->psql("SELECT apikeys.set_quota('$org->{id}', p_projects => 1)");
    call($owner, 'POST', "$base/groups",
        { name => 'beyond the quota', orgId => $org->{id} }, 409);
    $f->db->psql("SELECT apikeys.set_quota('$org->{id}', p_projects => 1000)");
    call($owner, 'GET', "$base/groups/$new->{id}", undef, 200);
    call($owner, 'GET', "$base/groups?itemsPerPage=1&pageNum=2", undef, 200);
    call($owner, 'GET', "$base/groups?itemsPerPage=0&pageNum=0", undef, 200);
    call($owner, 'GET', "$o/groups?name=OF", undef, 200);
    projects($base, $owner, $operator, $new);
    companions($base, $owner, $o, $g);
    events($base, $owner, $o, $g);
    call($owner, 'GET', "$o/groups?includeCount=false", undef, 200);
    call($owner, 'GET', "$base/groups/$nobody", undef, 404);

    my $key = call($owner, 'POST', "$o/apiKeys",
        { desc => "\x{fc}ber 250 ist zu viel", roles => ['ORG_MEMBER'] }, 200);
    my $k = "$o/apiKeys/$key->{id}";
    my $other = client(key => "$key->{publicKey}:$key->{privateKey}");

    call($owner, 'GET', "$o/apiKeys?envelope=true&itemsPerPage=1", undef,
        200);
    call($owner, 'GET', $k, undef, 200);
    call($other, 'GET', "$k?envelope=true&pretty=true", undef, 200);
    call($owner, 'GET', "$o/apiKeys/$nobody", undef, $gone);
    call($owner, 'GET', "$o/apiKeys/$nobody?envelope=true", undef, $gone);
    call($owner, 'PATCH', $k, { desc => 'changed' }, 200);
    call($owner, 'PATCH', $k, { roles => ['ORG_READ_ONLY'] }, 200,
        headers => { Prefer => 'wait=10' });
    call($owner, 'PATCH', $k, { desc => 'at once' }, qr/^20[02]$/,
        headers => { Prefer => 'wait=0' });
    call($owner, 'PATCH', "$o/apiKeys/$org->{key}{id}",
        { roles => ['ORG_MEMBER'] }, 403);
    call($owner, 'DELETE', "$o/apiKeys/$org->{key}{id}", undef, 403);
    call($other, 'POST', "$o/apiKeys",
        { desc => 'x', roles => ['ORG_MEMBER'] }, 401);

    for my $list ("$k/accessList", $v2 ? () : "$k/whitelist") {
        call($owner, 'GET', $list, undef, 200);
        call($owner, 'POST', $list, [ { ipAddress => '192.0.2.7' },
            { cidrBlock => '198.51.100.0/24' }, { ipAddress => '127.0.0.1' },
            { cidrBlock => '2001:db8::/32' } ], 200);
        call($owner, 'POST', $list, [ { ipAddress => '192.0.2.7' } ], 409);
        call($owner, 'POST', $list, [ { cidrBlock => '0.0.0.0/0' } ], 400);
        call($other, 'GET', "$list?pageNum=2&itemsPerPage=2", undef, 200);
        call($other, 'DELETE', "$list/127.0.0.1", undef, 400);
        call($owner, 'GET', "$list/192.0.2.7", undef, 200);
        call($owner, 'GET', "$list/198.51.100.0%2F24?envelope=true", undef,
            200);
        call($owner, 'GET', "$list/2001:db8::%2F32", undef, 200);
        call($owner, 'GET', "$list/192.0.2.8", undef, 404);
        call($owner, 'GET', "$list/nowhere", undef, 400);
        call($owner, 'DELETE', "$list/192.0.2.7", undef, 204);
        call($owner, 'DELETE', "$list/192.0.2.7", undef, 404);
        call($owner, 'DELETE', "$list/$_", undef, 204)
            for '198.51.100.0%2F24', '127.0.0.1', '2001:db8::%2F32';
    }

    # a list that leaves its own key outside
    call($owner, 'POST', "$k/accessList", [ { ipAddress => '192.0.2.7' } ],
        200);
    call($other, 'GET', $k, undef, 403);

    call($owner, 'POST', "$g/apiKeys/$key->{id}",
        [ { roles => ['GROUP_READ_ONLY'] } ], 204);
    call($owner, 'POST', "$g/apiKeys/$key->{id}",
        { roles => ['GROUP_OWNER'] }, 400);
    call($owner, 'PATCH', "$g/apiKeys/$key->{id}",
        { roles => [ 'GROUP_OWNER', 'GROUP_READ_ONLY' ] }, 200);
    call($owner, 'GET', "$g/apiKeys", undef, 200);
    call($owner, 'DELETE', "$g/apiKeys/$key->{id}", undef, 204);
    call($owner, 'DELETE', "$g/apiKeys/$key->{id}", undef, $v2 ? 404 : 204);
    call($owner, 'DELETE', "$g/apiKeys/$nobody", undef, $gone);

    my $third = call($owner, 'POST', "$g/apiKeys?envelope=true",
        { desc => 'third', roles => ['GROUP_READ_ONLY'] }, 200)->{content};
    call($owner, 'DELETE', "$o/apiKeys/$_", undef, 204)
        for $key->{id}, $third->{id};

    # a version that there is none of, and what is no JSON
    call($owner, 'GET', "$o/apiKeys", undef, 406,
        headers => { Accept => 'application/json' }) if $v2;
}


# a project that is changed until it goes
sub projects {
    my ($base, $owner, $operator, $project) = @_;

    my $g = "$base/groups/$project->{id}";
    my $om = $base =~ /public/;
    my @tags = $om ? ('STAGING', 'web.shop')
        : map { { key => $_, value => "\x{e4}" } } 'b', 'a';

    call($owner, 'PATCH', $g, { name => 'of the other flow' }, 200);
    call($owner, 'PATCH', "$g?envelope=true", { tags => \@tags }, 200);
    call($owner, 'GET', $g, undef, 200);
    call($owner, 'GET', "$base/groups", undef, 200);
    call($owner, 'PATCH', $g, { name => $project->{name} }, 200,
        headers => { Prefer => 'wait=10' });
    call($owner, 'PATCH', $g, { tags => [] }, 200);
    call($owner, 'PATCH', $g, { name => "\n" }, 400);
    call($owner, 'GET', "$base/groups/byName/of%20the%20flow", undef, 200);
    call($owner, 'GET', "$base/groups/byName/nothing?envelope=true", undef,
        $om ? 404 : 401);

    my $other = call($operator, 'POST', "$base/orgs", { name => 'x' }, 201);
    $other = $other->{organization} || $other;
    my $same = call($operator, 'POST', "$base/groups?envelope=true",
        { name => 'of the flow', orgId => $other->{id}, tags => \@tags },
        201)->{content};
    call($operator, 'GET', "$base/groups/byName/of%20the%20flow", undef, 409);
    call($operator, 'DELETE', "$base/groups/$same->{id}?envelope=true",
        undef, $om ? 200 : 202);

    call($owner, 'PATCH', $g, { id => $other->{id} }, $om ? 400 : 200)
        if $base !~ /v2$/;
    call($owner, 'PATCH', $g, { %$project, name => 'sent back' }, 200)
        if $base !~ /v2$/;
    call($owner, 'PATCH', $g, { tags => [ @tags, @tags ] }, 400) if !$om;

    call($owner, 'DELETE', $g, undef, $om ? 200 : 202);
    call($owner, 'DELETE', $g, undef, 404);
}


# what clients ask for around the keys
sub companions {
    my ($base, $owner, $o, $g) = @_;

    call($owner, 'GET', "$_?pageNum=2&username=x", undef, 200)
        for map({ "$o/$_" } 'users', 'teams'),
            map({ "$g/$_" } 'users', 'teams');
    call($owner, 'GET', $_, undef, 200),
        call($owner, 'GET', "$_?envelope=true", undef, 200)
        for "$o/invites", "$g/invites";

    call($owner, 'POST', "$g/teams?envelope=true", [], 200);
    call($owner, 'POST', "$g/teams", [ { teamId => '0' x 24,
        roleNames => ['GROUP_OWNER'] } ], 404);
    call($owner, 'PATCH', "$g/teams/x", { roleNames => [] }, 404);
    call($owner, 'DELETE', "$g/teams/x", undef, 404);
    return if $base =~ /public/;

    for my $path ('settings', 'limits', 'ipAddresses', 'managedSlowMs',
        'clusters')
    {
        call($owner, 'GET', "$g/$path", undef, 200);
        call($owner, 'GET', "$g/$path?envelope=true", undef, 200);
    }
    call($owner, 'PATCH', "$g/settings",
        { isDataExplorerEnabled => JSON::PP::false }, 200);
    call($owner, 'PATCH', "$g/settings", {}, 200,
        headers => { Prefer => 'wait=10' });
    call($owner, 'DELETE', "$g/managedSlowMs/disable", undef, 204);
    call($owner, 'POST', "$g/managedSlowMs/enable", undef, 204);
}


# what the flow did so far, and in the project before it
sub events {
    my ($base, $owner, $o, $g) = @_;

    my $nobody = '0123456789abcdef01234567';

    for my $parent ($o, $g) {
        my $list = "$parent/events";
        my $event = call($owner, 'GET', "$list?envelope=true&includeRaw=true",
            undef, 200)->{results}[0];
        my $date = $event->{created} =~ s/:/%3A/gr;

        call($owner, 'GET', "$list/$event->{id}?includeRaw=true", undef, 200);
        call($owner, 'GET', "$list/$event->{id}?envelope=true", undef, 200);
        call($owner, 'GET', "$list/$nobody", undef, 404);
        call($owner, 'GET', "$list?$_", undef, 200) for
            "minDate=$date&maxDate=$date&includeCount=false",
            'eventType=API_KEY_CREATED&eventType=NO_SUCH&itemsPerPage=1',
            'excludedEventType=GROUP_CREATED&clusterNames=x';
        call($owner, 'GET', "$list?$_", undef, 400) for 'minDate=tomorrow',
            'minDate=2026-01-02&maxDate=2026-01-01';
    }
    call($owner, 'GET', "$base/eventTypes?itemsPerPage=2", undef, 200)
        if $base =~ /v2$/;
}


# keys without an organization, and their list by both of its names
sub global_keys {
    my $base = '/api/public/v1.0';
    my $admin = "$base/admin";
    my $operator = client(token => $f->token);
    my $nobody = '0123456789abcdef01234567';
    my $new = call($operator, 'POST', "$admin/apiKeys", { desc => 'global',
        roles => ['GLOBAL_OWNER'] }, 200);
    my $k = "$admin/apiKeys/$new->{id}";
    my $owner = client(key => "$new->{publicKey}:$new->{privateKey}");

    call(client(), 'GET', "$admin/apiKeys", undef, 401);
    call($owner, 'GET', "$admin/apiKeys?envelope=true", undef, 200);
    call($owner, 'GET', "$admin/apiKeys/roles", undef, 200);
    call($owner, 'GET', "$admin/apiKeys/roles?envelope=true", undef, 200);
    call($owner, 'GET', $k, undef, 200);
    call($owner, 'GET', "$admin/apiKeys/$nobody", undef, 400);
    call($owner, 'PATCH', "$k?envelope=true", { desc => 'changed' }, 200);
    call($owner, 'PATCH', $k, { roles => [ 'GLOBAL_OWNER',
        'GLOBAL_BILLING_ADMIN' ] }, 200, headers => { Prefer => 'wait=10' });
    call($owner, 'GET', $_, undef, 200), call($owner, 'GET', "$_/orgs",
        undef, 200) for @bases;

    for my $list ("$admin/accessList", "$admin/whitelist") {
        my $entry = call($owner, 'POST', $list, { cidrBlock => '127.0.0.0/8',
            description => 'this host' }, 200);
        my $other = call($owner, 'POST', "$list?envelope=true",
            { cidrBlock => '2001:db8::/32', description => 'the other' },
            200)->{content};
        my $e = "$list/$other->{id}";

        call($owner, 'POST', $list, { cidrBlock => '127.0.0.0/8',
            description => 'twice' }, 400);
        call($owner, 'POST', $list, { cidrBlock => $_,
            description => 'wrong' }, 400) for '127.0.0.1', '0.0.0.0/0';
        call($owner, 'GET', $list, undef, 200);
        call($owner, 'GET', "$list?itemsPerPage=1&envelope=true", undef, 200);
        call($owner, 'GET', $base, undef, 200);
        call($owner, 'GET', $e, undef, 200);
        call($owner, 'GET', "$list/$nobody", undef, 404);
        call($owner, 'PATCH', $e, { description => 'changed' }, 200);
        call($owner, 'PATCH', $e, { description => undef }, 400);
        call($owner, 'PATCH', "$list/$entry->{id}",
            { cidrBlock => '192.0.2.0/24' }, 200);
        call($owner, 'GET', $_, undef, 403) for @bases;
        call($operator, 'DELETE', "$list/$_", undef, 204)
            for $entry->{id}, $other->{id};
        call($operator, 'DELETE', $e, undef, 404);
    }

    # any global role signs in
    call($operator, 'PATCH', $k, { roles => ['GLOBAL_USER_ADMIN'] }, 200);
    for my $base (@bases) {
        call($owner, 'GET', $base, undef, 200);
        call($owner, 'GET', "$base/$_", undef, 401) for 'orgs', 'groups',
            "orgs/$org->{id}", "orgs/$org->{id}/groups", 'groups/byName/x';
        call($owner, 'POST', "$base/orgs", { name => 'x' },
            $base =~ /public/ ? 401 : 403);
    }
    call($owner, 'GET', '/api/atlas/v2/eventTypes', undef, 200);
    call($operator, 'DELETE', $k, undef, 204);
}


# the same, shorter, with curl's idea of digest
sub flow_of_curl {
    my ($base) = @_;

    my $o = "$base/orgs/$org->{id}";
    my $key = curl('POST', "$o/apiKeys",
        { desc => 'of curl', roles => ['ORG_MEMBER'] }, 200);

    curl('GET', "$o/apiKeys?pretty=true", undef, 200);
    curl('PATCH', "$o/apiKeys/$key->{id}", { desc => 'changed' }, 200);
    curl('POST', "$o/apiKeys/$key->{id}/accessList",
        [ { cidrBlock => '198.51.100.0/24' } ], 200);
    curl('DELETE', "$o/apiKeys/$key->{id}/accessList/198.51.100.0%2F24",
        undef, 204);
    curl('DELETE', "$o/apiKeys/$key->{id}", undef, 204);
}


sub curl {
    my ($method, $path, $body, $expected) = @_;

    my @args = ('-s', '--digest', '-u', $org->{key}{secret}, '-X', $method,
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


# --- specmatic -------------------------------------------------------------

sub specmatic {
    my ($public, $private) = split /:/, $org->{key}{secret};
    my $proxy = start("$dir/proxy.port", {
        APIKEYS_PUBLIC_KEY => $public, APIKEYS_PRIVATE_KEY => $private,
        APIKEYS_ORG_ID => $org->{id}, APIKEYS_PROJECT_ID => $project->{id},
        APIKEYS_PROJECT_NAME => $project->{name},
        APIKEYS_OPERATOR_TOKEN => $f->token },
        'node', "$root/t/tools/digest-proxy", $f->nginx->port,
        "$dir/proxy.log");
    my $port = wait_for('the proxy',
        sub { slurp("$dir/proxy.port") =~ /^(\d+)\n/ ? $1 : 0 });

    write_json('generated.json', for_generation($doc));

    my ($rc, $said) = run({ SPECMATIC_GENERATIVE_TESTS => 'true' }, 'java',
        '-Xmx512m', '-jar', "$npm/node_modules/specmatic/specmatic.jar",
        'test', 'generated.json', "--testBaseURL=http://127.0.0.1:$port");

    my ($run, $passed, $failed) = $said =~
        /Tests run: (\d+), Successes: (\d+), Failures: (\d+)/;
    cmp_ok $run // 0, '>=', 500, 'specmatic made requests up';
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


# one that is in the list of the organization and in that of the project
sub event {
    return $f->operator('GET', "/groups/$project->{id}/events"
        . '?eventType=GROUP_CREATED')->json->{results}[0]{id};
}


# The tool makes up what a schema allows, and there are more such things than
# are right: what is addressed must exist, and combinations must end.
sub for_generation {
    my ($d) = @_;

    $d = copy($d);
    my ($params, $schemas) = @{ $d->{components} }{qw( parameters schemas )};
    my %fixed = (orgId => $org->{id}, groupId => $project->{id},
        groupName => $project->{name}, apiUserId => '0' x 24,
        ipAddress => '192.0.2.7', eventId => event(), entryId => '0' x 24);

    # there are no teams: what names one is refused
    delete @{ $d->{paths} }{ grep { m{^/api/private/|/groups/.*/teams} }
        keys %{ $d->{paths} } };
    $params->{$_}{schema} = { type => 'string', enum => [ $fixed{$_} ] }
        for keys %fixed;

    # 202 takes a second server that is late, see t/610-receipts.t
    for my $op (operations($d)) {
        delete $op->{responses}{202}
            if grep { /^20[014]$/ } keys %{ $op->{responses} };
        $op->{parameters} = [ grep { $_->{'$ref'} !~ m{/prefer$} }
            @{ $op->{parameters} } ];
    }

    # query parameters on one call of each base
    for my $op (operations($d)) {
        next if $op->{operationId} =~ /ListOrgApiKeys$/;
        $op->{parameters} = [ grep { $_->{'$ref'} !~
            m{/(?:pretty|envelope|pageNum|itemsPerPage|includeCount)$}
            && $_->{'$ref'} !~ m{/(?:minDate|maxDate|clusterNames)$} }
            @{ $op->{parameters} } ];
    }
    for my $op (grep { $_->{operationId} =~ /ListOrgApiKeys$/ }
        operations($d))
    {
        $op->{parameters} = [ grep { $_->{'$ref'} !~ m{/includeCount$} }
            @{ $op->{parameters} } ];
    }

    for my $name (keys %$schemas) {
        my $schema = $schemas->{$name};

        # there are requests for each subset of what may be left out
        if ($name =~ /^(?:Create|Update)(?:Project|Organization)/) {
            my $properties = $schema->{properties};
            my @flags = grep { /^is/ } sort keys %$properties;

            delete @$properties{ grep { !$properties->{$_}{type}
                && ($properties->{$_}{description} // '') eq 'Ignored.' }
                keys %$properties };
            delete @$properties{ splice @flags, 2 } if @flags;
            delete @$properties{qw( serviceAccount
                skipDefaultAlertsSettings )} if $name =~ /^Create/;
            # keys of tags are unique, which the document cannot say, and
            # wrong ones of Ops Manager are made by a "_", which is right
            delete $properties->{tags};
        }

        splice @{ $schema->{enum} }, 2
            if $name =~ /^(?:Org|Project)Role/;
        $schema->{required} = ['desc']
            if $name =~ /^Update(?:Org|Project|Global)Key/;
        $schema->{properties}{roles}{items}
            = $schema->{properties}{roles}{items}{anyOf}[0]
            if $name =~ /^CreateProjectKey/;
        $schemas->{$name} = $schema->{oneOf}[1] if $name =~ /^AssignKeys/;
    }

    my ($one, $block) = @{ $schemas->{AddEntries}{items}{oneOf} };
    my $byte = '[1-9][0-9]';
    $one->{properties}{ipAddress} = { type => 'string',
        pattern => "^10[.]$byte\[.]$byte\[.]$byte\$" };
    $block->{properties}{cidrBlock} = { type => 'string',
        pattern => "^2001:$byte$byte:$byte$byte\::/48\$" };
    $schemas->{AddGlobalEntry}{properties}{cidrBlock}
        = $block->{properties}{cidrBlock};
    $schemas->{UpdateGlobalEntry}{required} = ['description'];
    $schemas->{UpdateGlobalEntry}{properties} = { description =>
        $schemas->{AddGlobalEntry}{properties}{description} };
    $_->{properties}{roles}{items} = { type => 'string',
        enum => [ 'GLOBAL_OWNER', 'GLOBAL_READ_ONLY' ] }
        for @$schemas{qw( CreateGlobalKey UpdateGlobalKey )};
    $_->{properties}{orgId} = { type => 'string', enum => [ $org->{id} ] }
        for @$schemas{qw( CreateProjectAtlas CreateProjectOpsManager )};
    $schemas->{UpdateProjectOpsManager}{properties}{id} = { type => 'string',
        nullable => JSON::PP::true, enum => [ $project->{id}, undef ] };

    return $d;
}
