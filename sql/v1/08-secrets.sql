--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Mutations of the secrets of a key: a key has one, or two during a rotation.
-- The newest is in the key's row, the older in older_secrets.
--


-- A secret, as the audit shows it.
CREATE FUNCTION secret_image(p_secret secrets) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'secret', p_secret.id, 'redacted', p_secret.redacted,
        'expiresAt', apikeys.utc(p_secret.expires)));
END
$$;


-- Sets the end of a secret of a key.
CREATE FUNCTION set_secret_end(p_caller text, p_address text, p_org text,
                               p_key text, p_secret secrets,
                               p_expires timestamptz)
RETURNS void
LANGUAGE plpgsql
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_before  jsonb := secret_image(p_secret);
BEGIN
    -- at least one of both changes nothing
    UPDATE keys SET secret_expires = p_expires
     WHERE id = p_key AND coalesce(secret_id, id) = p_secret.id;
    UPDATE older_secrets SET expires = p_expires
     WHERE key_id = p_key AND id = p_secret.id;

    IF p_expires IS DISTINCT FROM p_secret.expires THEN
        p_secret.expires := p_expires;

        PERFORM audit_event('API_KEY_SECRET_CHANGED', p_caller, p_address,
                            p_org, NULL, p_key, v_before,
                            secret_image(p_secret));
    END IF;
END
$$;


-- The end of a secret that the caller adds to a key.  A key that adds one to
-- itself gives it no longer life than that of the secret which it used.
CREATE FUNCTION new_secret_end(p_caller text, p_caller_secret text,
                               p_key text, p_expires timestamptz)
RETURNS timestamptz
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_life  interval := (SELECT expires - created FROM secrets
                          WHERE key_id = p_key AND id = p_caller_secret);
BEGIN
    IF p_caller IS DISTINCT FROM p_key THEN
        RETURN p_expires;
    END IF;

    RETURN least(p_expires, date_trunc('second', clock_timestamp() + v_life));
END
$$;


-- Adds a secret to a key.  Secrets that have ended are deleted first, and with
-- "othersExpireIn": 0 all others.  With a larger number of seconds the other
-- one ends then, or earlier as before.
CREATE FUNCTION add_secret(p_caller text, p_caller_secret text,
                           p_address text, p_org_roles text[],
                           p_project_roles text[], p_org text, p_key text,
                           p_secret_id text, p_secret text, p_redacted text,
                           p_secret_attributes jsonb)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin    record;
    v_key      keys;
    v_now      timestamptz;      -- ends have whole seconds, too
    v_others   integer := (p_secret_attributes ->> 'othersExpireIn')::integer;
    v_expires  timestamptz;
    v_old      secrets;
    v_kept     text;
    v_after    timestamptz[];
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, p_org, NULL, p_key);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    IF expires_in_past(p_secret_attributes) THEN
        RETURN NEXT refused('expires_in_past', 'expiresAt'::text);
        RETURN;
    END IF;

    v_now := date_trunc('second', clock_timestamp());
    v_expires := new_secret_end(p_caller, p_caller_secret, p_key,
        (p_secret_attributes ->> 'expiresAt')::timestamptz);

    -- the ends of those that stay
    v_after := ARRAY(SELECT least(expires,
                                  v_now + make_interval(secs => v_others))
                       FROM secrets
                      WHERE key_id = p_key AND v_others IS DISTINCT FROM 0
                        AND coalesce(expires > v_now, true));

    IF cardinality(v_after) > 1 THEN
        RETURN NEXT refused('max_secrets', p_key);
        RETURN;
    END IF;

    SELECT * INTO v_key FROM keys WHERE id = p_key;

    IF NOT keeps_owner(p_caller, v_key,
                       ownership(v_key, v_after || v_expires))
    THEN
        RETURN NEXT refused('demotes_last_owner', p_key);
        RETURN;
    END IF;

    FOR v_old IN SELECT * FROM secrets WHERE key_id = p_key ORDER BY created
    LOOP
        IF v_others = 0 OR v_old.expires <= v_now THEN
            PERFORM audit_event('API_KEY_SECRET_DELETED', p_caller, p_address,
                                p_org, NULL, p_key, secret_image(v_old), NULL);
        ELSE
            v_kept := v_old.id;
            PERFORM set_secret_end(p_caller, p_address, p_org, p_key, v_old,
                                   v_after[1]);
        END IF;
    END LOOP;

    -- the older one stays, or the newest becomes the older one
    DELETE FROM older_secrets
     WHERE key_id = p_key AND id IS DISTINCT FROM v_kept;

    INSERT INTO older_secrets (key_id, id, secret, redacted, created, expires)
        SELECT id, v_kept, secret, redacted,
               coalesce(secret_created, created), secret_expires
          FROM keys
         WHERE id = p_key AND coalesce(secret_id, id) = v_kept;

    UPDATE keys SET secret = decode(p_secret, 'hex'), redacted = p_redacted,
                    secret_id = p_secret_id,
                    secret_created = clock_timestamp(),
                    secret_expires = v_expires
     WHERE id = p_key;

    PERFORM audit_event('API_KEY_SECRET_ADDED', p_caller, p_address, p_org,
                        NULL, p_key, NULL,
                        (SELECT secret_image(s) FROM secrets s
                          WHERE key_id = p_key AND id = p_secret_id));

    RETURN QUERY SELECT * FROM changed_key(p_key);
END
$$;


-- Sets the end of a secret; null: no end.  A key does not change its own.
CREATE FUNCTION update_secret(p_caller text, p_caller_secret text,
                              p_address text, p_org_roles text[],
                              p_project_roles text[], p_org text, p_key text,
                              p_secret_id text, p_secret_attributes jsonb)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin    record;
    v_key      keys;
    v_old      secrets;
    v_expires  timestamptz :=
        (p_secret_attributes ->> 'expiresAt')::timestamptz;
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, p_org, NULL, p_key);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    IF NOT is_operator(p_caller)
       AND p_org_roles IS NULL AND p_project_roles IS NULL
    THEN
        RETURN NEXT refused('unauthorized', p_caller);
        RETURN;
    END IF;

    SELECT * INTO v_key FROM keys WHERE id = p_key;
    SELECT * INTO v_old FROM secrets WHERE key_id = p_key AND id = p_secret_id;

    IF v_old.id IS NULL THEN
        RETURN NEXT refused('secret_not_found', p_secret_id);
        RETURN;
    END IF;

    IF expires_in_past(p_secret_attributes) THEN
        RETURN NEXT refused('expires_in_past', 'expiresAt'::text);
        RETURN;
    END IF;

    IF NOT keeps_owner(p_caller, v_key,
                       ownership(v_key, ARRAY(
                           SELECT CASE WHEN id = p_secret_id
                                       THEN v_expires ELSE expires END
                             FROM secrets WHERE key_id = p_key)))
    THEN
        RETURN NEXT refused('demotes_last_owner', p_key);
        RETURN;
    END IF;

    -- an update even if nothing changes, see update_key_row()
    PERFORM set_secret_end(p_caller, p_address, p_org, p_key, v_old,
                           v_expires);

    RETURN QUERY SELECT * FROM changed_key(p_key);
END
$$;


-- Deletes a secret, if the key has another one that is valid.
CREATE FUNCTION delete_secret(p_caller text, p_caller_secret text,
                              p_address text, p_org_roles text[],
                              p_project_roles text[], p_org text, p_key text,
                              p_secret_id text)
RETURNS SETOF outcome
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys audited" AS $$
DECLARE
    v_begin  record;
    v_key    keys;
    v_old    secrets;
    v_other  secrets;
BEGIN
    v_begin := begin_change(p_caller, p_caller_secret, p_org_roles,
                            p_project_roles, p_org, NULL, p_key);

    IF v_begin.refusal IS NOT NULL THEN
        RETURN NEXT refused(v_begin.refusal, v_begin.detail);
        RETURN;
    END IF;

    SELECT * INTO v_key FROM keys WHERE id = p_key;
    SELECT * INTO v_old FROM secrets WHERE key_id = p_key AND id = p_secret_id;
    SELECT * INTO v_other FROM secrets
     WHERE key_id = p_key AND id <> p_secret_id;

    IF v_old.id IS NULL THEN
        RETURN NEXT refused('secret_not_found', p_secret_id);
        RETURN;
    END IF;

    IF v_other.id IS NULL
       OR (v_other.expires <= clock_timestamp()
           AND coalesce(v_old.expires > clock_timestamp(), true))
    THEN
        RETURN NEXT refused('last_secret', p_secret_id);
        RETURN;
    END IF;

    IF NOT keeps_owner(p_caller, v_key,
                       ownership(v_key, ARRAY[v_other.expires]))
    THEN
        RETURN NEXT refused('demotes_last_owner', p_key);
        RETURN;
    END IF;

    PERFORM audit_event('API_KEY_SECRET_DELETED', p_caller, p_address, p_org,
                        NULL, p_key, secret_image(v_old), NULL);

    -- if it is the newest, the older one takes its place
    UPDATE keys k
       SET secret = o.secret, redacted = o.redacted,
           secret_id = nullif(o.id, k.id),
           secret_created = CASE WHEN o.id <> k.id THEN o.created END,
           secret_expires = o.expires
      FROM older_secrets o
     WHERE k.id = p_key AND o.key_id = p_key AND o.id <> p_secret_id;

    DELETE FROM older_secrets WHERE key_id = p_key;

    RETURN QUERY SELECT * FROM changed_key(p_key);
END
$$;
