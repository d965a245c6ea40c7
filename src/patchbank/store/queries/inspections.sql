Recorded inspections.

-- record --
-- The foreign key locks the bank until these inspections are committed; nothing is recorded for a
-- bank that is being removed. All or none: the statement is its own transaction.
with known as materialized (
    select bank.category_id, bank.version, row.image_name, row.sha256, row.verdict, row.score,
        row.pass_below, row.fail_above, row.p_value, row.regions, row.similar_images,
        row.timings_ms, row.part, row.station, row.brightness, row.sharpness, row.grid_rows,
        row.grid_columns, row.outside, row.width, row.height, row.calibration_images,
        row.independent_references, row.actor, row.likeness, row.similar_defects,
        row.probable_defect, row.remarks, row.position
    from unnest(
        %(category_ids)s::bigint[], %(versions)s::integer[], %(image_names)s::text[],
        %(sha256s)s::bytea[], %(verdicts)s::text[], %(scores)s::double precision[],
        %(pass_below)s::double precision[], %(fail_above)s::double precision[],
        %(p_values)s::double precision[], %(regions)s::jsonb[], %(similar)s::jsonb[],
        %(timings)s::jsonb[], %(parts)s::text[], %(stations)s::text[], %(brightnesses)s::real[],
        %(sharpnesses)s::real[], %(grid_rows)s::smallint[], %(grid_columns)s::smallint[],
        %(outsides)s::bytea[], %(widths)s::integer[], %(heights)s::integer[],
        %(calibration_images)s::integer[], %(independent_references)s::integer[],
        %(actors)s::text[], %(likenesses)s::jsonb[], %(similar_defects)s::jsonb[],
        %(probable_defects)s::jsonb[], %(remarks)s::jsonb[]
    ) with ordinality as row (
        category_id, version, image_name, sha256, verdict, score, pass_below, fail_above, p_value,
        regions, similar_images, timings_ms, part, station, brightness, sharpness, grid_rows,
        grid_columns, outside, width, height, calibration_images, independent_references, actor,
        likeness, similar_defects, probable_defect, remarks, position
    )
    join patchbank.bank using (category_id, version)
),
recorded as (
    insert into patchbank.inspection (
        category_id, version, image_name, sha256, verdict, score, pass_below, fail_above, p_value,
        regions, similar_images, timings_ms, part, station, brightness, sharpness, grid_rows,
        grid_columns, outside, width, height, calibration_images, independent_references, actor,
        likeness, similar_defects, probable_defect, remarks
    )
    select
        category_id, version, image_name, sha256, verdict, score, pass_below, fail_above, p_value,
        regions, similar_images, timings_ms, part, station, brightness, sharpness, grid_rows,
        grid_columns, outside, width, height, calibration_images, independent_references, actor,
        likeness, similar_defects, probable_defect, remarks
    from known
    where (select count(*) from known) = cardinality(%(category_ids)s::bigint[])
    order by position
    returning category_id, inspection_id, inspected_at, verdict
),
-- What is to be sent to sinks, in the same transaction.
queued as (
    insert into patchbank.outbox (category_id, inspection_id, sink_id, inspected_at)
    select category_id, inspection_id, sink_id, inspected_at
    from recorded
    join patchbank.category using (category_id)
    join patchbank.sink on verdict = any(sink.verdicts)
        and (sink.categories is null or category.name = any(sink.categories))
    where %(deliver)s
)
select inspection_id, inspected_at from recorded

-- part columns --
category_id, version, image_name, encode(sha256, 'hex'), verdict, score,
    coalesce(pass_below, fail_above), fail_above, p_value, regions, similar_images, timings_ms,
    inspection_id, inspected_at, part, station, brightness, sharpness, grid_rows, grid_columns,
    outside, width, height, calibration_images, independent_references, actor, likeness,
    coalesce(similar_defects, '[]'), probable_defect, coalesce(remarks, '[]'),
    <extractor>,
    <answer>,
    <image_kept>

-- part extractor --
-- Of the version that judged, which stays when its rows are pruned. Its fingerprint stands for all
-- that is left out here.
(
    select jsonb_build_object(
        'fingerprint', extractor_fingerprint,
        'backbone', extractor -> 'backbone',
        'layers', extractor -> 'layers',
        'image_size', extractor -> 'image_size',
        'center_crop', extractor -> 'center_crop',
        'scale', extractor -> 'scale',
        'precision', extractor -> 'precision'
    )
    from bank
    where bank.category_id = inspection.category_id and bank.version = inspection.version
)

-- part image_kept --
exists (
    select from inspection_image
    where inspection_image.category_id = inspection.category_id
        and inspection_image.inspection_id = inspection.inspection_id
        and inspection_image.inspected_at = inspection.inspected_at
)

-- part answer --
-- The last answer of a person.
(
    select case when answer <> 'undone' then jsonb_build_object(
        'answer', answer, 'label', label, 'actor', actor, 'reviewed_at', reviewed_at
    ) end
    from review
    where review.category_id = inspection.category_id
        and review.inspection_id = inspection.inspection_id
    order by review_id desc
    limit 1
)

-- part answer_words --
(
    select nullif(concat_ws(' ', answer, label), 'undone')
    from review
    where review.category_id = inspection.category_id
        and review.inspection_id = inspection.inspection_id
    order by review_id desc
    limit 1
)

-- part bounds --
category_id = %(category_id)s
    and (%(part)s::text is null or part = %(part)s)
    and (%(station)s::text is null or station = %(station)s)
    and (%(inspection_id)s::bigint is null or inspection_id = %(inspection_id)s)
    and (%(reviewed)s::boolean is null or reviewed = %(reviewed)s)
    and (%(reviewed)s or %(reviewed)s is null or verdict <> 'pass')
    and inspected_at >= coalesce(%(since)s::timestamptz, '-infinity')
    and inspected_at < coalesce(%(until)s::timestamptz, 'infinity')
    and inspected_at <= coalesce(%(before)s::timestamptz, 'infinity')
    and (inspected_at, inspection_id) < (
        coalesce(%(before)s::timestamptz, 'infinity'), coalesce(%(before_id)s::bigint, 0)
    )

-- part selected --
<bounds> and verdict = any(%(verdicts)s)
    and (inspected_at, inspection_id) >= (
        coalesce(%(since)s::timestamptz, '-infinity'), %(first_id)s::bigint
    )

-- part newest --
-- Of each verdict by its own index, which is in this order.
unnest(%(verdicts)s::text[]) as wanted (verdict),
lateral (
    select * from inspection
    where <bounds> and verdict = wanted.verdict
    order by inspected_at desc, inspection_id desc
    limit %(limit)s
) as inspection

-- counts --
-- Of each verdict up to a limit, so that a million take no longer.
select wanted.verdict, found.count
from unnest(%(verdicts)s::text[]) as wanted (verdict),
lateral (
    select count(*) from (
        select from inspection where <bounds> and verdict = wanted.verdict limit %(most)s
    ) as inspection
) as found (count)
where found.count > 0

-- oldest --
-- The first of the last few.
select inspected_at, inspection_id from (
    select inspection.inspected_at, inspection.inspection_id from <newest>
) as inspection
order by inspected_at desc, inspection_id desc
offset %(limit)s::bigint - 1 limit 1

-- page --
select <columns> from (select inspection.* from <newest>) as inspection
order by inspected_at desc, inspection_id desc
limit %(limit)s

-- several --
select <columns> from inspection
join unnest(%(inspection_ids)s::bigint[], %(times)s::timestamptz[])
    as wanted (inspection_id, inspected_at) using (inspection_id, inspected_at)
where category_id = %(category_id)s

-- get --
select <columns> from inspection
where category_id = %(category_id)s and inspection_id = %(inspection_id)s

-- whole --
select <columns>
from inspection
where <selected>
order by inspected_at, inspection_id

-- brief --
select
    inspected_at, image_name, verdict, score, fail_above, p_value, version, inspection_id, part,
    station, <answer_words>
from inspection
where <selected>
order by inspected_at, inspection_id

-- csv --
-- As text, which the server writes faster than the client.
select
    inspection_id::text, inspected_at, image_name, verdict, score::text,
    coalesce(pass_below, fail_above)::text, fail_above::text, p_value::text, version::text,
    encode(sha256, 'hex'), jsonb_array_length(regions)::text, similar_images -> 0 ->> 'image',
    similar_images -> 0 ->> 'similarity', part, station, <answer_words>
from inspection
where <selected>
order by inspected_at, inspection_id

-- keep_image --
insert into patchbank.inspection_image (
    category_id, inspection_id, inspected_at, encoding, content
) values (
    %(category_id)s, %(inspection_id)s, %(inspected_at)s, %(encoding)s, %(content)s
)

-- image --
select encoding, content from patchbank.inspection_image
where category_id = %(category_id)s and inspection_id = %(inspection_id)s

-- make_months --
select patchbank.make_inspection_months()

-- conditions --
-- The last images judged by versions that share the rows of the active one.
select * from (
    select
        inspection_id, inspected_at, image_name, encode(sha256, 'hex') as sha256, verdict, score,
        coalesce(inspection.pass_below, fail_above) as pass_below, fail_above, version, brightness,
        sharpness, grid_rows, grid_columns, outside
    from inspection join bank using (category_id, version)
    where category_id = %(category_id)s and generation = %(generation)s
        and (%(station)s::text is null or station = %(station)s)
        and inspected_at >= coalesce(%(since)s::timestamptz, '-infinity')
    order by inspected_at desc, inspection_id desc
    limit %(limit)s
) as found
order by inspected_at, inspection_id

-- calibration_spreads --
-- Of each version that shares rows with the active one: the quartiles of its calibration scores.
select
    bank.version,
    percentile_cont(array[0.25, 0.5, 0.75]) within group (
        order by calibration_score.score + coalesce(calibration_score.added, 0)
    )
from bank join calibration_score using (category_id, generation)
where category_id = %(category_id)s and generation = %(generation)s
    and bank.version = any(%(versions)s::integer[]) and counts and since_version <= bank.version
    and (until_version is null or bank.version < until_version)
group by bank.version

-- stations --
-- Of the last inspections: those of last year need not be offered.
select distinct station
from (
    select station from inspection
    where category_id = %(category_id)s
    order by inspected_at desc, inspection_id desc
    limit 1000
) as last
where station is not null
order by station
