-- Which files of watched folders were judged.

create table watched_file (
    category_id bigint not null references category,
    -- The folder's own id, or where it is.
    folder text collate "C" not null,
    name text collate "C" not null,
    size bigint not null,
    modified_ns bigint not null,
    inspection_id bigint,
    inspected_at timestamptz not null default now(),
    -- Why the file could not be judged; null if it was.
    refused text,
    -- Whether nothing is left to do with the file.
    done boolean not null default false,
    primary key (category_id, folder, name, size, modified_ns)
);

create index watched_file_pending on watched_file (category_id, folder) where not done;

-- Roles that may record inspections may watch folders.
do $$
declare
    recorder record;
begin
    for recorder in
        select grantee::regrole::text as name
        from pg_class, aclexplode(relacl)
        where oid = 'patchbank.inspection'::regclass and privilege_type = 'INSERT'
            and grantee <> relowner and grantee <> 0
    loop
        execute format(
            'grant select, insert, update, delete on watched_file to %s', recorder.name
        );
    end loop;
end
$$;
