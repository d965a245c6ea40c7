Images of a category.

-- part present --
position not in (
    select position from patchbank.absent_reference
    where category_id = %(category_id)s and version = %(version)s
)

-- upsert --
-- An image with a known name replaces the earlier one.
insert into image (
    category_id, name, sha256, width, height, label, origin, thumbnail, pixels_sha256,
    brightness, sharpness, texture
)
select %(category_id)s, row.*
from unnest(
    %(names)s::text[], %(sha256s)s::bytea[], %(widths)s::integer[], %(heights)s::integer[],
    %(labels)s::text[], %(origins)s::text[], %(thumbnails)s::bytea[], %(pixels_sha256s)s::bytea[],
    %(brightnesses)s::real[], %(sharpnesses)s::real[], %(textures)s::bytea[]
) as row (
    name, sha256, width, height, label, origin, thumbnail, pixels_sha256, brightness, sharpness,
    texture
)
on conflict (category_id, name) do update set
    sha256 = excluded.sha256, width = excluded.width, height = excluded.height,
    label = excluded.label, origin = excluded.origin, thumbnail = excluded.thumbnail,
    pixels_sha256 = excluded.pixels_sha256, brightness = excluded.brightness,
    sharpness = excluded.sharpness, texture = excluded.texture
returning name, image_id

-- get --
select image_id, name, encode(sha256, 'hex'), width, height, label, defect_label, origin, added_at
from image
where category_id = %(category_id)s and name = %(name)s

-- thumbnail --
select thumbnail from image
where category_id = %(category_id)s
    and (image_id = %(image_id)s::bigint or name = %(name)s::text)

-- references --
-- With their scores by the bank without them, and the share of the calibration that scores as high:
-- the newest first, or those first that score highest.
with scored as (
    select
        position, score + coalesce(added, 0) as score, held_out,
        case when counts then
            cume_dist() over (partition by counts order by score + coalesce(added, 0) desc)
        end as p_value
    from calibration_score
    where category_id = %(category_id)s and generation = %(generation)s
        and since_version <= %(version)s
        and (until_version is null or %(version)s < until_version)
),
listed as (
    select
        image_id, name, encode(sha256, 'hex') as sha256, width, height, added_at, scored.score,
        scored.held_out, p_value,
        case when %(unusual)s then coalesce(scored.score, '-infinity') else 0 end as rank
    from reference
    join image using (category_id, image_id)
    left join scored using (position)
    where category_id = %(category_id)s and generation = %(generation)s and <present>
)
select image_id, name, sha256, width, height, added_at, score, held_out, p_value
from listed
where %(before)s::bigint is null
    or (rank, image_id) < (
        case when %(unusual)s then (select rank from listed where image_id = %(before)s) else 0 end,
        %(before)s
    )
order by rank desc, image_id desc
limit %(limit)s

-- reference_names --
select image_id, encode(pixels_sha256, 'hex'), name
from reference
join image using (category_id, image_id)
where category_id = %(category_id)s and generation = %(generation)s and <present>
    and (
        image_id = any(%(numbers)s::bigint[])
        or encode(pixels_sha256, 'hex') = any(%(pixels_sha256s)s::text[])
    )
order by image_id

-- never_had_references --
-- Returns a row if the bank has no references, so that an empty result is correct.
select 1 from bank
where category_id = %(category_id)s and version = %(version)s and image_count = 0

-- names_like --
-- By the end of the name, to find the same file under another path.
select name from patchbank.reference join patchbank.image using (category_id, image_id)
where category_id = %(category_id)s and generation = %(generation)s and <present>
    and right(name, length(%(ending)s)) = %(ending)s
order by name
limit 3

-- embedding --
select embedding::real[]
from patchbank.reference join patchbank.image using (category_id, image_id)
where category_id = %(category_id)s and generation = %(generation)s and <present>
    and name = %(name)s

-- sample --
select name, embedding::real[]
from patchbank.reference join patchbank.image using (category_id, image_id)
where category_id = %(category_id)s and generation = %(generation)s and <present>
    and position = any(%(positions)s::integer[])
order by position

-- names_of_content --
select name from patchbank.reference join patchbank.image using (category_id, image_id)
where category_id = %(category_id)s and generation = %(generation)s and <present>
    and (sha256 = decode(%(sha256)s, 'hex') or pixels_sha256 = decode(%(pixels_sha256)s, 'hex'))

-- names_of_other_content --
select image.name
from patchbank.image join unnest(%(names)s::text[], %(pixels_sha256s)s::text[]) as asked (name, digest)
    on asked.name = image.name
where category_id = %(category_id)s and pixels_sha256 is distinct from decode(digest, 'hex')

-- similar --
-- A zero embedding has no direction and is similar to nothing (pgvector returns NaN, which would
-- sort first when descending). A null offset adds nothing. The query is converted once
-- (materialized), not per row; names are joined for the nearest only, including ties with the last.
with query as materialized (
    select %(embedding)s::real[]::vector as embedding, %(offset)s::real[]::vector as shift
),
measured as (
    select
        position,
        coalesce(nullif(
            coalesce(reference.embedding + shift, reference.embedding) {operator} query.embedding,
            'NaN'
        ), 1) as distance
    from reference, query
    where category_id = %(category_id)s and generation = %(generation)s and <present>
),
nearest as materialized (
    select position, distance from measured
    order by distance
    fetch first %(top)s rows with ties
)
select
    name,
    1 - coalesce(nullif(
        coalesce(reference.embedding + shift, reference.embedding) <=> query.embedding, 'NaN'
    ), 1),
    coalesce(reference.embedding + shift, reference.embedding) <-> query.embedding, origin, image_id
from nearest join reference using (position) join image using (category_id, image_id), query
where reference.category_id = %(category_id)s and reference.generation = %(generation)s
order by nearest.distance, name
limit %(top)s

-- similar_by_index --
-- The index finds candidates; they are ranked by the full vectors.
with query as materialized (select %(embedding)s::real[]::vector as embedding),
nearest as materialized (
    select position
    from reference
    where category_id = {category_id} and generation = {generation} and <present>
    order by embedding::{type}({dimensions}) {operator} %(embedding)s::real[]::{type}({dimensions})
    limit %(candidates)s
)
select
    name, 1 - coalesce(nullif(reference.embedding <=> query.embedding, 'NaN'), 1),
    reference.embedding <-> query.embedding, origin, image_id
from nearest join reference using (position) join image using (category_id, image_id), query
where reference.category_id = {category_id} and reference.generation = {generation}
order by coalesce(nullif(reference.embedding {operator} query.embedding, 'NaN'), 1), name
limit %(top)s
