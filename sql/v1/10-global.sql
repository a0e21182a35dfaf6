--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Mutations of global keys and of their one access list.  They leave rows in
-- the audit and no events: these belong to organizations.
--


-- In place of an organization, the row of the default quotas makes all changes
-- of global keys and of their list follow one another, those of psql as well:
-- a key that is made has the list that is there, and a list that changes
-- changes every key that is there.
CREATE FUNCTION lock_global() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM default_quotas FOR NO KEY UPDATE;

    RETURN NEW;
END
$$;

CREATE TRIGGER a_lock BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON global_access_list
    FOR EACH STATEMENT EXECUTE FUNCTION lock_global();
CREATE TRIGGER a_lock BEFORE INSERT ON keys
    FOR EACH ROW WHEN (NEW.org_id IS NULL) EXECUTE FUNCTION lock_global();


-- As begin_change(): locks, then who may.
CREATE FUNCTION begin_global(p_caller text, p_key text,
                             p_delete boolean DEFAULT false,
                             OUT refusal text, OUT detail text)
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM default_quotas FOR NO KEY UPDATE;

    -- all of these wait for one another here, so the order does not matter
    PERFORM FROM keys WHERE id = p_caller AND id IS DISTINCT FROM p_key
        FOR SHARE;

    IF p_delete THEN
        PERFORM FROM keys WHERE id = p_key FOR UPDATE;
    ELSE
        PERFORM FROM keys WHERE id = p_key FOR NO KEY UPDATE;
    END IF;

    IF p_caller IS NOT NULL
       AND NOT EXISTS (SELECT FROM keys WHERE id = p_caller)
    THEN
        refusal := 'caller_gone';
        detail := p_caller;

    ELSIF NOT is_operator(p_caller) THEN
        refusal := 'unauthorized';
        detail := p_caller;

    ELSIF p_key IS NOT NULL
          AND NOT EXISTS (SELECT FROM keys
                           WHERE id = p_key AND org_id IS NULL)
    THEN
        refusal := 'key_not_found';
        detail := p_key;
    END IF;
END
$$;


CREATE FUNCTION create_global_key(p_caller text, p_address text,
                                  p_org_roles text[], p_project_roles text[],
                                  p_key_id text, p_public_key text,
                                  p_secret text, p_redacted text,
                                  p_descr text, p_roles text[])
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_max    integer;
BEGIN
    v_begin := begin_global(p_caller, NULL);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    IF EXISTS (SELECT FROM keys WHERE public_key = p_public_key) THEN
        RETURN NEXT refused('public_key_taken', p_public_key);
        RETURN;
    END IF;

    SELECT global_keys INTO v_max FROM default_quotas;

    IF (SELECT count(*) FROM keys WHERE org_id IS NULL) >= v_max THEN
        RETURN NEXT refused('max_global_keys', v_max);
        RETURN;
    END IF;

    INSERT INTO keys (id, public_key, secret, redacted, descr, roles)
        VALUES (p_key_id, p_public_key, decode(p_secret, 'hex'), p_redacted,
                p_descr, p_roles);

    PERFORM audit_row('GLOBAL_API_KEY_CREATED', p_caller, p_address, NULL,
                      NULL, p_key_id, NULL,
                      jsonb_build_object('publicKey', p_public_key,
                                         'redacted', p_redacted,
                                         'desc', p_descr,
                                         'roles', sorted_roles(p_roles)));

    RETURN QUERY SELECT * FROM changed_key(p_key_id);
END
$$;


-- Sets what is not null.
CREATE FUNCTION update_global_key(p_caller text, p_address text,
                                  p_org_roles text[], p_project_roles text[],
                                  p_key text, p_descr text, p_roles text[])
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_old    keys;
    v_new    keys;
BEGIN
    v_begin := begin_global(p_caller, p_key);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    SELECT * INTO v_old FROM keys WHERE id = p_key;

    UPDATE keys SET descr = coalesce(p_descr, descr),
                    roles = coalesce(p_roles, roles)
     WHERE id = p_key
    RETURNING * INTO v_new;

    IF (v_old.descr, v_old.roles) <> (v_new.descr, v_new.roles) THEN
        PERFORM audit_row('GLOBAL_API_KEY_CHANGED', p_caller, p_address, NULL,
                          NULL, p_key,
                          jsonb_build_object('desc', v_old.descr,
                                             'roles', v_old.roles),
                          jsonb_build_object('desc', v_new.descr,
                                             'roles', v_new.roles));
    END IF;

    RETURN QUERY SELECT * FROM changed_key(p_key);
END
$$;


CREATE FUNCTION delete_global_key(p_caller text, p_address text,
                                  p_org_roles text[], p_project_roles text[],
                                  p_key text)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_old    keys;
BEGIN
    v_begin := begin_global(p_caller, p_key, p_delete => true);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    DELETE FROM keys WHERE id = p_key RETURNING * INTO v_old;

    PERFORM audit_row('GLOBAL_API_KEY_DELETED', p_caller, p_address, NULL,
                      NULL, p_key,
                      jsonb_build_object('publicKey', v_old.public_key,
                                         'redacted', v_old.redacted,
                                         'desc', v_old.descr,
                                         'roles', v_old.roles), NULL);

    RETURN QUERY SELECT * FROM gone('key', ARRAY[p_key]);
END
$$;


-- What a change of the list changes: all global keys.
CREATE FUNCTION changed_global_keys() RETURNS SETOF outcome
LANGUAGE sql SET search_path = apikeys, pg_catalog, pg_temp AS $$
    SELECT NULL::text, NULL::text, ROW(s.*)::state
      FROM key_states s WHERE s.org_id IS NULL
$$;


CREATE FUNCTION add_global_entry(p_caller text, p_address text,
                                 p_org_roles text[], p_project_roles text[],
                                 p_id text, p_entry text, p_descr text)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_max    integer;
BEGIN
    v_begin := begin_global(p_caller, NULL);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    IF EXISTS (SELECT FROM global_access_list WHERE cidr = p_entry::cidr) THEN
        RETURN NEXT refused('global_entry_exists', p_entry);
        RETURN;
    END IF;

    SELECT global_entries INTO v_max FROM default_quotas;

    IF (SELECT count(*) FROM global_access_list) >= v_max THEN
        RETURN NEXT refused('max_global_entries', v_max);
        RETURN;
    END IF;

    INSERT INTO global_access_list (id, cidr, descr)
        VALUES (p_id, p_entry::cidr, p_descr);

    PERFORM audit_row('GLOBAL_ACCESS_LIST_ENTRY_ADDED', p_caller, p_address,
                      NULL, NULL, NULL, NULL,
                      jsonb_build_object('entry', p_entry, 'desc', p_descr));

    RETURN QUERY SELECT * FROM changed_global_keys();
END
$$;


-- Sets what is not null.
CREATE FUNCTION update_global_entry(p_caller text, p_address text,
                                    p_org_roles text[],
                                    p_project_roles text[], p_id text,
                                    p_entry text, p_descr text)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_old    global_access_list;
    v_new    global_access_list;
BEGIN
    v_begin := begin_global(p_caller, NULL);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    SELECT * INTO v_old FROM global_access_list WHERE id = p_id FOR UPDATE;

    IF NOT FOUND THEN
        RETURN NEXT refused('global_entry_not_found', p_id);
        RETURN;
    END IF;

    IF EXISTS (SELECT FROM global_access_list
                WHERE cidr = p_entry::cidr AND id <> p_id)
    THEN
        RETURN NEXT refused('global_entry_exists', p_entry);
        RETURN;
    END IF;

    UPDATE global_access_list SET cidr = coalesce(p_entry::cidr, cidr),
                                  descr = coalesce(p_descr, descr),
                                  updated = now()
     WHERE id = p_id
    RETURNING * INTO v_new;

    PERFORM audit_row('GLOBAL_ACCESS_LIST_ENTRY_CHANGED', p_caller,
                      p_address, NULL, NULL, NULL,
                      jsonb_build_object('entry', text(v_old.cidr),
                                         'desc', v_old.descr),
                      jsonb_build_object('entry', text(v_new.cidr),
                                         'desc', v_new.descr));

    RETURN QUERY SELECT * FROM changed_global_keys();
END
$$;


CREATE FUNCTION delete_global_entry(p_caller text, p_address text,
                                    p_org_roles text[],
                                    p_project_roles text[], p_id text)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_old    global_access_list;
BEGIN
    v_begin := begin_global(p_caller, NULL);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    SELECT * INTO v_old FROM global_access_list WHERE id = p_id FOR UPDATE;

    IF NOT FOUND THEN
        RETURN NEXT refused('global_entry_not_found', p_id);
        RETURN;
    END IF;

    DELETE FROM global_access_list WHERE id = p_id;

    PERFORM audit_row('GLOBAL_ACCESS_LIST_ENTRY_DELETED', p_caller,
                      p_address, NULL, NULL, NULL,
                      jsonb_build_object('entry', text(v_old.cidr),
                                         'desc', v_old.descr), NULL);

    RETURN QUERY SELECT * FROM changed_global_keys();
END
$$;
