--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- What the syncer of a replica asks: which database this is, everything,
-- everything since a snapshot; and what it tells: how far it got, and which
-- entries were used.
--

\set ON_ERROR_STOP on

BEGIN;

SELECT pg_advisory_xact_lock(hashtext('apikeys.schema_version'));

SELECT EXISTS (SELECT FROM apikeys.schema_version WHERE version = 3)
       AS applied \gset
\if :applied
    ROLLBACK;
    \quit
\endif

SET LOCAL search_path = apikeys, pg_catalog;


-- Two answers that differ: not the same history, and a cursor into the one
-- means nothing to the other.  The timeline is that of the WAL being written
-- (the control file's lags behind a promotion), so a standby answers 55000.
-- Not parallel safe on purpose: the view load must not be reordered.
CREATE FUNCTION identity() RETURNS text
LANGUAGE sql STABLE SET search_path = apikeys, pg_catalog, pg_temp AS $$
    SELECT concat_ws('/',
                     (SELECT system_identifier FROM pg_control_system()),
                     (SELECT oid FROM pg_database
                       WHERE datname = current_database()),
                     left(pg_walfile_name(pg_current_wal_lsn()), 8),
                     (SELECT uuid FROM feed_uuid),
                     (SELECT max(version) FROM schema_version))
$$;


-- Everything, in one statement and so one snapshot.  The first row has the
-- identity and the snapshot, and kind null; the others have the columns of
-- "state".  The lists of all keys are put together in one pass over each
-- table, in the order of its primary key, which the aggregates need.
CREATE VIEW load AS
    SELECT identity() AS identity, pg_current_snapshot()::text AS snapshot,
           NULL::text AS kind, NULL::text AS id, NULL::bigint AS version,
           NULL::boolean AS deleted, NULL::text AS org_id,
           NULL::text AS public_key, NULL::text AS secret,
           NULL::text AS redacted, NULL::text AS descr, NULL::text AS roles,
           NULL::text AS projects, NULL::text AS entries,
           NULL::boolean AS access_list_required, NULL::text AS name,
           NULL::text AS created
     UNION ALL
    SELECT NULL, NULL, * FROM org_states
     UNION ALL
    SELECT NULL, NULL, * FROM project_states
     UNION ALL
    SELECT NULL, NULL, 'key', k.id, k.version, false, k.org_id,
           k.public_key, encode(k.secret, 'hex'), k.redacted, k.descr,
           array_to_string(k.roles, ','), coalesce(p.projects, ''),
           coalesce(a.entries, ''), NULL, NULL, utc(k.created)
      FROM keys k
      LEFT JOIN (SELECT key_id,
                        string_agg(project_id || ':'
                                   || array_to_string(roles, ','), ';')
                        AS projects
                   FROM (SELECT key_id, project_id, roles FROM key_projects
                          ORDER BY key_id, project_id) AS sorted
                  GROUP BY key_id) p ON p.key_id = k.id
      LEFT JOIN (SELECT key_id, string_agg(text(cidr), ',') AS entries
                   FROM (SELECT key_id, cidr FROM access_list
                          ORDER BY key_id, cidr) AS sorted
                  GROUP BY key_id) a ON a.key_id = k.id;


-- An array that the planner can evaluate, when p_since is known.
CREATE FUNCTION running_at(p_since pg_snapshot) RETURNS xid8[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY(SELECT pg_snapshot_xip(p_since))
$$;


-- The feed's rows that p_since did not see.  Reading by xid and snapshot, not
-- by version or time, finds each committed change once: a transaction that
-- was running at p_since is in its xip or beyond its xmax, however late it
-- commits.  An xid that this database has not reached came with a dump.
CREATE FUNCTION changes_since(p_since pg_snapshot) RETURNS SETOF changes
LANGUAGE sql STABLE AS $$
    SELECT c.*
      FROM apikeys.changes c
     WHERE (c.xid >= pg_snapshot_xmax(p_since)
            OR c.xid = ANY (apikeys.running_at(p_since)))
       AND c.xid < pg_snapshot_xmax(pg_current_snapshot())
$$;


-- What changed since the snapshot p_snapshot of the database p_identity.
-- The first row tells what the others are (column kind):
--
--     feed     the states of the objects changed since
--     load     there are none: read the view load, versions still compare
--     epoch    there are none: read the view load, forget all versions
--
-- and has the identity and the snapshot to come back with.  STABLE, so that
-- all of it reads the snapshot of the calling statement.
--
-- Plans are made for the snapshot at hand: one for any snapshot would expect
-- a third of the feed, and read all of it.
CREATE FUNCTION feed_since(p_identity text, p_snapshot text)
RETURNS TABLE (identity text, snapshot text, kind text, id text,
               version bigint, deleted boolean, org_id text,
               public_key text, secret text, redacted text, descr text,
               roles text, projects text, entries text,
               access_list_required boolean, name text, created text)
LANGUAGE plpgsql STABLE SET search_path = apikeys, pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
    v_identity  text := identity();
    v_since     pg_snapshot := p_snapshot;
    v_now       pg_snapshot := pg_current_snapshot();
    v_kind      text := 'feed';
    v_changes   bigint := 0;
    v_reload    boolean;
BEGIN
    IF p_identity IS DISTINCT FROM v_identity
       OR pg_snapshot_xmax(v_now) < pg_snapshot_xmax(v_since)
       OR pg_snapshot_xmin(v_since) < (SELECT pruned_below FROM feed)
    THEN
        v_kind := 'epoch';

    ELSE
        SELECT count(*), coalesce(bool_or(c.kind = 'reload'), false)
          INTO v_changes, v_reload
          FROM changes_since(v_since) c;

        IF v_reload THEN
            v_kind := 'load';
        END IF;
    END IF;

    identity := v_identity;
    snapshot := v_now;
    kind := v_kind;
    RETURN NEXT;

    IF v_kind <> 'feed' OR v_changes = 0 THEN
        RETURN;
    END IF;

    RETURN QUERY
        SELECT NULL::text, NULL::text, c.kind, c.id,
               coalesce(s.version, c.version), s.id IS NULL,
               s.org_id, s.public_key, s.secret, s.redacted, s.descr,
               s.roles, s.projects, s.entries, s.access_list_required,
               s.name, s.created
          FROM (SELECT f.kind, f.id, max(f.version) AS version
                  FROM changes_since(v_since) f
                 GROUP BY f.kind, f.id) c
          LEFT JOIN LATERAL (
                SELECT * FROM key_states k
                 WHERE c.kind = 'key' AND k.id = c.id
                 UNION ALL
                SELECT * FROM org_states o
                 WHERE c.kind = 'org' AND o.id = c.id
                 UNION ALL
                SELECT * FROM project_states p
                 WHERE c.kind = 'project' AND p.id = c.id) s ON true;
END
$$;


INSERT INTO schema_version (version) VALUES (3);

COMMIT;
