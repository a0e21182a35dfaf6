--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- The rights of the role that nginx connects as: it reads what exists and
-- changes it through the functions alone.  It cannot write a table, read the
-- audit, or call what the functions are made of.  Apply it as the owner of
-- the schema, after the numbered files and again after each new one:
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
    schema_version, orgs, projects, keys, key_projects, access_list,
    access_usage, changes, feed_uuid, feed, org_states, project_states,
    key_states, access_entries, load
    TO :"role";

GRANT EXECUTE ON FUNCTION
    utc, identity, running_at, changes_since, feed_since,
    heartbeat, sign_off, waiting_for, prune, flush_usage, check_master_key,
    create_org, update_org_settings, create_project,
    create_key, update_key, delete_key,
    set_key_grants, assign_key, unassign_key,
    add_access_entries, delete_access_entry
    TO :"role";

COMMIT;
