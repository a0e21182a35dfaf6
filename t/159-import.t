# util/import: what a line of a CSV file becomes, which lines are refused, and
# runs that are repeated, interrupted, or made while the database or nginx is
# away.

use strict;
use warnings;

use File::Temp qw( tempdir );
use FindBin ();
use IO::Socket::INET ();
use POSIX ();
use Test::More;

use lib "$FindBin::Bin/lib";
use ApiKeys::Client ();
use ApiKeys::Fixture ();
use ApiKeys::Pg ();

my $slow = $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND} ? 10 : 1;
my $import = "$FindBin::Bin/../util/import";
my $dir = tempdir('ak-import-XXXXXX', DIR => '/tmp', CLEANUP => 1);

my $pg = ApiKeys::Pg->new(own => 1);
my $f = ApiKeys::Fixture->new(db => $pg->database(schema => 1),
    base => 'native', http => 'apikeys_wait 0;',
    database => 'connections=2 connect_timeout=1s timeout=2s',
    start => 0, server => 'location = /key { apikeys_auth digest digest_sha256
            basic bearer; empty_gif; }
        listen 127.0.0.1:%%PORT_1%% ssl;
        ssl_certificate %%DIR%%/tls.crt;
        ssl_certificate_key %%DIR%%/tls.key;');
my $nginx = $f->nginx;
my $ca = $nginx->dir . '/tls.crt';

system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    . ' -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1'
    . " -keyout @{[ $nginx->dir ]}/tls.key -out $ca 2>/dev/null") == 0
    or die "openssl: $?\n";
$f->start;

my $org = $f->org;
my $project = $f->project($org);
my $base = $nginx->url . '/api/v1';

my $header = 'orgId,projectId,publicKey,privateKey,desc,roles,accessList,'
    . 'disabled,expiresAt';
my $uuid = qr/[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}/;
my $go_on = '; go on with --from';
my ($serial, $said_all) = (0, '');


sub private { return sprintf '01234567-89ab-4cde-8f01-%012x', ++$serial }

sub file {
    my ($name, $text) = @_;

    open my $out, '>:raw', "$dir/$name" or die "$dir/$name: $!\n";
    print $out $text;
    close $out or die "$dir/$name: $!\n";
    return "$dir/$name";
}

my $token = file('operator.token', $f->token . "\n");

# a file with a line for each key, all in the organization
sub keys_file {
    my ($name, @keys) = @_;

    return file($name, join "\n", 'orgId,publicKey,privateKey,desc,roles',
        (map { join ',', $org->{id}, $_, private(), 'one of many',
               'ORG_MEMBER' } @keys), '');
}

# starts the command: its pid; what it says is in a file of that pid
sub start {
    my (@args) = @_;

    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        open STDOUT, '>', "$dir/out.$$";
        open STDERR, '>', "$dir/err.$$";
        exec $import, @args or POSIX::_exit(127);
    }
    return $pid;
}

# everything that a run has said is kept, for the test of what is secret
sub said {
    my ($pid) = @_;

    my @said = map { content("$dir/$_.$pid") } qw( out err );
    $said_all .= join '', @said;
    return @said;
}

sub content {
    my ($file) = @_;

    open my $in, '<', $file or return '';
    local $/;
    return <$in> // '';
}

# status, standard output, standard error
sub ended {
    my ($pid) = @_;

    waitpid $pid, 0;
    my $status = $? & 127 ? 'signal ' . ($? & 127) : $? >> 8;
    return ($status, said($pid));
}

sub run { return ended(start('--token-file', $token, @_)) }

sub says {
    my ($pid, $pattern, $title) = @_;

    ok(eval { $nginx->wait_for(sub { join('', said($pid)) =~ $pattern },
        30 * $slow, $title) }, $title) or diag join '', said($pid);
}

sub states {
    return join "\n", @{ $f->db->dbh->selectcol_arrayref(
        'SELECT s::text FROM apikeys.key_states s ORDER BY id') };
}

# how many keys were created with a public key: from the audit
sub created {
    my ($public) = @_;

    return $f->db->dbh->selectrow_array(q{SELECT count(*) FROM apikeys.audit
        WHERE event = 'API_KEY_CREATED' AND after ->> 'publicKey' = ?}, undef,
        $public);
}

sub get {
    my ($public) = @_;

    my $id = $f->db->dbh->selectrow_array(
        'SELECT id FROM apikeys.keys WHERE public_key = ?', undef, $public);
    return $f->operator('GET', "/orgs/$org->{id}/apiKeys/$id")->json;
}

sub admitted {
    my ($status, $title, @options) = @_;

    my $url = $nginx->url . '/key';
    is(qx{curl -sS -o /dev/null -w '%{http_code}' @options $url}, $status,
        $title);
}


subtest 'arguments' => sub {
    my ($status, $out, $err) = run('--help');
    is($status, 0, '--help succeeds');
    like($out, qr/^usage: apikeys-import /, 'it prints the usage');

    my $some = keys_file('arguments.csv', 'zzargume');
    for my $case (
        [ 'no argument', qr/^usage: /, '' ],
        [ 'one argument', qr/^usage: /, $base ],
        [ 'three arguments', qr/^usage: /, $base, $some, $some ],
        [ 'an unknown option', qr/^apikeys-import: Unknown option: now\n/,
          '--now', $base, $some ],
        [ 'a base that is no URL', qr/: \/api\/v1 is not the URL of a native/,
          '/api/v1', $some ],
        [ 'a file that is not there', qr/: cannot open .*none\.csv: No such/,
          $base, "$dir/none.csv" ],
        [ 'a token file that is not there',
          qr/: cannot open the operator token/, '--token-file', "$dir/none",
          $base, $some ],
        [ 'an empty token file', qr/: \S+empty has no operator token\n/,
          '--token-file', file('empty', "\n"), $base, $some ])
    {
        my ($what, $says, @args) = @$case;

        ($status, $out, $err) = run(grep { length } @args);
        is($status, 2, "$what: the status is 2");
        like($err, $says, "$what: the command says what is wrong");
    }
    is(created('zzargume'), 0, 'nothing is imported');
};


subtest 'headers' => sub {
    my $line = "\n$org->{id},zzheader," . private() . ",x,ORG_MEMBER\n";

    for my $case (
        [ 'an empty file', '', qr/ is empty$/ ],
        [ 'a file without a header', substr($line, 1),
          qr/: column 1 of \S+ is unknown; columns are: accessList desc / ],
        [ 'an unknown column', "orgId,publicKey,privateKey,desc,role$line",
          qr/: column 5 of \S+ is unknown/ ],
        [ 'a column twice', "orgId,publicKey,privateKey,desc,desc$line",
          qr/: column 5 of \S+ is there twice/ ],
        (map { my $name = $_; [ "no column $name",
              join(',', grep { $_ ne $name }
                  qw( orgId publicKey privateKey desc roles )) . $line,
              qr/has no column "$name"/ ] }
          qw( publicKey privateKey desc roles )),
        [ 'neither orgId nor projectId', "publicKey,privateKey,desc,roles$line",
          qr/has neither a column "orgId" nor "projectId"/ ])
    {
        my ($what, $text, $says) = @$case;
        my ($status, $out, $err) = run($base, file('header.csv', $text));

        is($status, 2, "$what: the status is 2");
        like($err, $says, "$what: the command says what is wrong");
    }
    is(created('zzheader'), 0, 'nothing is imported');
};


my %private = map { $_ => private() }
    qw( zzplaina zzquoted zzprojec zzlisted zzdisabl zzexpire zzlonely );
my $good = file('good.csv', join "\r\n", "\xef\xbb\xbf$header",
    "$org->{id},,zzplaina,$private{zzplaina},plain,ORG_MEMBER,,,",
    '',
    qq("$org->{id}","","zzquoted","$private{zzquoted}","a ""quoted"", desc)
        . qq(ription\\\nof two lines, Gr\xc3\xbc\xc3\x9fe",)
        . qq("ORG_READ_ONLY ORG_MEMBER","",false,),
    ",$project->{id},zzprojec,$private{zzprojec},in a project,"
        . 'GROUP_READ_ONLY,,,',
    "$org->{id},,zzlisted,$private{zzlisted},listed,ORG_MEMBER,"
        . qq("192.0.2.0/24\n2001:db8::1 198.51.100.7",,),
    "$org->{id},,zzdisabl,$private{zzdisabl},disabled,ORG_MEMBER,,true,",
    "$org->{id},,zzexpire,$private{zzexpire},expires,ORG_MEMBER,,,"
        . '2099-01-31T00:00:00Z',
    '', '',
    "$org->{id},,zzlonely,$private{zzlonely},last,ORG_MEMBER,,,");

subtest 'lines that are imported' => sub {
    my ($status, $out, $err) = run($base, $good);

    is($status, 0, 'the command succeeds');
    is($out, <<'END', 'it prints the outcome of each line, and how many');
line 2: zzplaina: imported
line 4: zzquoted: imported
line 6: zzprojec: imported
line 7: zzlisted: imported
line 9: zzdisabl: imported
line 10: zzexpire: imported
line 13: zzlonely: imported
apikeys-import: 7 imported, 0 present, 0 failed
END
    is($err, '', 'it prints no error');

    my $key = get('zzquoted');
    is($key->{desc}, qq(a "quoted", description\\\nof two lines, Gr\xfc\xdfe),
        'quotes, commas, newlines and UTF-8 in a field');
    is(join(' ', map { $_->{roleName} } @{ $key->{roles} }),
        'ORG_MEMBER ORG_READ_ONLY', 'roles with a blank between');
    ok(!$key->{disabled}, 'a key with "false"');
    is(join(' ', map { $_->{roleName} } @{ get('zzprojec')->{roles} }),
        'ORG_MEMBER GROUP_READ_ONLY', 'a key of a project');
    ok(get('zzdisabl')->{disabled}, 'a key with "true"');
    is(get('zzexpire')->{expiresAt}, '2099-01-31T00:00:00Z',
        'a key with an end');
    is($f->db->dbh->selectrow_array(q{SELECT entries FROM apikeys.key_states
        WHERE public_key = 'zzlisted'}),
        '192.0.2.0/24,198.51.100.7/32,2001:db8::1/128',
        'addresses with blanks and newlines between');
};


subtest 'imported keys authenticate' => sub {
    my ($public, $private) = ('zzplaina', $private{zzplaina});
    my $user = "-u $public:$private";

    ok(eval { $nginx->wait_for(sub { $f->client(key => "$public:$private")
        ->request('GET', '/key')->code == 200 }, 10 * $slow, '') },
        'with digest (MD5)');
    admitted(200, 'with digest', '--digest', $user);
    admitted(200, 'with basic', $user);
    admitted(200, 'with bearer',
        "-H 'Authorization: Bearer ${public}_$private'");
    is($f->client(key => "$public:$private", algorithm => 'SHA-256')
        ->request('GET', '/key')->code, 200, 'with digest (SHA-256)');
    admitted(401, 'not with another private key',
        "-u $public:$private{zzquoted}");
    admitted(401, 'not if the line says that the key is disabled',
        "-u zzdisabl:$private{zzdisabl}");
    admitted(403, 'not from an address that the line does not list',
        "-u zzlisted:$private{zzlisted}");
};


subtest 'a second run' => sub {
    my $before = states();
    my ($status, $out, $err) = run($base, $good);

    is($status, 0, 'the command succeeds');
    like($out, qr/^line 2: zzplaina: present\nline 4: zzquoted: present\n/,
        'it prints which keys are there');
    like($out, qr/^apikeys-import: 0 imported, 7 present, 0 failed$/m,
        'it prints how many');
    is($err, '', 'it prints no error');
    is(states(), $before, 'nothing is changed');
};


subtest 'lines that are refused' => sub {
    my $nobody = '0123456789abcdef01234567';
    my $long = 'x' x 251;
    my $huge = 'x' x 12289;

    # columns of a line, and what is said; {} is the line without them
    my @cases = (
        [ { desc => '' }, 'API_KEY_REQUIRES_DESCRIPTION: ' ],
        [ { desc => $long }, 'INVALID_API_KEY_DESC: ' ],
        [ { desc => $huge }, 'longer than 12288 bytes', 1 ],
        [ { desc => "\xff" }, 'is not UTF-8' ],
        [ { roles => '' }, 'MISSING_API_KEY_ROLES: ' ],
        [ { roles => 'ORG_NONE' }, 'INVALID_ENUM_VALUE: .*ORG_NONE' ],
        [ { roles => 'ORG_MEMBER;ORG_OWNER' }, 'INVALID_ENUM_VALUE: ' ],
        [ { roles => 'GROUP_OWNER' }, 'CANNOT_ADD_GROUP_ROLE: ' ],
        [ { roles => 'ORG_MEMBER', projectId => $project->{id}, orgId => '' },
          'CANNOT_ADD_ORG_ROLE: ' ],
        [ { privateKey => '' }, 'MISSING_ATTRIBUTE: .*privateKey' ],
        [ { privateKey => 'correct horse battery staple' },
          'INVALID_ATTRIBUTE: .*privateKey' ],
        [ { publicKey => '' }, 'MISSING_ATTRIBUTE: .*publicKey', 1 ],
        [ { publicKey => 'zzbad' }, 'INVALID_ATTRIBUTE: .*publicKey', 1 ],
        [ { publicKey => private(), privateKey => 'zzswitch' },
          'INVALID_ATTRIBUTE: .*publicKey', 1 ],
        [ { roles => private() }, 'INVALID_ENUM_VALUE: .*\.\.\.' ],
        [ { publicKey => 'zzplaina' }, 'line \d+ has the same public key', 1 ],
        [ { orgId => '' }, 'one of orgId and projectId is required' ],
        [ { projectId => $project->{id} },
          'one of orgId and projectId is required' ],
        [ { orgId => '../orgs' },
          'orgId or projectId is not 24 hexadecimal digits' ],
        [ { orgId => $nobody }, "ORG_NOT_FOUND: .*$nobody" ],
        [ { orgId => '', projectId => $nobody, roles => 'GROUP_OWNER' },
          "GROUP_NOT_FOUND: .*$nobody" ],
        [ { accessList => '192.0.2' },
          'INVALID_IP_ADDRESS_OR_CIDR_NOTATION: .*192\.0\.2' ],
        [ { accessList => '192.0.2.1 192.0.2.1/32' },
          'DUPLICATE_ADDRESSES_IN_INPUT: ' ],
        [ { accessList => '0.0.0.0/0' },
          'CANNOT_ADD_IP_ADDRESS_TO_API_KEY_ACCESS_LIST: ' ],
        [ { disabled => 'yes' }, 'INVALID_JSON_ATTRIBUTE: .*disabled' ],
        [ { expiresAt => '2020-01-01T00:00:00Z' },
          'INVALID_ATTRIBUTE: .*expiresAt' ],
        [ { expiresAt => '2099-01-01' }, 'INVALID_ATTRIBUTE: .*expiresAt' ],
        [ '%s,too,few', '3 fields, but the header has 9', 1 ],
        [ '%s,,,,,,,,,', '10 fields, but the header has 9', 1 ],
        [ '%s,,zz"quote,,,,,,', 'a quote or a carriage return is in a field'
          . ' without quotes around it', 1 ],
        [ '%s,,"zzquote"s,,,,,,', 'a quote or a carriage return is in a field'
          . ' without quotes around it', 1 ],
        [ "%s,,zzreturn\r,,,,,,", 'a quote or a carriage return is in a field'
          . ' without quotes around it', 1 ],
        [ '%s,,zzunclos,,"a quote,,,,', 'a quote is not closed', 1 ],
    );
    my $name = 'zzrefuaa';
    my @lines = ($header,
        "$org->{id},,zzplaina,$private{zzplaina},plain,ORG_MEMBER,,,");
    my %public;

    for my $case (@cases) {
        my ($columns) = @$case;

        $public{$case} = $name;
        my %line = (orgId => $org->{id}, publicKey => $name++,
            privateKey => private(), desc => 'refused', roles => 'ORG_MEMBER',
            ref $columns ? %$columns : ());
        push @lines, ref $columns
            ? join ',', map { $line{$_} // '' } split /,/, $header
            : sprintf $columns, $org->{id};
    }
    push @lines, "$org->{id},,zzaftera," . private() . ',after,ORG_MEMBER,,,';

    my $before = states();
    my ($status, $out, $err) = run($base, file('bad.csv',
        join "\n", @lines, ''));

    is($status, 1, 'the command fails');
    is($out, "line 2: zzplaina: present\nline @{[ 3 + @cases ]}: zzaftera:"
        . " imported\napikeys-import: 1 imported, 1 present, "
        . @cases . " failed\n", 'it goes on to the last line');

    my @said = split /\n/, $err;
    for my $i (0 .. $#cases) {
        my ($columns, $says, $unnamed) = @{ $cases[$i] };
        my $line = 'line ' . ($i + 3) . ': ';

        $line .= $unnamed ? '(?:zz\w{6}: )?' : "$public{ $cases[$i] }: ";
        like($said[$i] // '', qr/^$line$says/,
            'it says: ' . substr $says, 0, 50);
    }
    is(@said, @cases, 'it says no more');
    is(join("\n", grep { index($before, $_) < 0 } split /\n/, states()) =~
        tr/\n//, 0, 'only the last line is imported');
    is(created('zzaftera'), 1, 'the line after those is imported');
};


subtest 'an answer that is lost' => sub {
    my $file = keys_file('lost.csv', 'zzlostan');
    my $proxy = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1')
        or die "listen: $@\n";
    my $pid = start('--token-file', $token,
        'http://127.0.0.1:' . $proxy->sockport . '/api/v1', $file);

    for my $lost (1, 0) {
        $proxy->timeout(30 * $slow);
        my $client = $proxy->accept or die "no connection\n";
        my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
            PeerPort => $nginx->port) or die "nginx: $@\n";
        my ($request, $answer) = ('', '');

        until ($request =~ /^content-length: (\d+)\r.*?\n\r\n(.*)/ims
            && length $2 == $1)
        {
            sysread $client, $request, 65536, length $request
                or die "the request ends early\n";
        }
        if ($lost) {
            my $seen = join '', map { content("/proc/$_/cmdline") } $pid,
                split ' ', content("/proc/$pid/task/$pid/children");
            like($seen, qr/import\0.*curl\0/s, 'curl waits for the answer');
            ok($seen !~ /\Q@{[ $f->token ]}\E|$uuid/,
                'no argument of the processes is secret');
        }
        print $server $request =~ s/\r\n/\r\nConnection: close\r\n/r;
        1 while sysread $server, $answer, 65536, length $answer;
        print $client $answer if !$lost;
        close $client;
    }

    my ($status, $out, $err) = ended($pid);
    is($status, 0, 'the command succeeds');
    like($err, qr/^line 2: no answer: .*, trying for 60 seconds$/m,
        'it says that there was no answer');
    like($out, qr/^line 2: zzlostan: present$/m,
        'it finds that the key is there');
    is(created('zzlostan'), 1, 'the key is created once');
};


subtest 'the database is away' => sub {
    my $file = keys_file('database.csv', map { "zzdbase$_" } 'a' .. 'c');

    $pg->stop;
    my ($status, $out, $err) = run('--wait', 1, $base, $file);
    is($status, 2, 'the command stops');
    is($out, "apikeys-import: 0 imported, 0 present, 0 failed\n",
        'nothing is imported');
    like($err, qr/: stopped at line 2: answer 503 \S+: .*$go_on 2$/m,
        'it says where to go on');

    my $pid = start('--token-file', $token, '--wait', 300, $base, $file);
    says($pid, qr/^line 2: answer 503 .*, trying for 300 seconds$/m,
        'the command waits for the database');
    $pg->start;
    ($status, $out, $err) = ended($pid);
    is($status, 0, 'the command succeeds when the database is back');
    like($out, qr/^apikeys-import: \d imported, \d present, 0 failed$/m,
        'no line fails');
    is(join(' ', map { created("zzdbase$_") } 'a' .. 'c'), '1 1 1',
        'each key is created once');
};


subtest 'nginx is away' => sub {
    my $file = keys_file('nginx.csv', map { "zznginx$_" } 'a' .. 'c');
    my $port = $nginx->port;

    $nginx->stop;
    my ($status, $out, $err) = run('--wait', 0, $base, $file);
    is($status, 2, 'the command stops');
    like($err, qr/: stopped at line 2: no answer: .* port $port .*$go_on 2$/m,
        'it says where to go on');

    my $pid = start('--token-file', $token, '--wait', 300, $base, $file);
    says($pid, qr/^line 2: no answer: .*, trying for 300 seconds$/m,
        'the command waits for nginx');
    kill 'TERM', $pid;
    ($status, $out, $err) = ended($pid);
    is($status, 2, 'SIGTERM ends the command');
    like($err, qr/: stopped at line 2: interrupted$go_on 2$/m,
        'it says where to go on');

    $pid = start('--token-file', $token, '--wait', 300, $base, $file);
    says($pid, qr/^line 2: no answer: .*, trying for 300 seconds$/m,
        'the command waits for nginx again');
    $nginx->start;
    is((ended($pid))[0], 0, 'the command succeeds when nginx is back');
    is(join(' ', map { created("zznginx$_") } 'a' .. 'c'), '1 1 1',
        'each key is created once');
};


subtest 'a run that is interrupted' => sub {
    $f->wait_loaded($nginx);

    my @names = map { "zzmany$_" } 'aa' .. 'dv';
    my $file = keys_file('many.csv', @names);

    for my $signal (qw( KILL INT )) {
        my $pid = start('--token-file', $token, $base, $file);
        says($pid, $signal eq 'KILL' ? qr/: imported\n.*: imported\n/s
            : qr/: present\n.*: imported\n.*: imported\n/s, "$signal: the"
            . ' command imports');
        kill $signal, $pid;
        my ($status, $out, $err) = ended($pid);

        if ($signal eq 'KILL') {
            is($status, 'signal 9', 'SIGKILL ends the command');
            next;
        }

        is($status, 2, 'SIGINT ends the command');
        my ($last) = $out =~ /.*^line (\d+):/ms;
        my ($from) = $err =~ /$go_on (\d+)$/m;
        is($from, $last + 1, 'it names the line after the last one');
        cmp_ok($from, '<', @names, 'which is not the end of the file');

        ($status, $out, $err) = run('--from', $from, $base, $file);
        is($status, 0, '--from: the command succeeds');
        like($out, qr/\Aline $from: /, '--from: it begins with that line');
        my $rest = @names + 2 - $from;
        like($out, qr/^apikeys-import: $rest imported, 0 present, 0 failed$/m,
            '--from: it imports the rest');
    }

    is(join(' ', map { created($_) } @names), join(' ', (1) x @names),
        'each key is created once');
};


subtest 'TLS' => sub {
    my $file = keys_file('tls.csv', 'zztlsaaa');
    my $https = 'https://127.0.0.1:' . $nginx->port(1) . '/api/v1';

    my ($status, $out, $err) = run($https, $file);
    is($status, 2, 'an unknown certificate: the command stops');
    like($err, qr/: stopped at line 2: no answer: SSL certificate.*$go_on 2$/m,
        'an unknown certificate: it says why');
    is(created('zztlsaaa'), 0, 'an unknown certificate: nothing is imported');

    local $ENV{CURL_CA_BUNDLE} = $ca;
    is((run($https, $file))[0], 0, 'CURL_CA_BUNDLE: the command succeeds');
    is(created('zztlsaaa'), 1, 'CURL_CA_BUNDLE: the key is imported');
};


subtest 'another API, and another token' => sub {
    my $file = keys_file('other.csv', 'zzothera', 'zzotherb');

    my ($status, $out, $err) = run('--token-file',
        file('wrong.token', 'x' x 32), $base, $file);
    is($status, 2, 'a wrong token: the command stops');
    like($err, qr/: stopped at line 2: the operator token is refused: /,
        'a wrong token: it says why');
    like($out, qr/^apikeys-import: 0 imported, 0 present, 0 failed$/m,
        'a wrong token: it goes no further');

    my $owner = file('owner.token',
        "$org->{key}{publicKey}_$org->{key}{privateKey}");
    ($status, $out, $err) = run('--token-file', $owner, $base, $file);
    isnt($status, 0, 'the token of an owner: the command fails');

    ($status, $out, $err) = run($nginx->url . '/open', $file);
    is($status, 2, 'no API: the command stops');
    like($err, qr/ line 2: the API answers with 405 .*, check the URL;/,
        'no API: it says what to do');

    ($status, $out, $err) = run($nginx->url . '/api/atlas/v1.0', $file);
    is($status, 1, 'an API of Atlas: the command fails');
    like($err, qr/^line 2: zzothera: ATTRIBUTE_READ_ONLY: .*\nline 3: /,
        'an API of Atlas: it says why');
    is(created('zzothera') + created('zzotherb'), 0, 'nothing is imported');
};


unlike($said_all, qr/$uuid|correct horse|\Q@{[ $f->token ]}\E/,
    'no run has printed a private key or the token');

done_testing();
