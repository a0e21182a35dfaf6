
/*
 * Copyright (C) ngx_http_apikeys_module contributors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_http_apikeys_codes.h>


typedef struct {
    ngx_uint_t               status;
    ngx_str_t                reason;
    ngx_http_apikeys_code_e  code;      /* of an error that nginx raised */
} ngx_http_apikeys_reason_t;


static const ngx_http_apikeys_code_t  ngx_http_apikeys_codes[] = {

    [NGX_HTTP_APIKEYS_CODE_BAD_REQUEST] = {
      400, ngx_string("BAD_REQUEST"),
      ngx_string("The request is malformed."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_REFUSED] = {
      400, ngx_string("BAD_REQUEST"),
      ngx_string("The request is refused."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_MALFORMED_JSON] = {
      400, ngx_string("MALFORMED_JSON"),
      ngx_string("Received JSON is malformed."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_INVALID_JSON] = {
      400, ngx_string("INVALID_JSON"),
      ngx_string("Received JSON does not match expected format."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_INVALID_JSON_ATTRIBUTE] = {
      400, ngx_string("INVALID_JSON_ATTRIBUTE"),
      ngx_string("Received JSON for the %s attribute does not match expected "
                 "format."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_INVALID_ATTRIBUTE] = {
      400, ngx_string("INVALID_ATTRIBUTE"),
      ngx_string("Invalid attribute %s specified."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_ATTRIBUTE_READ_ONLY] = {
      400, ngx_string("ATTRIBUTE_READ_ONLY"),
      ngx_string("The attribute %s is read-only and cannot be changed by the "
                 "user."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_MISSING_ONE_OF_ATTRIBUTES] = {
      400, ngx_string("MISSING_ONE_OF_ATTRIBUTES"),
      ngx_string("Either the %s attribute or the %s attribute must be "
                 "specified."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_MISSING_ATTRIBUTE] = {
      400, ngx_string("MISSING_ATTRIBUTE"),
      ngx_string("The required attribute %s was not specified."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_INVALID_ENUM_VALUE] = {
      400, ngx_string("INVALID_ENUM_VALUE"),
      ngx_string("An invalid enumeration value %s was specified."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_PATH_PARAM_PARSE_ERROR] = {
      400, ngx_string("PATH_PARAM_PARSE_ERROR"),
      ngx_string("One or more path parameter in the request URI %s is "
                 "malformed."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_INVALID_QUERY_PARAMETER] = {
      400, ngx_string("INVALID_QUERY_PARAMETER"),
      ngx_string("Invalid query parameter %s specified."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_INVALID_DATE_FORMAT] = {
      400, ngx_string("INVALID_DATE_FORMAT"),
      ngx_string("An invalid date value %s was specified."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_INVALID_DATE_RANGE] = {
      400, ngx_string("INVALID_DATE_RANGE"),
      ngx_string("An invalid date range minDate=%s, maxDate=%s was "
                 "specified: maxDate shouldn't be earlier than minDate."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_INVALID_GROUP_NAME] = {
      400, ngx_string("INVALID_GROUP_NAME"),
      ngx_string("An invalid group name %s was specified."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_GROUP_MISMATCH] = {
      400, ngx_string("GROUP_MISMATCH"),
      ngx_string("The specified group ID %s does not match the URL."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_INVALID_GROUP_TOKEN] = {
      400, ngx_string("INVALID_GROUP_TOKEN"),
      ngx_string("A group tag must be a string (alphanumeric, periods, "
                 "underscores, and dashes) of length %s characters or "
                 "less."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_TOO_MANY_GROUP_TOKENS] = {
      400, ngx_string("TOO_MANY_GROUP_TOKENS"),
      ngx_string("Groups are limited to %s tags."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_GROUPS_MUST_HAVE_ORG] = {
      400, ngx_string("API_KEY_CREATED_GROUPS_MUST_HAVE_ORG"),
      ngx_string("Projects created by API keys must belong to an existing "
                 "organization."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_INVALID_GLOBAL_ROLE] = {
      400, ngx_string("INVALID_ROLE_FOR_GLOBAL_KEY"),
      ngx_string("API Key Role %s is not in the allowlist."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_MAX_GLOBAL_KEYS] = {
      400, ngx_string("MAX_GLOBAL_API_KEYS_EXCEEDED"),
      ngx_string("Maximum number of global API keys (%d) exceeded."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_MAX_GLOBAL_ENTRIES] = {
      400, ngx_string("MAX_GLOBAL_WHITELIST_ENTRIES_EXCEEDED"),
      ngx_string("Maximum number of global whitelist entries (%d) "
                 "exceeded."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_GLOBAL_ENTRY_EXISTS] = {
      400, ngx_string("DUPLICATE_GLOBAL_WHITELIST_ENTRY"),
      ngx_string("The provided IP address %s already exists in another "
                 "global whitelist entry."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_GLOBAL_ENTRY_REQUIRES_BLOCK] = {
      400, ngx_string("GLOBAL_WHITELIST_ENTRY_REQUIRES_CIDR_BLOCK"),
      ngx_string("All global whitelist entries require a non-empty cidr "
                 "block."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_GLOBAL_ENTRY_REQUIRES_DESC] = {
      400, ngx_string("GLOBAL_WHITELIST_ENTRY_REQUIRES_DESCRIPTION"),
      ngx_string("All global whitelist entries require a non-empty "
                 "description."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_INVALID_GLOBAL_DESC] = {
      400, ngx_string("INVALID_GLOBAL_WHITELIST_DESCRIPTION"),
      ngx_string("API key descriptions must be less than %d characters."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_NO_BLOCK_OR_DESC] = {
      400, ngx_string("NO_CIDR_BLOCK_OR_DESCRIPTION"),
      ngx_string("Editing a global whitelist entry requires a cidr block "
                 "and/or description."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_REQUIRES_DESCRIPTION] = {
      400, ngx_string("API_KEY_REQUIRES_DESCRIPTION"),
      ngx_string("All API keys require a non-empty description."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_INVALID_DESC] = {
      400, ngx_string("INVALID_API_KEY_DESC"),
      ngx_string("API key descriptions are required and must be less than %d "
                 "characters."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_MISSING_ROLES] = {
      400, ngx_string("MISSING_API_KEY_ROLES"),
      ngx_string("API keys must have at least one role."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_UNSUPPORTED_ROLE] = {
      400, ngx_string("UNSUPPORTED_ROLE"),
      ngx_string("The provided role is not supported."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_CANNOT_ADD_GROUP_ROLE] = {
      400, ngx_string("CANNOT_ADD_GROUP_ROLE"),
      ngx_string("Adding a group-level role in an organization is not "
                 "supported."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_CANNOT_ADD_ORG_ROLE] = {
      400, ngx_string("CANNOT_ADD_ORG_ROLE"),
      ngx_string("Adding an organization-level role in a group is not "
                 "supported."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_MAX_KEYS] = {
      400, ngx_string("MAX_API_KEYS_PER_ORG_EXCEEDED"),
      ngx_string("Maximum number of API keys per org (%d) in %s exceeded "
                 "while trying to add API keys."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_MAX_ASSIGNMENTS] = {
      400, ngx_string("MAX_API_KEY_ASSIGNMENTS_PER_ORG_EXCEEDED"),
      ngx_string("Maximum number of assignments of API keys to groups per "
                 "organization (%d) in %s exceeded."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_ALREADY_IN_GROUP] = {
      400, ngx_string("API_KEY_ALREADY_IN_GROUP"),
      ngx_string("API key is already in the group."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_KEY_NOT_FOUND] = {
      400, ngx_string("API_KEY_NOT_FOUND"),
      ngx_string("No API key with ID %s exists."),
      NGX_HTTP_APIKEYS_CODE_NEXT_ON_V2 },

    [NGX_HTTP_APIKEYS_CODE_KEY_NOT_FOUND_V2] = {
      404, ngx_string("API_KEY_NOT_FOUND"),
      ngx_string("No API key with ID %s exists."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_INVALID_ADDRESS] = {
      400, ngx_string("INVALID_IP_ADDRESS_OR_CIDR_NOTATION"),
      ngx_string("The address %s must be in valid IP address or CIDR "
                 "notation."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_INVALID_CIDR_BLOCK] = {
      400, ngx_string("INVALID_CIDR_BLOCK"),
      ngx_string("The cidr block %s must be in valid CIDR notation."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_MAX_ENTRIES] = {
      400, ngx_string("MAX_ACCESS_LIST_ENTRIES_EXCEEDED"),
      ngx_string("An API key may have at most %d access list entries."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_MAX_ORG_ENTRIES] = {
      400, ngx_string("MAX_ACCESS_LIST_ENTRIES_EXCEEDED"),
      ngx_string("The API keys of an organization may have at most %d access "
                 "list entries together, organization %s exceeds that."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_BAD_ADD_REQUEST] = {
      400, ngx_string("BAD_ACCESS_LIST_ADD_REQUEST"),
      ngx_string("Should not specify both the IP address and the CIDR "
                 "block."),
      NGX_HTTP_APIKEYS_CODE_NEXT_ON_WHITELIST },

    [NGX_HTTP_APIKEYS_CODE_BAD_ADD_REQUEST_WHITELIST] = {
      400, ngx_string("BAD_WHITELIST_ADD_REQUEST"),
      ngx_string("Should not specify both the IP address and the CIDR "
                 "block."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_CANNOT_ADD_ADDRESS] = {
      400, ngx_string("CANNOT_ADD_IP_ADDRESS_TO_API_KEY_ACCESS_LIST"),
      ngx_string("The address %s cannot be added to access lists."),
      NGX_HTTP_APIKEYS_CODE_NEXT_ON_WHITELIST },

    [NGX_HTTP_APIKEYS_CODE_CANNOT_ADD_ADDRESS_WHITELIST] = {
      400, ngx_string("CANNOT_ADD_IP_ADDRESS_TO_API_KEY_WHITELIST"),
      ngx_string("The address %s cannot be added to whitelists."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_DUPLICATE_ADDRESSES] = {
      400, ngx_string("DUPLICATE_ADDRESSES_IN_INPUT"),
      ngx_string("Two or more of the IP addresses being added to the access "
                 "list are the same."),
      NGX_HTTP_APIKEYS_CODE_NEXT_ON_WHITELIST },

    [NGX_HTTP_APIKEYS_CODE_DUPLICATE_ADDRESSES_WHITELIST] = {
      400, ngx_string("DUPLICATE_ADDRESSES_IN_INPUT"),
      ngx_string("Two or more of the IP addresses being added to the "
                 "whitelist are the same."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_CANNOT_REMOVE_CALLER] = {
      400, ngx_string("CANNOT_REMOVE_CALLER_FROM_ACCESS_LIST"),
      ngx_string("Cannot remove caller's IP address %s from access list."),
      NGX_HTTP_APIKEYS_CODE_NEXT_ON_WHITELIST },

    [NGX_HTTP_APIKEYS_CODE_CANNOT_REMOVE_CALLER_WHITELIST] = {
      400, ngx_string("CANNOT_REMOVE_CALLER_FROM_WHITELIST"),
      ngx_string("Cannot remove caller's IP address %s from whitelist."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED] = {
      401, ngx_string("USER_UNAUTHORIZED"),
      ngx_string("Current user is not authorized to perform this action."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_LIST_DENIED] = {
      401, ngx_string("API_KEY_ACCESS_LIST_ACCESS_DENIED"),
      ngx_string("API key access lists are only accessible by the API key or "
                 "by a user administrator."),
      NGX_HTTP_APIKEYS_CODE_NEXT_ON_WHITELIST },

    [NGX_HTTP_APIKEYS_CODE_LIST_DENIED_WHITELIST] = {
      401, ngx_string("API_KEY_WHITELIST_ACCESS_DENIED"),
      ngx_string("API key whitelists are only accessible by the API key or "
                 "by a user administrator."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_NOT_IN_GROUP] = {
      401, ngx_string("NOT_IN_GROUP"),
      ngx_string("The current user is not in the group, or the group does "
                 "not exist."),
      NGX_HTTP_APIKEYS_CODE_NEXT_ON_OPS_MANAGER },

    [NGX_HTTP_APIKEYS_CODE_GROUP_NAME_NOT_FOUND] = {
      404, ngx_string("GROUP_NAME_NOT_FOUND"),
      ngx_string("No group with name \"%s\" exists."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_ADDRESS_NOT_ON_LIST] = {
      403, ngx_string("IP_ADDRESS_NOT_ON_ACCESS_LIST"),
      ngx_string("IP address %s is not allowed to access this resource."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_ORG_REQUIRES_LIST] = {
      403, ngx_string("ORG_REQUIRES_ACCESS_LIST"),
      ngx_string("This organization requires access through an access list "
                 "of ip ranges.%-"),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_GLOBAL_ADDRESS] = {
      403, ngx_string("GLOBAL_USER_OUTSIDE_SUBNET"),
      ngx_string("Global user is from outside whitelisted subnets."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_CANNOT_ADD_GLOBAL_ROLE] = {
      403, ngx_string("CANNOT_ADD_GLOBAL_ROLE"),
      ngx_string("Adding a global role is not supported."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_ACCESS_FORBIDDEN] = {
      403, ngx_string("ACCESS_FORBIDDEN"),
      ngx_string("Access to this resource is forbidden for current user."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_CANNOT_DELETE_LAST_OWNER] = {
      403, ngx_string("CANNOT_DELETE_LAST_OWNER"),
      ngx_string("Cannot delete the last owner of the organization."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_CANNOT_DEMOTE_LAST_OWNER] = {
      403, ngx_string("CANNOT_DEMOTE_LAST_ORG_OWNER"),
      ngx_string("Cannot demote the last owner of the organization."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_CANNOT_CREATE_ORG] = {
      403, ngx_string("API_KEY_CANNOT_CREATE_ORG"),
      ngx_string("API keys cannot create organizations."),
      NGX_HTTP_APIKEYS_CODE_NEXT_ON_OPS_MANAGER },

    [NGX_HTTP_APIKEYS_CODE_CANNOT_CREATE_ORG_OPS_MANAGER] = {
      401, ngx_string("API_KEY_CANNOT_CREATE_ORG"),
      ngx_string("API keys cannot create organizations."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_ORG_NOT_FOUND] = {
      404, ngx_string("ORG_NOT_FOUND"),
      ngx_string("No organization with ID %s exists."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_GROUP_NOT_FOUND] = {
      404, ngx_string("GROUP_NOT_FOUND"),
      ngx_string("No group with ID %s exists."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_TEAM_NOT_FOUND] = {
      404, ngx_string("TEAM_NOT_FOUND"),
      ngx_string("No team with ID %s exists."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_GLOBAL_ENTRY_NOT_FOUND] = {
      404, ngx_string("GLOBAL_WHITELIST_ENTRY_NOT_FOUND"),
      ngx_string("No existing global whitelist entries match the provided "
                 "id %s."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_RESOURCE_NOT_FOUND] = {
      404, ngx_string("RESOURCE_NOT_FOUND"),
      ngx_string("Cannot find resource %s."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_ENTRY_NOT_FOUND] = {
      404, ngx_string("API_KEY_ACCESS_LIST_NOT_FOUND"),
      ngx_string("IP address %s not on access list for API key %s."),
      NGX_HTTP_APIKEYS_CODE_NEXT_ON_WHITELIST },

    [NGX_HTTP_APIKEYS_CODE_ENTRY_NOT_FOUND_WHITELIST] = {
      404, ngx_string("API_KEY_WHITELIST_NOT_FOUND"),
      ngx_string("IP address %s not on whitelist for API key %s."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_SECRET_NOT_FOUND] = {
      404, ngx_string("API_KEY_SECRET_NOT_FOUND"),
      ngx_string("No secret with ID %s exists for API key %s."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_EVENT_NOT_FOUND] = {
      404, ngx_string("EVENT_NOT_FOUND"),
      ngx_string("No event with ID %s exists for group %s."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_ORG_EVENT_NOT_FOUND] = {
      404, ngx_string("ORG_EVENT_NOT_FOUND"),
      ngx_string("No event with ID %s exists for organization %s."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_METHOD_NOT_ALLOWED] = {
      405, ngx_string("METHOD_NOT_ALLOWED"),
      ngx_string("The method %s is not allowed for this resource."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_NOT_ACCEPTABLE] = {
      406, ngx_string("NOT_ACCEPTABLE"),
      ngx_string("The Accept header must name a version of this resource, "
                 "such as application/vnd.atlas.2023-01-01+json."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_KEY_EXISTS] = {
      409, ngx_string("API_KEY_ALREADY_EXISTS"),
      ngx_string("An API key with public key %s already exists."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_MAX_SECRETS] = {
      409, ngx_string("MAX_API_KEY_SECRETS_EXCEEDED"),
      ngx_string("API key %s already has two secrets."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_CANNOT_DELETE_LAST_SECRET] = {
      409, ngx_string("CANNOT_DELETE_LAST_API_KEY_SECRET"),
      ngx_string("Cannot delete the last valid secret of API key %s."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_MAX_PROJECTS] = {
      409, ngx_string("MAX_GROUPS_PER_ORG_EXCEEDED"),
      ngx_string("Maximum number of groups per organization (%d) in %s "
                 "exceeded while trying to add group."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_ADDRESS_EXISTS] = {
      409, ngx_string("ADDRESS_ALREADY_IN_ACCESS_LIST"),
      ngx_string("The address %s is already on the access list."),
      NGX_HTTP_APIKEYS_CODE_NEXT_ON_WHITELIST },

    [NGX_HTTP_APIKEYS_CODE_ADDRESS_EXISTS_WHITELIST] = {
      409, ngx_string("ADDRESS_ALREADY_IN_WHITELIST"),
      ngx_string("The address %s is already on the whitelist."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_GROUP_EXISTS] = {
      409, ngx_string("GROUP_ALREADY_EXISTS"),
      ngx_string("A group with name \"%s\" already exists."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_MULTIPLE_GROUPS] = {
      409, ngx_string("MULTIPLE_GROUPS"),
      ngx_string("Multiple groups exist with the specified name."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_ORG_NOT_EMPTY] = {
      409, ngx_string("ORG_NOT_EMPTY"),
      ngx_string("Organization cannot be deleted because it still "
                 "contains active groups."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_REQUEST_TOO_LARGE] = {
      413, ngx_string("REQUEST_TOO_LARGE"),
      ngx_string("The request is too large."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_UNSUPPORTED_MEDIA_TYPE] = {
      415, ngx_string("UNSUPPORTED_MEDIA_TYPE"),
      ngx_string("The content type %s is not supported, use "
                 "application/json."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_RATE_LIMITED] = {
      429, ngx_string("RATE_LIMITED"),
      ngx_string("Rate limit exceeded for %s."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_UNEXPECTED_ERROR] = {
      500, ngx_string("UNEXPECTED_ERROR"),
      ngx_string("Unexpected error."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE] = {
      503, ngx_string("SERVICE_UNAVAILABLE"),
      ngx_string("The service is temporarily unavailable."),
      NGX_HTTP_APIKEYS_CODE_SAME },

    [NGX_HTTP_APIKEYS_CODE_OUTCOME_UNKNOWN] = {
      503, ngx_string("SERVICE_UNAVAILABLE"),
      ngx_string("The service is temporarily unavailable and the outcome is "
                 "unknown: the change may have been made."),
      NGX_HTTP_APIKEYS_CODE_SAME }
};

_Static_assert(sizeof(ngx_http_apikeys_codes) / sizeof(ngx_http_apikeys_code_t)
               == NGX_HTTP_APIKEYS_CODES,
               "each code has a row");


static const ngx_http_apikeys_reason_t  ngx_http_apikeys_reasons[] = {

    { 400, ngx_string("Bad Request"), NGX_HTTP_APIKEYS_CODE_BAD_REQUEST },
    { 401, ngx_string("Unauthorized"),
      NGX_HTTP_APIKEYS_CODE_USER_UNAUTHORIZED },
    { 402, ngx_string("Payment Required"), NGX_HTTP_APIKEYS_CODE_REFUSED },
    { 403, ngx_string("Forbidden"), NGX_HTTP_APIKEYS_CODE_ACCESS_FORBIDDEN },
    { 404, ngx_string("Not Found"), NGX_HTTP_APIKEYS_CODE_RESOURCE_NOT_FOUND },
    { 405, ngx_string("Method Not Allowed"),
      NGX_HTTP_APIKEYS_CODE_METHOD_NOT_ALLOWED },
    { 406, ngx_string("Not Acceptable"), NGX_HTTP_APIKEYS_CODE_NOT_ACCEPTABLE },
    { 409, ngx_string("Conflict"), NGX_HTTP_APIKEYS_CODE_REFUSED },
    { 410, ngx_string("Gone"), NGX_HTTP_APIKEYS_CODE_RESOURCE_NOT_FOUND },
    { 411, ngx_string("Length Required"), NGX_HTTP_APIKEYS_CODE_REFUSED },
    { 412, ngx_string("Precondition Failed"), NGX_HTTP_APIKEYS_CODE_REFUSED },
    { 413, ngx_string("Request Entity Too Large"),
      NGX_HTTP_APIKEYS_CODE_REQUEST_TOO_LARGE },
    { 414, ngx_string("Request-URI Too Long"),
      NGX_HTTP_APIKEYS_CODE_BAD_REQUEST },
    { 415, ngx_string("Unsupported Media Type"),
      NGX_HTTP_APIKEYS_CODE_REFUSED },
    { 416, ngx_string("Requested Range Not Satisfiable"),
      NGX_HTTP_APIKEYS_CODE_REFUSED },
    { 421, ngx_string("Misdirected Request"), NGX_HTTP_APIKEYS_CODE_REFUSED },
    { 429, ngx_string("Too Many Requests"),
      NGX_HTTP_APIKEYS_CODE_RATE_LIMITED },
    { 500, ngx_string("Internal Server Error"),
      NGX_HTTP_APIKEYS_CODE_UNEXPECTED_ERROR },
    { 501, ngx_string("Not Implemented"),
      NGX_HTTP_APIKEYS_CODE_UNEXPECTED_ERROR },
    { 502, ngx_string("Bad Gateway"),
      NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE },
    { 503, ngx_string("Service Unavailable"),
      NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE },
    { 504, ngx_string("Gateway Timeout"),
      NGX_HTTP_APIKEYS_CODE_SERVICE_UNAVAILABLE },
    { 505, ngx_string("HTTP Version Not Supported"),
      NGX_HTTP_APIKEYS_CODE_UNEXPECTED_ERROR },
    { 507, ngx_string("Insufficient Storage"),
      NGX_HTTP_APIKEYS_CODE_UNEXPECTED_ERROR },
    { 0, ngx_string(""), NGX_HTTP_APIKEYS_CODE_UNEXPECTED_ERROR }
};


const ngx_http_apikeys_code_t *
ngx_http_apikeys_code(ngx_http_apikeys_code_e code)
{
    return &ngx_http_apikeys_codes[code];
}


const ngx_str_t *
ngx_http_apikeys_code_reason(ngx_uint_t status)
{
    const ngx_http_apikeys_reason_t  *reason;

    for (reason = ngx_http_apikeys_reasons; reason->status; reason++) {
        if (reason->status == status) {
            break;
        }
    }

    return &reason->reason;
}


ngx_http_apikeys_code_e
ngx_http_apikeys_code_status(ngx_uint_t status)
{
    const ngx_http_apikeys_reason_t  *reason;

    for (reason = ngx_http_apikeys_reasons; reason->status; reason++) {
        if (reason->status == status) {
            return reason->code;
        }
    }

    return (status < 500) ? NGX_HTTP_APIKEYS_CODE_REFUSED
                          : NGX_HTTP_APIKEYS_CODE_UNEXPECTED_ERROR;
}
