-- Who may do what in database `spotrak`. Passwords are set by the loader; none is written here.
--   spotrak_app     the application: owns the schema and its tables
--   lethe_purger    reads and deletes; UPDATE on key columns only, which SELECT ... FOR UPDATE asks for
--   lethe_checker   reads everything, whatever row security says, and can write nothing
--   lethe_keeper    owns page_views and its partitions (to drop one), and vacuums every table

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['spotrak_app', 'lethe_purger', 'lethe_checker', 'lethe_keeper'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', wanted);
        END IF;
    END LOOP;
END $$;

ALTER ROLE lethe_checker BYPASSRLS;
ALTER ROLE lethe_checker SET default_transaction_read_only = on;
ALTER ROLE lethe_checker SET row_security = off;
GRANT pg_read_all_stats TO lethe_checker;

-- after the load

DO $$
DECLARE
    found record;
BEGIN
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO spotrak_app, lethe_purger, lethe_checker, lethe_keeper', current_database());
    ALTER SCHEMA app OWNER TO spotrak_app;
    GRANT USAGE ON SCHEMA app TO lethe_purger, lethe_checker, lethe_keeper;
    FOR found IN
        SELECT c.oid, c.relkind, c.oid::regclass AS name,
               c.oid = 'app.page_views'::regclass
                   OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid AND i.inhparent = 'app.page_views'::regclass) AS kept
        FROM pg_class c
        WHERE c.relnamespace = 'app'::regnamespace AND c.relkind IN ('r', 'p')
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO %I', found.name, CASE WHEN found.kept THEN 'lethe_keeper' ELSE 'spotrak_app' END);
    END LOOP;
    ALTER SEQUENCE app.page_views_id_seq OWNER TO spotrak_app;

    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO spotrak_app;
    GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA app TO lethe_purger;
    GRANT SELECT ON ALL TABLES IN SCHEMA app TO lethe_checker;
    ALTER DEFAULT PRIVILEGES FOR ROLE spotrak_app, lethe_keeper IN SCHEMA app GRANT SELECT ON TABLES TO lethe_checker;
    ALTER DEFAULT PRIVILEGES FOR ROLE spotrak_app, lethe_keeper IN SCHEMA app GRANT SELECT, DELETE ON TABLES TO lethe_purger;

    FOR found IN
        SELECT k.conrelid::regclass AS name, string_agg(quote_ident(a.attname), ', ') AS columns
        FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
        WHERE k.contype = 'p' AND k.connamespace = 'app'::regnamespace
        GROUP BY k.conrelid
    LOOP
        EXECUTE format('GRANT UPDATE (%s) ON %s TO lethe_purger', found.columns, found.name);
    END LOOP;

    IF current_setting('server_version_num')::int >= 170000 THEN
        GRANT MAINTAIN ON ALL TABLES IN SCHEMA app TO lethe_keeper;
    ELSE
        GRANT spotrak_app TO lethe_keeper;  -- before MAINTAIN only an owner may vacuum
    END IF;
END $$;
