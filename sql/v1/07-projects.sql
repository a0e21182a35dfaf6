--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Mutations of projects.
--


-- The calling key becomes GROUP_OWNER of the project.
CREATE FUNCTION create_project(p_caller text, p_caller_secret text,
                               p_address text, p_org_roles text[],
                               p_project_roles text[], p_org text, p_name text,
                               p_attributes jsonb)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin    record;
    v_quota    default_quotas;
    v_usage    org_usage;
    v_project  text := new_id();
    v_member   boolean;
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, p_org, NULL, NULL);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    IF EXISTS (SELECT FROM projects WHERE org_id = p_org AND name = p_name)
    THEN
        RETURN NEXT refused('project_name_taken', p_name);
        RETURN;
    END IF;

    v_quota := quotas_of(p_org);
    SELECT * INTO v_usage FROM org_usage WHERE org_id = p_org;

    IF v_usage.projects >= v_quota.projects THEN
        RETURN NEXT refused('max_projects', v_quota.projects);
        RETURN;
    END IF;

    v_member := EXISTS (SELECT FROM keys
                         WHERE id = p_caller AND org_id = p_org);

    IF v_member AND v_usage.assignments >= v_quota.assignments
    THEN
        RETURN NEXT refused('max_assignments', v_quota.assignments);
        RETURN;
    END IF;

    -- keys are locked before the counters
    IF v_member THEN
        PERFORM FROM keys WHERE id = p_caller FOR NO KEY UPDATE;
    END IF;

    INSERT INTO projects (id, org_id, name, attributes)
        VALUES (v_project, p_org, p_name, coalesce(p_attributes, '{}'));

    PERFORM audit_event('GROUP_CREATED', p_caller, p_address, p_org,
                        v_project, NULL, NULL,
                        jsonb_build_object('name', p_name));

    IF v_member THEN
        INSERT INTO key_projects (key_id, project_id, org_id, roles)
            VALUES (p_caller, v_project, p_org, '{GROUP_OWNER}');

        -- no event: the creation of the project implies it
        PERFORM audit_row('API_KEY_ADDED_TO_GROUP', p_caller, p_address,
                          p_org, v_project, p_caller, NULL,
                          jsonb_build_object('roles',
                                             ARRAY['GROUP_OWNER']));
    END IF;

    RETURN QUERY SELECT * FROM changed_project(v_project);

    IF v_member THEN
        RETURN QUERY SELECT * FROM changed_key(p_caller);
    END IF;
END
$$;


-- Sets what is not null: the name, and the attributes that are given; other
-- attributes stay.
CREATE FUNCTION update_project(p_caller text, p_caller_secret text,
                               p_address text, p_org_roles text[],
                               p_project_roles text[], p_project text,
                               p_name text,
                               p_attributes jsonb)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_old    projects;
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, NULL, p_project, NULL);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    IF EXISTS (SELECT FROM projects
                WHERE org_id = v_begin.org AND name = p_name
                  AND id <> p_project)
    THEN
        RETURN NEXT refused('project_name_taken', p_name);
        RETURN;
    END IF;

    SELECT * INTO v_old FROM projects WHERE id = p_project
       FOR NO KEY UPDATE;

    -- update even if unchanged, see update_key_row() in 08-keys.sql
    UPDATE projects SET name = coalesce(p_name, name),
                        attributes = attributes
                                     || coalesce(p_attributes, '{}')
     WHERE id = p_project;

    IF p_name <> v_old.name THEN
        PERFORM audit_event('GROUP_NAME_CHANGED', p_caller, p_address,
                            v_begin.org, p_project, NULL,
                            jsonb_build_object('name', v_old.name),
                            jsonb_build_object('name', p_name));
    END IF;

    PERFORM audit_attributes('GROUP_ATTRIBUTES_CHANGED', p_caller, p_address,
                             v_begin.org, p_project, v_old.attributes,
                             p_attributes);

    RETURN QUERY SELECT * FROM changed_project(p_project);
END
$$;


-- The keys of the project lose their roles in it.  They are locked before, in
-- the order of their ids.
CREATE FUNCTION delete_project(p_caller text, p_caller_secret text,
                               p_address text, p_org_roles text[],
                               p_project_roles text[], p_project text)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_old    projects;
    v_keys   text[];
    r        record;
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, NULL, p_project, NULL,
                            p_delete => true);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    SELECT * INTO v_old FROM projects WHERE id = p_project;

    v_keys := ARRAY(SELECT key_id FROM key_projects
                     WHERE project_id = p_project ORDER BY key_id);

    PERFORM FROM keys WHERE id = ANY (v_keys) ORDER BY id
        FOR NO KEY UPDATE;

    FOR r IN SELECT key_id, roles FROM key_projects
              WHERE project_id = p_project ORDER BY key_id
    LOOP
        PERFORM audit_event('API_KEY_REMOVED_FROM_GROUP', p_caller,
                            p_address, v_begin.org, p_project, r.key_id,
                            jsonb_build_object('roles', r.roles), NULL);
    END LOOP;

    PERFORM audit_event('GROUP_DELETED', p_caller, p_address, v_begin.org,
                        p_project, NULL,
                        jsonb_build_object('name', v_old.name), NULL);

    DELETE FROM projects WHERE id = p_project;

    RETURN QUERY SELECT * FROM gone('project', ARRAY[p_project]);
    RETURN QUERY SELECT NULL::text, NULL::text, ROW(s.*)::state
                   FROM key_states s WHERE s.id = ANY (v_keys);
END
$$;
