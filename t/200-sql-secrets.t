# The functions that change the secrets of a key, and the tables they write.

use strict;
use warnings;

use FindBin ();
use lib "$FindBin::Bin/lib";

use ApiKeys::Pg ();
use ApiKeys::Sql ();
use JSON::PP ();
use Test::More;

my $pg = ApiKeys::Pg->new(own => 1);
my $db = $pg->database(schema => 1);
my $s = ApiKeys::Sql->new($db);
my ($org, $owner) = $s->organization;
my @owner = (caller => $owner, org_roles => ['ORG_OWNER'], org => $org);
my $secret = 'ab' x 112;

# "ID END ..", the newest first
sub secrets {
    my ($key) = @_;

    return join ' ', map { @$_ } @{ $s->dbh->selectall_arrayref(
        q{SELECT CASE id WHEN $1 THEN 'first' ELSE right(id, 2) END,
                 coalesce(apikeys.utc(expires), '-')
            FROM apikeys.secrets WHERE key_id = $1 ORDER BY created DESC},
        undef, $key) };
}

# the seconds until the end of a secret
sub left { return $s->value(q{SELECT round(extract(epoch FROM
    expires - clock_timestamp())) FROM apikeys.secrets WHERE id = ?}, @_) }

sub version { return $s->value('SELECT version FROM apikeys.keys
    WHERE id = ?', @_) }

my $last = 0;

# the events since the last call
sub events {
    my @rows = @{ $s->dbh->selectall_arrayref('SELECT id, type
        FROM apikeys.events WHERE id > ? ORDER BY id', undef, $last) };

    $last = $rows[-1][0] if @rows;
    return join ' ', map { $_->[1] =~ s/^API_KEY_SECRET_//r } @rows;
}

sub add {
    my ($key, $id, $attributes, @by) = @_;

    return $s->call('add_secret', @by ? @by : @owner, org => $org,
        key => $key, secret_id => sprintf('%024x', $id), secret => $secret,
        redacted => sprintf('%012x', $id),
        secret_attributes => JSON::PP::encode_json($attributes || {}));
}

sub set_end {
    my ($key, $id, $end) = @_;

    return $s->run("UPDATE apikeys.keys SET secret_expires =
        date_trunc('second', clock_timestamp()) + '$end'::interval
        WHERE id = ? AND coalesce(secret_id, id) = ?", $key, $id)
        && $s->run("UPDATE apikeys.older_secrets SET expires =
        date_trunc('second', clock_timestamp()) + '$end'::interval
        WHERE key_id = ? AND id = ?", $key, $id);
}


# a second secret

my $key = $s->key($org, 'ORG_MEMBER');
is secrets($key), 'first -', 'a new key has one secret, with its id';
events();
my $version = version($key);
my ($state) = add($key, 0xa1);
is $state->{secret_id}, sprintf('%024x', 0xa1), 'the state has the new secret';
is $state->{older_id}, $key, 'and the older one';
is $state->{redacted}, '0000000000a1', 'and shows the new one';
is secrets($key), 'a1 - first -', 'both have no end';
cmp_ok version($key), '>', $version, 'the key has a new version';
is events(), 'ADDED', 'one event tells it';
is $s->value(q{SELECT after - 'redacted' FROM apikeys.audit
    ORDER BY id DESC LIMIT 1}), qq({"secret": "0000000000000000000000a1"}),
    'the audit names the secret';
is $s->value(q{SELECT count(*) FROM apikeys.audit
    WHERE (before, after)::text ~ 'abababab'}), 0, 'and does not contain it';


# the ends

($state) = $s->call('update_secret', @owner, key => $key, secret_id => $key,
    secret_attributes => '{"expiresAt":"2100-01-01T00:00:00Z"}');
is secrets($key), 'a1 - first 2100-01-01T00:00:00Z',
    'the end of the older secret is set';
is $state->{older_expires}, 4102444800, 'the state has it, in seconds';
is events(), 'CHANGED', 'one event tells it';
$version = version($key);
$s->call('update_secret', @owner, key => $key, secret_id => $key,
    secret_attributes => '{"expiresAt":"2100-01-01T00:00:00Z"}');
is events(), '', 'the same end again is no event';
cmp_ok version($key), '>', $version, 'but a new version';
$s->call('update_secret', @owner, key => $key,
    secret_id => sprintf('%024x', 0xa1),
    secret_attributes => '{"expiresAt":"2099-01-01T00:00:00Z"}');
is secrets($key), 'a1 2099-01-01T00:00:00Z first 2100-01-01T00:00:00Z',
    'the end of the newest secret is set';
$s->call('update_secret', @owner, key => $key,
    secret_id => sprintf('%024x', 0xa1),
    secret_attributes => '{"expiresAt":null}');
is secrets($key), 'a1 - first 2100-01-01T00:00:00Z', 'null ends it';
events();


# deletion

$s->call('delete_secret', @owner, key => $key, secret_id => $key);
is secrets($key), 'a1 -', 'the older secret is deleted';
is events(), 'DELETED', 'one event tells it';
add($key, 0xa2);
($state) = $s->call('delete_secret', @owner, key => $key,
    secret_id => sprintf('%024x', 0xa2));
is secrets($key), 'a1 -', 'the newest secret is deleted';
is $state->{secret_id}, sprintf('%024x', 0xa1), 'the older one is the newest';
is $state->{older_id}, undef, 'there is no older one any more';
is $state->{redacted}, '0000000000a1', 'it is shown again';

my $first = $s->key($org, 'ORG_MEMBER');
add($first, 0xb1);
$s->call('delete_secret', @owner, key => $first,
    secret_id => sprintf('%024x', 0xb1));
is join(' ', map { $_ // '-' } $s->dbh->selectrow_array('SELECT secret_id,
    secret_created FROM apikeys.keys WHERE id = ?', undef, $first)), '- -',
    'the secret that was made with the key is that again';


# others that expire

events();
my $n = 0xc0;

for ([ 60, undef, '60 s' ], [ 60, '30 s', '30 s' ], [ 60, '90 s', '60 s' ],
    [ undef, '30 s', '30 s' ])
{
    my ($in, $before, $after) = @$_;
    my $name = 'othersExpireIn ' . ($in // 'absent') . ', the other ends '
        . ($before ? "in $before" : 'never');
    my $other = $s->key($org, 'ORG_MEMBER');

    set_end($other, $other, $before) if $before;
    events();
    add($other, ++$n, { defined $in ? (othersExpireIn => $in) : () })
        or die $s->error;
    cmp_ok abs(left($other) - ($after =~ /(\d+)/)[0]), '<=', 2, $name;
    is left(sprintf '%024x', $n), undef, "$name: the new one has no end";
    is events(), !$before || $before gt $after ? 'CHANGED ADDED' : 'ADDED',
        "$name: events";
}

my $cut = $s->key($org, 'ORG_MEMBER');
add($cut, 0xd1);
events();
add($cut, 0xd2, { othersExpireIn => 0 });
is secrets($cut), 'd2 -', 'othersExpireIn 0 deletes all others';
is events(), 'DELETED DELETED ADDED', 'before the new one is added';


# secrets that have ended make room

my $ended = $s->key($org, 'ORG_MEMBER');
add($ended, 0xe1);
set_end($ended, $ended, '-1 s');
events();
add($ended, 0xe2);
is secrets($ended), 'e2 - e1 -', 'an older secret that has ended is replaced';
is events(), 'DELETED ADDED', 'which is an event';
set_end($ended, sprintf('%024x', 0xe2), '-1 s');
add($ended, 0xe3);
is secrets($ended), 'e3 - e1 -', 'and a newest one that has ended';
set_end($ended, sprintf('%024x', $_), '-1 s') for 0xe1, 0xe3;
add($ended, 0xe4);
is secrets($ended), 'e4 -', 'and both';


# a key adds secrets to itself

my $self = $s->key($org, 'ORG_MEMBER');
my @self = (caller => $self, caller_secret => $self);
add($self, 0xf1, undef, @self) or die $s->error;
is left(sprintf '%024x', 0xf1), undef,
    'a secret without an end makes one without an end';
$s->run(q{UPDATE apikeys.keys SET secret_expires = date_trunc('second',
    secret_created) + interval '1 h' WHERE id = ?}, $self);
@self = (caller => $self, caller_secret => sprintf '%024x', 0xf1);

for ([ {}, 'without an end' ],
    [ { expiresAt => '2100-01-01T00:00:00Z' }, 'with a later end' ])
{
    my $name = "a secret that lives an hour makes one $_->[1]: an hour";

    $s->call('delete_secret', @owner, key => $self, secret_id => $_)
        for grep { $_ ne $self[3] } $s->column('SELECT id
            FROM apikeys.secrets WHERE key_id = ?', $self);
    add($self, 0xf2, $_->[0], @self) or die $s->error;
    cmp_ok abs(left(sprintf '%024x', 0xf2) - 3600), '<=', 5, $name;
}
ok !$s->call('update_secret', @self, org => $org, key => $self,
    secret_id => $self[3], secret_attributes => '{"expiresAt":null}'),
    'a key does not change the end of its secret';
is $s->error, "unauthorized $self", 'it lacks the role';
ok $s->call('delete_secret', @self, org => $org, key => $self,
    secret_id => $self[3]), 'a key may delete the secret that it uses';
ok !add($self, 0xf3, undef, @self), 'and then is not admitted any more';
is $s->error, "caller_gone $self", 'by that secret';


# psql

$version = version($self);
ok $s->run(q{INSERT INTO apikeys.older_secrets (key_id, id, secret, redacted,
    created) VALUES (?, ?, decode(?, 'hex'), '0123456789ab', now())}, $self,
    sprintf('%024x', 0xf9), $secret), 'psql adds an older secret';
cmp_ok version($self), '>', $version, 'which is in the feed';
is $s->value(q{SELECT event || ' ' || key_id FROM apikeys.audit
    ORDER BY id DESC LIMIT 1}), "SQL INSERT older_secrets $self",
    'and in the audit';
is $s->value(q{SELECT count(*) FROM apikeys.audit
    WHERE (before, after)::text ~ 'abababab'}), 0, 'without the secret';
ok !$s->run(q{UPDATE apikeys.older_secrets SET expires = 'infinity'
    WHERE key_id = ?}, $self), 'an infinite end is refused';
ok !$s->run(q{UPDATE apikeys.keys SET expires = 'infinity'
    WHERE id = ?}, $self), 'of a key, too';
ok !$s->run(q{UPDATE apikeys.keys SET expires = '2100-01-01T00:00:00.5Z'
    WHERE id = ?}, $self), 'and a fraction of a second';
ok $s->run('DELETE FROM apikeys.keys WHERE id = ?', $self),
    'a key with two secrets is deleted';
is $s->value('SELECT count(*) FROM apikeys.older_secrets WHERE key_id = ?',
    $self), 0, 'with both';


# another master key

my $line = 'cdcdcdcd';
add($key, 0xa3);
my ($row) = grep { $_->{id} eq $key } @{ $s->dbh->selectall_arrayref(
    'SELECT * FROM apikeys.sealed_otherwise(?, ?, 500)', { Slice => {} },
    $line, '') };
is join(' ', map { substr $_, -2 } @$row{qw( secret_id older_id )}), 'a3 a1',
    'both secrets are read to be sealed anew';
$version = version($key);
is $s->value('SELECT apikeys.seal_anew(?, ?, ?)', [ $key ], [ $secret ],
    [ $line . 'ef' x 108 ]), 2, 'both are written';
is version($key), $version, 'which is no change of the key';
is $s->value(q{SELECT count(*) FROM apikeys.sealed_otherwise(?, '', 500)
    WHERE id = ?}, $line, $key), 0, 'they are not read again';
$s->run(q{UPDATE apikeys.older_secrets SET secret = decode(?, 'hex')
    WHERE key_id = ?}, $secret, $key);
is $s->value(q{SELECT count(*) FROM apikeys.sealed_otherwise(?, '', 500)
    WHERE id = ?}, $line, $key), 1, 'the older secret alone is read, too';
$s->run('DELETE FROM apikeys.keys WHERE id NOT IN (?, ?)', $key, $owner);
$s->run(q{UPDATE apikeys.keys SET secret = decode(?, 'hex')},
    $line . 'ef' x 108);
is $s->value('SELECT apikeys.end_pass(?)', $line), 1, 'and is counted';
is join(' ', $s->column('SELECT line FROM apikeys.master_keys ORDER BY 1')),
    "abababab $line", 'its line stays';

done_testing();
