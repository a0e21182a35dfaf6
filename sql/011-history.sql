--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Since when the database has its history.  One that was restored from a dump
-- knows no instance, and a standby that was promoted may lack the last of
-- what they told: replicas of which it does not hear decide by what they
-- have until their leases run out, so receipts have to wait for as long.
--

\set ON_ERROR_STOP on

BEGIN;

SELECT pg_advisory_xact_lock(hashtext('apikeys.schema_version'));

SELECT EXISTS (SELECT FROM apikeys.schema_version WHERE version = 11)
       AS applied \gset
\if :applied
    ROLLBACK;
    \quit
\endif

SET LOCAL search_path = apikeys, pg_catalog;


-- An identity without the version of the schema: who followed the old one is
-- an instance that is known.
CREATE FUNCTION history_of(p_identity text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = apikeys, pg_catalog, pg_temp AS $$
    SELECT regexp_replace(p_identity, '/[^/]*$', '')
$$;


-- Comes along with a dump, and is then of another database.  begun is null
-- where no instance can be unknown: in a new database, or where somebody who
-- knows has said so.
CREATE TABLE history (
    one       boolean           PRIMARY KEY DEFAULT true CHECK (one),
    identity  text              NOT NULL,
    begun     timestamptz,
    lease     double precision  NOT NULL    -- the longest so far, seconds
);

INSERT INTO history (identity, lease)
    SELECT history_of(identity()),
           coalesce(max(CASE WHEN isfinite(lease_until)
                             THEN extract(epoch FROM lease_until
                                                     - heartbeat)::float8
                             ELSE 'infinity' END), 0)
      FROM instances;


CREATE OR REPLACE FUNCTION heartbeat(p_instance text, p_name text,
                                     p_identity text, p_snapshot text,
                                     p_lease text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_now      timestamptz := clock_timestamp();
    v_until    timestamptz;
    v_lease    double precision := p_lease;
    v_history  text := history_of(p_identity);
BEGIN
    IF p_identity IS DISTINCT FROM identity() THEN
        RETURN false;
    END IF;

    IF p_lease = 'infinity' THEN
        v_until := 'infinity';
    ELSE
        v_until := v_now + make_interval(secs => v_lease);
    END IF;

    UPDATE history SET
        identity = v_history,
        begun = CASE WHEN identity = v_history THEN begun ELSE v_now END,
        lease = greatest(lease, v_lease)
     WHERE identity <> v_history OR lease < v_lease;

    INSERT INTO instances AS i (uuid, name, feed, snapshot, horizon,
                                applied_at, heartbeat, lease_until)
        SELECT p_instance, p_name, f.uuid, p_snapshot::pg_snapshot,
               pg_snapshot_xmin(coalesce(p_snapshot::pg_snapshot,
                                         pg_current_snapshot())),
               CASE WHEN p_snapshot IS NOT NULL THEN v_now END,
               v_now, v_until
          FROM feed_uuid f
    ON CONFLICT (uuid) DO UPDATE SET
        name = excluded.name,
        feed = excluded.feed,
        snapshot = excluded.snapshot,
        horizon = CASE WHEN excluded.snapshot IS NULL
                            AND i.feed = excluded.feed
                       THEN i.horizon ELSE excluded.horizon END,
        applied_at = CASE WHEN excluded.snapshot::text = i.snapshot::text
                          THEN i.applied_at ELSE excluded.applied_at END,
        heartbeat = excluded.heartbeat,
        lease_until = excluded.lease_until;

    RETURN true;
END
$$;


-- The instances that still decide by a state before the transaction p_xid:
-- those heard of within p_seconds, or with null all whose lease runs, and
-- "unknown" while the lease of one that this history never heard of may.
CREATE OR REPLACE FUNCTION waiting_for(p_xid text, p_seconds text)
RETURNS TABLE (uuid text, name text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
    SELECT i.uuid, i.name
      FROM leased_instances i
     WHERE (i.snapshot IS NULL
            OR NOT pg_visible_in_snapshot(p_xid::xid8, i.snapshot))
       AND (p_seconds IS NULL
            OR i.heartbeat >= clock_timestamp()
                              - make_interval(secs => p_seconds::float8))
     UNION ALL
    SELECT '', 'unknown'
      FROM history h
     WHERE p_seconds IS NULL
       AND (h.identity <> history_of(identity())
            OR extract(epoch FROM clock_timestamp() - h.begun) < h.lease)
     ORDER BY 2, 1
$$;


REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA apikeys FROM PUBLIC;

INSERT INTO schema_version (version) VALUES (11);

COMMIT;
