package ApiKeys::Outage;

# What a test asks while something is wrong with the database, and after it:
# decisions, a change through the API, and whether all heals by itself.

use strict;
use warnings;

use MIME::Base64 qw( encode_base64 );
use Test::More;
use Time::HiRes qw( sleep time );

use ApiKeys::Client ();
use ApiKeys::Fixture ();

our $slow = $ENV{APIKEYS_TEST_ASAN} || $ENV{APIKEYS_TEST_VALGRIND} ? 10 : 1;

my $server = <<'END';
        location /key { apikeys_auth basic; empty_gif; }
        location /brief {
            apikeys_auth basic; apikeys_stale 3s; empty_gif;
        }
END


# takes what ApiKeys::Fixture does, and bound => seconds in which a change is
# answered; has an organization, and a key that is let in
sub new {
    my ($class, %opt) = @_;

    my $self = bless { bound => delete $opt{bound} || 2.5 }, $class;
    my $started = $opt{start} // 1;
    $self->{f} = ApiKeys::Fixture->new(server => $server,
        http => 'apikeys_sync poll=200ms; apikeys_wait 0;',
        database => 'connections=2 connect_timeout=1s timeout=2s', %opt);
    $self->prepare if $started;
    return $self;
}


sub prepare {
    my ($self) = @_;

    $self->{org} = $self->{f}->org;
    $self->{key} = $self->{f}->key($self->{org}, 'ORG_READ_ONLY');
}


sub f { return $_[0]{f} }
sub nginx { return $_[0]{f}->nginx }
sub org { return $_[0]{org} }


# a decision: of the key, or of another
sub code {
    my ($self, $path, $key) = @_;

    my $secret = ($key || $self->{key})->{secret};
    my $client = ApiKeys::Client->new(port => $self->nginx->port,
        timeout => 10 * $slow);
    my $res = $client->plain('GET', $path || '/key', undef, headers => {
        Authorization => 'Basic ' . encode_base64($secret, '') });
    $client->close;
    return $res ? $res->code : 0;
}


sub operator {
    my ($self, $method, $path, $body) = @_;

    return $self->{f}->client(token => $self->{f}->token,
        timeout => 10 * $slow)->request($method, $path, $body);
}


# a change: the description of the organization's first key
sub change {
    my ($self, $name, $org) = @_;

    $org ||= $self->{org};
    return $self->operator('PATCH', "$org->{path}/apiKeys/$org->{key}{id}",
        { desc => $name });
}


sub unknown { return $_[1]->body =~ /the outcome is unknown/ }


# how often the audit has that description: as what became of a key
sub made {
    my ($self, $name) = @_;

    return $self->{f}->db->dbh->selectrow_array(
        q{SELECT count(*) FROM apikeys.audit WHERE after ->> 'desc' = ?},
        undef, $name);
}


# a change is refused, in time, with when to try again
sub unavailable {
    my ($self, $name) = @_;

    my $begin = time;
    my $res = $self->change($name);
    is($res->code, 503, "$name: the API answers 503");
    ok($res->header('retry-after'), "$name: and when to try again");
    cmp_ok(time - $begin, '<', $self->{bound} * $slow, "$name: in time");
    return $res;
}


# decisions go on while a change does not
sub outage {
    my ($self, $name) = @_;

    my %codes;
    $codes{ $self->code }++ for 1 .. 20;
    is(join(' ', %codes), '200 20', "$name: decisions go on");
    is($self->code('/key', { secret => 'aaaaaaaa:x' }), 401,
        "$name: unknown is 401");
    return $self->unavailable($name);
}


# until a change is made
sub changes {
    my ($self, $name) = @_;

    return eval { $self->nginx->wait_for(sub {
        $self->change($name)->code == 200 }, 30 * $slow, '') };
}


# a change is made, a key is made and removed, and the local copy is fresh
sub heals {
    my ($self, $name) = @_;

    my $nginx = $self->nginx;
    ok($self->changes("$name is over"), "$name: the API heals");
    my $key = eval { $self->{f}->key($self->{org}, 'ORG_READ_ONLY') }
        or return fail($name);
    $self->{f}->db->psql("DELETE FROM apikeys.keys WHERE id = '$key->{id}'");
    ok(eval { $nginx->wait_for(sub { $self->code('/key', $key) == 401 },
        30 * $slow, '') }, "$name: so does the feed");
    ok(eval { $nginx->wait_for(sub { $self->code('/brief') == 200 },
        30 * $slow, '') }, "$name: and the local copy is fresh");
}


# asks for changes all the time; returns how often a login failed meanwhile
sub pester {
    my ($self, $seconds) = @_;

    my $failures = sub {
        return scalar(() = $self->nginx->error_log
            =~ /cannot connect to database/g) };
    my $before = $failures->();
    my $end = time + $seconds;
    while (time < $end) {
        $self->change('pester');
        sleep 0.01;
    }
    return $failures->() - $before;
}


# sessions that PostgreSQL (with log_connections) has let in so far
sub logins {
    my ($self) = @_;

    my $n = () = $self->{f}->pg->log_text
        =~ /connection authorized: user=apikeys_nginx/g;
    return $n;
}


1;
