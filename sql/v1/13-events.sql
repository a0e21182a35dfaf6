--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Events: what the API reads, and the triggers that write the events of
-- changes made without the mutations (by psql).
--


-- An event as the API shows it.  Its id is an ObjectId: the second of the
-- event, then its number.
CREATE VIEW shown_events AS
    SELECT e.id AS number,
           lpad(to_hex(floor(extract(epoch FROM e.at))::bigint), 8, '0')
           || lpad(to_hex(e.id), 16, '0') AS id,
           utc(e.at) AS created, e.type, e.org_id::text, e.project_id::text,
           e.caller_id::text, e.caller_public_key::text, e.address,
           e.target_public_key::text, e.entry, e.target_id::text,
           e.operator_id::text, e.operator_public_key::text
      FROM events e;


-- A page of the events of an organization or of a project, newest first: of
-- the given types, or of all (null), of the key with the public key p_target,
-- or of all (null), from p_min on and before p_max.  Each row has the total
-- number, in which at most p_beyond events after the page are counted.  There
-- is always a row.
--
-- Each type is read from its own range of an index, so other types cost
-- nothing; events before the page are skipped in the index.
CREATE FUNCTION list_events(p_org text, p_project text, p_types text[],
                            p_min timestamptz, p_max timestamptz,
                            p_limit bigint, p_offset bigint,
                            p_beyond bigint, p_target text DEFAULT NULL)
RETURNS TABLE (id text, created text, type text, org_id text,
               project_id text, caller_id text, caller_public_key text,
               address text, target_public_key text, entry text,
               target_id text, operator_id text, operator_public_key text,
               total bigint)
LANGUAGE plpgsql STABLE SET search_path = apikeys, pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
    v_column  text := CASE WHEN p_org IS NULL THEN 'project_id'
                           ELSE 'org_id' END;
    v_from    text;
    v_page    bigint[];
    v_total   bigint;
BEGIN
    -- for one type and for all types an index has the order; for several
    -- types the newest of each are merged
    v_from := CASE
        WHEN p_target IS NOT NULL THEN
            format('SELECT at, id FROM events WHERE target_public_key = $8 '
                   'AND %I = $1 AND ($2 IS NULL OR type = ANY ($2)) '
                   'AND at >= $3 AND at < $4 ORDER BY at DESC, id DESC',
                   v_column)
        WHEN p_types IS NULL THEN
            format('SELECT at, id FROM events WHERE %I = $1 '
                   'AND at >= $3 AND at < $4 ORDER BY at DESC, id DESC',
                   v_column)
        WHEN cardinality(p_types) = 1 THEN
            format('SELECT at, id FROM events WHERE %I = $1 '
                   'AND type = $2[1] AND at >= $3 AND at < $4 '
                   'ORDER BY at DESC, id DESC', v_column)
        ELSE
            format('SELECT e.at, e.id FROM unnest($2) AS t (type), '
                   'LATERAL (SELECT i.at, i.id FROM events i '
                            'WHERE i.%I = $1 AND i.type = t.type '
                              'AND i.at >= $3 AND i.at < $4 '
                            'ORDER BY i.at DESC, i.id DESC '
                            'LIMIT $5 + $6 + $7) e '
                   'ORDER BY e.at DESC, e.id DESC', v_column)
        END;

    EXECUTE format('SELECT ARRAY(SELECT id FROM (%s) e LIMIT $5 OFFSET $6), '
                          '(SELECT count(*) FROM (SELECT FROM (%s) e '
                                                 'LIMIT $5 + $6 + $7) n)',
                   v_from, v_from)
       INTO v_page, v_total
      USING coalesce(p_org, p_project), p_types,
            coalesce(p_min, '-infinity'), coalesce(p_max, 'infinity'),
            p_limit, p_offset, p_beyond, p_target;

    RETURN QUERY
        SELECT e.id, e.created, e.type, e.org_id, e.project_id, e.caller_id,
               e.caller_public_key, e.address, e.target_public_key, e.entry,
               e.target_id, e.operator_id, e.operator_public_key, v_total
          FROM (SELECT) AS one
          LEFT JOIN (unnest(v_page) WITH ORDINALITY AS p (number, position)
                     JOIN LATERAL (SELECT * FROM shown_events s
                                    WHERE s.number = p.number) e ON true)
               ON true
         ORDER BY p.position;
END
$$;


--
-- Triggers for changes by psql: one event for each changed row, like those of
-- the mutations, without a caller.  The time is that of the statement: if the
-- transaction commits much later, a collector may already have newer events
-- and miss it.  There are no events of TRUNCATE, and those of a statement that
-- deletes keys and their projects at once may be incomplete: the audit has
-- both.
--

-- "rows" is the new transition table of an INSERT or UPDATE, the old one of a
-- DELETE.  Rows deleted by a cascade, whose parents are gone, make no event.

CREATE FUNCTION events_of_orgs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO events (type, org_id)
            SELECT 'ORG_CREATED', id FROM rows ORDER BY id;
    ELSE
        INSERT INTO events (type, org_id)
            SELECT e.type, n.id
              FROM rows n
              JOIN old_rows o ON o.id = n.id,
                   LATERAL (VALUES
                       (CASE WHEN n.name <> o.name THEN 'ORG_RENAMED' END),
                       (CASE WHEN n.access_list_required
                                  AND NOT o.access_list_required
                             THEN 'ORG_PUBLIC_API_ACCESS_LIST_REQUIRED' END),
                       (CASE WHEN o.access_list_required
                                  AND NOT n.access_list_required
                             THEN 'ORG_PUBLIC_API_ACCESS_LIST_NOT_REQUIRED'
                             END)) AS e (type)
             WHERE e.type IS NOT NULL
             ORDER BY n.id;
    END IF;

    RETURN NULL;
END
$$;

CREATE FUNCTION events_of_projects() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO events (type, org_id, project_id)
            SELECT 'GROUP_NAME_CHANGED', n.org_id, n.id
              FROM rows n JOIN old_rows o ON o.id = n.id
             WHERE n.name <> o.name
             ORDER BY n.id;
    ELSE
        INSERT INTO events (type, org_id, project_id)
            SELECT CASE TG_OP WHEN 'INSERT' THEN 'GROUP_CREATED'
                              ELSE 'GROUP_DELETED' END, org_id, id
              FROM rows r
             WHERE EXISTS (SELECT FROM orgs o WHERE o.id = r.org_id)
             ORDER BY id;
    END IF;

    RETURN NULL;
END
$$;

CREATE FUNCTION events_of_keys() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO events (type, org_id, target_id, target_public_key)
            SELECT e.type, n.org_id, n.id, n.public_key
              FROM rows n
              JOIN old_rows o ON o.id = n.id,
                   LATERAL (VALUES
                       (1, CASE WHEN n.descr <> o.descr
                                THEN 'API_KEY_DESCRIPTION_CHANGED' END),
                       (2, CASE WHEN n.roles <> o.roles
                                THEN 'API_KEY_ROLES_CHANGED' END),
                       (3, CASE WHEN n.disabled AND NOT o.disabled
                                THEN 'API_KEY_DISABLED' END),
                       (4, CASE WHEN o.disabled AND NOT n.disabled
                                THEN 'API_KEY_ENABLED' END),
                       (5, CASE WHEN n.expires IS DISTINCT FROM o.expires
                                THEN 'API_KEY_EXPIRY_CHANGED' END))
                   AS e (position, type)
             WHERE e.type IS NOT NULL AND n.org_id IS NOT NULL
             ORDER BY n.id, e.position;
    ELSE
        INSERT INTO events (type, org_id, target_id, target_public_key)
            SELECT CASE TG_OP WHEN 'INSERT' THEN 'API_KEY_CREATED'
                              ELSE 'API_KEY_DELETED' END, org_id, id,
                   public_key
              FROM rows r
             WHERE EXISTS (SELECT FROM orgs o WHERE o.id = r.org_id)
             ORDER BY id;
    END IF;

    RETURN NULL;
END
$$;

-- Events of assignments that a cascade will delete with their key, or with
-- their project.  The rows are locked: if another transaction deletes one
-- first, that one writes the event.
CREATE FUNCTION events_of_leaving_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM key_projects p WHERE p.key_id = OLD.id
      ORDER BY p.key_id, p.project_id FOR UPDATE;

    INSERT INTO events (type, project_id, target_id, target_public_key)
        SELECT 'API_KEY_REMOVED_FROM_GROUP', p.project_id, OLD.id,
               OLD.public_key
          FROM key_projects p
         WHERE p.key_id = OLD.id
           AND EXISTS (SELECT FROM orgs o WHERE o.id = OLD.org_id)
         ORDER BY p.project_id;

    RETURN OLD;
END
$$;

CREATE FUNCTION events_of_leaving_project() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM key_projects p WHERE p.project_id = OLD.id
      ORDER BY p.key_id, p.project_id FOR UPDATE;

    INSERT INTO events (type, project_id, target_id, target_public_key)
        SELECT 'API_KEY_REMOVED_FROM_GROUP', OLD.id, k.id, k.public_key
          FROM key_projects p JOIN keys k ON k.id = p.key_id
         WHERE p.project_id = OLD.id
           AND EXISTS (SELECT FROM orgs o WHERE o.id = OLD.org_id)
         ORDER BY p.key_id;

    RETURN OLD;
END
$$;

CREATE FUNCTION events_of_assignments() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO events (type, project_id, target_id, target_public_key)
            SELECT e.type, e.project_id, k.id, k.public_key
              FROM (SELECT 1 AS position, 'API_KEY_REMOVED_FROM_GROUP' AS type,
                           o.key_id, o.project_id
                      FROM old_rows o
                     WHERE NOT EXISTS (SELECT FROM rows n
                                        WHERE n.key_id = o.key_id
                                          AND n.project_id = o.project_id)
                     UNION ALL
                    SELECT 2, 'API_KEY_ADDED_TO_GROUP', n.key_id, n.project_id
                      FROM rows n
                     WHERE NOT EXISTS (SELECT FROM old_rows o
                                        WHERE o.key_id = n.key_id
                                          AND o.project_id = n.project_id)
                     UNION ALL
                    SELECT 3, 'API_KEY_ROLES_CHANGED', n.key_id, n.project_id
                      FROM rows n
                      JOIN old_rows o ON o.key_id = n.key_id
                                     AND o.project_id = n.project_id
                     WHERE o.roles <> n.roles) e
              JOIN keys k ON k.id = e.key_id
             ORDER BY e.position, e.key_id, e.project_id;
    ELSE
        INSERT INTO events (type, project_id, target_id, target_public_key)
            SELECT CASE TG_OP WHEN 'INSERT' THEN 'API_KEY_ADDED_TO_GROUP'
                              ELSE 'API_KEY_REMOVED_FROM_GROUP' END,
                   r.project_id, k.id, k.public_key
              FROM rows r JOIN keys k ON k.id = r.key_id
                          JOIN projects p ON p.id = r.project_id
             ORDER BY r.key_id, r.project_id;
    END IF;

    RETURN NULL;
END
$$;

CREATE FUNCTION events_of_entries() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO events (type, org_id, target_id, target_public_key,
                            entry)
            SELECT e.type, k.org_id, k.id, k.public_key, shown(e.cidr)
              FROM (SELECT 1 AS position,
                           'API_KEY_ACCESS_LIST_ENTRY_DELETED' AS type,
                           o.key_id, o.cidr
                      FROM old_rows o
                     WHERE NOT EXISTS (SELECT FROM rows n
                                        WHERE n.key_id = o.key_id
                                          AND n.cidr = o.cidr)
                     UNION ALL
                    SELECT 2, 'API_KEY_ACCESS_LIST_ENTRY_ADDED', n.key_id,
                           n.cidr
                      FROM rows n
                     WHERE NOT EXISTS (SELECT FROM old_rows o
                                        WHERE o.key_id = n.key_id
                                          AND o.cidr = n.cidr)
                     UNION ALL
                    SELECT 3, 'API_KEY_ACCESS_LIST_ENTRY_CHANGED', n.key_id,
                           n.cidr
                      FROM rows n
                      JOIN old_rows o ON o.key_id = n.key_id
                                     AND o.cidr = n.cidr
                     WHERE (o.comment, o.expires)
                           IS DISTINCT FROM (n.comment, n.expires)) e
              JOIN keys k ON k.id = e.key_id
             ORDER BY e.position, e.key_id, e.cidr;
    ELSE
        INSERT INTO events (type, org_id, target_id, target_public_key,
                            entry)
            SELECT CASE TG_OP
                       WHEN 'INSERT' THEN 'API_KEY_ACCESS_LIST_ENTRY_ADDED'
                       ELSE 'API_KEY_ACCESS_LIST_ENTRY_DELETED' END,
                   k.org_id, k.id, k.public_key, shown(r.cidr)
              FROM rows r JOIN keys k ON k.id = r.key_id
             ORDER BY r.key_id, r.cidr;
    END IF;

    RETURN NULL;
END
$$;


-- The WHEN clause is that of the triggers of the audit (14-audit.sql).
DO $$
DECLARE
    t  record;
BEGIN
    FOR t IN
        SELECT v.name, v.function, o.op, o.tables
          FROM (VALUES ('orgs', 'events_of_orgs'),
                       ('projects', 'events_of_projects'),
                       ('keys', 'events_of_keys'),
                       ('key_projects', 'events_of_assignments'),
                       ('access_list', 'events_of_entries'))
               AS v (name, function),
               (VALUES ('insert', 'REFERENCING NEW TABLE AS rows'),
                       ('update', 'REFERENCING OLD TABLE AS old_rows '
                                  'NEW TABLE AS rows'),
                       ('delete', 'REFERENCING OLD TABLE AS rows'))
               AS o (op, tables)
         WHERE (v.name, o.op) <> ('orgs', 'delete')
    LOOP
        EXECUTE format('CREATE TRIGGER events_%1$s AFTER %1$s ON %2$I %3$s '
                       'FOR EACH STATEMENT WHEN (%4$s) '
                       'EXECUTE FUNCTION %5$I()',
                       t.op, t.name, t.tables, unaudited(), t.function);
    END LOOP;

    EXECUTE format('CREATE TRIGGER events_leave BEFORE DELETE ON keys '
                   'FOR EACH ROW WHEN (%s) '
                   'EXECUTE FUNCTION events_of_leaving_key()', unaudited());
    EXECUTE format('CREATE TRIGGER events_leave BEFORE DELETE ON projects '
                   'FOR EACH ROW WHEN (%s) '
                   'EXECUTE FUNCTION events_of_leaving_project()',
                   unaudited());
END
$$;
