Patches of a bank, and search for similar ones.

-- part present --
ordinal not in (
    select ordinal from patchbank.absent_patch
    where category_id = %(category_id)s and version = %(version)s
)

-- part queries --
query as materialized (
    select
        position,
        (%(features)s::real[])[position * %(dimensions)s + 1 : (position + 1) * %(dimensions)s]::vector
            as feature
    from generate_series(0, %(queries)s - 1) as position
)

-- find --
select ordinal, feature::real[]
from patchbank.patch join patchbank.image using (category_id, image_id)
where category_id = %(category_id)s and generation = %(generation)s and <present>
    and image.name = %(image)s
    and patch_row = %(row)s and patch_column = %(column)s

-- at --
select feature::real[]
from patchbank.patch
where category_id = %(category_id)s and generation = %(generation)s and <present>
    and ordinal = %(ordinal)s

-- positions --
select patch_row, patch_column
from patchbank.patch join patchbank.image using (category_id, image_id)
where category_id = %(category_id)s and generation = %(generation)s and <present>
    and image.name = %(image)s
order by patch_row, patch_column

-- all_known --
select not exists (
    select from patchbank.patch
    where category_id = %(category_id)s and generation = %(generation)s and image_id is null
        and <present>
)

-- sample --
select patchbank.patch_name(image.name, patch_row, patch_column, ordinal), feature::real[]
from patchbank.patch left join patchbank.image using (category_id, image_id)
where category_id = %(category_id)s and generation = %(generation)s and <present>
    and ordinal = any(%(ordinals)s::integer[])
order by ordinal

-- similar --
-- A zero feature has no direction and is similar to nothing. The query is converted once.
with query as materialized (select %(feature)s::real[]::vector as feature),
nearest as materialized (
    select ordinal, coalesce(nullif(patch.feature {operator} query.feature, 'NaN'), 1) as distance
    from patch, query
    where category_id = %(category_id)s and generation = %(generation)s and <present>
    order by distance, ordinal
    limit %(top)s
)
select
    patch_name(image.name, patch_row, patch_column, ordinal),
    1 - coalesce(nullif(patch.feature <=> query.feature, 'NaN'), 1),
    patch.feature <-> query.feature, image.origin, image.name, patch_row, patch_column
from nearest join patch using (ordinal) left join image using (category_id, image_id) cross join query
where patch.category_id = %(category_id)s and patch.generation = %(generation)s
order by nearest.distance, ordinal

-- similar_by_index --
-- The index finds candidates; they are ranked by the full vectors.
with query as materialized (select %(feature)s::real[]::vector as feature),
nearest as materialized (
    select ordinal
    from patch
    where category_id = {category_id} and generation = {generation} and <present>
    order by feature::{type}({dimensions}) {operator} %(feature)s::real[]::{type}({dimensions})
    limit %(candidates)s
)
select
    patch_name(image.name, patch_row, patch_column, ordinal),
    1 - coalesce(nullif(patch.feature <=> query.feature, 'NaN'), 1),
    patch.feature <-> query.feature, image.origin, image.name, patch_row, patch_column
from nearest join patch using (ordinal) left join image using (category_id, image_id) cross join query
where patch.category_id = {category_id} and patch.generation = {generation}
order by coalesce(nullif(patch.feature {operator} query.feature, 'NaN'), 1), ordinal
limit %(top)s

-- keep_queries_in_memory --
-- All features of an image: 784 of 1,536 dimensions are 5 MB.
select set_config('work_mem', '64MB', true)

-- nearest --
-- The bank is read once for all queries, which takes half the time of a scan per query. Among equal
-- distances, the array with the smaller ordinal is the minimum.
with <queries>
select position, found[2]::integer, found[1]
from (
    select position, min(array[patch.feature <-> query.feature, ordinal]) as found
    from patch cross join query
    where category_id = %(category_id)s and generation = %(generation)s and <present>
    group by position
) as found_rows
order by position

-- nearest_some --
with <queries>
select position, ordinal, distance
from query cross join lateral (
    select ordinal, patch.feature <-> query.feature as distance
    from patch
    where category_id = %(category_id)s and generation = %(generation)s and <present>
    order by distance, ordinal
    limit %(count)s
)
order by position, distance, ordinal

-- nearest_by_index --
-- One index search per query; the candidates are ranked by the full vectors.
with <queries>
select position, ordinal, distance
from query cross join lateral (
    select ordinal, candidate.feature <-> query.feature as distance
    from (
        select ordinal, feature
        from patch
        where category_id = {category_id} and generation = {generation} and <present>
        order by feature::{type}({dimensions})
            {operator} query.feature::{type}({dimensions})
        limit %(candidates)s
    ) as candidate
    order by distance, ordinal
    limit %(count)s
) as found
order by position, distance, ordinal

-- features --
select feature::real[]
from patchbank.patch
where category_id = %(category_id)s and generation = %(generation)s and <present>
    and ordinal = any(%(ordinals)s::integer[])
order by array_position(%(ordinals)s::integer[], ordinal)
