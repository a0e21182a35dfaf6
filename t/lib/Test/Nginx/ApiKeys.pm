package Test::Nginx::ApiKeys;

# Test::Nginx::Socket for this module.  What Test::Nginx has works as usual;
# a file may begin with
#
#   use lib 't/lib';
#   use Test::Nginx::ApiKeys 'no_plan';
#   locations(<<'END');          # the config of blocks that have none; and,
#                                # if given, their http_config, and lines for
#                                # each location of the API
#   location /shop { apikeys_auth digest basic; return 200 "shop\n"; }
#   END
#   run_tests();
#   __DATA__
#
# and a block has these sections besides:
#
#   --- keys             objects that exist before the request, by name; they
#                        stay until the end of the file.  A line each:
#                          NAME: ROLE ... [org=NAME] [project=NAME] [list=CIDR,..]
#                          [global]
#                        No two of a key, an organization and a project have
#                        one name.
#                        The organization is "org" unless it is named.  A
#                        project is made when it is first named.  GROUP_X@NAME
#                        is a role in that project.
#   --- on: BASE ...     the block runs once on each of these bases (atlas, v2,
#                        om, native), which bases('BASE ..') sets for all blocks that
#                        have no such section; $on is its name, $base is the
#                        base (else $atlas), and a name that is kept there
#                        belongs to it
#   --- as: NAME SCHEME  the credential of the request: a key, or PUBLIC:PRIVATE,
#                        and digest (the default), digest_sha256, basic,
#                        bearer or header; "operator"; "none".  Members of the
#                        header of digest may follow: uri=/other.  Several
#                        requests have one each, with commas or lines, or one
#                        for all.  Such a request accepts the type of v2 there,
#                        and its body is JSON, unless a header says otherwise
#   --- requests         a request a line, each on its connection:
#                          [NAME[,NAME]:] METHOD URI [BODY] [-> ANSWER]
#                        with what "as" has and the answer of this request, if
#                        not all have those of "as" and "answers".  {A,B} stands
#                        for A and for B, a request each.  A body may have
#                        $uri and $method of its request.  A line that
#                        begins with a blank continues the one before.  What
#                        other sections expect holds for all, if it is no array
#   --- admitted         lines METHOD[,METHOD] URI: NAME ...  Each request is
#                        sent with every key of the file, by basic; those that
#                        are named get 200 and the decision allow, the others
#                        403 and role.  Such a block has no request.
#   --- may              lines METHOD URI [BODY]: NAME ... [-> ANSWER], where
#                        {A,B} is as in requests.  Each is called with every key
#                        of the file, by digest, and by the operator, unless it
#                        has $caller, the key's name, or $caller_id.  Those that
#                        are named get 2xx, or the status or code ANSWER, the
#                        others the code of the section refusal, or
#                        USER_UNAUTHORIZED, and leave the rows of "unchanged".
#                        $serial differs in each call.  Such a block has no
#                        request; called() tests that each route is in one.
#   --- fresh            as keys; made anew for each call of "may" that succeeds
#   --- then: METHOD URI the requests are sent on one connection, and after each
#                        this one, which gets 200
#   --- sql              statements, before the request
#   --- until: URI PATTERN  the requests are sent when "STATUS BODY" of this one,
#                        which has no key, matches.  Otherwise they are sent when
#                        the node has loaded, and has what sql has changed
#   --- answers          a line for each request, or one for all:
#                          204                      no content
#                          401                      the challenge of digest
#                          [STATUS] CODE [[..]]     an error, its parameters
#                          STATUS [DECISION]: BODY  the body, after filters
#                          STATUS ... TEXT          a text in the body
#                          STATUS JSON              the body, as in json below
#                          STATUS [DECISION]        the status, and the decision
#                        the first three, JSON, and a body of an API without
#                        filters, to the byte with their headers.  A status that
#                        is left off is that of ApiKeys::Expect.  Here, in
#                        contains and in json, $uri and $method are those of the
#                        request
#   --- contains         a text in the body: a line for each request, or one
#                        for all
#   --- challenges       the schemes of WWW-Authenticate, or "none": a line for
#                        each request, or one for all
#   --- keep: NAME ...   the last answers are keys, organizations, projects or
#                        events, or lists that begin with one; their names, of an
#                        organization those of its key, too, are known from then
#                        on, in json, too; $NAME_BASE_id is that of one that "on"
#                        made on BASE
#   --- decision         $apikeys_decision of each request
#   --- json             the body: the same structure, where a string that
#                        begins with ~ is a regular expression; of an API also
#                        its bytes (members ascend, but for an envelope; on
#                        native they have the order of this text) and its headers, as for response_body without filters
#   --- query, --- rows  a SELECT after the request, and its rows: columns with |
#   --- unchanged        a SELECT with the same rows after the requests
#   --- audit            the rows that the block added: EVENT [BEFORE [AFTER]]
#   --- refused          configurations that nginx -t refuses, lines:
#                          TEXT [|| TEXT ...] -> MESSAGE
#                        in the line of [emerg], ~ for a regular expression.  A
#                        block with this or the next two has no request.  Each
#                        text takes the place of "..." in the message and in the
#                        section conf, if there is one, and is tried by itself.
#                        It has parts, with " | " between them:
#                          [server:] LINES    of the server; http: LINES
#                          api: LINES         a location /api of the API
#                          without: NAME ..   apikeys_NAME is not configured
#                        apikeys_database, apikeys_zone and
#                        apikeys_master_key_file are, or as http has them.
#   --- taken            the same lines, which get no [emerg] and no [warn]
#   --- warned           .. which get one [warn], with the message
#   --- unsaid           lines of texts that nginx -t does not show
#   --- example: NAME    http_config and config are those of a file of
#                        conf-examples, and what locations() has
#   --- bare_config      http_config and config stay as the block has them
#   --- may_log          a pattern of severities that may be logged; "error" from
#                        the block with $away to that with $back
#
# A name with $ is replaced in all sections that are sent or compared:
# $NAME_id, $NAME_public, $NAME_private and $NAME_redacted of a key, $NAME_basic,
# the text of its credential for basic, $NAME_token, that for bearer, $NAME_id
# of an organization or project, $NAME_created of what was kept, $NAME_ID, an id in capitals, $atlas, $v2,
# $om and $native, the bases, $last_audit and $last_event, the ids of the last rows of
# the audit and of the events before the block, $away and $back, statements that
# take the database away from nginx and back, and what
# names(NAME => TEXT, 'v2/NAME' => TEXT on this base, ..) adds, where a function
# instead of a text gets the URI of the request.  ${NAME} is the same before a
# letter or digit.  defaults(on => TEXT, as => TEXT) are the sections of blocks
# with "requests" that have none.
#
# http_config may have an apikeys_zone or apikeys_master_key_file of its own.
# In the configuration of later blocks, ids and public keys of objects are
# $TEST_NGINX_NAME_ID and $TEST_NGINX_NAME_PUBLIC, and $TEST_NGINX_DATABASE,
# $TEST_NGINX_MASTER_KEY_FILE and $TEST_NGINX_OPERATOR_TOKEN_FILE are replaced.
#
# nginx is restarted before a block whose configuration differs from that of the
# block before.  Without error_log, no_error_log or must_die, nothing of [error],
# [alert], [crit] and [emerg] may be logged.

use strict;
use warnings;

my ($dir, $fixture);

BEGIN {
    require ApiKeys::Fixture;
    require File::Temp;

    # nginx that dies of its configuration does not free it
    $ENV{ASAN_OPTIONS} = join ',', $ENV{ASAN_OPTIONS} // (), 'detect_leaks=0';

    # valgrind with the options of util/test, or with our suppressions
    (undef, my @valgrind) = split ' ', $ENV{APIKEYS_TEST_VALGRIND} // '';
    @valgrind = qw( --num-callers=30 --suppressions=util/valgrind.supp )
        if !@valgrind && ($ENV{TEST_NGINX_USE_VALGRIND} // '') =~ /^[1-9]\d*$/;
    $ENV{TEST_NGINX_USE_VALGRIND} = "@valgrind" if @valgrind;

    # a port and a directory of one's own; the directory must be new
    $dir = File::Temp::tempdir('ak-tn-XXXXXX', DIR => '/tmp', CLEANUP => 1);
    $fixture = ApiKeys::Fixture->new(start => 0);

    $ENV{TEST_NGINX_SERVROOT} = "$dir/servroot";
    $ENV{TEST_NGINX_PORT} = $fixture->nginx->port;
    $ENV{TEST_NGINX_DATABASE} = $fixture->db->conninfo(
        user => 'apikeys_nginx');
    $ENV{TEST_NGINX_MASTER_KEY_FILE} = $fixture->nginx->dir . '/master.key';
    $ENV{TEST_NGINX_OPERATOR_TOKEN_FILE}
        = $fixture->nginx->dir . '/operator.token';
    $ENV{TEST_NGINX_OPERATOR_TOKEN} = $fixture->token;
}

use ApiKeys::Client ();
use ApiKeys::Example ();
use ApiKeys::Expect ();
use ApiKeys::Nonce ();
use JSON::PP ();
use MIME::Base64 qw( encode_base64 );
use Test::More ();
use Time::HiRes qw( sleep time );

use Test::Nginx::Socket -Base;

our @EXPORT = qw( bases called defaults fixture grown locations names tested );

log_level('info');
no_long_string();
no_root_location();
no_shuffle();

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $config = $fixture->server_conf;
my $admin = $fixture->nginx->port(1);
my %known = (atlas => '/api/atlas/v1.0', v2 => '/api/atlas/v2',
    om => '/api/public/v1.0', native => $ApiKeys::Fixture::ALL{native});
my $database = $fixture->db->name;
$known{back} = qq{GRANT CONNECT ON DATABASE "$database" TO PUBLIC};
$known{away} = qq{REVOKE CONNECT ON DATABASE "$database" FROM PUBLIC;
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE usename = 'apikeys_nginx' AND datname = '$database'};
my $v2_type = 'application/vnd.atlas.2023-01-01+json';
my (%object, @bodies, @answers, $on, %nonce, %client, %called, %default,
    %decisions, %kind_of);
my ($bases, $locations, $http_config) = ('', '', '');
my $running = '';
my $sleep = $Test::Nginx::Util::TestNginxSleep;
my $errors = 0;
my $away = 0;
my $requests = 0;
my $loaded = 0;      # runs of blocks since nginx was restarted


# the ApiKeys::Fixture below: its database, token and master key.  Its own
# nginx does not run.
sub fixture() {
    return $fixture;
}


# the config of blocks that have none, after the bases of the API, their
# http_config, and lines for each base
sub locations($;$$) {
    my ($text, $http, $api) = @_;

    $locations = $text;
    $config = $fixture->server_conf(api => $api) . $text;
    $http_config = $http // '';
}


# sections of blocks that have "requests" but not them
sub defaults(@) {
    %default = @_;
}


# the bases on which all blocks run that have no section "on"
sub bases($) { ($bases) = @_ }


# after run_tests: "may" has called each route of the API on each base that has
# it, but for those that are given: METHOD NAME
sub called(@) {
    my %but = map { $_ => 1 } @_;
    my %name = (atlas_v1 => 'atlas', atlas_v2 => 'v2', ops_manager => 'om',
        native => 'native');

    for my $route (ApiKeys::Fixture::routes()) {
        my $of = "$route->{method} of $route->{name}";
        my @without = grep { my $api = $_; !grep { my ($base, $method, $path)
            = split / /; $base eq $name{$api} && $method eq $route->{method}
            && $route->{matches}->($path, $api) } keys %called }
            @{ $route->{bases} };
        Test::More::is("@without", '', "a block calls $of") if !$but{$of};
    }
}


# more names that are replaced in sections
sub names(@) {
    my (%of) = @_;

    @known{keys %of} = values %of;
}


# a filter for the JSON of apikeys_status: how many decisions were made since it
# was asked last, "allow=2 role=1".  Other bodies stay as they are.
sub grown($) {
    my $now = eval { $json->decode($_[0])->{decisions} } // return $_[0];
    my @grown = map { my $n = $now->{$_} - ($decisions{$_} // 0);
        $n ? "$_=$n" : () } sort keys %$now;

    %decisions = %$now;
    return "@grown";
}


# what nginx -t says to a text of "refused": its exit code, and all lines
sub tested($) {
    my ($text) = @_;

    my %part = (http => '', server => '', without => '');

    for (split /\s+\|\s*/, $text) {
        my ($name, $lines) = /^(http|server|api|without):\s*(.*)/s;
        $part{ $name // 'server' } .= ($lines // $_) . "\n";
    }

    my %needed = (master_key_file => '%%DIR%%/master.key', zone => 'zone=k:4m',
        database => '"user=u host=/tmp"');
    $part{http} = join '', (map { "apikeys_$_ $needed{$_};\n" }
        grep { "$part{http}" !~ /\bapikeys_$_\b/
            && $part{without} !~ /\b$_\b/ } sort keys %needed), $part{http};
    $part{server} .= "location /api { apikeys_api atlas_v1; $part{api} }"
        if defined $part{api};

    return $fixture->nginx->configure(map { $_ => $part{$_} }
        qw( http server ))->test;
}


add_block_preprocessor(sub {
    my ($block) = @_;

    if (defined $block->example) {
        my ($http, $server) = ApiKeys::Example::sections($block->example);
        $block->set_value('http_config', "$http$http_config");
        $block->set_value('config', "$server$locations");
    }

    if (!defined $block->bare_config) {
        my $http = $block->http_config
            // (defined $block->config ? '' : $http_config);
        my $ours = _http_config();

        $ours =~ s/^ *$1\b.*\n//m
            while $http =~ /\b(apikeys_(?:zone|master_key_file))\b/g;
        $block->set_value('http_config', $ours . $http);
        $block->set_value('config', $config) if !defined $block->config;

        if (defined $block->admitted || defined $block->may) {
            $block->set_value('request', 'GET /open');
            $block->set_value('error_code_like', '.');
        }
    }

    # Test::Nginx compares the section config alone
    my $conf = join "\0", map { $block->$_ // '' } qw( main_config http_config
        config user_files must_die );
    my $ended = $Test::Nginx::Util::UseValgrind && !$Test::Nginx::Util::UseHup;
    my $restart = $ended || $conf ne $running;
    $Test::Nginx::Util::ForceRestartOnTest = $restart;
    $loaded = 0 if $restart;
    if ($conf ne $running) {
        %nonce = ();
        $errors = 0;
    }
    $running = $conf;

    # nginx that has ended has written its log
    $Test::Nginx::Util::TestNginxSleep = defined $block->must_die ? 0 : $sleep;
    $block->set_value('suppress_stderr', '') if defined $block->must_die;

    return if defined $block->must_die || defined $block->no_error_log;

    # from $away to $back
    my $sql = $block->sql // '';
    $away = 1 if $sql =~ /\$away\b/;
    my $may = $block->may_log // ($away ? 'error' : '');
    $away = 0 if $sql =~ /\$back\b/;
    my @none = grep { !length $may || $_ !~ /$may/ }
        qw( alert crit emerg ), defined $block->error_log ? () : 'error';
    $block->set_value('no_error_log', join "\n", map { "[$_]" } @none)
        if @none;
});

add_response_body_check(sub {
    my ($block, $body, $index) = @_;

    $bodies[$index] = $body;
});


# a server beside that of the block tells whether the node has loaded, and
# makes objects
sub _http_config() {
    return <<"END";
    apikeys_database "\$TEST_NGINX_DATABASE";
    apikeys_zone zone=apikeys:8m;
    apikeys_master_key_file \$TEST_NGINX_MASTER_KEY_FILE;
    apikeys_operator_token_file \$TEST_NGINX_OPERATOR_TOKEN_FILE;

    log_format apikeys_decision \$apikeys_decision;
    map \$http_x_until \$logged { "" 1; default 0; }

    server {
        listen 127.0.0.1:$admin;
        access_log off;
        location = /health { apikeys_auth off; apikeys_status health; }
        location /atlas { apikeys_api atlas_v1; }
        location /om { apikeys_api ops_manager; }
    }

    access_log logs/decision.log apikeys_decision if=\$logged;
END
}


# all answers of a block, as those of ApiKeys::Client; and the logs are read
# after the last of its requests, not after each
my $parse = \&Test::Nginx::Socket::parse_response;
my $check_log = \&Test::Nginx::Socket::check_error_log;
my $check_access = \&Test::Nginx::Socket::check_access_log;

{
    no warnings 'redefine';

    *Test::Nginx::Socket::parse_response = sub ($$$) {
        my @parsed = $parse->(@_);
        my ($res, $head) = @parsed;

        push @answers, bless { code => $res->code // 0,
            reason => $res->message // '', body => $res->content,
            headers => [ map { /^([^:]+):\s*(.*?)\s*$/ ? [ lc $1, $2 ] : () }
                split /\r\n/, $head ] }, 'ApiKeys::Client::Response' if $res;
        return @parsed;
    };

    *Test::Nginx::Socket::check_error_log = sub ($$$$) {
        my ($block) = @_;

        $check_log->(@_) if @answers >= $requests
            || defined $block->ignore_response;
    };

    *Test::Nginx::Socket::check_access_log = sub ($$$) {
        $check_access->(@_) if @answers >= $requests;
    };
}

my $run = $Test::Nginx::Util::RunTestHelper;
my @tried = qw( taken warned refused );

$Test::Nginx::Util::RunTestHelper = sub ($$$) {
    my ($block, $dry_run, $repeated) = @_;

    return $run->(@_) if $dry_run || defined $block->bare_config;
    return _tried($block) if grep { defined $block->$_ } @tried;

    if (defined $block->requests) {
        $block->set_value($_, $block->$_ // $default{$_}) for keys %default;
    }

    my %section = %$block;

    for my $base (split ' ', $block->on // ($bases || 'none')) {
        %$block = %section;
        $known{on} = $on = $base if defined $block->on || $bases;
        $known{base} = $known{$on // 'atlas'};
        $block->set_value('name', $block->name . " ($on)") if defined $on;
        _run($block, $dry_run, $repeated);
        undef $on;
    }
    %$block = %section;
};


# what nginx -t says to each line of these sections
sub _tried($) {
    my ($block) = @_;

    for my $section (@tried) {
        my $lines = _text($block->$section) // next;

        my @each = map { my ($texts, $message) = /^(.*?)\s*(?:-> (.*))?$/;
            map { [ $_, $message // '' ] } split /\s+\|\|\s+/, $texts }
            grep { /\S/ } split /\n/, $lines =~ s/\n\s+(?=\S)/ /gr;

        for (@each) {
            my ($text, $message) = @$_;
            s/\.\.\./$text/ for $message, my $conf = _text($block->conf) // '...';

            my ($code, $said) = tested($conf);
            my $got = join "\n", $code ? 'refused' : 'taken',
                $said =~ /\[(?:emerg|warn)\] (.*)/g;
            $message = $message =~ s/^~// ? qr/$message/ : qr/\Q$message\E/;
            my $want = $section eq 'taken' ? qr/^taken$/
                : $section eq 'warned' ? qr/^taken\n.*$message.*$/
                : qr/^refused\n.*$message/;

            Test::More::like($got, $want, $block->name . " - $section: $text");
            Test::More::unlike($said, qr/\Q$_\E/, $block->name . ' - unsaid')
                for grep { /\S/ } split /\n/, _text($block->unsaid) // '';
        }
    }
}


sub _run($$$) {
    my ($block, $dry_run, $repeated) = @_;

    my $builder = Test::More->builder;
    my $failed = grep { !$_ } $builder->summary;

    @bodies = @answers = ();
    _loaded() if !$loaded++ && (defined $block->keys || !defined $block->until);
    _objects(_text($block->keys)) if defined $block->keys;
    _expand($block, qw( request pipelined_requests raw_request requests until
        more_headers as admitted access_log no_access_log sql unchanged
        response_body response_body_like response_headers response_headers_like
        raw_response_headers_like challenges error_log no_error_log ));
    my @requests = _requests($block);
    my @expected = _answers($block, @requests);
    _authorize($block) if defined $block->as;
    @known{qw( last_audit last_event )} = map { _last($_) } qw( audit events );
    $fixture->db->psql($block->sql) if defined $block->sql;
    defined $block->until ? _wait(split ' ', $block->until, 2)
        : defined $block->sql && _followed();

    my $audit = _last('audit');
    my @rows = defined $block->unchanged && !defined $block->may
        ? _select($block->unchanged) : ();
    my $log = -s _decisions() // 0;

    # what comes in the error log later than that counts for the next block
    local $Test::Nginx::Util::TestNginxSleep = 0.001
        if !defined $block->error_log && !defined $block->access_log
            && !defined $block->may_log;

    $requests = @requests;
    $Test::Nginx::Util::ErrLogFilePos = $errors;
    $run->($block, $dry_run, $repeated);

    for my $i (0 .. $#answers) {
        @{ $answers[$i] }{qw( method uri )} =
            ($requests[$i] // '') =~ /^\s*(\S+)\s+(\S+)/;
    }
    my @keep = split ' ', $block->keep // '';
    _keep($keep[$_], $answers[$_]) for -@keep .. -1;
    _expand($block, qw( query rows audit ));
    _answered($block, $_, @{ $expected[$_] }) for 0 .. $#expected;
    _contains($block, @answers) if defined $block->contains;
    _challenges($block, @answers) if defined $block->challenges;
    _check($block, $audit, $log);
    Test::More::is(join("\n", _select($block->unchanged)), join("\n", @rows),
        $block->name . ' - unchanged')
        if defined $block->unchanged && !defined $block->may;
    _explain($block, $log) if $failed < grep { !$_ } $builder->summary;
    $errors = $Test::Nginx::Util::ErrLogFilePos;
}


# the node has what the last change made
sub _followed() {
    my $end = time + 10;

    while (time < $end) {
        my ($done) = _select('SELECT coalesce(bool_or(pg_visible_in_snapshot(
            (SELECT xid FROM apikeys.changes ORDER BY xid DESC LIMIT 1),
            snapshot)), true)
            FROM apikeys.instances');
        return if $done;
        sleep 0.01;
    }
    die "the node does not follow the database\n";
}


sub _last($) {
    my ($table) = @_;

    return (_select("SELECT coalesce(max(id), 0) FROM apikeys.$table"))[0];
}


sub _loaded() {
    _wait('/health', '^200', $admin);
}


# these requests are not logged: a log phase follows its response, and the line
# would count as one of the block
sub _wait($$;$) {
    my ($uri, $pattern, $port) = @_;

    my $end = time + 30;
    my $client = ApiKeys::Client->new(port => $port // $fixture->nginx->port);

    while (time < $end) {
        my $res = eval { $client->plain('GET', $uri, undef,
            headers => { 'X-Until' => 1 }) };
        return if $res && ($res->code . ' ' . $res->body) =~ /$pattern/;
        sleep 0.02;
    }
    die "no answer to $uri is $pattern, see ",
        $Test::Nginx::Util::ErrLogFile, "\n";
}


sub _api($$$) {
    my ($method, $path, $body) = @_;

    $client{admin} //= ApiKeys::Client->new(port => $admin,
        token => $fixture->token);
    my $res = $client{admin}->request($method, $path, $body);
    $res && $res->code < 300
        or die "$method $path: ", $res ? $res->body : 'no answer', "\n";
    return length $res->body ? $res->json : undef;
}


sub _objects($;$) {
    my ($text, $fresh) = @_;

    for my $line (grep { /\S/ } split /\n/, $text) {
        my ($name, $rest) = $line =~ /^\s*(\w+):\s*(.*)/
            or die "--- keys: $line\n";
        my (%of, @roles);

        for my $word (split ' ', $rest) {
            if ($word =~ /^(org|project|list|desc)=(.*)/) {
                $of{$1} = $2;
            } elsif ($word eq 'global') {
                $of{global} = 1;
            } else {
                push @roles, $word;
            }
        }

        next if !$fresh && ($object{key}{$name} // '') eq $rest;
        $object{key}{$name} = $rest if !$fresh;
        _key($name, \%of, \@roles);
    }
}


sub _key($$$) {
    my ($name, $of, $roles) = @_;

    _is_a('key', $name);

    my $desc = $of->{desc} // $name;
    my ($key, $base);

    if ($of->{global}) {
        $key = _api('POST', '/om/admin/apiKeys',
            { desc => $desc, roles => $roles });

    } else {
        my $org = _org($of->{org} // 'org');
        my @of_org = grep { /^ORG_/ } @$roles;
        my %in;
        /^ORG_/ || push @{ $in{ /@(.+)/ ? $1 : $of->{project} // 'project' } },
            s/@.*//r for @$roles;

        $base = "/atlas/orgs/$org/apiKeys";
        $key = _api('POST', $base, { desc => $desc,
            roles => @of_org ? \@of_org : ['ORG_MEMBER'] });

        for my $name (sort keys %in) {
            my $project = _project($name, $org);
            _api('POST', "/atlas/groups/$project/apiKeys/$key->{id}",
                { roles => $in{$name} });
        }
        _api('POST', "$base/$key->{id}/accessList",
            [ map { { cidrBlock => $_ } } split /,/, $of->{list} ])
            if defined $of->{list};
    }

    @known{map { "${name}_$_" } qw( id public private redacted )} =
        (@$key{qw( id publicKey privateKey )}, _redacted($key->{privateKey}));
    $known{"${name}_basic"}
        = encode_base64("$key->{publicKey}:$key->{privateKey}", '');
    $known{"${name}_token"} = "$key->{publicKey}_$key->{privateKey}";
    $ENV{ 'TEST_NGINX_' . uc($name) . '_PUBLIC' } = $key->{publicKey};
    _env($name, $key->{id});
}


# "keys" names objects of one kind: they would share $NAME_id
sub _is_a($$) {
    my ($kind, $name) = @_;

    my $first = $kind_of{$name} //= $kind;
    die "--- keys: $name names two objects, which share \$${name}_id: "
        . "$kind, $first\n" if $first ne $kind;
}


# an id, for the configuration of the blocks that follow
sub _env($$) {
    my ($name, $id) = @_;

    $known{"${name}_ID"} = uc $id;
    return $ENV{ 'TEST_NGINX_' . uc($name) . '_ID' } = $id;
}


sub _org($) {
    my ($name) = @_;

    _is_a('organization', $name);

    return $known{"${name}_id"} //= _env($name, _api('POST', '/atlas/orgs',
        { name => $name })->{organization}{id});
}


sub _project($$) {
    my ($name, $org) = @_;

    _is_a('project', $name);

    return $known{"${name}_id"} //= _env($name, _api('POST', '/atlas/groups',
        { name => $name, orgId => $org })->{id});
}


sub _expand($@) {
    my ($block, @names) = @_;

    $known{operator_token} = $fixture->token;

    for my $name (@names) {
        my $value = $block->$name // next;
        $block->set_value($name, ref $value eq 'ARRAY'
            ? [ map { _text($_) } @$value ] : _text($value));
    }
}


sub _text($);

sub _text($) {
    my ($text) = @_;

    return $text if ref $text || !defined $text;
    return $text
        =~ s{\$(?|(\w+)|\{(\w+)\})}{ _text(_known($1)) // $& }ger
        =~ s/\$TEST_NGINX_OPERATOR_TOKEN\b/$known{operator_token}/gr;
}


# the text as it is for a request: $uri and $method are known
sub _text_on($$) {
    my ($text, $of) = @_;

    local @known{qw( uri method )} = @$of{qw( uri method )};
    return _text($text);
}


# of the base on which the block runs, or atlas, or of all
sub _known($) {
    my ($name) = @_;

    my $text = $known{ ($on // 'atlas') . "/$name" } // $known{$name};
    return $text if ref $text ne 'CODE';
    return defined $known{uri} ? $text->($known{uri}) : undef;
}


# the requests of a block, after "requests" has become "request"
sub _requests($) {
    my ($block) = @_;

    if (defined $block->requests) {
        my (@all, @as, @answers);

        for (map { _alternatives($_) } grep { /\S/ }
            split /\n/, $block->requests =~ s/\n\s+(?=\S)/ /gr)
        {
            my ($as, $line, $answer)
                = /^(?:(\S+(?: [\w=\/.]+)*): +)?(\S+ \S.*?)(?: +-> +(.*))?$/
                or die $block->name . ": requests: $_\n";
            my ($first, $body) = $line =~ /^(\S+ \S+)(?: (.*))?/;
            my @names = split /,/, $as // '';
            my $n = @names || 1;
            push @all, (_request($first, $body)) x $n;
            push @as, @names;
            push @answers, ($answer) x $n if defined $answer;
        }
        $block->set_value('request', @all > 1 ? \@all : $all[0]);
        $block->set_value('as', join "\n", @as) if @as;
        $block->set_value('answers', join "\n", @answers) if @answers;
    }

    _then($block) if defined $block->then;

    my $request = $block->pipelined_requests // $block->request // return;
    return $request if !ref $request;

    for my $name (qw( error_code response_body response_body_like
        response_headers response_headers_like raw_response_headers_like ))
    {
        my $value = $block->$name;
        $block->set_value($name, [ ($value) x @$request ])
            if defined $value && ref $value ne 'ARRAY';
    }
    return @$request;
}


# with its body, which may have names of the request
sub _request($$) {
    my ($first, $body) = @_;

    return $first if !defined $body;

    my %of;
    @of{qw( method uri )} = split ' ', $first;
    return "$first\n" . _text_on($body, \%of);
}


sub _then($) {
    my ($block) = @_;

    my $requests = $block->pipelined_requests // $block->request;
    my @all = ref $requests ? @$requests : $requests;
    my @answers = _lines($block, 'answers', scalar @all);
    my $then = _text($block->then);

    $block->set_value('pipelined_requests', [ map { ($_, $then) } @all ]);
    $block->set_value('answers', join "\n", map { ($_, 200) } @answers);
}


# the lines of a section, one for each of n requests
sub _lines($$$) {
    my ($block, $section, $n) = @_;

    my @lines = grep { /\S/ }
        split $section eq 'as' ? qr/[\n,]/ : qr/\n/, $block->$section;
    @lines = ($lines[0]) x $n if @lines == 1;
    @lines == $n or die $block->name . ': ' . @lines
        . " lines of $section for $n requests\n";
    return @lines;
}


# what is expected of each request: status, code, parameters or body, JSON
sub _answers($@) {
    my ($block, @requests) = @_;

    defined $block->answers or return;

    my @lines = _lines($block, 'answers', scalar @requests);
    my (@all, @decisions);

    for my $i (0 .. $#lines) {
        my ($method, $uri) = $requests[$i] =~ /^\s*(\S+)\s+(\S+)/;
        my $line = _text_on($lines[$i], { uri => $uri, method => $method });

        if ($line =~ /^(\d{3}) (?:\.\.\. (.*)|([\[{].*|true|false))$/) {
            push @all, [ $1, undef, undef, $2, $3 ];
            next;
        }
        if ($line =~ /^(\d{3})(?: ([a-z_]+|-))?(?:: ?(.*))?$/
            && defined($2 // $3))
        {
            push @all, [ $1, '', $3 ];
            push @decisions, $2 // ();
            next;
        }

        my ($status, $code, $params) = $line
            =~ /^\s*(\d{3})?\s*([A-Z]\S+)?\s*(\[.*\])?\s*$/
            or die $block->name . ": answers: $lines[$i]\n";

        push @all, [ 0 + ($status // ApiKeys::Expect::status($code, $uri)), $code,
            $code && $json->decode($params // '[]') ];
    }
    $block->set_value('decision', "@decisions") if @decisions;
    $block->set_value('error_code',
        @all > 1 ? [ map { $_->[0] } @all ] : $all[0][0]);
    return @all;
}


sub _answered($$$$$;$$) {
    my ($block, $i, $status, $code, $params, $text, $body) = @_;

    my $title = $block->name . ' - answer ' . ($i + 1);
    my $res = $answers[$i];

    return _exact($block, $i, $params) if !length($code // '')
        && defined $params && !defined $block->response_body_filters
        && _of_api($res);

    defined $body ? _same($block, $i, $body)
        : defined $text ? _in_body($res, $text, $title)
        : $code
        ? ApiKeys::Expect::refused($res, $code, $params, $title,
            status => $status)
        : defined $params ? Test::More::is($bodies[$i], $params, $title)
        : defined $code ? return
        : $status == 204 ? ApiKeys::Expect::no_content($res, $title)
        : $status == 401 && ApiKeys::Expect::challenged($res, $title,
            head => $res->{method} eq 'HEAD');
}


sub _contains($@) {
    my ($block, @answers) = @_;

    my @texts = _lines($block, 'contains', scalar @answers);

    for my $i (0 .. $#texts) {
        _in_body($answers[$i], _text_on($texts[$i], $answers[$i]),
            $block->name . ' - contains ' . ($i + 1));
    }
}


sub _in_body($$$) {
    my ($res, $text, $title) = @_;

    Test::More::ok(index($res->body, $text) >= 0, $title)
        or Test::More::diag("not in the body: $text");
}


sub _challenges($@) {
    my ($block, @answers) = @_;

    my @schemes = _lines($block, 'challenges', scalar @answers);

    Test::More::is(join(' ', map { /^(\S+)/ }
            $answers[$_]->header('www-authenticate')) || 'none', $schemes[$_],
        $block->name . ' - challenges ' . ($_ + 1)) for 0 .. $#answers;
}


# the names of an object that was answered
sub _keep($$) {
    my ($name, $res) = @_;

    my $object = eval { $res->json } || {};
    $object = $object->{content} // $object;
    $object = $object->{results}[0] if $object->{results};
    my $key = $object->{apiKey} // $object;
    $object = $object->{organization} // $object;

    for my $as (defined $on ? ("$on/$name", "${name}_$on") : $name) {
        @known{map { "${as}_$_" } qw( id created key public private redacted )}
            = ($object->{id}, $object->{created} // $object->{createdAt},
            @$key{qw( id publicKey privateKey )},
            _redacted($key->{privateKey}));
    }
}


sub _redacted($) {
    my ($private) = @_;

    return '********-****-****-' . substr $private // '', -12;
}


# adds the header Authorization, or that of the scheme "header", and types
sub _authorize($) {
    my ($block) = @_;

    my $requests = $block->pipelined_requests // $block->request;
    my $more = $block->more_headers // '';
    my @as = _lines($block, 'as', ref $requests ? scalar @$requests : 1);
    my @all;

    for my $i (0 .. (ref $requests ? $#$requests : 0)) {
        my $request = ref $requests ? $requests->[$i] : $requests;
        my $headers = ref $more ? $more->[$i] : $more;

        $headers .= "\n" if length $headers && $headers !~ /\n\z/;
        $headers .= _credential($as[$i], $request);
        $headers .= "Accept: $v2_type\n" if $headers !~ /^Accept:/mi
            && $request =~ m{^\s*\S+\s+\Q$known{v2}\E};
        $headers .= "Content-Type: application/json\n"
            if $headers !~ /^Content-Type:/mi && $request =~ /^\s*.+\n\s*\S/;
        push @all, $headers;
    }
    $block->set_value('more_headers', ref $requests ? \@all : $all[0]);
}


# a key's public and private key
sub _pair($) {
    my ($name) = @_;

    return map { _text(_known("${name}_$_")) } qw( public private );
}


sub _credential($$) {
    my ($as, $request) = @_;

    my ($name, $scheme, @members) = split ' ', $as;

    return '' if $name eq 'none';
    return 'Authorization: Bearer ' . $fixture->token . "\n"
        if $name eq 'operator';

    my ($public, $private) = $name =~ /:/ ? split /:/, $name, 2
        : _pair($name);
    defined $public or die "--- as: $name is in no section --- keys\n";
    $scheme //= 'digest';

    return 'Authorization: Basic '
        . encode_base64("$public:$private", '') . "\n" if $scheme eq 'basic';
    return "Authorization: Bearer ${public}_$private\n" if $scheme eq 'bearer';
    return "X-API-Key: $public:$private\n" if $scheme eq 'header';

    my ($method, $uri) = $request =~ /^\s*(\S+)\s+(\S+)/;

    # a nonce serves for a while, as its making costs a process
    my $nonce = $nonce{$public};
    $nonce = $nonce{$public} = { time => time, n => 0,
        text => ApiKeys::Nonce::nonce($fixture->{master_key}, 0) }
        if !$nonce || time - $nonce->{time} > 20;

    return 'Authorization: ' . ApiKeys::Client::digest_header(
        realm => 'MMS Public API', qop => 'auth', uri => $uri,
        nonce => $nonce->{text}, nc => sprintf('%08x', ++$nonce->{n}),
        algorithm => $scheme eq 'digest_sha256' ? 'SHA-256' : 'MD5',
        method => $method, user => $public, password => $private,
        map { split /=/, $_, 2 } @members) . "\n";
}


sub _check($$$) {
    my ($block, $audit, $log) = @_;

    my $name = $block->name;

    if (defined $block->json) {
        my $expected = $block->json;

        _same($block, $_, _text_on(
            ref $expected ? $expected->[$_] : $expected, $answers[$_]))
            for 0 .. $#bodies;
    }

    if (defined $block->response_body && !defined $block->response_body_filters)
    {
        my $texts = $block->response_body;

        for my $i (0 .. $#answers) {
            my $text = ref $texts ? $texts->[$i] : $texts;
            _exact($block, $i, $text) if !ref $text && _of_api($answers[$i]);
        }
    }

    if (defined $block->decision) {
        my @want = split ' ', $block->decision;
        Test::More::is("@{[ _decided($log, scalar @want) ]}", "@want",
            "$name - decision");
    }

    if (defined $block->admitted) {
        my @want = grep { /\S/ } split /\n/, $block->admitted;

        _decided($log, 1);

        for my $line (@want) {
            my ($method, $uri, $names) = $line =~ /^(\S+) (\S+):\s*(.*)/
                or die "--- admitted: $line\n";
            $names = join ' ', sort split ' ', $names;

            for (split /,/, $method) {
                my $got = "$_ $uri: " . join ' ', _admitted($_, $uri);
                Test::More::is($got, "$_ $uri: $names", "$name - admitted");
            }
        }
    }

    if (defined $block->may) {
        _may($block, $_) for map { _alternatives($_) } grep { /\S/ }
            split /\n/, $block->may;
    }

    Test::More::is(join('', map { "$_\n" } _select($block->query)),
        ($block->rows // '') =~ s/(?<=[^\n])\z/\n/r, "$name - rows")
        if defined $block->query;

    if (defined $block->audit) {
        my @got = _select("SELECT concat_ws(' ', event, before, after)"
            . " FROM apikeys.audit WHERE id > $audit ORDER BY id");
        my @want = grep { /\S/ } split /\n/, $block->audit;
        s/\s+//g for @got, @want;
        Test::More::is_deeply(\@got, \@want, "$name - audit");
    }
}


# the body is this JSON, of an API to the byte
sub _same($$$) {
    my ($block, $i, $text) = @_;

    my $body = _of_api($answers[$i]) ? $answers[$i]->body : $bodies[$i];
    return _exact($block, $i, _ordered($text, $body))
        if ($answers[$i]{uri} // '') =~ m{^\Q$known{native}\E(?:/|\?|$)};

    my $got = eval { $json->decode($body // '') };
    my $want = _filled($json->decode($text), $got);

    _of_api($answers[$i])
        ? _exact($block, $i, ref($want) =~ /^[AH]/ ? $want : $text)
        : Test::More::is_deeply($got, $want, $block->name . ' - json');
}


# of the module; /api/private is in an example
sub _of_api($) { return ($_[0]{uri} // '') =~ m{^/api/(?!private/)} }


# the body to the byte, with the headers that it must have
sub _exact($$$) {
    my ($block, $i, $body) = @_;

    my $status = $block->error_code // 200;
    $status = $status->[$i] if ref $status;

    return if $status == 401;
    $body = '{"status":' . $body->{status} . ',"content":'
        . ApiKeys::Expect::json_text($body->{content}) . '}'
        if ref $body eq 'HASH' && "@{[ sort keys %$body ]}" eq 'content status';
    my ($code) = $status >= 400
        && ApiKeys::Expect::json_text($body) =~ /"errorCode" ?: ?"(\w+)"/;
    my $location = $answers[$i]->header('location');
    my ($self) = grep { $_->{rel} eq 'self' }
        @{ defined $location ? $answers[$i]->json->{links} : [] };
    Test::More::is($location, $self->{href}, $block->name . ' - Location')
        if $self;
    ApiKeys::Expect::answers($answers[$i], $status, $body,
        $block->name . ' - exact answer',
        $code ? (type => 'application/json', code => $code) : ());
}


# the keys that are admitted; of the others, those that get another answer than
# is expected, with it
sub _admitted($$) {
    my ($method, $uri) = @_;

    my $client = ApiKeys::Client->new(port => $fixture->nginx->port);
    my @names = sort keys %{ $object{key} };
    my $log = -s _decisions() // 0;
    my @codes = map { $client->plain($method, $uri, undef, headers =>
        { Authorization => 'Basic ' . $known{"${_}_basic"} })->code } @names;
    my @decisions = _decided($log, scalar @names);

    return grep { length } map {
        my $got = "$codes[$_] " . ($decisions[$_] // '');
        $got eq '200 allow' ? $names[$_]
            : $got eq '403 role' ? '' : "$names[$_]($got)";
    } 0 .. $#names;
}


sub _alternatives($);

sub _alternatives($) {
    my ($line) = @_;

    my ($before, $words, $after) = $line =~ /^(.*?)\{([^{}"]*,[^{}"]*)\}(.*)/
        or return $line;
    return map { _alternatives("$before$_$after") } split /,/, $words, -1;
}


# compares the callers of "may" with those that may
sub _may($$) {
    my ($block, $line) = @_;

    my ($call, $names, $answer) = $line =~ /^(.*):((?: \S+)*?)(?: -> (\S+))?$/
        or die "--- may: $line\n";
    my $done = _text($answer // '2..');
    my $refusal = _text($block->refusal // 'USER_UNAUTHORIZED');
    my $unchanged = $block->unchanged;
    my %may = map { $_ => 1 } split ' ', _text($names);
    my ($fresh, @got);

    for my $name (sort keys %{ $object{key} },
        $call =~ /\$caller/ ? () : 'operator')
    {
        $known{serial}++;
        @known{qw( caller caller_id )} = ($name, _known("${name}_id"));
        _objects(_text($block->fresh), 1) if defined $block->fresh && !$fresh++;

        my @rows = $unchanged && !$may{$name} ? _select($unchanged) : ();
        my ($method, $uri, $body) = split / /, _text($call), 3;
        my $res = _client($name)->request($method, $uri, $body, headers => {
            $uri =~ /^\Q$known{v2}\E/ ? (Accept => $v2_type) : (),
            defined $body ? ('Content-Type' => 'application/json') : () });
        my $code = $res->header('x-error-code') // '';
        $fresh = 0 if $res->code < 400;

        $called{ "$known{on} $method "
            . ($uri =~ s/^\Q$known{base}\E|\?.*//gr
                =~ s/[0-9a-f]{24}/'0' x 24/ger)
            } = 1;

        my $want = $may{$name} ? $done : $refusal;

        if ($want =~ /^\d/ ? $res->code !~ /^$want$/
            : $code ne $want || $res->json->{errorCode} ne $code
            || $res->code != ApiKeys::Expect::status($code, $uri))
        {
            push @got, "$name(" . $res->code . " $code)";

        } elsif ($may{$name}) {
            push @got, $name;
        }
        push @got, "$name(changes rows)"
            if @rows && "@rows" ne "@{[ _select($unchanged) ]}";
    }
    Test::More::is("@got", "@{[ sort keys %may ]}", $block->name . " - $call");
}


sub _client($) {
    my ($name) = @_;

    return $client{operator} //= ApiKeys::Client->new(
        port => $fixture->nginx->port, token => $fixture->token)
        if $name eq 'operator';

    my $key = join ':', _pair($name);
    return $client{$key} //= ApiKeys::Client->new(
        port => $fixture->nginx->port, key => $key);
}


sub _filled($$);

# a copy of what is wanted, with what was got for what it matches
sub _filled($$) {
    my ($want, $got) = @_;

    if (ref $want eq 'HASH') {
        return { map { $_ => _filled($want->{$_},
            ref $got eq 'HASH' ? $got->{$_} : undef) } keys %$want };
    }
    if (ref $want eq 'ARRAY') {
        return [ map { _filled($want->[$_],
            ref $got eq 'ARRAY' ? $got->[$_] : undef) } 0 .. $#$want ];
    }
    return $got if defined $want && !ref $want && $want =~ /^~(.*)/s
        && defined $got && !ref $got && $got =~ /^(?:$1)\z/;
    return $want;
}


# what is wanted as compact JSON, in its own order; or what was got, if that
# matches it.  A string that begins with ~# is a regular expression for a number
sub _ordered($$) {
    my ($text, $got) = @_;

    my ($want, $pattern) = ('', '');

    for ($text =~ /("(?:[^"\\]|\\.)*"|[^\s"])/gs) {
        my $string = /^"/ ? $json->decode($_) : undef;
        my $token = defined $string ? $json->encode($string) : $_;

        $want .= $token;
        $pattern .= !defined $string || $string !~ /^~(#?)(.*)/s
            ? quotemeta $token : $1 ? "(?:$2)" : qq{"(?:$2)"};
    }
    return $got =~ /^$pattern\z/s ? $got : $want;
}


sub _decisions() { return html_dir() =~ s{html/?$}{logs/decision.log}r }


# the log phase follows the response
sub _decided($$) {
    my ($from, $n) = @_;

    my $end = time + 10;
    my @lines;

    while (@lines < $n && time < $end) {
        @lines = ();
        if (open my $f, '<', _decisions()) {
            seek $f, $from, 0;
            chomp(@lines = <$f>);
        }
        sleep 0.01 if @lines < $n;
    }
    return @lines;
}


# the rows, with | between the columns
sub _select($) {
    my ($sql) = @_;

    $fixture->{dbh} ||= $fixture->db->connect;
    return map { join '|', map { $_ // '' } @$_ }
        @{ $fixture->{dbh}->selectall_arrayref($sql) };
}


sub _explain($$) {
    my ($block, $log) = @_;

    open my $f, '<', $Test::Nginx::Util::ErrLogFile;
    seek $f, $errors, 0 if $f;
    chomp(my @log = grep { !/ \[debug\] / } $f ? <$f> : ());
    @log = grep { m{apikeys: } } @log;

    my ($requests, $headers) = map { ref $_ ? join "\n", @$_ : $_ // '' }
        scalar $block->request, scalar $block->more_headers;

    Test::More::diag(join "\n", 'request:', $requests, $headers, 'answer:',
        map({ $_ // '' } @bodies),
        'decision: ' . join(' ', _decided($log, 1)), 'error log:', @log);
}


1;
