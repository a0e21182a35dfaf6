# The tarball of a release has all that is needed to build the module and the
# packages: they are built from it in a network namespace without a network, in
# a directory without git.

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Temp qw( tempdir );
use Test::More;

plan skip_all => 'this test runs no nginx'
    if $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND};

my $root = abs_path(__FILE__) =~ s{/t/[^/]+$}{}r;
chdir $root or die "$root: $!\n";

plan skip_all => 'this is not a clone' if !-e '.git';
plan skip_all => 'no network namespace can be made'
    if system('unshare --net true 2>/dev/null') != 0;

chomp(my $version = qx{util/version});
like($version, qr/^\d+\.\d+\.\d+$/, 'the source has a version');

my $name = "ngx_http_apikeys_module-$version";
my $tarball = "build/dist/$name.tar.gz";

is((run('make dist'))[0], 0, 'make dist succeeds');
my $first = qx{sha256sum $tarball};
unlink $tarball;
like((run('make dist'))[1], qr/^\Q$first\E/m,
    'a second make dist writes the same bytes, and prints their checksum');

my $dir = tempdir('ak-dist-XXXXXX', DIR => '/tmp', CLEANUP => 1);
is((run("tar -xf $tarball -C $dir"))[0], 0, 'the tarball can be read');
is_deeply([ map { s{.*/}{}r } glob "$dir/*" ], [$name],
    'it has one directory, with the version in its name');

unlike((run("cd $dir/$name && unshare --net cat /proc/net/dev"))[1],
    qr/^\s*(?!lo:)\w+:/m, 'the namespace has no network');

for my $target (qw( all man deb )) {
    my ($code, $text) = run("cd $dir/$name && unshare --net make $target");
    is($code, 0, "make $target succeeds without a network") or diag $text;
}

ok(-s "$dir/$name/build/ngx_http_apikeys_module.so", 'the module is built');
for my $package ('libnginx-mod-http-apikeys', 'nginx-apikeys') {
    my ($deb) = glob "$dir/$name/build/deb/${package}_*.deb";
    is(qx{dpkg-deb -f $deb Version}, "$version\n",
        "$package has the version") if ok($deb, "$package is built");
}

done_testing;


# commands of a shell: exit code, and what they said
sub run {
    my ($commands) = @_;

    my $text = qx{( $commands ) 2>&1};
    return ($? >> 8, $text);
}
