--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Mutations of organizations.
--


-- For the operator alone.  Creates the organization with its first key, if
-- p_key_id is not null: without an owner's key only the operator could create
-- keys.  The secret is sealed for p_org.
CREATE FUNCTION create_org(p_caller text, p_caller_secret text,
                           p_address text, p_org_roles text[],
                           p_project_roles text[], p_org text, p_name text,
                           p_attributes jsonb,
                           p_key_id text, p_public_key text, p_secret text,
                           p_redacted text, p_key_attributes jsonb)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_refusal  outcome;
BEGIN
    PERFORM set_config('apikeys.asked', 'on', true);
    PERFORM lock_caller(p_caller);

    IF NOT is_active(p_caller, p_caller_secret) THEN
        RETURN NEXT refused('caller_gone', p_caller);
        RETURN;
    END IF;

    IF NOT is_operator(p_caller) THEN
        RETURN NEXT refused('unauthorized', p_caller);
        RETURN;
    END IF;

    IF EXISTS (SELECT FROM keys WHERE public_key = p_public_key) THEN
        RETURN NEXT refused('public_key_taken', p_public_key);
        RETURN;
    END IF;

    v_refusal := refuse_entries(p_org, p_key_id,
                                attribute_entries(p_key_attributes),
                                attribute_entry_attributes(p_key_attributes));

    IF v_refusal.refusal IS NOT NULL THEN
        RETURN NEXT v_refusal;
        RETURN;
    END IF;

    INSERT INTO orgs (id, name, attributes)
        VALUES (p_org, p_name, coalesce(p_attributes, '{}'));

    PERFORM audit_event('ORG_CREATED', p_caller, p_address, p_org,
                        NULL, NULL, NULL, jsonb_build_object('name', p_name));

    IF p_key_id IS NOT NULL THEN
        PERFORM insert_key(p_caller, p_address, p_org, p_key_id,
                           p_public_key, p_secret, p_redacted,
                           p_key_attributes);
    END IF;

    RETURN QUERY SELECT * FROM changed_org(p_org);
    RETURN QUERY SELECT * FROM changed_key(p_key_id);
END
$$;


-- Sets what is not null: the name, whether keys need an access list, and the
-- attributes that are given; other attributes stay.
CREATE FUNCTION update_org(p_caller text, p_caller_secret text,
                           p_address text, p_org_roles text[],
                           p_project_roles text[], p_org text, p_name text,
                           p_required boolean,
                           p_attributes jsonb)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_old    orgs;
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, p_org, NULL, NULL);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    SELECT * INTO v_old FROM orgs WHERE id = p_org;

    -- update even if unchanged, see update_key_row() in 08-keys.sql
    UPDATE orgs SET name = coalesce(p_name, name),
                    access_list_required
                        = coalesce(p_required, access_list_required),
                    attributes = attributes || coalesce(p_attributes, '{}')
     WHERE id = p_org;

    IF p_name <> v_old.name THEN
        PERFORM audit_event('ORG_RENAMED', p_caller, p_address, p_org, NULL,
                            NULL, jsonb_build_object('name', v_old.name),
                            jsonb_build_object('name', p_name));
    END IF;

    IF p_required <> v_old.access_list_required THEN
        PERFORM audit_event(CASE WHEN p_required
                            THEN 'ORG_PUBLIC_API_ACCESS_LIST_REQUIRED'
                            ELSE 'ORG_PUBLIC_API_ACCESS_LIST_NOT_REQUIRED'
                            END, p_caller, p_address, p_org, NULL, NULL,
                            jsonb_build_object('apiAccessListRequired',
                                               NOT p_required),
                            jsonb_build_object('apiAccessListRequired',
                                               p_required));
    END IF;

    PERFORM audit_attributes('ORG_ATTRIBUTES_CHANGED', p_caller, p_address,
                             p_org, NULL, v_old.attributes, p_attributes);

    RETURN QUERY SELECT * FROM changed_org(p_org);
END
$$;


-- Refused while the organization has projects.  Its keys, the caller's too,
-- are deleted with it: their access lists are locked first, in the order in
-- which flush_usage() locks them.
CREATE FUNCTION delete_org(p_caller text, p_caller_secret text,
                           p_address text, p_org_roles text[],
                           p_project_roles text[], p_org text)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_old    orgs;
    v_keys   text[];
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, p_org, NULL, NULL,
                            p_delete => true);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    IF EXISTS (SELECT FROM projects WHERE org_id = p_org) THEN
        RETURN NEXT refused('org_not_empty', p_org);
        RETURN;
    END IF;

    SELECT * INTO v_old FROM orgs WHERE id = p_org;

    v_keys := ARRAY(SELECT k.id FROM (SELECT id FROM keys
                                       WHERE org_id = p_org
                                       ORDER BY id FOR UPDATE) k);

    PERFORM FROM access_list WHERE key_id = ANY (v_keys)
      ORDER BY key_id, cidr FOR UPDATE;

    PERFORM audit_row('ORG_DELETED', p_caller, p_address, p_org, NULL, NULL,
                      jsonb_build_object(
                          'name', v_old.name,
                          'keys', (SELECT coalesce(jsonb_agg(public_key
                                                   ORDER BY public_key), '[]')
                                     FROM keys WHERE org_id = p_org)), NULL);

    DELETE FROM orgs WHERE id = p_org;

    RETURN QUERY SELECT * FROM gone('org', ARRAY[p_org]);
    RETURN QUERY SELECT * FROM gone('key', v_keys);
END
$$;
