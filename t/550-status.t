# What an operator's monitoring reads: JSON, and Prometheus text that a strict
# reader of the format accepts; with no label that grows with keys.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Access ();
use MIME::Base64 qw( encode_base64 );
use Test::More;

my $t = ApiKeys::Access->new(zone => '8m', workers => 2,
    http => 'apikeys_sync poll=100ms;');
$t->serve(<<'END');
    location /in { apikeys_auth basic digest; apikeys_require role=ORG_MEMBER;
                   empty_gif; }
    location = /status { apikeys_status; }
    location = /json { apikeys_status json; }
    location = /metrics { apikeys_status prometheus; }
    location = /guarded { apikeys_auth basic; apikeys_status prometheus; }
END

my $org = $t->org;
my $member = $t->key($org, 'ORG_MEMBER');
my $reader = $t->key($org, 'ORG_READ_ONLY');
$t->project($org);
$t->settle;
$t->nginx->wait_for(sub { !$t->nginx->workers(exiting => 1) }, 20,
    'workers of before do not leave');

sub get {
    my ($uri, %opt) = @_;

    my $client = $t->fixture->client;
    my $res = $client->plain($opt{method} || 'GET', $uri, undef, %opt);
    $client->close;
    return $res;
}


# JSON

my %sections = (
    copy => [qw( age_milliseconds complete invalid keys keys_without_line
                 keys_without_room orgs projects tombstones )],
    feed => [qw( behind lag_milliseconds )],
    zone => [qw( free_bytes full_total low repairs_total reserved_bytes
                 retired_bytes size_bytes )],
    sync => [qw( changes_total errors_total leader listening loads_total
                 polls_total )],
    pool => [qw( busy connects_total errors_total failures_total open
                 queries_total refused_total timeouts_total waiting )],
    usage => [qw( dropped_total failures_total flushes_total pending )],
    decisions => [qw( address allow allow_expired bad_credential error expired
                      no_access_list no_credential not_loaded replay role
                      stale_nonce unknown_key wrong_secret )],
);

# a leader that is late has no successor yet

my $res;
$t->nginx->wait_for(sub { ($res = get('/status'))->json->{leader_pid} }, 30,
    'no worker follows');
is($res->code, 200, 'the status');
is($res->header('content-type'), 'application/json', 'its type');
my $json = $res->json;
is_deeply([ sort keys %$json ], [ sort qw( pid leader_pid
            keys_without_room master_key_lines ), keys %sections ],
    'its sections');
is_deeply($json->{keys_without_room}, [], 'no key is without room');
for my $section (sort keys %sections) {
    my $has = $json->{$section};
    is_deeply([ sort keys %$has ], $sections{$section},
        "the names of $section");
    is_deeply([ grep { $has->{$_} !~ /^\d+$/ } sort keys %$has ], [],
        "which are whole numbers");
}
for my $member (qw( pid leader_pid )) {
    is((grep { $_ == $json->{$member} } $t->nginx->workers), 1,
        "$member is a worker's");
}
is_deeply([ @{ $json->{copy} }{qw( keys orgs projects complete )} ],
    [ 3, 1, 1, 1 ], 'what the local copy has');
cmp_ok($json->{zone}{size_bytes}, '>', 6 << 20, 'how large the zone is');
cmp_ok($json->{zone}{free_bytes}, '<', $json->{zone}{size_bytes},
    'and how full');
is_deeply([ sort keys %{ get('/json')->json } ], [ sort keys %$json ],
    'json by its name');

is(get('/status', method => 'HEAD')->body, '', 'HEAD');
is(get($_, method => 'POST')->code, 405, "no POST: $_")
    for '/status', '/metrics';
is(get('/guarded')->code, 401, 'figures behind a key');
is(get('/guarded', headers => { Authorization => 'Basic '
    . encode_base64($member->{secret}, '') })->code, 200, 'with a key');


# the feed: each poll tells, while a proof of freshness comes every 5 s

my $feed;
$t->nginx->wait_for(sub {
    my $now = get('/status')->json;
    $feed = $now->{feed};
    return $now->{copy}{age_milliseconds} > 2000
        && $feed->{lag_milliseconds} < 1000;
}, 30, 'the lag is never less than the age');
is($feed->{behind}, 0, 'the local copy has all that it knows of');


# decisions, by what they were

my $before = $t->status->{decisions};
my %asked = (allow => [ $member, 3 ], role => [ $reader, 2 ],
    no_credential => [ undef, 4 ],
    wrong_secret => [ { secret => "$member->{publicKey}:x" }, 2 ],
    unknown_key => [ { secret => 'zzzzzzzz:x' }, 1 ]);
for my $decision (sort keys %asked) {
    my ($key, $n) = @{ $asked{$decision} };
    get('/in', headers => $key ? { Authorization => 'Basic '
        . encode_base64($key->{secret}, '') } : {}) for 1 .. $n;
}
my $after = $t->status->{decisions};
is_deeply({ map { $after->{$_} == $before->{$_} ? ()
        : ($_ => $after->{$_} - $before->{$_}) } keys %$after },
    { map { $_ => $asked{$_}[1] } keys %asked },
    'decisions are counted, over all workers, each once');


# Prometheus

# the text format 0.0.4, read strictly: name => { type, help, samples }
sub metrics {
    my ($text) = @_;

    my (%m, $name);
    $text =~ /\n\z/ or return 'no newline at the end';
    for my $line (split /\n/, $text) {
        if ($line =~ /^# HELP ([a-z][a-z0-9_]*) (\S.*\.)$/) {
            return "$1 twice" if $m{$1};
            $m{ $name = $1 } = { help => $2, samples => {} };

        } elsif ($line =~ /^# TYPE (\S+) (counter|gauge)$/) {
            my $type = $2;
            return "type of $1 after $name" if $1 ne $name || $m{$1}{type};
            return "$type $name" if ($type eq 'counter') xor $name =~ /_total$/;
            $m{$name}{type} = $type;

        } elsif ($line =~ /^([a-z0-9_]+)((?:\{[a-z]+="[a-z0-9_]+"\})?)[ ]
                 (\d+(?:\.\d+)?)$/x)
        {
            return "$1 in $name" if $1 ne $name || !$m{$1}{type};
            return "$1$2 twice" if exists $m{$1}{samples}{$2};
            $m{$name}{samples}{$2} = $3;

        } else {
            return "no metric: $line";
        }
    }
    return \%m;
}

$res = get('/metrics');
is($res->code, 200, 'the metrics');
is($res->header('content-type'), 'text/plain; version=0.0.4', 'their type');
my $m = metrics($res->body);
ref $m or BAIL_OUT("not the text format: $m");
pass('are in the text format');

is_deeply([ sort keys %$m ], [ sort 'apikeys_master_key_line_keys', map {
        my $s = $_;
        $s eq 'decisions' ? 'apikeys_decisions_total'
            : map { "apikeys_${s}_" . s/_milliseconds/_seconds/r }
                @{ $sections{$s} }
    } keys %sections ], 'the same figures');
is($m->{apikeys_copy_keys}{samples}{''}, 3, 'the same values');
is($m->{apikeys_decisions_total}{samples}{'{decision="role"}'},
    $after->{role}, 'the same decisions');
cmp_ok($m->{apikeys_copy_age_seconds}{samples}{''}, '<', 60,
    'an age in seconds');
my %labels = map { $_ => 1 } map { /\{(\w+)=/ } map { keys %{ $_->{samples} } }
    values %$m;
is(join(' ', sort keys %labels), 'decision line', 'all labels');

my $lines = () = $res->body =~ /\n/g;
$t->fixture->key($org, 'ORG_MEMBER') for 1 .. 5;
$t->settle;
my $more = get('/metrics')->body;
is(() = $more =~ /\n/g, $lines, 'no line comes with a key');
like($more, qr/^apikeys_copy_keys 8$/m, 'of which there are more');
unlike($more, qr/$member->{publicKey}|$org->{id}|$member->{id}/,
    'nor is one named');

done_testing;
