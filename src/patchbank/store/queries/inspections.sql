Inspections: what was judged, by which bank.

-- record --
insert into inspection (
    category_id, version, image_name, sha256, verdict, score, threshold, p_value, regions,
    similar_images, timings_ms
)
select
    category.category_id, row.version, row.image_name, row.sha256, row.verdict, row.score,
    row.threshold, row.p_value, row.regions, row.similar_images, row.timings_ms
from unnest(
    %(categories)s::text[], %(versions)s::integer[], %(image_names)s::text[],
    %(sha256s)s::bytea[], %(verdicts)s::text[], %(scores)s::double precision[],
    %(thresholds)s::double precision[], %(p_values)s::double precision[],
    %(regions)s::jsonb[], %(similar)s::jsonb[], %(timings)s::jsonb[]
) with ordinality as row (
    category, version, image_name, sha256, verdict, score, threshold, p_value, regions,
    similar_images, timings_ms, position
)
join category on category.name = row.category
order by row.position

-- recent --
select
    inspection_id, version, image_name, encode(sha256, 'hex'), verdict, score, threshold, p_value,
    regions, similar_images, timings_ms, inspected_at
from inspection
where category_id = %(category_id)s
order by inspected_at desc, inspection_id desc
limit %(limit)s
