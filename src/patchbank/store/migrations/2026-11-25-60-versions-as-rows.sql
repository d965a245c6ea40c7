-- Stores a bank version as a set of rows instead of a copy. A fit starts a generation of rows that are
-- never updated; narrow tables record which rows were added or removed after the fit.

alter table bank drop constraint bank_state_check;
alter table bank add constraint bank_state_check check (state in ('active', 'retired', 'pruned'));
-- The version of the fit that wrote the rows.
alter table bank add column generation integer;
update bank set generation = version;
alter table bank alter column generation set not null;

alter table patch rename column version to generation;
alter table reference rename column version to generation;
alter table quantised_graph rename column version to generation;

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

-- Scores of good images against a bank without their own patches: the image score and the maximum of
-- the anomaly map. The calibration of a bank is all rows that count.
create table calibration_score (
    category_id bigint not null,
    generation integer not null,
    -- Of the reference image; negative if the image is unknown.
    position integer not null,
    since_version integer not null,
    until_version integer,
    -- Whether the image was kept for calibration and not used for learning.
    held_out boolean not null,
    counts boolean not null,
    score double precision not null,
    map_maximum double precision,
    primary key (category_id, generation, position, since_version)
);

-- Earlier calibrations are sorted lists without images; scores of images were stored separately.
insert into calibration_score
select
    bank.category_id, bank.version, -scores.number, bank.version, null, false, true,
    scores.value, maxima.value
from bank
cross join lateral (
    select number, value::double precision
    from jsonb_array_elements_text(
        case when jsonb_typeof(calibration -> 'scores') = 'array' then calibration -> 'scores' else '[]' end
    ) with ordinality as listed (value, number)
) as scores
left join lateral (
    select number, value::double precision
    from jsonb_array_elements_text(
        case when jsonb_typeof(calibration -> 'map_maxima') = 'array' then calibration -> 'map_maxima' else '[]' end
    ) with ordinality as listed (value, number)
) as maxima using (number);

insert into calibration_score
select
    category_id, generation, position, generation, null,
    position >= image_count - coalesce((calibration ->> 'held_out')::integer, 0), false, score, null
from reference join bank using (category_id, generation)
where score <> 'NaN' and bank.version = generation;

-- Rows older than the last two fits no longer exist.
update bank set state = 'pruned'
where state = 'retired' and not exists (
    select from patch
    where patch.category_id = bank.category_id and patch.generation = bank.version
);

-- Rows of a generation that a version of it does not contain.
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

create or replace view banks as
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

create or replace view images with (security_barrier) as
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

create or replace view patches with (security_barrier) as
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

alter table bank drop column calibration;
alter table reference drop column score;
alter table reference
    rename constraint reference_category_id_version_fkey to reference_category_id_generation_fkey;
alter table quantised_graph
    rename constraint quantised_graph_category_id_version_fkey
    to quantised_graph_category_id_generation_fkey;

-- An image passes up to pass_below, fails above fail_above, and needs review in between. Before, there
-- was one threshold.
alter table inspection rename column threshold to fail_above;
alter table inspection add column pass_below double precision;

-- From PostgreSQL 18 on, not-null constraints have names.
do $$
declare
    named record;
begin
    for named in
        select conrelid::regclass as relation, conname, attname
        from pg_constraint join pg_attribute on attrelid = conrelid and attnum = conkey[1]
        where contype = 'n' and connamespace = 'patchbank'::regnamespace
            and conname <> format('%s_%s_not_null', conrelid::regclass, attname)
            and attname in ('generation', 'fail_above')
    loop
        execute format(
            'alter table %s rename constraint %I to %I', named.relation, named.conname,
            format('%s_%s_not_null', named.relation, named.attname)
        );
    end loop;
end
$$;

-- HNSW indexes with their minimum ef_search and their measured recall of the ten nearest. A row is
-- inserted before its index is built and deleted after it is removed, so that unfinished indexes are
-- known; it may outlive its category while the index is in use.
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


insert into hnsw_index (
    category_id, generation, indexed, metric, type, dimensions, ef_search, recall, name
)
select
    part[2]::bigint, part[3]::integer, part[1], part[6], part[4], part[5]::integer,
    coalesce(said[1]::integer, 100), nullif(said[2], 'unknown')::double precision / 10000, relname
from pg_index
join pg_class on pg_class.oid = indexrelid
cross join lateral regexp_match(
    relname, '^hnsw_(images|patches)_(\d+)_(\d+)_(vector|halfvec)(\d+)_(cosine|l2)$'
) as part
left join lateral regexp_match(
    obj_description(indexrelid, 'pg_class'), '^ef_search (\d+), recall (\d+|unknown) of 10000$'
) as said on true
where relnamespace = 'patchbank'::regnamespace and part is not null
on conflict do nothing;

-- Roles that may read banks may also read the new tables and views.
do $$
declare
    reader record;
begin
    for reader in
        select grantee::regrole::text as name
        from pg_class, aclexplode(relacl)
        where oid = 'patchbank.bank'::regclass and privilege_type = 'SELECT' and grantee <> relowner
            and grantee <> 0
    loop
        execute format(
            'grant select on patch_change, reference_change, calibration_score, hnsw_index, '
            'absent_patch, absent_reference, calibration_scores to %s',
            reader.name
        );
    end loop;
end
$$;
