Banks: their versions, references and patches.

-- part present --
position not in (
    select position from patchbank.absent_reference
    where category_id = %(category_id)s and version = %(version)s
)

-- last_version --
select coalesce(max(version), 0) from bank where category_id = %(category_id)s

-- retire --
update bank set state = 'retired', retired_at = now()
where category_id = %(category_id)s and state = 'active'

-- prune_banks --
-- The active version is always kept.
update bank set state = 'pruned'
where category_id = %(category_id)s and state = 'retired'
    and version <= %(version)s - greatest(1, %(keep_versions)s)
    and retired_at <= now() - %(keep_days)s * interval '1 day'

-- prune_patches --
-- Patches of generations without kept versions, and patches removed before the oldest kept version.
with kept as (
    select generation, min(version) as oldest from bank
    where category_id = %(category_id)s and state <> 'pruned'
    group by generation
)
delete from patch
where category_id = %(category_id)s and (
    generation not in (select generation from kept)
    or (generation, ordinal) in (
        select generation, ordinal from patch_change join kept using (generation)
        where category_id = %(category_id)s
        group by generation, ordinal
        having bool_and(until_version is not null and until_version <= oldest)
    )
)

-- prune_references --
with kept as (
    select generation, min(version) as oldest from bank
    where category_id = %(category_id)s and state <> 'pruned'
    group by generation
)
delete from reference
where category_id = %(category_id)s and (
    generation not in (select generation from kept)
    or (generation, position) in (
        select generation, position from reference_change join kept using (generation)
        where category_id = %(category_id)s
        group by generation, position
        having bool_and(until_version is not null and until_version <= oldest)
    )
)

-- prune_features --
delete from reference_features
where category_id = %(category_id)s and not exists (
    select from reference
    where reference.category_id = reference_features.category_id
        and reference.generation = reference_features.generation
        and reference.position = reference_features.position
)

-- prune_neighbours --
delete from reference_neighbours
where category_id = %(category_id)s and generation not in (
    select generation from bank where category_id = %(category_id)s and state <> 'pruned'
)

-- prune_scores --
with kept as (
    select generation, min(version) as oldest from bank
    where category_id = %(category_id)s and state <> 'pruned'
    group by generation
)
delete from calibration_score
where category_id = %(category_id)s and (
    generation not in (select generation from kept)
    or until_version <= (
        select oldest from kept where kept.generation = calibration_score.generation
    )
)

-- prune_changes_of_patches --
delete from patch_change
where category_id = %(category_id)s and not exists (
    select from patch
    where patch.category_id = patch_change.category_id
        and patch.generation = patch_change.generation and patch.ordinal = patch_change.ordinal
)

-- prune_changes_of_references --
delete from reference_change
where category_id = %(category_id)s and not exists (
    select from reference
    where reference.category_id = reference_change.category_id
        and reference.generation = reference_change.generation
        and reference.position = reference_change.position
)

-- prune_graphs --
delete from quantised_graph
where category_id = %(category_id)s and generation not in (
    select generation from bank where category_id = %(category_id)s and state <> 'pruned'
)

-- prune_likeness --
delete from likeness
where category_id = %(category_id)s and sha256 not in (
    select likeness_sha256 from bank
    where category_id = %(category_id)s and state <> 'pruned' and likeness_sha256 is not null
)

-- prune_images --
-- Only images stored as references, not those labelled otherwise. Patches refer to images too, but
-- only to references of their bank.
delete from image
where category_id = %(category_id)s and label = 'good' and not exists (
    select from reference
    where reference.category_id = image.category_id and reference.image_id = image.image_id
)

-- insert --
insert into bank (
    category_id, version, generation, state, extractor_fingerprint, extractor, settings,
    coreset_ratio, covering_radius, patch_count, dimensions, image_count, embedding_mean,
    likeness_sha256
) values (
    %(category_id)s, %(version)s, %(generation)s, 'active', %(extractor_fingerprint)s,
    %(extractor)s, %(settings)s, %(coreset_ratio)s, %(covering_radius)s, %(patch_count)s,
    %(dimensions)s, %(image_count)s, %(embedding_mean)s::real[]::vector,
    %(likeness_sha256)s
)

-- insert_likeness --
insert into likeness (category_id, sha256, content)
values (%(category_id)s, %(likeness_sha256)s, %(content)s)
on conflict do nothing

-- insert_graph --
insert into quantised_graph (category_id, generation, content)
values (%(category_id)s, %(generation)s, %(content)s)

-- copy_references_in --
copy reference (category_id, generation, position, image_id, embedding)
from stdin (format binary)

-- copy_patches_in --
copy patch (category_id, generation, ordinal, image_id, patch_row, patch_column, feature)
from stdin (format binary)

-- copy_unknown_patches_in --
copy patch (category_id, generation, ordinal, feature) from stdin (format binary)

-- reference_rows --
-- Positions and image ids of a version's references.
select
    coalesce(array_agg(position order by position), '{}'),
    coalesce(array_agg(image_id order by position), '{}')
from reference
where category_id = %(category_id)s and generation = %(generation)s and <present>

-- last_numbers --
-- Of the whole generation, including removed rows.
select
    (select coalesce(max(ordinal), -1) from patch
        where category_id = %(category_id)s and generation = %(generation)s),
    (select coalesce(max(position), -1) from reference
        where category_id = %(category_id)s and generation = %(generation)s)

-- counts --
select patch_count, image_count from bank
where category_id = %(category_id)s and version = %(version)s

-- close_patches --
-- A row from the fit gets its first change row; an open change row is closed.
with closed as (
    update patch_change set until_version = %(version)s
    where category_id = %(category_id)s and generation = %(generation)s
        and ordinal = any(%(numbers)s::integer[]) and until_version is null
    returning ordinal
)
insert into patch_change
select %(category_id)s, %(generation)s, ordinal, %(generation)s, %(version)s
from unnest(%(numbers)s::integer[]) as gone (ordinal)
where ordinal not in (select ordinal from closed)

-- close_references --
with closed as (
    update reference_change set until_version = %(version)s
    where category_id = %(category_id)s and generation = %(generation)s
        and position = any(%(numbers)s::integer[]) and until_version is null
    returning position
)
insert into reference_change
select %(category_id)s, %(generation)s, position, %(generation)s, %(version)s
from unnest(%(numbers)s::integer[]) as gone (position)
where position not in (select position from closed)

-- open_patches --
insert into patch_change
select %(category_id)s, %(generation)s, ordinal, %(version)s, null
from unnest(%(numbers)s::integer[]) as come (ordinal)

-- open_references --
insert into reference_change
select %(category_id)s, %(generation)s, position, %(version)s, null
from unnest(%(numbers)s::integer[]) as come (position)

-- close_later_patches --
-- Rows that are current, came after an earlier version, and were not in that.
update patch_change as later set until_version = %(version)s
where category_id = %(category_id)s and generation = %(generation)s
    and since_version > %(like)s and until_version is null
    and not exists (
        select from patch_change as earlier
        where earlier.category_id = later.category_id
            and earlier.generation = later.generation and earlier.ordinal = later.ordinal
            and earlier.since_version <= %(like)s and %(like)s < earlier.until_version
    )

-- close_later_references --
update reference_change as later set until_version = %(version)s
where category_id = %(category_id)s and generation = %(generation)s
    and since_version > %(like)s and until_version is null
    and not exists (
        select from reference_change as earlier
        where earlier.category_id = later.category_id
            and earlier.generation = later.generation and earlier.position = later.position
            and earlier.since_version <= %(like)s and %(like)s < earlier.until_version
    )

-- close_later_scores --
update calibration_score set until_version = %(version)s
where category_id = %(category_id)s and generation = %(generation)s
    and since_version > %(like)s and until_version is null

-- reopen_patches --
-- Rows of an earlier version that are not current.
insert into patch_change
select category_id, generation, ordinal, %(version)s, null from patch_change as earlier
where category_id = %(category_id)s and generation = %(generation)s
    and since_version <= %(like)s and %(like)s < until_version
    and not exists (
        select from patch_change as later
        where later.category_id = earlier.category_id
            and later.generation = earlier.generation and later.ordinal = earlier.ordinal
            and later.until_version is null
    )

-- reopen_references --
insert into reference_change
select category_id, generation, position, %(version)s, null from reference_change as earlier
where category_id = %(category_id)s and generation = %(generation)s
    and since_version <= %(like)s and %(like)s < until_version
    and not exists (
        select from reference_change as later
        where later.category_id = earlier.category_id
            and later.generation = earlier.generation and later.position = earlier.position
            and later.until_version is null
    )

-- reopen_scores --
insert into calibration_score (
    category_id, generation, position, since_version, held_out, counts, score, map_maximum,
    group_number, added
)
select
    category_id, generation, position, %(version)s, held_out, counts, score, map_maximum,
    group_number, added
from calibration_score
where category_id = %(category_id)s and generation = %(generation)s
    and since_version <= %(like)s and %(like)s < until_version

-- insert_like --
insert into bank (
    category_id, version, generation, state, extractor_fingerprint, extractor, settings,
    coreset_ratio, covering_radius, patch_count, dimensions, image_count, embedding_mean,
    likeness_sha256
)
select
    category_id, %(version)s, generation, 'active', extractor_fingerprint, extractor, settings,
    coreset_ratio, covering_radius, patch_count, dimensions, image_count, embedding_mean,
    likeness_sha256
from bank
where category_id = %(category_id)s and version = %(like)s

-- reopened --
-- Whether rows came back since a version that had been there before.
select exists (
    select from patch_change as later join patch_change as earlier
        using (category_id, generation, ordinal)
    where category_id = %(category_id)s and generation = %(generation)s
        and later.since_version > %(since)s and earlier.since_version < later.since_version
) or exists (
    select from reference_change as later join reference_change as earlier
        using (category_id, generation, position)
    where category_id = %(category_id)s and generation = %(generation)s
        and later.since_version > %(since)s and earlier.since_version < later.since_version
)

-- scores --
select position, score, map_maximum, held_out, counts, group_number, added
from calibration_score
where category_id = %(category_id)s and generation = %(generation)s
    and since_version <= %(version)s and (until_version is null or %(version)s < until_version)
order by position

-- close_scores --
update calibration_score set until_version = %(version)s
where category_id = %(category_id)s and generation = %(generation)s
    and position = any(%(positions)s::integer[]) and until_version is null

-- insert_scores --
insert into calibration_score (
    category_id, generation, position, since_version, score, map_maximum, held_out, counts,
    group_number, added
)
select
    %(category_id)s, %(generation)s, row.position, %(version)s, score, map_maximum, held_out, counts,
    group_number, added
from unnest(
    %(positions)s::integer[], %(scores)s::double precision[], %(map_maxima)s::double precision[],
    %(held_out)s::boolean[], %(counts)s::boolean[], %(groups)s::integer[],
    %(added)s::double precision[]
) as row (position, score, map_maximum, held_out, counts, group_number, added)

-- active_version --
select category.category_id, bank.generation, bank.version, category.book_changes
from patchbank.category
left join patchbank.bank on bank.category_id = category.category_id and bank.state = 'active'
where category.name = %(category)s

-- active_of --
select generation, version from bank where category_id = %(category_id)s and state = 'active'

-- version --
select generation, state from bank where category_id = %(category_id)s and version = %(version)s

-- read --
select
    state, extractor_fingerprint, extractor, settings, coreset_ratio, covering_radius, patch_count,
    dimensions, image_count, embedding_mean::real[], created_at, quantised_graph.content,
    likeness_sha256, likeness.content
from bank
left join quantised_graph using (category_id, generation)
left join likeness
    on likeness.category_id = bank.category_id and likeness.sha256 = bank.likeness_sha256
where bank.category_id = %(category_id)s and version = %(version)s

-- history --
select
    bank.version, bank.state, extractor_fingerprint, coreset_ratio, patch_count, dimensions,
    image_count, created_at, retired_at, event.kind, (event.detail ->> 'activated')::integer,
    event.actor, coalesce(event.detail -> 'came', '[]'), coalesce(event.detail -> 'went', '[]'),
    coalesce(event.detail -> 'screened', '[]'), event.detail -> 'thresholds',
    case when event.kind = 'likeness' then event.detail end
from bank
left join lateral (
    select kind, actor, detail from event
    where event.category_id = bank.category_id
        and detail @> jsonb_build_object('version', bank.version)
    order by event_id
    limit 1
) as event on true
where category_id = %(category_id)s
order by bank.version desc

-- exchanged --
-- Names of the references that came and went with a version, compared with the one before; none
-- where that is of another fit, which shares no row with it.
select
    coalesce(array_agg(name order by position) filter (where since_version = %(version)s), '{}'),
    coalesce(array_agg(name order by position) filter (where until_version = %(version)s), '{}')
from reference_change
join reference using (category_id, generation, position)
join image using (category_id, image_id)
where category_id = %(category_id)s and generation = %(generation)s
    and %(version)s in (since_version, until_version)
    and exists (
        select from bank
        where category_id = %(category_id)s and generation = %(generation)s
            and version = %(version)s - 1
    )

-- same_rows --
-- The latest version that consists of the active one's rows but for some.
with wanted as (
    select bank.version from bank
    where category_id = %(category_id)s and generation = %(generation)s and state <> 'pruned'
        and version < %(version)s
        and patch_count = %(patch_count)s and image_count = %(image_count)s
        -- A row of the fit that goes for the first time is in all of them.
        and not exists (
            select from unnest(%(patches)s::integer[]) as gone (number) where number not in (
                select ordinal from patch_change
                where category_id = %(category_id)s and generation = %(generation)s
            )
        )
        and not exists (
            select from unnest(%(references)s::integer[]) as gone (number) where number not in (
                select position from reference_change
                where category_id = %(category_id)s and generation = %(generation)s
            )
        )
),
-- Which rows that ever changed each of them has, and the active one without those that go.
rows_of as (
    select wanted.version, 'patch' as kind, ordinal as number
    from wanted join patch_change on category_id = %(category_id)s
        and generation = %(generation)s and since_version <= wanted.version
        and (until_version is null or wanted.version < until_version)
    union all
    select wanted.version, 'reference', position
    from wanted join reference_change on category_id = %(category_id)s
        and generation = %(generation)s and since_version <= wanted.version
        and (until_version is null or wanted.version < until_version)
),
remaining as (
    select 'patch' as kind, ordinal as number from patch_change
    where category_id = %(category_id)s and generation = %(generation)s
        and since_version <= %(version)s
        and (until_version is null or %(version)s < until_version)
        and ordinal <> all(%(patches)s::integer[])
    union all
    select 'reference', position from reference_change
    where category_id = %(category_id)s and generation = %(generation)s
        and since_version <= %(version)s
        and (until_version is null or %(version)s < until_version)
        and position <> all(%(references)s::integer[])
)
select max(version) from wanted
where not exists (
    select from remaining
    where (wanted.version, kind, number) not in (select version, kind, number from rows_of)
) and not exists (
    select from rows_of
    where rows_of.version = wanted.version
        and (kind, number) not in (select kind, number from remaining)
)

-- reference_images --
select
    position, image_id, name, encode(sha256, 'hex'), width, height,
    case when %(thumbnails)s then thumbnail else '' end, label, origin,
    encode(pixels_sha256, 'hex'), brightness, sharpness,
    case when %(thumbnails)s then coalesce(texture, '') else '' end
from reference join image using (category_id, image_id)
where category_id = %(category_id)s and generation = %(generation)s
    and <present>
    and (%(since)s::integer is null or position in (
        select position from reference_change
        where category_id = %(category_id)s and generation = %(generation)s
            and since_version > %(since)s
    ))
order by position

-- textures --
select position, texture
from reference join image using (category_id, image_id)
where category_id = %(category_id)s and generation = %(generation)s
    and <present>
    and texture is not null

-- copy_references_out --
-- Not sorted: sorting here would cost more than reading; the reader sorts.
copy (
    select position, embedding
    from reference
    where category_id = %(category_id)s and generation = %(generation)s
        and <present>
        and (%(since)s::integer is null or position in (
            select position from reference_change
            where category_id = %(category_id)s and generation = %(generation)s
                and since_version > %(since)s
        ))
) to stdout (format binary)

-- copy_patches_out --
copy (
    -- All rows share one layout, which cannot hold nulls.
    select
        ordinal, coalesce(image_id, 0), coalesce(patch_row, (-1)::smallint),
        coalesce(patch_column, (-1)::smallint), feature
    from patch
    where category_id = %(category_id)s and generation = %(generation)s
        and ordinal not in (
            select ordinal from absent_patch
            where category_id = %(category_id)s and version = %(version)s
        )
) to stdout (format binary)

-- copy_new_patches_out --
copy (
    select
        ordinal, coalesce(image_id, 0), coalesce(patch_row, (-1)::smallint),
        coalesce(patch_column, (-1)::smallint), feature
    from patch join patch_change using (category_id, generation, ordinal)
    where category_id = %(category_id)s and generation = %(generation)s
        and since_version > %(since)s
        and since_version <= %(version)s and (until_version is null or %(version)s < until_version)
) to stdout (format binary)

-- gone --
-- Rows that were in an earlier version and are not in this one.
select
    (
        select coalesce(array_agg(ordinal), '{}') from (
            select ordinal from patch_change
            where category_id = %(category_id)s and generation = %(generation)s
            group by ordinal
            having bool_or(
                since_version <= %(since)s and (until_version is null or %(since)s < until_version)
            ) and not bool_or(
                since_version <= %(version)s
                and (until_version is null or %(version)s < until_version)
            )
        ) as gone
    ),
    (
        select coalesce(array_agg(position), '{}') from (
            select position from reference_change
            where category_id = %(category_id)s and generation = %(generation)s
            group by position
            having bool_or(
                since_version <= %(since)s and (until_version is null or %(since)s < until_version)
            ) and not bool_or(
                since_version <= %(version)s
                and (until_version is null or %(version)s < until_version)
            )
        ) as gone
    )
