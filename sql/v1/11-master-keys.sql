--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- The lines of the master key file: which of them a node needs, which one
-- seals, and sealing anew what another line has sealed.
--
-- A node names its lines in the order of its file; the first one seals.  What
-- a secret is sealed for (its key, organization and realm) does not change,
-- so a secret that is sealed anew is the same secret: no version, no change
-- for the nodes, no row of the audit.
--


-- Whether a node with these lines and checks may follow: null if no line is
-- one that this database was used with; else the lines that secrets here need
-- and the node lacks, separated by commas.  The first line is recorded, and
-- so is the very first of a new database.
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
               AND EXISTS (SELECT FROM keys k WHERE k.line = m.line));
END
$$;


-- What the node p_instance with these lines learns with each heartbeat:
--
--     seals    the line to seal new secrets with: the first one that all
--              nodes have, or the node's first
--     lines    those in use, separated by commas
--     anew     whether this node is to seal anew: an empty string.  null: no
--              secret needs it, or another node does it.  Else the name of a
--              node with another first line, for which it has to wait.
--
-- Of the nodes that were heard of lately one does it.
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


-- At most p_limit keys after p_after whose secret another line than p_line has
-- sealed, in the columns that a secret is sealed for.
CREATE FUNCTION sealed_otherwise(p_line text, p_after text, p_limit integer)
RETURNS SETOF state
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
    SELECT 'key', id, version, false, org_id, public_key,
           encode(secret, 'hex'), NULL, NULL, NULL, NULL, NULL, NULL::boolean,
           NULL, NULL, NULL
      FROM keys
     WHERE line <> p_line AND id > p_after
     ORDER BY id LIMIT p_limit
$$;


-- Replaces the secrets p_old, in hex, by p_new.  A secret that is no longer
-- the old one stays, and so does one of a key that is being changed: it comes
-- again with the next pass.
CREATE FUNCTION seal_anew(p_ids text[], p_old text[], p_new text[])
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys seals",
                  "apikeys audited" AS $$
DECLARE
    v_count  bigint;
BEGIN
    WITH locked AS (
        SELECT id FROM keys WHERE id = ANY (p_ids)
         ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
    UPDATE keys k SET secret = decode(n.new, 'hex')
      FROM unnest(p_ids, p_old, p_new) AS n (id, old, new)
      JOIN locked l ON l.id = n.id
     WHERE k.id = n.id AND k.secret = decode(n.old, 'hex');

    GET DIAGNOSTICS v_count = ROW_COUNT;

    RETURN v_count;
END
$$;


-- The end of a pass over all keys: lines that no secret needs are forgotten.
-- Returns how many secrets another line than p_line still has to open.  A key
-- that is being made holds its line, which is then left for the next pass.
CREATE FUNCTION end_pass(p_line text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM master_keys
     WHERE line IN (SELECT m.line FROM master_keys m
                     WHERE m.line <> p_line
                       AND NOT EXISTS (SELECT FROM keys k
                                        WHERE k.line = m.line)
                       FOR UPDATE SKIP LOCKED);

    RETURN (SELECT count(*) FROM keys WHERE line <> p_line);
END
$$;
