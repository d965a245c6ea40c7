Images: what the bank has seen.

-- upsert --
-- An image of the same name is the same image, seen again.
insert into image (category_id, name, sha256, width, height, label, origin, thumbnail)
select %(category_id)s, row.*
from unnest(
    %(names)s::text[], %(sha256s)s::bytea[], %(widths)s::integer[], %(heights)s::integer[],
    %(labels)s::text[], %(origins)s::text[], %(thumbnails)s::bytea[]
) as row (name, sha256, width, height, label, origin, thumbnail)
on conflict (category_id, name) do update set
    sha256 = excluded.sha256, width = excluded.width, height = excluded.height,
    label = excluded.label, origin = excluded.origin, thumbnail = excluded.thumbnail
returning name, image_id

-- get --
select image_id, name, encode(sha256, 'hex'), width, height, label, defect_label, origin, added_at
from image
where category_id = %(category_id)s and name = %(name)s

-- thumbnail --
select thumbnail from image where category_id = %(category_id)s and image_id = %(image_id)s

-- never_had_references --
-- A row where it is no wonder that nothing was found.
select 1 from bank
where category_id = %(category_id)s and version = %(version)s and image_count = 0

-- similar --
-- An image whose embedding is all zeros has no direction: it is similar to nothing (pgvector says
-- NaN, which would sort before everything when descending).
-- The query is converted once (materialized), not once a row; names are looked up for the nearest
-- alone, among them all that tie with the last.
with query as materialized (select %(embedding)s::real[]::vector as embedding),
measured as (
    select
        reference.image_id,
        coalesce(nullif(reference.embedding <=> query.embedding, 'NaN'), 1) as distance
    from reference, query
    where category_id = %(category_id)s and version = %(version)s
),
nearest as materialized (
    select image_id, distance from measured
    order by distance
    fetch first %(top)s rows with ties
)
select name, 1 - distance, origin, image_id
from nearest join image using (image_id)
where image.category_id = %(category_id)s
order by distance, name
limit %(top)s
