--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- The lines of the master key file: which of them a node needs, with which one
-- it encrypts ("seals"), and how secrets are sealed anew after a rotation.
--
-- A node names its lines in the order of its file; the first one seals.  A
-- secret that is sealed anew is still the same secret of the same key: it gets
-- no new version, and there is no change for the nodes and no row of the
-- audit.
--


-- Whether a secret was sealed by the line.
CREATE FUNCTION is_needed(p_line text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM keys WHERE line = p_line)
           OR EXISTS (SELECT FROM older_secrets WHERE line = p_line);
END
$$;


-- Checks the lines of a node before it follows the database.  Returns null if
-- this database was used with none of them: the node must not follow.  Else
-- the lines that secrets need and the node lacks, separated by commas.
-- Records the first line of the node; in a new database any line is accepted.
CREATE FUNCTION check_master_keys(p_lines text[], p_checks text[])
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM master_keys WHERE "check" IS NOT NULL)
       AND NOT EXISTS (SELECT FROM master_keys m
                         JOIN unnest(p_lines, p_checks) AS l (line, "check")
                              ON l.line = m.line AND l."check" = m."check")
    THEN
        RETURN NULL;
    END IF;

    INSERT INTO master_keys AS m VALUES (p_lines[1], p_checks[1])
        ON CONFLICT (line) DO UPDATE SET "check" = excluded."check"
                               WHERE m."check" IS NULL;

    RETURN (SELECT coalesce(string_agg(m.line, ',' ORDER BY m.line), '')
              FROM master_keys m
             WHERE m.line <> ALL (p_lines)
               AND is_needed(m.line));
END
$$;


-- What the node p_instance with these lines reads after each heartbeat:
--
--     seals    the line that seals new secrets: the first one that all nodes
--              have, or if there is none the node's first
--     lines    all lines in use, separated by commas
--     anew     empty: this node has to seal secrets anew.  null: no secret
--              needs that, or another node does it.  Else the name of a node
--              with another first line: wait until it is the same.
--
-- One node seals anew: the one with the smallest uuid among those with a
-- heartbeat in the last 15 s.
CREATE FUNCTION sealing(p_instance text, p_lines text[],
                        OUT seals text, OUT lines text, OUT anew text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    seals := coalesce((SELECT l.line
                         FROM unnest(p_lines) WITH ORDINALITY AS l (line, n)
                        WHERE NOT EXISTS (SELECT FROM leased_instances i
                                           WHERE i.uuid <> p_instance
                                             AND l.line <> ALL (i.lines))
                        ORDER BY l.n LIMIT 1),
                      p_lines[1]);

    lines := (SELECT string_agg(line, ',') FROM master_keys);

    IF lines = p_lines[1] THEN
        RETURN;
    END IF;

    anew := (SELECT name FROM leased_instances i
              WHERE i.uuid <> p_instance
                AND i.lines[1] IS DISTINCT FROM p_lines[1]
              ORDER BY name LIMIT 1);

    IF anew IS NULL
       AND p_instance = (SELECT min(uuid) FROM leased_instances
                          WHERE heartbeat > clock_timestamp()
                                            - interval '15 s')
    THEN
        anew := '';
    END IF;
END
$$;


-- Up to p_limit keys, with ids after p_after, with a secret that was sealed by
-- another line than p_line, with the columns that sealing needs.
CREATE FUNCTION sealed_otherwise(p_line text, p_after text, p_limit integer)
RETURNS SETOF state
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
    SELECT s.*
      FROM (SELECT id FROM keys WHERE line <> p_line AND id > p_after
             UNION
            SELECT key_id FROM older_secrets
             WHERE line <> p_line AND key_id > p_after
             ORDER BY id LIMIT p_limit) i
      JOIN keys k ON k.id = i.id
      LEFT JOIN older_secrets o ON o.key_id = k.id,
           jsonb_populate_record(NULL::state, jsonb_build_object(
               'kind', 'key', 'id', k.id, 'version', k.version,
               'deleted', false, 'org_id', k.org_id,
               'public_key', k.public_key,
               'secret', encode(k.secret, 'hex'),
               'secret_id', coalesce(k.secret_id, k.id),
               'older_id', o.id,
               'older_secret', encode(o.secret, 'hex'))) s
     ORDER BY s.id
$$;


-- Replaces the secrets p_old of the keys p_ids by p_new (both in hex).  Skips
-- secrets that are no longer p_old, and keys that another transaction has
-- locked: the next pass takes these.
CREATE FUNCTION seal_anew(p_ids text[], p_old text[], p_new text[])
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys seals",
                  "apikeys audited" AS $$
DECLARE
    v_locked  text[];
    v_newest  bigint;
    v_older   bigint;
BEGIN
    v_locked := ARRAY(SELECT id FROM keys WHERE id = ANY (p_ids)
                       ORDER BY id FOR NO KEY UPDATE SKIP LOCKED);

    UPDATE keys k SET secret = decode(n.new, 'hex')
      FROM unnest(p_ids, p_old, p_new) AS n (id, old, new)
     WHERE k.id = n.id AND k.id = ANY (v_locked)
       AND k.secret = decode(n.old, 'hex');

    GET DIAGNOSTICS v_newest = ROW_COUNT;

    UPDATE older_secrets o SET secret = decode(n.new, 'hex')
      FROM unnest(p_ids, p_old, p_new) AS n (id, old, new)
     WHERE o.key_id = n.id AND o.key_id = ANY (v_locked)
       AND o.secret = decode(n.old, 'hex');

    GET DIAGNOSTICS v_older = ROW_COUNT;

    RETURN v_newest + v_older;
END
$$;


-- Ends a pass over all keys: deletes the lines that no secret needs.  Returns
-- how many secrets are still sealed by another line than p_line.  A key that
-- is being created locks its line, which then stays until the next pass.
CREATE FUNCTION end_pass(p_line text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM master_keys
     WHERE line IN (SELECT m.line FROM master_keys m
                     WHERE m.line <> p_line
                       AND NOT is_needed(m.line)
                       FOR UPDATE SKIP LOCKED);

    RETURN (SELECT count(*) FROM keys WHERE line <> p_line)
           + (SELECT count(*) FROM older_secrets WHERE line <> p_line);
END
$$;
