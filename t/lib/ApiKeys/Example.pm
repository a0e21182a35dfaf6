package ApiKeys::Example;

# The configurations of conf-examples and README.md, with the places of a test.

use strict;
use warnings;

use ApiKeys::Nginx ();

my $root = __FILE__ =~ s{t/lib/ApiKeys/[^/]+$}{}r;


# a file, without its ending; or the first configuration of README.md
sub text {
    my ($name) = @_;

    my $file = $name eq 'README' ? 'README.md' : "conf-examples/$name.conf";
    open my $f, '<', "$root$file" or die "$file: $!\n";
    my $text = do { local $/; <$f> };
    return $text if $name ne 'README';
    return $text =~ /```nginx\n(load_module.*?)```/s ? $1 : die "no README\n";
}


# An nginx with such a text, over the database of a fixture, not started; it has
# certificates if it needs them.
sub nginx {
    my ($f, $name) = @_;

    my $nginx = ApiKeys::Nginx->new(conf => '#');
    my $dir = $nginx->dir;
    my $info = $f->db->conninfo(user => 'apikeys_nginx');
    my $load = join '', map { "load_module $_;\n" } @{ $nginx->{load} };
    my $user = $> == 0 ? "user www-data;\n" : '';
    my $temp = join '', map { "${_}_temp_path $dir/tmp/$_;\n" }
        qw( client_body proxy fastcgi uwsgi scgi );
    my $text = text($name);

    $text =~ s{"host=[^"]*dbname=apikeys[^"]*"}{"$info"} or die;
    $text =~ s{^load_module [^\n]*\n}{}m or die;
    $text =~ s{^user [^\n]*\n}{}m;
    $text =~ s{/etc/nginx/apikeys/|/var/log/nginx/|/var/lib/nginx/}{$dir/}g;
    $text =~ s{/var/www/html}{$dir/html}g;
    $text =~ s{/etc/nginx/(?=server\.)}{$dir/}g;
    $text =~ s{listen (?:127\.0\.0\.1:)?\d+}{listen 127.0.0.1:%%PORT%%}g;

    # the directories of the package are not for us
    $text =~ s{(?<=\nhttp \{\n)}{access_log $dir/access.log;\n$temp};

    $nginx->write_file('master.key', "$f->{master_key}\n", 0600);
    $nginx->write_file('operator.token', $f->token . "\n", 0600);
    $nginx->write_file('password', "secret\n", 0600);
    $nginx->write_file('html/index.html', "hello\n");
    chown +(getpwnam 'www-data')[ 2, 3 ], $dir if $> == 0;
    qx{openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \\
        -keyout $dir/server.key -out $dir/server.crt 2>&1}
        if $text =~ /ssl_cert/;

    return $nginx->configure(conf => "${load}daemon off;\npid $dir/nginx.pid;\n"
        . "$user error_log $dir/error.log info;\n$text");
}


# what a block of Test::Nginx has of it, without the key material and the
# database: http_config and config.  Its logs are access.log, and its backend
# is $TEST_NGINX_BACKEND.
sub sections {
    my ($name) = @_;

    my ($http) = text($name) =~ /^http \{\n(.*)^\}/ms;
    my $server = $http =~ s/^    server \{\n(.*?)^    \}\n//ms ? $1 : die;

    $http =~ s{^\s*apikeys_(?:database|zone|\w+_file)\s[^;]*;}{}mg;
    $server =~ s{^\s*(?:listen|server_name|ssl_\w+)\s[^;]*;}{}mg;
    s{/var/log/nginx/\w+\.log}{logs/access.log}g, s{/var/www/html}{html}g,
        s{127\.0\.0\.1:8081}{\$TEST_NGINX_BACKEND}g for $http, $server;
    return ($http, $server);
}


1;
