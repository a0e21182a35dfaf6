package ApiKeys::Expect;

# Assertions about answers of the API.  Each is one test that compares all
# that counts as one text: status, reason, content type, error code and the
# body byte by byte, which is how the order of members is held to the
# contract too (it is the alphabet's, but for an envelope and on the native
# base).

use strict;
use warnings;

use Exporter qw( import );
use JSON::PP ();
use Test::More ();

our @EXPORT = qw( answers refused challenged no_content json_text true false
    null );

# code of the error document => status and text, as in
# src/ngx_http_apikeys_codes.c
our %CODE = (
    BAD_REQUEST => [ 400, [ 'The request is malformed.',
        'The request is refused.' ] ],
    API_KEY_NOT_FOUND => [ 400, 'No API key with ID %s exists.' ],
    API_KEY_REQUIRES_DESCRIPTION =>
        [ 400, 'All API keys require a non-empty description.' ],
    INVALID_API_KEY_DESC => [ 400, 'API key descriptions are required and '
        . 'must be less than %s characters.' ],
    MISSING_API_KEY_ROLES =>
        [ 400, 'API keys must have at least one role.' ],
    API_KEY_ALREADY_IN_GROUP => [ 400, 'API key is already in the group.' ],
    MAX_API_KEYS_PER_ORG_EXCEEDED => [ 400, 'Maximum number of API keys per '
        . 'org (%s) in %s exceeded while trying to add API keys.' ],
    CANNOT_ADD_GROUP_ROLE => [ 400,
        'Adding a group-level role in an organization is not supported.' ],
    CANNOT_ADD_ORG_ROLE => [ 400,
        'Adding an organization-level role in a group is not supported.' ],
    UNSUPPORTED_ROLE => [ 400, 'The provided role is not supported.' ],
    INVALID_ENUM_VALUE =>
        [ 400, 'An invalid enumeration value %s was specified.' ],
    INVALID_ATTRIBUTE => [ 400, 'Invalid attribute %s specified.' ],
    ATTRIBUTE_READ_ONLY => [ 400, 'The attribute %s is read-only and cannot '
        . 'be changed by the user.' ],
    MISSING_ATTRIBUTE =>
        [ 400, 'The required attribute %s was not specified.' ],
    MISSING_ONE_OF_ATTRIBUTES => [ 400,
        'Either the %s attribute or the %s attribute must be specified.' ],
    INVALID_JSON =>
        [ 400, 'Received JSON does not match expected format.' ],
    INVALID_JSON_ATTRIBUTE => [ 400,
        'Received JSON for the %s attribute does not match expected format.' ],
    MALFORMED_JSON => [ 400, 'Received JSON is malformed.' ],
    PATH_PARAM_PARSE_ERROR => [ 400, 'One or more path parameter in the '
        . 'request URI %s is malformed.' ],
    INVALID_QUERY_PARAMETER =>
        [ 400, 'Invalid query parameter %s specified.' ],
    INVALID_GROUP_NAME =>
        [ 400, 'An invalid group name %s was specified.' ],
    GROUP_MISMATCH =>
        [ 400, 'The specified group ID %s does not match the URL.' ],
    INVALID_GROUP_TOKEN => [ 400, 'A group tag must be a string '
        . '(alphanumeric, periods, underscores, and dashes) of length %s '
        . 'characters or less.' ],
    TOO_MANY_GROUP_TOKENS => [ 400, 'Groups are limited to %s tags.' ],
    API_KEY_CREATED_GROUPS_MUST_HAVE_ORG => [ 400, 'Projects created by API '
        . 'keys must belong to an existing organization.' ],
    INVALID_IP_ADDRESS_OR_CIDR_NOTATION => [ 400,
        'The address %s must be in valid IP address or CIDR notation.' ],
    INVALID_CIDR_BLOCK =>
        [ 400, 'The cidr block %s must be in valid CIDR notation.' ],
    MAX_ACCESS_LIST_ENTRIES_EXCEEDED => [ 400, undef ],
    BAD_ACCESS_LIST_ADD_REQUEST => [ 400,
        'Should not specify both the IP address and the CIDR block.' ],
    CANNOT_ADD_IP_ADDRESS_TO_API_KEY_ACCESS_LIST =>
        [ 400, 'The address %s cannot be added to access lists.' ],
    DUPLICATE_ADDRESSES_IN_INPUT => [ 400, 'Two or more of the IP addresses '
        . 'being added to the access list are the same.' ],
    CANNOT_REMOVE_CALLER_FROM_ACCESS_LIST => [ 400,
        "Cannot remove caller's IP address %s from access list." ],
    USER_UNAUTHORIZED => [ 401,
        'Current user is not authorized to perform this action.' ],
    API_KEY_ACCESS_LIST_ACCESS_DENIED => [ 401, 'API key access lists are '
        . 'only accessible by the API key or by a user administrator.' ],
    NOT_IN_GROUP => [ 401, 'The current user is not in the group, or the '
        . 'group does not exist.' ],
    IP_ADDRESS_NOT_ON_ACCESS_LIST => [ 403,
        'IP address %s is not allowed to access this resource.' ],
    ORG_REQUIRES_ACCESS_LIST => [ 403, 'This organization requires access '
        . 'through an access list of ip ranges.', 'param' ],
    CANNOT_ADD_GLOBAL_ROLE =>
        [ 403, 'Adding a global role is not supported.' ],
    ACCESS_FORBIDDEN => [ 403,
        'Access to this resource is forbidden for current user.' ],
    CANNOT_DELETE_LAST_OWNER => [ 403,
        'Cannot delete the last owner of the organization.' ],
    CANNOT_DEMOTE_LAST_ORG_OWNER => [ 403,
        'Cannot demote the last owner of the organization.' ],
    API_KEY_CANNOT_CREATE_ORG => [ 403,
        'API keys cannot create organizations.' ],
    ORG_NOT_FOUND => [ 404, 'No organization with ID %s exists.' ],
    GROUP_NOT_FOUND => [ 404, 'No group with ID %s exists.' ],
    GROUP_NAME_NOT_FOUND => [ 404, 'No group with name "%s" exists.' ],
    TEAM_NOT_FOUND => [ 404, 'No team with ID %s exists.' ],
    RESOURCE_NOT_FOUND => [ 404, 'Cannot find resource %s.' ],
    API_KEY_ACCESS_LIST_NOT_FOUND =>
        [ 404, 'IP address %s not on access list for API key %s.' ],
    INVALID_ROLE_FOR_GLOBAL_KEY =>
        [ 400, 'API Key Role %s is not in the allowlist.' ],
    MAX_GLOBAL_API_KEYS_EXCEEDED =>
        [ 400, 'Maximum number of global API keys (%s) exceeded.' ],
    MAX_GLOBAL_WHITELIST_ENTRIES_EXCEEDED =>
        [ 400, 'Maximum number of global whitelist entries (%s) exceeded.' ],
    DUPLICATE_GLOBAL_WHITELIST_ENTRY => [ 400, 'The provided IP address %s '
        . 'already exists in another global whitelist entry.' ],
    GLOBAL_WHITELIST_ENTRY_REQUIRES_CIDR_BLOCK => [ 400,
        'All global whitelist entries require a non-empty cidr block.' ],
    GLOBAL_WHITELIST_ENTRY_REQUIRES_DESCRIPTION => [ 400,
        'All global whitelist entries require a non-empty description.' ],
    INVALID_GLOBAL_WHITELIST_DESCRIPTION =>
        [ 400, 'API key descriptions must be less than %s characters.' ],
    NO_CIDR_BLOCK_OR_DESCRIPTION => [ 400, 'Editing a global whitelist entry '
        . 'requires a cidr block and/or description.' ],
    GLOBAL_USER_OUTSIDE_SUBNET =>
        [ 403, 'Global user is from outside whitelisted subnets.' ],
    CANNOT_ADD_GLOBAL_ROLE =>
        [ 403, 'Adding a global role is not supported.' ],
    GLOBAL_WHITELIST_ENTRY_NOT_FOUND => [ 404,
        'No existing global whitelist entries match the provided id %s.' ],
    EVENT_NOT_FOUND => [ 404, 'No event with ID %s exists for group %s.' ],
    ORG_EVENT_NOT_FOUND =>
        [ 404, 'No event with ID %s exists for organization %s.' ],
    INVALID_DATE_FORMAT => [ 400, 'An invalid date value %s was specified.' ],
    INVALID_DATE_RANGE => [ 400, 'An invalid date range minDate=%s, '
        . "maxDate=%s was specified: maxDate shouldn't be earlier than "
        . 'minDate.' ],
    METHOD_NOT_ALLOWED => [ 405, undef ],
    NOT_ACCEPTABLE => [ 406, undef ],
    API_KEY_SECRET_NOT_FOUND =>
        [ 404, 'No secret with ID %s exists for API key %s.' ],
    MAX_API_KEY_SECRETS_EXCEEDED =>
        [ 409, 'API key %s already has two secrets.' ],
    CANNOT_DELETE_LAST_API_KEY_SECRET =>
        [ 409, 'Cannot delete the last valid secret of API key %s.' ],
    API_KEY_ALREADY_EXISTS =>
        [ 409, 'An API key with public key %s already exists.' ],
    ADDRESS_ALREADY_IN_ACCESS_LIST =>
        [ 409, 'The address %s is already on the access list.' ],
    MAX_GROUPS_PER_ORG_EXCEEDED => [ 409, 'Maximum number of groups per '
        . 'organization (%s) in %s exceeded while trying to add group.' ],
    GROUP_ALREADY_EXISTS =>
        [ 409, 'A group with name "%s" already exists.' ],
    MULTIPLE_GROUPS =>
        [ 409, 'Multiple groups exist with the specified name.' ],
    ORG_NOT_EMPTY => [ 409, 'Organization cannot be deleted because it still '
        . 'contains active groups.' ],
    REQUEST_TOO_LARGE => [ 413, undef ],
    UNSUPPORTED_MEDIA_TYPE => [ 415, undef ],
    RATE_LIMITED => [ 429, 'Rate limit exceeded for %s.' ],
    UNEXPECTED_ERROR => [ 500, 'Unexpected error.' ],
    SERVICE_UNAVAILABLE => [ 503, undef ],
);

# the old spelling of all that names the list
for my $code (grep { /ACCESS_LIST|DUPLICATE_ADDR/ } keys %CODE) {
    next if $code =~ /^(?:IP_|ORG_|MAX_)/;

    my ($status, $text) = @{ $CODE{$code} };
    (my $old = $code) =~ s/ACCESS_LIST(?!_ACCESS)/WHITELIST/;
    $old =~ s/ACCESS_LIST/WHITELIST/ if $old eq $code;
    $text =~ s/access list/whitelist/;
    $CODE{ $old eq $code ? "$code/whitelist" : $old } = [ $status, $text ];
}

our %REASON = (
    200 => 'OK', 201 => 'Created', 202 => 'Accepted',
    204 => 'No Content', 400 => 'Bad Request',
    401 => 'Unauthorized', 402 => 'Payment Required', 403 => 'Forbidden',
    404 => 'Not Found', 405 => [ 'Method Not Allowed', 'Not Allowed' ],
    406 => 'Not Acceptable', 409 => 'Conflict', 410 => 'Gone',
    411 => 'Length Required', 412 => 'Precondition Failed',
    413 => 'Request Entity Too Large',
    414 => [ 'Request-URI Too Long', 'Request-URI Too Large' ],
    415 => 'Unsupported Media Type', 416 => 'Requested Range Not Satisfiable',
    418 => '', 421 => 'Misdirected Request', 429 => 'Too Many Requests',
    500 => 'Internal Server Error', 501 => 'Not Implemented',
    502 => 'Bad Gateway',
    503 => [ 'Service Unavailable', 'Service Temporarily Unavailable' ],
    504 => [ 'Gateway Timeout', 'Gateway Time-out' ],
    505 => 'HTTP Version Not Supported', 507 => 'Insufficient Storage',
    599 => '',
);

my $json = JSON::PP->new->canonical->utf8;

my @HEADERS = (
    'X-Content-Type-Options: nosniff', 'X-Frame-Options: DENY',
    'Referrer-Policy: strict-origin-when-cross-origin',
    'X-Permitted-Cross-Domain-Policies: none',
);

sub true() { return JSON::PP::true }
sub false() { return JSON::PP::false }
sub null() { return undef }


sub json_text {
    my ($data) = @_;

    return ref $data ? $json->encode($data) : $data;
}


# answers($res, 200, body, title): body a structure or a text.
# type => another content type, code => of an error
sub answers {
    my ($res, $status, $body, $title, %opt) = @_;

    return _compare($res, $status, $opt{type} || _type($res), $opt{code},
        json_text($body), $title);
}


# what the base that answered must say
sub _type {
    my ($res) = @_;

    return ($res && ($res->{uri} // '') =~ m{^/api/atlas/v2(?:/|\?|$)})
        ? 'application/vnd.atlas.2023-01-01+json;charset=utf-8'
        : 'application/json';
}


# refused($res, 'CODE', [parameters], title): an error document.
# status => another one, code => the name on the wire when it is not CODE
sub refused {
    my ($res, $code, $params, $title, %opt) = @_;

    my ($status, $text, $silent) = @{ $CODE{$code} or die "no code $code\n" };
    (my $name = $code) =~ s{/whitelist$}{};
    $status = $opt{status} || status($code, $res ? $res->{uri} // '' : '');

    if (defined $text && !$silent) {
        my @values = @$params;
        $text =~ s/%s/shift @values/ge;
    }
    $text = $opt{text} if defined $opt{text};
    $text = _detail($res, @{ $text // [] }) if !defined $text || ref $text;

    my $reason = $REASON{$status};
    my $body = json_text({ detail => $text, error => $status,
        errorCode => $name, parameters => $params,
        reason => ref $reason ? $reason->[0] : $reason });

    return _compare($res, $status, 'application/json', $name, $body, $title);
}


# the status of a code on the base of a URI
sub status {
    my ($code, $uri) = @_;

    return 404 if $code eq 'API_KEY_NOT_FOUND'
        && $uri =~ m{^/api/(?:atlas/v2|v1)/};
    return 401 if $code eq 'API_KEY_CANNOT_CREATE_ORG'
        && $uri =~ m{^/api/public/v1\.0/};
    return ($CODE{$code} or die "no code $code\n")->[0];
}


# a text that is ours to choose, or one of several
sub _detail {
    my ($res, @texts) = @_;

    my $detail = eval { $res->json->{detail} } // '';
    return $detail if @texts ? grep { $_ eq $detail } @texts : $detail =~ /\w/;
    return $texts[0] // 'a text';
}


# the 401 of digest: the body to the byte, and the challenge.
# stale => 1; schemes => [..] of the challenges, Digest alone when not given
sub challenged {
    my ($res, $title, %opt) = @_;

    my $body = qq({\n  "error" : 401,\n  "reason" : "Unauthorized",\n)
        . qq(  "detail" : "You are not authorized for this resource.",\n)
        . qq(  "errorCode" : "UNEXPECTED_ERROR"\n});
    $body = '' if $opt{head};

    my @schemes = @{ $opt{schemes} || [ 'MD5' ] };
    my @want = map { _challenge($_, $opt{stale}) } @schemes;
    my @have = $res ? $res->header('www-authenticate') : ();
    s{nonce="[A-Za-z0-9+/]{32}"}{nonce="N"} for @have;

    return _compare($res, 401, 'application/json', undef,
        join("\n", @want, $body), $title,
        join "\n", @have, $res ? $res->body : '');
}


sub _challenge {
    my ($scheme, $stale) = @_;

    return 'Basic realm="MMS Public API"' if $scheme eq 'Basic';
    return 'Digest realm="MMS Public API", domain="", nonce="N", '
        . "algorithm=$scheme, qop=\"auth\", stale="
        . ($stale ? 'true' : 'false');
}


# a 204; the versioned type on v2, none elsewhere
sub no_content {
    my ($res, $title) = @_;

    my $v2 = $res && ($res->{uri} // '') =~ m{^/api/atlas/v2/};
    return _compare($res, 204, $v2 ? _type($res) : '', undef, '', $title);
}


sub _compare {
    my ($res, $status, $type, $code, $body, $title, $have_body) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 2;

    $res or return Test::More::fail("$title: there is an answer");

    my $reasons = $REASON{$status};
    my @reasons = ref $reasons ? @$reasons : $reasons;
    my ($reason) = grep { $_ eq $res->{reason} } @reasons;

    my @want = ("$status " . ($reason // $reasons[0]), "type: $type",
        'code: ' . ($code // ''), 'length: ok', $body, @HEADERS);
    my @have = ("$res->{code} $res->{reason}",
        'type: ' . join(', ', $res->header('content-type')),
        'code: ' . join(', ', $res->header('x-error-code')), _length($res),
        $have_body // $res->body, map { _header($res, $_) } @HEADERS);

    return Test::More::is(join("\n", @have), join("\n", @want), $title);
}


sub _length {
    my ($res) = @_;

    return 'length: ok' if !defined $res->header('content-length')
        || $res->{method} && $res->{method} eq 'HEAD';
    return 'length: none with 204' if $res->code == 204;
    return 'length: ' . ($res->header('content-length')
        == length $res->body ? 'ok' : 'wrong');
}


sub _header {
    my ($res, $line) = @_;

    my ($name) = $line =~ /^([^:]+)/;
    return "$name: " . join ', ', $res->header($name);
}


1;
