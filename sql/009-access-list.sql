--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Mutations of access lists.
--

\set ON_ERROR_STOP on

BEGIN;

SELECT pg_advisory_xact_lock(hashtext('apikeys.schema_version'));

SELECT EXISTS (SELECT FROM apikeys.schema_version WHERE version = 9)
       AS applied \gset
\if :applied
    ROLLBACK;
    \quit
\endif

SET LOCAL search_path = apikeys, pg_catalog;


-- An entry as clients see it: a single address without its length.
CREATE FUNCTION shown(p_entry cidr) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN masklen(p_entry) = CASE family(p_entry) WHEN 4 THEN 32
                                                             ELSE 128 END
                THEN host(p_entry) ELSE text(p_entry) END
$$;


-- All or nothing.  What is there already is said before what is too much.
CREATE FUNCTION add_access_entries(p_caller text, p_address text,
                                   p_org_roles text[],
                                   p_project_roles text[], p_org text,
                                   p_key text, p_entries text[])
RETURNS SETOF state
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_present  cidr;
BEGIN
    PERFORM begin_change(p_caller, p_org_roles, p_project_roles,
                         p_org, NULL, p_key);

    SELECT a.cidr INTO v_present
      FROM unnest(p_entries) WITH ORDINALITY AS e (entry, position)
      JOIN access_list a ON a.key_id = p_key AND a.cidr = e.entry::cidr
     ORDER BY e.position
     LIMIT 1;

    IF FOUND THEN
        RAISE EXCEPTION 'the entry exists'
            USING ERRCODE = 'AK031', DETAIL = shown(v_present);
    END IF;

    IF (SELECT count(*) FROM access_list WHERE key_id = p_key)
       + cardinality(p_entries) > 10000
    THEN
        RAISE EXCEPTION 'more than 10000 entries'
            USING ERRCODE = 'AK030', DETAIL = p_key;
    END IF;

    INSERT INTO access_list (key_id, cidr)
        SELECT p_key, e::cidr FROM unnest(p_entries) AS e ORDER BY e::cidr;

    PERFORM audit_event('API_KEY_ACCESS_LIST_ENTRY_ADDED', p_caller,
                        p_address, p_org, NULL, p_key, NULL,
                        jsonb_build_object('entries', p_entries));

    RETURN QUERY SELECT * FROM key_states WHERE id = p_key;
END
$$;


-- p_guard is the caller's address when it edits its own list: the entry that
-- alone lets it in stays.
CREATE FUNCTION delete_access_entry(p_caller text, p_address text,
                                    p_org_roles text[],
                                    p_project_roles text[], p_org text,
                                    p_key text, p_entry text, p_guard text)
RETURNS SETOF state
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_entry  cidr := p_entry;
    v_guard  inet := p_guard;
BEGIN
    PERFORM begin_change(p_caller, p_org_roles, p_project_roles,
                         p_org, NULL, p_key);

    DELETE FROM access_list WHERE key_id = p_key AND cidr = v_entry;

    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such entry'
            USING ERRCODE = 'AK032', DETAIL = shown(v_entry);
    END IF;

    IF p_caller IS NOT NULL AND v_guard <<= v_entry
       AND NOT EXISTS (SELECT FROM access_list
                        WHERE key_id = p_key AND v_guard <<= cidr)
    THEN
        RAISE EXCEPTION 'the entry of the calling address'
            USING ERRCODE = 'AK033', DETAIL = p_guard;
    END IF;

    PERFORM audit_event('API_KEY_ACCESS_LIST_ENTRY_DELETED', p_caller,
                        p_address, p_org, NULL, p_key,
                        jsonb_build_object('entries', ARRAY[text(v_entry)]),
                        NULL);

    RETURN QUERY SELECT * FROM key_states WHERE id = p_key;
END
$$;


REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA apikeys FROM PUBLIC;

INSERT INTO schema_version (version) VALUES (9);

COMMIT;
