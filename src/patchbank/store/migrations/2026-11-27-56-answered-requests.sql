-- What the service answered to requests that may come again: hashes of the key under which a client
-- sent one, and of all that it asked.

create table answered_request (
    category_id bigint not null references category,
    key_sha256 bytea not null,
    request_sha256 bytea not null,
    answer jsonb not null,
    answered_at timestamptz not null default now(),
    primary key (category_id, key_sha256)
);

create index answered_request_time on answered_request (category_id, answered_at);

-- Roles that may record inspections may answer requests that come again.
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
            'grant select, insert, update, delete on answered_request to %s', recorder.name
        );
    end loop;
end
$$;
