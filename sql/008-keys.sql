--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Mutations of keys and of their roles in projects.
--

\set ON_ERROR_STOP on

BEGIN;

SELECT pg_advisory_xact_lock(hashtext('apikeys.schema_version'));

SELECT EXISTS (SELECT FROM apikeys.schema_version WHERE version = 8)
       AS applied \gset
\if :applied
    ROLLBACK;
    \quit
\endif

SET LOCAL search_path = apikeys, pg_catalog;


-- On an organization p_project and p_grants are null; on a project p_org is.
CREATE FUNCTION create_key(p_caller text, p_address text,
                           p_org_roles text[], p_project_roles text[],
                           p_org text, p_project text, p_key_id text,
                           p_public_key text, p_secret text,
                           p_redacted text, p_descr text, p_roles text[],
                           p_grants text[])
RETURNS SETOF state
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_org  text;
BEGIN
    v_org := begin_change(p_caller, p_org_roles, p_project_roles,
                          p_org, p_project, NULL);

    IF (SELECT count(*) FROM keys WHERE org_id = v_org) >= 500 THEN
        RAISE EXCEPTION 'the organization has 500 keys'
            USING ERRCODE = 'AK020', DETAIL = v_org;
    END IF;

    INSERT INTO keys (id, org_id, public_key, secret, redacted, descr, roles)
        VALUES (p_key_id, v_org, p_public_key, decode(p_secret, 'hex'),
                p_redacted, p_descr, coalesce(p_roles, '{}'));

    IF p_project IS NOT NULL THEN
        INSERT INTO key_projects (key_id, project_id, org_id, roles)
            VALUES (p_key_id, p_project, v_org, p_grants);
    END IF;

    PERFORM audit_event('API_KEY_CREATED', p_caller, p_address, v_org,
                        p_project, p_key_id, NULL, key_json(p_key_id));

    RETURN QUERY SELECT * FROM key_states WHERE id = p_key_id;
END
$$;


-- Sets what is not null, and notes in the audit what became different.  The
-- same again is written, too: who asks for a receipt waits for a change that
-- the feed brings to every instance.
CREATE FUNCTION set_key(p_caller text, p_address text, p_org text,
                        p_key text, p_descr text, p_roles text[])
RETURNS void
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_before  jsonb := key_json(p_key);
    v_after   jsonb;
BEGIN
    UPDATE keys SET descr = coalesce(p_descr, descr),
                    roles = coalesce(sorted_roles(p_roles), roles)
     WHERE id = p_key;

    v_after := key_json(p_key);

    IF v_after -> 'desc' <> v_before -> 'desc' THEN
        PERFORM audit_event('API_KEY_DESCRIPTION_CHANGED', p_caller,
                            p_address, p_org, NULL, p_key, v_before, v_after);
    END IF;

    IF v_after -> 'roles' <> v_before -> 'roles' THEN
        PERFORM audit_event('API_KEY_ROLES_CHANGED', p_caller,
                            p_address, p_org, NULL, p_key, v_before, v_after);
    END IF;
END
$$;


CREATE FUNCTION update_key(p_caller text, p_address text,
                           p_org_roles text[], p_project_roles text[],
                           p_org text, p_key text, p_descr text,
                           p_roles text[])
RETURNS SETOF state
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    PERFORM begin_change(p_caller, p_org_roles, p_project_roles,
                         p_org, NULL, p_key);

    IF p_caller IS NOT NULL
       AND NOT 'ORG_OWNER' = ANY (p_roles)
       AND EXISTS (SELECT FROM keys
                    WHERE id = p_key AND 'ORG_OWNER' = ANY (roles))
       AND NOT has_other_owner(p_org, p_key)
    THEN
        RAISE EXCEPTION 'the last owner of the organization'
            USING ERRCODE = 'AK022', DETAIL = p_key;
    END IF;

    PERFORM set_key(p_caller, p_address, p_org, p_key, p_descr, p_roles);

    RETURN QUERY SELECT * FROM key_states WHERE id = p_key;
END
$$;


-- The list is locked before it goes with the key, in the order in which
-- flush_usage() locks it.
CREATE FUNCTION delete_key(p_caller text, p_address text,
                           p_org_roles text[], p_project_roles text[],
                           p_org text, p_key text)
RETURNS SETOF state
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_state   state;
    v_before  jsonb;
BEGIN
    PERFORM begin_change(p_caller, p_org_roles, p_project_roles,
                         p_org, NULL, p_key, p_delete => true);

    IF p_caller IS NOT NULL
       AND EXISTS (SELECT FROM keys
                    WHERE id = p_key AND 'ORG_OWNER' = ANY (roles))
       AND NOT has_other_owner(p_org, p_key)
    THEN
        RAISE EXCEPTION 'the last owner of the organization'
            USING ERRCODE = 'AK021', DETAIL = p_key;
    END IF;

    PERFORM FROM access_list WHERE key_id = p_key ORDER BY cidr FOR UPDATE;

    SELECT key_json(p_key) || jsonb_build_object('entries',
               (SELECT coalesce(jsonb_agg(text(cidr) ORDER BY cidr), '[]')
                  FROM access_list WHERE key_id = p_key))
      INTO v_before;

    SELECT 'key', id, NULL, true, org_id, public_key INTO v_state
      FROM keys WHERE id = p_key;

    DELETE FROM keys WHERE id = p_key;

    PERFORM audit_event('API_KEY_DELETED', p_caller, p_address, p_org,
                        NULL, p_key, v_before, NULL);

    SELECT max(version) INTO v_state.version FROM changes
     WHERE xid = pg_current_xact_id() AND kind = 'key' AND id = p_key;

    RETURN NEXT v_state;
END
$$;


-- Gives the key these roles in the project, replacing those it has there.
-- Without roles the key must be in the project: a project's owner has no
-- business with the description of other keys.
CREATE FUNCTION set_key_grants(p_caller text, p_address text,
                               p_org_roles text[], p_project_roles text[],
                               p_project text, p_key text, p_descr text,
                               p_grants text[])
RETURNS SETOF state
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_org     text;
    v_before  jsonb;
    v_added   boolean;
BEGIN
    v_org := begin_change(p_caller, p_org_roles, p_project_roles,
                          NULL, p_project, p_key);

    v_before := key_json(p_key);
    v_added := NOT v_before -> 'projects' ? p_project;

    IF v_added AND p_grants IS NULL THEN
        RAISE EXCEPTION 'the key is not in the project'
            USING ERRCODE = 'AK012', DETAIL = p_key;
    END IF;

    INSERT INTO key_projects AS t (key_id, project_id, org_id, roles)
        SELECT p_key, p_project, v_org, p_grants WHERE p_grants IS NOT NULL
    ON CONFLICT (key_id, project_id) DO UPDATE SET roles = excluded.roles
        WHERE t.roles <> excluded.roles;

    IF FOUND THEN
        PERFORM audit_event(CASE WHEN v_added THEN 'API_KEY_ADDED_TO_GROUP'
                                 ELSE 'API_KEY_ROLES_CHANGED' END,
                            p_caller, p_address, v_org, p_project, p_key,
                            v_before, key_json(p_key));
    END IF;

    PERFORM set_key(p_caller, p_address, v_org, p_key, p_descr, NULL);

    RETURN QUERY SELECT * FROM key_states WHERE id = p_key;
END
$$;


CREATE FUNCTION assign_key(p_caller text, p_address text,
                           p_org_roles text[], p_project_roles text[],
                           p_project text, p_key text, p_grants text[])
RETURNS SETOF state
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_org     text;
    v_before  jsonb;
BEGIN
    v_org := begin_change(p_caller, p_org_roles, p_project_roles,
                          NULL, p_project, p_key);

    v_before := key_json(p_key);

    INSERT INTO key_projects (key_id, project_id, org_id, roles)
        VALUES (p_key, p_project, v_org, p_grants)
    ON CONFLICT (key_id, project_id) DO NOTHING;

    IF NOT FOUND THEN
        RAISE EXCEPTION 'the key is in the project'
            USING ERRCODE = 'AK023', DETAIL = p_key;
    END IF;

    PERFORM audit_event('API_KEY_ADDED_TO_GROUP', p_caller, p_address,
                        v_org, p_project, p_key, v_before, key_json(p_key));

    RETURN QUERY SELECT * FROM key_states WHERE id = p_key;
END
$$;


CREATE FUNCTION unassign_key(p_caller text, p_address text,
                             p_org_roles text[], p_project_roles text[],
                             p_project text, p_key text)
RETURNS SETOF state
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_org     text;
    v_before  jsonb;
BEGIN
    v_org := begin_change(p_caller, p_org_roles, p_project_roles,
                          NULL, p_project, p_key);

    v_before := key_json(p_key);

    DELETE FROM key_projects
     WHERE key_id = p_key AND project_id = p_project;

    IF NOT FOUND THEN
        RAISE EXCEPTION 'the key is not in the project'
            USING ERRCODE = 'AK012', DETAIL = p_key;
    END IF;

    PERFORM audit_event('API_KEY_REMOVED_FROM_GROUP', p_caller, p_address,
                        v_org, p_project, p_key, v_before, key_json(p_key));

    RETURN QUERY SELECT * FROM key_states WHERE id = p_key;
END
$$;


REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA apikeys FROM PUBLIC;

INSERT INTO schema_version (version) VALUES (8);

COMMIT;
