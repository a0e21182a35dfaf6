--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- The rights of the role that nginx connects as: it reads what exists and
-- changes it through the functions alone.  It cannot write a table, read the
-- audit, or call internal functions.  Apply it as the owner of the schema,
-- after sql/apply.sh, and again after each upgrade:
--
--     CREATE ROLE apikeys_nginx LOGIN;
--     psql -X -v ON_ERROR_STOP=1 -f sql/grants.sql
--
-- Another role: -v role=NAME.
--

\set ON_ERROR_STOP on

\if :{?role}
\else
    \set role apikeys_nginx
\endif

BEGIN;

SET LOCAL search_path = apikeys, pg_catalog;

GRANT USAGE ON SCHEMA apikeys TO :"role";

GRANT SELECT ON
    schema_version, orgs, projects, keys, older_secrets, secrets, key_projects,
    access_list,
    access_usage, global_access_list, changes, feed_uuid, feed, org_states,
    project_states, key_states, access_entries, load, events, shown_events
    TO :"role";

GRANT EXECUTE ON FUNCTION
    utc, global_entries, list_events,
    database_identity, identity, changes_since, feed_states, feed_since,
    announce, tell, heartbeat, sign_off, waiting_for, only_node, prune,
    flush_usage,
    check_master_keys, sealing, sealed_otherwise, seal_anew, end_pass,
    create_org, update_org, delete_org,
    create_project, update_project, delete_project,
    create_key, update_key, delete_key,
    add_secret, update_secret, delete_secret,
    set_key_grants, assign_key, unassign_key,
    add_access_entries, update_access_entry, delete_access_entry,
    create_global_key, update_global_key, delete_global_key,
    add_global_entry, update_global_entry, delete_global_entry
    TO :"role";

COMMIT;
