-- The rules that the database itself holds, whoever is logged in. Both functions and triggers are replaced as a whole by a migration.

-- One record continues the chain or is refused. Appends are serialised by an advisory lock, so that the last record is the
-- one this one must follow. Index: the primary key of ledger.
CREATE FUNCTION lethe.ledger_continues() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    last record;
    computed text;
BEGIN
    PERFORM pg_advisory_xact_lock(7211, 1);
    SELECT seq, digest INTO last FROM lethe.ledger ORDER BY seq DESC LIMIT 1;
    IF NEW.seq IS DISTINCT FROM coalesce(last.seq, 0) + 1 THEN
        RAISE EXCEPTION 'ledger: record % does not follow record %', NEW.seq, coalesce(last.seq, 0) USING ERRCODE = 'LT001';
    END IF;
    IF NEW.previous IS DISTINCT FROM coalesce(last.digest, repeat('0', 64)) THEN
        RAISE EXCEPTION 'ledger: record % does not carry the digest of the one before', NEW.seq USING ERRCODE = 'LT001';
    END IF;
    computed := encode(sha256(convert_to(
        concat_ws(E'\n', NEW.seq::text, NEW.recorded_at, NEW.kind, coalesce(NEW.run, ''), NEW.previous, NEW.body), 'UTF8')), 'hex');
    IF NEW.digest IS DISTINCT FROM computed THEN
        RAISE EXCEPTION 'ledger: the digest of record % is not that of its content', NEW.seq USING ERRCODE = 'LT001';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION lethe.ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'ledger: % refused, evidence is append-only', TG_OP USING ERRCODE = 'LT001';
END $$;

CREATE TRIGGER ledger_continues BEFORE INSERT ON lethe.ledger FOR EACH ROW EXECUTE FUNCTION lethe.ledger_continues();
CREATE TRIGGER ledger_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON lethe.ledger
    FOR EACH STATEMENT EXECUTE FUNCTION lethe.ledger_is_append_only();
-- ALWAYS: session_replication_role = replica does not switch them off.
ALTER TABLE lethe.ledger ENABLE ALWAYS TRIGGER ledger_continues;
ALTER TABLE lethe.ledger ENABLE ALWAYS TRIGGER ledger_is_append_only;

-- Who may say that a plan is approved. SECURITY DEFINER because the approver may not read the table: the function sees earlier
-- refusals for him. session_user, unlike current_user, cannot be put on: it is the login.
CREATE FUNCTION lethe.approval_is_given_by_its_giver() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.recorded_by := session_user;
    IF NEW.channel = 'credentials' AND NOT EXISTS (
        SELECT FROM pg_roles WHERE rolname = 'lethe_approver' AND pg_has_role(session_user, oid, 'MEMBER')) THEN
        RAISE EXCEPTION 'approval: channel "credentials" needs the login of an approver' USING ERRCODE = 'LT003';
    END IF;
    IF NEW.channel = 'airflow' AND NOT EXISTS (
        SELECT FROM pg_roles WHERE rolname = 'lethe_runtime' AND pg_has_role(session_user, oid, 'MEMBER')) THEN
        RAISE EXCEPTION 'approval: channel "airflow" is recorded by the run that asked' USING ERRCODE = 'LT003';
    END IF;
    PERFORM pg_advisory_xact_lock(7213, hashtext(NEW.plan));
    IF NEW.approved AND EXISTS (SELECT FROM lethe.approvals WHERE plan = NEW.plan AND NOT approved) THEN
        RAISE EXCEPTION 'approval: plan % was refused' , NEW.plan USING ERRCODE = 'LT002';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER approval_is_given_by_its_giver BEFORE INSERT ON lethe.approvals
    FOR EACH ROW EXECUTE FUNCTION lethe.approval_is_given_by_its_giver();
ALTER TABLE lethe.approvals ENABLE ALWAYS TRIGGER approval_is_given_by_its_giver;

-- A plan is a value: it never changes under its digest.
CREATE FUNCTION lethe.plan_never_changes() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'plan: a stored plan never changes' USING ERRCODE = 'LT004';
END $$;
CREATE TRIGGER plan_never_changes BEFORE UPDATE ON lethe.plans FOR EACH STATEMENT EXECUTE FUNCTION lethe.plan_never_changes();
ALTER TABLE lethe.plans ENABLE ALWAYS TRIGGER plan_never_changes;

-- No rule, but how to ask: the archive objects that one of these persons or tenants is in. The planner does not see that the arrays lie aside, and
-- would read all of them while the table's own pages are few. So it may not read the table, nor (kind || '') by way of the primary key.
CREATE FUNCTION lethe.objects_naming(whose text, names bytea[]) RETURNS SETOF text LANGUAGE sql STABLE ROWS 100
    SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
    AS $$ SELECT object FROM lethe.archive_subjects WHERE kind || '' = whose AND digests && names $$;
