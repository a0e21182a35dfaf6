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
           host(u.last_used_address) AS last_used_address,
           a.comment, utc(a.expires) AS expires
      FROM access_list a
      LEFT JOIN access_usage u USING (key_id, cidr);


-- An entry as the API shows it: a single address without "/32" or "/128".
CREATE FUNCTION shown(p_entry cidr) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN masklen(p_entry) = CASE family(p_entry) WHEN 4 THEN 32
                                                             ELSE 128 END
                THEN host(p_entry) ELSE text(p_entry) END
$$;


-- An entry, as the audit shows a change of it.
CREATE FUNCTION entry_image(p_entry access_list) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_build_object('entries', ARRAY[text(p_entry.cidr)],
                              'comment', p_entry.comment,
                              'expiresAt', apikeys.utc(p_entry.expires));
END
$$;


-- The refusal of entries that have an end in the past or would exceed a quota,
-- or null.  The key may not exist yet, and so may its organization.
CREATE FUNCTION refuse_entries(p_org text, p_key text, p_entries text[],
                               p_attributes jsonb)
RETURNS outcome
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_quota  default_quotas := quotas_of(p_org);
BEGIN
    IF EXISTS (SELECT FROM jsonb_each(p_attributes) a
                WHERE expires_in_past(a.value))
    THEN
        RETURN refused('expires_in_past', 'expiresAt'::text);
    END IF;

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


-- p_attributes: an object with a member for each entry that has attributes,
-- {"10.0.0.0/8": {"comment": "...", "expiresAt": "..."}}, or null.
CREATE FUNCTION insert_entries(p_caller text, p_address text, p_org text,
                               p_key text, p_entries text[],
                               p_attributes jsonb)
RETURNS void
LANGUAGE plpgsql
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
BEGIN
    INSERT INTO access_list (key_id, org_id, cidr, comment, expires)
        SELECT p_key, p_org, e::cidr, p_attributes #>> ARRAY[e, 'comment'],
               (p_attributes #>> ARRAY[e, 'expiresAt'])::timestamptz
          FROM unnest(p_entries) AS e ORDER BY e::cidr;

    PERFORM audit_event('API_KEY_ACCESS_LIST_ENTRY_ADDED', p_caller,
                        p_address, p_org, NULL, p_key, NULL,
                        jsonb_build_object('entries', p_entries));
END
$$;


-- Deletes those of the entries that have expired, so that they can be added
-- again.
CREATE FUNCTION delete_expired_entries(p_caller text, p_address text,
                                       p_org text, p_key text,
                                       p_entries text[])
RETURNS void
LANGUAGE plpgsql
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_expired  cidr[];
BEGIN
    -- locked against flush_usage(), in its order
    v_expired := ARRAY(SELECT cidr FROM access_list
                        WHERE key_id = p_key AND cidr = ANY (p_entries::cidr[])
                          AND expires <= clock_timestamp()
                        ORDER BY cidr FOR UPDATE);

    IF v_expired = '{}' THEN
        RETURN;
    END IF;

    DELETE FROM access_list WHERE key_id = p_key AND cidr = ANY (v_expired);

    PERFORM audit_event('API_KEY_ACCESS_LIST_ENTRY_DELETED', p_caller,
                        p_address, p_org, NULL, p_key,
                        jsonb_build_object('entries', v_expired::text[]),
                        NULL);
END
$$;


-- Adds all entries or none.  An entry that has expired is replaced.  Another
-- one is reported before an exceeded quota.
CREATE FUNCTION add_access_entries(p_caller text, p_caller_secret text,
                                   p_address text,
                                   p_org_roles text[],
                                   p_project_roles text[], p_org text,
                                   p_key text, p_entries text[],
                                   p_attributes jsonb)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin    record;
    v_present  cidr;
    v_refusal  outcome;
    v_expired  text[];
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
     WHERE coalesce(a.expires > clock_timestamp(), true)
     ORDER BY e.position
     LIMIT 1;

    IF FOUND THEN
        RETURN NEXT refused('entry_exists', shown(v_present));
        RETURN;
    END IF;

    -- those that are replaced need no room
    v_expired := ARRAY(SELECT text(cidr) FROM access_list
                        WHERE key_id = p_key
                          AND cidr = ANY (p_entries::cidr[]));
    v_refusal := refuse_entries(p_org, p_key, ARRAY(
        SELECT e FROM unnest(p_entries) AS e
         WHERE e::cidr <> ALL (v_expired::cidr[])), p_attributes);

    IF v_refusal.refusal IS NOT NULL THEN
        RETURN NEXT v_refusal;
        RETURN;
    END IF;

    PERFORM delete_expired_entries(p_caller, p_address, p_org, p_key,
                                   v_expired);
    PERFORM insert_entries(p_caller, p_address, p_org, p_key, p_entries,
                           p_attributes);

    RETURN QUERY SELECT * FROM changed_key(p_key);
END
$$;


-- Sets the comment and the end of an entry, those that the object has.
CREATE FUNCTION update_access_entry(p_caller text, p_caller_secret text,
                                    p_address text, p_org_roles text[],
                                    p_project_roles text[], p_org text,
                                    p_key text, p_entry text,
                                    p_attributes jsonb)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin   record;
    v_entry   cidr := p_entry;
    v_old     access_list;
    v_new     access_list;
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, p_org, NULL, p_key);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    SELECT * INTO v_old FROM access_list
     WHERE key_id = p_key AND cidr = v_entry FOR NO KEY UPDATE;

    IF NOT FOUND THEN
        RETURN NEXT refused('entry_not_found', shown(v_entry));
        RETURN;
    END IF;

    IF expires_in_past(p_attributes) THEN
        RETURN NEXT refused('expires_in_past', 'expiresAt'::text);
        RETURN;
    END IF;

    -- an update even if nothing changes, see update_key_row()
    UPDATE access_list
       SET comment = CASE WHEN p_attributes ? 'comment'
                          THEN p_attributes ->> 'comment' ELSE comment END,
           expires = CASE WHEN p_attributes ? 'expiresAt'
                          THEN (p_attributes ->> 'expiresAt')::timestamptz
                          ELSE expires END
     WHERE key_id = p_key AND cidr = v_entry
    RETURNING * INTO v_new;

    IF v_new IS DISTINCT FROM v_old THEN
        PERFORM audit_event('API_KEY_ACCESS_LIST_ENTRY_CHANGED', p_caller,
                            p_address, p_org, NULL, p_key,
                            entry_image(v_old), entry_image(v_new));
    END IF;

    RETURN QUERY SELECT * FROM changed_key(p_key);
END
$$;


-- p_guard: the caller's address if a key changes its own list, else null.  The
-- last entry that contains it, and has not expired, cannot be deleted.
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
                          AND cidr <> v_entry
                          AND coalesce(expires > clock_timestamp(), true))
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
