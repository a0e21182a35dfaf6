# What an operator finds in the error log at its default level: why requests
# and calls of the API get 503, that the database is lost, why everything is
# loaded, each once for all workers, and when it is over.  That a line is
# repeated each minute is a matter of t/unit/failure.c.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use ApiKeys::Pg ();
use Cwd qw( abs_path );
use MIME::Base64 qw( encode_base64 );
use Test::More;

my $root = abs_path("$FindBin::Bin/..");
my $slow = $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND} ? 5 : 1;

my $pg = ApiKeys::Pg->new(own => 1);
my %common = (workers => 4, log_level => 'error',
    database => "connections=2 queue=2 timeout=${\(3 * $slow)}s "
        . 'connect_timeout=1s',
    http => 'apikeys_sync poll=100ms; apikeys_stale 2s; apikeys_wait 0;',
    api => 'apikeys_auth basic digest; apikeys_stale 1h;',
    server => <<'END_SERVER');
        location /key { apikeys_auth basic; empty_gif; }
        location /dry { apikeys_auth basic; apikeys_dry_run on; empty_gif; }
END_SERVER

# at "notice", to see when something is over; a node with the default level
my $f = ApiKeys::Fixture->new(pg => $pg, %common, log_level => 'notice');
my $db = $f->db;
my $nginx = $f->nginx;
my $org = $f->org;
my $other = $f->org;
my $key = $f->key($org, 'ORG_READ_ONLY');
my $unknown = { secret => 'aaaaaaaa:x' };

sub code {
    my ($uri, $who, $node) = @_;

    my $client = ApiKeys::Client->new(port => ($node || $nginx)->port,
        timeout => 30 * $slow);
    my $res = $client->plain('GET', $uri, undef, headers => {
        Authorization => 'Basic ' . encode_base64($who->{secret}, '') });
    $client->close;
    return $res ? $res->code : 0;
}

sub becomes {
    my ($code, $uri, $who, $title) = @_;

    my $got = '';
    eval { $nginx->wait_for(sub { ($got = code($uri, $who)) == $code },
        20 * $slow, '') };
    is($got, $code, $title);
}

# lines with that text, since a mark
sub lines {
    my ($regex, $from, $node) = @_;

    return grep { /$regex/ } split /\n/,
        substr(($node || $nginx)->error_log, $from);
}

# a line of that level, and what it begins and ends with, comes once
sub logs {
    my ($level, $text, $from, $title, $node) = @_;

    my $regex = qr/\[$level\].*apikeys: $text(?:, client: .*)?$/m;
    ok(eval { ($node || $nginx)->wait_log($regex, 20 * $slow, $from) }, $title)
        or return diag("not in the log: $regex");
    is(scalar(lines($regex, $from, $node)), 1, "$title: once");
}

sub rename_key {
    my ($org, $desc) = @_;

    my $client = ApiKeys::Client->new(port => $nginx->port,
        timeout => 60 * $slow);
    $client->send($client->format('PATCH',
        "$org->{path}/apiKeys/$org->{key}{id}", { desc => $desc },
        headers => { Authorization =>
            'Basic ' . encode_base64($org->{key}{secret}, '') }));
    return $client;
}


# the start

logs('notice', 'loaded \d+ keys from database \S+:\d+ in \d+ ms: start', 0,
    'the first load has host, time and reason');
is(scalar(grep { !/requests get 503: local copy is not loaded/ }
    lines(qr/\[error\]/, 0)), 0, 'a start is no error but for early requests');


# the whole database is lost: nobody asks anything meanwhile

my $mark = $nginx->log_mark;
$pg->stop('immediate');
logs('error', 'no database host is available, last error: \S+: \S+.*, for 0 s',
    $mark, 'the loss of the database');
logs('error', 'cannot read changes from the database: \S+ .*, for 0 s', $mark,
    'the log says that changes cannot be read');
logs('error', 'requests get 503: local copy is [12] s old, older than '
    . 'apikeys_stale, for 0 s', $mark, 'the moment of apikeys_stale');

is(code('/key', $key), 503, 'a request gets 503 then') for 1 .. 8;
is(code('/dry', $key), 200, 'a dry run gets 200 after apikeys_stale');
is(code($org->{path}, $org->{key}), 503,
    'the API answers 503 after apikeys_stale') for 1 .. 8;
logs('error', 'API calls get 503: statement "apikeys_\w+" failed: .*, for 0 s',
    $mark, 'why the API does not answer');
is(scalar(lines(qr/requests get 503/, $mark)), 1,
    'no request adds a line to that of the copy');
is(scalar(lines(qr/no database host is available/, $mark)), 1,
    'no worker adds a line to that of the database');

$pg->start;
logs('notice', 'connected to database \S+ again, after \d+ s',
    $mark, 'the database is back');
logs('notice', 'reading changes from the database again, after \d+ s', $mark,
    'changes are read');
logs('notice', 'requests no longer get 503: local copy is not older than '
    . 'apikeys_stale, after \d+ s', $mark, 'requests are decided');
becomes(200, '/key', $key, 'a key is admitted when the log says so');
is(scalar(lines(qr/loaded \d+ keys/, $mark)), 0,
    'the same database is not loaded again');


# a node that has not loaded, at the default level

my $new = $f->node(%common, db => $db);
$db->psql('REVOKE USAGE ON SCHEMA apikeys FROM apikeys_nginx');
$new->start;
is(code('/key', $unknown, $new), 503, 'not loaded') for 1 .. 8;
logs('error', 'cannot read changes from the database: .*42501.*, run '
    . 'sql/apply.sh and sql/grants.sql, for 0 s', 0, 'why not', $new);
logs('error', 'requests get 503: local copy is not loaded completely, for 0 s',
    0, 'a copy that is not loaded', $new);
$db->psql('GRANT USAGE ON SCHEMA apikeys TO apikeys_nginx');
$f->wait_loaded($new, 30 * $slow);
$new->quit;
is(scalar(lines(qr/\[(?:notice|info)\]/, 0, $new)), 0,
    'its log has errors alone');


# one API key

$db->psql("UPDATE apikeys.keys SET secret = (SELECT secret FROM apikeys.keys
    WHERE id = '$org->{key}{id}') WHERE id = '$key->{id}'");
$mark = $nginx->log_mark;
becomes(503, '/key', $key, 'a key that does not open');
is(code('/key', $key), 503,
    'a key that does not open gets 503 each time') for 1 .. 4;
logs('error', "requests get 503: API key \"$key->{publicKey}\" has no room in "
    . "the zone or cannot be decrypted .*, for 0 s", $mark,
    'the key that is not decided');
logs('error', '1 of 1 API keys cannot be decrypted with .*', $mark,
    'the log counts the keys that cannot be decrypted');
is(code('/key', $unknown), 401,
    'an unknown key gets 401 beside a key that cannot be decrypted');


# a timeout, then a full queue, while a row is locked

my $lock = $db->connect;
$lock->begin_work;
$lock->do('SELECT FROM apikeys.orgs WHERE id IN (?, ?) FOR UPDATE', undef,
    $org->{id}, $other->{id});
$mark = $nginx->log_mark;
my $first = rename_key($org, 'first');
is($first->read(timeout => 60 * $slow)->code, 503, 'a statement times out');
logs('error', 'API calls get 503: statement "apikeys_\w+" failed: timed out, '
    . 'for 0 s', $mark, 'a timeout');

my @calls = map { rename_key($_ % 2 ? $org : $other, "call $_") } 1 .. 40;
logs('error', 'API calls get 503: statement "apikeys_\w+" failed: statement '
    . 'queue is full.*, for 0 s', $mark, 'a full queue');
is(scalar(lines(qr/API calls get 503.* timed out/, $mark)), 1,
    'the timeout of statements is logged once');
$lock->rollback;
$_->read(timeout => 60 * $slow) for @calls;
$_->close for $first, @calls;
is(scalar(lines(qr/get 503: .*queue is full/, $mark)), 1,
    'one line for all calls and workers');
becomes(200, $other->{path}, $other->{key}, 'calls are answered again');


# full loads, each with its reason

sub loads {
    my ($title, $reason, $what) = @_;

    my $mark = $nginx->log_mark;
    $what->();
    logs('notice', "loaded \\d+ keys from database \\S+ in \\d+ ms: $reason",
        $mark, $title);
}

loads('a restore', 'failover, restore or upgrade of the database', sub {
    $db->psql('REFRESH MATERIALIZED VIEW apikeys.feed_uuid') });
loads('a table that was emptied', 'a table of the database was truncated',
    sub { $db->psql('TRUNCATE apikeys.access_list CASCADE') });
loads('a line of the master key file',
    'lines of apikeys_master_key_file have changed', sub {
        $nginx->write_file('master.key', join("\n", $f->{master_key},
            encode_base64('k' x 32, ''), ''), 0600);
        $nginx->reload(60 * $slow) });
becomes(401, '/key', $unknown, 'an unknown key gets 401 once all is loaded');


# the manual has no line that there is not

{
    my $manual = slurp('docs/monitoring.md') =~ s/.*^## Log lines//msr
        =~ s/^## .*//msr;
    my $source = join '', map { slurp($_) }
        glob "$root/src/{*,*/*}/*.c";
    $source =~ s/"\s*"//g;
    my @strings = $source =~ /"((?:\\.|[^"\\\n])*)"/g;

    my @patterns = map { [ split / \| / ] } $manual =~ /^\| (\w.*) \|$/mg;
    my @missing;
    for my $row (@patterns) {
        my ($level, $text) = @$row;
        for my $pattern (($level =~ /^\w+$/ ? $text : $level) =~ /`([^`]+)`/g) {
            my $text = $pattern =~ s/^\w+(?: calls)? get 503(?:: )?//r;
            push @missing, $pattern
                if !grep { s/\\"/"/gr =~ s/%\S*/x/gr =~ /(?:$text)/ } @strings;
        }
    }
    is_deeply(\@missing, [], 'its patterns are those of the source')
        or diag(join "\n", @missing);
    cmp_ok(scalar @patterns, '>', 20, 'of which it has some');
}

done_testing;


sub slurp {
    my ($file) = @_;

    open my $in, '<', $file =~ m{^/} ? $file : "$root/$file"
        or die "$file: $!\n";
    local $/;
    return scalar <$in>;
}
