package ApiKeys::Fixture;

# All that a test of the API needs, in one object: a database with the
# schema, key material, an nginx with the four bases, and organizations,
# keys and projects made through the API itself.
#
#   my $f = ApiKeys::Fixture->new;
#   my $org = $f->org;                            # with an owner's key
#   my $res = $org->{client}->request('GET', "$org->{path}/apiKeys");
#   my $key = $f->key($org, 'ORG_READ_ONLY');     # and $key->{client}

use strict;
use warnings;

use ApiKeys::Client ();
use ApiKeys::Nginx ();
use ApiKeys::Pg ();
use MIME::Base64 qw( encode_base64 );

our %BASE = (
    atlas_v1 => '/api/atlas/v1.0',
    atlas_v2 => '/api/atlas/v2',
    ops_manager => '/api/public/v1.0',
);

# with the native API, which is compatible with no product
our %ALL = (%BASE, native => '/api/v1');

my $count = 0;


# pg => an ApiKeys::Pg, db => a database of it, conninfo => another way to
# it, database => parameters of the directive, zone => '8m', http, server,
# api => lines for each API location, main, workers, allow, log_level,
# token => 0 for no operator, base => 'atlas_v1', start => 0,
# headers => { .. } that its clients send with every request
sub new {
    my ($class, %opt) = @_;

    my $self = bless { opt => \%opt, base => $ALL{ $opt{base} || 'atlas_v1' } },
        $class;

    $self->{pg} = $opt{pg} || ($opt{db} ? $opt{db}->pg : ApiKeys::Pg->new);
    $self->{db} = $opt{db} || $self->{pg}->database(schema => 1);
    $self->{token} = 'token-' . unpack 'H*', _random(16);
    $self->{master_key} = $opt{master_key} || encode_base64(_random(32), '');

    $self->{nginx} = $self->node(%opt);
    $self->start if $opt{start} // 1;
    return $self;
}


# one more nginx over the same database, with the same key material
sub node {
    my ($self, %opt) = @_;

    my %param = map { $_ => $opt{$_} }
        grep { exists $opt{$_} } qw( main events workers allow log_level
                                     binary load );
    my $nginx = ApiKeys::Nginx->new(%param, http => '', server => '');

    $nginx->write_file('master.key', "$self->{master_key}\n", 0600);
    $nginx->write_file('operator.token', "$self->{token}\n", 0600);
    $nginx->configure(http => $self->http_conf(%opt),
        server => $self->server_conf(%opt));
    return $nginx;
}


sub http_conf {
    my ($self, %opt) = @_;

    my $info = $opt{conninfo}
        || $self->{db}->conninfo(user => 'apikeys_nginx');
    my $params = $opt{database} // '';
    my $zone = $opt{zone} || '8m';
    my $token = ($opt{token} // 1)
        ? 'apikeys_operator_token_file %%DIR%%/operator.token;' : '';

    return <<"END";
    apikeys_database "$info" $params;
    apikeys_zone zone=apikeys:$zone;
    apikeys_master_key_file %%DIR%%/master.key;
    $token
@{[ $opt{http} // '' ]}
END
}


sub server_conf {
    my ($self, %opt) = @_;

    my $api = $opt{api} // '';
    my $text = '';

    for my $name (sort keys %ALL) {
        $text .= <<"END";
        location $ALL{$name} {
            apikeys_api $name;
$api
        }
END
    }
    return <<"END";
$text
        location /open {
            empty_gif;
        }
@{[ $opt{server} // '' ]}
END
}


sub start {
    my ($self) = @_;

    $self->{nginx}->start;
    $self->wait_loaded($self->{nginx});
    return $self;
}


# until the local copy is complete: an unknown key is then 401 and not 503
sub wait_loaded {
    my ($self, $nginx, $timeout) = @_;

    my $client = ApiKeys::Client->new(port => $nginx->port,
        key => 'aaaaaaaa:00000000-0000-4000-8000-000000000000');

    return $nginx->wait_for(sub {
        my $res = $client->request('GET', "$self->{base}/");
        return $res && $res->code == 401;
    }, $timeout || 30, 'the local copy is not loaded');
}


sub nginx { return $_[0]{nginx} }
sub pg { return $_[0]{pg} }
sub db { return $_[0]{db} }
sub token { return $_[0]{token} }
sub base { return $_[0]{base} }


# new(key => 'public:private') and all else that ApiKeys::Client takes
sub client {
    my ($self, %opt) = @_;

    my $nginx = delete $opt{nginx} || $self->{nginx};
    return ApiKeys::Client->new(port => $nginx->port,
        headers => { %{ $self->{opt}{headers} || {} } }, %opt);
}


# a request of the operator's; a path without the base gets it
sub operator {
    my ($self, $method, $path, $json, %opt) = @_;

    $self->{operator} ||= $self->client(token => $self->{token});
    return $self->{operator}->request($method, $self->uri($path), $json,
        %opt);
}


sub uri {
    my ($self, $path) = @_;

    return $path =~ m{^/api/} ? $path : $self->{base} . $path;
}


# an organization and its owner's key: id, name, path, key, client
sub org {
    my ($self, %opt) = @_;

    my $name = $opt{name} || 'org ' . ++$count;
    my $res = _expect(201, $self->operator('POST', "$BASE{atlas_v1}/orgs", {
        name => $name,
        apiKey => { desc => 'owner', roles => $opt{roles} || ['ORG_OWNER'] },
    }));

    my $json = $res->json;
    my $org = $self->_with_client({ %{ $json->{apiKey} } });

    return { id => $json->{organization}{id}, name => $name,
        path => "$self->{base}/orgs/$json->{organization}{id}",
        key => $org, client => $org->{client} };
}


# key($org, @roles): one more key, made by the organization's owner; what
# the API answered, with client and secret ("public:private")
sub key {
    my ($self, $org, @roles) = @_;

    my $res = _expect(200, $org->{client}->request('POST',
        "$org->{path}/apiKeys",
        { desc => 'key ' . ++$count, roles => \@roles }));
    return $self->_with_client($res->json);
}


# project($org): what the API answered
sub project {
    my ($self, $org, %opt) = @_;

    my $res = _expect(201, $self->operator('POST', "$BASE{atlas_v1}/groups",
        { name => $opt{name} || 'project ' . ++$count, orgId => $org->{id} }));
    return $res->json;
}


# bytes of a zone that are used, by its status, but for what waits for its
# readers, and for tombstones, a cell each
sub used {
    my ($self, $status) = @_;

    return $status->{zone}{size_bytes} - $status->{zone}{free_bytes}
        - $status->{zone}{retired_bytes} - 64 * $status->{copy}{tombstones};
}


# copies($org, $key, $n, $first): so many keys with the secret of another,
# which does not open for them, numbered from the first (1)
sub copies {
    my ($self, $org, $key, $n, $first) = @_;

    my $last = ($first //= 1) + $n - 1;
    $self->db->psql(<<"END");
INSERT INTO apikeys.keys (id, org_id, public_key, secret, redacted, descr,
                          roles)
    SELECT lpad(to_hex(n), 24, '0'), '$org->{id}',
           translate(lpad(to_hex(n), 8, '0'), '0123456789', 'ghijklmnop'),
           k.secret, k.redacted, 'copy', '{ORG_MEMBER}'
      FROM generate_series($first, $last) AS n, apikeys.keys k
     WHERE k.id = '$key->{id}'
END
}


# The rows of the route table, ngx_http_apikeys_routes.c: { name => of the path,
# method, bases => names of the bases that have the route, matches => code:
# whether a path on a base ("/orgs", "ops_manager") belongs to the row }.
sub routes {
    my $root = __FILE__ =~ s{t/lib/ApiKeys/[^/]+$}{}r;
    open my $f, '<', "${root}src/http/api/ngx_http_apikeys_routes.c"
        or die "routes.c: $!\n";
    my $text = do { local $/; <$f> };

    my %on = (ANY => [ sort keys %ALL ], COMPATIBLE => [ sort keys %BASE ],
        ATLAS => [qw( atlas_v1 atlas_v2 )],
        NOT_V2 => [qw( atlas_v1 ops_manager )], ATLAS_V2 => ['atlas_v2'],
        OPS_MANAGER => ['ops_manager'], NATIVE => ['native']);
    my (%patterns, @routes);

    while ($text =~ /\.path \s = \s NGX_HTTP_APIKEYS_PATH_(\w+), \s+
        \.apis \s = \s NGX_HTTP_APIKEYS_API_(\w+), \s+
        \.pattern \s = \s ngx_string\(((?: \s* "[^"]*" )+)\)/gx)
    {
        my ($name, $apis, $pattern) = ($1, $2, $3);

        $pattern = join '', $pattern =~ /"([^"]*)"/g;
        $pattern =~ s/\\\\/\\/g;
        push @{ $patterns{$name}{$_} }, qr/$pattern/
            for @{ $on{$apis} or die "routes.c: $apis\n" };
    }

    while ($text =~ /\.path \s = \s NGX_HTTP_APIKEYS_PATH_(\w+), \s+
        \.method \s = \s NGX_HTTP_(\w+)/gx)
    {
        my ($name, $method) = ($1, $2);
        my $of = $patterns{$name} or die "routes.c: $name has no pattern\n";

        push @routes, { name => $name, method => $method,
            bases => [ sort keys %$of ],
            matches => sub {
                my ($path, $base) = @_;
                return scalar grep { $path =~ $_ } @{ $of->{$base} || [] };
            } };
    }
    @routes > 50 or die "routes.c is not as expected\n";
    return @routes;
}


sub _with_client {
    my ($self, $key) = @_;

    $key->{secret} = "$key->{publicKey}:$key->{privateKey}";
    $key->{client} = $self->client(key => $key->{secret});
    return $key;
}


sub _expect {
    my ($code, $res) = @_;

    $res or die "no answer\n";
    $res->code == $code
        or die "status " . $res->code . " instead of $code: $res->{body}\n";
    return $res;
}


sub _random {
    my ($n) = @_;
    my $bytes;

    open my $f, '<:raw', '/dev/urandom' or die "urandom: $!\n";
    read $f, $bytes, $n;
    return $bytes;
}


sub DESTROY {
    my ($self) = @_;

    # nginx first: it complains about a database that goes away
    local ($?, $@, $!);
    delete $self->{nginx};
}


1;
