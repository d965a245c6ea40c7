Statements on the database as a whole.

-- look --
-- With the schema of pgvector, which may be any.
select
    current_setting('server_version_num')::integer,
    (select default_version from pg_available_extensions where name = 'vector'),
    (select extversion from pg_extension where extname = 'vector'),
    (
        select nspname from pg_extension join pg_namespace on pg_namespace.oid = extnamespace
        where extname = 'vector'
    ),
    (
        select has_schema_privilege(extnamespace, 'usage') from pg_extension
        where extname = 'vector'
    ),
    current_user,
    to_regclass('patchbank.migration') is not null,
    pg_backend_pid()

-- create_extension --
create extension if not exists vector

-- lock_migrations --
-- An arbitrary number, the same in every process: one migrates, the others wait.
select pg_advisory_xact_lock(7205759403792793)

-- catch_up --
-- After waiting for an advisory lock, a session sees what others changed only when it reads a
-- catalog.
select count(*) from pg_catalog.pg_namespace

-- create_schema --
create schema if not exists patchbank

-- create_migration --
create table if not exists patchbank.migration (
    name text primary key,
    applied_at timestamptz not null default now()
)

-- migrations --
select name from patchbank.migration

-- backup_contents --
select
    (select count(*) from category), (select count(*) from bank), (select count(*) from reference),
    (select count(*) from inspection), (select count(*) from inspection_image),
    (select count(*) from defect), (select count(*) from access_key where revoked_at is null),
    (select count(*) from sink)

-- make_way --
-- What a restored backup replaces must have been empty; others wait until it is there.
do $$
declare
    existing record;
    filled boolean;
begin
    for existing in
        select quote_ident(relname) as name
        from pg_class
        where relnamespace = 'patchbank'::regnamespace and relkind in ('r', 'p')
            and not relispartition and relname <> 'migration'
    loop
        execute format('lock table patchbank.%s in access exclusive mode', existing.name);
        execute format('select exists (select from patchbank.%s)', existing.name) into filled;
        if filled then
            raise exception 'the database is not empty: its table % has rows', existing.name;
        end if;
    end loop;
end
$$;
drop schema patchbank cascade

-- contents --
-- These tables exist since the first version.
select
    (select count(*) from patchbank.bank),
    (select count(*) from patchbank.patch),
    (select count(*) from patchbank.inspection),
    (
        select coalesce(sum(pg_table_size(pg_class.oid)), 0)::bigint
        from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where nspname = 'patchbank' and relkind = 'r'
    ),
    (
        select count(*) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()
            and backend_type = 'client backend' and application_name <> 'patchbank keeper'
    )

-- add_migration --
insert into patchbank.migration (name) values (%(name)s)

-- status --
select
    current_setting('server_version'),
    (select extversion from pg_extension where extname = 'vector'),
    pg_database_size(current_database()),
    pg_postmaster_start_time(),
    extract(epoch from now() - pg_postmaster_start_time())::double precision,
    pg_is_in_recovery(),
    current_setting('transaction_read_only')::boolean,
    has_table_privilege('patchbank.inspection', 'insert'),
    has_table_privilege('patchbank.patch', 'insert')

-- notify --
select pg_notify(%(channel)s, %(payload)s)
