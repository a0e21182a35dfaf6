# What docs/ gives to monitoring: promtool accepts the metrics, the alerts and
# the dashboard's expressions; alerts fire when they should; nothing names a
# metric that nginx does not have, and the table has all that it has.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Access ();
use Cwd qw( abs_path );
use JSON::PP ();
use Test::More;

my $root = abs_path("$FindBin::Bin/..");
my ($promtool) = grep { -x } map { "$_/promtool" } split(/:/, $ENV{PATH}),
    "$root/build";

if (!$promtool) {
    system("$root/util/promtool") == 0
        or BAIL_OUT('cannot get promtool: see build/promtool.log');
    $promtool = "$root/build/promtool";
}

my $t = ApiKeys::Access->new(zone => '8m');
$t->serve('location = /metrics { apikeys_status prometheus; }');
$t->org;
$t->settle;

my $alerts = slurp('docs/alerts.yml');
my $tests = slurp('docs/alerts_test.yml');
my $manual = slurp('docs/monitoring.md');
my $dashboard = JSON::PP->new->decode(slurp('docs/dashboard.json'));


# the real output: name => type

my $client = $t->fixture->client;
my $output = $client->plain('GET', '/metrics')->body;
my %type = $output =~ /^# TYPE (\S+) (\S+)$/mg;
$client->close;
cmp_ok(keys %type, '>', 30, 'metrics of a node');

is(promtool($output, 'check metrics <'), '0 ', 'promtool check metrics');
isnt(promtool($output =~ s/_lag_seconds/_lag_milliseconds/gr,
    'check metrics <'), '0 ', 'promtool rejects a metric named _milliseconds');


# the table

my %row = $manual =~ /^\| `(apikeys_\w+)` \| (\w+) \| \S/mg;
is_deeply(\%row, \%type, 'the table has all metrics, with their types');

my @rows = $manual =~ /^\| `(apikeys_\w+)` \|/mg;
is(@rows, keys %row, 'each row is one metric, once');
my %sample = map { $_ => 1 } $output =~ /^(\w+)(?:\{.*\})? \S+$/mg;
is_deeply([ grep { !$row{$_} } sort keys %sample ], [],
    'and each line of the output has its row');
is_deeply([ grep { !$sample{$_} } sort keys %row ], [],
    'and each row has a line in the output');


# alerts

like(promtool($alerts, 'check rules'), qr/^0 /, 'promtool check rules');
like(test_rules($alerts), qr/^0 /, 'promtool test rules');
for (split /\n/, <<'END') {
apikeys_copy_age_seconds > 300|apikeys_copy_age_seconds > 400
apikeys_sync_leader == 0|apikeys_sync_leader == 1
increase(apikeys_zone_full_total[10m]) > 0|increase(apikeys_zone_full_total[10m]) > 5
END
    my ($from, $to) = split /\|/;
    my $changed = $alerts =~ s/\Q$from\E/$to/r;
    isnt($changed, $alerts, "the rule $from");
    unlike(test_rules($changed), qr/^0 /, 'has a test that can tell');
}

my @alerts = split /^\s+- alert: /m, $alerts;
shift @alerts;
for (@alerts) {
    my ($name) = /^(\w+)/;
    my ($severity) = /^ +severity: (\w+)$/m;
    my ($link) = /^ +runbook_url: docs\/operations\.md#(\S+)$/m;

    like($severity // '', qr/^(?:critical|warning)$/, "$name: severity");
    ok(/^ +summary: \S/m && /^ +description: \S/m, "$name: what to do");
    like($link // '', qr/^(?:database-unreachable|zone-full|master-key|
        node-lost|worker-suspended|overload)$/x, "$name: where that is described");
    like($tests, qr/ALERTS\{alertname="$name"/, "$name: a test");
}

is_deeply(unknown($alerts), [], 'alerts name metrics that there are');
is_deeply(unknown($tests), [],
    'tests of the alerts name metrics that there are');


# the dashboard

my @panels = @{ $dashboard->{panels} };
is_deeply([ map { $_->{title} } grep { $_->{type} eq 'row' } @panels ],
    [ 'Decisions', 'Local copy', 'Zone', 'Database',
      'Usage counters of access lists' ], 'rows of the dashboard');
my %id = map { $_->{id} => 1 } @panels;
is(keys %id, @panels, 'each panel has an id');
my %variable = map { $_->{name} => $_ } @{ $dashboard->{templating}{list} };
is_deeply({ map { $_ => $variable{$_}{type} } keys %variable },
    { datasource => 'datasource', node => 'query' }, 'its variables');
ok($dashboard->{schemaVersion} >= 36, 'the version of its schema');

my @targets = map { @{ $_->{targets} || [] } } @panels;
cmp_ok(@targets, '>', 20, 'its expressions');
is_deeply([ grep { $_->{expr} !~ /instance=~"\$node"/
        || $_->{datasource}{uid} ne '${datasource}' } @targets ], [],
    'are those of the nodes and the source that were chosen');
my $rules = join '', "groups:\n- name: dashboard\n  rules:\n", map {
    my $expr = $_->{expr} =~ s/\$__rate_interval/5m/gr
        =~ s/\$node/.*/gr =~ s/'/''/gr;
    "  - record: panel\n    expr: '$expr'\n" } @targets;
like(promtool($rules, 'check rules'), qr/^0 /,
    'promtool can parse the queries of the dashboard');
unlike(promtool($rules =~ s/\[5m\]\)/[5m]/r, 'check rules'), qr/^0 /,
    'promtool rejects a malformed query');
my $exprs = join "\n", map { $_->{expr} } @targets;
is_deeply(unknown($exprs), [], 'the dashboard names metrics that there are');
is_deeply([ grep { $exprs !~ /\b$_\b/ } sort keys %type ], [],
    'the dashboard names all metrics');

done_testing;


sub slurp {
    my ($file) = @_;

    open my $f, '<', "$root/$file" or die "$file: $!\n";
    local $/;
    return scalar <$f>;
}


# metrics in a text that nginx does not have
sub unknown {
    my ($text) = @_;

    my %named = map { $_ => 1 }
        $text =~ /\b(apikeys_(?:build|copy|feed|zone|sync|pool|usage|decisions|
            master_key_line)_\w+)/gx;
    keys %named or return [ 'nothing is named' ];
    return [ grep { !$type{$_} } sort keys %named ];
}


# its exit code, and what it says
sub promtool {
    my ($text, $command) = @_;

    my $file = $t->nginx->write_file('promtool.txt', $text);
    my $said = qx{$promtool $command $file 2>&1};
    return ($? >> 8) . " $said";
}


# the tests, of these rules
sub test_rules {
    my ($rules) = @_;

    $t->nginx->write_file('alerts.yml', $rules);
    return promtool($tests, 'test rules');
}
