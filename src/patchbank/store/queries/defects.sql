Defects, recorded and synthetic.

-- upsert --
-- A defect with a known name replaces the earlier one.
insert into defect (
    category_id, name, label, synthetic, sha256, width, height, origin, thumbnail,
    extractor_fingerprint, embedding
) values (
    %(category_id)s, %(name)s, %(label)s, %(synthetic)s, %(sha256)s, %(width)s, %(height)s,
    %(origin)s, %(thumbnail)s, %(extractor_fingerprint)s, %(embedding)s::real[]::vector
)
on conflict (category_id, name) do update set
    label = excluded.label, synthetic = excluded.synthetic, sha256 = excluded.sha256,
    width = excluded.width, height = excluded.height, origin = excluded.origin,
    thumbnail = excluded.thumbnail, extractor_fingerprint = excluded.extractor_fingerprint,
    embedding = excluded.embedding, added_at = now()
returning defect_id

-- clear_regions --
delete from defect_region where category_id = %(category_id)s and defect_id = %(defect_id)s

-- add_region --
insert into defect_region (
    category_id, defect_id, number, x0, y0, x1, y1, area_pixels, peak_score, embedding
) values (
    %(category_id)s, %(defect_id)s, %(number)s, %(x0)s, %(y0)s, %(x1)s, %(y1)s, %(area_pixels)s,
    %(peak_score)s, %(embedding)s::real[]::vector
)

-- changed --
update category set book_changes = book_changes + 1 where category_id = %(category_id)s

-- changes --
select book_changes from category where category_id = %(category_id)s

-- book --
-- Of the bank's extractor, with the regions of each defect together, its strongest first.
select
    defect.name, defect.label, defect.synthetic, encode(defect.sha256, 'hex'),
    vector_send(defect_region.embedding), bank.dimensions, category.name
from bank
join category using (category_id)
join defect using (category_id, extractor_fingerprint)
join defect_region using (category_id, defect_id)
where category_id = %(category_id)s and bank.version = %(version)s
order by defect.name, defect_region.number

-- list --
select
    defect_id, name, label, synthetic, encode(sha256, 'hex'), width, height, origin, added_at,
    exists (
        select from bank
        where bank.category_id = defect.category_id and bank.state = 'active'
            and bank.extractor_fingerprint = defect.extractor_fingerprint
    ),
    array(
        select array[x0, y0, x1, y1]
        from defect_region
        where defect_region.category_id = defect.category_id
            and defect_region.defect_id = defect.defect_id
        order by number
    )
from defect
where category_id = %(category_id)s
order by name

-- kept_with --
-- Of a name that was recorded several times, the last.
select distinct on (review.added) review.added, review.inspection_id
from review
where review.category_id = %(category_id)s and review.answer = 'defect' and review.added is not null
    and exists (
        select from inspection_image
        where inspection_image.category_id = review.category_id
            and inspection_image.inspection_id = review.inspection_id
    )
order by review.added, review.review_id desc

-- thumbnail --
select thumbnail from defect where category_id = %(category_id)s and name = %(name)s

-- remove --
delete from defect
where category_id = %(category_id)s
    and (name = any(%(names)s::text[]) or (%(synthetic)s and synthetic))
returning name

-- embedding --
-- Centred on the bank's mean; null if it has another extractor.
select (
    case when defect.extractor_fingerprint = bank.extractor_fingerprint
    then defect.embedding - bank.embedding_mean end
)::real[]
from defect join bank using (category_id)
where category_id = %(category_id)s and version = %(version)s and defect.name = %(name)s

-- similar --
with query as materialized (
    select %(embedding)s::real[]::vector as embedding, %(offset)s::real[]::vector as shift
),
-- Embeddings of other extractors may have another length and must not meet the query.
comparable as materialized (
    select defect.name, label, synthetic, defect.origin,
        coalesce(defect.embedding - bank.embedding_mean + shift, defect.embedding - bank.embedding_mean)
            as embedding
    from bank join defect using (category_id, extractor_fingerprint), query
    where category_id = %(category_id)s and version = %(version)s
)
select
    name, 1 - coalesce(nullif(comparable.embedding <=> query.embedding, 'NaN'), 1),
    comparable.embedding <-> query.embedding, origin, label, synthetic
from comparable, query
order by coalesce(nullif(comparable.embedding {operator} query.embedding, 'NaN'), 1), name
limit %(top)s

-- counts --
select
    count(*),
    count(*) filter (where defect.extractor_fingerprint = bank.extractor_fingerprint)
from patchbank.defect join patchbank.bank using (category_id)
where category_id = %(category_id)s and version = %(version)s
