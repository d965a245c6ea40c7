-- The whole schema, for reading: the sum of the migrations, as a test proves.

create schema patchbank;
set search_path to patchbank, public;

-- Which migrations this database has seen.
create table migration (
    name text primary key,
    applied_at timestamptz not null default now()
);

-- Every primary key is led by category_id, so that all tables can be distributed by category.

create table category (
    category_id bigint generated always as identity primary key,
    name text collate "C" not null unique,
    created_at timestamptz not null default now()
);

-- Rows stay for ever, because inspections name the version that judged them; what is heavy
-- (references, patches and quantised graphs) stays for the active version and the one before it.
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
    -- Of its decoded pixels: the same picture has the same, however its file is written. Null for
    -- images learned before it was kept.
    pixels_sha256 bytea,
    primary key (category_id, image_id),
    unique (category_id, name)
);

-- Thumbnails are compressed pictures already.
alter table image alter column thumbnail set storage external;

-- The reference images of a bank. The embedding belongs to the bank, not to the image: another
-- extractor makes another one.
create table reference (
    category_id bigint not null,
    version integer not null,
    position integer not null,
    image_id bigint not null,
    -- Against the bank without this image's own patches; NaN where it was not computed.
    score double precision not null,
    embedding vector not null,
    primary key (category_id, version, position),
    foreign key (category_id, version) references bank,
    foreign key (category_id, image_id) references image
) with (toast_tuple_target = 8160);

create index reference_image on reference (category_id, image_id);

-- The coreset, in the order of the greedy choice. Vectors up to 2,000 dimensions stay in the row
-- (toast_tuple_target) and none is compressed (storage external): reading a bank is reading pages.
-- No foreign keys: they would be checked row by row, and a bank is written in one transaction.
create table patch (
    category_id bigint not null,
    version integer not null,
    ordinal integer not null,
    -- Null in a bank made elsewhere, which does not say where its patches come from.
    image_id bigint,
    patch_row smallint,
    patch_column smallint,
    feature vector not null,
    primary key (category_id, version, ordinal)
) with (toast_tuple_target = 8160);

-- The network of a bank in int8, quantised with its reference images: another bank has another one.
create table quantised_graph (
    category_id bigint not null,
    version integer not null,
    content bytea not null,
    primary key (category_id, version),
    foreign key (category_id, version) references bank
);

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

-- What anomalies look like: recorded ones, and synthetic ones, so marked. The embedding is as the
-- extractor gives it, because each bank subtracts a mean of its own; it can be compared with those of
-- the same extractor only.
create table defect (
    category_id bigint not null references category,
    defect_id bigint generated always as identity,
    name text collate "C" not null,
    label text,
    synthetic boolean not null,
    sha256 bytea not null,
    width integer not null,
    height integer not null,
    origin text,
    thumbnail bytea not null,
    extractor_fingerprint text not null,
    embedding vector not null,
    added_at timestamptz not null default now(),
    primary key (category_id, defect_id),
    unique (category_id, name)
);

alter table defect alter column thumbnail set storage external;

-- What users may query: these views stay as they are while the tables change. See docs/sql.md.
-- Vectors of different categories may differ in length; security_barrier has a view's own conditions
-- checked first, so that a user's comparison meets the vectors of the category asked for alone.

-- An entry of a bank that was imported without provenance has no image; it is named by its place.
create function patch_name(
    image text, patch_row integer, patch_column integer, ordinal integer
) returns text
language sql immutable parallel safe
return coalesce(
    image
    || '#r' || lpad(patch_row::text, greatest(2, length(patch_row::text)), '0')
    || 'c' || lpad(patch_column::text, greatest(2, length(patch_column::text)), '0'),
    '#' || ordinal
);

create view banks as
select
    category.name as category, bank.version, bank.extractor_fingerprint, bank.extractor,
    bank.settings, bank.calibration, bank.coreset_ratio, bank.covering_radius,
    bank.image_count as images, bank.patch_count as patches, bank.dimensions, bank.embedding_mean,
    bank.created_at, bank.category_id
from bank join category using (category_id)
where bank.state = 'active';

create view images with (security_barrier) as
select
    category.name as category, image.name, image.label, reference.embedding, reference.score,
    image.width, image.height, image.origin, image.added_at, category_id, version,
    reference.embedding + bank.embedding_mean as raw_embedding
from category
join bank using (category_id)
join reference using (category_id, version)
join image using (category_id, image_id)
where bank.state = 'active';

create view patches with (security_barrier) as
select
    category.name as category,
    patch_name(image.name, patch.patch_row, patch.patch_column, patch.ordinal) as name,
    coalesce(image.label, 'good') as label, patch.feature, image.name as image, patch.patch_row,
    patch.patch_column, patch.ordinal, category_id, version
from category
join bank using (category_id)
join patch using (category_id, version)
left join image using (category_id, image_id)
where bank.state = 'active';

create view defects with (security_barrier) as
select
    category.name as category, defect.name, 'anomalous' as label, defect.label as defect_label,
    defect.synthetic, defect.embedding - bank.embedding_mean as embedding,
    defect.width, defect.height, defect.origin, defect.added_at, category_id, bank.version,
    defect.embedding as raw_embedding
from category
join bank using (category_id)
join defect using (category_id, extractor_fingerprint)
where bank.state = 'active';
