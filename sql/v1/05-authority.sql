--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- What all mutations share: begin_change() locks the rows and checks the
-- caller's rights; "outcome" is the result type; audit_event() writes the row
-- of the audit.
--
-- A mutation is one call of one function.  It checks first and then writes.  A
-- refusal writes nothing and raises no error, so it leaves no line in the log
-- of PostgreSQL: it is one row with a code and a detail.  Otherwise the result
-- is the state of each changed object.
--
-- Every mutation, and every helper that changes rows, has the mark "apikeys
-- audited", a schema that does not exist, at the end of its search_path (see
-- unaudited()): without it the triggers for psql write a second audit row.
--
-- The functions that a mutation calls are in PL/pgSQL, which keeps the plans
-- of a session.  A function in SQL would be parsed and planned at each call.
--


-- The result of a mutation.  refusal and detail are null unless it is refused:
--
--     caller_gone          the calling key was deleted or disabled, or has
--                          expired
--     unauthorized         the caller lacks the role
--     org_not_found        project_not_found, key_not_found, entry_not_found
--     secret_not_found     detail: the secret
--     max_secrets          the key has two secrets
--     last_secret          no other secret of the key is valid
--     expires_in_past      detail: the attribute
--     public_key_taken     another key has this public key
--     max_keys             detail: the quota; also max_projects,
--                          max_assignments, max_org_entries
--     max_key_entries      detail: the quota of entries of a key
--     demotes_last_owner   of the organization; also deletes_last_owner
--     already_assigned     the key has roles in the project
--     project_name_taken   detail: the name
--     org_not_empty        the organization has projects
--     global_entry_not_found  detail: the entry; also global_entry_exists
--     max_global_keys      detail: the quota; also max_global_entries
--     entry_exists         detail: the entry
--     own_address          no other entry contains the caller's address;
--                          detail: the address
CREATE TYPE outcome AS (
    refusal  text,
    detail   text,
    changed  state
);

CREATE FUNCTION refused(p_refusal text, p_detail anyelement)
RETURNS outcome
LANGUAGE sql IMMUTABLE AS $$
    SELECT ROW(p_refusal, p_detail::text, NULL)::apikeys.outcome
$$;

CREATE FUNCTION changed_org(p_org text) RETURNS SETOF outcome
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT NULL::text, NULL::text, ROW(s.*)::state
                   FROM org_states s WHERE id = p_org;
END
$$;

CREATE FUNCTION changed_project(p_project text) RETURNS SETOF outcome
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT NULL::text, NULL::text, ROW(s.*)::state
                   FROM project_states s WHERE id = p_project;
END
$$;

CREATE FUNCTION changed_key(p_key text) RETURNS SETOF outcome
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT NULL::text, NULL::text, ROW(s.*)::state
                   FROM key_states s WHERE id = p_key;
END
$$;


-- The objects that this transaction has deleted, as states with deleted =
-- true.  The columns are those of the type "state", by position.
CREATE FUNCTION gone(p_kind text, p_ids text[]) RETURNS SETOF outcome
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
        SELECT NULL::text, NULL::text,
               jsonb_populate_record(NULL::state, jsonb_build_object(
                   'kind', p_kind, 'id', id, 'version', max(version),
                   'deleted', true))
          FROM changes
         WHERE xid = pg_current_xact_id() AND kind = p_kind
               AND id = ANY (p_ids)
         GROUP BY id;
END
$$;


-- Locks the calling key, so that its roles do not change until the end of the
-- transaction.  FOR KEY SHARE is enough for a key of an organization: the lock
-- on the organization protects its roles.
CREATE FUNCTION lock_caller(p_caller text) RETURNS void
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM keys WHERE id = p_caller AND org_id IS NULL FOR SHARE;
    PERFORM FROM keys WHERE id = p_caller AND org_id IS NOT NULL
        FOR KEY SHARE;
END
$$;


-- The first call of every mutation.  It locks the rows, then checks the
-- caller, so that the checks see what concurrent transactions have committed:
-- each statement of a VOLATILE function sees what was committed before it
-- began.  A mutation uses only what it reads after this call.
--
-- The order of locks is the same everywhere: organization, project, keys by
-- id.  So the mutations of an organization run one after the other; the locks
-- on keys and the project protect against psql.
--
-- The mutation changes the key p_key, or if that is null the project
-- p_project, or else the organization p_org.  p_delete: it will be deleted, so
-- it gets the strongest lock at once (to strengthen a lock later would
-- deadlock with a row being inserted into the key's list).  The organization
-- of p_project is looked up here and returned.
--
-- REPEATABLE READ is refused: its snapshot, taken before the lock, would not
-- show what the lock waited for.
CREATE FUNCTION begin_change(p_caller text, p_caller_secret text,
                             p_org_roles text[], p_project_roles text[],
                             p_org text,
                             p_project text, p_key text,
                             p_delete boolean DEFAULT false,
                             OUT org text, OUT refusal text,
                             OUT detail text)
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_id             text;
    v_org_found      boolean;
    v_project_found  boolean;
BEGIN
    IF current_setting('transaction_isolation') = 'repeatable read' THEN
        RAISE EXCEPTION 'changes need isolation level READ COMMITTED or '
                        'SERIALIZABLE, not REPEATABLE READ'
            USING ERRCODE = 'feature_not_supported',
                  HINT = format('ALTER ROLE %I SET default_transaction_'
                                'isolation = %L', session_user,
                                'read committed');
    END IF;

    PERFORM set_config('apikeys.asked', 'on', true);

    org := p_org;

    IF p_project IS NOT NULL THEN
        SELECT org_id INTO org FROM projects WHERE id = p_project;
    END IF;

    IF p_delete AND p_project IS NULL AND p_key IS NULL THEN
        PERFORM FROM orgs WHERE id = org FOR UPDATE;
    ELSE
        PERFORM FROM orgs WHERE id = org FOR NO KEY UPDATE;
    END IF;

    v_org_found := FOUND;

    IF p_project IS NOT NULL THEN

        IF p_delete AND p_key IS NULL THEN
            PERFORM FROM projects WHERE id = p_project AND org_id = org
                FOR UPDATE;
        ELSE
            PERFORM FROM projects WHERE id = p_project AND org_id = org
                FOR KEY SHARE;
        END IF;

        v_project_found := FOUND;
    END IF;

    FOREACH v_id IN ARRAY CASE WHEN p_caller COLLATE "C" < p_key
                               THEN ARRAY[p_caller, p_key]
                               WHEN p_caller COLLATE "C" > p_key
                               THEN ARRAY[p_key, p_caller]
                               ELSE ARRAY[coalesce(p_key, p_caller)] END
    LOOP
        IF v_id IS DISTINCT FROM p_key THEN
            PERFORM lock_caller(v_id);
        ELSIF p_delete THEN
            PERFORM FROM keys WHERE id = v_id FOR UPDATE;
        ELSE
            PERFORM FROM keys WHERE id = v_id FOR NO KEY UPDATE;
        END IF;
    END LOOP;

    IF NOT is_active(p_caller, p_caller_secret) THEN
        refusal := 'caller_gone';
        detail := p_caller;

    ELSIF p_project IS NOT NULL AND NOT v_project_found THEN
        refusal := 'project_not_found';
        detail := p_project;

    ELSIF NOT v_org_found THEN
        refusal := 'org_not_found';
        detail := p_org;

    ELSIF NOT may_change(p_caller, p_org_roles, p_project_roles, org,
                         p_project, p_key)
    THEN
        refusal := 'unauthorized';
        detail := p_caller;

    ELSIF p_key IS NOT NULL
          AND NOT EXISTS (SELECT FROM keys WHERE id = p_key AND org_id = org)
    THEN
        refusal := 'key_not_found';
        detail := p_key;
    END IF;
END
$$;


-- Whether the caller may still act: the operator's token (null), or a key that
-- is neither deleted nor disabled and has not expired.  The same holds for the
-- secret that it signed the request with, unless that is null.
CREATE FUNCTION is_active(p_caller text, p_caller_secret text)
RETURNS boolean
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    RETURN p_caller IS NULL
           OR (EXISTS (SELECT FROM keys
                        WHERE id = p_caller AND NOT disabled
                          AND coalesce(expires > clock_timestamp(), true))
               AND (p_caller_secret IS NULL
                    OR EXISTS (SELECT FROM secrets
                                WHERE key_id = p_caller
                                  AND id = p_caller_secret
                                  AND coalesce(expires > clock_timestamp(),
                                               true))));
END
$$;


-- Whether the caller is the operator: by the token (null), or by a global key
-- with GLOBAL_OWNER.
CREATE FUNCTION is_operator(p_caller text) RETURNS boolean
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    RETURN p_caller IS NULL
           OR (is_active(p_caller, NULL)
               AND EXISTS (SELECT FROM keys
                            WHERE id = p_caller AND org_id IS NULL
                              AND 'GLOBAL_OWNER' = ANY (roles)));
END
$$;


-- The operator may do everything.  Without role arguments only the key itself
-- may; otherwise a key with one of the roles.
CREATE FUNCTION may_change(p_caller text, p_org_roles text[],
                           p_project_roles text[], p_org text,
                           p_project text, p_key text)
RETURNS boolean
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    IF is_operator(p_caller) THEN
        RETURN true;
    END IF;

    IF p_org_roles IS NULL AND p_project_roles IS NULL THEN
        RETURN p_key IS NOT NULL AND p_caller = p_key;
    END IF;

    RETURN EXISTS (SELECT FROM keys
                    WHERE id = p_caller AND org_id = p_org
                      AND roles && p_org_roles)
           OR EXISTS (SELECT FROM key_projects
                       WHERE key_id = p_caller AND project_id = p_project
                         AND roles && p_project_roles);
END
$$;


-- Whether the caller owns the project: by a role in it, or as an owner of
-- its organization.
CREATE FUNCTION owns_project(p_caller text, p_org text, p_project text)
RETURNS boolean
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    RETURN may_change(p_caller, '{ORG_OWNER}', '{GROUP_OWNER}', p_org,
                      p_project, NULL);
END
$$;


-- Whether the caller may grant, and take away, these roles in the project.
-- An owner of the project may grant all; an access manager all but those
-- that would let their holder manage access.
CREATE FUNCTION may_grant(p_caller text, p_org text, p_project text,
                          p_roles text[])
RETURNS boolean
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    RETURN owns_project(p_caller, p_org, p_project)
           OR (NOT p_roles && '{GROUP_OWNER,GROUP_ACCESS_MANAGER}'
               AND EXISTS (SELECT FROM key_projects
                            WHERE key_id = p_caller
                              AND project_id = p_project
                              AND 'GROUP_ACCESS_MANAGER' = ANY (roles)));
END
$$;


-- Whether the caller could grant every role that the key has, which is what
-- a project's manager needs to rename a key.  ORG_MEMBER is what each key
-- made through a project has.
CREATE FUNCTION may_grant_all(p_caller text, p_org text, p_key text)
RETURNS boolean
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    RETURN may_change(p_caller, '{ORG_OWNER}', NULL, p_org, NULL, NULL)
           OR (EXISTS (SELECT FROM keys
                        WHERE id = p_key AND roles <@ '{ORG_MEMBER}')
               AND NOT EXISTS (SELECT FROM key_projects
                                WHERE key_id = p_key
                                  AND NOT may_grant(p_caller, p_org,
                                                    project_id, roles)));
END
$$;


-- The ends of the secrets of a key; null: a secret without an end.
CREATE FUNCTION secret_ends(p_key text) RETURNS timestamptz[]
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(SELECT expires FROM secrets WHERE key_id = p_key);
END
$$;

-- Whether the key, with secrets that have these ends, is an owner of its
-- organization: 2, a standing owner, which works until it is changed; 1, one
-- that works now; 0, none.
CREATE FUNCTION ownership(p_key keys, p_secret_ends timestamptz[])
RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    v_end  timestamptz := (SELECT max(coalesce(e, 'infinity'))
                             FROM unnest(p_secret_ends) AS e);
BEGIN
    v_end := least(v_end, coalesce(p_key.expires, 'infinity'));

    RETURN CASE WHEN NOT 'ORG_OWNER' = ANY (p_key.roles) OR p_key.disabled
                     OR v_end <= clock_timestamp() THEN 0
                WHEN v_end < 'infinity' THEN 1
                ELSE 2 END;
END
$$;

-- Whether the caller may change the ownership of the key to p_after: the
-- organization still has an owner then.  An organization with a standing owner
-- must keep a standing one; another must keep one that works now.  The operator
-- may take the last one.
CREATE FUNCTION keeps_owner(p_caller text, p_key keys, p_after integer)
RETURNS boolean
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_before  integer := ownership(p_key, secret_ends(p_key.id));
BEGIN
    RETURN is_operator(p_caller)
           OR p_after >= v_before
           OR (SELECT coalesce(max(ownership(k, secret_ends(k.id))), 0)
                 FROM keys k
                WHERE k.org_id = p_key.org_id AND k.id <> p_key.id
                  AND 'ORG_OWNER' = ANY (k.roles)) >= v_before;
END
$$;


-- The WHEN clause of the triggers that record changes made without the
-- mutations (by psql).  A mutation is marked by "apikeys audited", a schema
-- that does not exist, at the end of its search_path: the mark is set exactly
-- while the function runs and, unlike a custom parameter, needs no superuser.
-- It counts only for a role that may insert into the audit: the owner, as
-- which the mutations run.  feed_parts() and feed_global() have the mark, too:
-- they only update the versions of keys whose lists were changed.
CREATE FUNCTION unaudited() RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT 'current_setting(''search_path'') NOT LIKE ''%"apikeys audited"'' '
           'OR NOT has_table_privilege(''apikeys.audit'', ''INSERT'')'
$$;


-- Writes one row of the audit.
CREATE FUNCTION audit_row(p_event text, p_caller text, p_address text,
                          p_org text, p_project text, p_key text,
                          p_before jsonb, p_after jsonb)
RETURNS void
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO audit (event, caller, address, org_id, project_id, key_id,
                       before, after)
        VALUES (p_event, coalesce(p_caller, 'operator'), p_address, p_org,
                p_project, p_key, p_before, p_after);
END
$$;


-- Writes one row of the audit and the event that the API shows; of changes of
-- an access list, one event for each entry.  An event of a key in a project is
-- shown in the project, one of the project itself in project and organization.
-- It is called while the key still exists.
--
-- Collectors ask for events since the time of their last one.  So the time is
-- taken under the lock of the organization and is never before that of an
-- earlier event of the organization or project.
CREATE FUNCTION audit_event(p_event text, p_caller text, p_address text,
                            p_org text, p_project text, p_key text,
                            p_before jsonb, p_after jsonb)
RETURNS void
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_event   events;
    v_caller  keys;
BEGIN
    PERFORM audit_row(p_event, p_caller, p_address, p_org, p_project, p_key,
                      p_before, p_after);

    v_event.type := p_event;
    v_event.project_id := p_project;

    IF p_project IS NULL OR p_key IS NULL THEN
        v_event.org_id := p_org;
    END IF;

    SELECT * INTO v_caller FROM keys WHERE id = p_caller;

    -- a global key acts as the operator
    IF FOUND AND v_caller.org_id IS NULL THEN
        v_event.operator_id := p_caller;
        v_event.operator_public_key := v_caller.public_key;
    ELSIF FOUND THEN
        v_event.caller_id := p_caller;
        v_event.caller_public_key := v_caller.public_key;
        v_event.address := p_address;
    END IF;

    SELECT id, public_key INTO v_event.target_id, v_event.target_public_key
      FROM keys WHERE id = p_key;

    v_event.at := greatest(clock_timestamp(),
                           (SELECT max(at) FROM events WHERE org_id = p_org),
                           (SELECT max(at) FROM events
                             WHERE project_id = p_project));

    IF p_event NOT LIKE 'API\_KEY\_ACCESS\_LIST\_%' THEN
        INSERT INTO events (at, type, org_id, project_id, caller_id,
                            caller_public_key, operator_id,
                            operator_public_key, address, target_id,
                            target_public_key)
            VALUES (v_event.at, v_event.type, v_event.org_id,
                    v_event.project_id, v_event.caller_id,
                    v_event.caller_public_key, v_event.operator_id,
                    v_event.operator_public_key, v_event.address,
                    v_event.target_id, v_event.target_public_key);
        RETURN;
    END IF;

    INSERT INTO events (at, type, org_id, project_id, caller_id,
                        caller_public_key, operator_id, operator_public_key,
                        address, target_id, target_public_key, entry)
        SELECT v_event.at, v_event.type, v_event.org_id, v_event.project_id,
               v_event.caller_id, v_event.caller_public_key,
               v_event.operator_id, v_event.operator_public_key,
               v_event.address, v_event.target_id, v_event.target_public_key,
               shown(i.entry::cidr)
          FROM jsonb_array_elements_text(
                   coalesce(p_before, p_after)->'entries')
               WITH ORDINALITY AS i (entry, position)
         ORDER BY i.position;
END
$$;


-- Writes the attributes that have changed into the audit.  There is no event.
CREATE FUNCTION audit_attributes(p_event text, p_caller text, p_address text,
                                 p_org text, p_project text, p_before jsonb,
                                 p_given jsonb)
RETURNS void
LANGUAGE sql SET search_path = apikeys, pg_catalog, pg_temp AS $$
    SELECT audit_row(p_event, p_caller, p_address, p_org, p_project, NULL,
                     jsonb_object_agg(a.key, p_before->a.key),
                     jsonb_object_agg(a.key, a.value))
      FROM jsonb_each(p_given) a
     WHERE p_before->a.key IS DISTINCT FROM a.value
    HAVING count(*) > 0
$$;
