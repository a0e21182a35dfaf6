package Test::Nginx::ApiKeys;

# Test::Nginx for blocks of this module:
#
#   use Test::Nginx::ApiKeys 'no_plan';
#   run_tests();
#   __DATA__
#   === TEST 1: a request without a credential is challenged
#   --- request
#   GET /api/atlas/v1.0/
#   --- error_code: 401
#
# A block gets a database with the schema and key material in its
# http_config, and, where it has no config, the three bases of the API.
# "--- bare_config" (no value) leaves both alone.  Unless it says otherwise
# (error_log, no_error_log or must_die), nothing of [error], [alert], [crit]
# and [emerg] may be logged; "--- may_log" holds a pattern of severities that
# it does not mind, such as error.
#
# $TEST_NGINX_DATABASE, $TEST_NGINX_MASTER_KEY_FILE and
# $TEST_NGINX_OPERATOR_TOKEN_FILE are replaced; $TEST_NGINX_OPERATOR_TOKEN in
# more_headers, too.

use strict;
use warnings;

my ($dir, $fixture);

BEGIN {
    require ApiKeys::Fixture;
    require File::Temp;

    # nginx that dies of its configuration does not free it
    $ENV{ASAN_OPTIONS} = join ',', $ENV{ASAN_OPTIONS} // (), 'detect_leaks=0';

    # a port and a directory of one's own; the directory must be new
    $dir = File::Temp::tempdir('ak-tn-XXXXXX', DIR => '/tmp', CLEANUP => 1);
    $fixture = ApiKeys::Fixture->new(start => 0);

    $ENV{TEST_NGINX_SERVROOT} = "$dir/servroot";
    $ENV{TEST_NGINX_PORT} = $fixture->nginx->port;
    $ENV{TEST_NGINX_DATABASE} = $fixture->db->conninfo(
        user => 'apikeys_nginx');
    $ENV{TEST_NGINX_MASTER_KEY_FILE} = $fixture->nginx->dir . '/master.key';
    $ENV{TEST_NGINX_OPERATOR_TOKEN_FILE}
        = $fixture->nginx->dir . '/operator.token';
    $ENV{TEST_NGINX_OPERATOR_TOKEN} = $fixture->token;
}

use Test::Nginx::Socket -Base;

our @EXPORT = qw( fixture );

no_long_string();
no_root_location();
no_shuffle();


# the ApiKeys::Fixture below: its database, token and master key.  Its own
# nginx does not run.
sub fixture() {
    return $fixture;
}


add_block_preprocessor(sub {
    my ($block) = @_;

    if (!defined $block->bare_config) {
        $block->set_value('http_config',
            _http_config() . ($block->http_config // ''));
        $block->set_value('config', $fixture->server_conf)
            if !defined $block->config;
    }

    for my $name (qw( more_headers raw_request )) {
        my $value = $block->$name // next;
        next if ref $value;
        $value =~ s/\$TEST_NGINX_OPERATOR_TOKEN\b/$ENV{TEST_NGINX_OPERATOR_TOKEN}/g;
        $block->set_value($name, $value);
    }

    return if defined $block->must_die || defined $block->no_error_log;

    my $may = $block->may_log // '';
    my @none = grep { !length $may || $_ !~ /$may/ }
        qw( alert crit emerg ), defined $block->error_log ? () : 'error';
    $block->set_value('no_error_log', join "\n", map { "[$_]" } @none)
        if @none;
});


sub _http_config() {
    return <<'END';
    apikeys_database "$TEST_NGINX_DATABASE";
    apikeys_zone zone=apikeys:8m;
    apikeys_master_key_file $TEST_NGINX_MASTER_KEY_FILE;
    apikeys_operator_token_file $TEST_NGINX_OPERATOR_TOKEN_FILE;
END
}


1;
