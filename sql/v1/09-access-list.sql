--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Access lists: the view that the API reads, the mutations, and the usage
-- counters.
--


CREATE VIEW access_entries AS
    SELECT a.key_id,
           a.cidr,
           utc(a.created) AS created,
           coalesce(u.count, 0) AS count,
           utc(u.last_used) AS last_used,
           host(u.last_used_address) AS last_used_address
      FROM access_list a
      LEFT JOIN access_usage u USING (key_id, cidr);


-- An entry as the API shows it: a single address without "/32" or "/128".
CREATE FUNCTION shown(p_entry cidr) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN masklen(p_entry) = CASE family(p_entry) WHEN 4 THEN 32
                                                             ELSE 128 END
                THEN host(p_entry) ELSE text(p_entry) END
$$;


-- The refusal of entries that would exceed a quota, or null.  The key may not
-- exist yet, and so may its organization.
CREATE FUNCTION refuse_entries(p_org text, p_key text, p_entries text[])
RETURNS outcome
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_quota  default_quotas := quotas_of(p_org);
BEGIN
    IF (SELECT count(*) FROM access_list WHERE key_id = p_key)
       + cardinality(p_entries) > v_quota.key_entries
    THEN
        RETURN refused('max_key_entries', v_quota.key_entries);
    END IF;

    IF coalesce((SELECT entries FROM org_usage WHERE org_id = p_org), 0)
       + cardinality(p_entries) > v_quota.entries
    THEN
        RETURN refused('max_org_entries', v_quota.entries);
    END IF;

    RETURN NULL;
END
$$;


CREATE FUNCTION insert_entries(p_caller text, p_address text, p_org text,
                               p_key text, p_entries text[])
RETURNS void
LANGUAGE plpgsql
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
BEGIN
    INSERT INTO access_list (key_id, org_id, cidr)
        SELECT p_key, p_org, e::cidr
          FROM unnest(p_entries) AS e ORDER BY e::cidr;

    PERFORM audit_event('API_KEY_ACCESS_LIST_ENTRY_ADDED', p_caller,
                        p_address, p_org, NULL, p_key, NULL,
                        jsonb_build_object('entries', p_entries));
END
$$;


-- Adds all entries or none.  An existing entry is reported before an exceeded
-- quota.
CREATE FUNCTION add_access_entries(p_caller text, p_caller_secret text,
                                   p_address text,
                                   p_org_roles text[],
                                   p_project_roles text[], p_org text,
                                   p_key text, p_entries text[])
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin    record;
    v_present  cidr;
    v_refusal  outcome;
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, p_org, NULL, p_key);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    SELECT a.cidr INTO v_present
      FROM unnest(p_entries) WITH ORDINALITY AS e (entry, position)
      JOIN access_list a ON a.key_id = p_key AND a.cidr = e.entry::cidr
     ORDER BY e.position
     LIMIT 1;

    IF FOUND THEN
        RETURN NEXT refused('entry_exists', shown(v_present));
        RETURN;
    END IF;

    v_refusal := refuse_entries(p_org, p_key, p_entries);

    IF v_refusal.refusal IS NOT NULL THEN
        RETURN NEXT v_refusal;
        RETURN;
    END IF;

    PERFORM insert_entries(p_caller, p_address, p_org, p_key, p_entries);

    RETURN QUERY SELECT * FROM changed_key(p_key);
END
$$;


-- p_guard: the caller's address if a key changes its own list, else null.  The
-- last entry that contains it cannot be deleted.
CREATE FUNCTION delete_access_entry(p_caller text, p_caller_secret text,
                                    p_address text,
                                    p_org_roles text[],
                                    p_project_roles text[], p_org text,
                                    p_key text, p_entry text, p_guard text)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_entry  cidr := p_entry;
    v_guard  inet := p_guard;
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, p_org, NULL, p_key);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    -- lock it against flush_usage() and against a deletion by psql
    PERFORM FROM access_list WHERE key_id = p_key AND cidr = v_entry
        FOR UPDATE;

    IF NOT FOUND THEN
        RETURN NEXT refused('entry_not_found', shown(v_entry));
        RETURN;
    END IF;

    IF p_caller IS NOT NULL AND v_guard <<= v_entry
       AND NOT EXISTS (SELECT FROM access_list
                        WHERE key_id = p_key AND v_guard <<= cidr
                          AND cidr <> v_entry)
    THEN
        RETURN NEXT refused('own_address', p_guard);
        RETURN;
    END IF;

    DELETE FROM access_list WHERE key_id = p_key AND cidr = v_entry;

    PERFORM audit_event('API_KEY_ACCESS_LIST_ENTRY_DELETED', p_caller,
                        p_address, p_org, NULL, p_key,
                        jsonb_build_object('entries', ARRAY[text(v_entry)]),
                        NULL);

    RETURN QUERY SELECT * FROM changed_key(p_key);
END
$$;


-- Adds the uses that one node has counted to the totals.  The entries are
-- locked in order, against concurrent flushes and deletions; entries that have
-- been deleted are skipped.  Returns the number of updated entries.
CREATE FUNCTION flush_usage(p_keys text[], p_entries cidr[],
                            p_counts bigint[], p_last_used float8[],
                            p_addresses inet[])
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_count  bigint;
BEGIN
    WITH used AS (
        SELECT u.key_id, u.entry AS cidr, sum(u.count) AS count,
               to_timestamp(max(u.last_used)) AS last_used,
               (array_agg(u.address ORDER BY u.last_used DESC))[1]
               AS address
          FROM unnest(p_keys, p_entries, p_counts, p_last_used, p_addresses)
               AS u (key_id, entry, count, last_used, address)
         GROUP BY u.key_id, u.entry

    ), listed AS MATERIALIZED (
        SELECT a.key_id, a.cidr, u.count, u.last_used, u.address
          FROM used u JOIN access_list a
               ON a.key_id = u.key_id AND a.cidr = u.cidr
         ORDER BY a.key_id, a.cidr
           FOR KEY SHARE OF a
    )
    INSERT INTO access_usage AS t (key_id, cidr, count, last_used,
                                   last_used_address)
        SELECT key_id, cidr, count, last_used, address FROM listed
    ON CONFLICT (key_id, cidr) DO UPDATE SET
        count = t.count + excluded.count,
        last_used = greatest(t.last_used, excluded.last_used),
        last_used_address = CASE WHEN excluded.last_used >= t.last_used
                                 THEN excluded.last_used_address
                                 ELSE t.last_used_address END;

    GET DIAGNOSTICS v_count = ROW_COUNT;

    RETURN v_count;
END
$$;
