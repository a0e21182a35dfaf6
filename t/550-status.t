# What an operator's monitoring reads: JSON, and Prometheus text that a strict
# reader of the format accepts, with no label that grows with keys; and what a
# load balancer asks: 200 while the node can decide by the terms of the location,
# else 503 with a line that says why.  Two workers answer.

use strict;
use warnings;

use lib 't/lib';
use Test::Nginx::ApiKeys 'no_plan';
use JSON::PP qw( decode_json );

workers(2);
master_on();

locations(<<'END', 'apikeys_sync poll=100ms;');
    location /in { apikeys_auth basic digest; apikeys_require role=ORG_MEMBER;
                   empty_gif; }
    location = /status { apikeys_status; }
    location = /json { apikeys_status json; }
    location = /metrics { apikeys_status prometheus; }
    location = /guarded { apikeys_auth basic; apikeys_status prometheus; }
    location = /health { apikeys_status health; }
    location = /soon { apikeys_stale 1s; apikeys_status health; }
    location = /late { apikeys_stale 1s expired=allow; apikeys_status health; }
END

names(n => '"~[0-9]+"', version => qx{util/version} =~ s/\n//r);

my ($lines, $figures);

# Filters: whose process "pid" and "leader_pid" are; the bytes of the zone; the
# lines of Prometheus text beyond those of the answer before; its labels; "same"
# if the figures are those of the answer before.
sub workers_of {
    my $master = do { local @ARGV = $Test::Nginx::Util::PidFile; <> };
    my %worker = map { $_ => 1 } split ' ', qx{pgrep -P $master};
    my $status = decode_json($_[0]);
    return join ' ', map { "$_ is a worker" x !!$worker{ $status->{$_} } }
        qw( pid leader_pid );
}

sub zone {
    my ($size, $free) = @{ decode_json($_[0])->{zone} }{qw( size_bytes free_bytes )};
    return join ' ', $size > 6 << 20 ? 'large' : $size, $free < $size ? 'used' : '';
}

sub more_lines { my $n = () = $_[0] =~ /\n/g; return $n - ($lines //= $n) }

sub labels {
    my %labels = map { $_ => 1 } $_[0] =~ /\{(\w+)=/g;
    return join ' ', sort keys %labels;
}

sub same {
    my $now = figures($_[0]);
    return 'same' if $now eq ($figures //= $now);
    return "$now\nnot $figures";
}

# The figures of both formats as lines of Prometheus, with the values of some;
# the text is read strictly, as the format 0.0.4.
sub figures {
    my ($text) = @_;

    my ($json, %seen, @lines) = eval { decode_json($text) };

    for my $s (grep { ref $json->{$_} eq 'HASH' } keys %{ $json // {} }) {
        push @lines, ($s eq 'decisions' ? qq(apikeys_${s}_total{decision="$_"})
            : "apikeys_${s}_" . s/_milliseconds/_seconds/r) . " $json->{$s}{$_}"
            for keys %{ $json->{$s} };
    }
    push @lines, map { qq(apikeys_master_key_line_keys{line="$_->{line}"})
        . " $_->{keys}" } @{ $json->{master_key_lines} } if $json;
    push @lines, qq(apikeys_build_info{version="$json->{version}"} 1) if $json;

    while (!$json && $text =~ /\G\#[ ]HELP[ ]([a-z][a-z0-9_]*)[ ]\S.*\.\n
        \#[ ]TYPE[ ]\1[ ](counter|gauge)\n
        ((?:\1(?:\{[a-z]+="[a-z0-9_.]+"\})?[ ]\d+(?:\.\d+)?\n)+)/gcx)
    {
        push @lines, split /\n/, $3;
        return "$2 $1" if $seen{$1}++ || ($2 eq 'counter' xor $1 =~ /_total$/);
    }
    return 'no metric: ' . substr $text, pos $text // 0
        if !$json && (pos $text // 0) < length $text;
    return 'twice' if grep { $seen{"$_ "}++ } map { s/ .*//r } @lines;
    return join "\n", sort map { /copy_keys |decisions|line_keys|build_info/ ? $_
        : s/ .*//r } @lines;
}

run_tests();

__DATA__

=== TEST 1: the status has whole numbers in sections
--- keys
owner: ORG_OWNER
member: ORG_MEMBER GROUP_READ_ONLY
reader: ORG_READ_ONLY
--- until: /status "leader_pid":\d
--- requests
GET /status
GET /json
--- json
{"copy":{"age_milliseconds":$n,"complete":1,"invalid":$n,"keys":3,
    "keys_without_line":$n,"keys_without_room":$n,"orgs":1,"projects":1,
    "tombstones":$n},
 "decisions":{"address":$n,"allow":$n,"allow_expired":$n,"bad_credential":$n,
    "error":$n,"expired":$n,"key_disabled":$n,"key_expired":$n,
    "no_access_list":$n,"no_credential":$n,"not_loaded":$n,"replay":$n,
    "role":$n,"secret_expired":$n,"stale_nonce":$n,"unknown_key":$n,
    "wrong_secret":$n},
 "feed":{"behind":$n,"lag_milliseconds":$n},"keys_without_room":[],
 "leader_pid":$n,
 "master_key_lines":[{"keys":3,"line":"~[0-9a-f]+","missing":false}],"pid":$n,
 "pool":{"busy":$n,"connects_total":$n,"errors_total":$n,"failures_total":$n,
    "open":$n,"queries_total":$n,"refused_total":$n,"timeouts_total":$n,
    "waiting":$n},
 "sync":{"changes_total":$n,"errors_total":$n,"leader":$n,"listening":$n,
    "loads_total":$n,"polls_total":$n},
 "usage":{"dropped_total":$n,"failures_total":$n,"flushes_total":$n,"pending":$n},
 "version":"$version",
 "zone":{"free_bytes":$n,"full_total":$n,"low":$n,"repairs_total":$n,
    "reserved_bytes":$n,"retired_bytes":$n,"size_bytes":$n}}
--- response_headers: Content-Type: application/json

=== TEST 2: the two processes of the status are workers
--- requests: GET /status -> 200: pid is a worker leader_pid is a worker
--- response_body_filters eval: \&main::workers_of

=== TEST 3: the status has the size of the zone, of which a part is free
--- requests: GET /status -> 200: large used
--- response_body_filters eval: \&main::zone

=== TEST 4: the status answers HEAD without a body
--- requests
HEAD /status
HEAD /metrics
--- answers: 200:

=== TEST 5: the status refuses POST
--- requests
POST /status
POST /metrics
--- answers: 405 -
--- response_body_like: 405 Not Allowed

=== TEST 6: figures in a location that needs a key are shown with a key only
--- requests
none: GET /guarded -> 401 no_credential
member basic: GET /guarded -> 200 allow
--- response_body_like eval: ['"error" : 401', '^# HELP apikeys_build_info ']

=== TEST 7: the lag is the time since the last poll, and nothing is left to apply
--- until: /status "age_milliseconds":[2-9]\d\d\b.*"lag_milliseconds":\d{1,2}\b
--- requests: GET /status -> 200
--- contains: "behind":0

=== TEST 8: decisions are counted over all workers, each once
--- request eval: ["GET /status", ("GET /in") x 12, "GET /status"]
--- as eval
CORE::join ', ', 'none', ('member basic') x 3, ('reader basic') x 2, ('none') x 4,
    ('$member_public:x basic') x 2, 'zzzzzzzz:x basic', 'none'
--- answers eval
CORE::join "\n", '200 -', ('200 allow') x 3, ('403 role') x 2,
    ('401 no_credential') x 4, ('401 wrong_secret') x 2, '401 unknown_key',
    '200 -: allow=3 no_credential=4 role=2 unknown_key=1 wrong_secret=2'
--- response_body_filters eval: \&main::grown

=== TEST 9: Prometheus has the figures of JSON, in its text format
--- requests
GET /json -> 200: same
GET /metrics -> 200: same
--- response_body_filters eval: \&main::same
--- response_headers eval: ['Content-Type: application/json', 'Content-Type: text/plain; version=0.0.4']

=== TEST 10: Prometheus has the number of keys, and an age in seconds
--- requests: GET /metrics -> 200
--- response_body_like: \napikeys_copy_age_seconds [0-5]?\d\.\d{3}\n(.*\n)*apikeys_copy_keys 3\n

=== TEST 11: the only labels of Prometheus are decision, line of the master key file, version
--- requests: GET /metrics -> 200: decision line version
--- response_body_filters eval: \&main::labels

=== TEST 12: Prometheus text has its lines
--- requests: GET /metrics -> 200: 0
--- response_body_filters eval: \&main::more_lines

=== TEST 13: Prometheus text has no more lines with more keys
--- keys
one: ORG_MEMBER
two: ORG_MEMBER
three: ORG_MEMBER
four: ORG_MEMBER
five: ORG_MEMBER
--- requests: GET /metrics -> 200: 0
--- response_body_filters eval: \&main::more_lines

=== TEST 14: Prometheus counts the keys, and names no key and no organization
--- requests: GET /metrics -> 200
--- contains: apikeys_copy_keys 8
--- response_body_unlike: $member_public|$member_id|$org_id

=== TEST 15: health is 200 while the node can decide
--- requests
GET /health
GET /soon
GET /late
--- response_body_like: ^ok\n$
--- response_headers: Content-Type: text/plain

=== TEST 16: health answers HEAD without a body, and refuses POST
--- requests
HEAD /health -> 200 -:
POST /health -> 405 -

=== TEST 17: health is 503 when the copy is older than the location allows
--- sql: $away
--- until: /soon ^503
--- requests
GET /soon -> 503 -: no contact to the database for N ms, apikeys_stale is N ms
HEAD /soon -> 503 -:
--- response_body_filters eval: sub { $_[0] =~ s/\d+(?= ms)/N/gr =~ s/\n//r }

=== TEST 18: health is 200 with expired=allow, and with a longer apikeys_stale
--- requests
GET /late
GET /health
--- response_body_like: ^ok\n$

=== TEST 19: the status is 200 whatever the age of the copy
--- requests: GET /status -> 200 -
--- contains: "copy":{"complete":1,"age_milliseconds":

=== TEST 20: health is 503 on a node that starts without the database
--- http_config: apikeys_zone zone=new:8m; apikeys_sync poll=100ms;
--- until: /status "complete":0
--- requests
GET /health
GET /late
--- answers: 503 -: keys are not loaded
--- response_body_filters eval: sub { $_[0] =~ s/\n//r }

=== TEST 21: health is 200 once the node has loaded
--- http_config: apikeys_zone zone=new:8m; apikeys_sync poll=100ms;
--- sql: $back
--- until: /soon ^200
--- requests: GET /health
--- response_body_like: ^ok\n$
