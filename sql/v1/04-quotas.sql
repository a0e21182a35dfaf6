--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Quotas: how many keys, projects, assignments and access list entries an
-- organization may have, and counters of those that it has.  The API refuses
-- what would exceed a quota; rows that psql inserts are counted, not refused.
--
-- Statement triggers keep the counters, cascades included, in a table of their
-- own, so that they are not part of the feed.  A mutation reads them under the
-- lock of its organization (begin_change), so the comparison is exact among
-- mutations.  The triggers are named to fire after those of the feed: keys are
-- locked before counters.
--


-- The quotas of organizations without a row in "quotas".
CREATE TABLE default_quotas (
    one          boolean  PRIMARY KEY DEFAULT true CHECK (one),
    keys         integer  NOT NULL DEFAULT 500     CHECK (keys >= 0),
    entries      integer  NOT NULL DEFAULT 50000   CHECK (entries >= 0),
    projects     integer  NOT NULL DEFAULT 1000    CHECK (projects >= 0),
    assignments  integer  NOT NULL DEFAULT 10000   CHECK (assignments >= 0),
    key_entries  integer  NOT NULL DEFAULT 10000   -- of one key
                 CHECK (key_entries BETWEEN 0 AND 65534),
    global_keys     integer  NOT NULL DEFAULT 100
                    CHECK (global_keys >= 0),
    global_entries  integer  NOT NULL DEFAULT 1000  -- of all global keys
                    CHECK (global_entries BETWEEN 0 AND 65534)
);

INSERT INTO default_quotas DEFAULT VALUES;

-- Quotas of one organization; null: the default.
CREATE TABLE quotas (
    org_id       text COLLATE "C" PRIMARY KEY
                 REFERENCES orgs ON DELETE CASCADE,
    keys         integer  CHECK (keys >= 0),
    entries      integer  CHECK (entries >= 0),
    projects     integer  CHECK (projects >= 0),
    assignments  integer  CHECK (assignments >= 0)
);

-- The numbers of rows of each organization.  There is no foreign key: rows
-- that a cascade deletes are counted after the organization is deleted.
CREATE TABLE org_usage (
    org_id       text COLLATE "C" PRIMARY KEY,
    keys         bigint   NOT NULL DEFAULT 0,
    entries      bigint   NOT NULL DEFAULT 0,
    projects     bigint   NOT NULL DEFAULT 0,
    assignments  bigint   NOT NULL DEFAULT 0
) WITH (fillfactor = 50);


CREATE FUNCTION count_usage(p_org text, p_what text, p_n bigint)
RETURNS void
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    UPDATE org_usage SET
        keys = keys + CASE p_what WHEN 'keys' THEN p_n ELSE 0 END,
        entries = entries + CASE p_what WHEN 'entries' THEN p_n ELSE 0 END,
        projects = projects + CASE p_what WHEN 'projects' THEN p_n ELSE 0 END,
        assignments = assignments
                      + CASE p_what WHEN 'assignments' THEN p_n ELSE 0 END
     WHERE org_id = p_org;
END
$$;


CREATE FUNCTION count_orgs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO org_usage (org_id) SELECT id FROM rows;
    ELSIF TG_OP = 'DELETE' THEN
        DELETE FROM org_usage WHERE org_id IN (SELECT id FROM rows);
    ELSE
        DELETE FROM org_usage;
    END IF;

    RETURN NULL;
END
$$;

-- Counts inserted or deleted rows of a table with the column org_id.  The
-- counters are locked in the order of the organizations' ids.
CREATE FUNCTION count_rows() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    r  record;
BEGIN
    FOR r IN SELECT org_id, count(*) AS n FROM rows
              GROUP BY org_id ORDER BY org_id
    LOOP
        PERFORM count_usage(r.org_id, TG_ARGV[0],
                            CASE TG_OP WHEN 'INSERT' THEN r.n ELSE -r.n END);
    END LOOP;

    RETURN NULL;
END
$$;

-- Counts rows that an UPDATE moves to another organization.
CREATE FUNCTION count_moved() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    r  record;
BEGIN
    FOR r IN SELECT org_id, sum(n) AS n
               FROM (SELECT org_id, 1 AS n FROM rows
                      UNION ALL SELECT org_id, -1 FROM old_rows) AS moved
              GROUP BY org_id HAVING sum(n) <> 0 ORDER BY org_id
    LOOP
        PERFORM count_usage(r.org_id, TG_ARGV[0], r.n);
    END LOOP;

    RETURN NULL;
END
$$;

CREATE FUNCTION count_none() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    PERFORM count_usage(org_id, TG_ARGV[0],
                        -CASE TG_ARGV[0] WHEN 'keys' THEN keys
                                         WHEN 'entries' THEN entries
                                         WHEN 'projects' THEN projects
                                         ELSE assignments END)
       FROM org_usage;

    RETURN NULL;
END
$$;


CREATE TRIGGER usage_insert AFTER INSERT ON orgs
    REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_orgs();
CREATE TRIGGER usage_delete AFTER DELETE ON orgs
    REFERENCING OLD TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_orgs();
CREATE TRIGGER usage_truncate AFTER TRUNCATE ON orgs
    FOR EACH STATEMENT EXECUTE FUNCTION count_orgs();

CREATE TRIGGER usage_insert AFTER INSERT ON projects
    REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_rows('projects');
CREATE TRIGGER usage_delete AFTER DELETE ON projects
    REFERENCING OLD TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_rows('projects');
CREATE TRIGGER usage_truncate AFTER TRUNCATE ON projects
    FOR EACH STATEMENT EXECUTE FUNCTION count_none('projects');

CREATE TRIGGER usage_insert AFTER INSERT ON keys
    REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_rows('keys');
CREATE TRIGGER usage_delete AFTER DELETE ON keys
    REFERENCING OLD TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_rows('keys');
CREATE TRIGGER usage_truncate AFTER TRUNCATE ON keys
    FOR EACH STATEMENT EXECUTE FUNCTION count_none('keys');

CREATE TRIGGER usage_insert AFTER INSERT ON key_projects
    REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_rows('assignments');
CREATE TRIGGER usage_update AFTER UPDATE ON key_projects
    REFERENCING NEW TABLE AS rows OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_moved('assignments');
CREATE TRIGGER usage_delete AFTER DELETE ON key_projects
    REFERENCING OLD TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_rows('assignments');
CREATE TRIGGER usage_truncate AFTER TRUNCATE ON key_projects
    FOR EACH STATEMENT EXECUTE FUNCTION count_none('assignments');

CREATE TRIGGER usage_insert AFTER INSERT ON access_list
    REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_rows('entries');
CREATE TRIGGER usage_update AFTER UPDATE ON access_list
    REFERENCING NEW TABLE AS rows OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_moved('entries');
CREATE TRIGGER usage_delete AFTER DELETE ON access_list
    REFERENCING OLD TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_rows('entries');
CREATE TRIGGER usage_truncate AFTER TRUNCATE ON access_list
    FOR EACH STATEMENT EXECUTE FUNCTION count_none('entries');


-- The quotas that hold for an organization.
CREATE FUNCTION quotas_of(p_org text) RETURNS default_quotas
LANGUAGE plpgsql STABLE SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_quotas  default_quotas;
BEGIN
    SELECT true, coalesce(q.keys, d.keys), coalesce(q.entries, d.entries),
           coalesce(q.projects, d.projects),
           coalesce(q.assignments, d.assignments), d.key_entries,
           d.global_keys, d.global_entries
      INTO v_quotas
      FROM default_quotas d LEFT JOIN quotas q ON q.org_id = p_org;

    RETURN v_quotas;
END
$$;


-- For the owner of the schema.  Sets the quotas that are not null, of one
-- organization, or with p_org null the defaults.  If an organization has more
-- than its quota, its rows stay, and no more can be added.
CREATE FUNCTION set_quota(p_org text, p_keys integer DEFAULT NULL,
                          p_entries integer DEFAULT NULL,
                          p_projects integer DEFAULT NULL,
                          p_assignments integer DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    IF p_org IS NULL THEN
        UPDATE default_quotas SET
            keys = coalesce(p_keys, keys),
            entries = coalesce(p_entries, entries),
            projects = coalesce(p_projects, projects),
            assignments = coalesce(p_assignments, assignments);
        RETURN;
    END IF;

    INSERT INTO quotas AS q (org_id, keys, entries, projects, assignments)
        VALUES (p_org, p_keys, p_entries, p_projects, p_assignments)
    ON CONFLICT (org_id) DO UPDATE SET
        keys = coalesce(excluded.keys, q.keys),
        entries = coalesce(excluded.entries, q.entries),
        projects = coalesce(excluded.projects, q.projects),
        assignments = coalesce(excluded.assignments, q.assignments);
END
$$;
