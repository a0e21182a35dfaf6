# Every rule of util/check can fail: a small tree that breaks it is found
# out, at the line that breaks it, and one that does not is not.

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Temp qw( tempdir );
use Test::More;

plan skip_all => 'it runs no nginx'
    if $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND};

my $root = abs_path(__FILE__) =~ s{/t/[^/]+$}{}r;

# a file that no rule minds; the lines below count from its end
my $good = <<'END';

/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_config.h>
#include <ngx_core.h>


ngx_int_t ngx_apikeys_cidr_sample(ngx_pool_t *pool);


ngx_int_t
ngx_apikeys_cidr_sample(ngx_pool_t *pool)
{
    u_char  *p;

    p = ngx_pnalloc(pool, 10);
    if (p == NULL) {
        return NGX_ERROR;
    }

    return NGX_OK;
}
END

my $line = ($good =~ tr/\n//);


for my $rule (qw( style allocations layers calls gcc clang analyzer )) {
    is check($rule, $good)->{code}, 0, "$rule: nothing is found where nothing is"
        or diag check($rule, $good)->{text};
}

finds('style', $good . ('/* ' . 'x' x 76 . " */\n"), 1, 'wider than 80');
finds('style', $good . "\n\n\tint  i;\n", 3, 'a tab');
finds('style', $good . "\n\nint  i; \n", 3, 'trailing blanks');
finds('style', $good . "\n\nint  i;  // no\n", 3, 'a // comment');
finds('style', $good . "\n\n/* \xe2\x80\x94 */\n", 3, 'an em-dash');
finds('style', $good . "\n\n/* TO" . "DO */\n", 3, 'a note instead');
finds('style', $good . "\nint  i;\n", 2, 'not two blank lines');
finds('style', $good . "\n\n\nint  i;\n", 4, 'more than two blank');
finds('style', $good =~ s/\n(    if \(p)/\n\n\n$1/r, 0, 'inside of braces');
finds('style', $good =~ s/if \(/if(/r, 0, 'no blank after a keyword');
finds('style', $good =~ s/\A\n//r, 0, 'does not begin with an empty line');
finds('style', $good =~ s/\n\z//r, 0, 'does not end in one line feed');

finds('allocations', $good =~ s/    if \(p == NULL\) \{.*?\n    \}\n//sr, 0,
    'p is not checked');
finds('allocations', $good =~ s/(    if \(p)/    p[0] = 'x';\n$1/r, 0,
    'p is not checked');

finds('layers', include('ngx_http.h'), 0, 'below HTTP');
finds('layers', include('ngx_apikeys_store.h'), 0, 'not below');
finds('layers', include('ngx_http_apikeys.h'), 0, 'not below');
finds('layers', $good, 0, 'in no layer', 'ngx_apikeys_util.c');

for my $call ('PQexec(c, "")', 'PQconnectdb("")', 'PQcancel(c, NULL, 0)',
    'PQfinish(c)', 'malloc(1)', 'strlen("")', 'ngx_strlen(s->data)',
    'getaddrinfo(0, 0, 0, 0)', 'sprintf(p, "")', 'sleep(1)',
    'json_dumps(j, 0)', 'json_set_alloc_funcs(0, 0)')
{
    my ($name) = $call =~ /^(\w+)/;
    finds('calls', $good =~ s/(    return NGX_OK)/    $call;\n$1/r, 0, $name);
}
finds('calls', include('libpq-fe.h'), 0, 'libpq belongs');
finds('calls', include('jansson.h'), 0, 'jansson belongs');
is check('calls', include('libpq-fe.h'), 'ngx_apikeys_pg_conn.c')->{code}, 0,
    'calls: libpq is seen where it belongs';
is check('calls', $good =~ s/(    return NGX_OK)/    \/\* malloc(1) \*\/\n$1/r)
    ->{code}, 0, 'calls: a comment may name what code may not call';

for my $compiler (qw( gcc clang )) {
    finds($compiler, $good =~ s/(u_char  \*p)/$1, *q/r, 0, 'unused variable');
}
finds('analyzer', $good =~ s/return NGX_ERROR/p[0] = 0/r, 0,
    'null pointer');

# what is not in a source file
{
    my $res = check('config', $good, undef,
        config => "\$ngx_addon_dir/src/ngx_apikeys_gone.c\n");
    is $res->{code}, 1, 'config: a file that does not exist, and one unlisted';
    like $res->{text}, qr/gone\.c does not exist/, 'config: the first';
    like $res->{text}, qr/sample\.c is missing/, 'config: the second';
}
for my $text ("see /wo" . "rk/x\n", "deb ht" . "tp://mirror.example/debian x\n") {
    is check('paths', $good, undef, 'notes.md' => $text)->{code}, 1,
        "paths: $text";
}
is check('paths', $good, undef, 'notes.md' => "a clone under `/root`\n")
    ->{code}, 0, 'paths: a sentence may name a directory';

symbols();
commits();

done_testing;


sub include {
    my ($name) = @_;

    return $good =~ s/(#include <ngx_core\.h>\n)/$1#include <$name>\n/r;
}


sub tree {
    my ($source, $name, %files) = @_;

    my $dir = tempdir('ak-check-XXXXXX', DIR => '/tmp', CLEANUP => 1);
    mkdir "$dir/src";
    mkdir "$dir/build";

    $files{ 'src/' . ($name // 'ngx_apikeys_cidr_sample.c') } = $source;
    for my $file (sort keys %files) {
        open my $f, '>', "$dir/$file" or die "$file: $!\n";
        print $f $files{$file};
        close $f;
    }
    return $dir;
}


sub check {
    my ($rule, @tree) = @_;

    my $dir = tree(@tree);
    my $text = qx{$root/util/check -C $dir $rule 2>&1};
    return { code => $? >> 8, text => $text };
}


sub finds {
    my ($rule, $source, $offset, $what, $name) = @_;

    my $res = check($rule, $source, $name);
    is $res->{code}, 1, "$rule: fails for: $what";
    my $where = $offset ? ':' . ($line + $offset) . ': ' : '';
    like $res->{text}, qr/$where.*\Q$what\E/, "$rule: says: $what";
}


sub symbols {
    my $dir = tree($good);
    my $module = "$dir/build/ngx_http_apikeys_module.so";

    for my $case (
        [ 'int ngx_apikeys_x(void) { return 0; }', 0, 'a name with the prefix' ],
        [ 'int x(void) { return 0; }', 1, 'a name without it' ],
        [ 'int ngx_apikeys_y(void); int ngx_apikeys_x(void) '
            . '{ return ngx_apikeys_y(); }', 1, 'a name that nobody defines' ])
    {
        my ($source, $code, $title) = @$case;

        open my $f, '|-', "gcc -shared -fPIC -x c -o $module -" or die;
        print $f "$source\n";
        close $f;
        my $text = qx{$root/util/check -C $dir symbols 2>&1};
        is $? >> 8, $code, "symbols: $title" or diag $text;
    }
}


sub commits {
    my $dir = tree($good);
    my $git = "git -C $dir -c user.name=x -c user.email=x\@example.org";

    system "$git init -q && git -C $dir add .";
    for my $case (
        [ 'area: a sentence in lower case', 0 ],
        [ 'No area', 1 ],
        [ 'area: Upper case', 1 ],
        [ 'area: a full stop.', 1 ],
        [ 'area: ' . 'x' x 70, 1 ])
    {
        my ($subject, $code) = @$case;

        system "rm -rf $dir/.git && git init -q $dir";
        system "$git commit -q --allow-empty -m '$subject'";
        my $text = qx{$root/util/check -C $dir commits 2>&1};
        is $? >> 8, $code, "commits: $subject" or diag $text;
    }
}
