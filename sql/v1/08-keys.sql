--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Mutations of keys and of their roles in projects.
--


-- parts of the mutations below, which have checked

CREATE FUNCTION insert_key(p_caller text, p_address text, p_org text,
                           p_key_id text, p_public_key text, p_secret text,
                           p_redacted text, p_descr text, p_roles text[])
RETURNS void
LANGUAGE plpgsql
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
BEGIN
    INSERT INTO keys (id, org_id, public_key, secret, redacted, descr, roles)
        VALUES (p_key_id, p_org, p_public_key, decode(p_secret, 'hex'),
                p_redacted, p_descr, coalesce(p_roles, '{}'));

    PERFORM audit_event('API_KEY_CREATED', p_caller, p_address, p_org,
                        NULL, p_key_id, NULL,
                        jsonb_build_object(
                            'publicKey', p_public_key,
                            'redacted', p_redacted,
                            'desc', p_descr,
                            'roles', sorted_roles(coalesce(p_roles, '{}'))));
END
$$;


CREATE FUNCTION insert_grant(p_caller text, p_address text, p_org text,
                             p_project text, p_key text, p_roles text[])
RETURNS void
LANGUAGE plpgsql
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
BEGIN
    INSERT INTO key_projects (key_id, project_id, org_id, roles)
        VALUES (p_key, p_project, p_org, p_roles);

    PERFORM audit_event('API_KEY_ADDED_TO_GROUP', p_caller, p_address,
                        p_org, p_project, p_key, NULL,
                        jsonb_build_object('roles', sorted_roles(p_roles)));
END
$$;


-- Sets what is not null, and records in the audit what became different.  The
-- same value again is written, too: a client that asks for a receipt waits
-- for a change that the feed brings to every node.
CREATE FUNCTION set_key(p_caller text, p_address text, p_org text,
                        p_key text, p_descr text, p_roles text[])
RETURNS void
LANGUAGE plpgsql
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_roles  text[] := sorted_roles(p_roles);
    v_old    keys;
BEGIN
    SELECT * INTO v_old FROM keys WHERE id = p_key;

    UPDATE keys SET descr = coalesce(p_descr, descr),
                    roles = coalesce(v_roles, roles)
     WHERE id = p_key;

    IF p_descr <> v_old.descr THEN
        PERFORM audit_event('API_KEY_DESCRIPTION_CHANGED', p_caller,
                            p_address, p_org, NULL, p_key,
                            jsonb_build_object('desc', v_old.descr),
                            jsonb_build_object('desc', p_descr));
    END IF;

    IF v_roles <> v_old.roles THEN
        PERFORM audit_event('API_KEY_ROLES_CHANGED', p_caller,
                            p_address, p_org, NULL, p_key,
                            jsonb_build_object('roles', v_old.roles),
                            jsonb_build_object('roles', v_roles));
    END IF;
END
$$;


-- On an organization p_project and p_grants are null; on a project p_org is.
CREATE FUNCTION create_key(p_caller text, p_address text,
                           p_org_roles text[], p_project_roles text[],
                           p_org text, p_project text, p_key_id text,
                           p_public_key text, p_secret text,
                           p_redacted text, p_descr text, p_roles text[],
                           p_grants text[])
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_org    text;
    v_quota  default_quotas;
    v_usage  org_usage;
BEGIN
    v_begin := begin_change(p_caller, p_org_roles, p_project_roles,
                            p_org, p_project, NULL);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    v_org := v_begin.org;

    IF p_project IS NOT NULL
       AND NOT may_grant(p_caller, v_org, p_project, p_grants)
    THEN
        RETURN NEXT refused('unauthorized', p_caller);
        RETURN;
    END IF;

    IF EXISTS (SELECT FROM keys WHERE public_key = p_public_key) THEN
        RETURN NEXT refused('public_key_taken', p_public_key);
        RETURN;
    END IF;

    v_quota := quotas_of(v_org);
    SELECT * INTO v_usage FROM org_usage WHERE org_id = v_org;

    IF v_usage.keys >= v_quota.keys THEN
        RETURN NEXT refused('max_keys', v_quota.keys);
        RETURN;
    END IF;

    IF p_project IS NOT NULL AND v_usage.assignments >= v_quota.assignments
    THEN
        RETURN NEXT refused('max_assignments', v_quota.assignments);
        RETURN;
    END IF;

    PERFORM insert_key(p_caller, p_address, v_org, p_key_id, p_public_key,
                       p_secret, p_redacted, p_descr, p_roles);

    IF p_project IS NOT NULL THEN
        PERFORM insert_grant(p_caller, p_address, v_org, p_project, p_key_id,
                             p_grants);
    END IF;

    RETURN QUERY SELECT * FROM changed_key(p_key_id);
END
$$;


CREATE FUNCTION update_key(p_caller text, p_address text,
                           p_org_roles text[], p_project_roles text[],
                           p_org text, p_key text, p_descr text,
                           p_roles text[])
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
BEGIN
    v_begin := begin_change(p_caller, p_org_roles, p_project_roles,
                            p_org, NULL, p_key);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    IF NOT is_operator(p_caller)
       AND NOT 'ORG_OWNER' = ANY (p_roles)
       AND EXISTS (SELECT FROM keys
                    WHERE id = p_key AND 'ORG_OWNER' = ANY (roles))
       AND NOT has_other_owner(p_org, p_key)
    THEN
        RETURN NEXT refused('demotes_last_owner', p_key);
        RETURN;
    END IF;

    PERFORM set_key(p_caller, p_address, p_org, p_key, p_descr, p_roles);

    RETURN QUERY SELECT * FROM changed_key(p_key);
END
$$;


-- The list is locked before it goes with the key, in the order in which
-- flush_usage() locks it.
CREATE FUNCTION delete_key(p_caller text, p_address text,
                           p_org_roles text[], p_project_roles text[],
                           p_org text, p_key text)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin   record;
    v_key     keys;
    v_before  jsonb;
    r         record;
BEGIN
    v_begin := begin_change(p_caller, p_org_roles, p_project_roles,
                            p_org, NULL, p_key, p_delete => true);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    SELECT * INTO v_key FROM keys WHERE id = p_key;

    IF NOT is_operator(p_caller) AND 'ORG_OWNER' = ANY (v_key.roles)
       AND NOT has_other_owner(p_org, p_key)
    THEN
        RETURN NEXT refused('deletes_last_owner', p_key);
        RETURN;
    END IF;

    PERFORM FROM access_list WHERE key_id = p_key ORDER BY cidr FOR UPDATE;

    v_before := jsonb_build_object(
        'publicKey', v_key.public_key,
        'redacted', v_key.redacted,
        'desc', v_key.descr,
        'roles', v_key.roles,
        'projects', (SELECT coalesce(jsonb_object_agg(project_id, roles),
                                     '{}')
                       FROM key_projects WHERE key_id = p_key),
        'entries', (SELECT coalesce(jsonb_agg(text(cidr) ORDER BY cidr),
                                    '[]')
                      FROM access_list WHERE key_id = p_key));

    FOR r IN SELECT project_id, roles FROM key_projects
              WHERE key_id = p_key ORDER BY project_id
    LOOP
        PERFORM audit_event('API_KEY_REMOVED_FROM_GROUP', p_caller,
                            p_address, p_org, r.project_id, p_key,
                            jsonb_build_object('roles', r.roles), NULL);
    END LOOP;

    PERFORM audit_event('API_KEY_DELETED', p_caller, p_address, p_org,
                        NULL, p_key, v_before, NULL);

    DELETE FROM keys WHERE id = p_key;

    RETURN QUERY SELECT * FROM gone('key', ARRAY[p_key]);
END
$$;


-- Gives the key these roles in the project, in place of those it has there,
-- and the description.  A key that is not in the project is assigned, which
-- takes an owner of the project.  Without roles it must be in the project.
CREATE FUNCTION set_key_grants(p_caller text, p_address text,
                               p_org_roles text[], p_project_roles text[],
                               p_project text, p_key text, p_descr text,
                               p_grants text[])
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin   record;
    v_org     text;
    v_grants  text[] := sorted_roles(p_grants);
    v_before  text[];
    v_may     boolean;
    v_quota   default_quotas;
    v_usage   org_usage;
BEGIN
    v_begin := begin_change(p_caller, p_org_roles, p_project_roles,
                            NULL, p_project, p_key);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    v_org := v_begin.org;

    SELECT roles INTO v_before FROM key_projects
     WHERE key_id = p_key AND project_id = p_project;

    IF v_before IS NULL AND p_grants IS NULL THEN
        RETURN NEXT refused('key_not_found', p_key);
        RETURN;
    END IF;

    v_may := CASE WHEN v_before IS NULL
                  THEN owns_project(p_caller, v_org, p_project)
                  ELSE may_grant(p_caller, v_org, p_project,
                                 v_before || coalesce(v_grants, '{}')) END;

    IF NOT v_may
       OR (p_descr IS NOT NULL AND NOT may_grant_all(p_caller, v_org, p_key))
    THEN
        RETURN NEXT refused('unauthorized', p_caller);
        RETURN;
    END IF;

    IF v_before IS NULL THEN
        v_quota := quotas_of(v_org);
        SELECT * INTO v_usage FROM org_usage WHERE org_id = v_org;

        IF v_usage.assignments >= v_quota.assignments THEN
            RETURN NEXT refused('max_assignments', v_quota.assignments);
            RETURN;
        END IF;
    END IF;

    PERFORM set_key(p_caller, p_address, v_org, p_key, p_descr, NULL);

    IF v_before IS NULL THEN
        PERFORM insert_grant(p_caller, p_address, v_org, p_project, p_key,
                             p_grants);

    ELSIF v_grants <> v_before THEN
        UPDATE key_projects SET roles = p_grants
         WHERE key_id = p_key AND project_id = p_project;

        PERFORM audit_event('API_KEY_ROLES_CHANGED', p_caller, p_address,
                            v_org, p_project, p_key,
                            jsonb_build_object('roles', v_before),
                            jsonb_build_object('roles', v_grants));
    END IF;

    RETURN QUERY SELECT * FROM changed_key(p_key);
END
$$;


CREATE FUNCTION assign_key(p_caller text, p_address text,
                           p_org_roles text[], p_project_roles text[],
                           p_project text, p_key text, p_grants text[])
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_quota  default_quotas;
    v_usage  org_usage;
BEGIN
    v_begin := begin_change(p_caller, p_org_roles, p_project_roles,
                            NULL, p_project, p_key);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    IF EXISTS (SELECT FROM key_projects
                WHERE key_id = p_key AND project_id = p_project)
    THEN
        RETURN NEXT refused('already_assigned', p_key);
        RETURN;
    END IF;

    v_quota := quotas_of(v_begin.org);
    SELECT * INTO v_usage FROM org_usage WHERE org_id = v_begin.org;

    IF v_usage.assignments >= v_quota.assignments THEN
        RETURN NEXT refused('max_assignments', v_quota.assignments);
        RETURN;
    END IF;

    PERFORM insert_grant(p_caller, p_address, v_begin.org, p_project, p_key,
                         p_grants);

    RETURN QUERY SELECT * FROM changed_key(p_key);
END
$$;


-- p_repeatable: a key that is not in the project is no error.
CREATE FUNCTION unassign_key(p_caller text, p_address text,
                             p_org_roles text[], p_project_roles text[],
                             p_project text, p_key text,
                             p_repeatable boolean)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin   record;
    v_before  text[];
BEGIN
    v_begin := begin_change(p_caller, p_org_roles, p_project_roles,
                            NULL, p_project, p_key);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    SELECT roles INTO v_before FROM key_projects
     WHERE key_id = p_key AND project_id = p_project;

    IF v_before IS NULL AND NOT p_repeatable THEN
        RETURN NEXT refused('key_not_found', p_key);
        RETURN;
    END IF;

    IF v_before IS NULL THEN
        -- the same again, too: see set_key()
        PERFORM set_key(p_caller, p_address, v_begin.org, p_key, NULL, NULL);

        RETURN QUERY SELECT * FROM changed_key(p_key);
        RETURN;
    END IF;

    IF NOT may_grant(p_caller, v_begin.org, p_project, v_before) THEN
        RETURN NEXT refused('unauthorized', p_caller);
        RETURN;
    END IF;

    DELETE FROM key_projects
     WHERE key_id = p_key AND project_id = p_project;

    PERFORM audit_event('API_KEY_REMOVED_FROM_GROUP', p_caller, p_address,
                        v_begin.org, p_project, p_key,
                        jsonb_build_object('roles', v_before), NULL);

    RETURN QUERY SELECT * FROM changed_key(p_key);
END
$$;
