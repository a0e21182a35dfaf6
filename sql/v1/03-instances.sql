--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- What the nodes report: heartbeats, with the snapshot that a node has applied
-- and the time until which it may decide by its local copy (its lease).
-- Pruning of changes that all nodes have applied.  Receipts: which nodes have
-- not applied a change yet.
--
-- Functions that write are SECURITY DEFINER: nginx's role needs no right on
-- the tables (see grants.sql).
--

-- One row for each node: the shared memory zone of one nginx.
CREATE TABLE instances (
    uuid         text COLLATE "C" PRIMARY KEY,
    name         text         NOT NULL,    -- host:pid, for display
    feed         uuid         NOT NULL,    -- snapshot belongs to this feed
    snapshot     pg_snapshot,              -- applied; null: none yet
    horizon      xid8         NOT NULL,    -- the oldest change that it needs
    lines        text[]       NOT NULL DEFAULT '{}',  -- of its key file
    successor    text,                     -- zone that a reload made from it
    succeeded    boolean      NOT NULL DEFAULT false, -- successor had a row
    applied_at   timestamptz,              -- when it last applied a change
    heartbeat    timestamptz  NOT NULL,
    lease_until  timestamptz  NOT NULL
) WITH (fillfactor = 20);  -- tell() finds room for a new version of a row

-- The nodes that may decide requests.  Rows that came with a dump are left
-- out.
CREATE VIEW leased_instances AS
    SELECT i.*
      FROM instances i JOIN feed_uuid f ON f.uuid = i.feed
     WHERE i.lease_until > clock_timestamp();


-- Since when the database knows all its nodes.  A database that was restored
-- from a dump knows none, and a promoted standby may lack the last heartbeats.
-- A node that the database does not know may decide by its local copy until
-- its lease ends, so no receipt is given until the longest lease so far has
-- passed.
--
-- begun: when this database became the current one by a restore or a failover;
-- null: no node can be unknown, as in a new database or after end_unknown().
-- A row that was restored from a dump has the identity of another database.
CREATE TABLE history (
    one       boolean           PRIMARY KEY DEFAULT true CHECK (one),
    identity  text              NOT NULL,
    begun     timestamptz,
    lease     double precision  NOT NULL    -- the longest so far, seconds
);

INSERT INTO history (identity, lease) VALUES (identity(), 0);


-- Records what the node has applied, and extends its lease.  Returns false,
-- and writes nothing, if p_identity is not that of this database; a committed
-- heartbeat proves that this is the primary.  While a node has applied nothing
-- yet (p_snapshot null), changes that it will need after its load are kept.
--
-- p_successor: the zone of another size that a reload of nginx has filled from
-- this one.  It decides requests before its first heartbeat, by the content at
-- the time of the reload: until then the node counts as if it had applied
-- nothing (see waiting_for()).
--
-- p_cursor: the snapshot from which the node goes on when its connection is
-- lost: changes after it are kept.  Null: the same as p_snapshot.
CREATE FUNCTION heartbeat(p_instance text, p_name text, p_identity text,
                          p_snapshot text, p_lease text,
                          p_lines text[] DEFAULT '{}',
                          p_successor text DEFAULT NULL,
                          p_cursor text DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_now    timestamptz := clock_timestamp();
    v_until  timestamptz;
    v_lease  double precision := p_lease;
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
        identity = p_identity,
        begun = CASE WHEN identity = p_identity THEN begun ELSE v_now END,
        lease = greatest(lease, v_lease)
     WHERE identity <> p_identity OR lease < v_lease;

    INSERT INTO instances AS i (uuid, name, feed, snapshot, horizon, lines,
                                successor, succeeded, applied_at, heartbeat,
                                lease_until)
        SELECT p_instance, p_name, f.uuid, p_snapshot::pg_snapshot,
               pg_snapshot_xmin(coalesce(p_cursor::pg_snapshot,
                                         p_snapshot::pg_snapshot,
                                         pg_current_snapshot())),
               p_lines, p_successor,
               EXISTS (SELECT FROM instances WHERE uuid = p_successor),
               CASE WHEN p_snapshot IS NOT NULL THEN v_now END,
               v_now, v_until
          FROM feed_uuid f
    ON CONFLICT (uuid) DO UPDATE SET
        name = excluded.name,
        feed = excluded.feed,
        snapshot = excluded.snapshot,
        horizon = CASE WHEN excluded.snapshot IS NULL
                            AND p_cursor IS NULL
                            AND i.feed = excluded.feed
                       THEN i.horizon ELSE excluded.horizon END,
        lines = excluded.lines,
        successor = excluded.successor,
        succeeded = excluded.succeeded
                    OR (i.succeeded
                        AND i.successor IS NOT DISTINCT FROM
                            excluded.successor),
        applied_at = CASE WHEN excluded.snapshot::text = i.snapshot::text
                          THEN i.applied_at ELSE excluded.applied_at END,
        heartbeat = excluded.heartbeat,
        lease_until = excluded.lease_until;

    UPDATE instances SET succeeded = true
     WHERE successor = p_instance AND NOT succeeded;

    RETURN true;
END
$$;


-- Records what the node has applied since its last heartbeat, for waiting_for()
-- alone: lease, horizon and freshness are the heartbeat's.  So nothing false
-- follows if a server that fails forgets the row's new version, and the commit
-- does not wait for the disk.  Returns false if the node has no row and must
-- send a heartbeat.
--
-- Ignored (null) in the first statement of a session: the snapshot may be of a
-- server that has failed since, and its transaction ids may have been given to
-- other transactions.
CREATE FUNCTION tell(p_instance text, p_snapshot text) RETURNS boolean
LANGUAGE plpgsql STRICT SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    IF coalesce(current_setting('apikeys.database', true), '') = '' THEN
        RETURN NULL;
    END IF;

    PERFORM set_config('synchronous_commit', 'off', true);

    UPDATE instances
       SET snapshot = p_snapshot::pg_snapshot, applied_at = clock_timestamp()
     WHERE uuid = p_instance;

    RETURN FOUND;
END
$$;


-- For a node that stops: changes are no longer waited for on its account.
CREATE FUNCTION sign_off(p_instance text) RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
    DELETE FROM instances WHERE uuid = p_instance
$$;


-- For the owner of the schema.  Removes the node with this uuid or name, which
-- will not come back: receipts no longer wait for it, and changes are no
-- longer kept for it.  While its lease runs the node may decide by its local
-- copy, so p_force is required: make sure first that it is stopped.
CREATE FUNCTION forget_instance(p_node text, p_force boolean DEFAULT false)
RETURNS text
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_nodes  instances[] := ARRAY(SELECT i FROM instances i
                                   WHERE p_node IN (i.uuid, i.name)
                                     FOR UPDATE);
    v_node   instances;
BEGIN
    IF cardinality(v_nodes) <> 1 THEN
        RAISE EXCEPTION '% nodes have the uuid or name "%"',
                        cardinality(v_nodes), p_node
            USING HINT = 'Take a uuid of apikeys.instances.';
    END IF;

    v_node := v_nodes[1];

    IF v_node.lease_until > clock_timestamp() AND NOT p_force THEN
        RAISE EXCEPTION 'node % may decide requests by its local copy until %',
                        v_node.name, v_node.lease_until
            USING HINT = 'Wait until then, or stop the node and repeat this '
                         'with p_force => true.';
    END IF;

    DELETE FROM instances WHERE uuid = v_node.uuid;

    INSERT INTO audit (event, caller, address, before)
        VALUES ('INSTANCE_FORGOTTEN', session_user, host(inet_client_addr()),
                jsonb_build_object('uuid', v_node.uuid, 'name', v_node.name,
                                   'heartbeat', utc(v_node.heartbeat),
                                   'leaseUntil', v_node.lease_until::text));

    RETURN format('node %s, last heard of at %s, could decide until %s',
                  v_node.name, v_node.heartbeat, v_node.lease_until);
END
$$;


-- For the owner of the schema, once every node is known to follow this
-- database or to be stopped: waiting_for() no longer reports "unknown".
CREATE FUNCTION end_unknown() RETURNS text
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_old  history;
BEGIN
    SELECT * INTO v_old FROM history FOR UPDATE;

    UPDATE history SET begun = NULL, identity = identity();

    INSERT INTO audit (event, caller, address, before)
        VALUES ('UNKNOWN_INSTANCES_ENDED', session_user,
                host(inet_client_addr()),
                jsonb_build_object('begun', utc(v_old.begun),
                                   'lease', v_old.lease));

    RETURN format('changes wait for the %s nodes of apikeys.leased_instances',
                  (SELECT count(*) FROM leased_instances));
END
$$;


-- The nodes with an unexpired lease that may not have applied one of the
-- transactions p_xids: the transaction, the node, and the ms since its last
-- heartbeat.  While its successor has sent no heartbeat, a node counts as if
-- it had applied none.  A row "unknown" without uuid: there may be nodes that
-- this database does not know, until the longest lease has passed (see
-- history).
CREATE FUNCTION waiting_for(p_xids text[])
RETURNS TABLE (xid text, uuid text, name text, heard bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_now      timestamptz := clock_timestamp();
    v_unknown  boolean;
BEGIN
    v_unknown := EXISTS (
        SELECT FROM history h
         WHERE h.identity <> identity()
            OR extract(epoch FROM v_now - h.begun) < h.lease);

    RETURN QUERY
        SELECT x.xid, i.uuid::text, i.name,
               (extract(epoch FROM v_now - i.heartbeat) * 1000)::bigint
          FROM leased_instances i
          JOIN unnest(p_xids) AS x (xid)
               ON i.snapshot IS NULL
                  OR (i.successor IS NOT NULL AND NOT i.succeeded)
                  OR NOT pg_visible_in_snapshot(x.xid::xid8, i.snapshot)
         UNION ALL
        SELECT x.xid, NULL, 'unknown', NULL
          FROM unnest(p_xids) AS x (xid)
         WHERE v_unknown
         ORDER BY 3, 2;
END
$$;


-- The uuid of the only node with a lease and a heartbeat in the last p_heard
-- ms; null if there are several, or none.  VOLATILE, because a mutation may
-- have waited for a lock, and needs the nodes after that.
CREATE FUNCTION only_node(p_heard integer) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT CASE WHEN count(*) = 1 THEN min(uuid) END
              FROM leased_instances
             WHERE heartbeat > clock_timestamp()
                               - make_interval(secs => p_heard / 1000.0));
END
$$;


-- Deletes the changes that every leased node has applied, and in the same
-- transaction records the limit, which feed_since() checks.  Also deletes rows
-- that came with a dump and have an xid that is not reached yet; the xid of
-- this transaction is not one of them.  Returns the number of deleted changes.
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
