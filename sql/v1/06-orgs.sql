--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Mutations of organizations.
--


-- For the operator alone.  The first key comes with the organization, or
-- nobody could make another; its secret is sealed for p_org.
CREATE FUNCTION create_org(p_caller text, p_address text,
                           p_org_roles text[], p_project_roles text[],
                           p_org text, p_name text, p_key_id text,
                           p_public_key text, p_secret text,
                           p_redacted text, p_descr text, p_roles text[])
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
BEGIN
    IF p_caller IS NOT NULL THEN
        RETURN NEXT refused('unauthorized', p_caller);
        RETURN;
    END IF;

    IF EXISTS (SELECT FROM keys WHERE public_key = p_public_key) THEN
        RETURN NEXT refused('public_key_taken', p_public_key);
        RETURN;
    END IF;

    INSERT INTO orgs (id, name) VALUES (p_org, p_name);

    PERFORM audit_event('ORG_CREATED', p_caller, p_address, p_org,
                        NULL, NULL, NULL, jsonb_build_object('name', p_name));

    IF p_key_id IS NOT NULL THEN
        PERFORM insert_key(p_caller, p_address, p_org, p_key_id,
                           p_public_key, p_secret, p_redacted, p_descr,
                           p_roles);
    END IF;

    RETURN QUERY SELECT * FROM changed_org(p_org);
    RETURN QUERY SELECT * FROM changed_key(p_key_id);
END
$$;


CREATE FUNCTION update_org_settings(p_caller text, p_address text,
                                    p_org_roles text[],
                                    p_project_roles text[], p_org text,
                                    p_required boolean)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin    record;
    v_changed  boolean;
BEGIN
    v_begin := begin_change(p_caller, p_org_roles, p_project_roles,
                            p_org, NULL, NULL);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    SELECT access_list_required <> p_required INTO v_changed
      FROM orgs WHERE id = p_org;

    -- the same again, too: see update_key()
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

    RETURN QUERY SELECT * FROM changed_org(p_org);
END
$$;
