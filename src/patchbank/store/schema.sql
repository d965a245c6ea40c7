-- The whole schema, for reading: a test proves that it equals the sum of the migrations.

create schema patchbank;
set search_path to patchbank, public;

-- The migrations applied to this database.
create table migration (
    name text primary key,
    applied_at timestamptz not null default now()
);

-- Every primary key starts with category_id, so that all tables can be distributed by category.

create table category (
    category_id bigint generated always as identity primary key,
    name text collate "C" not null unique,
    created_at timestamptz not null default now(),
    -- How often its defects were changed: who keeps them in memory sees when to read them again.
    book_changes bigint not null default 0
);

-- A version of a bank. A fit starts a generation of rows that are never updated; a version is the set
-- of rows of its generation that were current then. Rows of this table are kept forever, because
-- inspections name the version that judged them; the rows of old retired versions are pruned.
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
    -- The version of the fit that wrote the rows.
    generation integer not null,
    -- What likeness to recorded defects adds to scores; null where nothing does.
    likeness_sha256 bytea,
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
    -- Of the decoded pixels: it does not depend on how the file was encoded. Null for images
    -- stored before this column existed.
    pixels_sha256 bytea,
    -- Of the inspected part, as at the last fit. Null for images stored before.
    brightness real,
    sharpness real,
    -- Grey values that tell other images of the same part; null where the images of the bank do not
    -- depend on one another.
    texture bytea,
    primary key (category_id, image_id),
    unique (category_id, name)
);

-- Thumbnails are already compressed.
alter table image alter column thumbnail set storage external;

-- The reference images of a bank. The embedding belongs to the bank, not to the image, because it
-- depends on the extractor.
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

-- The coreset in greedy order. Vectors up to 2,000 dimensions stay in the row (toast_tuple_target)
-- and none is compressed (storage external), so that reading a bank is reading pages. No foreign
-- keys: they would be checked row by row, and a bank is written in one transaction.
create table patch (
    category_id bigint not null,
    generation integer not null,
    ordinal integer not null,
    -- Null in an imported bank that does not record where its patches come from.
    image_id bigint,
    patch_row smallint,
    patch_column smallint,
    feature vector not null,
    primary key (category_id, generation, ordinal)
) with (toast_tuple_target = 8160);

-- A bank's int8 network, quantised with its reference images.
create table quantised_graph (
    category_id bigint not null,
    generation integer not null,
    content bytea not null,
    primary key (category_id, generation),
    foreign key (category_id, generation) references bank
);

-- Rows added or removed after the fit: a patch without such a row is in all versions of its
-- generation, one with such rows only in the versions that they cover.
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
    -- Images of a group depend on one another and count as one. Null: the image is its own group.
    group_number integer,
    -- What likeness to recorded defects adds to the score; null for nothing.
    added double precision,
    primary key (category_id, generation, position, since_version)
);

-- The features of a reference's inspected patches, row by row, as IEEE half-precision numbers, little
-- endian. Missing where they would be too large: the image's file is read again then.
create table reference_features (
    category_id bigint not null,
    generation integer not null,
    position integer not null,
    features bytea not null,
    primary key (category_id, generation, position)
);

-- Weights that say how much an image is like recorded defects, in the format safetensors; versions of
-- a bank that judge by the same ones share them.
create table likeness (
    category_id bigint not null,
    sha256 bytea not null,
    content bytea not null,
    primary key (category_id, sha256)
);

-- Such numbers hardly compress.
alter table reference_features alter column features set storage external;

-- A cache of what recalibration searched last: the rows of the bank then, and the two nearest rows of
-- every patch of the references, in the format safetensors. It may be deleted at any time.
create table reference_neighbours (
    category_id bigint not null,
    generation integer not null,
    content bytea not null,
    primary key (category_id, generation)
);

alter table reference_neighbours alter column content set storage external;

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

-- By month in UTC, so that an old month is removed by dropping its partition. What comes when the
-- partition of its month is missing goes to the default one. An inspection_id is unique, because the
-- database counts; it cannot be a key alone, because a key of a partitioned table has its column.
create table inspection (
    category_id bigint not null,
    inspection_id bigint generated always as identity,
    version integer not null,
    image_name text not null,
    sha256 bytea not null,
    verdict text not null check (verdict in ('pass', 'review', 'fail')),
    score double precision not null,
    -- An image passes up to pass_below, fails above fail_above, and needs review in between. A null
    -- pass_below equals fail_above: it was recorded when there was one threshold.
    pass_below double precision,
    fail_above double precision not null,
    p_value double precision,
    regions jsonb not null,
    similar_images jsonb not null,
    timings_ms jsonb not null,
    inspected_at timestamptz not null default now(),
    part text,
    station text,
    -- Mean and sharpness of the image's grey values.
    brightness real,
    sharpness real,
    -- One bit per patch of the grid, row by row, the first in the highest bit: whether it is farther
    -- from the bank than the covering radius.
    grid_rows smallint,
    grid_columns smallint,
    outside bytea,
    -- Whether a person answered to it: its last row in `review` is there and not undone.
    reviewed boolean not null default false,
    -- The columns from here on are null in inspections recorded before they existed. Size of the
    -- image in pixels.
    width integer,
    height integer,
    -- How many images of good parts the p-value compares with, and how many are independent.
    calibration_images integer,
    independent_references integer,
    -- On whose behalf it was judged: the user, or the name of a key.
    actor text,
    -- What likeness to recorded defects did to the score, the most similar of them, and what the
    -- strongest region therefore probably is; null for nothing.
    likeness jsonb,
    similar_defects jsonb,
    probable_defect jsonb,
    -- A list of texts; null for none.
    remarks jsonb,
    primary key (category_id, inspection_id, inspected_at),
    foreign key (category_id, version) references bank
) partition by range (inspected_at);

create table inspection_default partition of inspection default;

create index inspection_recent on inspection (category_id, inspected_at desc, inspection_id desc);
create index inspection_verdict
    on inspection (category_id, verdict, inspected_at desc, inspection_id desc);
create index inspection_part on inspection (category_id, part, inspected_at desc, inspection_id desc)
    where part is not null;
create index inspection_station
    on inspection (category_id, station, verdict, inspected_at desc, inspection_id desc)
    where station is not null;

create index inspection_reviewed
    on inspection (category_id, verdict, inspected_at desc, inspection_id desc)
    where reviewed;
create index inspection_unreviewed
    on inspection (category_id, verdict, inspected_at desc, inspection_id desc)
    where not reviewed and verdict <> 'pass';

-- Images of inspections, as the setting keep_images says; partitions as those of inspection.
create table inspection_image (
    category_id bigint not null,
    inspection_id bigint not null,
    inspected_at timestamptz not null,
    -- The bytes of the file as they were, or the decoded pixels as PNG.
    encoding text not null check (encoding in ('file', 'pixels')),
    content bytea not null,
    primary key (category_id, inspection_id, inspected_at)
) partition by range (inspected_at);

-- Images are already compressed.
alter table inspection_image alter column content set storage external;

create table inspection_image_default partition of inspection_image default;

-- Makes the partitions of a month, given by its first day, where they are missing.
create function make_inspection_month(month timestamp) returns void
language plpgsql as $$
declare
    parent text;
    partition text;
    first timestamptz := month at time zone 'utc';
    next timestamptz := (month + interval '1 month') at time zone 'utc';
begin
    foreach parent in array array['inspection', 'inspection_image'] loop
        partition := format('%s_%s', parent, to_char(month, 'YYYY_MM'));
        continue when to_regclass('patchbank.' || partition) is not null;
        execute format(
            'create table %I (like %I including defaults including constraints '
            'including indexes including storage)',
            partition, parent
        );
        -- Attaching locks it anyway: nothing may come in between.
        execute format('lock table %I_default in access exclusive mode', parent);
        execute format(
            'with moved as (delete from %1$I_default '
            'where inspected_at >= %2$L and inspected_at < %3$L returning *) '
            'insert into %4$I select * from moved',
            parent, first, next, partition
        );
        execute format(
            'alter table %I attach partition %I for values from (%L) to (%L)',
            parent, partition, first, next
        );
    end loop;
end
$$;

-- Makes the partitions of this month and the next two: whoever records calls it now and then, also a
-- role that may not create tables. It waits for nobody: if it fails, the default partition takes what
-- comes, and the next call moves it.
create function make_inspection_months() returns void
language plpgsql security definer
set search_path = patchbank, pg_temp
set lock_timeout = '100ms'
as $$
declare
    month timestamp := date_trunc('month', now() at time zone 'utc');
begin
    -- Whoever comes second has nothing to do.
    if pg_try_advisory_xact_lock(7205759403792794) then
        for ahead in 0..2 loop
            perform make_inspection_month(month + ahead * interval '1 month');
        end loop;
    end if;
end
$$;

select make_inspection_months();

-- What an event's hash is computed of, after the hash before it.
create function event_content(
    category_id bigint, number integer, kind text, actor text, happened_at timestamptz, detail jsonb
) returns text
language sql stable parallel safe
return jsonb_build_array(
    category_id, number, kind, actor,
    to_char(happened_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), detail
)::text;

-- Who changed what: a chain of events for each category. A category's events stay when it is removed,
-- so nothing refers to it. Each hash is the SHA-256 of the hash before it (of the first, 32 zero
-- bytes) and the event's content.
create table event (
    category_id bigint not null,
    event_id bigint generated always as identity,
    kind text not null,
    actor text not null,
    detail jsonb not null,
    happened_at timestamptz not null default now(),
    position integer not null,
    previous_hash bytea not null,
    hash bytea not null,
    primary key (category_id, event_id),
    unique (category_id, position)
);

create function chain_event() returns trigger
language plpgsql
set search_path = patchbank, pg_temp
as $$
begin
    -- Writers of one category wait for one another, else two would follow the same event.
    perform from category where category_id = new.category_id for no key update;
    select position + 1, hash into new.position, new.previous_hash
    from event where category_id = new.category_id
    order by position desc limit 1;
    if new.position is null then
        new.position := 1;
        new.previous_hash := decode(repeat('00', 32), 'hex');
    end if;
    new.hash := sha256(new.previous_hash || convert_to(
        event_content(
            new.category_id, new.position, new.kind, new.actor, new.happened_at, new.detail
        ), 'UTF8'
    ));
    return new;
end
$$;

create function keep_events() returns trigger
language plpgsql as $$
begin
    raise exception 'events are only added to: they are never changed or deleted';
end
$$;

create trigger event_chained before insert on event
    for each row execute function chain_event();
create trigger event_kept before update or delete on event
    for each row execute function keep_events();
create trigger events_kept before truncate on event
    for each statement execute function keep_events();

-- Defects, recorded or flagged as synthetic. The embedding is not centred, because each bank subtracts
-- its own mean; it is comparable only with those of the same extractor.
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

-- Images that were to be added to a bank and look defective: held until they are confirmed or
-- dismissed. The content is kept of images that were not given as files.
create table quarantine (
    category_id bigint not null references category,
    -- Of the decoded pixels.
    pixels_sha256 bytea not null,
    name text not null,
    origin text,
    content bytea,
    score double precision not null,
    reason text not null,
    held_at timestamptz not null default now(),
    held_by text not null,
    primary key (category_id, pixels_sha256)
);

alter table quarantine alter column content set storage external;

-- Where the defects are in their images, and what is there: the mean difference of the patches from
-- the bank. Comparable only with those of the same extractor.
create table defect_region (
    category_id bigint not null,
    defect_id bigint not null,
    -- From 1, the strongest first.
    number integer not null,
    x0 integer not null,
    y0 integer not null,
    x1 integer not null,
    y1 integer not null,
    area_pixels integer not null,
    peak_score double precision not null,
    embedding vector not null,
    primary key (category_id, defect_id, number),
    foreign key (category_id, defect_id) references defect on delete cascade
);

-- The answers of people to inspections: the last one of each counts. Rows are only added.
create table review (
    category_id bigint not null references category,
    review_id bigint generated always as identity,
    inspection_id bigint not null,
    answer text not null check (answer in ('good', 'defect', 'skip', 'undone')),
    label text,
    actor text not null,
    reviewed_at timestamptz not null default now(),
    -- Whether the change that follows from the answer is still to be made.
    pending boolean not null,
    -- What followed: the reference or the defect that was added, and the bank version it began with.
    added text,
    version integer,
    primary key (category_id, review_id)
);

create index review_inspection on review (category_id, inspection_id, review_id desc);

-- Who may use the service. A key's secret is random and long: it need not be hashed slowly.
create table access_key (
    key_id bigint generated always as identity primary key,
    name text collate "C" not null,
    role text not null check (role in ('operator', 'engineer', 'admin')),
    secret_sha256 bytea not null unique,
    created_at timestamptz not null default now(),
    created_by text not null,
    revoked_at timestamptz,
    revoked_by text
);

create unique index access_key_name on access_key (name) where revoked_at is null;

-- Browsers that logged in with a key.
create table access_session (
    token_sha256 bytea primary key,
    key_id bigint not null references access_key,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);

-- How often each key was used in an hour, from which address, for which action, and how that ended;
-- key 0 is that of requests without a valid key.
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
    bank.version, bank.state = 'active' as active, calibration_score.group_number,
    calibration_score.added
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

create view defect_regions with (security_barrier) as
select
    category.name as category, defect.name, defect_region.number, defect.label as defect_label,
    defect.synthetic, defect_region.embedding, defect_region.x0, defect_region.y0,
    defect_region.x1, defect_region.y1, defect_region.area_pixels, defect_region.peak_score,
    category_id, bank.version
from category
join bank using (category_id)
join defect using (category_id, extractor_fingerprint)
join defect_region using (category_id, defect_id)
where bank.state = 'active';

create view inspections as
select
    category.name as category, inspection.inspection_id, inspection.inspected_at,
    inspection.image_name as image, inspection.verdict, inspection.score,
    coalesce(inspection.pass_below, inspection.fail_above) as pass_below, inspection.fail_above,
    inspection.p_value, inspection.regions, inspection.similar_images, inspection.timings_ms,
    encode(inspection.sha256, 'hex') as sha256, category_id, inspection.version,
    inspection.part, inspection.station, inspection.width, inspection.height,
    inspection.calibration_images, inspection.independent_references, inspection.actor,
    inspection.likeness, inspection.similar_defects, inspection.probable_defect,
    inspection.remarks,
    (
        select bank.extractor_fingerprint from bank
        where bank.category_id = inspection.category_id and bank.version = inspection.version
    ) as extractor_fingerprint
from inspection join category using (category_id);

create view reviews as
select
    category, inspection_id, reviewed_at, answer, label as defect_label, actor, added, version,
    category_id
from (
    select distinct on (review.category_id, review.inspection_id)
        category.name as category, review.*
    from review join category using (category_id)
    order by review.category_id, review.inspection_id, review.review_id desc
) as latest
where answer <> 'undone';

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
