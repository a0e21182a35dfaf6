--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Mutations of organizations.  As in the files that follow: a function is one
-- change, returns the state that the API answers with and then those of other
-- objects it changed, and fails with an SQLSTATE of class AK.
--

\set ON_ERROR_STOP on

BEGIN;

SELECT pg_advisory_xact_lock(hashtext('apikeys.schema_version'));

SELECT EXISTS (SELECT FROM apikeys.schema_version WHERE version = 6)
       AS applied \gset
\if :applied
    ROLLBACK;
    \quit
\endif

SET LOCAL search_path = apikeys, pg_catalog;


-- For the operator alone.  The first key comes with the organization, or
-- nobody could make another.
CREATE FUNCTION create_org(p_caller text, p_address text,
                           p_org_roles text[], p_project_roles text[],
                           p_name text, p_key_id text, p_public_key text,
                           p_secret text, p_redacted text, p_descr text,
                           p_roles text[])
RETURNS SETOF state
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_org  text := new_id();
BEGIN
    IF p_caller IS NOT NULL THEN
        RAISE EXCEPTION 'only the operator creates organizations'
            USING ERRCODE = 'AK002', DETAIL = p_caller;
    END IF;

    INSERT INTO orgs (id, name) VALUES (v_org, p_name);

    PERFORM audit_event('ORG_CREATED', p_caller, p_address, v_org,
                        NULL, NULL, NULL, jsonb_build_object('name', p_name));

    IF p_key_id IS NOT NULL THEN
        INSERT INTO keys (id, org_id, public_key, secret, redacted, descr,
                          roles)
            VALUES (p_key_id, v_org, p_public_key, decode(p_secret, 'hex'),
                    p_redacted, p_descr, p_roles);

        PERFORM audit_event('API_KEY_CREATED', p_caller, p_address, v_org,
                            NULL, p_key_id, NULL, key_json(p_key_id));
    END IF;

    RETURN QUERY SELECT * FROM org_states WHERE id = v_org;
    RETURN QUERY SELECT * FROM key_states WHERE id = p_key_id;
END
$$;


CREATE FUNCTION update_org_settings(p_caller text, p_address text,
                                    p_org_roles text[],
                                    p_project_roles text[], p_org text,
                                    p_required boolean)
RETURNS SETOF state
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_changed  boolean;
BEGIN
    PERFORM begin_change(p_caller, p_org_roles, p_project_roles,
                         p_org, NULL, NULL);

    SELECT access_list_required <> p_required INTO v_changed
      FROM orgs WHERE id = p_org;

    -- the same again, too: see set_key()
    UPDATE orgs SET access_list_required
                        = coalesce(p_required, access_list_required)
     WHERE id = p_org;

    IF v_changed THEN
        PERFORM audit_event(CASE WHEN p_required
                            THEN 'ORG_PUBLIC_API_ACCESS_LIST_REQUIRED'
                            ELSE 'ORG_PUBLIC_API_ACCESS_LIST_NOT_REQUIRED'
                            END, p_caller, p_address, p_org, NULL, NULL,
                            jsonb_build_object('apiAccessListRequired',
                                               NOT p_required),
                            jsonb_build_object('apiAccessListRequired',
                                               p_required));
    END IF;

    RETURN QUERY SELECT * FROM org_states WHERE id = p_org;
END
$$;


REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA apikeys FROM PUBLIC;

INSERT INTO schema_version (version) VALUES (6);

COMMIT;
