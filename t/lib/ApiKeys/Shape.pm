package ApiKeys::Shape;

# Organizations and projects as each base shows them.
#
#   my $shape = ApiKeys::Shape->new($nginx->url);
#   my $body = $shape->org('atlas_v2', $id, $name, single => 1);

use strict;
use warnings;

use ApiKeys::Fixture ();
use JSON::PP ();

my %BASE = %ApiKeys::Fixture::BASE;


sub new {
    my ($class, $host) = @_;

    return bless { host => $host }, $class;
}


sub link {
    my ($self, $rel, $uri) = @_;

    return { rel => $rel, href => "$self->{host}$uri" };
}


# self, and of what is shown by itself its children
sub links {
    my ($self, $name, $uri, $single, @children) = @_;

    my $rel = $name eq 'atlas_v2' ? 'https://cloud.mongodb.com'
        : 'http://mms.mongodb.com';

    return [ $self->link('self', "$BASE{$name}$uri"), $single
        ? map { $self->link("$rel/$_", "$BASE{$name}$uri/$_") } @children
        : () ];
}


# single => 1 when it is not in a list, skip => 1 what was stored of it
sub org {
    my ($self, $name, $id, $title, %opt) = @_;

    return { id => $id, isDeleted => JSON::PP::false, name => $title,
        links => $self->links($name, "/orgs/$id", $opt{single},
            qw( groups teams users )),
        $name eq 'ops_manager' ? () : (skipDefaultAlertsSettings =>
            $opt{skip} ? JSON::PP::true : JSON::PP::false) };
}


# A project { id, name, created } and what was stored of it: labels, which
# are the tags of Atlas, tokens, which are those of Ops Manager, and alerts.
# single => 1 when it is not in a list, new => 1 in the answer to POST
sub project {
    my ($self, $name, $project, $org, %opt) = @_;

    my %common = (id => $project->{id}, name => $project->{name},
        orgId => $org);
    my $single = $opt{single} || $opt{new};
    my $uri = "/groups/$project->{id}";

    if ($name eq 'ops_manager') {
        return { %common, activeAgentCount => 0,
            hostCounts => { map { $_ => 0 } qw( arbiter config master mongos
                primary secondary slave ) },
            links => $self->links($name, $uri, $single, qw( hosts users
                clusters alertConfigs alerts backupConfigs agents )),
            publicApiEnabled => JSON::PP::true, replicaSetCount => 0,
            shardCount => 0, tags => $project->{tokens} || [] };
    }

    my $tags = $project->{labels} || ($opt{new} ? undef : []);

    return { %common, clusterCount => 0, created => $project->{created},
        links => $self->links($name, $uri, $single, qw( containers clusters
            databaseUsers peers processes whitelist )),
        $tags ? (tags => $tags) : (),
        withDefaultAlertsSettings => $project->{alerts} // JSON::PP::true };
}


# query: what is in the self link besides the page
sub list {
    my ($self, $uri, $results, %opt) = @_;

    my $query = $opt{query} ? "$opt{query}&" : '';
    my $page = $opt{page} || 'pageNum=1&itemsPerPage=100';

    return { links => [ $self->link('self', "$uri?$query$page") ],
        results => $results, totalCount => $opt{total} // scalar @$results };
}


1;
