--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Mutations of global keys and of their access list, which is one for all.
-- They write rows of the audit and no events, as events belong to an
-- organization.
--


-- All changes of global keys and of their list, those of psql as well, lock
-- the row of default_quotas (there is no organization to lock) and so run one
-- after the other: a new key gets the current list, and a changed list changes
-- every existing key.
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


-- The first call of each mutation here, as begin_change(): locks the rows,
-- then checks the caller.
CREATE FUNCTION begin_global(p_caller text, p_caller_secret text,
                             p_key text,
                             p_delete boolean DEFAULT false,
                             OUT refusal text, OUT detail text)
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('apikeys.asked', 'on', true);

    PERFORM FROM default_quotas FOR NO KEY UPDATE;

    -- these calls wait for each other above, so the order does not matter
    PERFORM FROM keys WHERE id = p_caller AND id IS DISTINCT FROM p_key
        FOR SHARE;

    IF p_delete THEN
        PERFORM FROM keys WHERE id = p_key FOR UPDATE;
    ELSE
        PERFORM FROM keys WHERE id = p_key FOR NO KEY UPDATE;
    END IF;

    IF NOT is_active(p_caller, p_caller_secret) THEN
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


CREATE FUNCTION create_global_key(p_caller text, p_caller_secret text,
                                  p_address text, p_org_roles text[],
                                  p_project_roles text[], p_key_id text,
                                  p_public_key text,
                                  p_secret text, p_redacted text,
                                  p_key_attributes jsonb)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_max    integer;
    v_key    keys;
BEGIN
    v_begin := begin_global(p_caller, p_caller_secret, NULL);

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

    v_key := insert_key_row(NULL, p_key_id, p_public_key, p_secret,
                            p_redacted, p_key_attributes);

    PERFORM audit_row('GLOBAL_API_KEY_CREATED', p_caller, p_address, NULL,
                      NULL, p_key_id, NULL, key_image(v_key));

    RETURN QUERY SELECT * FROM changed_key(p_key_id);
END
$$;


CREATE FUNCTION update_global_key(p_caller text, p_caller_secret text,
                                  p_address text, p_org_roles text[],
                                  p_project_roles text[], p_key text,
                                  p_key_attributes jsonb)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_old    keys;
    v_new    keys;
BEGIN
    v_begin := begin_global(p_caller, p_caller_secret, p_key);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    SELECT * INTO v_old FROM keys WHERE id = p_key;

    v_new := update_key_row(p_key, p_key_attributes);

    IF key_attributes(v_old) <> key_attributes(v_new) THEN
        PERFORM audit_row('GLOBAL_API_KEY_CHANGED', p_caller, p_address, NULL,
                          NULL, p_key, key_attributes(v_old),
                          key_attributes(v_new));
    END IF;

    RETURN QUERY SELECT * FROM changed_key(p_key);
END
$$;


CREATE FUNCTION delete_global_key(p_caller text, p_caller_secret text,
                                  p_address text, p_org_roles text[],
                                  p_project_roles text[], p_key text)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_old    keys;
BEGIN
    v_begin := begin_global(p_caller, p_caller_secret, p_key, p_delete => true);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    DELETE FROM keys WHERE id = p_key RETURNING * INTO v_old;

    PERFORM audit_row('GLOBAL_API_KEY_DELETED', p_caller, p_address, NULL,
                      NULL, p_key, key_image(v_old), NULL);

    RETURN QUERY SELECT * FROM gone('key', ARRAY[p_key]);
END
$$;


-- The result of a change of the list: the states of all global keys.
CREATE FUNCTION changed_global_keys() RETURNS SETOF outcome
LANGUAGE sql SET search_path = apikeys, pg_catalog, pg_temp AS $$
    SELECT NULL::text, NULL::text, ROW(s.*)::state
      FROM key_states s WHERE s.org_id IS NULL
$$;


CREATE FUNCTION add_global_entry(p_caller text, p_caller_secret text,
                                 p_address text, p_org_roles text[],
                                 p_project_roles text[], p_id text,
                                 p_entry text, p_descr text)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_max    integer;
BEGIN
    v_begin := begin_global(p_caller, p_caller_secret, NULL);

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
CREATE FUNCTION update_global_entry(p_caller text, p_caller_secret text,
                                    p_address text,
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
    v_begin := begin_global(p_caller, p_caller_secret, NULL);

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


CREATE FUNCTION delete_global_entry(p_caller text, p_caller_secret text,
                                    p_address text,
                                    p_org_roles text[],
                                    p_project_roles text[], p_id text)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_old    global_access_list;
BEGIN
    v_begin := begin_global(p_caller, p_caller_secret, NULL);

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
