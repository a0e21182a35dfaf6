--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Versions and the feed: triggers that note every change of an object that
-- the replicas hold, whoever makes it, and the views of what is now.
--
-- A change of a key's projects or access list is a change of the key: the
-- triggers of those tables touch the key's row, whose own triggers do the
-- rest.  Triggers of the feed are statement triggers (10,000 entries are one
-- change of one key) and ENABLE ALWAYS (a logical subscriber's changes count
-- as well).
--

\set ON_ERROR_STOP on

BEGIN;

SELECT pg_advisory_xact_lock(hashtext('apikeys.schema_version'));

SELECT EXISTS (SELECT FROM apikeys.schema_version WHERE version = 2)
       AS applied \gset
\if :applied
    ROLLBACK;
    \quit
\endif

SET LOCAL search_path = apikeys, pg_catalog;


-- xid, not version, orders the feed: see feed_since()
CREATE TABLE changes (
    xid      xid8    NOT NULL DEFAULT pg_current_xact_id(),
    kind     text    NOT NULL CHECK (kind IN ('key', 'org', 'project',
                                              'reload')),
    id       text COLLATE "C" NOT NULL,    -- empty for reload
    version  bigint  NOT NULL
);

CREATE INDEX changes_by_xid ON changes (xid);


-- A dump carries the definition of a materialized view, not its rows, and a
-- restore fills it anew: so the restored database has another uuid, and no
-- cursor into the old one's feed fits it.  REFRESH makes every node load
-- everything again.
CREATE MATERIALIZED VIEW feed_uuid AS SELECT gen_random_uuid() AS uuid;

-- What was pruned from the feed with this uuid: a restored row is void.
CREATE TABLE feed_pruned (
    one    boolean  PRIMARY KEY DEFAULT true CHECK (one),
    uuid   uuid     NOT NULL,
    below  xid8     NOT NULL
);

INSERT INTO feed_pruned (uuid, below) SELECT uuid, '0' FROM feed_uuid;

CREATE VIEW feed AS
    SELECT f.uuid,
           coalesce(p.below, '0') AS pruned_below
      FROM feed_uuid f LEFT JOIN feed_pruned p ON p.uuid = f.uuid;


-- one row per replica: a zone of one nginx instance
CREATE TABLE instances (
    uuid         text COLLATE "C" PRIMARY KEY,
    name         text         NOT NULL,    -- for people: host and pid
    feed         uuid         NOT NULL,    -- snapshot belongs to this feed
    snapshot     pg_snapshot,              -- applied; null: nothing yet
    horizon      xid8         NOT NULL,    -- needs all changes from here on
    applied_at   timestamptz,              -- when snapshot last moved
    heartbeat    timestamptz  NOT NULL,
    lease_until  timestamptz  NOT NULL
);

-- rows that came with a dump are no instances of this database
CREATE VIEW leased_instances AS
    SELECT i.*
      FROM instances i JOIN feed_uuid f ON f.uuid = i.feed
     WHERE i.lease_until > clock_timestamp();


-- the secret is sealed for the id and the public key: neither may change
CREATE FUNCTION version_row() RETURNS trigger
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.id <> OLD.id THEN
        RAISE EXCEPTION 'the id of a row of % cannot change', TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;

    NEW.version := nextval('version_seq');

    RETURN NEW;
END
$$;

CREATE FUNCTION check_public_key() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.public_key <> OLD.public_key THEN
        RAISE EXCEPTION 'the public key of a key cannot change'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;

    RETURN NEW;
END
$$;

-- each role once, ascending
CREATE FUNCTION sorted_roles(p_roles text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT ARRAY(SELECT DISTINCT r COLLATE "C" FROM unnest(p_roles) AS r
                  ORDER BY 1)
$$;

CREATE FUNCTION sort_roles() RETURNS trigger
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    NEW.roles := sorted_roles(NEW.roles);

    RETURN NEW;
END
$$;

-- who types an assignment into psql need not say the organization
CREATE FUNCTION find_org() RETURNS trigger
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.org_id IS NULL THEN
        SELECT coalesce(max(org_id), '') INTO NEW.org_id
          FROM projects WHERE id = NEW.project_id;
    END IF;

    RETURN NEW;
END
$$;


-- "rows" is the new table of an insert or update, the old one of a delete
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

    IF FOUND THEN
        PERFORM pg_notify('apikeys', '');
    END IF;

    RETURN NULL;
END
$$;

-- an assignment can move from one key to another by an update, so both ends
-- of it count; keys are locked in the order of their ids
CREATE FUNCTION feed_parts() RETURNS trigger
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    touched  text[];
BEGIN
    IF TG_OP = 'UPDATE' THEN
        touched := ARRAY(SELECT key_id FROM rows
                          UNION SELECT key_id FROM old_rows);
    ELSE
        touched := ARRAY(SELECT DISTINCT key_id FROM rows);
    END IF;

    PERFORM FROM keys WHERE id = ANY (touched) ORDER BY id
        FOR NO KEY UPDATE;

    UPDATE keys SET version = version WHERE id = ANY (touched);

    RETURN NULL;
END
$$;

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

CREATE TRIGGER a_version BEFORE INSERT OR UPDATE ON keys
    FOR EACH ROW EXECUTE FUNCTION version_row();
CREATE TRIGGER b_public_key BEFORE UPDATE ON keys
    FOR EACH ROW EXECUTE FUNCTION check_public_key();
CREATE TRIGGER c_roles BEFORE INSERT OR UPDATE ON keys
    FOR EACH ROW EXECUTE FUNCTION sort_roles();
CREATE TRIGGER feed_insert AFTER INSERT ON keys
    REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_rows('key');
CREATE TRIGGER feed_update AFTER UPDATE ON keys
    REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_rows('key');
CREATE TRIGGER feed_delete AFTER DELETE ON keys
    REFERENCING OLD TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION feed_rows('key');
CREATE TRIGGER feed_truncate AFTER TRUNCATE ON keys
    FOR EACH STATEMENT EXECUTE FUNCTION feed_reload();

CREATE TRIGGER a_org BEFORE INSERT OR UPDATE ON key_projects
    FOR EACH ROW EXECUTE FUNCTION find_org();
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

-- who empties the feed makes everyone load, not miss
CREATE TRIGGER feed_truncate AFTER TRUNCATE ON changes
    FOR EACH STATEMENT EXECUTE FUNCTION feed_reload();

DO $$
DECLARE
    t  record;
BEGIN
    FOR t IN SELECT tgrelid::regclass AS rel, tgname AS name
               FROM pg_trigger
              WHERE NOT tgisinternal
                AND tgrelid IN ('orgs'::regclass, 'projects'::regclass,
                                'keys'::regclass, 'key_projects'::regclass,
                                'access_list'::regclass, 'changes'::regclass)
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I',
                       t.rel, t.name);
    END LOOP;
END
$$;


-- What exists now, in the columns of the type "state".  The lists of a key
-- are subqueries: a few keys cost a few index scans.  All keys at once are
-- the business of the view load.

CREATE VIEW org_states AS
    SELECT 'org'::text AS kind, o.id::text, o.version, false AS deleted,
           NULL::text AS org_id, NULL::text AS public_key,
           NULL::text AS secret, NULL::text AS redacted,
           NULL::text AS descr, NULL::text AS roles,
           NULL::text AS projects, NULL::text AS entries,
           o.access_list_required, o.name::text, utc(o.created) AS created
      FROM orgs o;

CREATE VIEW project_states AS
    SELECT 'project'::text AS kind, p.id::text, p.version, false AS deleted,
           p.org_id::text, NULL::text AS public_key,
           NULL::text AS secret, NULL::text AS redacted,
           NULL::text AS descr, NULL::text AS roles,
           NULL::text AS projects, NULL::text AS entries,
           NULL::boolean AS access_list_required,
           p.name::text, utc(p.created) AS created
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
           coalesce((SELECT string_agg(text(a.cidr), ',' ORDER BY a.cidr)
                       FROM access_list a WHERE a.key_id = k.id), '')
           AS entries,
           NULL::boolean AS access_list_required,
           NULL::text AS name, utc(k.created) AS created
      FROM keys k;


INSERT INTO schema_version (version) VALUES (2);

COMMIT;
