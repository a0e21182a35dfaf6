--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- What the replicas tell: heartbeats, which say how far each has applied the
-- feed and until when it may decide by it; the pruning of what all of them
-- have; receipts; and the use of access list entries.
--
-- Functions that write are SECURITY DEFINER: nginx's role needs no right on
-- the tables (see grants.sql).
--

\set ON_ERROR_STOP on

BEGIN;

SELECT pg_advisory_xact_lock(hashtext('apikeys.schema_version'));

SELECT EXISTS (SELECT FROM apikeys.schema_version WHERE version = 4)
       AS applied \gset
\if :applied
    ROLLBACK;
    \quit
\endif

SET LOCAL search_path = apikeys, pg_catalog;


-- A committed heartbeat is the proof that this is the database to follow: it
-- is false, and nothing is written, where the identity is another one.  A
-- replica that has applied nothing yet (p_snapshot null) keeps the feed from
-- being pruned past the load it is about to start.
CREATE FUNCTION heartbeat(p_instance text, p_name text, p_identity text,
                          p_snapshot text, p_lease text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_now    timestamptz := clock_timestamp();
    v_until  timestamptz;
BEGIN
    IF p_identity IS DISTINCT FROM identity() THEN
        RETURN false;
    END IF;

    IF p_lease = 'infinity' THEN
        v_until := 'infinity';
    ELSE
        v_until := v_now + make_interval(secs => p_lease::float8);
    END IF;

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


CREATE FUNCTION sign_off(p_instance text) RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
    DELETE FROM instances WHERE uuid = p_instance
$$;


-- The instances that still decide by a state before the transaction p_xid:
-- those heard of within p_seconds, or with null all whose lease runs.
CREATE FUNCTION waiting_for(p_xid text, p_seconds text)
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
     ORDER BY i.name, i.uuid
$$;


-- Removes what every leased instance has applied, and says so where
-- feed_since() looks, in the same transaction.  Rows that came with a dump
-- and have an xid that is not reached yet go as well; our own transaction's
-- xid may look like one.  Returns the number of removed rows.
CREATE FUNCTION prune() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_below  xid8;
    v_count  bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('apikeys.prune')) THEN
        RETURN 0;
    END IF;

    SELECT least(pg_snapshot_xmin(pg_current_snapshot()),
                 (SELECT horizon FROM leased_instances
                   ORDER BY horizon LIMIT 1))
      INTO v_below;

    INSERT INTO feed_pruned AS p (uuid, below)
        SELECT uuid, v_below FROM feed_uuid
    ON CONFLICT (one) DO UPDATE SET
        uuid = excluded.uuid,
        below = CASE WHEN p.uuid = excluded.uuid
                     THEN greatest(p.below, excluded.below)
                     ELSE excluded.below END;

    DELETE FROM changes
     WHERE xid < v_below
        OR (xid >= pg_snapshot_xmax(pg_current_snapshot())
            AND xid <> pg_current_xact_id());

    GET DIAGNOSTICS v_count = ROW_COUNT;

    DELETE FROM instances
     WHERE feed <> (SELECT uuid FROM feed_uuid)
        OR lease_until < clock_timestamp() - interval '1 day';

    RETURN v_count;
END
$$;


-- Adds what one node counted to what all did.  The entries are locked in
-- order, against each other's flushes and against their deletion; entries
-- that are gone are left out.  Returns the number of entries that took it.
CREATE FUNCTION flush_usage(p_keys text[], p_entries text[],
                            p_counts bigint[], p_last_used float8[],
                            p_addresses text[])
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_count  bigint;
BEGIN
    WITH used AS (
        SELECT u.key_id, u.entry::cidr AS cidr, sum(u.count) AS count,
               to_timestamp(max(u.last_used)) AS last_used,
               (array_agg(u.address::inet ORDER BY u.last_used DESC))[1]
               AS address
          FROM unnest(p_keys, p_entries, p_counts, p_last_used, p_addresses)
               AS u (key_id, entry, count, last_used, address)
         GROUP BY u.key_id, u.entry::cidr

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


-- Whether the ring of master keys with these check values (first: the one
-- that seals) opens what is stored here.  The first ever is recorded; one
-- that is known but no longer first is replaced by the first, so a node
-- that has not got the new key yet is told before it meets it.
CREATE FUNCTION check_master_key(p_checks text[]) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_known  text;
BEGIN
    INSERT INTO master_key ("check") VALUES (p_checks[1])
        ON CONFLICT DO NOTHING;

    SELECT "check" INTO v_known FROM master_key FOR UPDATE;

    IF NOT v_known = ANY (p_checks) THEN
        RETURN false;
    END IF;

    IF v_known <> p_checks[1] THEN
        UPDATE master_key SET "check" = p_checks[1];
    END IF;

    RETURN true;
END
$$;


REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA apikeys FROM PUBLIC;

INSERT INTO schema_version (version) VALUES (4);

COMMIT;
