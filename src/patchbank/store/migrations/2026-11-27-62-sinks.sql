-- Where the service and watchers send inspections to, and which are still to be sent.

create table sink (
    sink_id bigint generated always as identity primary key,
    name text collate "C" not null unique,
    kind text not null check (kind in ('webhook', 'mqtt', 'csv')),
    -- A URL or the path of a file.
    target text not null,
    -- What signs, or logs in: receivers must know it as it is.
    secret text,
    user_name text,
    topic text,
    -- Of which categories, by name; null for all.
    categories text[] collate "C",
    verdicts text[] not null,
    created_at timestamptz not null default now(),
    created_by text not null,
    delivered bigint not null default 0,
    delivered_at timestamptz,
    failures integer not null default 0,
    last_error text,
    -- After failures it is tried again from then on.
    retry_at timestamptz not null default now(),
    -- Which process sends at the moment, and until when unless it says so again.
    held_by uuid,
    held_until timestamptz not null default '-infinity'
);

create table outbox (
    category_id bigint not null references category,
    inspection_id bigint not null,
    sink_id bigint not null references sink on delete cascade,
    inspected_at timestamptz not null,
    attempts integer not null default 0,
    retry_at timestamptz not null default now(),
    last_error text,
    primary key (category_id, inspection_id, sink_id)
);

create index outbox_due on outbox (sink_id, retry_at, inspection_id);

-- Roles that may record inspections may send them.
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
        execute format('grant select, update on sink to %s', recorder.name);
        execute format('grant select, insert, update, delete on outbox to %s', recorder.name);
    end loop;
end
$$;
