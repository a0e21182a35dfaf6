--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Mutations of projects.
--

\set ON_ERROR_STOP on

BEGIN;

SELECT pg_advisory_xact_lock(hashtext('apikeys.schema_version'));

SELECT EXISTS (SELECT FROM apikeys.schema_version WHERE version = 7)
       AS applied \gset
\if :applied
    ROLLBACK;
    \quit
\endif

SET LOCAL search_path = apikeys, pg_catalog;


-- The calling key becomes the owner of what it made.
CREATE FUNCTION create_project(p_caller text, p_address text,
                               p_org_roles text[], p_project_roles text[],
                               p_org text, p_name text)
RETURNS SETOF state
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_project  text := new_id();
    v_before   jsonb;
BEGIN
    PERFORM begin_change(p_caller, p_org_roles, p_project_roles,
                         p_org, NULL, NULL);

    v_before := key_json(p_caller);

    INSERT INTO projects (id, org_id, name)
        VALUES (v_project, p_org, p_name);

    PERFORM audit_event('GROUP_CREATED', p_caller, p_address, p_org,
                        v_project, NULL, NULL,
                        jsonb_build_object('name', p_name));

    IF p_caller IS NOT NULL THEN
        INSERT INTO key_projects (key_id, project_id, org_id, roles)
            VALUES (p_caller, v_project, p_org, '{GROUP_OWNER}');

        PERFORM audit_event('API_KEY_ADDED_TO_GROUP', p_caller, p_address,
                            p_org, v_project, p_caller, v_before,
                            key_json(p_caller));
    END IF;

    RETURN QUERY SELECT * FROM project_states WHERE id = v_project;
    RETURN QUERY SELECT * FROM key_states WHERE id = p_caller;
END
$$;


REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA apikeys FROM PUBLIC;

INSERT INTO schema_version (version) VALUES (7);

COMMIT;
