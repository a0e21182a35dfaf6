--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- Logical replication into these tables is refused.  Its apply process fires
-- row triggers only: the statement triggers of the feed, of the counters and
-- of the audit would not see its changes, and no node would follow them.  So
-- it stops with an error.  Physical standbys, dumps and pg_upgrade are
-- supported.
--

CREATE FUNCTION refuse_apply() RETURNS trigger
LANGUAGE plpgsql SET search_path = apikeys, pg_catalog, pg_temp AS $$
BEGIN
    -- other sessions with session_replication_role = replica get here, too,
    -- but they fire the statement triggers
    IF EXISTS (SELECT FROM pg_stat_get_activity(pg_backend_pid()) a
                WHERE a.backend_type LIKE 'logical replication%')
    THEN
        RAISE EXCEPTION 'logical replication into the schema apikeys is not'
                        ' supported'
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Use a physical standby, or pg_dump.';
    END IF;

    RETURN NULL;
END
$$;

CREATE TRIGGER refuse_apply AFTER INSERT OR UPDATE OR DELETE ON orgs
    FOR EACH ROW EXECUTE FUNCTION refuse_apply();
CREATE TRIGGER refuse_apply AFTER INSERT OR UPDATE OR DELETE ON projects
    FOR EACH ROW EXECUTE FUNCTION refuse_apply();
CREATE TRIGGER refuse_apply AFTER INSERT OR UPDATE OR DELETE ON keys
    FOR EACH ROW EXECUTE FUNCTION refuse_apply();
CREATE TRIGGER refuse_apply AFTER INSERT OR UPDATE OR DELETE ON key_projects
    FOR EACH ROW EXECUTE FUNCTION refuse_apply();
CREATE TRIGGER refuse_apply AFTER INSERT OR UPDATE OR DELETE ON older_secrets
    FOR EACH ROW EXECUTE FUNCTION refuse_apply();
CREATE TRIGGER refuse_apply AFTER INSERT OR UPDATE OR DELETE ON access_list
    FOR EACH ROW EXECUTE FUNCTION refuse_apply();
CREATE TRIGGER refuse_apply AFTER INSERT OR UPDATE OR DELETE
    ON global_access_list
    FOR EACH ROW EXECUTE FUNCTION refuse_apply();
CREATE TRIGGER refuse_apply AFTER INSERT OR UPDATE OR DELETE ON changes
    FOR EACH ROW EXECUTE FUNCTION refuse_apply();
