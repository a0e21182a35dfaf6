# The files that know no HTTP, each tested alone: t/unit/NAME.c is a program
# under sanitizers that prints TAP.

use strict;
use warnings;

use Cwd qw( abs_path );
use TAP::Parser ();
use Test::More;

plan skip_all => 'under sanitizers in every run'
    if $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND};

my $root = abs_path(__FILE__) =~ s{/t/[^/]+$}{}r;
chdir $root or die "$root: $!\n";

my $log = qx{util/nginx-asan core 2>&1};
is $?, 0, 'nginx builds with sanitizers' or diag $log;

mkdir 'build/unit';
$log = qx{make -s -j2 -k -f util/unit.mk 2>&1};
is $?, 0, 'the unit tests build' or diag $log;

for my $source (sort glob 't/unit/*.c') {
    my ($name) = $source =~ m{([^/]+)\.c$};

    subtest $name => sub { run("build/unit/$name") };
}

done_testing;


sub run {
    my ($program) = @_;

    -x $program or return fail "$program is there";

    # reports go to standard error here: a child may crash on purpose
    delete local @ENV{qw( ASAN_OPTIONS UBSAN_OPTIONS )};

    my $parser = TAP::Parser->new({ exec => [ $program ], merge => 1 });
    my @tail;
    while (my $result = $parser->next) {
        if ($result->is_test) {
            ok $result->is_ok, $result->description =~ s/^- //r;
        }
        push @tail, $result->as_string;
        shift @tail if @tail > 60;
    }

    ok $parser->is_good_plan, 'as many as planned';
    is $parser->wait, 0, 'ends well' or diag join "\n", @tail;
}
