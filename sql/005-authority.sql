--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- What every mutation starts with (locks, then who may) and leaves behind (a
-- row of the audit).
--

\set ON_ERROR_STOP on

BEGIN;

SELECT pg_advisory_xact_lock(hashtext('apikeys.schema_version'));

SELECT EXISTS (SELECT FROM apikeys.schema_version WHERE version = 5)
       AS applied \gset
\if :applied
    ROLLBACK;
    \quit
\endif

SET LOCAL search_path = apikeys, pg_catalog;


-- The first call of every mutation: takes the locks, then judges the caller
-- by what the locks waited for.  Statements of a VOLATILE function see what
-- was committed before each began, so only what is read after this call
-- counts.  The order is the same everywhere: organization, project, keys by
-- id.  All mutations of an organization thus follow one another; the locks
-- on keys and the project are against psql.
--
-- p_key is the key to change, p_delete says that it will go (its lock cannot
-- be strengthened later: a row being inserted into its list would deadlock).
-- The organization of p_project is found here.  Returns the organization.
--
-- A snapshot taken before the lock, as under REPEATABLE READ, would not see
-- what the lock waited for.
CREATE FUNCTION begin_change(p_caller text, p_org_roles text[],
                             p_project_roles text[], p_org text,
                             p_project text, p_key text,
                             p_delete boolean DEFAULT false)
RETURNS text
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_org            text := p_org;
    v_id             text;
    v_org_found      boolean;
    v_project_found  boolean;
BEGIN
    IF current_setting('transaction_isolation') = 'repeatable read' THEN
        RAISE EXCEPTION 'changes need READ COMMITTED or SERIALIZABLE'
            USING ERRCODE = 'feature_not_supported';
    END IF;

    IF p_project IS NOT NULL THEN
        SELECT org_id INTO v_org FROM projects WHERE id = p_project;
    END IF;

    PERFORM FROM orgs WHERE id = v_org FOR NO KEY UPDATE;
    v_org_found := FOUND;

    PERFORM FROM projects WHERE id = p_project AND org_id = v_org
        FOR KEY SHARE;
    v_project_found := FOUND;

    FOR v_id IN SELECT DISTINCT i COLLATE "C"
                  FROM unnest(ARRAY[p_caller, p_key]) AS i ORDER BY 1
    LOOP
        IF v_id IS DISTINCT FROM p_key THEN
            PERFORM FROM keys WHERE id = v_id FOR KEY SHARE;
        ELSIF p_delete THEN
            PERFORM FROM keys WHERE id = v_id FOR UPDATE;
        ELSE
            PERFORM FROM keys WHERE id = v_id FOR NO KEY UPDATE;
        END IF;
    END LOOP;

    IF p_caller IS NOT NULL
       AND NOT EXISTS (SELECT FROM keys WHERE id = p_caller)
    THEN
        RAISE EXCEPTION 'the calling key is gone'
            USING ERRCODE = 'AK001', DETAIL = p_caller;
    END IF;

    IF p_project IS NOT NULL AND NOT v_project_found THEN
        RAISE EXCEPTION 'no such project'
            USING ERRCODE = 'AK011', DETAIL = p_project;
    END IF;

    IF NOT v_org_found THEN
        RAISE EXCEPTION 'no such organization'
            USING ERRCODE = 'AK010', DETAIL = coalesce(p_org, '');
    END IF;

    IF NOT may_change(p_caller, p_org_roles, p_project_roles, v_org,
                      p_project, p_key)
    THEN
        RAISE EXCEPTION 'the calling key lacks the role'
            USING ERRCODE = 'AK002', DETAIL = p_caller;
    END IF;

    IF p_key IS NOT NULL
       AND NOT EXISTS (SELECT FROM keys
                        WHERE id = p_key AND org_id = v_org)
    THEN
        RAISE EXCEPTION 'no such key'
            USING ERRCODE = 'AK012', DETAIL = p_key;
    END IF;

    RETURN v_org;
END
$$;


-- The operator may; without roles only the key itself; else the roles.
CREATE FUNCTION may_change(p_caller text, p_org_roles text[],
                           p_project_roles text[], p_org text,
                           p_project text, p_key text)
RETURNS boolean
LANGUAGE sql SET search_path = apikeys, pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN p_caller IS NULL THEN
            true
        WHEN p_org_roles IS NULL AND p_project_roles IS NULL THEN
            p_key IS NOT NULL AND p_caller = p_key
        ELSE
            EXISTS (SELECT FROM keys
                     WHERE id = p_caller AND org_id = p_org
                       AND roles && p_org_roles)
            OR EXISTS (SELECT FROM key_projects
                        WHERE key_id = p_caller AND project_id = p_project
                          AND roles && p_project_roles)
        END
$$;


-- Whether another key of the organization than p_key owns it.
CREATE FUNCTION has_other_owner(p_org text, p_key text) RETURNS boolean
LANGUAGE sql SET search_path = apikeys, pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM keys
                    WHERE org_id = p_org AND id <> p_key
                      AND 'ORG_OWNER' = ANY (roles))
$$;


-- How the audit shows a key.
CREATE FUNCTION key_json(p_key text) RETURNS jsonb
LANGUAGE sql SET search_path = apikeys, pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object(
               'publicKey', k.public_key,
               'redacted', k.redacted,
               'desc', k.descr,
               'roles', k.roles,
               'projects', (SELECT coalesce(jsonb_object_agg(p.project_id,
                                                             p.roles), '{}')
                              FROM key_projects p WHERE p.key_id = k.id))
      FROM keys k WHERE k.id = p_key
$$;


CREATE FUNCTION audit_event(p_event text, p_caller text, p_address text,
                            p_org text, p_project text, p_key text,
                            p_before jsonb, p_after jsonb)
RETURNS void
LANGUAGE sql SET search_path = apikeys, pg_catalog, pg_temp AS $$
    INSERT INTO audit (event, caller, address, org_id, project_id, key_id,
                       before, after)
        VALUES (p_event, coalesce(p_caller, 'operator'), p_address, p_org,
                p_project, p_key, p_before, p_after)
$$;


REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA apikeys FROM PUBLIC;

INSERT INTO schema_version (version) VALUES (5);

COMMIT;
