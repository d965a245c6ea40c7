-- Every primary key starts with category_id, so that all tables can be distributed by category.

create table category (
    category_id bigint generated always as identity primary key,
    name text collate "C" not null unique,
    created_at timestamptz not null default now()
);

-- Rows are kept forever, because inspections name the version that judged them; references and
-- patches are kept only for the active version and the one before it.
create table bank (
    category_id bigint not null references category,
    version integer not null,
    state text not null check (state in ('active', 'retired')),
    extractor_fingerprint text not null,
    extractor jsonb not null,
    settings jsonb not null,
    calibration jsonb not null,
    coreset_ratio double precision not null,
    covering_radius double precision not null,
    patch_count integer not null,
    dimensions integer not null,
    image_count integer not null,
    embedding_mean vector not null,
    created_at timestamptz not null default now(),
    retired_at timestamptz,
    primary key (category_id, version)
);

create unique index bank_active on bank (category_id) where state = 'active';

create table image (
    category_id bigint not null references category,
    image_id bigint generated always as identity,
    name text collate "C" not null,
    sha256 bytea not null,
    width integer not null,
    height integer not null,
    label text not null check (label in ('good', 'anomalous', 'unknown')),
    defect_label text,
    origin text,
    thumbnail bytea not null,
    added_at timestamptz not null default now(),
    primary key (category_id, image_id),
    unique (category_id, name)
);

-- Thumbnails are already compressed.
alter table image alter column thumbnail set storage external;

-- The reference images of a bank. The embedding belongs to the bank, not to the image, because it
-- depends on the extractor.
create table reference (
    category_id bigint not null,
    version integer not null,
    position integer not null,
    image_id bigint not null,
    -- Against the bank without this image's own patches; NaN if not computed.
    score double precision not null,
    embedding vector not null,
    primary key (category_id, version, position),
    foreign key (category_id, version) references bank,
    foreign key (category_id, image_id) references image
) with (toast_tuple_target = 8160);

create index reference_image on reference (category_id, image_id);

-- The coreset in greedy order. Vectors up to 2,000 dimensions stay in the row (toast_tuple_target)
-- and none is compressed (storage external), so that reading a bank is reading pages. No foreign
-- keys: they would be checked row by row, and a bank is written in one transaction.
create table patch (
    category_id bigint not null,
    version integer not null,
    ordinal integer not null,
    image_id bigint not null,
    patch_row smallint not null,
    patch_column smallint not null,
    feature vector not null,
    primary key (category_id, version, ordinal)
) with (toast_tuple_target = 8160);

create table inspection (
    category_id bigint not null,
    inspection_id bigint generated always as identity,
    version integer not null,
    image_name text not null,
    sha256 bytea not null,
    verdict text not null check (verdict in ('pass', 'review', 'fail')),
    score double precision not null,
    threshold double precision not null,
    p_value double precision,
    regions jsonb not null,
    similar_images jsonb not null,
    timings_ms jsonb not null,
    inspected_at timestamptz not null default now(),
    primary key (category_id, inspection_id),
    foreign key (category_id, version) references bank
);

create index inspection_recent on inspection (category_id, inspected_at desc, inspection_id desc);

-- Who changed what.
create table event (
    category_id bigint not null references category,
    event_id bigint generated always as identity,
    kind text not null,
    actor text not null,
    detail jsonb not null,
    happened_at timestamptz not null default now(),
    primary key (category_id, event_id)
);
