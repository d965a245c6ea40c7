-- Work of minutes that the service does for a client.

create table job (
    job_id bigint generated always as identity primary key,
    kind text not null,
    -- By its name: a fit may make it.
    category text not null,
    created_by text not null,
    state text not null default 'waiting'
        check (state in ('waiting', 'running', 'done', 'failed', 'cancelled', 'interrupted')),
    stage text,
    done bigint not null default 0,
    total bigint not null default 0,
    stage_begun_at timestamptz,
    error text,
    result jsonb,
    cancel_asked boolean not null default false,
    created_at timestamptz not null default now(),
    begun_at timestamptz,
    ended_at timestamptz,
    -- While it waits or runs, its service says again and again that it is there.
    alive_at timestamptz not null default now()
);

create index job_category on job (category, job_id);
