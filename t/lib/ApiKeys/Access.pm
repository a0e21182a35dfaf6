package ApiKeys::Access;

# Protected locations over a fixture: keys made through the API, requests
# with any scheme, and for each request what the access log tells of it.
#
#   my $t = ApiKeys::Access->new;
#   my $key = $t->key($org, 'ORG_MEMBER');
#   $t->serve('location /a { apikeys_auth basic; }');
#   $t->request('/a', $key)->{log}{decision};     # allow

use strict;
use warnings;

use ApiKeys::Client ();
use ApiKeys::Fixture ();
use MIME::Base64 qw( encode_base64 );

my @FIELDS = qw( decision public_key key_id org_id roles access_entry );


# options are those of ApiKeys::Fixture
sub new {
    my ($class, %opt) = @_;

    my $self = bless { opt => \%opt, count => 0 }, $class;

    $self->{fixture} = ApiKeys::Fixture->new(%opt, $self->_conf(%opt));
    $self->nginx->write_file('html/index.html', 'index');
    return $self;
}


sub _conf {
    my ($self, %opt) = @_;

    my $format = join '|', '$http_x_id', '$status',
        map { "\$apikeys_$_" } @FIELDS;

    return (http => <<"END" . ($opt{http} // ''), server => <<"END");
    log_format decisions '$format';

    # an upstream that tells what it is asked for
    server {
        listen 127.0.0.1:%%PORT_1%%;
        apikeys_auth off;
        apikeys_dry_run off;
        location / {
            return 200 '\$request_method \$uri [\$http_authorization]';
        }
    }
END
        access_log %%DIR%%/access.log decisions;
@{[ $opt{server} // '' ]}
END
}


sub fixture { return $_[0]{fixture} }
sub nginx { return $_[0]{fixture}->nginx }
sub db { return $_[0]{fixture}->db }
sub org { my $self = shift; return $self->{fixture}->org(@_) }
sub key { my $self = shift; return $self->{fixture}->key(@_) }
sub project { my $self = shift; return $self->{fixture}->project(@_) }


# roles in a project, given by the organization's owner
sub assign {
    my ($self, $org, $project, $key, @roles) = @_;

    my $res = $org->{client}->request('PATCH',
        "$self->{fixture}{base}/groups/$project->{id}/apiKeys/$key->{id}",
        { roles => \@roles });
    $res->code == 200 or die "assign: $res->{body}\n";
    return $key;
}


# entries of a key's list, as the API takes them
sub allow {
    my ($self, $org, $key, @blocks) = @_;

    my $res = $org->{client}->request('POST',
        "$org->{path}/apiKeys/$key->{id}/accessList?itemsPerPage=1",
        [ map { { cidrBlock => $_ } } @blocks ]);
    $res->code == 200 or die "allow: $res->{body}\n";
    return $key;
}


# until this nginx (the first one if not given) decides as the database has
# it now
sub settle {
    my ($self) = @_;

    $self->nginx->wait_for(sub {
        return $self->db->dbh->selectrow_array(
            'SELECT bool_and(pg_visible_in_snapshot(x.xid, i.snapshot))
               FROM apikeys.instances i, (SELECT xid
                    FROM apikeys.changes ORDER BY xid DESC LIMIT 1) x');
    }, 20, 'the local copy does not follow');
}


# other locations from now on; http => lines
sub serve {
    my ($self, $server, %opt) = @_;

    my $f = $self->{fixture};
    my %conf = (%{ $self->{opt} }, %opt);

    $conf{http} = join "\n", map { $_ // '' } $self->{opt}{http}, $opt{http};
    $conf{server} = join "\n", $self->{opt}{server} // '', $server;
    %conf = (%conf, $self->_conf(%conf));
    $f->nginx->configure(http => $f->http_conf(%conf),
        server => $f->server_conf(%conf));

    return if !$f->nginx->pid;

    my ($code, $text) = $f->nginx->test;
    $code == 0 or die $text;
    $f->nginx->reload;
}


# request($uri, $key, %opt): scheme => 'digest' (default), 'sha256', 'basic'
# or the name of a header; method, headers, body, client.  The answer, with
# what the log has in log => { decision => .. }
sub request {
    my ($self, $uri, $key, %opt) = @_;

    my $id = $$ . '-' . ++$self->{count};
    my $method = $opt{method} || 'GET';
    my %headers = ('X-Id' => $id, %{ $opt{headers} || {} });
    my $client = $opt{client} || $self->{fixture}->client;
    my $secret = ref $key ? $key->{secret} : $key;
    my $scheme = $opt{scheme} || 'digest';
    my $res;

    if (!defined $secret) {
        $res = $client->plain($method, $uri, $opt{body}, %opt,
            headers => \%headers);

    } elsif ($scheme eq 'digest' || $scheme eq 'sha256') {
        my $digest = $client->with(key => $secret,
            algorithm => $scheme eq 'sha256' ? 'SHA-256' : 'MD5');
        my $first = $digest->plain($method, $uri, undef,
            headers => { %{ $opt{headers} || {} } });
        $digest->{challenge} = $first->challenge($digest->{algorithm})
            || $self->nonce($digest->{algorithm});
        $headers{Authorization} = $digest->authorization($method, $uri);
        $res = $digest->plain($method, $uri, $opt{body}, %opt,
            headers => \%headers);
        $digest->close;

    } elsif ($scheme eq 'basic') {
        $headers{Authorization} = 'Basic ' . encode_base64($secret, '');
        $res = $client->plain($method, $uri, $opt{body}, %opt,
            headers => \%headers);

    } else {
        $headers{$scheme} = $secret;
        $res = $client->plain($method, $uri, $opt{body}, %opt,
            headers => \%headers);
    }

    $client->close if !$opt{client};
    $res or die "no answer to $method $uri\n";
    $res->{log} = $self->log($id);
    return $res;
}


# a challenge of another location, where the one asked for gives none
sub nonce {
    my ($self, $algorithm) = @_;

    my $client = $self->{fixture}->client;
    my $challenge = $client->plain('GET', "$self->{fixture}{base}/")
        ->challenge;
    $client->close;
    return { %$challenge, algorithm => $algorithm };
}


# the access log's line of a request, "-" left out
sub log {
    my ($self, $id) = @_;

    my $line = $self->nginx->wait_for(sub {
        my $text = ApiKeys::Nginx::_read($self->nginx->dir . '/access.log');
        return $text =~ /^\Q$id\E\|(.*)$/m ? $1 : undef;
    }, 10, "request $id is not in the log");

    my ($status, @values) = split /\|/, $line, -1;
    my %log = (status => $status);
    @log{@FIELDS} = map { $_ eq '-' ? undef : $_ } @values;
    return \%log;
}


# figures of apikeys_status, which the test's configuration has at /status
sub status {
    my ($self) = @_;

    my $client = $self->{fixture}->client;
    my $json = $client->plain('GET', '/status')->json;
    $client->close;
    return $json;
}


1;
