# Every rule of util/check can fail: a small tree that breaks it is found
# out, at the line that breaks it, and one that does not is not.

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Temp qw( tempdir );
use Test::More;

plan skip_all => 'this test runs no nginx'
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


for my $rule (qw( style allocations layers calls messages references
    names tables gcc clang analyzer ))
{
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
finds('layers', include('ngx_apikeys_none.h'), 0, 'does not exist');
finds('layers', $good, 0, 'only the root', 'ngx_apikeys_util.c');
for my $case ([ 'core', 'pg' ], [ 'pg', 'sync' ], [ 'sync', 'http' ],
    [ 'http', 'core' ])
{
    my ($from, $to) = @$case;
    my $res = check('layers', include('ngx_apikeys_x.h'),
        "$from/ngx_apikeys_y.c", "src/$to/ngx_apikeys_x.h" => "\n");
    my $below = $to eq 'core';
    is $res->{code}, $below ? 0 : 1, "layers: $from includes a file of $to";
    like $res->{text}, qr/x\.h of src\/$to is not below src\/$from/,
        'layers: the include is named' if !$below;
}

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
is check('calls', include('libpq-fe.h'), 'pg/ngx_apikeys_pg_conn.c')->{code}, 0,
    'calls: libpq is seen where it belongs';
is check('calls', $good =~ s/(    return NGX_OK)/    \/\* malloc(1) \*\/\n$1/r)
    ->{code}, 0, 'calls: a comment may name what code may not call';

# a log message, and what is found in it
for my $case (
    [ '0, "apikeys: %d keys", 1', '' ],
    [ "0,\n    \"apikeys: \" ngx_open_file_n \" failed\"", '' ],
    [ '0, "apikeys: a limit, and an item"', '' ],
    [ 'ngx_errno, "%d keys", 1', 'does not begin with' ],
    [ '0, ngx_open_file_n " failed"', 'does not begin with' ],
    [ '0, format', 'does not begin with' ],
    [ "0,\n    \"apikeys: key is gone, \"\n    \"it was deleted\"",
        '"it": say' ],
    [ '0, "apikeys: the key and Its list"', '"Its": say' ])
{
    my ($args, $what) = @$case;
    my $source = $good
        =~ s/(    return NGX_OK)/    ngx_log_error(NGX_LOG_ERR, log, $args);\n$1/r;

    if ($what ne '') {
        finds('messages', $source, 0, $what);
        next;
    }
    is check('messages', $source)->{code}, 0, "messages: allows $args";
}
for my $case ([ 'pg', 1 ], [ 'sync', 1 ], [ 'store', 1 ], [ 'http', 0 ]) {
    my ($folder, $code) = @$case;
    my $source = $good
        =~ s/(    return NGX_OK)/    p = "it is broken"; \/\* it *\/\n$1/r;
    my $res = check('messages', $source, "$folder/ngx_apikeys_sample.c");
    is $res->{code}, $code, "messages: a reason in src/$folder";
    like $res->{text}, qr/"it" in a reason/, 'messages: is found' if $code;
}

for my $compiler (qw( gcc clang )) {
    finds($compiler, $good =~ s/(u_char  \*p)/$1, *q/r, 0, 'unused variable');
}
finds('analyzer', $good =~ s/return NGX_ERROR/p[0] = 0/r, 0,
    'null pointer');

# what is not in a source file
{
    my $res = check('config', $good, undef,
        config => "\$ngx_addon_dir/src/core/ngx_apikeys_gone.c\n");
    is $res->{code}, 1, 'config: a file that does not exist, and one unlisted';
    like $res->{text}, qr/gone\.c does not exist/, 'config: the first';
    like $res->{text}, qr/sample\.c is missing/, 'config: the second';
}
tables();
for my $text ("see /wo" . "rk/x\n", "deb ht" . "tp://mirror.example/debian x\n") {
    is check('paths', $good, undef, 'notes.md' => $text)->{code}, 1,
        "paths: $text";
}
is check('paths', $good, undef, 'notes.md' => "a clone under `/root`\n")
    ->{code}, 0, 'paths: a sentence may name a directory';

references();
names();
manual();
version();
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
    mkdir "$dir/$_" for qw( build debian docs setup src src/core src/http
        src/pg src/store src/sync util );

    $files{ 'src/' . ($name // 'core/ngx_apikeys_cidr_sample.c') } = $source;
    for my $file (sort keys %files) {
        open my $f, '>', "$dir/$file" or die "$file: $!\n";
        print $f $files{$file};
        close $f;
        chmod 0755, "$dir/$file" if $file =~ m{^(?:setup|util)/};
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


# what is cited, in a comment at the end of the source
sub references {
    my $pages = "### D1. What?\n\n### D2. Who?\n\nSee D1.\n";

    my $cites = sub {
        my ($text, $page) = @_;

        return check('references', $good . "\n\n/*\n * $text\n */\n", undef,
            'docs/compatibility.md' => $page // $pages);
    };

    for my $case (
        [ 'docs/gone' . '.md', 'does not exist' ],
        [ '(design' . '.md 6)', 'does not exist' ],
        [ 'atlas-api ' . '3.3', 'of a paper' ],
        [ "(atlas-api\n * " . '3.3)', 'of a paper' ],
        [ 'decision ' . '25', 'of a paper' ],
        [ 'design ' . '7.2', 'of a paper' ],
        [ 'test-tools ' . '3', 'of a paper' ],
        [ "decisions\n * " . '5 and 6', 'of a paper' ],
        [ 'docs/compatibility.md D' . '3', 'has no D3' ],
        [ 'docs/compatibility.md D1, D' . '4', 'has no D4' ],
        [ "docs/compatibility.md D1\n * to D" . '12', 'has no D12' ],
        [ "docs/compatibility.md\n * D" . '3', 'has no D3' ])
    {
        my ($text, $what) = @$case;
        my $res = $cites->($text);
        my $where = $line + 4;

        is $res->{code}, 1, "references: fails for: $text";
        like $res->{text}, qr/sample\.c:$where: .*$what/,
            "references: says: $what";
    }
    is $cites->($_)->{code}, 0, "references: may be cited: $_" for
        'docs/compatibility.md D1', 'docs/compatibility.md D2, D1',
        "docs/compatibility.md\n * D1 to\n * D2", 'compatibility.md',
        'docs/compatibility.md, where 3 are', 'D' . '3', 'atlas-api-client 4',
        'https://example.org/docs/gone' . '.md';

    for my $case (
        [ "$pages\nSee D" . "3.\n", qr/compatibility\.md:7: it has no D3/ ],
        [ "$pages\n### D1. Again?\n", qr/D1 is the number of two/ ],
        [ "No numbers, see D" . "3.\n", undef ])
    {
        my ($page, $what) = @$case;
        my $res = $cites->('none', $page);

        is $res->{code}, $what ? 1 : 0, 'references: within a page'
            or diag $res->{text};
        like $res->{text}, $what, "references: says: $what" if $what;
    }
}


# what a document for developers names
sub names {
    my $sample = $good . "\n\n/* ngx_apikeys_cidr_gone(x->y) */\n"
        . "#define ngx_apikeys_cidr_member(x)  x->member\n";
    my $document = sub {
        my ($text) = @_;

        return check('names', $sample, undef,
            'docs/architecture.md' => "A title\n\n$text\n");
    };

    for my $name (qw( ngx_apikeys_cidr_gone ngx_apikeys_cidr_sample_t
        ngx_apikeys_cidr_gone.c src/core/ngx_apikeys_cidr.c src/gone/
        cidr_gone() x->y ngx_apikeys_gone_* NGX_APIKEYS_GONE some_column ))
    {
        my $res = $document->("It is `$name`.");

        is $res->{code}, 1, "names: fails for: $name";
        like $res->{text}, qr/architecture\.md:3: \Q$name\E does not exist/,
            "names: says: $name";
    }
    like $document->("```\nfirst\n  ngx_apikeys_gone\n```")->{text},
        qr/architecture\.md:5: ngx_apikeys_gone does/, 'names: in a fence';

    for my $name (qw( ngx_apikeys_cidr_sample ngx_apikeys_cidr_sample()
        ngx_apikeys_cidr_sample.c cidr_sample.c src/core/ x->member
        ngx_apikeys_cidr_* ngx_core.h t/NNN-topic.t word ))
    {
        my $res = $document->("It is `$name`.");

        is $res->{code}, 0, "names: may be named: $name" or diag $res->{text};
    }
    is $document->('not in quotes: ngx_apikeys_cidr_gone')->{code}, 0,
        'names: only names in backquotes are looked at';
}


# what README must have, and pages that are made of it
sub manual {
    my $rows = $good . join "\n", '', '', 'static void *  ngx_x[] = {',
        '    { ngx_string("apikeys_old"),', '      1 },',
        '    { ngx_string("apikeys_name"), NULL,', '      1 },',
        '    [NGX_HTTP_APIKEYS_DECISION_OLD] = ngx_string("old")', "};\n";
    my $readme = "### apikeys_old\n\n| `\$apikeys_name` | name |\n"
        . "| 401 | `old` | old |\n\n```\nusage: x\n```\n\n```\nusage: y\n```\n";
    my %pages = (
        'setup/apikeys-setup' => "#!/bin/sh\necho 'usage: x'\n",
        'util/import' => "#!/bin/sh\necho 'usage: y'\n",
        'util/man' => "#!/bin/sh\necho '.TH X 1' > \"\$1/x.1\"\n",
    );

    my $manual = sub {
        return check('manual', $rows, undef, 'README.md' => $readme, %pages,
            @_);
    };

    is $manual->()->{code}, 0, 'manual: README has all'
        or diag $manual->()->{text};

    for my $case (
        [ '### apikeys_old', $line + 4, 'README has no ### apikeys_old' ],
        [ '$apikeys_name', $line + 6, 'README has no | `$apikeys_name` |' ],
        [ '`old`', $line + 8, 'README has no | `old` |' ],
        [ 'usage: x', 0, 'it does not have what setup/apikeys-setup --help' ],
        [ 'usage: y', 0, 'it does not have what util/import --help' ])
    {
        my ($text, $at, $says) = @$case;
        my $res = $manual->('README.md' => $readme =~ s/\Q$text\E/gone/r);

        is $res->{code}, 1, "manual: fails without: $text";
        like $res->{text}, $at ? qr/:$at: \Q$says\E/ : qr/^README\S+ \Q$says\E/m,
            "manual: says: $says";
    }

    my $res = $manual->('util/man' => "#!/bin/sh\necho '.TX' > \"\$1/x.1\"\n");
    is $res->{code}, 1, 'manual: a page with an unknown macro';
    like $res->{text}, qr/^x\.1: .*TX/m, 'manual: says which';
    $res = $manual->('util/man' => "#!/bin/sh\nexit 1\n");
    is $res->{code}, 1, 'manual: a page that is not made';
}


# the version of the source, and those that must be the same
sub version {
    my %files = (
        'util/version' => "#!/bin/sh\necho 1.2.3\n",
        'debian/changelog' => "nginx-apikeys (1.2.3) unstable\n",
        'CHANGES.md' => "# Changes\n\n## 1.2.3\n\n## 1.2.2\n",
    );

    is check('version', $good, undef, %files)->{code}, 0,
        'version: the same everywhere';

    for my $file ('debian/changelog', 'CHANGES.md') {
        my $res = check('version', $good, undef, %files,
            $file => $files{$file} =~ s/1\.2\.3/1.2.4/r);

        is $res->{code}, 1, "version: another one in $file";
        like $res->{text}, qr/^\Q$file\E: .* version 1\.2\.3$/m,
            'version: says which';
    }
}


# a table by an enum
sub tables {
    my $enum = "\n\ntypedef enum {\n    NGX_X_A = 0,    /* NGX_X_B */\n\n"
        . "    NGX_X_B,\n    NGX_X_C,\n    NGX_X_ALL\n} ngx_x_e;\n";
    my $assert = "\n_Static_assert(sizeof(ngx_x) / sizeof(int) == NGX_X_ALL, "
        . "\"\");\n";

    for my $case (
        [ '[NGX_X_A] = 1, [NGX_X_B] = 2, [NGX_X_C] = 3', $assert ],
        [ '[NGX_X_A] = 1, [NGX_X_C] = 3', $assert, 'ngx_x has no row NGX_X_B' ],
        [ '[NGX_X_A] = 1, [NGX_X_B] = 2, [NGX_X_C] = 3', '',
          'ngx_x has no row NGX_X_ALL' ],
        [ '1, 2', '' ])
    {
        my ($rows, $after, $what) = @$case;
        my $res = check('tables',
            "$good$enum\nstatic int  ngx_x[] = {\n    $rows\n};\n$after");

        is $res->{code}, $what ? 1 : 0, "tables: $rows" or diag $res->{text};
        like $res->{text}, qr/$what/, "tables: says: $what" if $what;
    }
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
