# The targets of util/fuzz fit the module: each builds, and does not fail for
# the inputs that it starts from.  util/fuzz looks for further ones.

use strict;
use warnings;

use Cwd qw( abs_path );
use Test::More;

plan skip_all => 'under sanitizers in every run'
    if $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND};

my $root = abs_path(__FILE__) =~ s{/t/[^/]+$}{}r;
chdir $root or die "$root: $!\n";

my $log = qx{util/nginx-asan core 2>&1};
is $?, 0, 'nginx builds with sanitizers' or diag $log;

mkdir 'build/unit';
$log = qx{make -s -j2 -k -f util/unit.mk fuzz 2>&1};
is $?, 0, 'the targets build' or diag $log;

# reports go to standard error here
delete local @ENV{qw( ASAN_OPTIONS UBSAN_OPTIONS )};

for my $source (sort glob 't/fuzz/*.c') {
    my ($name) = $source =~ m{([^/]+)\.c$};
    my @inputs = sort glob "t/fuzz/corpus/$name/*";

    cmp_ok scalar @inputs, '>', 0, "$name: inputs";

    my $said = qx{build/unit/fuzz/$name @inputs 2>&1};
    is $?, 0, "$name: none fails" or diag $said;
}

done_testing;
