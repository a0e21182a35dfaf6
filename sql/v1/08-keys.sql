--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Mutations of keys and of their roles in projects.
--


-- The attributes of a key that a client sets are the members of one object,
-- p_key_attributes, with the names that they have in the API: {"desc": "...",
-- "roles": [...], "disabled": false, "expiresAt": "2026-01-31T12:00:00Z"}.  A
-- change leaves attributes that the object lacks; null ends an expiry.  Of a
-- new key, "accessList" is the text of an array of entries, and
-- "accessListAttributes" the text of an object with the attributes of those
-- that have some (see insert_entries()).

CREATE FUNCTION attribute_roles(p_key_attributes jsonb) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    IF p_key_attributes ? 'roles' THEN
        RETURN sorted_roles(ARRAY(
            SELECT jsonb_array_elements_text(p_key_attributes -> 'roles')));
    END IF;

    RETURN NULL;
END
$$;


-- The key with the attributes of the object.
CREATE FUNCTION with_attributes(p_key keys, p_key_attributes jsonb)
RETURNS keys
LANGUAGE plpgsql STABLE
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    p_key.descr := coalesce(p_key_attributes ->> 'desc', p_key.descr);
    p_key.roles := coalesce(attribute_roles(p_key_attributes), p_key.roles);
    p_key.disabled := coalesce((p_key_attributes ->> 'disabled')::boolean,
                               p_key.disabled);

    IF p_key_attributes ? 'expiresAt' THEN
        p_key.expires := (p_key_attributes ->> 'expiresAt')::timestamptz;
    END IF;

    RETURN p_key;
END
$$;


-- Whether the object would set an end that has passed.
CREATE FUNCTION expires_in_past(p_key_attributes jsonb) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    RETURN coalesce((p_key_attributes ->> 'expiresAt')::timestamptz
                    <= clock_timestamp(), false);
END
$$;


-- The refusal if the caller may not give these attributes to the key.
CREATE FUNCTION refuse_attributes(p_key text, p_key_attributes jsonb,
                                  p_caller text)
RETURNS outcome
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_key  keys;
BEGIN
    IF expires_in_past(p_key_attributes) THEN
        RETURN refused('expires_in_past', 'expiresAt'::text);
    END IF;

    SELECT * INTO v_key FROM keys WHERE id = p_key;

    IF NOT keeps_owner(p_caller, v_key,
                       ownership(with_attributes(v_key, p_key_attributes),
                                 secret_ends(p_key)))
    THEN
        RETURN refused('demotes_last_owner', p_key);
    END IF;

    RETURN NULL;
END
$$;


CREATE FUNCTION attribute_entries(p_key_attributes jsonb) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT
SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((p_key_attributes ->> 'accessList')::text[], '{}');
END
$$;


CREATE FUNCTION attribute_entry_attributes(p_key_attributes jsonb)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN (p_key_attributes ->> 'accessListAttributes')::jsonb;
END
$$;


-- The attributes of a key, as the audit shows them.
CREATE FUNCTION key_attributes(p_key keys) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'desc', p_key.descr, 'roles', p_key.roles,
        'disabled', nullif(p_key.disabled, false),
        'expiresAt', apikeys.utc(p_key.expires)));
END
$$;


-- The same with the public key and the end of the private key, for a key that
-- is created or deleted.
CREATE FUNCTION key_image(p_key keys) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_build_object('publicKey', p_key.public_key,
                              'redacted', p_key.redacted)
           || apikeys.key_attributes(p_key);
END
$$;


-- The rows of the mutations below, which have checked the caller.

CREATE FUNCTION insert_key_row(p_org text, p_key_id text, p_public_key text,
                               p_secret text, p_redacted text,
                               p_key_attributes jsonb)
RETURNS keys
LANGUAGE plpgsql
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_key  keys;
BEGIN
    v_key.roles := '{}';
    v_key.disabled := false;
    v_key := with_attributes(v_key, p_key_attributes);

    INSERT INTO keys (id, org_id, public_key, secret, redacted, descr, roles,
                      disabled, expires)
        VALUES (p_key_id, p_org, p_public_key, decode(p_secret, 'hex'),
                p_redacted, v_key.descr, v_key.roles, v_key.disabled,
                v_key.expires)
    RETURNING * INTO v_key;

    RETURN v_key;
END
$$;


-- Updates the row even if nothing changes: a client that asks for a receipt
-- waits until every node has applied a change from the feed.
CREATE FUNCTION update_key_row(p_key text, p_key_attributes jsonb) RETURNS keys
LANGUAGE plpgsql
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_key  keys;
BEGIN
    SELECT * INTO v_key FROM keys WHERE id = p_key;

    v_key := with_attributes(v_key, p_key_attributes);

    UPDATE keys SET descr = v_key.descr, roles = v_key.roles,
                    disabled = v_key.disabled, expires = v_key.expires
     WHERE id = p_key
    RETURNING * INTO v_key;

    RETURN v_key;
END
$$;


CREATE FUNCTION insert_key(p_caller text, p_address text, p_org text,
                           p_key_id text, p_public_key text, p_secret text,
                           p_redacted text, p_key_attributes jsonb)
RETURNS void
LANGUAGE plpgsql
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_key      keys;
    v_entries  text[] := attribute_entries(p_key_attributes);
BEGIN
    v_key := insert_key_row(p_org, p_key_id, p_public_key, p_secret,
                            p_redacted, p_key_attributes);

    PERFORM audit_event('API_KEY_CREATED', p_caller, p_address, p_org,
                        NULL, p_key_id, NULL, key_image(v_key));

    IF cardinality(v_entries) > 0 THEN
        PERFORM insert_entries(p_caller, p_address, p_org, p_key_id,
                               v_entries,
                               attribute_entry_attributes(p_key_attributes));
    END IF;
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


-- Changes the key, and writes real changes into the audit.
CREATE FUNCTION set_key(p_caller text, p_address text, p_org text,
                        p_key text, p_key_attributes jsonb)
RETURNS void
LANGUAGE plpgsql
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_old  keys;
    v_new  keys;
BEGIN
    SELECT * INTO v_old FROM keys WHERE id = p_key;

    v_new := update_key_row(p_key, p_key_attributes);

    IF v_new.descr <> v_old.descr THEN
        PERFORM audit_event('API_KEY_DESCRIPTION_CHANGED', p_caller,
                            p_address, p_org, NULL, p_key,
                            jsonb_build_object('desc', v_old.descr),
                            jsonb_build_object('desc', v_new.descr));
    END IF;

    IF v_new.roles <> v_old.roles THEN
        PERFORM audit_event('API_KEY_ROLES_CHANGED', p_caller,
                            p_address, p_org, NULL, p_key,
                            jsonb_build_object('roles', v_old.roles),
                            jsonb_build_object('roles', v_new.roles));
    END IF;

    IF v_new.disabled <> v_old.disabled THEN
        PERFORM audit_event(CASE WHEN v_new.disabled THEN 'API_KEY_DISABLED'
                                 ELSE 'API_KEY_ENABLED' END, p_caller,
                            p_address, p_org, NULL, p_key,
                            jsonb_build_object('disabled', v_old.disabled),
                            jsonb_build_object('disabled', v_new.disabled));
    END IF;

    IF v_new.expires IS DISTINCT FROM v_old.expires THEN
        PERFORM audit_event('API_KEY_EXPIRY_CHANGED', p_caller,
                            p_address, p_org, NULL, p_key,
                            jsonb_build_object('expiresAt',
                                               utc(v_old.expires)),
                            jsonb_build_object('expiresAt',
                                               utc(v_new.expires)));
    END IF;
END
$$;


-- Creates a key in an organization (p_project and p_grants are null), or in a
-- project (p_org is null).
CREATE FUNCTION create_key(p_caller text, p_caller_secret text,
                           p_address text, p_org_roles text[],
                           p_project_roles text[], p_org text, p_project text,
                           p_key_id text,
                           p_public_key text, p_secret text,
                           p_redacted text, p_key_attributes jsonb,
                           p_grants text[])
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin    record;
    v_org      text;
    v_quota    default_quotas;
    v_usage    org_usage;
    v_refusal  outcome;
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, p_org, p_project, NULL);

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

    IF expires_in_past(p_key_attributes) THEN
        RETURN NEXT refused('expires_in_past', 'expiresAt'::text);
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

    v_refusal := refuse_entries(v_org, p_key_id,
                                attribute_entries(p_key_attributes),
                                attribute_entry_attributes(p_key_attributes));

    IF v_refusal.refusal IS NOT NULL THEN
        RETURN NEXT v_refusal;
        RETURN;
    END IF;

    PERFORM insert_key(p_caller, p_address, v_org, p_key_id, p_public_key,
                       p_secret, p_redacted, p_key_attributes);

    IF p_project IS NOT NULL THEN
        PERFORM insert_grant(p_caller, p_address, v_org, p_project, p_key_id,
                             p_grants);
    END IF;

    RETURN QUERY SELECT * FROM changed_key(p_key_id);
END
$$;


-- A key that is the caller without a required role (no role arguments) may
-- change its own description, and nothing else.
CREATE FUNCTION update_key(p_caller text, p_caller_secret text,
                           p_address text, p_org_roles text[],
                           p_project_roles text[], p_org text, p_key text,
                           p_key_attributes jsonb)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin    record;
    v_refused  outcome;
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, p_org, NULL, p_key);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    IF NOT is_operator(p_caller)
       AND p_org_roles IS NULL AND p_project_roles IS NULL
       AND p_key_attributes - 'desc' <> '{}'
    THEN
        RETURN NEXT refused('unauthorized', p_caller);
        RETURN;
    END IF;

    v_refused := refuse_attributes(p_key, p_key_attributes, p_caller);

    IF v_refused.refusal IS NOT NULL THEN
        RETURN NEXT v_refused;
        RETURN;
    END IF;

    PERFORM set_key(p_caller, p_address, p_org, p_key, p_key_attributes);

    RETURN QUERY SELECT * FROM changed_key(p_key);
END
$$;


-- The access list is deleted with the key.  It is locked first, in the order
-- in which flush_usage() locks entries.
CREATE FUNCTION delete_key(p_caller text, p_caller_secret text,
                           p_address text, p_org_roles text[],
                           p_project_roles text[], p_org text, p_key text)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin   record;
    v_key     keys;
    v_before  jsonb;
    r         record;
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, p_org, NULL, p_key,
                            p_delete => true);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    SELECT * INTO v_key FROM keys WHERE id = p_key;

    IF NOT keeps_owner(p_caller, v_key, 0) THEN
        RETURN NEXT refused('deletes_last_owner', p_key);
        RETURN;
    END IF;

    PERFORM FROM access_list WHERE key_id = p_key ORDER BY cidr FOR UPDATE;

    v_before := key_image(v_key) || jsonb_build_object(
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


-- Replaces the roles of the key in the project, unless p_grants is null, and
-- sets attributes of the key, which needs a caller that may grant all of its
-- roles.  A key that is not in the project is assigned to it, which needs an
-- owner of the project; without roles that is refused.  The detail of the
-- result is then "assigned".
CREATE FUNCTION set_key_grants(p_caller text, p_caller_secret text,
                               p_address text, p_org_roles text[],
                               p_project_roles text[], p_project text,
                               p_key text,
                               p_key_attributes jsonb, p_grants text[])
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin    record;
    v_refused  outcome;
    v_org      text;
    v_grants   text[] := sorted_roles(p_grants);
    v_before   text[];
    v_may      boolean;
    v_quota    default_quotas;
    v_usage    org_usage;
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, NULL, p_project, p_key);

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
       OR (p_key_attributes <> '{}'
           AND NOT may_grant_all(p_caller, v_org, p_key))
    THEN
        RETURN NEXT refused('unauthorized', p_caller);
        RETURN;
    END IF;

    v_refused := refuse_attributes(p_key, p_key_attributes, p_caller);

    IF v_refused.refusal IS NOT NULL THEN
        RETURN NEXT v_refused;
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

    PERFORM set_key(p_caller, p_address, v_org, p_key, p_key_attributes);

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

    RETURN QUERY SELECT refusal, CASE WHEN v_before IS NULL
                                      THEN 'assigned' END, changed
                   FROM changed_key(p_key);
END
$$;


CREATE FUNCTION assign_key(p_caller text, p_caller_secret text,
                           p_address text, p_org_roles text[],
                           p_project_roles text[], p_project text, p_key text,
                           p_grants text[])
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_quota  default_quotas;
    v_usage  org_usage;
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, NULL, p_project, p_key);

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


-- Takes the key out of the project.  p_repeatable: it succeeds, too, if the
-- key is not in the project.
CREATE FUNCTION unassign_key(p_caller text, p_caller_secret text,
                             p_address text, p_org_roles text[],
                             p_project_roles text[], p_project text, p_key text,
                             p_repeatable boolean)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin   record;
    v_before  text[];
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, NULL, p_project, p_key);

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
        -- see update_key_row()
        PERFORM update_key_row(p_key, '{}');

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
