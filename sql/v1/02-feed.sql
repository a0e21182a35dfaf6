--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- The feed.  Triggers record every change of an object that the nodes copy,
-- made by the API or by psql, and give the object a new version.  The nodes
-- read the current states (views), all of them (load), or those that changed
-- since a snapshot (feed_since).
--
-- A change of a key's projects or access list is a change of the key: the
-- triggers of those tables update the key's row, whose triggers record the
-- change.  The triggers of the feed are statement triggers (10,000 entries are
-- one change of one key) and ENABLE ALWAYS (they fire with
-- session_replication_role = replica, too).  Logical replication fires row
-- triggers only: see 12-subscriber.sql.
--

-- The feed is ordered by xid, not by version: see changes_since().
--
-- asked: the API waits until the nodes have applied the change, so they tell
-- at once that they have (see tell()).  begin_change() sets "apikeys.asked".
CREATE TABLE changes (
    xid      xid8    NOT NULL DEFAULT pg_current_xact_id(),
    kind     text    NOT NULL CHECK (kind IN ('key', 'org', 'project',
                                              'reload')),
    id       text COLLATE "C" NOT NULL,    -- empty for reload
    version  bigint  NOT NULL,
    asked    boolean NOT NULL DEFAULT coalesce(
                 current_setting('apikeys.asked', true), '') = 'on'
);

CREATE INDEX changes_by_xid ON changes (xid);


-- A dump contains the definition of a materialized view, not its rows: a
-- restore makes a new uuid, so nodes notice it and load everything again.  To
-- force this by hand: REFRESH MATERIALIZED VIEW apikeys.feed_uuid.
CREATE MATERIALIZED VIEW feed_uuid AS SELECT gen_random_uuid() AS uuid;

-- Changes with an xid under "below" have been deleted from "changes".  In a row
-- that was restored from a dump the uuid is wrong, and "below" is ignored.
--
-- Each node reads this for each change, so the version of the schema is here,
-- too, in one row.
CREATE TABLE feed_pruned (
    one              boolean  PRIMARY KEY DEFAULT true CHECK (one),
    uuid             uuid     NOT NULL,
    below            xid8     NOT NULL,
    schema_version   integer,
    compatible_from  integer
);

INSERT INTO feed_pruned (uuid, below) SELECT uuid, '0' FROM feed_uuid;

CREATE VIEW feed AS
    SELECT f.uuid,
           CASE WHEN p.uuid = f.uuid THEN p.below ELSE '0' END
           AS pruned_below,
           p.schema_version, p.compatible_from
      FROM feed_uuid f LEFT JOIN feed_pruned p ON true;

CREATE FUNCTION feed_version() RETURNS trigger
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    UPDATE feed_pruned SET (schema_version, compatible_from) =
        (SELECT max(version), max(compatible_from) FROM schema_version);

    RETURN NULL;
END
$$;

CREATE TRIGGER feed_version
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON schema_version
    FOR EACH STATEMENT EXECUTE FUNCTION feed_version();


CREATE FUNCTION version_row() RETURNS trigger
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    NEW.version := nextval('version_seq');

    RETURN NEW;
END
$$;

-- A secret is sealed for the id, the public key and the organization of its
-- key.  A project's organization is fixed as well: keys of that organization
-- hold roles in it.
CREATE FUNCTION check_fixed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the % of a row of apikeys.% cannot be changed',
                    TG_ARGV[0], TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

-- Each role once, in ascending order.
CREATE FUNCTION sorted_roles(p_roles text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN ARRAY(SELECT DISTINCT r COLLATE "C" FROM unnest(p_roles) AS r
                  ORDER BY 1);
END
$$;

CREATE FUNCTION sort_roles() RETURNS trigger
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    NEW.roles := sorted_roles(NEW.roles);

    RETURN NEW;
END
$$;

-- Adds the line that sealed the secret to master_keys, which the foreign key
-- requires.
CREATE FUNCTION record_line() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_line  text := encode(substr(NEW.secret, 1, 4), 'hex');
BEGIN
    IF NOT EXISTS (SELECT FROM master_keys WHERE line = v_line) THEN
        INSERT INTO master_keys (line) VALUES (v_line) ON CONFLICT DO NOTHING;
    END IF;

    RETURN NEW;
END
$$;

-- Fills org_id of an assignment or entry that psql inserts without it.
CREATE FUNCTION find_org() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    SELECT coalesce(max(org_id), '') INTO NEW.org_id
      FROM keys WHERE id = NEW.key_id;

    RETURN NEW;
END
$$;


-- Wakes the nodes, after the commit of a change.  PostgreSQL commits
-- transactions with a NOTIFY one after the other, in the whole cluster: this
-- one has nothing to write, and does not wait for the disk.
CREATE FUNCTION announce() RETURNS void
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_notify('apikeys', '');
END
$$;


-- Records changes of keys, organizations or projects.  "rows" is the new
-- transition table of an INSERT or UPDATE, the old one of a DELETE.
--
-- The transactions of nginx set apikeys.notify to "deferred": a worker calls
-- announce() after the commit.  All others wake the nodes with their commit.
CREATE FUNCTION feed_rows() RETURNS trigger
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO changes (kind, id, version)
            SELECT TG_ARGV[0], id, nextval('version_seq') FROM rows;
    ELSE
        INSERT INTO changes (kind, id, version)
            SELECT TG_ARGV[0], id, version FROM rows;
    END IF;

    IF FOUND
       AND current_setting('apikeys.notify', true) IS DISTINCT FROM 'deferred'
    THEN
        PERFORM pg_notify('apikeys', '');
    END IF;

    RETURN NULL;
END
$$;

-- Records changes of assignments, access lists and older secrets as changes of
-- their keys.
-- An UPDATE can move a row from one key to another: both have changed.  Keys
-- are locked in the order of their ids, after projects.
--
-- New rows whose key or project is gone are refused here, as PostgreSQL can
-- lose the lock FOR KEY SHARE of their foreign keys.  heap_update() releases
-- the page of the old row while it stores a TOAST value or looks for a page
-- with room for the new row, and then overwrites locks taken meanwhile (seen
-- in 15.18).  A DELETE then neither waits for the new rows nor cascades to
-- them.  The locks below conflict with an UPDATE and cannot be lost.
CREATE FUNCTION feed_parts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    touched     text[];
    v_projects  text[] := '{}';
    v_locked    bigint := 0;
    v_found     bigint;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        touched := ARRAY(SELECT key_id FROM rows
                          UNION SELECT key_id FROM old_rows);
    ELSE
        touched := ARRAY(SELECT DISTINCT key_id FROM rows);
    END IF;

    IF touched = '{}' THEN
        RETURN NULL;
    END IF;

    IF TG_TABLE_NAME = 'key_projects' AND TG_OP <> 'DELETE' THEN
        v_projects := ARRAY(SELECT DISTINCT project_id FROM rows);

        PERFORM FROM projects WHERE id = ANY (v_projects) ORDER BY id
            FOR SHARE;
        GET DIAGNOSTICS v_locked = ROW_COUNT;
    END IF;

    PERFORM FROM keys WHERE id = ANY (touched) ORDER BY id
        FOR NO KEY UPDATE;
    GET DIAGNOSTICS v_found = ROW_COUNT;

    IF TG_OP <> 'DELETE'
       AND v_locked + v_found < cardinality(v_projects || touched)
    THEN
        RAISE EXCEPTION 'a key or project of the new rows of apikeys.% was '
                        'deleted', TG_TABLE_NAME
            USING ERRCODE = 'foreign_key_violation';
    END IF;

    UPDATE keys SET version = version WHERE id = ANY (touched);

    RETURN NULL;
END
$$;

-- Records a change of the global access list as a change of all global keys.
CREATE FUNCTION feed_global() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
BEGIN
    PERFORM FROM keys WHERE org_id IS NULL ORDER BY id FOR NO KEY UPDATE;

    UPDATE keys SET version = version WHERE org_id IS NULL;

    RETURN NULL;
END
$$;

-- Records a TRUNCATE: the nodes load everything.
CREATE FUNCTION feed_reload() RETURNS trigger
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO changes (kind, id, version)
        VALUES ('reload', '', nextval('version_seq'));

    PERFORM pg_notify('apikeys', '');

    RETURN NULL;
END
$$;


CREATE TRIGGER a_version BEFORE INSERT OR UPDATE ON orgs
    FOR EACH ROW EXECUTE FUNCTION version_row();
CREATE TRIGGER b_id BEFORE UPDATE ON orgs
    FOR EACH ROW WHEN (NEW.id <> OLD.id)
    EXECUTE FUNCTION check_fixed('id');
CREATE TRIGGER feed_insert AFTER INSERT ON orgs
    REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_rows('org');
CREATE TRIGGER feed_update AFTER UPDATE ON orgs
    REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_rows('org');
CREATE TRIGGER feed_delete AFTER DELETE ON orgs
    REFERENCING OLD TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_rows('org');
CREATE TRIGGER feed_truncate AFTER TRUNCATE ON orgs
    FOR EACH STATEMENT EXECUTE FUNCTION feed_reload();

CREATE TRIGGER a_version BEFORE INSERT OR UPDATE ON projects
    FOR EACH ROW EXECUTE FUNCTION version_row();
CREATE TRIGGER b_id BEFORE UPDATE ON projects
    FOR EACH ROW WHEN (NEW.id <> OLD.id)
    EXECUTE FUNCTION check_fixed('id');
CREATE TRIGGER b_org BEFORE UPDATE ON projects
    FOR EACH ROW WHEN (NEW.org_id <> OLD.org_id)
    EXECUTE FUNCTION check_fixed('organization');
CREATE TRIGGER feed_insert AFTER INSERT ON projects
    REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_rows('project');
CREATE TRIGGER feed_update AFTER UPDATE ON projects
    REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_rows('project');
CREATE TRIGGER feed_delete AFTER DELETE ON projects
    REFERENCING OLD TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_rows('project');
CREATE TRIGGER feed_truncate AFTER TRUNCATE ON projects
    FOR EACH STATEMENT EXECUTE FUNCTION feed_reload();

-- A secret that is only encrypted with another master key is not a change:
-- seal_anew() has the mark "apikeys seals" in its search_path (see
-- 11-master-keys.sql).  The mark counts only for the owner of the tables.
CREATE TRIGGER a_version BEFORE INSERT OR UPDATE ON keys
    FOR EACH ROW
    WHEN (current_setting('search_path') NOT LIKE '%"apikeys seals"%'
          OR NOT has_table_privilege('apikeys.master_keys', 'UPDATE'))
    EXECUTE FUNCTION version_row();
CREATE TRIGGER b_line BEFORE INSERT OR UPDATE OF secret ON keys
    FOR EACH ROW EXECUTE FUNCTION record_line();
CREATE TRIGGER b_org BEFORE UPDATE ON keys
    FOR EACH ROW WHEN (NEW.org_id IS DISTINCT FROM OLD.org_id)
    EXECUTE FUNCTION check_fixed('organization');
CREATE TRIGGER b_public_key BEFORE UPDATE ON keys
    FOR EACH ROW WHEN (NEW.public_key <> OLD.public_key)
    EXECUTE FUNCTION check_fixed('public key');
CREATE TRIGGER c_roles BEFORE INSERT OR UPDATE ON keys
    FOR EACH ROW EXECUTE FUNCTION sort_roles();
CREATE TRIGGER b_id BEFORE UPDATE ON keys
    FOR EACH ROW WHEN (NEW.id <> OLD.id)
    EXECUTE FUNCTION check_fixed('id');
CREATE TRIGGER feed_insert AFTER INSERT ON keys
    REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_rows('key');
CREATE TRIGGER feed_update AFTER UPDATE ON keys
    REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT
    WHEN (current_setting('search_path') NOT LIKE '%"apikeys seals"%'
          OR NOT has_table_privilege('apikeys.master_keys', 'UPDATE'))
    EXECUTE FUNCTION feed_rows('key');
CREATE TRIGGER feed_delete AFTER DELETE ON keys
    REFERENCING OLD TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_rows('key');
CREATE TRIGGER feed_truncate AFTER TRUNCATE ON keys
    FOR EACH STATEMENT EXECUTE FUNCTION feed_reload();

CREATE TRIGGER a_org BEFORE INSERT ON key_projects
    FOR EACH ROW WHEN (NEW.org_id IS NULL) EXECUTE FUNCTION find_org();
CREATE TRIGGER c_roles BEFORE INSERT OR UPDATE ON key_projects
    FOR EACH ROW EXECUTE FUNCTION sort_roles();
CREATE TRIGGER feed_insert AFTER INSERT ON key_projects
    REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_parts();
CREATE TRIGGER feed_update AFTER UPDATE ON key_projects
    REFERENCING NEW TABLE AS rows OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_parts();
CREATE TRIGGER feed_delete AFTER DELETE ON key_projects
    REFERENCING OLD TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_parts();
CREATE TRIGGER feed_truncate AFTER TRUNCATE ON key_projects
    FOR EACH STATEMENT EXECUTE FUNCTION feed_reload();

CREATE TRIGGER a_org BEFORE INSERT ON access_list
    FOR EACH ROW WHEN (NEW.org_id IS NULL) EXECUTE FUNCTION find_org();
CREATE TRIGGER feed_insert AFTER INSERT ON access_list
    REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_parts();
CREATE TRIGGER feed_update AFTER UPDATE ON access_list
    REFERENCING NEW TABLE AS rows OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_parts();
CREATE TRIGGER feed_delete AFTER DELETE ON access_list
    REFERENCING OLD TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_parts();
CREATE TRIGGER feed_truncate AFTER TRUNCATE ON access_list
    FOR EACH STATEMENT EXECUTE FUNCTION feed_reload();

CREATE TRIGGER b_line BEFORE INSERT OR UPDATE OF secret ON older_secrets
    FOR EACH ROW EXECUTE FUNCTION record_line();
CREATE TRIGGER feed_insert AFTER INSERT ON older_secrets
    REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_parts();
CREATE TRIGGER feed_update AFTER UPDATE ON older_secrets
    REFERENCING NEW TABLE AS rows OLD TABLE AS old_rows
    FOR EACH STATEMENT
    WHEN (current_setting('search_path') NOT LIKE '%"apikeys seals"%'
          OR NOT has_table_privilege('apikeys.master_keys', 'UPDATE'))
    EXECUTE FUNCTION feed_parts();
CREATE TRIGGER feed_delete AFTER DELETE ON older_secrets
    REFERENCING OLD TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_parts();
CREATE TRIGGER feed_truncate AFTER TRUNCATE ON older_secrets
    FOR EACH STATEMENT EXECUTE FUNCTION feed_reload();

CREATE TRIGGER feed_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON global_access_list
    FOR EACH STATEMENT EXECUTE FUNCTION feed_global();

-- TRUNCATE of "changes" makes every node load everything: nothing is missed
CREATE TRIGGER feed_truncate AFTER TRUNCATE ON changes
    FOR EACH STATEMENT EXECUTE FUNCTION feed_reload();


-- The access list of all global keys, as in the column "entries" of a state.
CREATE FUNCTION global_entries() RETURNS text
LANGUAGE sql STABLE SET search_path = apikeys, pg_catalog, pg_temp AS $$
    SELECT coalesce(string_agg(text(cidr), ',' ORDER BY cidr), '')
      FROM global_access_list
$$;


-- The current rows, in the columns of the type "state".  The lists of a key
-- are subqueries: fast for a few keys.  To read all keys use the view load.

CREATE VIEW org_states AS
    SELECT 'org'::text AS kind, o.id::text, o.version, false AS deleted,
           NULL::text AS org_id, NULL::text AS public_key,
           NULL::text AS secret, NULL::text AS redacted,
           NULL::text AS descr, NULL::text AS roles,
           NULL::text AS projects, NULL::text AS entries,
           o.access_list_required, o.name::text, utc(o.created) AS created,
           NULL::boolean AS disabled, NULL::bigint AS expires,
           NULL::text AS secret_id, NULL::bigint AS secret_expires,
           NULL::text AS older_id, NULL::text AS older_secret,
           NULL::bigint AS older_expires,
           o.attributes::text
      FROM orgs o;

CREATE VIEW project_states AS
    SELECT 'project'::text AS kind, p.id::text, p.version, false AS deleted,
           p.org_id::text, NULL::text AS public_key,
           NULL::text AS secret, NULL::text AS redacted,
           NULL::text AS descr, NULL::text AS roles,
           NULL::text AS projects, NULL::text AS entries,
           NULL::boolean AS access_list_required,
           p.name::text, utc(p.created) AS created,
           NULL::boolean AS disabled, NULL::bigint AS expires,
           NULL::text AS secret_id, NULL::bigint AS secret_expires,
           NULL::text AS older_id, NULL::text AS older_secret,
           NULL::bigint AS older_expires,
           p.attributes::text
      FROM projects p;

CREATE VIEW key_states AS
    SELECT 'key'::text AS kind, k.id::text, k.version, false AS deleted,
           k.org_id::text, k.public_key::text,
           encode(k.secret, 'hex') AS secret, k.redacted::text,
           k.descr::text, array_to_string(k.roles, ',') AS roles,
           coalesce((SELECT string_agg(p.project_id || ':'
                                       || array_to_string(p.roles, ','), ';'
                                       ORDER BY p.project_id)
                       FROM key_projects p WHERE p.key_id = k.id), '')
           AS projects,
           CASE WHEN k.org_id IS NULL THEN global_entries()
                ELSE coalesce((SELECT string_agg(
                                          text(a.cidr)
                                          || coalesce('@' || extract(
                                                 epoch FROM a.expires)::bigint,
                                                      ''), ','
                                          ORDER BY a.cidr)
                                 FROM access_list a WHERE a.key_id = k.id),
                              '') END
           AS entries,
           NULL::boolean AS access_list_required,
           NULL::text AS name, utc(k.created) AS created, k.disabled,
           extract(epoch FROM k.expires)::bigint AS expires,
           coalesce(k.secret_id, k.id) AS secret_id,
           extract(epoch FROM k.secret_expires)::bigint AS secret_expires,
           o.id AS older_id, encode(o.secret, 'hex') AS older_secret,
           extract(epoch FROM o.expires)::bigint AS older_expires,
           NULL::text AS attributes
      FROM keys k
      LEFT JOIN older_secrets o ON o.key_id = k.id;


-- The part of identity() that is the same as long as a session lasts.  The
-- timeline is that of the WAL being written (that of the control file lags
-- behind a promotion), so the function fails on a standby with SQLSTATE 55000.
CREATE FUNCTION database_identity() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN concat_ws('/',
                     (SELECT system_identifier FROM pg_control_system()),
                     (SELECT oid FROM pg_database
                       WHERE datname = current_database()),
                     left(pg_walfile_name(pg_current_wal_lsn()), 8));
END
$$;

-- Identifies the database and its history.  If the result changes, the
-- database was restored, upgraded by pg_upgrade or failed over, and saved
-- cursors are invalid.  It is not PARALLEL SAFE, because the rows of the view
-- load must not be reordered.
CREATE FUNCTION identity() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    RETURN concat_ws('/', database_identity(), (SELECT uuid FROM feed_uuid));
END
$$;


-- Everything, in one statement and so in one snapshot.  The first row is a
-- header with kind null; the others have the columns of "state".  The lists of
-- all keys are made in one pass over each table, in the order of its primary
-- key, on which the aggregates rely.
CREATE VIEW load AS
    SELECT identity() AS identity, pg_current_snapshot()::text AS snapshot,
           (SELECT max(version) FROM schema_version) AS schema_version,
           (SELECT max(compatible_from) FROM schema_version)
           AS compatible_from,
           NULL::text AS kind, NULL::text AS id, NULL::bigint AS version,
           NULL::boolean AS deleted, NULL::text AS org_id,
           NULL::text AS public_key, NULL::text AS secret,
           NULL::text AS redacted, NULL::text AS descr, NULL::text AS roles,
           NULL::text AS projects, NULL::text AS entries,
           NULL::boolean AS access_list_required, NULL::text AS name,
           NULL::text AS created, NULL::boolean AS disabled,
           NULL::bigint AS expires,
           NULL::text AS secret_id, NULL::bigint AS secret_expires,
           NULL::text AS older_id, NULL::text AS older_secret,
           NULL::bigint AS older_expires
     UNION ALL
    SELECT NULL, NULL, NULL, NULL,
           'org', o.id, o.version, false, NULL, NULL, NULL, NULL, NULL, NULL,
           NULL, NULL, o.access_list_required, o.name, utc(o.created), NULL,
           NULL, NULL, NULL, NULL, NULL, NULL
      FROM orgs o
     UNION ALL
    SELECT NULL, NULL, NULL, NULL,
           'project', p.id, p.version, false, p.org_id, NULL, NULL, NULL,
           NULL, NULL, NULL, NULL, NULL, p.name, utc(p.created), NULL, NULL,
           NULL, NULL, NULL, NULL, NULL
      FROM projects p
     UNION ALL
    SELECT NULL, NULL, NULL, NULL,
           'key', k.id, k.version, false, k.org_id,
           k.public_key, encode(k.secret, 'hex'), k.redacted, k.descr,
           array_to_string(k.roles, ','), coalesce(p.projects, ''),
           CASE WHEN k.org_id IS NULL THEN global_entries()
                ELSE coalesce(a.entries, '') END,
           NULL, NULL, utc(k.created), k.disabled,
           extract(epoch FROM k.expires)::bigint,
           coalesce(k.secret_id, k.id),
           extract(epoch FROM k.secret_expires)::bigint,
           o.id, encode(o.secret, 'hex'),
           extract(epoch FROM o.expires)::bigint
      FROM keys k
      LEFT JOIN older_secrets o ON o.key_id = k.id
      LEFT JOIN (SELECT key_id,
                        string_agg(project_id || ':'
                                   || array_to_string(roles, ','), ';')
                        AS projects
                   FROM (SELECT key_id, project_id, roles FROM key_projects
                          ORDER BY key_id, project_id) AS sorted
                  GROUP BY key_id) p ON p.key_id = k.id
      LEFT JOIN (SELECT key_id,
                        string_agg(text(cidr)
                                   || coalesce('@' || extract(
                                          epoch FROM expires)::bigint, ''),
                                   ',') AS entries
                   FROM (SELECT key_id, cidr, expires FROM access_list
                          ORDER BY key_id, cidr) AS sorted
                  GROUP BY key_id) a ON a.key_id = k.id;


-- The rows of the feed that are not visible in p_since.  Selecting them by xid
-- and snapshot, not by version or time, finds each committed change once: a
-- transaction that was running at p_since is in its xip or beyond its xmax,
-- however late it commits.  A row with an xid that this database has not
-- reached came with a dump and is left out.  The function is one statement, so
-- that a caller's plan contains it.
CREATE FUNCTION changes_since(p_since pg_snapshot) RETURNS SETOF changes
LANGUAGE sql STABLE AS $$
    SELECT c.*
      FROM apikeys.changes c
     WHERE c.xid >= pg_snapshot_xmax(p_since)
       AND c.xid < pg_snapshot_xmax(pg_current_snapshot())
     UNION ALL
    SELECT c.*
      FROM apikeys.changes c
     WHERE c.xid = ANY (ARRAY(SELECT pg_snapshot_xip(p_since)))
       AND c.xid < pg_snapshot_xmax(pg_current_snapshot())
$$;


-- The states of many objects, and of the keys p_keys, for feed_since(): read
-- at once, with a plan for this snapshot.
CREATE FUNCTION feed_states(p_since pg_snapshot, p_keys text[])
RETURNS SETOF state
LANGUAGE plpgsql STABLE SET search_path = apikeys, pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan SET jit = off AS $$
BEGIN
    RETURN QUERY
        SELECT c.kind, c.id, coalesce(s.version, c.version), s.id IS NULL,
               s.org_id, s.public_key, s.secret, s.redacted, s.descr,
               s.roles, s.projects, s.entries, s.access_list_required,
               s.name, s.created, s.disabled, s.expires, s.secret_id,
               s.secret_expires, s.older_id, s.older_secret,
               s.older_expires, NULL::text
          FROM (SELECT f.kind, f.id, max(f.version) AS version
                  FROM (SELECT f.kind, f.id, f.version
                          FROM changes_since(p_since) f
                         UNION ALL
                        SELECT 'key', k.id, k.version
                          FROM keys k WHERE k.id = ANY (p_keys)) f
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


-- What changed since the snapshot p_snapshot of the database p_identity.
-- The first row tells what the others are (column kind):
--
--     feed     the states of the objects changed since, and of the keys
--              p_keys
--     load     there are none: read the view load, versions still compare
--     epoch    there are none: read the view load, forget all versions
--
-- and has the identity, the snapshot for the next call, the version of the
-- schema, the oldest version whose nodes may follow it, and whether somebody
-- waits for one of the changes.  The function is STABLE, so that all its
-- queries use the snapshot of the calling statement.
--
-- Each node calls it for each change, so nothing is planned here more than
-- once in a session: a few objects are read one by one by their primary keys.
-- A plan that is kept may have been made for an empty table, so it must not
-- scan a table as a whole.  The first call of a session keeps
-- database_identity() in "apikeys.database".
CREATE FUNCTION feed_since(p_identity text, p_snapshot text,
                           p_keys text[] DEFAULT '{}')
RETURNS TABLE (identity text, snapshot text, schema_version integer,
               compatible_from integer, kind text, id text, version bigint,
               deleted boolean, org_id text, public_key text, secret text,
               redacted text, descr text, roles text, projects text,
               entries text, access_list_required boolean, name text,
               created text, disabled boolean, expires bigint,
               secret_id text, secret_expires bigint, older_id text,
               older_secret text, older_expires bigint, attributes text,
               asked boolean)
LANGUAGE plpgsql STABLE SET search_path = apikeys, pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
SET jit = off AS $$
#variable_conflict use_column
DECLARE
    v_database  text := current_setting('apikeys.database', true);
    v_since     pg_snapshot := p_snapshot;
    v_now       pg_snapshot := pg_current_snapshot();
    v_header    record;
    v_changes   changes[];
    v_change    changes;
BEGIN
    IF coalesce(v_database, '') = '' THEN
        v_database := set_config('apikeys.database', database_identity(),
                                 false);
    END IF;

    SELECT f.*, c.*
      INTO v_header
      FROM feed f,
           (SELECT count(*) AS changes,
                   coalesce(bool_or(c.kind = 'reload'), false) AS reload,
                   coalesce(bool_or(c.asked), false) AS asked,
                   max(c.kind) AS kind, max(c.id) AS id,
                   max(c.version) AS version
              FROM changes_since(v_since) c) c;

    identity := concat_ws('/', v_database, v_header.uuid);
    snapshot := v_now;
    schema_version := v_header.schema_version;
    compatible_from := v_header.compatible_from;
    asked := v_header.asked;

    IF p_identity IS DISTINCT FROM identity
       OR pg_snapshot_xmax(v_now) < pg_snapshot_xmax(v_since)
       OR pg_snapshot_xmin(v_since) < v_header.pruned_below
    THEN
        kind := 'epoch';
    ELSIF v_header.reload THEN
        kind := 'load';
    ELSE
        kind := 'feed';
    END IF;

    RETURN NEXT;

    identity := NULL;
    snapshot := NULL;
    schema_version := NULL;
    compatible_from := NULL;
    asked := NULL;

    IF kind <> 'feed' OR v_header.changes = 0 AND p_keys = '{}' THEN
        RETURN;
    END IF;

    IF v_header.changes + cardinality(p_keys) > 64 THEN
        RETURN QUERY
            SELECT NULL::text, NULL::text, NULL::integer, NULL::integer,
                   s.*, NULL::boolean
              FROM feed_states(v_since, p_keys) s;
        RETURN;
    END IF;

    IF v_header.changes = 1 AND p_keys = '{}' THEN
        v_changes := ARRAY[ROW(NULL, v_header.kind, v_header.id,
                               v_header.version, NULL)::changes];
    ELSE
        v_changes := ARRAY(
            SELECT ROW(NULL, c.kind, c.id, max(c.version), NULL)::changes
              FROM (SELECT c.kind, c.id, c.version
                      FROM changes_since(v_since) c
                     UNION ALL
                    SELECT 'key', k.id, k.version
                      FROM keys k WHERE k.id = ANY (p_keys)) c
             GROUP BY c.kind, c.id);
    END IF;

    FOREACH v_change IN ARRAY v_changes LOOP
        CASE v_change.kind
        WHEN 'key' THEN
            RETURN QUERY
                SELECT NULL::text, NULL::text, NULL::integer, NULL::integer,
                   s.*, NULL::boolean
              FROM key_states s WHERE s.id = v_change.id;
        WHEN 'org' THEN
            RETURN QUERY
                SELECT NULL::text, NULL::text, NULL::integer, NULL::integer,
                   s.*, NULL::boolean
              FROM org_states s WHERE s.id = v_change.id;
        ELSE
            RETURN QUERY
                SELECT NULL::text, NULL::text, NULL::integer, NULL::integer,
                   s.*, NULL::boolean
              FROM project_states s WHERE s.id = v_change.id;
        END CASE;

        IF NOT FOUND THEN
            kind := v_change.kind;
            id := v_change.id;
            version := v_change.version;
            deleted := true;
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;
