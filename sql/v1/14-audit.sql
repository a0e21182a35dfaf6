--
-- Copyright (C) ngx_http_apikeys_module contributors
--
-- The audit of changes made without the mutations, by psql or another program:
-- one row for each statement, in its transaction, with the login role as the
-- caller.  And the function that deletes old rows of the audit.
--


-- What a statement changed: the number of rows, the first 20 of them, and
-- their organization, project and key if all rows have the same one.
CREATE TYPE audit_rows AS (
    count       bigint,
    org_id      text,
    project_id  text,
    key_id      text,
    sample      jsonb
);

-- The query that computes audit_rows from the transition table p_rows; p_args
-- are the arguments of the trigger.  Sealed secrets are left out.
CREATE FUNCTION audit_query(p_rows text, p_args text[], p_where text)
RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT format('SELECT count(*),
                          CASE WHEN min(%2$s) = max(%2$s) THEN min(%2$s) END,
                          CASE WHEN min(%3$s) = max(%3$s) THEN min(%3$s) END,
                          CASE WHEN min(%4$s) = max(%4$s) THEN min(%4$s) END,
                          (SELECT jsonb_agg(to_jsonb(s) - ''secret''
                                            - ''line'' - ''version'')
                             FROM (SELECT * FROM %1$s r WHERE %6$s
                                    ORDER BY %5$s LIMIT 20) s)
                     FROM %1$s r WHERE %6$s',
                  p_rows, p_args[0], p_args[1], p_args[2], p_args[3], p_where)
$$;


-- The arguments of the trigger: the columns of the organization, the project
-- and the key, the columns to order by, and a condition that is true while the
-- parents of a row exist.  Rows deleted by a cascade get no row of the audit;
-- the deleted parent has one.
CREATE FUNCTION audit_statement() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = apikeys, pg_catalog, pg_temp AS $$
DECLARE
    v_args    text[] := TG_ARGV;
    v_before  audit_rows;
    v_after   audit_rows;
    v_rows    audit_rows;
BEGIN
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        EXECUTE audit_query('old_rows', v_args,
                            CASE TG_OP WHEN 'DELETE' THEN v_args[4]
                                       ELSE 'true' END)
           INTO v_before;
        v_rows := v_before;
    END IF;

    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        EXECUTE audit_query('new_rows', v_args, 'true') INTO v_after;
        v_rows := v_after;
    END IF;

    IF TG_OP <> 'TRUNCATE' AND v_rows.count = 0 THEN
        RETURN NULL;
    END IF;

    INSERT INTO audit (event, caller, address, org_id, project_id, key_id,
                       before, after)
        SELECT concat_ws(' ', 'SQL', TG_OP, TG_TABLE_NAME), session_user,
               host(inet_client_addr()), v_rows.org_id, v_rows.project_id,
               v_rows.key_id,
               CASE WHEN v_before.count > 0 THEN
                   jsonb_build_object('count', v_before.count,
                                      'rows', v_before.sample) END,
               CASE WHEN v_after.count > 0 THEN
                   jsonb_build_object('count', v_after.count,
                                      'rows', v_after.sample) END;

    RETURN NULL;
END
$$;


DO $$
DECLARE
    t  record;
BEGIN
    FOR t IN
        SELECT v.name, o.op, o.tables,
               concat_ws(', ', quote_literal(v.org), quote_literal(v.project),
                         quote_literal(v.key), quote_literal(v.pk),
                         quote_literal(v.parents)) AS args
          FROM (VALUES
                   ('orgs', 'id', 'NULL::text', 'NULL::text', 'id', 'true'),
                   ('projects', 'org_id', 'id', 'NULL::text', 'id',
                    'EXISTS (SELECT FROM orgs o WHERE o.id = r.org_id)'),
                   ('keys', 'org_id', 'NULL::text', 'id', 'id',
                    'r.org_id IS NULL '
                    'OR EXISTS (SELECT FROM orgs o WHERE o.id = r.org_id)'),
                   ('older_secrets', 'NULL::text', 'NULL::text', 'key_id',
                    'key_id',
                    'EXISTS (SELECT FROM keys k WHERE k.id = r.key_id)'),
                   ('global_access_list', 'NULL::text', 'NULL::text',
                    'NULL::text', 'id', 'true'),
                   ('key_projects', 'org_id', 'project_id', 'key_id',
                    'key_id, project_id',
                    'EXISTS (SELECT FROM keys k WHERE k.id = r.key_id) AND '
                    'EXISTS (SELECT FROM projects p WHERE p.id = r.project_id)'
                   ),
                   ('access_list', 'org_id', 'NULL::text', 'key_id',
                    'key_id, cidr',
                    'EXISTS (SELECT FROM keys k WHERE k.id = r.key_id)')
               ) AS v (name, org, project, key, pk, parents),
               (VALUES
                   ('insert', 'REFERENCING NEW TABLE AS new_rows'),
                   ('update', 'REFERENCING OLD TABLE AS old_rows '
                              'NEW TABLE AS new_rows'),
                   ('delete', 'REFERENCING OLD TABLE AS old_rows'),
                   ('truncate', '')
               ) AS o (op, tables)
    LOOP
        EXECUTE format('CREATE TRIGGER audit_%1$s AFTER %1$s ON %2$I %3$s '
                       'FOR EACH STATEMENT '
                       'WHEN (%5$s) EXECUTE FUNCTION audit_statement(%4$s)',
                       t.op, t.name, t.tables, t.args, unaudited());
    END LOOP;
END
$$;


-- For the owner of the schema.  Deletes rows of the audit and events from
-- before p_before, the oldest first, at most p_limit of each, and returns
-- their number: repeat it until that is 0.  Other rows keep their ids.
CREATE FUNCTION forget_before(p_before timestamptz,
                              p_limit integer DEFAULT 10000)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = apikeys, pg_catalog, pg_temp, "apikeys forgets" AS $$
DECLARE
    v_audit   bigint;
    v_events  bigint;
BEGIN
    DELETE FROM audit
     WHERE id IN (SELECT id FROM audit WHERE at < p_before
                   ORDER BY at LIMIT p_limit);

    GET DIAGNOSTICS v_audit = ROW_COUNT;

    DELETE FROM events
     WHERE id IN (SELECT id FROM events WHERE at < p_before
                   ORDER BY at LIMIT p_limit);

    GET DIAGNOSTICS v_events = ROW_COUNT;

    RETURN v_audit + v_events;
END
$$;


-- All triggers fire independently of session_replication_role, except
-- refuse_apply, which fires for "replica" alone.
DO $$
DECLARE
    t  record;
BEGIN
    FOR t IN SELECT tgrelid::regclass AS rel, tgname AS name
               FROM pg_trigger
               JOIN pg_class c ON c.oid = tgrelid
              WHERE NOT tgisinternal
                AND relnamespace = 'apikeys'::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %I', t.rel,
                       CASE t.name WHEN 'refuse_apply' THEN 'REPLICA'
                                   ELSE 'ALWAYS' END, t.name);
    END LOOP;
END
$$;


REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA apikeys FROM PUBLIC;

INSERT INTO schema_version (version, compatible_from) VALUES (1, 1);
