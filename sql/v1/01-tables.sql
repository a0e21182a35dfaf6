--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Tables and constraints.  The constraints hold for every writer, the API and
-- psql alike: formats, lengths, role names, uniqueness, and that a key, its
-- projects and its organization belong together.
--
-- sql/apply.sh applies all files of a version in one transaction.
--

CREATE SCHEMA apikeys;

SET LOCAL search_path = apikeys, pg_catalog;


-- A node follows the schema version it was written for, and a newer one whose
-- compatible_from is not above that version.  A version that can make a
-- decision stricter sets compatible_from to itself: an older node would admit
-- what the newer schema refuses.
CREATE TABLE schema_version (
    version          integer      PRIMARY KEY CHECK (version > 0),
    compatible_from  integer      NOT NULL
                     CHECK (compatible_from BETWEEN 1 AND version),
    applied          timestamptz  NOT NULL DEFAULT now()
);

CREATE FUNCTION check_schema_version() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    v_current  integer := coalesce((SELECT max(version)
                                      FROM apikeys.schema_version), 0);
BEGIN
    IF NEW.version <> v_current + 1 THEN
        RAISE EXCEPTION 'cannot apply schema version % on version %',
                        NEW.version, v_current
            USING HINT = 'Apply all versions in order: sql/apply.sh CONNINFO';
    END IF;

    RETURN NEW;
END
$$;

CREATE TRIGGER check_schema_version BEFORE INSERT ON schema_version
    FOR EACH ROW EXECUTE FUNCTION check_schema_version();


-- A new id, an ObjectId: the second of creation (4 bytes), then 8 random
-- bytes.
CREATE FUNCTION new_id() RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT lpad(to_hex(floor(extract(epoch FROM clock_timestamp()))::bigint),
                8, '0') || left(r, 8) || right(r, 8)
      FROM replace(gen_random_uuid()::text, '-', '') AS r
$$;

-- A time as the API writes it: 2026-01-31T12:00:00Z.
CREATE FUNCTION utc(t timestamptz) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;


-- When a key, a secret or an entry expires; null: never.  It has whole seconds,
-- and utc() can write it.
CREATE DOMAIN expiry AS timestamptz
    CHECK (VALUE = date_trunc('second', VALUE)
           AND VALUE BETWEEN '1970-01-01T00:00:01Z'
                         AND '9999-12-31T23:59:59Z');


-- One row for each key, organization or project: the result type of the feed,
-- the load and every mutation.  C names the attributes in this order in
-- src/sync/ngx_apikeys_state.h; in SQL the order is repeated in the views
-- org_states, project_states, key_states and load, and in feed_since().
CREATE TYPE state AS (
    kind                  text,      -- key, org, project
    id                    text,
    version               bigint,
    deleted               boolean,
    org_id                text,
    public_key            text,
    secret                text,      -- hex
    redacted              text,
    descr                 text,
    roles                 text,      -- A,B
    projects              text,      -- PROJECT:A,B;PROJECT:A
    entries               text,      -- CIDR,CIDR@EXPIRES
    access_list_required  boolean,
    name                  text,
    created               text,
    disabled              boolean,
    expires               bigint,    -- seconds since 1970; null: no end
    secret_id             text,
    secret_expires        bigint,
    older_id              text,      -- of the older secret, if there is one
    older_secret          text,      -- hex
    older_expires         bigint,
    attributes            text       -- JSON, for clients alone: not in the
                                     -- feed
);


-- One sequence for all kinds.  Of two states of an object the newer has the
-- larger version, because it is drawn under the lock of the object's row.
CREATE SEQUENCE version_seq;


-- "attributes" of an organization or project are values that clients set and
-- read back (settings, tags) and that have no effect.  An attribute that is
-- absent has its default value, which the C code knows.
CREATE TABLE orgs (
    id                    text COLLATE "C" PRIMARY KEY DEFAULT new_id()
                          CHECK (id ~ '^[0-9a-f]{24}$'
                                 AND id !~ '^0+$'),  -- zones: no organization
    version               bigint       NOT NULL,
    name                  text COLLATE "C" NOT NULL
                          CHECK (char_length(name) BETWEEN 1 AND 64),
    access_list_required  boolean      NOT NULL DEFAULT false,
    attributes            jsonb        NOT NULL DEFAULT '{}'
                          CHECK (jsonb_typeof(attributes) = 'object'),
    created               timestamptz  NOT NULL DEFAULT now()
);


CREATE TABLE projects (
    id       text COLLATE "C" PRIMARY KEY DEFAULT new_id()
             CHECK (id ~ '^[0-9a-f]{24}$'),
    org_id   text COLLATE "C" NOT NULL
             REFERENCES orgs ON DELETE CASCADE,
    version  bigint       NOT NULL,
    name     text COLLATE "C" NOT NULL
             CHECK (char_length(name) BETWEEN 1 AND 64),
    attributes  jsonb  NOT NULL DEFAULT '{}'
             CHECK (jsonb_typeof(attributes) = 'object'),
    created  timestamptz  NOT NULL DEFAULT now(),
    UNIQUE (id, org_id),
    CONSTRAINT projects_by_org UNIQUE (org_id, name)
);

CREATE INDEX projects_by_name ON projects (name);


-- The lines of the master key file with which a secret is encrypted
-- ("sealed"), or with which a node encrypts.  A line is named by four bytes,
-- with which each secret that it has sealed begins.  "check" is derived from
-- the master key and the realm, and useless without them; null: no node has
-- had the line as its first one yet.
CREATE TABLE master_keys (
    line     text COLLATE "C" PRIMARY KEY CHECK (line ~ '^[0-9a-f]{8}$'),
    "check"  text
);


-- A key without an organization is a global key: it has roles in the whole
-- service, and no access list of its own (see global_access_list).  A key that
-- is disabled or that has expired is refused.
--
-- The row has the newest secret of the key.  secret_id and secret_created are
-- null for the secret that was made with the key: they are those of the key.
CREATE TABLE keys (
    id          text COLLATE "C" PRIMARY KEY DEFAULT new_id()
                CHECK (id ~ '^[0-9a-f]{24}$'),
    org_id      text COLLATE "C"
                REFERENCES orgs ON DELETE CASCADE,
    version     bigint       NOT NULL,
    public_key  text COLLATE "C" NOT NULL UNIQUE
                CHECK (public_key ~ '^[a-z]{8}$'),
    secret      bytea        NOT NULL CHECK (octet_length(secret) = 112),
    line        text COLLATE "C" NOT NULL
                GENERATED ALWAYS AS (encode(substr(secret, 1, 4), 'hex'))
                STORED REFERENCES master_keys,
    redacted    text COLLATE "C" NOT NULL
                CHECK (redacted ~ '^[0-9a-f]{12}$'),
    descr       text COLLATE "C" NOT NULL
                CHECK (char_length(descr) BETWEEN 1 AND 250),
    roles       text[] COLLATE "C" NOT NULL DEFAULT '{}'
                CONSTRAINT keys_roles_check CHECK (roles <@
                    CASE WHEN org_id IS NULL THEN ARRAY[
                        'GLOBAL_AUTOMATION_ADMIN',
                        'GLOBAL_BACKUP_ADMIN',
                        'GLOBAL_BILLING_ADMIN',
                        'GLOBAL_MONITORING_ADMIN',
                        'GLOBAL_OWNER',
                        'GLOBAL_READ_ONLY',
                        'GLOBAL_USER_ADMIN'
                    ] ELSE ARRAY[
                        'ORG_BILLING_ADMIN',
                        'ORG_BILLING_READ_ONLY',
                        'ORG_GROUP_CREATOR',
                        'ORG_MEMBER',
                        'ORG_OWNER',
                        'ORG_READ_ONLY',
                        'ORG_STREAM_PROCESSING_ADMIN'
                    ] END),
    disabled    boolean      NOT NULL DEFAULT false,
    expires     expiry,
    created     timestamptz  NOT NULL DEFAULT now(),
    secret_id       text COLLATE "C"
                    CHECK (secret_id ~ '^[0-9a-f]{24}$'),
    secret_created  timestamptz,
    secret_expires  expiry,
    UNIQUE (id, org_id),
    CHECK ((secret_id IS NULL) = (secret_created IS NULL))
);

CREATE INDEX keys_by_org ON keys (org_id, public_key);
CREATE INDEX keys_by_line ON keys (line);


-- The older of two secrets of a key.  A key has two during a rotation, and both
-- are right.
CREATE TABLE older_secrets (
    key_id    text COLLATE "C" PRIMARY KEY
              REFERENCES keys ON DELETE CASCADE,
    id        text COLLATE "C" NOT NULL
              CHECK (id ~ '^[0-9a-f]{24}$'),
    secret    bytea        NOT NULL CHECK (octet_length(secret) = 112),
    line      text COLLATE "C" NOT NULL
              GENERATED ALWAYS AS (encode(substr(secret, 1, 4), 'hex'))
              STORED REFERENCES master_keys,
    redacted  text COLLATE "C" NOT NULL
              CHECK (redacted ~ '^[0-9a-f]{12}$'),
    created   timestamptz  NOT NULL,
    expires   expiry
);

CREATE INDEX older_secrets_by_line ON older_secrets (line);


-- All secrets of all keys.
CREATE VIEW secrets AS
    SELECT id AS key_id, coalesce(secret_id, id) AS id, redacted,
           coalesce(secret_created, created) AS created,
           secret_expires AS expires
      FROM keys
     UNION ALL
    SELECT key_id, id, redacted, created, expires
      FROM older_secrets;


-- The roles of a key in a project.  org_id serves the foreign keys alone: a
-- key can have roles only in a project of its own organization.
CREATE TABLE key_projects (
    key_id      text COLLATE "C" NOT NULL,
    project_id  text COLLATE "C" NOT NULL,
    org_id      text COLLATE "C" NOT NULL,
    roles       text[] COLLATE "C" NOT NULL
                CONSTRAINT key_projects_roles_check CHECK (
                    cardinality(roles) > 0 AND roles <@ ARRAY[
                    'GROUP_ACCESS_MANAGER',
                    'GROUP_AUTOMATION_ADMIN',
                    'GROUP_BACKUP_ADMIN',
                    'GROUP_BACKUP_MANAGER',
                    'GROUP_BILLING_ADMIN',
                    'GROUP_CHARTS_ADMIN',
                    'GROUP_CLUSTER_MANAGER',
                    'GROUP_DATABASE_ACCESS_ADMIN',
                    'GROUP_DATA_ACCESS_ADMIN',
                    'GROUP_DATA_ACCESS_READ_ONLY',
                    'GROUP_DATA_ACCESS_READ_WRITE',
                    'GROUP_MONITORING_ADMIN',
                    'GROUP_OBSERVABILITY_VIEWER',
                    'GROUP_OWNER',
                    'GROUP_READ_ONLY',
                    'GROUP_SEARCH_INDEX_EDITOR',
                    'GROUP_STREAM_PROCESSING_OWNER',
                    'GROUP_USER_ADMIN'
                ]),
    PRIMARY KEY (key_id, project_id),
    FOREIGN KEY (key_id, org_id) REFERENCES keys (id, org_id)
        ON DELETE CASCADE,
    FOREIGN KEY (project_id, org_id) REFERENCES projects (id, org_id)
        ON DELETE CASCADE
);

CREATE INDEX key_projects_by_project ON key_projects (project_id);


-- The access list of a key.  An entry that has expired admits nobody, but is
-- still an entry.  IPv4-mapped blocks (::ffff:0:0/96) are refused:
-- an entry for IPv4 is stored as IPv4, so that an address has one entry.
CREATE TABLE access_list (
    key_id   text COLLATE "C" NOT NULL,
    cidr     cidr         NOT NULL,
    created  timestamptz  NOT NULL DEFAULT now(),
    org_id   text COLLATE "C" NOT NULL,    -- of the key
    comment  text COLLATE "C"
             CHECK (char_length(comment) <= 250),
    expires  expiry,
    PRIMARY KEY (key_id, cidr),
    FOREIGN KEY (key_id, org_id) REFERENCES keys (id, org_id)
        ON DELETE CASCADE,
    CONSTRAINT access_list_mapped_check
        CHECK (NOT cidr <<= '::ffff:0:0/96'),
    CONSTRAINT access_list_refused_check
        CHECK (cidr NOT IN ('0.0.0.0/0', '::/0', '0.0.0.0/32', '::/128'))
);


-- The access list of all global keys.  While it has an entry, they are
-- admitted from its addresses alone.
CREATE TABLE global_access_list (
    id       text COLLATE "C" PRIMARY KEY DEFAULT new_id()
             CHECK (id ~ '^[0-9a-f]{24}$'),
    cidr     cidr         NOT NULL UNIQUE,
    descr    text COLLATE "C" NOT NULL
             CHECK (char_length(descr) BETWEEN 1 AND 250),
    created  timestamptz  NOT NULL DEFAULT now(),
    updated  timestamptz  NOT NULL DEFAULT now(),
    CONSTRAINT global_access_list_mapped_check
        CHECK (NOT cidr <<= '::ffff:0:0/96'),
    CONSTRAINT global_access_list_refused_check
        CHECK (cidr NOT IN ('0.0.0.0/0', '::/0', '0.0.0.0/32', '::/128'))
);


-- How often and when access list entries admitted a request.  Every node
-- writes it every few seconds, so it is not part of the feed, and not in
-- access_list, whose rows would bloat.
CREATE TABLE access_usage (
    key_id             text COLLATE "C" NOT NULL,
    cidr               cidr         NOT NULL,
    count              bigint       NOT NULL CHECK (count >= 0),
    last_used          timestamptz  NOT NULL,
    last_used_address  inet         NOT NULL,
    PRIMARY KEY (key_id, cidr),
    FOREIGN KEY (key_id, cidr) REFERENCES access_list
        ON DELETE CASCADE ON UPDATE CASCADE
);

-- No foreign keys: audit rows stay after the objects are deleted.
CREATE TABLE audit (
    id          bigint       GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz  NOT NULL DEFAULT clock_timestamp(),
    event       text         NOT NULL,
    caller      text         NOT NULL,     -- a key's id, "operator", a role
    address     text,
    org_id      text COLLATE "C",
    project_id  text COLLATE "C",
    key_id      text COLLATE "C",
    before      jsonb,
    after       jsonb
);

CREATE INDEX audit_by_org ON audit (org_id, at);
CREATE INDEX audit_by_time ON audit (at);

-- Changes of keys, organizations and projects, as the API shows them: an event
-- is in the list of an organization, or of a project, or of both.  There are
-- no foreign keys, as in the audit, and the public keys are copied: an event
-- stays after the keys are deleted.  caller_id null: the operator, or psql;
-- operator_id is the global key by which the operator acted, and only the
-- operator sees it.
CREATE TABLE events (
    id                 bigint       GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at                 timestamptz  NOT NULL DEFAULT clock_timestamp(),
    type               text         NOT NULL,
    org_id             text COLLATE "C",
    project_id         text COLLATE "C",
    caller_id          text COLLATE "C",
    caller_public_key  text COLLATE "C",
    operator_id          text COLLATE "C",
    operator_public_key  text COLLATE "C",
    address            text,                 -- of the caller
    target_id          text COLLATE "C",
    target_public_key  text COLLATE "C",
    entry              text,                 -- of an access list, as shown
    CHECK (org_id IS NOT NULL OR project_id IS NOT NULL),
    CHECK ((caller_id IS NULL) = (caller_public_key IS NULL))
);

-- One index for lists of all types, one for lists of a single type, one for
-- lists of a key.
CREATE INDEX events_by_org ON events (org_id, at, id)
    WHERE org_id IS NOT NULL;
CREATE INDEX events_by_org_type ON events (org_id, type, at, id)
    WHERE org_id IS NOT NULL;
CREATE INDEX events_by_project ON events (project_id, at, id)
    WHERE project_id IS NOT NULL;
CREATE INDEX events_by_project_type ON events (project_id, type, at, id)
    WHERE project_id IS NOT NULL;
CREATE INDEX events_by_target ON events (target_public_key, at, id)
    WHERE target_public_key IS NOT NULL;
CREATE INDEX events_by_time ON events (at);

-- DELETE is allowed to forget_before(), which is marked by the schema "apikeys
-- forgets" (it does not exist) in its search_path.
CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE'
       AND current_setting('search_path') LIKE '%"apikeys forgets"'
    THEN
        RETURN NULL;
    END IF;

    RAISE EXCEPTION 'apikeys.% is append-only, % is not allowed',
                    TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'Only apikeys.forget_before() deletes old rows.';
END
$$;

CREATE TRIGGER audit_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER events_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
