-- Adds a table of defects, recorded or flagged as synthetic, and views for queries. The embedding of
-- a defect is not centred, because each bank subtracts its own mean; it is comparable only with those
-- of the same extractor.
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

-- Views for users: they stay the same when the tables change. See docs/sql.md. Vectors of different
-- categories may differ in length; security_barrier checks a view's own conditions first, so that a
-- user's comparison only sees vectors of the selected category.

-- A patch imported without provenance has no image and is named by its ordinal.
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
    image.width, image.height, image.origin, image.added_at, category_id, version
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
    defect.width, defect.height, defect.origin, defect.added_at, category_id, bank.version
from category
join bank using (category_id)
join defect using (category_id, extractor_fingerprint)
where bank.state = 'active';
