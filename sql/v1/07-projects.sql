--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Mutations of projects.
--


-- The calling key becomes the owner of what it made.
CREATE FUNCTION create_project(p_caller text, p_address text,
                               p_org_roles text[], p_project_roles text[],
                               p_org text, p_name text)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin    record;
    v_quota    default_quotas;
    v_usage    org_usage;
    v_project  text := new_id();
BEGIN
    v_begin := begin_change(p_caller, p_org_roles, p_project_roles,
                            p_org, NULL, NULL);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    v_quota := quotas_of(p_org);
    SELECT * INTO v_usage FROM org_usage WHERE org_id = p_org;

    IF v_usage.projects >= v_quota.projects THEN
        RETURN NEXT refused('max_projects', v_quota.projects);
        RETURN;
    END IF;

    IF p_caller IS NOT NULL AND v_usage.assignments >= v_quota.assignments
    THEN
        RETURN NEXT refused('max_assignments', v_quota.assignments);
        RETURN;
    END IF;

    INSERT INTO projects (id, org_id, name)
        VALUES (v_project, p_org, p_name);

    PERFORM audit_event('GROUP_CREATED', p_caller, p_address, p_org,
                        v_project, NULL, NULL,
                        jsonb_build_object('name', p_name));

    IF p_caller IS NOT NULL THEN
        PERFORM insert_grant(p_caller, p_address, p_org, v_project, p_caller,
                             '{GROUP_OWNER}');
    END IF;

    RETURN QUERY SELECT * FROM changed_project(v_project);
    RETURN QUERY SELECT * FROM changed_key(p_caller);
END
$$;
