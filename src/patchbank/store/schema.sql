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

-- A version of a bank. A fit begins a generation of rows that are never updated; a version is those
-- of its generation that were there at the time. Rows of this table stay for ever, because
-- inspections name the version that judged them; what a retired version alone is made of is pruned.
create table bank (
    category_id bigint not null references category,
    version integer not null,
    state text not null check (state in ('active', 'retired', 'pruned')),
    extractor_fingerprint text not null,
    extractor jsonb not null,
    settings jsonb not null,
    coreset_ratio double precision not null,
    covering_radius double precision not null,
    patch_count integer not null,
    dimensions integer not null,
    image_count integer not null,
    embedding_mean vector not null,
    created_at timestamptz not null default now(),
    retired_at timestamptz,
    -- The version of the fit that made the rows.
    generation integer not null,
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
    generation integer not null,
    position integer not null,
    image_id bigint not null,
    embedding vector not null,
    primary key (category_id, generation, position),
    foreign key (category_id, generation) references bank,
    foreign key (category_id, image_id) references image
) with (toast_tuple_target = 8160);

create index reference_image on reference (category_id, image_id);

-- The coreset, in the order of the greedy choice. Vectors up to 2,000 dimensions stay in the row
-- (toast_tuple_target) and none is compressed (storage external): reading a bank is reading pages.
-- No foreign keys: they would be checked row by row, and a bank is written in one transaction.
create table patch (
    category_id bigint not null,
    generation integer not null,
    ordinal integer not null,
    -- Null in a bank made elsewhere, which does not say where its patches come from.
    image_id bigint,
    patch_row smallint,
    patch_column smallint,
    feature vector not null,
    primary key (category_id, generation, ordinal)
) with (toast_tuple_target = 8160);

-- The network of a bank in int8, quantised with its reference images: another bank has another one.
create table quantised_graph (
    category_id bigint not null,
    generation integer not null,
    content bytea not null,
    primary key (category_id, generation),
    foreign key (category_id, generation) references bank
);

-- Rows that came or went after the fit: a row with none of these is in all versions of its
-- generation, one with some in those that one of them covers.
create table patch_change (
    category_id bigint not null,
    generation integer not null,
    ordinal integer not null,
    since_version integer not null,
    until_version integer,
    primary key (category_id, generation, ordinal, since_version)
);

create table reference_change (
    category_id bigint not null,
    generation integer not null,
    position integer not null,
    since_version integer not null,
    until_version integer,
    primary key (category_id, generation, position, since_version)
);

-- What good images score by a bank that does not hold their own patches: an image's score, and the
-- largest value of its anomaly map. A bank's calibration is all rows that count.
create table calibration_score (
    category_id bigint not null,
    generation integer not null,
    -- Of the reference image; negative where the bank does not know which image it was.
    position integer not null,
    since_version integer not null,
    until_version integer,
    -- Whether it is an image that nothing was learned from, kept for the calibration.
    held_out boolean not null,
    counts boolean not null,
    score double precision not null,
    map_maximum double precision,
    primary key (category_id, generation, position, since_version)
);

-- HNSW indexes and how they are searched: candidates that are kept at least, and the share of the ten
-- nearest that was found. A row comes before its index and goes after it, so that one that was not
-- finished is known; it may outlive its category for as long as the index is in use.
create table hnsw_index (
    category_id bigint not null,
    generation integer not null,
    indexed text not null check (indexed in ('images', 'patches')),
    metric text not null check (metric in ('cosine', 'l2')),
    type text not null check (type in ('vector', 'halfvec')),
    dimensions integer not null,
    ef_search integer not null,
    recall double precision,
    name text not null,
    primary key (category_id, generation, indexed, metric)
);

create table inspection (
    category_id bigint not null,
    inspection_id bigint generated always as identity,
    version integer not null,
    image_name text not null,
    sha256 bytea not null,
    verdict text not null check (verdict in ('pass', 'review', 'fail')),
    score double precision not null,
    -- It passes up to pass_below and fails above fail_above; between them a person decides. Where
    -- pass_below is null, the two were still one.
    fail_above double precision not null,
    p_value double precision,
    regions jsonb not null,
    similar_images jsonb not null,
    timings_ms jsonb not null,
    inspected_at timestamptz not null default now(),
    pass_below double precision,
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

-- The rows that a generation has, and a version of it has not.
create view absent_patch as
select category_id, bank.version, ordinal
from bank join patch_change using (category_id, generation)
group by category_id, bank.version, ordinal
having not bool_or(
    bank.version >= since_version and (until_version is null or bank.version < until_version)
);

create view absent_reference as
select category_id, bank.version, position
from bank join reference_change using (category_id, generation)
group by category_id, bank.version, position
having not bool_or(
    bank.version >= since_version and (until_version is null or bank.version < until_version)
);

create view banks as
select
    category.name as category, bank.version, bank.extractor_fingerprint, bank.extractor,
    bank.settings,
    coalesce((
        select jsonb_build_object(
            'score_method', bank.settings -> 'image_score',
            'scores', jsonb_agg(score order by score),
            'map_maxima', jsonb_agg(map_maximum order by map_maximum)
        )
        from calibration_score
        where calibration_score.category_id = bank.category_id
            and calibration_score.generation = bank.generation
            and bank.version >= calibration_score.since_version
            and (calibration_score.until_version is null or bank.version < calibration_score.until_version)
            and counts
        having count(*) > 0
    ), 'null'::jsonb) as calibration,
    bank.coreset_ratio, bank.covering_radius,
    bank.image_count as images, bank.patch_count as patches, bank.dimensions, bank.embedding_mean,
    bank.created_at, bank.category_id, bank.generation
from bank join category using (category_id)
where bank.state = 'active';

create view images with (security_barrier) as
select
    category.name as category, image.name, image.label, reference.embedding,
    coalesce((
        select calibration_score.score
        from calibration_score
        where calibration_score.category_id = reference.category_id
            and calibration_score.generation = reference.generation
            and calibration_score.position = reference.position
            and bank.version >= calibration_score.since_version
            and (calibration_score.until_version is null or bank.version < calibration_score.until_version)
    ), 'NaN'::double precision) as score,
    image.width, image.height, image.origin, image.added_at, category_id, bank.version,
    reference.embedding + bank.embedding_mean as raw_embedding
from category
join bank using (category_id)
join reference using (category_id, generation)
join image using (category_id, image_id)
where bank.state = 'active'
    and not exists (
        select from absent_reference
        where absent_reference.category_id = bank.category_id
            and absent_reference.version = bank.version
            and absent_reference.position = reference.position
    );

create view patches with (security_barrier) as
select
    category.name as category,
    patch_name(image.name, patch.patch_row, patch.patch_column, patch.ordinal) as name,
    coalesce(image.label, 'good') as label, patch.feature, image.name as image, patch.patch_row,
    patch.patch_column, patch.ordinal, category_id, bank.version
from category
join bank using (category_id)
join patch using (category_id, generation)
left join image using (category_id, image_id)
where bank.state = 'active'
    and not exists (
        select from absent_patch
        where absent_patch.category_id = bank.category_id
            and absent_patch.version = bank.version
            and absent_patch.ordinal = patch.ordinal
    );

create view calibration_scores as
select
    category.name as category, image.name as image, calibration_score.score,
    calibration_score.map_maximum, calibration_score.held_out, calibration_score.counts,
    bank.version, bank.state = 'active' as active
from category
join bank using (category_id)
join calibration_score
    on calibration_score.category_id = bank.category_id
    and calibration_score.generation = bank.generation
    and bank.version >= calibration_score.since_version
    and (calibration_score.until_version is null or bank.version < calibration_score.until_version)
left join reference
    on reference.category_id = bank.category_id
    and reference.generation = bank.generation
    and reference.position = calibration_score.position
left join image
    on image.category_id = bank.category_id and image.image_id = reference.image_id
where bank.state <> 'pruned';

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
