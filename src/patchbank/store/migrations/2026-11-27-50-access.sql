-- Who may use the service.

create table access_key (
    key_id bigint generated always as identity primary key,
    name text collate "C" not null,
    role text not null check (role in ('operator', 'engineer', 'admin')),
    -- Of the secret, which is random and long: it need not be hashed slowly.
    secret_sha256 bytea not null unique,
    created_at timestamptz not null default now(),
    created_by text not null,
    revoked_at timestamptz,
    revoked_by text
);

create unique index access_key_name on access_key (name) where revoked_at is null;

create table access_session (
    token_sha256 bytea primary key,
    key_id bigint not null references access_key,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);

create table access_use (
    hour timestamptz not null,
    key_id bigint not null,
    address text not null,
    action text not null,
    outcome text not null,
    times bigint not null,
    last_at timestamptz not null,
    primary key (hour, key_id, address, action, outcome)
);
