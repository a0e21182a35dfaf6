# Who is on a list: the local copy's matcher against PostgreSQL's own
# `inet <<= cidr` (mapped addresses turned into IPv4 first), a million pairs
# from a fixed seed, and some thousands of them through HTTP.

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Temp qw( tempdir );
use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Access ();
use MIME::Base64 qw( encode_base64 );
use Test::More;

my $SEED = $ENV{APIKEYS_TEST_SEED} || 4711;
my $LISTS = 2000;
my $PAIRS = 505;
my $LARGE = 2;
my $LARGE_ENTRIES = 10_000;

my $root = abs_path("$FindBin::Bin/..");
chdir $root or die "$root: $!\n";

# the same on every machine: Perl's own generator
srand $SEED;
note "seed $SEED";


# 128 bits as eight numbers; IPv4 in the last two

sub text {
    my ($v4, @w) = @_;

    return join '.', map { $_ >> 8, $_ & 255 } @w[6, 7] if $v4;
    return join ':', map { sprintf '%x', $_ } @w;
}

# blocks meet in a few corners of the space
sub draw {
    my ($v4) = @_;

    my @w = map { rand > 0.5 ? 0 : rand > 0.5 ? 0x8000 : int rand 65536 }
        1 .. 8;
    $w[6] = (10, 0, 65535, 0xc0a8, 0x7f00)[ rand 5 ] if $v4 && rand > 0.2;
    @w[0, 1] = ((0x2001, 0xdb8), (0, 0), (65535, 65535))[ map { $_, $_ + 1 }
        2 * int rand 3 ] if !$v4;
    @w[0 .. 4] = (0) x 5 if !$v4 && rand > 0.9;
    return ($v4, @w);
}

# what lies before, in, at the ends of, and after a block
sub near {
    my ($v4, $prefix, @w) = @_;

    my $first = $v4 ? $prefix + 96 : $prefix;
    my $how = int rand 5;

    for my $i ($first >> 4 .. 7) {
        my $host = $i > $first >> 4 ? 65535 : 65535 >> $first % 16;
        $w[$i] &= ~$host;
        $w[$i] |= $how == 1 ? $host : $how == 2 ? $host & rand 65536 : 0;
    }

    # one further, with what is carried or borrowed
    my ($by, $i) = $how == 3 ? (-1, 7)
        : $how == 4 && $prefix ? (1 << (128 - $first) % 16, ($first - 1) >> 4)
        : (0, 0);

    for ( ; $by && $i >= ($v4 ? 6 : 0); $i--) {
        $w[$i] += $by;
        $by = $w[$i] < 0 ? -1 : $w[$i] > 65535 ? 1 : 0;
        $w[$i] &= 65535;
    }
    return ($v4, @w);
}

# blocks as people write them: host bits set, the same twice, one in another
sub list {
    my ($n) = @_;

    my @blocks;
    for (1 .. $n) {
        my $v4 = rand > 0.4 ? 1 : 0;
        my $prefix = rand > 0.3 ? int rand(($v4 ? 32 : 128) + 1)
            : $v4 ? (0, 8, 24, 31, 32)[ rand 5 ]
            : (0, 32, 64, 90, 128)[ rand 5 ];
        my (undef, @w) = draw($v4);

        if (@blocks && rand > 0.6) {
            my $other = $blocks[ rand @blocks ];
            ($v4, my $p, @w) = @$other;
            (undef, @w) = near(@$other) if rand > 0.3;
            $prefix = rand > 0.5 ? $p : $p + int rand(($v4 ? 33 : 129) - $p);
        }

        # what the database itself refuses: a block of mapped addresses
        next if !$v4 && $prefix >= 96 && "@w[0 .. 5]" eq '0 0 0 0 0 65535';
        push @blocks, [ $v4, $prefix, @w ];
    }
    return @blocks;
}

sub large {
    my @blocks;
    for my $i (1 .. $LARGE_ENTRIES) {
        my $n = int rand 2 ** 24;
        push @blocks, rand > 0.3
            ? [ 1, 20 + int rand 13, 0, 0, 0, 0, 0, 0, 0x0a00 + ($n >> 16),
                $n & 65535 ]
            : [ 0, 40 + int rand 89, 0x2001, 0xdb8, $n & 15, $n >> 8, 0, 0, 0,
                $n & 255 ];
    }
    return @blocks;
}

sub address {
    my (@blocks) = @_;

    my ($v4, @w) = @blocks && rand > 0.3 ? near(@{ $blocks[ rand @blocks ] })
        : draw(rand > 0.4 ? 1 : 0);
    my $text = text($v4, @w);

    # the other two ways to say it
    if ($v4 && rand > 0.6) {
        return rand > 0.5 ? "::ffff:$text"
            : sprintf '::ffff:%x:%x', @w[6, 7];
    }
    return $text;
}


# the data

my $dir = tempdir('ak-match-XXXXXX', DIR => '/tmp', CLEANUP => 1);
chmod 0755, $dir;

open my $raw, '>', "$dir/raw" or die $!;
open my $probes, '>', "$dir/addresses" or die $!;
my ($pairs, %sample) = (0);

for my $list (1 .. $LISTS + $LARGE) {
    my @blocks = $list > $LISTS ? large() : list(int rand 20);

    print $raw map { my ($v4, $prefix, @w) = @$_;
        "$list\t" . text($v4, @w) . "/$prefix\n" } @blocks;

    for (1 .. $PAIRS) {
        my $address = address(@blocks);
        print $probes "$list\t$address\n";
        push @{ $sample{$list} }, $address;
        $pairs++;
    }
    delete $sample{$list} if $list % 100 && $list <= $LISTS;
}
close $raw;
close $probes;
cmp_ok($pairs, '>=', 1_000_000, "$pairs pairs");


# the lists as the database keeps and sends them

my $t = ApiKeys::Access->new(zone => '16m');
my $db = $t->db;

sub psql {
    my (@args) = @_;

    return $db->_psql(map { ('-c', $_) } @args);
}

psql('CREATE TABLE raw (list int, block text)',
    "\\copy raw FROM $dir/raw",
    'CREATE TABLE lists AS SELECT list,
            network(block::inet)::cidr AS cidr FROM raw GROUP BY 1, 2',
    'INSERT INTO lists SELECT n, NULL FROM generate_series(1, '
        . ($LISTS + $LARGE) . ') n WHERE NOT EXISTS
            (SELECT FROM raw WHERE list = n)',
    'CREATE INDEX ON lists (list)', 'ANALYZE lists',
    "\\copy (SELECT list, coalesce(string_agg(text(cidr), ',' ORDER BY cidr),
        '') FROM lists GROUP BY list ORDER BY list) TO $dir/lists"
        =~ s/\n\s*/ /r);
is(psql("SELECT min(n) >= 9500 FROM (SELECT count(*) AS n FROM lists
    WHERE list > $LISTS GROUP BY list) AS x"), 't', 'large lists are large');


# what the local copy decides

my $log = qx{util/nginx-asan core 2>&1};
is($?, 0, 'nginx builds with sanitizers') or diag $log;
mkdir 'build/unit';
$log = qx{make -s -f util/unit.mk build/unit/match_diff 2>&1};
is($?, 0, 'the program builds') or diag $log;

is(system("build/unit/match_diff $dir/lists $dir/addresses > $dir/decided"),
    0, 'the local copy has decided');


# and what PostgreSQL says to it, in one statement

psql('CREATE TABLE raw_decided (list int, address inet, entry cidr)',
    "\\copy raw_decided FROM $dir/decided",
    q{CREATE TABLE decided AS
        SELECT row_number() OVER () AS n, *,
               CASE WHEN address <<= '::ffff:0:0/96'
                    THEN '0.0.0.0'::inet + (address - '::ffff:0:0'::inet)
                    ELSE address END AS client
          FROM raw_decided},
    'ANALYZE decided');

my $verdict = <<'END';
    WITH theirs AS (
        SELECT d.n, max(masklen(l.cidr)) AS longest,
               bool_or(l.cidr = d.entry) AS found
          FROM decided d JOIN lists l
            ON l.list = d.list AND d.client <<= l.cidr
         GROUP BY d.n),
    both_ AS (
        SELECT d.*, t.n IS NOT NULL AS listed,
               CASE WHEN t.n IS NULL THEN d.entry IS NOT NULL
                    ELSE NOT coalesce(t.found AND t.longest
                                      = masklen(d.entry), false)
               END AS wrong
          FROM decided d LEFT JOIN theirs t USING (n))
    SELECT count(*),
           count(*) FILTER (WHERE listed),
           count(*) FILTER (WHERE family(address) <> family(client)),
           count(*) FILTER (WHERE wrong),
           min(list || ' ' || address || ' ' || coalesce(text(entry), 'none'))
               FILTER (WHERE wrong)
      FROM both_
END
my ($all, $in, $mapped, $wrong, $example) = split /\|/, psql($verdict);

is($all, $pairs, 'all pairs are judged');
is($wrong, 0, "$all pairs, $in of them on their list, $mapped mapped: "
    . 'the same decisions, and the same entries')
    or diag "for one: $example";
cmp_ok($in, '>', $pairs / 4, 'enough are on their list');
cmp_ok($pairs - $in, '>', $pairs / 4, 'enough are not');
cmp_ok($mapped, '>', $pairs / 20, 'enough are mapped');


# through HTTP, with realip

$t->serve(<<'END', http => 'keepalive_requests 100000;');
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Forwarded-For;
    access_log off;
    location / {
        apikeys_auth basic;
        add_header X-Entry $apikeys_access_entry always;
        empty_gif;
    }
END

my $org = $t->org;
my %key = map { $_ => $t->key($org, 'ORG_MEMBER') } sort keys %sample;
$db->psql(join "\n", map {
    "INSERT INTO apikeys.access_list (key_id, cidr)
     SELECT '$key{$_}{id}', cidr FROM lists
      WHERE list = $_ AND cidr IS NOT NULL
        AND cidr NOT IN ('0.0.0.0/0', '::/0', '0.0.0.0/32', '::/128');"
} sort keys %key);
$t->settle;

my ($asked, @different) = (0);
my $client = $t->fixture->client;
my $ask = $db->dbh->prepare(<<'END');
    SELECT text(cidr) FROM (SELECT CASE WHEN $2::inet <<= '::ffff:0:0/96'
               THEN '0.0.0.0'::inet + ($2::inet - '::ffff:0:0'::inet)
               ELSE $2::inet END AS client) AS c, apikeys.access_list
     WHERE key_id = $1 AND client <<= cidr
     ORDER BY masklen(cidr) DESC LIMIT 1
END

for my $list (sort keys %sample) {
    my $key = $key{$list};
    my ($n) = $db->dbh->selectrow_array('SELECT count(*) FROM
        apikeys.access_list WHERE key_id = ?', undef, $key->{id});

    for my $address (@{ $sample{$list} }[ 0 .. 159 ]) {
        # nginx's own parser does not take it
        next if $address =~ /255\.255\.255\.255|ffff:ffff:ffff$/;

        my ($entry) = $db->dbh->selectrow_array($ask, undef, $key->{id},
            $address);
        my $res = $client->plain('GET', '/', undef, headers => {
            Authorization => 'Basic ' . encode_base64($key->{secret}, ''),
            'X-Forwarded-For' => $address });
        my $want = !$n ? '200 none' : defined $entry ? "200 $entry"
            : '403 none';

        # "::1.2.3.4" is how PostgreSQL writes "::102:304"
        my $got = $res->code . ' ' . ($res->header('x-entry') // 'none');
        ($got, $want) = map { s{^(\d+ )(.*:.*)$}{$1 . _canonical($2)}er }
            $got, $want;
        push @different, "$list $address: $got, not $want" if $got ne $want;
        $asked++;
    }
}
is("@different[0 .. ($#different > 9 ? 9 : $#different)]", '',
    "$asked requests are decided likewise");
cmp_ok($asked, '>=', 3000, 'some thousands');

done_testing;


sub _canonical {
    my ($block) = @_;

    return ($db->dbh->selectrow_array('SELECT host(?::cidr) || ?', undef,
        $block, $block =~ s{.*/}{/}r))[0];
}
